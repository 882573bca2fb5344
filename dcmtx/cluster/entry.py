"""One file of a plan: where it is, and how it was when it was planned."""

from __future__ import annotations

import json
import os
from typing import Any

from dcmtx.errors import InputError
from dcmtx.place.bytes import Reader
from dcmtx.place.places import is_remote, open_reader
from dcmtx.record import Record


class Entry(Record):
    """One file of a plan. `key` is its name below the source, and below the destination; `source` its place.

    `size` is in bytes, None where a list did not tell; `etag` is that of an object, `mtime` that of a local file, in
    nanoseconds. What is not known is not compared.
    """

    key: str
    source: str
    size: int | None = None
    etag: str = ""
    mtime: int | None = None

    def to_line(self) -> bytes:
        """Return the entry as a line of JSON."""
        known = {name: value for name, value in self.items() if value not in (None, "")}
        return json.dumps(known).encode() + b"\n"

    def open(self) -> Reader:
        """Open the file, as it was planned. Raises InputError: E_CHANGED if it is another one now."""
        if is_remote(self.source):
            from dcmtx.place.remote import open_remote

            reader = open_remote(self.source, etag=self.etag or None)
        else:
            reader = open_reader(self.source)
        if (self.size is not None and reader.size != self.size) or self._is_newer(reader):
            reader.close()
            raise InputError("it has changed since it was planned", code="E_CHANGED", path=self.source)
        return reader

    def _is_newer(self, reader: Reader) -> bool:
        fd = getattr(reader, "fd", None)
        return self.mtime is not None and fd is not None and os.fstat(fd).st_mtime_ns != self.mtime


def entry_from(line: bytes | str, where: str) -> Entry:
    """Return the entry of a line. Raises InputError, E_RUN, for a line of something else."""
    try:
        form: dict[str, Any] = json.loads(line)
        return Entry(**form)
    except (ValueError, TypeError) as error:
        raise InputError(f"a line of it is no file of a plan: {error}", code="E_RUN", path=where) from error
