"""RLE Lossless: a header of 16 words, then byte planes in PackBits, most significant first (PS3.5 Annex G)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.errors import CodecError, InputError
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters
from dcmtx.record import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

# PS3.5 G.3.1: lower codes are literals, higher codes are runs; this code outputs nothing.
_NOTHING = 128
# If runs of a segment cross rows, more than this many bytes after its plane are not padding.
_LITTLE = 16
_LAST_ROWS = 3


def decode_imagecodecs(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame decoded by imagecodecs, colour by pixel.

    Raises InputError if a segment holds less than its plane.
    """
    import imagecodecs

    word = np.dtype(plain.dtype).newbyteorder("<")
    unpack = _unpack if coded.samples == 1 else _unpack_colour
    try:
        samples = unpack(data, coded, word)
    except (imagecodecs.DicomrleError, imagecodecs.PackbitsError, ValueError):
        samples = None
    if samples is None:
        samples = unpack(_cut(data, coded), coded, word)
    if samples is None:
        raise CodecError("the segments of the frame are not as many as its samples have bytes")
    return samples


def _unpack(data: bytes, coded: PixelFormat, word: np.dtype[Any]) -> Words | None:
    """Return a frame of one sample a pixel, or None if bytes are missing."""
    import imagecodecs

    length = coded.pixels * word.itemsize
    out = imagecodecs.dicomrle_decode(data, word, out=length)
    return np.frombuffer(out, word).reshape(coded.shape) if len(out) == length else None


def _unpack_colour(data: bytes, coded: PixelFormat, word: np.dtype[Any]) -> Words | None:
    """Return a frame of several samples a pixel, or None if bytes are missing.

    Each segment is decoded by itself, because the library would let surplus bytes of one make up for another's lack.
    """
    import imagecodecs

    segments = _segments(data)
    if len(segments) != coded.samples * word.itemsize:
        return None
    cells = np.empty((coded.pixels, coded.samples, word.itemsize), np.uint8)
    for number, segment in enumerate(segments):
        plane = imagecodecs.packbits_decode(segment, out=coded.pixels)
        if len(plane) != coded.pixels:
            return None
        sample, byte = divmod(number, word.itemsize)
        cells[:, sample, -1 - byte] = np.frombuffer(plane, np.uint8)
    return cells.view(word).reshape(coded.shape)


def decode_pylibjpeg(data: bytes, coded: PixelFormat, plain: PixelFormat) -> Words:
    """Return one frame decoded by pylibjpeg-rle, colour by pixel. Raises as `decode_imagecodecs` does."""
    from rle.rle import decode_frame

    width = np.dtype(plain.dtype).itemsize * 8
    # The library panics, with output on standard error, if a segment holds more than its plane.
    out = decode_frame(_cut(data, coded), coded.pixels, width, "<")
    return _shape(np.frombuffer(out, np.dtype(plain.dtype).newbyteorder("<")), coded)


def _segments(data: bytes) -> list[bytes]:
    """Return the segments that the header of a frame names (PS3.5 G.5)."""
    count = int.from_bytes(data[:4], "little")
    if not 1 <= count <= 15:
        raise CodecError(f"the RLE header names {count} segments")
    starts = struct.unpack_from(f"<{count}I", data, 4)
    return [data[start:end] for start, end in zip(starts, (*starts[1:], len(data)), strict=True)]


def _cut(data: bytes, coded: PixelFormat) -> bytes:
    """Return a frame whose segments are cut to one plane each (PS3.5 G.3.2: decoding ends with the plane).

    Raises InputError if a segment holds less; if all hold extra whole rows or columns, because then Rows or Columns
    is wrong; or if the surplus looks like the result of damage before it.
    """
    segments, beyond, damaged = [], [], None
    for number, segment in enumerate(_segments(data), start=1):
        cut = _cut_segment(segment, coded, number)
        segments.append(cut.segment)
        beyond.append(cut.more)
        if not cut.sound:
            damaged = damaged or number
    # A pad byte after a final zero byte may look like a literal of one more byte.
    if any(all(more >= line and more % line <= 1 for more in beyond) for line in (coded.rows, coded.columns)):
        raise InputError(
            f"all its RLE segments go on beyond {coded.rows}x{coded.columns} pixels, by {beyond[0]} bytes",
            advice="correct Rows or Columns first",
            code="E_GEOMETRY",
        )
    if damaged is not None:
        raise InputError(
            f"segment {damaged} of the RLE frame goes on beyond its plane, and its runs do not end where rows do; the "
            "pixel data is damaged",
            code="E_CODESTREAM",
        )
    return _assemble(segments)


class _Cut(Record):
    """A segment cut at its plane's size, its surplus bytes of output, and whether the surplus looks like padding.

    Damage shifts the data after it. If no run or literal crosses a row (PS3.5 G.3.1), nothing was shifted. Some writers
    ignore rows: if any run or literal crosses one, the surplus must be small and no shift may be visible.
    """

    segment: bytes
    more: int
    sound: bool


def _cut_segment(segment: bytes, coded: PixelFormat, number: int) -> _Cut:
    """Return the segment cut to one plane; the last run or literal is shortened if necessary."""
    length, columns = coded.pixels, coded.columns
    position, left, end = 0, length, len(segment)
    crossed: int | None = None
    ends: set[int] = set()
    while left:
        code = segment[position] if position < end else _NOTHING
        size = _size(code)
        taken = min(size, left)
        after = position + 1 + (taken if code < _NOTHING else 1 if code > _NOTHING else 0)
        if position >= end or after > end:
            raise InputError(
                f"segment {number} of the RLE frame has {length - left} of the {length} bytes of its plane; the pixel "
                "data is truncated",
                code="E_TRUNCATED",
            )
        if crossed is None and (length - left) % columns + taken > columns:
            crossed = length - left
        if taken < size:
            # A run of one byte can only be coded as a literal (PS3.5 G.3.1).
            last = left - 1 if code < _NOTHING or left == 1 else 257 - left
            cut = segment[:position] + bytes([last]) + segment[position + 1 : after]
            rest = segment[position + 1 + size if code < _NOTHING else after :]
            more = max(_output(segment[position:]), size) - taken
            little = not rest.strip(b"\0")
            return _Cut(
                cut, more, crossed is None or (little and not _is_shifted(more, length, columns, crossed, ends))
            )
        position, left = after, left - taken
        if left < _LAST_ROWS * columns:
            ends.add(length - left)
    rest = segment[position:]
    more = _output(rest)
    little = len(rest.strip(b"\0")) <= _LITTLE
    sound = crossed is None or (little and not _is_shifted(more, length, columns, crossed, ends))
    return _Cut(segment[:position], more, sound)


def _is_shifted(more: int, length: int, columns: int, crossed: int, ends: set[int]) -> bool:
    """Tell whether the last rows are coded separately but `more` bytes too late, because damage added output before.

    `crossed` is the position of the first run or literal that crosses a row; `ends` are the ends of the last ones.
    """
    late = [length - row * columns + more % columns for row in range(1, _LAST_ROWS + 1)]
    late = [place for place in late if place > crossed]
    return more % columns > 0 and bool(late) and ends.issuperset(late)


def _output(rest: bytes) -> int:
    """Return how many bytes the rest of a segment decodes to; 0 if it is padding or incomplete."""
    if not rest.strip(b"\0"):
        return 0
    position, output, end = 0, 0, len(rest)
    while position < end:
        code = rest[position]
        position += 1 + (code + 1 if code < _NOTHING else 1 if code > _NOTHING else 0)
        if position > end:
            return output if position == end + 1 and code == 0 else 0
        output += _size(code)
    return output


def _size(code: int) -> int:
    """Return how many bytes a literal or a run decodes to (PS3.5 G.3.1)."""
    return code + 1 if code < _NOTHING else 257 - code if code > _NOTHING else 0


def _shape(samples: Words, coded: PixelFormat) -> Words:
    """Return samples stored plane by plane as a frame."""
    if samples.size != coded.pixels * coded.samples:
        raise CodecError(f"the frame decodes to {samples.size} samples instead of {coded.pixels * coded.samples}")
    if coded.samples == 1:
        return samples.reshape(coded.rows, coded.columns)
    return np.ascontiguousarray(samples.reshape(coded.samples, coded.rows, coded.columns).transpose(1, 2, 0))


def encode_imagecodecs(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame encoded: imagecodecs packs each row of each byte plane, and dcmtx writes the rest."""
    import imagecodecs

    cells = words.reshape(coded.rows, coded.columns, coded.samples)
    segments = []
    for sample in range(coded.samples):
        for byte in reversed(range(words.dtype.itemsize)):
            plane = _plane(cells[:, :, sample], byte)
            segment = bytes(imagecodecs.packbits_encode(plane, axis=-1))
            segments.append(segment + b"\0" * (len(segment) % 2))
    return _assemble(segments)


def _plane(words: Words, byte: int) -> Words:
    """Return one byte of each word, 0 for the lowest. By arithmetic, which is five times as fast as by strides."""
    plane = np.empty(words.shape, np.uint8)
    if byte:
        np.right_shift(words, 8 * byte, out=plane, casting="unsafe")
    else:
        np.copyto(plane, words, casting="unsafe")
    return plane


def encode_pylibjpeg(words: Words, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
    """Return one frame encoded by pylibjpeg-rle."""
    from rle.rle import encode_frame

    data = np.ascontiguousarray(words, words.dtype.newbyteorder("<")).tobytes()
    width = words.dtype.itemsize * 8
    return bytes(encode_frame(data, coded.rows, coded.columns, coded.samples, width, "<"))


def _assemble(segments: list[bytes]) -> bytes:
    """Return the header and the segments (PS3.5 G.5)."""
    offsets, position = [], 64
    for segment in segments:
        offsets.append(position)
        position += len(segment)
    header = struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments)))
    return b"".join([header, *segments])
