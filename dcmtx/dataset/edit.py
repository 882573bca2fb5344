"""Edits of a data set, and the pieces that it is written from: spans of the source and new bytes between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from dcmtx.dataset.element import Element, element_bytes, element_header
from dcmtx.record import Record
from dcmtx.syntax import Encoding


class Set(Record):
    """Replace or insert an element with this value. Numbers are little endian, whatever the encoding."""

    tag: int
    vr: bytes
    value: bytes


class Remove(Record):
    """Remove an element."""

    tag: int


class Reserve(Record):
    """Set an element whose value ends in `width` bytes that are filled in later under the name `key`."""

    tag: int
    vr: bytes
    width: int
    key: str
    prefix: bytes = b""


class Pieces(Protocol):
    """Encoded elements that are not all in memory."""

    def pieces(self) -> Iterator[Piece]:
        """Yield them, a piece at a time."""


class Replace(Record):
    """Replace the element of this tag with a whole encoded element."""

    tag: int
    element: bytes | Pieces


class Append(Record):
    """Append an item, encoded in Explicit VR Little Endian, to a sequence. Create the sequence if it is absent.

    `changes` are applied to the existing items. `more` are further items, behind the first.
    """

    tag: int
    item: bytes
    changes: tuple[Any, ...] = ()  # of items.Change
    more: tuple[bytes, ...] = ()


class Within(Record):
    """Change items inside a sequence: `changes` are applied to every item at every depth.

    Group lengths inside, which are retired, are always removed.
    """

    tag: int
    changes: tuple[Any, ...]  # of items.Change


Edit = Set | Remove | Reserve | Replace | Append | Within


class Span(Record):
    """Bytes of the source that are written unchanged."""

    start: int
    end: int


class Slot(Record):
    """An element whose value is patched in later: the bytes before that value, and its width in bytes."""

    key: str
    before: bytes
    width: int


Piece = bytes | Span | Slot


def splice(elements: Iterable[Element], edits: Mapping[int, Edit], encoding: Encoding) -> Iterator[Piece]:
    """Yield the data set that results from the edits: spans of the source and new pieces between them.

    `edits` are keyed by top-level tag. A tag that is not among the elements is inserted in tag order.
    """
    pending = sorted(edits)
    position = 0
    run_start = run_end = -1
    for element in elements:
        while position < len(pending) and pending[position] < element.tag:
            if run_start >= 0:
                yield Span(run_start, run_end)
                run_start = -1
            yield from encode_edit(edits[pending[position]], encoding)
            position += 1
        if position < len(pending) and pending[position] == element.tag:
            if run_start >= 0:
                yield Span(run_start, run_end)
                run_start = -1
            yield from encode_edit(edits[pending[position]], encoding)
            position += 1
            continue
        if element.tag in edits:
            # This is a second element of the same tag; the edit was applied to the first.
            if run_start >= 0:
                yield Span(run_start, run_end)
                run_start = -1
            continue
        if run_start < 0:
            run_start = element.start
        elif element.start != run_end:
            yield Span(run_start, run_end)
            run_start = element.start
        run_end = element.end
    if run_start >= 0:
        yield Span(run_start, run_end)
    for tag in pending[position:]:
        yield from encode_edit(edits[tag], encoding)


def encode_edit(edit: Edit, encoding: Encoding) -> Iterator[Piece]:
    """Yield what an edit writes to the data set: nothing, an element, or a slot."""
    if isinstance(edit, Set):
        yield element_bytes(edit.tag, edit.vr, edit.value, encoding)
    elif isinstance(edit, Replace):
        if isinstance(edit.element, bytes):
            yield edit.element
        else:
            yield from edit.element.pieces()
    elif isinstance(edit, Reserve):
        # The slot is widened so that prefix and value have even length; the code that fills it in pads the value too.
        width = edit.width + (len(edit.prefix) + edit.width) % 2
        header = element_header(edit.tag, edit.vr, len(edit.prefix) + width, encoding)
        yield Slot(edit.key, header + edit.prefix, width)
