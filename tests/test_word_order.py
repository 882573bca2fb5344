"""Pixels of more than 16 bits in big endian: writers differ in what they reverse, so the user says, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dicom
import images
import numpy as np
import oracle
import pytest
from conftest import Ran
from images import Format

from dcmtx import transcode
from dcmtx.errors import RefusedError, UsageError
from dcmtx.transcoding.job import job
from dcmtx.transcoding.running import run

LITTLE = ("explicit", "implicit", "deflated", "encapsulated", "deflated-frames")
# Bits Allocated, and the words that a writer may have reversed: what --word-order takes.
ORDERS = [(32, 2), (32, 4), (64, 2), (64, 4), (64, 8), (24, 2), (40, 2)]
FORMATS = {
    bits: Format("MONOCHROME2", bits, bits, signed=signed)
    for bits, signed in ((24, False), (32, True), (40, True), (64, False))
}


def big(fmt: Format, word: int, *, vr: str | None = "OW", count: int = 2, **more: Any) -> tuple[bytes, list[Any]]:
    """Return a file whose pixels were reversed by words of so many bytes, and what they are."""
    frames = images.make_frames(fmt, 4, 6, count)
    value = dicom.swapped(images.cells(fmt, frames), word)
    # The builder reverses the words of OW by twos; twice is not at all.
    value = dicom.swapped(value, 2) if vr == "OW" else value
    image = images.image(fmt, frames, syntax=dicom.BIG_ENDIAN, pixel_vr=vr)
    image.pixels = value
    image.before = more.get("before", {})
    return image.encode(), frames


def icon() -> dict[int, bytes]:
    """Return something that can be dropped, so that a file is written anew."""
    return {0x00880200: dicom.sequence(0x00880200, [], dicom.BIG_ENDIAN)}


@pytest.mark.parametrize("to", LITTLE)
@pytest.mark.parametrize(("bits", "word"), ORDERS, ids=str)
def test_the_words_that_the_user_names_are_reversed(bits: int, word: int, to: str, tmp_path: Path) -> None:
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    data, frames = big(FORMATS[bits], word)
    source.write_bytes(data)
    transcode(source, out, to=to, word_order=str(8 * word))
    transcode(out, tmp_path / "native.dcm", to="explicit")
    value = dicom.walk((tmp_path / "native.dcm").read_bytes()).elements[dicom.PIXEL_DATA].value
    widened = {24: 32, 40: 64}.get(bits, bits) if to in ("deflated-frames", "encapsulated") else bits
    fmt = Format("MONOCHROME2", widened, widened, signed=FORMATS[bits].signed)
    assert value == images.cells(fmt, frames)


@pytest.mark.parametrize("to", [*LITTLE, "rle"])
@pytest.mark.parametrize(
    ("bits", "order"),
    [*((bits, "refuse") for bits in FORMATS), (24, "32"), (32, "64"), (40, "32"), (40, "64")],
    ids=str,
)
def test_nobody_guesses(bits: int, order: str, to: str, tmp_path: Path) -> None:
    """Nor is a width taken that does not go into a pixel; 16 goes on from pixel to pixel, as the standard has it."""
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    source.write_bytes(big(FORMATS[bits], 2)[0])
    with pytest.raises(RefusedError) as caught:
        transcode(source, out, to=to, word_order=order)
    assert caught.value.code == "E_AMBIGUOUS"
    widths = {24: "16", 32: "16 or 32", 40: "16", 64: "16 or 32 or 64"}[bits]
    assert caught.value.message.endswith(f"--word-order {widths}")
    assert not out.exists()


@pytest.mark.parametrize("word", [2, 4])
@pytest.mark.parametrize("order", ["refuse", "16", "32"])
def test_big_endian_stays_as_it_is(order: str, word: int, tmp_path: Path) -> None:
    """Byte by byte, whatever anybody thinks that it means; what is not known has no digest."""
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    data, _ = big(FORMATS[32], word, before=icon())
    source.write_bytes(data)
    outcome = run(job(source, out, to="big-endian", icon="drop", word_order=order, digest=True))
    before, after = (dicom.walk(path.read_bytes()).elements[dicom.PIXEL_DATA].value for path in (source, out))
    assert before == after
    assert (outcome.digest is None) == (order == "refuse")


def test_what_is_written_in_big_endian_are_words_of_16_bits(tmp_path: Path) -> None:
    """As PS3.5 7.3 has it, with a note: readers differ as well."""
    fmt = FORMATS[32]
    frames = images.make_frames(fmt, 4, 6, 2)
    (tmp_path / "in.dcm").write_bytes(images.image(fmt, frames).encode())
    transcode(tmp_path / "in.dcm", tmp_path / "frames.dcm", to="deflated-frames")
    for source in ("in.dcm", "frames.dcm"):
        out, back = tmp_path / "out.dcm", tmp_path / "back.dcm"
        outcome = transcode(tmp_path / source, out, to="big-endian")
        assert any("written as 16-bit words" in note.text for note in outcome.notes)
        # The walker reverses OW by twos.
        assert dicom.walk(out.read_bytes()).elements[dicom.PIXEL_DATA].value == images.cells(fmt, frames)
        transcode(out, back, to="explicit", word_order="16")
        assert not oracle.different(frames, oracle.native(back.read_bytes()))


@pytest.mark.parametrize(
    ("fmt", "vr"),
    [(Format("MONOCHROME2", 16, 16), "OW"), (Format("MONOCHROME2", 8, 8), "OW"), (Format("MONOCHROME2", 8, 8), "OB"),
     (Format("MONOCHROME2", 32, 32), "OB")],
    ids=["16 bits in OW", "8 bits in OW", "8 bits in OB", "32 bits in OB"],
)  # fmt: skip
@pytest.mark.parametrize("order", ["refuse", "32"])
def test_what_is_certain_needs_no_answer(order: str, fmt: Format, vr: str, tmp_path: Path) -> None:
    """Words of OW are of 16 bits, and OB has none (PS3.5 7.3)."""
    frames = images.make_frames(fmt, 4, 6, 2)
    image = images.image(fmt, frames, syntax=dicom.BIG_ENDIAN, pixel_vr=vr)
    (tmp_path / "in.dcm").write_bytes(image.encode())
    transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="explicit", word_order=order)
    assert not oracle.different(frames, oracle.native((tmp_path / "out.dcm").read_bytes()))


def test_pixels_of_unknown_vr_have_no_order_either(tmp_path: Path) -> None:
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    fmt = Format("MONOCHROME2", 16, 16)
    data, frames = big(fmt, 2, vr="UN")
    source.write_bytes(data)
    with pytest.raises(RefusedError) as caught:
        transcode(source, out, to="explicit")
    assert (caught.value.code, caught.value.message.endswith("--word-order 16")) == ("E_AMBIGUOUS", True)
    transcode(source, out, to="explicit", word_order="16")
    assert not oracle.different(frames, oracle.native(out.read_bytes()))


def test_the_order_decides_the_pixels_so_it_decides_new_uids(tmp_path: Path) -> None:
    source = tmp_path / "in.dcm"
    source.write_bytes(big(FORMATS[32], 4)[0])
    uids = {
        transcode(source, tmp_path / "out.dcm", to="explicit", uid="new", word_order=order).instance_out
        for order in ("16", "32")
    }
    assert len(uids) == 2


def test_the_command_line_takes_it_and_a_dry_run_tells_it(tmp_path: Path, command: Callable[..., Ran]) -> None:
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    data, frames = big(FORMATS[32], 4)
    source.write_bytes(data)
    ran = command(source, out, "--to", "explicit")
    assert (ran.status, "--word-order 16 or 32" in ran.line) == (5, True)
    assert "words of 32 bits" in command(source, out, "--to", "explicit", "--word-order", "32", "--dry-run").out
    assert command(source, out, "--explicit", "--word-order", "32").status == 0
    assert np.array_equal(oracle.native(out.read_bytes())[0], frames[0])
    with pytest.raises(UsageError):
        transcode(source, out, to="explicit", word_order="8")
