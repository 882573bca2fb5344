"""The files of a plan: those of a directory or a prefix, or those of a list that somebody has."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dcmtx.cluster.entry import Entry
from dcmtx.errors import InputError, UsageError
from dcmtx.place.archive import refused_name
from dcmtx.place.places import is_remote
from dcmtx.place.temporary import is_temporary

# Columns of a list, by the names that inventories and exports give them.
_KEYS = ("key", "path", "source", "url", "object")
_SIZES = ("size", "bytes", "bytes_in", "length")
_ETAGS = ("etag", "e_tag")


def entries_below(source: str, without: str) -> Iterator[Entry]:
    """Yield the files below a directory or a prefix, sorted; what is below `without`, the run itself, is none.

    Raises UsageError for a source that is one file, InputError for one that cannot be read.
    """
    return _objects(source, without) if is_remote(source) else _files(source, without)


def _objects(source: str, without: str) -> Iterator[Entry]:
    from dcmtx.place.remote import is_prefix, listing

    if not is_prefix(source):
        raise UsageError("it is one object; a plan is of a prefix, or of a list: --from FILE", path=source)
    own = f"{without.rstrip('/')}/"
    for found in listing(source):
        if not found.url.startswith(own):
            yield Entry(found.below, found.url, size=found.size, etag=found.etag)


def _files(source: str, without: str) -> Iterator[Entry]:
    if not os.path.isdir(source):
        if os.path.lexists(source):
            raise UsageError("it is one file; a plan is of a directory, or of a list: --from FILE", path=source)
        raise InputError("there is no such directory", code="E_UNREADABLE", path=source)

    def fail(error: OSError) -> None:
        raise InputError(f"the directory cannot be read: {error.strerror}", code="E_UNREADABLE", path=error.filename)

    own = os.path.realpath(without)
    for base, directories, names in os.walk(source, onerror=fail):
        directories[:] = sorted(name for name in directories if os.path.realpath(os.path.join(base, name)) != own)
        for name in sorted(names):
            path = os.path.join(base, name)
            if not is_temporary(name) and (os.path.isfile(path) or not os.path.exists(path)):
                yield _file(os.path.relpath(path, source), path)


def _file(key: str, path: str) -> Entry:
    """Return the entry of a local file; of one that is not there, or is a dangling link, without size: it will fail."""
    try:
        status = os.stat(path)
    except OSError:
        return Entry(key, path)
    return Entry(key, path, size=status.st_size, mtime=status.st_mtime_ns)


# --- lists -------------------------------------------------------------------------------------------------------


def entries_of(manifest: str, source: str) -> Iterator[Entry]:
    """Yield the files of a list, in its order.

    Names are below `source`; URLs, absolute paths, and keys beside a bucket are whole.

    A list is CSV with a header, Parquet or JSON lines with such columns, or has one name on each line.

    Raises InputError for a list that cannot be read, has no names, or has one that is not below `source`, or leads out
    of it.
    """
    for number, row in enumerate(_rows(manifest), 1):
        columns = {str(name).strip().lower(): value for name, value in row.items()}
        name = _first(columns, _KEYS)
        if not name:
            raise InputError(
                f"entry {number} of it has no name", advice=f"call the column one of {', '.join(_KEYS)}",
                code="E_MANIFEST", path=manifest,
            )  # fmt: skip
        bucket = columns.get("bucket")
        key = _below(f"{source.partition('://')[0]}://{bucket}/{name}" if bucket else str(name), source)
        if key is None:
            raise InputError(f"entry {number} of it, {name}, is not below {source}", code="E_MANIFEST", path=manifest)
        if refused_name(key) is not None:
            raise InputError(
                f"entry {number} of it, {name}, leads out of {source}", advice="write names without ..",
                code="E_MANIFEST", path=manifest,
            )  # fmt: skip
        yield _listed(key, source, columns, f"entry {number}", manifest)


def _listed(key: str, source: str, columns: Mapping[str, Any], where: str, manifest: str) -> Entry:
    if not is_remote(source):
        # `./a` and `b//c` are other ways to write a name, which would be another one.
        key = os.path.normpath(key)
        return _file(key, os.path.join(source, key))
    size = _first(columns, _SIZES)
    try:
        length = None if size in (None, "") else int(size)
    except (TypeError, ValueError):
        raise InputError(f"{where} of it has a size that is no number", code="E_MANIFEST", path=manifest) from None
    etag = str(_first(columns, _ETAGS) or "").strip('"')
    # Inventories leave out the quotation marks that the header has.
    quoted = f'"{etag}"' if etag else ""
    return Entry(key, f"{source.rstrip('/')}/{key}", size=length, etag=quoted)


def _first(columns: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((columns[name] for name in names if columns.get(name) not in (None, "")), None)


def _below(name: str, source: str) -> str | None:
    """Return a name below the source; None for one that is elsewhere."""
    if "://" not in name and not (name.startswith("/") and not is_remote(source)):
        return name
    start = source if source.endswith("/") else f"{source}/"
    if not is_remote(source) and not os.path.isabs(source):
        start = os.path.join(os.path.abspath(source), "")
    if not name.startswith(start) or len(name) == len(start):
        return None
    key = name[len(start) :]
    return key if is_remote(source) else key.lstrip("/")


class Once:
    """Lets each file of a list through once, and counts those that come again."""

    def __init__(self) -> None:
        self.again = 0
        # Digests are shorter than names, of which there may be millions; no two names have the same one.
        self._seen: set[bytes] = set()

    def __call__(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Yield those entries whose key has not come yet."""
        for entry in entries:
            digest = hashlib.blake2b(os.fsencode(entry.key), digest_size=16).digest()
            if digest in self._seen:
                self.again += 1
                continue
            self._seen.add(digest)
            yield entry


def _rows(manifest: str) -> Iterator[Mapping[str, Any]]:
    from dcmtx.place.tables import is_parquet, read_records

    if is_parquet(manifest) or manifest.endswith(".jsonl"):

        def torn() -> None:
            raise InputError(
                "its last line is cut off", advice="write it anew, for files may be missing", code="E_MANIFEST",
                path=manifest,
            )  # fmt: skip

        yield from read_records(manifest, torn)
        return
    try:
        with open(manifest, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            if manifest.endswith(".csv"):
                import csv

                yield from csv.DictReader(file)
            else:
                yield from ({"key": line.rstrip("\r\n")} for line in file if line.strip())
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror}", code="E_UNREADABLE", path=manifest) from error
