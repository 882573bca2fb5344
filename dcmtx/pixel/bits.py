"""Words and the bits in them: sign, unused bits, High Bit, 1-bit packing (PS3.5 8.1.1, 8.1.2).

A frame is an array of words of Bits Allocated. The value is in the low Bits Stored once High Bit has been made
legal; the bits above are either fill (zeros, or copies of the sign bit) or content that a writer put there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.errors import InputError
from dcmtx.pixel.codestream import Codestream
from dcmtx.pixel.format import PixelFormat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]


def has_unused_content(words: Words, fmt: PixelFormat) -> bool:
    """Tell whether any word holds more than fill above Bits Stored: fill is zeros, or copies of the sign."""
    if fmt.stored >= words.dtype.itemsize * 8:
        return False
    if not fmt.signed:
        return bool(words.max() >> fmt.stored)
    limit = 1 << (fmt.stored - 1)
    return bool(words.min() < -limit or words.max() >= limit)


def clear_unused(words: Words, fmt: PixelFormat) -> Words:
    """Return the words with only fill above Bits Stored."""
    width = words.dtype.itemsize * 8
    if fmt.stored >= width:
        return words
    if not fmt.signed:
        return _low_bits(words, fmt.stored)
    return _extend_sign(words, fmt.stored)


def _low_bits(words: Words, count: int) -> Words:
    low: Words = words & words.dtype.type((1 << count) - 1)
    return low


def _extend_sign(words: Words, count: int) -> Words:
    shift = words.dtype.itemsize * 8 - count
    extended: Words = (words << shift) >> shift
    return extended


def lower_high_bit(words: Words, fmt: PixelFormat) -> Words:
    """Return the words shifted down so that High Bit is Bits Stored - 1 (PS3.5 8.1.1 Note 3).

    Bits above High Bit are shifted too and stay above Bits Stored, where `has_unused_content` finds them.
    """
    lowered: Words = words >> (fmt.high_bit + 1 - fmt.stored)
    return lowered


def stored_values(words: Words, fmt: PixelFormat) -> Words:
    """Return the values that the words hold: High Bit is the highest of Bits Stored, and above there is only fill."""
    if fmt.high_bit != fmt.stored - 1:
        words = lower_high_bit(words, fmt)
    return clear_unused(words, fmt)


def below_high_bit(words: Words, fmt: PixelFormat) -> int:
    """Return how many words have bits set below their lowest stored bit; lowering High Bit drops those bits."""
    return int(np.count_nonzero(_low_bits(words, fmt.high_bit + 1 - fmt.stored)))


def settle(samples: Words, stream: Codestream, fmt: PixelFormat) -> Words:
    """Return decoded samples as words of `fmt`, signed as Pixel Representation says.

    If the stream's precision is at most Bits Stored, the sign is extended from that precision, never from Bits
    Allocated (PS3.5 8.2.1 Note 4). A stream of more precision than Bits Stored may hold content above it: then the
    words stay whole, and the caller decides.

    Raises InputError for predictive JPEG that decodes to more than its precision: its differences are of 16 bits, so
    that damage leads there, and no decoder minds.
    """
    target = np.dtype(fmt.dtype)
    if stream.lossless_process and stream.precision < 8 * samples.dtype.itemsize and samples.max() >> stream.precision:
        raise InputError(
            f"its codestream of {stream.precision} bits decodes to {int(samples.max())}; the pixel data is damaged",
            code="E_CODESTREAM",
        )
    if stream.kind == "rle":
        # RLE has no precision of its own, only bytes of whole words (PS3.5 G.2).
        return _reinterpret(samples, stream.precision, target)
    if stream.precision <= fmt.stored:
        if fmt.signed == bool(stream.signed):
            return samples.astype(target, copy=False)
        return _reinterpret(samples, stream.precision, target)
    if not stream.reversible:
        # Overshoot of lossy coding is not content: the nearest valid value is meant.
        return _clamp(samples, stream, fmt, target)
    words = _reinterpret(samples, stream.precision, np.dtype(f"uint{8 * target.itemsize}"))
    above = words >> fmt.stored
    if not above.any():
        return _reinterpret(words, fmt.stored, target)
    if fmt.signed:
        fill = (1 << (stream.precision - fmt.stored)) - 1
        negative = (words >> (fmt.stored - 1)) & 1 == 1
        if np.all((above == 0) | ((above == fill) & negative)):
            return _reinterpret(words, fmt.stored, target)
    if stream.signed:
        return _reinterpret(samples, stream.precision, target)
    return words.view(target)


def _clamp(samples: Words, stream: Codestream, fmt: PixelFormat, target: np.dtype[Any]) -> Words:
    """Return samples of a lossy stream, clamped to the range of Bits Stored; unsigned samples get their sign first."""
    values = samples.astype(np.int64)
    if fmt.signed and not stream.signed:
        if np.any(values >> (stream.precision - 1)):
            # Negative words were coded with the sign in all higher bits.
            values = _reinterpret(samples, stream.precision, np.dtype(np.int64))
        else:
            values = _reinterpret(np.minimum(values, (1 << fmt.stored) - 1), fmt.stored, np.dtype(np.int64))
    low, high = (-(1 << (fmt.stored - 1)), (1 << (fmt.stored - 1)) - 1) if fmt.signed else (0, (1 << fmt.stored) - 1)
    return np.clip(values, low, high).astype(target)


def _reinterpret(samples: Words, precision: int, target: np.dtype[Any]) -> Words:
    """Return the low `precision` bits of the samples as `target`, sign-extended if that is signed."""
    width = target.itemsize * 8
    words = samples.astype(f"uint{width}", copy=False)
    if target.kind == "u":
        return _low_bits(words, precision) if precision < width else words
    words = words.view(target)
    return _extend_sign(words, precision) if precision < width else words


def unsigned(words: Words, precision: int) -> Words:
    """Return the low `precision` bits as unsigned samples of the same width, for codecs without signed samples."""
    plain = words.view(f"uint{words.dtype.itemsize * 8}")
    if words.dtype.kind == "u" or precision >= words.dtype.itemsize * 8:
        return plain
    return _low_bits(plain, precision)


def narrow(words: Words, precision: int) -> Words:
    """Return the words in the smallest type that holds `precision` bits of them, sign kept."""
    width = next(bits for bits in (8, 16, 32, 64) if bits >= precision)
    if width >= words.dtype.itemsize * 8:
        return words
    return words.astype(f"{'int' if words.dtype.kind == 'i' else 'uint'}{width}")


def unpack_bits(data: bytes, first: int, fmt: PixelFormat) -> Words:
    """Return one frame of 1-bit pixels, a byte each, from packed bytes in which it starts at bit `first`."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=first + fmt.pixels, bitorder="little")
    return bits[first:].reshape(fmt.shape)


class BitPacker:
    """Packs frames of 1-bit pixels without gaps (PS3.5 8.1.1): a frame may start within a byte."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = np.empty(0, np.uint8)

    def pack(self, frame: Words) -> bytes:
        """Return the whole bytes that are complete with this frame."""
        bits = np.concatenate([self._rest, frame.reshape(-1)])
        whole = len(bits) - len(bits) % 8
        self._rest = bits[whole:]
        return np.packbits(bits[:whole], bitorder="little").tobytes()

    def flush(self) -> bytes:
        """Return the last, partly filled byte, if there is one."""
        rest, self._rest = self._rest, np.empty(0, np.uint8)
        return np.packbits(rest, bitorder="little").tobytes()


def inverted(words: Words, fmt: PixelFormat) -> Words:
    """Return words whose values are turned round within Bits Stored; outside there must be only fill."""
    if fmt.signed:
        return ~words
    turned: Words = words ^ words.dtype.type((1 << fmt.stored) - 1)
    return turned


def bit_plane(words: Words, bit: int) -> Words:
    """Return one bit of each word, a byte each."""
    plane: Words = ((words >> bit) & 1).astype(np.uint8)
    return plane


def without_bits(words: Words, bits: list[int], fmt: PixelFormat) -> Words:
    """Return the words with these bits cleared, or filled with the sign if the unused bits beside them are."""
    width = words.dtype.itemsize * 8
    unsigned_type = np.dtype(f"uint{width}")
    mask = ((1 << width) - 1) & ~sum(1 << bit for bit in bits)
    cleared: Words = words.view(unsigned_type) & np.array(mask, unsigned_type)
    above = [bit for bit in bits if bit > fmt.high_bit]
    if fmt.signed and above:
        # The lowest other unused bit tells whether words are filled with their sign; without one, the sign is used.
        pattern = next((bit for bit in range(fmt.high_bit + 1, width) if bit not in bits), fmt.high_bit)
        fill = np.array(sum(1 << bit for bit in above), unsigned_type)
        cleared |= ((cleared >> np.array(pattern, unsigned_type)) & np.array(1, unsigned_type)) * fill
    return cleared.view(words.dtype)
