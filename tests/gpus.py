"""A GPU for tests where there is none: a driver that counts GPUs, and a library that codes by the CPU.

The library is in fake_gpu; what a frame makes it do is in the first samples of the frame. The driver is compiled.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import IN_CI, ROOT, wait_until
from images import Words

from dcmtx.device import client, gpu

FAKE = ROOT / "tests" / "fake_gpu"
SIGNATURE = (201, 77)
MARKS = {"crash": 1, "hang": 2, "none": 3, "wrong": 4, "break": 5, "none in a batch": 6, "killed": 7}
_DRIVER = "int cuInit(unsigned flags) { return 0; } int cuDeviceGetCount(int *count) { *count = %d; return 0; }"


def marked(frame: Words, mark: str) -> Words:
    """Return a copy of a frame that makes the library do something."""
    copy = frame.copy()
    copy.reshape(-1)[:3] = (*SIGNATURE, MARKS[mark])
    return copy


def driver(directory: Path, count: int = 1) -> Path:
    """Compile a driver with so many GPUs; return the directory to look for it in. Skips where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        if IN_CI:
            pytest.fail("cc is not installed")
        pytest.skip("cc is not installed")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "driver.c").write_text(_DRIVER % count)
    line = [compiler, "-shared", "-fPIC", "-o", directory / "libcuda.so.1", directory / "driver.c"]
    subprocess.run(line, check=True, timeout=60)
    return directory


class Stage:
    """One test's GPU: the directory of its sockets, and what its device processes have written down."""

    def __init__(self, directory: Path) -> None:
        self.sockets = Path(tempfile.mkdtemp(prefix="g"))
        self.counts = directory / "counts"
        self.counts.mkdir()

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a process that has this GPU."""
        path = os.pathsep.join(filter(None, [str(FAKE), os.environ.get("PYTHONPATH")]))
        own = {"XDG_RUNTIME_DIR": str(self.sockets), "FAKE_GPU_COUNTS": str(self.counts), "DCMTX_SOCKET": ""}
        return os.environ | own | {"PYTHONPATH": path} | more

    def told(self, what: str) -> list[tuple[int, str]]:
        """Return the lines of a file of counts: who wrote, and what."""
        path = self.counts / what
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(line.split(" ", 1)[0]), line.split(" ", 1)[1]) for line in lines]

    @property
    def processes(self) -> list[int]:
        """The device processes that loaded the library, in order."""
        return [pid for pid, _ in self.told("imported")]

    def ended(self) -> bool:
        """Tell whether no device process runs any more, and no socket is left."""
        left = [path for path in (self.sockets / "dcmtx").glob("*") if path.suffix != ".lock"]
        return not left and not any(os.path.exists(f"/proc/{pid}") for pid in self.processes)

    def end(self) -> None:
        """End what runs on for a while, in case another command comes, and remove its socket."""
        for pid in self.processes:
            try:
                supervisor = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
                os.kill(supervisor, signal.SIGTERM)
            except (OSError, IndexError):
                continue
        for path in (self.sockets / "dcmtx").glob("*"):
            path.unlink()

    def close(self) -> None:
        """Wait until all that was started has ended, and remove the sockets."""
        client.close()
        wait_until(self.ended, lambda: f"{self.processes} run on")
        shutil.rmtree(self.sockets)


@contextmanager
def staged(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Give this process a GPU."""
    client.close()
    stage = Stage(directory)
    monkeypatch.setattr(gpu, "count", lambda: 1)
    monkeypatch.setattr(client, "LINGER", 0.05)
    monkeypatch.syspath_prepend(str(FAKE))
    for name, value in stage.environment().items():
        if os.environ.get(name) != value and name != "PYTHONPATH":
            monkeypatch.setenv(name, value)
    try:
        yield stage
    finally:
        stage.close()
        for name in [name for name in sys.modules if name == "nvidia" or name.startswith("nvidia.")]:
            del sys.modules[name]


def grey(number: int = 0, shape: tuple[int, int] = (40, 48)) -> Words:
    """Return a frame of 12 bits like no other of another number."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((x * 37 + y * 91 + number * 173) % 4096).astype("u2")


def words_of(result: Any) -> Words:
    """Return decoded samples; an exception is raised."""
    if isinstance(result, Exception):
        raise result
    return result
