"""The registries: which backend decodes and which encodes a transfer syntax, within which limits.

A registry is a table of strings. Nothing is imported until a row is used; a library that is missing is named with
what to install. The row is chosen before any pixel moves, by syntax, pixel format and the version of the library
alone, and nothing falls back to another row by itself.
"""

from __future__ import annotations

import _thread
import importlib
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from dcmtx.errors import UnsupportedError, UsageError
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import LOSSLESS, EncodingParameters, option_name
from dcmtx.record import Record


class Direction(Enum):
    """Which way a row codes."""

    DECODE = "decode"
    ENCODE = "encode"


# How many times an image is halved whatever its size.
_ALWAYS_HALVED = 5

Decode = Callable[[bytes, PixelFormat, PixelFormat], Any]
Encode = Callable[[Any, PixelFormat, PixelFormat, EncodingParameters], Any]


class Limits(Record):
    """What a row can code. `stored` and `allocated` are ranges of bits, ends included.

    `halved_to` is how many pixels the longer side must be halved down to; more than five times only while the shorter
    side has a pixel left.
    """

    stored: tuple[int, int] = (1, 16)
    allocated: tuple[int, int] = (8, 16)
    samples: tuple[int, ...] = (1, 3)
    only_stored: tuple[int, ...] = ()
    smallest_side: int = 1
    halved_to: int | None = None

    def reason(self, fmt: PixelFormat) -> str:
        """Return why this format lies beyond the limits, or an empty string."""
        if fmt.samples not in self.samples:
            return f"Samples per Pixel {fmt.samples}"
        if not self.stored[0] <= fmt.stored <= self.stored[1]:
            return f"Bits Stored {fmt.stored} is not {self.stored[0]} to {self.stored[1]}"
        if self.only_stored and fmt.stored not in self.only_stored:
            return f"Bits Stored {fmt.stored} is not {' or '.join(map(str, self.only_stored))}"
        if not self.allocated[0] <= fmt.allocated <= self.allocated[1]:
            return f"Bits Allocated {fmt.allocated} is not {self.allocated[0]} to {self.allocated[1]}"
        if min(fmt.rows, fmt.columns) < self.smallest_side:
            return f"{fmt.rows}x{fmt.columns} has a side below {self.smallest_side}"
        if self.halved_to is not None:
            return self._halving(fmt, self.halved_to)
        return ""

    def _halving(self, fmt: PixelFormat, lowest: int) -> str:
        levels = 0
        while max(fmt.rows, fmt.columns) > lowest << levels:
            levels += 1
        if levels <= _ALWAYS_HALVED or min(fmt.rows, fmt.columns) >> levels:
            return ""
        return f"{fmt.rows}x{fmt.columns} is too thin to be halved until no side is above {lowest}"


class Row(Record):
    """One backend in one direction.

    `call` is module:function, `package` what pip installs for it, `frees_lock` whether other threads
    run while it codes, `lossy` whether it loses (an encoder does or does not), `options` the coding parameters that it
    takes, `since` the version of the package from which on the row works, if not any, `before` that which made it
    needless.
    """

    syntaxes: tuple[str, ...]
    backend: str
    call: str
    package: str
    limits: Limits = Limits()
    frees_lock: bool = True
    lossy: bool = False
    options: frozenset[str] = frozenset()
    since: str = ""
    before: str = ""

    @property
    def native(self) -> bool:
        """Tell whether a library codes, not dcmtx itself."""
        return self.package in LIBRARIES

    def identity(self) -> str:
        """Return what codes: the backend, with the version of its library where that is not dcmtx itself."""
        found = version(self.package) if self.native else None
        return f"{self.backend} {self.package}-{found}" if found else self.backend

    def too_old(self) -> str:
        """Return that the library at hand is older than the row needs, or an empty string.

        The library is imported for that. One that is missing is not too old: `Registry.load` says what to install.
        """
        found = version(self.package) if self.since else None
        if found is None or _numbers(found) >= _numbers(self.since):
            return ""
        return f"needs {self.package} {self.since}, and {found} is installed"

    def superseded(self) -> bool:
        """Tell whether the library at hand, which is imported for that, is so new that another row takes its place."""
        found = version(self.package) if self.before else None
        return found is not None and _numbers(found) >= _numbers(self.before)

    def at_hand(self) -> bool:
        """Tell whether the row is for the version of the library at hand, if there is one."""
        return not self.too_old() and not self.superseded()

    def objection(self, fmt: PixelFormat, quality: EncodingParameters) -> str:
        """Return why this row cannot code the format as asked, or an empty string."""
        missing = sorted(quality.asked() - self.options)
        if missing:
            return f"has no {', '.join(option_name(name) for name in missing)}"
        return self.limits.reason(fmt)


# What each package is called when it is imported; the lightest module of it.
LIBRARIES: dict[str, str] = {
    "imagecodecs": "imagecodecs",
    "isal": "isal",
    "pyjpegls": "_CharLS",
    "pylibjpeg-libjpeg": "libjpeg",
    "pylibjpeg-openjpeg": "openjpeg",
    "pylibjpeg-rle": "rle",
}


def version(package: str) -> str | None:
    """Return the version of a library of the tables, which is imported; None if it is not installed."""
    try:
        module = importlib.import_module(LIBRARIES[package])
    except ImportError:
        return None
    found = getattr(module, "__version__", None)
    if isinstance(found, str):
        return found
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    """Return the first three numbers of a version: no library here says more by the rest."""
    import re

    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def is_installed(row: Row) -> bool:
    """Tell whether the library of a row is installed, without importing it."""
    from importlib.util import find_spec

    name = LIBRARIES.get(row.package)
    try:
        return name is None or find_spec(name) is not None
    except (ImportError, ValueError):
        return False


# One for each package that holds the interpreter lock.
_turns: dict[str, Any] = {}


def _one_at_a_time(function: Callable[..., Any], package: str) -> Callable[..., Any]:
    """Return a function that lets no thread in while another is inside the package.

    Holding the interpreter lock is no safety: pylibjpeg-openjpeg calls Python to read and write, and lets another
    thread in then. Two that encode so end the process.
    """
    turn = _turns.setdefault(package, _thread.allocate_lock())

    def alone(*arguments: Any) -> Any:
        with turn:
            return function(*arguments)

    return alone


class Registry:
    """The rows of one direction, in the order in which they are preferred."""

    __slots__ = ("_direction", "_rows")

    def __init__(self, direction: Direction, rows: Iterable[Row]) -> None:
        self._direction = direction
        self._rows = tuple(rows)

    def rows(self, uid: str) -> tuple[Row, ...]:
        """Return the rows for a transfer syntax, preferred first; empty if it is not coded."""
        return tuple(row for row in self._rows if uid in row.syntaxes)

    def backends(self) -> list[str]:
        """Return the names of all backends."""
        return sorted({row.backend for row in self._rows})

    def choose(
        self, uid: str, label: str, fmt: PixelFormat, backend: str | None = None, quality: EncodingParameters = LOSSLESS
    ) -> Row:
        """Return the first row that codes this format under this syntax as asked, of the backend asked for, if one is.

        Raises UsageError for a backend that does not exist, UnsupportedError, with each row's reason, if none fits.
        """
        verb = self._direction.value
        rows = self.rows(uid)
        if self._direction is Direction.ENCODE:
            rows = tuple(row for row in rows if row.lossy == quality.lossy)
        if backend is not None:
            if backend not in self.backends():
                raise UsageError(f"there is no {verb}r {backend!r}; there are {', '.join(self.backends())}")
            rows = tuple(row for row in rows if row.backend == backend)
            if not rows:
                raise UnsupportedError(f"{backend} does not {verb} {label}; `dcmtx syntaxes` shows what does")
        if not rows:
            raise UnsupportedError(
                f"dcmtx does not {verb} {label} ({uid}); `dcmtx syntaxes` shows what it does",
                code="E_UNSUPPORTED_TS",
            )
        objections: dict[Row, str] = {}
        lacking: list[bool] = []
        for row in rows:
            objection = row.objection(fmt, quality)
            if row.superseded():
                continue
            newer = "" if objection else row.too_old()
            if not objection and not newer:
                return row
            objections[row] = objection or newer
            if not newer:
                lacking.append(bool(quality.asked() - row.options))
        reasons = "; ".join(dict.fromkeys(f"{row.backend}: {objection}" for row, objection in objections.items()))
        if all(lacking) and len(lacking) == len(objections):
            raise UsageError(f"no codec for {label} takes what was asked: {reasons}")
        # A newer library is what is missing where only that takes what was asked.
        code = "E_BACKEND" if all(lacking) else "E_LIMIT"
        raise UnsupportedError(f"no codec can {verb} it as {label}: {reasons}", code=code)

    def others(self, uid: str, fmt: PixelFormat, but: str) -> list[str]:
        """Return the installed backends that could code this format too, other than one, in order of preference."""
        return [
            row.backend
            for row in self.rows(uid)
            if row.backend != but and not row.limits.reason(fmt) and row.at_hand() and is_installed(row)
        ]

    def load(self, row: Row) -> Callable[..., Any]:
        """Import the backend of a row and return its function, which several threads may call.

        Raises UnsupportedError naming the package if the library is not installed.
        """
        module, _, name = row.call.partition(":")
        try:
            if row.package in LIBRARIES:
                importlib.import_module(LIBRARIES[row.package])
            function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        except ImportError as error:
            raise UnsupportedError(
                f"{row.backend} is not installed ({error}); pip install {row.package}", code="E_BACKEND"
            ) from error
        return function if row.frees_lock else _one_at_a_time(function, row.package)
