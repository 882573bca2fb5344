"""--photometric MONOCHROME1 or MONOCHROME2: the image looks the same, by DCMTK and by the standard's own formulas."""

from __future__ import annotations

import io
import subprocess
from typing import Any

import dicom
import numpy as np
import oracle
import pydicom
import pytest
from conftest import ROOT, need_tool

import dcmtx
from dcmtx.errors import RefusedError
from dcmtx.rules.inversion import mirror

STORAGE = "1.2.840.10008.5.1.4.1.1"
ROWS, COLUMNS = 9, 11
OTHER = {"MONOCHROME1": "MONOCHROME2", "MONOCHROME2": "MONOCHROME1"}


def words(stored: int, *, signed: bool, frames: int = 1) -> np.ndarray:
    """Return values from the least to the greatest, every one of few bits."""
    low = -(1 << (stored - 1)) if signed else 0
    count = frames * ROWS * COLUMNS
    return np.linspace(low, low + (1 << stored) - 1, count).round().astype("int64").reshape(frames, ROWS, COLUMNS)


def image(*, stored: int = 12, signed: bool = False, elements: dict[int, bytes] | None = None, **more: Any) -> bytes:
    """Return a file of these values; its elements are added to those of the image."""
    allocated = more.pop("allocated", 8 if stored <= 8 else 16 if stored <= 16 else 32)
    values = more.pop("values", None)
    if values is None:
        values = words(stored, signed=signed)
    pixels = values.astype(f"<{'i' if signed else 'u'}{allocated // 8}").tobytes()
    return dicom.Image(
        pixels + b"\0" * (len(pixels) % 2), rows=ROWS, columns=COLUMNS, allocated=allocated, stored=stored,
        signed=signed, before=elements or {}, **more,
    ).encode()  # fmt: skip


def window(center: str, width: str, function: str = "") -> dict[int, bytes]:
    made = {
        0x00281050: dicom.element(0x00281050, "DS", center),
        0x00281051: dicom.element(0x00281051, "DS", width),
    }
    return made | ({0x00281056: dicom.element(0x00281056, "CS", function)} if function else {})


def shown(data: bytes, place: int = 0) -> np.ndarray:
    """Return the brightness of an image from 0 to 1, by the formulas of PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    (values,) = (oracle.native(data)[0].astype(float),)
    low, high = (-(1 << (dataset.BitsStored - 1)), (1 << (dataset.BitsStored - 1)) - 1)
    if not dataset.PixelRepresentation:
        low, high = 0, (1 << dataset.BitsStored) - 1
    if "WindowCenter" not in dataset:
        bright = (values - low) / (high - low)
    else:
        first = lambda value: float(value[place] if isinstance(value, pydicom.multival.MultiValue) else value)  # noqa: E731
        center, width = first(dataset.WindowCenter), first(dataset.WindowWidth)
        function = dataset.get("VOILUTFunction", "LINEAR")
        if function == "SIGMOID":
            bright = 1 / (1 + np.exp(-4 * (values - center) / width))
        elif function == "LINEAR_EXACT":
            bright = np.clip((values - center) / width + 0.5, 0, 1)
        else:
            bright = np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
    return 1 - bright if dataset.PhotometricInterpretation == "MONOCHROME1" else bright


IMAGES = {
    "8 bits": {"stored": 8},
    "12 bits": {"stored": 12},
    "16 bits": {"stored": 16},
    "1 value of 8": {"stored": 1, "allocated": 8},
    "signed": {"stored": 12, "signed": True},
    "signed, 16 bits": {"stored": 16, "signed": True},
    "32 bits": {"stored": 32},
    "a window": {"elements": window("700.5", "300")},
    "two windows": {"elements": window("700\\-20.25", "300\\12")},
    "an exact window": {"elements": window("700.25", "300", "LINEAR_EXACT")},
    "a sigmoid": {"elements": window("700", "300", "SIGMOID")},
    "a window of signed values": {"elements": window("-100", "512"), "signed": True},
    "a High Bit that is not legal": {"values": words(10, signed=False) << 4, "stored": 10, "high_bit": 13},
}


@pytest.mark.parametrize("photometric", sorted(OTHER))
@pytest.mark.parametrize("kind", IMAGES)
def test_it_looks_the_same_and_is_the_other(kind, photometric):
    options = dict(IMAGES[kind])
    elements = options.pop("elements", {})
    source = image(elements=elements, photometric=photometric, **options)
    made = dcmtx.transcode(source, to="explicit", photometric=OTHER[photometric])
    walked = dicom.walk(made)
    assert walked.elements[0x00280004].text == OTHER[photometric]
    if kind == "a High Bit that is not legal":
        source = image(stored=10, photometric=photometric, values=words(10, signed=False))
        assert walked.elements[0x00280102].number == 9
    for place in range(2 if kind == "two windows" else 1):
        np.testing.assert_allclose(shown(made, place), shown(source, place), atol=1e-9)
    before, after = oracle.native(source)[0].astype(int), oracle.native(made)[0].astype(int)
    np.testing.assert_array_equal(before + after, before.min() + before.max())
    again = dcmtx.transcode(made, to="explicit", photometric=photometric)
    np.testing.assert_array_equal(oracle.native(again)[0], oracle.native(source)[0])
    assert dicom.walk(again).elements.get(0x00281050, dicom.Found(0, "", 0, b"")).text.replace(".0", "") == (
        dicom.walk(source).elements.get(0x00281050, dicom.Found(0, "", 0, b"")).text
    )


@pytest.mark.parametrize("name", ["cr-jpeg-lossless", "mr-big-endian", "mr-htj2k"])
def test_dcmtk_shows_the_same(name, tmp_path):
    source, native, made = ROOT / "testdata" / f"{name}.dcm", tmp_path / "native.dcm", tmp_path / "made.dcm"
    dcmtx.transcode(source, native, to="explicit")
    before = pydicom.dcmread(native)
    dcmtx.transcode(source, made, to="explicit", photometric=OTHER[before.PhotometricInterpretation])
    pictures = []
    for path in (native, made):
        picture = tmp_path / "picture.pgm"
        how = ["+Wi", "1"] if "WindowCenter" in before else []
        subprocess.run([need_tool("dcmj2pnm"), "+op", *how, str(path), str(picture)], check=True, timeout=60)
        pictures.append(np.frombuffer(picture.read_bytes()[-before.Rows * before.Columns :], np.uint8).astype(int))
    # It rounds down, which the other end makes up.
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
    assert pictures[0].max() > pictures[0].min()


@pytest.mark.parametrize("to", ["rle", "jpeg-lossless", "jpegls", "j2k", "htj2k", "big-endian", "encapsulated"])
def test_every_lossless_target_holds_the_same_values(to):
    source = image(signed=True, elements=window("40", "400"), frames=1)
    made = dcmtx.transcode(dcmtx.transcode(source, to=to, photometric="MONOCHROME1"), to="explicit")
    np.testing.assert_array_equal(oracle.native(made)[0].astype(int), -1 - oracle.native(source)[0].astype(int))
    assert dicom.walk(made).elements[0x00281050].text == "-40"


def test_a_loss_after_it_measures_what_is_written(tmp_path):
    source = image(
        elements={0x00280106: dicom.element(0x00280106, "US", 0), 0x00280107: dicom.element(0x00280107, "US", 4095)}
    )
    made = pydicom.dcmread(
        io.BytesIO(dcmtx.transcode(source, to="jpegls", lossy=True, near=3, photometric="MONOCHROME1"))
    )
    assert made.DerivationDescription.startswith(
        "pixel values inverted, MONOCHROME2 to MONOCHROME1; JPEG-LS lossy compression, ratio "
    )
    pixels = made.pixel_array
    assert (made.SmallestImagePixelValue, made.LargestImagePixelValue) == (pixels.min(), pixels.max())
    assert np.abs(pixels.astype(int) + oracle.native(source)[0].astype(int) - 4095).max() <= 3


# --- what depends on the values ------------------------------------------------------------------------------------

DEPENDING = {
    "Pixel Padding Value": (0x00280120, "US", 63, 4032),
    "the end of its range": (0x00280121, "US", 4095, 0),
    "Presentation LUT Shape": (0x20500020, "CS", "IDENTITY", "INVERSE"),
    "Pixel Intensity Relationship Sign": (0x00281041, "SS", 1, -1),
    "Window Center": (0x00281050, "DS", "2000.125", "2095.875"),
    "a window at 0": (0x00281050, "DS", "0", "4096"),
    "Rescale Type, where it says nothing": (0x00281054, "LO", "US", "US"),
    "Rescale Slope of 1": (0x00281053, "DS", "1.0", None),
}


@pytest.mark.parametrize("kind", DEPENDING)
def test_what_depends_on_the_values_is_turned(kind):
    tag, vr, before, after = DEPENDING[kind]
    elements = {tag: dicom.element(tag, vr, [before] if vr == "SS" else before)}
    if after is None:
        elements[0x00281052] = dicom.element(0x00281052, "DS", "0")
        after = before
    walked = dicom.walk(dcmtx.transcode(image(elements=elements), to="explicit", photometric="MONOCHROME1"))
    found = walked.elements[tag]
    value = int.from_bytes(found.value, "little", signed=vr == "SS") if vr in ("US", "SS") else found.text
    assert value == after
    assert found.vr == vr


def test_the_least_and_the_greatest_value_change_places():
    elements = {tag: dicom.element(tag, "SS", [value]) for tag, value in ((0x00280106, -2000), (0x00280107, 1000))}
    elements[0x00280108] = dicom.element(0x00280108, "SS", [-2048])
    made = pydicom.dcmread(
        io.BytesIO(dcmtx.transcode(image(signed=True, elements=elements), to="explicit", photometric="MONOCHROME1"))
    )
    assert (made.SmallestImagePixelValue, made.LargestImagePixelValue) == (-1001, 1999)
    assert 0x00280108 not in made


def test_one_of_them_alone_becomes_the_other():
    made = pydicom.dcmread(
        io.BytesIO(
            dcmtx.transcode(
                image(elements={0x00280107: dicom.element(0x00280107, "US", 4000)}),
                to="explicit",
                photometric="MONOCHROME1",
            )
        )
    )
    assert (made.SmallestImagePixelValue, "LargestImagePixelValue" in made) == (95, False)


def test_it_is_a_derived_image():
    made = pydicom.dcmread(io.BytesIO(dcmtx.transcode(image(), to="explicit", photometric="MONOCHROME1")))
    assert made.ImageType[0] == "DERIVED"
    assert made.SOPInstanceUID != "1.2.3.4"
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"
    assert made.DerivationDescription == "pixel values inverted, MONOCHROME2 to MONOCHROME1"


def test_what_is_asked_already_is_no_change():
    source = image(elements=window("40", "400"))
    assert dicom.walk(dcmtx.transcode(source, to="explicit", photometric="MONOCHROME2")).dataset == (
        dicom.walk(source).dataset
    )


@pytest.mark.parametrize(("stored", "signed", "sum_"), [(8, False, 255), (12, True, -1), (16, False, 65535)])
def test_values_are_mirrored_within_bits_stored(stored, signed, sum_):
    fmt = dcmtx.frames(image(stored=stored, signed=signed)).format
    assert mirror(fmt) == sum_


# --- refusals ------------------------------------------------------------------------------------------------------


def with_sequence(tag: int) -> dict[str, Any]:
    return {"elements": {tag: dicom.sequence(tag, [dicom.element(0x00280103, "US", 0)])}}


def with_element(tag: int, vr: str, value: Any) -> dict[str, Any]:
    return {"elements": {tag: dicom.element(tag, vr, value)}}


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "rescaled": (with_element(0x00281053, "DS", "2"), "E_PHOTOMETRIC", "rescaled"),
    "with an intercept": (with_element(0x00281052, "DS", "-1024"), "E_PHOTOMETRIC", "rescaled"),
    "of Hounsfield units": (with_element(0x00281054, "LO", "HU"), "E_PHOTOMETRIC", "rescaled"),
    "with a Modality LUT": (with_sequence(0x00283000), "E_PHOTOMETRIC", "(0028,3000)"),
    "with a VOI LUT": (with_sequence(0x00283010), "E_PHOTOMETRIC", "(0028,3010)"),
    "with real world values": (with_sequence(0x00409096), "E_PHOTOMETRIC", "(0040,9096)"),
    "to be subtracted": (with_sequence(0x00286100), "E_PHOTOMETRIC", "(0028,6100)"),
    "with functional groups": (with_sequence(0x52009229), "E_PHOTOMETRIC", "functional groups"),
    "with a mean of a region": (with_element(0x60001302, "DS", "5"), "E_PHOTOMETRIC", "region of interest"),
    "a dose": ({"sop_class": f"{STORAGE}.481.2"}, "E_PHOTOMETRIC", "an RT Dose"),
    "a segmentation": ({"sop_class": f"{STORAGE}.66.4"}, "E_PHOTOMETRIC", "a Segmentation"),
    "never MONOCHROME1": ({"sop_class": f"{STORAGE}.128"}, "E_IOD", "PS3.3 C.8.9.4"),
    "of another padding": (with_element(0x00280120, "US", 63536), "E_PHOTOMETRIC", "no value of its Bits Stored"),
    "of a shape that contradicts": (with_element(0x20500020, "CS", "INVERSE"), "E_PHOTOMETRIC", "contradicts"),
    "of another sign": (with_element(0x00281041, "SS", [0]), "E_PHOTOMETRIC", "(0028,1041)"),
    "of an unknown function": (
        {"elements": window("1", "2", "CUBIC")}, "E_PHOTOMETRIC", "VOI LUT Function (0028,1056) is 'CUBIC'"),
    "of no numbers": ({"elements": window("x", "2")}, "E_PHOTOMETRIC", "not numbers"),
    "of a long number": ({"elements": window("1.00000000000001", "2")}, "E_PHOTOMETRIC", "16 characters"),
    "with content outside Bits Stored": ({"values": np.full((1, ROWS, COLUMNS), 0x5000)}, "E_UNUSED_BITS", "above"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_an_image_is_refused_that_is(kind):
    options, code, text = REFUSED[kind]
    with pytest.raises(RefusedError) as caught:
        dcmtx.transcode(image(**options), to="explicit", photometric="MONOCHROME1")
    assert (caught.value.code, text in str(caught.value)) == (code, True), str(caught.value)


def test_content_outside_bits_stored_may_be_cleared():
    source = image(values=words(12, signed=False) | 0x5000)
    made = dcmtx.transcode(source, to="explicit", photometric="MONOCHROME1", unused_bits="clear")
    np.testing.assert_array_equal(oracle.native(made)[0], 4095 - words(12, signed=False)[0])
    with pytest.raises(RefusedError) as caught:
        dcmtx.transcode(source, to="explicit", photometric="MONOCHROME1", unused_bits="keep")
    assert caught.value.code == "E_UNUSED_BITS"
