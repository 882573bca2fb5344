"""The worker's side of a pool: a process that runs one job at a time, until its pipe is closed.

A job may leave it to the worker to put its file in place, by returning a `Later`. Then the next job runs meanwhile.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import resource
import signal
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from dcmtx.errors import CodecError, DcmtxError, Stopped
from dcmtx.pool.machine import keep_freed_memory
from dcmtx.record import Record
from dcmtx.signals import die_with_parent

if TYPE_CHECKING:
    from dcmtx.place.temporary import Unplaced
    from dcmtx.pool.committer import Committer, Fate
    from dcmtx.pool.pipe import Pipe

# A worker sends this when it can take its first job.
READY = "ready"
# The status of a worker that ended as SIGTERM asked.
_ENDED = 128 + signal.SIGTERM

# Set in each worker when it starts.
_share: Any = None
_busy = False
_stopping = False
_committer: Committer | None = None


class Later(Record):
    """The result of a job whose file is complete but not in place.

    `finish` makes the final result of this one and what became of the file. It must be picklable, as `result` must.
    """

    file: Unplaced
    result: Any
    finish: Callable[[Any, Fate], Any]


class Written(Record):
    """A message of a worker: the file of its job is complete, the worker is free, and the result will follow."""

    number: int
    later: Later


class Hurry(Record):
    """A message to a worker: no job follows for now, so that files in place should be reported at once."""


class Placed(Record):
    """A message of a worker: what became of files, by number."""

    fates: list[tuple[int, Fate]]


def settle() -> None:
    """Wait until no other thread of this worker runs, and all files are in place."""
    if _committer is not None:
        _committer.settle()


def cores() -> int:
    """Return how many cores a job in this worker may use now: its share of the pool's cores.

    One while every worker has a job; more when the last jobs run out. Raises Stopped if the job was to end, and code
    that it called caught that.
    """
    if _stopping:
        raise Stopped
    return 1 if _share is None else int(_share.value)


def serve(pipe: Pipe, function: Callable[[Any], Any], share: Any, memory: int, modules: Sequence[str]) -> None:
    """Make this process a worker, report that it is ready, and run jobs until the pipe is closed, or SIGTERM comes.

    `share.value` is how many cores a job may use, `memory` the most bytes of address space; `modules` are imported
    first.
    """
    _start(share, memory, modules)
    send = _sender(pipe)
    _start_committer(send)
    number = 0
    # Stopped: the signal came between the end of a job and what is noted of it.
    with contextlib.suppress(EOFError, OSError, Stopped):
        send(READY)
        while not _stopping:
            task = pipe.receive()
            if isinstance(task, Hurry):
                _hurry()
                continue
            result = _perform(function, task)
            if isinstance(result, Later):
                number += 1
                _hand_over(number, result, send)
            else:
                send(result)
    if _stopping:
        os._exit(_ENDED)


def _sender(pipe: Pipe) -> Callable[[Any], None]:
    """Return the function that sends messages, which several threads may call."""
    lock = _thread.allocate_lock()

    def send(message: Any) -> None:
        with lock:
            pipe.send(message)

    return send


def _start_committer(send: Callable[[Any], None]) -> None:
    from dcmtx.pool.committer import Committer

    global _committer  # noqa: PLW0603 - one worker per process

    def report(fates: list[tuple[int, Fate]]) -> None:
        # If the parent is gone, nobody waits for it.
        with contextlib.suppress(OSError):
            send(Placed(fates))

    _committer = Committer(report)


def _hurry() -> None:
    if _committer is not None:
        _committer.hurry()


def _hand_over(number: int, later: Later, send: Callable[[Any], None]) -> None:
    """Report a finished file, and leave it to the committer."""
    assert _committer is not None
    _committer.make_room(later.file.size)
    # Before the file can be in place, so that the parent knows of it whatever happens to this process.
    send(Written(number, later))
    _committer.add(number, later.file)


def _start(share: Any, memory: int, modules: Sequence[str]) -> None:
    """Make a fresh process a worker."""
    global _share  # noqa: PLW0603 - one worker per process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
    die_with_parent()
    limit_memory(memory)
    keep_freed_memory()
    _share = share
    for module in modules:
        __import__(module)


def limit_memory(memory: int) -> None:
    """Limit the address space of this process to so many bytes. An existing lower limit stays."""
    # macOS knows the limit but cannot set it; a worker without a limit is better than none.
    with contextlib.suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        limits = [limit for limit in (memory, soft, hard) if limit not in (0, resource.RLIM_INFINITY)]
        if limits:
            resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))


def _end(_number: int, _frame: FrameType | None) -> None:
    """Handle SIGTERM: unwind the job, so that it removes its temporary file, or exit at once if there is no job."""
    global _stopping  # noqa: PLW0603 - a property of the process
    _stopping = True
    if _busy:
        raise Stopped
    os._exit(_ENDED)


def _perform(function: Callable[[Any], Any], task: Any) -> Any:
    """Run one job, and return its result or its error."""
    global _busy  # noqa: PLW0603 - a worker has one job at a time
    _busy = True
    try:
        return function(task)
    except Stopped:
        os._exit(_ENDED)
    except DcmtxError as error:
        return error
    except MemoryError:
        return CodecError("the worker ran out of memory; only this file is affected", code="E_MEMORY")
    except BaseException as error:  # noqa: BLE001 - whatever a job raised, the batch goes on
        return DcmtxError(f"a bug in dcmtx: {type(error).__name__}: {error}; please report it")
    finally:
        _busy = False
