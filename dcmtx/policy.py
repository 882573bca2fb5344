"""The vocabulary of what may be asked for: choices that the standard leaves, and coding parameters."""

from __future__ import annotations

from enum import Enum

from dcmtx.record import Record


class OffsetTable(Enum):
    """Which offset table to write."""

    AUTO = "auto"
    BASIC = "basic"
    EXTENDED = "extended"
    EMPTY = "empty"


class EncodingParameters(Record):
    """How to encode: whether loss is consented to, how much, and the coding parameters asked for.

    `ratio` counts uncompressed bytes from Bits Stored, `psnr` is in decibels, `near` in values, `tile` and
    `code_block` in pixels. None leaves it to the codec.
    """

    lossy: bool = False
    quality: int | None = None
    ratio: float | None = None
    psnr: float | None = None
    near: int | None = None
    subsampling: str | None = None
    predictor: int | None = None
    resolutions: int | None = None
    progression: str | None = None
    tile: int | None = None
    code_block: int | None = None

    def asked(self) -> frozenset[str]:
        """Return the names of the parameters that were given."""
        return frozenset(name for name, value in self.items() if name != "lossy" and value is not None)


# Parameters that mean loss.
LOSSY_PARAMETERS = frozenset(["quality", "ratio", "psnr", "near", "subsampling"])


LOSSLESS = EncodingParameters()


def option_name(parameter: str) -> str:
    """Return a coding parameter as the command line calls it."""
    return f"--{parameter.replace('_', '-')}"


class UnusedBits(Enum):
    """What to do with words that hold something outside Bits Stored, where the target codes no whole words."""

    REFUSE = "refuse"
    KEEP = "keep"
    CLEAR = "clear"


class NoPixels(Enum):
    """What to do with an object without pixels when the target is a compressed syntax."""

    NATIVE = "native"
    SKIP = "skip"
    FAIL = "fail"


class Uid(Enum):
    """Which SOP Instance UID the file gets: its own, unless its pixels changed; its own; or a new one."""

    AUTO = "auto"
    KEEP = "keep"
    NEW = "new"


class Overlays(Enum):
    """What to do with overlays in unused bits of the pixels, which compression would drop or harm."""

    EXTRACT = "extract"
    REFUSE = "refuse"


class Icon(Enum):
    """What to do with icons: keep them valid under the file's syntax, or leave them out."""

    FOLLOW = "follow"
    DROP = "drop"


class Signatures(Enum):
    """What to do with digital signatures of pixels that are encoded anew."""

    REFUSE = "refuse"
    REMOVE = "remove"


class OneBit(Enum):
    """Whether 1-bit pixels may go into RLE and JPEG 2000, which older readers do not expect."""

    REFUSE = "refuse"
    ALLOW = "allow"


class WordOrder(Enum):
    """How wide the words are that big endian reversed, where pixels have more than 16 bits and writers differ."""

    REFUSE = "refuse"
    BITS_16 = "16"
    BITS_32 = "32"
    BITS_64 = "64"

    @property
    def bytes(self) -> int:
        """Bytes of a word; 0 if it was not said."""
        return 0 if self is WordOrder.REFUSE else int(self.value) // 8


class Policy(Record):
    """The choices that the standard leaves. `created` is when, in seconds since 1970, for derived images."""

    offset_table: OffsetTable = OffsetTable.AUTO
    unused_bits: UnusedBits = UnusedBits.REFUSE
    no_pixels: NoPixels = NoPixels.NATIVE
    uid: Uid = Uid.AUTO
    overlays: Overlays = Overlays.EXTRACT
    icon: Icon = Icon.FOLLOW
    signatures: Signatures = Signatures.REFUSE
    one_bit: OneBit = OneBit.REFUSE
    word_order: WordOrder = WordOrder.REFUSE
    verify: bool = True
    force: bool = False
    clobber: bool = True
    created: float = 0.0


# What coding parameters may be: ranges, ends included, or choices.
RANGES: dict[str, tuple[float, float]] = {
    "quality": (1, 100),
    "ratio": (1, 10000),
    "psnr": (10, 200),
    "near": (0, 255),
    "predictor": (1, 7),
    "resolutions": (1, 32),
    "tile": (16, 65535),
    "code_block": (4, 64),
}


CHOICES: dict[str, tuple[str, ...]] = {
    "subsampling": ("444", "422", "420"),
    "progression": ("LRCP", "RLCP", "RPCL", "PCRL", "CPRL"),
}
