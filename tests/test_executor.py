"""Executors: the protocol, batches by an executor of one's own, pools in a loop of one's own, and what is forked."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import fake_codecs
import pytest
from batches import assert_converted, names, need_proc, parts, plant
from conftest import wait_until

from dcmtx.batch.convert import Done, Options, Stop, Task, convert, perform
from dcmtx.errors import CodecError, DcmtxError
from dcmtx.pool.executor import Executor
from dcmtx.pool.workers import Pool
from dcmtx.transcoding.job import job

TESTS = Path(__file__).parent


class Here:
    """An executor that does the jobs in this process, one with each step; it fails those that it is told to."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.pending: list[Task] = []
        self.done: list[tuple[Task, Done | DcmtxError]] = []
        self.stopped = 0

    def submit(self, task: Task) -> None:
        self.pending.append(task)

    def step(self, _timeout: float | None) -> bool:
        if self.pending:
            task = self.pending.pop(0)
            died = CodecError("it died far away", code="E_CRASH")
            self.done.append((task, died if self.failing and self.failing in task.job.src else perform(task)))
        return True

    def results(self, *, wait_for_all: bool = False) -> Iterator[tuple[Task, Done | DcmtxError]]:
        while len(self.pending) > (0 if wait_for_all else 3):
            self.step(None)
        yield from self.finished()

    def finished(self) -> Iterator[tuple[Task, Done | DcmtxError]]:
        while self.done:
            yield self.done.pop(0)

    def waitables(self) -> list[Any]:
        return []

    def patience(self) -> float | None:
        return 0 if self.pending else None

    def wake(self) -> None:
        pass

    def stop(self) -> list[Task]:
        self.stopped += 1
        unfinished, self.pending = self.pending, []
        return unfinished

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def batch(tree: Path, out: Path, executor: Executor[Task, Done], stop: Stop | None = None, **more: Any) -> list[Done]:
    options = Options(job("a", "b", to="rle"), 2, **more)
    return list(convert([os.fspath(tree)], os.fspath(out), options, stop, executor=executor))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    plant(tmp_path / "in", [f"{number}.dcm" for number in range(9)])
    return tmp_path / "in"


def test_a_batch_is_done_by_whatever_executor_it_is_given(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcmtx.pool.workers.Pool", None)
    here = Here()
    found = batch(tree, tmp_path / "out", here)
    assert sorted(os.path.basename(done.src) for done in found) == sorted(names(tree))
    for number in range(9):
        assert_converted(tmp_path / "out" / f"{number}.dcm", number)
    assert (here.pending, here.done, here.stopped) == ([], [], 1)


def test_a_job_that_an_executor_loses_costs_its_file_alone(tree: Path, tmp_path: Path) -> None:
    found = batch(tree, tmp_path / "out", Here(failing="4.dcm"))
    (lost,) = [done for done in found if done.error is not None]
    assert lost.error is not None
    assert (os.path.basename(lost.src), lost.error.code) == ("4.dcm", "E_CRASH")
    assert lost.error.path == lost.src
    assert len(names(tmp_path / "out")) == 8


def test_an_executor_is_stopped_with_the_batch(tree: Path, tmp_path: Path) -> None:
    here = Here(failing="0.dcm")
    found = batch(tree, tmp_path / "out", here, fail_fast=True)
    assert len(found) < 9
    assert here.stopped >= 1
    assert here.pending == []
    assert parts(tmp_path / "out") == []


# --- a loop of one's own ---------------------------------------------------------------------------------------


def drive(pool: Pool[Any, Any], tasks: list[Any]) -> tuple[dict[Any, Any], int]:
    """Have jobs done from a loop that waits for something else too; return the results, and how often that came."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    ticks = 0
    found: dict[Any, Any] = {}
    for task in tasks:
        pool.submit(task)
    os.write(theirs, b"x")
    try:
        while len(found) < len(tasks):
            with selectors.DefaultSelector() as selector:
                for thing in [*pool.waitables(), ours]:
                    selector.register(thing, selectors.EVENT_READ)
                ready = {key.fileobj for key, _ in selector.select(pool.patience())}
            if ours in ready:
                ticks += len(os.read(ours, 100))
            pool.step(0)
            for task, result in pool.finished():
                found[task] = result
                os.write(theirs, b"x")
    finally:
        os.close(ours)
        os.close(theirs)
    return found, ticks


def test_a_pool_runs_in_a_loop_of_somebody_else() -> None:
    with Pool(fake_codecs.whoami, 2) as pool:
        found, ticks = drive(pool, list(range(7)))
    assert set(found) == set(range(7))
    assert all(isinstance(pid, int) and pid != os.getpid() for pid in found.values())
    assert ticks >= 1


@pytest.mark.parametrize(
    ("function", "task", "code"), [(time.sleep, 1000, "E_TIMEOUT"), (os._exit, 3, "E_CRASH")], ids=["late", "dead"]
)
def test_a_loop_of_somebody_else_learns_of_a_worker_that_is(function: Any, task: int, code: str) -> None:
    with Pool(function, 1, timeout=0.2) as pool:
        found, _ = drive(pool, [task])
    assert found[task].code == code


def test_a_step_waits_no_longer_than_it_may_and_is_woken() -> None:
    with Pool(fake_codecs.whoami, 1) as pool:
        assert pool.step(0)
        assert pool.step(0.001)
        assert pool.patience() is None
        threading.Timer(0.05, pool.wake).start()
        assert not pool.step(None)


# --- what is forked --------------------------------------------------------------------------------------------

# Each program prints what it found. They have no threads, so workers are forked from a fork of them.
BEGINNING = """
import fcntl, os, signal, sys, threading, time
from dcmtx.pool import template, workers
from dcmtx.pool.workers import Pool

def jobs(pool, *tasks):
    for task in tasks:
        pool.submit(task)
    found = dict(pool.results(wait_for_all=True))
    return [found[task] for task in tasks]
"""
PROGRAMS: dict[str, tuple[str, str]] = {
    "it is a grandchild": (
        """
def look(_):
    return os.getppid(), os.getpgid(0)
with Pool(look, 2) as pool:
    ((parent, group),) = jobs(pool, "a")
    print(type(pool._server).__name__, parent == pool._server._begun.pid, group == os.getpgid(0), parent != os.getpid())
print(pool._server.broken)
""",
        "Template True True True\nTrue\n",
    ),
    "it holds no file, lock or standard input of its parent": (
        """
locked = open(sys.argv[1], "w")
fcntl.flock(locked, fcntl.LOCK_EX)
ours, theirs = os.pipe()
def look(_):
    fds = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sys.argv[1] in [os.readlink(fd) for fd in fds if os.path.exists(fd)], os.read(0, 10)
with Pool(look, 1) as pool:
    (found,) = jobs(pool, "a")
    os.close(theirs)
    locked.close()
    again = open(sys.argv[1], "w")
    fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print(*found, os.read(ours, 1))
""",
        "False b'' b''\n",
    ),
    "it has no handlers of its parent": (
        """
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGCHLD, lambda *_: None)
def look(_):
    return signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGCHLD), signal.getsignal(signal.SIGINT)
with Pool(look, 1) as pool:
    print([one.name for one in jobs(pool, "a")[0]])
""",
        "['SIG_DFL', 'SIG_DFL', 'SIG_IGN']\n",
    ),
    "a template that is killed is replaced, and the job done again": (
        """
def work(task):
    if task == "first" and not os.path.exists(sys.argv[1]):
        open(sys.argv[1], "w").close()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1000)
    return task
with Pool(work, 2) as pool:
    before = pool._server._begun.pid
    print(jobs(pool, "first", "second"), pool._server._begun.pid != before)
    print(jobs(pool, "third"))
""",
        "['first', 'second'] True\n['third']\n",
    ),
    "a process with threads is not forked": (
        """
before = threading.active_count()
hold = threading.Event()
threading.Thread(target=hold.wait, daemon=True).start()
pool = Pool(os.path.basename, 1)
print(type(pool._server).__name__)
with pool:
    print(jobs(pool, "a/b"))
hold.set()
""",
        "ForkServer\n['b']\n",
    ),
    "what ends a worker is known": (
        """
def end(task):
    if task == "exit":
        os._exit(7)
    os.kill(os.getpid(), task)
with Pool(end, 1) as pool:
    for error in jobs(pool, "exit", signal.SIGSEGV, signal.SIGKILL):
        print(error.code, error)
""",
        """\
E_CRASH the worker ended with status 7; only this file is affected
E_CRASH the worker was ended by SIGSEGV; only this file is affected
E_CRASH the worker was ended by SIGKILL; only this file is affected
""",
    ),
    "what cannot load its codecs is given up": (
        """
sys.path.insert(0, sys.argv[2])
workers._PRELOAD = ("it_kills",)
with Pool(os.path.basename, 2) as pool:
    try:
        jobs(pool, "a", "b")
    except Exception as error:
        print(error.code, error)
""",
        "E_CRASH no worker can be started: each was ended by SIGKILL\n",
    ),
    "many workers, one after the other, leave nothing open": (
        """
def end(task):
    os._exit(1) if task % 2 else None
with Pool(end, 3) as pool:
    jobs(pool, *range(6))
    places = ("/proc/self/fd", f"/proc/{pool._server._begun.pid}/fd")
    before = [len(os.listdir(place)) for place in places]
    jobs(pool, *range(60))
    # More or fewer workers may live than before, or begin: up to three.
    print([abs(len(os.listdir(place)) - count) <= 3 for place, count in zip(places, before)])
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("no child")
""",
        "[True, True]\nno child\n",
    ),
    "closed standard streams are no descriptors of the pool's": (
        """
out = os.dup(1)
for fd in (0, 1, 2):
    os.close(fd)
with Pool(os.path.basename, 1) as pool:
    found = jobs(pool, "a/b")
    os.write(out, f"{found} {pool._server._socket.fileno() > 2}".encode())
""",
        "['b'] True",
    ),
}


@need_proc
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no template")
@pytest.mark.parametrize(("program", "expected"), PROGRAMS.values(), ids=PROGRAMS.keys())
def test_of_a_worker_from_a_template(program: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "it_kills.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    line = [sys.executable, "-c", BEGINNING + program, os.fspath(tmp_path / "file"), os.fspath(tmp_path)]
    ran = subprocess.run(line, capture_output=True, text=True, cwd=TESTS, timeout=60, check=False)
    assert (ran.stdout, ran.stderr, ran.returncode) == (expected, "", 0)


@need_proc
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no template")
def test_a_template_that_loads_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "it_hangs.py").write_text(
        f"import os, time\nopen({os.fspath(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(1000)\n"
    )
    program = BEGINNING + (
        "sys.path.insert(0, sys.argv[1])\nworkers._PRELOAD = ('it_hangs',)\npool = Pool(len, 1)\ntime.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, os.fspath(tmp_path)], cwd=TESTS) as process:
        try:
            pid = int(wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
            process.send_signal(signal.SIGKILL)
            process.wait()
            wait_until(lambda: not _lives(pid))
        finally:
            process.kill()


def _lives(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
