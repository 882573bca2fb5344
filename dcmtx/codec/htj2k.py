"""HTJ2K encoding by OpenJPH inside imagecodecs (PS3.5 8.2.14, 10.18). Decoding is in jpeg2k: this decoder crashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.codec import rate, search
from dcmtx.codec.jpeg2k import decode_imagecodecs, relabel, shift_to_signed
from dcmtx.codec.registry import Quality
from dcmtx.pixel import bits
from dcmtx.pixel.format import PixelFormat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]


# PS3.5 10.18: the lowest resolution of .202 has at most this many rows and columns.
LOWEST_RESOLUTION = 64
# Quantization steps, relative to the range of values, between which a ratio or a PSNR is looked for, worst first.
_STEPS = (0.5, 2e-6)


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
        resolutions=decompositions(coded, quality),
        tile=(quality.tile, quality.tile) if quality.tile else None,
        tlm=True,
    )
    return relabel(bytes(encoded), coded)


def encode_imagecodecs_lossy(words: Words, plain: PixelFormat, coded: PixelFormat, quality: Quality) -> bytes:
    """Return one frame, irreversible, of a ratio or a PSNR, looked for by the quantization step."""
    samples = _fill_container(words, coded)

    def encode(step: float) -> bytes:
        return _encode_step(samples, coded, quality, step)

    def measure(encoded: bytes) -> float:
        return rate.psnr(decode_imagecodecs(encoded, coded, coded), words, coded)

    return rate.encode(
        lambda ratio: search.by_ratio(encode, rate.frame_bytes(coded), ratio, *_STEPS),
        lambda psnr: search.by_psnr(encode, measure, psnr, *_STEPS),
        measure,
        quality,
    )


def _fill_container(words: Words, coded: PixelFormat) -> Words:
    """Return the samples shifted up to the precision of their container.

    Irreversible quantization steps are relative to the precision that the stream is labelled with (T.800 E.1.1):
    samples coded so, and labelled with the true precision afterwards, decode to what they were.
    """
    samples = bits.narrow(words, coded.stored)
    shifted: Words = samples << (samples.dtype.itemsize * 8 - coded.stored)
    return np.ascontiguousarray(shifted)


def _encode_step(samples: Words, coded: PixelFormat, quality: Quality, step: float) -> bytes:
    import imagecodecs

    encoded = imagecodecs.htj2k_encode(
        samples,
        level=step,
        reversible=False,
        rgb=coded.photometric == "YBR_ICT",
        planar=False if coded.samples > 1 else None,
        resolutions=decompositions(coded, quality),
        tile=(quality.tile, quality.tile) if quality.tile else None,
        tlm=True,
    )
    return relabel(bytes(encoded), coded)


def decompositions(fmt: PixelFormat, quality: Quality) -> int:
    """Return how many times the wavelet halves the image: one less than the resolutions asked for.

    By default 5, or as many as bring it down to 64 by 64.
    """
    if quality.resolutions is not None:
        return quality.resolutions - 1
    levels = 5
    while max(fmt.rows, fmt.columns) > LOWEST_RESOLUTION << levels:
        levels += 1
    return levels
