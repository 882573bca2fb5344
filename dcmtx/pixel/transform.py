"""How pixels are shown, as records: windows, look-up tables, palettes. Standard library only."""

from __future__ import annotations

from enum import Enum

from dcmtx.record import Record


class Function(Enum):
    """The functions that a window may be (PS3.3 C.11.2.1.2, C.11.2.1.3)."""

    LINEAR = "LINEAR"
    EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


class Window(Record):
    """A window: centre and width in the units that the modality transform gives."""

    center: float
    width: float
    function: Function = Function.LINEAR


class Lut(Record):
    """A look-up table: `first` is the value of its first entry, `bits` how many an entry has; `data` is little endian.

    Entries have 8 bits each if `narrow`, else 16.
    """

    first: int
    bits: int
    data: bytes
    narrow: bool = False


class Display(Record):
    """How one frame is shown. `slope` and `intercept`, or `modality`, come first, then `window` or `voi`, or none."""

    slope: float = 1.0
    intercept: float = 0.0
    modality: Lut | None = None
    window: Window | None = None
    voi: Lut | None = None
    palette: tuple[Lut, ...] = ()
    inverse: bool = False
