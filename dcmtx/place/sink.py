"""Sinks: collect the bytes of a file and put the complete file in place."""

from __future__ import annotations

import contextlib
import errno
import os
from types import TracebackType
from typing import IO, Protocol, Self

from dcmtx.errors import InputError, OutputError
from dcmtx.finding import Finding
from dcmtx.place.bytes import FileBytes, Reader

Data = bytes | memoryview

BUFFER = 1 << 20


class Sink(Protocol):
    """A place that is being written. It is unchanged until `commit`, which puts the complete file there.

    `bytes` counts what was written so far; `notes` say what could not be kept or synced. Leaving a `with` block
    without `commit` leaves the place unchanged. A failed write raises OutputError.
    """

    notes: list[Finding]

    def write(self, data: Data) -> None:
        """Append bytes."""

    def patch(self, offset: int, data: Data) -> None:
        """Overwrite bytes written earlier, from `offset` in bytes from the start."""

    def copy(self, source: Reader) -> None:
        """Append all bytes of a reader. Raises InputError if it has fewer than its `size`."""

    def reserve(self, length: int) -> None:
        """Announce `length` more bytes. Raises OutputError if they certainly do not fit."""

    def commit(self) -> None:
        """Put everything in place."""

    def abort(self) -> None:
        """Discard what was written, unless it is in place. A second call does nothing."""

    def __enter__(self) -> Self:
        """Start writing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Abort, which does nothing after `commit`."""

    @property
    def bytes(self) -> int:
        """How many bytes were written."""


class BufferedSink:
    """Base of sinks that write a file of their own first. Messages call the place `path`.

    A subclass opens the file, moves its bytes in `_put_in_place`, and closes and removes it in `_discard`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.notes: list[Finding] = []
        self.bytes = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Start writing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing behind unless `commit` was called."""
        self.abort()

    def write(self, data: Data) -> None:
        """Append bytes."""
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failed(error) from error
        self.bytes += len(data)

    def patch(self, offset: int, data: Data) -> None:
        """Overwrite bytes written earlier, from `offset` in the file."""
        assert self._file is not None
        try:
            self._file.seek(offset)
            self._file.write(data)
            self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._failed(error) from error

    def copy(self, source: Reader) -> None:
        """Append a whole file, byte for byte."""
        assert self._file is not None
        try:
            self._file.flush()
            copied = copy(source, self._file.fileno())
            self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._failed(error) from error
        check_whole(copied, source)
        self.bytes += source.size

    def reserve(self, length: int) -> None:
        """Do nothing: how much fits is unknown."""

    def commit(self) -> None:
        """Put the file in place, and close it whether that succeeds or fails."""
        assert self._file is not None
        try:
            self._file.flush()
            self._put_in_place()
        except OSError as error:
            raise self._failed(error) from error
        finally:
            self.abort()

    def _put_in_place(self) -> None:
        """Move what was written to the destination. Raises OSError or OutputError."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close and remove what was written, unless it is in place."""
        # If closing or removing fails (a full disk, a vanished directory), the first error already says why.
        with contextlib.suppress(OSError):
            self._discard()

    def _discard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _failed(self, error: OSError) -> OutputError:
        return write_error(self.path, error)


def write_error(path: str, error: OSError) -> OutputError:
    """Return the error for a destination that cannot be written, for a reason of the system."""
    what = "standard output" if path == "-" else "it"
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(
            f"{what} cannot be written: {reason}",
            advice="free some space, nothing was replaced",
            code="E_DISK_FULL",
            path=path,
        )
    return OutputError(f"{what} cannot be written: {reason}", path=path)


def check_whole(copied: int, source: Reader) -> None:
    """Raise InputError if fewer bytes of a source were copied than it has."""
    if copied < source.size:
        raise InputError("the file became shorter while it was read", code="E_TRUNCATED")


def copy(source: Reader, out: int) -> int:
    """Copy all bytes of a source to an open descriptor, in the kernel if possible; return the number of bytes."""
    position = 0
    while position < source.size:
        try:
            if not isinstance(source, FileBytes):
                raise OSError(errno.ENOTSUP, "it is no file")
            sent = os.sendfile(out, source.fd, position, min(source.size - position, 1 << 30))
        except (AttributeError, OSError):
            # Systems report an unsupported sendfile with many errors. A real fault fails again in the fallback.
            sent = _copy_piece(source, out, position)
        if sent == 0:
            break
        position += sent
    return position


def _copy_piece(source: Reader, out: int, position: int) -> int:
    piece = memoryview(source.pread(BUFFER, position))
    length = len(piece)
    while piece:
        piece = piece[os.write(out, piece) :]
    return length
