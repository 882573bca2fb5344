"""Measure whole processes: wall clock, CPU time and memory of a command and of all that it starts.

Nothing heavy is imported here or by whoever imports this: a child's peak of resident memory, as the kernel counts it,
is never below that of the process that started it.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.005


@dataclass(frozen=True)
class Run:
    """One run: seconds of wall clock and of CPU (user and system), peak resident bytes of its largest process."""

    status: int
    wall: float
    cpu: float
    rss: int


def run(arguments: Sequence[str], environment: Mapping[str, str], directory: Path) -> Run:
    """Run a command to its end; what it prints is dropped."""
    child, started = _start(arguments, environment, directory)
    return _wait(child, started)


def run_for_memory(arguments: Sequence[str], environment: Mapping[str, str], directory: Path) -> tuple[Run, int]:
    """Run a command and sample its memory: returns the peak of the summed PSS of its processes too, in bytes.

    Sampling takes time, so such a run is not one to take times from. 0 means that the system does not tell.
    """
    child, started = _start(arguments, environment, directory)
    peak = 0
    done = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, sum(map(_pss, _tree(child))))
            done.wait(SAMPLE_SECONDS)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        finished = _wait(child, started)
    finally:
        done.set()
        sampler.join()
    return finished, peak


def own_peak() -> int:
    """Return the peak of resident memory of this process in bytes, below which no child's can be told."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _start(arguments: Sequence[str], environment: Mapping[str, str], directory: Path) -> tuple[int, float]:
    null = os.devnull
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, null, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, null, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, str(directory / "stderr"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
    ]
    started = time.perf_counter()
    return os.posix_spawn(arguments[0], arguments, dict(environment), file_actions=actions), started


def _wait(child: int, started: float) -> Run:
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - started
    return Run(os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _tree(root: int) -> list[int]:
    """Return a process and its descendants."""
    found = [root]
    for process in found:
        try:
            tasks = os.listdir(f"/proc/{process}/task")
            for task in tasks:
                children = Path(f"/proc/{process}/task/{task}/children").read_text("ascii")
                found += map(int, children.split())
        except OSError:
            continue
    return found


def _pss(process: int) -> int:
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text("ascii")
    except OSError:
        return 0
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
