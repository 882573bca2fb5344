"""The codecs of a GPU, and the process that owns it, with a library that codes by the CPU: all but the library itself.

test_gpu.py proves that.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dicom
import images
import numpy as np
import oracle
import pytest
from conftest import Ran, spawn, wait_until
from gpus import FAKE, Stage, driver, grey, marked, staged
from images import Format, Words

import dcmtx
from dcmtx.codec.jpeg2k import insert_tile_lengths
from dcmtx.codec.registry import Registry
from dcmtx.codec.row import Row, Runs
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.device import client, exchange, gpu, wire
from dcmtx.device.schedule import Part, Queue, Request
from dcmtx.errors import CodecError, DcmtxError, ExitStatus, OutputError, UnsupportedError, UsageError, VerifyError
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters
from dcmtx.syntax import BY_UID
from dcmtx.transcoding.form import job_from_json
from dcmtx.transcoding.job import job

BACKEND = "nvimgcodec"
G12 = Format("MONOCHROME2", 16, 12)
RGB = Format("RGB", 8, 8)
SHAPE = (40, 48)
LOSSLESS = (dicom.J2K_LOSSLESS, dicom.HTJ2K_LOSSLESS, dicom.HTJ2K_RPCL)
CODED = (*LOSSLESS, dicom.J2K, dicom.HTJ2K)
each_lossless = pytest.mark.parametrize("uid", LOSSLESS, ids=lambda uid: BY_UID[uid].label)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the library is for Linux")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with staged(tmp_path, monkeypatch) as one:
        yield one


def write(path: Path, frames: list[Words], fmt: Format = G12, **more: Any) -> Path:
    path.write_bytes(images.image(fmt, frames, **more).encode())
    return path


def row_of(registry: Registry, uid: str, *, lossy: bool = False) -> Row:
    return next(row for row in registry.rows(uid) if row.backend == BACKEND and row.lossy == lossy)


def described(fmt: Format = G12, shape: tuple[int, int] = SHAPE, **more: Any) -> PixelFormat:
    return PixelFormat(
        *shape, fmt.samples, photometric=fmt.photometric, allocated=fmt.allocated, stored=fmt.stored,
        high_bit=fmt.stored - 1, signed=fmt.signed,
    ).replace(**more)  # fmt: skip


def encoded(frames: list[Words], uid: str = dicom.HTJ2K_LOSSLESS, **parameters: Any) -> list[Any]:
    codec = ENCODERS.load(row_of(ENCODERS, uid)).make()
    fmt = described(shape=frames[0].shape)
    codec.open(fmt, fmt, EncodingParameters(**parameters))
    return codec.code(frames)


def decoded(streams: list[bytes], uid: str = dicom.HTJ2K_LOSSLESS, fmt: PixelFormat | None = None) -> list[Any]:
    codec = DECODERS.load(row_of(DECODERS, uid)).make()
    fmt = fmt or described()
    codec.open(fmt, fmt, EncodingParameters())
    return codec.code(streams)


# --- files ---------------------------------------------------------------------------------------------------------


@each_lossless
@pytest.mark.parametrize(
    "fmt", [G12, RGB, Format("MONOCHROME2", 16, 16, True), Format("MONOCHROME1", 8, 8), Format("MONOCHROME2", 16, 5),
            Format("MONOCHROME2", 8, 7, True), Format("YBR_FULL", 8, 8), Format("MONOCHROME2", 32, 12)], ids=str,
)  # fmt: skip
def test_a_file_goes_through_the_gpu_and_back(fmt: Format, uid: str, stage: Stage, tmp_path: Path) -> None:
    frames = images.make_frames(fmt, *SHAPE, count=4)
    write(tmp_path / "in.dcm", frames, fmt)
    there = dcmtx.transcode(tmp_path / "in.dcm", tmp_path / "there.dcm", to=uid, device="gpu")
    assert (there.encoder, there.notes) == (BACKEND, ())
    assert not oracle.different(frames, oracle.decoded((tmp_path / "there.dcm").read_bytes()))
    for stream in oracle.codestreams((tmp_path / "there.dcm").read_bytes()):
        header = oracle.parse(stream)
        assert (header.precision, header.signed, header.reversible) == (fmt.stored, fmt.signed, True)
        assert (header.segment(0xFF55) is not None) is (BY_UID[uid].family == "htj2k")
    back = dcmtx.transcode(tmp_path / "there.dcm", tmp_path / "back.dcm", to="explicit", device="gpu")
    takes = not (fmt.signed and fmt.stored <= 8)
    assert (back.decoder, [note.code for note in back.notes]) == (
        (BACKEND, []) if takes else ("imagecodecs", ["N_DEVICE"])
    )
    assert not oracle.different(frames, oracle.native((tmp_path / "back.dcm").read_bytes()))
    assert len(stage.processes) == 1


@pytest.mark.parametrize("target", [dicom.J2K, dicom.HTJ2K], ids=["J2K", "HTJ2K"])
@pytest.mark.parametrize("asked", [{"ratio": 8}, {"psnr": 50.0}], ids=str)
def test_loss_is_searched_for(target: str, asked: dict[str, float], stage: Stage, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    frame = (2000 + 900 * np.sin(np.mgrid[:300, :300][1] / 9) + random.normal(0, 40, (300, 300))).astype("u2")
    write(tmp_path / "in.dcm", [frame])
    outcome = dcmtx.transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to=target, lossy=True, device="gpu", **asked)
    assert outcome.encoder == BACKEND
    if "ratio" in asked:
        assert outcome.ratio == pytest.approx(8, rel=0.05)
    else:
        assert outcome.psnr >= 49.5


def test_the_library_is_never_imported_by_what_converts(stage: Stage, tmp_path: Path) -> None:
    write(tmp_path / "in.dcm", [grey()])
    dcmtx.transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="j2k", device="gpu")
    assert stage.processes
    assert os.getpid() not in stage.processes
    assert "nvidia.nvimgcodec" not in sys.modules


@pytest.mark.parametrize("verify", ["sampled", "cpu", "strict", "device", "none"])
def test_who_verifies(verify: str, stage: Stage, tmp_path: Path) -> None:
    write(tmp_path / "in.dcm", [grey(number) for number in range(40)])
    plan = dcmtx.transcode(
        tmp_path / "in.dcm", tmp_path / "no.dcm", to="htj2k", device="gpu", verify=verify, dry_run=True
    ).plan
    assert not stage.processes, "a dry run starts nothing"
    rows = [row.backend for row in plan.judges.rows()]
    assert rows == {"none": [], "device": [BACKEND]}.get(verify, ["imagecodecs"])
    dcmtx.transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="htj2k", device="gpu", verify=verify)
    assert bool(stage.told("decoded")) is (verify == "device")


def test_sources_may_be_decoded_by_the_cpu_too(stage: Stage, tmp_path: Path) -> None:
    """Of damaged HTJ2K the library decodes more than OpenJPEG does."""
    write(tmp_path / "in.dcm", [grey(1), grey(2)])
    dcmtx.transcode(tmp_path / "in.dcm", tmp_path / "there.dcm", to="htj2k", device="gpu")
    options: dict[str, Any] = {"to": "j2k", "device": "gpu", "cross_check": True}
    plan = dcmtx.transcode(tmp_path / "there.dcm", tmp_path / "no.dcm", dry_run=True, **options).plan
    assert (plan.decoder.backend, plan.second.backend) == (BACKEND, "imagecodecs")
    assert [row.backend for row in plan.judges.rows()] == ["imagecodecs"]
    dcmtx.transcode(tmp_path / "there.dcm", tmp_path / "out.dcm", **options)
    assert not oracle.different([grey(1), grey(2)], oracle.decoded((tmp_path / "out.dcm").read_bytes()))


# --- choice --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", CODED, ids=lambda uid: BY_UID[uid].label)
def test_a_row_of_the_gpu_is_used_only_if_it_is_asked_for(uid: str, stage: Stage) -> None:
    fmt = described()
    for registry, lossy in ((DECODERS, False), (ENCODERS, uid in (dicom.J2K, dicom.HTJ2K))):
        quality = EncodingParameters(lossy=lossy)
        row = row_of(registry, uid, lossy=lossy)
        assert row.runs is Runs.DEVICE
        assert row.is_installed()
        assert registry.choose(uid, uid, fmt, quality=quality).backend != BACKEND
        assert registry.choose(uid, uid, fmt, BACKEND, quality) is row
        assert BACKEND not in registry.others(uid, fmt, "imagecodecs")


def test_there_are_no_rows_for_jpeg_of_the_gpu() -> None:
    """Its lossless decoder gives wrong pixels."""
    found = {uid for registry in (DECODERS, ENCODERS) for row in registry.every_row() if row.backend == BACKEND
             for uid in row.syntaxes}  # fmt: skip
    assert found == set(CODED)


NOTES = [
    pytest.param(G12, {"to": "j2k"}, "", id="all of it"),
    pytest.param(G12, {"to": "j2k", "tile": 20}, "no multiple of 32", id="a tile that cannot be halved"),
    pytest.param(Format("MONOCHROME2", 16, 12), {"to": "j2k", "shape": (31, 40)}, "31x40 has a side below 32",
                 id="too small"),
    pytest.param(G12, {"to": "jpegls"}, "the GPU does nothing for it", id="another family"),
    pytest.param(G12, {"to": "jpegls", "verify": "device"}, "verified by", id="another family, to be verified"),
    pytest.param(G12, {"to": "rle", "device": "cpu"}, "", id="not asked for"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["tile", "code_block", "progression"])
def test_what_only_a_gpu_has_needs_one_before_any_file_is_opened(name: str, stage: Stage) -> None:
    value = {"tile": 64, "code_block": 32, "progression": "RPCL"}[name]
    with pytest.raises(UsageError, match="does not go with j2k-lossless: no encoder of it takes that"):
        job("absent.dcm", "out.dcm", to="j2k", **{name: value})
    assert job("absent.dcm", "out.dcm", to="j2k", device="gpu", **{name: value})
    assert job_from_json(job("absent.dcm", "out.dcm", to="j2k", encoder=BACKEND, **{name: value}).to_json())


@pytest.mark.parametrize(("fmt", "options", "says"), NOTES)
def test_what_the_gpu_does_not_take_is_told_once(
    fmt: Format, options: dict[str, Any], says: str, stage: Stage, tmp_path: Path
) -> None:
    options = {"device": "gpu"} | options
    shape = options.pop("shape", SHAPE)
    if "tile" in options:
        # Only a GPU has tiles in JPEG 2000.
        with pytest.raises((UsageError, UnsupportedError), match="--tile"):
            dcmtx.transcode(write(tmp_path / "in.dcm", [grey(shape=shape)], fmt), tmp_path / "out.dcm", **options)
        return
    outcome = dcmtx.transcode(write(tmp_path / "in.dcm", [grey(shape=shape)] * 3, fmt), tmp_path / "out.dcm", **options)
    told = [note for note in outcome.notes if note.code == "N_DEVICE"]
    assert len(told) == bool(says)
    assert all(says in note.text for note in told)
    assert not oracle.different([grey(shape=shape)] * 3, oracle.decoded((tmp_path / "out.dcm").read_bytes()))


LIMITS = [
    (dicom.J2K_LOSSLESS, {"rows": 31}, {}, "has a side below 32"),
    (dicom.J2K_LOSSLESS, {"stored": 17, "allocated": 32}, {}, "Bits Stored 17"),
    (dicom.HTJ2K_LOSSLESS, {"samples": 2}, {}, "Samples per Pixel 2"),
    (dicom.HTJ2K_LOSSLESS, {}, {"code_block": 16}, "--code-block 16 is not 32 or 64"),
    (dicom.J2K_LOSSLESS, {}, {"code_block": 64}, ""),
    (dicom.HTJ2K_LOSSLESS, {}, {"resolutions": 6}, ""),
    (dicom.HTJ2K_LOSSLESS, {}, {"resolutions": 7}, "40x48 has at most 6 resolutions"),
    (dicom.HTJ2K_LOSSLESS, {"rows": 64, "columns": 64}, {"resolutions": 7}, ""),
    (dicom.HTJ2K_LOSSLESS, {"rows": 300, "columns": 300}, {"tile": 64}, ""),
    (dicom.HTJ2K_LOSSLESS, {"rows": 300, "columns": 300}, {"tile": 80}, "no multiple of 32, which 6 resolutions need"),
    (dicom.HTJ2K_LOSSLESS, {"rows": 300, "columns": 300}, {"tile": 80, "resolutions": 5}, ""),
    (dicom.HTJ2K_LOSSLESS, {"rows": 40, "columns": 300}, {"tile": 64}, "--tile 64 is more than a side of 40x300"),
    (dicom.HTJ2K_LOSSLESS, {"rows": 300, "columns": 300}, {"tile": 1000}, ""),
    (dicom.HTJ2K_RPCL, {"rows": 64, "columns": 64}, {"tile_parts": "resolution"}, "one part of each tile"),
    (dicom.HTJ2K_RPCL, {"rows": 64, "columns": 64}, {"tile_parts": "all"}, ""),
    (dicom.HTJ2K_RPCL, {"rows": 32, "columns": 5000}, {}, "too thin"),
    (dicom.HTJ2K_LOSSLESS, {"rows": 32, "columns": 5000}, {}, ""),
    (dicom.HTJ2K_RPCL, {"rows": 64, "columns": 4096}, {}, ""),
]


@pytest.mark.parametrize(("uid", "fmt", "parameters", "reason"), LIMITS, ids=lambda value: str(value)[-40:])
def test_the_limits_of_the_library_are_known_before(
    uid: str, fmt: dict[str, int], parameters: dict[str, int], reason: str
) -> None:
    found = row_of(ENCODERS, uid).objection(described(**fmt), EncodingParameters(**parameters))
    assert reason in found
    assert bool(found) is bool(reason)


@pytest.mark.parametrize(
    ("fmt", "reason"),
    [({"stored": 1}, ""), ({"stored": 9, "signed": True}, ""), ({"rows": 1, "columns": 1}, ""),
     ({"stored": 8, "signed": True}, "Bits Stored 8 of signed samples"), ({"stored": 17, "allocated": 32}, "17")],
    ids=str,
)  # fmt: skip
def test_the_limits_of_its_decoder(fmt: dict[str, Any], reason: str) -> None:
    found = row_of(DECODERS, dicom.J2K_LOSSLESS).limits.reason(described(**fmt))
    assert reason in found
    assert bool(found) is bool(reason)


# --- what goes wrong -----------------------------------------------------------------------------------------------


def test_what_the_library_says_of_a_failure_is_told(stage: Stage) -> None:
    found = encoded([grey(0), marked(grey(1), "none"), grey(2)])
    assert isinstance(found[1], RuntimeError)
    assert str(found[1]) == "it returned nothing. [ERROR] Could not encode: Internal error"
    assert not [one for one in (found[0], found[2]) if isinstance(one, Exception)]


def test_what_fails_in_a_batch_only_is_coded_alone(stage: Stage) -> None:
    frames = [grey(0), marked(grey(1), "none in a batch"), grey(2)]
    found = encoded(frames)
    assert [words.tolist() for words in decoded_by_cpu(found)] == [frame.tolist() for frame in frames]


def decoded_by_cpu(streams: list[bytes]) -> list[Words]:
    import imagecodecs

    return [imagecodecs.jpeg2k_decode(stream) for stream in streams]


@pytest.mark.parametrize("verify", ["cpu", "device"])
@pytest.mark.parametrize("to", ["j2k", "htj2k"])
def test_a_wrong_codestream_is_noticed(to: str, verify: str, stage: Stage, tmp_path: Path) -> None:
    write(tmp_path / "in.dcm", [grey(0), marked(grey(1), "wrong")])
    with pytest.raises(VerifyError) as caught:
        dcmtx.transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to=to, device="gpu", verify=verify)
    assert caught.value.frame == 1
    assert not (tmp_path / "out.dcm").exists()


ENDS = [
    ("crash", "E_CRASH", "was ended by SIGSEGV twice"),
    ("killed", "E_CRASH", "was ended by SIGKILL twice"),
    ("break", "E_CRASH", "could not use the GPU any more twice"),
    ("hang", "E_TIMEOUT", "gave no answer for 1.5 s twice"),
]


@pytest.mark.parametrize(("mark", "code", "says"), ENDS, ids=[mark for mark, _, _ in ENDS])
def test_a_frame_that_ends_the_process_fails_and_no_other(
    mark: str, code: str, says: str, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mark == "hang":
        monkeypatch.setattr(client, "PATIENCE", 1.5)
    sources = {number: write(tmp_path / f"{number}.dcm", [grey(number)]) for number in range(6)}
    write(sources[3], [marked(grey(3), mark)])
    errors: dict[int, DcmtxError] = {}

    def convert(number: int) -> None:
        try:
            dcmtx.transcode(sources[number], tmp_path / f"{number}.out", to="htj2k", device="gpu", workers=1)
        except DcmtxError as error:
            errors[number] = error

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(convert, sources))
    assert list(errors) == [3]
    assert (errors[3].code, says in str(errors[3])) == (code, True), errors[3]
    for number in set(sources) - {3}:
        assert not oracle.different([grey(number)], oracle.decoded((tmp_path / f"{number}.out").read_bytes()))
    assert len(stage.processes) == 3, "one that it ended with others, one that it ended alone, and the next"


def test_a_process_that_is_killed_from_outside_costs_nothing(stage: Stage) -> None:
    (first,) = encoded([grey(0)])
    os.kill(stage.processes[0], signal.SIGKILL)
    assert encoded([grey(0)]) == [first]
    assert len(stage.processes) == 2


def test_one_encoder_never_codes_both(stage: Stage) -> None:
    """The library writes wrong JPEG 2000 after HTJ2K in one encoder, and crashes with two threads in one."""

    def turn(number: int) -> bool:
        uid = LOSSLESS[number % 2]
        frame = grey(number, (40 + number, 64))
        (stream,) = encoded([frame], uid)
        return np.array_equal(decoded([stream], uid, described(shape=frame.shape))[0], frame)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(turn, range(60)))
    assert len(stage.processes) == 1


@pytest.mark.parametrize(
    ("how", "says"), [("import", "CUDA Runtime failure: '#35'"), ("crash", "was ended by SIGSEGV while it was loading")]
)
def test_a_library_that_does_not_load_is_an_error_of_the_backend(
    how: str, says: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GPU_FAILS", how)
    with pytest.raises(UnsupportedError, match=says) as caught:
        encoded([grey()])
    assert caught.value.code == "E_BACKEND"


DAMAGE = [
    pytest.param(40, b"\0\0", "", id="no components"),
    pytest.param(8, b"\0\0\1\0", "contradicts its data set", id="another width"),
    pytest.param(42, b"\x1f", "does not decode unsigned samples of 32 bits", id="too many bits"),
    pytest.param(42, b"\x87", "does not decode signed samples of 8 bits", id="few bits with a sign"),
    pytest.param(0, b"\0\0\0\0", "codestream", id="no codestream"),
]


@pytest.mark.parametrize(("at", "value", "says"), DAMAGE)
def test_a_stream_that_contradicts_its_data_set_is_not_sent(at: int, value: bytes, says: str, stage: Stage) -> None:
    """The library decodes some of them wrongly, and ends the process on others."""
    (stream,) = encoded([grey(1)])
    damaged = stream[:at] + value + stream[at + len(value) :]
    found = decoded([stream, damaged])
    assert np.array_equal(found[0], grey(1))
    assert isinstance(found[1], DcmtxError)
    assert says in str(found[1])
    assert len(stage.processes) == 1


def test_a_damaged_stream_fails_alone(stage: Stage) -> None:
    streams = encoded([grey(number) for number in range(3)])
    found = decoded([streams[0], streams[1][: len(streams[1]) // 2] + b"\xff\xd9", streams[2]])
    assert np.array_equal(found[0], grey(0))
    assert np.array_equal(found[2], grey(2))
    assert isinstance(found[1], Exception)


# --- what it costs others --------------------------------------------------------------------------------------


def test_the_process_ends_with_its_last_client_and_starts_again(stage: Stage) -> None:
    encoded([grey()])
    client.close()
    wait_until(stage.ended)
    encoded([grey()])
    assert len(stage.processes) == 2


def test_a_client_that_was_let_go_comes_again(stage: Stage) -> None:
    (first,) = encoded([grey()])
    connection = client._idle[0]._socket
    connection.shutdown(socket.SHUT_RDWR)
    assert encoded([grey()]) == [first]
    assert len(stage.processes) == 1


def test_each_of_several_gpus_has_a_process(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "count", lambda: 2)
    for pid in (10, 11, 12):
        monkeypatch.setattr(client.os, "getpid", lambda pid=pid: pid)
        encoded([grey()])
        client.close()
    monkeypatch.undo()
    assert sorted({path.name.split("-")[0] for path in (stage.sockets / "dcmtx").glob("*.lock")}) == ["0", "1"]


def test_frames_are_decoded_for_the_library_too(stage: Stage, tmp_path: Path) -> None:
    write(tmp_path / "in.dcm", [grey(1), grey(2)])
    dcmtx.transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="htj2k", device="gpu", verify=False)
    with dcmtx.frames(tmp_path / "out.dcm", decoder=BACKEND) as frames:
        assert [frame.tolist() for frame in frames] == [grey(1).tolist(), grey(2).tolist()]
    assert stage.told("decoded")


def test_frames_of_any_size_go_through_memory_that_grows(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_KEPT_BYTES", 1 << 16)
    for shape in ((32, 32), (300, 400), (33, 35), (700, 500)):
        frame = np.random.default_rng(1).integers(0, 4096, shape, "u2")
        (stream,) = encoded([frame])
        assert np.array_equal(decoded([stream], fmt=described(shape=shape))[0], frame)
    assert not client._idle or not client._idle[0].large


def test_results_that_need_more_memory_than_there_is() -> None:
    memory = wire.Memory.make(100)
    other = wire.Memory(os.dup(memory.descriptor))
    results = exchange.Results(memory, 64, 2)
    results.put(1, memoryview(bytes(range(200))))
    results.put(0, np.arange(5000, dtype="u2").reshape(50, 100))
    assert memory.size >= results.end > 10000
    other.hold(results.end)
    assert exchange.take(results.places[1], other) == bytes(range(200))
    assert np.array_equal(exchange.take(results.places[0], other), np.arange(5000).reshape(50, 100))
    memory.close()
    other.close()


@pytest.mark.parametrize("runtime", [None, "absent", "present"])
def test_where_the_sockets_are(runtime: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "present").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(client, "_LONGEST_PATH", 4096)
    if runtime is None:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / runtime))
    own = tmp_path / f"dcmtx-{os.geteuid()}"
    found = Path(client._directory())
    assert found == (tmp_path / "present" / "dcmtx" if runtime == "present" else own)
    assert found.stat().st_mode & 0o777 == 0o700
    found.chmod(0o770)
    with pytest.raises(OutputError, match="is not yours alone"):
        client._directory()


@pytest.mark.parametrize("big", [False, True])
def test_arrays_lie_in_memory_in_little_endian(*, big: bool) -> None:
    memory = wire.Memory.make(4096)
    array = np.arange(12, dtype=">u2" if big else "<u2").reshape(3, 4)
    (told,) = exchange.put_arrays(memory, [array.T], [64])
    assert bytes(memory.map[64:70]) == bytes([0, 0, 4, 0, 8, 0])
    assert np.array_equal(exchange.take(told, memory), array.T)
    memory.close()


def test_a_forked_process_has_connections_of_its_own(stage: Stage, tmp_path: Path) -> None:
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_device import encoded, grey
from dcmtx.device import client
client.LINGER = 0.05
first = encoded([grey(1)])
ours = client._idle[0]._socket.fileno()
pid = os.fork()
if pid == 0:
    good = encoded([grey(1)]) == first and os.fstat(ours) is not None
    os._exit(0 if good else 1)
assert os.waitpid(pid, 0)[1] == 0
assert encoded([grey(1)]) == first
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env=stage.environment())
    assert len(stage.processes) == 1


# --- which frames go together --------------------------------------------------------------------------------------


def request(name: str = "a", size: int = 10, frames: int = 1, *, alone: bool = False) -> Request:
    return Request(
        [None] * frames, {"name": name}, high_throughput=True, size=size, alone=alone, put=lambda *_: None,
        begun=lambda: None,
    )  # fmt: skip


def taken(queue: Queue, lane: int = 0) -> list[Request]:
    return [part.request for part in queue.take(lane)]


def test_requests_coded_alike_share_a_batch_in_their_order() -> None:
    queue = Queue(most=100)
    first, other, second = request("a"), request("b"), request("a")
    for one in (first, other, second):
        queue.add(one)
    assert taken(queue) == [first, second]
    assert taken(queue, 1) == [other]


def test_a_batch_has_no_more_bytes_than_the_limit_unless_it_is_one_request() -> None:
    queue = Queue(most=25)
    requests = [request(size=size) for size in (10, 10, 10, 99)]
    for one in requests:
        queue.add(one)
    assert taken(queue) == requests[:2]
    assert taken(queue, 1) == requests[2:3]
    assert taken(queue, 2) == requests[3:]


def test_a_batch_has_no_more_frames_than_the_limit() -> None:
    queue = Queue(most_frames=5)
    requests = [request(frames=frames) for frames in (2, 2, 2, 1)]
    for one in requests:
        queue.add(one)
    assert taken(queue) == [requests[0], requests[1], requests[3]]
    assert taken(queue, 1) == [requests[2]]


def test_what_may_be_the_cause_of_a_death_runs_alone_and_in_its_turn() -> None:
    queue = Queue(most=100)
    before, suspect, after = request(), request(alone=True), request()
    for one in (before, suspect, after):
        queue.add(one)
    assert taken(queue, 0) == [before], "what waits behind a suspect does not overtake it"
    done = threading.Event()
    turns: list[list[Request]] = []

    def lane() -> None:
        turns.append(taken(queue, 1))
        done.set()

    thread = threading.Thread(target=lane)
    thread.start()
    assert not done.wait(0.05), "something else runs"
    queue.finish(0)
    thread.join()
    assert turns == [[suspect]]
    assert not queue._may_begin(), "it runs alone"
    queue.finish(1)
    assert taken(queue, 1) == [after]


def test_a_frame_that_failed_is_coded_again_before_all_others() -> None:
    queue = Queue(most=100)
    failed, next_one = request(frames=3), request()
    queue.add(failed)
    assert taken(queue) == [failed]
    queue.add(next_one)
    queue.again(failed, 2)
    queue.finish(0)
    assert queue.take(0) == [Part(failed, (2,), last=True)]


# --- the command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def has_gpu(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Run `dcmtx` as a process of its own that has a GPU."""
    stage = Stage(tmp_path)
    environment = stage.environment(LD_LIBRARY_PATH=str(driver(tmp_path / "driver")))

    def run(*arguments: Any, **more: Any) -> Any:
        return spawn(*arguments, env=environment | more.pop("more", {}), **more)

    run.stage = stage
    yield run
    stage.end()
    stage.close()


def test_a_series_goes_into_htj2k_rpcl_in_one_command(has_gpu: Any, tree: Path, out: Path) -> None:
    for number in range(38):
        write(tree / f"{number:02}.dcm", [grey(number, (64, 70))], sop_instance=f"1.2.3.{number}")
    line = ("--to", "htj2k-rpcl", "--resolutions", "6", "--device", "gpu", "-v", "-j", "3")
    ran = has_gpu("convert", tree, out, *line)
    assert ran.returncode == 0, ran.stderr
    for number in range(38):
        data = (out / f"{number:02}.dcm").read_bytes()
        assert not oracle.different([grey(number, (64, 70))], oracle.decoded(data))
        header = oracle.parse(oracle.codestreams(data)[0])
        assert (dicom.walk(data).syntax, header.levels, header.progression) == (dicom.HTJ2K_RPCL, 5, "RPCL")
    assert len(has_gpu.stage.processes) == 1, "all workers feed one process"


def test_of_a_batch_the_file_that_crashes_the_process_fails(has_gpu: Any, tree: Path, out: Path) -> None:
    for number in range(12):
        frame = grey(number)
        write(tree / f"{number:02}.dcm", [marked(frame, "crash") if number == 5 else frame])
    ran = has_gpu("convert", tree, out, "--to", "j2k", "--device", "gpu", "-j", "4", "--json")
    assert ran.returncode != 0
    assert [line for line in ran.stderr.splitlines() if b"error" in line.lower() or b"twice" in line] == [
        line for line in ran.stderr.splitlines() if b"05.dcm: " in line
    ]
    assert sorted(path.name for path in out.iterdir()) == [f"{number:02}.dcm" for number in range(12) if number != 5]
    for number in (0, 4, 6, 11):
        assert not oracle.different([grey(number)], oracle.decoded((out / f"{number:02}.dcm").read_bytes()))


@pytest.mark.skipif(not Path("/usr/bin/prlimit").exists(), reason="prlimit is not installed")
def test_a_limit_of_addresses_does_not_reach_the_process(has_gpu: Any, src: Path, dst: Path) -> None:
    """A context of a GPU reserves more addresses than any limit leaves."""
    write(src, [grey()])
    ran = has_gpu(
        "convert", src, dst, "--to", "j2k", "--device", "gpu", prefix=("prlimit", "--as=4294967296:unlimited")
    )
    assert ran.returncode == 0, ran.stderr
    assert has_gpu.stage.told("limit") == [(has_gpu.stage.processes[0], "-1")]


def test_syntaxes_tell_whether_there_is_a_gpu(has_gpu: Any, command: Callable[..., Ran]) -> None:
    line = next(line for line in has_gpu("syntaxes").stdout.decode().splitlines() if dicom.HTJ2K_RPCL in line)
    assert line.count("nvimgcodec (GPU here)") == 2
    assert not has_gpu.stage.processes, "nobody loads the library for that"
    if gpu.count() == 0:
        assert "nvimgcodec (no GPU here; pip install dcmtx[gpu])" in command("syntaxes").out


def test_json_of_syntaxes_has_the_device() -> None:
    for record in dcmtx.syntaxes():
        for entry in (*record["decode"], *record["encode"]):
            assert (entry["device"] is None) is (entry["backend"] != BACKEND)


@pytest.mark.parametrize("count", [0, 2])
def test_the_driver_is_asked_how_many_there_are(count: int, tmp_path: Path) -> None:
    environment = os.environ | {"LD_LIBRARY_PATH": str(driver(tmp_path, count))}
    program = "from dcmtx.device import gpu; print(gpu.count(), gpu.reason())"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert ran.stdout == ("2 \n" if count else "0 the NVIDIA driver has no GPU for this process\n")


@pytest.mark.parametrize(
    "options", [("--device", "gpu"), ("--encoder", BACKEND), ("--decoder", BACKEND), ("--verify", "device")],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("installed", [False, True], ids=["without the library", "without a GPU"])
def test_without_it_the_command_ends_before_it_touches_a_file(
    options: tuple[str, ...], fails: Callable[..., str], src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch,
    *, installed: bool,
) -> None:  # fmt: skip
    write(src, [grey()])
    monkeypatch.setattr(gpu, "reason", lambda: "there is no NVIDIA driver here")
    monkeypatch.setattr(Row, "is_installed", lambda row: row.backend != BACKEND or installed)
    line = fails(ExitStatus.UNSUPPORTED, "convert", src, dst, "--to", "j2k", *options)
    assert ("pip install dcmtx[gpu]" in line) is not installed
    assert ("needs an NVIDIA GPU, and there is no NVIDIA driver here" in line) is installed


# --- codestreams ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", [None, 64, 32], ids=str)
def test_tile_lengths_are_those_of_the_tile_parts(tile: int | None) -> None:
    import imagecodecs

    frame = grey(3, (150, 200))
    size = None if tile is None else (tile, tile)
    bare = imagecodecs.htj2k_encode(frame, reversible=True, tile=size, resolutions=3, tlm=False)
    theirs = imagecodecs.htj2k_encode(frame, reversible=True, tile=size, resolutions=3, tlm=True)
    ours = insert_tile_lengths(bytes(bare))
    assert np.array_equal(imagecodecs.jpeg2k_decode(ours), frame)
    segment = oracle.parse(ours).segment(0xFF55)
    lengths = [int.from_bytes(segment[at + 2 : at + 6], "big") for at in range(2, len(segment), 6)]
    tiles = [int.from_bytes(segment[at : at + 2], "big") for at in range(2, len(segment), 6)]
    assert (segment[0], segment[1]) == (0, 0x60)
    assert tiles == list(range(len(tiles)))
    assert sum(lengths) == len(bare) - oracle.parse(bytes(bare)).body - 2
    other = oracle.parse(bytes(theirs)).segment(0xFF55)
    assert lengths == [int.from_bytes(other[at + 2 : at + 6], "big") for at in range(2, len(other), 6)]


def test_a_codestream_that_is_not_what_was_asked_is_an_error(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcmtx.codec.nvimgcodec.insert_tile_lengths", lambda stream: stream[:42] + b"\3" + stream[43:])
    (found,) = encoded([grey()])
    assert isinstance(found, CodecError)
    assert "made a codestream whose precision is 4, not 12" in str(found)


def test_the_fake_is_where_it_is_looked_for() -> None:
    assert (FAKE / "nvidia" / "nvimgcodec.py").is_file()
