"""What is written into, not replaced: standard output, devices, pipes, binary file objects, memory.

Everything but memory is spooled, so that the place gets nothing of a file that cannot be finished.
"""

from __future__ import annotations

import io
import os
from types import TracebackType
from typing import Any, Self

from dcmtx.errors import OutputError, UsageError
from dcmtx.finding import Finding
from dcmtx.place.bytes import Reader, Spool
from dcmtx.place.sink import BUFFER, BufferedSink, Data, check_whole, copy

_STANDARD_OUTPUT = 1


class _SpooledSink(BufferedSink):
    """A sink that keeps everything in a temporary file until it is whole."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._spool = Spool(None)
        try:
            self._file = os.fdopen(os.dup(self._spool.fileno()), "w+b", buffering=BUFFER)
        except OSError as error:
            self.abort()
            raise self._failed(error) from error
        except BaseException:
            self.abort()
            raise

    def _discard(self) -> None:
        try:
            super()._discard()
        finally:
            self._spool.close()


class StreamSink(_SpooledSink):
    """Standard output, which is the path `-`, or a device or pipe that a path names: sent when it is complete.

    Raises OutputError where it cannot be spooled or sent.
    """

    def _put_in_place(self) -> None:
        out = os.dup(_STANDARD_OUTPUT) if self.path == "-" else os.open(self.path, os.O_WRONLY)
        try:
            copy(self._spool.read_back(), out)
        finally:
            os.close(out)


class FileObjectSink(_SpooledSink):
    """A binary file object of the caller's, written from where it stands, when everything is there; never closed.

    Raises UsageError for one that takes text, OutputError where it cannot be written.
    """

    def __init__(self, file: Any, path: str) -> None:
        if isinstance(file, io.TextIOBase):
            raise UsageError(f"{path} takes text; open it as binary")
        super().__init__(path)
        self._to = file

    def _put_in_place(self) -> None:
        whole = self._spool.read_back()
        for offset in range(0, whole.size, BUFFER):
            self._send(whole.pread(BUFFER, offset))
        flush = getattr(self._to, "flush", None)
        if flush is not None:
            flush()

    def _send(self, piece: bytes) -> None:
        """Write a piece, whose parts a file without a buffer may take one by one."""
        rest = piece
        while rest:
            try:
                taken = self._to.write(rest)
            except (ValueError, TypeError) as error:
                # It is closed, or of another kind than it looked.
                raise OutputError(f"it cannot be written: {error}", path=self.path) from error
            if isinstance(taken, int):
                if taken <= 0:
                    raise OutputError("it cannot be written: it takes no more bytes", path=self.path)
                rest = rest[taken:]
            elif isinstance(self._to, io.RawIOBase):
                raise OutputError("it cannot be written: it would have to be waited for", path=self.path)
            else:
                return


class InMemory:
    """A place in memory: `value` is the file once it is written, None before."""

    def __init__(self) -> None:
        self.value: bytes | None = None


class MemorySink:
    """A Sink into memory: what was written is the value of an InMemory after `commit`."""

    def __init__(self, place: InMemory) -> None:
        self.notes: list[Finding] = []
        self.bytes = 0
        self._place = place
        self._buffer = io.BytesIO()

    def __enter__(self) -> Self:
        """Start writing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up what was written unless `commit` was called."""
        self.abort()

    def write(self, data: Data) -> None:
        """Append bytes."""
        self.bytes += self._buffer.write(data)

    def patch(self, offset: int, data: Data) -> None:
        """Overwrite bytes that were written before."""
        self._buffer.seek(offset)
        self._buffer.write(data)
        self._buffer.seek(0, os.SEEK_END)

    def copy(self, source: Reader) -> None:
        """Append all bytes of a reader."""
        copied = 0
        while piece := source.pread(BUFFER, copied):
            copied += self._buffer.write(piece)
        check_whole(copied, source)
        self.bytes += copied

    def reserve(self, length: int) -> None:
        """Do nothing: the system tells when there is no memory."""

    def commit(self) -> None:
        """Make what was written the value of the place."""
        # Not a copy: the buffer gives its own bytes away.
        self._place.value = self._buffer.getvalue()
        self.abort()

    def abort(self) -> None:
        """Give up what was written."""
        self._buffer = io.BytesIO()


def open_sink(place: Any, path: str) -> FileObjectSink | MemorySink:
    """Return a sink into a place that has no name. Raises UsageError for what is no such place."""
    if isinstance(place, InMemory):
        return MemorySink(place)
    if not hasattr(place, "write"):
        raise UsageError(
            f"a {type(place).__name__} cannot be written into", advice="give a path or a binary file object"
        )
    return FileObjectSink(place, path)
