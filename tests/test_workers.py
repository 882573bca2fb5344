"""Workers that die, hang or eat memory; a batch that is interrupted or killed; a destination that takes no more."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import dicom
import fake_codecs
import pytest
from batches import (
    PART,
    Batch,
    Terminal,
    assert_converted,
    by_source,
    decoded,
    image,
    names,
    need_proc,
    numbered,
    parts,
    plant,
    records,
)
from conftest import Ran, contents, modes_bind, need_tool, wait_until
from fake_codecs import Mood, Stage

from dcmtx.errors import DcmtxError
from dcmtx.pool import forkserver, workers
from dcmtx.pool.worker import limit_memory
from dcmtx.pool.workers import Pool

pytestmark = [need_proc, pytest.mark.timeout(300)]

PROGRAM = (fake_codecs.__file__,)
TESTS = Path(__file__).parent


def moody(directory: Path, mood: Mood, count: int = 1) -> None:
    """Write files of a mood."""
    for number in range(count):
        (directory / f"{mood.name.lower()}-{number}").write_bytes(fake_codecs.image(mood, number).encode())


def run(*arguments: str | os.PathLike[str], **options: Any) -> Ran:
    """Run a batch with the fake encoder to its end."""
    with Batch(*arguments, program=PROGRAM, **options) as batch:
        return batch.end()


# --- codecs that misbehave -------------------------------------------------------------------------------------

BAD = {
    Mood.SEGFAULT: ("E_CRASH", "SIGSEGV"),
    Mood.ABORT: ("E_CRASH", "SIGABRT"),
    Mood.EAT: ("E_CODEC", "memory"),
    Mood.RAISE: ("E_CODEC", "I do not like this frame"),
    Mood.PANIC: ("E_CODEC", "I never thought of this"),
    Mood.EXIT: ("E_CRASH", "status 0"),
}
# By a clock that nothing but these moves: all that is under way is late then, so they are taken one by one.
HANGING = {
    Mood.SLEEP: ("E_TIMEOUT", "longer than the 0.2 s"),
    Mood.LOOP: ("E_TIMEOUT", "longer than the 0.2 s"),
}


@pytest.mark.parametrize(
    ("bad", "options"),
    [(BAD, []), (HANGING, ["--timeout", "0.2", "-j", "1"])],
    ids=["whatever a codec does", "however long it takes"],
)
def test_only_its_file_fails(
    bad: dict[Mood, tuple[str, str]], options: list[str], tree: Path, out: Path, stage: Stage
) -> None:
    good = numbered(30)
    plant(tree, good)
    for mood in bad:
        moody(tree, mood)
    ran = run(tree, out, "--to", "rle", "--json", *options, env=stage.environment(clock=True))
    assert ran.status == 9, ran
    told = by_source(records(ran.out))
    assert len(told) == 30 + len(bad)
    for mood, (code, says) in bad.items():
        name = f"{mood.name.lower()}-0"
        error = told[name]["error"]
        assert (name, error["status"], error["code"]) == (name, 6, code)
        assert says in error["message"]
        assert f"dcmtx: {tree / name}: " in ran.err
    assert names(out) == set(good)
    for number, name in enumerate(good):
        assert_converted(out / name, number)
    assert all(line.startswith("dcmtx: ") for line in ran.err.splitlines())


def test_the_time_that_files_wait_for_a_worker_is_not_theirs(tree: Path, out: Path, stage: Stage) -> None:
    for number in range(3):
        (tree / str(number)).write_bytes(fake_codecs.image(Mood.SLOW, number, frames=5).encode())
    ran = run(tree, out, "--to", "rle", "--timeout", "1.2", "-j", "1", env=stage.environment(clock=True))
    assert ran.status == 0, ran
    # The last of them has waited for nearly as long as a file may take, and ended later than that.
    assert stage.monotonic() == pytest.approx(1.5)


@pytest.mark.parametrize("before", [b"here before", None], ids=["where there is one", "where there is none"])
def test_a_single_file_has_a_timeout_too(before: bytes | None, tree: Path, out: Path) -> None:
    moody(tree, Mood.LOOP)
    if before is not None:
        out.write_bytes(before)
    ran = run(tree / "loop-0", out, "--to", "rle", "--timeout", "0.5")
    assert (ran.status, ran.out) == (6, "")
    assert ran.err.startswith(f"dcmtx: {tree / 'loop-0'}: it took longer than the 0.5 s")
    assert ran.err.count("\n") == 1
    assert (out.read_bytes() if out.exists() else None) == before
    plant(tree, ["good"], start=5)
    assert run(tree / "good", out, "--to", "rle", "--timeout", "1000") == Ran(0, "", "")
    assert_converted(out, 5)
    assert names(tree.parent) == {"in/loop-0", "in/good", "out"}


def busy(directory: Path, count: int = 1) -> bool:
    """Tell whether so many files are being written."""
    return directory.exists() and len(parts(directory)) >= count


def writer(batch: Batch, path: Path) -> int:
    """Return the worker that writes a file, or 0: one that has its temporary file open."""
    part = os.fspath(path.parent / f".{path.name}{PART}")
    for worker in batch.workers():
        with contextlib.suppress(OSError):
            fds = Path(f"/proc/{worker}/fd")
            if any(os.readlink(fd) == part for fd in fds.iterdir()):
                return worker
    return 0


# Status, and what is said of the file: one that was killed may have been so for what others took of the memory.
FROM_OUTSIDE: dict[str, tuple[list[signal.Signals], int, str]] = {
    "once": ([signal.SIGKILL], 0, ""),
    "twice": ([signal.SIGKILL] * 2, 9, "SIGKILL"),
    "by a fault": ([signal.SIGSEGV], 9, "SIGSEGV"),
    "in peace": ([signal.SIGTERM], 0, ""),
}


@pytest.mark.parametrize(("numbers", "status", "says"), FROM_OUTSIDE.values(), ids=FROM_OUTSIDE.keys())
def test_a_worker_that_is_ended_from_outside_costs_one_file_at_most(
    numbers: list[signal.Signals], status: int, says: str, tree: Path, out: Path, stage: Stage
) -> None:
    good = numbered(30)
    plant(tree, good)
    (tree / "held-0").write_bytes(fake_codecs.image(Mood.HELD, frames=3).encode())
    options = {"program": PROGRAM, "env": stage.environment()}
    with Batch(tree, out, "--to", "rle", "-j", "1", "--json", **options) as batch:
        for number in numbers:
            worker = batch.wait_for(lambda: writer(batch, out / "held-0"))
            os.kill(worker, number)
            batch.wait_for(lambda worker=worker: worker not in batch.members())
        stage.admit()
        ran = batch.end()
    assert ran.status == status, ran
    told = by_source(records(ran.out))
    assert len(told) == 31
    failed = {name: record["error"] for name, record in told.items() if record["status"] == "failed"}
    if status:
        error = failed.pop("held-0")
        assert (error["status"], error["code"]) == (6, "E_CRASH")
        assert says in error["message"]
        assert f"dcmtx: {tree / 'held-0'}: the worker " in ran.err
    assert failed == {}
    assert names(out) == {*good, *([] if status else ["held-0"])}


# --- the pool itself -------------------------------------------------------------------------------------------


def jobs(pool: Pool[Any, Any], *tasks: Any) -> list[Any]:
    """Have jobs done; return what came of them in the order of the tasks."""
    for task in tasks:
        pool.submit(task)
    found = dict(pool.results(wait_for_all=True))
    return [found[task] for task in tasks]


def is_running(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_worker_that_dies_while_it_has_nothing_to_do_is_replaced() -> None:
    with Pool(fake_codecs.whoami, 1) as pool:
        (first,) = jobs(pool, "a")
        assert jobs(pool, "b") == [first]
        for number in (signal.SIGKILL, signal.SIGTERM):
            os.kill(first, number)
            wait_until(lambda pid=first: not is_running(pid))
            (second,) = jobs(pool, "c")
            assert isinstance(second, int)
            assert second != first
            first = second


@pytest.mark.parametrize("job", [fake_codecs.fold, fake_codecs.swallow])
def test_no_code_keeps_a_worker_from_ending_when_it_is_told_to(job: Callable[[Any], Any]) -> None:
    with Pool(job, 1) as pool:
        (error,) = jobs(pool, "a")
    assert isinstance(error, DcmtxError)
    assert "ended with status 143" in str(error)


def test_what_was_done_when_a_worker_was_told_to_end_counts() -> None:
    with Pool(fake_codecs.finish, 1) as pool:
        assert jobs(pool, "a", "b") == ["done", "done"]


def test_a_worker_has_its_modules_and_its_limit_of_memory() -> None:
    with Pool(fake_codecs.is_loaded, 2, modules=("colorsys",)) as pool:
        assert jobs(pool, "colorsys", "this") == [True, False]
    with Pool(fake_codecs.memory, 2, memory=3 << 30) as pool:
        assert jobs(pool, "a") == [3 << 30]
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with Pool(fake_codecs.memory, 3) as pool:
        (limit,) = jobs(pool, "a")
    assert 2 << 30 <= limit <= max(2 << 30, total // 3)


GIB = 1 << 30
UNLIMITED = resource.RLIM_INFINITY
# Limits of the process, what its workers are to have, and what they get.
LIMITS: dict[str, tuple[tuple[int, int], int, tuple[int, int]]] = {
    "a hard limit below": ((GIB, GIB), 3 * GIB, (GIB, GIB)),
    "a hard limit above": ((5 * GIB, 5 * GIB), 3 * GIB, (3 * GIB, 5 * GIB)),
    "a soft limit below": ((GIB, UNLIMITED), 3 * GIB, (GIB, UNLIMITED)),
    "a soft limit above": ((5 * GIB, UNLIMITED), 3 * GIB, (3 * GIB, UNLIMITED)),
    "no limit": ((UNLIMITED, UNLIMITED), 3 * GIB, (3 * GIB, UNLIMITED)),
    "a limit, and no wish": ((GIB, GIB), 0, (GIB, GIB)),
}
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv.pop(1)), int(sys.argv.pop(1))))
"""


@pytest.mark.parametrize(("limits", "memory", "expected"), LIMITS.values(), ids=LIMITS.keys())
def test_no_limit_of_memory_is_raised(limits: tuple[int, int], memory: int, expected: tuple[int, int]) -> None:
    program = LIMITED + (
        "import fake_codecs\nfrom dcmtx.pool.workers import Pool\n"
        f"with Pool(fake_codecs.limits, 1, memory={memory}) as pool:\n    pool.submit('a')\n"
        "    print(*[result for _, result in pool.results(wait_for_all=True)])"
    )
    line = [sys.executable, "-c", program, *map(str, limits)]
    ran = subprocess.run(line, capture_output=True, text=True, cwd=TESTS, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"{expected}\n", "")


def test_a_batch_runs_under_a_hard_limit_of_memory(tree: Path, out: Path) -> None:
    plant(tree, ["a", "b"])
    program = LIMITED + "from dcmtx.cli import main\nmain()"
    ran = run(tree, out, "--to", "rle", "--quiet", line=[sys.executable, "-c", program, str(GIB), str(GIB)])
    assert ran == Ran(0, "", "")
    assert_converted(out / "a", 0)


@pytest.mark.parametrize("error", [OSError(errno.EINVAL, "Invalid argument"), ValueError("not allowed")], ids=repr)
def test_a_system_that_cannot_limit_memory_has_workers_all_the_same(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(resource, "setrlimit", refuse)
    limit_memory(3 * GIB)


def test_workers_that_cannot_start_are_not_tried_for_ever() -> None:
    with Pool(fake_codecs.whoami, 2, modules=("there_is_no_such_module",)) as pool, pytest.raises(DcmtxError):
        jobs(pool, "a", "b")


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module whose import never ends. Only workers are given up for that, however slow the machine."""
    (tmp_path / "it_hangs.py").write_text("import time\ntime.sleep(1000)\n")
    # Where processes look that are started later.
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(forkserver, "kill_server", lambda _: None)
    return "it_hangs"


def test_a_worker_that_hangs_while_it_starts_has_a_limit_too(hanging: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_START_SECONDS", 0.2)
    with Pool(fake_codecs.whoami, 2, timeout=0.1, modules=(hanging,)) as pool:
        found = jobs(pool, "a", "b", "c")
    assert [(error.status, error.code) for error in found] == [(6, "E_TIMEOUT")] * 3
    assert all("no worker was ready after 0.2 s" in str(error) for error in found)


def test_workers_that_always_hang_are_not_tried_for_ever(hanging: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_START_SECONDS", 0.05)
    with Pool(fake_codecs.whoami, 2, timeout=0.05, modules=(hanging,)) as pool:
        with pytest.raises(DcmtxError, match=r"no worker was ready after 0\.05 s") as raised:
            jobs(pool, *range(100))
        assert raised.value.code == "E_TIMEOUT"


# The process that workers are forked from hangs: whoever starts one waits for it.
HANGING_SERVER = """
import sys
from dcmtx.pool import forkserver, workers
from dcmtx.pool.worker import limit_memory
workers._PRELOAD, workers._START_SECONDS = ("it_hangs",), 0.2
from dcmtx.cli import main
main()
"""


@pytest.mark.usefixtures("hanging")
def test_a_server_of_workers_that_hangs_has_a_limit_too(tree: Path, out: Path, tmp_path: Path) -> None:
    plant(tree, ["a"])
    line = [sys.executable, "-c", HANGING_SERVER]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.fspath(tmp_path), os.fspath(TESTS.parent)])}
    ran = run(tree / "a", out, "--to", "rle", "--timeout", "0.1", line=line, env=environment)
    assert ran == Ran(6, "", "dcmtx: no worker was ready after 0.2 s\n")
    assert not out.exists()


def test_a_job_that_is_short_of_time_has_none_taken_by_the_start_of_its_worker() -> None:
    with Pool(fake_codecs.whoami, 1, timeout=1e-9) as pool:
        assert pool._start_limit == workers._START_SECONDS
    with Pool(fake_codecs.whoami, 1, timeout=1000) as pool:
        assert pool._start_limit == 1000
    with Pool(fake_codecs.whoami, 1) as pool:
        assert pool._start_limit is None


def test_half_an_answer_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_MESSAGE_SECONDS", 1)
    with Pool(fake_codecs.half_an_answer, 1) as pool:
        (error,) = jobs(pool, "a")
    assert (error.status, error.code) == (6, "E_CRASH")
    assert "in the middle of its answer" in str(error)


def test_temporary_files_may_be_far_down(tree: Path, out: Path) -> None:
    plant(tree, ["a", "b"])
    scratch = tree.parent / ("far" * 30) / "down"
    scratch.mkdir(parents=True)
    assert run(tree, out, "--to", "rle", scratch=scratch).status == 0
    assert names(out) == {"a", "b"}
    assert os.listdir(scratch) == []


# --- interruptions ---------------------------------------------------------------------------------------------

ENDINGS = {"SIGINT": (signal.SIGINT, 130), "SIGTERM": (signal.SIGTERM, 143), "SIGHUP": (signal.SIGHUP, 129)}
TO = {"the process": os.kill, "the whole process group": os.killpg}
WAYS = [
    pytest.param(number, status, send, id=f"{name} to {to}")
    for name, (number, status) in ENDINGS.items()
    for to, send in TO.items()
]


SOME = 12


@pytest.fixture
def held(tree: Path, stage: Stage) -> Path:
    """A tree of which so many files can be converted, and no more."""
    for number in range(40):
        path = tree / str(number % 3) / f"{number:03}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(fake_codecs.image(Mood.HELD, number).encode())
    stage.admit(SOME)
    return tree


def assert_whole(directory: Path) -> int:
    """Assert that every file at a final name is whole; return how many there are."""
    found = [name for name in names(directory) if not name.endswith(PART)]
    for name in found:
        syntax, pixels = decoded(directory / name)
        number = int(os.path.basename(name))
        assert (syntax, pixels[:2], pixels[2:4]) == (
            dicom.RLE,
            Mood.HELD.to_bytes(2, "little"),
            number.to_bytes(2, "little"),
        )
    return len(found)


@pytest.mark.parametrize(("number", "status", "send"), WAYS)
def test_an_interrupted_batch_stops_and_leaves_only_whole_files(
    number: signal.Signals, status: int, send: Callable[[int, int], None], held: Path, out: Path, stage: Stage
) -> None:
    with Batch(held, out, "--to", "rle", "-j", "2", "--json", program=PROGRAM, env=stage.environment()) as batch:
        batch.wait_for(lambda: stage.waiting == 2 and len(parts(out)) == 2)
        # What is under way would never end.
        send(batch.process.pid, number)
        ran = batch.end()
        assert os.listdir(batch.scratch) == []
    assert ran.status == status, ran
    assert parts(out) == []
    assert assert_whole(out) == SOME
    told = records(ran.out)
    assert [record["status"] for record in told] == ["converted"] * SOME
    (counted,) = [line for line in ran.err.splitlines() if " converted" in line]
    assert re.fullmatch(rf"dcmtx: {SOME} files in [0-9.]+ s: {SOME} converted", counted)
    assert all(line.startswith("dcmtx: ") for line in ran.err.splitlines()), ran.err


def test_an_interrupted_batch_gives_the_terminal_back(held: Path, out: Path, stage: Stage) -> None:
    with Terminal() as terminal:
        options = terminal.options | {"env": terminal.options["env"] | stage.environment()}
        options["env"] |= {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
        with Batch(held, out, "--to", "rle", program=PROGRAM, **options) as batch:
            terminal.listen()
            batch.wait_for(lambda: re.search(r"[1-9]/40.* files", terminal.text) and busy(out))
            # As Ctrl-C does.
            os.killpg(batch.process.pid, signal.SIGINT)
            assert batch.end().status == 130
    shown = terminal.text
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is hidden still"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"[\r\n]dcmtx: \d+ files? in [0-9.]+ s: \d+ converted\r\n", plain)
    assert "Traceback" not in shown


def test_a_codec_that_hangs_does_not_keep_an_interrupted_batch(tree: Path, out: Path) -> None:
    moody(tree, Mood.LOOP, 2)
    moody(tree, Mood.SLEEP, 2)
    with Batch(tree, out, "--to", "rle", "-j", "4", program=PROGRAM) as batch:
        batch.wait_for(lambda: busy(out, 4))
        ran = batch.end(signal.SIGINT)
    assert ran.status == 130
    assert names(out) == set()


def test_a_second_interrupt_ends_it_at_once(tree: Path, out: Path, stage: Stage) -> None:
    moody(tree, Mood.LOOP)
    moody(tree, Mood.SLEEP)
    # For the one that does not hear it would wait as good as for ever.
    options = {"program": PROGRAM, "env": stage.environment(grace=100_000)}
    with Batch(tree, out, "--to", "rle", "-j", "2", **options) as batch:
        batch.wait_for(lambda: stage.monotonic() >= 2 * fake_codecs.AGES)
        batch.process.send_signal(signal.SIGINT)
        # The first has been heard when the other one ends.
        batch.wait_for(lambda: len(batch.workers()) == 1)
        assert batch.end(signal.SIGINT).status == 130


def answers(pid: int) -> bool:
    """Tell whether a process has come as far as to have its handlers."""
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_at_any_moment_of_the_start_or_end_is_answered_without_a_trace(
    number: signal.Signals, tree: Path, tmp_path: Path
) -> None:
    plant(tree, numbered(12))
    for attempt in range(6):
        out = tmp_path / f"out-{attempt}"
        with Batch(tree, out, "--to", "rle") as batch:
            batch.wait_for(lambda pid=batch.process.pid: answers(pid))
            time.sleep(0.05 * attempt)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(batch.process.pid, number)
            ran = batch.end()
        # At its very end Python gives its handlers up; then all is done and told.
        ended = ran.status == -number and "12 files" in ran.err
        assert ended or ran.status in (0, 128 + number), (attempt, ran)
        assert all(line.startswith("dcmtx: ") for line in ran.err.splitlines()), (attempt, ran)
        assert not out.exists() or parts(out) == []


# --- being killed ----------------------------------------------------------------------------------------------


def test_a_killed_batch_leaves_whole_files_and_no_process_and_the_next_run_clears_up(
    held: Path, out: Path, stage: Stage
) -> None:
    for attempt in range(3):
        with Batch(held, out, "--to", "rle", program=PROGRAM, env=stage.environment()) as batch:
            batch.wait_for(lambda: out.exists() and parts(out))
            # At whatever moment.
            time.sleep(0.07 * attempt)
            batch.process.kill()
            assert batch.end().status == -signal.SIGKILL
        assert_whole(out)
    (out / "1").mkdir(exist_ok=True)
    stale = [out / name for name in (f".001{PART}", f"0/.gone.dcm{PART}", f"1/.gone.0123456789ab{PART}")]
    alive = [out / name for name in (f".002{PART}", f"0/.000{PART}", f"2/.other.dcm{PART}")]
    with ExitStack() as stack:
        for path in stale:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"half of something")
        for path in alive:
            path.parent.mkdir(exist_ok=True)
            file = stack.enter_context(open(path, "wb"))
            file.write(b"half of something else")
            file.flush()
            fcntl.flock(file, fcntl.LOCK_EX)
        for name in names(held):
            (held / name).write_bytes(image(int(Path(name).name)).encode())
        (held / "top").write_bytes(image(9).encode())
        assert run(held, out, "--to", "rle").status == 0
        assert names(out) == names(held) | {os.path.relpath(path, out) for path in alive}
        assert all(path.read_bytes() == b"half of something else" for path in alive)


@pytest.mark.parametrize("mood", [Mood.SLEEP, Mood.LOOP], ids=["asleep", "in native code"])
def test_workers_end_with_a_killed_batch_even_if_their_codecs_hang(mood: Mood, tree: Path, out: Path) -> None:
    moody(tree, mood, 2)
    with Batch(tree, out, "--to", "rle", program=PROGRAM) as batch:
        batch.wait_for(lambda: busy(out, 2))
        batch.process.kill()
        batch.process.wait()
        batch.assert_gone()


# --- bad files among good ones ---------------------------------------------------------------------------------

HARMED: dict[str, Callable[[bytes], bytes]] = {
    "cut in the pixels": lambda data: data[:-40],
    "cut in the header": lambda data: data[:400],
    "cut behind the meta information": lambda data: data[: data.index(b"\x08\0\x08\0CS")],
    "rows gone": lambda data: data.replace(b"\x28\0\x10\0US", b"\x28\0\x0f\0US"),
    "more rows than pixels": lambda data: data.replace(b"US\2\0\x08\0", b"US\2\0\xff\0"),
    "no rows": lambda data: data.replace(b"US\2\0\x08\0", b"US\2\0\0\0"),
    "absurd bits": lambda data: data.replace(b"US\2\0\x10\0", b"US\2\0\x63\0"),
    "no pixels there": lambda data: data[: data.index(b"\xe0\x7f\x10\0")],
    "an unknown transfer syntax": lambda data: data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"),
    "a frame too many": lambda data: data.replace(
        b"\x28\0\x10\0US", dicom.element(0x00280008, "IS", "2") + b"\x28\0\x10\0US"
    ),
}


def test_ten_corrupt_files_among_a_hundred_good_ones(tree: Path, out: Path) -> None:
    good = numbered(100)
    plant(tree, good)
    for number, (name, harm) in enumerate(HARMED.items()):
        data = image(number).encode()
        assert harm(data) != data
        (tree / str(number % 3) / name).write_bytes(harm(data))
    before = contents(tree)
    ran = run(tree, out, "--to", "rle", "--json", "--no-pixels", "fail")
    assert ran.status == 9
    told = by_source(records(ran.out))
    assert {name for name, record in told.items() if record["status"] == "failed"} == set(HARMED)
    assert len(told) == 110
    for number, name in enumerate(HARMED):
        assert f"dcmtx: {tree / str(number % 3) / name}: " in ran.err
    assert names(out) == set(good)
    for number, name in enumerate(good):
        assert_converted(out / name, number)
    assert contents(tree) == before


# --- where nothing can be written ------------------------------------------------------------------------------


@pytest.fixture
def bound() -> list[str]:
    """The line of a `dcmtx` that the modes of files bind, also where the tests are root's."""
    line = [sys.executable, "-m", "dcmtx"]
    if modes_bind():
        return line
    free = ["--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-dac_override,-dac_read_search"]
    line = [need_tool("setpriv"), *free, *line]
    if subprocess.run([*line, "--version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this process may not give up what lets root read everything")
    return line


def test_what_cannot_be_read_fails_by_itself(bound: list[str], tmp_path: Path) -> None:
    plant(tmp_path / "in", ["good", "secret", "open/good", "closed/hidden", "listed/hidden"])
    (tmp_path / "in" / "secret").chmod(0)
    (tmp_path / "in" / "closed").chmod(0)
    (tmp_path / "in" / "listed").chmod(0o400)
    ran = run("in", "out", "--to", "rle", "--json", line=bound, cwd=tmp_path)
    for name in ("closed", "listed"):
        (tmp_path / "in" / name).chmod(0o700)
    assert ran.status == 9
    assert names(tmp_path / "out") == {"good", "open/good"}
    told = {record["source"]: record for record in records(ran.out)}
    failed = {source: record["error"]["status"] for source, record in told.items() if record["status"] == "failed"}
    assert failed == {"in/secret": 3, "in/closed": 3, "in/listed/hidden": 3}
    assert all(f"dcmtx: {source}: " in ran.err for source in failed)


def test_a_destination_that_is_read_only_fails_file_by_file(bound: list[str], tmp_path: Path) -> None:
    plant(tmp_path / "in", ["open/a", "closed/b", "new/c"])
    plant(tmp_path / "out", ["closed/b"], start=7)
    (tmp_path / "out" / "open").mkdir()
    (tmp_path / "out" / "closed").chmod(0o500)
    (tmp_path / "out").chmod(0o500)
    ran = run("in", "out", "--to", "rle", "--json", line=bound, cwd=tmp_path)
    for name in ("out", "out/closed"):
        (tmp_path / name).chmod(0o700)
    told = by_source(records(ran.out))
    assert (ran.status, told["a"]["status"]) == (9, "converted")
    assert [told[name]["error"]["status"] for name in "bc"] == [8, 8]
    assert ran.err.count("Permission denied") == 2
    assert names(tmp_path / "out") == {"open/a", "closed/b"}
    assert (tmp_path / "out" / "closed" / "b").read_bytes() == image(7).encode()


BIG = bytes(range(256)) * 512


def test_where_files_may_not_be_large_only_large_ones_fail(tree: Path, out: Path) -> None:
    good = numbered(10)
    plant(tree, good)
    for number in range(4):
        large = dicom.Image(BIG, rows=256, columns=256, sop_instance=f"1.2.{number}")
        (tree / f"large-{number}").write_bytes(large.encode())
    limit = ["prlimit", "--fsize=40000", sys.executable, "-m", "dcmtx"]
    need_tool("prlimit")
    ran = run(tree, out, "--to", "rle", "--json", line=limit)
    assert ran.status == 9
    told = by_source(records(ran.out))
    failed = {name: record["error"]["status"] for name, record in told.items() if record["status"] == "failed"}
    assert failed == {f"large-{number}": 8 for number in range(4)}
    assert names(out) == set(good)


# Fills a file system of its own, which nobody else sees and which is gone with the process.
FULL = """
mount -t tmpfs -o size=200k tmpfs out || exit 77
printf before > out/05
"$@"
status=$?
mkdir kept && cp -a out/. kept
exit $status
"""


def test_a_full_file_system_is_told_once_and_ends_the_batch(tmp_path: Path, tree: Path, out: Path) -> None:
    need_tool("unshare")
    out.mkdir()
    for number in range(60):
        # 8 KB each after conversion, which run-length encoding makes no smaller.
        large = dicom.Image(BIG[:8192], rows=64, columns=64, sop_instance=f"1.2.{number}")
        (tree / f"{number:02}").write_bytes(large.encode())
    inside = ["unshare", "-m", "sh", "-c", FULL, "sh", sys.executable, "-m", "dcmtx"]
    ran = run("in", "out", "--to", "rle", "--json", line=inside, cwd=tmp_path)
    if ran.status in (1, 77) and not (tmp_path / "kept").exists():
        pytest.skip("this process may not mount a file system")
    assert ran.status == 9, ran
    lines = [line for line in ran.err.splitlines() if "No space left" in line or "free some space" in line]
    assert len(lines) == 1, ran.err
    assert all(line.startswith("dcmtx: ") for line in ran.err.splitlines())
    told = records(ran.out)
    (failed,) = [record for record in told if record["status"] != "converted"]
    assert (failed["error"]["status"], failed["error"]["code"]) == (8, "E_DISK_FULL")
    kept = tmp_path / "kept"
    assert parts(kept) == []
    done = {os.path.basename(record["source"]) for record in told if record["status"] == "converted"}
    assert 10 < len(done) < 30
    # Files that were finished when the batch was given up are whole too.
    for name in names(kept):
        if (name, (kept / name).read_bytes()) != ("05", b"before"):
            assert decoded(kept / name) == (dicom.RLE, BIG[:8192])
    assert done <= names(kept)


# --- cores -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("jobs", "encoder"),
    [(1, "fake"), (2, "fake"), (4, "fake"), (4, fake_codecs.LOCKED)],
    ids=["alone", "of two", "of four by threads", "of four by processes"],
)
def test_frames_of_the_last_file_use_the_cores_that_would_idle(
    jobs: int, encoder: str, tree: Path, out: Path, stage: Stage
) -> None:
    for number in range(2):
        (tree / f"large-{number}").write_bytes(fake_codecs.image(Mood.MEET, number, frames=20).encode())
    environment = stage.environment(meeting=jobs)
    ran = run(tree, out, "--to", "rle", "-j", str(jobs), "--encoder", encoder, "--json", env=environment)
    assert ran.status == 0, ran
    assert stage.under_way() == (0, jobs)


def harmful(mood: Mood, frames: int) -> bytes:
    """Return an image whose last frame is of a mood."""
    good, bad = fake_codecs.image(0, frames=frames), fake_codecs.image(mood)
    assert isinstance(good.pixels, bytes)
    assert isinstance(bad.pixels, bytes)
    return replace(good, pixels=good.pixels[: -len(bad.pixels)] + bad.pixels).encode()


IN_ONE_FRAME = {
    "crashes one of several threads": (Mood.SEGFAULT, "fake"),
    "crashes one of several processes": (Mood.SEGFAULT, fake_codecs.LOCKED),
    "hangs one of several threads": (Mood.LOOP, "fake"),
    "hangs one of several processes": (Mood.LOOP, fake_codecs.LOCKED),
}


@pytest.mark.parametrize(("mood", "encoder"), IN_ONE_FRAME.values(), ids=IN_ONE_FRAME.keys())
def test_a_codec_that(mood: Mood, encoder: str, tree: Path, out: Path, stage: Stage) -> None:
    (tree / "bad").write_bytes(harmful(mood, 9))
    plant(tree, ["good"], start=1)
    # When the frame hangs, its file is late, and the other one if it is under way still: that one goes first.
    report = os.fspath(stage.directory / "report")
    environment = stage.environment(clock=True, after=report)
    line = ["--to", "rle", "-j", "3", "--timeout", "0.5", "--encoder", encoder, "--json", "--report", report]
    ran = run(tree, out, *line, env=environment)
    assert ran.status == 9
    error = by_source(records(ran.out))["bad"]["error"]
    assert (error["status"], error["code"]) == (6, "E_CRASH" if mood == Mood.SEGFAULT else "E_TIMEOUT")
    assert names(out) == {"good"}
    assert_converted(out / "good", 1)


def test_an_interruption_ends_what_codes_frames_too(tree: Path, out: Path) -> None:
    (tree / "bad").write_bytes(harmful(Mood.LOOP, 9))
    with Batch(tree, out, "--to", "rle", "-j", "3", "--encoder", fake_codecs.LOCKED, program=PROGRAM) as batch:
        batch.wait_for(lambda: [child for worker in batch.workers() for child in batch.children(worker)])
        assert batch.end(signal.SIGINT).status == 130
    assert names(out) == set()
