"""Forked children that inherit their work in memory, for codecs that hold the interpreter lock."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from dcmtx.pool import worker
from dcmtx.signals import die_with_parent


def may_fork() -> bool:
    """Tell whether this process can fork safely: it has no other threads and may have children.

    In a worker, this first waits for the thread that puts files in place.
    """
    worker.settle()
    if multiprocessing.current_process().daemon or threading.active_count() > 1:
        return False
    return "fork" in multiprocessing.get_all_start_methods()


# The work of this process's children. They inherit it by fork, because it cannot be pickled.
_forked_work: Callable[[Any], Any] | None = None
_parent = 0


def fork_pool(work: Callable[[Any], Any], most: int) -> tuple[Any, Callable[[Any], Any]]:
    """Return a pool of processes forked from this one, and the function to submit to it instead of `work`.

    Arguments and results of `work` must be picklable.
    """
    from concurrent.futures import ProcessPoolExecutor

    global _forked_work, _parent
    _forked_work, _parent = work, os.getpid()
    context = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(most, mp_context=context, initializer=_start_child), _do_forked


def _start_child() -> None:
    """Leave interrupts to the parent, which ends its children by closing their pipes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    die_with_parent()
    if os.getppid() != _parent:
        # It died before this one asked to be killed with it.
        os._exit(1)
    sink = sys.modules.get("dcmtx.place.temporary")
    if sink is not None:
        sink.release()


def _do_forked(task: Any) -> Any:
    assert _forked_work is not None
    return _forked_work(task)
