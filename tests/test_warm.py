"""Codecs that fill tables at their first call, and codecs that let no two threads in."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dicom
import images
import pytest
from backends import usable
from images import Format

from dcmtx import transcode
from dcmtx.codec import warm
from dcmtx.codec.registry import Direction, Registry
from dcmtx.codec.row import Needs, Row, Runs
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters
from dcmtx.syntax import BY_UID, JPEG_RECOMPRESSION

FMT = Format("MONOCHROME2", 16, 16)
SIDE = 40
# Where a call was made: in the thread that converts or not, on a whole frame or on a few pixels.
WARM, FRAME = ("converting", "small"), ("other", "frame")


class Codec:
    """RLE both ways, as some library would do it: it notes who calls it with what."""

    def __init__(self) -> None:
        self.calls: dict[str, list[tuple[str, str]]] = {"encode": [], "decode": []}
        self._mine = threading.get_ident()

    def note(self, what: str, fmt: PixelFormat) -> None:
        who = "converting" if threading.get_ident() == self._mine else "other"
        self.calls[what].append((who, "frame" if fmt.rows == SIDE else "small"))

    def encode(self, words: Any, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
        from dcmtx.codec import rle

        self.note("encode", coded)
        return rle.encode_imagecodecs(words, plain, coded, quality)

    def decode(self, data: bytes, coded: PixelFormat, plain: PixelFormat) -> Any:
        from dcmtx.codec import rle

        self.note("decode", coded)
        return rle.decode_imagecodecs(data, coded, plain)


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be as if this process had called no codec yet, and had one thread: others' tests leave some behind."""
    monkeypatch.setattr(warm, "_done", set())
    before = set(threading.enumerate())
    monkeypatch.setattr(threading, "active_count", lambda: 1 + len(set(threading.enumerate()) - before))


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch, cold: None) -> Iterator[Codec]:
    codec = Codec()
    monkeypatch.setattr("fake_codecs.planted_encode", codec.encode, raising=False)
    monkeypatch.setattr("fake_codecs.planted_decode", codec.decode, raising=False)
    planted = Row((dicom.RLE,), "planted", "fake_codecs:planted_encode", needs=Needs("imagecodecs", "imagecodecs"))
    encoders = ENCODERS.add([planted], "tests", preferred=True)
    decoders = DECODERS.add([planted.replace(call="fake_codecs:planted_decode")], "tests", preferred=True)
    yield codec
    ENCODERS.remove(encoders)
    DECODERS.remove(decoders)


@pytest.fixture
def source(tmp_path: Path) -> Callable[[int], Path]:
    def write(frames: int) -> Path:
        path = tmp_path / f"{frames}.dcm"
        path.write_bytes(images.image(FMT, images.make_frames(FMT, SIDE, SIDE, frames)).encode())
        return path

    return write


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.dcm"


def test_a_codec_is_called_on_a_few_pixels_before_threads_call_it(codec: Codec, source: Any, out: Path) -> None:
    transcode(source(4), out, to="rle", workers=2)
    assert codec.calls == {"encode": [WARM, *[FRAME] * 4], "decode": [WARM, *[FRAME] * 4]}


def test_it_is_called_so_once_in_a_process(codec: Codec, source: Any, out: Path) -> None:
    for _ in range(2):
        transcode(source(3), out, to="rle", workers=2)
    assert codec.calls["encode"] == [WARM, *[FRAME] * 6]


def test_it_is_called_so_for_each_way_of_coding(codec: Codec, source: Any, out: Path, tmp_path: Path) -> None:
    colour = Format("RGB", 8, 8)
    (tmp_path / "colour.dcm").write_bytes(images.image(colour, images.make_frames(colour, SIDE, SIDE, 2)).encode())
    transcode(source(2), out, to="rle", workers=2)
    transcode(tmp_path / "colour.dcm", out, to="rle", workers=2)
    assert codec.calls["encode"] == [WARM, FRAME, FRAME] * 2


def test_the_decoder_of_the_source_is_called_so_too(codec: Codec, source: Any, out: Path, tmp_path: Path) -> None:
    transcode(source(3), tmp_path / "rle.dcm", to="rle", workers=1)
    codec.calls["decode"].clear()
    transcode(tmp_path / "rle.dcm", out, to="explicit", workers=2)
    assert codec.calls["decode"] == [WARM, *[FRAME] * 3]


@pytest.mark.parametrize(("frames", "workers"), [(1, 2), (3, 1)], ids=["one frame", "one worker"])
def test_where_no_thread_is_started_no_call_is_wasted(
    frames: int, workers: int, codec: Codec, source: Any, out: Path
) -> None:
    transcode(source(frames), out, to="rle", workers=workers)
    assert codec.calls["encode"] == [("converting", "frame")] * frames


def test_what_is_not_coded_calls_nothing(codec: Codec, source: Any, out: Path, tmp_path: Path) -> None:
    transcode(source(3), out, to="implicit", workers=2)
    transcode(source(3), tmp_path / "rle.dcm", to="rle", workers=1)
    codec.calls["encode"].clear()
    transcode(tmp_path / "rle.dcm", out, to="rle", offset_table="extended", workers=2)
    assert codec.calls["encode"] == []


def test_one_frame_is_enough_where_the_caller_has_threads(codec: Codec, source: Any, out: Path) -> None:
    """A program that converts many files in threads of its own has the same first call, twice at once."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(transcode, source(1), out, to="rle", workers=1).result()
    assert codec.calls["encode"] == [("other", "small"), ("other", "frame")]


def test_others_wait_for_the_first_call(cold: None) -> None:
    inside, go = threading.Event(), threading.Event()

    def slow() -> None:
        inside.set()
        assert go.wait(60)

    after: list[bool] = []
    first = threading.Thread(target=warm._once, args=(("key",), slow))
    second = threading.Thread(
        target=lambda: (warm._once(("key",), lambda: after.append(True)), after.append(go.is_set()))
    )
    first.start()
    assert inside.wait(60)
    second.start()
    second.join(0.05)
    assert second.is_alive()
    go.set()
    second.join(60)
    first.join(60)
    assert after == [True], "the second did it again, or did not wait"


def test_what_fails_then_is_told_by_the_frame_that_fails(
    codec: Codec, source: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(words: Any, plain: PixelFormat, coded: PixelFormat, quality: EncodingParameters) -> bytes:
        if coded.rows != SIDE:
            raise ValueError("too small")
        return codec.encode(words, plain, coded, quality)

    monkeypatch.setattr("fake_codecs.planted_encode", encode)
    transcode(source(2), out, to="rle", workers=2)
    assert codec.calls["encode"] == [FRAME, FRAME]


# --- every row of the tables -----------------------------------------------------------------------------------

GREY = PixelFormat(512, 512, 1, photometric="MONOCHROME2", allocated=16, stored=12, high_bit=11, signed=True)
BYTE = PixelFormat(512, 512, 1, photometric="MONOCHROME2", allocated=8, stored=8, high_bit=7, signed=False)
COLOUR = PixelFormat(512, 512, 3, photometric="RGB", allocated=8, stored=8, high_bit=7, signed=False)
FORMATS = {"grey": GREY, "byte": BYTE, "colour": COLOUR}


def rows(registry: Registry) -> list[Row]:
    found = dict.fromkeys(row for uid in BY_UID for row in usable(registry, uid) if warm._shared(row))
    return list(found)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("row", rows(DECODERS), ids=lambda row: f"{row.call} {BY_UID[row.syntaxes[0]].label}")
def test_every_decoder_that_threads_share_decodes_streams_with_loss_and_without(row: Row, name: str) -> None:
    """If this fails, the decoder was not called, and nobody would notice."""
    fmt = warm._small(FORMATS[name])
    losses = {one.lossy for uid in row.syntaxes for one in usable(ENCODERS, uid) if one.package == row.package}
    streams = list(warm._streams(row, fmt))
    assert len(streams) == len(losses)
    for data, coded in streams:
        words = DECODERS.load(row).once(data, coded, warm._plain(coded))
        assert words.shape == (32, 32) if fmt.samples == 1 else (32, 32, 3)
    warm._decode(row, fmt)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "row", rows(ENCODERS), ids=lambda row: f"{row.call} {BY_UID[row.syntaxes[0]].label} {row.lossy}"
)
def test_every_encoder_that_threads_share_takes_a_few_pixels(row: Row, name: str) -> None:
    fmt = warm._small(FORMATS[name])
    if JPEG_RECOMPRESSION.uid in row.syntaxes:
        assert list(warm._streams(row, fmt))
        return
    coded = warm._codable(row, BY_UID[row.syntaxes[0]].family, fmt)
    if coded is None:
        assert row.limits.reason(fmt)
        return
    verifier = usable(DECODERS, row.syntaxes[0])[0]
    warm._encode(row, warm._plain(coded), coded, EncodingParameters(lossy=row.lossy), (verifier,))


def test_a_few_pixels_have_no_ten_resolutions() -> None:
    """What only a large image takes is not asked of a small one."""
    row = ENCODERS.rows(dicom.J2K_LOSSLESS)[0]
    fmt = warm._small(BYTE)
    warm._encode(row, fmt, fmt, EncodingParameters(resolutions=10), ())


# --- the library that it is for --------------------------------------------------------------------------------

# Each child is a fresh process as far as the encoder goes: loaded, never called. Without the call before threads start
# this fails now and then only, as what it is for; the tests above always do.
_RACE = """
import os, sys, threading
import numpy as np, imagecodecs
from dcmtx.codec import warm
from dcmtx.policy import EncodingParameters
from dcmtx.codec.table import ENCODERS
from dcmtx.pixel.format import PixelFormat

imagecodecs.htj2k_encode
grey = PixelFormat(48, 48, 1, photometric="MONOCHROME2", allocated=16, stored=12, high_bit=11, signed=False)
colour = PixelFormat(48, 48, 3, photometric="RGB", allocated=8, stored=8, high_bit=7, signed=False)
codings = [
    (grey, grey, EncodingParameters()), (colour, colour.replace(photometric="YBR_RCT"), EncodingParameters()),
    (grey, grey, EncodingParameters(lossy=True, ratio=4.0)),
    (colour, colour.replace(photometric="YBR_ICT"), EncodingParameters(lossy=True, ratio=4.0)),
]
loaded = [
    ENCODERS.choose("1.2.840.10008.1.2.4.203", "", coded, "imagecodecs", quality) for _, coded, quality in codings
]
[ENCODERS.load(row).make() for row in loaded]
sys.setswitchinterval(1e-5)

def child(given, coded, quality, row):
    warm.encoder(row, given, coded, quality, ())
    words = warm._ramp(given)
    barrier, made = threading.Barrier(8), []
    lossless = {"reversible": not quality.lossy, "level": 1e-3 if quality.lossy else None}
    colour = {"rgb": coded.samples == 3, "planar": False if coded.samples == 3 else None}
    def encode():
        return imagecodecs.htj2k_encode(words, **lossless, **colour)
    def work():
        barrier.wait()
        made.append(encode())
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return len(made) == 8 and set(made) == {encode()}

failed = 0
for number in range(int(sys.argv[1])):
    given, coded, quality = codings[number % 4]
    row = loaded[number % 4]
    pid = os.fork()
    if pid == 0:
        os._exit(0 if child(given, coded, quality, row) else 1)
    failed += os.waitpid(pid, 0)[1] != 0
print(failed)
"""


def test_the_first_streams_of_a_process_are_whole() -> None:
    """OpenJPH's encoder, called by several threads as the first thing: one in some hundred streams was dead."""
    ran = subprocess.run(
        [sys.executable, "-c", _RACE, "160"], capture_output=True, text=True, check=False, timeout=300,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert (ran.stdout, ran.returncode) == ("0\n", 0), ran.stderr


# --- libraries that hold the interpreter lock ------------------------------------------------------------------


@pytest.mark.parametrize(("runs", "met"), [(Runs.THREADS, True), (Runs.PROCESSES, False)])
def test_no_two_threads_are_inside_a_library_that_holds_the_lock(
    runs: Runs, met: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may let go of it in the middle: pylibjpeg-openjpeg calls Python, and two that encode end the process."""
    barrier = threading.Barrier(2)

    def code(*_: object) -> bool:
        try:
            barrier.wait(10 if met else 0.1)
        except threading.BrokenBarrierError:
            return False
        return True

    monkeypatch.setattr("fake_codecs.planted_encode", code, raising=False)
    registry = Registry(Direction.ENCODE, [])
    needs = Needs("p", "json")
    rows = [Row((dicom.RLE,), name, "fake_codecs:planted_encode", needs=needs, runs=runs) for name in "ab"]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda row: registry.load(row).once(b"", FMT, FMT), rows)) == [met, met]


def test_two_threads_that_encode_by_pylibjpeg_openjpeg_live() -> None:
    row = next(row for row in ENCODERS.rows(dicom.J2K_LOSSLESS) if row.backend == "pylibjpeg-openjpeg")
    program = (
        "import sys, threading, numpy as np; from dcmtx.policy import EncodingParameters\n"
        "from dcmtx.codec.table import ENCODERS; from dcmtx.pixel.format import PixelFormat\n"
        "sys.setswitchinterval(1e-6)\n"
        "fmt = PixelFormat(48, 48, 1, photometric='MONOCHROME2', allocated=16, stored=12, high_bit=11, signed=False)\n"
        f"row = next(row for row in ENCODERS.rows({row.syntaxes[0]!r}) if row.backend == {row.backend!r})\n"
        "words = (np.arange(48 * 48).reshape(48, 48) % 4096).astype('u2')\n"
        "encode = ENCODERS.load(row).once\n"
        "def work():\n for _ in range(60): encode(words, fmt, fmt)\n"
        "threads = [threading.Thread(target=work) for _ in range(2)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]; print('alive')"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300)
    assert (ran.stdout, ran.returncode) == ("alive\n", 0)
