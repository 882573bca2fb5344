"""One odd thing harms nothing but itself: an instance, a title, an answer, a file that somebody put into the spool."""

from __future__ import annotations

import os
import socket
import threading
import time
from types import SimpleNamespace
from typing import Any

import dicom
import pytest
from conftest import PATIENCE, wait_until
from peers import ABORT, AC, CT, DATA, Destination, Sender, associate, data_set, pdu, request
from relays import RelayProcess, instance

from dcmtx.dataset.meta import new_file_meta
from dcmtx.relay import delivery, durable
from dcmtx.relay.answers import Answer, AnswerKind
from dcmtx.relay.config import Destination as To
from dcmtx.relay.config import LogFormat
from dcmtx.relay.forward import Forwarder
from dcmtx.relay.health import Pace
from dcmtx.relay.log import Log
from dcmtx.relay.metrics import Counters
from dcmtx.relay.spool import Spool

EXPLICIT, IMPLICIT = dicom.EXPLICIT, dicom.IMPLICIT
LONG = "1." + "2" * 80
# A data set in which nobody can read what class it is of.
UNREADABLE = b"\xff" * 64
PACE = Pace(first=0.01, most=0.02, rejected=0.02, tries=(0.01, 0.02), idle=0.1)


@pytest.fixture(scope="module")
def destination():
    with Destination() as running:
        yield running


@pytest.fixture(scope="module")
def relay(destination):
    with RelayProcess({"address": destination.address}) as running:
        yield running
        assert not running.events("bug")


def store(relay: RelayProcess, number: int, **more: Any) -> int:
    with associate(relay.port, [(CT, EXPLICIT)]) as sender:
        return sender.store(1, more.pop("data", data_set(instance(number))), f"1.2.3.{number}", **more)


def put(spool: Spool, uid: str, sop_class: str = CT, names: tuple[str, ...] = ("d1",)) -> str:
    """Put an instance into a spool, and return its id."""
    incoming = spool.receive()
    incoming.write(new_file_meta(sop_class, uid, EXPLICIT, "SENDER"))
    incoming.write(uid.encode())
    incoming.commit(names, uid)
    return incoming.id


# --- instances ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sop_class", [LONG, "\xe9t\xe9", "CT", "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.1.1"],
                         ids=["too long", "no ASCII", "a word", "verification", "a query"])  # fmt: skip
def test_what_has_no_class_that_is_stored_is_refused_and_what_follows_goes_on(sop_class, relay, destination):
    """No association could be asked for with such a class, and none of the others would ever be sent."""
    number = 100 + len(destination.received)
    assert store(relay, number, data=UNREADABLE, sop_class=sop_class) == 0x0122
    assert store(relay, number + 1) == 0
    wait_until(lambda: f"1.2.3.{number + 1}" in destination.taken(), relay.said)


def test_what_no_association_can_be_asked_for_is_held_and_the_others_go_on(tmp_path):
    with Spool(str(tmp_path / "spool"), ["d1"]) as spool:
        for number, sop_class in enumerate(("", CT, LONG, "\xe9", CT)):
            put(spool, f"1.2.{number}", sop_class)
    with (
        Destination() as destination,
        RelayProcess({"address": destination.address}, spool=tmp_path / "spool") as relay,
    ):
        relay.until_empty()
        assert set(destination.taken()) == {"1.2.1", "1.2.4"}
        assert [each["instance"] for each in relay.held()] == ["1.2.0", "1.2.2", "1.2.3"]
        assert not relay.events("bug")


def test_what_may_be_sent_in_no_syntax_at_all_is_held_without_an_association():
    """An association without contexts is refused, and would be asked for again and again."""
    with (
        Destination() as destination,
        RelayProcess({"address": destination.address, "accept": [dicom.JPEGLS]}) as relay,
    ):
        assert store(relay, 1) == 0
        (held,) = wait_until(relay.held, relay.said)
        assert "accept" in held["reason"]
        assert not destination.requests


class Sink:
    """A destination of tests: does with an instance what a function says."""

    def __init__(self, does: Any) -> None:
        self.does = does
        self.sent: list[str] = []

    def __call__(self, *_: object) -> Sink:
        return self

    def covers(self, _: object) -> bool:
        return True

    def accepted(self, _: object) -> None:
        return None

    def send(self, entry: Any, _path: str, _syntax: str) -> Answer:
        self.sent.append(entry.head.instance)
        return self.does(entry.head.instance)

    def close(self) -> None:
        pass

    interrupt = close


@pytest.fixture
def forwarding(tmp_path, monkeypatch):
    """Give what forwards a spool to a sink."""
    opened = []

    def start(does: Any, **settings: Any) -> tuple[Spool, Sink, Forwarder]:
        sink = Sink(does)
        monkeypatch.setattr(delivery, "open_delivery", sink)
        monkeypatch.setattr("dcmtx.relay.sender.open_delivery", sink)
        spool = Spool(str(tmp_path / "spool"), ["d1"])
        log = Log(LogFormat.JSON, os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT))
        forwarder = Forwarder(To("d1", **settings), spool, None, counters=Counters(), log=log, pace=PACE)
        opened.append((spool, forwarder))
        return spool, sink, forwarder

    yield start
    for spool, forwarder in opened:
        forwarder.stop()
        forwarder.join(time.monotonic() + PATIENCE)
        spool.close()


DELIVERED = Answer(AnswerKind.DELIVERED)


def test_a_bug_at_one_instance_holds_that_and_no_other(forwarding):
    def does(uid: str) -> Answer:
        if uid == "1.2.1":
            raise LookupError("nobody thought of this")
        return DELIVERED

    spool, sink, forwarder = forwarding(does)
    for number in range(4):
        put(spool, f"1.2.{number}")
    forwarder.start()
    queue = spool.queue("d1")
    wait_until(lambda: not len(queue))
    assert [held.instance for held in queue.held()] == ["1.2.1"]
    assert "nobody thought of this" in queue.held()[0].reason
    assert sink.sent.count("1.2.1") > 1
    assert sink.sent.count("1.2.3") == 1


def test_a_syntax_that_is_refused_where_there_is_no_other_is_tried_a_few_times_and_held(forwarding):
    """A proxy may say so of HTTP; to ask again at once would never end."""
    refused = Answer(AnswerKind.OTHER_SYNTAX, 415, "not in this one", http=True)
    spool, sink, forwarder = forwarding(lambda uid: refused if uid == "1.2.0" else DELIVERED)
    for number in range(3):
        put(spool, f"1.2.{number}")
    forwarder.start()
    queue = spool.queue("d1")
    wait_until(lambda: not len(queue))
    assert [held.instance for held in queue.held()] == ["1.2.0"]
    assert sink.sent.count("1.2.0") == 1 + len(PACE.tries)


def test_a_clock_that_is_set_holds_nothing(forwarding, monkeypatch):
    """As on a machine that learns the time only when it has a network."""
    again = Answer(AnswerKind.AGAIN, 0xA700, "no room")

    def does(_: str) -> Answer:
        now = time.time() + 400 * 86400
        monkeypatch.setattr(time, "time", lambda: now)
        return again if len(sink.sent) < 4 else DELIVERED

    spool, sink, forwarder = forwarding(does)
    put(spool, "1.2.0")
    forwarder.start()
    queue = spool.queue("d1")
    wait_until(lambda: not len(queue))
    assert not queue.held()
    assert len(sink.sent) == 4


def test_what_somebody_removes_from_the_queue_is_told(forwarding, tmp_path):
    spool, _, forwarder = forwarding(lambda _: DELIVERED)
    identifier = put(spool, "1.2.0")
    os.unlink(spool.queue("d1").path_of(identifier))
    forwarder.start()
    wait_until(lambda: not len(spool.queue("d1")))
    wait_until(lambda: identifier in (tmp_path / "log").read_text())


# --- peers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntaxes", [[""], ["a word"], ["1..2", EXPLICIT], ["1." + "9" * 90], ["\xe9"]])
def test_an_association_may_be_asked_for_with_whatever_uids(syntaxes, relay):
    with Sender(relay.port).send(request([(CT, syntaxes), (CT, [EXPLICIT])])) as sender:
        assert sender.read()[0] in (AC, ABORT)
    assert not relay.events("bug")


def test_a_destination_that_sends_something_all_the_time_but_no_answer_is_left():
    ended = threading.Event()

    class Chatter(Destination):
        def _reply(self, connection: socket.socket, *rest: Any) -> None:
            if len(self.received) > 1:
                super()._reply(connection, *rest)
                return
            while not ended.wait(0.05):
                connection.sendall(pdu(DATA, b""))

    with (
        Chatter() as destination,
        RelayProcess({"address": destination.address, "timeouts": {"dimse": "500 ms"}}) as relay,
    ):
        try:
            assert store(relay, 1) == 0
            wait_until(lambda: len(destination.received) > 1, relay.said)
            relay.until_empty()
        finally:
            ended.set()


# --- the spool ---------------------------------------------------------------------------------------------------


def test_what_else_lies_in_a_spool_harms_nothing(tmp_path):
    path = tmp_path / "spool"
    with Spool(str(path), ["old", "gone"]) as spool:
        put(spool, "1.2.1", names=("old", "gone"))
        spool.queue("gone").take().hold("for ever")
    (path / "queue" / "README").write_text("a file")
    (path / "held" / "README").write_text("a file")
    with Spool(str(path), ["d1"]) as spool:
        # What is held for one that is no destination any more is told, too.
        assert spool.strangers() == ["gone", "old"]


def test_what_a_restart_finds_is_durable_before_it_counts_as_there(tmp_path, monkeypatch):
    """A relay that was killed may have linked it, and not synced the directory: who sends it again is told success."""
    with Spool(str(tmp_path / "spool"), ["d1"]) as spool:
        put(spool, "1.2.1")
    synced = []

    def sync(descriptor: int, real: Any = os.fsync) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(durable.os, "fsync", sync)
    with Spool(str(tmp_path / "spool"), ["d1"]):
        assert str(tmp_path / "spool" / "queue" / "d1") in synced
        # Nor is the spool itself worth anything that is in a directory that is not on the disk.
        assert str(tmp_path) in synced


def test_a_control_socket_outlives_what_goes_wrong_with_one_request(tmp_path):
    from dcmtx.errors import UsageError
    from dcmtx.relay.control import Asked, ControlServer, ask

    calls = []

    def state() -> dict[str, Any]:
        calls.append(1)
        if len(calls) == 1:
            raise LookupError("nobody thought of this")
        return {"destinations": {}}

    server = ControlServer(SimpleNamespace(state=state), str(tmp_path))
    server.start()
    try:
        with pytest.raises(UsageError, match="nobody thought of this"):
            ask(str(tmp_path), Asked("status"))
        assert ask(str(tmp_path), Asked("status")) == {"state": {"destinations": {}}}
    finally:
        server.close()
