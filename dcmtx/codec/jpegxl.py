"""JPEG XL by libjxl in imagecodecs, and its bit-exact recompression of JPEG (PS3.5 8.2.15, 10.19)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.codec import jpeg
from dcmtx.errors import CodecError
from dcmtx.pixel import bits
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

DEFAULT_QUALITY = 90
# libjxl's own scale from 1 to 9. Of a CT, 3 makes 5 % more bytes than 7 in an eighth of its time; 1 takes a sixteenth
# of the time of 3, and makes 6 to 17 % more bytes.
_LOSSLESS_EFFORT = 3


def decode(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame, colour by pixel."""
    import imagecodecs

    frame: Words = imagecodecs.jpegxl_decode(data, keeporientation=True, numthreads=1)
    return frame[..., 0] if frame.ndim == 3 and frame.shape[-1] == 1 else frame


def encode_lossless(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame, lossless, of the true precision."""
    import imagecodecs

    samples = np.ascontiguousarray(bits.narrow(words, coded.stored))
    encoded = imagecodecs.jpegxl_encode(
        samples, lossless=True, effort=quality.effort or _LOSSLESS_EFFORT, bitspersample=coded.stored, numthreads=1
    )
    return bytes(encoded)


def encode_lossy(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame of this quality, 1 to 100 as for JPEG, by the corresponding Butteraugli distance."""
    import imagecodecs

    samples = np.ascontiguousarray(bits.narrow(words, coded.stored))
    wanted = DEFAULT_QUALITY if quality.quality is None else quality.quality
    encoded = imagecodecs.jpegxl_encode(
        samples, distance=distance(wanted), effort=quality.effort, bitspersample=coded.stored, numthreads=1
    )
    return bytes(encoded)


def distance(quality: int) -> float:
    """Return the Butteraugli distance that looks about like JPEG of this quality: 1.0 at 90, 15 at 0."""
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 6.4 + (30 - quality) ** 2 * 8.6 / 900


def recompress(data: bytes, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return a JPEG stream as JPEG XL that restores it byte for byte; raise CodecError otherwise."""
    import imagecodecs

    stream = bytes(imagecodecs.jpegxl_encode_jpeg(data, numthreads=1))
    if restore(stream) != data:
        raise CodecError("imagecodecs does not give the JPEG stream back byte for byte")
    return stream


def restore(data: bytes) -> bytes:
    """Return the JPEG stream that was recompressed, byte for byte."""
    import imagecodecs

    return bytes(imagecodecs.jpegxl_decode_jpeg(data, numthreads=1))


def decode_recompressed(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame, decoded from the JPEG stream that was recompressed."""
    return jpeg.decode_imagecodecs(restore(data), coded, plain)
