"""Overlay Data of a part of an image, which is read and cut when it is written."""

from __future__ import annotations

from collections.abc import Iterator

from dcmtx.dataset.element import Element, element_header, swap
from dcmtx.dataset.header import Header
from dcmtx.errors import InputError
from dcmtx.record import Record
from dcmtx.rules.overlay_cut import Plane
from dcmtx.syntax import Encoding


class OverlayData(Record):
    """Overlay Data of a part, as an element: it is read and cut when it is written, a plane at a time."""

    header: Header
    plane: Plane
    target: Encoding

    def pieces(self) -> Iterator[bytes]:
        """Yield the element, a piece at a time."""
        from dcmtx.pixel.planes import cut_planes, packed_bytes

        plane = self.plane
        element = self.header.get(plane.tag)
        assert element is not None
        yield element_header(plane.tag, b"OW", packed_bytes(plane.part), self.target)
        rest = b""
        parts = cut_planes(
            lambda offset, length: self._read(element, offset, length), plane.rows, plane.columns, plane.part
        )
        for part in parts:
            data = rest + part
            whole = len(data) - len(data) % 2
            yield swap(data[:whole], 2) if self.target.big_endian else data[:whole]
            rest = data[whole:]

    def _read(self, element: Element, offset: int, length: int) -> bytes:
        """Return bytes of the data in little endian."""
        swaps = self.header.encoding.big_endian and element.vr != b"OB"
        start = offset - offset % 2
        end = min(offset + length + (offset + length) % 2, element.length)
        data = self.header.reader.pread(end - start, element.value + start)
        data = swap(data, 2) if swaps else data
        if len(data) < end - start:
            raise InputError("the file became shorter while it was read", code="E_TRUNCATED")
        return data[offset - start : offset - start + length]
