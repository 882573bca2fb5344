"""Which decoders judge the frames that an encoder wrote."""

from __future__ import annotations

from dcmtx.codec.row import Row, Runs
from dcmtx.codec.table import CHECKERS, DECODERS
from dcmtx.errors import UnsupportedError
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import JUDGED_EVERY, Verify
from dcmtx.record import Record
from dcmtx.syntax import Syntax


class Judges(Record):
    """The decoders that verify the frames of one file.

    `judge` has the first frame and every `JUDGED_EVERY`th, `checker`, which is faster, the frames between. Without a
    checker the judge has them all; without a judge nothing is verified.
    """

    judge: Row | None = None
    checker: Row | None = None

    def describe(self) -> str:
        """Return it in a few words."""
        if self.judge is None:
            return "not verified"
        if self.checker is None:
            return f"verify by {self.judge.full_name}"
        return f"verify by {self.judge.full_name}, all but one frame in {JUDGED_EVERY} by {self.checker.full_name}"

    def rows(self) -> tuple[Row, ...]:
        """Return the decoders that there are."""
        return tuple(row for row in (self.judge, self.checker) if row is not None)


NOBODY = Judges()
# Libraries whose irreversible frames wrap around where the values overshoot, which others clamp.
_WRAPPING = frozenset(["OpenJPH"])


def choose(syntax: Syntax, fmt: PixelFormat, encoder: Row, verify: Verify) -> Judges:
    """Return the decoders that verify what `encoder` writes: frames of format `fmt`.

    What a device cannot decode, a library of the CPU does.

    Raises UnsupportedError where no decoder can, or where `verify` is strict and only the encoder's own library can.
    """
    if verify is Verify.NONE:
        return NOBODY
    if verify is Verify.STRICT and encoder.native:
        return Judges(_other(syntax, fmt, encoder))
    if verify is Verify.DEVICE:
        device = on_device(syntax, fmt)
        if device is not None:
            return Judges(device)
    judge = DECODERS.choose(syntax.uid, syntax.label, fmt, encoder.judge or None)
    if fmt.frames == 1 or verify is Verify.CPU:
        return Judges(judge)
    return Judges(judge, _checker(syntax, fmt, encoder))


def on_device(syntax: Syntax, fmt: PixelFormat) -> Row | None:
    """Return the decoder of a device that takes the format; None if there is none."""
    rows = (row for row in DECODERS.rows(syntax.uid) if row.runs is Runs.DEVICE and row.named_only)
    return next((row for row in rows if not row.limits.reason(fmt)), None)


def second(syntax: Syntax, fmt: PixelFormat, decoder: Row, *, reversible: bool) -> Row | None:
    """Return the decoder of another library that sees what `decoder` decodes, or None if there is none here.

    `fmt` is the format in the file, `reversible` tells whether its codestreams are.
    """
    for row in _usable(syntax, fmt):
        wraps = row.library in _WRAPPING and not reversible
        if row.library != decoder.library and row.native and not wraps:
            return row
    return None


def choose_both(syntax: Syntax, fmt: PixelFormat, encoder: Row, verify: Verify) -> tuple[Judges, bool]:
    """Return the decoders that verify every frame by another library than the encoder's, and whether there is one.

    Where there is none, they are those of `verify`, of the encoder's own library.
    """
    try:
        return choose(syntax, fmt, encoder, Verify.STRICT), True
    except UnsupportedError:
        return choose(syntax, fmt, encoder, Verify.SAMPLED if verify is Verify.STRICT else verify), False


def checkers(syntax: Syntax) -> tuple[Row, ...]:
    """Return the decoders that may check frames of a syntax, with those that may decode no others."""
    return (*DECODERS.rows(syntax.uid), *CHECKERS.rows(syntax.uid))


def _checker(syntax: Syntax, fmt: PixelFormat, encoder: Row) -> Row | None:
    """Return the first checker of an encoder's row that there is here."""
    rows = {row.backend: row for row in checkers(syntax)} if encoder.checkers else {}
    return next((rows[backend] for backend in encoder.checkers if backend in rows and _fits(rows[backend], fmt)), None)


def _usable(syntax: Syntax, fmt: PixelFormat) -> list[Row]:
    """Return the decoders that are installed and take the format, preferred first."""
    return [row for row in DECODERS.rows(syntax.uid) if _fits(row, fmt)]


def _fits(row: Row, fmt: PixelFormat) -> bool:
    return not row.named_only and not row.limits.reason(fmt) and row.is_installed() and row.at_hand()


def _other(syntax: Syntax, fmt: PixelFormat, encoder: Row) -> Row:
    """Return the preferred decoder of another library than the encoder's."""
    for row in _usable(syntax, fmt):
        if row.library != encoder.library:
            return row
    raise UnsupportedError(
        f"--verify strict: no library but {encoder.library}, which encodes it, decodes {syntax.label} here",
        advice="leave out strict",
        code="E_BACKEND",
    )
