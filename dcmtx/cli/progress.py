"""Progress for programs: lines of JSON on standard error."""

from __future__ import annotations

import json
import threading
import time
from types import TracebackType
from typing import Any, Self

from dcmtx.batch.summary import Summary
from dcmtx.cli import say

# Seconds between two lines; the first and the last always come.
_INTERVAL = 0.1


class _Lines:
    """Writes lines, not too many of them, each with the seconds since the start."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._last = -_INTERVAL
        self._untold: dict[str, Any] | None = None

    def tell(self, record: dict[str, Any], *, last: bool = False) -> None:
        """Write a record, unless the one before it was a moment ago."""
        now = time.perf_counter() - self._started
        if not last and now - self._last < _INTERVAL:
            self._untold = record
            return
        self._last, self._untold = now, None
        say(json.dumps({**record, "seconds": round(now, 3)}))

    def end(self) -> None:
        """Write what was held back."""
        if self._untold is not None:
            self.tell(self._untold, last=True)


class JsonFrames:
    """The frames of one file, as a line whenever some are written."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lines = _Lines()

    def __enter__(self) -> Self:
        """Start the clock."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell what was held back."""
        self._lines.end()

    def advance(self, done: int, frames: int) -> None:
        """Tell how many frames are written."""
        record = {"progress": "frames", "path": self._path, "done": done, "total": frames}
        self._lines.tell(record, last=done == frames)


class JsonFiles:
    """The files of a batch, as a line whenever some are done. `total` is null until they are counted."""

    def __init__(self) -> None:
        self._lines = _Lines()
        self._total: int | None = None
        self._stopped = threading.Event()

    def count(self, found: Any) -> None:
        """Count the files there are, in a thread of its own."""

        def work() -> None:
            number = 0
            for _ in found:
                number += 1
                if self._stopped.is_set():
                    return
            self._total = number or None

        threading.Thread(target=work, daemon=True).start()

    def advance(self, summary: Summary) -> None:
        """Tell what is done so far."""
        self._lines.tell(self._record(summary))

    def stop(self, summary: Summary) -> None:
        """Tell what is done at the end: all that there was, or what there was before the batch was stopped."""
        self._stopped.set()
        self._lines.tell(self._record(summary), last=True)

    def _record(self, summary: Summary) -> dict[str, Any]:
        counts = {status.value: count for status, count in summary.counts.items()}
        counts["skipped"] += sum(summary.skipped.values())
        return {
            "progress": "files",
            "done": summary.files,
            "total": self._total,
            **counts,
            "failed": summary.faults,
            "bytes_in": summary.bytes_in,
            "bytes_out": summary.bytes_out,
        }


class JsonShards:
    """The shards of a run on a cluster, as a line whenever some are done."""

    def __init__(self, done: int, total: int) -> None:
        self._lines = _Lines()
        self._record: dict[str, Any] = {"progress": "shards", "done": done, "total": total}
        self._record |= {"files": 0, "failed": 0, "bytes_in": 0}

    def advance(self, files: int, *, failed: int, size: int) -> None:
        """Add the figures of one shard."""
        for name, more in (("done", 1), ("files", files), ("failed", failed), ("bytes_in", size)):
            self._record[name] += more
        self._lines.tell(self._record)

    def stop(self) -> None:
        """Tell what is done at the end."""
        self._lines.tell(self._record, last=True)
