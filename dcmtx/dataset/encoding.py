"""Conversion between data-set encodings (Implicit VR, Explicit VR, Big Endian), and edits inside sequences.

Values are copied as bytes: strings are never decoded and encoded again, and numbers are only swapped. Only the
encoding of tag, VR and length changes. Large values stay in the file until they are written. UN stays UN
(PS3.5 6.2.2).
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping

from dcmtx.dataset.dictionary import CONTEXT_TAGS, LARGEST_SHORT, Context, look_up
from dcmtx.dataset.edit import Edit, Piece, Span, encode_edit
from dcmtx.dataset.element import (
    ITEM,
    ITEM_END,
    NO_VR,
    PIXEL_DATA,
    SEQUENCE_END,
    UNDEFINED,
    Element,
    element_header,
    swap,
    tag_bytes,
    tag_text,
)
from dcmtx.dataset.header import (
    LARGEST_VALUE,
    Cursor,
    element_at,
    header_at,
    item_encoding,
    nested_encoding,
    skip_items,
)
from dcmtx.dataset.vr import SHORT_VRS, SWAP_UNIT, VRS
from dcmtx.errors import InputError, RefusedError
from dcmtx.place.bytes import Memory, Reader
from dcmtx.policy import Lengths
from dcmtx.record import Record
from dcmtx.syntax import EXPLICIT_LITTLE, IMPLICIT_LITTLE, Encoding

__all__ = [
    "LEFT_OUT", "Change", "Context", "Item", "Rewriting", "append_item", "is_sequence", "parse", "rewrite", "rewriting",
    "transcribe",
]  # fmt: skip

# _PIECE bytes are read or yielded at a time; values of up to _SMALL bytes are copied, not left in the file.
_PIECE = 1 << 20
_SMALL = 1 << 14
# Rewritten pieces are kept in memory up to _KEPT bytes; beyond that they are made again, a piece at a time. Each piece
# counts _OVERHEAD bytes more.
_KEPT = 1 << 22
_OVERHEAD = 64
_LONGEST_PATH = 16
# VRs that may hold items.
_SEQUENCES = frozenset([b"SQ", b"UN"])


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
    buffer: "Slices"
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


def transcribe(
    reader: Reader,
    elements: Iterable[Element],
    edits: Mapping[int, Edit],
    source: Encoding,
    target: Encoding,
    context: Context,
) -> Iterator[Piece]:
    """Yield top-level elements in another encoding, with edits applied, in tag order.

    Group lengths, which are retired, are removed at every level (PS3.5 7.2).
    """
    pending = sorted(edits)
    position = 0
    for element in elements:
        while position < len(pending) and pending[position] < element.tag:
            yield from encode_edit(edits[pending[position]], target)
            position += 1
        if element.tag in edits or element.tag & 0xFFFF == 0:
            continue
        yield from _top_level(reader, element, source, target, context)
    for tag in pending[position:]:
        yield from encode_edit(edits[tag], target)


def _top_level(
    reader: Reader, element: Element, source: Encoding, target: Encoding, context: Context
) -> Iterator[Piece]:
    vr = element.vr if element.vr != NO_VR else look_up(element.tag, element.length, context)
    if vr == b"SQ" or element.length == UNDEFINED:
        yield from Rewriting(reader, element.start, element.end, source, target, context).pieces()
        return
    vr = fitting(vr, element.length)
    header = element_header(element.tag, vr, element.length, target)
    unit = SWAP_UNIT.get(vr, 1) if source.big_endian != target.big_endian else 1
    if unit == 1 and element.length <= _SMALL:
        yield header + _read(reader, element.value, element.end)
        return
    yield header
    if unit > 1:
        yield from _swapped(reader, _Swapped(element.value, element.end, unit))
    else:
        yield Span(element.value, element.end)


def rewrite(
    buffer: bytes,
    source: Encoding,
    target: Encoding,
    context: Context,
    changes: Iterable[Change] = (),
    *,
    lengths: Lengths = Lengths.KEEP,
) -> bytes:
    """Return whole elements of one data set in another encoding, as `Rewriting` does."""
    return Rewriting(Memory(buffer), 0, len(buffer), source, target, context, changes, lengths=lengths).whole()


def rewriting(
    reader: Reader,
    element: Element,
    source: Encoding,
    target: Encoding,
    context: Context,
    changes: Iterable[Change],
    *,
    lengths: Lengths = Lengths.KEEP,
) -> "Rewriting":
    """Return the rewriting of one top-level sequence. A sequence that was written as UN becomes SQ (PS3.5 6.2.2).

    Raises InputError if it is not a sequence.
    """
    if element.vr != b"UN":
        return Rewriting(reader, element.start, element.end, source, target, context, changes, lengths=lengths)
    encoding = _unknown_encoding(reader, element.value)
    if encoding is None:
        raise InputError(
            f"{tag_text(element.tag)} is no sequence", advice="correct it first", code="E_SEQUENCE", tag=element.tag
        )
    return Rewriting(reader, element.value, element.end, encoding, target, context, changes, element, lengths=lengths)


def _unknown_encoding(reader: Reader, value: int) -> Encoding | None:
    """Return how the items of a sequence written as UN are encoded; None if there are none.

    The standard requires Implicit VR, but some writers only change the VR to UN.
    """
    head = reader.pread(14, value)
    if head[:4] != tag_bytes(ITEM, IMPLICIT_LITTLE):
        return None
    return EXPLICIT_LITTLE if head[12:14] in VRS else IMPLICIT_LITTLE


def is_sequence(reader: Reader, element: Element) -> bool:
    """Tell whether an element that was written as UN is a sequence: only items, and only elements in them."""
    encoding = _unknown_encoding(reader, element.value)
    if encoding is None or element.length == UNDEFINED:
        return encoding is not None
    return _are_items(Cursor(reader), element.value, element.end, encoding, {})


def _are_items(cursor: Cursor, position: int, end: int, encoding: Encoding, ends: dict[int, int]) -> bool:
    try:
        while position < end:
            header = element_at(cursor.reader.pread(8, position), 0, IMPLICIT_LITTLE)
            if header is None or header[0] != ITEM:
                return False
            position += 8
            if header[3] == UNDEFINED:
                position = skip_items(cursor, position, encoding, ITEM, in_item=True, ends=ends)
            else:
                _elements(cursor, position, position + header[3], encoding, ends)
                position += header[3]
    except InputError:
        return False
    return position == end


class _Swapped(Record):
    """A large value that is read and swapped, `unit` bytes at a time, when it is written."""

    start: int
    end: int
    unit: int


def _swapped(reader: Reader, value: _Swapped) -> Iterator[bytes]:
    for start in range(value.start, value.end, _PIECE):
        yield swap(_read(reader, start, min(start + _PIECE, value.end)), value.unit)


def _read(reader: Reader, start: int, end: int) -> bytes:
    data = reader.pread(end - start, start)
    if len(data) < end - start:
        raise InputError("the file became shorter while it was read", code="E_TRUNCATED")
    return data


class _Level:
    """One open sequence or data set: where it ends (None if a delimiter ends it), and where it starts in the output.

    `defined` tells whether it is written with a length; `number` counts such levels. `place` is the index of its header
    among the pieces. `count` is how many items of a sequence were seen.
    """

    __slots__ = (
        "changes", "context", "count", "defined", "encoding", "end", "items", "number", "pending", "place", "start",
        "tag",
    )  # fmt: skip

    def __init__(self, tag: int, end: int | None, encoding: Encoding, context: Context, *, items: bool) -> None:
        self.tag = tag
        self.end = end
        self.encoding = encoding
        self.context = context
        self.items = items
        self.changes: Mapping[int, bytes] = {}
        self.pending: list[int] = []
        self.start = 0
        self.defined = True
        self.number = 0
        self.place = 0
        self.count = 0


class Rewriting:
    """Whole elements of one data set in another encoding.

    `changes` may replace elements of any item inside. The walk uses a list of open levels, not recursion, so sequences
    may nest to any depth. Defined lengths stay defined and are recomputed; undefined lengths stay undefined, unless
    `lengths` says otherwise. `depth` is that of the data set itself, 0 at top level.
    The elements are read once to compute those lengths, and a second time when they are written, unless the result is
    small enough to keep. Large values stay in the file. `size` is in bytes. `changed` tells whether any item got new
    elements.

    With `unknown`, an element written as UN, the bytes between `start` and `end` are the items of that sequence.

    Raises InputError if the bytes are not elements, and whatever `changes` raise.
    """

    def __init__(
        self,
        reader: Reader,
        start: int,
        end: int,
        source: Encoding,
        target: Encoding,
        context: Context,
        changes: Iterable[Change] = (),
        unknown: Element | None = None,
        *,
        lengths: Lengths = Lengths.KEEP,
        depth: int = 0,
    ) -> None:
        self._reader = reader
        self._bounds = (start, end)
        self._source = source
        self._target = target
        self._context = context
        self._changes = tuple(changes)
        self._everywhere = tuple(change for change in self._changes if getattr(change, "everywhere", False))
        self._unknown = unknown
        self._lengths = lengths
        self._depth = depth
        self._slices = Slices(reader)
        self._cursor, self._ahead = Cursor(reader), Cursor(reader)
        # Ends of items and sequences of undefined length, by their starts, so that each is searched for only once.
        self._ends: dict[int, int] = {}
        # What costs little is made twice, not kept: a sequence may have millions of items.
        self._keeps_made = len(self._everywhere) < len(self._changes)
        self._made: dict[int, dict[int, bytes]] = {}
        self.changed = False
        self._sizes: array[int] = array("Q")
        self._describing: _Finder | None = None
        self._pixels: _Finder | None = None
        self._kept: list[bytes | Span | _Swapped] | None = []
        self._measured = False
        self._begin()
        while self._step():
            if self._weight > _KEPT:
                self._kept = None
                self._drop()
        self.size = self._total
        if self._kept is not None:
            self._kept = self._out
        self._measured = True

    def pieces(self) -> Iterator[Piece]:
        """Yield the output, bytes and spans of the source, a piece at a time."""
        run = bytearray()
        for piece in self._written():
            if isinstance(piece, bytes):
                run += piece
                if len(run) >= _PIECE:
                    yield bytes(run)
                    run.clear()
                continue
            if run:
                yield bytes(run)
                run.clear()
            if isinstance(piece, Span):
                yield piece
            else:
                yield from _swapped(self._reader, piece)
        if run:
            yield bytes(run)

    def whole(self) -> bytes:
        """Return the whole output."""
        return b"".join(
            _read(self._reader, piece.start, piece.end) if isinstance(piece, Span) else piece
            for piece in self.pieces()
            if isinstance(piece, bytes | Span)
        )

    def _written(self) -> Iterator[bytes | Span | _Swapped]:
        if self._kept is not None:
            yield from self._kept
            return
        self._begin()
        while self._step():
            if self._weight > _KEPT:
                yield from self._out
                self._drop()
        yield from self._out

    # --- going through the elements --------------------------------------------------------------------------

    def _begin(self) -> None:
        start, end = self._bounds
        self._position = start
        self._total = 0
        self._count = 0
        self._drop()
        self._levels = [_Level(0, end, self._source, self._context, items=False)]
        unknown = self._unknown
        if unknown is not None:
            stop = None if unknown.length == UNDEFINED else end
            self._open(_Level(unknown.tag, stop, self._source, self._context, items=True))

    def _step(self) -> bool:
        """Process one header; return whether there is more."""
        level = self._levels[-1]
        start = self._position
        if level.end is not None and start >= level.end:
            if start > level.end:
                raise self._damaged(level.end)
            if len(self._levels) == 1:
                return False
            self._close()
            return True
        at = self._cursor.at(start, 12)
        header = element_at(self._cursor.buffer, at, level.encoding)
        if header is None:
            limit = self._bounds[1] if level.end is None else level.end
            header = header_at(self._cursor, start, level.encoding, limit, nested=len(self._levels) > 1)
        if header is None:
            raise self._damaged(start)
        tag, vr, size, length = header
        self._position += size
        if tag == (SEQUENCE_END if level.items else ITEM_END) and level.end is None:
            self._close()
        elif level.items:
            self._item(level, tag, length, start)
        elif tag >> 16 == 0xFFFE:
            raise self._damaged(start)
        else:
            self._element(level, tag, vr, length)
        return True

    def _damaged(self, position: int) -> InputError:
        within = self._levels[1].tag if len(self._levels) > 1 else self._levels[0].tag
        return InputError(
            f"sequence {tag_text(within)} is damaged {position - self._bounds[0]} bytes from its start",
            advice="correct it first",
            code="E_SEQUENCE",
            tag=within,
        )

    def _item(self, level: _Level, tag: int, length: int, start: int) -> None:
        """Open an item."""
        if tag != ITEM:
            raise self._damaged(start)
        end = None if length == UNDEFINED else self._position + length
        limit = self._bounds[1] if end is None else end
        encoding = item_encoding(self._cursor, self._position, limit, level.encoding)
        item = _Level(ITEM, end, encoding, self._context_of(end, encoding, level.context), items=False)
        if self._changes:
            item.changes = self._changes_of(end, encoding, level.count)
            level.count += 1
            if ITEM in item.changes:
                self._position = end if end is not None else self._skip(encoding, in_item=True)
                return
            item.pending = sorted(item.changes)
        self._open(item)

    def _changes_of(self, end: int | None, encoding: Encoding, index: int) -> Mapping[int, bytes]:
        """Return the new elements of the item that starts here. What is not cheap is computed only once."""
        start = self._position
        if self._measured and self._keeps_made:
            return self._made.get(start, {})
        stop = end if end is not None else self._skip(encoding, in_item=True) - 8
        path = tuple(outer.tag for outer in self._levels[: 2 * _LONGEST_PATH] if outer.items)
        depth = self._depth + sum(outer.items for outer in self._levels)
        parts = self._parse(start, stop, encoding)
        view = Item(path, parts, self._slices, encoding=encoding, depth=depth, again=self._measured, index=index)
        made: dict[int, bytes] = {}
        for change in self._changes:
            made.update(change(view))
            if ITEM in made:
                made = dict(LEFT_OUT)
                break
        if made and (self._everywhere or self._lengths is not Lengths.KEEP):
            made = {tag: self._made_over(element, depth) for tag, element in made.items()}
        if made:
            self.changed = True
            if self._keeps_made:
                self._made[start] = made
        return made

    def _made_over(self, element: bytes, depth: int) -> bytes:
        """Return an element that a change made; if it is a sequence, as its items must be written."""
        header = element_at(element, 0, self._target)
        if header is None:
            return element
        tag, vr, _, length = header
        if vr != b"SQ" and (vr != NO_VR or look_up(tag, length, self._context) != b"SQ"):
            return element
        return Rewriting(
            Memory(element), 0, len(element), self._target, self._target, self._context, self._everywhere,
            lengths=self._lengths, depth=depth,
        ).whole()  # fmt: skip

    def _parse(self, start: int, stop: int, encoding: Encoding) -> list[Element]:
        return _elements(self._ahead, start, stop, encoding, self._ends)

    def _context_of(self, end: int | None, encoding: Encoding, outer: Context) -> Context:
        """Return the context of the item that starts here. Its attributes may follow the elements that need them."""
        if not encoding.implicit or self._target.implicit:
            return outer
        stop = end if end is not None else self._skip(encoding, in_item=True) - 8
        if self._describing is None:
            self._describing = _Finder(self._reader, *self._bounds, CONTEXT_TAGS)
        context = outer
        if self._describing.finds(self._position, stop):
            for part in self._parse(self._position, stop, encoding):
                if part.tag in CONTEXT_TAGS and part.length != UNDEFINED:
                    context = context.seen(part.tag, self._slices[part.value : min(part.value + 2, part.end)], encoding)
        return context

    def _element(self, level: _Level, tag: int, vr: bytes, length: int) -> None:
        """Write a plain element, or open a sequence."""
        value = self._position
        undefined = length == UNDEFINED
        if vr == NO_VR:
            vr = look_up(tag, length, level.context)
        while level.pending and level.pending[0] <= tag:
            self._emit(level.changes[level.pending.pop(0)])
        if tag in level.changes or tag & 0xFFFF == 0:
            self._position = self._behind(vr, length, level.encoding)
            return
        if vr in _SEQUENCES:
            inside = self._encoding_inside(level, vr, length)
            if inside is not None:
                end = None if undefined else value + length
                self._open(_Level(tag, end, inside, level.context, items=True))
                return
        end = self._position = self._behind(vr, length, level.encoding) if undefined else value + length
        if end > self._bounds[1]:
            raise self._damaged(value)
        # Undefined length here means UN or the fragments of Pixel Data inside a sequence: the bytes are copied.
        vr = vr if undefined else fitting(b"UN" if vr == b"SQ" else vr, length)
        swaps = level.encoding.big_endian != self._target.big_endian and not undefined
        header = element_header(tag, vr, length, self._target)
        self._emit_plain(header, value, end, SWAP_UNIT.get(vr, 1) if swaps else 1)

    def _encoding_inside(self, level: _Level, vr: bytes, length: int) -> Encoding | None:
        """Return how the items of the element whose value starts here are encoded; None if it is not a sequence.

        UN counts as a sequence only if its items may have to change: pixels follow the transfer syntax at any depth.
        With an undefined length it is one for certain (PS3.5 6.2.2), and its lengths may have to change.
        """
        value = self._position
        undefined = length == UNDEFINED
        if vr == b"SQ":
            return level.encoding if undefined or self._holds_items(value, length, level.encoding) else None
        opens = undefined and self._lengths is not Lengths.KEEP
        if vr != b"UN" or not (self._changes or opens) or (not undefined and length < 8):
            return None
        encoding = _unknown_encoding(self._reader, value)
        if encoding is None or opens:
            return encoding
        stop = self._skip(IMPLICIT_LITTLE, in_item=False) if undefined else value + length
        if self._everywhere:
            return encoding if undefined or _are_items(self._ahead, value, stop, encoding, self._ends) else None
        if self._pixels is None:
            self._pixels = _Finder(self._reader, *self._bounds, [PIXEL_DATA])
        if not self._pixels.finds(value, stop):
            return None
        return encoding if undefined or _are_items(self._ahead, value, stop, encoding, self._ends) else None

    def _behind(self, vr: bytes, length: int, encoding: Encoding) -> int:
        if length == UNDEFINED:
            return self._skip(nested_encoding(vr, encoding), in_item=False)
        return self._position + length

    def _skip(self, encoding: Encoding, *, in_item: bool) -> int:
        tag = self._levels[-1].tag
        return skip_items(self._ahead, self._position, encoding, tag, in_item=in_item, ends=self._ends)

    def _holds_items(self, value: int, length: int, encoding: Encoding) -> bool:
        return length == 0 or self._reader.pread(4, value) == tag_bytes(ITEM, encoding)

    # --- writing ---------------------------------------------------------------------------------------------

    def _drop(self) -> None:
        self._out: list[bytes | Span | _Swapped] = []
        self._weight = 0

    def _emit(self, data: bytes) -> None:
        self._out.append(data)
        self._total += len(data)
        self._weight += len(data) + _OVERHEAD

    def _emit_plain(self, header: bytes, start: int, end: int, unit: int) -> None:
        """Write a header and the value between two offsets: its bytes if it is short, else its offsets."""
        length = end - start
        if length > _SMALL:
            self._emit(header)
            self._out.append(Span(start, end) if unit == 1 else _Swapped(start, end, unit))
            self._total += length
            return
        at = self._cursor.at(start, length)
        data = self._cursor.buffer[at : at + length]
        if len(data) < length:
            raise self._damaged(start)
        self._emit(header + (data if unit == 1 else swap(data, unit)))

    def _open(self, level: _Level) -> None:
        """Open a sequence or an item, and write its header. A defined length is known only in the second pass."""
        length = UNDEFINED
        level.defined = self._lengths.defined(level.end is not None)
        if level.defined:
            level.number = self._count
            self._count += 1
            if not self._measured:
                self._sizes.append(0)
            length = self._sizes[level.number]
        level.place = len(self._out)
        self._emit(self._header_of(level, length))
        level.start = self._total
        self._levels.append(level)

    def _close(self) -> None:
        """End the sequence or item that ends here."""
        level = self._levels.pop()
        for tag in level.pending:
            self._emit(level.changes[tag])
        if not level.defined:
            self._emit(_header(SEQUENCE_END if level.items else ITEM_END, NO_VR, 0, self._target))
            return
        if self._measured:
            return
        size = self._total - level.start
        if size >= UNDEFINED:
            raise RefusedError(
                f"sequence {tag_text(self._levels[min(1, len(self._levels) - 1)].tag)} would have {size} bytes, more "
                "than its length can say",
                code="E_SIZE",
            )
        self._sizes[level.number] = size
        if self._kept is not None:
            self._out[level.place] = self._header_of(level, size)

    def _header_of(self, level: _Level, length: int) -> bytes:
        return _header(level.tag, b"SQ" if level.items else NO_VR, length, self._target)


class _Finder:
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


def append_item(sequence: bytes, tag: int, item: bytes, encoding: Encoding = EXPLICIT_LITTLE) -> bytes:
    """Return a sequence with one item appended; empty bytes make a new sequence.

    The sequence is in this encoding, and so is the result. The item is in Explicit VR Little Endian.
    """
    added = _header(ITEM, NO_VR, len(item), EXPLICIT_LITTLE) + item
    new = element_header(tag, b"SQ", len(added), EXPLICIT_LITTLE) + added
    if encoding != EXPLICIT_LITTLE:
        new = rewrite(new, EXPLICIT_LITTLE, encoding, Context())
    if not sequence:
        return new
    start = 8 if encoding.implicit else 12
    added = new[start:]
    if int.from_bytes(sequence[start - 4 : start], "big" if encoding.big_endian else "little") == UNDEFINED:
        return sequence[:-8] + added + sequence[-8:]
    return element_header(tag, b"SQ", len(sequence) - start + len(added), encoding) + sequence[start:] + added


def _header(tag: int, vr: bytes, length: int, encoding: Encoding) -> bytes:
    """Return a header; items and delimiters have no VR in any encoding (PS3.5 7.5)."""
    if tag >> 16 != 0xFFFE:
        return element_header(tag, vr, length, encoding)
    order = "big" if encoding.big_endian else "little"
    return b"".join(number.to_bytes(size, order) for number, size in ((tag >> 16, 2), (tag & 0xFFFF, 2), (length, 4)))  # type: ignore[arg-type]


def parse(
    reader: Reader, start: int, end: int, encoding: Encoding, ends: dict[int, int] | None = None
) -> list[Element]:
    """Return the elements between two offsets, each sequence as one element; `ends` is that of `skip_items`.

    Raises InputError if an element extends beyond `end`.
    """
    return _elements(Cursor(reader), start, end, encoding, {} if ends is None else ends)


def _elements(cursor: Cursor, start: int, end: int, encoding: Encoding, ends: dict[int, int]) -> list[Element]:
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


def fitting(vr: bytes, length: int) -> bytes:
    """Return the VR, or UN if the value is too long for its 16-bit length or the VR is unknown (PS3.5 6.2.2)."""
    return b"UN" if vr not in VRS or (vr in SHORT_VRS and length > LARGEST_SHORT) else vr
