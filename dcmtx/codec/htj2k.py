"""HTJ2K encoding by OpenJPH inside imagecodecs (PS3.5 8.2.14, 10.18). Decoding is in jpeg2k: this decoder crashes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcmtx.codec.jpeg2k import relabel, shift_to_signed
from dcmtx.codec.registry import Quality
from dcmtx.pixel import bits
from dcmtx.pixel.format import PixelFormat

Words = NDArray[Any]

# PS3.5 10.18: the lowest resolution of .202 has at most this many rows and columns.
LOWEST_RESOLUTION = 64


def encode_imagecodecs(words: Words, plain: PixelFormat, coded: PixelFormat, quality: Quality) -> bytes:
    """Return one frame, reversible, RPCL with TLM, of the true precision.

    The library writes the precision of the container, so the samples go in shifted and the stream is relabelled.
    """
    import imagecodecs

    samples = shift_to_signed(bits.narrow(words, coded.stored), coded)
    encoded = imagecodecs.htj2k_encode(
        np.ascontiguousarray(samples),
        reversible=True,
        rgb=coded.photometric == "YBR_RCT",
        planar=False if coded.samples > 1 else None,
        resolutions=quality.resolutions or decompositions(coded),
        tlm=True,
    )
    return relabel(bytes(encoded), coded)


def decompositions(fmt: PixelFormat) -> int:
    """Return how many times the wavelet halves the image: 5, or as many as bring it down to 64 by 64."""
    levels = 5
    while max(fmt.rows, fmt.columns) > LOWEST_RESOLUTION << levels:
        levels += 1
    return levels
