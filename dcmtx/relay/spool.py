"""The spool: what was received and is not delivered yet, as directories and hard links, so that nothing can be lost.

    lock               held by the one relay that uses it
    incoming/ID.part   being received; worthless after a restart
    queue/NAME/ID.dcm  acknowledged, and not delivered to destination NAME yet; the links of one ID are one file
    held/NAME/ID.dcm   waits for a person; ID.json says why; `paused`: nothing is sent to NAME
    work/              transcoded, worthless after a restart

An ID is the time of reception in nanoseconds, made unique: the order of names is that of reception.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Self

from dcmtx.errors import InputError, OutputError
from dcmtx.relay.durable import sync_directory
from dcmtx.relay.entry import read_head
from dcmtx.relay.queues import Queue, has_some

_DIGITS = 20
_PIECE = 1 << 18


class _File:
    """One instance in the spool: its size, the destinations that still need it, and its SOP Instance UID if known."""

    __slots__ = ("instance", "names", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.names: set[str] = set()
        self.instance = ""


class Spool:
    """The spool at `path`, with a queue for each of these destinations.

    Raises OutputError if it cannot be made, or if another relay uses it. All methods may be called from any thread.
    """

    def __init__(self, path: str, names: Iterable[str]) -> None:
        self.path = os.path.abspath(path)
        self._guard = threading.Lock()
        self._files: dict[str, _File] = {}
        self._instances: dict[str, set[str]] = {}
        self._last = 0
        self.bytes = 0
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            self._lock = self._take_lock()
            for directory in ("incoming", "work"):
                self._empty(self.make_directory(directory))
            self.queues = {name: Queue(self, name) for name in names}
            self._sync_directories()
        except OSError as error:
            raise OutputError(
                f"the spool cannot be used: {error.strerror or error}", advice="give another", path=self.path
            ) from error
        self._last = max((int(identifier) for identifier in self._files), default=0)

    def _take_lock(self) -> int:
        lock = os.open(os.path.join(self.path, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise OutputError(
                "another relay uses this spool", advice="end it, or give this one a spool of its own", path=self.path
            ) from error
        return lock

    def make_directory(self, *parts: str) -> str:
        """Make a directory of the spool if it is not there, and return its path."""
        path = os.path.join(self.path, *parts)
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    @staticmethod
    def _empty(directory: str) -> None:
        for name in os.listdir(directory):
            os.unlink(os.path.join(directory, name))

    def _sync_directories(self) -> None:
        """Have new directories outlast a crash of the machine, and what a relay has put there that was killed."""
        for directory in (self.path, *(os.path.join(self.path, name) for name in ("queue", "held", "incoming"))):
            os.makedirs(directory, mode=0o700, exist_ok=True)
            sync_directory(directory)
        for name in self.queues:
            sync_directory(os.path.join(self.path, "queue", name))
        # Where the spool itself is, this user may have no right to look.
        with contextlib.suppress(PermissionError):
            sync_directory(os.path.dirname(self.path))

    def close(self) -> None:
        """Let another relay use it."""
        for queue in self.queues.values():
            queue.close()
        os.close(self._lock)

    def __enter__(self) -> Self:
        """Return the spool itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    # --- receiving

    def receive(self) -> Incoming:
        """Begin an instance. Raises OSError if the file cannot be made."""
        with self._guard:
            self._last = max(time.time_ns(), self._last + 1)
            identifier = f"{self._last:0{_DIGITS}d}"
        return Incoming(self, identifier, os.path.join(self.path, "incoming", identifier + ".part"))

    @property
    def work(self) -> str:
        """The directory for what is transcoded."""
        return os.path.join(self.path, "work")

    def free(self) -> int:
        """Return the free bytes of its file system."""
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def strangers(self) -> list[str]:
        """Return names of destinations for which something waits or is held here, and which are not this relay's."""
        parts = [os.path.join(self.path, part) for part in ("queue", "held")]
        names = {name for part in parts for name in os.listdir(part)} - set(self.queues)
        return sorted(name for name in names if any(has_some(os.path.join(part, name)) for part in parts))

    # --- destinations

    def queue(self, name: str) -> Queue:
        """Return the queue of a destination."""
        return self.queues[name]

    # --- the index

    def register(self, identifier: str, name: str, size: int, instance: str = "") -> None:
        """Note that a destination needs an instance."""
        with self._guard:
            file = self._files.get(identifier)
            if file is None:
                file = self._files[identifier] = _File(size)
                self.bytes += size
            file.names.add(name)
        if instance:
            self.know(identifier, instance)

    def know(self, identifier: str, instance: str) -> None:
        """Note the SOP Instance UID of an instance that is here."""
        with self._guard:
            file = self._files.get(identifier)
            if file is not None and not file.instance:
                file.instance = instance
                self._instances.setdefault(instance, set()).add(identifier)

    def forget(self, identifier: str, name: str) -> None:
        """Note that a destination needs an instance no more."""
        with self._guard:
            file = self._files.get(identifier)
            if file is None:
                return
            file.names.discard(name)
            if not file.names:
                del self._files[identifier]
                self.bytes -= file.size
                same = self._instances.get(file.instance, set())
                same.discard(identifier)
                if not same:
                    self._instances.pop(file.instance, None)

    def size_of(self, identifier: str) -> int:
        """Return the size of an instance in bytes; 0 if it is not there."""
        file = self._files.get(identifier)
        return 0 if file is None else file.size

    def equals(self, path: str, instance: str, size: int, name: str) -> bool:
        """Tell whether a file is, byte for byte, one that waits for this destination already."""
        with self._guard:
            known = [
                identifier
                for identifier in self._instances.get(instance, ())
                if name in self._files[identifier].names and self._files[identifier].size == size
            ]
        return any(_same(path, self.queues[name].path_of(identifier)) for identifier in known)


class Incoming:
    """An instance that is being received. It is nothing until `commit` has returned."""

    def __init__(self, spool: Spool, identifier: str, path: str) -> None:
        self._spool = spool
        self.id = identifier
        self.path = path
        self.size = 0
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes. Raises OSError."""
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self.size += written
            view = view[written:]

    def pread(self, length: int, offset: int) -> bytes:
        """Return what was written there."""
        return os.pread(self._fd, length, offset)

    def commit(self, names: Sequence[str], instance: str = "") -> tuple[str, ...]:
        """Give it to these destinations, durably; return those that did not have the very same waiting already.

        Raises OSError; then nobody has it, and `abort` must be called.
        """
        spool = self._spool
        new = tuple(name for name in names if not spool.equals(self.path, instance, self.size, name))
        queues = [spool.queues[name] for name in new]
        if queues:
            os.fsync(self._fd)
        linked: list[Queue] = []
        try:
            for queue in queues:
                queue.link(self.path, self.id)
                linked.append(queue)
            for queue in queues:
                queue.sync()
        except OSError:
            for queue in linked:
                queue.unlink(self.id)
            raise
        self.abort()
        for queue in queues:
            spool.register(self.id, queue.name, self.size, instance)
        for queue in queues:
            queue.add(self.id, self.size)
        return new

    def abort(self) -> None:
        """Remove it from what is being received. A second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)


def _same(one: str, other: str) -> bool:
    """Tell whether two files have the same data set in the same syntax; False if one of them is gone."""
    try:
        first, second = read_head(one), read_head(other)
        if (first.sop_class, first.syntax) != (second.sop_class, second.syntax):
            return False
        with open(one, "rb") as left, open(other, "rb") as right:
            left.seek(first.offset)
            right.seek(second.offset)
            while True:
                piece = left.read(_PIECE)
                if piece != right.read(_PIECE):
                    return False
                if not piece:
                    return True
    except (OSError, InputError):
        return False
