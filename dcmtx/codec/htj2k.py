"""HTJ2K encoding by OpenJPH inside imagecodecs (PS3.5 8.2.14, 10.18). Decoding is in jpeg2k, and in openjph.

What imagecodecs makes of OpenJPH's own decoder only checks what was encoded without loss: values that lossy coding
moves out of range wrap around (256 becomes 0), also in 2026.10.10, and older releases crash on damaged streams.
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
# Bits Stored below this are coded as this many.
FEW = 8
# How many times the library halves an image by default.
_USUAL = 5
# The choice of `tile_parts` with one tile-part for each resolution of a tile.
BY_RESOLUTION = "resolution"
_RESOLUTIONS = 1  # of imagecodecs' HTJ2K.TILEPART
# Range of quantization steps to search for a ratio or a PSNR, relative to the range of values, worst first.
_STEPS = (0.5, 2e-6)


def encode_imagecodecs_precise(
    words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters
) -> bytes:
    """Return one frame, reversible, with TLM and the true precision; RPCL unless another progression is requested."""
    import imagecodecs

    samples = bits.narrow(words, coded.stored)
    # Few bits are coded as eight and relabelled: rounding in many decompositions exceeds the library's limits.
    few = coded.stored < FEW
    encoded = imagecodecs.htj2k_encode(
        np.ascontiguousarray(shift_to_signed(samples, coded) if few else samples),
        reversible=True,
        rgb=coded.photometric == "YBR_RCT",
        **_layout(coded, quality) | {"bitspersample": max(coded.stored, FEW)},
    )
    check_resolutions("htj2k", bytes(encoded), quality)
    return relabel(bytes(encoded), coded) if few else bytes(encoded)


def encode_imagecodecs_streamed(
    words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters
) -> bytes:
    """Return one frame as `encode_imagecodecs_precise` does, but by default in a tile-part for each resolution."""
    return encode_imagecodecs_precise(words, plain, coded, streamed(quality))


def streamed(quality: EncodingParameters) -> EncodingParameters:
    """Return the parameters with a tile-part for each resolution, so that TLM tells how many bytes each takes.

    Tiles are left whole unless asked for: TLM has no room for the resolutions of very many.
    """
    if quality.tile_parts is not None or quality.tile is not None:
        return quality
    return quality.replace(tile_parts=BY_RESOLUTION)


def check_imagecodecs(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame that was encoded without loss by this process, colour by pixel. Never for other streams."""
    import imagecodecs

    frame: Words = imagecodecs.htj2k_decode(data, planar=False if coded.samples > 1 else None)
    return frame


def _layout(coded: PixelFormat, quality: EncodingParameters) -> dict[str, Any]:
    """Return the library's layout arguments. Only requested options are passed, because an old library lacks some.

    With an explicit number of halvings, the library since 2026.10 never halves a side below one pixel, and codes an
    image that it does not halve at all wrongly. By default it halves five times, whatever the size.
    """
    levels = decompositions(coded, quality)
    thin = min(coded.rows, coded.columns) >> levels == 0
    layout: dict[str, Any] = {
        "planar": False if coded.samples > 1 else None,
        "resolutions": None if quality.resolutions is None and (levels == _USUAL or thin) else levels,
        "tile": (quality.tile, quality.tile) if quality.tile else None,
        "tlm": True,
    }
    if quality.tile_parts == BY_RESOLUTION:
        layout["tilepart"] = _RESOLUTIONS
    if quality.progression is not None:
        layout["prog_order"] = quality.progression
    if quality.code_block is not None:
        layout["block_size"] = (quality.code_block, quality.code_block)
    return layout


def encode_imagecodecs(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame, reversible, RPCL with TLM, of the true precision, by imagecodecs before 2026.10.

    That library writes the precision of the container, so the samples are shifted and the stream is relabelled.
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


def encode_imagecodecs_imprecise_streamed(
    words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters
) -> bytes:
    """Return one frame as `encode_imagecodecs` does, but by default in a tile-part for each resolution."""
    return encode_imagecodecs(words, plain, coded, streamed(quality))


def encode_imagecodecs_lossy(
    words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters
) -> bytes:
    """Return one frame, irreversible, of a ratio or a PSNR, by searching for the quantization step."""
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

    Irreversible quantization steps are relative to the precision in the stream's header (T.800 E.1.1). So samples coded
    this way decode at their original scale once the header is relabelled with the true precision.
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
    """Return how many times the wavelet halves the image: one less than the requested resolutions.

    The default is 5, or as many as reduce the image to 64 by 64.
    """
    if quality.resolutions is not None:
        return quality.resolutions - 1
    levels = _USUAL
    while max(fmt.rows, fmt.columns) > LOWEST_RESOLUTION << levels:
        levels += 1
    return levels
