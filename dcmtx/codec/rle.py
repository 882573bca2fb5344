"""RLE Lossless: PackBits of byte planes, most significant first, behind a header of 16 words (PS3.5 Annex G)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.codec.registry import Quality
from dcmtx.errors import CodecError
from dcmtx.pixel.format import PixelFormat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]


def decode_imagecodecs(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame decoded by imagecodecs, colour by pixel."""
    import imagecodecs

    word = np.dtype(plain.dtype).newbyteorder("<")
    length = coded.pixels * coded.samples * word.itemsize
    try:
        out = imagecodecs.dicomrle_decode(data, word, out=length)
    except imagecodecs.DicomrleError:
        bare = _without_padding(data, coded.pixels)
        if len(bare) == len(data):
            raise
        out = imagecodecs.dicomrle_decode(bare, word, out=length)
    return _shape(np.frombuffer(out, word), coded)


def _without_padding(data: bytes, length: int) -> bytes:
    """Return a frame without the zeros behind its last segment, which has to give `length` bytes."""
    segments = int.from_bytes(data[:4], "little")
    if not 1 <= segments <= 15:
        return data
    position = int.from_bytes(data[4 * segments : 4 * segments + 4], "little")
    while length > 0 and position < len(data):
        count = data[position]
        position += 2 + count if count < 128 else 2 if count > 128 else 1
        length -= 1 + count if count < 128 else 257 - count if count > 128 else 0
    return data if data[position:].strip(b"\0") else data[:position]


def decode_pylibjpeg(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame decoded by pylibjpeg-rle, colour by pixel."""
    from rle.rle import decode_frame

    width = np.dtype(plain.dtype).itemsize * 8
    out = decode_frame(data, coded.pixels, width, "<")
    return _shape(np.frombuffer(out, np.dtype(plain.dtype).newbyteorder("<")), coded)


def _shape(samples: Words, coded: PixelFormat) -> Words:
    """Return samples that lie plane by plane as a frame."""
    if samples.size != coded.pixels * coded.samples:
        raise CodecError(f"the frame decodes to {samples.size} samples instead of {coded.pixels * coded.samples}")
    if coded.samples == 1:
        return samples.reshape(coded.rows, coded.columns)
    return np.ascontiguousarray(samples.reshape(coded.samples, coded.rows, coded.columns).transpose(1, 2, 0))


def encode_imagecodecs(words: Words, plain: PixelFormat, coded: PixelFormat, quality: Quality) -> bytes:
    """Return one frame encoded: each row of each byte plane packed by imagecodecs, the rest by us."""
    import imagecodecs

    width = words.dtype.itemsize
    cells = np.ascontiguousarray(words, words.dtype.newbyteorder("<")).view(np.uint8)
    cells = cells.reshape(coded.rows, coded.columns, coded.samples, width)
    segments = []
    for sample in range(coded.samples):
        for byte in reversed(range(width)):
            plane = cells[:, :, sample, byte].copy()
            segment = bytes(imagecodecs.packbits_encode(plane, axis=-1))
            segments.append(segment + b"\0" * (len(segment) % 2))
    return _assemble(segments)


def encode_pylibjpeg(words: Words, plain: PixelFormat, coded: PixelFormat, quality: Quality) -> bytes:
    """Return one frame encoded by pylibjpeg-rle."""
    from rle.rle import encode_frame

    data = np.ascontiguousarray(words, words.dtype.newbyteorder("<")).tobytes()
    width = words.dtype.itemsize * 8
    return bytes(encode_frame(data, coded.rows, coded.columns, coded.samples, width, "<"))


def _assemble(segments: list[bytes]) -> bytes:
    """Return the segments behind their header (PS3.5 G.5)."""
    offsets, position = [], 64
    for segment in segments:
        offsets.append(position)
        position += len(segment)
    header = struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments)))
    return b"".join([header, *segments])
