"""While a file is converted: progress on a terminal, and what an interruption leaves."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import dicom
import numpy as np
import pytest
from conftest import PATIENCE, contents, old_file, spawn, wait_until

from dcmtx.cli import frames as frames_module
from dcmtx.cli.frames import FrameProgress

ROWS, COLUMNS, COUNT = 64, 64, 40
PIXELS = np.random.default_rng(5).integers(0, 4096, (COUNT, ROWS, COLUMNS), np.uint16)

# Runs dcmtx with functions that write a byte to a file for each call, or each 64 KiB of what they are given. By these
# the clock of the progress bar goes, which is redrawn whenever it moves; after so many, calls do not return any more.
SLOW = """
import importlib, os, sys, time, types
tick, most, mark, *places = sys.argv[1].split(",")
def slowed(function):
    def slow(*arguments, **options):
        sizes = [len(one) for one in arguments if isinstance(one, (bytes, memoryview))]
        with open(mark, "ab", buffering=0) as file:
            file.write(b"." * max(1, max(sizes, default=0) >> 16))
            while file.tell() > int(most):
                # Not long: a signal just before a sleep is heeded when it ends.
                time.sleep(0.05)
        return function(*arguments, **options)
    return slow
from dcmtx.cli import frames
from rich.progress import Progress
frames.time = types.SimpleNamespace(perf_counter=lambda: os.path.getsize(mark) * float(tick))
update = Progress.update
Progress.update = lambda *arguments, **options: update(*arguments, **options | {"refresh": True})
for place in places:
    module, *names = place.split(":")
    owner = importlib.import_module(module)
    for name in names[:-1]:
        owner = getattr(owner, name)
    setattr(owner, names[-1], slowed(getattr(owner, names[-1])))
del sys.argv[1]
from dcmtx.cli import main
main()
"""
CODECS = ",".join(
    f"dcmtx.codec.rle:{name}_{backend}" for name in ("encode", "decode") for backend in ("imagecodecs", "pylibjpeg")
)
DEFLATER = "dcmtx.place.deflate:Deflating:write"
INFLATER = "dcmtx.place.bytes:Spool:write"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same images in several syntaxes."""
    from dcmtx import transcode

    directory = tmp_path_factory.mktemp("sources")
    native = directory / "native.dcm"
    image = dicom.Image(PIXELS.tobytes(), rows=ROWS, columns=COLUMNS, stored=12, frames=COUNT)
    native.write_bytes(image.encode())
    found = {"explicit": native}
    for name in ("rle", "deflated"):
        found[name] = directory / f"{name}.dcm"
        transcode(native, found[name], to=name)
    return found


class Slow:
    """A slow conversion in a process of its own, which is ended in any case.

    By its clock a call takes `tick` seconds; it makes no more than `most`.
    """

    def __init__(
        self,
        tmp_path: Path,
        *arguments: str | Path,
        tick: float = 0.05,
        most: int = 1_000_000,
        places: str = CODECS,
        **options: Any,
    ) -> None:
        self.mark = tmp_path / "mark"
        self.mark.write_bytes(b"")
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
        line = [sys.executable, "-c", SLOW, f"{tick},{most},{self.mark},{places}", *map(str, arguments)]
        self.process = subprocess.Popen(line, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)
        self.mark.unlink(missing_ok=True)

    def wait_for(self, calls: int) -> None:
        """Wait until so many calls have begun."""

        def begun() -> bool:
            assert self.process.poll() is None, "it ended before it could be disturbed"
            return self.mark.stat().st_size >= calls

        wait_until(begun)

    def end(self, number: signal.Signals | None = None) -> tuple[int, bytes, bytes]:
        """Wait for its end, after a signal if one is given; return status and output."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err

    def children(self) -> list[int]:
        """Return the processes that it started."""
        pid = self.process.pid
        found = []
        with suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                text = Path(f"/proc/{pid}/task/{task}/children").read_text("ascii")
                found += [int(word) for word in text.split()]
        return found


class Terminal:
    """A terminal that a process may write to."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        self.environment = {
            name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CI")
        } | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
        os.set_blocking(self._ours, False)
        self.text = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in (self._ours, self.theirs):
            os.close(descriptor)

    def read(self) -> str:
        """Return all that was written so far."""
        with suppress(BlockingIOError, OSError):
            while part := os.read(self._ours, 1 << 16):
                self.text += part.decode()
        return self.text

    def wait_for(self, pattern: str) -> None:
        """Wait until something is written."""
        wait_until(lambda: re.search(pattern, self.read()), lambda: repr(self.text))


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal() as found:
        yield found


def shown(text: str) -> str:
    """Return what is left of a text on a terminal: lines that were erased are gone, colours too."""
    lines = [""]
    column_zero = False
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if part == "\n":
            lines.append("")
            column_zero = False
        elif part == "\r":
            column_zero = True
        elif part == "\x1b[2K" or (part == "\x1b[K" and column_zero):
            lines[-1] = ""
        elif re.fullmatch(r"\x1b\[\d*A", part):
            del lines[len(lines) - int(part[2:-1] or 1) :]
        elif not part.startswith("\x1b"):
            lines[-1] = part if column_zero else lines[-1] + part
            column_zero = False
    return "\n".join(lines)


def is_shown(text: str) -> bool:
    """Whether the cursor is, at the end."""
    return text.rfind("\x1b[?25h") >= text.rfind("\x1b[?25l")


# --- progress ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
def test_frames_are_counted_on_a_terminal(
    workers: str, sources: dict[str, Path], tmp_path: Path, terminal: Terminal
) -> None:
    dst = tmp_path / "out.dcm"
    line = [sources["explicit"], dst, "--to", "rle", "-j", workers, "--no-verify"]
    with Slow(tmp_path, *line, stderr=terminal.theirs, env=terminal.environment) as slow:
        status, out, _ = slow.end()
    text = terminal.read()
    assert (status, out) == (0, b"")
    counts = [int(count) for count in re.findall(rf"(\d+)/{COUNT}\b", text) if int(count)]
    # Not before a second has passed, and to the end.
    assert 3 <= counts[0] <= 25
    assert counts == sorted(counts)
    assert len(set(counts)) >= 5
    assert counts[-1] >= COUNT - 10
    assert "frames" in text
    assert shown(text).strip() == ""
    assert is_shown(text)
    assert dicom.walk(dst.read_bytes()).syntax == dicom.RLE


QUIET: dict[str, tuple[list[str], float, bool]] = {
    "a file that takes less than a second": ([], 0.0, True),
    "a slow one, quietly": (["--quiet"], 0.04, True),
    "a slow one where standard error is no terminal": ([], 0.04, False),
}


@pytest.mark.parametrize(("options", "tick", "on_terminal"), QUIET.values(), ids=list(QUIET))
def test_nothing_is_shown_of(
    options: list[str], tick: float, on_terminal: bool, sources: dict[str, Path], tmp_path: Path, terminal: Terminal
) -> None:
    line = [sources["explicit"], tmp_path / "out.dcm", "--to", "rle", "--no-verify", "-j", "1", *options]
    where = {"stderr": terminal.theirs} if on_terminal else {"stdout": terminal.theirs, "stdin": terminal.theirs}
    with Slow(tmp_path, *line, tick=tick, env=terminal.environment, **where) as slow:
        status, out, err = slow.end()
    assert (status, out or b"", err or b"") == (0, b"", b"")
    assert terminal.read() == ""


def test_an_error_stands_on_a_line_of_its_own(sources: dict[str, Path], tmp_path: Path, terminal: Terminal) -> None:
    data = bytearray(sources["rle"].read_bytes())
    walked = dicom.walk(bytes(data))
    last = walked.fragments[-1]
    # More segments than the last frame has.
    data[data.rindex(last)] = 9
    (tmp_path / "in.dcm").write_bytes(data)
    line = [tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "explicit", "-j", "1"]
    with Slow(tmp_path, *line, stderr=terminal.theirs, env=terminal.environment) as slow:
        status, _, _ = slow.end()
    text = terminal.read()
    assert status in (3, 6)
    assert re.search(rf"\d+/{COUNT}\b", text)
    assert re.fullmatch(rf"dcmtx: .*in\.dcm: frame {COUNT}: [^\n]+", shown(text).replace("\n", "").strip())
    assert is_shown(text)
    assert sorted(os.listdir(tmp_path)) == ["in.dcm"]


def test_native_pixels_that_take_long_are_counted_too(tmp_path: Path, terminal: Terminal) -> None:
    frames = 30
    image = dicom.Image(bytes(512 * 1024 * 2) * frames, rows=512, columns=1024, stored=12, frames=frames)
    (tmp_path / "in.dcm").write_bytes(image.encode())
    line = [tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "deflated"]
    options = {"tick": 0.06 / 16, "places": DEFLATER, "stderr": terminal.theirs, "env": terminal.environment}
    with Slow(tmp_path, *line, **options) as slow:
        assert slow.end()[0] == 0
    assert re.search(rf"\d+/{frames}\b", terminal.read())


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> tuple[Clock, list[tuple[float, int]]]:
    """Have a clock to turn, and what bars are told by it."""
    clock = Clock()
    told: list[tuple[float, int]] = []

    class Bar:
        def update(self, *_: object, completed: int) -> None:
            told.append((clock.now - 1000, completed))

        def stop(self) -> None:
            told.append((clock.now - 1000, -1))

    monkeypatch.setattr(frames_module, "time", clock)
    monkeypatch.setattr("dcmtx.cli.bars.start_bar", lambda *_: (Bar(), None))
    monkeypatch.setattr(frames_module, "sys", types.SimpleNamespace(stderr=types.SimpleNamespace(isatty=lambda: True)))
    return clock, told


def test_the_bar_comes_after_a_second_and_moves_ten_times_a_second_at_most(bars: Any) -> None:
    clock, told = bars
    with FrameProgress(quiet=False) as frames:
        for number in range(1, 301):
            clock.now += 0.01
            frames.advance(number, 300)
    *moves, end = told
    assert end == (pytest.approx(3), -1)
    assert moves[0] == (pytest.approx(1, abs=0.02), pytest.approx(100, abs=2))
    assert all(later[0] - earlier[0] >= 0.0999 for earlier, later in pairwise(moves))
    assert len(moves) >= 18


@pytest.mark.parametrize("seconds", [0.0, 0.5, 0.99])
def test_the_bar_does_not_come_before(seconds: float, bars: Any) -> None:
    clock, told = bars
    with FrameProgress(quiet=False) as frames:
        clock.now += seconds
        for number in range(1000):
            frames.advance(number, 1000)
    assert told == []


# Shows a bar at once, and says something while it stands.
SAYING = """
import sys, warnings
from dcmtx.cli import frames, say
frames._PATIENCE = frames._INTERVAL = 0
with frames.FrameProgress(quiet=False) as bar:
    for done in range(1, 6):
        bar.advance(done, 5)
        say(f"dcmtx: [bold]note {done}[/bold] :smile: " + "x" * 150)
    print("a library speaks", file=sys.stderr)
say("dcmtx: behind")
"""


def test_what_is_said_while_the_bar_stands_is_written_above_it(terminal: Terminal) -> None:
    options = {"stderr": terminal.theirs, "env": terminal.environment}
    subprocess.run([sys.executable, "-c", SAYING], check=True, timeout=60, stdin=subprocess.DEVNULL, **options)
    text = terminal.read()
    assert "5/5" in text
    wanted = [*(f"dcmtx: [bold]note {done}[/bold] :smile: " + "x" * 150 for done in range(1, 6)), "a library speaks"]
    said = re.findall(r"\r\x1b\[2K((?:dcmtx|a lib)[^\x1b\r\n]*)\r\n", text)
    assert said == wanted
    assert shown(text).replace("\n\n", "\n").strip().endswith("dcmtx: behind")
    assert is_shown(text)


# --- interruptions -----------------------------------------------------------------------------------------------
#
# Of threads, of processes that code frames, and of what goes in and out of Deflated: each somewhere in the middle.

RAW = "explicit"
WORK: dict[str, tuple[str, list[str], str]] = {
    "frames by one worker": (RAW, ["--to", "rle", "-j", "1"], CODECS),
    "frames by threads": (RAW, ["--to", "rle", "-j", "2", "--offset-table", "extended"], CODECS),
    "frames by processes": (RAW, ["--to", "rle", "-j", "2", "--encoder", "pylibjpeg-rle"], CODECS),
    "native frames by processes": ("rle", ["--to", "implicit", "-j", "2", "--decoder", "pylibjpeg-rle"], CODECS),
    "native frames in place": ("rle", ["--to", "explicit", "-j", "2"], CODECS),
    "a data set that is deflated": ("rle", ["--to", "deflated", "-j", "1"], f"{CODECS},{DEFLATER}"),
    "a data set that is inflated": ("deflated", ["--to", "implicit"], INFLATER),
}
ENDINGS = {"SIGINT": (signal.SIGINT, 130), "SIGTERM": (signal.SIGTERM, 143), "SIGKILL": (signal.SIGKILL, -9)}


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and only waits to be asked how does not."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[:1]
    except OSError:
        return False


def assert_gone(pids: list[int]) -> None:
    """Assert that these processes end."""
    wait_until(lambda: not any(map(is_alive, pids)), lambda: "processes are left over")


@pytest.mark.parametrize(("number", "status"), ENDINGS.values(), ids=list(ENDINGS))
@pytest.mark.parametrize(("source", "options", "places"), WORK.values(), ids=list(WORK))
def test_nothing_is_left_of(
    source: str, options: list[str], places: str, number: signal.Signals, status: int,
    sources: dict[str, Path], tmp_path: Path,
) -> None:  # fmt: skip
    there = tmp_path / "there"
    there.mkdir()
    src, dst = there / "in.dcm", old_file(there / "out.dcm")
    src.write_bytes(sources[source].read_bytes())
    if "in place" in os.environ["PYTEST_CURRENT_TEST"]:
        dst.unlink()
        dst = src
    before = contents(there)
    most = 0 if places == INFLATER else 8
    with Slow(tmp_path, src, dst, *options, most=most, places=places) as slow:
        slow.wait_for(most + 1)
        children = slow.children()
        assert bool(children) == ("pylibjpeg-rle" in options)
        ended, out, err = slow.end(number)
        assert_gone(children)
    assert (ended, out, err.strip()) == (status, b"", b"")
    after = contents(there)
    left = {name for name in after if name not in before}
    assert {name: after[name] for name in before} == before
    if number != signal.SIGKILL:
        assert left == set()
        return
    assert all(name.endswith(".dcmtx-part") for name in left)
    assert len(left) == (places != INFLATER)
    # What is left is taken away by the next that writes this file.
    ran = spawn(src, dst, *options)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
    assert set(contents(there)) == set(before)
    assert sum(map(len, pixels_of(dst))) == PIXELS.nbytes


def pixels_of(path: Path) -> list[bytes]:
    """Return the native value of a file, or the frames of RLE decoded."""
    import imagecodecs

    walked = dicom.walk(path.read_bytes())
    found = walked.elements[dicom.PIXEL_DATA]
    if found.fragments is None:
        return [found.value]
    return [bytes(imagecodecs.dicomrle_decode(fragment, np.dtype("<u2"))) for fragment in walked.fragments]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the processes of a process cannot be told")
def test_a_process_for_frames_that_is_killed_is_an_error_and_leaves_nothing(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    dst = old_file(there / "out.dcm")
    before = contents(there)
    with Slow(tmp_path, sources[RAW], dst, "--to", "rle", "-j", "2", "--encoder", "pylibjpeg-rle", most=6) as slow:
        slow.wait_for(7)
        children = slow.children()
        assert children
        os.kill(children[0], signal.SIGKILL)
        status, out, err = slow.end()
        assert_gone(children)
    assert (status, out) == (6, b"")
    assert re.fullmatch(rb"dcmtx: [^\n]*process[^\n]+\n", err)
    assert contents(there) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_takes_the_bar_away(
    number: signal.Signals, sources: dict[str, Path], tmp_path: Path, terminal: Terminal
) -> None:
    line = [sources["explicit"], tmp_path / "out.dcm", "--to", "rle", "-j", "2"]
    with Slow(tmp_path, *line, most=30, stderr=terminal.theirs, env=terminal.environment) as slow:
        terminal.wait_for(rf"\d+/{COUNT}\b")
        assert slow.end(number)[0] == 128 + number
    text = terminal.read()
    assert is_shown(text)
    assert shown(text).strip() == ""
    assert os.listdir(tmp_path) == []


def test_standard_output_gets_nothing_of_what_is_interrupted(sources: dict[str, Path], tmp_path: Path) -> None:
    with Slow(tmp_path, sources["explicit"], "-", "--to", "rle", "-j", "2", most=8) as slow:
        slow.wait_for(9)
        assert slow.end(signal.SIGTERM) == (143, b"", b"")
