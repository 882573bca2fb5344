"""Threads inside a frame: as many as would idle, never more, and the same bytes by any number of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dicom
import images
import numpy as np
import pytest
from images import Format, Words

from dcmtx import transcode
from dcmtx.codec import jpeg2k
from dcmtx.codec.row import Row
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import LOSSLESS, EncodingParameters
from dcmtx.transcoding.job import job
from dcmtx.transcoding.running import run

SIDES = (300, 260)
# Enough for eight threads.
LARGE = (800, 700)
GREY, COLOUR, FEW = Format("MONOCHROME2", 16, 12), Format("RGB", 8, 8), Format("MONOCHROME2", 8, 3)
each_format = pytest.mark.parametrize("fmt", [GREY, COLOUR, FEW, Format("MONOCHROME2", 16, 12, signed=True)], ids=str)


def coding(fmt: Format, colour: str = "YBR_RCT") -> tuple[Words, PixelFormat]:
    """Return a frame, and the format of its codestream."""
    (frame,) = images.make_frames(fmt, *SIDES, start=images.CONTENTS.index(images.ramp))
    return frame, PixelFormat(
        *SIDES, fmt.samples, photometric=colour if fmt.samples == 3 else fmt.photometric, allocated=fmt.allocated,
        stored=fmt.stored, high_bit=fmt.stored - 1, signed=fmt.signed,
    )  # fmt: skip


@each_format
def test_any_number_of_threads_gives_the_same_stream_and_the_same_samples(fmt: Format) -> None:
    frame, coded = coding(fmt)
    streams = {jpeg2k.encode_imagecodecs(frame, coded, coded, LOSSLESS, threads) for threads in (1, 2, 3, 8)}
    assert len(streams) == 1
    (stream,) = streams
    for threads in (1, 2, 3, 8):
        back = jpeg2k.decode_imagecodecs(stream, coded, coded, threads)
        assert np.array_equal(back & ((1 << fmt.stored) - 1), frame & ((1 << fmt.stored) - 1))


@pytest.mark.parametrize("asked", [{"psnr": 45.0}, {"ratio": 12.0}], ids=str)
@pytest.mark.parametrize("fmt", [GREY, COLOUR], ids=str)
def test_so_it_is_with_loss(fmt: Format, asked: dict[str, float]) -> None:
    frame, coded = coding(fmt, "YBR_ICT")
    parameters = EncodingParameters(lossy=True, **asked)
    streams = {jpeg2k.encode_imagecodecs_lossy(frame, coded, coded, parameters, threads) for threads in (1, 2, 5)}
    assert len(streams) == 1


@pytest.mark.parametrize("to", ["j2k", "htj2k"])
def test_a_file_is_the_same_however_many_workers_it_has(to: str, tmp_path: Path) -> None:
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    source.write_bytes(images.image(GREY, images.make_frames(GREY, 600, 500)).encode())
    written = set()
    for workers in (1, 2, 4):
        transcode(source, out, to=to, workers=workers)
        written.add(out.read_bytes())
        transcode(out, tmp_path / "back.dcm", to="explicit", workers=workers)
        value = dicom.walk((tmp_path / "back.dcm").read_bytes()).elements[dicom.PIXEL_DATA].value
        assert value == dicom.walk(source.read_bytes()).elements[dicom.PIXEL_DATA].value
    assert len(written) == 1


# --- how many --------------------------------------------------------------------------------------------------

_asked: list[tuple[str, int]] = []


def encode(words: Any, given: PixelFormat, coded: PixelFormat, parameters: Any, threads: int = 1) -> bytes:
    from dcmtx.codec import rle

    if coded.rows > 200:
        _asked.append(("encode", threads))
    return rle.encode_imagecodecs(words, given, coded, parameters)


def decode(data: bytes, coded: PixelFormat, plain: PixelFormat, threads: int = 1) -> Any:
    from dcmtx.codec import rle

    if coded.rows > 200:
        _asked.append(("decode", threads))
    return rle.decode_imagecodecs(data, coded, plain)


@pytest.fixture
def asked() -> Iterator[list[tuple[str, int]]]:
    """Return with how many threads a codec of RLE that spreads its work is called from now on, both ways."""
    row = Row((dicom.RLE,), "spreading", "test_threads:encode", spreads=True)
    encoders = ENCODERS.add([row], "tests", preferred=True)
    decoders = DECODERS.add([row.replace(call="test_threads:decode")], "tests", preferred=True)
    _asked.clear()
    yield _asked
    ENCODERS.remove(encoders)
    DECODERS.remove(decoders)


def native_file(tmp_path: Path, frames: int, sides: tuple[int, int] = LARGE) -> Path:
    source = tmp_path / "in.dcm"
    source.write_bytes(images.image(GREY, images.make_frames(GREY, *sides, frames)).encode())
    return source


@pytest.mark.parametrize(
    ("frames", "workers", "threads"),
    [(1, 1, 1), (1, 2, 2), (1, 7, 7), (2, 4, 2), (2, 5, 2), (3, 4, 1), (4, 4, 1), (9, 4, 1)],
)
def test_cores_that_would_idle_take_part_in_each_frame(
    frames: int, workers: int, threads: int, tmp_path: Path, asked: list[tuple[str, int]]
) -> None:
    transcode(native_file(tmp_path, frames), tmp_path / "rle.dcm", to="rle", workers=workers)
    assert sorted(asked) == sorted([("decode", threads), ("encode", threads)] * frames)
    asked.clear()
    transcode(tmp_path / "rle.dcm", tmp_path / "out.dcm", to="explicit", workers=workers)
    assert asked == [("decode", threads)] * frames


@pytest.mark.parametrize(("share", "threads"), [(1, 1), (3, 3), (8, 4)])
def test_one_of_several_jobs_takes_no_more_than_its_share(
    share: int, threads: int, tmp_path: Path, asked: list[tuple[str, int]]
) -> None:
    """The workers of a batch divide the cores."""
    todo = job(native_file(tmp_path, 1), tmp_path / "out.dcm", to="rle", workers=4)
    run(todo, cores=lambda: share)
    assert asked == [("encode", threads), ("decode", threads)]


@pytest.mark.parametrize(("sides", "threads"), [((300, 260), 1), ((300, 600), 2), (LARGE, 8)])
def test_a_small_frame_is_not_worth_many_threads(
    sides: tuple[int, int], threads: int, tmp_path: Path, asked: list[tuple[str, int]]
) -> None:
    transcode(native_file(tmp_path, 1, sides), tmp_path / "out.dcm", to="rle", workers=16)
    assert asked == [("encode", threads), ("decode", threads)]


def test_a_codec_that_does_not_spread_is_not_told(tmp_path: Path) -> None:
    """Its function has no such argument."""
    outcome = transcode(native_file(tmp_path, 1), tmp_path / "out.dcm", to="rle", workers=8)
    assert (outcome.encoder, outcome.verified) == ("imagecodecs", (("imagecodecs", 1),))
