"""What the report of a conversion promises of each destination, on disk, so that memory does not depend on its length.

A report may be gone on with, so a destination may have several records. The last one that made the file counts; a
failure counts only where nothing made it before.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from typing import Any, Self

from dcmtx.errors import InputError
from dcmtx.place.places import is_remote
from dcmtx.record import Record

_VERSIONS = (1, 2)
_NEEDED = frozenset(["version", "source", "destination", "status"])
# A destination that was made before, whose references follow new UIDs now.
_UPDATED = "updated"
_MADE = ("converted", "copied", "unchanged")
# The database is a scratch: nothing of it is synced, and little of it is held in memory.
_SETTINGS = ("PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", "PRAGMA cache_size=-8192", "PRAGMA temp_store=FILE")

# Which of two records of one destination counts.
_KEEP_NEW = (
    "INSERT INTO promise (path, made, said) VALUES (?, ?, ?) ON CONFLICT (path) DO UPDATE"
    " SET made = excluded.made, said = excluded.said WHERE excluded.made OR NOT promise.made"
)
_KEEP_OLD = (
    "INSERT INTO promise (path, made, said) VALUES (?, ?, ?) ON CONFLICT (path) DO UPDATE"
    " SET made = excluded.made, said = excluded.said WHERE NOT promise.made"
)


class Promise(Record):
    """What a report says of one destination. `digest` is None where no pixels were decoded.

    `made` is False for a file that failed: then `why` is its error. `lost` says that there was a loss.
    """

    path: str
    made: bool
    why: str = ""
    size: int | None = None
    syntax: str = ""
    instance: str = ""
    digest: str | None = None
    lost: bool = False


class Ledger:
    """The promises of a report by destination; a context manager, whose database is gone with it.

    `records` counts what was added. `torn` says that the last line of the report is cut off.
    """

    def __init__(self) -> None:
        # An empty name is a private database in a temporary file without a name.
        self._base = sqlite3.connect("", isolation_level=None)
        for setting in _SETTINGS:
            self._base.execute(setting)
        self._base.execute("CREATE TABLE promise (path BLOB PRIMARY KEY, made INT, said TEXT, settled INT DEFAULT 0)")
        self._base.execute("BEGIN")
        self.skipped = 0
        self.records = 0
        self.torn = False

    def __enter__(self) -> Self:
        """Return the ledger."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget everything."""
        self._base.close()

    def add(self, record: dict[str, Any]) -> None:
        """Take a record of a report. Raises InputError for what is none, or one of another version."""
        if not record.keys() >= _NEEDED or record["version"] not in _VERSIONS:
            raise InputError("it is no report of dcmtx, or one of another version", code="E_REPORT")
        self.records += 1
        if record["status"] == _UPDATED:
            self._resize(record["destination"], record.get("bytes_out"))
            return
        before = _was_done_before(record)
        if record["status"] == "skipped" and not before:
            self.skipped += 1
            return
        if record["status"] == "planned":
            raise InputError("it is the report of a dry run, which promises nothing", code="E_REPORT")
        promise = Promise(record["destination"], made=True) if before else _promise(record)
        said = json.dumps([getattr(promise, field) for field in promise._fields[1:]])
        self._base.execute(
            _KEEP_OLD if before else _KEEP_NEW,
            (_key(promise.path), promise.made, said),
        )

    def _resize(self, path: str, size: int | None) -> None:
        """Have a promise be of a destination whose references were updated since."""
        row = self._base.execute("SELECT said FROM promise WHERE path = ?", (_key(path),)).fetchone()
        if row is not None:
            said = dict(zip(Promise._fields[1:], json.loads(row[0]), strict=True)) | {"size": size}
            self._base.execute(
                "UPDATE promise SET said = ? WHERE path = ?", (json.dumps(list(said.values())), _key(path))
            )

    def tear(self) -> None:
        """Remember that the last line of the report is cut off."""
        self.torn = True

    def settle(self, path: str) -> None:
        """Mark the promise of a destination as proven before."""
        self._base.execute("UPDATE promise SET settled = 1 WHERE path = ?", (_key(path),))

    def open_promises(self) -> Iterator[Promise]:
        """Yield the promises that are not settled, in the order of their paths."""
        rows = self._base.execute("SELECT path, said FROM promise WHERE NOT settled ORDER BY path")
        for path, said in rows:
            yield Promise(os.fsdecode(path), **dict(zip(Promise._fields[1:], json.loads(said), strict=True)))

    def knows(self, path: str) -> bool:
        """Tell whether the report has this destination."""
        return self._base.execute("SELECT 1 FROM promise WHERE path = ?", (_key(path),)).fetchone() is not None

    @property
    def settled(self) -> int:
        """How many promises were proven before."""
        return int(self._base.execute("SELECT COUNT(*) FROM promise WHERE settled").fetchone()[0])


def _key(path: str) -> bytes:
    """Return the one name of a path, however it was spelled; an object in a store has one."""
    return os.fsencode(path if is_remote(path) else os.path.abspath(path))


def _was_done_before(record: dict[str, Any]) -> bool:
    """Tell whether --resume passed over a file because its destination was there: another record tells of it."""
    notes = record.get("notes") or []
    return record["status"] == "skipped" and any(
        isinstance(n, dict) and n.get("code") == "N_DONE_BEFORE" for n in notes
    )


def _promise(record: dict[str, Any]) -> Promise:
    made = record["status"] in _MADE
    error = record.get("error") or {}
    return Promise(
        record["destination"],
        made,
        why="" if made else error.get("message") or "it failed",
        size=record.get("bytes_out") if made else None,
        syntax=record.get("syntax_out") or "",
        instance=record.get("sop_instance_out") or "",
        digest=record.get("pixels_sha256_out", None if record.get("psnr") else record.get("pixels_sha256")),
        lost=record.get("pixels_sha256") is not None and record.get("pixels_sha256_out") is None,
    )
