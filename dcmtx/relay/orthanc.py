"""Delivers by Orthanc's own way: a POST to /instances, whose body is the file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dcmtx.relay.answers import Answer, AnswerKind
from dcmtx.relay.posting import Poster, Reply, answer_to_http, pieces_of, size_of

if TYPE_CHECKING:
    from dcmtx.relay.config import Destination
    from dcmtx.relay.entry import Entry

# What Orthanc says of an instance that it has not refused, and what that means.
_WORDS = {
    "Success": (AnswerKind.DELIVERED, ""),
    "AlreadyStored": (AnswerKind.DELIVERED, "it has this instance already, and keeps that one"),
    "FilteredOut": (AnswerKind.HOLD, "a filter of this Orthanc keeps the instance out"),
    "Failure": (AnswerKind.FEW_TRIES, "it failed to store the instance"),
    "NoMoreSpace": (AnswerKind.AGAIN, "it has no room"),
}


class OrthancDelivery:
    """Delivers by POST to /instances."""

    def __init__(self, destination: Destination) -> None:
        self._poster = Poster(destination)

    def covers(self, entry: Entry) -> bool:  # noqa: ARG002 - the protocol's
        """Tell that any entry may be sent."""
        return True

    def accepted(self, entry: Entry) -> frozenset[str] | None:  # noqa: ARG002 - the protocol's
        """Return None: Orthanc stores every file of DICOM."""
        return None

    def send(self, entry: Entry, path: str, syntax: str) -> Answer:  # noqa: ARG002 - the protocol's
        """Send a file."""
        reply = self._poster.post(
            "/instances", pieces_of(path), size_of(path), {"Content-Type": "application/dicom"}
        )  # fmt: skip
        return reply if isinstance(reply, Answer) else read_reply(reply)

    def close(self) -> None:
        """Close the connection."""
        self._poster.close()

    def interrupt(self) -> None:
        """Make a `send` under way fail soon."""
        self._poster.close()


def open_delivery(destination: Destination, entries: Sequence[Entry]) -> OrthancDelivery:  # noqa: ARG001
    """Return a delivery; the first instance opens the connection. Raises Undeliverable."""
    return OrthancDelivery(destination)


def read_reply(reply: Reply) -> Answer:
    """Return what Orthanc's answer says."""
    if not reply.is_success:
        return answer_to_http(reply.status, _message(reply))
    word = _object(reply).get("Status")
    if word not in _WORDS:
        # Another server, or a page of a proxy: nothing says that the instance is stored.
        return Answer(AnswerKind.REJECTED, reply.status, "what answers there is no Orthanc", http=True)
    kind, text = _WORDS[word]
    return Answer(kind, reply.status if text else None, text, http=True)


def _message(reply: Reply) -> str:
    """Return what Orthanc says that is wrong, in one line."""
    found = _object(reply)
    parts = [str(found[name]) for name in ("Message", "Details") if found.get(name)]
    return ": ".join(parts) if parts else reply.said()


def _object(reply: Reply) -> dict[str, Any]:
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
