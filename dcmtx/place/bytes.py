"""Random access to bytes: files, memory, and spooled streams."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import IO, Any, Protocol

from dcmtx.errors import InputError, OutputError

_PIECE = 1 << 20


class Reader(Protocol):
    """Random access to bytes: a file, memory, or a spooled stream. `size` is in bytes."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    def pread(self, length: int, offset: int) -> bytes:
        """Return `length` bytes from `offset`, fewer only at the end."""

    def close(self) -> None:
        """Close what was opened. A second call does nothing."""

    @property
    def forks(self) -> bool:
        """Whether a forked process may read at the same time as this one."""


class Memory:
    """Bytes in memory as a Reader."""

    __slots__ = ("buffer", "size")

    forks = True

    def __init__(self, buffer: bytes) -> None:
        self.buffer = buffer
        self.size = len(buffer)

    def pread(self, length: int, offset: int) -> bytes:
        """Return `length` bytes from `offset`, fewer only at the end."""
        return self.buffer[offset : offset + length]

    def close(self) -> None:
        """Do nothing: memory needs no closing."""


FIRST_BYTES = 1 << 16


_STANDARD_INPUT = 0


class FileBytes:
    """An open file as a Reader. Its first 64 KiB, which hold the headers, are cached."""

    __slots__ = ("_first", "_owner", "fd", "head", "size")

    forks = True

    def __init__(self, fd: int, size: int, owner: IO[bytes] | None = None) -> None:
        """Take ownership of a descriptor. If it belongs to `owner`, `close` closes `owner` instead."""
        self.fd = fd
        self.size = size
        # What was made of the first bytes by whoever understands them.
        self.head: Any = None
        self._owner = owner
        try:
            self._first = _pread(fd, FIRST_BYTES, 0)
        except OSError as error:
            self.close()
            raise unreadable(error) from error

    @property
    def streamed(self) -> bool:
        """Whether this is the spool of a stream."""
        return self._owner is not None

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        if self._owner is not None:
            self._owner.close()
        elif self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def pread(self, length: int, offset: int) -> bytes:
        """Return `length` bytes from `offset`, fewer only at the end. Safe to call from several threads.

        Raises InputError if the read fails.
        """
        end = offset + length
        if end <= len(self._first):
            return self._first[offset:end]
        try:
            return _pread(self.fd, length, offset)
        except OSError as error:
            raise unreadable(error) from error


def unreadable(error: OSError) -> InputError:
    """Turn a system error on reading a source into an InputError."""
    return InputError(f"it cannot be read: {error.strerror or error}", code="E_UNREADABLE")


def _pread(fd: int, length: int, offset: int) -> bytes:
    data = os.pread(fd, length, offset)
    if len(data) == length or not data:
        return data
    parts = [data]
    got = len(data)
    while got < length:
        # One read returns 2 GiB at most.
        data = os.pread(fd, length - got, offset + got)
        if not data:
            break
        parts.append(data)
        got += len(data)
    return b"".join(parts)


class Spool:
    """An unnamed temporary file, for a stream that must be read at offsets.

    `directory` is where it is created, usually beside the destination; None means the system's temporary directory.
    """

    __slots__ = ("_file",)

    def __init__(self, directory: str | None) -> None:
        import tempfile

        try:
            self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - kept open on purpose
        except OSError as error:
            raise OutputError(f"no temporary file can be made: {error.strerror}", path=directory) from error

    def write(self, data: bytes) -> None:
        """Append bytes."""
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise OutputError(f"the temporary file cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close and remove the file."""
        self._file.close()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._file.fileno()

    def read_back(self) -> FileBytes:
        """Return a reader of what was written."""
        fd = self._file.fileno()
        return FileBytes(fd, os.fstat(fd).st_size, self._file)


def is_stream(reader: Reader) -> bool:
    """Tell whether a reader is the spool of a stream."""
    return isinstance(reader, FileBytes) and reader.streamed


def open_bytes(path: str, spool_in: str | None = None) -> FileBytes:
    """Open a file by its path, or standard input as `-`. A source that cannot seek is spooled first.

    Raises InputError if it is missing or cannot be read.
    """
    if path == "-":
        return spooled(lambda size: os.read(_STANDARD_INPUT, size), spool_in)
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        raise InputError("there is no such file", code="E_MISSING") from None
    except OSError as error:
        raise unreadable(error) from error
    except ValueError as error:
        raise InputError(f"it cannot be read: {error}", code="E_MISSING") from error
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            taken, fd = fd, -1
            return FileBytes(taken, status.st_size)
        if stat.S_ISDIR(status.st_mode):
            raise InputError("it is a directory, not a file", code="E_UNREADABLE")
        return spooled(lambda size: os.read(fd, size), spool_in)
    except OSError as error:
        raise unreadable(error) from error
    finally:
        if fd >= 0:
            os.close(fd)


def spooled(read: Callable[[int], bytes], spool_in: str | None) -> FileBytes:
    """Copy what `read` gives, up to so many bytes at a time, to a spool."""
    spool = Spool(spool_in)
    try:
        while piece := read(_PIECE):
            spool.write(piece)
    except OSError as error:
        spool.close()
        raise unreadable(error) from error
    except BaseException:
        spool.close()
        raise
    return spool.read_back()
