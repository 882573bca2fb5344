"""What makes series is killed in the middle, and writes more than 32 bits can count."""

from __future__ import annotations

import signal
from pathlib import Path

import batches
import dicom
import fake_codecs
import numpy as np
import pydicom
import pytest
import series
from batches import Batch
from fake_codecs import Mood, Stage
from rle.rle import decode_frame
from series import line
from test_enhance import run
from test_split import by_uid, canonical, check_same

from dcmtx.pixel import encapsulation

# Held frames are written as soon as they are coded, so that the death comes in the middle of Pixel Data.
HELD = 6
OFFSETS, OFFSET_LENGTHS = 0x7FE00001, 0x7FE00002


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    (tmp_path / "stage").mkdir()
    return Stage(tmp_path / "stage")


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """A series whose frames wait to be admitted."""
    for path in series.write(tmp_path / "in", line(HELD), stored=16, rows=4, columns=16):
        data = path.read_bytes()
        path.write_bytes(data[:-128] + Mood.HELD.to_bytes(2, "little") + data[-126:])
    return tmp_path / "in"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# What it makes of the series, and of the one instance that this became; where it makes it.
WORDS = {
    "enhance": ["enhance", "in", "out/one.dcm", "--to", "rle"],
    "split": ["split", "one.dcm", "out", "--to", "rle"],
    "crop": ["crop", "in", "out", "--rows", "0:4", "--columns", "0:8", "--to", "rle"],
}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal")
@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_a_kill_leaves_only_what_is_whole_and_a_second_run_makes_the_rest(
    words: list[str], held: Path, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("enhance", "in", "one.dcm")
    (tmp_path / "out").mkdir()
    before = contents(held)
    stage.admit(HELD // 2)
    program = (fake_codecs.__file__,)
    with Batch(*words, program=program, env=stage.environment(), cwd=tmp_path) as batch:
        batch.wait_for(lambda: stage.waiting)
        batch.process.kill()
        batch.end()
    assert contents(held) == before
    left = {name: data for name, data in contents(tmp_path / "out").items() if not name.endswith(batches.PART)}
    assert len(left) < (1 if words[0] == "enhance" else HELD)
    for name in left:
        assert len(pydicom.dcmread(tmp_path / "out" / name).pixel_array) > 0
    run(*words)
    assert batches.parts(tmp_path) == []
    made = contents(tmp_path / "out")
    assert len(made) == (1 if words[0] == "enhance" else HELD)
    if words[0] == "enhance":
        run("split", "out/one.dcm", "again")
        check_same(held, tmp_path / "again")
    if words[0] == "split":
        check_same(held, tmp_path / "out")


@pytest.mark.parametrize("command", ["in one step", "copied"])
def test_offsets_that_a_basic_table_cannot_hold_go_into_an_extended_one(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syntax = []
    series.write(tmp_path / "in", line(5), rows=24, columns=40)
    source = tmp_path / "in"
    if command == "copied":
        batches.run(source, tmp_path / "coded", "--to", "rle")
        source = tmp_path / "coded"
    else:
        syntax = ["--to", "rle"]
    monkeypatch.setattr(encapsulation, "LARGEST_OFFSET", 4000)
    run("enhance", source, tmp_path / "out.dcm", *syntax)
    walked = dicom.walk((tmp_path / "out.dcm").read_bytes())
    lengths = [len(fragment) for fragment in walked.fragments]
    offsets = [sum(lengths[:number]) + 8 * number for number in range(5)]
    assert offsets[-1] > 4000
    assert walked.elements[OFFSETS].value == b"".join(one.to_bytes(8, "little") for one in offsets)
    assert walked.elements[OFFSET_LENGTHS].value == b"".join(one.to_bytes(8, "little") for one in lengths)
    run("split", tmp_path / "out.dcm", tmp_path / "again")
    check_same(tmp_path / "in", tmp_path / "again")


ROWS, COLUMNS = 8192, 16384


@pytest.mark.long
@pytest.mark.timeout(900)
def test_an_instance_of_more_than_4_gib(tmp_path: Path) -> None:
    # Noise, of which RLE saves nothing.
    noise = np.random.default_rng(1).integers(0, 1 << 16, COLUMNS * 64, np.uint16).astype("<u2").tobytes()
    for path in series.write(tmp_path / "in", line(17), stored=16):
        image = pydicom.dcmread(path)
        image.Rows, image.Columns = ROWS, COLUMNS
        image.PixelData = noise * (ROWS // 64)
        image.save_as(path)
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--to", "rle")
    out = tmp_path / "out.dcm"
    assert out.stat().st_size > 17 << 28
    header = pydicom.dcmread(out, stop_before_pixels=True)
    offsets = np.frombuffer(header.ExtendedOffsetTable, "<u8")
    lengths = np.frombuffer(header.ExtendedOffsetTableLengths, "<u8")
    assert int(offsets[-1]) > 1 << 32
    with out.open("rb") as file:
        file.seek(-int(lengths[-1]) - 8, 2)
        last = file.read(int(lengths[-1]))
    planes = decode_frame(last, ROWS * COLUMNS, 16, "<")
    assert bytes(planes) == noise * (ROWS // 64)
    run("split", out, tmp_path / "again", "--frames", "1,17", "--to", "explicit")
    before = by_uid(tmp_path / "in")
    made = by_uid(tmp_path / "again")
    assert len(made) == 2
    for uid, path in made.items():
        assert canonical(before[uid]) == canonical(path)
