"""Which frames a device process codes next: requests of several clients share a batch where they are coded alike."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from dcmtx.record import Record

# The most bytes of samples in one batch: 64 frames of 512x512 of 16 bits.
BATCH_BYTES = 32 << 20
# The most frames in one batch: each has a pinned buffer.
BATCH_FRAMES = 256


class Request:
    """Frames of one client to code alike, and what became of each.

    `coding` has the parameters of an encoder, None for a decoder; `high_throughput` tells HTJ2K from JPEG 2000. Frames
    are arrays or codestreams, whose samples take `size` bytes. `alone` has nothing else run meanwhile: the process has
    died before while it had this request, which may be the cause; then `begun` is called when it does run. `put` takes
    the result of one frame, which holds only until it returns; `faults` has the messages of frames that failed, by
    their places.
    """

    def __init__(
        self, frames: list[Any], coding: dict[str, Any] | None, *, high_throughput: bool, size: int, alone: bool,
        put: Callable[[int, Any], None], begun: Callable[[], None],
    ) -> None:  # fmt: skip
        self.frames = frames
        self.coding = coding
        self.high_throughput = high_throughput
        # Requests with the same key can share a batch.
        self.key = (high_throughput, json.dumps(coding, sort_keys=True))
        self.size = size
        self.alone = alone
        self.put = put
        self.begun = begun
        self.faults: dict[int, str] = {}
        self._left = len(frames)
        self._done = threading.Event()
        self._answered = threading.Event()

    def settle(self, count: int) -> None:
        """Count frames that are done or have failed."""
        self._left -= count
        if not self._left:
            self._done.set()

    def wait(self) -> None:
        """Wait until every frame is done or has failed."""
        self._done.wait()

    def answered(self) -> None:
        """Say that the client has its results, or is gone."""
        self._answered.set()

    def wait_for_answer(self, patience: float) -> None:
        """Wait until the client has its results, if every frame is done."""
        if self._done.is_set():
            self._answered.wait(patience)


class Part(Record):
    """Frames of one request that are coded together, by their places in it. `last` says that none is tried again."""

    request: Request
    places: tuple[int, ...]
    last: bool = False

    @property
    def alone(self) -> bool:
        """Whether nothing else may run meanwhile."""
        return self.last or self.request.alone


class Queue:
    """Parts that wait, and those that run. Every lane takes batches from it."""

    def __init__(self, most: int = BATCH_BYTES, most_frames: int = BATCH_FRAMES) -> None:
        self._most = most
        self._most_frames = most_frames
        self._waiting: deque[Part] = deque()
        # When each lane began its batch.
        self._running: dict[int, float] = {}
        self._alone = False
        self._changed = threading.Condition()

    def add(self, request: Request) -> None:
        """Queue all frames of a request."""
        with self._changed:
            self._waiting.append(Part(request, tuple(range(len(request.frames)))))
            self._changed.notify_all()

    def again(self, request: Request, place: int) -> None:
        """Queue a frame that failed once more, before all others and alone, so that what is said then is of it."""
        with self._changed:
            self._waiting.appendleft(Part(request, (place,), last=True))
            self._changed.notify_all()

    def take(self, lane: int) -> list[Part]:
        """Return the parts of the next batch, when there is one."""
        with self._changed:
            while not self._may_begin():
                self._changed.wait()
            first = self._waiting.popleft()
            self._running[lane] = time.monotonic()
            if first.alone:
                self._alone = True
                return [first]
            batch, size, frames = [first], first.request.size, len(first.places)
            for part in list(self._waiting):
                if part.alone:
                    # What waits to run alone is not overtaken for ever.
                    break
                fits = size + part.request.size <= self._most and frames + len(part.places) <= self._most_frames
                if part.request.key == first.request.key and fits:
                    batch.append(part)
                    size += part.request.size
                    frames += len(part.places)
                    self._waiting.remove(part)
            return batch

    def _may_begin(self) -> bool:
        if not self._waiting or self._alone:
            return False
        return not self._waiting[0].alone or not self._running

    def finish(self, lane: int) -> None:
        """Say that the batch of a lane is done."""
        with self._changed:
            del self._running[lane]
            self._alone = False
            self._changed.notify_all()

    def longest(self) -> float:
        """Return for how many seconds the oldest batch has been running; 0 if none is."""
        with self._changed:
            return time.monotonic() - min(self._running.values()) if self._running else 0.0
