"""Frames through their work in an ordered and bounded window, on as many cores as there are to be had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dcmtx.coder import Coded
from dcmtx.errors import CodecError
from dcmtx.record import Record

# Frames being worked on or waiting to be written, per worker.
_WINDOW_PER_WORKER = 2


def run(
    work: Callable[[int], Coded],
    frames: int,
    most: int,
    cores: Callable[[], int],
    *,
    locked: bool = False,
    warm: Callable[[], None] | None = None,
) -> Iterator[Coded]:
    """Yield `work(number)` for each frame in order, a bounded number of frames being under way.

    `cores` tells how many workers may work now, `most` how many that can ever be: a batch gives more as it runs out of
    files. With one, nothing is started. Workers are threads; where `locked` says that these would wait for one another,
    they are processes, forked with the work in their memory, that read their own frames and send back bytes. `warm` is
    called before threads are started.
    """
    from collections import deque

    window: deque[Any] = deque()
    pool: Any = None
    try:
        for number in range(frames):
            allowed = min(cores(), most)
            if allowed == 1 or frames == 1:
                while window:
                    yield _result(window.popleft())
                yield work(number)
                continue
            if pool is None:
                pool = _pool(work, most, warm, locked=locked)
            window.append(pool.submit(number))
            # Where all workers may work, some frames wait for them; else as many as there are frames under way.
            while len(window) > (allowed * _WINDOW_PER_WORKER if allowed == most else allowed - 1):
                yield _result(window.popleft())
        while window:
            yield _result(window.popleft())
    finally:
        for future in window:
            future.cancel()
        if pool is not None:
            pool.close()


def _result(future: Any) -> Coded:
    from concurrent.futures import BrokenExecutor

    try:
        coded: Coded = future.result()
    except BrokenExecutor as error:
        raise CodecError("the process of a codec ended unexpectedly; nothing was written", code="E_CRASH") from error
    return coded


class _Workers(Record):
    """A pool and what is submitted to it for a frame."""

    pool: Any
    function: Any

    def submit(self, number: int) -> Any:
        """Have a frame coded."""
        return self.pool.submit(self.function, number)

    def close(self) -> None:
        """Wait for the workers to end."""
        self.pool.shutdown()


def _pool(work: Callable[[int], Coded], most: int, warm: Callable[[], None] | None, *, locked: bool) -> _Workers:
    if locked:
        from dcmtx.workers import fork_pool, may_fork

        if may_fork():
            return _Workers(*fork_pool(work, most))
    from concurrent.futures import ThreadPoolExecutor

    if warm is not None:
        warm()
    return _Workers(ThreadPoolExecutor(most), work)
