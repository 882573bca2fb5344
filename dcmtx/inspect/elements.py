"""The elements of two data sets compared by their values, however they are encoded; item by item, at any depth."""

from __future__ import annotations

from collections.abc import Iterator

from dcmtx.dataset.dictionary import Context, look_up
from dcmtx.dataset.element import (
    ITEM,
    NO_VR,
    PIXEL_DATA,
    PIXEL_TAGS,
    TRAILING_PADDING,
    UNDEFINED,
    Element,
    swap,
    tag_bytes,
)
from dcmtx.dataset.header import Header
from dcmtx.dataset.items import items_of_element
from dcmtx.dataset.vr import SWAP_UNIT
from dcmtx.place.bytes import Reader
from dcmtx.record import Record
from dcmtx.syntax import IMPLICIT_LITTLE, Encoding

_PIECE = 1 << 20
# Longer values are numbers: their pad bytes are not looked for.
_PADDED = 1 << 16
_WITHOUT_VR = frozenset([NO_VR, b"UN"])


class Differing(Record):
    """An element that differs: `path` has the sequence tags and item numbers (from 1) that it is in.

    `what` is `only in the first`, `only in the second`, `VR`, `value`, or `items` for another number of items.
    """

    path: tuple[tuple[int, int], ...]
    tag: int
    what: str
    values: tuple[str, str] = ("", "")


class _Side(Record):
    """The elements of one data set or item; `ends` are those of sequences anywhere in the file, by their starts."""

    reader: Reader
    encoding: Encoding
    elements: dict[int, Element]
    ends: dict[int, int]


def differing(one: Header, other: Header) -> Iterator[Differing]:
    """Yield the elements that differ, but for pixels, group lengths, trailing padding and pads.

    Elements without a VR, or with UN, are compared by their bytes. Sequences may nest to any depth.
    Raises InputError where a sequence is damaged.
    """
    pending: list[tuple[tuple[tuple[int, int], ...], _Side, _Side]] = [((), _top(one), _top(other))]
    while pending:
        path, left, right = pending.pop()
        inside = []
        for tag in sorted(left.elements.keys() | right.elements.keys()):
            first, second = left.elements.get(tag), right.elements.get(tag)
            if first is None or second is None:
                yield Differing(path, tag, f"only in the {'second' if first is None else 'first'}")
            elif not (_is_sequence(left, first) and _is_sequence(right, second)):
                yield from _values(path, (left, first), (right, second))
            else:
                pairs = list(_items(left, first)), list(_items(right, second))
                if len(pairs[0]) != len(pairs[1]):
                    yield Differing(path, tag, "items")
                inside += [((*path, (tag, number)), *pair) for number, pair in enumerate(zip(*pairs, strict=False), 1)]
        pending += reversed(inside)


def _top(header: Header) -> _Side:
    elements = {element.tag: element for element in (*header.tail, *header.elements)}
    return _Side(header.reader, header.encoding, _compared(elements), ends={})


def _compared(elements: dict[int, Element]) -> dict[int, Element]:
    """Return the elements that are compared."""
    return {
        tag: element
        for tag, element in elements.items()
        if tag & 0xFFFF and tag != TRAILING_PADDING and tag not in PIXEL_TAGS - {PIXEL_DATA}
    }


def _items(side: _Side, element: Element) -> Iterator[_Side]:
    for item in items_of_element(side.reader, element, side.encoding, ends=side.ends):
        elements = {part.tag: part for part in item.parts}
        yield _Side(side.reader, item.encoding, _compared(elements), ends=side.ends)


def _is_sequence(side: _Side, element: Element) -> bool:
    if element.vr == b"SQ":
        return True
    if element.tag == PIXEL_DATA or element.vr not in _WITHOUT_VR:
        return False
    if element.length in (UNDEFINED, 0):
        return element.length == UNDEFINED or _vr(element) == b"SQ"
    encoding = IMPLICIT_LITTLE if element.vr == b"UN" else side.encoding
    return side.reader.pread(4, element.value) == tag_bytes(ITEM, encoding)


def _vr(element: Element) -> bytes:
    return look_up(element.tag, element.length, Context()) if element.vr in _WITHOUT_VR else element.vr


def _values(
    path: tuple[tuple[int, int], ...], left: tuple[_Side, Element], right: tuple[_Side, Element]
) -> Iterator[Differing]:
    first, second = left[1], right[1]
    named = [element.vr for element in (first, second) if element.vr not in _WITHOUT_VR]
    if len(set(named)) > 1:
        yield Differing(path, first.tag, "VR", values=(named[0].decode("latin-1"), named[1].decode("latin-1")))
        return
    unit = SWAP_UNIT.get(named[0], 1) if named else 1
    if not _same(left, right, unit):
        vr = named[0] if named else _vr(left[1])
        one, other = (_shown(vr, _value(*side, unit, most=64)) for side in (left, right))
        yield Differing(path, first.tag, "value", values=(one, other))


def _same(left: tuple[_Side, Element], right: tuple[_Side, Element], unit: int) -> bool:
    """Tell whether two values are the same but for pads."""
    first, second = left[1], right[1]
    lengths = [element.end - element.value for element in (first, second)]
    if max(lengths) <= _PADDED:
        one, other = _value(*left, unit), _value(*right, unit)
        return one == other or (unit == 1 and one.rstrip(b"\0 ") == other.rstrip(b"\0 "))
    if lengths[0] != lengths[1]:
        return False
    return all(
        _value(*left, unit, start=start, most=_PIECE) == _value(*right, unit, start=start, most=_PIECE)
        for start in range(0, lengths[0], _PIECE)
    )


def _value(side: _Side, element: Element, unit: int, *, start: int = 0, most: int = _PADDED) -> bytes:
    """Return bytes of a value in little endian."""
    length = min(element.end - element.value - start, most)
    data = side.reader.pread(length, element.value + start)
    return swap(data, unit) if side.encoding.big_endian and element.vr != b"UN" else data


def _shown(vr: bytes, value: bytes) -> str:
    """Return a value in readable form, for who asks for values."""
    if vr in (b"US", b"SS", b"UL", b"SL") and value:
        width = 2 if vr in (b"US", b"SS") else 4
        numbers = [
            str(int.from_bytes(value[at : at + width], "little", signed=vr in (b"SS", b"SL")))
            for at in range(0, len(value), width)
        ]
        return "\\".join(numbers)
    if vr in (b"OB", b"OW", b"UN", b"SQ", b"OD", b"OF", b"OL", b"OV", b"FL", b"FD", b"AT"):
        return f"{len(value)} bytes, {value[:8].hex(' ')}"
    return value.decode("utf-8", "backslashreplace").strip(" \0")
