"""Files that are synced and put in place while others are converted: order, bounds, faults, and what `--sync` says."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dicom
import pytest
from batches import names, need_proc, numbered, parts, plant, run
from conftest import PATIENCE, Ran, contents, old_file, wait_until

from dcmtx.errors import DcmtxError
from dcmtx.place.atomic import AtomicSink, Postponing
from dcmtx.place.temporary import Unplaced, remove_stale
from dcmtx.pool import committer
from dcmtx.pool.committer import Committer, Fate

TESTS = Path(__file__).parent


def written(path: Path, data: bytes = b"new", **options: Any) -> Unplaced:
    """Return a file that is complete, and not in place."""
    with Postponing() as files, AtomicSink(os.fspath(path), **options) as sink:
        sink.write(data)
        sink.commit()
    (file,) = files
    return file


class System:
    """What is asked of the system, in order; its syncs of files wait while `gate` is not set."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.faults: dict[str, int] = {}
        self.meeting: threading.Barrier | None = None
        rename = os.rename
        patch.setattr(os, "fsync", self._fsync)

        def renamed(old: str, new: str) -> None:
            self.calls.append(f"rename {os.path.basename(new)}")
            rename(old, new)

        patch.setattr(os, "rename", renamed)

    def _fsync(self, descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        name = os.path.basename(path)
        if os.path.isdir(path):
            self.calls.append(f"sync directory {name}")
        else:
            assert self.gate.wait(PATIENCE)
            if self.meeting is not None:
                self.meeting.wait(PATIENCE)
            name = name.removeprefix(".").removesuffix(".dcmtx-part")
            self.calls.append(f"sync {name}")
        if name in self.faults:
            number = self.faults[name]
            raise OSError(number, os.strerror(number))


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    return System(monkeypatch)


class Fates:
    """What a committer reported, and what had been asked of the system by then."""

    def __init__(self, system: System) -> None:
        self.found: dict[int, Fate] = {}
        self.calls: list[list[str]] = []
        self._system = system

    def report(self, fates: list[tuple[int, Fate]]) -> None:
        self.calls.append(list(self._system.calls))
        for number, fate in fates:
            assert number not in self.found
            self.found[number] = fate


@pytest.fixture
def fates(system: System) -> Fates:
    return Fates(system)


@pytest.fixture
def placing(fates: Fates, system: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[Committer]:
    """A committer that waits for more files as long as a test may take, unless it is told to hurry."""
    monkeypatch.setattr(committer, "_LONGEST", PATIENCE)
    found = Committer(fates.report)
    yield found
    system.gate.set()
    found.settle()


@need_proc
def test_each_file_is_synced_before_it_is_renamed_and_reported_after_its_directory_is_synced(
    placing: Committer, fates: Fates, system: System, tmp_path: Path
) -> None:
    system.gate.clear()
    for number in range(3):
        placing.add(number, written(tmp_path / f"{number}", b"new %d" % number))
    assert parts(tmp_path) == [".0.dcmtx-part", ".1.dcmtx-part", ".2.dcmtx-part"]
    system.gate.set()
    placing.settle()
    assert sorted(system.calls[:-1]) == sorted(f"{what} {number}" for number in range(3) for what in ("sync", "rename"))
    assert all(system.calls.index(f"sync {n}") < system.calls.index(f"rename {n}") for n in range(3))
    assert system.calls[-1] == f"sync directory {tmp_path.name}"
    assert fates.calls == [system.calls]
    assert fates.found == {0: [], 1: [], 2: []}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        f"{number}": b"new %d" % number for number in range(3)
    }


@need_proc
def test_where_syncing_takes_long_several_files_are_synced_at_once(
    placing: Committer, fates: Fates, system: System, tmp_path: Path
) -> None:
    system.meeting = threading.Barrier(2)
    for number in range(8):
        placing.add(number, written(tmp_path / f"{number}"))
    placing.settle()
    assert fates.found == {number: [] for number in range(8)}
    assert len(list(tmp_path.iterdir())) == 8


@need_proc
def test_every_directory_is_synced(placing: Committer, system: System, tmp_path: Path) -> None:
    system.gate.clear()
    for number in range(4):
        placing.add(number, written(tmp_path / f"d{number % 2}" / f"{number}", parents=True))
    made = len(system.calls)
    system.gate.set()
    placing.settle()
    synced = sorted(call for call in system.calls[made:] if "directory" in call)
    assert synced == ["sync directory d0", "sync directory d1"]


@need_proc
def test_of_many_files_the_first_are_reported_before_the_last_are_written(
    placing: Committer, fates: Fates, tmp_path: Path
) -> None:
    count = committer.MOST_PLACED
    for number in range(count):
        placing.make_room(3)
        placing.add(number, written(tmp_path / f"{number}"))
    wait_until(lambda: len(fates.found) == count)


@need_proc
def test_a_file_is_reported_soon_even_if_no_other_follows_and_nobody_hurries(
    placing: Committer, fates: Fates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "_LONGEST", 0.01)
    placing.add(7, written(tmp_path / "file"))
    wait_until(lambda: fates.found == {7: []})


@pytest.mark.parametrize(("most", "value"), [("MOST_WAITING", 2), ("MOST_BYTES", 2 * 3)], ids=["files", "bytes"])
@need_proc
def test_what_waits_is_bounded(
    most: str, value: int, placing: Committer, system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, most, value)
    system.gate.clear()
    for number in range(2):
        placing.make_room(3)
        placing.add(number, written(tmp_path / f"{number}"))
    done = threading.Event()

    def third() -> None:
        placing.make_room(3)
        done.set()

    thread = threading.Thread(target=third)
    thread.start()
    # It cannot be known that something never happens; but it has begun to wait.
    assert not done.wait(0.05)
    system.gate.set()
    assert done.wait(PATIENCE)
    thread.join()


@need_proc
def test_a_file_larger_than_the_bound_waits_alone(
    placing: Committer, fates: Fates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "MOST_BYTES", 10)
    for number in range(2):
        placing.make_room(100)
        placing.add(number, written(tmp_path / f"{number}", bytes(100)))
    placing.settle()
    assert fates.found == {0: [], 1: []}


@need_proc
def test_without_a_thread_each_file_is_put_in_place_at_once(
    placing: Committer, fates: Fates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("dcmtx.pool.committer._thread.start_new_thread", refuse)
    for number in range(3):
        placing.add(number, written(tmp_path / f"{number}"))
        assert fates.found == {key: [] for key in range(number + 1)}


FAULTS = {"the disk is full": (errno.ENOSPC, "E_DISK_FULL"), "the disk is broken": (errno.EIO, "E_OUTPUT")}


@pytest.mark.parametrize(("number", "code"), FAULTS.values(), ids=FAULTS.keys())
@need_proc
def test_a_fault_is_that_of_its_file_which_stays_as_it_was(
    number: int, code: str, placing: Committer, fates: Fates, system: System, tmp_path: Path
) -> None:
    old_file(tmp_path / "1")
    before = contents(tmp_path)["1"]
    system.faults["1"] = number
    system.gate.clear()
    for index in range(3):
        placing.add(index, written(tmp_path / f"{index}"))
    system.gate.set()
    placing.settle()
    error = fates.found.pop(1)
    assert isinstance(error, DcmtxError)
    assert (error.code, error.path) == (code, os.fspath(tmp_path / "1"))
    assert os.strerror(number) in str(error)
    assert fates.found == {0: [], 2: []}
    assert contents(tmp_path)["1"] == before
    assert parts(tmp_path) == []


@need_proc
def test_a_directory_that_cannot_be_synced_is_a_note_of_its_files(
    placing: Committer, fates: Fates, system: System, tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    system.faults["broken"] = errno.EIO
    for index, path in enumerate([tmp_path / "broken" / "a", tmp_path / "b", tmp_path / "broken" / "c"]):
        placing.add(index, written(path))
    placing.settle()
    told = {index: [note.code for note in fate] for index, fate in fates.found.items() if isinstance(fate, list)}
    assert told == {0: ["N_NOT_SYNCED"], 1: [], 2: ["N_NOT_SYNCED"]}


@need_proc
def test_a_name_that_was_taken_meanwhile_is_kept_under_no_clobber(
    placing: Committer, fates: Fates, tmp_path: Path
) -> None:
    file = written(tmp_path / "name", clobber=False)
    old_file(tmp_path / "name")
    placing.add(0, file)
    placing.settle()
    error = fates.found[0]
    assert isinstance(error, DcmtxError)
    assert error.code == "E_EXISTS"
    assert (tmp_path / "name").read_bytes() == b"what was here before"
    assert parts(tmp_path) == []


def test_a_file_whose_job_fails_after_it_was_written_is_discarded(tmp_path: Path) -> None:
    old_file(tmp_path / "name")
    with pytest.raises(MemoryError), Postponing(), AtomicSink(os.fspath(tmp_path / "name")) as sink:  # noqa: PT012
        sink.write(b"new")
        sink.commit()
        raise MemoryError
    assert os.listdir(tmp_path) == ["name"]
    assert (tmp_path / "name").read_bytes() == b"what was here before"


# --- after the writer's death ------------------------------------------------------------------------------------


def left_by_the_dead(path: Path, **options: Any) -> Unplaced:
    """Return a complete file as another process gets to know it, whose writer has died."""
    import pickle

    file = written(path, **options)
    sent = pickle.dumps(file)
    file.close()
    received: Unplaced = pickle.loads(sent)
    return received


@pytest.mark.parametrize("clobber", [True, False])
def test_a_file_is_put_in_place_for_a_writer_that_died(clobber: bool, dst: Path) -> None:
    assert left_by_the_dead(dst, clobber=clobber).rescue() == []
    assert dst.read_bytes() == b"new"
    assert parts(dst.parent) == []


def test_a_file_gets_the_mode_of_the_one_that_it_replaces_by_a_rescue_too(dst: Path) -> None:
    old_file(dst)
    assert left_by_the_dead(dst).rescue() == []
    assert (dst.read_bytes(), dst.stat().st_mode & 0o777) == (b"new", 0o640)


@pytest.mark.parametrize("by", [os.rename, os.link], ids=["renamed", "linked"])
def test_a_file_that_was_in_place_already_is_done(by: Callable[[Path, Path], None], dst: Path) -> None:
    file = left_by_the_dead(dst)
    by(dst.parent / f".{dst.name}.dcmtx-part", dst)
    assert file.is_placed
    assert file.rescue() == []
    assert dst.read_bytes() == b"new"
    assert parts(dst.parent) == []


def test_a_file_that_somebody_removed_is_told_of(dst: Path) -> None:
    old_file(dst)
    file = left_by_the_dead(dst)
    assert remove_stale(os.fspath(dst.parent / f".{dst.name}.dcmtx-part"))
    # What has its name by now is another's.
    (dst.parent / f".{dst.name}.dcmtx-part").write_bytes(b"others")
    assert file.rescue() is None
    assert dst.read_bytes() == b"what was here before"
    assert (dst.parent / f".{dst.name}.dcmtx-part").read_bytes() == b"others"


# --- in a pool -----------------------------------------------------------------------------------------------------

BEGINNING = """
import os, signal, sys, time
from dcmtx.errors import DcmtxError
from dcmtx.place.atomic import AtomicSink, Postponing
from dcmtx.pool import worker
from dcmtx.pool.workers import Pool

os.chdir(sys.argv[1])

def count(word):
    with open("log", "a") as log:
        log.write(word + "\\n")

def counted(word):
    return open("log").read().split().count(word) if os.path.exists("log") else 0

def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)

def finish(result, fate):
    if isinstance(fate, DcmtxError):
        return f"{result} {fate.code}"
    return f"{result} in place" + "".join(f" ({note.code})" for note in fate)

real = os.fsync

def write(name):
    count(f"wrote-{name}")
    with Postponing() as files, AtomicSink(name) as sink:
        sink.write(name.encode())
        sink.commit()
    return worker.Later(files[0], name, finish)

def show(pool, *tasks):
    for task in tasks:
        pool.submit(task)
    for task, result in sorted(pool.results(wait_for_all=True)):
        print(result if isinstance(result, str) else f"{task} {result.code}")
    print(*sorted(name for name in os.listdir() if name != "log"))
"""

# A program, and what it prints: results, and the files there are.
PROGRAMS = {
    "results follow when files are in place": (
        """
with Pool(write, 2) as pool:
    show(pool, "a", "b", "c")
""",
        "a in place\nb in place\nc in place\na b c\n",
    ),
    "one job at a time is reported without another that follows": (
        """
with Pool(write, 1) as pool:
    for name in "abc":
        show(pool, name)
""",
        "a in place\na\nb in place\na b\nc in place\na b c\n",
    ),
    "a crash costs no file that was written before": (
        """
def work(name):
    if name == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    os.fsync = lambda fd: time.sleep(1000)
    return write(name)
with Pool(work, 1) as pool:
    show(pool, "a", "crash")
print(counted("wrote-a"))
""",
        "a in place\ncrash E_CRASH\na\n1\n",
    ),
    "a file that was in place before the crash is not written again": (
        """
def sync(fd):
    if os.path.isdir(f"/proc/self/fd/{fd}"):
        count("syncs")
        time.sleep(1000)
    real(fd)
def work(name):
    if name == "crash":
        until(lambda: counted("syncs"))
        os.kill(os.getpid(), signal.SIGKILL if counted("again") else signal.SIGSEGV)
    os.fsync = sync
    return write(name)
with Pool(work, 1) as pool:
    show(pool, "a", "crash")
print(counted("wrote-a"))
""",
        "a in place\ncrash E_CRASH\na\n1\n",
    ),
    "a file that vanished with its worker is written again": (
        """
def work(name):
    if name == "crash":
        os.unlink(".a.dcmtx-part")
        os.kill(os.getpid(), signal.SIGSEGV)
    if counted("wrote-a") == 0:
        os.fsync = lambda fd: time.sleep(1000)
    return write(name)
with Pool(work, 1) as pool:
    show(pool, "a", "crash")
print(counted("wrote-a"))
""",
        "a in place\ncrash E_CRASH\na\n2\n",
    ),
    "a disk that hangs fails its file after the timeout and another worker goes on": (
        """
from dcmtx.pool import workers
late = 0
class Clock:
    def monotonic(self):
        return time.monotonic() + late
def hang(fd):
    count("hanging")
    time.sleep(1000)
def work(name):
    if name == "hangs":
        os.fsync = hang
    return write(name)
open("hangs", "w").close()
workers.time = Clock()
with Pool(work, 1, timeout=900) as pool:
    pool.submit("hangs")
    while not (counted("hanging") and pool._workers[0].written):
        pool.step(0.01)
    late = 1000
    pool.submit("b")
    found = []
    while len(found) < 2:
        pool.step(0.01)
        found += [result for _, result in pool.finished()]
    print(*sorted(found))
print(os.path.getsize("hangs"), os.path.getsize("b"))
""",
        "b in place hangs E_TIMEOUT\n0 1\n",
    ),
    "a pool that is stopped puts in place what was written": (
        """
def work(name):
    if name == "waits":
        count("waits")
        time.sleep(1000)
    os.fsync = lambda fd: time.sleep(1000)
    return write(name)
with Pool(work, 1) as pool:
    pool.submit("a")
    pool.submit("waits")
    pool.submit("never")
    while not counted("waits"):
        pool.step(0.01)
    print(pool.stop())
    print(list(pool.finished()))
print(*sorted(os.listdir()))
""",
        "['never', 'waits']\n[('a', 'a in place')]\na log\n",
    ),
    "what a finished file takes is given back": (
        """
with Pool(write, 1) as pool:
    show(pool, *"abcdefgh")
    before = len(os.listdir(f"/proc/{pool._workers[0].child.pid}/fd"))
    show(pool, *"abcdefgh")
    print(len(os.listdir(f"/proc/{pool._workers[0].child.pid}/fd")) - before)
    # Its other thread ends when there is nothing to do.
    until(lambda: len(os.listdir(f"/proc/{pool._workers[0].child.pid}/task")) == 1)
""",
        "".join(f"{name} in place\n" for name in "abcdefgh")
        + "a b c d e f g h\n"
        + "".join(f"{name} in place\n" for name in "abcdefgh")
        + "a b c d e f g h\n0\n",
    ),
}


@need_proc
@pytest.mark.skipif(sys.platform != "linux", reason="the programs read /proc and fork")
@pytest.mark.parametrize(("program", "expected"), PROGRAMS.values(), ids=PROGRAMS.keys())
def test_in_a_pool(program: str, expected: str, tmp_path: Path) -> None:
    line = [sys.executable, "-c", BEGINNING + program, os.fspath(tmp_path)]
    ran = subprocess.run(line, capture_output=True, text=True, cwd=TESTS, timeout=PATIENCE, check=False)
    assert (ran.stdout, ran.stderr, ran.returncode) == (expected, "", 0)


# --- what is asked for -----------------------------------------------------------------------------------------------

ASKED = {"batch": ["file", "directory"], "always": ["file", "directory"], "none": []}


@pytest.mark.parametrize("target", ["rle", "explicit"], ids=["converted", "copied"])
@pytest.mark.parametrize(("word", "synced"), ASKED.items(), ids=ASKED.keys())
def test_a_single_file_is_synced_as_it_is_asked(
    word: str, synced: list[str], target: str, tmp_path: Path, command: Callable[..., Ran], monkeypatch: Any
) -> None:
    found: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: found.append("directory" if _is_directory(fd) else "file"))
    (tmp_path / "in.dcm").write_bytes(dicom.Image(bytes(128), 8, 8).encode())
    assert command(tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", target, "--sync", word) == Ran(0, "", "")
    assert found == synced


def _is_directory(descriptor: int) -> bool:
    return os.path.isdir(f"/proc/self/fd/{descriptor}") if os.path.isdir("/proc/self/fd") else False


@pytest.mark.parametrize("word", ASKED)
def test_a_batch_is_the_same_however_it_is_synced(word: str, tmp_path: Path) -> None:
    plant(tmp_path / "in", numbered(50))
    ran = run(tmp_path / "in", tmp_path / "out", "--to", "rle", "--sync", word, "-j", "2")
    assert ran.status == 0, ran
    assert "50 converted" in ran.err
    assert len(names(tmp_path / "out")) == 50
    assert parts(tmp_path / "out") == []
