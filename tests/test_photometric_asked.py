"""--photometric and --planar in colour: exact where it can be, rounded with consent, refused where it is neither."""

from __future__ import annotations

import io
from typing import Any

import dicom
import images
import numpy as np
import oracle
import pydicom
import pytest
from conftest import ROOT
from images import Format
from pydicom.pixels import convert_color_space

import dcmtx
from dcmtx.errors import RefusedError, UsageError

RGB, YBR = Format("RGB", 8, 8), Format("YBR_FULL", 8, 8)
ROWS, COLUMNS = 6, 10
SHARED = ROOT / "testdata" / "sc-ybr-full-422.dcm"
BASELINE = ROOT / "testdata" / "us-jpeg-baseline.dcm"


def picture(fmt: Format = RGB, *, planar: int = 0, count: int = 2, **more: Any) -> bytes:
    frames = images.make_frames(fmt, ROWS, COLUMNS, count)
    return images.image(fmt, frames, planar=planar, **more).encode()


def colours(data: bytes) -> np.ndarray:
    """Return all frames by pixel, read by the tests' own reader."""
    return np.stack(oracle.native(data))


def described(data: bytes) -> tuple[str, int]:
    walked = dicom.walk(data)
    return walked.elements[0x00280004].text, walked.elements[0x00280006].number


# --- Planar Configuration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["explicit", "implicit", "big-endian", "deflated", "encapsulated", "deflated-frames"])
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("fmt", [RGB, YBR, Format("RGB", 16, 12)], ids=str)
def test_planes_are_as_they_are_asked_for(fmt, before, planar, to):
    source = picture(fmt, planar=before)
    made = dcmtx.transcode(source, to=to, planar=planar)
    assert described(made) == (fmt.photometric, planar)
    back = dcmtx.transcode(made, to="explicit", planar=0)
    np.testing.assert_array_equal(colours(back), colours(source))
    # Nothing of their meaning has changed.
    assert dicom.walk(made).elements[0x00080018].text == "1.2.3.4"
    assert dicom.walk(made).elements[0x00080008].text == "ORIGINAL\\PRIMARY"


@pytest.mark.parametrize("planar", [0, 1])
def test_other_libraries_read_the_planes(planar, tmp_path):
    source = ROOT / "testdata" / "us-rgb-by-plane.dcm"
    made = tmp_path / "made.dcm"
    dcmtx.transcode(source, made, to="explicit", planar=planar)
    np.testing.assert_array_equal(pydicom.dcmread(made).pixel_array, pydicom.dcmread(source).pixel_array)
    np.testing.assert_array_equal(colours(made.read_bytes())[0], pydicom.dcmread(source).pixel_array)


@pytest.mark.parametrize("first", ["rle", "j2k", "jpegls"])
def test_what_is_decoded_may_be_by_plane(first):
    source = picture()
    made = dcmtx.transcode(dcmtx.transcode(source, to=first), to="raw", planar=1)
    assert described(made) == ("RGB", 1)
    np.testing.assert_array_equal(colours(made), colours(source))


def test_grey_has_no_planes():
    source = (ROOT / "testdata" / "ct-explicit.dcm").read_bytes()
    made = dicom.walk(dcmtx.transcode(source, to="explicit", planar=1))
    assert 0x00280006 not in made.elements
    assert made.dataset == dicom.walk(source).dataset


def test_shared_chroma_is_by_pixel_unless_it_is_shared_no_more():
    source = SHARED.read_bytes()
    with pytest.raises(RefusedError) as caught:
        dcmtx.transcode(source, to="explicit", planar=1)
    assert (caught.value.code, caught.value.advice) == ("E_PLANAR", "use --photometric too")
    made = dcmtx.transcode(source, to="explicit", planar=1, photometric="YBR_FULL")
    assert described(made) == ("YBR_FULL", 1)
    np.testing.assert_array_equal(
        colours(made), colours(dcmtx.transcode(source, to="explicit", photometric="YBR_FULL"))
    )


@pytest.mark.parametrize("to", ["rle", "jpegls", "j2k", "jpeg-lossless"])
def test_codestreams_have_no_planes(to):
    with pytest.raises(UsageError, match="--planar does not go with"):
        dcmtx.transcode(picture(), to=to, planar=1)
    # A fallback is not to change what was asked silently.
    with pytest.raises(RefusedError) as caught:
        dcmtx.transcode(SHARED.read_bytes(), to="explicit", planar=1, fallback=[to])
    assert caught.value.code == "E_PLANAR"


@pytest.mark.parametrize("options", [{"planar": 1}, {"uid": "new"}, {"icon": "drop"}, {"force": True}], ids=str)
@pytest.mark.parametrize("syntax", [dicom.IMPLICIT, dicom.EXPLICIT, dicom.BIG_ENDIAN])
def test_raw_leaves_a_native_file_its_syntax_whatever_else_is_asked(syntax, options):
    made = dcmtx.transcode(dcmtx.transcode(picture(), to=syntax), to="raw", **options)
    assert dicom.walk(made).syntax == syntax


# --- Photometric Interpretation, exact -----------------------------------------------------------------------------


def test_shared_chroma_is_repeated_exactly():
    source = SHARED.read_bytes()
    made = dcmtx.transcode(source, to="explicit", photometric="YBR_FULL")
    assert described(made) == ("YBR_FULL", 0)
    # Y1 Y2 Cb Cr, as the standard has it (PS3.3 C.7.6.3.1.2).
    pairs = np.frombuffer(dicom.walk(source).elements[dicom.PIXEL_DATA].value, np.uint8).reshape(-1, 4)
    found = colours(made).reshape(-1, 2, 3)
    np.testing.assert_array_equal(found[..., 0], pairs[:, :2])
    np.testing.assert_array_equal(found[..., 1], np.repeat(pairs[:, 2:3], 2, axis=1))
    np.testing.assert_array_equal(found[..., 2], np.repeat(pairs[:, 3:4], 2, axis=1))
    assert dicom.walk(made).elements[0x00080018].text == dicom.walk(source).elements[0x00080018].text


@pytest.mark.parametrize("to", ["explicit", "rle", "jpegls", "deflated-frames"])
def test_ycbcr_of_jpeg_may_stay(to, tmp_path):
    """DCMTK decodes the same without a change of colours (+cn)."""
    native = tmp_path / "native.dcm"
    oracle.run("dcmdjpeg", "+cn", str(BASELINE), str(native))
    made = dcmtx.transcode(BASELINE.read_bytes(), to=to, photometric="YBR_FULL")
    assert dicom.walk(made).elements[0x00280004].text == "YBR_FULL"
    mine = colours(dcmtx.transcode(made, to="explicit"))[0].astype(int)
    theirs = pydicom.pixels.pixel_array(pydicom.dcmread(native), raw=True).astype(int)
    assert np.abs(mine - theirs).max() <= 1
    assert dicom.walk(made).elements[0x00280006].number == 0


@pytest.mark.parametrize("to", ["j2k", "htj2k", "htj2k-rpcl"])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_RCT"])
def test_jpeg_2000_transforms_components_or_not(photometric, to):
    source = picture()
    made = dcmtx.transcode(source, to=to, photometric=photometric)
    assert described(made)[0] == photometric
    stream = dicom.walk(made).fragments[0]
    at = stream.index(b"\xff\x52")
    assert stream[at + 8] == (photometric == "YBR_RCT")  # T.800 A.6.1: the multiple component transformation
    np.testing.assert_array_equal(colours(dcmtx.transcode(made, to="explicit")), colours(source))
    # A file that has it already is not coded anew.
    again = dcmtx.transcode(made, to=to, photometric=photometric)
    assert dicom.walk(again).fragments == dicom.walk(made).fragments
    other = dcmtx.transcode(made, to=to, photometric={"RGB": "YBR_RCT", "YBR_RCT": "RGB"}[photometric])
    assert described(other)[0] != photometric
    np.testing.assert_array_equal(colours(dcmtx.transcode(other, to="explicit")), colours(source))


@pytest.mark.parametrize(
    ("to", "photometric", "is_transformed"),
    [("jpeg", "RGB", False), ("jpeg", "YBR_FULL_422", True), ("j2k", "RGB", False), ("j2k", "YBR_ICT", True)],
)
def test_what_is_lossy_has_the_colours_that_are_asked_for(to, photometric, is_transformed, tmp_path):
    source = ROOT / "testdata" / "us-rgb-by-pixel.dcm"
    made = tmp_path / "made.dcm"
    outcome = dcmtx.transcode(source, made, to=to, lossy=True, photometric=photometric)
    plain = dcmtx.transcode(source, tmp_path / "plain.dcm", to=to, lossy=True)
    dataset = pydicom.dcmread(made)
    assert dataset.PhotometricInterpretation == photometric
    assert dataset.LossyImageCompression == "01"
    assert "inverted" not in dataset.DerivationDescription
    shown = pydicom.pixels.pixel_array(dataset).astype(int)
    assert np.sqrt(np.mean((shown - pydicom.dcmread(source).pixel_array) ** 2)) < 8
    if not is_transformed:
        # Other pixels need another UID.
        assert outcome.instance_out != plain.instance_out


# --- rounded -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [8, 12])
@pytest.mark.parametrize(("before", "after"), [("YBR_FULL", "RGB"), ("RGB", "YBR_FULL")])
def test_colours_are_rounded_with_consent_alone(before, after, stored):
    fmt = Format(before, 8 if stored == 8 else 16, stored)
    source = picture(fmt)
    with pytest.raises(RefusedError) as caught:
        dcmtx.transcode(source, to="explicit", photometric=after)
    assert (caught.value.code, f"{before} becomes {after} by rounding" in str(caught.value)) == ("E_LOSSY", True)
    made = dcmtx.transcode(source, to="explicit", photometric=after, lossy=True)
    assert described(made) == (after, 0)
    np.testing.assert_allclose(
        colours(made).astype(int),
        np.stack([_by_the_standard(frame, before, stored) for frame in colours(source)]),
        atol=1 if stored == 8 else 2,
    )
    walked = dicom.walk(made).elements
    assert walked[0x00082111].text == f"{before} to {after}, rounded"
    assert walked[0x00080008].text.startswith("DERIVED")
    assert walked[0x00080018].text != "1.2.3.4"
    # It is no lossy compression.
    assert 0x00282110 not in walked


def _by_the_standard(frame: np.ndarray, before: str, stored: int) -> np.ndarray:
    """Return the other colours by PS3.3 C.7.6.3.1.2; of 8 bits by pydicom."""
    if stored == 8:
        after = "RGB" if before == "YBR_FULL" else "YBR_FULL"
        return convert_color_space(frame, before, after).astype(int)
    half, top = 1 << (stored - 1), (1 << stored) - 1
    a, b, c = (frame[..., place].astype(float) for place in range(3))
    if before == "YBR_FULL":
        b, c = b - half, c - half
        made = [a + 1.402 * c, a - 0.3441363 * b - 0.7141363 * c, a + 1.772 * b]
    else:
        made = [
            0.299 * a + 0.587 * b + 0.114 * c,
            -0.1687359 * a - 0.3312641 * b + 0.5 * c + half,
            0.5 * a - 0.4186876 * b - 0.0813124 * c + half,
        ]
    return np.clip(np.rint(np.stack(made, axis=-1)), 0, top).astype(int)


@pytest.mark.parametrize("to", ["explicit", "encapsulated", "deflated-frames"])
@pytest.mark.parametrize("fmt", [RGB, YBR], ids=str)
def test_chroma_is_shared_with_consent(fmt, to):
    source = picture(fmt)
    made = dcmtx.transcode(source, to=to, photometric="YBR_FULL_422", lossy=True)
    assert described(made) == ("YBR_FULL_422", 0)
    walked = dicom.walk(made).elements
    assert walked[0x00082111].text == f"{fmt.photometric} to YBR_FULL_422, rounded"
    native = dcmtx.transcode(made, to="explicit")
    pairs = np.frombuffer(dicom.walk(native).elements[dicom.PIXEL_DATA].value, np.uint8).reshape(-1, 4).astype(int)
    full = colours(source)
    if fmt is RGB:
        full = np.stack([convert_color_space(frame, "RGB", "YBR_FULL") for frame in full])
    full = full.reshape(-1, 2, 3).astype(int)
    slack = int(fmt is RGB)
    assert np.abs(pairs[:, :2] - full[..., 0]).max() <= slack
    assert np.abs(pairs[:, 2:] - (full[:, 0, 1:] + full[:, 1, 1:] + 1) // 2).max() <= slack


def test_shared_chroma_of_native_pixels_stays_exact_under_another_syntax():
    source = SHARED.read_bytes()
    made = dcmtx.transcode(source, to="deflated-frames", photometric="YBR_FULL_422")
    assert dicom.walk(made).elements[0x00080018].text == dicom.walk(source).elements[0x00080018].text
    back = dcmtx.transcode(made, to="explicit")
    assert dicom.walk(back).elements[dicom.PIXEL_DATA].value == dicom.walk(source).elements[dicom.PIXEL_DATA].value


def test_rounding_is_recorded_before_a_loss(tmp_path):
    made = tmp_path / "made.dcm"
    dcmtx.transcode(SHARED, made, to="j2k", lossy=True, ratio=5, photometric="YBR_ICT")
    dataset = pydicom.dcmread(made)
    assert dataset.PhotometricInterpretation == "YBR_ICT"
    assert dataset.DerivationDescription.startswith("YBR_FULL to RGB, rounded; JPEG 2000 lossy compression, ratio ")


def test_consent_holds_under_a_target_to_fall_back_to():
    """JPEG holds no 12 bits in colour; what is rounded is so all the same."""
    source = picture(Format("YBR_FULL", 16, 12))
    made = dcmtx.transcode(source, to="jpeg-baseline", lossy=True, photometric="RGB", fallback=["explicit"])
    assert (dicom.walk(made).syntax, described(made)) == (dicom.EXPLICIT, ("RGB", 0))


def test_consent_holds_where_loss_turns_out_needless(tmp_path):
    """Pixels that take no more bytes without loss: what is lossy is given up, the colours are not."""
    flat = images.image(YBR, [np.full((ROWS, COLUMNS, 3), 100, np.uint8)]).encode()
    made = tmp_path / "made.dcm"
    outcome = dcmtx.transcode(flat, io.BytesIO(), to="j2k", lossy=True, photometric="RGB")
    assert "N_LOSSLESS" in [note.code for note in outcome.notes] or outcome.psnr is not None
    made.write_bytes(dcmtx.transcode(flat, to="j2k", lossy=True, photometric="RGB"))
    assert pydicom.dcmread(made).PhotometricInterpretation == "RGB"


# --- refusals ------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[bytes | Any, dict[str, Any], str, str]] = {
    "grey into colours": (lambda: picture(Format("MONOCHROME2", 8, 8)), {"photometric": "RGB"}, "E_PHOTOMETRIC",
                          "MONOCHROME2 cannot become RGB"),
    "colours into grey": (picture, {"photometric": "MONOCHROME2"}, "E_PHOTOMETRIC", "RGB cannot become MONOCHROME2"),
    "a palette by this": ((ROOT / "testdata" / "us-palette-8.dcm").read_bytes, {"photometric": "RGB"},
                          "E_PHOTOMETRIC", "use --apply-palette"),
    "a transform where there is none": (picture, {"photometric": "YBR_RCT"}, "E_PI", "would be RGB, not YBR_RCT"),
    "loss of a transform that has none": (picture, {"photometric": "YBR_ICT", "to": "j2k"}, "E_PI",
                                          "would be YBR_RCT, not YBR_ICT"),
    "shared chroma of whole": (lambda: picture(YBR), {"photometric": "YBR_FULL_422"}, "E_LOSSY",
                               "YBR_FULL becomes YBR_FULL_422 by rounding"),
    "shared chroma of an odd number": (
        lambda: images.image(YBR, images.make_frames(YBR, 4, 7)).encode(),
        {"photometric": "YBR_FULL_422", "lossy": True}, "E_PI", "7 columns cannot share chroma"),
    "shared chroma of 16 bits": (
        lambda: picture(Format("YBR_FULL", 16, 12)), {"photometric": "YBR_FULL_422", "lossy": True}, "E_BITS",
        "YBR_FULL_422"),
    "RGB of shared chroma": (picture, {"photometric": "RGB", "to": "jpeg", "lossy": True, "subsampling": "420"},
                             "E_PI", "--subsampling 420 shares chroma"),
    "YBR_FULL in JPEG Baseline": (lambda: picture(YBR), {"photometric": "YBR_FULL", "to": "jpeg", "lossy": True},
                                  "E_PI", "YBR_FULL"),
    "pixels of JPEG that is kept": (BASELINE.read_bytes, {"photometric": "RGB", "to": "jpegxl-jpeg"},
                                    "E_PHOTOMETRIC", "keeps JPEG streams bit for bit"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused(kind):
    make, options, code, text = REFUSED[kind]
    with pytest.raises(RefusedError) as caught:
        dcmtx.transcode(make(), **{"to": "explicit", **options})
    assert (caught.value.code, text in str(caught.value)) == (code, True), str(caught.value)


def test_consent_alone_is_still_no_word_for_a_lossless_target():
    with pytest.raises(UsageError, match="cannot lose anything"):
        dcmtx.transcode(picture(), to="explicit", lossy=True)


@pytest.mark.parametrize(
    "options", [{"apply_palette": True, "photometric": "RGB", "lossy": True}, {"planar": 1}], ids=str
)
def test_a_job_with_these_options_survives_json(options, tmp_path):
    from dcmtx.transcoding.job import job

    asked = job("a.dcm", "b.dcm", to="explicit", **options)
    assert dcmtx.job_from_json(asked.to_json()) == asked


def test_a_plain_conversion_imports_none_of_this(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys, dcmtx;"
        f"dcmtx.transcode({str(ROOT / 'testdata' / 'us-palette-8.dcm')!r}, {str(tmp_path / 'x.dcm')!r}, to='rle');"
        "print([name for name in sys.modules if name.endswith(('changes', 'rules.palette', 'inversion', 'derivation',"
        " 'picture', 'pixel.icon', 'rules.icon'))])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"
