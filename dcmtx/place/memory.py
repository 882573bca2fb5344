"""The caller's bytes as a Reader: a buffer or a binary file object."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import threading
from typing import Any

from dcmtx.errors import InputError, UsageError
from dcmtx.place.bytes import FileBytes, Memory, Reader, spooled, unreadable

_PIECE = 1 << 20


class BufferBytes:
    """Bytes in a buffer that is not `bytes`: a bytearray, a memoryview, an array, a memory map."""

    __slots__ = ("_view", "size")

    forks = True

    def __init__(self, buffer: Any) -> None:
        view = memoryview(buffer)
        # A view that is not contiguous cannot be cast to bytes.
        self._view = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
        self.size = len(self._view)

    def pread(self, length: int, offset: int) -> bytes:
        """Return `length` bytes from `offset`, fewer only at the end."""
        return bytes(self._view[offset : offset + length])

    def close(self) -> None:
        """Release the buffer."""
        self._view = memoryview(b"")


class FileObjectBytes:
    """A seekable binary file object, read from its current position to its end. `close` restores the position.

    Threads take turns. Processes cannot, because they share the position of an open file; so `forks` is False.
    """

    __slots__ = ("_file", "_lock", "_start", "size")

    forks = False

    def __init__(self, file: Any) -> None:
        self._file = file
        self._lock = threading.Lock()
        try:
            self._start = file.tell()
            self.size = max(0, file.seek(0, os.SEEK_END) - self._start)
        except OSError as error:
            raise unreadable(error) from error

    def pread(self, length: int, offset: int) -> bytes:
        """Return `length` bytes from `offset`, fewer only at the end. Safe to call from several threads.

        Raises InputError if they cannot be read.
        """
        parts: list[bytes] = []
        try:
            with self._lock:
                self._file.seek(self._start + offset)
                while length > 0 and (data := _read(self._file, min(length, _PIECE) if parts else length)):
                    parts.append(data)
                    length -= len(data)
        except OSError as error:
            raise unreadable(error) from error
        except ValueError as error:
            # It was closed in the meantime.
            raise InputError(f"it cannot be read: {error}", code="E_UNREADABLE") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Restore the position of the file object. Its owner closes it."""
        try:
            self._file.seek(self._start)
        except (OSError, ValueError):
            # It was closed in the meantime, or fails now; everything needed has been read.
            return


def open_object(place: object, spool_in: str | None) -> Reader:
    """Return a reader of bytes, another buffer, or a binary file object, which is spooled unless it can seek.

    Raises UsageError for anything else and for a text file object, InputError if it cannot be read.
    """
    if isinstance(place, bytes):
        return Memory(place)
    # A memory map is both a buffer and a file object; all of it is read, whatever its position.
    with contextlib.suppress(TypeError):
        return BufferBytes(place)
    if hasattr(place, "read"):
        return _open_file(place, spool_in)
    raise UsageError(
        f"a {type(place).__name__} is no place of a file", advice="give a path, bytes or a binary file object"
    )


def _open_file(file: Any, spool_in: str | None) -> Reader:
    if isinstance(file, io.TextIOBase):
        raise UsageError("the file object gives text; open it as binary")
    try:
        readable = getattr(file, "readable", None)
        if readable is not None and not readable():
            raise InputError("it cannot be read: the file object is open for writing only", code="E_UNREADABLE")
        if type(file) is io.BytesIO:
            # At position 0 this is its own buffer, not a copy.
            whole = file.getvalue()
            return Memory(whole[file.tell() :])
        # A wrapper such as GzipFile has the descriptor of the file it wraps, but other bytes.
        if type(getattr(file, "raw", file)) is io.FileIO and type(file) in (io.BufferedReader, io.FileIO):
            opened = _of_descriptor(file)
            if opened is not None:
                return opened
        seekable = getattr(file, "seekable", None)
        if seekable is not None and seekable():
            return FileObjectBytes(file)
    except ValueError as error:
        raise InputError(f"it cannot be read: {error}", code="E_UNREADABLE") from error
    return spooled(lambda size: _read(file, size), spool_in)


def _of_descriptor(file: Any) -> Reader | None:
    """Return a reader of the file under a file object that is at position 0, without moving it; otherwise None."""
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or file.tell() != 0:
            return None
        return FileBytes(os.dup(file.fileno()), status.st_size)
    except OSError as error:
        raise unreadable(error) from error


def _read(file: Any, size: int) -> bytes:
    """Return the next bytes of a file object; empty at its end."""
    data = file.read(size)
    if data is None:
        raise OSError("it would have to be waited for")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise UsageError(f"the file object gives {type(data).__name__}, not bytes; open it as binary")
    return bytes(data)
