"""`dcmtx crop`: a part of an image says of itself what is true of it, and nothing else; its pixels are its own."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dicom
import numpy as np
import pydicom
import pytest
from conftest import Ran
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

import dcmtx

Run = Callable[..., Ran]
Crop = Callable[..., Dataset]
SERIES = Path(__file__).parents[2] / "shared" / "data" / "series"
ROWS, COLUMNS, FRAMES = 12, 16, 5
CT, SC, US_MULTI, ENHANCED_CT = (
    f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("2", "7", "3.1", "2.1")
)  # fmt: skip
NM, RT_IMAGE, RT_DOSE = (f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("20", "481.1", "481.2"))
# What is cut in most tests: rows 3-9 and columns 5-14, counted from 1 to the last.
PART = ("--rows", "2:9", "--columns", "4:14")


def item(**attributes: Any) -> Dataset:
    """Return a data set of these attributes."""
    made = Dataset()
    for name, value in attributes.items():
        setattr(made, name, Sequence(value) if isinstance(value, list) and isinstance(value[0], Dataset) else value)
    return made


def noise(*shape: int, most: int = 4096, kind: str = "<u2") -> np.ndarray:
    return np.random.default_rng(5).integers(0, most, shape).astype(kind)


def image(pixels: np.ndarray | None = None, sop_class: str = SC, **attributes: Any) -> Dataset:
    """Return an image of 12 rows and 16 columns, of frames if its pixels have them."""
    pixels = noise(ROWS, COLUMNS) if pixels is None else pixels
    grey = item(
        SOPClassUID=sop_class,
        SOPInstanceUID="1.2.3.4.5",
        StudyInstanceUID="1.2.3.1",
        SeriesInstanceUID="1.2.3.2",
        FrameOfReferenceUID="1.2.3.3",
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        Modality="OT",
        PatientName="Test^Crop",
        PatientID="1",
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        Rows=ROWS,
        Columns=COLUMNS,
        BitsAllocated=16,
        BitsStored=12,
        HighBit=11,
        PixelRepresentation=0,
    )
    if pixels.ndim == 3 and "SamplesPerPixel" not in attributes:
        grey.NumberOfFrames = len(pixels)
    for name, value in attributes.items():
        setattr(grey, name, Sequence(value) if isinstance(value, list) and isinstance(value[0], Dataset) else value)
    grey.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    grey["PixelData"].VR = "OW" if grey.BitsAllocated > 8 else "OB"
    return grey


def write(dataset: Dataset, path: Path, syntax: str = dicom.EXPLICIT) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    dataset.file_meta, dataset.preamble = meta, bytes(128)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


@pytest.fixture
def crop(tmp_path: Path, command: Run) -> Crop:
    """Write a data set, crop it with these arguments, and return what pydicom reads of the part."""

    def run(dataset: Dataset, *arguments: str, syntax: str = dicom.EXPLICIT) -> Dataset:
        source, made = tmp_path / "source.dcm", tmp_path / "part.dcm"
        write(dataset, source, syntax)
        before = source.read_bytes()
        ran = command("crop", source, made, *(arguments or PART))
        assert ran.status == 0, ran.err
        assert source.read_bytes() == before
        dicom.walk(made.read_bytes())
        return pydicom.dcmread(made)

    return run


# --- pixels --------------------------------------------------------------------------------------------------------


def part_of(pixels: np.ndarray, frames: slice = slice(None)) -> np.ndarray:
    """Return rows 2:9 and columns 4:14 of an image, or of these frames."""
    return pixels[2:9, 4:14] if pixels.ndim == 2 else pixels[frames, 2:9, 4:14]


@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG_ENDIAN, dicom.DEFLATED])
def test_a_native_part_has_the_pixels_of_the_part_and_the_syntax_of_the_source(crop, syntax):
    pixels = noise(FRAMES, ROWS, COLUMNS)
    written = pixels.byteswap() if syntax == dicom.BIG_ENDIAN else pixels
    made = crop(image(written), *PART, "--frames", "1:4", syntax=syntax)
    assert made.file_meta.TransferSyntaxUID == syntax
    assert (made.Rows, made.Columns, made.NumberOfFrames) == (7, 10, 3)
    np.testing.assert_array_equal(made.pixel_array, part_of(pixels, slice(1, 4)))


@pytest.mark.parametrize(("allocated", "kind"), [(8, "u1"), (16, "<u2"), (32, "<u4")])
def test_words_of_every_width_are_cut(crop, allocated, kind):
    pixels = noise(ROWS, COLUMNS, most=200, kind=kind)
    made = crop(image(pixels, BitsAllocated=allocated, BitsStored=allocated, HighBit=allocated - 1))
    np.testing.assert_array_equal(made.pixel_array, part_of(pixels))


def test_negative_values_stay_negative(crop):
    pixels = noise(ROWS, COLUMNS, kind="<i2") - 2000
    made = crop(image(pixels, PixelRepresentation=1, BitsStored=16, HighBit=15))
    np.testing.assert_array_equal(made.pixel_array, part_of(pixels))


def test_bits_are_packed_anew(crop):
    bits = noise(3, 11, 13, most=2, kind="u1")
    packed = np.packbits(bits.reshape(-1), bitorder="little")
    made = image(packed, BitsAllocated=1, BitsStored=1, HighBit=0, Rows=11, Columns=13, NumberOfFrames=3)
    part = crop(made, "--rows", "1:8", "--columns", "2:11", "--frames", "1:3")
    expected = np.packbits(bits[1:3, 1:8, 2:11].reshape(-1), bitorder="little").tobytes()
    assert part.PixelData == expected + b"\0" * (len(expected) % 2)


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_is_cut_by_pixel_and_by_plane(crop, planar):
    pixels = noise(ROWS, COLUMNS, 3, most=256, kind="u1")
    written = pixels.transpose(2, 0, 1).copy() if planar else pixels
    made = crop(
        image(
            written, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=planar, BitsAllocated=8,
            BitsStored=8, HighBit=7,
        )
    )  # fmt: skip
    np.testing.assert_array_equal(made.pixel_array, pixels[2:9, 4:14])


def shared_chroma() -> Dataset:
    """Return an image whose pixels share chroma in pairs: Y1 Y2 Cb Cr."""
    return image(
        noise(ROWS, COLUMNS // 2, 4, most=256, kind="u1"), SamplesPerPixel=3, BitsAllocated=8, BitsStored=8, HighBit=7,
        PhotometricInterpretation="YBR_FULL_422", PlanarConfiguration=0,
    )  # fmt: skip


def test_pixels_that_share_chroma_are_cut_in_pairs(crop):
    source = shared_chroma()
    made = crop(source)
    pairs = np.frombuffer(source.PixelData, np.uint8).reshape(ROWS, COLUMNS // 2, 4)
    assert (made.PhotometricInterpretation, made.Columns) == ("YBR_FULL_422", 10)
    assert made.PixelData == pairs[2:9, 2:7].tobytes()


@pytest.mark.parametrize("columns", ["3:9", "4:9"])
def test_pairs_that_share_chroma_are_not_parted(tmp_path, command, columns):
    source = write(shared_chroma(), tmp_path / "a.dcm")
    ran = command("crop", source, tmp_path / "b.dcm", "--columns", columns)
    assert (ran.status, "share chroma in pairs" in ran.line) == (5, True)
    assert not (tmp_path / "b.dcm").exists()


LOSSLESS = ["jpeg-lossless", "jpegls", "j2k", "htj2k", "jpegxl", "rle", "deflated-frames"]


@pytest.mark.parametrize("to", LOSSLESS)
def test_codestreams_are_decoded_cut_and_encoded_again_in_their_syntax(tmp_path, command, to):
    pixels = noise(3, ROWS, COLUMNS)
    native = write(image(pixels), tmp_path / "native.dcm")
    coded, part, back = (tmp_path / name for name in ("coded.dcm", "part.dcm", "back.dcm"))
    dcmtx.transcode(native, coded, to=to)
    assert command("crop", coded, part, *PART, "--frames", "1:3").status == 0
    syntaxes = [dicom.walk(path.read_bytes()).syntax for path in (coded, part)]
    assert syntaxes[0] == syntaxes[1]
    dcmtx.transcode(part, back, to="explicit")
    np.testing.assert_array_equal(pydicom.dcmread(back).pixel_array, part_of(pixels, slice(1, 3)))


def test_a_target_may_be_named(tmp_path, command):
    pixels = noise(ROWS, COLUMNS)
    source, part = write(image(pixels), tmp_path / "a.dcm"), tmp_path / "b.dcm"
    assert command("crop", source, part, *PART, "--to", "rle").status == 0
    made = pydicom.dcmread(part)
    assert made.file_meta.TransferSyntaxUID == dicom.RLE
    np.testing.assert_array_equal(made.pixel_array, part_of(pixels))


def test_frames_alone_have_their_codestreams_copied(tmp_path, command):
    native = write(image(noise(FRAMES, 64, 64), Rows=64, Columns=64), tmp_path / "a.dcm")
    for name, options in (("jpegls", {}), ("j2k", {"lossy": True, "ratio": 6})):
        coded, part = tmp_path / f"{name}.dcm", tmp_path / f"{name}-part.dcm"
        dcmtx.transcode(native, coded, to=name, **options)
        assert command("crop", coded, part, "--frames", "1:4").status == 0
        before, after = dicom.walk(coded.read_bytes()), dicom.walk(part.read_bytes())
        assert after.syntax == before.syntax
        assert after.fragments == before.fragments[1:4]


@pytest.mark.parametrize(("name", "kind"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
@pytest.mark.parametrize("to", [(), ("--to", "deflated")], ids=["explicit", "deflated"])
def test_floating_point_is_cut_bit_for_bit(tmp_path, command, name, kind, to):
    pixels = np.random.default_rng(3).normal(size=(3, ROWS, COLUMNS)).astype(kind)
    source = image(NumberOfFrames=3)
    for gone in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        del source[gone]
    source.BitsAllocated = 8 * pixels.itemsize
    setattr(source, name, pixels.tobytes())
    path, made = write(source, tmp_path / "a.dcm"), tmp_path / "b.dcm"
    assert command("crop", path, made, *PART, "--frames", "1:3", *to).status == 0
    found = pydicom.dcmread(made)
    assert found[name].value == part_of(pixels, slice(1, 3)).tobytes()
    assert "BitsStored" not in found
    assert command("crop", path, tmp_path / "c.dcm", *PART, "--to", "jpegls").status == 5


# --- loss ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "relative", "options"),
    [
        ("jpeg-baseline", "1.2.840.10008.1.2.4.70", {}),
        ("jpegls-near", "1.2.840.10008.1.2.4.80", {"near": 3}),
        ("j2k", "1.2.840.10008.1.2.4.90", {"ratio": 6}),
        ("htj2k", "1.2.840.10008.1.2.4.201", {"ratio": 6}),
    ],
)
def test_what_was_lossy_is_not_coded_with_loss_again_and_keeps_its_history(tmp_path, command, to, relative, options):
    native = write(
        image(noise(64, 64, most=256, kind="u1"), Rows=64, Columns=64, BitsAllocated=8, BitsStored=8, HighBit=7),
        tmp_path / "a.dcm",
    )
    coded, part, whole = (tmp_path / name for name in ("coded.dcm", "part.dcm", "whole.dcm"))
    dcmtx.transcode(native, coded, to=to, lossy=True, **options)
    assert command("crop", coded, part, "--rows", "10:50", "--columns", "20:60").status == 0
    dcmtx.transcode(coded, whole, to="explicit")
    dcmtx.transcode(part, tmp_path / "back.dcm", to="explicit")
    before, after = pydicom.dcmread(coded), pydicom.dcmread(part)
    assert after.file_meta.TransferSyntaxUID == relative
    assert after.LossyImageCompression == "01"
    assert after.LossyImageCompressionRatio == before.LossyImageCompressionRatio
    assert after.LossyImageCompressionMethod == before.LossyImageCompressionMethod
    expected = pydicom.dcmread(whole).pixel_array[10:50, 20:60]
    np.testing.assert_array_equal(pydicom.dcmread(tmp_path / "back.dcm").pixel_array, expected)


def test_loss_is_taken_by_consent_alone_and_recorded_with_the_crop(tmp_path, command):
    native, part = write(image(noise(64, 64), Rows=64, Columns=64), tmp_path / "a.dcm"), tmp_path / "b.dcm"
    arguments = ("crop", native, part, "--rows", "0:40", "--to", "j2k", "--ratio", "5")
    assert command(*arguments).status == 5
    assert command(*arguments, "--lossy").status == 0
    made = pydicom.dcmread(part)
    said = made.DerivationDescription
    assert said.startswith("cropped to rows 1-40 of 64, columns 1-64 of 64; JPEG 2000 lossy compression, ratio ")
    assert float(said.rsplit(" ", 1)[1]) == pytest.approx(float(made.LossyImageCompressionRatio))
    assert [code.CodeValue for code in made.DerivationCodeSequence] == ["CROP", "113040"]
    assert len(made.SourceImageSequence) == 1
    other = tmp_path / "c.dcm"
    assert command("crop", native, other, "--rows", "0:40").status == 0
    assert pydicom.dcmread(other).SOPInstanceUID != made.SOPInstanceUID


@pytest.mark.parametrize("option", ["--lossy", "--ratio=5", "--effort=3"])
def test_coding_options_want_a_target(tmp_path, command, option):
    ran = command("crop", write(image(), tmp_path / "a.dcm"), tmp_path / "b.dcm", *PART, option)
    assert ran.status in (2, 5)
    assert not (tmp_path / "b.dcm").exists()


# --- places --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG_ENDIAN])
def test_the_position_is_that_of_the_first_pixel_that_is_kept(crop, syntax):
    source = image(
        sop_class=CT, ImagePositionPatient=["-100.5", "20.25", "3"], PixelSpacing=["0.5", "2"],
        ImageOrientationPatient=["0.6", "0.8", "0", "0", "0", "-1"], SliceLocation="7.5",
    )  # fmt: skip
    made = crop(source, syntax=syntax)
    # Four columns of 2 mm along the row, two rows of 0.5 mm along the column.
    assert list(map(str, made.ImagePositionPatient)) == ["-95.7", "26.65", "2"]
    kept = ("ImageOrientationPatient", "PixelSpacing", "SliceLocation", "FrameOfReferenceUID", "StudyInstanceUID")
    assert [made[name].value for name in kept] == [source[name].value for name in kept]


def test_positions_have_as_many_digits_as_fit(crop):
    made = crop(
        image(
            sop_class=CT, ImagePositionPatient=["-123.45678901234", "1e-3", "0"], PixelSpacing=["0.3333333333333", "1"],
            ImageOrientationPatient=["0.70710678118655", "0.70710678118655", "0", "0", "0", "-1"],
        )
    )  # fmt: skip
    values = [str(value) for value in made.ImagePositionPatient]
    assert all(len(value) <= 16 for value in values)
    np.testing.assert_allclose(
        [float(value) for value in values], [-120.628361887594, 2.82942712474, -0.6666666666666], atol=1e-10
    )


@pytest.mark.parametrize("position", ["1\\2\\1e999999999", "1\\2", "1\\2\\nan", "a\\b\\c", "0e9999999\\1\\1e-999999"])
def test_numbers_that_make_no_sense_are_refused(tmp_path, command, position):
    source = image(sop_class=CT, PixelSpacing=["1", "1"], ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])
    path = write(source, tmp_path / "a.dcm")
    data = path.read_bytes()
    place = data.index(dicom.header(0x00200037, "DS", 12))
    path.write_bytes(data[:place] + dicom.element(0x00200032, "DS", position) + data[place:])
    ran = command("crop", path, tmp_path / "b.dcm", "--rows", "2:9")
    assert (ran.status, "position" in ran.line) == (5, True)


def test_a_position_that_cannot_be_moved_is_refused(tmp_path, command):
    source = write(image(sop_class=CT, ImagePositionPatient=["1", "2", "3"]), tmp_path / "a.dcm")
    ran = command("crop", source, tmp_path / "b.dcm", "--rows", "2:9")
    assert (ran.status, "position" in ran.line) == (5, True)
    # From the first pixel on, it stays.
    assert command("crop", source, tmp_path / "b.dcm", "--rows", ":9").status == 0


@pytest.mark.parametrize("orientation", [None, ["1", "0", "0", "0", "-1", "0"]])
def test_the_position_on_a_receptor_moves(crop, orientation):
    more = {} if orientation is None else {"RTImageOrientation": orientation}
    made = crop(
        image(sop_class=RT_IMAGE, RTImagePosition=["-10", "20"], ImagePlanePixelSpacing=["0.5", "0.25"], **more)
    )
    assert list(made.RTImagePosition) == [-9, 19]


def test_detectors_of_nuclear_medicine_move(crop):
    detector = item(ImagePositionPatient=["0", "0", "5"], ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])
    made = crop(image(sop_class=NM, PixelSpacing=["3", "2"], DetectorInformationSequence=[detector]))
    assert list(made.DetectorInformationSequence[0].ImagePositionPatient) == [8, 6, 5]


def test_slices_of_nuclear_medicine_begin_with_the_first_that_is_kept(crop):
    detector = item(ImagePositionPatient=["0", "0", "5"], ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])
    source = image(
        noise(FRAMES, ROWS, COLUMNS), sop_class=NM, PixelSpacing=["3", "2"], DetectorInformationSequence=[detector],
        SliceVector=[1, 2, 3, 4, 5], SpacingBetweenSlices="-2.5",
    )  # fmt: skip
    made = crop(source, "--frames", "2:4")
    assert list(made.DetectorInformationSequence[0].ImagePositionPatient) == [0, 0, 0]


def test_a_field_of_view_is_left_out_with_a_note(tmp_path, command):
    source = write(image(FieldOfViewDimensions=["100", "120"], FieldOfViewOrigin=["1", "2"]), tmp_path / "a.dcm")
    ran = command("crop", source, tmp_path / "b.dcm", *PART)
    assert "left out (0018,1149), (0018,7030)" in ran.err
    made = pydicom.dcmread(tmp_path / "b.dcm")
    assert "FieldOfViewDimensions" not in made
    assert "FieldOfViewOrigin" not in made


# --- frames --------------------------------------------------------------------------------------------------------


VECTORS = [
    ("FrameTimeVector", ["0", "10", "20", "30", "40"], ["0", "30"]),
    ("PageNumberVector", ["1", "2", "3", "4", "5"], ["3", "4"]),
    ("FrameLabelVector", ["a", "b", "c", "d", "e"], ["c", "d"]),
    ("FramePrimaryAngleVector", ["1", "2", "3", "4", "5"], ["3", "4"]),
    ("FrameSecondaryAngleVector", ["1", "2", "3", "4", "5"], ["3", "4"]),
    ("SliceLocationVector", ["1.5", "2", "3.25", "4", "5"], ["3.25", "4"]),
    ("DisplayWindowLabelVector", ["a", "b", "c", "d", "e"], ["c", "d"]),
    *(
        (name, [1, 2, 3, 4, 5], [3, 4])
        for name in (
            "EnergyWindowVector", "DetectorVector", "PhaseVector", "RotationVector", "RRIntervalVector",
            "TimeSlotVector", "SliceVector", "AngularViewVector", "TimeSliceVector",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values", "kept"), VECTORS, ids=[name for name, _, _ in VECTORS])
@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.BIG_ENDIAN])
def test_vectors_have_the_values_of_the_frames_that_are_kept(crop, name, values, kept, syntax):
    made = crop(image(noise(FRAMES, ROWS, COLUMNS), **{name: values}), "--frames", "2:4", syntax=syntax)
    assert [str(value) for value in made[name].value] == list(map(str, kept))
    assert made.NumberOfFrames == 2


def test_a_vector_without_a_value_for_each_frame_is_left_out(crop):
    made = crop(image(noise(FRAMES, ROWS, COLUMNS), SliceLocationVector=["1", "2"]), "--frames", "2:4")
    assert "SliceLocationVector" not in made


def test_vectors_stay_where_all_frames_are_kept(crop):
    made = crop(image(noise(FRAMES, ROWS, COLUMNS), FrameTimeVector=["0", "10", "20", "30", "40"]))
    assert list(made.FrameTimeVector) == [0, 10, 20, 30, 40]


def test_r_waves_count_from_the_first_frame_that_is_kept(crop):
    source = image(noise(FRAMES, ROWS, COLUMNS), FrameTime="10", RWaveTimeVector=[3.0, 25.0, 38.0, 47.0])
    assert list(crop(source, "--frames", "2:4").RWaveTimeVector) == [5.0, 18.0]


@pytest.mark.parametrize(
    ("offsets", "cut", "z"),
    [(["0", "2", "4", "7", "9"], ["0", "3"], 5 + 4), (["5", "7", "9", "12", "14"], ["9", "12"], 5 + 4)],
    ids=["from the first frame", "of the patient"],
)
def test_offsets_of_a_dose_go_with_its_position(crop, offsets, cut, z):
    made = crop(
        image(
            noise(FRAMES, ROWS, COLUMNS), sop_class=RT_DOSE, GridFrameOffsetVector=offsets, PixelSpacing=["1", "1"],
            ImagePositionPatient=["0", "0", "5"], ImageOrientationPatient=["1", "0", "0", "0", "1", "0"],
        ),
        "--frames", "2:4",
    )  # fmt: skip
    assert list(map(str, made.GridFrameOffsetVector)) == cut
    assert list(made.ImagePositionPatient) == [0, 0, z]


def test_numbers_of_frames_are_shifted(crop):
    made = crop(
        image(
            noise(FRAMES, ROWS, COLUMNS), StartTrim=2, StopTrim=4, RepresentativeFrameNumber=4,
            FrameNumbersOfInterest=[1, 3, 5], FrameOfInterestType=["HIGHMI", "RWAVE", "TRIGGER"],
            MaskSubtractionSequence=[
                item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1, 3], ApplicableFrameRange=[2, 5])
            ],
        ),
        "--frames", "2:5",
    )  # fmt: skip
    assert (made.StartTrim, made.StopTrim, made.RepresentativeFrameNumber) == (1, 2, 2)
    assert (list(made.FrameNumbersOfInterest), list(made.FrameOfInterestType)) == ([1, 3], ["RWAVE", "TRIGGER"])
    mask = made.MaskSubtractionSequence[0]
    assert (mask.MaskFrameNumbers, list(mask.ApplicableFrameRange)) == (1, [1, 3])


def test_numbers_of_frames_that_are_gone_are_left_out(crop):
    made = crop(
        image(
            noise(FRAMES, ROWS, COLUMNS), StartTrim=1, StopTrim=1, RepresentativeFrameNumber=1,
            FrameNumbersOfInterest=1, FrameOfInterestType="HIGHMI", RecommendedViewingMode="SUB",
            MaskSubtractionSequence=[item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1])],
        ),
        "--frames", "2:4",
    )  # fmt: skip
    gone = {
        "StartTrim", "StopTrim", "RepresentativeFrameNumber", "FrameNumbersOfInterest", "FrameOfInterestType",
        "RecommendedViewingMode", "MaskSubtractionSequence",
    }  # fmt: skip
    assert not gone & set(made.dir())


# --- overlays ------------------------------------------------------------------------------------------------------


def plane_of(made: Dataset, group: int = 0x6000) -> np.ndarray:
    """Return an overlay, by pydicom."""
    return made.overlay_array(group)


def with_overlay(pixels: np.ndarray, bits: np.ndarray, origin: tuple[int, int] = (1, 1), **more: Any) -> Dataset:
    source = image(pixels)
    rows, columns = bits.shape[-2:]
    source.add_new(0x60000010, "US", rows)
    source.add_new(0x60000011, "US", columns)
    source.add_new(0x60000040, "CS", "G")
    source.add_new(0x60000050, "SS", list(origin))
    source.add_new(0x60000100, "US", 1)
    source.add_new(0x60000102, "US", 0)
    for tag in (0x60001301, 0x60001302, 0x60001303):
        source.add_new(tag, "IS" if tag == 0x60001301 else "DS", "7")
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    source.add_new(0x60003000, "OW", packed + b"\0" * (len(packed) % 2))
    for tag, (vr, value) in more.items():
        source.add_new(int(tag[1:], 16), vr, value)
    return source


@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.IMPLICIT])
def test_an_overlay_is_cut_with_the_image(crop, syntax):
    bits = noise(ROWS, COLUMNS, most=2, kind="u1")
    made = crop(with_overlay(noise(ROWS, COLUMNS), bits), syntax=syntax)
    assert made[0x60000050].value == [1, 1]
    np.testing.assert_array_equal(plane_of(made), part_of(bits))
    assert not {0x60001301, 0x60001302, 0x60001303} & {element.tag for element in made}


def test_an_overlay_in_big_endian_is_cut(crop):
    bits = noise(ROWS, COLUMNS, most=2, kind="u1")
    source = with_overlay(noise(ROWS, COLUMNS).byteswap(), bits)
    data = np.frombuffer(source[0x60003000].value, "<u2")
    source[0x60003000].value = data.byteswap().tobytes()
    made = crop(source, "--rows", "2:9", "--columns", "4:14", "--to", "explicit", syntax=dicom.BIG_ENDIAN)
    np.testing.assert_array_equal(plane_of(made), part_of(bits))
    again = crop(source, "--rows", "2:9", "--columns", "4:14", syntax=dicom.BIG_ENDIAN)
    assert (
        np.frombuffer(again[0x60003000].value, ">u2").tobytes()
        == np.frombuffer(made[0x60003000].value, "<u2").byteswap().tobytes()
    )


def test_a_smaller_overlay_keeps_its_place(crop):
    bits = noise(6, 5, most=2, kind="u1")
    # Its rows are those from 3 to 8 of the image, its columns those from 13 to 17.
    made = crop(with_overlay(noise(ROWS, COLUMNS), bits, origin=(4, 13)))
    assert made[0x60000050].value == [2, 9]
    np.testing.assert_array_equal(plane_of(made), bits[:, :2])


def test_an_overlay_outside_of_the_part_is_left_out(crop):
    made = crop(with_overlay(noise(ROWS, COLUMNS), noise(2, 2, most=2, kind="u1"), origin=(1, 1)))
    assert not [element for element in made if element.tag.group == 0x6000]


def test_planes_of_an_overlay_go_with_their_frames(crop):
    bits = noise(3, ROWS, COLUMNS, most=2, kind="u1")
    more = {"x60000015": ("IS", "3"), "x60000051": ("US", 2)}
    made = crop(with_overlay(noise(FRAMES, ROWS, COLUMNS), bits, **more), *PART, "--frames", "2:5")
    # The planes are those of frames 2, 3 and 4; kept are frames 3, 4 and 5.
    assert (made[0x60000015].value, made[0x60000051].value) == (2, 1)
    np.testing.assert_array_equal(plane_of(made), part_of(bits, slice(1, 3)))


def test_an_overlay_in_the_pixels_is_extracted_first(crop):
    pixels, bits = noise(ROWS, COLUMNS), noise(ROWS, COLUMNS, most=2, kind="u1")
    source = image(pixels | (bits.astype("<u2") << 14))
    for tag, vr, value in (
        (0x60000010, "US", ROWS), (0x60000011, "US", COLUMNS), (0x60000040, "CS", "G"), (0x60000050, "SS", [1, 1]),
        (0x60000100, "US", 16), (0x60000102, "US", 14),
    ):  # fmt: skip
        source.add_new(tag, vr, value)
    made = crop(source)
    assert (made[0x60000100].value, made[0x60000102].value) == (1, 0)
    np.testing.assert_array_equal(plane_of(made), part_of(bits))
    np.testing.assert_array_equal(made.pixel_array, part_of(pixels))


def test_an_overlay_whose_data_is_too_short_is_left_out_with_a_note(tmp_path, command):
    source = with_overlay(noise(ROWS, COLUMNS), noise(ROWS, COLUMNS, most=2, kind="u1"))
    source[0x60000010].value = 1000
    ran = command("crop", write(source, tmp_path / "a.dcm"), tmp_path / "b.dcm", *PART)
    assert "left out overlay group 6000" in ran.err
    assert not [one for one in pydicom.dcmread(tmp_path / "b.dcm") if one.tag.group == 0x6000]


# --- shutters, collimators, regions --------------------------------------------------------------------------------


# Values before, and after, by what is said of the shape; None is left out.
APERTURES = {
    "edges inside": (
        {"Shape": "RECTANGULAR", "LeftVerticalEdge": 6, "RightVerticalEdge": 12, "UpperHorizontalEdge": 4,
         "LowerHorizontalEdge": 8},
        {"Shape": "RECTANGULAR", "LeftVerticalEdge": 2, "RightVerticalEdge": 8, "UpperHorizontalEdge": 2,
         "LowerHorizontalEdge": 6},
    ),
    "edges cut off": (
        {"Shape": "RECTANGULAR", "LeftVerticalEdge": 2, "RightVerticalEdge": 16, "UpperHorizontalEdge": 4,
         "LowerHorizontalEdge": 12},
        {"Shape": "RECTANGULAR", "LeftVerticalEdge": 1, "RightVerticalEdge": 10, "UpperHorizontalEdge": 2,
         "LowerHorizontalEdge": 7},
    ),
    "no edge left": (
        {"Shape": "RECTANGULAR", "LeftVerticalEdge": 5, "RightVerticalEdge": 14, "UpperHorizontalEdge": 2,
         "LowerHorizontalEdge": 11},
        {"Shape": None, "LeftVerticalEdge": None, "UpperHorizontalEdge": None},
    ),
    "nothing of the part in the opening": (
        {"Shape": "RECTANGULAR", "LeftVerticalEdge": 1, "RightVerticalEdge": 3, "UpperHorizontalEdge": 4,
         "LowerHorizontalEdge": 8},
        {"Shape": "RECTANGULAR", "LeftVerticalEdge": -3, "RightVerticalEdge": -1, "UpperHorizontalEdge": 2,
         "LowerHorizontalEdge": 6},
    ),
    "a circle": (
        {"Shape": "CIRCULAR", "CenterOf": [6, 9], "RadiusOf": 4},
        {"Shape": "CIRCULAR", "CenterOf": [4, 5], "RadiusOf": 4},
    ),
    "a circle around the part": (
        {"Shape": "CIRCULAR", "CenterOf": [6, 9], "RadiusOf": 40},
        {"Shape": None, "CenterOf": None, "RadiusOf": None},
    ),
    "a polygon": (
        {"Shape": "POLYGONAL", "Vertices": [4, 6, 4, 12, 8, 9]},
        {"Shape": "POLYGONAL", "Vertices": [2, 2, 2, 8, 6, 5]},
    ),
    "a polygon around the part": (
        {"Shape": "POLYGONAL", "Vertices": [1, 1, 1, 16, 12, 16, 12, 1]},
        {"Shape": None, "Vertices": None},
    ),
    "one shape of two left": (
        {"Shape": ["RECTANGULAR", "CIRCULAR"], "LeftVerticalEdge": 1, "RightVerticalEdge": 16,
         "UpperHorizontalEdge": 1, "LowerHorizontalEdge": 12, "CenterOf": [6, 9], "RadiusOf": 4},
        {"Shape": "CIRCULAR", "CenterOf": [4, 5], "RadiusOf": 4, "LeftVerticalEdge": None},
    ),
}  # fmt: skip


def named(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a shutter or a collimator by their keywords."""
    words = {
        "CenterOf": f"CenterOfCircular{kind}",
        "RadiusOf": f"RadiusOfCircular{kind}",
        "Vertices": f"VerticesOfThePolygonal{kind}",
    }
    return {words.get(name, f"{kind}{name}"): value for name, value in values.items()}


def said(found: Dataset, names: dict[str, Any]) -> dict[str, Any]:
    values = {name: found[name].value if name in found else None for name in names}
    return {
        name: list(value) if isinstance(value, pydicom.multival.MultiValue) else value for name, value in values.items()
    }


@pytest.mark.parametrize("kind", ["Shutter", "Collimator"])
@pytest.mark.parametrize(("before", "after"), APERTURES.values(), ids=list(APERTURES))
def test_shutters_and_collimators_are_shifted_and_clipped(crop, kind, before, after):
    more = {"ShutterPresentationValue": 0} if kind == "Shutter" else {}
    made = crop(image(**named(kind, before), **more))
    expected = named(kind, after)
    assert said(made, expected) == expected
    if kind == "Shutter":
        assert ("ShutterPresentationValue" in made) == (after["Shape"] is not None)


def region(x0: int, y0: int, x1: int, y1: int, **more: Any) -> Dataset:
    return item(
        RegionLocationMinX0=x0, RegionLocationMinY0=y0, RegionLocationMaxX1=x1, RegionLocationMaxY1=y1,
        PhysicalDeltaX=0.1, **more,
    )  # fmt: skip


def corners(one: Dataset) -> tuple[int, ...]:
    return (
        one.RegionLocationMinX0, one.RegionLocationMinY0, one.RegionLocationMaxX1, one.RegionLocationMaxY1
    )  # fmt: skip


@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG_ENDIAN])
def test_regions_are_shifted_and_clipped_and_their_reference_stays_where_it_is(crop, syntax):
    made = crop(
        image(
            sop_class="1.2.840.10008.5.1.4.1.1.6.1",
            SequenceOfUltrasoundRegions=[
                region(5, 3, 9, 6, ReferencePixelX0=1, ReferencePixelY0=2),
                region(0, 0, 3, 11),
                region(1, 1, 15, 11, ReferencePixelX0=4, ReferencePixelY0=-3, DopplerSampleVolumeXPosition=3),
            ],
        ),
        syntax=syntax,
    )
    inside, clipped = made.SequenceOfUltrasoundRegions
    assert (corners(inside), inside.ReferencePixelX0, inside.ReferencePixelY0) == ((1, 1, 5, 4), 1, 2)
    # Three columns and a row are taken from its corner.
    assert (corners(clipped), clipped.ReferencePixelX0, clipped.ReferencePixelY0) == ((0, 0, 9, 6), 1, -4)
    assert clipped.DopplerSampleVolumeXPosition == 3


def test_with_its_last_region_the_sequence_goes(crop):
    made = crop(image(SequenceOfUltrasoundRegions=[region(0, 0, 3, 11), region(0, 9, 15, 11)]))
    assert "SequenceOfUltrasoundRegions" not in made


# --- functional groups ---------------------------------------------------------------------------------------------


def group(number: int, stack: str, place: int, moment: int, **more: Any) -> Dataset:
    """Return the functional groups of a frame."""
    return item(
        FrameContentSequence=[
            item(
                StackID=stack, InStackPositionNumber=place, TemporalPositionIndex=moment,
                DimensionIndexValues=[int(stack), place, moment],
            )
        ],
        PlanePositionSequence=[item(ImagePositionPatient=["1", "2", str(3 * number)])],
        CTImageFrameTypeSequence=[item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])],
        **more,
    )  # fmt: skip


def enhanced(places: list[tuple[str, int, int]], **more: Any) -> Dataset:
    """Return an enhanced image of frames at these stacks, places and times."""
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])],
        PixelMeasuresSequence=[item(PixelSpacing=["0.5", "2"], SliceThickness="3")],
    )
    return image(
        noise(len(places), ROWS, COLUMNS), sop_class=ENHANCED_CT, ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=[group(number, *place) for number, place in enumerate(places)],
        DimensionIndexSequence=[
            item(DimensionIndexPointer=tag, FunctionalGroupPointer=0x00209111)
            for tag in (0x00209056, 0x00209057, 0x00209128)
        ],
        **more,
    )  # fmt: skip


STACKS = [("1", 1, 1), ("1", 2, 1), ("1", 3, 1), ("1", 4, 1), ("2", 1, 1), ("2", 2, 1)]


@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.IMPLICIT])
def test_groups_are_those_of_the_frames_that_are_kept(crop, syntax):
    made = crop(enhanced(STACKS), *PART, "--frames", "2:6", syntax=syntax)
    groups = made.PerFrameFunctionalGroupsSequence
    assert [float(one.PlanePositionSequence[0].ImagePositionPatient[2]) for one in groups] == [6, 9, 12, 15]
    for one in groups:
        # Four columns of 2 mm, two rows of 0.5 mm.
        assert list(one.PlanePositionSequence[0].ImagePositionPatient)[:2] == [9, 3]
        assert one.CTImageFrameTypeSequence[0].FrameType == ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    assert made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing == [0.5, 2]


def test_indices_count_from_1_without_gaps(crop):
    made = crop(enhanced(STACKS), "--frames", "2:6")
    content = [one.FrameContentSequence[0] for one in made.PerFrameFunctionalGroupsSequence]
    assert [one.InStackPositionNumber for one in content] == [1, 2, 1, 2]
    assert [list(one.DimensionIndexValues) for one in content] == [[1, 1, 1], [1, 2, 1], [2, 1, 1], [2, 2, 1]]


def test_indices_that_count_anew_are_of_another_organization(crop):
    source = enhanced(STACKS, DimensionOrganizationSequence=[item(DimensionOrganizationUID="1.2.7")])
    for dimension in source.DimensionIndexSequence:
        dimension.DimensionOrganizationUID = "1.2.7"
    for arguments, stays in ((PART, True), (("--frames", "2:6"), False)):
        made = crop(source, *arguments)
        (organization,) = made.DimensionOrganizationSequence
        assert {one.DimensionOrganizationUID for one in made.DimensionIndexSequence} == {
            organization.DimensionOrganizationUID
        }
        assert (organization.DimensionOrganizationUID == "1.2.7") is stays


def test_indices_stay_where_all_frames_are_kept(crop):
    made = crop(enhanced(STACKS))
    content = [one.FrameContentSequence[0] for one in made.PerFrameFunctionalGroupsSequence]
    assert [list(one.DimensionIndexValues) for one in content] == [[int(a), b, c] for a, b, c in STACKS]


TIMES = list(itertools.product(["1"], [1, 2], [1, 2, 3]))


@pytest.mark.parametrize(
    ("places", "frames", "codes"),
    [
        (STACKS, "2:6", ["113091"]),
        ([("1", 1, moment) for moment in range(1, 6)], "1:3", ["113092"]),
        (sorted(TIMES, key=lambda place: place[2]), "2:6", ["113092"]),
        (TIMES, "3:5", ["113091", "113092"]),
    ],
    ids=["slices", "times", "whole volumes", "both"],
)
def test_codes_tell_what_frames_were_taken_from(crop, places, frames, codes):
    made = crop(enhanced(places), "--frames", frames)
    derived = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0]
    assert [code.CodeValue for code in derived.DerivationCodeSequence] == codes
    assert {code.CodingSchemeDesignator for code in derived.DerivationCodeSequence} == {"DCM"}


def test_each_frame_tells_of_its_source(crop):
    source = enhanced(STACKS)
    made = crop(source, *PART, "--frames", "2:6")
    for number, one in enumerate(made.PerFrameFunctionalGroupsSequence, 3):
        derived = one.DerivationImageSequence[0]
        assert derived.DerivationDescription == "cropped to rows 3-9 of 12, columns 5-14 of 16, frames 3-6 of 6"
        codes = [(code.CodeValue, code.CodingSchemeDesignator) for code in derived.DerivationCodeSequence]
        assert codes == [("CROP", "99DCMTX"), ("113091", "DCM")]
        image_item = derived.SourceImageSequence[0]
        assert (image_item.ReferencedSOPInstanceUID, image_item.ReferencedFrameNumber) == ("1.2.3.4.5", number)
        assert image_item.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    series = made.SourceImageEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == "1.2.3.2"
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"
    assert "SourceImageSequence" not in made
    assert made.ImageType[0] == "DERIVED"


def test_shutters_in_groups_are_shifted(crop):
    source = enhanced(STACKS)
    shutter = item(**named("Shutter", APERTURES["edges inside"][0]))
    source.SharedFunctionalGroupsSequence[0].FrameDisplayShutterSequence = Sequence([shutter])
    made = crop(source)
    expected = named("Shutter", APERTURES["edges inside"][1])
    assert said(made.SharedFunctionalGroupsSequence[0].FrameDisplayShutterSequence[0], expected) == expected


def test_what_groups_hold_of_classic_images_is_that_of_the_part(tmp_path, command):
    source = enhanced(STACKS)
    held = with_overlay(noise(ROWS, COLUMNS), noise(ROWS, COLUMNS, most=2, kind="u1"))
    kept = Dataset()
    for element in held:
        if element.tag.group == 0x6000:
            kept.add(element)
    kept.ImageType, kept.FieldOfViewOrigin = ["ORIGINAL", "PRIMARY", "AXIAL"], ["1", "2"]
    kept.SmallestImagePixelValue, kept.RepetitionTime = 3, "5"
    kept["SmallestImagePixelValue"].VR = "US"
    source.SharedFunctionalGroupsSequence[0].UnassignedSharedConvertedAttributesSequence = Sequence([kept])
    path = write(source, tmp_path / "a.dcm")
    for dry in ((), ("--dry-run",)):
        ran = command("crop", path, tmp_path / "b.dcm", *PART, *dry)
        assert ran.status == 0
        assert "left out (0018,7030), (6000,0010)" in ran.err + ran.out
    made = pydicom.dcmread(tmp_path / "b.dcm").SharedFunctionalGroupsSequence[0]
    (left,) = made.UnassignedSharedConvertedAttributesSequence
    assert {element.keyword for element in left} == {"ImageType", "RepetitionTime"}
    assert left.ImageType[0] == "DERIVED"


def test_a_concatenation_is_left(crop):
    made = crop(enhanced(STACKS, ConcatenationUID="1.2.9", ConcatenationFrameOffsetNumber=3), "--frames", "1:3")
    assert "ConcatenationUID" not in made
    assert "ConcatenationFrameOffsetNumber" not in made


# --- what it is ----------------------------------------------------------------------------------------------------


def test_a_part_is_another_instance_in_another_series(crop):
    source = image()
    made = crop(source)
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
    for name in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert made[name].value != source[name].value
        assert made[name].value.startswith("2.25.")
    assert (made.StudyInstanceUID, made.FrameOfReferenceUID) == ("1.2.3.1", "1.2.3.3")
    assert list(made.ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
    assert made.DerivationDescription == "cropped to rows 3-9 of 12, columns 5-14 of 16"
    (code,) = made.DerivationCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("CROP", "99DCMTX")
    (one,) = made.SourceImageSequence
    assert (one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID) == (SC, "1.2.3.4.5")
    assert "ReferencedFrameNumber" not in one
    assert one.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    (equipment,) = made.ContributingEquipmentSequence
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert equipment.Manufacturer == "dcmtx"


def test_what_has_no_uids_gets_none(tmp_path, command):
    source = image()
    source.file_meta = FileMetaDataset()
    path = write(source, tmp_path / "a.dcm")
    data = path.read_bytes()
    walked = dicom.walk(data)
    for tag in (0x00080018, 0x0020000E):
        data = data.replace(walked.elements[tag].raw, b"")
    path.write_bytes(data)
    assert command("crop", path, tmp_path / "b.dcm", *PART).status == 0
    made = dicom.walk((tmp_path / "b.dcm").read_bytes()).elements
    assert not {0x00080018, 0x0020000E, 0x00082112} & set(made)
    assert made[0x00080008].text.startswith("DERIVED")


def test_frames_of_a_source_are_named(crop):
    made = crop(
        image(noise(FRAMES, ROWS, COLUMNS), FrameIncrementPointer=0x00181063, FrameTime="10"), "--frames", "1:4"
    )
    assert list(made.SourceImageSequence[0].ReferencedFrameNumber) == [2, 3, 4]
    assert [code.CodeValue for code in made.DerivationCodeSequence] == ["113092"]


def test_what_was_recorded_before_stays(crop):
    made = crop(
        image(
            DerivationDescription="smoothed", ImageType=["DERIVED", "SECONDARY"],
            DerivationCodeSequence=[item(CodeValue="113041", CodingSchemeDesignator="DCM", CodeMeaning="Other")],
            SourceImageSequence=[item(ReferencedSOPClassUID=SC, ReferencedSOPInstanceUID="1.9")],
            ContributingEquipmentSequence=[item(Manufacturer="Other")],
        )
    )  # fmt: skip
    assert made.DerivationDescription == "smoothed; cropped to rows 3-9 of 12, columns 5-14 of 16"
    assert [code.CodeValue for code in made.DerivationCodeSequence] == ["113041", "CROP"]
    assert [one.ReferencedSOPInstanceUID for one in made.SourceImageSequence] == ["1.9", "1.2.3.4.5"]
    assert [one.Manufacturer for one in made.ContributingEquipmentSequence] == ["Other", "dcmtx"]


def test_uids_are_decided_by_the_source_and_the_part(crop):
    first, again = crop(image()), crop(image())
    assert (again.SOPInstanceUID, again.SeriesInstanceUID) == (first.SOPInstanceUID, first.SeriesInstanceUID)
    other = crop(image(), "--rows", "2:9", "--columns", "4:13")
    assert (other.SOPInstanceUID, other.SeriesInstanceUID) != (first.SOPInstanceUID, first.SeriesInstanceUID)
    neighbour = image()
    neighbour.SOPInstanceUID = "1.2.3.4.6"
    made = crop(neighbour)
    assert made.SOPInstanceUID != first.SOPInstanceUID
    assert made.SeriesInstanceUID == first.SeriesInstanceUID


def test_an_image_without_anything_to_leave_out_is_cropped_in_silence(tmp_path, command):
    ran = command("crop", write(image(), tmp_path / "a.dcm"), tmp_path / "b.dcm", *PART)
    assert (ran.status, ran.out, ran.err) == (0, "", "")


def test_the_syntax_does_not_decide_uids_where_nothing_is_lost(crop):
    assert crop(image()).SOPInstanceUID == crop(image(), *PART, "--to", "rle").SOPInstanceUID


def test_what_was_true_of_the_whole_alone_is_left_out(crop):
    icon = item(Rows=1, Columns=1, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", BitsAllocated=8,
                BitsStored=8, HighBit=7, PixelRepresentation=0, PixelData=b"\1\0")  # fmt: skip
    icon["PixelData"].VR = "OB"
    names = {
        "SmallestImagePixelValue": 1, "LargestImagePixelValue": 4000, "SmallestPixelValueInSeries": 1,
        "LargestPixelValueInSeries": 4000, "HistogramSequence": [item(HistogramNumberOfBins=1)],
        "IconImageSequence": [icon],
    }  # fmt: skip
    source = image(
        WindowCenter="40", WindowWidth="400", PixelPaddingValue=7, RescaleSlope="2", RescaleIntercept="0", **names
    )
    for tag in ("SmallestImagePixelValue", "PixelPaddingValue"):
        source[tag].VR = "US"
    made = crop(source)
    assert not set(names) & set(made.dir())
    kept = ("WindowCenter", "WindowWidth", "PixelPaddingValue", "RescaleSlope", "RescaleIntercept")
    assert [made[name].value for name in kept] == [source[name].value for name in kept]


def private(source: Dataset) -> Dataset:
    source.private_block(0x0029, "MAKER", create=True).add_new(0x10, "LO", "geometry")
    inner = item(CodeValue="1", CodingSchemeDesignator="DCM", CodeMeaning="x")
    inner.private_block(0x0029, "MAKER", create=True).add_new(0x10, "LO", "geometry")
    source.ProcedureCodeSequence = Sequence([inner])
    return source


def test_private_elements_are_left_out_with_a_note(tmp_path, command):
    source, part = write(private(image()), tmp_path / "a.dcm"), tmp_path / "b.dcm"
    ran = command("crop", source, part, *PART)
    assert "left out 4 private elements, 2 of them inside sequences" in ran.err
    assert b"geometry" not in part.read_bytes()
    ran = command("crop", source, part, *PART, "--keep-private")
    assert (ran.status, ran.err) == (0, "")
    assert part.read_bytes().count(b"geometry") == 2


# --- what is refused -----------------------------------------------------------------------------------------------


REFUSED = {
    "a whole slide": {"sop_class": "1.2.840.10008.5.1.4.1.1.77.1.6"},
    "tiles": {"DimensionOrganizationType": "TILED_FULL"},
    "a matrix": {"TotalPixelMatrixColumns": 100},
    "a mosaic": {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]},
}


@pytest.mark.parametrize("attributes", REFUSED.values(), ids=list(REFUSED))
def test_parts_of_pictures_and_many_pictures_in_one_are_refused(tmp_path, command, attributes):
    ran = command("crop", write(image(**attributes), tmp_path / "a.dcm"), tmp_path / "b.dcm", *PART)
    assert (ran.status, (tmp_path / "b.dcm").exists()) == (5, False)
    assert "only images of one picture a frame are cropped" in ran.line


OUTSIDE = [("--rows", "2:13"), ("--rows", "12:"), ("--columns", "0:17"), ("--frames", "0:2")]


@pytest.mark.parametrize("arguments", OUTSIDE, ids=[" ".join(pair) for pair in OUTSIDE])
def test_what_is_not_in_the_image_is_refused(tmp_path, command, arguments):
    ran = command("crop", write(image(), tmp_path / "a.dcm"), tmp_path / "b.dcm", *arguments)
    assert (ran.status, (tmp_path / "b.dcm").exists()) == (5, False)
    assert "is not in the image" in ran.line


WRONG = [(), ("--rows", "5"), ("--rows", "5:5"), ("--rows", "9:3"), ("--columns", "a:b"), ("--frames", "-1:3")]


@pytest.mark.parametrize("arguments", WRONG, ids=[" ".join(pair) or "nothing" for pair in WRONG])
def test_what_is_no_range_is_told_how_to_type_one(tmp_path, command, arguments):
    ran = command("crop", write(image(), tmp_path / "a.dcm"), tmp_path / "b.dcm", *arguments)
    assert (ran.status, (tmp_path / "b.dcm").exists()) == (2, False)


def test_signed_images_are_refused_unless_signatures_may_go(tmp_path, command):
    source = write(image(DigitalSignaturesSequence=[item(MACIDNumber=1)]), tmp_path / "a.dcm")
    assert command("crop", source, tmp_path / "b.dcm", *PART).status == 5
    assert command("crop", source, tmp_path / "b.dcm", *PART, "--signatures", "remove").status == 0
    assert "DigitalSignaturesSequence" not in pydicom.dcmread(tmp_path / "b.dcm")


def test_damage_in_frames_leaves_no_output(tmp_path, command):
    coded = tmp_path / "a.dcm"
    dcmtx.transcode(write(image(noise(3, ROWS, COLUMNS)), tmp_path / "native.dcm"), coded, to="jpegls")
    data = bytearray(coded.read_bytes())
    place = data.rindex(b"\xff\xd8\xff")
    data[place : place + 4] = bytes(4)
    coded.write_bytes(data)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert command("crop", coded, tmp_path / "b.dcm", *PART).status in (3, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("several", [False, True], ids=["a file", "a directory"])
def test_a_part_does_not_replace_its_source(tmp_path, command, several):
    source = write(image(), tmp_path / "a.dcm")
    before = source.read_bytes()
    ran = command("crop", *([tmp_path, tmp_path] if several else [source, source]), *PART)
    assert ran.status == (9 if several else 5)
    assert "replaced by a part of itself" in ran.err
    assert source.read_bytes() == before


def test_the_whole_derives_nothing(tmp_path, command):
    source, made = write(private(image()), tmp_path / "a.dcm"), tmp_path / "b.dcm"
    ran = command("crop", source, made, "--rows", "0:12")
    assert "nothing is derived" in ran.err
    assert dicom.walk(made.read_bytes()).dataset == dicom.walk(source.read_bytes()).dataset


# --- as convert does it --------------------------------------------------------------------------------------------


def test_a_directory_becomes_one_new_series(tmp_path, command):
    (tmp_path / "in").mkdir()
    for number in range(3):
        source = image(noise(ROWS, COLUMNS) + number, ImagePositionPatient=["0", "0", str(number)])
        source.PixelSpacing, source.ImageOrientationPatient = ["1", "1"], ["1", "0", "0", "0", "1", "0"]
        source.SOPInstanceUID = f"1.2.3.4.{number}"
        write(source, tmp_path / "in" / f"{number}.dcm")
    ran = command("crop", tmp_path / "in", tmp_path / "out", *PART, "--json", "--report", tmp_path / "report.jsonl")
    assert ran.status == 0
    made = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
    assert len({one.SOPInstanceUID for one in made}) == 3
    assert len({one.SeriesInstanceUID for one in made}) == 1
    assert [list(one.ImagePositionPatient) for one in made] == [[4, 2, 0], [4, 2, 1], [4, 2, 2]]
    records = [json.loads(line) for line in ran.out.splitlines()]
    assert [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()] == records
    assert {record["status"] for record in records} == {"converted"}
    again = command("crop", tmp_path / "in", tmp_path / "out", *PART, "--resume")
    assert again.status == 0


def test_a_dry_run_tells_all_and_writes_nothing(tmp_path, command):
    source = write(enhanced(STACKS), tmp_path / "a.dcm")
    ran = command("crop", source, tmp_path / "b.dcm", *PART, "--frames", "2:4", "--dry-run")
    assert ran.status == 0
    assert not (tmp_path / "b.dcm").exists()
    for told in (
        "crop: rows 2:9, columns 4:14, frames 2:4", "(0028,0010)", "(5200,9230) loses items",
        "(5200,9230) > (0020,9113) > (0020,0032) becomes 9\\3\\6",
    ):  # fmt: skip
        assert told in ran.out


@pytest.mark.parametrize("dry", [True, False], ids=["dry run", "run"])
def test_each_frame_is_placed_by_its_own_orientation(tmp_path, command, dry):
    source = private(enhanced(STACKS[:2]))
    planes = (["1", "0", "0", "0", "1", "0"], ["0", "1", "0", "0", "0", "-1"])
    del source.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    for one, plane in zip(source.PerFrameFunctionalGroupsSequence, planes, strict=True):
        one.PlaneOrientationSequence = Sequence([item(ImageOrientationPatient=plane)])
    path, made = write(source, tmp_path / "a.dcm"), tmp_path / "b.dcm"
    ran = command("crop", path, made, *PART, *(["--dry-run"] if dry else []))
    assert ran.status == 0
    if dry:
        assert "becomes 9\\3\\0" in ran.out
        assert "becomes 1\\10\\2" in ran.out
        assert ran.out.count("(5200,9230) > (0020,9113) > (0020,0032) becomes") == 2
        return
    groups = pydicom.dcmread(made).PerFrameFunctionalGroupsSequence
    assert [list(one.PlanePositionSequence[0].ImagePositionPatient) for one in groups] == [[9, 3, 0], [1, 10, 2]]


@pytest.mark.parametrize("home", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_planes_of_ultrasound_volumes_move(crop, home):
    source = enhanced(STACKS[:1])
    group_item = source[home].value[0]
    del source.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence
    group_item.PlanePositionVolumeSequence = Sequence([item(ImagePositionVolume=[1.5, 2.0, 3.0])])
    group_item.PlaneOrientationVolumeSequence = Sequence([item(ImageOrientationVolume=[0.0, 1.0, 0.0, 1.0, 0.0, 0.0])])
    made = crop(source)[home].value[0]
    assert made.PlanePositionVolumeSequence[0].ImagePositionVolume == [2.5, 10.0, 3.0]


def test_loss_in_groups_is_recorded_with_the_crop(crop):
    made = crop(enhanced(STACKS), *PART, "--to", "j2k", "--lossy", "--ratio", "3")
    for one in made.PerFrameFunctionalGroupsSequence:
        (derived,) = one.DerivationImageSequence
        assert derived.DerivationDescription.endswith("columns 5-14 of 16; JPEG 2000 lossy compression")
        assert [code.CodeValue for code in derived.DerivationCodeSequence] == ["CROP", "113040"]
        assert len(derived.SourceImageSequence) == 1
    assert len(made.SourceImageEvidenceSequence) == 1


def test_video_is_not_cropped(tmp_path, command):
    path = tmp_path / "a.dcm"
    path.write_bytes(
        dicom.Image([bytes(64)], syntax="1.2.840.10008.1.2.4.102", frames=1, allocated=8, stored=8).encode()
    )
    ran = command("crop", path, tmp_path / "b.dcm", "--rows", "1:3")
    assert (ran.status, "does not decode" in ran.line) == (4, True)


def test_it_verifies_and_says_so(tmp_path, command):
    source = write(image(noise(3, ROWS, COLUMNS)), tmp_path / "a.dcm")
    ran = command("crop", source, tmp_path / "b.dcm", *PART, "--to", "jpegls", "--verify", "strict", "--json")
    (record,) = [json.loads(line) for line in ran.out.splitlines()]
    assert sum(record["verified"].values()) == 3
    expected = part_of(noise(3, ROWS, COLUMNS))
    assert record["pixels_sha256"] is None
    assert record["pixels_sha256_out"] == hashlib.sha256(expected.tobytes()).hexdigest()


def test_an_isolated_crop_makes_the_same_file(tmp_path):
    source = write(image(), tmp_path / "a.dcm")
    uids = []
    for name, more in (("b.dcm", []), ("c.dcm", ["--isolate"])):
        subprocess.run(
            [sys.executable, "-m", "dcmtx", "crop", source, tmp_path / name, *PART, *more],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        uids.append(pydicom.dcmread(tmp_path / name).SOPInstanceUID)
    assert uids[0] == uids[1]


def test_a_job_has_a_form(tmp_path):
    from dcmtx.series.crop import crop_job

    job = crop_job("a.dcm", "b.dcm", rows="2:9", frames="1:", to="jpegls")
    assert dcmtx.job_from_json(job.to_json()) == job


# --- judges --------------------------------------------------------------------------------------------------------


def real(name: str) -> Path:
    path = SERIES / name
    if not path.exists():
        pytest.skip("the real series are not here")
    return path


def errors_of(path: Path) -> set[str]:
    """Return the errors that dciodvfy finds."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not here")
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace", check=False, timeout=60)
    return {line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")}


# It takes these for forbidden in what is derived; PS3.3 C.8.13.4 and C.7.6.18 say that they may be present.
ALLOWED = "Attribute present when condition unsatisfied (which may not be present otherwise) Type 1C Conditional"
MODULES = ("Module=<MRPulseSequence>", "Module=<BulkMotionSynchronization>")


def is_wrong(error: str) -> bool:
    """Tell whether dciodvfy is mistaken."""
    return ALLOWED in error and error.endswith(MODULES)


@pytest.mark.parametrize(
    "name", ["ge_ct_tilt/001.dcm", "ge_fmri/001.dcm", "philips_enhanced.dcm", "siemens_enhanced.dcm"]
)
@pytest.mark.parametrize("to", [(), ("--to", "jpegls")], ids=["native", "jpegls"])
def test_dciodvfy_finds_no_error_that_the_source_lacks(tmp_path, command, name, to):
    source, made = real(name), tmp_path / "b.dcm"
    frames = ("--frames", "1:4") if "enhanced" in name else ()
    assert command("crop", source, made, "--rows", "10:50", "--columns", "13:60", *frames, *to).status == 0
    assert {error for error in errors_of(made) if not is_wrong(error)} <= errors_of(source)
    subprocess.run(["dcmdump", "-q", made], check=True, capture_output=True, timeout=60)


def volumes(source: Path, scratch: Path) -> dict[str, Any]:
    """Return the images that dcm2niix makes of a directory, by name."""
    nibabel = pytest.importorskip("nibabel")
    program = pytest.importorskip("dcm2niix").bin
    scratch.mkdir()
    done = subprocess.run(
        [program, "-z", "n", "-f", "out", "-o", scratch, source], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout
    return {path.name: nibabel.load(path) for path in scratch.glob("*.nii") if "_Tilt_" not in path.name}


@pytest.mark.parametrize("name", ["ge_ct_tilt", "ge_fmri", "philips_enhanced.dcm", "siemens_enhanced.dcm"])
def test_a_crop_of_a_volume_is_the_volume_of_the_crop(tmp_path, command, name):
    source = tmp_path / "in"
    if real(name).is_dir():
        source = real(name)
    else:
        source.mkdir()
        shutil.copy(real(name), source)
    # Without private elements, dcm2niix gives other names to what Philips makes.
    arguments = ("--rows", "10:40", "--columns", "13:60", "--keep-private", "--quiet")
    assert command("crop", source, tmp_path / "out", *arguments).status == 0
    whole, part = volumes(source, tmp_path / "whole"), volumes(tmp_path / "out", tmp_path / "part")
    assert set(part) == set(whole)
    for key, made in part.items():
        # Where the first voxel of the part is in the whole, by the places in the patient that both have.
        moved = np.linalg.inv(whole[key].affine) @ made.affine
        start = np.rint(moved[:3, 3]).astype(int)
        expected = np.eye(4)
        expected[:3, 3] = start
        np.testing.assert_allclose(moved, expected, atol=1e-4)
        assert sorted(made.shape[:2]) == [30, 47]
        cut = tuple(slice(low, low + size) for low, size in zip(start, made.shape, strict=False))
        np.testing.assert_array_equal(np.asanyarray(whole[key].dataobj)[cut], np.asanyarray(made.dataobj))


def test_only_the_rows_of_the_part_are_read(tmp_path, command, monkeypatch):
    from dcmtx.place.bytes import FileBytes

    pixels = noise(3, 512, 256)
    source = write(image(pixels, Rows=512, Columns=256), tmp_path / "a.dcm")
    lengths: list[int] = []
    pread = FileBytes.pread

    def counted(self, length, offset):
        data = pread(self, length, offset)
        lengths.append(len(data))
        return data

    monkeypatch.setattr(FileBytes, "pread", counted)
    ran = command("crop", source, tmp_path / "b.dcm", "--rows", "500:510", "--frames", "1:2")
    assert ran.status == 0
    # The part has 5 kB, a frame 256 kB; the header is read in pieces of 64 kB, several times.
    assert 10 * 256 * 2 in lengths
    assert max(lengths) < 256 * 1024
    np.testing.assert_array_equal(pydicom.dcmread(tmp_path / "b.dcm").pixel_array, pixels[1, 500:510])


def test_streams_stay_within_memory(tmp_path, command):
    """Frames stream: many frames take no more than their budget, and only what is kept is written."""
    frames = 64
    pixels = noise(frames, 128, 128)
    source = write(image(pixels, Rows=128, Columns=128), tmp_path / "a.dcm")
    ran = command("crop", source, tmp_path / "b.dcm", "--rows", "3:90", "--columns", "1:127", "--memory", "1MiB")
    assert ran.status == 0
    made = pydicom.dcmread(tmp_path / "b.dcm").pixel_array
    np.testing.assert_array_equal(made, pixels[:, 3:90, 1:127])
