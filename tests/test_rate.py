"""How much JPEG 2000 and HTJ2K lose where nobody says how much, and where it would be for nothing."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dicom
import numpy as np
import oracle
import pytest
from backends import usable
from images import Format, Words
from test_lossy import (
    CODES,
    CREATION_DATE,
    DECODERS,
    DESCRIPTION,
    G8,
    G12,
    G16,
    LOSSY,
    METHOD,
    METHODS,
    RATIO,
    RGB,
    SIGNED,
    SOP_INSTANCE,
    SOURCES,
    TOLD,
    make,
    measured_ratio,
    scene,
    texts,
    written,
)

from dcmtx import transcode
from dcmtx.codec import search
from dcmtx.codec.table import ENCODERS
from dcmtx.errors import RefusedError, VerifyError

TARGETS = ("JPEG2000", "HTJ2K")
FLOOR, NEAR = 45.0, 40.0
both = pytest.mark.parametrize("to", TARGETS)


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these files must outlive the machine."""
    monkeypatch.setattr("os.fsync", int)


def reversible(stream: bytes) -> bool:
    """Tell which wavelet a codestream is made by (T.800 A.6.1)."""
    return stream[stream.index(b"\xff\x52") + 13] == 1


def decibels(path: Path, frames: list[Words], to: str, scratch: Path, span: int) -> float:
    """Return the PSNR of a file as another decoder has it; infinite if nothing is lost."""
    found = DECODERS[to][0](path, scratch)
    square = float(np.mean([(one.astype("f8") - other) ** 2 for one, other in zip(found, frames, strict=True)]))
    return 20 * math.log10(span) - 10 * math.log10(square) if square else math.inf


def flat(fmt: Format, rows: int = 64, columns: int = 64) -> Words:
    """Return an image that compresses to nearly nothing."""
    return np.full((rows, columns, fmt.samples)[: 3 if fmt.samples > 1 else 2], fmt.low + 40, fmt.dtype)


def drawing(fmt: Format) -> Words:
    """Return lines and boxes of few values, which an irreversible wavelet blurs and takes many bytes to sharpen."""
    image = np.full((118, 118), fmt.high // 4, fmt.dtype)
    for at in range(8, 112, 24):
        image[at, :] = image[:, at + 5] = fmt.high
    image[32:64, 48:80] = fmt.high // 2
    return image


# --- nobody says how much ---------------------------------------------------------------------------------------

# Images that a tenth would ruin, that a tenth does no harm, and that it cannot hold.
DEFAULTS: dict[str, tuple[Format, tuple[int, int], float]] = {
    "8 bits": (G8, (96, 112), 0.008), "8 bits, noisy": (G8, (96, 112), 0.05), "12 bits": (G12, (96, 112), 0.008),
    "12 bits, large": (G12, (256, 256), 0.003), "16 bits, large": (G16, (256, 256), 0.003),
    "signed, noisy": (SIGNED, (96, 112), 0.05), "small": (G8, (40, 40), 0.002), "tiny": (G12, (5, 7), 0.0),
    "thin": (G16, (2, 300), 0.008), "colour": (RGB, (96, 112), 0.008), "colour, noisy": (RGB, (64, 80), 0.05),
    "colour, small": (RGB, (17, 19), 0.0), "2 bits": (Format("MONOCHROME2", 8, 2), (64, 64), 0.008),
}  # fmt: skip


@both
@pytest.mark.parametrize("kind", DEFAULTS)
def test_the_default_loses_as_little_as_either_bound(kind: str, to: str, tmp_path: Path) -> None:
    """A ratio of 10, or 45 dB: below 45 dB never, above a ratio of 10 neither; and one of them is nearly reached."""
    fmt, size, noise = DEFAULTS[kind]
    frame = scene(fmt, *size, noise=noise)
    source, out = make(tmp_path / "source.dcm", fmt, frames=[frame]), tmp_path / "out.dcm"
    transcode(source, out, to=to, lossy=True)
    (stream,) = dicom.walk(out.read_bytes()).fragments
    found = decibels(out, [frame], to, tmp_path, fmt.high - fmt.low)
    assert reversible(stream) == (LOSSY not in written(out))
    assert math.isinf(found) or not reversible(stream)
    # The encoder's PSNR is that of its own rounding.
    assert found >= FLOOR - 0.4
    if reversible(stream):
        return
    ratio = measured_ratio(out, fmt)
    assert ratio <= 10.4
    assert ratio >= 9.6 or found <= FLOOR + 1.5 or len(stream) < 300
    exact = tmp_path / "exact.dcm"
    transcode(source, exact, to=to)
    assert len(stream) < len(dicom.walk(exact.read_bytes()).fragments[0])


@both
def test_frames_are_judged_each_by_itself(to: str, tmp_path: Path) -> None:
    """Calm ones shrink to a tenth, noisy ones keep 45 dB."""
    fmt = G12
    frames = [scene(fmt, 256, 256, noise=noise) for noise in (0.002, 0.05)]
    source, out = make(tmp_path / "source.dcm", fmt, frames=frames), tmp_path / "out.dcm"
    transcode(source, out, to=to, lossy=True)
    sizes = [len(fragment) for fragment in dicom.walk(out.read_bytes()).fragments]
    assert sizes[0] == pytest.approx(256 * 256 * 1.5 / 10, rel=0.03)
    assert sizes[1] > 2 * sizes[0]
    for number, frame in enumerate(frames):
        found = DECODERS[to][0](out, tmp_path)[number]
        error = found.astype("f8") - frame
        assert 20 * math.log10(4095) - 10 * math.log10(float(np.mean(error * error))) >= FLOOR - 0.4


# --- loss that would save nothing -------------------------------------------------------------------------------

# Options, and frames of which none becomes smaller by them.
FUTILE: dict[str, tuple[Format, list[Callable[[Format], Words]], dict[str, Any]]] = {
    "one value": (G12, [flat], {}),
    "one value in colour": (RGB, [flat], {}),
    "one value, signed": (SIGNED, [flat], {}),
    "frames of one value": (G12, [flat, flat, flat], {}),
    "frames of one value in colour": (RGB, [flat, flat], {}),
    "a ratio that is reached without": (G12, [flat], {"ratio": 4}),
    "a ratio that is reached without, in colour": (RGB, [flat], {"ratio": 4}),
    "a drawing": (G8, [drawing], {"psnr": 52}),
    "a drawing, by a ratio": (G8, [drawing], {"ratio": 3}),
    "drawings": (G8, [drawing, drawing], {"psnr": 52}),
    "a PSNR that rounding forbids": (G8, [scene], {"psnr": 90}),
    "a PSNR that rounding forbids, in colour": (RGB, [scene, scene], {"psnr": 90}),
    "a PSNR that the encoder does not reach": (Format("MONOCHROME2", 8, 3), [scene], {"psnr": 28}),
}  # fmt: skip
EXTREMES = {tag: dicom.element(tag, "US", [7]) for tag in (0x00280106, 0x00280107)}


@both
@pytest.mark.parametrize("kind", FUTILE)
def test_nothing_is_lost_for_nothing(kind: str, to: str, tmp_path: Path) -> None:
    """The file is what it is without consent, but for nothing: no loss, none told of, the same instance."""
    fmt, makers, options = FUTILE[kind]
    frames = [make_frame(fmt) for make_frame in makers]
    source = make(tmp_path / "source.dcm", fmt, frames=frames, before=EXTREMES)
    out, exact = tmp_path / "out.dcm", tmp_path / "exact.dcm"
    outcome = transcode(source, out, to=to, lossy=True, digest=True, **options)
    plain = transcode(source, exact, to=to, digest=True)
    assert out.read_bytes() == exact.read_bytes()
    assert not written(out).keys() & (TOLD | {LOSSY})
    assert outcome.instance_out == outcome.instance_in == "1.2.3.4"
    assert outcome.encoder == plain.encoder
    assert (outcome.psnr, outcome.ratio, outcome.digest) == (None, plain.ratio, plain.digest)
    assert any("no loss is told of" in note.text for note in outcome.notes)
    assert decibels(out, frames, to, tmp_path, 1) == math.inf


@both
def test_a_loss_of_before_is_kept_where_none_is_added(to: str, tmp_path: Path) -> None:
    before = {
        LOSSY: dicom.element(LOSSY, "CS", "01"),
        RATIO: dicom.element(RATIO, "DS", "9"),
        METHOD: dicom.element(METHOD, "CS", "ISO_10918_1"),
    }
    source, out = make(tmp_path / "source.dcm", G12, frames=[flat(G12)], before=before), tmp_path / "out.dcm"
    transcode(source, out, to=to, lossy=True)
    assert {tag: written(out)[tag].raw for tag in before} == before
    assert written(out)[SOP_INSTANCE].text == "1.2.3.4"


@both
@pytest.mark.parametrize("verify", [True, False], ids=["verified", "not verified"])
@pytest.mark.parametrize("workers", [1, 2])
def test_frames_of_both_kinds_stand_beside_one_another(workers: int, verify: bool, to: str, tmp_path: Path) -> None:
    """One frame that lost something is a loss of the instance (PS3.3 C.7.6.1.1.5); the others are exact."""
    frames = [flat(G12), scene(G12, 64, 64), flat(G12), scene(G12, 64, 64, turn=1)]
    source, out = make(tmp_path / "source.dcm", G12, frames=frames), tmp_path / "out.dcm"
    outcome = transcode(source, out, to=to, lossy=True, verify=verify, workers=workers)
    walked = dicom.walk(out.read_bytes())
    assert [reversible(fragment) for fragment in walked.fragments] == [True, False, True, False]
    assert {LOSSY, RATIO, METHOD, DESCRIPTION, CODES, SOURCES, CREATION_DATE} <= walked.elements.keys()
    assert (walked.elements[LOSSY].text, walked.elements[METHOD].text) == ("01", METHODS[to][0])
    assert float(texts(walked.elements[RATIO])[0]) == pytest.approx(measured_ratio(out, G12), rel=0.01)
    assert walked.elements[SOP_INSTANCE].text != "1.2.3.4"
    assert any(note.text.startswith("2 of 4 frames are coded without loss") for note in outcome.notes)
    found = DECODERS[to][0](out, tmp_path)
    assert np.array_equal(found[0], frames[0])
    assert np.array_equal(found[2], frames[2])
    # It says 01, so it has lost something, also for who converts it further; nothing is lost twice by consent alone.
    again = tmp_path / "again.dcm"
    assert transcode(out, again, to=to, lossy=True).status.value == "copied"


@both
def test_a_frame_that_loss_would_enlarge_is_exact_beside_others(to: str, tmp_path: Path) -> None:
    """Also where a PSNR is asked for, which it would reach with loss too."""
    frames = [drawing(G8), scene(G8, 118, 118)]
    source, out = make(tmp_path / "source.dcm", G8, frames=frames), tmp_path / "out.dcm"
    transcode(source, out, to=to, lossy=True, psnr=52)
    first, second = dicom.walk(out.read_bytes()).fragments
    assert (reversible(first), reversible(second)) == (True, False)
    assert np.array_equal(DECODERS[to][0](out, tmp_path)[0], frames[0])


@pytest.mark.parametrize(("to", "uid"), [("JPEG2000", dicom.J2K), ("HTJ2K", dicom.HTJ2K)])
def test_what_is_coded_without_loss_is_compared_word_for_word(
    to: str, uid: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though loss was asked for: a frame that is called exact must be."""
    for call in {row.call for row in usable(ENCODERS, uid) if not row.lossy}:
        module, _, name = call.partition(":")
        encode = getattr(importlib.import_module(module), name)
        monkeypatch.setattr(
            f"{module}.{name}", lambda words, *more, encode=encode: encode(words ^ (words == words.max()), *more)
        )
    source, out = make(tmp_path / "source.dcm", G12, frames=[flat(G12), scene(G12)[:64, :64]]), tmp_path / "out.dcm"
    with pytest.raises(VerifyError):
        transcode(source, out, to=to, lossy=True, workers=1)
    assert not out.exists()


@both
def test_frames_in_colour_are_all_of_one_transform(to: str, tmp_path: Path) -> None:
    """Photometric Interpretation says one for all: YBR_ICT, and what is flat is coded by it too (PS3.5 8.2.4)."""
    frames = [flat(RGB), scene(RGB, 64, 64)]
    ultrasound = "1.2.840.10008.5.1.4.1.1.3.1"
    source = make(tmp_path / "source.dcm", RGB, frames=frames, sop_class=ultrasound)
    out = tmp_path / "out.dcm"
    transcode(source, out, to=to, lossy=True)
    walked = dicom.walk(out.read_bytes())
    assert [reversible(fragment) for fragment in walked.fragments] == [False, False]
    assert oracle.attributes(walked).photometric == "YBR_ICT"
    found = DECODERS[to][0](out, tmp_path)
    assert np.abs(found[0].astype("i4") - frames[0]).max() <= 1


@pytest.mark.parametrize(("to", "fmt"), [("jpeg-baseline", G8), ("jpegls-near", G12), ("jpeg-extended", G12)])
def test_a_coding_that_loses_is_called_lossy_though_it_came_out_exact(to: str, fmt: Format, tmp_path: Path) -> None:
    """What is coded by it is not what an exact codestream would be, and no reader can tell; the note says both."""
    # The middle of the range is what DCT has nothing to code of; steps of NEAR 2 are of five values, from 0.
    frame = np.full((64, 64), 2045 if to == "jpegls-near" else fmt.high // 2 + 1, fmt.dtype)
    source, out = make(tmp_path / "source.dcm", fmt, frames=[frame]), tmp_path / "out.dcm"
    outcome = transcode(source, out, to=to, lossy=True)
    assert math.isinf(decibels(out, [frame], to, tmp_path, 1))
    assert {LOSSY, RATIO, METHOD, DESCRIPTION, CODES, SOURCES} <= written(out).keys()
    assert written(out)[SOP_INSTANCE].text != "1.2.3.4"
    assert any("nothing was lost; called lossy all the same" in note.text for note in outcome.notes)


def test_a_dry_run_says_that_it_may_come_out_without_loss(tmp_path: Path) -> None:
    source = make(tmp_path / "source.dcm", G12)
    outcome = transcode(source, tmp_path / "out.dcm", to="j2k", lossy=True, dry_run=True)
    assert any("without loss" in note.text for note in outcome.notes)
    outcome = transcode(source, tmp_path / "out.dcm", to="jpegls", lossy=True, dry_run=True)
    assert not any("without loss" in note.text for note in outcome.notes)


def test_standard_output_gets_one_file(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """The first attempt leaves nothing, wherever it goes."""
    source, exact = make(tmp_path / "source.dcm", G12, frames=[flat(G12)]), tmp_path / "exact.dcm"
    transcode(source, "-", to="JPEG2000", lossy=True)
    transcode(source, exact, to="JPEG2000")
    assert capfdbinary.readouterr().out == exact.read_bytes()
    transcode(source, source, to="JPEG2000", lossy=True)
    assert source.read_bytes() == exact.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exact.dcm", "source.dcm"]


def test_an_encoder_that_cannot_do_without_loss_is_refused_what_it_cannot_reach(tmp_path: Path) -> None:
    """The one asked for codes few bits with loss only, and loses too much of them: another is not taken unasked."""
    fmt = Format("MONOCHROME2", 8, 2)
    source, out = make(tmp_path / "source.dcm", fmt), tmp_path / "out.dcm"
    with pytest.raises(RefusedError) as caught:
        transcode(source, out, to="JPEG2000", lossy=True, encoder="pylibjpeg-openjpeg")
    assert (caught.value.code, out.exists()) == ("E_PSNR", False)


# --- what is asked for -----------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("options", [{"ratio": 60}, {"ratio": 4}, {"psnr": 30}, {"psnr": 50}, {}], ids=str)
def test_a_low_quality_that_was_asked_for_is_told(options: dict[str, float], to: str, tmp_path: Path) -> None:
    frame = scene(G12)
    source, out = make(tmp_path / "source.dcm", G12, frames=[frame]), tmp_path / "out.dcm"
    outcome = transcode(source, out, to=to, lossy=True, **options)
    told = any("below 40 dB" in note.text for note in outcome.notes)
    assert told == (decibels(out, [frame], to, tmp_path, 4095) < NEAR)
    assert told == (options in ({"ratio": 60}, {"psnr": 30}))


@both
@pytest.mark.parametrize("psnr", [35, 45, 48])
@pytest.mark.parametrize("fmt", [G8, G12, RGB], ids=str)
def test_a_psnr_is_met_and_little_more(fmt: Format, psnr: int, to: str, tmp_path: Path) -> None:
    frame = scene(fmt, noise=0.02)
    source, out = make(tmp_path / "source.dcm", fmt, frames=[frame]), tmp_path / "out.dcm"
    transcode(source, out, to=to, lossy=True, psnr=psnr)
    assert psnr - 0.4 <= decibels(out, [frame], to, tmp_path, fmt.high - fmt.low) <= psnr + 2


@both
@pytest.mark.parametrize("side", [20, 40])
def test_a_ratio_out_of_reach_does_not_take_the_last_decibel(side: int, to: str, tmp_path: Path) -> None:
    """Most of so small a codestream is headers: the worst quality would save next to nothing of it."""
    frame = scene(G8, side, side, noise=0.002)
    source, out = make(tmp_path / "source.dcm", G8, frames=[frame]), tmp_path / "out.dcm"
    outcome = transcode(source, out, to=to, lossy=True, ratio=200)
    assert decibels(out, [frame], to, tmp_path, 255) >= 20
    assert any("not the 200 asked for" in note.text for note in outcome.notes)


# --- the search -------------------------------------------------------------------------------------------------


def curve(headers: int, scale: float) -> Callable[[float], bytes]:
    """Return an encoder of a parameter from 1, worst, to 1000, best, whose sizes are headers and what grows with it."""
    return lambda parameter: bytes(headers + round(scale * parameter))


# Headers, growth, the ratio asked for, and which sizes are right.
CURVES = {
    "in reach": (100, 10.0, 10.0, (980, 1020)),
    "far below what the best quality takes": (100, 1.0, 5.0, (1100, 1100)),
    "out of reach": (1500, 1.0, 20.0, (1660, 1760)),
    "out of reach, and the best costs next to nothing": (1500, 0.1, 20.0, (1600, 1600)),
    "on the edge": (980, 1.0, 10.0, (1080, 1160)),
}


@pytest.mark.parametrize("kind", CURVES)
def test_the_search_ends_where_quality_costs_something(kind: str) -> None:
    headers, scale, wanted, (low, high) = CURVES[kind]
    assert low <= len(search.by_ratio(curve(headers, scale), 10000, wanted, 1.0, 1000.0)) <= high
    # A parameter that falls as quality rises is the same.
    encode = curve(headers, scale)
    assert low <= len(search.by_ratio(lambda step: encode(1 / step), 10000, wanted, 1.0, 0.001)) <= high


# Decibels at the worst and at the best parameter, those asked for, and which are right.
MEASURES = {
    "in reach": (10, 100, 45.0, (45, 45.3)),
    "never reached": (10, 40, 45.0, (40, 40)),
    "always reached": (50, 100, 45.0, (55, 100)),
}


@pytest.mark.parametrize("kind", MEASURES)
def test_the_search_for_decibels_stays_above_them(kind: str) -> None:
    worst, best, wanted, (low, high) = MEASURES[kind]

    def measure(encoded: bytes) -> float:
        return worst + (best - worst) * math.log(len(encoded) - 1000) / math.log(1000)

    assert low <= measure(search.by_psnr(curve(1000, 1.0), measure, wanted, 1.0, 1000.0)) <= high


def test_a_search_goes_the_same_way_each_time() -> None:
    seen: list[list[float]] = [[], []]
    for trials in seen:

        def encode(parameter: float, trials: list[float] = trials) -> bytes:
            trials.append(parameter)
            return bytes(100 + round(parameter))

        search.by_ratio(encode, 10000, 30, 1.0, 1000.0)
    assert seen[0] == seen[1]
    assert len(seen[0]) < 12
