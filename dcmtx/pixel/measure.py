"""How much two frames differ: samples, largest and mean error, PSNR, SSIM, the worst place.

Frames are gone through a band of rows at a time, so that no intermediate result is as large as a frame.

Source of SSIM: Wang, Bovik, Sheikh, Simoncelli: Image quality assessment, IEEE Transactions on Image Processing 13 (4),
2004: Gaussian window of 11 x 11 pixels and 1.5 pixels of deviation, K1 0.01, K2 0.03; windows are inside the image.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.record import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

# Samples of a band; each takes a few dozen bytes while it is measured.
_BAND = 1 << 20
# Samples of a piece, where only errors are asked for: what they take fits the cache of one core.
_PIECE = 1 << 16
# What holds every difference of two samples of so many bytes; of 64 bits, nearly.
_SIGNED: dict[int, type[Any]] = {1: np.int16, 2: np.int32, 4: np.int64, 8: np.float64}
_SIDE, _DEVIATION, _K1, _K2 = 11, 1.5, 0.01, 0.03
_TAPS = np.exp(-((np.arange(_SIDE) - _SIDE // 2) ** 2) / (2 * _DEVIATION**2))
_GAUSSIAN = _TAPS / _TAPS.sum()


class Difference(Record):
    """The difference of two frames of one shape.

    `samples` counts the samples that differ, of `total`; `largest` and `mean` are absolute errors; `squares` is the sum
    of squared errors. `worst` is row, column and sample (0-based) of the first largest error, `values` what the frames
    have there. `ssim` is the mean over the image, None where a side is shorter than the window.
    """

    samples: int
    total: int
    largest: int
    mean: float
    squares: float
    worst: tuple[int, int, int]
    values: tuple[int, int]
    ssim: float | None

    def psnr(self, peak: int) -> float:
        """Return the PSNR in decibels for this greatest value; infinite where nothing differs."""
        return psnr(self.squares, self.total, peak)


def psnr(squares: float, total: int, peak: int) -> float:
    """Return the PSNR in decibels of a sum of squared errors of so many samples."""
    return 10 * math.log10(peak * peak * total / squares) if squares else math.inf


def error(one: Words, other: Words) -> tuple[int, float]:
    """Return the largest error of two frames of one shape, and the sum of squared errors: a fraction of `difference`.

    A piece at a time, which stays in the processor's cache. Squares are whole numbers: below 2**53 their sum is exact.
    """
    largest, squares = 0, 0.0
    ours, theirs = one.reshape(-1), other.reshape(-1)
    signed = _SIGNED[max(one.itemsize, other.itemsize)]
    for start in range(0, one.size, _PIECE):
        # Converted first: a subtraction that converts is several times as slow.
        errors = ours[start : start + _PIECE].astype(signed)
        errors -= theirs[start : start + _PIECE].astype(signed)
        largest = max(largest, int(errors.max()), -int(errors.min()))
        exact = errors.astype(np.float64)
        squares += float(exact @ exact)
    return largest, squares


def difference(one: Words, other: Words, peak: int) -> Difference | None:
    """Return how two frames of one shape differ, None if they do not; `peak` is the range of their values."""
    if np.array_equal(one, other):
        return None
    one, other = (frame.reshape(*frame.shape[:2], -1) for frame in (one, other))
    samples, total, squares, largest = 0, 0.0, 0.0, -1
    worst, values = (0, 0, 0), (0, 0)
    step = max(1, _BAND // max(one[0].size, 1))
    for start in range(0, len(one), step):
        errors = np.abs(_exact(one[start : start + step]) - _exact(other[start : start + step]))
        samples += int(np.count_nonzero(errors))
        total += float(errors.sum(dtype=np.float64))
        squares += float(np.square(errors, dtype=np.float64).sum())
        place = int(errors.argmax())
        if errors.flat[place] > largest:
            largest = int(errors.flat[place])
            row, column, sample = (int(at) for at in np.unravel_index(place, errors.shape))
            worst = (start + row, column, sample)
            values = (int(one[worst]), int(other[worst]))
    return Difference(
        samples, one.size, largest, mean=total / one.size, squares=squares, worst=worst, values=values,
        ssim=ssim(one, other, peak),
    )  # fmt: skip


def _exact(words: Words) -> Words:
    """Return words as signed numbers that hold every difference of two of them."""
    return words.astype(_SIGNED[words.dtype.itemsize])


def ssim(one: Words, other: Words, peak: int) -> float | None:
    """Return the mean structural similarity of two frames (rows, columns, samples); None if they are too small."""
    rows, columns, samples = one.shape
    if min(rows, columns) < _SIDE:
        return None
    inside = rows - _SIDE + 1
    step = max(1, _BAND // columns)
    total = 0.0
    for sample in range(samples):
        for start in range(0, inside, step):
            stop = min(start + step, inside) + _SIDE - 1
            first, second = (frame[start:stop, :, sample].astype(np.float64) for frame in (one, other))
            total += float(_similarity(first, second, peak).sum())
    windows: int = inside * (columns - _SIDE + 1) * samples
    return total / windows


def _similarity(one: Words, other: Words, peak: int) -> Words:
    """Return the similarity of every window inside these bands."""
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    mean_one, mean_other = _blurred(one), _blurred(other)
    product, square_one, square_other = mean_one * mean_other, mean_one**2, mean_other**2
    covariance = _blurred(one * other) - product
    variances = _blurred(one * one) - square_one + _blurred(other * other) - square_other
    similar: Words = ((2 * product + c1) * (2 * covariance + c2)) / (
        (square_one + square_other + c1) * (variances + c2)
    )
    return similar


def _blurred(band: Words) -> Words:
    """Return Gaussian means of every window inside a band."""
    rows, columns = band.shape[0] - _SIDE + 1, band.shape[1] - _SIDE + 1
    down = sum(weight * band[at : at + rows] for at, weight in enumerate(_GAUSSIAN))
    across: Words = sum(weight * down[:, at : at + columns] for at, weight in enumerate(_GAUSSIAN))
    return across
