"""The items of sequences (PS3.5 7.5): what is in them, and how they are encoded. Standard library only."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping

from dcmtx.dataset.cursor import Cursor, element_at, header_at, item_encoding, nested_encoding, skip_items
from dcmtx.dataset.element import ITEM, UNDEFINED, Element, tag_bytes, tag_text
from dcmtx.dataset.header import LARGEST_VALUE, Header
from dcmtx.dataset.vr import VRS
from dcmtx.errors import InputError
from dcmtx.place.bytes import Reader
from dcmtx.record import Record
from dcmtx.syntax import EXPLICIT_LITTLE, IMPLICIT_LITTLE, Encoding

_DELIMITER = 8
# So many bytes are searched at a time.
_PIECE = 1 << 20


class Slices:
    """The bytes of a Reader as slices, read on demand."""

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __getitem__(self, part: slice) -> bytes:
        """Return the bytes from `part.start` up to `part.stop`."""
        return self._reader.pread(part.stop - part.start, part.start)


class Item(Record):
    """An item inside a sequence, as a `Change` sees it.

    `path` holds the tags of the enclosing sequences, outermost first, 16 at most; `depth` counts all of them. `parts`
    are its elements; their bytes are slices of `buffer`, encoded as `encoding`. `again` says that it was seen before.
    `index` counts the items of its sequence, from 0.
    """

    path: tuple[int, ...]
    parts: list[Element]
    buffer: Slices
    encoding: Encoding
    depth: int = 1
    again: bool = False
    index: int = 0

    def find(self, tag: int) -> Element | None:
        """Return the element of this tag, or None."""
        return next((part for part in self.parts if part.tag == tag), None)

    def value(self, tag: int) -> bytes:
        """Return the value of an element of defined length, as encoded; empty if it is absent.

        Raises InputError if it is longer than any attribute that is read this way.
        """
        part = self.find(tag)
        if part is None or part.length == UNDEFINED:
            return b""
        if part.length > LARGEST_VALUE:
            raise InputError(
                f"{tag_text(tag)} has {part.length} bytes", advice="correct it first", code="E_INCONSISTENT", tag=tag
            )
        return self.buffer[part.value : part.end]

    def number(self, tag: int) -> int | None:
        """Return the first 16-bit number of a value, or None."""
        value = self.value(tag)[:2]
        return int.from_bytes(value, "big" if self.encoding.big_endian else "little") if len(value) == 2 else None

    def text(self, tag: int) -> str:
        """Return a value as text without padding."""
        return self.value(tag).decode("latin-1").strip("\0 ")


# Takes an item and returns its new elements by tag, in the target encoding; empty bytes remove an element, and under
# the tag of an item (LEFT_OUT) the item itself, which later changes then do not get. Items come
# in the order of the file, each after the one around it. With a true attribute `everywhere`, it gets the items of
# sequences that were written as UN too, and of those that other changes make; it must be cheap, and do the same again.
Change = Callable[[Item], Mapping[int, bytes]]
LEFT_OUT: dict[int, bytes] = {ITEM: b""}


def items_of(header: Header, tag: int) -> Iterator[Item]:
    """Yield the items of a sequence at top level; none if it is absent.

    Raises InputError where the sequence is damaged.
    """
    element = header.get(tag)
    if element is not None:
        yield from items_of_element(header.reader, element, header.encoding)


def items_in(reader: Reader, item: Item, tag: int) -> Iterator[Item]:
    """Yield the items of a sequence inside an item of the same reader."""
    element = item.find(tag)
    if element is not None:
        yield from items_of_element(reader, element, item.encoding, item.path)


def items_of_element(
    reader: Reader,
    element: Element,
    encoding: Encoding,
    path: tuple[int, ...] = (),
    ends: dict[int, int] | None = None,
) -> Iterator[Item]:
    """Yield the items of a sequence, whatever its VR says; `path` has the tags of those that it is in.

    Who walks deep gives the same `ends` at every level, so that nothing is scanned twice.
    """
    ends = {} if ends is None else ends
    here = nested_encoding(element.vr, encoding)
    position = element.value
    while position + _DELIMITER <= element.end:
        found = element_at(reader.pread(12, position), 0, here)
        if found is None or found[0] != ITEM:
            return
        position += _DELIMITER
        length = found[3]
        cursor = Cursor(reader)
        behind = position + length
        if length == UNDEFINED:
            behind = skip_items(cursor, position, here, element.tag, in_item=True, ends=ends)
        stop = behind - _DELIMITER if length == UNDEFINED else behind
        inside = item_encoding(cursor, position, stop, here)
        yield Item((*path, element.tag), parse(reader, position, stop, inside, ends), Slices(reader), encoding=inside)
        position = behind


def parse(
    reader: Reader, start: int, end: int, encoding: Encoding, ends: dict[int, int] | None = None
) -> list[Element]:
    """Return the elements between two offsets, each sequence as one element; `ends` is that of `skip_items`.

    Raises InputError if an element extends beyond `end`.
    """
    return elements_in(Cursor(reader), start, end, encoding, {} if ends is None else ends)


def elements_in(cursor: Cursor, start: int, end: int, encoding: Encoding, ends: dict[int, int]) -> list[Element]:
    """Do what `parse` does, by a cursor."""
    parts: list[Element] = []
    position = start
    while position < end:
        at = cursor.at(position, 12)
        header = element_at(cursor.buffer, at, encoding)
        if header is None:
            header = header_at(cursor, position, encoding, end, nested=True)
        if header is None:
            break
        tag, vr, size, length = header
        value = position + size
        if length == UNDEFINED:
            stop = skip_items(cursor, value, nested_encoding(vr, encoding), tag, ends=ends)
        else:
            stop = value + length
        if stop > end:
            break
        parts.append(Element(tag, vr, position, value, length, stop))
        position = stop
    if position != end:
        raise InputError(f"a data set inside a sequence is damaged {position} bytes from its start", code="E_SEQUENCE")
    return parts


def unknown_encoding(reader: Reader, value: int) -> Encoding | None:
    """Return how the items of a sequence written as UN are encoded; None if there are none.

    The standard requires Implicit VR, but some writers only change the VR to UN.
    """
    head = reader.pread(14, value)
    if head[:4] != tag_bytes(ITEM, IMPLICIT_LITTLE):
        return None
    return EXPLICIT_LITTLE if head[12:14] in VRS else IMPLICIT_LITTLE


def is_sequence(reader: Reader, element: Element) -> bool:
    """Tell whether an element that was written as UN is a sequence: only items, and only elements in them."""
    encoding = unknown_encoding(reader, element.value)
    if encoding is None or element.length == UNDEFINED:
        return encoding is not None
    return are_items(Cursor(reader), element.value, element.end, encoding, {})


def are_items(cursor: Cursor, position: int, end: int, encoding: Encoding, ends: dict[int, int]) -> bool:
    """Tell whether items, and elements in them, fill what is between two offsets."""
    try:
        while position < end:
            header = element_at(cursor.reader.pread(8, position), 0, IMPLICIT_LITTLE)
            if header is None or header[0] != ITEM:
                return False
            position += 8
            if header[3] == UNDEFINED:
                position = skip_items(cursor, position, encoding, ITEM, in_item=True, ends=ends)
            else:
                elements_in(cursor, position, position + header[3], encoding, ends)
                position += header[3]
    except InputError:
        return False
    return position == end


class Finder:
    """Finds bytes that look like certain tags, in little endian, between two offsets of a Reader."""

    __slots__ = ("_found",)

    def __init__(self, reader: Reader, start: int, end: int, tags: Iterable[int]) -> None:
        pattern = re.compile(b"|".join(re.escape(tag_bytes(tag, IMPLICIT_LITTLE)) for tag in sorted(tags)), re.DOTALL)
        self._found: array[int] = array("Q")
        for position in range(start, end, _PIECE):
            # Three bytes more, because a tag may lie across the end of a piece.
            data = reader.pread(min(_PIECE + 3, end - position), position)
            self._found.extend(position + match.start() for match in pattern.finditer(data))

    def finds(self, start: int, stop: int) -> bool:
        """Tell whether one of the tags was found between two offsets."""
        first = bisect_left(self._found, start)
        return first < len(self._found) and self._found[first] < stop
