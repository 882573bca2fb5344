"""Palettes: the colours that the pixels of PALETTE COLOR index (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6, C.7.9.2).

Standard library only; `pixel.color` applies them.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from dcmtx.record import Record

_DISCRETE, _LINEAR, _INDIRECT = range(3)


class Palette(Record):
    """The tables of red, green and blue, little endian, with entries of `stored` bits: 8 or 16.

    `first` is the pixel value of the first entry. Lower values have its colour, and values beyond the last entry have
    the colour of that.
    """

    first: int
    stored: int
    tables: tuple[bytes, bytes, bytes]


def linearised(segments: Sequence[int], entries: int, bits: int) -> array[int]:
    """Return the entries that the segments of a Segmented Palette Color Lookup Table make (PS3.3 C.7.9.2).

    `bits` is the width of a segment's numbers and of an entry. Values between the ends of a linear segment are rounded
    to the nearest, to the even one of two.

    Raises ValueError for segments that are damaged, or make more entries, or fewer.
    """
    made = array("H")
    _expand(segments, made, range(len(segments)), entries, bits)
    if len(made) != entries:
        raise ValueError(f"its segments make {len(made)} entries, not {entries}")
    return made


def _expand(
    segments: Sequence[int], made: array[int], places: range, entries: int, bits: int, most: int | None = None
) -> None:
    """Append the entries of the segments at these places, or of the first `most` of them."""
    # An offset has 32 bits: two numbers of 16, or four of 8; it counts bytes.
    width = 32 // bits
    at, count = places.start, 0
    # A number by itself is padding.
    while at + 1 < places.stop and count != most:
        kind, length = segments[at], segments[at + 1]
        at, count = at + 2, count + 1
        need = {_DISCRETE: length, _LINEAR: 1, _INDIRECT: width}.get(kind)
        if need is None:
            raise ValueError(f"a segment is of type {kind}, which there is not")
        if kind != _INDIRECT and not length:
            # So segments cannot be repeated for ever without making an entry.
            raise ValueError("a segment has no length")
        if at + need > places.stop:
            raise ValueError("a segment goes beyond its end")
        if kind == _INDIRECT:
            if most is not None:
                raise ValueError("an indirect segment points to another one")
            start = _offset(segments[at : at + width], bits)
            if not made or start >= len(segments):
                raise ValueError("an indirect segment points nowhere")
            _expand(segments, made, range(start, places.stop), entries, bits, length)
        elif kind == _LINEAR:
            if not made:
                raise ValueError("the first segment is linear, and has nothing to begin from")
            _interpolate(made, segments[at], length)
        else:
            made.extend(segments[at : at + length])
        at += need
        if len(made) > entries:
            raise ValueError(f"its segments make more than {entries} entries")


def _offset(numbers: Sequence[int], bits: int) -> int:
    """Return the place of a segment from its offset in bytes, whose least significant part comes first."""
    offset = sum(number << (bits * place) for place, number in enumerate(numbers))
    return offset * 8 // bits


def _interpolate(made: array[int], end: int, length: int) -> None:
    """Append `length` values on a line from the last value to `end`."""
    start = made[-1]
    made.extend(round(start + step * (end - start) / length) for step in range(1, length + 1))
