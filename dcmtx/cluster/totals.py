"""What became of the files of a run, counted from its reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dcmtx.cluster.run import Run
from dcmtx.errors import ExitStatus
from dcmtx.record import Record


class Totals:
    """Counts records: files by what became of them, errors by code, bytes."""

    def __init__(self) -> None:
        self.files = 0
        self.failed = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.by_status: dict[str, int] = {}
        self.by_code: dict[str, int] = {}

    def add(self, row: dict[str, Any]) -> None:
        """Count a record."""
        self.files += 1
        status = row["status"]
        error = row.get("error")
        if error:
            self.failed += 1
            self.by_code[error["code"]] = self.by_code.get(error["code"], 0) + 1
            return
        self.by_status[status] = self.by_status.get(status, 0) + 1
        if status == "converted":
            self.bytes_in += row["bytes_in"] or 0
            self.bytes_out += row["bytes_out"] or 0

    def add_all(self, rows: Iterable[dict[str, Any]]) -> Totals:
        """Count records, and return these totals."""
        for row in rows:
            self.add(row)
        return self

    @property
    def figures(self) -> Figures:
        """What a driver is told of a shard."""
        return Figures(self.files, self.failed, bytes_in=self.bytes_in, bytes_out=self.bytes_out)


class Figures(Record):
    """What a driver is told of a shard: how many files, how many of them failed, and bytes."""

    files: int
    failed: int
    bytes_in: int
    bytes_out: int


def status_of(rows: list[dict[str, Any]]) -> int:
    """Return the exit status of a shard: of one file its own, of several 9 if any failed."""
    failed = [row["error"] for row in rows if row.get("error")]
    if not failed:
        return ExitStatus.OK
    return int(failed[0]["status"]) if len(rows) == 1 else ExitStatus.SEVERAL


def all_rows(run: Run, done: bytearray) -> Iterator[dict[str, Any]]:
    """Yield the records of all shards that are done, in order."""
    for number, is_done in enumerate(done):
        if is_done:
            yield from run.rows(number) or ()


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers as the arrays of schedulers take them.

    >>> ranges([0, 1, 2, 5, 7, 8])
    '0-2,5,7-8'
    """
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)
