"""A `dcmtx serve` for tests: started at a short path, watched, and ended with all that it forked."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from conftest import Ran

PATIENCE = 30.0
CLIENT = (sys.executable, "-m", "dcmtx")
# Where dcmtx is not installed, even an empty environment says where it is.
NEEDED = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}


def wait_for(condition: Callable[[], Any]) -> Any:
    """Wait until a condition holds, and return what it returned."""
    until = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.005)
    return found


class Server:
    """A server in a session of its own. `program` is what Python runs, `line` the whole line in its place."""

    def __init__(
        self,
        *options: str,
        program: Sequence[str] = ("-m", "dcmtx"),
        line: Sequence[str] = (),
        directory: Path | None = None,
        **more: Any,
    ) -> None:
        # Made here, not by pytest: the path of a socket is short.
        self._own = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="s"))
        self.socket = self.directory / "s"
        self._log = self.directory / "log"
        before = len(self.events("start"))
        started = line or [sys.executable, *program, "serve", "--socket", os.fspath(self.socket)]
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                [*started, "--log-format", "json", *options], start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **more,
            )  # fmt: skip
        try:
            wait_for(lambda: len(self.events("start")) > before or self.process.poll() is not None)
            assert self.process.poll() is None, self._log.read_text()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in [job["pid"] for job in self._running()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait(PATIENCE)
        if self._own:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _running(self) -> list[dict[str, Any]]:
        if self.process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                return self.status()["running"]
        return []

    # --- what it tells

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """Return the events of its log, which is JSON and nothing else."""
        lines = self._log.read_text("utf-8").splitlines(keepends=True) if self._log.exists() else []
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in found if kind in ("", event["event"])]

    def status(self) -> dict[str, Any]:
        """Return what it says of itself."""
        from dcmtx.serve.client import ask

        connection = ask(os.fspath(self.socket), "status")
        try:
            return json.loads(b"".join(iter(lambda: connection.recv(1 << 16), b"")))
        finally:
            connection.close()

    def job(self) -> dict[str, Any]:
        """Wait until exactly one job runs that has told what it is, and return it."""
        return wait_for(lambda: [job for job in self.status()["running"] if job["arguments"]])[0]

    def until_done(self, jobs: int) -> list[dict[str, Any]]:
        """Wait until so many jobs are done, and return what the log says of them."""
        return wait_for(lambda: found if len(found := self.events("job")) >= jobs else None)

    # --- its clients

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a client."""
        return os.environ | {"DCMTX_SOCKET": os.fspath(self.socket)} | more

    def call(self, *arguments: str | os.PathLike[str], client: Sequence[str] = CLIENT, **options: Any) -> Ran:
        """Run a client to its end."""
        options.setdefault("env", self.environment())
        options.setdefault("stdin", subprocess.DEVNULL)
        line = [*client, *map(os.fspath, arguments)]
        ran = subprocess.run(line, capture_output=True, timeout=PATIENCE, check=False, **options)
        return Ran(ran.returncode, ran.stdout.decode("latin-1"), ran.stderr.decode())

    def start(
        self, *arguments: str | os.PathLike[str], client: Sequence[str] = CLIENT, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start a client whose standard input is held open."""
        options.setdefault("env", self.environment())
        line = [*client, *map(os.fspath, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=pipe, **options)

    # --- its end

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def without_figures(text: str) -> str:
    """Return text without what no two runs agree about: seconds and rates."""
    text = re.sub(r'"seconds": [\d.e-]+', '"seconds": 0', text)
    return re.sub(r"\d+(\.\d+)? (s|[kMG]?B/s)\b", "N", text)
