"""The items of a sequence, for those who only read them (PS3.5 7.5). Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

from dcmtx.dataset.element import ITEM, UNDEFINED, Element
from dcmtx.dataset.encoding import Item, Slices, parse
from dcmtx.dataset.header import Cursor, Header, element_at, item_encoding, nested_encoding, skip_items
from dcmtx.place.bytes import Reader
from dcmtx.syntax import Encoding

_DELIMITER = 8


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
