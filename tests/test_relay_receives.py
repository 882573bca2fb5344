"""What the relay does with senders, of which some are not as they should be: every PDU made by hand (PS3.8 9.2)."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import zlib

import dicom
import pytest
from conftest import need_tool, wait_until
from peers import (
    ABORT,
    AC,
    COMMAND,
    CT,
    DATA,
    LAST,
    RELEASE,
    RJ,
    VERIFICATION,
    Destination,
    Sender,
    associate,
    command,
    contexts_of,
    damaged,
    data_set,
    item,
    pdu,
    pdv,
    request,
    store_command,
    user_items,
)
from relays import NATIVE, VIDEO, RelayProcess, instance, storescu, write_instances

EXPLICIT, IMPLICIT = dicom.EXPLICIT, dicom.IMPLICIT
DIGITAL_SR = "1.2.840.10008.5.1.4.1.1.88.11"
FIND = "1.2.840.10008.5.1.4.1.2.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"
PRIVATE = "1.3.46.670589.5.0.3"


@pytest.fixture(scope="module")
def destination():
    with Destination() as running:
        yield running


@pytest.fixture(scope="module")
def relay(destination):
    with RelayProcess(
        {"address": destination.address}, artim="500 ms", timeout="700 ms", maximum_associations=20
    ) as running:
        yield running


@pytest.fixture
def numbers(request):
    """Return a SOP Instance UID that no other test has, and the data set of it."""
    number = 10_000 + abs(zlib.crc32(request.node.nodeid.encode()))
    return f"1.2.3.{number}", data_set(instance(number))


def aborted(sender: Sender) -> tuple[int, int]:
    """Return source and reason of the A-ABORT that comes; the connection must end behind it."""
    kind, body = sender.read()
    assert kind == ABORT
    assert sender.ends()
    return body[2], body[3]


def arrives(destination: Destination, uid: str):
    return wait_until(lambda: destination.taken().get(uid))


# --- what is right -------------------------------------------------------------------------------------------------


def test_what_is_acknowledged_arrives(relay, destination, numbers):
    uid, data = numbers
    with associate(relay.port, [(CT, EXPLICIT)]) as sender:
        assert sender.store(1, data, uid) == 0
        sender.release()
    there = arrives(destination, uid)
    assert (there.syntax, there.data, there.sop_class) == (EXPLICIT, data, CT)


def test_it_answers_echo_by_hand_and_echoscu(relay):
    with associate(relay.port, [(VERIFICATION, IMPLICIT)]) as sender:
        assert sender.echo() == 0
        sender.release()
    import subprocess

    line = [need_tool("echoscu"), "-aec", "RELAY", "127.0.0.1", str(relay.port)]
    assert subprocess.run(line, check=False, timeout=30).returncode == 0


def test_a_message_in_one_byte_fragments_and_several_pdvs_in_a_pdu_arrives(relay, destination, numbers):
    uid, data = numbers
    whole = store_command(CT, uid)
    with associate(relay.port, [(CT, EXPLICIT)]) as sender:
        for number in range(len(whole)):
            flags = COMMAND | (LAST if number == len(whole) - 1 else 0)
            sender.send(pdu(DATA, pdv(1, flags, whole[number : number + 1])))
        # An empty fragment, three in a PDU, the end without anything in it.
        parts = [pdv(1, 0, b""), *(pdv(1, 0, data[at : at + 1000]) for at in range(0, len(data), 1000))]
        for at in range(0, len(parts), 3):
            sender.send(pdu(DATA, b"".join(parts[at : at + 3])))
        sender.send(pdu(DATA, pdv(1, LAST, b"")))
        assert sender.status() == 0
        # Command and data set may share a PDU.
        sender.send(pdu(DATA, pdv(1, COMMAND | LAST, store_command(CT, uid, 9)) + pdv(1, LAST, data)))
        answer = sender.response()
        assert struct.unpack("<H", answer[0x120]) == (9,)
        assert answer[0x900] == b"\0\0"
        assert answer[0x1000].rstrip(b"\0").decode() == uid
    assert arrives(destination, uid).data == data


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([IMPLICIT, EXPLICIT], IMPLICIT),
        ([EXPLICIT, IMPLICIT], EXPLICIT),
        ([dicom.JPEG_BASELINE, EXPLICIT], EXPLICIT),
        ([dicom.J2K, dicom.J2K_LOSSLESS, IMPLICIT], dicom.J2K_LOSSLESS),
        ([VIDEO, dicom.JPEG_BASELINE], dicom.JPEG_BASELINE),
        ([VIDEO], VIDEO),
        ([dicom.DEFLATED], dicom.DEFLATED),
        ([dicom.BIG_ENDIAN], dicom.BIG_ENDIAN),
        (["1.2.840.10008.1.2.4.999", "1.2.3.4"], None),
        (["1.2.3.4", dicom.RLE], dicom.RLE),
    ],
    ids=["implicit first", "explicit first", "lossless before lossy", "both kinds of JPEG 2000", "what can be decoded",
         "video alone", "deflated", "big endian", "unknown ones", "an unknown one first"],
)  # fmt: skip
def test_of_each_context_the_first_syntax_that_is_read_is_taken(offered, chosen, relay):
    with associate(relay.port, [(CT, offered)]) as sender:
        result, _, syntaxes = sender.results[1]
        assert (result, syntaxes) == (0, [chosen]) if chosen else result == 4
        sender.release()


@pytest.mark.parametrize(
    ("abstract", "result"),
    [(CT, 0), (DIGITAL_SR, 0), (PRIVATE, 0), (VERIFICATION, 0), (FIND, 3), (COMMITMENT, 3),
     ("1.2.840.10008.5.1.4.34.7", 0)],
    ids=["CT", "a report", "a private class", "verification", "query", "storage commitment", "a radiotherapy class"],
)  # fmt: skip
def test_storage_of_any_kind_is_taken_and_nothing_else(abstract, result, relay):
    with associate(relay.port, [(abstract, IMPLICIT)]) as sender:
        assert sender.results[1][0] == result
        sender.release()


def test_a_class_may_stand_in_several_contexts(relay, destination, numbers):
    uid, data = numbers
    with associate(relay.port, [(CT, IMPLICIT), (CT, EXPLICIT), (CT, dicom.JPEGLS)]) as sender:
        assert [sender.results[each][2] for each in (1, 3, 5)] == [[IMPLICIT], [EXPLICIT], [dicom.JPEGLS]]
        assert sender.store(3, data, uid) == 0
    assert arrives(destination, uid).syntax == EXPLICIT


def test_128_contexts_are_answered(relay):
    with associate(relay.port, [(f"{PRIVATE}.{number}", [*NATIVE, dicom.JPEGLS]) for number in range(128)]) as sender:
        assert len(sender.results) == 128
        assert {each[0] for each in sender.results.values()} == {0}
        sender.release()


def test_asynchronous_operations_are_answered_with_one_at_a_time(relay):
    with Sender(relay.port) as sender:
        sender.associate([(CT, [EXPLICIT])], item(0x53, struct.pack(">HH", 0, 0)))
        assert user_items(sender.answer)[0x53] == struct.pack(">HH", 1, 1)
    with Sender(relay.port) as sender:
        sender.associate([(CT, [EXPLICIT])], item(0x58, struct.pack(">BBH", 1, 0, 3) + b"abc" + bytes(2)))
        # User identity is read, and needs no answer; nor is a window told that nobody asked for.
        assert not {0x53, 0x59} & set(user_items(sender.answer))


def test_a_port_alone_is_listened_at_on_every_address(destination):
    with RelayProcess({"address": destination.address}, address="0") as everywhere:
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as connection:
                try:
                    connection.connect((host, everywhere.port))
                except OSError:
                    assert family == socket.AF_INET6, "there may be no version 6 here"
                    continue
                connection.sendall(b"rubbish, rubbish")
                assert connection.recv(10)[0] == ABORT
        assert everywhere.until("aborted")[0]["peer"] == "127.0.0.1"


def test_the_longest_pdu_is_told(relay):
    with associate(relay.port, [(CT, EXPLICIT)]) as sender:
        assert user_items(sender.answer)[0x51] == struct.pack(">I", 131072)


# --- what is refused -----------------------------------------------------------------------------------------------


def test_a_store_without_data_set_is_refused(relay, numbers):
    uid, _ = numbers
    with associate(relay.port, [(CT, EXPLICIT)]) as sender:
        sender.send(pdu(DATA, pdv(1, 3, store_command(CT, uid, data_set=0x101))))
        assert sender.status() == 0xA900
        sender.send(pdu(DATA, pdv(1, 3, store_command(CT, uid)) + pdv(1, LAST, b"")))
        assert sender.status() == 0xA900
        assert sender.socket.fileno() > 0
        sender.release()


@pytest.mark.parametrize("what", ["instance", "class"])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, dicom.BIG_ENDIAN, dicom.DEFLATED])
def test_uids_of_command_and_data_set_must_be_the_same(what, syntax, relay, numbers):
    image = instance(77, syntax=syntax)
    data = data_set(image)
    with associate(relay.port, [(CT, syntax)]) as sender:
        if what == "instance":
            assert sender.store(1, data, "1.2.3.78") == 0xA900
        else:
            assert sender.store(1, data, image.sop_instance, sop_class=DIGITAL_SR) == 0xA900
        sender.release()
    assert not relay.queued()


def test_what_cannot_be_parsed_is_kept_and_goes_on_untouched(relay, destination, numbers):
    uid, _ = numbers
    data = b"\xff" * 5000
    with associate(relay.port, [(CT, EXPLICIT)]) as sender:
        assert sender.store(1, data, uid) == 0
    assert arrives(destination, uid).data == data


def test_other_operations_are_answered_as_unknown(relay):
    with associate(relay.port, [(CT, EXPLICIT)]) as sender:
        find = command((2, FIND), (0x100, 0x20), (0x110, 3), (0x700, 0), (0x800, 1))
        sender.send(pdu(DATA, pdv(1, 3, find) + pdv(1, LAST, bytes(8))))
        assert sender.status() == 0x0211
        get = command((2, FIND), (0x100, 0x10), (0x110, 4), (0x700, 0), (0x800, 0x101))
        sender.send(pdu(DATA, pdv(1, 3, get)))
        assert sender.status() == 0x0211
        # Nothing is to be cancelled, and a cancel has no answer.
        cancel = command((0x100, 0xFFF), (0x120, 4), (0x800, 0x101))
        sender.send(pdu(DATA, pdv(1, 3, cancel)))
        sender.release()


def test_nothing_is_stored_by_the_context_for_verification(relay, numbers):
    uid, data = numbers
    with associate(relay.port, [(VERIFICATION, EXPLICIT)]) as sender:
        assert sender.store(1, data, uid) == 0x0122
        sender.release()


# --- the state table (PS3.8 9.2) -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (pdu(AC, bytes(70)), 2),
        (pdu(RJ, bytes(4)), 2),
        (pdu(DATA, pdv(1, 3, b"")), 2),
        (pdu(RELEASE, bytes(4)), 2),
        (pdu(6, bytes(4)), 2),
        (pdu(0x17, bytes(4)), 1),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        (struct.pack(">BxI", 1, 0xFFFFFFFF) + bytes(100), 6),
        (pdu(1, bytes(30)), 6),
        (pdu(1, b"\xff" * 200), 6),
        (bytes(64), 1),
    ],
    ids=["an acceptance", "a rejection", "data", "a release", "a release's answer", "an unknown PDU", "HTTP",
         "a request of 4 GB", "a request cut short", "a request of rubbish", "zeros"],
)  # fmt: skip
def test_before_an_association_all_but_a_request_is_aborted(sent, reason, relay):
    with Sender(relay.port) as sender:
        assert aborted(sender.send(sent)) == (2, reason)


def with_an_even_id() -> bytes:
    asked = request([(CT, [IMPLICIT])] * 2)
    at = asked.index(struct.pack(">BBBBB", 3, 0, 0, 0, 0x30))
    return asked[:at] + b"\4" + asked[at + 1 :]


def with_an_id_twice() -> bytes:
    return with_an_even_id().replace(b"\4\0\0\0\x30", b"\1\0\0\0\x30")


@pytest.mark.parametrize(
    ("asked", "results"),
    [
        (request([]), []),
        (request([(CT, [])]), [4]),
        (request([("1.2.03.4", [IMPLICIT])]), [0]),
        (request([("", [IMPLICIT])]), [3]),
        (request([("a private class", [IMPLICIT])]), [3]),
        (request([(CT, [IMPLICIT])], calling="\xe4"), None),
        (request([(CT, [IMPLICIT])], calling=" "), None),
        (with_an_even_id(), None),
        (with_an_id_twice(), None),
    ],
    ids=["without contexts", "without syntaxes", "with an odd UID", "with an empty UID", "with words for a UID",
         "with an umlaut in a title", "with an empty title", "with an even id", "with an id twice"],
)  # fmt: skip
def test_odd_requests_are_answered_or_aborted_and_the_log_stays_a_log(asked, results, relay):
    with Sender(relay.port) as sender:
        sender.send(asked)
        if results is None:
            assert aborted(sender) == (2, 6)
        else:
            kind, body = sender.read()
            assert kind == AC
            assert [result for result, _, _ in contexts_of(body).values()] == results
    assert relay.events("start")
    assert not relay.events("bug")


def test_an_abort_before_an_association_ends_the_connection(relay):
    with Sender(relay.port) as sender:
        sender.send(pdu(ABORT, bytes(4)))
        sender.socket.settimeout(10)
        assert sender.read()[0] == ABORT or sender.ends()


def unknown_context(uid: str) -> bytes:
    return pdu(DATA, pdv(7, 3, store_command(CT, uid)))


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (request([(CT, [EXPLICIT])]), 2),
        (pdu(AC, bytes(70)), 2),
        (pdu(RJ, bytes(4)), 2),
        (pdu(6, bytes(4)), 2),
        (pdu(0x99, bytes(4)), 1),
        (unknown_context("1.2.3"), 6),
        (pdu(DATA, pdv(3, 3, store_command(FIND, "1.2.3"))), 6),
        (pdu(DATA, pdv(1, 0, bytes(10))), 2),
        (pdu(DATA, struct.pack(">IBB", 1000, 1, 3) + bytes(10)), 6),
        (pdu(DATA, struct.pack(">IBB", 1, 1, 3)), 6),
        (pdu(DATA, pdv(1, 3, b"\1\2\3")), 6),
        (pdu(DATA, pdv(1, 3, command((2, CT)))), 6),
        (struct.pack(">BxI", DATA, 0xFFFFFFFF), 6),
        (pdu(DATA, pdv(1, 1, bytes(65000))) * 2, 6),
        (pdu(DATA, pdv(1, 3, store_command(CT, "1.2.3")) + pdv(1, 3, store_command(CT, "1.2.3"))), 6),
    ],
    ids=["a second request", "an acceptance", "a rejection", "a release's answer", "an unknown PDU",
         "a context that was not proposed", "a context that was refused", "a data set without command",
         "a PDV longer than its PDU", "a PDV without its header", "a command set of rubbish",
         "a command set without its field", "a PDU of 4 GB", "a command set without end", "two commands"],
)  # fmt: skip
def test_in_an_association_what_has_no_place_is_aborted(sent, reason, relay):
    with associate(relay.port, [(CT, EXPLICIT), (FIND, EXPLICIT)]) as sender:
        assert aborted(sender.send(sent)) == (2, reason)
    wait_until(lambda: not relay.leftovers())


def test_titles_application_context_and_limits_reject(tmp_path, destination):
    with RelayProcess(
        {"address": destination.address}, ae_titles=["RELAY"], calling=["GOOD*"], maximum_associations=1
    ) as relay:
        cases = [
            ({"called": "OTHER", "calling": "GOOD1"}, (1, 1, 7)),
            ({"calling": "BAD"}, (1, 1, 3)),
            ({"calling": "GOOD1", "application": "1.2.3"}, (1, 1, 2)),
        ]
        for options, answer in cases:
            with Sender(relay.port) as sender:
                sender.send(request([(CT, [EXPLICIT])], **options))
                assert sender.read() == (RJ, bytes((0, *answer)))
        with (
            Sender(relay.port),
            Sender(relay.port),
            associate(relay.port, [(CT, EXPLICIT)], calling="GOOD1"),
            Sender(relay.port) as more,
        ):
            # Silent connections do not count, an association does.
            more.send(request([(CT, [EXPLICIT])], calling="GOOD2"))
            assert more.read() == (RJ, bytes((0, 2, 3, 2)))
        reasons = [event["reason"] for event in relay.until("rejected", 4)]
        assert len(set(reasons)) == 4


def test_accept_lists_are_by_calling_title(destination):
    accept = [{"calling": "OLD*", "syntaxes": ["explicit", "implicit"]}, {"calling": "*", "syntaxes": ["1.2.*.8?"]}]
    with RelayProcess({"address": destination.address}, accept=accept) as relay:
        offered = [dicom.JPEGLS, EXPLICIT]
        with associate(relay.port, [(CT, offered)], calling="OLD7") as sender:
            assert sender.results[1][2] == [EXPLICIT]
        with associate(relay.port, [(CT, offered), (CT, EXPLICIT)], calling="NEW") as sender:
            assert sender.results[1][2] == [dicom.JPEGLS]
            assert sender.results[3][0] == 4


# --- who goes away, or stays and says nothing ----------------------------------------------------------------------


def test_a_silent_connection_is_ended_and_holds_nobody_up(relay):
    with Sender(relay.port) as silent, Sender(relay.port) as slow:
        slow.send(request([(CT, [EXPLICIT])])[:40])
        with associate(relay.port, [(VERIFICATION, IMPLICIT)]) as sender:
            assert sender.echo() == 0
        assert aborted(silent) == (2, 0)
        assert aborted(slow) == (2, 0)


def test_who_sends_a_request_byte_by_byte_is_ended_in_time(relay):
    with Sender(relay.port) as slow:
        for byte in request([(CT, [EXPLICIT])]):
            try:
                slow.send(bytes((byte,)))
                slow.socket.settimeout(0.05)
                if slow.socket.recv(1):
                    return
            except TimeoutError:
                continue
            except OSError:
                return
    raise AssertionError("nobody ended it")


@pytest.mark.parametrize("end", ["abort", "close", "reset", "stall", "stall in a PDU"])
def test_of_a_message_that_breaks_off_nothing_is_kept(end, relay, destination, numbers):
    uid, data = numbers
    with associate(relay.port, [(CT, EXPLICIT)]) as sender:
        sender.begin(1, data[:4000], uid)
        wait_until(lambda: any(name.endswith(".part") for name in relay.leftovers()))
        if end == "abort":
            sender.send(pdu(ABORT, bytes(4)))
        elif end == "reset":
            sender.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif end == "stall in a PDU":
            sender.send(struct.pack(">BxIIBB", DATA, 5000, 4996, 1, 0) + data[:100])
        if end.startswith("stall"):
            assert aborted(sender) == (2, 0)
    wait_until(lambda: not relay.leftovers())
    assert not [path for path in relay.queued() if uid.encode() in path.read_bytes()]
    assert uid not in destination.taken()


def test_a_sender_that_does_not_read_its_answers_is_ended(relay, numbers):
    """The answers fill what the systems keep of them; then nobody waits for longer than `timeout`."""
    echo = pdu(DATA, pdv(1, 3, command((2, VERIFICATION), (0x100, 0x30), (0x110, 7), (0x800, 0x101))))
    with associate(relay.port, [(VERIFICATION, IMPLICIT)]) as sender:
        sender.socket.settimeout(20)

        def is_ended() -> bool:
            try:
                sender.send(echo * 1000)
            except (ConnectionError, TimeoutError):
                return True
            return False

        wait_until(is_ended)


def test_no_damage_to_a_conversation_harms_the_relay(relay, destination):
    """The sender sends it all at once, closes its side, and reads what there is to read."""
    chance = random.Random(20)
    image = instance(123_456, size=8)
    store = pdu(DATA, pdv(1, 3, store_command(CT, image.sop_instance)) + pdv(1, LAST, data_set(image)))
    whole = request([(CT, [EXPLICIT, IMPLICIT])]) + store + store + pdu(RELEASE, bytes(4))
    for _ in range(300):
        with Sender(relay.port) as sender, contextlib.suppress(ConnectionError, BrokenPipeError):
            sender.send(damaged(whole, chance))
            sender.socket.shutdown(socket.SHUT_WR)
            while sender.socket.recv(1 << 16):
                pass
    wait_until(lambda: not relay.leftovers())
    assert not relay.events("bug")
    relay.until_empty()


def test_the_relay_works_still(relay, destination, tmp_path):
    files = write_instances(tmp_path, range(900_000, 900_020))
    assert storescu(relay.port, files).returncode == 0
    for number in range(900_000, 900_020):
        arrives(destination, f"1.2.3.{number}")
    relay.until_empty()
    wait_until(lambda: not relay.leftovers())
    assert not relay.events("bug")
    assert not relay.held()
