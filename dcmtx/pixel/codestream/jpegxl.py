"""The headers of JPEG XL (ISO/IEC 18181-1 D.2, D.3), in boxes or not."""

from __future__ import annotations

from dcmtx.errors import InputError
from dcmtx.pixel.codestream.header import Codestream, box, short

_SIZES = ((9, 1), (13, 1), (18, 1), (30, 1))
_ASPECTS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


class _Bits:
    """The bits of a JPEG XL header, least significant first (ISO/IEC 18181-1 B.1)."""

    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data[:64], "little")
        self._left = 8 * min(len(data), 64)

    def take(self, count: int) -> int:
        if count > self._left:
            raise short("JPEG XL")
        self._left -= count
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        return value

    def choice(self, choices: tuple[tuple[int, int], ...]) -> int:
        """Read a U32: two bits choose how many bits follow, and what is added to them."""
        count, offset = choices[self.take(2)]
        return self.take(count) + offset


def read(data: bytes) -> Codestream:
    """Read size, depth, colour and whether the colours were transformed (ISO/IEC 18181-1 D.2, D.3).

    Lossless coding never transforms colours. A stream with the reconstruction data of a JPEG file counts as reversible.
    """
    boxed = data[:2] != b"\xff\x0a"
    stream = _codestream(data) if boxed else data
    bits = _Bits(stream[2:])
    rows, columns = _size(bits)
    precision, xyb, grey = 8, True, False
    if not bits.take(1):
        if bits.take(1):
            _extra(bits)
        precision = _depth(bits)
        bits.take(1)
        if bits.choice(((0, 0), (0, 1), (4, 2), (12, 1))):
            raise InputError("the JPEG XL codestream has extra channels, which no attribute describes")
        xyb = bool(bits.take(1))
        if not bits.take(1):
            bits.take(1)
            grey = bits.choice(((0, 0), (0, 1), (4, 2), (6, 18))) == 1
    recompressed = boxed and b"jbrd" in data[:64]
    return Codestream(
        "jpegxl",
        rows,
        columns,
        components=1 if grey else 3,
        precision=precision,
        reversible=not xyb or recompressed,
        end=len(data),
    )


def _codestream(data: bytes) -> bytes:
    """Return the first part of the codestream inside the boxes, whole or partial."""
    try:
        begin, end = box(data, b"jxlc")
    except InputError:
        begin, end = box(data, b"jxlp")
        begin += 4
    return data[begin : min(end, begin + 80)]


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)
    rows = 8 * (bits.take(5) + 1) if small else bits.choice(_SIZES)
    aspect = bits.take(3)
    if aspect:
        wide, high = _ASPECTS[aspect - 1]
        return rows, rows * wide // high
    return rows, 8 * (bits.take(5) + 1) if small else bits.choice(_SIZES)


def _extra(bits: _Bits) -> None:
    bits.take(3)
    if bits.take(1):
        _size(bits)
    if bits.take(1) or bits.take(1):
        raise InputError("the JPEG XL codestream has a preview or is animated, which a frame cannot be")


def _depth(bits: _Bits) -> int:
    if bits.take(1):
        raise InputError("the JPEG XL codestream is floating point, which Pixel Data cannot be")
    return bits.choice(((0, 8), (0, 10), (0, 12), (6, 1)))
