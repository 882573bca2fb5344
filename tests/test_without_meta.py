"""`--dataset-only` and `--assume`: data sets without File Meta Information, as DCMTK writes and reads them."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import dicom
import numpy as np
import pydicom
import pytest
from conftest import ROOT, contents, need_tool, old_file

import dcmtx

DATA = ROOT / "testdata"
NATIVE = {"explicit": "+te", "implicit": "+ti", "big-endian": "+tb"}
FILES = ["ct-explicit", "mr-big-endian", "ct-private-un", "us-rgb-by-plane", "sr-text"]


def body(data: bytes) -> bytes:
    """Return what follows the File Meta Information."""
    return data[144 + int.from_bytes(data[140:144], "little") :]


@pytest.mark.parametrize("to", NATIVE)
@pytest.mark.parametrize("file", FILES)
def test_dcmconv_writes_the_same_bytes_and_reads_ours(file, to, tmp_path):
    source, ours, theirs, back = DATA / f"{file}.dcm", *(tmp_path / name for name in ("ours", "theirs", "back"))
    dcmtx.transcode(source, ours, to=to, dataset_only=True, lengths="explicit")
    dcmconv = need_tool("dcmconv")
    subprocess.run([dcmconv, "-F", NATIVE[to], source, theirs], check=True, timeout=60)
    assert ours.read_bytes() == theirs.read_bytes()
    read = {"explicit": "-te", "implicit": "-ti", "big-endian": "-tb"}[to]
    subprocess.run([dcmconv, "-f", read, "+te", ours, back], check=True, timeout=60)
    assert pydicom.dcmread(back).SOPInstanceUID == pydicom.dcmread(source).SOPInstanceUID


@pytest.mark.parametrize(
    ("to", "assume"),
    [("explicit", "explicit"), ("implicit", "implicit"), ("big-endian", "big-endian"), ("deflated", "deflated"),
     ("jpegls", "jpegls"), ("jpeg", "1.2.840.10008.1.2.4.70"), ("rle", "RLELossless"), ("htj2k", "htj2k-lossless")],
)  # fmt: skip
def test_a_data_set_comes_back_whole(to, assume):
    source = DATA / "ct-explicit.dcm"
    alone = dcmtx.transcode(source, to=to, dataset_only=True)
    whole = dcmtx.transcode(source, to=to)
    assert alone == body(whole)
    back = pydicom.dcmread(io.BytesIO(dcmtx.transcode(alone, to="explicit", assume=assume)))
    before = pydicom.dcmread(source)
    assert back.PixelData == before.PixelData
    assert [element for element in back if element.tag != 0x7FE00010] == [
        element for element in before if element.tag != 0x7FE00010
    ]
    assert back.file_meta.MediaStorageSOPInstanceUID == before.SOPInstanceUID


def test_what_names_its_syntax_is_believed():
    source = (DATA / "ct-jpegls.dcm").read_bytes()
    assert dcmtx.transcode(source, to="explicit", assume="rle") == dcmtx.transcode(source, to="explicit")
    assert dcmtx.transcode(source, to="jpegls", assume="rle") == source


def test_what_is_otherwise_than_assumed_is_read_as_it_is_and_noted():
    alone = dcmtx.transcode(DATA / "ct-explicit.dcm", to="explicit", dataset_only=True)
    outcome = dcmtx.transcode(alone, made := io.BytesIO(), to="jpegls", assume="implicit")
    (note,) = outcome.notes
    assert note.code == "N_ENCODING"
    assert note.text.startswith("the data set is Explicit VR Little Endian, but its transfer syntax is Implicit VR")
    assert ", as --assume says; read as it is" in note.text
    np.testing.assert_array_equal(
        pydicom.dcmread(io.BytesIO(made.getvalue())).pixel_array, pydicom.dcmread(DATA / "ct-explicit.dcm").pixel_array
    )


NO_DATA_SETS = {
    "text": b"some text, and not of DICOM\n" * 40,
    "zeros": bytes(1000),
    "an empty file": b"",
    "noise": np.random.default_rng(5).bytes(3000),
    "a compressed file": (DATA / "ct-deflated.dcm").read_bytes()[400:],
}


@pytest.mark.parametrize("assume", ["explicit", "implicit", "big-endian", "deflated", "jpegls"])
@pytest.mark.parametrize("data", NO_DATA_SETS.values(), ids=NO_DATA_SETS)
def test_what_is_no_data_set_is_refused(data, assume, src, dst, fails):
    src.write_bytes(data)
    line = fails(3, "convert", src, dst, "--to", "explicit", "--assume", assume)
    assert str(src) in line


def test_a_batch_passes_over_what_is_no_data_set(tree, out, command):
    (tree / "text").write_bytes(NO_DATA_SETS["text"])
    (tree / "ct").write_bytes(dcmtx.transcode(DATA / "ct-explicit.dcm", to="implicit", dataset_only=True))
    ran = command("convert", tree, out, "-L", "--assume", "implicit")
    assert ran.status == 0, ran
    assert "1 converted, 1 skipped (not DICOM)" in ran.err
    assert pydicom.dcmread(out / "ct").file_meta.TransferSyntaxUID == dicom.JPEGLS


@pytest.mark.parametrize("assume", ["jpgls", "", "1.2.3"])
def test_a_syntax_that_there_is_not_is_an_error_of_usage(assume, src, dst, fails):
    src.write_bytes((DATA / "ct-explicit.dcm").read_bytes())
    line = fails(2, "convert", src, dst, "-X", "--assume", assume)
    assert f"--assume is {assume!r}, and there is no such transfer syntax" in line


def test_what_is_compressed_needs_to_be_told(src, dst, fails):
    src.write_bytes(dcmtx.transcode(DATA / "ct-explicit.dcm", to="rle", dataset_only=True))
    assert "its Pixel Data is compressed, by which codec it does not say" in fails(3, "convert", src, dst, "-X")


def test_a_destination_is_replaced_as_a_whole(tmp_path, command):
    ours = old_file(tmp_path / "out")
    before = contents(tmp_path)
    bad = tmp_path / "bad.dcm"
    bad.write_bytes((DATA / "ct-explicit.dcm").read_bytes()[:9000])
    assert command("convert", bad, ours, "-X", "--dataset-only").status == 3
    bad.unlink()
    assert contents(tmp_path) == before
    assert command("convert", DATA / "ct-explicit.dcm", ours, "-X", "--dataset-only").status == 0
    assert ours.read_bytes()[:2] == b"\x08\0"


def test_a_dry_run_says_it(command):
    ran = command("convert", DATA / "ct-explicit.dcm", Path("never"), "-L", "--dataset-only", "--dry-run")
    assert "  there is no preamble and no File Meta Information\n" in ran.out
    assert "(0002," not in ran.out


@pytest.mark.parametrize("option", ["--resume", "--update-references"])
def test_options_that_need_file_meta_information_do_not_go_with_it(option, tree, out, command):
    (tree / "ct").write_bytes((DATA / "ct-explicit.dcm").read_bytes())
    ran = command("convert", tree, out, "-X", "--dataset-only", option)
    assert (ran.status, ran.out) == (2, "")
    assert f"{option} does not go with --dataset-only" in ran.err
    assert not out.exists()
