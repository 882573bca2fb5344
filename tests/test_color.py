"""Planar configuration and shared chroma: nothing is computed, samples only move."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels.processing import convert_color_space

from dcmtx.pixel import color
from dcmtx.pixel.format import PixelFormat

REPEATABLY = settings(derandomize=True, deadline=None, database=None, max_examples=40)
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))
WORDS = st.sampled_from([np.uint8, np.uint16, np.uint32])


def noise(shape: tuple[int, ...], word: type, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(word).max, shape, word, endpoint=True)


def shared_format(rows: int, columns: int) -> PixelFormat:
    return PixelFormat(rows, columns, 3, photometric="YBR_FULL_422", allocated=8, stored=8, high_bit=7, signed=False)


def expanded(samples: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Take Y1 Y2 Cb Cr apart one pixel at a time (PS3.3 C.7.6.3.1.2)."""
    full = np.empty((rows, columns, 3), samples.dtype)
    for row in range(rows):
        for column in range(columns):
            pair, second = divmod(row * columns + column, 2)
            full[row, column] = samples[4 * pair + second], samples[4 * pair + 2], samples[4 * pair + 3]
    return full


@REPEATABLY
@given(SIZES, WORDS, st.integers(0, 1 << 30))
def test_expanding_gives_each_pixel_its_own_luma_and_the_chroma_of_its_pair(size, word, seed):
    rows, columns = size
    # Where Columns is odd, the pairs run on into the next row.
    rows += rows * columns % 2
    samples = noise((rows * columns * 2,), word, seed)
    full = color.expand_422(samples, shared_format(rows, columns))
    assert full.dtype == samples.dtype
    np.testing.assert_array_equal(full, expanded(samples, rows, columns))


@REPEATABLY
@given(SIZES, WORDS, st.integers(0, 1 << 30))
def test_sharing_what_was_expanded_gives_it_back(size, word, seed):
    rows, columns = size[0], 2 * size[1]
    samples = noise((rows * columns * 2,), word, seed)
    back = color.share_422(color.expand_422(samples, shared_format(rows, columns)))
    assert back.dtype == samples.dtype
    np.testing.assert_array_equal(back, samples)


def test_sharing_keeps_every_luma_and_the_chroma_of_the_first_of_two():
    full = np.array([[[1, 10, 20], [2, 11, 21], [3, 12, 22], [4, 13, 23]]], np.uint8)
    assert color.share_422(full).tolist() == [1, 2, 10, 20, 3, 4, 12, 22]


def test_native_bytes_of_a_frame_are_two_samples_a_pixel():
    fmt = shared_format(3, 4)
    assert color.share_422(np.zeros(fmt.shape, np.uint8)).nbytes == fmt.frame_bytes


@REPEATABLY
@given(SIZES, WORDS, st.integers(0, 1 << 30))
def test_planes_and_pixels_are_the_same_samples_in_another_order(size, word, seed):
    rows, columns = size
    pixels = noise((rows, columns, 3), word, seed)
    planes = color.by_plane(pixels)
    assert planes.flags.c_contiguous
    assert planes.tobytes() == b"".join(pixels[:, :, sample].tobytes() for sample in range(3))
    back = color.by_pixel(planes)
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, pixels)


@REPEATABLY
@given(SIZES, st.sampled_from([8, 10, 12, 16]), st.integers(0, 1 << 30))
def test_rgb_is_what_the_matrix_of_the_standard_gives(size, stored, seed):
    top, half = (1 << stored) - 1, 1 << (stored - 1)
    fmt = PixelFormat(
        *size,
        3,
        photometric="YBR_FULL",
        allocated=8 if stored == 8 else 16,
        stored=stored,
        high_bit=stored - 1,
        signed=False,
    )
    rgb = np.random.default_rng(seed).integers(0, top, (*size, 3), endpoint=True)
    # PS3.3 C.7.6.3.1.2, on values of this many bits.
    matrix = np.array([[0.2990, 0.5870, 0.1140], [-0.1687, -0.3313, 0.5000], [0.5000, -0.4187, -0.0813]])
    full = np.clip(np.rint(rgb @ matrix.T + [0, half, half]), 0, top).astype(fmt.dtype)
    back = color.to_rgb(full, fmt)
    assert back.dtype == full.dtype
    # Three roundings: of what goes in, of the matrix to four places, and of what comes out.
    assert np.abs(back.astype(int) - rgb).max() <= 2 + top / 5000


@REPEATABLY
@given(SIZES, st.integers(0, 1 << 30))
def test_rgb_of_8_bits_is_what_pydicom_gives(size, seed):
    full = noise((*size, 3), np.uint8, seed)
    fmt = PixelFormat(*size, 3, photometric="YBR_FULL", allocated=8, stored=8, high_bit=7, signed=False)
    theirs = convert_color_space(full, "YBR_FULL", "RGB")
    assert np.abs(color.to_rgb(full, fmt).astype(int) - theirs).max() <= 1


def test_without_chroma_there_is_grey_and_beyond_the_range_there_is_its_end():
    fmt = PixelFormat(1, 3, 3, photometric="YBR_FULL", allocated=8, stored=8, high_bit=7, signed=False)
    full = np.array([[[77, 128, 128], [255, 255, 255], [0, 0, 0]]], np.uint8)
    assert color.to_rgb(full, fmt).tolist() == [[[77, 77, 77], [255, 121, 255], [0, 135, 0]]]
