"""Fragments in any arrangement that files have, under every syntax: right pixels, or an error that says what is wrong.

Whole conversions; how single items and tables are read is in test_items and test_source.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import images
import numpy as np
import oracle
import pytest
from conftest import Ran
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmtx import transcode
from dcmtx.errors import InputError

Command = Callable[..., Ran]
Fails = Callable[..., str]
Frames = Sequence[Sequence[bytes]]

OFFSETS, OFFSET_LENGTHS = 0x7FE00001, 0x7FE00002
ENCAPSULATED, DEFLATED_FRAMES = "1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.8.1"
ROWS, COLUMNS, COUNT = 20, 30, 3
GREY = images.Format("MONOCHROME2", 8, 8)
PIXELS = np.stack([np.random.default_rng(n).integers(0, 256, (ROWS, COLUMNS), np.uint8) for n in range(COUNT)])


def deflated(frame: images.Words) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(frame.tobytes()) + packer.flush()


# How a frame is coded under each syntax, and whether one may have several fragments (PS3.5 A.4).
CODECS: dict[str, tuple[str, Callable[[images.Words], bytes], bool]] = {
    "JPEG Lossless": (dicom.JPEG_SV1, lambda frame: imagecodecs.jpeg_encode(frame, lossless=True, predictor=1), True),
    "JPEG-LS": (dicom.JPEGLS, imagecodecs.jpegls_encode, True),
    "JPEG 2000": (
        dicom.J2K_LOSSLESS, lambda frame: imagecodecs.jpeg2k_encode(frame, codecformat="j2k", reversible=True), True,
    ),
    "HTJ2K": (dicom.HTJ2K_LOSSLESS, lambda frame: imagecodecs.htj2k_encode(frame, reversible=True), True),
    "RLE": (dicom.RLE, lambda frame: images.annex_g(GREY, frame), False),
    "Encapsulated Uncompressed": (ENCAPSULATED, lambda frame: frame.tobytes(), False),
    "Deflated Image Frame": (DEFLATED_FRAMES, deflated, False),
}  # fmt: skip
CODED = {name: [bytes(encode(frame)) for frame in PIXELS] for name, (_, encode, _) in CODECS.items()}
MANY = [name for name, (_, _, many) in CODECS.items() if many]
ONE = [name for name, (_, _, many) in CODECS.items() if not many]
EVERY = pytest.mark.parametrize("name", CODECS)
EVERY_MANY = pytest.mark.parametrize("name", MANY)
EVERY_ONE = pytest.mark.parametrize("name", ONE)


def split(stream: bytes, count: int) -> list[bytes]:
    """Split a codestream into fragments of even length, but for the last."""
    step = len(stream) // count // 2 * 2
    return [stream[step * n : step * (n + 1) if n < count - 1 else None] for n in range(count)]


def even(part: bytes) -> bytes:
    return part + b"\0" * (len(part) % 2)


def starts(frames: Frames) -> list[int]:
    """Return where the first item of each frame is, counted from the first item of all."""
    return list(accumulate((sum(8 + len(even(part)) for part in frame) for frame in frames), initial=0))[:-1]


def basic(offsets: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(offsets)}I", *offsets)


def extended(frames: Frames) -> dict[int, bytes]:
    """Return an Extended Offset Table. The length of a frame in several fragments is that of all its bytes."""
    lengths = [sum(len(even(part)) for part in frame) for frame in frames]
    return {
        OFFSETS: dicom.element(OFFSETS, "OV", starts(frames)),
        OFFSET_LENGTHS: dicom.element(OFFSET_LENGTHS, "OV", lengths),
    }


def encoded(name: str, frames: Frames, *, table: str = "none", count: int | None = COUNT, **more: Any) -> bytes:
    """Return a file of these frames; `table` is none, basic or extended."""
    more = {"before": extended(frames) if table == "extended" else {}} | more
    return dicom.Image(
        [part for frame in frames for part in frame], rows=ROWS, columns=COLUMNS, allocated=8, stored=8, frames=count,
        syntax=CODECS[name][0], table=basic(starts(frames)) if table == "basic" else b"", **more,
    ).encode()  # fmt: skip


def converted(data: bytes, tmp_path: Path, command: Command, target: str = "explicit") -> tuple[images.Words, str]:
    """Return the pixels of a file as they are after its conversion, and what was said."""
    (tmp_path / "in.dcm").write_bytes(data)
    ran = command(tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", target)
    assert (ran.status, ran.out) == (0, ""), ran
    return oracle.native((tmp_path / "out.dcm").read_bytes()), ran.err


# --- what is right -----------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("table", ["none", "basic", "extended"])
def test_a_fragment_per_frame(name: str, table: str, tmp_path: Path, command: Command) -> None:
    pixels, said = converted(encoded(name, [[stream] for stream in CODED[name]], table=table), tmp_path, command)
    assert np.array_equal(pixels, PIXELS)
    assert said == ""


@EVERY_MANY
@pytest.mark.parametrize("parts", [(2, 2, 2), (1, 4, 2), (9, 1, 30)], ids=str)
@pytest.mark.parametrize("table", ["none", "basic", "extended"])
def test_several_fragments_per_frame(
    name: str, parts: tuple[int, ...], table: str, tmp_path: Path, command: Command
) -> None:
    frames = [split(stream, count) for stream, count in zip(CODED[name], parts, strict=True)]
    pixels, said = converted(encoded(name, frames, table=table), tmp_path, command)
    assert np.array_equal(pixels, PIXELS)
    # The standard has an Extended Offset Table for frames of one fragment only (PS3.3 C.7.6.3.1.8).
    assert ("Extended Offset Table does not fit" in said) == (table == "extended")


@EVERY_MANY
@pytest.mark.parametrize("count", [None, 1], ids=["without Number of Frames", "with it"])
@pytest.mark.parametrize("table", ["none", "basic", "extended"])
def test_one_frame_in_many_fragments(
    name: str, count: int | None, table: str, tmp_path: Path, command: Command
) -> None:
    data = encoded(name, [split(CODED[name][0], 40)], table=table, count=count)
    assert np.array_equal(converted(data, tmp_path, command)[0], PIXELS[:1])


@EVERY
def test_trailing_pad_in_every_fragment(name: str, tmp_path: Path, command: Command) -> None:
    frames = [[stream + bytes(2 * (1 + number))] for number, stream in enumerate(CODED[name])]
    assert np.array_equal(converted(encoded(name, frames), tmp_path, command)[0], PIXELS)


@EVERY_MANY
@pytest.mark.parametrize("table", ["none", "basic"])
def test_trailing_pad_behind_several_fragments(name: str, table: str, tmp_path: Path, command: Command) -> None:
    frames = [split(stream, 3) for stream in CODED[name]]
    for frame in frames:
        frame[-1] = even(frame[-1]) + bytes(40)
    assert np.array_equal(converted(encoded(name, frames, table=table), tmp_path, command)[0], PIXELS)


@EVERY
@pytest.mark.parametrize("size", [2, 126, 70_000])
def test_padding_behind_the_last_element(name: str, size: int, tmp_path: Path, command: Command) -> None:
    data = encoded(name, [[stream] for stream in CODED[name]]) + bytes(size)
    pixels, said = converted(data, tmp_path, command)
    assert np.array_equal(pixels, PIXELS)
    assert f"dropped {size} bytes of padding behind the last element" in said


WHERE = ("behind every frame", "inside every frame", "behind the last frame", "both")


@EVERY_MANY
@pytest.mark.parametrize("table", ["none", "basic"])
@pytest.mark.parametrize("where", WHERE)
def test_empty_fragments(name: str, where: str, table: str, tmp_path: Path, command: Command) -> None:
    frames = [split(stream, 3) for stream in CODED[name]]
    if where in ("inside every frame", "both"):
        frames = [[frame[0], b"", *frame[1:]] for frame in frames]
    if where in ("behind every frame", "both"):
        frames = [[*frame, b"", b""] for frame in frames]
    if where == "behind the last frame":
        frames[-1].append(b"")
    assert np.array_equal(converted(encoded(name, frames, table=table), tmp_path, command)[0], PIXELS)


@EVERY
@pytest.mark.parametrize("table", ["none", "basic"])
def test_a_zero_length_item_at_the_end(name: str, table: str, tmp_path: Path, command: Command) -> None:
    frames = [*[[stream] for stream in CODED[name]]]
    offsets = basic(starts(frames)) if table == "basic" else b""
    (tmp_path / "in.dcm").write_bytes(with_items([*CODED[name], b""], offsets, name))
    ran = command(tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "explicit")
    if ran.status == 0:
        assert np.array_equal(oracle.native((tmp_path / "out.dcm").read_bytes()), PIXELS)
    else:
        # One frame has one fragment there: then it cannot be told whose the empty one is.
        assert name in ONE
        assert (ran.status, "Number of Frames is 3, but Pixel Data has 4 fragments" in ran.line) == (3, True)


def with_items(fragments: Sequence[bytes], table: bytes, name: str) -> bytes:
    return dicom.Image(
        fragments, rows=ROWS, columns=COLUMNS, allocated=8, stored=8, frames=COUNT, syntax=CODECS[name][0], table=table
    ).encode()


# --- what is wrong, and where ------------------------------------------------------------------------------------


def refused(data: bytes, tmp_path: Path, fails: Fails, target: str = "explicit") -> str:
    """Return the error of a conversion that must fail as bad input."""
    (tmp_path / "in.dcm").write_bytes(data)
    return fails(3, tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", target)


CUTS = ("a byte", "half of it", "all but its header", "some of its header", "all of it")


@EVERY
@pytest.mark.parametrize("cut", CUTS)
def test_a_file_that_ends_inside_its_last_frame(name: str, cut: str, tmp_path: Path, fails: Fails) -> None:
    data = encoded(name, [[stream] for stream in CODED[name]], table="basic")
    last = len(even(CODED[name][-1]))
    left = {"a byte": last + 7, "half of it": last // 2, "all but its header": 8, "some of its header": 3}.get(cut, 0)
    line = refused(data[: len(data) - 16 - last + left], tmp_path, fails)
    assert "frame 3" in line
    assert "the file is truncated" in line


@EVERY
def test_the_frame_that_is_cut_is_named_wherever_it_is(name: str, tmp_path: Path, fails: Fails) -> None:
    whole = encoded(name, [[stream] for stream in CODED[name]])
    for number in range(COUNT):
        behind = sum(8 + len(even(stream)) for stream in CODED[name][number:]) + 8
        assert f"frame {number + 1}" in refused(whole[: len(whole) - behind + 20], tmp_path, fails)


@EVERY_MANY
def test_the_frame_that_is_cut_is_named_where_frames_have_several_fragments(
    name: str, tmp_path: Path, fails: Fails
) -> None:
    frames = [split(stream, 4) for stream in CODED[name]]
    data = encoded(name, frames, table="basic")
    behind = 8
    for number in reversed(range(COUNT)):
        line = refused(data[: -behind - 2], tmp_path, fails)
        assert f"frame {number + 1} of 3 by the " in line
        assert f"fragment {4 * number + 4} of Pixel Data" in line
        behind += sum(8 + len(even(part)) for part in frames[number])


@EVERY
@pytest.mark.parametrize("table", ["none", "basic"])
@pytest.mark.parametrize("size", [0, 8, 200])
def test_a_missing_sequence_delimitation_item_at_the_end(
    name: str, size: int, table: str, tmp_path: Path, command: Command
) -> None:
    data = encoded(name, [[stream] for stream in CODED[name]], table=table)[:-8] + bytes(size)
    pixels, said = converted(data, tmp_path, command)
    assert np.array_equal(pixels, PIXELS)
    assert "the Sequence Delimitation Item of Pixel Data is missing at the end of the file" in said
    dicom.walk((tmp_path / "out.dcm").read_bytes())


@EVERY
def test_a_missing_sequence_delimitation_item_before_other_elements(name: str, tmp_path: Path, fails: Fails) -> None:
    whole = encoded(name, [[stream] for stream in CODED[name]])
    line = refused(whole[:-8] + dicom.element(0x7FE10010, "LO", "BEHIND"), tmp_path, fails)
    assert "Sequence Delimitation Item" in line
    assert "frame 4" not in line
    assert "fragment 4" not in line


@EVERY
@pytest.mark.parametrize("target", ["explicit", "the same"])
@pytest.mark.parametrize("table", ["none", "basic"])
def test_a_last_frame_that_lacks_fragments_is_not_taken_for_whole(
    name: str, table: str, target: str, tmp_path: Path, command: Command
) -> None:
    frames = [split(stream, 4) for stream in CODED[name]]
    data = encoded(name, frames, table=table)[: -8 - len(even(frames[-1][-1])) - 8]
    (tmp_path / "in.dcm").write_bytes(data)
    to = CODECS[name][0] if target == "the same" else target
    ran = command(tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", to, "--force")
    assert ran.status in (3, 6), ran
    assert os.listdir(tmp_path) == ["in.dcm"]


@EVERY
@pytest.mark.parametrize(("number", "target"), [(0, "explicit"), (1, "deflated"), (2, "deflated-frames")])
def test_a_codestream_that_ends_too_soon_names_its_frame(
    name: str, number: int, target: str, tmp_path: Path, command: Command
) -> None:
    frames = [[stream] for stream in CODED[name]]
    frames[number] = [frames[number][0][: len(frames[number][0]) // 2 // 2 * 2]]
    (tmp_path / "in.dcm").write_bytes(encoded(name, frames))
    ran = command(tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", target, "--force")
    assert ran.status in (3, 6), ran
    assert f"frame {number + 1}: " in ran.line
    assert os.listdir(tmp_path) == ["in.dcm"]


@EVERY
def test_an_empty_fragment_in_the_place_of_a_frame_names_it(name: str, tmp_path: Path, command: Command) -> None:
    frames = [[stream] for stream in CODED[name]]
    frames[1] = [b""]
    (tmp_path / "in.dcm").write_bytes(encoded(name, frames, table="basic"))
    ran = command(tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "explicit")
    assert ran.status in (3, 6), ran
    assert re.search(r"frame 2\b", ran.line)
    assert os.listdir(tmp_path) == ["in.dcm"]


@EVERY
@pytest.mark.parametrize("count", [1, 2, 4, 30])
def test_frames_that_are_not_as_many_as_said(name: str, count: int, tmp_path: Path, fails: Fails) -> None:
    line = refused(encoded(name, [[stream] for stream in CODED[name]], count=count), tmp_path, fails)
    assert re.search(rf"Number of Frames (\(0028,0008\) )?is {count}, ", line)
    assert re.search(r"3 (fragments|codestreams)", line)


@EVERY_ONE
def test_fragments_that_a_syntax_forbids(name: str, tmp_path: Path, fails: Fails) -> None:
    line = refused(encoded(name, [split(stream, 2) for stream in CODED[name]]), tmp_path, fails)
    assert "Number of Frames is 3, but Pixel Data has 6 fragments that cannot be mapped" in line


@EVERY_ONE
@pytest.mark.parametrize("parts", [(2, 2, 2), (1, 4, 2), (9, 1, 30)], ids=str)
@pytest.mark.parametrize("table", ["basic", "extended"])
def test_fragments_that_a_syntax_forbids_are_joined_by_a_table_that_fits(
    name: str, parts: tuple[int, ...], table: str, tmp_path: Path, command: Command
) -> None:
    frames = [split(stream, count) for stream, count in zip(CODED[name], parts, strict=True)]
    pixels, said = converted(encoded(name, frames, table=table), tmp_path, command)
    assert np.array_equal(pixels, PIXELS)
    assert f"3 frames are split over {sum(parts)} fragments, which the syntax forbids; joined" in said


@EVERY_ONE
def test_one_frame_in_fragments_that_a_syntax_forbids_is_joined_by_a_table(
    name: str, tmp_path: Path, command: Command
) -> None:
    pixels, said = converted(encoded(name, [split(CODED[name][0], 4)], table="basic", count=1), tmp_path, command)
    assert np.array_equal(pixels, PIXELS[:1])
    assert "the frame is split over 4 fragments, which the syntax forbids; joined" in said


@EVERY_ONE
def test_two_frames_are_never_joined_to_one_whatever_a_table_says(name: str, tmp_path: Path, command: Command) -> None:
    offsets = basic([0, 8 + len(even(CODED[name][0]))])
    for count, table in ((1, basic([0])), (2, offsets)):
        image = dicom.Image(
            CODED[name], rows=ROWS, columns=COLUMNS, allocated=8, stored=8, frames=count, syntax=CODECS[name][0],
            table=table,
        )  # fmt: skip
        (tmp_path / "in.dcm").write_bytes(image.encode())
        ran = command(tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "explicit")
        assert ran.status == 3, ran
        assert "Number of Frames" in ran.line


# --- any arrangement ---------------------------------------------------------------------------------------------


@st.composite
def arranged(draw: st.DrawFn) -> tuple[str, list[list[bytes]], str]:
    """Return a syntax, its frames in fragments, some of them empty or with a pad behind them, and a kind of table."""
    name = draw(st.sampled_from(list(CODECS)))
    frames = []
    for stream in CODED[name]:
        parts = split(stream, draw(st.integers(1, 6 if name in MANY else 1)))
        if name in MANY:
            for _ in range(draw(st.integers(0, 2))):
                parts.insert(draw(st.integers(1, len(parts))), b"")
        pad = draw(st.sampled_from([0, 0, 2, 40]))
        parts[-1] = even(parts[-1]) + bytes(pad) if pad and parts[-1] else parts[-1]
        frames.append(parts)
    return name, frames, draw(st.sampled_from(["none", "basic", "extended", "wrong"]))


@settings(derandomize=True, deadline=None, database=None, max_examples=120)
@given(arranged())
def test_the_pixels_are_right_however_they_are_arranged(
    tmp_path_factory: pytest.TempPathFactory, arrangement: tuple[str, list[list[bytes]], str]
) -> None:
    name, frames, table = arrangement
    offsets = [offset + 2 * bool(offset) for offset in starts(frames)]
    data = encoded(name, frames, table="none" if table == "wrong" else table)
    if table == "wrong":
        data = with_items([part for frame in frames for part in frame], basic(offsets), name)
    directory = tmp_path_factory.mktemp("any")
    (directory / "in.dcm").write_bytes(data)
    transcode(directory / "in.dcm", directory / "out.dcm", to="explicit", workers=1)
    assert np.array_equal(oracle.native((directory / "out.dcm").read_bytes()), PIXELS)


@settings(derandomize=True, deadline=None, database=None, max_examples=120)
@given(st.sampled_from(list(CODECS)), st.floats(0, 1, exclude_max=True), st.sampled_from(["none", "basic"]))
def test_a_file_that_is_cut_anywhere_in_its_pixels_is_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, share: float, table: str
) -> None:
    # Where all that is missing is the Sequence Delimitation Item, it is read.
    data = encoded(name, [[stream] for stream in CODED[name]], table=table)[:-8]
    start = data.index(dicom.header(dicom.PIXEL_DATA, "OB", dicom.UNDEFINED)) + 12
    directory = tmp_path_factory.mktemp("cut")
    (directory / "in.dcm").write_bytes(data[: start + int((len(data) - start) * share)])
    with pytest.raises(InputError) as caught:
        transcode(directory / "in.dcm", directory / "out.dcm", to="explicit", workers=1)
    assert caught.value.code == "E_TRUNCATED"
    assert os.listdir(directory) == ["in.dcm"]
