"""Words and their bits, against a model that takes one value at a time as a Python integer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels.utils import pack_bits, unpack_bits

from dcmtx.pixel import bits
from dcmtx.pixel.codestream import Codestream
from dcmtx.pixel.format import PixelFormat


def repeatably(examples: int) -> settings:
    return settings(derandomize=True, deadline=None, database=None, max_examples=examples)


# --- the model ---------------------------------------------------------------------------------------------------


def low(value: int, count: int) -> int:
    """Return the lowest bits of a value, as they stand in a word."""
    return value & ((1 << count) - 1)


def extended(pattern: int, count: int) -> int:
    """Return the number that the lowest bits mean if the highest of them is a sign."""
    pattern = low(pattern, count)
    return pattern - (1 << count) if pattern >> (count - 1) else pattern


def meaning(pattern: int, count: int, *, signed: bool) -> int:
    return extended(pattern, count) if signed else low(pattern, count)


def array(values: list[int], width: int, *, signed: bool) -> np.ndarray:
    """Return patterns as one row of words of a width."""
    patterns = np.array([[low(value, width) for value in values]], f"uint{width}")
    return patterns.view(f"int{width}") if signed else patterns


def words_format(
    width: int, stored: int, *, signed: bool, high_bit: int | None = None, columns: int = 1
) -> PixelFormat:
    high_bit = stored - 1 if high_bit is None else high_bit
    return PixelFormat(
        1, columns, 1, photometric="MONOCHROME2", allocated=width, stored=stored, high_bit=high_bit, signed=signed
    )


WIDTHS = st.sampled_from([8, 16, 32])
FILLS = ["zeros", "sign", "anything"]


@st.composite
def words(draw, fills=FILLS) -> tuple[np.ndarray, PixelFormat, list[int]]:
    """Words, their format, and the patterns in them: with zeros, copies of the sign or anything above Bits Stored."""
    width, signed = draw(WIDTHS), draw(st.booleans())
    stored = draw(st.integers(1, width))
    patterns = []
    for _ in range(draw(st.integers(1, 6))):
        pattern = draw(st.integers(0, (1 << width) - 1))
        fill = draw(st.sampled_from(fills))
        if fill == "zeros":
            pattern = low(pattern, stored)
        elif fill == "sign":
            pattern = low(meaning(pattern, stored, signed=signed), width)
        patterns.append(pattern)
    fmt = words_format(width, stored, signed=signed, columns=len(patterns))
    return array(patterns, width, signed=signed), fmt, patterns


def is_fill(pattern: int, fmt: PixelFormat) -> bool:
    return pattern == low(meaning(pattern, fmt.stored, signed=fmt.signed), fmt.allocated)


@repeatably(300)
@given(words())
def test_content_above_bits_stored_is_what_is_neither_zeros_nor_sign(given_words):
    samples, fmt, patterns = given_words
    assert bits.has_unused_content(samples, fmt) is not all(is_fill(pattern, fmt) for pattern in patterns)


@repeatably(300)
@given(words())
def test_clearing_leaves_the_stored_bits_and_their_sign(given_words):
    samples, fmt, patterns = given_words
    cleared = bits.clear_unused(samples, fmt)
    assert cleared.dtype == samples.dtype
    assert cleared.tolist() == [[meaning(pattern, fmt.stored, signed=fmt.signed) for pattern in patterns]]
    assert not bits.has_unused_content(cleared, fmt)


@repeatably(100)
@given(words(["sign"]))
def test_clearing_where_there_is_only_fill_changes_nothing(given_words):
    samples, fmt, _ = given_words
    assert np.array_equal(bits.clear_unused(samples, fmt), samples)


@pytest.mark.parametrize(
    ("value", "stored", "signed", "content"),
    [
        (0x0FFF, 12, False, False), (0x1000, 12, False, True), (63536, 12, False, True), (0x0FFF, 12, True, True),
        (0xFFFF, 12, True, False), (0xF7FF, 12, True, True), (0xF800, 12, True, False), (0x07FF, 12, True, False),
        (0x0800, 12, True, True), (0xFFFF, 16, True, False), (0xFFFF, 16, False, False),
    ],
)  # fmt: skip
def test_examples_of_content(value, stored, signed, content):
    samples = array([0, value, 1], 16, signed=signed)
    assert bits.has_unused_content(samples, words_format(16, stored, signed=signed)) is content


def test_a_common_padding_value_would_become_another_one():
    # 63536 is what some scanners put where there is no image; of 12 bits of it, 2096 is left.
    fmt = words_format(16, 12, signed=False)
    samples = array([63536], 16, signed=False)
    assert bits.has_unused_content(samples, fmt)
    assert bits.clear_unused(samples, fmt).tolist() == [[2096]]


@repeatably(150)
@given(words(), st.data())
def test_planes_of_bits_are_taken_out_and_cleared(given_words, data):
    samples, fmt, patterns = given_words
    bit = data.draw(st.integers(0, fmt.allocated - 1))
    plane = bits.bit_plane(samples, bit)
    assert plane.dtype == np.uint8
    assert plane.tolist() == [[pattern >> bit & 1 for pattern in patterns]]
    others = data.draw(st.lists(st.integers(0, fmt.allocated - 1), unique=True, max_size=3))
    cleared = bits.without_bits(samples, others, fmt)
    assert cleared.dtype == samples.dtype
    mask = sum(1 << other for other in others)
    left = [low(value, fmt.allocated) for value in cleared.tolist()[0]]
    assert [value & ~mask for value in left] == [pattern & ~mask for pattern in patterns]
    above = sum(1 << other for other in others if fmt.signed and other > fmt.high_bit)
    assert {value & mask for value in left} <= {0, above}


# --- High Bit ------------------------------------------------------------------------------------------------------


@st.composite
def shifted(draw) -> tuple[np.ndarray, PixelFormat, list[int]]:
    width, signed = draw(WIDTHS), draw(st.booleans())
    high_bit = draw(st.integers(0, width - 1))
    stored = draw(st.integers(1, high_bit + 1))
    patterns = draw(st.lists(st.integers(0, (1 << width) - 1), min_size=1, max_size=5))
    fmt = words_format(width, stored, signed=signed, high_bit=high_bit, columns=len(patterns))
    return array(patterns, width, signed=signed), fmt, patterns


@repeatably(200)
@given(shifted())
def test_lowering_high_bit_keeps_the_stored_bits_and_what_is_above_them(given_words):
    samples, fmt, patterns = given_words
    shift = fmt.high_bit + 1 - fmt.stored
    lowered = bits.lower_high_bit(samples, fmt)
    assert lowered.dtype == samples.dtype
    assert lowered.tolist() == [[meaning(pattern, fmt.allocated, signed=fmt.signed) >> shift for pattern in patterns]]
    stored = [low(value, fmt.stored) for value in lowered.tolist()[0]]
    assert stored == [low(pattern >> shift, fmt.stored) for pattern in patterns]


@repeatably(200)
@given(shifted())
def test_what_lowering_would_drop_is_seen(given_words):
    samples, fmt, patterns = given_words
    shift = fmt.high_bit + 1 - fmt.stored
    assert bits.below_high_bit(samples, fmt) == sum(low(pattern, shift) != 0 for pattern in patterns)


@pytest.mark.parametrize(
    ("pattern", "content"), [(0x3FF0, False), (0x8000, True), (0x7FF0, True)], ids=["none", "at the top", "next to it"]
)
def test_content_above_high_bit_is_above_bits_stored_once_it_is_lowered(pattern, content):
    fmt = words_format(16, 10, signed=False, high_bit=13)
    lowered = bits.lower_high_bit(array([pattern], 16, signed=False), fmt)
    assert bits.has_unused_content(lowered, fmt.replace(high_bit=9)) is content


# --- what decoders return ------------------------------------------------------------------------------------------


def stream_of(precision: int, sign: bool | None, *, reversible: bool = True) -> Codestream:
    return Codestream("j2k", 1, 1, components=1, precision=precision, signed=sign, reversible=reversible)


def container(precision: int) -> int:
    return 8 if precision <= 8 else 16 if precision <= 16 else 32


@st.composite
def decoded(draw, *, deeper: bool) -> tuple[list[int], Codestream, PixelFormat]:
    """Patterns in a stream of its own precision and sign, and a format that says something else of them."""
    allocated = draw(WIDTHS)
    limit = allocated - 1 if deeper else allocated
    stored = draw(st.integers(1, limit))
    precision = draw(st.integers(stored + 1, allocated)) if deeper else draw(st.integers(1, stored))
    sign = draw(st.sampled_from([None, False, True]))
    patterns = draw(st.lists(st.integers(0, (1 << precision) - 1), min_size=1, max_size=5))
    fmt = words_format(allocated, stored, signed=draw(st.booleans()), columns=len(patterns))
    return patterns, stream_of(precision, sign), fmt


def samples_of(patterns: list[int], stream: Codestream) -> np.ndarray:
    """Return what a decoder makes of patterns: numbers as the stream says they are."""
    values = [meaning(pattern, stream.precision, signed=bool(stream.signed)) for pattern in patterns]
    return array(values, container(stream.precision), signed=bool(stream.signed))


@repeatably(300)
@given(decoded(deeper=False))
def test_samples_of_less_precision_get_the_sign_that_the_data_set_says(given_samples):
    patterns, stream, fmt = given_samples
    settled = bits.settle(samples_of(patterns, stream), stream, fmt)
    assert settled.dtype == np.dtype(fmt.dtype)
    # The sign is copied from the highest bit of the stream, never from Bits Allocated.
    assert settled.tolist() == [[meaning(pattern, stream.precision, signed=fmt.signed) for pattern in patterns]]


@repeatably(300)
@given(decoded(deeper=True), st.sampled_from(["masked", "extended"]))
def test_samples_of_more_precision_lose_only_fill(given_samples, coded):
    patterns, stream, fmt = given_samples
    values = [meaning(pattern, fmt.stored, signed=fmt.signed) for pattern in patterns]
    # Encoders put in either the stored bits alone, or the word with its sign.
    held = [low(value, fmt.stored if coded == "masked" else stream.precision) for value in values]
    settled = bits.settle(samples_of(held, stream), stream, fmt)
    assert settled.dtype == np.dtype(fmt.dtype)
    assert settled.tolist() == [values]


@repeatably(300)
@given(decoded(deeper=True))
def test_samples_of_more_precision_keep_content_for_the_caller_to_see(given_samples):
    patterns, stream, fmt = given_samples
    above = [pattern >> fmt.stored for pattern in patterns]
    ones = (1 << (stream.precision - fmt.stored)) - 1
    fills = [
        high == 0 or (fmt.signed and high == ones and bool(pattern >> (fmt.stored - 1) & 1))
        for high, pattern in zip(above, patterns, strict=True)
    ]
    settled = bits.settle(samples_of(patterns, stream), stream, fmt)
    assert settled.dtype == np.dtype(fmt.dtype)
    assert bits.has_unused_content(settled, fmt) is not all(fills)
    assert [low(value, fmt.stored) for value in settled.tolist()[0]] == [low(one, fmt.stored) for one in patterns]
    if not all(fills):
        assert [low(value, stream.precision) for value in settled.tolist()[0]] == patterns


@repeatably(200)
@given(decoded(deeper=True))
def test_lossy_samples_that_overshoot_become_the_nearest_value(given_samples):
    patterns, stream, fmt = given_samples
    stream = stream.replace(reversible=False, signed=fmt.signed)
    values = [meaning(pattern, stream.precision, signed=fmt.signed) for pattern in patterns]
    least, most = (-(1 << fmt.stored - 1), (1 << fmt.stored - 1) - 1) if fmt.signed else (0, (1 << fmt.stored) - 1)
    settled = bits.settle(samples_of(patterns, stream), stream, fmt)
    assert settled.dtype == np.dtype(fmt.dtype)
    assert settled.tolist() == [[min(max(value, least), most) for value in values]]


@pytest.mark.parametrize("held", [0xFFFF, 0x0FFF], ids=["extended to the precision", "masked to Bits Stored"])
@pytest.mark.parametrize("sign", [None, False], ids=["JPEG-LS, which has no sign", "JPEG 2000 marked unsigned"])
def test_lossy_samples_get_their_sign_before_they_are_limited(held, sign):
    stream = stream_of(16, sign, reversible=False)
    settled = bits.settle(array([held, 5], 16, signed=False), stream, words_format(16, 12, signed=True, columns=2))
    assert settled.tolist() == [[-1, 5]]


@pytest.mark.parametrize(
    ("pattern", "precision", "stored", "signed", "value"),
    [
        (0xFFF, 12, 12, True, -1), (0x800, 12, 12, True, -2048), (0xFFF, 12, 12, False, 4095), (0xFFF, 12, 16, True,
                                                                                                -1),
        (0xFFFF, 16, 12, True, -1), (0x0FFF, 16, 12, True, -1), (0xFF, 8, 8, True, -1), (0x7F, 7, 8, True, -1),
    ],
)  # fmt: skip
def test_examples_of_signs(pattern, precision, stored, signed, value):
    stream = stream_of(precision, None)
    settled = bits.settle(samples_of([pattern], stream), stream, words_format(16, stored, signed=signed))
    assert settled.tolist() == [[value]]


# --- what encoders get ---------------------------------------------------------------------------------------------


@repeatably(200)
@given(words(["sign"]))
def test_codecs_without_sign_get_the_stored_bits(given_words):
    samples, fmt, patterns = given_words
    plain = bits.unsigned(samples, fmt.stored)
    assert plain.dtype == np.dtype(f"uint{fmt.allocated}")
    assert plain.tolist() == [[low(pattern, fmt.stored) for pattern in patterns]]
    # And back, as a decoder would.
    assert np.array_equal(bits.settle(plain, stream_of(fmt.stored, None), fmt), samples)


@repeatably(200)
@given(words(["sign"]))
def test_narrow_words_hold_the_same_values(given_words):
    samples, fmt, _ = given_words
    narrowed = bits.narrow(samples, fmt.stored)
    assert narrowed.tolist() == samples.tolist()
    assert narrowed.dtype.kind == samples.dtype.kind
    assert narrowed.dtype.itemsize * 8 == min(fmt.allocated, container(fmt.stored))


@pytest.mark.parametrize("precision", [33, 38, 40, 64])
def test_words_of_more_than_32_bits_are_not_narrowed_below_them(precision):
    samples = array([(1 << precision) - 1], 64, signed=False)
    assert bits.narrow(samples, precision).tolist() == samples.tolist()


# --- 1-bit pixels --------------------------------------------------------------------------------------------------


def bit_format(rows: int, columns: int) -> PixelFormat:
    return PixelFormat(rows, columns, 1, photometric="MONOCHROME2", allocated=1, stored=1, high_bit=0, signed=False)


@repeatably(150)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6), st.integers(0, 1 << 30))
def test_frames_of_one_bit_run_on_as_pydicom_packs_them(rows, columns, count, seed):
    fmt = bit_format(rows, columns)
    frames = np.random.default_rng(seed).integers(0, 2, (count, rows, columns), np.uint8)
    packer = bits.BitPacker()
    pieces = [packer.pack(frame) for frame in frames]
    packed = b"".join(pieces) + packer.flush()
    assert packed == pack_bits(frames, pad=False)
    assert len(packed) == fmt.replace(frames=count).native_bytes
    # Whole bytes go out as soon as they are complete.
    assert [len(b"".join(pieces[:number])) for number in range(count + 1)] == [
        number * rows * columns // 8 for number in range(count + 1)
    ]
    assert packer.flush() == b""
    for number in range(count):
        first = number * fmt.pixels
        data = packed[first // 8 :]
        assert np.array_equal(bits.unpack_bits(data, first % 8, fmt), frames[number])
    assert unpack_bits(packed)[: frames.size].tolist() == frames.reshape(-1).tolist()


def test_the_first_pixel_is_the_lowest_bit():
    assert bits.unpack_bits(b"\x05", 0, bit_format(1, 4)).tolist() == [[1, 0, 1, 0]]
    assert bits.unpack_bits(b"\x05", 1, bit_format(1, 3)).tolist() == [[0, 1, 0]]
    packer = bits.BitPacker()
    assert packer.pack(np.array([[1, 0, 1]], np.uint8)) == b""
    assert packer.pack(np.array([[0, 0, 0, 0, 1, 1]], np.uint8)) == b"\x85"
    assert packer.flush() == b"\x01"


def test_a_frame_may_start_in_the_middle_of_a_byte_and_span_several():
    fmt = bit_format(3, 7)
    value = int("101" * 7, 2)
    data = (value << 5).to_bytes(4, "little")
    pixels = bits.unpack_bits(data, 5, fmt)
    assert pixels.shape == (3, 7)
    assert pixels.reshape(-1).tolist() == [value >> place & 1 for place in range(21)]
