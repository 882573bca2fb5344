"""Colour from file to file: what codestreams and tags say of it, and where they disagree; what it becomes.

The rules by themselves are in test_photometric, arithmetic in test_color; here are whole files, whose codestreams are
made by libraries and marked by hand.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import images
import numpy as np
import oracle
import pytest
from images import Format, Words

from dcmtx import transcode
from dcmtx.errors import InputError, RefusedError

RGB, YBR, SHARED = (Format(name, 8, 8) for name in ("RGB", "YBR_FULL", "YBR_FULL_422"))
PHOTOMETRIC, PLANAR = 0x00280004, 0x00280006
J2K_TARGETS = ("j2k", "htj2k", "htj2k-rpcl", "JPEG2000", "HTJ2K")


def shades(rows: int = 32, columns: int = 48, turn: int = 0) -> Words:
    """Return RGB that is smooth, so that DCT and shared chroma keep it nearly, and whose channels are far apart."""
    y, x = np.mgrid[0:rows, 0:columns] / max(rows, columns)
    planes = [200 - 60 * x + 10 * turn, 90 + 50 * y, 30 + 40 * x * y]
    return np.rint(np.stack(planes, axis=-1)).astype("u1")


def to_ybr(rgb: Words) -> Words:
    """Return RGB as YBR_FULL by the equations of PS3.3 C.7.6.3.1.2."""
    red, green, blue = (rgb[..., number].astype("f8") for number in range(3))
    planes = [
        0.299 * red + 0.587 * green + 0.114 * blue,
        -0.168736 * red - 0.331264 * green + 0.5 * blue + 128,
        0.5 * red - 0.418688 * green - 0.081312 * blue + 128,
    ]
    return np.rint(np.clip(np.stack(planes, axis=-1), 0, 255)).astype("u1")


def apart(some: Words, others: Words) -> int:
    """Return the largest difference between samples."""
    assert some.shape == others.shape
    return int(abs(some.astype("i4") - others).max())


def photometric(path: Path) -> str:
    return dicom.walk(path.read_bytes()).elements[PHOTOMETRIC].text


def encapsulated(streams: list[bytes], syntax: str, said: str, shape: tuple[int, ...], **more: Any) -> dicom.Image:
    """Return an image in colour of these codestreams."""
    rows, columns = shape[:2]
    settings: dict[str, Any] = {"allocated": 8, "stored": 8, "frames": len(streams) if len(streams) > 1 else None}
    return dicom.Image(
        streams, rows=rows, columns=columns, samples=3, photometric=said, syntax=syntax, **(settings | more)
    )


# --- JPEG with loss: what its markers say ----------------------------------------------------------------------

APP0, APP14, SOF, SOS = 0xFFE0, 0xFFEE, (0xFFC0, 0xFFC1, 0xFFC2, 0xFFC3), 0xFFDA
JFIF = b"JFIF\0\1\1\0\0\1\0\1\0\0"


def adobe(transform: int) -> bytes:
    return b"Adobe\0\x64\0\0\0\0" + bytes([transform])


def marked(stream: bytes, *, jfif: bool = False, transform: int | None = None, ids: bytes = b"\1\2\3") -> bytes:
    """Return a JPEG stream with these markers of colour only, and these component identifiers."""
    out, position = [b"\xff\xd8"], 2
    if jfif:
        out.append(struct.pack(">HH", APP0, 2 + len(JFIF)) + JFIF)
    if transform is not None:
        out.append(struct.pack(">HH", APP14, 2 + 12) + adobe(transform))
    while True:
        marker, length = struct.unpack_from(">HH", stream, position)
        segment = bytearray(stream[position : position + 2 + length])
        if marker in SOF or marker == SOS:
            first, step = (10, 3) if marker in SOF else (5, 2)
            for number, name in enumerate(ids):
                segment[first + step * number] = name
        if marker not in (APP0, APP14):
            out.append(bytes(segment))
        position += 2 + length
        if marker == SOS:
            return b"".join([*out, stream[position:]])


def jpeg(components: Words, sharing: str = "444", **marks: Any) -> bytes:
    """Return components coded as they are, by DCT of such quality that nothing much is lost."""
    # Called YCbCr on both sides, the library transforms nothing, and may share chroma.
    stream = imagecodecs.jpeg8_encode(
        components, level=98, colorspace="YCBCR", outcolorspace="YCBCR", subsampling=sharing
    )
    return marked(bytes(stream), **marks)


# What is coded, how it is marked, what the tag says, whether they disagree.
JPEG: dict[str, tuple[str, dict[str, Any], str, bool]] = {
    "YCbCr without marks": ("ycc", {}, "YBR_FULL_422", False),
    "YCbCr that shares chroma, without marks": ("ycc", {"sharing": "422"}, "YBR_FULL_422", False),
    "YCbCr that shares chroma by four": ("ycc", {"sharing": "420"}, "YBR_FULL_422", False),
    "YCbCr called YBR_FULL": ("ycc", {}, "YBR_FULL", False),
    "YCbCr of JFIF": ("ycc", {"jfif": True}, "YBR_FULL_422", False),
    "YCbCr of Adobe": ("ycc", {"transform": 1}, "YBR_FULL_422", False),
    "YCbCr of Adobe, shared": ("ycc", {"transform": 1, "sharing": "422"}, "YBR_FULL_422", False),
    "YCbCr of Adobe called RGB": ("ycc", {"transform": 1}, "RGB", True),
    "YCbCr of Adobe and JFIF called RGB": ("ycc", {"transform": 1, "jfif": True}, "RGB", True),
    "YCbCr that shares chroma, called RGB": ("ycc", {"sharing": "422"}, "RGB", True),
    "YCbCr that shares chroma by four, called RGB": ("ycc", {"sharing": "420", "jfif": True}, "RGB", True),
    "RGB without marks": ("rgb", {}, "RGB", False),
    "RGB of Adobe": ("rgb", {"transform": 0}, "RGB", False),
    "RGB by its components' names": ("rgb", {"ids": b"RGB"}, "RGB", False),
    "RGB of Adobe called YCbCr": ("rgb", {"transform": 0}, "YBR_FULL_422", True),
    "RGB of Adobe called YBR_FULL": ("rgb", {"transform": 0}, "YBR_FULL", True),
    "RGB by names, called YCbCr": ("rgb", {"ids": b"RGB"}, "YBR_FULL_422", True),
    "RGB by names in small letters, called YCbCr": ("rgb", {"ids": b"rgb"}, "YBR_FULL_422", True),
    # JFIF is not to be relied on (PS3.5 8.2.1 Note 3): the tag has the word.
    "RGB of JFIF": ("rgb", {"jfif": True}, "RGB", True),
}


def write_jpeg(path: Path, kind: str, **more: Any) -> Words:
    """Write a file of one such frame; return what it shows."""
    coded, marks, said, _ = JPEG[kind]
    rgb = shades()
    stream = jpeg(to_ybr(rgb) if coded == "ycc" else rgb, **marks)
    path.write_bytes(encapsulated([stream], dicom.JPEG_BASELINE, said, rgb.shape, **more).encode())
    return rgb


@pytest.mark.parametrize("decoder", ["imagecodecs", "pylibjpeg-libjpeg"])
@pytest.mark.parametrize("to", ["explicit", "rle"])
@pytest.mark.parametrize("kind", JPEG)
def test_jpeg_shows_what_it_holds_whatever_the_tag_says(kind: str, to: str, decoder: str, tmp_path: Path) -> None:
    """As RGB; where marks and tag disagree, with a note that names what the tag said."""
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    rgb = write_jpeg(source, kind)
    outcome = transcode(source, out, to=to, decoder=decoder)
    (found,) = oracle.decoded(out.read_bytes())
    assert photometric(out) == "RGB"
    assert apart(rgb, found) <= 6
    _, _, said, odd = JPEG[kind]
    assert any(f"Photometric Interpretation is {said}" in note.text for note in outcome.notes) == odd


@pytest.mark.parametrize("to", ["jpegls", "j2k", "htj2k", "jpeg", "jpegxl", "implicit", "deflated-frames"])
def test_mislabelled_jpeg_is_right_in_every_other_syntax(to: str, tmp_path: Path) -> None:
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    rgb = write_jpeg(source, "YCbCr of Adobe called RGB")
    outcome = transcode(source, out, to=to)
    (found,) = oracle.decoded(out.read_bytes(), outcome.encoder)
    assert photometric(out) == ("YBR_RCT" if to in J2K_TARGETS else "RGB")
    assert apart(rgb, found) <= 6


@pytest.mark.parametrize("kind", ["YCbCr that shares chroma, without marks", "RGB of Adobe", "YCbCr of Adobe"])
def test_dcmtk_sees_the_same_in_marked_jpeg(kind: str, tmp_path: Path) -> None:
    """So the marks here are those that others go by."""
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    write_jpeg(source, kind)
    transcode(source, out, to="explicit")
    (ours,), (theirs,) = oracle.native(out.read_bytes()), oracle.native(oracle.dcmtk(source, tmp_path))
    assert apart(ours, theirs) <= 1


def test_frames_in_different_colour_spaces_are_refused(tmp_path: Path) -> None:
    """One Photometric Interpretation cannot say both."""
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    rgb = shades()
    streams = [jpeg(to_ybr(rgb), transform=1), jpeg(rgb, transform=0)]
    source.write_bytes(encapsulated(streams, dicom.JPEG_BASELINE, "YBR_FULL_422", rgb.shape).encode())
    with pytest.raises(InputError) as caught:
        transcode(source, out, to="explicit")
    assert (caught.value.code, caught.value.frame) == ("E_INCONSISTENT", 1)
    assert not out.exists()


@pytest.mark.parametrize("said", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("transform", [None, 0, 1], ids=["no mark", "marked as RGB", "marked as YCbCr"])
@pytest.mark.parametrize("syntax", [dicom.JPEG_SV1, dicom.JPEG_P14], ids=["SV1", "P14"])
def test_components_of_lossless_jpeg_are_what_the_tag_says(
    syntax: str, transform: int | None, said: str, tmp_path: Path
) -> None:
    """No mark makes a decoder transform them: they come out as they went in (PS3.5 8.2.1)."""
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    samples = shades(7, 9)
    stream = imagecodecs.jpeg8_encode(samples, lossless=True, colorspace="RGB", outcolorspace="RGB")
    stream = marked(bytes(stream), transform=transform)
    source.write_bytes(encapsulated([stream], syntax, said, samples.shape).encode())
    for to in ("explicit", "rle", "jpegls"):
        transcode(source, out, to=to)
        assert photometric(out) == ("RGB" if said == "RGB" else "YBR_FULL")
        assert not oracle.different([samples], oracle.decoded(out.read_bytes()))


@pytest.mark.parametrize("said", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("spiff", [False, True], ids=["no SPIFF header", "a SPIFF header that says RGB"])
def test_components_of_jpeg_ls_are_what_the_tag_says(spiff: bool, said: str, tmp_path: Path) -> None:
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    samples = shades(7, 9)
    try:
        stream = bytes(imagecodecs.jpegls_encode(samples, spiff=True))
    except TypeError:
        # Older ones write this header always.
        stream = bytes(imagecodecs.jpegls_encode(samples))
    assert stream[2:4] == b"\xff\xe8"
    while not spiff and stream[2:4] == b"\xff\xe8":
        stream = stream[:2] + stream[4 + int.from_bytes(stream[4:6], "big") :]
    source.write_bytes(encapsulated([stream], dicom.JPEGLS, said, samples.shape).encode())
    for to in ("explicit", "rle", "jpeg"):
        transcode(source, out, to=to)
        assert photometric(out) == said
        assert not oracle.different([samples], oracle.decoded(out.read_bytes()))


def test_the_colour_transform_of_hewlett_packard_is_refused(tmp_path: Path) -> None:
    """Decoders that do not know the mark would show other colours."""
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    samples = shades(7, 9)
    stream = bytes(imagecodecs.jpegls_encode(samples))
    stream = stream[:2] + b"\xff\xe8\0\7mrfx\1" + stream[2:]
    source.write_bytes(encapsulated([stream], dicom.JPEGLS, "RGB", samples.shape).encode())
    with pytest.raises((InputError, RefusedError), match="transform"):
        transcode(source, out, to="explicit")
    assert not out.exists()


# --- JPEG 2000 and HTJ2K: the transform is in the codestream ---------------------------------------------------


def j2k(rgb: Words, *, mct: bool, reversible: bool) -> bytes:
    level = 0 if reversible else 70
    return bytes(
        imagecodecs.jpeg2k_encode(rgb, level=level, codecformat="j2k", planar=False, reversible=reversible, mct=mct)
    )


def htj2k(rgb: Words, *, mct: bool, reversible: bool) -> bytes:
    level = None if reversible else 0.002
    return bytes(imagecodecs.htj2k_encode(rgb, level=level, reversible=reversible, rgb=mct, planar=False))


# Transform, wavelet, tag, whether they disagree, what it becomes.
J2K: dict[str, tuple[bool, bool, str, bool, str]] = {
    "RCT": (True, True, "YBR_RCT", False, "RGB"),
    "RCT called RGB": (True, True, "RGB", True, "RGB"),
    "RCT called YBR_FULL": (True, True, "YBR_FULL", True, "RGB"),
    "RCT called ICT": (True, True, "YBR_ICT", True, "RGB"),
    "ICT": (True, False, "YBR_ICT", False, "RGB"),
    "ICT called RCT": (True, False, "YBR_RCT", True, "RGB"),
    "ICT called RGB": (True, False, "RGB", True, "RGB"),
    "RGB": (False, True, "RGB", False, "RGB"),
    "RGB called RCT": (False, True, "YBR_RCT", True, "RGB"),
    "RGB called ICT": (False, False, "YBR_ICT", True, "RGB"),
    "YBR_FULL": (False, True, "YBR_FULL", False, "YBR_FULL"),
    "YBR_FULL, irreversible": (False, False, "YBR_FULL", False, "YBR_FULL"),
}


@pytest.mark.parametrize("decoder", ["imagecodecs", "pylibjpeg-openjpeg"])
@pytest.mark.parametrize("code", ["JPEG 2000", "HTJ2K"])
@pytest.mark.parametrize("kind", J2K)
def test_jpeg_2000_shows_what_it_holds_whatever_the_tag_says(
    kind: str, code: str, decoder: str, tmp_path: Path
) -> None:
    """Never RCT or ICT where nothing is transformed (PS3.5 8.2.4); YBR_FULL stays, for RGB would round."""
    mct, reversible, said, odd, becomes = J2K[kind]
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    samples = shades()
    encode, syntax = (j2k, dicom.J2K) if code == "JPEG 2000" else (htj2k, dicom.HTJ2K)
    stream = encode(samples, mct=mct, reversible=reversible)
    source.write_bytes(encapsulated([stream], syntax, said, samples.shape).encode())
    for to in ("explicit", "rle", "jpegls"):
        outcome = transcode(source, out, to=to, decoder=decoder)
        (found,) = oracle.decoded(out.read_bytes())
        assert photometric(out) == becomes
        assert dicom.walk(out.read_bytes()).elements[PLANAR].number == 0
        assert apart(samples, found) <= (0 if reversible else 3)
        assert any(f"Photometric Interpretation is {said}" in note.text for note in outcome.notes) == odd
    other = "htj2k" if code == "JPEG 2000" else "j2k"
    transcode(source, out, to=other, decoder=decoder)
    assert photometric(out) == ("YBR_RCT" if becomes == "RGB" else "YBR_FULL")


@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.RLE, dicom.JPEGLS, dicom.JPEG_SV1])
@pytest.mark.parametrize("said", ["YBR_RCT", "YBR_ICT", "YBR_PARTIAL_420", "XYB"])
def test_a_colour_that_a_syntax_cannot_hold_is_not_guessed_at(said: str, syntax: str, tmp_path: Path) -> None:
    source, coded, out = tmp_path / "source.dcm", tmp_path / "coded.dcm", tmp_path / "out.dcm"
    samples = shades(7, 9)
    source.write_bytes(images.image(RGB, [samples]).encode())
    transcode(source, coded, to=syntax)
    data = coded.read_bytes()
    old = dicom.walk(data).elements[PHOTOMETRIC].raw
    source.write_bytes(data.replace(old, dicom.element(PHOTOMETRIC, "CS", said)))
    with pytest.raises(InputError) as caught:
        transcode(source, out, to="j2k")
    assert (caught.value.code, caught.value.tag) == ("E_INCONSISTENT", PHOTOMETRIC)
    assert said in str(caught.value)


# --- what encoders of colour write -----------------------------------------------------------------------------

SAMPLING = {"444": (0x11, 0x11, 0x11), "422": (0x21, 0x11, 0x11), "420": (0x22, 0x11, 0x11)}


@pytest.mark.parametrize("sharing", [None, "444", "422", "420"], ids=lambda sharing: sharing or "nothing asked")
@pytest.mark.parametrize("fmt", [RGB, YBR, SHARED], ids=str)
def test_jpeg_baseline_shares_chroma_as_its_tag_says(fmt: Format, sharing: str | None, tmp_path: Path) -> None:
    """YBR_FULL_422 with sampling factors that are so, or RGB, not transformed and marked so (PS3.5 8.2.1)."""
    source, out, back = (tmp_path / f"{what}.dcm" for what in ("source", "out", "back"))
    rgb = shades()
    frame = rgb if fmt is RGB else images.half_chroma(to_ybr(rgb)) if fmt is SHARED else to_ybr(rgb)
    source.write_bytes(images.image(fmt, [frame]).encode())
    transcode(source, out, to="jpeg-baseline", lossy=True, quality=95, subsampling=sharing)
    as_rgb = fmt is RGB and sharing == "444"
    assert photometric(out) == ("RGB" if as_rgb else "YBR_FULL_422")
    (stream,) = oracle.codestreams(out.read_bytes())
    header = oracle.parse(stream)
    (sof,) = [value for marker, value in header.segments if marker in SOF]
    assert (sof[7], sof[10], sof[13]) == SAMPLING[sharing or "422"]
    mark = header.segment(APP14)
    assert (mark is not None and mark[11] == 0) == as_rgb
    assert mark is None or mark[11] == (0 if as_rgb else 1)
    transcode(out, back, to="explicit")
    (found,), (theirs,) = oracle.native(back.read_bytes()), oracle.native(oracle.dcmtk(out, tmp_path))
    assert apart(rgb, found) <= 12
    assert apart(found, theirs) <= 1


@pytest.mark.parametrize(
    ("to", "lossy"),
    [
        (to, lossy)
        for lossy in (False, True)
        for to in ("j2k", "htj2k", "htj2k-rpcl", "JPEG2000", "HTJ2K")
        if (to, lossy) != ("htj2k-rpcl", True)
    ],
)
@pytest.mark.parametrize("fmt", [RGB, Format("RGB", 16, 12), YBR], ids=str)
def test_jpeg_2000_transforms_rgb_and_nothing_else(fmt: Format, lossy: bool, to: str, tmp_path: Path) -> None:
    """RGB by the transform of its wavelet; YBR_FULL, which is transformed already, never again (PS3.5 8.2.4)."""
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    frame = shades().astype(fmt.dtype) << (fmt.stored - 8)
    source.write_bytes(images.image(fmt, [frame]).encode())
    outcome = transcode(source, out, to=to, lossy=lossy)
    header = oracle.parse(oracle.codestreams(out.read_bytes())[0])
    assert (header.reversible, header.transform) == (not lossy, fmt.photometric == "RGB")
    expected = "YBR_FULL" if fmt is YBR else "YBR_ICT" if lossy else "YBR_RCT"
    assert photometric(out) == expected
    (found,) = oracle.decoded(out.read_bytes(), outcome.encoder)
    assert apart(frame, found) <= (12 << (fmt.stored - 8) if lossy else 0)


def test_jpeg_xl_takes_no_ybr_without_loss(tmp_path: Path) -> None:
    """It would become RGB, and that rounds; with consent to loss it does."""
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    rgb = shades()
    source.write_bytes(images.image(YBR, [to_ybr(rgb)]).encode())
    with pytest.raises(RefusedError) as caught:
        transcode(source, out, to="jpegxl")
    assert caught.value.code == "E_PI"
    transcode(source, out, to="jpegxl", lossy=True)
    (found,) = oracle.decoded(out.read_bytes())
    assert photometric(out) == "RGB"
    assert apart(rgb, found) <= 12


@pytest.mark.parametrize("fmt", [RGB, YBR], ids=str)
def test_recompressed_jpeg_holds_what_the_jpeg_did(fmt: Format, tmp_path: Path) -> None:
    """YBR_FULL_422 as it was (PS3.5 8.2.15), and RGB once decoded."""
    source, coded, packed, out = (tmp_path / f"{what}.dcm" for what in ("source", "coded", "packed", "out"))
    rgb = shades()
    source.write_bytes(images.image(fmt, [rgb if fmt is RGB else to_ybr(rgb)]).encode())
    transcode(source, coded, to="jpeg-baseline", lossy=True, quality=95)
    transcode(coded, packed, to="jpegxl-jpeg")
    assert photometric(packed) == "YBR_FULL_422"
    for to in ("explicit", "jpegls"):
        transcode(packed, out, to=to)
        assert photometric(out) == "RGB"
        assert apart(rgb, oracle.decoded(out.read_bytes())[0]) <= 12


def test_xyb_becomes_rgb(tmp_path: Path) -> None:
    """The colours of JPEG XL by itself exist in codestreams only (PS3.3 C.7.6.3.1.2)."""
    source, coded, out = (tmp_path / f"{what}.dcm" for what in ("source", "coded", "out"))
    rgb = shades()
    source.write_bytes(images.image(RGB, [rgb]).encode())
    transcode(source, coded, to="jpegxl", lossy=True)
    data = coded.read_bytes()
    old = dicom.walk(data).elements[PHOTOMETRIC].raw
    coded.write_bytes(data.replace(old, dicom.element(PHOTOMETRIC, "CS", "XYB")))
    transcode(coded, out, to="explicit")
    assert photometric(out) == "RGB"
    assert apart(rgb, oracle.native(out.read_bytes())[0]) <= 12


# --- native YBR_FULL_422 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize(
    "syntax", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG_ENDIAN], ids=["explicit", "implicit", "big"]
)
@pytest.mark.parametrize("to", ["explicit", "implicit", "big-endian", "deflated", "deflated-frames", "encapsulated"])
def test_native_cells_that_share_chroma_go_on_doing_so(to: str, syntax: str, frames: int, tmp_path: Path) -> None:
    """Y1 Y2 Cb Cr (PS3.3 C.7.6.3.1.2), wherever cells are what is written."""
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    full = [images.half_chroma(to_ybr(shades(5, 6, turn))) for turn in range(frames)]
    source.write_bytes(images.image(SHARED, full, syntax=syntax).encode())
    transcode(source, out, to=to, force=True)
    assert photometric(out) == "YBR_FULL_422"
    assert not oracle.different(full, oracle.decoded(out.read_bytes()))


@pytest.mark.parametrize("to", ["explicit", "implicit", "rle", "j2k", "jpegls", "deflated-frames"])
def test_shared_chroma_of_odd_columns_becomes_full(to: str, tmp_path: Path) -> None:
    """Two pixels that share chroma cannot be in different rows: Columns is to be even (PS3.3 C.7.6.3.1.2)."""
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    rows, columns = 4, 7
    pairs = np.random.default_rng(7).integers(0, 256, (rows * columns // 2, 4), "u1")
    full = np.stack([pairs[:, :2], pairs[:, 2:3].repeat(2, 1), pairs[:, 3:4].repeat(2, 1)], axis=-1)
    full = full.reshape(rows, columns, 3)
    source.write_bytes(replace(images.image(YBR, [full], photometric="YBR_FULL_422"), pixels=pairs.tobytes()).encode())
    outcome = transcode(source, out, to=to, force=True)
    assert photometric(out) == "YBR_FULL"
    assert not oracle.different([full], oracle.decoded(out.read_bytes(), outcome.encoder))


@pytest.mark.parametrize("to", ["explicit", "rle"])
def test_shared_chroma_of_an_odd_number_of_pixels_makes_no_sense(to: str, tmp_path: Path) -> None:
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    image = images.image(YBR, [to_ybr(shades(3, 3))], photometric="YBR_FULL_422")
    source.write_bytes(replace(image, pixels=bytes(range(18))).encode())
    with pytest.raises(InputError):
        transcode(source, out, to=to, force=True)
    assert not out.exists()


LOSING = {"jpeg-baseline": 12, "jpegls-near": 2, "JPEG2000": 12, "1.2.840.10008.1.2.4.203": 12}


@pytest.mark.parametrize("to", LOSING)
def test_shared_chroma_loses_no_colour(to: str, tmp_path: Path) -> None:
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    rgb = shades()
    full = images.half_chroma(to_ybr(rgb))
    source.write_bytes(images.image(SHARED, [full]).encode())
    outcome = transcode(source, out, to=to, lossy=True)
    if to == "jpeg-baseline":
        (found,) = oracle.native(oracle.dcmtk(out, tmp_path))
        assert (photometric(out), apart(rgb, found) <= LOSING[to]) == ("YBR_FULL_422", True)
        return
    (found,) = oracle.decoded(out.read_bytes(), outcome.encoder)
    assert (photometric(out), apart(full, found) <= LOSING[to]) == ("YBR_FULL", True)


# --- MONOCHROME1 and PALETTE COLOR -----------------------------------------------------------------------------

EVERY = (
    "explicit", "implicit", "big-endian", "deflated", "rle", "jpeg", "jpeg-lossless-p14", "jpegls", "jpegls-near",
    "j2k", "JPEG2000", "htj2k", "htj2k-rpcl", "1.2.840.10008.1.2.4.203", "jpegxl", "deflated-frames", "encapsulated",
)  # fmt: skip


@pytest.mark.parametrize("to", EVERY)
def test_monochrome1_is_never_inverted(to: str, tmp_path: Path) -> None:
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    fmt = Format("MONOCHROME1", 16, 12)
    frames = images.make_frames(fmt, 9, 11, 2)
    source.write_bytes(images.image(fmt, frames).encode())
    outcome = transcode(source, out, to=to, force=True)
    assert photometric(out) == "MONOCHROME1"
    assert not oracle.different(frames, oracle.decoded(out.read_bytes(), outcome.encoder))


@pytest.mark.parametrize("to", ["jpeg-extended", *LOSING])
def test_monochrome1_is_not_inverted_with_loss_either(to: str, tmp_path: Path) -> None:
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    fmt = Format("MONOCHROME1", 8, 8)
    frame = shades()[..., 0]
    source.write_bytes(images.image(fmt, [frame]).encode())
    outcome = transcode(source, out, to=to, lossy=True)
    found = (
        oracle.native(oracle.dcmtk(out, tmp_path)) if "-" in to else oracle.decoded(out.read_bytes(), outcome.encoder)
    )
    assert photometric(out) == "MONOCHROME1"
    assert apart(frame, found[0]) <= 25


def test_jpeg_of_monochrome1_is_not_recompressed(tmp_path: Path) -> None:
    """JPEG XL of JPEG is MONOCHROME2 or colour only (PS3.5 8.2.15)."""
    source, coded, out = tmp_path / "source.dcm", tmp_path / "coded.dcm", tmp_path / "out.dcm"
    fmt = Format("MONOCHROME1", 8, 8)
    source.write_bytes(images.image(fmt, [shades()[..., 0]]).encode())
    transcode(source, coded, to="jpeg-baseline", lossy=True)
    with pytest.raises(RefusedError) as caught:
        transcode(coded, out, to="jpegxl-jpeg")
    assert caught.value.code == "E_PI"


PALETTE = {8: Format("PALETTE COLOR", 8, 8), 16: Format("PALETTE COLOR", 16, 16)}
PROFILE = {0x00282000: dicom.element(0x00282000, "OB", bytes(range(256)) * 3)}


def tables(entries: int, syntax: str = dicom.EXPLICIT) -> dict[int, bytes]:
    """Return a palette with all that may belong to it: its UID, segmented tables, a profile."""
    s = syntax if syntax in (dicom.IMPLICIT, dicom.BIG_ENDIAN) else dicom.EXPLICIT
    more = {0x00281199: dicom.element(0x00281199, "UI", "1.2.840.10008.1.5.1", s)}
    for number in range(3):
        tag = 0x00281221 + number
        more[tag] = dicom.element(tag, "OW", struct.pack("<6H", 0, 1, number, 1, 255, 65535), s)
    profile = {0x00282000: dicom.element(0x00282000, "OB", bytes(range(256)) * 3, s)}
    return images.palette(syntax, entries) | more | profile


OF_PALETTE = (
    *range(0x00281101, 0x00281104),
    0x00281199,
    *range(0x00281201, 0x00281204),
    *range(0x00281221, 0x00281224),
)


@pytest.mark.parametrize(
    "syntax", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG_ENDIAN], ids=["explicit", "implicit", "big"]
)
@pytest.mark.parametrize("bits", PALETTE)
@pytest.mark.parametrize("to", [name for name in EVERY if name not in (
    "jpegls-near", "JPEG2000", "1.2.840.10008.1.2.4.203", "jpegxl"
)])  # fmt: skip
def test_a_palette_stays_what_it_is(to: str, bits: int, syntax: str, tmp_path: Path) -> None:
    """Indices, tables, UID and profile: every value, in whatever encoding."""
    fmt = PALETTE[bits]
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    frames = images.make_frames(fmt, 9, 11)
    source.write_bytes(images.image(fmt, frames, before=tables(1 << bits, syntax), syntax=syntax).encode())
    outcome = transcode(source, out, to=to, force=True)
    before, after = (dicom.walk(path.read_bytes()).elements for path in (source, out))
    assert photometric(out) == "PALETTE COLOR"
    for tag in (*OF_PALETTE, 0x00282000):
        # Of Implicit VR, the values are little endian as they are.
        assert after[tag].value == before[tag].value, f"{tag:08X}"
        assert to == "implicit" or after[tag].vr in ("US", "UI", "OW", "OB")
    assert not oracle.different(frames, oracle.decoded(out.read_bytes(), outcome.encoder))


@pytest.mark.parametrize(
    "to", ["jpeg", "jpeg-baseline", "jpegls", "jpegls-near", "j2k", "JPEG2000", "htj2k", "1.2.840.10008.1.2.4.203",
           "jpegxl"]
)  # fmt: skip
@pytest.mark.parametrize("bits", PALETTE)
def test_a_palette_is_never_lossy(bits: int, to: str, tmp_path: Path) -> None:
    """An index that is nearly right is another colour; no lossy row of PS3.5 8.2 has PALETTE COLOR."""
    fmt = PALETTE[bits]
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    source.write_bytes(images.image(fmt, images.make_frames(fmt, 9, 11), before=images.palette()).encode())
    with pytest.raises(RefusedError) as caught:
        transcode(source, out, to=to, lossy=True)
    assert caught.value.code == "E_LOSSY_FORBIDDEN"
    assert "PALETTE COLOR" in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize("to", ["rle", "j2k", "implicit", "jpeg-baseline", "JPEG2000", "jpegls-near"])
def test_a_profile_stays_also_with_loss(to: str, tmp_path: Path) -> None:
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    source.write_bytes(images.image(RGB, [shades()], before=PROFILE).encode())
    transcode(source, out, to=to, lossy=to in LOSING)
    assert dicom.walk(out.read_bytes()).elements[0x00282000].value == bytes(range(256)) * 3


# --- Planar Configuration --------------------------------------------------------------------------------------

COLOURS = (RGB, Format("RGB", 16, 12), YBR)


@pytest.mark.parametrize("fmt", COLOURS, ids=str)
@pytest.mark.parametrize("to", ["implicit", "big-endian", "deflated"])
def test_native_cells_by_plane_stay_by_plane(to: str, fmt: Format, tmp_path: Path) -> None:
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    frames = images.make_frames(fmt, 5, 7, 2)
    source.write_bytes(images.image(fmt, frames, planar=1).encode())
    transcode(source, out, to=to)
    assert dicom.walk(out.read_bytes()).elements[PLANAR].number == 1
    assert not oracle.different(frames, oracle.native(out.read_bytes()))


@pytest.mark.parametrize("fmt", COLOURS, ids=str)
@pytest.mark.parametrize("to", [name for name in EVERY[4:] if name != "jpegxl"])
def test_cells_by_plane_are_coded_by_pixel(to: str, fmt: Format, tmp_path: Path) -> None:
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    frames = images.make_frames(fmt, 5, 7, 2)
    source.write_bytes(images.image(fmt, frames, planar=1).encode())
    outcome = transcode(source, out, to=to)
    assert dicom.walk(out.read_bytes()).elements[PLANAR].number == 0
    assert not oracle.different(frames, oracle.decoded(out.read_bytes(), outcome.encoder))


@pytest.mark.parametrize("planar", [0, 1, None], ids=["by pixel", "by plane", "absent"])
@pytest.mark.parametrize("syntax", [dicom.RLE, dicom.JPEG_SV1, dicom.JPEGLS, dicom.J2K_LOSSLESS, dicom.JPEG_BASELINE])
@pytest.mark.parametrize("to", ["explicit", "deflated-frames"])
def test_codestreams_decode_by_pixel_whatever_their_planar_configuration(
    to: str, syntax: str, planar: int | None, tmp_path: Path
) -> None:
    """It says nothing of a codestream, which has its own order (PS3.5 8.2, G.1)."""
    source, coded, out = tmp_path / "source.dcm", tmp_path / "coded.dcm", tmp_path / "out.dcm"
    rgb = shades()
    source.write_bytes(images.image(RGB, [rgb]).encode())
    transcode(source, coded, to=syntax, lossy=syntax == dicom.JPEG_BASELINE)
    data = coded.read_bytes()
    old = dicom.walk(data).elements[PLANAR].raw
    coded.write_bytes(data.replace(old, b"" if planar is None else dicom.element(PLANAR, "US", [planar])))
    transcode(coded, out, to=to)
    assert dicom.walk(out.read_bytes()).elements[PLANAR].number == 0
    assert apart(rgb, oracle.decoded(out.read_bytes())[0]) <= (12 if syntax == dicom.JPEG_BASELINE else 0)


@pytest.mark.parametrize("to", LOSING)
def test_cells_by_plane_lose_no_colour(to: str, tmp_path: Path) -> None:
    source, out, back = (tmp_path / f"{what}.dcm" for what in ("source", "out", "back"))
    rgb = shades()
    source.write_bytes(images.image(RGB, [rgb], planar=1).encode())
    transcode(source, out, to=to, lossy=True)
    transcode(out, back, to="explicit")
    assert dicom.walk(out.read_bytes()).elements[PLANAR].number == 0
    assert apart(rgb, oracle.native(back.read_bytes())[0]) <= LOSING[to]
