"""A cluster of Dask: a real scheduler and workers, as processes. Whatever of it is killed, every file is made once."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import batches
import pytest
from batches import Batch, Terminal, need_proc
from clusters import MOODY, all_rows, assert_whole, dcmtx, moody, plant
from conftest import wait_until
from fake_codecs import Mood, Stage

pytest.importorskip("distributed")
pytestmark = [need_proc, pytest.mark.timeout(300)]
FILES = 60
ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Dask:
    """A scheduler and its workers, each a process in a session of its own; all are ended in any case."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self._directory, self.environment = directory, environment
        self._stack = contextlib.ExitStack()
        self.address = ""
        self.scheduler: Batch
        self.workers: list[Batch] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _run(self, module: str, *words: str, **more: str) -> Batch:
        line = [sys.executable, "-m", f"distributed.cli.{module}"]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = self.environment | {"DASK_DISTRIBUTED__WORKER__DAEMON": "False"} | more
        return self._stack.enter_context(Batch(*words, line=line, cwd=self._directory, env=environment, **quiet))

    def start(self, *words: str) -> None:
        """Start a scheduler, at any port."""
        file = self._directory / f"scheduler-{len(self.workers)}.json"
        self.scheduler = self._run(
            "dask_scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(file),
            *words,
        )
        wait_until(lambda: file.exists() and file.read_text().strip().endswith("}"))
        self.address = json.loads(file.read_text())["address"]

    def work(self, count: int = 1, **more: str) -> None:
        """Start workers of one thread each."""
        for _ in range(count):
            self.workers.append(
                self._run(
                    "dask_worker", self.address, "--no-dashboard", "--nthreads", "1", "--memory-limit", "0",
                    "--host", "127.0.0.1", "--local-directory", str(self._directory / "dask"), "--resources", "slot=1",
                    "--death-timeout", "60", **more,
                )
            )  # fmt: skip


def kill(*pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Place:
    """A source with files that wait, a run of shards, and the line that does them."""

    def __init__(self, directory: Path) -> None:
        self.source, self.run, self.out = directory / "in", directory / "run", directory / "out"
        self.environment = moody(directory)
        self.stage = Stage(directory / "stage")

    def plant(self, held: tuple[int, ...] = (), files: int = FILES, each: int = 6) -> list[str]:
        """Write files, of which some wait to be admitted, and plan them."""
        names = plant(self.source, files, dict.fromkeys(held, Mood.HELD))
        assert dcmtx("plan", self.source, self.run, "--shard-files", each).status == 0
        return names

    def line(self, address: str, *words: str) -> list[str]:
        return [
            str(self.source), str(self.out), *(words or MOODY), "--cluster", address, "--run", str(self.run),
            "-j", "2",
        ]  # fmt: skip

    def assert_complete(self, names: list[str]) -> None:
        """Assert that every file was made once, reports are complete, and nothing is left over."""
        assert batches.names(self.out) == set(names)
        rows = all_rows(self.run)
        assert sorted(os.path.relpath(row["destination"], self.out) for row in rows) == sorted(names)
        assert {row["status"] for row in rows} == {"converted"}
        assert batches.parts(self.run) == []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def dask(tmp_path: Path, place: Place) -> Iterator[Dask]:
    with Dask(tmp_path, place.environment) as started:
        started.start()
        yield started


def secured(directory: Path) -> dict[str, str]:
    """Make keys and certificates of an authority's own, and return the environment in which Dask uses them."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    mine = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    mine.private_key_pem.write_to_path(directory / "key.pem")
    for number, blob in enumerate(mine.cert_chain_pems):
        blob.write_to_path(directory / "cert.pem", append=number > 0)
    begin = "DASK_DISTRIBUTED__COMM__"
    environment = {f"{begin}REQUIRE_ENCRYPTION": "True", f"{begin}TLS__CA_FILE": str(directory / "ca.pem")}
    for who in ("SCHEDULER", "WORKER", "CLIENT"):
        environment |= {f"{begin}TLS__{who}__CERT": str(directory / "cert.pem")}
        environment |= {f"{begin}TLS__{who}__KEY": str(directory / "key.pem")}
    return environment


def test_a_local_cluster_does_what_a_batch_does(place: Place) -> None:
    names = plant(place.source, FILES)
    ran = dcmtx(*place.line("local", "--to", "rle"), "--timeout", "600")
    assert ran.status == 0, ran.err
    assert "1 of 1 shards to do, 2 workers" in ran.err
    assert f"{FILES} files in 1 shard," in ran.err
    assert_whole(place.run, place.out, names)
    again = dcmtx(*place.line("local", "--to", "rle"))
    assert (again.status, "workers" in again.err) == (0, False)


def test_whatever_is_killed_every_file_is_made_once(place: Place, dask: Dask, tmp_path: Path) -> None:
    """Part, worker, worker by SIGTERM, driver, scheduler: one after another, each while a file waits in it."""
    names = place.plant(held=(0, 13, 26, 39, 52))
    dask.work(2)
    stage = place.stage
    with Batch(*place.line(dask.address), env=place.environment) as driver:
        # Both workers have a file that waits.
        driver.wait_for(lambda: stage.waiting >= 2)
        first, second = dask.workers
        before = stage.counted("held")
        # The process of one that converts: what has no children.
        kill(max(first.members()))
        driver.wait_for(lambda: stage.counted("held") > before)
        before = stage.counted("held")
        kill(*second.members())
        dask.work()
        driver.wait_for(lambda: stage.counted("held") > before)
        before = stage.counted("held")
        first.process.terminate()
        dask.work()
        driver.wait_for(lambda: stage.counted("held") > before)
        kill(driver.process.pid)
    said = tmp_path / "said"
    with said.open("wb") as err, Batch(*place.line(dask.address), env=place.environment, stderr=err) as driver:
        driver.wait_for(lambda: "shards to do" in said.read_text())
        kill(dask.scheduler.process.pid)
        assert driver.end().status == 8
    assert "the scheduler is gone" in said.read_text()
    assert "Traceback" not in said.read_text(), said.read_text()[:1500]
    stage.admit()
    dask.start()
    dask.work(2)
    with Batch(*place.line(dask.address), env=place.environment) as driver:
        ran = driver.end()
        assert ran.status == 0, ran.err
    place.assert_complete(names)


def test_a_nanny_that_is_killed_takes_its_worker_along_and_no_file(place: Place, dask: Dask) -> None:
    names = place.plant(held=(0,), files=6, each=3)
    dask.work()
    (nanny,) = dask.workers
    with Batch(*place.line(dask.address), env=place.environment) as driver:
        driver.wait_for(lambda: place.stage.waiting)
        # It, its worker, what forks, and what converts.
        assert len(nanny.members()) > 2
        kill(nanny.process.pid)
        driver.wait_for(lambda: not nanny.members())
        place.stage.admit()
        dask.work()
        ran = driver.end()
        assert ran.status == 0, ran.err
    place.assert_complete(names)


def test_a_signal_ends_the_driver_and_the_line_goes_on(place: Place, dask: Dask) -> None:
    names = place.plant(held=(0,), files=6, each=3)
    dask.work()
    with Batch(*place.line(dask.address), env=place.environment) as driver:
        driver.wait_for(lambda: place.stage.waiting)
        assert driver.end(signal.SIGTERM).status == 143
    place.stage.admit()
    assert dcmtx(*place.line(dask.address), env=place.environment).status == 0
    place.assert_complete(names)


def test_other_versions_are_refused_at_the_start(place: Place, dask: Dask, tmp_path: Path) -> None:
    plant(place.source, 1)
    other = tmp_path / "other" / "isal-0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: isal\nVersion: 0.1\n")
    dask.work(PYTHONPATH=f"{other.parent}{os.pathsep}{place.environment['PYTHONPATH']}")
    wait_until(lambda: dask.workers[0].process.poll() is None and len(dask.workers[0].members()) > 1)
    ran = dcmtx(*place.line(dask.address, "--to", "rle"), env=place.environment)
    # One that came later than the driver finds out itself.
    assert ran.status == 2, ran.err
    assert re.search(r"isal 0\.1, not|isal [\d.]+, here 0\.1", ran.err), ran.err
    assert not place.out.exists()


def test_a_scheduler_by_tls_is_reached_by_whom_it_knows(place: Place, tmp_path: Path) -> None:
    names = place.plant(files=3)
    with Dask(tmp_path, place.environment | secured(tmp_path)) as dask:
        dask.start("--protocol", "tls")
        assert dask.address.startswith("tls://")
        dask.work()
        stranger = dcmtx(*place.line(dask.address, "--to", "rle"), env=place.environment)
        assert (stranger.status, "needs certificates" in stranger.err) == (2, True), stranger.err
        ran = dcmtx(*place.line(dask.address, "--to", "rle"), env=dask.environment)
        assert ran.status == 0, ran.err
    assert_whole(place.run, place.out, names)


def test_a_terminal_shows_how_far_it_is(place: Place, dask: Dask) -> None:
    place.plant(held=(2,), files=4, each=2)
    dask.work()
    with Terminal() as terminal:
        with Batch(
            *place.line(dask.address),
            **terminal.options | {"env": place.environment | {"TERM": "xterm", "COLUMNS": "120"}},
        ) as driver:
            terminal.listen()
            driver.wait_for(lambda: "1/2 shards" in ANSI.sub("", terminal.text))
            place.stage.admit()
            assert driver.end().status == 0
        wait_until(lambda: "4 files in 2 shards" in terminal.text)


REFUSED = {
    "no run": (["--cluster", "local"], "--cluster and --run go together"),
    "no cluster": (["--run", "run"], "--cluster and --run go together"),
    "--dry-run": (["--cluster", "local", "--run", "run", "--dry-run"], "does not go with --dry-run"),
    "--report": (["--cluster", "local", "--run", "run", "--report", "x"], "dcmtx report"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_with_a_cluster_is_said(name: str, command: Any, tmp_path: Path) -> None:
    words, what = REFUSED[name]
    ran = command(tmp_path, tmp_path / "out", "--to", "rle", *words)
    assert (ran.status, what in ran.line) == (2, True)


def test_a_scheduler_that_is_not_there_is_one_line(place: Place, command: Any) -> None:
    import dask

    place.plant(files=1)
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        ran = command(*place.line("tcp://127.0.0.1:9", "--to", "rle"))
    assert (ran.status, "the scheduler cannot be reached" in ran.err, "Traceback" in ran.err) == (8, True, False)


def test_a_run_is_of_one_source(place: Place, command: Any, tmp_path: Path) -> None:
    place.plant(files=1)
    ran = command(tmp_path, place.out, "--to", "rle", "--cluster", "local", "--run", place.run)
    assert (ran.status, f"is of {place.source}, not of" in ran.line) == (2, True)
