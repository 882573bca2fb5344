"""Processes frames in an ordered window, on as many cores as are available.

The window is bounded by cores and by memory: small frames keep every core busy; fewer large frames are held. Where
codecs take several frames at once, the window holds batches. The last frames are done step by step: a core that finds
no frame verifies one that another has encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from dcmtx.errors import CodecError, DcmtxError
from dcmtx.policy import MEMORY
from dcmtx.pool.machine import keep_freed_memory
from dcmtx.record import Record
from dcmtx.signals import is_own_process
from dcmtx.transcoding.encoded import EncodedFrame

# Batches being worked on or waiting to be written, per worker.
_WINDOW_PER_WORKER = 2
# With fewer, no frame could be coded while another is written.
_FEWEST = 2


class Work(Protocol):
    """The work on the frames of one file. Safe to call from several threads, and in forked processes."""

    @property
    def batch(self) -> int:
        """The maximum number of frames per call."""

    @property
    def processes(self) -> bool:
        """Whether threads would block one another, so that processes are needed."""

    def code(self, numbers: list[int]) -> list[EncodedFrame | DcmtxError]:
        """Return the result of each frame (0-based), or its error, in this order."""

    def warm(self) -> None:
        """Get ready for several threads."""

    def close(self) -> None:
        """Release everything; nothing is coded after that."""


def run(
    work: Work,
    frames: int,
    most: int,
    cores: Callable[[], int],
    *,
    memory: int = MEMORY,
    frame_bytes: int = 0,
) -> Iterator[EncodedFrame]:
    """Yield the result of each frame in order, with a bounded number of frames in progress, and close `work`.

    `cores` returns how many workers may run now, `most` is their maximum: a batch run grants more as it runs out of
    files. With one worker, nothing is started. Workers are threads. Where threads would block one another, they are
    processes, forked with the work in memory; these read their own frames and send back bytes.

    A frame takes `frame_bytes` while it is in progress. All frames in progress, including the one that the caller
    holds, take at most `memory` bytes, or are two. A job with a share of the cores has the same share of the memory.

    Raises the error of the first frame that failed.
    """
    from collections import deque

    if is_own_process():
        keep_freed_memory()
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
            last = together == 1 and frames - start < allowed * _WINDOW_PER_WORKER
            window.append(pool.submit_in_steps(numbers[0]) if last else pool.submit(numbers))
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
    """Return how many frames are coded at once, so that memory is left for a second batch."""
    if not frame_bytes:
        return batch
    return max(min(batch, memory // frame_bytes // _FEWEST), 1)


def _each(results: list[EncodedFrame | DcmtxError]) -> Iterator[EncodedFrame]:
    """Yield results one by one without keeping them; raise the first that is an error."""
    results.reverse()
    while results:
        yield _checked(results.pop())


def _checked(result: EncodedFrame | DcmtxError) -> EncodedFrame:
    if isinstance(result, DcmtxError):
        raise result
    return result


def _waiting(allowed: int, most: int, memory: int, batch_bytes: int) -> int:
    """Return how many batches may be in progress in addition to the one that is yielded."""
    # If all workers may run, extra batches are queued for them. Otherwise the queue itself limits the workers.
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


def _not_started(error: Exception) -> CodecError:
    return CodecError(f"no workers can be started for its frames ({error})", advice="use --jobs 1")


class Steps(Protocol):
    """The work on one frame, in steps."""

    def step(self) -> list[EncodedFrame | DcmtxError] | None:
        """Do the next step; after the last, return a list with the result."""


class _Workers(Record):
    """A pool, the function that is submitted to it, and the one that begins the work on a frame in steps, if any."""

    pool: Any
    function: Any
    begin: Callable[[int], Steps] | None = None

    def submit(self, numbers: list[int]) -> Any:
        """Submit frames for coding.

        Raises CodecError where a worker has died or none can be started. A death may also show only in the result.
        """
        from concurrent.futures import BrokenExecutor

        try:
            return self.pool.submit(self.function, numbers)
        except BrokenExecutor as error:
            raise _ended() from error
        except (OSError, RuntimeError) as error:
            # The first submission starts the workers: the system may have no process or thread left for them.
            raise _not_started(error) from error

    def submit_in_steps(self, number: int) -> Any:
        """Submit a frame step by step: each step is queued behind those of other frames. Raises as `submit` does."""
        if self.begin is None:
            return self.submit([number])
        from concurrent.futures import Future

        result: Future[list[EncodedFrame | DcmtxError]] = Future()
        steps = self.begin(number)

        def step() -> None:
            try:
                done = steps.step()
                if done is None:
                    self.pool.submit(step)
                else:
                    result.set_result(done)
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is read
                # If the result was cancelled, nobody reads it.
                if not result.cancelled():
                    result.set_exception(error)

        try:
            self.pool.submit(step)
        except (OSError, RuntimeError) as error:
            raise _not_started(error) from error
        return result

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
    return _Workers(ThreadPoolExecutor(most), work.code, getattr(work, "begin", None))


def _sendable(work: Work) -> Callable[[list[int]], list[EncodedFrame | DcmtxError]]:
    """Return the work with results that a process can send: their data as bytes."""

    def code(numbers: list[int]) -> list[EncodedFrame | DcmtxError]:
        results = work.code(numbers)
        return [one if isinstance(one, DcmtxError) else one.replace(data=bytes(one.data)) for one in results]

    return code
