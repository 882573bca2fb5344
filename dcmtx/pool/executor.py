"""The protocol of executors, which run jobs: processes on this machine, or a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from dcmtx.errors import DcmtxError

if TYPE_CHECKING:
    from types import TracebackType

Task = TypeVar("Task")
Result = TypeVar("Result")
_Task = TypeVar("_Task")
_Result_co = TypeVar("_Result_co", covariant=True)


class Executor(Protocol[_Task, _Result_co]):
    """Runs jobs, many at a time, and returns for each its result, or the error that ended it.

    A caller without an event loop submits jobs and reads `results`, which waits. A caller with one waits for
    `waitables`, calls `step(0)` when one of them is readable or `patience` has passed, and reads `finished`.

    A context manager: leaving it stops running jobs.
    """

    def submit(self, task: _Task) -> None:
        """Queue a job. Never waits for a job. Raises DcmtxError if no job can be run at all."""

    def results(self, *, wait_for_all: bool = False) -> Iterator[tuple[_Task, _Result_co | DcmtxError]]:
        """Yield finished jobs.

        Waits while too many jobs are under way, or with `wait_for_all` until none is; `wake` ends the wait early.
        Raises DcmtxError if no job can be run at all.
        """

    def step(self, timeout: float | None) -> bool:
        """Take results, hand out jobs, and end jobs that are late.

        Waits up to `timeout` seconds for something to do; None means no limit. Returns False if `wake` ended the
        wait. Raises DcmtxError if no job can be run at all.
        """

    def waitables(self) -> Sequence[Any]:
        """Return file descriptors, and objects with `fileno()`, that are readable when `step` has something to do.

        They change with each `submit` and `step`.
        """

    def patience(self) -> float | None:
        """Return the seconds after which `step` must be called even if nothing is readable; None for no limit."""

    def finished(self) -> Iterator[tuple[_Task, _Result_co | DcmtxError]]:
        """Yield jobs already known to be finished, without a `step`."""

    def wake(self) -> None:
        """Make a waiting `step` or `results` return. A signal handler may call it."""

    def stop(self) -> list[_Task]:
        """End running jobs, and return the jobs that were not finished. `finished` yields the others."""

    def __enter__(self) -> Self:
        """Return the executor itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop running jobs, and release all resources."""
