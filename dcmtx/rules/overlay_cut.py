"""Overlays of an image of which a part is kept (PS3.3 C.9.2, C.9.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from dcmtx.dataset.edit import Edit, Remove, Set
from dcmtx.dataset.header import Header
from dcmtx.policy import Cut
from dcmtx.record import Record
from dcmtx.rules.overlay import Embedded

_GROUPS = range(0x6000, 0x6020, 2)
_ROWS, _COLUMNS, _FRAMES, _ORIGIN, _FIRST_FRAME = 0x0010, 0x0011, 0x0015, 0x0050, 0x0051
_DATA = 0x3000
# Number, mean and deviation of the pixels in a region of interest.
_STATISTICS = (0x1301, 0x1302, 0x1303)


class Plane(Record):
    """A part of the planes of one overlay: `part` of planes of `rows` and `columns`, `count` of them in the file."""

    tag: int
    rows: int
    columns: int
    part: Cut


class CutOverlays(Record):
    """The edits of overlays, those whose data must be cut, and the groups that were left out as damaged."""

    edits: dict[int, Edit]
    planes: tuple[Plane, ...] = ()
    damaged: tuple[int, ...] = ()


def cut_overlays(header: Header, cut: Cut, embedded: tuple[Embedded, ...]) -> CutOverlays:
    """Return what becomes of overlays. Those in the pixels are cut with them, and extracted.

    A plane is cut at the border of the part. A negative origin would be legal, but leave readable what was cut off.
    """
    edits: dict[int, Edit] = {}
    planes: list[Plane] = []
    damaged: list[int] = []
    inside = {overlay.group for overlay in embedded}
    for group in _GROUPS:
        base = group << 16
        tags = [tag for tag in header.tags() if tag >> 16 == group]
        if not tags:
            continue
        if group in inside:
            edits |= _sized(base, cut.rows, cut.columns, (1, 1))
            edits |= {base | part: Remove(base | part) for part in _STATISTICS if base | part in header}
            continue
        plane = _plane(header, base, cut)
        if plane is None:
            damaged += [group] if base | _DATA in header else []
        if plane is None or not (plane.part.rows > 0 < plane.part.columns and plane.part.frames > 0):
            edits |= {tag: Remove(tag) for tag in tags}
            continue
        planes.append(plane)
        edits |= dict(_of_plane(header, base, plane, cut))
        edits |= {base | part: Remove(base | part) for part in _STATISTICS if base | part in header}
    return CutOverlays(edits, tuple(planes), tuple(damaged))


def _of_plane(header: Header, base: int, plane: Plane, cut: Cut) -> Iterator[tuple[int, Edit]]:
    row, column = _origin(header, base)
    # The first row and column of the plane that are kept, in pixels of the part, from 1.
    origin = (row + plane.part.top - cut.top, column + plane.part.left - cut.left)
    yield from _sized(base, plane.part.rows, plane.part.columns, origin).items()
    if base | _FRAMES in header:
        first = (header.number(base | _FIRST_FRAME) or 1) + plane.part.first - cut.first
        yield base | _FRAMES, Set(base | _FRAMES, b"IS", str(plane.part.frames).encode("ascii"))
        yield base | _FIRST_FRAME, Set(base | _FIRST_FRAME, b"US", struct.pack("<H", first))


def _sized(base: int, rows: int, columns: int, origin: tuple[int, int]) -> dict[int, Edit]:
    return {
        base | _ROWS: Set(base | _ROWS, b"US", struct.pack("<H", rows)),
        base | _COLUMNS: Set(base | _COLUMNS, b"US", struct.pack("<H", columns)),
        base | _ORIGIN: Set(base | _ORIGIN, b"SS", struct.pack("<2h", *origin)),
    }


def _origin(header: Header, base: int) -> tuple[int, int]:
    value = header.value(base | _ORIGIN)
    if len(value) != 4:
        return (1, 1)
    row, column = struct.unpack(">2h" if header.encoding.big_endian else "<2h", value)
    return (row, column)


def _plane(header: Header, base: int, cut: Cut) -> Plane | None:
    """Return the part of an overlay that lies in a part of the image; None for one that is not understood."""
    rows, columns, data = header.number(base | _ROWS), header.number(base | _COLUMNS), header.get(base | _DATA)
    text = header.text(base | _FRAMES)
    if not rows or not columns or data is None or (text and not text.isdecimal()):
        return None
    count = int(text or 1)
    if (rows * columns * count + 7) // 8 > data.length:
        return None
    row, column = _origin(header, base)
    top, left = max(cut.top + 1 - row, 0), max(cut.left + 1 - column, 0)
    bottom, right = min((cut.bottom or 0) + 1 - row, rows), min((cut.right or 0) + 1 - column, columns)
    first, end = 0, count
    if text:
        # Without a number of frames, one plane is that of every frame.
        origin = header.number(base | _FIRST_FRAME) or 1
        first, end = max(cut.first + 1 - origin, 0), min((cut.end or 0) + 1 - origin, count)
    part = Cut(top=top, bottom=max(bottom, top), left=left).replace(
        right=max(right, left), first=first, end=max(end, first)
    )
    return Plane(base | _DATA, rows, columns, part=part)
