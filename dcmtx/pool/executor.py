"""What does jobs: the protocol of executors, of which processes on this machine are one and a cluster another."""

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
    """Does jobs, many at a time, and tells what became of each: its result, or the error that ended it.

    Whoever has no loop of his own submits jobs and reads `results`, which waits. Whoever has one adds `waitables` to
    what he waits for, calls `step(0)` when one of them is readable or `patience` is over, and takes what is `finished`.

    A context manager: leaving it stops what runs still.
    """

    def submit(self, task: _Task) -> None:
        """Have a job done, now or later. Never waits for a job. Raises DcmtxError if no job can be done at all."""

    def results(self, *, wait_for_all: bool = False) -> Iterator[tuple[_Task, _Result_co | DcmtxError]]:
        """Yield jobs that are done.

        Waits while more are under way than there should be, or with `wait_for_all` until none is; less if `wake` is
        called. Raises DcmtxError if no job can be done at all.
        """

    def step(self, timeout: float | None) -> bool:
        """Do what is to be done now: take results, give out jobs, give up what is late.

        Waits so many seconds for something to do, 0 for not at all, None for as long as it takes. Returns False if
        `wake` ended that. Raises DcmtxError if no job can be done at all.
        """

    def waitables(self) -> Sequence[Any]:
        """Return what is readable when `step` has something to do: file descriptors, and objects with `fileno()`.

        They are others after each `submit` and `step`.
        """

    def patience(self) -> float | None:
        """Return the seconds after which `step` must be called even if nothing is readable; None for no such time."""

    def finished(self) -> Iterator[tuple[_Task, _Result_co | DcmtxError]]:
        """Yield jobs that are known to be done, without a `step`."""

    def wake(self) -> None:
        """Have a `step` or `results` that waits return; a signal handler may call it."""

    def stop(self) -> list[_Task]:
        """End what runs, and return the jobs that were not done. Those that were, `finished` yields."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what runs still, and give everything back."""
