"""What is asked for: the target, the choices that the standard leaves, and the backends."""

from __future__ import annotations

from enum import Enum

from dcmtx.codec.registry import LOSSY_PARAMETERS, Quality, option_name
from dcmtx.errors import RefusedError, UsageError
from dcmtx.pixel.items import OffsetTable
from dcmtx.record import Record
from dcmtx.syntax import BY_UID, EXPLICIT, Loss, Syntax, find, find_family, is_keyword


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
    verify: bool = True
    force: bool = False
    clobber: bool = True
    created: float = 0.0


class Backend(Record):
    """The backends asked for by name; None leaves the choice to the registries."""

    decoder: str | None = None
    encoder: str | None = None


class Target(Record):
    """What was asked for: the syntaxes that the name stands for, first fit first.

    `raw` is the way out of compression, which leaves native files in their own syntax.
    """

    name: str
    syntaxes: tuple[Syntax, ...]
    raw: bool = False

    @property
    def label(self) -> str:
        """The name that messages use."""
        return self.syntaxes[0].label if len(self.syntaxes) == 1 else self.name


def resolve(name: str, quality: Quality) -> Target:
    """Return the target that a family, alias, keyword or UID names; with consent to loss, a family's lossy members.

    Raises UsageError for a name that nothing has, or consent to a loss that the syntax cannot have; RefusedError for a
    parameter that loses without consent.
    """
    _check_consent(quality)
    if name.lower() == "raw":
        target = Target("raw", (EXPLICIT,), raw=True)
    elif (family := find_family(name)) and not is_keyword(name):
        target = Target(
            family.name, tuple(BY_UID[uid] for uid in family.lossy if quality.lossy) or (BY_UID[family.lossless],)
        )
    elif syntax := find(name):
        target = Target(name, (syntax,))
    else:
        raise UsageError(f"there is no transfer syntax {name!r}; `dcmtx syntaxes` lists them")
    if quality.lossy and all(syntax.loss in (Loss.NONE, Loss.LOSSLESS) for syntax in target.syntaxes):
        raise UsageError(f"--lossy does not go with {target.label}, which cannot lose anything")
    return target


def _check_consent(quality: Quality) -> None:
    losing = sorted(quality.asked() & LOSSY_PARAMETERS)
    if losing and not quality.lossy:
        names = ", ".join(option_name(name) for name in losing)
        raise RefusedError(f"{names} would lose information; say --lossy to consent", code="E_LOSSY")
