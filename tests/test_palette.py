"""--apply-palette: PALETTE COLOR becomes RGB, judged by pydicom and DCMTK; the rest is refused."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dicom
import numpy as np
import oracle
import pydicom
import pytest
from conftest import ROOT, need_real, need_tool
from pydicom.pixels import apply_color_lut, pixel_array

import dcmtx
from dcmtx.dataset.element import tag_text
from dcmtx.errors import DcmtxError, InputError, RefusedError
from dcmtx.pixel.palette import linearised

DESCRIPTORS, TABLES, SEGMENTED = (
    range(0x00281101, 0x00281104),
    range(0x00281201, 0x00281204),
    range(0x00281221, 0x00281224),
)
PALETTE_TAGS = {*DESCRIPTORS, *TABLES, *SEGMENTED, 0x00281199}
STORAGE = "1.2.840.10008.5.1.4.1.1"
ROWS, COLUMNS = 5, 7


def ramps(entries: int, top: int) -> list[np.ndarray]:
    """Return three tables that are no ramps of one another; none of their 16-bit entries are 8 bits in disguise."""
    places = np.arange(entries)
    return [(places * step + start) % (top + 1) for step, start in ((7, 3), (11, top // 2), (13, top))]


def palette(
    tables: Sequence[Any], bits: int, *, entries: int | None = None, first: int = 0, syntax: str = dicom.EXPLICIT,
    vr: str = "OW", signed: bool = False, width: int | None = None,
) -> dict[int, bytes]:  # fmt: skip
    """Return the elements of a palette: entries of `bits`, each in `width` bits."""
    count = len(tables[0]) if entries is None else entries
    made = {}
    for tag in DESCRIPTORS:
        value = [count % 65536, first % 65536, bits]
        made[tag] = dicom.element(tag, "SS" if signed else "US", np.array(value, "<u2").tobytes(), syntax)
    for tag, table in zip(TABLES, tables, strict=True):
        data = np.asarray(table).astype(f"<u{(width or bits) // 8}").tobytes()
        made[tag] = dicom.element(tag, vr, data + b"\0" * (len(data) % 2), syntax)
    return made


def segmented(segments: Sequence[Sequence[int]], bits: int, entries: int) -> dict[int, bytes]:
    """Return the elements of a segmented palette."""
    made = {tag: dicom.element(tag, "US", [entries % 65536, 0, bits]) for tag in DESCRIPTORS}
    for tag, numbers in zip(SEGMENTED, segments, strict=True):
        data = np.array(numbers, f"<u{bits // 8}").tobytes()
        made[tag] = dicom.element(tag, "OW", data + b"\0" * (len(data) % 2))
    return made


def image(elements: dict[int, bytes], words: np.ndarray | None = None, **more: Any) -> dicom.Image:
    """Return an image in PALETTE COLOR of these indices: every one that 8 bits have, from 0 on, if there are none."""
    allocated = more.setdefault("allocated", 8)
    stored = more.setdefault("stored", allocated)
    if words is None:
        words = np.linspace(0, (1 << stored) - 1, ROWS * COLUMNS).round().astype(f"u{allocated // 8}")
    pixels = words.astype(f"<u{allocated // 8}").tobytes()
    if more.get("syntax") == dicom.BIG_ENDIAN and allocated == 8:
        more["pixel_vr"] = "OB"
    pixels += b"\0" * (len(pixels) % 2)
    return dicom.Image(
        pixels, rows=more.pop("rows", ROWS), columns=COLUMNS, photometric="PALETTE COLOR", before=elements, **more
    )


def expected(data: bytes) -> np.ndarray:
    """Return the colours of an image by pydicom; it does not clip indices below 0 by itself for every version."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    return apply_color_lut(pixel_array(dataset, raw=True), dataset)


def rgb(data: bytes) -> np.ndarray:
    """Return the pixels of a native file by our own reader of cells in the tests."""
    frames = oracle.native(data)
    return frames[0] if len(frames) == 1 else np.stack(frames)


EIGHT, SIXTEEN = ramps(256, 255), ramps(256, 65535)
CASES: dict[str, tuple[Callable[[], dicom.Image], int]] = {
    "8 bits": (lambda: image(palette(EIGHT, 8)), 8),
    "8 bits in OB": (lambda: image(palette(EIGHT, 8, vr="OB")), 8),
    "16 bits": (lambda: image(palette(SIXTEEN, 16)), 16),
    "fewer entries than pixels have values": (lambda: image(palette(ramps(100, 255), 8)), 8),
    "a first value above 0": (lambda: image(palette(ramps(100, 65535), 16, first=60)), 16),
    "65536 entries, which is written 0": (
        lambda: image(palette(ramps(65536, 65535), 16, entries=0), allocated=16), 16),
    "a first value that is no SS": (
        lambda: image(palette(ramps(1000, 65535), 16, first=40000), allocated=16), 16),
    "fewer bits stored": (lambda: image(palette(ramps(64, 255), 8), stored=6), 8),
    "12 bits in 16": (lambda: image(palette(ramps(4096, 65535), 16), allocated=16, stored=12), 16),
    "implicit": (
        lambda: image(palette(SIXTEEN, 16, syntax=dicom.IMPLICIT), syntax=dicom.IMPLICIT), 16),
    "deflated": (lambda: image(palette(SIXTEEN, 16), syntax=dicom.DEFLATED), 16),
    "segments of 16 bits": (lambda: image(segmented([[0, 2, 5, 9, 1, 253, 60000, 0, 1, 3]] * 3, 16, 256)), 16),
    "segments of 8 bits": (
        lambda: image(segmented([[0, 1, 200, 1, 255, 0], [0, 1, 0, 1, 255, 255], [0, 1, 9, 1, 100, 30, 1, 155, 31]],
                                8, 256)), 8),
    "a segment that is used again": (
        # Two values and a line, at byte 0; then both once more.
        lambda: image(segmented([[0, 2, 7, 1000, 1, 126, 9000, 2, 2, 0, 0]] * 3, 16, 256)), 16),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_colours_are_those_of_the_palette(kind):
    make, bits = CASES[kind]
    source = make().encode()
    made = dcmtx.transcode(source, to="raw", apply_palette=True)
    walked = dicom.walk(made)
    assert walked.elements[0x00280100].number == walked.elements[0x00280101].number == bits
    assert walked.elements[0x00280102].number == bits - 1
    assert walked.elements[0x00280002].number == 3
    assert walked.elements[0x00280004].text == "RGB"
    assert walked.elements[0x00280006].number == 0
    assert not PALETTE_TAGS & set(walked.elements)
    # Only native files that are not deflated are raw already.
    assert walked.syntax == (dicom.IMPLICIT if kind == "implicit" else dicom.EXPLICIT)
    np.testing.assert_array_equal(rgb(made), expected(source))


def test_big_endian_words_of_8_bit_entries_are_swapped_back():
    """pydicom does not swap them, so the judge is the same palette in little endian."""
    big = image(palette(EIGHT, 8, syntax=dicom.BIG_ENDIAN), syntax=dicom.BIG_ENDIAN).encode()
    made = dcmtx.transcode(big, to="explicit", apply_palette=True)
    np.testing.assert_array_equal(rgb(made), expected(image(palette(EIGHT, 8)).encode()))
    made = dcmtx.transcode(
        image(palette(SIXTEEN, 16, syntax=dicom.BIG_ENDIAN), syntax=dicom.BIG_ENDIAN).encode(),
        to="big-endian",
        apply_palette=True,
    )
    walked = dicom.walk(made)
    np.testing.assert_array_equal(
        np.frombuffer(walked.elements[dicom.PIXEL_DATA].value[: ROWS * COLUMNS * 6], "<u2").reshape(ROWS, COLUMNS, 3),
        expected(image(palette(SIXTEEN, 16)).encode()),
    )


def test_an_odd_number_of_entries_is_padded():
    """pydicom takes the pad byte for an entry."""
    made = dcmtx.transcode(image(palette(ramps(255, 255), 8)).encode(), to="raw", apply_palette=True)
    indices = np.linspace(0, 255, ROWS * COLUMNS).round().astype(int).reshape(ROWS, COLUMNS)
    np.testing.assert_array_equal(rgb(made), np.stack(ramps(255, 255), axis=-1)[np.minimum(indices, 254)])


def test_a_first_value_may_be_below_0():
    """Pixels are not signed, so all of them are past it: index 0 is entry 100."""
    made = dcmtx.transcode(
        image(palette(ramps(200, 255), 8, first=-100, signed=True)).encode(), to="raw", apply_palette=True
    )
    tables = np.stack(ramps(200, 255), axis=-1)
    indices = np.linspace(0, 255, ROWS * COLUMNS).round().astype(int).reshape(ROWS, COLUMNS)
    np.testing.assert_array_equal(rgb(made), tables[np.clip(indices + 100, 0, 199)])


@pytest.mark.parametrize(
    ("tables", "width"),
    [([257 * table for table in EIGHT], 16), ([table << 8 for table in EIGHT], 16), (EIGHT, 8)],
    ids=["repeated", "shifted up", "in bytes, whatever the descriptor says"],
)
def test_8_bits_that_are_stored_in_16_are_8_bits(tables, width, tmp_path):
    source = tmp_path / "in.dcm"
    source.write_bytes(image(palette(tables, 16, width=width)).encode())
    outcome = dcmtx.transcode(source, tmp_path / "out.dcm", to="raw", apply_palette=True)
    assert [note.code for note in outcome.notes] == (["N_PALETTE"] if width == 16 else [])
    np.testing.assert_array_equal(rgb((tmp_path / "out.dcm").read_bytes()), expected(image(palette(EIGHT, 8)).encode()))


def test_8_bit_entries_in_words_of_16():
    made = dcmtx.transcode(image(palette(EIGHT, 8, width=16)).encode(), to="raw", apply_palette=True)
    np.testing.assert_array_equal(rgb(made), expected(image(palette(EIGHT, 8)).encode()))


@pytest.mark.parametrize("name", ["us-palette-8", "sc-palette-16"])
def test_dcmtk_shows_the_same_before_and_after(name, tmp_path):
    source, made = ROOT / "testdata" / f"{name}.dcm", tmp_path / "rgb.dcm"
    dcmtx.transcode(source, made, to="explicit", apply_palette=True)
    shown = []
    for path in (source, made):
        picture = tmp_path / "picture.ppm"
        subprocess.run([need_tool("dcmj2pnm"), "+op", str(path), str(picture)], check=True, timeout=60)
        shown.append(picture.read_bytes())
    assert shown[0][:2] == b"P6"
    # It scales 16 bits to 8 by another rule for palettes than for RGB.
    difference = np.abs(np.frombuffer(shown[0], np.uint8).astype(int) - np.frombuffer(shown[1], np.uint8))
    assert difference.max() <= (0 if name == "us-palette-8" else 1)


@pytest.mark.parametrize("to", ["rle", "jpeg-lossless", "jpegls", "j2k", "htj2k", "deflated-frames", "encapsulated"])
@pytest.mark.parametrize("first", ["raw", "rle"])
def test_every_lossless_target_holds_the_same_colours(first, to, tmp_path):
    source = image(palette(EIGHT, 8), np.arange(3 * ROWS * COLUMNS) % 256, frames=3).encode()
    made = dcmtx.transcode(dcmtx.transcode(source, to=first), to=to, apply_palette=True)
    native = dcmtx.transcode(made, to="explicit")
    np.testing.assert_array_equal(rgb(native), expected(source))
    assert dicom.walk(made).elements[0x00280004].text == ("YBR_RCT" if to in ("j2k", "htj2k") else "RGB")


def test_by_plane_in_one_step():
    made = dcmtx.transcode(image(palette(EIGHT, 8)).encode(), to="explicit", apply_palette=True, planar=1)
    assert dicom.walk(made).elements[0x00280006].number == 1
    np.testing.assert_array_equal(rgb(made), expected(image(palette(EIGHT, 8)).encode()))


# --- bookkeeping ---------------------------------------------------------------------------------------------------


def test_it_is_a_derived_image_of_its_own(tmp_path):
    more = {
        0x00280106: dicom.element(0x00280106, "US", 0),
        0x00280107: dicom.element(0x00280107, "US", 255),
        0x00280120: dicom.element(0x00280120, "US", 0),
        0x00281199: dicom.element(0x00281199, "UI", "1.2.3.99"),
        0x00282000: dicom.element(0x00282000, "OB", b"profile!"),
        0x00082111: dicom.element(0x00082111, "ST", "told before"),
    }
    source = image(palette(EIGHT, 8) | more).encode()
    made = pydicom.dcmread(io.BytesIO(dcmtx.transcode(source, to="raw", apply_palette=True)))
    assert made.ImageType == ["DERIVED", "PRIMARY"]
    assert made.SOPInstanceUID.startswith("2.25.")
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
    assert made.DerivationDescription == "told before; palette applied, PALETTE COLOR to RGB"
    (origin,) = made.SourceImageSequence
    assert origin.ReferencedSOPInstanceUID == "1.2.3.4"
    assert origin.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert "LossyImageCompression" not in made
    assert made.ICCProfile == b"profile!"
    assert not {0x00280106, 0x00280107, 0x00280120} & set(map(int, made._dict))
    assert (
        dcmtx.transcode(source, to="raw", apply_palette=True)[-500:]
        == dcmtx.transcode(source, to="raw", apply_palette=True)[-500:]
    )


@pytest.mark.parametrize("syntax", [dicom.IMPLICIT, dicom.EXPLICIT, dicom.BIG_ENDIAN])
@pytest.mark.parametrize("undefined", [False, True], ids=["with lengths", "with delimiters"])
def test_the_source_is_named_behind_other_sources_in_every_encoding(syntax, undefined):
    other = dicom.element(0x00081155, "UI", "1.2.3.77", syntax)
    before = palette(EIGHT, 8, syntax=syntax)
    before[0x00082112] = dicom.sequence(0x00082112, [other], syntax, undefined=undefined)
    made = dcmtx.transcode(image(before, syntax=syntax).encode(), to="raw", apply_palette=True)
    items = dicom.walk(made).elements[0x00082112].items
    assert [item[0x00081155].text for item in items] == ["1.2.3.77", "1.2.3.4"]
    assert items[1][0x0040A170].items[0][0x00080100].text == "121322"


def test_the_uid_may_be_kept_and_that_is_told(tmp_path):
    source = tmp_path / "in.dcm"
    source.write_bytes(image(palette(EIGHT, 8)).encode())
    outcome = dcmtx.transcode(source, tmp_path / "out.dcm", to="raw", apply_palette=True, uid="keep")
    assert "N_UID_KEPT" in [note.code for note in outcome.notes]
    made = pydicom.dcmread(tmp_path / "out.dcm")
    assert made.SOPInstanceUID == "1.2.3.4"
    assert "SourceImageSequence" not in made


def test_a_loss_after_it_is_recorded_too(tmp_path):
    made = tmp_path / "jpeg.dcm"
    outcome = dcmtx.transcode(
        ROOT / "testdata" / "us-palette-8.dcm", made, to="jpeg", lossy=True, quality=90, apply_palette=True
    )
    dataset = pydicom.dcmread(made)
    assert dataset.PhotometricInterpretation == "YBR_FULL_422"
    assert dataset.LossyImageCompression == "01"
    assert dataset.DerivationDescription.startswith(
        "palette applied, PALETTE COLOR to RGB; JPEG lossy compression, ratio "
    )
    assert outcome.ratio == pytest.approx(96 * 96 * 3 / len(dicom.walk(made.read_bytes()).fragments[0]), rel=1e-3)
    other = dcmtx.transcode(
        ROOT / "testdata" / "us-rgb-by-pixel.dcm", tmp_path / "x.dcm", to="jpeg", lossy=True, quality=90
    )
    assert other.instance_out != outcome.instance_out


def test_what_is_no_palette_stays(tmp_path):
    source = ROOT / "testdata" / "ct-explicit.dcm"
    made = dcmtx.transcode(source.read_bytes(), to="explicit", apply_palette=True)
    before, after = dicom.walk(source.read_bytes()), dicom.walk(made)
    assert after.dataset == before.dataset


def test_an_overlay_in_the_pixels_gets_data_of_its_own():
    words = np.arange(ROWS * COLUMNS) % 64
    plane = np.arange(ROWS * COLUMNS) % 3 == 0
    overlay = {
        0x60000010: dicom.element(0x60000010, "US", ROWS), 0x60000011: dicom.element(0x60000011, "US", COLUMNS),
        0x60000040: dicom.element(0x60000040, "CS", "G"), 0x60000050: dicom.element(0x60000050, "SS", [1, 1]),
        0x60000100: dicom.element(0x60000100, "US", 8), 0x60000102: dicom.element(0x60000102, "US", 7),
    }  # fmt: skip
    source = image(palette(ramps(64, 255), 8) | overlay, words | (plane << 7), stored=6).encode()
    made = dcmtx.transcode(source, to="explicit", apply_palette=True)
    walked = dicom.walk(made)
    found = np.unpackbits(np.frombuffer(walked.elements[0x60003000].value, np.uint8), bitorder="little")
    np.testing.assert_array_equal(found[: ROWS * COLUMNS], plane)
    tables = np.stack(ramps(64, 255), axis=-1)
    np.testing.assert_array_equal(rgb(made), tables[words].reshape(ROWS, COLUMNS, 3))
    with pytest.raises(RefusedError) as caught:
        dcmtx.transcode(source, to="deflated", apply_palette=True)
    assert caught.value.code == "E_OVERLAY"


# --- refusals ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refused:
    """An image that is refused, and what is told of it."""

    make: Callable[[], dicom.Image]
    code: str
    text: str
    options: dict[str, Any] | None = None


def beside(tag: int, vr: str, value: Any) -> dict[int, bytes]:
    return palette(EIGHT, 8) | {tag: dicom.element(tag, vr, value)}


def without(*tags: int) -> dict[int, bytes]:
    return {tag: element for tag, element in palette(EIGHT, 8).items() if tag not in tags}


REFUSED = {
    "a Supplemental palette": Refused(
        lambda: dicom.Image(bytes(64), photometric="MONOCHROME2", allocated=8, stored=8, before=palette(EIGHT, 8)),
        "E_PALETTE", "colours only some of its pixels"),
    "a label map": Refused(
        lambda: image(palette(EIGHT, 8), sop_class=f"{STORAGE}.66.7"), "E_PALETTE", "a Label Map Segmentation"),
    "an Alpha palette": Refused(lambda: image(beside(0x00281204, "OW", bytes(256))), "E_PALETTE", "(0028,1204)"),
    "an Enhanced palette": Refused(
        lambda: image(palette(EIGHT, 8) | {0x0028140B: dicom.sequence(0x0028140B, [b""])}), "E_PALETTE", "Enhanced"),
    "functional groups": Refused(
        lambda: image(palette(EIGHT, 8) | {0x52009229: dicom.sequence(0x52009229, [b""])}), "E_PALETTE",
        "functional groups"),
    "an object that is never RGB": Refused(
        lambda: image(palette(EIGHT, 8), sop_class=f"{STORAGE}.20"), "E_IOD", "PS3.3 C.8.4.8"),
    "16 bits in ultrasound": Refused(
        lambda: image(palette(SIXTEEN, 16), sop_class=f"{STORAGE}.6.1"), "E_IOD", "Bits Allocated would become 16"),
    "content outside Bits Stored": Refused(
        lambda: image(palette(ramps(64, 255), 8), np.full(35, 200), stored=6), "E_UNUSED_BITS",
        "above Bits Stored (6)"),
    "whole words": Refused(
        lambda: image(palette(ramps(64, 255), 8), stored=6), "E_UNUSED_BITS", "only Bits Stored are those",
        {"unused_bits": "keep"}),
    "signatures": Refused(
        lambda: image(palette(EIGHT, 8), behind=[dicom.sequence(0xFFFAFFFA, [b""])]), "E_SIGNATURE", "signatures"),
    "no descriptor": Refused(lambda: image(without(0x00281102)), "E_PALETTE", "(0028,1102)"),
    "no table": Refused(lambda: image(without(0x00281203)), "E_PALETTE", "blue (0028,1203) is absent"),
    "descriptors that differ": Refused(
        lambda: image(palette(EIGHT, 8) | {0x00281102: dicom.element(0x00281102, "US", [256, 1, 8])}), "E_PALETTE",
        "differ"),
    "12 bits": Refused(lambda: image(palette(EIGHT, 12, width=16)), "E_PALETTE", "12 bits, not 8 or 16"),
    "a table that is short": Refused(
        lambda: image(palette(ramps(200, 255), 8, entries=256)), "E_PALETTE", "200 bytes for 256 entries"),
    "entries that are too large": Refused(
        lambda: image(palette(SIXTEEN, 8, width=16)), "E_PALETTE", "more than the 8 bits"),
    "segments that are damaged": Refused(
        lambda: image(segmented([[0, 9, 1]] * 3, 16, 256)), "E_PALETTE", "a segment goes beyond its end"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(kind, tmp_path):
    case = REFUSED[kind]
    (tmp_path / "in.dcm").write_bytes(case.make().encode())
    with pytest.raises(DcmtxError) as caught:
        dcmtx.transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="raw", apply_palette=True, **(case.options or {}))
    assert isinstance(caught.value, RefusedError | InputError)
    assert (caught.value.code, case.text in str(caught.value)) == (case.code, True), str(caught.value)
    assert not (tmp_path / "out.dcm").exists()


def test_a_label_map_stays_what_it_is_without_the_option():
    source = image(palette(EIGHT, 8), sop_class=f"{STORAGE}.66.7").encode()
    assert dicom.walk(dcmtx.transcode(source, to="rle")).elements[0x00280004].text == "PALETTE COLOR"


# --- segments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("segments", "bits", "made"),
    [
        ([0, 3, 5, 9, 7], 16, [5, 9, 7]),
        ([0, 1, 0, 1, 4, 10], 16, [0, 2, 5, 8, 10]),  # 2.5 and 7.5 become the even one
        ([0, 1, 10, 1, 2, 0], 8, [10, 5, 0]),
        ([0, 2, 1, 2, 1, 2, 6, 2, 2, 0, 0], 16, [1, 2, 4, 6, 1, 2, 4, 6]),
        ([0, 2, 1, 2, 1, 2, 6, 2, 2, 0, 0, 0, 0], 8, [1, 2, 4, 6, 1, 2, 4, 6]),
        ([0, 2, 1, 2, 1, 2, 6, 2, 1, 8, 0], 16, [1, 2, 4, 6, 6, 6]),  # the line alone, from the last value
        ([0, 1, 9, 0], 8, [9]),  # padding
    ],
)
def test_segments_make_entries(segments, bits, made):
    assert linearised(segments, len(made), bits).tolist() == made


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([1, 4, 9], "the first segment is linear"),
        ([3, 1, 1], "of type 3"),
        ([0, 5, 1, 2], "beyond its end"),
        ([2, 1, 0, 0], "points nowhere"),
        ([0, 1, 1, 2, 1, 99, 0], "points nowhere"),
        ([0, 1, 1, 2, 1, 6, 0], "an indirect segment points to another one"),
        ([0, 1, 1, 1, 60000, 9], "more than 4 entries"),
        ([0, 1, 1], "make 1 entries, not 4"),
        ([0, 0, 1, 0], "a segment has no length"),
        ([0, 1, 1, 1, 0, 9], "a segment has no length"),
        ([0, 1, 1, *[2, 65535, 0, 0] * 9], "an indirect segment points to another one"),
        ([0, 1, 1, 2, 65535, 0, 0], "an indirect segment points to another one"),
    ],
)
def test_segments_that_are_damaged(segments, message):
    with pytest.raises(ValueError, match=message):
        linearised(segments, 4, 16)


def test_every_tag_of_a_palette_has_its_name():
    """The tags here are those of PS3.6."""
    assert [pydicom.datadict.keyword_for_tag(tag) for tag in (*DESCRIPTORS[:1], *TABLES[:1], *SEGMENTED[:1])] == [
        "RedPaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData",
        "SegmentedRedPaletteColorLookupTableData",
    ]  # fmt: skip
    assert tag_text(0x00281199) == "(0028,1199)"


# --- real images ---------------------------------------------------------------------------------------------------


def test_segments_of_an_ultrasound_scanner_in_big_endian_are_those_of_gdcm_and_pydicom(tmp_path):
    """65536 entries from segments of words that big endian swaps; DCMTK does not read segments."""
    source, made, theirs = need_real("pydicom-data/gdcm-US-ALOKA-16_big.dcm"), tmp_path / "made", tmp_path / "theirs"
    dcmtx.transcode(source, made, to="explicit", apply_palette=True)
    subprocess.run([need_tool("gdcmconv"), "-l", str(source), str(theirs)], check=True, timeout=60)
    mine = rgb(made.read_bytes()).astype(np.uint16) * 257
    np.testing.assert_array_equal(mine, pixel_array(pydicom.dcmread(theirs)))
    np.testing.assert_array_equal(mine, expected(source.read_bytes()))


def test_a_supplemental_palette_of_a_scanner_is_refused(tmp_path):
    with pytest.raises(RefusedError, match="colours only some of its pixels"):
        dcmtx.transcode(
            need_real("pydicom-data/eCT_Supplemental.dcm"), tmp_path / "made.dcm", to="explicit", apply_palette=True
        )
