"""JPEG-LS by CharLS, in imagecodecs and in pyjpegls (PS3.5 8.2.3)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.errors import CodecError, RefusedError
from dcmtx.pixel import bits
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

DEFAULT_NEAR = 2
# Versions of CharLS whose JpegLsEncode takes the structure below; pyjpegls 1.5 has 2.4.2.
_KNOWN_CHARLS = (b"2.4.",)


def near(quality: EncodingParameters, stored: int) -> int:
    """Return NEAR, the largest error of a value; by default DEFAULT_NEAR, or less if the precision requires it.

    Raises RefusedError if more than half the greatest value is requested (T.87 C.2.3).
    """
    if not quality.lossy:
        return 0
    most = min(255, ((1 << stored) - 1) // 2)
    if quality.near is None:
        return min(DEFAULT_NEAR, most)
    if quality.near > most:
        raise RefusedError(
            f"NEAR is at most {most} where Bits Stored is {stored} (T.87 C.2.3), not {quality.near}", code="E_BITS"
        )
    return quality.near


def decode_imagecodecs(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame of unsigned samples, colour by pixel."""
    import imagecodecs

    frame: Words = imagecodecs.jpegls_decode(data)
    return frame


def decode_pyjpegls(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame decoded by pyjpegls, colour by pixel."""
    from jpeg_ls import jlsread

    frame: Words = jlsread(bytes(data))
    return frame


def encode_imagecodecs(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame of 8 or 16 bits, the only precisions that imagecodecs wrote before 2026.10."""
    import imagecodecs

    samples = np.ascontiguousarray(bits.narrow(bits.unsigned(words, coded.stored), coded.stored))
    # Noise grows when encoded, and the library fails if the buffer is too small.
    out = bytearray(_room(samples))
    return _without_spiff(bytes(imagecodecs.jpegls_encode(samples, level=near(quality, coded.stored), out=out)))


def encode_imagecodecs_precise(
    words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters
) -> bytes:
    """Return one frame of the true precision, 2 to 16 bits, colour interleaved by sample."""
    import imagecodecs

    samples = np.ascontiguousarray(bits.narrow(bits.unsigned(words, coded.stored), coded.stored))
    # Older releases, and their type stubs, do not have these arguments.
    exactly: dict[str, Any] = {"bitspersample": coded.stored, "spiff": False}
    out = bytearray(_room(samples))
    return bytes(imagecodecs.jpegls_encode(samples, level=near(quality, coded.stored), out=out, **exactly))


def _without_spiff(stream: bytes) -> bytes:
    """Return the stream without the SPIFF header (T.84 F.1), which declares any three components as RGB."""
    start = 2
    while stream[start : start + 2] == b"\xff\xe8":
        start += 2 + int.from_bytes(stream[start + 2 : start + 4], "big")
    return stream[:2] + stream[start:]


def encode_pyjpegls(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame of the true precision, 2 to 16 bits, colour interleaved by sample."""
    samples = np.ascontiguousarray(bits.narrow(bits.unsigned(words, coded.stored), coded.stored))
    function = _charls()
    if function is None:
        return _encode_locked(samples, coded, quality)
    colour = coded.samples > 1
    parameters = _Parameters(
        width=coded.columns, height=coded.rows, bits=coded.stored, components=coded.samples,
        stride=coded.columns * samples.itemsize * (coded.samples if colour else 1), interleave=2 if colour else 0,
        near=near(quality, coded.stored),
    )  # fmt: skip
    room = np.empty(_room(samples), np.uint8)
    length = ctypes.c_size_t()
    message = ctypes.create_string_buffer(256)
    status = function(
        room.ctypes.data, room.nbytes, ctypes.byref(length), samples.ctypes.data, samples.nbytes,
        ctypes.byref(parameters), message,
    )  # fmt: skip
    if status != 0:
        raise CodecError(f"pyjpegls: {message.value.decode('ascii', 'replace') or f'error {status}'}")
    return room[: length.value].tobytes()


def _room(samples: Words) -> int:
    """Return a buffer size for any encoding of these samples: noise grows by less than half, headers are small."""
    return 2 * samples.nbytes + 1024


def _encode_locked(samples: Words, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Encode by the Python function of pyjpegls, which keeps the interpreter lock and fails on very small images."""
    from jpeg_ls import encode_buffer

    return bytes(
        encode_buffer(
            samples.tobytes(),
            coded.rows,
            coded.columns,
            coded.samples,
            coded.stored,
            near(quality, coded.stored),
            2 if coded.samples > 1 else 0,
        )
    )


class _Preset(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int32) for name in ("maximum", "t1", "t2", "t3", "reset")]


class _Jfif(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int32) for name in ("version", "units", "x_density", "y_density", "x_thumb", "y_thumb")],
        ("thumbnail", ctypes.c_void_p),
    ]


class _Parameters(ctypes.Structure):
    """JlsParameters of CharLS (charls/public_types.h)."""

    _fields_ = [
        *[
            (name, ctypes.c_int32)
            for name in ("width", "height", "bits", "stride", "components", "near", "interleave", "transform")
        ],
        ("bgr", ctypes.c_char),
        ("preset", _Preset),
        ("jfif", _Jfif),
    ]


@cache
def _charls() -> Callable[..., int] | None:
    """Return CharLS's own C function from pyjpegls's extension module, or None if it is unavailable.

    It is unavailable if it is not exported, or if the library's version is not one whose structures are known: another
    version might read them differently and corrupt memory.

    A direct call gives the same bytes as pyjpegls, but releases the interpreter lock and accepts a larger buffer, so
    that images of a few pixels work too.
    """
    import _CharLS

    try:
        library = ctypes.CDLL(_CharLS.__file__)
        function, tell = library.JpegLsEncode, library.charls_get_version_string
    except (OSError, AttributeError):
        return None
    tell.restype = ctypes.c_char_p
    if not (tell() or b"").startswith(_KNOWN_CHARLS):
        return None
    function.restype = ctypes.c_int32
    function.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t), ctypes.c_void_p, ctypes.c_size_t,
        ctypes.POINTER(_Parameters), ctypes.c_char_p,
    ]  # fmt: skip
    return function
