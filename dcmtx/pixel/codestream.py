"""The headers of codestreams: size, precision, sign, components, colour, reversible or not. Never decodes.

A decoder is called only after these have been compared with the data set, for decoders believe the stream and some
crash or allocate without bound on a damaged one; and what the stream says of itself is the truth about its colour
(PS3.5 8.2.1, 8.2.3, 8.2.4). Standard library alone.

Sources: ITU-T T.81 B.2 (JPEG), T.87 C.2 (JPEG-LS), T.800 A.5, A.6 (JPEG 2000), T.814 A.3 (HTJ2K), PS3.5 G.5 (RLE).
"""

from __future__ import annotations

import struct
from enum import Enum

from dcmtx.errors import InputError
from dcmtx.record import Record


class Transform(Enum):
    """What the stream itself says of its colour."""

    UNSAID = "unsaid"  # JPEG without a marker: the Photometric Interpretation decides
    NONE = "none"  # components are coded as they are
    YCC = "ycc"  # JPEG: YCbCr by Adobe marker
    RCT = "rct"  # JPEG 2000: reversible component transform
    ICT = "ict"  # JPEG 2000: irreversible component transform


class Codestream(Record):
    """What the header of one codestream says.

    `precision` is bits per sample; `signed` is None where the coding has no sign; `process` is the SOF number of
    JPEG (0xF7 for JPEG-LS); `sampling` has (horizontal, vertical) factors per component; `ids` the component ids;
    `near` is NEAR of JPEG-LS or the point transform of lossless JPEG; `jfif` is whether JPEG calls itself JFIF;
    `scanned` counts the components of its first scan. `start` and `end` bound the raw codestream within the bytes
    given, so that JP2 boxes and what stands behind it can be left out; `body` is where its main header ends.
    """

    kind: str
    rows: int
    columns: int
    components: int
    precision: int
    signed: bool | None = None
    reversible: bool = True
    transform: Transform = Transform.UNSAID
    process: int = 0
    sampling: tuple[tuple[int, int], ...] = ()
    ids: bytes = b""
    near: int = 0
    jfif: bool = False
    scanned: int = 0
    predictor: int = 0
    interleave: int = 0
    progression: int = 0
    levels: int = 0
    tile_lengths: bool = False
    tiles: int = 1
    boxed: bool = False
    start: int = 0
    end: int = 0
    body: int = 0

    @property
    def subsampled(self) -> bool:
        """Whether some component has fewer samples than the first."""
        return any(factor != self.sampling[0] for factor in self.sampling)

    @property
    def lossless_process(self) -> bool:
        """Whether this is JPEG of a process that predicts, whose components no transform has touched (T.81 H)."""
        return self.kind == "jpeg" and self.process in _LOSSLESS_SOF


def inspect(family: str, data: bytes, *, samples: int = 1) -> Codestream:
    """Read the header of a codestream of this family (`Syntax.family`): jpeg, jpegls, j2k, htj2k, jpegxl or rle.

    What stands there decides what it is: a JPEG-LS stream under a JPEG syntax comes back as jpegls. `samples` is
    Samples per Pixel, which RLE needs to tell bytes from components.

    Raises InputError when the bytes are no codestream, or end inside its header.
    """
    if family == "rle":
        return _rle(data, samples)
    start = data[:12]
    if start[:2] == b"\xff\xd8":
        return _jpeg(data)
    if start[:4] == b"\xff\x4f\xff\x51":
        return _jpeg2000(data, 0, len(data), boxed=False)
    if start == b"\x00\x00\x00\x0cjP  \r\n\x87\n":
        return _jpeg2000(data, *_box(data, b"jp2c"), boxed=True)
    if start[:2] == b"\xff\x0a" or start == b"\x00\x00\x00\x0cJXL \r\n\x87\n":
        return _jpegxl(data)
    raise InputError(
        f"the bytes {data[:4].hex(' ') or '(none)'} do not start a {NAMES.get(family, family)} codestream; "
        "the pixel data is damaged",
        code="E_CODESTREAM",
    )


NAMES = {
    "jpeg": "JPEG", "jpegls": "JPEG-LS", "j2k": "JPEG 2000", "htj2k": "HTJ2K", "rle": "RLE", "jpegxl": "JPEG XL",
}  # fmt: skip
# Which kinds of codestream may stand under which family of syntax.
KINDS: dict[str, frozenset[str]] = {
    "jpeg": frozenset(["jpeg"]),
    "jpegls": frozenset(["jpegls"]),
    "j2k": frozenset(["j2k"]),
    "htj2k": frozenset(["htj2k"]),
    "rle": frozenset(["rle"]),
    "jpegxl": frozenset(["jpegxl"]),
}


# EOI and EOC, which are the same two bytes.
END = b"\xff\xd9"


def starts_frame(head: bytes, family: str = "") -> bool:
    """Tell whether these first 12 bytes of a fragment begin a codestream.

    SOI, SOC, a JP2 or JPEG XL signature; or a header of RLE, where that is the family.
    """
    if family == "rle":
        return len(head) >= 8 and 1 <= int.from_bytes(head[:4], "little") <= 15 and head[4:8] == b"\x40\x00\x00\x00"
    return (
        head[:3] == b"\xff\xd8\xff"
        or head[:4] == b"\xff\x4f\xff\x51"
        or head[:4] == b"\x00\x00\x00\x0c"
        or (head[:2] == b"\xff\x0a")
    )


def ends_frame(tail: bytes) -> bool:
    """Tell whether these last bytes of a fragment end a codestream: EOI or EOC, before padding."""
    return tail.rstrip(b"\0\xff").endswith(END)


def _short(what: str) -> InputError:
    return InputError(f"the {what} codestream ends inside its header; it is truncated", code="E_TRUNCATED")


# --- JPEG and JPEG-LS ------------------------------------------------------------------------------------------

_SOF = frozenset([0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7])
_LOSSLESS_SOF = frozenset([0xC3, 0xC7, 0xCB, 0xCF, 0xF7])


def _jpeg(data: bytes) -> Codestream:
    """Walk the markers up to the first scan (T.81 B.2; T.87 C.2)."""
    position, frame, adobe, transformed, jfif = 2, None, None, False, False
    while True:
        while data[position : position + 2] == b"\xff\xff":
            position += 1
        if len(data) < position + 4 or data[position] != 0xFF:
            raise _short("JPEG")
        marker = data[position + 1]
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        segment = data[position + 4 : position + 2 + length]
        if len(segment) < length - 2:
            raise _short("JPEG")
        if marker in _SOF:
            frame = _frame_header(marker, segment)
        elif marker == 0xEE and segment[:5] == b"Adobe" and len(segment) >= 12:
            adobe = segment[11]
        elif marker == 0xE0 and segment[:5] == b"JFIF\0":
            jfif = True
        elif marker == 0xE8 and segment[:4] == b"mrfx" and len(segment) >= 5:
            transformed = segment[4] != 0
        elif marker == 0xDA:
            break
        position += 2 + length
    if frame is None:
        raise InputError("the JPEG codestream has a scan but no frame header; it is damaged", code="E_CODESTREAM")
    if transformed:
        raise InputError(
            "the JPEG-LS codestream uses a colour transform of Hewlett-Packard's, which the standard does not have; "
            "no decoder here undoes it",
            code="E_CODESTREAM",
        )
    return _with_scan(frame.replace(jfif=jfif, body=position), segment, adobe, len(data))


def _frame_header(marker: int, segment: bytes) -> Codestream:
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise _short("JPEG")
    precision, rows, columns, components = struct.unpack_from(">BHHB", segment)
    entries = [segment[6 + 3 * number : 9 + 3 * number] for number in range(components)]
    return Codestream(
        "jpegls" if marker == 0xF7 else "jpeg",
        rows, columns, components=components, precision=precision,
        reversible=marker in _LOSSLESS_SOF,
        process=marker,
        sampling=tuple((entry[1] >> 4, entry[1] & 15) for entry in entries),
        ids=bytes(entry[0] for entry in entries),
    )  # fmt: skip


def _with_scan(frame: Codestream, scan: bytes, adobe: int | None, end: int) -> Codestream:
    """Add what the header of the first scan and the Adobe marker say."""
    count = scan[0] if scan else 0
    if len(scan) < 4 + 2 * count:
        raise _short("JPEG")
    first, second, last = scan[1 + 2 * count : 4 + 2 * count]
    frame = frame.replace(scanned=count)
    if frame.kind == "jpegls":
        return frame.replace(near=first, interleave=second, reversible=first == 0, end=end)
    transform = Transform.UNSAID
    if frame.components == 3:
        if adobe is not None:
            transform = Transform.YCC if adobe == 1 else Transform.NONE
        elif frame.ids.upper() == b"RGB":
            transform = Transform.NONE
    if frame.reversible:
        # Lossless JPEG: the predictor stands where the start of the spectral selection does (T.81 H.1).
        point = last & 15
        return frame.replace(predictor=first, near=point, reversible=point == 0, transform=transform, end=end)
    return frame.replace(transform=transform, end=end)


# --- JPEG 2000 and HTJ2K ---------------------------------------------------------------------------------------


def _box(data: bytes, wanted: bytes) -> tuple[int, int]:
    """Return where the contents of the first box of this type begin and end (T.800 I.4)."""
    position = 0
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        begin = position + 8
        if length == 1:
            length = int.from_bytes(data[position + 8 : position + 16], "big")
            begin = position + 16
        end = len(data) if length == 0 else position + length
        if data[position + 4 : position + 8] == wanted:
            return begin, min(end, len(data))
        if end <= position:
            break
        position = end
    raise InputError("the JP2 boxes hold no codestream; the pixel data is damaged", code="E_CODESTREAM")


def _jpeg2000(data: bytes, start: int, end: int, *, boxed: bool) -> Codestream:
    """Walk the main header up to the first tile-part (T.800 A.2)."""
    if data[start : start + 4] != b"\xff\x4f\xff\x51":
        raise InputError("the JP2 boxes hold no codestream; the pixel data is damaged", code="E_CODESTREAM")
    stream = _siz(data, start + 4).replace(boxed=boxed, start=start, end=end)
    position = start + 2
    coded = False
    while True:
        if position + 4 > end:
            raise _short("JPEG 2000")
        marker, length = struct.unpack_from(">HH", data, position)
        body = position + 4
        if marker == 0xFF90:
            stream = stream.replace(body=position)
            break
        if marker >> 8 != 0xFF or length < 2 or body + length - 2 > end:
            raise _short("JPEG 2000")
        if marker == 0xFF50 and length >= 6 and data[body + 1] & 0x02:
            stream = stream.replace(kind="htj2k")
        elif marker == 0xFF52 and length >= 12:
            stream, coded = _cod(stream, data[body : body + length - 2]), True
        elif marker == 0xFF55:
            stream = stream.replace(tile_lengths=True)
        position += 2 + length
    if not coded:
        raise InputError("the JPEG 2000 codestream has no coding style; it is damaged", code="E_CODESTREAM")
    return stream


def _siz(data: bytes, position: int) -> Codestream:
    """Read SIZ, whose length field is at `position` (T.800 A.5.1)."""
    if len(data) < position + 38:
        raise _short("JPEG 2000")
    x, y, x0, y0, tile_x, tile_y, tile_x0, tile_y0 = struct.unpack_from(">8I", data, position + 4)
    if not tile_x or not tile_y:
        raise _short("JPEG 2000")
    (components,) = struct.unpack_from(">H", data, position + 36)
    entries = data[position + 38 : position + 38 + 3 * components]
    if not components or len(entries) < 3 * components:
        raise _short("JPEG 2000")
    depths = set(entries[0::3])
    if len(depths) > 1:
        raise InputError(
            "the components of the JPEG 2000 codestream differ in precision or sign, which no photometric "
            "interpretation describes",
            code="E_CODESTREAM",
        )
    depth = depths.pop()
    return Codestream(
        "j2k", y - y0, x - x0, components=components, precision=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        tiles=-(-(x - tile_x0) // tile_x) * -(-(y - tile_y0) // tile_y),
        sampling=tuple((entries[3 * number + 1], entries[3 * number + 2]) for number in range(components)),
    )  # fmt: skip


def _cod(stream: Codestream, body: bytes) -> Codestream:
    """Read COD (T.800 A.6.1): progression, component transform, levels, wavelet."""
    progression, transformed, levels = body[1], body[4], body[5]
    reversible = body[9] == 1
    transform = Transform.NONE
    if transformed:
        transform = Transform.RCT if reversible else Transform.ICT
    return stream.replace(progression=progression, levels=levels, reversible=reversible, transform=transform)


def check_end(stream: Codestream, data: bytes) -> Codestream:
    """Return the stream with its `end`: behind EOI or EOC, whatever stands there (T.81 B.1.1.3, T.800 A.4.4).

    Raises InputError, E_TRUNCATED, if it does not go on to its end: decoders fill what is missing with something and
    say nothing. JPEG and JPEG-LS have a scan of every component, then EOI; the tile-parts of JPEG 2000 say how long
    they are (T.800 A.4.2).
    """
    if stream.kind not in ("jpeg", "jpegls", "j2k", "htj2k"):
        return stream
    in_tiles = stream.kind in ("j2k", "htj2k")
    if not in_tiles and stream.scanned >= stream.components and ends_frame(data[-64:]):
        return stream
    from dcmtx.pixel import ends

    end = ends.in_tile_parts(data, stream) if in_tiles else ends.in_scans(data, stream)
    if end is None:
        raise InputError(
            f"its {NAMES[stream.kind]} codestream ends early; the pixel data is truncated", code="E_TRUNCATED"
        )
    return stream if end == stream.end else stream.replace(end=end)


# --- JPEG XL ---------------------------------------------------------------------------------------------------

_SIZES = ((9, 1), (13, 1), (18, 1), (30, 1))
_ASPECTS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


class _Bits:
    """The bits of a JPEG XL header, least significant first (ISO/IEC 18181-1 B.1)."""

    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data[:64], "little")
        self._left = 8 * min(len(data), 64)

    def take(self, count: int) -> int:
        if count > self._left:
            raise _short("JPEG XL")
        self._left -= count
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        return value

    def choice(self, choices: tuple[tuple[int, int], ...]) -> int:
        """Read a U32: two bits choose how many bits follow, and what is added to them."""
        count, offset = choices[self.take(2)]
        return self.take(count) + offset


def _jpegxl(data: bytes) -> Codestream:
    """Read size, depth, colour and whether the colours were transformed, which lossless coding never does.

    (ISO/IEC 18181-1 D.2, D.3.) A stream with the reconstruction data of a JPEG file is reversible in that sense.
    """
    boxed = data[:2] != b"\xff\x0a"
    stream = _jpegxl_codestream(data) if boxed else data
    bits = _Bits(stream[2:])
    rows, columns = _jpegxl_size(bits)
    precision, xyb, grey = 8, True, False
    if not bits.take(1):
        if bits.take(1):
            _jpegxl_extra(bits)
        precision = _jpegxl_depth(bits)
        bits.take(1)
        if bits.choice(((0, 0), (0, 1), (4, 2), (12, 1))):
            raise InputError("the JPEG XL codestream has extra channels, which no attribute describes")
        xyb = bool(bits.take(1))
        if not bits.take(1):
            bits.take(1)
            grey = bits.choice(((0, 0), (0, 1), (4, 2), (6, 18))) == 1
    recompressed = boxed and b"jbrd" in data[:64]
    return Codestream(
        "jpegxl",
        rows,
        columns,
        components=1 if grey else 3,
        precision=precision,
        reversible=not xyb or recompressed,
        end=len(data),
    )


def _jpegxl_codestream(data: bytes) -> bytes:
    """Return the first part of the codestream inside the boxes, whole or partial."""
    try:
        begin, end = _box(data, b"jxlc")
    except InputError:
        begin, end = _box(data, b"jxlp")
        begin += 4
    return data[begin : min(end, begin + 80)]


def _jpegxl_size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)
    rows = 8 * (bits.take(5) + 1) if small else bits.choice(_SIZES)
    aspect = bits.take(3)
    if aspect:
        wide, high = _ASPECTS[aspect - 1]
        return rows, rows * wide // high
    return rows, 8 * (bits.take(5) + 1) if small else bits.choice(_SIZES)


def _jpegxl_extra(bits: _Bits) -> None:
    bits.take(3)
    if bits.take(1):
        _jpegxl_size(bits)
    if bits.take(1) or bits.take(1):
        raise InputError("the JPEG XL codestream has a preview or is animated, which a frame cannot be")


def _jpegxl_depth(bits: _Bits) -> int:
    if bits.take(1):
        raise InputError("the JPEG XL codestream is floating point, which Pixel Data cannot be")
    return bits.choice(((0, 8), (0, 10), (0, 12), (6, 1)))


# --- RLE -------------------------------------------------------------------------------------------------------


def _rle(data: bytes, samples: int) -> Codestream:
    """Read the 64-byte header (PS3.5 G.5): the number of segments and where they start.

    RLE says nothing of rows and columns: they are 0 here, and the decoder checks the length.
    """
    if len(data) < 64:
        raise _short("RLE")
    count, *offsets = struct.unpack_from("<16I", data)
    used = offsets[:count]
    if not 1 <= count <= 15 or used[0] != 64 or sorted(set(used)) != used or used[-1] > len(data):
        raise InputError(
            f"the RLE header names {count} segments at {used[:3]}...; the pixel data is damaged", code="E_CODESTREAM"
        )
    if count % samples:
        raise InputError(
            f"the RLE codestream has {count} segments, which {samples} samples per pixel do not divide",
            code="E_CODESTREAM",
        )
    return Codestream(
        "rle", 0, 0, components=samples, precision=8 * count // samples, transform=Transform.NONE, end=len(data)
    )
