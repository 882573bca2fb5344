"""What a DICOM file holds, by decoders that are independent of the encoder that wrote it.

Three kinds: native cells, taken apart by tests/dicom.py and NumPy; libraries in this process, never the encoder's own;
and the command-line tools of DCMTK, GDCM, OpenJPEG and FFmpeg. All return one array of words per frame, colour by
pixel, with the sign that Pixel Representation says. What a tool is known not to do stands in LIMITS, with the reason.
"""

from __future__ import annotations

import re
import struct
import subprocess
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dicom
import numpy as np
from conftest import need_tool
from numpy.typing import NDArray

Words = NDArray[Any]

JPEG_LOSSY = frozenset([dicom.JPEG_BASELINE, dicom.JPEG_EXTENDED, "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"])
JPEG_LOSSLESS = frozenset([dicom.JPEG_P14, dicom.JPEG_SV1])
JPEG = JPEG_LOSSY | JPEG_LOSSLESS
JPEGLS = frozenset([dicom.JPEGLS, dicom.JPEGLS_NEAR])
J2K = frozenset([dicom.J2K_LOSSLESS, dicom.J2K])
HTJ2K = frozenset([dicom.HTJ2K_LOSSLESS, dicom.HTJ2K_RPCL, dicom.HTJ2K])
RLE = frozenset([dicom.RLE])
JPEG_XL_JPEG = "1.2.840.10008.1.2.4.111"
JPEG_XL_LOSSLESS = "1.2.840.10008.1.2.4.110"
JPEG_XL = frozenset([JPEG_XL_LOSSLESS, "1.2.840.10008.1.2.4.112"])
ENCAPSULATED = "1.2.840.10008.1.2.1.98"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
NATIVE = frozenset([dicom.IMPLICIT, dicom.EXPLICIT, dicom.DEFLATED, dicom.BIG_ENDIAN])
# Their encoders know no sign: a decoder's samples get it from Bits Stored (PS3.5 8.2.1 Note 4).
UNSIGNED_CODES = JPEG | JPEGLS


@dataclass(frozen=True)
class Attributes:
    """What the Image Pixel Module says."""

    rows: int
    columns: int
    samples: int
    photometric: str
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    planar: int | None
    frames: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, columns and, in colour, samples."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)


def attributes(walked: dicom.Walked) -> Attributes:
    """Return what a file says of its pixels."""

    def number(tag: int) -> int:
        return walked.elements[tag].number

    planar, frames = walked.elements.get(0x00280006), walked.elements.get(0x00280008)
    return Attributes(
        rows=number(0x00280010),
        columns=number(0x00280011),
        samples=number(0x00280002),
        photometric=walked.elements[0x00280004].text,
        allocated=number(0x00280100),
        stored=number(0x00280101),
        high_bit=number(0x00280102),
        signed=number(0x00280103) == 1,
        planar=None if planar is None else planar.number,
        frames=1 if frames is None else int(frames.text),
    )


def different(expected: list[Words], found: list[Words]) -> str:
    """Return what differs, or an empty string."""
    if len(expected) != len(found):
        return f"{len(found)} frames instead of {len(expected)}"
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        if one.shape != other.shape:
            return f"frame {number} is {other.shape} instead of {one.shape}"
        if not np.array_equal(one, other):
            return f"frame {number}: {np.count_nonzero(one != other)} of {one.size} samples differ"
    return ""


# --- native cells ----------------------------------------------------------------------------------------------


def native(data: bytes) -> list[Words]:
    """Return the frames of a file with native pixels; the length of Pixel Data must be exactly that of the frames."""
    walked = dicom.walk(data)
    said = attributes(walked)
    value = walked.elements[dicom.PIXEL_DATA].value
    if said.allocated == 1:
        return _one_bit(value, said)
    size = _frame_bytes(said)
    need = size * said.frames
    assert len(value) == need + need % 2, f"Pixel Data has {len(value)} bytes, {said.frames} frames need {need}"
    return [_cells(value[start : start + size], said) for start in range(0, need, size)]


def _frame_bytes(said: Attributes) -> int:
    samples = 2 if said.photometric == "YBR_FULL_422" else said.samples
    return -(-said.rows * said.columns * samples * said.allocated // 8)


def _one_bit(value: bytes, said: Attributes) -> list[Words]:
    """Frames of 1-bit pixels run on: one may start within a byte (PS3.5 8.1.1)."""
    count = said.frames * said.rows * said.columns
    need = -(-count // 8)
    assert len(value) == need + need % 2
    bits = np.unpackbits(np.frombuffer(value, "u1"), bitorder="little")
    assert not bits[count:].any(), "something stands behind the last pixel"
    return list(bits[:count].reshape(said.frames, said.rows, said.columns))


def _cells(value: bytes, said: Attributes) -> Words:
    width = said.allocated // 8
    room = next(room for room in (1, 2, 4, 8) if room >= width)
    wide = np.zeros((len(value) // width, room), "u1")
    wide[:, :width] = np.frombuffer(value, "u1").reshape(-1, width)
    if said.signed and room > width:
        wide[:, width:] = np.where(wide[:, width - 1 : width] > 127, 255, 0)
    words = wide.view(f"<{'i' if said.signed else 'u'}{room}").reshape(-1)
    if said.photometric == "YBR_FULL_422":
        pairs = words.reshape(said.rows, said.columns // 2, 4)
        full = np.stack([pairs[..., :2], pairs[..., 2:3].repeat(2, -1), pairs[..., 3:4].repeat(2, -1)], axis=-1)
        return full.reshape(said.rows, said.columns, 3)
    if said.samples > 1 and said.planar == 1:
        return words.reshape(said.samples, said.rows, said.columns).transpose(1, 2, 0)
    return words.reshape(said.shape)


# --- libraries in this process ---------------------------------------------------------------------------------


def codestreams(data: bytes, walked: dicom.Walked | None = None) -> list[bytes]:
    """Return the codestream of each frame of a file that has one fragment per frame."""
    walked = walked or dicom.walk(data)
    frames = attributes(walked).frames
    assert len(walked.fragments) == frames, f"{len(walked.fragments)} fragments for {frames} frames"
    return walked.fragments


def decoded(data: bytes, encoder: str = "") -> list[Words]:
    """Return the frames of any file, decoded in this process by another library than the one named `encoder`."""
    walked = dicom.walk(data)
    if walked.syntax in NATIVE:
        return native(data)
    said = attributes(walked)
    decode = other_library(walked.syntax, encoder)
    return [with_sign(decode(stream, said), walked.syntax, said) for stream in codestreams(data, walked)]


def other_library(syntax: str, encoder: str = "") -> Callable[[bytes, Attributes], Words]:
    """Return a function that decodes one frame of this syntax, not by the library named `encoder`."""
    if syntax in JPEG | JPEGLS:
        return by_libjpeg
    if syntax in RLE:
        return by_annex_g
    if syntax == ENCAPSULATED:
        return by_fragment
    if syntax == DEFLATED_FRAMES:
        return by_inflating
    if syntax in JPEG_XL:
        return by_libjxl
    if syntax in HTJ2K or encoder != "pylibjpeg-openjpeg":
        return by_openjpeg
    return by_imagecodecs


def with_sign(samples: Words, syntax: str, said: Attributes) -> Words:
    """Return the words: samples of codes without a sign get it from the highest stored bit."""
    return extended(samples, said.stored) if said.signed and syntax in UNSIGNED_CODES else samples


def extended(samples: Words, stored: int) -> Words:
    """Return the low bits of samples with the sign that the highest of them is."""
    low = samples.astype("i4") & ((1 << stored) - 1)
    return low - ((low >> (stored - 1)) << stored)


def by_libjpeg(stream: bytes, said: Attributes) -> Words:
    """Decode JPEG and JPEG-LS by libjpeg of Thomas Richter, components as they are coded."""
    from libjpeg.utils import decode

    return decode(stream, 0).reshape(said.shape)


def by_openjpeg(stream: bytes, said: Attributes) -> Words:
    """Decode JPEG 2000 and HTJ2K by OpenJPEG."""
    from openjpeg.utils import decode

    return decode(stream, j2k_format=0).reshape(said.shape)


def by_imagecodecs(stream: bytes, said: Attributes) -> Words:
    """Decode JPEG 2000 by the OpenJPEG of imagecodecs: another build of the same code, for want of another library."""
    import imagecodecs

    return imagecodecs.jpeg2k_decode(stream, planar=False).reshape(said.shape)


def by_libjxl(stream: bytes, said: Attributes) -> Words:
    """Decode JPEG XL by libjxl, the encoder's own library: there is no other in Python; djxl is another release."""
    import imagecodecs

    return imagecodecs.jpegxl_decode(stream, keeporientation=True).reshape(said.shape)


def by_fragment(stream: bytes, said: Attributes) -> Words:
    """Return the cells of a fragment that is nothing else (PS3.5 A.4.11); those of 1 bit start on a byte."""
    size = _frame_bytes(said)
    assert len(stream) == size + size % 2
    if said.allocated > 1:
        return _cells(stream[:size], said)
    bits = np.unpackbits(np.frombuffer(stream, "u1"), bitorder="little")
    assert not bits[said.rows * said.columns :].any(), "something stands behind the last pixel"
    return bits[: said.rows * said.columns].reshape(said.shape)


def by_inflating(stream: bytes, said: Attributes) -> Words:
    """Return the cells of a raw RFC 1951 stream, padded to even length (PS3.5 A.4.13)."""
    inflater = zlib.decompressobj(-15)
    cells = inflater.decompress(stream)
    assert inflater.eof
    assert inflater.unused_data in (b"", b"\0")
    return by_fragment(cells + b"\0" * (len(cells) % 2), said)


def by_annex_g(stream: bytes, said: Attributes) -> Words:
    """Decode RLE by the letter of PS3.5 Annex G, and insist on what a decoder need not: each row packed by itself."""
    count, *offsets = struct.unpack_from("<16I", stream)
    # Pixels of one bit take a byte each (PS3.5 G.2).
    width = max(1, said.allocated // 8)
    assert count == said.samples * width, f"{count} segments"
    assert offsets[0] == 64
    assert not any(offsets[count:]), "unused offsets are zero"
    bounds = [*offsets[:count], len(stream)]
    assert bounds == sorted(bounds)
    assert not any(bound % 2 for bound in bounds), "segments are of even length"
    out = np.empty((said.rows, said.columns, said.samples, width), "u1")
    for number in range(count):
        plane = _unpack(stream[bounds[number] : bounds[number + 1]], said.rows, said.columns)
        # The most significant byte comes first.
        out[:, :, number // width, width - 1 - number % width] = plane
    return out.view(_word(said)).reshape(said.shape)


def _unpack(segment: bytes, rows: int, columns: int) -> Words:
    plane = bytearray()
    position = 0
    for row in range(rows):
        end = (row + 1) * columns
        while len(plane) < end:
            code = segment[position]
            if code < 128:
                plane += segment[position + 1 : position + 2 + code]
                position += 2 + code
            else:
                assert code != 128, "a code that encoders must not write"
                plane += segment[position + 1 : position + 2] * (257 - code)
                position += 2
        assert len(plane) == end, f"a run crosses the end of row {row}"
    assert segment[position:] in (b"", b"\0"), "something stands behind the last row"
    return np.frombuffer(plane, "u1").reshape(rows, columns)


def _word(said: Attributes) -> str:
    return f"<{'i' if said.signed and said.allocated > 1 else 'u'}{max(1, said.allocated // 8)}"


# --- headers of codestreams ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stream:
    """What the header of a codestream says of itself. Those fields that its code does not have are None."""

    kind: str  # jpeg, jpegls, j2k, htj2k
    rows: int
    columns: int
    components: int
    precision: int
    process: int | None = None  # the SOF marker's second byte
    predictor: int | None = None
    near: int | None = None
    interleave: int | None = None
    signed: bool | None = None
    transform: bool | None = None  # multiple component transform
    reversible: bool | None = None
    progression: str | None = None
    levels: int | None = None
    segments: tuple[tuple[int, bytes], ...] = ()  # markers with their parameters, up to the first scan or tile-part
    body: int = 0  # where the first scan's data, or the first tile-part, begins

    def segment(self, marker: int) -> bytes | None:
        """Return the parameters of the first marker segment of this kind, or None."""
        return next((value for kind, value in self.segments if kind == marker), None)


PROGRESSIONS = ("LRCP", "RLCP", "RPCL", "PCRL", "CPRL")


def parse(stream: bytes) -> Stream:
    """Return what a codestream of the JPEG families says of itself (T.81 B.2, T.87 C.2, T.800 A, T.814 A)."""
    if stream[:2] == b"\xff\xd8":
        return _parse_jpeg(stream)
    assert stream[:4] == b"\xff\x4f\xff\x51", stream[:4].hex(" ")
    return _parse_jpeg2000(stream)


def _segments(stream: bytes, last: int) -> tuple[dict[int, bytes], list[tuple[int, bytes]], int]:
    """Return the marker segments behind the first marker up to `last`, and where that one begins."""
    position, found = 2, []
    while True:
        marker, length = struct.unpack_from(">HH", stream, position)
        assert marker > 0xFF00, f"{marker:04X} at {position}"
        found.append((marker, stream[position + 4 : position + 2 + length]))
        if marker == last:
            return dict(reversed(found)), found, position
        position += 2 + length


# SOF0 to SOF15 without DHT, JPG and DAC, which lie between them, and SOF55 of JPEG-LS.
FRAME_HEADERS = {*range(0xFFC0, 0xFFD0), 0xFFF7} - {0xFFC4, 0xFFC8, 0xFFCC}


def _parse_jpeg(stream: bytes) -> Stream:
    by_marker, found, scan = _segments(stream, 0xFFDA)
    (frame,) = [
        marker
        for marker in by_marker
        if marker in (*range(0xFFC0, 0xFFD0), 0xFFF7) and marker & 0xFF not in (0xC4, 0xC8, 0xCC)
    ]
    precision, rows, columns, components = struct.unpack_from(">BHHB", by_marker[frame])
    header = by_marker[0xFFDA]
    first, second = header[1 + 2 * header[0] :][:2]
    lossless, jpegls = frame == 0xFFC3, frame == 0xFFF7
    return Stream(
        "jpegls" if jpegls else "jpeg", rows, columns, components, precision,
        process=frame & 0xFF,
        predictor=first if lossless else None,
        near=first if jpegls else None,
        interleave=second if jpegls else None,
        reversible=lossless or (jpegls and first == 0),
        segments=tuple(found),
        body=scan + 4 + len(header),
    )  # fmt: skip


def _parse_jpeg2000(stream: bytes) -> Stream:
    by_marker, found, tile = _segments(stream, 0xFF90)
    size, coding = by_marker[0xFF51], by_marker[0xFF52]
    x, y, x0, y0 = struct.unpack_from(">4I", size, 2)
    (components,) = struct.unpack_from(">H", size, 34)
    depths = {size[36 + 3 * number] for number in range(components)}
    assert len(depths) == 1, "components differ"
    (depth,) = depths
    return Stream(
        "htj2k" if 0xFF50 in by_marker else "j2k", y - y0, x - x0, components, (depth & 0x7F) + 1,
        signed=depth > 0x7F,
        transform=coding[4] == 1,
        reversible=coding[9] == 1,
        progression=PROGRESSIONS[coding[1]],
        levels=coding[5],
        segments=tuple(found),
        body=tile,
    )  # fmt: skip


# --- command-line tools ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limit:
    """Something that a tool is known not to do, so that it is not asked. `applies` judges attributes; None: always."""

    tool: str
    syntaxes: frozenset[str]
    reason: str
    applies: Callable[[Attributes], bool] | None = None


# Syntaxes of 2022 and later.
NEW = JPEG_XL | {JPEG_XL_JPEG, ENCAPSULATED, DEFLATED_FRAMES}
LIMITS: tuple[Limit, ...] = (
    Limit("dcmtk", J2K | HTJ2K, "DCMTK decodes no JPEG 2000"),
    Limit("dcmtk", NEW, "younger than DCMTK's codecs"),
    Limit("gdcm", NEW, "younger than GDCM's codecs"),
    Limit("gdcminfo", NEW, "younger than GDCM's codecs"),
    Limit("dcmtk", JPEGLS, "refuses or garbles precisions below 8", lambda said: said.stored < 8),
    Limit(
        "dcmtk", JPEGLS, "takes a precision of 8 in Bits Allocated 16 for a contradiction",
        lambda said: said.stored <= 8 < said.allocated,
    ),
    Limit("gdcm", HTJ2K, "GDCM knows no HTJ2K"),
    Limit("gdcminfo", HTJ2K, "GDCM knows no HTJ2K"),
    Limit("gdcm", JPEG_LOSSLESS | RLE | {dicom.DEFLATED}, "aborts on fewer than 8 bits", lambda said: said.stored < 8),
    Limit("gdcminfo", RLE, "aborts on fewer than 8 bits", lambda said: said.stored < 8),
    Limit("gdcm", frozenset([dicom.DEFLATED]), "aborts on 32 bits", lambda said: said.allocated > 16),
    Limit(
        "gdcm", JPEGLS, "aborts on a precision of 8 in Bits Allocated 16",
        lambda said: said.stored <= 8 < said.allocated,
    ),
    Limit(
        "gdcm", RLE, "mixes up the byte planes of colour of 16 bits",
        lambda said: said.samples == 3 and said.allocated == 16,
    ),
    Limit("opj", J2K, "writes raw samples of 16 bits at most", lambda said: said.stored > 16),
    Limit("ffmpeg", J2K, "has no picture of more than 16 bits", lambda said: said.stored > 16),
    Limit("dciodvfy", frozenset([dicom.DEFLATED]), "does not inflate"),
    Limit("dciodvfy", NEW, "takes their Pixel Data for missing"),
)  # fmt: skip


def limit(tool: str, syntax: str, said: Attributes) -> Limit | None:
    """Return why this tool is not asked about such a file, or None."""
    for one in LIMITS:
        if one.tool == tool and syntax in one.syntaxes and (one.applies is None or one.applies(said)):
            return one
    return None


DCMTK = dict.fromkeys(JPEG, "dcmdjpeg") | dict.fromkeys(JPEGLS, "dcmdjpls")
DCMTK |= dict.fromkeys(RLE, "dcmdrle") | dict.fromkeys(NATIVE, "dcmconv")


def run(
    *command: str | Path, stdin: bytes | None = None, allowed: Sequence[int] = (0,)
) -> subprocess.CompletedProcess[bytes]:
    """Run a program; it must succeed, or end with another status that is allowed."""
    done = subprocess.run([str(word) for word in command], input=stdin, capture_output=True, check=False, timeout=60)
    last = done.stderr.decode(errors="replace")[-500:]
    assert done.returncode in allowed, f"{command[0]} ended with {done.returncode}: {last}"
    return done


def dcmtk(path: Path, scratch: Path) -> bytes:
    """Return the file decoded by DCMTK, in Explicit VR Little Endian; components as coded where they are lossless."""
    syntax = dicom.walk(path.read_bytes()).syntax
    tool = need_tool(DCMTK[syntax])
    colour = ["--conv-never"] if syntax in JPEG_LOSSLESS else []
    out = scratch / "dcmtk.dcm"
    run(tool, *colour, "--write-xfer-little", path, out)
    return out.read_bytes()


def gdcm(path: Path, scratch: Path) -> bytes:
    """Return the file decoded by GDCM."""
    out = scratch / "gdcm.dcm"
    run(need_tool("gdcmconv"), "--raw", path, out)
    return out.read_bytes()


def opj(stream: bytes, said: Attributes, scratch: Path) -> Words:
    """Return one codestream of JPEG 2000 or HTJ2K decoded by opj_decompress, whose raw samples have lost their sign."""
    source, out = scratch / "stream.j2k", scratch / "stream.rawl"
    source.write_bytes(stream)
    run(need_tool("opj_decompress"), "-i", source, "-o", out)
    width = 1 if parse(stream).precision <= 8 else 2
    planes = np.frombuffer(out.read_bytes(), f"<u{width}").reshape(said.samples, said.rows, said.columns)
    samples = planes.transpose(1, 2, 0).reshape(said.shape)
    return extended(samples, said.stored) if said.signed else samples


def djxl(stream: bytes, said: Attributes, scratch: Path) -> Words:
    """Return one codestream of JPEG XL decoded by djxl, whose pictures of 8 and 16 bits spread any precision out."""
    source, out = scratch / "stream.jxl", scratch / ("stream.pgm" if said.samples == 1 else "stream.ppm")
    source.write_bytes(stream)
    depth = 8 if said.stored <= 8 else 16
    run(need_tool("djxl"), "--bits_per_sample", str(depth), source, out)
    picture, most = out.read_bytes(), (1 << depth) - 1
    assert picture.split(b"\n", 3)[2] == str(most).encode()
    spread = np.frombuffer(picture[-depth // 8 * int(np.prod(said.shape)) :], f">u{depth // 8}").reshape(said.shape)
    return np.rint(spread * (((1 << said.stored) - 1) / most)).astype("u2")


# How many bits of a word FFmpeg fills: samples of fewer come shifted up.
FFMPEG_DEPTH = {"gray": 8, "gray10le": 10, "gray12le": 12, "gray14le": 14, "gray16le": 16, "rgb24": 8, "rgb48le": 16}


def ffmpeg(streams: Sequence[bytes], shape: tuple[int, ...]) -> list[Words]:
    """Return JPEG 2000 codestreams decoded by FFmpeg, which has a decoder of its own; all of one shape and width.

    FFmpeg shows samples as video: offset to be unsigned, and shifted up to fill the word. Both are undone.
    """
    command = ["-v", "info", "-hide_banner", "-f", "j2k_pipe", "-i", "-", "-fps_mode", "passthrough", "-f", "rawvideo"]
    done = run(need_tool("ffmpeg"), *command, "-", stdin=b"".join(streams))
    found = re.search(rb"Video: jpeg2000[^,]*, (\w+)", done.stderr)
    assert found is not None, done.stderr[-500:]
    depth = FFMPEG_DEPTH[found[1].decode()]
    frames = np.frombuffer(done.stdout, "u1" if depth == 8 else "<u2").reshape(-1, *shape)
    assert len(frames) == len(streams), f"{len(frames)} frames for {len(streams)} codestreams"
    words = []
    for frame, header in zip(frames.astype("i4"), map(parse, streams), strict=True):
        samples = frame >> (depth - header.precision)
        words.append(samples - (1 << (header.precision - 1)) if header.signed else samples)
    return words
