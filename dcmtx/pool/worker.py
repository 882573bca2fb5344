"""The worker's side of a pool: a process that does one job at a time, until its pipe is closed."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from dcmtx.errors import CodecError, DcmtxError, Stopped

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_PR_SET_PDEATHSIG = 1
# What a worker says when it can take its first job.
READY = "ready"

# Set in each worker when it starts.
_share: Any = None
_busy = False


def cores() -> int:
    """Return how many cores a job in this worker may use now: its share of those that the pool was given.

    One while there is a job for every worker; more as the last jobs run out.
    """
    return 1 if _share is None else int(_share.value)


def serve(pipe: Connection, function: Callable[[Any], Any], share: Any, memory: int, modules: Sequence[str]) -> None:
    """Make this process a worker, say that it is ready, and do jobs until the pipe is closed.

    `share.value` is how many cores a job may use, `memory` how many bytes of address space the process may have;
    `modules` are imported first.
    """
    _start(share, memory, modules)
    with contextlib.suppress(EOFError, OSError):
        pipe.send(READY)
        while True:
            pipe.send(_perform(function, pipe.recv()))


def _start(share: Any, memory: int, modules: Sequence[str]) -> None:
    """Make a fresh process a worker."""
    global _share  # noqa: PLW0603 - a worker is one per process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
    die_with_parent()
    limit_memory(memory)
    _share = share
    for module in modules:
        __import__(module)


def limit_memory(memory: int) -> None:
    """Allow this process so many bytes of address space, or fewer where it has a limit already: none is ever raised."""
    # Some systems know the limit and cannot set it (macOS): a worker without one is better than none.
    with contextlib.suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        limits = [limit for limit in (memory, soft, hard) if limit not in (0, resource.RLIM_INFINITY)]
        if limits:
            resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))


def die_with_parent() -> None:
    """Have the kernel end this process if the one that it was forked from dies (Linux only).

    By force: a codec that hangs answers no other signal. What it was writing is removed by the next run.
    """
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(_number: int, _frame: FrameType | None) -> None:
    """Answer SIGTERM: unwind the job, so that it removes its temporary file, or go at once if there is none."""
    if _busy:
        raise Stopped
    os._exit(128 + signal.SIGTERM)


def _perform(function: Callable[[Any], Any], task: Any) -> Any:
    """Do one job in a worker, and return its result, or the error that it came to."""
    global _busy  # noqa: PLW0603 - a worker has one job at a time
    _busy = True
    try:
        return function(task)
    except Stopped:
        os._exit(128 + signal.SIGTERM)
    except DcmtxError as error:
        return error
    except MemoryError:
        return CodecError("the worker ran out of memory; only this file is affected", code="E_MEMORY")
    except BaseException as error:  # noqa: BLE001 - whatever a job raised, the batch goes on
        return DcmtxError(f"a bug in dcmtx: {type(error).__name__}: {error}; please report it")
    finally:
        _busy = False
