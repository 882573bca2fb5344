"""What all tests share: where files are, and which tools there are."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Real images that are not part of the project; tests that need them skip where they are absent.
REAL = Path(os.environ.get("DCMTX_REAL_DATA", ROOT.parent / "shared" / "data"))
# What a test starts does its work itself, whether or not this machine has a server; a path here has all go through it.
os.environ.setdefault("DCMTX_SOCKET", "")
IN_CI = bool(os.environ.get("CI"))


def modes_bind() -> bool:
    """Tell whether the modes of files bind this process, which those of root do not."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o500)
        return not os.access(directory, os.W_OK)


need_modes = pytest.mark.skipif(not modes_bind(), reason="root may read and write everything")


def need_tool(name: str) -> str:
    """Return the path of a program, or skip the test, naming it; in CI its absence is a failure."""
    path = shutil.which(name)
    if path is None:
        if IN_CI:
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return path


def need_real(name: str) -> Path:
    """Return the path of a real image, or skip the test."""
    path = REAL / name
    if not path.exists():
        pytest.skip(f"real image {name} is not here")
    return path


# --- running the command line ----------------------------------------------------------------------------------


class Ran(NamedTuple):
    """What a run of the command line left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of diagnostics; that there is one, and nothing else, is asserted."""
        assert self.out == ""
        assert re.fullmatch(r"dcmtx: [^\x00-\x1f]+\n", self.err), self.err
        return self.err.rstrip("\n")


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run `dcmtx` with these arguments in this process."""

    def run(*arguments: str | os.PathLike[str]) -> Ran:
        from dcmtx.cli import main

        handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGHUP)]
        monkeypatch.setattr(sys, "argv", ["dcmtx", *map(os.fspath, arguments)])
        capfd.readouterr()
        try:
            main()
        except SystemExit as leaving:
            status = leaving.code
        finally:
            for number, handler in handlers:
                signal.signal(number, handler)
        captured = capfd.readouterr()
        assert isinstance(status, int)
        return Ran(status, captured.out, captured.err)

    return run


@pytest.fixture
def fails(command: Callable[..., Ran], tmp_path: Path) -> Callable[..., str]:
    """Run `dcmtx` where it must fail with this status, touching nothing in tmp_path; return its line of diagnostics."""

    def run(status: int, *arguments: str | os.PathLike[str]) -> str:
        before = contents(tmp_path)
        ran = command(*arguments)
        assert ran.status == status, ran
        assert contents(tmp_path) == before
        return ran.line

    return run


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """A source that is not there yet."""
    return tmp_path / "in.dcm"


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    """A destination that is not there yet."""
    return tmp_path / "out.dcm"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory for the sources of a batch."""
    directory = tmp_path / "in"
    directory.mkdir()
    return directory


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A destination of a batch, not there yet."""
    return tmp_path / "out"


def old_file(path: Path) -> Path:
    """Make a file that has been there for long, with a mode of its own."""
    path.write_bytes(b"what was here before")
    path.chmod(0o640)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


def contents(directory: Path) -> dict[str, tuple[object, ...]]:
    """Return all there is in a directory: of each name mode, time of change, inode, and bytes or target."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        what = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(directory))] = (status.st_mode, status.st_mtime_ns, status.st_ino, what)
    return found


def spawn(
    *arguments: str | os.PathLike[str], prefix: Sequence[str] = (), timeout: float = 60, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run `dcmtx` as a process of its own, behind `prefix`, until it ends; if it hangs, that fails the test."""
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    line = [*prefix, sys.executable, "-m", "dcmtx", *arguments]
    return subprocess.run(line, timeout=timeout, check=False, **options)
