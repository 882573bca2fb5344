"""`dcmtx enhance`: Legacy Converted Enhanced instances, judged by others than dcmtx."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import dicom
import numpy as np
import pydicom
import pytest
import series
from click.testing import CliRunner
from conftest import ROOT
from series import CT, MR, PET, line

from dcmtx.cli import cli
from dcmtx.rules.geometry import Plane, arrange

REAL = ROOT.parent / "shared" / "data" / "series"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the real series are not here")


def run(*arguments: object, status: int = 0) -> str:
    """Run dcmtx; return what it says."""
    result = CliRunner().invoke(cli, list(map(str, arguments)), standalone_mode=False)
    error = result.exception
    code = getattr(getattr(error, "status", None), "value", None) if error is not None else result.return_value
    assert (code or 0) == status, result.output + repr(error)
    return f"{getattr(error, 'code', '')} {getattr(error, 'path', '')} {error}" if error is not None else result.output


def dciodvfy(path: Path) -> set[str]:
    """Return the errors that dciodvfy finds."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed")
    ran = subprocess.run(["dciodvfy", path], capture_output=True, text=True, timeout=60, check=False)
    # A release of 2022 takes the Common Instance Reference for one that needs others beside it.
    odd = "ReferencedSeriesSequence present but Instance does not reference"
    return {each for each in ran.stderr.splitlines() if each.startswith("Error") and odd not in each}


# --- what is made ----------------------------------------------------------------------------------------------

KINDS = {
    "CT": {"kind": CT}, "CT, signed": {"kind": CT, "signed": True, "stored": 16}, "MR": {"kind": MR},
    "MR of 8 bits": {"kind": MR, "allocated": 8, "rows": 5, "columns": 7}, "PET": {"kind": PET},
}  # fmt: skip


@pytest.mark.parametrize("target", [(), ("--to", "jpegls"), ("--to", "rle")], ids=["native", "JPEG-LS", "RLE"])
@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_every_class_is_valid_and_has_the_pixels_of_its_sources(settings, target, tmp_path):
    paths = series.write(tmp_path / "in", line(4), **settings)
    out = tmp_path / "out.dcm"
    run("enhance", tmp_path / "in", out, *target, "--verify", "strict")
    assert not series.faults(out)
    assert not dciodvfy(out) - dciodvfy(paths[0])
    run("convert", out, tmp_path / "raw.dcm", "--raw")
    made = pydicom.dcmread(tmp_path / "raw.dcm").pixel_array
    assert all((made[n] == pydicom.dcmread(path).pixel_array).all() for n, path in enumerate(paths))


def test_the_top_level_is_that_of_the_standard(tmp_path):
    series.write(tmp_path / "in", line(3))
    run("enhance", tmp_path / "in", tmp_path / "out.dcm")
    data = pydicom.dcmread(tmp_path / "out.dcm")
    assert data.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2.2"
    assert list(data.ImageType) == ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    assert data.DimensionOrganizationType == "3D"
    assert (data.StudyInstanceUID, data.FrameOfReferenceUID, data.PatientID) == ("1.2.3.7", "1.2.3.6", "ID1")
    assert data.SeriesInstanceUID.startswith("2.25.")
    assert data.SOPInstanceUID.startswith("2.25.")
    shared = data.SharedFunctionalGroupsSequence[0]
    assert float(shared.PixelMeasuresSequence[0].SpacingBetweenSlices) == 2.0
    assert shared.PixelValueTransformationSequence[0].RescaleType == "HU"
    assert shared.FrameAnatomySequence[0].FrameLaterality == "U"
    assert shared.UnassignedSharedConvertedAttributesSequence[0].KVP == 120


def test_a_missing_window_is_made_of_the_stored_bits_after_rescaling(tmp_path):
    def change(_index, values):
        values[0x00281050] = values[0x00281051] = None

    series.write(tmp_path / "in", line(3), change=change)
    run("enhance", tmp_path / "in", tmp_path / "out.dcm")
    window = pydicom.dcmread(tmp_path / "out.dcm").SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    assert (window.WindowCenter, window.WindowWidth) == (2048 - 1024, 4096)


def test_bits_stored_rise_to_what_the_class_allows(tmp_path):
    series.write(tmp_path / "in", line(3), stored=13)
    run("enhance", tmp_path / "in", tmp_path / "out.dcm")
    data = pydicom.dcmread(tmp_path / "out.dcm")
    assert (data.BitsStored, data.HighBit) == (16, 15)


# --- order -------------------------------------------------------------------------------------------------------


def test_frames_stand_along_the_normal_whatever_the_numbers(tmp_path):
    series.write(tmp_path / "in", line(5)[::-1])
    run("enhance", tmp_path / "in", tmp_path / "out.dcm")
    frames = pydicom.dcmread(tmp_path / "out.dcm").PerFrameFunctionalGroupsSequence
    along = [float(frame.PlanePositionSequence[0].ImagePositionPatient[2]) for frame in frames]
    assert along == sorted(along)


def timed(place_count: int):
    """Return a change that has every `place_count` images be one time."""

    def change(index, values):
        values[0x00200100] = ("IS", str(index // place_count + 1))

    return change


def test_places_are_faster_than_times(tmp_path):
    series.write(tmp_path / "in", line(3) * 2, change=timed(3))
    told = run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--json")
    assert "N_TIMES" in told
    data = pydicom.dcmread(tmp_path / "out.dcm")
    assert data.DimensionOrganizationType == "3D_TEMPORAL"
    indices = [
        list(frame.FrameContentSequence[0].DimensionIndexValues) for frame in data.PerFrameFunctionalGroupsSequence
    ]
    assert indices == [[1, 1, 1], [1, 1, 2], [1, 1, 3], [2, 1, 1], [2, 1, 2], [2, 1, 3]]
    assert not series.faults(tmp_path / "out.dcm")


JITTER = [(0.0, 0.0, 2.0 * n + (0.3 if n == 2 else 0)) for n in range(5)]
SIDEWAYS = [(0.3 if n == 2 else 0.0, 0.0, 2.0 * n) for n in range(5)]
GEOMETRIES = {
    "regular": (line(5), True, False), "tilted": (line(5, tilt=0.4), False, False), "jitter": (JITTER, False, True),
    "sideways": (SIDEWAYS, False, True), "a gap": (line(5)[:3] + line(6)[4:], False, True),
    "one plane": (line(1), False, False), "descending": (line(5)[::-1], True, False),
    "rounded": ([(0, 0, round(n * 2 / 3, 3)) for n in range(9)], True, False),
}  # fmt: skip


@pytest.mark.parametrize(("places", "is_volume", "gaps"), GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_volume_is_regular_and_not_sheared(places, is_volume, gaps):
    found = arrange([Plane(tuple(place), series.AXIAL, (), number=n << 64) for n, place in enumerate(places)])
    assert (found.spacing is not None, found.gaps) == (is_volume, gaps)


CORONAL = (1, 0, 0, 0, 0, -1)


def test_orientations_make_stacks(tmp_path):
    series.write(tmp_path / "in", line(4), cosines=[series.AXIAL, CORONAL] * 2)
    assert "E_MIXED" in run("enhance", tmp_path / "in", tmp_path / "out.dcm", status=5)
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--mixed")
    assert not series.faults(tmp_path / "out.dcm")
    assert pydicom.dcmread(tmp_path / "out.dcm").ImageType[2] == "NON_PARALLEL"
    run("enhance", tmp_path / "in", tmp_path / "groups", "--group", "orientation")
    assert [pydicom.dcmread(path).NumberOfFrames for path in (tmp_path / "groups").iterdir()] == [2, 2]


# --- the same again ------------------------------------------------------------------------------------------------


def without_time(path: Path) -> bytes:
    """Return a file without the time when it was made."""
    walked = dicom.walk(path.read_bytes())
    return b"".join(found.raw for tag, found in walked.elements.items() if tag not in (0x00080012, 0x00080013))


def test_shuffled_sources_make_the_same_bytes(tmp_path):
    def change(index, values):
        values[0x00181151] = ("IS", str(index)) if index % 2 else None

    paths = series.write(tmp_path / "in", line(6), change=change)
    made = []
    for turn in range(3):
        random.Random(turn).shuffle(paths)
        run("enhance", *paths, tmp_path / f"{turn}.dcm")
        made.append(without_time(tmp_path / f"{turn}.dcm"))
    assert made[0] == made[1] == made[2]


def test_a_file_that_is_there_twice_is_taken_once(tmp_path):
    paths = series.write(tmp_path / "in", line(3))
    shutil.copy(paths[0], tmp_path / "in" / "again.dcm")
    said = run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--json")
    assert "N_TWICE" in said
    assert "left out 1 file that is there twice, byte for byte" in said
    shutil.copy(paths[1], tmp_path / "in" / "another.dcm")
    said = run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--json")
    assert "left out 2 files that are there twice, byte for byte" in said
    assert pydicom.dcmread(tmp_path / "out.dcm").NumberOfFrames == 3


# --- groups --------------------------------------------------------------------------------------------------------


def test_groups_and_their_number(tmp_path):
    def change(index, values):
        timed(3)(index, values)
        values[0x0020000E] = ("UI", f"1.2.3.8.{index // 6}")
        values[0x00180081] = ("DS", str(index // 3))
        values[0x00080008] = ("CS", "ORIGINAL\\PRIMARY\\" + "AB"[index % 2])

    series.write(tmp_path / "in", (line(3) * 2 + line(3, start=90) * 2), change=change, kind=MR)
    for group, count in (("series", 2), ("time", 4), ("echo", 4), ("type", 4)):
        run("enhance", tmp_path / "in", tmp_path / group, "--group", group)
        made = [pydicom.dcmread(path) for path in (tmp_path / group).iterdir()]
        assert len(made) == count, group
        # What was one series becomes one.
        assert len({one.SeriesInstanceUID for one in made}) == 2
        assert {one.InstanceNumber for one in made} == set(range(1, count // 2 + 1))


def test_max_frames_makes_several_instances_of_one_series(tmp_path):
    series.write(tmp_path / "in", line(7))
    run("enhance", tmp_path / "in", tmp_path / "out", "--max-frames", 3)
    made = sorted((pydicom.dcmread(path) for path in (tmp_path / "out").iterdir()), key=lambda one: one.InstanceNumber)
    assert [one.NumberOfFrames for one in made] == [3, 3, 1]
    assert len({one.SeriesInstanceUID for one in made}) == 1
    assert [one.InstanceNumber for one in made] == [1, 2, 3]


def test_a_group_that_fails_does_not_stop_the_others(tmp_path):
    series.write(tmp_path / "in", line(3))
    series.write(tmp_path / "in" / "secondary", line(1), photometric="MONOCHROME1", change=renamed("1.2.77"))
    run("enhance", tmp_path / "in", tmp_path / "out", "--group", "series", status=9)
    assert len(list((tmp_path / "out").iterdir())) == 1


def renamed(uid: str):
    """Return a change of SOP Instance and Series Instance UID."""

    def change(_index, values):
        values[0x00080018], values[0x0020000E] = ("UI", uid), ("UI", uid + ".1")

    return change


# --- codestreams ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [True, False], ids=["target named", "no target"])
def test_codestreams_in_the_target_syntax_are_copied(named, tmp_path):
    series.write(tmp_path / "native", line(4))
    run("convert", tmp_path / "native", tmp_path / "in", "--to", "j2k")
    if named:
        # One of them is another's, and is coded anew.
        shutil.copy(tmp_path / "native" / "0001.dcm", tmp_path / "in" / "0001.dcm")
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", *(("--to", "j2k") if named else ()))
    made = dicom.walk((tmp_path / "out.dcm").read_bytes())
    assert made.syntax == dicom.J2K_LOSSLESS
    for number in (0, 2, 3):
        assert made.fragments[number] == dicom.walk((tmp_path / "in" / f"{number:04}.dcm").read_bytes()).fragments[0]


def test_several_syntaxes_become_explicit(tmp_path):
    series.write(tmp_path / "in", line(4))
    (tmp_path / "mixed").mkdir()
    for number, target in enumerate(("jpegls", "rle", "implicit", "deflated")):
        run("convert", tmp_path / "in" / f"{number:04}.dcm", tmp_path / "mixed" / f"{number:04}.dcm", "--to", target)
    run("enhance", tmp_path / "mixed", tmp_path / "out.dcm")
    made = pydicom.dcmread(tmp_path / "out.dcm")
    assert made.file_meta.TransferSyntaxUID == dicom.EXPLICIT
    for number in range(4):
        assert (made.pixel_array[number] == pydicom.dcmread(tmp_path / "in" / f"{number:04}.dcm").pixel_array).all()


# --- refusals ------------------------------------------------------------------------------------------------------


def only(place: int, tag: int, value):
    """Return a change of one attribute of one image."""

    def change(index, values):
        if index == place:
            values[tag] = value

    return change


OVERLAY = {0x60000010: dicom.element(0x60000010, "US", 6), 0x60000011: dicom.element(0x60000011, "US", 8),
           0x60000050: dicom.element(0x60000050, "SS", b"\1\0\1\0"), 0x60000040: dicom.element(0x60000040, "CS", "G"),
           0x60000100: dicom.element(0x60000100, "US", 1), 0x60000102: dicom.element(0x60000102, "US", 0),
           0x60003000: dicom.element(0x60003000, "OW", bytes(6))}  # fmt: skip

REFUSALS = {
    "another patient": ({"change": only(2, 0x00100020, ("LO", "ID2"))}, "E_MIXED", 2, 5),
    "another study": ({"change": only(2, 0x0020000D, ("UI", "1.9"))}, "E_MIXED", 2, 5),
    "another frame of reference": ({"change": only(1, 0x00200052, ("UI", "1.9"))}, "E_MIXED", 1, 5),
    "another character set": ({"change": only(1, 0x00080005, ("CS", "ISO_IR 100"))}, "E_MIXED", 1, 5),
    "another padding value": ({"change": only(1, 0x00280120, ("US", 7))}, "E_MIXED", 1, 5),
    "MONOCHROME1": ({"photometric": "MONOCHROME1"}, "E_IOD", 0, 5),
    "8 bits of CT": ({"allocated": 8}, "E_IOD", 0, 5),
    "no place": ({"change": only(1, 0x00200032, None)}, "E_GEOMETRY", 1, 3),
    "no right angles": ({"change": only(1, 0x00200037, ("DS", "1\\0\\0\\1\\0\\0"))}, "E_GEOMETRY", 1, 3),
    "no orientation": ({"change": only(1, 0x00200037, None)}, "E_GEOMETRY", 1, 3),
    "a place twice": ({"change": lambda n, v: v.update({0x00080032: ("TM", "1"), 0x00200032: ("DS", "0\\0\\0")
                                                        if n < 2 else v[0x00200032]})}, "E_DUPLICATE", 1, 5),
    "an instance twice": ({"change": lambda _, v: v.update({0x00080018: ("UI", "1.2.3")})}, "E_DUPLICATE", 1, 5),
    "an overlay": ({"extra": lambda n: OVERLAY if n == 1 else {}}, "E_OVERLAY", 1, 5),
    "a mosaic": ({"change": lambda _, v: v.update({0x00080008: ("CS", "DERIVED\\PRIMARY\\MOSAIC")})}, "E_IOD", 0, 5),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "code", "named", "status"), REFUSALS.values(), ids=REFUSALS)
def test_what_does_not_go_together_is_refused_and_the_file_named(settings, code, named, status, tmp_path):
    paths = series.write(tmp_path / "in", line(3), **settings)
    before = [path.read_bytes() for path in paths]
    said = run("enhance", tmp_path / "in", tmp_path / "out.dcm", status=status)
    assert said.startswith(code)
    assert paths[named].name in said
    assert [path.read_bytes() for path in paths] == before
    assert not (tmp_path / "out.dcm").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


ODDITIES = {
    "a huge Instance Number": (0x00200013, ("IS", "1e300")),
    "an Instance Number of letters": (0x00200013, ("IS", "abc")),
    "a time of letters": (0x00080032, ("TM", "noon")), "a window of letters": (0x00281050, ("DS", "wide")),
    "a name that is not ASCII": (0x00100010, ("PN", b"M\xfcller")), "no spacing": (0x00280030, ("DS", "")),
}  # fmt: skip


@pytest.mark.parametrize(("tag", "value"), ODDITIES.values(), ids=ODDITIES)
def test_odd_values_are_no_reason_to_fail(tag, value, tmp_path):
    series.write(tmp_path / "in", line(3), change=lambda _, values: values.update({tag: value}))
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--quiet")
    assert pydicom.dcmread(tmp_path / "out.dcm").NumberOfFrames == 3


def test_overlays_are_kept_when_asked_for(tmp_path):
    series.write(tmp_path / "in", line(3), extra=lambda n: OVERLAY if n == 1 else {})
    assert "N_OVERLAYS_KEPT" in run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--overlays", "keep", "--json")
    assert not series.faults(tmp_path / "out.dcm")


def test_a_class_without_an_enhanced_form_is_not_supported(tmp_path):
    (tmp_path / "sc.dcm").write_bytes(dicom.Image(bytes(128)).encode())
    assert "E_IOD" in run("enhance", tmp_path / "sc.dcm", tmp_path / "out.dcm", status=4)


def test_content_above_bits_stored_is_refused_where_these_rise(tmp_path):
    paths = series.write(tmp_path / "in", line(3), stored=13)
    data = bytearray(paths[1].read_bytes())
    data[-1] = 0x80
    paths[1].write_bytes(data)
    said = run("enhance", tmp_path / "in", tmp_path / "out.dcm", status=5)
    assert said.startswith("E_SIGNED")
    assert "0001.dcm" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_unused_bits_are_cleared_when_asked_for(tmp_path):
    paths = series.write(tmp_path / "in", line(3))
    data = bytearray(paths[1].read_bytes())
    data[-1] |= 0x80
    paths[1].write_bytes(data)
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--to", "jpegls", status=5)
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--to", "jpegls", "--unused-bits", "clear")
    run("split", tmp_path / "out.dcm", tmp_path / "back", "--quiet")
    # One of them is not what it was.
    assert sum(path.name.startswith("2.25.") for path in (tmp_path / "back").iterdir()) == 1


def test_an_image_of_several_frames_is_refused(tmp_path):
    (tmp_path / "mf.dcm").write_bytes(dicom.Image(bytes(256), frames=2, sop_class=CT).encode())
    assert "E_IOD" in run("enhance", tmp_path / "mf.dcm", tmp_path / "out.dcm", status=5)


# --- the command -----------------------------------------------------------------------------------------------------


def test_a_dry_run_writes_nothing(tmp_path):
    series.write(tmp_path / "in", line(3))
    assert "explicit to" in run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--dry-run")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_records(tmp_path):
    series.write(tmp_path / "in", line(3))
    record = json.loads(run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--json").splitlines()[0])
    assert (record["status"], record["frames"]) == ("converted", 3)
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--report", tmp_path / "report", "--isolate")
    assert json.loads((tmp_path / "report").read_text())["destination"] == str(tmp_path / "out.dcm")
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--no-clobber", status=8)


def test_loss_needs_consent_and_is_told_of(tmp_path):
    series.write(tmp_path / "in", line(3), rows=64, columns=64)
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--to", "j2k", "--ratio", 8, status=5)
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--to", "j2k", "--ratio", 8, "--lossy")
    data = pydicom.dcmread(tmp_path / "out.dcm")
    assert data.LossyImageCompression == "01"
    assert data.ImageType[0] == "DERIVED"


# --- other readers ---------------------------------------------------------------------------------------------------


def nifti(source: Path, folder: Path):
    """Return the voxels and the affine of the one volume that dcm2niix makes of a file or a directory."""
    (volume,) = volumes(source, folder)
    return volume


def volumes(source: Path, folder: Path):
    """Return the voxels and the affine of every volume that dcm2niix makes of a file or a directory."""
    dcm2niix = pytest.importorskip("dcm2niix")
    nibabel = pytest.importorskip("nibabel")
    folder.mkdir()
    if source.is_file():
        # It looks at all that stands beside a file.
        place = folder / "alone"
        place.mkdir()
        shutil.copy(source, place)
        source = place
    subprocess.run([dcm2niix.bin, "-b", "n", "-z", "n", "-f", "v", "-o", folder, source], check=True, timeout=60,
                   capture_output=True)  # fmt: skip
    images = [nibabel.load(path) for path in sorted(folder.glob("*.nii"))]
    return [(np.asarray(image.dataobj), image.affine) for image in images]


VOLUMES = {"CT": {}, "MR": {"kind": MR}, "descending": {"descending": True}, "oblique": {"oblique": True}}


@pytest.mark.parametrize("target", ["explicit", "jpegls"])
@pytest.mark.parametrize("settings", VOLUMES.values(), ids=VOLUMES)
def test_dcm2niix_makes_the_same_volume_of_it(settings, target, tmp_path):
    settings = dict(settings)
    places = line(6)[:: -1 if settings.pop("descending", False) else 1]
    if settings.pop("oblique", False):
        settings["cosines"] = (0.8, 0.6, 0, 0, 0, -1)
        places = [(-0.6 * 2 * n, 0.8 * 2 * n, 0) for n in range(6)]
    series.write(tmp_path / "in", places, rows=16, columns=20, **settings)
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--to", target)
    voxels, affine = nifti(tmp_path / "in", tmp_path / "a")
    again, affine_again = nifti(tmp_path / "out.dcm", tmp_path / "b")
    assert (voxels == again).all()
    assert np.allclose(affine, affine_again, atol=1e-4)


def test_highdicom_reads_the_volume(tmp_path):
    highdicom = pytest.importorskip("highdicom")
    paths = series.write(tmp_path / "in", line(5))
    run("enhance", tmp_path / "in", tmp_path / "out.dcm")
    volume = highdicom.imread(tmp_path / "out.dcm").get_volume()
    assert volume.array.shape == (5, 6, 8)
    assert np.allclose(sorted(volume.spacing), [0.5, 0.75, 2.0])
    stack = np.stack([pydicom.dcmread(path).pixel_array for path in paths]) - 1024.0
    assert (np.sort(volume.array, axis=None) == np.sort(stack, axis=None)).all()


@real
@pytest.mark.parametrize("name", ["ge_ct_tilt", "ge_fmri"])
def test_real_series_are_valid(name, tmp_path):
    run("enhance", REAL / name, tmp_path / "out.dcm", "--quiet")
    assert not series.faults(tmp_path / "out.dcm")
    told = dciodvfy(tmp_path / "out.dcm") - dciodvfy(min((REAL / name).iterdir()))
    # The images that it refers to are in series that are not here.
    assert not {each for each in told if "ReferencedImageEvidenceSequence" not in each}


@real
def test_every_time_of_a_real_series_is_a_volume_of_its_own(tmp_path):
    run("enhance", REAL / "ge_fmri", tmp_path / "times", "--group", "time", "--quiet")
    whole, affine = nifti(REAL / "ge_fmri", tmp_path / "a")
    found = set()
    for number, path in enumerate(sorted((tmp_path / "times").iterdir())[:3]):
        voxels, affine_of_one = nifti(path, tmp_path / f"b{number}")
        found |= {time for time in range(whole.shape[3]) if (whole[..., time] == voxels).all()}
        assert np.allclose(affine, affine_of_one, atol=1e-4)
    assert len(found) == 3


# --- memory ----------------------------------------------------------------------------------------------------------

_PROGRAM = """
import os, resource, sys
from dcmtx.cli import cli
cli.main(["enhance", *sys.argv[1:], "--quiet"], standalone_mode=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(os.listdir("/proc/self/fd")))
"""


def peak(folder: Path, out: Path) -> tuple[int, int]:
    """Return the most memory, in kB, that a process takes to enhance a directory, and its open files at the end."""
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM, folder, out], capture_output=True, text=True, check=True, timeout=120
    )
    memory, files = ran.stdout.split()
    return int(memory), int(files)


def test_memory_and_descriptors_do_not_grow_with_slices(tmp_path):
    series.write(tmp_path / "few", line(60, step=1))
    series.write(tmp_path / "many", line(1200, step=1))
    few, files = peak(tmp_path / "few", tmp_path / "few.dcm")
    many, as_many = peak(tmp_path / "many", tmp_path / "many.dcm")
    assert files == as_many
    # kB: what every slice keeps is a fraction of its header.
    assert (many - few) / 1140 < 1.0


# --- what must not be lost -------------------------------------------------------------------------------------------


def test_a_forgotten_destination_does_not_replace_an_image(tmp_path):
    paths = series.write(tmp_path / "in", line(4))
    before = paths[-1].read_bytes()
    said = run("enhance", *paths, status=2)
    assert f"the last name is OUT, and {paths[-1]} is an image that is there already; name another OUT" in said
    run("enhance", *paths, paths[0], status=2)
    assert paths[-1].read_bytes() == before


def test_what_is_made_is_no_source_the_next_time(tmp_path):
    series.write(tmp_path / "in", line(4))
    run("enhance", tmp_path / "in", tmp_path / "in" / "out.dcm")
    first = without_time(tmp_path / "in" / "out.dcm")
    run("enhance", tmp_path / "in", tmp_path / "in" / "out.dcm")
    assert without_time(tmp_path / "in" / "out.dcm") == first


# --- evidence --------------------------------------------------------------------------------------------------------


def referring(instance: str):
    """Return what refers to an instance."""
    item = dicom.element(0x00081150, "UI", MR) + dicom.element(0x00081155, "UI", instance)
    items = dicom.header(0xFFFEE000, "", len(item)) + item
    return lambda _: {0x00081140: dicom.header(0x00081140, "SQ", len(items)) + items}


def test_the_series_of_what_is_referred_to_is_evidence_if_it_is_known(tmp_path):
    series.write(tmp_path / "in", line(3), extra=referring("1.2.77"))
    assert "N_EVIDENCE" in run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--json")
    assert "ReferencedImageEvidenceSequence" not in pydicom.dcmread(tmp_path / "out.dcm")
    series.write(tmp_path / "study", line(1), kind=MR, change=renamed("1.2.77"))
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--study", tmp_path / "study")
    (study,) = pydicom.dcmread(tmp_path / "out.dcm").ReferencedImageEvidenceSequence
    (found,) = study.ReferencedSeriesSequence
    assert found.SeriesInstanceUID == "1.2.77.1"
    assert found.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.77"


def test_more_native_pixels_than_fit_are_refused_and_the_number_of_frames_said(tmp_path, monkeypatch):
    from dcmtx.series import enhance

    monkeypatch.setattr(enhance, "_LONGEST", 250)
    series.write(tmp_path / "in", line(4))
    said = run("enhance", tmp_path / "in", tmp_path / "out.dcm", status=5)
    assert said.startswith("E_SIZE")
    assert "--max-frames 2" in said
    run("enhance", tmp_path / "in", tmp_path / "out.dcm", "--to", "jpegls")


def test_a_truncated_source_is_named(tmp_path):
    paths = series.write(tmp_path / "in", line(3))
    paths[1].write_bytes(paths[1].read_bytes()[:-10])
    said = run("enhance", tmp_path / "in", tmp_path / "out.dcm", status=3)
    assert said.startswith("E_TRUNCATED")
    assert "0001.dcm" in said
    assert not (tmp_path / "out.dcm").exists()


@pytest.mark.parametrize("name", ["enhance", "split", "crop"])
def test_codecs_and_a_device_can_be_named_as_for_convert(name, tmp_path, command):
    """A GPU that is asked for and not there ends it before anything is read."""
    gpu = pytest.importorskip("dcmtx.device.gpu")
    source = tmp_path / "a.dcm"
    source.write_bytes(dicom.Image(bytes(128)).encode())
    rows = ["--rows", "1:4"] if name == "crop" else []
    ran = command(name, source, tmp_path / "out", "--to", "rle", "--encoder", "no-such", *rows)
    assert ran.status == 2
    assert "no-such" in ran.line
    if gpu.count() == 0:
        ran = command(name, source, tmp_path / "out", "--to", "j2k", "--device", "gpu", *rows)
        assert ran.status == 4
    assert not (tmp_path / "out").exists()
