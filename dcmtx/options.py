"""All that may be asked for, in one table: the name of each, what it may be, its default and its help.

The options of the command line, the checks of what the library is called with, and the man pages are made from it.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from dcmtx.errors import UsageError
from dcmtx.policy import (
    JUDGED_EVERY,
    PHOTOMETRIC,
    Charset,
    Device,
    Icon,
    Lengths,
    NoPixels,
    OffsetTable,
    OneBit,
    Overlays,
    Policy,
    Removal,
    Signatures,
    Sync,
    Uid,
    UnusedBits,
    Verify,
    WordOrder,
)
from dcmtx.record import Record


class Group(Enum):
    """What options are about."""

    TARGET = "target"  # the transfer syntax
    LOSS = "loss"  # fields of EncodingParameters: those that lose
    CODING = "coding"  # fields of EncodingParameters: those that do not
    RULE = "rule"  # fields of Policy: what the standard leaves open
    CARE = "care"  # fields of Policy: what is done beside
    WORK = "work"  # how a job is done
    BATCH = "batch"  # how many jobs are done
    LIBRARY = "library"  # what the library alone is asked


class Kind(Enum):
    """What is given to an option."""

    FLAG = "flag"
    CHOICE = "choice"  # one of `choices`
    WHOLE = "whole number"
    NUMBER = "number"
    TEXT = "text"


class Option(Record):
    """One thing that may be asked for.

    `name` is the keyword of the library. The command line spells it as `flags` say, or like that. `choices` are members
    of an enumeration, the default first, or texts; `least` and `most` bound a number, both included. `default` is what
    it is without; where that is None, `otherwise` may say in words what is done. `families` of transfer syntaxes take
    a coding parameter; `only` narrows them. `bare` is the choice of an option that may stand by itself; the flag
    `denial` then stands for the choice `denied`.
    """

    name: str
    group: Group
    help: str
    kind: Kind = Kind.FLAG
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    choices: type[Enum] | tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    default: Any = None
    otherwise: str = ""
    families: tuple[str, ...] = ()
    only: str = ""
    several: bool = False
    bare: str = ""
    denial: str = ""
    denied: str = ""

    @property
    def flag(self) -> str:
        """What messages call it: the long option of the command line."""
        return self.flags[-1].partition("/")[0] if self.flags else f"--{self.name.replace('_', '-')}"

    @property
    def words(self) -> tuple[str, ...]:
        """The choices as they are written."""
        if isinstance(self.choices, tuple):
            return self.choices
        return tuple(member.value for member in self.choices)

    def describe(self) -> str:
        """Return the help: the syntaxes that take it, what it is, and what is done without."""
        where = ", ".join(FAMILY_NAMES[family] for family in self.families) + self.only
        otherwise = f" [default: {self.otherwise}]" if self.otherwise else ""
        return f"{where}{': ' if where else ''}{self.help}{otherwise}"

    def checked(self, value: Any) -> Any:
        """Return a value as the option has it: a member of its enumeration, or the value itself.

        Raises UsageError for a value that the option does not take. None is no value, and passes.
        """
        if value is None:
            return None
        if self.kind is Kind.CHOICE:
            return self._chosen(value)
        if self.kind in (Kind.WHOLE, Kind.NUMBER):
            self._check_number(value)
        return value

    def _chosen(self, value: Any) -> Any:
        try:
            if not isinstance(self.choices, tuple):
                return self.choices(value)
            known = value in self.choices
        except (ValueError, TypeError):
            known = False
        if not known:
            raise UsageError(f"{self.flag} is {value!r}, not one of {', '.join(self.words)}")
        return value

    def _check_number(self, value: Any) -> None:
        # Python's own and others', NumPy's say. True is an int for Python, and a mistake here.
        if isinstance(value, bool) or not hasattr(value, "__index__" if self.kind is Kind.WHOLE else "__float__"):
            raise UsageError(f"{self.flag} is {value!r}, not a {self.kind.value}")
        low, high = self.least, self.most
        if low is not None and high is not None and not low <= value <= high:
            raise UsageError(f"{self.flag} is {value}, not in the range from {low:g} to {high:g}")
        if low is not None and not low <= value:
            raise UsageError(f"{self.flag} is {value}, not {low:g} or more")


FAMILY_NAMES = {"jpeg": "JPEG", "jpegls": "JPEG-LS", "j2k": "JPEG 2000", "htj2k": "HTJ2K", "jpegxl": "JPEG XL"}

_TARGET, _LOSS, _CODING, _RULE, _CARE, _WORK, _BATCH, _LIBRARY = Group
_CHOICE, _WHOLE, _NUMBER, _TEXT = Kind.CHOICE, Kind.WHOLE, Kind.NUMBER, Kind.TEXT
_ON_GPU = " (of JPEG 2000 on a GPU only)"
_ON_GPU_OR_NEWER = " (of JPEG 2000 on a GPU only, of HTJ2K with Python 3.12 or newer too)"

# In the order in which they are shown.
_TABLE: tuple[Option, ...] = (
    Option(
        "to", _TARGET,
        "Target transfer syntax: a family (jpeg, jpegls, j2k, htj2k, jpegxl), a name that `dcmtx syntaxes` lists, "
        "a keyword or a UID.",
        kind=_TEXT, flags=("-t", "--to"), metavar="SYNTAX",
    ),
    Option(
        "lossy", _LOSS,
        "Consent to loss; a family then means its lossy member. A file that has lost something under the target syntax "
        "already is copied, unless a parameter says more.",
        flags=("-Y", "--lossy"), default=False,
    ),
    Option(
        "quality", _LOSS, "1 to 100.",
        kind=_WHOLE, flags=("-q", "--quality"), least=1, most=100, otherwise="90", families=("jpeg", "jpegxl"),
    ),
    Option(
        "ratio", _LOSS, "compression ratio.",
        kind=_NUMBER, flags=("-r", "--rate", "--ratio"), least=1, most=10000, families=("j2k", "htj2k"),
        otherwise="10, or 45 dB, whichever loses less of a frame; without loss where that takes no more bytes",
    ),
    Option(
        "psnr", _LOSS, "peak signal-to-noise ratio, in dB.",
        kind=_NUMBER, least=10, most=200, families=("j2k", "htj2k"),
    ),
    Option(
        "near", _LOSS, "how far a value may be off.",
        kind=_WHOLE, flags=("-e", "--allowed-error", "--lossy-error", "--near"),
        least=0, most=255, otherwise="2", families=("jpegls",),
    ),
    Option(
        "subsampling", _LOSS, "how chroma is shared; 444 keeps RGB as it is.",
        kind=_CHOICE, choices=("444", "422", "420"), otherwise="422", families=("jpeg",),
    ),
    Option(
        "predictor", _CODING, "predictor.",
        kind=_WHOLE, least=1, most=7, otherwise="1", families=("jpeg",), only=" lossless (jpeg-lossless-p14)",
    ),
    Option(
        "resolutions", _CODING, "number of resolutions.",
        kind=_WHOLE, least=1, most=32, otherwise="6, more for large HTJ2K images", families=("j2k", "htj2k"),
    ),
    Option(
        "progression", _CODING, "order of progression; htj2k-rpcl is RPCL always.",
        kind=_CHOICE, choices=("LRCP", "RLCP", "RPCL", "PCRL", "CPRL"), otherwise="RPCL, and LRCP for JPEG 2000",
        families=("j2k", "htj2k"), only=_ON_GPU_OR_NEWER,
    ),
    Option(
        "tile", _CODING, "side of a tile, in pixels.",
        kind=_WHOLE, least=16, most=65535, otherwise="one tile", families=("j2k", "htj2k"), only=_ON_GPU,
    ),
    Option(
        "code_block", _CODING, "side of a code-block, a power of 2; a GPU has 32 and 64.",
        kind=_WHOLE, least=4, most=64, otherwise="64, and 32 for JPEG 2000 on a GPU", families=("j2k", "htj2k"),
        only=_ON_GPU_OR_NEWER,
    ),
    Option(
        "tile_parts", _CODING,
        "what each part of a tile holds: one resolution, so that TLM tells how many bytes a reader of fewer pixels "
        "needs, or all of them.",
        kind=_CHOICE, choices=("resolution", "all"), families=("htj2k",),
        otherwise="resolution for htj2k-rpcl without tiles, else all; all on a GPU",
    ),
    Option(
        "effort", _CODING, "1, fastest, to 9, smallest.",
        kind=_WHOLE, least=1, most=9, otherwise="3 without loss, the library's own with it", families=("jpegxl",),
    ),
    Option(
        "uid", _RULE, "SOP Instance UID; auto: kept, but new when pixels lost something.",
        kind=_CHOICE, choices=Uid, default=Uid.AUTO,
    ),
    Option(
        "offset_table", _RULE,
        "Offset table of compressed pixels; auto: basic, extended when 32 bits may not do.",
        kind=_CHOICE, choices=OffsetTable, default=OffsetTable.AUTO,
    ),
    Option(
        "fragment_size", _RULE,
        "Bytes of a fragment at most: longer frames are split, where the syntax allows that.",
        kind=_WHOLE, metavar="BYTES", least=2, most=0xFFFFFFFE, otherwise="a fragment per frame",
    ),
    Option(
        "overlays", _RULE, "Overlays in unused bits of the pixels: give them data of their own, or fail.",
        kind=_CHOICE, choices=Overlays, default=Overlays.EXTRACT,
    ),
    Option(
        "icon", _RULE,
        "Icons: keep them valid under the new syntax, leave them out, or make one of the image, windowed, of 128x128 "
        "pixels at most.",
        kind=_CHOICE, choices=Icon, default=Icon.FOLLOW,
    ),
    Option(
        "signatures", _RULE, "Digital signatures of pixels that are encoded anew.",
        kind=_CHOICE, choices=Signatures, default=Signatures.REFUSE,
    ),
    Option(
        "unused_bits", _RULE,
        "Words with content outside Bits Stored: refuse them, store whole words, or clear it.",
        kind=_CHOICE, choices=UnusedBits, default=UnusedBits.REFUSE,
    ),
    Option(
        "one_bit", _RULE, "1-bit pixels in RLE and JPEG 2000, which older readers do not expect.",
        kind=_CHOICE, choices=OneBit, default=OneBit.REFUSE,
    ),
    Option(
        "word_order", _RULE,
        "Pixels of more than 16 bits in big endian: how wide the words are that it reversed, or refuse them.",
        kind=_CHOICE, choices=WordOrder, default=WordOrder.REFUSE,
    ),
    Option(
        "apply_palette", _RULE,
        "PALETTE COLOR becomes RGB, and the palette is removed; the image is a derived one then.", default=False,
    ),
    Option(
        "photometric", _RULE,
        "Photometric Interpretation to write, where that is exact, or with --lossy; an image whose pixels change is a "
        "derived one.",
        kind=_CHOICE, choices=PHOTOMETRIC, otherwise="as the target needs",
    ),
    Option(
        "planar", _RULE,
        "Planar Configuration of uncompressed colour: 0 is by pixel, 1 by plane.",
        kind=_WHOLE, metavar="0|1", least=0, most=1,
        otherwise="by pixel; what stays uncompressed stays as it is",
    ),
    Option(
        "no_pixels", _RULE,
        "Objects without pixels under a compressed target: write Explicit VR Little Endian, skip, or fail.",
        kind=_CHOICE, choices=NoPixels, default=NoPixels.NATIVE,
    ),
    Option(
        "remove", _RULE,
        "Elements to leave out, in sequences too: private ones; those that the dictionary calls retired, but none that "
        "the image needs to be read; or of invalid groups (0001, 0003, 0005, 0007, FFFF).",
        kind=_CHOICE, choices=Removal, default=Removal.NONE,
    ),
    Option(
        "lengths", _RULE, "Sequences and items: as in SRC, with lengths, or with delimiters, at every depth.",
        kind=_CHOICE, choices=Lengths, default=Lengths.KEEP,
    ),
    Option(
        "charset", _RULE,
        "Character set of text: as in SRC, or all of it UTF-8; text that its character set does not have is refused.",
        kind=_CHOICE, choices=Charset, default=Charset.KEEP,
    ),
    Option(
        "dataset_only", _RULE, "Write the data set alone, without preamble and File Meta Information.", default=False,
    ),
    Option(
        "assume", _RULE, "Transfer syntax of a SRC that names none, such as a data set without File Meta Information.",
        kind=_TEXT, metavar="SYNTAX", otherwise="what its bytes show, if they show one for certain",
    ),
    Option(
        "ignore_errors", _RULE, "Pass over damage behind an image that is whole; its frames must be sound still.",
        default=False,
    ),
    Option(
        "fallback", _WORK, "Target to try when the one before it is refused; repeatable, told when used.",
        kind=_TEXT, metavar="SYNTAX", default=(), several=True,
    ),
    Option(
        "force", _CARE, "Encode again even if SRC has the target syntax already.",
        flags=("-F", "--force"), default=False,
    ),
    Option(
        "verify", _CARE,
        "Decode what was encoded and compare: bit for bit, within NEAR, or measure the PSNR. sampled: the first frame "
        f"and every {JUDGED_EVERY}th by the decoder that judges the encoder, the others by a faster one, if there is "
        "one; strict: every frame by another library than the encoder's; cpu: every frame by the CPU, as is done where "
        "a GPU encodes (by OpenJPEG); device: every frame by the GPU, whose decoder is of the same vendor as its "
        "encoder; none: leave it out.",
        kind=_CHOICE, choices=Verify, default=Verify.SAMPLED, flags=("--verify",), bare="sampled",
        denial="--no-verify", denied="none",
    ),
    Option(
        "cross_check", _CARE,
        "Decode each frame of SRC by a second library too, and verify each encoded frame by another one than the "
        "encoder's; a difference is an error. What has no second library is told.",
        default=False,
    ),
    Option("decoder", _WORK, "Decode by this backend; `dcmtx syntaxes` names them.", kind=_TEXT, metavar="NAME"),
    Option("encoder", _WORK, "Encode by this backend.", kind=_TEXT, metavar="NAME"),
    Option(
        "device", _WORK,
        "What codes JPEG 2000 and HTJ2K; gpu: an NVIDIA GPU, by nvimgcodec (`pip install dcmtx[gpu]`), and the CPU for "
        "what that does not take. It decodes damaged HTJ2K that OpenJPEG refuses, which --cross-check sees. The "
        "licences of that library are NVIDIA's own, and forbid publishing benchmark figures of it. They say that it is "
        "not made for medical use without an agreement.",
        kind=_CHOICE, choices=Device, default=Device.CPU,
    ),
    Option(
        "sync", _CARE,
        "When files are durable, so that they outlast a crash of the machine: batch, each once it is reported, many "
        "synced at a time; always, each before the next begins; none, not durable: whenever the system writes them.",
        kind=_CHOICE, choices=Sync, default=Sync.BATCH,
    ),
    Option("clobber", _CARE, "Do not replace DST if it exists.", flags=("-n", "--no-clobber"), default=True),
    Option(
        "workers", _WORK, "Files, or frames of one file, coded at a time.",
        kind=_WHOLE, flags=("-j", "--jobs"), least=1, otherwise="the cores of this process",
    ),
    Option(
        "memory", _WORK,
        "Memory for frames under way: bytes, or with K, M, G, KiB, MiB, GiB; of large ones, fewer are coded at a time, "
        "two of a file at least.",
        kind=_TEXT, metavar="SIZE", otherwise="256MiB",
    ),
    Option("resume", _BATCH, "Skip files whose DST exists in the syntax that would be written.", default=False),
    Option("fail_fast", _BATCH, "Stop at the first file that fails.", default=False),
    Option(
        "update_references", _BATCH,
        "When all files are done, have references among them follow new SOP Instance UIDs.", default=False,
    ),
    Option(
        "timeout", _BATCH, "Give a file up after this long.",
        kind=_NUMBER, metavar="SECONDS", least=0.1, most=1e6,
    ),
    Option(
        "isolate", _BATCH,
        "Convert one file in a process of its own, so that a codec that crashes is an error like others; batches and "
        "`dcmtx serve` do so always.",
        default=False,
    ),
    Option(
        "skip_lossy", _CARE, "Pass over files whose pixels have lost something already; nothing is written for them.",
        default=False,
    ),
    Option("only_native", _CARE, "Pass over files whose pixels are compressed already.", default=False),
    Option(
        "keep_if_larger", _CARE, "Write the bytes of SRC as they are where the converted file would not be smaller.",
        default=False,
    ),
    Option(
        "site", _WORK,
        "Rules of a site, in TOML: which files become what, stay as they are, are passed over or refused; "
        "dcmtx-policy(1) tells of them. A file that no rule is for goes to the target of the line.",
        kind=_TEXT, flags=("--policy",), metavar="FILE",
    ),
    Option(
        "dry_run", _WORK, "Only print what would be done: route, backends, attributes that change.", default=False
    ),
    Option("digest", _LIBRARY, "Hash the pixels as they are decoded; the outcome has the SHA-256.", default=False),
)  # fmt: skip

OPTIONS: dict[str, Option] = {option.name: option for option in _TABLE}

# Coding parameters that mean loss.
LOSSY_PARAMETERS = frozenset(option.name for option in _TABLE if option.group is _LOSS) - {"lossy"}


def option_name(parameter: str) -> str:
    """Return a coding parameter as the command line calls it."""
    return OPTIONS[parameter].flag


def make_policy(created: float, **given: Any) -> Policy:
    """Return the policy of these fields, checked; choices may be given as they are written.

    Raises UsageError for a choice that there is not.
    """
    return Policy(created=created, **{name: OPTIONS[name].checked(value) for name, value in given.items()})
