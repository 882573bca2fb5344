"""Atomic writing: a temporary file beside the destination is written, patched, fsynced and renamed.

Until `commit` the destination is unchanged, whatever happens. After it, the complete file is there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
from typing import IO

from dcmtx.errors import OutputError
from dcmtx.place.filesystem import keep_rights, make_directories, sync_directory, sync_file
from dcmtx.place.sink import BUFFER, BufferedSink

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
        if _is_at(fd, path):
            os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _is_at(fd: int, path: str) -> bool:
    """Tell whether this path names the open file."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


# Temporary files that this process is writing: path to descriptor.
_unfinished: dict[str, int] = {}


def abandon() -> None:
    """Remove the temporary files of this process, which is about to end. For signal handlers."""
    for path in list(_unfinished):
        with contextlib.suppress(OSError):
            os.unlink(path)


def release() -> None:
    """In a newly forked process, release the temporary files of the parent, which keeps their locks."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in _unfinished.values():
        os.dup2(nowhere, fd, inheritable=False)
    os.close(nowhere)
    _unfinished.clear()


def sweep(directory: str) -> None:
    """Remove every stale temporary file in a directory."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if is_temporary(entry.name):
                remove_stale(entry.path)


class AtomicSink(BufferedSink):
    """Writes a local file under a temporary name and renames it on commit. Follows symbolic links.

    `clobber` says whether an existing file may be replaced, `parents` whether missing directories are made.

    Raises OutputError if the file cannot be created, written or renamed.
    """

    def __init__(self, path: str, *, clobber: bool = True, parents: bool = False) -> None:
        super().__init__(path)
        self._temporary = ""
        self._clobber = clobber
        try:
            self._target = os.path.realpath(path)
            self._check_target(clobber)
            if parents:
                self.notes += make_directories(os.path.dirname(self._target))
            self._file = self._open_temporary()
        except OSError as error:
            self.abort()
            raise self._failed(error) from error
        except ValueError as error:
            raise OutputError(f"it cannot be written: {error}", path=self.path) from error
        except BaseException:
            self.abort()
            raise

    def _check_target(self, clobber: bool) -> None:
        if self.path.endswith(os.sep) and not os.path.isdir(self._target):
            raise OutputError("there is no such directory", path=self.path)
        if os.path.isdir(self._target):
            raise OutputError("the destination is a directory", code="E_OUTPUT", path=self.path)
        check_free(self.path, clobber=clobber)

    def _open_temporary(self) -> IO[bytes]:
        """Create the temporary file, under a name that depends only on the destination.

        So the next run finds what a killed process left. If a live process holds the lock, another name is used.
        """
        directory, name = os.path.split(self._target)
        temporary = os.path.join(directory, temporary_name(name))
        if os.path.lexists(temporary) and not remove_stale(temporary):
            temporary = os.path.join(directory, temporary_name(name, os.urandom(6).hex()))
        # The new file must not be readable by users who cannot read the file it replaces.
        mode = 0o600 if os.path.exists(self._target) else 0o666
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        try:
            fd = os.open(temporary, flags, mode)
        except FileExistsError:
            # Another run for the same destination created it first.
            temporary = os.path.join(directory, temporary_name(name, os.urandom(6).hex()))
            fd = os.open(temporary, flags, mode)
        self._temporary = temporary
        _unfinished[temporary] = fd
        file = os.fdopen(fd, "w+b", buffering=BUFFER)
        self._file = file
        # The lock tells other processes that the file is still being written. Without locks in the file system, a
        # file that is left behind stays there.
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        if not _is_at(fd, temporary):
            # Another run took it for stale and removed it before we had the lock; the name may be in use again.
            self._temporary = ""
            _unfinished.pop(temporary, None)
            file.close()
            return self._open_temporary()
        return file

    def reserve(self, length: int) -> None:
        """Announce `length` more bytes. Raises OutputError if the disk has no room for them."""
        try:
            status = os.statvfs(os.path.dirname(self._target))
        except OSError:
            return
        free = status.f_bavail * status.f_frsize
        # A file system that reports no size gives no answer.
        if status.f_blocks and free < length:
            raise OutputError(
                f"it needs {length} bytes and the file system has {free}",
                advice="free some space, nothing was replaced",
                code="E_DISK_FULL",
                path=self.path,
            )

    def _put_in_place(self) -> None:
        assert self._file is not None
        fd = self._file.fileno()
        self.notes += keep_rights(self._target, fd)
        sync_file(fd)
        if self._clobber:
            self._rename()
        else:
            self._place_if_free()
        self.notes += sync_directory(os.path.dirname(self._target))

    def _place_if_free(self) -> None:
        """Give the file its name only if the name is free: `link` never replaces a file."""
        try:
            os.link(self._temporary, self._target)
        except FileExistsError:
            raise _exists(self.path) from None
        except OSError:
            # A file system without hard links.
            if os.path.lexists(self._target):
                raise _exists(self.path) from None
            self._rename()

    def _rename(self) -> None:
        os.rename(self._temporary, self._target)
        _unfinished.pop(self._temporary, None)
        self._temporary = ""

    def _discard(self) -> None:
        temporary, self._temporary = self._temporary, ""
        try:
            if temporary:
                _unfinished.pop(temporary, None)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
        finally:
            super()._discard()


def check_free(path: str, *, clobber: bool) -> None:
    """Raise OutputError if a file exists that must not be replaced, or if symbolic links form a loop."""
    if path != "-" and _is_loop(path):
        raise OutputError("it cannot be written: its symbolic links form a loop", advice="remove them", path=path)
    if not clobber and path != "-" and os.path.lexists(path):
        raise _exists(path)


def _exists(path: str) -> OutputError:
    return OutputError("it exists, and --no-clobber keeps it", code="E_EXISTS", path=path)


def _is_loop(path: str) -> bool:
    try:
        os.stat(path)
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def is_special(path: str) -> bool:
    """Tell whether the path names a device, pipe or socket, which is written to and not replaced."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
