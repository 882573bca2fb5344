"""Encapsulation both ways: items, fragments, Basic and Extended Offset Table (PS3.5 A.4, PS3.3 C.7.6.3.1.8).

Reading builds an index of fragments from item headers only, then maps frames to fragments. Writing lays out one
fragment per frame, or several of a given size, and keeps the offsets for the table. Standard library only.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

from dcmtx.errors import InputError, RefusedError
from dcmtx.finding import Finding, Severity
from dcmtx.policy import OffsetTable
from dcmtx.record import Record

ITEM = b"\xfe\xff\x00\xe0"
SEQUENCE_END = b"\xfe\xff\xdd\xe0"
LARGEST_OFFSET = 0xFFFFFFFF
LARGEST_FRAGMENT = 0xFFFFFFFE

_WINDOW = 1 << 16
_PIECE = 1 << 20
# After a fragment longer than this, reading only the next item's header is quicker than reading a window.
_FAR = 1 << 11
# A first item longer than the table of sixteen million frames is not a table but a misplaced fragment.
_LARGEST_TABLE = 1 << 26
Pread = Callable[[int, int], bytes]
Data = bytes | memoryview
WRONG_BASIC = Finding(
    "N_BASIC_TABLE",
    "the Basic Offset Table does not fit the fragments; rebuilt from the items",
    Severity.ERROR,
    seen="the Basic Offset Table does not fit the fragments",
)
WRONG_EXTENDED = Finding(
    "N_EXTENDED_TABLE",
    "the Extended Offset Table does not fit the fragments; rebuilt from the items",
    Severity.ERROR,
    tag=0x7FE00001,
    seen="the Extended Offset Table does not fit the fragments",
)


class Fragments(Record):
    """The fragments of one encapsulated Pixel Data, by offsets in the file, without the Basic Offset Table item.

    `first` is the offset that offset tables count from. `table` holds the Basic Offset Table's entries. `values`
    and `lengths` locate each fragment's bytes. `end` is the offset after the Sequence Delimitation Item; if that item
    is missing at the end of the file, `unended` is true and `end` is the offset after the last fragment. `damage` says
    what is wrong behind `end`, if that is passed over.
    """

    first: int
    table: array[int]
    values: array[int]
    lengths: array[int]
    end: int
    unended: bool = False
    damage: str = ""

    def offset(self, number: int) -> int:
        """Return the offset of the item tag of this fragment (0-based), relative to `first`."""
        return self.values[number] - 8 - self.first


class ExtendedTable(Record):
    """The entries of (7FE0,0001) and (7FE0,0002)."""

    offsets: array[int]
    lengths: array[int]


class FrameMap(Record):
    """The fragments of each frame: frame i has fragments starts[i] up to, not including, starts[i + 1]."""

    starts: array[int]
    notes: tuple[Finding, ...]


def read_fragments(
    pread: Pread, start: int, size: int, frames: int | None = None, *, forgiving: bool = False
) -> Fragments:
    """Index the items from `start`, the offset after the header of Pixel Data, in a file of `size` bytes.

    `frames` is the expected number of frames. The Sequence Delimitation Item may be missing if no frame is missing and
    only zeros follow the last fragment; or, with `forgiving`, anything.

    Raises InputError if the items are damaged or the file ends before they do.
    """
    table, position = _read_table(pread, start, size, frames)
    first = position
    values, lengths = array("Q"), array("Q")
    buffer, base = b"", position
    while True:
        at = position - base
        if not 0 <= at <= len(buffer) - 8:
            far = bool(lengths) and lengths[-1] >= _FAR
            buffer, base, at = pread(8 if far else _WINDOW, position), position, 0
        kind, length = buffer[at : at + 4], int.from_bytes(buffer[at + 4 : at + 8], "little")
        if kind == ITEM and length <= LARGEST_FRAGMENT and position + 8 + length <= size:
            values.append(position + 8)
            lengths.append(length)
            position += 8 + length
            continue
        if kind == SEQUENCE_END and len(buffer) >= at + 8:
            return Fragments(first, table, values, lengths=lengths, end=position + 8)
        place = _Place(table, position - first, frames)
        if values and not place.missing(len(values)) and _is_blank(pread, position, size):
            return Fragments(first, table, values, lengths=lengths, end=position, unended=True)
        error = _broken(kind, position, size, len(values), place)
        if forgiving and values and not place.missing(len(values)):
            return Fragments(first, table, values, lengths=lengths, end=position, unended=True, damage=error.what)
        raise error


def _is_blank(pread: Pread, position: int, size: int) -> bool:
    """Tell whether only zeros follow."""
    return all(not pread(min(_PIECE, size - start), start).strip(b"\0") for start in range(position, size, _PIECE))


def _read_table(pread: Pread, start: int, size: int, frames: int | None) -> tuple[array[int], int]:
    head = pread(8, start)
    if head[:4] != ITEM:
        raise _broken(head[:4], start, size, 0, _Place(array("I"), 0, frames))
    length = int.from_bytes(head[4:8], "little")
    if start + 8 + length > size:
        raise _broken(ITEM, start, size, 0, _Place(array("I"), 0, frames))
    table = array("I")
    if length <= _LARGEST_TABLE:
        table.frombytes(pread(length - length % 4, start + 8))
    if sys.byteorder == "big":
        table.byteswap()
    return table, start + 8 + length


class _Place(Record):
    """The place of an error among the items: Basic Offset Table, offset as in that table, Number of Frames."""

    table: array[int]
    offset: int
    frames: int | None

    def inside(self, number: int) -> str:
        """Return the frame of the fragment with this number (0-based), in words."""
        if len(self.table) > 1:
            return f", frame {max(bisect_right(self.table, self.offset), 1)} of {len(self.table)} by the offset table"
        return f", frame {number + 1} if each frame has one"

    def missing(self, number: int) -> str:
        """Return the missing frame if the data ends here, after `number` fragments, in words; empty if none is."""
        tabled = len(self.table) > 1
        there = bisect_left(self.table, self.offset) if tabled else number
        frames = len(self.table) if tabled else self.frames or 1
        return f"frame {there + 1} of {frames} is missing" if there < frames else ""


def _broken(kind: bytes, position: int, size: int, number: int, place: _Place) -> InputError:
    if position + 8 > size and number:
        missing = place.missing(number)
        return InputError(
            f"the file ends behind fragment {number} of Pixel Data, "
            f"{missing or 'without a Sequence Delimitation Item'}; the file is truncated",
            code="E_TRUNCATED",
        )
    if position + 8 > size or kind == ITEM:
        return InputError(
            f"the file ends inside fragment {number + 1} of Pixel Data{place.inside(number)}; the file is truncated",
            code="E_TRUNCATED",
        )
    where = f"behind fragment {number} of" if number else "at the start of"
    return InputError(
        f"{where} Pixel Data, at offset {position}, stands neither an item nor a Sequence Delimitation Item; the "
        "encapsulation is damaged",
        code="E_ENCAPSULATION",
    )


def read_extended(offsets: bytes, lengths: bytes) -> ExtendedTable | None:
    """Return the Extended Offset Table of these two values, or None if they do not hold whole entries."""
    if not offsets or len(offsets) % 8 or len(offsets) != len(lengths):
        return None
    count = len(offsets) // 8
    return ExtendedTable(
        array("Q", struct.unpack(f"<{count}Q", offsets)), array("Q", struct.unpack(f"<{count}Q", lengths))
    )


def map_frames(
    fragments: Fragments,
    frames: int,
    extended: ExtendedTable | None,
    *,
    single: bool,
    starts_frame: Callable[[int], bool] | None,
) -> FrameMap:
    """Map fragments to `frames` frames.

    The Extended Offset Table is tried first, then the Basic Offset Table, each only if it fits the items; then
    one fragment per frame, one frame for all, and last the codestreams themselves: `starts_frame` tells whether a frame
    begins at a fragment (0-based), by the bytes around its start. `single` tells that the syntax allows only one
    fragment per frame: more are joined if a table says so. Fragments are never divided equally by guess.

    Raises InputError if the fragments cannot be mapped.
    """
    count = len(fragments.values)
    if frames == 1 and count > 1 and starts_frame is not None:
        _check_one(sum(map(starts_frame, range(count))))
        if single:
            return FrameMap(array("Q", [0, count]), (_joined(frames, count),))
    split = single and count > frames
    starts, notes = _by_tables(fragments, frames, extended, split=split)
    # Fragments may be joined to one frame, but two frames are never merged.
    if starts is not None and split and (starts_frame is None or sum(map(starts_frame, range(count))) <= frames):
        return FrameMap(starts, (*notes, _joined(frames, count)))
    if starts is not None and not split:
        return FrameMap(starts, tuple(notes))
    if count == frames:
        return FrameMap(array("Q", range(count + 1)), tuple(notes))
    if frames == 1 and count and not single:
        return FrameMap(array("Q", [0, count]), tuple(notes))
    if starts_frame is not None and not single and count > frames:
        starts = array("Q", [number for number in range(count) if starts_frame(number)])
        if len(starts) == frames and starts[0] == 0:
            starts.append(count)
            return FrameMap(starts, tuple(notes))
    raise InputError(
        f"Number of Frames is {frames}, but Pixel Data has {count} fragment{'s' * (count != 1)} that cannot be mapped "
        "to them",
        advice="correct Number of Frames (0028,0008) or the fragments",
        code="E_TRUNCATED",
    )


def _check_one(streams: int) -> None:
    if streams > 1:
        raise InputError(
            f"Number of Frames (0028,0008) is 1, but Pixel Data has {streams} codestreams",
            advice="correct that first",
            code="E_INCONSISTENT",
        )


def _joined(frames: int, count: int) -> Finding:
    """Return a note on frames that have several fragments although the syntax allows one (PS3.5 A.4)."""
    split = "the frame is" if frames == 1 else f"{frames} frames are"
    return Finding(
        "N_FRAGMENTS",
        f"{split} split over {count} fragments, which the syntax forbids; joined",
        Severity.WARNING,
        tag=0x7FE00010,
        seen=f"{split} split over {count} fragments, which the syntax forbids",
    )


def _by_tables(
    fragments: Fragments, frames: int, extended: ExtendedTable | None, *, split: bool
) -> tuple[array[int] | None, list[Finding]]:
    """Map by the first table that fits, and return notes on tables that do not fit."""
    notes: list[Finding] = []
    if extended is not None:
        starts = _by_extended(fragments, frames, extended, split=split)
        if starts is not None:
            return starts, notes
        notes.append(WRONG_EXTENDED)
    if len(fragments.table):
        starts = _by_table(fragments, frames)
        if starts is not None:
            return starts, notes
        notes.append(WRONG_BASIC)
    return None, notes


def _by_extended(fragments: Fragments, frames: int, extended: ExtendedTable, *, split: bool) -> array[int] | None:
    """Map by the Extended Offset Table, if it has an entry per frame with the offset and the length of an item.

    The entries are in frame order; the order of the items in the file must agree. Frames have one fragment
    each (PS3.3 C.7.6.3.1.8), unless they are `split` in violation of their syntax.
    """
    if len(extended.offsets) != frames or (len(fragments.values) != frames and not split):
        return None
    starts = _by_offsets(fragments, extended.offsets)
    if starts is None:
        return None
    for number in range(frames):
        length = sum(fragments.lengths[starts[number] : starts[number + 1]])
        # Writers give lengths with or without the pad byte.
        if not 0 <= length - extended.lengths[number] <= 1:
            return None
    return starts


def _by_table(fragments: Fragments, frames: int) -> array[int] | None:
    """Map by the Basic Offset Table, if it has an entry per frame: the first 0, rising, each the offset of an item."""
    return _by_offsets(fragments, fragments.table) if len(fragments.table) == frames else None


def _by_offsets(fragments: Fragments, table: array[int]) -> array[int] | None:
    """Map by offsets of frames: the first 0, rising, each the offset of an item."""
    if table[0] != 0:
        return None
    starts = array("Q")
    number, count = 0, len(fragments.values)
    for entry in table:
        while number < count and fragments.offset(number) < entry:
            number += 1
        if number == count or fragments.offset(number) != entry or (starts and starts[-1] == number):
            return None
        starts.append(number)
    starts.append(count)
    return starts


def choose_table(asked: OffsetTable, frames: int, worst_case: int, fragment_size: int | None = None) -> OffsetTable:
    """Return the table to write: basic, or extended if `worst_case` bytes of fragments may not fit 32 bits.

    `worst_case` is known before encoding, so the space for the table can be reserved. `fragment_size` is the most bytes
    that a fragment may have, if frames are split.

    Raises RefusedError, E_FRAGMENTS, where frames are split that need an Extended Offset Table: with one, each frame is
    a single fragment (PS3.3 C.7.6.3.1.8).
    """
    fragments = frames + (worst_case // fragment_size if fragment_size else 0)
    far = worst_case + 8 * fragments > LARGEST_OFFSET
    if fragment_size is not None and (asked is OffsetTable.EXTENDED or (far and asked is OffsetTable.AUTO)):
        why = "is for" if asked is OffsetTable.EXTENDED else "is what so many bytes may need, and is for"
        raise RefusedError(
            f"an Extended Offset Table {why} frames of one fragment (PS3.3 C.7.6.3.1.8), which --fragment-size splits",
            advice="leave it out, or use --offset-table empty",
            code="E_FRAGMENTS",
        )
    if asked is not OffsetTable.AUTO:
        return asked
    return OffsetTable.EXTENDED if far else OffsetTable.BASIC


class Layout:
    """The layout of encapsulated Pixel Data as frames are written.

    A frame is one fragment, or several of at most `fragment_size` bytes; the syntax must allow that. `header` returns
    the bytes before the first fragment, `items` those of the fragments of each frame, `trailer` those after the last.
    Tables are filled as frames are added; `tables` returns the values to patch in, by key.
    """

    __slots__ = ("_frames", "_kind", "_lengths", "_offsets", "_position", "_size")

    def __init__(self, kind: OffsetTable, frames: int, fragment_size: int | None = None) -> None:
        self._kind = kind
        self._frames = frames
        # Fragments have even length (PS3.5 A.4).
        self._size = LARGEST_FRAGMENT if fragment_size is None else fragment_size - fragment_size % 2
        self._position = 0
        self._offsets = array("Q")
        self._lengths = array("Q")

    def header(self) -> bytes:
        """Return the item of the Basic Offset Table: zeros to be patched, or empty."""
        width = 4 * self._frames if self._kind is OffsetTable.BASIC else 0
        return ITEM + struct.pack("<I", width) + bytes(width)

    def items(self, frame: Data) -> Iterator[Data]:
        """Add a frame, and yield the bytes of its fragments in order, without copying them.

        Raises RefusedError if the frame's length or offset cannot be expressed.
        """
        length = len(frame)
        before, pad = self.item(length)
        if length <= self._size:
            yield before
            yield frame
        else:
            whole = memoryview(frame)
            for start in range(0, length, self._size):
                part = whole[start : start + self._size]
                yield ITEM + struct.pack("<I", len(part) + len(part) % 2)
                yield part
        if pad:
            yield pad

    def item(self, length: int) -> tuple[bytes, bytes]:
        """Add a frame of `length` bytes; return the bytes before it and after it (PS3.5 A.4: even length).

        Before a frame of several fragments there is nothing: each has a header, which `items` writes.

        Raises RefusedError if the frame's length or offset cannot be expressed.
        """
        pad = length % 2
        frame = len(self._offsets)
        split = self._size < LARGEST_FRAGMENT
        if length + pad > LARGEST_FRAGMENT and not split:
            raise RefusedError(
                f"the encoded frame has {length} bytes, a fragment at most {LARGEST_FRAGMENT} (PS3.5 A.4)",
                code="E_SIZE",
                frame=frame,
            )
        if self._kind is OffsetTable.BASIC and self._position > LARGEST_OFFSET:
            raise RefusedError(
                "its offset does not fit the 32 bits of a Basic Offset Table",
                advice="use --offset-table extended",
                code="E_SIZE",
                frame=frame,
            )
        self._offsets.append(self._position)
        self._lengths.append(length + pad)
        fragments = max(-(-length // self._size), 1)
        self._position += 8 * fragments + length + pad
        if fragments > 1:
            return b"", b"\0" * pad
        return ITEM + struct.pack("<I", length + pad), b"\0" * pad

    def trailer(self) -> bytes:
        """Return the Sequence Delimitation Item."""
        return SEQUENCE_END + bytes(4)

    def tables(self) -> dict[str, bytes]:
        """Return the values to patch in: `basic`, or `offsets` and `lengths` of the extended table."""
        if self._kind is OffsetTable.BASIC:
            return {"basic": struct.pack(f"<{len(self._offsets)}I", *self._offsets)}
        if self._kind is OffsetTable.EXTENDED:
            count = len(self._offsets)
            return {
                "offsets": struct.pack(f"<{count}Q", *self._offsets),
                "lengths": struct.pack(f"<{count}Q", *self._lengths),
            }
        return {}
