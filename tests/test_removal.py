"""`--remove`: private and retired elements go, at every depth; what the image needs to be read stays."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator

import dicom
import pydicom
import pytest
from conftest import ROOT, need_tool
from pydicom.datadict import dictionary_is_retired

import dcmtx
from dcmtx.rules.removal import goes

DATA = ROOT / "testdata"
REFERENCES = 0x00081140
# By the dictionary these are retired (PS3.6): at top level, and what says how pixels are stored.
RETIRED = {0x00080040: ("US", 1), 0x00081000: ("AE", "NET"), 0x00084000: ("LT", "note"), 0x50000005: ("US", 2)}
OF_PIXELS = {0x00280060: ("CS", "NONE"), 0x00280200: ("US", 0x7FE0), 0x00281211: ("OW", b"\1\2")}


def write(syntax: str = dicom.EXPLICIT) -> bytes:
    """Return an image with private and retired elements, at top level, in a sequence, and in one of UN."""

    def block(group: int) -> bytes:
        creator = dicom.element(group << 16 | 0x10, "LO", "TEST", syntax)
        return creator + dicom.element(group << 16 | 0x1001, "UN", b"??", syntax)

    more = {tag: dicom.element(tag, vr, value, syntax) for tag, (vr, value) in (RETIRED | OF_PIXELS).items()}
    private = dicom.element(0x00090010, "LO", "TEST", syntax)
    inside = dicom.element(0x00080042, "CS", "AB", syntax) + block(0x0009)
    inside += dicom.element(0x00100010, "PN", "Stays", syntax)
    more[REFERENCES] = dicom.sequence(REFERENCES, [inside], syntax, undefined=True)
    hidden = dicom.element(0x00080042, "CS", "AB", dicom.IMPLICIT) + dicom.element(
        0x00110010, "LO", "T", dicom.IMPLICIT
    )
    hidden += dicom.element(0x00100020, "LO", "X", dicom.IMPLICIT)
    items = dicom.sequence(0x00400555, [hidden], dicom.IMPLICIT)[8:]
    more[0x00400555] = dicom.element(0x00400555, "UN" if syntax != dicom.IMPLICIT else "SQ", items, syntax)
    more[0x00090010] = private
    more[0x00091001] = dicom.sequence(0x00091001, [inside], syntax)
    image = dicom.Image(bytes(128), syntax=syntax, before=more)
    image.behind = [block(0x7FE1)]
    return image.encode()


def tags(data: bytes) -> list[int]:
    """Return the tags of all elements at all depths, as pydicom reads them."""
    return [int(element.tag) for element in pydicom.dcmread(io.BytesIO(data)).iterall()]


@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG_ENDIAN])
@pytest.mark.parametrize("to", ["explicit", "implicit", "jpegls"])
@pytest.mark.parametrize(
    ("remove", "private", "retired"),
    [("private", True, False), ("retired", False, True), ("private,retired", True, True)],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*is illegal in group")
def test_all_of_them_go_and_nothing_else(syntax, to, remove, private, retired):
    source = write(syntax)
    made = dcmtx.transcode(source, to=to, remove=remove)
    left = tags(made)
    assert any(tag >> 16 & 1 for tag in left) is not private
    kept = [tag for tag in left if not tag >> 16 & 1 and dictionary_is_retired_safely(tag)]
    assert set(kept) == set(OF_PIXELS) | (set() if retired else set(RETIRED) | {0x00080042})
    # Implicit VR does not say that a private element is a sequence; what is inside goes all the same.
    whole = dcmtx.transcode(write(), to=to)
    assert left == list(staying(pydicom.dcmread(io.BytesIO(whole)), remove))
    after = pydicom.dcmread(io.BytesIO(made))
    assert after[REFERENCES].value[0].PatientName == "Stays"
    assert after[0x00400555].value[0].PatientID == "X"


def staying(dataset: pydicom.Dataset, remove: str) -> Iterator[int]:
    """Yield the tags of a data set that stay, each before those inside it."""
    for element in dataset:
        if not goes_by_name(int(element.tag), remove):
            yield int(element.tag)
            for item in element.value if element.VR == "SQ" else ():
                yield from staying(item, remove)


def dictionary_is_retired_safely(tag: int) -> bool:
    try:
        return dictionary_is_retired(tag)
    except KeyError:
        return False


def goes_by_name(tag: int, remove: str) -> bool:
    if tag >> 16 & 1:
        return "private" in remove
    return "retired" in remove and tag in {**RETIRED, 0x00080042: ()}


@pytest.mark.parametrize("option", ["private", "retired"])
@pytest.mark.parametrize("file", ["ct-private-un", "ct-explicit", "us-rgb-by-pixel", "mr-overlay-bit-15"])
def test_gdcmconv_leaves_the_same_elements(option, file, tmp_path):
    theirs = tmp_path / "theirs.dcm"
    word = "--remove-private-tags" if option == "private" else "--remove-retired"
    subprocess.run([need_tool("gdcmconv"), word, DATA / f"{file}.dcm", theirs], check=True, timeout=60)
    ours = dcmtx.transcode(DATA / f"{file}.dcm", to="explicit", remove=option)
    mine, his = pydicom.dcmread(io.BytesIO(ours)), pydicom.dcmread(theirs)
    assert [element.tag for element in mine] == [element.tag for element in his]
    assert mine.PixelData == his.PixelData


def test_elements_of_invalid_groups_go_as_from_dcmconv(tmp_path):
    groups = [0x00010001, 0x00030010, 0x00040010, 0x00050010, 0x00070010, 0x00090010, 0x00110010]
    more = {tag: dicom.element(tag, "LO", "x") for tag in groups}
    last = dicom.element(0xFFFF0010, "LO", "x")
    more[REFERENCES] = dicom.sequence(REFERENCES, [b"".join(more.values()) + last])
    source, theirs = tmp_path / "in.dcm", tmp_path / "theirs.dcm"
    source.write_bytes(dicom.Image(bytes(128), before=more, behind=[last]).encode())
    subprocess.run([need_tool("dcmconv"), "-q", "-ig", "+te", source, theirs], check=True, timeout=60)
    outcome = dcmtx.transcode(source, made := io.BytesIO(), to="explicit", remove="invalid")
    (note,) = [note.text for note in outcome.notes if note.code == "N_REMOVED"]
    assert note == "left out 10 elements of invalid groups, 5 of them inside sequences"
    his = [int(element.tag) for element in pydicom.dcmread(theirs).iterall()]
    assert tags(made.getvalue()) == his
    assert 0x00090010 in his


def test_notes_say_how_many(command, tmp_path):
    path = tmp_path / "in.dcm"
    path.write_bytes(write())
    for dry in ([], ["--dry-run"]):
        ran = command("convert", path, tmp_path / "out.dcm", "-X", "--remove", "private,retired", *dry)
        assert ran.status == 0
        assert "note: left out 7 private and 6 retired elements, 5 of them inside sequences\n" in ran.err
    ran = command("convert", path, tmp_path / "out.dcm", "-L", "--remove", "retired")
    assert "left out 7 retired elements, 3 of them inside sequences" in ran.err
    ran = command("convert", DATA / "ct-explicit.dcm", tmp_path / "out.dcm", "-X", "--remove", "private")
    assert "left out 0 private elements\n" in ran.err


@pytest.mark.parametrize("kept", [1 << 12, 1 << 22], ids=["made twice", "kept"])
def test_what_is_too_long_to_be_kept_is_made_twice_and_counted_once(kept, monkeypatch):
    item = dicom.element(0x00081155, "UI", "1.2.3.4.5") + dicom.element(0x00090010, "LO", "T" * 60)
    item += dicom.element(0x00100010, "PN", b"J\xb1r") + dicom.element(0x00400280, "UN", b"")
    charset = dicom.element(0x00080005, "CS", "ISO_IR 100")
    unknown = dicom.element(0x00420011, "UN", b"??")
    deep = dicom.sequence(0x00081199, [charset.replace(b"100", b"101") + item, unknown + item], undefined=True)
    more = {REFERENCES: dicom.sequence(REFERENCES, [deep + item] * 300), 0x00080005: charset}
    monkeypatch.setattr("dcmtx.dataset.rewritten._KEPT", kept)
    source = dicom.Image(bytes(128), before=more).encode()
    outcome = dcmtx.transcode(source, made := io.BytesIO(), to="explicit", remove="private", charset="utf-8")
    assert [note.text for note in outcome.notes] == ["left out 900 private elements, 900 of them inside sequences"]
    data = made.getvalue()
    assert b"TTTT" not in data
    # The first item inside has a character set of its own, and the next one has not.
    assert [data.count(name.encode()) for name in ("J\u0105r", "J\u00b1r")] == [300, 600]
    assert len(pydicom.dcmread(io.BytesIO(data))[REFERENCES].value) == 300


def test_a_signature_is_of_what_it_signed():
    signed = dicom.Image(bytes(128), behind=[dicom.sequence(0xFFFAFFFA, [dicom.element(0x04000005, "US", 1)])])
    with pytest.raises(dcmtx.RefusedError) as caught:
        dcmtx.transcode(signed.encode(), to="explicit", remove="private")
    assert caught.value.code == "E_SIGNATURE"
    made = dcmtx.transcode(signed.encode(), to="explicit", remove="private", signatures="remove")
    assert 0xFFFAFFFA not in tags(made)


def test_what_the_image_needs_is_no_matter_of_the_dictionary():
    from dcmtx.policy import Removal
    from dcmtx.rules import image

    needed = [value for name, value in vars(image).items() if name.isupper() and isinstance(value, int)]
    assert image.ROWS in needed
    assert not [tag for tag in needed if goes(tag, Removal.BOTH)]
    assert not goes(0x00080000, Removal.BOTH)
    assert goes(0x00280005, Removal.RETIRED)
