"""Elements of a data set in another encoding, with changes inside sequences, in one walk that keeps nothing large.

Values are copied as bytes: strings are never decoded and encoded again, and numbers are only swapped. Only the
encoding of tag, VR and length changes. Large values stay in the file until they are written. UN stays UN
(PS3.5 6.2.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from dcmtx.dataset.cursor import Cursor, element_at, header_at, item_encoding, nested_encoding, skip_items
from dcmtx.dataset.dictionary import CONTEXT_TAGS, Context, look_up
from dcmtx.dataset.edit import Piece, Span
from dcmtx.dataset.element import (
    ITEM,
    ITEM_END,
    NO_VR,
    PIXEL_DATA,
    SEQUENCE_END,
    UNDEFINED,
    Element,
    element_header,
    fitting,
    swap,
    tag_bytes,
    tag_text,
)
from dcmtx.dataset.items import (
    LEFT_OUT,
    Change,
    Finder,
    Item,
    Slices,
    are_items,
    elements_in,
    unknown_encoding,
)
from dcmtx.dataset.rewritten import SHORT, Level, Output, Swapped, joined, read
from dcmtx.dataset.vr import SWAP_UNIT
from dcmtx.errors import InputError
from dcmtx.place.bytes import Memory, Reader
from dcmtx.policy import Lengths
from dcmtx.syntax import IMPLICIT_LITTLE, Encoding

_LONGEST_PATH = 16
# VRs that may hold items.
_SEQUENCES = frozenset([b"SQ", b"UN"])


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
) -> Rewriting:
    """Return the rewriting of one top-level sequence. A sequence that was written as UN becomes SQ (PS3.5 6.2.2).

    Raises InputError if it is not a sequence.
    """
    if element.vr != b"UN":
        return Rewriting(reader, element.start, element.end, source, target, context, changes, lengths=lengths)
    encoding = unknown_encoding(reader, element.value)
    if encoding is None:
        raise InputError(
            f"{tag_text(element.tag)} is no sequence", advice="correct it first", code="E_SEQUENCE", tag=element.tag
        )
    return Rewriting(reader, element.value, element.end, encoding, target, context, changes, element, lengths=lengths)


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
        self._describing: Finder | None = None
        self._pixels: Finder | None = None
        self._output = Output(target, lengths)
        self._begin()
        while self._step():
            if self._output.full:
                self._output.forget()
        self._output.end()
        self.size = self._output.total

    def pieces(self) -> Iterator[Piece]:
        """Yield the output, bytes and spans of the source, a piece at a time."""
        return joined(self._reader, self._written())

    def whole(self) -> bytes:
        """Return the whole output."""
        return b"".join(
            read(self._reader, piece.start, piece.end) if isinstance(piece, Span) else piece
            for piece in self.pieces()
            if isinstance(piece, bytes | Span)
        )

    def _written(self) -> Iterator[bytes | Span | Swapped]:
        if not self._output.kept:
            self._begin()
            while self._step():
                if self._output.full:
                    yield from self._output.take()
        yield from self._output.take()

    # --- going through the elements --------------------------------------------------------------------------

    def _begin(self) -> None:
        start, end = self._bounds
        self._position = start
        self._output.begin()
        self._levels = [Level(0, end, self._source, self._context, items=False)]
        unknown = self._unknown
        if unknown is not None:
            stop = None if unknown.length == UNDEFINED else end
            self._open(Level(unknown.tag, stop, self._source, self._context, items=True))

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

    def _item(self, level: Level, tag: int, length: int, start: int) -> None:
        """Open an item."""
        if tag != ITEM:
            raise self._damaged(start)
        end = None if length == UNDEFINED else self._position + length
        limit = self._bounds[1] if end is None else end
        encoding = item_encoding(self._cursor, self._position, limit, level.encoding)
        item = Level(ITEM, end, encoding, self._context_of(end, encoding, level.context), items=False)
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
        if self._output.measured and self._keeps_made:
            return self._made.get(start, {})
        stop = end if end is not None else self._skip(encoding, in_item=True) - 8
        path = tuple(outer.tag for outer in self._levels[: 2 * _LONGEST_PATH] if outer.items)
        depth = self._depth + sum(outer.items for outer in self._levels)
        parts = self._parse(start, stop, encoding)
        view = Item(path, parts, self._slices, encoding=encoding, depth=depth, again=self._output.measured, index=index)
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
        return elements_in(self._ahead, start, stop, encoding, self._ends)

    def _context_of(self, end: int | None, encoding: Encoding, outer: Context) -> Context:
        """Return the context of the item that starts here. Its attributes may follow the elements that need them."""
        if not encoding.implicit or self._target.implicit:
            return outer
        stop = end if end is not None else self._skip(encoding, in_item=True) - 8
        if self._describing is None:
            self._describing = Finder(self._reader, *self._bounds, CONTEXT_TAGS)
        context = outer
        if self._describing.finds(self._position, stop):
            for part in self._parse(self._position, stop, encoding):
                if part.tag in CONTEXT_TAGS and part.length != UNDEFINED:
                    context = context.seen(part.tag, self._slices[part.value : min(part.value + 2, part.end)], encoding)
        return context

    def _element(self, level: Level, tag: int, vr: bytes, length: int) -> None:
        """Write a plain element, or open a sequence."""
        value = self._position
        undefined = length == UNDEFINED
        if vr == NO_VR:
            vr = look_up(tag, length, level.context)
        while level.pending and level.pending[0] <= tag:
            self._output.emit(level.changes[level.pending.pop(0)])
        if tag in level.changes or tag & 0xFFFF == 0:
            self._position = self._behind(vr, length, level.encoding)
            return
        if vr in _SEQUENCES:
            inside = self._encoding_inside(level, vr, length)
            if inside is not None:
                end = None if undefined else value + length
                self._open(Level(tag, end, inside, level.context, items=True))
                return
        end = self._position = self._behind(vr, length, level.encoding) if undefined else value + length
        if end > self._bounds[1]:
            raise self._damaged(value)
        # Undefined length here means UN or the fragments of Pixel Data inside a sequence: the bytes are copied.
        vr = vr if undefined else fitting(b"UN" if vr == b"SQ" else vr, length)
        swaps = level.encoding.big_endian != self._target.big_endian and not undefined
        header = element_header(tag, vr, length, self._target)
        self._write(header, value, end, SWAP_UNIT.get(vr, 1) if swaps else 1)

    def _encoding_inside(self, level: Level, vr: bytes, length: int) -> Encoding | None:
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
        encoding = unknown_encoding(self._reader, value)
        if encoding is None or opens:
            return encoding
        stop = self._skip(IMPLICIT_LITTLE, in_item=False) if undefined else value + length
        if self._everywhere:
            return encoding if undefined or are_items(self._ahead, value, stop, encoding, self._ends) else None
        if self._pixels is None:
            self._pixels = Finder(self._reader, *self._bounds, [PIXEL_DATA])
        if not self._pixels.finds(value, stop):
            return None
        return encoding if undefined or are_items(self._ahead, value, stop, encoding, self._ends) else None

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

    def _write(self, header: bytes, start: int, end: int, unit: int) -> None:
        """Write a header and the value between two offsets: its bytes if it is short, else its offsets."""
        length = end - start
        if length > SHORT:
            self._output.emit(header)
            self._output.emit_later(start, end, unit)
            return
        at = self._cursor.at(start, length)
        data = self._cursor.buffer[at : at + length]
        if len(data) < length:
            raise self._damaged(start)
        self._output.emit(header + (data if unit == 1 else swap(data, unit)))

    def _open(self, level: Level) -> None:
        """Open a sequence or an item."""
        self._output.open(level)
        self._levels.append(level)

    def _close(self) -> None:
        """End the sequence or item that ends here."""
        level = self._levels.pop()
        for tag in level.pending:
            self._output.emit(level.changes[tag])
        self._output.close(level, self._levels[min(1, len(self._levels) - 1)].tag)
