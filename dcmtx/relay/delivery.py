"""How instances leave: the protocol that each kind of destination speaks, and the table of kinds."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dcmtx.relay.answers import Answer
    from dcmtx.relay.config import Destination
    from dcmtx.relay.entry import Entry


class Delivery(Protocol):
    """An open way to a destination: an association, or a client of HTTP. One thread uses it."""

    def covers(self, entry: Entry) -> bool:
        """Tell whether this way was opened for the like of this entry; if not, another must be opened for it."""

    def accepted(self, entry: Entry) -> frozenset[str] | None:
        """Return the Transfer Syntax UIDs that the destination takes for the entry's SOP class; None: any."""

    def send(self, entry: Entry, path: str, syntax: str) -> Answer:
        """Send the file at `path`, which is the entry's own or made from it, in `syntax`.

        Never raises for what a destination or network does: the answer says it. Raises OSError if the file cannot be
        read, InputError if it is not DICOM.
        """

    def close(self) -> None:
        """End it in order. A second call does nothing."""

    def interrupt(self) -> None:
        """Make a `send` under way fail soon. Called from another thread."""


# The module and function of each kind: `open(destination, entries) -> Delivery`.
_KINDS: dict[str, str] = {
    "dimse": "dcmtx.relay.requestor:open_delivery",
    "stow": "dcmtx.relay.stow:open_delivery",
    "orthanc": "dcmtx.relay.orthanc:open_delivery",
    "directory": "dcmtx.relay.directory:open_delivery",
}


def open_delivery(destination: Destination, entries: Sequence[Entry]) -> Delivery:
    """Open a way to a destination for entries like these, which are the next to be sent.

    Raises Undeliverable if that cannot be done now.
    """
    module, _, name = _KINDS[destination.kind.value].partition(":")
    delivery: Delivery = getattr(importlib.import_module(module), name)(destination, entries)
    return delivery
