"""Headers of codestreams: what encoders were told comes back; damaged ones are an InputError, at once."""

from __future__ import annotations

import random
import struct
import subprocess
import warnings

import dicom
import imagecodecs
import numpy as np
import pydicom
import pytest
from conftest import need_tool
from hypothesis import given, settings
from hypothesis import strategies as st
from openjpeg.utils import encode_array, get_parameters
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import _get_jpg_parameters, get_j2k_parameters
from rle.rle import encode_frame

from dcmtx.errors import InputError
from dcmtx.pixel.codestream import KINDS, NAMES, Codestream, Transform, ends_frame, inspect, starts_frame
from dcmtx.syntax import SYNTAXES, Kind, find


def encode_buffer(*arguments):
    """Return JPEG-LS by pyjpegls, which is not to be had for every Python."""
    return pytest.importorskip("jpeg_ls").encode_buffer(*arguments)


ROWS, COLUMNS = 40, 52


def repeatably(examples: int) -> settings:
    return settings(derandomize=True, deadline=None, database=None, max_examples=examples)


def grey(bits: int, *, signed: bool = False, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    width = 8 if bits <= 8 else 16 if bits <= 16 else 32
    low = -(1 << (bits - 1)) if signed else 0
    high = (1 << (bits - signed)) - 1
    noise = np.random.default_rng(bits).integers(low, high, (rows, columns), endpoint=True)
    return noise.astype(f"{'int' if signed else 'uint'}{width}")


def colour(bits: int = 8) -> np.ndarray:
    return np.stack([grey(bits), grey(bits)[::-1], grey(bits)[:, ::-1]], axis=2)


def check(stream: Codestream, **expected) -> None:
    """Compare some fields, the geometry by default."""
    wanted = {"rows": ROWS, "columns": COLUMNS, "start": 0} | expected
    assert {name: getattr(stream, name) for name in wanted} == wanted


def agrees_with_pydicom(data: bytes, stream: Codestream) -> None:
    """Compare with what pydicom's own parser of JPEG and JPEG-LS says."""
    theirs = _get_jpg_parameters(data)
    assert (stream.rows, stream.columns) == (theirs["height"], theirs["width"])
    assert (stream.precision, stream.components) == (theirs["precision"], theirs["components"])
    if "component_ids" in theirs:
        assert list(stream.ids) == [ord(one) for one in map(_one_byte, theirs["component_ids"])]
    if stream.kind == "jpegls":
        assert (stream.near, stream.interleave) == (theirs["lossy_error"], theirs["interleave_mode"])


def _one_byte(value: object) -> str:
    return chr(value) if isinstance(value, int) else value.decode("latin-1")


# --- JPEG ------------------------------------------------------------------------------------------------------

JPEG = {
    "baseline, grey": (lambda: imagecodecs.jpeg8_encode(grey(8), 80),
        {"process": 0xC0, "precision": 8, "components": 1, "reversible": False, "sampling": ((1, 1),)}),
    "extended, 12 bits": (lambda: imagecodecs.jpeg8_encode(grey(12), 80, bitspersample=12),
        {"process": 0xC1, "precision": 12, "components": 1, "reversible": False}),
    "baseline, YCbCr 4:2:0": (lambda: imagecodecs.jpeg8_encode(colour(), 80, subsampling="420"),
        {"process": 0xC0, "components": 3, "sampling": ((2, 2), (1, 1), (1, 1)), "subsampled": True,
         "transform": Transform.UNSAID}),
    "baseline, YCbCr 4:2:2": (lambda: imagecodecs.jpeg8_encode(colour(), 80, subsampling="422"),
        {"sampling": ((2, 1), (1, 1), (1, 1)), "subsampled": True}),
    "baseline, YCbCr 4:4:4": (lambda: imagecodecs.jpeg8_encode(colour(), 80, subsampling="444"),
        {"sampling": ((1, 1),) * 3, "subsampled": False, "transform": Transform.UNSAID}),
    "baseline, RGB": (lambda: imagecodecs.jpeg8_encode(colour(), 80, colorspace="RGB", outcolorspace="RGB"),
        {"components": 3, "transform": Transform.NONE, "ids": b"RGB", "subsampled": False}),
    **{
        f"lossless, predictor {predictor}, {bits} bits": (
            lambda predictor=predictor, bits=bits: imagecodecs.jpeg8_encode(
                grey(bits), lossless=True, predictor=predictor, bitspersample=bits),
            {"process": 0xC3, "precision": bits, "predictor": predictor, "near": 0, "reversible": True,
             "components": 1, "signed": None})
        for predictor, bits in [(1, 2), (1, 8), (2, 9), (3, 10), (4, 12), (5, 13), (6, 15), (7, 16), (1, 16)]
    },
    "lossless, RGB": (lambda: imagecodecs.jpeg8_encode(
        colour(), lossless=True, predictor=1, colorspace="RGB", outcolorspace="RGB"),
        {"process": 0xC3, "components": 3, "reversible": True, "transform": Transform.NONE}),
}  # fmt: skip


@pytest.mark.parametrize(("encode", "expected"), JPEG.values(), ids=list(JPEG))
def test_jpeg_headers_say_how_they_were_encoded(encode, expected):
    data = bytes(encode())
    stream = inspect("jpeg", data)
    check(stream, kind="jpeg", end=len(data), **expected)
    agrees_with_pydicom(data, stream)


# dcmcjpeg: option, what the data set is, what must be in the stream.
DCMTK = {
    "baseline": (["+eb"], 8, {"process": 0xC0, "precision": 8, "reversible": False}),
    "extended": (["+ee"], 12, {"process": 0xC1, "precision": 12, "reversible": False}),
    "spectral selection": (["+es"], 8, {"process": 0xC2, "precision": 8, "reversible": False}),
    "full progression": (["+ep"], 8, {"process": 0xC2, "precision": 8, "reversible": False}),
    "lossless, predictor 4": (
        ["+el", "+sv", "4"],
        12,
        {"process": 0xC3, "predictor": 4, "near": 0, "reversible": True},
    ),
    "lossless, first order": (["+e1"], 16, {"process": 0xC3, "predictor": 1, "precision": 16, "reversible": True}),
    "point transform": (["+e1", "+pl", "+pt", "2"], 8, {"process": 0xC3, "near": 2, "reversible": False}),
}


@pytest.mark.parametrize(("options", "bits", "expected"), DCMTK.values(), ids=list(DCMTK))
def test_jpeg_headers_of_dcmtk(options, bits, expected, tmp_path):
    program = need_tool("dcmcjpeg")
    pixels = grey(bits)
    image = dicom.Image(pixels.tobytes(), ROWS, COLUMNS, allocated=8 * pixels.itemsize, stored=bits)
    (tmp_path / "in.dcm").write_bytes(image.encode())
    subprocess.run([program, *options, "in.dcm", "out.dcm"], cwd=tmp_path, check=True, capture_output=True)
    (data,) = dicom.walk((tmp_path / "out.dcm").read_bytes()).fragments
    check(inspect("jpeg", data), kind="jpeg", components=1, **expected)


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def sof(marker: int, rows: int, columns: int, precision: int, components: list[tuple[int, int, int]]) -> bytes:
    body = struct.pack(">BHHB", precision, rows, columns, len(components))
    return segment(marker, body + b"".join(bytes([one, h << 4 | v, 0]) for one, h, v in components))


def sos(components: int, first: int = 0, second: int = 63, last: int = 0) -> bytes:
    selectors = b"".join(bytes([number + 1, 0]) for number in range(components))
    return segment(0xDA, bytes([components]) + selectors + bytes([first, second, last]))


def adobe(transform: int) -> bytes:
    return segment(0xEE, b"Adobe" + bytes([0, 100, 0, 0, 0, 0, transform]))


SOI, EOI = b"\xff\xd8", b"\xff\xd9"
THREE = [(1, 1, 1), (2, 1, 1), (3, 1, 1)]


@repeatably(100)
@given(
    st.sampled_from([0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF]),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.integers(2, 16),
    st.lists(st.tuples(st.integers(0, 255), st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=4),
    st.lists(
        st.tuples(st.sampled_from([0xC4, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE]), st.binary(max_size=9)), max_size=4
    ),
    st.integers(0, 3),
)
def test_any_jpeg_header_is_read_whatever_stands_before_it(process, rows, columns, precision, components, others, fill):
    others = [(marker, body) for marker, body in others if not body.startswith(b"Adobe")]
    data = SOI + b"".join(b"\xff" * fill + segment(*other) for other in others)
    data += sof(process, rows, columns, precision, components) + sos(len(components), 1, 0, 0) + b"\x12\x34" + EOI
    stream = inspect("jpeg", data)
    lossless = process in (0xC3, 0xC7, 0xCB, 0xCF)
    check(
        stream, kind="jpeg", rows=rows, columns=columns, precision=precision, components=len(components),
        process=process,
        ids=bytes(one for one, _, _ in components), sampling=tuple((h, v) for _, h, v in components), signed=None,
        reversible=lossless, predictor=1 if lossless else 0, end=len(data),
        subsampled=any((h, v) != components[0][1:] for _, h, v in components),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "ids", "transform"),
    [
        (b"", b"\1\2\3", Transform.UNSAID),
        (adobe(0), b"\1\2\3", Transform.NONE),
        (adobe(1), b"\1\2\3", Transform.YCC),
        (adobe(1), b"RGB", Transform.YCC),
        (b"", b"RGB", Transform.NONE),
        (b"", b"rgb", Transform.NONE),
        (segment(0xE0, b"JFIF\0\1\2\0\0\1\0\1\0\0"), b"\1\2\3", Transform.UNSAID),
        (segment(0xEE, b"Adobe"), b"\1\2\3", Transform.UNSAID),
        (segment(0xEE, b"Other\0\0\0\0\0\0\1"), b"\1\2\3", Transform.UNSAID),
    ],
    ids=["nothing", "Adobe 0", "Adobe 1", "Adobe 1 before RGB", "components RGB", "components rgb",
         "JFIF, not relied on", "Adobe cut off", "another APP14"],
)  # fmt: skip
def test_the_colour_of_a_jpeg_is_what_it_says_itself(before, ids, transform):
    components = [(one, 1, 1) for one in ids]
    data = SOI + before + sof(0xC0, 8, 8, 8, components) + sos(3) + EOI
    assert inspect("jpeg", data).transform is transform


def test_a_grey_jpeg_has_no_colour_whatever_a_marker_says():
    data = SOI + adobe(1) + sof(0xC0, 8, 8, 8, [(1, 1, 1)]) + sos(1) + EOI
    assert inspect("jpeg", data).transform is Transform.UNSAID


def test_a_scan_without_frame_header_is_an_input_error():
    with pytest.raises(InputError, match="no frame header") as caught:
        inspect("jpeg", SOI + sos(1) + EOI)
    assert caught.value.code == "E_CODESTREAM"


# --- JPEG-LS ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("near", [0, 1, 3])
@pytest.mark.parametrize("bits", [2, 7, 8, 9, 12, 15, 16])
def test_grey_jpeg_ls_says_precision_and_near(bits, near):
    if near >= 1 << (bits - 1):
        near = 1
    pixels = grey(bits)
    data = bytes(encode_buffer(pixels.tobytes(), ROWS, COLUMNS, 1, bits, near, 0))
    stream = inspect("jpegls", data)
    check(stream, kind="jpegls", process=0xF7, precision=bits, components=1, near=near, reversible=near == 0,
          interleave=0, end=len(data), signed=None)  # fmt: skip
    agrees_with_pydicom(data, stream)


@pytest.mark.parametrize("mode", [0, 1, 2], ids=["by plane", "by line", "by sample"])
@pytest.mark.parametrize("near", [0, 2])
def test_colour_jpeg_ls_says_how_it_is_interleaved(mode, near):
    pixels = colour()
    ordered = pixels if mode == 2 else pixels.transpose(2, 0, 1) if mode == 0 else pixels.transpose(0, 2, 1)
    data = bytes(encode_buffer(np.ascontiguousarray(ordered).tobytes(), ROWS, COLUMNS, 3, 8, near, mode))
    stream = inspect("jpegls", data)
    check(stream, kind="jpegls", components=3, interleave=mode, near=near, reversible=near == 0, subsampled=False)
    agrees_with_pydicom(data, stream)


def test_a_spiff_header_is_no_colour_transform():
    # Older releases of imagecodecs write it always, newer ones if they are asked to (T.84 F.1).
    bare = bytes(encode_buffer(colour().tobytes(), ROWS, COLUMNS, 3, 8, 0, 2))
    header = b"SPIFF\0\2\0\0" + struct.pack(">BIIBBBBII", 3, ROWS, COLUMNS, 10, 8, 6, 1, 72, 72)
    assert len(header) == 30
    data = SOI + segment(0xE8, header) + segment(0xE8, b"\0\0\0\1\xff\xd8") + bare[2:]
    check(inspect("jpegls", data), kind="jpegls", components=3, interleave=2)


def test_a_jpeg_ls_stream_of_charls_in_dcmtk(tmp_path):
    program = need_tool("dcmcjpls")
    image = dicom.Image(grey(12).tobytes(), ROWS, COLUMNS, stored=12)
    (tmp_path / "in.dcm").write_bytes(image.encode())
    subprocess.run([program, "+en", "+md", "3", "in.dcm", "out.dcm"], cwd=tmp_path, check=True, capture_output=True)
    (data,) = dicom.walk((tmp_path / "out.dcm").read_bytes()).fragments
    check(inspect("jpegls", data), kind="jpegls", precision=12, near=3, reversible=False)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_colour_transforms_of_hewlett_packard_are_refused(number):
    data = bytes(encode_buffer(colour().tobytes(), ROWS, COLUMNS, 3, 8, 0, 2))
    marked = SOI + segment(0xE8, b"mrfx" + bytes([number])) + data[2:]
    with pytest.raises(InputError, match="Hewlett-Packard") as caught:
        inspect("jpegls", marked)
    assert caught.value.code == "E_CODESTREAM"
    check(inspect("jpegls", SOI + segment(0xE8, b"mrfx\0") + data[2:]), components=3)


def test_what_stands_there_decides_what_it_is():
    jpeg = bytes(imagecodecs.jpeg8_encode(grey(8)))
    jpegls = bytes(encode_buffer(grey(8).tobytes(), ROWS, COLUMNS, 1, 8, 0, 0))
    j2k = bytes(encode_array(grey(8)))
    htj2k = bytes(imagecodecs.htj2k_encode(grey(8)))
    for family in ("jpeg", "jpegls", "j2k", "htj2k"):
        assert [inspect(family, data).kind for data in (jpeg, jpegls, j2k, htj2k)] == ["jpeg", "jpegls", "j2k", "htj2k"]


# --- JPEG 2000 and HTJ2K ---------------------------------------------------------------------------------------


def agrees_with_openjpeg(data: bytes, stream: Codestream) -> None:
    theirs = get_parameters(data)
    assert (stream.rows, stream.columns) == (theirs["rows"], theirs["columns"])
    assert (stream.precision, bool(stream.signed)) == (theirs["precision"], bool(theirs["is_signed"]))
    assert stream.components == theirs["samples_per_pixel"]


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [2, 7, 8, 9, 12, 15, 16, 20])
def test_grey_jpeg_2000_says_precision_and_sign(bits, signed):
    data = encode_array(grey(bits, signed=signed), bits_stored=bits, photometric_interpretation=2)
    stream = inspect("j2k", data)
    check(stream, kind="j2k", precision=bits, signed=signed, components=1, reversible=True, transform=Transform.NONE,
          levels=5, progression=0, boxed=False, end=len(data))  # fmt: skip
    agrees_with_openjpeg(data, stream)
    assert get_j2k_parameters(data) == {"precision": bits, "is_signed": signed, "jp2": False}


@pytest.mark.parametrize(
    ("mct", "ratios", "transform", "reversible"),
    [
        (True, None, Transform.RCT, True),
        (False, None, Transform.NONE, True),
        (True, [8], Transform.ICT, False),
        (False, [8], Transform.NONE, False),
    ],
    ids=[
        "reversible, transformed",
        "reversible, as they are",
        "irreversible, transformed",
        "irreversible, as they are",
    ],
)
def test_colour_jpeg_2000_says_its_transform_and_wavelet(mct, ratios, transform, reversible):
    data = encode_array(colour(), photometric_interpretation=1, use_mct=mct, compression_ratios=ratios)
    stream = inspect("j2k", data)
    check(stream, kind="j2k", components=3, transform=transform, reversible=reversible, signed=False, subsampled=False)
    agrees_with_openjpeg(data, stream)


@pytest.mark.parametrize("resolutions", [1, 3, 5])
def test_jpeg_2000_says_its_levels(resolutions):
    data = bytes(imagecodecs.jpeg2k_encode(grey(16, rows=200, columns=300), codecformat="j2k", reversible=True,
                                           resolutions=resolutions))  # fmt: skip
    check(inspect("j2k", data), rows=200, columns=300, levels=resolutions - 1, precision=16)


def test_jpeg_2000_says_whether_it_has_tile_lengths():
    assert not inspect("j2k", encode_array(grey(8))).tile_lengths
    assert inspect("j2k", encode_array(grey(8), add_tlm=True)).tile_lengths


@pytest.mark.parametrize(
    ("encode", "expected"),
    [
        (lambda: imagecodecs.htj2k_encode(grey(8), reversible=True), {"precision": 8, "reversible": True,
                                                                      "tile_lengths": False}),
        (lambda: imagecodecs.htj2k_encode(grey(16), reversible=True, tlm=True), {"precision": 16,
                                                                                 "tile_lengths": True}),
        (lambda: imagecodecs.htj2k_encode(grey(16, signed=True), reversible=True), {"precision": 16, "signed": True}),
        (lambda: imagecodecs.htj2k_encode(grey(8), level=0.1, reversible=False), {"reversible": False}),
        (lambda: imagecodecs.htj2k_encode(colour(), reversible=True, rgb=True, planar=False),
         {"components": 3, "transform": Transform.RCT}),
        (lambda: imagecodecs.htj2k_encode(colour(), reversible=True, rgb=False, planar=False),
         {"components": 3, "transform": Transform.NONE}),
        (lambda: imagecodecs.htj2k_encode(colour(), level=0.1, reversible=False, rgb=True, planar=False),
         {"components": 3, "transform": Transform.ICT, "reversible": False}),
        (lambda: imagecodecs.htj2k_encode(grey(8), reversible=True, resolutions=3), {"levels": 3}),
    ],
    ids=["8 bits", "16 bits with tile lengths", "signed", "irreversible", "RCT", "components as they are", "ICT",
         "3 levels"],
)  # fmt: skip
def test_htj2k_headers_say_how_they_were_encoded(encode, expected):
    data = bytes(encode())
    stream = inspect("htj2k", data)
    # OpenJPH writes RPCL, which is progression 2 of T.800 Table A.16.
    check(stream, kind="htj2k", progression=2, end=len(data), **expected)
    agrees_with_openjpeg(data, stream)


def siz(components: list[int], *, x: int = 52, y: int = 40, x0: int = 0, y0: int = 0) -> bytes:
    body = struct.pack(">H8IH", 0, x, y, x0, y0, x, y, 0, 0, len(components))
    return segment(0x51, body + b"".join(bytes([depth, 1, 1]) for depth in components))


def cod(*, progression: int = 0, transformed: int = 0, levels: int = 5, wavelet: int = 1) -> bytes:
    return segment(0x52, bytes([0, progression, 0, 1, transformed, levels, 4, 4, 0, wavelet]))


SOC = b"\xff\x4f"
SOT = segment(0x90, bytes(8))


@repeatably(100)
@given(
    st.integers(1, 38),
    st.booleans(),
    st.integers(1, 5),
    st.tuples(*[st.integers(1, 1 << 31)] * 2),
    st.tuples(*[st.integers(0, 1 << 31)] * 2),
    st.integers(0, 4),
    st.booleans(),
    st.integers(0, 32),
    st.integers(0, 1),
    st.lists(
        st.tuples(st.sampled_from([0x5C, 0x5D, 0x5E, 0x5F, 0x60, 0x63, 0x64]), st.binary(max_size=20)), max_size=3
    ),
)
def test_any_jpeg_2000_header_is_read(
    bits, signed, components, size, origin, progression, transformed, levels, wavelet, others
):
    # Both ends are numbers of 32 bits.
    size = tuple(min(extent, (1 << 32) - 1 - begin) for extent, begin in zip(size, origin, strict=True))
    depth = bits - 1 | 0x80 * signed
    extra = b"".join(segment(*other) for other in others)
    data = SOC + siz([depth] * components, x=origin[0] + size[0], y=origin[1] + size[1], x0=origin[0], y0=origin[1])
    data += extra + cod(progression=progression, transformed=transformed, levels=levels, wavelet=wavelet) + extra + SOT
    expected = Transform.NONE if not transformed else Transform.RCT if wavelet else Transform.ICT
    check(
        inspect("j2k", data), kind="j2k", rows=size[1], columns=size[0], precision=bits, signed=signed,
        components=components, progression=progression, levels=levels, reversible=wavelet == 1, transform=expected,
        end=len(data),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("capabilities", "kind"),
    [(1 << 17, "htj2k"), (0xFFFFFFFF, "htj2k"), (0, "j2k"), (1 << 30, "j2k"), (0xFFFFFFFF ^ 1 << 17, "j2k")],
    ids=["Part 15", "all parts", "none", "Part 2", "all but Part 15"],
)
def test_the_capabilities_tell_htj2k(capabilities, kind):
    data = SOC + siz([7]) + segment(0x50, struct.pack(">IH", capabilities, 0)) + cod() + SOT
    assert inspect("htj2k", data).kind == kind


@pytest.mark.parametrize("depths", [[7, 7, 15], [7, 0x87, 7]], ids=["precision", "sign"])
def test_components_that_differ_are_an_input_error(depths):
    with pytest.raises(InputError, match="differ in precision or sign") as caught:
        inspect("j2k", SOC + siz(depths) + cod() + SOT)
    assert caught.value.code == "E_CODESTREAM"


def test_a_stream_without_coding_style_is_an_input_error():
    with pytest.raises(InputError, match="no coding style"):
        inspect("j2k", SOC + siz([7]) + SOT)


@pytest.mark.parametrize(
    "body", [siz([7]), siz([7]) + cod(), siz([]) + cod() + SOT, siz([7]) + b"\xff\x52\x00\x01" + SOT,
             siz([7]) + b"AB\0\4\0\0"],
    ids=["no tile", "no tile behind the coding style", "no components", "a length below 2", "no marker"],
)  # fmt: skip
def test_a_main_header_that_breaks_off_is_truncated(body):
    with pytest.raises(InputError) as caught:
        inspect("j2k", SOC + body)
    assert caught.value.code == "E_TRUNCATED"


# --- JP2 boxes -------------------------------------------------------------------------------------------------

SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
RAW = SOC + siz([7]) + cod() + SOT


def box(kind: bytes, contents: bytes, *, length: int | None = None, wide: bool = False) -> bytes:
    size = 8 + 8 * wide + len(contents) if length is None else length
    if wide:
        return struct.pack(">I4sQ", 1, kind, size) + contents
    return struct.pack(">I4s", size, kind) + contents


BOXED = {
    "a box of its own length": SIGNATURE + box(b"ftyp", b"jp2 ") + box(b"jp2c", RAW),
    "a box up to the end": SIGNATURE + box(b"jp2h", bytes(20)) + box(b"jp2c", RAW, length=0),
    "a long box": SIGNATURE + box(b"jp2c", RAW, wide=True),
    "long boxes before": SIGNATURE + box(b"uuid", bytes(99), wide=True) + box(b"jp2c", RAW),
    "a length beyond the end": SIGNATURE + box(b"jp2c", RAW, length=len(RAW) + 1000),
    "boxes behind": SIGNATURE + box(b"jp2c", RAW) + box(b"xml ", b"<a/>"),
    "padding behind": SIGNATURE + box(b"jp2c", RAW) + b"\0",
}


@pytest.mark.parametrize("data", BOXED.values(), ids=list(BOXED))
def test_a_codestream_is_found_within_jp2_boxes(data):
    stream = inspect("j2k", data)
    assert stream.boxed
    assert data[stream.start : stream.end] == RAW
    assert stream.replace(boxed=False, start=0, end=len(RAW), body=stream.body - stream.start) == inspect("j2k", RAW)


@pytest.mark.parametrize(("encode", "transform"), [
    (lambda: imagecodecs.jpeg2k_encode(colour(), codecformat="jp2", reversible=True, mct=True), Transform.RCT),
    (lambda: encode_array(colour(), codec_format=1, photometric_interpretation=1, use_mct=False), Transform.NONE),
], ids=["imagecodecs", "pylibjpeg-openjpeg"])  # fmt: skip
def test_jp2_files_of_encoders_are_read(encode, transform):
    data = bytes(encode())
    stream = inspect("j2k", data)
    check(stream, kind="j2k", boxed=True, components=3, transform=transform, start=stream.start)
    raw = data[stream.start : stream.end]
    assert raw.startswith(b"\xff\x4f\xff\x51")
    assert raw.endswith(b"\xff\xd9")
    assert np.array_equal(imagecodecs.jpeg2k_decode(raw, planar=False), colour())


@pytest.mark.parametrize(
    "rest", [b"", box(b"ftyp", b"jp2 "), box(b"jp2c", b""), box(b"jp2c", b"no codestream"), box(b"ftyp", b"", length=0),
             b"\0\0\0\1jp2c\0\0", box(b"free", b"", length=3) * 3],
    ids=["nothing", "no codestream box", "an empty one", "another thing in it", "a box up to the end before it",
         "a long length cut off", "boxes shorter than their headers"],
)  # fmt: skip
def test_boxes_without_a_codestream_are_an_input_error(rest):
    with pytest.raises(InputError, match="no codestream") as caught:
        inspect("j2k", SIGNATURE + rest)
    assert caught.value.code == "E_CODESTREAM"


# --- JPEG XL ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", [False, True], ids=["bare", "in boxes"])
@pytest.mark.parametrize("bits", [1, 2, 7, 8, 9, 10, 12, 15, 16])
def test_lossless_grey_jpeg_xl_says_its_precision(bits, container):
    data = bytes(
        imagecodecs.jpegxl_encode(grey(bits), lossless=True, effort=1, bitspersample=bits, usecontainer=container)
    )
    check(
        inspect("jpegxl", data),
        kind="jpegxl",
        components=1,
        precision=bits,
        reversible=True,
        signed=None,
        end=len(data),
    )


@pytest.mark.parametrize(
    ("options", "reversible"), [({"lossless": True}, True), ({"distance": 1.0}, False)], ids=["lossless", "lossy"]
)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("samples", [1, 3], ids=["grey", "colour"])
def test_jpeg_xl_says_whether_it_lost_anything(samples, bits, options, reversible):
    pixels = grey(bits) if samples == 1 else colour(bits)
    data = bytes(imagecodecs.jpegxl_encode(pixels, effort=1, bitspersample=bits, **options))
    check(inspect("jpegxl", data), kind="jpegxl", components=samples, precision=bits, reversible=reversible)


# Sizes that are spelled in each of the ways that the header has: multiples of 8, ratios, and numbers of any width.
@pytest.mark.parametrize(
    "size",
    [(8, 8), (8, 16), (256, 256), (264, 264), (40, 52), (10, 12), (30, 40), (20, 30), (90, 160), (40, 50), (10, 20),
     (7, 7), (1, 1), (1, 600), (600, 1), (513, 1), (1, 9000), (9000, 2)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)  # fmt: skip
def test_jpeg_xl_says_its_size(size):
    data = bytes(imagecodecs.jpegxl_encode(np.zeros(size, np.uint8), lossless=True, effort=1))
    check(inspect("jpegxl", data), rows=size[0], columns=size[1], components=1)


@pytest.mark.parametrize("pixels", [grey(8), colour()], ids=["grey", "colour"])
def test_a_jpeg_recompressed_is_reversible(pixels):
    data = bytes(imagecodecs.jpegxl_encode_jpeg(imagecodecs.jpeg8_encode(pixels, 80)))
    check(inspect("jpegxl", data), kind="jpegxl", components=1 if pixels.ndim == 2 else 3, precision=8, reversible=True)


def test_jpeg_xl_agrees_with_its_own_tool(tmp_path):
    program = need_tool("jxlinfo")
    for name, pixels, options in [("grey", grey(12), {"lossless": True}), ("colour", colour(), {"distance": 2.0})]:
        data = bytes(imagecodecs.jpegxl_encode(pixels, effort=1, bitspersample=12 if name == "grey" else 8, **options))
        (tmp_path / f"{name}.jxl").write_bytes(data)
        ran = subprocess.run([program, f"{name}.jxl"], cwd=tmp_path, check=True, capture_output=True, text=True)
        stream = inspect("jpegxl", data)
        assert f"{stream.columns}x{stream.rows}" in ran.stdout.replace(" ", "")
        assert f"{stream.precision}-bit" in ran.stdout
        assert ("lossless" in ran.stdout) or not stream.reversible


@pytest.mark.parametrize("channels", [2, 4], ids=["grey and alpha", "colour and alpha"])
def test_extra_channels_of_jpeg_xl_are_an_input_error(channels):
    pixels = np.zeros((ROWS, COLUMNS, channels), np.uint8)
    with pytest.raises(InputError, match="extra channels"):
        inspect("jpegxl", bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, effort=1)))


def test_floating_point_jpeg_xl_is_an_input_error():
    data = bytes(imagecodecs.jpegxl_encode(np.zeros((ROWS, COLUMNS), np.float32), lossless=True, effort=1))
    with pytest.raises(InputError, match="floating point"):
        inspect("jpegxl", data)


# --- RLE -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_rle_headers_say_how_many_bytes_a_pixel_has(samples, bits):
    pixels = np.zeros((ROWS, COLUMNS, samples), f"<u{bits // 8}")
    data = bytes(encode_frame(pixels.tobytes(), ROWS, COLUMNS, samples, bits, "<"))
    check(inspect("rle", data, samples=samples), kind="rle", rows=0, columns=0, components=samples, precision=bits,
          reversible=True, transform=Transform.NONE, end=len(data))  # fmt: skip


def rle(offsets: list[int], count: int | None = None, size: int = 100) -> bytes:
    count = len(offsets) if count is None else count
    return struct.pack("<16I", count, *offsets, *[0] * (15 - len(offsets))) + bytes(size - 64)


@pytest.mark.parametrize(
    ("data", "samples"),
    [
        (rle([64], 0), 1), (rle([64], 16), 1), (rle([64], 0xFFFFFFFF), 1), (rle([60]), 1), (rle([64, 64]), 1),
        (rle([64, 80, 70]), 1), (rle([64, 101]), 1), (rle([64, 70], 3), 1), (rle([64, 70]), 3), (rle([64]), 3),
    ],
    ids=["no segments", "16 segments", "very many", "the first within the header", "two at one place", "out of order",
         "beyond the end", "more than there are", "2 segments of 3 samples", "1 segment of 3 samples"],
)  # fmt: skip
def test_rle_headers_that_make_no_sense_are_an_input_error(data, samples):
    with pytest.raises(InputError, match="segments") as caught:
        inspect("rle", data, samples=samples)
    assert caught.value.code == "E_CODESTREAM"


def test_the_last_segment_may_end_the_frame():
    assert inspect("rle", rle([64, 80, 100], size=100), samples=3).precision == 8


# --- real files ------------------------------------------------------------------------------------------------

REAL = [
    "693_J2KI.dcm", "GDCMJ2K_TextGBR.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG-lossy.dcm", "JPEG2000.dcm",
    "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm",
    "JPGExtended.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm",
    "SC_jpeg_no_color_transform.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_gdcm_KY.dcm",
    "SC_rgb_jls_lossy_line.dcm", "SC_rgb_jls_lossy_sample.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle_16bit_2frame.dcm",
    "SC_rgb_small_odd_jpeg.dcm", "examples_jpeg2k.dcm", "examples_ybr_color.dcm",
]  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_codestreams_agree_with_their_data_sets(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(get_testdata_file(name, download=False))
    syntax = find(ds.file_meta.TransferSyntaxUID)
    frame = next(generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames", 1))))
    stream = inspect(syntax.family, frame, samples=ds.SamplesPerPixel)
    assert stream.kind in KINDS[syntax.family]
    assert stream.components == ds.SamplesPerPixel
    assert stream.precision <= ds.BitsAllocated
    if syntax.family != "rle":
        assert (stream.rows, stream.columns) == (ds.Rows, ds.Columns)
    if syntax.loss.value == "lossless":
        assert stream.reversible
    if syntax.loss.value == "lossy":
        assert not stream.reversible
    if stream.kind in ("jpeg", "jpegls"):
        agrees_with_pydicom(frame, stream)
    if stream.kind == "j2k":
        agrees_with_openjpeg(frame, stream)


# --- damage ----------------------------------------------------------------------------------------------------

STREAMS = {
    "JPEG baseline": ("jpeg", 3, bytes(imagecodecs.jpeg8_encode(colour(), 80))),
    "JPEG RGB": ("jpeg", 3, bytes(imagecodecs.jpeg8_encode(colour(), 80, colorspace="RGB", outcolorspace="RGB"))),
    "JPEG lossless": ("jpeg", 1, bytes(imagecodecs.jpeg8_encode(grey(12), lossless=True, predictor=1,
                                                                bitspersample=12))),
    "JPEG-LS": ("jpegls", 1, bytes(encode_buffer(grey(12).tobytes(), ROWS, COLUMNS, 1, 12, 0, 0))),
    "JPEG-LS with SPIFF": ("jpegls", 3, bytes(imagecodecs.jpegls_encode(colour()))),
    "JPEG 2000": ("j2k", 3, bytes(encode_array(colour(), photometric_interpretation=1, add_tlm=True))),
    "JP2": ("j2k", 1, bytes(encode_array(grey(8), codec_format=1))),
    "HTJ2K": ("htj2k", 1, bytes(imagecodecs.htj2k_encode(grey(16), tlm=True))),
    "JPEG XL": ("jpegxl", 1, bytes(imagecodecs.jpegxl_encode(grey(12), lossless=True, effort=1, bitspersample=12))),
    "JPEG XL in boxes": ("jpegxl", 3, bytes(imagecodecs.jpegxl_encode_jpeg(imagecodecs.jpeg8_encode(colour(), 80)))),
    "RLE": ("rle", 3, bytes(encode_frame(colour().tobytes(), ROWS, COLUMNS, 3, 8, "<"))),
}  # fmt: skip
each_stream = pytest.mark.parametrize(("family", "samples", "data"), STREAMS.values(), ids=list(STREAMS))


def survives(family: str, data: bytes, samples: int) -> bool:
    """Tell whether a header was read; nothing but an InputError may stop it."""
    try:
        stream = inspect(family, data, samples=samples)
    except InputError:
        return False
    assert stream.kind in NAMES
    assert 0 <= stream.start <= stream.end <= len(data)
    assert stream.components == len(stream.sampling) or stream.kind in ("rle", "jpegxl")
    assert isinstance(stream.subsampled, bool)
    return True


@each_stream
def test_a_stream_cut_at_any_byte_of_its_header_is_an_input_error(family, samples, data):
    whole = [length for length in range(len(data)) if survives(family, data[:length], samples)]
    assert whole
    # From some length on the header is whole, and below it, it never is.
    assert whole == list(range(whole[0], len(data)))
    assert not survives(family, b"", samples)


# A thousand take a few hundredths of a second; what this tells of is one that goes on and on.
@pytest.mark.timeout(300)
@each_stream
def test_a_damaged_stream_is_an_input_error_or_a_header_and_at_once(family, samples, data):
    dice = random.Random(5)
    header = 400
    failures = 0
    for _ in range(1000):
        mutated = bytearray(data)
        for _ in range(dice.randint(1, 4)):
            mutated[dice.randrange(min(header, len(data)))] = dice.choice(
                [0, 1, 2, 0x7F, 0x80, 0xC0, 0xF7, 0xFE, 0xFF, 0xD9]
            )
        failures += not survives(family, bytes(mutated), samples)
    assert failures


@repeatably(300)
@given(st.sampled_from(["jpeg", "jpegls", "j2k", "htj2k", "jpegxl", "rle"]),
       st.sampled_from([b"", SOI, SOI + b"\xff", SOC, b"\xff\x0a", SOC + b"\xff\x51", SIGNATURE,
                        SIGNATURE + b"\0\0\0\0jp2c" + SOC + b"\xff\x51"]),
       st.binary(max_size=80), st.integers(1, 3))  # fmt: skip
def test_any_bytes_are_an_input_error_or_a_header(family, start, rest, samples):
    survives(family, start + rest, samples)


@pytest.mark.parametrize("family", sorted(KINDS))
def test_bytes_that_start_no_codestream_are_named(family):
    with pytest.raises(InputError) as caught:
        inspect(family, b"\x12\x34\x56\x78")
    if family == "rle":
        assert caught.value.code == "E_TRUNCATED"
    else:
        assert caught.value.code == "E_CODESTREAM"
        assert "12 34 56 78" in str(caught.value)
        assert NAMES[family] in str(caught.value)
        with pytest.raises(InputError, match=r"\(none\)"):
            inspect(family, b"")


def test_every_family_that_is_inspected_is_one_of_a_syntax():
    families = {row.family for row in SYNTAXES if row.kind is Kind.FRAMES}
    assert set(KINDS) <= families
    assert set(KINDS) | {"native", "deflate"} == families
    assert families - {"native", "deflate"} == set(NAMES)


# --- where frames begin and end --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "starts"),
    [
        (b"\xff\xd8\xff\xe0", True), (b"\xff\x4f\xff\x51", True), (SIGNATURE, True), (b"\xff\x0a", True),
        (b"\0\0\0\x0cJXL \r\n\x87\n", True), (b"", False), (b"\xff\xd8", False), (b"\xff\xd9", False),
        (b"\xff\x4f", False), (b"\x12\xff\xd8\xff", False), (b"\0\0\0\0", False),
    ],
    ids=["JPEG", "JPEG 2000", "JP2", "JPEG XL", "JPEG XL in boxes", "nothing", "SOI alone", "EOI", "SOC alone",
         "SOI behind a byte", "zeros"],
)  # fmt: skip
def test_a_codestream_is_known_by_its_first_bytes(head, starts):
    assert starts_frame(head) is starts


@pytest.mark.parametrize(
    ("tail", "ends"),
    [
        (b"\x12\xff\xd9", True), (b"\xff\xd9\0", True), (b"\xff\xd9\0\0\0", True), (b"\xff\xff\xd9", True),
        (b"\xff\xd9\xff", True), (b"\xff\xd9\xff\xff\0", True), (b"", False), (b"\x12\x34", False), (b"\0\0", False),
        (b"\xff\xd8", False), (b"\xff\xd9\x12", False),
        pytest.param(b"\x12\xd9", False),
    ],
    ids=["EOI", "padded", "padded more", "fill before it", "fill behind it", "fill and padding behind it", "nothing",
         "data", "zeros", "SOI", "data behind it", "D9 without FF"],
)  # fmt: skip
def test_a_codestream_is_known_by_its_last_bytes(tail, ends):
    assert ends_frame(tail) is ends
