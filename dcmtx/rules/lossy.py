"""What a data set must record about loss: each loss once, and completely.

An irreversible step makes a derived image: it gets its own SOP Instance UID and records the method, the ratio and
the instance it was made from. The ratio is known only when all frames are encoded, so space is reserved for it.
Sources: PS3.3 C.7.6.1.1.2, C.7.6.1.1.5, C.12.4.1, C.7.6.16.2.6, C.8.16.1; PS3.16 CID 7202, 7203.
"""

from __future__ import annotations

from dcmtx.dataset.dictionary import Context
from dcmtx.dataset.edit import Append, Edit, Remove, Reserve, Set, Within
from dcmtx.dataset.element import ITEM, element_bytes, tag_bytes
from dcmtx.dataset.encoding import append_item
from dcmtx.dataset.header import Header
from dcmtx.dataset.items import Change, Item
from dcmtx.dataset.meta import SOP_CLASS_UID, SOP_INSTANCE_UID
from dcmtx.dataset.rewriting import rewrite
from dcmtx.finding import Finding, Severity
from dcmtx.pixel.codestream import Codestream
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters, Policy, Uid
from dcmtx.record import Record
from dcmtx.rules.derivation import (
    DERIVATION_DESCRIPTION,
    LARGEST,
    SMALLEST,
    SOURCE_IMAGES,
    STALE_EXTREMES,
    Derivation,
    code,
    created,
    derived_type,
    described,
    element,
    identified,
    kept_notes,
    source_item,
)
from dcmtx.rules.identity import derived_uid
from dcmtx.rules.image import LOSSY_IMAGE_COMPRESSION
from dcmtx.rules.objects import FUNCTIONAL_GROUPS
from dcmtx.syntax import EXPLICIT_LITTLE, IMPLICIT_LITTLE, Syntax

RATIO = 0x00282112
METHOD = 0x00282114
LOSS_ATTRIBUTES = frozenset([LOSSY_IMAGE_COMPRESSION, RATIO, METHOD])
DERIVATION_CODES = 0x00089215
FRAME_TYPE = 0x00089007
DERIVATION_IMAGES = 0x00089124
SOURCE_EVIDENCE = 0x00089154
_PIXEL_PADDING_VALUE = 0x00280120

RATIO_WIDTH = 10
# PS3.3 C.7.6.1.1.5.1: by family of codestream, the defined term and the common name.
METHODS: dict[str, tuple[str, str]] = {
    "jpeg": ("ISO_10918_1", "JPEG"),
    "jpegls": ("ISO_14495_1", "JPEG-LS"),
    "j2k": ("ISO_15444_1", "JPEG 2000"),
    "htj2k": ("ISO_15444_15", "HTJ2K"),
    "jpegxl": ("ISO_18181_1", "JPEG XL"),
}


# Codestreams that look the same whether or not bits were discarded.
_NEVER_KNOW = frozenset(["j2k", "htj2k", "jpegxl"])


class History(Record):
    """The losses so far, oldest first. The Nth ratio, as text, belongs to the Nth method; it is empty if unknown."""

    ratios: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()

    def add(self, ratio: str, method: str) -> History:
        """Return the history with one more loss."""
        return History((*self.ratios, ratio), (*self.methods, method))


def read_history(header: Header, own: str | None = None) -> History:
    """Return the losses that the data set records, with each ratio paired with its method.

    `own` is the method of the source's codestream, if that is lossy. The standard added methods later than ratios: if
    only the last method is missing, `own` fills it in. Other missing methods stay empty.
    """
    ratios, methods = _values(header, RATIO), _values(header, METHOD)
    count = max(len(ratios), len(methods))
    ratios += [""] * (count - len(ratios))
    methods += [""] * (count - len(methods))
    if own is not None and [place for place, method in enumerate(methods) if not method] == [count - 1]:
        methods[-1] = own
    return History(tuple(ratios), tuple(methods))


def tells_of(header: Header, stream: Codestream) -> bool:
    """Tell whether the data set records a loss by this kind of codestream, which may not show it itself.

    A reversible wavelet is lossless only if none of its last bits were discarded. The data set records that with the
    flag, and with the last method, if it names any.
    """
    if stream.kind not in _NEVER_KNOW or header.text(LOSSY_IMAGE_COMPRESSION) != "01":
        return False
    return _values(header, METHOD)[-1:] in ([], [""], [METHODS[stream.kind][0]])


def _values(header: Header, tag: int) -> list[str]:
    text = header.text(tag)
    return [value.strip() for value in text.split("\\")] if text else []


class UndeclaredLoss(Record):
    """The attributes missing from a source that is lossy but does not say so."""

    history: History
    edits: dict[int, Edit]
    notes: tuple[Finding, ...]


def undeclared_loss(header: Header, lost: Codestream | None, fmt: PixelFormat, coded_bytes: int) -> UndeclaredLoss:
    """Return the losses so far, including that of the source's own codestreams if the data set does not record it.

    `lost` is the first codestream whose header shows loss, whatever its syntax: JPEG by its process, JPEG-LS by NEAR,
    JPEG 2000 by its wavelet, JPEG XL by its colour transform. If the data set's last method is already that of the
    codestream, only the flag is missing, and perhaps the ratio.
    """
    own = METHODS[lost.kind][0] if lost is not None else None
    history = read_history(header, own)
    if own is None or header.text(LOSSY_IMAGE_COMPRESSION) == "01":
        return UndeclaredLoss(history, {}, ())
    ratio = ratio_text(fmt.stored_bytes, coded_bytes)
    if history.methods[-1:] != (own,):
        history = history.add(ratio, own)
    elif not history.ratios[-1]:
        history = History((*history.ratios[:-1], ratio), history.methods)
    edits: dict[int, Edit] = {
        LOSSY_IMAGE_COMPRESSION: Set(LOSSY_IMAGE_COMPRESSION, b"CS", b"01"),
        RATIO: Set(RATIO, b"DS", "\\".join(history.ratios).encode("latin-1")),
        METHOD: Set(METHOD, b"CS", "\\".join(history.methods).encode("latin-1")),
    }
    note = Finding(
        "N_UNDECLARED_LOSS",
        "its codestream is lossy, but the data set does not say so; Lossy Image Compression (0028,2110) is 01 now",
        # Without the attribute nothing is claimed; 00 claims that nothing was lost.
        Severity.ERROR if header.text(LOSSY_IMAGE_COMPRESSION) == "00" else Severity.WARNING,
        tag=0x00282110,
        seen="its codestream is lossy, but Lossy Image Compression (0028,2110) does not say so",
    )
    return UndeclaredLoss(history, edits, (note,))


def ratio_text(uncompressed: float, compressed: int) -> str:
    """Return a compression ratio as a Decimal String of at most RATIO_WIDTH characters."""
    return f"{uncompressed / max(compressed, 1):.5g}"[:RATIO_WIDTH]


def derive(
    header: Header,
    target: Syntax,
    quality: EncodingParameters,
    policy: Policy,
    history: History,
    deciders: tuple[str, ...] = (),
    *,
    measured: bool,
    before: str = "",
) -> Derivation:
    """Return what the data set must record about an irreversible step to `target`.

    `before` says in words how the meaning of pixels was changed before that step. `deciders` are the other inputs that
    decide the pixels, for the SOP Instance UID. The keys of reserved places are `ratio` (text), and, if `measured`,
    `smallest` and `largest` (16-bit numbers). `measured` tells that the extremes of the decoded pixels will be
    measured.
    """
    term, name = METHODS[target.family]
    old = header.text(SOP_INSTANCE_UID)
    instance = derived_uid(old, target, quality, *deciders) if old and policy.uid is not Uid.KEEP else None
    edits = _loss_edits(history, term) | _extremes(header, measured=measured)
    edits |= created(policy) | identified(header, instance)
    source = source_item(header) if instance is not None else b""
    home = _home(header)
    if home is None:
        edits |= _derivation(header, f"{before}; {name}" if before else name, source)
    else:
        edits |= _functional_groups(header, home, name, source)
    return Derivation(edits, instance, _notes(header, policy))


def _notes(header: Header, policy: Policy) -> tuple[Finding, ...]:
    notes = kept_notes(policy)
    if _PIXEL_PADDING_VALUE in header:
        notes += (
            Finding(
                "N_PADDING_VALUE",
                "Pixel Padding Value (0028,0120) is kept, but padded pixels may no longer have exactly that value",
                Severity.WARNING,
                tag=0x00280120,
            ),
        )
    return notes


def _loss_edits(history: History, term: str) -> dict[int, Edit]:
    methods = "\\".join([*history.methods, term]).encode("latin-1")
    prefix = "".join(f"{ratio}\\" for ratio in history.ratios).encode("latin-1")
    return {
        LOSSY_IMAGE_COMPRESSION: Set(LOSSY_IMAGE_COMPRESSION, b"CS", b"01"),
        RATIO: Reserve(RATIO, b"DS", RATIO_WIDTH, key="ratio", prefix=prefix),
        METHOD: Set(METHOD, b"CS", methods),
    }


def _extremes(header: Header, *, measured: bool) -> dict[int, Edit]:
    """Return the edits of the smallest and largest values: measured again, or removed."""
    edits: dict[int, Edit] = {tag: Remove(tag) for tag in STALE_EXTREMES if tag in header}
    for tag, key in ((SMALLEST, "smallest"), (LARGEST, "largest")):
        element = header.get(tag)
        if element is None:
            continue
        signed = header.number(0x00280103) == 1
        edits[tag] = Reserve(tag, b"SS" if signed else b"US", 2, key=key) if measured else Remove(tag)
    return edits


# --- where a loss is recorded -----------------------------------------------------------------------------------


def evidence_item(header: Header) -> bytes:
    """Return an item that names the study and series of the source (PS3.3 C.8.15.2, C.8.13.2)."""
    instance = element(0x00081150, b"UI", header.text(SOP_CLASS_UID))
    instance += element(0x00081155, b"UI", header.text(SOP_INSTANCE_UID))
    series = append_item(b"", 0x00081199, instance) + element(0x0020000E, b"UI", header.text(0x0020000E))
    return append_item(b"", 0x00081115, series) + element(0x0020000D, b"UI", header.text(0x0020000D))


LOSSY_CODE = code("113040", "Lossy Compression")


def _derivation(header: Header, name: str, source: bytes) -> dict[int, Edit]:
    """Return the attributes of the General Image Module that record a derivation (PS3.3 C.7.6.1, C.12.4)."""
    prefix = described(header, f"{name} lossy compression, ratio ".encode("ascii"), RATIO_WIDTH)
    edits: dict[int, Edit] = {
        DERIVATION_DESCRIPTION: Reserve(DERIVATION_DESCRIPTION, b"ST", RATIO_WIDTH, key="ratio", prefix=prefix),
        DERIVATION_CODES: Append(DERIVATION_CODES, LOSSY_CODE),
    }
    if source:
        edits[SOURCE_IMAGES] = Append(SOURCE_IMAGES, source)
    return edits


def _home(header: Header) -> int | None:
    """Return the sequence of functional groups that records a derivation; None if the data set itself does.

    A functional group is shared or per frame, never both (PS3.3 C.7.6.16.1.1). It goes where Derivation Image items
    already are, else where there is an item to hold it.
    """
    shared, per_frame = FUNCTIONAL_GROUPS
    places = (per_frame, shared) if mentions(header, per_frame, DERIVATION_IMAGES) else (shared, per_frame)
    return next((place for place in places if has_items(header, place)), None)


def _functional_groups(header: Header, home: int, name: str, source: bytes) -> dict[int, Edit]:
    """Return the changes of functional groups: Frame Type, and the Derivation Image, shared or per frame."""
    item = element(DERIVATION_DESCRIPTION, b"ST", f"{name} lossy compression")
    if source:
        item += append_item(b"", SOURCE_IMAGES, source)
    item += append_item(b"", DERIVATION_CODES, LOSSY_CODE)
    changes: tuple[Change, ...] = (_derive_frame_type, _Deriver(home, item))
    edits: dict[int, Edit] = {tag: Within(tag, changes) for tag in FUNCTIONAL_GROUPS if tag in header}
    if source:
        edits[SOURCE_EVIDENCE] = Append(SOURCE_EVIDENCE, evidence_item(header))
    return edits


def has_items(header: Header, sequence: int) -> bool:
    """Tell whether a sequence has an item."""
    element = header.get(sequence)
    if element is None or element.end - element.value < 8:
        return False
    return any(
        header.reader.pread(4, element.value) == tag_bytes(ITEM, one) for one in (header.encoding, IMPLICIT_LITTLE)
    )


def mentions(header: Header, sequence: int, tag: int) -> bool:
    """Tell whether the bytes of a sequence hold this tag."""
    element = header.get(sequence)
    if element is None:
        return False
    return tag_bytes(tag, header.encoding) in header.reader.pread(element.end - element.value, element.value)


def _derive_frame_type(item: Item) -> dict[int, bytes]:
    derived = derived_type(item.value(FRAME_TYPE))
    return {FRAME_TYPE: element_bytes(FRAME_TYPE, b"CS", derived, EXPLICIT_LITTLE)} if derived else {}


class _Deriver:
    """Appends an item to the Derivation Image Sequence of each item of one sequence of functional groups."""

    def __init__(self, home: int, item: bytes) -> None:
        self._home = home
        self._item = item

    def __call__(self, item: Item) -> dict[int, bytes]:
        if item.path != (self._home,):
            return {}
        part = item.find(DERIVATION_IMAGES)
        old = b""
        if part is not None:
            old = rewrite(item.buffer[part.start : part.end], item.encoding, EXPLICIT_LITTLE, Context())
        return {DERIVATION_IMAGES: append_item(old, DERIVATION_IMAGES, self._item)}
