"""HTJ2K encoding by OpenJPH inside imagecodecs (PS3.5 8.2.14, 10.18). Decoding is in jpeg2k.

OpenJPH's own decoder is faster, but values that loss takes out of their range come out at the other end of it, 0 for
256, and older releases crash on damaged streams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.codec import rate, search
from dcmtx.codec.jpeg2k import check_resolutions, decode_imagecodecs, relabel, shift_to_signed
from dcmtx.pixel import bits
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]


# PS3.5 10.18: the lowest resolution of .202 has at most this many rows and columns.
LOWEST_RESOLUTION = 64
# Bits Stored below this are coded as so many.
_FEW = 8
# How many times the library halves an image if it is told nothing.
_USUAL = 5
# Quantization steps, relative to the range of values, between which a ratio or a PSNR is looked for, worst first.
_STEPS = (0.5, 2e-6)


def encode_imagecodecs_precise(
    words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters
) -> bytes:
    """Return one frame, reversible, with TLM, of the true precision; RPCL unless another progression is asked for."""
    import imagecodecs

    samples = bits.narrow(words, coded.stored)
    # Few bits are coded as eight, and relabelled: rounding in many halvings takes them beyond what the library allows.
    few = coded.stored < _FEW
    encoded = imagecodecs.htj2k_encode(
        np.ascontiguousarray(shift_to_signed(samples, coded) if few else samples),
        reversible=True,
        rgb=coded.photometric == "YBR_RCT",
        **_layout(coded, quality) | {"bitspersample": max(coded.stored, _FEW)},
    )
    check_resolutions("htj2k", bytes(encoded), quality)
    return relabel(bytes(encoded), coded) if few else bytes(encoded)


def _layout(coded: PixelFormat, quality: EncodingParameters) -> dict[str, Any]:
    """Return how the library is told to lay the stream out. What was not asked for it is not told: it may be old.

    Told how often to halve the image, it never halves a side below one pixel since 2026.10, and what it does not halve
    at all it codes wrongly; told nothing, it halves five times whatever the size.
    """
    levels = decompositions(coded, quality)
    thin = min(coded.rows, coded.columns) >> levels == 0
    layout: dict[str, Any] = {
        "planar": False if coded.samples > 1 else None,
        "resolutions": None if quality.resolutions is None and (levels == _USUAL or thin) else levels,
        "tile": (quality.tile, quality.tile) if quality.tile else None,
        "tlm": True,
    }
    if quality.progression is not None:
        layout["prog_order"] = quality.progression
    if quality.code_block is not None:
        layout["block_size"] = (quality.code_block, quality.code_block)
    return layout


def encode_imagecodecs(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame, reversible, RPCL with TLM, of the true precision, by imagecodecs before 2026.10.

    That library writes the precision of the container, so the samples go in shifted and the stream is relabelled.
    """
    import imagecodecs

    samples = shift_to_signed(bits.narrow(words, coded.stored), coded)
    encoded = imagecodecs.htj2k_encode(
        np.ascontiguousarray(samples),
        reversible=True,
        rgb=coded.photometric == "YBR_RCT",
        **_layout(coded, quality) | {"resolutions": decompositions(coded, quality)},
    )
    return relabel(bytes(encoded), coded)


def encode_imagecodecs_lossy(
    words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters
) -> bytes:
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


def _encode_step(samples: Words, coded: PixelFormat, quality: EncodingParameters, step: float) -> bytes:
    import imagecodecs

    encoded = imagecodecs.htj2k_encode(
        samples,
        level=step,
        reversible=False,
        rgb=coded.photometric == "YBR_ICT",
        **_layout(coded, quality),
    )
    check_resolutions("htj2k", bytes(encoded), quality)
    return relabel(bytes(encoded), coded)


def decompositions(fmt: PixelFormat, quality: EncodingParameters) -> int:
    """Return how many times the wavelet halves the image: one less than the resolutions asked for.

    By default 5, or as many as bring it down to 64 by 64.
    """
    if quality.resolutions is not None:
        return quality.resolutions - 1
    levels = _USUAL
    while max(fmt.rows, fmt.columns) > LOWEST_RESOLUTION << levels:
        levels += 1
    return levels
