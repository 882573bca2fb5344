"""`--ignore-errors`: damage behind a whole image is passed over, with a note; a damaged frame is refused still."""

from __future__ import annotations

import io
from collections.abc import Callable

import dicom
import numpy as np
import pydicom
import pytest
from conftest import ROOT

import dcmtx
from dcmtx.rules import catalog
from dcmtx.syntax import find

DATA = ROOT / "testdata"
PIXELS = np.arange(64, dtype="<u2").tobytes()


def native(more: bytes = b"", behind: bytes = b"", syntax: str = dicom.EXPLICIT) -> bytes:
    return dicom.Image(PIXELS + more, syntax=syntax).encode() + behind


def encapsulated(change: Callable[[bytes], bytes]) -> bytes:
    return change((DATA / "ct-jpegls.dcm").read_bytes())


def element(length: int, syntax: str = dicom.EXPLICIT) -> bytes:
    """Return an element behind Pixel Data that claims more bytes than there are."""
    return dicom.header(0xFFFCFFFC, "OB", length, syntax) + bytes(10)


SIGNATURES = dicom.sequence(0xFFFAFFFA, [b""], undefined=True)
END = dicom.header(0xFFFEE0DD, "", 0)
# What is damaged, how the error without the option begins, and how many bytes are passed over.
DAMAGED = {
    "an element that is cut off": (native(behind=element(1000)), "element (FFFC,FFFC) claims 1000 bytes", 22),
    "text": (native(behind=b"appended by some script\n"), "", 24),
    "text, in Implicit VR": (native(behind=b"appended by some script\n", syntax=dicom.IMPLICIT), "", 24),
    "too few bytes for an element": (native(behind=b"abc"), "3 bytes at the end of the file are no data element", 3),
    "an end of a sequence": (native(behind=END), "(FFFE,E0DD) at offset", 8),
    "a sequence that is cut off": (native(behind=SIGNATURES[:-16]), "the file ends inside sequence", 20),
    "no end of the fragments, but text": (
        encapsulated(lambda data: data[:-8] + b"appended by some script\n"), "behind fragment 1 of Pixel Data", 24,
    ),
    "half a fragment more": (
        encapsulated(lambda data: data[:-8] + dicom.header(0xFFFEE000, "", 500) + bytes(20)),
        "the file ends inside fragment 2", 28,
    ),
    "text behind the end of the fragments": (encapsulated(lambda data: data + b"appended\n"), "", 9),
}  # fmt: skip


@pytest.mark.parametrize("to", ["explicit", "rle"])
@pytest.mark.parametrize(("data", "error", "count"), DAMAGED.values(), ids=DAMAGED)
def test_what_follows_a_whole_image_is_passed_over(data, error, count, to, src, dst, fails, command):
    src.write_bytes(data)
    line = fails(3, "convert", src, dst, "--to", to, "--force")
    assert f"{src}: {error}" in line
    ran = command("convert", src, dst, "--to", to, "--force", "--ignore-errors")
    assert (ran.status, ran.out) == (0, "")
    (note,) = [line for line in ran.err.splitlines() if "passed over" in line]
    assert f"note: passed over {count} damaged bytes behind the image, at the end of the file: " in note
    made = pydicom.dcmread(dst)
    sound = DATA / "ct-jpegls.dcm" if data[:1000] == encapsulated(lambda whole: whole)[:1000] else io.BytesIO(native())
    before = pydicom.dcmread(sound)
    np.testing.assert_array_equal(pydicom.pixels.pixel_array(made), pydicom.pixels.pixel_array(before))
    assert [one.tag for one in made] == [one.tag for one in before]


@pytest.mark.parametrize("more", [b"\1\2\3\4", bytes(range(120))])
@pytest.mark.parametrize("to", ["explicit", "implicit", "rle"])
def test_bytes_behind_the_last_frame_are_passed_over(more, to, src, dst, fails, command):
    src.write_bytes(native(more))
    assert "and they are not zeros" in fails(3, "convert", src, dst, "--to", "rle")
    ran = command("convert", src, dst, "--to", to, "--ignore-errors", "--force")
    assert (ran.status, ran.out) == (0, "")
    if to == "rle":
        assert f"note: passed over {len(more)} bytes behind the last frame, which are not zeros" in ran.err
    assert dicom.walk(dst.read_bytes()).elements[0x00280010].number == 8
    assert pydicom.pixels.pixel_array(pydicom.dcmread(dst)).astype("<u2").tobytes() == PIXELS


def jpeg(change: Callable[[bytes], bytes]) -> bytes:
    """Return a file with the same codestream in both frames, the second one changed."""
    stream = dicom.walk((DATA / "cr-jpeg-lossless.dcm").read_bytes())
    image = pydicom.dcmread(DATA / "cr-jpeg-lossless.dcm")
    (whole,) = stream.fragments
    return dicom.Image(
        [whole, change(whole)], rows=image.Rows, columns=image.Columns, stored=image.BitsStored, frames=2,
        photometric=image.PhotometricInterpretation, syntax=dicom.JPEG_SV1,
    ).encode()  # fmt: skip


BROKEN = {
    "native pixels that are cut off": native()[:-30],
    "a fragment that is cut off": encapsulated(lambda data: data[:-200]),
    "a frame that is missing": dicom.Image([b"\xff\xd8"], frames=2, syntax=dicom.JPEG_SV1).encode()[:-8] + b"text",
    "a frame that is cut short": jpeg(lambda stream: stream[: len(stream) // 2]),
    "a frame of zeros": jpeg(lambda stream: bytes(len(stream))),
    "no pixels at all": dicom.file([dicom.element(0x00080060, "CS", "OT")]) + b"appended by some script\n",
    "an element before the pixels": native()[:450],
}  # fmt: skip


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_damaged_image_is_refused_still(data, src, dst, fails):
    src.write_bytes(data)
    without = fails(3, "convert", src, dst, "--to", "implicit")
    assert fails(3, "convert", src, dst, "--to", "implicit", "--ignore-errors") == without


def test_what_info_says_of_it_mends_it_and_leaves_the_codestream(src, dst, command):
    src.write_bytes(encapsulated(lambda data: data + b"appended\n"))
    mend = catalog.mend("N_DAMAGED", find("jpegls-lossless"))
    assert mend in command("info", src).out
    ran = command(*(str({"SRC": src, "DST": dst}.get(word, word)) for word in mend.split()[1:]))
    assert ran.status == 0, ran
    assert dicom.walk(dst.read_bytes()).fragments == dicom.walk((DATA / "ct-jpegls.dcm").read_bytes()).fragments
    assert "N_DAMAGED" not in command("info", dst).out


def test_a_sound_file_is_as_without_it():
    for path in sorted(DATA.glob("*.dcm")):
        assert dcmtx.transcode(path, to="explicit", ignore_errors=True) == dcmtx.transcode(path, to="explicit"), path
