"""Peers made by hand, for what no tool does: every PDU as it is wanted (PS3.8 9.3), whatever the standard says.

They are written after the standard and know nothing of the relay's own code.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

import dicom
from conftest import PATIENCE

VERIFICATION = "1.2.840.10008.1.1"
IMPLEMENTATION = "1.2.3.4.5"
RQ, AC, RJ, DATA, RELEASE, RELEASED, ABORT = range(1, 8)
COMMAND, LAST = 1, 2


# --- PDUs ----------------------------------------------------------------------------------------------------------


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(body)) + body


def item(kind: int, body: bytes | str) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    return struct.pack(">BxH", kind, len(data)) + data


def user_information(maximum: int, *more: bytes) -> bytes:
    return item(0x50, item(0x51, struct.pack(">I", maximum)) + item(0x52, IMPLEMENTATION) + b"".join(more))


def request(
    contexts: Sequence[tuple[str, Sequence[str]]],
    *more: bytes,
    called: str = "RELAY",
    calling: str = "SENDER",
    maximum: int = 16384,
    application: str = "1.2.840.10008.3.1.1.1",
) -> bytes:
    """Return an A-ASSOCIATE-RQ of these contexts: SOP class and transfer syntaxes."""
    titles = struct.pack(">HH16s16s32x", 1, 0, called.encode().ljust(16), calling.encode().ljust(16))
    body = titles + item(0x10, application)
    for number, (abstract, syntaxes) in enumerate(contexts):
        inner = item(0x30, abstract) + b"".join(item(0x40, syntax) for syntax in syntaxes)
        body += item(0x20, struct.pack(">BBBB", 2 * number + 1, 0, 0, 0) + inner)
    return pdu(RQ, body + user_information(maximum, *more))


def items(data: bytes) -> Iterable[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        kind, length = struct.unpack_from(">BxH", data, position)
        yield kind, data[position + 4 : position + 4 + length]
        position += 4 + length


def contexts_of(body: bytes) -> dict[int, tuple[int, str, list[str]]]:
    """Return of an A-ASSOCIATE-RQ or -AC, by context id: result, abstract syntax, transfer syntaxes."""
    found = {}
    for kind, data in items(body[68:]):
        if kind in (0x20, 0x21):
            names = list(items(data[4:]))
            abstract = "".join(value.decode() for inner, value in names if inner == 0x30)
            found[data[0]] = data[2], abstract, [value.decode() for inner, value in names if inner == 0x40]
    return found


def user_items(body: bytes) -> dict[int, bytes]:
    """Return the items of the user information of an A-ASSOCIATE-RQ or -AC."""
    return {
        inner: value for kind, data in items(body[68:]) if kind == 0x50 for inner, value in items(data)
    }  # fmt: skip


def command(*elements: tuple[int, int | str]) -> bytes:
    """Return a command set (PS3.7 6.3.1)."""
    body = b""
    for element, value in elements:
        raw = struct.pack("<H", value) if isinstance(value, int) else value.encode() + b"\0" * (len(value) % 2)
        body += struct.pack("<HHI", 0, element, len(raw)) + raw
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def parse_command(data: bytes) -> dict[int, bytes]:
    found, position = {}, 0
    while position < len(data):
        _, element, length = struct.unpack_from("<HHI", data, position)
        found[element] = data[position + 8 : position + 8 + length]
        position += 8 + length
    return found


def store_command(sop_class: str, instance: str, message: int = 1, data_set: int = 1) -> bytes:
    return command((2, sop_class), (0x100, 1), (0x110, message), (0x700, 0), (0x800, data_set), (0x1000, instance))


def pdv(context: int, control: int, data: bytes) -> bytes:
    return struct.pack(">IBB", len(data) + 2, context, control) + data


def receive(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = connection.recv(min(length - len(data), 1 << 20))
        if not piece:
            raise EOFError
        data += piece
    return data


def receive_pdu(connection: socket.socket) -> tuple[int, bytes]:
    kind, length = struct.unpack(">BxI", receive(connection, 6))
    return kind, receive(connection, length)


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """Return a conversation with a few bytes changed, left out, doubled or cut off."""
    data = bytearray(whole)
    for _ in range(chance.choice((1, 1, 2, 5))):
        # Most of it is pixels, of which a byte means nothing.
        at = chance.randrange(max(1, min(len(data), 1200)))
        kind = chance.randrange(5)
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            data[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
        elif kind == 2:
            del data[at : at + chance.randrange(1, 40)]
        elif kind == 3:
            data[at:at] = data[at : at + chance.randrange(1, 40)]
        else:
            del data[max(at, 10) :]
    return bytes(data)


# --- as sender -----------------------------------------------------------------------------------------------------


class Sender:
    """A connection to an SCP, and the association on it once `associate` was called."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.results: dict[int, tuple[int, str, list[str]]] = {}
        self.answer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> Self:
        self.socket.sendall(b"".join(parts))
        return self

    def read(self) -> tuple[int, bytes]:
        return receive_pdu(self.socket)

    def ends(self) -> bool:
        """Tell whether the other side closes, and sends nothing before that."""
        with contextlib.suppress(ConnectionError):
            return self.socket.recv(1) == b""
        return True

    def associate(self, contexts: Sequence[tuple[str, Sequence[str]]], *more: bytes, **options: object) -> Self:
        self.send(request(contexts, *more, **options))
        kind, self.answer = self.read()
        assert kind == AC, (kind, self.answer)
        self.results = contexts_of(self.answer)
        return self

    def begin(self, context: int, data: bytes, uid: str, **more: object) -> Self:
        """Send the command of a C-STORE and these bytes of its data set, of which more may follow."""
        self.send(pdu(DATA, pdv(context, COMMAND | LAST, store_command(more.pop("sop_class", CT), uid, **more))))
        return self.send(pdu(DATA, pdv(context, 0, data)))

    def store(self, context: int, data: bytes, uid: str, *, step: int = 16000, **more: object) -> int:
        """Store a data set, and return the status."""
        self.send(pdu(DATA, pdv(context, COMMAND | LAST, store_command(more.pop("sop_class", CT), uid, **more))))
        pieces = [data[at : at + step] for at in range(0, len(data), step)]
        for number, piece in enumerate(pieces, 1):
            self.send(pdu(DATA, pdv(context, LAST if number == len(pieces) else 0, piece)))
        return self.status()

    def response(self) -> dict[int, bytes]:
        kind, body = self.read()
        assert kind == DATA, (kind, body)
        length, _, control = struct.unpack_from(">IBB", body)
        assert control == COMMAND | LAST
        assert length == len(body) - 4
        return parse_command(body[6:])

    def status(self) -> int:
        return struct.unpack("<H", self.response()[0x900])[0]

    def echo(self, context: int = 1) -> int:
        self.send(pdu(DATA, pdv(context, 3, command((2, VERIFICATION), (0x100, 0x30), (0x110, 7), (0x800, 0x101)))))
        return self.status()

    def release(self) -> None:
        self.send(pdu(RELEASE, bytes(4)))
        assert self.read() == (RELEASED, bytes(4))


CT = "1.2.840.10008.5.1.4.1.1.2"


def associate(port: int, contexts: Sequence[tuple[str, str | Sequence[str]]], **options: object) -> Sender:
    """Return a new association; a syntax alone stands for a list of one."""
    lists = [(abstract, [each] if isinstance(each, str) else each) for abstract, each in contexts]
    sender = Sender(port)
    try:
        return sender.associate(lists, **options)
    except BaseException:
        sender.socket.close()
        raise


def data_set(image: dicom.Image) -> bytes:
    """Return the data set of an image without what precedes it in a file."""
    data = image.encode()
    return data[132 + 12 + struct.unpack_from("<I", data, 140)[0] :]


# --- as destination ------------------------------------------------------------------------------------------------


@dataclass
class Received:
    """An instance that a destination was sent: SOP class, transfer syntax, data set, and what was answered."""

    instance: str
    sop_class: str
    syntax: str
    data: bytes
    answered: object


# What is done instead of answering.
ABORTS, RESETS, SILENT = "abort", "reset", "silent"


@dataclass
class Destination:
    """An SCP that answers as it is told.

    `takes(abstract, syntax)` says which contexts it accepts; `answer(instance, times)` returns a status, or what is
    done instead, or bytes that are sent instead. `on_request(connection)` may do something else in the place of an
    answer to an association request, and returns True if it did. With `reads` False it reads nothing behind a command.
    """

    takes: Callable[[str, str], bool] = lambda *_: True
    answer: Callable[[str, int], int | str | bytes] = lambda *_: 0
    on_request: Callable[[socket.socket], bool] = lambda _: False
    reads: bool = True
    maximum: int = 16384
    comment: str = ""
    received: list[Received] = field(default_factory=list)
    requests: list[dict[int, tuple[int, str, list[str]]]] = field(default_factory=list)
    user: list[dict[int, bytes]] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    port: int = 0

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = self._socket.getsockname()[1]
        self._connections: set[socket.socket] = set()
        self._times: dict[str, int] = {}
        self._guard = threading.Lock()
        self._ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def address(self) -> str:
        return f"DESTINATION@127.0.0.1:{self.port}"

    def taken(self) -> dict[str, Received]:
        """Return what it said to have taken, by SOP Instance UID."""
        return {each.instance: each for each in list(self.received) if each.answered == 0}

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, EOFError):
            kind, body = receive_pdu(connection)
            assert kind == RQ
            proposed = contexts_of(body)
            with self._guard:
                self.requests.append(proposed)
                self.user.append(user_items(body))
                self.open += 1
                self.most_open = max(self.most_open, self.open)
            try:
                if self.on_request(connection):
                    return
                self._associate(connection, body, proposed)
            finally:
                with self._guard:
                    self.open -= 1
        self._connections.discard(connection)

    def _associate(self, connection: socket.socket, body: bytes, proposed: dict) -> None:
        answers = b""
        for identifier, (_, abstract, syntaxes) in proposed.items():
            good = [syntax for syntax in syntaxes if self.takes(abstract, syntax)]
            inner = item(0x40, good[0] if good else syntaxes[0])
            answers += item(0x21, struct.pack(">BBBB", identifier, 0, 0 if good else 4, 0) + inner)
        connection.sendall(pdu(AC, body[:68] + item(0x10, "1.2.840.10008.3.1.1.1") + answers
                               + user_information(self.maximum)))  # fmt: skip
        control, data, commands = b"", b"", {}
        while True:
            kind, body = receive_pdu(connection)
            if kind == RELEASE:
                connection.sendall(pdu(RELEASED, bytes(4)))
                return
            if kind != DATA:
                return
            assert not self.maximum or len(body) <= self.maximum, "a PDU is too long"
            position = 0
            while position < len(body):
                length, identifier, flags = struct.unpack_from(">IBB", body, position)
                piece = body[position + 6 : position + 4 + length]
                position += 4 + length
                if flags & COMMAND:
                    control += piece
                    if flags & LAST:
                        commands, control = parse_command(control), b""
                        if not self.reads:
                            self._ended.wait(PATIENCE)
                            return
                        if struct.unpack("<H", commands[0x800])[0] == 0x101:
                            self._reply(connection, identifier, commands, 0)
                else:
                    data += piece
                    if flags & LAST:
                        _, abstract, syntaxes = proposed[identifier]
                        if not self._take(connection, identifier, commands, data=data, syntax=syntaxes[0]):
                            return
                        data = b""

    def _take(self, connection: socket.socket, identifier: int, commands: dict, *, data: bytes, syntax: str) -> bool:
        instance = commands[0x1000].decode().rstrip("\0 ")
        with self._guard:
            times = self._times[instance] = self._times.get(instance, 0) + 1
        answer = self.answer(instance, times)
        sop_class = commands[2].decode().rstrip("\0 ")
        self.received.append(Received(instance, sop_class, syntax, data, answer))
        if answer == ABORTS:
            connection.sendall(pdu(ABORT, bytes(4)))
            return False
        if answer == RESETS:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if answer == SILENT:
            self._ended.wait(PATIENCE)
            return False
        if isinstance(answer, bytes):
            connection.sendall(answer)
            while connection.recv(1 << 16):
                pass
            return False
        self._reply(connection, identifier, commands, answer)
        return True

    def _reply(self, connection: socket.socket, identifier: int, commands: dict, status: int) -> None:
        (number,) = struct.unpack("<H", commands[0x110])
        (asked,) = struct.unpack("<H", commands[0x100])
        more = [(0x902, self.comment)] if self.comment else []
        answer = command((2, commands[2].decode().rstrip("\0")), (0x100, asked | 0x8000), (0x120, number),
                         (0x800, 0x101), (0x900, status), *more)  # fmt: skip
        connection.sendall(pdu(DATA, pdv(identifier, COMMAND | LAST, answer)))
