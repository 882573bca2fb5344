"""Worker processes that survive what native codecs do to them: a crash, an abort, a hang, an explosion of memory.

A pool of processes takes jobs; the one whose worker dies is reported, and another worker takes its place. Workers are
forked from a server that has the codecs loaded, so a new one starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import queue
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, Generic, TypeVar

from dcmtx.errors import CodecError, DcmtxError

_PRELOAD = ("dcmtx.transcoding", "dcmtx.nested", "dcmtx.encoding", "imagecodecs", "numpy")
_IN_FLIGHT_PER_WORKER = 3
_PR_SET_PDEATHSIG = 1
# What one worker may take, at least: less than this and large frames fail for no reason of theirs.
_LEAST_MEMORY = 2 << 30

Task = TypeVar("Task")
Result = TypeVar("Result")


class Stopped(BaseException):
    """The worker was asked to end while it had a job."""


# Set in each worker when it starts.
_share: Any = None
_busy = False


def cores() -> int:
    """Return how many cores a job in this worker may use now: its share of those that the pool was given.

    One while there is a job for every worker; more as the last jobs run out.
    """
    return 1 if _share is None else int(_share.value)


def memory_per_worker(workers: int) -> int:
    """Return how many bytes of address space each worker may have: its share of the machine's memory, or enough."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(_LEAST_MEMORY, int(total * 0.8) // workers)


def _start_worker(share: Any, memory: int, modules: Sequence[str]) -> None:
    """Make a fresh process a worker."""
    global _share  # noqa: PLW0603 - a worker is one per process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    _die_with_parent()
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    _share = share
    for module in modules:
        __import__(module)


def _end(_number: int, _frame: FrameType | None) -> None:
    """Answer SIGTERM: unwind the job, so that it removes its temporary file, or go at once if there is none."""
    if _busy:
        raise Stopped
    os._exit(128 + signal.SIGTERM)


def _die_with_parent() -> None:
    """Have the kernel end this process if the one that it was forked from dies (Linux only)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _perform(function: Callable[[Any], Any], task: Any) -> Any:
    """Do one job in a worker."""
    global _busy  # noqa: PLW0603 - a worker has one job at a time
    _busy = True
    try:
        return function(task)
    except Stopped:
        os._exit(128 + signal.SIGTERM)
    finally:
        _busy = False


class Pool(Generic[Task, Result]):
    """Runs jobs on `workers` processes. `function` and what it takes and returns must be picklable.

    `timeout` is in seconds per job. `modules` are imported by every worker first: those that register codecs, say.
    Use as a context manager: leaving it by an exception stops the workers at once.
    """

    def __init__(
        self,
        function: Callable[[Task], Result],
        workers: int,
        *,
        timeout: float | None = None,
        modules: Sequence[str] = (),
        memory: int | None = None,
    ) -> None:
        from pebble import ProcessPool

        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_PRELOAD))
        self._function = function
        self._timeout = timeout
        self._workers = workers
        self._under_way: dict[Any, Task] = {}
        self._share: Any = context.Value("i", 1, lock=False)
        limit = memory_per_worker(workers) if memory is None else memory
        self._pool = ProcessPool(
            max_workers=workers,
            context=context,
            initializer=_start_worker,
            initargs=(self._share, limit, tuple(modules)),
        )
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __enter__(self) -> Pool[Task, Result]:
        """Start."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Wait for the workers, or stop them if something went wrong."""
        if kind is not None:
            self.stop()
        self._pool.close()  # type: ignore[no-untyped-call]
        self._pool.join()

    def stop(self) -> list[Task]:
        """End the workers at once, and return the jobs that were not done."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()
        unfinished = list(self._under_way.values())
        self._under_way.clear()
        return unfinished

    def submit(self, task: Task) -> None:
        """Have a job done."""
        future = self._pool.schedule(_perform, args=(self._function, task), timeout=self._timeout)
        self._under_way[future] = task
        self._share_out()
        future.add_done_callback(self._done.put)

    def results(self, *, wait_for_all: bool = False) -> Iterator[tuple[Task, Result | DcmtxError]]:
        """Yield jobs that are done with their result, or the error that they came to.

        Waits while more jobs are under way than keep the workers busy, or until all are done.
        """
        limit = 1 if wait_for_all else self._workers * _IN_FLIGHT_PER_WORKER
        while len(self._under_way) >= limit or not self._done.empty():
            future = self._done.get()
            if future is None:
                return
            task = self._under_way.pop(future)
            self._share_out()
            yield task, self._result(future)

    def wake(self) -> None:
        """Have `results` return at once; may be called from a signal handler."""
        self._done.put(None)

    def _share_out(self) -> None:
        """Let the running jobs have the cores that no other job needs."""
        running = min(max(len(self._under_way), 1), self._workers)
        self._share.value = self._workers // running

    def _result(self, future: Any) -> Result | DcmtxError:
        from concurrent.futures import TimeoutError as TimedOut

        from pebble import ProcessExpired

        try:
            result: Result = future.result()
        except DcmtxError as error:
            return error
        except TimedOut:
            return CodecError(f"it took longer than the {self._timeout:g} s that --timeout allows", code="E_TIMEOUT")
        except ProcessExpired as error:
            return CodecError(f"the worker {_cause(error.exitcode)}; only this file is affected", code="E_CRASH")
        except Exception as error:  # noqa: BLE001 - whatever a job raised, the batch goes on
            return DcmtxError(f"a bug in dcmtx: {type(error).__name__}: {error}; please report it")
        return result


def _cause(status: int | None) -> str:
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"


# --- children that code frames of one file ---------------------------------------------------------------------


def may_fork() -> bool:
    """Tell whether processes can be forked safely: from one that has no other threads and may have children."""
    if multiprocessing.current_process().daemon or threading.active_count() > 1:
        return False
    return "fork" in multiprocessing.get_all_start_methods()


# What the children of this process do: they are forked with it in their memory, for it cannot be sent.
_forked_work: Callable[[int], Any] | None = None


def fork_pool(work: Callable[[int], Any], most: int) -> tuple[Any, Callable[[int], Any]]:
    """Return a pool of processes forked from this one, and the function to submit to it in the place of `work`.

    What `work` returns must be picklable once its `data` is bytes.
    """
    from concurrent.futures import ProcessPoolExecutor

    global _forked_work  # noqa: PLW0603 - what a child is forked with is global to it
    _forked_work = work
    context = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(most, mp_context=context, initializer=_start_child), _do_forked


def _start_child() -> None:
    """Leave interrupts to the parent, which ends its children by closing their pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    _die_with_parent()


def _do_forked(number: int) -> Any:
    assert _forked_work is not None
    coded = _forked_work(number)
    return coded.replace(data=bytes(coded.data))
