"""Finds the files of a batch, and decides where each goes.

Files are recognized by content and yielded as they are found, sorted by name within a directory. Only the names in one
directory are held in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from typing import Any

from dcmtx.dataset.meta import PASSED_OVER, opens_as_dicom
from dcmtx.errors import DcmtxError, InputError, OutputError, UsageError
from dcmtx.place.archive import entries, member_path, refused_name
from dcmtx.place.below import special
from dcmtx.place.bytes import open_bytes
from dcmtx.place.kinds import Kind, bare_name, is_archive, is_packed, kind_of
from dcmtx.place.places import is_remote, open_reader
from dcmtx.place.scratch import Scratch, is_scratch
from dcmtx.place.temporary import is_temporary
from dcmtx.record import Record

# Errors of what is no DICOM at all.


class Found(Record):
    """One thing that a walk found: where it is, and where it goes.

    `fault` is why it cannot be converted, `skip` why it is skipped; `named` says that the user named it. `source` is
    its place where that is no path, but a member of an archive.
    """

    src: str
    dst: str
    fault: DcmtxError | None = None
    skip: str = ""
    named: bool = False
    source: Any = None


class Root(Record):
    """One source of the command line: a file; or a directory, archive or prefix whose contents go to `target`."""

    path: str
    target: str
    is_directory: bool
    is_archive: bool = False
    is_prefix: bool = False

    @property
    def is_one_file(self) -> bool:
        """Whether this is one file, not the contents of a directory, an archive, or a prefix in a store."""
        return not (self.is_directory or self.is_archive or self.is_prefix)


def plan_roots(sources: Sequence[str], destination: str) -> list[Root]:
    """Return where each source goes.

    One file goes to the destination itself, unless that is a directory. The contents of one directory go into the
    destination. Of several sources, each file or directory goes there under its own name.

    Raises UsageError if the destination of several files is a file, or if a place is standard input or output.
    """
    if "-" in (*sources, destination):
        raise UsageError("standard input and output are for one file, without --timeout and --resume")
    packs = is_packed(destination)
    one_file = len(sources) == 1 and not os.path.isdir(sources[0]) and not is_archive(sources[0])
    if is_remote(sources[0]) or is_remote(destination):
        roots = _remote_roots(sources, destination)
        if roots is not None:
            return roots
    if one_file and not os.path.isdir(destination) and not packs:
        return [Root(sources[0], destination, is_directory=False)]
    if os.path.exists(destination) and not os.path.isdir(destination) and not packs:
        raise UsageError(f"several files need a directory to go into, and {destination} is a file")
    roots = []
    for source in sources:
        is_directory = os.path.isdir(source)
        name = os.path.basename(os.path.normpath(os.path.abspath(source)))
        packed = not is_directory and is_archive(source)
        alone = (is_directory or packed) and len(sources) == 1
        target = destination if alone else os.path.join(destination, bare_name(name) if packed else name)
        roots.append(Root(source, target, is_directory, is_archive=packed))
    return roots


def _remote_roots(sources: Sequence[str], destination: str) -> list[Root] | None:
    """Return where sources go if one is in a store, or the destination is. None for what is as with local paths.

    A prefix is like a directory. A destination is one if it ends in `/`, or takes several.
    """
    from dcmtx.place.remote import is_prefix

    if is_remote(destination) and kind_of(destination) is not None:
        raise UsageError("archives are written to local paths only", path=destination)
    prefixes = [is_remote(source) and is_prefix(source) for source in sources]
    below = destination.endswith("/") or os.path.isdir(destination)
    if len(sources) == 1 and not prefixes[0] and not os.path.isdir(sources[0]) and not is_archive(sources[0]):
        name = os.path.basename(sources[0])
        return [Root(sources[0], os.path.join(destination, name) if below else destination, is_directory=False)]
    if not any(prefixes) and not is_remote(destination):
        return None
    roots = []
    for source, prefix in zip(sources, prefixes, strict=True):
        name = os.path.basename(source.rstrip("/")) if is_remote(source) else os.path.basename(os.path.abspath(source))
        packed = not prefix and is_archive(source)
        directory = not prefix and os.path.isdir(source)
        alone = len(sources) == 1 and (prefix or packed or directory)
        target = destination if alone else os.path.join(destination, bare_name(name) if packed else name)
        roots.append(Root(source, target, directory, is_archive=packed, is_prefix=prefix))
    return roots


def walk(
    roots: Sequence[Root], destination: str, report: str | None = None, scratch: Scratch | None = None
) -> Iterator[Found]:
    """Yield every file below the roots, and where it goes, as it is found.

    Symbolic links to files are followed, links to directories are not. The destination is not walked, and the report
    is neither read as a source nor overwritten. Directories with the same target are walked together. What must be
    unpacked goes into `scratch`; without one, compressed tar archives are not walked.
    """
    taken = _Taken(roots, report)
    together: dict[str, list[Root]] = {}
    for root in roots:
        if root.is_directory:
            together.setdefault(root.target, []).append(root)
    for root in roots:
        if root.is_directory:
            for found in _walk_directories(together.pop(root.target, []), destination):
                yield taken.check(found)
        elif root.is_prefix:
            for found in _walk_prefix(root):
                yield taken.check(found)
        elif root.is_archive:
            for found in _walk_archive(root, scratch):
                yield taken.check(found)
        else:
            yield taken.check(Found(root.path, root.target, named=True))
            taken.add(root)


def _walk_prefix(root: Root) -> Iterator[Found]:
    """Yield the objects below a prefix. A store that cannot be listed is a fault."""
    from dcmtx.place.remote import listing

    found_any = False
    try:
        for one in listing(root.path):
            found_any = True
            fault = refused_name(one.below, exact=not is_remote(root.target))
            target = os.path.join(root.target, one.below) if fault is None else root.target
            yield Found(one.url, target, fault, source=one)
        if not found_any:
            raise InputError("there is nothing below it", code="E_UNREADABLE")
    except DcmtxError as error:
        error.path = error.path or root.path
        yield Found(root.path, root.target, error, named=True)


def _walk_archive(root: Root, scratch: Scratch | None) -> Iterator[Found]:
    """Yield the members of an archive. One that cannot be read is a fault."""
    if scratch is None and kind_of(root.path) not in (Kind.ZIP, Kind.TAR):
        return
    try:
        for entry in entries(root.path, scratch or Scratch(None)):
            shown = f"{root.path}: {entry.name}"
            target = member_path(root.target, entry.name) if entry.fault is None else root.target
            if entry.fault is not None:
                entry.fault.path = entry.fault.path or shown
            yield Found(shown, target, entry.fault, skip=entry.skip, source=entry.place)
    except DcmtxError as error:
        error.path = error.path or root.path
        yield Found(root.path, root.target, error, named=True)


def _walk_directories(roots: Sequence[Root], destination: str) -> Iterator[Found]:
    """Yield the files of directories that have one target.

    The directories are walked in parallel, so files with the same relative path are found together.
    """
    pending = [("", [_Place(root, destination) for root in roots])]
    while pending:
        relative, there = pending.pop()
        files, directories, faults = _list(relative, there)
        yield from faults
        for _, same in groupby(files, itemgetter(0)):
            yield from _first_comes([there[number].found(relative, name) for name, number in same])
        # The stack is popped from its end.
        pending += [(os.path.join(relative, name), directories[name]) for name in sorted(directories, reverse=True)]
        # Hold the names of one directory only.
        del files


def _list(relative: str, there: list[_Place]) -> tuple[list[tuple[str, int]], dict[str, list[_Place]], list[Found]]:
    """List one relative path in several directories.

    Returns the sorted files as name and index in `there`, the subdirectories with the places that have them, and the
    faults of unreadable directories.
    """
    files: list[tuple[str, int]] = []
    directories: dict[str, list[_Place]] = {}
    faults: list[Found] = []
    for number, place in enumerate(there):
        names, below, error = place.entries(relative)
        files += [(name, number) for name in names]
        for name in below:
            directories.setdefault(name, []).append(place)
        if error is not None:
            faults.append(place.fault(relative, error))
    files.sort()
    return files, directories, faults


def _first_comes(found: list[Found]) -> Iterator[Found]:
    """Yield files with the same destination. The first DICOM file goes there; other DICOM files become faults."""
    if len(found) == 1:
        yield found[0]
        return
    first: Found | None = None
    for one in found:
        if one.skip or not is_dicom(one.src):
            yield one
        elif first is None:
            first = one
            yield one
        else:
            yield _clash(one, f"{one.dst} is where {first.src} goes already")


class _Place:
    """A directory that is walked. It recognizes the destination, even one created during the walk."""

    def __init__(self, root: Root, destination: str) -> None:
        self._root = root
        self._destination = destination
        self._identity = _identity(root.path)
        self._own: tuple[int, int] | None = None

    def entries(self, relative: str) -> tuple[list[str], list[str], OSError | None]:
        """Return the names of files and of directories in a directory, and the error that ended reading, if any."""
        files: list[str] = []
        directories: list[str] = []
        path = self._below(self._root.path, relative)
        if self._is_destination(path):
            return files, directories, None
        try:
            with closing(os.scandir(path)) as scanned:
                for entry in scanned:
                    if is_scratch(entry.name):
                        continue
                    if _is_directory(entry) and not entry.is_symlink():
                        directories.append(entry.name)
                    elif not is_temporary(entry.name):
                        files.append(entry.name)
        except OSError as error:
            return files, directories, error
        return files, directories, None

    def found(self, relative: str, name: str) -> Found:
        """Return the Found of this name in a directory."""
        below = self._below(relative, name)
        path = os.path.join(self._root.path, below)
        return Found(path, os.path.join(self._root.target, below), skip=_special(path))

    def fault(self, relative: str, error: OSError) -> Found:
        """Return the Found of a directory that could not be read completely."""
        path = self._below(self._root.path, relative)
        fault = InputError(f"the directory cannot be read: {error.strerror}", code="E_UNREADABLE", path=path)
        return Found(path, os.path.join(self._root.target, relative), fault)

    @staticmethod
    def _below(path: str, name: str) -> str:
        return os.path.join(path, name) if path and name else path or name

    def _is_destination(self, path: str) -> bool:
        """Tell whether a directory is the destination. A conversion in place returns False."""
        self._own = self._own or _identity(self._destination)
        return self._own not in (None, self._identity) and _identity(path) == self._own


class _Taken:
    """Detects clashes: two sources with one destination, or a destination that is another source.

    It also keeps the report from being a source or a destination, under any spelling of its path. Directories alone
    have no clashes but those that their common walk finds; what archives and several places in stores have is
    remembered.
    """

    def __init__(self, roots: Sequence[Root], report: str | None) -> None:
        remembers = any(root.is_archive or (is_remote(root.path) and len(roots) > 1) for root in roots)
        self._claimed: set[bytes] | None = set() if remembers else None
        self._sources = {os.path.realpath(root.path): root.path for root in roots if not root.is_directory}
        self._targets: dict[str, str] = {}
        self._report = None if report is None else _identity(report)

    def add(self, root: Root) -> None:
        """Record the destination of a file. A holder that is not DICOM is replaced, because it is not written."""
        holder = self._targets.get(root.target)
        if holder is None or not is_dicom(holder):
            self._targets[root.target] = root.path

    def check(self, found: Found) -> Found:
        """Return `found`, with a fault if its destination is taken."""
        if found.skip or found.fault:
            return found
        if self._report is not None:
            if _identity(found.src) == self._report:
                return found.replace(skip="it is the report")
            if _identity(found.dst) == self._report and is_dicom(found.src):
                return _clash(found, f"{found.dst} is the report; name another file for that")
        if not self._claim(found) and _may_convert(found):
            return _clash(found, "another of the sources goes to the same place already")
        rival = self._targets.get(found.dst)
        if rival and is_dicom(rival) and is_dicom(found.src):
            return _clash(found, f"{found.dst} is where {rival} goes already")
        if self._sources:
            place = os.path.realpath(found.dst)
            if place in self._sources and os.path.realpath(found.src) != place:
                return _clash(found, f"{found.dst} is a source too, {self._sources[place]}; convert that first")
        return found

    def _claim(self, found: Found) -> bool:
        """Return False if another one that was found goes to the same place."""
        if self._claimed is None:
            return True
        from hashlib import blake2b

        place = found.dst if is_remote(found.dst) else os.path.abspath(found.dst)
        # Names can be long, and millions of them many bytes.
        claim = blake2b(place.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        before = len(self._claimed)
        self._claimed.add(claim)
        return len(self._claimed) > before


def _may_convert(found: Found) -> bool:
    """Tell whether what was found would be converted or fail, and not be skipped."""
    try:
        with closing(open_reader(found.source or found.src)) as reader:
            return opens_as_dicom(reader)
    except DcmtxError as error:
        return error.code not in PASSED_OVER


def _clash(found: Found, message: str) -> Found:
    return found.replace(fault=OutputError(message, code="E_CLASH", path=found.src))


def is_dicom(path: str) -> bool:
    """Tell whether a file would be converted or fail, and not be skipped."""
    try:
        with closing(open_bytes(path)) as file:
            return opens_as_dicom(file)
    except DcmtxError:
        return False


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _special(path: str) -> str:
    """Return why this is not a regular file, or an empty string. Other problems show when it is opened."""
    try:
        return special(os.stat(path))
    except OSError:
        return ""


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
