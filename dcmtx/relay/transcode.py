"""Transcoding by the pool of processes, which contains what codecs do: crash, hang, take all memory.

The pool is made before the first thread is: a process with threads is never forked. One thread drives it.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from dcmtx.errors import DcmtxError, OutputError, RefusedError, UnsupportedError, UsageError
from dcmtx.policy import LOSSLESS, EncodingParameters
from dcmtx.pool.machine import available_cores
from dcmtx.pool.workers import Pool
from dcmtx.record import Record
from dcmtx.relay.negotiation import Wanted, may_have_lost
from dcmtx.syntax import BY_UID

if TYPE_CHECKING:
    from dcmtx.transcoding.job import Job

# (0028,2110), whose value 01 says that pixels have lost information.
_LOSSY_COMPRESSION = 0x00282110


class Task(Record):
    """One instance to transcode: from path to path, into the first of these syntaxes that can be made of it.

    `created` is when it was received: what is made of it twice is the same, to the last byte. `parameters` are those
    of the destination's consent to loss.
    """

    number: int
    source: str
    target: str
    wanted: tuple[Wanted, ...]
    parameters: EncodingParameters | None
    created: float


class Transcoded(Record):
    """What came of a task: the transfer syntax that it has now, and the seconds it took."""

    syntax: str
    seconds: float


def perform(task: Task) -> Transcoded:
    """Run a task, in a process of the pool. Raises RefusedError if none of the syntaxes can be made of it."""
    from dcmtx.pool import worker
    from dcmtx.transcoding.running import run

    began = time.perf_counter()
    refusals = []
    for wanted in task.wanted:
        try:
            outcome = run(_job(task, wanted), worker.cores)
            return Transcoded(outcome.syntax_out, time.perf_counter() - began)
        except (RefusedError, UnsupportedError, UsageError) as error:
            refusals.append(f"not as {BY_UID[wanted.syntax].label}: {error.what}")
    raise RefusedError("; ".join(refusals))


def _job(task: Task, wanted: Wanted) -> Job:
    from dcmtx.planning.request import Request, Target, parameters_for
    from dcmtx.policy import NoPixels, Policy, Sync
    from dcmtx.transcoding.job import Job

    target = Target(wanted.syntax, (BY_UID[wanted.syntax],))
    parameters = LOSSLESS
    if wanted.lossy and task.parameters is not None:
        if _has_lost(task.source):
            raise RefusedError("it has lost information already, and would lose more")
        parameters = parameters_for(target, task.parameters)
    # After a crash of the machine it is made again.
    policy = Policy(no_pixels=NoPixels.FAIL, created=task.created, sync=Sync.NONE)
    request = Request(target, policy, parameters=parameters)
    return Job(task.source, task.target, request, workers=available_cores())


def _has_lost(path: str) -> bool:
    """Tell whether a file says that its pixels have lost information, in whatever syntax it is now."""
    from dcmtx.dataset.header import Header
    from dcmtx.dataset.meta import peek
    from dcmtx.place.bytes import open_bytes

    reader = open_bytes(path)
    try:
        meta = peek(reader)
        row = BY_UID.get(meta.syntax)
        if row is None or row.deflated:
            return may_have_lost(row)
        return Header(reader, meta.dataset, row.encoding).text(_LOSSY_COMPRESSION) == "01"
    finally:
        reader.close()


Answered = Future[Transcoded | DcmtxError]


class Transcoder:
    """Runs tasks on `jobs` processes, 0 for as many as there are cores, each at most `timeout` seconds.

    Make it before any thread is started. `submit` may then be called from any thread.
    """

    def __init__(self, jobs: int, timeout: float, modules: Sequence[str] = ()) -> None:
        self._pool: Pool[Task, Transcoded] = Pool(
            perform, jobs or available_cores(), timeout=timeout, modules=modules
        )  # fmt: skip
        self._guard = threading.Lock()
        self._new: deque[Task] = deque()
        self._waiting: dict[int, Answered] = {}
        self._numbers = itertools.count(1)
        self._stopping = False
        self._thread = threading.Thread(target=self._drive, name="transcode", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def submit(
        self, source: str, target: str, wanted: Sequence[Wanted], parameters: EncodingParameters | None, created: float
    ) -> Answered:
        """Queue a task; its future has what came of it, or the error, and never raises."""
        task = Task(next(self._numbers), source, target, wanted=tuple(wanted), parameters=parameters, created=created)
        answered: Answered = Future()
        with self._guard:
            if self._stopping:
                answered.set_result(_stopped())
                return answered
            self._waiting[task.number] = answered
            self._new.append(task)
        self._pool.wake()
        return answered

    def _drive(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001 - without this thread all would wait for ever
                # No process can be started. Whoever waits tries again later.
                what = error.what if isinstance(error, DcmtxError) else repr(error)
                self._fail_all(OutputError(f"nothing can be transcoded: {what}"))
                with contextlib.suppress(Exception):
                    self._pool.stop()
                time.sleep(1)

    def _turn(self) -> None:
        with self._guard:
            new = list(self._new)
            self._new.clear()
        for task in new:
            self._pool.submit(task)
        self._pool.step(None)
        for task, result in self._pool.finished():
            with self._guard:
                answered = self._waiting.pop(task.number, None)
            if answered is not None:
                answered.set_result(result)

    def _fail_all(self, error: DcmtxError) -> None:
        with self._guard:
            waiting, self._waiting = self._waiting, {}
            self._new.clear()
        for answered in waiting.values():
            answered.set_result(error)

    def stop(self) -> None:
        """End the processes. What was not finished fails."""
        with self._guard:
            self._stopping = True
        self._pool.wake()
        if self._thread.is_alive():
            self._thread.join()
        self._fail_all(_stopped())
        self._pool.__exit__(None)


def _stopped() -> OutputError:
    return OutputError("the relay ends")
