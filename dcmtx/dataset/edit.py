"""Edits of a data set, and the pieces that it is written of: spans of the source between bytes that are new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from dcmtx.dataset.element import Element, element_bytes, element_header
from dcmtx.record import Record
from dcmtx.syntax import Encoding


class Set(Record):
    """Give an element this value, replacing or inserting it. Numbers are little endian, whatever the encoding."""

    tag: int
    vr: bytes
    value: bytes


class Remove(Record):
    """Leave an element out."""

    tag: int


class Reserve(Record):
    """Give an element a value that ends in `width` bytes known only later, under the name `key`."""

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
    """Put this, a whole encoded element, where the element of this tag is."""

    tag: int
    element: bytes | Pieces


class Append(Record):
    """Append an item, encoded in Explicit VR Little Endian, to a sequence, which is made if it is absent.

    `changes` are applied to the items that are there.
    """

    tag: int
    item: bytes
    changes: tuple[Any, ...] = ()  # of encoding.Change


class Within(Record):
    """Change items inside a sequence: `changes` are applied to every item, whatever its depth.

    Group lengths inside, which are retired, are left out in any case.
    """

    tag: int
    changes: tuple[Any, ...]  # of encoding.Change


Edit = Set | Remove | Reserve | Replace | Append | Within


class Span(Record):
    """Bytes of the source that go out as they are."""

    start: int
    end: int


class Slot(Record):
    """An element whose value is patched in later: what stands before that value, and its width in bytes."""

    key: str
    before: bytes
    width: int


Piece = bytes | Span | Slot


def splice(elements: Iterable[Element], edits: Mapping[int, Edit], encoding: Encoding) -> Iterator[Piece]:
    """Yield the data set that results from the edits: spans of the source between pieces that are new.

    `edits` go by top-level tag. A tag that is not among the elements is inserted in the order of tags.
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
            # A second element of the same tag: the first has taken the edit.
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
    """Yield what an edit puts into the data set: nothing, an element, or a slot."""
    if isinstance(edit, Set):
        yield element_bytes(edit.tag, edit.vr, edit.value, encoding)
    elif isinstance(edit, Replace):
        if isinstance(edit.element, bytes):
            yield edit.element
        else:
            yield from edit.element.pieces()
    elif isinstance(edit, Reserve):
        # The value is padded to even length behind its prefix; whoever fills it in pads it too.
        width = edit.width + (len(edit.prefix) + edit.width) % 2
        header = element_header(edit.tag, edit.vr, len(edit.prefix) + width, encoding)
        yield Slot(edit.key, header + edit.prefix, width)
