"""Delivers by DICOMweb, Store Transaction (STOW-RS, PS3.18 10.5): a request for each instance, over one connection."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dcmtx.relay.answers import Answer, AnswerKind, answer_to_status
from dcmtx.relay.entry import sent_head
from dcmtx.relay.posting import Poster, Reply, answer_to_http, pieces_of, size_of
from dcmtx.syntax import BY_UID

if TYPE_CHECKING:
    from dcmtx.relay.config import Destination
    from dcmtx.relay.entry import Entry

# Tags of the Store Instances Response (PS3.18 Table I.1-1), as JSON has them.
_FAILED, _REFERENCED, _INSTANCE = "00081198", "00081199", "00081155"
_FAILURE_REASON, _WARNING_REASON = "00081197", "00081196"
# Failure Reason "referenced transfer syntax not supported" (PS3.18 Table I.2-2).
_NO_SYNTAX = 0xC122
_ACCEPTED, _CONFLICT = 202, 409
# With these, servers refuse a media type that has a parameter, or what they were sent.
_PERHAPS_DISLIKED = (400, 415)
# Servers that take no parts but those of type application/dicom without the parameter transfer-syntax. The plugin for
# Orthanc, up to 1.7, passes over others and says success.
_plain_only: set[str] = set()


class StowDelivery:
    """Delivers by POST to /studies. What transfer syntaxes a server takes, it says only by refusing one."""

    def __init__(self, destination: Destination) -> None:
        self._url = destination.url
        self._poster = Poster(destination)
        self._refused: dict[str, frozenset[str]] = {}
        self._takes_parameters = False

    def covers(self, entry: Entry) -> bool:  # noqa: ARG002 - the protocol's
        """Tell that any entry may be sent."""
        return True

    def accepted(self, entry: Entry) -> frozenset[str] | None:
        """Return the syntaxes that were not refused for the entry's class; None: none was."""
        refused = self._refused.get(entry.head.sop_class)
        return None if refused is None else frozenset((*BY_UID, entry.head.syntax)) - refused

    def send(self, entry: Entry, path: str, syntax: str) -> Answer:
        """Send a file."""
        instance = sent_head(entry, path).instance
        answer = None
        if self._url not in _plain_only:
            answer = self._post(instance, path, f"application/dicom; transfer-syntax={syntax}")
            self._takes_parameters |= answer is not None and answer.kind is AnswerKind.DELIVERED
        disliked = answer is None or (answer.http and answer.status in _PERHAPS_DISLIKED)
        if disliked and not self._takes_parameters:
            answer = self._post(instance, path, "application/dicom")
            if answer is not None and answer.kind is AnswerKind.DELIVERED:
                _plain_only.add(self._url)
        if answer is None:
            return Answer(AnswerKind.FEW_TRIES, text="it says success, and does not name the instance as stored")
        if answer.kind is AnswerKind.OTHER_SYNTAX:
            sop_class = entry.head.sop_class
            self._refused[sop_class] = self._refused.get(sop_class, frozenset()) | {syntax}
        return answer

    def _post(self, instance: str, path: str, kind: str) -> Answer | None:
        """Send a file as a part of this media type; None if the answer does not say what became of the instance."""
        boundary = uuid.uuid4().hex
        begin = f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode("ascii")
        end = f"\r\n--{boundary}--\r\n".encode("ascii")
        body: Iterator[bytes] = itertools.chain((begin,), pieces_of(path), (end,))
        reply = self._poster.post(
            "/studies",
            body,
            len(begin) + size_of(path) + len(end),
            {
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "Accept": "application/dicom+json",
            },
        )
        return reply if isinstance(reply, Answer) else read_reply(reply, instance)

    def close(self) -> None:
        """Close the connection."""
        self._poster.close()

    def interrupt(self) -> None:
        """Make a `send` under way fail soon."""
        self._poster.close()


def open_delivery(destination: Destination, entries: Sequence[Entry]) -> StowDelivery:  # noqa: ARG001
    """Return a delivery; the first instance opens the connection. Raises Undeliverable."""
    return StowDelivery(destination)


def read_reply(reply: Reply, instance: str) -> Answer | None:
    """Return what the answer to a request says of an instance (PS3.18 10.5.3); None if that is nothing.

    What it says of the instance counts more than its status: 202 may be success with a warning, or a failure, and
    there are servers that say 200 and have passed over what they were sent.
    """
    found = _read(reply.body)
    failed = _items(found, _FAILED, instance)
    stored = _items(found, _REFERENCED, instance)
    if failed:
        reason = _number(failed[0], _FAILURE_REASON)
        if reason == _NO_SYNTAX:
            return Answer(AnswerKind.OTHER_SYNTAX, reason, "it does not take this transfer syntax")
        if reason is None:
            return Answer(AnswerKind.FEW_TRIES, reply.status, "it failed to store it and says no reason", http=True)
        return _failure(answer_to_status(reason))
    if stored and (reply.is_success or reply.status == _CONFLICT):
        warning = _number(stored[0], _WARNING_REASON)
        return Answer(AnswerKind.DELIVERED, warning, f"stored, with warning {warning:04X}" if warning else "")
    if reply.is_success:
        # Nothing at all is what the status says: all is stored. A list without the instance says something else.
        return None if reply.body.strip() or reply.status == _ACCEPTED else Answer(AnswerKind.DELIVERED)
    return answer_to_http(reply.status, reply.said())


def _failure(answer: Answer) -> Answer:
    """Return the answer for a failure, whose reason may be a number that is a success elsewhere."""
    if answer.kind is AnswerKind.DELIVERED and answer.status != 0x0111:
        return answer.replace(kind=AnswerKind.FEW_TRIES)
    return answer


def _read(body: bytes) -> dict[str, Any]:
    """Return a body that is DICOM JSON (PS3.18 F), an object or a list with one; else nothing."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(found, list):
        found = found[0] if found else {}
    return found if isinstance(found, dict) else {}


def _items(found: dict[str, Any], sequence: str, instance: str) -> list[dict[str, Any]]:
    """Return the items of a sequence that are about an instance, or that are about none by name."""
    values = _values(found, sequence)
    items = [item for item in values if isinstance(item, dict)]
    return [item for item in items if _values(item, _INSTANCE) in ([], [instance])]


def _number(item: dict[str, Any], tag: str) -> int | None:
    values = _values(item, tag)
    return values[0] if values and isinstance(values[0], int) and 0 <= values[0] <= 0xFFFF else None


def _values(item: dict[str, Any], tag: str) -> list[Any]:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []
