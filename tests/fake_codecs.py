"""An RLE encoder that crashes, hangs, eats memory or waits as the first pixel of a frame tells it to.

So that no test depends on how fast a machine is, a Stage tells what has come to pass in all processes, lets frames wait
for the test, and has a clock that only frames move.

Run as a program it is `dcmtx` with this encoder preferred: multiprocessing runs the program anew in every worker, as it
does with any, so the encoder is registered there too. Imported by a test it changes nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import json
import operator
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn

import dicom
import images
import numpy as np

# The same encoder, as one whose frames are coded by processes, for it holds Python's lock.
LOCKED = "fake-locked"
STAGE = "FAKE_CODECS_STAGE"
# What a slow frame takes of the stage's time, and of real time.
SECONDS = 0.1
# What a frame that hangs takes of the stage's time.
AGES = 10_000
_GIBIBYTE = 1 << 30
_FRAME = images.Format("MONOCHROME2", 16, 16)


class Mood(IntEnum):
    """What becomes of a frame with this first pixel; any other is encoded at once."""

    SEGFAULT = 0xF001
    ABORT = 0xF002
    EXIT = 0xF003
    SLEEP = 0xF004
    LOOP = 0xF005  # in native code that holds Python's lock and lets no signal handler run
    EAT = 0xF006
    RAISE = 0xF007
    PANIC = 0xF008
    SLOW = 0xF009
    HELD = 0xF00A  # waits until the stage admits it
    MEET = 0xF00B  # waits for others, until as many as the stage wants are under way at once


class PanicException(BaseException):
    """What extensions written in Rust raise: not an Exception."""


def image(mood: int, number: int = 0, frames: int = 1) -> dicom.Image:
    """Return an image whose frames have this first pixel."""
    pixels = (mood.to_bytes(2, "little") + number.to_bytes(2, "little") * 63) * frames
    return dicom.Image(pixels, frames=frames, sop_instance=f"1.2.4.{mood}.{number}")


class Stage:
    """A directory through which a test and the encoder, in whatever process, know of one another.

    Each file in it counts something by its size. `environment` takes a test's wishes. `meeting`: how many frames of
    Mood.MEET are to be under way at once. `clock`: that workers are timed by the stage's clock. `after`: the path of a
    report that must not be empty before a frame that hangs moves that clock. `grace`: how many seconds workers are
    given to end.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def environment(self, **wishes: Any) -> dict[str, str]:
        """Return the environment of a program that uses this stage."""
        (self.directory / "wishes").write_text(json.dumps(wishes), "utf-8")
        return os.environ | {STAGE: os.fspath(self.directory)}

    def wish(self, name: str) -> Any:
        """Return what a test wishes."""
        return json.loads((self.directory / "wishes").read_text("utf-8")).get(name)

    def count(self, name: str, signs: bytes = b".") -> int:
        """Count something, and return which it is, from 1."""
        with open(self.directory / name, "ab", buffering=0) as file:
            file.write(signs)
            return file.tell()

    def counted(self, name: str) -> int:
        """Return how many were counted until now."""
        try:
            return (self.directory / name).stat().st_size
        except FileNotFoundError:
            return 0

    def admit(self, frames: int = 1_000_000) -> None:
        """Let so many more held frames through."""
        with open(self.directory / "admitted", "ab") as file:
            file.truncate(self.counted("admitted") + frames)

    @property
    def waiting(self) -> int:
        """How many held frames wait for more to be admitted: one that may go, and has not gone yet, is none."""
        return max(0, self.counted("held") - self.counted("admitted"))

    def hold(self) -> None:
        """Wait to be admitted."""
        turn = self.count("held")
        while self.counted("admitted") < turn:
            time.sleep(0.005)

    def meet(self) -> None:
        """Wait until enough are under way; not for ever, for it may be that no other can come before this one ends."""
        until = time.monotonic() + 1
        while not self.counted("met") and time.monotonic() < until:
            if self.under_way()[1] >= (self.wish("meeting") or 1):
                self.count("met")
            time.sleep(0.005)

    def under_way(self) -> tuple[int, int]:
        """Return how many frames are being coded, and how many were at most."""
        now = most = 0
        signs = (self.directory / "log").read_text("ascii") if self.counted("log") else ""
        for sign in signs:
            now += 1 if sign == "+" else -1
            most = max(most, now)
        return now, most

    def monotonic(self) -> float:
        """Return the time, in seconds."""
        return self.counted("clock") * SECONDS

    def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self.count("clock", b"." * round(seconds / SECONDS))

    def pass_ages(self) -> None:
        """Move the clock by more than any file may take, once those are told of that must not be late."""
        report = self.wish("after")
        while report is not None and not os.path.getsize(report):
            time.sleep(0.005)
        self.pass_time(AGES)


def stage() -> Stage | None:
    """Return the stage that this process is on, if there is one."""
    return Stage(Path(os.environ[STAGE])) if STAGE in os.environ else None


def encode(words: Any, *_: Any) -> bytes:
    """Return a frame as RLE, or do as it says."""
    on = stage()
    if on is None:
        return _encode(words, None)
    on.count("log", b"+")
    try:
        return _encode(words, on)
    finally:
        on.count("log", b"-")


def _encode(words: Any, on: Stage | None) -> bytes:
    mood = int(words.flat[0])
    if mood == Mood.LOOP:
        # From here on, not only from when the native code is reached: what the stage is told must be so.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    if on is not None and mood in ON_STAGE:
        ON_STAGE[mood](on)
    if mood in ANYWHERE:
        ANYWHERE[mood]()
    return images.annex_g(_FRAME, words)


def _raise(error: BaseException) -> NoReturn:
    raise error


# What frames do where a test watches, and what they do anyway.
ON_STAGE: dict[int, Callable[[Stage], None]] = {
    Mood.SLEEP: Stage.pass_ages,
    Mood.LOOP: Stage.pass_ages,
    Mood.SLOW: lambda on: on.pass_time(SECONDS),
    Mood.HELD: Stage.hold,
    Mood.MEET: Stage.meet,
}
ANYWHERE: dict[int, Callable[[], object]] = {
    Mood.SEGFAULT: lambda: ctypes.string_at(0),
    Mood.ABORT: os.abort,
    Mood.EXIT: lambda: os._exit(0),
    Mood.SLEEP: lambda: time.sleep(1000),
    Mood.LOOP: lambda: sum(itertools.repeat(0, 10**15)),
    # Address space that is never touched: it is the limit that must stop it, not the machine.
    Mood.EAT: lambda: [np.empty(_GIBIBYTE, np.uint8) for _ in range(200)],
    Mood.RAISE: lambda: _raise(ValueError("I do not like this frame")),
    Mood.PANIC: lambda: _raise(PanicException("I never thought of this")),
    Mood.SLOW: lambda: time.sleep(SECONDS),
}


# --- jobs for a pool -------------------------------------------------------------------------------------------


def whoami(_: Any) -> int:
    """Return the worker's process."""
    return os.getpid()


def is_loaded(module: str) -> bool:
    """Tell whether a module is imported already."""
    return module in sys.modules


def memory(_: Any) -> int:
    """Return how much address space the worker may have."""
    return resource.getrlimit(resource.RLIMIT_AS)[0]


def limits(_: Any) -> tuple[int, int]:
    """Return the soft and the hard limit of the worker's address space."""
    return resource.getrlimit(resource.RLIMIT_AS)


def half_an_answer(_: Any) -> None:
    """Begin to answer, and never end."""
    frame: Any = sys._getframe()
    while "pipe" not in frame.f_locals:
        frame = frame.f_back
    os.write(frame.f_locals["pipe"].fileno(), (1000).to_bytes(8, "big") + b"half")
    time.sleep(1000)


def fold(_: Any) -> str:
    """Fold a constant while SIGTERM is pending: nothing of Python runs between these two."""
    list(map(operator.call, (_terminate, functools.partial(compile, "10**15", "", "eval"))))
    return "it went on"


def swallow(_: Any) -> int:
    """Drop the exception of SIGTERM, as foreign code may, and go on with the next frame."""
    from dcmtx.pool import worker

    with contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)
    return worker.cores()


def finish(_: Any) -> str:
    """Drop the exception of SIGTERM, and be done."""
    with contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)
    return "done"


_terminate = functools.partial(ctypes.pythonapi.PyErr_SetInterruptEx, signal.SIGTERM)


# --- the program -----------------------------------------------------------------------------------------------


def register() -> None:
    """Put this encoder before all others."""
    from dcmtx.codec.row import OWN, Row, Runs
    from dcmtx.codec.table import ENCODERS

    row = Row((dicom.RLE,), "fake", "fake_codecs:encode")
    ENCODERS.add([row, row.replace(backend=LOCKED, runs=Runs.PROCESSES)], OWN, preferred=True)


def play() -> None:
    """Have dcmtx wait for workers by the clock of the stage, and be as patient as the test wishes."""
    on = stage()
    if on is None:
        return
    import types

    from dcmtx.pool import workers

    if on.wish("clock"):
        workers.time = types.SimpleNamespace(monotonic=on.monotonic)
    if (grace := on.wish("grace")) is not None:
        workers._GRACE_SECONDS = grace


# In a worker the program's name is the second of these.
if __name__ in ("__main__", "__mp_main__"):
    register()

if __name__ == "__main__":
    play()
    from dcmtx.cli import main

    main()
