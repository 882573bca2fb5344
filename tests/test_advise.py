"""`dcmtx advise`: what is measured, of which files, and how it is told."""

from __future__ import annotations

import json
from pathlib import Path

import dicom
import imagecodecs
import numpy as np
import oracle
import pytest
from conftest import ROOT, spawn

from dcmtx import transcode
from dcmtx.inspect import readers
from dcmtx.inspect.advice import TARGETS, advise
from dcmtx.inspect.chart import chart

TESTDATA = ROOT / "testdata"
FRAMES = (np.add.outer(np.arange(48), np.arange(40)) % 4096).astype("<u2")[None] + np.arange(6, dtype="<u2")[
    :, None, None
]


def image(modality: str, **more: object) -> bytes:
    settings = {"rows": 48, "columns": 40, "stored": 12, "frames": 6} | more
    before = {0x00080060: dicom.element(0x00080060, "CS", modality)}
    return dicom.Image(FRAMES.tobytes(), before=before, **settings).encode()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of two modalities, and of what is left out."""
    root = tmp_path_factory.mktemp("archive")
    for number in range(5):
        (root / f"ct{number}.dcm").write_bytes(image("CT", signed=number == 0))
    (root / "mr.dcm").write_bytes(image("MR"))
    (root / "text.txt").write_text("none of DICOM")
    (root / "cut.dcm").write_bytes(image("CT")[:-100])
    (root / "report.dcm").write_bytes((TESTDATA / "sr-text.dcm").read_bytes())
    transcode(TESTDATA / "us-rgb-by-pixel.dcm", root / "us.dcm", to="jpeg", lossy=True)
    return root


def test_files_are_counted_by_modality_and_what_is_left_out_by_reason(archive: Path) -> None:
    found = advise([str(archive)], targets=["rle", "jpegxl"])
    assert (found.found, found.measured) == (10, 6)
    assert found.left_out == {"not DICOM": 1, "E_TRUNCATED": 1, "no pixels": 1, "lossy already": 1}
    counts = {(row.modality, row.target): (row.files, row.refused, row.frames) for row in found.rows}
    assert counts == {
        ("CT", "rle"): (5, 0, 20), ("CT", "jpegxl"): (4, 1, 16), ("MR", "rle"): (1, 0, 4), ("MR", "jpegxl"): (1, 0, 4)
    }  # fmt: skip


def test_the_sample_is_no_larger_than_asked_for(archive: Path) -> None:
    told: list[tuple[int, int]] = []
    found = advise([str(archive)], files=2, frames=3, targets=["rle"], watch=lambda *counts: told.append(counts))
    assert {row.modality: (row.files, row.frames) for row in found.rows} == {"CT": (2, 6), "MR": (1, 3)}
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("target", TARGETS)
def test_ratios_are_those_of_files_that_are_converted(target: str, archive: Path, tmp_path: Path) -> None:
    (row,) = advise([str(archive / "mr.dcm")], frames=6, targets=[target]).rows
    transcode(archive / "mr.dcm", tmp_path / "out.dcm", to=target)
    streams = oracle.codestreams((tmp_path / "out.dcm").read_bytes())
    # Each may have a pad byte in the file.
    low, high = (FRAMES.nbytes / (sum(map(len, streams)) - off) for off in (0, len(streams)))
    assert low - 0.001 <= row.ratio <= high + 0.001
    assert row.encode > 0
    assert row.decode > 0


def test_a_target_that_holds_no_file_has_no_figures() -> None:
    (row,) = advise([str(TESTDATA / "rtdose-32.dcm")], targets=["jpegls"]).rows
    assert (row.files, row.refused, row.ratio, row.encode, row.decode) == (0, 1, None, None, None)


def test_the_table_of_readers_knows_every_target_and_names_its_sources() -> None:
    assert {target for one in readers.READERS for target in one.reads} == set(TARGETS)
    assert all(one.version and one.source for one in readers.READERS)


@pytest.mark.parametrize("form", ["png", "svg"])
def test_the_picture_has_a_mark_for_each_target_and_modality(form: str, archive: Path) -> None:
    pytest.importorskip("matplotlib")
    found = advise([str(archive)], files=1, frames=1, targets=["rle", "jpegls"])
    data = chart(found.rows, form)
    assert data == chart(found.rows, form)
    if form == "png":
        assert len(np.unique(imagecodecs.png_decode(data)[..., :3].reshape(-1, 3), axis=0)) > 4
        return
    assert data.startswith(b"<?xml")
    assert all(f"<!-- {label} -->".encode() in data for label in ("rle", "jpegls", "CT", "MR"))


def test_the_command_prints_tables_and_writes_the_picture(archive: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    line = ["advise", str(archive), "--files", "1", "--targets", "jpegls,rle", "--plot", str(tmp_path / "a.svg")]
    ran = spawn(*line)
    assert ran.returncode == 0, ran.stderr
    text = ran.stdout.decode()
    assert "decode MB/s" in text
    assert "DCMTK" in text
    assert b"2 of 10 files measured; 1 left out (E_TRUNCATED)" in ran.stderr
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")


def test_records_are_for_programs(archive: Path) -> None:
    ran = spawn("advise", str(archive / "mr.dcm"), "--targets", "rle", "--json", "--quiet")
    assert (ran.returncode, ran.stderr) == (0, b"")
    found = json.loads(ran.stdout)
    assert set(found) == {"found", "measured", "left_out", "rows", "readers"}
    (row,) = found["rows"]
    assert (row["modality"], row["target"], row["frames"]) == ("MR", "rle", 4)
    assert "DCMTK 3.6.7 to 3.7.0" in row["readers"]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["nowhere"], 3, b"nowhere: there is no such file"),
        ([".", "--targets", "jpeg"], 2, b"--targets names 'jpeg', none of jpegls"),
        ([".", "--plot", "a.pdf"], 2, b"--plot is a.pdf"),
        (["text.txt"], 3, b"0 of 1 files measured; 1 left out (not DICOM)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_advised_on(arguments: list[str], status: int, says: bytes, archive: Path) -> None:
    ran = spawn("advise", *arguments, cwd=archive, env={"PYTHONPATH": str(ROOT)})
    assert ran.returncode == status, ran.stderr
    assert says in ran.stderr
