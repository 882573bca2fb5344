"""The files of testdata/: what the manifest says, what other readers make of them, and that they can be made again."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import warnings
from io import BytesIO

import dicom
import numpy as np
import pydicom
import pytest
from conftest import ROOT, need_tool

DIRECTORY = ROOT / "testdata"
SMALL, ALL_TOGETHER = 40_000, 500_000

_spec = importlib.util.spec_from_file_location("make_testdata", DIRECTORY / "make.py")
make = importlib.util.module_from_spec(_spec)
sys.modules["make_testdata"] = make
_spec.loader.exec_module(make)

FILES = [pytest.param(file, id=file.path) for file in make.FILES]


def manifest() -> dict[str, dict[str, str]]:
    lines = (DIRECTORY / make.MANIFEST).read_text("ascii").splitlines()
    header, *rows = [line.split("\t") for line in lines]
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(BytesIO(data))


def pixels(data: bytes) -> np.ndarray:
    """Return what pydicom decodes, without any change of colour."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.pixels.pixel_array(read(data), raw=True)


def stored(name: str) -> bytes:
    return (DIRECTORY / f"{name}.dcm").read_bytes()


# --- the manifest ----------------------------------------------------------------------------------------------


def test_the_manifest_names_every_file_and_no_other():
    assert list(manifest()) == [file.path for file in make.FILES]
    assert sorted(manifest()) == sorted(path.name for path in DIRECTORY.glob("*.dcm"))


@pytest.mark.parametrize("file", FILES)
def test_the_manifest_agrees_with_the_file(file):
    data = (DIRECTORY / file.path).read_bytes()
    row = manifest()[file.path]
    assert row["bytes"] == str(len(data))
    assert row["sha256"] == hashlib.sha256(data).hexdigest()
    assert row["transfer syntax"] == dicom.walk(data).syntax
    assert row["what it is for"] == file.purpose


def test_the_files_are_small():
    sizes = [path.stat().st_size for path in DIRECTORY.glob("*.dcm")]
    assert max(sizes) <= SMALL
    assert sum(sizes) <= ALL_TOGETHER


# --- other readers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES)
def test_pydicom_reads_it(file):
    data = (DIRECTORY / file.path).read_bytes()
    dataset = read(data)
    assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
    if "PixelData" not in dataset:
        assert dataset.Modality == "SR"
        return
    frames = int(dataset.get("NumberOfFrames", 1))
    expected = [size for size in (frames, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel) if size > 1]
    assert [size for size in pixels(data).shape if size > 1] == expected


@pytest.mark.parametrize("file", FILES)
def test_dcmdump_reads_it(file):
    done = subprocess.run(
        [need_tool("dcmdump"), "-q", str(DIRECTORY / file.path)], check=False, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert b"SOPInstanceUID" in done.stdout


# Why dciodvfy finds fault with a file nevertheless, and words of all that it then says.
_NO_HTJ2K = ("it does not know HTJ2K", ("Undefined value length of other byte", "read failed", "<PixelData>"))
EXPLAINED = {
    "ct-deflated": ("it does not inflate", ("Error",)),
    "mr-htj2k": _NO_HTJ2K,
    "us-multiframe-htj2k-rpcl": _NO_HTJ2K,
    "mr-overlay-bit-15": ("the overlay is of the retired kind", ("<Overlay Bit", "<OverlayData>")),
    "sc-ybr-full-422": ("it knows shared chroma in JPEG only", ("incorrect value length", "<YBR_FULL_422>")),
    "rtdose-32": ("it stops at words of 32 bits", ("Assertion `bitsallocated",)),
}


@pytest.mark.parametrize("file", FILES)
def test_dciodvfy_finds_no_error_that_is_not_explained(file):
    done = subprocess.run(
        [need_tool("dciodvfy"), str(DIRECTORY / file.path)], check=False, capture_output=True, text=True, timeout=60
    )
    _, words = EXPLAINED.get(file.name, ("", ()))
    faults = [line for line in done.stderr.splitlines() if "Error" in line or "Assertion" in line]
    assert [line for line in faults if not any(word in line for word in words)] == []


# --- what the files are for ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ct-rle", "ct-jpegls", "ct-j2k", "ct-private-un"])
def test_the_same_section_is_in(name):
    assert np.array_equal(pixels(stored(name)), pixels(stored("ct-explicit")))


def test_big_endian_words_are_swapped_once():
    assert np.array_equal(pixels(stored("mr-big-endian")), pixels(stored("mr-htj2k")))


def test_the_frames_of_the_segmentation_start_mid_byte():
    dataset = read(stored("seg-binary"))
    assert dataset.Rows * dataset.Columns % 8 != 0
    assert dataset.NumberOfFrames > 1


def test_the_fragments_are_several_and_the_table_is_empty():
    walked = dicom.walk(stored("sc-multiframe-fragments"))
    assert (len(walked.fragments), walked.offset_table) == (9, [])
    assert sum(fragment.startswith(b"\xff\xd8") for fragment in walked.fragments) == 3


def test_the_extended_offset_table_points_at_items():
    data = stored("sc-multiframe-extended-offsets")
    walked = dicom.walk(data)
    assert walked.offset_table == []
    offsets = np.frombuffer(walked.elements[0x7FE00001].value, "<u8")
    lengths = np.frombuffer(walked.elements[0x7FE00002].value, "<u8")
    assert len(offsets) == len(lengths) == len(walked.fragments) == 3
    first = data.index(walked.fragments[0]) - 8
    for offset, length, fragment in zip(offsets, lengths, walked.fragments, strict=True):
        at = first + int(offset) + 8
        assert data[at : at + len(fragment)] == fragment
        assert len(fragment) == length + length % 2


def test_chroma_is_shared_between_two_pixels_of_a_row():
    frame = dicom.walk(stored("us-jpeg-baseline")).fragments[0]
    at = frame.index(b"\xff\xc0") + 10
    assert [frame[at + 3 * component + 1] for component in range(3)] == [0x21, 0x11, 0x11]


def test_the_overlay_is_in_bit_15_and_nowhere_else():
    dataset = read(stored("mr-overlay-bit-15"))
    words = np.frombuffer(dataset.PixelData, "<u2")
    assert set(np.unique(words >> 12)) == {0, 8}
    assert dataset[0x6000, 0x0102].value == 15
    assert (0x6000, 0x3000) not in dataset


def test_the_icon_is_encapsulated():
    icon = read(stored("ct-icon-jpeg-lossless")).IconImageSequence[0]
    (frame,) = pydicom.encaps.generate_frames(icon.PixelData, number_of_frames=1)
    assert frame.startswith(b"\xff\xd8")


def test_un_of_undefined_length_holds_items_of_implicit_vr():
    element = dicom.walk(stored("ct-private-un")).elements[0x00991012]
    assert (element.vr, element.length) == ("UN", dicom.UNDEFINED)
    assert element.items[0][0x00080104].text == "A meaning"


# --- making them again -----------------------------------------------------------------------------------------

# Lossy streams of another version of the library may decode to other pixels, by this much.
LOSSY = {"us-jpeg-baseline": 2}


@pytest.mark.parametrize("file", FILES)
def test_it_can_be_made_again(file):
    old, new = (DIRECTORY / file.path).read_bytes(), file.encode()
    if manifest()[file.path]["made by"] == file.made_by:
        assert new == old
    if "PixelData" in read(old):
        was, now = pixels(old).astype(np.int64), pixels(new).astype(np.int64)
        assert was.shape == now.shape
        assert np.abs(was - now).max() <= LOSSY.get(file.name, 0)
