"""Deflated Image Frame Compression: native cells of one frame, raw RFC 1951 (PS3.5 8.2.16, A.4.13)."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from dcmtx.codec import native
from dcmtx.errors import InputError
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]


def decode_isal(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame inflated by ISA-L, nearly twice as fast, but never much more than one frame's bytes."""
    from isal import isal_zlib

    damaged: type[Exception] = isal_zlib.IsalError  # type: ignore[assignment]  # its stub says otherwise
    return _inflated(isal_zlib.decompressobj(-zlib.MAX_WBITS), damaged, data, coded)


def decode_zlib(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame inflated by zlib, as `decode_isal` does."""
    return _inflated(zlib.decompressobj(-zlib.MAX_WBITS), zlib.error, data, coded)


def _inflated(inflater: Any, damaged: type[Exception], data: bytes, coded: PixelFormat) -> Words:
    try:
        cells = inflater.decompress(data, coded.frame_bytes + 1)
    except damaged as error:
        raise InputError(f"the deflated frame is damaged: {error}", code="E_DEFLATE") from error
    if len(cells) > coded.frame_bytes + coded.frame_bytes % 2:
        raise InputError(f"the frame inflates to more than {coded.frame_bytes} bytes", code="E_GEOMETRY")
    if inflater.unused_data.strip(b"\0"):
        raise InputError(
            f"{len(inflater.unused_data)} bytes follow the deflated frame",
            advice="correct Number of Frames (0028,0008) or the fragments",
            code="E_INCONSISTENT",
        )
    return native.decode(cells, coded, coded)


def encode(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame deflated."""
    from isal import isal_zlib

    deflater = isal_zlib.compressobj(isal_zlib.ISAL_BEST_COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS)
    return bytes(deflater.compress(native.encode_fragment(words, plain, coded, quality)) + deflater.flush())
