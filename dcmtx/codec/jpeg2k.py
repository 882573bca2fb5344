"""JPEG 2000 by OpenJPEG, in imagecodecs and in pylibjpeg-openjpeg; it also decodes HTJ2K (PS3.5 8.2.4)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.codec import rate, search
from dcmtx.errors import RefusedError
from dcmtx.pixel import bits, codestream
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

# Range of peak signal-to-noise ratios to search for a ratio, in decibels, worst first.
_PSNR_RANGE = (15.0, 150.0)
# The library's rate control has failed if the stream exceeds the size for the ratio by more than this factor.
_MISSED = 1.1


def decode_imagecodecs(data: bytes, coded: PixelFormat, plain: PixelFormat, threads: int = 1) -> Words:
    """Return one frame, colour by pixel; a component transform is undone, so YBR_RCT and YBR_ICT become RGB."""
    import imagecodecs

    frame: Words = imagecodecs.jpeg2k_decode(data, planar=False, numthreads=threads)
    return frame


def decode_openjpeg(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame decoded by pylibjpeg-openjpeg, colour by pixel."""
    from openjpeg.utils import decode

    frame: Words = decode(bytes(data), j2k_format=0)
    return frame


def encode_imagecodecs(
    words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters, threads: int = 1
) -> bytes:
    """Return one frame, reversible, of the true precision; the same bytes by any number of threads."""
    import imagecodecs

    samples = bits.narrow(words, coded.stored)
    # Few bits are coded as eight, shifted, and relabelled: with fewer, noise overflows the library's buffer.
    shifted = coded.stored < 8
    if shifted:
        samples = shift_to_signed(samples, coded)
    encoded = imagecodecs.jpeg2k_encode(
        np.ascontiguousarray(samples),
        level=0,
        codecformat="j2k",
        planar=False if coded.samples > 1 else None,
        reversible=True,
        mct=coded.photometric == "YBR_RCT",
        resolutions=quality.resolutions,
        bitspersample=8 if shifted else coded.stored,
        numthreads=threads,
    )
    check_resolutions("j2k", bytes(encoded), quality)
    return relabel(bytes(encoded), coded) if shifted else bytes(encoded)


def check_resolutions(kind: str, encoded: bytes, quality: EncodingParameters) -> None:
    """Raise RefusedError if the library made fewer resolutions than requested, as it silently does for small images."""
    if quality.resolutions is None:
        return
    made = codestream.inspect(kind, encoded).levels + 1
    if made != quality.resolutions:
        raise RefusedError(
            f"so small an image has {made} resolutions, not {quality.resolutions}",
            advice="ask for fewer, or for none",
            code="E_LIMIT",
        )


def encode_openjpeg(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame encoded by pylibjpeg-openjpeg, reversible, of the true precision."""
    from openjpeg.utils import encode_array

    samples = np.ascontiguousarray(bits.narrow(words, coded.stored))
    encoded = encode_array(
        samples,
        bits_stored=coded.stored,
        photometric_interpretation=1 if coded.samples == 3 else 2,
        use_mct=coded.photometric == "YBR_RCT",
    )
    return bytes(encoded)


def encode_openjpeg_lossy(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame, irreversible, by OpenJPEG's own rate control, which truncates optimally."""
    from openjpeg.utils import encode_array

    samples = np.ascontiguousarray(bits.narrow(words, coded.stored))

    def encode(ratios: list[float] | None, decibels: list[float] | None) -> bytes:
        encoded = encode_array(
            samples,
            bits_stored=coded.stored,
            photometric_interpretation=1 if coded.samples == 3 else 2,
            use_mct=coded.photometric == "YBR_ICT",
            compression_ratios=ratios,
            signal_noise_ratios=decibels,
        )
        return bytes(encoded)

    def by_psnr(psnr: float) -> bytes:
        return encode(None, [psnr])

    def by_ratio(ratio: float) -> bytes:
        encoded = encode([ratio], None)
        raw = rate.frame_bytes(coded)
        if len(encoded) * ratio <= raw * _MISSED:
            return encoded
        return search.by_ratio(by_psnr, raw, ratio, *_PSNR_RANGE)

    return _within(by_ratio, by_psnr, words, coded, quality)


def encode_imagecodecs_lossy(
    words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters, threads: int = 1
) -> bytes:
    """Return one frame, irreversible, by PSNR; a ratio is found by searching for the PSNR."""

    def by_psnr(psnr: float) -> bytes:
        return _encode_psnr(words, coded, quality, psnr=psnr, threads=threads)

    def by_ratio(ratio: float) -> bytes:
        return search.by_ratio(by_psnr, rate.frame_bytes(coded), ratio, *_PSNR_RANGE)

    return _within(by_ratio, by_psnr, words, coded, quality, threads)


def _within(
    by_ratio: Callable[[float], bytes], by_psnr: Callable[[float], bytes], words: Words, coded: PixelFormat,
    quality: EncodingParameters, threads: int = 1,
) -> bytes:  # fmt: skip
    """Return one frame as `quality` asks, by an encoder that only estimates the PSNR, before words are rounded."""

    def measure(encoded: bytes) -> float:
        return rate.psnr(decode_imagecodecs(encoded, coded, coded, threads), words, coded)

    return rate.encode(by_ratio, lambda psnr: rate.at_least(by_psnr, measure, psnr), measure, quality)


def _encode_psnr(words: Words, coded: PixelFormat, quality: EncodingParameters, *, psnr: float, threads: int) -> bytes:
    import imagecodecs

    level: Any = psnr
    encoded = imagecodecs.jpeg2k_encode(
        np.ascontiguousarray(bits.narrow(words, coded.stored)),
        level=level,
        codecformat="j2k",
        planar=False if coded.samples > 1 else None,
        reversible=False,
        mct=coded.photometric == "YBR_ICT",
        resolutions=quality.resolutions,
        bitspersample=coded.stored,
        numthreads=threads,
    )
    check_resolutions("j2k", bytes(encoded), quality)
    return bytes(encoded)


def shift_to_signed(samples: Words, coded: PixelFormat) -> Words:
    """Return samples of `coded.stored` bits centred on zero, as signed words of the same width.

    JPEG 2000 does the same to unsigned samples before the wavelet (T.800 G.1). So samples coded this way decode to
    their original values once the stream is relabelled with their precision, and the precision that the library
    writes, that of the container, is gone.
    """
    if coded.signed:
        return samples
    signed = f"int{samples.dtype.itemsize * 8}"
    # The difference wraps modulo the width, which gives the right result for 2**(width - 1) and above.
    centred: Words = (samples - samples.dtype.type(1 << (coded.stored - 1))).view(signed)
    return centred


def relabel(encoded: bytes, coded: PixelFormat) -> bytes:
    """Set precision and sign of each component in SIZ (T.800 A.5.1) to those of `coded`."""
    stream = bytearray(encoded)
    at = stream.index(b"\xff\x51") + 4
    depth = (coded.stored - 1) | (0x80 if coded.signed else 0)
    for component in range(coded.samples):
        stream[at + 36 + 3 * component] = depth
    return bytes(stream)


# Of each tile-part, TLM has the tile (16 bits) and the length (32 bits): Stlm says so. It may have so many of them.
_STLM = 0x60
_ENTRIES = (0xFFFF - 4) // 6


def insert_tile_lengths(encoded: bytes) -> bytes:
    """Return a codestream with a TLM marker segment before its first tile-part (T.800 A.7.1)."""
    start = codestream.inspect("j2k", encoded).body
    entries, position = [], start
    while encoded[position : position + 2] == b"\xff\x90":
        tile, length = struct.unpack_from(">HI", encoded, position + 4)
        # 0 means that the last tile-part ends with the codestream (T.800 A.4.2).
        length = length or len(encoded) - 2 - position
        entries.append(struct.pack(">HI", tile, length))
        position += length
    segments: list[bytes] = []
    for first in range(0, len(entries), _ENTRIES):
        body = bytes([len(segments), _STLM]) + b"".join(entries[first : first + _ENTRIES])
        segments.append(b"\xff\x55" + struct.pack(">H", 2 + len(body)) + body)
    return b"".join([encoded[:start], *segments, encoded[start:]])
