"""Atomic writing: a temporary file beside the destination is written, patched, fsynced and renamed.

Until `commit` the destination is unchanged, whatever happens. After it, the complete file is there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import IO

from dcmtx.errors import OutputError
from dcmtx.place.filesystem import begin_sync, make_directories, sync_directory
from dcmtx.place.sink import BUFFER, BufferedSink, Data
from dcmtx.place.temporary import Unplaced, exists, is_at, remove_stale, temporary_name, unfinished

# Where commits of this process go while they are postponed; None while they are not.
_postponed: list[Unplaced] | None = None


class Postponing:
    """A `with` block in which no commit puts a file in place: what is left to do goes into the list that it returns.

    Only AtomicSinks that sync are postponed. An exception that leaves the block discards the files.
    """

    def __enter__(self) -> list[Unplaced]:
        """Postpone commits."""
        global _postponed  # noqa: PLW0603 - what is postponed is a matter of the process
        self._files: list[Unplaced] = []
        _postponed = self._files
        return self._files

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Postpone commits no longer."""
        global _postponed  # noqa: PLW0603
        _postponed = None
        if kind is not None:
            for file in self._files:
                file.discard()


# After so many bytes the system is told to begin to write them, since the end waits for the disk.
_AHEAD = 4 << 20


class AtomicSink(BufferedSink):
    """Writes a local file under a temporary name and renames it on commit. Follows symbolic links.

    `clobber` says whether an existing file may be replaced, `parents` whether missing directories are made, `sync`
    whether everything must outlast a crash of the machine.

    Raises OutputError if the file cannot be created, written or renamed.
    """

    def __init__(self, path: str, *, clobber: bool = True, parents: bool = False, sync: bool = True) -> None:
        super().__init__(path)
        self._temporary = ""
        self._clobber = clobber
        self._sync = sync
        # How many bytes the system has been told to write.
        self._ahead = 0
        try:
            self._target = os.path.realpath(path)
            self._check_target(clobber)
            if parents:
                self.notes += make_directories(os.path.dirname(self._target), sync=sync)
            self._file = self._open_temporary()
        except OSError as error:
            self.abort()
            raise self._failed(error) from error
        except ValueError as error:
            raise OutputError(f"it cannot be written: {error}", path=self.path) from error
        except BaseException:
            self.abort()
            raise

    def write(self, data: Data) -> None:
        """Append bytes."""
        super().write(data)
        if self._sync and self.bytes - self._ahead >= _AHEAD:
            assert self._file is not None
            # Without what the buffer may still hold, which comes with the next.
            end = self.bytes - BUFFER
            begin_sync(self._file.fileno(), self._ahead, end - self._ahead)
            self._ahead = end

    def reopen(self) -> IO[bytes]:
        """Return what was written until now, as a file to read. Raises OSError."""
        assert self._file is not None
        self._file.flush()
        return open(self._temporary, "rb")

    def _check_target(self, clobber: bool) -> None:
        if self.path.endswith(os.sep) and not os.path.isdir(self._target):
            raise OutputError("there is no such directory", path=self.path)
        if os.path.isdir(self._target):
            raise OutputError("it is a directory", advice="name a file in it", code="E_OUTPUT", path=self.path)
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
        unfinished[temporary] = fd
        file = os.fdopen(fd, "w+b", buffering=BUFFER)
        self._file = file
        # The lock tells other processes that the file is still being written. Without locks in the file system, a
        # file that is left behind stays there.
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        if not is_at(fd, temporary):
            # Another run took it for stale and removed it before we had the lock; the name may be in use again.
            self._temporary = ""
            unfinished.pop(temporary, None)
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
        left = Unplaced(self.path, self._temporary, self._target, clobber=self._clobber, file=self._file)
        if _postponed is not None and self._sync:
            _postponed.append(left)
            self._temporary, self._file = "", None
            return
        self.notes += left.prepare(sync=self._sync)
        left.place()
        self._temporary, self._file = "", None
        if self._sync:
            self.notes += sync_directory(left.directory)

    def _discard(self) -> None:
        temporary, self._temporary = self._temporary, ""
        try:
            if temporary:
                unfinished.pop(temporary, None)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
        finally:
            super()._discard()


def check_free(path: str, *, clobber: bool) -> None:
    """Raise OutputError if a file exists that must not be replaced, or if symbolic links form a loop."""
    if path != "-" and _is_loop(path):
        raise OutputError("it cannot be written: its symbolic links form a loop", advice="remove them", path=path)
    if not clobber and path != "-" and os.path.lexists(path):
        raise exists(path)


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
