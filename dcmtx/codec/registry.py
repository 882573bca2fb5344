"""The registries: the backends that decode and encode each transfer syntax, and their limits.

A registry is a table of strings. Nothing is imported until a row is used; the error for a missing library names the
package to install. The row is chosen before any frame is coded, only by syntax, pixel format, parameters and the
version of the library, and there is no automatic fallback to another row.

How to add a codec
------------------

1. Write it. Most codecs only need a function of one frame::

       def decode(data: bytes, coded: PixelFormat, decoded: PixelFormat) -> numpy.ndarray
       def encode(words: numpy.ndarray, given: PixelFormat, coded: PixelFormat, parameters: EncodingParameters) -> bytes

   Write a class with `open`, `code` and `close` (`dcmtx.codec.codec.Codec`) if setup is expensive or many frames are
   coded at once. An array has the shape `fmt.shape` and the dtype `fmt.dtype` of its format: rows, columns,
   and samples if there are three, colour by pixel. The codestream must have the precision, sign and colour of the
   format `coded`. The two formats may differ in Photometric Interpretation; then the codec transforms the colour. It
   may raise any exception, which is reported in one line with the backend and the frame. Import the library in the
   function, not at the top. Never look at files, attributes or options: use only these arguments.
2. Name it in a `Row` (`dcmtx.codec.row`): the UIDs that it codes, its name for --encoder or --decoder, `module:name`,
   what it needs, its limits, where it runs, whose code it is if the name does not say, and whether its function takes
   `threads`, to spread one large frame over them with the same result. Rows of dcmtx are in `dcmtx.codec.table`,
   preferred first. Another distribution provides its rows by an entry point, in the group `dcmtx.decoders` or
   `dcmtx.encoders`: a Row, several, or a function that returns either::

       [project.entry-points."dcmtx.encoders"]
       toy = "toy_codec:rows"

   Such rows never replace a row of dcmtx on their own. They are used if they are named (--encoder toy), or if no row of
   dcmtx takes the image. They can only code transfer syntaxes that dcmtx knows.
3. Test it: `tests/test_registry.py` and `tests/test_warm.py` automatically cover every row of the tables, and
   `tests/test_matrix.py` covers every pixel format and its limits; `tests/test_plugins.py` has a complete distribution
   with a codec.

Every frame that is encoded losslessly is decoded again and compared: by the first decoder of its syntax, or by those
that its row names (`dcmtx.codec.judges`). So the codestream must be valid for its syntax: dcmtx reads its header before
it is decoded.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING

from dcmtx.codec.row import Limits, Needs, Row, Runs
from dcmtx.errors import UnsupportedError, UsageError
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import LOSSLESS, EncodingParameters

if TYPE_CHECKING:
    from dcmtx.codec.codec import Maker

__all__ = ["Direction", "Limits", "Needs", "Registry", "Row", "Runs"]


class Direction(Enum):
    """Whether a row decodes or encodes."""

    DECODE = "decode"
    ENCODE = "encode"


class Registry:
    """The rows of one direction, in order of preference.

    `plugins` adds the rows of other distributions and returns the faults of unusable ones. It is called when they are
    first needed: if no other row fits, or all rows are listed.
    """

    __slots__ = ("_by_uid", "_direction", "_faults", "_lock", "_plugins", "_rows")

    def __init__(
        self,
        direction: Direction,
        rows: Iterable[Row],
        plugins: Callable[[Registry], list[str]] | None = None,
    ) -> None:
        self._direction = direction
        self._rows = tuple(rows)
        self._plugins = plugins
        self._faults: list[str] = []
        # Of these, those of a syntax, where they were looked for.
        self._by_uid: dict[str, tuple[Row, ...]] = {}
        self._lock = _thread.RLock()

    @property
    def direction(self) -> Direction:
        """Whether the rows decode or encode."""
        return self._direction

    def add(self, rows: Iterable[Row], distribution: str, *, preferred: bool = False) -> tuple[Row, ...]:
        """Add the rows of a distribution after all others, or before them if `preferred`; return them as stored.

        Raises UsageError for an invalid row, or if another distribution already uses the backend's name.
        """
        from dcmtx.codec.plugins import checked

        added = tuple(checked(row, distribution, self._rows) for row in rows)
        self._replace((*added, *self._rows) if preferred else (*self._rows, *added))
        return added

    def remove(self, rows: Iterable[Row]) -> None:
        """Remove rows that were added."""
        gone = set(rows)
        self._replace(tuple(row for row in self._rows if row not in gone))

    def _replace(self, rows: tuple[Row, ...]) -> None:
        # Another thread that looks for rows keeps what it finds in the dictionary that it began with.
        self._rows, self._by_uid = rows, {}

    def rows(self, uid: str) -> tuple[Row, ...]:
        """Return the rows for a transfer syntax, preferred first; empty if it is not coded.

        Rows of other distributions are included once they have been loaded, which happens here if there are no others.
        """
        known = self._by_uid
        if uid not in known:
            known[uid] = tuple(row for row in self._rows if uid in row.syntaxes)
        return known[uid] or self.every_row(uid)

    def every_row(self, uid: str | None = None) -> tuple[Row, ...]:
        """Return all rows, including those of other distributions; with `uid`, only those for that syntax."""
        self._look_further()
        return tuple(row for row in self._rows if uid is None or uid in row.syntaxes)

    def faults(self) -> list[str]:
        """Return a line for each entry point of another distribution that could not be used."""
        self._look_further()
        return self._faults

    def backends(self) -> list[str]:
        """Return the names of all backends."""
        return sorted({row.backend for row in self.every_row()})

    def check_backend(self, name: str) -> None:
        """Raise UsageError if there is no backend of this name."""
        if any(row.backend == name for row in self._rows):
            return
        known = self.backends()
        if name not in known:
            raise UsageError(
                f"there is no {self._direction.value}r {name!r}; there are {', '.join(known)}{self._faulty()}"
            )

    def choose(
        self, uid: str, label: str, fmt: PixelFormat, backend: str | None = None, quality: EncodingParameters = LOSSLESS
    ) -> Row:
        """Return the first row that codes this format under this syntax as requested; with `backend`, of that backend.

        Raises UsageError for an unknown backend or an option that no codec takes, and UnsupportedError, with each row's
        reason, if no row fits.
        """
        if backend is not None:
            self.check_backend(backend)
        known = self._rows
        try:
            return self._first(uid, label, fmt, backend, quality)
        except (UnsupportedError, UsageError):
            self._look_further()
            if self._rows is known and not self._faults:
                raise
        return self._first(uid, label, fmt, backend, quality)

    def _look_further(self) -> None:
        """Add the rows of other distributions, once."""
        # Other threads wait meanwhile. The lock is reentrant, because a plugin itself may ask.
        with self._lock:
            plugins, self._plugins = self._plugins, None
            if plugins is not None:
                self._faults = plugins(self)

    def _faulty(self) -> str:
        """Return the end of a message, with the faults of other distributions, whose rows might have fitted."""
        return "".join(f"; {fault}" for fault in self._faults)

    def _first(self, uid: str, label: str, fmt: PixelFormat, backend: str | None, quality: EncodingParameters) -> Row:
        verb = self._direction.value
        rows = self.rows(uid)
        if self._direction is Direction.ENCODE:
            rows = tuple(row for row in rows if row.lossy == quality.lossy)
        if backend is None:
            rows = tuple(row for row in rows if not row.named_only)
        else:
            rows = tuple(row for row in rows if row.backend == backend)
            if not rows:
                raise UnsupportedError(f"{backend} does not {verb} {label}", advice="`dcmtx syntaxes` shows what does")
        if not rows:
            raise UnsupportedError(
                f"dcmtx does not {verb} {label} ({uid})",
                advice=f"`dcmtx syntaxes` shows what it does{self._faulty()}",
                code="E_UNSUPPORTED_TS",
            )
        objections: list[tuple[str, str]] = []
        lacking: list[bool] = []
        for row in rows:
            if (backend is None and row.is_left_out()) or row.superseded():
                continue
            objection = row.objection(fmt, quality)
            newer = "" if objection else row.too_old()
            if not objection and not newer:
                return row
            objections.append((row.backend, objection or newer))
            if not newer:
                lacking.append(bool(quality.asked() - row.options))
        reasons = "; ".join(dict.fromkeys(f"{name}: {objection}" for name, objection in objections))
        reasons += self._faulty()
        if all(lacking) and len(lacking) == len(objections):
            raise UsageError(f"no codec for {label} takes what was asked: {reasons}")
        # If only a row for a newer library takes the requested options, the newer library is missing.
        code = "E_BACKEND" if all(lacking) else "E_LIMIT"
        raise UnsupportedError(f"no codec can {verb} it as {label}: {reasons}", code=code)

    def others(self, uid: str, fmt: PixelFormat, but: str) -> list[str]:
        """Return the installed backends, other than `but`, that could code this format, in order of preference.

        One that needs a device is not among them.
        """
        return [
            row.backend
            for row in self.every_row(uid)
            if row.backend != but
            and not row.named_only
            and not row.limits.reason(fmt)
            and row.at_hand()
            and row.is_installed()
        ]

    def load(self, row: Row, threads: int = 1) -> Maker:
        """Import the backend of a row and return the maker of its codecs, which spread a frame over so many threads.

        Raises UnsupportedError naming the package if the library is not installed.
        """
        from dcmtx.codec.codec import Maker

        return Maker(row, takes_parameters=self._direction is Direction.ENCODE, threads=threads)
