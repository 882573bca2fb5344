"""Headers of elements read one after the other, through a window on the bytes of a file (PS3.5 7.1, 7.5)."""

from __future__ import annotations

import struct

from dcmtx.dataset.element import ITEM, ITEM_END, NO_VR, SEQUENCE_END, UNDEFINED, tag_text
from dcmtx.dataset.vr import LONG_VRS, SHORT_VRS, VRS
from dcmtx.errors import InputError
from dcmtx.place.bytes import FIRST_BYTES, FileBytes, Memory, Reader
from dcmtx.syntax import IMPLICIT_LITTLE, Encoding

_CHUNK = 1 << 16
# Tag, VR and length, by byte order.
_EXPLICIT = {False: struct.Struct("<HH2sH").unpack_from, True: struct.Struct(">HH2sH").unpack_from}
_IMPLICIT = struct.Struct("<HHI").unpack_from


class Cursor:
    """A window on the bytes of a Reader that moves with the scan; for bytes in memory, it holds all of them."""

    __slots__ = ("base", "buffer", "cached", "end", "reader")

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.cached = FIRST_BYTES if isinstance(reader, FileBytes) else 0
        self.end = reader.size
        self.base = 0
        self.buffer = reader.buffer if isinstance(reader, Memory) else b""

    def at(self, position: int, need: int) -> int:
        """Return the index of `position` in `buffer`, with `need` bytes from there, or fewer at the end."""
        index = position - self.base
        if index < 0 or (index + need > len(self.buffer) and self.base + len(self.buffer) < self.end):
            # The beginning of a file has been read already; what is left of that needs no second read.
            left = self.cached - position
            self.buffer = self.reader.pread(left if left >= need else _CHUNK, position)
            self.base = position
            return 0
        return index


def element_at(buffer: bytes, at: int, encoding: Encoding) -> tuple[int, bytes, int, int] | None:
    """Return tag, VR, size of the element's header and length at this index.

    Returns None if the buffer ends, or if the VR in Explicit VR is not in the standard: then `header_at` looks at
    what follows.
    """
    rest = len(buffer) - at
    if rest < 8:
        return None
    if encoding.implicit:
        group, number, length = _IMPLICIT(buffer, at)
        return group << 16 | number, NO_VR, 8, length
    group, number, vr, length = _EXPLICIT[encoding.big_endian](buffer, at)
    tag = group << 16 | number
    # Items have no VR in any encoding; their length may look like a VR.
    if vr in SHORT_VRS and group != 0xFFFE:
        return tag, vr, 8, length
    if group == 0xFFFE:
        return tag, NO_VR, 8, int.from_bytes(buffer[at + 4 : at + 8], "big" if encoding.big_endian else "little")
    if vr not in LONG_VRS or rest < 12:
        return None
    return tag, vr, 12, int.from_bytes(buffer[at + 8 : at + 12], "big" if encoding.big_endian else "little")


def header_at(
    cursor: Cursor, position: int, encoding: Encoding, end: int, *, nested: bool
) -> tuple[int, bytes, int, int] | None:
    """Like `element_at`, but read an element with an invalid VR by what follows it. None if the bytes end."""
    at = cursor.at(position, 12)
    header = element_at(cursor.buffer, at, encoding)
    if header is not None or encoding.implicit:
        return header
    from dcmtx.dataset.readings import settle

    return settle(cursor.reader, position, encoding, end, nested=nested)


def item_encoding(cursor: Cursor, position: int, end: int, encoding: Encoding) -> Encoding:
    """Return how an item is encoded: some writers put Implicit VR items into Explicit VR sequences."""
    if encoding.implicit or encoding.big_endian or position >= end:
        return encoding
    at = cursor.at(position, 8)
    vr = cursor.buffer[at + 4 : at + 6]
    if vr in VRS or cursor.buffer[at : at + 2] == b"\xfe\xff":
        return encoding
    from dcmtx.dataset.readings import weigh

    return weigh(cursor.reader, position, end, [encoding, IMPLICIT_LITTLE], nested=True) or encoding


def nested_encoding(vr: bytes, encoding: Encoding) -> Encoding:
    """Return the encoding of the items inside an element: in UN it is always Implicit VR LE (PS3.5 6.2.2)."""
    return IMPLICIT_LITTLE if vr == b"UN" else encoding


def skip_items(
    cursor: Cursor,
    position: int,
    encoding: Encoding,
    tag: int,
    *,
    in_item: bool = False,
    ends: dict[int, int] | None = None,
) -> int:
    """Return the offset after the Sequence Delimitation Item of the items that start at `position`.

    With `in_item`, elements start there, and an Item Delimitation Item ends them. The walk uses a list, not recursion,
    so sequences may nest to any depth. `ends` caches the ends by their starts, so that nothing is scanned twice.
    """
    if ends is not None and position in ends:
        return ends[position]
    # One entry per open level: its encoding, whether elements (of an item) or items come next, and its start.
    levels: list[tuple[Encoding, bool, int]] = [(encoding, in_item, position)]
    while levels:
        here, within, start = levels[-1]
        at = cursor.at(position, 12)
        header = element_at(cursor.buffer, at, here)
        if header is None:
            header = header_at(cursor, position, here, cursor.end, nested=True)
        if header is None:
            raise InputError(
                f"the file ends inside sequence {tag_text(tag)}; the file is truncated", code="E_TRUNCATED", tag=tag
            )
        found, vr, size, length = header
        position += size
        if found == (ITEM_END if within else SEQUENCE_END):
            levels.pop()
            if ends is not None:
                ends[start] = position
            continue
        if within == (found == ITEM) or found in (ITEM_END, SEQUENCE_END):
            raise InputError(
                f"{tag_text(found)} at offset {position - size} does not belong there inside sequence "
                f"{tag_text(tag)}; the file is damaged",
                tag=tag,
            )
        if length != UNDEFINED:
            position += length
            if position > cursor.end:
                raise InputError(
                    f"the file ends inside sequence {tag_text(tag)}; the file is truncated", code="E_TRUNCATED", tag=tag
                )
        elif within:
            levels.append((nested_encoding(vr, here), False, position))
        else:
            levels.append((item_encoding(cursor, position, cursor.end, here), True, position))
    return position
