"""Classic series for tests, with the geometry that is asked for, and a validator of what is made of them.

Independent of dcmtx: files are written by `dicom`, and read by pydicom.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import dicom
import numpy as np
import pydicom

CT, MR, PET = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4", "128"))
AXIAL = (1, 0, 0, 0, 1, 0)
MODALITIES = {CT: "CT", MR: "MR", PET: "PT"}

Elements = dict[int, bytes]
Values = dict[int, tuple[str, object] | None]


def text(numbers: Sequence[float]) -> str:
    """Return numbers as a Decimal String."""
    return "\\".join(f"{number:.8g}" for number in numbers)


def header(index: int, position: Sequence[float], *, kind: str = CT, cosines: Sequence[float] = AXIAL) -> Values:
    """Return the attributes of one image beside its pixels, as VR and value by tag."""
    values: Values = {
        0x00080008: ("CS", "ORIGINAL\\PRIMARY\\AXIAL"), 0x00080016: ("UI", kind),
        0x00080018: ("UI", f"1.2.3.9.{index + 1}"), 0x00080020: ("DA", "20200102"), 0x00080021: ("DA", "20200102"),
        0x00080022: ("DA", "20200102"), 0x00080023: ("DA", "20200102"), 0x00080030: ("TM", "101112"),
        0x00080031: ("TM", "101113"), 0x00080032: ("TM", f"1012{index % 60:02}"), 0x00080033: ("TM", "101300"),
        0x00080050: ("SH", "A1"), 0x00080060: ("CS", MODALITIES[kind]), 0x00080070: ("LO", "Maker"),
        0x00080090: ("PN", "Doctor^A"), 0x00081090: ("LO", "Model"), 0x00100010: ("PN", "Test^Series"),
        0x00100020: ("LO", "ID1"), 0x00100030: ("DA", "19700101"), 0x00100040: ("CS", "O"),
        0x00180015: ("CS", "HEAD"), 0x00180050: ("DS", "2"), 0x00181000: ("LO", "123"), 0x00181020: ("LO", "v1"),
        0x00185100: ("CS", "HFS"), 0x0020000D: ("UI", "1.2.3.7"), 0x0020000E: ("UI", "1.2.3.8"),
        0x00200010: ("SH", "1"), 0x00200011: ("IS", "3"), 0x00200012: ("IS", "1"),
        0x00200013: ("IS", str(index + 1)), 0x00200032: ("DS", text(position)), 0x00200037: ("DS", text(cosines)),
        0x00200052: ("UI", "1.2.3.6"), 0x00201040: ("LO", ""), 0x00280030: ("DS", "0.5\\0.75"),
        0x00281050: ("DS", "40"), 0x00281051: ("DS", "400"),
    }  # fmt: skip
    if kind == CT:
        values |= {0x00180060: ("DS", "120"), 0x00281052: ("DS", "-1024"), 0x00281053: ("DS", "1")}
    if kind == MR:
        values |= {
            0x00180020: ("CS", "GR"), 0x00180021: ("CS", "NONE"), 0x00180022: ("CS", ""), 0x00180023: ("CS", "3D"),
            0x00180080: ("DS", "10"), 0x00180081: ("DS", "3"), 0x00180091: ("IS", "1"),
        }  # fmt: skip
    if kind == PET:
        values |= {0x00281052: ("DS", "0"), 0x00281053: ("DS", f"1.{index + 1}"), 0x00281054: ("LO", "BQML")}
    return values


Change = Callable[[int, Values], None]


def write(
    folder: Path,
    places: Sequence[Sequence[float]],
    *,
    kind: str = CT,
    cosines: Sequence[float] | Sequence[Sequence[float]] = AXIAL,
    change: Change | None = None,
    extra: Callable[[int], Elements] | None = None,
    rows: int = 6,
    columns: int = 8,
    allocated: int = 16,
    stored: int = 0,
    signed: bool = False,
    syntax: str = dicom.EXPLICIT,
    photometric: str = "MONOCHROME2",
) -> list[Path]:
    """Write a series with an image at each of these places, and return its files.

    `change` changes the values of an image, by its index; `extra` returns more encoded elements of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = stored or (16 if kind == PET else 12 if allocated == 16 else 8)
    paths = []
    for index, place in enumerate(places):
        own = cosines if not isinstance(cosines[0], Sequence) else cosines[index]
        values = header(index, place, kind=kind, cosines=own)
        if change is not None:
            change(index, values)
        random = np.random.default_rng(index)
        low, high = (-(1 << stored - 1), 1 << stored - 1) if signed else (0, 1 << stored)
        dtype = f"<{'i' if signed else 'u'}{allocated // 8}"
        pixels = random.integers(low, high, rows * columns).astype(dtype)
        word = syntax if syntax in (dicom.IMPLICIT, dicom.BIG_ENDIAN) else dicom.EXPLICIT
        before = {tag: dicom.element(tag, *one, word) for tag, one in values.items() if one is not None}
        before |= extra(index) if extra is not None else {}
        data = pixels.tobytes()
        if syntax == dicom.BIG_ENDIAN and allocated == 16:
            data = pixels.byteswap().tobytes()
        image = dicom.Image(
            data + b"\0" * (len(data) % 2), rows, columns, allocated=allocated, stored=stored, signed=signed,
            syntax=syntax, before=before, sop_class=kind, sop_instance=f"1.2.3.9.{index + 1}", photometric=photometric,
        )  # fmt: skip
        path = folder / f"{index:04}.dcm"
        path.write_bytes(image.encode())
        paths.append(path)
    return paths


def line(count: int, step: float = 2.0, *, start: float = 10.0, tilt: float = 0.0) -> list[tuple[float, float, float]]:
    """Return places along z, `step` mm apart; with `tilt`, each is so many mm further along y."""
    return [(-5.0, 3.0 + tilt * index, start + step * index) for index in range(count)]


# --- what dciodvfy misses ----------------------------------------------------------------------------------------

_WANTED = {
    "1.2.840.10008.5.1.4.1.1.2.2": ("CTImageFrameTypeSequence", True),
    "1.2.840.10008.5.1.4.1.1.4.4": ("MRImageFrameTypeSequence", False),
    "1.2.840.10008.5.1.4.1.1.128.1": ("PETFrameTypeSequence", True),
}
_ALWAYS = ["PixelMeasuresSequence", "FrameContentSequence", "PlanePositionSequence", "PlaneOrientationSequence",
           "ConversionSourceAttributesSequence"]  # fmt: skip
_VALUES = ["FrameVOILUTSequence", "PixelValueTransformationSequence"]
_NEVER_SHARED = {
    "FrameContentSequence",
    "ConversionSourceAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
}


def faults(path: Path) -> list[str]:
    """Return what is wrong with a Legacy Converted Enhanced instance, of what dciodvfy does not see."""
    data = pydicom.dcmread(path)
    shared, frames = data.SharedFunctionalGroupsSequence[0], data.PerFrameFunctionalGroupsSequence
    indices = [tuple(_list(frame.FrameContentSequence[0].DimensionIndexValues)) for frame in frames]
    ranks = [sorted({one[place] for one in indices}) for place in range(len(indices[0]))]
    sources = [frame.ConversionSourceAttributesSequence[0].ReferencedSOPInstanceUID for frame in frames]
    cited = {item.ReferencedSOPInstanceUID for series in data.ReferencedSeriesSequence
             for item in series.ReferencedInstanceSequence}  # fmt: skip
    codes = [item.PurposeOfReferenceCodeSequence[0].CodeValue for item in data.ContributingEquipmentSequence]
    several = {"ConcatenationUID", "InConcatenationNumber", "FrameIncrementPointer"}
    checks = {
        "as many items as frames": len(frames) == data.NumberOfFrames,
        "109106 in Contributing Equipment": "109106" in codes,
        "no concatenation and no pointer": not several & set(data.dir()),
        "no overlays": not any(0x6000 <= element.tag.group <= 0x60FF for element in data),
        "unique indices in order": len(set(indices)) == len(indices) and indices == sorted(indices),
        "indices from 1": all(rank == list(range(1, len(rank) + 1)) for rank in ranks),
        "Volumetric Properties": data.VolumetricProperties in ("VOLUME", "SAMPLED", "DISTORTED", "MIXED"),
        "Burned In Annotation": data.BurnedInAnnotation == "NO",
        "Presentation LUT Shape": data.PresentationLUTShape == "IDENTITY",
        "each source once": len(set(sources)) == len(sources) and set(sources) == cited,
    }
    wrong = [name for name, right in checks.items() if not right]
    return wrong + _misplaced_groups(data, shared, frames) + _misplaced_spacing(data, shared, frames)


def _misplaced_groups(data, shared, frames) -> list[str]:
    """Return the groups that are absent, in both places, or shared where they must not be."""
    frame_type, mandatory = _WANTED[data.SOPClassUID]
    found = []
    for group in [*_ALWAYS, frame_type, *(_VALUES if mandatory else [])]:
        in_shared, count = group in shared, sum(group in frame for frame in frames)
        if count != (0 if in_shared else len(frames)):
            found.append(f"{group}: shared {in_shared}, in {count} frames")
    return found + [f"{group} is shared" for group in _NEVER_SHARED if group in shared]


def _misplaced_spacing(data, shared, frames) -> list[str]:
    """Return a fault where the instance tells of a volume, and its frames are none."""
    if data.get("DimensionOrganizationType") not in ("3D", "3D_TEMPORAL"):
        return []
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    normal = np.cross(orientation[:3], orientation[3:])
    places = [np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float) for frame in frames]
    first = [place for place, frame in zip(places, frames, strict=True)
             if frame.FrameContentSequence[0].get("TemporalPositionIndex", 1) == 1]  # fmt: skip
    spacing = float(shared.PixelMeasuresSequence[0].SpacingBetweenSlices)
    steps = [after - before for before, after in pairwise(first)]
    wrong = [step for step in steps if math.dist(step, normal * spacing) > 0.02 * spacing]
    return ["it tells of a volume, and is none"] if wrong else []


def _list(value) -> list[int]:
    return list(value) if isinstance(value, Sequence | pydicom.multival.MultiValue) else [value]
