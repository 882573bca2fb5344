"""What is done with an instance that a sender stores: into the spool, and only then the answer."""

from __future__ import annotations

import errno
import threading
import time
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from dcmtx.dataset.cursor import element_at
from dcmtx.dataset.element import UNDEFINED
from dcmtx.dataset.meta import SOP_CLASS_UID, SOP_INSTANCE_UID, new_file_meta
from dcmtx.record import Record
from dcmtx.relay import dimse
from dcmtx.relay.attributes import read_file
from dcmtx.relay.negotiation import is_storage
from dcmtx.relay.routing import Caller, Router
from dcmtx.syntax import BY_UID, Encoding

if TYPE_CHECKING:
    from dcmtx.relay.association import Accepted
    from dcmtx.relay.config import SpoolConfig
    from dcmtx.relay.log import Log
    from dcmtx.relay.metrics import Counters
    from dcmtx.relay.spool import Incoming, Spool

SUCCESS, NOT_AUTHORIZED, NOT_SUPPORTED, NO_OPERATION = 0x0000, 0x0124, 0x0122, 0x0211
OUT_OF_RESOURCES, MISMATCH = 0xA700, 0xA900
# Elements up to SOP Instance UID are at the very beginning of a data set.
_BEGINNING = 1 << 13
# How long a message waits for room, looking again and again; most senders wait for 30 s.
_PATIENCE, _BREATH = 3.0, 0.1
# After so many bytes of one instance the free space is looked at again.
_LOOK_AGAIN = 64 << 20


class Verdict(Record):
    """The answer to a C-STORE: its status, and the Error Comment (0000,0902) if it is a failure."""

    status: int
    comment: str = ""


class Desk:
    """Takes instances into the spool, for the destinations that the routes say."""

    def __init__(self, spool: Spool, router: Router, config: SpoolConfig, *, counters: Counters, log: Log) -> None:
        self.spool = spool
        self.router = router
        self.counters = counters
        self.log = log
        # Set when the relay ends.
        self.ended = threading.Event()
        self._reserve = config.reserve
        self._high_water = config.high_water

    def is_full(self) -> bool:
        """Tell whether no association should begin: too much waits."""
        return bool(self._high_water) and self.spool.bytes >= self._high_water

    def has_room(self) -> bool:
        """Tell whether the disk has more free space than the reserve."""
        try:
            return self.spool.free() > self._reserve
        except OSError:
            return False

    def await_room(self) -> bool:
        """Wait a moment for room, if there is none: a sender that waits is better off than one that is refused."""
        until = time.monotonic() + _PATIENCE
        while not self.has_room():
            if time.monotonic() >= until or self.ended.wait(_BREATH):
                return False
        return True

    def receive(self, context: Accepted, command: dimse.Command, caller: Caller) -> Reception:
        """Begin to receive the data set of a C-STORE."""
        return Reception(self, context, command, caller=caller)


class Reception:
    """One C-STORE: its data set goes into a file as it comes. Whatever fails, all of it is read, then answered."""

    def __init__(self, desk: Desk, context: Accepted, command: dimse.Command, *, caller: Caller) -> None:
        self._desk = desk
        self._syntax = context.syntax
        self._sop_class = command.text(dimse.CLASS)
        self._instance = command.text(dimse.INSTANCE)
        self._caller = caller
        self._began = time.monotonic()
        self._size = 0
        self._looked = 0
        self._failure: Verdict | None = None
        self._incoming: Incoming | None = None
        self._try(self._begin)

    def _begin(self) -> None:
        if not self._desk.await_room():
            raise OSError(errno.ENOSPC, "the disk of the spool is full")
        self._incoming = self._desk.spool.receive()
        self._incoming.write(new_file_meta(self._sop_class, self._instance, self._syntax, self._caller.calling))

    def _try(self, step: Callable[[], None]) -> None:
        """Do a step. What the disk does not do is told to the sender, who will try again."""
        try:
            step()
        except OSError as error:
            self._fail(Verdict(OUT_OF_RESOURCES, error.strerror or str(error)))

    def _fail(self, verdict: Verdict) -> None:
        self._failure = verdict
        self.abort()

    def write(self, data: memoryview) -> None:
        """Take a fragment of the data set."""
        self._size += len(data)
        if self._failure is None:
            assert self._incoming is not None
            if self._size - self._looked > _LOOK_AGAIN:
                self._looked = self._size
                if not self._desk.has_room():
                    self._fail(Verdict(OUT_OF_RESOURCES, "the disk of the spool is full"))
                    return
            try:
                self._incoming.write(data)
            except OSError as error:
                self._fail(Verdict(OUT_OF_RESOURCES, error.strerror or str(error)))

    def finish(self) -> Verdict:
        """Commit it, durably, and return what to answer."""
        if self._failure is None and not self._size:
            self._fail(Verdict(MISMATCH, "there is no data set"))
        if self._failure is None:
            self._try(self._commit)
        verdict = self._failure or Verdict(SUCCESS)
        self._tell(verdict)
        return verdict

    def _commit(self) -> None:
        incoming = self._incoming
        assert incoming is not None
        strange = self._contradiction(incoming)
        if strange:
            self._fail(Verdict(MISMATCH, strange))
            return
        if not is_storage(self._sop_class):
            # Whatever its context is for: nobody could be offered it.
            self._fail(Verdict(NOT_SUPPORTED, "its SOP class is none that is stored"))
            return
        attributes = read_file(incoming.path, self._desk.router.tags) if self._desk.router.tags else None
        names = self._desk.router.destinations(self._caller, self._sop_class, attributes)
        if not names:
            self._fail(Verdict(NOT_AUTHORIZED, "no route of this relay takes it"))
            return
        new = incoming.commit(names, self._instance)
        self._committed = names, new, incoming.id

    def _contradiction(self, incoming: Incoming) -> str:
        """Say how the UIDs of command and data set differ; empty if they do not, or cannot be read."""
        start = incoming.size - self._size
        sop_class, instance = identity(incoming.pread(_BEGINNING, start), self._syntax)
        if not self._sop_class or not self._instance:
            return "the command has no SOP Class or Instance UID"
        if instance and instance != self._instance:
            return "SOP Instance UIDs of command and data set differ"
        if sop_class and sop_class != self._sop_class:
            return "SOP Class UIDs of command and data set differ"
        return ""

    _committed: tuple[tuple[str, ...], tuple[str, ...], str] = ((), (), "")

    def _tell(self, verdict: Verdict) -> None:
        seconds = time.monotonic() - self._began
        counters, log, calling = self._desk.counters, self._desk.log, self._caller.calling
        counters.observe("store_seconds", seconds)
        about = {"calling": calling, "instance": self._instance, "bytes": self._size, "seconds": round(seconds, 4)}
        if verdict.status == SUCCESS:
            names, new, identifier = self._committed
            counters.count("received", calling)
            again = "" if len(new) == len(names) else "; the very same waits already"
            log.write("received", f"received {self._instance} from {calling} for {', '.join(names)}{again}", **about,
                      id=identifier, syntax=self._syntax, to=names, again=bool(again))  # fmt: skip
            return
        counters.count("declined", f"{verdict.status:04X}")
        text = f"declined {self._instance} from {calling} with {verdict.status:04X}: {verdict.comment}"
        log.write("declined", text, **about, status=f"{verdict.status:04X}", reason=verdict.comment)  # fmt: skip

    def abort(self) -> None:
        """Forget it: the sender has gone, or it was refused. A second call does nothing."""
        if self._incoming is not None:
            self._incoming.abort()


def identity(beginning: bytes, syntax: str) -> tuple[str, str]:
    """Return SOP Class and Instance UIDs of a data set, from its beginning; empty where they cannot be read."""
    row = BY_UID.get(syntax)
    if row is not None and row.deflated:
        try:
            beginning = zlib.decompressobj(wbits=-15).decompress(beginning, _BEGINNING)
        except zlib.error:
            return "", ""
    return _identity(beginning, row.encoding if row is not None else Encoding())


def _identity(data: bytes, encoding: Encoding) -> tuple[str, str]:
    found = {SOP_CLASS_UID: "", SOP_INSTANCE_UID: ""}
    position, tag = 0, 0
    while tag < SOP_INSTANCE_UID:
        header = element_at(data, position, encoding)
        if header is None:
            break
        before, (tag, _, size, length) = tag, header
        position += size
        # What is out of order is not understood here.
        if tag <= before or length == UNDEFINED or position + length > len(data):
            break
        if tag in found:
            found[tag] = data[position : position + length].decode("latin-1").strip("\0 ")
        position += length
    return found[SOP_CLASS_UID], found[SOP_INSTANCE_UID]
