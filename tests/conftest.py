"""What all tests share: where files are, and which tools there are."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Real images that are not part of the project; tests that need them skip where they are absent.
REAL = Path(os.environ.get("DCMTX_REAL_DATA", ROOT.parent / "shared" / "data"))
# What a test starts does its work itself, whether or not this machine has a server; a path here has all go through it.
os.environ.setdefault("DCMTX_SOCKET", "")
IN_CI = bool(os.environ.get("CI"))

# Signals that Python itself ignores; subprocess gives them back to its children.
_PYTHON_IGNORES = {signal.SIGPIPE, signal.SIGXFSZ}


def heed_signals() -> None:
    """Have all children of this process start as from a terminal: no signal ignored, none blocked.

    What nohup, `&` in a script or a service manager have a process ignore is inherited by all that it starts, so
    that a test of an interruption would wait for ever. A handler that does nothing keeps this process deaf to these
    signals, as whoever started it wished, but ends with `exec`: children get the default.
    """
    for number in signal.valid_signals() - _PYTHON_IGNORES:
        if signal.getsignal(number) is signal.SIG_IGN:
            # Where SIGCHLD is ignored, no child's status is ever known.
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


# Here, and not in a fixture: processes that run tests in parallel are children too.
heed_signals()


# --- which tests are fast ------------------------------------------------------------------------------------------

# Of these files or tests, which take most of the time, one case in so many is fast; of every other test that has many
# cases, one in thirty is; all others are. By measurement: see `pytest --durations=0`.
MANY, ONE_IN = 12, 30
FAST_ONE_IN = {
    "test_advise.py": 4,
    "test_api.py::test_a_program_that_uses_it_is_checked_by_mypy": 2,
    "test_archive_page.py": 3,
    "test_archives.py": 6,
    "test_attributes.py::test_real_data_sets_stay": 20,
    "test_asked.py": 4,
    "test_audit.py": 4,
    "test_batch.py": 12,
    "test_bits.py": 6,
    "test_cli.py": 4,
    "test_cluster.py": 12,
    "test_codestream.py": 3,
    "test_committer.py": 4,
    "test_compare.py": 4,
    "test_conftest.py": 2,
    "test_crop.py": 6,
    "test_decisions.py::test_what_is_accepted": 4,
    "test_device.py": 8,
    "test_driver.py": 4,
    "test_drop.py": 3,
    "test_early.py": 3,
    "test_encoding.py": 8,
    "test_enhance.py": 4,
    "test_executor.py": 4,
    "test_extract.py": 4,
    "test_faults.py": 4,
    "test_frames.py": 4,
    "test_gpu.py": 40,
    "test_header.py": 6,
    "test_interop.py": 12,
    "test_large.py": 8,
    "test_limits.py": 4,
    "test_lossy.py": 10,
    "test_matrix.py": 40,
    "test_orthanc.py": 12,
    "test_peer_words.py::test_a_lossless_line_gives_what_the_peer_gives": 40,
    "test_peers.py": 6,
    "test_pipes.py": 4,
    "test_plugins.py": 4,
    "test_progress.py": 6,
    "test_rate.py": 4,
    "test_real.py": 25,
    "test_refusals.py::test_a_file_that_is_cut_short_anywhere": 10,
    "test_registry.py::test_loading_a_row_imports_its_own_backend_and_no_other": 6,
    "test_relay.py": 8,
    "test_relay_config.py": 4,
    "test_relay_control.py": 4,
    "test_relay_deliveries.py": 8,
    "test_relay_keeps.py": 8,
    "test_relay_odd.py": 6,
    "test_relay_page.py": 6,
    "test_relay_parts.py": 4,
    "test_relay_receives.py": 8,
    "test_relay_sends.py": 8,
    "test_relay_tls.py": 4,
    "test_report.py": 3,
    "test_resume.py": 6,
    "test_rewrap.py": 4,
    "test_serve.py": 12,
    "test_shards.py": 5,
    "test_shards_stores.py": 4,
    "test_signals.py": 4,
    "test_sink.py": 4,
    "test_site.py": 4,
    "test_split.py": 4,
    "test_stores.py": 8,
    "test_workers.py": 5,
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the fast ones, so that `-m fast` touches everything and takes little time; pass over the long ones."""
    if "long" not in config.option.markexpr:
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="it takes minutes: pytest -m long"))
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        file = item.nodeid.partition("::")[0].rpartition("/")[2]
        test = f"{file}::{getattr(item, 'originalname', item.name)}"
        groups.setdefault(file if file in FAST_ONE_IN else test, []).append(item)
    for name, group in groups.items():
        for item in group[:: FAST_ONE_IN.get(name, ONE_IN if len(group) > MANY else 1)]:
            item.add_marker(pytest.mark.fast)


@pytest.fixture(autouse=True, scope="module")
def _without_waiting_for_the_disk(request: pytest.FixtureRequest) -> Iterator[None]:
    """Thousands of files are written, none of which must outlive the machine, but where that is what is tested."""
    if request.module.__name__ in ("test_cli", "test_faults", "test_sink"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", int)
        yield


# --- what there is on this machine --------------------------------------------------------------------------------


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

        # As Python starts; the handlers of dcmtx must not stay.
        handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
        handlers[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
        monkeypatch.setattr(sys, "argv", ["dcmtx", *map(os.fspath, arguments)])
        capfd.readouterr()
        try:
            main()
        except SystemExit as leaving:
            status = leaving.code
        finally:
            for number, handler in handlers.items():
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
def stage(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Where a test and the fake encoder meet."""
    from fake_codecs import Stage

    return Stage(tmp_path_factory.mktemp("stage"))


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


# How long what must happen may take, on whatever machine, before a test gives it up.
PATIENCE = 60.0


def wait_until(condition: Callable[[], Any], otherwise: Callable[[], object] = lambda: "it never came to that") -> Any:
    """Wait until a condition holds, and return what it returned; if it never does, say why the test fails."""
    until = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < until, otherwise()
        time.sleep(0.005)
    return found


def spawn(
    *arguments: str | os.PathLike[str], prefix: Sequence[str] = (), timeout: float = PATIENCE, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run `dcmtx` as a process of its own, behind `prefix`, until it ends; if it hangs, that fails the test."""
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    line = [*prefix, sys.executable, "-m", "dcmtx", *arguments]
    return subprocess.run(line, timeout=timeout, check=False, **options)
