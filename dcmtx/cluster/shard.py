"""One shard of a run, whoever asks for it: `dcmtx shard`.

Its files are converted by processes of their own, its parts. Where one dies, what it had not finished is halved, and
each half gets a part, until a file that ends every process is alone; that one fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from dcmtx.cluster.entry import Entry
from dcmtx.cluster.part import Order, destination_of
from dcmtx.cluster.run import Run
from dcmtx.errors import CodecError, DcmtxError, InputError, OutputError
from dcmtx.place.places import is_remote, remove_left
from dcmtx.record import Record
from dcmtx.transcoding.job import Job

# What processes that are ended from outside die of, for example where memory is short. It may not be the file's fault.
_KILLED = -signal.SIGKILL
_BLOCK = 1 << 16
Files = list[tuple[int, Entry]]


class Asked(Record):
    """How a shard is done here: by so many processes, each started by `line`; `timeout` is in seconds per file.

    `fail` makes the record of a file that failed of the error, its source and destination.
    """

    line: Sequence[str]
    fail: Callable[[DcmtxError, str, str], dict[str, Any]]
    workers: int = 1
    timeout: float | None = None


class Done(Record):
    """A shard that is done: its records, and whether it was done `before`, so that nothing was converted now."""

    rows: list[dict[str, Any]]
    before: bool = False


def do_shard(run: Run, number: int, job: Job | None, asked: Asked) -> Done:
    """Convert a shard, unless it is done, and write its report.

    Raises UsageError if the run has another job, or no such shard; DcmtxError with the code E_STORE or E_DISK_FULL if
    the shard could not be done now. Then it has no report, and what is in place stays.
    """
    settled = run.settled(job)
    done = run.rows(number)
    if done is not None:
        return Done(list(done), before=True)
    entries = run.entries(number)
    if is_remote(settled.dst):
        from dcmtx.place.remote import check_conditions

        check_conditions(settled.dst)
    rows = _Shard(settled, entries, asked).convert()
    if not run.finish(number, rows):
        # Somebody else was first with the same shard.
        rows = list(run.rows(number) or ())
    return Done(rows)


class _Part:
    """A process that converts files, in order."""

    def __init__(self, job: Job, files: Files, asked: Asked) -> None:
        self.left = dict(files)
        # From when it says that it has begun: starting takes as long as it takes.
        self.deadline: float | None = None
        self.has_begun = False
        self.late = False
        self.error: DcmtxError | None = None
        self._buffer = b""
        reading, writing = os.pipe()
        try:
            self.process = subprocess.Popen(  # noqa: S603 - our own line
                [*asked.line, str(writing)], stdin=subprocess.PIPE, pass_fds=[writing]
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.fd = reading
        workers = asked.workers if len(files) == 1 else 1
        # The pipe stays open: when it ends, the part does.
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.write(Order(job.replace(workers=workers), files).to_line())
            self.process.stdin.flush()

    def fileno(self) -> int:
        """Return what is readable when the part says something."""
        return self.fd

    def read(self) -> list[tuple[int, dict[str, Any]]] | None:
        """Return the records that it has made; None if it has ended."""
        piece = os.read(self.fd, _BLOCK)
        if not piece:
            return None
        *lines, self._buffer = (self._buffer + piece).split(b"\n")
        found = []
        for line in lines:
            said = json.loads(line)
            if "begun" in said:
                self.has_begun = True
            elif "stop" in said:
                self.error = _error(said["stop"])
            else:
                found.append((said["number"], said["row"]))
                self.left.pop(said["number"], None)
        return found

    def end(self) -> int:
        """Wait for its end, and return its status."""
        with contextlib.suppress(OSError):
            os.close(self.fd)
        status = self.process.wait()
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        return status

    def kill(self) -> None:
        """End it now."""
        self.process.kill()


class _Shard:
    def __init__(self, job: Job, entries: Sequence[Entry], asked: Asked) -> None:
        self._job = job
        self._entries = entries
        self._asked = asked
        self._rows: dict[int, dict[str, Any]] = {}
        self._waiting: deque[Files] = deque()
        self._killed: set[int] = set()

    def convert(self) -> list[dict[str, Any]]:
        files = list(enumerate(self._entries))
        each = -(-len(files) // max(self._asked.workers, 1))
        self._waiting.extend(files[start : start + each] for start in range(0, len(files), each or 1))
        parts: list[_Part] = []
        with selectors.DefaultSelector() as selector:
            try:
                while self._waiting or parts:
                    while self._waiting and len(parts) < max(self._asked.workers, 1):
                        parts.append(_Part(self._job, self._waiting.popleft(), self._asked))
                        selector.register(parts[-1], selectors.EVENT_READ)
                    self._step(selector, parts)
            finally:
                for part in parts:
                    part.kill()
                    part.end()
        return [self._rows[number] for number in range(len(self._entries))]

    def _step(self, selector: selectors.BaseSelector, parts: list[_Part]) -> None:
        deadlines = [part.deadline for part in parts if part.deadline is not None]
        patience = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        for key, _ in selector.select(patience):
            part: Any = key.fileobj
            said = part.read()
            if said is None:
                selector.unregister(part)
                parts.remove(part)
                self._ended(part)
                continue
            self._rows.update(said)
            if self._asked.timeout is not None and part.has_begun and not part.late:
                part.deadline = time.monotonic() + self._asked.timeout
        for part in parts:
            if part.deadline is not None and part.deadline <= time.monotonic():
                part.late, part.deadline = True, None
                part.kill()

    def _ended(self, part: _Part) -> None:
        """Take the end of a part: what it has left is halved, or fails."""
        status = part.end()
        if part.error is not None:
            raise part.error
        left = list(part.left.items())
        if len(left) > 1:
            middle = len(left) // 2
            self._waiting.extend((left[:middle], left[middle:]))
        elif left:
            number, entry = left[0]
            if status == _KILLED and not part.late and number not in self._killed:
                self._killed.add(number)
                self._waiting.append(left)
                return
            self._rows[number] = self._failed(entry, _death(part, status, self._asked.timeout))

    def _failed(self, entry: Entry, error: DcmtxError) -> dict[str, Any]:
        try:
            place = destination_of(self._job, entry)
            remove_left(place)
        except InputError:
            place = self._job.dst
        return self._asked.fail(error, entry.source, place)


def _death(part: _Part, status: int, timeout: float | None) -> DcmtxError:
    if part.late:
        return CodecError(f"it took longer than the {timeout:g} s that --timeout allows", code="E_TIMEOUT")
    how = f"ended with status {status}"
    if status < 0:
        with contextlib.suppress(ValueError):
            how = f"was ended by {signal.Signals(-status).name}"
    return CodecError(f"the process that converted it {how}; only this file is affected", code="E_CRASH")


def _error(said: dict[str, Any]) -> DcmtxError:
    """Return the error that stopped a part."""
    kind = OutputError if said["status"] == OutputError.status else InputError
    return kind(said["what"], advice=said["advice"], code=said["code"], path=said["path"])


def error_form(error: DcmtxError) -> dict[str, Any]:
    """Return an error that stops a part in the form in which it is told."""
    return {
        "what": error.reason, "advice": error.advice, "code": error.code, "path": error.path,
        "status": int(error.status),
    }  # fmt: skip
