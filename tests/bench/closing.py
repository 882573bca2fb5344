"""Measure what was aimed at, each row beside its limit: `python tests/bench/closing.py [OPTIONS] [NAMES...]`.

One command makes all tables: `python tests/bench/closing.py --out FILE [--python OTHER/python]`. FILE has them as text
and FILE.json all figures; both are written after every row, so that an interruption loses little.

Conversions: whole processes in turn, dcmtx verified under each Python, and the better of its peers, unverified, as it
comes (the faster in the warm-up). The limit is the codec calls of the same conversion alone, on all cores, warm
(limit.py). `x peer` is how many times as fast as the peer dcmtx is, beside the aim; `/ limit` is how many times the
limit it takes, which is measured with some of many files. Where J2K is slow, there are fewer files or frames; --whole
has all of them.

Then: small batches beside one process per file; what a small file costs; files a second and fsyncs a file for every
`--sync`; one CT through the server. NAMES are patterns of rows and parts; --list shows them.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import bench
import measure
from bench import Case, Input, Place

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENTRY = "from dcmtx.__main__ import main; main()"
# How many times its limit a conversion may take, by input.
OF_THE_LIMIT = {"ct200": 1.25, "ct100": 1.25, "frames400": 1.12, "frames100": 1.12, "rgb100": 1.12}

for made in (
    Input("ct200", 1, 12, files=200),
    Input("ct100", 1, 12, files=100),
    Input("ct8", 1, 12, files=8),
    Input("cr4", 1, 12, files=4, kind="cr"),
    Input("cr8", 1, 12, files=8, kind="cr"),
    Input("small1000", 1, 12, files=1000, kind="small"),
    Input("small100", 1, 12, files=100, kind="small"),
    Input("frames400", 400, 12),
    Input("frames100", 100, 12),
    Input("rgb100", 100, 8, rgb=True),
):
    bench.INPUTS[made.name] = made


@dataclass(frozen=True)
class Row:
    """A conversion: the aims are speeds over the better peer, for Python 3.12 and newer, and for 3.11."""

    input: str
    target: str
    peers: tuple[str, ...]
    aim: float
    aim_311: float | None = None
    options: str = ""
    source: str = ""
    less: str = ""  # the input of fewer files or frames

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.input}-{self.target}" + ("-back" if self.source else "")

    def aim_under(self, python: str) -> float:
        """Return the aim for a version of Python."""
        return self.aim_311 if self.aim_311 is not None and python.startswith("3.11.") else self.aim


JPEGLS = ("gdcmconv -L {in} {out}", "dcmcjpls {in} {out}")
RLE = ("gdcmconv -R {in} {out}", "dcmcrle {in} {out}")
LOSSLESS = ("gdcmconv -J {in} {out}", "dcmcjpeg +e1 {in} {out}")
J2K = ("gdcmconv -K {in} {out}",)
JPEG = ("gdcmconv -J --lossy -q 90 {in} {out}", "dcmcjpeg +eb +q 90 {in} {out}")
BACK = ("gdcmconv -w {in:jpegls} {out}", "dcmdjpls {in:jpegls} {out}")
IMPLICIT = ("gdcmconv -M {in} {out}", "dcmconv +ti {in} {out}")

ROWS = (
    Row("ct200", "jpegls", JPEGLS, 1.9),
    Row("ct200", "rle", RLE, 2.6),
    Row("ct200", "jpeg-lossless", LOSSLESS, 1.8),
    Row("ct200", "htj2k", J2K, 9, 6),
    Row("ct200", "implicit", IMPLICIT, 3.2),
    Row("ct200", "j2k", J2K, 0.84, less="ct100"),
    Row("ct200", "explicit", BACK, 2.7, source="jpegls"),
    Row("frames400", "jpegls", JPEGLS, 1.9),
    Row("frames400", "htj2k", J2K, 20, 12, less="frames100"),
    Row("frames400", "j2k", J2K, 1.05, less="frames100"),
    Row("frames400", "rle", RLE, 1.5),
    Row("rgb100", "jpeg", JPEG, 1.5, options="--lossy -q 90"),
    Row("cr8", "jpegls", JPEGLS, 0.88),
    Row("cr8", "j2k", J2K, 0.52, less="cr4"),
)


@dataclass(frozen=True)
class Python:
    """An interpreter that runs dcmtx: `line` is how it is called."""

    path: str
    version: str
    line: tuple[str, ...]


def python_at(path: str) -> Python:
    """Return an interpreter; the one that runs this calls dcmtx as it is installed, another by its module."""
    version = subprocess.run(
        [path, "-c", "import platform; print(platform.python_version())"], check=True, capture_output=True, text=True
    ).stdout.strip()
    script = Path(sysconfig.get_path("scripts")) / "dcmtx"
    if path == sys.executable and script.exists():
        return Python(path, version, (str(script),))
    return Python(path, version, (path, "-P", "-c", ENTRY))


@dataclass
class Bench:
    """Everything that rows share. `lines` is the text so far, `entries` the figures."""

    place: Place
    pythons: list[Python]
    runs: int
    out: Path | None
    warm: list[Python] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Print a line, and keep it."""
        print(line, flush=True)
        self.lines.append(line)

    def keep(self, entry: dict[str, Any]) -> None:
        """Keep the figures of a row, and save everything."""
        self.entries.append(entry)
        if self.out is not None:
            about = bench.machine() | {"pythons": [asdict(one) for one in self.pythons], "runs": self.runs}
            self.out.write_text("\n".join(self.lines) + "\n", "utf-8")
            text = json.dumps(about | {"rows": self.entries}, indent=1)
            self.out.with_name(f"{self.out.name}.json").write_text(text + "\n", "utf-8")

    def environment(self, python: Python) -> dict[str, str]:
        """Return the environment that dcmtx is run with."""
        return self.place.environment | ({} if python.path == sys.executable else {"PYTHONPATH": str(ROOT)})

    def run(self, line: list[str], environment: dict[str, str]) -> measure.Run:
        """Run a command after everything before it was written to the disk, and remove what it wrote."""
        os.sync()
        run = measure.run(line, environment, self.place.work)
        if run.status == 0 and not self.place.out.exists():
            raise SystemExit(f"{line} wrote nothing")
        self.place.clear()
        return run

    def in_turn(self, ways: dict[str, tuple[list[str], dict[str, str]]]) -> dict[str, list[measure.Run]]:
        """Run commands in turn."""
        found: dict[str, list[measure.Run]] = {name: [] for name in ways}
        for _ in range(self.runs):
            for name, (line, environment) in ways.items():
                run = self.run(line, environment)
                if run.status != 0:
                    raise SystemExit(f"{name}: {line} ended with status {run.status}: {self.complaint()}")
                found[name].append(run)
        return found

    def complaint(self) -> str:
        """Return the last line that a command wrote to standard error."""
        said = (self.place.work / "stderr").read_text("utf-8", "replace").strip().splitlines()
        return said[-1] if said else ""


# --- conversions -----------------------------------------------------------------------------------------------


def conversions(bench_: Bench, rows: list[Row], *, whole: bool) -> None:
    """Measure rows beside their peers and limits."""
    heads = "".join(f" | {python.version:>7} s  x peer   aim  limit s  / limit (aim)" for python in bench_.pythons)
    bench_.say(f"\nconversions, dcmtx verified, medians of {bench_.runs}\n{'':26} {'peer s':>7} {'':9}{heads}")
    for row in rows:
        started = time.perf_counter()
        name = row.input if whole or not row.less else row.less
        try:
            conversion(bench_, row, name)
        except (SystemExit, subprocess.CalledProcessError) as error:
            bench_.say(f"{row.name:26} failed: {error}")
            bench_.keep({"row": row.name, "failed": str(error)})
        print(f"{'':26} took {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)


def conversion(bench_: Bench, row: Row, name: str) -> None:
    """Measure one row, with this input."""
    place, case = bench_.place, Case(row.name, name, ())
    source = place.native(name) if not row.source else place.converted(name, row.source)
    ways: dict[str, tuple[list[str], dict[str, str]]] = {}
    for python in bench_.pythons:
        line = [*python.line, str(source), str(place.out), "--to", row.target, *row.options.split()]
        ways[python.version] = line, bench_.environment(python)
        if python not in bench_.warm:
            # Compiles bytecode.
            bench_.run(*ways[python.version])
            bench_.warm.append(python)
    peers = {
        peer: (place.arguments(peer, case), place.environment) for peer in row.peers if bench.program(peer.split()[0])
    }
    best = better(bench_, peers)
    if best is not None:
        ways[best] = peers[best]
    found = bench_.in_turn(ways)
    entry: dict[str, Any] = {"row": row.name, "input": place.native(name).name, "peer": best, "limits": {}}
    theirs = [run.wall for run in found[best]] if best else []
    text = f"{row.name:26} " + (f"{median(theirs):7.2f} {best.split()[0]:9}" if best else f"{'-':>7} {'':9}")
    for python in bench_.pythons:
        ours = [run.wall for run in found[python.version]]
        limits = limit(bench_, python, row, source)
        entry["limits"][python.version] = limits
        faster = median(one / other for one, other in zip(theirs, ours, strict=True)) if best else None
        times = median(ours) / median(limits) if limits else None
        most = OF_THE_LIMIT.get(name)
        text += (
            f" | {median(ours):9.2f} {_number(faster):>7} {row.aim_under(python.version):5.2f} "
            f"{_number(median(limits) if limits else None):>8} {_number(times):>7} {f'({most})' if most else '':>7}"
        )
        entry[python.version] = {"faster_than_peer": faster, "aim": row.aim_under(python.version), "of_limit": times,
                                 "most_of_limit": most}  # fmt: skip
    entry["runs"] = {way: [asdict(run) for run in runs] for way, runs in found.items()}
    bench_.say(text.rstrip())
    bench_.keep(entry)


def better(bench_: Bench, peers: dict[str, tuple[list[str], dict[str, str]]]) -> str | None:
    """Return the faster of the peers that can do it."""
    tried = {peer: bench_.run(*way) for peer, way in peers.items()}
    able = {peer: run.wall for peer, run in tried.items() if run.status == 0}
    return min(able, key=lambda peer: able[peer]) if able else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def limit(bench_: Bench, python: Python, row: Row, source: Path) -> list[float]:
    """Return the seconds that the codec calls alone take, of each run."""
    options = row.options.replace("-q", "--quality").split()
    if source.is_dir():
        options += ["--most", "50" if len(list(source.iterdir())) > 50 else "4"]
    line = [python.path, str(HERE / "limit.py"), str(bench_.runs), str(source), "--to", row.target, *options]
    environment = bench_.environment(python) | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(line, check=True, capture_output=True, text=True, env=environment)
    seconds: list[float] = json.loads(ran.stdout)["seconds"]
    return seconds


# --- what lies between -----------------------------------------------------------------------------------------


def small_batches(bench_: Bench) -> None:
    """Measure 8 files as a batch beside one process for each."""
    place = bench_.place
    source = place.native("ct8")
    each = f"mkdir {place.out} && ls {source} | xargs -P{len(os.sched_getaffinity(0))} -I@ "
    bench_.say(f"\n8 CT: a batch beside one process per file, seconds, medians of {bench_.runs}")
    for target in ("jpegls", "implicit"):
        ways = {}
        for python in bench_.pythons:
            environment = bench_.environment(python)
            one = " ".join(f"'{word}'" for word in (*python.line, f"{source}/@", f"{place.out}/@", "--to", target))
            batch = [*python.line, str(source), str(place.out), "--to", target]
            ways[f"{python.version} batch"] = batch, environment
            ways[f"{python.version} each"] = ["/bin/sh", "-c", each + one], environment
        _table(bench_, f"8 CT to {target}", ways)


TMPFS = Path("/dev/shm")


def own_time(bench_: Bench) -> None:
    """Measure what a small file costs, without disk and without start-up."""
    with tempfile.TemporaryDirectory(prefix="dcmtx-own-", dir=TMPFS if TMPFS.is_dir() else None) as temporary:
        before, bench_.place = bench_.place, replace(bench_.place, work=Path(temporary), fresh=set())
        try:
            _own_time(bench_)
        finally:
            bench_.place = before


def _own_time(bench_: Bench) -> None:
    kind = _type_of(bench_.place.work)
    bench_.say(f"\nown time per small file on {kind}, --sync none, less start-up; aim: below 1.2 ms of wall clock")
    few, many = bench_.place.native("small100"), bench_.place.native("small1000")
    files = len(list(many.iterdir())) - len(list(few.iterdir()))
    if files == 0:
        bench_.say("it takes more files than --quick has")
        return
    for target in ("implicit", "rle"):
        for python in bench_.pythons:
            ways = {}
            for name, source in (("few", few), ("many", many)):
                line = [*python.line, str(source), str(bench_.place.out), "--to", target, "--sync", "none", "--quiet"]
                ways[name] = line, bench_.environment(python)
            found = bench_.in_turn(ways)
            wall, cpu = (
                median(_figure(run, what) for run in found["many"]) - median(_figure(run, what) for run in found["few"])
                for what in ("wall", "cpu")
            )
            text = f"{target:10} {python.version:8} wall {wall / files * 1e3:.3f} ms, CPU {cpu / files * 1e3:.3f} ms"
            bench_.say(text)
            bench_.keep({"row": f"own time {target} {python.version}", "wall": wall / files, "cpu": cpu / files})


def _figure(run: measure.Run, what: str) -> float:
    value: float = getattr(run, what)
    return value


def durability(bench_: Bench) -> None:
    """Measure files a second and fsyncs a file, on the disk of the work directory and on tmpfs."""
    python = bench_.pythons[0]
    directories = [bench_.place.work, *([TMPFS] if TMPFS.is_dir() else [])]
    source = bench_.place.native("ct200")
    files = len(list(source.iterdir()))
    bench_.say(f"\n{files} CT by --sync, Python {python.version}: files a second, fsyncs a file")
    for directory in directories:
        with tempfile.TemporaryDirectory(prefix="dcmtx-sync-", dir=directory) as temporary:
            for target in ("implicit", "htj2k"):
                for sync in ("always", "batch", "none"):
                    out = Path(temporary) / "out"
                    line = [*python.line, str(source), str(out), "--to", target, "--sync", sync, "--quiet"]
                    rate, calls = files / _seconds(bench_, line, out), _fsyncs(bench_, line, out)
                    per_file = f"{calls / files:.3f}" if calls is not None else "- (no strace)"
                    bench_.say(f"{_type_of(directory):8} {target:10} {sync:8} {rate:8.0f} {per_file}")
                    bench_.keep({"row": f"sync {_type_of(directory)} {target} {sync}", "rate": rate, "fsyncs": calls})


def _seconds(bench_: Bench, line: list[str], out: Path) -> float:
    """Return how long a command takes, the median."""
    walls = []
    for _ in range(bench_.runs):
        os.sync()
        walls.append(measure.run(line, bench_.environment(bench_.pythons[0]), bench_.place.work).wall)
        shutil.rmtree(out)
    return median(walls)


def _fsyncs(bench_: Bench, line: list[str], out: Path) -> int | None:
    """Return how often a command calls fsync; None without strace."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    ran = subprocess.run(
        [strace, "-f", "-c", "-e", "trace=fsync", *line],
        check=False, capture_output=True, text=True, env=bench_.environment(bench_.pythons[0]),
    )  # fmt: skip
    shutil.rmtree(out)
    if ran.returncode != 0:
        return None
    # Share of time, seconds, microseconds a call, calls, errors if any, name.
    counted = re.search(r"^\s*\S+\s+\S+\s+\S+\s+(\d+)\b.*\bfsync$", ran.stderr, re.MULTILINE)
    return int(counted[1]) if counted else 0


def _type_of(directory: Path) -> str:
    """Return the type of the file system."""
    found = ("", "?")
    for line in Path("/proc/mounts").read_text("utf-8").splitlines():
        _, point, kind, *_ = line.split()
        if directory.is_relative_to(point) and len(point) > len(found[0]):
            found = point, kind
    return found[1]


def served(bench_: Bench) -> None:
    """Measure one CT to JPEG-LS through the server by the entry point beside gdcmconv."""
    from serve import Bench as Serving

    peer = shutil.which("gdcmconv")
    bench_.say("\none CT to JPEG-LS, verified, through `dcmtx serve`; aims: 1.3 times gdcmconv's wall, half its CPU")
    if peer is None:
        bench_.say("gdcmconv is not installed")
        return
    with tempfile.TemporaryDirectory(prefix="s") as temporary:
        serving = Serving(Path(temporary), "")
        try:
            out = str(Path(temporary) / "out.dcm")
            ways = {
                "entry point": ([serving.dcmtx, str(serving.source), out, "-L"], serving.environment),
                # What pip 26 and newer write: no expression is compiled.
                "short entry": ([sys.executable, "-c", f"import sys; {ENTRY}", str(serving.source), out, "-L"],
                                serving.environment),
                "gdcmconv": ([peer, "-L", str(serving.source), out], serving.alone),
            }  # fmt: skip
            found: dict[str, list[measure.Run]] = {name: [] for name in ways}
            for turn in range(max(15, bench_.runs) + 1):
                for name, (line, environment) in ways.items():
                    run = measure.run(line, environment, Path(temporary))
                    if run.status != 0:
                        raise SystemExit(f"{line} ended with status {run.status}")
                    if turn:
                        found[name].append(run)
        finally:
            serving.end()
    theirs = found["gdcmconv"]
    for name, runs in found.items():
        wall, cpu = (median(_figure(run, what) for run in runs) for what in ("wall", "cpu"))
        ratios = [
            median(_figure(one, what) / _figure(other, what) for one, other in zip(runs, theirs, strict=True))
            for what in ("wall", "cpu")
        ]
        bench_.say(
            f"{name:14} wall {wall * 1e3:6.1f} ms, CPU {cpu * 1e3:5.1f} ms; of gdcmconv's: wall {ratios[0]:.2f}, "
            f"CPU {ratios[1]:.2f}"
        )
        bench_.keep({"row": f"served {name}", "wall": wall, "cpu": cpu, "of_wall": ratios[0], "of_cpu": ratios[1]})


def _table(bench_: Bench, name: str, ways: dict[str, tuple[list[str], dict[str, str]]]) -> None:
    """Run commands in turn, and say the medians of wall clock and CPU."""
    for way in ways.values():
        bench_.run(*way)
    found = bench_.in_turn(ways)
    for way, runs in found.items():
        wall, cpu = (median(_figure(run, what) for run in runs) for what in ("wall", "cpu"))
        bench_.say(f"{name:18} {way:16} wall {wall:.3f}, CPU {cpu:.3f}")
        bench_.keep({"row": f"{name} {way}", "wall": wall, "cpu": cpu})


PARTS: dict[str, Callable[[Bench], None]] = {
    "small-batches": small_batches,
    "own-time": own_time,
    "durability": durability,
    "served": served,
}


def main() -> int:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", default=["*"], metavar="NAMES", help="patterns of rows and parts")
    parser.add_argument("--runs", type=int, default=3, help="turns; medians are shown")
    parser.add_argument("--out", type=Path, metavar="FILE", help="save the tables here, and all figures in FILE.json")
    parser.add_argument("--python", action="append", default=[], metavar="PATH", help="another Python, with the codecs")
    parser.add_argument("--whole", action="store_true", help="all frames in every row; takes much longer")
    parser.add_argument("--quick", action="store_true", help="8 files and frames: to see that everything runs")
    parser.add_argument("--work", type=Path, metavar="DIRECTORY", help="keep inputs here (default: temporary)")
    parser.add_argument("--ct", default="", metavar="FILE", help="a real CT image of 512 by 512, instead of a phantom")
    parser.add_argument("--list", action="store_true", help="only list rows and parts")
    options = parser.parse_args()

    def wanted(name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in options.names)

    rows = [row for row in ROWS if wanted(row.name)]
    parts = {name: part for name, part in PARTS.items() if wanted(name)}
    if options.list or not (rows or parts):
        print("\n".join([*(row.name for row in ROWS), *PARTS]))
        return 0 if options.list else 2
    with tempfile.TemporaryDirectory(prefix="dcmtx-bench-") as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"OPENBLAS_NUM_THREADS": "1", "DCMTX_SOCKET": ""}
        ct = str(Path(options.ct).resolve()) if options.ct else ""
        place = Place(work.resolve(), ct, 8 if options.quick else None, environment)
        pythons = [python_at(path) for path in (sys.executable, *options.python)]
        bench_ = Bench(place, pythons, options.runs, options.out)
        about = bench.machine()
        versions = ", ".join(python.version for python in pythons)
        bench_.say(f"{about['processor']}, {about['cores']} cores, Python {versions}; load {os.getloadavg()[0]:.1f}")
        if options.quick:
            bench_.say(f"--quick: of every input {place.limit} files or frames at most, which is no measurement")
        try:
            if rows:
                conversions(bench_, rows, whole=options.whole)
            for part in parts.values():
                part(bench_)
        finally:
            place.clear()
            (work / "stderr").unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
