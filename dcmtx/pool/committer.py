"""Puts finished files in place in threads of its own, while a worker converts the next file.

Each file is synced, then renamed. Its directory is synced once for many files, after they were renamed. Only then a
file is reported. Where the disk is slow, several files are synced at once: the file system then writes its journal once
for all of them.
"""

from __future__ import annotations

import _thread
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from dcmtx.errors import DcmtxError
from dcmtx.finding import Finding
from dcmtx.place.filesystem import sync_directory
from dcmtx.place.sink import write_error
from dcmtx.place.temporary import Unplaced

# What became of a file: notes, or the error.
Fate = list[Finding] | DcmtxError

# Files that are not synced, at most, and their bytes. A larger file waits alone.
MOST_WAITING = 32
MOST_BYTES = 64 << 20
# Files that are synced at once, at most.
MOST_THREADS = 4
# Files that are in place and wait for the sync of their directory: how many at most, and how long in seconds.
MOST_PLACED = 32
_LONGEST = 0.2
# Bytes. These threads call no codec, and a worker's address space is limited.
_STACK = 1 << 18


class _Batch:
    """Files that are in place and wait for the sync of their directories."""

    def __init__(self) -> None:
        self.notes: dict[int, list[Finding]] = {}
        self.directories: dict[str, list[int]] = {}
        self.due = math.inf

    def add(self, number: int, file: Unplaced, notes: list[Finding]) -> None:
        """Add a file that is in place."""
        if not self.notes:
            self.due = time.monotonic() + _LONGEST
        self.notes[number] = notes
        self.directories.setdefault(file.directory, []).append(number)

    def sync(self) -> list[tuple[int, Fate]]:
        """Sync the directories, and return what became of the files."""
        for directory, numbers in self.directories.items():
            found = sync_directory(directory)
            for number in numbers:
                self.notes[number] += found
        return [*self.notes.items()]


class Committer:
    """Puts files in place. `report` gets numbers of files with their fates.

    Threads live while there is something to do, and `report` is called in them. An unexpected error in one ends the
    process.
    """

    def __init__(self, report: Callable[[list[tuple[int, Fate]]], None]) -> None:
        self._report = report
        # `threading` does not count these threads, so a job does not take its process for one that has several.
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[tuple[int, Unplaced]] = deque()
        # Files that are not synced, and their bytes.
        self._files = self._bytes = 0
        self._placed = _Batch()
        # Threads, and those of them that sync something.
        self._threads = self._busy = 0
        self._hurry = False

    def make_room(self, size: int) -> None:
        """Wait until a file of so many bytes may be added."""
        with self._changed:
            while self._files and (self._files >= MOST_WAITING or self._bytes + size > MOST_BYTES):
                self._changed.wait()

    def add(self, number: int, file: Unplaced) -> None:
        """Put a file in place soon."""
        with self._changed:
            self._waiting.append((number, file))
            self._files += 1
            self._bytes += file.size
            self._hurry = False
            if not self._threads or len(self._waiting) > 1:
                self._start()
            # The system has no thread left. Then the file is put in place before the next one begins.
            alone = self._hurry = not self._threads
            self._threads += alone
            self._changed.notify_all()
        if alone:
            self._run()

    def hurry(self) -> None:
        """Sync directories as soon as no file waits: no other is going to be added soon."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()

    def settle(self) -> None:
        """Wait until everything is in place and reported, and the threads have ended."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            while self._threads:
                self._changed.wait()

    def _start(self) -> None:
        """Start a thread if all are busy, there may be another, and the system has one."""
        if self._threads > self._busy or self._threads >= MOST_THREADS:
            return
        before = _thread.stack_size(_STACK)
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError:
            return
        finally:
            _thread.stack_size(before)
        self._threads += 1

    def _run(self) -> None:
        try:
            while (work := self._next()) is not None:
                if isinstance(work, _Batch):
                    self._report(work.sync())
                    self._done(0, 0)
                    continue
                number, file = work
                fate = _placed(file)
                if isinstance(fate, DcmtxError):
                    self._report([(number, fate)])
                else:
                    with self._changed:
                        self._placed.add(number, file, fate)
                self._done(1, file.size)
        except BaseException:  # noqa: BLE001 - the parent then puts the files in place itself
            sys.excepthook(*sys.exc_info())
            os._exit(1)

    def _next(self) -> tuple[int, Unplaced] | _Batch | None:
        """Return the next file, or files whose directories must be synced now; None if this thread must end."""
        with self._changed:
            while True:
                left = self._left()
                if left <= 0:
                    self._busy += 1
                    batch, self._placed = self._placed, _Batch()
                    return batch
                if self._waiting:
                    self._busy += 1
                    file = self._waiting.popleft()
                    if self._waiting:
                        self._start()
                    return file
                if not self._placed.notes or self._threads - self._busy > 1:
                    # Under the lock, so that the next `add` sees it. One thread waits until directories are due.
                    self._threads -= 1
                    self._changed.notify_all()
                    return None
                self._changed.wait(left)

    def _left(self) -> float:
        """Return the seconds until directories must be synced; infinity if no file is in place."""
        if not self._placed.notes:
            return math.inf
        if len(self._placed.notes) >= MOST_PLACED or (self._hurry and not self._waiting and not self._busy):
            return 0.0
        return self._placed.due - time.monotonic()

    def _done(self, files: int, size: int) -> None:
        with self._changed:
            self._busy -= 1
            self._files -= files
            self._bytes -= size
            self._changed.notify_all()


def _placed(file: Unplaced) -> Fate:
    """Sync a file and put it in place; return notes, or the error, after which the file is removed."""
    try:
        notes = file.prepare()
        file.place()
    except OSError as error:
        file.discard()
        return write_error(file.path, error)
    except DcmtxError as error:
        file.discard()
        return error
    return notes
