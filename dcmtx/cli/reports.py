"""The file that records go to: where it may be, and what is made of one that is there already."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from dcmtx.errors import InputError, OutputError

if TYPE_CHECKING:
    from dcmtx.batch.walk import Root

# What every record of every version begins with.
_BEGINS = b'{"version": '
_FIELDS = frozenset(["version", "source", "destination", "status"])
_LONGEST_RECORD = 1 << 24
_BLOCK = 1 << 16
_STANDARD_INPUT, _STANDARD_OUTPUT = 0, 1


# --- where it is -------------------------------------------------------------------------------------------------


def check_place(report: str, sources: Sequence[str], destination: str) -> None:
    """Raise UsageError for a report that is no file, or is a source or the destination too, however it is spelled."""
    check_file(report, "--report")
    named = [(path, _STANDARD_INPUT) for path in sources] + [(destination, _STANDARD_OUTPUT)]
    for path, standard in named:
        if _is_same(report, path, standard):
            raise click.UsageError(f"{report} is named as the report too; name another file for that")


def check_file(path: str, option: str) -> None:
    """Raise UsageError where standard output is meant, which is no file that can be gone on with."""
    if path == "-":
        raise click.UsageError(f"{option} writes a file, and - is none; --json writes to standard output")


def check_roots(report: str, roots: Sequence[Root]) -> None:
    """Raise UsageError for a report where a source goes."""
    from dcmtx.batch.walk import is_dicom

    place = os.path.realpath(report)
    for root in roots:
        target = os.path.realpath(root.target)
        source = root.path
        if root.is_directory:
            start = os.path.join(target, "")
            if not place.startswith(start):
                continue
            source = os.path.join(root.path, place[len(start) :])
        elif place != target and not _is_same(report, root.target, _STANDARD_OUTPUT):
            continue
        if is_dicom(source):
            raise click.UsageError(f"the report {report} is where {source} goes; name another file for it")


def _is_same(report: str, path: str, standard: int) -> bool:
    """Tell whether a path, or the standard stream that `-` is, is the report. A terminal, or nothing, may be both."""
    try:
        one = os.stat(report)
        other = os.fstat(standard) if path == "-" else os.stat(path)
    except (OSError, ValueError):
        return path != "-" and os.path.realpath(report) == os.path.realpath(path)
    return os.path.samestat(one, other) and not stat.S_ISCHR(one.st_mode)


# --- what is there -----------------------------------------------------------------------------------------------


def lines_of(report: str) -> str:
    """Return where the lines of a report are written: the report itself, or beside the Parquet that they become."""
    from dcmtx.place.tables import is_parquet

    return f"{report}.jsonl" if is_parquet(report) else report


def begin_parquet(report: str, *, goes_on: bool) -> None:
    """Prepare the lines of a report in Parquet: with `goes_on`, those of the one that is there, or that was begun.

    Raises UsageError for a file that is there and is no report, UnsupportedError without pyarrow.
    """
    records = _rows_there(report)
    lines = lines_of(report)
    first = next(records, None)
    if first is None or not goes_on or os.path.exists(lines):
        return
    import json

    with open(lines, "x", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in itertools.chain([first], records))


def check_table(report: str) -> None:
    """Raise an error for a table that cannot be where `--parquet` says, before anything is read for it.

    Raises UsageError for a name that does not end in .parquet, and for a file that is there and is no report,
    OutputError without the directory, UnsupportedError without pyarrow.
    """
    from dcmtx.place.tables import is_parquet

    if not is_parquet(report):
        raise click.UsageError(f"--parquet is {report}, whose name does not end in .parquet")
    directory = os.path.dirname(report)
    if directory and not os.path.isdir(directory):
        raise OutputError(f"the report cannot be written: there is no directory {directory}", path=report)
    next(_rows_there(report), None)


def _rows_there(report: str) -> Iterator[dict[str, Any]]:
    """Yield the records of a report in Parquet, if there is one.

    Raises UsageError for a file that is there and is no report, UnsupportedError without pyarrow.
    """
    from dcmtx.place.tables import check_parquet, read_records

    check_parquet()
    if not os.path.exists(report) or os.path.getsize(report) == 0:
        return
    try:
        for number, record in enumerate(read_records(report)):
            if number == 0 and not record.keys() >= _FIELDS:
                raise click.UsageError(f"the report {report} exists and is no report; name another file, or remove it")
            yield record
    except InputError as error:
        raise click.UsageError(
            f"the report {report} exists and is no report: {error.what}; name another file"
        ) from error


def end_parquet(report: str) -> None:
    """Make the Parquet of the lines that were written, and remove them. Raises OutputError; then the lines stay."""
    from dcmtx.batch.report import COLUMNS
    from dcmtx.place.tables import write_parquet

    lines = lines_of(report)
    try:
        write_parquet(lines, report, COLUMNS)
        os.unlink(lines)
    except OSError as error:
        raise OutputError(
            f"the report {report} cannot be written: {error.strerror or error}", advice=f"its lines are in {lines}"
        ) from error


def open_report(path: str, *, goes_on: bool) -> IO[str]:
    """Open a report for writing: from its beginning, or behind what is there, with `goes_on`.

    Lines are complete when they are written, for those who read along. Raises UsageError for a file that is there and
    is no report, an image, most likely, named by mistake; or is one that cannot be gone on with; or cannot be written.
    """
    try:
        there = os.path.isfile(path) and os.path.getsize(path) > 0
        if there:
            _check(path, goes_on=goes_on)
        if there and goes_on:
            cut_torn_line(path)
        return open(path, "a" if there and goes_on else "w", encoding="utf-8", buffering=1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise click.UsageError(f"the report {path} cannot be written: {reason}") from error


def _check(path: str, *, goes_on: bool) -> None:
    """Raise UsageError for what is no report, or one of another version to go on with."""
    with open(path, "rb") as file:
        line = file.readline(_LONGEST_RECORD)
    first = _record(line)
    if first is None and (line.endswith(b"\n") or not _is_torn(line)):
        raise click.UsageError(f"the report {path} exists and is no report; name another file, or remove it")
    if first is None or not goes_on:
        return
    from dcmtx.batch.report import RECORD_VERSION

    if first["version"] != RECORD_VERSION:
        raise click.UsageError(
            f"the report {path} has version {first['version']}, and cannot be gone on with in version "
            f"{RECORD_VERSION}; name another file"
        )


def _record(line: bytes) -> dict[str, Any] | None:
    """Return the record that a line is, or None if it is none."""
    import json

    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and record.keys() >= _FIELDS else None


def _is_torn(line: bytes) -> bool:
    """Tell whether this may be the beginning of a record, whose writer was killed."""
    return line.startswith(_BEGINS) or _BEGINS.startswith(line)


def cut_torn_line(path: str) -> None:
    """Take away what stands behind the last complete line: its writer was killed."""
    if not os.path.isfile(path):
        return
    with open(path, "r+b") as file:
        position = file.seek(0, os.SEEK_END)
        while position:
            start = max(0, position - _BLOCK)
            file.seek(start)
            found = file.read(position - start).rfind(b"\n")
            if found >= 0:
                file.truncate(start + found + 1)
                return
            position = start
        file.truncate(0)
