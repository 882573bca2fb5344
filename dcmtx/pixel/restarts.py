"""The parts of JPEG scans: intervals between restart markers, and scans behind others.

libjpeg makes up what a part lacks, and says nothing: it goes on with the next one. So all parts must be there, in
order; and whether one is complete shows where something is put behind its data: a complete part ignores it. Standard
library only.

Sources: ITU-T T.81 B.1.1.2 (order of markers), B.2.4.4 (restart intervals), A.2 (order of blocks), E.2.4.
"""

from __future__ import annotations

from collections.abc import Iterator

from dcmtx.pixel import ends
from dcmtx.pixel.codestream import Codestream, details

_SOF3 = 0xC3
_FIRST, _MANY = 0xD0, 8
# Rows and columns of a block of coefficients.
_BLOCK = 8
DRI = b"\xff\xdd"


def are_missing(data: bytes, stream: Codestream) -> bool:
    """Tell whether restart markers are missing or out of order, and with them the data before or behind them."""
    if DRI not in data:
        return False
    first = details.read(stream, data).restart_interval or 0
    for scan in ends.scans(data, stream):
        interval = first if scan.interval is None else scan.interval
        if not interval:
            continue
        found = [marker[1][0] - _FIRST for marker in ends.RESTART.finditer(data, scan.start, scan.end)]
        if any(marker != number % _MANY for number, marker in enumerate(found)):
            return True
        if len(found) < -(-_units(stream, scan.components) // interval) - 1:
            return True
    return False


def _units(stream: Codestream, components: bytes) -> int:
    """Return how many MCUs a scan of these components has; 0 where that is not known."""
    side = 1 if stream.process == _SOF3 else _BLOCK
    widest: int = max(horizontal for horizontal, _ in stream.sampling)
    highest: int = max(vertical for _, vertical in stream.sampling)
    if not components:
        return 0
    if len(components) > 1:
        return -(-stream.columns // (side * widest)) * -(-stream.rows // (side * highest))
    if components[0] not in stream.ids:
        return 0
    horizontal, vertical = stream.sampling[stream.ids.index(components[0])]
    columns, rows = -(-stream.columns * horizontal // widest), -(-stream.rows * vertical // highest)
    return -(-columns // side) * -(-rows // side)


def with_more(data: bytes, stream: Codestream, end: int, more: bytes) -> bytes:
    """Return a codestream up to `end`, where its EOI is, with `more` behind the data of each part."""
    pieces, position = [], 0
    for place in _ends_of_parts(data, stream, end):
        pieces += [data[position:place].rstrip(b"\xff"), more]
        position = place
    # FF before a marker is fill; before other bytes it would make one of them.
    return b"".join([*pieces, data[position:end].rstrip(b"\xff"), more])


def _ends_of_parts(data: bytes, stream: Codestream, end: int) -> Iterator[int]:
    """Yield where all parts end but the last one."""
    for scan in ends.scans(data, stream):
        if scan.end > end:
            return
        yield from (marker.start() for marker in ends.RESTART.finditer(data, scan.start, scan.end))
        if scan.end < end:
            yield scan.end
