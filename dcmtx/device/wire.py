"""Messages between a client and a device process, and the memory that both see.

A message is JSON with its length before it. Frames are not sent: they lie in shared memory, whose descriptor the client
passes once, and messages say where.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import struct
from typing import Any

# How a process ended whose library did not come back.
NO_ANSWER = "gave no answer"
_LENGTH = struct.Struct("<I")
# Every frame starts at a multiple of this, which suits any word and any cache.
_ALIGNED = 64


class Lost(Exception):  # noqa: N818 - it ends no program, and says what happened
    """The other side has closed the connection."""


def aligned(offset: int) -> int:
    """Return the next place where a frame may start."""
    return -(-offset // _ALIGNED) * _ALIGNED


def send(connection: socket.socket, message: dict[str, Any], descriptor: int | None = None) -> None:
    """Send a message, with a descriptor if there is one. Raises Lost."""
    data = json.dumps(message).encode("ascii")
    descriptors = [] if descriptor is None else [descriptor]
    try:
        socket.send_fds(connection, [_LENGTH.pack(len(data))], descriptors)
        connection.sendall(data)
    except TimeoutError:
        raise
    except OSError as error:
        raise Lost from error


def receive(connection: socket.socket) -> tuple[dict[str, Any], int | None]:
    """Return the next message, and the descriptor that came with it, if any. Raises Lost, or TimeoutError."""
    try:
        head, descriptors, _, _ = socket.recv_fds(connection, _LENGTH.size, 1)
        head += _exactly(connection, _LENGTH.size - len(head)) if head else b""
        if len(head) < _LENGTH.size:
            raise Lost
        (length,) = _LENGTH.unpack(head)
        data = _exactly(connection, length)
    except TimeoutError:
        raise
    except OSError as error:
        raise Lost from error
    message: dict[str, Any] = json.loads(data)
    return message, descriptors[0] if descriptors else None


def _exactly(connection: socket.socket, length: int) -> bytes:
    parts = []
    while length:
        part = connection.recv(min(length, 1 << 20))
        if not part:
            raise Lost
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


class Memory:
    """Memory that two processes share: `map` are its bytes, `size` their number."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map_all()

    def _map_all(self) -> None:
        self.size = os.fstat(self.descriptor).st_size
        # A map that arrays still show stays until they are gone; so it is not closed here.
        self.map = mmap.mmap(self.descriptor, self.size)

    @classmethod
    def make(cls, size: int) -> Memory:
        """Return new memory of so many bytes. It has no name, and is gone with the processes that map it."""
        descriptor = os.memfd_create("dcmtx", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, size)
        return cls(descriptor)

    def hold(self, size: int) -> None:
        """Make the memory at least so large, or see that the other side has done so."""
        if size > self.size:
            if size > os.fstat(self.descriptor).st_size:
                os.ftruncate(self.descriptor, max(size, 2 * self.size))
            self._map_all()

    def close(self) -> None:
        """Give the descriptor back. What is mapped is given back with the last array that shows it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
