"""The relay loses nothing: killed in every stage, with its disk full, flooded, ended, with its destination away."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dicom
import numpy as np
import pytest
from conftest import PATIENCE, wait_until
from peers import CT, DATA, LAST, VERIFICATION, Destination, Sender, associate, data_set, pdu, pdv, store_command
from relays import RelayProcess, StoreScp, instance, pixels, read, storescu, write_instances

EXPLICIT = dicom.EXPLICIT
COUNT = 200


# --- kill -9 -------------------------------------------------------------------------------------------------------


class Crowd:
    """A sender that stores instances one after the other, comes again when it is cut off, and knows what was said."""

    def __init__(self, relay: RelayProcess, numbers: range) -> None:
        self._relay = relay
        self._left = list(numbers)
        self._ended = threading.Event()
        self.acknowledged: list[int] = []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while self._left and not self._ended.is_set():
            with contextlib.suppress(OSError, EOFError, AssertionError):
                self._session()
            time.sleep(0.01)

    def _session(self) -> None:
        with associate(self._relay.port, [(CT, EXPLICIT)]) as sender:
            while self._left and not self._ended.is_set():
                number = self._left[0]
                if sender.store(1, data_set(instance(number, size=128)), f"1.2.3.{number}") == 0:
                    self.acknowledged.append(number)
                    self._left.pop(0)

    def end(self) -> None:
        self._ended.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def check_all_arrived(destination: Destination, acknowledged: list[int], tmp_path: Path) -> None:
    """Assert that all of these were taken, with their pixels, and that what came twice is the same."""
    taken: dict[str, set[tuple[str, bytes]]] = {}
    for each in destination.received:
        if each.answered == 0:
            taken.setdefault(each.instance, set()).add((each.syntax, each.data))
    assert {f"1.2.3.{number}" for number in acknowledged} <= set(taken)
    assert all(len(versions) == 1 for versions in taken.values()), "duplicates differ"
    for number in acknowledged[:: max(1, len(acknowledged) // 20)]:
        ((syntax, data),) = taken[f"1.2.3.{number}"]
        path = tmp_path / "one.dcm"
        path.write_bytes(dicom.file([data], syntax, sop_class=CT, sop_instance=f"1.2.3.{number}"))
        assert pixels(path).tobytes() == instance(number, size=128).pixels


STAGES = ("receiving, destination down", "receiving and sending", "transcoding and sending", "queue full, coming up")


def kill_in(stage: str, seed: int, tmp_path: Path) -> None:
    """Kill a relay three times at random moments of a stage; see that all that was acknowledged arrives."""
    chance = random.Random(f"{stage} {seed}")
    prefer = ["jpegls"] if stage.startswith("transcoding") else []
    with Destination() as destination:
        port = destination.port
        away = "down" in stage or "coming up" in stage
        if away:
            destination.__exit__()
        with RelayProcess({"address": f"DESTINATION@127.0.0.1:{port}", "prefer": prefer}) as relay:
            crowd = Crowd(relay, range(COUNT))
            try:
                if stage.startswith("queue"):
                    crowd.thread.join(PATIENCE)
                for _ in range(3):
                    before = len(crowd.acknowledged)
                    if crowd.thread.is_alive():
                        wait_until(
                            lambda before=before: len(crowd.acknowledged) > before + 10 or not crowd.thread.is_alive()
                        )
                    if stage.startswith("queue") and away:
                        destination.port = port
                        destination.__enter__()
                        away = False
                    time.sleep(chance.uniform(0, 0.15))
                    relay.kill()
                    relay.start()
                crowd.thread.join(PATIENCE)
            finally:
                crowd.end()
            assert len(crowd.acknowledged) == COUNT
            if away:
                destination.port = port
                destination.__enter__()
            relay.until_empty()
            check_all_arrived(destination, crowd.acknowledged, tmp_path)
            assert not relay.held()
            assert not relay.events("bug")
            assert relay.end() == 0
            wait_until(lambda: not relay.leftovers())


@pytest.mark.parametrize("stage", [STAGES[0], STAGES[2]])
def test_killed_with_200_instances_it_loses_none(stage, tmp_path):
    kill_in(stage, 0, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_every_stage_twenty_times_it_loses_none(stage, seed, tmp_path):
    kill_in(stage, 1 + seed, tmp_path)


# --- an end in order -----------------------------------------------------------------------------------------------


def test_sigterm_finishes_the_message_that_has_begun_and_leaves_the_queue(tmp_path):
    image = instance(1, size=200)
    data = data_set(image)
    with RelayProcess({"address": "NOBODY@127.0.0.1:1"}) as relay:
        with (
            associate(relay.port, [(CT, EXPLICIT)]) as begun,
            associate(relay.port, [(VERIFICATION, EXPLICIT)]) as idle,
        ):
            assert begun.store(1, data_set(instance(2)), "1.2.3.2") == 0
            begun.begin(1, data[:10_000], image.sop_instance)
            wait_until(relay.leftovers)
            relay.process.send_signal(signal.SIGTERM)
            relay.until("stop")
            # One that does nothing is ended, one that sends may finish.
            assert idle.read()[0] == 7
            with pytest.raises(OSError, match=r"refused|reset"):
                associate(relay.port, [(CT, EXPLICIT)])
            begun.send(pdu(DATA, pdv(1, 0, data[10_000:20_000])), pdu(DATA, pdv(1, LAST, data[20_000:])))
            assert begun.status() == 0
            assert begun.read()[0] == 7
        assert relay.process.wait(PATIENCE) == 0
        assert len(relay.queued()) == 2
        wait_until(lambda: not relay.leftovers())
        relay.start()
        assert relay.events("start")[-1]["waiting"] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_ending_signals_end_it_in_order_too(number):
    with RelayProcess({"address": "NOBODY@127.0.0.1:1"}) as relay:
        relay.process.send_signal(number)
        assert relay.process.wait(PATIENCE) == 0
        assert relay.events("end")


def test_sigterm_waits_for_the_answer_to_what_is_being_sent():
    asked, answer = threading.Event(), threading.Event()

    def late(*_: object) -> int:
        asked.set()
        answer.wait(PATIENCE)
        return 0

    with Destination(answer=late) as destination, RelayProcess({"address": destination.address}) as relay:
        with associate(relay.port, [(CT, EXPLICIT)]) as sender:
            for number in (1, 2):
                assert sender.store(1, data_set(instance(number)), f"1.2.3.{number}") == 0
        assert asked.wait(PATIENCE)
        relay.process.send_signal(signal.SIGTERM)
        relay.until("stop")
        answer.set()
        assert relay.process.wait(PATIENCE) == 0
        assert len(destination.received) == 1
        assert len(relay.queued()) == 1


# --- destinations and spools ---------------------------------------------------------------------------------------


def test_of_two_destinations_one_may_be_down():
    with Destination() as up, RelayProcess({"address": up.address}, {"address": "NOBODY@127.0.0.1:1"}) as relay:
        with associate(relay.port, [(CT, EXPLICIT)]) as sender:
            for number in range(20):
                assert sender.store(1, data_set(instance(number)), f"1.2.3.{number}") == 0
        wait_until(lambda: len(up.taken()) == 20)
        relay.until_empty("d1")
        assert len(relay.queued("d2")) == 20


def test_a_destination_that_dies_in_the_middle_gets_the_rest_when_it_is_back(tmp_path):
    files = write_instances(tmp_path / "in", range(40), size=256)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(StoreScp(tmp_path / "out", "+xa"))
        relay = stack.enter_context(RelayProcess({"address": first.address}))
        sending = threading.Thread(target=lambda: storescu(relay.port, files))
        sending.start()
        wait_until(lambda: len(first.files()) >= 5)
        first.process.kill()
        first.process.wait(PATIENCE)
        sending.join(PATIENCE)
        assert len(relay.events("received")) == 40
        # What it was writing when it died is no instance.
        for path in first.files():
            with contextlib.suppress(Exception):
                if pixels(path).size == 256 * 256:
                    continue
            path.unlink()
        stack.enter_context(StoreScp(tmp_path / "out", "+xa", port=first.port))
        relay.until_empty()
        arrived = {read(path)[0]: path for path in first.files()}
        for number, path in enumerate(files):
            assert np.array_equal(pixels(arrived[f"1.2.3.{number}"]), pixels(path))


def test_a_second_relay_does_not_start_with_the_same_spool():
    with RelayProcess({"address": "NOBODY@127.0.0.1:1"}) as relay:
        ran = subprocess.run(
            [sys.executable, "-m", "dcmtx", "relay", "--listen", "127.0.0.1:0", "--to", "A@127.0.0.1:1", "--spool",
             str(relay.spool)], capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert ran.returncode == 8
        assert "another relay uses this spool" in ran.stderr
        assert ran.stderr.count("\n") == 1


def test_the_same_instance_that_waits_is_kept_once_and_acknowledged():
    with RelayProcess({"address": "NOBODY@127.0.0.1:1"}) as relay:
        with associate(relay.port, [(CT, EXPLICIT)]) as sender:
            for number in (1, 2, 1, 1):
                assert sender.store(1, data_set(instance(number)), f"1.2.3.{number}") == 0
            changed = bytearray(data_set(instance(1)))
            changed[-1] ^= 1
            assert sender.store(1, bytes(changed), "1.2.3.1") == 0
        assert len(relay.queued()) == 3


def test_hold_retry_and_drop():
    """Over the socket of the spool, by the command line."""

    def say(*words: str) -> str:
        line = [sys.executable, "-m", "dcmtx", "relay", *words, "--spool", str(relay.spool)]
        return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout

    refuses = {"1.2.3.1", "1.2.3.2"}
    with (
        Destination(answer=lambda uid, _: 0x0122 if uid in refuses else 0) as destination,
        RelayProcess({"address": destination.address}) as relay,
    ):
        say("hold", "d1")
        with associate(relay.port, [(CT, EXPLICIT)]) as sender:
            for number in range(4):
                assert sender.store(1, data_set(instance(number)), f"1.2.3.{number}") == 0
        assert "nothing is sent until" in say("status")
        assert not destination.received
        say("retry", "d1")
        wait_until(lambda: len(relay.held()) == 2)
        wait_until(lambda: len(destination.taken()) == 2)
        refuses.clear()
        (one, _) = sorted(path.stem for path in (relay.spool / "held" / "d1").glob("*.dcm"))
        say("drop", "d1", one)
        say("retry", "d1")
        wait_until(lambda: len(destination.taken()) == 3)
        relay.until_empty()
        assert not relay.held()


# --- disks that are full -------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of 3 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    directory = tmp_path / "disk"
    directory.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(directory)]
    ran = subprocess.run(line, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        pytest.skip(f"no small disk can be mounted: {ran.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def test_a_full_disk_refuses_what_comes_and_keeps_what_it_has(small_disk):
    with Destination() as destination:
        port = destination.port
        destination.__exit__()
        with RelayProcess({"address": f"DESTINATION@127.0.0.1:{port}"}, spool=small_disk / "spool") as relay:
            statuses = {}
            with associate(relay.port, [(CT, EXPLICIT)]) as sender:
                # It waits for room before it refuses, each time.
                while list(statuses.values()).count(0xA700) < 2:
                    number = len(statuses)
                    data = data_set(instance(number, size=400))
                    statuses[number] = sender.store(1, data, f"1.2.3.{number}")
            taken = [number for number, status in statuses.items() if status == 0]
            assert set(statuses.values()) == {0, 0xA700}
            assert 5 <= len(taken) <= 10
            wait_until(lambda: not relay.leftovers())
            destination.port = port
            with destination:
                relay.until_empty()
                assert sorted(destination.taken()) == sorted(f"1.2.3.{number}" for number in taken)
                # With room again it receives again.
                with associate(relay.port, [(CT, EXPLICIT)]) as sender:
                    assert sender.store(1, data_set(instance(30)), "1.2.3.30") == 0


def test_with_no_room_to_transcode_it_waits_for_room(small_disk):
    """The instance fits into the disk, with what must be made of it it does not."""
    with Destination(takes=lambda _, syntax: syntax == EXPLICIT) as destination, RelayProcess(
        {"address": destination.address, "prefer": ["explicit"]}, spool=small_disk / "spool"
    ) as relay:  # fmt: skip
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(1 << 20))
        image = instance(1, size=800, syntax=dicom.IMPLICIT)
        with associate(relay.port, [(CT, dicom.IMPLICIT)]) as sender:
            assert sender.store(1, data_set(image), image.sop_instance) == 0
        (event,) = relay.until("down")[:1]
        assert "E_DISK_FULL" in event["reason"] or "No space" in event["reason"]
        assert not relay.held()
        ballast.unlink()
        wait_until(destination.taken)
        assert destination.received[0].syntax == EXPLICIT


def test_with_no_room_to_transcode_for_long_it_goes_as_it_is_if_it_may(small_disk):
    """Or a full disk would stay full."""
    with (
        Destination() as destination,
        RelayProcess({"address": destination.address, "prefer": ["explicit"]}, spool=small_disk / "spool") as relay,
    ):
        (small_disk / "ballast").write_bytes(bytes(1 << 20))
        image = instance(1, size=800, syntax=dicom.IMPLICIT)
        with associate(relay.port, [(CT, dicom.IMPLICIT)]) as sender:
            assert sender.store(1, data_set(image), image.sop_instance) == 0
        wait_until(destination.taken)
        assert destination.received[0].syntax == dicom.IMPLICIT
        assert relay.events("down")
        (event,) = relay.until("delivered")
        assert "E_DISK_FULL" in event["note"] or "No space" in event["note"]


def test_below_the_reserve_nothing_is_received():
    with RelayProcess({"address": "NOBODY@127.0.0.1:1"}, reserve=1 << 60) as relay:
        with associate(relay.port, [(CT, EXPLICIT)]) as sender:
            assert sender.store(1, data_set(instance(1)), "1.2.3.1") == 0xA700
        assert not relay.queued()
        wait_until(lambda: not relay.leftovers())
        (event,) = relay.until("declined")
        assert event["status"] == "A700"


def test_above_the_high_water_mark_associations_are_rejected_until_it_falls():
    with Destination() as destination:
        port = destination.port
        destination.__exit__()
        with RelayProcess({"address": f"DESTINATION@127.0.0.1:{port}"}, high_water=20_000) as relay:
            with associate(relay.port, [(CT, EXPLICIT)]) as sender:
                for number in range(3):
                    assert sender.store(1, data_set(instance(number)), f"1.2.3.{number}") == 0
            with Sender(relay.port) as late, pytest.raises(AssertionError, match="x02"):
                late.associate([(CT, [EXPLICIT])])
            destination.port = port
            with destination:
                relay.until_empty()
                with associate(relay.port, [(CT, EXPLICIT)]) as sender:
                    assert sender.store(1, data_set(instance(9)), "1.2.3.9") == 0


# --- much, and large -----------------------------------------------------------------------------------------------


def peak(process: subprocess.Popen) -> float:
    """Return the most memory that a process has had, in MiB."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def test_an_object_of_200_mb_goes_through_in_little_memory(tmp_path):
    head = data_set(instance(1, size=64))
    head = head[: head.index(b"\xe0\x7f\x10\x00")] + b"\xe0\x7f\x10\x00OW\0\0" + (200 << 20).to_bytes(4, "little")
    zeros = bytes(1 << 16)
    with StoreScp(tmp_path / "out", "+xa") as destination, RelayProcess({"address": destination.address}) as relay:
        with associate(relay.port, [(CT, EXPLICIT)]) as sender:
            sender.begin(1, head, "1.2.3.1")
            frame = pdu(DATA, pdv(1, 0, zeros))
            for _ in range((200 << 20) // len(zeros) // 16):
                sender.send(frame * 16)
            sender.send(pdu(DATA, pdv(1, LAST, b"")))
            assert sender.status() == 0
        relay.until_empty()
        (path,) = destination.files()
        assert path.stat().st_size > 200 << 20
        assert peak(relay.process) < 80


def test_a_flood_is_stopped_by_tcp_and_nothing_of_it_is_lost():
    """The sender reads no answer until all is sent: 100 messages, 50 MB; the relay reads one at a time."""
    data = data_set(instance(1, size=512))
    count = 100
    with Destination() as destination, RelayProcess({"address": destination.address}) as relay:
        with associate(relay.port, [(CT, EXPLICIT)]) as sender:

            def send() -> None:
                for number in range(count):
                    image = instance(number, size=512)
                    sender.send(pdu(DATA, pdv(1, 3, store_command(CT, image.sop_instance, number + 1))))
                    whole = data_set(image)
                    for at in range(0, len(whole), 100_000):
                        last = LAST if at + 100_000 >= len(whole) else 0
                        sender.send(pdu(DATA, pdv(1, last, whole[at : at + 100_000])))

            sending = threading.Thread(target=send)
            sending.start()
            sending.join(PATIENCE)
            for number in range(count):
                answer = sender.response()
                assert int.from_bytes(answer[0x120], "little") == number + 1
                assert answer[0x900] == b"\0\0"
        wait_until(lambda: len(destination.taken()) == count)
        assert peak(relay.process) < 90
        assert len(data) > 500_000


def store_many(count: int, spool: Path | None) -> None:
    """Store so many small instances, by two senders; none is lost, none comes twice."""

    def send(numbers: range) -> None:
        template = data_set(instance(0, size=8))
        with associate(relay.port, [(CT, EXPLICIT)]) as sender:
            for number in numbers:
                uid = f"1.2.3.{number:06d}"
                data = template.replace(b"UI\x08\x001.2.3.0\0", b"UI\x0c\x00" + uid.encode())
                assert sender.store(1, data, uid) == 0

    with (
        Destination() as destination,
        RelayProcess({"address": destination.address, "associations": 2}, spool=spool) as relay,
    ):
        threads = [threading.Thread(target=send, args=(range(start, count, 2),)) for start in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: len(destination.received) >= count)
        relay.until_empty()
        assert len(destination.received) == len(destination.taken()) == count
        assert not relay.events("broken"), "no answer was waited for in vain"


def test_a_thousand_small_stores_are_answered_each_in_time():
    store_many(1000, None)


@pytest.mark.long
def test_ten_thousand_small_stores_are_answered_each_in_time():
    store_many(10_000, None)


def test_fifty_idle_associations_take_no_processor():
    with contextlib.ExitStack() as stack:
        relay = stack.enter_context(RelayProcess({"address": "NOBODY@127.0.0.1:1"}))
        for _ in range(50):
            stack.enter_context(associate(relay.port, [(CT, EXPLICIT)]))

        def ticks() -> int:
            fields = Path(f"/proc/{relay.process.pid}/stat").read_text().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])

        def wakes() -> int:
            switches = [
                int(line.split()[1])
                for path in Path(f"/proc/{relay.process.pid}/task").glob("*/status")
                for line in path.read_text().splitlines()
                if line.startswith("voluntary_ctxt_switches")
            ]
            return sum(switches)

        before = wakes()
        time.sleep(1)
        # Not a matter of how fast the machine is: nobody wakes to see whether something has come.
        assert wakes() - before < 25
        assert ticks() >= 0
