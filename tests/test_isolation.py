"""`--isolate`: one file in a process of its own. A codec that ends it is an error, and all else is the same."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import batches
import fake_codecs
import pytest
from batches import Batch, need_proc
from conftest import Ran
from fake_codecs import Mood, Stage

pytestmark = [need_proc, pytest.mark.timeout(120)]
PROGRAM = (fake_codecs.__file__,)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    (tmp_path / "stage").mkdir()
    return Stage(tmp_path / "stage")


def moody(tmp_path: Path, mood: Mood) -> Path:
    (tmp_path / "in.dcm").write_bytes(fake_codecs.image(mood).encode())
    return tmp_path / "in.dcm"


def run(*words: str | Path, **options: object) -> Ran:
    with Batch(*words, program=PROGRAM, **options) as batch:
        return batch.end()


DEATHS = {
    Mood.SEGFAULT: "was ended by SIGSEGV: a codec crashed",
    Mood.ABORT: "was ended by SIGABRT: a codec crashed",
    Mood.EXIT: "ended with status 0: a codec ended it",
}


@pytest.mark.parametrize(("mood", "what"), DEATHS.items(), ids=[mood.name.lower() for mood in DEATHS])
def test_what_ends_a_codecs_process_is_an_error_of_its_file(mood, what, tmp_path: Path, stage: Stage) -> None:
    (tmp_path / "out.dcm").write_bytes(b"as it was")
    words = ["--to", "rle", "--isolate", "--report", tmp_path / "r.jsonl"]
    ran = run(moody(tmp_path, mood), tmp_path / "out.dcm", *words, env=stage.environment())
    assert ran.status == 6
    assert ran.line == f"dcmtx: {tmp_path / 'in.dcm'}: the process that converted it {what}"
    assert (tmp_path / "out.dcm").read_bytes() == b"as it was"
    assert batches.parts(tmp_path) == []
    (record,) = map(json.loads, (tmp_path / "r.jsonl").read_text().splitlines())
    assert (record["status"], record["error"]["code"]) == ("failed", "E_CRASH")


def test_an_error_of_a_codec_is_what_it_is_without(tmp_path: Path, stage: Stage) -> None:
    source = moody(tmp_path, Mood.RAISE)
    apart, alone = (
        run(source, tmp_path / "out.dcm", "--to", "rle", *more, env=stage.environment()) for more in (["--isolate"], [])
    )
    assert apart == alone
    assert apart.status == 6


def test_a_good_file_is_what_it_is_without(tmp_path: Path) -> None:
    (tmp_path / "in.dcm").write_bytes(batches.image(3).encode())
    for name, more in (("apart", ["--isolate"]), ("alone", [])):
        report = tmp_path / f"{name}.jsonl"
        ran = batches.run(tmp_path / "in.dcm", tmp_path / name, "--to", "rle", "--report", report, *more)
        assert (ran.status, ran.out, ran.err) == (0, "", "")
        assert len(report.read_text().splitlines()) == 1
    assert (tmp_path / "apart").read_bytes() == (tmp_path / "alone").read_bytes()


def test_it_goes_through_pipes(tmp_path: Path) -> None:
    (tmp_path / "in.dcm").write_bytes(batches.image(3).encode())
    with (
        (tmp_path / "in.dcm").open("rb") as source,
        (tmp_path / "out.dcm").open("wb") as target,
        Batch("-", "-", "--to", "rle", "--isolate", stdin=source, stdout=target) as batch,
    ):
        assert batch.end().status == 0
    batches.run(tmp_path / "in.dcm", tmp_path / "alone", "--to", "rle")
    assert (tmp_path / "out.dcm").read_bytes() == (tmp_path / "alone").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_both_and_leaves_nothing(number, tmp_path: Path, stage: Stage) -> None:
    source = moody(tmp_path, Mood.HELD)
    words = [source, tmp_path / "out.dcm", "--to", "rle", "--isolate"]
    with Batch(*words, program=PROGRAM, env=stage.environment()) as batch:
        batch.wait_for(lambda: stage.waiting)
        ran = batch.end(number)
    assert ran == Ran(128 + number, "", "")
    assert batches.parts(tmp_path) == []
    assert not (tmp_path / "out.dcm").exists()


def test_the_child_dies_with_its_parent_though_its_codec_hangs(tmp_path: Path, stage: Stage) -> None:
    source = moody(tmp_path, Mood.HELD)
    words = [source, tmp_path / "out.dcm", "--to", "rle", "--isolate"]
    with Batch(*words, program=PROGRAM, env=stage.environment()) as batch:
        batch.wait_for(lambda: stage.waiting)
        # It waits until none of the processes is left.
        batch.end(signal.SIGKILL)
    assert not (tmp_path / "out.dcm").exists()
    (tmp_path / "in.dcm").write_bytes(batches.image(3).encode())
    assert batches.run(tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "rle").status == 0
    assert batches.parts(tmp_path) == []
    assert os.path.exists(tmp_path / "out.dcm")
