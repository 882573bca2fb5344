"""`--cross-check`: two libraries read, a third may write, and a difference is an error that names both."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import dicom
import numpy as np
import pytest
from conftest import ROOT as TOP

import dcmtx
from dcmtx.codec.table import DECODERS
from dcmtx.errors import CodecError

ROOT = "1.2.840.10008.1.2.4."
NOISE = np.random.default_rng(3).integers(0, 4096, (2, 64, 64), np.uint16)


def native() -> bytes:
    return dicom.Image(NOISE.tobytes(), rows=64, columns=64, stored=12, frames=2).encode()


def replace_decoder(monkeypatch: pytest.MonkeyPatch, uid: str, backend: str, change: Any) -> None:
    """Have a decoder give what `change` makes of its words."""
    (row,) = (row for row in DECODERS.rows(uid) if row.backend == backend)
    module, _, name = row.call.partition(":")
    real = getattr(importlib.import_module(module), name)
    monkeypatch.setattr(importlib.import_module(module), name, lambda *given, **more: change(real(*given, **more)))


def off_by(amount: int) -> Any:
    def change(words: Any) -> Any:
        changed = words.copy()
        changed.flat[5] += amount
        return changed

    return change


def refuses(_words: Any) -> Any:
    raise CodecError("it does not like it")


SECONDS = {
    "jpegls": ("80", "imagecodecs", "pylibjpeg-libjpeg"),
    "jpeg-lossless": ("70", "imagecodecs", "pylibjpeg-libjpeg"),
    "rle": ("5", "imagecodecs", "pylibjpeg-rle"),
}


def uid_of(end: str) -> str:
    return "1.2.840.10008.1.2.5" if end == "5" else ROOT + end


@pytest.mark.parametrize(
    ("name", "end", "first", "second"), [(name, *row) for name, row in SECONDS.items()], ids=SECONDS
)
def test_a_second_decoder_that_differs_ends_it_with_status_7(
    name: str, end: str, first: str, second: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = dcmtx.transcode(native(), to=name)
    (tmp_path / "a.dcm").write_bytes(source)
    dcmtx.transcode(tmp_path / "a.dcm", tmp_path / "b.dcm", to="explicit", cross_check=True)
    (tmp_path / "b.dcm").unlink()
    replace_decoder(monkeypatch, uid_of(end), second, off_by(1))
    with pytest.raises(dcmtx.VerifyError) as caught:
        dcmtx.transcode(tmp_path / "a.dcm", tmp_path / "b.dcm", to="explicit", cross_check=True)
    assert caught.value.frame == 0
    assert first in caught.value.what
    assert second in caught.value.what
    assert "1 of 4096 differ, by up to 1" in caught.value.what
    assert not (tmp_path / "b.dcm").exists()
    # Nobody else asks the second one.
    dcmtx.transcode(tmp_path / "a.dcm", tmp_path / "b.dcm", to="explicit")


def test_a_second_decoder_that_refuses_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = dcmtx.transcode(native(), to="jpegls")
    replace_decoder(monkeypatch, ROOT + "80", "pylibjpeg-libjpeg", refuses)
    with pytest.raises(
        dcmtx.VerifyError, match=r"imagecodecs .* decodes it and pylibjpeg-libjpeg .* does not"
    ) as caught:
        dcmtx.transcode(source, to="rle", cross_check=True)
    assert "it does not like it" in caught.value.what


def test_an_encoder_is_judged_by_another_library_on_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    replace_decoder(monkeypatch, ROOT + "80", "pylibjpeg-libjpeg", lambda words: seen.append(1) or words)
    dcmtx.transcode(native(), to="jpegls", cross_check=True, workers=1)
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("source", "to", "what"),
    [
        ("explicit", "j2k", "no library but OpenJPEG decodes j2k-lossless here, so what was written"),
        ("j2k", "explicit", "no library but OpenJPEG decodes j2k-lossless of this kind here, so what was read"),
        ("jpegxl", "explicit", "no library but libjxl decodes jpegxl-lossless of this kind here, so what was read"),
    ],
    ids=["a target", "a source", "a source in JPEG XL"],
)
def test_what_has_no_second_library_is_told(source: str, to: str, what: str, tmp_path: Path) -> None:
    eight = dicom.Image(bytes(range(256)) * 16, rows=64, columns=64, allocated=8, stored=8).encode()
    given = eight if source == "explicit" else dcmtx.transcode(eight, to=source)
    outcome = dcmtx.transcode(given, tmp_path / "b.dcm", to=to, cross_check=True)
    (note,) = (note for note in outcome.notes if note.code == "N_ONE_LIBRARY")
    assert what in note.text


def test_native_pixels_and_what_is_not_encoded_need_no_second_library(tmp_path: Path) -> None:
    outcome = dcmtx.transcode(native(), tmp_path / "b.dcm", to="implicit", cross_check=True)
    assert outcome.notes == ()


DCT = ["us-jpeg-baseline.dcm"]


@pytest.mark.parametrize("name", DCT)
def test_decoders_of_dct_may_round_in_their_own_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (TOP / "testdata" / name).read_bytes()
    dcmtx.transcode(data, to="explicit", cross_check=True)
    replace_decoder(monkeypatch, ROOT + "50", "pylibjpeg-libjpeg", lambda words: words + (words < 200) * np.uint8(40))
    with pytest.raises(dcmtx.VerifyError, match="decode it to different pixels"):
        dcmtx.transcode(data, to="explicit", cross_check=True)


def test_damage_that_one_decoder_passes_over_is_seen_by_two(tmp_path: Path) -> None:
    """Some bytes inside a scan are others: what each library makes of that differs, or one of them refuses it."""
    source = dcmtx.transcode(native(), to="jpegls")
    damaged = bytearray(source)
    at = source.index(b"\xff\xda") + 600
    damaged[at : at + 8] = bytes(8)
    with pytest.raises((dcmtx.VerifyError, dcmtx.CodecError, dcmtx.InputError)):
        dcmtx.transcode(bytes(damaged), to="explicit", cross_check=True)


def test_the_dry_run_says_who_looks(tmp_path: Path) -> None:
    plan = dcmtx.plan(dcmtx.transcode(native(), to="rle"), to="jpegls", cross_check=True)
    said = [step.describe() for step in plan.steps]
    assert "decode by pylibjpeg-rle too, and compare" in said
    assert "verify by pylibjpeg-libjpeg (libjpeg)" in said
