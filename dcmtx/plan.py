"""Job and header to Plan, or a refusal, before any pixel moves.

A plan says which backends decode and encode, what happens to each frame in between, and which elements of the data
set change. It is made of the header and of what the first codestream says of itself; it touches no pixel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from types import MappingProxyType

from dcmtx.codec.registry import Quality, Row
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.errors import DcmtxError, InputError, RefusedError, UnsupportedError, UsageError
from dcmtx.header import (
    DOUBLE_FLOAT_PIXEL_DATA,
    FLOAT_PIXEL_DATA,
    PIXEL_DATA,
    TRAILING_PADDING,
    Edit,
    Header,
    Remove,
    Reserve,
    Set,
)
from dcmtx.pixel.codestream import Codestream
from dcmtx.pixel.format import PixelFormat
from dcmtx.pixel.items import OffsetTable, choose_table
from dcmtx.record import Record
from dcmtx.rules import image, photometric
from dcmtx.syntax import BY_UID, EXPLICIT, ROOT, Kind, Syntax, find, find_family

LARGEST_NATIVE = 0xFFFFFFFE
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"

_OFFSETS = 0x7FE00001
_OFFSET_LENGTHS = 0x7FE00002
_TOTAL_LENGTH = 0x7FE00003
_PROVIDER_URL = 0x00287FE0
_SOP_CLASS = 0x00080016
_DIRECTORY_RECORDS = 0x00041220


class UnusedBits(Enum):
    """What to do with words that hold something above Bits Stored, where the target codes no whole words."""

    REFUSE = "refuse"
    KEEP = "keep"
    CLEAR = "clear"


class NoPixels(Enum):
    """What to do with an object without pixels when the target is a compressed syntax."""

    NATIVE = "native"
    FAIL = "fail"


class Policy(Record):
    """The choices that the standard leaves."""

    offset_table: OffsetTable = OffsetTable.AUTO
    unused_bits: UnusedBits = UnusedBits.REFUSE
    no_pixels: NoPixels = NoPixels.NATIVE
    verify: bool = True
    force: bool = False
    clobber: bool = True


class Backend(Record):
    """The backends asked for by name; None leaves the choice to the registries."""

    decoder: str | None = None
    encoder: str | None = None


class Target(Record):
    """What was asked for: a syntax, or the way out of compression, `raw`, which leaves native files alone."""

    name: str
    syntax: Syntax
    raw: bool = False


class Route(Enum):
    """The way that the pixels take."""

    NONE = "no pixels"
    CARRY = "carry"  # native cells that stay what they are
    REWRAP = "rewrap"  # codestreams that stay what they are, in new fragments
    RECODE = "recode"


class Plan(Record):
    """How one file is converted.

    `coded_in` is what the source holds, `plain` the words it decodes to, `given` what the encoder gets, `coded_out`
    what the file written holds; `pixel_vr` is the VR of its pixel element. Rows are None where nothing is coded.
    `settle_bits` says what is done with words that hold something above Bits Stored; None means that the target
    holds whole words. `edits` go by tag.
    """

    syntax: Syntax
    route: Route
    pixel_tag: int = PIXEL_DATA
    pixel_vr: bytes = b"OW"
    coded_in: PixelFormat | None = None
    plain: PixelFormat | None = None
    given: PixelFormat | None = None
    coded_out: PixelFormat | None = None
    decoder: Row | None = None
    encoder: Row | None = None
    verifier: Row | None = None
    unused_bits: UnusedBits | None = None
    quality: Quality = Quality()
    table: OffsetTable = OffsetTable.EMPTY
    edits: Mapping[int, Edit] = MappingProxyType({})
    notes: tuple[str, ...] = ()


def resolve(name: str) -> Target:
    """Return the target that a family, alias, keyword or UID names.

    Raises UsageError for a name that nothing has.
    """
    if name.lower() == "raw":
        return Target("raw", EXPLICIT, raw=True)
    family = find_family(name)
    syntax = BY_UID[family.lossless] if family else find(name)
    if syntax is None:
        raise UsageError(f"there is no transfer syntax {name!r}; `dcmtx syntaxes` lists them")
    return Target(name, syntax)


def check_target(syntax: Syntax) -> None:
    """Raise UnsupportedError or RefusedError if no file can be written in this syntax, whatever the file."""
    if ENCODERS.rows(syntax.uid):
        return
    if syntax.loss.value == "lossy" and DECODERS.rows(syntax.uid) and not syntax.retired:
        raise RefusedError(f"{syntax.name} loses information; choose a lossless syntax", code="E_LOSSY")
    raise UnsupportedError(
        f"dcmtx does not write {syntax.name} ({syntax.uid}); `dcmtx syntaxes` shows what it writes",
        code="E_UNSUPPORTED_TS",
    )


def make(
    syntax_in: Syntax,
    header: Header,
    stream: Codestream | None,
    target: Syntax,
    policy: Policy,
    backend: Backend,
    quality: Quality,
) -> Plan:
    """Return the plan for one file.

    `header` is closed (its tail is indexed), `stream` is the header of the first codestream where pixels are
    encapsulated. Follows the decision table: the first condition that matches decides.

    Raises InputError, UnsupportedError or RefusedError, with the codes of the table.
    """
    _check_objects(header, target)
    check_target(target)
    pixel = header.pixel
    if pixel is None:
        return _without_pixels(header, target, policy)
    if pixel.tag in (FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA):
        return _float(header, pixel.tag, target)
    if syntax_in.kind is Kind.NATIVE and target.kind is Kind.NATIVE:
        return _carry(header, target)
    if syntax_in is target and not policy.force:
        return _rewrap(header, target, policy)
    if syntax_in.kind not in (Kind.NATIVE, Kind.FRAMES):
        raise UnsupportedError(
            f"dcmtx does not decode {syntax_in.name} ({syntax_in.uid}); such files can only be copied",
            code="E_UNSUPPORTED_TS",
        )
    try:
        return _recode(syntax_in, header, stream, target, policy, backend, quality)
    except (RefusedError, UnsupportedError) as error:
        if error.code in _SUGGESTED and backend.encoder is None:
            error.message += _nearest(syntax_in, header, stream, target, policy, backend.replace(encoder=None))
        raise


# --- objects ---------------------------------------------------------------------------------------------------


def _check_objects(header: Header, target: Syntax) -> None:
    directory = header.text(_SOP_CLASS) == MEDIA_STORAGE_DIRECTORY or _DIRECTORY_RECORDS in header
    if directory and target is not EXPLICIT:
        raise RefusedError(
            "it is a DICOMDIR, which is Explicit VR Little Endian always (PS3.10 8.6); make a new one instead",
            code="E_DICOMDIR",
        )
    if _PROVIDER_URL in header:
        raise UnsupportedError(
            "its pixels are elsewhere, at a Pixel Data Provider URL; fetch them first", code="E_UNSUPPORTED_TS"
        )


def _without_pixels(header: Header, target: Syntax, policy: Policy) -> Plan:
    edits = _common_edits(header)
    if not target.encapsulated:
        return Plan(target, Route.NONE, edits=edits)
    if policy.no_pixels is NoPixels.FAIL:
        raise RefusedError(
            f"it has no pixels, which {target.name} needs (PS3.5 A.4); use --to explicit", code="E_NO_PIXELDATA"
        )
    note = f"it has no pixels, so it cannot be {target.label}; written as {EXPLICIT.name}"
    return Plan(EXPLICIT, Route.NONE, edits=edits, notes=(note,))


def _float(header: Header, tag: int, target: Syntax) -> Plan:
    if target.kind is not Kind.NATIVE:
        raise RefusedError(
            f"its pixels are floating point, which {target.name} does not hold (PS3.5 8.2); use --to deflated",
            code="E_FLOAT",
        )
    vr = b"OF" if tag == FLOAT_PIXEL_DATA else b"OD"
    return Plan(target, Route.CARRY, tag, vr, edits=_common_edits(header))


# --- native to native ------------------------------------------------------------------------------------------


def _carry(header: Header, target: Syntax) -> Plan:
    """Native cells stay what they are; what their attributes say need not even make sense."""
    pixel = header.pixel
    assert pixel is not None
    fmt: PixelFormat | None
    notes: tuple[str, ...] = ()
    try:
        fmt = image.read_format(header)
        image.check_format(fmt)
    except InputError as error:
        if error.tag == image.NUMBER_OF_FRAMES:
            raise
        fmt = None
        notes = (f"the image is not understood ({error.message.split(';')[0]}); its pixels are carried as they are",)
    allocated = header.number(image.BITS_ALLOCATED) or 16
    big = header.encoding.big_endian or target.encoding.big_endian
    if allocated > 16 and big and pixel.vr != b"OB":
        notes += (
            f"Bits Allocated is {allocated} in big endian, where writers differ; taken as 16-bit words (PS3.5 7.3)",
        )
    vr = pixel.vr if pixel.vr in (b"OB", b"OW") else b"OW" if allocated > 8 else b"OB"
    if target.encoding.implicit:
        vr = b"OW"
    return Plan(
        target, Route.CARRY, PIXEL_DATA, vr, coded_in=fmt, coded_out=fmt, edits=_common_edits(header),
        notes=notes + _retired(target),
    )  # fmt: skip


# --- the same codestreams in new fragments ---------------------------------------------------------------------


def _rewrap(header: Header, target: Syntax, policy: Policy) -> Plan:
    """Plan new fragments for codestreams that stay: the file has the target syntax, but an option changes them."""
    fmt = image.read_format(header)
    table = choose_table(policy.offset_table, fmt.frames, worst_case(fmt))
    edits = _common_edits(header) | _table_edits(table, fmt)
    return Plan(target, Route.REWRAP, PIXEL_DATA, b"OB", coded_in=fmt, coded_out=fmt, table=table, edits=edits)


# --- everything else -------------------------------------------------------------------------------------------


def _recode(
    syntax_in: Syntax,
    header: Header,
    stream: Codestream | None,
    target: Syntax,
    policy: Policy,
    backend: Backend,
    quality: Quality,
) -> Plan:
    said = image.read_format(header)
    image.check_format(said)
    colour = photometric.decoded(syntax_in, said, stream)
    coded_in = said.replace(photometric=colour.coded)
    decoder = DECODERS.choose(syntax_in.uid, syntax_in.label, coded_in, backend.decoder)
    plain = coded_in.replace(photometric=colour.plain, planar=0)
    given, unused = _settle_bits(plain, target, policy)
    coded_out = given.replace(photometric=photometric.coded(target, given.photometric))
    photometric.check_legal(target, coded_out)
    if target.kind is Kind.NATIVE and coded_out.native_bytes > LARGEST_NATIVE:
        raise RefusedError(
            f"its pixels take {coded_out.native_bytes} bytes, native Pixel Data at most {LARGEST_NATIVE} "
            "(PS3.5 8.1.1); keep it compressed",
            code="E_SIZE",
        )
    encoder = ENCODERS.choose(target.uid, target.label, coded_out, backend.encoder)
    _check_quality(encoder, quality, target)
    verifier = DECODERS.choose(target.uid, target.label, coded_out) if policy.verify else None
    table = (
        choose_table(policy.offset_table, coded_out.frames, worst_case(coded_out))
        if target.encapsulated
        else OffsetTable.EMPTY
    )
    edits = _common_edits(header) | _image_edits(header, said, coded_out) | _table_edits(table, coded_out)
    return Plan(
        target, Route.RECODE, PIXEL_DATA, _pixel_vr(target, coded_out), coded_in, plain, given, coded_out,
        decoder, encoder, verifier, unused, quality, table, edits, colour.notes + _retired(target),
    )  # fmt: skip


def _settle_bits(plain: PixelFormat, target: Syntax, policy: Policy) -> tuple[PixelFormat, UnusedBits | None]:
    """Return the format that the encoder gets, and what to do with content outside Bits Stored (PS3.5 8.1.1, 8.1.2).

    High Bit becomes Bits Stored - 1. Native cells and RLE hold whole words, so what lies above stays there. Other
    codecs store Bits Stored only: `keep` makes that the whole word, and Bits Stored says so.
    """
    whole_words = target.kind is Kind.NATIVE or target.family == "rle"
    keep = policy.unused_bits is UnusedBits.KEEP
    if target.kind is Kind.NATIVE:
        # NumPy has no words of 24 and 40 bits.
        plain = plain.replace(allocated={24: 32, 40: 64}.get(plain.allocated, plain.allocated))
    if whole_words and (keep or plain.high_bit == plain.stored - 1):
        return plain, None
    if keep and plain.allocated > 1:
        return plain.replace(stored=plain.allocated, high_bit=plain.allocated - 1), UnusedBits.KEEP
    return plain.replace(high_bit=plain.stored - 1), policy.unused_bits


def _check_quality(encoder: Row, quality: Quality, target: Syntax) -> None:
    for name, value in quality.items():
        if value is not None and name not in encoder.options:
            raise UsageError(f"--{name} does not go with {target.label}: {encoder.backend} does not have it")
    if quality.predictor not in (None, 1) and target.uid == f"{ROOT}.4.70":
        raise UsageError(
            f"{target.label} is predictor 1 always; use --to jpeg-lossless-p14 for predictor {quality.predictor}"
        )


def _pixel_vr(target: Syntax, fmt: PixelFormat) -> bytes:
    """Return the VR of Pixel Data (PS3.5 8.2, A.1, A.2, A.4)."""
    if target.encapsulated:
        return b"OB"
    return b"OW" if target.encoding.implicit or fmt.allocated > 8 else b"OB"


def worst_case(fmt: PixelFormat) -> int:
    """Return more bytes than any encoder makes of these frames, item headers included.

    Noise grows under every codec, by less than half; RLE doubles images of one column.
    """
    width = 2 if fmt.columns < 8 else 1.5
    return int(fmt.frames * (fmt.pixels * fmt.samples * fmt.allocated / 8 * width + 4096))


def _retired(target: Syntax) -> tuple[str, ...]:
    return (f"{target.name} is retired; few programs still read it",) if target.retired else ()


# --- edits -----------------------------------------------------------------------------------------------------


def _common_edits(header: Header) -> dict[int, Edit]:
    """Return what changes whatever the pixels do: retired group lengths and trailing padding, stale tables."""
    stale = [tag for tag in (_OFFSETS, _OFFSET_LENGTHS, _TOTAL_LENGTH, TRAILING_PADDING) if tag in header]
    return {tag: Remove(tag) for tag in [*stale, *_group_lengths(header.tags())]}


def _group_lengths(tags: Iterable[int]) -> list[int]:
    return [tag for tag in tags if tag & 0xFFFF == 0]


def _table_edits(table: OffsetTable, fmt: PixelFormat) -> dict[int, Edit]:
    """Return the places of an Extended Offset Table, which is known only when the frames are written."""
    if table is not OffsetTable.EXTENDED:
        return {}
    return {
        _OFFSETS: Reserve(_OFFSETS, b"OV", 8 * fmt.frames, "offsets"),
        _OFFSET_LENGTHS: Reserve(_OFFSET_LENGTHS, b"OV", 8 * fmt.frames, "lengths"),
    }


def _image_edits(header: Header, said: PixelFormat, written: PixelFormat) -> dict[int, Edit]:
    """Return the attributes of the image that are no longer true, and only those."""
    edits: dict[int, Edit] = {}
    numbers = [
        (image.BITS_ALLOCATED, said.allocated, written.allocated),
        (image.BITS_STORED, said.stored, written.stored),
        (image.HIGH_BIT, said.high_bit, written.high_bit),
    ]
    if written.samples > 1:
        planar = header.number(image.PLANAR_CONFIGURATION)
        numbers.append((image.PLANAR_CONFIGURATION, -1 if planar is None else planar, written.planar))
    for tag, old, new in numbers:
        if old != new:
            edits[tag] = Set(tag, b"US", new.to_bytes(2, "little"))
    if header.text(image.PHOTOMETRIC_INTERPRETATION) != written.photometric:
        tag = image.PHOTOMETRIC_INTERPRETATION
        edits[tag] = Set(tag, b"CS", written.photometric.encode("ascii"))
    return edits


# --- suggestions -----------------------------------------------------------------------------------------------

_SUGGESTED = frozenset(["E_PI", "E_BITS", "E_SIGN", "E_LIMIT", "E_LOSSY"])
# Nearest first: what compresses about as well, then what compresses at all, then what holds everything.
_CANDIDATES = ("j2k", "htj2k", "jpegls", "jpeg", "rle", "deflated", "explicit")


def _nearest(
    syntax_in: Syntax,
    header: Header,
    stream: Codestream | None,
    refused: Syntax,
    policy: Policy,
    backend: Backend,
) -> str:
    """Return the end of a refusal: the nearest target that takes the file."""
    names = sorted(_CANDIDATES, key=lambda name: resolve(name).syntax.family != refused.family)
    for name in names:
        candidate = resolve(name).syntax
        if candidate is refused:
            continue
        try:
            if syntax_in.kind is Kind.NATIVE and candidate.kind is Kind.NATIVE:
                return f"; use --to {name}"
            _recode(syntax_in, header, stream, candidate, policy, backend, Quality())
        except DcmtxError:
            continue
        return f"; use --to {name}"
    return ""
