"""Measure shards beside a plain batch: `python tests/bench/shards.py [--count 1000] [--ct FILE] [--to jpegls]`.

CPU of whole processes, by the system: one batch of CT files; the same files by `dcmtx plan` and `dcmtx shard`; and,
where SeaweedFS is there, by shards from objects to objects of an S3 server on loopback, whose own CPU does not count.
Aims: at most 1.12 of the batch through shards, at most 1.25 through a store.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import stores  # noqa: E402

DCMTX = [sys.executable, "-m", "dcmtx"]


def used(environment: dict[str, str], *words: object) -> tuple[float, float]:
    """Return the seconds of CPU, with those of its children, and of wall clock of a command of dcmtx."""
    before, begun = os.times(), time.perf_counter()
    subprocess.run([*DCMTX, *map(str, words)], env=environment, check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.perf_counter() - begun


def in_shards(environment: dict[str, str], source: str, run: str, out: str, to: str) -> tuple[float, float]:
    """Return what a plan and all its shards take, one shard after the other."""
    used(environment, "plan", source, run)
    shards = subprocess.run(
        [*DCMTX, "report", run, "--json"], env=environment, check=False, capture_output=True, text=True
    )
    total = json.loads(shards.stdout)["shards"]
    print(f"{total} shards", flush=True)
    figures = [used(environment, "shard", run, number, "--out", out, "--to", to) for number in range(total)]
    return sum(cpu for cpu, _ in figures), sum(wall for _, wall in figures)


@contextlib.contextmanager
def store() -> Iterator[stores.Store | None]:
    """Yield an S3 server, or None where there is none."""
    import pytest

    try:
        with stores.seaweedfs(volumes=60) as found:
            yield found
    except pytest.skip.Exception:
        yield None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--ct", default="")
    parser.add_argument("--to", default="jpegls")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), asked)


def measure(directory: Path, asked: argparse.Namespace) -> None:
    """Measure in turn, and print each as a ratio to the batch."""
    make = [sys.executable, HERE / "inputs.py", directory, asked.ct, "in", "files", str(asked.count), "12"]
    subprocess.run(make, check=True)
    here = dict(os.environ)
    source, count = directory / "in", asked.count
    cpu, wall = used(here, "convert", source, directory / "plain", "--to", asked.to, "--quiet")
    print(f"{'batch':12}{1000 * cpu / count:8.1f} ms CPU a file, {1000 * wall / count:6.1f} ms wall", flush=True)

    def told(name: str, figures: tuple[float, float]) -> None:
        print(f"{name:12}{1000 * figures[0] / count:8.1f} ms CPU a file, {1000 * figures[1] / count:6.1f} ms wall, "
              f"{figures[0] / cpu:.2f} of the batch's CPU", flush=True)  # fmt: skip

    told("shards", in_shards(here, str(source), str(directory / "run"), str(directory / "out"), asked.to))
    with store() as s3:
        if s3 is None:
            return
        for path in sorted(source.iterdir()):
            s3.put(f"in/{path.name}", path.read_bytes())
        place = f"s3://{stores.BUCKET}/"
        there = here | s3.environment
        told("by a store", in_shards(there, f"{place}in/", f"{place}run/", f"{place}out/", asked.to))


if __name__ == "__main__":
    main()
