"""`dcmtx render`: the picture that DCMTK makes of the same file, or the formula of the standard."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import numpy as np
import pytest
from conftest import ROOT, need_real, need_tool, spawn
from images import palette

from dcmtx.codec import reduced
from dcmtx.errors import UsageError
from dcmtx.inspect.render import render
from dcmtx.pixel.display import smaller
from dcmtx.transcoding.transcode import transcode

GREY = (np.arange(32 * 40, dtype="<i2").reshape(32, 40) * 3 - 1500) % 4096


def ds(tag: int, value: str) -> dict[int, bytes]:
    return {tag: dicom.element(tag, "DS", value)}


def window(center: str, width: str, function: str = "") -> dict[int, bytes]:
    more = {0x00281056: dicom.element(0x00281056, "CS", function)} if function else {}
    return ds(0x00281050, center) | ds(0x00281051, width) | more


def lut(sequence: int, first: int, entries: np.ndarray, bits: int = 16, more: bytes = b"") -> dict[int, bytes]:
    items = dicom.element(0x00283002, "US", [len(entries) % 65536, first % 65536, bits])
    items += more + dicom.element(0x00283006, "OW", entries.astype("<u2").tobytes())
    return {sequence: dicom.sequence(sequence, [items])}


def grey(before: dict[int, bytes], **more: Any) -> dicom.Image:
    settings = {"rows": 32, "columns": 40, "stored": 12} | more
    return dicom.Image(GREY.tobytes(), before=before, **settings)


def pictured(data: bytes | str, **options: Any) -> np.ndarray:
    return imagecodecs.png_decode(render(data, **options))


def by_dcmtk(path: Path, *options: str, tmp_path: Path) -> np.ndarray:
    """Return the picture that DCMTK makes, without overlays."""
    out = tmp_path / "dcmtk.png"
    tool = need_tool("dcmj2pnm")
    subprocess.run([tool, "-O", *(options or ("+on",)), path, out], check=True, capture_output=True, timeout=60)
    return imagecodecs.png_decode(out.read_bytes())


def check_alike(found: np.ndarray, wanted: np.ndarray, off: int = 1) -> None:
    """Check that two pictures differ by rounding alone: DCMTK truncates."""
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= off


RAMP = np.minimum(np.arange(4096) ** 2 // 256, 65535)
SHOWN = {
    "a window": (grey(window("900", "800")), ["+Wi", "1"]),
    "the first of two windows": (grey(window("900\\100", "800\\50")), ["+Wi", "1"]),
    "a window of MONOCHROME1": (grey(window("900", "800"), photometric="MONOCHROME1"), ["+Wi", "1"]),
    "a window behind a rescale": (
        grey(window("40", "400") | ds(0x00281052, "-1024") | ds(0x00281053, "0.5")), ["+Wi", "1"]
    ),
    "a window of signed pixels": (
        dicom.Image(((GREY + 2048) % 4096 - 2048).astype("<i2").tobytes(), 32, 40, stored=12, signed=True,
                    before=window("-100.5", "999.5")), ["+Wi", "1"]),
    "a sigmoid": (grey(window("900", "800", "SIGMOID")), ["+Wi", "1", "+Wfs"]),
    "a VOI LUT": (grey(lut(0x00283010, 0, RAMP)), ["+Wl", "1"]),
    "a VOI LUT that begins above the least value": (grey(lut(0x00283010, 500, RAMP[:2000])), ["+Wl", "1"]),
    "a modality LUT and a window": (
        grey(lut(0x00283000, 0, RAMP, more=dicom.element(0x00283004, "LO", "US")) | window("20000", "30000")),
        ["+Wi", "1"],
    ),
    "neither": (grey({}), ["+Wm"]),
    "high bit 15": (dicom.Image((GREY << 4).astype("<u2").tobytes(), 32, 40, stored=12, high_bit=15,
                                before=window("900", "800")), ["+Wi", "1"]),
    "a palette of 16 bits": (
        dicom.Image((GREY % 256).astype("u1").tobytes(), 32, 40, allocated=8, stored=8, photometric="PALETTE COLOR",
                    before=palette()), []),
    "RGB": (dicom.Image((np.arange(32 * 40 * 3) % 256).astype("u1").tobytes(), 32, 40, allocated=8, stored=8, samples=3,
                        photometric="RGB"), []),
    "RGB by plane": (dicom.Image((np.arange(32 * 40 * 3) % 256).astype("u1").tobytes(), 32, 40, allocated=8, stored=8,
                                 samples=3, photometric="RGB", planar=1), []),
    "one value only": (dicom.Image(bytes(2 * 32 * 40), 32, 40, stored=12), ["+Wm"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("bits", [8, 16])
def test_the_picture_is_that_of_dcmtk(name, bits, src, tmp_path):
    image, options = SHOWN[name]
    src.write_bytes(image.encode())
    kind = "+on" if bits == 8 else "+on2"
    wanted = by_dcmtk(src, kind, *options, tmp_path=tmp_path)
    found = pictured(str(src), bits=bits)
    # With sixteen bits, DCMTK's rounding of values before the window, which is half a value, can be seen.
    check_alike(found, wanted, 1 if bits == 8 else 90)


@pytest.mark.parametrize(
    "name", [path.stem for path in sorted((ROOT / "testdata").glob("*.dcm")) if path.stem != "sr-text"]
)
def test_the_picture_of_a_good_file_is_that_of_dcmtk(name, src, tmp_path):
    path = ROOT / "testdata" / f"{name}.dcm"
    # What DCMTK does not decode is decoded by GDCM, OpenJPEG and others in the tests of decoding.
    transcode(path, src, to="explicit")
    grey_alone = b"MONOCHROME" in src.read_bytes()
    has_window = b"\x28\x00\x50\x10" in src.read_bytes()
    options = (["+Wi", "1"] if has_window else ["+Wm"]) if grey_alone else []
    wanted = by_dcmtk(src, "+on", *options, tmp_path=tmp_path)
    check_alike(pictured(str(path)), wanted, 1 if grey_alone or "palette" in name else 2)


@pytest.mark.parametrize(
    ("function", "formula"),
    [
        ("LINEAR", lambda x: (x - (900 - 0.5)) / (800 - 1) + 0.5),
        ("LINEAR_EXACT", lambda x: (x - 900) / 800 + 0.5),
        ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 900) / 800))),
    ],
)
def test_windows_are_the_formulas_of_the_standard(function, formula):
    wanted = np.rint(np.clip(formula(GREY.astype(float)), 0, 1) * 65535)
    found = pictured(grey(window("900", "800", function)).encode(), bits=16)
    assert np.array_equal(found, wanted)


def test_a_window_of_width_one_is_a_threshold():
    found = pictured(grey(window("900", "1")).encode())
    assert np.array_equal(found, np.where(GREY > 899.5, 255, 0))


@pytest.mark.parametrize("width", ["0", "-5", "wide", ""])
def test_a_window_that_can_be_none_is_none(width):
    assert np.array_equal(pictured(grey(window("900", width)).encode()), pictured(grey({}).encode()))


def test_a_function_that_is_none_and_a_table_that_is_damaged_make_a_window_none():
    plain = pictured(grey({}).encode())
    assert np.array_equal(pictured(grey(window("900", "80", "OTHER")).encode()), plain)
    damaged = {0x00283000: dicom.sequence(0x00283000, [b""])}
    assert np.array_equal(pictured(grey(window("900", "80") | damaged).encode()), plain)


def test_frames_have_windows_of_their_own():
    def item(center: int) -> bytes:
        inside = dicom.element(0x00281050, "DS", str(center)) + dicom.element(0x00281051, "DS", "100")
        values = dicom.element(0x00281052, "DS", "10") + dicom.element(0x00281053, "DS", "2")
        return dicom.sequence(0x00289132, [inside]) + dicom.sequence(0x00289145, [values])

    groups = {0x52009230: dicom.sequence(0x52009230, [item(900), item(2000)], undefined=True)}
    image = dicom.Image(GREY.tobytes() * 2, 32, 40, stored=12, frames=2, before=window("1", "1") | groups)
    for frame, center in ((1, 900), (2, 2000)):
        wanted = np.rint(np.clip((GREY * 2.0 + 10 - (center - 0.5)) / 99 + 0.5, 0, 1) * 255)
        assert np.array_equal(pictured(image.encode(), frame=frame), wanted)


@pytest.mark.parametrize("name", ["siemens_enhanced", "philips_enhanced"])
def test_real_frames_have_the_window_that_pydicom_finds(name):
    import pydicom

    path = need_real(f"series/{name}.dcm")
    dataset = pydicom.dcmread(path)
    group = dataset.PerFrameFunctionalGroupsSequence[2]
    shown, values = group.FrameVOILUTSequence[0], group.PixelValueTransformationSequence[0]
    x = dataset.pixel_array[2] * float(values.RescaleSlope) + float(values.RescaleIntercept)
    part = (x - (float(shown.WindowCenter) - 0.5)) / (float(shown.WindowWidth) - 1) + 0.5
    assert np.array_equal(pictured(str(path), frame=3), np.rint(np.clip(part, 0, 1) * 255))


# --- smaller ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "most", "wanted"), [
    ((40, 60), 30, (20, 30)), ((40, 60), 60, (40, 60)), ((40, 60), 45, (30, 45)), ((7, 1000), 100, (1, 100)),
    ((40, 60, 3), 7, (5, 7, 3)), ((1, 1), 1, (1, 1)),
])  # fmt: skip
def test_smaller_pictures_are_means_of_areas(shape, most, wanted):
    image = (np.arange(np.prod(shape)).reshape(shape) % 251).astype(np.uint8)
    found = smaller(image, most)
    assert found.shape == wanted
    assert abs(found.astype(float).mean() - image.mean()) < 2.5
    if most * 2 == max(shape):
        squares = image.reshape(wanted[0], 2, wanted[1], 2, *wanted[2:]).mean(axis=(1, 3))
        assert np.array_equal(found, np.rint(squares))


@pytest.mark.parametrize("to", ["j2k", "htj2k", "jpegls", "explicit"])
@pytest.mark.parametrize("source", ["ct-explicit", "us-rgb-by-pixel", "us-palette-8"])
def test_a_smaller_picture_is_near_the_mean_of_the_whole_one(to, source, src):
    transcode(ROOT / "testdata" / f"{source}.dcm", src, to=to)
    whole, small = pictured(str(src)), pictured(str(src), size=24)
    assert max(small.shape[:2]) == 24
    assert np.abs(smaller(whole, 24).astype(float) - small).mean() < 12


def test_jpeg_2000_is_decoded_at_a_lower_resolution_where_the_library_can(src, monkeypatch):
    asked = []
    decode = reduced.decode
    monkeypatch.setattr(reduced, "decode", lambda data, halvings: asked.append(halvings) or decode(data, halvings))
    transcode(ROOT / "testdata" / "ct-explicit.dcm", src, to="htj2k")
    for size, halvings in ((96, []), (48, []), (24, [1]), (20, [1]), (12, [2])):
        asked.clear()
        assert max(pictured(str(src), size=size).shape) == size
        assert asked == halvings


# --- the command -----------------------------------------------------------------------------------------------


def test_a_picture_is_written_and_goes_to_standard_output(src, tmp_path, command):
    src.write_bytes(grey(window("900", "800")).encode())
    ran = command("render", src, tmp_path / "out.png")
    assert (ran.status, ran.out, ran.err) == (0, "", "")
    data = (tmp_path / "out.png").read_bytes()
    assert data == render(str(src))
    assert spawn("render", src, "-").stdout == data
    with src.open("rb") as file:
        assert spawn("render", "-", "-", stdin=file).stdout == data


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        pytest.param(["out.dcm"], 2, "does not end in .png", id="a name of another kind"),
        pytest.param(["out.png", "--frame", "2"], 2, "there is no frame 2; there are 1", id="a frame too many"),
        pytest.param(["absent/out.png"], 8, "", id="a directory that is not there"),
    ],
)
def test_what_cannot_be_written_is_said(arguments, status, said, src, tmp_path, fails):
    src.write_bytes(grey({}).encode())
    assert said in fails(status, "render", src, tmp_path / arguments[0], *arguments[1:])


def test_the_source_is_never_the_picture(tmp_path, fails):
    path = tmp_path / "image.png"
    path.write_bytes(grey({}).encode())
    assert "is FILE itself" in fails(2, "render", path, path)


def test_what_has_no_pixels_or_a_broken_palette_is_said(src, tmp_path, fails):
    src.write_bytes((ROOT / "testdata" / "sr-text.dcm").read_bytes())
    assert "no pixels" in fails(4, "render", src, tmp_path / "out.png")
    table = palette()
    table[0x00281201] = dicom.element(0x00281201, "OW", bytes(100))
    image = dicom.Image(bytes(64), allocated=8, stored=8, photometric="PALETTE COLOR", before=table)
    src.write_bytes(image.encode())
    assert "palette cannot be applied" in fails(3, "render", src, tmp_path / "out.png")


def test_the_library_takes_bytes_and_file_objects():
    data = grey({}).encode()
    assert render(io.BytesIO(data)) == render(data)
    with pytest.raises(UsageError, match="no frame 9"):
        render(data, frame=9)


def test_large_frames_are_shown_in_bands_alike(monkeypatch):
    from dcmtx.pixel import display

    images = [image.encode() for image, _ in SHOWN.values()]
    whole = [render(data) for data in images]
    monkeypatch.setattr(display, "_BAND", 100)
    assert [render(data) for data in images] == whole


def test_a_voi_lut_may_begin_below_zero():
    signed = GREY.astype(np.int64) % 4000 - 2000
    items = b"\x28\0\x02\x30US\x06\0" + np.array([4096, 65536 - 2000, 16], "<u2").tobytes()
    items = items.replace(b"US", b"SS") + dicom.element(0x00283006, "OW", RAMP.astype("<u2").tobytes())
    image = dicom.Image(signed.astype("<i2").tobytes(), 32, 40, stored=12, signed=True,
                        before={0x00283010: dicom.sequence(0x00283010, [items])})  # fmt: skip
    assert np.array_equal(pictured(image.encode(), bits=16), RAMP[GREY % 4000])


@pytest.mark.parametrize("number", ["1e999", "-1e999", "nan", "inf"])
def test_numbers_that_are_none_are_passed_over(number):
    odd = window(number, "100") | ds(0x00281053, number) | ds(0x00281052, number)
    assert np.array_equal(pictured(grey(odd).encode()), pictured(grey({}).encode()))
