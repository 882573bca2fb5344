"""Temporary files: their names and locks, and the step from a complete one to the file in place.

A temporary file stands beside its destination and is locked while its process lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from typing import IO, Any

from dcmtx.errors import OutputError
from dcmtx.finding import Finding
from dcmtx.place.filesystem import keep_rights, sync_directory, sync_file
from dcmtx.place.sink import write_error

_LONGEST_NAME = 255
_SUFFIX = ".dcmtx-part"


def temporary_name(name: str, distinction: str = "") -> str:
    """Return the temporary name for a file while it is being written."""
    suffix = f".{distinction}{_SUFFIX}" if distinction else _SUFFIX
    # File names are limited in bytes, not characters.
    stem = os.fsencode(name)[: _LONGEST_NAME - len(suffix) - 1].decode(sys.getfilesystemencoding(), "ignore")
    return f".{stem}{suffix}"


def is_temporary(name: str) -> bool:
    """Tell whether a file name is one of our temporary names."""
    return name.startswith(".") and name.endswith(_SUFFIX)


def remove_stale(path: str) -> bool:
    """Remove a temporary file unless its lock shows that a process is writing it; return whether it is gone."""
    try:
        fd = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return not os.path.lexists(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The writer may have finished between our open and our lock; then the name belongs to another file.
        if is_at(fd, path):
            os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def is_at(fd: int, path: str) -> bool:
    """Tell whether this path names the open file."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


# Temporary files of this process that are not in place yet: path to descriptor.
unfinished: dict[str, int] = {}


def abandon() -> None:
    """Remove the temporary files of this process, which is about to end. For signal handlers."""
    for path in list(unfinished):
        with contextlib.suppress(OSError):
            os.unlink(path)


def release() -> None:
    """In a newly forked process, release the temporary files of the parent, which keeps their locks."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for path, fd in unfinished.items():
        # Where a descriptor was closed behind our back, its number may be that of a source by now.
        if is_at(fd, path):
            os.dup2(nowhere, fd, inheritable=False)
    os.close(nowhere)
    unfinished.clear()


def sweep(directory: str) -> None:
    """Remove every stale temporary file in a directory."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if is_temporary(entry.name):
                remove_stale(entry.path)


class Unplaced:
    """A complete temporary file that is not in place yet. `path` is what messages call it; `size` is in bytes.

    `prepare` and `place` put it in place, and its directory is synced after that. Until `place` the destination is
    unchanged. Another process to which this is sent can `rescue` the file if the process that wrote it dies.
    """

    def __init__(self, path: str, temporary: str, target: str, *, clobber: bool, file: IO[bytes]) -> None:
        self.path = path
        self.target = target
        self._temporary = temporary
        self._clobber = clobber
        self._file: IO[bytes] | None = file
        status = os.fstat(file.fileno())
        self.size = status.st_size
        self._identity = _identity(status)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the open file, which other processes do not have."""
        return self.__dict__ | {"_file": None}

    @property
    def directory(self) -> str:
        """The directory of the destination."""
        return os.path.dirname(self.target)

    def prepare(self, *, sync: bool = True) -> list[Finding]:
        """Give the file the metadata of the one that it replaces, and sync it; return notes. Raises OSError."""
        assert self._file is not None
        fd = self._file.fileno()
        notes = keep_rights(self.target, fd)
        if sync:
            sync_file(fd)
        return notes

    def place(self) -> None:
        """Give the file its name. Raises OSError, or OutputError if the name is taken and must not be replaced."""
        if self._clobber:
            os.rename(self._temporary, self.target)
        else:
            self._place_if_free()
        self.close()

    def _place_if_free(self) -> None:
        """Give the file its name only if the name is free: `link` never replaces a file."""
        try:
            os.link(self._temporary, self.target)
        except FileExistsError:
            raise exists(self.path) from None
        except OSError:
            # A file system without hard links.
            if os.path.lexists(self.target):
                raise exists(self.path) from None
            os.rename(self._temporary, self.target)
        else:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)

    @property
    def is_placed(self) -> bool:
        """Whether the file has its name."""
        return self._is(self.target)

    def close(self) -> None:
        """Close the file, which releases its lock."""
        unfinished.pop(self._temporary, None)
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def discard(self) -> None:
        """Close and remove the temporary file. For one that is not in place."""
        unfinished.pop(self._temporary, None)
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)
        self.close()

    def rescue(self) -> list[Finding] | None:
        """Put the file in place for its writer, which has died; return notes. None if the file is there no more.

        Raises OutputError if that fails.
        """
        try:
            if self.is_placed:
                # The writer died between the two steps that give a file a free name.
                if self._is(self._temporary):
                    os.unlink(self._temporary)
                return sync_directory(self.directory)
            if not self._is(self._temporary):
                return None
            self._file = os.fdopen(os.open(self._temporary, os.O_RDONLY | os.O_CLOEXEC), "rb", buffering=0)
            with contextlib.suppress(OSError):
                fcntl.flock(self._file.fileno(), fcntl.LOCK_EX)
            if not self._is(self._temporary):
                self.close()
                return None
            notes = self.prepare()
            self.place()
            return notes + sync_directory(self.directory)
        except OSError as error:
            self.discard()
            raise write_error(self.path, error) from error
        except OutputError:
            self.discard()
            raise

    def _is(self, path: str) -> bool:
        """Tell whether this path names the file."""
        try:
            status = os.lstat(path)
        except OSError:
            return False
        return _identity(status) == self._identity


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Return what distinguishes a complete file from another, also where an inode is used again."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def exists(path: str) -> OutputError:
    """Return the error for a destination that exists and must be kept."""
    return OutputError("it exists, and --no-clobber keeps it", code="E_EXISTS", path=path)
