"""Sources that must not be converted: status 3, 4 and 5, in one line that tells what to do, and nothing is touched."""

from __future__ import annotations

import os
import re
import socket
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import dicom
import imagecodecs
import numpy as np
import oracle
import pytest
from conftest import Ran, contents, need_modes, need_real, old_file
from pydicom.data import get_testdata_file

from dcmtx import DcmtxError, transcode

Command = Callable[..., Ran]
Fails = Callable[..., str]
Check = Callable[[int, bytes, str], str]

SIDE = 24
FRAMES = (np.arange(3 * SIDE * SIDE, dtype=np.uint32) * 40503 % 251).astype(np.uint8).reshape(3, SIDE, SIDE)
VIDEO = "1.2.840.10008.1.2.4.102"
J2K_PART_2 = "1.2.840.10008.1.2.4.92"
JPIP = "1.2.840.10008.1.2.4.94"
JPIP_DEFLATE = "1.2.840.10008.1.2.4.95"
NUMBER_OF_FRAMES = 0x00280008
REFERENCED_IMAGES = 0x00081140


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    return old_file(tmp_path / "out.dcm")


@pytest.fixture
def check(src: Path, dst: Path, fails: Fails) -> Check:
    """Convert these bytes to a target, which must fail with a status; return the message, behind the file's name."""

    def run(status: int, data: bytes, *target: str) -> str:
        src.write_bytes(data)
        line = fails(status, src, dst, "--to", *target)
        start = f"dcmtx: {src}: "
        assert line.startswith(start)
        return line.removeprefix(start)

    return run


def grey(**attributes: object) -> dicom.Image:
    """An 8-bit image of one frame, uncompressed, with some attributes changed."""
    fields = {"rows": SIDE, "columns": SIDE, "allocated": 8, "stored": 8} | attributes
    return dicom.Image(fields.pop("pixels", FRAMES[0].tobytes()), **fields)


def us(tag: int, value: int) -> dict[int, bytes]:
    return {tag: dicom.element(tag, "US", value)}


def integer_string(text: str) -> dict[int, bytes]:
    return {NUMBER_OF_FRAMES: dicom.element(NUMBER_OF_FRAMES, "IS", text)}


# --- codestreams -----------------------------------------------------------------------------------------------


def rle(frame: np.ndarray) -> bytes:
    """Code by literal runs of at most 128 bytes (PS3.5 G.3): planes of bytes, the most significant first."""
    words = frame.reshape(frame.shape[0], frame.shape[1], -1)
    segments = []
    for sample in range(words.shape[2]):
        planes = words[:, :, sample].astype(">u2" if frame.itemsize == 2 else "u1").tobytes()
        for byte in range(frame.itemsize):
            plane = planes[byte :: frame.itemsize]
            runs = [plane[at : at + 128] for at in range(0, len(plane), 128)]
            segment = b"".join(bytes([len(run) - 1]) + run for run in runs)
            segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = np.cumsum([64, *map(len, segments)])[:-1].tolist()
    return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)


def jpeg(frame: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(frame, level=90))


def jpeg_lossless(frame: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(frame, lossless=True, predictor=1))


def jpegls(frame: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpegls_encode(frame))


def j2k(frame: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(frame, level=0, codecformat="j2k", reversible=True))


def htj2k(frame: np.ndarray) -> bytes:
    return bytes(imagecodecs.htj2k_encode(frame, reversible=True))


def jpegxl(frame: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(frame, lossless=True))


def deflate(frame: np.ndarray) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(frame.tobytes()) + deflater.flush()


CODES: dict[str, tuple[str, Callable[[np.ndarray], bytes]]] = {
    "RLE": (dicom.RLE, rle),
    "JPEG": (dicom.JPEG_BASELINE, jpeg),
    "lossless JPEG": (dicom.JPEG_SV1, jpeg_lossless),
    "JPEG-LS": (dicom.JPEGLS, jpegls),
    "JPEG 2000": (dicom.J2K_LOSSLESS, j2k),
    "HTJ2K": (dicom.HTJ2K_LOSSLESS, htj2k),
    "JPEG XL": ("1.2.840.10008.1.2.4.110", jpegxl),
    "deflated frames": ("1.2.840.10008.1.2.8.1", deflate),
}
# Those whose codestreams say what is in them.
DESCRIBED = [pytest.param(*case, id=name) for name, case in CODES.items() if name not in ("RLE", "deflated frames")]
code = pytest.mark.parametrize(("syntax", "encode"), CODES.values(), ids=CODES.keys())


@code
def test_the_files_that_are_damaged_below_are_in_order_as_they_are(
    syntax: str, encode: Callable[[np.ndarray], bytes], src: Path, dst: Path, command: Command
) -> None:
    src.write_bytes(grey(pixels=[encode(frame) for frame in FRAMES], frames=3, syntax=syntax).encode())
    ran = command(src, dst, "--to", "explicit")
    assert (ran.status, ran.out) == (0, "")
    decoded = np.array(oracle.native(dst.read_bytes()), dtype=int)
    assert np.abs(decoded - FRAMES).max() <= (48 if encode is jpeg else 0)


# --- 3: not there, not readable, not DICOM ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["missing.dcm", "no/such/folder.dcm", "out.dcm/in.dcm", "out.dcm/", "x" * 256, "loop", "nowhere", ""],
    ids=["a file that does not exist", "a folder that does not exist", "a file taken for a folder",
         "a file with a slash behind it", "a name too long", "a symbolic link to itself", "a symbolic link to nothing",
         "an empty name"],
)  # fmt: skip
def test_a_source_that_is_not_there(name: str, tmp_path: Path, dst: Path, fails: Fails) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("missing")
    line = fails(3, f"{tmp_path}/{name}" if name else "", dst, "--to", "rle")
    assert name in line


def test_a_source_that_is_a_directory_cannot_go_into_a_file(tmp_path: Path, dst: Path) -> None:
    before = contents(tmp_path)
    assert status_of(tmp_path, dst, "rle") == 3
    assert contents(tmp_path) == before


def test_a_source_that_is_a_socket(tmp_path: Path, dst: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        fails(3, "socket", dst, "--to", "rle")


@need_modes
def test_a_source_without_permission(src: Path, dst: Path, tmp_path: Path, command: Command) -> None:
    src.write_bytes(grey().encode())
    src.chmod(0)
    names = sorted(os.listdir(tmp_path))
    ran = command(src, dst, "--to", "rle")
    assert ran.status == 3
    assert "Permission denied" in ran.line
    assert dst.read_bytes() == b"what was here before"
    assert sorted(os.listdir(tmp_path)) == names


PREFIX = bytes(128) + b"DICM"
WHOLE = grey().encode()
META = len(WHOLE) - len(dicom.walk(WHOLE).dataset)
NOISE = np.random.default_rng(3).bytes(5000)
NOT_DICOM: dict[str, bytes] = {
    "nothing": b"",
    "one byte": b"\0",
    "text": b"It was a dark and stormy night.\n" * 100,
    "text of one line": b"hello",
    "JSON": b'{"00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]}}',
    "XML": b'<?xml version="1.0"?>\n<NativeDicomModel/>\n',
    "random bytes": NOISE,
    "zeros": bytes(5000),
    "ones": b"\xff" * 5000,
    "a JPEG image": jpeg(FRAMES[0]),
    "a PNG image": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + NOISE,
    "a gzipped file": zlib.compress(WHOLE, wbits=31),
    "a ZIP archive": b"PK\x03\x04" + NOISE,
    "a preamble only": bytes(128),
    "a preamble and a prefix only": PREFIX,
    "a preamble, a prefix and random bytes": PREFIX + NOISE,
    "a preamble, a prefix and text": PREFIX + b"hello world, this is no DICOM file\n" * 10,
    "a prefix one byte late": b"\0" + WHOLE,
    "a prefix without a preamble": WHOLE[128:],
    "a byte before the data set, and no File Meta Information": b" " + WHOLE[META:],
    "File Meta Information that claims more than there is": PREFIX + b"\2\0\0\0OB\0\0\0\0\x10\0" + bytes(2000),
    "File Meta Information that claims a gigabyte": PREFIX + b"\2\0\0\0OB\0\0\0\0\0\x40" + bytes(2000),
    "a data set of compressed pixels without File Meta Information": (
        grey(pixels=[jpegls(FRAMES[0])], syntax=dicom.JPEGLS).encode()[META:]
    ),
    "a data set in disorder without File Meta Information": (dicom.element(0x00080018, "UI", "1.2.3") + WHOLE[META:]),
}


@pytest.mark.parametrize("data", NOT_DICOM.values(), ids=NOT_DICOM.keys())
@pytest.mark.parametrize("target", ["jpegls", "explicit"])
def test_what_is_not_dicom(target: str, data: bytes, check: Check) -> None:
    check(3, data, target)


@pytest.mark.parametrize("name", ["no_meta.dcm", "meta_missing_tsyntax.dcm", "zipMR.gz", "README.txt", "crayons.icc"])
def test_files_that_pydicom_brings_and_that_are_not_certain(name: str, check: Check) -> None:
    check(3, real(name), "explicit")


# --- 3: truncated ----------------------------------------------------------------------------------------------


def real(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"pydicom has no {name}")
    return Path(path).read_bytes()


TRUNCATED: dict[str, tuple[str, str]] = {
    "Explicit VR, elements behind the pixels, to JPEG-LS": ("CT_small.dcm", "jpegls"),
    "Implicit VR to Explicit VR": ("MR_small_implicit.dcm", "explicit"),
    "Big Endian to Explicit VR": ("MR_small_bigendian.dcm", "explicit"),
    "RLE to Explicit VR": ("MR_small_RLE.dcm", "explicit"),
    "RLE of two frames to JPEG 2000": ("SC_rgb_rle_2frame.dcm", "j2k"),
    "JPEG 2000 to Explicit VR": ("MR_small_jp2klossless.dcm", "explicit"),
    "JPEG-LS to RLE": ("MR_small_jpeg_ls_lossless.dcm", "rle"),
    "lossless JPEG to Explicit VR": ("SC_rgb_jpeg_gdcm.dcm", "explicit"),
    "lossy JPEG to Explicit VR": ("SC_rgb_dcmtk_+eb+cr.dcm", "explicit"),
    "near-lossless JPEG-LS to Implicit VR": ("JPEGLSNearLossless_08.dcm", "implicit"),
}
truncated = pytest.mark.parametrize(("name", "target"), TRUNCATED.values(), ids=TRUNCATED.keys())


def borders(data: bytes) -> tuple[list[int], list[int]]:
    """Return where elements of the data set end: in front of the pixels, and behind them."""
    walked = dicom.walk(data)
    position, front, behind = len(data) - len(walked.dataset), [], []
    for tag in walked.order:
        (behind if tag > dicom.PIXEL_DATA else front).append(position)
        position += len(walked.elements[tag].raw)
    return front, behind


def lengths(data: bytes, near: list[int]) -> list[int]:
    """Return lengths to cut a file down to: all over it, every one about its beginning and end, and about these."""
    anywhere = range(0, len(data), max(1, len(data) // 101))
    dense = [*range(120, 420), *range(len(data) - 30, len(data))]
    return sorted({length for length in [*anywhere, *dense, *near] if length < len(data)})


def pixels(path: Path) -> bytes:
    return dicom.walk(path.read_bytes()).elements[dicom.PIXEL_DATA].raw


@truncated
def test_a_file_that_is_cut_short_anywhere(name: str, target: str, src: Path, tmp_path: Path) -> None:
    data, dst = real(name), tmp_path / "new.dcm"
    src.write_bytes(data)
    transcode(src, dst, to=target)
    whole = pixels(dst)
    dst.unlink()
    front, behind = borders(data)
    encapsulated = dicom.walk(data).elements[dicom.PIXEL_DATA].fragments is not None
    for length in lengths(data, [border + step for border in front + behind for step in (-1, 0, 1, 8)]):
        # Zeros behind a whole element are padding.
        whole_elements = max((border for border in front + behind if border <= length), default=0)
        clean = not any(data[whole_elements:length])
        if clean and whole_elements in front:
            continue
        src.write_bytes(data[:length])
        status = status_of(src, dst, target)
        # All that is missing may be the Sequence Delimitation Item.
        unended = encapsulated and length == min([*behind, len(data)]) - 8
        assert status == (0 if unended or (clean and whole_elements in behind) else 3), length
        if status:
            assert os.listdir(tmp_path) == [src.name]
        else:
            assert pixels(dst) == whole
            dst.unlink()


def status_of(src: Path, dst: Path, target: str) -> int:
    try:
        transcode(src, dst, to=target, workers=1)
    except DcmtxError as error:
        return error.status
    return 0


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # see test_source.py
def test_a_deflated_file_that_is_cut_short_anywhere(src: Path, tmp_path: Path) -> None:
    data, dst = real("image_dfl.dcm"), tmp_path / "new.dcm"
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    inflater = zlib.decompressobj(-15)
    inflater.decompress(data[start:])
    end = len(data) - len(inflater.unused_data)
    src.write_bytes(data)
    transcode(src, dst, to="explicit")
    whole = pixels(dst)
    for length in lengths(data, [start, start + 1, end - 1, end, end + 1]):
        src.write_bytes(data[:length])
        dst.unlink(missing_ok=True)
        assert status_of(src, dst, "explicit") == (3 if length < end else 0), length
        assert dst.exists() == (length >= end)
        assert length < end or pixels(dst) == whole


CUTS: dict[str, Callable[[list[int]], int]] = {
    "just before Pixel Data": lambda front: front[-1],
    "before the last element in front of Pixel Data": lambda front: front[-2],
    "in the middle of the header": lambda front: front[len(front) // 2],
    "behind the File Meta Information": lambda front: front[0],
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
@pytest.mark.parametrize(
    ("name", "target"), [("CT_small.dcm", "jpegls"), ("MR_small_RLE.dcm", "explicit")], ids=["native", "encapsulated"]
)
def test_an_image_that_is_cut_between_elements_in_front_of_its_pixels(
    name: str, target: str, cut: Callable[[list[int]], int], check: Check
) -> None:
    data = real(name)
    check(3, data[: cut(borders(data)[0])], target)


def test_an_image_without_pixel_data(check: Check) -> None:
    check(3, dicom.file(grey().elements().values()), "jpegls")


def test_an_image_without_pixel_data_changes_its_encoding_with_a_note(src: Path, dst: Path, command: Command) -> None:
    src.write_bytes(dicom.file(grey().elements().values()))
    ran = command(src, dst, "--to", "implicit")
    assert ran.status == 0
    assert "it is an image without Pixel Data" in ran.err
    assert dicom.walk(dst.read_bytes()).syntax == dicom.IMPLICIT


@pytest.mark.parametrize("target", ["jpegls", "implicit"])
def test_a_file_without_a_data_set(target: str, check: Check) -> None:
    check(3, dicom.file([]), target)


@pytest.mark.parametrize("name", ["MR_truncated.dcm", "rtplan_truncated.dcm"])
def test_truncated_files_that_pydicom_brings(name: str, check: Check) -> None:
    assert "truncated" in check(3, real(name), "deflated")


def test_a_truncated_file_in_the_target_syntax_is_copied_for_it_is_not_looked_at(
    src: Path, dst: Path, command: Command
) -> None:
    src.write_bytes(WHOLE[:-10])
    assert command(src, dst, "--to", "explicit") == Ran(0, "", "")
    assert dst.read_bytes() == WHOLE[:-10]


# --- 3: the data set contradicts itself ------------------------------------------------------------------------

RGB = {"samples": 3, "photometric": "RGB", "pixels": FRAMES.tobytes()}
INCONSISTENT: dict[str, tuple[bytes, str]] = {
    "no Rows": (grey(before={0x00280010: b""}).encode(), "(0028,0010)"),
    "no Columns": (grey(before={0x00280011: b""}).encode(), "(0028,0011)"),
    "no Samples per Pixel of colour": (
        grey(before={0x00280002: b""}, photometric="RGB", planar=0).encode(), "(0028,0002)"
    ),
    "no Photometric Interpretation": (grey(before={0x00280004: b""}).encode(), "(0028,0004)"),
    "no Bits Allocated": (grey(before={0x00280100: b""}).encode(), "(0028,0100)"),
    "no Bits Stored": (grey(before={0x00280101: b""}).encode(), "(0028,0101)"),
    "Rows 0": (grey(before=us(0x00280010, 0)).encode(), "Rows"),
    "Columns 0": (grey(before=us(0x00280011, 0)).encode(), "Columns"),
    "Rows too many": (grey(rows=SIDE + 1).encode(), "correct"),
    "Columns too few": (grey(columns=SIDE // 2).encode(), "correct"),
    "Samples per Pixel 0": (grey(before=us(0x00280002, 0)).encode(), "Samples per Pixel"),
    "Samples per Pixel 3 of grey": (grey(before=us(0x00280002, 3)).encode(), "Samples per Pixel"),
    "Samples per Pixel 1 of RGB": (grey(photometric="RGB").encode(), "Samples per Pixel"),
    "Samples per Pixel 4": (grey(samples=4, photometric="ARGB").encode(), "ARGB"),
    "Photometric Interpretation HSV": (grey(**RGB | {"photometric": "HSV"}).encode(), "HSV"),
    "Photometric Interpretation that nobody knows": (grey(photometric="GREEN").encode(), "GREEN"),
    "Photometric Interpretation with a line end": (grey(photometric="MONO\nCHROME2").encode(), r"MONO\nCHROME2"),
    "YBR_RCT of native pixels": (grey(**RGB | {"photometric": "YBR_RCT"}).encode(), "YBR_RCT"),
    "Bits Allocated 12": (grey(before=us(0x00280100, 12)).encode(), "Bits Allocated"),
    "Bits Allocated 0": (grey(before=us(0x00280100, 0)).encode(), "Bits Allocated"),
    "Bits Stored above Bits Allocated": (grey(stored=9).encode(), "Bits Stored"),
    "Bits Stored 0": (grey(before=us(0x00280101, 0)).encode(), "Bits Stored"),
    "High Bit below Bits Stored": (grey(high_bit=3).encode(), "High Bit"),
    "High Bit above Bits Allocated": (grey(high_bit=8).encode(), "High Bit"),
    "signed RGB": (grey(**RGB, signed=True).encode(), "signed"),
    "signed palette": (grey(photometric="PALETTE COLOR", signed=True).encode(), "signed"),
    "colour of one bit": (grey(**RGB | {"allocated": 1, "stored": 1, "pixels": bytes(216)}).encode(), "colour"),
    "Planar Configuration 2": (grey(**RGB, before=us(0x00280006, 2)).encode(), "Planar Configuration"),
    "two Pixel Data": (WHOLE + dicom.element(dicom.PIXEL_DATA, "OB", FRAMES[0].tobytes()), "second"),
    "Pixel Data and Float Pixel Data": (
        dicom.file([*grey().elements().values(), dicom.element(0x7FE00008, "OW", bytes(2304)), WHOLE[-588:]]),
        "second",
    ),
    "native pixels under JPEG-LS": (
        dicom.file([*grey().elements().values(), dicom.element(dicom.PIXEL_DATA, "OB", bytes(576))], dicom.JPEGLS),
        "native",
    ),
    "fragments under Explicit VR": (grey(pixels=[jpegls(FRAMES[0])]).encode(), "encapsulated"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "says"), INCONSISTENT.values(), ids=INCONSISTENT.keys())
def test_attributes_that_contradict_the_pixels(data: bytes, says: str, check: Check) -> None:
    assert says in check(3, data, "rle")


WRONG_NUMBERS = ["0", "-1", "1", "4", "two", "2.0", "2\\2", "3\n3", "99999999999999999999999999"]


@pytest.mark.parametrize("number", WRONG_NUMBERS)
@pytest.mark.parametrize("target", ["rle", "implicit"])
def test_number_of_frames_that_is_wrong_for_three_native_ones(number: str, target: str, check: Check) -> None:
    check(3, grey(pixels=FRAMES.tobytes(), before=integer_string(number)).encode(), target)


def test_number_of_frames_that_is_absent_where_native_pixels_are_three(check: Check) -> None:
    assert "Number of Frames" in check(3, grey(pixels=FRAMES.tobytes()).encode(), "rle")


def test_number_of_frames_with_an_underscore_is_no_integer_string(check: Check) -> None:
    check(3, grey(pixels=FRAMES[0].tobytes() * 10, before=integer_string("1_0")).encode(), "rle")


@code
@pytest.mark.parametrize("number", [*[one for one in WRONG_NUMBERS if one != "1"], "2"])
def test_number_of_frames_that_is_wrong_for_three_compressed_ones(
    number: str, syntax: str, encode: Callable[[np.ndarray], bytes], check: Check
) -> None:
    fragments = [encode(frame) for frame in FRAMES]
    check(3, grey(pixels=fragments, syntax=syntax, before=integer_string(number)).encode(), "explicit")


def table(fragments: list[bytes]) -> bytes:
    """A Basic Offset Table for one fragment per frame."""
    sizes = [8 + len(fragment) + len(fragment) % 2 for fragment in fragments]
    return struct.pack(f"<{len(sizes)}I", *np.cumsum([0, *sizes])[:-1].tolist())


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [pytest.param(*case, id=name) for name, case in CODES.items()],
)
@pytest.mark.parametrize("number", ["1", None], ids=["1", "absent"])
@pytest.mark.parametrize("with_table", [True, False], ids=["an offset table of three", "no offset table"])
def test_number_of_frames_1_where_there_are_three_codestreams(
    with_table: bool,
    number: str | None,
    syntax: str,
    encode: Callable[[np.ndarray], bytes],
    src: Path,
    dst: Path,
    command: Command,
) -> None:
    fragments = [encode(frame) for frame in FRAMES]
    before = integer_string(number) if number else {}
    image = grey(pixels=fragments, syntax=syntax, before=before, table=table(fragments) if with_table else b"")
    src.write_bytes(image.encode())
    assert command(src, dst, "--to", "explicit").status in (3, 6)
    assert dst.read_bytes() == b"what was here before"


# --- 3: broken structure ---------------------------------------------------------------------------------------

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UID_ELEMENT = dicom.element(0x00081155, "UI", "1.2.3.4")
ONE_JPEGLS = grey(pixels=[jpegls(FRAMES[0])], syntax=dicom.JPEGLS).encode()
PIXELS_AT = ONE_JPEGLS.index(dicom.header(dicom.PIXEL_DATA, "OB", dicom.UNDEFINED)) + 12


def with_sequence(body: bytes, length: int = dicom.UNDEFINED) -> bytes:
    return grey(before={REFERENCED_IMAGES: dicom.header(REFERENCED_IMAGES, "SQ", length) + body}).encode()


def fragments(*parts: bytes) -> bytes:
    """The file with JPEG-LS pixels, with these bytes where its items are."""
    return ONE_JPEGLS[:PIXELS_AT] + b"".join(parts)


def item(value: bytes, length: int | None = None, tag: int = ITEM) -> bytes:
    return dicom.header(tag, "", len(value) if length is None else length) + value


STREAM = jpegls(FRAMES[0]) + b"\0" * (len(jpegls(FRAMES[0])) % 2)
END = item(b"", tag=SEQUENCE_END)
BROKEN: dict[str, bytes] = {
    "an element in a sequence where an item belongs": with_sequence(UID_ELEMENT + END),
    "an item that does not end": with_sequence(item(UID_ELEMENT, dicom.UNDEFINED)),
    "an item that ends twice": with_sequence(item(UID_ELEMENT, dicom.UNDEFINED) + item(b"", tag=ITEM_END) * 2 + END),
    "an item that ends as a sequence": with_sequence(item(UID_ELEMENT, dicom.UNDEFINED) + END + END),
    "an item longer than the file": with_sequence(item(UID_ELEMENT, 100_000) + END),
    "a sequence that does not end": with_sequence(item(UID_ELEMENT)),
    "a sequence longer than the file": with_sequence(item(UID_ELEMENT), 100_000),
    "an item outside any sequence": grey(behind=[item(UID_ELEMENT)]).encode(),
    "an end of a sequence that never began": grey(behind=[END]).encode(),
    "an element longer than the file behind the pixels": WHOLE + dicom.header(0xFFFCFFFC, "OB", 100),
    "half an element behind the pixels": WHOLE + b"\xfc\xff\xfc\xff",
    "text behind the last element": WHOLE + b"trailing garbage, no element",
    "no item at all": fragments(END),
    "no offset table, no fragment, no end": fragments(),
    "an offset table and no fragment": fragments(item(b""), END),
    "an offset table longer than the file": fragments(item(b"", 100_000), item(STREAM), END),
    "no offset table, so that the fragment is taken for it": fragments(item(STREAM), END),
    "an empty fragment": fragments(item(b""), item(b""), END),
    "a fragment that is no item": fragments(item(b""), item(STREAM, tag=0x00080018), END),
    "a fragment longer than the file": fragments(item(b""), item(STREAM, 100_000), END),
    "a fragment one byte too long": fragments(item(b""), item(STREAM, len(STREAM) + 1), END),
    "a fragment two bytes too short": fragments(item(b""), item(STREAM, len(STREAM) - 2), END),
    "a fragment of undefined length": fragments(item(b""), item(STREAM, dicom.UNDEFINED), END),
    "garbage between fragments": fragments(item(b""), b"garbage!", item(STREAM), END),
    "no end of the fragments, and another element": fragments(item(b""), item(STREAM))
    + dicom.element(0x7FE10010, "LO", "BEHIND"),
    "half an end of the fragments": fragments(item(b""), item(STREAM), END[:6]),
    "an item end where the fragments end": fragments(item(b""), item(STREAM), item(b"", tag=ITEM_END)),
}  # fmt: skip


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_broken_structure(data: bytes, check: Check) -> None:
    check(3, data, "rle")


def test_an_item_whose_element_is_longer_than_it_where_the_encoding_changes(check: Check) -> None:
    body = item(dicom.header(0x00081155, "UI", 100) + b"1.2.3.4\0")
    assert "(0008,1140)" in check(3, with_sequence(body, len(body)), "implicit")


@pytest.mark.parametrize("missing", [0, 1, 2], ids=["the first", "the second", "the last"])
@code
def test_a_fragment_that_is_missing(
    missing: int, syntax: str, encode: Callable[[np.ndarray], bytes], check: Check
) -> None:
    parts = [encode(frame) for number, frame in enumerate(FRAMES) if number != missing]
    check(3, grey(pixels=parts, frames=3, syntax=syntax, table=table(parts)).encode(), "explicit")


# --- 3: the codestream contradicts the data set ----------------------------------------------------------------

SIZES = {"a row more": (SIDE + 1, SIDE), "a column fewer": (SIDE, SIDE - 1), "twice as much": (SIDE * 2, SIDE * 2)}


@pytest.mark.parametrize(("syntax", "encode"), DESCRIBED)
@pytest.mark.parametrize(("rows", "columns"), SIZES.values(), ids=SIZES.keys())
def test_a_codestream_of_another_size(
    rows: int, columns: int, syntax: str, encode: Callable[[np.ndarray], bytes], check: Check
) -> None:
    data = grey(pixels=[encode(FRAMES[0])], rows=rows, columns=columns, syntax=syntax).encode()
    message = check(3, data, "explicit")
    assert f"{SIDE}x{SIDE}" in message
    assert f"{rows}x{columns}" in message


def test_the_size_of_any_frame_is_compared(check: Check) -> None:
    parts = [jpegls(FRAMES[0]), jpegls(FRAMES[1][1:]), jpegls(FRAMES[2])]
    message = check(3, grey(pixels=parts, frames=3, syntax=dicom.JPEGLS).encode(), "explicit")
    assert message.startswith("frame 2: ")


@pytest.mark.parametrize(("syntax", "encode"), DESCRIBED)
def test_a_codestream_of_three_components_in_a_grey_image(
    syntax: str, encode: Callable[[np.ndarray], bytes], check: Check
) -> None:
    stream = encode(np.ascontiguousarray(FRAMES.transpose(1, 2, 0)))
    assert "Samples per Pixel" in check(3, grey(pixels=[stream], syntax=syntax).encode(), "explicit")


@pytest.mark.parametrize(("syntax", "encode"), DESCRIBED)
def test_a_codestream_of_one_component_in_a_colour_image(
    syntax: str, encode: Callable[[np.ndarray], bytes], check: Check
) -> None:
    data = grey(**RGB | {"pixels": [encode(FRAMES[0])]}, syntax=syntax).encode()
    assert "Samples per Pixel" in check(3, data, "explicit")


@pytest.mark.parametrize(("syntax", "encode"), [one for one in DESCRIBED if one.id != "JPEG"])
def test_a_codestream_of_16_bits_in_an_8_bit_image(
    syntax: str, encode: Callable[[np.ndarray], bytes], check: Check
) -> None:
    stream = encode(FRAMES[0].astype(np.uint16) * 257)
    assert "Bits Allocated" in check(3, grey(pixels=[stream], syntax=syntax).encode(), "explicit")


RLE_CONTRADICTS: dict[str, tuple[bytes, dict[str, object]]] = {
    "two segments for 8 bits": (rle(FRAMES[0].astype(np.uint16)), {}),
    "two segments for three samples": (rle(FRAMES[0].astype(np.uint16)), RGB),
    "sixteen segments": (struct.pack("<I", 16) + rle(FRAMES[0])[4:], {}),
    "no segment": (struct.pack("<I", 0) + rle(FRAMES[0])[4:], {}),
    "a segment that begins inside the header": (struct.pack("<2I", 1, 60) + rle(FRAMES[0])[8:], {}),
    "a segment that begins beyond the end": (struct.pack("<3I", 2, 64, 9999) + rle(FRAMES[0])[12:], {}),
    "segments in disorder": (struct.pack("<4I", 3, 64, 400, 200) + rle(FRAMES[0])[16:], RGB),
    "a header only": (rle(FRAMES[0])[:64], {}),
    "half a header": (rle(FRAMES[0])[:32], {}),
    "one segment for 16 bits": (rle(FRAMES[0]), {"allocated": 16, "stored": 16}),
    "one segment for three samples": (rle(FRAMES[0]), RGB),
    "a row more than the data set has": (rle(FRAMES[0]), {"rows": SIDE - 1}),
    "a row fewer than the data set has": (rle(FRAMES[0]), {"rows": SIDE + 1}),
}


@pytest.mark.parametrize(("stream", "attributes"), RLE_CONTRADICTS.values(), ids=RLE_CONTRADICTS.keys())
def test_an_rle_codestream_that_contradicts_the_data_set(
    stream: bytes, attributes: dict[str, object], src: Path, dst: Path, tmp_path: Path, command: Command
) -> None:
    src.write_bytes(grey(**attributes | {"pixels": [stream]}, syntax=dicom.RLE).encode())
    before = contents(tmp_path)
    ran = command(src, dst, "--to", "explicit")
    assert ran.status in (3, 6), ran
    assert ran.line
    assert contents(tmp_path) == before


# Lossy and lossless JPEG are one kind: the syntax says which, and decoders read both.
WRONG_KINDS = [
    pytest.param(syntax, encode, id=f"{other} under the syntax of {name}")
    for name, (syntax, _) in CODES.items()
    for other, (_, encode) in CODES.items()
    if name.removeprefix("lossless ") != other.removeprefix("lossless ")
]


@pytest.mark.parametrize(("syntax", "encode"), WRONG_KINDS)
def test_the_wrong_kind_of_codestream(syntax: str, encode: Callable[[np.ndarray], bytes], check: Check) -> None:
    check(3, grey(pixels=[encode(FRAMES[0])], syntax=syntax).encode(), "explicit")


NO_STREAMS = {"text": b"hello, this is no codestream", "zeros": bytes(600), "random bytes": NOISE[:600]}


@pytest.mark.parametrize("stream", NO_STREAMS.values(), ids=NO_STREAMS.keys())
@code
def test_a_fragment_that_is_no_codestream(
    stream: bytes, syntax: str, encode: Callable[[np.ndarray], bytes], check: Check
) -> None:
    check(3, grey(pixels=[stream], syntax=syntax).encode(), "explicit")


# --- 3 or 6: the codestream is damaged -------------------------------------------------------------------------

LENIENT = "libjpeg fills what is missing with grey and only warns; imagecodecs keeps the warning back: status 0"
CUT_CODES = [pytest.param(*case, id=name) for name, case in CODES.items()]


@pytest.mark.parametrize(("syntax", "encode"), CUT_CODES)
def test_a_codestream_that_is_cut_short_in_a_fragment_that_is_whole(
    syntax: str, encode: Callable[[np.ndarray], bytes], src: Path, dst: Path, tmp_path: Path, command: Command
) -> None:
    stream = encode(FRAMES[1])
    accepted = []
    # Not every length: CharLS takes seconds over some.
    for part in (90, 60, 45, 25, 10, 1):
        cut = stream[: len(stream) * part // 100]
        src.write_bytes(grey(pixels=[encode(FRAMES[0]), cut], frames=2, syntax=syntax).encode())
        before = contents(tmp_path)
        ran = command(src, dst, "--to", "explicit", "-j", "1")
        if ran.status == 0:
            old_file(dst)
            accepted.append(part)
            continue
        assert ran.status in (3, 6), ran
        assert "frame 2: " in ran.line
        assert contents(tmp_path) == before
    assert accepted == []


@pytest.mark.parametrize("name", ["JPEG-LS", "lossless JPEG", "JPEG"])
def test_a_codestream_that_is_cut_short_by_the_other_decoder(name: str, src: Path, dst: Path, command: Command) -> None:
    syntax, encode = CODES[name]
    stream = encode(FRAMES[1])
    src.write_bytes(grey(pixels=[stream[: len(stream) // 2]], syntax=syntax).encode())
    ran = command(src, dst, "--to", "explicit", "--decoder", "pylibjpeg-libjpeg")
    assert ran.status in (3, 6), ran


def test_a_real_file_of_jpeg_2000_that_lacks_its_end_only(src: Path, dst: Path, command: Command) -> None:
    data = need_real("pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm").read_bytes()
    src.write_bytes(data)
    ran = command(src, dst, "--to", "explicit")
    assert (ran.status, "the Sequence Delimitation Item of Pixel Data is missing" in ran.err) == (0, True), ran
    assert not oracle.different(oracle.decoded(data + END), oracle.native(dst.read_bytes()))
    # With a frame less, or half a frame, it is cut short.
    for cut in (data[:-3760], data[:-2000]):
        src.write_bytes(cut)
        dst.write_bytes(b"what was here before")
        assert command(src, dst, "--to", "explicit").status == 3
        assert dst.read_bytes() == b"what was here before"


# --- 4: not supported ------------------------------------------------------------------------------------------


def compressed(syntax: str, stream: bytes = STREAM) -> bytes:
    return grey(pixels=[stream], syntax=syntax).encode()


def jpip(syntax: str) -> bytes:
    url = dicom.element(0x00287FE0, "UT", "https://example.org/image")
    body = b"".join([*grey().elements().values(), url])
    if syntax == JPIP_DEFLATE:
        deflater = zlib.compressobj(wbits=-15)
        body = deflater.compress(body) + deflater.flush()
    return dicom.file([body], syntax)


def wide(stored: int) -> bytes:
    words = np.arange(SIDE * SIDE, dtype="<u4") * 40503 % (1 << min(stored, 31))
    return grey(pixels=words.tobytes(), allocated=32, stored=stored).encode()


UNSUPPORTED: dict[str, tuple[bytes, str, str]] = {
    "a private transfer syntax": (compressed("1.2.840.113619.5.2"), "explicit", "1.2.840.113619.5.2"),
    "a transfer syntax that does not exist": (compressed("1.2.840.10008.1.2.4.999"), "explicit", "1.2.4.999"),
    "MPEG-4": (compressed(VIDEO), "explicit", VIDEO),
    "MPEG2": (compressed("1.2.840.10008.1.2.4.100"), "rle", "1.2.4.100"),
    "HEVC": (compressed("1.2.840.10008.1.2.4.107"), "rle", "1.2.4.107"),
    "JPEG 2000 Part 2": (compressed(J2K_PART_2, j2k(FRAMES[0])), "explicit", J2K_PART_2),
    "JPIP": (jpip(JPIP), "explicit", "URL"),
    "JPIP, deflated": (jpip(JPIP_DEFLATE), "explicit", "URL"),
    "a URL instead of pixels": (jpip(dicom.EXPLICIT), "implicit", "URL"),
    "retired JPEG, Process 3 and 5": (compressed("1.2.840.10008.1.2.4.52", jpeg(FRAMES[0])), "explicit", "1.2.4.52"),
    "retired JPEG, Process 28": (compressed("1.2.840.10008.1.2.4.65", jpeg(FRAMES[0])), "explicit", "1.2.4.65"),
    "SMPTE ST 2110": (compressed("1.2.840.10008.1.2.7.1"), "explicit", "1.2.7.1"),
    "32 bits to JPEG 2000": (wide(32), "j2k", "Bits Stored 32"),
    "24 bits to JPEG 2000": (wide(24), "j2k", "Bits Stored 24"),
    "17 bits to HTJ2K": (wide(17), "htj2k", "Bits Stored 17"),
    "a native file to MPEG-4": (WHOLE, VIDEO, VIDEO),
    "a native file to JPIP": (WHOLE, JPIP, JPIP),
    "a native file to JPEG 2000 Part 2": (WHOLE, J2K_PART_2, J2K_PART_2),
    "a native file to retired JPEG": (WHOLE, "1.2.840.10008.1.2.4.58", "1.2.4.58"),
}


@pytest.mark.parametrize(("data", "target", "says"), UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_what_is_not_supported(data: bytes, target: str, says: str, check: Check) -> None:
    assert says in check(4, data, target)


def test_a_transfer_syntax_with_a_line_end_is_shown_on_one_line(check: Check) -> None:
    check(4, dicom.file([], "1.2.3\n\x1b[31m4"), "explicit")


BACKENDS: dict[str, tuple[list[str], str]] = {
    "an encoder that writes another syntax": (["rle", "--encoder", "pyjpegls"], "pyjpegls"),
    "an encoder that cannot do so few pixels": (["j2k", "--encoder", "pylibjpeg-openjpeg"], "has a side below 32"),
    "a decoder that reads another syntax": (["rle", "--decoder", "pyjpegls"], "pyjpegls"),
}


@pytest.mark.parametrize(("options", "says"), BACKENDS.values(), ids=BACKENDS.keys())
def test_a_backend_that_cannot(options: list[str], says: str, src: Path, dst: Path, fails: Fails) -> None:
    words = FRAMES[0].astype("<u2") * 16
    src.write_bytes(grey(pixels=words.tobytes(), allocated=16, stored=12).encode())
    assert says in fails(4, src, dst, "--to", *options)


LIBRARIES: dict[str, tuple[str, list[str], str]] = {
    "imagecodecs for RLE": ("imagecodecs", ["rle"], "imagecodecs"),
    "imagecodecs for JPEG 2000": ("imagecodecs", ["j2k"], "imagecodecs"),
    "pylibjpeg-rle": ("rle", ["rle", "--encoder", "pylibjpeg-rle"], "pylibjpeg-rle"),
    "pylibjpeg-openjpeg": ("openjpeg", ["j2k", "--encoder", "pylibjpeg-openjpeg"], "pylibjpeg-openjpeg"),
    "pyjpegls": ("_CharLS", ["jpegls", "--encoder", "pyjpegls"], "pyjpegls"),
}


@pytest.mark.parametrize(("module", "options", "package"), LIBRARIES.values(), ids=LIBRARIES.keys())
def test_a_library_that_is_not_installed_is_named_with_what_to_install(
    module: str,
    options: list[str],
    package: str,
    src: Path,
    dst: Path,
    fails: Fails,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    src.write_bytes(grey(pixels=np.tile(FRAMES[0], (2, 2)).tobytes(), rows=2 * SIDE, columns=2 * SIDE).encode())
    monkeypatch.setitem(__import__("sys").modules, module, None)
    assert f"pip install {package}" in fails(4, src, dst, "--to", *options)


@pytest.mark.parametrize("syntax", [VIDEO, J2K_PART_2, "1.2.840.10008.1.2.4.52", "1.2.840.10008.1.2.4.110"])
def test_what_cannot_be_decoded_can_still_be_copied(syntax: str, src: Path, dst: Path, command: Command) -> None:
    src.write_bytes(compressed(syntax))
    assert command(src, dst, "--to", syntax) == Ran(0, "", "")
    assert dst.read_bytes() == src.read_bytes()


# --- 5: refused, with the rule and the nearest way out ---------------------------------------------------------


def palette() -> dicom.Image:
    """An image of indices, with the tables that it needs."""
    tables = {}
    for channel in range(3):
        tables |= {0x00281101 + channel: dicom.element(0x00281101 + channel, "US", [256, 0, 16])}
        values = (np.arange(256, dtype="<u2") * 257).tobytes()
        tables |= {0x00281201 + channel: dicom.element(0x00281201 + channel, "OW", values)}
    return grey(photometric="PALETTE COLOR", before=tables)


BITS = np.random.default_rng(5).integers(0, 2, SIDE * SIDE, dtype=np.uint8)
WORDS = (np.arange(SIDE * SIDE * 3, dtype="<u2") * 2503).tobytes()
ONE_BIT = grey(pixels=np.packbits(BITS, bitorder="little").tobytes(), allocated=1, stored=1).encode()
YBR_16 = grey(pixels=WORDS, samples=3, photometric="YBR_FULL", allocated=16, stored=16).encode()
DOUBLE = grey(pixels=bytes(range(72)) * 64, allocated=64, stored=64).encode()
# Source, target, the section of the standard that says no, and the target that is suggested.
REFUSED: dict[str, tuple[bytes, str, str, str]] = {
    "palette to near-lossless JPEG-LS": (palette().encode(), "jpegls-near", "8.2.3", "jpegls"),
    "palette to JPEG 2000 that may lose": (palette().encode(), "JPEG2000", "8.2.4", "j2k"),
    "palette to HTJ2K that may lose": (palette().encode(), "1.2.840.10008.1.2.4.203", "8.2.14", "htj2k"),
    "32 bits to RLE": (wide(32), "rle", "8.2.2", "deflated-frames"),
    "20 of 32 bits to RLE": (wide(20), "rle", "8.2.2", "j2k"),
    "32 bits to JPEG-LS": (wide(32), "jpegls", "8.2.3", "deflated-frames"),
    "32 bits to lossless JPEG": (wide(32), "jpeg", "8.2.1", "deflated-frames"),
    "64 bits to JPEG 2000": (DOUBLE, "j2k", "8.2.4", "deflated-frames"),
    "YBR_FULL of 16 bits to RLE": (YBR_16, "rle", "8.2.2", "j2k"),
    "YBR_FULL of 16 bits to JPEG-LS": (YBR_16, "jpegls", "8.2.3", "j2k"),
    "one stored bit to JPEG-LS": (grey(pixels=BITS.tobytes(), stored=1).encode(), "jpegls", "8.2.3", "j2k"),
    "one allocated bit to RLE": (ONE_BIT, "rle", "8.2.2", "deflated-frames"),
    "one allocated bit to JPEG-LS": (ONE_BIT, "jpegls", "8.2.3", "deflated-frames"),
    "one allocated bit to lossless JPEG": (ONE_BIT, "jpeg", "8.2.1", "deflated-frames"),
    "one allocated bit to HTJ2K": (ONE_BIT, "htj2k", "8.2.14", "deflated-frames"),
}


def values(path: Path) -> list[np.ndarray]:
    """The pixels of a file, colour as RGB or as it is, by decoders other than the encoder's."""
    data = path.read_bytes()
    syntax = dicom.walk(data).syntax
    return oracle.native(data) if syntax in oracle.NATIVE else oracle.decoded(data, "imagecodecs")


@pytest.mark.parametrize(("data", "target", "section", "nearest"), REFUSED.values(), ids=REFUSED.keys())
def test_what_the_standard_refuses_names_the_rule_and_a_target_that_works(
    data: bytes, target: str, section: str, nearest: str, check: Check, src: Path, dst: Path, command: Command
) -> None:
    message = check(5, data, target)
    assert re.search(rf"\(PS3\.5 {section}[,)]", message)
    assert message.endswith(f"; use --to {nearest}")
    assert command(src, dst, "--to", nearest).status == 0
    assert np.array_equal(values(dst), values(src))


def floats(tag: int) -> bytes:
    vr, dtype = ("OF", "<f4") if tag == 0x7FE00008 else ("OD", "<f8")
    elements = grey(allocated=np.dtype(dtype).itemsize * 8, stored=8).elements()
    for absent in (0x00280101, 0x00280102, 0x00280103):
        del elements[absent]
    return dicom.file([*elements.values(), dicom.element(tag, vr, FRAMES[0].astype(dtype).tobytes())])


@pytest.mark.parametrize("tag", [0x7FE00008, 0x7FE00009], ids=["Float Pixel Data", "Double Float Pixel Data"])
@pytest.mark.parametrize("target", ["rle", "jpeg", "jpegls", "j2k", "htj2k"])
def test_floating_point_pixels(tag: int, target: str, check: Check, src: Path, dst: Path, command: Command) -> None:
    message = check(5, floats(tag), target)
    assert "PS3.5 8.2" in message
    assert message.endswith("use --to deflated")
    assert command(src, dst, "--to", "deflated") == Ran(0, "", "")
    assert dicom.walk(dst.read_bytes()).elements[tag].raw == dicom.walk(src.read_bytes()).elements[tag].raw


@pytest.mark.parametrize("name", ["DICOMDIR", "DICOMDIR-implicit", "DICOMDIR-bigEnd"])
@pytest.mark.parametrize("target", ["deflated", "rle", "jpegls"])
def test_a_dicomdir(name: str, target: str, check: Check) -> None:
    assert "PS3.10 8.6" in check(5, real(name), target)


@pytest.mark.parametrize("name", ["DICOMDIR", "DICOMDIR-implicit", "DICOMDIR-bigEnd"])
def test_a_dicomdir_is_never_encoded_anew_because_its_records_hold_offsets(
    name: str, src: Path, dst: Path, fails: Fails
) -> None:
    src.write_bytes(real(name))
    assert "make a new one" in fails(5, src, dst, "--to", "explicit", "--force")


def test_a_dicomdir_in_the_target_syntax_is_copied(src: Path, dst: Path, command: Command) -> None:
    src.write_bytes(real("DICOMDIR"))
    assert command(src, dst, "--to", "explicit").status == 0
    assert dst.read_bytes() == src.read_bytes()


def test_an_object_without_pixels_where_that_is_to_fail(src: Path, dst: Path, fails: Fails, command: Command) -> None:
    src.write_bytes(real("rtplan.dcm"))
    line = fails(5, src, dst, "--to", "rle", "--no-pixels", "fail")
    assert "PS3.5 A.4" in line
    assert line.endswith("use --to explicit")
    assert command(src, dst, "--to", "explicit", "--no-pixels", "fail") == Ran(0, "", "")


def test_an_object_without_pixels_is_written_in_explicit_vr_with_a_note(src: Path, dst: Path, command: Command) -> None:
    src.write_bytes(real("rtplan.dcm"))
    ran = command(src, dst, "--to", "rle")
    assert ran.status == 0
    assert re.search(r": note: .*no pixels.*Explicit VR Little Endian", ran.line)
    assert dicom.walk(dst.read_bytes()).syntax == dicom.EXPLICIT


LOSING: dict[str, list[str]] = {
    "JPEG Baseline": ["jpeg-baseline"],
    "JPEG Extended by its UID": [dicom.JPEG_EXTENDED],
    "a quality": ["jpeg", "--quality", "90"],
    "a ratio": ["j2k", "--ratio", "10"],
    "a peak signal-to-noise ratio": ["htj2k", "--psnr", "60"],
    "a bound of errors": ["jpegls", "--near", "2"],
}


@pytest.mark.parametrize("target", LOSING.values(), ids=LOSING.keys())
def test_loss_without_consent(target: list[str], src: Path, dst: Path, fails: Fails, command: Command) -> None:
    src.write_bytes(WHOLE)
    line = fails(5, src, dst, "--to", *target)
    assert "lose" in line
    assert "--lossy" in line
    assert command(src, dst, "--to", *target, "--lossy").status == 0


QUANTITIES = {"a Segmentation": "66.4", "a Parametric Map": "30", "an RT Dose": "481.2"}


@pytest.mark.parametrize("last", QUANTITIES.values(), ids=QUANTITIES.keys())
def test_loss_where_values_are_quantities(last: str, src: Path, dst: Path, fails: Fails, command: Command) -> None:
    uid = f"1.2.840.10008.5.1.4.1.1.{last}"
    image = grey(sop_class=uid, before={0x00080016: dicom.element(0x00080016, "UI", uid)})
    src.write_bytes(image.encode())
    line = fails(5, src, dst, "--to", "j2k", "--lossy")
    # With --lossy, a family would mean its lossy member again.
    suggestion = re.search(r"use --to (\S+) without --lossy$", line)
    assert suggestion is not None
    assert command(src, dst, "--to", suggestion[1]).status == 0
    assert np.array_equal(values(dst), FRAMES[:1])


def test_digital_signatures(src: Path, dst: Path, fails: Fails, command: Command) -> None:
    signature = dicom.sequence(0xFFFAFFFA, [dicom.element(0x04000100, "UI", "1.2.3")])
    src.write_bytes(grey(behind=[signature]).encode())
    line = fails(5, src, dst, "--to", "rle")
    assert line.endswith("use --signatures remove")
    assert command(src, dst, "--to", "rle", "--signatures", "remove").status == 0
    assert 0xFFFAFFFA not in dicom.walk(dst.read_bytes()).elements


def test_jpeg_xl_recompression_of_what_is_no_jpeg(check: Check, src: Path, dst: Path, command: Command) -> None:
    message = check(5, WHOLE, "jpegxl-jpeg")
    assert message.endswith("; use --to jpegxl")
    assert command(src, dst, "--to", "jpegxl").status == 0


# --- 5: bits that no codec stores ------------------------------------------------------------------------------

PADDED = np.array([0, 1, 4095, 63536] * (SIDE * SIDE // 4), "<u2").reshape(SIDE, SIDE)
OUTSIDE: dict[str, np.ndarray] = {
    "padding above Bits Stored": PADDED,
    "a sign that the data set denies": (np.arange(SIDE * SIDE) - 5).astype("<i2").view("<u2").reshape(SIDE, SIDE),
}


@pytest.mark.parametrize("words", OUTSIDE.values(), ids=OUTSIDE.keys())
@pytest.mark.parametrize("target", ["jpegls", "j2k", "jpeg", "htj2k"])
def test_unused_bits_are_refused_and_each_way_out_works(
    target: str, words: np.ndarray, check: Check, src: Path, dst: Path, command: Command
) -> None:
    image = grey(pixels=words.tobytes(), allocated=16, stored=12)
    message = check(5, image.encode(), target)
    assert message.startswith("frame 1: ")
    assert "Bits Stored (12)" in message
    assert "use --to rle or explicit" in message
    assert "--unused-bits keep or clear" in message
    src.write_bytes(grey(pixels=words.tobytes(), allocated=16, stored=12).encode())
    for options, expected in {
        ("rle",): words, ("implicit",): words, (target, "--unused-bits", "keep"): words,
        (target, "--unused-bits", "clear"): words & 4095,
    }.items():  # fmt: skip
        assert command(src, dst, "--to", *options).status == 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert np.array_equal(values(dst), [expected]), options


def test_unused_bits_of_any_frame_are_found(check: Check) -> None:
    words = np.stack([PADDED & 4095, PADDED & 4095, PADDED])
    data = grey(pixels=words.tobytes(), frames=3, allocated=16, stored=12).encode()
    assert check(5, data, "jpegls").startswith("frame 3: ")


HIGH_BIT = grey(pixels=(PADDED | 1).tobytes(), allocated=16, stored=12, high_bit=15).encode()


@pytest.mark.parametrize("target", ["jpegls", "j2k", "jpeg", "htj2k", "rle"])
def test_bits_below_the_lowest_stored_one_are_refused(target: str, check: Check) -> None:
    assert "below the lowest stored bit" in check(5, HIGH_BIT, target)


@pytest.mark.parametrize("target", ["jpegls", "rle"])
def test_bits_below_the_lowest_stored_one_have_a_way_out_that_works(
    target: str, check: Check, src: Path, dst: Path, command: Command
) -> None:
    message = check(5, HIGH_BIT, target)
    suggestion = re.search(r"use --to (\S+)", message)
    assert suggestion is not None
    assert command(src, dst, "--to", suggestion[1]).status == 0
