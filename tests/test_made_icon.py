"""--icon generate: an icon of the image, by the standard's rules, read by pydicom, DCMTK and dciodvfy."""

from __future__ import annotations

import io
import re
import subprocess
from typing import Any

import dicom
import images
import numpy as np
import pydicom
import pytest
from conftest import ROOT, need_tool
from images import Format
from pydicom.pixels import apply_color_lut

import dcmtx
from dcmtx.errors import RefusedError
from dcmtx.pixel.display import shown
from dcmtx.pixel.format import PixelFormat
from dcmtx.pixel.icon import indexed, shrunk, size_of
from dcmtx.pixel.transform import Display, Window

ICON = 0x00880200
DATA = ROOT / "testdata"
G8, G12, RGB = Format("MONOCHROME2", 8, 8), Format("MONOCHROME2", 16, 12), Format("RGB", 8, 8)


def made(data: bytes, to: str = "explicit", **options: Any) -> pydicom.Dataset:
    """Return the icon of a converted file."""
    dataset = pydicom.dcmread(io.BytesIO(dcmtx.transcode(data, to=to, icon="generate", **options)))
    (icon,) = dataset.IconImageSequence
    return icon


def pixels(icon: pydicom.Dataset) -> np.ndarray:
    """Return what an icon shows: brightness, or colours of 8 bits."""
    length = icon.Rows * icon.Columns
    assert len(icon.PixelData) == length + length % 2
    shown = np.frombuffer(icon.PixelData, np.uint8)[:length].reshape(icon.Rows, icon.Columns)
    if icon.PhotometricInterpretation == "MONOCHROME2":
        return shown
    icon.file_meta = pydicom.dataset.FileMetaDataset()
    return (apply_color_lut(shown, icon) >> 8).astype(np.uint8)


def image(fmt: Format, words: np.ndarray, **more: Any) -> bytes:
    return images.image(fmt, [words.astype(fmt.dtype)], **more).encode()


def window(center: str, width: str, *more: tuple[int, str, Any]) -> dict[int, bytes]:
    elements = [(0x00281050, "DS", center), (0x00281051, "DS", width), *more]
    return {tag: dicom.element(tag, vr, value) for tag, vr, value in elements}


# --- what the standard wants ---------------------------------------------------------------------------------------

EVERY = sorted(path.stem for path in DATA.glob("*.dcm") if path.stem != "sr-text")


@pytest.mark.parametrize("name", EVERY)
def test_every_image_gets_one(name):
    """PS3.3 C.7.6.1.1.6: one sample of 8 bits, unsigned, grey or with a palette."""
    icon = made((DATA / f"{name}.dcm").read_bytes())
    assert (icon.SamplesPerPixel, icon.BitsAllocated, icon.BitsStored, icon.HighBit) == (1, 8, 8, 7)
    assert icon.PixelRepresentation == 0
    assert max(icon.Rows, icon.Columns) <= 128
    coloured = re.match("us-|sc-palette|sc-ybr", name) is not None
    assert icon.PhotometricInterpretation == ("PALETTE COLOR" if coloured else "MONOCHROME2")
    shown = pixels(icon)
    assert shown.size == 1 or shown.max() > shown.min()


@pytest.mark.parametrize("to", ["implicit", "big-endian", "deflated", "rle", "jpeg-lossless", "j2k", "encapsulated"])
@pytest.mark.parametrize("name", ["ct-explicit", "us-rgb-by-pixel", "ct-icon-jpeg-lossless"])
def test_it_is_the_same_under_every_transfer_syntax(name, to):
    """Never encapsulated, which PS3.5 A.4 allows under all of them; an icon that was there is replaced."""
    source = (DATA / f"{name}.dcm").read_bytes()
    plain = dicom.walk(dcmtx.transcode(source, to="explicit", icon="generate")).elements[ICON].items[0]
    other = dicom.walk(dcmtx.transcode(source, to=to, icon="generate")).elements[ICON].items[0]
    assert set(other) == set(plain)
    if to != "implicit":
        assert {tag: found.value for tag, found in other.items()} == {tag: found.value for tag, found in plain.items()}
    assert other[dicom.PIXEL_DATA].fragments is None
    assert other[dicom.PIXEL_DATA].value == plain[dicom.PIXEL_DATA].value


@pytest.mark.parametrize("name", ["ct-explicit", "us-rgb-by-pixel", "us-palette-8", "cr-jpeg-lossless"])
def test_dciodvfy_and_dcmdump_read_it(name, tmp_path):
    path = tmp_path / "made.dcm"
    dcmtx.transcode(DATA / f"{name}.dcm", path, to="explicit", icon="generate")
    told = subprocess.run(
        [need_tool("dciodvfy"), str(path)], capture_output=True, text=True, errors="replace", timeout=60, check=False
    )
    assert not [line for line in (told.stdout + told.stderr).splitlines() if "Error" in line and "Icon" in line]
    dump = subprocess.run(
        [need_tool("dcmdump"), "+P", "0088,0200", str(path)], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert dump.count("(7fe0,0010) OB") == 1


@pytest.mark.parametrize("to", ["explicit", "implicit", "big-endian"])
def test_it_has_the_lengths_that_are_asked_for(to):
    source = (DATA / "us-rgb-by-pixel.dcm").read_bytes()
    plain = dicom.walk(dcmtx.transcode(source, to=to, icon="generate")).elements[ICON]
    ended = dicom.walk(dcmtx.transcode(source, to=to, icon="generate", lengths="undefined")).elements[ICON]
    assert (plain.length < dicom.UNDEFINED, ended.length) == (True, dicom.UNDEFINED)
    assert {tag: found.raw for tag, found in ended.items[0].items()} == {
        tag: found.raw for tag, found in plain.items[0].items()
    }


def test_the_rest_of_the_file_stays():
    source = (DATA / "ct-explicit.dcm").read_bytes()
    before, after = dicom.walk(source), dicom.walk(dcmtx.transcode(source, to="raw", icon="generate"))
    assert {tag: found.raw for tag, found in after.elements.items() if tag != ICON} == {
        tag: found.raw for tag, found in before.elements.items()
    }


def test_an_object_without_pixels_gets_none():
    source = (DATA / "sr-text.dcm").read_bytes()
    assert ICON not in dicom.walk(dcmtx.transcode(source, to="implicit", icon="generate")).elements


def test_pixels_that_are_not_understood_get_none_and_that_is_told(tmp_path):
    odd = dicom.Image(bytes(128), photometric="HSV").encode()
    outcome = dcmtx.transcode(odd, io.BytesIO(), to="explicit", icon="generate")
    assert "N_ICON" in [note.code for note in outcome.notes]


def test_a_dry_run_tells_of_it(tmp_path):
    outcome = dcmtx.transcode(DATA / "ct-explicit.dcm", tmp_path / "x", to="rle", icon="generate", dry_run=True)
    assert ICON in outcome.plan.edits


def test_signatures_are_refused_or_removed():
    signed = image(G8, np.eye(8), behind=[dicom.sequence(0xFFFAFFFA, [b""])])
    with pytest.raises(RefusedError) as caught:
        made(signed)
    assert caught.value.code == "E_SIGNATURE"
    assert pixels(made(signed, signatures="remove")).max() == 255


def test_damaged_pixels_are_refused_as_ever(tmp_path):
    data = (DATA / "ct-jpegls.dcm").read_bytes()
    # The codestream is cut in half, and the rest is zeros.
    at = data.rindex(b"\xff\xda") + 200
    damaged = data[:at] + bytes(len(data) - at - 8) + data[-8:]
    with pytest.raises(dcmtx.DcmtxError):
        dcmtx.transcode(damaged, to="jpegls", icon="generate")


# --- what it shows -------------------------------------------------------------------------------------------------


def ramp(fmt: Format, rows: int = 16, columns: int = 16) -> np.ndarray:
    return np.linspace(fmt.low, fmt.high, rows * columns).round().astype(int).reshape(rows, columns)


SIGNED = Format("MONOCHROME2", 16, 12, signed=True)
WINDOWS: dict[str, tuple[Format, dict[int, bytes], Any]] = {
    "all values, without a window": (G12, {}, lambda v: v / 4095),
    "a window": (G12, window("1000", "501"), lambda v: (v - 999.5) / 500 + 0.5),
    "the first of two": (G12, window("1000\\1", "501\\2"), lambda v: (v - 999.5) / 500 + 0.5),
    "a window of rescaled values": (
        SIGNED, window("40", "400", (0x00281053, "DS", "2"), (0x00281052, "DS", "-100")),
        lambda v: (2 * v - 100 - 39.5) / 399 + 0.5),
    "an exact window": (G12, window("1000", "500", (0x00281056, "CS", "LINEAR_EXACT")),
                        lambda v: (v - 1000) / 500 + 0.5),
    "a sigmoid": (G12, window("2000", "800", (0x00281056, "CS", "SIGMOID")),
                  lambda v: 1 / (1 + np.exp(-4 * (v - 2000) / 800))),
    "MONOCHROME1": (Format("MONOCHROME1", 16, 12), window("1000", "501"), lambda v: 1 - ((v - 999.5) / 500 + 0.5)),
    "a window that is none": (G12, window("1000", "0"), lambda v: v / 4095),
    "a function that is not known": (G12, window("1", "5", (0x00281056, "CS", "OTHER")), lambda v: v / 4095),
    "a window after a table": (
        G12, window("1", "5") | {0x00283000: dicom.sequence(0x00283000, [b""])}, lambda v: v / 4095),
}  # fmt: skip


@pytest.mark.parametrize("kind", WINDOWS)
def test_grey_is_windowed(kind):
    fmt, elements, brightness = WINDOWS[kind]
    values = ramp(fmt)
    shown = pixels(made(image(fmt, values, before=elements)))
    np.testing.assert_array_equal(shown, np.rint(255 * np.clip(brightness(values.astype(float)), 0, 1)))


def test_padding_does_not_spoil_the_range():
    values = ramp(G12) // 8 + 1000
    values[0] = 4000
    shown = pixels(made(image(G12, values, before={0x00280120: dicom.element(0x00280120, "US", 4000)})))
    assert shown[0].max() == 0
    assert shown[1:].max() == 255


def test_bits_outside_bits_stored_are_not_shown():
    values = ramp(G12)
    plain = pixels(made(image(G12, values)))
    np.testing.assert_array_equal(pixels(made(image(G12, values | 0x8000))), plain)
    high = image(Format("MONOCHROME2", 16, 12), values << 4, high_bit=15)
    np.testing.assert_array_equal(pixels(made(high)), plain)


def test_the_representative_frame_is_shown():
    frames = [np.full((4, 4), value, np.uint8) for value in (10, 20, 30)]
    for frame in frames:
        frame[0, 0] = 0
        frame[0, 1] = 40
    elements = {0x00286010: dicom.element(0x00286010, "US", 2)}
    shown = pixels(made(images.image(G8, frames, before=elements).encode()))
    assert shown[2, 2] == round(255 * 20 / 40)
    assert pixels(made(images.image(G8, frames).encode()))[2, 2] == round(255 * 10 / 40)


@pytest.mark.parametrize("name", ["us-rgb-by-pixel", "us-rgb-by-plane", "us-ybr-full-rle", "us-jpeg-baseline"])
def test_colours_look_like_those_of_the_image(name):
    source = pydicom.dcmread(DATA / f"{name}.dcm")
    shown = pixels(made((DATA / f"{name}.dcm").read_bytes())).astype(int)
    truth = pydicom.pixels.pixel_array(source, index=0).astype(int)
    assert shown.shape == truth.shape
    assert 10 * np.log10(255**2 / max(np.mean((shown - truth) ** 2), 1e-9)) > 30


def test_a_palette_is_applied():
    source = pydicom.dcmread(DATA / "us-palette-8.dcm")
    truth = apply_color_lut(source.pixel_array, source) >> 8
    shown = pixels(made((DATA / "us-palette-8.dcm").read_bytes()))
    # It has 256 colours at most, so none is lost.
    np.testing.assert_array_equal(shown, truth)


# --- size ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "columns", "elements", "size"),
    [
        (128, 128, {}, (128, 128)),
        (129, 128, {}, (128, 127)),
        (300, 150, {}, (128, 64)),
        (1, 700, {}, (1, 128)),
        (64, 32, {}, (64, 32)),
        (100, 100, {0x00280030: ("DS", "2\\1")}, (100, 50)),
        (100, 100, {0x00280034: ("IS", "1\\2")}, (50, 100)),
        (400, 400, {0x00280034: ("IS", "1\\2")}, (64, 128)),
        (64, 32, {0x00280030: ("DS", "0\\1")}, (64, 32)),
    ],
)
def test_it_is_small_and_its_pixels_are_square(rows, columns, elements, size):
    before = {tag: dicom.element(tag, vr, value) for tag, (vr, value) in elements.items()}
    words = np.add.outer(np.arange(rows), np.arange(columns)) % 256
    icon = made(image(G8, words, before=before))
    assert (icon.Rows, icon.Columns) == size


def test_pixels_are_means_of_areas():
    values = np.arange(6 * 4).reshape(6, 4).astype(float)
    np.testing.assert_allclose(shrunk(values, (3, 2)), values.reshape(3, 2, 2, 2).mean(axis=(1, 3)))
    # Areas of unequal size: every value counts in one.
    uneven = shrunk(np.arange(7.0).reshape(7, 1), (3, 1))
    np.testing.assert_allclose(uneven[:, 0], [0.5, 2.5, 5])


def test_a_large_image_is_shrunk_before_it_is_windowed():
    fmt = dcmtx.frames(image(G8, np.zeros((8, 8)))).format
    assert size_of(fmt.replace(rows=20000, columns=10000), 1.0) == (128, 64)


# --- colours -------------------------------------------------------------------------------------------------------


def test_few_colours_stay_what_they_are():
    colours = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    places, palette = indexed(colours)
    assert len(palette) <= 256
    np.testing.assert_array_equal(palette[places], colours)


def test_many_colours_become_256_near_ones():
    places = np.linspace(0, 255, 128)
    colours = np.stack(np.broadcast_arrays(places[:, None], places[None, :], 128 + 0 * places[None, :]), axis=-1)
    colours = colours.round().astype(np.uint8)
    indices, palette = indexed(colours)
    assert len(palette) == 256
    assert np.abs(palette[indices].astype(int) - colours).max() <= 24
    again, same = indexed(colours)
    np.testing.assert_array_equal(again, indices)
    np.testing.assert_array_equal(same, palette)


def test_one_value_is_dark_and_a_step_is_a_step():
    fmt = PixelFormat(2, 2, samples=1, photometric="MONOCHROME2", allocated=16, stored=12, high_bit=11, signed=False)
    np.testing.assert_array_equal(shown(np.full((2, 2), 7.0), fmt, Display()), np.zeros((2, 2)))
    step = Display(window=Window(10.0, 1.0))
    np.testing.assert_array_equal(shown(np.array([[9.0, 9.5, 10.0]]), fmt, step), [[0, 0, 255]])
