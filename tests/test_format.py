"""The arithmetic of frames, against a count of bits done the long way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels.utils import get_expected_length, get_nr_frames

from dcmtx.pixel.format import MONOCHROME, SAMPLES, PixelFormat

PHOTOMETRICS = [(name, 1) for name in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")] + [
    (name, 3) for name in ("RGB", "YBR_FULL", "YBR_FULL_422")
]


@st.composite
def formats(draw) -> PixelFormat:
    photometric, samples = draw(st.sampled_from(PHOTOMETRICS))
    allocated = draw(st.sampled_from([8, 16, 32] if samples == 3 else [1, 8, 16, 24, 32, 40, 64]))
    stored = draw(st.integers(1, allocated))
    columns = draw(st.integers(1, 70))
    if photometric == "YBR_FULL_422":
        columns += columns % 2
    return PixelFormat(
        rows=draw(st.integers(1, 70)), columns=columns, samples=samples, photometric=photometric, allocated=allocated,
        stored=stored, high_bit=stored - 1, signed=draw(st.booleans()), frames=draw(st.integers(1, 9)),
    )  # fmt: skip


def dataset(fmt: PixelFormat) -> Dataset:
    ds = Dataset()
    ds.Rows, ds.Columns, ds.SamplesPerPixel = fmt.rows, fmt.columns, fmt.samples
    ds.PhotometricInterpretation, ds.BitsAllocated = fmt.photometric, fmt.allocated
    ds.NumberOfFrames = fmt.frames
    return ds


@settings(derandomize=True, deadline=None, database=None, max_examples=150)
@given(formats())
def test_the_bytes_of_all_frames_are_those_that_pydicom_expects(fmt):
    expected = get_expected_length(dataset(fmt), unit="bytes")
    assert get_nr_frames(dataset(fmt)) == fmt.frames
    assert fmt.native_bytes == expected


@settings(derandomize=True, deadline=None, database=None, max_examples=150)
@given(formats())
def test_frames_are_counted_in_bits_cell_by_cell(fmt):
    cells = fmt.rows * fmt.columns * {"YBR_FULL_422": 2}.get(fmt.photometric, fmt.samples)
    assert fmt.pixels == fmt.rows * fmt.columns
    assert fmt.frame_bits == cells * fmt.allocated
    assert 0 <= 8 * fmt.frame_bytes - fmt.frame_bits < 8
    assert 0 <= 8 * fmt.native_bytes - fmt.frame_bits * fmt.frames < 8
    assert fmt.native_bytes <= fmt.frame_bytes * fmt.frames
    assert fmt.stored_bytes * 8 == fmt.pixels * fmt.samples * fmt.stored * fmt.frames


@settings(derandomize=True, deadline=None, database=None, max_examples=100)
@given(formats())
def test_words_in_memory_hold_every_cell(fmt):
    word = np.dtype(fmt.dtype)
    assert word.itemsize * 8 >= fmt.allocated
    assert word.itemsize == 1 or word.itemsize * 4 < fmt.allocated
    assert (word.kind == "i") == (fmt.signed and fmt.allocated > 1)
    assert np.zeros(fmt.shape, word).size == fmt.pixels * fmt.samples


@pytest.mark.parametrize(
    ("allocated", "signed", "dtype"),
    [
        (1, False, "uint8"), (1, True, "uint8"), (8, True, "int8"), (16, False, "uint16"), (24, True, "int32"),
        (32, False, "uint32"), (40, True, "int64"), (64, False, "uint64"),
    ],
)  # fmt: skip
def test_the_type_of_a_word(allocated, signed, dtype):
    assert (
        PixelFormat(1, 1, 1, photometric="MONOCHROME2", allocated=allocated, stored=1, high_bit=0, signed=signed).dtype
        == dtype
    )


def test_one_bit_pixels_run_on_across_frames():
    fmt = PixelFormat(3, 3, 1, photometric="MONOCHROME2", allocated=1, stored=1, high_bit=0, signed=False, frames=2)
    assert (fmt.frame_bits, fmt.frame_bytes, fmt.native_bytes) == (9, 2, 3)


def test_shared_chroma_takes_two_samples_a_pixel():
    fmt = PixelFormat(2, 4, 3, photometric="YBR_FULL_422", allocated=8, stored=8, high_bit=7, signed=False)
    assert fmt.subsampled
    assert fmt.frame_bytes == 16
    assert fmt.shape == (2, 4, 3)


def test_the_samples_of_each_photometric_interpretation():
    assert {name for name, samples in SAMPLES.items() if samples == 1} == MONOCHROME | {"PALETTE COLOR"}
    assert {name for name, samples in SAMPLES.items() if samples == 3} == {
        "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "YBR_PARTIAL_420", "XYB",
    }  # fmt: skip
    assert set(SAMPLES.values()) == {1, 3}


def test_a_format_describes_itself():
    fmt = PixelFormat(512, 256, 1, photometric="MONOCHROME2", allocated=16, stored=12, high_bit=11, signed=True)
    assert fmt.describe() == "MONOCHROME2, Bits Allocated 16, Bits Stored 12, signed, 512x256"
    assert "unsigned" in fmt.replace(signed=False).describe()
