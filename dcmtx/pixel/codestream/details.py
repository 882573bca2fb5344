"""What a codestream says beyond its size and colour, for those who look at it. Never decodes.

Conversions need none of this, so the readers of headers do not look for it. Standard library only.

Sources: ITU-T T.81 B.2.4.4 (restart intervals), T.800 A.6.1 (coding style), A.7 (lengths), ISO/IEC 18181-2 9.1 (the
box of a JPEG file), PS3.5 G.5 (RLE).
"""

from __future__ import annotations

from dcmtx.pixel.codestream.header import Codestream
from dcmtx.record import Record

PROGRESSIONS = ("LRCP", "RLCP", "RPCL", "PCRL", "CPRL")
_COD, _TLM, _PLM, _PLT, _SOT, _SOD = 0xFF52, 0xFF55, 0xFF57, 0xFF58, 0xFF90, 0xFF93
_DRI, _LSE = 0xDD, 0xF8


class Details(Record):
    """More of one codestream header; each field is None where the family has no such thing.

    `restart_interval` counts MCUs, or lines in JPEG-LS (0: none). `layers`, `tile` (columns, rows) and `code_block`
    (columns, rows) are those of JPEG 2000; `packet_lengths` tells of PLT or PLM, `tile_part_lengths` of TLM.
    `presets` tells whether JPEG-LS has parameters of its own, `segments` counts those of RLE. `jpeg` tells whether JPEG
    XL holds what restores a JPEG file.
    """

    restart_interval: int | None = None
    presets: bool | None = None
    layers: int | None = None
    tile: tuple[int, int] | None = None
    code_block: tuple[int, int] | None = None
    tile_part_lengths: bool | None = None
    packet_lengths: bool | None = None
    jpeg: bool | None = None
    segments: int | None = None


def read(stream: Codestream, data: bytes) -> Details:
    """Return the details of a codestream whose header is `stream`; `data` may end behind its headers."""
    if stream.kind in ("jpeg", "jpegls"):
        return _jpeg(stream, data)
    if stream.kind in ("j2k", "htj2k"):
        return _jpeg_2000(stream, data)
    if stream.kind == "jpegxl":
        return Details(jpeg=b"jbrd" in data[:64])
    return Details(segments=stream.components * stream.precision // 8)


def _jpeg(stream: Codestream, data: bytes) -> Details:
    interval, presets, position = 0, False, 2
    while position < stream.body:
        while data[position : position + 2] == b"\xff\xff":
            position += 1
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == _DRI:
            interval = int.from_bytes(data[position + 4 : position + 2 + length], "big")
        presets |= marker == _LSE
        position += 2 + length
    return Details(restart_interval=interval, presets=presets if stream.kind == "jpegls" else None)


def _jpeg_2000(stream: Codestream, data: bytes) -> Details:
    found = Details(tile_part_lengths=stream.tile_lengths, packet_lengths=False)
    size = stream.start + 6
    wide, high = (int.from_bytes(data[at : at + 4], "big") for at in (size + 18, size + 22))
    found = found.replace(tile=(min(wide, stream.columns), min(high, stream.rows)))
    # The main header, and then that of the first tile-part.
    position = stream.start + 2
    while position + 4 <= len(data):
        marker, length = (int.from_bytes(data[at : at + 2], "big") for at in (position, position + 2))
        if marker == _SOD or marker >> 8 != 0xFF or length < 2:
            break
        body = data[position + 4 : position + 2 + length]
        if marker == _COD and position < stream.body and len(body) >= 10:
            block = (4 << (body[6] & 15), 4 << (body[7] & 15))
            found = found.replace(layers=int.from_bytes(body[2:4], "big"), code_block=block)
        elif marker in (_PLM, _PLT):
            found = found.replace(packet_lengths=True)
        position += 2 + length
    return found
