"""Objects and refusals: which are images by their SOP Class, and which of two refusals is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dicom
import images
import pytest
from images import Format

from dcmtx import transcode
from dcmtx.errors import DcmtxError, InputError

STORAGE = "1.2.840.10008.5.1.4.1.1"
# PS3.4 B.5, and PS3.3 A: what has an Image Pixel Module always.
IMAGES = {
    "CR": "1", "DX": "1.1", "MG for processing": "1.2.1", "CT": "2", "Enhanced CT": "2.1", "US multi-frame": "3.1",
    "MR": "4", "Enhanced MR": "4.1", "Enhanced MR Color": "4.3", "US": "6.1", "SC": "7", "SC of words": "7.3",
    "XA": "12.1", "Enhanced XA": "12.1.1", "XRF": "12.2", "X-Ray 3D": "13.1.1", "IVOCT": "14.1", "NM": "20",
    "Parametric Map": "30", "Segmentation": "66.4", "Label Map": "66.7", "VL Endoscopic": "77.1.1",
    "Whole Slide": "77.1.6", "PET": "128", "Enhanced PET": "130", "RT Image": "481.1",
}  # fmt: skip
# An RT Dose may be dose-volume histograms alone (PS3.3 A.18.3).
OTHERS = {
    "RT Dose": "481.2", "RT Structure Set": "481.3", "RT Plan": "481.5", "MR Spectroscopy": "4.2", "Raw Data": "66",
    "Registration": "66.1", "Segmentation of surfaces": "66.5", "Basic Text SR": "88.11", "ECG": "9.1.1",
    "Encapsulated PDF": "104.1", "a presentation state": "11.1", "Stereometric Relationship": "77.1.5.3",
}  # fmt: skip


def without_pixels(last: str, **more: Any) -> bytes:
    uid = f"{STORAGE}.{last}"
    elements = {
        0x00080016: dicom.element(0x00080016, "UI", uid),
        0x00080018: dicom.element(0x00080018, "UI", "1.2.3.4"),
        0x00080060: dicom.element(0x00080060, "CS", "OT"),
        **more.get("elements", {}),
    }
    return dicom.file(elements.values(), sop_class=uid)


@pytest.mark.parametrize("last", [*IMAGES.values(), *OTHERS.values()], ids=[*IMAGES, *OTHERS])
def test_only_an_image_is_incomplete_without_pixels(last: str, tmp_path: Path) -> None:
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    source.write_bytes(without_pixels(last))
    is_image = last in IMAGES.values()
    notes = transcode(source, out, to="implicit").notes
    assert any("image without Pixel Data" in note.text for note in notes) == is_image
    if not is_image:
        assert transcode(source, out, to="jpegls").syntax_out == dicom.EXPLICIT
        return
    with pytest.raises(InputError) as caught:
        transcode(source, tmp_path / "none.dcm", to="jpegls")
    assert caught.value.code == "E_NO_PIXELDATA"


@pytest.mark.parametrize("last", ["481.2", "66", "999"], ids=["RT Dose", "Raw Data", "a class that is not known"])
def test_what_describes_pixels_is_incomplete_without_them(last: str, tmp_path: Path) -> None:
    """Rows and Columns say that there are pixels, whatever the class."""
    size = {tag: dicom.element(tag, "US", 8) for tag in (0x00280010, 0x00280011)}
    (tmp_path / "in.dcm").write_bytes(without_pixels(last, elements=size))
    with pytest.raises(InputError) as caught:
        transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="jpegls")
    assert caught.value.code == "E_NO_PIXELDATA"


@pytest.mark.parametrize(
    ("fmt", "code", "told"),
    [
        (Format("MONOCHROME2", 16, 16), "E_BITS", "JPEG Extended (Process 2 and 4) holds"),
        (Format("MONOCHROME2", 16, 12, signed=True), "E_SIGN", "JPEG Extended (Process 2 and 4) holds no signed"),
        (Format("RGB", 16, 16), "E_BITS", "JPEG Baseline (Process 1) holds"),
    ],
    ids=str,
)
def test_of_two_refusals_that_of_the_nearer_syntax_is_told(fmt: Format, code: str, told: str, tmp_path: Path) -> None:
    """JPEG with loss is Baseline or Extended: only Extended holds more than 8 bits, and only Baseline holds colour."""
    (tmp_path / "in.dcm").write_bytes(images.image(fmt, images.make_frames(fmt, 8, 8)).encode())
    with pytest.raises(DcmtxError) as caught:
        transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="jpeg", lossy=True)
    assert (caught.value.status, caught.value.code) == (5, code)
    assert str(caught.value).startswith(told)
