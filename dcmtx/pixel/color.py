"""Colour between codecs: planar configuration, shared chroma, RGB and YBR_FULL (PS3.3 C.7.6.3.1.2, C.7.6.3.1.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.pixel.format import PixelFormat
from dcmtx.pixel.palette import Palette

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]


def coloured(words: Words, palette: Palette) -> Words:
    """Return the colours of pixels that index a palette: (rows, columns, 3), of 8 or 16 bits."""
    cells = f"<u{palette.stored // 8}"
    colours = np.stack([np.frombuffer(table, cells) for table in palette.tables], axis=-1).astype(f"u{cells[2:]}")
    places = np.clip(words.astype(np.int32) - palette.first, 0, len(colours) - 1)
    found: Words = colours[places]
    return found


def by_pixel(planes: Words) -> Words:
    """Return (samples, rows, columns) as (rows, columns, samples), contiguous."""
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def by_plane(pixels: Words) -> Words:
    """Return (rows, columns, samples) as (samples, rows, columns), contiguous."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def expand_422(samples: Words, fmt: PixelFormat) -> Words:
    """Return native YBR_FULL_422 (Y1 Y2 Cb Cr for each two pixels) as YBR_FULL, chroma repeated.

    `samples` is flat; if Columns is odd, pairs continue across rows. This is exact: dropping every second chroma sample
    restores the input.
    """
    pairs = samples.reshape(-1, 4)
    full = np.empty((len(pairs), 2, 3), samples.dtype)
    full[..., 0] = pairs[..., :2]
    full[..., 1] = pairs[..., 2:3]
    full[..., 2] = pairs[..., 3:4]
    return full.reshape(fmt.rows, fmt.columns, 3)


def share_422(full: Words) -> Words:
    """Return YBR_FULL as flat native YBR_FULL_422: each two pixels share the chroma of the first.

    Columns must be even.
    """
    rows, columns, _ = full.shape
    pairs = np.empty((rows, columns // 2, 4), full.dtype)
    pairs[..., 0] = full[:, 0::2, 0]
    pairs[..., 1] = full[:, 1::2, 0]
    pairs[..., 2] = full[:, 0::2, 1]
    pairs[..., 3] = full[:, 0::2, 2]
    return pairs.reshape(-1)


def to_rgb(full: Words, fmt: PixelFormat) -> Words:
    """Return YBR_FULL as RGB, rounded and clamped (PS3.3 C.7.6.3.1.2: full range BT.601). Not reversible."""
    top = (1 << fmt.stored) - 1
    half = 1 << (fmt.stored - 1)
    luminance, blue, red = (full[..., index].astype(np.float64) for index in range(3))
    blue -= half
    red -= half
    rgb = np.stack(
        [luminance + 1.402 * red, luminance - 0.344136 * blue - 0.714136 * red, luminance + 1.772 * blue], axis=-1
    )
    clamped: Words = np.clip(np.rint(rgb), 0, top).astype(full.dtype)
    return clamped


def to_ybr(rgb: Words, fmt: PixelFormat) -> Words:
    """Return RGB as YBR_FULL, rounded and clamped (PS3.3 C.7.6.3.1.2: full range BT.601). Not reversible."""
    top = (1 << fmt.stored) - 1
    half = 1 << (fmt.stored - 1)
    red, green, blue = (rgb[..., index].astype(np.float64) for index in range(3))
    full = np.stack(
        [
            0.299 * red + 0.587 * green + 0.114 * blue,
            -0.168736 * red - 0.331264 * green + 0.5 * blue + half,
            0.5 * red - 0.418688 * green - 0.081312 * blue + half,
        ],
        axis=-1,
    )
    clamped: Words = np.clip(np.rint(full), 0, top).astype(rgb.dtype)
    return clamped


def with_shared_chroma(full: Words) -> Words:
    """Return YBR_FULL in which each two pixels of a row have the mean of their chroma. Columns must be even."""
    shared = full.copy()
    chroma = full[..., 1:].astype(np.uint32)
    mean = ((chroma[:, 0::2] + chroma[:, 1::2] + 1) // 2).astype(full.dtype)
    shared[:, 0::2, 1:] = mean
    shared[:, 1::2, 1:] = mean
    return shared
