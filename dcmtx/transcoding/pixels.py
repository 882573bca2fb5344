"""Writes the pixel element as planned: in bulk, or frame by frame, as native cells or as fragments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from dcmtx.dataset.element import UNDEFINED, element_header, swap
from dcmtx.dataset.vr import SWAP_UNIT
from dcmtx.errors import InputError, OutputError
from dcmtx.pixel.encapsulation import Layout
from dcmtx.pixel.format import PixelFormat
from dcmtx.planning.plan import Plan
from dcmtx.policy import MEMORY, Cut
from dcmtx.record import Record
from dcmtx.transcoding.frames import Frames
from dcmtx.transcoding.tally import Digests, Tally

if TYPE_CHECKING:
    from dcmtx.pixel.bits import BitPacker
    from dcmtx.place.deflate import Deflating
    from dcmtx.place.sink import Sink
    from dcmtx.transcoding.encoded import EncodedFrame, Frame
    from dcmtx.transcoding.engine import Work

_PIECE = 1 << 20
# A thread takes a tenth of a millisecond to start, in which JPEG 2000 has a thousand samples coded, HTJ2K ten thousand.
_SAMPLES_PER_THREAD = 1 << 16
# Places to patch later, by key: offsets in the written file, and widths.
Slots = dict[str, list[tuple[int, int]]]


class Window(Record):
    """Limits for frames in progress: `most` workers, `cores` returns how many may run now, `memory` in bytes."""

    most: int
    cores: Callable[[], int]
    memory: int = MEMORY


def _part(frames: Frames, cut: Cut, fmt: PixelFormat | None) -> Frames:
    """Return the frames that a plan begins with, where it writes a part of the image; `fmt` is that of its source."""
    if fmt is None:
        return frames
    if frames.format is None:
        frames = frames.as_words(fmt.replace(frames=cut.first + cut.frames))
    return frames.part(cut.first, cut.frames).band(cut.top, fmt.rows)


class PixelWriter:
    """Writes one pixel element. The frames are never all held in memory.

    `slots` has the places of overlays and gets those of offset tables; `tally` and `digest` account for frames; `watch`
    is called with the number of frames written and their total.
    """

    def __init__(
        self,
        frames: Frames,
        plan: Plan,
        sink: Sink | Deflating,
        *,
        slots: Slots,
        window: Window,
        tally: Tally,
        digest: Digests | None,
        watch: Callable[[int, int], None] | None,
    ) -> None:
        if plan.cut is not None:
            frames = _part(frames, plan.cut, plan.source_format)
        self._frames = frames.in_words(plan.word_bytes)
        self._plan = plan
        self._sink = sink
        self._slots = slots
        self._window = window
        self._tally = tally
        self._digest = digest
        self._watch = watch
        self._encoding = plan.syntax.encoding
        self._overlays: list[tuple[int, BitPacker]] = []

    def write(self) -> None:
        """Write the pixel element. Raises the errors of the frames and of the destination."""
        self._reserve_overlays()
        if self._plan.route.is_bulk:
            self._carry()
        elif self._plan.target_format is not None:
            (self._encapsulate if self._plan.syntax.encapsulated else self._write_native)(self._plan.target_format)
        for offset, packer in self._overlays:
            self._sink.patch(offset, packer.flush())

    def _coded(self, fmt: PixelFormat) -> Iterator[EncodedFrame]:
        """Yield the frames as the target holds them, in order, and account for them."""
        plan = self._plan
        # Imported late: files whose native cells are carried do not need it.
        from dcmtx.transcoding.encoded import frame_memory
        from dcmtx.transcoding.engine import run

        frames = fmt.frames
        work = self._work(fmt)
        size = frame_memory(plan, self._frames)
        window = run(work, frames, self._window.most, self._window.cores, memory=self._window.memory, frame_bytes=size)
        # Here and in the callers, `del` frees each written frame before the next is requested. Otherwise one frame
        # more than the memory limit allows would be held.
        for coded in window:
            self._tally.add(coded)
            if self._watch is not None:
                self._watch(self._tally.frames, frames)
            if self._digest is not None and coded.words is not None:
                held = self._plan.source_format or fmt
                self._digest.add(coded.words, coded.given, one_bit=held.allocated == 1, one_bit_out=fmt.allocated == 1)
            for index, plane in enumerate(coded.overlays):
                self._write_overlay(index, plane)
            yield coded
            del coded

    def _work(self, fmt: PixelFormat) -> Work:
        """Return the work on a frame."""
        from dcmtx.transcoding.routes import work_of

        return work_of(self._plan, self._frames, keep_words=self._digest is not None, threads=self._threads(fmt))

    def _threads(self, fmt: PixelFormat) -> int:
        """Return over how many threads a frame is spread: where frames are fewer than cores, as many as would idle."""
        idle = min(self._window.cores(), self._window.most) // fmt.frames
        return max(1, min(idle, fmt.pixels * fmt.samples // _SAMPLES_PER_THREAD))

    def _reserve_overlays(self) -> None:
        """Record where the data of each overlay goes."""
        if self._plan.overlays:
            from dcmtx.pixel.bits import BitPacker

            self._overlays = [(self._slots[overlay.key][0][0], BitPacker()) for overlay in self._plan.overlays]

    def _write_overlay(self, index: int, plane: Frame) -> None:
        offset, packer = self._overlays[index]
        data = packer.pack(plane)
        self._sink.patch(offset, data)
        self._overlays[index] = (offset + len(data), packer)

    def _encapsulate(self, fmt: PixelFormat) -> None:
        """Write the fragments of each frame, and fill the offset table afterwards (PS3.5 A.4)."""
        plan, sink = self._plan, self._sink
        layout = Layout(plan.table, fmt.frames, plan.fragment_size)
        sink.write(element_header(plan.pixel_tag, plan.pixel_vr, UNDEFINED, self._encoding))
        self._slots["basic"] = [(sink.bytes + 8, 0)]
        sink.write(layout.header())
        for coded in self._coded(fmt):
            for data in layout.items(coded.data):
                sink.write(data)
                del data
            del coded
        sink.write(layout.trailer())
        for key, value in layout.tables().items():
            sink.patch(self._slots[key][0][0], value)

    def _write_native(self, fmt: PixelFormat) -> None:
        """Write decoded frames as native cells (PS3.5 8.1.1)."""
        plan = self._plan
        unit = SWAP_UNIT.get(plan.pixel_vr, 1) if self._encoding.big_endian else 1
        length = fmt.native_bytes
        self._pixel_header(length)
        written = 0
        for data in (self._packed if fmt.allocated == 1 else self._unpacked)(fmt):
            self._sink.write(swap(bytes(data), unit) if unit > 1 else data)
            written += len(data)
            del data
        if written != length:
            raise InputError(f"the frames have {written} bytes instead of {length}", code="E_TRUNCATED")
        self._sink.write(bytes(length % 2))

    def _unpacked(self, fmt: PixelFormat) -> Iterator[Frame]:
        """Yield frames as they are."""
        for coded in self._coded(fmt):
            data = coded.data
            del coded
            yield data
            del data

    def _packed(self, fmt: PixelFormat) -> Iterator[bytes]:
        """Yield frames of 1-bit pixels packed so that they run on across frames."""
        from dcmtx.pixel.bits import BitPacker

        packer = BitPacker()
        for coded in self._coded(fmt):
            yield packer.pack(coded.data)
            del coded
        yield packer.flush()

    def _carry(self) -> None:
        """Copy native cells, swapped where the byte order changes."""
        plan, held = self._plan, self._frames
        length = plan.target_format.native_bytes if plan.target_format else held.native_length
        unit = SWAP_UNIT.get(plan.pixel_vr, 1) if self._encoding.big_endian else 1
        if self._encoding.big_endian and held.big_endian:
            unit = held.swap_unit
        self._pixel_header(length)
        fmt = plan.source_format
        by_plane = fmt is not None and fmt.planar == 1
        if self._digest is not None and fmt is not None and by_plane:
            from dcmtx.codec.native import decode

            for number in range(fmt.frames):
                self._digest.source.add(decode(held.frame(number), fmt, fmt), one_bit=False)
        frames = 0 if fmt is None else fmt.frames
        for offset in range(0, length, _PIECE):
            if self._watch is not None and frames > 1:
                self._watch(offset * frames // length, frames)
            data = held.native_bytes(offset, min(_PIECE, length - offset))
            if self._digest is not None and not by_plane:
                self._digest.source.add_bytes(data)
            last = offset + _PIECE >= length
            data += bytes(length % 2) if last else b""
            self._sink.write(swap(data, unit))

    def _pixel_header(self, length: int) -> None:
        even = length + length % 2
        if even >= UNDEFINED:
            raise OutputError(f"{even} bytes of native pixels do not fit a 32-bit length")
        self._sink.reserve(even)
        self._sink.write(element_header(self._plan.pixel_tag, self._plan.pixel_vr, even, self._encoding))
