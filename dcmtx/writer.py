"""The file that a plan makes of a source: File Meta Information, data set, pixels, and what stands behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dcmtx.engine import Frame, FrameCoder, read_stream, run
from dcmtx.errors import InputError, OutputError
from dcmtx.header import (
    SWAP_UNIT,
    UNDEFINED,
    Edit,
    Element,
    Piece,
    Replace,
    Slot,
    Span,
    element_header,
    splice,
    swap,
)
from dcmtx.pixel.items import Layout
from dcmtx.plan import Plan, Route
from dcmtx.rules import image
from dcmtx.rules.identity import file_meta
from dcmtx.sink import Sink
from dcmtx.source import Source
from dcmtx.syntax import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE

if TYPE_CHECKING:
    from dcmtx.encoding import Context

_PIECE = 1 << 20
# How a nested group length looks behind its group: number 0000, UL, length 4.
_GROUP_LENGTH = {
    EXPLICIT_LITTLE: b"\x00\x00UL\x04\x00",
    EXPLICIT_BIG: b"\x00\x00UL\x00\x04",
    IMPLICIT_LITTLE: b"\x00\x00\x04\x00\x00\x00",
}


class Writer:
    """Writes one file. `write` goes through it from front to back; the frames are never held together."""

    def __init__(self, source: Source, plan: Plan, sink: Sink, workers: int) -> None:
        self._source = source
        self._plan = plan
        self._sink = sink
        self._workers = workers
        self._encoding = plan.syntax.encoding
        self._slots: dict[str, int] = {}

    def write(self) -> None:
        """Write everything. Raises whatever the frames or the destination give reason for."""
        source, plan = self._source, self._plan
        self._sink.write(file_meta(source.head, source.header, plan.syntax))
        if plan.syntax.deflated:
            self._sink.deflate()
        header = source.header
        last = plan.pixel_tag if header.pixel is not None else UNDEFINED
        before = {tag: edit for tag, edit in plan.edits.items() if tag < last}
        behind = {tag: edit for tag, edit in plan.edits.items() if tag > last}
        self._write_elements(header.elements, before)
        if header.pixel is not None:
            self._write_pixels()
        self._write_elements(header.tail, behind)

    # --- elements --------------------------------------------------------------------------------------------

    def _write_elements(self, elements: list[Element], edits: dict[int, Edit]) -> None:
        for piece in self._pieces(elements, edits):
            if isinstance(piece, Span):
                for data in self._source.pieces(piece):
                    self._sink.write(data)
            elif isinstance(piece, Slot):
                self._sink.write(piece.header)
                self._slots[piece.key] = self._sink.bytes
                self._sink.write(bytes(piece.width))
            else:
                self._sink.write(piece)

    def _pieces(self, elements: list[Element], edits: dict[int, Edit]) -> Iterator[Piece]:
        header = self._source.header
        if header.encoding == self._encoding:
            return splice(elements, edits | self._without_group_lengths(elements), self._encoding)
        from dcmtx.encoding import transcribe

        return transcribe(header.reader, elements, edits, header.encoding, self._encoding, self._context())

    def _context(self) -> Context:
        from dcmtx.encoding import Context

        header = self._source.header
        return Context(
            signed=header.number(image.PIXEL_REPRESENTATION) == 1,
            allocated=header.number(image.BITS_ALLOCATED) or 16,
            waveform_allocated=header.number(0x54001004) or 16,
        )

    def _without_group_lengths(self, elements: Iterable[Element]) -> dict[int, Edit]:
        """Return the sequences that hold a retired group length, without it (PS3.5 7.2)."""
        header = self._source.header
        pattern = _GROUP_LENGTH[self._encoding]
        edits: dict[int, Edit] = {}
        for element in elements:
            if element.vr == b"SQ" or element.length == UNDEFINED:
                if element.vr == b"UN" or not self._holds(element, pattern):
                    continue
                old = header.reader.pread(element.end - element.start, element.start)
                from dcmtx.encoding import rewrite

                new = rewrite(old, self._encoding, self._encoding, self._context())
                if len(new) != len(old):
                    edits[element.tag] = Replace(element.tag, new)
        return edits

    def _holds(self, element: Element, pattern: bytes) -> bool:
        rest = b""
        for data in self._source.pieces(Span(element.value, element.end)):
            if pattern in rest + data:
                return True
            rest = data[-len(pattern) + 1 :]
        return False

    # --- pixels ----------------------------------------------------------------------------------------------

    def _write_pixels(self) -> None:
        if self._plan.route is Route.CARRY:
            self._carry()
        elif self._plan.syntax.encapsulated:
            self._encapsulate()
        else:
            self._write_native()

    def _frames(self) -> Iterator[Frame]:
        """Yield the frames as the target holds them, in order."""
        plan = self._plan
        assert plan.coded_out is not None
        if plan.route is Route.REWRAP:
            return map(self._bare_codestream, range(plan.coded_out.frames))
        return run(FrameCoder(plan, self._source), plan.coded_out.frames, self._workers)

    def _bare_codestream(self, number: int) -> bytes:
        """Return a frame of the source as it is, but for JP2 boxes (PS3.5 A.4.4)."""
        data = self._source.frame(number)
        assert self._plan.coded_in is not None
        stream = read_stream(self._source.syntax, data, self._plan.coded_in)
        return data[stream.start : stream.end] if stream.boxed else data

    def _encapsulate(self) -> None:
        """Write fragments, one per frame, and fill the offset table afterwards (PS3.5 A.4)."""
        plan, sink = self._plan, self._sink
        assert plan.coded_out is not None
        layout = Layout(plan.table, plan.coded_out.frames)
        sink.write(element_header(plan.pixel_tag, plan.pixel_vr, UNDEFINED, self._encoding))
        self._slots["basic"] = sink.bytes + 8
        sink.write(layout.header())
        for frame in self._frames():
            item, pad = layout.item(len(frame))
            sink.write(item)
            sink.write(frame)
            if pad:
                sink.write(pad)
        sink.write(layout.trailer())
        for key, value in layout.tables().items():
            sink.patch(self._slots[key], value)

    def _write_native(self) -> None:
        """Write decoded frames as native cells (PS3.5 8.1.1)."""
        plan = self._plan
        fmt = plan.coded_out
        assert fmt is not None
        unit = SWAP_UNIT.get(plan.pixel_vr, 1) if self._encoding.big_endian else 1
        length = fmt.native_bytes
        self._pixel_header(length)
        written = 0
        for frame in self._packed() if fmt.allocated == 1 else self._frames():
            self._sink.write(swap(bytes(frame), unit) if unit > 1 else frame)
            written += len(frame)
        if written != length:
            raise InputError(f"the frames have {written} bytes instead of {length}", code="E_TRUNCATED")
        self._sink.write(bytes(length % 2))

    def _packed(self) -> Iterator[bytes]:
        """Yield frames of 1-bit pixels packed so that they run on across frames."""
        from dcmtx.pixel.bits import BitPacker

        packer = BitPacker()
        for frame in self._frames():
            yield packer.pack(frame)
        yield packer.flush()

    def _carry(self) -> None:
        """Write native cells that stay what they are, swapped where the byte order changes."""
        plan, source = self._plan, self._source
        pixel = source.pixel
        assert pixel is not None
        length = plan.coded_out.native_bytes if plan.coded_out else pixel.length
        unit = SWAP_UNIT.get(plan.pixel_vr, 1) if self._encoding.big_endian else 1
        self._pixel_header(length)
        for offset in range(0, length, _PIECE):
            data = source.native_bytes(offset, min(_PIECE, length - offset))
            last = offset + _PIECE >= length
            data += bytes(length % 2) if last else b""
            self._sink.write(swap(data, unit))

    def _pixel_header(self, length: int) -> None:
        even = length + length % 2
        if even >= UNDEFINED:
            raise OutputError(f"{even} bytes of native pixels do not fit a 32-bit length")
        self._sink.write(element_header(self._plan.pixel_tag, self._plan.pixel_vr, even, self._encoding))
