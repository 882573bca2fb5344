"""Hands the shards of a run to an engine, a window of them at a time, and counts what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from dcmtx.cluster.totals import Figures
from dcmtx.errors import DcmtxError, OutputError
from dcmtx.record import Record

# The window is filled again when this part of it is free: an engine begins several shards in one go.
_REFILLED = 4
# How often a shard is handed out again that an engine gave up, before it is left for another run.
_AGAIN = 2


class Engine(Protocol):
    """Does shards somewhere. It may do one twice: only the store makes it once."""

    def window(self) -> int:
        """Return how many shards may be under way now."""

    def submit(self, number: int) -> None:
        """Take a shard. It begins with the next `results` at the latest."""

    def results(self, seconds: float) -> Iterator[tuple[int, Figures | DcmtxError]]:
        """Wait up to so many seconds for a shard, and yield those that are done, or were given up.

        Raises OutputError, E_CLUSTER, if the engine is lost.
        """


class Progress(Record):
    """What a driver tells: a shard that is done, and its figures."""

    number: int
    figures: Figures


class Driver:
    """Has an engine do the shards that are not done. `given_up` are shards that it could not do, and why."""

    def __init__(self, engine: Engine, tell: Callable[[Progress], None]) -> None:
        self._engine = engine
        self._tell = tell
        self.given_up: dict[int, DcmtxError] = {}
        self.most = 0
        self._tries: dict[int, int] = {}

    def drive(self, done: bytearray, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Do what is not done, and mark it in `done`; return whether all is, or False if `stopped` said so.

        Raises OutputError, E_CLUSTER, if the engine is lost.
        """
        waiting = (number for number, is_done in enumerate(done) if not is_done)
        again: list[int] = []
        under_way = 0
        exhausted = False
        while not stopped():
            room = max(self._engine.window(), 1)
            full = under_way > room - max(room // _REFILLED, 1)
            while not full and under_way < room and not (exhausted and not again):
                number = again.pop() if again else next(waiting, None)
                if number is None:
                    exhausted = True
                    continue
                self._engine.submit(number)
                under_way += 1
            self.most = max(self.most, under_way)
            if not under_way:
                return not self.given_up
            for number, result in self._engine.results(1.0):
                under_way -= 1
                if isinstance(result, Figures):
                    done[number] = 1
                    self._tries.pop(number, None)
                    self._tell(Progress(number, result))
                elif self._may_go_on(number, result):
                    again.append(number)
        return False

    def _may_go_on(self, number: int, error: DcmtxError) -> bool:
        """Tell whether a shard is handed out again. Raises the error if all shards would have it."""
        if error.code in _OF_ALL:
            raise error
        self._tries[number] = self._tries.get(number, 0) + 1
        if self._tries[number] <= _AGAIN:
            return True
        self.given_up[number] = error
        del self._tries[number]
        return False


# Errors that every shard would have.
_OF_ALL = {"E_RUN", "E_VERSION", "E_USAGE", "E_DISK_FULL"}


def unfinished(given_up: dict[int, DcmtxError], run: str) -> OutputError:
    """Return the error of a run that has shards that could not be done."""
    from dcmtx.cluster.totals import ranges

    first = min(given_up)
    return OutputError(
        f"shards {ranges(sorted(given_up))} could not be done: {given_up[first].reason}",
        advice="the same line again goes on from what is done", code="E_CLUSTER", path=run,
    )  # fmt: skip
