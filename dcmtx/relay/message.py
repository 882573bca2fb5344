"""One message of a sender: its command set, its data set, and the answer (PS3.7 6.3, PS3.8 Annex E)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dcmtx.relay import dimse
from dcmtx.relay.reception import MISMATCH, NO_OPERATION, NOT_SUPPORTED, SUCCESS, Verdict
from dcmtx.relay.wire import AbortReason, Wire

if TYPE_CHECKING:
    from dcmtx.relay.association import Accepted
    from dcmtx.relay.reception import Reception

# A command set is a few hundred bytes.
_LONGEST_COMMAND = 1 << 16


class Wrong(Exception):  # noqa: N818 - an event of the protocol
    """The peer has sent what does not belong there; the association is aborted."""

    def __init__(self, reason: AbortReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Server(Protocol):
    """What a message needs of its association."""

    wire: Wire

    def context(self, identifier: int) -> Accepted:
        """Return the presentation context of this id. Raises Wrong if there is none."""

    def begin(self, context: Accepted, command: dimse.Command) -> Reception | None:
        """Begin what a command with a data set asks for; None if its data set is only read."""

    def reply(self, context: Accepted, command: dimse.Command, verdict: Verdict) -> None:
        """Answer a request."""


class Message:
    """The message that is being received: its command set, then its data set, from any number of PDVs."""

    def __init__(self, session: Server) -> None:
        self._session = session
        self._wire = session.wire
        self._clear()

    def _clear(self) -> None:
        self._parts = bytearray()
        self._context: Accepted | None = None
        self._command: dimse.Command | None = None
        self._reception: Reception | None = None

    @property
    def is_new(self) -> bool:
        """Whether nothing of it has come."""
        return self._context is None

    def abort(self) -> None:
        """Forget what was received of it."""
        if self._reception is not None:
            self._reception.abort()

    def read(self, left: int) -> None:
        """Read the PDVs of a PDU of so many bytes."""
        while left:
            length, identifier, control = self._wire.unpack(dimse.PDV)
            left -= length + 4
            length -= 2
            if left < 0 or length < 0:
                raise Wrong(AbortReason.INVALID_PARAMETER, "the lengths in a PDU contradict one another")
            context = self._session.context(identifier)
            if self._context is not None and context.id != self._context.id:
                raise Wrong(AbortReason.INVALID_PARAMETER, "a message changes its presentation context")
            self._context = context
            is_last = bool(control & dimse.LAST)
            if control & dimse.COMMAND:
                self._take_command(length, is_last=is_last)
            else:
                self._take_data(length, is_last=is_last)

    def _take_command(self, length: int, *, is_last: bool) -> None:
        if self._command is not None or len(self._parts) + length > _LONGEST_COMMAND:
            raise Wrong(AbortReason.INVALID_PARAMETER, "a command set has no place here, or no end")
        self._parts += self._wire.take(length)
        if not is_last:
            return
        context = self._context
        assert context is not None
        try:
            command = dimse.Command(bytes(self._parts))
            field, has_data_set = command.number(dimse.FIELD), command.has_data_set
            if field & dimse.RESPONSE or field == dimse.Field.CANCEL_RQ:
                # Nothing was asked, and nothing goes on that could be cancelled.
                self._clear()
                return
            command.number(dimse.MESSAGE)
            if has_data_set:
                self._command = command
                self._reception = self._session.begin(context, command)
                return
        except ValueError as error:
            raise Wrong(AbortReason.INVALID_PARAMETER, str(error)) from error
        self._clear()
        self._session.reply(context, command, _verdict_without_data_set(context, field))

    def _take_data(self, length: int, *, is_last: bool) -> None:
        if self._command is None or self._context is None:
            raise Wrong(AbortReason.UNEXPECTED, "a data set came without a command")
        while length:
            piece = self._wire.some(length)
            length -= len(piece)
            if self._reception is not None:
                self._reception.write(piece)
        if is_last:
            context, command, reception = self._context, self._command, self._reception
            verdict = _verdict_on_the_unknown(context, command) if reception is None else reception.finish()
            self._clear()
            self._session.reply(context, command, verdict)


def _verdict_without_data_set(context: Accepted, field: int) -> Verdict:
    if field == dimse.Field.ECHO_RQ:
        return Verdict(SUCCESS)
    if field != dimse.Field.STORE_RQ:
        return Verdict(NO_OPERATION)
    if context.abstract == dimse.VERIFICATION:
        return Verdict(NOT_SUPPORTED)
    return Verdict(MISMATCH, "there is no data set")


def _verdict_on_the_unknown(context: Accepted, command: dimse.Command) -> Verdict:
    if command.number(dimse.FIELD) == dimse.Field.STORE_RQ:
        return Verdict(NOT_SUPPORTED, f"nothing is stored by context {context.id}")
    return Verdict(NO_OPERATION)
