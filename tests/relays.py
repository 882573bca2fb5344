"""A relay for tests, as a process of its own, and its peers: senders and destinations of DCMTK and of pynetdicom."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import dicom
import numpy as np
from conftest import PATIENCE, need_tool, wait_until

CHILD = Path(__file__).with_name("relay_child.py")
# With Nagle's algorithm each image takes 40 ms: DCMTK writes a message in two pieces.
QUICK = os.environ | {"TCP_NODELAY": "1"}
PACE = {"first": 0.1, "most": 0.4, "rejected": 0.5, "tries": (0.1, 0.2), "idle": 0.3}
CT = "1.2.840.10008.5.1.4.1.1.2"
VIDEO = "1.2.840.10008.1.2.4.102"
NATIVE = (dicom.EXPLICIT, dicom.IMPLICIT)


# --- instances ---------------------------------------------------------------------------------------------------


def instance(number: int, sop_class: str = CT, size: int = 64, **more: Any) -> dicom.Image:
    """Return instance `number`, of 12 bits, unlike all others, with what a server of images asks for."""
    text = {0x00100020: ("LO", "P1"), 0x0020000D: ("UI", "1.2.3"), 0x0020000E: ("UI", "1.2.3.0")}
    syntax = more.get("syntax", dicom.EXPLICIT)
    syntax = syntax if syntax in (dicom.IMPLICIT, dicom.BIG_ENDIAN) else dicom.EXPLICIT
    before = {tag: dicom.element(tag, vr, value, syntax) for tag, (vr, value) in text.items()} | more.pop("before", {})
    pixels = ((np.arange(size * size, dtype=np.uint32) // 3 + number % 4096 * 37) % 4096).astype("<u2").tobytes()
    if syntax == dicom.BIG_ENDIAN:
        pixels = dicom.swapped(pixels, 2)
    return dicom.Image(
        pixels, rows=size, columns=size, stored=12, before=before, sop_class=sop_class,
        sop_instance=f"1.2.3.{number}", **more,
    )  # fmt: skip


def write_instances(directory: Path, numbers: Iterable[int], **more: Any) -> list[Path]:
    """Write instances as files, and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in numbers:
        path = directory / f"{number}.dcm"
        path.write_bytes(instance(number, **more).encode())
        paths.append(path)
    return paths


# --- the relay -----------------------------------------------------------------------------------------------------


class RelayProcess:
    """A relay in a process of its own. Destinations and what it listens to are tables as in its configuration."""

    def __init__(
        self,
        *destinations: dict[str, Any],
        spool: Path | None = None,
        pace: dict[str, Any] | None = None,
        reserve: int = 0,
        high_water: int = 0,
        top: dict[str, Any] | None = None,
        more: dict[str, Any] | None = None,
        **listen: Any,
    ) -> None:
        self.own = Path(tempfile.mkdtemp(prefix="relay"))
        self.spool = spool or self.own / "spool"
        self._log = self.own / "log"
        self._log.touch()
        self._settings: dict[str, Any] = {
            "jobs": 1,
            **(top or {}),
            "listen": {"address": "127.0.0.1:0"} | {key.replace("_", "-"): value for key, value in listen.items()},
            "spool": {"path": str(self.spool), "reserve": reserve, "high-water": high_water},
            "destinations": [{"name": f"d{number}"} | each for number, each in enumerate(destinations, 1)],
            "pace": PACE | (pace or {}),
            "more": more or {},
        }
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, at the port where it listened before, and wait until it listens."""
        assert self.process is None or self.process.poll() is not None
        path = self.own / "config.json"
        path.write_text(json.dumps(self._settings))
        before = len(self.events("start"))
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(CHILD), str(path)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        wait_until(lambda: len(self.events("start")) > before or self.process.poll() is not None, self.said)
        assert self.process.poll() is None, self.said()
        self.port = self.events("start")[-1]["port"]
        # After a restart its senders find it where it was.
        self._settings["listen"]["address"] = f"127.0.0.1:{self.port}"
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: object, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        if kind is not None:
            sys.stderr.write(self.said()[-6000:])
        shutil.rmtree(self.own, ignore_errors=True)

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def end(self) -> int:
        """End it by SIGTERM, and return the status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    # --- what it tells

    def said(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """Return the events of its log, which is JSON and nothing else."""
        lines = self.said().splitlines(keepends=True)
        try:
            found = [json.loads(line) for line in lines if line.endswith("\n")]
        except ValueError:
            raise AssertionError(self.said()) from None
        return [event for event in found if kind in ("", event["event"])]

    def until(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many events of a kind are in the log, and return them."""
        return wait_until(lambda: found if len(found := self.events(kind)) >= count else None, self.said)

    def queued(self, name: str = "d1") -> list[Path]:
        """Return the files in the queue of a destination."""
        return sorted((self.spool / "queue" / name).glob("*.dcm"))

    def held(self, name: str = "d1") -> list[dict[str, Any]]:
        """Return the reasons of what is held for a destination."""
        return [json.loads(path.read_text()) for path in sorted((self.spool / "held" / name).glob("*.json"))]

    def until_empty(self, *names: str) -> None:
        """Wait until nothing is queued."""
        for name in names or ("d1",):
            wait_until(lambda name=name: not self.queued(name), self.said)

    def leftovers(self) -> list[str]:
        """Return what is in the directories that are empty when nothing is under way."""
        return sorted(path.name for part in ("incoming", "work") for path in (self.spool / part).iterdir())


# --- senders -------------------------------------------------------------------------------------------------------


def storescu(port: int, files: Sequence[Path], *options: str, called: str = "RELAY") -> subprocess.CompletedProcess:
    """Send files by storescu, and return how it ended."""
    line = [need_tool("storescu"), "-aec", called, *options, "127.0.0.1", str(port), *map(str, files)]
    return subprocess.run(line, env=QUICK, capture_output=True, text=True, timeout=PATIENCE, check=False)


def dcmsend(port: int, files: Sequence[Path], *options: str) -> subprocess.CompletedProcess:
    """Send files by dcmsend, and return how it ended."""
    line = [need_tool("dcmsend"), "-v", "-aec", "RELAY", *options, "127.0.0.1", str(port), *map(str, files)]
    return subprocess.run(line, env=QUICK, capture_output=True, text=True, timeout=PATIENCE, check=False)


# --- destinations --------------------------------------------------------------------------------------------------


def free_port() -> int:
    """Return a port that nobody listens at now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


class StoreScp:
    """DCMTK's storescp, as a destination. `options` are those of storescp."""

    def __init__(self, directory: Path, *options: str, port: int = 0) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self._options = options
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"STORESCP@127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        line = [need_tool("storescp"), "-od", str(self.directory), *self._options, str(self.port)]
        self.process = subprocess.Popen(line, env=QUICK, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._listens)
        return self

    def _listens(self) -> bool:
        assert self.process.poll() is None, "storescp has ended"
        with socket.socket() as trying:
            return trying.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def files(self) -> list[Path]:
        return sorted(path for path in self.directory.iterdir() if path.is_file())

    def _closed(self) -> list[Path]:
        """Return the files; none while it writes one, which has its name from the beginning."""
        files = self.files()
        for descriptor in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if descriptor.readlink().parent == self.directory.resolve():
                    return []
        return files

    def until(self, count: int) -> dict[str, Path]:
        """Wait until it has so many instances, and return the files by SOP Instance UID."""
        (files,) = wait_until(
            lambda: (found,) if len(found := self._closed()) >= count else None,
            lambda: f"it has {len(self._closed())} of {count}",
        )
        return {read(path)[0]: path for path in files}


def read(path: Path) -> tuple[str, str]:
    """Return SOP Instance UID and Transfer Syntax UID of a file, by pydicom."""
    import pydicom

    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    return str(dataset.SOPInstanceUID), str(dataset.file_meta.TransferSyntaxUID)


def pixels(path: Path) -> np.ndarray:
    """Return the pixels of a file, by pydicom."""
    import pydicom

    return pydicom.dcmread(path).pixel_array
