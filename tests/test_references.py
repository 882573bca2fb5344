"""`--update-references`: references among the files of a batch follow new UIDs, and never name what was not made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import dicom
import numpy as np
import pydicom
import pytest
from conftest import ROOT, Ran, contents, need_tool

import dcmtx
from dcmtx.batch.convert import Options, Stop, convert
from dcmtx.transcoding.job import job

DATA = ROOT / "testdata"
EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED = dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG_ENDIAN, dicom.DEFLATED
REFERENCED, IMAGES, SOURCES, EVIDENCE = 0x00081155, 0x00081140, 0x00082112, 0x0040A375
OUTSIDE = "1.2.3.99"


def reference(uid: str, syntax: str = EXPLICIT) -> bytes:
    """Return an item that refers to an instance."""
    of_class = dicom.element(0x00081150, "UI", dicom.SECONDARY_CAPTURE, syntax)
    return of_class + dicom.element(REFERENCED, "UI", uid, syntax)


def image(number: int, *others: str, syntax: str = EXPLICIT, undefined: bool = False, noise: bool = False) -> bytes:
    """Return an image that refers to other instances, in a sequence, in one inside another, and as what it is from."""
    items = [reference(uid, syntax) for uid in others]
    inside = dicom.sequence(0x00081199, items, syntax, undefined=undefined)
    series = dicom.element(0x0020000E, "UI", "1.2.3.1", syntax) + b""
    evidence = dicom.sequence(0x00081115, [inside + series], syntax)
    more = {
        IMAGES: dicom.sequence(IMAGES, items, syntax, undefined=undefined),
        SOURCES: dicom.sequence(SOURCES, items[:1], syntax),
        # Another attribute with the UID of an instance, as some writers have it, is none that refers to it.
        0x0020000D: dicom.element(0x0020000D, "UI", "1.2.3.1", syntax),
        0x00200242: dicom.element(0x00200242, "UI", others[0] if others else OUTSIDE, syntax),
        EVIDENCE: dicom.sequence(EVIDENCE, [evidence], syntax, undefined=undefined),
    }
    pixels = np.random.default_rng(number).integers(0, 4000 if noise else 1, 64 * 64, dtype="<u2")
    if syntax == BIG_ENDIAN:
        pixels = pixels.byteswap()
    return dicom.Image(
        pixels.tobytes(), rows=64, columns=64, syntax=syntax, before=more, sop_instance=f"1.2.3.{number}"
    ).encode()


def read(path: Path) -> pydicom.Dataset:
    return pydicom.dcmread(path)


def references(path: Path) -> list[str]:
    """Return the UIDs that a file refers to, in its order, as pydicom reads them."""
    return [str(element.value) for element in read(path).iterall() if element.tag in (REFERENCED, 0x00200242)]


def uids(out: Path) -> dict[str, str]:
    """Return the SOP Instance UIDs of the files of a directory, by name."""
    return {path.name: str(read(path).SOPInstanceUID) for path in out.iterdir()}


def study(tree: Path, syntax: str = EXPLICIT, **more: bool) -> None:
    """Write three images: the first refers to none, the second to it, the third to both and to one outside."""
    for number, others in ((1, []), (2, ["1.2.3.1"]), (3, ["1.2.3.1", "1.2.3.2", OUTSIDE])):
        (tree / f"{number}.dcm").write_bytes(image(number, *others, syntax=syntax, **more))


def expected(new: dict[str, str]) -> dict[str, list[str]]:
    """Return what the files of `study` must refer to."""
    one, two = new["1.dcm"], new["2.dcm"]
    three = [one, two, OUTSIDE]
    return {"1.dcm": [OUTSIDE], "2.dcm": [one, one, one, one], "3.dcm": [*three, one, one, *three]}


@pytest.mark.parametrize("undefined", [False, True], ids=["lengths", "delimiters"])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
@pytest.mark.parametrize("to", ["explicit", "implicit", "big-endian", "deflated", "jpegls"])
def test_references_follow(syntax, to, undefined, tree, out, command):
    study(tree, syntax, undefined=undefined)
    ran = command("convert", tree, out, "--to", to, "--uid", "new", "--update-references")
    assert ran.status == 0, ran
    assert ran.err.endswith("\ndcmtx: 10 references follow new SOP Instance UIDs\n")
    new = uids(out)
    assert len(set(new.values()) - {f"1.2.3.{number}" for number in (1, 2, 3)}) == 3
    assert {name: sorted(references(out / name)) for name in new} == {
        name: sorted(found) for name, found in expected(new).items()
    }
    for path in out.iterdir():
        after, before = read(path), read(tree / path.name)
        assert after.StudyInstanceUID == after[EVIDENCE].value[0][0x00081115].value[0].SeriesInstanceUID == "1.2.3.1"
        np.testing.assert_array_equal(after.pixel_array, before.pixel_array)


def test_nothing_else_changes(tree, out, tmp_path, command):
    """Byte for byte, but for the UIDs: an offset table, fragments, and what follows the pixels are there."""
    shutil.copy(DATA / "sc-multiframe-fragments.dcm", tree / "many.dcm")
    source = read(tree / "many.dcm")
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    source.ReferencedImageSequence = [item]
    source.add_new(0x7FE10010, "LO", "BEHIND")
    source.save_as(tree / "many.dcm")
    plain = tmp_path / "plain"
    assert command("convert", tree, plain, "--to", "rle", "--uid", "new").status == 0
    assert command("convert", tree, out, "--to", "rle", "--uid", "new", "--update-references").status == 0
    theirs, ours = (plain / "many.dcm").read_bytes(), (out / "many.dcm").read_bytes()
    made = read(out / "many.dcm").SOPInstanceUID
    old, new = (dicom.element(REFERENCED, "UI", str(uid)) for uid in (source.SOPInstanceUID, made))
    assert theirs.count(old) == 1
    changed = dicom.walk(theirs).elements
    assert {tag: one.raw for tag, one in dicom.walk(ours).elements.items() if tag != IMAGES} == {
        tag: one.raw for tag, one in changed.items() if tag != IMAGES
    }
    assert dicom.walk(ours).elements[IMAGES].raw[20:] == changed[IMAGES].raw[20:].replace(old, new)
    subprocess.run([need_tool("dcmdump"), "-q", out / "many.dcm"], check=True, timeout=60, stdout=subprocess.DEVNULL)


def test_a_file_that_fails_is_referred_to_as_it_was(tree, out, command):
    study(tree)
    (tree / "1.dcm").write_bytes((tree / "1.dcm").read_bytes()[:-100])
    ran = command("convert", tree, out, "--to", "rle", "--uid", "new", "--update-references")
    assert ran.status == 9
    new = uids(out)
    assert set(new) == {"2.dcm", "3.dcm"}
    assert references(out / "2.dcm") == ["1.2.3.1"] * 4
    assert sorted(references(out / "3.dcm")) == sorted(expected(new | {"1.dcm": "1.2.3.1"})["3.dcm"])


def test_what_lost_nothing_keeps_its_uid_and_what_lost_says_what_it_is_from(tree, out, command):
    """Of a batch with loss, flat images are coded without, which is known only when they are done."""
    (tree / "1.dcm").write_bytes(image(1, noise=True))
    (tree / "2.dcm").write_bytes(image(2, "1.2.3.1"))
    (tree / "3.dcm").write_bytes(image(3, "1.2.3.1", "1.2.3.2", noise=True))
    ran = command("convert", tree, out, "--to", "j2k", "--lossy", "--update-references")
    assert ran.status == 0, ran
    new = uids(out)
    assert (new["2.dcm"], new["1.dcm"] != "1.2.3.1") == ("1.2.3.2", True)
    assert references(out / "2.dcm") == [new["1.dcm"]] * 4
    sources = [item.ReferencedSOPInstanceUID for item in read(out / "3.dcm").SourceImageSequence]
    # What it was made from first follows; what this conversion made it from is the file that was converted.
    assert sources == [new["1.dcm"], "1.2.3.3"]
    assert [item.ReferencedSOPInstanceUID for item in read(out / "1.dcm").SourceImageSequence] == ["1.2.3.1"]


def test_a_reference_of_an_image_to_itself_follows(tree, out, command):
    (tree / "1.dcm").write_bytes(image(1, "1.2.3.1", noise=True))
    assert command("convert", tree, out, "--to", "rle", "--uid", "new", "--update-references").status == 0
    (new,) = uids(out).values()
    found = read(out / "1.dcm")
    assert found.ReferencedImageSequence[0].ReferencedSOPInstanceUID == new
    assert found.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.1"


def test_documents_without_pixels_follow_though_they_keep_their_uid(tree, out, command):
    study(tree)
    report = pydicom.dcmread(DATA / "sr-text.dcm")
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = dicom.SECONDARY_CAPTURE, "1.2.3.3"
    report.ContentSequence[0].add_new(0x00081199, "SQ", [item])
    report.save_as(tree / "sr.dcm")
    for number in (1, 2, 3):
        (tree / f"{number}.dcm").write_bytes(image(number, noise=True))
    ran = command("convert", tree, out, "--to", "jpegls", "--lossy", "--update-references")
    assert ran.status == 0, ran
    after = read(out / "sr.dcm")
    # The report is no image that lost something.
    assert after.SOPInstanceUID == report.SOPInstanceUID
    assert after.ContentSequence[0][0x00081199].value[0].ReferencedSOPInstanceUID == uids(out)["3.dcm"]


def test_one_uid_that_became_two_is_left_as_it_is(tree, out, command):
    """Two files with one UID, of which one loses something and the other does not."""
    (tree / "1.dcm").write_bytes(image(1, noise=True))
    (tree / "2.dcm").write_bytes(image(1))
    (tree / "3.dcm").write_bytes(image(3, "1.2.3.1"))
    assert command("convert", tree, out, "--to", "j2k", "--lossy", "--update-references").status == 0
    new = uids(out)
    assert new["1.dcm"] != new["2.dcm"] == "1.2.3.1"
    assert references(out / "3.dcm") == ["1.2.3.1"] * 4


def test_resume_updates_what_an_earlier_batch_made(tree, out, command):
    study(tree)
    line = ("convert", tree, out, "--to", "rle", "--uid", "new")
    assert command(*line).status == 0
    assert references(out / "2.dcm") == ["1.2.3.1"] * 4
    ran = command(*line, "--resume", "--update-references")
    assert ran.status == 0
    assert "3 skipped (done before)" in ran.err
    assert "10 references follow" in ran.err
    new = uids(out)
    assert sorted(references(out / "3.dcm")) == sorted(expected(new)["3.dcm"])
    before = contents(out)
    again = command(*line, "--resume", "--update-references")
    assert (again.status, "references" in again.err) == (0, False)
    assert contents(out) == before


def test_a_batch_that_is_stopped_updates_none_and_the_next_one_all(tree, out, command):
    study(tree)
    stop = Stop()
    pattern = job(os.fspath(tree), os.fspath(out), to="rle", uid="new", workers=1)
    for done in convert([os.fspath(tree)], os.fspath(out), Options(pattern, 1, update_references=True), stop):
        assert done.outcome is not None
        assert not done.references
        stop.request()
    made = list(out.iterdir())
    assert made
    for path in made:
        assert references(path) == references(tree / path.name)
    assert command("convert", tree, out, "--to", "rle", "--uid", "new", "--update-references", "--resume").status == 0
    assert sorted(references(out / "3.dcm")) == sorted(expected(uids(out))["3.dcm"])


def test_an_archive_is_gone_on_with_too(tree, out, tmp_path, command):
    study(tree)
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(tree.iterdir()):
            file.write(path, path.name)
    line = ("convert", archive, out, "--to", "rle", "--uid", "new")
    assert command(*line).status == 0
    ran = command(*line, "--resume", "--update-references")
    assert (ran.status, "10 references follow" in ran.err) == (0, True), ran
    assert sorted(references(out / "3.dcm")) == sorted(expected(uids(out))["3.dcm"])


def test_signatures_are_kept_or_removed_as_the_policy_says(tree, out, command):
    study(tree)
    signed = dicom.sequence(0xFFFAFFFA, [dicom.element(0x04000005, "US", 1)])
    (tree / "s.dcm").write_bytes(
        dicom.file([dicom.element(0x00080018, "UI", "1.2.3.4"), dicom.element(0x00080060, "CS", "SR"),
                    dicom.sequence(IMAGES, [reference("1.2.3.1")]), signed], sop_instance="1.2.3.4",
                   sop_class="1.2.840.10008.5.1.4.1.1.88.11"))  # fmt: skip
    for number in (1, 2, 3):
        (tree / f"{number}.dcm").write_bytes(image(number, noise=True))
    line = ("convert", tree, out, "--to", "jpegls", "--lossy", "--update-references")
    ran = command(*line)
    assert ran.status == 9
    assert f"{out / 's.dcm'}: its references could not be updated: it has digital signatures" in ran.err
    assert references(out / "s.dcm") == ["1.2.3.1"]
    assert command(*line, "--signatures", "remove").status == 0
    assert references(out / "s.dcm") == [uids(out)["1.dcm"]]
    assert 0xFFFAFFFA not in read(out / "s.dcm")


@pytest.mark.parametrize(
    ("code", "fail_fast", "failures"), [("E_DISK_FULL", False, 1), ("E_OUTPUT", False, 2), ("E_OUTPUT", True, 1)]
)
def test_a_destination_that_cannot_be_replaced_is_told_and_stays(code, fail_fast, failures, tree, out, monkeypatch):
    study(tree)

    def fail(path: str, *_: object) -> int:
        raise dcmtx.OutputError("it cannot be written", code=code, path=path)

    monkeypatch.setattr("dcmtx.transcoding.references.update", fail)
    (tree / "1.dcm").unlink()
    results = list(
        dcmtx.convert_many(tree, out, to="rle", uid="new", update_references=True, workers=1, fail_fast=fail_fast)
    )
    errors = [result for result in results if isinstance(result, dcmtx.OutputError)]
    assert [type(result) for result in results[:2]] == [dcmtx.Outcome] * 2
    assert len(errors) == failures
    assert all(error.what == "its references could not be updated: it cannot be written" for error in errors)
    assert references(out / "2.dcm") == references(tree / "2.dcm")


@pytest.mark.parametrize("to", ["rle", "explicit"])
def test_sources_must_stay(to, tree, command):
    study(tree)
    before = contents(tree)
    for places in ((tree, tree), (tree / "1.dcm", tree / "1.dcm"), (tree / "." / "2.dcm", os.path.join(tree, "2.dcm"))):
        ran: Ran = command("convert", *places, "--to", to, "--uid", "new", "--update-references")
        assert (ran.status, "--update-references needs sources that stay" in ran.line) == (2, True)
    assert contents(tree) == before


def test_one_file_is_a_batch_of_one(tree, tmp_path, command):
    (tree / "1.dcm").write_bytes(image(1, "1.2.3.1", OUTSIDE))
    made = tmp_path / "made.dcm"
    assert command("convert", tree / "1.dcm", made, "--to", "rle", "--uid", "new", "--update-references").status == 0
    assert sorted(set(references(made))) == sorted({OUTSIDE, str(read(made).SOPInstanceUID), "1.2.3.1"})


def test_the_library_does_it_too(tree, out):
    study(tree)
    results = list(dcmtx.convert_many(tree, out, to="rle", uid="new", update_references=True, workers=1))
    assert [type(result) for result in results] == [dcmtx.Outcome] * 3
    assert sorted(references(out / "3.dcm")) == sorted(expected(uids(out))["3.dcm"])
    with pytest.raises(dcmtx.UsageError):
        list(dcmtx.convert_many(tree, tree, to="rle", uid="new", update_references=True, workers=1))


def test_records_say_how_long_a_file_is_now_and_an_audit_believes_them(tree, out, tmp_path, command):
    study(tree)
    report = tmp_path / "report.jsonl"
    line = ("convert", tree, out, "--to", "rle", "--uid", "new", "--update-references", "--report", report)
    assert command(*line).status == 0
    records = [json.loads(line) for line in report.read_text().splitlines()]
    assert [record["status"] for record in records] == ["converted"] * 3 + ["updated"] * 2
    for record in records[3:]:
        assert record["bytes_out"] == os.path.getsize(record["destination"])
        assert record["notes"][0]["code"] == "N_REFERENCES"
    (made,) = [one for one in records[:3] if one["destination"] == records[3]["destination"]]
    assert made["bytes_out"] != records[3]["bytes_out"]
    assert command("audit", report).status == 0
    (out / "3.dcm").write_bytes((out / "3.dcm").read_bytes() + bytes(2))
    assert command("audit", report).status != 0


def test_verbose_says_where(tree, out, command):
    study(tree)
    ran = command("convert", tree, out, "--to", "rle", "--uid", "new", "--update-references", "-v")
    assert f"dcmtx: {out / '2.dcm'}: 4 references follow new SOP Instance UIDs\n" in ran.err
