"""Measure the memory of dcmtx by the number of frames: `python tests/bench/memory.py [OPTIONS] [NAMES...]`.

Each case has one line in CASES: what is converted to what. It is run on files of few and of many frames of 512 by 512
by 16; shown is the peak of the memory of all its processes together and how much more that is with many frames than
with few. Sampled from smaps_rollup are the private pages of each process and, once, the shared ones of the process that
has most of them; PSS would depend on what else runs, for every process of the machine shares the libraries. The files
take room: 8000 frames are 4 GiB, and up to four such files are there at once. NAMES are patterns for the names of
cases; the default is all.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import bench
import measure

INPUT = "multi16"
FEW = 400
FRAME = 512 * 512 * 2
AIM_GROWTH = 1.10
AIM_BYTES = 120 << 20


@dataclass(frozen=True)
class Case:
    """A conversion, by the names of the syntaxes."""

    source: str
    target: str

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.source}-{self.target}"


CASES = (
    Case("explicit", "rle"),
    Case("explicit", "jpegls"),
    Case("explicit", "deflated"),
    Case("explicit", "implicit"),
    Case("rle", "explicit"),
    Case("jpegls", "explicit"),
    Case("rle", "jpegls"),
    Case("jpegls", "rle"),
    Case("deflated", "explicit"),
    Case("deflated", "rle"),
    Case("rle", "deflated"),
)


@dataclass
class Peak:
    """One run: most bytes that all its processes had, and most that any one had; seconds of wall clock."""

    frames: int
    status: int
    tree: int
    rss: int
    wall: float


class Sampler:
    """Watches a process and its descendants from a thread of its own."""

    def __init__(self, root: int) -> None:
        self.peak = 0
        self._root = root
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        """Start watching."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(measure.SAMPLE_SECONDS):
            pages = [_pages(process) for process in measure._tree(self._root)]
            self.peak = max(self.peak, sum(private for private, _ in pages) + max(shared for _, shared in pages))


def _pages(process: int) -> tuple[int, int]:
    """Return the bytes of the private and of the shared pages of a process; none if it has ended."""
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text("ascii")
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in rollup.splitlines()[1:]}
    private = sizes["Private_Clean"] + sizes["Private_Dirty"]
    return private, sizes["Rss"] - private


class Files:
    """The inputs by number of frames and syntax, made when they are needed and as dcmtx makes them now."""

    def __init__(self, work: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.place = bench.Place(work, "", FEW, environment | {"OPENBLAS_NUM_THREADS": "1"})
        self.work = work

    def path(self, frames: int, syntax: str) -> Path:
        """Return an input."""
        path = self.work / f"{frames}.{syntax}.dcm"
        if not path.exists():
            if syntax == "explicit":
                self._repeat(frames, path)
            else:
                self.convert(self.path(frames, "explicit"), path, syntax)
        return path

    def _repeat(self, frames: int, path: Path) -> None:
        """Write so many frames: those of the bench again and again, behind their header with two numbers changed."""
        native = self.place.native(INPUT)
        offset = int(self.place.geometry(INPUT).read_text("ascii").split(",")[-1])
        few, size = bench.INPUTS[INPUT].frames, native.stat().st_size - offset
        with native.open("rb") as source, path.open("wb") as out:
            head = bytearray(source.read(offset))
            old, new = (b"\x28\0\x08\0IS\x04\0%-4d" % number for number in (few, frames))
            at = head.index(old)
            head[at : at + len(old)] = new
            head[-4:] = (size // few * frames).to_bytes(4, "little")
            out.write(head)
            for done in range(0, frames, few):
                source.seek(offset)
                left = size // few * min(few, frames - done)
                while left:
                    block = source.read(min(left, 1 << 20))
                    out.write(block)
                    left -= len(block)

    def convert(self, source: Path, target: Path, syntax: str) -> Peak:
        """Convert a file and watch its memory."""
        line = [*bench.program(bench.OURS), str(source), str(target), "--to", syntax]
        child, started = measure._start(line, self.place.environment, self.work)
        with Sampler(child) as sampler:
            run = measure._wait(child, started)
        return Peak(0, run.status, sampler.peak, run.rss, run.wall)


def measured(case: Case, counts: list[int], files: Files) -> list[Peak]:
    """Run a case with each number of frames. What it writes is kept where it is the input of another."""
    peaks = []
    for frames in counts:
        source = files.path(frames, case.source)
        kept = files.work / f"{frames}.{case.target}.dcm"
        target = files.work / "out.dcm"
        peak = files.convert(source, target, case.target)
        peak.frames = frames
        if target.exists():
            if kept.exists() or case.source != "explicit" or case.target == "implicit":
                target.unlink()
            else:
                target.rename(kept)
        peaks.append(peak)
    return peaks


def show(case: Case, peaks: list[Peak]) -> None:
    """Print a case as a line."""
    figures = "".join(f"{peak.tree / 2**20:14.1f} {peak.rss / 2**20:8.1f} {peak.wall:8.1f}" for peak in peaks)
    failed = [peak.frames for peak in peaks if peak.status]
    growth = peaks[-1].tree / max(peaks[0].tree, 1)
    verdict = [f"failed at {failed}"] * bool(failed)
    verdict += ["GROWS"] * (growth > AIM_GROWTH)
    verdict += ["OVER 120 MiB"] * (max(peak.tree for peak in peaks) > AIM_BYTES)
    print(f"{case.name:20}{figures} {growth:8.3f}  {', '.join(verdict)}".rstrip(), flush=True)


def numbers(text: str) -> list[int]:
    """Return the numbers of a list with commas."""
    return [int(word) for word in text.split(",")]


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=["*"], metavar="NAMES", help="patterns for the names of cases")
    parser.add_argument("--frames", type=numbers, default="400,8000", help="numbers of frames, up to 9999 [400,8000]")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file")
    parser.add_argument("--work", metavar="DIRECTORY", help="keep inputs here (default: temporary, removed at the end)")
    return parser.parse_args()


def main() -> int:
    """Run the cases asked for."""
    options = arguments()
    chosen = [case for case in CASES if any(fnmatch.fnmatch(case.name, name) for name in options.names)]
    with tempfile.TemporaryDirectory(prefix="dcmtx-bench-") as temporary:
        work = Path(options.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(work).free
        needed = 4 * max(options.frames) * FRAME
        if free < needed:
            print(f"{work} has {free >> 20} MiB free, {needed >> 20} may be needed", file=sys.stderr)
            return 1
        heads = "".join(f"{f'MiB at {frames}':>14} {'largest':>8} {'wall s':>8}" for frames in options.frames)
        print(f"{'':20}{heads} {'growth':>8}")
        files, entries = Files(work), []
        for case in chosen:
            peaks = measured(case, options.frames, files)
            show(case, peaks)
            entries.append({"name": case.name, "peaks": list(map(asdict, peaks))})
            if options.json:
                text = json.dumps(bench.machine() | {"cases": entries}, indent=1)
                Path(options.json).write_text(text + "\n", encoding="utf-8")
        (work / "stderr").unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
