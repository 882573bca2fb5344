"""Shards from a store to a store: each object is made once, by its own run, or told."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import batches
import dicom
import pytest
from batches import image, need_proc, numbered
from stores import BUCKET, SERVERS, Store

from dcmtx.errors import OutputError

pytest.importorskip("obstore")
pytestmark = [need_proc, pytest.mark.timeout(180)]


# SeaweedFS takes its time to start.
EACH = [pytest.param(name, marks=[pytest.mark.long] * (name != "moto"), id=name) for name in SERVERS]


@pytest.fixture(scope="module", params=EACH)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with SERVERS[request.param]() as running:
        yield running


def url(key: str) -> str:
    return f"s3://{BUCKET}/{key}"


def run(store: Store, *words: Any, status: int = 0) -> str:
    ran = batches.run(*map(str, words), env=os.environ | store.environment)
    assert ran.status == status, ran.err
    assert "Traceback" not in ran.err
    return ran.out + ran.err


def test_shards_from_a_store_to_a_store(store: Store, tmp_path: Path) -> None:
    names = [*numbered(6), "with blanks/ä ö.dcm", "odd#?&+%20=.dcm"]
    for number, name in enumerate(names):
        store.put(f"in/{name}", image(number).encode())
    run(store, "plan", url("in/"), url("run"), "--shard-files", 4)
    run(store, "shard", url("run"), 0, "--out", url("out/"), "--to", "rle", "-j", 1)
    assert "not done: 1" in run(store, "report", url("run/"), status=9)
    # As a scheduler whose machine was lost runs it: the objects are there, the report is not.
    store.client.delete_object(Bucket=BUCKET, Key="run/done/000000.jsonl.gz")
    for number in (0, 1, 1):
        run(store, "shard", url("run"), number, "-j", 1)
    assert "8 files: 8 converted" in run(store, "report", url("run/"))
    assert store.keys("out/") == sorted(f"out/{name}" for name in names)
    for number, name in enumerate(names):
        (tmp_path / "a.dcm").write_bytes(store.get(f"out/{name}"))
        assert batches.decoded(tmp_path / "a.dcm") == (dicom.RLE, batches.values(number))
    about = store.client.head_object(Bucket=BUCKET, Key=f"out/{names[0]}")["Metadata"]
    assert about["dcmtx-source-etag"] == store.client.head_object(Bucket=BUCKET, Key=f"in/{names[0]}")["ETag"]
    assert about["dcmtx-pixels-sha256"] == batches.sha256(batches.values(0))
    assert not [key for key in store.keys("") if "probe" in key]
    assert "8 proven; 8 frames decoded" in run(store, "report", url("run/"), "--check", "100%")


def test_an_object_that_changed_and_one_of_somebody_else(store: Store) -> None:
    for number, name in enumerate("abc"):
        store.put(f"two/{name}", image(number).encode())
    run(store, "plan", url("two/"), url("run2/"))
    store.put("two/a", image(9).encode() + b"\0\0")
    store.put("out2/b", b"as it was")
    told = run(store, "shard", url("run2/"), 0, "--out", url("out2/"), "--to", "rle", "-j", 1, status=9)
    assert "it has changed since it was listed" in told
    assert "it exists, and may not be replaced" in told
    assert store.get("out2/b") == b"as it was"
    assert store.keys("out2/") == ["out2/b", "out2/c"]


def test_a_list_with_buckets_and_etags_is_planned(store: Store, tmp_path: Path) -> None:
    for number, name in enumerate(numbered(3)):
        store.put(f"three/{name}", image(number).encode())
    etag = store.client.head_object(Bucket=BUCKET, Key=f"three/{numbered(3)[0]}")["ETag"].strip('"')
    lines = [f"{BUCKET},three/{numbered(3)[0]},600,{etag}", f"{BUCKET},three/{numbered(3)[1]},,{etag}"]
    size = len(store.get(f"three/{numbered(3)[0]}"))
    (tmp_path / "i.csv").write_text("bucket,key,size,e_tag\n" + "\n".join(lines).replace(",600,", f",{size},"))
    run(store, "plan", url("three/"), tmp_path / "run3", "--from", tmp_path / "i.csv")
    told = run(store, "shard", tmp_path / "run3", 0, "--out", tmp_path / "out3", "--to", "rle", "-j", 1, status=9)
    # The second has the ETag of the first.
    assert "has changed" in told
    assert batches.names(tmp_path / "out3") == {numbered(3)[0]}


# --- a store that fails ------------------------------------------------------------------------------------------


class Puts:
    """What a store answers to each try to make an object: an error, or nothing for success."""

    def __init__(self, *answers: BaseException | None) -> None:
        self.answers = list(answers)

    def __call__(self, *_: object, clobber: bool, attributes: object) -> None:  # noqa: ARG002
        assert not clobber
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer


def fails(code: str, cause: BaseException) -> OutputError:
    error = OutputError("no", code=code, path=url("x"))
    error.__cause__ = cause
    return error


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> Any:
    from dcmtx.cluster import once

    monkeypatch.setattr(once, "_FIRST_WAIT", 0.0)
    return once


def put(once: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, puts: Puts, *, same: bool | None = None) -> None:
    from dcmtx.place import remote

    monkeypatch.setattr(remote, "put", puts)
    monkeypatch.setattr(once, "is_same_as", lambda *_: same)
    with (tmp_path / "x").open("w+b") as file:
        once.put_once(url("x"), file, {})
    assert puts.answers == []


def test_a_store_is_asked_again_after_a_passing_failure(once, monkeypatch, tmp_path) -> None:
    put(once, monkeypatch, tmp_path, Puts(fails("E_OUTPUT", RuntimeError("503")), None))


def test_a_conflict_of_two_writers_that_neither_won_is_tried_again(once, monkeypatch, tmp_path) -> None:
    put(once, monkeypatch, tmp_path, Puts(fails("E_EXISTS", FileExistsError()), None), same=None)


def test_an_object_of_the_same_bytes_is_ours(once, monkeypatch, tmp_path) -> None:
    put(once, monkeypatch, tmp_path, Puts(fails("E_EXISTS", FileExistsError())), same=True)


@pytest.mark.parametrize(
    ("error", "code", "tries"),
    [
        (lambda: fails("E_OUTPUT", RuntimeError("503")), "E_STORE", 3),
        (lambda: fails("E_OUTPUT", PermissionError()), "E_OUTPUT", 1),
        (lambda: fails("E_EXISTS", FileExistsError()), "E_EXISTS", 1),
    ],
    ids=["a store that goes on failing", "no permission", "somebody else's object"],
)  # fmt: skip
def test_what_does_not_pass_is_an_error(error, code, tries, once, monkeypatch, tmp_path) -> None:
    with pytest.raises(OutputError) as caught:
        put(once, monkeypatch, tmp_path, Puts(*(error() for _ in range(tries))), same=False)
    assert caught.value.code == code


def test_a_store_that_fails_leaves_no_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error of a part that stops is that of the shard: as if it had not been run."""
    from dcmtx.cluster.run import Run
    from dcmtx.cluster.shard import Asked, do_shard
    from dcmtx.transcoding.job import job

    batches.plant(tmp_path / "in", numbered(2))
    assert batches.run("plan", tmp_path / "in", tmp_path / "run").status == 0
    stop = {"stop": {"what": "503", "advice": "", "code": "E_STORE", "path": "s3://x/y", "status": 8}}
    line = json.dumps(stop).encode() + b"\n"
    part = f"import os, sys; sys.stdin.readline(); os.write(int(sys.argv[1]), {line!r})"
    asked = Asked([sys.executable, "-c", part], lambda *_: {}, 1)
    asks = job("-", str(tmp_path / "out"), to="rle", workers=1)
    with pytest.raises(OutputError) as caught:
        do_shard(Run(str(tmp_path / "run")), 0, asks, asked)
    assert (caught.value.code, caught.value.path) == ("E_STORE", "s3://x/y")
    assert not (tmp_path / "run" / "done").exists()


@pytest.mark.parametrize(("size", "most"), [(1000, 6), (40 << 20, 1), (1 << 30, 1)], ids=["small", "large", "giant"])
def test_what_is_fetched_ahead_is_bounded(size: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import ThreadPoolExecutor
    from contextlib import closing

    from dcmtx.cluster import part
    from dcmtx.cluster.entry import Entry
    from dcmtx.place.bytes import Memory

    opened: list[str] = []
    monkeypatch.setattr(Entry, "open", lambda self: opened.append(self.key) or Memory(b""))
    files = [(number, Entry(str(number), url(str(number)), size=size)) for number in range(20)]
    with ThreadPoolExecutor(4) as threads, closing(part._Fetched(files, threads)) as fetched:
        for number, entry in files:
            fetched.take(entry)
            assert number < len(opened) <= number + most
    assert set(opened) == {str(number) for number in range(20)}
