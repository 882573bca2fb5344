"""--fragment-size: frames in fragments of so many bytes, where the syntax allows that, with true offset tables."""

from __future__ import annotations

from typing import Any

import dicom
import images
import numpy as np
import oracle
import pydicom
import pytest
from conftest import ROOT
from images import Format
from pydicom.encaps import generate_fragmented_frames, get_frame, parse_basic_offsets

import dcmtx
from dcmtx.errors import RefusedError, UsageError
from dcmtx.pixel.encapsulation import Layout, choose_table
from dcmtx.policy import OffsetTable

GREY = Format("MONOCHROME2", 16, 12)
MANY = ["jpeg-lossless", "jpeg-lossless-p14", "jpegls", "j2k", "htj2k", "htj2k-rpcl"]
ONE = ["rle", "encapsulated", "deflated-frames", "jpegxl-lossless"]


def picture(count: int = 3) -> bytes:
    return images.image(GREY, images.make_frames(GREY, 33, 31, count)).encode()


def frames_of(data: bytes) -> list[bytes]:
    """Return codestreams, which pydicom puts together by the offset table, or by their markers."""
    dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
    count = int(dataset.get("NumberOfFrames", 1))
    return [get_frame(dataset.PixelData, number, number_of_frames=count) for number in range(count)]


@pytest.mark.parametrize(
    ("to", "size"), [("jpegls", 2), *((to, size) for to in MANY for size in (64, 101, 1000, 10**6, 0xFFFFFFFE))]
)
def test_frames_are_split_and_nothing_else_changes(to, size):
    source = picture()
    whole = dicom.walk(dcmtx.transcode(source, to=to))
    made = dcmtx.transcode(source, to=to, fragment_size=size)
    walked = dicom.walk(made)
    assert all(len(fragment) <= size for fragment in walked.fragments)
    assert all(len(fragment) % 2 == 0 for fragment in walked.fragments)
    # As few as there can be.
    most = size - size % 2
    assert len(walked.fragments) == sum(-(-len(fragment) // most) for fragment in whole.fragments)
    assert b"".join(walked.fragments) == b"".join(whole.fragments)
    assert frames_of(made) == whole.fragments
    # The offset table points to the first fragment of each frame (PS3.5 A.4).
    starts, position = [], 0
    for fragment in walked.fragments:
        starts.append(position)
        position += 8 + len(fragment)
    firsts = np.cumsum([0] + [-(-len(fragment) // most) for fragment in whole.fragments])[:-1]
    assert walked.offset_table == [starts[first] for first in firsts]
    assert {tag: found.raw for tag, found in walked.elements.items() if tag != dicom.PIXEL_DATA} == {
        tag: found.raw for tag, found in whole.elements.items() if tag != dicom.PIXEL_DATA
    }


@pytest.mark.parametrize("to", ["jpeg-lossless", "jpegls", "j2k"])
def test_dcmtk_and_gdcm_read_them(to, tmp_path):
    path = tmp_path / "made.dcm"
    source = picture(1)
    path.write_bytes(dcmtx.transcode(source, to=to, fragment_size=200))
    expected = oracle.native(source)
    assert len(dicom.walk(path.read_bytes()).fragments) > 3
    np.testing.assert_array_equal(oracle.native(oracle.gdcm(path, tmp_path)), expected)
    if to != "j2k":
        np.testing.assert_array_equal(oracle.native(oracle.dcmtk(path, tmp_path)), expected)


@pytest.mark.parametrize("options", [{}, {"offset_table": "empty"}], ids=["basic table", "no table"])
@pytest.mark.parametrize("to", MANY)
def test_dcmtx_reads_them_with_a_table_or_without(to, options):
    source = picture()
    split = dcmtx.transcode(source, to=to, fragment_size=50, **options)
    assert (dicom.walk(split).offset_table == []) is bool(options)
    np.testing.assert_array_equal(oracle.native(dcmtx.transcode(split, to="explicit")), oracle.native(source))
    with dcmtx.frames(split) as frames:
        np.testing.assert_array_equal(list(frames), oracle.native(source))


@pytest.mark.parametrize("name", ["sc-multiframe-fragments", "us-jpeg-baseline", "us-multiframe-htj2k-rpcl"])
def test_codestreams_that_are_there_are_split_without_coding(name):
    source = (ROOT / "testdata" / f"{name}.dcm").read_bytes()
    syntax = dicom.walk(source).syntax
    options: dict[str, Any] = {"lossy": True} if name == "us-jpeg-baseline" else {}
    made = dcmtx.transcode(source, to=syntax, fragment_size=128, **options)
    assert max(map(len, dicom.walk(made).fragments)) == 128
    assert frames_of(made) == frames_of(source)
    back = dcmtx.transcode(made, to=syntax, offset_table="basic", **options)
    assert b"".join(dicom.walk(back).fragments) == b"".join(frames_of(source))
    assert len(dicom.walk(back).fragments) == len(frames_of(source))


def test_rewrap_splits_them_too(tmp_path, command):
    source, made = ROOT / "testdata" / "us-multiframe-htj2k-rpcl.dcm", tmp_path / "made.dcm"
    ran = command("rewrap", "--fragment-size", "300", source, made)
    assert (ran.status, ran.out) == (0, "")
    assert max(map(len, dicom.walk(made.read_bytes()).fragments)) == 300
    assert frames_of(made.read_bytes()) == frames_of(source.read_bytes())
    refused = command("rewrap", "--fragment-size", "300", ROOT / "testdata" / "ct-rle.dcm", tmp_path / "no.dcm")
    assert (refused.status, "RLE Lossless has one fragment per frame" in refused.err) == (5, True)


def test_a_dry_run_tells_of_it(tmp_path, command):
    ran = command(
        "convert", ROOT / "testdata" / "ct-explicit.dcm", tmp_path / "x.dcm", "--to", "jpegls", "--fragment-size", "64",
        "--dry-run",
    )  # fmt: skip
    assert "fragments: of 64 bytes at most" in ran.out


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ONE)
def test_what_has_one_fragment_per_frame_is_refused(to):
    with pytest.raises(RefusedError) as caught:
        dcmtx.transcode(
            images.image(GREY.__class__("MONOCHROME2", 8, 8), [np.eye(8, dtype=np.uint8)]).encode(),
            to=to,
            fragment_size=1000,
        )
    assert (caught.value.code, "one fragment per frame" in str(caught.value)) == ("E_FRAGMENTS", True)


@pytest.mark.parametrize("to", ["explicit", "raw", "deflated"])
def test_what_has_no_fragments_is_a_mistake(to):
    with pytest.raises(UsageError, match="--fragment-size does not go with"):
        dcmtx.transcode(picture(), to=to, fragment_size=1000)


def test_an_extended_table_has_no_place_for_it():
    with pytest.raises(RefusedError) as caught:
        dcmtx.transcode(picture(), to="jpegls", fragment_size=1000, offset_table="extended")
    assert (caught.value.code, "C.7.6.3.1.8" in str(caught.value)) == ("E_FRAGMENTS", True)


@pytest.mark.parametrize("size", [0, 1, 0xFFFFFFFF, -5])
def test_a_size_that_no_fragment_has(size):
    with pytest.raises(UsageError, match="--fragment-size is"):
        dcmtx.transcode(picture(), to="jpegls", fragment_size=size)


# --- sizes that no test can write ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "worst", "size", "table"),
    [
        (OffsetTable.AUTO, 1 << 20, 1000, OffsetTable.BASIC),
        (OffsetTable.EMPTY, 1 << 40, 1000, OffsetTable.EMPTY),
        (OffsetTable.BASIC, 1 << 40, 1000, OffsetTable.BASIC),
        # Without a size, a table of 64 bits is chosen.
        (OffsetTable.AUTO, 1 << 40, None, OffsetTable.EXTENDED),
        # The headers of many small fragments count.
        (OffsetTable.AUTO, (1 << 32) - (1 << 20), None, OffsetTable.BASIC),
        (OffsetTable.AUTO, (1 << 32) - (1 << 20), 1 << 20, OffsetTable.BASIC),
        (OffsetTable.AUTO, (1 << 32) - (1 << 20), 16, None),
        (OffsetTable.AUTO, 1 << 40, 1000, None),
        (OffsetTable.EXTENDED, 1 << 10, 1000, None),
    ],
)
def test_which_table_is_written(asked, worst, size, table):
    if table is not None:
        assert choose_table(asked, 10, worst, size) is table
        return
    with pytest.raises(RefusedError) as caught:
        choose_table(asked, 10, worst, size)
    assert caught.value.code == "E_FRAGMENTS"


def test_a_frame_longer_than_any_fragment_is_split():
    layout = Layout(OffsetTable.EMPTY, 1, 1 << 30)
    assert layout.item(5 << 30) == (b"", b"")


def test_the_fragments_of_a_frame_are_no_copies():
    frame = bytes(range(256)) * 5
    parts = list(Layout(OffsetTable.BASIC, 1, 256).items(frame))
    views = [part for part in parts if isinstance(part, memoryview)]
    assert [len(view) for view in views] == [256] * 5
    assert all(view.obj is frame for view in views)
    assert [part for part in Layout(OffsetTable.BASIC, 1, 1280).items(frame) if part is frame]


def test_pydicom_finds_the_fragments_of_each_frame():
    made = dcmtx.transcode(picture(), to="j2k", fragment_size=100)
    dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(made))
    by_table = [len(frame) for frame in generate_fragmented_frames(dataset.PixelData, number_of_frames=3)]
    assert sum(by_table) == len(dicom.walk(made).fragments)
    assert len(parse_basic_offsets(dataset.PixelData)) == 3
