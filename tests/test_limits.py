"""Files that promise more than they hold, and systems that fail: one line, a status, and no memory taken before."""

from __future__ import annotations

import errno
import os
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import dicom
import imagecodecs
import images
import numpy as np
import oracle
import pytest
from conftest import Ran
from dicom import BIG_ENDIAN, EXPLICIT, IMPLICIT, UNDEFINED, element

from dcmtx import transcode
from dcmtx.dataset.dictionary import Context
from dcmtx.dataset.edit import Span
from dcmtx.dataset.header import Header
from dcmtx.dataset.rewriting import Rewriting, rewrite
from dcmtx.errors import CodecError, DcmtxError, InputError
from dcmtx.pixel.codestream import inspect
from dcmtx.pixel.promise import check_promise
from dcmtx.place import inflate
from dcmtx.place.bytes import Memory, open_bytes
from dcmtx.syntax import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from dcmtx.transcoding.job import job
from dcmtx.transcoding.running import run

Command = Callable[..., Ran]
Fails = Callable[..., str]
MIB = 1 << 20
ENCODINGS = {EXPLICIT: EXPLICIT_LITTLE, BIG_ENDIAN: EXPLICIT_BIG, IMPLICIT: IMPLICIT_LITTLE}


# --- values --------------------------------------------------------------------------------------------------------


class Sparse:
    """A file of which only the beginning exists; what is behind it is zeros. Remembers the longest read."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size, self.longest = data, size, 0

    def pread(self, length: int, offset: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        self.longest = max(self.longest, length)
        assert length <= 2 * MIB
        return self.data[offset : offset + length].ljust(length, b"\0")


@pytest.mark.parametrize("read", ["value", "text", "number", "integer"])
def test_a_value_that_no_attribute_can_have_is_not_read(read: str) -> None:
    reader = Sparse(dicom.header(0x00280004, "UT", 1 << 31), (1 << 31) + 12)
    header = Header(reader, 0, EXPLICIT_LITTLE)
    with pytest.raises(InputError, match=r"\(0028,0004\) has 2147483648 bytes") as caught:
        getattr(header, read)(0x00280004)
    assert (caught.value.code, caught.value.tag) == ("E_INCONSISTENT", 0x00280004)
    assert reader.longest < 2 * MIB


@pytest.mark.parametrize("tag", [0x00280004, 0x00280008, 0x00280010, 0x00080018, 0x00082111])
def test_a_file_with_such_a_value_is_refused_in_one_line(tag: int, tmp_path: Path, fails: Fails) -> None:
    image = dicom.Image(bytes(64), allocated=8, stored=8, before={tag: element(tag, "UT", b" " * (3 * MIB))})
    (tmp_path / "in.dcm").write_bytes(image.encode())
    line = fails(3, tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "jpeg-baseline", "--lossy")
    assert "bytes, more than such an attribute can have" in line


def test_an_extended_offset_table_of_more_entries_than_fragments_is_not_read(tmp_path: Path, command: Command) -> None:
    stream = bytes(imagecodecs.jpegls_encode(np.arange(64, dtype=np.uint16).reshape(8, 8)))
    tables = {tag: element(tag, "OV", bytes(3 * MIB)) for tag in (0x7FE00001, 0x7FE00002)}
    (tmp_path / "in.dcm").write_bytes(dicom.Image([stream], syntax=dicom.JPEGLS, before=tables).encode())
    ran = command(tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "explicit")
    assert ran.status == 0, ran
    assert "the Extended Offset Table does not fit" in ran.err


# --- sequences -------------------------------------------------------------------------------------------------------


WAYS = [(EXPLICIT, IMPLICIT), (EXPLICIT, BIG_ENDIAN), (BIG_ENDIAN, EXPLICIT), (IMPLICIT, EXPLICIT)]


def waveform(size: int, syntax: str, *, undefined: bool, vr: str = "OW") -> bytes:
    """Return a sequence with a large value, two levels deep, between small ones."""
    value = np.arange(size // 2, dtype=np.uint16).tobytes()
    inner = element(0x5400100A, "OW", b"\1\2", syntax) + element(0x54001010, vr, value, syntax)
    outer = dicom.sequence(0x54000100, [inner], syntax, undefined=undefined)
    return dicom.sequence(0x00081140, [element(0x00080100, "SH", "CODE", syntax), outer], syntax, undefined=undefined)


@pytest.mark.parametrize("undefined", [False, True], ids=["defined lengths", "undefined lengths"])
@pytest.mark.parametrize(("source", "target"), WAYS)
def test_large_values_in_sequences_are_never_in_memory_as_a_whole(source: str, target: str, undefined: bool) -> None:
    size = 16 * MIB
    data = waveform(size, source, undefined=undefined)
    tracemalloc.start()
    written, last = 0, b""
    rewriting = Rewriting(Whole(data), 0, len(data), ENCODINGS[source], ENCODINGS[target], Context())
    for piece in rewriting.pieces():
        if isinstance(piece, Span):
            written += piece.end - piece.start
        else:
            assert isinstance(piece, bytes)
            written, last = written + len(piece), piece
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * MIB
    assert written == rewriting.size
    assert len(last) <= 2 * MIB
    assert rewriting.whole() == waveform(size, target, undefined=undefined)


class Whole:
    """Bytes in memory that are read as those of a file are: in copies."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def pread(self, length: int, offset: int) -> bytes:
        return self.data[offset : offset + length]


@pytest.mark.parametrize("undefined", [False, True], ids=["defined lengths", "undefined lengths"])
@pytest.mark.parametrize(("source", "target"), WAYS)
def test_many_small_elements_are_not_kept_either(
    source: str, target: str, undefined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As it is by the true limits, with less to do.
    monkeypatch.setattr("dcmtx.dataset.rewritten._KEPT", 10_000)
    monkeypatch.setattr("dcmtx.dataset.rewritten._PIECE", 10_000)
    inner = element(0x00080100, "SH", "CODE", source) * 100
    data = dicom.sequence(0x00081140, [inner] * 50, source, undefined=undefined)
    rewriting = Rewriting(Whole(data), 0, len(data), ENCODINGS[source], ENCODINGS[target], Context())
    assert not rewriting._output.kept
    tracemalloc.start()
    for piece in rewriting.pieces():
        assert isinstance(piece, bytes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # What is kept, a window of 64 KiB on each side, and the ends of items.
    assert peak < 300_000
    assert rewriting.whole() == rewrite(data, ENCODINGS[source], ENCODINGS[target], Context())
    assert rewrite(rewriting.whole(), ENCODINGS[target], ENCODINGS[source], Context()) == data


@pytest.mark.parametrize("undefined", [False, True], ids=["defined lengths", "undefined lengths"])
@pytest.mark.parametrize("changes", [[], [lambda _item: {}]], ids=["encoding", "changes"])
def test_the_work_on_nested_sequences_grows_as_they_do(undefined: bool, changes: list) -> None:
    """Counted in bytes that are read and bytes that are handed on, not in time."""
    works = []
    for depth in (1000, 4000):
        data = nest(depth, undefined=undefined)
        reader = Counting(data)
        rewriting = Rewriting(reader, 0, len(data), EXPLICIT_LITTLE, IMPLICIT_LITTLE, Context(), changes)
        handed = sum(len(piece) for piece in rewriting.pieces() if isinstance(piece, bytes))
        assert handed == rewriting.size
        works.append((reader.reads, handed))
    assert works[1][0] <= 4.5 * works[0][0] + 10
    assert works[1][1] <= 4.1 * works[0][1]


class Counting(Memory):
    """Bytes in memory that count how often they are asked for."""

    __slots__ = ("reads",)

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads = 0

    def pread(self, length: int, offset: int) -> bytes:
        self.reads += 1
        return super().pread(length, offset)


def nest(depth: int, *, undefined: bool) -> bytes:
    before, behind, size = [], [], 0
    for _ in range(depth):
        tail = dicom.header(0xFFFEE00D, "", 0) + dicom.header(0xFFFEE0DD, "", 0) if undefined else b""
        item = dicom.header(0xFFFEE000, "", UNDEFINED if undefined else size)
        size += len(item)
        head = dicom.header(0x00081140, "SQ", UNDEFINED if undefined else size)
        size += len(head) + len(tail)
        before.append(head + item)
        behind.append(tail)
    return b"".join(reversed(before)) + b"".join(behind)


# --- what codestreams promise ------------------------------------------------------------------------------------


BLACK = {
    "JPEG": (dicom.JPEG_BASELINE, "jpeg", lambda image: imagecodecs.jpeg8_encode(image, level=10), 8),
    "lossless JPEG": (dicom.JPEG_SV1, "jpeg", lambda image: imagecodecs.jpeg_encode(image, lossless=True, predictor=1),
                      8),
    "JPEG-LS": (dicom.JPEGLS, "jpegls", imagecodecs.jpegls_encode, 8),
    "JPEG 2000": (dicom.J2K_LOSSLESS, "j2k",
                  lambda image: imagecodecs.jpeg2k_encode(image, codecformat="j2k", reversible=True), 8),
    "RLE": (dicom.RLE, "rle", lambda image: images.annex_g(images.Format("MONOCHROME2", 8, 8), image), 8),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "columns"), [(2048, 2048), (16, 4000), (4000, 16)], ids=str)
@pytest.mark.parametrize("name", BLACK)
def test_black_images_are_what_their_bytes_hold(name: str, rows: int, columns: int) -> None:
    _, family, encode, _ = BLACK[name]
    image = np.zeros((rows, columns), np.uint8)
    stream = bytes(encode(image))
    check_promise(inspect(family, stream), len(stream), image.size, image.nbytes)


SIZES = {"JPEG": 40, "lossless JPEG": 40, "JPEG-LS": 40, "RLE": 40}


@pytest.mark.parametrize("name", SIZES)
def test_a_codestream_that_promises_what_it_cannot_hold_is_refused_before_it_is_decoded(
    name: str, tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    syntax, _, encode, bits = BLACK[name]
    small = bytes(encode(np.zeros((16, 16), np.uint8)))
    # The same stream, whose header says 60,000 x 60,000.
    stream = small.replace(b"\x00\x10\x00\x10", b"\xea\x60\xea\x60")
    image = dicom.Image([stream], rows=60_000, columns=60_000, allocated=bits, stored=bits, syntax=syntax)
    (tmp_path / "in.dcm").write_bytes(image.encode())
    monkeypatch.setattr("dcmtx.transcoding.coders.Coder.code", None)
    line = fails(3, tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "deflated-frames")
    assert "which so few cannot hold" in line


def test_no_image_of_a_gib_is_black() -> None:
    stream = inspect("j2k", bytes(imagecodecs.jpeg2k_encode(np.zeros((8, 8), np.uint8), codecformat="j2k")))
    check_promise(stream, 100, 1 << 29, 1 << 30)
    check_promise(stream, 3 << 20, 1 << 29, (1 << 30) + 2)
    with pytest.raises(InputError, match="which so few cannot hold") as caught:
        check_promise(stream, 100, 1 << 30, (1 << 30) + 2)
    assert caught.value.code == "E_BOMB"


# --- deflated data sets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inflated", "deflated", "refused"),
    [
        (100 * MIB, 100_000, False),  # black, as the most that zlib makes of it
        (1 << 30, 1 << 20, False),
        ((1 << 30) + 1, 1 << 20, True),
        (3 << 30, 7 << 20, False),
        ((5 << 30) + 1, 1 << 30, True),
    ],
)
def test_what_a_deflated_data_set_may_be(inflated: int, deflated: int, refused: bool) -> None:
    if not refused:
        inflate._check_inflated(inflated, deflated)
        return
    with pytest.raises(InputError, match="inflates to more than") as caught:
        inflate._check_inflated(inflated, deflated)
    assert caught.value.code == "E_BOMB"


def test_a_deflate_bomb_is_refused_as_soon_as_it_shows(
    tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As it is by the true limits, with less to do.
    monkeypatch.setattr(inflate, "_LARGE", 2 * MIB)
    written = []
    monkeypatch.setattr(inflate.Spool, "write", lambda _spool, data: written.append(len(data)))
    data = dicom.file([element(0x00080008, "UT", bytes(64 * MIB))], dicom.DEFLATED)
    (tmp_path / "in.dcm").write_bytes(data)
    line = fails(3, tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "explicit")
    assert "the deflated data set inflates to more than" in line
    assert sum(written) <= 500 * len(data) + MIB


def test_a_black_image_deflated_a_thousand_times_smaller_is_read(tmp_path: Path) -> None:
    pixels = bytes(2 * 2000 * 2000)
    data = dicom.Image(pixels, rows=2000, columns=2000, syntax=dicom.DEFLATED).encode()
    assert len(data) < len(pixels) / 900
    (tmp_path / "in.dcm").write_bytes(data)
    transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="explicit")
    assert dicom.walk((tmp_path / "out.dcm").read_bytes()).elements[dicom.PIXEL_DATA].value == pixels


def test_a_second_stream_behind_a_deflated_frame_is_an_error(tmp_path: Path, fails: Fails) -> None:
    packer = zlib.compressobj(wbits=-15)
    stream = packer.compress(bytes(64)) + packer.flush()
    image = dicom.Image([stream + stream], allocated=8, stored=8, syntax=oracle.DEFLATED_FRAMES)
    (tmp_path / "in.dcm").write_bytes(image.encode())
    assert "bytes follow the deflated frame" in fails(3, tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "explicit")


# --- systems that fail -------------------------------------------------------------------------------------------


def failing(number: int, after: int) -> Callable[..., bytes]:
    """Return an os.pread that fails from the call of this number on."""
    calls = 0
    really = os.pread

    def pread(fd: int, length: int, offset: int) -> bytes:
        nonlocal calls
        calls += 1
        if calls > after:
            raise OSError(number, os.strerror(number))
        return really(fd, length, offset)

    return pread


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file of more than is read at once."""
    path = tmp_path / "in.dcm"
    pixels = np.random.default_rng(3).integers(0, 65536, 400 * 400, np.uint16).tobytes()
    path.write_bytes(dicom.Image(pixels, rows=400, columns=400).encode())
    return path


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENXIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("target", ["implicit", "jpegls", "explicit"])
def test_a_file_that_cannot_be_read_is_one_line(
    target: str, after: int, number: int, big: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pread", failing(number, after))
    # A copy is not read but by the system, from the second read on.
    force = ["--force"] if target == "explicit" else []
    line = fails(3, big, big.with_name("out.dcm"), "--to", target, *force)
    assert f"it cannot be read: {os.strerror(number)}" in line


@pytest.mark.parametrize("what", ["fstat", "pread"])
def test_a_file_that_fails_when_it_is_opened_leaves_no_descriptor(
    what: str, big: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    opened, closed = [], []
    really_open, really_close = os.open, os.close
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", lambda *a: opened.append(really_open(*a)) or opened[-1])
        patched.setattr(os, "close", lambda fd: closed.append(fd) or really_close(fd))
        patched.setattr(os, what, fail)
        with pytest.raises(InputError, match="it cannot be read") as caught:
            open_bytes(str(big))
    assert caught.value.code == "E_UNREADABLE"
    assert closed == opened


PLACES = [
    "dcmtx.transcoding.running.peek",
    "dcmtx.transcoding.conversion.open_source",
    "dcmtx.transcoding.conversion.planner",
    "dcmtx.transcoding.writer.Writer.write",
]


@pytest.mark.parametrize("place", PLACES)
def test_memory_that_is_exhausted_anywhere_is_one_line(
    place: str, big: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(place, exhausted)
    line = fails(6, big, big.with_name("out.dcm"), "--to", "jpegls")
    assert "there is not enough memory" in line
    with pytest.raises(CodecError) as caught:
        transcode(big, big.with_name("out.dcm"), to="jpegls")
    assert (caught.value.code, caught.value.path) == ("E_MEMORY", str(big))


@pytest.mark.parametrize("place", PLACES)
def test_whatever_the_system_says_anywhere_is_one_line(
    place: str, big: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(place, fail)
    ran = command(big, big.with_name("out.dcm"), "--to", "jpegls")
    assert ran.status == 3
    assert f"the system failed: {os.strerror(errno.EMFILE)}" in ran.line
    with pytest.raises(DcmtxError):
        run(job(big, big.with_name("out.dcm"), to="jpegls"))
    assert os.listdir(big.parent) == [big.name]
