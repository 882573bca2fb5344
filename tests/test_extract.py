"""`dcmtx index` and `dcmtx frames`: what other readers find at those places, and in those files."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import os
import re
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import images
import numpy as np
import oracle
import pydicom
import pytest
from conftest import ROOT, need_tool, spawn
from images import Format
from pydicom.encaps import generate_frames
from stores import SERVERS

import dcmtx
from dcmtx import transcode
from dcmtx.errors import DcmtxError, UsageError
from dcmtx.inspect.extract import Form, extract, numbers
from dcmtx.inspect.ranges import index

TESTDATA = ROOT / "testdata"
FILES = sorted(path for path in TESTDATA.glob("*.dcm") if path.stem not in ("sr-text", "ct-deflated"))
EOC = b"\xff\xd9"


def fetched(data: bytes, ranges: Any) -> bytes:
    return b"".join(data[offset : offset + length] for offset, length in ranges)


# --- places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_frame_is_where_the_index_says(path: Path) -> None:
    """As pydicom finds the frames, or the bytes of Pixel Data."""
    data, dataset = path.read_bytes(), pydicom.dcmread(path)
    found = index(str(path))
    count = int(dataset.get("NumberOfFrames", 1))
    assert [frame.frame for frame in found.frames] == list(range(1, count + 1))
    assert (found.size, found.syntax) == (len(data), dataset.file_meta.TransferSyntaxUID)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        wanted = list(generate_frames(dataset.PixelData, number_of_frames=count))
        assert [fetched(data, frame.ranges) for frame in found.frames] == wanted
        return
    if dataset.BitsAllocated == 1:
        bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
        size = dataset.Rows * dataset.Columns
        for frame in found.frames:
            there = np.unpackbits(np.frombuffer(fetched(data, frame.ranges), np.uint8), bitorder="little")
            wanted = bits[(frame.frame - 1) * size : frame.frame * size]
            assert (there[frame.first_bit :][:size] == wanted).all()
        return
    whole = b"".join(fetched(data, frame.ranges) for frame in found.frames)
    assert len(dataset.PixelData) - len(whole) in (0, 1)
    assert dataset.PixelData.startswith(whole)


@pytest.mark.parametrize(("name", "code"), [("sr-text.dcm", "E_NO_PIXELDATA"), ("ct-deflated.dcm", "E_UNSUPPORTED_TS")])
def test_what_has_no_places_is_an_error(name: str, code: str) -> None:
    with pytest.raises(DcmtxError) as caught:
        index(str(TESTDATA / name))
    assert (caught.value.code, caught.value.path) == (code, str(TESTDATA / name))


class Ranges(http.server.SimpleHTTPRequestHandler):
    """A static web server that answers one range of bytes (RFC 9110 14.2), as every real one does."""

    def do_GET(self) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        data = Path(self.translate_path(self.path)).read_bytes()
        first, last = int(asked[1]), int(asked[2])
        part = data[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def web(directory: Path) -> Iterator[str]:
    """Serve a directory on loopback."""

    def handler(*arguments: Any) -> Ranges:
        return Ranges(*arguments, directory=str(directory))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def get(url: str, ranges: list[list[int]]) -> bytes:
    got = []
    for offset, length in ranges:
        request = urllib.request.Request(url, headers={"Range": f"bytes={offset}-{offset + length - 1}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 206
            got.append(answer.read())
    return b"".join(got)


def by_openjpeg(stream: bytes, reduce: int, shape: tuple[int, ...], scratch: Path, ending: str = "j2k") -> np.ndarray:
    source, out = scratch / f"stream.{ending}", scratch / "stream.rawl"
    source.write_bytes(stream)
    told = oracle.run(need_tool("opj_decompress"), "-r", str(reduce), "-i", source, "-o", out)
    samples = out.read_bytes()
    assert len(samples) % np.prod(shape) == 0, told
    return np.frombuffer(samples, "u1" if len(samples) == np.prod(shape) else "<u2").reshape(shape)


LAYOUTS: dict[str, tuple[Format, dict[str, Any]]] = {
    "grey": (Format("MONOCHROME2", 16, 12), {}),
    "colour": (Format("RGB", 8, 8), {}),
    "tiles": (Format("MONOCHROME2", 16, 12), {"tile": 100, "tile_parts": "resolution"}),
    "fragments": (Format("MONOCHROME2", 16, 12), {"fragment_size": 1000}),
}


@pytest.mark.parametrize(("fmt", "options"), LAYOUTS.values(), ids=LAYOUTS)
def test_ranges_from_a_web_server_are_frames_and_resolutions(
    fmt: Format, options: dict[str, Any], tmp_path: Path
) -> None:
    """What is fetched of a resolution decodes to what OpenJPEG makes of the whole frame, reduced."""
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    frames = images.make_frames(fmt, 150, 231, 2)
    source.write_bytes(images.image(fmt, frames).encode())
    transcode(source, out, to="htj2k-rpcl", **options)
    ran = spawn("index", str(out))
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    streams = list(generate_frames(pydicom.dcmread(out).PixelData, number_of_frames=2))
    with web(tmp_path) as url:
        for frame, wanted, stream in zip(found["frames"], frames, streams, strict=True):
            assert get(f"{url}/out.dcm", frame["ranges"]) == stream
            planes = (fmt.samples,) if fmt.samples > 1 else ()
            assert len(frame["resolutions"]) == oracle.parse(stream).levels + 1
            assert [one["reduce"] for one in frame["resolutions"]] == [*range(oracle.parse(stream).levels, -1, -1)]
            # The rawest and the finest, and one between.
            for one in (frame["resolutions"][0], frame["resolutions"][2], frame["resolutions"][-1]):
                shape = (*planes, one["rows"], one["columns"])
                part = get(f"{url}/out.dcm", one["ranges"])
                if one["reduce"]:
                    assert len(part) < len(stream) * 0.8
                read = by_openjpeg(part + EOC, one["reduce"], shape, tmp_path)
                assert (read == by_openjpeg(stream, one["reduce"], shape, tmp_path)).all()
            whole = np.moveaxis(read, 0, -1) if planes else read
            assert (whole == wanted).all()


def test_a_tile_of_one_part_has_no_resolutions(tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    transcode(TESTDATA / "ct-explicit.dcm", out, to="htj2k-rpcl", tile_parts="all")
    assert all(not frame.resolutions for frame in index(str(out)).frames)


def test_a_wrong_tlm_is_no_index_of_resolutions(tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    transcode(TESTDATA / "ct-explicit.dcm", out, to="htj2k-rpcl")
    data = bytearray(out.read_bytes())
    assert index(data).frames[0].resolutions
    data[data.index(b"\xff\x55") + 10] ^= 1
    assert not index(data).frames[0].resolutions


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"), [("1", [1]), ("1,5-9", [1, 5, 6, 7, 8, 9]), ("7-", [7, 8, 9, 10]), ("3,3", [3, 3])]
)
def test_lists_of_frames(text: str, found: list[int]) -> None:
    assert numbers(text, 10) == found


@pytest.mark.parametrize("text", ["", "0", "11", "a", "5-2", "-3", "1,,2", "1-x", "²"])
def test_lists_that_name_no_frames(text: str) -> None:
    with pytest.raises(UsageError, match="--frames"):
        numbers(text, 10)


STREAMS = {"jpeg": "jpg", "jpegls": "jls", "j2k": "j2c", "rle": "rle", "deflated-frames": "deflate", "explicit": "raw"}


@pytest.mark.parametrize(("to", "ending"), STREAMS.items(), ids=STREAMS)
def test_codestreams_are_what_pydicom_finds_but_for_padding(to: str, ending: str, tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    transcode(TESTDATA / "sc-multiframe-odd.dcm", out, to=to)
    dataset = pydicom.dcmread(out)
    found = list(extract(str(out), Form.CODESTREAM))
    assert [frame.ending for frame in found] == [ending] * 3
    if to == "explicit":
        assert b"".join(frame.data for frame in found) == dataset.PixelData[: 3 * dataset.Rows * dataset.Columns]
        return
    for frame, stream in zip(found, generate_frames(dataset.PixelData, number_of_frames=3), strict=True):
        assert stream.startswith(frame.data)
        assert stream[len(frame.data) :] in (b"", b"\0")


@pytest.mark.parametrize("name", ["mr-htj2k.dcm", "us-multiframe-htj2k-rpcl.dcm"])
def test_htj2k_is_a_jph_file_that_openjpeg_reads(name: str, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(TESTDATA / name)
    planes = (dataset.SamplesPerPixel,) if dataset.SamplesPerPixel > 1 else ()
    with dcmtx.frames(TESTDATA / name) as frames:
        for frame, wanted in zip(extract(str(TESTDATA / name), Form.CODESTREAM), frames, strict=True):
            assert frame.ending == "jph"
            read = by_openjpeg(frame.data, 0, (*planes, dataset.Rows, dataset.Columns), tmp_path, "jph")
            assert ((np.moveaxis(read, 0, -1) if planes else read) == wanted).all()


def test_jpeg_xl_is_a_file_that_djxl_reads(tmp_path: Path) -> None:
    out, stream, decoded = tmp_path / "out.dcm", tmp_path / "frame.jxl", tmp_path / "frame.ppm"
    transcode(TESTDATA / "us-rgb-by-pixel.dcm", out, to="jpegxl")
    (frame,) = extract(str(out), Form.CODESTREAM)
    assert frame.ending == "jxl"
    stream.write_bytes(frame.data)
    oracle.run(need_tool("djxl"), stream, decoded)
    dataset = pydicom.dcmread(TESTDATA / "us-rgb-by-pixel.dcm")
    assert decoded.read_bytes().endswith(dataset.pixel_array.tobytes())


def as_pydicom(path: Path) -> list[np.ndarray]:
    """Return the frames as pydicom has them, each by itself."""
    dataset = pydicom.dcmread(path)
    array = dataset.pixel_array
    return list(array) if int(dataset.get("NumberOfFrames", 1)) > 1 else [array]


@pytest.mark.parametrize("form", [Form.PNG, Form.TIFF, Form.NPY], ids=lambda form: form.value)
@pytest.mark.parametrize(
    "name", ["us-rgb-by-plane", "us-palette-8", "seg-binary", "mr-big-endian", "cr-jpeg-lossless", "sc-multiframe-odd"]
)
def test_decoded_frames_have_the_values_that_pydicom_has(name: str, form: Form) -> None:
    if form is Form.TIFF:
        pytest.importorskip("tifffile")
    path = TESTDATA / f"{name}.dcm"
    reads = {
        Form.PNG: imagecodecs.png_decode,
        Form.TIFF: lambda data: pytest.importorskip("tifffile").imread(io.BytesIO(data)),
        Form.NPY: lambda data: np.load(io.BytesIO(data)),
    }
    found = list(extract(str(path), form))
    for frame, wanted in zip(found, as_pydicom(path), strict=True):
        read = reads[form](frame.data)
        assert read.shape == wanted.shape
        assert (read == wanted).all()


def test_without_its_library_a_tiff_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DcmtxError, match=r"pip install dcmtx\[tiff\]") as caught:
        list(extract(str(TESTDATA / "ct-explicit.dcm"), Form.TIFF))
    assert caught.value.status == 4


def test_a_tiff_says_that_its_least_value_is_white() -> None:
    tifffile = pytest.importorskip("tifffile")
    (frame,) = extract(str(TESTDATA / "cr-jpeg-lossless.dcm"), Form.TIFF)
    with tifffile.TiffFile(io.BytesIO(frame.data)) as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE


def test_ybr_becomes_rgb_in_pictures_and_stays_in_arrays() -> None:
    path = TESTDATA / "us-ybr-full-rle.dcm"
    held = pydicom.pixels.pixel_array(path, raw=True)
    full = held.astype(float) - [0, 128, 128]
    red = full[..., 0] + 1.402 * full[..., 2]
    (picture,) = extract(str(path), Form.PNG)
    (array,) = extract(str(path), Form.NPY)
    rgb = imagecodecs.png_decode(picture.data)
    assert np.abs(rgb[..., 0] - np.clip(red, 0, 255)).max() <= 1
    stayed = np.load(io.BytesIO(array.data))
    with dcmtx.frames(path) as frames:
        assert frames.format.photometric == "YBR_FULL"
        assert (stayed == frames[0]).all()


@pytest.mark.parametrize(("name", "code"), [("ct-explicit.dcm", "E_SIGN"), ("rtdose-32.dcm", "E_BITS")])
def test_png_refuses_what_it_cannot_hold(name: str, code: str) -> None:
    with pytest.raises(DcmtxError, match="use --as tiff or --as npy") as caught:
        list(extract(str(TESTDATA / name), Form.PNG))
    assert caught.value.code == code
    assert next(iter(extract(str(TESTDATA / name), Form.NPY))).data.startswith(b"\x93NUMPY")


# --- the command -----------------------------------------------------------------------------------------------------


def test_files_are_named_by_the_source_and_the_frame(tmp_path: Path) -> None:
    source = TESTDATA / "us-multiframe-htj2k-rpcl.dcm"
    ran = spawn("frames", str(source), str(tmp_path / "out"), "--frames", "3,1")
    assert ran.returncode == 0
    assert b"2 frames in" in ran.stderr
    names = [f"us-multiframe-htj2k-rpcl-000{number}.jph" for number in (1, 3)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


def test_standard_output_has_the_frames_one_behind_the_other() -> None:
    source = TESTDATA / "sc-multiframe-fragments.dcm"
    with source.open("rb") as stdin:
        ran = spawn("frames", "-", "-", "--frames", "2-", stdin=stdin)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout == b"".join(frame.data for frame in extract(str(source), Form.CODESTREAM, "2,3"))


def test_an_object_of_a_store_is_read_and_frames_are_put_beside_it() -> None:
    pytest.importorskip("obstore")
    source = TESTDATA / "sc-multiframe-fragments.dcm"
    with SERVERS["moto"]() as store:
        store.put("a.dcm", source.read_bytes())
        environment = os.environ | store.environment
        ran = spawn("frames", "s3://images/a.dcm", "s3://images/frames", "--frames", "2", env=environment)
        assert ran.returncode == 0, ran.stderr
        (frame,) = extract(str(source), Form.CODESTREAM, "2")
        assert store.get("frames/a-0002.jpg") == frame.data
        ran = spawn("index", "s3://images/a.dcm", env=environment)
        found = json.loads(ran.stdout)
    assert found["frames"] == index(str(source)).as_json()["frames"]
    assert found["path"] == "s3://images/a.dcm"


def test_what_exists_stays_if_it_is_asked_to(tmp_path: Path) -> None:
    there = tmp_path / "ct-explicit-0001.npy"
    there.write_bytes(b"mine")
    ran = spawn("frames", str(TESTDATA / "ct-explicit.dcm"), str(tmp_path), "--as", "npy", "--no-clobber")
    assert ran.returncode == 8
    assert there.read_bytes() == b"mine"


# What the source is called below a directory, what else its name is, and how it is named on the command line.
ITSELF = {
    "by a link to it": ("ff-0001.rle", "ff.dcm", "ff.dcm"),
    "by a link to it that leads to the last frame": ("ff-0003.rle", "ff.dcm", "ff.dcm"),
    "by a name that leads to it": ("ff.dcm", "ff-0002.rle", "ff.dcm"),
    "as standard input": ("frame-0002.rle", "x", "-"),
}


@pytest.mark.parametrize("hard", [False, True], ids=["symbolic", "hard"])
@pytest.mark.parametrize(("name", "link", "named"), ITSELF.values(), ids=list(ITSELF))
def test_no_frame_replaces_the_source(name: str, link: str, named: str, hard: bool, tmp_path: Path) -> None:
    source = tmp_path / name
    transcode(TESTDATA / "sc-multiframe-odd.dcm", source, to="rle")
    before = source.read_bytes()
    if hard:
        (tmp_path / link).hardlink_to(source)
    else:
        (tmp_path / link).symlink_to(source)
    with source.open("rb") as stdin:
        ran = spawn("frames", named if named == "-" else str(tmp_path / named), str(tmp_path), stdin=stdin)
    assert ran.returncode == 2
    assert b"is FILE itself; name another directory" in ran.stderr
    assert source.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, link])


def test_a_source_that_is_no_frame_that_is_written_is_in_nobodys_way(tmp_path: Path) -> None:
    source = tmp_path / "frame-0002.rle"
    transcode(TESTDATA / "sc-multiframe-odd.dcm", source, to="rle")
    with source.open("rb") as stdin:
        ran = spawn("frames", "-", str(tmp_path), "--frames", "1,3", stdin=stdin)
    assert ran.returncode == 0, ran.stderr
    assert len(list(tmp_path.iterdir())) == 3


def test_a_truncated_codestream_is_no_file(tmp_path: Path) -> None:
    stream = imagecodecs.jpeg_encode(np.full((8, 8), 7, np.uint8))[:-40]
    path = tmp_path / "cut.dcm"
    path.write_bytes(dicom.Image([stream], allocated=8, stored=8, syntax=dicom.JPEG_BASELINE).encode())
    ran = spawn("frames", str(path), str(tmp_path / "out"))
    assert ran.returncode == 3
    assert b"truncated" in ran.stderr
    assert not (tmp_path / "out").exists()
