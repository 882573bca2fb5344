"""The server's log, one line per event on standard error, and the answer to `--status`."""

from __future__ import annotations

import contextlib
import json
import os
import time
from enum import Enum
from typing import Any

_STANDARD_ERROR = 2


class Format(Enum):
    """The format of a log line."""

    TEXT = "text"
    JSON = "json"


class Log:
    """Writes events to standard error. Errors are ignored: if it is closed, nobody reads them."""

    def __init__(self, form: Format) -> None:
        self._format = form

    def write(self, event: str, text: str, **fields: Any) -> None:
        """Write one event: a sentence for people, or its fields for programs."""
        if self._format is Format.JSON:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            line = json.dumps({"time": now, "event": event, **fields})
        else:
            line = f"dcmtx serve: {text}"
        with contextlib.suppress(OSError):
            os.write(_STANDARD_ERROR, line.encode("utf-8", "backslashreplace") + b"\n")


def status_lines(status: dict[str, Any]) -> list[str]:
    """Return the status of a server as lines for people."""
    done = ", ".join(f"{count} with status {code}" for code, count in sorted(status["done"].items(), key=_number))
    lines = [
        f"dcmtx {status['version']}, process {status['pid']}, listens at {status['socket']}",
        f"up for {status['uptime_seconds']:.0f} s, {status['memory_bytes'] / 1e6:.0f} MB resident",
        f"jobs done: {sum(status['done'].values())}" + (f" ({done})" if done else ""),
        f"jobs whose process was killed by a signal: {status['killed']}",
        f"clients refused: {status['refused']}, sent away to do it themselves: {status['declined']}",
        f"waiting: {status['waiting']}",
        f"running: {len(status['running'])} of {status['jobs']} at most",
    ]
    return lines + [f"  process {job['pid']}, {job['seconds']:.1f} s: {job['arguments']}" for job in status["running"]]


def _number(entry: tuple[str, int]) -> int:
    return int(entry[0])


def own_memory() -> int:
    """Return the resident memory of this process in bytes."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
