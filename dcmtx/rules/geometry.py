"""Where the planes of a series lie, and in which order they stand: places along a normal, times, stacks.

Pure: numbers in, ranks out. Lengths are in mm, in the patient's coordinate system (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from itertools import pairwise
from typing import Any, overload

from dcmtx.record import Record

# Cosines of one orientation differ by less (PS3.3 has no tolerance; scanners write six digits or fewer).
_SAME_COSINE = 1e-4
# Places that differ by less are one place.
_SAME_PLACE = 1e-3
# Gaps of a regular stack differ by less than this part of them; so much may a stack be sheared.
_REGULAR = 0.01

Vector = tuple[float, ...]
# Of the number of a plane, so many bits break ties between equal Instance Numbers.
TIE_BITS = 64
# A number per image; there may be many thousands.
Numbers = MutableSequence[int]


class Plane(Record):
    """One image: its position and orientation, `moment` sorts those at one place in time, `number` breaks ties.

    `number` is Instance Number above TIE_BITS bits that are made of the SOP Instance UID.
    """

    position: Vector
    orientation: Vector
    moment: tuple[Any, ...]
    number: int = 0


class Planes(Sequence[Plane]):
    """Planes as few bytes each: of thousands of images, few have an orientation of their own."""

    def __init__(self, planes: Iterable[Plane]) -> None:
        self._positions = array("d")
        self._orientations: dict[Vector, int] = {}
        self._known: list[Vector] = []
        self._orientation_of = array("L")
        self._numbers, self._ties = array("q"), array("Q")
        self._moments: list[tuple[Any, ...]] = []
        for plane in planes:
            self._positions.extend(plane.position)
            if plane.orientation not in self._orientations:
                self._orientations[plane.orientation] = len(self._known)
                self._known.append(plane.orientation)
            self._orientation_of.append(self._orientations[plane.orientation])
            self._numbers.append(plane.number >> TIE_BITS)
            self._ties.append(plane.number & (1 << TIE_BITS) - 1)
            self._moments.append(plane.moment)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._moments)

    @overload
    def __getitem__(self, index: int) -> Plane: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Plane]: ...

    def __getitem__(self, index: int | slice) -> Plane | Sequence[Plane]:
        """Return one, or some."""
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        x, y, z = self._positions[3 * index : 3 * index + 3]
        return Plane(
            (x, y, z),
            self._known[self._orientation_of[index]],
            self._moments[index],
            number=self._numbers[index] << TIE_BITS | self._ties[index],
        )

    def __iter__(self) -> Iterator[Plane]:
        """Yield them in order."""
        return (self[index] for index in range(len(self)))


class Arrangement(Record):
    """The order of a series. `order` has the images as they stand; the others have a number per image, from 1.

    `stacks` counts orientations, `places` the places along the normal of each, `times` those who share a place.
    `spacing` is the gap between places in mm where the only stack is regular and not sheared, else None; `sheared` says
    that it is regular along the normal, and tilted. `gaps` says that places are missing or uneven. `numbered` says
    that the images are whole volumes, one after the other by Instance Number.
    """

    order: Numbers
    stacks: Numbers
    places: Numbers
    times: Numbers
    spacing: float | None = None
    sheared: bool = False
    gaps: bool = False
    numbered: bool = False

    @property
    def temporal(self) -> bool:
        """Whether any place has several times."""
        return max(self.times) > 1

    @property
    def several_stacks(self) -> bool:
        """Whether there are several orientations."""
        return max(self.stacks) > 1


def normal(orientation: Vector) -> Vector:
    """Return the normal of a plane, from its cosines of rows and columns."""
    a, b, c, d, e, f = orientation
    return b * f - c * e, c * d - a * f, a * e - b * d


def same_orientation(one: Vector, other: Vector) -> bool:
    """Tell whether all cosines agree."""
    return all(abs(a - b) <= _SAME_COSINE for a, b in zip(one, other, strict=True))


def _dot(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def stacks_of(orientations: Sequence[Vector]) -> Numbers:
    """Return the number of the stack of each orientation, from 1: in the order of the cosines, whoever comes first."""
    found: list[Vector] = []
    for orientation in sorted(set(orientations)):
        if not any(same_orientation(orientation, other) for other in found):
            found.append(orientation)
    known = {
        orientation: next(number for number, other in enumerate(found, 1) if same_orientation(orientation, other))
        for orientation in set(orientations)
    }
    return array("l", [known[orientation] for orientation in orientations])


def arrange(planes: Sequence[Plane]) -> Arrangement:
    """Return the order of planes: by time, then stack, then place along the normal, which is fastest."""
    stacks = stacks_of([plane.orientation for plane in planes])
    places, times = array("l", bytes(len(planes) * array("l").itemsize)), array("l", stacks)
    spacing, sheared, gaps = None, False, False
    for stack in range(1, max(stacks) + 1):
        members = [index for index, number in enumerate(stacks) if number == stack]
        # One normal for all of a stack, the same whatever the order of the sources.
        axis = normal(min(planes[index].orientation for index in members))
        along = array("d", [_dot(axis, plane.position) for plane in planes])
        levels = _ranked(members, along, places)
        counts = _timed(planes, members, places, times)
        spacing, sheared, gaps = _regularity(planes, members, places, levels=levels, axis=axis)
        if len(counts) > 1:
            spacing, gaps = None, True
    if max(stacks) > 1:
        spacing, sheared = None, False
    order = array("l", _sorted_by(planes, times, stacks, places))
    return Arrangement(
        order,
        stacks,
        places,
        times=times,
        spacing=spacing,
        sheared=sheared,
        gaps=gaps,
        numbered=max(times) > 1 and _are_numbered(planes, stacks, places, times),
    )


def _sorted_by(planes: Sequence[Plane], times: Numbers, stacks: Numbers, places: Numbers) -> list[int]:
    """Return the images in order: sorting is stable, so the last key decides first."""
    order = sorted(range(len(planes)), key=lambda index: planes[index].number)
    for numbers in (places, stacks, times):
        order.sort(key=numbers.__getitem__)
    return order


def _are_numbered(planes: Sequence[Plane], stacks: Numbers, places: Numbers, times: Numbers) -> bool:
    """Tell whether images are whole volumes in the order of their numbers: then these stand for a time."""
    ends: dict[int, tuple[int, Any, Any]] = {}
    for plane, time in zip(planes, times, strict=True):
        number = plane.number >> TIE_BITS
        count, first, last = ends.get(time, (0, number, number))
        ends[time] = (count + 1, min(first, number), max(last, number))
    volumes = [ends[time] for time in sorted(ends)]
    complete = {count for count, _, _ in volumes} == {len(set(zip(stacks, places, strict=True)))}
    return complete and all(before[2] < after[1] for before, after in pairwise(volumes))


def _ranked(members: list[int], along: Sequence[float], places: Numbers) -> Sequence[float]:
    """Set the numbers of the places of a stack, and return where each is."""
    levels = array("d")
    for index in sorted(members, key=lambda index: along[index]):
        if not levels or along[index] - levels[-1] > _SAME_PLACE:
            levels.append(along[index])
        places[index] = len(levels)
    return levels


def _timed(planes: Sequence[Plane], members: list[int], places: Numbers, times: Numbers) -> set[int]:
    """Set the numbers of those that share a place, in time, and return how many there are of each place."""
    counts = array("l", bytes((1 + max(places[index] for index in members)) * array("l").itemsize))
    by_number = sorted(members, key=lambda index: planes[index].number)
    for index in sorted(by_number, key=lambda index: planes[index].moment):
        counts[places[index]] = times[index] = counts[places[index]] + 1
    return set(counts[1:])


def _regularity(
    planes: Sequence[Plane], members: list[int], places: Numbers, *, levels: Sequence[float], axis: Vector
) -> tuple[float | None, bool, bool]:
    """Return the spacing of a regular stack, whether it is only sheared, and whether its gaps are uneven."""
    gaps = [after - before for before, after in pairwise(levels)]
    if not gaps:
        return None, False, False
    if max(gaps) - min(gaps) > _REGULAR * max(gaps):
        return None, False, True
    mean = (levels[-1] - levels[0]) / len(gaps)
    ends = [planes[_first_at(planes, members, places, place)].position for place in (1, len(levels))]
    step = tuple((last - first) / len(gaps) for first, last in zip(*ends, strict=True))
    for index in members:
        expected = [start + (places[index] - 1) * part for start, part in zip(ends[0], step, strict=True)]
        if math.dist(expected, planes[index].position) > max(_REGULAR * mean, _SAME_PLACE):
            return None, False, True
    # A gantry tilt: each origin is beside the normal through the one before.
    if math.dist(step, [mean * cosine for cosine in axis]) > _REGULAR * mean:
        return None, True, False
    return mean, False, False


def _first_at(planes: Sequence[Plane], members: list[int], places: Numbers, place: int) -> int:
    return min((index for index in members if places[index] == place), key=lambda index: planes[index].number)
