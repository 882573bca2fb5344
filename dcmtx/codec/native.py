"""Native pixel cells: little-endian bytes to words and back (PS3.5 8.1.1, 8.2). Source and sink swap bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.errors import CodecError, InputError
from dcmtx.pixel import bits, color
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

# Zero padding after a frame smaller than this may exceed the frame itself.
_LARGEST_PADDING = 64


def decode(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame of little-endian cells as words, colour by pixel, shared chroma expanded.

    1-bit pixels are packed eight to a byte, aligned to the start of `data`. Zeros after the frame are padding.

    Raises InputError if there are too few bytes, or other bytes after the frame.
    """
    if coded.subsampled and coded.pixels % 2:
        raise InputError(
            f"{coded.rows}x{coded.columns} pixels cannot share chroma in pairs",
            advice="correct the data set first",
            code="E_INCONSISTENT",
        )
    if len(data) < coded.frame_bytes:
        raise InputError(f"it has {len(data)} bytes instead of {coded.frame_bytes}", code="E_TRUNCATED")
    if len(data) > coded.frame_bytes:
        data = _without_padding(data, coded)
    if coded.allocated == 1:
        return bits.unpack_bits(data, 0, coded)
    samples: Words
    if coded.allocated in (24, 40):
        samples = _widen(data, coded)
    else:
        samples = np.frombuffer(data, np.dtype(coded.dtype).newbyteorder("<"))
    if coded.subsampled:
        return color.expand_422(samples, coded)
    if coded.samples == 1:
        return samples.reshape(coded.rows, coded.columns)
    if coded.planar == 1:
        return color.by_pixel(samples.reshape(coded.samples, coded.rows, coded.columns))
    return samples.reshape(coded.rows, coded.columns, coded.samples)


def _without_padding(data: bytes, coded: PixelFormat) -> bytes:
    """Return the bytes of a frame without a trailing pad byte, or zeros that are too few for another frame."""
    need = coded.frame_bytes
    excess = len(data) - need
    if excess > 1 and (excess >= max(need, _LARGEST_PADDING) or any(data[need:])):
        more = "pixels that share no chroma have" if len(data) == 3 * need // 2 and coded.subsampled else "it has"
        raise InputError(
            f"{more} {len(data)} bytes, but {coded.describe()} takes {need}",
            advice="correct Number of Frames (0028,0008), the fragments, or the attributes of the image",
            code="E_INCONSISTENT",
        )
    return data[:need]


def encode(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> Any:
    """Return one frame of words as little-endian cells. 1-bit frames stay words, for `bits.BitPacker`."""
    if coded.allocated == 1:
        return words
    if words.dtype.itemsize * 8 != coded.allocated:
        raise CodecError(f"words of {words.dtype} do not fit Bits Allocated {coded.allocated}")
    if coded.subsampled:
        words = color.share_422(words)
    elif coded.samples > 1 and coded.planar == 1:
        words = color.by_plane(words)
    return little_endian(words)


def little_endian(words: Words) -> memoryview:
    """Return words as little-endian bytes."""
    ordered = np.ascontiguousarray(words, words.dtype.newbyteorder("<"))
    return ordered.reshape(-1).view(np.uint8).data


def encode_fragment(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> Any:
    """Return one frame as the cells of its own fragment: each 1-bit frame starts on a byte (PS3.5 A.4.11)."""
    if coded.allocated == 1:
        return np.packbits(words.reshape(-1), bitorder="little").data
    return encode(words, plain, coded, quality)


def _widen(data: bytes, coded: PixelFormat) -> Words:
    """Return cells of 24 or 40 bits, which NumPy does not have, as 32-bit or 64-bit words, sign kept."""
    width = coded.allocated // 8
    room = 4 if width == 3 else 8
    cells = np.frombuffer(data, np.uint8).reshape(-1, width)
    words = np.zeros((len(cells), room), np.uint8)
    words[:, :width] = cells
    if coded.signed:
        words[:, width:] = np.where(cells[:, -1:] & 0x80, 255, 0)
    return words.view(f"<{'i' if coded.signed else 'u'}{room}").reshape(-1)
