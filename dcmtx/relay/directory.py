"""Delivers into a directory: files by Study, Series and SOP Instance UID, each whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Sequence
from os.path import basename
from typing import TYPE_CHECKING

from dcmtx.dataset.meta import peek
from dcmtx.errors import InputError, OutputError
from dcmtx.place.atomic import AtomicSink
from dcmtx.place.bytes import open_bytes
from dcmtx.place.filesystem import sync_directory
from dcmtx.relay.answers import Answer, AnswerKind, Undeliverable
from dcmtx.relay.attributes import read_file
from dcmtx.relay.entry import sent_head

if TYPE_CHECKING:
    from dcmtx.place.bytes import Reader
    from dcmtx.relay.config import Destination
    from dcmtx.relay.entry import Entry

_STUDY, _SERIES = 0x0020000D, 0x0020000E
# Some have letters in their UIDs. What could lead elsewhere is no name.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# Of instances that belong to no study: palettes, protocols, templates.
_ABSENT = {_STUDY: "no-study", _SERIES: "no-series"}
_SUFFIX = ".dcm"
# So many bytes are compared at a time.
_PIECE = 1 << 20
# Of SHA-256, in hexadecimal: 64 bits tell instances of one UID apart.
_DIGITS = 16


class DirectoryDelivery:
    """Delivers by writing files."""

    def __init__(self, destination: Destination) -> None:
        self._path = destination.path
        # What is not there is not made: it may be a file system that is not mounted.
        why = "there is no such directory" if not os.path.isdir(self._path) else "it may not be written to"
        if not os.access(self._path, os.W_OK | os.X_OK):
            raise Undeliverable(Answer(AnswerKind.UNREACHABLE, text=f"{self._path}: {why}"))

    def covers(self, entry: Entry) -> bool:  # noqa: ARG002 - the protocol's
        """Tell that any entry may be written."""
        return True

    def accepted(self, entry: Entry) -> frozenset[str] | None:  # noqa: ARG002 - the protocol's
        """Return None: a directory takes everything."""
        return None

    def send(self, entry: Entry, path: str, syntax: str) -> Answer:  # noqa: ARG002 - the protocol's
        """Write a file."""
        parts = names(path, sent_head(entry, path).instance)
        bad = next((part for part in parts if not _NAME.fullmatch(part)), None)
        if bad is not None:
            return Answer(AnswerKind.HOLD, text=f"{bad[:64]!r} is a UID that makes no name of a file")
        if not os.path.isdir(self._path):
            return Answer(AnswerKind.UNREACHABLE, text=f"{self._path}: the directory is gone")
        return _write(path, os.path.join(self._path, *parts[:-1], parts[-1] + _SUFFIX))

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def interrupt(self) -> None:
        """Do nothing: a disk cannot be hurried."""


def open_delivery(destination: Destination, entries: Sequence[Entry]) -> DirectoryDelivery:  # noqa: ARG001
    """Return a delivery. Raises Undeliverable if the directory is not there."""
    return DirectoryDelivery(destination)


def names(path: str, instance: str) -> tuple[str, str, str]:
    """Return Study, Series and SOP Instance UID of a file; words in their place where it has none."""
    found = read_file(path, (_STUDY, _SERIES))
    study, series = (found.get(tag, ("",))[0] or _ABSENT[tag] for tag in (_STUDY, _SERIES))
    return study, series, instance


def _write(source: str, target: str) -> Answer:
    """Write a file where none is. Raises InputError if the source fails.

    An instance that is there already stays. Another under the same UIDs, which should not be, comes beside it, under a
    name that its bytes decide: whatever is sent again, nothing is lost and nothing is there twice.
    """
    reader = open_bytes(source)
    try:
        if _is_written(reader, target) or _is_there(reader, target):
            return Answer(AnswerKind.DELIVERED)
        beside = f"{target.removesuffix(_SUFFIX)}-{_digest(reader)}{_SUFFIX}"
        if not _is_written(reader, beside):
            _sync(beside)
        return Answer(
            AnswerKind.DELIVERED, text=f"another instance has its UID there; it is beside it, as {basename(beside)}"
        )
    except OutputError as error:
        return _failed(error)
    finally:
        reader.close()


def _is_written(reader: Reader, target: str) -> bool:
    """Copy a file under a temporary name, sync it, and give it its name; return False if there is a file of that name.

    Raises OutputError.
    """
    try:
        with AtomicSink(target, parents=True, clobber=False) as sink:
            sink.copy(reader)
            sink.commit()
    except OutputError as error:
        if error.code != "E_EXISTS":
            raise
        return False
    return True


def _is_there(reader: Reader, target: str) -> bool:
    """Tell whether a file has the same data set in the same syntax, and outlasts a crash. Its group 0002 may differ."""
    try:
        there = open_bytes(target)
        try:
            heads = peek(reader), peek(there)
            same = heads[0].syntax == heads[1].syntax and _same_bytes(reader, there, *(head.dataset for head in heads))
        finally:
            there.close()
    except InputError:
        return False
    if same:
        _sync(target)
    return same


def _same_bytes(one: Reader, other: Reader, start: int, begin: int) -> bool:
    """Tell whether two files have the same bytes from these offsets on."""
    length = one.size - start
    if length != other.size - begin:
        return False
    return all(
        one.pread(min(_PIECE, length - done), start + done) == other.pread(min(_PIECE, length - done), begin + done)
        for done in range(0, length, _PIECE)
    )


def _digest(reader: Reader) -> str:
    """Return a few digits that other bytes do not have."""
    digest = hashlib.sha256()
    for start in range(0, reader.size, _PIECE):
        digest.update(reader.pread(min(_PIECE, reader.size - start), start))
    return digest.hexdigest()[:_DIGITS]


def _sync(path: str) -> None:
    """Have a file outlast a crash of the machine: who wrote it may have been killed before that."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        os.fsync(file.fileno())
    sync_directory(os.path.dirname(path))


def _failed(error: OutputError) -> Answer:
    """Return what it means that a file cannot be written: of this file, or of the whole directory."""
    number = getattr(error.__cause__, "errno", None)
    if number in (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.ELOOP):
        return Answer(AnswerKind.HOLD, text=error.message)
    if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ESTALE, errno.ENOTCONN):
        return Answer(AnswerKind.UNREACHABLE, text=error.message)
    return Answer(AnswerKind.AGAIN, text=error.message)
