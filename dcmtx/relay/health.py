"""Whether a destination takes instances: its back-off, and the one who probes it while it does not."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from dcmtx.record import Record
from dcmtx.relay.answers import AnswerKind

if TYPE_CHECKING:
    from collections.abc import Callable


class Pace(Record):
    """How often things are tried again, in seconds.

    A destination that is down: `first`, doubling to `most`; one that rejects this relay: `rejected`; an instance that
    was not understood: `tries`. `idle` is how long an association without work is kept.
    """

    first: float = 1.0
    most: float = 300.0
    rejected: float = 300.0
    tries: tuple[float, ...] = (30.0, 120.0)
    idle: float = 5.0


# A spread, so that many relays do not come all at once.
_JITTER = 0.2


class Health:
    """The health of one destination. All methods may be called from any thread."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._changed = threading.Condition()
        self._delay = pace.first
        self._until = 0.0
        self._error = ""
        self._down = False
        self._probed = False
        self._prober = 0

    def turn(self, stopping: Callable[[], bool]) -> bool:
        """Wait until the caller may try the destination; False if it should look whether there is something else.

        While the destination is down, one caller at a time may try, and calls `leave` after it.
        """
        with self._changed:
            left = self._until - time.monotonic()
            if left <= 0 and not (self._down and self._probed):
                if self._down:
                    self._probed, self._prober = True, threading.get_ident()
                return True
            if not stopping():
                self._changed.wait(left if left > 0 else 1.0)
            return False

    def leave(self) -> None:
        """Let another try, if the caller was the one, whatever came of it."""
        if self._probed and self._prober == threading.get_ident():
            with self._changed:
                self._probed = False
                self._changed.notify_all()

    def is_good(self) -> bool:
        """Tell whether the last try went well."""
        return not self._down

    def well(self) -> bool:
        """Note that the destination works; return whether that is news."""
        if not self._down and not self._until:
            return False
        with self._changed:
            news, self._down, self._probed = self._down, False, False
            self._delay, self._until, self._error = self._pace.first, 0.0, ""
            self._changed.notify_all()
            return news

    def ill(self, kind: AnswerKind, text: str) -> tuple[bool, float]:
        """Note that it does not; return whether that is news, and the seconds until the next try."""
        with self._changed:
            news = not self._down or self._error != text
            self._down, self._probed, self._error = True, False, text
            seconds = self._next_delay(kind)
            self._until = time.monotonic() + seconds
            self._changed.notify_all()
            return news, seconds

    def _next_delay(self, kind: AnswerKind) -> float:
        if kind is AnswerKind.REJECTED:
            return self._pace.rejected
        seconds, self._delay = self._delay, min(self._delay * 2, self._pace.most)
        return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret

    def retry(self) -> None:
        """Let the next try be now."""
        with self._changed:
            self._delay, self._until = self._pace.first, 0.0
            self._changed.notify_all()

    def wake(self) -> None:
        """Have those who wait look again."""
        with self._changed:
            self._changed.notify_all()

    def report(self) -> tuple[str, str, float]:
        """Return `up` or `down`, why it is down, and the seconds until the next try."""
        with self._changed:
            left = max(0.0, self._until - time.monotonic())
            return ("down" if self._down else "up"), self._error, round(left, 1)
