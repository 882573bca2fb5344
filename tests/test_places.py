"""Places: whatever a file is read from and written to, its bytes are the same, whole or not there at all."""

from __future__ import annotations

import array
import errno
import gzip
import io
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import dicom
import numpy as np
import pytest
from conftest import Ran, contents, old_file

from dcmtx import transcode
from dcmtx.errors import DcmtxError, InputError, OutputError, RefusedError, UsageError
from dcmtx.place import places
from dcmtx.place.bytes import Memory
from dcmtx.place.deflate import Deflating
from dcmtx.place.memory import BufferBytes, FileObjectBytes, open_object
from dcmtx.place.places import Scheme, directory_of, open_reader, open_sink
from dcmtx.place.stream import FileObjectSink, InMemory, MemorySink
from dcmtx.transcoding.job import Status, job
from dcmtx.transcoding.running import run

Command = Callable[..., Ran]
Fails = Callable[..., str]

PIXELS = (np.arange(3 * 40 * 48, dtype="<u2") * 2503 % 4096).reshape(3, 40, 48)
SOURCE = dicom.Image(PIXELS.tobytes(), rows=40, columns=48, stored=12, frames=3).encode()
TARGETS = ["explicit", "implicit", "deflated", "rle", "jpegls"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the source becomes between two local files."""
    directory = tmp_path_factory.mktemp("expected")
    (directory / "in.dcm").write_bytes(SOURCE)
    for target in TARGETS:
        transcode(directory / "in.dcm", directory / target, to=target)
    return {target: (directory / target).read_bytes() for target in TARGETS}


# --- where files are read --------------------------------------------------------------------------------------


class OnlyRead:
    """An object that can be read, and nothing else: a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, 1009))


class Shy(io.BytesIO):
    """Seekable, but of a kind that nobody knows, which gives fewer bytes than it is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 1009))


def stored(path: Path, data: bytes = SOURCE) -> Path:
    path.write_bytes(data)
    return path


def zipped(path: Path) -> Any:
    with zipfile.ZipFile(path / "in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in.dcm", SOURCE)
    with zipfile.ZipFile(path / "in.zip") as archive:
        return archive.open("in.dcm")


def compressed(path: Path) -> gzip.GzipFile:
    (path / "in.gz").write_bytes(gzip.compress(SOURCE))
    return gzip.open(path / "in.gz")


def standing(file: Any, data: bytes = b"something before it") -> Any:
    """A file object of which a caller has read what stands before the DICOM file."""
    file.write(data + SOURCE)
    file.seek(len(data))
    return file


def mapped(path: Path) -> mmap.mmap:
    with stored(path / "in.dcm").open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def pipe(path: Path) -> Any:
    reading, writing = os.pipe()

    def fill() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(SOURCE)

    threading.Thread(target=fill, daemon=True).start()
    return os.fdopen(reading, "rb")


SOURCES: dict[str, Callable[[Path], Any]] = {
    "a path": lambda path: stored(path / "in.dcm"),
    "a path as text": lambda path: str(stored(path / "in.dcm")),
    "bytes": lambda _: SOURCE,
    "a bytearray": lambda _: bytearray(SOURCE),
    "a memoryview": lambda _: memoryview(SOURCE),
    "a part of a memoryview": lambda _: memoryview(b"12" + SOURCE + b"345")[2:-3],
    "every second byte": lambda _: memoryview(b"".join(bytes([byte, 7]) for byte in SOURCE))[::2],
    "an array": lambda _: array.array("H", SOURCE),
    "an array of NumPy": lambda _: np.frombuffer(SOURCE, "<u2"),
    "a memory map": mapped,
    "BytesIO": lambda _: io.BytesIO(SOURCE),
    "BytesIO that does not stand at its start": lambda _: standing(io.BytesIO()),
    "a file": lambda path: stored(path / "in.dcm").open("rb"),
    "a file without a buffer": lambda path: stored(path / "in.dcm").open("rb", buffering=0),
    "a file that may be written": lambda path: stored(path / "in.dcm").open("rb+"),
    "a file that does not stand at its start": lambda path: standing((path / "in.dcm").open("wb+")),
    "a temporary file": lambda path: standing(tempfile.NamedTemporaryFile(dir=path)),  # noqa: SIM115
    "a temporary file in memory": lambda _: standing(tempfile.SpooledTemporaryFile(1 << 20)),  # noqa: SIM115
    "a gzip file": compressed,
    "a gzip file behind a buffer": lambda path: io.BufferedReader(compressed(path)),
    "a member of a zip file": zipped,
    "a pipe": pipe,
    "an object that can only be read": lambda _: OnlyRead(SOURCE),
    "an object that gives less than it is asked for": lambda _: Shy(SOURCE),
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES.keys())
def test_a_file_is_read_from(make: Callable[[Path], Any], target: str, expected, tmp_path: Path) -> None:
    place = make(tmp_path)
    position = place.tell() if hasattr(place, "tell") and not isinstance(place, mmap.mmap) and seeks(place) else None
    assert transcode(place, to=target) == expected[target]
    if position is not None:
        assert place.tell() == position
    if hasattr(place, "close"):
        assert not getattr(place, "closed", False)
        place.close()


def seeks(file: Any) -> bool:
    return bool(file.seekable())


def test_what_stands_behind_a_gzip_file_is_not_what_it_gives(tmp_path: Path) -> None:
    """A file object may have the descriptor of a file that holds other bytes."""
    with compressed(tmp_path) as inner, io.BufferedReader(inner) as file:
        assert file.fileno() == inner.fileno()
        with closing(open_object(file, None)) as reader:
            assert isinstance(reader, FileObjectBytes)
            assert reader.pread(4, 128) == b"DICM"


def test_bytes_are_not_copied() -> None:
    assert open_object(SOURCE, None).pread(len(SOURCE), 0) is SOURCE
    assert isinstance(open_object(io.BytesIO(SOURCE), None), Memory)


def test_a_bytearray_is_let_go_of_afterwards() -> None:
    data = bytearray(SOURCE)
    transcode(data, to="rle")
    data.append(0)
    reader = BufferBytes(data)
    with pytest.raises(BufferError):
        data.append(0)
    reader.close()
    data.append(0)


def test_threads_that_read_one_file_object_take_turns() -> None:
    data = bytes(range(256)) * 400
    reader = FileObjectBytes(Shy(data))
    wrong: list[int] = []

    def read(first: int) -> None:
        offsets = range(first, 90_000, 997)
        wrong.extend(offset for offset in offsets if reader.pread(3000, offset) != data[offset : offset + 3000])

    threads = [threading.Thread(target=read, args=(first,)) for first in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("offset", [0, 1, 90, 99, 100, 5000])
@pytest.mark.parametrize("length", [0, 1, 10, 100, 5000])
def test_readers_give_the_bytes_at_an_offset(length: int, offset: int) -> None:
    data = bytes(range(100))
    for reader in (Memory(data), BufferBytes(bytearray(data)), FileObjectBytes(Shy(data))):
        assert reader.size == 100
        assert reader.pread(length, offset) == data[offset : offset + length]


def test_only_what_processes_may_share_is_read_by_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """The position of an open file is one for all processes that have it: they would read one another's bytes."""

    def asked() -> bool:
        raise AssertionError("it would be read by other processes")

    coded = transcode(SOURCE, to="rle")
    monkeypatch.setattr("dcmtx.pool.children.may_fork", asked)
    options = {"to": "implicit", "decoder": "pylibjpeg-rle", "workers": 2}
    assert transcode(Shy(coded), **options) == transcode(coded, **options | {"workers": 1})
    with pytest.raises(AssertionError, match="by other processes"):
        transcode(coded, **options)


class Streamed(io.RawIOBase):
    """A file of equal frames that exists only as it is read; it knows the most that it was asked for at once."""

    def __init__(self, head: bytes, frame: bytes, frames: int, *, seekable: bool) -> None:
        super().__init__()
        self._head, self._frame = head, frame
        self._size = len(head) + len(frame) * frames
        self._position = 0
        self._seekable = seekable
        self.most = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + (self._size if whence == os.SEEK_END else 0)
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        self.most = max(self.most, size)
        data = self._head[self._position : self._position + size]
        while len(data) < size and self._position + len(data) < self._size:
            at = (self._position + len(data) - len(self._head)) % len(self._frame)
            data += self._frame[at : at + size - len(data)]
        self._position += len(data)
        return data


@pytest.mark.parametrize("seekable", [True, False], ids=["that can seek", "that is spooled"])
def test_of_a_file_object_no_more_is_held_than_a_few_frames(seekable: bool) -> None:
    frame = bytes(256 * 256 * 2)
    frames = 200
    image = dicom.Image(frame, rows=256, columns=256, stored=12)
    whole = dicom.Image(bytes(len(frame) * frames), rows=256, columns=256, stored=12, frames=frames).encode()
    head = whole[: -len(frame) * frames]
    transcode(image.encode(), to="rle")
    file = Streamed(head, frame, frames, seekable=seekable)
    tracemalloc.start()
    try:
        coded = transcode(file, to="rle", workers=1)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(dicom.walk(coded).fragments) == frames
    # All frames are 26 MB; a frame is there as it was read, decoded, encoded, and decoded again.
    assert most < 4 << 20
    if seekable:
        assert file.most <= len(frame)


NOT_READ: dict[str, tuple[Callable[[Path], Any], type[DcmtxError], str]] = {
    "a number": (lambda _: 1, UsageError, "a int is no place"),
    "nothing": (lambda _: None, UsageError, "there is no src"),
    "a file object that gives text": (lambda _: io.StringIO("text"), UsageError, "open it as binary"),
    "an object that gives text": (lambda _: Text(), UsageError, "gives str, not bytes"),
    "a closed file": (lambda path: closed(stored(path / "in.dcm").open("rb")), InputError, "closed file"),
    "closed memory": (lambda _: closed(io.BytesIO(SOURCE)), InputError, "closed file"),
    "a file that is only written": (lambda path: (path / "x").open("wb"), InputError, "cannot be read"),
    "a file object at its end": (lambda _: io.BytesIO(), InputError, "is empty"),
    "no bytes": (lambda _: b"", InputError, "is empty"),
    "bytes that are no DICOM": (lambda _: b"no DICOM at all", InputError, "not a DICOM file"),
    "a file that breaks": (lambda _: Broken(), InputError, "Input/output error"),
    "a file that would have to be waited for": (lambda _: Waiting(), InputError, "waited for"),
}


class Text:
    def read(self, _: int, /) -> str:
        return "text"


class Broken:
    def read(self, _: int, /) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


class Waiting(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def read(self, _: int = -1, /) -> None:
        return None


def closed(file: Any) -> Any:
    file.close()
    return file


@pytest.mark.parametrize(("make", "kind", "says"), NOT_READ.values(), ids=NOT_READ.keys())
def test_what_cannot_be_read(make: Callable[[Path], Any], kind: type, says: str, tmp_path: Path, dst: Path) -> None:
    place = make(tmp_path)
    with pytest.raises(kind, match=says) as caught:
        transcode(place, dst, to="rle")
    assert type(caught.value) is kind
    assert not dst.exists()
    if hasattr(place, "close"):
        place.close()


def test_a_file_object_that_is_closed_while_it_is_read() -> None:
    file = Shy(SOURCE)
    reader = FileObjectBytes(file)
    file.close()
    with pytest.raises(InputError, match="closed file"):
        reader.pread(1, 0)
    reader.close()


# --- where files are written -----------------------------------------------------------------------------------


class OnlyWritten:
    """An object that can be written, and nothing else; of what it is given it takes a little at a time."""

    def __init__(self, most: int | None = 1009) -> None:
        self.data = b""
        self._most = most

    def write(self, data: bytes, /) -> int | None:
        self.data += bytes(data[: self._most])
        return None if self._most is None else min(len(data), self._most)


def behind(file: Any) -> Any:
    file.write(b"before")
    return file


DESTINATIONS: dict[str, tuple[Callable[[Path], Any], Callable[[Any, Path], bytes]]] = {
    "a path": (lambda path: path / "out.dcm", lambda place, _: place.read_bytes()),
    "a path as text": (lambda path: str(path / "out.dcm"), lambda place, _: Path(place).read_bytes()),
    "BytesIO": (lambda _: io.BytesIO(), lambda place, _: place.getvalue()),
    "BytesIO behind what it has": (
        lambda _: behind(io.BytesIO()), lambda place, _: place.getvalue().removeprefix(b"before")),
    "a file": (lambda path: (path / "out.dcm").open("wb"), lambda _, path: (path / "out.dcm").read_bytes()),
    "a file without a buffer": (
        lambda path: (path / "out.dcm").open("wb", buffering=0), lambda _, path: (path / "out.dcm").read_bytes()),
    "a gzip file": (
        lambda path: gzip.GzipFile(path / "out.gz", "wb"),
        lambda place, path: (place.close(), gzip.decompress((path / "out.gz").read_bytes()))[1]),
    "an object that takes a little at a time": (lambda _: OnlyWritten(), lambda place, _: place.data),
    "an object that does not say what it took": (lambda _: OnlyWritten(None), lambda place, _: place.data),
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("make", "read"), DESTINATIONS.values(), ids=DESTINATIONS.keys())
def test_a_file_is_written_to(make: Any, read: Any, target: str, expected, tmp_path: Path) -> None:
    place = make(tmp_path)
    outcome = transcode(SOURCE, place, to=target)
    if not isinstance(place, (str, Path, OnlyWritten)):
        assert not place.closed
    assert read(place, tmp_path) == expected[target]
    assert outcome.bytes_out == len(expected[target])
    assert outcome.bytes_in == len(SOURCE)
    assert outcome.status is (Status.COPIED if target == "explicit" else Status.CONVERTED)
    if hasattr(place, "close"):
        place.close()


DAMAGED = dicom.Image([b"\xff\xd8" + bytes(62)] * 3, 40, 48, stored=12, frames=3, syntax=dicom.JPEGLS).encode()
LAST = transcode(SOURCE, to="rle")[:-40]
FAILING: dict[str, tuple[bytes, dict[str, object]]] = {
    "damaged": (DAMAGED, {"to": "rle"}),
    "whose last frame is cut off": (LAST, {"to": "jpegls"}),
    "that is refused": (SOURCE, {"to": "jpegls", "near": 2}),
}


@pytest.mark.parametrize(("data", "options"), FAILING.values(), ids=FAILING.keys())
def test_a_file_object_gets_nothing_of_a_file(data: bytes, options: dict[str, Any]) -> None:
    file = io.BytesIO()
    with pytest.raises(DcmtxError):
        transcode(data, file, **options)
    assert (file.getvalue(), file.tell()) == (b"", 0)


def test_a_frame_that_fails_late_has_left_nothing_in_the_file_object(monkeypatch: pytest.MonkeyPatch) -> None:
    from dcmtx.codec import rle

    encode, calls = rle.encode_imagecodecs, []

    def fail(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("at the last frame")
        return encode(*arguments)

    monkeypatch.setattr("dcmtx.codec.rle.encode_imagecodecs", fail)
    file = io.BytesIO()
    with pytest.raises(DcmtxError, match="at the last frame"):
        transcode(SOURCE, file, to="rle", workers=1)
    assert file.getvalue() == b""


class Full:
    """A file object on a disk that is full."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def write(self, _: bytes, /) -> int:
        raise self._error


class Stuck(io.RawIOBase):
    """A file object that takes nothing now."""

    def __init__(self, taken: int | None) -> None:
        super().__init__()
        self._taken = taken

    def write(self, _: Any, /) -> Any:
        return self._taken


NOT_WRITTEN: dict[str, tuple[Callable[[], Any], type[DcmtxError], str, str]] = {
    "a number": (lambda: 1, UsageError, "E_USAGE", "cannot be written into"),
    "bytes": (lambda: b"out.dcm", UsageError, "E_USAGE", "a bytes cannot be written into"),
    "a file object that takes text": (io.StringIO, UsageError, "E_USAGE", "open it as binary"),
    "a full disk": (lambda: Full(OSError(errno.ENOSPC, "No space left")), OutputError, "E_DISK_FULL", "free some"),
    "a broken disk": (lambda: Full(OSError(errno.EIO, "It broke")), OutputError, "E_OUTPUT", "It broke"),
    "a closed file": (lambda: closed(io.BytesIO()), OutputError, "E_OUTPUT", "closed file"),
    "a file that is only read": (lambda: OnlyRead(b""), UsageError, "E_USAGE", "cannot be written into"),
    "a file that takes nothing": (lambda: Stuck(0), OutputError, "E_OUTPUT", "takes no more"),
    "a file that must be waited for": (lambda: Stuck(None), OutputError, "E_OUTPUT", "waited for"),
}


@pytest.mark.parametrize(("make", "kind", "code", "says"), NOT_WRITTEN.values(), ids=NOT_WRITTEN.keys())
@pytest.mark.parametrize("target", ["rle", "explicit"], ids=["converted", "copied"])
def test_what_cannot_be_written(target: str, make: Any, kind: type, code: str, says: str) -> None:
    with pytest.raises(kind, match=says) as caught:
        transcode(SOURCE, make(), to=target)
    assert (type(caught.value), caught.value.code) == (kind, code)


def test_source_and_destination_may_not_be_one_file_object() -> None:
    file = io.BytesIO(SOURCE)
    with pytest.raises(UsageError, match="one file object"):
        transcode(file, file, to="rle")
    assert file.getvalue() == SOURCE


def test_a_file_may_be_read_and_written_by_one_path(tmp_path: Path, expected) -> None:
    path = stored(tmp_path / "in.dcm")
    with path.open("rb") as file:
        transcode(file, path, to="rle")
    assert path.read_bytes() == expected["rle"]


def test_without_a_destination_a_dry_run_has_nothing_to_return() -> None:
    with pytest.raises(UsageError, match=r"dcmtx\.plan"):
        transcode(SOURCE, to="rle", dry_run=True)


def test_without_a_destination_what_is_skipped_is_refused() -> None:
    report = dicom.file([dicom.element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.88.11")])
    with pytest.raises(RefusedError, match="no pixels") as caught:
        transcode(report, to="rle", no_pixels="skip")
    assert caught.value.code == "E_NO_PIXELDATA"


def test_a_dry_run_leaves_a_file_object_alone() -> None:
    file = io.BytesIO()
    outcome = transcode(SOURCE, file, to="rle", dry_run=True)
    assert (outcome.status, outcome.plan is None, file.getvalue()) == (Status.PLANNED, False, b"")


def test_a_loss_that_saves_nothing_is_begun_anew_in_memory_too(tmp_path: Path) -> None:
    """Then the file is written twice; the first is given up."""
    flat = dicom.Image(
        bytes(64 * 64 * 3), rows=64, columns=64, samples=3, photometric="RGB", planar=0, allocated=8, stored=8
    ).encode()
    options = {"to": "j2k", "lossy": True, "ratio": 2, "uid": "keep"}
    outcome = transcode(flat, tmp_path / "out.dcm", **options)
    assert any("loss saves no bytes" in note.text for note in outcome.notes)
    file = io.BytesIO()
    assert transcode(flat, file, **options).notes == outcome.notes
    written = (tmp_path / "out.dcm").read_bytes()
    assert file.getvalue() == written
    assert transcode(flat, **options) == written


# --- what they are called --------------------------------------------------------------------------------------


class Named(io.BytesIO):
    name = "the name of it"


def test_messages_call_places_by_what_they_are(dst: Path) -> None:
    names = {}
    for place in (b"no DICOM", io.BytesIO(b"no DICOM"), Named(b"no DICOM")):
        with pytest.raises(InputError) as caught:
            transcode(place, dst, to="rle")
        names[type(place)] = caught.value.path
    assert names == {bytes: "<bytes>", io.BytesIO: "<file object>", Named: "the name of it"}


def test_an_outcome_does_not_keep_the_file() -> None:
    outcome = transcode(SOURCE, io.BytesIO(), to="rle")
    assert (outcome.job.src, outcome.job.dst) == ("<bytes>", "<file object>")
    assert (outcome.job.source, outcome.job.target) == (None, None)


def test_a_file_called_as_messages_call_bytes_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("<bytes>", "<file object>"):
        old_file(Path(name))
    before = contents(tmp_path)
    assert transcode(SOURCE, to="explicit") == SOURCE
    file = io.BytesIO()
    assert transcode(io.BytesIO(SOURCE), file, to="explicit", clobber=False).status is Status.COPIED
    assert file.getvalue() == SOURCE
    assert contents(tmp_path) == before


# --- schemes ---------------------------------------------------------------------------------------------------

UNKNOWN = ["ftp://host/in.dcm", "sftp://host/in.dcm", "FTP://x", "a+b.c-1:///x"]


@pytest.mark.parametrize("place", UNKNOWN)
@pytest.mark.parametrize("end", ["source", "destination"])
def test_a_scheme_that_nobody_knows(end: str, place: str, tmp_path: Path) -> None:
    src, dst = stored(tmp_path / "in.dcm"), tmp_path / "out.dcm"
    with pytest.raises(UsageError, match="known are local paths, -") as caught:
        transcode(place if end == "source" else src, place if end == "destination" else dst, to="rle")
    assert caught.value.path == place
    assert f"no kind of place {place.partition(':')[0].lower()}://" in caught.value.message


@pytest.mark.parametrize("place", UNKNOWN)
def test_the_command_names_what_is_known(place: str, tmp_path: Path, fails: Fails) -> None:
    src = stored(tmp_path / "in.dcm")
    for arguments in ((place, tmp_path / "out.dcm"), (src, place)):
        line = fails(2, *arguments, "--to", "rle")
        assert "known are local paths, -" in line


LOCAL = ["1a://x", "a b://x", "é://x", "://x", "a_b://x"]


@pytest.mark.parametrize("place", LOCAL)
def test_what_is_no_scheme_is_a_path(place: str, dst: Path) -> None:
    with pytest.raises(InputError) as caught:
        transcode(place, dst, to="rle")
    assert caught.value.code == "E_MISSING"


def test_a_path_that_exists_is_local_whatever_it_looks_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ftp:").mkdir()
    stored(Path("ftp:") / "in.dcm")
    transcode("ftp://in.dcm", "ftp://out.dcm", to="rle")
    assert sorted(os.listdir("ftp:")) == ["in.dcm", "out.dcm"]


SHELF: dict[str, bytes] = {}


class ShelfSink(MemorySink):
    """A place that a test adds: a dictionary."""

    def __init__(self, place: str) -> None:
        self._kept = InMemory()
        self._name = place
        super().__init__(self._kept)

    def commit(self) -> None:
        super().commit()
        assert self._kept.value is not None
        SHELF[self._name] = self._kept.value


def open_shelf_reader(place: str, spool_in: str | None) -> Memory:
    if place not in SHELF:
        raise InputError("it is not on the shelf", code="E_MISSING")
    return Memory(SHELF[place])


def open_shelf_sink(place: str, *, clobber: bool, parents: bool) -> ShelfSink:
    if not clobber and place in SHELF:
        raise OutputError("it exists", code="E_EXISTS", path=place)
    return ShelfSink(place)


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    scheme = Scheme(f"{__name__}:open_shelf_reader", f"{__name__}:open_shelf_sink")
    monkeypatch.setitem(places.SCHEMES, "shelf", scheme)
    monkeypatch.setitem(places.SCHEMES, "readonly", scheme.replace(sink=""))
    SHELF.clear()
    return SHELF


@pytest.mark.parametrize("target", TARGETS)
def test_a_place_that_is_added_is_read_and_written(target: str, shelf: dict[str, bytes], expected) -> None:
    shelf["shelf://in"] = SOURCE
    transcode("shelf://in", "SHELF://out", to=target)
    assert shelf["SHELF://out"] == expected[target]
    with pytest.raises(OutputError):
        transcode("shelf://in", "SHELF://out", to=target, clobber=False)
    with pytest.raises(InputError, match="not on the shelf"):
        transcode("shelf://absent", "shelf://out", to=target)


def test_the_command_reads_and_writes_a_place_that_is_added(
    shelf: dict[str, bytes], command: Command, expected
) -> None:
    shelf["shelf://in"] = SOURCE
    assert command("shelf://in", "shelf://out", "--to", "rle") == Ran(0, "", "")
    assert shelf["shelf://out"] == expected["rle"]


def test_a_place_that_is_only_read_is_not_written(shelf: dict[str, bytes]) -> None:
    with pytest.raises(UsageError, match="readonly:// cannot be written"):
        transcode(SOURCE, "readonly://x", to="rle")
    with pytest.raises(UsageError, match=r"known are local paths, -, .*readonly://, s3://, shelf://"):
        open_reader("other://x")


# --- sinks -----------------------------------------------------------------------------------------------------


SINKS: dict[str, Callable[[Path], Any]] = {
    "a file": lambda path: open_sink(str(path / "out")),
    "standard output": lambda _: open_sink("-"),
    "a file object": lambda _: FileObjectSink(io.BytesIO(), "it"),
    "memory": lambda _: MemorySink(InMemory()),
}


@pytest.mark.parametrize("make", SINKS.values(), ids=SINKS.keys())
def test_a_sink_that_is_left_leaves_nothing(make: Callable[[Path], Any], tmp_path: Path) -> None:
    before = contents(tmp_path)
    with make(tmp_path) as sink:
        sink.reserve(10)
        sink.write(b"0123456789")
        sink.patch(2, b"ab")
        sink.copy(Memory(b"more"))
        assert sink.bytes == 14
    sink.abort()
    assert contents(tmp_path) == before


def test_sinks_take_the_same_bytes_alike(tmp_path: Path) -> None:
    file, memory = io.BytesIO(), InMemory()
    for sink in (open_sink(str(tmp_path / "out")), FileObjectSink(file, "it"), MemorySink(memory)):
        with sink:
            sink.write(b"0123456789")
            sink.patch(2, b"ab")
            sink.write(memoryview(b"more"))
            sink.copy(Memory(b"copied"))
            assert sink.bytes == 20
            sink.commit()
    assert (tmp_path / "out").read_bytes() == file.getvalue() == memory.value == b"01ab456789morecopied"


@pytest.mark.parametrize("make", SINKS.values(), ids=SINKS.keys())
def test_a_source_that_becomes_shorter_is_not_copied(make: Callable[[Path], Any], tmp_path: Path) -> None:
    short = Memory(b"12345")
    short.size = 6
    with make(tmp_path) as sink, pytest.raises(InputError, match="became shorter"):
        sink.copy(short)


def test_what_is_deflated_cannot_be_patched() -> None:
    with MemorySink(InMemory()) as sink, pytest.raises(AssertionError, match="deflated already"):
        Deflating(sink).patch(0, b"x")


def test_descriptors_are_closed(tmp_path: Path) -> None:
    """In a process of its own, whose descriptors are only its own."""
    program = """
import io, os, sys
import dcmtx
data = open(sys.argv[1], "rb").read()
dcmtx.transcode(data, to="rle"), dcmtx.frames(data)[0]
def count():
    return len(os.listdir("/dev/fd"))
before = count()
class Read:
    def __init__(self): self.file = io.BytesIO(data)
    def read(self, size): return self.file.read(size)
for place in (data, io.BytesIO(data), Read(), sys.argv[1]):
    dcmtx.transcode(place, io.BytesIO(), to="rle")
    try:
        dcmtx.transcode(place, io.BytesIO(), to="jpegls", near=3)
    except dcmtx.DcmtxError:
        pass
with open(sys.argv[1], "rb") as file:
    dcmtx.transcode(file, to="deflated")
dcmtx.frames(sys.argv[1])[0]
for frame in dcmtx.frames(Read()):
    pass
del frame
assert count() == before, os.listdir("/dev/fd")
"""
    src = stored(tmp_path / "in.dcm")
    ran = subprocess.run([sys.executable, "-c", program, src], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


# --- where spools go ---------------------------------------------------------------------------------------------


def test_a_spool_is_beside_what_is_written_not_beside_a_link_to_it(tmp_path: Path) -> None:
    small, big = tmp_path / "small", tmp_path / "big"
    small.mkdir()
    big.mkdir()
    (small / "link.dcm").symlink_to(big / "new.dcm")
    (small / "directory").symlink_to(big)
    assert directory_of(os.fspath(small / "link.dcm")) == os.fspath(big)
    assert os.path.samefile(directory_of(os.fspath(small / "directory" / "new.dcm")), big)
    assert directory_of(os.fspath(small / "new.dcm")) == os.fspath(small)


def test_where_a_spool_may_go_is_asked_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    assert [directory_of(place) for place in ("out/a.dcm", "a.dcm", "-", "s3://bucket/a", b"")] == [
        "out", ".", None, None, None,
    ]  # fmt: skip
    Path("out").rmdir()
    assert directory_of("out/a.dcm") is None


def test_a_destination_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """Also for what needs a spool: it goes elsewhere."""
    source = tmp_path / "in.dcm"
    transcode(SOURCE, source, to="deflated")
    todo = job(source, tmp_path / "out" / "a.dcm", to="rle").replace(parents=True)
    for _ in range(2):
        assert run(todo).status is Status.CONVERTED
        shutil.rmtree(tmp_path / "out")
