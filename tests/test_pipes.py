"""`curl ... | dcmtx - - --to SYNTAX | ...`: binary-safe, and nothing partial is believed to be complete."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dicom
import numpy as np
import pytest
from conftest import PATIENCE, spawn
from servers import CLIENT, NEEDED, Server

import dcmtx

# Every value of a byte: line ends, zeros, ^Z.
PIXELS = (np.arange(64 * 64, dtype=np.uint32) * 40503 % 65536).astype("<u2")
SOURCE = dicom.Image(PIXELS.tobytes(), rows=64, columns=64, frames=1).encode()
# More than pipes hold.
LARGE = dicom.Image(np.tile(PIXELS, 64).tobytes(), rows=64, columns=64, frames=64).encode()


@pytest.fixture(scope="module", params=["alone", "served"])
def environment(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """What dcmtx is started with: without a server, and with one."""
    if request.param == "alone":
        yield os.environ | {"DCMTX_SOCKET": ""}
    elif not sys.platform.startswith("linux"):
        pytest.skip("dcmtx serve is for Linux")
    else:
        with Server("--jobs", "4") as server:
            yield server.environment()


@pytest.mark.parametrize("to", ["jpegls", "rle", "implicit", "deflated", "explicit"])
def test_a_pipeline_makes_what_files_make(to: str, environment: dict[str, str], src: Path, dst: Path) -> None:
    src.write_bytes(SOURCE)
    dcmtx.transcode(src, dst, to=to)
    line = f"cat in.dcm | {shlex.join(CLIENT)} - - --to {to} | cat"
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=src.parent, env=environment, capture_output=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout == dst.read_bytes()


# --- an upstream that dies -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three frames in JPEG-LS."""
    directory = tmp_path_factory.mktemp("coded")
    source = dicom.Image(PIXELS.tobytes() * 3, rows=64, columns=64, frames=3)
    (directory / "in.dcm").write_bytes(source.encode())
    dcmtx.transcode(directory / "in.dcm", directory / "out.dcm", to="jpegls")
    return (directory / "out.dcm").read_bytes()


def pixel_element(data: bytes) -> int:
    return data.index(b"\xe0\x7f\x10\x00")


def second_item(data: bytes) -> int:
    """Return where the second fragment begins, behind the table and the first."""
    return [found.start() for found in re.finditer(b"\xfe\xff\x00\xe0", data)][2]


# Where it dies, in how many bytes.
NATIVE_CUTS: dict[str, Callable[[bytes], int]] = {
    "at once": lambda _: 0,
    "in the preamble": lambda _: 100,
    "in the file meta": lambda _: 150,
    "in an element": lambda data: data.index(b"\x28\x00\x02\x00") + 5,
    "between elements": lambda data: data.index(b"\x28\x00\x11\x00"),
    "before the pixels": pixel_element,
    "in the pixels": lambda data: len(data) // 2,
    "before the last byte": lambda data: len(data) - 1,
}
CODED_CUTS: dict[str, Callable[[bytes], int]] = {
    "before the pixels": pixel_element,
    "before the first frame": lambda data: pixel_element(data) + 12,
    "in a frame": lambda data: second_item(data) + 100,
    "between frames": second_item,
    "behind the last frame": lambda data: len(data) - 8,
    "in the last delimiter": lambda data: len(data) - 4,
}


def assert_an_upstream_that_dies_is_told(data: bytes, cut: int, to: str, directory: Path, **options: object) -> None:
    (directory / "in.dcm").write_bytes(data)
    line = f"(head -c {cut} in.dcm; kill -9 $BASHPID) | {shlex.join(CLIENT)} - - --to {to}"
    ran = subprocess.run(
        ["bash", "-c", line], cwd=directory, capture_output=True, timeout=PATIENCE, check=False, **options
    )
    assert (ran.returncode, ran.stdout) == (3, b"")
    assert re.fullmatch(rb"dcmtx: standard input: [^\n]+\n", ran.stderr)


# In the target syntax it would be copied byte for byte.
@pytest.mark.parametrize("to", ["rle", "implicit", "explicit"])
@pytest.mark.parametrize("cut", NATIVE_CUTS.values(), ids=NATIVE_CUTS.keys())
def test_an_upstream_of_native_pixels_dies(cut: Callable[[bytes], int], to: str, tmp_path: Path) -> None:
    assert_an_upstream_that_dies_is_told(SOURCE, cut(SOURCE), to, tmp_path)


@pytest.mark.parametrize("to", ["explicit", "rle", "jpegls"])
@pytest.mark.parametrize("cut", CODED_CUTS.values(), ids=CODED_CUTS.keys())
def test_an_upstream_of_frames_dies(cut: Callable[[bytes], int], to: str, coded: bytes, tmp_path: Path) -> None:
    assert_an_upstream_that_dies_is_told(coded, cut(coded), to, tmp_path)


@pytest.mark.parametrize("to", ["rle", "deflated"])
def test_an_upstream_of_a_deflated_data_set_dies(to: str, src: Path, dst: Path) -> None:
    src.write_bytes(SOURCE)
    dcmtx.transcode(src, dst, to="deflated")
    data = dst.read_bytes()
    for cut in (len(data) // 2, len(data) - 2):
        assert_an_upstream_that_dies_is_told(data, cut, to, src.parent)


def test_an_upstream_dies_with_a_server(environment: dict[str, str], tmp_path: Path) -> None:
    for to in ("rle", "explicit"):
        assert_an_upstream_that_dies_is_told(SOURCE, len(SOURCE) // 2, to, tmp_path, env=environment)


def test_whole_streams_of_frames_are_copied_as_they_are(coded: bytes) -> None:
    ran = spawn("-", "-", "--to", "jpegls", input=coded)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, coded, b"")


def test_what_has_no_pixels_may_come_in_a_stream() -> None:
    elements = [dicom.element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.88.11"), dicom.element(0x00080060, "CS", "SR")]
    data = dicom.file(elements)
    ran = spawn("-", "-", "--to", "explicit", input=data)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, data, b"")


# --- a downstream that goes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ignored", [False, True], ids=["SIGPIPE as usual", "SIGPIPE ignored"])
@pytest.mark.parametrize("to", ["implicit", "explicit", "rle"])
def test_a_downstream_that_reads_a_little_and_goes(to: str, ignored: bool, environment: dict[str, str]) -> None:
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        # subprocess would give SIGPIPE back to its child.
        process = subprocess.Popen(
            [*CLIENT, "-", "-", "--to", to], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment, restore_signals=False,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGPIPE, before)
    with process:
        process.stdin.write(LARGE)
        process.stdin.close()
        assert process.stdout.read(1) == b"\0"
        process.stdout.close()
        error = process.stderr.read()
        assert process.wait(PATIENCE) == 8
    assert re.fullmatch(rb"dcmtx: [^\n]*standard output[^\n]*\n", error)


# --- a hook's environment --------------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="descriptors of processes are in /proc")
@pytest.mark.parametrize("path", ["", "/none"], ids=["no server wanted", "no server there"])
def test_pipes_need_nothing_of_the_environment(path: str, src: Path, dst: Path) -> None:
    """A bare PATH, no LANG, no HOME, /, and somebody's descriptors."""
    src.write_bytes(SOURCE)
    dcmtx.transcode(src, dst, to="jpegls")
    reader, writer = os.pipe()
    options = {
        "env": NEEDED | {"PATH": "/usr/bin:/bin", "DCMTX_SOCKET": path}, "cwd": "/", "pass_fds": [reader, writer],
        "restore_signals": False,
    }  # fmt: skip
    try:
        ran = spawn("-", "-", "--to", "jpegls", input=SOURCE, **options)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, dst.read_bytes(), b"")
        odd = src.with_name("größe.dcm")
        odd.write_bytes(SOURCE[:-9])
        ran = spawn(odd, dst, "--to", "jpegls", stdin=subprocess.DEVNULL, **options)
        assert (ran.returncode, ran.stdout) == (3, b"")
        assert re.fullmatch(rf"dcmtx: {re.escape(os.fspath(odd))}: [^\n]+\n", ran.stderr.decode())
    finally:
        os.close(reader)
        os.close(writer)
