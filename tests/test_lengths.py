"""`--lengths`: sequences and items with lengths or with delimiters, at every depth; DCMTK's dcmconv writes the same."""

from __future__ import annotations

import io
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import dicom
import numpy as np
import pydicom
import pytest
from conftest import ROOT, need_tool

import dcmtx

DATA = ROOT / "testdata"
IMPLICIT, EXPLICIT, BIG_ENDIAN = dicom.IMPLICIT, dicom.EXPLICIT, dicom.BIG_ENDIAN
NAMES = {IMPLICIT: "implicit", EXPLICIT: "explicit", BIG_ENDIAN: "big-endian"}
WORDS = {IMPLICIT: "+ti", EXPLICIT: "+te", BIG_ENDIAN: "+tb"}
REFERENCES, PURPOSES, CODES = 0x00081140, 0x0040A170, 0x00082218


def nest(syntax: str, *, outer: bool, inner: bool) -> bytes:
    """Return a sequence of two items, one with a sequence inside and one empty; each with delimiters if so told."""
    code = dicom.element(0x00080104, "LO", "Brain", syntax)
    inside = dicom.sequence(CODES, [code, b""], syntax, undefined=inner)
    uid = dicom.element(0x00081155, "UI", "1.2.3.4.5", syntax)
    # Elements in the order of their tags.
    return dicom.sequence(REFERENCES, [uid + inside, b""], syntax, undefined=outer)


def body(data: bytes) -> bytes:
    """Return what follows the File Meta Information."""
    return data[144 + int.from_bytes(data[140:144], "little") :]


def kinds(data: bytes) -> set[bool]:
    """Return whether sequences and items have delimiters, as pydicom read them."""
    found: set[bool] = set()

    def look(dataset: pydicom.Dataset) -> None:
        for element in dataset:
            if element.VR == "SQ":
                found.add(bool(element.is_undefined_length))
                for item in element.value:
                    found.add(bool(item.is_undefined_length_sequence_item))
                    look(item)

    look(pydicom.dcmread(io.BytesIO(data)))
    return found


@pytest.mark.parametrize("lengths", ["explicit", "undefined"])
@pytest.mark.parametrize("target", NAMES, ids=NAMES.values())
@pytest.mark.parametrize("source", NAMES, ids=NAMES.values())
@pytest.mark.parametrize(("outer", "inner"), [(True, True), (True, False), (False, True), (False, False)])
def test_every_depth_ends_as_asked_for(source, target, outer, inner, lengths, tmp_path):
    syntaxes = dicom.Image(bytes(128), syntax=source)
    syntaxes.before = {REFERENCES: nest(source, outer=outer, inner=inner)}
    path, theirs = tmp_path / "in.dcm", tmp_path / "theirs.dcm"
    path.write_bytes(syntaxes.encode())
    ours = dcmtx.transcode(path, to=NAMES[target], lengths=lengths)
    assert kinds(ours) == {lengths == "undefined"}
    option = "+e" if lengths == "explicit" else "-e"
    subprocess.run([need_tool("dcmconv"), WORDS[target], option, path, theirs], check=True, timeout=60)
    assert body(ours) == body(theirs.read_bytes())


@pytest.mark.parametrize("lengths", ["explicit", "undefined"])
@pytest.mark.parametrize("file", ["sr-text", "seg-binary", "ct-private-un", "us-rgb-by-plane", "ct-deflated"])
def test_real_data_sets_are_those_of_dcmconv(file, lengths, tmp_path):
    theirs = tmp_path / "theirs.dcm"
    option = "+e" if lengths == "explicit" else "-e"
    subprocess.run([need_tool("dcmconv"), "+te", option, DATA / f"{file}.dcm", theirs], check=True, timeout=60)
    assert body(dcmtx.transcode(DATA / f"{file}.dcm", to="explicit", lengths=lengths)) == body(theirs.read_bytes())


def test_what_has_it_already_is_the_same_and_pixels_keep_their_delimiter():
    """The fragments of an icon and of the pixels have no length in any case (PS3.5 A.4)."""
    source = DATA / "ct-icon-jpeg-lossless.dcm"
    once = dcmtx.transcode(source, to="jpeg-lossless", lengths="explicit")
    assert kinds(once) == {False}
    assert dcmtx.transcode(once, to="jpeg-lossless", lengths="explicit") == once
    before, after = pydicom.dcmread(source), pydicom.dcmread(io.BytesIO(once))
    assert after.PixelData == before.PixelData
    assert after.IconImageSequence[0].PixelData == before.IconImageSequence[0].PixelData
    assert after.IconImageSequence[0]["PixelData"].is_undefined_length


@pytest.mark.parametrize("lengths", ["explicit", "undefined"])
def test_sequences_that_a_loss_adds_to_end_so_too(lengths):
    """An item is appended to one sequence that is there, and two are new."""
    code = dicom.element(0x00080100, "SH", "1") + dicom.element(0x00080102, "SH", "DCM")
    image = dicom.Image(bytes(np.arange(256, dtype="<u2")[:64]), stored=16)
    image.before = {0x00089215: dicom.sequence(0x00089215, [code], undefined=lengths == "explicit")}
    noise = np.random.default_rng(1).integers(0, 4000, 64 * 64, dtype="<u2").tobytes()
    image.pixels, image.rows, image.columns = noise, 64, 64
    made = dcmtx.transcode(image.encode(), to="jpegls", lossy=True, near=9, lengths=lengths)
    after = pydicom.dcmread(io.BytesIO(made))
    assert len(after.DerivationCodeSequence) == 2
    assert len(after.SourceImageSequence) == 1
    assert kinds(made) == {lengths == "undefined"}


@pytest.mark.parametrize("to", ["explicit", "implicit", "big-endian", "jpegls"])
@pytest.mark.parametrize("lengths", ["explicit", "undefined"])
def test_an_icon_that_is_made_ends_so_too(lengths, to):
    made = dcmtx.transcode(DATA / "us-rgb-by-pixel.dcm", to=to, icon="generate", lengths=lengths)
    assert kinds(made) == {lengths == "undefined"}
    icon = pydicom.dcmread(io.BytesIO(made)).IconImageSequence[0]
    assert (icon.Rows, icon.Columns) != (0, 0)
    assert any(icon.PixelData)


def test_unknown_with_an_undefined_length_is_a_sequence_and_with_a_length_stays(tmp_path):
    """PS3.5 6.2.2: what has no length and VR UN is a sequence in Implicit VR Little Endian."""
    inside = dicom.element(0x00091002, "LO", "x", IMPLICIT)
    creator = dicom.element(0x00090010, "LO", "TEST")
    open_end = dicom.sequence(0x00091001, [inside], IMPLICIT, undefined=True)[8:]
    unknown = dicom.header(0x00091001, "UN", dicom.UNDEFINED) + open_end
    closed = dicom.element(0x00091003, "UN", dicom.sequence(0x00091003, [inside], IMPLICIT)[8:])
    image = dicom.Image(bytes(128), before={0x00090010: creator, 0x00091001: unknown, 0x00091003: closed})
    walked = dicom.walk(dcmtx.transcode(image.encode(), to="explicit", lengths="explicit"))
    assert (walked.elements[0x00091001].vr, walked.elements[0x00091001].length) == ("SQ", 8 + 12 + 2)
    assert walked.elements[0x00091003].raw == closed


def test_a_long_sequence_is_streamed(tmp_path):
    """20 MB of items: neither lengths nor anything else is kept for each of them."""
    item = dicom.element(0x00081155, "UI", "1.2.3.4.5") + dicom.element(0x00420011, "OB", bytes(40000))
    path, made = tmp_path / "in.dcm", tmp_path / "out.dcm"
    image = dicom.Image(bytes(128), before={REFERENCES: dicom.sequence(REFERENCES, [item] * 500, undefined=True)})
    path.write_bytes(image.encode())
    dcmtx.transcode(path, made, to="explicit", lengths="explicit")
    tracemalloc.start()
    try:
        dcmtx.transcode(path, made, to="explicit", lengths="explicit")
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()
    assert len(body(made.read_bytes())) == len(body(path.read_bytes())) - 8 * 501


@pytest.mark.parametrize(
    ("lengths", "words"), [("keep", None), ("explicit", "are explicit"), ("undefined", "are undefined")]
)
def test_a_dry_run_says_it(lengths, words, command):
    ran: Any = command("convert", DATA / "sr-text.dcm", Path("never"), "-X", "--dry-run", "--lengths", lengths)
    assert ran.status == 0
    assert (f"  lengths of sequences and items {words}\n" in ran.out) is (words is not None)
