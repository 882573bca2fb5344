"""The PDUs of an association (PS3.8 9.3.2 to 9.3.4), by pynetdicom's classes of them, as records."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from dcmtx.dataset.meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dcmtx.record import Record
from dcmtx.relay.dimse import VERIFICATION
from dcmtx.relay.wire import Pdu

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
# PS3.8 9.3.2.2: ids are odd and fit into a byte.
MOST_CONTEXTS = 128
# An A-ASSOCIATE-RQ of 128 contexts with all syntaxes there are is a quarter of this.
LONGEST_NEGOTIATION = 1 << 20
_ANY_SYNTAX = "1.2.840.10008.1.2"
_HEADER = struct.Struct(">BxI")
_ACCEPTED = 0


class Malformed(ValueError):  # noqa: N818 - an event of the protocol
    """A PDU that cannot be understood."""


class Proposed(Record):
    """A presentation context of a request: its id, SOP class, and transfer syntaxes in the order of preference."""

    id: int
    abstract: str
    syntaxes: tuple[str, ...]


class Accepted(Record):
    """A presentation context that was agreed on."""

    id: int
    abstract: str
    syntax: str


class Result(Record):
    """The answer to a presentation context: `result` as in PS3.8 Table 9-18; `syntax` counts where it is 0."""

    proposed: Proposed
    result: int
    syntax: str = ""


class Requested(Record):
    """An association request. `maximum_length` is how long PDUs its sender takes, 0 for any."""

    calling: str
    called: str
    contexts: tuple[Proposed, ...]
    application: str = APPLICATION_CONTEXT
    maximum_length: int = 0
    asynchronous: bool = False


class Granted(Record):
    """What came of a request of ours: result by context id, and how long PDUs the other side takes."""

    syntaxes: dict[int, str]
    maximum_length: int


def parse_request(body: bytes) -> Requested:
    """Parse an A-ASSOCIATE-RQ without its header. Raises Malformed."""
    pdu = _decoded("A_ASSOCIATE_RQ", Pdu.ASSOCIATE_RQ, body)
    try:
        items = pdu.user_information.user_data if pdu.user_information is not None else []
        kinds = {type(item).__name__ for item in items}
        ids = [item.context_id for item in pdu.presentation_context]
        if any(not identifier % 2 for identifier in ids) or len(set(ids)) < len(ids):
            raise Malformed("ids of presentation contexts are odd, and each is there once")
        return Requested(
            str(pdu.calling_ae_title).strip(),
            str(pdu.called_ae_title).strip(),
            tuple(
                Proposed(item.context_id, str(item.abstract_syntax or ""), tuple(map(str, item.transfer_syntax)))
                for item in pdu.presentation_context
            ),
            application=str(pdu.application_context_name or ""),
            maximum_length=_maximum_length(items),
            asynchronous="AsynchronousOperationsWindowSubItem" in kinds,
        )
    except Exception as error:
        raise Malformed(f"the association request cannot be understood: {error!r}") from error


def _maximum_length(items: Iterable[Any]) -> int:
    for item in items:
        if type(item).__name__ == "MaximumLengthSubItem":
            return int(item.maximum_length_received)
    return 0


def _decoded(name: str, kind: Pdu, body: bytes) -> Any:
    from pynetdicom import pdu as pdus

    # Its warnings about what peers send are not this program's.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
    pdu = getattr(pdus, name)()
    try:
        pdu.decode(_HEADER.pack(kind, len(body)) + body)
    except Exception as error:
        raise Malformed(f"the PDU cannot be understood: {error!r}") from error
    return pdu


def parse_grant(body: bytes) -> Granted:
    """Parse an A-ASSOCIATE-AC without its header. Raises Malformed."""
    pdu = _decoded("A_ASSOCIATE_AC", Pdu.ASSOCIATE_AC, body)
    try:
        items = pdu.user_information.user_data if pdu.user_information is not None else []
        syntaxes = {
            item.context_id: str(item.transfer_syntax)
            for item in pdu.presentation_context
            if item.result == _ACCEPTED and item.transfer_syntax
        }
        return Granted(syntaxes, _maximum_length(items))
    except Exception as error:
        raise Malformed(f"the answer to the association request cannot be understood: {error!r}") from error


def encode_request(calling: str, called: str, contexts: Sequence[tuple[str, str]], maximum_length: int) -> bytes:
    """Return an A-ASSOCIATE-RQ that proposes these pairs of class and syntax, each in a context of its own.

    The ids are 1, 3, 5 and so on.
    """
    from pynetdicom.pdu import A_ASSOCIATE_RQ
    from pynetdicom.presentation import build_context

    primitive = _primitive(calling, called, maximum_length)
    proposed = []
    for number, (abstract, syntax) in enumerate(contexts):
        context = build_context(abstract, [syntax])
        context.context_id = 2 * number + 1
        proposed.append(context)
    primitive.presentation_context_definition_list = proposed
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return pdu.encode()


def encode_acceptance(requested: Requested, results: Sequence[Result], maximum_length: int) -> bytes:
    """Return the A-ASSOCIATE-AC with these results."""
    from pynetdicom.pdu import A_ASSOCIATE_AC
    from pynetdicom.pdu_primitives import AsynchronousOperationsWindowNegotiation
    from pynetdicom.presentation import build_context

    primitive = _primitive(requested.calling, requested.called, maximum_length)
    primitive.result = _ACCEPTED
    primitive.result_source = 1
    answers = []
    for answer in results:
        # The class is not in an answer; of what is refused, the syntax says nothing, but must be there (PS3.8 Table
        # 9-18). Those that were asked for may be no UIDs.
        context = build_context(VERIFICATION, [answer.syntax or _ANY_SYNTAX])
        context.context_id = answer.proposed.id
        context.result = answer.result
        answers.append(context)
    primitive.presentation_context_definition_results_list = answers
    if requested.asynchronous:
        # PS3.7 D.3.3.3: one operation at a time, each way.
        window = AsynchronousOperationsWindowNegotiation()
        window.maximum_number_operations_invoked = 1
        window.maximum_number_operations_performed = 1
        primitive.user_information.append(window)
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(primitive)
    return pdu.encode()


def _primitive(calling: str, called: str, maximum_length: int) -> Any:
    from pynetdicom.pdu_primitives import (
        A_ASSOCIATE,
        ImplementationClassUIDNotification,
        ImplementationVersionNameNotification,
        MaximumLengthNotification,
    )

    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT
    primitive.calling_ae_title = calling
    primitive.called_ae_title = called
    length = MaximumLengthNotification()
    length.maximum_length_received = maximum_length
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    primitive.user_information = [length, implementation, version]
    return primitive
