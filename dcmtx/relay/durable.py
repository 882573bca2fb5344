"""A directory whose entries outlast a crash of the machine, at the price of one turn of the disk for all who wait."""

from __future__ import annotations

import errno
import os
import threading


def sync_directory(path: str) -> None:
    """Have what is in a directory now outlast a crash. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DurableDirectory:
    """An open directory. All methods may be called from any thread."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._changed = threading.Condition()
        self._under_way = False
        # Numbers of those who asked: the last, the last for whom it was done, the last for whom it failed.
        self.asked = self._tried = self._failed = 0

    def close(self) -> None:
        """Close it. Who syncs after that fails, and does not sync what has its number then."""
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def sync(self) -> None:
        """Return when what is in the directory now will outlast a crash. Raises OSError if it may not.

        Those who come during one turn of the disk share the next.
        """
        with self._changed:
            self.asked += 1
            mine = self.asked
            while self._under_way and self._tried < mine:
                self._changed.wait()
            if self._tried >= mine:
                if mine <= self._failed:
                    # The system tells of a failure once; to ask again would not help.
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                return
            self._under_way = True
            # All that was put there until now.
            mine = self.asked
        self._turn(mine)

    def _turn(self, last: int) -> None:
        """Sync it for all who asked up to this one."""
        failed = True
        try:
            os.fsync(self._descriptor)
            failed = False
        finally:
            with self._changed:
                self._under_way = False
                self._tried = last
                if failed:
                    self._failed = last
                self._changed.notify_all()
