"""Bugs that were found by reading and by use, one test each or more: what must never come back."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import images
import numpy as np
import oracle
import pytest
from conftest import ROOT, Ran, contents, need_tool, spawn

import dcmtx
from dcmtx import transcode
from dcmtx.errors import InputError, RefusedError
from dcmtx.syntax import SYNTAXES

Command = Callable[..., Ran]
Fails = Callable[..., str]
RANDOM = np.random.default_rng(20)
GREY = images.Format("MONOCHROME2", 8, 8)
SIGNED_12 = images.Format("MONOCHROME2", 16, 12, signed=True)


def pixels(path: Path) -> bytes:
    """Return the value of native Pixel Data."""
    return dicom.walk(path.read_bytes()).elements[dicom.PIXEL_DATA].value


def code_of(src: Path, dst: Path, **options: Any) -> str:
    """Return the code of the error that a conversion ends with."""
    with pytest.raises((InputError, RefusedError)) as caught:
        transcode(src, dst, **options)
    assert not dst.exists()
    return caught.value.code


def picture(side: int = 64) -> np.ndarray:
    """Return 8-bit shades with a little noise, which lossy and lossless codecs take many bytes for."""
    shades = np.add.outer(np.arange(side), np.arange(side)) * 255 // (2 * side - 2)
    return (shades ^ np.random.default_rng(side).integers(0, 8, shades.shape)).astype(np.uint8)


# --- what is read ----------------------------------------------------------------------------------------------


def test_a_deflated_data_set_beyond_a_piece_may_have_a_pad_byte(src, dst):
    """Inflating never ended where the stream's last input was the pad byte of PS3.5 A.5."""
    for rows in range(1020, 1030):
        image = dicom.Image(bytes(range(256)) * 8 * rows, rows=rows, columns=1024, syntax=dicom.DEFLATED)
        data = image.encode()
        src.write_bytes(data)
        if data.endswith(b"\0") and not zlib.decompressobj(-15).decompress(data[-1:]):
            transcode(src, dst, to="explicit")
            assert pixels(dst) == image.pixels


@pytest.mark.parametrize("to", ["implicit", "rle"])
def test_unshared_chroma_under_ybr_full_422_is_no_padding(src, dst, to):
    image = dicom.Image(RANDOM.bytes(192), samples=3, photometric="YBR_FULL_422", allocated=8, stored=8)
    src.write_bytes(image.encode())
    assert code_of(src, dst, to=to) == "E_INCONSISTENT"


def test_only_zeros_behind_the_last_frame_are_padding(src, dst):
    for tail, fine in ((bytes(6), True), (b"\0\0\1\0\0\0", False)):
        src.write_bytes(dicom.Image(RANDOM.bytes(128) + tail).encode())
        if fine:
            assert any("dropped 6 bytes" in note.text for note in transcode(src, dst, to="implicit").notes)
            dst.unlink()
        else:
            assert code_of(src, dst, to="implicit") == "E_INCONSISTENT"


def test_words_in_rle_stay_whole_whatever_is_above_bits_stored(src, dst, tmp_path):
    """Zeros above a negative value were taken for no sign, and turned into one."""
    words = RANDOM.integers(0, 1 << 12, (8, 8)).astype("<u2")
    src.write_bytes(dicom.Image(words.tobytes(), stored=12, signed=True).encode())
    transcode(src, tmp_path / "rle.dcm", to="rle")
    transcode(tmp_path / "rle.dcm", dst, to="explicit")
    assert pixels(dst) == words.tobytes()


@pytest.mark.parametrize("digits", [13, 6000])
def test_a_number_of_very_many_digits_is_none(src, dst, digits):
    src.write_bytes(dicom.Image(bytes(128), before={0x00280008: b""}).encode())
    element = dicom.element(0x00280008, "IS", "1" * digits)
    src.write_bytes(dicom.Image(bytes(128), before={0x00280008: element}).encode())
    assert code_of(src, dst, to="rle") == "E_INCONSISTENT"


@pytest.mark.parametrize("to", ["j2k", "rle"])
def test_attributes_that_stand_twice_are_not_chosen_from(src, dst, to):
    rows = dicom.element(0x00280010, "US", 8) + dicom.element(0x00280010, "US", 4)
    src.write_bytes(dicom.Image(bytes(128), before={0x00280010: rows}).encode())
    assert code_of(src, dst, to=to) == "E_INCONSISTENT"


def test_an_attribute_behind_the_pixels_does_not_stay_beside_its_new_value(src, dst):
    behind = dicom.element(0x00280004, "CS", "RGB")
    image = dicom.Image(RANDOM.bytes(192), samples=3, photometric="RGB", allocated=8, stored=8, behind=[behind])
    elements = {tag: data for tag, data in image.elements().items() if tag != 0x00280004}
    image.elements = lambda: elements
    src.write_bytes(image.encode())
    assert code_of(src, dst, to="j2k") == "E_INCONSISTENT"


# --- codestreams -----------------------------------------------------------------------------------------------


def tiles_of(stream: bytes) -> list[int]:
    """Return where the tile-parts start (T.800 A.4.2)."""
    position = stream.index(b"\xff\x90")
    starts = []
    while stream[position : position + 2] == b"\xff\x90":
        starts.append(position)
        position += struct.unpack(">I", stream[position + 6 : position + 10])[0]
    return starts


def test_missing_tiles_are_not_made_up(src, dst):
    stream = bytes(imagecodecs.htj2k_encode(picture(), reversible=True, tile=(32, 32)))
    starts = tiles_of(stream)
    assert len(starts) == 4
    image = replace(images.image(GREY, [picture()]), syntax=dicom.HTJ2K_LOSSLESS)
    src.write_bytes(replace(image, pixels=[stream]).encode())
    transcode(src, dst, to="explicit")
    dst.unlink()
    src.write_bytes(replace(image, pixels=[stream[: starts[2]] + b"\xff\xd9"]).encode())
    assert code_of(src, dst, to="explicit") == "E_TRUNCATED"


def test_subsampled_components_of_jpeg_2000_are_refused(src, dst, tmp_path):
    """OpenJPEG takes them for sYCC and converts; what came out was neither."""
    need_tool("opj_compress")
    luma = picture().tobytes()
    (tmp_path / "in.yuv").write_bytes(luma + bytes([90]) * 1024 + bytes([160]) * 1024)
    line = ["opj_compress", "-i", "in.yuv", "-o", "out.j2k", "-F", "64,64,3,8,u@1x1:2x2:2x2"]
    subprocess.run(line, cwd=tmp_path, check=True, capture_output=True)
    image = images.image(images.Format("YBR_FULL", 8, 8), [np.zeros((64, 64, 3), np.uint8)])
    stream = (tmp_path / "out.j2k").read_bytes()
    src.write_bytes(replace(image, pixels=[stream], syntax=dicom.J2K_LOSSLESS).encode())
    assert code_of(src, dst, to="explicit") == "E_CODESTREAM"


@pytest.mark.parametrize("share", [0.3, 0.5, 0.6, 0.7, 0.8, 0.95])
@pytest.mark.parametrize(
    ("syntax", "options"),
    [(dicom.JPEG_BASELINE, {"level": 95}), (dicom.JPEG_SV1, {"lossless": True, "predictor": 1})],
    ids=["baseline", "lossless"],
)
def test_a_jpeg_scan_that_is_cut_before_its_end_marker_is_no_image(src, dst, syntax, options, share):
    stream = bytes(imagecodecs.jpeg8_encode(picture(), **options))
    image = replace(images.image(GREY, [picture()]), syntax=syntax)
    src.write_bytes(replace(image, pixels=[stream]).encode())
    transcode(src, dst, to="explicit")
    dst.unlink()
    src.write_bytes(replace(image, pixels=[stream[: int(len(stream) * share)] + b"\xff\xd9"]).encode())
    assert code_of(src, dst, to="explicit") == "E_TRUNCATED"


def rgb_jpeg(frame: np.ndarray, stored: str) -> bytes:
    """Return JPEG that stores RGB or YCbCr, and says which by its Adobe marker or component ids."""
    return bytes(imagecodecs.jpeg8_encode(frame, level=98, colorspace="RGB", outcolorspace=stored, subsampling="444"))


def colour_picture() -> np.ndarray:
    return np.stack([picture(), picture()[::-1], picture().T], axis=2)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("to", [{"to": "explicit", "decoder": "pylibjpeg-libjpeg"}, {"to": "j2k", "lossy": True}])
def test_frames_in_another_colour_space_are_seen_by_every_process(src, dst, to, workers):
    """Each process took its own first frame for the measure."""
    frame = colour_picture()
    streams = [rgb_jpeg(frame, "RGB"), rgb_jpeg(frame, "YCBCR")]
    colour = images.Format("RGB", 8, 8)
    image = replace(images.image(colour, [frame, frame]), pixels=streams, syntax=dicom.JPEG_BASELINE, planar=0)
    src.write_bytes(image.encode())
    assert code_of(src, dst, workers=workers, **to) == "E_INCONSISTENT"


def test_jpeg_that_contradicts_its_tag_keeps_its_colours_as_jpeg_xl(src, dst, tmp_path):
    frame = colour_picture()
    image = replace(images.image(images.Format("RGB", 8, 8), [frame]), syntax=dicom.JPEG_BASELINE, planar=0)
    stream = bytes(imagecodecs.jpeg8_encode(frame, level=98, colorspace="RGB", outcolorspace="YCBCR"))
    src.write_bytes(replace(image, pixels=[stream]).encode())
    transcode(src, tmp_path / "direct.dcm", to="explicit")
    transcode(src, tmp_path / "jpegxl.dcm", to="jpegxl-jpeg")
    transcode(tmp_path / "jpegxl.dcm", dst, to="explicit")
    assert pixels(dst) == pixels(tmp_path / "direct.dcm")
    assert np.abs(np.frombuffer(pixels(dst), np.uint8).reshape(frame.shape) - frame.astype(int)).mean() < 4


@pytest.mark.parametrize("options", [{"to": "jpeg"}, {"to": "jpeg", "lossy": True}], ids=["lossless", "lossy"])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_a_single_pixel_of_colour_becomes_jpeg(src, dst, tmp_path, photometric, options):
    src.write_bytes(images.image(images.Format(photometric, 8, 8), [np.full((1, 1, 3), 128, np.uint8)]).encode())
    transcode(src, tmp_path / "jpeg.dcm", **options)
    transcode(tmp_path / "jpeg.dcm", dst, to="explicit")
    assert np.abs(np.frombuffer(pixels(dst), np.uint8)[:3].astype(int) - 128).max() <= 2


# --- what is written -------------------------------------------------------------------------------------------


def test_clearing_unused_bits_is_told_and_counted(src, dst):
    words = np.zeros((8, 8), "<u2")
    words[2, 3:6] = 0xF00F
    src.write_bytes(dicom.Image(words.tobytes(), stored=12).encode())
    outcome = transcode(src, dst, to="j2k", unused_bits="clear")
    assert "cleared what stood outside Bits Stored, in 3 words" in map(str, outcome.notes)


def test_whole_words_are_not_kept_where_they_are_not_the_values(src, dst):
    words = (RANDOM.integers(0, 4096, (8, 8)) << 4).astype("<u2")
    src.write_bytes(dicom.Image(words.tobytes(), stored=12, high_bit=15).encode())
    assert code_of(src, dst, to="j2k", unused_bits="keep") == "E_UNUSED_BITS"
    transcode(src, dst, to="j2k")
    assert dicom.walk(dst.read_bytes()).elements[0x00280101].value == b"\x0c\0"


def test_a_vr_that_is_not_known_becomes_unknown_in_big_endian(src, dst):
    odd = struct.pack("<HH2sHI", 0x0028, 0x0009, b"ZZ", 0, 4) + b"abcd"
    src.write_bytes(dicom.Image(bytes(128), before={0x00280009: odd}).encode())
    transcode(src, dst, to="big-endian")
    # Readers differ in the length that they think such a VR has; of UN they know (PS3.5 6.2.2).
    unknown = struct.pack(">HH2sHI", 0x0028, 0x0009, b"UN", 0, 4) + b"abcd"
    assert unknown + dicom.element(0x00280010, "US", 8, dicom.BIG_ENDIAN) in dst.read_bytes()


@pytest.mark.parametrize("undefined", [False, True], ids=["with a length", "without a length"])
def test_items_of_a_sequence_that_is_called_unknown_stay_when_one_is_added(src, dst, undefined):
    item = dicom.element(0x00081155, "UI", "1.2.3.9", dicom.IMPLICIT)
    whole = dicom.sequence(0x00082112, [item], dicom.IMPLICIT, undefined=undefined)
    length = dicom.UNDEFINED if undefined else len(whole) - 8
    unknown = dicom.header(0x00082112, "UN", length) + whole[8:]
    image = images.image(GREY, [picture()])
    src.write_bytes(replace(image, before={**image.before, 0x00082112: unknown}).encode())
    transcode(src, dst, to="jpeg", lossy=True)
    items = dicom.walk(dst.read_bytes()).elements[0x00082112].items
    assert [item[0x00081155].text for item in items] == ["1.2.3.9", "1.2.3.4"]


def test_instances_of_other_pixels_have_other_uids(src, tmp_path):
    """Each encoder gives its own pixels; so does each way with unused bits."""
    src.write_bytes((ROOT / "testdata" / "mr-big-endian.dcm").read_bytes())
    found = set()
    for number, encoder in enumerate([None, "imagecodecs", None]):
        outcome = transcode(src, tmp_path / f"{number}.dcm", to="JPEG2000", lossy=True, encoder=encoder)
        found.add(outcome.instance_out)
    assert len(found) == 2


def test_a_tiff_preamble_is_kept_and_told_of(src, dst):
    preamble = b"II*\0" + bytes(124)
    src.write_bytes(dicom.Image(bytes(128), preamble=preamble).encode())
    outcome = transcode(src, dst, to="rle")
    assert dst.read_bytes().startswith(preamble)
    assert any("TIFF" in note.text for note in outcome.notes)


# --- how it is run ---------------------------------------------------------------------------------------------


def test_transfer_syntaxes_are_the_same_rows_in_another_process():
    """They are compared by identity; a batch sends them to its workers."""
    for syntax in SYNTAXES:
        assert pickle.loads(pickle.dumps(syntax)) is syntax


def test_a_batch_rewraps_what_has_the_target_syntax(tmp_path):
    sources = tmp_path / "in"
    sources.mkdir()
    shutil.copy(ROOT / "testdata" / "ct-jpegls.dcm", sources)
    ran = spawn(sources, tmp_path / "out", "--to", "jpegls", "--offset-table", "extended", "--json")
    assert ran.returncode == 0, ran.stderr
    before = dicom.walk((sources / "ct-jpegls.dcm").read_bytes())
    after = dicom.walk((tmp_path / "out" / "ct-jpegls.dcm").read_bytes())
    assert 0x7FE00001 in after.elements
    assert after.fragments == before.fragments
    assert json.loads(ran.stdout)["encoder"] is None


def transcode_lossy(src: Path, dst: Path) -> None:
    transcode(src, dst, to="j2k", lossy=True, workers=2)


def test_a_process_that_may_have_no_children_codes_by_itself(dst):
    source = ROOT / "testdata" / "sc-multiframe-extended-offsets.dcm"
    process = multiprocessing.get_context("spawn").Process(target=transcode_lossy, args=(source, dst), daemon=True)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert dst.exists()


@pytest.mark.parametrize("which", ["source", "destination", "another image"])
def test_a_report_never_replaces_an_image(src, dst, tmp_path, which, command):
    src.write_bytes(dicom.Image(bytes(128)).encode())
    other = tmp_path / "other.dcm"
    other.write_bytes(src.read_bytes())
    report = {"source": src, "destination": dst, "another image": other}[which]
    before = contents(tmp_path)
    ran = command(src, dst, "--to", "rle", "--report", report)
    assert ran.status == 2
    assert contents(tmp_path) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_report_that_cannot_be_written_is_one_line(src, dst, command):
    src.write_bytes(dicom.Image(bytes(128)).encode())
    ran = command(src, dst, "--to", "rle", "--report", "/dev/full")
    assert ran.status == 8
    assert "the report /dev/full cannot be written" in ran.line


def test_a_fallback_keeps_what_was_asked_for_and_tells_what_it_cannot(src, dst):
    image = images.image(images.Format("MONOCHROME2", 16, 16, signed=True), [RANDOM.integers(-999, 999, (64, 64))])
    src.write_bytes(image.encode())
    kept = transcode(src, dst, to="jpegls", lossy=True, near=7, fallback=["j2k"])
    assert kept.syntax_out == dicom.JPEGLS_NEAR
    refused = transcode(src, dst, to="jpeg", lossy=True, quality=30, fallback=["jpegls", "j2k"])
    assert any("without --quality, which it does not have" in note.text for note in refused.notes)


def test_every_refusal_is_told_when_all_targets_refuse(src, dst, fails):
    src.write_bytes((ROOT / "testdata" / "rtdose-32.dcm").read_bytes())
    line = fails(5, src, dst, "--to", "jpeg", "--fallback", "jpegls", "--fallback", "rle")
    for name in ("refused as jpeg-lossless", "refused as jpegls-lossless", "as rle: "):
        assert name in line


def test_a_dry_run_says_what_no_clobber_will_refuse(src, dst, fails):
    src.write_bytes(dicom.Image(bytes(128)).encode())
    dst.write_bytes(b"here already")
    assert "it exists" in fails(8, src, dst, "--to", "rle", "--dry-run", "--no-clobber")


def test_a_plan_is_shown_on_its_lines_whatever_the_name(tmp_path, command):
    odd = tmp_path / "a\nb.dcm"
    odd.write_bytes(dicom.Image(bytes(128)).encode())
    ran = command(odd, tmp_path / "out.dcm", "--to", "rle", "--dry-run")
    assert ran.status == 0
    assert "a\\nb.dcm: " in ran.out.splitlines()[0]


def test_jpeg_that_recompression_makes_longer_is_decoded_whole(src, dst):
    """A few pixels: JPEG XL has more to say of them than JPEG had. Where JPEG ends is not where that ends."""
    jpeg = bytes(imagecodecs.jpeg8_encode(np.full((8, 8), 77, np.uint8), level=90))
    packed = bytes(imagecodecs.jpegxl_encode_jpeg(jpeg))
    packed += b"\0" * (len(packed) % 2)
    assert len(packed) > len(jpeg)
    image = dicom.Image([packed], 8, 8, allocated=8, stored=8, syntax="1.2.840.10008.1.2.4.111")
    src.write_bytes(image.encode())
    transcode(src, dst, to="explicit")
    (frame,) = oracle.native(dst.read_bytes())
    assert np.array_equal(frame, imagecodecs.jpeg8_decode(jpeg))
    with dcmtx.frames(src) as frames:
        assert np.array_equal(frames[0], frame)
