"""The decision table: every pixel format into every transfer syntax, what becomes of it or why it is refused.

The formats are the rows, the targets the columns. What was written is judged by code that walks its bytes and by
decoders that are not the encoder's; what is refused says the rule and a target that holds it, and writes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import images
import numpy as np
import oracle
import pytest
from images import Format, Words

from dcmtx import DcmtxError, Outcome, transcode
from dcmtx.syntax import BY_UID

Fails = Callable[..., str]

J2K_FAMILY = oracle.J2K | oracle.HTJ2K
JPEG_XL = "1.2.840.10008.1.2.4.112"
ROWS, COLUMNS, FRAMES = 15, 22, 3


# --- the columns -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """Targets that share a column: their UIDs, the options, and the section of the standard that has the rules."""

    heading: str
    targets: tuple[str, ...]
    section: str
    options: dict[str, Any] = field(default_factory=dict)
    encapsulated_source: bool = False

    @property
    def loses(self) -> bool:
        return bool(self.options.get("lossy")) and self.options.get("near") != 0


LOSSY = {"lossy": True}
COLUMN = {
    column.heading: column
    for column in (
        # Native cells are carried between native syntaxes; those of a fragment are decoded.
        Column("carry", (dicom.IMPLICIT, dicom.DEFLATED, dicom.BIG_ENDIAN), "PS3.5 8.1.1"),
        Column("cells", (dicom.EXPLICIT, dicom.IMPLICIT, dicom.DEFLATED), "PS3.5 8.2", {}, True),
        Column("frame", (oracle.ENCAPSULATED, oracle.DEFLATED_FRAMES), "PS3.5 A.4.11"),
        Column("rle", (dicom.RLE,), "PS3.5 8.2.2"),
        Column(".50", (dicom.JPEG_BASELINE,), "PS3.5 8.2.1", LOSSY),
        Column(".51", (dicom.JPEG_EXTENDED,), "PS3.5 8.2.1", LOSSY),
        Column(".70", (dicom.JPEG_SV1, dicom.JPEG_P14), "PS3.5 8.2.1"),
        Column(".80", (dicom.JPEGLS,), "PS3.5 8.2.3"),
        Column(".81", (dicom.JPEGLS_NEAR,), "PS3.5 8.2.3"),
        Column("near", (dicom.JPEGLS_NEAR,), "PS3.5 8.2.3", LOSSY | {"near": 2}),
        Column(".90", (dicom.J2K_LOSSLESS,), "PS3.5 8.2.4"),
        Column(".201", (dicom.HTJ2K_LOSSLESS, dicom.HTJ2K_RPCL), "PS3.5 8.2.14"),
        Column(".91", (dicom.J2K,), "PS3.5 8.2.4"),
        Column(".203", (dicom.HTJ2K,), "PS3.5 8.2.14"),
        Column("ict", (dicom.J2K,), "PS3.5 8.2.4", LOSSY | {"psnr": 44}),
        Column("htict", (dicom.HTJ2K,), "PS3.5 8.2.14", LOSSY | {"psnr": 44}),
        Column(".110", (oracle.JPEG_XL_LOSSLESS, JPEG_XL), "PS3.5 8.2.15"),
        Column(".112", (JPEG_XL,), "PS3.5 8.2.15", LOSSY),
    )
}

# --- the table -------------------------------------------------------------------------------------------------

# Rows: Photometric Interpretation, Bits Stored of Bits Allocated, and `s` where Pixel Representation is 1; `in` has
# values that keep away from the ends of their range.
# Cells: `=` is written with the attributes that it had. A small word is written with one that is changed: the
# Photometric Interpretation, or bN Bits Stored, wN Bits Allocated. A capital is refused:
# B its bits (E_BITS), P its Photometric Interpretation (E_PI), S its sign (E_SIGN), L it must not lose anything
# (E_LOSSY_FORBIDDEN), X beyond the libraries (E_LIMIT), U nobody has proven it (E_UNVERIFIED).
TABLE = """
            carry cells frame rle  .50  .51  .70  .80  .81  near .90  .201 .91  .203 ict  htict .110 .112
M2 1/1      =     =     =     B    L    L    B    B    B    L    B    B    B    B    L    L     U    L
M1 1/8      =     =     =     =    B    b8   =    B    B    B    =    =    =    =    X    X     =    =
M2 7/8      =     =     =     =    B    b8   =    =    =    =    =    =    =    =    =    =     =    =
M2 7/8s     =     =     =     =    B    B    =    =    =    S    =    =    =    =    =    =     U    U
M1 8/8      =     =     =     =    =    =    =    =    =    =    =    =    =    =    =    =     =    =
M2 8/8s     =     =     =     =    S    S    =    =    =    S    =    =    =    =    =    =     U    U
M2 8/8s in  =     =     =     =    S    S    =    =    =    =    =    =    =    =    =    =     U    U
M2 8/16     =     =     =     =    B    B    =    =    =    =    =    =    =    =    =    =     =    =
M1 9/16     =     =     =     =    B    b12  =    =    =    =    =    =    =    =    =    =     =    =
M2 12/16    =     =     =     =    B    =    =    =    =    =    =    =    =    =    =    =     =    =
M2 12/16s   =     =     =     =    B    S    =    =    =    S    =    =    =    =    =    =     U    U
M2 12/16s in =    =     =     =    B    S    =    =    =    =    =    =    =    =    =    =     U    U
M1 13/16    =     =     =     =    B    B    =    =    =    =    =    =    =    =    =    =     =    =
M2 16/16    =     =     =     =    B    B    =    =    =    =    =    =    =    =    =    =     =    =
M2 16/16s   =     =     =     =    B    B    =    =    =    S    =    =    =    =    =    =     U    U
M2 20/24    =     w32   w32   B    B    B    B    B    B    B    =    X    =    X    =    X     U    U
M2 16/32    =     =     =     B    B    B    B    B    B    B    =    =    =    =    =    =     U    U
M2 20/32s   =     =     =     B    B    B    B    B    B    B    =    X    =    X    =    X     U    U
M1 32/32    =     =     =     B    B    B    B    B    B    B    X    X    X    X    X    X     U    U
M2 38/40    =     w64   w64   B    B    B    B    B    B    B    X    X    X    X    X    X     U    U
M2 39/40    =     w64   w64   B    B    B    B    B    B    B    B    B    B    B    B    B     U    U
M2 16/64    =     =     =     B    B    B    B    B    B    B    B    B    B    B    B    B     U    U
M2 64/64s   =     =     =     B    B    B    B    B    B    B    B    B    B    B    B    B     U    U
PAL 8/8     =     =     =     =    L    L    =    =    P    L    =    =    P    P    L    L     U    L
PAL 16/16   =     =     =     =    L    L    =    =    P    L    =    =    P    P    L    L     U    L
RGB 7/8     =     =     =     =    B    P    =    =    =    =    rct  rct  rct  rct  ict  ict   =    =
RGB 8/8     =     =     =     =    422  P    =    =    =    =    rct  rct  rct  rct  ict  ict   =    =
RGB 12/16   =     =     =     =    B    P    =    =    =    =    rct  rct  rct  rct  ict  ict   =    =
RGB 16/16   =     =     =     =    B    P    =    =    =    =    rct  rct  rct  rct  ict  ict   =    =
RGB 32/32   =     =     =     B    B    P    B    B    B    B    X    X    X    X    X    X     B    B
FULL 8/8    =     =     =     =    422  P    =    =    =    =    =    =    =    =    =    =     P    rgb
FULL 16/16  =     =     =     B    B    P    =    B    B    B    =    =    =    =    =    =     P    rgb
FULL 16/32  =     =     =     B    B    P    B    B    B    B    =    =    =    =    =    =     P    B
422 8/8     =     =     =     full =    P    full full full full full full full full full full  P    rgb
"""
PHOTOMETRIC = {
    "M1": "MONOCHROME1", "M2": "MONOCHROME2", "PAL": "PALETTE COLOR", "RGB": "RGB", "FULL": "YBR_FULL",
    "422": "YBR_FULL_422", "full": "YBR_FULL", "rgb": "RGB", "rct": "YBR_RCT", "ict": "YBR_ICT",
}  # fmt: skip
# Code and exit status of a refusal, and what its message must say besides the section where the code is about a table.
REFUSALS = {
    "B": ("E_BITS", 5, "holds"),
    "P": ("E_PI", 5, "holds no"),
    "S": ("E_SIGN", 5, "signed"),
    "L": ("E_LOSSY_FORBIDDEN", 5, "mean something only if they are exact"),
    "X": ("E_LIMIT", 4, "Bits Stored"),
    "U": ("E_UNVERIFIED", 4, "not proven"),
}
BY_THE_TABLES = ("E_BITS", "E_PI", "E_SIGN")


@dataclass(frozen=True)
class Cell:
    """One format into one target, and the decision."""

    fmt: Format
    inside: bool
    column: Column
    target: str
    decision: str

    @property
    def written(self) -> Format:
        """Return the format that the attributes of the file written must say."""
        word = self.decision
        if word in PHOTOMETRIC:
            return replace(self.fmt, photometric=PHOTOMETRIC[word])
        if word[0] == "b":
            return replace(self.fmt, stored=int(word[1:]))
        return replace(self.fmt, allocated=int(word[1:])) if word[0] == "w" else self.fmt

    def __str__(self) -> str:
        inside = " inside its range" if self.inside else ""
        how = " with loss" if self.column.loses else ""
        if self.column.heading == "option":
            how = "".join(f", {name} {value}" for name, value in self.column.options.items())
        return f"{self.fmt}{inside} from {self.source} to {BY_UID[self.target].label}{how} ({self.column.section})"

    @property
    def source(self) -> str:
        return "a fragment of cells" if self.column.encapsulated_source else "native cells"


def parsed(table: str) -> Iterator[Cell]:
    """Yield the cells of the table, one for each target of its column."""
    heading, *lines = table.strip("\n").splitlines()
    starts = [found.start() for found in re.finditer(r"\S+", heading)]
    for line in lines:
        kind, bits, *inside = line[: starts[0]].split()
        stored, allocated = bits.rstrip("s").split("/")
        fmt = Format(PHOTOMETRIC[kind], int(allocated), int(stored), bits.endswith("s"))
        decisions = line[starts[0] :].split()
        for column, decision in zip(map(COLUMN.__getitem__, heading.split()), decisions, strict=True):
            for target in column.targets:
                yield Cell(fmt, bool(inside), column, target, decision)


# What options decide: format, target, options, and the decision in the words of the table.
BY_OPTION: tuple[tuple[Format, str, str, dict[str, Any], str], ...] = (
    (Format("MONOCHROME2", 1, 1), dicom.RLE, "PS3.5 8.2.2", {"one_bit": "allow"}, "="),
    (Format("MONOCHROME1", 1, 1), dicom.J2K_LOSSLESS, "PS3.5 8.2.4", {"one_bit": "allow"}, "="),
    (Format("MONOCHROME2", 1, 1), dicom.J2K, "PS3.5 8.2.4", {"one_bit": "allow"}, "B"),
    (Format("MONOCHROME2", 1, 1), dicom.HTJ2K_LOSSLESS, "PS3.5 8.2.14", {"one_bit": "allow"}, "B"),
    (Format("MONOCHROME2", 1, 1), dicom.JPEGLS, "PS3.5 8.2.3", {"one_bit": "allow"}, "B"),
    (Format("MONOCHROME2", 1, 1), dicom.JPEG_SV1, "PS3.5 8.2.1", {"one_bit": "allow"}, "B"),
    (Format("MONOCHROME2", 8, 7), dicom.JPEG_BASELINE, "PS3.5 8.2.1", {"lossy": True, "unused_bits": "keep"}, "b8"),
    (Format("MONOCHROME1", 16, 8), dicom.JPEG_BASELINE, "PS3.5 8.2.1", {"lossy": True, "unused_bits": "clear"}, "w8"),
    (Format("MONOCHROME2", 16, 12), dicom.JPEGLS, "PS3.5 8.2.3", {"unused_bits": "keep"}, "b16"),
    (Format("MONOCHROME2", 16, 12), dicom.JPEGLS, "PS3.5 8.2.3", {"unused_bits": "clear"}, "="),
    (Format("MONOCHROME2", 16, 12, True), dicom.J2K_LOSSLESS, "PS3.5 8.2.4", {"unused_bits": "keep"}, "b16"),
    (Format("RGB", 8, 8), dicom.JPEG_BASELINE, "PS3.5 8.2.1", {"lossy": True, "subsampling": "444"}, "="),
    (Format("MONOCHROME2", 16, 12, True), dicom.JPEGLS_NEAR, "PS3.5 8.2.3", {"lossy": True, "near": 0}, "="),
    (Format("RGB", 16, 16), dicom.JPEGLS_NEAR, "PS3.5 8.2.3", {"lossy": True, "near": 0}, "="),
    (Format("PALETTE COLOR", 8, 8), dicom.JPEGLS_NEAR, "PS3.5 8.2.3", {"lossy": True, "near": 0}, "P"),
)


def by_option() -> Iterator[Cell]:
    for fmt, target, section, options, decision in BY_OPTION:
        yield Cell(fmt, False, Column("option", (target,), section, options), target, decision)


CELLS = [*parsed(TABLE), *by_option()]
ACCEPTED = [cell for cell in CELLS if cell.decision not in REFUSALS]
REFUSED = [cell for cell in CELLS if cell.decision in REFUSALS]


# --- the files -------------------------------------------------------------------------------------------------


def frames_of(cell: Cell) -> list[Words]:
    """Return frames whose values are hard to code; for codes with loss some that are not, so that it can be seen."""
    if cell.column.loses and cell.column.heading != "near":
        return [smooth(cell.fmt, number) for number in range(FRAMES)]
    frames = images.make_frames(cell.fmt, ROWS, COLUMNS, FRAMES)
    return [frame.clip(cell.fmt.low + 2, cell.fmt.high - 2) for frame in frames] if cell.inside else frames


def smooth(fmt: Format, number: int) -> Words:
    """Return slow waves from the least value to the greatest, with chroma that pairs of pixels share where it must."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    phases = [number + sample for sample in range(fmt.samples)]
    waves = [0.5 + 0.5 * np.sin(phase + y / 9 + x / (5 + phase)) for phase in phases]
    span = float(fmt.high - fmt.low)
    words = np.stack([np.floor(wave * span).astype("f8") for wave in waves], axis=-1)
    frame = (words.clip(0, span * (1 - 1e-9)).astype("u8").astype("i8") + fmt.low).astype(fmt.dtype)
    if fmt.photometric == "YBR_FULL_422":
        frame = images.half_chroma(frame)
    return frame if fmt.samples > 1 else frame[..., 0]


def source_of(cell: Cell, frames: list[Words]) -> bytes:
    """Return the file to be converted."""
    before = images.palette() if cell.fmt.photometric == "PALETTE COLOR" else {}
    image = images.image(cell.fmt, frames, before=before)
    if cell.column.encapsulated_source:
        image.syntax = oracle.ENCAPSULATED
        image.pixels = [images.cells(cell.fmt, [frame]) for frame in frames]
    return image.encode()


# --- what is written -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ACCEPTED, ids=str)
def test_what_is_accepted(cell: Cell, src: Path, dst: Path) -> None:
    frames = frames_of(cell)
    src.write_bytes(source_of(cell, frames))
    outcome = transcode(src, dst, to=cell.target, workers=1, **cell.column.options)
    before, written = src.read_bytes(), dst.read_bytes()
    walked = dicom.walk(written)
    assert walked.syntax == cell.target
    check_attributes(walked, cell.written)
    check_pixel_element(walked)
    check_streams(cell, walked)
    check_identity(dicom.walk(before), walked, cell.target, loses=cell.column.loses)
    check_pixels(cell, frames, written, outcome)


def check_attributes(walked: dicom.Walked, fmt: Format, rows: int = ROWS, columns: int = COLUMNS) -> None:
    """Assert that the Image Pixel Module says this, and nothing that grey has not."""
    said = oracle.attributes(walked)
    found = Format(said.photometric, said.allocated, said.stored, said.signed)
    assert (found, said.samples, said.high_bit) == (fmt, fmt.samples, fmt.stored - 1)
    assert said.planar == (0 if fmt.samples > 1 else None)
    assert (said.rows, said.columns, said.frames) == (rows, columns, FRAMES)


def check_pixel_element(walked: dicom.Walked) -> None:
    """Assert VR, length and, of fragments, that each frame has one and the offset table points at them."""
    pixels, said = walked.elements[dicom.PIXEL_DATA], oracle.attributes(walked)
    assert not {0x7FE00001, 0x7FE00002, 0x7FE00003} & walked.elements.keys()
    if walked.syntax in oracle.NATIVE:
        assert pixels.vr == ("" if walked.syntax == dicom.IMPLICIT else "OW" if said.allocated > 8 else "OB")
        return
    assert (pixels.vr, pixels.length) == ("OB", dicom.UNDEFINED)
    assert len(walked.fragments) == said.frames
    assert not any(len(fragment) % 2 for fragment in walked.fragments)
    # Offsets count from behind the table, whose own item has 8 bytes of header and 4 for each frame (PS3.5 A.4).
    behind = 12 + 8 + 4 * said.frames
    assert walked.offset_table[0] == 0
    for offset, fragment in zip(walked.offset_table, walked.fragments, strict=True):
        item = pixels.raw[behind + offset :]
        assert item[:8] == dicom.header(0xFFFEE000, "", len(fragment))
        assert item[8 : 8 + len(fragment)] == fragment


# Marker of the frame: baseline, extended sequential, lossless (PS3.5 A.4.1).
PROCESSES = {dicom.JPEG_BASELINE: 0xC0, dicom.JPEG_EXTENDED: 0xC1, dicom.JPEG_SV1: 0xC3, dicom.JPEG_P14: 0xC3}


def check_streams(cell: Cell, walked: dicom.Walked) -> None:
    """Assert that each codestream says of itself what the attributes say of it."""
    if cell.target not in oracle.JPEG | oracle.JPEGLS | J2K_FAMILY:
        return
    written, loses = cell.written, cell.column.loses
    for fragment in walked.fragments:
        stream = oracle.parse(fragment)
        assert (stream.rows, stream.columns, stream.components) == (ROWS, COLUMNS, written.samples)
        # JPEG has no precision of 1 (T.81 B.2.2).
        assert stream.precision == (written.stored if stream.kind != "jpeg" or written.stored > 1 else 8)
        if stream.kind == "jpeg":
            assert stream.process == PROCESSES[cell.target]
            assert cell.target != dicom.JPEG_SV1 or stream.predictor == 1
            check_sampling(stream, written)
        elif stream.kind == "jpegls":
            assert stream.near == (2 if loses else 0)
        else:
            assert stream.signed == written.signed
            assert stream.reversible != loses
            assert stream.transform == (written.photometric in ("YBR_RCT", "YBR_ICT"))
            assert cell.target != dicom.HTJ2K_RPCL or (stream.progression, stream.segment(0xFF55) is None) == (
                "RPCL",
                False,
            )


def check_sampling(stream: oracle.Stream, written: Format) -> None:
    """Assert that chroma is shared by two pixels of a row if, and only if, the file says so (PS3.5 8.2.1)."""
    header = next(value for marker, value in stream.segments if marker in oracle.FRAME_HEADERS)
    sampling = [header[7 + 3 * number] for number in range(stream.components)]
    shared = written.photometric == "YBR_FULL_422"
    assert sampling == ([0x21, 0x11, 0x11] if shared else [0x11] * stream.components)
    if written.photometric == "RGB" and stream.process != 0xC3:
        # The Adobe marker says that no transform was made.
        assert (stream.segment(0xFFEE) or b"").startswith(b"Adobe")
        assert (stream.segment(0xFFEE) or b"")[11] == 0


METHODS = {
    dicom.JPEG_BASELINE: "ISO_10918_1", dicom.JPEG_EXTENDED: "ISO_10918_1", dicom.JPEGLS_NEAR: "ISO_14495_1",
    dicom.J2K: "ISO_15444_1", dicom.HTJ2K: "ISO_15444_15", JPEG_XL: "ISO_18181_1",
}  # fmt: skip
LOSS_TAGS = (0x00282110, 0x00282112, 0x00282114, 0x00082111, 0x00082112, 0x00089215)


def check_identity(before: dicom.Walked, walked: dicom.Walked, target: str, *, loses: bool) -> None:
    """Assert that a loss is told of, completely, and that nothing is told of where there is none."""
    elements = walked.elements
    instance = elements[0x00080018].text
    assert walked.meta[0x00020003].text == instance
    if not loses:
        assert instance == before.elements[0x00080018].text
        assert elements[0x00080008].text == before.elements[0x00080008].text
        assert not elements.keys() & set(LOSS_TAGS)
        return
    assert instance != before.elements[0x00080018].text
    assert elements[0x00080008].text == "DERIVED\\PRIMARY"
    assert elements[0x00282110].text == "01"
    assert elements[0x00282114].text == METHODS[target]
    check_ratio(walked, before)
    (code,) = elements[0x00089215].items or []
    assert (code[0x00080100].text, code[0x00080102].text) == ("113040", "DCM")
    (source,) = elements[0x00082112].items or []
    assert source[0x00081155].text == before.elements[0x00080018].text
    assert source[0x00081150].text == before.elements[0x00080016].text
    assert elements[0x00282112].text in elements[0x00082111].text


def check_ratio(walked: dicom.Walked, before: dicom.Walked) -> None:
    """Assert that the ratio is that of bytes by Bits Stored to those of the codestreams, with padding or without."""
    said = oracle.attributes(before)
    plain = said.frames * said.rows * said.columns * said.samples * said.stored / 8
    coded = sum(map(len, walked.fragments))
    assert 0.9999 * plain / coded < float(walked.elements[0x00282112].text) < 1.0001 * plain / (coded - said.frames)


# The least PSNR in dB of the smooth frames, decoded by another library; NEAR has a bound of its own.
LEAST_PSNR = 25.0


def check_pixels(cell: Cell, frames: list[Words], written: bytes, outcome: Outcome) -> None:
    found = oracle.decoded(written, outcome.encoder)
    expected = [as_coded(frame, cell) for frame in frames]
    if not cell.column.loses:
        assert not oracle.different(expected, found)
        return
    errors = [one.astype("f8") - other for one, other in zip(expected, found, strict=True)]
    worst = max(float(np.abs(error).max()) for error in errors)
    if cell.column.heading == "near":
        assert worst <= 2
        return
    span = float((1 << cell.written.stored) - 1)
    mean = float(np.mean([np.mean(error**2) for error in errors]))
    assert 10 * np.log10(span**2 / max(mean, 1e-9)) > LEAST_PSNR


def as_coded(frame: Words, cell: Cell) -> Words:
    """Return the components that a codestream has: of JPEG those of YBR, which its decoders here leave as they are."""
    given, coded = cell.fmt.photometric, cell.written.photometric
    if coded == "YBR_FULL_422" and given == "RGB":
        return to_ybr(frame, cell.fmt.stored)
    return to_rgb(frame, cell.fmt.stored) if coded == "RGB" and given.startswith("YBR") else frame


# PS3.3 C.7.6.3.1.2.
YBR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def to_ybr(frame: Words, stored: int) -> Words:
    middle = 1 << (stored - 1)
    return (frame @ YBR.T + [0, middle, middle]).clip(0, 2 * middle - 1)


def to_rgb(frame: Words, stored: int) -> Words:
    middle = 1 << (stored - 1)
    return ((frame.astype("f8") - [0, middle, middle]) @ np.linalg.inv(YBR).T).clip(0, 2 * middle - 1)


# --- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", REFUSED, ids=str)
def test_what_is_refused(cell: Cell, src: Path, dst: Path) -> None:
    code, status, says = REFUSALS[cell.decision]
    frames = frames_of(cell)
    src.write_bytes(source_of(cell, frames))
    with pytest.raises(DcmtxError) as caught:
        transcode(src, dst, to=cell.target, workers=1, **cell.column.options)
    error, message = caught.value, str(caught.value)
    assert (error.code, error.status) == (code, status), message
    assert list(src.parent.iterdir()) == [src]
    assert "\n" not in message
    assert says in message
    if code in BY_THE_TABLES:
        assert re.search(rf"\({re.escape(cell.column.section)}[,)]", message)
    nearest = re.search(r"; use --to (\S+)", message)
    assert nearest is not None, message
    policy = {name: value for name, value in cell.column.options.items() if name in ("one_bit", "unused_bits")}
    outcome = transcode(src, dst, to=nearest[1], workers=1, **policy)
    assert outcome.syntax_out != cell.target or cell.column.loses
    assert not oracle.different(frames, oracle.decoded(dst.read_bytes(), outcome.encoder))


# --- what is decided before the table: objects, syntaxes, damage -----------------------------------------------

GREY = Format("MONOCHROME2", 8, 8)
COLOUR = Format("RGB", 8, 8)
SIDE = 8
PLAIN = images.image(GREY, images.make_frames(GREY, SIDE, SIDE))


def us(tag: int, value: int) -> dict[int, bytes]:
    return {tag: dicom.element(tag, "US", value)}


def of_class(last: str, image: dicom.Image) -> dicom.Image:
    uid = f"1.2.840.10008.5.1.4.1.1.{last}"
    image.sop_class = uid
    image.before = image.before | {0x00080016: dicom.element(0x00080016, "UI", uid)}
    return image


# PS3.3 C.7.6.3.1: attributes that no image has. Native cells are carried all the same.
INCONSISTENT: dict[str, dict[str, Any]] = {
    "Samples per Pixel 2": {"samples": 2},
    "Samples per Pixel 4, ARGB": {"samples": 4, "photometric": "ARGB"},
    "Samples per Pixel 4, CMYK": {"samples": 4, "photometric": "CMYK"},
    "HSV": {"samples": 3, "photometric": "HSV"},
    "YBR_PARTIAL_422": {"samples": 3, "photometric": "YBR_PARTIAL_422"},
    "a Photometric Interpretation that nobody knows": {"photometric": "SEPIA"},
    "grey of three samples": {"samples": 3},
    "colour of one sample": {"photometric": "RGB"},
    "Bits Stored above Bits Allocated": {"stored": 9, "high_bit": 7},
    "Bits Allocated 12": {"allocated": 12, "stored": 12},
    "a signed palette": {"photometric": "PALETTE COLOR", "signed": True},
    "signed colour": {"samples": 3, "photometric": "RGB", "signed": True},
    "colour of one bit": {"samples": 3, "photometric": "RGB", "allocated": 1, "stored": 1},
}


def inconsistent(attributes: dict[str, Any]) -> bytes:
    given = {"rows": SIDE, "columns": SIDE, "allocated": 8, "stored": 8} | attributes
    size = SIDE * SIDE * given.get("samples", 1) * given["allocated"] // 8
    return dicom.Image((bytes(range(256)) * 4)[:size], **given).encode()


def refusal(source: bytes, src: Path, dst: Path, **options: Any) -> DcmtxError:
    """Return the error of a conversion that must fail, in one line, and write nothing."""
    src.write_bytes(source)
    with pytest.raises(DcmtxError) as caught:
        transcode(src, dst, **options)
    assert list(src.parent.iterdir()) == [src]
    assert "\n" not in str(caught.value)
    return caught.value


def verdict(error: DcmtxError) -> tuple[int, str]:
    return error.status, error.code


@pytest.mark.parametrize("attributes", INCONSISTENT.values(), ids=INCONSISTENT.keys())
@pytest.mark.parametrize("to", ["rle", "jpegls", "encapsulated"])
def test_attributes_of_no_image_are_not_coded(attributes: dict[str, Any], to: str, src: Path, dst: Path) -> None:
    error = refusal(inconsistent(attributes), src, dst, to=to)
    assert verdict(error) == (3, "E_INCONSISTENT")
    assert "correct the data set first" in str(error)


@pytest.mark.parametrize("attributes", INCONSISTENT.values(), ids=INCONSISTENT.keys())
@pytest.mark.parametrize("to", [dicom.IMPLICIT, dicom.DEFLATED, dicom.BIG_ENDIAN])
def test_attributes_of_no_image_are_carried_with_native_cells(
    attributes: dict[str, Any], to: str, src: Path, dst: Path
) -> None:
    src.write_bytes(inconsistent(attributes))
    outcome = transcode(src, dst, to=to)
    before, walked = dicom.walk(src.read_bytes()), dicom.walk(dst.read_bytes())
    assert walked.syntax == to
    assert walked.elements[dicom.PIXEL_DATA].value == before.elements[dicom.PIXEL_DATA].value
    for tag in (0x00280002, 0x00280004, 0x00280100, 0x00280101, 0x00280102, 0x00280103):
        assert walked.elements[tag].value == before.elements[tag].value
    assert any("carried as they are" in note.text for note in outcome.notes)


ENCAPSULATED_TARGETS = tuple(
    dict.fromkeys(
        target
        for column in COLUMN.values()
        if column.heading not in ("carry", "cells") and not column.loses
        for target in column.targets
    )
)
LOSING_TARGETS = tuple((column.targets[0], column.options) for column in COLUMN.values() if column.loses)


def directory(syntax: str) -> bytes:
    uid = "1.2.840.10008.1.3.10"
    elements = [dicom.element(0x00041130, "CS", "SET", syntax), dicom.sequence(0x00041220, [], syntax)]
    return dicom.file(elements, syntax, sop_class=uid)


@pytest.mark.parametrize("to", [*ENCAPSULATED_TARGETS, dicom.IMPLICIT, dicom.DEFLATED, dicom.BIG_ENDIAN])
def test_a_dicomdir_has_one_transfer_syntax(to: str, src: Path, dst: Path) -> None:
    error = refusal(directory(dicom.EXPLICIT), src, dst, to=to)
    assert verdict(error) == (5, "E_DICOMDIR")
    assert "PS3.10 8.6" in str(error)


@pytest.mark.parametrize("syntax", [dicom.IMPLICIT, dicom.BIG_ENDIAN])
def test_a_dicomdir_is_not_even_put_right_for_its_records_have_offsets(syntax: str, src: Path, dst: Path) -> None:
    assert verdict(refusal(directory(syntax), src, dst, to="explicit")) == (5, "E_DICOMDIR")


def test_a_dicomdir_in_its_own_syntax_is_copied(src: Path, dst: Path) -> None:
    src.write_bytes(directory(dicom.EXPLICIT))
    transcode(src, dst, to="explicit")
    assert dst.read_bytes() == src.read_bytes()


ROOT = "1.2.840.10008.1.2"
VIDEO = [f"{ROOT}.4.{100 + number}{more}" for number in range(7) for more in ("", ".1")]
VIDEO += [f"{ROOT}.4.107", f"{ROOT}.4.108"]
JPIP = [f"{ROOT}.4.{last}" for last in (94, 95, 204, 205)]
ST_2110 = [f"{ROOT}.7.{last}" for last in (1, 2, 3)]
PART_2 = [f"{ROOT}.4.92", f"{ROOT}.4.93"]
RETIRED = [f"{ROOT}.4.{last}" for last in (*range(52, 57), *range(58, 67))]
PROGRESSIVE = [f"{ROOT}.4.53", f"{ROOT}.4.55"]


@pytest.mark.parametrize("to", [*VIDEO, *JPIP, *ST_2110, *PART_2, *RETIRED])
def test_syntaxes_that_are_never_written(to: str, src: Path, dst: Path) -> None:
    error = refusal(PLAIN.encode(), src, dst, to=to)
    assert verdict(error) == (4, "E_UNSUPPORTED_TS")
    assert to in str(error)


@pytest.mark.parametrize("syntax", [*VIDEO, *ST_2110, *PART_2, *(uid for uid in RETIRED if uid not in PROGRESSIVE)])
@pytest.mark.parametrize("to", ["explicit", "rle"])
def test_syntaxes_that_are_not_decoded(syntax: str, to: str, src: Path, dst: Path) -> None:
    stream = jpeg(images.make_frames(GREY, SIDE, SIDE)[0])
    image = replace(PLAIN, pixels=[stream], syntax=syntax)
    error = refusal(image.encode(), src, dst, to=to)
    assert verdict(error) == (4, "E_UNSUPPORTED_TS")


def test_big_endian_is_written_only_by_its_name_and_with_a_note(src: Path, dst: Path) -> None:
    src.write_bytes(PLAIN.encode())
    outcome = transcode(src, dst, to="big-endian")
    assert dicom.walk(dst.read_bytes()).syntax == dicom.BIG_ENDIAN
    assert any("retired" in note.text for note in outcome.notes)


REPORT = dicom.file(
    [
        dicom.element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.88.11"),
        dicom.element(0x00080018, "UI", "1.2.3.4"),
        dicom.element(0x00080060, "CS", "SR"),
    ],
    sop_class="1.2.840.10008.5.1.4.1.1.88.11",
)


@pytest.mark.parametrize("to", ENCAPSULATED_TARGETS)
def test_an_object_without_pixels_is_never_encapsulated(to: str, src: Path, dst: Path) -> None:
    """PS3.5 A.4: an encapsulated syntax needs Pixel Data."""
    error = refusal(REPORT, src, dst, to=to, no_pixels="fail")
    assert verdict(error) == (5, "E_NO_PIXELDATA")
    assert "PS3.5 A.4" in str(error)
    assert str(error).endswith("use --to explicit")
    assert transcode(src, dst, to=to, no_pixels="skip").status.value == "skipped"
    assert not dst.exists()
    outcome = transcode(src, dst, to=to)
    assert dicom.walk(dst.read_bytes()).syntax == outcome.syntax_out == dicom.EXPLICIT
    assert len(outcome.notes) == 1


@pytest.mark.parametrize("to", [dicom.IMPLICIT, dicom.DEFLATED, dicom.BIG_ENDIAN])
def test_an_object_without_pixels_has_any_native_syntax(to: str, src: Path, dst: Path) -> None:
    src.write_bytes(REPORT)
    transcode(src, dst, to=to, no_pixels="fail")
    assert dicom.walk(dst.read_bytes()).syntax == to


FLOATS = {0x7FE00008: ("OF", "<f4"), 0x7FE00009: ("OD", "<f8")}


def floating(tag: int) -> bytes:
    vr, kind = FLOATS[tag]
    elements = replace(PLAIN, allocated=32 if vr == "OF" else 64).elements()
    for absent in (0x00280101, 0x00280102, 0x00280103):
        del elements[absent]
    values = np.linspace(-1, 1, SIDE * SIDE).astype(kind).tobytes()
    return dicom.file([*elements.values(), dicom.element(tag, vr, values)])


@pytest.mark.parametrize("tag", FLOATS, ids=["Float Pixel Data", "Double Float Pixel Data"])
@pytest.mark.parametrize("to", ENCAPSULATED_TARGETS)
def test_floating_point_is_never_encapsulated(tag: int, to: str, src: Path, dst: Path) -> None:
    error = refusal(floating(tag), src, dst, to=to)
    assert verdict(error) == (5, "E_FLOAT")
    assert "PS3.5 8.2" in str(error)
    assert str(error).endswith("use --to deflated")


@pytest.mark.parametrize("tag", FLOATS, ids=["Float Pixel Data", "Double Float Pixel Data"])
@pytest.mark.parametrize("to", [dicom.IMPLICIT, dicom.DEFLATED, dicom.BIG_ENDIAN])
def test_floating_point_has_any_native_syntax(tag: int, to: str, src: Path, dst: Path) -> None:
    src.write_bytes(floating(tag))
    transcode(src, dst, to=to)
    before, walked = dicom.walk(src.read_bytes()), dicom.walk(dst.read_bytes())
    assert walked.syntax == to
    assert walked.elements[tag].value == before.elements[tag].value
    assert walked.elements[tag].vr == ("" if to == dicom.IMPLICIT else FLOATS[tag][0])


def jpeg(frame: Words, **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(frame), level=95, **options))


DAMAGED = {
    "a native frame one pixel short": replace(PLAIN, pixels=bytes(SIDE * SIDE - 2)),
    "three native frames where there are two": replace(PLAIN, pixels=bytes(SIDE * SIDE * 2), frames=3),
    "two fragments for three frames of RLE": replace(
        PLAIN, pixels=[images.annex_g(GREY, frame) for frame in images.make_frames(GREY, SIDE, SIDE, 2)], frames=3,
        syntax=dicom.RLE,
    ),
    "a fragment of cells one pixel short": replace(
        PLAIN, pixels=[bytes(SIDE * SIDE - 2)], syntax=oracle.ENCAPSULATED,
    ),
}  # fmt: skip


@pytest.mark.parametrize("image", DAMAGED.values(), ids=DAMAGED.keys())
@pytest.mark.parametrize("to", ["implicit", "jpegls"])
def test_frames_that_are_not_all_there(image: dicom.Image, to: str, src: Path, dst: Path) -> None:
    assert verdict(refusal(image.encode(), src, dst, to=to)) == (3, "E_TRUNCATED")


def huge(rows: int, columns: int, frames: int) -> bytes:
    """Return a file whose frames would be as large as it says; its codestreams are not looked into."""
    streams = [images.annex_g(GREY, np.zeros((1, 1), "u1"))] * frames
    return replace(PLAIN, rows=rows, columns=columns, frames=frames, pixels=streams, syntax=dicom.RLE).encode()


@pytest.mark.parametrize("to", ["explicit", "implicit", "deflated", "raw"])
def test_native_pixels_have_a_length_of_32_bits(to: str, src: Path, dst: Path) -> None:
    """PS3.5 8.1.1: 2**32 - 2 bytes at most. 4 * 32767 * 32769 is two bytes less than that."""
    error = refusal(huge(32768, 32768, 4), src, dst, to=to)
    assert verdict(error) == (5, "E_SIZE")
    assert "PS3.5 8.1.1" in str(error)
    assert "--to encapsulated or deflated-frames" in str(error)
    src.write_bytes(huge(32767, 32769, 4))
    assert transcode(src, dst, to=to, dry_run=True).status.value == "planned"
    src.write_bytes(huge(32768, 32768, 4))
    for other in ("encapsulated", "deflated-frames", "jpegls"):
        assert transcode(src, dst, to=other, dry_run=True).status.value == "planned"


QUANTITIES = {"a Segmentation": "66.4", "a Label Map": "66.7", "a Parametric Map": "30", "an RT Dose": "481.2"}


@pytest.mark.parametrize("last", QUANTITIES.values(), ids=QUANTITIES.keys())
@pytest.mark.parametrize(("to", "options"), LOSING_TARGETS, ids=[target for target, _ in LOSING_TARGETS])
def test_quantities_lose_nothing(last: str, to: str, options: dict[str, Any], src: Path, dst: Path) -> None:
    image = of_class(last, images.image(GREY, images.make_frames(GREY, SIDE, SIDE)))
    error = refusal(image.encode(), src, dst, to=to, **options)
    assert verdict(error) == (5, "E_LOSSY_FORBIDDEN")
    nearest = re.search(r"; use --to (\S+) without --lossy$", str(error))
    assert nearest is not None
    transcode(src, dst, to=nearest[1])
    if to in (dicom.JPEGLS_NEAR, dicom.J2K, dicom.HTJ2K, JPEG_XL):
        # The same syntaxes hold them without loss.
        transcode(src, dst, to=to)
        assert 0x00282110 not in dicom.walk(dst.read_bytes()).elements


CHROMA = Format("YBR_FULL_422", 8, 8)
# Object, format, target and options, and the section that forbids what the conversion would make of it.
DEFINED: dict[str, tuple[str, Format, str, dict[str, Any], str]] = {
    "a CT image of 8 bits": (
        "2", Format("MONOCHROME2", 16, 8), "jpeg-baseline", {"lossy": True, "unused_bits": "clear"}, "PS3.3 C.8.2.1.1",
    ),
    "an MR image of 8 bits": (
        "4", Format("MONOCHROME2", 16, 8), "jpeg-baseline", {"lossy": True, "unused_bits": "clear"}, "PS3.3 C.8.3.1.1",
    ),
    "a slide of YBR_FULL": ("77.1.6", CHROMA, "rle", {}, "PS3.3 C.8.12.4.1.5"),
    "an endoscopic image of YBR_FULL": ("77.1.1", CHROMA, "jpegls", {}, "PS3.3 C.8.12.1.1.1"),
    "true colour of YBR_FULL": ("7.4", CHROMA, "j2k", {}, "PS3.3 A.8.5.4"),
}  # fmt: skip


@pytest.mark.parametrize(("last", "fmt", "to", "options", "section"), DEFINED.values(), ids=DEFINED.keys())
def test_an_object_stays_within_its_definition(
    last: str, fmt: Format, to: str, options: dict[str, Any], section: str, src: Path, dst: Path
) -> None:
    image = of_class(last, images.image(fmt, images.make_frames(fmt, SIDE, SIDE)))
    error = refusal(image.encode(), src, dst, to=to, **options)
    assert verdict(error) == (5, "E_IOD")
    assert section in str(error)
    nearest = re.search(r"; use --to (\S+)( without --lossy)?$", str(error))
    assert nearest is not None
    assert bool(nearest[2]) == ("lossy" in options)
    transcode(src, dst, to=nearest[1])
    assert not oracle.different(images.make_frames(fmt, SIDE, SIDE), oracle.decoded(dst.read_bytes()))


@pytest.mark.parametrize("uid", [dicom.EXPLICIT, dicom.JPEGLS, *VIDEO[:1], *JPIP[:1], *PART_2[:1], *RETIRED[:1]])
def test_a_file_that_is_there_already_is_copied_unseen(uid: str, src: Path, dst: Path) -> None:
    """Not even damage is seen behind group 0002."""
    src.write_bytes(dicom.file([b"no element at all"], uid))
    assert transcode(src, dst, to=uid).status.value == "copied"
    assert dst.read_bytes() == src.read_bytes()


@pytest.mark.parametrize("to", [dicom.IMPLICIT, dicom.DEFLATED, dicom.RLE, dicom.J2K_LOSSLESS, oracle.DEFLATED_FRAMES])
@pytest.mark.parametrize("columns", [COLUMNS - 1, COLUMNS], ids=["cells of odd rows", "cells of padded rows"])
def test_pairs_of_pixels_need_an_even_number_of_columns(columns: int, to: str, src: Path, dst: Path) -> None:
    """PS3.3 C.7.6.3.1.2: an odd number has no layout, so that nobody can tell which pixels share what."""
    image = images.image(CHROMA, images.make_frames(CHROMA, ROWS, COLUMNS))
    odd = replace(image, columns=COLUMNS - 1, pixels=bytes(ROWS * columns * 2))
    assert verdict(refusal(odd.encode(), src, dst, to=to)) == (3, "E_INCONSISTENT")


def by_code() -> dict[str, Cell]:
    """Return one refused cell for each code."""
    return {REFUSALS[cell.decision][0]: cell for cell in reversed(REFUSED) if cell.column.heading != "option"}


@pytest.mark.parametrize("code", by_code())
def test_a_refusal_is_one_line_and_a_status_on_the_command_line(code: str, src: Path, fails: Fails) -> None:
    cell = by_code()[code]
    src.write_bytes(source_of(cell, frames_of(cell)))
    words = [f"--{name}" if value is True else f"--{name}={value}" for name, value in cell.column.options.items()]
    status = REFUSALS[cell.decision][1]
    line = fails(status, src, src.with_name("new.dcm"), "--to", cell.target, *words)
    assert line.startswith(f"dcmtx: {src}: ")
    assert "; use --to " in line


HIGH_32 = (Format("MONOCHROME2", 32, 20), 0xFFF00001, "j2k")
HIGH_YBR = (Format("YBR_FULL", 16, 12), 0xF001, "jpeg")
HIGH_16 = (Format("MONOCHROME2", 16, 12), 0xF001, "jpegls")
NO_JPEG = (Format("MONOCHROME2", 16, 12, signed=True), 1, "jpegxl-jpeg")


@pytest.mark.parametrize(
    ("fmt", "value", "to"),
    [
        pytest.param(*HIGH_16, id="content above 12 of 16 bits"),
        pytest.param(*HIGH_32, id="content above 20 of 32 bits"),
        pytest.param(*HIGH_YBR, id="content above 12 of 16 bits of YBR_FULL"),
        pytest.param(*NO_JPEG, id="signed values that are no JPEG"),
    ],
)
def test_a_target_that_is_suggested_takes_the_file(fmt: Format, value: int, to: str, src: Path, dst: Path) -> None:
    frame = np.full((SIDE, SIDE, 3) if fmt.samples == 3 else (SIDE, SIDE), value, fmt.dtype)
    error = refusal(images.image(fmt, [frame]).encode(), src, dst, to=to)
    suggested = re.search(r"use --to (\S+)(?: or (\S+))?", str(error))
    assert suggested is not None
    for name in filter(None, suggested.groups()):
        transcode(src, dst, to=name)


CHANGING: dict[str, dict[str, Any]] = {
    "--force": {"force": True},
    "--uid new": {"uid": "new"},
    "--offset-table extended": {"offset_table": "extended"},
    "--icon drop": {"icon": "drop"},
}


@pytest.mark.parametrize("options", CHANGING.values(), ids=CHANGING.keys())
@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.RLE], ids=["native", "RLE"])
def test_a_file_that_is_there_already_is_written_anew_where_an_option_changes_it(
    options: dict[str, Any], syntax: str, src: Path, dst: Path
) -> None:
    frames = images.make_frames(GREY, SIDE, SIDE, 2)
    image = images.image(GREY, frames, before=icon(syntax), syntax=syntax)
    if syntax == dicom.RLE:
        image.pixels = [images.annex_g(GREY, frame) for frame in frames]
    src.write_bytes(image.encode())
    assert transcode(src, dst, to=syntax, **options).status.value == "converted"
    walked = dicom.walk(dst.read_bytes())
    assert not oracle.different(frames, oracle.decoded(dst.read_bytes()))
    assert walked.meta[0x00020012].text != "1.2.3"
    assert (walked.elements[0x00080018].text != "1.2.3.4") == ("uid" in options)
    assert (ICON in walked.elements) == ("icon" not in options)
    assert (0x7FE00001 in walked.elements) == ("offset_table" in options and syntax == dicom.RLE)


@pytest.mark.parametrize(
    ("fmt", "told"),
    [(Format("MONOCHROME2", 16, 16), "JPEG Extended"), (Format("RGB", 16, 16), "JPEG Baseline")],
    ids=["grey", "colour"],
)
def test_of_two_syntaxes_that_refuse_the_nearer_one_is_told(fmt: Format, told: str, src: Path, dst: Path) -> None:
    """With loss, JPEG is Baseline, or else Extended: of more bits, but of grey pixels only (PS3.5 8.2.1)."""
    source = images.image(fmt, images.make_frames(fmt, SIDE, SIDE)).encode()
    error = refusal(source, src, dst, to="jpeg", lossy=True)
    assert error.code == "E_BITS"
    assert str(error).startswith(told)


# Where several conditions hold: which one is told. Earlier ones win.
ORDER: dict[str, tuple[bytes, dict[str, Any], tuple[int, str]]] = {
    "a DICOMDIR to video": (directory(dicom.EXPLICIT), {"to": VIDEO[0]}, (5, "E_DICOMDIR")),
    "floating point to video": (floating(0x7FE00008), {"to": VIDEO[0]}, (4, "E_UNSUPPORTED_TS")),
    "a report to video": (REPORT, {"to": VIDEO[0], "no_pixels": "fail"}, (4, "E_UNSUPPORTED_TS")),
    "a palette, with loss, to what holds none": (
        images.image(Format("PALETTE COLOR", 8, 8), images.make_frames(Format("PALETTE COLOR", 8, 8), 4, 4)).encode(),
        {"to": "JPEG2000", "lossy": True}, (5, "E_LOSSY_FORBIDDEN"),
    ),
    "32 bits of an RT Dose, with loss": (
        of_class("481.2", images.image(Format("MONOCHROME2", 32, 32), [np.zeros((4, 4), "u4")])).encode(),
        {"to": "JPEG2000", "lossy": True}, (5, "E_LOSSY_FORBIDDEN"),
    ),
    "attributes of no image, with loss, of an RT Dose": (
        of_class("481.2", replace(PLAIN, photometric="HSV")).encode(), {"to": "JPEG2000", "lossy": True},
        (3, "E_INCONSISTENT"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("source", "options", "expected"), ORDER.values(), ids=ORDER.keys())
def test_the_first_condition_that_holds_is_told(
    source: bytes, options: dict[str, Any], expected: tuple[int, str], src: Path, dst: Path
) -> None:
    assert verdict(refusal(source, src, dst, **options)) == expected


# --- what codestreams hold: colours that are decoded to RGB, and JPEG that becomes JPEG XL ---------------------


def waves(fmt: Format) -> Words:
    return smooth(fmt, 0)[:SIDE, :SIDE]


def coded_image(photometric: str, stream: bytes, syntax: str = dicom.JPEG_BASELINE) -> dicom.Image:
    """Return an image of 8 bits whose only frame is this codestream."""
    fmt = GREY if photometric.startswith("M") else COLOUR
    return replace(images.image(fmt, [waves(fmt)]), photometric=photometric, pixels=[stream], syntax=syntax)


def j2k(frame: Words, *, reversible: bool) -> bytes:
    level = 0 if reversible else 60
    return bytes(imagecodecs.jpeg2k_encode(frame, level=level, codecformat="j2k", reversible=reversible, mct=True))


def jpegxl(frame: Words, **options: Any) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(frame, **options))


def ybr_jpeg(frame: Words) -> bytes:
    return jpeg(frame, colorspace="RGB", outcolorspace="YCBCR", subsampling="422")


def rgb_jpeg(frame: Words) -> bytes:
    return jpeg(frame, colorspace="RGB", outcolorspace="RGB", subsampling="444")


@dataclass(frozen=True)
class EncodedFrame:
    """A codestream of RGB in some colour, what may be off, and what the data set must then say of its loss."""

    syntax: str
    photometric: str
    stream: bytes
    off: int
    method: str = ""

    def image(self) -> dicom.Image:
        return coded_image(self.photometric, self.stream, self.syntax)


def coded_sources() -> dict[str, EncodedFrame]:
    frame = waves(COLOUR)
    return {
        "YBR_FULL_422 of JPEG": EncodedFrame(dicom.JPEG_BASELINE, "YBR_FULL_422", ybr_jpeg(frame), 24, "ISO_10918_1"),
        "RGB of JPEG": EncodedFrame(dicom.JPEG_BASELINE, "RGB", rgb_jpeg(frame), 6, "ISO_10918_1"),
        "YBR_RCT of JPEG 2000": EncodedFrame(dicom.J2K_LOSSLESS, "YBR_RCT", j2k(frame, reversible=True), 0),
        "YBR_RCT of JPEG 2000 that may lose": EncodedFrame(dicom.J2K, "YBR_RCT", j2k(frame, reversible=True), 0),
        "YBR_ICT of JPEG 2000": EncodedFrame(dicom.J2K, "YBR_ICT", j2k(frame, reversible=False), 2, "ISO_15444_1"),
        "YBR_RCT of HTJ2K": EncodedFrame(
            dicom.HTJ2K, "YBR_RCT", bytes(imagecodecs.htj2k_encode(frame, reversible=True, planar=False)), 0
        ),
        "RGB of JPEG XL": EncodedFrame(oracle.JPEG_XL_LOSSLESS, "RGB", jpegxl(frame, lossless=True), 0),
        "XYB of JPEG XL": EncodedFrame(JPEG_XL, "XYB", jpegxl(frame, distance=0.5), 32, "ISO_18181_1"),
    }


SOURCES = coded_sources()
BECOMES = {
    dicom.EXPLICIT: "RGB", dicom.IMPLICIT: "RGB", dicom.DEFLATED: "RGB", oracle.ENCAPSULATED: "RGB",
    oracle.DEFLATED_FRAMES: "RGB", dicom.RLE: "RGB", dicom.JPEG_SV1: "RGB", dicom.JPEGLS: "RGB",
    dicom.HTJ2K_LOSSLESS: "YBR_RCT", oracle.JPEG_XL_LOSSLESS: "RGB",
}  # fmt: skip


def test_the_codestreams_are_of_the_colours_that_they_are_called() -> None:
    for source in SOURCES.values():
        if source.syntax in J2K_FAMILY:
            stream = oracle.parse(source.stream)
            assert (stream.transform, stream.reversible) == (True, source.photometric == "YBR_RCT")


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
@pytest.mark.parametrize(("to", "photometric"), BECOMES.items(), ids=BECOMES.keys())
def test_colours_of_codestreams_become_rgb(
    source: EncodedFrame, to: str, photometric: str, src: Path, dst: Path
) -> None:
    """PS3.5 8.2.1, 8.2.4. And a loss that the source keeps silent about is told of, without a new instance."""
    src.write_bytes(source.image().encode())
    outcome = transcode(src, dst, to=to)
    walked = dicom.walk(dst.read_bytes())
    said = oracle.attributes(walked)
    assert (said.photometric, said.planar, said.samples) == (photometric, 0, 3)
    (found,) = oracle.decoded(dst.read_bytes(), outcome.encoder)
    assert np.abs(found.astype(int) - waves(COLOUR)).max() <= source.off
    elements = walked.elements
    assert elements[0x00080018].text == walked.meta[0x00020003].text == "1.2.3.4"
    assert elements[0x00080008].text == "ORIGINAL\\PRIMARY"
    assert (0x00282110 in elements) == (0x00282114 in elements) == (0x00282112 in elements) == bool(source.method)
    if source.method:
        assert (elements[0x00282110].text, elements[0x00282114].text) == ("01", source.method)


def test_ybr_full_of_rle_stays(src: Path, dst: Path) -> None:
    """Exact values are worth more than RGB (PS3.5 8.2.2)."""
    fmt = Format("YBR_FULL", 8, 8)
    frames = images.make_frames(fmt, SIDE, SIDE)
    image = images.image(fmt, frames, syntax=dicom.RLE, planar=1)
    image.pixels = [images.annex_g(fmt, frame) for frame in frames]
    src.write_bytes(image.encode())
    for to in (dicom.EXPLICIT, dicom.JPEGLS, dicom.J2K_LOSSLESS, dicom.JPEG_SV1, oracle.DEFLATED_FRAMES):
        outcome = transcode(src, dst, to=to)
        said = oracle.attributes(dicom.walk(dst.read_bytes()))
        assert (said.photometric, said.planar) == ("YBR_FULL", 0)
        assert not oracle.different(frames, oracle.decoded(dst.read_bytes(), outcome.encoder))


GREY_JPEG = jpeg(waves(GREY))
RECOMPRESSED = {
    "grey": coded_image("MONOCHROME2", GREY_JPEG),
    "RGB": coded_image("RGB", rgb_jpeg(waves(COLOUR))),
    "YBR_FULL_422": coded_image("YBR_FULL_422", ybr_jpeg(waves(COLOUR))),
}
NOT_RECOMPRESSED = {
    "native cells": (PLAIN, "E_NEEDS_JPEG"),
    "lossless JPEG": (
        coded_image("MONOCHROME2", bytes(imagecodecs.jpeg8_encode(waves(GREY), lossless=True, predictor=1)),
                 dicom.JPEG_SV1),
        "E_NEEDS_JPEG",
    ),
    "JPEG Extended": (coded_image("MONOCHROME2", GREY_JPEG, dicom.JPEG_EXTENDED), "E_NEEDS_JPEG"),
    "MONOCHROME1": (coded_image("MONOCHROME1", GREY_JPEG), "E_PI"),
    "YBR_FULL": (coded_image("YBR_FULL", jpeg(waves(COLOUR))), "E_PI"),
}  # fmt: skip


@pytest.mark.parametrize("image", RECOMPRESSED.values(), ids=RECOMPRESSED.keys())
def test_jpeg_becomes_jpeg_xl_and_comes_back_to_the_byte(image: dicom.Image, src: Path, dst: Path) -> None:
    """PS3.5 8.2.15, 10.19: nothing is decoded, so that nothing is lost, and the instance is the same."""
    src.write_bytes(image.encode())
    transcode(src, dst, to="jpegxl-jpeg")
    walked = dicom.walk(dst.read_bytes())
    assert walked.syntax == oracle.JPEG_XL_JPEG
    check_pixel_element(walked)
    assert oracle.attributes(walked) == oracle.attributes(dicom.walk(src.read_bytes()))
    assert walked.elements[0x00080018].text == "1.2.3.4"
    (stream,) = walked.fragments
    assert imagecodecs.jpegxl_decode_jpeg(stream) == image.pixels[0]
    back = src.with_name("back.dcm")
    transcode(dst, back, to="jpeg-baseline")
    (stream,) = dicom.walk(back.read_bytes()).fragments
    assert stream.rstrip(b"\0") == image.pixels[0].rstrip(b"\0")


@pytest.mark.parametrize(("image", "code"), NOT_RECOMPRESSED.values(), ids=NOT_RECOMPRESSED.keys())
def test_only_jpeg_baseline_becomes_jpeg_xl_to_the_byte(image: dicom.Image, code: str, src: Path, dst: Path) -> None:
    error = refusal(image.encode(), src, dst, to="jpegxl-jpeg")
    assert verdict(error) == (5, code)
    nearest = re.search(r"; use --to (\S+)$", str(error))
    assert nearest is not None
    transcode(src, dst, to=nearest[1])


# --- the smallest files in which something can go wrong --------------------------------------------------------

ICON = 0x00880200
ICON_WORDS = images.make_frames(GREY, 3, 5)[0]


def icon(syntax: str) -> dict[int, bytes]:
    """Return an Icon Image Sequence of 3x5 pixels, encapsulated as RLE or native."""
    pixels: Any = images.cells(GREY, [ICON_WORDS])
    encoded = dicom.element(dicom.PIXEL_DATA, "OW" if syntax == dicom.IMPLICIT else "OB", pixels, syntax)
    if syntax == dicom.RLE:
        encoded = dicom.encapsulated([images.annex_g(GREY, ICON_WORDS)])
    inside = images.image(GREY, [ICON_WORDS], syntax=syntax).elements()
    item = b"".join(encoding for tag, encoding in inside.items() if tag >> 16 == 0x0028) + encoded
    return {ICON: dicom.sequence(ICON, [item], syntax if syntax == dicom.IMPLICIT else dicom.EXPLICIT)}


def check_icon(walked: dicom.Walked) -> None:
    """Assert that the icon is what it was, native or in the syntax of the file, as PS3.5 A.4 wants it."""
    (item,) = walked.elements[ICON].items or []
    found = item[dicom.PIXEL_DATA]
    if found.fragments is None:
        assert found.value == images.cells(GREY, [ICON_WORDS])
        return
    assert walked.syntax not in oracle.NATIVE
    said = oracle.attributes(dicom.Walked(b"", {}, item, [], b""))
    (stream,) = found.fragments[1:]
    assert np.array_equal(oracle.other_library(walked.syntax)(stream, said), ICON_WORDS)


SIGNED = Format("MONOCHROME2", 16, 12, signed=True)
# Implicit VR: whether these are US or SS is decided by the Pixel Representation around them (PS3.5 A.1).
BY_SIGN = {
    0x00280106: b"\x00\xf8", 0x00280107: b"\xff\x07", 0x00280120: b"\x30\xf8", 0x00280121: b"\x31\xf8",
}  # fmt: skip
LUT = b"".join(
    dicom.element(tag, vr, value, dicom.IMPLICIT)
    for tag, vr, value in ((0x00283002, "US", b"\x04\x00\x00\xf8\x10\x00"), (0x00283003, "LO", "a table"),
                           (0x00283006, "US", bytes(range(8))))
)  # fmt: skip
IN_IMPLICIT = {tag: dicom.element(tag, "SS", value, dicom.IMPLICIT) for tag, value in BY_SIGN.items()} | {
    0x00283000: dicom.sequence(0x00283000, [LUT], dicom.IMPLICIT),
}


def check_by_sign(walked: dicom.Walked) -> None:
    for tag, value in BY_SIGN.items():
        assert walked.elements[tag].value == value
        assert walked.elements[tag].vr == ("" if walked.syntax == dicom.IMPLICIT else "SS")
    (table,) = walked.elements[0x00283000].items or []
    assert table[0x00283002].value == b"\x04\x00\x00\xf8\x10\x00"
    assert table[0x00283002].vr == ("" if walked.syntax == dicom.IMPLICIT else "SS")
    assert table[0x00283006].value == bytes(range(8))
    assert table[0x00283006].vr in ("", "US", "OW")


INSIDE_UN = dicom.element(0x00091004, "LO", "implicit", dicom.IMPLICIT)
PRIVATE = {
    0x00090010: dicom.element(0x00090010, "LO", "A MAKER"),
    0x00091001: dicom.element(0x00091001, "UN", b"\1\2\3\4"),
    0x00091002: dicom.sequence(0x00091002, [INSIDE_UN], undefined=True, vr="UN"),
}


def check_private(walked: dicom.Walked) -> None:
    """Assert that nobody swapped or interpreted what is unknown (PS3.5 6.2.2)."""
    assert walked.elements[0x00090010].text == "A MAKER"
    assert walked.elements[0x00091001].value == b"\1\2\3\4"
    assert walked.elements[0x00091001].vr in ("", "UN")
    (item,) = walked.elements[0x00091002].items or []
    assert item[0x00091004].text == "implicit"


@dataclass(frozen=True)
class Vector:
    """A small file, its frames, and what besides the pixels must be right."""

    fmt: Format
    frames: list[Words]
    more: dict[str, Any] = field(default_factory=dict)
    fragments: tuple[bytes, ...] = ()
    check: Callable[[dicom.Walked], None] | None = None

    def encode(self) -> bytes:
        image = images.image(self.fmt, self.frames, **self.more)
        return (replace(image, pixels=self.fragments) if self.fragments else image).encode()


def jpeg_ls_halves(fmt: Format, frames: list[Words]) -> tuple[bytes, ...]:
    """Return the codestreams of these frames in two fragments each, of which only the last may be of odd length."""
    streams = [bytes(imagecodecs.jpegls_encode(frame)) for frame in frames]
    return tuple(part for stream in streams for part in (stream[:20], stream[20:]))


def vectors() -> dict[str, Vector]:
    bit, colour = Format("MONOCHROME2", 1, 1), Format("RGB", 8, 8)
    odd = images.make_frames(GREY, 5, 7, FRAMES)
    return {
        "one bit, two frames of nine pixels": Vector(bit, images.make_frames(bit, 3, 3, 2)),
        "one pixel": Vector(GREY, images.make_frames(GREY, 1, 1)),
        "odd Columns and frames of odd length": Vector(GREY, odd),
        "colour of odd length": Vector(colour, images.make_frames(colour, 3, 3, FRAMES)),
        "colour by plane": Vector(colour, images.make_frames(colour, 5, 7, FRAMES), {"planar": 1}),
        "negative values": Vector(SIGNED, images.make_frames(SIGNED, 5, 7, FRAMES)),
        "a native icon": Vector(GREY, odd, {"before": icon(dicom.EXPLICIT)}, (), check_icon),
        "an icon of Implicit VR": Vector(
            GREY, odd, {"before": icon(dicom.IMPLICIT), "syntax": dicom.IMPLICIT}, (), check_icon
        ),
        "an encapsulated icon": Vector(
            GREY, odd, {"before": icon(dicom.RLE), "syntax": dicom.RLE},
            tuple(images.annex_g(GREY, frame) for frame in odd), check_icon,
        ),
        "signs decided by Pixel Representation": Vector(
            SIGNED, images.make_frames(SIGNED, 5, 7, FRAMES), {"before": IN_IMPLICIT, "syntax": dicom.IMPLICIT}, (),
            check_by_sign,
        ),
        "private elements that nobody knows": Vector(GREY, odd, {"before": PRIVATE}, (), check_private),
        "frames in two fragments each without offsets": Vector(
            GREY, odd, {"syntax": dicom.JPEGLS}, jpeg_ls_halves(GREY, odd)
        ),
    }  # fmt: skip


VECTORS = vectors()
ALL_LOSSLESS = (dicom.EXPLICIT, dicom.IMPLICIT, dicom.DEFLATED, dicom.BIG_ENDIAN, *ENCAPSULATED_TARGETS)
HOLDS_BITS = {*oracle.NATIVE, oracle.ENCAPSULATED, oracle.DEFLATED_FRAMES}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
@pytest.mark.parametrize("to", ALL_LOSSLESS)
def test_the_smallest_files(vector: Vector, to: str, src: Path, dst: Path) -> None:
    unproven = to in oracle.JPEG_XL | {JPEG_XL} and (vector.fmt.signed or vector.fmt.allocated == 1)
    if unproven or (vector.fmt.allocated == 1 and to not in HOLDS_BITS):
        error = refusal(vector.encode(), src, dst, to=to)
        assert verdict(error) == ((4, "E_UNVERIFIED") if unproven else (5, "E_BITS"))
        return
    src.write_bytes(vector.encode())
    outcome = transcode(src, dst, to=to, force=True)
    walked = dicom.walk(dst.read_bytes())
    assert walked.syntax == to
    assert oracle.attributes(walked).planar in ((0, None) if to not in oracle.NATIVE else (0, 1, None))
    if vector.check is not None:
        vector.check(walked)
    assert not oracle.different(vector.frames, oracle.decoded(dst.read_bytes(), outcome.encoder))
    check_identity(dicom.walk(src.read_bytes()), walked, to, loses=False)
