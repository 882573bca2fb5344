"""Frames through their work in an ordered window, on as many cores as there are to be had.

The window is bounded by the cores and by memory: small frames keep every core busy, of large ones fewer are held. Where
codecs take several frames at once, batches of them go through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from dcmtx.errors import CodecError, DcmtxError
from dcmtx.record import Record
from dcmtx.transcoding.frame import EncodedFrame

# Batches being worked on or waiting to be written, per worker.
_WINDOW_PER_WORKER = 2
# What the frames under way may take together, in bytes, unless the user says otherwise.
MEMORY = 256 << 20
# Fewer and no frame is coded while another is written.
_FEWEST = 2


class Work(Protocol):
    """What is done to the frames of one file. Safe to call from several threads, and in forked processes."""

    @property
    def batch(self) -> int:
        """How many frames it takes at once."""

    @property
    def processes(self) -> bool:
        """Whether threads would wait for one another in it."""

    def code(self, numbers: list[int]) -> list[EncodedFrame | DcmtxError]:
        """Return frames (0-based), in this order: each of them, or why not."""

    def warm(self) -> None:
        """Get ready for several threads."""

    def close(self) -> None:
        """Let go of everything: nothing is coded any more."""


def run(
    work: Work,
    frames: int,
    most: int,
    cores: Callable[[], int],
    *,
    memory: int = MEMORY,
    frame_bytes: int = 0,
) -> Iterator[EncodedFrame]:
    """Yield what `work` makes of each frame in order, a bounded number of frames being under way, and close it.

    `cores` tells how many workers may work now, `most` how many that can ever be: a batch gives more as it runs out of
    files. With one, nothing is started. Workers are threads; where these would wait for one another, they are
    processes, forked with the work in their memory, that read their own frames and send back bytes.

    A frame takes `frame_bytes` while it is worked on. All that are under way, the one that the caller has included,
    take no more than `memory` bytes, or are two; a job that has a part of the cores has that part of the memory.

    Raises the error of the first frame that failed.
    """
    from collections import deque

    window: deque[Any] = deque()
    pool: Any = None
    batch, start = work.batch, 0
    try:
        while start < frames:
            allowed = min(cores(), most)
            share = memory * allowed // most
            together = 1 if batch == 1 else _together(batch, share, frame_bytes)
            numbers = [start] if together == 1 else list(range(start, min(start + together, frames)))
            start += together
            if allowed == 1 or together >= frames:
                while window:
                    yield from _each(_result(window.popleft()))
                if together == 1:
                    yield _checked(work.code(numbers)[0])
                else:
                    yield from _each(work.code(numbers))
                continue
            if pool is None:
                pool = _pool(work, most)
            window.append(pool.submit(numbers))
            while len(window) > _waiting(allowed, most, share, frame_bytes * together):
                yield from _each(_result(window.popleft()))
        while window:
            yield from _each(_result(window.popleft()))
    finally:
        for future in window:
            future.cancel()
        if pool is not None:
            pool.close()
        work.close()


def _together(batch: int, memory: int, frame_bytes: int) -> int:
    """Return how many frames are coded at once: no more than leave memory for as many again."""
    if not frame_bytes:
        return batch
    return max(min(batch, memory // frame_bytes // _FEWEST), 1)


def _each(results: list[EncodedFrame | DcmtxError]) -> Iterator[EncodedFrame]:
    """Yield results one by one, holding none that was given out; raise the first that is an error."""
    results.reverse()
    while results:
        yield _checked(results.pop())


def _checked(result: EncodedFrame | DcmtxError) -> EncodedFrame:
    if isinstance(result, DcmtxError):
        raise result
    return result


def _waiting(allowed: int, most: int, memory: int, batch_bytes: int) -> int:
    """Return how many batches may be under way beside the one that is given out."""
    # Where all workers may work, some batches wait for them; else as many as there are under way.
    by_cores = allowed * _WINDOW_PER_WORKER if allowed == most else allowed - 1
    if not batch_bytes:
        return by_cores
    return min(by_cores, max(memory // batch_bytes, _FEWEST) - 1)


def _result(future: Any) -> list[EncodedFrame | DcmtxError]:
    from concurrent.futures import BrokenExecutor

    try:
        coded: list[EncodedFrame | DcmtxError] = future.result()
    except BrokenExecutor as error:
        raise _ended() from error
    return coded


def _ended() -> CodecError:
    return CodecError("the process of a codec ended unexpectedly; nothing was written", code="E_CRASH")


class _Workers(Record):
    """A pool and what is submitted to it for some frames."""

    pool: Any
    function: Any

    def submit(self, numbers: list[int]) -> Any:
        """Have frames coded.

        Raises CodecError where a worker is gone, which may be found out here or by the result, or none can be started.
        """
        from concurrent.futures import BrokenExecutor

        try:
            return self.pool.submit(self.function, numbers)
        except BrokenExecutor as error:
            raise _ended() from error
        except (OSError, RuntimeError) as error:
            # The first submission starts the workers: the system may have no process or thread left for them.
            raise CodecError(f"no workers can be started for its frames ({error})", advice="use --jobs 1") from error

    def close(self) -> None:
        """Wait for the workers to end."""
        self.pool.shutdown()


def _pool(work: Work, most: int) -> _Workers:
    if work.processes:
        from dcmtx.pool.children import fork_pool, may_fork

        if may_fork():
            return _Workers(*fork_pool(_sendable(work), most))
    from concurrent.futures import ThreadPoolExecutor

    work.warm()
    return _Workers(ThreadPoolExecutor(most), work.code)


def _sendable(work: Work) -> Callable[[list[int]], list[EncodedFrame | DcmtxError]]:
    """Return the work with results that a process can send: data that is bytes."""

    def code(numbers: list[int]) -> list[EncodedFrame | DcmtxError]:
        results = work.code(numbers)
        return [one if isinstance(one, DcmtxError) else one.replace(data=bytes(one.data)) for one in results]

    return code
