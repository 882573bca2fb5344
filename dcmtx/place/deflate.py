"""A sink before another that deflates what goes through it (PS3.5 A.5): raw RFC 1951, an even number of bytes."""

from __future__ import annotations

import zlib

from dcmtx.place.sink import Data, Sink

_PIECE = 1 << 16


class Deflating:
    """Deflates into a sink, from where that stands now. What was written can be patched no more.

    `bytes` counts those of the whole file, deflated, as far as they have come out. Needs `finish` before the sink
    behind it is committed.
    """

    def __init__(self, sink: Sink) -> None:
        from isal import isal_zlib

        self._sink = sink
        # Ten times as fast as zlib at its usual level, for some percent more bytes.
        self._deflater = isal_zlib.compressobj(isal_zlib.ISAL_BEST_COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._start = sink.bytes

    @property
    def bytes(self) -> int:
        """How many bytes the sink has."""
        return self._sink.bytes

    def write(self, data: Data) -> None:
        """Append bytes, deflated."""
        # What large pieces give is large, each of another size: memory in which no later piece fits would pile up.
        whole = memoryview(data)
        for start in range(0, len(whole), _PIECE):
            self._sink.write(self._deflater.compress(whole[start : start + _PIECE]))

    def patch(self, offset: int, data: Data) -> None:
        """Raise AssertionError: no plan for a deflated data set has anything to fill in later."""
        raise AssertionError(f"{len(data)} bytes at {offset} are deflated already")

    def reserve(self, length: int) -> None:
        """Do nothing: nobody knows how many bytes they will be."""

    def finish(self) -> None:
        """Write what is still held back, and one zero behind an odd number of bytes."""
        self._sink.write(self._deflater.flush())
        self._sink.write(b"\0" * ((self._sink.bytes - self._start) % 2))
