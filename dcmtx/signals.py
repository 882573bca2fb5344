"""Signals that end the program. Few imports, because the handlers are installed before slow modules load."""

from __future__ import annotations

# What stands behind `signal`, which makes enumerations of all its numbers: a millisecond of every start.
import _signal  # type: ignore[import-not-found]
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_PR_SET_PDEATHSIG = 1
ENDING = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)
_is_own = False


def handle_signals() -> None:
    """Make ending signals remove this process's temporary files first. Ignored signals stay ignored.

    Only for a process of dcmtx's own, not for a program that uses it as a library.
    """
    global _is_own  # noqa: PLW0603 - a property of the process
    _is_own = True
    for number in ENDING:
        if _signal.getsignal(number) in (_signal.SIG_DFL, _signal.default_int_handler):
            _signal.signal(number, _end)


def is_own_process() -> bool:
    """Tell whether this process is dcmtx, not a program that uses it."""
    return _is_own


def _end(number: int, _frame: FrameType | None) -> None:
    """Clean up and exit. Nothing is unwound, because the interrupted code may hold locks."""
    try:
        _leave_nothing()
    finally:
        # Even if the cleanup fails, exit with the status and no traceback.
        os._exit(128 + number)


def _leave_nothing() -> None:
    # The module may be only partly loaded; then no temporary file exists.
    abandon = getattr(sys.modules.get("dcmtx.place.temporary"), "abandon", None)
    if abandon is not None:
        abandon()
    bar = getattr(sys.modules.get("dcmtx.cli"), "bar", None)
    if bar is not None:
        bar.take_away()


def run_exit_functions() -> None:
    """Do what was registered for the end of this process, which is going to end at once."""
    import atexit

    atexit._run_exitfuncs()  # noqa: SLF001 - multiprocessing does the same in its children


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies (Linux only).

    SIGKILL, because a hanging codec reacts to no other signal. The next run removes its temporary file.
    """
    if sys.platform == "linux":
        import contextlib
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _signal.SIGKILL)
