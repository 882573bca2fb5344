"""Finding the parameter that gives a wanted rate or quality, where a library takes only the parameter."""

from __future__ import annotations

import math
from collections.abc import Callable

_TOLERANCE = 0.02
_TRIALS = 16


def find(
    encode: Callable[[float], bytes], measure: Callable[[bytes], float], wanted: float, low: float, high: float
) -> bytes:
    """Return the encoding whose measure is nearest to `wanted`, for parameters from `low` to `high`.

    The measure must rise or fall steadily with the parameter. Both are taken as logarithms, between which the relation
    is nearly straight: each trial is put where a line through the last two borders meets the wanted value. Always goes
    the same way, so the same frame is always encoded the same.
    """
    goal = math.log(wanted)
    best: tuple[float, bytes] = (math.inf, b"")

    def attempt(parameter: float) -> float:
        nonlocal best
        encoded = encode(math.exp(parameter))
        miss = math.log(max(measure(encoded), 1e-9)) - goal
        if abs(miss) < best[0]:
            best = (abs(miss), encoded)
        return miss

    left, right = math.log(low), math.log(high)
    miss_left, miss_right = attempt(left), attempt(right)
    if miss_left * miss_right <= 0:
        _close_in(attempt, left, right, miss_left, miss_right)
    return best[1]


def _close_in(
    attempt: Callable[[float], float], left: float, right: float, miss_left: float, miss_right: float
) -> None:
    """Halve or interpolate between two borders that lie on both sides of the goal."""
    for trial in range(_TRIALS):
        # Interpolation alone creeps where the curve bends: every third trial halves.
        share = 0.5 if trial % 3 == 2 or miss_left == miss_right else miss_left / (miss_left - miss_right)
        middle = left + min(max(share, 0.05), 0.95) * (right - left)
        miss = attempt(middle)
        if abs(miss) < _TOLERANCE:
            return
        if miss * miss_left > 0:
            left, miss_left = middle, miss
        else:
            right, miss_right = middle, miss
