"""Plans, shards and reports: what any scheduler may run, twice or at once, leaves what one run leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import batches
import dicom
import pytest
from batches import Batch, image, need_proc, numbered
from clusters import MOODY, all_rows, assert_whole, dcmtx, moody, plant, rows
from conftest import Ran
from fake_codecs import Mood, Stage

from dcmtx.cluster.entry import Entry
from dcmtx.cluster.plan import GIANT, sharded
from dcmtx.errors import DcmtxError, OutputError

pytestmark = [need_proc, pytest.mark.timeout(180)]

Fails = Callable[..., str]


class Place:
    """A source, a run, a destination, and dcmtx there."""

    def __init__(self, directory: Path, command: Callable[..., Ran]) -> None:
        self.directory, self.dcmtx = directory, command
        self.source, self.run, self.out = directory / "in", directory / "run", directory / "out"

    def plan(self, *words: Any, status: int = 0) -> str:
        ran = self.dcmtx("plan", self.source, self.run, *map(str, words))
        assert ran.status == status, ran.err
        return ran.err

    def shard(self, number: int, *words: Any, status: int = 0, **options: Any) -> str:
        words = words or ("--to", "rle")
        line = ["shard", self.run, number, "--out", self.out, "-j", 1, *words]
        ran = dcmtx(*line, **options) if options else self.dcmtx(*map(str, line))
        assert ran.status == status, ran.err
        assert "Traceback" not in ran.err
        return ran.err


@pytest.fixture
def place(tmp_path: Path, command: Callable[..., Ran]) -> Place:
    return Place(tmp_path, command)


@pytest.fixture
def done(place: Place) -> Place:
    """A run of one shard, which is done."""
    plant(place.source, 2)
    place.plan()
    place.shard(0)
    return place


# --- one after another -------------------------------------------------------------------------------------------


def test_shards_make_what_a_batch_makes_byte_for_byte(place: Place, tmp_path: Path) -> None:
    names = plant(place.source, 8)
    (place.source / "text").write_text("no DICOM here")
    (place.source / "empty").write_bytes(b"")
    assert "10 files" in place.plan("--shard-files", 4)
    assert json.loads((place.run / "plan" / "COMPLETE").read_text())["shards"] == 3
    place.shard(1)
    report = place.dcmtx("report", place.run)
    assert report.status == 9
    assert "not done: 0,2" in report.out
    for number in (0, 2):
        assert place.dcmtx("shard", place.run, f"{number:06}").status == 0
    report = place.dcmtx("report", place.run)
    assert (report.status, report.out.splitlines()[0]) == (0, "3 of 3 shards done, 10 files: 8 converted, 2 skipped")
    assert place.dcmtx(place.source, tmp_path / "batch", "--to", "rle").status == 0
    for name in names:
        assert (place.out / name).read_bytes() == (tmp_path / "batch" / name).read_bytes()
    assert batches.names(place.out) == set(names)
    assert {row["pixels_sha256"] for row in all_rows(place.run)} >= {batches.sha256(batches.values(3))}


def test_a_shard_done_again_changes_nothing(place: Place) -> None:
    plant(place.source, 3)
    place.plan()
    place.shard(0)
    before = {path: path.stat().st_mtime_ns for path in place.directory.rglob("*")}
    assert "shard 0: done before, nothing converted now: 3 converted\n" in place.shard(0)
    assert {path: path.stat().st_mtime_ns for path in place.directory.rglob("*")} == before


def test_a_shard_whose_files_are_gone_says_that_it_was_done_before(done: Place) -> None:
    shutil.rmtree(done.out)
    assert "shard 0: done before, nothing converted now: 2 converted\n" in done.shard(0)
    assert not done.out.exists()
    assert done.dcmtx("report", done.run, "--check", "1%").status == 7


def test_two_at_once_leave_what_one_leaves(place: Place) -> None:
    names = plant(place.source, 6)
    place.plan()
    words = ["shard", place.run, "0", "--out", place.out, "--to", "rle", "-j", "1"]
    with Batch(*words) as one, Batch(*words) as other:
        for batch in (one, other):
            ran = batch.end()
            assert ran.status == 0, ran.err
    assert_whole(place.run, place.out, names)


def test_what_was_made_without_a_report_is_known_again(place: Place) -> None:
    names = plant(place.source, 4)
    place.plan()
    place.shard(0)
    shutil.rmtree(place.run / "done")
    (place.out / names[3]).unlink()
    place.shard(0)
    assert_whole(place.run, place.out, names)
    notes = [[note["code"] for note in row["notes"]] for row in rows(place.run, 0)]
    assert sum("N_DONE_BEFORE" in found for found in notes) == 3


def test_another_file_at_the_destination_stays(place: Place) -> None:
    names = plant(place.source, 2)
    place.plan()
    stranger = place.out / names[0]
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"as it was")
    place.shard(0, status=9)
    assert stranger.read_bytes() == b"as it was"
    assert [(row["error"] or {}).get("code") for row in rows(place.run, 0)] == ["E_EXISTS", None]
    # A shard that is done has the same status for ever.
    place.shard(0, status=9)


def test_a_source_that_has_changed_since_the_plan_is_not_converted(place: Place) -> None:
    names = plant(place.source, 3)
    place.plan()
    (place.source / names[0]).write_bytes(image(77).encode() + b"\0\0")
    (place.source / names[1]).unlink()
    place.shard(0, status=9)
    codes = {row["source"]: (row["error"] or {}).get("code") for row in rows(place.run, 0)}
    assert [codes[str(place.source / name)] for name in names] == ["E_CHANGED", "E_MISSING", None]
    assert batches.names(place.out) == {names[2]}


def test_one_file_has_its_own_status(place: Place) -> None:
    plant(place.source, 1)
    place.plan()
    (place.source / numbered(1)[0]).unlink()
    place.shard(0, status=3)


# --- refused -----------------------------------------------------------------------------------------------------


def test_a_run_holds_one_request(place: Place) -> None:
    plant(place.source, 2)
    assert "no complete plan" in place.shard(0, status=3)
    place.plan("--shard-files", 1)
    assert "nothing is asked of the run yet" in place.dcmtx("shard", place.run, "0").err
    place.shard(0)
    for words, what in (
        (["--to", "jpegls"], "rle, not jpegls"),
        (["--to", "rle", "--uid", "new"], "uid auto, not new"),
    ):
        assert what in place.shard(1, *words, status=2)
    ran = place.dcmtx("shard", place.run, "1", "--out", place.directory / "elsewhere", "--to", "rle")
    assert (ran.status, "other options: dst" in ran.err) == (2, True)
    assert "no shard 2" in place.shard(2, status=2)
    assert "no number" in place.shard("two", status=2)  # type: ignore[arg-type]
    assert "no --out" in place.dcmtx("shard", place.run, "1", "--to", "rle").err


def test_other_versions_are_refused(place: Place) -> None:
    plant(place.source, 2)
    place.plan("--shard-files", 1)
    place.shard(0)
    job = place.run / "job.json"
    form = json.loads(job.read_text())
    job.write_text(json.dumps(form | {"versions": form["versions"] | {"imagecodecs": "1.0"}}))
    assert "begun by other versions: imagecodecs 1.0, here" in place.shard(1, status=2)


def test_a_plan_is_made_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(place.source, 4)
    place.plan("--shard-files", 2)
    assert "has a plan" in place.plan(status=8)
    # As if it had been stopped: the same is gone on with, something else is refused.
    (place.run / "plan" / "COMPLETE").unlink()
    (place.run / "plan" / "000001.jsonl").unlink()
    assert "unfinished plan of something else" in place.plan("--shard-files", 1, status=8)
    place.plan("--shard-files", 2)


def test_nothing_to_plan_is_an_error(place: Place) -> None:
    assert "no such directory" in place.plan(status=3)
    place.source.mkdir()
    assert "nothing in it" in place.plan(status=3)
    assert not place.run.exists()
    plant(place.source, 1)
    ran = place.dcmtx("plan", place.source / numbered(1)[0], place.run)
    assert (ran.status, "is one file" in ran.err) == (2, True)
    assert place.dcmtx("plan", place.source, place.source).status == 2


def test_a_run_below_its_source_is_no_part_of_it(place: Place) -> None:
    names = plant(place.source, 2)
    place.run = place.source / "run"
    place.plan()
    place.shard(0)
    assert_whole(place.run, place.out, names)


# --- what is planned -----------------------------------------------------------------------------------------------

LISTS = {
    "keys.txt": lambda names, _: "".join(f"{name}\n" for name in names),
    "paths.txt": lambda names, source: "".join(f"{source / name}\r\n" for name in names),
    "list.csv": lambda names, _: "Size,Key\n" + "".join(f'{9},"{name}"\n' for name in names),
    "list.jsonl": lambda names, _: "".join(json.dumps({"path": name}) + "\n" for name in names),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_planned_in_its_order(name: str, place: Place) -> None:
    names = plant(place.source, 5)
    wanted = [names[3], names[0]]
    (place.directory / name).write_text(LISTS[name](wanted, place.source))
    place.plan("--from", place.directory / name)
    place.shard(0)
    assert batches.names(place.out) == set(wanted)
    assert [row["source"] for row in rows(place.run, 0)] == [str(place.source / name) for name in wanted]


def test_an_inventory_in_parquet_is_planned(place: Place) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    names = plant(place.source, 3)
    table = arrow.table({"key": names[1:], "size": [1, 2], "last_modified_date": ["x", "y"]})
    parquet.write_table(table, place.directory / "i.parquet")
    place.plan("--from", place.directory / "i.parquet")
    place.shard(0)
    assert batches.names(place.out) == set(names[1:])


BAD_LISTS = {
    "name.csv": ("Size,Nothing\n1,2\n", "entry 1 of it has no name"),
    "away.txt": ("/etc/passwd\n", "is not below"),
    "out.txt": ("a\n../bad.dcm\n", "entry 2 of it, ../bad.dcm, leads out of"),
    "within.txt": ("a/../../in/b\n", "entry 1 of it, a/../../in/b, leads out of"),
    "out.jsonl": ('{"key": "a/.."}\n', "entry 1 of it, a/.., leads out of"),
    "none.txt": ("\n", "nothing in it"),
    "cut.jsonl": ('{"path": "0.dcm"}\n{"path": "1', "its last line is cut off"),
}


@pytest.mark.parametrize("name", BAD_LISTS)
def test_a_list_that_says_nothing_is_refused(name: str, place: Place) -> None:
    plant(place.source, 1)
    (place.directory / name).write_text(BAD_LISTS[name][0])
    assert BAD_LISTS[name][1] in place.plan("--from", place.directory / name, status=3)


def test_an_absolute_name_does_not_lead_out_of_the_source(place: Place) -> None:
    plant(place.source, 1)
    (place.directory / "bad.dcm").write_bytes(image(9).encode())
    (place.directory / "keys.txt").write_text(f"{place.source}/../bad.dcm\n")
    assert "leads out of" in place.plan("--from", place.directory / "keys.txt", status=3)
    assert not place.run.exists()


def test_a_file_that_is_named_twice_is_planned_once(place: Place) -> None:
    names = plant(place.source, 2)
    ways = [names[0], names[1], names[0], f"./{names[0]}", f"{place.source}//{names[1]}"]
    (place.directory / "keys.txt").write_text("".join(f"{way}\n" for way in ways))
    told = place.plan("--from", place.directory / "keys.txt")
    assert "keys.txt: note: 3 of its names are there already; each file is planned once" in told
    assert "2 files" in told
    place.shard(0)
    assert [row["source"] for row in rows(place.run, 0)] == [str(place.source / name) for name in names]


def test_what_is_one_file_is_named_once(place: Place, fails: Fails) -> None:
    plant(place.source, 1)
    path = place.source / numbered(1)[0]
    assert fails(2, "plan", path, place.run).startswith(f"dcmtx: {path}: it is one file; a plan is of a directory")


ODD = ["with blanks/ä ö.dcm", "-x.dcm", "a#?&+%20=.dcm", "new\nline.dcm", os.fsdecode(b"latin-\xe4.dcm")]


@pytest.mark.parametrize("verb", ["report", "shard", "plan"])
@pytest.mark.parametrize(
    ("name", "said"), [("a.dcm", "it is no directory; name"), ("a.dcm/run", "it cannot be read: Not a directory")]
)
def test_a_file_is_no_run_and_is_named(verb: str, name: str, said: str, place: Place, fails: Fails) -> None:
    plant(place.source, 1)
    path = place.directory / "a.dcm"
    path.write_bytes(image().encode())
    run = place.directory / name
    words = {"report": [run], "shard": [run, "0", "--out", place.out, "--to", "rle"], "plan": [place.source, run]}
    told = fails(3, verb, *words[verb])
    assert told.startswith(f"dcmtx: {path}")
    assert said in told


def test_odd_names_are_names(place: Place) -> None:
    batches.plant(place.source, ODD)
    place.plan()
    place.shard(0)
    assert batches.names(place.out) == set(ODD)


def test_a_name_leads_to_no_place_outside_the_destination(place: Place) -> None:
    plant(place.source, 1)
    (place.directory / "bad.dcm").write_bytes(image(9).encode())
    place.plan()
    plan = place.run / "plan" / "000000.jsonl"
    bad = Entry("../bad.dcm", str(place.directory / "bad.dcm"))
    plan.write_bytes(bad.to_line() + plan.read_bytes())
    assert "its name leads out of the destination; it is not converted" in place.shard(0, status=9)
    assert [(row["error"] or {}).get("code") for row in rows(place.run, 0)] == ["E_NAME", None]
    assert batches.names(place.out) == {numbered(1)[0]}


def test_shards_are_bounded_and_giants_alone() -> None:
    sizes = [3, 3, GIANT, 3, 3, 20, 1, 1, 1, 1, None]
    entries = [Entry(str(number), "", size=size) for number, size in enumerate(sizes)]
    found = [[entry.size for entry in shard] for shard in sharded(entries, 10, 3)]
    assert found == [[GIANT], [3, 3, 3], [3], [20], [1, 1, 1], [1, None]]


# --- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mood", "workers"), [(Mood.SEGFAULT, 1), (Mood.EXIT, 2)], ids=["SEGFAULT", "EXIT"])
def test_a_file_that_ends_its_process_fails_alone(mood: Mood, workers: int, place: Place, tmp_path: Path) -> None:
    names = plant(place.source, 7, {4: mood})
    place.plan()
    place.shard(0, *MOODY, "-j", workers, status=9, env=moody(tmp_path))
    codes = {row["source"]: (row["error"] or {}).get("code") for row in rows(place.run, 0)}
    bad = str(place.source / names[4])
    assert codes.pop(bad) == "E_CRASH"
    assert set(codes.values()) == {None}
    assert batches.names(place.out) == set(names) - {names[4]}


def test_a_file_that_hangs_fails_alone(place: Place, tmp_path: Path) -> None:
    plant(place.source, 1, {0: Mood.SLEEP})
    place.plan()
    place.shard(0, *MOODY, "--timeout", "1", status=6, env=moody(tmp_path))
    assert [row["error"]["code"] for row in rows(place.run, 0)] == ["E_TIMEOUT"]
    assert batches.names(place.out) == set()


@pytest.mark.parametrize("whole", [False, True], ids=["a part", "the shard"])
def test_a_process_that_is_killed_costs_no_file(whole: bool, place: Place, tmp_path: Path) -> None:
    names = plant(place.source, 5, {2: Mood.HELD})
    place.plan()
    environment = moody(tmp_path)
    stage = Stage(tmp_path / "stage")
    words = ["shard", str(place.run), "0", "--out", str(place.out), "-j", "1", *MOODY]
    with Batch(*words, env=environment) as batch:
        batch.wait_for(lambda: stage.waiting)
        (part,) = batch.children(batch.process.pid)
        os.kill(batch.process.pid if whole else part, signal.SIGKILL)
        if not whole:
            batch.wait_for(lambda: stage.counted("held") > 1)
        stage.admit()
        ran = batch.end()
        assert ran.status == (-signal.SIGKILL if whole else 0)
    if whole:
        assert not (place.run / "done").exists()
        place.shard(0, *MOODY, env=environment)
    assert batches.names(place.out) == set(names)
    assert {row["status"] for row in rows(place.run, 0)} == {"converted"}


def test_a_full_disk_leaves_the_shard_for_another_time(place: Place) -> None:
    from dcmtx.cluster import part

    plant(place.source, 1)
    entry = Entry("a", str(place.source / numbered(1)[0]))
    from dcmtx.transcoding.job import job

    def full(*_: object) -> None:
        raise OutputError("no room", code="E_DISK_FULL")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part, "run", full)
        order = part.Order(job("-", str(place.out), to="rle", workers=1), [(0, entry)])
        with pytest.raises(DcmtxError, match="no room"):
            list(part.convert(part.order_from(order.to_line())))


# --- reports -----------------------------------------------------------------------------------------------------


def test_a_report_as_a_table_is_one_for_the_audit(place: Place) -> None:
    pytest.importorskip("pyarrow")
    plant(place.source, 6)
    place.plan("--shard-files", 2)
    for number in range(3):
        place.shard(number)
    table = place.directory / "all.parquet"
    told = place.dcmtx("report", place.run, "--json", "--parquet", table)
    assert told.status == 0
    form = json.loads(told.out)
    assert (form["shards"], form["done"], form["missing"], form["files"], form["failed"]) == (3, 3, "", 6, 0)
    assert place.dcmtx("audit", table, place.out, "--pixels").status == 0
    (place.run / "done" / "000001.jsonl.gz").write_bytes(b"damaged")
    ran = place.dcmtx("report", place.run)
    assert (ran.status, "the report is damaged" in ran.err) == (3, True)


def test_a_table_replaces_the_one_of_an_earlier_call(done: Place) -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = done.directory / "all.parquet"
    table.write_bytes(b"")
    for _ in range(2):
        assert done.dcmtx("report", done.run, "--parquet", table).status == 0
        assert parquet.read_metadata(table).num_rows == 2


NO_TABLES = {
    "an image": lambda _, path: path.write_bytes(image().encode()),
    "a link to a source": lambda place, path: path.symlink_to(place.source / numbered(1)[0]),
    "a table of something else": lambda _, path: _table(path),
    "a directory": lambda _, path: path.mkdir(),
}


def _table(path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"key": ["a"]}), path)


@pytest.mark.parametrize("make", NO_TABLES.values(), ids=NO_TABLES)
def test_what_is_no_report_is_no_place_for_a_table(make: Callable[..., object], done: Place, fails: Fails) -> None:
    pytest.importorskip("pyarrow")
    table = done.directory / "all.parquet"
    make(done, table)
    assert "exists and is no report" in fails(2, "report", done.run, "--parquet", table)


@pytest.mark.parametrize("name", ["job.json", "plan/COMPLETE", "done/000000.jsonl.gz", "-"])
def test_a_table_has_a_name_of_tables(name: str, done: Place, fails: Fails) -> None:
    path = name if name == "-" else done.run / name
    assert "whose name does not end in .parquet" in fails(2, "report", done.run, "--parquet", path)


def test_a_table_needs_its_directory(done: Place, fails: Fails) -> None:
    pytest.importorskip("pyarrow")
    table = done.directory / "none" / "all.parquet"
    assert f"there is no directory {table.parent}" in fails(8, "report", done.run, "--parquet", table)


def test_a_table_that_cannot_be_written_is_one_line(done: Place, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    arrow = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(arrow, "ParquetWriter", lambda *_, **__: os.stat(done.directory / "none"))
    table = done.directory / "all.parquet"
    line = fails(8, "report", done.run, "--parquet", table)
    assert line == f"dcmtx: {table}: the report cannot be written: No such file or directory"


def test_what_was_written_is_decoded_again(place: Place) -> None:
    names = plant(place.source, 6)
    place.plan("--shard-files", 2)
    for number in range(3):
        place.shard(number)
    ran = place.dcmtx("report", place.run, "--check", "100%")
    assert (ran.status, "6 files: 6 proven; 6 frames decoded" in ran.err) == (0, True)
    # Another value of pixels, in a file of the same length: the byte behind the first code of the first segment.
    path = place.out / names[2]
    data = bytearray(path.read_bytes())
    (fragment,) = dicom.walk(bytes(data)).fragments
    data[data.index(fragment) + 64 + 1] ^= 1
    path.write_bytes(data)
    ran = place.dcmtx("report", place.run, "--check", "100%", "--json")
    assert (ran.status, json.loads(ran.out)["checked"]["changed"]) == (7, 1)
    assert f"changed: {path}" in ran.err
    path.unlink()
    assert place.dcmtx("report", place.run, "--check", "1%").status == 7


def test_a_shard_needs_no_dask(place: Place) -> None:
    plant(place.source, 1)
    place.plan()
    program = "import sys; sys.modules['distributed'] = None\nfrom dcmtx.__main__ import main; main()"
    words = ["shard", place.run, "0", "--out", place.out, "--to", "rle"]
    assert subprocess.run([sys.executable, "-c", program, *words], check=False, timeout=100).returncode == 0
    words = [place.source, place.out, "--to", "rle", "--cluster", "local", "--run", place.run]
    ran = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert (ran.returncode, "pip install 'dcmtx[cluster]'" in ran.stderr) == (4, True)
    assert dicom.walk((place.out / numbered(1)[0]).read_bytes()).syntax == dicom.RLE
