"""Writing: beside the destination under a temporary name, patched, fsynced, renamed.

Until `commit` the destination is as it was, whatever happens; after it, the file is there whole.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
import zlib
from types import TracebackType
from typing import IO, Self

from dcmtx.errors import InputError, OutputError
from dcmtx.finding import Finding
from dcmtx.place.bytes import FileBytes, Spool
from dcmtx.place.filesystem import keep_rights, make_directories, sync_directory, sync_file

_BUFFER = 1 << 20
_DEFLATED_PIECE = 1 << 16
_STANDARD_OUTPUT = 1
_LONGEST_NAME = 255
_SUFFIX = ".dcmtx-part"


def temporary_name(name: str, distinction: str = "") -> str:
    """Return the name under which a file is written before it gets its own."""
    suffix = f".{distinction}{_SUFFIX}" if distinction else _SUFFIX
    # File names are limited in bytes, not characters.
    stem = os.fsencode(name)[: _LONGEST_NAME - len(suffix) - 1].decode(sys.getfilesystemencoding(), "ignore")
    return f".{stem}{suffix}"


def is_temporary(name: str) -> bool:
    """Tell whether a file name is one of ours, of a file still or never to be finished."""
    return name.startswith(".") and name.endswith(_SUFFIX)


def remove_stale(path: str) -> bool:
    """Remove a temporary file that nobody is writing any more, as its lock tells; return whether it is gone."""
    try:
        fd = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return not os.path.lexists(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between opening and locking it, its writer may have finished: then the name is not this file's any more.
        if _is_at(fd, path):
            os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _is_at(fd: int, path: str) -> bool:
    """Tell whether an open file is the one that has this name."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


# The temporary files that this process is writing, and their descriptors.
_unfinished: dict[str, int] = {}


def abandon() -> None:
    """Remove the temporary files that this process is writing, for it is about to end; for signal handlers."""
    for path in list(_unfinished):
        with contextlib.suppress(OSError):
            os.unlink(path)


def release() -> None:
    """Let go of the files that the parent of this process, which was just forked, is writing: it holds their locks."""
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


class Sink:
    """A file being written. Bytes go in by `write`, places already written are filled by `patch`.

    `path` may be `-` for standard output, or name a device or pipe: then the file is spooled, and sent only when it
    is complete. A symbolic link is followed. `clobber` says whether an existing file may be replaced, `parents` whether
    directories are made where there are none. `notes` say what could not be kept or made certain.

    Raises OutputError wherever the file cannot be made, written or put in place.
    """

    def __init__(self, path: str, *, clobber: bool = True, parents: bool = False) -> None:
        self.path = path
        self.notes: list[Finding] = []
        self._temporary = ""
        self._file: IO[bytes] | None = None
        self._deflater: _Deflater | None = None
        self.bytes = 0
        self._spool: Spool | None = None
        self._streams = False
        try:
            self._streams = path == "-" or _is_special(path)
            if self._streams:
                self._spool = Spool(None)
                self._file = os.fdopen(os.dup(self._spool.fileno()), "w+b", buffering=_BUFFER)
            else:
                self._target = os.path.realpath(path)
                self._clobber = clobber
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
        """Make the temporary file, under a name that another run for the same destination would choose too.

        So what a killed process left is found again; while one is alive, its lock says so, and another name is taken.
        """
        directory, name = os.path.split(self._target)
        temporary = os.path.join(directory, temporary_name(name))
        if os.path.lexists(temporary) and not remove_stale(temporary):
            temporary = os.path.join(directory, temporary_name(name, os.urandom(6).hex()))
        # Whoever may not read the file that is replaced may not read this one either.
        mode = 0o600 if os.path.exists(self._target) else 0o666
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        try:
            fd = os.open(temporary, flags, mode)
        except FileExistsError:
            # Another run for the same destination was quicker.
            temporary = os.path.join(directory, temporary_name(name, os.urandom(6).hex()))
            fd = os.open(temporary, flags, mode)
        self._temporary = temporary
        _unfinished[temporary] = fd
        file = os.fdopen(fd, "w+b", buffering=_BUFFER)
        self._file = file
        # Whoever finds the file later can tell by the lock whether somebody is still writing it. Some file systems have
        # no locks; then a file that was left behind stays there.
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        if not _is_at(fd, temporary):
            # Found and taken for stale in the moment before it was locked; what has its name now is somebody else's.
            self._temporary = ""
            _unfinished.pop(temporary, None)
            file.close()
            return self._open_temporary()
        return file

    def __enter__(self) -> Self:
        """Start writing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing behind unless `commit` was called."""
        self.abort()

    def deflate(self) -> None:
        """Deflate everything from here on (PS3.5 A.5): raw RFC 1951, one zero behind an odd number of bytes."""
        self._deflater = _Deflater()

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        if self._deflater is None:
            self._write(data)
            return
        # What large pieces give is large, each of another size: memory in which no later piece fits would pile up.
        whole = memoryview(data)
        for start in range(0, len(whole), _DEFLATED_PIECE):
            self._write(self._deflater.add(whole[start : start + _DEFLATED_PIECE]))

    def _write(self, data: bytes | memoryview) -> None:
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failed(error) from error
        self.bytes += len(data)

    def copy(self, file: FileBytes) -> None:
        """Append a whole file, byte for byte."""
        assert self._file is not None
        try:
            self._file.flush()
            copied = copy(file, self._file.fileno())
            self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._failed(error) from error
        if copied < file.size:
            raise InputError("the file became shorter while it was read", code="E_TRUNCATED")
        self.bytes += file.size

    def need(self, length: int) -> None:
        """Say that `length` more bytes will be written, so that a disk that has no room for them is found out now."""
        if self._streams:
            return
        try:
            status = os.statvfs(os.path.dirname(self._target))
        except OSError:
            return
        free = status.f_bavail * status.f_frsize
        # A file system without a size cannot tell.
        if status.f_blocks and free < length:
            raise OutputError(
                f"it needs {length} bytes and the file system has {free}; free some space, nothing was replaced",
                code="E_DISK_FULL",
                path=self.path,
            )

    def patch(self, offset: int, data: bytes) -> None:
        """Overwrite bytes that were written before, from `offset` in the file."""
        assert self._file is not None
        assert self._deflater is None
        try:
            self._file.seek(offset)
            self._file.write(data)
            self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._failed(error) from error

    def commit(self) -> None:
        """Put the file in place: fsync, keep the rights of a file that is replaced, rename, fsync the directory."""
        if self._deflater is not None:
            self._write(self._deflater.finish())
        assert self._file is not None
        try:
            self._file.flush()
            if self._streams:
                self._send()
            else:
                self._put_in_place()
        except OSError as error:
            raise self._failed(error) from error
        finally:
            self.abort()

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
        """Give the file its name only if nothing has it: a link is never made over a file."""
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

    def _send(self) -> None:
        """Copy the spool to standard output, a device or a pipe."""
        assert self._spool is not None
        out = os.dup(_STANDARD_OUTPUT) if self.path == "-" else os.open(self.path, os.O_WRONLY)
        try:
            copy(self._spool.read_back(), out)
        finally:
            os.close(out)

    def abort(self) -> None:
        """Close and remove what was written, unless it is in place."""
        # If it cannot even be closed or removed (a full disk, a vanished directory), the error that led here says so.
        with contextlib.suppress(OSError):
            self._discard()

    def _discard(self) -> None:
        file, self._file = self._file, None
        temporary, self._temporary = self._temporary, ""
        try:
            if temporary:
                _unfinished.pop(temporary, None)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
        finally:
            if file is not None:
                file.close()
            if self._spool is not None:
                self._spool.close()

    def _failed(self, error: OSError) -> OutputError:
        what = "standard output" if self.path == "-" else "it"
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason += "; free some space, nothing was replaced"
            return OutputError(f"{what} cannot be written: {reason}", code="E_DISK_FULL", path=self.path)
        return OutputError(f"{what} cannot be written: {reason}", path=self.path)


class _Deflater:
    """Deflates a stream, a piece at a time, as raw RFC 1951."""

    def __init__(self) -> None:
        from isal import isal_zlib

        # Ten times as fast as zlib at its usual level, for some percent more bytes.
        self._deflater = isal_zlib.compressobj(isal_zlib.ISAL_BEST_COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._bytes = 0

    def add(self, data: bytes | memoryview) -> bytes:
        out = self._deflater.compress(data)
        self._bytes += len(out)
        return out

    def finish(self) -> bytes:
        out = self._deflater.flush()
        self._bytes += len(out)
        return out + b"\0" * (self._bytes % 2)


def check_free(path: str, *, clobber: bool) -> None:
    """Raise OutputError where a file exists that must not be replaced, or links that lead nowhere but to themselves."""
    if path != "-" and _is_loop(path):
        raise OutputError("it cannot be written: its symbolic links form a loop; remove them", path=path)
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


def _is_special(path: str) -> bool:
    """Tell whether the path names something that is written into, not replaced: a device, a pipe, a socket."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def copy(source: FileBytes, out: int) -> int:
    """Copy all bytes of a file to an open descriptor, in the kernel where it can, and return how many there were."""
    position = 0
    while position < source.size:
        try:
            sent = os.sendfile(out, source.fd, position, min(source.size - position, 1 << 30))
        except (AttributeError, OSError):
            # There are many ways to say that a system cannot do this here. Whatever else is wrong, this finds too.
            sent = _copy_piece(source, out, position)
        if sent == 0:
            break
        position += sent
    return position


def _copy_piece(source: FileBytes, out: int, position: int) -> int:
    piece = memoryview(source.pread(_BUFFER, position))
    length = len(piece)
    while piece:
        piece = piece[os.write(out, piece) :]
    return length
