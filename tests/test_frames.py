"""Frames without an encoder: what a file shows, as other decoders have it and as Explicit VR Little Endian has it."""

from __future__ import annotations

import gc
import io
import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import dicom
import images
import numpy as np
import oracle
import pytest
from backends import usable
from conftest import ROOT
from images import Format

import dcmtx
from dcmtx import transcode
from dcmtx.codec.table import DECODERS
from dcmtx.errors import CodecError, InputError, RefusedError, UnsupportedError, UsageError
from dcmtx.pixel.format import PixelFormat

TESTDATA = sorted(path.stem for path in (ROOT / "testdata").glob("*.dcm") if path.stem != "sr-text")
PIXELS = (np.arange(3 * 40 * 48, dtype="<u2") * 2503 % 4096).reshape(3, 40, 48)
SOURCE = dicom.Image(PIXELS.tobytes(), rows=40, columns=48, stored=12, frames=3).encode()


def of(name: str) -> bytes:
    return (ROOT / "testdata" / f"{name}.dcm").read_bytes()


# Pixels that a lossy codestream has in another colour space than they are shown in: close, not equal.
ROUNDED = {"us-jpeg-baseline"}
NOT_BY_PYDICOM = {
    "ct-deflated": "pydicom cannot tell where the frames of a deflated file are",
    "mr-overlay-bit-15": "pydicom clears what stands above Bits Stored",
    "seg-binary": "pydicom takes frames of one bit for whole bytes",
}
NOT_BY_GDCM = {
    "ct-jpegls": "GDCM has another sign than the file says",
    "mr-htj2k": "GDCM does not know HTJ2K",
    "us-multiframe-htj2k-rpcl": "GDCM does not know HTJ2K",
}


@pytest.mark.parametrize("name", [name for name in TESTDATA if name not in NOT_BY_PYDICOM])
def test_frames_are_those_that_pydicom_decodes(name: str) -> None:
    from pydicom.pixels import iter_pixels

    theirs = list(iter_pixels(io.BytesIO(of(name)), raw=name not in ROUNDED))
    frames = dcmtx.frames(of(name))
    assert len(frames) == len(theirs)
    for mine, other in zip(frames, theirs, strict=True):
        assert mine.dtype == frames.format.dtype == other.dtype.newbyteorder("=")
        assert mine.shape == frames.format.shape == other.shape
        if name in ROUNDED:
            # Chroma in whole numbers first, and colours of them then.
            error = np.abs(mine.astype(int) - other)
            assert (error.max() <= 8, error.mean() < 0.5) == (True, True)
        else:
            assert np.array_equal(mine, other)


@pytest.mark.parametrize("name", [name for name in TESTDATA if name not in NOT_BY_GDCM | dict.fromkeys(ROUNDED)])
def test_frames_are_those_that_gdcm_decodes(name: str, tmp_path: Path) -> None:
    theirs = oracle.native(oracle.gdcm(ROOT / "testdata" / f"{name}.dcm", tmp_path))
    assert oracle.different(theirs, list(dcmtx.frames(of(name)))) == ""


@pytest.mark.parametrize("name", TESTDATA)
def test_frames_are_those_of_the_file_that_explicit_gives(name: str) -> None:
    explicit = transcode(of(name), to="explicit", force=True)
    frames = dcmtx.frames(of(name))
    assert oracle.different(oracle.native(explicit), list(frames)) == ""
    said = oracle.attributes(dicom.walk(explicit))
    assert (said.rows, said.columns, said.samples, said.stored, said.high_bit, said.signed, said.frames) == (
        frames.format.rows, frames.format.columns, frames.format.samples, frames.format.stored, frames.format.high_bit,
        frames.format.signed, len(frames),
    )  # fmt: skip
    assert said.photometric.replace("YBR_FULL_422", "YBR_FULL") == frames.format.photometric


FORMATS = [
    Format("MONOCHROME2", 8, 8), Format("MONOCHROME2", 16, 12), Format("MONOCHROME2", 16, 12, signed=True),
    Format("MONOCHROME1", 16, 16), Format("RGB", 8, 8), Format("YBR_FULL", 8, 8),
]  # fmt: skip
TARGETS = ["implicit", "big-endian", "deflated", "rle", "jpegls", "jpeg", "j2k", "htj2k", "encapsulated",
           "deflated-frames"]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_what_was_encoded_is_decoded(fmt: Format, target: str) -> None:
    rng = np.random.default_rng(3)
    shape = (3, 17, 24) if fmt.samples == 1 else (3, 17, 24, 3)
    words = rng.integers(fmt.low, fmt.high + 1, shape).astype(fmt.dtype)
    source = images.image(fmt, list(words)).encode()
    with dcmtx.frames(transcode(source, to=target)) as frames:
        assert oracle.different(list(words), list(frames)) == ""
        assert isinstance(frames.format, PixelFormat)


def test_they_are_a_sequence(tmp_path: Path) -> None:
    (tmp_path / "in.dcm").write_bytes(SOURCE)
    with dcmtx.frames(tmp_path / "in.dcm") as frames:
        assert len(frames) == 3
        assert np.array_equal(frames[2], PIXELS[2])
        assert np.array_equal(frames[-3], PIXELS[0])
        # As often as one likes, and at once.
        assert [np.array_equal(one, other) for one, other in zip(frames, frames, strict=True)] == [True] * 3
        for number in (3, -4):
            with pytest.raises(IndexError, match=f"no frame {number}"):
                frames[number]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO], ids=lambda kind: kind.__name__)
def test_they_are_had_from_any_place(kind: Any) -> None:
    assert oracle.different(list(PIXELS), list(dcmtx.frames(kind(SOURCE)))) == ""


def test_closed_frames_are_closed(tmp_path: Path) -> None:
    (tmp_path / "in.dcm").write_bytes(SOURCE)
    frames = dcmtx.frames(tmp_path / "in.dcm")
    frames.close()
    frames.close()
    with pytest.raises(ValueError, match="closed"):
        frames[0]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="descriptors are seen in /proc")
def test_frames_that_nobody_closes_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "only-this.dcm"
    path.write_bytes(SOURCE)

    def open_now() -> int:
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        return sum(os.path.exists(link) and os.readlink(link) == str(path) for link in links)

    frames = dcmtx.frames(path)
    assert open_now() == 1
    del frames
    gc.collect()
    assert open_now() == 0
    # A file that is not to be read is not left open either.
    path.write_bytes(SOURCE[:-100])
    with pytest.raises(InputError):
        dcmtx.frames(path)
    assert open_now() == 0


def test_no_frame_is_kept() -> None:
    frame = np.zeros((512, 512), "<u2")
    coded = transcode(
        dicom.Image(bytes(frame.nbytes * 20), rows=512, columns=512, stored=12, frames=20).encode(), to="rle"
    )
    frames = dcmtx.frames(coded)
    assert frames[0].nbytes == frame.nbytes
    tracemalloc.start()
    try:
        assert sum(int(one.max()) for one in frames) == 0
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # One that was just given out, and one that is made meanwhile.
    assert most < 5 * frame.nbytes


def test_chroma_that_is_shared_between_an_odd_number_of_columns() -> None:
    cells = bytes([10, 20, 100, 200, 30, 40, 110, 210, 50, 60, 120, 220])
    data = dicom.Image(
        cells, rows=2, columns=3, samples=3, photometric="YBR_FULL_422", planar=0, allocated=8, stored=8
    ).encode()
    (frame,) = dcmtx.frames(data)
    assert frame.tolist() == [
        [[10, 100, 200], [20, 100, 200], [30, 110, 210]], [[40, 110, 210], [50, 120, 220], [60, 120, 220]],
    ]  # fmt: skip


def test_whole_words_are_kept_with_what_stands_in_unused_bits() -> None:
    words = PIXELS | 0xF000
    data = dicom.Image(words.tobytes(), rows=40, columns=48, stored=12, frames=3).encode()
    assert oracle.different(list(words), list(dcmtx.frames(data))) == ""


def test_signatures_do_not_hinder_a_look() -> None:
    signature = dicom.sequence(0xFFFAFFFA, [dicom.element(0x04000005, "US", 1)])
    streams = dicom.walk(transcode(SOURCE, to="rle")).fragments
    data = dicom.Image(streams, 40, 48, stored=12, frames=3, syntax=dicom.RLE, behind=[signature]).encode()
    with pytest.raises(RefusedError, match="digital signatures"):
        transcode(data, to="explicit")
    assert oracle.different(list(PIXELS), list(dcmtx.frames(data))) == ""


def test_a_decoder_may_be_named() -> None:
    coded = transcode(SOURCE, to="j2k")
    names = [row.backend for row in usable(DECODERS, dicom.J2K_LOSSLESS)]
    assert len(names) > 1
    for name in names:
        assert oracle.different(list(PIXELS), list(dcmtx.frames(coded, decoder=name))) == ""
    with pytest.raises(UsageError, match="no decoder 'nobody'"):
        dcmtx.frames(coded, decoder="nobody")


def test_words_that_nobody_can_tell_the_order_of() -> None:
    words = np.arange(4 * 5, dtype="<u4").reshape(4, 5) * 0x01020304
    data = dicom.Image(words.tobytes(), rows=4, columns=5, allocated=32, stored=32, syntax=dicom.BIG_ENDIAN).encode()
    with pytest.raises(RefusedError, match="--word-order"):
        dcmtx.frames(data)
    stored = np.frombuffer(data[-words.nbytes :], ">u2").reshape(4, 10)
    expected = {"16": stored.astype("<u2").view("<u4"), "32": stored.view(">u4")}
    for order, frame in expected.items():
        assert oracle.different([frame], list(dcmtx.frames(data, word_order=order))) == ""


def test_a_frame_that_is_damaged_is_named_and_the_others_are_given() -> None:
    coded = dicom.walk(transcode(SOURCE, to="jpegls")).fragments
    streams = [coded[0], coded[1][:40] + bytes(16), coded[2]]
    data = dicom.Image(streams, 40, 48, stored=12, frames=3, syntax=dicom.JPEGLS).encode()
    frames = dcmtx.frames(data)
    with pytest.raises((InputError, CodecError)) as caught:
        frames[1]
    assert (caught.value.frame, caught.value.path) == (1, "<bytes>")
    assert np.array_equal(frames[2], PIXELS[2])


def test_a_jpeg_scan_that_ends_early_is_no_image() -> None:
    """The library makes up the rest and says nothing."""
    rng = np.random.default_rng(1)
    source = images.image(Format("MONOCHROME2", 8, 8), [rng.integers(0, 256, (64, 64)).astype(np.uint8)]).encode()
    (stream,) = dicom.walk(transcode(source, to="jpeg", lossy=True, quality=90)).fragments
    cut = stream[: len(stream) // 2] + b"\xff\xd9"
    data = dicom.Image([cut], 64, 64, allocated=8, stored=8, syntax=dicom.JPEG_BASELINE).encode()
    with pytest.raises(InputError, match="scan ends before"):
        dcmtx.frames(data)[0]


NOT_FRAMES: dict[str, tuple[bytes, type, str]] = {
    "a report": (dicom.file([dicom.element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.88.11")]), InputError,
                 "E_NO_PIXELDATA"),
    "no DICOM": (b"something else", InputError, "E_NOT_DICOM"),
    "floating point": (
        dicom.file([dicom.element(0x00280010, "US", 2), dicom.element(0x7FE00008, "OF", bytes(16))]),
        UnsupportedError, "E_FLOAT"),
    "a truncated file": (SOURCE[:-100], InputError, "E_TRUNCATED"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "kind", "code"), NOT_FRAMES.values(), ids=NOT_FRAMES.keys())
def test_what_has_no_frames(data: bytes, kind: type, code: str, tmp_path: Path) -> None:
    (tmp_path / "in.dcm").write_bytes(data)
    with pytest.raises(kind) as caught:
        dcmtx.frames(tmp_path / "in.dcm")
    assert (type(caught.value), caught.value.code) == (kind, code)
    assert caught.value.path == str(tmp_path / "in.dcm")


def test_an_image_that_is_not_understood_is_not_decoded() -> None:
    """Though it can be converted, for its cells can be carried."""
    data = dicom.Image(bytes(40), rows=4, columns=5, stored=12, photometric="NONSENSE").encode()
    assert transcode(data, to="implicit")
    with pytest.raises(InputError, match="NONSENSE"):
        dcmtx.frames(data)


def test_a_codestream_that_cannot_hold_its_image_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    small = dicom.walk(transcode(dicom.Image(bytes(512), 16, 16, stored=12).encode(), to="jpegls")).fragments[0]
    # The same stream, whose header says 40,000 x 40,000.
    stream = small.replace(b"\x00\x10\x00\x10", b"\x9c\x40\x9c\x40")
    data = dicom.Image([stream], rows=40_000, columns=40_000, stored=12, syntax=dicom.JPEGLS).encode()
    monkeypatch.setattr("dcmtx.transcoding.coders.Coder.one", None)
    frames = dcmtx.frames(data)
    with pytest.raises(InputError, match="so few cannot hold"):
        frames[0]


def test_a_decoder_is_closed_with_the_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[object] = []

    def close(coder: object) -> None:
        closed.append(coder)

    monkeypatch.setattr("dcmtx.transcoding.coders.Coder.close", close)
    with dcmtx.frames(SOURCE) as frames:
        assert len(frames) == 3
        assert closed == []
    assert len(closed) == 1


def test_a_frame_that_a_decoder_cannot_do_names_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    coded = transcode(SOURCE, to="j2k")

    def fail(*_: Any) -> Any:
        raise RuntimeError("out of luck")

    monkeypatch.setattr("dcmtx.codec.jpeg2k.decode_imagecodecs", fail)
    with pytest.raises(CodecError, match="out of luck; try the decoder ") as caught:
        dcmtx.frames(coded, decoder="imagecodecs")[1]
    assert caught.value.frame == 1
