"""Destinations beside C-STORE: STOW-RS, Orthanc's POST, directories. What is not surely stored is never delivered."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import ssl
import threading
import tracemalloc
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import dicom
import numpy as np
import pytest
import trustme
from conftest import PATIENCE, need_tool, wait_until
from orthancs import Orthanc
from relays import CT, RelayProcess, instance, pixels, storescu, write_instances
from stow_server import StowServer

from dcmtx.relay import stow
from dcmtx.relay.answers import AnswerKind, Undeliverable
from dcmtx.relay.config import Destination, Kind, Login, Timeouts, Tls
from dcmtx.relay.delivery import open_delivery
from dcmtx.relay.orthanc import read_reply as read_orthanc
from dcmtx.relay.posting import Reply, answer_to_http
from dcmtx.relay.stow import read_reply as read_stow

DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
INSTANCE = "1.2.3.1"
IDS = {0x0020000D: "1.2.3", 0x0020000E: "1.2.3.0"}


def ids(study: str = "1.2.3", series: str = "1.2.3.0") -> dict[int, bytes]:
    """Return the elements that place an instance."""
    found = {0x0020000D: study, 0x0020000E: series}
    return {tag: dicom.element(tag, "UI", value) for tag, value in found.items()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "1.dcm"
    path.write_bytes(instance(1, before=ids()).encode())
    return path


@pytest.fixture(autouse=True)
def nothing_learnt(monkeypatch) -> None:
    monkeypatch.setattr(stow, "_plain_only", set())


def entry(path: Path) -> Any:
    """Return what a delivery wants to know of an entry."""
    return SimpleNamespace(path=str(path), head=SimpleNamespace(sop_class=CT, instance=INSTANCE, syntax=dicom.EXPLICIT))


@contextlib.contextmanager
def delivery(kind: Kind, **settings: Any) -> Iterator[Any]:
    """Give a delivery to a destination of this kind."""
    settings.setdefault("timeouts", Timeouts(2.0, 2.0, 2.0))
    opened = open_delivery(Destination("d", kind, **settings), [])
    try:
        yield opened
    finally:
        opened.close()
        opened.close()


def send(kind: Kind, source: Path, **settings: Any) -> Any:
    with delivery(kind, **settings) as opened:
        return opened.send(entry(source), str(source), dicom.EXPLICIT)


# --- what answers mean -----------------------------------------------------------------------------------------------


def named(tag: str, instance: str = INSTANCE, **numbers: int) -> dict[str, Any]:
    """Return a sequence of a Store Instances Response with one item."""
    item = {"00081155": {"vr": "UI", "Value": [instance]}}
    item |= {f"0008{name[1:]}": {"vr": "US", "Value": [value]} for name, value in numbers.items()}
    return {tag: {"vr": "SQ", "Value": [item]}}


STORED, FAILED = "00081199", "00081198"
ANSWERS: dict[str, tuple[int, Any, AnswerKind | None]] = {
    "stored": (200, named(STORED), AnswerKind.DELIVERED),
    "stored, as a list of one": (200, [named(STORED)], AnswerKind.DELIVERED),
    "stored with a warning": (202, named(STORED, _1196=0xB000), AnswerKind.DELIVERED),
    "200 and no word": (200, None, AnswerKind.DELIVERED),
    "200 and an empty list": (200, {STORED: {"vr": "SQ"}, FAILED: {"vr": "SQ"}}, None),
    "200 and another instance": (200, named(STORED, "9.9"), None),
    "200 and a page for people": (200, b"<html>log in</html>", None),
    "202 and no word": (202, None, None),
    "200 that lists it as failed": (200, named(FAILED, _1197=0xA700), AnswerKind.AGAIN),
    "no room": (409, named(FAILED, _1197=0xA700), AnswerKind.AGAIN),
    "processing failure": (202, named(FAILED, _1197=0x0110), AnswerKind.AGAIN),
    "there already": (409, named(FAILED, _1197=0x0111), AnswerKind.DELIVERED),
    "class not supported": (409, named(FAILED, _1197=0x0122), AnswerKind.HOLD),
    "not authorized": (409, named(FAILED, _1197=0x0124), AnswerKind.HOLD),
    "cannot understand": (409, named(FAILED, _1197=0xC000), AnswerKind.FEW_TRIES),
    "syntax not supported": (409, named(FAILED, _1197=0xC122), AnswerKind.OTHER_SYNTAX),
    "a failure whose reason is success": (409, named(FAILED, _1197=0), AnswerKind.FEW_TRIES),
    "a failure whose reason is a warning": (409, named(FAILED, _1197=0xB000), AnswerKind.FEW_TRIES),
    "a failure without a reason": (409, named(FAILED), AnswerKind.FEW_TRIES),
    "the failure of another": (409, named(FAILED, "9.9", _1197=0xA700), AnswerKind.FEW_TRIES),
    "a failure of nobody in particular": (409, {FAILED: {"Value": [{"00081197": {"Value": [0xA700]}}]}},
                                          AnswerKind.AGAIN),
    "409 and no word": (409, None, AnswerKind.FEW_TRIES),
    "400": (400, None, AnswerKind.FEW_TRIES),
    "415": (415, None, AnswerKind.OTHER_SYNTAX),
    "503": (503, None, AnswerKind.AGAIN),
    "JSON that is none of DICOM": (200, {STORED: 5, FAILED: {"Value": "x"}}, None),
    "a list of nothing": (200, [], None),
    "JSON without a bottom": (200, b"[" * 200_000, None),
}  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_of_stow_means_what_it_says_of_the_instance(status, body, kind):
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    found = read_stow(Reply(status, data, "application/dicom+json"), INSTANCE)
    assert (None if found is None else found.kind) is kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, AnswerKind.REJECTED), (307, AnswerKind.REJECTED), (401, AnswerKind.REJECTED), (403, AnswerKind.REJECTED),
        (404, AnswerKind.REJECTED), (405, AnswerKind.REJECTED), (408, AnswerKind.AGAIN), (413, AnswerKind.HOLD),
        (415, AnswerKind.OTHER_SYNTAX), (422, AnswerKind.FEW_TRIES), (429, AnswerKind.AGAIN),
        (500, AnswerKind.FEW_TRIES), (501, AnswerKind.REJECTED), (503, AnswerKind.AGAIN), (507, AnswerKind.AGAIN),
        (999, AnswerKind.FEW_TRIES), (100, AnswerKind.FEW_TRIES),
    ],
)  # fmt: skip
def test_a_status_of_http_means_what_its_row_says(status, kind):
    found = answer_to_http(status, "why")
    assert (found.kind, found.code) == (kind, f"HTTP {status}")
    assert str(status) in found.text


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, {"ID": "a", "Status": "Success"}, AnswerKind.DELIVERED),
        (200, {"ID": "a", "Status": "AlreadyStored"}, AnswerKind.DELIVERED),
        (200, {"ID": "a", "Status": "FilteredOut"}, AnswerKind.HOLD),
        (200, {"Status": "Failure"}, AnswerKind.FEW_TRIES),
        (200, {"Status": "What?"}, AnswerKind.REJECTED),
        (200, None, AnswerKind.REJECTED),
        (400, {"Message": "Bad file format", "Details": "no DICOM"}, AnswerKind.FEW_TRIES),
        (401, None, AnswerKind.REJECTED),
        (507, None, AnswerKind.AGAIN),
    ],
)
def test_an_answer_of_orthanc_means_what_its_row_says(status, body, kind):
    data = b"<html>" if body is None else json.dumps(body).encode()
    found = read_orthanc(Reply(status, data, "application/json"))
    assert found.kind is kind
    assert body is None or "Message" not in body or found.said == "Bad file format: no DICOM"


# --- STOW-RS ---------------------------------------------------------------------------------------------------------


def test_a_file_is_one_part_of_a_store_transaction(file):
    with StowServer() as server, delivery(Kind.STOW, url=server.url) as opened:
        for _ in range(2):
            assert opened.send(entry(file), str(file), dicom.EXPLICIT).kind is AnswerKind.DELIVERED
    assert server.stored == {INSTANCE: file.read_bytes()}
    assert server.parts == [f"application/dicom; transfer-syntax={dicom.EXPLICIT}"] * 2
    assert server.requests[0]["Accept"] == "application/dicom+json"
    assert "Transfer-Encoding" not in server.requests[0]


@pytest.mark.parametrize(
    ("plan", "kind"),
    [
        ([], AnswerKind.DELIVERED), ([(202, 0xA700)], AnswerKind.AGAIN), ([(409, 0xC000)], AnswerKind.FEW_TRIES),
        ([(409, 0x0111)], AnswerKind.DELIVERED), ([503], AnswerKind.AGAIN), ([301], AnswerKind.REJECTED),
        (["cut"], AnswerKind.BROKEN), (["unnamed", "unnamed"], AnswerKind.FEW_TRIES),
        ([400, 400], AnswerKind.FEW_TRIES), ([415, 415], AnswerKind.OTHER_SYNTAX),
        (["parameters", "parameters"], AnswerKind.DELIVERED), ([415], AnswerKind.DELIVERED),
    ],
    ids=["well", "no room", "not understood", "there already", "busy", "moved", "cut off", "200 that names nothing",
         "refused", "the syntax refused", "parameters passed over, with success told", "parameters refused"],
)  # fmt: skip
def test_only_what_is_stored_is_delivered(plan, kind, file):
    with StowServer() as server:
        server.plan = list(plan)
        found = send(Kind.STOW, file, url=server.url)
    assert found.kind is kind
    # One that is there already was stored by somebody before.
    assert (INSTANCE in server.stored) == (kind is AnswerKind.DELIVERED and (409, 0x0111) not in plan)
    if plan == [301]:
        assert "https://elsewhere.example.org/" in found.text


def test_a_server_that_passes_over_parameters_is_sent_none_any_more(file):
    with StowServer() as server:
        server.plan = ["parameters"] * 3
        for _ in range(2):
            assert send(Kind.STOW, file, url=server.url).kind is AnswerKind.DELIVERED
    assert ["transfer-syntax" in part for part in server.parts] == [True, False, False]


def test_a_server_that_takes_parameters_is_sent_what_it_refuses_once(file):
    with StowServer() as server, delivery(Kind.STOW, url=server.url) as opened:
        assert opened.send(entry(file), str(file), dicom.EXPLICIT).kind is AnswerKind.DELIVERED
        server.plan = [400]
        assert opened.send(entry(file), str(file), dicom.EXPLICIT).kind is AnswerKind.FEW_TRIES
        server.plan = ["unnamed"]
        assert opened.send(entry(file), str(file), dicom.EXPLICIT).kind is AnswerKind.FEW_TRIES
    assert len(server.requests) == 3


def test_a_server_that_does_not_answer_is_left(file):
    with StowServer() as server:
        server.plan = ["silent"]
        found = send(Kind.STOW, file, url=server.url, timeouts=Timeouts(1.0, 0.2, 1.0))
    assert found.kind is AnswerKind.BROKEN


@pytest.mark.parametrize("kind", [Kind.STOW, Kind.ORTHANC], ids=["stow", "orthanc"])
def test_who_is_not_there_is_unreachable(kind, file):
    with StowServer() as server:
        url = server.url
    assert send(kind, file, url=url).kind is AnswerKind.UNREACHABLE


def test_a_syntax_that_is_refused_is_not_believed_to_be_taken_any_more(file):
    with StowServer() as server, delivery(Kind.STOW, url=server.url) as opened:
        server.refuses = {dicom.EXPLICIT: 0xC122}
        assert opened.accepted(entry(file)) is None
        assert opened.send(entry(file), str(file), dicom.EXPLICIT).kind is AnswerKind.OTHER_SYNTAX
        taken = opened.accepted(entry(file))
    assert dicom.EXPLICIT not in taken
    assert {dicom.IMPLICIT, dicom.JPEGLS} <= taken


@pytest.mark.parametrize("login", ["token", "password"])
def test_a_login_is_shown_from_its_file(login, file, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("swordfish\nmore\n")
    shown = {"token": Login(token_file=str(secret)), "password": Login("relay", str(secret))}[login]
    expected = {"token": "Bearer swordfish", "password": "Basic cmVsYXk6c3dvcmRmaXNo"}[login]
    with StowServer(token=expected) as server:
        assert send(Kind.STOW, file, url=server.url).kind is AnswerKind.REJECTED
        assert send(Kind.STOW, file, url=server.url, login=shown).kind is AnswerKind.DELIVERED


def test_a_token_is_read_anew_for_every_instance(file, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("first")
    with (
        StowServer(token="Bearer first") as server,
        delivery(Kind.STOW, url=server.url, login=Login(token_file=str(secret))) as opened,
    ):
        assert opened.send(entry(file), str(file), dicom.EXPLICIT).kind is AnswerKind.DELIVERED
        server.token = "Bearer second"
        assert opened.send(entry(file), str(file), dicom.EXPLICIT).kind is AnswerKind.REJECTED
        secret.write_text("second")
        assert opened.send(entry(file), str(file), dicom.EXPLICIT).kind is AnswerKind.DELIVERED
        secret.unlink()
        found = opened.send(entry(file), str(file), dicom.EXPLICIT)
        assert (found.kind, str(secret) in found.text) == (AnswerKind.UNREACHABLE, True)


def test_a_proxy_is_gone_through(file, monkeypatch):
    # What the environment says is not asked.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with StowServer() as server:
        assert send(Kind.STOW, file, url=server.url).kind is AnswerKind.DELIVERED
        proxy = f"http://127.0.0.1:{server.port}"
        found = send(Kind.STOW, file, url="http://pacs.example.org/dicom-web", proxy=proxy)
        assert found.kind is AnswerKind.DELIVERED
    assert server.requests[-1]["Host"] == "pacs.example.org"


@pytest.mark.parametrize("missing", ["login", "tls"])
def test_a_file_of_the_configuration_that_is_gone_is_named(missing, file, tmp_path):
    gone = str(tmp_path / "gone")
    settings = {"login": {"login": Login(token_file=gone)}, "tls": {"tls": Tls(authorities=gone)}}[missing]
    with pytest.raises(Undeliverable) as caught:
        send(Kind.STOW, file, url="https://127.0.0.1:1", **settings)
    assert caught.value.answer.kind is AnswerKind.UNREACHABLE
    assert caught.value.answer.text == f"{gone}: it cannot be read: No such file or directory"


def test_tls_is_checked_and_shows_a_certificate(file, tmp_path):
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    own = authority.issue_cert("relay")
    names = {"ca": tmp_path / "ca.pem", "other": tmp_path / "other.pem", "cert": tmp_path / "c", "key": tmp_path / "k"}
    authority.cert_pem.write_to_path(names["ca"])
    stranger.cert_pem.write_to_path(names["other"])
    own.private_key_pem.write_to_path(names["key"])
    for blob in own.cert_chain_pems:
        blob.write_to_path(names["cert"], append=True)
    paths = {name: str(path) for name, path in names.items()}
    with StowServer(context=context) as server:
        well = Tls(paths["cert"], paths["key"], paths["ca"])
        assert send(Kind.STOW, file, url=server.url, tls=well).kind is AnswerKind.DELIVERED
        found = send(Kind.STOW, file, url=server.url, tls=well.replace(authorities=paths["other"]))
        assert found.kind is AnswerKind.UNREACHABLE
        assert "certificate verify failed" in found.text
        # Without a certificate of its own the server does not want it.
        assert send(Kind.STOW, file, url=server.url, tls=Tls(authorities=paths["ca"])).kind in (
            AnswerKind.UNREACHABLE, AnswerKind.BROKEN,
        )  # fmt: skip
        elsewhere = server.url.replace("127.0.0.1", "localhost")
        assert send(Kind.STOW, file, url=elsewhere, tls=well).kind is AnswerKind.UNREACHABLE
        assert send(Kind.STOW, file, url=elsewhere, tls=well.replace(check_name=False)).kind is AnswerKind.DELIVERED


class Sieve:
    """A server that reads the body of one request, keeps nothing of it, and says that it is too busy."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.taken = 0
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
        self._thread.join(PATIENCE)

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        buffer = bytearray(1 << 16)
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1)
            length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
            while self.taken < length:
                self.taken += connection.recv_into(buffer)
            connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("kind", [Kind.STOW, Kind.ORTHANC], ids=["stow", "orthanc"])
def test_a_large_file_is_sent_in_pieces(kind, tmp_path):
    path = tmp_path / "large.dcm"
    path.write_bytes(instance(1, before=ids()).encode())
    size = 64 << 20
    os.truncate(path, size)
    with Sieve() as server, delivery(kind, url=server.url, timeouts=Timeouts(60, 60, 60)) as opened:
        tracemalloc.start()
        try:
            assert opened.send(entry(path), str(path), dicom.EXPLICIT).kind is AnswerKind.AGAIN
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert server.taken >= size
    assert most < 4 << 20


# --- directories -----------------------------------------------------------------------------------------------------


def test_a_directory_has_files_by_study_series_and_instance(file, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for _ in range(2):
        assert send(Kind.DIRECTORY, file, path=str(out)).kind is AnswerKind.DELIVERED
    assert [str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()] == ["1.2.3/1.2.3.0/1.2.3.1.dcm"]
    assert (out / "1.2.3/1.2.3.0/1.2.3.1.dcm").read_bytes() == file.read_bytes()


def test_another_instance_of_the_same_uid_loses_none_of_them(file, tmp_path):
    """However often each of them comes, and with whatever group 0002."""
    out = tmp_path / "out"
    out.mkdir()
    other, head = tmp_path / "other.dcm", tmp_path / "head.dcm"
    other.write_bytes(file.read_bytes()[:-1] + b"\x55")
    head.write_bytes(instance(1, before=ids(), meta=[dicom.element(0x00020016, "AE", "ELSEWHERE")]).encode())
    assert head.read_bytes() not in (file.read_bytes(), other.read_bytes())
    found = [send(Kind.DIRECTORY, path, path=str(out)) for path in (file, other, head, other, file)]
    assert {answer.kind for answer in found} == {AnswerKind.DELIVERED}
    assert [bool(answer.text) for answer in found] == [False, True, False, True, False]
    first, second = sorted(path for path in out.rglob("*") if path.is_file())
    assert (first.name, second.name) == (
        f"{INSTANCE}-{hashlib.sha256(other.read_bytes()).hexdigest()[:16]}.dcm", f"{INSTANCE}.dcm",
    )  # fmt: skip
    assert (first.read_bytes(), second.read_bytes()) == (other.read_bytes(), file.read_bytes())
    assert first.name in found[1].text


def test_what_is_no_instance_stays_where_it_is(file, tmp_path):
    place = tmp_path / "out/1.2.3/1.2.3.0"
    place.mkdir(parents=True)
    (place / f"{INSTANCE}.dcm").write_bytes(b"a note")
    assert send(Kind.DIRECTORY, file, path=str(tmp_path / "out")).kind is AnswerKind.DELIVERED
    assert {path.read_bytes() for path in place.iterdir()} == {b"a note", file.read_bytes()}


@pytest.mark.parametrize(
    ("study", "series", "expected"),
    [("1.2", "", "1.2/no-series"), ("", "", "no-study/no-series"), ("1.2.a_b", "3", "1.2.a_b/3")],
    ids=["no series", "neither", "letters"],
)  # fmt: skip
def test_what_belongs_to_nothing_has_a_place_all_the_same(study, series, expected, tmp_path):
    path = tmp_path / "1.dcm"
    path.write_bytes(instance(1, before=ids(study, series)).encode())
    out = tmp_path / "out"
    out.mkdir()
    assert send(Kind.DIRECTORY, path, path=str(out)).kind is AnswerKind.DELIVERED
    assert (out / expected / f"{INSTANCE}.dcm").exists()


@pytest.mark.parametrize("study", ["../../etc", "..", "a/b", ".hidden", "-x"])
def test_a_uid_that_leads_elsewhere_is_held(study, tmp_path):
    path = tmp_path / "1.dcm"
    path.write_bytes(instance(1, before=ids(study)).encode())
    out = tmp_path / "out"
    out.mkdir()
    before = sorted(tmp_path.rglob("*"))
    found = send(Kind.DIRECTORY, path, path=str(out))
    assert found.kind is AnswerKind.HOLD
    assert sorted(tmp_path.rglob("*")) == before


def test_a_directory_that_is_not_there_is_not_made(file, tmp_path):
    with pytest.raises(Undeliverable) as caught:
        send(Kind.DIRECTORY, file, path=str(tmp_path / "absent"))
    assert caught.value.answer.kind is AnswerKind.UNREACHABLE
    assert not (tmp_path / "absent").exists()


def test_a_directory_that_goes_is_unreachable(file, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with delivery(Kind.DIRECTORY, path=str(out)) as opened:
        out.rmdir()
        assert opened.send(entry(file), str(file), dicom.EXPLICIT).kind is AnswerKind.UNREACHABLE
        out.mkdir()
        assert opened.send(entry(file), str(file), dicom.EXPLICIT).kind is AnswerKind.DELIVERED


def test_a_file_in_the_way_is_held(file, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "1.2.3").write_text("in the way")
    found = send(Kind.DIRECTORY, file, path=str(out))
    assert found.kind is AnswerKind.HOLD
    assert (out / "1.2.3").read_text() == "in the way"


def test_a_full_disk_is_tried_again_and_leaves_nothing_behind(file, tmp_path, monkeypatch):
    from dcmtx.place import temporary

    out = tmp_path / "out"
    out.mkdir()

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(temporary, "sync_file", full)
    found = send(Kind.DIRECTORY, file, path=str(out))
    assert found.kind is AnswerKind.AGAIN
    assert "No space left" in found.text
    assert not [path for path in out.rglob("*") if path.is_file()]


# --- the relay, end to end -------------------------------------------------------------------------------------------


def need_dicomweb() -> str:
    """Return the path of the DICOMweb plugin, or skip; in CI its absence is a failure."""
    if not DICOMWEB.exists():
        need_tool(os.fspath(DICOMWEB))
    return os.fspath(DICOMWEB)


def test_one_instance_goes_to_every_kind_of_destination(tmp_path):
    """Orthanc's plugin passes over what it does not like, and says success: the relay does not believe it."""
    need_dicomweb()
    files = write_instances(tmp_path / "in", range(4), before=ids())
    (tmp_path / "out").mkdir()
    (tmp_path / "web").mkdir()
    (tmp_path / "rest").mkdir()
    plugin = {"Plugins": [need_dicomweb()], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}
    with (
        StowServer() as server,
        Orthanc(tmp_path / "web", dict(os.environ), **plugin) as web,
        Orthanc(tmp_path / "rest", dict(os.environ)) as rest,
        RelayProcess(
            {"name": "stow", "kind": "stow", "address": server.url, "prefer": ["htj2k", "jpegls"]},
            {"name": "web", "kind": "stow", "address": f"http://127.0.0.1:{web.http}/dicom-web", "prefer": ["jpegls"]},
            {"name": "rest", "kind": "orthanc", "address": f"http://127.0.0.1:{rest.http}", "prefer": ["rle"]},
            {"name": "directory", "kind": "directory", "address": str(tmp_path / "out"), "associations": 2},
            {"name": "none", "kind": "directory", "address": str(tmp_path / "absent")},
            top={"routes": [{"to": ["stow", "web", "rest", "directory"]}]},
        ) as relay,
    ):
        server.refuses = {dicom.HTJ2K_LOSSLESS: 0xC122}
        assert storescu(relay.port, files).returncode == 0
        relay.until_empty("stow", "web", "rest", "directory")
        delivered = relay.until("delivered", 16)
        assert relay.end() == 0
        assert not relay.leftovers()
        in_web, in_rest = web.stored("1.2.3"), rest.stored("1.2.3")
    syntaxes = {event["destination"]: event["syntax"] for event in delivered}
    assert syntaxes == {"stow": dicom.JPEGLS, "web": dicom.JPEGLS, "rest": dicom.RLE, "directory": dicom.EXPLICIT}
    for number, path in enumerate(files):
        uid = f"1.2.3.{number}"
        there = [
            server.stored[uid],
            in_web[uid],
            in_rest[uid],
            (tmp_path / f"out/1.2.3/1.2.3.0/{uid}.dcm").read_bytes(),
        ]
        for each in there:
            (tmp_path / "there.dcm").write_bytes(each)
            assert np.array_equal(pixels(tmp_path / "there.dcm"), pixels(path))
    assert len({(event["destination"], event["instance"]) for event in delivered}) == 16


def test_what_lost_something_arrives_under_its_new_uid(tmp_path):
    files = write_instances(tmp_path / "in", range(2), before=ids(), size=96)
    (tmp_path / "out").mkdir()
    lossy = {"prefer": ["jpegls"], "lossy": {"near": 3}}
    with (
        StowServer() as server,
        RelayProcess(
            {"name": "stow", "kind": "stow", "address": server.url, **lossy},
            {"name": "directory", "kind": "directory", "address": str(tmp_path / "out"), **lossy},
        ) as relay,
    ):
        assert storescu(relay.port, files).returncode == 0
        relay.until("delivered", 4)
        relay.until_empty("stow", "directory")
        assert not relay.held("stow")
    there = {path.stem: path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")}
    assert server.stored == there
    assert len(there) == 2
    assert not {"1.2.3.0", "1.2.3.1"} & set(there)
    assert {dicom.walk(data).elements[0x00080018].text for data in there.values()} == set(there)


def test_a_relay_that_is_killed_while_it_delivers_delivers_all_of_it_whole(tmp_path):
    files = write_instances(tmp_path / "in", range(16), before=ids())
    (tmp_path / "out").mkdir()
    with (
        StowServer() as server,
        RelayProcess(
            {"name": "stow", "kind": "stow", "address": server.url, "prefer": ["rle"], "associations": 2},
            {"name": "directory", "kind": "directory", "address": str(tmp_path / "out"), "prefer": ["rle"]},
        ) as relay,
    ):
        assert storescu(relay.port, files).returncode == 0
        wait_until(lambda: len(server.stored) >= 5, relay.said)
        relay.kill()
        relay.start()
        relay.until_empty("stow", "directory")
        assert not relay.held("stow") + relay.held("directory")
    there = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.stem: path.read_bytes() for path in there} == server.stored
    assert len(server.stored) == 16
    for number, path in enumerate(files):
        (tmp_path / "there.dcm").write_bytes(server.stored[f"1.2.3.{number}"])
        assert np.array_equal(pixels(tmp_path / "there.dcm"), pixels(path))


def test_a_web_server_that_fails_gets_everything_in_the_end(tmp_path):
    files = write_instances(tmp_path / "in", range(3), before=ids())
    with (
        StowServer() as server,
        RelayProcess({"name": "d1", "kind": "stow", "address": server.url, "timeouts": {"dimse": 1}}) as relay,
    ):
        server.plan = [503, "cut", (202, 0xA700), (409, 0xC000)]
        assert storescu(relay.port, files).returncode == 0
        relay.until("delivered", 3)
        relay.until_empty()
        assert not relay.held()
        assert set(server.stored) == {"1.2.3.0", "1.2.3.1", "1.2.3.2"}


@pytest.mark.parametrize("shows_names", [False, True], ids=["without names", "with names"])
def test_what_a_web_server_never_takes_is_held_with_its_reason_and_shown(shows_names, tmp_path):
    named = {0x00100010: ("PN", "Doe^Jane"), 0x00100020: ("LO", "PID-0815"), 0x00081030: ("LO", "CT HEAD")}
    elements = ids() | {tag: dicom.element(tag, vr, value) for tag, (vr, value) in named.items()}
    files = write_instances(tmp_path / "in", range(2), before=elements)
    top = {"http": {"address": "127.0.0.1:0", "show-names": shows_names}}
    with StowServer() as server, RelayProcess({"kind": "stow", "address": server.url}, top=top) as relay:
        server.refuses = {dicom.EXPLICIT: 0x0122, dicom.IMPLICIT: 0x0122}
        assert storescu(relay.port, files).returncode == 0
        relay.until("held", 2)
        assert all("0122" in held["reason"] for held in relay.held())
        host, port = relay.events("start")[-1]["page"]
        with urllib.request.urlopen(f"http://{host}:{port}/state", timeout=PATIENCE) as answer:
            shown = answer.read().decode()
        log = relay.said()
    (first, second) = json.loads(shown)["destinations"]["d1"]["held"]
    assert [first["instance"], second["instance"]] == ["1.2.3.0", "1.2.3.1"]
    if shows_names:
        assert first["names"] == "Doe^Jane · PID-0815 · CT HEAD"
    else:
        assert not [text for text in ("Doe", "PID", "HEAD") if text in shown]
    # Nor does the log ever.
    assert not [text for text in ("Doe", "PID", "HEAD") if text in log]
