"""Measure dcmtx as whole processes, beside its peers: `python tests/bench/bench.py [OPTIONS] [NAMES...]`.

Each case has one line in CASES: an input and the commands that convert it. They run in turn (A B C A B C ...), so that
drift of the machine meets all alike; shown are medians, ratios are medians of the ratios within each turn. A warm-up
comes first; it compiles bytecode, fills the page cache, and is the run from which the memory of process trees is taken.
NAMES are patterns for the names of cases, such as 'ct-*'; the default is all.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

import measure

HERE = Path(__file__).resolve().parent
OURS = "dcmtx"

# --- inputs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Input:
    """Native files that the bench makes: frames of 512 by 512, with these Bits Stored (12 where a CT is given)."""

    name: str
    frames: int
    stored: int
    files: int = 1
    rgb: bool = False
    kind: str = ""


INPUTS = {
    row.name: row
    for row in (
        Input("ct", 1, 12),
        Input("multi12", 400, 12),
        Input("multi16", 400, 16),
        Input("us", 100, 8, rgb=True),
        Input("directory", 1, 12, files=1000),
    )
}

# --- cases -----------------------------------------------------------------------------------------------------
#
# In a command, {in} is the input in Explicit VR Little Endian, {in:NAME} the same as dcmtx converts it to NAME, {out}
# what is to be written, {geometry} what the bare script must know. A command that begins with another word than dcmtx
# is a peer; a peer that is not installed is left out. Of an input of several files, {in} and {out} are directories, and
# a peer is started for each file, by `xargs -P` on as many cores as there are.

UNVERIFIED = "--no-verify"


@dataclass(frozen=True)
class Case:
    """One comparison. `same` says that {out} is native and must end with the pixels of the input."""

    name: str
    input: str
    commands: tuple[str, ...]
    note: str = ""
    same: bool = False


@dataclass(frozen=True)
class Target:
    """A syntax to convert to, and back to Explicit: the commands of the peers, and whether pixels are coded."""

    name: str
    peers: tuple[str, ...]
    back: tuple[str, ...]
    coded: bool = True
    bare: bool = False
    note: str = ""
    inputs: tuple[str, ...] = ("ct", "multi12", "multi16", "us", "directory")
    options: str = ""

    @property
    def lossless(self) -> bool:
        """Whether the way back ends with the words of the input."""
        return not self.options


TARGETS = (
    Target("jpegls", ("gdcmconv -L {in} {out}", "dcmcjpls {in} {out}"),
           ("gdcmconv -w {in:jpegls} {out}", "dcmdjpls {in:jpegls} {out}"), bare=True),
    Target("j2k", ("gdcmconv -K {in} {out}",), ("gdcmconv -w {in:j2k} {out}",), bare=True),
    Target("jpeg-lossless", ("gdcmconv -J {in} {out}", "dcmcjpeg +e1 {in} {out}"),
           ("gdcmconv -w {in:jpeg-lossless} {out}", "dcmdjpeg {in:jpeg-lossless} {out}")),
    Target("rle", ("gdcmconv -R {in} {out}", "dcmcrle {in} {out}"),
           ("gdcmconv -w {in:rle} {out}", "dcmdrle {in:rle} {out}"), bare=True),
    Target("htj2k", ("gdcmconv -K {in} {out}",), ("gdcmconv -w {in:j2k} {out}",), bare=True,
           note="gdcmconv has no HTJ2K: its JPEG 2000 stands in"),
    Target("deflated", ("gdcmconv -d {in} {out}", "dcmconv +td {in} {out}"),
           ("gdcmconv -X {in:deflated} {out}", "dcmconv +te {in:deflated} {out}"), coded=False),
    Target("jpeg", ("gdcmconv -J --lossy -q 90 {in} {out}", "dcmcjpeg +eb +q 90 {in} {out}"),
           ("gdcmconv -w {in:jpeg} {out}", "dcmdjpeg {in:jpeg} {out}"), inputs=("us",), options=" --lossy -q 90"),
    Target("implicit", ("gdcmconv -M {in} {out}", "dcmconv +ti {in} {out}"),
           ("gdcmconv -X {in:implicit} {out}", "dcmconv +te {in:implicit} {out}"), coded=False),
)  # fmt: skip

START_UP = (
    Case("start-help", "ct", ("dcmtx --help", "python -c 'import click'")),
    Case("start-copy", "ct", ("dcmtx {in} {out} --to explicit", "python -c 'import click'")),
    Case("start-jpegls", "ct", (
        "dcmtx {in} {out} --to jpegls",
        "python bare.py jpegls {geometry} {in} {out} --verify",
        "python -c 'import click, numpy, imagecodecs'",
    ), "one CT image, verified; the script does the same codec calls"),
)  # fmt: skip


def conversions() -> Iterator[Case]:
    """Yield there and back again for every input and target."""
    for target in TARGETS:
        for source in target.inputs:
            of = INPUTS[source]
            ways = ("", f" {UNVERIFIED}") if target.coded else ("",)
            there = tuple(f"dcmtx {{in}} {{out}} --to {target.name}{target.options}{way}" for way in ways)
            bare = f"python bare.py {target.name} {{geometry}} {{in}} {{out}}"
            scripts = (bare,) if target.bare and of.files == 1 and not of.rgb else ()
            yield Case(f"{source}-{target.name}", source, there + scripts + target.peers, target.note)
            back = tuple(f"dcmtx {{in:{target.name}}} {{out}} --to explicit{way}" for way in ways)
            yield Case(f"{source}-{target.name}-back", source, back + target.back, target.note, same=target.lossless)


# One worker is what several are compared with; it takes the place of a peer.
WORKERS = tuple(
    Case(f"workers-{name}", "directory", (
        f"dcmtx {{in}} {{out}} --to {name} {UNVERIFIED}",
        f"env dcmtx {{in}} {{out}} --to {name} {UNVERIFIED} -j 1",
    ), "all cores beside one worker")
    for name in ("jpegls", "j2k", "rle", "implicit")
)  # fmt: skip

CASES = (*START_UP, *conversions(), *WORKERS)
_OPTIONS = {target.name: target.options.split() for target in TARGETS}

# --- files -----------------------------------------------------------------------------------------------------


@dataclass
class Place:
    """Where inputs are kept, where outputs come and go, and with what environment programs run."""

    work: Path
    ct: str
    limit: int | None  # of frames, and of files
    environment: dict[str, str] = field(default_factory=dict)
    fresh: set[Path] = field(default_factory=set)

    @property
    def out(self) -> Path:
        """What commands write."""
        return self.work / "out.dcm"

    def written(self) -> int:
        """Return the bytes of what a command wrote, a file or a directory."""
        return sum(path.stat().st_size for path in (self.out, *self.out.rglob("*")) if path.is_file())

    def clear(self) -> None:
        """Remove what a command wrote."""
        if self.out.is_dir():
            shutil.rmtree(self.out)
        self.out.unlink(missing_ok=True)

    def native(self, name: str) -> Path:
        """Return an input, made if need be."""
        stem = self._stem(name)
        if not self.geometry(name).exists():
            made = INPUTS[name]
            kind = made.kind or ("files" if made.files > 1 else "rgb" if made.rgb else "grey")
            count = self._count(name)
            words = [str(self.work), self.ct, stem, kind, str(count), str(made.stored)]
            self._call(sys.executable, str(HERE / "inputs.py"), *words)
        return self.work / (stem if INPUTS[name].files > 1 else f"{stem}.dcm")

    def geometry(self, name: str) -> Path:
        """Return the file that describes an input; it is written last."""
        return self.work / f"{self._stem(name)}.geometry"

    def converted(self, name: str, target: str) -> Path:
        """Return an input in another syntax, converted by dcmtx as it is now."""
        native = self.native(name)
        path = self.work / f"{self._stem(name)}.{target}{native.suffix}"
        if path not in self.fresh:
            self._call(*program(OURS), str(native), str(path), "--to", target, *_OPTIONS[target])
            self.fresh.add(path)
        return path

    def _count(self, name: str) -> int:
        """Return how many frames or files an input has."""
        count = max(INPUTS[name].frames, INPUTS[name].files)
        return min(count, self.limit or count)

    def _stem(self, name: str) -> str:
        return f"{name}-{self._count(name)}" + (f"-{Path(self.ct).name}" if self.ct else "")

    def _call(self, *arguments: str) -> None:
        subprocess.run(arguments, check=True, env=self.environment)

    def arguments(self, command: str, case: Case) -> list[str]:
        """Return a command as it is run."""
        first, *rest = shlex.split(command)
        if INPUTS[case.input].files > 1 and first not in (OURS, "env"):
            return self._each(first, rest, case)
        found = [*program(first)]
        for word in rest:
            if word == "{out}":
                found.append(str(self.out))
            elif word == "{in}":
                found.append(str(self.native(case.input)))
            elif word.startswith("{in:"):
                found.append(str(self.converted(case.input, word[4:-1])))
            elif word == "{geometry}":
                self.native(case.input)
                found.append(self.geometry(case.input).read_text("ascii"))
            elif word == "bare.py":
                found += ["-c", _BARE]
            elif word == OURS:
                found += program(OURS)
            else:
                found.append(word)
        return found

    def _each(self, peer: str, words: list[str], case: Case) -> list[str]:
        """Return a peer called for every file of a directory, on all cores, as a shell user does it."""
        source = next(word for word in words if word.startswith("{in"))
        directory = self.native(case.input) if source == "{in}" else self.converted(case.input, source[4:-1])
        names = {source: f"{directory}/@", "{out}": f"{self.out}/@"}
        line = shlex.join([*program(peer), *(names.get(word, word) for word in words)])
        cores = len(os.sched_getaffinity(0))
        listing = f"mkdir {self.out} && find {shlex.quote(str(directory))} -type f -printf '%f\\n'"
        return ["/bin/sh", "-c", f"{listing} | xargs -P{cores} -I@ {line}"]


# Imported, not run as a file, which would be compiled every time.
_BARE = f"import sys; sys.path.append({str(HERE)!r}); from bare import main; main()"


def program(name: str) -> tuple[str, ...]:
    """Return how a program is called; empty if it is not installed."""
    if name == "python":
        return (sys.executable,)
    # As installed: the script that stands beside this interpreter.
    script = Path(sysconfig.get_path("scripts")) / name
    path = str(script) if name == OURS and script.exists() else shutil.which(name)
    return (path,) if path else ()


def same_pixels(case: Case, place: Place) -> bool:
    """Tell whether the file written ends with the pixels of the input, padding aside."""
    source = place.native(case.input)
    offset = int(place.geometry(case.input).read_text("ascii").split(",")[-1])
    if source.is_dir():
        return all(_same_words(path, offset, place.out / path.name) for path in source.iterdir())
    return _same_words(source, offset, place.out)


def _same_words(source: Path, offset: int, written: Path) -> bool:
    size = source.stat().st_size - offset
    if not written.exists() or (start := written.stat().st_size - size) < 0:
        return False
    with source.open("rb") as wanted, written.open("rb") as found:
        wanted.seek(offset)
        found.seek(start)
        while block := wanted.read(1 << 20):
            if found.read(len(block)) != block:
                return False
    return True


# --- measuring -------------------------------------------------------------------------------------------------


@dataclass
class Result:
    """What a command took: seconds by run, peaks of memory in bytes, size of what it wrote."""

    command: str
    status: int = 0
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rss: int = 0
    pss: int = 0
    size: int = 0
    remark: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is dcmtx."""
        return self.command.split()[0] == OURS


@dataclass
class Ratio:
    """How many times as much dcmtx takes as a peer: the median over turns."""

    ours: str
    peer: str
    wall: float
    cpu: float


def measured(case: Case, place: Place, runs: int) -> list[Result]:
    """Run the commands of a case in turn."""
    lines = {command: place.arguments(command, case) for command in case.commands if program(command.split()[0])}
    results = {command: Result(command) for command in lines}
    for command, line in lines.items():
        warm_up(results[command], line, case, place)
    for _ in range(runs):
        for command, result in results.items():
            if result.status == 0:
                # What the one before left to be written is not this one's burden.
                os.sync()
                run = measure.run(lines[command], place.environment, place.work)
                place.clear()
                result.status = run.status
                result.wall.append(run.wall)
                result.cpu.append(run.cpu)
                result.rss = max(result.rss, run.rss)
    for result in results.values():
        if result.status != 0:
            result.remark = result.remark or f"failed ({result.status})"
    return list(results.values())


def warm_up(result: Result, line: list[str], case: Case, place: Place) -> None:
    """Run a command untimed, sample its memory, and look at what it wrote."""
    first, result.pss = measure.run_for_memory(line, place.environment, place.work)
    result.status = first.status
    if first.status != 0:
        said = (place.work / "stderr").read_text("utf-8", "replace").strip().splitlines()
        result.remark = f"failed ({first.status}): {said[-1] if said else ''}"
    else:
        result.size = place.written()
        if case.same and not same_pixels(case, place):
            result.remark = "not the words of the input"
    place.clear()


def ratios(results: list[Result]) -> list[Ratio]:
    """Return every ratio of dcmtx to a peer."""
    done = [result for result in results if result.status == 0]
    return [
        Ratio(ours.command, peer.command, _paired(ours.wall, peer.wall), _paired(ours.cpu, peer.cpu))
        for ours in done if ours.ours
        for peer in done if not peer.ours
    ]  # fmt: skip


def _paired(ours: list[float], peer: list[float]) -> float:
    return median(one / max(other, 1e-6) for one, other in zip(ours, peer, strict=True))


# --- showing ---------------------------------------------------------------------------------------------------


def show(case: Case, results: list[Result], found: list[Ratio]) -> None:
    """Print a case as a table; behind each peer stands how many times as much dcmtx takes, wall clock and CPU."""
    ways = [result.command for result in results if result.ours and result.status == 0]
    heads = "".join(f" {'unverified' if UNVERIFIED in way else 'dcmtx'} / it".rjust(18) for way in ways)
    print(f"\n{case.name}" + (f"  ({case.note})" if case.note else ""))
    print(f"  {'':46} {'wall s':>8} {'cpu s':>8} {'rss MB':>7} {'pss MB':>7} {'out MB':>8}{heads}")
    for result in results:
        label = short(result.command)
        if result.status != 0:
            print(f"  {label:46} {result.remark[:90]}")
            continue
        times = f"{median(result.wall):8.3f} {median(result.cpu):8.3f}"
        sizes = f"{result.rss / 1e6:7.0f} {result.pss / 1e6:7.0f} {result.size / 1e6:8.2f}"
        mine = {ratio.ours: ratio for ratio in found if ratio.peer == result.command}
        columns = "".join(f"{mine[way].wall:9.2f} {mine[way].cpu:8.2f}" if mine else " " * 18 for way in ways)
        print(f"  {label:46} {times} {sizes}{columns}  {result.remark}".rstrip())
    sys.stdout.flush()


def short(command: str) -> str:
    """Return a command without its files."""
    return " ".join(word for word in command.split() if word not in ("{in}", "{out}", "{geometry}"))


def machine() -> dict[str, object]:
    """Return what figures depend on."""
    cores = len(os.sched_getaffinity(0))
    names = ("dcmtx", "click", "numpy", "pydicom", "imagecodecs", "pyjpegls")
    return {
        "processor": _processor(), "cores": cores, "system": platform.platform(), "python": platform.python_version(),
        "libraries": {name: version(name) for name in names},
    }  # fmt: skip


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


# --- the command -----------------------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=["*"], metavar="NAMES", help="patterns for the names of cases")
    parser.add_argument("--quick", action="store_true", help="one turn, 8 frames or files: to see that everything runs")
    parser.add_argument("--runs", type=int, default=5, help="turns")
    parser.add_argument("--json", metavar="FILE", help="write the figures of every run to a file")
    parser.add_argument("--ct", default="", metavar="FILE", help="a real CT image of 512 by 512, instead of a phantom")
    parser.add_argument("--work", metavar="DIRECTORY", help="keep inputs here (default: temporary, removed at the end)")
    parser.add_argument("--list", action="store_true", help="only list the names of cases")
    return parser.parse_args()


def main() -> int:
    """Run the cases asked for."""
    options = arguments()
    chosen = [case for case in CASES if any(fnmatch.fnmatch(case.name, name) for name in options.names)]
    if not chosen or options.list:
        print("\n".join(case.name for case in chosen or CASES))
        return 0 if options.list else 2
    with tempfile.TemporaryDirectory(prefix="dcmtx-bench-") as temporary:
        work = Path(options.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        # dcmtx sets this itself. Without it, NumPy's idle threads would count against every other Python process.
        environment["OPENBLAS_NUM_THREADS"] = "1"
        ct = str(Path(options.ct).resolve()) if options.ct else ""
        place = Place(work, ct, 8 if options.quick else None, environment)
        try:
            measure_all(chosen, place, 1 if options.quick else options.runs, options.json)
        finally:
            place.clear()
            (work / "stderr").unlink(missing_ok=True)
    return 0


def measure_all(cases: list[Case], place: Place, runs: int, report: str | None) -> None:
    """Measure, print, and write the report after every case, so that an interruption loses little."""
    about = machine()
    print(f"{about['processor']}, {about['cores']} cores, Python {about['python']}; medians of {runs}")
    print(f"load {os.getloadavg()[0]:.1f}; resident memory below {measure.own_peak() / 1e6:.0f} MB cannot be told")
    entries = []
    for case in cases:
        results = measured(case, place, runs)
        found = ratios(results)
        show(case, results, found)
        entries.append(asdict(case) | {"results": list(map(asdict, results)), "ratios": list(map(asdict, found))})
        if report:
            text = json.dumps(about | {"runs": runs, "cases": entries}, indent=1)
            Path(report).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
