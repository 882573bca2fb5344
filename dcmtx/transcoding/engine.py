"""Frames through their work in an ordered window, on as many cores as there are to be had.

The window is bounded by the cores and by memory: small frames keep every core busy, of large ones fewer are held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dcmtx.errors import CodecError
from dcmtx.record import Record
from dcmtx.transcoding.frame import EncodedFrame

# Frames being worked on or waiting to be written, per worker.
_WINDOW_PER_WORKER = 2
# What the frames under way may take together, in bytes, unless the user says otherwise.
MEMORY = 256 << 20
# Fewer and no frame is coded while another is written.
_FEWEST = 2


def run(
    work: Callable[[int], EncodedFrame],
    frames: int,
    most: int,
    cores: Callable[[], int],
    *,
    locked: bool = False,
    memory: int = MEMORY,
    frame_bytes: int = 0,
    warm: Callable[[], None] | None = None,
) -> Iterator[EncodedFrame]:
    """Yield `work(number)` for each frame in order, a bounded number of frames being under way.

    `cores` tells how many workers may work now, `most` how many that can ever be: a batch gives more as it runs out of
    files. With one, nothing is started. Workers are threads; where `locked` says that these would wait for one another,
    they are processes, forked with the work in their memory, that read their own frames and send back bytes. `warm` is
    called before threads are started.

    A frame takes `frame_bytes` while it is worked on. All that are under way, the one that the caller has included,
    take no more than `memory` bytes, or are two; a job that has a part of the cores has that part of the memory.
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
            while len(window) > _waiting(allowed, most, memory, frame_bytes):
                yield _result(window.popleft())
        while window:
            yield _result(window.popleft())
    finally:
        for future in window:
            future.cancel()
        if pool is not None:
            pool.close()


def _waiting(allowed: int, most: int, memory: int, frame_bytes: int) -> int:
    """Return how many frames may be under way beside the one that is given out."""
    # Where all workers may work, some frames wait for them; else as many as there are frames under way.
    by_cores = allowed * _WINDOW_PER_WORKER if allowed == most else allowed - 1
    if not frame_bytes:
        return by_cores
    return min(by_cores, max(memory * allowed // most // frame_bytes, _FEWEST) - 1)


def _result(future: Any) -> EncodedFrame:
    from concurrent.futures import BrokenExecutor

    try:
        coded: EncodedFrame = future.result()
    except BrokenExecutor as error:
        raise _ended() from error
    return coded


def _ended() -> CodecError:
    return CodecError("the process of a codec ended unexpectedly; nothing was written", code="E_CRASH")


class _Workers(Record):
    """A pool and what is submitted to it for a frame."""

    pool: Any
    function: Any

    def submit(self, number: int) -> Any:
        """Have a frame coded.

        Raises CodecError where a worker is gone, which may be found out here or by the result, or none can be started.
        """
        from concurrent.futures import BrokenExecutor

        try:
            return self.pool.submit(self.function, number)
        except BrokenExecutor as error:
            raise _ended() from error
        except (OSError, RuntimeError) as error:
            # The first submission starts the workers: the system may have no process or thread left for them.
            raise CodecError(f"no workers can be started for its frames ({error}); use --jobs 1") from error

    def close(self) -> None:
        """Wait for the workers to end."""
        self.pool.shutdown()


def _pool(work: Callable[[int], EncodedFrame], most: int, warm: Callable[[], None] | None, *, locked: bool) -> _Workers:
    if locked:
        from dcmtx.pool.children import fork_pool, may_fork

        if may_fork():
            return _Workers(*fork_pool(work, most))
    from concurrent.futures import ThreadPoolExecutor

    if warm is not None:
        warm()
    return _Workers(ThreadPoolExecutor(most), work)
