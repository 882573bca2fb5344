"""Writes archives, which are read back before they get their names.

Members are in the order in which they come, with fixed times and modes, so that equal files give equal archives.
DICOM is stored, not compressed once more: a codec for images gains what a general one cannot (dcmtx-sending(7)).
"""

from __future__ import annotations

import io
import zlib
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from dcmtx.errors import OutputError
from dcmtx.finding import Finding
from dcmtx.place.archive import zstandard, zstandard_errors
from dcmtx.place.atomic import AtomicSink
from dcmtx.place.kinds import Kind, kind_of

_PIECE = 1 << 20
# The first day that a ZIP can tell; there is no telling which day another one would be.
_DAY = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644
_UNIX = 3
_GZIP_LEVEL, _ZSTD_LEVEL = 6, 10


class Pack:
    """An archive that is being written; a context manager, which leaves the place as it was without `commit`.

    Raises OutputError if it cannot be written, UnsupportedError where Zstandard is not installed.
    """

    def __init__(self, path: str, *, clobber: bool = True, sync: bool = True) -> None:
        kind = kind_of(path)
        assert kind is not None
        self.path = path
        self._kind = kind
        self._stack = ExitStack()
        if kind is Kind.TAR_ZST:
            zstandard()
        self._sink = self._stack.enter_context(AtomicSink(path, clobber=clobber, parents=True, sync=sync))
        self._file = _SinkFile(self._sink)
        self._written: list[tuple[str, int, int]] = []
        self._archive = _zip(self._file) if kind is Kind.ZIP else _tar(self._file, kind)

    def __enter__(self) -> Self:
        """Start writing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing behind unless `commit` was called."""
        # The writers of archives complete them when they are forgotten.
        self._file.sink = None
        self._stack.close()

    @property
    def members(self) -> int:
        """How many members there are."""
        return len(self._written)

    @property
    def notes(self) -> list[Finding]:
        """What could not be kept or synced."""
        return self._sink.notes

    def add(self, name: str, path: str) -> None:
        """Append a file as a member of this name. Raises OutputError."""
        try:
            with open(path, "rb") as file:
                size, crc = _measure(file)
                file.seek(0)
                self._archive.add(name, file, size)
        except (OSError, ValueError) as error:
            raise OutputError(f"{name} cannot be packed: {error}", path=self.path) from error
        self._written.append((name, size, crc))

    def commit(self) -> None:
        """Complete the archive, read it back, and put it in place. Raises OutputError."""
        try:
            self._archive.close()
            self._file.flush()
            self._read_back()
        except (OSError, ValueError, EOFError, zlib.error, *self._archive.errors) as error:
            raise OutputError(f"the archive cannot be written: {error}", path=self.path) from error
        self._sink.commit()

    def _read_back(self) -> None:
        """Compare the members with what was packed. Raises OutputError where one differs."""
        expected = iter(self._written)
        for name, size, crc in self._archive.read_back(self._sink.reopen()):
            if next(expected, None) != (name, size, crc):
                raise OutputError(f"{name} is not in the archive as it was packed", code="E_ARCHIVE", path=self.path)
        if next(expected, None) is not None:
            raise OutputError("the archive ends before its last member", code="E_ARCHIVE", path=self.path)


def _measure(file: Any) -> tuple[int, int]:
    """Return size and CRC-32 of what is left of a file."""
    size = crc = 0
    while piece := file.read(_PIECE):
        size, crc = size + len(piece), zlib.crc32(piece, crc)
    return size, crc


class _SinkFile(io.RawIOBase):
    """A sink as a binary file object that appends, and patches what it has written; None once it is given up."""

    def __init__(self, sink: AtomicSink) -> None:
        super().__init__()
        self.sink: AtomicSink | None = sink
        self._position = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return where the next byte goes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place in what is written."""
        end = self.sink.bytes if self.sink is not None else self._position
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: end}[whence]
        return self._position

    def write(self, data: Any, /) -> int:
        """Write behind what is there, or over it; nowhere, once the archive is given up."""
        view = memoryview(data).cast("B")
        if self.sink is not None:
            within = min(len(view), self.sink.bytes - self._position)
            if within:
                self.sink.patch(self._position, view[:within])
            if len(view) > within:
                self.sink.write(view[within:])
        self._position += len(view)
        return len(view)


class _Zip:
    """Writes a ZIP of stored members."""

    def __init__(self, file: io.RawIOBase) -> None:
        import zipfile

        self._module = zipfile
        self.errors = (zipfile.BadZipFile,)
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)

    def add(self, name: str, file: Any, size: int) -> None:
        """Append a member."""
        info = self._module.ZipInfo(name, _DAY)
        info.create_system = _UNIX
        info.external_attr = (0o100000 | _MODE) << 16
        info.file_size = size
        with self._zip.open(info, "w") as member:
            while piece := file.read(_PIECE):
                member.write(piece)

    def close(self) -> None:
        """Write the directory of the archive."""
        self._zip.close()

    def read_back(self, file: Any) -> Any:
        """Yield name, size and CRC-32 of each member."""
        with file, self._module.ZipFile(file) as archive:
            for info in archive.infolist():
                with archive.open(info) as member:
                    yield (info.filename, *_measure(member))


class _Tar:
    """Writes a tar, in the format of POSIX.1-2001, and compresses it if `wrap` does."""

    def __init__(self, file: io.RawIOBase, kind: Kind) -> None:
        import tarfile

        self._module = tarfile
        self.errors = (tarfile.TarError, *zstandard_errors())
        self._kind = kind
        self._stream = _compressing(file, kind)
        self._tar = tarfile.TarFile.open(fileobj=self._stream, mode="w|", format=tarfile.PAX_FORMAT)

    def add(self, name: str, file: Any, size: int) -> None:
        """Append a member."""
        info = self._module.TarInfo(name)
        info.size, info.mode, info.mtime = size, _MODE, 0
        self._tar.addfile(info, file)

    def close(self) -> None:
        """Write the end of the archive."""
        self._tar.close()
        if self._kind is not Kind.TAR:
            self._stream.close()

    def read_back(self, file: Any) -> Any:
        """Yield name, size and CRC-32 of each member."""
        with file, _decompressing(file, self._kind) as stream, self._module.open(fileobj=stream, mode="r|") as archive:
            for info in archive:
                member = archive.extractfile(info)
                assert member is not None
                yield (info.name, *_measure(member))


def _zip(file: io.RawIOBase) -> Any:
    return _Zip(file)


def _tar(file: io.RawIOBase, kind: Kind) -> Any:
    return _Tar(file, kind)


def _compressing(file: Any, kind: Kind) -> Any:
    if kind is Kind.TAR_GZ:
        import gzip

        return gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0)
    if kind is Kind.TAR_ZST:
        return zstandard().ZstdCompressor(level=_ZSTD_LEVEL).stream_writer(file, closefd=False)
    return file


def _decompressing(file: Any, kind: Kind) -> Any:
    if kind is Kind.TAR_GZ:
        import gzip

        return gzip.GzipFile(fileobj=file)
    if kind is Kind.TAR_ZST:
        return zstandard().ZstdDecompressor().stream_reader(file)
    return file
