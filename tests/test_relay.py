"""The relay between real peers on loopback: what was acknowledged arrives, with its pixels, in an accepted syntax."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import dicom
import fake_codecs
import numpy as np
import pydicom
import pytest
from conftest import PATIENCE, need_tool, wait_until
from fake_codecs import Mood
from orthancs import Orthanc
from peers import CT, Destination, Received, associate, data_set
from relays import RelayProcess, StoreScp, dcmsend, free_port, instance, pixels, read, storescu, write_instances

EXPLICIT, IMPLICIT = dicom.EXPLICIT, dicom.IMPLICIT


def test_instances_go_through_untouched(tmp_path):
    files = write_instances(tmp_path / "in", range(5))
    with StoreScp(tmp_path / "out", "+xa") as destination, RelayProcess({"address": destination.address}) as relay:
        assert storescu(relay.port, files).returncode == 0
        arrived = destination.until(5)
        relay.until_empty()
        for number, path in enumerate(files):
            there = arrived[f"1.2.3.{number}"]
            assert dicom.walk(there.read_bytes()).elements == dicom.walk(path.read_bytes()).elements
        assert relay.end() == 0
        wait_until(lambda: not relay.leftovers())
        # Of a patient nothing is said: neither name nor id.
        assert "Test" not in relay.said()
        assert all(event["instance"].startswith("1.2.3.") for event in relay.events("delivered"))


def test_untouched_instances_are_not_even_looked_at_by_the_processes_that_transcode(tmp_path):
    """Their pixels are none: whoever decoded them would fail."""
    image = instance(1, syntax=dicom.J2K_LOSSLESS)
    image.pixels = [b"no codestream"]
    with Destination() as destination, RelayProcess({"address": destination.address}) as relay:
        with associate(relay.port, [(CT, image.syntax)]) as sender:
            assert sender.store(1, data_set(image), image.sop_instance) == 0
        wait_until(destination.taken)
        assert destination.received[0].data == data_set(image)
        (event,) = relay.until("delivered")
        assert event["note"] == ""


# --- one relay for many: each destination has its own settings -------------------------------------------------------

LOSSY = {"prefer": ["jpeg"], "lossy": {"quality": 80}}
# What the destination is like: its settings in the relay.
SETTINGS = {
    "implicit": {}, "jpegls": {"prefer": ["jpegls"]}, "jpegls-only": {"prefer": ["jpegls"]}, "two": {}, "classes": {},
    "lossy": LOSSY, "learnt": {"prefer": ["jpegls"]}, "pynetdicom": {"prefer": ["rle"]}, "moods": {"prefer": ["rle"]},
    "moods-rle": {"prefer": ["rle"]}, "accept": {"prefer": ["jpegls"], "accept": ["implicit", "jpegls"]},
    "several": {"associations": 4, "prefer": ["jpegls"]}, "refuses": {"prefer": ["jpegls"]},
    "private": {}, "twice": {}, "only": {"prefer": ["jpegls"]}, "before": {"prefer": ["jpegls"]},
    "full": {"hold-after": 1}, "counts": {},
}  # fmt: skip


class House(NamedTuple):
    """A relay, and the ports of its destinations; what a sender of the title NAME sends goes to destination NAME."""

    relay: RelayProcess
    ports: dict[str, int]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    ports = {name: free_port() for name in SETTINGS}
    destinations = [
        {"name": name, "address": f"DESTINATION@127.0.0.1:{ports[name]}", **settings}
        for name, settings in SETTINGS.items()
    ]
    routes = [{"to": [name], "where": {"calling": name.upper()}} for name in SETTINGS]
    with RelayProcess(
        *destinations, top={"routes": routes}, more={"modules": ["relay_codecs"], "transcoding": 2.0}
    ) as relay:
        yield House(relay, ports)
        assert not relay.events("bug")


def store(house: House, name: str, *images: dicom.Image) -> None:
    """Send images, each in the syntax it has and no other, for a destination; they are acknowledged."""
    contexts = list(dict.fromkeys((image.sop_class, image.syntax) for image in images))
    with associate(house.relay.port, contexts, calling=name.upper()) as sender:
        for image in images:
            context = 2 * contexts.index((image.sop_class, image.syntax)) + 1
            assert sender.store(context, data_set(image), image.sop_instance, sop_class=image.sop_class) == 0
        sender.release()


def pixels_of(received: Received, directory: Path) -> np.ndarray:
    """Return the pixels of what a destination was sent, by pydicom."""
    path = directory / f"{received.instance}.received.dcm"
    path.write_bytes(dicom.file([received.data], received.syntax, sop_class=received.sop_class,
                                sop_instance=received.instance))  # fmt: skip
    return pydicom.dcmread(path).pixel_array


def takes(*syntaxes: str):
    return lambda _, syntax: syntax in syntaxes


# Makers of sources, none of them this program's: what the tools of DCMTK and GDCM say for each syntax.
MAKERS = {
    dicom.IMPLICIT: ("dcmconv", "+ti"), dicom.DEFLATED: ("dcmconv", "+td"), dicom.BIG_ENDIAN: ("dcmconv", "+tb"),
    dicom.JPEG_SV1: ("dcmcjpeg", "+e1"), dicom.JPEGLS: ("dcmcjpls",), dicom.RLE: ("dcmcrle",),
    dicom.J2K_LOSSLESS: ("gdcmconv", "--j2k"),
}  # fmt: skip
NAMES = {dicom.IMPLICIT: "implicit", dicom.DEFLATED: "deflated", dicom.BIG_ENDIAN: "big endian",
         dicom.JPEG_SV1: "JPEG lossless", dicom.JPEGLS: "JPEG-LS", dicom.RLE: "RLE",
         dicom.J2K_LOSSLESS: "JPEG 2000"}  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> list[tuple[Path, dicom.Image]]:
    """Return a file of each syntax, and the native image it was made of."""
    directory = tmp_path_factory.mktemp("sources")
    found = []
    for number, (syntax, (tool, *options)) in enumerate(MAKERS.items()):
        image = instance(500 + number)
        native, made = directory / f"{number}.native.dcm", directory / f"{number}.dcm"
        native.write_bytes(image.encode())
        subprocess.run([need_tool(tool), *options, str(native), str(made)], check=True, timeout=PATIENCE)
        assert read(made) == (image.sop_instance, syntax)
        found.append((made, image))
    return found


@pytest.mark.parametrize(
    ("name", "accepted"),
    [("implicit", (IMPLICIT,)), ("jpegls-only", (dicom.JPEGLS,)), ("jpegls", (EXPLICIT, IMPLICIT, dicom.JPEGLS))],
    ids=["to implicit only", "to JPEG-LS only", "to JPEG-LS if it likes"],
)
def test_senders_of_every_syntax_reach_destinations_of_few(name, accepted, house, sources, tmp_path):
    with Destination(port=house.ports[name], takes=takes(*accepted)) as destination:
        for path, _ in sources:
            data = path.read_bytes()
            uid, syntax = read(path)
            start = 144 + int.from_bytes(data[140:144], "little")
            with associate(house.relay.port, [(CT, syntax)], calling=name.upper()) as sender:
                assert sender.store(1, data[start:], uid) == 0
        arrived = wait_until(lambda: len(destination.taken()) == len(sources) and destination.taken())
        for _, image in sources:
            there = arrived[image.sop_instance]
            assert there.syntax == accepted[-1]
            want = np.frombuffer(image.pixels, "<u2").reshape(image.rows, image.columns)
            assert np.array_equal(pixels_of(there, tmp_path), want)
    house.relay.until_empty(name)
    assert not house.relay.held(name)
    wait_until(lambda: not house.relay.leftovers())


def test_storescu_and_dcmsend_at_the_same_time_to_a_storescp_of_implicit_only(house, tmp_path):
    files = write_instances(tmp_path / "in", range(600, 630))
    with StoreScp(tmp_path / "out", "+xi", port=house.ports["two"]) as destination:
        ran = {}
        threads = [
            threading.Thread(target=lambda: ran.update(one=storescu(house.relay.port, files[:15], "-aet", "TWO"))),
            threading.Thread(target=lambda: ran.update(other=dcmsend(house.relay.port, files[15:], "-aet", "TWO"))),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ran["one"].returncode == ran["other"].returncode == 0
        # dcmsend says 0 for what was refused, too.
        assert "with status SUCCESS" in ran["other"].stderr + ran["other"].stdout
        arrived = destination.until(30)
        for number, path in enumerate(files, 600):
            there = arrived[f"1.2.3.{number}"]
            assert read(there)[1] == IMPLICIT
            assert np.array_equal(pixels(there), pixels(path))


def test_several_associations_are_open_at_a_time_and_each_instance_goes_once(house, tmp_path):
    with Destination(port=house.ports["several"]) as destination:
        store(house, "several", *(instance(number) for number in range(700, 760)))
        wait_until(lambda: len(destination.taken()) == 60)
        assert destination.most_open > 1
        assert len(destination.received) == 60
        assert all(each.syntax == dicom.JPEGLS for each in destination.received)


def test_classes_for_more_than_128_contexts_go_by_several_associations(house):
    """70 classes, two syntaxes for each."""
    classes = [f"1.2.840.10008.5.1.4.1.1.{number}" for number in range(1001, 1071)]
    images = [instance(800 + number, sop_class=uid) for number, uid in enumerate(classes)]
    for at in range(0, len(images), 35):
        store(house, "classes", *images[at : at + 35])
    with Destination(port=house.ports["classes"]) as destination:
        arrived = wait_until(lambda: len(destination.taken()) == 70 and destination.taken())
        assert {each.sop_class for each in arrived.values()} == set(classes)
        assert max(map(len, destination.requests)) <= 128
        assert len(destination.requests) >= 2


def test_private_classes_go_through(house):
    image = instance(900, sop_class="1.3.46.670589.5.0.3")
    with Destination(port=house.ports["private"]) as destination:
        store(house, "private", image)
        wait_until(destination.taken)
        assert destination.received[0].sop_class == image.sop_class


def test_what_is_made_with_loss_has_the_same_new_uid_each_time(house):
    image = instance(910, size=64)
    image.stored, image.allocated = 8, 8
    image.pixels = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8).tobytes()
    with Destination(port=house.ports["lossy"]) as destination:
        store(house, "lossy", image)
        wait_until(lambda: len(destination.received) == 1)
        house.relay.until_empty("lossy")
        store(house, "lossy", image)
        wait_until(lambda: len(destination.received) == 2)
        first, second = destination.received
        assert first.syntax == dicom.JPEG_BASELINE
        assert first.instance == second.instance != image.sop_instance
        assert first.instance in first.data.decode("latin-1")
        # What is lossy already stays what it is, and what it is called.
        lossy = dicom.Image([b"\xff\xd8"], rows=64, columns=64, allocated=8, stored=8, syntax=dicom.JPEGLS_NEAR,
                            sop_class=CT, sop_instance="1.2.3.911")  # fmt: skip
        store(house, "lossy", lossy)
        wait_until(lambda: len(destination.received) == 3)
        assert (destination.received[2].instance, destination.received[2].syntax) == ("1.2.3.911", dicom.JPEGLS_NEAR)


def test_what_a_destination_takes_is_learnt_and_learnt_anew_when_it_answers_otherwise(house):
    accepted = {IMPLICIT}
    with Destination(port=house.ports["learnt"], takes=lambda _, syntax: syntax in accepted) as destination:
        for number, wanted in enumerate([{IMPLICIT}, {dicom.JPEGLS}, {IMPLICIT, EXPLICIT}]):
            accepted.clear()
            accepted.update(wanted)
            store(house, "learnt", instance(920 + number))
            wait_until(lambda number=number: len(destination.taken()) == number + 1)
            # The association is released before the next, which is another.
            wait_until(lambda: destination.open == 0)
        assert [each.syntax for each in destination.received] == [IMPLICIT, dicom.JPEGLS, EXPLICIT]
        assert len(destination.requests) == 3


def test_only_what_the_accept_list_has_is_offered(house):
    with Destination(port=house.ports["accept"], takes=lambda _, syntax: syntax != dicom.JPEGLS) as destination:
        store(house, "accept", instance(930))
        wait_until(destination.taken)
        assert destination.received[0].syntax == IMPLICIT
        assert [syntaxes for _, _, syntaxes in destination.requests[0].values()] == [[dicom.JPEGLS], [IMPLICIT]]


@pytest.mark.parametrize("what", ["a report", "floating point"])
def test_what_cannot_have_the_preferred_syntax_goes_in_the_next(what, house):
    """Objects without pixels, and pixels that no codec takes, where the standard has no such encoding."""
    number = 940 if what == "a report" else 941
    image = instance(number, sop_class="1.2.840.10008.5.1.4.1.1.88.11" if what == "a report" else CT)
    data = data_set(image)
    if what == "a report":
        data = data[: data.index(b"\x28\x00\x02\x00")]
    else:
        at = data.index(b"\xe0\x7f\x10\x00OW")
        data = data[:at] + b"\xe0\x7f\x08\x00OF" + data[at + 6 :]
    with Destination(port=house.ports["refuses"]) as destination:
        with associate(house.relay.port, [(image.sop_class, EXPLICIT)], calling="REFUSES") as sender:
            assert sender.store(1, data, image.sop_instance, sop_class=image.sop_class) == 0
        wait_until(lambda: image.sop_instance in destination.taken())
        there = destination.taken()[image.sop_instance]
        assert (there.syntax, there.data) == (EXPLICIT, data)


def test_a_report_is_held_where_only_compressed_images_are_taken(house):
    image = instance(945, sop_class="1.2.840.10008.5.1.4.1.1.88.11")
    data = data_set(image)
    data = data[: data.index(b"\x28\x00\x02\x00")]
    with Destination(port=house.ports["only"], takes=takes(dicom.JPEGLS)):
        with associate(house.relay.port, [(image.sop_class, EXPLICIT)], calling="ONLY") as sender:
            assert sender.store(1, data, image.sop_instance, sop_class=image.sop_class) == 0
        (held,) = wait_until(lambda: house.relay.held("only"))
        assert "not as jpegls-lossless" in held["reason"]
        assert "no pixel" in held["reason"].lower()


def test_what_is_known_to_be_wanted_is_made_before_the_association_is_asked_for(house):
    """The destination is away when the second instance comes, and what it takes is known from the first."""
    with Destination(port=house.ports["before"]) as destination:
        store(house, "before", instance(946))
        wait_until(destination.taken)
        house.relay.until_empty("before")
        wait_until(lambda: destination.open == 0)
    store(house, "before", instance(947))
    wait_until(house.relay.leftovers)
    assert len(house.relay.queued("before")) == 1
    with Destination(port=house.ports["before"]) as destination:
        wait_until(destination.taken)
        assert destination.received[0].syntax == dicom.JPEGLS
        wait_until(lambda: not house.relay.leftovers())


def test_what_has_no_room_for_too_long_is_held(house):
    with Destination(port=house.ports["full"], answer=lambda *_: 0xA700) as destination:
        store(house, "full", instance(948))
        (held,) = wait_until(lambda: house.relay.held("full"))
        assert "A700" in held["reason"]
        assert len(destination.received) >= 2


def test_the_state_tells_what_has_come_to_pass(house):
    """By the command line, as JSON, and as a reader of Prometheus has it."""
    line = [sys.executable, "-m", "dcmtx", "relay", "status", "--json", "--spool", str(house.relay.spool)]
    with Destination(port=house.ports["counts"], answer=lambda uid, _: 0x0122 if uid == "1.2.3.1" else 0) as there:
        store(house, "counts", instance(1), instance(2), instance(3))
        wait_until(lambda: len(there.taken()) == 2)
        wait_until(lambda: house.relay.held("counts"))
        house.relay.until_empty("counts")
    ran = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=True)
    state = json.loads(ran.stdout)
    assert state["received"]["COUNTS"] == 3
    one = state["destinations"]["counts"]
    assert one["delivered"] == {EXPLICIT: 2}
    assert one["refused"] == {"0122": 1}
    assert (one["queue"], one["state"], one["bytes"]) == (0, "up", 0)
    (held,) = one["held"]
    assert held["instance"] == "1.2.3.1"
    assert state["spool_bytes"] >= held["bytes"] > 8000


# --- what codecs do ------------------------------------------------------------------------------------------------


def moody(mood: Mood, number: int) -> dicom.Image:
    return dicom.Image(
        fake_codecs.image(mood, number).pixels, sop_class=CT, sop_instance=f"1.2.3.{1000 + mood - 0xF000}.{number}"
    )


MOODS = [Mood.SEGFAULT, Mood.ABORT, Mood.EXIT, Mood.SLEEP, Mood.LOOP, Mood.EAT, Mood.RAISE, Mood.PANIC]


def test_whatever_a_codec_does_the_instance_goes_untouched_if_it_may(house):
    with Destination(port=house.ports["moods"]) as destination:
        images = [moody(mood, 0) for mood in MOODS]
        calm = instance(950)
        store(house, "moods", *images, calm)
        arrived = wait_until(lambda: len(destination.taken()) == len(images) + 1 and destination.taken())
        for image in images:
            there = arrived[image.sop_instance]
            assert (there.syntax, there.data) == (EXPLICIT, data_set(image))
        assert arrived[calm.sop_instance].syntax == dicom.RLE
        notes = {event["instance"]: event["note"] for event in house.relay.events("delivered")}
        for image in images:
            assert notes[image.sop_instance]


def test_whatever_a_codec_does_the_instance_is_held_if_it_must_be_transcoded(house):
    with Destination(port=house.ports["moods-rle"], takes=takes(dicom.RLE)) as destination:
        images = [moody(mood, 1) for mood in (Mood.SEGFAULT, Mood.SLEEP, Mood.EAT, Mood.RAISE)]
        calm = instance(951)
        store(house, "moods-rle", *images, calm)
        wait_until(lambda: calm.sop_instance in destination.taken())
        held = wait_until(lambda: len(house.relay.held("moods-rle")) == 4 and house.relay.held("moods-rle"))
        assert {each["instance"] for each in held} == {image.sop_instance for image in images}
        reasons = " ".join(each["reason"] for each in held)
        for word in ("E_CRASH", "E_TIMEOUT", "ran out of memory", "cannot be transcoded"):
            assert word in reasons


def test_transcoding_goes_on_after_the_process_that_forks_the_others_was_killed(house):
    def children(pid: int) -> list[int]:
        listed = Path(f"/proc/{pid}/task").glob("*/children")
        return [int(word) for path in listed for word in path.read_text().split()]

    with Destination(port=house.ports["twice"]) as destination:
        for pid in children(house.relay.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        for number in range(960, 965):
            with associate(house.relay.port, [(CT, EXPLICIT)], calling="MOODS") as sender:
                assert sender.store(1, data_set(instance(number)), f"1.2.3.{number}") == 0
        store(house, "twice", instance(965))
        wait_until(lambda: len(destination.taken()) == 1)
    with Destination(port=house.ports["moods"]) as destination:
        wait_until(lambda: len(destination.taken()) == 5)
        assert {each.syntax for each in destination.received} == {dicom.RLE}


# --- peers of other makers -----------------------------------------------------------------------------------------


def test_from_pynetdicom_to_pynetdicom(house, tmp_path):
    from pynetdicom import AE, evt

    got: dict[str, tuple[str, bytes]] = {}
    times: dict[str, int] = {}

    def take(event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        times[uid] = times.get(uid, 0) + 1
        if uid == "1.2.3.971" and times[uid] <= 2:
            return 0xA700
        if uid == "1.2.3.972":
            return 0xC000
        got[uid] = (str(event.context.transfer_syntax), event.request.DataSet.getvalue())
        return 0

    scp = AE("DESTINATION")
    for syntax in (EXPLICIT, IMPLICIT, dicom.RLE):
        scp.add_supported_context(CT, [EXPLICIT, IMPLICIT, dicom.RLE] if syntax == EXPLICIT else [syntax])
    server = scp.start_server(
        ("127.0.0.1", house.ports["pynetdicom"]), block=False, evt_handlers=[(evt.EVT_C_STORE, take)]
    )  # fmt: skip
    try:
        scu = AE("PYNETDICOM")
        scu.add_requested_context(CT, [EXPLICIT])
        for path in write_instances(tmp_path, range(970, 980)):
            # One association each: at the second request pynetdicom's own thread, which the answer to the first has
            # let go, may take the answer from the one who waits for it.
            association = scu.associate("127.0.0.1", house.relay.port, ae_title="RELAY")
            assert association.is_established
            assert association.send_c_store(pydicom.dcmread(path)).Status == 0
            association.release()
        wait_until(lambda: len(got) == 9)
        (held,) = wait_until(lambda: house.relay.held("pynetdicom"))
        assert held["instance"] == "1.2.3.972"
        assert times["1.2.3.971"] == times["1.2.3.972"] == 3
        assert {syntax for syntax, _ in got.values()} == {dicom.RLE}
        house.relay.until_empty("pynetdicom")
    finally:
        server.shutdown()


def test_from_orthanc_to_orthanc(tmp_path):
    """One Orthanc stores into the relay, another is its destination."""
    rooms = [tmp_path / "a", tmp_path / "b"]
    for room in rooms:
        room.mkdir()
    common = {"DicomCheckCalledAet": False, "DicomAet": "ORTHANC"}
    with (
        Orthanc(rooms[1], dict(os.environ), **common) as target,
        RelayProcess({"address": f"ORTHANC@127.0.0.1:{target.dicom}", "prefer": ["jpegls"]}) as relay,
        Orthanc(
            rooms[0], dict(os.environ), **common, DicomModalities={"relay": ["RELAY", "127.0.0.1", relay.port]}
        ) as source,
    ):
        for path in write_instances(tmp_path / "in", range(980, 985)):
            source.get("/instances", path.read_bytes())
        source.get("/modalities/relay/store", b'{"Resources": %s}' % source.get("/instances"))
        stored = wait_until(lambda: len(target.stored("1.2.3")) == 5 and target.stored("1.2.3"))
        for number in range(980, 985):
            path = tmp_path / f"{number}.dcm"
            path.write_bytes(stored[f"1.2.3.{number}"])
            assert read(path)[1] == dicom.JPEGLS
            assert pixels(path).tobytes() == instance(number).pixels
