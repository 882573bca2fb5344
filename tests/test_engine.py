"""Frames on several cores: whatever becomes of those who code them, it is one line with status 6."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import dicom
import numpy as np
import pytest
from conftest import ROOT, Ran, old_file

from dcmtx import transcode
from dcmtx.errors import CodecError
from dcmtx.transcoding import engine

Command = Callable[..., Ran]

FRAMES = 12
PIXELS = np.arange(FRAMES * 64, dtype="<u2").tobytes()


class Planted(Executor):
    """An executor that does all at once, until something befalls it: `at` the submission of that number."""

    def __init__(self, at: int, error: Exception) -> None:
        self.at = at
        self.error = error
        self.closed = False

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        if self.at == 0:
            raise self.error
        self.at -= 1
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **named))
        return future

    def shutdown(self, *_: Any, **__: Any) -> None:
        self.closed = True


ERRORS = {
    "a process that was killed": (BrokenProcessPool("A process was terminated abruptly"), "E_CRASH", "unexpectedly"),
    "no more processes": (BlockingIOError(11, "Resource temporarily unavailable"), "E_CODEC", "temporarily"),
    "no more memory": (OSError(12, "Cannot allocate memory"), "E_CODEC", "Cannot allocate memory"),
    "no more threads": (RuntimeError("can't start new thread"), "E_CODEC", "can't start new thread"),
}


@pytest.mark.parametrize(("error", "code", "says"), ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("at", [0, 1, FRAMES - 1], ids=["first", "second", "last"])
def test_a_frame_that_cannot_be_submitted_is_status_6(
    at: int, error: Exception, code: str, says: str, src: Path, dst: Path, fails: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = Planted(at, error)
    monkeypatch.setattr(engine, "_pool", lambda work, *_: engine._Workers(planted, work.code))
    src.write_bytes(dicom.Image(PIXELS, 8, 8, frames=FRAMES).encode())
    old_file(dst)
    line = fails(6, src, dst, "--to", "rle", "-j", "3")
    assert line.startswith(f"dcmtx: {src}: ")
    assert says in line
    assert planted.closed
    planted.at = at
    with pytest.raises(CodecError) as raised:
        transcode(src, dst, to="rle", workers=3)
    assert raised.value.code == code


def test_without_an_error_it_is_converted_by_that_executor(
    src: Path, dst: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = Planted(FRAMES, RuntimeError("more frames than there are"))
    monkeypatch.setattr(engine, "_pool", lambda work, *_: engine._Workers(planted, work.code))
    src.write_bytes(dicom.Image(PIXELS, 8, 8, frames=FRAMES).encode())
    assert command(src, dst, "--to", "rle", "-j", "3") == Ran(0, "", "")
    assert (planted.at, planted.closed) == (0, True)


# A real process is killed, and the next frame is submitted only once its pool knows.
KILLED = """
import os, signal, time
from dcmtx.transcoding import engine
from dcmtx.pool import children
from dcmtx.errors import CodecError

pools = []
real = children.fork_pool
def fork_pool(*arguments):
    pool, function = real(*arguments)
    pools.append(pool)
    return pool, function
children.fork_pool = fork_pool

class Work:
    batch, processes = 1, True
    def code(self, numbers):
        os.kill(os.getpid(), signal.SIGKILL)
    def close(self):
        pass

def cores():
    until = time.monotonic() + 30
    while pools and not pools[0]._broken and time.monotonic() < until:
        time.sleep(0.001)
    return 4

try:
    print(list(engine.run(Work(), 9, 4, cores)))
except CodecError as error:
    print(error.code, error.status, type(error.__cause__).__name__, len(pools))
"""


def test_a_process_that_is_killed_before_the_next_frame_is_submitted() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("E_CRASH 6 BrokenProcessPool 1\n", "", 0)
