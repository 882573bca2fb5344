"""One association as acceptor: its request, its messages, its end (PS3.8 9.2, PS3.7 9.1)."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dcmtx.relay import dimse
from dcmtx.relay.association import (
    APPLICATION_CONTEXT,
    LONGEST_NEGOTIATION,
    Accepted,
    Malformed,
    Requested,
    encode_acceptance,
    parse_request,
)
from dcmtx.relay.message import Message, Wrong
from dcmtx.relay.negotiation import ACCEPTANCE, answer_contexts
from dcmtx.relay.patterns import matches, matches_any
from dcmtx.relay.routing import Caller
from dcmtx.relay.wire import RELEASE_RP, AbortReason, Ended, Pdu, Wire, reject_pdu, sendable

if TYPE_CHECKING:
    from dcmtx.relay.acceptor import Acceptor
    from dcmtx.relay.reception import Reception, Verdict

# How long a peer may take to read that its association was aborted.
_LINGER = 1.0
# Some peers count the header of a PDU as part of it.
_TOLERANCE = 128

# A-ASSOCIATE-RJ (PS3.8 Table 9-21): result, source, reason.
_UNKNOWN_CALLER, _UNKNOWN_TITLE, _UNKNOWN_APPLICATION = (1, 1, 3), (1, 1, 7), (1, 1, 2)
_LOCAL_LIMIT = (2, 3, 2)


class _Rejected(Exception):  # noqa: N818 - an event of the protocol
    """The association was rejected."""


class Session:
    """One association as acceptor. States are those of PS3.8 9.2: its request, then data transfer, then its end."""

    def __init__(self, acceptor: Acceptor, connection: socket.socket, host: str) -> None:
        self._acceptor = acceptor
        self._desk = acceptor.desk
        self._listen = acceptor.listen
        self._connection = connection
        self._host = host
        self._guard = threading.Lock()
        self._busy = True
        self.wire = Wire(connection)
        self._accepted: dict[int, Accepted] = {}
        self._most = sendable(0)
        self._caller = Caller("", "")

    def run(self) -> None:
        """Serve the association to its end."""
        wire = self.wire
        try:
            wire.limit(self._listen.artim, self._listen.timeout)
            wire.deadline(self._listen.artim)
            requested = self._read_request()
            try:
                self._answer(requested)
                wire.widen()
                wire.limit(self._listen.timeout, self._listen.timeout)
                self._transfer()
            finally:
                self._acceptor.leave(self)
        except _Rejected:
            wire.close()
        except (Wrong, Malformed) as error:
            reason = error.reason if isinstance(error, Wrong) else AbortReason.INVALID_PARAMETER
            self._note("aborted", str(error))
            wire.abort(reason, linger=_LINGER)
        except TimeoutError:
            self._note("aborted", "it was silent for too long")
            wire.abort(AbortReason.NONE, linger=_LINGER)
        except OSError as error:
            if self._acceptor.stopping:
                wire.abort(AbortReason.NONE, linger=_LINGER)
            elif self._accepted:
                self._note("lost", str(error))
        except Exception as error:  # noqa: BLE001 - whatever it was, its sender is told, and the others go on
            self._note("bug", f"a bug in dcmtx: {error!r}; please report it")
            wire.abort(AbortReason.NONE, linger=_LINGER)
        finally:
            wire.close()

    def _note(self, event: str, text: str) -> None:
        who = f"{self._caller.calling} at {self._host}" if self._caller.calling else self._host
        self._desk.log.write(event, f"{who}: {text}", calling=self._caller.calling, peer=self._host, reason=text)

    # --- the request

    def _read_request(self) -> Requested:
        kind, length = self.wire.header()
        if kind != Pdu.ASSOCIATE_RQ:
            reason = AbortReason.UNEXPECTED if 1 <= kind <= Pdu.ABORT else AbortReason.UNRECOGNIZED
            raise Wrong(reason, "it did not ask for an association")
        if length > LONGEST_NEGOTIATION:
            raise Wrong(AbortReason.INVALID_PARAMETER, f"its association request claims {length} bytes")
        return parse_request(self.wire.take(length))

    def _answer(self, requested: Requested) -> None:
        """Accept or reject it."""
        self._caller = Caller(requested.calling, requested.called)
        rejection = self._objection(requested)
        if rejection is None and not self._acceptor.admit(self, self._connection):
            rejection = _LOCAL_LIMIT, "there are too many associations"
        if rejection is not None:
            numbers, why = rejection
            self._note("rejected", why)
            self._desk.counters.count("declined", "rejected")
            self.wire.send(reject_pdu(*numbers))
            self._await_end()
            raise _Rejected
        results = answer_contexts(requested.contexts, self._patterns(requested.calling))
        self._accepted = {
            each.proposed.id: Accepted(each.proposed.id, each.proposed.abstract, each.syntax)
            for each in results
            if each.result == ACCEPTANCE
        }
        self._most = sendable(requested.maximum_length)
        self.wire.send(encode_acceptance(requested, results, self._listen.maximum_pdu))

    def _await_end(self) -> None:
        """Let the peer close first, so that it has read what was sent (PS3.8 9.2.3, state 13)."""
        with contextlib.suppress(OSError):
            self.wire.deadline(self._listen.artim)
            while self.wire.some(1 << 16):
                pass

    def _objection(self, requested: Requested) -> tuple[tuple[int, int, int], str] | None:
        if requested.application != APPLICATION_CONTEXT:
            return _UNKNOWN_APPLICATION, "its application context is unknown"
        if self._listen.ae_titles and requested.called not in self._listen.ae_titles:
            return _UNKNOWN_TITLE, f"it called {requested.called!r}, which is not the title of this relay"
        if not matches_any(self._listen.calling, requested.calling):
            return _UNKNOWN_CALLER, "its AE title may not call"
        if self._desk.is_full():
            return _LOCAL_LIMIT, "too much waits in the spool"
        return None

    def _patterns(self, calling: str) -> Sequence[str]:
        """Return the patterns of transfer syntaxes that are taken from this caller."""
        for each in self._listen.accept:
            if matches(each.calling, calling):
                return each.syntaxes
        return ()

    # --- data transfer

    def end_when_idle(self) -> None:
        """Have the association end: now, or after the message that has begun. Called by another thread."""
        with self._guard:
            if not self._busy:
                self.wire.stop_receiving()

    def _between_messages(self) -> None:
        """Wait for what comes next, so that whoever ends the relay knows that nothing is under way."""
        with self._guard:
            if self._acceptor.stopping and not self.wire.waiting():
                raise Ended("the relay ends")
            self._busy = False

    def _transfer(self) -> None:
        """Take messages until the association is released."""
        message = Message(self)
        try:
            while True:
                if message.is_new:
                    self._between_messages()
                kind, length = self.wire.header()
                self._busy = True
                if kind == Pdu.RELEASE_RQ:
                    self.wire.send(RELEASE_RP)
                    self._acceptor.leave(self)
                    self._await_end()
                    return
                if kind == Pdu.ABORT:
                    self._note("lost", "it aborted the association")
                    return
                if kind != Pdu.P_DATA:
                    reason = AbortReason.UNEXPECTED if 1 <= kind <= Pdu.ABORT else AbortReason.UNRECOGNIZED
                    raise Wrong(reason, f"a PDU of type {kind} has no place here")
                if self._listen.maximum_pdu and length > self._listen.maximum_pdu + _TOLERANCE:
                    raise Wrong(AbortReason.INVALID_PARAMETER, f"a PDU of {length} bytes is longer than agreed on")
                message.read(length)
        finally:
            message.abort()

    def context(self, identifier: int) -> Accepted:
        """Return the presentation context of this id."""
        found = self._accepted.get(identifier)
        if found is None:
            raise Wrong(AbortReason.INVALID_PARAMETER, f"there is no presentation context {identifier}")
        return found

    def begin(self, context: Accepted, command: dimse.Command) -> Reception | None:
        """Begin what a command with a data set asks for; None if its data set is only read."""
        if command.number(dimse.FIELD) != dimse.Field.STORE_RQ or context.abstract == dimse.VERIFICATION:
            return None
        return self._desk.receive(context, command, self._caller)

    def reply(self, context: Accepted, command: dimse.Command, verdict: Verdict) -> None:
        """Answer a request."""
        answer = dimse.response(command, verdict.status, verdict.comment)
        self.wire.send(dimse.p_data(context.id, answer, self._most))
