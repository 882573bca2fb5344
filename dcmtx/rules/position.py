"""Where an image is in the patient, once rows and columns above and left of it are cut off (PS3.3 C.7.6.2.1.1).

Numbers are decimal from end to end: what was exact stays exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from dcmtx.policy import Cut

# PS3.5 6.2: the most characters of a Decimal String.
_LONGEST = 16
_MOST_DIGITS = 28
_SIZES = range(-100, 30)


def numbers(text: str, count: int) -> tuple[Decimal, ...] | None:
    """Return the numbers of a Decimal String, or None unless there are exactly this many, and of a sensible size."""
    try:
        values = tuple(Decimal(value.strip()) for value in text.split("\\"))
    except InvalidOperation:
        return None
    if len(values) != count or not all(value.is_finite() for value in values):
        return None
    # Written out, an exponent of a few characters may fill any memory.
    return values if all(not value or value.adjusted() in _SIZES for value in values) else None


def moved(
    position: Sequence[Decimal], orientation: Sequence[Decimal], spacing: Sequence[Decimal], cut: Cut
) -> list[Decimal]:
    """Return the centre of the first pixel that is kept.

    `orientation` has the cosines of the row, then those of the column; of `spacing`, the first is between rows
    (PS3.3 10.7.1.3).
    """
    right, down = cut.left * spacing[1], cut.top * spacing[0]
    return [
        place + right * along_row + down * along_column
        for place, along_row, along_column in zip(position, orientation[:3], orientation[3:], strict=True)
    ]


def normal(orientation: Sequence[Decimal]) -> list[Decimal]:
    """Return the normal of the plane: the cross product of its row and column."""
    a, b = orientation[:3], orientation[3:]
    return [a[(i + 1) % 3] * b[(i + 2) % 3] - a[(i + 2) % 3] * b[(i + 1) % 3] for i in range(3)]


def decimal_string(value: Decimal) -> str:
    """Return a number as a Decimal String, with as many digits as fit."""
    if not value:
        return "0"
    for digits in range(_MOST_DIGITS, 0, -1):
        rounded = f"{value:.{digits}g}"
        plain = f"{Decimal(rounded):f}"
        if "." in plain:
            plain = plain.rstrip("0").rstrip(".")
        for text in (plain, rounded):
            if len(text) <= _LONGEST:
                return "0" if text == "-0" else text
    return "0"


def decimal_strings(values: Sequence[Decimal]) -> bytes:
    """Return numbers as the value of a Decimal String."""
    return "\\".join(map(decimal_string, values)).encode("ascii")
