"""Shutters and collimators, whose places are pixels, counted from 1 (PS3.3 C.7.6.11, C.8.7.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dcmtx.policy import Cut

# The first tag of each module; both have the same elements, at the same distances.
SHUTTER, COLLIMATOR = 0x00181600, 0x00181700
APERTURES = (SHUTTER, COLLIMATOR)
_LAST = 0x24
_LEFT, _RIGHT, _UPPER, _LOWER = 0x02, 0x04, 0x06, 0x08
_CENTRE, _RADIUS, _VERTICES = 0x10, 0x12, 0x20
_OF_SHAPE = {
    "RECTANGULAR": (_LEFT, _RIGHT, _UPPER, _LOWER),
    "CIRCULAR": (_CENTRE, _RADIUS),
    "POLYGONAL": (_VERTICES,),
}
Point = tuple[int, int]  # row and column


class _UnreadableError(Exception):
    """A value is no whole number, or is absent."""


def shifted(base: int, text: Callable[[int], str], cut: Cut) -> dict[int, str | None]:
    """Return the new values of an aperture by tag, None for those that go; `text` returns the value of a tag.

    A shape goes if no edge of it is in the part that is kept, or if it is unreadable; the aperture with its last shape.
    Edges of a rectangle are clipped. Circles and polygons are only shifted: clipped, they would be other shapes.
    """
    shapes = [shape.strip() for shape in text(base).split("\\") if shape.strip()]
    if not shapes:
        return {}
    kept: list[str] = []
    made: dict[int, str | None] = {}
    for shape in shapes:
        if shape not in _OF_SHAPE:
            kept.append(shape)
            continue
        try:
            values = _MAKERS[shape](lambda element: _whole(text(base + element)), cut)
        except _UnreadableError:
            values = None
        made |= dict.fromkeys(base + element for element in _OF_SHAPE[shape])
        if values is not None:
            kept.append(shape)
            made |= {base + element: "\\".join(map(str, value)) for element, value in values.items()}
    if not kept:
        return dict.fromkeys(range(base, base + _LAST + 1, 2))
    return made | ({} if kept == shapes else {base: "\\".join(kept)})


def _whole(text: str) -> list[int]:
    """Return the numbers of an Integer String."""
    try:
        return [int(value) for value in text.split("\\")]
    except ValueError:
        raise _UnreadableError from None


Read = Callable[[int], list[int]]
Values = dict[int, Sequence[int]]


def _one(values: list[int]) -> int:
    if len(values) != 1:
        raise _UnreadableError
    return values[0]


def _rectangle(read: Read, cut: Cut) -> Values | None:
    left, right = _one(read(_LEFT)) - cut.left, _one(read(_RIGHT)) - cut.left
    upper, lower = _one(read(_UPPER)) - cut.top, _one(read(_LOWER)) - cut.top
    if left <= 1 and upper <= 1 and right >= cut.columns and lower >= cut.rows:
        return None
    # Where nothing of the image is in the opening, edges stay outside of it, and all of it stays covered.
    if left <= cut.columns and right >= 1 and upper <= cut.rows and lower >= 1:
        left, upper = max(left, 1), max(upper, 1)
        right, lower = min(right, cut.columns), min(lower, cut.rows)
    return {_LEFT: [left], _RIGHT: [right], _UPPER: [upper], _LOWER: [lower]}


def _corners(cut: Cut) -> list[Point]:
    """Return the corners of what is kept, in pixels from 1."""
    return [(1, 1), (1, cut.columns), (cut.rows, cut.columns), (cut.rows, 1)]


def _circle(read: Read, cut: Cut) -> Values | None:
    centre, radius = read(_CENTRE), _one(read(_RADIUS))
    if len(centre) != 2:
        raise _UnreadableError
    row, column = centre[0] - cut.top, centre[1] - cut.left
    if all((row - y) ** 2 + (column - x) ** 2 <= radius**2 for y, x in _corners(cut)):
        return None
    return {_CENTRE: [row, column], _RADIUS: [radius]}


def _polygon(read: Read, cut: Cut) -> Values | None:
    values = read(_VERTICES)
    if len(values) % 2 or len(values) < 6:
        raise _UnreadableError
    vertices = [(row - cut.top, column - cut.left) for row, column in zip(values[::2], values[1::2], strict=True)]
    corners = _corners(cut)
    pokes = any(1 < row < cut.rows and 1 < column < cut.columns for row, column in vertices)
    if (
        not pokes
        and all(_is_inside(corner, vertices) for corner in corners)
        and not any(_cross(side, edge) for side in _sides(corners) for edge in _sides(vertices))
    ):
        return None
    return {_VERTICES: [value for vertex in vertices for value in vertex]}


def _sides(points: list[Point]) -> Iterator[tuple[Point, Point]]:
    return zip(points, points[1:] + points[:1], strict=True)


def _turn(a: Point, b: Point, c: Point) -> int:
    """Return on which side of the line from `a` to `b` a point is: a positive or negative number, or 0 on it."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _cross(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    """Tell whether two segments cross properly."""
    (a, b), (c, d) = one, other
    return _turn(a, b, c) * _turn(a, b, d) < 0 and _turn(c, d, a) * _turn(c, d, b) < 0


def _is_inside(point: Point, vertices: list[Point]) -> bool:
    """Tell whether a point is in a polygon or on its border."""
    inside = False
    for a, b in _sides(vertices):
        low, high = (a, b) if a[0] <= b[0] else (b, a)
        turn = _turn(low, high, point)
        within = min(a[0], b[0]) <= point[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= point[1] <= max(a[1], b[1])
        if turn == 0 and within:
            return True
        if low[0] <= point[0] < high[0] and turn > 0:
            inside = not inside
    return inside


_MAKERS: dict[str, Callable[[Read, Cut], Values | None]] = {
    "RECTANGULAR": _rectangle,
    "CIRCULAR": _circle,
    "POLYGONAL": _polygon,
}
