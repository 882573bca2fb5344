"""A part of planes of bits, as overlays have them: a bit a pixel, without gaps between rows or planes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from dcmtx.pixel.bits import BitPacker
from dcmtx.policy import Cut


def cut_planes(read: Callable[[int, int], bytes], rows: int, columns: int, part: Cut) -> Iterator[bytes]:
    """Yield the bits of a part of planes of this size, packed, a plane at a time, and a byte to an even length.

    `read` returns bytes by offset and length.
    """
    packer = BitPacker()
    size, written = rows * columns, 0
    for number in range(part.first, part.end or 0):
        start = number * size
        data = np.frombuffer(read(start // 8, (start + size + 7) // 8 - start // 8), np.uint8)
        bits = np.unpackbits(data, bitorder="little")[start % 8 :][:size].reshape(rows, columns)
        made = packer.pack(bits[part.top : part.bottom, part.left : part.right])
        written += len(made)
        yield made
    rest = packer.flush()
    yield rest + bytes((written + len(rest)) % 2)


def packed_bytes(part: Cut) -> int:
    """Return how many bytes the bits of a part take, padded to an even length."""
    whole = (part.rows * part.columns * part.frames + 7) // 8
    return whole + whole % 2
