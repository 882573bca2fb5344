"""Forwarding: for each destination its queue, and a thread for each association that may be open at a time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from dcmtx.relay.answers import Answer, AnswerKind
from dcmtx.relay.health import Health, Pace
from dcmtx.relay.sender import Sender
from dcmtx.syntax import BY_UID

if TYPE_CHECKING:
    from dcmtx.relay.config import Destination
    from dcmtx.relay.entry import Entry
    from dcmtx.relay.log import Log
    from dcmtx.relay.metrics import Counters
    from dcmtx.relay.parcel import Parcel, Ready
    from dcmtx.relay.spool import Spool
    from dcmtx.relay.transcode import Transcoder

# An association that breaks so often at one instance lets others go first.
_BREAKS = 3


class Forwarder:
    """Everything of one destination: its queue, its health, its threads."""

    def __init__(
        self,
        destination: Destination,
        spool: Spool,
        transcoder: Transcoder,
        *,
        counters: Counters,
        log: Log,
        pace: Pace,
    ) -> None:
        self.destination = destination
        self.queue = spool.queue(destination.name)
        self.work = spool.work
        self.transcoder = transcoder
        self.counters = counters
        self.log = log
        self.pace = pace
        self.state = Health(pace)
        self.ended = threading.Event()
        # What the destination takes, by SOP class and syntax of the source.
        self.learnt: dict[tuple[str, str], frozenset[str] | None] = {}
        self._senders = [Sender(self) for _ in range(max(1, destination.associations))]

    def start(self) -> None:
        """Begin to send."""
        for sender in self._senders:
            sender.thread.start()

    def stop(self) -> None:
        """Send nothing more but what is being sent. `join` waits for that."""
        self.ended.set()
        self.queue.stop()
        self.state.wake()

    @property
    def stopping(self) -> bool:
        """Whether nothing more is sent."""
        return self.ended.is_set()

    def is_open_but_for(self, sender: Sender) -> bool:
        """Tell whether another of the threads has an association."""
        return any(each.is_open for each in self._senders if each is not sender)

    def join(self, until: float) -> None:
        """Wait for the threads until this time of `time.monotonic()`, then break what they do."""
        for sender in self._senders:
            if sender.thread.is_alive():
                sender.thread.join(max(0.0, until - time.monotonic()))
        for sender in self._senders:
            if sender.thread.is_alive():
                sender.interrupt()
                sender.thread.join(1.0)

    def health(self) -> tuple[str, str, float]:
        """Return `up` or `down`, why it is down, and the seconds until the next try."""
        return self.state.report()

    def retry(self, identifier: str | None) -> int:
        """Send what is held, one or all, and try the destination now; return how many were held."""
        if identifier is None:
            self.queue.pause(paused=False)
        count = self.queue.retry(identifier)
        self.state.retry()
        return count

    def hold(self) -> None:
        """Send nothing until `retry`."""
        self.queue.pause(paused=True)
        self.state.wake()

    # --- what became of an entry

    def delivered(self, parcel: Parcel, ready: Ready, answer: Answer, seconds: float) -> None:
        """Remove an entry that has arrived."""
        name = self.destination.name
        self.counters.count("delivered", name, ready.syntax)
        self.counters.observe("send_seconds", seconds, name)
        if parcel.seconds is not None:
            self.counters.observe("transcode_seconds", parcel.seconds, name)
        note = answer.text if answer.status else ready.note
        head = parcel.entry.head
        text = f"delivered {head.instance} to {name} in {label(ready.syntax)}{f' ({note})' if note else ''}"
        self.log.write("delivered", text, destination=name, id=parcel.entry.id, instance=head.instance,
                       syntax=ready.syntax, seconds=round(seconds, 4), note=note)  # fmt: skip
        parcel.entry.delivered()

    def refused(self, entry: Entry, answer: Answer) -> None:
        """Have an entry that was not taken be tried again, or hold it."""
        status = answer.code
        self.counters.count("refused", self.destination.name, status)
        now = time.monotonic()
        entry.pressed = entry.pressed or now
        overdue = now - entry.pressed >= self.destination.hold_after
        if answer.kind is AnswerKind.FEW_TRIES:
            entry.tries += 1
            if entry.tries <= len(self.pace.tries) and not overdue:
                self._again(entry, answer, self.pace.tries[entry.tries - 1])
                return
        elif answer.kind is AnswerKind.AGAIN and not overdue:
            _, seconds = self.state.ill(answer.kind, answer.text)
            self._again(entry, answer, seconds)
            return
        self.hold_one(entry, answer.text, status, said=answer.said)

    def broken(self, entry: Entry, answer: Answer) -> bool:
        """Note that an association ended while an entry was sent; return whether that is to be sent next again."""
        name = self.destination.name
        self.counters.count("refused", name, answer.kind.value)
        entry.breaks += 1
        self.log.write("broken", f"{name}: {answer.text}", destination=name, id=entry.id, reason=answer.text,
                       times=entry.breaks)  # fmt: skip
        if entry.breaks == 1:
            return True
        self.down(answer)
        entry.pressed = entry.pressed or time.monotonic()
        if time.monotonic() - entry.pressed >= self.destination.hold_after:
            self.hold_one(entry, answer.text, answer.kind.value)
            return False
        if entry.breaks % _BREAKS:
            return True
        # Others may be taken where this one is not.
        entry.again(self.pace.tries[-1] if self.pace.tries else self.pace.most)
        return False

    def _again(self, entry: Entry, answer: Answer, seconds: float) -> None:
        self.log.write("again", f"{self.destination.name}: {entry.head.instance} in {seconds:.0f} s: {answer.text}",
                       destination=self.destination.name, id=entry.id, instance=entry.head.instance,
                       reason=answer.text, retry_seconds=round(seconds, 1))  # fmt: skip
        entry.again(seconds)

    def hold_one(self, entry: Entry, reason: str, status: str, said: str = "") -> None:
        """Put an entry aside."""
        name = self.destination.name
        try:
            entry.hold(reason, said)
        except OSError as error:
            entry.again(self.pace.most)
            self.log.write("not held", f"{name}: {entry.id} cannot be held: {error}", destination=name, id=entry.id,
                           reason=str(error))  # fmt: skip
            return
        self.log.write("held", f"{name}: {entry.id} is held: {reason}", destination=name, id=entry.id, reason=reason,
                       status=status)  # fmt: skip

    def gone(self, entry: Entry) -> None:
        """Forget an entry whose file somebody has removed, and say so: it was acknowledged."""
        name = self.destination.name
        self.log.write("gone", f"{name}: somebody has removed {entry.path}; it is not delivered", destination=name,
                       id=entry.id)  # fmt: skip
        entry.drop()

    def other_syntax(self, entry: Entry, ready: Ready, answer: Answer) -> None:
        """Say that a destination does not take a transfer syntax, which nobody had asked it before."""
        name = self.destination.name
        self.log.write("syntax", f"{name} does not take {ready.syntax}: {answer.text}", destination=name, id=entry.id,
                       syntax=ready.syntax, reason=answer.text)  # fmt: skip

    def down(self, answer: Answer) -> None:
        """Note that the destination cannot be used now."""
        news, seconds = self.state.ill(answer.kind, answer.text)
        if news:
            self.log.write("down", f"{self.destination.name}: {answer.text}; the next try is in {seconds:.0f} s",
                           destination=self.destination.name, reason=answer.text, retry_seconds=round(seconds, 1),
                           lasting=answer.kind is AnswerKind.REJECTED)  # fmt: skip

    def up(self) -> None:
        """Note that the destination has answered."""
        if self.state.well():
            self.log.write("up", f"{self.destination.name} is up again", destination=self.destination.name)


def label(uid: str) -> str:
    """Return the name of a transfer syntax that people know, or the UID of one that nobody knows."""
    row = BY_UID.get(uid)
    return uid if row is None else row.label
