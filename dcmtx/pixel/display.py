"""Pixels as they are shown: modality transform, window or VOI LUT, palette, RGB (PS3.3 C.11.1, C.11.2, C.7.6.3.1.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.pixel.color import to_rgb
from dcmtx.pixel.format import PixelFormat
from dcmtx.pixel.transform import Display, Function, Lut, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

# Samples of a band.
_BAND = 1 << 22


def shown(words: Words, fmt: PixelFormat, display: Display, bits: int = 8) -> Words:
    """Return a frame as grey or RGB of 8 or 16 unsigned bits; `words` have their value in the low Bits Stored.

    It is gone through a band of rows at a time: what is made in between takes several times its memory.
    """
    if fmt.samples == 1 and not (display.palette or display.window or display.voi):
        display = display.replace(window=whole_range(words, fmt, display))
    made = [_shown(band, fmt, display, bits) for band in _bands(words)]
    return made[0] if len(made) == 1 else np.concatenate(made)


def _bands(words: Words) -> Iterator[Words]:
    step = max(1, _BAND // max(words[0].size, 1))
    for start in range(0, len(words), step):
        yield words[start : start + step]


def _shown(words: Words, fmt: PixelFormat, display: Display, bits: int) -> Words:
    top = (1 << bits) - 1
    if display.palette:
        return _coloured(words, display.palette, top)
    if fmt.samples > 1:
        rgb = to_rgb(words, fmt) if fmt.photometric == "YBR_FULL" else words
        return _scaled(rgb.astype(np.float64) / ((1 << fmt.stored) - 1), top)
    values = _modality(words, display)
    grey = _voi(values, display)
    return _scaled(1 - grey if display.inverse else grey, top)


def _scaled(part: Words, top: int) -> Words:
    """Return numbers from 0 to 1 as whole ones from 0 to `top`."""
    whole: Words = np.rint(np.clip(part, 0, 1) * top).astype(np.uint8 if top < 256 else np.uint16)
    return whole


def _modality(words: Words, display: Display) -> Words:
    if display.modality is not None:
        return _looked_up(words, display.modality).astype(np.float64)
    values: Words = words * np.float64(display.slope) + display.intercept
    return values


def _voi(values: Words, display: Display) -> Words:
    """Return values as numbers from 0 to 1: by the window, or by the table."""
    if display.window is not None:
        return windowed(values, display.window)
    assert display.voi is not None
    table: Words = _looked_up(values, display.voi) / ((1 << display.voi.bits) - 1)
    return table


def whole_range(words: Words, fmt: PixelFormat, display: Display) -> Window:
    """Return the window from the least to the greatest value of a frame, behind its modality transform."""
    if fmt.stored == 1:
        return Window(0.5, 1, Function.EXACT)
    ranges = [
        (float(values.min()), float(values.max())) for values in (_modality(band, display) for band in _bands(words))
    ]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    # Of one value only, all are black.
    return Window((low + high) / 2, high - low, Function.EXACT) if high > low else Window(low + 0.5, 1, Function.EXACT)


def windowed(values: Words, window: Window) -> Words:
    """Return values through a window as numbers from 0 to 1 (PS3.3 C.11.2.1.2, C.11.2.1.3)."""
    center, width = window.center, window.width
    part: Words
    if window.function is Function.SIGMOID:
        part = 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    elif window.function is Function.EXACT:
        part = (values - center) / width + 0.5
    elif width <= 1:
        part = (values > center - 0.5).astype(np.float64)
    else:
        part = (values - (center - 0.5)) / (width - 1) + 0.5
    return np.clip(part, 0, 1)


def _entries(lut: Lut) -> Words:
    return np.frombuffer(lut.data, np.uint8 if lut.narrow else "<u2")


def _looked_up(words: Words, lut: Lut) -> Words:
    """Return the entries for words; what is below the first or behind the last entry gets that entry."""
    entries = _entries(lut)
    whole = np.rint(words) if words.dtype.kind == "f" else words
    found: Words = entries[np.clip(whole.astype(np.int64) - lut.first, 0, len(entries) - 1)]
    return found


def _coloured(words: Words, palette: tuple[Lut, ...], top: int) -> Words:
    planes = [_scaled(_looked_up(words, lut) / ((1 << lut.bits) - 1), top) for lut in palette]
    return np.stack(planes, axis=-1)


def smaller(image: Words, most: int) -> Words:
    """Return an image whose longer side has at most `most` pixels: each is the mean of the area that it covers."""
    longest = max(image.shape[:2])
    if longest <= most:
        return image
    # Whole squares first: they take no more memory than the result.
    side = longest // most
    rows, columns = (max(1, round(length * most / longest)) for length in image.shape[:2])
    means = _squares(image, side) if side > 1 else image.astype(np.float64)
    means = _areas(_areas(means, rows, 0), columns, 1)
    return np.rint(means).astype(image.dtype)


def _squares(image: Words, side: int) -> Words:
    rows, columns = (-(-length // side) for length in image.shape[:2])
    pad = [(0, rows * side - image.shape[0]), (0, columns * side - image.shape[1])]
    padded = np.pad(image, pad + [(0, 0)] * (image.ndim - 2), mode="edge")
    means: Words = padded.reshape(rows, side, columns, side, *image.shape[2:]).mean(axis=(1, 3))
    return means


def _areas(image: Words, count: int, axis: int) -> Words:
    """Return means of `count` equal parts of an axis; a part may begin and end within a pixel."""
    length = image.shape[axis]
    lines = np.moveaxis(image, axis, 0)
    sums = np.concatenate([np.zeros_like(lines[:1]), np.cumsum(lines, axis=0)])
    bounds = np.arange(count + 1) * (length / count)
    whole = np.minimum(bounds.astype(np.int64), length - 1)
    part = (bounds - whole).reshape(-1, *[1] * (lines.ndim - 1))
    upto = sums[whole] + part * lines[whole]
    return np.moveaxis(np.diff(upto, axis=0) * (count / length), 0, axis)


def strongest_change(one: Words, other: Words, most: int) -> Words:
    """Return the second frame minus the first, its longer side of at most `most` pixels.

    Each is the difference that is farthest from zero in its square; of colours, that of the sample that differs most.
    """
    side = -(-max(one.shape[:2]) // most)
    lines = [
        _strongest(_change(one[start : start + side], other[start : start + side]), side)
        for start in range(0, len(one), side)
    ]
    return np.concatenate(lines)


def _change(one: Words, other: Words) -> Words:
    error = other.astype(np.float64) - one
    if error.ndim == 2:
        return error
    most = np.abs(error).argmax(axis=2)
    chosen: Words = np.take_along_axis(error, most[..., None], axis=2)[..., 0]
    return chosen


def _strongest(band: Words, side: int) -> Words:
    """Return a band of at most `side` rows as one row: of each `side` columns the value farthest from zero."""
    columns = -(-band.shape[1] // side)
    padded = np.pad(band, [(0, 0), (0, columns * side - band.shape[1])])
    squares = padded.reshape(len(band), columns, side).swapaxes(0, 1).reshape(columns, -1)
    place = np.abs(squares).argmax(axis=1)
    chosen: Words = np.take_along_axis(squares, place[:, None], axis=1).reshape(1, -1)
    return chosen
