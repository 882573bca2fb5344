"""Parts of the relay by themselves: spool, negotiation, back-off, command sets, what is counted."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import struct
import threading
import time

import dicom
import pytest
from conftest import wait_until
from relays import CT, VIDEO, instance

from dcmtx.dataset.meta import new_file_meta
from dcmtx.errors import OutputError
from dcmtx.policy import EncodingParameters
from dcmtx.relay.answers import AnswerKind, answer_to_rejection, answer_to_status
from dcmtx.relay.association import MOST_CONTEXTS
from dcmtx.relay.config import Destination, Listen, RelayConfig, SpoolConfig
from dcmtx.relay.daemon import Relay
from dcmtx.relay.dimse import Command, encode_command, p_data
from dcmtx.relay.health import Health, Pace
from dcmtx.relay.metrics import Counters, exposition
from dcmtx.relay.negotiation import Wanted, choices, offers
from dcmtx.relay.parcel import find_way
from dcmtx.relay.reception import identity
from dcmtx.relay.spool import Spool
from dcmtx.relay.transcode import Transcoder
from dcmtx.relay.wire import Ended, Wire

EXPLICIT, IMPLICIT = dicom.EXPLICIT, dicom.IMPLICIT
JPEG, JPEGLS, NEAR, J2K, J2KL, RLE = (
    dicom.JPEG_BASELINE, dicom.JPEGLS, dicom.JPEGLS_NEAR, dicom.J2K, dicom.J2K_LOSSLESS, dicom.RLE,
)  # fmt: skip


# --- the spool -----------------------------------------------------------------------------------------------------


@pytest.fixture
def spool(tmp_path):
    with Spool(str(tmp_path / "spool"), ["a", "b"]) as opened:
        yield opened


def put(spool: Spool, content: bytes = b"data set", names: tuple[str, ...] = ("a",), uid: str = "1.2.3", **more):
    """Put an instance into the spool; return the names of destinations for which it is new."""
    incoming = spool.receive()
    incoming.write(new_file_meta(CT, uid, more.get("syntax", EXPLICIT), more.get("source", "SENDER")))
    incoming.write(content)
    return incoming.commit(names, uid)


def reopened(spool: Spool, tmp_path) -> Spool:
    spool.close()
    spool.close = lambda: None
    return Spool(str(tmp_path / "spool"), ["a", "b"])


def test_what_is_committed_is_queued_for_each_destination_once_on_the_disk(spool):
    assert put(spool, names=("a", "b")) == ("a", "b")
    first, second = spool.queue("a").take(), spool.queue("b").take()
    assert os.path.samefile(first.path, second.path)
    assert os.stat(first.path).st_mode & 0o777 == 0o600
    assert (first.head.sop_class, first.head.instance, first.head.syntax) == (CT, "1.2.3", EXPLICIT)
    assert spool.bytes == first.head.size
    assert not os.listdir(os.path.join(spool.path, "incoming"))
    first.delivered()
    assert os.path.exists(second.path)
    assert spool.bytes
    second.delivered()
    assert spool.bytes == 0
    assert spool.queue("a").counts() == (0, 0, 0.0)


def test_entries_come_oldest_first_and_one_that_was_put_back_in_its_time(spool):
    for number in range(5):
        put(spool, uid=f"1.2.{number}")
    queue = spool.queue("a")
    taken = [queue.take() for _ in range(3)]
    assert [entry.head.instance for entry in taken] == ["1.2.0", "1.2.1", "1.2.2"]
    taken[1].again()
    taken[0].again(0.05)
    assert queue.take().head.instance == "1.2.1"
    assert [entry.head.instance for entry in queue.upcoming(9)] == ["1.2.3", "1.2.4"]
    assert len(queue) == 5
    assert queue.take(5.0).head.instance == "1.2.3"
    time.sleep(0.06)
    assert queue.take().head.instance == "1.2.0"
    # It is the same entry, which knows how often it was tried.
    assert taken[0].id < taken[1].id < taken[2].id


def test_taking_waits_for_an_entry_and_ends_with_the_queue(spool):
    queue = spool.queue("a")
    found = []
    thread = threading.Thread(target=lambda: found.append(queue.take(None)))
    thread.start()
    put(spool)
    thread.join(30)
    assert found[0].head.instance == "1.2.3"
    thread = threading.Thread(target=lambda: found.append(queue.take(None)))
    thread.start()
    queue.stop()
    thread.join(30)
    assert found[1] is None
    put(spool)
    assert queue.take(0.01) is None


def test_a_restart_finds_what_waits_and_what_is_held_and_nothing_that_was_not_committed(spool, tmp_path):
    for number in range(4):
        put(spool, uid=f"1.2.{number}")
    queue = spool.queue("a")
    queue.take().delivered()
    queue.take().hold("status 0122")
    queue.take()
    half = spool.receive()
    half.write(b"half")
    with open(os.path.join(spool.work, "7.dcm"), "wb"):
        pass
    again = reopened(spool, tmp_path)
    with again:
        assert not os.listdir(os.path.join(again.path, "incoming"))
        assert not os.listdir(again.work)
        assert [again.queue("a").take().head.instance for _ in range(2)] == ["1.2.2", "1.2.3"]
        (held,) = again.queue("a").held()
        assert (held.reason, held.instance) == ("status 0122", "1.2.1")
        size = os.path.getsize(again.queue("a").held_path(held.id))
        assert again.bytes == 3 * size
        # What was queued before is known again, when it was looked at.
        assert put(again, uid="1.2.3") == ()
        # Ids go on behind those that are there.
        put(again, uid="1.2.9")
        assert again.queue("a").take().id > held.id


def test_what_is_held_is_retried_or_dropped(spool):
    for number in range(3):
        put(spool, uid=f"1.2.{number}")
    queue = spool.queue("a")
    ids = []
    for _ in range(3):
        entry = queue.take()
        ids.append(entry.id)
        entry.hold("why")
    assert queue.counts()[:2] == (0, 0)
    assert spool.bytes
    assert queue.drop("7") == 0
    assert queue.drop(ids[1]) == 1
    assert queue.retry(ids[2]) == 1
    assert queue.retry(ids[2]) == 0
    assert queue.take().id == ids[2]
    assert queue.retry() == 1
    assert queue.take().id == ids[0]
    assert not queue.held()
    assert not os.listdir(os.path.join(spool.path, "held", "a"))


def test_an_entry_that_waits_may_be_dropped_but_not_one_that_is_being_sent(spool):
    put(spool, uid="1.2.1")
    put(spool, uid="1.2.2")
    queue = spool.queue("a")
    sent = queue.take()
    (waits,) = queue.upcoming(5)
    assert queue.drop(sent.id) == 0
    assert queue.drop(waits.id) == 1
    assert queue.take() is None
    sent.delivered()
    assert spool.bytes == 0


def test_a_paused_queue_gives_nothing_and_a_restart_keeps_to_it(spool, tmp_path):
    put(spool)
    spool.queue("a").pause(paused=True)
    assert spool.queue("a").take() is None
    again = reopened(spool, tmp_path)
    with again:
        assert again.queue("a").paused
        assert again.queue("a").take() is None
        again.queue("a").pause(paused=False)
        assert again.queue("a").take() is not None


def test_the_very_same_is_kept_once_while_it_waits(spool):
    assert put(spool) == ("a",)
    assert put(spool) == ()
    assert put(spool, source="OTHER") == (), "who sent it is nothing of the instance"
    assert put(spool, names=("a", "b")) == ("b",)
    assert put(spool, b"data sex") == ("a",)
    assert put(spool, syntax=IMPLICIT) == ("a",)
    assert len(spool.queue("a")) == 3
    assert len(spool.queue("b")) == 1
    for _ in range(3):
        spool.queue("a").take().delivered()
    assert put(spool) == ("a",), "the one before has left"
    spool.queue("a").take().hold("why")
    assert put(spool) == ("a",), "what is held waits for nobody"


def test_two_relays_do_not_share_a_spool(spool, tmp_path):
    with pytest.raises(OutputError, match="another relay uses this spool"):
        Spool(str(tmp_path / "spool"), ["a"])


def test_a_spool_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="the spool cannot be used"):
        Spool(str(tmp_path / "file" / "spool"), ["a"])


@pytest.mark.parametrize("step", ["link", "fsync"])
def test_if_the_disk_fails_nobody_has_it(step, spool, monkeypatch):
    real = getattr(os, step)
    calls = []

    def fails(*arguments):
        calls.append(arguments)
        # The file and the first directory work, the second does not; of links the second.
        if len(calls) >= (2 if step == "link" else 3):
            raise OSError(5, "Input/output error")
        return real(*arguments)

    monkeypatch.setattr(os, step, fails)
    incoming = spool.receive()
    incoming.write(new_file_meta(CT, "1.2.3", EXPLICIT, "SENDER"))
    with pytest.raises(OSError, match="Input/output error"):
        incoming.commit(["a", "b"], "1.2.3")
    incoming.abort()
    for part in ("incoming", "queue/a", "queue/b"):
        assert not os.listdir(os.path.join(spool.path, part))
    assert spool.bytes == 0
    assert spool.queue("a").take() is None


def test_the_file_and_the_directories_are_synced_before_it_counts(spool, monkeypatch):
    order = []

    def note(name, real):
        def call(*arguments):
            target = arguments[0]
            order.append((name, os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else target))
            return real(*arguments)

        return call

    monkeypatch.setattr(os, "fsync", note("fsync", os.fsync))
    monkeypatch.setattr(os, "link", note("link", os.link))
    monkeypatch.setattr(spool.queue("a"), "add", lambda *_: order.append(("add", "")))
    put(spool)
    assert [name for name, _ in order] == ["fsync", "link", "fsync", "add"]
    assert order[0][1].endswith(".part")
    assert order[2][1].endswith("queue/a")


def test_those_who_wait_for_the_disk_share_a_turn(spool, monkeypatch):
    """While one sync of the directory is under way, five more are asked for; one does for all of them."""
    queue = spool.queue("a")
    begun, go = threading.Event(), threading.Event()
    calls = []

    def slow(_: int) -> None:
        calls.append(1)
        begun.set()
        go.wait(30)

    monkeypatch.setattr(os, "fsync", slow)
    threads = [threading.Thread(target=queue.sync) for _ in range(6)]
    threads[0].start()
    begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: queue.durable.asked == 6)
    assert len(calls) == 1
    go.set()
    for thread in threads:
        thread.join(30)
    assert len(calls) == 2


def test_if_a_shared_turn_fails_it_fails_for_all_who_shared_it(spool, monkeypatch):
    queue = spool.queue("a")
    begun, go, failed, calls = threading.Event(), threading.Event(), [], []

    def fails(_: int) -> None:
        calls.append(1)
        begun.set()
        go.wait(30)
        raise OSError(5, "Input/output error")

    def sync() -> None:
        with pytest.raises(OSError, match="Input/output"):
            queue.sync()
        failed.append(1)

    monkeypatch.setattr(os, "fsync", fails)
    threads = [threading.Thread(target=sync) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.wait(30)
    wait_until(lambda: queue.durable.asked == 4)
    go.set()
    for thread in threads:
        thread.join(30)
    assert len(failed) == 4
    assert len(calls) == 2
    monkeypatch.setattr(os, "fsync", lambda _: None)
    queue.sync()


def test_queues_of_unknown_destinations_stay_and_are_told(spool, tmp_path):
    put(spool)
    spool.close()
    spool.close = lambda: None
    with Spool(str(tmp_path / "spool"), ["b"]) as other:
        assert other.strangers() == ["a"]
        assert len(os.listdir(os.path.join(other.path, "queue", "a"))) == 1


# --- what is sent in which syntax ----------------------------------------------------------------------------------


def destination(**more) -> Destination:
    return Destination("d", **more)


LOSSY = EncodingParameters(lossy=True, quality=80)


@pytest.mark.parametrize(
    ("settings", "source", "expected"),
    [
        ({}, EXPLICIT, [EXPLICIT, IMPLICIT]),
        ({}, IMPLICIT, [IMPLICIT, EXPLICIT]),
        ({}, JPEG, [JPEG, EXPLICIT, IMPLICIT]),
        ({}, VIDEO, [VIDEO, EXPLICIT, IMPLICIT]),
        ({"prefer": (JPEGLS, RLE)}, EXPLICIT, [JPEGLS, RLE, EXPLICIT, IMPLICIT]),
        ({"prefer": (JPEGLS,)}, J2KL, [JPEGLS, J2KL, EXPLICIT, IMPLICIT]),
        ({"prefer": (JPEG,)}, EXPLICIT, [EXPLICIT, IMPLICIT]),
        ({"prefer": (JPEG, JPEGLS), "lossy": LOSSY}, EXPLICIT, [f"{JPEG} lossy", JPEGLS, EXPLICIT, IMPLICIT]),
        ({"prefer": (JPEG,), "lossy": LOSSY}, J2K, [J2K, EXPLICIT, IMPLICIT]),
        ({"prefer": (NEAR,), "lossy": LOSSY}, JPEG, [NEAR, JPEG, EXPLICIT, IMPLICIT]),
        ({"prefer": (NEAR,)}, EXPLICIT, [NEAR, EXPLICIT, IMPLICIT]),
        ({"prefer": (JPEG,), "lossy": LOSSY}, JPEG, [JPEG, EXPLICIT, IMPLICIT]),
        ({"prefer": (JPEGLS, RLE), "accept": (f"{IMPLICIT}", "*.80")}, EXPLICIT, [JPEGLS, IMPLICIT]),
        ({"accept": ("1.2.3.4",)}, EXPLICIT, []),
        ({"prefer": (VIDEO,)}, EXPLICIT, [EXPLICIT, IMPLICIT]),
    ],
    ids=[
        "as it came", "implicit stays", "lossy stays", "video stays", "preferences in order",
        "from lossless to lossless", "lossy needs consent", "lossy by consent", "never from lossy to lossy",
        "from lossy to one that may keep all, without loss", "one that may lose, without loss", "lossy to itself",
        "accept cuts", "accept leaves nothing", "video is never made",
    ],
)  # fmt: skip
def test_the_syntaxes_for_an_instance(settings, source, expected):
    found = [wanted.syntax + (" lossy" if wanted.lossy else "") for wanted in choices(destination(**settings), source)]
    assert found == expected


@pytest.mark.parametrize(
    ("taken", "made", "untouched"),
    [
        (None, [JPEGLS, RLE], True),
        ({JPEGLS, RLE, J2KL, EXPLICIT}, [JPEGLS, RLE], True),
        ({RLE, J2KL}, [RLE], True),
        ({J2KL, EXPLICIT}, [], True),
        ({EXPLICIT, IMPLICIT}, [EXPLICIT, IMPLICIT], False),
        ({IMPLICIT}, [IMPLICIT], False),
        ({JPEG}, [], False),
    ],
    ids=["anything", "all", "some", "its own and a native one", "native ones", "implicit alone", "none of them"],
)
def test_the_way_of_an_instance(taken, made, untouched):
    wanted = choices(destination(prefer=(JPEGLS, RLE)), J2KL)
    way = find_way(wanted, J2KL, None if taken is None else frozenset(taken))
    assert ([each.syntax for each in way.made], way.untouched) == (made, untouched)


def test_no_more_contexts_are_offered_than_there_are_ids():
    classes = [(f"1.2.3.{number}", EXPLICIT) for number in range(200)]
    found = offers(classes, destination(prefer=(JPEGLS,)))
    assert len(found) == MOST_CONTEXTS - MOST_CONTEXTS % 3
    assert found[:3] == [("1.2.3.0", JPEGLS), ("1.2.3.0", EXPLICIT), ("1.2.3.0", IMPLICIT)]
    assert all((sop_class, IMPLICIT) in found for sop_class, _ in found)
    # One class in many syntaxes takes a context for each.
    several = offers([(CT, EXPLICIT), (CT, J2KL), (CT, JPEG)], destination())
    assert several == [(CT, EXPLICIT), (CT, IMPLICIT), (CT, J2KL), (CT, JPEG)]


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, dicom.BIG_ENDIAN, dicom.DEFLATED])
def test_the_uids_of_a_data_set_are_found_at_its_beginning(syntax):
    data = instance(5, syntax=syntax).encode()
    start = 144 + int.from_bytes(data[140:144], "little")
    assert identity(data[start : start + 4000], syntax) == (CT, "1.2.3.5")
    assert identity(b"\xff" * 100, syntax) == ("", "")
    assert identity(b"", syntax) == ("", "")


# --- answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0x0000, "delivered"), (0xB000, "delivered"), (0xB006, "delivered"), (0xB007, "delivered"),
        (0x0111, "delivered"), (0xA700, "again"), (0xA7FF, "again"), (0x0110, "again"), (0xA900, "few tries"),
        (0xA9FF, "few tries"), (0xC000, "few tries"), (0xCFFF, "few tries"), (0x0117, "hold"), (0x0122, "hold"),
        (0x0124, "hold"), (0x0210, "hold"), (0x0211, "hold"), (0x0212, "hold"), (0x0123, "few tries"),
        (0xFF00, "few tries"), (0xD000, "few tries"),
    ],
)  # fmt: skip
def test_what_a_status_means(status, kind):
    assert answer_to_status(status).kind.value == kind
    assert f"{status:04X}" in answer_to_status(status).text


def test_what_a_rejection_means():
    assert answer_to_rejection(1, 1, 7).kind is AnswerKind.REJECTED
    assert answer_to_rejection(2, 3, 2).kind is AnswerKind.UNREACHABLE
    assert "source 9, reason 9" in answer_to_rejection(2, 9, 9).text


# --- back-off ------------------------------------------------------------------------------------------------------


def test_a_destination_that_is_down_is_tried_less_and_less_often_until_it_is_well():
    health = Health(Pace(first=1.0, most=8.0, rejected=300.0))
    waits = [health.ill(AnswerKind.UNREACHABLE, "down")[1] for _ in range(6)]
    for seconds, expected in zip(waits, (1, 2, 4, 8, 8, 8), strict=True):
        assert 0.8 * expected <= seconds <= 1.2 * expected
    assert len(set(waits)) == 6, "many relays do not come all at once"
    assert health.ill(AnswerKind.REJECTED, "rejected") == (True, 300.0)
    assert health.ill(AnswerKind.REJECTED, "rejected")[0] is False
    state, error, left = health.report()
    assert (state, error) == ("down", "rejected")
    assert 299 < left <= 300
    assert health.well() is True
    assert health.well() is False
    assert health.report() == ("up", "", 0.0)
    assert health.ill(AnswerKind.UNREACHABLE, "down")[1] <= 1.2


def test_one_at_a_time_tries_a_destination_that_is_down():
    health = Health(Pace())
    assert all(health.turn(lambda: True) for _ in range(3)), "while it is up, all may"
    health.ill(AnswerKind.UNREACHABLE, "down")
    assert not health.turn(lambda: True)
    health.retry()
    assert health.turn(lambda: True)
    assert not health.turn(lambda: True)
    health.leave()
    assert health.turn(lambda: True)
    health.well()
    assert all(health.turn(lambda: True) for _ in range(3))


# --- messages ------------------------------------------------------------------------------------------------------


def test_command_sets_are_those_of_pydicom():
    """Encoded here and read by pydicom, and the other way round."""
    from io import BytesIO

    import pydicom
    from pydicom.filebase import DicomBytesIO
    from pydicom.filereader import read_dataset
    from pydicom.filewriter import write_dataset

    encoded = encode_command([(0x0002, CT), (0x0100, 1), (0x0110, 7), (0x0800, 1), (0x0902, "why"), (0x1000, "1.2.3")])
    read = read_dataset(BytesIO(encoded), is_implicit_VR=True, is_little_endian=True)
    assert read.CommandGroupLength == len(encoded) - 12
    assert (read.AffectedSOPClassUID, read.MessageID, read.ErrorComment) == (CT, 7, "why")
    dataset = pydicom.Dataset()
    dataset.CommandGroupLength, dataset.CommandField, dataset.Status = 0, 0x8001, 0xA700
    dataset.CommandDataSetType, dataset.ErrorComment = 0x0101, "full"
    written = DicomBytesIO()
    written.is_implicit_VR, written.is_little_endian = True, True
    write_dataset(written, dataset)
    command = Command(written.getvalue())
    assert (command.number(0x0900), command.text(0x0902), command.has_data_set) == (0xA700, "full", False)


def test_a_long_command_set_goes_in_several_fragments():
    whole = encode_command([(0x0002, CT), (0x1000, "1." * 30 + "1")])
    sent = p_data(5, whole, 40)
    joined, position, flags = b"", 0, []
    while position < len(sent):
        length = int.from_bytes(sent[position + 2 : position + 6], "big")
        assert length <= 40
        flags.append(sent[position + 11])
        joined += sent[position + 12 : position + 6 + length]
        position += 6 + length
    assert joined == whole
    assert flags == [1] * (len(flags) - 1) + [3]


# --- a relay that cannot be -----------------------------------------------------------------------------------------


def test_a_relay_that_cannot_start_leaves_nothing_behind(tmp_path):
    """Neither processes nor the lock of its spool: the port is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = Listen("127.0.0.1", taken.getsockname()[1])
        config = RelayConfig(listen, SpoolConfig(str(tmp_path / "spool")), (destination(host="127.0.0.1"),))
        with pytest.raises(OutputError, match="it cannot listen at"):
            Relay(config)
        assert multiprocessing.active_children() == []
        with Spool(str(tmp_path / "spool"), ["d"]):
            pass


# --- connections ---------------------------------------------------------------------------------------------------


class Recording(socket.socket):
    """A socket that notes which options are set, and when something is received."""

    def __init__(self, other: socket.socket) -> None:
        super().__init__(fileno=other.detach())
        self.noted: list[object] = []

    def setsockopt(self, *arguments: object) -> None:
        self.noted.append(arguments[1:])
        super().setsockopt(*arguments)

    def recv_into(self, *arguments: object) -> int:
        self.noted.append("received")
        return super().recv_into(*arguments)


@pytest.fixture
def pair():
    """Return a Wire, its socket, and the other end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        other = socket.create_connection(listening.getsockname())
        here = Recording(listening.accept()[0])
    with other, here:
        yield Wire(here), here, other


def test_nothing_waits_for_an_acknowledgement_that_is_held_back(pair):
    wire, here, other = pair
    assert here.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    for _ in range(3):
        other.sendall(b"abc")
        assert wire.take(3) == b"abc"
    assert here.noted[-6:] == ["received", (socket.TCP_QUICKACK, 1)] * 3


def test_bytes_come_as_they_are_asked_for(pair):
    wire, _, other = pair
    sent = bytes(range(256)) * 5000
    thread = threading.Thread(target=other.sendall, args=(sent,))
    thread.start()
    got = wire.take(3)
    got += wire.take(100_000)
    wire.widen()
    got += bytes(wire.some(10)) + wire.take(20_000)
    assert wire.unpack(struct.Struct(">BB")) == (sent[len(got)], sent[len(got) + 1])
    got += sent[len(got) : len(got) + 2] + wire.take(len(sent) - len(got) - 2)
    thread.join()
    assert got == sent
    assert not wire.waiting()
    other.close()
    with pytest.raises(Ended):
        wire.take(1)


def test_a_peer_that_says_nothing_or_too_slowly_is_not_waited_for(pair):
    wire, _, other = pair
    wire.limit(0.05, 0.05)
    with pytest.raises(TimeoutError):
        wire.take(1)
    wire.limit(10, 10)
    wire.deadline(0.1)
    ended = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            while not ended.wait(0.01):
                other.send(b"a")

    thread = threading.Thread(target=drip)
    thread.start()
    with pytest.raises(TimeoutError):
        wire.take(100_000)
    ended.set()
    thread.join()


def test_a_peer_that_takes_nothing_is_not_waited_for(pair):
    wire, _, _ = pair
    wire.limit(0.05, 0.05)
    with pytest.raises(TimeoutError):
        wire.send(*[bytes(1 << 20)] * 100)


def test_what_is_sent_in_many_parts_arrives_in_one_piece(pair):
    wire, _, other = pair
    parts = [bytes([number % 256]) * (number % 700) for number in range(3000)]
    thread = threading.Thread(target=wire.send, args=parts)
    thread.start()
    whole = b"".join(parts)
    got = b""
    while len(got) < len(whole):
        got += other.recv(1 << 16)
    thread.join()
    assert got == whole


def test_it_is_seen_when_the_peer_has_gone_or_spoken(pair):
    wire, _, other = pair
    assert not wire.is_disturbed()
    other.sendall(b"a")
    wait_until(wire.is_disturbed)
    assert wire.take(1) == b"a"
    assert not wire.is_disturbed()
    other.close()
    wait_until(wire.is_disturbed)


# --- metrics -------------------------------------------------------------------------------------------------------


def test_the_metrics_are_read_by_a_reader_of_prometheus():
    from prometheus_client.parser import text_string_to_metric_families

    counters = Counters()
    for _ in range(3):
        counters.count("received", "MODALITY")
        counters.count("delivered", "d", JPEGLS)
    counters.observe("store_seconds", 0.5)
    counters.observe("send_seconds", 0.25, "d")
    one = {"queue": 7, "held": [{}], "oldest_seconds": 8.5, "state": "down", "refused": {"C000": 1}}
    state = {
        "received": counters.table("received"), "declined": {"A700": 2}, "associations": 4, "spool_bytes": 5,
        "spool_free": 6, "destinations": {"d": one | {"delivered": counters.table("delivered", "d")}},
    }  # fmt: skip
    text = exposition(state, counters.durations()).decode()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["dcmtx_relay_received_total", "MODALITY"] == 3
    assert found["dcmtx_relay_delivered_total", "d", JPEGLS] == 3
    assert found["dcmtx_relay_refused_total", "d", "C000"] == 1
    assert found["dcmtx_relay_declined_total", "A700"] == 2
    assert found["dcmtx_relay_queue", "d"] == 7
    assert found["dcmtx_relay_held", "d"] == 1
    assert found["dcmtx_relay_up", "d"] == 0
    assert found["dcmtx_relay_oldest_seconds", "d"] == 8.5
    assert found[("dcmtx_relay_associations",)] == 4
    assert found[("dcmtx_relay_spool_bytes",)] == 5
    assert found[("dcmtx_relay_store_seconds_sum",)] == 0.5
    assert found["dcmtx_relay_send_seconds_count", "d"] == 1
    wait_until(lambda: counters.rate("received") == 0.05)


# --- transcoding ---------------------------------------------------------------------------------------------------


def test_if_no_process_can_be_started_whoever_waits_is_told_and_the_next_is_tried(tmp_path, monkeypatch):
    source, target = tmp_path / "a.dcm", tmp_path / "b.dcm"
    source.write_bytes(instance(1).encode())
    transcoder = Transcoder(1, 60.0)
    real, failures = transcoder._pool.step, [OutputError("there are too many processes"), ValueError("a bug")]

    def step(timeout: float | None) -> bool:
        if transcoder._waiting and failures:
            raise failures.pop(0)
        return real(timeout)

    stop, stumbles = transcoder._pool.stop, [OSError("it cannot be stopped either")]

    def stops() -> object:
        if stumbles:
            raise stumbles.pop()
        return stop()

    monkeypatch.setattr(transcoder._pool, "step", step)
    monkeypatch.setattr(transcoder._pool, "stop", stops)
    transcoder.start()
    try:
        for said in ("there are too many processes", "a bug"):
            came = transcoder.submit(str(source), str(target), [Wanted(JPEGLS)], None, 1.0).result(60)
            assert isinstance(came, OutputError)
            assert said in came.what
        came = transcoder.submit(str(source), str(target), [Wanted(JPEG), Wanted(JPEGLS)], None, 1.0).result(60)
        assert (came.syntax, dicom.walk(target.read_bytes()).syntax) == (JPEGLS, JPEGLS)
    finally:
        transcoder.stop()
    assert transcoder.submit(str(source), str(target), [Wanted(JPEGLS)], None, 1.0).result(1).what == "the relay ends"
