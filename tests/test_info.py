"""`dcmtx info`: every finding has a file that shows it and one that does not; what is said of good files is true."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import numpy as np
import pydicom
import pytest
from conftest import ROOT, Ran, need_real, need_tool
from rle.rle import encode_frame

from dcmtx.errors import DcmtxError, InputError
from dcmtx.finding import Severity
from dcmtx.inspect.info import look
from dcmtx.inspect.record import MEANINGS, as_record
from dcmtx.inspect.summary import look_below
from dcmtx.inspect.text import finding_line, lines
from dcmtx.rules import catalog
from dcmtx.syntax import find
from dcmtx.transcoding.transcode import transcode

Command = Callable[..., Ran]
GREY = (np.arange(256, dtype="<u2").reshape(16, 16) * 13) % 4096
BYTES = (np.arange(768, dtype=np.uint8) % 251).reshape(16, 16, 3)
JLS = imagecodecs.jpegls_encode(GREY)
JPEG = imagecodecs.jpeg8_encode(BYTES, 90, colorspace="RGB", outcolorspace="YCBCR", subsampling="422")
J2K = imagecodecs.jpeg2k_encode(GREY, level=0, codecformat="j2k", reversible=True, bitspersample=12)
J2K_RGB = imagecodecs.jpeg2k_encode(BYTES, level=0, codecformat="j2k", reversible=True, mct=True, planar=False)
RLE = encode_frame(GREY.tobytes(), 16, 16, 1, 16, "<")
JFIF = imagecodecs.jpeg8_encode(BYTES, 90, colorspace="RGB", outcolorspace="YCBCR", subsampling="444")
PREDICTED = imagecodecs.jpeg_encode(GREY, lossless=True, predictor=1, bitspersample=12)


def grey(pixels: Any = None, **more: Any) -> dicom.Image:
    """Return a grey image of 12 bits, native unless `pixels` are fragments."""
    settings = {"rows": 16, "columns": 16, "stored": 12} | more
    return dicom.Image(GREY.tobytes() if pixels is None else pixels, **settings)


def coded(stream: bytes, syntax: str, **more: Any) -> dicom.Image:
    return grey([stream], syntax=syntax, **more)


def colour(pixels: Any, photometric: str, syntax: str = dicom.EXPLICIT, **more: Any) -> dicom.Image:
    settings = {"rows": 16, "columns": 16, "samples": 3, "photometric": photometric, "allocated": 8, "stored": 8}
    return dicom.Image(pixels, syntax=syntax, **(settings | more))


def jls(**more: Any) -> dicom.Image:
    return coded(JLS, dicom.JPEGLS, **({"stored": 16} | more))


def frames(**more: Any) -> dicom.Image:
    return grey([JLS, JLS], syntax=dicom.JPEGLS, frames=2, **({"stored": 16} | more))


def extended(offsets: list[int], lengths: list[int], **more: Any) -> dicom.Image:
    tables = {
        0x7FE00001: dicom.element(0x7FE00001, "OV", struct.pack(f"<{len(offsets)}Q", *offsets)),
        0x7FE00002: dicom.element(0x7FE00002, "OV", struct.pack(f"<{len(lengths)}Q", *lengths)),
    }
    return frames(before=tables, **more)


def text(tag: int, vr: str, value: str) -> dict[int, bytes]:
    return {tag: dicom.element(tag, vr, value)}


def without(image: dicom.Image, *tags: int) -> bytes:
    data = image.encode()
    for tag in tags:
        data = data.replace(image.elements()[tag], b"")
    return data


def without_delimiter() -> bytes:
    return frames().encode()[:-8]


def implicit_inside() -> bytes:
    """Return a file whose transfer syntax says Explicit VR, and whose data set is implicit."""
    pixels = dicom.element(dicom.PIXEL_DATA, "OW", GREY.tobytes(), dicom.IMPLICIT)
    return dicom.file([*grey(syntax=dicom.IMPLICIT).elements().values(), pixels], dicom.EXPLICIT)


def not_deflated(data: bytes) -> bytes:
    """Return a deflated file whose first block is of a type that there is not (RFC 1951 3.2.3)."""
    at = 132 + 12 + int.from_bytes(data[140:144], "little")
    return data[:at] + b"\x07" + data[at + 1 :]


def zlib_wrapped() -> bytes:
    import zlib

    plain = grey(syntax=dicom.DEFLATED).encode()
    at = 132 + 12 + int.from_bytes(plain[140:144], "little")
    inside = zlib.decompress(plain[at:], wbits=-15)
    whole = zlib.compress(inside)
    return plain[:at] + whole + b"\0" * (len(whole) % 2)


def unpadded(image: dicom.Image) -> bytes:
    """Return a file whose one fragment of odd length has lost its pad byte."""
    (stream,) = image.pixels
    odd = stream if len(stream) % 2 else stream[:-2] + b"\0" + stream[-2:]
    data = dicom.Image(**(vars(image) | {"pixels": [odd]})).encode()
    at = data.rindex(struct.pack("<I", len(odd) + 1) + odd)
    return data[:at] + struct.pack("<I", len(odd)) + odd + data[at + 4 + len(odd) + 1 :]


def jp2(stream: bytes) -> bytes:
    return imagecodecs.jpeg2k_encode(GREY, level=0, codecformat="jp2", reversible=True, bitspersample=12)


def odd_delimiters() -> bytes:
    return frames().encode()


OVERLAY = {
    0x60000010: dicom.element(0x60000010, "US", 16), 0x60000011: dicom.element(0x60000011, "US", 16),
    0x60000040: dicom.element(0x60000040, "CS", "G"), 0x60000050: dicom.element(0x60000050, "SS", [1, 1]),
    0x60000100: dicom.element(0x60000100, "US", 16), 0x60000102: dicom.element(0x60000102, "US", 15),
}  # fmt: skip
CT = "1.2.840.10008.5.1.4.1.1.2"
EIGHT = (GREY // 16).astype(np.uint8)
NEAR = imagecodecs.jpegls_encode(GREY, level=3)
LOSSY_J2K = imagecodecs.jpeg2k_encode(GREY, level=60, codecformat="j2k", reversible=False, bitspersample=12)
HTJ2K = imagecodecs.htj2k_encode(GREY, reversible=True)
E_, W_, N_ = Severity.ERROR, Severity.WARNING, Severity.NOTE
Bad = tuple[Severity, Callable[[], bytes], Callable[[], bytes]]
# Code: its severity, a file that shows it, and the nearest one that does not.
FILES: dict[str, Bad] = {
    "N_DAMAGED": (W_, lambda: jls().encode() + b"not an element", lambda: jls().encode()),
    "N_DELIMITER": (W_, without_delimiter, lambda: frames().encode()),
    "N_DUPLICATE": (
        E_,
        lambda: grey(before={0x00100020: dicom.element(0x00100020, "LO", "1") * 2}).encode(),
        lambda: grey(before={0x00100020: dicom.element(0x00100020, "LO", "1")}).encode(),
    ),
    "N_ENCODING": (E_, implicit_inside, lambda: grey(syntax=dicom.IMPLICIT).encode()),
    "N_GROUP_LENGTH": (
        W_,
        lambda: grey().encode().replace(b"\x02\x00\x00\x00UL\x04\x00", b"\x02\x00\x00\x00UL\x04\x00", 1)[:140]
        + b"\x01\x00\x00\x00" + grey().encode()[144:],
        lambda: grey().encode(),
    ),
    "N_GROUP_LENGTHS": (
        N_, lambda: grey(before={0x00100000: dicom.element(0x00100000, "UL", [18])}).encode(), lambda: grey().encode()
    ),
    "N_META_MISSING": (
        W_,
        lambda: without_meta(grey().encode(), dicom.element(0x00020012, "UI", "1.2.3")),
        lambda: grey().encode(),
    ),
    "N_META_UID": (
        W_, lambda: grey(before=text(0x00080018, "UI", "1.2.3.5")).encode(), lambda: grey().encode()
    ),
    "N_MISPLACED": (
        W_, lambda: grey(before={0x00000002: dicom.element(0x00000002, "UI", "1.2")}).encode(), lambda: grey().encode()
    ),
    "N_NO_PIXEL_DATA": (
        W_, lambda: dicom.file(grey().elements().values()),
        lambda: dicom.file([dicom.element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.88.11")],
                           sop_class="1.2.840.10008.5.1.4.1.1.88.11"),
    ),
    "N_NO_PREAMBLE": (W_, lambda: grey().encode()[132:], lambda: grey().encode()),
    "N_NO_SYNTAX": (
        W_, lambda: grey().encode()[132 + 12 + int.from_bytes(grey().encode()[140:144], "little") :],
        lambda: grey().encode(),
    ),
    "N_ODD_LENGTH": (
        W_, lambda: grey(before={0x00100020: b"\x10\x00\x20\x00LO\x03\x00abc"}).encode(),
        lambda: grey(before=text(0x00100020, "LO", "abcd")).encode(),
    ),
    "N_ORDER": (
        W_, lambda: grey(before={0x00100020: dicom.element(0x00180015, "CS", "HEAD")}).encode()
        .replace(b"\x28\x00\x02\x00US", dicom.element(0x00100030, "DA", "20260101") + b"\x28\x00\x02\x00US", 1),
        lambda: grey().encode(),
    ),
    "N_PADDING": (N_, lambda: grey().encode() + bytes(100), lambda: grey().encode()),
    "N_UNKNOWN_VR": (
        W_, lambda: grey(before={0x00100020: b"\x10\x00\x20\x00??\x04\x00abcd"}).encode(), lambda: grey().encode()
    ),
    "N_VALUE": (
        W_, lambda: grey(before=text(0x00080020, "DA", "1 Jan 26")).encode(),
        lambda: grey(before=text(0x00080020, "DA", "20260101")).encode(),
    ),
    "N_ZLIB": (W_, zlib_wrapped, lambda: grey(syntax=dicom.DEFLATED).encode()),
    "N_BASIC_TABLE": (
        E_, lambda: frames(table=struct.pack("<2I", 0, 5)).encode(),
        lambda: frames(table=struct.pack("<2I", 0, 8 + len(JLS) + len(JLS) % 2)).encode(),
    ),
    "N_EXTENDED_TABLE": (
        E_, lambda: extended([0, 5], [len(JLS)] * 2).encode(),
        lambda: extended([0, 8 + len(JLS) + len(JLS) % 2], [len(JLS)] * 2).encode(),
    ),
    "N_TWO_TABLES": (
        W_, lambda: extended([0, 8 + len(JLS) + len(JLS) % 2], [len(JLS)] * 2,
                             table=struct.pack("<2I", 0, 8 + len(JLS) + len(JLS) % 2)).encode(),
        lambda: extended([0, 8 + len(JLS) + len(JLS) % 2], [len(JLS)] * 2).encode(),
    ),
    "N_STALE_TABLE": (
        W_, lambda: grey(before={0x7FE00001: dicom.element(0x7FE00001, "OV", bytes(8))}).encode(),
        lambda: grey().encode(),
    ),
    "N_EMPTY_ITEM": (
        W_, lambda: grey([JLS[:40], b"", JLS[40:]], syntax=dicom.JPEGLS).encode(),
        lambda: grey([JLS[:40], JLS[40:]], syntax=dicom.JPEGLS).encode(),
    ),
    "N_FRAGMENTS": (
        W_, lambda: grey([RLE[:64], RLE[64:]], syntax=dicom.RLE).encode(),
        lambda: grey([RLE], syntax=dicom.RLE).encode(),
    ),
    "N_JUNK": (
        W_, lambda: coded(JLS + b"junk", dicom.JPEGLS).encode(), lambda: coded(JLS + bytes(4), dicom.JPEGLS).encode()
    ),
    "N_ODD_ITEM": (W_, lambda: unpadded(jls()), lambda: jls().encode()),
    "N_PIXEL_PADDING": (
        N_, lambda: grey(GREY.tobytes() + bytes(6)).encode(), lambda: grey(EIGHT.tobytes()[:-1] + b"\0", rows=15,
            columns=17, allocated=8, stored=8).encode(),
    ),
    "N_PIXEL_VR": (W_, lambda: grey(pixel_vr="OB").encode(), lambda: grey(pixel_vr="OW").encode()),
    "N_BOXED": (W_, lambda: coded(jp2(J2K), dicom.J2K_LOSSLESS).encode(),
                lambda: coded(J2K, dicom.J2K_LOSSLESS).encode()),
    "N_FRAME_COUNT": (W_, lambda: grey(before=text(0x00280008, "IS", "0")).encode(), lambda: grey(frames=1).encode()),
    "N_FRAMES_DIFFER": (
        E_, lambda: grey([JLS, imagecodecs.jpegls_encode(EIGHT)], syntax=dicom.JPEGLS, frames=2).encode(),
        lambda: frames().encode(),
    ),
    "N_HIGH_BIT": (W_, lambda: grey((GREY << 4).tobytes(), high_bit=15).encode(), lambda: grey(high_bit=11).encode()),
    "N_HISTORY": (
        W_, lambda: grey(before=text(0x00282110, "CS", "01") | text(0x00282112, "DS", "11")).encode(),
        lambda: grey(before=text(0x00282110, "CS", "01") | text(0x00282112, "DS", "11")
                     | text(0x00282114, "CS", "ISO_14495_1")).encode(),
    ),
    "N_ILLEGAL": (
        W_, lambda: colour([JPEG], "YBR_FULL", dicom.JPEG_BASELINE, before=text(0x00282110, "CS", "01")).encode(),
        lambda: colour([JPEG], "YBR_FULL_422", dicom.JPEG_BASELINE, before=text(0x00282110, "CS", "01")).encode(),
    ),
    "N_IOD": (
        W_, lambda: grey(EIGHT.tobytes(), allocated=8, stored=8, sop_class=CT).encode(),
        lambda: grey(sop_class=CT).encode(),
    ),
    "N_JFIF": (
        W_, lambda: colour([JFIF], "RGB", dicom.JPEG_BASELINE).encode(),
        lambda: colour([JFIF], "YBR_FULL_422", dicom.JPEG_BASELINE).encode(),
    ),
    "N_NOT_LOSSLESS": (
        E_, lambda: coded(LOSSY_J2K, dicom.J2K_LOSSLESS).encode(), lambda: coded(LOSSY_J2K, dicom.J2K).encode()
    ),
    "N_ODD_COLUMNS": (
        E_, lambda: colour(bytes(16 * 15 * 2), "YBR_FULL_422", columns=15).encode(),
        lambda: colour(bytes(16 * 16 * 2), "YBR_FULL_422").encode(),
    ),
    "N_OVERLAY": (N_, lambda: grey(before=OVERLAY).encode(), lambda: grey().encode()),
    "N_PHOTOMETRIC": (
        W_, lambda: colour([J2K_RGB], "RGB", dicom.J2K_LOSSLESS).encode(),
        lambda: colour([J2K_RGB], "YBR_RCT", dicom.J2K_LOSSLESS).encode(),
    ),
    "N_PLANAR": (
        W_, lambda: colour([J2K_RGB], "YBR_RCT", dicom.J2K_LOSSLESS, planar=1).encode(),
        lambda: colour(BYTES.tobytes(), "RGB", planar=1).encode(),
    ),
    "N_PRECISION": (W_, lambda: jls(stored=14).encode(), lambda: jls().encode()),
    "N_PROCESS": (
        W_, lambda: coded(PREDICTED, dicom.JPEG_EXTENDED).encode(), lambda: coded(PREDICTED, dicom.JPEG_SV1).encode()
    ),
    "N_RETIRED": (
        N_, lambda: grey(GREY.byteswap().tobytes(), syntax=dicom.BIG_ENDIAN).encode(), lambda: grey().encode()
    ),
    "N_RPCL": (
        W_, lambda: coded(HTJ2K, dicom.HTJ2K_RPCL, stored=16).encode(),
        (ROOT / "testdata" / "us-multiframe-htj2k-rpcl.dcm").read_bytes,
    ),
    "N_SAMPLES": (W_, lambda: without(grey(), 0x00280002), lambda: grey().encode()),
    "N_SAMPLING": (
        N_, lambda: colour([imagecodecs.jpeg8_encode(BYTES, 90, subsampling="420")], "YBR_FULL_422",
                           dicom.JPEG_BASELINE).encode(),
        lambda: colour([JPEG], "YBR_FULL_422", dicom.JPEG_BASELINE).encode(),
    ),
    "N_SIGN": (
        E_, lambda: coded(J2K, dicom.J2K_LOSSLESS, signed=True).encode(),
        lambda: coded(J2K, dicom.J2K_LOSSLESS).encode(),
    ),
    "N_UNDECLARED_LOSS": (
        W_, lambda: coded(NEAR, dicom.JPEGLS_NEAR).encode(),
        lambda: coded(NEAR, dicom.JPEGLS_NEAR, before=text(0x00282110, "CS", "01")).encode(),
    ),
    "E_CODESTREAM": (
        E_, lambda: coded(JLS, dicom.J2K_LOSSLESS).encode(), lambda: coded(J2K, dicom.J2K_LOSSLESS).encode()
    ),
    "E_ENCAPSULATION": (
        E_, lambda: jls().encode().replace(dicom.header(0xFFFEE000, "", 0), b"\xfe\xff\x00\xe1\0\0\0\0"),
        lambda: jls().encode(),
    ),
    "E_GEOMETRY": (E_, lambda: jls(rows=15).encode(), lambda: jls().encode()),
    "E_INCONSISTENT": (E_, lambda: grey(stored=17).encode(), lambda: grey(stored=16).encode()),
    "E_DEFLATE": (
        E_, lambda: not_deflated(grey(syntax=dicom.DEFLATED).encode()), lambda: grey(syntax=dicom.DEFLATED).encode()
    ),
    "E_INPUT": (
        E_, lambda: grey(before={0x00100020: dicom.header(0xFFFEE000, "", 0)}).encode(), lambda: grey().encode()
    ),
    "E_SEQUENCE": (
        E_, lambda: grey(before={0x00880200: dicom.sequence(0x00880200, [b"\x28\0\x10\0US\x20\0\x10\0"])}).encode(),
        lambda: grey(before={0x00880200: dicom.sequence(0x00880200, [dicom.element(0x00280010, "US", 16)])}).encode(),
    ),
    "E_NO_SYNTAX": (
        E_, lambda: without_meta(jls().encode(), dicom.element(0x00020010, "UI", dicom.JPEGLS)), lambda: jls().encode()
    ),
    "E_TRUNCATED": (E_, lambda: coded(JLS[:-20], dicom.JPEGLS).encode(), lambda: jls().encode()),
    "E_UNSUPPORTED_TS": (
        W_, lambda: jls().encode().replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.89"), lambda: jls().encode()
    ),
}  # fmt: skip
each_code = pytest.mark.parametrize("code", FILES)


def without_meta(data: bytes, element: bytes) -> bytes:
    """Return a file without one element of its File Meta Information."""
    assert element in data[:400]
    length = int.from_bytes(data[140:144], "little") - len(element)
    return data[:140] + struct.pack("<I", length) + data[144:].replace(element, b"", 1)


def codes(data: bytes) -> dict[str, Severity]:
    return {finding.code: finding.severity for finding in look(data).findings}


def test_every_finding_has_a_file():
    assert FILES.keys() == catalog.ENTRIES.keys()


@each_code
def test_a_finding_is_found_where_it_is_and_nowhere_else(code):
    severity, bad, good = FILES[code]
    assert codes(bad()).get(code) is severity
    assert code not in codes(good())


@pytest.mark.parametrize(
    "code", [code for code, entry in catalog.ENTRIES.items() if entry.mend is not catalog.Mend.NOTHING]
)
def test_what_is_said_to_mend_a_finding_mends_it(code, src, dst, command):
    src.write_bytes(FILES[code][1]())
    info = look(str(src))
    mend = catalog.mend(code, info.syntax)
    program, verb, *places = mend.split()
    assert (program, *places[:2]) == ("dcmtx", "SRC", "DST")
    ran = command(verb, src, dst, *places[2:])
    assert ran.status == 0, ran
    assert code not in codes(dst.read_bytes())


# --- what is said ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "testdata").glob("*.dcm")), ids=lambda path: path.stem)
def test_of_good_files_pydicom_says_the_same_and_nothing_is_wrong(path):
    info, dataset = look(str(path)), pydicom.dcmread(path)
    assert all(finding.severity is Severity.NOTE for finding in info.findings), info.findings
    assert info.syntax is not None
    assert info.syntax.uid == dataset.file_meta.TransferSyntaxUID
    assert (info.sop_class, info.sop_instance) == (dataset.SOPClassUID, dataset.SOPInstanceUID)
    if "PixelData" not in dataset:
        assert info.pixel is None
        return
    fmt = info.format
    assert fmt is not None
    assert (fmt.rows, fmt.columns, fmt.stored) == (dataset.Rows, dataset.Columns, dataset.BitsStored)
    assert fmt.photometric == dataset.PhotometricInterpretation
    assert fmt.frames == int(dataset.get("NumberOfFrames", 1))
    record = as_record(info)
    json.dumps(record)
    assert (record["encapsulation"] is not None) == dataset.file_meta.TransferSyntaxUID.is_encapsulated


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("ct-j2k", {"kind": "j2k", "progression": "LRCP", "layers": 1, "reversible": True, "ht": False}),
        ("us-multiframe-htj2k-rpcl", {"kind": "htj2k", "ht": True, "progression": "RPCL", "tile_part_lengths": True,
                                      "packet_lengths": False, "transform": "rct", "components": 3}),
        ("us-jpeg-baseline", {"kind": "jpeg", "process": "SOF0", "sampling": ["2x1", "1x1", "1x1"],
                              "restart_interval": 0, "reversible": False, "predictor": None}),
        ("cr-jpeg-lossless", {"kind": "jpeg", "process": "SOF3", "predictor": 1, "point_transform": 0}),
        ("ct-jpegls", {"kind": "jpegls", "near": 0, "presets": False, "interleave": 0}),
        ("us-ybr-full-rle", {"kind": "rle", "segments": 3}),
    ],
)  # fmt: skip
def test_what_codestreams_say(name, wanted):
    found = as_record(look(str(ROOT / "testdata" / f"{name}.dcm")))["codestream"]
    assert found == found | wanted


@pytest.mark.parametrize(
    ("encode", "wanted"),
    [
        pytest.param(["-TP", "R", "-PLT", "-TLM", "-n", "3", "-r", "8,4,1", "-t", "8,8", "-p", "RLCP"],
                     {"packet_lengths": True, "tile_part_lengths": True, "resolutions": 3, "layers": 3, "tiles": 4,
                      "tile": [8, 8], "progression": "RLCP"}, id="OpenJPEG with everything"),
        pytest.param(["-b", "16,16", "-n", "2", "-I"],
                     {"code_block": [16, 16], "reversible": False, "packet_lengths": False, "layers": 1, "tiles": 1},
                     id="irreversible"),
    ],
)  # fmt: skip
def test_what_openjpeg_was_told_is_what_the_codestream_says(encode, wanted, tmp_path):
    raw, out = tmp_path / "in.pgm", tmp_path / "out.j2k"
    raw.write_bytes(b"P5\n16 16\n255\n" + EIGHT.tobytes())
    subprocess.run(
        [need_tool("opj_compress"), "-i", raw, "-o", out, *encode], check=True, capture_output=True, timeout=60
    )
    data = coded(out.read_bytes(), dicom.J2K, allocated=8, stored=8).encode()
    found = as_record(look(data))["codestream"]
    assert found == found | wanted


def test_restart_intervals_are_told(tmp_path):
    raw, out = tmp_path / "in.pgm", tmp_path / "out.jpg"
    raw.write_bytes(b"P5\n16 16\n255\n" + EIGHT.tobytes())
    subprocess.run(
        [need_tool("cjpeg"), "-restart", "1", "-outfile", out, raw], check=True, capture_output=True, timeout=60
    )
    found = as_record(look(coded(out.read_bytes(), dicom.JPEG_BASELINE, allocated=8, stored=8).encode()))["codestream"]
    # One row of MCUs, of which a row has two.
    assert found["restart_interval"] == 2


def test_jpeg_xl_of_a_jpeg_is_told_from_other_jpeg_xl(tmp_path):
    jpeg, pixels = tmp_path / "jpeg.dcm", tmp_path / "rgb.dcm"
    jpeg.write_bytes((ROOT / "testdata" / "us-jpeg-baseline.dcm").read_bytes())
    pixels.write_bytes((ROOT / "testdata" / "us-rgb-by-pixel.dcm").read_bytes())
    for source, to, wanted in ((jpeg, "jpegxl-jpeg", True), (pixels, "jpegxl", False)):
        out = tmp_path / "out.dcm"
        transcode(source, out, to=to)
        info = look(str(out))
        assert as_record(info)["codestream"]["jpeg"] is wanted
        assert info.findings == ()


def test_decoding_gives_extremes_and_digests_of_every_frame():
    path = ROOT / "testdata" / "us-multiframe-htj2k-rpcl.dcm"
    arrays = pydicom.dcmread(path).pixel_array
    info = look(str(path), decode=True)
    assert info.frames is not None
    assert look(str(path)).frames is None
    assert [(frame.minimum, frame.maximum, frame.sha256) for frame in info.frames] == [
        (array.min(), array.max(), hashlib.sha256(array.tobytes()).hexdigest()) for array in arrays
    ]


def test_a_frame_that_cannot_be_decoded_is_a_finding():
    stream = bytearray(JLS)
    stream[40:60] = b"\xff\xd0" * 10
    info = look(jls().encode().replace(JLS, bytes(stream)), decode=True)
    assert info.frames == ()
    assert [finding.frame for finding in info.findings if finding.severity is Severity.ERROR] == [0]


def test_a_file_with_garbage_at_its_end_is_described_all_the_same():
    info = look(jls().encode() + b"not an element", decode=True)
    assert [(finding.code, finding.severity) for finding in info.findings] == [
        ("E_TRUNCATED", E_), ("N_DAMAGED", W_)
    ]  # fmt: skip
    assert info.streams.first is not None
    assert info.frames is not None
    assert len(info.frames) == 1


@pytest.mark.parametrize(
    ("syntax", "pixels", "wanted"),
    [
        pytest.param("1.2.840.10008.1.2.4.102", GREY.tobytes(), ["E_ENCAPSULATION"], id="video that is native"),
        pytest.param("1.2.840.10008.1.2.4.102", [b"\0\0\1\xb3"], [], id="video"),
        pytest.param("1.2.840.10008.1.2.1.98", [GREY.tobytes()], [], id="encapsulated cells"),
        pytest.param("1.2.840.10008.1.2.1.98", [GREY.tobytes()[:-2]], ["E_GEOMETRY"], id="too few cells"),
        pytest.param("1.2.840.10008.1.2.8.1", [b"\3\0"], [], id="a deflated frame"),
        pytest.param("1.2.840.10008.1.2.4.94", [], [], id="pixels elsewhere"),
    ],
)
def test_transfer_syntaxes_without_codestreams_are_described_too(syntax, pixels, wanted):
    image = grey(pixels or None, syntax=syntax)
    data = image.encode() if pixels else dicom.file(
        [*image.elements().values(), dicom.element(0x00287FE0, "UR", "https://pacs.invalid/1")], syntax
    )  # fmt: skip
    info = look(data)
    assert [finding.code for finding in info.findings] == wanted
    assert info.syntax is find(syntax)
    json.dumps(as_record(info))


def test_of_many_frames_a_code_is_told_once_with_their_number():
    data = grey([JLS + b"junk"] * 5, syntax=dicom.JPEGLS, frames=5, stored=16).encode()
    (finding,) = [finding for finding in look(data).findings if finding.code == "N_JUNK"]
    assert (finding.frame, finding.text[-22:]) == (0, "(and so 4 more frames)")


def test_losses_are_paired_and_overlays_icons_and_signatures_are_told():
    path = ROOT / "testdata" / "ct-icon-jpeg-lossless.dcm"
    assert as_record(look(str(path)))["icons"] == [{"rows": 16, "columns": 16, "photometric": "MONOCHROME2"}]
    assert as_record(look(grey(before=OVERLAY).encode()))["overlays"] == [
        {"group": "6000", "rows": 16, "columns": 16, "bit": 15}
    ]
    signed = grey(behind=[dicom.sequence(0xFFFAFFFA, [dicom.element(0x04000005, "US", 1)] * 2)])
    assert as_record(look(signed.encode()))["signatures"] == 2
    lossy = text(0x00282110, "CS", "01") | text(0x00282112, "DS", "11\\5") | text(0x00282114, "CS", "ISO_14495_1")
    assert as_record(look(grey(before=lossy).encode()))["loss"]["history"] == [
        {"method": "ISO_14495_1", "ratio": "11"}, {"method": None, "ratio": "5"}
    ]  # fmt: skip


def test_no_text_tells_a_value_of_a_patient():
    name = "Somebody^Very-Secret"
    data = grey(before=text(0x00100010, "PN", name) | text(0x00100030, "DA", name[:12]) | text(0x00100040, "CS", name))
    info = look(data.encode())
    assert {finding.code for finding in info.findings} == {"N_VALUE"}
    assert not any("ecret" in finding.text or "omebody" in finding.text for finding in info.findings)


@pytest.mark.parametrize("path", sorted((ROOT / "testdata").glob("*.dcm")), ids=lambda path: path.stem)
def test_whatever_happened_to_a_file_is_told_and_never_a_bug(path):
    chance, whole = random.Random(path.stem), path.read_bytes()
    for number in range(40):
        data = bytearray(whole)
        at = chance.randrange(132, len(data))
        if number % 4 == 0:
            del data[at:]
        elif number % 4 == 1:
            del data[at : at + chance.randrange(1, 20)]
        else:
            for _ in range(chance.randrange(1, 6)):
                data[chance.randrange(128, len(data) if number % 2 else min(len(data), 1200))] = chance.choice(
                    [0, 255, 16, 128, 254]
                )
        with contextlib.suppress(InputError):
            info = look(bytes(data))
            json.dumps(as_record(info))
            assert all(label for label, _ in lines(info))
            assert all(finding_line(finding, info) for finding in info.findings)


# --- the command -----------------------------------------------------------------------------------------------


def test_a_file_is_described_in_plain_lines(src, command):
    src.write_bytes(FILES["N_SIGN"][1]())
    ran = command("info", src)
    assert (ran.status, ran.err) == (0, "")
    first, *lines = ran.out.splitlines()
    assert first == f"{src}: {src.stat().st_size} bytes"
    labels = [line.split()[0] for line in lines]
    assert labels == ["syntax", "encoding", "pixels", "size", "fragments", "codestream", "loss", "error"]
    assert "N_SIGN" in lines[-1]
    assert "PS3.5 8.2.4" in lines[-1]


@pytest.mark.parametrize(("code", "status"), [("N_SIGN", 3), ("N_ILLEGAL", 0), ("N_OVERLAY", 0)])
def test_strict_fails_on_errors_alone(code, status, src, command):
    src.write_bytes(FILES[code][1]())
    assert command("info", "--strict", src).status == status
    assert command("info", src).status == 0


def test_what_is_not_dicom_fails_if_it_is_named_and_is_counted_in_a_directory(tmp_path, command):
    (tmp_path / "in").mkdir()
    other, good = tmp_path / "in" / "a.txt", tmp_path / "in" / "b.dcm"
    other.write_text("not DICOM at all, and long enough to be something else")
    good.write_bytes(grey().encode())
    ran = command("info", other, good, tmp_path / "absent")
    assert ran.status == 3
    assert [line.split(": ")[1] for line in ran.err.splitlines()] == [str(other), str(tmp_path / "absent")]
    assert ran.out.startswith(f"{good}: ")
    ran = command("info", tmp_path / "in")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines()[-1] == "1 file that is not DICOM"


def test_a_directory_is_a_table_and_its_findings_by_code(tmp_path, command):
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    for number in range(5):
        (tmp_path / "deep" / "deeper" / f"{number}.dcm").write_bytes(FILES["N_SIGN"][1]())
    (tmp_path / "deep" / "big.dcm").write_bytes(FILES["N_RETIRED"][1]())
    ran = command("info", tmp_path / "deep")
    heading, first, second, *found = ran.out.splitlines()
    assert heading.split("\t") == ["SYNTAX", "FILES", "FRAMES", "BYTES", "RATIO", "FINDINGS"]
    assert first.split("\t")[:3] == ["j2k-lossless", "5", "5"]
    assert second.split("\t")[:3] == ["big-endian", "1", "1"]
    assert [line.split(":")[0] for line in found] == ["error N_SIGN in 5 files", "note N_RETIRED in 1 file"]
    assert found[0].endswith("2.dcm and 2 more")


def test_json_has_an_object_a_file_whose_names_are_stable(tmp_path, command):
    for number, code in enumerate(["N_SIGN", "N_JUNK"]):
        (tmp_path / f"{number}.dcm").write_bytes(FILES[code][1]())
    ran = command("info", "--json", tmp_path)
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert [Path(record["path"]).name for record in found] == ["0.dcm", "1.dcm"]
    for record in found:
        assert list(record) == list(MEANINGS)
        assert list(record) == [
            "version", "path", "bytes", "syntax", "meta", "sop_class", "sop_instance", "pixels", "encapsulation",
            "codestream", "loss", "overlays", "icons", "signatures", "frames", "findings", "error",
        ]  # fmt: skip
        (worst, *_) = record["findings"]
        assert list(worst) == ["code", "severity", "tag", "frame", "text", "section", "mend"]
        assert list(record["encapsulation"]) == ["fragments", "basic_table", "extended_table"]
    ran = command("info", "--json", tmp_path / "absent")
    (record,) = [json.loads(line) for line in ran.out.splitlines()]
    assert (ran.status, record["error"]["code"], record["error"]["status"]) == (3, "E_MISSING", 3)


def test_a_name_that_no_terminal_should_see_is_escaped(tmp_path, command):
    path = tmp_path / "line\nbreak\x1b[31m.dcm"
    path.write_bytes(grey().encode())
    assert command("info", path).out.splitlines()[0].startswith(f"{tmp_path}/line\\nbreak\\x1b[31m.dcm: ")


# --- real files ------------------------------------------------------------------------------------------------


def test_no_file_of_pydicom_is_too_much_and_errors_are_those_that_were_looked_at():
    import pydicom.data

    found: dict[str, set[str]] = {}
    paths = [Path(name) for name in pydicom.data.get_testdata_files()]
    for path in paths:
        with contextlib.suppress(InputError):
            for finding in look(str(path)).findings:
                if finding.severity is Severity.ERROR:
                    found.setdefault(path.name, set()).add(finding.code)
    # Each was looked at by hand: truncated, duplicate, implicit under Explicit VR, odd numbers, signs that contradict.
    assert found.items() <= {
        "JPEG2000-embedded-sequence-delimiter.dcm": {"E_GEOMETRY"}, "badVR.dcm": {"E_INCONSISTENT"},
        "nested_priv_SQ.dcm": {"E_INCONSISTENT"}, "meta_missing_tsyntax.dcm": {"E_NO_SYNTAX"},
        "MR_truncated.dcm": {"E_TRUNCATED"}, "rtplan_truncated.dcm": {"E_TRUNCATED"},
        "J2K_pixelrep_mismatch.dcm": {"N_SIGN"}, "SC_rgb_jpeg.dcm": {"N_ENCODING"},
    }.items()  # fmt: skip
    assert "MR_truncated.dcm" in found


@pytest.mark.parametrize("folder", ["pydicom-data", "pylibjpeg-data", "wg04", "series"])
def test_no_real_file_is_too_much(folder):
    found = [one.code for one in look_below(str(need_real(folder))) if isinstance(one, DcmtxError)]
    assert set(found) <= {"E_NOT_DICOM", "E_EMPTY"}


# --- codecs that crash -----------------------------------------------------------------------------------------

CRASHING = """
import os, signal, sys
from dcmtx.transcoding import decode
decode.PlannedDecoder.__call__ = lambda *_: os.kill(os.getpid(), signal.SIGSEGV)
from dcmtx.cli import main
main()
"""


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        pytest.param(["info", "--decode", "in.dcm"], 0, "error       E_CRASH", id="info of a file"),
        pytest.param(["info", "--decode", "--strict", "in.dcm"], 3, "error       E_CRASH", id="strict"),
        pytest.param(["info", "--decode", "."], 0, "error E_CRASH in 2 files", id="info of a directory"),
        pytest.param(["compare", "in.dcm", "in.dcm"], 6, "dcmtx: in.dcm: the process", id="compare"),
        pytest.param(["compare", ".", "."], 9, "0 equal, 0 different, 0 without a partner, 2 failed", id="directories"),
        pytest.param(["render", "in.dcm", "out.png"], 6, "dcmtx: in.dcm: the process", id="render"),
    ],
)
def test_what_a_codec_does_to_its_process_is_told(arguments, status, said, tmp_path):
    for name in ("in.dcm", "other.dcm"):
        (tmp_path / name).write_bytes(jls().encode())
    ran = subprocess.run(
        [sys.executable, "-c", CRASHING, *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT), "DCMTX_SOCKET": ""},
    )  # fmt: skip
    assert ran.returncode == status, ran
    assert said in ran.stdout + ran.stderr
    assert not (tmp_path / "out.png").exists()
