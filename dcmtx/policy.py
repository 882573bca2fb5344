"""The vocabulary of what may be asked for: choices that the standard leaves, coding parameters, and how it is done."""

from __future__ import annotations

from enum import Enum

from dcmtx.errors import RefusedError
from dcmtx.record import Record

# What --photometric takes (PS3.3 C.7.6.3.1.2).
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
# What the frames under way may take together, in bytes, unless the user says otherwise.
MEMORY = 256 << 20
# Of the frames of a file, one in so many is judged by another library than the encoder's; the first always is.
JUDGED_EVERY = 16


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
    tile_parts: str | None = None
    effort: int | None = None

    def asked(self) -> frozenset[str]:
        """Return the names of the parameters that were given."""
        if self == LOSSLESS:
            return frozenset()
        return frozenset(name for name, value in self.items() if name != "lossy" and value is not None)


LOSSLESS = EncodingParameters()


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
    """What to do with icons: keep them valid under the file's syntax, leave them out, or make one of the image."""

    FOLLOW = "follow"
    DROP = "drop"
    GENERATE = "generate"


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


class Device(Enum):
    """What JPEG 2000 and HTJ2K are coded on."""

    CPU = "cpu"
    GPU = "gpu"


class Removal(Enum):
    """Which elements are left out, at every depth; invalid ones are those of groups that nobody may have."""

    NONE = "none"
    PRIVATE = "private"
    RETIRED = "retired"
    BOTH = "private,retired"
    INVALID = "invalid"

    @property
    def private(self) -> bool:
        """Whether private elements go."""
        return self in (Removal.PRIVATE, Removal.BOTH)

    @property
    def retired(self) -> bool:
        """Whether retired elements go."""
        return self in (Removal.RETIRED, Removal.BOTH)


class Lengths(Enum):
    """How sequences and items say where they end: as in the source, by a length, or by a delimiter."""

    KEEP = "keep"
    EXPLICIT = "explicit"
    UNDEFINED = "undefined"

    def defined(self, was: bool) -> bool:
        """Tell whether a sequence or item gets a length, if that in the source has one or not."""
        return was if self is Lengths.KEEP else self is Lengths.EXPLICIT


class Charset(Enum):
    """The character set of text: that of the source, or UTF-8 (ISO_IR 192)."""

    KEEP = "keep"
    UTF_8 = "utf-8"


class Verify(Enum):
    """Who judges the frames that were encoded, by decoding and comparing them.

    `SAMPLED`: the first frame and every `JUDGED_EVERY`th by the decoder that judges the encoder, which is of another
    library where that is not slow; the frames between by a faster one, where there is one. `STRICT`: every frame by
    another library than the encoder's. `CPU`: every frame by a library of the CPU, which `SAMPLED` means too where a
    device encodes. `DEVICE`: every frame by the device, whose decoder is of the same vendor. `NONE`: nobody.

    True and False, which are what `--verify` and `--no-verify` say, are the first and the last.
    """

    SAMPLED = "sampled"
    STRICT = "strict"
    CPU = "cpu"
    DEVICE = "device"
    NONE = "none"

    @classmethod
    def _missing_(cls, value: object) -> Verify | None:
        if isinstance(value, bool):
            return cls.SAMPLED if value else cls.NONE
        return None


class Sync(Enum):
    """What is made durable before a file counts as done: it outlasts a crash of the machine from then on.

    In a batch, files are synced and put in place while others are converted, and directories once for many files.
    """

    BATCH = "batch"
    ALWAYS = "always"  # each file and its directory before the next file begins
    NONE = "none"  # nothing is durable until the system writes it


class Policy(Record):
    """The choices that the standard leaves. `created` is when, in seconds since 1970, for derived images.

    `fragment_size` is in bytes; None means a fragment per frame. `photometric` and `planar` are None where the target
    decides.
    """

    offset_table: OffsetTable = OffsetTable.AUTO
    fragment_size: int | None = None
    unused_bits: UnusedBits = UnusedBits.REFUSE
    no_pixels: NoPixels = NoPixels.NATIVE
    uid: Uid = Uid.AUTO
    overlays: Overlays = Overlays.EXTRACT
    icon: Icon = Icon.FOLLOW
    signatures: Signatures = Signatures.REFUSE
    one_bit: OneBit = OneBit.REFUSE
    word_order: WordOrder = WordOrder.REFUSE
    apply_palette: bool = False
    photometric: str | None = None
    planar: int | None = None
    remove: Removal = Removal.NONE
    lengths: Lengths = Lengths.KEEP
    charset: Charset = Charset.KEEP
    dataset_only: bool = False
    assume: str | None = None
    ignore_errors: bool = False
    verify: Verify = Verify.SAMPLED
    cross_check: bool = False
    skip_lossy: bool = False
    only_native: bool = False
    keep_if_larger: bool = False
    force: bool = False
    clobber: bool = True
    sync: Sync = Sync.BATCH
    created: float = 0.0

    @property
    def changes_pixels(self) -> bool:
        """Whether pixels may have to change: by a palette, in their colours, or in their order."""
        return self.apply_palette or self.photometric is not None or self.planar is not None

    @property
    def edits(self) -> bool:
        """Whether elements change, or their form, also where the transfer syntax stays."""
        return (
            self.remove is not Removal.NONE
            or self.lengths is not Lengths.KEEP
            or self.charset is not Charset.KEEP
            or self.dataset_only
        )

    @property
    def wants_changed(self) -> list[str]:
        """The names of options that ask for what a file that is kept as it is would not have."""
        names = ("remove", "lengths", "charset", "dataset_only", "apply_palette", "photometric", "planar")
        asked = [name for name in names if getattr(self, name) != self._defaults[name]]
        return [*asked, "uid"] if self.uid is Uid.NEW else asked


class Cut(Record):
    """A part of an image: rows, columns and frames, counted from 0, each up to but not including the last.

    None is as far as the image goes.
    """

    top: int = 0
    bottom: int | None = None
    left: int = 0
    right: int | None = None
    first: int = 0
    end: int | None = None

    def resolve(self, rows: int, columns: int, frames: int) -> Cut:
        """Return the part of an image of this size, without None.

        Raises RefusedError, E_OUTSIDE, for what it has not.
        """
        made = {}
        for name, starts, ends, most in (
            ("rows", "top", "bottom", rows), ("columns", "left", "right", columns), ("frames", "first", "end", frames),
        ):  # fmt: skip
            start, end = getattr(self, starts), getattr(self, ends)
            end = most if end is None else end
            if not 0 <= start < end <= most:
                raise RefusedError(
                    f"--{name} {start}:{end} is not in the image, which has {name} 0:{most}",
                    advice="the first counts from 0, and the last is not included",
                    code="E_OUTSIDE",
                )
            made[ends] = end
        return self.replace(**made)

    @property
    def rows(self) -> int:
        """How many rows, of a part that is resolved."""
        return (self.bottom or 0) - self.top

    @property
    def columns(self) -> int:
        """How many columns, of a part that is resolved."""
        return (self.right or 0) - self.left

    @property
    def frames(self) -> int:
        """How many frames, of a part that is resolved."""
        return (self.end or 0) - self.first
