"""A pool of worker processes, which contains faults of native codecs: crash, abort, hang, excessive memory.

If a worker dies, its job is reported as failed and a new worker replaces it. Workers are forked from a process that
has the codecs loaded, so a new one starts in milliseconds. Each worker has its own pipe and shares no lock, so the
others go on however it ends. Files that it has written but not put in place are then put in place by this process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Self

from dcmtx.errors import CodecError, DcmtxError
from dcmtx.pool import early, pipe
from dcmtx.pool.executor import Result, Task
from dcmtx.pool.member import Worker, cause
from dcmtx.pool.template import Template, may_fork
from dcmtx.pool.worker import Later

if TYPE_CHECKING:
    from dcmtx.pool.forkserver import ForkServer

_PRELOAD = early.PRELOAD
_IN_FLIGHT_PER_WORKER = 3
# Statuses of workers that were killed from outside, whatever they were doing.
_KILLED = (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)
# The least memory limit of a worker; with less, large frames would fail.
_LEAST_MEMORY = 2 << 30
# How long workers may take to remove their temporary files when they are stopped.
_GRACE_SECONDS = 2.0
# The least time that a worker has to get ready, because loading codecs from a slow disk takes long.
_START_SECONDS = 30.0
# How long the rest of a worker's message may take once it has begun.
_MESSAGE_SECONDS = 30
# After so many workers have ended before their first job, the pool gives up.
_FALSE_STARTS = 10


def memory_per_worker(workers: int) -> int:
    """Return the address space limit of each worker in bytes: its share of the machine's memory, 2 GiB at least."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(_LEAST_MEMORY, int(total * 0.8) // workers)


class Pool(Generic[Task, Result]):
    """An Executor that runs jobs on `workers` processes. `function`, its arguments and results must be picklable.

    `function` may return a `worker.Later` instead of a result.

    `timeout` is in seconds per job. A worker that is not ready within that time, or 30 s if that is longer, fails
    together with a job that waits for it. Every worker first imports `modules`, such as those that register codecs.
    A context manager: leaving it stops the workers at once.
    """

    def __init__(
        self,
        function: Callable[[Task], Result | Later],
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
        self._workers: list[Worker[Task]] = []
        # Jobs, and how many workers were killed while they had them.
        self._waiting: deque[tuple[Task, int]] = deque()
        self._done: deque[tuple[Task, Result | DcmtxError]] = deque()
        self._false_starts = 0
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)

    def _make_server(self) -> Template | ForkServer:
        """Return what workers are forked from: a fork of this process if that is safe, or a fresh process."""
        begun = early.take()
        if may_fork():
            return Template(_PRELOAD, self._work, begun)
        if begun is not None:
            begun.end()
        from dcmtx.pool.forkserver import ForkServer

        return ForkServer(_PRELOAD, *self._work, limit=self._start_limit)

    def __enter__(self) -> Self:
        """Return the pool itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Stop the workers, and close everything."""
        self.stop()
        self._server.close()
        os.close(self._woken)
        os.close(self._waker)

    def stop(self) -> list[Task]:
        """End the workers, and return the jobs that were not finished. `finished` yields the others."""
        for worker in self._workers:
            if worker.task is not None or worker.written:
                worker.child.send(signal.SIGTERM)
            else:
                worker.pipe.close()
        self._server.abandon()
        patience = time.monotonic() + _GRACE_SECONDS
        unfinished = [task for task, _ in self._waiting]
        for worker in self._workers:
            worker.child.wait(max(0.0, patience - time.monotonic()))
            if not self._take_results(worker) and worker.task is not None:
                unfinished.append(worker.task)
            worker.end(0)
            self._rescue(worker, unfinished.append)
        self._workers.clear()
        self._waiting.clear()
        return unfinished

    def _take_results(self, worker: Worker[Task]) -> bool:
        """Take what a worker sent before it ended; return whether its job is done, or had none."""
        try:
            while worker.pipe.is_readable():
                self._done += worker.take(worker.pipe.receive(), self._deadline())
        except Exception:  # noqa: BLE001, S110 - whatever a dying worker leaves in its pipe
            pass
        return worker.task is None

    def _rescue(self, worker: Worker[Task], gone: Callable[[Task], object], late: str = "") -> None:
        """Put the files in place that a worker left when it ended; `gone` takes the jobs whose files are no more."""
        for task, result in worker.rescue(time.monotonic(), late):
            if result is None:
                gone(task)
            else:
                self._done.append((task, result))

    def _again(self, task: Task) -> None:
        """Have a job done again whose worker died."""
        self._waiting.appendleft((task, 1))

    def _deadline(self) -> float | None:
        """Return when what begins now is late."""
        return None if self._timeout is None else time.monotonic() + self._timeout

    def finished(self) -> Iterator[tuple[Task, Result | DcmtxError]]:
        """Yield jobs already known to be finished, without waiting."""
        while self._done:
            yield self._done.popleft()

    def submit(self, task: Task) -> None:
        """Queue a job."""
        self._waiting.append((task, 0))
        self._feed()

    def results(self, *, wait_for_all: bool = False) -> Iterator[tuple[Task, Result | DcmtxError]]:
        """Yield finished jobs with their result or error.

        Waits while more jobs are under way than keep the workers busy, or until all are finished.
        """
        limit = self._most * _IN_FLIGHT_PER_WORKER
        while True:
            yield from self.finished()
            running = self._under_way()
            wait = running >= limit or (wait_for_all and (running > 0 or any(one.written for one in self._workers)))
            if not self.step(None if wait else 0) or (not wait and not self._done):
                return

    def wake(self) -> None:
        """Make `results` return at once. A signal handler may call it."""
        with contextlib.suppress(OSError):
            os.write(self._waker, b"!")

    def _under_way(self) -> int:
        return len(self._waiting) + sum(worker.task is not None for worker in self._workers)

    def _feed(self) -> None:
        """Give waiting jobs to idle workers, and share idle cores among the running jobs."""
        starting = sum(not worker.ready for worker in self._workers)
        for worker in self._workers:
            if self._waiting and worker.ready and worker.task is None:
                worker.give(*self._waiting.popleft(), self._deadline())
        for _ in range(min(len(self._waiting) - starting, self._most - len(self._workers))):
            self._start()
        if not self._waiting:
            for worker in self._workers:
                worker.hurry()
        self._server.share.value = self._most // min(max(self._under_way(), 1), self._most)

    def _start(self) -> None:
        if self._server.broken:
            self._remove_orphans()
            self._server = self._make_server()
        ours, theirs = pipe.pair(_MESSAGE_SECONDS)
        deadline = None if self._start_limit is None else time.monotonic() + self._start_limit
        try:
            self._workers.append(Worker(self._server, self._server.start(theirs), ours, deadline=deadline))
        finally:
            theirs.close()

    def waitables(self) -> list[Any]:
        """Return what is readable when `step` has something to do."""
        return [self._woken, *self._server.waitables(), *(worker.pipe for worker in self._workers)]

    def patience(self) -> float | None:
        """Return the seconds until the first deadline of a worker; None if there is none."""
        deadlines = [deadline for worker in self._workers for deadline in worker.deadlines()]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def step(self, timeout: float | None) -> bool:
        """Read the workers' messages, waiting up to `timeout` seconds; return False if `wake` ended the wait."""
        patience = self.patience()
        limits = [limit for limit in (timeout, patience) if limit is not None]
        ready = pipe.readable(self.waitables(), min(limits) if limits else None)
        if self._woken in ready:
            os.read(self._woken, 1)
            return False
        self._server.listen()
        for worker in [worker for worker in self._workers if worker.pipe in ready]:
            if worker in self._workers:
                self._receive(worker)
        now = time.monotonic()
        for worker in list(self._workers):
            if worker in self._workers and any(deadline <= now for deadline in worker.deadlines()):
                self._give_up(worker)
        self._feed()
        return True

    def _give_up(self, worker: Worker[Task]) -> None:
        """Remove a worker that is late, and fail its job, or the first that waits for a worker."""
        late = f"it took longer than the {self._timeout:g} s that --timeout allows"
        if worker.deadline is None or worker.deadline > time.monotonic():
            self._give_up_files(worker, late)
            return
        if not worker.ready:
            late = f"no worker was ready after {self._start_limit:g} s"
            if not worker.child.started:
                # The process that workers are forked from is late, so no worker can start.
                raise CodecError(late, code="E_TIMEOUT")
            if self._waiting:
                worker.task, worker.killed = self._waiting.popleft()
        self._remove_worker(worker, CodecError(late, code="E_TIMEOUT"))

    def _give_up_files(self, worker: Worker[Task], late: str) -> None:
        """Remove a worker that takes too long to put a file in place, and fail that file; another does its job."""
        self._workers.remove(worker)
        worker.end(0)
        self._rescue(worker, self._again, late)
        if worker.task is not None:
            self._waiting.appendleft((worker.task, worker.killed))

    def _receive(self, worker: Worker[Task]) -> None:
        """Take a worker's result or its message that it is ready; remove it if it is dead."""
        try:
            said = worker.pipe.receive()
        except BlockingIOError:
            self._remove_worker(worker, CodecError("the worker stopped in the middle of its answer", code="E_CRASH"))
            return
        except Exception:  # noqa: BLE001 - whatever a dying worker leaves in its pipe
            self._remove_worker(worker)
            return
        if not worker.ready:
            worker.ready, worker.deadline = True, None
            self._false_starts = 0
        else:
            self._done += worker.take(said, self._deadline())
        # Feed it now, so that it does not wait until the caller has read this result.
        self._feed()

    def _remove_worker(self, worker: Worker[Task], error: DcmtxError | None = None) -> None:
        """Remove a worker that is dead or must end. Its job fails with `error`, or with one that says how it died.

        If the worker was killed from outside, for example by the system when memory is short, its job goes to another
        worker, once. A codec that fails ends in other ways.
        """
        self._workers.remove(worker)
        task = worker.task
        status = worker.end(_GRACE_SECONDS if error is None else 0)
        self._rescue(worker, self._again)
        if not worker.ready:
            self._false_starts += 1
            if self._false_starts >= _FALSE_STARTS:
                why = f"each {cause(status)}" if error is None else str(error)
                raise CodecError(f"no worker can be started: {why}", code=error.code if error else "E_CRASH")
        if self._server.broken:
            self._remove_orphans()
        if task is None:
            return
        if error is None and status in _KILLED and not worker.killed:
            self._waiting.appendleft((task, 1))
            return
        died = CodecError(f"the worker {cause(status)}; only this file is affected", code="E_CRASH")
        self._done.append((task, error or died))

    def _remove_orphans(self) -> None:
        """Remove the workers that were forked from a dead template, since they end with it.

        Their jobs go back to the queue. None of these workers may get another job before it ends: a job whose worker
        is killed twice counts as failed.
        """
        orphans = [worker for worker in self._workers if worker.server is self._server]
        self._workers = [worker for worker in self._workers if worker.server is not self._server]
        for worker in orphans:
            if not self._take_results(worker) and worker.task is not None:
                self._waiting.appendleft((worker.task, worker.killed))
            worker.end(0)
            self._rescue(worker, self._again)
