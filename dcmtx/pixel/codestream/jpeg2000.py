"""The main headers of JPEG 2000 (T.800 A.5, A.6) and HTJ2K (T.814 A.3), in JP2 boxes or not."""

from __future__ import annotations

import struct

from dcmtx.errors import InputError
from dcmtx.pixel.codestream.header import Codestream, Transform, short


def read(data: bytes, start: int, end: int, *, boxed: bool) -> Codestream:
    """Walk the main header up to the first tile-part (T.800 A.2)."""
    if data[start : start + 4] != b"\xff\x4f\xff\x51":
        raise InputError("the JP2 boxes hold no codestream; the pixel data is damaged", code="E_CODESTREAM")
    stream = _siz(data, start + 4).replace(boxed=boxed, start=start, end=end)
    position = start + 2
    coded = False
    while True:
        if position + 4 > end:
            raise short("JPEG 2000")
        marker, length = struct.unpack_from(">HH", data, position)
        body = position + 4
        if marker == 0xFF90:
            stream = stream.replace(body=position)
            break
        if marker >> 8 != 0xFF or length < 2 or body + length - 2 > end:
            raise short("JPEG 2000")
        if marker == 0xFF50 and length >= 6 and data[body + 1] & 0x02:
            stream = stream.replace(kind="htj2k")
        elif marker == 0xFF52 and length >= 12:
            stream, coded = _cod(stream, data[body : body + length - 2]), True
        elif marker == 0xFF55:
            stream = stream.replace(tile_lengths=True)
        position += 2 + length
    if not coded:
        raise InputError("the JPEG 2000 codestream has no coding style; it is damaged", code="E_CODESTREAM")
    return stream


def _siz(data: bytes, position: int) -> Codestream:
    """Read SIZ, whose length field is at `position` (T.800 A.5.1)."""
    if len(data) < position + 38:
        raise short("JPEG 2000")
    x, y, x0, y0, tile_x, tile_y, tile_x0, tile_y0 = struct.unpack_from(">8I", data, position + 4)
    if not tile_x or not tile_y:
        raise short("JPEG 2000")
    (components,) = struct.unpack_from(">H", data, position + 36)
    entries = data[position + 38 : position + 38 + 3 * components]
    if not components or len(entries) < 3 * components:
        raise short("JPEG 2000")
    depths = set(entries[0::3])
    if len(depths) > 1:
        raise InputError(
            "the components of the JPEG 2000 codestream differ in precision or sign, which no photometric "
            "interpretation describes",
            code="E_CODESTREAM",
        )
    depth = depths.pop()
    return Codestream(
        "j2k", y - y0, x - x0, components=components, precision=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        tiles=-(-(x - tile_x0) // tile_x) * -(-(y - tile_y0) // tile_y),
        sampling=tuple((entries[3 * number + 1], entries[3 * number + 2]) for number in range(components)),
    )  # fmt: skip


def _cod(stream: Codestream, body: bytes) -> Codestream:
    """Read COD (T.800 A.6.1): progression, component transform, levels, wavelet."""
    progression, transformed, levels = body[1], body[4], body[5]
    reversible = body[9] == 1
    transform = Transform.NONE
    if transformed:
        transform = Transform.RCT if reversible else Transform.ICT
    return stream.replace(progression=progression, levels=levels, reversible=reversible, transform=transform)
