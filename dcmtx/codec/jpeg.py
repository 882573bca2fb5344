"""JPEG: lossless (SOF3) and sequential DCT (SOF0, SOF1) both ways, progressive (SOF2) decoded (PS3.5 8.2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.pixel import bits
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

_SOF0, _SOF1 = 0xC0, 0xC1
DEFAULT_QUALITY = 90
DEFAULT_SUBSAMPLING = "422"


def decode_imagecodecs(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame, colour by pixel; YBR components become RGB only if `plain` says so.

    Both colour spaces are always named, because the library otherwise guesses, sometimes wrongly.
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


def _contiguous(samples: Words) -> Words:
    """Return contiguous samples with matching strides; NumPy allows arbitrary strides for a single pixel."""
    return samples.copy() if samples.size <= 3 else np.ascontiguousarray(samples)


def encode_lossless(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame as lossless JPEG of the true precision, or of 8 bits if Bits Stored is 1, which JPEG lacks."""
    import imagecodecs

    precision = coded.stored if coded.stored > 1 else 8
    samples = bits.narrow(bits.unsigned(words, coded.stored), precision)
    encoded = imagecodecs.jpeg8_encode(
        _contiguous(samples),
        lossless=True,
        predictor=quality.predictor or 1,
        bitspersample=precision,
        colorspace="RGB" if coded.samples == 3 else None,
        outcolorspace="RGB" if coded.samples == 3 else None,
    )
    return bytes(encoded)


def encode_extended(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame of Process 2 or 4, marked with SOF1; a Process 1 stream of 8 bits is valid for Process 2."""
    stream = encode_lossy(words, plain, coded, quality)
    at = 2
    while stream[at + 1] not in (_SOF0, _SOF1):
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return stream[: at + 1] + bytes([_SOF1]) + stream[at + 2 :]


def encode_lossy(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame as sequential DCT of 8 or 12 bits.

    Colour is stored as in `coded`: YBR_FULL_422 shares chroma as requested; RGB is not transformed, and an Adobe marker
    records that. Both colour spaces are always named.
    """
    import imagecodecs

    stored = given = None
    subsampling = None
    if coded.samples == 3:
        given = "YCBCR" if plain.photometric.startswith("YBR") else "RGB"
        stored = "YCBCR" if coded.photometric.startswith("YBR") else "RGB"
        subsampling = (quality.subsampling or DEFAULT_SUBSAMPLING) if stored == "YCBCR" else "444"
    encoded = imagecodecs.jpeg8_encode(
        _contiguous(bits.narrow(words, coded.stored)),
        level=DEFAULT_QUALITY if quality.quality is None else quality.quality,
        colorspace=given,
        outcolorspace=stored,
        subsampling=subsampling,
        bitspersample=coded.stored,
        optimize=True,
    )
    return bytes(encoded)
