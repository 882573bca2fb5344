"""The steps that process one frame, in the order in which they are done. Each step describes itself."""

from __future__ import annotations

from dcmtx.codec.judges import Judges
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import Cut, UnusedBits
from dcmtx.record import Record
from dcmtx.rules.overlay import Embedded


class Decode(Record):
    """A codestream, or native cells, become words."""

    backend: str
    format: PixelFormat

    def describe(self) -> str:
        """Return it in a few words."""
        return f"decode by {self.backend}: {self.format.describe()}"


class Recolour(Record):
    """Pixels change colour space, or stop sharing chroma, during decoding or after it."""

    old: str
    new: str

    def describe(self) -> str:
        """Return it in a few words."""
        return f"colour: {self.old} to {self.new}"


class SwapWords(Record):
    """Big endian words of `width` bytes are reversed, as the user set it (PS3.5 7.3)."""

    width: int

    def describe(self) -> str:
        """Return it in a few words."""
        return f"big endian: words of {8 * self.width} bits"


class Crop(Record):
    """Rows, columns and frames outside a part of the image are left out."""

    cut: Cut

    def describe(self) -> str:
        """Return it in a few words."""
        cut = self.cut
        return f"crop: rows {cut.top}:{cut.bottom}, columns {cut.left}:{cut.right}, frames {cut.first}:{cut.end}"


class ExtractOverlays(Record):
    """Overlays in unused bits of the pixels move to their own Overlay Data (PS3.5 8.1.2)."""

    overlays: tuple[Embedded, ...]

    def describe(self) -> str:
        """Return it in a few words."""
        return f"extract overlays: {', '.join(f'{one.group:04X} from bit {one.bit}' for one in self.overlays)}"


class LowerHighBit(Record):
    """Words are shifted so that High Bit is Bits Stored - 1 (PS3.5 8.1.1)."""

    high_bit: int
    stored: int

    def describe(self) -> str:
        """Return it in a few words."""
        return f"High Bit: {self.high_bit} to {self.stored - 1}"


class SettleUnused(Record):
    """Content outside Bits Stored is kept as part of the value, cleared, or refused."""

    policy: UnusedBits

    def describe(self) -> str:
        """Return it in a few words."""
        return f"content outside Bits Stored: {self.policy.value}"


class ApplyPalette(Record):
    """Pixels become the colours that they index (PS3.3 C.7.6.3.1.5)."""

    stored: int

    def describe(self) -> str:
        """Return it in a few words."""
        return f"palette: PALETTE COLOR to RGB of {self.stored} bits"


class Invert(Record):
    """Values are turned round, so that MONOCHROME1 becomes MONOCHROME2, or the other way (PS3.3 C.7.6.3.1.2)."""

    old: str
    new: str

    def describe(self) -> str:
        """Return it in a few words."""
        return f"inverted: {self.old} to {self.new}"


class Widen(Record):
    """Words change width."""

    old: int
    new: int

    def describe(self) -> str:
        """Return it in a few words."""
        return f"Bits Allocated: {self.old} to {self.new}"


class Encode(Record):
    """Words are encoded for the target."""

    backend: str
    format: PixelFormat
    irreversible: bool

    def describe(self) -> str:
        """Return it in a few words."""
        loss = "with loss" if self.irreversible else "without loss"
        return f"encode by {self.backend}, {loss}: {self.format.describe()}"


class CrossCheck(Record):
    """The frame is decoded by a second library too, and compared."""

    backend: str

    def describe(self) -> str:
        """Return it in a few words."""
        return f"decode by {self.backend} too, and compare"


class Verify(Record):
    """The encoded frame is decoded and compared."""

    judges: Judges

    def describe(self) -> str:
        """Return it in a few words."""
        return self.judges.describe()


Step = (
    Decode | Recolour | SwapWords | Crop | ExtractOverlays | LowerHighBit | SettleUnused | ApplyPalette | Invert | Widen
    | Encode | Verify | CrossCheck
)  # fmt: skip
