"""Members of archives as sources: ZIP, and tar, plain or compressed by gzip or Zstandard.

A stored member of a ZIP, and any of a plain tar, is a range of the archive's bytes and is read where it lies. Others
are unpacked when it is their turn, one at a time. No member chooses where it goes: a name that would leave the
destination, a link and a device are faults.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
import sys
import zlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from dcmtx.errors import DcmtxError, InputError, UnsupportedError
from dcmtx.place.bytes import FileBytes, Reader, Spool, unreadable
from dcmtx.place.kinds import Kind, kind_of
from dcmtx.place.scratch import Scratch
from dcmtx.record import Record

if TYPE_CHECKING:
    import zipfile

_PIECE = 1 << 20
# No file is larger once it is unpacked, and from 64 MiB on no real one shrinks by more than this.
_LARGEST, _LARGE, _RATIO = 64 << 30, 64 << 20, 1000
_LOCAL_HEADER = 30


class Member(Record):
    """A range of an archive's bytes, as a place to read from in any process.

    `deflated` says that the range is one deflate stream of `size` bytes once inflated; `crc` is the CRC-32 of a ZIP's.
    """

    archive: str
    offset: int
    length: int
    size: int
    deflated: bool = False
    crc: int | None = None

    def open_reader(self, spool_in: str | None) -> Reader:
        """Open the member. Raises InputError if it cannot be read, or is damaged."""
        fd = _open(self.archive)
        if not self.deflated:
            return self._checked(_Range(fd, self.offset, self.length))
        try:
            return self._inflated(fd, spool_in)
        finally:
            os.close(fd)

    def _checked(self, reader: _Range) -> Reader:
        """Return the reader of a stored member. Raises InputError if it is not what the archive's directory says."""
        if self.crc is None:
            return reader
        crc, position = 0, 0
        try:
            while piece := reader.pread(_PIECE, position):
                crc, position = zlib.crc32(piece, crc), position + len(piece)
            if position != self.size or crc != self.crc:
                raise _damaged()
        except BaseException:
            reader.close()
            raise
        return reader

    def _inflated(self, fd: int, spool_in: str | None) -> Reader:
        spool, inflater, crc, size, position = Spool(spool_in), zlib.decompressobj(-zlib.MAX_WBITS), 0, 0, 0
        try:
            while not inflater.eof:
                piece = inflater.unconsumed_tail
                if not piece:
                    piece = os.pread(fd, min(_PIECE, self.length - position), self.offset + position)
                    position += len(piece)
                data = inflater.decompress(piece, _PIECE)
                if not piece and not data:
                    raise InputError("it ends early; the archive is truncated", code="E_TRUNCATED")
                spool.write(data)
                size, crc = size + len(data), zlib.crc32(data, crc)
                check_bomb(size, position, self.size)
            if size != self.size or (self.crc is not None and crc != self.crc):
                raise _damaged()
        except zlib.error as error:
            spool.close()
            raise InputError(f"it is damaged: {error}", code="E_ARCHIVE") from error
        except OSError as error:
            spool.close()
            raise unreadable(error) from error
        except BaseException:
            spool.close()
            raise
        return spool.read_back()


def _damaged() -> InputError:
    return InputError("its size or CRC is not that of the archive's directory; it is damaged", code="E_ARCHIVE")


class Unpacked(Record):
    """A file that a member was unpacked to, for one reader."""

    path: str

    def open_reader(self, _spool_in: str | None) -> Reader:
        """Open the file. Raises InputError if it cannot be read."""
        fd = _open(self.path)
        return FileBytes(fd, os.fstat(fd).st_size)

    def remove(self) -> None:
        """Remove the file, when nobody reads it any more."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)


class _Range:
    """A range of a file as a Reader."""

    __slots__ = ("_fd", "_start", "size")

    forks = True

    def __init__(self, fd: int, start: int, size: int) -> None:
        self._fd, self._start, self.size = fd, start, size

    def pread(self, length: int, offset: int) -> bytes:
        """Return `length` bytes from `offset`, fewer only at the end. Raises InputError if the read fails."""
        wanted = max(0, min(length, self.size - offset))
        parts: list[bytes] = []
        try:
            while wanted and (data := os.pread(self._fd, wanted, self._start + offset)):
                parts.append(data)
                offset, wanted = offset + len(data), wanted - len(data)
        except OSError as error:
            raise unreadable(error) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close the archive. A second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        raise unreadable(error) from error


def check_bomb(size: int, packed: int, said: int) -> None:
    """Raise InputError, E_BOMB, for a member that unpacks to more than it says, or than any file has."""
    if size > min(said, _LARGEST) or (size > _LARGE and size > _RATIO * max(packed, 1)):
        raise InputError(
            f"it unpacks to more than {size} bytes; the archive is damaged, or was made to do harm", code="E_BOMB"
        )


# --- what is in an archive -------------------------------------------------------------------------------------------


class Entry(Record):
    """One member: its name in the archive, and its place, or why it is none."""

    name: str
    place: Any = None
    fault: DcmtxError | None = None
    skip: str = ""


def entries(path: str, scratch: Scratch) -> Iterator[Entry]:
    """Yield the members of an archive that are files, sorted by name where they can be read in any order.

    Members of a compressed tar come as they lie, each unpacked into `scratch`. Raises InputError for an
    archive that cannot be read or is damaged, UnsupportedError where Zstandard is not installed.
    """
    kind = kind_of(path)
    if kind is Kind.ZIP:
        yield from _of_zip(path)
    elif kind is Kind.TAR:
        yield from _of_tar(path)
    else:
        yield from _of_stream(path, kind, scratch)


def refused_name(name: str, *, exact: bool = False) -> InputError | None:
    """Return why a member of this name goes nowhere, or None if it may be made below a directory.

    With `exact`, the name must also be the only one of its path: `a//b` and `a/./b` would be one file.
    """
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name or (len(parts[0]) == 2 and parts[0][1] == ":"):
        return InputError("its name leads out of the destination; it is not unpacked", code="E_NAME")
    if exact and posixpath.normpath(name) != name.rstrip("/"):
        return InputError("its name is another way to write one; it is not unpacked", code="E_NAME")
    return None


def _of_zip(path: str) -> Iterator[Entry]:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            found = [info for info in archive.infolist() if not info.is_dir()]
            start = archive.start_dir
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"the archive cannot be read: {error}", code="E_ARCHIVE", path=path) from error
    ends = _ends(found, start)
    twice = _twice(member_path("", info.filename) for info in found)
    fd = _open(path)
    try:
        for info in sorted(found, key=lambda info: info.filename):
            if member_path("", info.filename) in twice:
                yield Entry(info.filename, fault=InputError("the archive has it more than once", code="E_ARCHIVE"))
                continue
            try:
                yield Entry(info.filename, _zip_member(path, fd, info, ends[info.header_offset]))
            except DcmtxError as error:
                yield Entry(info.filename, fault=error)
    finally:
        os.close(fd)


def _twice(names: Iterator[str]) -> set[str]:
    seen: set[str] = set()
    return {name for name in names if name in seen or seen.add(name)}  # type: ignore[func-returns-value]


def _ends(found: list[zipfile.ZipInfo], start_of_directory: int) -> dict[int, int]:
    """Return where each member must end, by where it begins: before the next one, or the directory."""
    begins = sorted({info.header_offset for info in found})
    return dict(zip(begins, [*begins[1:], start_of_directory], strict=True))


def _zip_member(path: str, fd: int, info: zipfile.ZipInfo, end: int) -> Member:
    """Return the place of a member. Raises InputError or UnsupportedError for what is none."""
    refusal = refused_name(info.filename)
    if refusal is not None:
        raise refusal
    mode = info.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise InputError("it is a link or a device; it is not unpacked", code="E_NAME")
    if info.flag_bits & 1:
        raise UnsupportedError("it is encrypted", code="E_ARCHIVE")
    if info.compress_type not in (0, 8):
        raise UnsupportedError(f"it is compressed by method {info.compress_type}, not deflated", code="E_ARCHIVE")
    head = os.pread(fd, _LOCAL_HEADER, info.header_offset)
    if head[:4] != b"PK\3\4" or len(head) < _LOCAL_HEADER:
        raise InputError("it is not where the archive's directory says", code="E_ARCHIVE")
    offset = (
        info.header_offset
        + _LOCAL_HEADER
        + int.from_bytes(head[26:28], "little")
        + int.from_bytes(head[28:30], "little")
    )
    if offset + info.compress_size > end:
        raise InputError("it overlaps what follows it; the archive is damaged, or was made to do harm", code="E_BOMB")
    return Member(path, offset, info.compress_size, size=info.file_size, deflated=info.compress_type == 8, crc=info.CRC)


def _of_tar(path: str) -> Iterator[Entry]:
    import tarfile

    try:
        with tarfile.open(path, "r:") as archive:
            found = [entry for member in archive if (entry := _tar_entry(path, member)) is not None]
    except (tarfile.TarError, OSError, ValueError) as error:
        raise InputError(f"the archive cannot be read: {error}", code="E_ARCHIVE", path=path) from error
    # Of several members of one name the last one counts, as for tar itself.
    last = {member_path("", entry.name): entry for entry in found}
    yield from sorted(last.values(), key=lambda entry: entry.name)


def _tar_entry(path: str, member: Any) -> Entry | None:
    """Return the entry of a member, or None for a directory."""
    if member.isdir():
        return None
    fault = refused_name(member.name)
    if fault is None and (not member.isreg() or member.issparse()):
        fault = InputError("it is no regular file; it is not unpacked", code="E_NAME")
    if fault is not None:
        return Entry(member.name, fault=fault)
    return Entry(member.name, Member(path, member.offset_data, member.size, size=member.size))


def _of_stream(path: str, kind: Kind | None, scratch: Scratch) -> Iterator[Entry]:
    import tarfile

    number = 0
    broken: tuple[type[Exception], ...] = (tarfile.TarError, OSError, ValueError, EOFError, zlib.error)
    if kind is Kind.TAR_ZST:
        broken = (*broken, zstandard().ZstdError)
    try:
        with _decompressed(path, kind) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                entry = _tar_entry(path, member)
                if entry is None or entry.fault is not None:
                    if entry is not None:
                        yield entry
                    continue
                number += 1
                place = os.path.join(scratch.path, f"{os.path.basename(path)}-{number}")
                content = archive.extractfile(member)
                assert content is not None
                _unpack(content, place)
                yield Entry(member.name, Unpacked(place))
    except broken as error:
        raise InputError(f"the archive cannot be read: {error}", code="E_ARCHIVE", path=path) from error


def zstandard_errors() -> tuple[type[Exception], ...]:
    """Return what Zstandard raises, if it is loaded."""
    library = sys.modules.get("zstandard")
    return () if library is None else (library.ZstdError,)


def _unpack(content: IO[bytes], place: str) -> None:
    with open(place, "xb") as file:
        while piece := content.read(_PIECE):
            file.write(piece)


def _decompressed(path: str, kind: Kind | None) -> Any:
    """Return a stream of what a compressed archive holds."""
    if kind is Kind.TAR_GZ:
        import gzip

        return gzip.open(path)
    return zstandard().open(path, "rb")


def zstandard() -> Any:
    """Return a module that opens Zstandard. Raises UnsupportedError where there is none."""
    try:
        import zstandard as library
    except ImportError as error:
        raise UnsupportedError(
            "Zstandard needs the package zstandard", advice="pip install 'dcmtx[zstd]'", code="E_BACKEND"
        ) from error
    return library


def member_path(directory: str, name: str) -> str:
    """Return where a member goes below a directory; its name was not refused."""
    return os.path.join(directory, *posixpath.normpath(name.replace("\\", "/")).split("/"))
