"""`dcmtx audit`: what it proves, and every way in which an archive can differ from the report of its conversion."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import dicom
import numpy as np
import pytest
from batches import image, numbered, plant
from conftest import Ran

import dcmtx as library

Run = Callable[..., Ran]


@pytest.fixture
def dcmtx(command: Run) -> Run:
    return lambda *words: command(*map(str, words))


def migrate(dcmtx: Run, tmp_path: Path, *options: str, report: str = "r.jsonl", count: int = 3) -> Path:
    """Convert a few images to JPEG-LS with a report, and return the destination."""
    plant(tmp_path / "old", numbered(count))
    ran = dcmtx(
        tmp_path / "old", tmp_path / "new", "--to", "jpegls", "--report", tmp_path / report, "--quiet", *options
    )
    assert ran.status == 0, ran.err
    return tmp_path / "new"


def files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("pixels", [[], ["--pixels"]], ids=["without pixels", "with pixels"])
def test_a_whole_archive_is_proven(dcmtx, tmp_path, pixels):
    new = migrate(dcmtx, tmp_path)
    ran = dcmtx("audit", tmp_path / "r.jsonl", new, *pixels)
    assert (ran.status, ran.out) == (0, "")
    assert ran.err == f"dcmtx: 3 files: 3 proven{'; 3 frames decoded' if pixels else ''}\n"


def swap_pixels(path: Path) -> None:
    """Put other pixels of the same coded length into a file, by hand."""
    data = bytearray(path.read_bytes())
    at = data.rindex(b"\xff\xda") + 12
    data[at] ^= 0x10
    path.write_bytes(data)


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0\0")


def as_other_syntax(path: Path) -> None:
    """Rename the transfer syntax in place, without another byte changed."""
    data = path.read_bytes()
    assert data.count(b"1.2.840.10008.1.2.4.80") == 1
    path.write_bytes(data.replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.90"))


def as_other_instance(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b"1.2.3.0", b"1.2.3.9"))


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = {
    "a file that is gone": (Path.unlink, "missing", "No such file"),
    "a file that has grown": (grow, "changed", "bytes, recorded were"),
    "another transfer syntax": (as_other_syntax, "changed", "it is j2k-lossless, recorded was jpegls-lossless"),
    "another instance": (as_other_instance, "changed", "it is SOP Instance 1.2.3.9, recorded was 1.2.3.0"),
    "a directory in its place": (replace_by_directory, "changed", "it is no regular file"),
}


@pytest.mark.parametrize(("damage", "verdict", "what"), DAMAGES.values(), ids=DAMAGES)
def test_what_differs_is_named_with_status_7(dcmtx, tmp_path, damage, verdict, what):
    new = migrate(dcmtx, tmp_path)
    victim = files(new)[0]
    damage(victim)
    ran = dcmtx("audit", tmp_path / "r.jsonl", new)
    assert ran.status == 7
    (line,) = ran.out.splitlines()
    assert line.startswith(f"{verdict}: {victim}: ")
    assert what in line


def test_other_pixels_of_the_same_size_are_found_by_decoding(dcmtx, tmp_path):
    new = migrate(dcmtx, tmp_path)
    victim = files(new)[1]
    swap_pixels(victim)
    assert dcmtx("audit", tmp_path / "r.jsonl", new).status == 0
    ran = dcmtx("audit", tmp_path / "r.jsonl", new, "--pixels")
    assert ran.status == 7
    assert ran.out.startswith(f"changed: {victim}: ")


def test_of_a_sample_the_same_files_are_decoded_every_time(dcmtx, tmp_path):
    new = migrate(dcmtx, tmp_path, count=60)
    decoded = []
    for _ in range(2):
        ran = dcmtx("audit", tmp_path / "r.jsonl", new, "--sample", "25%", "--json", "--quiet")
        assert ran.status == 0
        decoded.append({row["path"] for row in map(json.loads, ran.out.splitlines()) if row["pixels"]})
    assert decoded[0] == decoded[1]
    # Names decide, and those of directories vary.
    assert 0 < len(decoded[0]) < 40
    for path in files(new):
        if os.fspath(path) in decoded[0]:
            swap_pixels(path)
            break
    ran = dcmtx("audit", tmp_path / "r.jsonl", new, "--sample", "25%")
    assert (ran.status, ran.out.startswith("changed: ")) == (7, True)
    # One of them cannot be decoded any more.
    assert f"{len(decoded[0]) - 1} frame" in ran.err
    assert "of a sample of 25 % decoded" in ran.err
    for odd in ("25", "0%", "101%", "x%", "5%%"):
        assert dcmtx("audit", tmp_path / "r.jsonl", new, "--sample", odd).status == 2


def test_what_was_proven_without_pixels_is_not_left_out_of_a_sample(dcmtx, tmp_path):
    migrate(dcmtx, tmp_path, count=6)
    words = ["audit", tmp_path / "r.jsonl", "--proof", tmp_path / "proof.jsonl"]
    assert dcmtx(*words).status == 0
    ran = dcmtx(*words, "--resume", "--sample", "100%")
    assert ran.err == "dcmtx: 6 files: 6 proven; 6 frames decoded\n"


def test_a_file_that_the_report_does_not_have_is_told(dcmtx, tmp_path):
    new = migrate(dcmtx, tmp_path)
    (new / "stray").write_bytes(b"")
    (new / ".x.dcmtx-part").write_bytes(b"")
    ran = dcmtx("audit", tmp_path / "r.jsonl", new)
    assert (ran.status, ran.out) == (7, f"unreported: {new / 'stray'}\n")
    assert dcmtx("audit", tmp_path / "r.jsonl").status == 0


def test_what_was_not_made_fails_the_audit_for_its_source_may_not_go(dcmtx, tmp_path):
    plant(tmp_path / "old", ["a.dcm"])
    (tmp_path / "old" / "b.dcm").write_bytes(image(1).encode()[:-20])
    dcmtx(tmp_path / "old", tmp_path / "new", "--to", "jpegls", "--report", tmp_path / "r.jsonl", "--quiet")
    ran = dcmtx("audit", tmp_path / "r.jsonl", tmp_path / "new")
    assert ran.status == 7
    assert ran.out.startswith(f"not made: {tmp_path / 'new' / 'b.dcm'}: ")


def test_the_record_that_made_the_file_counts_whatever_came_before_or_after(dcmtx, tmp_path):
    plant(tmp_path / "old", ["a.dcm"])
    bad = tmp_path / "old" / "b.dcm"
    bad.write_bytes(image(1).encode()[:-20])
    words = [
        tmp_path / "old",
        tmp_path / "new",
        "--to",
        "jpegls",
        "--report",
        tmp_path / "r.jsonl",
        "--quiet",
        "--resume",
    ]
    assert dcmtx(*words).status == 9
    bad.write_bytes(image(1).encode())
    assert dcmtx(*words).status == 0
    ran = dcmtx("audit", tmp_path / "r.jsonl", tmp_path / "new", "--pixels")
    assert (ran.status, ran.out) == (0, "")
    assert ran.err == "dcmtx: 2 files: 2 proven; 2 frames decoded\n"


def test_what_was_done_before_the_report_is_decoded_and_counted_apart(dcmtx, tmp_path):
    new = migrate(dcmtx, tmp_path)
    dcmtx(tmp_path / "old", new, "--to", "jpegls", "--resume", "--report", tmp_path / "second.jsonl", "--quiet")
    ran = dcmtx("audit", tmp_path / "second.jsonl", new, "--pixels")
    assert (ran.status, ran.out, ran.err) == (0, "", "dcmtx: 3 files: 3 uncompared; 3 frames decoded\n")


LOSSY = {
    "verified": ["--lossy", "--near", "3"],
    "not verified": ["--lossy", "--near", "3", "--no-verify"],
}


@pytest.mark.parametrize("options", LOSSY.values(), ids=LOSSY)
def test_loss_is_recorded_and_its_pixels_are_not_compared(dcmtx, tmp_path, options):
    noise = np.random.default_rng(1).integers(0, 4096, (16, 16), np.uint16)
    source = tmp_path / "old" / "a.dcm"
    source.parent.mkdir()
    source.write_bytes(dicom.Image(noise.tobytes(), rows=16, columns=16, stored=12).encode())
    dcmtx(source.parent, tmp_path / "new", "--to", "jpegls-near", *options, "--report", tmp_path / "r.jsonl", "--quiet")
    (record,) = map(json.loads, (tmp_path / "r.jsonl").read_text().splitlines())
    assert (record["status"], record["pixels_sha256_out"]) == ("converted", None)
    ran = dcmtx("audit", tmp_path / "r.jsonl", "--pixels")
    assert (ran.status, ran.err) == (0, "dcmtx: 1 file: 1 uncompared; 1 frame decoded\n")


def test_an_archive_that_was_moved_is_found_where_it_is(dcmtx, tmp_path):
    new = migrate(dcmtx, tmp_path)
    shutil.move(new, tmp_path / "elsewhere")
    assert dcmtx("audit", tmp_path / "r.jsonl", tmp_path / "elsewhere").status == 7
    ran = dcmtx("audit", tmp_path / "r.jsonl", tmp_path / "elsewhere", "--was", new, "--pixels")
    assert (ran.status, ran.out) == (0, "")
    ran = dcmtx("audit", tmp_path / "r.jsonl", tmp_path / "elsewhere", "--was", tmp_path / "old")
    assert ran.status == 3
    assert "is not below" in ran.err


def test_an_audit_goes_on_where_it_was(dcmtx, tmp_path):
    new = migrate(dcmtx, tmp_path)
    proof = tmp_path / "proof.jsonl"
    assert dcmtx("audit", tmp_path / "r.jsonl", "--proof", proof).status == 0
    # Proven without pixels is not proven with them.
    ran = dcmtx("audit", tmp_path / "r.jsonl", "--proof", proof, "--resume", "--pixels")
    assert ran.err == "dcmtx: 3 files: 3 proven; 3 frames decoded\n"
    victim = files(new)[2]
    lines = proof.read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["path"] != str(victim)]
    proof.write_text("".join(kept) + lines[0][:20])
    ran = dcmtx("audit", tmp_path / "r.jsonl", "--proof", proof, "--resume", "--pixels")
    assert (ran.status, ran.err) == (0, "dcmtx: 1 file: 1 proven, 2 proven before; 1 frame decoded\n")
    # The torn line is cut off, so that what follows it can be read.
    assert all(json.loads(line) for line in proof.read_text().splitlines())
    assert dcmtx("audit", tmp_path / "r.jsonl", "--proof", proof).status == 2


def test_what_is_in_an_archive_is_said_not_to_be_audited(dcmtx, tmp_path, monkeypatch):
    """It is not missing, and not proven either."""
    monkeypatch.chdir(tmp_path)
    migrate(dcmtx, tmp_path)
    assert dcmtx(tmp_path / "old", "new.zip", "--to", "jpegls", "--report", "r.jsonl", "--quiet").status == 0
    ran = dcmtx("audit", "r.jsonl")
    assert ran.status == 3
    assert "is no file, but in an archive" in ran.line
    assert "new.zip" in ran.line


def test_without_the_library_for_stores_nothing_is_said_of_their_objects(dcmtx, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    migrate(dcmtx, tmp_path)
    lines = (tmp_path / "r.jsonl").read_text()
    (tmp_path / "r.jsonl").write_text(lines.replace(str(tmp_path / "new"), "s3://bucket/new"))
    monkeypatch.setitem(sys.modules, "obstore", None)
    ran = dcmtx("audit", "r.jsonl")
    assert ran.status == 4
    assert "dcmtx[store]" in ran.line


def test_a_relative_destination_is_that_of_the_directory_one_is_in(dcmtx, tmp_path, monkeypatch):
    plant(tmp_path / "old", ["a.dcm"])
    monkeypatch.chdir(tmp_path)
    dcmtx("old", "new", "--to", "jpegls", "--report", "r.jsonl", "--quiet")
    assert dcmtx("audit", "r.jsonl", "new").status == 0
    monkeypatch.chdir(tmp_path / "old")
    assert dcmtx("audit", "../r.jsonl").status == 7


def test_json_has_a_record_per_file(dcmtx, tmp_path):
    new = migrate(dcmtx, tmp_path)
    files(new)[0].unlink()
    ran = dcmtx("audit", tmp_path / "r.jsonl", "--json")
    records = [json.loads(line) for line in ran.out.splitlines()]
    assert {record["verdict"] for record in records} == {"missing", "proven"}
    assert all(list(record) == ["version", "path", "verdict", "what", "pixels", "frames"] for record in records)


NO_REPORTS = {
    "an empty file": lambda path: path.write_text(""),
    "one torn line": lambda path: path.write_text('{"version":2'),
    "an image": lambda path: path.write_bytes(image(0).encode()),
    "other JSON": lambda path: path.write_text('{"a": 1}\n'),
    "a list": lambda path: path.write_text("[1]\n"),
    "no file": lambda path: path.unlink(missing_ok=True),
    "a dry run's": lambda path: path.write_text(
        '{"version": 2, "source": "a", "destination": "b", "status": "planned"}\n'
    ),
}


@pytest.mark.parametrize("make", NO_REPORTS.values(), ids=NO_REPORTS)
def test_what_is_no_report_is_refused_in_one_line(dcmtx, tmp_path, make):
    make(tmp_path / "r.jsonl")
    ran = dcmtx("audit", tmp_path / "r.jsonl")
    assert ran.status == 3
    assert ran.err.count("\n") == 1
    assert str(tmp_path / "r.jsonl") in ran.err


TORN = (
    "its last line is cut off, and the file that it told of is not checked; go on with the conversion by --resume, and "
    "audit again"
)


def test_a_report_whose_last_line_is_cut_off_does_not_prove_all(dcmtx, tmp_path):
    new, report = migrate(dcmtx, tmp_path), tmp_path / "r.jsonl"
    report.write_bytes(report.read_bytes()[:-40])
    ran = dcmtx("audit", report)
    assert (ran.status, ran.err.splitlines()) == (3, [f"dcmtx: {report}: {TORN}", "dcmtx: 2 files: 2 proven"])
    assert dcmtx("audit", report, "--quiet").err == f"dcmtx: {report}: {TORN}\n"
    # What it told of is not in the report, and what differs counts more.
    assert dcmtx("audit", report, new).status == 7


def test_a_report_whose_last_line_is_cut_off_is_whole_after_resume(dcmtx, tmp_path):
    new, report = migrate(dcmtx, tmp_path), tmp_path / "r.jsonl"
    report.write_bytes(report.read_bytes()[:-40])
    again = dcmtx(tmp_path / "old", new, "--to", "jpegls", "--resume", "--report", report, "--quiet")
    assert again.status == 0
    ran = dcmtx("audit", report, new, "--pixels")
    assert (ran.status, TORN in ran.err) == (0, False)


def test_an_archive_that_is_not_there_is_named_as_it_was_typed(dcmtx, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = dcmtx("audit", "r.jsonl", "Archive")
    assert (ran.status, ran.err.splitlines()) == (
        2, ["dcmtx: Archive: it is no directory; name the directory that the archive is in"],
    )  # fmt: skip


# --- Parquet ---------------------------------------------------------------------------------------------------


def rows_of(path: Path) -> list[dict]:
    """Read a report in Parquet as its readers do."""
    duckdb = pytest.importorskip("duckdb")
    table = duckdb.sql(f"SELECT * FROM '{path}'")
    return [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]


def test_a_report_in_parquet_has_what_the_lines_have(dcmtx, tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "bad.dcm").write_bytes(image(9).encode()[:-20])
    plant(tmp_path / "old", numbered(3))
    for report in ("r.jsonl", "r.parquet"):
        words = ["--to", "jpegls", "--report", tmp_path / report, "--quiet"]
        assert dcmtx(tmp_path / "old", tmp_path / "new", *words).status == 9
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    rows = rows_of(tmp_path / "r.parquet")
    keep = ("source", "status", "frames", "bytes_out", "pixels_sha256", "pixels_sha256_out", "verified", "error")
    assert sorted(map(str, ([row[key] for key in keep] for row in rows))) == sorted(
        map(str, ([line[key] for key in keep] for line in lines))
    )
    assert sorted(os.listdir(tmp_path)) == ["new", "old", "r.jsonl", "r.parquet"]
    ran = dcmtx("audit", tmp_path / "r.parquet", tmp_path / "new", "--pixels")
    assert ran.err == "dcmtx: 4 files: 3 proven, 1 not made; 3 frames decoded\n"


def test_a_report_in_parquet_is_gone_on_with(dcmtx, tmp_path):
    pytest.importorskip("pyarrow")
    new = migrate(dcmtx, tmp_path, report="r.parquet")
    files(new)[0].unlink()
    again = dcmtx(tmp_path / "old", new, "--to", "jpegls", "--resume", "--report", tmp_path / "r.parquet", "--quiet")
    assert again.status == 0
    assert sorted(row["status"] for row in rows_of(tmp_path / "r.parquet")) == ["converted"] * 4 + ["skipped"] * 2
    assert dcmtx("audit", tmp_path / "r.parquet", new, "--pixels").status == 0


def test_a_parquet_report_that_was_broken_off_leaves_its_lines(dcmtx, tmp_path):
    pytest.importorskip("pyarrow")
    new = migrate(dcmtx, tmp_path, report="r.parquet")
    shutil.copy(tmp_path / "r.parquet", tmp_path / "whole.parquet")
    # A killed run: lines, and no Parquet yet.
    records = rows_of(tmp_path / "r.parquet")
    lines = [json.dumps(record, default=str) + "\n" for record in records[:2]]
    (tmp_path / "r.parquet").unlink()
    (tmp_path / "r.parquet.jsonl").write_text("".join(lines) + lines[0][:30])
    dcmtx(tmp_path / "old", new, "--to", "jpegls", "--resume", "--report", tmp_path / "r.parquet", "--quiet")
    statuses = sorted(row["status"] for row in rows_of(tmp_path / "r.parquet"))
    assert statuses == ["converted"] * 2 + ["skipped"] * 3


def test_a_file_that_is_no_parquet_is_not_overwritten(dcmtx, tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "r.parquet").write_bytes(b"precious")
    plant(tmp_path / "old", ["a.dcm"])
    ran = dcmtx(tmp_path / "old", tmp_path / "new", "--to", "jpegls", "--report", tmp_path / "r.parquet")
    assert ran.status == 2
    assert (tmp_path / "r.parquet").read_bytes() == b"precious"


# --- the digest ------------------------------------------------------------------------------------------------------

IMAGES = {
    "grey 16": dicom.Image(bytes(range(128)), rows=8, columns=8),
    "one bit": dicom.Image(bytes([0b10110100, 7, 255, 1]), rows=8, columns=4, allocated=1, stored=1),
    "colour by plane": dicom.Image(
        bytes(range(192)), rows=8, columns=8, samples=3, photometric="RGB", planar=1, allocated=8, stored=8
    ),
    "chroma that is shared": dicom.Image(
        bytes(range(128)), rows=8, columns=8, samples=3, photometric="YBR_FULL_422", planar=0, allocated=8, stored=8
    ),
}


@pytest.mark.parametrize("to", ["explicit", "implicit", "1.2.840.10008.1.2.2", "rle", "deflated"])
@pytest.mark.parametrize("source", IMAGES.values(), ids=IMAGES)
def test_the_digest_of_a_destination_is_that_of_its_record(tmp_path, source, to):
    syntax = dicom.IMPLICIT if to == "explicit" else dicom.EXPLICIT
    (tmp_path / "a.dcm").write_bytes(dataclasses.replace(source, syntax=syntax).encode())
    try:
        outcome = library.transcode(tmp_path / "a.dcm", tmp_path / "b.dcm", to=to, digest=True, force=True)
    except (library.UnsupportedError, library.RefusedError):
        pytest.skip(f"not held by {to}")
    if outcome.digest is None:
        pytest.skip("copied")
    with library.frames(tmp_path / "b.dcm") as frames:
        assert frames.sha256() == outcome.digest_out


def test_big_endian_words_of_32_bits_are_proven_in_whichever_order_they_were_written(dcmtx, tmp_path):
    noise = np.random.default_rng(2).integers(0, 1 << 32, (8, 8), np.uint32)
    (tmp_path / "a.dcm").write_bytes(dicom.Image(noise.tobytes(), allocated=32, stored=32).encode())
    for order in ("16", "32"):
        words = ["--to", "1.2.840.10008.1.2.2", "--word-order", order, "--report", tmp_path / f"{order}.jsonl"]
        assert dcmtx(tmp_path / "a.dcm", tmp_path / f"{order}.dcm", *words).status == 0
        ran = dcmtx("audit", tmp_path / f"{order}.jsonl", "--pixels")
        assert (ran.status, ran.err) == (0, "dcmtx: 1 file: 1 proven; 1 frame decoded\n")
