"""JPEG: lossless (SOF3) both ways, lossy (SOF0, SOF1, SOF2) decoded (PS3.5 8.2.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcmtx.codec.registry import Quality
from dcmtx.pixel import bits
from dcmtx.pixel.format import PixelFormat

Words = NDArray[Any]


def decode_imagecodecs(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame, colour by pixel; YBR components become RGB only if `plain` says so.

    Both colour spaces are always named: left alone, the library guesses and sometimes guesses wrong.
    """
    import imagecodecs

    if coded.samples == 1:
        stored = wanted = "GRAYSCALE"
    else:
        stored = "YCBCR" if coded.photometric.startswith("YBR") else "RGB"
        wanted = "RGB" if plain.photometric == "RGB" else stored
    frame: Words = imagecodecs.jpeg8_decode(data, colorspace=stored, outcolorspace=wanted)
    return frame


def decode_libjpeg(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame decoded by pylibjpeg-libjpeg, which also reads JPEG-LS."""
    from libjpeg.utils import decode

    transform = 1 if coded.photometric.startswith("YBR") and plain.photometric == "RGB" else 0
    frame: Words = decode(bytes(data), transform)
    return frame


def encode_lossless(words: Words, plain: PixelFormat, coded: PixelFormat, quality: Quality) -> bytes:
    """Return one frame as lossless JPEG of the true precision; of 8 bits where Bits Stored is 1, which JPEG lacks."""
    import imagecodecs

    precision = coded.stored if coded.stored > 1 else 8
    samples = bits.narrow(bits.unsigned(words, coded.stored), precision)
    encoded = imagecodecs.jpeg8_encode(
        np.ascontiguousarray(samples),
        lossless=True,
        predictor=quality.predictor or 1,
        bitspersample=precision,
        colorspace="RGB" if coded.samples == 3 else None,
        outcolorspace="RGB" if coded.samples == 3 else None,
    )
    return bytes(encoded)
