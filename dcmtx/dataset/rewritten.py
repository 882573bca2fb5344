"""What is written of rewritten elements: pieces of bytes and of the source, with lengths that are computed."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping

from dcmtx.dataset.dictionary import Context
from dcmtx.dataset.edit import Piece, Span
from dcmtx.dataset.element import ITEM_END, NO_VR, SEQUENCE_END, UNDEFINED, element_header, swap, tag_text
from dcmtx.errors import InputError, RefusedError
from dcmtx.place.bytes import Reader
from dcmtx.policy import Lengths
from dcmtx.record import Record
from dcmtx.syntax import Encoding

# Values of up to so many bytes are copied, not left in the file.
SHORT = 1 << 14
# So many bytes are read or yielded at a time.
_PIECE = 1 << 20
# Written pieces are kept in memory up to _KEPT bytes; beyond that they are made again, a piece at a time. Each piece
# counts _OVERHEAD bytes more.
_KEPT = 1 << 22
_OVERHEAD = 64


class Swapped(Record):
    """A large value that is read and swapped, `unit` bytes at a time, when it is written."""

    start: int
    end: int
    unit: int


class Level:
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


class Output:
    """The pieces, made in two passes: the first measures the sequences and items, whose headers the second writes.

    If the pieces of the first are few enough, they are kept, and no second is needed. `total` is how many bytes were
    written in this pass. `measured` tells that the first pass is done.
    """

    def __init__(self, target: Encoding, lengths: Lengths) -> None:
        self._target = target
        self._lengths = lengths
        self._sizes: array[int] = array("Q")
        self._keeps = True
        self.measured = False
        self.begin()

    @property
    def kept(self) -> bool:
        """Whether the pieces of the first pass are all there is to write."""
        return self.measured and self._keeps

    @property
    def full(self) -> bool:
        """Whether the pieces are too many to be kept any longer."""
        return self._weight > _KEPT

    def begin(self) -> None:
        """Begin a pass."""
        self.total = 0
        self._count = 0
        self._drop()

    def forget(self) -> None:
        """Leave the pieces of the first pass, which only measures from now on."""
        self._keeps = False
        self._drop()

    def end(self) -> None:
        """End the first pass."""
        self.measured = True

    def take(self) -> list[bytes | Span | Swapped]:
        """Return the pieces so far, and go on without them unless they are kept."""
        pieces = self._pieces
        if not self.kept:
            self._drop()
        return pieces

    def _drop(self) -> None:
        self._pieces: list[bytes | Span | Swapped] = []
        self._weight = 0

    def emit(self, data: bytes) -> None:
        """Write bytes."""
        self._pieces.append(data)
        self.total += len(data)
        self._weight += len(data) + _OVERHEAD

    def emit_later(self, start: int, end: int, unit: int) -> None:
        """Write what is between two offsets of the source, `unit` bytes swapped at a time."""
        self._pieces.append(Span(start, end) if unit == 1 else Swapped(start, end, unit))
        self.total += end - start

    def open(self, level: Level) -> None:
        """Write the header of a sequence or an item. A defined length is known only in the second pass."""
        length = UNDEFINED
        level.defined = self._lengths.defined(level.end is not None)
        if level.defined:
            level.number = self._count
            self._count += 1
            if not self.measured:
                self._sizes.append(0)
            length = self._sizes[level.number]
        level.place = len(self._pieces)
        self.emit(self._header_of(level, length))
        level.start = self.total

    def close(self, level: Level, within: int) -> None:
        """End a sequence or an item. `within` is the tag that the error names.

        Raises RefusedError if it has more bytes than its length can say.
        """
        if not level.defined:
            self.emit(header_of(SEQUENCE_END if level.items else ITEM_END, NO_VR, 0, self._target))
            return
        if self.measured:
            return
        size = self.total - level.start
        if size >= UNDEFINED:
            raise RefusedError(
                f"sequence {tag_text(within)} would have {size} bytes, more than its length can say", code="E_SIZE"
            )
        self._sizes[level.number] = size
        if self._keeps:
            self._pieces[level.place] = self._header_of(level, size)

    def _header_of(self, level: Level, length: int) -> bytes:
        return header_of(level.tag, b"SQ" if level.items else NO_VR, length, self._target)


def joined(reader: Reader, written: Iterable[bytes | Span | Swapped]) -> Iterator[Piece]:
    """Yield pieces with short ones joined, and long ones swapped a part at a time."""
    run = bytearray()
    for piece in written:
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
            yield from swapped(reader, piece)
    if run:
        yield bytes(run)


def swapped(reader: Reader, value: Swapped) -> Iterator[bytes]:
    """Yield a large value in the other byte order, a part at a time. Raises InputError."""
    for start in range(value.start, value.end, _PIECE):
        yield swap(read(reader, start, min(start + _PIECE, value.end)), value.unit)


def read(reader: Reader, start: int, end: int) -> bytes:
    """Return the bytes between two offsets. Raises InputError if they are not there any more."""
    data = reader.pread(end - start, start)
    if len(data) < end - start:
        raise InputError("the file became shorter while it was read", code="E_TRUNCATED")
    return data


def header_of(tag: int, vr: bytes, length: int, encoding: Encoding) -> bytes:
    """Return a header; items and delimiters have no VR in any encoding (PS3.5 7.5)."""
    if tag >> 16 != 0xFFFE:
        return element_header(tag, vr, length, encoding)
    order = "big" if encoding.big_endian else "little"
    return b"".join(number.to_bytes(size, order) for number, size in ((tag >> 16, 2), (tag & 0xFFFF, 2), (length, 4)))  # type: ignore[arg-type]
