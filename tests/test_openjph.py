"""OpenJPH by ojph: exact, silent, and neither harmed by what it is given nor by who calls it first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import damaged
import dicom
import images
import numpy as np
import pytest
from images import Format

from dcmtx import transcode
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.errors import CodecError
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import LOSSLESS, EncodingParameters

pytest.importorskip("ojph", reason="ojph is for Python 3.12 and newer")

from dcmtx.codec import openjph

(DECODER,) = [row for row in DECODERS.rows(damaged.HTJ2K) if row.backend == "ojph"]
ENCODER = next(row for row in ENCODERS.rows(damaged.HTJ2K) if row.backend == "ojph")
RGB = damaged.COLOUR.replace(photometric="RGB")


def without_comment(stream: bytes) -> bytes:
    """Return a stream without the version of the library, which is in a comment (T.800 A.9.2)."""
    start = stream.index(b"\xff\x64")
    return stream[:start] + stream[start + 2 + int.from_bytes(stream[start + 2 : start + 4], "big") :]


@pytest.mark.parametrize(
    "options", [{}, {"tile": 32}, {"progression": "LRCP"}, {"code_block": 16}, {"tile_parts": "resolution"}], ids=str
)
@pytest.mark.parametrize(
    ("fmt", "given"), [(damaged.GREY, damaged.GREY), (damaged.COLOUR, RGB)], ids=["grey", "colour"]
)
def test_its_streams_are_those_of_imagecodecs_but_for_the_comment(
    fmt: PixelFormat, given: PixelFormat, options: dict[str, Any]
) -> None:
    rows = {row.backend: row for row in ENCODERS.rows(damaged.HTJ2K) if not row.lossy and row.at_hand()}
    parameters = EncodingParameters(**options)
    streams = [
        ENCODERS.load(rows[name]).once(damaged.frame(fmt), given, fmt, parameters=parameters)
        for name in ("ojph", "imagecodecs")
    ]
    assert without_comment(streams[0]) == without_comment(streams[1])


@pytest.mark.parametrize(
    ("fmt", "given"), [(damaged.GREY, damaged.GREY), (damaged.COLOUR, RGB)], ids=["grey", "colour"]
)
def test_it_encodes_arrays_that_are_not_its_own(fmt: PixelFormat, given: PixelFormat) -> None:
    """Read-only, as native cells are, and with strides of any kind; none is changed."""
    words = damaged.frame(fmt)
    stream = openjph.encode(words, given, fmt, LOSSLESS)
    locked = words.copy()
    locked.setflags(write=False)
    spread = np.repeat(np.repeat(words, 2, 0), 3, 1)[::2, ::3]
    turned = np.ascontiguousarray(words[::-1, ::-1])[::-1, ::-1]
    for other in (locked, spread, turned, np.asfortranarray(words)):
        before = other.copy()
        assert openjph.encode(other, given, fmt, LOSSLESS) == stream
        assert np.array_equal(other, before)
    assert np.array_equal(openjph.decode(stream, fmt, given), words)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_what_loss_moves_out_of_range_is_the_nearest_value_in_range(bits: int, signed: bool, tmp_path: Path) -> None:
    """OpenJPEG says so too; imagecodecs' OpenJPH wraps around."""
    fmt = Format("MONOCHROME2", 8 if bits == 8 else 16, bits, signed=signed)
    frames = images.make_frames(fmt, 64, 64, start=images.CONTENTS.index(images.extremes))
    (tmp_path / "in.dcm").write_bytes(images.image(fmt, frames).encode())
    transcode(tmp_path / "in.dcm", tmp_path / "ht.dcm", to=dicom.HTJ2K, lossy=True, psnr=25)
    values = {}
    for decoder in ("imagecodecs", "ojph"):
        transcode(tmp_path / "ht.dcm", tmp_path / "out.dcm", to="explicit", decoder=decoder)
        value = dicom.walk((tmp_path / "out.dcm").read_bytes()).elements[dicom.PIXEL_DATA].value
        values[decoder] = np.frombuffer(value, frames[0].dtype).astype(int)
    # The two round halves differently.
    assert np.abs(values["ojph"] - values["imagecodecs"]).max() <= 1 << max(bits - 8, 0)


# --- damaged streams -------------------------------------------------------------------------------------------


def test_damaged_streams_neither_end_the_process_nor_are_written_about() -> None:
    """Some hundred; `python tests/damaged.py ojph 3000` tries more."""
    decoder = damaged.Decoder("ojph")
    try:
        found = {decoder.outcome(fmt, stream) for fmt, stream in damaged.damaged_streams(300, seed=2)}
    finally:
        decoder.close()
    assert found == {"refused", "decoded"}
    assert decoder.text == b""


def test_the_process_that_tries_them_is_not_deaf() -> None:
    """Whole streams are decoded in it, and cut ones refused."""
    decoder = damaged.Decoder("ojph")
    try:
        for fmt, stream in damaged.whole_streams():
            assert decoder.outcome(fmt, stream) == "decoded"
            assert decoder.outcome(fmt, stream[:80]) == "refused"
    finally:
        decoder.close()


def test_a_stream_of_another_size_is_refused_before_it_is_decoded() -> None:
    stream = openjph.encode(damaged.frame(damaged.GREY), damaged.GREY, damaged.GREY, LOSSLESS)
    for wrong in (damaged.GREY.replace(rows=97), damaged.GREY.replace(columns=79), damaged.COLOUR):
        with pytest.raises(ValueError, match="the codestream has 96x80 pixels of 1 components"):
            openjph.decode(stream, wrong, wrong)


def test_a_damaged_file_is_told_of_in_one_line(tmp_path: Path) -> None:
    stream = bytearray(openjph.encode(damaged.frame(damaged.GREY), damaged.GREY, damaged.GREY, LOSSLESS))
    # The number of decompositions, in COD.
    stream[stream.index(b"\xff\x52") + 9] = 77
    image = dicom.Image([bytes(stream)], 96, 80, stored=12, syntax=damaged.HTJ2K)
    (tmp_path / "in.dcm").write_bytes(image.encode())
    with pytest.raises(CodecError, match="ojph failed: ojph error; try --decoder imagecodecs or "):
        transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="explicit", decoder="ojph")
    ran = subprocess.run(
        [sys.executable, "-m", "dcmtx", "in.dcm", "out.dcm", "--to", "explicit", "--decoder", "ojph"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(damaged.__file__).parent.parent)},
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (6, "", 1)
    assert ran.stderr.startswith("dcmtx: in.dcm: frame 1: ojph failed: ")


# --- the first calls -------------------------------------------------------------------------------------------

# Each child is a fresh process as far as the library goes: loaded, never called.
_RACE = """
import os, sys, threading
sys.path.insert(0, sys.argv[2])
import damaged
from dcmtx.codec import openjph, warm
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.policy import LOSSLESS
openjph._library()
encoder = next(row for row in ENCODERS.rows(damaged.HTJ2K) if row.backend == "ojph")
(decoder,) = [row for row in DECODERS.rows(damaged.HTJ2K) if row.backend == "ojph"]
fmt = damaged.GREY
words = damaged.frame(fmt)
sys.setswitchinterval(1e-5)

def child():
    warm.encoder(encoder, fmt, fmt, LOSSLESS, (decoder,))
    barrier, whole = threading.Barrier(8), []
    def work():
        barrier.wait()
        back = openjph.decode(openjph.encode(words, fmt, fmt, LOSSLESS), fmt, fmt)
        whole.append((back == words).all())
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return len(whole) == 8 and all(whole)

failed = 0
for number in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if child() else 1)
    failed += os.waitpid(pid, 0)[1] != 0
print(failed)
"""


def test_the_first_calls_of_a_process_are_right_in_several_threads() -> None:
    tests = Path(damaged.__file__).parent
    ran = subprocess.run(
        [sys.executable, "-c", _RACE, "60", str(tests)], capture_output=True, text=True, check=False, timeout=300,
        env=os.environ | {"PYTHONWARNINGS": "ignore", "PYTHONPATH": str(tests.parent)},
    )  # fmt: skip
    assert (ran.stdout, ran.returncode) == ("0\n", 0), ran.stderr
