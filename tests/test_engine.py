"""Frames on several cores: whatever becomes of those who code them, it is one line with status 6."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import dicom
import numpy as np
import pytest
from conftest import PATIENCE, ROOT, Ran, old_file

from dcmtx import transcode
from dcmtx.errors import CodecError, DcmtxError, VerifyError
from dcmtx.transcoding import engine
from dcmtx.transcoding.coders import Asking, Steps
from dcmtx.transcoding.encoded import EncodedFrame

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


# --- the last frames, step by step -------------------------------------------------------------------------------


class Stepwise:
    """Work on frames of two steps, which notes what was done, and begins when all frames were submitted."""

    batch = 1
    processes = False

    def __init__(self, *, failing: dict[str, BaseException] | None = None) -> None:
        self.done: list[str] = []
        self.whole: list[int] = []
        self.all_there = threading.Event()
        self._failing = failing or {}

    def begin(self, number: int) -> Steps:
        return Steps(number, self._steps(number))

    def _steps(self, number: int) -> Asking:
        for step in ("encode", "verify"):
            yield Noting(self.done, f"{step} {number}", self._failing, self.all_there), number
        return EncodedFrame(bytes([number]))

    def code(self, numbers: list[int]) -> list[EncodedFrame | DcmtxError]:
        self.whole += numbers
        return [EncodedFrame(bytes(numbers))]

    def warm(self) -> None:
        pass

    def close(self) -> None:
        pass


class Noting:
    """A coder that notes that it was called."""

    def __init__(
        self, done: list[str], what: str, failing: dict[str, BaseException], all_there: threading.Event
    ) -> None:
        self._done, self._what, self._failing, self._all_there = done, what, failing, all_there

    def one(self, frame: int) -> int:
        assert self._all_there.wait(PATIENCE)
        self._done.append(self._what)
        if self._what in self._failing:
            raise self._failing[self._what]
        return frame


def with_one_thread(work: Stepwise, frames: int, cores: int, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Have frames coded as on several cores, by one thread, so that there is an order."""

    class Pool(ThreadPoolExecutor):
        def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
            submitted = super().submit(function, *arguments, **named)
            self.count = getattr(self, "count", 0) + 1
            if self.count == frames:
                work.all_there.set()
            return submitted

    monkeypatch.setattr(engine, "_pool", lambda *_: engine._Workers(Pool(1), work.code, work.begin))
    return [bytes(frame.data) for frame in engine.run(work, frames, cores, lambda: cores)]


def test_a_core_that_finds_no_frame_verifies_one_that_another_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Stepwise()
    assert with_one_thread(work, 3, 2, monkeypatch) == [b"\0", b"\1", b"\2"]
    assert work.done == [f"{step} {number}" for step in ("encode", "verify") for number in range(3)]
    assert work.whole == []


def test_of_many_frames_only_the_last_are_done_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Stepwise()
    work.all_there.set()
    assert with_one_thread(work, 50, 2, monkeypatch) == [bytes([number]) for number in range(50)]
    assert work.whole == list(range(46))


@pytest.mark.parametrize("step", ["encode", "verify"])
def test_a_step_that_fails_names_its_frame(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Stepwise(failing={f"{step} 1": VerifyError("it differs")})
    with pytest.raises(VerifyError) as raised:
        with_one_thread(work, 3, 2, monkeypatch)
    assert raised.value.frame == 1


def test_a_bug_in_a_step_is_raised_where_the_frame_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Stepwise(failing={"encode 0": ZeroDivisionError()})
    with pytest.raises(ZeroDivisionError):
        with_one_thread(work, 3, 2, monkeypatch)


def test_frames_that_are_copied_or_rewrapped_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.dcm").write_bytes(dicom.Image(PIXELS, 8, 8, frames=FRAMES).encode())
    for target in ("rle", "jpegls", "j2k"):
        transcode(tmp_path / "in.dcm", tmp_path / f"{target}.dcm", to=target)
    monkeypatch.setattr("dcmtx.transcoding.coders.Coder.one", None)
    monkeypatch.setattr("dcmtx.transcoding.coders.Coder.code", None)
    for target in ("rle", "jpegls", "j2k"):
        transcode(tmp_path / f"{target}.dcm", tmp_path / "copy.dcm", to=target)
        outcome = transcode(tmp_path / f"{target}.dcm", tmp_path / "new.dcm", to=target, offset_table="extended")
        assert outcome.frames == FRAMES
    with pytest.raises(TypeError):
        transcode(tmp_path / "rle.dcm", tmp_path / "raw.dcm", to="explicit")


# Which allocator options are set is seen in place of ctypes, whose library is not asked.
SETTINGS = """
import ctypes, sys
from dcmtx import transcode
asked = []
class Library:
    def __init__(self, name): pass
    def mallopt(self, option, value): asked.append(option)
import numpy
ctypes.CDLL = Library
if sys.argv[1] == "own":
    from dcmtx.signals import handle_signals
    handle_signals()
transcode(sys.argv[2], sys.argv[3], to="rle")
print(sorted(asked))
"""


@pytest.mark.parametrize(("whose", "options"), [("own", [-3, -1]), ("another", [])])
def test_the_allocator_is_tuned_in_no_program_that_uses_the_library(
    whose: str, options: list[int], tmp_path: Path
) -> None:
    (tmp_path / "in.dcm").write_bytes(dicom.Image(PIXELS, 8, 8, frames=FRAMES).encode())
    words = [whose, tmp_path / "in.dcm", tmp_path / "out.dcm"]
    ran = subprocess.run([sys.executable, "-c", SETTINGS, *words], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{options}\n"
