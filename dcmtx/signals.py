"""Signals that end the program. Little is imported here: the handlers stand before whatever takes time to load."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def handle_signals() -> None:
    """Have the signals that end a process remove its temporary files first; those that are ignored stay ignored."""
    for number in ENDING:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    """Answer a signal. Nothing is unwound: whoever is interrupted anywhere may hold locks that others wait for."""
    try:
        _leave_nothing()
    finally:
        # Whatever went wrong above, there is a status and no traceback.
        os._exit(128 + number)


def _leave_nothing() -> None:
    # The module may be half loaded: then it has written nothing.
    abandon = getattr(sys.modules.get("dcmtx.place.atomic"), "abandon", None)
    if abandon is not None:
        abandon()
    bar = getattr(sys.modules.get("dcmtx.cli"), "bar", None)
    if bar is not None:
        bar.take_away()
