"""What the relay does with destinations: what each answer and each failure means for an instance."""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

import dicom
import pytest
from conftest import wait_until
from peers import (
    ABORT,
    ABORTS,
    CT,
    DATA,
    RELEASE,
    RESETS,
    RJ,
    SILENT,
    Destination,
    associate,
    command,
    damaged,
    data_set,
    pdu,
    pdv,
)
from relays import RelayProcess, free_port, instance

EXPLICIT, IMPLICIT = dicom.EXPLICIT, dicom.IMPLICIT
# Titles of senders, each of which has a destination of its own.
COUNT = 60


class Way(NamedTuple):
    """A destination's name and port, and the title of the sender whose instances go there."""

    name: str
    port: int
    title: str


@pytest.fixture(scope="module")
def ways() -> Iterator[tuple[RelayProcess, list[Way]]]:
    """One relay for all, in which every test has a destination of its own."""
    found = [Way(f"d{number}", free_port(), f"T{number}") for number in range(1, COUNT + 1)]
    destinations = [
        {"address": f"DESTINATION@127.0.0.1:{way.port}", "hold-after": "24 h",
         "timeouts": {"acse": "500 ms", "dimse": "500 ms", "network": "500 ms"}}
        for way in found
    ]  # fmt: skip
    routes = [{"to": [way.name], "where": {"calling": way.title}} for way in found]
    with RelayProcess(*destinations, top={"routes": routes}) as relay:
        yield relay, found
        assert not relay.events("bug")


@pytest.fixture
def relay(ways) -> RelayProcess:
    return ways[0]


@pytest.fixture
def way(ways) -> Way:
    return ways[1].pop()


def send(relay: RelayProcess, way: Way, *numbers: int, **more: object) -> None:
    """Send instances to the relay, and see that they are acknowledged."""
    image = instance(0, **more)
    with associate(relay.port, [(image.sop_class, image.syntax)], calling=way.title) as sender:
        for number in numbers:
            image = instance(number, **more)
            assert sender.store(1, data_set(image), image.sop_instance, sop_class=image.sop_class) == 0
        sender.release()


def answers(destination: Destination, number: int) -> list[object]:
    return [each.answered for each in list(destination.received) if each.instance == f"1.2.3.{number}"]


def arrives(destination: Destination, *numbers: int) -> None:
    wait_until(lambda: {f"1.2.3.{number}" for number in numbers} <= set(destination.taken()))


# --- statuses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xB006, 0xB007, 0x0111, 0x0107])
def test_these_statuses_mean_delivered(status, relay, way):
    with Destination(port=way.port, answer=lambda *_: status) as destination:
        send(relay, way, 1)
        wait_until(lambda: answers(destination, 1))
        relay.until_empty(way.name)
        assert answers(destination, 1) == [status]
        assert not relay.held(way.name)
        (event,) = [each for each in relay.events("delivered") if each["destination"] == way.name]
        assert (f"{status:04X}" in event["note"]) == bool(status)


@pytest.mark.parametrize("status", [0xA700, 0xA7FF, 0x0110])
def test_these_are_tried_again_while_others_go_on(status, relay, way):
    def answer(uid: str, times: int) -> int:
        return status if uid == "1.2.3.1" and times <= 2 else 0

    with Destination(port=way.port, answer=answer) as destination:
        send(relay, way, 1, 2, 3)
        arrives(destination, 1, 2, 3)
        relay.until_empty(way.name)
        assert answers(destination, 1) == [status, status, 0]
        assert (answers(destination, 2), answers(destination, 3)) == ([0], [0])
        assert not relay.held(way.name)


@pytest.mark.parametrize("status", [0xA900, 0xC000, 0xC211, 0xFE00])
def test_these_are_tried_three_times_and_then_held_while_others_go_on(status, relay, way):
    with Destination(
        port=way.port, answer=lambda uid, _: status if uid == "1.2.3.1" else 0, comment="no such thing"
    ) as destination:
        send(relay, way, 1, 2, 3)
        arrives(destination, 2, 3)
        (held,) = wait_until(lambda: relay.held(way.name))
        relay.until_empty(way.name)
        assert answers(destination, 1) == [status] * 3
        assert f"{status:04X}" in held["reason"]
        # What it says itself may be about a patient: it is not in the log.
        assert held["said"] == "no such thing"
        assert "no such thing" not in relay.said()
        assert held["instance"] == "1.2.3.1"
        # What is held is the instance, whole.
        (kept,) = (relay.spool / "held" / way.name).glob("*.dcm")
        assert kept.read_bytes().endswith(data_set(instance(1)))


@pytest.mark.parametrize("status", [0x0117, 0x0122, 0x0124, 0x0210, 0x0211, 0x0212])
def test_these_are_held_at_once(status, relay, way):
    with Destination(port=way.port, answer=lambda uid, _: status if uid == "1.2.3.1" else 0) as destination:
        send(relay, way, 1, 2)
        arrives(destination, 2)
        (held,) = wait_until(lambda: relay.held(way.name))
        assert answers(destination, 1) == [status]
        assert f"{status:04X}" in held["reason"]


# --- contexts ------------------------------------------------------------------------------------------------------


def test_what_no_context_takes_is_held_at_once_with_what_was_offered(relay, way):
    with Destination(port=way.port, takes=lambda abstract, _: abstract != CT) as destination:
        send(relay, way, 1)
        send(relay, way, 2, sop_class=dicom.SECONDARY_CAPTURE)
        (held,) = wait_until(lambda: relay.held(way.name))
        arrives(destination, 2)
        for word in (CT, EXPLICIT, IMPLICIT, "none that was offered"):
            assert word in held["reason"]
        relay.until_empty(way.name)
        assert len(destination.requests) <= 3, "it tried again and again"


def test_each_context_has_one_syntax_and_implicit_is_offered_always(relay, way):
    with Destination(port=way.port) as destination:
        send(relay, way, 1)
        arrives(destination, 1)
    proposed = list(destination.requests[0].values())
    assert all(len(syntaxes) == 1 for _, _, syntaxes in proposed)
    assert [syntaxes[0] for _, _, syntaxes in proposed] == [EXPLICIT, IMPLICIT]
    # No window of asynchronous operations, no roles: some drop who proposes them.
    assert set(destination.user[0]) == {0x51, 0x52, 0x55}


def test_a_syntax_that_was_not_offered_is_not_taken_for_an_answer(relay, way):
    """The acceptance names another syntax than that of the context."""

    class Strange(Destination):
        def _associate(self, connection, body, proposed):
            changed = {key: (result, abstract, [IMPLICIT]) for key, (result, abstract, _) in proposed.items()}
            super()._associate(connection, body, changed)

    with Strange(port=way.port) as destination:
        send(relay, way, 1)
        arrives(destination, 1)
        assert destination.taken()["1.2.3.1"].data == data_set(instance(1, syntax=IMPLICIT))


# --- destinations that are not there, or go away --------------------------------------------------------------------


def test_what_comes_while_a_destination_is_down_arrives_when_it_is_up(relay, way):
    send(relay, way, *range(5))
    (event,) = wait_until(lambda: [each for each in relay.events("down") if each["destination"] == way.name])
    assert "cannot be reached" in event["reason"]
    with Destination(port=way.port) as destination:
        arrives(destination, *range(5))
        relay.until_empty(way.name)
        assert len(destination.received) == 5
        # In the order in which they came.
        assert [each.instance for each in destination.received] == [f"1.2.3.{number}" for number in range(5)]
        wait_until(lambda: [each for each in relay.events("up") if each["destination"] == way.name])


def rejects(*answer: int):
    def reject(connection: socket.socket) -> bool:
        connection.sendall(pdu(RJ, bytes((0, *answer))))
        return True

    return reject


@pytest.mark.parametrize(
    ("answer", "lasting", "reason"),
    [((2, 3, 1), False, "temporary congestion"), ((2, 3, 2), False, "local limit exceeded"),
     ((1, 1, 7), True, "called AE title not recognized"), ((1, 1, 3), True, "calling AE title not recognized")],
    ids=["congestion", "local limit", "called title", "calling title"],
)  # fmt: skip
def test_a_rejected_association_is_tried_again(answer, lasting, reason, relay, way):
    counted = []

    def reject_twice(connection: socket.socket) -> bool:
        counted.append(time.monotonic())
        return len(counted) <= 2 and rejects(*answer)(connection)

    with Destination(port=way.port, on_request=reject_twice) as destination:
        send(relay, way, 1)
        arrives(destination, 1)
        (event,) = [each for each in relay.events("down") if each["destination"] == way.name]
        assert reason in event["reason"]
        assert event["lasting"] is lasting
        # One that rejects for good is asked seldom: here every half second.
        assert (counted[1] - counted[0] >= 0.45) == lasting


def test_a_destination_of_one_association_is_not_down_for_the_others_that_it_rejects():
    def one_at_a_time(connection: socket.socket) -> bool:
        return destination.open > 1 and rejects(2, 3, 2)(connection)

    with (
        Destination(on_request=one_at_a_time) as destination,
        RelayProcess({"address": destination.address, "associations": 4}) as relay,
    ):
        destination.answer = lambda *_: time.sleep(0.01) or 0
        send(relay, Way("d1", 0, "ANY"), *range(60))
        wait_until(lambda: len(destination.taken()) == 60)
        assert relay.events("crowded")
        # But for the first moment, when none is open yet.
        assert len(relay.events("down")) <= 1
        assert len(destination.received) == 60


def aborts(connection: socket.socket) -> bool:
    connection.sendall(pdu(ABORT, bytes(4)))
    return True


def says_nothing(connection: socket.socket) -> bool:
    connection.settimeout(20)
    try:
        while connection.recv(100):
            pass
    except OSError:
        pass
    return True


def talks_rubbish(connection: socket.socket) -> bool:
    connection.sendall(b"220 mail.example.org ESMTP\r\n" * 10)
    return True


def claims_much(connection: socket.socket) -> bool:
    connection.sendall(struct.pack(">BxI", 2, 0xFFFFFFF0) + bytes(10000))
    return True


@pytest.mark.parametrize("odd", [aborts, says_nothing, talks_rubbish, claims_much], ids=lambda each: each.__name__)
def test_who_answers_the_request_in_no_sensible_way_is_tried_again(odd, relay, way):
    counted = []

    def twice(connection: socket.socket) -> bool:
        counted.append(1)
        return len(counted) <= 2 and odd(connection)

    with Destination(port=way.port, on_request=twice) as destination:
        send(relay, way, 1)
        arrives(destination, 1)
        assert len(counted) == 3


@pytest.mark.parametrize("failure", [ABORTS, RESETS, SILENT])
def test_without_an_answer_the_same_instance_comes_again_by_a_new_association(failure, relay, way):
    with Destination(
        port=way.port, answer=lambda uid, times: failure if uid == "1.2.3.2" and times <= 2 else 0
    ) as destination:
        send(relay, way, 1, 2, 3)
        arrives(destination, 1, 2, 3)
        relay.until_empty(way.name)
        assert answers(destination, 2) == [failure, failure, 0]
        order = [each.instance[-1] for each in destination.received]
        assert order == ["1", "2", "2", "2", "3"]


def response(*more: tuple[int, int | str], message: int = 1, field: int = 0x8001) -> bytes:
    return pdu(DATA, pdv(1, 3, command((2, CT), (0x100, field), (0x120, message), (0x800, 0x101), *more)))


@pytest.mark.parametrize(
    "said",
    [
        pdu(RELEASE, bytes(4)), pdu(1, bytes(80)), pdu(2, bytes(80)), pdu(RJ, bytes(4)), pdu(6, bytes(4)),
        pdu(0x42, bytes(4)), struct.pack(">BxI", DATA, 0xFFFFFFFF), pdu(DATA, pdv(1, 3, b"rubbish")),
        pdu(DATA, struct.pack(">IBB", 900, 1, 3)), pdu(DATA, pdv(1, 1, bytes(60_000)) * 2), response(),
        response((0x900, 0), message=7), response((0x900, 0), field=0x0001),
    ],
    ids=["a release", "a request", "an acceptance", "a rejection", "a release's answer", "an unknown PDU",
         "a PDU of 4 GB", "a command set of rubbish", "a PDV longer than its PDU", "a command set without end",
         "an answer without status", "the answer to another message", "a request"],
)  # fmt: skip
def test_what_is_no_answer_is_not_taken_for_one(said, relay, way):
    """Above all not for a success; the instance comes again by a new association."""
    with Destination(port=way.port, answer=lambda _, times: said if times == 1 else 0) as destination:
        send(relay, way, 1)
        arrives(destination, 1)
        relay.until_empty(way.name)
        assert answers(destination, 1) == [said, 0]


def test_a_destination_that_ends_an_idle_association_is_not_taken_for_broken(relay, way):
    """It is closed, or aborted, between two instances."""
    for number, last in ((1, b""), (2, pdu(ABORT, bytes(4)))):
        with Destination(port=way.port) as destination:
            send(relay, way, number)
            arrives(destination, number)
            for connection in list(destination._connections):
                connection.sendall(last)
                connection.shutdown(socket.SHUT_RDWR)
            wait_until(lambda: destination.open == 0)
            send(relay, way, number + 10)
            arrives(destination, number + 10)
            assert len(destination.requests) == 2
    assert not [event for event in relay.events("broken") if event["destination"] == way.name]


def test_one_instance_that_breaks_every_association_does_not_keep_the_others(relay, way):
    with Destination(port=way.port, answer=lambda uid, _: ABORTS if uid == "1.2.3.1" else 0) as destination:
        send(relay, way, 1, 2, 3)
        arrives(destination, 2, 3)
        wait_until(lambda: len(relay.queued(way.name)) == 1)
        assert not relay.held(way.name)


class Damaging(Destination):
    """Damages half of what it sends."""

    def _serve(self, connection: socket.socket) -> None:
        chance = random.Random(len(self.requests))

        class Connection:
            def __getattr__(self, name: str) -> object:
                return getattr(connection, name)

            def sendall(self, data: bytes) -> None:
                connection.sendall(damaged(data, chance) if chance.random() < 0.5 else data)

            def __enter__(self) -> object:
                return self

            def __exit__(self, *_: object) -> None:
                connection.close()

        super()._serve(Connection())


def test_no_damage_to_what_a_destination_says_harms_the_relay():
    """Each instance ends as delivered or held, for what was said may say so."""
    timeouts = dict.fromkeys(("acse", "dimse", "network"), "100 ms")
    pace = {"first": 0.01, "most": 0.02, "tries": [0.01, 0.02]}
    with (
        Damaging() as destination,
        RelayProcess({"address": destination.address, "timeouts": timeouts}, pace=pace) as relay,
    ):
        send(relay, Way("d1", 0, "ANY"), *range(15), size=8)
        relay.until_empty()
        assert len(relay.held()) + len(relay.events("delivered")) == 15
        assert relay.events("broken")
        assert relay.events("down")
        assert not relay.events("bug")


def test_a_destination_that_stops_reading_is_left(relay, way):
    with Destination(port=way.port, reads=False) as stalled:
        send(relay, way, 1, size=2000)
        wait_until(lambda: len(stalled.requests) >= 2)
    with Destination(port=way.port) as destination:
        arrives(destination, 1)


def test_pdus_are_as_long_as_the_destination_takes(relay, way):
    # That none is longer is asserted there.
    for maximum in (4096, 131072, 0):
        with Destination(port=way.port, maximum=maximum) as destination:
            send(relay, way, maximum + 1, size=500)
            arrives(destination, maximum + 1)
            assert destination.received[0].data == data_set(instance(maximum + 1, size=500))
