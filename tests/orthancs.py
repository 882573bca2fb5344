"""An Orthanc for tests: on loopback, with a storage of its own, ended with the test; and images for it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

import dicom
import numpy as np
from conftest import PATIENCE, need_tool, wait_until

PYTHON_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancPython.so")
ROWS, COLUMNS = 40, 48
SR = "1.2.840.10008.5.1.4.1.1.88.11"
# With Nagle's algorithm each image takes 40 ms: DCMTK, and Orthanc with it, writes a message in two pieces.
QUICK = {"TCP_NODELAY": "1"}


def pixels(number: int) -> np.ndarray:
    """Return the pixels of image `number`, 12 bits, unlike those of all others."""
    return ((np.arange(ROWS * COLUMNS, dtype=np.uint32) * 2503 + number * 17) % 4096).astype("<u2").reshape(ROWS, -1)


def image(uid: str, number: int) -> dicom.Image:
    """Return image `number` of the study `uid`, with what a server of images asks for."""
    text = {
        0x00100020: ("LO", "P" + uid),
        0x0020000D: ("UI", uid),
        0x0020000E: ("UI", f"{uid}.1"),
        0x00200013: ("IS", str(number)),
    }
    elements = {tag: dicom.element(tag, vr, value) for tag, (vr, value) in text.items()}
    return dicom.Image(
        pixels(number).tobytes(), rows=ROWS, columns=COLUMNS, stored=12, before=elements,
        sop_instance=f"{uid}.1.{number}",
    )  # fmt: skip


def send(tool: str, port: int, files: list[Path]) -> None:
    """Send files by a tool of DCMTK, as to any PACS; that it succeeds is asserted."""
    line = [need_tool(tool), "-aec", "ORTHANC", "127.0.0.1", str(port), *map(os.fspath, files)]
    ran = subprocess.run(line, env=os.environ | QUICK, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ran.returncode == 0, ran.stderr


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Orthanc:
    """An Orthanc that runs in a directory of its own. `settings` go into its configuration."""

    def __init__(self, directory: Path, environment: dict[str, str], **settings: Any) -> None:
        self.directory = directory
        self.log = directory / "orthanc.log"
        for attempt in range(5):
            # Somebody may have taken a port in between.
            with contextlib.suppress(ChildProcessError):
                self._start(environment, settings)
                return
            assert attempt < 4, self.log.read_text()

    def _start(self, environment: dict[str, str], settings: dict[str, Any]) -> None:
        self.http, self.dicom = free_ports(2)
        storage = self.directory / "storage"
        shutil.rmtree(storage, ignore_errors=True)
        storage.mkdir()
        configuration = {
            "StorageDirectory": str(storage), "IndexDirectory": str(storage), "HttpPort": self.http,
            "DicomPort": self.dicom, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
            "OverwriteInstances": True, "SaveJobs": False, "StableAge": 3600, **settings,
        }  # fmt: skip
        path = self.directory / "orthanc.json"
        path.write_text(json.dumps(configuration))
        with open(self.log, "wb") as log:
            # A process group of its own; the hook's environment is a daemon's.
            self.process = subprocess.Popen(
                [need_tool("Orthanc"), os.fspath(path)], cwd="/", env=environment | QUICK, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            wait_until(self._is_up, self.log.read_text)
        except BaseException:
            self.__exit__()
            raise

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            raise ChildProcessError
        with contextlib.suppress(OSError):
            # It answers by HTTP last.
            return b"Orthanc has started" in self.log.read_bytes() and bool(self.get("/system"))
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # To end it in order takes seconds, and what it has stored is thrown away.
        self.process.kill()
        self.process.wait(PATIENCE)

    def get(self, path: str, data: bytes | None = None) -> bytes:
        """Return what it answers to GET, or to POST if there is data."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", data, PATIENCE) as answer:
            return answer.read()

    def stored(self, uid: str) -> dict[str, bytes]:
        """Return the files of a study as they are stored now, by SOP Instance UID."""
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": uid}, "Expand": True}
        found = json.loads(self.get("/tools/find", json.dumps(query).encode()))
        files = {}
        for instance in found:
            with contextlib.suppress(urllib.error.HTTPError):
                # One that is being replaced may be asked for under its old name.
                files[instance["MainDicomTags"]["SOPInstanceUID"]] = self.get(f"/instances/{instance['ID']}/file")
        return files

    def said(self) -> str:
        """Return its log."""
        return self.log.read_text("utf-8", "replace")


def need_python_plugin() -> str:
    """Return the path of the Python plugin, or skip; in CI its absence is a failure."""
    if not PYTHON_PLUGIN.exists():
        need_tool(os.fspath(PYTHON_PLUGIN))
    return os.fspath(PYTHON_PLUGIN)


def python_line() -> str:
    """Return the words of a shell that start this dcmtx, wherever it is."""
    where = os.environ.get("PYTHONPATH")
    prefix = f"PYTHONPATH='{where}' " if where else ""
    return f"{prefix}exec '{sys.executable}' -P -m dcmtx"
