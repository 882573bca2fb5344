"""One thread that sends to a destination, over one association at a time, while the pool transcodes what is next."""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from dcmtx.errors import DcmtxError
from dcmtx.planning.site import Action
from dcmtx.relay.answers import Answer, AnswerKind, Undeliverable
from dcmtx.relay.delivery import open_delivery
from dcmtx.relay.negotiation import is_storage
from dcmtx.relay.parcel import Parcel, Ready, Unfit, Unknown
from dcmtx.relay.ruling import decide, followed, widest

if TYPE_CHECKING:
    from dcmtx.relay.config import Destination
    from dcmtx.relay.delivery import Delivery
    from dcmtx.relay.entry import Entry
    from dcmtx.relay.forward import Forwarder
    from dcmtx.relay.parcel import Taken

# What the contexts of a new association are proposed for: so many of the queue.
_UPCOMING = 200
# Errors that say nothing of the file they come with.
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_DOWN = (AnswerKind.UNREACHABLE, AnswerKind.REJECTED)
# So often an instance may meet a bug before the others go on without it.
_MOST_BUGS = 3


class Sender:
    """One thread that sends, over one association at a time. Ahead of what it sends, the pool transcodes."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._of = forwarder
        self._destination = forwarder.destination
        self._most = max(1, -(-self._destination.window // max(1, self._destination.associations)))
        self._ahead: deque[Parcel] = deque()
        self._delivery: Delivery | None = None
        self._rest = 0.0
        self.thread = threading.Thread(target=self._run, name=f"to {self._destination.name}", daemon=True)

    @property
    def is_open(self) -> bool:
        """Whether it has an association, or what it is with others."""
        return self._delivery is not None

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
                self._stumble(f"a bug in dcmtx: {error!r}")
        self._close()
        for parcel in self._ahead:
            parcel.discard()

    def _stumble(self, reason: str) -> None:
        """Begin anew after what nobody has thought of; without the next instance if that happens with it always."""
        self._of.log.write("bug", f"{self._destination.name}: {reason}", destination=self._destination.name,
                           reason=reason)  # fmt: skip
        self._close()
        if self._ahead:
            entry = self._ahead[0].entry
            entry.bugs += 1
            if entry.bugs >= _MOST_BUGS:
                self._done(self._ahead[0])
                self._of.hold_one(entry, reason, "bug")
        self._flush()
        self._of.ended.wait(self._of.pace.first)

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
            sop_class = entry.head.sop_class
        except FileNotFoundError:
            self._of.gone(entry)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is of this file
            if isinstance(error, OSError) and error.errno in _OUT_OF_RESOURCES:
                entry.again(self._of.pace.first)
                return
            self._of.hold_one(entry, f"its file cannot be read: {error}", "unreadable")
        else:
            if not is_storage(sop_class):
                self._of.hold_one(entry, f"its SOP class {sop_class[:64]!r} is none that is stored", "unreadable")
                return
            destination = self._ruled(entry)
            if destination is not None:
                parcel = Parcel(entry, destination, self._of.transcoder, directory=self._of.work)
                self._ahead.append(parcel)
                parcel.plan(self._known(parcel))

    def _ruled(self, entry: Entry) -> Destination | None:
        """Return the destination as the rules of a site have it for an entry; None if they leave it out or hold it."""
        policy = self._destination.policy
        if policy is None:
            return self._destination
        try:
            rule = decide(policy, entry.path)
        except (OSError, DcmtxError):
            # What cannot be read is never transcoded, and goes as it came.
            rule = None
        if rule is None:
            return self._destination
        if rule.action is Action.SKIP:
            name, head = self._destination.name, entry.head
            entry.drop()
            self._of.log.write("left out", f"{name}: {head.instance} is left out by the policy: {rule.name}",
                               destination=name, id=entry.id, instance=head.instance, reason=rule.name)  # fmt: skip
            return None
        if rule.action is Action.REFUSE:
            self._of.hold_one(entry, f"the policy refuses it: {rule.name}", "policy")
            return None
        return followed(self._destination, rule)

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
        if parcel.is_hopeless:
            self._give_up(parcel, Unfit(parcel.no_way(), no_context=True))
            return False
        if self._delivery is not None and not self._delivery.covers(parcel.entry):
            self._close()
        if self._delivery is None:
            # What is known to be needed is made before: peers do not wait long for the first instance.
            if not isinstance(parcel.taken, Unknown):
                parcel.ready()
            try:
                entries = [each.entry for each in self._ahead] + self._of.queue.upcoming(_UPCOMING)
                self._delivery = open_delivery(widest(self._destination), entries)
            except Undeliverable as error:
                self._of.counters.count("refused", self._destination.name, error.answer.kind.value)
                if self._of.is_open_but_for(self):
                    self._stand_back(error.answer)
                else:
                    self._of.down(error.answer)
                return False
            self._rest = 0.0
            self._learn_all()
        elif isinstance(parcel.taken, Unknown):
            self._learn(parcel)
        return True

    def _stand_back(self, answer: Answer) -> None:
        """Leave everything to the others: the destination takes no more associations than it has."""
        pace = self._of.pace
        self._rest = min(max(2 * self._rest, pace.first), pace.most)
        self._of.log.write("crowded", f"{self._destination.name}: {answer.text}; others are open",
                           destination=self._destination.name, reason=answer.text,
                           retry_seconds=round(self._rest, 1))  # fmt: skip
        self._flush()
        self._of.ended.wait(self._rest)

    def _learn_all(self) -> None:
        for each in self._ahead:
            self._learn(each)

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
            self._cannot_read(parcel, ready, error)
            return
        self._obey(parcel, ready, answer, time.monotonic() - began)

    def _cannot_read(self, parcel: Parcel, ready: Ready, error: OSError | DcmtxError) -> None:
        """Do what is right for a file that cannot be read: it is gone, or damaged, or nothing can be read now."""
        if isinstance(error, OSError) and error.errno in _OUT_OF_RESOURCES:
            self._of.down(Answer(AnswerKind.AGAIN, text=f"nothing can be read: {error.strerror}"))
        elif isinstance(error, FileNotFoundError) and ready.path != parcel.entry.path:
            # What was made of it: it is made again.
            parcel.discard()
        elif isinstance(error, FileNotFoundError):
            self._of.gone(parcel.entry)
            self._done(parcel)
        else:
            self._of.hold_one(parcel.entry, f"its file cannot be read: {error}", "unreadable")
            self._done(parcel)

    def _obey(self, parcel: Parcel, ready: Ready, answer: Answer, seconds: float) -> None:
        """Do what the answer says."""
        kind = answer.kind
        if kind is AnswerKind.OTHER_SYNTAX:
            # It stays the next one, and is made into what the delivery still believes to be taken.
            self._of.other_syntax(parcel.entry, ready, answer)
            before = parcel.taken
            self._learn_all()
            if parcel.taken != before:
                self._of.counters.count("refused", self._destination.name, answer.code)
                return
            # It has no other to offer.
            answer = answer.replace(kind=AnswerKind.FEW_TRIES)
            kind = answer.kind
        if kind in _DOWN:
            self._close()
            self._of.counters.count("refused", self._destination.name, answer.code)
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
