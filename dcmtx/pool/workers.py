"""Worker processes that survive what native codecs do to them: a crash, an abort, a hang, an explosion of memory.

A pool of processes takes jobs; the one whose worker dies is reported, and another worker takes its place. Workers are
forked from a process that has the codecs loaded, so a new one starts in milliseconds. Each has a pipe of its own and
shares no lock with anybody, so whenever and however it ends, the others go on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self

from dcmtx.errors import CodecError, DcmtxError
from dcmtx.pool.executor import Result, Task
from dcmtx.pool.template import Template, may_fork

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from dcmtx.pool.forkserver import ForkServer

_PRELOAD = (
    "multiprocessing.connection", "dcmtx.transcoding.job", "dcmtx.transcoding.icons", "dcmtx.dataset.encoding",
    "imagecodecs", "numpy",
)  # fmt: skip
_IN_FLIGHT_PER_WORKER = 3
# How workers end that were killed, by the system or by somebody, whatever they were doing.
_KILLED = (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)
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


def memory_per_worker(workers: int) -> int:
    """Return how many bytes of address space each worker may have: its share of the machine's memory, or enough."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(_LEAST_MEMORY, int(total * 0.8) // workers)


class Child(Protocol):
    """A worker's process, wherever it was forked from."""

    @property
    def started(self) -> bool:
        """Whether there is, or was, such a process."""

    def wait(self, patience: float | None) -> int | None:
        """Wait for the end, so many seconds at most, and return the status; None while it runs."""

    def send(self, number: int) -> None:
        """Send a signal."""


class _Worker(Generic[Task]):
    """A worker as its parent sees it: its process, its pipe, its job, and when that must be done, or it be ready."""

    __slots__ = ("child", "deadline", "killed", "pipe", "ready", "server", "task")

    def __init__(self, server: object, child: Child, pipe: Connection, *, deadline: float | None) -> None:
        self.server = server
        self.child = child
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
        status = self.child.wait(max(0.0, patience))
        if status is None:
            self.child.send(signal.SIGKILL)
            status = self.child.wait(None)
        self.pipe.close()
        return status


class Pool(Generic[Task, Result]):
    """Runs jobs on `workers` processes. `function` and what it takes and returns must be picklable.

    `timeout` is in seconds per job; a worker that is not ready in that time, or in half a minute if that is longer, is
    given up with the job that waits for it. `modules` are imported by every worker first: those that register codecs,
    say.
    Use as a context manager: leaving it stops the workers at once. An Executor.
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
        self._timeout = timeout
        self._start_limit = None if timeout is None else max(timeout, _START_SECONDS)
        self._most = workers
        memory = memory_per_worker(workers) if memory is None else memory
        self._work = (function, memory, tuple(modules))
        self._server = self._make_server()
        self._workers: list[_Worker[Task]] = []
        # Jobs, and how many workers were killed that had them.
        self._waiting: deque[tuple[Task, int]] = deque()
        self._done: deque[tuple[Task, Result | DcmtxError]] = deque()
        self._false_starts = 0
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)

    def _make_server(self) -> Template | ForkServer:
        """Return what workers are forked from: this process if it can be, or a fresh one."""
        if may_fork():
            return Template(_PRELOAD, *self._work)
        from dcmtx.pool.forkserver import ForkServer

        return ForkServer(_PRELOAD, *self._work, limit=self._start_limit)

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Let the workers go; if something went wrong, at once."""
        self.stop()
        self._server.close()
        os.close(self._woken)
        os.close(self._waker)

    def stop(self) -> list[Task]:
        """End the workers, and return the jobs that were not done; those that were, `finished` returns."""
        for worker in self._workers:
            if worker.task is not None:
                worker.child.send(signal.SIGTERM)
            else:
                worker.pipe.close()
        self._server.abandon()
        patience = time.monotonic() + _GRACE_SECONDS
        unfinished = [task for task, _ in self._waiting]
        for worker in self._workers:
            worker.child.wait(max(0.0, patience - time.monotonic()))
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
            if not self.step(None if wait else 0) or (not wait and not self._done):
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
        self._server.share.value = self._most // min(max(self._under_way(), 1), self._most)

    def _start(self) -> None:
        from multiprocessing.connection import Pipe

        if self._server.broken:
            self._remove_orphans()
            self._server = self._make_server()
        ours, theirs = Pipe()
        _limit_messages(ours)
        deadline = None if self._start_limit is None else time.monotonic() + self._start_limit
        with theirs:
            self._workers.append(_Worker(self._server, self._server.start(theirs), ours, deadline=deadline))

    def waitables(self) -> list[Any]:
        """Return what is readable when `step` has something to do."""
        return [self._woken, *self._server.waitables(), *(worker.pipe for worker in self._workers)]

    def patience(self) -> float | None:
        """Return the seconds after which a worker is late, if it says nothing before; None for no such time."""
        deadlines = [worker.deadline for worker in self._workers if worker.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def step(self, timeout: float | None) -> bool:
        """Take what workers have to say, waiting so long for it; return False if somebody wants an end of that."""
        from multiprocessing.connection import wait as wait_for

        patience = self.patience()
        limits = [limit for limit in (timeout, patience) if limit is not None]
        ready = wait_for(self.waitables(), min(limits) if limits else None)
        if self._woken in ready:
            os.read(self._woken, 1)
            return False
        self._server.listen()
        for worker in [worker for worker in self._workers if worker.pipe in ready]:
            if worker in self._workers:
                self._receive(worker)
        now = time.monotonic()
        for worker in list(self._workers):
            if worker in self._workers and worker.deadline is not None and worker.deadline <= now:
                self._give_up(worker)
        self._feed()
        return True

    def _give_up(self, worker: _Worker[Task]) -> None:
        """Bury a worker whose time is up, with its job, or the one that waits for it."""
        late = f"it took longer than the {self._timeout:g} s that --timeout allows"
        if not worker.ready:
            late = f"no worker was ready after {self._start_limit:g} s"
            if not worker.child.started:
                # Not this one is late, but what it is to be forked from, and so are all.
                raise CodecError(late, code="E_TIMEOUT")
            if self._waiting:
                worker.task, worker.killed = self._waiting.popleft()
        self._remove_worker(worker, CodecError(late, code="E_TIMEOUT"))

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
        if self._server.broken:
            self._remove_orphans()
        if task is None:
            return
        if error is None and status in _KILLED and not worker.killed:
            self._waiting.appendleft((task, 1))
            return
        died = CodecError(f"the worker {_cause(status)}; only this file is affected", code="E_CRASH")
        self._done.append((task, error or died))

    def _remove_orphans(self) -> None:
        """Take leave of the workers that were forked from what is dead: they end with it, whatever they are doing.

        Their jobs wait for others. No job may be given to one of them in the moment before it ends, for a worker that
        is killed a second time is its fault.
        """
        orphans = [worker for worker in self._workers if worker.server is self._server]
        self._workers = [worker for worker in self._workers if worker.server is not self._server]
        for worker in orphans:
            if worker.task is not None and not self._take_result(worker):
                self._waiting.appendleft((worker.task, worker.killed))
            worker.end(0)


def _limit_messages(pipe: Connection) -> None:
    """Have reading from a pipe end with BlockingIOError if the rest of a message does not come."""
    import socket
    import struct

    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(pipe.fileno())) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _MESSAGE_SECONDS, 0))


def _cause(status: int | None) -> str:
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
