"""`dcmtx compare`: differences made on purpose are found, and measured by formulas written anew; nothing else is."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import numpy as np
import pytest
from conftest import ROOT, need_tool

from dcmtx.inspect import told
from dcmtx.inspect.compare import compare
from dcmtx.inspect.told import as_record
from dcmtx.pixel import measure
from dcmtx.pixel.display import strongest_change
from dcmtx.transcoding.transcode import transcode

TESTDATA = ROOT / "testdata"
WITH_PIXELS = [path.stem for path in sorted(TESTDATA.glob("*.dcm")) if path.stem != "sr-text"]
FRAME = (np.arange(24 * 20, dtype="<u2").reshape(24, 20) * 7) % 4096


def grey(frames: list[np.ndarray], before: dict[int, bytes] | None = None, **more: Any) -> dicom.Image:
    pixels = b"".join(frame.astype("<u2").tobytes() for frame in frames)
    settings = {"rows": 24, "columns": 20, "stored": 12, "frames": len(frames) if len(frames) > 1 else None} | more
    return dicom.Image(pixels, before=before or {}, **settings)


def changed(frame: np.ndarray, changes: dict[tuple[int, ...], int]) -> np.ndarray:
    copy = frame.copy()
    for place, value in changes.items():
        copy[place] = value
    return copy


# --- what conversions do is equal ------------------------------------------------------------------------------


# Pixels of 1 or 32 bits are in few transfer syntaxes.
FEW = {name: ["implicit", "explicit", "deflated", "deflated-frames"] for name in ("seg-binary", "rtdose-32")}
MANY = ["implicit", "explicit", "deflated", "rle", "jpegls", "jpeg", "j2k", "htj2k"]


@pytest.mark.parametrize(("name", "to"), [(name, to) for name in WITH_PIXELS for to in FEW.get(name, MANY)])
def test_a_lossless_conversion_is_equal(name, to, dst):
    one, other = TESTDATA / f"{name}.dcm", dst
    transcode(one, other, to=to)
    found = compare(str(one), str(other))
    assert found.pixels_equal, found
    assert found.elements == ()
    assert found.equal


def test_other_planes_are_equal_and_another_colour_space_but_for_its_rounding():
    rgb = (np.arange(24 * 20 * 3).reshape(24, 20, 3) * 5 % 256).astype(np.uint8)
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    ybr = np.clip(np.rint(rgb @ matrix.T + [0, 128, 128]), 0, 255).astype(np.uint8)

    def colour(cells: np.ndarray, photometric: str, planar: int = 0) -> bytes:
        return dicom.Image(
            cells.tobytes(), 24, 20, samples=3, photometric=photometric, allocated=8, stored=8, planar=planar
        ).encode()

    found = compare(colour(rgb, "RGB"), colour(rgb.transpose(2, 0, 1), "RGB", planar=1))
    assert found.equal
    assert {element.tag for element in found.changed} == {0x00280006}
    # Of these only the rounding differs.
    found = compare(colour(rgb, "RGB"), colour(ybr, "YBR_FULL"))
    assert found.notes == ("YBR_FULL was made RGB, which rounds",)
    assert not found.equal
    assert found.differences[0].measured.largest <= 2


def test_bits_that_hold_no_pixel_are_passed_over_with_a_note():
    padded = FRAME | 0x3000
    found = compare(grey([FRAME]).encode(), grey([padded]).encode())
    assert found.equal
    assert found.notes == ("bits outside Bits Stored differ, or High Bit does",)
    assert compare(grey([FRAME]).encode(), grey([FRAME << 4], high_bit=15).encode()).pixels_equal


# --- differences made on purpose -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({(3, 4): 1}, id="one pixel"),
        pytest.param({(0, 0): 4095}, id="the first"),
        pytest.param({(23, 19): 0, (7, 7): 4000, (7, 8): 3999}, id="several"),
    ],
)
def test_each_changed_pixel_is_found_and_measured(changes):
    other = changed(FRAME, changes)
    found = compare(grey([FRAME, FRAME, FRAME]).encode(), grey([FRAME, other, FRAME]).encode())
    assert not found.equal
    (one,) = found.differences
    error = np.abs(FRAME.astype(int) - other)
    worst = np.unravel_index(error.argmax(), error.shape)
    assert one.frame == found.worst == 1
    assert one.measured.samples == len(changes)
    assert one.measured.largest == error.max()
    assert one.measured.mean == pytest.approx(error.mean())
    assert one.measured.worst == (*worst, 0)
    assert one.measured.values == (FRAME[worst], other[worst])
    assert one.psnr == pytest.approx(20 * math.log10(4095 / math.sqrt((error.astype(float) ** 2).mean())))
    assert found.psnr == pytest.approx(one.psnr + 10 * math.log10(3))
    assert one.measured.ssim == pytest.approx(ssim_by_definition(FRAME, other, 4095), abs=1e-9)


def ssim_by_definition(one: np.ndarray, other: np.ndarray, peak: int) -> float:
    """Return the SSIM by the formula of its paper, window by window, weight by weight."""
    weights = {(y, x): math.exp(-((y - 5) ** 2 + (x - 5) ** 2) / (2 * 1.5**2)) for y in range(11) for x in range(11)}
    whole = sum(weights.values())
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    found = []
    for top in range(one.shape[0] - 10):
        for left in range(one.shape[1] - 10):
            window = [
                (weight / whole, float(one[top + y, left + x]), float(other[top + y, left + x]))
                for (y, x), weight in weights.items()
            ]
            mean_x, mean_y = sum(w * x for w, x, _ in window), sum(w * y for w, _, y in window)
            variance_x = sum(w * (x - mean_x) ** 2 for w, x, _ in window)
            variance_y = sum(w * (y - mean_y) ** 2 for w, _, y in window)
            covariance = sum(w * (x - mean_x) * (y - mean_y) for w, x, y in window)
            luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
            found.append(luminance * (2 * covariance + c2) / (variance_x + variance_y + c2))
    return sum(found) / len(found)


def test_large_frames_are_measured_in_bands_alike(monkeypatch):
    one = (np.arange(60 * 50 * 3).reshape(60, 50, 3) * 7 % 251).astype(np.uint8)
    other = (one + (np.arange(one.size).reshape(one.shape) % 5)).astype(np.uint8)
    whole = measure.difference(one, other, 255)
    monkeypatch.setattr(measure, "_BAND", 1000)
    banded = measure.difference(one, other, 255)
    assert whole is not None
    assert banded is not None
    assert (banded.samples, banded.largest, banded.worst) == (whole.samples, whole.largest, whole.worst)
    assert banded.ssim == pytest.approx(whole.ssim)
    assert (banded.mean, banded.squares) == (pytest.approx(whole.mean), whole.squares)


@pytest.mark.parametrize(
    ("one", "other", "largest"),
    [
        (np.array([[0]], np.uint8), np.array([[255]], np.uint8), 255),
        (np.array([[-32768]], np.int16), np.array([[32767]], np.int16), 65535),
        (np.array([[0]], np.uint32), np.array([[2**32 - 1]], np.uint32), 2**32 - 1),
        (np.array([[-(2**31)]], np.int32), np.array([[2**31 - 1]], np.int32), 2**32 - 1),
    ],
)
def test_errors_never_wrap_around(one, other, largest):
    for pair in ((one, other), (other, one)):
        found = measure.difference(*pair, 255)
        assert found is not None
        assert (found.largest, found.ssim) == (largest, None)


def test_a_lossy_conversion_differs_as_its_outcome_says(src, dst):
    transcode(TESTDATA / "ct-explicit.dcm", src, to="explicit", force=True)
    outcome = transcode(src, dst, to="j2k", lossy=True, ratio=8)
    found = compare(str(src), str(dst))
    assert found.elements == ()
    assert found.psnr == pytest.approx(outcome.psnr, abs=0.01)
    assert {0x00080018, 0x00282110, 0x00282112, 0x00282114} <= {element.tag for element in found.changed}


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ({}, {"rows": 20, "columns": 24}, "Rows: 24 and 20"),
        ({}, {"photometric": "MONOCHROME1"}, "Photometric Interpretation: MONOCHROME2 and MONOCHROME1"),
    ],
)
def test_what_cannot_be_compared_differs_and_says_why(one, other, reason):
    found = compare(grey([FRAME], **one).encode(), grey([FRAME], **other).encode())
    assert (found.reason, found.equal) == (reason, False)


def test_numbers_of_frames_and_missing_pixels_differ():
    found = compare(grey([FRAME]).encode(), grey([FRAME, FRAME]).encode())
    assert found.reason == "frames: 1 and 2"
    found = compare(grey([FRAME]).encode(), dicom.file(grey([FRAME]).elements().values()))
    assert found.reason == "only the first has pixels"
    report = (TESTDATA / "sr-text.dcm").read_bytes()
    assert compare(report, report).equal


# --- data sets -------------------------------------------------------------------------------------------------


def element(tag: int, vr: str, value: Any, syntax: str = dicom.EXPLICIT) -> dict[int, bytes]:
    return {tag: dicom.element(tag, vr, value, syntax)}


def nested(value: str, *, undefined: bool, syntax: str = dicom.EXPLICIT) -> dict[int, bytes]:
    inner = dicom.sequence(0x00082218, [dicom.element(0x00080100, "SH", value, syntax)], syntax, undefined=undefined)
    return {0x00081140: dicom.sequence(0x00081140, [inner, inner], syntax, undefined=undefined)}


def tags(found: Any) -> list[tuple[int, str]]:
    return [(one.tag, one.what) for one in found]


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        pytest.param(element(0x00100020, "LO", "A"), element(0x00100020, "LO", "B"), [(0x00100020, "value")],
                     id="text"),
        pytest.param(element(0x00100020, "LO", "A"), {}, [(0x00100020, "only in the first")], id="one alone"),
        pytest.param({}, element(0x00100020, "LO", "A"), [(0x00100020, "only in the second")], id="the other alone"),
        pytest.param(element(0x00100020, "LO", "A"), {0x00100020: b"\x10\0\x20\0LO\x04\0A   "}, [], id="pads"),
        pytest.param(element(0x00200013, "IS", "1"), element(0x00200013, "LO", "1"), [(0x00200013, "VR")], id="VR"),
        pytest.param(element(0x00180050, "DS", "1"), element(0x00180050, "UN", b"1 "), [], id="unknown VR"),
        pytest.param(nested("a", undefined=True), nested("a", undefined=False), [], id="lengths of sequences"),
        pytest.param(nested("a", undefined=True), nested("b", undefined=False), [(0x00080100, "value")] * 2,
                     id="deep inside"),
        pytest.param(nested("a", undefined=True), {0x00081140: dicom.sequence(0x00081140, [])},
                     [(0x00081140, "items")], id="items"),
        pytest.param(element(0x00100000, "UL", [4]), {}, [], id="a group length"),
        pytest.param(element(0x00280103, "US", 0), {}, [], id="nothing"),
    ],
)  # fmt: skip
def test_elements_are_compared_by_their_values(one, other, wanted):
    found = compare(grey([FRAME], one).encode(), grey([FRAME], other).encode())
    assert tags(found.elements) == wanted
    assert found.equal == (not wanted)


@pytest.mark.parametrize("syntax", [dicom.IMPLICIT, dicom.BIG_ENDIAN])
def test_elements_are_compared_across_encodings(syntax):
    def image(syntax: str, value: str) -> bytes:
        before = nested(value, undefined=True, syntax=syntax) | element(0x00280120, "US", 513, syntax)
        before |= element(0x00091001, "UN", b"\1\2\3\4", syntax)
        return dicom.Image(FRAME.tobytes(), 24, 20, stored=12, before=before, syntax=syntax).encode()

    assert compare(image(dicom.EXPLICIT, "a"), image(syntax, "a")).equal
    assert tags(compare(image(dicom.EXPLICIT, "a"), image(syntax, "b")).elements) == [(0x00080100, "value")] * 2


def test_a_uid_or_a_flag_that_changed_without_a_loss_is_a_difference():
    for tag, vr, value in ((0x00080018, "UI", "1.2.9"), (0x00080008, "CS", "DERIVED\\PRIMARY")):
        found = compare(grey([FRAME]).encode(), grey([FRAME], element(tag, vr, value)).encode())
        assert tags(found.elements) == [(tag, "value")]


def test_sequences_may_nest_deep():
    def deep(value: str) -> dict[int, bytes]:
        inner = dicom.element(0x00080100, "SH", value)
        for _ in range(1500):
            inner = dicom.sequence(0x00082218, [inner], undefined=True)
        return {0x00082218: inner}

    found = compare(grey([FRAME], deep("a")).encode(), grey([FRAME], deep("b")).encode())
    assert tags(found.elements) == [(0x00080100, "value")]
    assert len(found.elements[0].path) == 1500


# --- the command -----------------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "one.dcm", tmp_path / "other.dcm"
    one.write_bytes(grey([FRAME], element(0x00100010, "PN", "Secret^Name")).encode())
    other.write_bytes(grey([changed(FRAME, {(2, 3): 99})], element(0x00100010, "PN", "Other^Name")).encode())
    return one, other


def test_equal_files_have_status_0_and_others_7(two, command):
    one, other = two
    ran = command("compare", one, one)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == [f"{one}, {one}: equal", "  pixels    equal, 1 frame"]
    ran = command("compare", one, other)
    assert (ran.status, ran.err) == (7, "")
    first, pixels, frame, name = ran.out.splitlines()
    assert first.endswith(": different")
    assert pixels.startswith("  pixels    1 of 1 frame differs, PSNR of all ")
    assert "1 of 480 samples differ, largest error " in frame
    assert frame.endswith(f"worst at row 3, column 4: {FRAME[2, 3]} and 99")
    assert name == "  element   (0010,0010) Patient's Name has another value"


def test_values_are_shown_to_who_asks_for_them(two, command):
    assert "Secret" not in command("compare", *two).out
    assert "'Secret^Name' and 'Other^Name'" in command("compare", "--values", *two).out


def test_json_has_every_field_always(two, command):
    ran = command("compare", "--json", *two)
    record = json.loads(ran.out)
    assert list(record) == ["version", "first", "second", "equal", "pixels", "elements", "changed", "notes", "error"]
    assert list(record["pixels"]) == ["equal", "reason", "frames", "psnr", "differences"]
    assert list(record) == list(told.MEANINGS)
    (frame,) = record["pixels"]["differences"]
    assert list(frame) == ["frame", "samples", "total", "largest", "mean", "psnr", "ssim", "worst"]
    assert frame["worst"] == {"row": 3, "column": 4, "sample": 1, "first": int(FRAME[2, 3]), "second": 99}
    assert record["elements"] == [
        {"path": [], "tag": "(0010,0010)", "name": "Patient's Name", "what": "value"}
    ]  # fmt: skip
    assert "Secret" not in ran.out
    assert list(as_record(compare(str(two[0]), str(two[0])))) == list(record)


@pytest.fixture
def archives(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "a", tmp_path / "b"
    for root in (one, other):
        (root / "deep").mkdir(parents=True)
        (root / "README").write_text(f"not DICOM, of {root}, and not compared")
    for number in range(4):
        data = grey([FRAME], sop_instance=f"1.2.{number}").encode()
        (one / "deep" / f"{number}.dcm").write_bytes(data)
        if number == 1:
            data = grey([changed(FRAME, {(0, 0): 5})], sop_instance=f"1.2.{number}").encode()
        if number != 3:
            (other / "deep" / f"{number}.dcm").write_bytes(data)
    (other / "new.dcm").write_bytes(grey([FRAME], sop_instance="1.2.9").encode())
    return one, other


@pytest.mark.parametrize("by", ["path", "uid"])
def test_directories_are_paired(by, archives, command):
    one, other = archives
    if by == "uid":
        (other / "deep" / "0.dcm").rename(other / "renamed.dcm")
    ran = command("compare", one, other, "--by", by)
    assert ran.status == 7
    assert ran.err == "dcmtx: 2 equal, 1 different, 2 without a partner, 0 failed\n"
    assert f"{one}/deep/3.dcm: only in the first" in ran.out
    assert f"{other}/new.dcm: only in the second" in ran.out
    assert f"{one}/deep/1.dcm, {other}/deep/1.dcm: different" in ran.out
    assert "deep/2.dcm" not in ran.out
    records = [json.loads(line) for line in command("compare", one, other, "--by", by, "--json").out.splitlines()]
    assert sorted((bool(one["first"]), bool(one["second"]), one["equal"]) for one in records) == [
        (False, True, False), (True, False, False), (True, True, False), (True, True, True), (True, True, True)
    ]  # fmt: skip
    assert command("compare", one, one, "--by", by).status == 0


def test_what_cannot_be_read_is_told_and_the_others_are_compared(archives, command):
    one, other = archives
    data = (other / "deep" / "2.dcm").read_bytes()
    (other / "deep" / "2.dcm").write_bytes(data[:-100])
    ran = command("compare", one, other)
    assert ran.status == 9
    assert "1 equal, 1 different, 2 without a partner, 1 failed" in ran.err
    assert f"dcmtx: {other}/deep/2.dcm: " in ran.err


def test_a_uid_that_stands_twice_is_told(archives, command):
    one, other = archives
    (one / "copy.dcm").write_bytes((one / "deep" / "0.dcm").read_bytes())
    ran = command("compare", one, other, "--by", "uid")
    assert ran.status == 9
    assert "SOP Instance UID 1.2.0 stands in another file too" in ran.err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        pytest.param(["one.dcm", "absent.dcm"], 3, "no such file", id="a file that is missing"),
        pytest.param(["one.dcm", "."], 2, "is a directory, and the other is not", id="a file and a directory"),
        pytest.param([".", "None"], 3, "dcmtx: None: there is no such directory", id="a directory and nothing"),
        pytest.param(["one.dcm", "other.dcm", "--image", "x.jpg"], 2, "does not end in .png", id="no PNG"),
        pytest.param(["one.dcm", "other.dcm", "--frame", "1"], 2, "is for --image", id="a frame for nothing"),
    ],
)
def test_what_cannot_be_compared_is_said(arguments, status, said, two, tmp_path, fails, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in fails(status, "compare", *arguments)


@pytest.mark.parametrize("name", ["absent.dcm", "cut.dcm"])
def test_json_of_what_cannot_be_compared_is_one_object_and_the_line_is_there_as_ever(name, two, tmp_path, command):
    first, second = two
    (tmp_path / "cut.dcm").write_bytes(second.read_bytes()[:-100])
    without = command("compare", first, tmp_path / name)
    ran = command("compare", "--json", first, tmp_path / name)
    assert (ran.status, ran.err) == (without.status, without.err)
    assert ran.status == 3
    assert ran.err.count("\n") == 1
    record = json.loads(ran.out)
    assert (record["first"], record["second"], record["equal"]) == (str(first), str(tmp_path / name), False)
    assert (record["error"]["status"], record["error"]["path"]) == (3, str(tmp_path / name))


# --- the picture -----------------------------------------------------------------------------------------------


def test_the_picture_shows_both_frames_and_where_they_differ(two, tmp_path, command):
    pytest.importorskip("matplotlib")
    one, other = two
    assert command("compare", one, other, "--image", tmp_path / "out.png").status == 7
    image = imagecodecs.png_decode((tmp_path / "out.png").read_bytes())[..., :3].astype(int)
    assert image.shape == (650, 1950, 3)
    colourful = np.abs(image - image.mean(axis=2, keepdims=True)).max(axis=2) > 40
    # Grey frames on the left two thirds, but for nothing; the one pixel that differs, and the scale, on the right.
    assert not colourful[:, :1240].any()
    rows, columns = np.nonzero(colourful[:, 1240:1800])
    assert (rows.max() - rows.min(), columns.max() - columns.min()) < (60, 60)
    assert command("compare", one, one, "--image", tmp_path / "same.png", "--frame", "1").status == 0
    assert command("compare", one, one, "--image", tmp_path / "none.png", "--frame", "2").status == 2


def test_one_pixel_of_a_large_frame_is_seen_in_the_picture(tmp_path, command):
    pytest.importorskip("matplotlib")
    frame = np.full((1500, 1100), 1000, "<u2")
    for name, image in (("a", frame), ("b", changed(frame, {(777, 555): 1001}))):
        (tmp_path / name).write_bytes(grey([image], rows=1500, columns=1100).encode())
    assert command("compare", tmp_path / "a", tmp_path / "b", "--image", tmp_path / "out.png").status == 7
    image = imagecodecs.png_decode((tmp_path / "out.png").read_bytes())[..., :3].astype(int)
    panel = image[:, 1240:1800]
    assert (np.abs(panel - panel.mean(axis=2, keepdims=True)).max(axis=2) > 40).any()


def test_a_picture_needs_its_extra_and_says_so(two, tmp_path, command, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    ran = command("compare", *two, "--image", tmp_path / "out.png")
    assert ran.status == 4
    assert "pip install 'dcmtx[plot]'" in ran.err
    assert not (tmp_path / "out.png").exists()


def test_the_strongest_difference_of_a_large_frame_stays():
    frame = np.full((100, 300), 20, np.uint8)
    small = strongest_change(frame, changed(frame, {(57, 211): 11, (57, 212): 25}), 30)
    assert small.shape == (10, 30)
    assert small.min() == small[5, 21] == -9
    colours = np.full((40, 30, 3), 20, np.uint8)
    small = strongest_change(colours, changed(colours, {(39, 29, 1): 255, (39, 29, 2): 0}), 20)
    assert (small.shape, small[19, 14], small.sum()) == ((20, 15), 235, 235)


def test_dcmtk_measures_the_same(src, dst):
    transcode(TESTDATA / "ct-explicit.dcm", src, to="explicit", force=True)
    transcode(src, dst, to="j2k", lossy=True, ratio=8)
    transcode(dst, dst, to="explicit")
    ran = subprocess.run([need_tool("dcmicmp"), src, dst], capture_output=True, text=True, check=False, timeout=60)
    said = {name.strip(): float(value) for name, value in (line.split("=") for line in ran.stdout.splitlines())}
    measured = compare(str(src), str(dst)).differences[0].measured
    assert measured.largest == said["Max Absolute Error"]
    assert measured.mean == pytest.approx(said["Mean Absolute Error (MAE)"], rel=1e-4)
    rmse = math.sqrt(measured.squares / measured.total)
    assert rmse == pytest.approx(said["Root Mean Square Error (RMSE)"], rel=1e-4)


# --- the error of a frame ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["u1", "i1", "<u2", "<i2", "<u4", "<i4"])
def test_the_error_of_a_frame_is_exact(kind: str) -> None:
    numbers = np.random.default_rng(7)
    least, most = (int(getattr(np.iinfo(kind), name)) for name in ("min", "max"))
    # More than one piece, and the extremes of the type opposite one another.
    one = numbers.integers(least, most, (300, 301), endpoint=True).astype(kind)
    other = numbers.integers(max(least, -1000), min(most, 1000), (300, 301), endpoint=True).astype(kind)
    if one.itemsize < 4:
        one[0, :2], other[0, :2] = (least, most), (most, least)
    else:
        # Squares of larger errors have no exact sum.
        one = numbers.integers(0, 1000, one.shape).astype(kind)
    exact = one.astype(object) - other.astype(object)
    assert measure.error(one, other) == (int(abs(exact).max()), int((exact * exact).sum()))
    assert measure.error(one, one) == (0, 0)
