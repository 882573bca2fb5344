"""How much of a frame JPEG 2000 and HTJ2K may lose: one policy for all their encoders."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dcmtx.errors import RefusedError
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

# The default loss, if none is requested: whichever of the two loses less.
DEFAULT_RATIO = 10.0
DEFAULT_PSNR = 45.0
# The error code for a PSNR that only lossless coding reaches.
UNREACHED = "E_PSNR"
# PSNR of an exact result, in decibels: higher than for 32-bit words with a single error of one.
_EXACT = 250.0
_TRIALS = 5
# Decibels that may be missing: to stop the approach, and to accept the result after it.
_SLACK = 0.1
_MISSED = 0.5


def encode(
    by_ratio: Callable[[float], bytes], by_psnr: Callable[[float], bytes], measure: Callable[[bytes], float],
    quality: EncodingParameters,
) -> bytes:  # fmt: skip
    """Return a frame of the requested ratio or PSNR; else of the one of the two defaults that loses less.

    `measure` returns the PSNR of an encoded frame, in decibels. Raises RefusedError, UNREACHED, if it is too low.
    """
    if quality.psnr is None:
        encoded = by_ratio(quality.ratio or DEFAULT_RATIO)
        if quality.ratio is not None or measure(encoded) >= DEFAULT_PSNR:
            return encoded
    wanted = quality.psnr or DEFAULT_PSNR
    encoded = by_psnr(wanted)
    found = measure(encoded)
    if found < wanted - _MISSED:
        raise RefusedError(
            f"its encoder loses more than leaves {wanted:g} dB, {found:.1f} dB at best",
            advice="leave out --lossy",
            code=UNREACHED,
        )
    return encoded


def at_least(encode: Callable[[float], bytes], measure: Callable[[bytes], float], wanted: float) -> bytes:
    """Return a frame of a PSNR by an encoder that only estimates it: the request is raised by what is missing."""
    asked = wanted
    encoded = encode(asked)
    for trial in range(_TRIALS):
        missing = wanted - measure(encoded)
        if missing <= _SLACK:
            break
        # A small increase may change nothing, so each trial asks for more than is missing.
        asked += missing + 0.05 * 2**trial
        encoded = encode(asked)
    return encoded


def psnr(decoded: Words, words: Words, coded: PixelFormat) -> float:
    """Return the peak signal-to-noise ratio of decoded words, in decibels."""
    import numpy as np

    error = words.astype(np.float64) - decoded
    square = float(np.mean(error * error))
    return 10 * math.log10(((1 << coded.stored) - 1) ** 2 / square) if square else _EXACT


def frame_bytes(coded: PixelFormat) -> float:
    """Return the bytes of one frame, counted in Bits Stored: the basis of ratios."""
    return coded.stored_bytes / coded.frames


def without_loss(quality: EncodingParameters) -> EncodingParameters:
    """Return the requested parameters without the loss."""
    return quality.replace(lossy=False, ratio=None, psnr=None)


def must_be_exact(psnr: float, coded: PixelFormat) -> bool:
    """Tell whether a PSNR is higher than an irreversible wavelet can reach, given rounding to whole words."""
    return psnr > 20 * math.log10((1 << coded.stored) - 1) + 10 * math.log10(12)
