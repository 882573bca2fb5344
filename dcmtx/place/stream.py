"""Sinks for places that are written to, not replaced: standard output, devices, pipes, file objects, memory.

All but memory are spooled, so that the place receives nothing of a file that cannot be finished.
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
    """A sink that keeps everything in a temporary file until it is complete."""

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
    """Standard output (the path `-`), or a device or pipe named by a path. The file is sent when it is complete.

    Raises OutputError if it cannot be spooled or sent.
    """

    def _put_in_place(self) -> None:
        out = os.dup(_STANDARD_OUTPUT) if self.path == "-" else os.open(self.path, os.O_WRONLY)
        try:
            copy(self._spool.read_back(), out)
        finally:
            os.close(out)


class FileObjectSink(_SpooledSink):
    """The caller's binary file object, written from its current position when the file is complete; never closed.

    Raises UsageError for a text file object, OutputError if it cannot be written.
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
        """Write a piece; an unbuffered file may take only part of it at a time."""
        rest = piece
        while rest:
            try:
                taken = self._to.write(rest)
            except (ValueError, TypeError) as error:
                # It is closed, or does not accept bytes.
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
    """A place in memory: `value` is the file after `commit`, None before."""

    def __init__(self) -> None:
        self.value: bytes | None = None


class MemorySink:
    """A Sink into memory: `commit` makes what was written the value of an InMemory."""

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
        """Discard what was written unless `commit` was called."""
        self.abort()

    def write(self, data: Data) -> None:
        """Append bytes."""
        self.bytes += self._buffer.write(data)

    def patch(self, offset: int, data: Data) -> None:
        """Overwrite bytes written earlier."""
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
        """Do nothing: allocation fails by itself when memory runs out."""

    def commit(self) -> None:
        """Make what was written the value of the place."""
        # No copy: getvalue returns the buffer's own bytes.
        self._place.value = self._buffer.getvalue()
        self.abort()

    def abort(self) -> None:
        """Discard what was written."""
        self._buffer = io.BytesIO()


def open_sink(place: Any, path: str) -> FileObjectSink | MemorySink:
    """Return a sink for a place that has no path. Raises UsageError for anything else."""
    if isinstance(place, InMemory):
        return MemorySink(place)
    if not hasattr(place, "write"):
        raise UsageError(
            f"a {type(place).__name__} cannot be written into", advice="give a path or a binary file object"
        )
    return FileObjectSink(place, path)
