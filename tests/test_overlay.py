"""Overlays in unused bits of the pixels, retired: taken out before compression, bit for bit, or refused.

Sources: PS3.5 8.1.2, PS3.3 C.9.2, PS3.5-2004 8.1.2.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import images
import numpy as np
import oracle
import pydicom
import pytest
from images import Format, Words

from dcmtx import transcode
from dcmtx.errors import RefusedError

G8, G12, S12 = Format("MONOCHROME2", 8, 7), Format("MONOCHROME2", 16, 12), Format("MONOCHROME2", 16, 12, signed=True)
ROWS, COLUMNS = 5, 7
FIRST, LAST = 0x6000, 0x601E
COMPRESSED = ("rle", "jpeg", "jpegls", "j2k", "htj2k", "jpegxl", "deflated-frames")
NATIVE = ("implicit", "big-endian", "deflated")


def planes(count: int, seed: int = 1) -> list[Words]:
    """Return overlays of bits at random."""
    return list(np.random.default_rng(seed).integers(0, 2, (count, ROWS, COLUMNS), "u1"))


def with_plane(frames: list[Words], overlay: list[Words], bit: int) -> list[Words]:
    """Return the frames with an overlay in one bit, whatever was there."""
    width = f"u{frames[0].dtype.itemsize}"
    mask = ~np.array(1 << bit, width)
    return [
        ((frame.view(width) & mask) | (plane.astype(width) << np.array(bit, width))).view(frame.dtype)
        for frame, plane in zip(frames, overlay, strict=True)
    ]


def described(
    group: int, bit: int, *, allocated: int = 16, rows: int = ROWS, columns: int = COLUMNS
) -> dict[int, bytes]:
    """Return the elements of an overlay; with bit 0 and one bit allocated it has data of its own."""
    base = group << 16
    elements = [
        (base | 0x0010, "US", [rows]), (base | 0x0011, "US", [columns]), (base | 0x0022, "LO", f"overlay {group:04X}"),
        (base | 0x0040, "CS", "G"), (base | 0x0050, "SS", [1, 1]), (base | 0x0100, "US", [allocated]),
        (base | 0x0102, "US", [bit]),
    ]  # fmt: skip
    return {tag: dicom.element(tag, vr, value) for tag, vr, value in elements}


def make(path: Path, fmt: Format, frames: list[Words], before: dict[int, bytes], **more: Any) -> Path:
    path.write_bytes(images.image(fmt, frames, before=before, **more).encode())
    return path


def overlay_of(path: Path, group: int, count: int) -> list[Words]:
    """Return an overlay's data, a bit per pixel without gaps between frames; its attributes must agree with it."""
    found, base = dicom.walk(path.read_bytes()).elements, group << 16
    assert (found[base | 0x0100].number, found[base | 0x0102].number) == (1, 0)
    assert (found[base | 0x0010].number, found[base | 0x0011].number) == (ROWS, COLUMNS)
    assert found[base | 0x0022].text == f"overlay {group:04X}"
    data = found[base | 0x3000]
    assert data.vr == "OW"
    need = -(-count * ROWS * COLUMNS // 8)
    assert len(data.value) == need + need % 2
    if count > 1:
        assert found[base | 0x0015].text == str(count)
        assert found[base | 0x0051].number == 1
    bits = np.unpackbits(np.frombuffer(data.value, "u1"), bitorder="little")
    assert not bits[count * ROWS * COLUMNS :].any()
    return list(bits[: count * ROWS * COLUMNS].reshape(count, ROWS, COLUMNS))


# --- taken out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3], ids=["one frame", "three frames"])
@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.BIG_ENDIAN], ids=["explicit", "big endian"])
@pytest.mark.parametrize("to", COMPRESSED)
def test_an_overlay_is_taken_out(to: str, syntax: str, count: int, tmp_path: Path) -> None:
    """The words are then what they are without it, and it is there bit for bit."""
    frames = images.make_frames(G12, ROWS, COLUMNS, count)
    overlay = planes(count)
    before = described(FIRST, 15)
    if syntax == dicom.BIG_ENDIAN:
        plain = make(tmp_path / "plain.dcm", G12, with_plane(frames, overlay, 15), before)
        transcode(plain, tmp_path / "source.dcm", to="big-endian")
        source = tmp_path / "source.dcm"
    else:
        source = make(tmp_path / "source.dcm", G12, with_plane(frames, overlay, 15), before)
    out = tmp_path / "out.dcm"
    outcome = transcode(source, out, to=to)
    assert not oracle.different(frames, oracle.decoded(out.read_bytes(), outcome.encoder))
    assert not oracle.different(overlay, overlay_of(out, FIRST, count))
    assert outcome.instance_out == "1.2.3.4"


def test_pydicom_reads_what_was_taken_out(tmp_path: Path) -> None:
    frames, overlay = images.make_frames(G12, ROWS, COLUMNS, 3), planes(3)
    source, out = (
        make(tmp_path / "source.dcm", G12, with_plane(frames, overlay, 15), described(0x6004, 15)),
        tmp_path / "o",
    )
    transcode(source, out, to="jpegls")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(out)
        assert np.array_equal(dataset.overlay_array(0x6004), np.stack(overlay))


@pytest.mark.parametrize("to", ["rle", "jpegls", "j2k"])
def test_several_overlays_are_taken_out_each_by_itself(to: str, tmp_path: Path) -> None:
    """In any of the groups, beside one that has data of its own, which stays as it is."""
    frames = images.make_frames(G12, ROWS, COLUMNS, 2)
    groups = {FIRST: 12, 0x6002: 15, 0x6010: 13, LAST: 14}
    own = described(0x6006, 0, allocated=1) | {0x60063000: dicom.element(0x60063000, "OB", b"\x5a\xa5\x7e\0\0\0")}
    before, words = dict(own), frames
    for group, bit in groups.items():
        words = with_plane(words, planes(2, group), bit)
        before |= described(group, bit)
    source, out = make(tmp_path / "source.dcm", G12, words, before), tmp_path / "out.dcm"
    transcode(source, out, to=to)
    assert not oracle.different(frames, oracle.decoded(out.read_bytes(), "pyjpegls"))
    for group in groups:
        assert not oracle.different(planes(2, group), overlay_of(out, group, 2))
    found = dicom.walk(out.read_bytes()).elements
    assert {tag: found[tag].raw for tag in own} == own


PLACES: dict[str, tuple[Format, dict[str, Any], int, int]] = {
    # Format, fields of the image, shift of the value, bit of the overlay.
    "bit 7 of bytes": (G8, {}, 0, 7),
    "bit 12, right above the value": (G12, {}, 0, 12),
    "bit 3, below a value that is high": (G12, {"high_bit": 15}, 4, 3),
    "bit 1, below a value that is high": (G12, {"high_bit": 15}, 4, 1),
    "bit 31": (Format("MONOCHROME2", 32, 16), {}, 0, 31),
}


@pytest.mark.parametrize(
    ("kind", "to"),
    [(kind, to) for kind in PLACES for to in ("j2k", "jpegls", "rle") if to == "j2k" or PLACES[kind][0].allocated < 32],
)
def test_an_overlay_may_be_in_any_bit_that_is_not_the_values(kind: str, to: str, tmp_path: Path) -> None:
    fmt, more, shift, bit = PLACES[kind]
    frames, overlay = images.make_frames(fmt, ROWS, COLUMNS), planes(1)
    words = with_plane([frame << shift for frame in frames], overlay, bit)
    source = make(tmp_path / "source.dcm", fmt, words, described(FIRST, bit, allocated=fmt.allocated), **more)
    out = tmp_path / "out.dcm"
    outcome = transcode(source, out, to=to)
    assert not oracle.different(overlay, overlay_of(out, FIRST, 1))
    # RLE holds whole words wherever the value is in them.
    found = oracle.decoded(out.read_bytes(), outcome.encoder)
    high = oracle.attributes(dicom.walk(out.read_bytes())).high_bit
    assert not oracle.different(frames, [frame >> (high + 1 - fmt.stored) for frame in found])


@pytest.mark.parametrize("to", ["rle", "jpegls", "j2k", "htj2k"])
def test_behind_an_overlay_in_signed_words_is_their_sign(to: str, tmp_path: Path) -> None:
    """Negative values are filled with their sign, but for the bit that the overlay took."""
    frames, overlay = images.make_frames(S12, ROWS, COLUMNS), planes(1)
    assert frames[0].min() < 0
    source = make(tmp_path / "source.dcm", S12, with_plane(frames, overlay, 15), described(FIRST, 15))
    out = tmp_path / "out.dcm"
    outcome = transcode(source, out, to=to)
    assert not oracle.different(overlay, overlay_of(out, FIRST, 1))
    assert not oracle.different(frames, oracle.decoded(out.read_bytes(), outcome.encoder))


@pytest.mark.parametrize(
    ("to", "options"), [("jpeg-extended", {"quality": 99}), ("JPEG2000", {"psnr": 60}), ("jpegls-near", {"near": 9})]
)
def test_an_overlay_loses_nothing_where_pixels_do(to: str, options: dict[str, Any], tmp_path: Path) -> None:
    frames, overlay = images.make_frames(G12, ROWS, COLUMNS, 2), planes(2)
    source, out = (
        make(tmp_path / "source.dcm", G12, with_plane(frames, overlay, 15), described(FIRST, 15)),
        tmp_path / "o",
    )
    outcome = transcode(source, out, to=to, lossy=True, **options)
    assert not oracle.different(overlay, overlay_of(out, FIRST, 2))
    found = oracle.decoded(out.read_bytes(), outcome.encoder)
    assert max(abs(one.astype("i4") - other).max() for one, other in zip(frames, found, strict=True)) < 400


@pytest.mark.parametrize("to", ["j2k", "deflated-frames"])
def test_an_overlay_in_a_codestream_is_taken_out_too(to: str, tmp_path: Path) -> None:
    """Some writers code whole words with the overlays in them."""
    frames, overlay = images.make_frames(G12, ROWS, COLUMNS, 2), planes(2)
    words = with_plane(frames, overlay, 15)
    image = images.image(G12, words, before=described(FIRST, 15))
    image.syntax, image.pixels = dicom.JPEGLS, [bytes(imagecodecs.jpegls_encode(frame)) for frame in words]
    source, out, native = (tmp_path / f"{what}.dcm" for what in ("source", "out", "native"))
    source.write_bytes(image.encode())
    transcode(source, out, to=to)
    assert not oracle.different(frames, oracle.decoded(out.read_bytes()))
    assert not oracle.different(overlay, overlay_of(out, FIRST, 2))
    # Native cells hold it where it was.
    transcode(source, native, to="explicit")
    assert not oracle.different(words, oracle.native(native.read_bytes()))
    assert dicom.walk(native.read_bytes()).elements[0x60000102].number == 15


@pytest.mark.parametrize("to", NATIVE)
def test_native_cells_keep_their_overlays(to: str, tmp_path: Path) -> None:
    """Nothing is compressed, so nothing is in danger."""
    words = with_plane(images.make_frames(G12, ROWS, COLUMNS, 2), planes(2), 15)
    source, out = make(tmp_path / "source.dcm", G12, words, described(FIRST, 15)), tmp_path / "out.dcm"
    transcode(source, out, to=to, overlays="refuse")
    assert not oracle.different(words, oracle.native(out.read_bytes()))
    found = dicom.walk(out.read_bytes()).elements
    assert (found[0x60000100].number, found[0x60000102].number) == (16, 15)
    assert 0x60003000 not in found


def test_real_overlays_are_taken_out_as_pydicom_sees_them(tmp_path: Path) -> None:
    """The file that comes with dcmtx for this."""
    source, out = Path(__file__).parent.parent / "testdata" / "mr-overlay-bit-15.dcm", tmp_path / "out.dcm"
    before = oracle.native(source.read_bytes())
    transcode(source, out, to="j2k")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        after = pydicom.dcmread(out)
        assert np.array_equal(after.overlay_array(0x6000), before[0].view("u2") >> 15)
    assert np.array_equal(oracle.decoded(out.read_bytes())[0], before[0].view("u2") & 0x7FFF)


# --- not touched, or refused -----------------------------------------------------------------------------------

NO_OVERLAYS = {
    "one with data of its own": described(FIRST, 0, allocated=1)
    | {0x60003000: dicom.element(0x60003000, "OW", bytes(range(6)))},
    "a bit of the value itself": described(FIRST, 11),
    "a bit that no word has": described(FIRST, 16),
    "nothing but a place": {0x60000102: dicom.element(0x60000102, "US", [0])},
    "a group that is not for overlays": described(0x6020, 15),
}


@pytest.mark.parametrize("to", ["rle", "jpegls"])
@pytest.mark.parametrize("kind", NO_OVERLAYS)
def test_what_is_no_overlay_in_the_pixels_stays(kind: str, to: str, tmp_path: Path) -> None:
    frames = images.make_frames(G12, ROWS, COLUMNS)
    source, out = make(tmp_path / "source.dcm", G12, frames, NO_OVERLAYS[kind]), tmp_path / "out.dcm"
    transcode(source, out, to=to, overlays="refuse")
    found = dicom.walk(out.read_bytes()).elements
    assert {tag: one.raw for tag, one in found.items() if 0x6000 <= tag >> 16 < 0x7FE0} == NO_OVERLAYS[kind]
    assert not oracle.different(frames, oracle.decoded(out.read_bytes()))


@pytest.mark.parametrize("bit", [4, 15], ids=["its lowest", "its highest"])
def test_a_bit_of_a_value_that_is_high_is_no_overlay(bit: int, tmp_path: Path) -> None:
    """Bits 4 to 15 are the value's where High Bit is 15 and Bits Stored 12."""
    frames, before = images.make_frames(G12, ROWS, COLUMNS), described(FIRST, bit)
    source = make(tmp_path / "source.dcm", G12, [frame << 4 for frame in frames], before, high_bit=15)
    out = tmp_path / "out.dcm"
    transcode(source, out, to="j2k")
    found = dicom.walk(out.read_bytes()).elements
    assert {tag: found[tag].raw for tag in before} == before
    assert 0x60003000 not in found
    high = oracle.attributes(dicom.walk(out.read_bytes())).high_bit
    assert not oracle.different(frames, [frame >> (high - 11) for frame in oracle.decoded(out.read_bytes())])


REFUSED: dict[str, tuple[dict[int, bytes], dict[str, Any], str]] = {
    "where the user wants no extraction": (described(FIRST, 15), {"overlays": "refuse"}, "E_OVERLAY"),
    "of fewer rows than the image": (described(FIRST, 15, rows=ROWS - 1), {}, "E_OVERLAY"),
    "of more columns than the image": (described(LAST, 15, columns=COLUMNS + 1), {}, "E_OVERLAY"),
    "beside other content": (described(FIRST, 14), {}, "E_UNUSED_BITS"),
}


@pytest.mark.parametrize("to", ["jpegls", "j2k", "htj2k", "jpeg"])
@pytest.mark.parametrize("kind", REFUSED)
def test_an_overlay_is_refused(kind: str, to: str, tmp_path: Path) -> None:
    before, options, reason = REFUSED[kind]
    words = with_plane(images.make_frames(G12, ROWS, COLUMNS), planes(1), 15)
    source, out = make(tmp_path / "source.dcm", G12, words, before), tmp_path / "out.dcm"
    with pytest.raises(RefusedError) as caught:
        transcode(source, out, to=to, **options)
    assert caught.value.code == reason
    assert not out.exists()


def test_an_overlay_below_the_value_that_no_place_names_is_not_dropped(tmp_path: Path) -> None:
    """Overlay Bit Position 0 is also that of overlays with data of their own: so the bit is content, and refused."""
    words = with_plane([frame << 4 for frame in images.make_frames(G12, ROWS, COLUMNS)], planes(1), 0)
    source = make(tmp_path / "source.dcm", G12, words, described(FIRST, 0), high_bit=15)
    with pytest.raises(RefusedError):
        transcode(source, tmp_path / "out.dcm", to="jpegls")


def test_an_overlay_in_colour_is_refused(tmp_path: Path) -> None:
    """It would be in the bits of one sample of three; nothing says of which."""
    fmt = Format("RGB", 16, 12)
    frames = images.make_frames(fmt, ROWS, COLUMNS)
    source, out = make(tmp_path / "source.dcm", fmt, frames, described(FIRST, 15)), tmp_path / "out.dcm"
    with pytest.raises(RefusedError) as caught:
        transcode(source, out, to="j2k")
    assert caught.value.code == "E_OVERLAY"


def test_other_content_is_cleared_or_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    """The overlay is taken out first."""
    frames, overlay = images.make_frames(G12, ROWS, COLUMNS), planes(1)
    words = with_plane(with_plane(frames, overlay, 15), planes(1, 2), 13)
    source, out = make(tmp_path / "source.dcm", G12, words, described(FIRST, 15)), tmp_path / "out.dcm"
    for policy, expected in (("clear", frames), ("keep", with_plane(frames, planes(1, 2), 13))):
        outcome = transcode(source, out, to="jpegls", unused_bits=policy)
        assert not oracle.different(overlay, overlay_of(out, FIRST, 1))
        assert not oracle.different(expected, oracle.decoded(out.read_bytes(), outcome.encoder))
