"""A shard on a machine of a cluster: done by a process of its own, whose memory and crashes are its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

# The processes of this worker that convert shards; ended with it.
_children: set[subprocess.Popen[bytes]] = set()
_lock = threading.Lock()
_STDERR = 2000


class ChildLostError(RuntimeError):
    """The process that converted a shard was ended: the shard is to be done again."""


def run_shard(line: Sequence[str]) -> dict[str, Any]:
    """Run a process to its end, and return what it told: figures, or `error`. It ends when this process does.

    Raises ChildLostError if a signal ended it.
    """
    process = subprocess.Popen(  # noqa: S603 - our own line
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with _lock:
        _children.add(process)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        # Standard input stays open: not `communicate`, which would close it.
        errors: list[bytes] = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()), daemon=True)  # type: ignore[union-attr]
        reader.start()
        told = process.stdout.read()
        status = process.wait()
        reader.join()
    finally:
        with _lock:
            _children.discard(process)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
    if status < 0 or status > 128:
        raise ChildLostError(f"the process of the shard ended with status {status}")
    if status:
        text = b"".join(errors).decode("utf-8", "replace").strip()
        return {"status": status, "error": text[-_STDERR:].removeprefix("dcmtx: ") or f"it ended with status {status}"}
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


def end_children() -> None:
    """End the processes of this worker, which is to end."""
    with _lock:
        for process in _children:
            with contextlib.suppress(OSError):
                process.terminate()
