"""The control socket of a spool, and `dcmtx relay` on the command line: what is asked, and what is answered."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dicom
import pytest
from conftest import PATIENCE, wait_until
from fake_relay import FakeRelay, busy, destination
from orthancs import Orthanc
from prometheus_client.parser import text_string_to_metric_families
from relays import RelayProcess, StoreScp, storescu, write_instances
from stow_server import StowServer

from dcmtx.errors import InputError, UsageError
from dcmtx.relay.control import Asked, ControlServer, ask
from dcmtx.relay.report import status_lines
from dcmtx.relay.settings import configuration
from dcmtx.relay.unit import unit

ID = f"{2:020d}"


@contextmanager
def controlled(relay: FakeRelay, spool: Path) -> Iterator[str]:
    """Have a relay answer at the control socket of a spool."""
    spool.mkdir(exist_ok=True, parents=True)
    server = ControlServer(relay, os.fspath(spool))
    server.start()
    try:
        yield os.fspath(spool)
    finally:
        server.close()


# --- the socket ------------------------------------------------------------------------------------------------------


def test_a_relay_answers_what_it_is_asked(tmp_path):
    relay = busy()
    with controlled(relay, tmp_path / "spool") as spool:
        assert ask(spool, Asked("status")) == {"state": relay.state()}
        assert ask(spool, Asked("hold", "archive")) == {"count": 37}
        assert ask(spool, Asked("retry", "cloud", ID)) == {"count": 1}
        assert ask(spool, Asked("retry", "cloud")) == {"count": 1}
        assert ask(spool, Asked("drop", "research", f"{1:020d}")) == {"count": 1}
    assert relay.asked == [
        ("hold", "archive"), ("retry", "cloud", ID), ("retry", "cloud", "all"), ("drop", "research", f"{1:020d}"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked("stop"), "there is no 'stop'"),
        (Asked("hold", "nowhere"), "there are archive, cloud, research"),
        (Asked("drop", "cloud"), "nothing says which instance"),
        (Asked("drop", "cloud", "7"), "cloud holds no instance '7'"),
        (Asked("retry", "cloud", "7"), "cloud holds no instance '7'"),
    ],
    ids=["a verb", "a destination", "drop of nothing", "drop of what is not there", "retry of what is not there"],
)
def test_what_makes_no_sense_is_told(asked, said, tmp_path):
    with controlled(busy(), tmp_path) as spool, pytest.raises(UsageError) as caught:
        ask(spool, asked)
    assert said in caught.value.message


@pytest.mark.parametrize(
    "data",
    [b"\n", b"{\n", b"[]\n", b'"status"\n', b'{"do": 1}\n', b'{"do": "status", "more": 1}\n', b"{}\n", b"x" * 70000,
     b"[" * 50_000 + b"\n"],
    ids=["nothing", "half", "a list", "text", "a number", "more", "no verb", "no end", "no bottom"],
)  # fmt: skip
def test_what_is_no_request_is_answered_as_that_and_others_are_served(data, tmp_path):
    with controlled(busy(), tmp_path) as spool:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(f"{spool}/control")
            try:
                raw.sendall(data)
                answer = raw.makefile("rb").readline()
            except ConnectionError:
                # It has heard enough.
                answer = b'{"error": ""}'
        assert "error" in json.loads(answer)
        assert "state" in ask(spool, Asked("status"))


def test_a_spool_whose_path_is_longer_than_that_of_a_socket_can_be(tmp_path):
    with controlled(busy(), tmp_path / ("x" * 100) / ("y" * 100)) as spool:
        assert "state" in ask(spool, Asked("status"))


def test_the_socket_is_its_users_alone_and_goes_with_the_relay(tmp_path):
    with controlled(busy(), tmp_path) as spool:
        assert os.stat(f"{spool}/control").st_mode & 0o777 == 0o600
    assert not os.path.exists(f"{tmp_path}/control")
    # One that a killed relay has left is replaced.
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"{tmp_path}/control")
    with controlled(busy(), tmp_path) as spool:
        assert "state" in ask(spool, Asked("status"))


def test_many_ask_at_a_time(tmp_path):
    relay = FakeRelay(a=destination(queue=1))
    answers: list[dict[str, Any]] = []
    with controlled(relay, tmp_path) as spool:
        threads = [threading.Thread(target=lambda: answers.append(ask(spool, Asked("hold", "a")))) for _ in range(20)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(PATIENCE)
    assert answers == [{"count": 1}] * 20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_is_not_served(tmp_path):
    program = (
        "import os, sys; os.setgid(65534); os.setuid(65534); from dcmtx.relay.control import ask, Asked\n"
        "from dcmtx.errors import DcmtxError\n"
        "try: print(ask(sys.argv[1], Asked('status')))\nexcept DcmtxError as error: print(error)"
    )
    # What modules need is loaded by root: the other user may not read where they are.
    program = "import dcmtx.relay.control, dcmtx.relay.values, socket, json\n" + program
    relay = busy()
    with controlled(relay, tmp_path / "spool") as spool:
        # Even where the way is open to everybody.
        for path in (Path(spool), *Path(spool).parents):
            if path.stat().st_uid == os.geteuid() and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o011)
        os.chmod(f"{spool}/control", 0o666)
        ran = subprocess.run([sys.executable, "-c", program, spool], capture_output=True, text=True, timeout=PATIENCE,
                             check=True)  # fmt: skip
    assert "another user" in ran.stdout, ran.stderr


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: None, "no relay runs with this spool"),
        (lambda path: path.mkdir(), "no relay runs with this spool"),
        (lambda path: path.write_text(""), "does not answer"),
    ],
    ids=["no spool", "an empty spool", "a file"],
)
def test_that_no_relay_runs_is_told(make, said, tmp_path):
    make(tmp_path / "spool")
    with pytest.raises(InputError) as caught:
        ask(os.fspath(tmp_path / "spool"), Asked("status"))
    assert said in caught.value.message


# --- what people read ------------------------------------------------------------------------------------------------


def test_the_status_has_a_line_for_everything():
    relay = busy()
    relay.now["strangers"] = ["old"]
    text = "\n".join(status_lines(relay.state()))
    for said in (
        "listens at 0.0.0.0:11112", "up for 3 d 4 h", "3 associations", "received 57331 (CT1 48211, MR2 9120)",
        "spool 812 MB, 91 GB free", "archive (dimse, ARCHIVE@10.0.0.5:104): up", "waiting: 37 (19 MB)",
        "delivered: 48435 (jpegls-lossless 48123, explicit 312)",
        "cloud (stow, https://pacs.example.org/dicom-web): DOWN",
        "connection refused; next try in 41 s", "the oldest for 1 h 30 min", "held: 2", f"{ID} 1.2.826.0.1.3680043",
        "for 2 d: status C000, cannot understand", "not taken, by status: (C000 9, 0122 1)",
        "instances wait for old, which is no destination of this relay",
    ):  # fmt: skip
        assert said in text, said


# --- the command line ------------------------------------------------------------------------------------------------


def test_the_command_line_asks_the_relay_of_a_spool(command, tmp_path):
    relay = busy()
    with controlled(relay, tmp_path / "spool") as spool:
        ran = command("relay", "status", "--spool", spool)
        assert (ran.status, "research (directory" in ran.out) == (0, True)
        ran = command("relay", "status", "research", "--spool", spool)
        assert "archive" not in ran.out
        assert json.loads(command("relay", "status", "--json", "--spool", spool).out) == relay.state()
        assert command("relay", "hold", "archive", "--spool", spool).out == (
            "nothing more is sent to archive; 37 instances waiting\n"
        )
        ran = command("relay", "retry", "cloud", ID, f"{3:020d}", "--spool", spool)
        assert ran.out == "cloud: tried again now, with 2 instances that had been held\n"
        ran = command("relay", "drop", "research", f"{1:020d}", "--json", "--spool", spool)
        assert json.loads(ran.out) == {"action": "drop", "destinations": ["research"], "count": 1}
        assert command("relay", "retry", "--spool", spool).status == 0
    assert relay.asked[1:] == [
        ("retry", "cloud", ID), ("retry", "cloud", f"{3:020d}"), ("drop", "research", f"{1:020d}"),
        ("retry", "archive", "all"), ("retry", "cloud", "all"), ("retry", "research", "all"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["status"], 3, "no relay runs with this spool; start one"),
        (["hold"], 2, "hold needs a destination"),
        (["drop", "archive"], 2, "drop needs the ids"),
        (["status", "archive", "7"], 2, "status takes no ids"),
        (["status", "--check"], 2, "--check is not for status"),
        (["hold", "a", "--listen", "1"], 2, "--listen is not for hold"),
        (["stop"], 2, "invalid value for '[status|hold|retry|drop]'"),
        ([], 2, "--listen PORT is missing"),
        (["--listen", "11112"], 2, "--to AET@HOST:PORT is missing"),
        (["--listen", "11112", "--to", "10.0.0.5"], 2, 'write "AET@HOST:PORT"'),
        (["--listen", "1", "--to", "A@h", "--json"], 2, "--json is for status"),
        (["--listen", "1", "--to", "A@h", "--show-names"], 2, "--show-names is for the page of --http"),
        (["--config", "x", "--to", "A@h"], 2, "--to does not go with --config; write it into the file"),
        (["--config", "{tmp}/absent.toml"], 3, "absent.toml: it cannot be read: No such file"),
        (["--check", "--unit"], 2, "--check and --unit exclude one another"),
        (["--listen", "1", "--to", "A@h", "--transcode", "jpegz"], 2, '--transcode has "jpegz"'),
    ],
    ids=["no relay", "hold of nothing", "drop of nothing", "ids of status", "check of status", "an option of start",
         "an action", "nothing", "no destination", "no title", "JSON of a start", "names without a page",
         "both", "no file", "two things",
         "a syntax"],
)  # fmt: skip
def test_what_makes_no_sense_on_the_command_line_is_told_in_a_line(arguments, status, said, command, tmp_path):
    words = [word.format(tmp=tmp_path) for word in arguments]
    if "--config" not in words:
        words += ["--spool", os.fspath(tmp_path / "spool")]
    ran = command("relay", *words)
    assert ran.status == status
    assert said in ran.line


def test_the_example_is_printed_and_can_be_used(command, tmp_path):
    ran = command("relay", "--example")
    assert ran.status == 0
    assert configuration(tomllib.loads(ran.out)).destinations[0].name == "archive"


def test_without_the_extra_one_line_says_what_to_install(command, monkeypatch, tmp_path):
    import importlib.util

    found = importlib.util.find_spec
    absent = ("pynetdicom", "httpx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in absent else found(name, *more))
    ran = command("relay", "--listen", "0", "--to", "A@h", "--spool", os.fspath(tmp_path / "spool"))
    assert ran.status == 4
    assert ran.line == "dcmtx: dcmtx relay needs pynetdicom and httpx, not installed here; pip install 'dcmtx[relay]'"
    assert not (tmp_path / "spool").exists()


WITHOUT_EXTRA = """
import sys
for name in ("pynetdicom", "prometheus_client", "httpx"):
    sys.modules[name] = None
from dcmtx.cli import main
main()
"""


def test_help_status_and_example_need_no_extra():
    for arguments, status in ((["--help"], 0), (["--example"], 0), (["status", "--spool", "/absent"], 3)):
        ran = subprocess.run([sys.executable, "-c", WITHOUT_EXTRA, "relay", *arguments], capture_output=True, text=True,
                             timeout=PATIENCE, check=False)  # fmt: skip
        assert ran.returncode == status, ran.stderr
        assert "Traceback" not in ran.stderr


# --- --check ---------------------------------------------------------------------------------------------------------


def test_check_tries_every_destination_and_changes_nothing(command, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "scp").mkdir()
    (tmp_path / "orthanc").mkdir()
    gone = StowServer()
    with (
        StoreScp(tmp_path / "scp") as scp, StowServer() as web,
        Orthanc(tmp_path / "orthanc", dict(os.environ)) as orthanc,
    ):  # fmt: skip
        dead = gone.url
        gone._server.server_close()
        text = f"""
            [listen]
            address = "127.0.0.1:0"
            [spool]
            path = "{tmp_path}/spool"
            reserve = 0
            [http]
            address = "127.0.0.1:0"
            [[destinations]]
            name = "scp"
            address = "{scp.address}"
            [[destinations]]
            name = "web"
            kind = "stow"
            address = "{web.url}"
            [[destinations]]
            name = "orthanc"
            kind = "orthanc"
            address = "http://127.0.0.1:{orthanc.http}"
            [[destinations]]
            name = "folder"
            kind = "directory"
            address = "{tmp_path}/out"
            [[routes]]
            to = ["scp", "web", "orthanc"]
        """
        path = tmp_path / "relay.toml"
        path.write_text(text)
        before = sorted(tmp_path.rglob("[!o]*"))
        ran = command("relay", "--config", path, "--check")
        assert ran.status == 0, ran
        lines = ran.out.splitlines()
        assert [line.partition(":")[0] for line in lines] == [
            "listen", "spool", "http", "scp", "web", "orthanc", "folder",
        ]  # fmt: skip
        assert "it answers C-ECHO" in lines[3]
        assert "it answers" in lines[4]
        assert "Orthanc 1." in lines[5]
        assert "it can be written to; no route goes to it" in lines[6]
        assert web.stored == {}
        assert not (tmp_path / "spool").exists()
        assert sorted(path for path in tmp_path.rglob("[!o]*") if "orthanc" not in str(path)) == [
            path for path in before if "orthanc" not in str(path)
        ]
        # What answers in place of Orthanc is another server.
        wrong = text.replace(web.url, dead).replace(f":{orthanc.http}", f":{web.port}")
        path.write_text(wrong.replace(f"{tmp_path}/out", f"{tmp_path}/gone"))
        ran = command("relay", "--config", path, "--check", "--json")
        assert ran.status == 8
        found = {record["name"]: record for record in map(json.loads, ran.out.splitlines())}
    assert [name for name, record in found.items() if not record["well"]] == ["web", "orthanc", "folder"]
    assert "Connection refused" in found["web"]["text"]
    assert found["folder"]["text"] == f"{tmp_path}/gone: there is no such directory; no route goes to it"


def test_check_names_a_directory_once(command, tmp_path):
    path = tmp_path / "relay.toml"
    path.write_text(
        f'[listen]\naddress = "127.0.0.1:0"\n[spool]\npath = "{tmp_path}/spool"\n'
        f'[[destinations]]\nname = "d"\nkind = "directory"\naddress = "{tmp_path}/gone"\n'
    )
    ran = command("relay", "--config", path, "--check")
    assert ran.status == 8
    assert f"d: FAILS: {tmp_path}/gone: there is no such directory" in ran.out.splitlines()


def test_check_says_what_is_wrong_with_listener_and_spool(command, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "out").mkdir()
    path = tmp_path / "relay.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path.write_text(f"""
            [listen]
            address = "127.0.0.1:0"
            [listen.tls]
            certificate = "{tmp_path}/absent.pem"
            key = "{tmp_path}/absent.key"
            [spool]
            path = "{tmp_path}/file/spool"
            [http]
            address = "127.0.0.1:{port}"
            [[destinations]]
            name = "d"
            kind = "directory"
            address = "{tmp_path}/out"
        """)
        ran = command("relay", "--config", path, "--check")
    assert ran.status == 8
    assert ran.out.splitlines() == [
        f"listen: FAILS: 127.0.0.1:0: {tmp_path}/absent.pem: it cannot be read: No such file or directory",
        f"spool: FAILS: {tmp_path}/file/spool: there is no directory {tmp_path}/file",
        f"http: FAILS: 127.0.0.1:{port}: Address already in use",
        f"d: {tmp_path}/out: it can be written to",
    ]
    assert ran.err == "dcmtx: not everything is as the configuration says; the lines above name what fails\n"


# --- the unit --------------------------------------------------------------------------------------------------------


def test_the_unit_starts_this_relay(command, tmp_path):
    words = ["--listen", "104", "--to", "A@h", "--transcode", "jpegls", "--transcode", "rle", "--http", "8042",
             "--show-names", "--jobs", "2", "--log-format", "json"]  # fmt: skip
    ran = command("relay", "--unit", "--spool", "/var/spool/x y", *words)
    assert ran.status == 0
    (line,) = [line for line in ran.out.splitlines() if line.startswith("ExecStart=")]
    assert line.endswith(f'relay --spool "/var/spool/x y" {" ".join(words)}')
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in ran.out
    assert 'ReadWritePaths="/var/spool/x y"' in ran.out
    if shutil.which("systemd-analyze") is None:
        return
    path = tmp_path / "dcmtx-relay.service"
    path.write_text(ran.out)
    checked = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, timeout=PATIENCE,
                             check=False)  # fmt: skip
    assert "Unknown" not in checked.stderr
    assert "dcmtx-relay.service:" not in checked.stderr


def test_the_unit_of_a_file_may_write_where_its_destinations_are(tmp_path):
    config = configuration(tomllib.loads("""
        [listen]
        address = 11112
        [spool]
        path = "/var/spool/dcmtx"
        [[destinations]]
        name = "d"
        kind = "directory"
        address = "/srv/100%"
    """))  # fmt: skip
    text = unit(config, "dcmtx", ["--config", "/etc/relay.toml"])
    assert "ReadWritePaths=/var/spool/dcmtx\nReadWritePaths=/srv/100%%\n" in text
    assert "AmbientCapabilities" not in text
    # Others than the relay read what is there.
    assert "UMask=0027\n" in text


METRICS = ["received_total", "delivered_total", "queue", "held", "oldest_seconds", "spool_bytes", "associations",
           "store_seconds_count", "store_seconds_sum"]  # fmt: skip


# --- a relay that runs -----------------------------------------------------------------------------------------------


def test_a_relay_that_runs_is_held_and_goes_on_and_forgets(tmp_path, command):
    files = write_instances(tmp_path / "in", range(3))
    top = {"http": {"address": "127.0.0.1:0"}}
    with StoreScp(tmp_path / "scp") as scp, RelayProcess({"address": scp.address}, top=top) as relay:
        spool = os.fspath(relay.spool)
        assert command("relay", "hold", "d1", "--spool", spool).status == 0
        assert storescu(relay.port, files).returncode == 0
        state = ask(spool, Asked("status"))["state"]["destinations"]["d1"]
        assert (state["state"], state["queue"]) == ("held", 3)
        (first, *_) = relay.queued()
        assert command("relay", "drop", "d1", first.stem, "--spool", spool).status == 0
        assert command("relay", "retry", "d1", "--spool", spool).status == 0
        scp.until(2)
        relay.until_empty()
        import urllib.request

        host, port = relay.events("start")[-1]["page"]
        where = f"http://{host}:{port}"
        with urllib.request.urlopen(f"{where}/metrics", timeout=PATIENCE) as answer:
            metrics = answer.read().decode()
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert f'dcmtx_relay_delivered_total{{destination="d1",syntax="{"1.2.840.10008.1.2.1"}"}} 2.0' in metrics
        assert 'dcmtx_relay_received_total{calling="STORESCU"} 3.0' in metrics
        named = {sample.name for family in text_string_to_metric_families(metrics) for sample in family.samples}
        assert named >= {f"dcmtx_relay_{name}" for name in METRICS}
        with urllib.request.urlopen(f"{where}/health", timeout=PATIENCE) as answer:
            assert json.loads(answer.read())["status"] == "ok"
        assert relay.end() == 0
        assert not (relay.spool / "control").exists()


def test_routes_send_each_instance_where_it_belongs_and_refuse_what_goes_nowhere(tmp_path):
    def made(number: int, modality: str, station: str) -> Path:
        elements = {0x00080060: dicom.element(0x00080060, "CS", modality),
                    0x00081010: dicom.element(0x00081010, "SH", station)}  # fmt: skip
        (path,) = write_instances(tmp_path / "in", [number], before=elements)
        return path

    for name in ("ct", "rooms"):
        (tmp_path / name).mkdir()
    routes = [
        {"to": "ct", "where": {"Modality": "CT", "calling": "STORE*"}},
        {"to": "rooms", "where": {"StationName": ["ROOM*", "!ROOM 9"]}},
    ]
    instances = {
        "both": (made(1, "CT", "ROOM 1"), 0), "the first": (made(2, "CT", "ROOM 9"), 0),
        "the second": (made(3, "MR", "ROOM 2"), 0), "none": (made(4, "MR", "ROOM 9"), 0x0124),
    }  # fmt: skip
    destinations = [{"name": name, "kind": "directory", "address": str(tmp_path / name)} for name in ("ct", "rooms")]
    with RelayProcess(*destinations, top={"routes": routes}) as relay:
        for path, status in instances.values():
            assert (storescu(relay.port, [path]).returncode == 0) == (status == 0)
        relay.until("delivered", 4)
        relay.until_empty("ct", "rooms")
        (declined,) = relay.until("declined")
        assert declined["status"] == "0124"
    assert sorted(path.stem for path in (tmp_path / "ct").rglob("*.dcm")) == ["1.2.3.1", "1.2.3.2"]
    assert sorted(path.stem for path in (tmp_path / "rooms").rglob("*.dcm")) == ["1.2.3.1", "1.2.3.3"]


def test_the_command_line_starts_a_relay_and_sigterm_ends_it(tmp_path):
    files = write_instances(tmp_path / "in", range(2))
    with StoreScp(tmp_path / "scp", "+xa") as scp:
        line = [sys.executable, "-m", "dcmtx", "relay", "--listen", "127.0.0.1:0", "--to", scp.address, "--transcode",
                "jpegls", "--spool", os.fspath(tmp_path / "spool"), "--log-format", "json", "--jobs", "1"]  # fmt: skip
        log = tmp_path / "log"
        with open(log, "wb") as writing:
            process = subprocess.Popen(line, stderr=writing, stdin=subprocess.DEVNULL)
        try:
            started = wait_until(lambda: [each for each in events(log) if each["event"] == "start"], log.read_text)
            assert storescu(started[0]["port"], files).returncode == 0
            arrived = scp.until(2)
            wait_until(lambda: sum(each["event"] == "delivered" for each in events(log)) == 2, log.read_text)
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait(PATIENCE)
    assert {each["syntax"] for each in events(log) if each["event"] == "delivered"} == {"1.2.840.10008.1.2.4.80"}
    assert len(arrived) == 2


def events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
