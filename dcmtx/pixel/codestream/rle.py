"""The header of RLE (PS3.5 G.5)."""

from __future__ import annotations

import struct

from dcmtx.errors import InputError
from dcmtx.pixel.codestream.header import Codestream, Transform, short


def read(data: bytes, samples: int) -> Codestream:
    """Read the 64-byte header (PS3.5 G.5): the number of segments and where they start.

    An RLE header has no rows and columns: they are 0 here, and the decoder checks the length.
    """
    if len(data) < 64:
        raise short("RLE")
    count, *offsets = struct.unpack_from("<16I", data)
    used = offsets[:count]
    if not 1 <= count <= 15 or used[0] != 64 or sorted(set(used)) != used or used[-1] > len(data):
        raise InputError(
            f"the RLE header names {count} segments at {used[:3]}...; the pixel data is damaged", code="E_CODESTREAM"
        )
    if count % samples:
        raise InputError(
            f"the RLE codestream has {count} segments, which {samples} samples per pixel do not divide",
            code="E_CODESTREAM",
        )
    return Codestream(
        "rle", 0, 0, components=samples, precision=8 * count // samples, transform=Transform.NONE, end=len(data)
    )
