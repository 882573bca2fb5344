"""Whether offset tables are true: each entry must be the offset of the first fragment of its frame (PS3.5 A.4).

Standard library only.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from enum import Enum

from dcmtx.pixel.encapsulation import ExtendedTable, Fragments


class Truth(Enum):
    """What an offset table is worth."""

    ABSENT = "absent"  # no such attribute
    EMPTY = "empty"
    TRUE = "true"
    WRONG = "wrong"


def basic(fragments: Fragments, starts: Sequence[int]) -> Truth:
    """Return what the Basic Offset Table is worth; frame i has fragments from starts[i] up to starts[i + 1]."""
    if not len(fragments.table):
        return Truth.EMPTY
    return _truth(fragments, starts, fragments.table)


def extended(fragments: Fragments, starts: Sequence[int], table: ExtendedTable | None) -> Truth:
    """Return what the Extended Offset Table, offsets and lengths, is worth; lengths may leave out the pad byte."""
    if table is None:
        return Truth.ABSENT
    if _truth(fragments, starts, table.offsets) is Truth.WRONG or len(table.lengths) != len(table.offsets):
        return Truth.WRONG
    for number, length in enumerate(table.lengths):
        if not 0 <= sum(fragments.lengths[starts[number] : starts[number + 1]]) - length <= 1:
            return Truth.WRONG
    return Truth.TRUE


def _truth(fragments: Fragments, starts: Sequence[int], table: array[int]) -> Truth:
    frames = len(starts) - 1
    right = len(table) == frames and all(
        entry == fragments.offset(starts[number]) for number, entry in enumerate(table)
    )
    return Truth.TRUE if right else Truth.WRONG
