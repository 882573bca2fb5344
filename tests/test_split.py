"""`dcmtx split`: the very data sets that an instance was made of, and frames of instances that dcmtx did not make."""

from __future__ import annotations

import shutil
from pathlib import Path

import dicom
import numpy as np
import pydicom
import pytest
import series
from conftest import ROOT
from series import CT, MR, PET, line
from test_enhance import REAL, dciodvfy, only, real, run, volumes

import dcmtx

DERIVED = "2.25."


def canonical(path: Path) -> bytes:
    """Return a data set in Explicit VR Little Endian, native, without group lengths: what must come back."""
    return dicom.walk(dcmtx.transcode(path, to="explicit", force=True, signatures="remove")).dataset


def by_uid(folder: Path) -> dict[str, Path]:
    """Return the files of a directory by their SOP Instance UID."""
    return {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in folder.iterdir()}


def check_same(before: Path, after: Path) -> None:
    """Check that two directories hold the very same data sets, whatever their transfer syntaxes."""
    old, new = by_uid(before), by_uid(after)
    assert old.keys() == new.keys()
    for uid, path in old.items():
        assert canonical(path) == canonical(new[uid]), path


# --- there and back ------------------------------------------------------------------------------------------------


def private(index: int) -> dict[int, bytes]:
    """Return private elements in a block that moves from image to image, and one without a creator."""
    block = 0x10 + index % 2
    tag = 0x00190000 | block << 8 | 1
    return {0x00190000 | block: dicom.element(0x00190000 | block, "LO", "MAKER"),
            tag: dicom.element(tag, "DS", str(index)), 0x00193001: dicom.element(0x00193001, "SH", "orphan"),
            0x00210010: dicom.element(0x00210010, "LO", "ANOTHER"),
            0x00211003: dicom.element(0x00211003, "OB", bytes(4))}  # fmt: skip


def undefined(index: int) -> dict[int, bytes]:
    """Return sequences of undefined length, one with an icon, and one that is empty."""
    inner = dicom.element(0x00080100, "SH", str(index)) + dicom.element(0x7FE00010, "OW", bytes(8))
    item = dicom.header(0xFFFEE000, "", dicom.UNDEFINED) + inner + dicom.header(0xFFFEE00D, "", 0)
    whole = dicom.header(0x00880200, "SQ", dicom.UNDEFINED) + item + dicom.header(0xFFFEE0DD, "", 0)
    return {0x00880200: whole, 0x00081140: dicom.header(0x00081140, "SQ", 0)}


def partly(index, values):
    """Have windows, laterality and a body part in some images only."""
    if index == 1:
        values[0x00281050] = values[0x00281051] = values[0x00180015] = None
    if index == 2:
        values[0x00281055] = ("LO", "BONE")


def empty(_index, values):
    """Have nothing that the enhanced instance must have, and some without a value."""
    for tag in (0x00100030, 0x00100040, 0x00080050, 0x00080090, 0x00201040, 0x00080070):
        values[tag] = None
    values[0x00200010] = ("SH", "")


def lossy(index, values):
    """Have one image be lossy."""
    if index == 1:
        values |= {0x00282110: ("CS", "01"), 0x00282112: ("DS", "7.5"), 0x00282114: ("CS", "ISO_15444_1")}


def several(index, values):
    """Be of two series."""
    values[0x0020000E] = ("UI", f"1.2.3.8.{index % 2}")
    values[0x00200011] = ("IS", str(index % 2))
    values[0x00080031] = ("TM", f"1{index}0000")


def referring(index, values):
    """Refer to images and be derived, in some."""
    values[0x00082111] = ("ST", f"from {index}")
    values[0x00083010] = ("UI", "1.2.3.55")


def reference(index: int) -> dict[int, bytes]:
    """Return references to other images, in some."""
    if not index:
        return {}
    item = dicom.element(0x00081150, "UI", CT) + dicom.element(0x00081155, "UI", "1.2.3.9.1")
    items = dicom.header(0xFFFEE000, "", len(item)) + item
    return {0x00081140: dicom.header(0x00081140, "SQ", len(items)) + items}


ROUND_TRIPS = {
    "CT": {}, "MR": {"kind": MR}, "PET": {"kind": PET}, "odd frames of 8 bits": {"kind": MR, "allocated": 8, "rows": 5,
                                                                                   "columns": 7},
    "signed": {"signed": True, "stored": 16}, "13 bits": {"stored": 13},
    "10 bits, signed": {"stored": 10, "signed": True},
    "UTF-8": {"change": lambda _, v: v.update({0x00080005: ("CS", "ISO_IR 192"), 0x00100010: ("PN", "Ä^ß".encode())})},
    "private blocks that move": {"extra": private}, "undefined lengths": {"extra": undefined},
    "windows in some": {"change": partly}, "no window": {"change": lambda _, v: v.update({0x00281050: None})},
    "nothing of type 2": {"change": empty}, "loss in one": {"change": lossy}, "two series": {"change": several},
    "a long Decimal String": {"change": lambda _, v: v.update({0x00180050: ("DS", "1.234567890123456789")})},
    "references in some": {"extra": reference, "change": referring},
    "headers of 120 kB": {"extra": lambda n: {0x00191001: dicom.element(0x00191001, "OB", bytes([n]) * 120_000)}},
    "burned in": {"change": lambda _, v: v.update({0x00280301: ("CS", "YES")})},
    "a knee": {"change": lambda _, v: v.update({0x00180015: ("CS", "KNEE"), 0x00200060: ("CS", "L")})},
    "a wrong spacing": {"change": lambda _, v: v.update({0x00180088: ("DS", "5")})},
    "Rescale Type in one": {"change": only(1, 0x00281054, ("LO", "OD"))},
    "a localizer in one": {"change": only(1, 0x00080008, ("CS", "DERIVED\\SECONDARY\\LOCALIZER"))},
    "no rescaling": {"kind": MR, "change": lambda _, v: v.update({0x00281050: None, 0x00281051: None})},
    "implicit": {"syntax": dicom.IMPLICIT},
    "implicit, 8 bits": {"kind": MR, "allocated": 8, "syntax": dicom.IMPLICIT},
    "big endian": {"syntax": dicom.BIG_ENDIAN},
    "deflated": {"syntax": dicom.DEFLATED},
}  # fmt: skip


@pytest.mark.parametrize("settings", ROUND_TRIPS.values(), ids=ROUND_TRIPS)
def test_the_very_data_sets_come_back(settings, tmp_path):
    series.write(tmp_path / "in", line(3), **settings)
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--quiet")
    assert not series.faults(tmp_path / "out.dcm")
    run("split", tmp_path / "out.dcm", tmp_path / "back", "--quiet")
    check_same(tmp_path / "in", tmp_path / "back")


@pytest.mark.parametrize(
    "target", ["jpegls", "j2k", "htj2k", "rle", "jpeg", "deflated", "deflated-frames", "encapsulated", "jpegxl"]
)
def test_they_come_back_through_every_lossless_syntax(target, tmp_path):
    series.write(tmp_path / "in", line(3), extra=private)
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--to", target, "--quiet")
    run("split", tmp_path / "out.dcm", tmp_path / "back", "--raw", "--quiet")
    check_same(tmp_path / "in", tmp_path / "back")
    run("split", tmp_path / "out.dcm", tmp_path / "coded", "--quiet")
    check_same(tmp_path / "in", tmp_path / "coded")


def test_codestreams_are_copied(tmp_path):
    series.write(tmp_path / "native", line(3))
    run("convert", tmp_path / "native", tmp_path / "in", "--to", "jpegls", "--quiet")
    run("enhance", tmp_path / "in", tmp_path / "out.dcm")
    run("split", tmp_path / "out.dcm", tmp_path / "back")
    for uid, path in by_uid(tmp_path / "back").items():
        made, source = dicom.walk(path.read_bytes()), dicom.walk(by_uid(tmp_path / "in")[uid].read_bytes())
        assert made.syntax == dicom.JPEGLS
        assert made.fragments == source.fragments
        assert made.dataset == source.dataset


def icon(_index: int) -> dict[int, bytes]:
    """Return an icon."""
    elements = b"".join([
        dicom.element(0x00280002, "US", 1), dicom.element(0x00280004, "CS", "MONOCHROME2"),
        dicom.element(0x00280010, "US", 4), dicom.element(0x00280011, "US", 4), dicom.element(0x00280100, "US", 8),
        dicom.element(0x00280101, "US", 8), dicom.element(0x00280102, "US", 7), dicom.element(0x00280103, "US", 0),
        dicom.element(0x7FE00010, "OB", bytes(range(16))),
    ])  # fmt: skip
    items = dicom.header(0xFFFEE000, "", len(elements)) + elements
    return {0x00880200: dicom.header(0x00880200, "SQ", len(items)) + items}


@pytest.mark.parametrize("target", [(), ("--to", "jpegls"), ("--to", "explicit")], ids=["copied", "coded", "native"])
def test_icons_that_are_compressed_come_back(target, tmp_path):
    series.write(tmp_path / "native", line(3), extra=icon)
    run("convert", tmp_path / "native", tmp_path / "in", "--to", "rle", "--quiet")
    # One segment, which is one literal run.
    coded = np.array([1, 64, *[0] * 14], "<u4").tobytes() + b"\x0f" + bytes(range(16)) + b"\0"
    for path in (tmp_path / "in").iterdir():
        data = pydicom.dcmread(path)
        data.IconImageSequence[0].PixelData = pydicom.encaps.encapsulate([coded])
        data.IconImageSequence[0]["PixelData"].is_undefined_length = True
        data.save_as(path)
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", *target, "--quiet")
    run("split", tmp_path / "out.dcm", tmp_path / "back", "--quiet")
    check_same(tmp_path / "native", tmp_path / "back")


def test_lossy_codestreams_are_copied_and_the_loss_is_told(tmp_path):
    series.write(tmp_path / "native", line(3), kind=MR, allocated=8, rows=16, columns=16)
    run("convert", tmp_path / "native", tmp_path / "in", "--to", "jpeg", "--lossy", "--quiet")
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--quiet")
    whole = pydicom.dcmread(tmp_path / "out.dcm")
    assert whole.file_meta.TransferSyntaxUID == dicom.JPEG_BASELINE
    assert (whole.LossyImageCompression, whole.ImageType[0]) == ("01", "DERIVED")
    run("split", tmp_path / "out.dcm", tmp_path / "back", "--quiet")
    for uid, path in by_uid(tmp_path / "back").items():
        made, source = dicom.walk(path.read_bytes()), dicom.walk(by_uid(tmp_path / "in")[uid].read_bytes())
        assert made.fragments == source.fragments
        assert made.dataset == source.dataset


@real
@pytest.mark.parametrize("target", ["explicit", "jpegls"])
@pytest.mark.parametrize("name", ["ge_ct_tilt", "ge_fmri"])
def test_real_series_come_back(name, target, tmp_path):
    run("enhance", REAL / name, tmp_path / "out.dcm", "--to", target, "--quiet")
    run("split", tmp_path / "out.dcm", tmp_path / "back", "--raw", "--quiet")
    old, new = by_uid(REAL / name), by_uid(tmp_path / "back")
    assert old.keys() == new.keys()
    for uid in list(old)[::7]:
        assert canonical(old[uid]) == canonical(new[uid])


# --- what has changed ------------------------------------------------------------------------------------------------


def edit_value(data: pydicom.Dataset) -> None:
    data.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient[0] += 1


def edit_pixel(data: pydicom.Dataset) -> None:
    data.PixelData = data.PixelData[:100] + bytes([data.PixelData[100] ^ 1]) + data.PixelData[101:]


def remove_block(data: pydicom.Dataset) -> None:
    for tag in (0x00210010, 0x00211001, 0x00211002, 0x00211003):
        del data[tag]


def cut_frame(data: pydicom.Dataset) -> None:
    del data.PerFrameFunctionalGroupsSequence[0]
    data.NumberOfFrames = 2
    data.PixelData = data.PixelData[96:]


CHANGES = {"one value": (edit_value, 1), "one pixel": (edit_pixel, 1), "our block removed": (remove_block, 3),
           "a frame cut out": (cut_frame, 2)}  # fmt: skip


@pytest.mark.parametrize(("change", "renewed"), CHANGES.values(), ids=CHANGES)
def test_what_has_changed_gets_new_uids(change, renewed, tmp_path):
    series.write(tmp_path / "in", line(3))
    run("enhance", tmp_path / "in", tmp_path / "out.dcm")
    data = pydicom.dcmread(tmp_path / "out.dcm")
    change(data)
    data.save_as(tmp_path / "out.dcm")
    run("split", tmp_path / "out.dcm", tmp_path / "back", "--quiet")
    new = [pydicom.dcmread(path) for uid, path in by_uid(tmp_path / "back").items() if uid.startswith(DERIVED)]
    assert len(new) == renewed
    for one in new:
        assert one.SOPClassUID == CT
        assert one.SeriesInstanceUID != "1.2.3.8"
        assert one.ConversionSourceAttributesSequence[0].ReferencedSOPInstanceUID == data.SOPInstanceUID
        codes = [each.PurposeOfReferenceCodeSequence[0].CodeValue for each in one.ContributingEquipmentSequence]
        assert codes[-1] == "109106"


def test_strict_verification_wants_the_originals(tmp_path):
    series.write(tmp_path / "in", line(3))
    run("enhance", tmp_path / "in", tmp_path / "out.dcm")
    run("split", tmp_path / "out.dcm", tmp_path / "good", "--verify", "strict")
    data = pydicom.dcmread(tmp_path / "out.dcm")
    edit_pixel(data)
    data.save_as(tmp_path / "out.dcm")
    assert run("split", tmp_path / "out.dcm", tmp_path / "bad", "--verify", "strict", status=7).startswith("E_DIGEST")


def test_uids_as_asked_for(tmp_path):
    series.write(tmp_path / "in", line(3))
    run("enhance", tmp_path / "in", tmp_path / "out.dcm")
    run("split", tmp_path / "out.dcm", tmp_path / "new", "--uid", "new")
    assert all(uid.startswith(DERIVED) for uid in by_uid(tmp_path / "new"))
    data = pydicom.dcmread(tmp_path / "out.dcm")
    edit_value(data)
    data.save_as(tmp_path / "out.dcm")
    run("split", tmp_path / "out.dcm", tmp_path / "kept", "--uid", "keep", "--quiet")
    assert by_uid(tmp_path / "kept").keys() == by_uid(tmp_path / "in").keys()


# --- the instances of others -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [CT, MR, PET], ids=["CT", "MR", "PET"])
def test_frames_of_a_legacy_instance_of_highdicom(kind, tmp_path):
    legacy = pytest.importorskip("highdicom.legacy")
    paths = series.write(tmp_path / "in", line(3), kind=kind)
    sources = [pydicom.dcmread(path) for path in paths]
    made = {CT: "CT", MR: "MR", PET: "PET"}[kind]
    make = getattr(legacy, f"LegacyConvertedEnhanced{made}Image")
    make(sources, "1.2.5", 1, "1.2.6", 1).save_as(tmp_path / "hd.dcm")
    run("split", tmp_path / "hd.dcm", tmp_path / "out", "--quiet")
    back = sorted(
        (pydicom.dcmread(path) for path in by_uid(tmp_path / "out").values()), key=lambda one: one.InstanceNumber
    )
    for source, one in zip(sources, back, strict=True):
        assert one.SOPClassUID == kind
        assert one.SOPInstanceUID.startswith(DERIVED)
        assert (one.pixel_array == source.pixel_array).all()
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "WindowCenter", "PatientID"):
            assert one[keyword].value == source[keyword].value, keyword
        assert "NumberOfFrames" not in one
        assert "PerFrameFunctionalGroupsSequence" not in one


@real
@pytest.mark.parametrize("name", ["philips_enhanced", "siemens_enhanced"])
def test_frames_of_real_enhanced_instances_are_classic_images(name, tmp_path):
    run("split", REAL / f"{name}.dcm", tmp_path / "out", "--quiet")
    whole = pydicom.dcmread(REAL / f"{name}.dcm")
    frames = sorted(
        (pydicom.dcmread(path) for path in (tmp_path / "out").iterdir()), key=lambda one: one.InstanceNumber
    )
    assert len(frames) == whole.NumberOfFrames
    pixels = whole.pixel_array.reshape(-1, whole.Rows, whole.Columns)
    for number, one in enumerate(frames):
        groups = whole.PerFrameFunctionalGroupsSequence[number]
        assert one.SOPClassUID == MR
        assert (one.pixel_array == pixels[number]).all()
        assert one.ImagePositionPatient == groups.PlanePositionSequence[0].ImagePositionPatient
        assert {"EchoTime", "ScanningSequence", "SequenceVariant"} <= set(one.dir())
        assert "FrameType" not in one
        assert len(one.ImageType) >= 3
    # Nothing mandatory is absent but what the instance itself does not have.
    missing = {each for each in dciodvfy(next((tmp_path / "out").iterdir())) if "Missing" in each and "MRImage" in each}
    assert not missing


@real
@pytest.mark.parametrize("name", ["philips_enhanced", "siemens_enhanced"])
def test_dcm2niix_makes_the_same_volumes_of_the_frames(name, tmp_path):
    run("split", REAL / f"{name}.dcm", tmp_path / "frames", "--quiet")
    whole = volumes(REAL / f"{name}.dcm", tmp_path / "a")
    parts = volumes(tmp_path / "frames", tmp_path / "b")
    assert len(whole) == len(parts) > 0
    for (voxels, affine), (again, affine_again) in zip(whole, parts, strict=True):
        assert (voxels == again).all()
        assert np.allclose(affine, affine_again, atol=1e-4)


def test_mr_tells_its_pulse_sequence_in_classic_attributes(tmp_path):
    from dcmtx.rules.restoring import flattened

    told = {0x00189008: ("CS", "GRADIENT"), 0x00189009: ("CS", "YES"), 0x00189016: ("CS", "RF"),
            0x00189081: ("CS", "YES"), 0x00189036: ("CS", "PHASE"), 0x00189025: ("CS", "FAT")}  # fmt: skip
    item = dicom.element(0x00189082, "FD", np.float64(4.5).tobytes())
    group = dicom.header(0x00189114, "SQ", len(item) + 8) + dicom.header(0xFFFEE000, "", len(item)) + item
    top = {tag: dicom.element(tag, *value) for tag, value in told.items()}
    found = flattened(top, {}, {0x00189114: group}, "1.2.840.10008.5.1.4.1.1.4.1")
    values = {tag: found[tag][8:].decode().strip() for tag in (0x00180020, 0x00180021, 0x00180022, 0x00180081)}
    assert values == {0x00180020: "GR\\IR", 0x00180021: "SP", 0x00180022: "FS\\PFP", 0x00180081: "4.5"}


# --- images of several frames without functional groups ----------------------------------------------------------

US_MF, SC_BYTE = "1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.7.2"
PLAIN = {
    "US": (US_MF, "1.2.840.10008.5.1.4.1.1.6.1"), "SC": (SC_BYTE, "1.2.840.10008.5.1.4.1.1.7"),
    "XA": ("1.2.840.10008.5.1.4.1.1.12.1",) * 2, "RF": ("1.2.840.10008.5.1.4.1.1.12.2",) * 2,
    "NM": ("1.2.840.10008.5.1.4.1.1.20",) * 2, "RT Image": ("1.2.840.10008.5.1.4.1.1.481.1",) * 2,
}  # fmt: skip


def multiframe(path: Path, kind: str, *, colour: bool = False, before: dict[int, bytes] | None = None) -> np.ndarray:
    """Write an image of four frames, and return its pixels."""
    shape = (4, 6, 8, 3) if colour else (4, 6, 8)
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype("u1")
    more = {0x00280009: dicom.element(0x00280009, "AT", b"\x18\x00\x65\x10"),
            0x00181065: dicom.element(0x00181065, "DS", "0\\10\\10\\10")} | (before or {})  # fmt: skip
    path.write_bytes(
        dicom.Image(
            pixels.tobytes(), 6, 8, samples=3 if colour else 1, photometric="RGB" if colour else "MONOCHROME2",
            allocated=8, stored=8, frames=4, sop_class=kind, before=more,
        ).encode()
    )  # fmt: skip
    return pixels


@pytest.mark.parametrize(("kind", "single"), PLAIN.values(), ids=PLAIN)
def test_frames_of_images_without_functional_groups(kind, single, tmp_path):
    pixels = multiframe(tmp_path / "in.dcm", kind, colour=kind == US_MF)
    run("split", tmp_path / "in.dcm", tmp_path / "out", "--frames", "1,3-4")
    frames = sorted(
        (pydicom.dcmread(path) for path in (tmp_path / "out").iterdir()), key=lambda one: one.InstanceNumber
    )
    assert [one.InstanceNumber for one in frames] == [1, 3, 4]
    for one in frames:
        assert one.SOPClassUID == single == one.file_meta.MediaStorageSOPClassUID
        assert (one.pixel_array == pixels[one.InstanceNumber - 1]).all()
        assert one.FrameExtractionSequence[0].MultiFrameSourceSOPInstanceUID == "1.2.3.4"
        assert not {"NumberOfFrames", "FrameIncrementPointer", "FrameTimeVector"} & set(one.dir())


def test_an_overlay_of_several_frames_becomes_that_of_the_frame(tmp_path):
    planes = np.random.default_rng(2).integers(0, 2, (2, 6, 8)).astype(bool)
    before = {
        0x60000010: dicom.element(0x60000010, "US", 6), 0x60000011: dicom.element(0x60000011, "US", 8),
        0x60000015: dicom.element(0x60000015, "IS", "2"), 0x60000051: dicom.element(0x60000051, "US", 2),
        0x60003000: dicom.element(0x60003000, "OW", np.packbits(planes, axis=None, bitorder="little").tobytes()),
    }  # fmt: skip
    multiframe(tmp_path / "in.dcm", SC_BYTE, before=before)
    run("split", tmp_path / "in.dcm", tmp_path / "out")
    frames = {pydicom.dcmread(path).InstanceNumber: pydicom.dcmread(path) for path in (tmp_path / "out").iterdir()}
    assert all((0x6000, 0x0015) not in one for one in frames.values())
    assert [(0x6000, 0x3000) in frames[number] for number in (1, 2, 3, 4)] == [False, True, True, False]
    for number in (2, 3):
        data = np.frombuffer(frames[number][0x60003000].value, "u1")
        bits = np.unpackbits(data, bitorder="little")[:48].reshape(6, 8)
        assert (bits == planes[number - 2]).all()


def test_a_plane_of_dose_is_where_it_is(tmp_path):
    before = {
        0x3004000C: dicom.element(0x3004000C, "DS", "0\\2.5\\5\\7.5"),
        0x00200032: dicom.element(0x00200032, "DS", "1\\2\\3"),
        0x00200037: dicom.element(0x00200037, "DS", "1\\0\\0\\0\\1\\0"),
        0x00280009: dicom.element(0x00280009, "AT", b"\x04\x30\x0c\x00"),
    }  # fmt: skip
    multiframe(tmp_path / "in.dcm", "1.2.840.10008.5.1.4.1.1.481.2", before=before)
    run("split", tmp_path / "in.dcm", tmp_path / "out", "--frames", "3")
    (path,) = (tmp_path / "out").iterdir()
    assert pydicom.dcmread(path).ImagePositionPatient == [1, 2, 8]
    assert "GridFrameOffsetVector" not in pydicom.dcmread(path)


def test_codestreams_of_colour_are_copied(tmp_path):
    multiframe(tmp_path / "in.dcm", US_MF, colour=True)
    run("convert", tmp_path / "in.dcm", tmp_path / "j2k.dcm", "--to", "j2k")
    run("split", tmp_path / "j2k.dcm", tmp_path / "out")
    made = {
        pydicom.dcmread(path).InstanceNumber: dicom.walk(path.read_bytes()) for path in (tmp_path / "out").iterdir()
    }
    whole = dicom.walk((tmp_path / "j2k.dcm").read_bytes())
    assert [made[number].fragments[0] for number in (1, 2, 3, 4)] == whole.fragments


# --- refusals and the command --------------------------------------------------------------------------------------


def test_a_class_without_single_frames_needs_same_class(tmp_path):
    pixels = multiframe(tmp_path / "in.dcm", "1.2.840.10008.5.1.4.1.1.77.1.5.4")
    assert run("split", tmp_path / "in.dcm", tmp_path / "out", status=5).startswith("E_IOD")
    run("split", tmp_path / "in.dcm", tmp_path / "out", "--same-class", "--frames", "2")
    (path,) = (tmp_path / "out").iterdir()
    one = pydicom.dcmread(path)
    assert (one.SOPClassUID, one.NumberOfFrames) == ("1.2.840.10008.5.1.4.1.1.77.1.5.4", 1)
    assert (one.pixel_array == pixels[1]).all()


def test_one_image_has_nothing_to_split(tmp_path):
    said = run("split", ROOT / "testdata" / "ct-explicit.dcm", tmp_path / "out", status=5)
    assert said.startswith("E_IOD")
    assert "it is one image already, with nothing to split; leave it out, or use --same-class" in said
    assert not (tmp_path / "out").exists()
    run("split", ROOT / "testdata" / "ct-explicit.dcm", tmp_path / "out", "--same-class")


def test_the_bytes_of_a_source_are_told_once(tmp_path):
    source = tmp_path / "in.dcm"
    multiframe(source, "1.2.840.10008.5.1.4.1.1.77.1.5.4")
    size = source.stat().st_size
    for more in (), ("--dry-run",):
        said = run("split", source, tmp_path / "out", "--same-class", "--verbose", *more)
        assert said.count(f" {size} ") == 1
        assert " 0 " not in said


def test_same_class_keeps_the_functional_groups_of_the_frame(tmp_path):
    series.write(tmp_path / "in", line(3))
    run("enhance", tmp_path / "in", tmp_path / "out.dcm")
    run("split", tmp_path / "out.dcm", tmp_path / "frames", "--same-class")
    for path in (tmp_path / "frames").iterdir():
        one = pydicom.dcmread(path)
        (groups,) = one.PerFrameFunctionalGroupsSequence
        assert groups.FrameContentSequence[0].InStackPositionNumber == one.InstanceNumber


@pytest.mark.parametrize("words", ["0", "a", "3-1", "1,,2", "-2"])
def test_frames_that_are_no_numbers(words, tmp_path):
    multiframe(tmp_path / "in.dcm", US_MF)
    run("split", tmp_path / "in.dcm", tmp_path / "out", f"--frames={words}", status=2)
    assert run("split", tmp_path / "in.dcm", tmp_path / "out", "--frames", "5", status=5).startswith("E_OUTSIDE")
    assert not (tmp_path / "out").exists()


def test_several_sources_and_one_that_fails(tmp_path):
    (tmp_path / "in").mkdir()
    multiframe(tmp_path / "in" / "a.dcm", US_MF)
    shutil.copy(tmp_path / "in" / "a.dcm", tmp_path / "in" / "b.dcm")
    (tmp_path / "in" / "b.dcm").write_bytes((tmp_path / "in" / "a.dcm").read_bytes()[:-100])
    run("split", tmp_path / "in", tmp_path / "out", "--isolate", status=9)
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_a_dry_run_writes_no_frame(tmp_path):
    multiframe(tmp_path / "in.dcm", US_MF)
    assert "explicit" in run("split", tmp_path / "in.dcm", tmp_path / "out", "--dry-run", "--to", "jpegls")
    assert not (tmp_path / "out").exists()


def test_frames_of_two_sources_do_not_replace_each_other(tmp_path):
    (tmp_path / "in").mkdir()
    multiframe(tmp_path / "in" / "a.dcm", US_MF)
    shutil.copy(tmp_path / "in" / "a.dcm", tmp_path / "in" / "b.dcm")
    run("split", tmp_path / "in", tmp_path / "out", status=9)
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_a_loss_that_is_asked_for_makes_another_instance(tmp_path):
    series.write(tmp_path / "in", line(2), rows=64, columns=64)
    run("enhance", tmp_path / "in", tmp_path / "out.dcm")
    run("split", tmp_path / "out.dcm", tmp_path / "back", "--to", "j2k", "--lossy", "--ratio", 10, "--quiet")
    for uid, path in by_uid(tmp_path / "back").items():
        assert uid.startswith(DERIVED)
        assert path.name == f"{uid}.dcm"
        assert pydicom.dcmread(path).LossyImageCompression == "01"


def test_offset_tables_are_of_their_own_file(tmp_path):
    multiframe(tmp_path / "in.dcm", US_MF, colour=True)
    run("convert", tmp_path / "in.dcm", tmp_path / "j2k.dcm", "--to", "j2k", "--offset-table", "extended")
    run("split", tmp_path / "j2k.dcm", tmp_path / "out")
    assert all("ExtendedOffsetTable" not in pydicom.dcmread(path) for path in (tmp_path / "out").iterdir())


def test_floating_point_pixels_are_not_supported(tmp_path):
    pixel = dicom.element(0x7FE00008, "OF", bytes(256))
    image = dicom.Image(b"").elements()
    (tmp_path / "in.dcm").write_bytes(dicom.file([*image.values(), pixel], dicom.EXPLICIT))
    assert run("split", tmp_path / "in.dcm", tmp_path / "out", "--same-class", status=4).startswith("E_FLOAT")
