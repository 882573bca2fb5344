"""Colour between codecs: planar configuration, shared chroma, RGB and YBR_FULL (PS3.3 C.7.6.3.1.2, C.7.6.3.1.3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcmtx.pixel.format import PixelFormat

Words = NDArray[Any]


def by_pixel(planes: Words) -> Words:
    """Return (samples, rows, columns) as (rows, columns, samples), contiguous."""
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def by_plane(pixels: Words) -> Words:
    """Return (rows, columns, samples) as (samples, rows, columns), contiguous."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def expand_422(samples: Words, fmt: PixelFormat) -> Words:
    """Return native YBR_FULL_422 (Y1 Y2 Cb Cr for each two pixels) as YBR_FULL, chroma repeated.

    `samples` is flat. Exact: dropping every second chroma sample gives it back.
    """
    pairs = samples.reshape(fmt.rows, fmt.columns // 2, 4)
    full = np.empty((fmt.rows, fmt.columns // 2, 2, 3), samples.dtype)
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
