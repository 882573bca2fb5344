"""A sink that deflates into another sink (PS3.5 A.5): raw RFC 1951, padded to an even number of bytes."""

from __future__ import annotations

import zlib

from dcmtx.place.sink import Data, Sink

_PIECE = 1 << 16


class Deflating:
    """Deflates into a sink, from its current position. What was written cannot be patched.

    `bytes` is the size of the underlying sink, including the deflated bytes written so far. Call `finish` before
    that sink is committed.
    """

    def __init__(self, sink: Sink) -> None:
        from isal import isal_zlib

        self._sink = sink
        # Ten times as fast as zlib at its default level; the output is a few percent larger.
        self._deflater = isal_zlib.compressobj(isal_zlib.ISAL_BEST_COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._start = sink.bytes

    @property
    def bytes(self) -> int:
        """The number of bytes in the underlying sink."""
        return self._sink.bytes

    def write(self, data: Data) -> None:
        """Append bytes, deflated."""
        # Large pieces give large outputs of varying size, which would fragment the heap.
        whole = memoryview(data)
        for start in range(0, len(whole), _PIECE):
            self._sink.write(self._deflater.compress(whole[start : start + _PIECE]))

    def patch(self, offset: int, data: Data) -> None:
        """Raise AssertionError: no plan for a deflated data set fills in values later."""
        raise AssertionError(f"{len(data)} bytes at {offset} are deflated already")

    def reserve(self, length: int) -> None:
        """Do nothing: the deflated size is unknown."""

    def finish(self) -> None:
        """Write the remaining output, and one zero after an odd number of bytes."""
        self._sink.write(self._deflater.flush())
        self._sink.write(b"\0" * ((self._sink.bytes - self._start) % 2))
