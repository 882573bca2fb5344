"""Files beyond 4 GiB, made of holes: lengths and offsets at the borders of 32 bits, and memory that stays bounded."""

from __future__ import annotations

import collections
import errno
import gc
import os
import re
import struct
import threading
import time
import tracemalloc
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import images
import numpy as np
import pydicom
import pytest
import works
from conftest import PATIENCE, Ran

from dcmtx import transcode
from dcmtx.errors import CodecError, InputError, RefusedError, UnsupportedError
from dcmtx.pixel import encapsulation
from dcmtx.pixel.format import PixelFormat
from dcmtx.place import places
from dcmtx.place.atomic import AtomicSink
from dcmtx.place.bytes import FileBytes, open_bytes
from dcmtx.planning.formats import worst_case
from dcmtx.policy import OffsetTable
from dcmtx.transcoding import engine
from dcmtx.transcoding.encoded import EncodedFrame
from dcmtx.transcoding.frame import FrameCoder
from dcmtx.transcoding.job import Status
from dcmtx.transcoding.source import Opened, open_source

Command = Callable[..., Ran]
Fails = Callable[..., str]
Opens = Callable[[Path], Opened]

DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
GIB = 1 << 30
LARGEST = 0xFFFFFFFE
OFFSETS, OFFSET_LENGTHS = 0x7FE00001, 0x7FE00002
# What a file of holes may take of the disk.
LITTLE = 8 << 20


# --- files of holes ----------------------------------------------------------------------------------------------


class Hollow:
    """A file that is written with holes in it, which take no room; `holes` are where they start and end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.holes: list[tuple[int, int]] = []
        path.write_bytes(b"")

    def add(self, part: bytes | int) -> None:
        """Append bytes, or a hole of so many."""
        if isinstance(part, int):
            self.holes.append((self.size, self.size + part))
            self.size += part
            os.truncate(self.path, self.size)
            return
        with self.path.open("r+b") as file:
            file.seek(self.size)
            file.write(part)
        self.size += len(part)

    @property
    def on_disk(self) -> int:
        """How many bytes of the disk it takes."""
        return self.path.stat().st_blocks * 512


def head(image: dicom.Image) -> bytes:
    """Return a file up to its pixel element."""
    return dicom.file(image.elements().values(), image.syntax, meta=image.meta)


def native(path: Path, length: int, *, behind: bytes = b"", claim: int | None = None, **attributes: Any) -> Hollow:
    """Make a native file whose Pixel Data is one hole."""
    image = dicom.Image(b"", **attributes)
    file = Hollow(path)
    vr = "OB" if image.allocated <= 8 else "OW"
    file.add(head(image) + dicom.header(dicom.PIXEL_DATA, vr, length if claim is None else claim, image.syntax))
    file.add(length)
    file.add(behind)
    return file


def encapsulated(path: Path, fragments: list[bytes | int], *, table: bytes = b"", **attributes: Any) -> Hollow:
    """Make an encapsulated file; a number stands for a fragment that is a hole."""
    file = Hollow(path)
    file.add(head(dicom.Image(b"", **attributes)) + dicom.header(dicom.PIXEL_DATA, "OB", dicom.UNDEFINED))
    file.add(dicom.header(0xFFFEE000, "", len(table)) + table)
    for fragment in fragments:
        hole = isinstance(fragment, int)
        file.add(dicom.header(0xFFFEE000, "", fragment if hole else len(fragment)))
        file.add(fragment)
    file.add(dicom.header(0xFFFEE0DD, "", 0))
    return file


def quick(path: Path, fragments: list[bytes | int], **attributes: Any) -> None:
    """Make an encapsulated file of many fragments, the holes among them behind one another, in one go."""
    with path.open("wb") as file:
        file.write(head(dicom.Image(b"", **attributes)) + dicom.header(dicom.PIXEL_DATA, "OB", dicom.UNDEFINED))
        file.write(dicom.header(0xFFFEE000, "", 0))
        for fragment in fragments:
            hole = isinstance(fragment, int)
            file.write(dicom.header(0xFFFEE000, "", fragment if hole else len(fragment)))
            if hole:
                file.seek(fragment, os.SEEK_CUR)
            else:
                file.write(fragment)
        file.write(dicom.header(0xFFFEE0DD, "", 0))


def starts(fragments: list[bytes | int]) -> list[int]:
    """Return where the items of these fragments start, counted from the first."""
    sizes = [8 + (part if isinstance(part, int) else len(part)) for part in fragments]
    return [sum(sizes[:number]) for number in range(len(sizes))]


def extended(offsets: list[int], lengths: list[int]) -> dict[int, bytes]:
    """Return the elements of an Extended Offset Table."""
    return {
        OFFSETS: dicom.element(OFFSETS, "OV", offsets),
        OFFSET_LENGTHS: dicom.element(OFFSET_LENGTHS, "OV", lengths),
    }


def even(stream: bytes) -> bytes:
    return stream + b"\0" * (len(stream) % 2)


@pytest.fixture(autouse=True)
def _holes(tmp_path: Path) -> None:
    """Skip where the file system makes no holes."""
    file = Hollow(tmp_path / "hole")
    file.add(64 << 20)
    takes = file.on_disk
    file.path.unlink()
    if takes > LITTLE:
        pytest.skip("this file system has no sparse files")


@pytest.fixture
def opened() -> Iterator[Opens]:
    """Open a file as a data set and its frames; raise what is wrong with these."""
    files: list[FileBytes] = []

    def run(path: Path) -> Opened:
        file = open_bytes(str(path))
        files.append(file)
        source = open_source(file)
        source.frames.check()
        return source

    yield run
    for file in files:
        file.close()


class Reads:
    """Counts what is read of files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = self.bytes = 0
        real = os.pread

        def pread(fd: int, length: int, offset: int) -> bytes:
            data = real(fd, length, offset)
            self.calls += 1
            self.bytes += len(data)
            return data

        monkeypatch.setattr(os, "pread", pread)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


# --- files of holes, written -------------------------------------------------------------------------------------


class Hole:
    """So many zeros, as bytes that are only counted."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        # All of them are alike.
        return iter((0,))

    def __add__(self, other: bytes) -> Hole:
        assert not other
        return self


class HollowSink(AtomicSink):
    """An AtomicSink that leaves holes where it is given them, and does not ask whether the disk has room for those."""

    needed: list[int]

    def write(self, data: Any) -> None:
        if not isinstance(data, Hole):
            super().write(data)
            return
        self._file.flush()
        os.truncate(self._file.fileno(), os.fstat(self._file.fileno()).st_size + len(data))
        self._file.seek(0, os.SEEK_END)
        self.bytes += len(data)

    def reserve(self, length: int) -> None:
        self.needed.append(length)


@pytest.fixture
def hollow(monkeypatch: pytest.MonkeyPatch) -> Callable[[Hollow], type[HollowSink]]:
    """Have the holes of a file read as holes and written as holes, so that GiB take no time."""

    def run(file: Hollow) -> type[HollowSink]:
        real = FileBytes.pread

        def pread(self: FileBytes, length: int, offset: int) -> Any:
            if (
                self.size == file.size
                and length > 0
                and any(start <= offset and offset + length <= end for start, end in file.holes)
            ):
                return Hole(length)
            return real(self, length, offset)

        monkeypatch.setattr(FileBytes, "pread", pread)
        monkeypatch.setattr(places, "AtomicSink", HollowSink)
        monkeypatch.setattr(HollowSink, "needed", [], raising=False)
        return HollowSink

    return run


class Pixels:
    """Where the pixel element of a file is, by walking over the elements before it, and what stands behind it."""

    def __init__(self, path: Path, syntax: str) -> None:
        with path.open("rb") as file:
            data = file.read(1 << 20)
        position = 132 + 12 + int.from_bytes(data[140:144], "little")
        encoding = dicom.IMPLICIT if syntax == dicom.IMPLICIT else dicom.EXPLICIT
        while True:
            tag, self.vr, self.length, self.start = dicom._header(data, position, encoding)
            if tag == dicom.PIXEL_DATA:
                break
            position = self.start + self.length
        self.syntax = data[132:position]
        self.path = path

    def at(self, offset: int, length: int) -> bytes:
        """Return bytes of the file."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    @property
    def behind(self) -> bytes:
        """What follows native pixels."""
        return self.at(self.start + self.length, 1 << 20)


# --- native sources ----------------------------------------------------------------------------------------------

# 512x512x16: 8191 frames are 2**32 - 2**19 bytes.
CT = {"rows": 512, "columns": 512, "frames": 8191}
CT_FRAME = 512 * 512 * 2
CT_BYTES = 8191 * CT_FRAME
# Images whose native Pixel Data is as long as can be, and one byte longer: 1-bit pixels give the freedom for that.
AT_MOST = {"rows": 61825, "columns": 5243, "frames": 106, "allocated": 1, "stored": 1}
TOO_LONG = {"rows": 65535, "columns": 8, "frames": 65537, "allocated": 1, "stored": 1}


def test_the_images_of_these_tests_are_at_the_border() -> None:
    bits = [image["rows"] * image["columns"] * image["frames"] for image in (AT_MOST, TOO_LONG)]
    assert [(one + 7) // 8 for one in bits] == [LARGEST, LARGEST + 1]
    assert CT_BYTES < LARGEST < CT_BYTES + CT_FRAME


SYNTAXES = {"implicit": dicom.IMPLICIT, "explicit": dicom.EXPLICIT}


def behind(syntax: str) -> bytes:
    """Return elements that stand behind the pixels."""
    creator = dicom.element(0x7FE10010, "LO", "BEHIND THE PIXELS", syntax)
    return creator + dicom.element(0x7FE11001, "UN", b"\4\3\2\1", syntax)


BOTH = pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.IMPLICIT], ids=["Explicit", "Implicit"])
LENGTHS = pytest.mark.parametrize(
    ("attributes", "length"),
    [(CT, CT_BYTES), (CT, CT_BYTES + CT_FRAME // 2), (AT_MOST, LARGEST)],
    ids=["just under the border", "with padding behind the frames", "as long as can be"],
)


@BOTH
@LENGTHS
def test_a_native_source_of_4_gib_is_read_at_both_ends(
    attributes: dict[str, int], length: int, syntax: str, tmp_path: Path, opened: Opens, reads: Reads
) -> None:
    file = native(tmp_path / "in.dcm", length, syntax=syntax, behind=behind(syntax), **attributes)
    source = opened(file.path)
    assert source.frames.pixel is not None
    assert source.frames.pixel.length == length
    assert source.dataset.header.text(0x7FE10010) == "BEHIND THE PIXELS"
    assert source.dataset.header.value(0x7FE11001) == b"\4\3\2\1"
    assert reads.bytes < LITTLE
    assert file.on_disk < LITTLE


@BOTH
def test_the_last_frame_of_a_native_source_of_4_gib(syntax: str, tmp_path: Path, opened: Opens, reads: Reads) -> None:
    file = native(tmp_path / "in.dcm", CT_BYTES, syntax=syntax, **CT)
    with file.path.open("r+b") as raw:
        raw.seek(-CT_FRAME, os.SEEK_END)
        raw.write(b"first")
        raw.seek(-4, os.SEEK_END)
        raw.write(b"last")
    source = opened(file.path)
    last = source.frames.frame(8190)
    assert (len(last), last[:5], last[-4:]) == (CT_FRAME, b"first", b"last")
    assert not any(source.frames.frame(8189))
    assert reads.bytes < LITTLE


@LENGTHS
@pytest.mark.parametrize("way", [(dicom.EXPLICIT, "implicit"), (dicom.IMPLICIT, "explicit")], ids=lambda way: way[1])
def test_native_pixels_of_4_gib_are_carried(
    way: tuple[str, str], attributes: dict[str, int], length: int, tmp_path: Path, hollow: Any
) -> None:
    syntax, target = way
    file = native(tmp_path / "in.dcm", length, syntax=syntax, behind=behind(syntax), **attributes)
    sink = hollow(file)
    dst = tmp_path / "out.dcm"
    outcome = transcode(file.path, dst, to=target)
    pixels = LARGEST if length == LARGEST else CT_BYTES
    assert sink.needed == [pixels]
    written = Pixels(dst, SYNTAXES[target])
    assert written.length == pixels
    assert written.behind == behind(SYNTAXES[target])
    assert outcome.bytes_out == dst.stat().st_size > pixels
    assert dst.stat().st_blocks * 512 < LITTLE


def test_a_native_source_of_which_only_the_end_is_missing_names_the_frame(tmp_path: Path, fails: Fails) -> None:
    file = native(tmp_path / "in.dcm", CT_BYTES, **CT)
    os.truncate(file.path, file.size - 2 * CT_FRAME - 1)
    # All that is in the directory would be read to be compared.
    with pytest.raises(InputError, match="it ends inside frame 8189 of 8191; the file is truncated") as caught:
        transcode(file.path, tmp_path / "out.dcm", to="rle")
    assert caught.value.code == "E_TRUNCATED"
    assert os.listdir(tmp_path) == ["in.dcm"]


def test_a_native_source_whose_length_was_cut_to_32_bits(tmp_path: Path) -> None:
    length = 8193 * CT_FRAME
    file = native(tmp_path / "in.dcm", length, claim=length & 0xFFFFFFFF, **(CT | {"frames": 8193}))
    with file.path.open("r+b") as raw:
        raw.seek(-length + CT_FRAME, os.SEEK_END)
        raw.write(bytes(8) + b"not an element")
    with pytest.raises(InputError) as caught:
        transcode(file.path, tmp_path / "out.dcm", to="rle")
    assert caught.value.code == "E_TRUNCATED"
    assert os.listdir(tmp_path) == ["in.dcm"]


# --- native targets ----------------------------------------------------------------------------------------------


def zeros(rows: int, columns: int, dtype: str) -> bytes:
    """Return a frame of zeros as JPEG-LS, some 100 bytes."""
    return even(bytes(imagecodecs.jpegls_encode(np.zeros((rows, columns), dtype))))


EIGHT = {"allocated": 8, "stored": 8}
SOURCES: dict[str, tuple[dict[str, Any], list[bytes | int]]] = {
    "8192 frames of JPEG-LS": (
        {"rows": 512, "columns": 512, "frames": 8192, "syntax": dicom.JPEGLS}, [zeros(512, 512, "<u2")] * 8192,
    ),
    "two frames of JPEG-LS, 65535 by 65535": (
        {"rows": 65535, "columns": 65535, "frames": 2, "syntax": dicom.JPEGLS, **EIGHT},
        # The header of one is enough: nothing is decoded.
        [even(zeros(16, 16, "u1").replace(b"\0\x10\0\x10", b"\xff\xff\xff\xff", 1))] * 2,
    ),
    "RLE of which only the first frame is more than a hole": (
        {"rows": 4096, "columns": 4096, "frames": 128, "syntax": dicom.RLE},
        [struct.pack("<16I", 2, 64, 66, *[0] * 13) + bytes(4), *[1 << 19] * 127],
    ),
    "one bit per pixel, one byte too long": ({"syntax": DEFLATED_FRAMES, **TOO_LONG}, [b"\3\0"] * 65537),
}  # fmt: skip
NATIVE_TARGETS = ("explicit", "implicit", "big-endian", "deflated", "raw")


@pytest.fixture(scope="module", params=SOURCES, ids=list(SOURCES))
def too_long(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose pixels are more than native Pixel Data can hold."""
    attributes, fragments = SOURCES[request.param]
    path = tmp_path_factory.mktemp("long") / "in.dcm"
    quick(path, fragments, **attributes)
    return path


@pytest.mark.parametrize("target", NATIVE_TARGETS)
def test_what_native_pixel_data_cannot_hold_is_refused_before_any_work(
    target: str, too_long: Path, tmp_path: Path, fails: Fails, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "AtomicSink", None)
    monkeypatch.setattr("dcmtx.transcoding.conversion.Writer", None)
    line = fails(5, too_long, tmp_path / "out.dcm", "--to", target)
    assert f"native Pixel Data at most {LARGEST} (PS3.5 8.1.1)" in line
    assert "use --to encapsulated or deflated-frames" in line
    assert int(re.search(r"its pixels take (\d+) bytes", line)[1]) > LARGEST
    assert reads.bytes < LITTLE


@pytest.mark.parametrize("target", ["explicit", "big-endian", "deflated"])
def test_native_pixels_that_grow_beyond_what_native_pixel_data_can_hold(
    target: str, tmp_path: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Shared between an odd number of columns, chroma must be expanded: from 2 bytes per pixel to 3.
    image = {"rows": 512, "columns": 511, "frames": 6000, "samples": 3, "photometric": "YBR_FULL_422", **EIGHT}
    native(tmp_path / "in.dcm", 512 * 511 * 2 * 6000, syntax=dicom.IMPLICIT, **image)
    monkeypatch.setattr(places, "AtomicSink", None)
    with pytest.raises(RefusedError, match=f"its pixels take {512 * 511 * 3 * 6000} bytes") as caught:
        transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to=target)
    assert caught.value.code == "E_SIZE"
    assert reads.bytes < LITTLE


@pytest.mark.parametrize("target", ["encapsulated", "deflated-frames"])
def test_what_the_refusal_names_could_hold_it(target: str, too_long: Path, tmp_path: Path) -> None:
    outcome = transcode(too_long, tmp_path / "out.dcm", to=target, force=True, dry_run=True)
    assert outcome.status is Status.PLANNED
    assert outcome.plan is not None
    assert outcome.plan.table is OffsetTable.EXTENDED


@pytest.mark.parametrize("target", NATIVE_TARGETS)
def test_what_just_fits_native_pixel_data_is_planned(target: str, tmp_path: Path, opened: Opens) -> None:
    quick(tmp_path / "in.dcm", [b"\3\0"] * 106, syntax=DEFLATED_FRAMES, **AT_MOST)
    outcome = transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to=target, dry_run=True)
    assert outcome.plan is not None
    assert outcome.plan.target_format.native_bytes == LARGEST


def test_a_fallback_takes_what_native_pixel_data_cannot_hold(tmp_path: Path) -> None:
    attributes, fragments = SOURCES["8192 frames of JPEG-LS"]
    quick(tmp_path / "in.dcm", fragments, **attributes)
    outcome = transcode(
        tmp_path / "in.dcm", tmp_path / "out.dcm", to="explicit", fallback=["deflated-frames"], dry_run=True
    )
    assert outcome.syntax_out == DEFLATED_FRAMES
    assert any("refused" in note.text and "fell back to deflated-frames" in note.text for note in outcome.notes)


# --- which table -------------------------------------------------------------------------------------------------

COMPRESSED = ("rle", "jpegls", "j2k", "htj2k", "jpeg", "jpegxl", "deflated-frames", "encapsulated")


@pytest.mark.parametrize("target", COMPRESSED)
def test_where_frames_may_not_fit_32_bits_the_extended_table_is_planned(
    target: str, tmp_path: Path, reads: Reads
) -> None:
    native(tmp_path / "in.dcm", CT_BYTES, **CT)
    outcome = transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to=target, dry_run=True)
    assert outcome.plan is not None
    assert outcome.plan.table is OffsetTable.EXTENDED
    assert {tag: outcome.plan.edits[tag].width for tag in (OFFSETS, OFFSET_LENGTHS)} == {
        OFFSETS: 8 * 8191,
        OFFSET_LENGTHS: 8 * 8191,
    }
    assert reads.bytes < LITTLE


def test_the_table_asked_for_is_planned_all_the_same(tmp_path: Path) -> None:
    native(tmp_path / "in.dcm", CT_BYTES, **CT)
    for table in ("basic", "empty", "extended"):
        outcome = transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="jpegls", offset_table=table, dry_run=True)
        assert outcome.plan is not None
        assert outcome.plan.table.value == table


def frames_of(fmt: images.Format, rows: int, columns: int) -> list[images.Words]:
    """Return frames that are hard to code: noise, and extremes at random and in columns."""
    stripes = np.empty_like(images.make_frames(fmt, rows, columns)[0])
    stripes[:, 0::2], stripes[:, 1::2] = fmt.low, fmt.high
    return [*images.make_frames(fmt, rows, columns, 2), stripes]


GREY16, GREY8 = images.Format("MONOCHROME2", 16, 16), images.Format("MONOCHROME2", 8, 8)
GREY32, BITS = images.Format("MONOCHROME2", 32, 32), images.Format("MONOCHROME2", 1, 1)
COLOUR = images.Format("RGB", 8, 8)
EVERY: dict[str, dict[str, Any]] = {target: {"to": target} for target in COMPRESSED} | {
    "jpeg-lossless-p14 by predictor 7": {"to": "jpeg-lossless-p14", "predictor": 7},
    "j2k by openjpeg": {"to": "j2k", "encoder": "pylibjpeg-openjpeg"},
    "rle by pylibjpeg": {"to": "rle", "encoder": "pylibjpeg-rle"},
    "jpegls by pyjpegls": {"to": "jpegls", "encoder": "pyjpegls"},
    "htj2k in tiles": {"to": "htj2k", "tile": 16},
    "jpeg with hardly any loss": {"to": "jpeg", "lossy": True, "quality": 100, "subsampling": "444"},
    "j2k with hardly any loss": {"to": "j2k", "lossy": True, "psnr": 120},
    "htj2k with hardly any loss": {"to": "htj2k", "lossy": True, "psnr": 120},
    "jpegxl with hardly any loss": {"to": "jpegxl", "lossy": True, "quality": 100},
    "jpegls within 1": {"to": "jpegls", "lossy": True, "near": 1},
}
FORMATS = (GREY16, GREY8, GREY32, COLOUR, BITS)
SIZES = ((64, 64), (512, 3), (3, 512), (256, 1), (200, 8), (512, 512))


@pytest.mark.parametrize("options", EVERY.values(), ids=EVERY)
def test_no_encoder_makes_more_than_the_worst_case(options: dict[str, Any], tmp_path: Path) -> None:
    src, dst = tmp_path / "in.dcm", tmp_path / "out.dcm"
    done = 0
    for fmt in FORMATS:
        for rows, columns in SIZES[5:] if fmt is BITS or "tile" in options else SIZES[:5]:
            src.write_bytes(images.image(fmt, frames_of(fmt, rows, columns)).encode())
            try:
                transcode(src, dst, one_bit="allow", verify=False, workers=1, **options)
            except (RefusedError, UnsupportedError, CodecError):
                continue
            found = pixel_format(fmt, rows, columns, 1)
            largest = max(map(len, dicom.walk(dst.read_bytes()).fragments))
            assert 8 + largest <= worst_case(found, options.get("tile")), (fmt, rows, columns)
            done += 1
    assert done


def pixel_format(fmt: images.Format, rows: int, columns: int, frames: int) -> PixelFormat:
    return PixelFormat(
        rows,
        columns,
        fmt.samples,
        photometric=fmt.photometric,
        allocated=fmt.allocated,
        stored=fmt.stored,
        high_bit=fmt.stored - 1,
        signed=fmt.signed,
        planar=0,
        frames=frames,
    )


SMALL = images.make_frames(GREY16, 40, 50, 3)


@pytest.mark.parametrize("target", COMPRESSED)
@pytest.mark.parametrize("over", [0, 1], ids=["at the limit", "beyond it"])
def test_the_table_changes_at_the_limit_and_nothing_else_does(
    over: int, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src = tmp_path / "in.dcm"
    src.write_bytes(images.image(GREY16, SMALL).encode())
    transcode(src, tmp_path / "small.dcm", to=target)
    limit = worst_case(pixel_format(GREY16, 40, 50, 3)) + 3 * 8 - over
    monkeypatch.setattr(encapsulation, "LARGEST_OFFSET", limit)
    transcode(src, tmp_path / "large.dcm", to=target)
    small, large = (dicom.walk((tmp_path / name).read_bytes()) for name in ("small.dcm", "large.dcm"))
    assert large.fragments == small.fragments
    at = starts(large.fragments)
    assert small.offset_table == at
    if not over:
        assert (tmp_path / "large.dcm").read_bytes() == (tmp_path / "small.dcm").read_bytes()
        return
    assert large.offset_table == []
    assert struct.unpack("<3Q", large.elements.pop(OFFSETS).value) == tuple(at)
    assert struct.unpack("<3Q", large.elements.pop(OFFSET_LENGTHS).value) == tuple(map(len, large.fragments))
    del large.elements[dicom.PIXEL_DATA], small.elements[dicom.PIXEL_DATA]
    assert large.elements == small.elements
    # pydicom reads frames by the tables alone.
    dataset = pydicom.dcmread(tmp_path / "large.dcm")
    assert list(dataset.ExtendedOffsetTable) == list(struct.pack("<3Q", *at))


@pytest.mark.parametrize("over", [0, 1], ids=["at the limit", "beyond it"])
@pytest.mark.parametrize("bulk", [0, 9000, 60_000], ids=["small markers", "as much in markers", "more in markers"])
def test_recompressed_jpeg_reckons_with_all_that_the_streams_hold(
    bulk: int, over: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Markers hold whatever somebody put there, which has nothing to do with the size of the image."""
    frames = images.make_frames(GREY8, 40, 50, 3)
    noise = np.random.default_rng(3).integers(0, 256, bulk, "u1").tobytes()
    comment = struct.pack(">BBH", 0xFF, 0xFE, 2 + bulk) + noise
    streams = [bytes(imagecodecs.jpeg8_encode(frame, level=70)) for frame in frames]
    streams = [stream[:2] + comment + stream[2:] for stream in streams]
    image = images.image(GREY8, frames, syntax=dicom.JPEG_BASELINE)
    image.pixels = streams
    (tmp_path / "in.dcm").write_bytes(image.encode())
    coded = sum(len(even(stream)) for stream in streams)
    reckoned = max(worst_case(pixel_format(GREY8, 40, 50, 3)), 2 * coded)
    monkeypatch.setattr(encapsulation, "LARGEST_OFFSET", reckoned + 3 * 8 - over)
    transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="jpegxl-jpeg")
    walked = dicom.walk((tmp_path / "out.dcm").read_bytes())
    assert (OFFSETS in walked.elements) == bool(over)
    assert sum(map(len, walked.fragments)) < reckoned


# --- offsets beyond 32 bits --------------------------------------------------------------------------------------

ROWS, COLUMNS = 24, 40
SMALL_FRAMES = [np.random.default_rng(number).integers(0, 4096, (ROWS, COLUMNS), np.uint16) for number in range(4)]
LAST = even(bytes(imagecodecs.jpegls_encode(SMALL_FRAMES[0])))
FIRST = even(bytes(imagecodecs.jpegls_encode(SMALL_FRAMES[1])))
TINY = {"rows": ROWS, "columns": COLUMNS, "syntax": dicom.JPEGLS}


def table(offsets: list[int]) -> bytes:
    """Return a Basic Offset Table, of which entries beyond 32 bits are cut, as by writers that do not look."""
    return struct.pack(f"<{len(offsets)}I", *[offset & 0xFFFFFFFF for offset in offsets])


FAR: list[bytes | int] = [FIRST, 3 * GIB, LARGEST, 2, 2 * GIB, LAST]
AT = starts(FAR)
SIZES_OF_FAR = [part if isinstance(part, int) else len(part) for part in FAR]
TABLES: dict[str, tuple[dict[int, bytes], list[int], str]] = {
    "an extended table": (extended(AT, SIZES_OF_FAR), [], ""),
    "an extended table cut to 32 bits": (extended([at & 0xFFFFFFFF for at in AT], SIZES_OF_FAR), [], "rebuilt"),
    "a basic table cut to 32 bits": ({}, AT, "rebuilt"),
    "no table": ({}, [], ""),
}


@pytest.mark.parametrize(("before", "basic", "note"), TABLES.values(), ids=list(TABLES))
def test_a_frame_far_beyond_4_gib(
    before: dict[int, bytes], basic: list[int], note: str, tmp_path: Path, opened: Opens, reads: Reads
) -> None:
    file = encapsulated(tmp_path / "in.dcm", FAR, table=table(basic), before=before, frames=len(FAR), **TINY)
    source = opened(file.path)
    assert source.frames.fragments is not None
    assert source.frames.fragments.offset(5) > 9 * GIB
    assert [source.frames.frame(number) for number in (0, 3, 5)] == [FIRST, b"\0\0", LAST]
    assert reads.bytes < LITTLE
    assert [note in one.text for one in (*source.dataset.notes, *source.frames.notes)] == [True] * bool(note)
    assert file.on_disk < LITTLE


# The second frame starts where a Basic Offset Table can still say, or just cannot.
@pytest.mark.parametrize(
    ("length", "offset"),
    [(LARGEST - 8, LARGEST), (LARGEST - 6, 1 << 32), (LARGEST, (1 << 32) + 6)],
    ids=["the last offset of 32 bits", "the first beyond", "behind the longest fragment"],
)
@pytest.mark.parametrize("split", [False, True], ids=["a fragment per frame", "two fragments per frame"])
def test_a_basic_table_at_the_border(
    split: bool, length: int, offset: int, tmp_path: Path, opened: Opens, reads: Reads
) -> None:
    half = len(LAST) // 4 * 2
    fragments: list[bytes | int] = [length, LAST] if not split else [FIRST, length - 8 - len(FIRST), LAST[:half]]
    if split:
        # The hole ends the first codestream: only then does another begin behind it.
        fragments[1] = int(fragments[1])
        fragments.append(LAST[half:])
    at = [0, starts(fragments)[2 if split else 1]]
    assert at[1] == offset
    file = encapsulated(tmp_path / "in.dcm", fragments, table=table(at), frames=2, **TINY)
    if split:
        with file.path.open("r+b") as raw:
            raw.seek(file.holes[0][1] - 2)
            raw.write(b"\xff\xd9")
    source = opened(file.path)
    assert source.frames.frame(1) == LAST
    assert [("Basic Offset Table" in note.text) for note in (*source.dataset.notes, *source.frames.notes)] == [True] * (
        offset >= 1 << 32
    )
    assert reads.bytes < LITTLE


# --- offsets beyond 32 bits, written -----------------------------------------------------------------------------

RLE_FRAME = struct.pack("<16I", 2, 64, 64 + 80, *[0] * 13) + bytes([39, *[7] * 40] * 2)[:80] * 2
WIDE: list[bytes | int] = [RLE_FRAME, 3 * GIB, LARGEST, 2, 2 * GIB, RLE_FRAME]
WIDE_AT = starts(WIDE)
WIDE_SIZES = [part if isinstance(part, int) else len(part) for part in WIDE]


def wide(path: Path) -> Hollow:
    """Make a file of RLE whose fragments are far longer than its frames."""
    return encapsulated(path, WIDE, rows=2, columns=40, frames=len(WIDE), syntax=dicom.RLE)


@pytest.mark.parametrize(
    "kind",
    [
        "extended",
        "empty",
        "auto",
    ],
)
def test_fragments_of_many_gib_are_wrapped_anew(kind: str, tmp_path: Path, hollow: Any) -> None:
    file = wide(tmp_path / "in.dcm")
    hollow(file)
    dst = tmp_path / "out.dcm"
    options = {"offset_table": kind} if kind != "auto" else {"uid": "new"}
    transcode(file.path, dst, to="rle", **options)
    pixels = Pixels(dst, dicom.EXPLICIT)
    assert pixels.at(pixels.start, 8) == dicom.header(0xFFFEE000, "", 0)
    first = pixels.start + 8
    for offset, size, part in zip(WIDE_AT, WIDE_SIZES, WIDE, strict=True):
        assert pixels.at(first + offset, 8) == dicom.header(0xFFFEE000, "", size)
        if isinstance(part, bytes):
            assert pixels.at(first + offset + 8, size) == part
    assert pixels.at(first + WIDE_AT[-1] + 8 + WIDE_SIZES[-1], 20) == dicom.header(0xFFFEE0DD, "", 0)
    if kind != "empty":
        assert dicom.element(OFFSETS, "OV", WIDE_AT) in pixels.syntax
        assert dicom.element(OFFSET_LENGTHS, "OV", WIDE_SIZES) in pixels.syntax
    assert dst.stat().st_blocks * 512 < LITTLE


def test_a_basic_table_that_cannot_hold_an_offset_names_the_frame(tmp_path: Path, hollow: Any) -> None:
    file = wide(tmp_path / "in.dcm")
    hollow(file)
    with pytest.raises(RefusedError, match="use --offset-table extended") as caught:
        transcode(file.path, tmp_path / "out.dcm", to="rle", offset_table="basic")
    assert (caught.value.code, caught.value.frame) == ("E_SIZE", 3)
    assert os.listdir(tmp_path) == ["in.dcm"]


# --- the index of fragments --------------------------------------------------------------------------------------


class Tiles:
    """Pixel Data of so many fragments of one length, made up as it is read; counts what is."""

    def __init__(self, count: int, length: int) -> None:
        self.count, self.step = count, 8 + length
        self.header = dicom.header(0xFFFEE000, "", length)
        self.size = 8 + count * self.step + 8
        self.calls = self.bytes = 0

    def pread(self, length: int, offset: int) -> bytes:
        length = min(length, self.size - offset)
        self.calls += 1
        self.bytes += length
        out = bytearray(length)
        for number in range(max(0, (offset - 16) // self.step), (offset + length - 8) // self.step + 1):
            self._put(out, offset, 8 + number * self.step, self.header)
        self._put(out, offset, 0, dicom.header(0xFFFEE000, "", 0))
        self._put(out, offset, self.size - 8, dicom.header(0xFFFEE0DD, "", 0))
        return bytes(out)

    def _put(self, out: bytearray, offset: int, at: int, data: bytes) -> None:
        for index, byte in enumerate(data, at - offset):
            if 0 <= index < len(out):
                out[index] = byte


@pytest.mark.parametrize(
    ("length", "count"),
    [
        (20_000, 10_000),
        (60_000, 3_000),
        (70_000, 100_000),
        (100, 10_000),
    ],
)
def test_the_index_of_fragments_is_built_from_their_headers(length: int, count: int) -> None:
    tiles = Tiles(count, length)
    fragments = encapsulation.read_fragments(tiles.pread, 0, tiles.size)
    assert len(fragments.values) == count
    assert set(fragments.lengths) == {length}
    assert fragments.end == tiles.size
    # What is not a header costs less to be read than to be gone around only where it is little.
    assert tiles.bytes <= count * (8 + min(length, 4096)) + (1 << 17)
    assert tiles.calls <= (count if length > 1000 else count // 100) + 10


# --- how much is held at once ------------------------------------------------------------------------------------


class Counted:
    """The data of a frame, which knows how many of its kind there are at the moment."""

    alive = 0
    most = 0
    # A collection of garbage may end one in the middle of beginning another.
    lock = threading.RLock()

    def __init__(self) -> None:
        with Counted.lock:
            Counted.alive += 1
            Counted.most = max(Counted.most, Counted.alive)

    def __del__(self) -> None:
        with Counted.lock:
            Counted.alive -= 1


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("slow", ["workers", "writer", "first frame"])
def test_frames_wait_for_one_another_in_a_bounded_window(slow: str, workers: int) -> None:
    Counted.alive = Counted.most = 0
    done = threading.Event()
    begun = []

    def work(number: int) -> EncodedFrame:
        begun.append(number)
        if slow == "workers":
            time.sleep(0.001)
        if slow == "first frame" and number == 0 and workers > 1:
            # All the others that may begin have begun before the first is done.
            done.wait(0.2)
        return EncodedFrame(Counted())

    seen = 0
    for _ in engine.run(works.Each(work), 200, workers, lambda: workers):
        if slow == "writer" and seen % 20 == 0:
            time.sleep(0.01)
        assert len(begun) <= seen + 2 * workers + 2
        seen += 1
    assert seen == 200
    # Those in the window, and the one that is being written.
    assert Counted.most <= (2 * workers + 2 if workers > 1 else 2)


def test_with_one_worker_nothing_runs_ahead() -> None:
    begun: list[int] = []

    def work(number: int) -> EncodedFrame:
        begun.append(number)
        return EncodedFrame(b"")

    for number, _ in enumerate(engine.run(works.Each(work), 50, 8, lambda: 1)):
        assert begun == list(range(number + 1))


class Frame(bytes):
    """The data of a frame, which counts from the moment that the frame is begun until nobody holds it."""

    under_way = 0
    most = 0
    lock = threading.RLock()

    @classmethod
    def begin(cls, change: int) -> None:
        with cls.lock:
            cls.under_way += change
            cls.most = max(cls.most, cls.under_way)

    def __del__(self) -> None:
        Frame.begin(-1)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have frames coded that wait until so many are under way, as threads."""

    def plant(together: int) -> None:
        Frame.under_way = Frame.most = 0
        # Those of one number each: of any others, the first could wait for those that wait for it.
        meet: dict[int, threading.Barrier] = collections.defaultdict(lambda: threading.Barrier(together))
        coded = FrameCoder.code

        def code(self: FrameCoder, numbers: list[int]) -> list[EncodedFrame]:
            Frame.begin(1)
            # The last ones may be fewer than that.
            if numbers[0] < len(self._frames) // together * together:
                with Frame.lock:
                    group = meet[numbers[0] // together]
                group.wait(PATIENCE)
            (done,) = coded(self, numbers)
            assert isinstance(done, EncodedFrame)
            return [done.replace(data=Frame(bytes(done.data)))]

        monkeypatch.setattr(FrameCoder, "code", code)
        # The last ones too, as a whole.
        monkeypatch.setattr(FrameCoder, "begin", None)

    return plant


# Source and target.
TARGETS = {"RLE": ("explicit", "rle"), "native": ("rle", "explicit"), "deflated": ("rle", "deflated")}


@pytest.mark.parametrize("together", [2, 3, 5])
@pytest.mark.parametrize(("source", "target"), TARGETS.values(), ids=list(TARGETS))
def test_of_large_frames_no_more_are_under_way_than_memory_allows(
    source: str, target: str, together: int, tmp_path: Path, planted: Callable[[int], None]
) -> None:
    count, side = 31, 64
    native(tmp_path / "explicit.dcm", side * side * 2 * count, rows=side, columns=side, frames=count)
    src = tmp_path / f"{source}.dcm"
    transcode(tmp_path / "explicit.dcm", src, to=source)
    # Encoded and decoded, given to the encoder, encoded and decoded again: five times 8 KiB of words, and half for
    # where they differ; RLE makes next to nothing of zeros.
    frame = side * side * 2 * 5 + side * side
    least = frame * 4 // 5
    # Less than two is two.
    memory = 1 if together == 2 else frame * together
    planted(together)
    transcode(src, tmp_path / "out.dcm", to=target, workers=8, memory=memory)
    assert together <= Frame.most <= (together if together == 2 else memory // least)
    assert Frame.under_way == 0


def test_small_frames_keep_every_worker_busy(tmp_path: Path, planted: Callable[[int], None]) -> None:
    native(tmp_path / "in.dcm", 64 * 64 * 2 * 64, rows=64, columns=64, frames=64)
    planted(4)
    transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="rle", workers=4)
    assert Frame.most >= 4


@pytest.mark.parametrize(
    ("allowed", "most", "memory", "frames"),
    [(8, 8, 1000, 10), (8, 8, 401, 4), (8, 8, 0, 2), (4, 8, 1000, 4), (4, 8, 700, 3), (2, 8, 1000, 2)],
)  # fmt: skip
def test_a_job_that_has_a_part_of_the_cores_has_that_part_of_the_memory(
    allowed: int, most: int, memory: int, frames: int
) -> None:
    begun: list[int] = []

    def work(number: int) -> EncodedFrame:
        begun.append(number)
        return EncodedFrame(b"")

    for seen, _ in enumerate(engine.run(works.Each(work), 50, most, lambda: allowed, memory=memory, frame_bytes=100)):
        # Those under way, and the one that is given out.
        assert len(begun) <= seen + frames
    assert len(begun) == 50


SIDE = 128
WAYS: dict[str, tuple[str, str]] = {
    "native to RLE": ("explicit", "rle"),
    "native to JPEG-LS": ("explicit", "jpegls"),
    "RLE to native": ("rle", "explicit"),
    "JPEG-LS to JPEG 2000": ("jpegls", "htj2k"),
    "native to Deflated": ("explicit", "deflated"),
    "Deflated to native": ("deflated", "implicit"),
    "RLE wrapped anew": ("rle", "rle"),
}


def peak(src: Path, dst: Path, target: str) -> int:
    """Return the most bytes that Python and NumPy had at once during a conversion."""
    transcode(src, dst, to=target, workers=1, offset_table="extended" if src.stem == target else "auto")
    gc.collect()
    tracemalloc.start()
    try:
        transcode(src, dst, to=target, workers=1, offset_table="extended" if src.stem == target else "auto")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("source", "target"), WAYS.values(), ids=list(WAYS))
def test_memory_does_not_grow_with_the_number_of_frames(source: str, target: str, tmp_path: Path) -> None:
    peaks = []
    for frames in (100, 400):
        native(tmp_path / "native.dcm", SIDE * SIDE * 2 * frames, rows=SIDE, columns=SIDE, frames=frames)
        src = tmp_path / f"{source}.dcm"
        transcode(tmp_path / "native.dcm", src, to=source, workers=1)
        peaks.append(peak(src, tmp_path / "out.dcm", target))
    # The index takes 16 bytes a fragment and 8 a frame, and once more as bytes; a frame is 32 KiB. With more workers
    # the peak depends on who is quicker; that they wait for one another is shown above.
    assert peaks[1] < peaks[0] + 300 * 128 + 2 * SIDE * SIDE * 2
    assert peaks[1] < 8 << 20


# --- room on the disk --------------------------------------------------------------------------------------------


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Have the file system of every directory say that it has so many bytes free; return the directories asked."""

    def run(free: int, blocks: int = 1 << 30) -> list[str]:
        asked = []

        def statvfs(path: str) -> Any:
            asked.append(path)
            return types.SimpleNamespace(f_bavail=free, f_frsize=1, f_bfree=free, f_blocks=blocks, f_bsize=1)

        monkeypatch.setattr(os, "statvfs", statvfs)
        return asked

    return run


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    """A file of JPEG-LS, 3 frames of 24 by 40."""
    path = tmp_path / "in.dcm"
    path.write_bytes(dicom.Image([LAST, FIRST, LAST], frames=3, **TINY).encode())
    return path


NATIVE_BYTES = 3 * ROWS * COLUMNS * 2


@pytest.mark.parametrize("target", ["explicit", "implicit", "big-endian"])
def test_a_native_expansion_that_has_no_room_is_refused_before_a_frame_is_decoded(
    target: str, coded: Path, tmp_path: Path, fails: Fails, room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = room(NATIVE_BYTES - 1)
    monkeypatch.setattr("dcmtx.transcoding.engine.run", None)
    line = fails(8, coded, tmp_path / "out.dcm", "--to", target)
    assert f"it needs {NATIVE_BYTES} bytes and the file system has {NATIVE_BYTES - 1}; free some space" in line
    assert asked == [str(tmp_path)]


def test_a_full_disk_is_noticed_before_a_frame_is_decoded(
    coded: Path, tmp_path: Path, fails: Fails, room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    room(0)
    monkeypatch.setattr("dcmtx.transcoding.engine.run", None)
    assert "the file system has 0" in fails(8, coded, tmp_path / "out.dcm", "--to", "explicit")


@pytest.mark.parametrize("target", ["explicit", "rle", "deflated", "jpegls"])
def test_where_there_is_room_or_the_file_system_does_not_tell_it_is_written(
    target: str, coded: Path, tmp_path: Path, command: Command, room: Any
) -> None:
    # What is compressed is not known before: only a native expansion is asked for.
    for free, blocks in ((NATIVE_BYTES, 1 << 30), (0, 0)) if target == "explicit" else ((1, 1 << 30),):
        room(free, blocks)
        assert command(coded, tmp_path / "out.dcm", "--to", target, "--force") == Ran(0, "", "")


def test_a_file_system_that_cannot_be_asked(
    coded: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def statvfs(path: str) -> Any:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "statvfs", statvfs)
    assert command(coded, tmp_path / "out.dcm", "--to", "explicit") == Ran(0, "", "")


def test_native_pixels_that_are_carried_need_room_too(tmp_path: Path, fails: Fails, room: Any) -> None:
    (tmp_path / "in.dcm").write_bytes(images.image(GREY16, SMALL).encode())
    room(100)
    assert "it needs 12000 bytes" in fails(8, tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "implicit")
