"""A connection of the upper layer protocol (PS3.8 9.3): PDUs in through one buffer, out in few writes, within limits.

DCMTK and what is built on it write a message in two pieces and wait for an acknowledgement between them, which the
system holds back for 40 ms. So the acknowledgement is asked for after every read (Linux forgets that it was), and what
is written here never waits for one.

The limits are the kernel's, so that no thread polls and no peer can stall one for ever.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from enum import IntEnum

_SMALL = 1 << 14
_LARGE = 1 << 18
_MOST_PARTS = 256
_HEADER = struct.Struct(">BxI")
_QUICK = getattr(socket, "TCP_QUICKACK", None)


class Pdu(IntEnum):
    """The types of PDUs (PS3.8 9.3.1)."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class AbortReason(IntEnum):
    """Why the provider of the service aborts (PS3.8 9.3.8)."""

    NONE = 0
    UNRECOGNIZED = 1
    UNEXPECTED = 2
    INVALID_PARAMETER = 6


class Ended(ConnectionError):  # noqa: N818 - an event of the protocol
    """The peer has closed the connection."""


RELEASE_RQ = struct.pack(">BxI4x", Pdu.RELEASE_RQ, 4)
RELEASE_RP = struct.pack(">BxI4x", Pdu.RELEASE_RP, 4)


def abort_pdu(reason: AbortReason, source: int = 2) -> bytes:
    """Return an A-ABORT: of the provider (source 2), or of the user (source 0)."""
    return struct.pack(">BxIxxBB", Pdu.ABORT, 4, source, reason)


def reject_pdu(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return struct.pack(">BxIxBBB", Pdu.ASSOCIATE_RJ, 4, result, source, reason)


class Wire:
    """An open connection. One thread uses it; another may call `interrupt`.

    What waits for the peer raises TimeoutError after the limit, Ended at the end of the stream, OSError otherwise.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._secure = isinstance(connection, ssl.SSLSocket)
        self._view = memoryview(bytearray(_SMALL))
        # What was received and not taken yet is between these two.
        self._at = 0
        self._end = 0
        self._deadline: float | None = None
        self._receive = 0.0
        self._stopped = False
        for level, option in ((socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.SOL_SOCKET, socket.SO_KEEPALIVE)):
            connection.setsockopt(level, option, 1)
        if not self._secure:
            connection.settimeout(None)

    # --- limits

    def limit(self, receive: float, send: float) -> None:
        """Wait at most so many seconds for anything to arrive, and for room for anything to be sent."""
        self._deadline = None
        self._receive = receive
        if self._secure:
            # OpenSSL tries again by itself what the kernel gives up.
            self._socket.settimeout(max(receive, send))
            return
        self._set(socket.SO_RCVTIMEO, receive)
        self._set(socket.SO_SNDTIMEO, send)

    def deadline(self, seconds: float) -> None:
        """Have all that is received, and not only its next piece, arrive within so many seconds; until `limit`."""
        self._deadline = time.monotonic() + seconds

    def _set(self, option: int, seconds: float) -> None:
        seconds = max(seconds, 0.001)
        self._socket.setsockopt(
            socket.SOL_SOCKET, option, struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
        )  # fmt: skip

    def _approach(self) -> None:
        """Shorten the limit to what is left until the deadline."""
        assert self._deadline is not None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the peer was too slow")
        if self._secure:
            self._socket.settimeout(left)
        else:
            self._set(socket.SO_RCVTIMEO, left)

    # --- in

    def widen(self) -> None:
        """Get the large buffer, which only those have that are associated."""
        if len(self._view) < _LARGE:
            rest = bytes(self._view[self._at : self._end])
            self._view = memoryview(bytearray(_LARGE))
            self._view[: len(rest)] = rest
            self._at, self._end = 0, len(rest)

    def _fill(self) -> None:
        if self._at == self._end:
            self._at = self._end = 0
        if self._deadline is not None:
            self._approach()
        if self._secure:
            self._await()
        try:
            count = self._socket.recv_into(self._view[self._end :])
        except BlockingIOError:
            raise TimeoutError("the peer sent nothing in time") from None
        if not count:
            raise Ended("the peer has closed the connection")
        self._end += count
        if _QUICK is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICK, 1)

    def _await(self) -> None:
        """Wait below TLS, which would take the end that `stop_receiving` makes for an attack, and send nothing more."""
        assert isinstance(self._socket, ssl.SSLSocket)
        if not self._socket.pending():
            seconds = self._receive if self._deadline is None else self._deadline - time.monotonic()
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            if not poll.poll(max(0.0, seconds) * 1000):
                raise TimeoutError("the peer sent nothing in time")
            if self._stopped:
                raise Ended("nothing more is received")

    def waiting(self) -> bool:
        """Tell whether something was received that is not taken yet."""
        return self._end > self._at

    def is_disturbed(self) -> bool:
        """Tell whether the peer has closed the connection, or said something that nobody has asked for.

        Not known of TLS, which says things of its own.
        """
        if self._secure or self.waiting():
            return self.waiting()
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def _need(self, length: int) -> None:
        """Have at least so many bytes in the buffer, which has room for them."""
        while self._end - self._at < length:
            if self._at + length > len(self._view):
                rest = self._end - self._at
                self._view[:rest] = bytes(self._view[self._at : self._end])
                self._at, self._end = 0, rest
            self._fill()

    def header(self) -> tuple[int, int]:
        """Return type and length of the next PDU."""
        kind, length = self.unpack(_HEADER)
        return kind, length

    def unpack(self, form: struct.Struct) -> tuple[int, ...]:
        """Return the next bytes as numbers."""
        self._need(form.size)
        numbers: tuple[int, ...] = form.unpack_from(self._view, self._at)
        self._at += form.size
        return numbers

    def take(self, length: int) -> bytes:
        """Return the next bytes. Memory is taken as they arrive, not by what their sender says."""
        if length <= len(self._view):
            self._need(length)
            self._at += length
            return bytes(self._view[self._at - length : self._at])
        parts = bytearray()
        while len(parts) < length:
            parts += self.some(length - len(parts))
        return bytes(parts)

    def some(self, most: int) -> memoryview:
        """Return at least one and at most so many of the next bytes, valid until the next call."""
        if self._at == self._end:
            self._fill()
        count = min(most, self._end - self._at)
        self._at += count
        return self._view[self._at - count : self._at]

    # --- out

    def send(self, *parts: bytes) -> None:
        """Send these bytes, one behind the other."""
        if self._secure:
            self._socket.sendall(b"".join(parts))
            return
        views: Sequence[memoryview] = [memoryview(part) for part in parts if part]
        try:
            while views:
                views = _behind(views, self._socket.sendmsg(views[:_MOST_PARTS]))
        except BlockingIOError:
            raise TimeoutError("the peer takes nothing") from None

    # --- the end

    def abort(self, reason: AbortReason, source: int = 2, linger: float = 0.0) -> None:
        """Send an A-ABORT, if that goes, and close.

        With `linger` seconds for the peer to read it and close first (PS3.8 9.2.3, state 13): to close while something
        is unread takes back what was sent.
        """
        with contextlib.suppress(OSError):
            self._socket.settimeout(0.5)
            self._socket.send(abort_pdu(reason, source))
            if linger and not self._secure:
                self._socket.shutdown(socket.SHUT_WR)
                self._drain(time.monotonic() + linger)
        self.close()

    def _drain(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            if not self._socket.recv_into(self._view):
                return

    def interrupt(self) -> None:
        """Have whoever receives or sends here stop at once."""
        with contextlib.suppress(OSError):
            # Below TLS, whose own shutdown would wait for the peer.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def stop_receiving(self) -> None:
        """Have whoever receives here find the end of the stream; sending goes on."""
        self._stopped = True
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RD)

    def close(self) -> None:
        """Close the connection. A second call does nothing."""
        with contextlib.suppress(OSError):
            self._socket.close()


def _behind(views: Sequence[memoryview], sent: int) -> list[memoryview]:
    """Return what is left of these after so many bytes were sent."""
    for number, view in enumerate(views):
        if sent < len(view):
            return [view[sent:], *views[number + 1 :]]
        sent -= len(view)
    return []


def sendable(maximum_length: int) -> int:
    """Return how long PDUs may be that are sent, by the other side's maximum length (PS3.8 D.1): 0 is any."""
    return max(128, min(maximum_length or 1 << 20, 1 << 20))
