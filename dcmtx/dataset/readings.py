"""How ambiguous bytes are read: an element with an invalid VR, and a data set whose encoding is unclear.

The right reading is the one that leads to a plausible next element. Only odd files need this module, so it is
loaded only for them. Standard library only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from dcmtx.dataset.cursor import element_at
from dcmtx.dataset.element import ITEM, ITEM_END, NO_VR, PIXEL_TAGS, SEQUENCE_END, UNDEFINED, tag_bytes
from dcmtx.dataset.vr import LONG_VRS, VRS
from dcmtx.place.bytes import Reader
from dcmtx.syntax import IMPLICIT_LITTLE, Encoding

# Tag, VR, size of the header, length, as `header.element_at` returns them.
Reading = tuple[int, bytes, int, int]

# How well a reading of an element fits what follows it.
_NOTHING, _POSSIBLE, _LIKELY, _CERTAIN = range(4)
# How many consecutive elements with invalid VRs are tried in all ways.
_DEPTH = 2
# How many elements are read to find the encoding of a data set.
_ELEMENTS = 8
_HEADER = 12


def settle(reader: Reader, position: int, encoding: Encoding, end: int, *, nested: bool) -> Reading | None:
    """Return how to read the element at `position`, whose VR is not in the standard; None if the bytes end.

    Its length has 16 bits, as in real files, or 32 bits, as for new VRs (PS3.5 6.2.2), or there is no VR at all, since
    some writers mix in Implicit VR. `end` is the latest possible end of the enclosing data set; `nested` tells that
    this is an item. Two capital letters may be a future VR and are returned; anything else gives NO_VR.
    """
    head = reader.pread(min(_HEADER, end - position), position)
    if encoding.implicit or len(head) < 8 or head[4:6] in LONG_VRS:
        return None
    best, most = None, -1
    for reading in _readings(head, encoding):
        merit = _merit(reader, reading, position, encoding, end, nested, _DEPTH)
        if merit > most:
            best, most = reading, merit
        if merit == _CERTAIN:
            break
    return best


def _readings(head: bytes, encoding: Encoding) -> Iterator[Reading]:
    """Yield the possible readings of an element's header. The first is the default if what follows cannot decide."""
    order = ">" if encoding.big_endian else "<"
    group, number, vr, short = struct.unpack_from(f"{order}HH2sH", head)
    tag = group << 16 | number
    capitals = vr.isalpha() and vr.isupper()
    named = vr if capitals else NO_VR
    by_short = (tag, named, 8, short)
    implicit = (tag, NO_VR, 8, struct.unpack_from(f"{order}I", head, 4)[0])
    by_long = None
    # Two reserved bytes, which are zero, precede a 32-bit length (PS3.5 7.1.2).
    if len(head) == _HEADER and (capitals or not short):
        by_long = (tag, named, 12, struct.unpack_from(f"{order}I", head, 8)[0])
    if capitals and by_long:
        yield by_long
    if not capitals:
        yield implicit
    yield by_short
    if capitals:
        yield implicit
    elif by_long:
        yield by_long


def _merit(
    reader: Reader, reading: Reading, position: int, encoding: Encoding, end: int, nested: bool, depth: int
) -> int:
    """Rate how well the bytes after an element fit this reading of it."""
    tag, _, size, length = reading
    value = position + size
    if length == UNDEFINED:
        inside = {tag_bytes(ITEM, encoding), tag_bytes(SEQUENCE_END, encoding)}
        return _CERTAIN if reader.pread(4, value) in inside else _NOTHING
    behind = value + length
    if behind >= end:
        return _CERTAIN if behind == end else _NOTHING
    head = reader.pread(min(_HEADER, end - behind), behind)
    if len(head) < 8:
        return _NOTHING
    group, number = struct.unpack_from(">HH" if encoding.big_endian else "<HH", head)
    following = group << 16 | number
    if group == 0xFFFE:
        return _CERTAIN if nested and following == ITEM_END else _NOTHING
    if not any(head):
        # Padding after the last element.
        return _NOTHING if nested else _POSSIBLE
    rises = following > tag
    # If tags do not rise, bytes are probably missing or extra, and no data must be skipped then.
    if not rises:
        return _NOTHING
    if head[4:6] in VRS:
        return _named_merit(head, behind, encoding, end)
    if depth == 0:
        return _POSSIBLE
    ways = (_merit(reader, way, behind, encoding, end, nested, depth - 1) for way in _readings(head, encoding))
    return min(max(ways), _LIKELY)


def _named_merit(head: bytes, position: int, encoding: Encoding, end: int) -> int:
    """Rate an element with a VR as the next element: by whether it is complete."""
    header = element_at(head, 0, encoding)
    if header is None:
        return _NOTHING
    tag, _, size, length = header
    whole = length == UNDEFINED or position + size + length <= end or tag in PIXEL_TAGS
    return _CERTAIN if whole else _POSSIBLE


def weigh(reader: Reader, start: int, end: int, candidates: list[Encoding], *, nested: bool = False) -> Encoding | None:
    """Return the encoding that explains most of the first elements, or the first of several; None if none does.

    It looks at several elements, because a single odd one proves nothing.
    """
    counts = [_count(reader, start, end, encoding, nested=nested) for encoding in candidates]
    most = max(counts)
    return candidates[counts.index(most)] if most else None


def _count(reader: Reader, start: int, end: int, encoding: Encoding, *, nested: bool) -> int:
    """Count those of the first few elements that this encoding explains: with a valid VR, if it has VRs."""
    count, before, position = 0, -1, start
    for _ in range(_ELEMENTS):
        head = reader.pread(min(_HEADER, end - position), position)
        known = element_at(head, 0, encoding)
        reading = known or settle(reader, position, encoding, end, nested=nested)
        if reading is None or reading[0] <= before or reading[0] >> 16 == 0xFFFE:
            break
        before, _, size, length = reading
        position += size
        if length == UNDEFINED:
            item = tag_bytes(ITEM, IMPLICIT_LITTLE if encoding.implicit else encoding)
            return count + (known is not None and reader.pread(4, position) == item)
        if before in PIXEL_TAGS:
            return count + (known is not None)
        position += length
        if position > end:
            break
        count += known is not None
    return count
