"""Two directories, paired by path or by SOP Instance UID."""

from __future__ import annotations

import os
from collections.abc import Iterator

from dcmtx.dataset.meta import PASSED_OVER, SOP_INSTANCE_UID
from dcmtx.errors import DcmtxError, InputError
from dcmtx.place.below import walk_below
from dcmtx.place.bytes import open_bytes
from dcmtx.record import Record
from dcmtx.transcoding.source import open_source

# What no archive of images is judged by.


class Pair(Record):
    """A file of each directory, or of one alone; `error` is that of a file that cannot be read."""

    name: str
    one: str = ""
    other: str = ""
    error: DcmtxError | None = None


def by_path(one: str, other: str) -> Iterator[Pair]:
    """Yield the files of two directories, sorted by their paths below them; what is not DICOM on both sides is not.

    Directories and links that cannot be read are errors.
    """
    ours, theirs = _named(one), _named(other)
    for name in sorted({*ours, *theirs}):
        first = os.path.join(one, name) if name in ours else ""
        second = os.path.join(other, name) if name in theirs else ""
        fault = ours.get(name) or theirs.get(name)
        if fault is not None or any(path and _is_dicom(path) for path in (first, second)):
            yield Pair(name, first, second, error=fault)


def _named(root: str) -> dict[str, DcmtxError | None]:
    """Return the paths below a directory, as names, and why those that cannot be read cannot."""
    return {os.path.relpath(below.path, root): below.fault for below in walk_below(root) if not below.skip}


def by_uid(one: str, other: str) -> Iterator[Pair]:
    """Yield the files of two directories by SOP Instance UID, in the order of the first.

    A file that cannot be read, or whose UID stands in another file of its directory too, is an error.
    """
    there: dict[str, str] = {}
    for uid, path, error in _instances(other):
        if error is None and uid not in there:
            there[uid] = path
        else:
            yield Pair(path, other=path, error=error or _twice(uid, path))
    seen: set[str] = set()
    for uid, path, error in _instances(one):
        if error is None and uid not in seen:
            seen.add(uid)
            yield Pair(uid, path, there.pop(uid, ""))
        else:
            yield Pair(path, one=path, error=error or _twice(uid, path))
    for uid, path in there.items():
        yield Pair(uid, other=path)


def _twice(uid: str, path: str) -> InputError:
    what = f"SOP Instance UID {uid[:64]} stands in another file too" if uid else "it has no SOP Instance UID"
    return InputError(what, code="E_INCONSISTENT", path=path)


def _instances(root: str) -> Iterator[tuple[str, str, DcmtxError | None]]:
    """Yield SOP Instance UID and path of the DICOM files below a directory, or the error of one."""
    for below in walk_below(root):
        path = below.path
        if below.skip or below.fault is not None:
            if below.fault is not None:
                yield "", path, below.fault
            continue
        try:
            reader = open_bytes(path)
            try:
                opened = open_source(reader)
                uid = opened.dataset.header.text(SOP_INSTANCE_UID)
                opened.close()
            finally:
                reader.close()
        except DcmtxError as error:
            if error.code not in PASSED_OVER:
                error.path = error.path or path
                yield "", path, error
            continue
        yield uid, path, None if uid else _twice(uid, path)


def _is_dicom(path: str) -> bool:
    """Tell whether a file is DICOM, or may be one that is damaged."""
    try:
        reader = open_bytes(path)
        try:
            open_source(reader).close()
        finally:
            reader.close()
    except DcmtxError as error:
        return error.code not in PASSED_OVER
    return True
