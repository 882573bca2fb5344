"""The storage SCU (PS3.4 Annex B): one association to a destination, one syntax per presentation context."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dcmtx.errors import InputError
from dcmtx.relay import dimse
from dcmtx.relay.answers import Answer, AnswerKind, Undeliverable, answer_to_rejection, answer_to_status
from dcmtx.relay.association import LONGEST_NEGOTIATION, Granted, Malformed, encode_request, parse_grant
from dcmtx.relay.entry import sent_head
from dcmtx.relay.negotiation import choices, is_storage, offers
from dcmtx.relay.tls import client_context, secure
from dcmtx.relay.wire import RELEASE_RQ, AbortReason, Pdu, Wire, sendable
from dcmtx.syntax import EXPLICIT, IMPLICIT

if TYPE_CHECKING:
    from dcmtx.relay.config import Destination
    from dcmtx.relay.entry import Entry, Head

_MAXIMUM_LENGTH = 1 << 17
# So much is given to the system at a time.
_BATCH = 1 << 18
_MOST_MESSAGES = 65535
_RELEASE_SECONDS = 5.0
# A response is a few hundred bytes in a few fragments.
_LONGEST_RESPONSE = 1 << 16


class Association:
    """An association as requestor, for `contexts`: pairs of SOP class and transfer syntax.

    `accepted` has the id of the context for each pair that was accepted. Raises Undeliverable if there is none.
    """

    def __init__(self, destination: Destination, contexts: Sequence[tuple[str, str]]) -> None:
        self._timeouts = destination.timeouts
        self.proposed = frozenset(contexts)
        self._message = 0
        request = encode_request(destination.calling, destination.ae_title, contexts, _MAXIMUM_LENGTH)
        self.wire = _connect(destination)
        try:
            granted = self._negotiate(request)
        except BaseException:
            self.wire.close()
            raise
        ids = {2 * number + 1: pair for number, pair in enumerate(contexts)}
        # One that answers with a syntax that was not offered has accepted nothing.
        self.accepted = {
            ids[identifier]: identifier
            for identifier, syntax in granted.syntaxes.items()
            if identifier in ids and ids[identifier][1] == syntax
        }
        self._step = sendable(granted.maximum_length) - 6
        self.wire.widen()
        self.wire.limit(self._timeouts.dimse, self._timeouts.network)

    def _negotiate(self, request: bytes) -> Granted:
        """Send the request and read its answer, within the time for that."""
        wire = self.wire
        try:
            wire.limit(self._timeouts.acse, self._timeouts.network)
            wire.deadline(self._timeouts.acse)
            wire.send(request)
            kind, length = wire.header()
            if kind not in (Pdu.ASSOCIATE_AC, Pdu.ASSOCIATE_RJ, Pdu.ABORT) or length > LONGEST_NEGOTIATION:
                raise Malformed(f"it answered the association request with a PDU of type {kind}")
            body = wire.take(length)
            if kind == Pdu.ASSOCIATE_RJ and length >= 4:
                raise Undeliverable(answer_to_rejection(body[1], body[2], body[3]))
            if kind != Pdu.ASSOCIATE_AC:
                raise Malformed("it aborted the association")
            return parse_grant(body)
        except TimeoutError as error:
            raise _unreachable(f"it did not answer the association request: {error}") from error
        except (OSError, Malformed) as error:
            raise _unreachable(str(error)) from error

    def echo(self) -> Answer:
        """Ask whether it is there (C-ECHO), by the context for verification."""
        context = next(
            (identifier for (abstract, _), identifier in self.accepted.items() if abstract == dimse.VERIFICATION), None
        )
        if context is None:
            return Answer(AnswerKind.NO_CONTEXT, text="it does not take C-ECHO")
        try:
            self.wire.send(dimse.p_data(context, dimse.echo_request(self._next_message()), self._step + 6))
            return self._read_response()
        except (OSError, Malformed) as error:
            return Answer(AnswerKind.BROKEN, text=_why(error))

    def store(self, context: int, head: Head, descriptor: int) -> Answer:
        """Send the data set of an open file (C-STORE), and return what it was answered."""
        command = dimse.store_request(head.sop_class, head.instance, self._next_message())
        try:
            self._send(context, command, head, descriptor=descriptor)
            return self._read_response()
        except (OSError, Malformed) as error:
            return Answer(AnswerKind.BROKEN, text=_why(error))

    def _send(self, context: int, command: bytes, head: Head, *, descriptor: int) -> None:
        """Send a command set, and the data set of an open file."""
        pieces: list[bytes] = [dimse.p_data(context, command, self._step + 6)]
        gathered = 0
        offset, left = head.offset, head.size - head.offset
        while left:
            length = min(self._step, left)
            piece = os.pread(descriptor, length, offset)
            if len(piece) != length:
                raise Malformed("the file became shorter")
            offset += length
            left -= length
            pieces += (dimse.p_data_header(context, 0 if left else dimse.LAST, length), piece)
            gathered += length
            if gathered + self._step > _BATCH:
                self.wire.send(*pieces)
                pieces, gathered = [], 0
        self.wire.send(*pieces)

    def _next_message(self) -> int:
        self._message = self._message % _MOST_MESSAGES + 1
        return self._message

    def _read_response(self) -> Answer:
        """Return the answer to the message that was sent last. Answers to others are passed over."""
        # All of it: who says something now and then says no answer.
        self.wire.deadline(self._timeouts.dimse)
        parts = bytearray()
        while True:
            kind, left = self.wire.header()
            if kind == Pdu.ABORT:
                raise Malformed("it aborted the association")
            if kind != Pdu.P_DATA:
                raise Malformed(f"it answered with a PDU of type {kind}")
            while left:
                length, _, control = self.wire.unpack(dimse.PDV)
                left -= length + 4
                if left < 0 or length < 2 or len(parts) + length > _LONGEST_RESPONSE:
                    raise Malformed("its answer has no sense")
                piece = self.wire.take(length - 2)
                if not control & dimse.COMMAND:
                    continue
                parts += piece
                if control & dimse.LAST:
                    answer = self._understand(bytes(parts))
                    parts.clear()
                    if answer is not None:
                        return answer

    def _understand(self, data: bytes) -> Answer | None:
        try:
            command = dimse.Command(data)
            if command.number(dimse.ANSWERED) != self._message or not command.number(dimse.FIELD) & dimse.RESPONSE:
                return None
            return answer_to_status(command.number(dimse.STATUS), command.text(dimse.COMMENT))
        except ValueError as error:
            raise Malformed(str(error)) from error

    def release(self) -> None:
        """End it in order."""
        with contextlib.suppress(OSError):
            self.wire.limit(_RELEASE_SECONDS, _RELEASE_SECONDS)
            self.wire.deadline(_RELEASE_SECONDS)
            self.wire.send(RELEASE_RQ)
            kind, length = self.wire.header()
            while kind == Pdu.P_DATA:
                self.wire.take(min(length, _LONGEST_RESPONSE))
                kind, length = self.wire.header()
        self.wire.close()

    def abort(self) -> None:
        """End it at once."""
        self.wire.abort(AbortReason.NONE, source=0)


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return str(error)
    return f"the association broke: {getattr(error, 'strerror', None) or error}"


def _unreachable(text: str) -> Undeliverable:
    return Undeliverable(Answer(AnswerKind.UNREACHABLE, text=text))


def _connect(destination: Destination) -> Wire:
    """Return a connection. Raises Undeliverable."""
    timeouts = destination.timeouts
    try:
        connection = socket.create_connection((destination.host, destination.port), timeouts.acse)
    except OSError as error:
        raise _unreachable(f"it cannot be reached: {error.strerror or error}") from error
    try:
        if destination.tls is not None:
            name = destination.host
            connection = secure(connection, client_context(destination.tls), timeouts.acse, host=name)
        return Wire(connection)
    except (OSError, InputError, ValueError) as error:
        connection.close()
        raise _unreachable(f"there is no TLS with it: {error}") from error


class StoreDelivery:
    """Delivers by C-STORE over one association."""

    def __init__(self, destination: Destination, entries: Sequence[Entry]) -> None:
        self._destination = destination
        self._open: Association | None = Association(destination, offers(_pairs(entries), destination))

    @property
    def _association(self) -> Association:
        assert self._open is not None
        return self._open

    def covers(self, entry: Entry) -> bool:
        """Tell whether all contexts that this entry may need were proposed, and the association is still there."""
        if self._association.wire.is_disturbed():
            return False
        head = entry.head
        wanted = {(head.sop_class, each.syntax) for each in choices(self._destination, head.syntax)}
        return wanted <= self._association.proposed

    def accepted(self, entry: Entry) -> frozenset[str]:
        """Return the syntaxes that were accepted for the entry's class."""
        sop_class = entry.head.sop_class
        return frozenset(syntax for abstract, syntax in self._association.accepted if abstract == sop_class)

    def send(self, entry: Entry, path: str, syntax: str) -> Answer:
        """Send a file."""
        head = sent_head(entry, path)
        context = self._association.accepted.get((head.sop_class, syntax))
        if context is None or head.syntax != syntax:
            return Answer(AnswerKind.NO_CONTEXT, text=f"it does not take {head.sop_class} in {syntax}")
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            answer = self._association.store(context, head, descriptor)
        finally:
            os.close(descriptor)
        if answer.kind is AnswerKind.BROKEN:
            self._association.abort()
        return answer

    def close(self) -> None:
        """Release the association."""
        if self._open is not None:
            self._open.release()
            self._open = None

    def interrupt(self) -> None:
        """Make a `send` under way fail soon."""
        if self._open is not None:
            self._open.wire.interrupt()


def _pairs(entries: Iterable[Entry]) -> Iterable[tuple[str, str]]:
    """Yield class and syntax of every entry that can be read and proposed."""
    for entry in entries:
        with contextlib.suppress(OSError, InputError):
            if is_storage(entry.head.sop_class):
                yield entry.head.sop_class, entry.head.syntax


def open_delivery(destination: Destination, entries: Sequence[Entry]) -> StoreDelivery:
    """Open an association for entries like these. Raises Undeliverable."""
    return StoreDelivery(destination, entries)


def echo(destination: Destination) -> Answer:
    """Ask a destination by C-ECHO whether it answers. Raises Undeliverable."""
    verification = [(dimse.VERIFICATION, IMPLICIT.uid), (dimse.VERIFICATION, EXPLICIT.uid)]
    association = Association(destination, verification)
    try:
        return association.echo()
    finally:
        association.release()
