"""A search for the parameter that gives a wanted ratio or quality, if a library takes only the parameter.

Parameters range from `worst` to `best` quality. The search uses their logarithms, because the logarithms of sizes, and
decibels, are nearly linear in them. The search is deterministic, so the same frame is always encoded the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Encode = Callable[[float], bytes]

# A ratio may miss by this share of it, a PSNR may exceed the wanted one by this many decibels.
_TOLERANCE = 0.02
_DECIBELS = 0.3
_TRIALS = 16
# A ratio within this share of the greatest that headers allow counts as out of reach.
_EDGE = 0.05
# If the ratio is out of reach, this share above the fewest bytes is accepted: it is worth ten decibels there.
_FREE = 0.15


def by_ratio(encode: Encode, raw: float, wanted: float, worst: float, best: float) -> bytes:
    """Return the encoding whose ratio to `raw` bytes is nearest to `wanted`.

    If headers alone exceed the size for that ratio, no loss of quality helps: then return the best quality that takes
    little more than the fewest bytes.
    """
    smallest = encode(worst)
    most = raw / len(smallest)
    goal = math.log(wanted if wanted * (1 + _EDGE) <= most else min(wanted, most / (1 + _FREE)))

    def miss(encoded: bytes) -> float:
        return math.log(raw / len(encoded)) - goal

    trials = _Trials(encode, miss, worst, best, smallest)
    if trials.miss_best < 0:
        trials.close_in(lambda miss: abs(miss) < _TOLERANCE)
    return min(trials.done, key=lambda trial: abs(trial[0]))[1]


def by_psnr(encode: Encode, measure: Callable[[bytes], float], wanted: float, worst: float, best: float) -> bytes:
    """Return the smallest encoding found that measures at least `wanted` decibels; the best one if none does."""
    trials = _Trials(encode, lambda encoded: measure(encoded) - wanted, worst, best, encode(worst))
    if trials.miss_worst >= 0:
        return by_ratio(encode, 1, math.inf, worst, best)
    if trials.miss_best > 0:
        trials.close_in(lambda miss: 0 <= miss < _DECIBELS)
    enough = [encoded for miss, encoded in trials.done if miss >= 0]
    return min(enough, key=len) if enough else trials.done[0][1]


class _Trials:
    """The encodings so far, each with the distance of its measure from the goal; the best first, then the worst."""

    def __init__(
        self, encode: Encode, miss: Callable[[bytes], float], worst: float, best: float, smallest: bytes
    ) -> None:
        self._encode = encode
        self._miss = miss
        self._worst, self._best = math.log(worst), math.log(best)
        self.done: list[tuple[float, bytes]] = []
        self.miss_best = self._keep(encode(best))
        self.miss_worst = self._keep(smallest)

    def _keep(self, encoded: bytes) -> float:
        miss = self._miss(encoded)
        self.done.append((miss, encoded))
        return miss

    def close_in(self, near: Callable[[float], bool]) -> None:
        """Try parameters between two borders on both sides of the goal, until one is near it.

        Each trial is at the point where a line through the borders meets the goal.
        """
        left, right, miss_left, miss_right = self._worst, self._best, self.miss_worst, self.miss_best
        for trial in range(_TRIALS):
            # Interpolation alone converges slowly on a curve, so every third trial halves the range.
            share = 0.5 if trial % 3 == 2 or miss_left == miss_right else miss_left / (miss_left - miss_right)
            middle = left + min(max(share, 0.05), 0.95) * (right - left)
            miss = self._keep(self._encode(math.exp(middle)))
            if near(miss):
                return
            if miss * miss_left > 0:
                left, miss_left = middle, miss
            else:
                right, miss_right = middle, miss
