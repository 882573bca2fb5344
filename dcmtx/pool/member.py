"""A worker of a pool as its parent sees it: its process, its job, and files that it has written."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol

from dcmtx.errors import CodecError, DcmtxError
from dcmtx.finding import Finding
from dcmtx.place.filesystem import not_synced
from dcmtx.pool.executor import Task
from dcmtx.pool.worker import Hurry, Later, Placed, Written

if TYPE_CHECKING:
    from dcmtx.place.temporary import Unplaced
    from dcmtx.pool.committer import Fate
    from dcmtx.pool.pipe import Pipe


class Child(Protocol):
    """A worker's process, wherever it was forked from."""

    @property
    def started(self) -> bool:
        """Whether there is, or was, such a process."""

    def wait(self, patience: float | None) -> int | None:
        """Wait at most `patience` seconds for the process to end; return its status, or None if it still runs."""

    def send(self, number: int) -> None:
        """Send a signal."""


class Worker(Generic[Task]):
    """A worker: process, pipe, job, and the deadline for that job or for being ready."""

    __slots__ = ("child", "deadline", "hurried", "killed", "pipe", "ready", "server", "task", "written")

    def __init__(self, server: object, child: Child, pipe: Pipe, *, deadline: float | None) -> None:
        self.server = server
        self.child = child
        self.pipe = pipe
        self.ready = False
        self.task: Task | None = None
        self.killed = 0
        self.deadline = deadline
        # Jobs whose files are not reported to be in place, by number, with the deadline of each.
        self.written: dict[int, tuple[Task, Later, float | None]] = {}
        self.hurried = False

    def give(self, task: Task, killed: int, deadline: float | None) -> None:
        """Send a job; `killed` workers were killed while they had it. Reading its pipe shows whether it is dead."""
        self.task, self.killed, self.deadline, self.hurried = task, killed, deadline, False
        with contextlib.suppress(OSError):
            self.pipe.send(task)

    def hurry(self) -> None:
        """Have it report its files soon, because it gets no other job for now."""
        if self.written and self.task is None and not self.hurried:
            self.hurried = True
            with contextlib.suppress(OSError):
                self.pipe.send(Hurry())

    def take(self, said: Any, deadline: float | None) -> Iterator[tuple[Task, Any]]:
        """Take a message, and yield jobs that are done with it. If a file is written, `deadline` is for placing it."""
        if isinstance(said, Placed):
            for number, fate in said.fates:
                written, later, _ = self.written.pop(number)
                yield written, later.finish(later.result, fate)
            return
        task, self.task, self.deadline = self.task, None, None
        if task is None:
            return
        if isinstance(said, Written):
            self.written[said.number] = task, said.later, deadline
        else:
            yield task, said

    def rescue(self, now: float, late: str) -> Iterator[tuple[Task, Any]]:
        """Put the files in place that it left when it ended; yield the jobs and results. None: the file is gone.

        With `late`, a message, files whose deadline is over fail with it.
        """
        written, self.written = self.written, {}
        for task, later, deadline in written.values():
            fate: Fate | None
            try:
                over = late and deadline is not None and deadline <= now
                fate = _given_up(later.file, late) if over else later.file.rescue()
            except DcmtxError as error:
                fate = error
            yield task, None if fate is None else later.finish(later.result, fate)

    def deadlines(self) -> Iterator[float]:
        """Yield when its job, its start, or one of its files is late."""
        for deadline in (self.deadline, *(written[2] for written in self.written.values())):
            if deadline is not None:
                yield deadline

    def end(self, patience: float) -> int | None:
        """Wait for the process to end, kill it if it does not, and return its status."""
        status = self.child.wait(max(0.0, patience))
        if status is None:
            self.child.send(signal.SIGKILL)
            status = self.child.wait(None)
        self.pipe.close()
        return status


def _given_up(file: Unplaced, late: str) -> list[Finding]:
    """Remove a file that is not in place after too long; return a note if it is."""
    if not file.is_placed:
        file.discard()
        raise CodecError(late, code="E_TIMEOUT")
    return [not_synced("it took too long")]


def cause(status: int | None) -> str:
    """Return how a process ended, in words."""
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
