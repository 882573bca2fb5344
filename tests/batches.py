"""Batches for tests: trees of small DICOM files, and a `dcmtx` that is watched with all its workers.

Independent of dcmtx: what it finds in files is read by dicom.py, what it knows of processes by /proc.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import dicom
import oracle
import pytest
from conftest import PATIENCE, Ran, wait_until

PART = ".dcmtx-part"

need_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc to tell of processes")


# --- trees -----------------------------------------------------------------------------------------------------


def image(number: int = 0, **more: Any) -> dicom.Image:
    """Return a small image like no other of another number: 8 by 8, grey, 16 bits."""
    return dicom.Image(number.to_bytes(2, "little") * 64, sop_instance=f"1.2.3.{number}", **more)


def values(number: int) -> bytes:
    """Return the pixels of `image(number)` as Explicit VR Little Endian has them."""
    return number.to_bytes(2, "little") * 64


def plant(directory: Path, names: Iterable[str], start: int = 0) -> list[Path]:
    """Write an image under each name, below a directory."""
    paths = [directory / name for name in names]
    for number, path in enumerate(paths, start):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image(number).encode())
    return paths


def numbered(count: int) -> list[str]:
    """Return that many names of files in few directories."""
    return [f"{number % 3}/{number:04}.dcm" for number in range(count)]


def names(directory: Path) -> set[str]:
    """Return everything below a directory that is no directory, hidden or not."""
    return {
        os.path.relpath(os.path.join(base, name), directory) for base, _, files in os.walk(directory) for name in files
    }


def parts(directory: Path) -> list[str]:
    """Return the temporary files below a directory."""
    return sorted(name for name in names(directory) if name.endswith(PART))


def decoded(path: Path) -> tuple[str, bytes]:
    """Return the transfer syntax of a file, which must be whole, and the bytes of its first frame's pixels."""
    data = path.read_bytes()
    return dicom.walk(data).syntax, oracle.decoded(data, "imagecodecs")[0].astype("<u2").tobytes()


def assert_converted(path: Path, number: int, syntax: str = dicom.RLE) -> None:
    """Assert that a file is `image(number)` in a transfer syntax, whole."""
    assert decoded(path) == (syntax, values(number)), path


def sha256(pixels: bytes) -> str:
    """Return the digest that a report has of these pixels."""
    return hashlib.sha256(pixels).hexdigest()


# --- reports ---------------------------------------------------------------------------------------------------


def records(text: str | bytes) -> list[dict[str, Any]]:
    """Return the records of a report, each of which is one complete line of strict JSON."""
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    assert not text or text.endswith("\n")
    return [json.loads(line, parse_constant=_no_json) for line in text.split("\n")[:-1]]


def _no_json(constant: str) -> float:
    raise AssertionError(f"{constant} is not JSON")


def by_source(found: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return records by the names of their sources; that none comes twice is asserted."""
    result = {os.path.basename(record["source"]): record for record in found}
    assert len(result) == len(found)
    return result


# --- processes -------------------------------------------------------------------------------------------------


class Batch:
    """A `dcmtx` in a session of its own, so that its workers can be told; all of it is ended in any case.

    `program` is what Python runs in the place of `-m dcmtx`; `line` is the whole line in the place of both,
    `scratch` where temporary files go that have no place of their own.
    """

    def __init__(
        self,
        *arguments: str | os.PathLike[str],
        program: Sequence[str] = ("-m", "dcmtx"),
        line: Sequence[str] = (),
        scratch: Path | None = None,
        **options: Any,
    ) -> None:
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        # Nothing of a process that is killed stays outside; the name is short, for sockets go there.
        self.scratch = Path(tempfile.mkdtemp(prefix="b"))
        options["env"] = options.get("env", os.environ) | {"TMPDIR": os.fspath(scratch or self.scratch)}
        started = [*(line or (sys.executable, *program)), *map(os.fspath, arguments)]
        self.process = subprocess.Popen(started, start_new_session=True, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def members(self) -> list[int]:
        """Return the processes of this session that live: the one started, the server of workers, the workers."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                    if int(fields[3]) == self.process.pid and fields[0] not in "ZX":
                        found.append(int(entry))
        return found

    def children(self, parent: int) -> list[int]:
        """Return the processes of this session that a process started."""
        return [pid for pid in self.members() if _parent(pid) == parent]

    def workers(self) -> list[int]:
        """Return the workers: what the server of workers started, itself a child of the process."""
        return [pid for child in self.children(self.process.pid) for pid in self.children(child)]

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """Wait until a condition holds, and return what it returned."""

        def holds() -> Any:
            found = condition()
            assert found or self.process.poll() is None, ("it ended before", self.process.communicate())
            return found

        return wait_until(holds)

    def end(self, number: signal.Signals | None = None) -> Ran:
        """Wait for the end, after a signal if one is given. That no process is left over is asserted."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        self.assert_gone()
        return Ran(self.process.returncode, (out or b"").decode(), (err or b"").decode())

    def assert_gone(self) -> None:
        """Assert that every process of this session ends."""
        wait_until(lambda: not self.members(), lambda: f"{len(self.members())} processes are left over")


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def run(*arguments: str | os.PathLike[str], **options: Any) -> Ran:
    """Run a batch to its end."""
    with Batch(*arguments, **options) as batch:
        return batch.end()


class Terminal:
    """A terminal, and what was shown on it. `options` make it the standard error of a Batch."""

    def __init__(self) -> None:
        self._ours, self._theirs = pty.openpty()
        self._shown = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
        self.options: dict[str, Any] = {"stderr": self._theirs, "env": environment}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.join(PATIENCE)
        os.close(self._ours)

    def listen(self) -> None:
        """Begin to read, now that the process has its end of it."""
        os.close(self._theirs)
        self._reader.start()

    def _read(self) -> None:
        # Linux says that the last process is gone by an error.
        with contextlib.suppress(OSError):
            while piece := os.read(self._ours, 65536):
                self._shown += piece

    @property
    def text(self) -> str:
        """What was shown until now."""
        return self._shown.decode("utf-8", "replace")
