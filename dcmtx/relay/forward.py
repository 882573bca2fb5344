"""Forwarding: for each destination its queue, and a thread for each association that may be open at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from dcmtx.errors import DcmtxError
from dcmtx.relay.answers import Answer, AnswerKind, Undeliverable
from dcmtx.relay.delivery import open_delivery
from dcmtx.relay.health import Health, Pace
from dcmtx.relay.parcel import Parcel, Ready, Unfit, Unknown

if TYPE_CHECKING:
    from dcmtx.relay.config import Destination
    from dcmtx.relay.delivery import Delivery
    from dcmtx.relay.entry import Entry
    from dcmtx.relay.log import Log
    from dcmtx.relay.metrics import Counters
    from dcmtx.relay.parcel import Taken
    from dcmtx.relay.spool import Spool
    from dcmtx.relay.transcode import Transcoder

# An association that breaks so often at one instance lets others go first.
_BREAKS = 3
# What the contexts of a new association are proposed for: so many of the queue.
_UPCOMING = 200
_DOWN = (AnswerKind.UNREACHABLE, AnswerKind.REJECTED)


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
        self.stopping = False
        # What the destination takes, by SOP class and syntax of the source.
        self.learnt: dict[tuple[str, str], frozenset[str] | None] = {}
        self._senders = [_Sender(self) for _ in range(max(1, destination.associations))]

    def start(self) -> None:
        """Begin to send."""
        for sender in self._senders:
            sender.thread.start()

    def stop(self) -> None:
        """Send nothing more but what is being sent. `join` waits for that."""
        self.stopping = True
        self.queue.stop()
        self.state.wake()

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
        self.log.write("delivered", f"{head.instance} to {name} in {ready.syntax}{f' ({note})' if note else ''}",
                       destination=name, id=parcel.entry.id, instance=head.instance, syntax=ready.syntax,
                       seconds=round(seconds, 4), note=note)  # fmt: skip
        parcel.entry.delivered()

    def refused(self, entry: Entry, answer: Answer) -> None:
        """Have an entry that was not taken be tried again, or hold it."""
        status = answer.code
        self.counters.count("refused", self.destination.name, status)
        now = time.time()
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
        self.hold_one(entry, answer.text, status)

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
        entry.pressed = entry.pressed or time.time()
        if time.time() - entry.pressed >= self.destination.hold_after:
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

    def hold_one(self, entry: Entry, reason: str, status: str) -> None:
        """Put an entry aside."""
        name = self.destination.name
        try:
            entry.hold(reason)
        except OSError as error:
            entry.again(self.pace.most)
            self.log.write("not held", f"{name}: {entry.id} cannot be held: {error}", destination=name, id=entry.id,
                           reason=str(error))  # fmt: skip
            return
        self.log.write("held", f"{name}: {entry.id} is held: {reason}", destination=name, id=entry.id, reason=reason,
                       status=status)  # fmt: skip

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


class _Sender:
    """One thread that sends, over one association at a time. Ahead of what it sends, the pool transcodes."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._of = forwarder
        self._destination = forwarder.destination
        self._most = max(1, -(-self._destination.window // max(1, self._destination.associations)))
        self._ahead: deque[Parcel] = deque()
        self._delivery: Delivery | None = None
        self.thread = threading.Thread(target=self._run, name=f"to {self._destination.name}", daemon=True)

    def interrupt(self) -> None:
        """Break what is being sent."""
        delivery = self._delivery
        if delivery is not None:
            delivery.interrupt()

    def _run(self) -> None:
        while not self._of.stopping:
            try:
                self._step()
            except Exception as error:  # noqa: BLE001 - a thread that ends would leave a queue that nobody sends
                self._of.log.write("bug", f"{self._destination.name}: a bug in dcmtx: {error!r}",
                                   destination=self._destination.name, reason=repr(error))  # fmt: skip
                self._close()
                self._flush()
                time.sleep(1)
        self._close()
        for parcel in self._ahead:
            parcel.discard()

    def _step(self) -> None:
        """Send one entry, or wait."""
        queue = self._of.queue
        if queue.paused and self._ahead:
            self._close()
            self._flush()
        if not self._ahead:
            # Keep an association for a while, in case more comes.
            entry = queue.take(self._of.pace.idle if self._delivery is not None else None)
            if entry is None:
                self._close()
                return
            self._add(entry)
        if not self._of.state.turn(lambda: self._of.stopping or queue.paused):
            return
        try:
            self._fill()
            if self._ahead and self._prepare():
                self._send()
        finally:
            self._of.state.leave()

    def _add(self, entry: Entry) -> None:
        """Take an entry among those that are next; hold it if its file is no instance."""
        try:
            _ = entry.head
        except FileNotFoundError:
            # Somebody has removed it.
            entry.drop()
        except (OSError, DcmtxError) as error:
            self._of.hold_one(entry, f"its file cannot be read: {error}", "unreadable")
        else:
            parcel = Parcel(entry, self._destination, self._of.transcoder, directory=self._of.work)
            self._ahead.append(parcel)
            parcel.plan(self._known(parcel))

    def _known(self, parcel: Parcel) -> Taken:
        """Return what is known of what the destination takes, by this association or by one before."""
        if self._delivery is not None and self._delivery.covers(parcel.entry):
            return self._delivery.accepted(parcel.entry)
        return self._of.learnt.get(parcel.key, Unknown.UNKNOWN)

    def _fill(self) -> None:
        if not self._of.state.is_good():
            # One is enough to see whether the destination works.
            return
        while len(self._ahead) < self._most:
            entry = self._of.queue.take()
            if entry is None:
                return
            self._add(entry)

    def _prepare(self) -> bool:
        """Have an open delivery for the next entry; return whether there is one."""
        parcel = self._ahead[0]
        if self._delivery is not None and not self._delivery.covers(parcel.entry):
            self._close()
        if self._delivery is None:
            # What is known to be needed is made before: peers do not wait long for the first instance.
            if not isinstance(parcel.taken, Unknown):
                parcel.ready()
            try:
                entries = [each.entry for each in self._ahead] + self._of.queue.upcoming(_UPCOMING)
                self._delivery = open_delivery(self._destination, entries)
            except Undeliverable as error:
                self._of.counters.count("refused", self._destination.name, error.answer.kind.value)
                self._of.down(error.answer)
                return False
        for each in self._ahead:
            self._learn(each)
        return True

    def _learn(self, parcel: Parcel) -> None:
        assert self._delivery is not None
        if self._delivery.covers(parcel.entry):
            taken = self._delivery.accepted(parcel.entry)
            self._of.learnt[parcel.key] = taken
            parcel.plan(taken)

    def _send(self) -> None:
        parcel = self._ahead[0]
        ready = parcel.ready()
        if isinstance(ready, Unfit):
            self._give_up(parcel, ready)
            return
        assert self._delivery is not None
        if self._of.stopping:
            return
        began = time.monotonic()
        try:
            answer = self._delivery.send(parcel.entry, ready.path, ready.syntax)
        except (OSError, DcmtxError) as error:
            self._of.hold_one(parcel.entry, f"its file cannot be read: {error}", "unreadable")
            self._done(parcel)
            return
        self._obey(parcel, ready, answer, time.monotonic() - began)

    def _obey(self, parcel: Parcel, ready: Ready, answer: Answer, seconds: float) -> None:
        """Do what the answer says."""
        kind = answer.kind
        if kind in _DOWN:
            self._close()
            self._of.counters.count("refused", self._destination.name, kind.value)
            self._of.down(answer)
            return
        if kind is AnswerKind.BROKEN:
            self._close()
            # One that ends the relay has broken it itself.
            if not self._of.stopping and not self._of.broken(parcel.entry, answer):
                self._done(parcel)
            return
        if kind is not AnswerKind.AGAIN:
            self._of.up()
        if kind is AnswerKind.DELIVERED:
            self._of.delivered(parcel, ready, answer, seconds)
        else:
            self._of.refused(parcel.entry, answer)
        self._done(parcel)

    def _give_up(self, parcel: Parcel, unfit: Unfit) -> None:
        if unfit.lasting:
            kind = AnswerKind.NO_CONTEXT if unfit.no_context else AnswerKind.HOLD
            self._of.refused(parcel.entry, Answer(kind, text=unfit.reason))
        elif not self._of.stopping:
            self._of.down(Answer(AnswerKind.AGAIN, text=unfit.reason))
            parcel.entry.again()
        self._done(parcel)

    def _done(self, parcel: Parcel) -> None:
        """Forget the first entry; not before it is known what becomes of it."""
        self._ahead.popleft()
        parcel.discard()

    def _flush(self) -> None:
        """Put back all that is not sent yet."""
        while self._ahead:
            parcel = self._ahead.popleft()
            parcel.discard()
            parcel.entry.again()

    def _close(self) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.close()
