"""Data sets and frames that are put together, for the planners and the writer."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping

from dcmtx.dataset.edit import Span
from dcmtx.dataset.element import PIXEL_DATA, Element
from dcmtx.dataset.header import Header
from dcmtx.dataset.meta import FileMeta
from dcmtx.finding import Finding
from dcmtx.place.bytes import Memory
from dcmtx.syntax import EXPLICIT, EXPLICIT_LITTLE, Syntax
from dcmtx.transcoding.frames import Frames
from dcmtx.transcoding.source import DataSet

# Groups of many frames are written in pieces that are small beside what is in memory anyway.
_PIECE = 1 << 16
_NO_META = FileMeta(b"", (), dataset=0, declared=None)


class SpooledDataSet:
    """A data set in a temporary file, in Explicit VR Little Endian: a `DataSet` that is read in small pieces."""

    def __init__(self, header: Header, syntax: Syntax) -> None:
        self.meta = _NO_META
        self.header = header
        self.syntax = syntax
        self.notes: tuple[Finding, ...] = ()
        self.encoding = EXPLICIT_LITTLE
        self.reader = header.reader

    def pieces(self, span: Span) -> Iterator[bytes]:
        """Yield the bytes of a span, a piece at a time."""
        for position in range(span.start, span.end, _PIECE):
            yield self.reader.pread(min(_PIECE, span.end - position), position)


def dataset_of(elements: Mapping[int, bytes], frames: Frames, syntax: Syntax) -> DataSet:
    """Return a data set of encoded elements, and of the pixel element of `frames`, in Explicit VR Little Endian.

    `syntax` is that of the frames, if they are codestreams.
    """
    header = Header(Memory(b"".join([elements[tag] for tag in sorted(elements)])), 0, EXPLICIT_LITTLE)
    header.pixel = frames.pixel
    header.tail = [element for element in header.elements if element.tag > PIXEL_DATA]
    header.elements = [element for element in header.elements if element.tag < PIXEL_DATA]
    return DataSet(_NO_META, header, syntax if frames.encapsulated else EXPLICIT)


def frame_of(frames: Frames, number: int, vr: bytes) -> Frames:
    """Return one frame (0-based) as the frames of an image of its own; native ones in little endian, of this VR."""
    fmt, pixel, fragments = frames.format, frames.pixel, frames.fragments
    assert fmt is not None
    assert pixel is not None
    one = fmt.replace(frames=1)
    if fragments is not None:
        first, last = frames.starts[number], frames.starts[number + 1]
        part = fragments.replace(
            table=array(fragments.table.typecode),
            values=fragments.values[first:last],
            lengths=fragments.lengths[first:last],
            unended=False,
        )
        return frames.replace(format=one, fragments=part, starts=(0, last - first), notes=())
    length = one.frame_bytes
    if fmt.allocated == 1 or frames.swap_unit > 1:
        data = frames.frame(number)
        element = Element(PIXEL_DATA, vr, 0, 0, len(data), len(data))
        return Frames(Memory(data), EXPLICIT, element, format=one)
    start = pixel.value + number * length
    return Frames(frames.reader, EXPLICIT, Element(PIXEL_DATA, vr, start, start, length, start + length), format=one)
