"""Makes small pictures of images: shrunk, of 8 bits, with a palette (PS3.3 C.7.6.1.1.6); `display` makes grey ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.pixel import bits, color
from dcmtx.pixel.format import PixelFormat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

LARGEST_SIDE = 128
COLOURS = 256


def size_of(fmt: PixelFormat, aspect: float) -> tuple[int, int]:
    """Return rows and columns of an icon; `aspect` is the height of a pixel divided by its width.

    Pixels of an icon are square. It is never larger than its image.
    """
    rows, columns = fmt.rows * min(aspect, 1.0), fmt.columns / max(aspect, 1.0)
    scale = min(1.0, LARGEST_SIDE / max(rows, columns))
    return max(round(rows * scale), 1), max(round(columns * scale), 1)


def prepared(words: Words, fmt: PixelFormat, padding: int | None) -> Words:
    """Return words as values: nothing outside Bits Stored, and padding as dark as the darkest other pixel."""
    if fmt.allocated == 1:
        return words
    if fmt.high_bit != fmt.stored - 1:
        words = bits.lower_high_bit(words, fmt)
    words = bits.clear_unused(words, fmt)
    if padding is None:
        return words
    padded = words == padding
    if not padded.any() or padded.all():
        return words
    return np.where(padded, words[~padded].min(), words)


def shrunk(values: Words, size: tuple[int, int]) -> Words:
    """Return values averaged over the areas that become one pixel, as 64-bit floating point numbers."""
    made = values
    for axis, count in enumerate(size):
        length = values.shape[axis]
        starts = np.arange(count) * length // count
        areas = np.diff(np.append(starts, length))
        shape = [1] * made.ndim
        shape[axis] = count
        made = np.add.reduceat(made, starts, axis=axis, dtype=np.float64) / areas.reshape(shape)
    return made


def rgb(values: Words, fmt: PixelFormat) -> Words:
    """Return averaged colours as RGB of 8 bits."""
    words = np.rint(values).astype(fmt.dtype)
    if fmt.photometric == "YBR_FULL":
        words = color.to_rgb(words, fmt)
    eight: Words = np.rint(words * (255 / ((1 << fmt.stored) - 1))).astype(np.uint8)
    return eight


def indexed(colours: Words) -> tuple[Words, Words]:
    """Return RGB of 8 bits as indices of at most 256 colours, and those colours: the same, if there are no more.

    Otherwise the colours are divided by median cut: the box with the widest range of a sample is cut at its middle.
    """
    flat = colours.reshape(-1, 3)
    found, places = np.unique(flat, axis=0, return_inverse=True)
    places = places.reshape(-1)
    if len(found) <= COLOURS:
        return places.reshape(colours.shape[:2]).astype(np.uint8), found
    weights = np.bincount(places)
    boxes = [np.arange(len(found))]
    while len(boxes) < COLOURS:
        ranges = [np.ptp(found[box], axis=0) if len(box) > 1 else np.zeros(3, np.uint8) for box in boxes]
        widest = max(range(len(boxes)), key=lambda place: int(ranges[place].max()))
        box = boxes.pop(widest)
        box = box[np.argsort(found[box][:, int(ranges[widest].argmax())], kind="stable")]
        middle = int(np.searchsorted(np.cumsum(weights[box]), weights[box].sum() / 2))
        middle = min(max(middle, 1), len(box) - 1)
        boxes += [box[:middle], box[middle:]]
    palette = np.empty((len(boxes), 3), np.uint8)
    which = np.empty(len(found), np.uint8)
    for place, box in enumerate(boxes):
        palette[place] = np.rint(np.average(found[box], axis=0, weights=weights[box]))
        which[box] = place
    return which[places].reshape(colours.shape[:2]), palette
