"""Object stores as places: what is in them is what would be in files, and appears whole, once, or not at all."""

from __future__ import annotations

import http.server
import json
import os
import re
import threading
import types
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import batches
import dicom
import pytest
from batches import image, need_proc, numbered, values
from conftest import ROOT, Ran
from stores import BUCKET, SERVERS, Store

pytest.importorskip("obstore")
pytestmark = [need_proc, pytest.mark.timeout(180)]
CT = (ROOT / "testdata" / "ct-explicit.dcm").read_bytes()


@pytest.fixture(scope="module", params=SERVERS, ids=SERVERS)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with SERVERS[request.param]() as running:
        yield running


@pytest.fixture(scope="module")
def moto() -> Iterator[Store]:
    with SERVERS["moto"]() as running:
        yield running


def run(store: Store, *words: Any, **more: Any) -> Ran:
    return batches.run(*map(str, words), env=os.environ | store.environment, **more)


def url(key: str = "") -> str:
    return f"s3://{BUCKET}/{key}"


# --- one object -----------------------------------------------------------------------------------------------

KEYS = ["a.dcm", "deep/er/a.dcm", "with blanks/ä ö.dcm", "odd#?&+%20=.dcm", "-x.dcm"]


@pytest.mark.parametrize("key", KEYS)
def test_an_object_is_converted_into_a_file_and_back(key: str, store: Store, tmp_path: Path) -> None:
    store.put(f"one/{key}", CT)
    ran = run(store, "--to", "jpegls", "--", url(f"one/{key}"), tmp_path / "a.dcm")
    assert ran == Ran(0, "", "")
    ran = run(store, "--to", "explicit", "--", tmp_path / "a.dcm", url(f"two/{key}"))
    assert ran == Ran(0, "", "")
    assert f"two/{key}" in store.keys("two/")
    (tmp_path / "back.dcm").write_bytes(store.get(f"two/{key}"))
    (tmp_path / "first.dcm").write_bytes(CT)
    assert run(store, "compare", tmp_path / "first.dcm", tmp_path / "back.dcm").status == 0


def test_what_is_in_a_store_is_what_would_be_in_a_file(store: Store, tmp_path: Path) -> None:
    store.put("same/a.dcm", CT)
    run(store, url("same/a.dcm"), url("same/b.dcm"), "--to", "htj2k")
    (tmp_path / "a.dcm").write_bytes(CT)
    run(store, tmp_path / "a.dcm", tmp_path / "b.dcm", "--to", "htj2k")
    assert store.get("same/b.dcm") == (tmp_path / "b.dcm").read_bytes()


def test_an_object_is_not_replaced_without_leave(store: Store, tmp_path: Path) -> None:
    store.put("there/a.dcm", b"as it was")
    (tmp_path / "a.dcm").write_bytes(CT)
    ran = run(store, tmp_path / "a.dcm", url("there/a.dcm"), "--to", "rle", "--no-clobber")
    assert ran.status == 8
    assert "exists" in ran.line
    assert store.get("there/a.dcm") == b"as it was"
    assert run(store, tmp_path / "a.dcm", url("there/a.dcm"), "--to", "rle").status == 0
    assert dicom.walk(store.get("there/a.dcm")).syntax == dicom.RLE
    assert not [key for key in store.keys("") if "probe" in key]


def test_nothing_is_there_of_a_file_that_fails(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(CT[:-500])
    assert run(store, tmp_path / "a.dcm", url("none/a.dcm"), "--to", "rle").status == 3
    assert store.keys("none/") == []


def test_a_large_object_goes_in_parts_and_is_made_once(store: Store, tmp_path: Path) -> None:
    side = 2600
    big = dicom.Image(bytes(2 * side * side), rows=side, columns=side).encode()
    (tmp_path / "big.dcm").write_bytes(big)
    for status in (0, 8):
        ran = run(store, tmp_path / "big.dcm", url("big/a.dcm"), "--to", "implicit", "--no-clobber")
        assert ran.status == status
    assert len(store.get("big/a.dcm")) > 2 * side * side


def test_what_becomes_large_is_not_held_in_memory(moto: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dcmtx.place import remote
    from dcmtx.place.bytes import open_bytes

    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "_IN_MEMORY", 100)
    remote._store.cache_clear()

    def place(sink: remote.RemoteSink) -> str:
        assert sink._file is not None
        return os.readlink(f"/proc/self/fd/{sink._file.fileno()}")

    (tmp_path / "source").write_bytes(b"s" * 70)
    with remote.RemoteSink(url("large")) as sink:
        sink.write(b"a" * 60)
        sink.patch(3, b"bcd")
        assert place(sink).startswith("/memfd:")
        with closing(open_bytes(str(tmp_path / "source"))) as source:
            sink.copy(source)
        assert not place(sink).startswith("/memfd:")
        sink.write(b"e" * 60)
        sink.patch(62, b"f")
        sink.commit()
    assert moto.get("large") == b"aaabcd" + b"a" * 54 + b"ssf" + b"s" * 67 + b"e" * 60
    with remote.RemoteSink(url("announced")) as sink:
        sink.reserve(101)
        assert not place(sink).startswith("/memfd:")
    assert "announced" not in moto.keys("")


MISSING = {
    "no object": (url("nothing/here.dcm"), "there is no such object"),
    "no bucket": ("s3://no-such-bucket/a.dcm", "there is no such object"),
    "a bucket without a name": ("s3:///a.dcm", "names no bucket"),
}


@pytest.mark.parametrize(("source", "what"), MISSING.values(), ids=MISSING)
def test_what_is_not_there_is_one_line(source: str, what: str, store: Store, tmp_path: Path) -> None:
    ran = run(store, source, tmp_path / "out.dcm", "--to", "rle")
    assert ran.status in (2, 3)
    assert what in ran.line
    assert "Traceback" not in ran.err


def test_a_store_that_is_not_there_is_one_line(moto: Store, tmp_path: Path) -> None:
    gone = os.environ | moto.environment | {"AWS_ENDPOINT": "http://127.0.0.1:9"}
    (tmp_path / "a.dcm").write_bytes(CT)
    for words in ([url("a.dcm"), "out.dcm"], ["a.dcm", url("a.dcm")]):
        ran = batches.run(*words, "--to", "rle", cwd=tmp_path, env=gone | {"DCMTX_STORE_RETRIES": "0"})
        assert ran.status in (3, 8)
        assert ran.line


# --- many -----------------------------------------------------------------------------------------------------


def test_a_prefix_is_like_a_directory(store: Store, tmp_path: Path) -> None:
    for number, name in enumerate(numbered(6)):
        store.put(f"many/{name}", image(number).encode())
    store.put("many/text", b"no DICOM here\n" * 20)
    for source in ("many/", "many"):
        ran = run(store, url(source), url("made/"), "--to", "rle", "--json")
        assert ran.status == 0
        told = batches.records(ran.out)
        assert {record["status"] for record in told} == {"converted", "skipped"}
        assert {record["source"] for record in told} >= {url(f"many/{name}") for name in numbered(6)}
    assert store.keys("made/") == sorted(f"made/{name}" for name in numbered(6))
    ran = run(store, url("made/"), tmp_path / "back", "--to", "explicit", "--quiet")
    assert ran.status == 0
    for number, name in enumerate(numbered(6)):
        assert batches.decoded(tmp_path / "back" / name) == (dicom.EXPLICIT, values(number))
    ran = run(store, url("many/"), url("made/"), "--to", "rle", "--resume")
    assert "6 skipped (done before)" in ran.err


def test_a_directory_goes_into_a_prefix(store: Store, tmp_path: Path) -> None:
    batches.plant(tmp_path / "in", numbered(4))
    assert run(store, tmp_path / "in", url("up/"), "--to", "jpegls", "--quiet").status == 0
    assert store.keys("up/") == sorted(f"up/{name}" for name in numbered(4))
    (first,) = (tmp_path / "in" / "0").glob("0000.dcm")
    assert run(store, first, url("file/"), "--to", "jpegls").status == 0
    assert store.keys("file/") == ["file/0000.dcm"]


@pytest.mark.parametrize("ends", ["a.dcm", ""], ids=["objects", "prefixes"])
def test_two_that_would_go_to_one_place_are_no_two_files(ends: str, moto: Store, tmp_path: Path) -> None:
    for number, key in enumerate(["x/twice/a.dcm", "y/twice/a.dcm"]):
        moto.put(key, image(number).encode())
    sources = [url(f"{root}/twice/{ends}") for root in "xy"]
    ran = run(moto, *sources, tmp_path / "out", "--to", "rle", "--quiet")
    assert ran.status == 9
    assert "y/twice/a.dcm: another of the sources goes to the same place" in ran.err
    found = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(found) == 1
    batches.assert_converted(found[0], 0, dicom.RLE)


def test_references_follow_in_a_store_too(moto: Store, tmp_path: Path) -> None:
    import test_references

    tree = tmp_path / "study"
    tree.mkdir()
    test_references.study(tree)
    line = ["--to", "jpegls", "--uid", "new", "--update-references", "--quiet"]
    ran = run(moto, tree, url("study/"), *line)
    assert ran.status == 0, ran.err
    for key in moto.keys("study/"):
        (tmp_path / "back" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "back" / key).write_bytes(moto.get(key))
    back = tmp_path / "back" / "study"
    new = test_references.uids(back)
    assert {name: test_references.references(back / name) for name in new} == test_references.expected(new)


def test_a_prefix_without_anything_is_an_error(store: Store, tmp_path: Path) -> None:
    ran = run(store, url("empty/"), tmp_path / "out", "--to", "rle")
    assert ran.status == 9
    assert "nothing below it" in ran.err


def test_an_archive_is_not_made_in_a_store(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(CT)
    ran = run(store, tmp_path / "a.dcm", url("a.zip"), "--to", "rle")
    assert ran.status == 2
    assert "archives are written to local paths" in ran.line


def test_a_key_leads_to_no_place_outside_the_destination(moto: Store, tmp_path: Path) -> None:
    from dcmtx.place.archive import refused_name

    assert refused_name("../a") is not None
    moto.put("odd/good.dcm", CT)
    moto.put("odd/../bad.dcm", CT)
    ran = run(moto, url("odd/"), tmp_path / "deep" / "out", "--to", "rle")
    assert "Traceback" not in ran.err
    assert [path for path in tmp_path.rglob("*.dcm") if "out" not in path.parts] == []


# --- while it is read -----------------------------------------------------------------------------------------


def test_an_object_that_has_changed_since_it_was_listed_is_not_converted(
    moto: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dcmtx.errors import InputError
    from dcmtx.place import remote

    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    remote._store.cache_clear()
    moto.put("changing/a.dcm", CT)
    (one,) = remote.listing(url("changing/"))
    assert (one.below, one.size) == ("a.dcm", len(CT))
    moto.put("changing/a.dcm", CT + b"\0\0")
    with pytest.raises(InputError, match="has changed") as caught:
        one.open_reader(None)
    assert caught.value.code == "E_CHANGED"
    remote._store.cache_clear()


class Careless(http.server.BaseHTTPRequestHandler):
    """A store that ignores conditions, answers SlowDown first, and cuts an answer: what `faults` says, in order."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    faults: list[str]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _fault(self) -> bool:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "slow":
            self._answer(503, b"<Error><Code>SlowDown</Code></Error>")
        elif fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.send_header("ETag", '"1"')
            self.send_header("Last-Modified", "Thu, 26 Nov 2026 00:00:00 GMT")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
        return bool(fault)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._fault():
            self.objects[self.path] = body
            self._answer(200, ETag='"1"')

    def do_GET(self) -> None:
        if self._fault():
            return
        if self.path not in self.objects:
            self._answer(404)
            return
        self._answer(200, self.objects[self.path], ETag='"1"', Last_Modified="Thu, 26 Nov 2026 00:00:00 GMT")

    def do_POST(self) -> None:
        """Delete objects, as DeleteObjects says."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        keys = re.findall("<Key>(.*?)</Key>", body)
        for key in keys:
            self.objects.pop(f"/{BUCKET}/{key}", None)
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())


@pytest.fixture
def careless() -> Iterator[tuple[type[Careless], dict[str, str]]]:
    handler = type("Handler", (Careless,), {"objects": {}, "faults": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    environment = {
        "AWS_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1",
    }  # fmt: skip
    yield handler, environment
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_store_that_ignores_conditions_is_found_out_before_anything_is_written(careless, tmp_path: Path) -> None:
    handler, environment = careless
    (tmp_path / "a.dcm").write_bytes(CT)
    words = ["a.dcm", url("a.dcm"), "--to", "rle"]
    ran = batches.run(*words, "--no-clobber", cwd=tmp_path, env=os.environ | environment)
    assert ran.status == 8
    assert "ignores the condition" in ran.line
    assert handler.objects == {}
    assert batches.run(*words, cwd=tmp_path, env=os.environ | environment).status == 0


@pytest.mark.parametrize("faults", [["slow", "slow"], ["cut"]], ids=["that is slow", "whose answer is cut"])
def test_a_store_is_asked_again(faults: list[str], careless, tmp_path: Path) -> None:
    handler, environment = careless
    handler.objects[f"/{BUCKET}/a.dcm"] = CT
    handler.faults += faults
    ran = batches.run(url("a.dcm"), "out.dcm", "--to", "rle", cwd=tmp_path, env=os.environ | environment)
    if faults == ["cut"] and ran.status:
        # Nothing of it is taken for the whole.
        assert ran.status == 3
        assert not (tmp_path / "out.dcm").exists()
    else:
        assert ran == Ran(0, "", "")
    handler.faults += ["slow"] if faults != ["cut"] else []
    if handler.faults:
        (tmp_path / "in.dcm").write_bytes(CT)
        assert (
            batches.run("in.dcm", url("b.dcm"), "--to", "rle", cwd=tmp_path, env=os.environ | environment).status == 0
        )
        assert dicom.walk(handler.objects[f"/{BUCKET}/b.dcm"]).syntax == dicom.RLE


def test_the_web_is_read_and_not_written(careless, tmp_path: Path) -> None:
    handler, environment = careless
    handler.objects["/dir/a.dcm"] = CT
    host = environment["AWS_ENDPOINT"]
    ran = batches.run(f"{host}/dir/a.dcm", "out.dcm", "--to", "rle", cwd=tmp_path)
    assert ran == Ran(0, "", "")
    ran = batches.run("out.dcm", f"{host}/dir/b.dcm", "--to", "rle", cwd=tmp_path)
    assert ran.status == 2
    assert "places of http:// cannot be written" in ran.line


@pytest.mark.parametrize(
    ("scheme", "name"), [("s3", "dcmtx-source-etag"), ("gs", "dcmtx-source-etag"), ("az", "dcmtx_source_etag")]
)
def test_metadata_have_names_that_the_store_allows(scheme, name, monkeypatch: pytest.MonkeyPatch) -> None:
    from dcmtx.place import remote

    put: list[dict[str, str]] = []
    real = remote.library()
    fake = types.SimpleNamespace(exceptions=real.exceptions, put=lambda *_, attributes, **__: put.append(attributes))
    monkeypatch.setattr(remote, "library", lambda: fake)
    monkeypatch.setattr(remote, "located", lambda _: (None, "a.dcm"))
    remote.put(f"{scheme}://bucket/a.dcm", b"", clobber=True, attributes={"dcmtx-source-etag": "1"})
    assert put == [{name: "1"}]


def test_the_package_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command) -> None:
    import sys

    from dcmtx.place import remote

    remote._store.cache_clear()
    monkeypatch.setitem(sys.modules, "obstore", None)
    ran = command(url("a.dcm"), tmp_path / "out.dcm", "--to", "rle")
    assert ran.status == 4
    assert "pip install 'dcmtx[store]'" in ran.line
    remote._store.cache_clear()


def test_info_and_compare_look_into_stores(store: Store) -> None:
    store.put("look/a.dcm", CT)
    told = json.loads(run(store, "info", url("look/a.dcm"), "--json").out)
    assert told["path"] == url("look/a.dcm")
    assert told["bytes"] == len(CT)
    assert run(store, "compare", url("look/a.dcm"), url("look/a.dcm")).status == 0
