"""Whether the scan of a JPEG codestream holds its whole image, as the decoder itself shows.

libjpeg makes up what a scan lacks, and says nothing: once it has read past the end, it leaves every block that follows
without coefficients, and every line of lossless JPEG in the middle of the range. So the frame header is told of one
line of blocks more than there is. If the scan is complete, the first block of that line is decoded from the bits that
pad the last byte. If the scan ended early, that block is in the middle of the range; so may it be by chance, where the
image ends like that. Standard library only.

Sources: ITU-T T.81 B.2.2 (frame header), A.2 (order of blocks), F.1.2.3 and H.1.2 (padding).
"""

from __future__ import annotations

import struct
from typing import Any

from dcmtx.pixel.codestream import Codestream
from dcmtx.pixel.restarts import DRI
from dcmtx.record import Record

_SOF0, _SOF1, _SOF3 = 0xC0, 0xC1, 0xC3
# Rows and columns of a block of coefficients.
_BLOCK = 8
# More than libjpeg takes.
_TOO_TALL = 65500


class Taller(Record):
    """A codestream whose frame header has one line of blocks more: `data`.

    The first of these begins in row `first`, and has `rows` and `columns`; where it has no data, its samples are
    `middle`.
    """

    data: bytes
    first: int
    rows: int
    columns: int
    middle: int

    def shows_whole(self, samples: Any) -> bool:
        """Tell whether the samples decoded from it prove that the scan is complete; else that is not known."""
        if samples.ndim < 2:
            return False
        block = samples[self.first : self.first + self.rows, : self.columns]
        return bool((block != self.middle).any())


def taller(data: bytes, stream: Codestream) -> Taller | None:
    """Return a codestream with one line of blocks more; None where that proves nothing, or changes the lines before.

    That is so of several scans and of restarts, all of which must be complete, of chroma that rows share, which is
    interpolated with that of the next line, and of point transforms of lossless JPEG.
    """
    if stream.process not in (_SOF0, _SOF1, _SOF3) or stream.scanned != stream.components:
        return None
    if stream.components > 1 and any(vertical != 1 for _, vertical in stream.sampling):
        return None
    lossless = stream.process == _SOF3
    if DRI in data[: stream.body] or (lossless and (stream.near or stream.subsampled)):
        return None
    unit = 1 if lossless else _BLOCK
    first = -(-stream.rows // unit) * unit
    place = _rows_at(data, stream)
    if not stream.rows or first + unit > _TOO_TALL or place is None:
        return None
    widest = max(horizontal for horizontal, _ in stream.sampling) if stream.components > 1 else 1
    return Taller(
        data[:place] + struct.pack(">H", first + unit) + data[place + 2 :],
        first,
        rows=unit,
        columns=stream.columns if lossless else _BLOCK * widest,
        middle=1 << stream.precision - 1,
    )


def _rows_at(data: bytes, stream: Codestream) -> int | None:
    """Return the offset of the number of lines in the frame header; the segments before it were walked already."""
    position = 2
    while position < stream.body:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == stream.process:
            return position + 5
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None
