"""Puts finished files in place in a thread of its own, while a worker converts the next file.

Each file is synced, then renamed. Its directory is synced once for many files, after they were renamed. Only then a
file is reported.
"""

from __future__ import annotations

import _thread
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

# Files that wait to be synced, at most, and their bytes. A larger file waits alone.
MOST_WAITING = 32
MOST_BYTES = 64 << 20
# Files that are in place and wait for the sync of their directory: how many at most, and how long in seconds.
MOST_PLACED = 32
_LONGEST = 0.2


class Committer:
    """Puts files in place in the order in which they are added. `report` gets numbers of files with their fates.

    The thread lives while there is something to do, and `report` is called in it. An unexpected error in it ends the
    process.
    """

    def __init__(self, report: Callable[[list[tuple[int, Fate]]], None]) -> None:
        self._report = report
        # `threading` does not count this thread, so a job does not take its process for one that has several.
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[tuple[int, Unplaced]] = deque()
        self._bytes = 0
        self._running = False
        self._hurry = False

    def make_room(self, size: int) -> None:
        """Wait until a file of so many bytes may be added."""
        with self._changed:
            while self._waiting and (len(self._waiting) >= MOST_WAITING or self._bytes + size > MOST_BYTES):
                self._changed.wait()

    def add(self, number: int, file: Unplaced) -> None:
        """Put a file in place as soon as those before it are."""
        with self._changed:
            self._waiting.append((number, file))
            self._bytes += file.size
            self._hurry = False
            alone = False
            if not self._running:
                self._running = True
                try:
                    _thread.start_new_thread(self._run, ())
                except RuntimeError:
                    # The system has no thread left. Then the file is put in place before the next one begins.
                    alone = self._hurry = True
            self._changed.notify_all()
        if alone:
            self._run()

    def hurry(self) -> None:
        """Sync directories as soon as no file waits: no other is going to be added soon."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()

    def settle(self) -> None:
        """Wait until everything is in place and reported, and the thread has ended."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            while self._running:
                self._changed.wait()

    def _run(self) -> None:
        placed: dict[int, list[Finding]] = {}
        directories: dict[str, list[int]] = {}
        oldest = 0.0
        try:
            while True:
                number, file = self._next(oldest + _LONGEST if placed else None)
                if file is not None:
                    fate = _placed(file)
                    self._forget(file)
                    if isinstance(fate, DcmtxError):
                        self._report([(number, fate)])
                        continue
                    oldest = oldest if placed else time.monotonic()
                    placed[number] = fate
                    directories.setdefault(file.directory, []).append(number)
                    if len(placed) < MOST_PLACED:
                        continue
                elif not placed:
                    return
                for directory, numbers in directories.items():
                    notes = sync_directory(directory)
                    for one in numbers:
                        placed[one] += notes
                self._report([*placed.items()])
                placed.clear()
                directories.clear()
        except BaseException:  # noqa: BLE001 - the parent then puts the files in place itself
            sys.excepthook(*sys.exc_info())
            os._exit(1)

    def _next(self, until: float | None) -> tuple[int, Unplaced | None]:
        """Return the next file, or no file if directories are to be synced; `until` is when they must be.

        Without `until`, no directory waits; then no file means that the thread must end.
        """
        with self._changed:
            while not self._waiting:
                left = 0.0 if until is None or self._hurry else until - time.monotonic()
                if left <= 0:
                    # Under the lock, so that the next `add` starts a thread.
                    self._running = until is not None
                    self._changed.notify_all()
                    return 0, None
                self._changed.wait(left)
            return self._waiting[0]

    def _forget(self, file: Unplaced) -> None:
        with self._changed:
            self._waiting.popleft()
            self._bytes -= file.size
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
