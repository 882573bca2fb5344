"""`--progress json`: what programs are told while files are converted."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import dicom
import numpy as np
import pytest
from conftest import spawn

COUNT = 40
PIXELS = np.random.default_rng(5).integers(0, 4096, (COUNT, 64, 64), np.uint16)


def image() -> bytes:
    return dicom.Image(PIXELS.tobytes(), rows=64, columns=64, stored=12, frames=COUNT).encode()


def told(text: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith(b"{")]


@pytest.mark.parametrize("more", [[], ["--quiet"], ["--isolate"]], ids=" ".join)
def test_lines_tell_of_the_frames_of_one_file(more: list[str], tmp_path: Path) -> None:
    source = tmp_path / "source.dcm"
    source.write_bytes(image())
    ran = spawn(str(source), str(tmp_path / "out.dcm"), "--to", "rle", "--progress", "json", *more)
    assert ran.returncode == 0, ran.stderr
    lines = told(ran.stderr)
    assert all(set(line) == {"progress", "path", "done", "total", "seconds"} for line in lines)
    assert {(line["progress"], line["path"], line["total"]) for line in lines} == {("frames", str(source), COUNT)}
    assert lines[-1]["done"] == COUNT
    assert all(one["done"] < two["done"] and one["seconds"] <= two["seconds"] for one, two in pairwise(lines))


def test_lines_tell_of_the_files_of_a_batch_and_end_with_all(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in "abc":
        (source / f"{name}.dcm").write_bytes(image())
    (source / "text.txt").write_text("none of DICOM")
    (source / "cut.dcm").write_bytes(image()[:-1000])
    ran = spawn(str(source), str(tmp_path / "out"), "--to", "rle", "--progress", "json")
    assert ran.returncode == 9
    assert b"5 files in" in ran.stderr, "people are told too"
    last = told(ran.stderr)[-1]
    assert last.pop("seconds") > 0
    assert last.pop("total") in (None, 5), "counted meanwhile, or not yet"
    written = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert last == {
        "progress": "files", "done": 5, "converted": 3, "copied": 0, "unchanged": 0, "skipped": 1, "planned": 0,
        "failed": 1, "bytes_in": 3 * len(image()), "bytes_out": written,
    }  # fmt: skip


def test_without_being_asked_for_there_are_no_lines(tmp_path: Path) -> None:
    source = tmp_path / "source.dcm"
    source.write_bytes(image())
    assert spawn(str(source), str(tmp_path / "out.dcm"), "--to", "rle").stderr == b""


def test_lines_tell_of_the_shards_of_a_run_on_a_cluster(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.dcm").write_bytes(image())
    line = ["in", "out", "--to", "rle", "--cluster", "local", "--run", "run", "--progress", "json", "--quiet"]
    ran = spawn(*line, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    last = told(ran.stderr)[-1]
    assert last.pop("seconds") > 0
    assert last == {"progress": "shards", "done": 1, "total": 1, "files": 2, "failed": 0, "bytes_in": 2 * len(image())}
