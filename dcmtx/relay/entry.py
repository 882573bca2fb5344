"""One instance in the queue of one destination, and what the beginning of its file says."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from dcmtx.dataset.meta import (
    LARGEST_META,
    SOP_CLASS,
    SOP_INSTANCE,
    SOURCE_TITLE,
    FileMeta,
    read_file_meta,
)
from dcmtx.errors import InputError
from dcmtx.record import Record

if TYPE_CHECKING:
    from dcmtx.relay.queues import Queue

# The relay's own File Meta Information is much shorter.
_FIRST = 2048


class Head(Record):
    """What the File Meta Information of an instance says. `offset` is that of its data set, `size` that of the file."""

    sop_class: str
    instance: str
    syntax: str
    calling: str
    offset: int
    size: int


def read_head(path: str) -> Head:
    """Read the File Meta Information of a file. Raises OSError, and InputError if it is not DICOM."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        try:
            meta = read_file_meta(os.pread(fd, _FIRST, 0))
        except InputError:
            meta = read_file_meta(os.pread(fd, 2 * LARGEST_META, 0))
    finally:
        os.close(fd)
    return _head(meta, size)


def sent_head(entry: Entry, path: str) -> Head:
    """Return the head of what is sent for an entry: its own file, or what was made of it and may have another UID.

    Raises OSError, and InputError if it is not DICOM.
    """
    return entry.head if path == entry.path else read_head(path)


def _head(meta: FileMeta, size: int) -> Head:
    if not meta.syntax:
        raise InputError("it has no File Meta Information")
    return Head(
        meta.text(SOP_CLASS),
        meta.text(SOP_INSTANCE),
        meta.syntax,
        calling=meta.text(SOURCE_TITLE),
        offset=meta.dataset,
        size=size,
    )


class Entry:
    """An instance that waits for a destination. Whoever took it from the queue ends it by one of its methods.

    `id` is the time it was received and orders entries; `tries` counts what its destination did not understand,
    `breaks` the associations that ended while it was sent, `starved` how often there was no room, or no process, to
    transcode it, `bugs` what nobody had thought of. `pressed` is when, by `time.monotonic()`, the destination first had
    no room for it.
    """

    __slots__ = ("_head", "_queue", "breaks", "bugs", "id", "path", "pressed", "starved", "tries")

    def __init__(self, queue: Queue, identifier: str) -> None:
        self._queue = queue
        self.id = identifier
        self.path = queue.path_of(identifier)
        self._head: Head | None = None
        self.tries = 0
        self.breaks = 0
        self.starved = 0
        self.bugs = 0
        self.pressed: float | None = None

    @property
    def head(self) -> Head:
        """What the file says of itself. Raises OSError, and InputError if it is not DICOM."""
        if self._head is None:
            self._head = read_head(self.path)
            self._queue.know(self.id, self._head.instance)
        return self._head

    @property
    def received(self) -> float:
        """When it was received, in seconds since 1970."""
        return received_at(self.id)

    def delivered(self) -> None:
        """Remove it from the queue: the destination has it."""
        self._queue.remove(self)

    def drop(self) -> None:
        """Remove it from the queue: nobody wants it."""
        self._queue.remove(self)

    def hold(self, reason: str, said: str = "") -> None:
        """Put it aside for a person, with the reason, and what the destination said itself."""
        self._queue.hold(self, reason, said)

    def again(self, seconds: float = 0.0) -> None:
        """Put it back into the queue, to be sent in so many seconds."""
        self._queue.put_back(self, time.monotonic() + seconds if seconds else 0.0)


def received_at(identifier: str) -> float:
    """Return when the instance of this id was received, in seconds since 1970."""
    return int(identifier) / 1e9
