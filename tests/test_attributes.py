"""What of a data set changes, and nothing else does: byte for byte between explicit little-endian syntaxes.

And what changes is the truth about what was written, as the codestream itself says.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dicom
import images
import oracle
import pytest
from images import Format
from pydicom.encaps import generate_frames, parse_basic_offsets
from test_matrix import COMPRESSED, FIRST_OF_FAMILY, convert, legal, name
from test_real import FILES, VARIETY, syntax_of

from dcmtx import transcode
from dcmtx.errors import RefusedError, UnsupportedError
from dcmtx.syntax import BY_UID

PHOTOMETRIC, PLANAR, HIGH_BIT = 0x00280004, 0x00280006, 0x00280102
OFFSETS, OFFSET_LENGTHS, TOTAL_LENGTH = 0x7FE00001, 0x7FE00002, 0x7FE00003
TRAILING_PADDING = 0xFFFCFFFC
# What says that an image is derived or lossy (PS3.3 C.7.6.1.1.2, C.7.6.1.1.5, C.12.4).
DERIVED = (0x00080012, 0x00080013, 0x00082111, 0x00082112, 0x00089124, 0x00089215, 0x00282110, 0x00282112, 0x00282114)


def before_pixels(walked: dicom.Walked) -> bytes:
    """Return the bytes of the data set in front of Pixel Data."""
    return walked.dataset[: walked.dataset.index(walked.elements[dicom.PIXEL_DATA].raw)]


def expected_bytes(walked: dicom.Walked, written: dicom.Walked, may_change: frozenset[int], *, behind: bool) -> bytes:
    """Return the bytes of the source on one side of Pixel Data, with those of `may_change` as they were written.

    Group lengths are left out at top level, and trailing padding: both are retired.
    """
    out = []
    tags = sorted({*walked.elements, *(written.elements.keys() & may_change)})
    for tag in tags:
        if tag == dicom.PIXEL_DATA or (tag > dicom.PIXEL_DATA) != behind:
            continue
        if tag & 0xFFFF == 0 or tag == TRAILING_PADDING:
            continue
        source = written if tag in may_change else walked
        if tag in source.elements:
            out.append(source.elements[tag].raw)
    return b"".join(out)


def assert_kept(source: bytes, out: bytes, may_change: frozenset[int]) -> None:
    """Assert that nothing but these elements, Pixel Data and group 0002 differs."""
    walked, written = dicom.walk(source), dicom.walk(out)
    assert before_pixels(written) == expected_bytes(walked, written, may_change, behind=False)
    start = written.dataset.index(written.elements[dicom.PIXEL_DATA].raw) + len(written.elements[dicom.PIXEL_DATA].raw)
    assert written.dataset[start:] == expected_bytes(walked, written, may_change, behind=True)
    assert written.preamble == walked.preamble


# --- one data set with everything in it ------------------------------------------------------------------------

ITEM = dicom.element(0x00080100, "SH", "A code") + dicom.element(0x00080104, "LO", "in an item")
WITHIN = dicom.element(0x00091004, "LO", b"implicit", dicom.IMPLICIT)
ODDITIES = {
    0x00080005: dicom.element(0x00080005, "CS", "ISO_IR 100"),
    0x00080022: dicom.element(0x00080022, "DA", b"2001 .01"),
    0x00081030: dicom.element(0x00081030, "LO", "M\xfcller \\ zwei\\ \\".encode("latin-1")),
    0x00081115: dicom.sequence(0x00081115, [dicom.sequence(0x00081199, [ITEM, b""]), ITEM]),
    0x00081140: dicom.sequence(0x00081140, [dicom.sequence(0x00081199, [ITEM, b""], undefined=True)], undefined=True),
    0x00082218: dicom.sequence(0x00082218, []),
    0x00090010: dicom.element(0x00090010, "LO", "A MAKER"),
    0x00091001: dicom.header(0x00091001, "UN", 5) + b"12345",
    0x00091002: dicom.element(0x00091002, "UN", b"\0\1\2\3"),
    0x00091003: dicom.sequence(0x00091003, [WITHIN], undefined=True, vr="UN"),
    0x00091005: dicom.element(0x00091005, "OB", bytes(range(256)) * 300),
    0x00091006: dicom.element(0x00091006, "FD", b"\x9a\x99\x99\x99\x99\x99\xb9\x3f"),
    0x00091007: dicom.element(0x00091007, "UV", bytes(range(8))),
    0x00100010: dicom.element(0x00100010, "PN", b"Nul\0inside^=  "),
    0x00100030: dicom.element(0x00100030, "DA", b""),
    0x00104000: dicom.element(0x00104000, "LT", b"lines\r\n\tand tabs "),
    0x00280034: dicom.element(0x00280034, "IS", b"1 \\ 1 "),
    0x00283010: dicom.sequence(0x00283010, [dicom.element(0x00283002, "US", [256, 0, 16])], undefined=True),
    0x30060010: dicom.sequence(0x30060010, [ITEM]),
}
BEHIND = (
    dicom.element(0x7FE10010, "LO", "A MAKER"),
    dicom.element(0x7FE11001, "UN", b"behind"),
    dicom.sequence(0x7FE11002, [ITEM, ITEM], undefined=True),
)
META = (
    dicom.element(0x00020013, "SH", "SOMEBODY ELSE"),
    dicom.element(0x00020016, "AE", "SENDER"),
    dicom.element(0x00020100, "UI", "1.2.3.4.5"),
    dicom.element(0x00020102, "OB", b"private"),
)
PREAMBLE = bytes(range(128))
FORMATS = (
    Format("MONOCHROME2", 16, 12, signed=True),
    Format("MONOCHROME1", 8, 8),
    Format("PALETTE COLOR", 8, 8),
    Format("RGB", 8, 8),
    Format("YBR_FULL", 8, 8),
)


def everything(fmt: Format, **more: Any) -> bytes:
    """Return a file of this format with all oddities that the data set of an explicit syntax may hold."""
    before = ODDITIES | (images.palette() if fmt.photometric == "PALETTE COLOR" else {}) | more.pop("before", {})
    settings = {"behind": BEHIND, "meta": META, "preamble": PREAMBLE} | more
    return images.image(fmt, images.make_frames(fmt, 5, 7, 3), before=before, **settings).encode()


def pairs(uids: Iterable[str], formats: Iterable[Format]) -> list[Any]:
    """Return those formats with those syntaxes that hold them."""
    return [
        pytest.param(fmt, uid, id=f"{fmt} as {name(BY_UID[uid])}")
        for fmt in formats
        for uid in uids
        if legal(BY_UID[uid], fmt)
    ]


@pytest.mark.parametrize(("fmt", "uid"), pairs(COMPRESSED, FORMATS))
def test_all_other_bytes_stay(fmt: Format, uid: str, tmp_path: Path) -> None:
    """There, from there to another codestream, and back: only Photometric Interpretation may change."""
    source, coded, other, back = (tmp_path / f"{what}.dcm" for what in ("source", "coded", "other", "back"))
    source.write_bytes(everything(fmt))
    colour = frozenset([PHOTOMETRIC])
    transcode(source, coded, to=uid)
    assert_kept(source.read_bytes(), coded.read_bytes(), colour)
    transcode(coded, other, to="rle" if uid != dicom.RLE else "jpeg")
    assert_kept(source.read_bytes(), other.read_bytes(), colour)
    transcode(other, back, to="explicit")
    assert_kept(source.read_bytes(), back.read_bytes(), frozenset())
    assert dicom.walk(back.read_bytes()).dataset == dicom.walk(source.read_bytes()).dataset


@pytest.mark.parametrize("to", ["deflated", *(name(BY_UID[uid]) for uid in FIRST_OF_FAMILY)])
def test_retired_elements_go_and_nothing_else(to: str, tmp_path: Path) -> None:
    """Group lengths, nested ones too, and Data Set Trailing Padding are retired (PS3.5 7.2, PS3.10 7.2)."""
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    fmt = Format("MONOCHROME2", 8, 8)
    length = dicom.element(0x00080000, "UL", [1234])
    nested = {
        0x00081110: dicom.sequence(0x00081110, [length + ITEM]),
        0x00081111: dicom.sequence(0x00081111, [ITEM, length + ITEM], undefined=True),
    }
    groups = {group << 16: dicom.element(group << 16, "UL", [99]) for group in (0x0008, 0x0009, 0x0028, 0x7FE0)}
    padding = dicom.header(TRAILING_PADDING, "OB", 10) + bytes(10)
    source.write_bytes(everything(fmt, before=nested | groups, behind=[*BEHIND, padding]))
    transcode(source, out, to=to)
    assert_kept(source.read_bytes(), out.read_bytes(), frozenset(nested))
    written = dicom.walk(out.read_bytes())
    assert not [tag for tag in written.order if tag & 0xFFFF == 0 or tag == TRAILING_PADDING]
    assert written.elements[0x00081110].raw == dicom.sequence(0x00081110, [ITEM])
    assert written.elements[0x00081111].raw == dicom.sequence(0x00081111, [ITEM, ITEM], undefined=True)


# They have no preamble, or are not in the syntax that they name, or something follows the deflated stream.
IMPURE = ("JLSL_RGB_ILV1.dcm", "OT-PAL-8-face.dcm", "SC_rgb_jpeg.dcm", "image_dfl.dcm")
EXPLICIT_FILES = [
    key
    for key in VARIETY
    if key.split("/")[-1] not in IMPURE and syntax_of(FILES[key]) not in (dicom.IMPLICIT, dicom.BIG_ENDIAN)
]


@pytest.mark.parametrize("key", EXPLICIT_FILES)
def test_real_data_sets_stay(key: str, tmp_path: Path) -> None:
    """Of every real file whose data set is Explicit VR Little Endian: into Explicit, RLE and JPEG 2000."""
    walked = dicom.walk(FILES[key].read_bytes())
    out = tmp_path / "out.dcm"
    may_change = {PHOTOMETRIC, PLANAR}
    if any(not stream.reversible for stream in headers(walked)):
        # A lossy stream whose data set does not say so makes it say so (PS3.3 C.7.6.1.1.5).
        may_change |= {0x00282110, 0x00282112, 0x00282114}
    # Sequences that lose retired group lengths are compared by what else is in them.
    lose = {tag for tag, found in walked.elements.items() if bare(found) != bare(found, lengths=True)}
    for to in ("explicit", "rle", "j2k"):
        try:
            transcode(FILES[key], out, to=to, force=True)
        except (RefusedError, UnsupportedError):
            continue
        assert_kept(FILES[key].read_bytes(), out.read_bytes(), frozenset(may_change | lose))
        written = dicom.walk(out.read_bytes())
        for tag in lose:
            assert bare(walked.elements[tag]) == bare(written.elements[tag], lengths=True)


def bare(found: dicom.Found, *, lengths: bool = False) -> Any:
    """Return an element without its own length: VR and value, or items; group lengths only if they are asked for."""
    if found.items is None:
        return found.vr, found.value
    return [
        {tag: bare(inner, lengths=lengths) for tag, inner in item.items() if lengths or tag & 0xFFFF}
        for item in found.items
    ]


def headers(walked: dicom.Walked) -> list[oracle.Stream]:
    """Return what the codestreams of a file say, where they can be parsed."""
    if walked.syntax not in oracle.JPEG | oracle.JPEGLS | oracle.J2K | oracle.HTJ2K:
        return []
    streams = [
        fragment[fragment.index(b"\xff\x4f\xff\x51") :] if b"jP  " in fragment[:8] else fragment
        for fragment in walked.fragments
    ]
    return [oracle.parse(stream) for stream in streams if stream[:1] == b"\xff"]


# --- identity --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["explicit", "implicit", "big-endian", "deflated", "rle", "jpeg", "j2k", "htj2k-rpcl"])
def test_file_meta_information_is_what_the_file_is(to: str, tmp_path: Path) -> None:
    """Syntax and implementation are new, class and instance those of the data set, the rest stays (PS3.10 7.1)."""
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    fmt = Format("MONOCHROME2", 8, 8)
    own = {0x00080018: dicom.element(0x00080018, "UI", "1.2.3.4.5.6")}
    frames = images.make_frames(fmt, 5, 7)
    source.write_bytes(images.image(fmt, frames, before=own, meta=META, preamble=PREAMBLE).encode())
    outcome = transcode(source, out, to=to, force=True)
    written = dicom.walk(out.read_bytes())
    assert written.preamble == PREAMBLE
    assert written.meta[0x00020001].value == b"\0\1"
    assert written.meta[0x00020002].text == written.elements[0x00080016].text == dicom.SECONDARY_CAPTURE
    assert written.meta[0x00020003].text == written.elements[0x00080018].text == "1.2.3.4.5.6"
    assert written.meta[0x00020010].text == outcome.syntax_out
    assert written.meta[0x00020012].text not in ("1.2.3", "")
    assert written.meta[0x00020013].text.startswith("DCMTX")
    assert [written.meta[tag].raw for tag in (0x00020016, 0x00020100, 0x00020102)] == list(META[1:])
    assert list(written.meta) == sorted(written.meta)


@pytest.mark.parametrize("uid", COMPRESSED, ids=lambda uid: f"to {name(BY_UID[uid])}")
def test_a_lossless_image_is_not_derived(uid: str, tmp_path: Path) -> None:
    """The instance stays what it is (PS3.3 C.7.6.1.1.2), also under a syntax that may lose (PS3.5 8.2.3, 8.2.4)."""
    source, out, back = (tmp_path / f"{what}.dcm" for what in ("source", "out", "back"))
    source.write_bytes(everything(Format("MONOCHROME2", 8, 8)))
    transcode(source, out, to=uid)
    transcode(out, back, to="explicit")
    for path in (out, back):
        written = dicom.walk(path.read_bytes())
        assert not written.elements.keys() & set(DERIVED)
        assert written.elements[0x00080008].text == "ORIGINAL\\PRIMARY"
        assert written.elements[0x00080018].text == written.meta[0x00020003].text == "1.2.3.4"


# --- the truth about the pixels --------------------------------------------------------------------------------

TOLD = (
    Format("MONOCHROME1", 8, 8),
    Format("MONOCHROME2", 8, 1),
    Format("MONOCHROME2", 8, 7),
    Format("MONOCHROME2", 16, 5, signed=True),
    Format("MONOCHROME2", 16, 12, signed=True),
    Format("MONOCHROME2", 16, 16, signed=True),
    Format("MONOCHROME2", 32, 16),
    Format("PALETTE COLOR", 16, 16),
    Format("RGB", 8, 8),
    Format("RGB", 16, 12),
    Format("YBR_FULL", 8, 8),
)
# What a codestream of each family says of itself, whatever is in it.
SAYS: dict[str, dict[str, Any]] = {
    "jpeg": {"kind": "jpeg", "process": 0xC3, "predictor": 1, "reversible": True},
    "jpegls": {"kind": "jpegls", "near": 0, "reversible": True},
    "j2k": {"kind": "j2k", "reversible": True},
    "htj2k": {"kind": "htj2k", "reversible": True},
}


@pytest.mark.parametrize(("fmt", "uid"), pairs([uid for uid in COMPRESSED if BY_UID[uid].family in SAYS], TOLD))
def test_attributes_say_what_the_codestream_says(fmt: Format, uid: str, tmp_path: Path) -> None:
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    planar = 1 if fmt.samples == 3 else 0
    source.write_bytes(images.image(fmt, images.make_frames(fmt, 9, 13, 3), planar=planar).encode())
    transcode(source, out, to=uid)
    said = oracle.attributes(dicom.walk(out.read_bytes()))
    assert (said.rows, said.columns, said.frames, said.allocated) == (9, 13, 3, fmt.allocated)
    assert (said.stored, said.high_bit, said.signed) == (fmt.stored, fmt.stored - 1, fmt.signed)
    assert said.planar == (0 if fmt.samples == 3 else None)
    family = BY_UID[uid].family
    for stream in map(oracle.parse, oracle.codestreams(out.read_bytes())):
        assert {key: getattr(stream, key) for key in SAYS[family]} == SAYS[family]
        assert (stream.rows, stream.columns, stream.components) == (9, 13, said.samples)
        # JPEG has no precision of 1.
        assert stream.precision == (8 if family == "jpeg" and fmt.stored == 1 else fmt.stored)
        assert stream.signed == (fmt.signed if family in ("j2k", "htj2k") else None)
        assert bool(stream.transform) == (said.photometric == "YBR_RCT")
        assert_not_marked_as_ycc(stream)
    transformed = fmt.photometric == "RGB" and family in ("j2k", "htj2k")
    assert said.photometric == ("YBR_RCT" if transformed else fmt.photometric)


def assert_not_marked_as_ycc(stream: oracle.Stream) -> None:
    """Assert that no marker tells a decoder to undo a transform that was not done: JFIF, Adobe's 1, SPIFF."""
    if stream.kind in ("jpeg", "jpegls") and stream.components == 3:
        adobe = stream.segment(0xFFEE)
        assert stream.segment(0xFFE0) is None
        assert stream.segment(0xFFE8) is None
        assert adobe is None or adobe[11] == 0


@pytest.mark.parametrize("to", ["rle", "jpeg", "jpegls", "j2k", "htj2k"])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_high_bit_becomes_legal(signed: bool, to: str, tmp_path: Path) -> None:
    """Words whose value is in their upper bits are shifted down (PS3.5 8.1.1 Note 3)."""
    fmt, upper = Format("MONOCHROME2", 16, 12, signed), Format("MONOCHROME2", 16, 16, signed)
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    frames = images.make_frames(fmt, 5, 7, 3)
    shifted = [frame << 4 for frame in frames]
    source.write_bytes(images.image(upper, shifted, stored=12, high_bit=15).encode())
    outcome = transcode(source, out, to=to)
    said = oracle.attributes(dicom.walk(out.read_bytes()))
    assert (said.allocated, said.stored, said.high_bit) == (16, 12, 11)
    assert not oracle.different(frames, oracle.decoded(out.read_bytes(), outcome.encoder))


@pytest.mark.parametrize(
    ("colour", "to", "back"), [("RGB", "j2k", "RGB"), ("RGB", "rle", "RGB"), ("YBR_FULL", "htj2k", "YBR_FULL")]
)
def test_colour_by_plane_becomes_colour_by_pixel(colour: str, to: str, back: str, tmp_path: Path) -> None:
    source, coded, native = (tmp_path / f"{what}.dcm" for what in ("source", "coded", "native"))
    fmt = Format(colour, 8, 8)
    source.write_bytes(everything(fmt, planar=1))
    transcode(source, coded, to=to)
    assert_kept(source.read_bytes(), coded.read_bytes(), frozenset([PHOTOMETRIC, PLANAR]))
    transcode(coded, native, to="explicit")
    assert_kept(source.read_bytes(), native.read_bytes(), frozenset([PLANAR]))
    said = oracle.attributes(dicom.walk(native.read_bytes()))
    assert (said.planar, said.photometric) == (0, back)


# --- offset tables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uid", [dicom.RLE, dicom.JPEGLS, dicom.J2K_LOSSLESS, dicom.HTJ2K_RPCL], ids=lambda uid: name(BY_UID[uid])
)
@pytest.mark.parametrize("table", ["auto", "basic", "extended", "empty"])
@pytest.mark.parametrize("count", [1, 2, 7], ids=lambda count: f"{count} frames")
def test_offset_tables_lead_to_the_frames(count: int, table: str, uid: str, tmp_path: Path) -> None:
    """As pydicom reads them (PS3.5 A.4, PS3.3 C.7.6.3.1.8); first from native cells, then around the same streams."""
    fmt = Format("MONOCHROME2", 16, 12)
    source, coded, again = (tmp_path / f"{what}.dcm" for what in ("source", "coded", "again"))
    source.write_bytes(images.image(fmt, images.make_frames(fmt, 5, 7, count)).encode())
    transcode(source, coded, to=uid, offset_table="extended" if table == "basic" else "basic")
    transcode(coded, again, to=uid, offset_table=table)
    fragments = dicom.walk(coded.read_bytes()).fragments
    for path in (coded, again):
        assert dicom.walk(path.read_bytes()).fragments == fragments
    transcode(source, coded, to=uid, offset_table=table)
    kinds = [table] * 2 if table != "auto" else ["basic", table_of(again)]
    for path, kind in zip((coded, again), kinds, strict=True):
        written = dicom.walk(path.read_bytes())
        assert written.fragments == fragments
        assert table_of(path) == kind
        if kind != "empty":
            assert frames_by_table(written, kind) == fragments


def table_of(path: Path) -> str:
    """Return which offset table a file has; Extended Offset Table and its lengths only behind an empty basic one."""
    written = dicom.walk(path.read_bytes())
    extended = OFFSETS in written.elements
    assert extended == (OFFSET_LENGTHS in written.elements)
    assert not (extended and written.offset_table)
    return "extended" if extended else "basic" if written.offset_table else "empty"


def frames_by_table(written: dicom.Walked, kind: str) -> list[bytes]:
    """Return the frames where a table says that they are, read by pydicom."""
    items = written.elements[dicom.PIXEL_DATA].raw[12:]
    if kind == "basic":
        offsets = parse_basic_offsets(items)
        assert offsets == written.offset_table
        assert len(offsets) == len(written.fragments)
        first = 8 + 4 * len(offsets)
        return [
            items[first + at + 8 : first + at + 8 + int.from_bytes(items[first + at + 4 :][:4], "little")]
            for at in offsets
        ]
    tables = written.elements[OFFSETS], written.elements[OFFSET_LENGTHS]
    assert [table.vr for table in tables] == ["OV", "OV"]
    return list(generate_frames(items, extended_offsets=(tables[0].value, tables[1].value)))


@pytest.mark.parametrize("to", ["explicit", "deflated", "rle", "jpegls"])
def test_stale_offset_tables_go(to: str, tmp_path: Path) -> None:
    """Tables of the old codestreams describe nothing any more."""
    fmt = Format("MONOCHROME2", 16, 12)
    source, coded, out = (tmp_path / f"{what}.dcm" for what in ("source", "coded", "out"))
    length = {TOTAL_LENGTH: dicom.element(TOTAL_LENGTH, "UV", bytes(8))}
    source.write_bytes(images.image(fmt, images.make_frames(fmt, 5, 7, 3)).encode())
    transcode(source, coded, to="j2k", offset_table="extended")
    data = coded.read_bytes()
    at = data.index(dicom.header(dicom.PIXEL_DATA, "OB", dicom.UNDEFINED))
    coded.write_bytes(data[:at] + length[TOTAL_LENGTH] + data[at:])
    assert dicom.walk(coded.read_bytes()).elements.keys() >= {OFFSETS, OFFSET_LENGTHS, TOTAL_LENGTH}
    transcode(coded, out, to=to)
    assert not dicom.walk(out.read_bytes()).elements.keys() & {OFFSETS, OFFSET_LENGTHS, TOTAL_LENGTH}


@pytest.mark.parametrize("uid", [dicom.EXPLICIT, dicom.JPEGLS, dicom.J2K_LOSSLESS], ids=lambda uid: name(BY_UID[uid]))
def test_a_file_that_is_there_already_is_copied(uid: str, tmp_path: Path) -> None:
    """Byte for byte, with everything in it that is retired, stale or odd."""
    source, coded, out = (tmp_path / f"{what}.dcm" for what in ("source", "coded", "out"))
    groups = {group << 16: dicom.element(group << 16, "UL", [99]) for group in (0x0008, 0x0009)}
    source.write_bytes(everything(Format("MONOCHROME2", 16, 12), before=groups))
    if uid == dicom.EXPLICIT:
        coded = source
    else:
        convert(source, coded, uid, offset_table="extended")
        data = coded.read_bytes()
        coded.write_bytes(data + dicom.header(TRAILING_PADDING, "OB", 10) + bytes(10))
    transcode(coded, out, to=uid)
    assert out.read_bytes() == coded.read_bytes()
