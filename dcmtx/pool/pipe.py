"""A pipe between a pool and a worker: messages are objects, pickled, each behind its length.

`multiprocessing.connection` does the same, but takes 5 ms to load, for which every batch would wait.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import select
import struct
from collections.abc import Callable, Sequence
from typing import Any

_LENGTH = struct.Struct("!Q")
# Bytes that are made room for at once: what a dying process sends may say anything of its length.
_PIECE = 1 << 20
# The system takes milliseconds as an int of C.
_LONGEST = 1 << 29


class Pipe:
    """One end of a pipe. Messages go both ways."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __reduce__(self) -> tuple[Callable[[Any], Pipe], tuple[Any]]:
        """Have `multiprocessing` duplicate the descriptor for a process that it starts."""
        from multiprocessing.reduction import DupFd

        return _received, (DupFd(self.fileno()),)

    def fileno(self) -> int:
        """Return the descriptor; -1 if this end is closed."""
        return self._descriptor

    def send(self, message: object) -> None:
        """Send a message. Raises OSError if nobody reads it."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        left = memoryview(_LENGTH.pack(len(data)) + data)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def receive(self) -> Any:
        """Wait for a message and return it.

        Raises EOFError if the other end is closed, and BlockingIOError if a message begins but does not go on.
        """
        return pickle.loads(self._read(_LENGTH.unpack(self._read(_LENGTH.size))[0]))  # noqa: S301 - a worker's of ours

    def _read(self, count: int) -> bytes | bytearray:
        piece = os.read(self._descriptor, min(count, _PIECE))
        if len(piece) == count:
            return piece
        data = bytearray(piece)
        while piece and len(data) < count:
            piece = os.read(self._descriptor, min(count - len(data), _PIECE))
            data += piece
        if len(data) < count:
            raise EOFError
        return data

    def is_readable(self) -> bool:
        """Tell whether a message has begun, or the other end is closed."""
        return bool(readable([self], 0))

    def close(self) -> None:
        """Close this end."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _received(duplicate: Any) -> Pipe:
    return Pipe(duplicate.detach())


def pair(patience: float) -> tuple[Pipe, Pipe]:
    """Return both ends of a pipe. The first waits at most so many seconds for the rest of a message."""
    import socket

    ours, theirs = socket.socketpair()
    seconds, rest = divmod(patience, 1)
    with contextlib.suppress(OSError):
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(seconds), int(1_000_000 * rest)))
    return Pipe(ours.detach()), Pipe(theirs.detach())


def readable(ends: Sequence[Any], seconds: float | None) -> list[Any]:
    """Wait until one of these is readable, or is closed by the other side, and return those that are.

    Ends are descriptors, or have a `fileno`. After so many seconds, none is; without a number, it waits for ever.
    """
    poll = select.poll()
    by_descriptor = {}
    for end in ends:
        descriptor = end if isinstance(end, int) else end.fileno()
        by_descriptor[descriptor] = end
        poll.register(descriptor, select.POLLIN)
    # Rounded up, since the deadline that is waited for must be over then. Nobody minds if it takes less than a week.
    milliseconds = None if seconds is None else min(math.ceil(1000 * seconds), _LONGEST)
    return [by_descriptor[descriptor] for descriptor, _ in poll.poll(milliseconds)]
