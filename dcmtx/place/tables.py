"""Records in files: JSON lines, or Parquet where the name ends so.

Who writes records writes lines, each complete when it is there; Parquet is made of them at the end.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dcmtx.errors import InputError, UnsupportedError
from dcmtx.place.temporary import temporary_name

_SUFFIX = ".parquet"
# Rows held until they are written together: more make smaller files, and take more memory.
_GROUP = 2_000


def is_parquet(path: str) -> bool:
    """Tell whether records at this path are Parquet."""
    return path.endswith(_SUFFIX)


def read_records(path: str, torn: Callable[[], None] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the records of a file, one at a time. An incomplete last line, whose writer was killed, is passed over.

    `torn` is called where there is such a line.

    Raises InputError for a file that cannot be read or holds no records, UnsupportedError without pyarrow.
    """
    try:
        yield from _read_parquet(path) if is_parquet(path) else _read_lines(path, torn)
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror or error}", code="E_UNREADABLE", path=path) from error


def _read_lines(path: str, torn: Callable[[], None] | None) -> Iterator[dict[str, Any]]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
            except ValueError:
                if not line.endswith(b"\n"):
                    if torn is not None:
                        torn()
                    return
                record = None
            if not isinstance(record, dict):
                raise InputError(f"line {number} of it is no record", code="E_REPORT", path=path)
            yield record


# --- Parquet ---------------------------------------------------------------------------------------------------


def _arrow() -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError as error:
        raise UnsupportedError(
            "Parquet needs pyarrow", advice="pip install 'dcmtx[parquet]', or name a file of JSON lines"
        ) from error
    return pa


def check_parquet() -> None:
    """Raise UnsupportedError without pyarrow."""
    _arrow()


def _read_parquet(path: str) -> Iterator[dict[str, Any]]:
    arrow = _arrow()
    try:
        with arrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_GROUP):
                yield from batch.to_pylist(maps_as_pydicts="strict")
    except arrow.ArrowException as error:
        raise InputError(f"it is no Parquet file: {error}", code="E_REPORT", path=path) from error


def write_parquet(lines: str, path: str, columns: Mapping[str, Any]) -> None:
    """Make a Parquet file of a file of JSON lines. As `write_rows`."""
    write_rows(read_records(lines), path, columns)


def write_rows(records: Iterator[dict[str, Any]], path: str, columns: Mapping[str, Any]) -> None:
    """Make a Parquet file of records. It is complete when it has its name.

    `columns` gives the type of each field, in order: a name of Arrow's, a list of one, a pair for a
    map, or a mapping for a structure.
    Raises InputError, UnsupportedError without pyarrow, OSError where the file cannot be written.
    """
    arrow = _arrow()
    schema = arrow.schema([(name, _type(arrow, kind)) for name, kind in columns.items()])
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, temporary_name(name))
    try:
        with arrow.parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for rows in _groups(records):
                writer.write_table(arrow.Table.from_pylist([_with_maps(row, columns) for row in rows], schema=schema))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _groups(records: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while rows := list(itertools.islice(records, _GROUP)):
        yield rows


def _with_maps(row: dict[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with its maps as Arrow takes them: a list of pairs."""
    maps = [name for name, kind in columns.items() if isinstance(kind, tuple) and row.get(name) is not None]
    return row | {name: list(row[name].items()) for name in maps} if maps else row


def _type(arrow: Any, kind: Any) -> Any:
    """Return the Arrow type: a name of one, a list of one, a pair for a map, or a mapping of fields to types."""
    if isinstance(kind, tuple):
        return arrow.map_(*(_type(arrow, inner) for inner in kind))
    if isinstance(kind, Mapping):
        return arrow.struct([(name, _type(arrow, inner)) for name, inner in kind.items()])
    if isinstance(kind, list):
        return arrow.list_(_type(arrow, kind[0]))
    return getattr(arrow, kind)()
