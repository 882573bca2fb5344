"""Worker processes that survive what native codecs do to them: a crash, an abort, a hang, an explosion of memory.

A pool of processes takes jobs; the one whose worker dies is reported, and another worker takes its place. Workers are
forked from a server that has the codecs loaded, so a new one starts in milliseconds. Each has a pipe of its own and
shares no lock with anybody, so whenever and however it ends, the others go on.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dcmtx.errors import CodecError, DcmtxError, OutputError, Stopped

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_PRELOAD = ("dcmtx.transcoding.job", "dcmtx.transcoding.icons", "dcmtx.dataset.encoding", "imagecodecs", "numpy")
_IN_FLIGHT_PER_WORKER = 3
_PR_SET_PDEATHSIG = 1
# What a worker says when it can take its first job.
_READY = "ready"
# How workers end that were killed, by the system or by somebody, whatever they were doing.
_KILLED = (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)
# So that a directory and a socket of our own in it have names that fit 108 bytes.
_LONGEST_TEMPORARY = 60
# What one worker may take, at least: less than this and large frames fail for no reason of theirs.
_LEAST_MEMORY = 2 << 30
# How long workers may take to remove their temporary files when they are to end.
_GRACE_SECONDS = 2.0
# How long a worker may take to be ready, at least: codecs on a slow disk are nobody's fault.
_START_SECONDS = 30.0
# How long what a worker has begun to say may take to be said.
_MESSAGE_SECONDS = 30
# So many workers that end before they have a job are no accident.
_FALSE_STARTS = 10

Task = TypeVar("Task")
Result = TypeVar("Result")


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
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
    _release_server()
    _die_with_parent()
    _limit_memory(memory)
    _share = share
    for module in modules:
        __import__(module)


def _limit_memory(memory: int) -> None:
    """Allow this process so many bytes of address space, or fewer where it has a limit already: none is ever raised."""
    # Some systems know the limit and cannot set it (macOS): a worker without one is better than none.
    with contextlib.suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        limits = [limit for limit in (memory, soft, hard) if limit not in (0, resource.RLIM_INFINITY)]
        if limits:
            resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))


def _end(_number: int, _frame: FrameType | None) -> None:
    """Answer SIGTERM: unwind the job, so that it removes its temporary file, or go at once if there is none."""
    if _busy:
        raise Stopped
    os._exit(128 + signal.SIGTERM)


def _die_with_parent() -> None:
    """Have the kernel end this process if the one that it was forked from dies (Linux only).

    By force: a codec that hangs answers no other signal. What it was writing is removed by the next run.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _serve(pipe: Connection, function: Callable[[Any], Any], share: Any, memory: int, modules: Sequence[str]) -> None:
    """Say that this worker is ready, and do jobs until the pipe is closed."""
    _start_worker(share, memory, modules)
    with contextlib.suppress(EOFError, OSError):
        pipe.send(_READY)
        while True:
            pipe.send(_perform(function, pipe.recv()))


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


class _Worker(Generic[Task]):
    """A worker as its parent sees it: its process, its pipe, its job, and when that must be done, or it be ready."""

    __slots__ = ("deadline", "killed", "pipe", "process", "ready", "task")

    def __init__(self, process: Any, pipe: Connection, deadline: float | None) -> None:
        self.process = process
        self.pipe = pipe
        self.ready = False
        self.task: Task | None = None
        self.killed = 0
        self.deadline = deadline

    def give(self, task: Task, killed: int, timeout: float | None) -> None:
        """Send a job, which so many workers had when they were killed. If this one is dead, listening to it shows."""
        self.task, self.killed = task, killed
        self.deadline = None if timeout is None else time.monotonic() + timeout
        with contextlib.suppress(OSError):
            self.pipe.send(task)

    def end(self, patience: float) -> int | None:
        """See to it that the process is gone, by force if it does not go by itself, and return its status."""
        self.process.join(max(0.0, patience))
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.pipe.close()
        status: int | None = self.process.exitcode
        return status


class Pool(Generic[Task, Result]):
    """Runs jobs on `workers` processes. `function` and what it takes and returns must be picklable.

    `timeout` is in seconds per job; a worker that is not ready in that time, or in half a minute if that is longer, is
    given up with the job that waits for it. `modules` are imported by every worker first: those that register codecs,
    say.
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
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(_PRELOAD))
        self._function = function
        self._timeout = timeout
        self._start_limit = None if timeout is None else max(timeout, _START_SECONDS)
        self._most = workers
        self._modules = tuple(modules)
        self._memory = memory_per_worker(workers) if memory is None else memory
        _start_server()
        self._share: Any = self._context.Value("i", 1, lock=False)
        self._workers: list[_Worker[Task]] = []
        # Jobs, and how many workers were killed that had them.
        self._waiting: deque[tuple[Task, int]] = deque()
        self._done: deque[tuple[Task, Result | DcmtxError]] = deque()
        self._false_starts = 0
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)

    def __enter__(self) -> Pool[Task, Result]:
        """Start."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Let the workers go; if something went wrong, at once."""
        self.stop()
        os.close(self._woken)
        os.close(self._waker)

    def stop(self) -> list[Task]:
        """End the workers, and return the jobs that were not done; those that were, `finished` returns."""
        for worker in self._workers:
            if worker.task is not None:
                worker.process.terminate()
            else:
                worker.pipe.close()
        patience = time.monotonic() + _GRACE_SECONDS
        unfinished = [task for task, _ in self._waiting]
        for worker in self._workers:
            worker.process.join(max(0.0, patience - time.monotonic()))
            if worker.task is not None and not self._take_result(worker):
                unfinished.append(worker.task)
            worker.end(0)
        self._workers.clear()
        self._waiting.clear()
        return unfinished

    def _take_result(self, worker: _Worker[Task]) -> bool:
        """Take the result that a worker sent before it was ended, if there is one."""
        assert worker.task is not None
        try:
            if not worker.pipe.poll():
                return False
            self._done.append((worker.task, worker.pipe.recv()))
        except Exception:  # noqa: BLE001 - whatever a dying worker leaves in its pipe
            return False
        return True

    def finished(self) -> Iterator[tuple[Task, Result | DcmtxError]]:
        """Yield what is known already, without waiting."""
        while self._done:
            yield self._done.popleft()

    def submit(self, task: Task) -> None:
        """Have a job done."""
        self._waiting.append((task, 0))
        self._feed()

    def results(self, *, wait_for_all: bool = False) -> Iterator[tuple[Task, Result | DcmtxError]]:
        """Yield jobs that are done with their result, or the error that they came to.

        Waits while more jobs are under way than keep the workers busy, or until all are done.
        """
        limit = 1 if wait_for_all else self._most * _IN_FLIGHT_PER_WORKER
        while True:
            yield from self.finished()
            wait = self._under_way() >= limit
            if not self._wait(wait=wait) or (not wait and not self._done):
                return

    def wake(self) -> None:
        """Have `results` return at once; may be called from a signal handler."""
        with contextlib.suppress(OSError):
            os.write(self._waker, b"!")

    def _under_way(self) -> int:
        return len(self._waiting) + sum(worker.task is not None for worker in self._workers)

    def _feed(self) -> None:
        """Give waiting jobs to workers that have none, and let the running jobs have the cores that no other needs."""
        starting = sum(not worker.ready for worker in self._workers)
        for worker in self._workers:
            if self._waiting and worker.ready and worker.task is None:
                worker.give(*self._waiting.popleft(), self._timeout)
        for _ in range(min(len(self._waiting) - starting, self._most - len(self._workers))):
            self._start()
        self._share.value = self._most // min(max(self._under_way(), 1), self._most)

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._function, self._share, self._memory, self._modules)
        process = self._context.Process(target=_serve, args=arguments)
        _limit_messages(ours)
        # The server may hang while it loads codecs, and whoever starts a process waits for it.
        late = threading.Event()
        watch = None if self._start_limit is None else threading.Timer(self._start_limit, _kill_server, [late])
        try:
            if watch is not None:
                watch.start()
            process.start()
        except (EOFError, OSError) as error:
            if late.is_set():
                raise CodecError(f"no worker {self._too_slow()}", code="E_TIMEOUT") from error
            raise OutputError(f"workers cannot be started: {error}") from error
        finally:
            if watch is not None:
                watch.cancel()
        theirs.close()
        deadline = None if self._start_limit is None else time.monotonic() + self._start_limit
        self._workers.append(_Worker(process, ours, deadline))

    def _too_slow(self) -> str:
        return f"was ready after {self._start_limit:g} s"

    def _wait(self, *, wait: bool) -> bool:
        """Take what workers have to say, waiting for it if asked to; return False if somebody wants an end of that."""
        from multiprocessing.connection import wait as wait_for

        pipes = [worker.pipe for worker in self._workers]
        ready = wait_for([self._woken, *pipes], self._patience() if wait else 0)
        if self._woken in ready:
            os.read(self._woken, 1)
            return False
        for worker in [worker for worker in self._workers if worker.pipe in ready]:
            self._receive(worker)
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.deadline is not None and worker.deadline <= now:
                self._give_up(worker)
        self._feed()
        return True

    def _give_up(self, worker: _Worker[Task]) -> None:
        """Bury a worker whose time is up, with its job, or the one that waits for it."""
        late = f"it took longer than the {self._timeout:g} s that --timeout allows"
        if not worker.ready:
            late = f"no worker {self._too_slow()}"
            if self._waiting:
                worker.task, worker.killed = self._waiting.popleft()
        self._remove_worker(worker, CodecError(late, code="E_TIMEOUT"))

    def _patience(self) -> float | None:
        deadlines = [worker.deadline for worker in self._workers if worker.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _receive(self, worker: _Worker[Task]) -> None:
        """Take the result of a worker's job, or that it is ready for one, or bury it."""
        try:
            said = worker.pipe.recv()
        except BlockingIOError:
            self._remove_worker(worker, CodecError("the worker stopped in the middle of its answer", code="E_CRASH"))
            return
        except Exception:  # noqa: BLE001 - whatever a dying worker leaves in its pipe
            self._remove_worker(worker)
            return
        task, worker.task, worker.deadline = worker.task, None, None
        if not worker.ready:
            worker.ready = True
            self._false_starts = 0
        if task is not None:
            self._done.append((task, said))
        # It need not wait for its next job until somebody has looked at this result.
        self._feed()

    def _remove_worker(self, worker: _Worker[Task], error: DcmtxError | None = None) -> None:
        """Take leave of a worker that is dead, or is to be. The job that it had ends with this error, or tells of that.

        The job of a worker that was killed is given to another, once. That came from outside, from the system when
        memory is short, say: a codec that fails ends in other ways.
        """
        self._workers.remove(worker)
        task = worker.task
        status = worker.end(_GRACE_SECONDS if error is None else 0)
        if not worker.ready:
            self._false_starts += 1
            if self._false_starts >= _FALSE_STARTS:
                why = f"each {_cause(status)}" if error is None else str(error)
                raise CodecError(f"no worker can be started: {why}", code=error.code if error else "E_CRASH")
        if task is None:
            return
        if error is None and status in _KILLED and not worker.killed:
            self._waiting.appendleft((task, 1))
            return
        died = CodecError(f"the worker {_cause(status)}; only this file is affected", code="E_CRASH")
        self._done.append((task, error or died))


def _start_server() -> None:
    """Start the process that workers are forked from.

    Signals that are meant for all of a group, or for all that a terminal started, are left to us: it and its resource
    tracker inherit that they are blocked. Its socket is a file, whose path may be no longer than the system allows,
    whatever the directory for temporary files.
    """
    import tempfile
    from multiprocessing import forkserver, resource_tracker, util

    usual = tempfile.gettempdir()
    if len(os.fsencode(usual)) > _LONGEST_TEMPORARY:
        tempfile.tempdir = "/tmp"  # noqa: S108 - what is made there has a random name and is ours alone
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        util.get_temp_dir()
        resource_tracker.ensure_running()
        # Only now: starting the tracker unblocks these two.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
        forkserver.ensure_running()
    except OSError as error:
        raise OutputError(f"workers cannot be started: {error.strerror or error}") from error
    finally:
        tempfile.tempdir = usual
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill_server(late: threading.Event) -> None:
    """Kill the process that workers are forked from, for it is late; whoever waits for it finds out."""
    late.set()
    from multiprocessing import forkserver

    pid = getattr(getattr(forkserver, "_forkserver", None), "_forkserver_pid", None)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _limit_messages(pipe: Connection) -> None:
    """Have reading from a pipe end with BlockingIOError if the rest of a message does not come."""
    import socket
    import struct

    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(pipe.fileno())) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _MESSAGE_SECONDS, 0))


def _release_server() -> None:
    """Give up what a worker inherits that would keep the process alive that it was forked from."""
    from multiprocessing import forkserver

    server: Any = getattr(forkserver, "_forkserver", None)
    alive = getattr(server, "_forkserver_alive_fd", None)
    if alive is not None:
        os.close(alive)
        server._forkserver_alive_fd = None  # noqa: SLF001 - there is no other way


def _cause(status: int | None) -> str:
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"


# --- children that code frames of one file ---------------------------------------------------------------------
