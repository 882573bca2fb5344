"""Loss: how much, as decoders see it that are not the encoder's, and what the data set says of it.

Bounds are those of the setting: of error where the code has one, of signal to noise where it is asked for, and else
what a sound encoder gives for a picture of smooth shades, edges and a little noise.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dicom
import images
import numpy as np
import oracle
import pydicom
import pytest
from backends import usable
from conftest import need_tool
from images import Format, Words
from pydicom.data import get_testdata_file
from test_interop import errors

from dcmtx import transcode
from dcmtx.codec.table import ENCODERS
from dcmtx.errors import RefusedError

ULTRASOUND = "1.2.840.10008.5.1.4.1.1.3.1"
JPEG_XL = "1.2.840.10008.1.2.4.112"
SMALLEST, LARGEST = 0x00280106, 0x00280107
G8, G12, G16 = (Format("MONOCHROME2", 8 if bits == 8 else 16, bits) for bits in (8, 12, 16))
SIGNED = Format("MONOCHROME2", 16, 12, signed=True)
RGB, RGB12, YBR = Format("RGB", 8, 8), Format("RGB", 16, 12), Format("YBR_FULL", 8, 8)


def scene(fmt: Format, rows: int = 96, columns: int = 112, turn: int = 0, noise: float = 0.008) -> Words:
    """Return a picture of smooth shades, an edge and a little noise, its three colours different."""
    y, x = np.mgrid[0:rows, 0:columns] / max(rows, columns)
    random = np.random.default_rng([rows, columns, turn])
    planes = []
    for sample in range(fmt.samples):
        shade = 0.5 + 0.28 * np.sin(5 * x + 3 * y + sample + turn) + 0.13 * np.cos(17 * (x - 0.4) * (y + sample / 4))
        disc = ((x - 0.45) ** 2 + (y - 0.4) ** 2 < 0.05) * (0.25 if sample != 1 else -0.2)
        planes.append(shade + disc + random.normal(0, noise, (rows, columns)))
    # So far from the ends of the range that no NEAR asked for below turns a sign.
    unit = np.clip(np.stack(planes, -1) if fmt.samples == 3 else planes[0], 0.02, 0.98)
    return np.rint(fmt.low + unit * (fmt.high - fmt.low)).astype(fmt.dtype)


def to_rgb(frame: Words) -> Words:
    """Return YBR_FULL as RGB by the equations of PS3.3 C.7.6.3.1.2."""
    luma, blue, red = (frame[..., number].astype("f8") - (128 if number else 0) for number in range(3))
    planes = [luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue]
    return np.rint(np.clip(np.stack(planes, axis=-1), 0, 255)).astype("u1")


# --- independent decoders --------------------------------------------------------------------------------------


def by_dcmtk(path: Path, scratch: Path) -> list[Words]:
    """DCMTK, for JPEG: IJG's library, where the encoder is libjpeg-turbo; RGB where it was YBR. It knows no signs."""
    data = oracle.dcmtk(path, scratch)
    said = oracle.attributes(dicom.walk(data))
    return [oracle.with_sign(frame, dicom.JPEGLS_NEAR, said) for frame in oracle.native(data)]


def by_gdcm(path: Path, scratch: Path) -> list[Words]:
    """GDCM leaves YBR as it is."""
    data = oracle.gdcm(path, scratch)
    frames = oracle.native(data)
    return [to_rgb(frame) for frame in frames] if b"YBR_FULL" in data[:4000] else frames


def by_library(path: Path, scratch: Path) -> list[Words]:
    """The library of Thomas Richter for JPEG-LS, where the encoder is CharLS; OpenJPEG for HTJ2K."""
    return oracle.decoded(path.read_bytes())


def by_ffmpeg(path: Path, scratch: Path) -> list[Words]:
    """FFmpeg's own decoder of JPEG 2000."""
    data = path.read_bytes()
    return oracle.ffmpeg(oracle.codestreams(data), oracle.attributes(dicom.walk(data)).shape)


def by_opj(path: Path, scratch: Path) -> list[Words]:
    """OpenJPEG's own program: for HTJ2K, where the encoder is OpenJPH."""
    data = path.read_bytes()
    said = oracle.attributes(dicom.walk(data))
    return [oracle.opj(stream, said, scratch) for stream in oracle.codestreams(data)]


def by_djxl(path: Path, scratch: Path) -> list[Words]:
    """The program djxl, of another release than the encoder."""
    data = path.read_bytes()
    said = oracle.attributes(dicom.walk(data))
    return [oracle.djxl(stream, said, scratch) for stream in oracle.codestreams(data)]


Decoder = Callable[[Path, Path], list[Words]]
DECODERS: dict[str, tuple[Decoder, ...]] = {
    "jpeg-baseline": (by_dcmtk, by_gdcm),
    "jpeg-extended": (by_dcmtk, by_gdcm),
    "jpegls-near": (by_library, by_dcmtk),
    "JPEG2000": (by_ffmpeg,),
    "HTJ2K": (by_opj,),
    JPEG_XL: (by_djxl,),
}


# --- how much is lost ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loss:
    """What a setting may do to the scene: at least `psnr` decibels are left, no error is above `worst` of the range."""

    to: str
    fmt: Format
    psnr: float
    worst: float
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ", ".join(f"{name} {value}" for name, value in self.options.items()) or "nothing asked"
        return f"{self.to}: {self.fmt}, {options}"


def near_bound(fmt: Format, near: int) -> tuple[float, float]:
    """Return the least PSNR and the largest error that NEAR allows."""
    span = fmt.high - fmt.low
    return 20 * math.log10(span / near), near / span


LOSSES = [
    *[
        Loss("jpeg-baseline", G8, psnr, worst, {"quality": quality})
        for quality, psnr, worst in ((1, 18, 0.5), (30, 34, 0.3), (60, 36, 0.3), (90, 40, 0.12), (100, 56, 0.02))
    ],
    # Shared chroma blurs the edge between two hues, by design: more error than any quality takes away.
    *[
        Loss("jpeg-baseline", RGB, psnr, worst, {"quality": quality, "subsampling": sharing})
        for quality, sharing, psnr, worst in (
            (60, "444", 36, 0.3), (60, "422", 32, 0.3), (60, "420", 31, 0.3), (90, "444", 40, 0.12),
            (90, "422", 35, 0.25), (90, "420", 33.5, 0.25), (100, "444", 56, 0.02), (100, "422", 37, 0.25),
            (100, "420", 35, 0.25),
        )
    ],
    *[
        Loss("jpeg-baseline", YBR, psnr, 0.35, {"quality": 90, "subsampling": sharing})
        for sharing, psnr in (("444", 36), ("422", 31), ("420", 30))
    ],
    Loss("jpeg-extended", G8, 36, 0.3, {"quality": 60}),
    Loss("jpeg-extended", G8, 40, 0.12),
    *[
        Loss("jpeg-extended", G12, psnr, worst, {"quality": quality})
        for quality, psnr, worst in ((30, 42, 0.05), (60, 47, 0.03), (95, 65, 0.004), (100, 75, 0.001))
    ],
    *[
        Loss("jpegls-near", fmt, *near_bound(fmt, near), {"near": near})
        for fmt in (G8, G12, G16, SIGNED, RGB, RGB12, YBR)
        for near in (1, 3, 20)
    ],
    *[Loss("jpegls-near", fmt, *near_bound(fmt, 2)) for fmt in (G8, SIGNED, RGB)],
    *[
        Loss(to, fmt, psnr, worst, options)
        for to in ("JPEG2000", "HTJ2K")
        for formats, options, psnr, worst in (
            ((G8, G12, G16, SIGNED, RGB, RGB12, YBR), {"ratio": 20}, 36.5, 0.16),
            ((G8, G12, G16, SIGNED, RGB, RGB12, YBR), {"psnr": 45}, 44, 0.07),
            ((G8, SIGNED, RGB, RGB12), {}, 40.5, 0.06), ((G8, RGB), {"ratio": 5}, 43, 0.06),
            ((G8, RGB), {"ratio": 80}, 23, 0.45), ((G12, RGB), {"psnr": 35}, 34, 0.25),
        )
        for fmt in formats
    ],
    *[
        Loss(to, fmt, 59, 0.01, {"psnr": 60}) for to in ("JPEG2000", "HTJ2K") for fmt in (G12, G16, SIGNED, RGB12)
    ],
    # JPEG XL codes what the eye sees: chroma is far from its scale.
    *[
        Loss(JPEG_XL, fmt, *bounds, {"quality": quality})
        for fmt, all_bounds in (
            (G8, ((36, 0.2), (41, 0.08))), (G12, ((35, 0.25), (40.5, 0.08))), (RGB, ((31, 0.4), (36, 0.3))),
            (RGB12, ((31, 0.4), (36, 0.3))),
        )
        for quality, bounds in zip((60, 90), all_bounds, strict=True)
    ],
]  # fmt: skip


def judge(given: list[Words], found: list[Words], loss: Loss, span: int) -> str:
    """Return what is wrong with a decoder's frames, or nothing."""
    if [frame.shape for frame in given] != [frame.shape for frame in found]:
        return f"shapes {[frame.shape for frame in found]}"
    errors = np.stack([one.astype("f8") - other for one, other in zip(found, given, strict=True)])
    psnr = 20 * math.log10(span) - 10 * math.log10(max(float(np.mean(errors**2)), 1e-12))
    drift = abs(errors.mean(axis=(0, 1, 2))).max() / span
    wrong = []
    if psnr < loss.psnr:
        wrong.append(f"PSNR {psnr:.1f} dB, less than {loss.psnr:.1f}")
    if abs(errors).max() > loss.worst * span + 1e-9:
        wrong.append(f"an error of {abs(errors).max():.0f}, more than {loss.worst * span:.1f}")
    # A swapped or tinted channel is off as a whole.
    if drift > max(0.004, loss.worst / 25):
        wrong.append(f"a colour is off by {drift:.2%} of its range on average")
    return ", ".join(wrong)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_no_more_is_lost_than_the_setting_allows(loss: Loss, tmp_path: Path) -> None:
    """As other decoders see it; and what the report says of it is what they see."""
    source, coded = tmp_path / "source.dcm", tmp_path / "coded.dcm"
    frames = [scene(loss.fmt, turn=turn) for turn in range(2)]
    # GDCM writes no frames in colour that are of a class of single frames.
    source.write_bytes(images.image(loss.fmt, frames, sop_class=ULTRASOUND).encode())
    outcome = transcode(source, coded, to=loss.to, lossy=True, **loss.options)
    said = oracle.attributes(dicom.walk(coded.read_bytes()))
    became_rgb = loss.fmt.photometric == "YBR_FULL" and said.photometric != "YBR_FULL"
    given = [to_rgb(frame) for frame in frames] if became_rgb else frames
    span = loss.fmt.high - loss.fmt.low
    wrong, done = [], 0
    for decode in DECODERS[loss.to]:
        tool = decode.__name__.removeprefix("by_")
        if oracle.limit(tool, outcome.syntax_out, said):
            continue
        done += 1
        if found := judge(given, decode(coded, tmp_path), loss, span):
            wrong.append(f"{tool}: {found}")
    assert not wrong
    assert done
    check_report(outcome, loss)


def check_report(outcome: Any, loss: Loss) -> None:
    """Assert that notes tell the ratio, the PSNR, and of a ratio that is not the one asked for."""
    assert outcome.psnr >= loss.psnr - 0.5
    (told,) = [note.text for note in outcome.notes if note.text.startswith("lossy: ratio")]
    assert f"ratio {outcome.ratio:.4g}" in told
    assert f"PSNR {outcome.psnr:.1f} dB" in told
    asked = loss.options.get("ratio")
    missed = any("asked for" in note.text for note in outcome.notes)
    assert missed == (asked is not None and abs(outcome.ratio / asked - 1) > 0.1)


BACKENDS = [
    (to, row.backend, fmt)
    for to, uid in (("jpegls-near", dicom.JPEGLS_NEAR), ("JPEG2000", dicom.J2K))
    for row in usable(ENCODERS, uid)
    if row.lossy
    for fmt in (G8, G12, RGB)
    if fmt.stored in range(row.limits.stored[0], row.limits.stored[1] + 1)
    if not row.limits.only_stored or fmt.stored in row.limits.only_stored
]


@pytest.mark.parametrize(("to", "backend", "fmt"), BACKENDS, ids=str)
def test_either_of_two_encoders_loses_as_little(to: str, backend: str, fmt: Format, tmp_path: Path) -> None:
    source, coded = tmp_path / "source.dcm", tmp_path / "coded.dcm"
    frame = scene(fmt, 67, 71)
    source.write_bytes(images.image(fmt, [frame]).encode())
    options = {"near": 2} if to == "jpegls-near" else {"ratio": 12}
    outcome = transcode(source, coded, to=to, lossy=True, encoder=backend, **options)
    assert outcome.encoder == backend
    bounds = near_bound(fmt, 2) if to == "jpegls-near" else (35.0, 0.2)
    assert not judge([frame], DECODERS[to][0](coded, tmp_path), Loss(to, fmt, *bounds), fmt.high - fmt.low)
    assert to == "jpegls-near" or outcome.ratio == pytest.approx(12, rel=0.1)


HARD = {
    "a tiny image": (G8, (5, 7), scene),
    "a thin image": (G12, (2, 300), scene),
    "nothing but noise": (G8, (64, 64), lambda fmt, *size: images.noise(fmt, size, np.random.default_rng(3))),
    "one value": (G12, (64, 64), lambda fmt, *size: np.full(size, 700, fmt.dtype)),
    "an image like others": (RGB, (200, 230), scene),
    "an image of few bits": (Format("MONOCHROME2", 8, 4), (64, 64), scene),
}


@pytest.mark.parametrize("ratio", [3, 12, 60])
@pytest.mark.parametrize("to", ["JPEG2000", "HTJ2K"])
@pytest.mark.parametrize("kind", HARD)
def test_a_ratio_is_met_or_a_note_says_that_it_is_not(kind: str, to: str, ratio: int, tmp_path: Path) -> None:
    """Within a tenth, counted from Bits Stored over all bytes of the codestreams."""
    fmt, size, make = HARD[kind]
    source, coded = tmp_path / "source.dcm", tmp_path / "coded.dcm"
    source.write_bytes(images.image(fmt, [make(fmt, *size)] * 2).encode())
    outcome = transcode(source, coded, to=to, lossy=True, ratio=ratio)
    reached = measured_ratio(coded, fmt)
    # Each frame has one pad byte at most.
    assert reached <= outcome.ratio <= reached * 1.02
    missed = [
        note.text
        for note in outcome.notes
        if f"not the {ratio} asked for" in note.text or "without loss, so" in note.text
    ]
    assert bool(missed) == (abs(outcome.ratio / ratio - 1) > 0.1)
    if kind == "an image like others" and ratio > 3:
        assert not missed


FLAT = "one value, the greatest"
SCENES: dict[str, Callable[[], Words]] = {
    "an image like others": lambda: scene(G12),
    "nothing but noise": lambda: images.noise(G12, (64, 64), np.random.default_rng(3)),
    FLAT: lambda: np.full((16, 16), G12.high, G12.dtype),
}


@pytest.mark.parametrize("psnr", [30, 50])
@pytest.mark.parametrize(
    ("to", "kind"),
    [
        pytest.param(to, kind)
        for to in ("JPEG2000", "HTJ2K")
        for kind in SCENES
    ],
)  # fmt: skip
def test_a_psnr_is_met_or_a_note_says_that_it_is_not(to: str, kind: str, psnr: int, tmp_path: Path) -> None:
    """Within two decibels, or better, as another decoder has it."""
    source, coded = tmp_path / "source.dcm", tmp_path / "coded.dcm"
    frame = SCENES[kind]()
    source.write_bytes(images.image(G12, [frame]).encode())
    outcome = transcode(source, coded, to=to, lossy=True, psnr=psnr)
    (found,) = DECODERS[to][0](coded, tmp_path)
    square = float(np.mean((found.astype("f8") - frame) ** 2))
    reached = 20 * math.log10(G12.high) - 10 * math.log10(max(square, 1e-12))
    assert reached > psnr - 2 or any(f"not the {psnr} asked for" in note.text for note in outcome.notes)


def measured_ratio(path: Path, fmt: Format) -> float:
    """Return the bytes of Bits Stored of all samples by those of all fragments, whose pad byte belongs to neither."""
    walked = dicom.walk(path.read_bytes())
    said = oracle.attributes(walked)
    coded = sum(len(fragment) for fragment in walked.fragments)
    return int(np.prod(said.shape)) * said.frames * fmt.stored / 8 / coded


@pytest.mark.parametrize("told", [False, True], ids=["extremes untold", "extremes told"])
def test_more_than_16_bits_lose_too(told: bool, tmp_path: Path) -> None:
    """Smallest and Largest Image Pixel Value are of 16 bits: what does not fit is left out."""
    source, coded = tmp_path / "source.dcm", tmp_path / "coded.dcm"
    fmt = Format("MONOCHROME2", 32, 20)
    frames = [scene(fmt)]
    before = {tag: dicom.element(tag, "US", [tag & 1]) for tag in (SMALLEST, LARGEST) if told}
    source.write_bytes(images.image(fmt, frames, before=before).encode())
    transcode(source, coded, to="JPEG2000", lossy=True, ratio=6)
    assert not judge(frames, by_library(coded, tmp_path), Loss("JPEG2000", fmt, 40, 0.1), fmt.high)
    assert not dicom.walk(coded.read_bytes()).elements.keys() & {SMALLEST, LARGEST}


@pytest.mark.parametrize("stored", [9, 10, 11, 12])
def test_extended_jpeg_has_12_bits_and_the_same_values(stored: int, tmp_path: Path) -> None:
    """SOF1 is of 8 or 12 bits only (PS3.5 8.2.1): fewer are held in 12, not stretched to them."""
    fmt = Format("MONOCHROME2", 16, stored)
    source, coded = make(tmp_path / "source.dcm", fmt), tmp_path / "coded.dcm"
    transcode(source, coded, to="jpeg", lossy=True, quality=98)
    said = oracle.attributes(dicom.walk(coded.read_bytes()))
    assert (dicom.walk(coded.read_bytes()).syntax, said.stored, said.high_bit) == (dicom.JPEG_EXTENDED, 12, 11)
    assert int(abs(by_dcmtk(coded, tmp_path)[0].astype("i4") - scene(fmt)).max()) <= 5


@pytest.mark.parametrize("stored", [3, 6, 8])
def test_bytes_in_words_become_bytes_where_that_is_allowed(stored: int, tmp_path: Path) -> None:
    """JPEG of 8 bits is in 8 bits (PS3.5 8.2.1); the words must be given up for it."""
    fmt = Format("MONOCHROME2", 16, stored)
    source, coded = make(tmp_path / "source.dcm", fmt), tmp_path / "coded.dcm"
    with pytest.raises(RefusedError) as caught:
        transcode(source, coded, to="jpeg", lossy=True, quality=98)
    assert caught.value.code == "E_BITS"
    transcode(source, coded, to="jpeg", lossy=True, quality=98, unused_bits="clear")
    said = oracle.attributes(dicom.walk(coded.read_bytes()))
    assert (said.allocated, said.stored, said.high_bit) == (8, 8, 7)
    assert int(abs(by_dcmtk(coded, tmp_path)[0].astype("i4") - scene(fmt)).max()) <= 5


# --- real images -----------------------------------------------------------------------------------------------

# Target, options, and the least PSNR of what is decoded by the other decoder.
REAL_LOSSES: list[tuple[str, str, dict[str, Any], float]] = [
    ("CT_small.dcm", "JPEG2000", {"ratio": 8}, 50),
    ("CT_small.dcm", "HTJ2K", {"psnr": 70}, 69),
    ("MR_small.dcm", "JPEG2000", {"psnr": 60}, 59),
    ("MR_small_RLE.dcm", "jpegls-near", {"near": 4}, 70),
    ("MR_small_implicit.dcm", "HTJ2K", {"ratio": 6}, 50),
    ("examples_rgb_color.dcm", "jpeg-baseline", {"quality": 90, "subsampling": "444"}, 36),
    ("examples_rgb_color.dcm", "jpeg-baseline", {"quality": 90}, 33),
    ("examples_rgb_color.dcm", "jpegls-near", {"near": 2}, 42),
    ("examples_rgb_color.dcm", "JPEG2000", {"ratio": 10}, 33),
    ("examples_rgb_color.dcm", "HTJ2K", {"ratio": 10}, 33),
    ("examples_rgb_color.dcm", JPEG_XL, {"quality": 90}, 32),
    ("SC_rgb_small_odd.dcm", "jpeg-baseline", {"quality": 95, "subsampling": "444"}, 30),
    ("SC_rgb_rle.dcm", "jpeg-baseline", {"quality": 95}, 30),
    ("JPEG2000.dcm", "jpegls-near", {"near": 1}, 80),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "to", "options", "least"), REAL_LOSSES, ids=[f"{one[0]} as {one[1]} {one[2]}" for one in REAL_LOSSES]
)
def test_real_images_lose_little(name: str, to: str, options: dict[str, Any], least: float, tmp_path: Path) -> None:
    source = Path(get_testdata_file(name, download=False))
    plain, coded = tmp_path / "plain.dcm", tmp_path / "coded.dcm"
    transcode(source, plain, to="explicit", force=True)
    given = oracle.native(plain.read_bytes())
    transcode(source, coded, to=to, lossy=True, **options)
    said = oracle.attributes(dicom.walk(coded.read_bytes()))
    loss = Loss(to, Format(said.photometric, said.allocated, said.stored, said.signed), least, 0.9)
    found = DECODERS[to][0](coded, tmp_path)
    assert not judge(given, found, loss, (1 << said.stored) - 1)


# --- what the data set says of it ------------------------------------------------------------------------------

IMAGE_TYPE, CREATION_DATE, CREATION_TIME, SOP_INSTANCE = 0x00080008, 0x00080012, 0x00080013, 0x00080018
DESCRIPTION, SOURCES, FRAME_TYPE, DERIVATIONS, EVIDENCE, CODES = (
    0x00082111, 0x00082112, 0x00089007, 0x00089124, 0x00089154, 0x00089215,
)  # fmt: skip
PURPOSE, SHARED, PER_FRAME = 0x0040A170, 0x52009229, 0x52009230
LOSSY, RATIO, METHOD = 0x00282110, 0x00282112, 0x00282114
TOLD = {LOSSY, RATIO, METHOD, DESCRIPTION, SOURCES, CODES, CREATION_DATE, CREATION_TIME, DERIVATIONS, EVIDENCE}
# PS3.3 C.7.6.1.1.5.1, and what each encoder is asked for.
METHODS: dict[str, tuple[str, Format, dict[str, Any]]] = {
    "jpeg-baseline": ("ISO_10918_1", G8, {}),
    "jpeg-extended": ("ISO_10918_1", G12, {}),
    "jpegls-near": ("ISO_14495_1", G12, {"near": 3}),
    "JPEG2000": ("ISO_15444_1", G12, {"ratio": 7}),
    "HTJ2K": ("ISO_15444_15", G12, {"ratio": 7}),
    JPEG_XL: ("ISO_18181_1", G12, {}),
}
each_method = pytest.mark.parametrize("to", METHODS)


def code(value: str, meaning: str) -> bytes:
    parts = [(0x00080100, "SH", value), (0x00080102, "SH", "DCM"), (0x00080104, "LO", meaning)]
    return b"".join(dicom.element(*part) for part in parts)


def text(tag: int, vr: str, value: str) -> dict[int, bytes]:
    return {tag: dicom.element(tag, vr, value)}


def written(path: Path) -> dict[int, dicom.Found]:
    return dicom.walk(path.read_bytes()).elements


def texts(found: dicom.Found) -> list[str]:
    return [value.strip() for value in found.text.split("\\")]


def make(path: Path, fmt: Format = G12, *, frames: list[Words] | None = None, **more: Any) -> Path:
    path.write_bytes(images.image(fmt, frames or [scene(fmt)], **more).encode())
    return path


def lose(source: Path, to: str, **more: Any) -> Path:
    """Convert with the loss that METHODS has for the target, and return the file."""
    out = source.with_name(f"{source.stem}-lossy.dcm")
    transcode(source, out, to=to, lossy=True, **(METHODS[to][2] | more))
    return out


def stated_ratio(path: Path, fmt: Format) -> float:
    """Return the last value of Lossy Image Compression Ratio, after comparing it with the fragments themselves."""
    ratio = float(texts(written(path)[RATIO])[-1])
    assert measured_ratio(path, fmt) - 1e-3 <= ratio <= measured_ratio(path, fmt) * 1.01
    return ratio


@each_method
def test_an_image_that_lost_something_says_everything(to: str, tmp_path: Path) -> None:
    """Of a data set that knows of no loss yet (PS3.3 C.7.6.1.1.2, C.7.6.1.1.5, C.12.4.1)."""
    term, fmt, _ = METHODS[to]
    # Frames that compress very differently: the ratio is that of the instance.
    flat = np.full((96, 112), 9, fmt.dtype)
    source = make(tmp_path / "source.dcm", fmt, frames=[scene(fmt, noise=0.05), flat, flat])
    earliest = time.strftime("%Y%m%d%H%M%S")
    out = lose(source, to)
    latest = time.strftime("%Y%m%d%H%M%S")
    walked = dicom.walk(out.read_bytes())
    found = walked.elements
    assert found[LOSSY].text == "01"
    assert texts(found[METHOD]) == [term]
    ratio = stated_ratio(out, fmt)
    assert len(texts(found[RATIO])) == 1
    assert len(texts(found[RATIO])[0]) <= 16
    assert found[IMAGE_TYPE].text == "DERIVED\\PRIMARY"
    assert re.search(rf"lossy compression, ratio {ratio:g}\s*$", found[DESCRIPTION].text)
    assert [(tag, found[tag].vr) for tag in (LOSSY, RATIO, METHOD, DESCRIPTION)] == [
        (LOSSY, "CS"), (RATIO, "DS"), (METHOD, "CS"), (DESCRIPTION, "ST"),
    ]  # fmt: skip
    assert found[CODES].raw == dicom.sequence(CODES, [code("113040", "Lossy Compression")])
    reference = dicom.element(0x00081150, "UI", dicom.SECONDARY_CAPTURE) + dicom.element(0x00081155, "UI", "1.2.3.4")
    purpose = dicom.sequence(PURPOSE, [code("121320", "Uncompressed predecessor")])
    assert found[SOURCES].raw == dicom.sequence(SOURCES, [reference + purpose])
    assert found[SOP_INSTANCE].text == walked.meta[0x00020003].text != "1.2.3.4"
    assert pydicom.uid.UID(found[SOP_INSTANCE].text).is_valid
    assert earliest <= found[CREATION_DATE].text + found[CREATION_TIME].text[:6] <= latest
    assert set(found) - set(dicom.walk(source.read_bytes()).elements) == TOLD - {DERIVATIONS, EVIDENCE}


@each_method
def test_losses_are_appended_to_those_before(to: str, tmp_path: Path) -> None:
    term, fmt, _ = METHODS[to]
    reference = dicom.element(0x00081150, "UI", "1.2.9") + dicom.element(0x00081155, "UI", "1.2.99")
    resized = code("113078", "Resized")
    before = (
        text(LOSSY, "CS", "01") | text(RATIO, "DS", "4.5\\ 2") | text(METHOD, "CS", "ISO_10918_1\\ISO_14495_1")
        | text(DESCRIPTION, "ST", "resampled ") | text(IMAGE_TYPE, "CS", "DERIVED\\SECONDARY\\AXIAL\\")
        | {CODES: dicom.sequence(CODES, [resized], undefined=True), SOURCES: dicom.sequence(SOURCES, [reference])}
    )  # fmt: skip
    source = make(tmp_path / "source.dcm", fmt, before=before)
    out = lose(source, to)
    found = written(out)
    ratio = stated_ratio(out, fmt)
    assert texts(found[RATIO]) == ["4.5", "2", f"{ratio:g}"]
    assert texts(found[METHOD]) == ["ISO_10918_1", "ISO_14495_1", term]
    assert found[DESCRIPTION].text.startswith("resampled; ")
    assert str(ratio) in found[DESCRIPTION].text
    assert found[IMAGE_TYPE].raw == before[IMAGE_TYPE]
    assert [item[0x00080100].text for item in found[CODES].items or []] == ["113078", "113040"]
    assert [item[0x00081155].text for item in found[SOURCES].items or []] == ["1.2.99", "1.2.3.4"]
    # Two losses in a row: each is told of, and each instance has its own name.
    again = lose(out, "jpegls-near" if to == "JPEG2000" else "JPEG2000")
    twice = written(again)
    assert texts(twice[RATIO])[:3] == texts(found[RATIO])
    assert len(texts(twice[RATIO])) == len(texts(twice[METHOD])) == 4
    assert len({one[SOP_INSTANCE].text for one in (written(source), found, twice)}) == 3
    assert [item[0x00081155].text for item in twice[SOURCES].items or []][-1] == found[SOP_INSTANCE].text


TYPES = {
    "ORIGINAL\\PRIMARY\\AXIAL": "DERIVED\\PRIMARY\\AXIAL",
    "ORIGINAL\\PRIMARY\\\\M": "DERIVED\\PRIMARY\\\\M",
    "ORIGINAL": "DERIVED\\SECONDARY",
    "DERIVED\\PRIMARY": "DERIVED\\PRIMARY",
    "DERIVED": "DERIVED",
    "": "",
}


@pytest.mark.parametrize("old", TYPES, ids=lambda old: old or "no value")
def test_value_1_of_image_type_becomes_derived(old: str, tmp_path: Path) -> None:
    source = make(tmp_path / "source.dcm", before=text(IMAGE_TYPE, "CS", old))
    assert written(lose(source, "jpegls-near"))[IMAGE_TYPE].text == TYPES[old]


def test_an_image_type_that_is_not_there_is_not_made_up(tmp_path: Path) -> None:
    source = make(tmp_path / "source.dcm", before={IMAGE_TYPE: b""})
    assert IMAGE_TYPE not in written(lose(source, "jpegls-near"))


@each_method
def test_a_repeated_run_makes_the_same_instance(to: str, tmp_path: Path) -> None:
    """From any syntax that holds the same instance; another setting makes another one."""
    source = make(tmp_path / "source.dcm", METHODS[to][1])
    other, out = tmp_path / "other.dcm", tmp_path / "out.dcm"
    transcode(source, other, to="implicit")
    first, second = (written(lose(one, to))[SOP_INSTANCE].text for one in (source, other))
    assert first == second
    milder = {"jpegls-near": {"near": 1}, "JPEG2000": {"ratio": 3}, "HTJ2K": {"ratio": 3}}.get(to, {"quality": 95})
    transcode(source, out, to=to, lossy=True, **milder)
    assert written(out)[SOP_INSTANCE].text != first


def test_uid_keep_keeps_it_and_says_what_that_means(tmp_path: Path) -> None:
    source, out = make(tmp_path / "source.dcm"), tmp_path / "out.dcm"
    outcome = transcode(source, out, to="JPEG2000", lossy=True, uid="keep")
    walked = dicom.walk(out.read_bytes())
    assert walked.elements[SOP_INSTANCE].text == walked.meta[0x00020003].text == outcome.instance_out == "1.2.3.4"
    assert any("SOP Instance UID is kept" in note.text for note in outcome.notes)
    # An instance is not its own source.
    assert SOURCES not in walked.elements
    assert {LOSSY, RATIO, METHOD, DESCRIPTION, CODES} <= walked.elements.keys()


@pytest.mark.parametrize("uid", ["auto", "new"])
def test_an_instance_without_a_uid_gets_none_made_of_nothing(uid: str, tmp_path: Path) -> None:
    """A UID is derived from that of the source; without one, nothing says which source an instance is made from."""
    source, out = make(tmp_path / "source.dcm", sop_instance=""), tmp_path / "out.dcm"
    outcome = transcode(source, out, to="JPEG2000", lossy=True, uid=uid)
    found = written(out)
    assert (outcome.instance_in, outcome.instance_out) == ("", "")
    assert SOP_INSTANCE not in found or found[SOP_INSTANCE].text == ""
    assert SOURCES not in found
    assert {LOSSY, RATIO, METHOD, DESCRIPTION, CODES} <= found.keys()


@pytest.mark.parametrize("to", ["jpegls", "implicit", "rle", "j2k"])
def test_uid_new_makes_one_without_any_loss(to: str, tmp_path: Path) -> None:
    source, out = make(tmp_path / "source.dcm"), tmp_path / "out.dcm"
    outcome = transcode(source, out, to=to, uid="new")
    walked = dicom.walk(out.read_bytes())
    assert walked.elements[SOP_INSTANCE].text == walked.meta[0x00020003].text == outcome.instance_out != "1.2.3.4"
    assert not walked.elements.keys() & {LOSSY, RATIO, METHOD}
    again = transcode(source, out, to=to, uid="new")
    assert again.instance_out == outcome.instance_out
    assert transcode(source, out, to=to, uid="auto").instance_out == "1.2.3.4"


UID_DECIDED_BY: dict[str, list[dict[str, Any]]] = {
    "the encoder": [{"encoder": "imagecodecs"}, {"encoder": "pylibjpeg-openjpeg"}],
    "the decoder": [{"decoder": "imagecodecs"}, {"decoder": "pylibjpeg-rle"}],
    "what becomes of unused bits": [{"unused_bits": name} for name in ("refuse", "keep", "clear")],
    "a parameter": [{}, {"resolutions": 3}],
}  # fmt: skip


@pytest.mark.parametrize("kind", UID_DECIDED_BY)
def test_uid_new_is_another_for_all_that_decides_the_pixels(kind: str, tmp_path: Path) -> None:
    plain, source, out = (tmp_path / f"{name}.dcm" for name in ("plain", "source", "out"))
    transcode(make(plain), source, to="rle")
    found = [transcode(source, out, to="j2k", uid="new", **options).instance_out for options in UID_DECIDED_BY[kind]]
    assert len(set(found)) == len(found)
    assert found == [transcode(source, out, to="j2k", uid="new", **one).instance_out for one in UID_DECIDED_BY[kind]]


@pytest.mark.parametrize("fmt", [G12, SIGNED, G8, G16], ids=str)
@pytest.mark.parametrize("to", ["jpegls-near", "JPEG2000", "HTJ2K"])
def test_smallest_and_largest_values_are_measured_again(to: str, fmt: Format, tmp_path: Path) -> None:
    """Over all frames, as US or SS by the sign of the pixels; what they are in the series cannot be known."""
    series = (0x00280108, 0x00280109)
    vr = "SS" if fmt.signed else "US"
    before = {tag: dicom.element(tag, vr, [1]) for tag in (SMALLEST, LARGEST, *series)}
    frames = [scene(fmt), scene(fmt, turn=1), np.full((96, 112), fmt.low + 30, fmt.dtype)]
    source = make(tmp_path / "source.dcm", fmt, frames=frames, before=before)
    out = lose(source, to)
    found = written(out)
    pixels = np.stack(by_library(out, tmp_path) if to != "JPEG2000" else by_ffmpeg(out, tmp_path)).astype("i8")
    for tag, value in ((SMALLEST, pixels.min()), (LARGEST, pixels.max())):
        assert found[tag].vr == vr
        number = int.from_bytes(found[tag].value, "little", signed=fmt.signed)
        # Two decoders of an irreversible wavelet may round differently.
        assert abs(number - int(value)) <= (0 if to == "jpegls-near" else 1)
    assert not found.keys() & set(series)
    assert not written(lose(source, to, verify=False)).keys() & {SMALLEST, LARGEST}


def test_padding_stays_and_a_note_says_what_became_of_it(tmp_path: Path) -> None:
    padding = {0x00280120: dicom.element(0x00280120, "US", [4000])}
    source, out = make(tmp_path / "source.dcm", before=padding), tmp_path / "out.dcm"
    outcome = transcode(source, out, to="JPEG2000", lossy=True)
    assert written(out)[0x00280120].raw == padding[0x00280120]
    assert any("Pixel Padding Value" in note.text for note in outcome.notes)
    assert not any("Pixel Padding Value" in note.text for note in transcode(source, out, to="jpegls").notes)


@pytest.mark.parametrize("filling", ["x", "\xe9"], ids=["ASCII", "two bytes each"])
@pytest.mark.parametrize("to", ["jpegls-near", "HTJ2K"])
def test_a_long_description_is_cut_to_make_room(to: str, filling: str, tmp_path: Path) -> None:
    """An ST holds 1024 characters (PS3.5 6.2); no character is cut in half."""
    told = (filling * 1023)[: 1023 // len(filling.encode())].encode()
    before = text(0x00080005, "CS", "ISO_IR 192") | {DESCRIPTION: dicom.element(DESCRIPTION, "ST", told)}
    value = written(lose(make(tmp_path / "source.dcm", before=before), to))[DESCRIPTION].value
    # The place for the ratio counts too; bytes are counted, of which a character has one or more.
    assert 1020 <= len(value) <= 1024 or len(filling.encode()) > 1
    assert len(value) <= 1024
    described = value.decode("utf-8").rstrip()
    assert re.fullmatch(rf"{filling}{{400,}}; \S+ lossy compression, ratio [\d.]+", described)


def test_a_long_description_keeps_whole_words(tmp_path: Path) -> None:
    """None is cut in half: a space stands between characters in every character set (PS3.5 6.1.2)."""
    before = {DESCRIPTION: dicom.element(DESCRIPTION, "ST", ("overlong " * 113)[:1018])}
    value = written(lose(make(tmp_path / "source.dcm", before=before), "JPEG2000"))[DESCRIPTION].value.decode()
    kept, _, added = value.rpartition("; ")
    assert added.startswith("JPEG 2000 lossy compression")
    assert set(kept.split(" ")) == {"overlong"}
    # As many as there is room for.
    assert len(kept) + len(" overlong; ") + len("JPEG 2000 lossy compression, ratio ") + 10 > 1024


@pytest.mark.parametrize("more", [0, 1], ids=["as long as there is room for", "longer by one"])
def test_a_description_fills_the_room_that_there_is(more: int, tmp_path: Path) -> None:
    """1024 characters, of which a ratio takes ten at most: a Decimal String of its own width."""
    text_of = "JPEG 2000 lossy compression, ratio "
    room = 1024 - len("; ") - len(text_of) - 10
    before = {DESCRIPTION: dicom.element(DESCRIPTION, "ST", "x" * (room + more))}
    value = written(lose(make(tmp_path / "source.dcm", before=before), "JPEG2000"))[DESCRIPTION].value
    assert len(value) == 1024
    assert value.startswith(b"x" * room + b"; " + text_of.encode())


# --- functional groups -----------------------------------------------------------------------------------------

FRAME_TYPES = 0x00189226


def frame_type(value: str) -> bytes:
    return dicom.sequence(FRAME_TYPES, [dicom.element(FRAME_TYPE, "CS", value)])


def derivation(name: str) -> bytes:
    return dicom.sequence(DERIVATIONS, [dicom.element(DESCRIPTION, "ST", name)])


def inside(found: dicom.Found, *path: int) -> list[dicom.Found]:
    """Return the elements of this path of tags in all items."""
    assert found.items is not None
    here = [item[path[0]] for item in found.items if path[0] in item]
    return here if len(path) == 1 else [inner for one in here for inner in inside(one, *path[1:])]


ITEM_OF_FRAME = dicom.sequence(0x00209111, [dicom.element(0x00209157, "UL", [1])])
# What the shared and the per-frame groups hold, for two frames; how many derivations of each stay, and are added.
GROUPS: dict[str, tuple[bytes | None, bytes, tuple[int, int], tuple[int, int]]] = {
    "nothing said of derivation": (frame_type("ORIGINAL\\PRIMARY"), ITEM_OF_FRAME, (0, 1), (0, 0)),
    "a derivation of all frames": (derivation("one") + frame_type("ORIGINAL\\PRIMARY"), ITEM_OF_FRAME, (1, 1), (0, 0)),
    "no group of all frames": (None, frame_type("ORIGINAL\\PRIMARY"), (0, 0), (0, 2)),
    "a derivation of each frame": (b"", derivation("one") + frame_type("ORIGINAL\\PRIMARY"), (0, 0), (2, 2)),
}


@pytest.mark.parametrize("undefined", [False, True], ids=["defined lengths", "undefined lengths"])
@pytest.mark.parametrize("kind", GROUPS)
def test_frames_of_enhanced_objects_say_it_in_their_functional_groups(
    kind: str, undefined: bool, tmp_path: Path
) -> None:
    """In Derivation Image, of all frames or of each, never both (PS3.3 C.7.6.16.1.1, C.7.6.16.2.6); Frame Type too."""
    shared, each, of_all, of_each = GROUPS[kind]
    before = {PER_FRAME: dicom.sequence(PER_FRAME, [each, each], undefined=undefined)}
    if shared is not None:
        before[SHARED] = dicom.sequence(SHARED, [shared], undefined=undefined)
    before |= text(0x0020000D, "UI", "1.2.7") | text(0x0020000E, "UI", "1.2.8")
    fmt = G12
    mr = "1.2.840.10008.5.1.4.1.1.4.1"
    source = make(tmp_path / "source.dcm", fmt, frames=[scene(fmt)] * 2, before=before, sop_class=mr)
    found = written(lose(source, "JPEG2000"))
    assert found[IMAGE_TYPE].text == "DERIVED\\PRIMARY"
    assert {LOSSY, RATIO, METHOD, EVIDENCE, CREATION_DATE, CREATION_TIME} <= found.keys()
    # These are of images whose frames have no groups.
    assert not found.keys() & {DESCRIPTION, SOURCES, CODES, DERIVATIONS}
    groups = {SHARED: of_all, PER_FRAME: of_each}
    assert (SHARED in found) == (shared is not None)
    for tag in groups.keys() & found.keys():
        old, new = groups[tag]
        described = [one.text for one in inside(found[tag], DERIVATIONS, DESCRIPTION)]
        assert (described.count("one"), len(described)) == (old, old + new)
        codes = inside(found[tag], DERIVATIONS, CODES, 0x00080100)
        assert [one.text for one in codes] == ["113040"] * new
        sources = inside(found[tag], DERIVATIONS, SOURCES, 0x00081155)
        assert [one.text for one in sources] == ["1.2.3.4"] * new
        assert {one.text for one in inside(found[tag], FRAME_TYPES, FRAME_TYPE)} <= {"DERIVED\\PRIMARY"}
    assert len(found[PER_FRAME].items or []) == 2
    assert [one.text for one in inside(found[EVIDENCE], 0x0020000D)] == ["1.2.7"]
    assert [one.text for one in inside(found[EVIDENCE], 0x00081115, 0x0020000E)] == ["1.2.8"]
    assert [one.text for one in inside(found[EVIDENCE], 0x00081115, 0x00081199, 0x00081155)] == ["1.2.3.4"]
    assert [one.text for one in inside(found[EVIDENCE], 0x00081115, 0x00081199, 0x00081150)] == [mr]


# Groups of which some are not there, or have no item, and where the derivation is told of: in how many items of each.
PARTIAL: dict[str, tuple[list[bytes] | None, list[bytes] | None, int, int]] = {
    "none shared": (None, [ITEM_OF_FRAME, ITEM_OF_FRAME], 0, 2),
    "none per frame": ([b""], None, 1, 0),
    "an empty sequence of shared ones": ([], [ITEM_OF_FRAME, ITEM_OF_FRAME], 0, 2),
    "an empty sequence per frame": ([b""], [], 1, 0),
    "two empty sequences": ([], [], 0, 0),
    "an empty sequence of shared ones alone": ([], None, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("encoding", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG_ENDIAN])
@pytest.mark.parametrize("undefined", [False, True], ids=["defined lengths", "undefined lengths"])
@pytest.mark.parametrize("kind", PARTIAL)
def test_a_derivation_is_told_of_wherever_it_can_be(kind: str, undefined: bool, encoding: str, tmp_path: Path) -> None:
    """Once: in functional groups where there are any, else in the data set itself (PS3.3 C.12.4.1)."""
    shared, each, of_all, of_each = PARTIAL[kind]
    groups = {
        tag: dicom.sequence(tag, items, undefined=undefined)
        for tag, items in ((SHARED, shared), (PER_FRAME, each))
        if items is not None
    }
    plain = make(tmp_path / "plain.dcm", frames=[scene(G12)] * 2, before=groups)
    source = tmp_path / "source.dcm"
    transcode(plain, source, to=encoding)
    found = written(lose(source, "JPEG2000"))
    counts = [len(inside(found[tag], DERIVATIONS, CODES)) if tag in groups else 0 for tag in (SHARED, PER_FRAME)]
    assert counts == [of_all, of_each]
    assert ({DESCRIPTION, CODES, SOURCES} <= found.keys()) == (counts == [0, 0])
    assert (EVIDENCE in found) == (counts != [0, 0])


@pytest.mark.parametrize("undefined", [False, True], ids=["defined lengths", "undefined lengths"])
@pytest.mark.parametrize("enhanced", [False, True], ids=["plain", "enhanced"])
@pytest.mark.parametrize("to", ["implicit", "big-endian", "deflated"])
def test_the_record_is_the_same_whatever_the_source_is_encoded_in(
    to: str, enhanced: bool, undefined: bool, tmp_path: Path
) -> None:
    """Items are appended to sequences that come in another encoding, and numbers are swapped with the rest."""
    shared, each, _, _ = GROUPS["a derivation of each frame"]
    groups = {
        SHARED: dicom.sequence(SHARED, [shared], undefined=undefined),
        PER_FRAME: dicom.sequence(PER_FRAME, [each], undefined=undefined),
        EVIDENCE: dicom.sequence(EVIDENCE, [dicom.element(0x0020000D, "UI", "1.2.6")], undefined=undefined),
    }  # fmt: skip
    before = (
        text(LOSSY, "CS", "01") | text(RATIO, "DS", "4") | text(METHOD, "CS", "ISO_10918_1")
        | text(DESCRIPTION, "ST", "told before") | (groups if enhanced else {})
        | {CODES: dicom.sequence(CODES, [code("113078", "Resized")], undefined=undefined)}
        | {tag: dicom.element(tag, "SS", [-1]) for tag in (SMALLEST, LARGEST)}
    )  # fmt: skip
    source, other = make(tmp_path / "source.dcm", SIGNED, before=before), tmp_path / "other.dcm"
    transcode(source, other, to=to)
    explicit, found = (dicom.walk(lose(one, "JPEG2000").read_bytes()) for one in (source, other))
    # It may be a second later.
    times = {CREATION_DATE, CREATION_TIME}
    assert {tag: one.raw for tag, one in found.elements.items() if tag not in times} == {
        tag: one.raw for tag, one in explicit.elements.items() if tag not in times
    }
    assert found.meta[0x00020003].text == explicit.meta[0x00020003].text


# --- nothing of it where nothing is lost -----------------------------------------------------------------------


RECORD = (
    text(LOSSY, "CS", "01") | text(RATIO, "DS", "4.50 ") | text(METHOD, "CS", "ISO_10918_1")
    | text(DESCRIPTION, "ST", "told before") | text(IMAGE_TYPE, "CS", "DERIVED\\SECONDARY")
    | text(CREATION_DATE, "DA", "20010101") | text(CREATION_TIME, "TM", "010101")
    | {CODES: dicom.sequence(CODES, [code("113040", "Lossy Compression")])}
    | {tag: dicom.element(tag, "US", [7]) for tag in (SMALLEST, LARGEST)}
)  # fmt: skip
LOSSLESS: dict[str, dict[str, Any]] = {
    "jpegls": {}, "jpegls-near": {}, "jpegls-near, NEAR 0 with consent": {"lossy": True, "near": 0}, "JPEG2000": {},
    "HTJ2K": {}, "rle": {}, "jpeg": {}, "deflated": {}, "jpegxl": {},
}  # fmt: skip


@pytest.mark.parametrize("record", [{}, RECORD, RECORD | text(LOSSY, "CS", "00")], ids=["none", "of a loss", "of none"])
@pytest.mark.parametrize("to", LOSSLESS)
def test_lossless_work_leaves_the_record_as_it_is(to: str, record: dict[int, bytes], tmp_path: Path) -> None:
    """There and back, byte for byte: once lost is lost, and nothing more is (PS3.3 C.7.6.1.1.5)."""
    source = make(tmp_path / "source.dcm", before=record)
    there, back = tmp_path / "there.dcm", tmp_path / "back.dcm"
    transcode(source, there, to=to.partition(",")[0], **LOSSLESS[to])
    transcode(there, back, to="explicit")
    before = dicom.walk(source.read_bytes())
    for path in (there, back):
        walked = dicom.walk(path.read_bytes())
        assert {tag: one.raw for tag, one in walked.elements.items() if tag != dicom.PIXEL_DATA} == {
            tag: one.raw for tag, one in before.elements.items() if tag != dicom.PIXEL_DATA
        }
        assert walked.meta[0x00020003].text == "1.2.3.4"


# --- a source that lost something and does not say so ----------------------------------------------------------


@dataclass(frozen=True)
class Silent:
    """Codestreams of some target and options, under another syntax perhaps; `method` is None if nothing is lost."""

    to: str
    fmt: Format
    method: str | None
    options: dict[str, Any] = field(default_factory=dict)
    under: str = ""


SILENT = {
    "JPEG Baseline": Silent("jpeg-baseline", G8, "ISO_10918_1"),
    "JPEG Baseline in colour": Silent("jpeg-baseline", RGB, "ISO_10918_1"),
    "JPEG Extended": Silent("jpeg-extended", G12, "ISO_10918_1"),
    "near-lossless JPEG-LS": Silent("jpegls-near", G12, "ISO_14495_1"),
    "near-lossless JPEG-LS under the lossless syntax": Silent(
        "jpegls-near", G12, "ISO_14495_1", under=dicom.JPEGLS
    ),
    "JPEG-LS of NEAR 0 under the lossy syntax": Silent("jpegls", G12, None, under=dicom.JPEGLS_NEAR),
    "irreversible JPEG 2000": Silent("JPEG2000", RGB, "ISO_15444_1"),
    "irreversible JPEG 2000 under the lossless syntax": Silent(
        "JPEG2000", G12, "ISO_15444_1", under=dicom.J2K_LOSSLESS
    ),
    "reversible JPEG 2000 under the lossy syntax": Silent("j2k", RGB, None, under=dicom.J2K),
    "irreversible HTJ2K": Silent("HTJ2K", G12, "ISO_15444_15"),
    "reversible HTJ2K under the lossy syntax": Silent("htj2k", G12, None, under=dicom.HTJ2K),
    "lossless JPEG": Silent("jpeg", G12, None),
    "JPEG XL": Silent(JPEG_XL, G12, "ISO_18181_1"),
    "JPEG XL in colour": Silent(JPEG_XL, RGB, "ISO_18181_1"),
    "lossless JPEG XL under the lossy syntax": Silent("jpegxl", RGB, None, under=JPEG_XL),
}  # fmt: skip


def silent(path: Path, kind: Silent, flag: str = "") -> Path:
    """Write codestreams into a data set that says nothing of loss, or only has the flag."""
    plain, coded = make(path.with_name("plain.dcm"), kind.fmt), path.with_name("coded.dcm")
    lossy = {"lossy": True, **METHODS[kind.to][2]} if kind.to in METHODS else {}
    transcode(plain, coded, to=kind.to, **(lossy | kind.options))
    walked = dicom.walk(coded.read_bytes())
    said = oracle.attributes(walked)
    before = text(LOSSY, "CS", flag) if flag else {}
    image = images.image(kind.fmt, [scene(kind.fmt)], before=before)
    image.syntax, image.pixels, image.photometric = kind.under or walked.syntax, walked.fragments, said.photometric
    path.write_bytes(image.encode())
    return path


@pytest.mark.parametrize(
    ("to", "flag"), [("explicit", ""), ("rle", ""), ("rle", "00"), ("explicit", "01")],
    ids=["explicit, no flag", "rle, no flag", "rle, flag 00", "explicit, flag 01"],
)  # fmt: skip
@pytest.mark.parametrize("kind", SILENT)
def test_a_source_that_lost_something_gets_its_record(kind: str, to: str, flag: str, tmp_path: Path) -> None:
    """By what the codestream says of itself, not by the UID, and with a note; it stays the instance that it is."""
    source, out = silent(tmp_path / "source.dcm", SILENT[kind], flag), tmp_path / "out.dcm"
    outcome = transcode(source, out, to=to)
    found, before = written(out), written(source)
    noted = any("Lossy Image Compression (0028,2110) is 01 now" in note.text for note in outcome.notes)
    method = SILENT[kind].method
    assert noted == (method is not None and flag != "01")
    if not noted:
        assert {tag for tag in found if tag in TOLD} == {tag for tag in before if tag in TOLD}
        assert LOSSY not in found or found[LOSSY].text == flag
        return
    assert (found[LOSSY].text, found[METHOD].text) == ("01", method)
    assert float(found[RATIO].text) == pytest.approx(measured_ratio(source, SILENT[kind].fmt), rel=1e-3)
    assert not found.keys() & (TOLD - {LOSSY, RATIO, METHOD})
    assert found[SOP_INSTANCE].text == "1.2.3.4"
    assert found[IMAGE_TYPE].text == "ORIGINAL\\PRIMARY"


def test_jpeg_that_is_only_packed_anew_gets_its_record_too(tmp_path: Path) -> None:
    """And back again nothing is added: the stream is the same byte for byte."""
    source = silent(tmp_path / "source.dcm", SILENT["JPEG Baseline in colour"])
    packed, back = tmp_path / "packed.dcm", tmp_path / "back.dcm"
    transcode(source, packed, to="jpegxl-jpeg")
    transcode(packed, back, to="jpeg-baseline")
    for path in (packed, back):
        found = written(path)
        assert (found[LOSSY].text, texts(found[METHOD])) == ("01", ["ISO_10918_1"])
        assert float(found[RATIO].text) == pytest.approx(measured_ratio(source, RGB), rel=1e-3)
        assert found[SOP_INSTANCE].text == "1.2.3.4"
    assert dicom.walk(back.read_bytes()).fragments == dicom.walk(source.read_bytes()).fragments


def test_a_silent_loss_comes_before_the_one_that_is_added(tmp_path: Path) -> None:
    source, out = silent(tmp_path / "source.dcm", SILENT["JPEG Baseline in colour"]), tmp_path / "out.dcm"
    outcome = transcode(source, out, to="JPEG2000", lossy=True, ratio=30)
    found = written(out)
    assert texts(found[METHOD]) == ["ISO_10918_1", "ISO_15444_1"]
    first, second = map(float, texts(found[RATIO]))
    assert first == pytest.approx(measured_ratio(source, RGB), rel=1e-3)
    assert second == pytest.approx(measured_ratio(out, RGB), rel=1e-2)
    assert any("0028,2110" in note.text for note in outcome.notes)


# --- dciodvfy --------------------------------------------------------------------------------------------------

JUDGED = [
    ("CT_small.dcm", "JPEG2000"), ("CT_small.dcm", "HTJ2K"), ("MR_small_implicit.dcm", "jpegls-near"),
    ("MR_small_bigendian.dcm", "JPEG2000"), ("examples_rgb_color.dcm", "jpeg-baseline"),
    ("examples_rgb_color.dcm", "JPEG2000"), ("SC_rgb_small_odd.dcm", "jpegls-near"), ("SC_rgb_rle.dcm", "HTJ2K"),
    ("JPEG-lossy.dcm", "jpegls-near"), ("examples_ybr_color.dcm", "JPEG2000"), ("JPGExtended.dcm", "jpegls-near"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "to"), JUDGED, ids=[f"{name} as {to}" for name, to in JUDGED])
def test_dciodvfy_finds_no_error_in_the_record(name: str, to: str, tmp_path: Path) -> None:
    need_tool("dciodvfy")
    source = tmp_path / "source.dcm"
    source.write_bytes(Path(get_testdata_file(name, download=False)).read_bytes())
    out = lose(source, to)
    # HTJ2K, which it does not know, is shown to it as JPEG 2000 that may lose.
    out.write_bytes(out.read_bytes().replace(dicom.HTJ2K.encode() + b"\0", dicom.J2K.encode().ljust(24, b"\0"), 1))
    assert errors(out) <= errors(source)
