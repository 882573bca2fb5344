"""Where codestreams end, whatever follows them. Never decodes.

A codestream is complete only if its own markers lead to its end marker: padding of any value may follow, and may
contain the bytes of an end marker. Standard library only.

Sources: ITU-T T.81 B.1.1 (JPEG), T.87 A.1 (JPEG-LS), T.800 A.3, A.4, D.4.1 (JPEG 2000).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dcmtx.pixel.codestream import Codestream
from dcmtx.record import Record

_SOI, _EOI, _SOS, _DRI = 0xD8, 0xD9, 0xDA, 0xDD
_SOT, _SOD, _EOC = b"\xff\x90", b"\xff\x93", b"\xff\xd9"
# In coded data FF is followed by a byte below 80 (JPEG-LS) or by 00 (JPEG), or starts a restart marker. FF before FF is
# fill.
_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")

RESTART = re.compile(rb"\xff+([\xd0-\xd7])")


class Scan(Record):
    """One scan of JPEG: its components by their ids, where its data begin and end, and the restart interval in MCUs.

    `interval` is None where no DRI stands between the first scan and this one.
    """

    components: bytes
    start: int
    end: int
    interval: int | None = None


def scans(data: bytes, stream: Codestream) -> Iterator[Scan]:
    """Yield the scans of JPEG up to EOI, or to what is no marker segment."""
    position, interval = stream.body, None
    while (found := _MARKER.search(data, position)) is not None:
        marker, position = data[found.end() - 1], found.end()
        length = int.from_bytes(data[position : position + 2], "big")
        if marker in (_EOI, _SOI) or length < 2 or position + length > len(data):
            return
        segment = data[position + 2 : position + length]
        position += length
        if marker == _DRI:
            interval = int.from_bytes(segment, "big")
        if marker == _SOS:
            following = _MARKER.search(data, position)
            end = len(data) if following is None else following.start()
            yield Scan(segment[1 : 1 + 2 * sum(segment[:1]) : 2], position, end, interval=interval)


def in_scans(data: bytes, stream: Codestream) -> int | None:
    """Return the offset after the EOI of JPEG or JPEG-LS, or None if it is missing or a component has no scan."""
    scanned: set[int] = set()
    position = stream.body
    while (found := _MARKER.search(data, position)) is not None:
        marker, position = data[found.end() - 1], found.end()
        if marker == _EOI:
            return position if len(scanned) >= stream.components else None
        length = int.from_bytes(data[position : position + 2], "big")
        if marker == _SOI or length < 2 or position + length > len(data):
            return None
        if marker == _SOS:
            count = data[position + 2]
            scanned.update(data[position + 3 : position + 3 + 2 * count : 2])
        position += length
    return None


def in_tile_parts(data: bytes, stream: Codestream) -> int | None:
    """Return the offset after the EOC of JPEG 2000, or None if a tile or the end of a tile-part is missing.

    Some writers omit EOC: then only zeros may follow the last tile-part.
    """
    position, end = stream.body, stream.end
    tiles: set[bytes] = set()
    while data[position : position + 2] == _SOT and position + 12 <= end:
        tiles.add(data[position + 4 : position + 6])
        length = int.from_bytes(data[position + 6 : position + 10], "big")
        if length == 0:
            return _eoc(data, position + 12, end) if len(tiles) == stream.tiles else None
        if length < 12:
            return None
        position += length
    if len(tiles) != stream.tiles or position > end:
        return None
    if data[position : position + 2] == _EOC:
        return position + 2
    return end if not data[position:end].strip(b"\0") else None


def _eoc(data: bytes, position: int, end: int) -> int | None:
    """Return the offset after the EOC that ends the tile-part whose header continues at `position`.

    Coded data never contains these bytes (T.800 B.10.1, D.4.1), but a comment in the header may.
    """
    while data[position : position + 2] != _SOD:
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if data[position : position + 1] != b"\xff" or length < 2 or position + 2 + length > end:
            return None
        position += 2 + length
    found = data.find(_EOC, position, end)
    return None if found < 0 else found + 2
