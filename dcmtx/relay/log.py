"""The relay's log: one line per event on standard error, for people or as JSON, without anything of a patient."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any

from dcmtx.relay.config import LogFormat

_STANDARD_ERROR = 2


class Log:
    """Writes events. Errors are ignored: if nobody can read them, the work goes on."""

    def __init__(self, form: LogFormat, descriptor: int = _STANDARD_ERROR) -> None:
        self._form = form
        self._descriptor = descriptor

    def write(self, event: str, text: str, **fields: Any) -> None:
        """Write one event: a sentence for people, or its fields for programs.

        Of an instance only UIDs may be in it, and titles and addresses of peers.
        """
        if self._form is LogFormat.JSON:
            now = time.time()
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
            line = json.dumps({"time": f"{stamp}.{int(now % 1 * 1000):03d}Z", "event": event, **fields})
        else:
            line = f"dcmtx relay: {_printable(text)}"
        with contextlib.suppress(OSError):
            os.write(self._descriptor, line.encode("utf-8", "backslashreplace") + b"\n")


def _printable(text: str) -> str:
    """Return text on one line, whatever a peer called itself."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
