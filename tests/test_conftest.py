"""The tests themselves: what they start behaves alike, however they are started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, spawn

# Says which signals a process ignores and which are blocked, but for those that Python ignores itself.
ASK = """
import json, signal
ours = {signal.SIGPIPE, signal.SIGXFSZ}
ignored = [n for n in signal.valid_signals() - ours if signal.getsignal(n) is signal.SIG_IGN]
print(json.dumps([sorted(ignored), sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))]))
"""
# Starts the tests as nohup, a shell's `&` and careless parents do.
DEAF = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_children_ignore_and_block_no_signal() -> None:
    ran = subprocess.run([sys.executable, "-c", ASK], capture_output=True, timeout=60, check=True)
    assert json.loads(ran.stdout) == [[], []]


def test_a_child_that_fails_is_known_to() -> None:
    assert spawn("--no-such-option").returncode == 2


@pytest.mark.parametrize("processes", [[], ["-n", "1"]], ids=["alone", "in parallel"])
def test_so_they_do_where_the_tests_were_started_with_signals_ignored(processes: list[str], tmp_path: Path) -> None:
    here = os.path.relpath(__file__, ROOT)
    names = ("test_children_ignore_and_block_no_signal", "test_a_child_that_fails_is_known_to")
    line = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *processes, *(f"{here}::{name}" for name in names)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    ran = subprocess.run(
        [sys.executable, "-c", DEAF, *line], cwd=ROOT, env=environment, capture_output=True, timeout=300, check=False
    )
    assert (ran.returncode, b"2 passed" in ran.stdout) == (0, True), ran


def test_a_hangup_or_interrupt_that_was_ignored_still_is() -> None:
    """Whoever starts the tests under nohup wants them to outlive the terminal."""
    program = "import conftest, os, signal; [os.kill(os.getpid(), n) for n in (signal.SIGHUP, signal.SIGINT)]"
    line = [sys.executable, "-c", DEAF, "-c", program]
    ran = subprocess.run(line, cwd=Path(__file__).parent, capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
