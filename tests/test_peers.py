"""What went wrong in other converters, and must not here: one group of tests for each fault, named by it.

The faults were seen in gdcmconv, DCMTK, dcm2dcm, dicom-transcode and pydicom.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import images
import numpy as np
import oracle
import pydicom
import pytest
from conftest import ROOT, Ran, contents, old_file, spawn
from images import Format, Words

from dcmtx import DcmtxError, transcode

Command = Callable[..., Ran]
Fails = Callable[..., str]

GREY = Format("MONOCHROME2", 8, 8)
TWELVE = Format("MONOCHROME2", 16, 12)
COLOUR = Format("RGB", 8, 8)
YBR = Format("YBR_FULL", 8, 8)
SIDE = 48
LOSSLESS = ("rle", "jpeg", "jpegls", "j2k", "htj2k", "encapsulated", "deflated-frames")
LOSS_TAGS = {0x00280000 + tag for tag in (0x2110, 0x2112, 0x2114)}


def picture(fmt: Format, side: int = SIDE) -> Words:
    """Return a picture of slow waves in saturated colours, from the least value to the greatest."""
    y, x = np.mgrid[:side, :side] / side
    waves = [0.5 + 0.5 * np.sin(2 * np.pi * (x + number / 3) + y) for number in range(fmt.samples)]
    words = (np.stack(waves, axis=-1) * (fmt.high - fmt.low) + fmt.low).astype(fmt.dtype)
    return words if fmt.samples > 1 else words[..., 0]


def file_of(fmt: Format, frames: list[Words], **more: Any) -> bytes:
    return images.image(fmt, frames, **more).encode()


def walked(path: Path) -> dicom.Walked:
    return dicom.walk(path.read_bytes())


def frames_in(path: Path, encoder: str = "") -> list[Words]:
    return oracle.decoded(path.read_bytes(), encoder)


def bundled(name: str) -> bytes:
    return (ROOT / "testdata" / name).read_bytes()


# --- an option for one encoding writes another, and says nothing (gdcmconv -X, -M, -d) --------------------------

WORDS = {
    "-X": dicom.EXPLICIT, "--explicit": dicom.EXPLICIT, "-M": dicom.IMPLICIT, "--implicit": dicom.IMPLICIT,
    "-d": dicom.DEFLATED, "--deflated": dicom.DEFLATED,
}  # fmt: skip


@pytest.mark.parametrize(("word", "syntax"), WORDS.items(), ids=WORDS.keys())
@pytest.mark.parametrize("origin", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.DEFLATED, dicom.BIG_ENDIAN, dicom.RLE])
def test_an_option_writes_the_encoding_that_it_names(
    word: str, syntax: str, origin: str, src: Path, dst: Path, command: Command
) -> None:
    frames = images.make_frames(TWELVE, 5, 7, 2)
    image = images.image(TWELVE, frames, syntax=origin)
    if origin == dicom.RLE:
        image.pixels = [images.annex_g(TWELVE, frame) for frame in frames]
    src.write_bytes(image.encode())
    assert command(src, dst, word).status == 0
    # The walker reads the data set as its File Meta Information says, and would fail on another encoding.
    assert walked(dst).syntax == syntax
    assert not oracle.different(frames, oracle.native(dst.read_bytes()))


# --- lossy JPEG of RGB holds YBR but says RGB (gdcmconv -J -Y) --------------------------------------------------


@pytest.mark.parametrize("subsampling", ["422", "444", None])
def test_lossy_jpeg_of_rgb_is_of_the_colour_that_it_says(subsampling: str | None, src: Path, dst: Path) -> None:
    frame = picture(COLOUR)
    src.write_bytes(file_of(COLOUR, [frame]))
    transcode(src, dst, to="jpeg-baseline", lossy=True, subsampling=subsampling)
    file = walked(dst)
    (stream,) = file.fragments
    said = oracle.attributes(file).photometric
    assert said == ("RGB" if subsampling == "444" else "YBR_FULL_422")
    components = oracle.by_libjpeg(stream, oracle.attributes(file)).astype(float)
    rgb = components if said == "RGB" else as_rgb(components)
    assert np.abs(rgb - frame).mean() < 4
    assert file.elements[0x00282110].text == "01"


@pytest.mark.parametrize("subsampling", ["422", "444"])
def test_lossy_jpeg_of_rgb_has_its_colours_for_readers_that_trust_the_tag(
    subsampling: str, src: Path, dst: Path, tmp_path: Path
) -> None:
    frame = picture(COLOUR)
    src.write_bytes(file_of(COLOUR, [frame]))
    transcode(src, dst, to="jpeg-baseline", lossy=True, subsampling=subsampling)
    for read in (oracle.dcmtk, oracle.gdcm):
        decoded = read(dst, tmp_path)
        (found,) = oracle.native(decoded)
        if oracle.attributes(dicom.walk(decoded)).photometric.startswith("YBR"):
            found = as_rgb(found)
        assert np.abs(found.astype(float) - frame).mean() < 4, read.__name__


def test_lossy_jpeg_decodes_to_its_own_colours_again(src: Path, dst: Path, tmp_path: Path) -> None:
    frame, back = picture(COLOUR), tmp_path / "back.dcm"
    src.write_bytes(file_of(COLOUR, [frame]))
    transcode(src, dst, to="jpeg-baseline", lossy=True)
    transcode(dst, back, to="raw")
    assert oracle.attributes(walked(back)).photometric == "RGB"
    (found,) = oracle.native(back.read_bytes())
    assert np.abs(found.astype(float) - frame).mean() < 4


# PS3.3 C.7.6.3.1.2.
TO_YBR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def as_rgb(components: Words) -> Words:
    return ((components.astype(float) - [0, 128, 128]) @ np.linalg.inv(TO_YBR).T).clip(0, 255)


def as_ybr(frame: Words) -> Words:
    return (frame @ TO_YBR.T + [0, 128, 128]).clip(0, 255)


# --- precisions that no codec has: JPEG of 16 bits with loss, JPEG 2000 of 32 (gdcmconv -J -Y, -K) --------------


@pytest.mark.parametrize("stored", [13, 14, 15, 16])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("to", ["jpeg", "jpeg-baseline", "jpeg-extended"])
def test_lossy_jpeg_has_no_precision_above_12(stored: int, signed: bool, to: str, src: Path, fails: Fails) -> None:
    fmt = Format("MONOCHROME2", 16, stored, signed)
    src.write_bytes(file_of(fmt, [picture(fmt)]))
    assert "use --to " in fails(5, src, src.with_name("new.dcm"), "--to", to, "--lossy")


@pytest.mark.parametrize("stored", range(9, 13))
def test_lossy_jpeg_of_up_to_12_bits_has_a_precision_of_12(stored: int, src: Path, dst: Path) -> None:
    fmt = Format("MONOCHROME2", 16, stored)
    src.write_bytes(file_of(fmt, [picture(fmt)]))
    transcode(src, dst, to="jpeg", lossy=True)
    file = walked(dst)
    (stream,) = map(oracle.parse, file.fragments)
    assert (file.syntax, stream.process, stream.precision) == (dicom.JPEG_EXTENDED, 0xC1, 12)
    assert oracle.attributes(file).stored == 12


@pytest.mark.parametrize("fmt", [Format("MONOCHROME2", 32, 32), Format("RGB", 32, 32)], ids=str)
@pytest.mark.parametrize("to", ["j2k", "htj2k", "JPEG2000", "HTJ2K"])
def test_jpeg_2000_of_32_bits_is_refused_since_nothing_decodes_it(
    fmt: Format, to: str, src: Path, fails: Fails
) -> None:
    src.write_bytes(file_of(fmt, images.make_frames(fmt, 5, 7)))
    assert "use --to " in fails(4, src, src.with_name("new.dcm"), "--to", to)


def test_a_dose_of_32_bits_has_a_compressed_way_out(src: Path, dst: Path) -> None:
    src.write_bytes(bundled("rtdose-32.dcm"))
    with pytest.raises(DcmtxError, match="use --to deflated-frames"):
        transcode(src, dst, to="rle")
    transcode(src, dst, to="deflated-frames")
    assert not oracle.different(oracle.native(src.read_bytes()), frames_in(dst))


# --- a conversion that fails truncates what was there, or crashes (gdcmconv) ------------------------------------

BITS = Format("MONOCHROME2", 1, 1)
FAILING: dict[str, tuple[bytes, list[str]]] = {
    "refused": (file_of(Format("MONOCHROME2", 32, 32), [np.zeros((9, 9), "u4")]), ["--to", "rle"]),
    "truncated": (file_of(GREY, [picture(GREY)])[:-20], ["--to", "jpegls"]),
    "no DICOM": (b"no DICOM at all", ["--to", "jpegls"]),
    "a frame that fails in the middle": (
        replace(
            images.image(GREY, [picture(GREY)] * 3, syntax=dicom.RLE),
            pixels=[images.annex_g(GREY, picture(GREY))] * 2 + [b"\1\0\0\0\x40\0\0\0" + bytes(56) + b"\xff\0" * 4],
        ).encode(),
        ["--to", "jpegls"],
    ),
}


@pytest.mark.parametrize(("data", "words"), FAILING.values(), ids=FAILING.keys())
@pytest.mark.parametrize("there", [True, False], ids=["over a file", "to a new name"])
def test_a_failure_leaves_no_file_and_no_empty_one(
    data: bytes, words: list[str], there: bool, src: Path, dst: Path, command: Command
) -> None:
    src.write_bytes(data)
    if there:
        old_file(dst)
    before = contents(src.parent)
    ran = command(src, dst, *words)
    assert ran.status in (3, 5, 6)
    assert contents(src.parent) == before


@pytest.mark.parametrize("origin", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG_ENDIAN])
@pytest.mark.parametrize("pixel_vr", ["OB", "OW"])
@pytest.mark.parametrize("to", [*LOSSLESS, "implicit", "big-endian", "deflated"])
def test_colour_of_an_odd_number_of_bytes_is_converted(
    origin: str, pixel_vr: str, to: str, src: Path, dst: Path
) -> None:
    frames = images.make_frames(COLOUR, 3, 3)
    src.write_bytes(file_of(COLOUR, frames, syntax=origin, pixel_vr="OW" if origin == dicom.IMPLICIT else pixel_vr))
    outcome = transcode(src, dst, to=to, force=True)
    assert not oracle.different(frames, frames_in(dst, outcome.encoder))


@pytest.mark.parametrize("word", ["-J", "-L", "-K", "-R", "--htj2k"])
def test_a_segmentation_of_one_bit_is_refused_not_fatal(word: str, src: Path, dst: Path) -> None:
    src.write_bytes(bundled("seg-binary.dcm"))
    ran = spawn(src, dst, word)
    assert ran.returncode == 5, ran.stderr
    assert b"use --to deflated-frames" in ran.stderr
    assert not dst.exists()


# --- the exit status is 0 whatever happened (the gdcmconv of python-gdcm, dcm2dcm) ------------------------------

PROGRAM = Path(sys.executable).with_name("dcmtx")
STATUSES: dict[str, tuple[int, list[str]]] = {
    "usage": (2, ["in.dcm", "out.dcm"]),
    "no source": (3, ["missing.dcm", "out.dcm", "-R"]),
    "not supported": (4, ["in.dcm", "out.dcm", "--to", "1.2.840.10008.1.2.4.100"]),
    "refused": (5, ["in.dcm", "out.dcm", "--to", "jpeg-baseline"]),
    "a destination in no folder": (8, ["in.dcm", "no/such/out.dcm", "-R"]),
    "done": (0, ["in.dcm", "out.dcm", "-R"]),
}


@pytest.mark.parametrize(("status", "words"), STATUSES.values(), ids=STATUSES.keys())
def test_the_program_as_installed_ends_with_the_status_of_what_happened(
    status: int, words: list[str], src: Path, tmp_path: Path
) -> None:
    src.write_bytes(file_of(TWELVE, [picture(TWELVE)]))
    line = [str(PROGRAM)] if PROGRAM.exists() else [sys.executable, "-m", "dcmtx"]
    ran = subprocess.run([*line, *words], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert ran.returncode == status, ran.stderr


CRASH = """
import os, signal, sys
import dcmtx.codec.rle
dcmtx.codec.rle.encode_imagecodecs = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
from dcmtx.cli import main
sys.argv = ["dcmtx", *sys.argv[1:]]
main()
"""


def test_a_crash_of_a_codec_is_no_success(src: Path, dst: Path) -> None:
    src.write_bytes(file_of(GREY, [picture(GREY)]))
    old_file(dst)
    line = [sys.executable, "-c", CRASH, src, dst, "-R"]
    ran = subprocess.run(line, capture_output=True, timeout=60, check=False)
    assert ran.returncode != 0
    assert dst.read_bytes() == b"what was here before"


def test_of_many_files_one_that_fails_makes_the_status_and_is_named(tmp_path: Path, command: Command) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    for name in ("a.dcm", "c.dcm"):
        (source / name).write_bytes(file_of(GREY, [picture(GREY)]))
    (source / "b.dcm").write_bytes(file_of(GREY, [picture(GREY)])[:-20])
    ran = command(source, out, "-R", "-j", "1")
    assert ran.status == 9
    assert "b.dcm" in ran.err
    assert sorted(path.name for path in out.iterdir()) == ["a.dcm", "c.dcm"]


# --- a stale Extended Offset Table survives (gdcmconv, DCMTK, pydicom) ------------------------------------------

TABLES = {0x7FE00001, 0x7FE00002, 0x7FE00003}


@pytest.mark.parametrize("then", LOSSLESS)
@pytest.mark.parametrize("to", [*LOSSLESS, "raw", "implicit"])
def test_an_extended_offset_table_does_not_outlive_its_fragments(
    to: str, then: str, src: Path, dst: Path, tmp_path: Path
) -> None:
    """Nor is it there after the next step, whose file must be read by those who believe such tables."""
    src.write_bytes(bundled("sc-multiframe-extended-offsets.dcm"))
    assert walked(src).elements.keys() >= {0x7FE00001, 0x7FE00002}
    expected, again = frames_in(src), tmp_path / "again.dcm"
    transcode(src, dst, to=to)
    if to != "j2k":
        # That is its own syntax, in which it is copied.
        assert not TABLES & walked(dst).elements.keys()
    outcome = transcode(dst, again, to=then, force=True)
    assert not TABLES & walked(again).elements.keys()
    assert not oracle.different(expected, frames_in(again, outcome.encoder))
    assert not oracle.different(expected, by_pydicom(again))


def by_pydicom(path: Path) -> list[Words]:
    """Return the frames as pydicom has them, which goes by the Extended Offset Table, where it knows the syntax."""
    if walked(path).syntax in (oracle.ENCAPSULATED, oracle.DEFLATED_FRAMES):
        return frames_in(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(pydicom.dcmread(path).pixel_array)


def test_a_stale_extended_offset_table_in_the_source_is_not_believed(src: Path, dst: Path) -> None:
    frames = [picture(GREY), picture(GREY)[::-1], picture(GREY).T]
    stale = {
        0x7FE00001: dicom.element(0x7FE00001, "OV", [0, 100, 150]),
        0x7FE00002: dicom.element(0x7FE00002, "OV", [92, 42, 64]),
    }
    image = images.image(GREY, frames, syntax=dicom.RLE, before=stale)
    image.pixels = [images.annex_g(GREY, frame) for frame in frames]
    src.write_bytes(image.encode())
    for to in ("raw", "jpegls", "rle"):
        transcode(src, dst, to=to, force=True)
        assert not TABLES & walked(dst).elements.keys()
        assert not oracle.different(frames, frames_in(dst))


# --- a damaged codestream becomes noise, with status 0 (gdcmconv, pydicom, dcmdjpeg) ----------------------------


def streams() -> dict[str, tuple[str, bytes]]:
    """Return a codestream of the same picture by each codec, and its syntax."""
    frame = picture(GREY)
    noisy = frame ^ (np.arange(frame.size).reshape(frame.shape) % 7).astype("u1")
    return {
        "JPEG-LS": (dicom.JPEGLS, bytes(imagecodecs.jpegls_encode(noisy))),
        "JPEG XL": (oracle.JPEG_XL_LOSSLESS, bytes(imagecodecs.jpegxl_encode(noisy, lossless=True))),
        "RLE": (dicom.RLE, images.annex_g(GREY, noisy)),
        "deflated frames": (oracle.DEFLATED_FRAMES, zlib.compress(noisy.tobytes(), wbits=-15)),
        "JPEG 2000": (
            dicom.J2K_LOSSLESS,
            bytes(imagecodecs.jpeg2k_encode(noisy, level=0, codecformat="j2k", reversible=True)),
        ),
        "HTJ2K": (dicom.HTJ2K_LOSSLESS, bytes(imagecodecs.htj2k_encode(noisy, reversible=True))),
        "lossy JPEG": (dicom.JPEG_BASELINE, bytes(imagecodecs.jpeg8_encode(noisy, level=90))),
        "lossless JPEG": (dicom.JPEG_SV1, bytes(imagecodecs.jpeg8_encode(noisy, lossless=True, predictor=1))),
    }


STREAMS = streams()
# Codes without any check: their decoders see no more than what breaks the structure.
UNSEEN = {
    "JPEG 2000": "OpenJPEG tells nothing of damage within code-blocks",
    "HTJ2K": "OpenJPEG tells nothing of damage within code-blocks",
    "lossy JPEG": "libjpeg fills in what is damaged, and imagecodecs keeps its warning back",
    "lossless JPEG": "libjpeg fills in what is damaged, and imagecodecs keeps its warning back",
}


def unless_unseen(name: str) -> Any:
    """Return the name as a parameter, marked if such damage is known to go unnoticed."""
    marks = [pytest.mark.xfail(strict=True, reason=UNSEEN[name])] if name in UNSEEN else []
    return pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", [unless_unseen(name) for name in STREAMS])
def test_a_damaged_codestream_does_not_become_noise(name: str, src: Path, dst: Path) -> None:
    """64 bytes of zeros at several places: what comes out is the picture, or an error."""
    syntax, stream = STREAMS[name]
    statuses = set()
    for part in range(2, 9):
        start = len(stream) * part // 10
        damaged = stream[:start] + bytes(64) + stream[start + 64 :]
        image = replace(images.image(GREY, [picture(GREY)]), pixels=[damaged], syntax=syntax)
        src.write_bytes(image.encode())
        statuses.add(status_of(src, dst))
    assert statuses <= {3, 6}
    assert not dst.exists()


def status_of(src: Path, dst: Path) -> int:
    try:
        transcode(src, dst, to="explicit")
    except DcmtxError as error:
        return error.status
    return 0


@pytest.mark.parametrize("part", [30, 60, 90])
def test_a_jpeg_2000_codestream_without_its_end_does_not_become_noise(part: int, src: Path, dst: Path) -> None:
    syntax, stream = STREAMS["JPEG 2000"]
    cut = stream[: len(stream) * part // 100]
    src.write_bytes(replace(images.image(GREY, [picture(GREY)]), pixels=[cut], syntax=syntax).encode())
    with pytest.raises(DcmtxError) as caught:
        transcode(src, dst, to="explicit")
    assert caught.value.status in (3, 6)
    assert not dst.exists()


# --- an object without pixels says that it is compressed (DCMTK, Orthanc, fo-dicom) -----------------------------


@pytest.mark.parametrize("word", ["-R", "-J", "-L", "-K", "--htj2k"])
@pytest.mark.parametrize("origin", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.DEFLATED])
def test_a_report_is_never_said_to_be_compressed(
    word: str, origin: str, src: Path, dst: Path, tmp_path: Path, command: Command
) -> None:
    made = tmp_path / "made.dcm"
    made.write_bytes(bundled("sr-text.dcm"))
    transcode(made, src, to=origin)
    ran = command(src, dst, word)
    assert ran.status == 0
    assert "no pixels" in ran.line
    file = walked(dst)
    assert file.syntax == dicom.EXPLICIT
    # Group lengths are retired and go.
    before = {tag: found.value for tag, found in walked(made).elements.items() if tag & 0xFFFF}
    assert {tag: found.value for tag, found in file.elements.items()} == before


# --- a new instance for a change that loses nothing, none told for one that loses (pydicom 3.0) -----------------


@pytest.mark.parametrize("to", [*LOSSLESS, "implicit", "deflated", "big-endian", "jpegls-near", "JPEG2000", "HTJ2K"])
def test_a_lossless_change_keeps_the_instance(to: str, src: Path, dst: Path, tmp_path: Path) -> None:
    src.write_bytes(bundled("ct-explicit.dcm"))
    back, instance = tmp_path / "back.dcm", walked(src).elements[0x00080018].text
    transcode(src, dst, to=to)
    transcode(dst, back, to="explicit")
    for file in (walked(dst), walked(back)):
        assert file.meta[0x00020003].text == file.elements[0x00080018].text == instance
        assert not LOSS_TAGS & file.elements.keys()
        assert file.elements[0x00080008].value == walked(src).elements[0x00080008].value


LOSING = {
    "jpeg-extended": "ISO_10918_1", "jpegls-near": "ISO_14495_1", "JPEG2000": "ISO_15444_1", "HTJ2K": "ISO_15444_15",
    "JPEGXL": "ISO_18181_1",
}  # fmt: skip


@pytest.mark.parametrize(("to", "method"), LOSING.items(), ids=LOSING.keys())
def test_a_lossy_change_is_told_in_full(to: str, method: str, src: Path, dst: Path) -> None:
    src.write_bytes(file_of(TWELVE, [picture(TWELVE)]))
    transcode(src, dst, to=to, lossy=True)
    file = walked(dst)
    elements = file.elements
    assert elements[0x00080018].text == file.meta[0x00020003].text != "1.2.3.4"
    assert (elements[0x00282110].text, elements[0x00282114].text) == ("01", method)
    (stream,) = file.fragments
    assert float(elements[0x00282112].text) == pytest.approx(SIDE * SIDE * 12 / 8 / len(stream), rel=0.01)
    assert elements[0x00080008].text == "DERIVED\\PRIMARY"
    assert elements[0x00082111].text
    (code,) = elements[0x00089215].items or []
    assert code[0x00080100].text == "113040"
    (source,) = elements[0x00082112].items or []
    assert source[0x00081155].text == "1.2.3.4"


@pytest.mark.parametrize("to", ["raw", "implicit", "deflated", "big-endian"])
def test_an_icon_in_a_native_file_is_native(to: str, src: Path, dst: Path) -> None:
    src.write_bytes(bundled("ct-icon-jpeg-lossless.dcm"))
    transcode(src, dst, to=to)
    before, file = (icon_of(walked(path)) for path in (src, dst))
    assert before.elements[dicom.PIXEL_DATA].fragments is not None
    assert file.elements[dicom.PIXEL_DATA].fragments is None
    said = oracle.attributes(before)
    (stream,) = before.fragments
    expected = np.ascontiguousarray(oracle.by_libjpeg(stream, said), f"<u{said.allocated // 8}").tobytes()
    value = file.elements[dicom.PIXEL_DATA].value
    assert value == expected + b"\0" * (len(expected) % 2)


def icon_of(file: dicom.Walked) -> dicom.Walked:
    (item,) = file.elements[0x00880200].items or []
    return dicom.Walked(b"", {}, item, [], b"")


# --- the source is gone, because the destination is the same file (dcm2dcm) -------------------------------------


@pytest.mark.parametrize(("data", "words"), FAILING.values(), ids=FAILING.keys())
def test_a_failure_in_place_keeps_the_source(data: bytes, words: list[str], src: Path, command: Command) -> None:
    src.write_bytes(data)
    before = contents(src.parent)
    assert command(src, src, *words).status in (3, 5, 6)
    assert contents(src.parent) == before


@pytest.mark.parametrize("to", [*LOSSLESS, "implicit", "deflated", "big-endian"])
def test_a_file_may_be_converted_onto_itself(to: str, src: Path, command: Command) -> None:
    frames = images.make_frames(TWELVE, 33, 31, 5)
    src.write_bytes(file_of(TWELVE, frames))
    assert command(src, src, "--to", to).status == 0
    assert not oracle.different(frames, frames_in(src, "imagecodecs"))


# --- fragments are copied into a native file as if they were cells (dcm2dcm) ------------------------------------


def wrapped(syntax: str, pack: Callable[[bytes], bytes]) -> dict[str, bytes]:
    """Return files whose frames are cells in fragments, of odd length, of 16 bits, and of 1 bit."""
    files = {}
    for fmt in (GREY, TWELVE, BITS, COLOUR):
        frames = images.make_frames(fmt, 5, 7, 3)
        size = -(-35 * fmt.allocated * fmt.samples // 8)
        fragments = [pack(images.cells(fmt, [frame])[:size]) for frame in frames]
        files[str(fmt)] = replace(images.image(fmt, frames), pixels=fragments, syntax=syntax).encode()
    return files


def deflated(cells: bytes) -> bytes:
    return zlib.compress(cells, wbits=-15)


WRAPPED = {
    f"{name}: {fmt}": data
    for name, syntax, pack in (
        ("Encapsulated Uncompressed", oracle.ENCAPSULATED, bytes),
        ("Deflated Image Frame", oracle.DEFLATED_FRAMES, deflated),
    )
    for fmt, data in wrapped(syntax, pack).items()
}


@pytest.mark.parametrize("data", WRAPPED.values(), ids=WRAPPED.keys())
@pytest.mark.parametrize("to", ["explicit", "implicit", "deflated", "big-endian"])
def test_cells_in_fragments_become_native_cells(data: bytes, to: str, src: Path, dst: Path) -> None:
    src.write_bytes(data)
    transcode(src, dst, to=to)
    assert not oracle.different(frames_in(src), oracle.native(dst.read_bytes()))


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.999", "1.2.840.10008.1.2.1.97", "1.3.6.1.4.1.5962.300.1"])
@pytest.mark.parametrize("to", ["explicit", "rle"])
def test_fragments_of_an_unknown_syntax_are_not_copied(syntax: str, to: str, src: Path, fails: Fails) -> None:
    image = replace(images.image(GREY, [picture(GREY)]), pixels=[bytes(SIDE * SIDE)], syntax=syntax)
    src.write_bytes(image.encode())
    assert syntax in fails(4, src, src.with_name("new.dcm"), "--to", to)


# --- YBR is relabelled RGB, quality becomes a large NEAR (dicom-transcode) --------------------------------------


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("to", [one for one in LOSSLESS if one not in ("encapsulated", "deflated-frames")])
def test_native_ybr_is_not_called_rgb(photometric: str, to: str, src: Path, dst: Path) -> None:
    fmt = Format(photometric, 8, 8)
    frames = images.make_frames(fmt, 6, 8, 2)
    src.write_bytes(file_of(fmt, frames))
    outcome = transcode(src, dst, to=to)
    assert oracle.attributes(walked(dst)).photometric == "YBR_FULL"
    assert not oracle.different(frames, frames_in(dst, outcome.encoder))


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("to", ["jpeg-baseline", "JPEGXL", "JPEG2000"])
def test_native_ybr_has_its_colours_after_loss(photometric: str, to: str, src: Path, dst: Path) -> None:
    """The picture is RGB, given in YBR; whatever the file written says of its colour, the picture comes out."""
    picture_rgb = picture(COLOUR)
    ybr = np.rint(as_ybr(picture_rgb)).astype("u1")
    frame = images.half_chroma(ybr) if photometric == "YBR_FULL_422" else ybr
    src.write_bytes(file_of(Format(photometric, 8, 8), [frame]))
    transcode(src, dst, to=to, lossy=True)
    (found,) = frames_in(dst)
    said = oracle.attributes(walked(dst)).photometric
    rgb = as_rgb(found) if said.startswith("YBR_FULL") else found.astype(float)
    assert np.abs(rgb - picture_rgb).mean() < 10


@pytest.mark.parametrize("quality", ["1", "85", "100"])
@pytest.mark.parametrize("word", ["jpegls", "jpegls-near"])
def test_a_quality_is_never_taken_for_near(quality: str, word: str, src: Path, fails: Fails) -> None:
    src.write_bytes(file_of(Format("MONOCHROME2", 16, 16), [picture(Format("MONOCHROME2", 16, 16))]))
    line = fails(2, src, src.with_name("new.dcm"), "--to", word, "--lossy", "--quality", quality)
    assert "--quality does not go with" in line


@pytest.mark.parametrize("near", [None, 1, 3])
def test_near_is_what_was_asked_for_whatever_the_bits(near: int | None, src: Path, dst: Path) -> None:
    for fmt in (GREY, TWELVE, Format("MONOCHROME2", 16, 16)):
        src.write_bytes(file_of(fmt, [picture(fmt)]))
        transcode(src, dst, to="jpegls", lossy=True, near=near)
        assert [oracle.parse(stream).near for stream in walked(dst).fragments] == [near or 2]
        (found,) = frames_in(dst)
        assert np.abs(found.astype(int) - picture(fmt)).max() <= (near or 2)
