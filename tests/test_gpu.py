"""What the codecs of a GPU do with every format and with damage, judged by OpenJPEG: `-m gpu`, where there is a GPU.

Everything else of them is tested by test_device.py, with a library that only looks like theirs.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import images
import numpy as np
import oracle
import pytest
from conftest import REAL, spawn
from images import Format, Words
from test_decisions import ACCEPTED

import dcmtx
from dcmtx.codec.registry import Registry
from dcmtx.codec.row import Row
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.device import client, gpu
from dcmtx.errors import DcmtxError
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters
from dcmtx.syntax import BY_UID

BACKEND = "nvimgcodec"
TARGETS = (dicom.J2K_LOSSLESS, dicom.HTJ2K_LOSSLESS, dicom.HTJ2K_RPCL)
FAMILIES = ("j2k", "htj2k")

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(180)]


@pytest.fixture(autouse=True, scope="module")
def _gpu() -> Iterator[None]:
    row = on_gpu(DECODERS, dicom.J2K_LOSSLESS)
    if not row.is_installed() or gpu.count() == 0:
        pytest.skip(f"needs a GPU: {gpu.reason() or 'nvimgcodec is not installed'}")
    yield
    client.close()


def on_gpu(registry: Registry, uid: str, *, lossy: bool = False) -> Row:
    return next(row for row in registry.rows(uid) if row.backend == BACKEND and row.lossy == lossy)


def on_cpu(uid: str) -> Row:
    fmt = described(Format("MONOCHROME2", 16, 12), (64, 64))
    return ENCODERS.choose(uid, uid, fmt)


def described(fmt: Format, shape: tuple[int, ...], *, transformed: bool = False) -> PixelFormat:
    """Return the format as codecs are given it."""
    rct = transformed and fmt.photometric == "RGB"
    return PixelFormat(
        shape[0], shape[1], fmt.samples, photometric="YBR_RCT" if rct else fmt.photometric, allocated=fmt.allocated,
        stored=fmt.stored, high_bit=fmt.stored - 1, signed=fmt.signed and fmt.allocated > 1,
    )  # fmt: skip


def code(
    registry: Registry, row: Row, given: PixelFormat, made: PixelFormat, batch: list[Any],
    parameters: EncodingParameters = EncodingParameters(),  # noqa: B008 - records do not change
) -> list[Any]:  # fmt: skip
    """Return what the codec of a row makes of a batch."""
    codec = registry.load(row).make()
    codec.open(given, made, parameters)
    try:
        return codec.code(batch)
    finally:
        codec.close()


def encode(uid: str, fmt: PixelFormat, frames: list[Words], **parameters: Any) -> list[bytes]:
    plain = fmt.replace(photometric="RGB" if fmt.photometric.startswith("YBR_RCT") else fmt.photometric)
    return code(ENCODERS, on_gpu(ENCODERS, uid), plain, fmt, frames, EncodingParameters(**parameters))


def decode(uid: str, fmt: PixelFormat, streams: list[bytes]) -> list[Any]:
    return code(DECODERS, on_gpu(DECODERS, uid), fmt, fmt, streams)


def check(frames: list[Words], found: list[Any], what: str) -> None:
    """Assert that decoded samples are the frames, whatever width their words have."""
    for number, (frame, samples) in enumerate(zip(frames, found, strict=True)):
        assert not isinstance(samples, Exception), f"{what} {number}: {samples}"
        assert samples.shape == frame.shape, f"{what} {number}"
        assert np.array_equal(samples.astype("i4"), frame.astype("i4")), f"{what} {number}"


# --- exactness -----------------------------------------------------------------------------------------------------

FORMATS = sorted(
    {cell.fmt for cell in ACCEPTED if BY_UID[cell.target].family in FAMILIES and cell.fmt.photometric != "YBR_FULL_422"}
    | {Format("MONOCHROME2", 16, bits, sign) for bits in range(1, 17) for sign in (False, True)}
    | {Format("MONOCHROME2", 8, bits, sign) for bits in range(1, 9) for sign in (False, True)}
    | {Format("RGB", 16, bits) for bits in (9, 12, 16)}
)
# The row's limit is a side of 32: above it in each direction, odd, more than a code-block, and long.
SHAPES = ((32, 32), (33, 47), (32, 300), (191, 33), (129, 258))


def within(fmt: Format, uid: str) -> bool:
    return not on_gpu(ENCODERS, uid).limits.reason(described(fmt, (64, 64)))


@pytest.mark.parametrize("uid", TARGETS, ids=lambda uid: BY_UID[uid].label)
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_what_a_gpu_encodes_is_exact_for_openjpeg_and_for_the_gpu(fmt: Format, uid: str) -> None:
    if not within(fmt, uid):
        assert fmt.stored > 16 or fmt.allocated == 1, "a format that the row should take"
        return
    for shape in SHAPES:
        frames = images.make_frames(fmt, *shape, count=len(images.CONTENTS))
        told = described(fmt, frames[0].shape, transformed=True)
        streams = encode(uid, told, frames)
        assert not [one for one in streams if isinstance(one, Exception)], (shape, streams)
        check(frames, [imagecodecs.jpeg2k_decode(one, planar=False) for one in streams], f"OpenJPEG {shape}")
        for stream in streams:
            header = oracle.parse(stream)
            assert header.precision == fmt.stored
        if not (fmt.signed and fmt.stored <= 8):
            check(frames, decode(uid, told, streams), f"GPU {shape}")


@pytest.mark.parametrize("uid", TARGETS, ids=lambda uid: BY_UID[uid].label)
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_what_the_cpu_encodes_is_exact_for_the_gpu(fmt: Format, uid: str) -> None:
    told = described(fmt, (64, 64), transformed=True)
    row = on_cpu(uid)
    if on_gpu(DECODERS, uid).limits.reason(told) or row.limits.reason(told):
        assert fmt.stored > 16 or (fmt.signed and fmt.stored <= 8) or fmt.allocated == 1
        return
    for shape in ((1, 1), (3, 5), (1, 40), *SHAPES):
        frames = images.make_frames(fmt, *shape, count=len(images.CONTENTS))
        told = described(fmt, frames[0].shape, transformed=True)
        if row.limits.reason(told):
            continue
        plain = told.replace(photometric=fmt.photometric)
        streams = code(ENCODERS, row, plain, told, frames)
        check(frames, decode(uid, told, [bytes(one) for one in streams]), f"{shape}")


@pytest.mark.parametrize("uid", TARGETS, ids=lambda uid: BY_UID[uid].label)
def test_files_of_every_format_go_there_and_back(uid: str, tmp_path: Path) -> None:
    """Through the whole way of a file, as the decision table has it, verified by the CPU."""
    for number, fmt in enumerate(FORMATS):
        if fmt.allocated not in (8, 16) or fmt.photometric in ("YBR_FULL", "PALETTE COLOR"):
            continue
        frames = images.make_frames(fmt, 40, 48, 2)
        source = tmp_path / f"{number}.dcm"
        source.write_bytes(images.image(fmt, frames).encode())
        there = dcmtx.transcode(source, tmp_path / "there.dcm", to=uid, device="gpu")
        assert there.encoder == BACKEND, fmt
        back = dcmtx.transcode(tmp_path / "there.dcm", tmp_path / "back.dcm", to="explicit", device="gpu")
        gpu_decodes = not (fmt.signed and fmt.stored <= 8)
        assert (back.decoder == BACKEND) is gpu_decodes, fmt
        assert [note.code for note in back.notes] == ([] if gpu_decodes else ["N_DEVICE"]), fmt
        assert not oracle.different(frames, oracle.native((tmp_path / "back.dcm").read_bytes())), fmt


def test_sizes_formats_and_codings_share_a_process_in_any_order() -> None:
    """HTJ2K before larger JPEG 2000 in one encoder is wrong, and two threads in one encoder crash."""
    choices = random.Random(7)
    cases = []
    for number in range(240):
        fmt = choices.choice([Format("MONOCHROME2", 16, 12), Format("MONOCHROME2", 16, 16, True), Format("RGB", 8, 8)])
        shape = (choices.randrange(32, 400), choices.randrange(32, 400))
        cases.append((choices.choice(TARGETS), fmt, images.make_frames(fmt, *shape, count=1, start=number)))

    def turn(case: tuple[str, Format, list[Words]]) -> None:
        uid, fmt, frames = case
        told = described(fmt, frames[0].shape, transformed=True)
        streams = encode(uid, told, frames)
        assert not isinstance(streams[0], Exception), streams
        check(frames, [imagecodecs.jpeg2k_decode(streams[0], planar=False)], f"{uid} {fmt}")
        check(frames, decode(uid, told, streams), f"GPU {uid} {fmt}")

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(turn, cases))


# --- layout --------------------------------------------------------------------------------------------------------

LAYOUTS = [
    {"resolutions": 2}, {"resolutions": 6}, {"resolutions": 8}, {"code_block": 32}, {"code_block": 64},
    *({"progression": order} for order in ("LRCP", "RLCP", "RPCL", "PCRL", "CPRL")),
    {"tile": 64}, {"tile": 96, "resolutions": 6}, {"tile": 32, "resolutions": 3}, {"tile": 1000},
]  # fmt: skip


@pytest.mark.parametrize("parameters", LAYOUTS, ids=str)
@pytest.mark.parametrize("uid", TARGETS, ids=lambda uid: BY_UID[uid].label)
def test_a_layout_that_is_asked_for_is_made(uid: str, parameters: dict[str, Any]) -> None:
    fmt = Format("MONOCHROME2", 16, 12)
    frames = images.make_frames(fmt, 200, 310, count=4)
    told = described(fmt, (200, 310))
    row = on_gpu(ENCODERS, uid)
    assert not row.objection(told, EncodingParameters(**parameters))
    streams = encode(uid, told, frames, **parameters)
    assert not [one for one in streams if isinstance(one, Exception)], streams
    check(frames, [imagecodecs.jpeg2k_decode(one, planar=False) for one in streams], "OpenJPEG")
    check(frames, decode(uid, told, streams), "GPU")
    high = BY_UID[uid].family == "htj2k"
    style = oracle.parse(streams[0]).segment(0xFF52)
    orders = ("LRCP", "RLCP", "RPCL", "PCRL", "CPRL")
    assert orders[style[1]] == parameters.get("progression", "RPCL" if high else "LRCP")
    assert style[5] == parameters.get("resolutions", 6) - 1
    assert 4 << style[6] == 4 << style[7] == parameters.get("code_block", 64 if high else 32)
    assert (b"\xff\x55" in streams[0][:200]) is high


@pytest.mark.parametrize(("rows", "columns"), [(2048, 64), (40, 1280), (2500, 2100), (4100, 3300), (64, 64)], ids=str)
def test_the_lowest_resolution_of_rpcl_is_64(rows: int, columns: int) -> None:
    fmt = Format("MONOCHROME2", 16, 12)
    told = described(fmt, (rows, columns))
    assert not on_gpu(ENCODERS, dicom.HTJ2K_RPCL).limits.reason(told)
    frames = images.make_frames(fmt, rows, columns, count=1, start=2)
    (stream,) = encode(dicom.HTJ2K_RPCL, told, frames)
    assert not isinstance(stream, Exception), stream
    levels = oracle.parse(stream).segment(0xFF52)[5]
    assert -(-max(rows, columns) >> levels) <= 64 or -(-max(rows, columns) // (1 << levels)) <= 64
    check(frames, [imagecodecs.jpeg2k_decode(stream, planar=False)], "OpenJPEG")


# --- loss ----------------------------------------------------------------------------------------------------------


def smooth(fmt: Format, rows: int, columns: int) -> Words:
    y, x = np.mgrid[:rows, :columns]
    waves = [0.5 + 0.45 * np.sin(y / (9 + s) + x / (15 + 3 * s) + s) for s in range(fmt.samples)]
    noise = np.random.default_rng(3).normal(0, 0.01, (rows, columns))
    frame = np.stack([((wave + noise).clip(0, 1) * (fmt.high - fmt.low)) + fmt.low for wave in waves], -1)
    return np.ascontiguousarray(frame.astype(fmt.dtype) if fmt.samples > 1 else frame[..., 0].astype(fmt.dtype))


@pytest.mark.parametrize("target", [dicom.J2K, dicom.HTJ2K], ids=["J2K", "HTJ2K"])
@pytest.mark.parametrize("asked", [{"ratio": 8}, {"psnr": 50.0}, {}], ids=str)
@pytest.mark.parametrize(
    "fmt", [Format("MONOCHROME2", 8, 8), Format("MONOCHROME2", 16, 12), Format("MONOCHROME2", 16, 16, True),
            Format("RGB", 8, 8)], ids=str,
)  # fmt: skip
def test_loss_is_what_was_asked_for(target: str, asked: dict[str, Any], fmt: Format, tmp_path: Path) -> None:
    frame = smooth(fmt, 200, 231)
    (tmp_path / "in.dcm").write_bytes(images.image(fmt, [frame]).encode())
    outcome = dcmtx.transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to=target, lossy=True, device="gpu", **asked)
    assert outcome.encoder == BACKEND
    assert outcome.psnr is not None, outcome.notes
    if "ratio" in asked:
        assert outcome.ratio == pytest.approx(8, rel=0.05)
    else:
        assert outcome.psnr >= asked.get("psnr", 45) - 0.5
    (stream,) = oracle.codestreams((tmp_path / "out.dcm").read_bytes())
    back = imagecodecs.jpeg2k_decode(stream, planar=False).astype("f8")
    # Overshoot is clamped by whoever decodes.
    error = back.clip(fmt.low, fmt.high) - frame
    found = 20 * np.log10((1 << fmt.stored) - 1) - 10 * np.log10(np.mean(error * error))
    assert found == pytest.approx(outcome.psnr, abs=0.1)
    read = dcmtx.transcode(tmp_path / "out.dcm", tmp_path / "back.dcm", to="explicit", device="gpu")
    assert read.decoder == BACKEND
    (words,) = oracle.native((tmp_path / "back.dcm").read_bytes())
    # Decoders of irreversible wavelets round differently.
    assert np.abs(words - back.clip(fmt.low, fmt.high)).max() <= 1


# --- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", [dicom.J2K_LOSSLESS, dicom.HTJ2K_LOSSLESS], ids=FAMILIES)
def test_damaged_streams_harm_nobody_else(uid: str) -> None:
    """Each fails, or gives something: no process ends, and sound streams between them are exact."""
    fmt = Format("MONOCHROME2", 16, 12)
    told = described(fmt, (96, 80))
    frames = images.make_frames(fmt, 96, 80, count=4)
    good = encode(uid, told, frames)
    choices = random.Random(11)
    before = process_id()
    counts = {"refused": 0, "equal": 0, "different": 0, "lenient": 0}
    for _ in range(40):
        batch = []
        for _ in range(10):
            stream = bytearray(choices.choice(good))
            if choices.random() < 0.3:
                del stream[choices.randrange(100, len(stream)) :]
            for _ in range(choices.randrange(1, 6)):
                stream[choices.randrange(80, len(stream))] = choices.randrange(256)
            batch.append(bytes(stream))
        found = decode(uid, told, [good[0], *batch, good[1]])
        check([frames[0], frames[1]], [found[0], found[-1]], "sound")
        for stream, words in zip(batch, found[1:-1], strict=True):
            counts[compared(stream, words)] += 1
    assert process_id() == before, "a damaged stream ended the process"
    assert counts["refused"] > 0
    # How lenient its decoder is depends on its release.
    print(f"damaged {BY_UID[uid].label}: {counts}")  # noqa: T201


def compared(stream: bytes, words: Any) -> str:
    if isinstance(words, Exception):
        return "refused"
    try:
        other = imagecodecs.jpeg2k_decode(stream, planar=False)
    except Exception:  # noqa: BLE001 - whatever OpenJPEG makes of damage
        return "lenient"
    return "equal" if np.array_equal(other.astype("i4"), words.astype("i4")) else "different"


def process_id() -> int:
    with client.channel() as channel:
        return channel.pid


def test_a_stream_that_promises_too_much_is_not_sent() -> None:
    fmt = Format("MONOCHROME2", 16, 12)
    told = described(fmt, (64, 64))
    (stream,) = encode(dicom.HTJ2K_LOSSLESS, told, images.make_frames(fmt, 64, 64))
    for at, value in ((40, b"\0\0"), (8, b"\0\0\x75\x30"), (42, b"\x1f"), (42, b"\x87")):
        damaged = stream[:at] + value + stream[at + len(value) :]
        (found,) = decode(dicom.HTJ2K_LOSSLESS, told, [damaged])
        assert isinstance(found, DcmtxError), at
    assert process_id()


# --- many ----------------------------------------------------------------------------------------------------------


def test_2000_frames_of_one_file(tmp_path: Path) -> None:
    fmt = Format("MONOCHROME2", 16, 12)
    frames = images.make_frames(fmt, 64, 72, 2000)
    (tmp_path / "in.dcm").write_bytes(images.image(fmt, frames).encode())
    for target in ("htj2k-rpcl", "j2k"):
        there = dcmtx.transcode(tmp_path / "in.dcm", tmp_path / "there.dcm", to=target, device="gpu", digest=True)
        back = dcmtx.transcode(tmp_path / "there.dcm", tmp_path / "back.dcm", to="explicit", device="gpu", digest=True)
        assert (there.encoder, back.decoder, there.digest) == (BACKEND, BACKEND, back.digest)
        assert not oracle.different(frames, oracle.native((tmp_path / "back.dcm").read_bytes()))


def many(directory: Path, count: int, shape: tuple[int, int] = (234, 256)) -> dict[str, Words]:
    """Write files of one frame that all differ; return the frames by name."""
    directory.mkdir()
    fmt = Format("MONOCHROME2", 16, 12)
    found = {}
    for number in range(count):
        frame = ((smooth(fmt, *shape).astype("u4") + 7 * number) % 4096).astype("u2")
        name = f"{number:04}.dcm"
        (directory / name).write_bytes(images.image(fmt, [frame], sop_instance=f"1.2.3.{number}").encode())
        found[name] = frame
    return found


def check_all(frames: dict[str, Words], directory: Path) -> None:
    assert sorted(path.name for path in directory.iterdir()) == sorted(frames)
    for name, frame in frames.items():
        assert not oracle.different([frame], oracle.decoded((directory / name).read_bytes())), name


def test_2000_files_of_a_batch(tmp_path: Path) -> None:
    frames = many(tmp_path / "in", 2000, (64, 80))
    ran = spawn("convert", tmp_path / "in", tmp_path / "out", "--to", "htj2k-rpcl", "--device", "gpu", "--quiet")
    assert (ran.returncode, ran.stderr) == (0, b"")
    check_all(frames, tmp_path / "out")


def test_a_device_process_that_is_killed_again_and_again_costs_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A process of its own: other tests use the usual one.
    private = tempfile.mkdtemp(prefix="g")
    monkeypatch.setenv("XDG_RUNTIME_DIR", private)
    client.close()
    try:
        kill_again_and_again(tmp_path)
    finally:
        client.close()
        shutil.rmtree(private, ignore_errors=True)


def kill_again_and_again(tmp_path: Path) -> None:
    frames = many(tmp_path / "in", 300, (64, 80))
    done = threading.Event()
    ran: list[Any] = []

    def convert() -> None:
        ran.append(spawn("convert", tmp_path / "in", tmp_path / "out", "--to", "j2k", "--device", "gpu", timeout=150))
        done.set()

    thread = threading.Thread(target=convert)
    thread.start()
    killed = 0
    while killed < 2 and not done.wait(1.5):
        if any((tmp_path / "out").glob("*.dcm")) if (tmp_path / "out").exists() else False:
            with_pid = process_id()
            os.kill(with_pid, signal.SIGKILL)
            client.close()
            killed += 1
    thread.join()
    assert ran[0].returncode == 0, ran[0].stderr
    check_all(frames, tmp_path / "out")
    assert killed


def test_a_series_goes_into_htj2k_rpcl_in_one_command(tmp_path: Path) -> None:
    """38 slices of MR, 6 resolutions, code-blocks of 64x64."""
    frames = many(tmp_path / "in", 38)
    line = ("--to", "htj2k-rpcl", "--resolutions", "6", "--code-block", "64", "--device", "gpu", "-v")
    ran = spawn("convert", tmp_path / "in", tmp_path / "out", *line)
    assert ran.returncode == 0, ran.stderr
    check_all(frames, tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        walked = dicom.walk(path.read_bytes())
        assert walked.syntax == dicom.HTJ2K_RPCL
        (stream,) = oracle.codestreams(path.read_bytes())
        style = oracle.parse(stream).segment(0xFF52)
        assert (style[1], style[5], style[6], style[7]) == (2, 5, 4, 4)
        assert b"\xff\x55" in stream[:200]


def test_real_slices_go_there_and_back(tmp_path: Path) -> None:
    found = sorted(islice(sorted((REAL / "series" / "ge_fmri").glob("*.dcm")), 38))
    if not found:
        pytest.skip("the real series is not here")
    (tmp_path / "in").mkdir()
    for path in found:
        (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
    line = ("--to", "htj2k-rpcl", "--resolutions", "6", "--device", "gpu", "--quiet")
    assert spawn("convert", tmp_path / "in", tmp_path / "out", *line).returncode == 0
    assert spawn("convert", tmp_path / "out", tmp_path / "back", "--raw", "--device", "gpu").returncode == 0
    for path in found:
        old, new = (oracle.native(one.read_bytes()) for one in (path, tmp_path / "back" / path.name))
        assert not oracle.different(old, new)
