"""An RLE encoder that crashes, hangs, eats memory or dawdles as the first pixel of a frame tells it to.

Run as a program it is `dcmtx` with this encoder preferred: multiprocessing runs the program anew in every worker, as it
does with any, so the encoder is registered there too. Imported by a test it changes nothing.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import resource
import sys
import time
from enum import IntEnum
from typing import Any

import dicom
import images
import numpy as np

# The same encoder, as one whose frames are coded by processes, for it holds Python's lock.
LOCKED = "fake-locked"
LOG = "FAKE_CODECS_LOG"
SECONDS = 0.1
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


class PanicException(BaseException):
    """What extensions written in Rust raise: not an Exception."""


def image(mood: int, number: int = 0, frames: int = 1) -> dicom.Image:
    """Return an image whose frames have this first pixel."""
    pixels = (mood.to_bytes(2, "little") + number.to_bytes(2, "little") * 63) * frames
    return dicom.Image(pixels, frames=frames, sop_instance=f"1.2.4.{mood}.{number}")


def encode(words: Any, *_: Any) -> bytes:
    """Return a frame as RLE, or do as it says."""
    mood = int(words.flat[0])
    _log("+")
    try:
        if mood == Mood.SEGFAULT:
            ctypes.string_at(0)
        elif mood == Mood.ABORT:
            os.abort()
        elif mood == Mood.EXIT:
            os._exit(0)
        elif mood == Mood.SLEEP:
            time.sleep(1000)
        elif mood == Mood.LOOP:
            sum(itertools.repeat(0, 10**15))
        elif mood == Mood.EAT:
            # Address space that is never touched: it is the limit that must stop it, not the machine.
            _ = [np.empty(_GIBIBYTE, np.uint8) for _ in range(200)]
        elif mood == Mood.RAISE:
            raise ValueError("I do not like this frame")
        elif mood == Mood.PANIC:
            raise PanicException("I never thought of this")
        elif mood == Mood.SLOW:
            time.sleep(SECONDS)
        return images.annex_g(_FRAME, words)
    finally:
        _log("-")


def _log(sign: str) -> None:
    """Say that a frame is begun or ended, if somebody wants to know."""
    if LOG in os.environ:
        with open(os.environ[LOG], "a", encoding="ascii") as file:
            file.write(sign)


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
    os.write(frame.f_locals["pipe"].fileno(), (1000).to_bytes(4, "big") + b"half")
    time.sleep(1000)


# --- the program -----------------------------------------------------------------------------------------------


def register() -> None:
    """Put this encoder before all others."""
    from dcmtx.codec.registry import Row
    from dcmtx.codec.table import ENCODERS

    row = Row((dicom.RLE,), "fake", "fake_codecs:encode", "dcmtx")
    locked = row.replace(backend=LOCKED, frees_lock=False)
    ENCODERS._rows = (row, locked, *ENCODERS._rows)


# In a worker the program's name is the second of these.
if __name__ in ("__main__", "__mp_main__"):
    register()

if __name__ == "__main__":
    from dcmtx.cli import main

    main()
