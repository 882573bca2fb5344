"""The driver of a run against a made-up engine and store: whatever goes wrong, every shard is done once."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import batches
import pytest
from clusters import assert_whole, plant
from conftest import IN_CI, ROOT

from dcmtx.cluster.driver import Driver, Progress, unfinished
from dcmtx.cluster.totals import Figures
from dcmtx.errors import CodecError, DcmtxError, OutputError, UsageError

BENCH = ROOT / "tests" / "bench" / "scale.py"


def bench() -> Any:
    """Return the simulation as a module."""
    spec = importlib.util.spec_from_file_location("scale", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scale"] = module
    spec.loader.exec_module(module)
    return module


scale = bench()

FAULTS = {
    "nothing": scale.Faults(0, 0, 0, 0),
    "lost workers": scale.Faults(worker=0.2),
    "lost answers": scale.Faults(answer=0.5),
    "a store that fails": scale.Faults(store=0.2),
    "shards done twice": scale.Faults(twice=0.5),
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_every_shard_is_done_once_whatever_goes_wrong(faults: Any) -> None:
    found = scale.simulate(3000, faults, kills=3, threads=20)
    assert found.complete
    assert found.created == 3000
    assert found.most == 40, "the window is used, and never exceeded"


def test_the_costs_are_those_of_the_prices() -> None:
    prices = scale.argparse.Namespace(core=0.04, put=5.0, get=0.4, tb=21.0)
    table = {row[0]: row[1:] for row in scale.costs(10**9, 256, prices)}
    assert table["core hours"] == ("2,500", "4,306")
    assert table["requests, $"] == ("5,400", "5,400")


class Script:
    """An engine that gives each shard what is written for it, in order, and then its figures."""

    def __init__(self, answers: dict[int, list[DcmtxError]], *, window: int = 2) -> None:
        self.answers, self._window = answers, window
        self.under_way: list[int] = []
        self.submitted: list[int] = []

    def window(self) -> int:
        return self._window

    def submit(self, number: int) -> None:
        self.under_way.append(number)
        self.submitted.append(number)

    def results(self, seconds: float) -> Iterator[tuple[int, Figures | DcmtxError]]:
        assert seconds > 0
        number = self.under_way.pop(0)
        answers = self.answers.get(number)
        yield number, answers.pop(0) if answers else Figures(1, 0, bytes_in=2, bytes_out=1)


def lost() -> DcmtxError:
    return CodecError("lost", code="E_CLUSTER")


def test_what_is_done_is_not_done_again() -> None:
    engine, told = Script({}), []
    driver = Driver(engine, told.append)
    done = bytearray([1, 0, 1, 0, 0])
    assert driver.drive(done)
    assert engine.submitted == [1, 3, 4]
    assert [progress.number for progress in told] == [1, 3, 4]
    assert all(done)


@pytest.mark.parametrize(("window", "together"), [(1, 1), (2, 1), (8, 2), (64, 16)])
def test_shards_are_handed_out_several_at_once(window: int, together: int) -> None:
    engine = Script({}, window=window)
    handed: list[int] = []

    def told(_: Progress) -> None:
        handed.append(len(engine.submitted))

    driver = Driver(engine, told)
    assert driver.drive(bytearray(200))
    steps = [after - before for before, after in pairwise([0, *handed]) if after > before]
    assert steps[0] == driver.most == window
    assert set(steps[1:-1]) == {together}


def test_a_shard_that_is_lost_again_and_again_is_given_up_and_the_others_done() -> None:
    engine = Script({1: [lost() for _ in range(9)], 2: [lost()]})
    driver = Driver(engine, lambda _: None)
    done = bytearray(4)
    assert not driver.drive(done)
    assert list(done) == [1, 0, 1, 1]
    assert (list(driver.given_up), engine.submitted.count(1)) == ([1], 3)
    error = unfinished(driver.given_up, "run")
    assert (error.status, error.what) == (8, "shards 1 could not be done: lost")


@pytest.mark.parametrize(
    "error", [UsageError("other options"), UsageError("other", code="E_RUN"), OutputError("full", code="E_DISK_FULL")],
    ids=lambda error: error.code,
)  # fmt: skip
def test_what_every_shard_would_have_ends_the_run(error: DcmtxError) -> None:
    with pytest.raises(type(error)):
        Driver(Script({0: [error]}), lambda _: None).drive(bytearray(3))


def test_a_driver_that_is_stopped_stops() -> None:
    engine = Script({}, window=1)
    done = bytearray(9)
    assert not Driver(engine, lambda _: None).drive(done, lambda: sum(done) == 4)
    assert sum(done) == 4


def test_no_shards_are_done_at_once() -> None:
    assert Driver(Script({}), lambda _: None).drive(bytearray())


@pytest.mark.parametrize(
    ("slots", "giant", "wanted"),
    [([0, 0], True, None), ([16, 4], True, {"slot": 16}), ([16, 4], False, {"slot": 1}), ([], False, None)],
)
def test_a_giant_takes_all_slots_of_the_largest_worker(slots: list[int], giant: bool, wanted: object) -> None:
    from dcmtx.cluster.dask import DaskEngine

    engine = DaskEngine.__new__(DaskEngine)
    engine._seen = (
        float("inf"),
        {str(n): {"resources": {"slot": slot} if slot else {}} for n, slot in enumerate(slots)},
    )
    assert engine._resources(giant=giant) == wanted


# --- other schedulers --------------------------------------------------------------------------------------------

PAGE = (ROOT / "man" / "dcmtx-cluster.7").read_text("ascii")
LINES = [
    block.replace("\\-", "-").replace("\\e", "\\").strip() for block in re.findall(r"\.nf\n(.*?)\.fi", PAGE, re.DOTALL)
]


def test_the_page_has_lines_for_the_schedulers_that_it_names() -> None:
    for word in ("SLURM_ARRAY_TASK_ID", "AWS_BATCH_JOB_ARRAY_INDEX", "parallel", "dask worker", "SLURMCluster"):
        assert any(word in line for line in LINES), word


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split("\n")[0][:30])
def test_a_line_of_the_page_is_one_for_a_shell(line: str) -> None:
    ran = subprocess.run(["bash", "-n"], input=line, capture_output=True, text=True, check=False, timeout=30)
    assert (ran.returncode, ran.stderr) == (0, "")


CALLS = sorted(set(re.findall(r"dcmtx (plan|shard|report|convert)\b([^'|\")\n]*)", "\n".join(LINES))))


@pytest.mark.parametrize("words", CALLS, ids=lambda words: words[0])
def test_the_page_names_options_that_there_are(words: tuple[str, str], command: Any) -> None:
    shown = command(words[0], "--help").out
    for option in re.findall(r"(?<!\S)--?[a-z][\w-]*", words[1]):
        assert option in shown, option


@pytest.mark.skipif(shutil.which("parallel") is None and not IN_CI, reason="GNU parallel is not installed")
def test_gnu_parallel_runs_shards(tmp_path: Path, command: Any) -> None:
    names = plant(tmp_path / "in", 4)
    assert command("plan", tmp_path / "in", tmp_path / "run1", "--shard-files", "2").status == 0
    line = next(line for line in LINES if "parallel -j" in line).split("\n")[0]
    line = line.replace("0 999", "0 1").replace("-j 16", "-j 2").replace("dcmtx", f"{sys.executable} -m dcmtx")
    line = line.replace("htj2k-rpcl", "rle")
    ran = batches.run(line=["bash", "-c", line], cwd=tmp_path)
    assert ran.status == 0, ran.err
    assert_whole(tmp_path / "run1", tmp_path / "out", names)
