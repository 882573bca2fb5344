"""Measure the memory of a real scheduler of Dask over many shards: `python tests/bench/scheduler.py [--shards 250000]`.

The driver and the engine of `dcmtx convert --cluster` are the real ones, as are scheduler and workers; a shard does
nothing. Told is how much the scheduler's resident memory grew between a tenth of the run and its end, and its speed.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dcmtx.cluster.task as tasks
from dcmtx.cluster.dask import DaskEngine
from dcmtx.cluster.driver import Driver, Progress


def nothing(*_: Any) -> dict[str, int]:
    """Do what a shard of 500 files would tell."""
    return {"files": 500, "failed": 0, "bytes_in": 265_000_000, "bytes_out": 104_000_000}


def resident(pid: int) -> int:
    """Return the resident bytes of a process."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def started(directory: Path, threads: int) -> tuple[list[subprocess.Popen[bytes]], str]:
    """Start a scheduler and a worker, and return them and the scheduler's address."""
    told = directory / "scheduler.json"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": directory}
    dask = [sys.executable, "-m", "dask"]
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", told], **quiet
    )
    worker = subprocess.Popen(
        [*dask, "worker", "--no-nanny", "--no-dashboard", "--nthreads", str(threads), "--scheduler-file", told], **quiet
    )
    while not told.exists() or not told.read_text():
        time.sleep(0.1)
    return [scheduler, worker], json.loads(told.read_text())["address"]


def main() -> None:
    """Run, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=250_000)
    parser.add_argument("--threads", type=int, default=4, help="of the worker; the window is twice that")
    given = parser.parse_args()
    tasks.shard_task = nothing
    plan = SimpleNamespace(giants=(), shards=given.shards)
    with tempfile.TemporaryDirectory() as directory:
        processes, address = started(Path(directory), given.threads)
        try:
            measure(SimpleNamespace(plan=plan, place="file:///nowhere/"), address, processes[0].pid)
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()


def measure(run: Any, address: str, scheduler: int) -> None:
    """Drive a run, and tell of the scheduler's memory on the way."""
    shards = run.plan.shards
    seen: list[int] = []
    count = 0

    def tell(_: Progress) -> None:
        nonlocal count
        count += 1
        if count % (shards // 10) == 0:
            seen.append(resident(scheduler))
            print(f"{count:9,} shards: {seen[-1] / 2**20:7.1f} MiB, {time.monotonic() - begun:6.1f} s", flush=True)

    with DaskEngine(address, run, code="", workers=0) as engine:
        while not engine.workers():
            time.sleep(2.1)
        begun = time.monotonic()
        driver = Driver(engine, tell)
        whole = driver.drive(bytearray(shards))
        seconds = time.monotonic() - begun
    print(f"complete: {whole and count == shards}; at most {driver.most} under way; {count / seconds:,.0f} shards/s")
    print(f"memory of the scheduler from a tenth of the run to its end: {(seen[-1] - seen[0]) / 2**20:+.1f} MiB")


if __name__ == "__main__":
    main()
