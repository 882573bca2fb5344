"""The palette of an image in PALETTE COLOR, and the attributes that go when it is applied.

Sources: PS3.3 C.7.6.3.1.5, C.7.6.3.1.6, C.7.9, C.7.6.19, C.7.6.23, C.8.20.2.
"""

from __future__ import annotations

from array import array

from dcmtx.dataset.edit import Edit, Remove
from dcmtx.dataset.element import NO_VR, swap, tag_text
from dcmtx.dataset.header import Header
from dcmtx.errors import InputError, RefusedError
from dcmtx.finding import Finding
from dcmtx.pixel.format import PixelFormat
from dcmtx.pixel.palette import Palette, linearised
from dcmtx.rules.derivation import EXTREMES
from dcmtx.rules.objects import FUNCTIONAL_GROUPS, QUANTITATIVE, SOP_CLASS_UID

_DESCRIPTORS = (0x00281101, 0x00281102, 0x00281103)
_TABLES = (0x00281201, 0x00281202, 0x00281203)
_SEGMENTED = (0x00281221, 0x00281222, 0x00281223)
_UID = 0x00281199
_PADDING = (0x00280120, 0x00280121)
# Attributes that say a palette is another one than that of C.7.9, or more: what RGB does not hold.
_OTHERS: dict[int, str] = {
    0x0028140B: "an Enhanced Palette Color Lookup Table",
    0x00281104: "an Alpha Palette Color Lookup Table",
    0x00281204: "an Alpha Palette Color Lookup Table",
    0x00281224: "an Alpha Palette Color Lookup Table",
}
_NAMES = ("Red", "Green", "Blue")


def is_supplemental(header: Header, fmt: PixelFormat) -> bool:
    """Tell whether the palette colours only some pixels of an image that is not PALETTE COLOR (PS3.3 C.7.6.19)."""
    return fmt.photometric in ("MONOCHROME1", "MONOCHROME2") and _DESCRIPTORS[0] in header


def check_applicable(header: Header, fmt: PixelFormat) -> None:
    """Raise RefusedError, E_PALETTE, for an image whose pixels or palette mean more than their colours."""
    what = QUANTITATIVE.get(header.text(SOP_CLASS_UID))
    if is_supplemental(header, fmt):
        raise _refused(
            "its palette is a Supplemental Palette Color Lookup Table, which colours only some of its pixels (PS3.3 "
            "C.7.6.19)"
        )
    if what is not None:
        raise _refused(f"it is {what}, whose values are labels or measures, not colours alone")
    if fmt.allocated not in (8, 16):
        raise _refused(f"Bits Allocated is {fmt.allocated}, which PALETTE COLOR does not have (PS3.3 C.7.6.3.1.2)")
    for tag, name in _OTHERS.items():
        if tag in header:
            raise _refused(f"it has {name} {tag_text(tag)}, which RGB does not hold")
    if any(tag in header for tag in FUNCTIONAL_GROUPS):
        raise _refused("it has functional groups, and no such object may be RGB instead of PALETTE COLOR")


def read_palette(header: Header) -> tuple[Palette, tuple[Finding, ...]]:
    """Return the palette of an image, segmented tables linearised, and notes.

    Entries of 16 bits that only repeat 8, or shift them up, are taken as 8: other writers have them so, and no colour
    is lost.

    Raises InputError, E_PALETTE, where it is absent or damaged.
    """
    descriptors = [_descriptor(header, tag) for tag in _DESCRIPTORS]
    if len({tuple(one) for one in descriptors}) > 1:
        raise _damaged("the descriptors of red, green and blue differ", _DESCRIPTORS[1])
    entries, first, bits = descriptors[0]
    if bits not in (8, 16):
        raise _damaged(f"its entries have {bits} bits, not 8 or 16", _DESCRIPTORS[0])
    tables = [_table(header, colour, entries, bits) for colour in range(3)]
    width = max(width for _, width in tables)
    found = [table if own == width else array("H", (257 * entry for entry in table)) for table, own in tables]
    if width == 8:
        return Palette(first, 8, tables=_packed(found, 8)), ()
    for fits in (_repeats, _shifts):
        if all(fits(entry) for table in found for entry in table):
            narrow = [array("H", (entry >> 8 for entry in table)) for table in found]
            note = Finding(
                "N_PALETTE",
                "the entries of its palette have 8 bits, which are stored in 16; its colours have 8 bits",
                tag=_DESCRIPTORS[0],
            )
            return Palette(first, 8, tables=_packed(narrow, 8)), (note,)
    return Palette(first, 16, tables=_packed(found, 16)), ()


def palette_edits(header: Header) -> dict[int, Edit]:
    """Return the edits that remove the palette, and what says something of its indices."""
    tags = (*_DESCRIPTORS, *_TABLES, *_SEGMENTED, _UID, *_PADDING, *EXTREMES)
    return {tag: Remove(tag) for tag in tags if tag in header}


def _repeats(entry: int) -> bool:
    return entry >> 8 == entry & 0xFF


def _shifts(entry: int) -> bool:
    return not entry & 0xFF


def _packed(tables: list[array[int]], bits: int) -> tuple[bytes, bytes, bytes]:
    red, green, blue = (
        bytes(table.tolist()) if bits == 8 else b"".join(entry.to_bytes(2, "little") for entry in table)
        for table in tables
    )
    return red, green, blue


def _descriptor(header: Header, tag: int) -> tuple[int, int, int]:
    """Return how many entries a table has, the pixel value of the first, and the bits of an entry.

    The second value is signed as its VR says; without a VR it is unsigned, as pixels in PALETTE COLOR are. The others
    are unsigned always.
    """
    value = header.value(tag)
    if len(value) != 6:
        raise _damaged(f"{tag_text(tag)}, the descriptor of a palette, is absent or has not three values", tag)
    order = "big" if header.encoding.big_endian else "little"
    entries, first, bits = (int.from_bytes(value[at : at + 2], order) for at in (0, 2, 4))  # type: ignore[arg-type]
    element = header.get(tag)
    if element is not None and element.vr == b"SS" and first >= 1 << 15:
        first -= 1 << 16
    return entries or 1 << 16, first, bits


def _table(header: Header, colour: int, entries: int, bits: int) -> tuple[array[int], int]:
    """Return the entries of one table, and of how many bits they are: what their number of bytes says.

    Raises InputError, E_PALETTE.
    """
    name = f"the table of {_NAMES[colour].lower()}"
    if _TABLES[colour] not in header:
        return _from_segments(header, colour, entries, bits), bits
    data = _bytes(header, _TABLES[colour])
    if entries <= len(data) <= entries + entries % 2 and (bits == 8 or len(data) != 2 * entries):
        # 8 bits, whatever the descriptor says (PS3.3 C.7.6.3.1.5 Note 1).
        return array("H", list(data[:entries])), 8
    if len(data) != 2 * entries:
        raise _damaged(f"{name} has {len(data)} bytes for {entries} entries of {bits} bits", _TABLES[colour])
    words = _words(data)
    if bits == 8:
        if any(word >> 8 for word in words):
            raise _damaged(f"{name} has entries of more than the 8 bits of its descriptor", _TABLES[colour])
        return words, 8
    return words, 16


def _from_segments(header: Header, colour: int, entries: int, bits: int) -> array[int]:
    tag = _SEGMENTED[colour]
    data = _bytes(header, tag)
    if not data:
        raise _damaged(f"the table of {_NAMES[colour].lower()} {tag_text(_TABLES[colour])} is absent", _TABLES[colour])
    try:
        return linearised(data if bits == 8 else _words(data), entries, bits)
    except ValueError as error:
        raise _damaged(f"the segmented table of {_NAMES[colour].lower()} is damaged: {error}", tag) from None


def _bytes(header: Header, tag: int) -> bytes:
    """Return the value of a table in little endian: what big endian swaps are words (PS3.5 7.3)."""
    element = header.get(tag)
    value = header.value(tag)
    if element is None or not header.encoding.big_endian:
        return value
    return swap(value, 2) if element.vr in (b"OW", b"US", b"SS", NO_VR) else value


def _words(data: bytes) -> array[int]:
    return array("H", (data[at] | data[at + 1] << 8 for at in range(0, len(data) - 1, 2)))


def _damaged(what: str, tag: int) -> InputError:
    return InputError(f"its palette cannot be applied: {what}", advice="correct it first", code="E_PALETTE", tag=tag)


def _refused(what: str) -> RefusedError:
    return RefusedError(what, advice="leave --apply-palette out", code="E_PALETTE")
