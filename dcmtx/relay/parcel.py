"""An entry on its way out: in which syntaxes it may go, and the file that is made of it."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Sequence
from enum import Enum
from itertools import takewhile
from typing import TYPE_CHECKING

from dcmtx.errors import DcmtxError, OutputError
from dcmtx.record import Record
from dcmtx.relay.negotiation import Wanted, choices
from dcmtx.relay.transcode import Transcoded

if TYPE_CHECKING:
    from dcmtx.relay.config import Destination
    from dcmtx.relay.entry import Entry
    from dcmtx.relay.transcode import Answered, Transcoder


_numbers = itertools.count(1)
# So often it is waited for room and processes, where the instance may go as it is.
_PATIENCE = 5


class Unknown(Enum):
    """What a destination takes, before it was asked."""

    UNKNOWN = "unknown"


# Transfer Syntax UIDs that are taken, or None for any.
Taken = frozenset[str] | None | Unknown


class Way(Record):
    """How an entry can go: made into the first possible of these syntaxes, else as it is, if it is taken so."""

    made: tuple[Wanted, ...]
    untouched: bool

    @property
    def leads(self) -> bool:
        """Whether it can go at all."""
        return self.untouched or bool(self.made)


def find_way(wanted: Sequence[Wanted], source: str, taken: frozenset[str] | None) -> Way:
    """Return how an instance of syntax `source` goes to a destination that takes these syntaxes (None: any)."""
    possible = [each for each in wanted if taken is None or each.syntax in taken]
    made = tuple(takewhile(lambda each: each.syntax != source, possible))
    return Way(made, untouched=len(made) < len(possible))


class Ready(Record):
    """A file that can be sent, and its transfer syntax. `note` says why it is the untouched one, if it should not."""

    path: str
    syntax: str
    note: str = ""


class Unfit(Record):
    """An entry that cannot be sent: `reason`; `lasting` if it never can, `no_context` if it is not taken at all."""

    reason: str
    lasting: bool = True
    no_context: bool = False


class Parcel:
    """An entry, and what is being made of it, in files of a directory. One thread uses it."""

    def __init__(self, entry: Entry, destination: Destination, transcoder: Transcoder, *, directory: str) -> None:
        self.entry = entry
        self.taken: Taken = Unknown.UNKNOWN
        self._destination = destination
        self._transcoder = transcoder
        self._directory = directory
        self._target = ""
        self._way = Way((), untouched=False)
        self._answered: Answered | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What decides what a destination takes: SOP class, and the syntax it is in."""
        return self.entry.head.sop_class, self.entry.head.syntax

    def plan(self, taken: Taken) -> None:
        """Begin to make of it what the destination takes; again only if that is something else than before."""
        if taken == self.taken or isinstance(taken, Unknown):
            return
        self.discard()
        self.taken = taken
        head, destination = self.entry.head, self._destination
        self._way = find_way(choices(destination, head.syntax), head.syntax, taken)
        if self._way.made:
            # A name of its own: an earlier task may still write its file.
            self._target = os.path.join(self._directory, f"{next(_numbers)}.dcm")
            self._answered = self._transcoder.submit(
                self.entry.path, self._target, self._way.made, destination.lossy, self.entry.received
            )  # fmt: skip

    @property
    def is_hopeless(self) -> bool:
        """Whether it may be sent in no syntax, whatever the destination takes."""
        return not choices(self._destination, self.entry.head.syntax)

    def ready(self) -> Ready | Unfit:
        """Wait until it can be sent, and return what is sent, or why nothing is."""
        head = self.entry.head
        if not self._way.leads:
            return Unfit(self.no_way(), no_context=True)
        if self._answered is None:
            return Ready(self.entry.path, head.syntax)
        came = self._answered.result()
        if isinstance(came, Transcoded):
            return Ready(self._target, came.syntax)
        if isinstance(came, OutputError):
            # The disk, or the processes: nothing that is wrong with the instance. If that stays so, a full disk must
            # be emptied.
            self.entry.starved += 1
            if self.entry.starved <= _PATIENCE or not self._way.untouched:
                return Unfit(_text(came), lasting=False)
        if self._way.untouched:
            return Ready(self.entry.path, head.syntax, _text(came))
        return Unfit(f"it cannot be transcoded: {_text(came)}")

    @property
    def seconds(self) -> float | None:
        """How long transcoding took, if it was transcoded."""
        if self._answered is None or not self._answered.done():
            return None
        came = self._answered.result()
        return came.seconds if isinstance(came, Transcoded) else None

    def no_way(self) -> str:
        """Say why it cannot go at all."""
        head = self.entry.head
        offered = ", ".join(each.syntax for each in choices(self._destination, head.syntax))
        if not offered:
            return f"it came in {head.syntax}, and may be made into nothing that the accept list of the destination has"
        taken = ", ".join(sorted(self.taken)) if isinstance(self.taken, frozenset) else ""
        return (
            f"the destination takes SOP class {head.sop_class} in none of {offered}"
            f"; it takes {taken or 'none that was offered'}"
        )

    def discard(self) -> None:
        """Forget what was made of it."""
        answered, self._answered = self._answered, None
        self.taken = Unknown.UNKNOWN
        target = self._target
        if answered is not None:
            # The file may come later.
            answered.add_done_callback(lambda _: _remove(target))


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _text(error: DcmtxError) -> str:
    return f"{error.code}: {error}"
