"""One piece of work in a forked child, so that this process survives what a native codec does to it.

The child is forked before anything heavy is loaded, so that it costs a few milliseconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from dcmtx.errors import CodecError, ExitStatus
from dcmtx.signals import ENDING, handle_signals, run_exit_functions

if TYPE_CHECKING:
    from types import FrameType

_ENDED = "the process that converted it ended with status {}: a codec ended it"
_TASKS = "/proc/self/task"
# True in a process that is isolated already: a child of `run`, or a job of the server.
_isolated = False


def mark() -> None:
    """Say that this process is isolated already."""
    global _isolated  # noqa: PLW0603 - a property of the process
    _isolated = True


def is_possible() -> bool:
    """Tell whether `run` would isolate, and may: there are no other threads, and this process is not isolated yet."""
    try:
        return not _isolated and hasattr(os, "fork") and len(os.listdir(_TASKS)) == 1
    except OSError:
        return False


def run(work: Callable[[], int]) -> int:
    """Do work in a child and return its exit status. The signals that end this process are passed on to it.

    Whatever is buffered for a stream must be written before. The child is killed when this process dies. Raises
    CodecError, E_CRASH, if the child ends otherwise than by the end of the work.
    """
    watched, held = os.pipe()
    result, given = os.pipe()
    before = [(number, signal.getsignal(number)) for number in ENDING]
    # A signal between the fork and the handler would end this process and leave the child.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    child = os.fork()
    if child == 0:
        os.close(held)
        os.close(result)
        _be(work, watched, given)
    os.close(watched)
    os.close(given)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number, handler in before:
        if handler is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    try:
        _, status = os.waitpid(child, 0)
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        os.close(held)
        said = os.read(result, 1)
        os.close(result)
    code = os.waitstatus_to_exitcode(status)
    # A codec may have ended the process, and then its status is nobody's word.
    if said or code - 128 in ENDING:
        return code
    raise CodecError(_ended_by(-code) if code < 0 else _ENDED.format(code), code="E_CRASH")


def _ended_by(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL:
        return f"the process that converted it was killed ({name}), by lack of memory most likely"
    return f"the process that converted it was ended by {name}: a codec crashed"


def _be(work: Callable[[], int], watched: int, given: int) -> NoReturn:
    """Do the work in the child, and exit."""
    status: int = ExitStatus.BUG
    try:
        mark()
        _die_with(watched)
        handle_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        status = work()
        _leave()
        os.write(given, b"!")
    except BaseException:  # noqa: BLE001 - as at the top level of any process
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _die_with(watched: int) -> None:
    """Have the kernel end this process when the other end of a pipe is closed, whatever it does then.

    What SIGIO does by default is to end the process; no handler must run, since a codec may hang.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(watched, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(watched, fcntl.F_SETFL, fcntl.fcntl(watched, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    # It may have been closed before that.
    with contextlib.suppress(BlockingIOError):
        os._exit(ExitStatus.BUG) if not os.read(watched, 1) else None


def _leave() -> None:
    """Do what Python does at the end of a process, but for its streams, which are the work's."""
    with contextlib.suppress(Exception):
        run_exit_functions()
