"""Whole elements and items in Explicit VR Little Endian, made, taken apart and read as text and numbers.

For those who put a data set together from pieces of others: a data set here is a mapping from tags to encoded elements.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from dcmtx.dataset.element import ITEM, NO_VR, UNDEFINED, Element, element_bytes, element_header, tag_bytes
from dcmtx.dataset.items import items_of_element
from dcmtx.dataset.vr import LONG_VRS
from dcmtx.place.bytes import Memory, Reader
from dcmtx.syntax import EXPLICIT_LITTLE

Elements = Mapping[int, bytes]
_PRIVATE = 0x00010000
_SHORT_HEADER, _LONG_HEADER = 8, 12


def made(tag: int, vr: bytes, value: bytes | str) -> bytes:
    """Return an element with this value, padded."""
    return element_bytes(tag, vr, value.encode("latin-1") if isinstance(value, str) else value, EXPLICIT_LITTLE)


def item(elements: Elements) -> bytes:
    """Return an item of defined length that holds these elements in the order of their tags."""
    body = b"".join([elements[tag] for tag in sorted(elements)])
    return tag_bytes(ITEM, EXPLICIT_LITTLE) + len(body).to_bytes(4, "little") + body


def sequence(tag: int, *items: bytes) -> bytes:
    """Return a sequence of defined length that holds these encoded items."""
    body = b"".join(items)
    return element_header(tag, b"SQ", len(body), EXPLICIT_LITTLE) + body


def code_item(value: str, scheme: str, meaning: str) -> bytes:
    """Return an item of the Basic Code Sequence Macro (PS3.3 Table 8.8-1)."""
    return item({
        0x00080100: made(0x00080100, b"SH", value),
        0x00080102: made(0x00080102, b"SH", scheme),
        0x00080104: made(0x00080104, b"LO", meaning),
    })  # fmt: skip


def creator(tag: int) -> int | None:
    """Return the tag of the creator of a private element (PS3.5 7.8.1); None for any other element."""
    if not tag & _PRIVATE or tag & 0xFFFF <= 0xFF:
        return None
    return tag & 0xFFFF0000 | (tag >> 8 & 0xFF)


def tags_value(tags: Iterable[int]) -> bytes:
    """Return the value of an element of VR AT with these tags, sorted."""
    return b"".join(tag_bytes(tag, EXPLICIT_LITTLE) for tag in sorted(tags))


def tags_of(element: bytes | None) -> frozenset[int]:
    """Return the tags in an element of VR AT."""
    data = value(element)
    words = [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data) - 1, 2)]
    return frozenset(group << 16 | number for group, number in zip(words[::2], words[1::2], strict=False))


def value(element: bytes | None) -> bytes:
    """Return the value of an encoded element; empty where there is none."""
    if not element:
        return b""
    return element[_LONG_HEADER if element[4:6] in LONG_VRS else _SHORT_HEADER :]


def text(element: bytes | None) -> str:
    """Return a value as text without padding; for code strings, UIDs and numbers, not for names."""
    return value(element).decode("latin-1").strip("\0 ")


def words(element: bytes | None) -> list[str]:
    """Return the values of a text, without padding; none for an empty one."""
    found = text(element)
    return [word.strip() for word in found.split("\\")] if found else []


def numbers(element: bytes | None) -> tuple[float, ...]:
    """Return the values of a Decimal or Integer String; none where any of them is no finite number."""
    try:
        found = tuple(float(word) for word in words(element))
    except ValueError:
        return ()
    return found if all(abs(number) < float("inf") for number in found) else ()


def whole(element: bytes | None) -> int:
    """Return the first number of a 16-bit value, 0 where there is none."""
    return int.from_bytes(value(element)[:2], "little")


def decimal(number: float) -> str:
    """Return a number as a Decimal String, which has 16 characters at most (PS3.5 6.2)."""
    for digits in range(16, 0, -1):
        shown = f"{number:.{digits}g}"
        if len(shown) <= 16 and (digits <= 15 or float(shown) == number):
            return shown
    return f"{number:.6e}"


def items_within(element: bytes | None) -> Iterator[dict[int, bytes]]:
    """Yield the items of an encoded sequence, each as its elements by tag. Raises InputError where it is damaged."""
    if element:
        yield from items_at(Memory(element), _located(element))


def items_at(reader: Reader, element: Element) -> Iterator[dict[int, bytes]]:
    """Yield the items of a sequence of a reader, as `items_within` does; one is held at a time."""
    for found in items_of_element(reader, element, EXPLICIT_LITTLE):
        yield {part.tag: found.buffer[part.start : part.end] for part in found.parts}


def _located(element: bytes) -> Element:
    vr = element[4:6]
    tag = int.from_bytes(element[:2], "little") << 16 | int.from_bytes(element[2:4], "little")
    start = _LONG_HEADER if vr in LONG_VRS else _SHORT_HEADER
    length = int.from_bytes(element[start - (4 if start == _LONG_HEADER else 2) : start], "little")
    return Element(tag, vr or NO_VR, 0, start, UNDEFINED if length == UNDEFINED else length, len(element))
