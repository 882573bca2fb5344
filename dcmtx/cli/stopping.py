"""Signals that stop what a command does in its own time, instead of ending the process."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from dcmtx.signals import ENDING


@contextmanager
def stop_on_signals(answer: Callable[[int, bool], None] | None = None) -> Iterator[list[int]]:
    """Have the signals that end a process be collected instead, and yield a list of those that came.

    `answer` is called for each, with its number and whether it is the first. Ignored signals stay ignored.
    """
    caught: list[int] = []

    def collect(number: int, _frame: FrameType | None) -> None:
        caught.append(number)
        if answer is not None:
            answer(number, len(caught) == 1)

    before = {number: signal.signal(number, collect) for number in ENDING if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
