"""Reading: which syntax a file really has, where its frames are, and what each frame's bytes are."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import numpy as np
import oracle
import pytest
from conftest import Ran, contents, old_file
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from dcmtx.dataset.edit import Span
from dcmtx.errors import InputError
from dcmtx.place.bytes import FileBytes, open_bytes
from dcmtx.transcoding.source import Opened, open_source

Command = Callable[..., Ran]
Fails = Callable[..., str]
Opens = Callable[..., Opened]

PIXELS = (np.arange(20 * 30, dtype="<u2") * 2503 % 4096).reshape(20, 30)


def image(**attributes: object) -> dicom.Image:
    fields = {"rows": 20, "columns": 30, "stored": 12} | attributes
    return dicom.Image(fields.pop("pixels", PIXELS.tobytes()), **fields)


def body(data: bytes) -> bytes:
    return dicom.walk(data).dataset


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opens]:
    """Open bytes as a data set and its frames; raise what is wrong with these."""
    files: list[FileBytes] = []
    sources: list[Opened] = []

    def run(data: bytes) -> Opened:
        path = tmp_path / f"in{len(files)}.dcm"
        path.write_bytes(data)
        file = open_bytes(str(path))
        files.append(file)
        source = open_source(file, str(tmp_path))
        sources.append(source)
        source.frames.check()
        return source

    yield run
    for source in sources:
        source.close()
    for file in files:
        file.close()


def notes_of(source: Opened) -> list[str]:
    return [note.text for note in (*source.dataset.notes, *source.frames.notes)]


# --- bytes of files --------------------------------------------------------------------------------------------


@settings(derandomize=True, deadline=None, max_examples=200)
@given(offset=st.integers(0, 140_000), length=st.integers(0, 140_000))
def test_bytes_at_offsets_are_those_of_the_file_on_both_sides_of_what_is_kept_in_memory(
    offset: int, length: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes"
    data = np.random.default_rng(4).bytes(131_073)
    if not path.exists():
        path.write_bytes(data)
    file = open_bytes(str(path))
    try:
        assert file.pread(length, offset) == data[offset : offset + length]
    finally:
        file.close()


def test_closing_twice_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x")
    file = open_bytes(str(tmp_path / "in"))
    file.close()
    file.close()


def test_a_stream_is_read_to_its_end_and_leaves_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    data = np.random.default_rng(5).bytes(3_000_001)
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[data], daemon=True)
    writer.start()
    file = open_bytes(str(tmp_path / "pipe"), str(tmp_path))
    try:
        writer.join(30)
        assert file.size == len(data)
        assert file.pread(len(data) + 10, 0) == data
        assert file.pread(100, 2_999_950) == data[2_999_950:]
        assert os.listdir(tmp_path) == ["pipe"]
    finally:
        file.close()


def test_a_span_of_a_file_that_became_shorter_is_an_error(opened: Opens, tmp_path: Path) -> None:
    source = opened(image(pixels=bytes(200_000), rows=200, columns=500).encode())
    os.truncate(tmp_path / "in0.dcm", 100_000)
    with pytest.raises(InputError, match="shorter"):
        list(source.dataset.pieces(Span(50_000, 150_000)))


# Bytes of a file whose pixels are wrong, and what their fault says.
FAULTS = {
    "too few bytes": (image(pixels=PIXELS.tobytes()[:-40]).encode(), "need 1200"),
    "more Bits Stored than Allocated": (image(stored=17).encode(), "Bits Stored is 17"),
    "fragments that fit no frames": (
        dicom.Image([b"ab", b"cd", b"ef"], 20, 30, syntax=dicom.RLE, frames=2).encode(), "cannot be mapped"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "wanted"), FAULTS.values(), ids=list(FAULTS))
def test_what_is_wrong_with_pixels_is_told_by_who_needs_them(data: bytes, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "in.dcm").write_bytes(data)
    file = open_bytes(str(tmp_path / "in.dcm"))
    try:
        dataset, frames = (opened := open_source(file)).dataset, opened.frames
        assert dataset.header.number(0x00280010) == 20
        with pytest.raises(InputError, match=wanted):
            frames.check()
        with pytest.raises(AttributeError, match="frozen"):
            frames.fault = None
    finally:
        file.close()


# --- native frames ---------------------------------------------------------------------------------------------


@settings(derandomize=True, deadline=None, max_examples=80)
@given(
    rows=st.integers(1, 9), columns=st.integers(1, 19), frames=st.integers(1, 7), seed=st.integers(0, 1000),
    vr=st.sampled_from(["OB", "OW"]),
)  # fmt: skip
def test_frames_of_one_bit_pixels_run_on_within_bytes(
    rows: int, columns: int, frames: int, seed: int, vr: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, (frames, rows * columns), dtype=np.uint8)
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    path = tmp_path_factory.getbasetemp() / "bits.dcm"
    path.write_bytes(
        dicom.Image(
            packed, rows=rows, columns=columns, allocated=1, stored=1, frames=frames, pixel_vr=vr
        ).encode()
    )  # fmt: skip
    file = open_bytes(str(path))
    try:
        source = open_source(file)
        for number in range(frames):
            frame = np.frombuffer(source.frames.frame(number), np.uint8)
            assert len(frame) >= -(-rows * columns // 8)
            assert np.array_equal(np.unpackbits(frame, bitorder="little")[: rows * columns], bits[number])
    finally:
        file.close()


def swapped_words(data: bytes) -> bytes:
    """The bytes as 16-bit words of the other byte order."""
    return np.frombuffer(data + b"\0" * (len(data) % 2), "<u2").byteswap().tobytes()


NATIVE: dict[str, tuple[int, str, str]] = {
    "8 bits in words, little endian": (8, "OW", dicom.EXPLICIT),
    "8 bits in bytes, little endian": (8, "OB", dicom.EXPLICIT),
    "8 bits in words, big endian": (8, "OW", dicom.BIG_ENDIAN),
    "8 bits in bytes, big endian": (8, "OB", dicom.BIG_ENDIAN),
    "16 bits in words, little endian": (16, "OW", dicom.EXPLICIT),
    "16 bits in words, big endian": (16, "OW", dicom.BIG_ENDIAN),
    "16 bits, Implicit VR": (16, "OW", dicom.IMPLICIT),
    "16 bits, deflated": (16, "OW", dicom.DEFLATED),
    "32 bits in words, big endian": (32, "OW", dicom.BIG_ENDIAN),
}


@pytest.mark.parametrize(("allocated", "vr", "syntax"), NATIVE.values(), ids=NATIVE.keys())
@pytest.mark.parametrize("shape", [(3, 3, 3), (3, 5, 4), (2, 1, 1), (1, 7, 9)], ids=str)
def test_native_frames_come_in_little_endian(
    shape: tuple[int, int, int], allocated: int, vr: str, syntax: str, opened: Opens
) -> None:
    frames, rows, columns = shape
    size = rows * columns * allocated // 8
    value = np.random.default_rng(7).bytes(size * frames)
    # The writer swaps OW of big endian as PS3.5 7.3 has it: words of 16 bits, whatever Bits Allocated is.
    source = opened(
        dicom.Image(
            value, rows=rows, columns=columns, allocated=allocated, stored=allocated, frames=frames, pixel_vr=vr,
            syntax=syntax,
        ).encode()
    )  # fmt: skip
    assert [source.frames.frame(number) for number in range(frames)] == [
        value[number * size : (number + 1) * size] for number in range(frames)
    ]


def test_the_writer_of_these_tests_swaps_as_the_standard_says() -> None:
    big = dicom.element(dicom.PIXEL_DATA, "OW", b"\x01\x02\x03\x04\x05", dicom.BIG_ENDIAN)
    assert big[-6:] in (b"\x02\x01\x04\x03\x00\x05", b"\x02\x01\x04\x03\x20\x05")
    assert swapped_words(b"\x01\x02\x03\x04") == b"\x02\x01\x04\x03"
    assert dicom.element(dicom.PIXEL_DATA, "OB", b"\x01\x02", dicom.BIG_ENDIAN)[-2:] == b"\x01\x02"


@pytest.mark.parametrize("vr", ["OB", "OW"])
@pytest.mark.parametrize("target", ["explicit", "implicit", "rle", "big-endian", "deflated"])
def test_odd_frames_of_bytes_in_big_endian_keep_their_pixels(
    target: str, vr: str, tmp_path: Path, command: Command
) -> None:
    value = np.random.default_rng(8).integers(0, 256, (3, 3, 5), dtype=np.uint8)
    src, dst = tmp_path / "in.dcm", tmp_path / "out.dcm"
    src.write_bytes(
        dicom.Image(
            value.tobytes(), rows=3, columns=5, allocated=8, stored=8, frames=3, pixel_vr=vr, syntax=dicom.BIG_ENDIAN
        ).encode()
    )
    assert command(src, dst, "--to", target).status == 0
    data = dst.read_bytes()
    frames = oracle.decoded(data, "imagecodecs") if target == "rle" else oracle.native(data)
    assert np.array_equal(frames, value)


def test_padding_behind_the_last_frame_is_dropped_with_a_note(opened: Opens) -> None:
    source = opened(image(pixels=PIXELS.tobytes() + bytes(100)).encode())
    assert source.frames.frame(0) == PIXELS.tobytes()
    assert any("100 bytes of padding" in note for note in notes_of(source))


def test_the_pad_byte_is_no_padding_to_speak_of(opened: Opens) -> None:
    source = opened(dicom.Image(bytes(15), rows=3, columns=5, allocated=8, stored=8).encode())
    assert notes_of(source) == []


# A spool that is given up is not closed; one test below is about that.
leaks = pytest.mark.filterwarnings("ignore::ResourceWarning")

# --- deflated --------------------------------------------------------------------------------------------------

RAW = image(syntax=dicom.DEFLATED).encode()
DATASET = body(RAW)
DEFLATED_AT = len(dicom.file([], dicom.DEFLATED)) - len(b"\x03\x00")
HEAD = RAW[:DEFLATED_AT]


def deflated(data: bytes, *, wbits: int = -15, level: int = 6) -> bytes:
    deflater = zlib.compressobj(level, zlib.DEFLATED, wbits)
    return deflater.compress(data) + deflater.flush()


def stored_block(data: bytes, first: int, *, last: bool = False) -> bytes:
    """A block of RFC 1951 that is stored; its first byte has padding bits, which may be anything."""
    assert first & 6 == 0
    return bytes([first | last]) + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data


def like_zlib() -> bytes:
    """A raw stream whose first two bytes are those of zlib (78 9C): a stored block of 0x9C bytes comes first."""
    return stored_block(DATASET[:0x9C], 0x78) + deflated(DATASET[0x9C:])


STREAMS: dict[str, bytes] = {
    "raw": deflated(DATASET),
    "raw, not compressed": deflated(DATASET, level=0),
    "raw, best": deflated(DATASET, level=9),
    "raw, with a zero behind": deflated(DATASET) + b"\0",
    "raw, with much behind": deflated(DATASET) + bytes(500),
    "raw, of several blocks": stored_block(DATASET[:100], 0) + stored_block(DATASET[100:], 0, last=True),
    "raw, but beginning like zlib": like_zlib(),
    "wrapped by zlib": deflated(DATASET, wbits=15),
    "wrapped by zlib, with a small window": deflated(DATASET, wbits=9),
}


@leaks
@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
def test_a_deflated_data_set_is_inflated(stream: bytes, opened: Opens, tmp_path: Path) -> None:
    source = opened(HEAD + stream)
    assert source.frames.frame(0) == PIXELS.tobytes()
    assert source.dataset.reader.pread(len(DATASET) + 1, 0) == DATASET
    wrapped = any("zlib" in note for note in notes_of(source))
    assert wrapped == (stream in (STREAMS["wrapped by zlib"], STREAMS["wrapped by zlib, with a small window"]))
    assert os.listdir(tmp_path) == ["in0.dcm"]


def test_a_stream_that_begins_like_zlib_does() -> None:
    assert like_zlib()[:2] == deflated(DATASET, wbits=15)[:2] == b"\x78\x9c"
    assert zlib.decompress(like_zlib(), -15) == DATASET


DAMAGED_STREAMS: dict[str, bytes] = {
    "nothing": b"",
    "one byte": deflated(DATASET)[:1],
    "half of it": deflated(DATASET)[: len(deflated(DATASET)) // 2],
    "all but the last byte": deflated(DATASET)[:-1],
    "half of it, wrapped by zlib": deflated(DATASET, wbits=15)[: len(deflated(DATASET)) // 2],
    "all but the checksum, wrapped by zlib": deflated(DATASET, wbits=15)[:-4],
    "a wrong checksum, wrapped by zlib": deflated(DATASET, wbits=15)[:-1] + b"\xaa",
    "a block of a kind that does not exist": b"\x07" + deflated(DATASET),
    "a stored block of a length that its complement denies": b"\x01\x10\x00\x10\x00" + DATASET,
    "not deflated at all": DATASET,
    "gzipped": deflated(DATASET, wbits=31),
    "the deflated half of a data set": deflated(DATASET[: len(DATASET) // 2]),
}


@leaks
@pytest.mark.parametrize("stream", DAMAGED_STREAMS.values(), ids=DAMAGED_STREAMS.keys())
def test_a_damaged_deflated_data_set_is_bad_input(stream: bytes, tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "in.dcm").write_bytes(HEAD + stream)
    old_file(tmp_path / "out.dcm")
    fails(3, tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "explicit")


@pytest.mark.parametrize("stream", [b"\x07abc", deflated(DATASET)[:50]], ids=["damaged", "truncated"])
def test_a_damaged_deflated_data_set_leaves_no_file_open(stream: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.dcm").write_bytes(HEAD + stream)
    line = [sys.executable, "-X", "dev", "-W", "error", "-m", "dcmtx", "in.dcm", "out.dcm", "--to", "explicit"]
    ran = subprocess.run(line, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 3
    assert re.fullmatch(rb"dcmtx: in.dcm: [^\n]+\n", ran.stderr)


# --- fragments -------------------------------------------------------------------------------------------------

FRAMES = np.random.default_rng(6).integers(0, 256, (3, 20, 30), dtype=np.uint8)
CODED = [bytes(imagecodecs.jpegls_encode(frame)) for frame in FRAMES]
OFFSETS, OFFSET_LENGTHS = 0x7FE00001, 0x7FE00002


def split(stream: bytes, count: int) -> list[bytes]:
    """Split a codestream into fragments of even length, but for the last."""
    step = len(stream) // count // 2 * 2
    cuts = [step * number for number in range(count)]
    return [stream[start:end] for start, end in zip(cuts, [*cuts[1:], None], strict=True)]


def starts(fragments: Sequence[Sequence[bytes]]) -> list[int]:
    """Where the first item of each frame is, counted from the first item of all."""
    sizes = [sum(8 + len(part) + len(part) % 2 for part in frame) for frame in fragments]
    return np.cumsum([0, *sizes])[:-1].tolist()


def basic(offsets: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(offsets)}I", *offsets)


def extended(offsets: Sequence[int], lengths: Sequence[int]) -> dict[int, bytes]:
    return {
        OFFSETS: dicom.element(OFFSETS, "OV", struct.pack(f"<{len(offsets)}Q", *offsets)),
        OFFSET_LENGTHS: dicom.element(OFFSET_LENGTHS, "OV", struct.pack(f"<{len(lengths)}Q", *lengths)),
    }


def encapsulated(
    fragments: Sequence[Sequence[bytes]],
    table: bytes = b"",
    before: dict[int, bytes] | None = None,
    frames: int | None = 3,
    syntax: str = dicom.JPEGLS,
) -> bytes:
    return dicom.Image(
        [part for frame in fragments for part in frame], rows=20, columns=30, allocated=8, stored=8, frames=frames,
        syntax=syntax, table=table, before=before or {},
    ).encode()  # fmt: skip


ONE_EACH = [[stream] for stream in CODED]
SOME_EACH = [split(CODED[0], 1), split(CODED[1], 4), split(CODED[2], 2)]
MANY_EACH = [split(stream, 7) for stream in CODED]
AT = starts(ONE_EACH)
LENGTHS = [len(stream) for stream in CODED]
PADDED = [length + length % 2 for length in LENGTHS]
NOTED = "rebuilt from the items"
ARRANGED: dict[str, tuple[bytes, str]] = {
    "one fragment per frame, no table": (encapsulated(ONE_EACH), ""),
    "one fragment per frame, a table": (encapsulated(ONE_EACH, basic(AT)), ""),
    "some fragments per frame, no table": (encapsulated(SOME_EACH), ""),
    "some fragments per frame, a table": (encapsulated(SOME_EACH, basic(starts(SOME_EACH))), ""),
    "many fragments per frame, no table": (encapsulated(MANY_EACH), ""),
    "many fragments per frame, a table": (encapsulated(MANY_EACH, basic(starts(MANY_EACH))), ""),
    "one frame in many fragments, without Number of Frames": (encapsulated(MANY_EACH[:1], frames=None), ""),
    "a table of zeros": (encapsulated(ONE_EACH, basic([0, 0, 0])), NOTED),
    "a table from another origin": (encapsulated(ONE_EACH, basic([at + 8 for at in AT])), NOTED),
    "a table of offsets of values": (encapsulated(SOME_EACH, basic([at + 8 for at in starts(SOME_EACH)])), NOTED),
    "a table of offsets between the items": (
        encapsulated(SOME_EACH, basic([0, *[at - 2 for at in starts(SOME_EACH)[1:]]])), NOTED,
    ),
    "a table with an entry too few": (encapsulated(ONE_EACH, basic(AT[:2])), NOTED),
    "a table with an entry too many": (encapsulated(SOME_EACH, basic([*starts(SOME_EACH), 9])), NOTED),
    "a table with an entry per fragment": (
        encapsulated(SOME_EACH, basic(starts([[part] for frame in SOME_EACH for part in frame]))), NOTED,
    ),
    "a table in disorder": (encapsulated(ONE_EACH, basic([AT[0], AT[2], AT[1]])), NOTED),
    "a table beyond the end": (encapsulated(ONE_EACH, basic([0, 0xFFFFFFF0, 0xFFFFFFFE])), NOTED),
    "a table of three bytes": (encapsulated(ONE_EACH, b"\0\0\0\0\1\0"), NOTED),
    "an extended table": (encapsulated(ONE_EACH, before=extended(AT, PADDED)), ""),
    "an extended table of lengths without padding": (encapsulated(ONE_EACH, before=extended(AT, LENGTHS)), ""),
    "an extended table that does not fit": (encapsulated(ONE_EACH, before=extended([0, 1, 2], PADDED)), NOTED),
    "an extended table with wrong lengths": (encapsulated(ONE_EACH, before=extended(AT, [1, 2, 3])), NOTED),
    "an extended table too short": (encapsulated(ONE_EACH, before=extended(AT[:2], PADDED[:2])), NOTED),
    "an extended table without lengths": (
        encapsulated(ONE_EACH, before={OFFSETS: extended(AT, PADDED)[OFFSETS]}), "",
    ),
    "both tables, the extended one wrong": (
        encapsulated(SOME_EACH, basic(starts(SOME_EACH)), extended(AT, PADDED)), NOTED,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "note"), ARRANGED.values(), ids=ARRANGED.keys())
def test_frames_are_found_in_their_fragments(data: bytes, note: str, opened: Opens) -> None:
    source = opened(data)
    count = len(source.frames)
    assert [source.frames.frame(number).rstrip(b"\0") for number in range(count)] == [
        stream.rstrip(b"\0") for stream in CODED[:count]
    ]
    assert any(note in one for one in notes_of(source)) if note else notes_of(source) == []


@pytest.mark.parametrize(("data", "note"), ARRANGED.values(), ids=ARRANGED.keys())
def test_pixels_are_those_of_the_frames_however_they_are_split(
    data: bytes, note: str, tmp_path: Path, command: Command
) -> None:
    src, dst = tmp_path / "in.dcm", tmp_path / "out.dcm"
    src.write_bytes(data)
    ran = command(src, dst, "--to", "explicit")
    assert (ran.status, ran.out) == (0, "")
    assert bool(note) == bool(ran.err)
    decoded = oracle.native(dst.read_bytes())
    assert np.array_equal(decoded, FRAMES[: len(decoded)])
    assert len(decoded) in (1, 3)


RLE_STREAM = struct.pack("<16I", 1, 64, *[0] * 14) + b"".join(
    bytes([29]) + row.tobytes() for row in FRAMES[0]
)  # fmt: skip
NOT_MAPPED: dict[str, bytes] = {
    "a fragment too few": encapsulated(ONE_EACH[:2]),
    "a whole codestream too many": encapsulated([*ONE_EACH, [CODED[0]]]),
    "a whole codestream too many, and a table of three": encapsulated([*ONE_EACH, [CODED[0]]], basic([0, 1, 2])),
    "no codestream begins in any fragment": encapsulated([[stream[6:20], stream[20:40]] for stream in CODED]),
    "RLE in two fragments per frame": encapsulated([split(RLE_STREAM, 2)] * 3, syntax=dicom.RLE),
    "RLE in two fragments per frame, with a table that does not fit": encapsulated(
        [split(RLE_STREAM, 2)] * 3, basic([0, 10, 20]), syntax=dicom.RLE
    ),
}


@pytest.mark.parametrize("data", NOT_MAPPED.values(), ids=NOT_MAPPED.keys())
def test_fragments_that_cannot_be_mapped_are_refused(data: bytes, tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "in.dcm").write_bytes(data)
    assert "Number of Frames" in fails(3, tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "explicit")


def test_one_frame_of_rle_in_two_fragments_is_joined_with_a_note(tmp_path: Path, command: Command) -> None:
    src, dst = tmp_path / "in.dcm", tmp_path / "out.dcm"
    src.write_bytes(encapsulated([split(RLE_STREAM, 2)], frames=1, syntax=dicom.RLE))
    ran = command(src, dst, "--to", "explicit")
    assert ran.status == 0
    assert "joined" in ran.line
    assert np.array_equal(oracle.native(dst.read_bytes()), FRAMES[:1])


# --- what a file really is -------------------------------------------------------------------------------------

SYNTAXES = {"Explicit VR": dicom.EXPLICIT, "Implicit VR": dicom.IMPLICIT, "Big Endian": dicom.BIG_ENDIAN}
NAMES = {
    dicom.EXPLICIT: "Explicit VR Little Endian",
    dicom.IMPLICIT: "Implicit VR Little Endian",
    dicom.BIG_ENDIAN: "Explicit VR Big Endian",
}
TARGETS = {
    "explicit": dicom.EXPLICIT,
    "implicit": dicom.IMPLICIT,
    "big-endian": dicom.BIG_ENDIAN,
    "jpegls": dicom.JPEGLS,
}


def assert_pixels(path: Path, syntax: str) -> None:
    data = path.read_bytes()
    walked = dicom.walk(data)
    assert walked.syntax == syntax
    assert walked.elements[0x00100010].text == "Test^Image"
    frames = oracle.native(data) if syntax in oracle.NATIVE else oracle.decoded(data, "pyjpegls")
    assert np.array_equal(frames, [PIXELS])


@pytest.mark.parametrize("says", SYNTAXES.values(), ids=[f"{name} in group 0002" for name in SYNTAXES])
@pytest.mark.parametrize("really", SYNTAXES.values(), ids=[f"{name} in the data set" for name in SYNTAXES])
@pytest.mark.parametrize("target", TARGETS)
def test_a_data_set_is_read_as_it_is_encoded(
    target: str, really: str, says: str, tmp_path: Path, command: Command
) -> None:
    src, dst = tmp_path / "in.dcm", tmp_path / "out.dcm"
    src.write_bytes(dicom.file([body(image(syntax=really).encode())], says))
    ran = command(src, dst, "--to", target)
    assert (ran.status, ran.out) == (0, "")
    if TARGETS[target] == says:
        assert dst.read_bytes() == src.read_bytes()
        return
    assert_pixels(dst, TARGETS[target])
    odd = f"note: the data set is {NAMES[really]}, but its transfer syntax is {NAMES[says]}; read as it is"
    assert (odd in ran.err) == (really != says)
    assert all(line.startswith("dcmtx: ") for line in ran.err.splitlines())


def test_compressed_pixels_in_an_implicit_vr_data_set_are_read_with_a_note(tmp_path: Path, command: Command) -> None:
    src, dst = tmp_path / "in.dcm", tmp_path / "out.dcm"
    walked = dicom.walk(encapsulated(ONE_EACH))
    elements = [
        dicom.element(tag, one.vr, one.value, dicom.IMPLICIT)
        for tag, one in walked.elements.items()
        if tag != dicom.PIXEL_DATA
    ]
    pixels = dicom.header(dicom.PIXEL_DATA, "OB", dicom.UNDEFINED, dicom.IMPLICIT)
    fragments = dicom.encapsulated(CODED)[12:]
    src.write_bytes(dicom.file([*elements, pixels + fragments], dicom.JPEGLS))
    ran = command(src, dst, "--to", "explicit")
    assert ran.status == 0
    assert "note: the data set is Implicit VR Little Endian" in ran.line
    assert np.array_equal(oracle.native(dst.read_bytes()), FRAMES)


WITHOUT: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no preamble and no prefix": (lambda data: data[132:], "has no preamble"),
    "neither preamble nor group 0002": (body, "names no transfer syntax"),
    "group 0002 without a transfer syntax": (
        lambda data: bytes(128) + b"DICM" + dicom.element(0x00020002, "UI", "1.2.3") + body(data),
        "names no transfer syntax",
    ),
    "a wrong group length": (lambda data: data[:140] + b"\1\0\0\0" + data[144:], "Group Length"),
    "a group length beyond the file": (lambda data: data[:140] + b"\xff\xff\xff\x7f" + data[144:], "Group Length"),
    "no group length": (lambda data: data[:132] + data[144:], ""),
}


@pytest.mark.parametrize(("change", "note"), WITHOUT.values(), ids=WITHOUT.keys())
@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES.keys())
@pytest.mark.parametrize("target", ["jpegls", "deflated"])
def test_what_is_missing_in_front_of_the_data_set_is_noted(
    target: str, syntax: str, change: Callable[[bytes], bytes], note: str, tmp_path: Path, command: Command
) -> None:
    src, dst = tmp_path / "in.dcm", tmp_path / "out.dcm"
    src.write_bytes(change(image(syntax=syntax).encode()))
    ran = command(src, dst, "--to", target)
    assert ran.status == 0
    if note:
        assert re.fullmatch(rf"dcmtx: .*: note: .*{note}.*", ran.line)
        assert NAMES[syntax] in ran.line or note != "names no transfer syntax"
    else:
        assert ran.err == ""
    assert_pixels(dst, dicom.JPEGLS if target == "jpegls" else dicom.DEFLATED)


@pytest.mark.parametrize(
    ("name", "syntax"),
    [("ExplVR_BigEndNoMeta.dcm", dicom.BIG_ENDIAN), ("ExplVR_LitEndNoMeta.dcm", dicom.EXPLICIT)],
)
def test_files_without_file_meta_information_that_pydicom_brings(
    name: str, syntax: str, tmp_path: Path, command: Command
) -> None:
    path = Path(str(get_testdata_file(name, download=False)))
    before = contents(path.parent)[name]
    ran = command(path, tmp_path / "out.dcm", "--to", "implicit")
    assert ran.status == 0
    assert NAMES[syntax] in ran.line
    given = dicom.walk(dicom.file([path.read_bytes()], syntax)).elements
    written = dicom.walk((tmp_path / "out.dcm").read_bytes()).elements
    assert {tag: one.value for tag, one in written.items()} == {tag: one.value for tag, one in given.items()}
    assert contents(path.parent)[name] == before


# --- attributes that are illegal or absent, where the bytes leave no doubt --------------------------------------

FRAMES_SAID = {
    "0": True, "1.0": True, "1\\1": True, "1.": True, "+1.00": True, "01\\1\\1": True, "00": True,
    "2.0": False, "0.0": False, "1\\2": False, "one": False, "-1": False, "1e0": False,
}  # fmt: skip
ONE_FRAME: dict[str, tuple[str, bytes | list[bytes]]] = {
    "native": (dicom.EXPLICIT, FRAMES[:1].tobytes()),
    "native, implicit": (dicom.IMPLICIT, FRAMES[:1].tobytes()),
    "native, big endian": (dicom.BIG_ENDIAN, FRAMES[:1].tobytes()),
    "a fragment": (dicom.JPEGLS, [CODED[0]]),
    "a codestream in two fragments": (dicom.JPEGLS, split(CODED[0], 2)),
}
TWO_FRAMES: dict[str, tuple[str, bytes | list[bytes]]] = {
    "native": (dicom.EXPLICIT, FRAMES[:2].tobytes()),
    "two fragments": (dicom.JPEGLS, CODED[:2]),
    "half a frame": (dicom.EXPLICIT, FRAMES[:1].tobytes()[:-20]),
    "a frame and more": (dicom.EXPLICIT, FRAMES[:1].tobytes() + bytes(2)),
    "RLE in two fragments of which none shows that it is one": (dicom.RLE, [b"\1\0\0\0", b"ab"]),
}  # fmt: skip


def with_frames(said: str, syntax: str, pixels: bytes | list[bytes], **more: Any) -> bytes:
    encoding = syntax if syntax in (dicom.IMPLICIT, dicom.BIG_ENDIAN) else dicom.EXPLICIT
    before = {0x00280008: dicom.element(0x00280008, "IS", said, encoding)}
    rows, columns = FRAMES.shape[1:]
    depth = FRAMES.dtype.itemsize * 8
    return dicom.Image(
        pixels, rows=rows, columns=columns, allocated=depth, stored=depth, syntax=syntax, before=before, **more
    ).encode()


@pytest.mark.parametrize("target", ["explicit", "implicit", "rle"])
@pytest.mark.parametrize(("syntax", "pixels"), ONE_FRAME.values(), ids=list(ONE_FRAME))
@pytest.mark.parametrize("said", FRAMES_SAID)
def test_a_number_of_frames_that_can_only_mean_one_is_one_where_the_bytes_are(
    said: str, syntax: str, pixels: bytes | list[bytes], target: str, tmp_path: Path, command: Command
) -> None:
    src, dst = tmp_path / "in.dcm", tmp_path / "out.dcm"
    src.write_bytes(with_frames(said, syntax, pixels))
    ran = command(src, dst, "--to", target, "--force")
    if not FRAMES_SAID[said]:
        assert (ran.status, "Number of Frames" in ran.err or "(0028,0008)" in ran.err) == (3, True), ran
        return
    assert ran.status == 0, ran
    assert f"Number of Frames (0028,0008) is '{said}'; taken and written as 1" in ran.err
    walked = dicom.walk(dst.read_bytes())
    assert walked.elements[0x00280008].value == b"1 "
    assert np.array_equal(oracle.decoded(dst.read_bytes()), FRAMES[:1])


@pytest.mark.parametrize(("syntax", "pixels"), TWO_FRAMES.values(), ids=list(TWO_FRAMES))
@pytest.mark.parametrize("said", [said for said, right in FRAMES_SAID.items() if right])
def test_a_number_of_frames_that_is_illegal_is_not_guessed(
    said: str, syntax: str, pixels: bytes | list[bytes], tmp_path: Path, fails: Fails
) -> None:
    (tmp_path / "in.dcm").write_bytes(with_frames(said, syntax, pixels))
    line = fails(3, tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "implicit")
    assert "Number of Frames" in line or "(0028,0008)" in line


@pytest.mark.parametrize("target", ["explicit", "implicit", "big-endian", "jpegls"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"])
@pytest.mark.parametrize("value", [None, b""], ids=["absent", "empty"])
@pytest.mark.parametrize(("syntax", "pixels"), ONE_FRAME.values(), ids=list(ONE_FRAME))
def test_samples_per_pixel_that_are_absent_are_one_where_the_colours_have_one(
    syntax: str,
    pixels: bytes | list[bytes],
    value: bytes | None,
    photometric: str,
    target: str,
    tmp_path: Path,
    command: Command,
) -> None:
    src, dst = tmp_path / "in.dcm", tmp_path / "out.dcm"
    src.write_bytes(without_samples(syntax, pixels, value, photometric))
    ran = command(src, dst, "--to", target, "--force")
    assert ran.status == 0, ran
    assert f"Samples per Pixel (0028,0002) is absent; taken and written as 1, since {photometric} has one" in ran.err
    walked = dicom.walk(dst.read_bytes())
    assert walked.elements[0x00280002].number == 1
    assert np.array_equal(oracle.decoded(dst.read_bytes()), FRAMES[:1])


def without_samples(syntax: str, pixels: bytes | list[bytes], value: bytes | None, photometric: str) -> bytes:
    """Return a file whose Samples per Pixel is absent or empty."""
    encoding = syntax if syntax in (dicom.IMPLICIT, dicom.BIG_ENDIAN) else dicom.EXPLICIT
    instead = b"" if value is None else dicom.element(0x00280002, "US", value, encoding)
    return with_frames("1", syntax, pixels, photometric=photometric).replace(
        dicom.element(0x00280002, "US", [1], encoding), instead
    )


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "ARGB"])
def test_samples_per_pixel_that_are_absent_are_not_guessed_for_colour(
    photometric: str, tmp_path: Path, fails: Fails
) -> None:
    (tmp_path / "in.dcm").write_bytes(without_samples(dicom.JPEGLS, [CODED[0]], None, photometric))
    assert "Samples per Pixel (0028,0002) is absent" in fails(
        3, tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "explicit"
    )
