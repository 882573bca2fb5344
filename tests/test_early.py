"""The process that workers are forked from, begun before the command line is read; messages of a pool; the end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from batches import Batch, assert_converted, names, need_proc, numbered, plant
from conftest import wait_until

from dcmtx.pool import early, pipe

# --- what begins early -----------------------------------------------------------------------------------------

LINES = {
    "a directory": ("tree out --to rle", True),
    "by name of the command": ("convert tree out --to rle", True),
    "options first": ("--to rle -v tree out", True),
    "several files": ("a b c out --to rle", True),
    "several files, and a directory to go into": ("a b tree --to rle", True),
    "one file": ("a out.dcm --to rle", False),
    "one file into a directory": ("a tree --to rle", False),
    "one file over another": ("a b --to rle", False),
    "another command": ("info tree", False),
    "a command that is a name too": ("plan tree", False),
    "a directory by the name of its command": ("convert convert out --to rle", True),
    "nothing": ("", False),
    "help": ("--help", False),
    "what is not there": ("nowhere out --to rle", False),
}


@pytest.mark.parametrize(("line", "expected"), LINES.values(), ids=LINES.keys())
def test_a_batch_is_told_by_its_words(
    line: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("tree", "plan", "convert"):
        (tmp_path / name).mkdir()
    for name in "abc":
        (tmp_path / name).touch()
    assert early._is_batch(line.split()) is expected


# Says what every process that is forked to load codecs was told of its work.
WATCHED = """
import os, sys
from dcmtx.pool import early, machine, template
begin = template.begin
def watched(preload):
    os.write(2, b"late\\n" if "click" in sys.modules else b"early\\n")
    return begin(preload)
template.begin = watched
cores = int(sys.argv.pop(1))
machine.available_cores = lambda: cores
from dcmtx.__main__ import main
main()
"""
WHEN = {
    "a directory": (2, ["in"], "early\n"),
    "on one core": (1, ["in"], "late\n"),
    "a file with an option of batches": (2, ["in/a", "--timeout", "100"], "late\n"),
    "a file": (2, ["in/a"], ""),
}


@need_proc
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no template")
@pytest.mark.parametrize(("cores", "arguments", "expected"), WHEN.values(), ids=WHEN.keys())
def test_there_is_one_process_that_loads_codecs_at_most(
    cores: int, arguments: list[str], expected: str, tmp_path: Path
) -> None:
    plant(tmp_path / "in", ["a", "b"])
    line = [sys.executable, "-c", WATCHED, str(cores), *arguments, "out", "--to", "rle"]
    ran = subprocess.run([*line, "--quiet"], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("", expected, 0)
    assert_converted(tmp_path / "out" / "a" if arguments[0] == "in" else tmp_path / "out", 0)


@need_proc
def test_what_was_begun_in_vain_ends_with_the_program(tree: Path) -> None:
    plant(tree, ["a"])
    with Batch(tree, "--to", "nonsense") as batch:
        ran = batch.end()
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.count("\n") == 1
        batch.assert_gone()


@need_proc
def test_what_was_begun_and_died_is_replaced(tree: Path, out: Path) -> None:
    plant(tree, numbered(9))
    program = (
        "import os, signal\nfrom dcmtx.pool import early\ntake = early.take\n"
        "def killed():\n    begun = take()\n    begun is None or os.kill(begun.pid, signal.SIGKILL)\n    return begun\n"
        "early.take = killed\nfrom dcmtx.__main__ import main\nmain()\n"
    )
    with Batch(tree, out, "--to", "rle", program=("-c", program)) as batch:
        assert batch.end().status == 0
    assert names(out) == set(numbered(9))


FORKED = """
import os
from dcmtx.pool import early, template
early._is_batch = lambda words: True
template.may_fork = lambda: True
early.begin([])
begun = early._begun
pid = os.fork()
if pid == 0:
    os._exit(0 if early.take() is None else 1)
print(os.waitpid(pid, 0)[1], os.waitpid(begun.pid, os.WNOHANG))
assert early.take() is begun and early.take() is None
begun.end()
try:
    os.kill(begun.pid, 0)
except ProcessLookupError:
    print("gone")
"""


@need_proc
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no template")
def test_what_was_begun_is_its_own_processs_alone() -> None:
    program = f"from dcmtx.pool import machine\nmachine.available_cores = lambda: 2\n{FORKED}"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr) == ("0 (0, 0)\ngone\n", "")


@need_proc
def test_what_was_begun_ends_where_a_thread_forbids_its_use(tree: Path, out: Path) -> None:
    """A pool asks for it in any case: nothing idles until the end."""
    plant(tree, numbered(5))
    program = (
        "import threading\nfrom dcmtx.pool import early, workers\nbegin = early.begin\n"
        "def begun(words):\n    begin(words)\n"
        "    threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "early.begin = begun\nfrom dcmtx.__main__ import main\nmain()\n"
    )
    with Batch(tree, out, "--to", "rle", program=("-c", program)) as batch:
        assert batch.end().status == 0
        batch.assert_gone()
    assert names(out) == set(numbered(5))


# --- messages --------------------------------------------------------------------------------------------------


def test_messages_of_any_length_go_both_ways() -> None:
    ours, theirs = pipe.pair(60)
    messages = [None, "", {"a": [1, 2.5]}, os.urandom(3 << 20), KeyError("a")]

    def echo() -> None:
        for _ in messages:
            theirs.send(theirs.receive())
        theirs.close()

    other = threading.Thread(target=echo)
    other.start()
    for message in messages:
        ours.send(message)
        assert repr(ours.receive()) == repr(message)
    other.join()
    assert ours.is_readable()
    with pytest.raises(EOFError):
        ours.receive()
    with pytest.raises(OSError, match="pipe"):
        ours.send("nobody reads it")
    ours.close()
    ours.close()
    assert (ours.fileno(), theirs.fileno()) == (-1, -1)


@pytest.mark.parametrize("length", [1000, 1 << 62], ids=["too few bytes", "a length that no memory has"])
def test_half_a_message_is_not_waited_for_for_ever(length: int) -> None:
    ours, theirs = pipe.pair(0.01)
    os.write(theirs.fileno(), length.to_bytes(8, "big") + b"half")
    with pytest.raises(BlockingIOError):
        ours.receive()
    theirs.close()
    ours.close()


def test_it_is_known_which_ends_can_be_read() -> None:
    pairs = [pipe.pair(60) for _ in range(3)]
    read, write = os.pipe()
    ends = [*(ours for ours, _ in pairs), read]
    assert pipe.readable(ends, 0) == []
    assert pipe.readable(ends, 0.001) == []
    os.write(write, b"!")
    pairs[1][1].send("hello")
    pairs[2][1].close()
    assert pipe.readable(ends, 1e12) == [pairs[1][0], pairs[2][0], read]
    assert pipe.readable(ends, None) == [pairs[1][0], pairs[2][0], read]
    for end in (read, write):
        os.close(end)
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


# --- the end ---------------------------------------------------------------------------------------------------

ENDING = """
import atexit, sys, threading
{before}
sys.argv[1:] = ["--version"]
from dcmtx.__main__ import main
main()
"""
BEFORE = {
    "what was registered for the end is done": ("atexit.register(print, 'the end')", "the end\n"),
    "a thread that runs is waited for": (
        """
import time
def late():
    # Python tells so before it waits for threads.
    while threading.main_thread().is_alive():
        time.sleep(0.001)
    print('a thread')
threading.Thread(target=late).start()
atexit.register(print, 'the end')
""",
        "a thread\nthe end\n",
    ),
}


@pytest.mark.parametrize(("before", "said"), BEFORE.values(), ids=BEFORE.keys())
def test_nothing_is_left_undone_at_the_end(before: str, said: str) -> None:
    line = [sys.executable, "-c", ENDING.format(before=before)]
    ran = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stderr, ran.returncode) == ("", 0)
    first, rest = ran.stdout.split("\n", 1)
    assert first.startswith("dcmtx ")
    assert rest == said


@pytest.mark.parametrize("watch", ["-m cProfile", "-m trace --listfuncs"], ids=["profile", "trace"])
def test_who_watches_a_program_has_the_last_word(watch: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import sys\nsys.argv[1:] = ['--version']\nfrom dcmtx.__main__ import main\nmain()\n")
    line = [sys.executable, *watch.split(), program]
    ran = subprocess.run(line, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert ran.stdout.startswith("dcmtx ")
    assert ran.stdout.count("\n") > 10


@need_proc
def test_a_done_batch_leaves_no_process(tree: Path, out: Path) -> None:
    plant(tree, numbered(9))
    with Batch(tree, out, "--to", "rle") as batch:
        assert batch.end().status == 0
        wait_until(lambda: not batch.members())
