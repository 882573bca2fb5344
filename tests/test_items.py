"""Encapsulation both ways: fragments found, frames mapped to them, and what is laid out read by pydicom."""

from __future__ import annotations

import bisect
import random
import struct
from array import array
from itertools import accumulate

import dicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import encaps

from dcmtx.errors import InputError, RefusedError
from dcmtx.pixel import encapsulation
from dcmtx.pixel.encapsulation import (
    ExtendedTable,
    Fragments,
    Layout,
    choose_table,
    map_frames,
    read_extended,
    read_fragments,
)
from dcmtx.policy import OffsetTable

HEADER = 12  # tag, VR and length of Pixel Data
GIB = 1 << 30


def repeatably(examples: int) -> settings:
    return settings(derandomize=True, deadline=None, database=None, max_examples=examples)


def reader(data: bytes):
    return lambda length, offset: data[offset : offset + length]


def fragments_of(data: bytes, before: bytes = b"") -> Fragments:
    """Index encapsulated Pixel Data that stands behind some bytes, and before some others."""
    whole = before + data + b"\xff" * 20
    return read_fragments(reader(whole), len(before) + HEADER, len(whole))


def table(offsets) -> bytes:
    offsets = list(offsets)
    return struct.pack(f"<{len(offsets)}I", *offsets)


def extended(offsets, lengths) -> ExtendedTable:
    return ExtendedTable(array("Q", offsets), array("Q", lengths))


PAYLOAD = st.binary(max_size=9)
# Frames as lists of fragments.
FRAMES = st.lists(st.lists(PAYLOAD, min_size=1, max_size=4), min_size=1, max_size=6)
SINGLE_FRAMES = st.lists(st.lists(PAYLOAD, min_size=1, max_size=1), min_size=1, max_size=6)


class Laid:
    """Fragments as they lie in a file, worked out from their lengths."""

    def __init__(self, frames: list[list[bytes]]) -> None:
        self.frames = frames
        self.payloads = [payload for frame in frames for payload in frame]
        self.padded = [payload + b"\0" * (len(payload) % 2) for payload in self.payloads]
        self.offsets = list(accumulate((8 + len(payload) for payload in self.padded), initial=0))[:-1]
        self.starts = list(accumulate((len(frame) for frame in frames), initial=0))
        self.frame_offsets = [self.offsets[start] for start in self.starts[:-1]]

    def encode(self, offsets: bytes = b"") -> bytes:
        return dicom.encapsulated(self.payloads, offsets)

    def starts_frame(self, number: int) -> bool:
        return number in self.starts


# --- finding fragments -------------------------------------------------------------------------------------------


@repeatably(100)
@given(FRAMES, st.binary(max_size=30), st.booleans())
def test_fragments_are_found_where_they_lie(frames, before, filled):
    laid = Laid(frames)
    offsets = table(laid.frame_offsets) if filled else b""
    data = laid.encode(offsets)
    found = fragments_of(data, before)
    whole = before + data
    assert [whole[at : at + length] for at, length in zip(found.values, found.lengths, strict=True)] == laid.padded
    assert [found.offset(number) for number in range(len(laid.payloads))] == laid.offsets
    assert list(found.table) == (laid.frame_offsets if filled else [])
    assert found.end == len(whole)
    assert found.first == len(before) + HEADER + 8 + len(offsets)


def test_pixel_data_without_fragments_has_none():
    found = fragments_of(dicom.encapsulated([]))
    assert (len(found.values), len(found.table), found.end) == (0, 0, HEADER + 16)


def test_fragments_of_odd_length_are_read_as_they_are():
    data = dicom.header(dicom.PIXEL_DATA, "OB", dicom.UNDEFINED) + dicom.header(0xFFFEE000, "", 0)
    data += dicom.header(0xFFFEE000, "", 3) + b"abc" + dicom.header(0xFFFEE000, "", 1) + b"d"
    data += dicom.header(0xFFFEE0DD, "", 0)
    found = fragments_of(data)
    assert list(found.lengths) == [3, 1]
    assert found.end == len(data)


def test_a_table_that_is_no_whole_number_of_entries_is_read_as_far_as_it_goes():
    found = fragments_of(dicom.encapsulated([b"ab"], struct.pack("<I", 7) + b"\1\2"))
    assert list(found.table) == [7]
    assert len(found.values) == 1


@pytest.mark.parametrize(
    "size", [encapsulation._WINDOW - 8, encapsulation._WINDOW, encapsulation._WINDOW + 2, 3 * encapsulation._WINDOW]
)
def test_large_and_small_fragments_may_alternate(size):
    payloads = [b"a" * size, b"b" * 2, b"c" * size, b"d" * size, b"", b"e" * 10]
    laid = Laid([[payload] for payload in payloads])
    found = fragments_of(laid.encode())
    assert list(found.lengths) == [len(payload) for payload in payloads]
    assert [found.offset(number) for number in range(6)] == laid.offsets


@pytest.mark.parametrize(
    ("length", "count", "reads", "most"),
    [(1 << 20, 200, 210, encapsulation._WINDOW + 8 * 210), (10, 20_000, 10, 400_000)],
    ids=["large fragments by their headers", "small ones many at a time"],
)
def test_no_more_is_read_than_it_takes(length, count, reads, most):
    asked = []

    def pread(size: int, offset: int) -> bytes:
        asked.append(size)
        return file[offset : offset + size]

    item = dicom.header(0xFFFEE000, "", length) + bytes(length)
    file = dicom.header(0xFFFEE000, "", 0) + item * count + dicom.header(0xFFFEE0DD, "", 0)
    assert len(read_fragments(pread, 0, len(file)).values) == count
    assert len(asked) <= reads
    assert sum(asked) <= most + encapsulation._WINDOW


@repeatably(40)
@given(FRAMES, st.booleans())
def test_pixel_data_cut_at_any_byte_is_an_input_error(frames, filled):
    laid = Laid(frames[:2])
    data = laid.encode(table(laid.frame_offsets) if filled else b"")
    whole = {len(data) - 8}
    if filled and len(laid.frames) > 1:
        first = len(data) - 8 - laid.offsets[-1] - 8 - len(laid.padded[-1])
        whole |= {first + offset for offset in laid.offsets[laid.starts[-2] + 1 :]}
    for length in range(HEADER, len(data)):
        cut = data[:length]
        if length in whole:
            # All that is missing is the item that says so, or fragments of the last frame, which it must show itself.
            assert read_fragments(reader(cut), HEADER, length, len(laid.payloads)).unended
            continue
        with pytest.raises(InputError) as caught:
            read_fragments(reader(cut), HEADER, length, len(laid.payloads))
        assert caught.value.code == "E_TRUNCATED"
    assert not read_fragments(reader(data), HEADER, len(data)).unended
    assert read_fragments(reader(data), HEADER, len(data)).end == len(data)


# Of three fragments of four bytes: the table before them, Number of Frames, how many bytes of them there are, and what
# is said of the frame that is cut or not there.
CUT = {
    "behind one of three frames": ([], 3, 12, "frame 2 of 3 is missing"),
    "behind one of three frames of a table": ([0, 12, 24], None, 12, "frame 2 of 3 is missing"),
    "inside the second": ([], 3, 22, "fragment 2 of Pixel Data, frame 2 if each frame has one"),
    "inside the second of a table": ([0, 12, 24], None, 22, "fragment 2 of Pixel Data, frame 2 of 3 by"),
    "inside the second, of one frame by a table": ([0, 24], 2, 22, "fragment 2 of Pixel Data, frame 1 of 2 by"),
}  # fmt: skip


@pytest.mark.parametrize(("offsets", "frames", "length", "told"), CUT.values(), ids=CUT.keys())
def test_what_is_cut_is_told_by_its_frame(offsets, frames, length, told):
    head = dicom.header(0xFFFEE000, "", 4 * len(offsets)) + table(offsets)
    data = head + ((dicom.header(0xFFFEE000, "", 4) + b"abcd") * 3)[:length]
    with pytest.raises(InputError, match=told) as caught:
        read_fragments(reader(data), 0, len(data), frames)
    assert caught.value.code == "E_TRUNCATED"


DAMAGE = {
    "no table": dicom.header(0x00080008, "CS", 4) + b"ABCD",
    "only the end": dicom.header(0xFFFEE0DD, "", 0),
    "no end but another element": dicom.header(0xFFFEE000, "", 0) + dicom.header(0x00080008, "CS", 4) + b"ABCD",
    "an item end": dicom.header(0xFFFEE000, "", 0) + dicom.header(0xFFFEE00D, "", 0),
    "zeros": dicom.header(0xFFFEE000, "", 0) + bytes(16),
    "a fragment that hides the next header": dicom.header(0xFFFEE000, "", 0) + dicom.header(0xFFFEE000, "", 4)
    + b"abcdefgh" + dicom.header(0xFFFEE0DD, "", 0),
}  # fmt: skip


@pytest.mark.parametrize("body", DAMAGE.values(), ids=list(DAMAGE))
def test_what_is_no_item_is_broken_encapsulation(body):
    with pytest.raises(InputError, match=r"no item|neither an item") as caught:
        read_fragments(reader(body + bytes(8)), 0, len(body) + 8)
    assert caught.value.code == "E_ENCAPSULATION"


@pytest.mark.parametrize("length", [0x100, 0xFFFFFFFE, 0xFFFFFFFF], ids=["too long", "greatest", "undefined"])
@pytest.mark.parametrize("where", ["table", "fragment"])
def test_a_length_beyond_the_file_is_truncation(where, length):
    body = dicom.header(0xFFFEE000, "", 0) if where == "fragment" else b""
    body += dicom.header(0xFFFEE000, "", length) + b"abcd" + dicom.header(0xFFFEE0DD, "", 0)
    with pytest.raises(InputError, match="truncated") as caught:
        read_fragments(reader(body), 0, len(body))
    assert caught.value.code == "E_TRUNCATED"


def test_damaged_bytes_are_an_input_error_or_fragments_within_the_file():
    whole = Laid([[b"abcd"], [b"ef", b"ghi"], [b""]]).encode(table([0, 12, 32]))
    dice = random.Random(3)
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 3)):
            data[dice.randrange(HEADER, len(data))] = dice.choice([0, 1, 4, 8, 0xDD, 0xE0, 0xFE, 0xFF])
        try:
            found = read_fragments(reader(bytes(data)), HEADER, len(data))
        except InputError:
            continue
        position = found.first
        for at, length in zip(found.values, found.lengths, strict=True):
            assert at == position + 8
            position = at + length
        assert position + (0 if found.unended else 8) == found.end <= len(data)


# --- beyond 4 GiB ------------------------------------------------------------------------------------------------


class Sparse:
    """A file of many GiB of which only some bytes exist; remembers how many were read."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.size = 0
        self.read = 0

    def add(self, data: bytes, hole: int = 0) -> None:
        self.pieces.append((self.size, data))
        self.size += len(data) + hole

    def pread(self, length: int, offset: int) -> bytes:
        self.read += length
        out = bytearray(max(0, min(length, self.size - offset)))
        first = bisect.bisect_right(self.pieces, (offset, b"")) - 1
        for start, data in self.pieces[max(first, 0) :]:
            if start >= offset + length:
                break
            for index, byte in enumerate(data, start - offset):
                if 0 <= index < len(out):
                    out[index] = byte
        return bytes(out)


def sparse(lengths: list[int], offsets: bytes = b"") -> Sparse:
    file = Sparse()
    file.add(dicom.header(0xFFFEE000, "", len(offsets)) + offsets)
    for length in lengths:
        file.add(dicom.header(0xFFFEE000, "", length), hole=length)
    file.add(dicom.header(0xFFFEE0DD, "", 0))
    return file


HUGE = [3 * GIB, 2, 0xFFFFFFFE, 2 * GIB, 100]
HUGE_OFFSETS = list(accumulate((8 + length for length in HUGE), initial=0))[:-1]


def test_offsets_beyond_32_bits_are_kept():
    file = sparse(HUGE)
    found = read_fragments(file.pread, 0, file.size)
    assert list(found.lengths) == HUGE
    assert [found.offset(number) for number in range(5)] == HUGE_OFFSETS
    assert found.offset(4) > 0xFFFFFFFF
    assert found.end == file.size
    assert file.read < 4 * encapsulation._WINDOW


def test_an_extended_table_maps_frames_beyond_32_bits():
    file = sparse(HUGE)
    found = read_fragments(file.pread, 0, file.size)
    mapped = map_frames(found, 5, extended(HUGE_OFFSETS, HUGE), single=False, starts_frame=None)
    assert (list(mapped.starts), mapped.notes) == ([0, 1, 2, 3, 4, 5], ())


def test_a_basic_table_that_wrapped_is_rebuilt():
    file = sparse(HUGE, table(offset & 0xFFFFFFFF for offset in HUGE_OFFSETS))
    found = read_fragments(file.pread, 0, file.size)
    mapped = map_frames(found, 5, None, single=False, starts_frame=None)
    assert list(mapped.starts) == [0, 1, 2, 3, 4, 5]
    assert "Basic Offset Table" in mapped.notes[0].text


# --- mapping frames ------------------------------------------------------------------------------------------------


def mapped(laid: Laid, frames: int, *, offsets=(), eot=None, single=False, sees=True):
    """Map, with or without a look at where codestreams start."""
    found = fragments_of(laid.encode(table(offsets)), b"before")
    return map_frames(found, frames, eot, single=single, starts_frame=laid.starts_frame if sees else None)


@repeatably(100)
@given(FRAMES)
def test_a_basic_table_that_fits_is_believed(frames):
    laid = Laid(frames)
    result = mapped(laid, len(frames), offsets=laid.frame_offsets, sees=False)
    assert (list(result.starts), result.notes) == (laid.starts, ())


@repeatably(60)
@given(SINGLE_FRAMES, st.booleans())
def test_an_extended_table_that_fits_is_believed_with_and_without_the_pad_byte(frames, with_pad):
    laid = Laid(frames)
    lengths = [len(payload) for payload in (laid.padded if with_pad else laid.payloads)]
    # It comes first, whatever the basic table says.
    result = mapped(laid, len(frames), eot=extended(laid.offsets, lengths), offsets=[7, 9], sees=False)
    assert (list(result.starts), result.notes) == (list(range(len(frames) + 1)), ())


@repeatably(60)
@given(SINGLE_FRAMES, st.booleans())
def test_without_tables_as_many_fragments_as_frames_are_the_frames(frames, single):
    laid = Laid(frames)
    result = mapped(laid, len(frames), single=single, sees=False)
    assert (list(result.starts), result.notes) == (list(range(len(frames) + 1)), ())


@repeatably(60)
@given(st.lists(PAYLOAD, min_size=1, max_size=5))
def test_without_tables_one_frame_has_all_fragments(payloads):
    laid = Laid([payloads])
    result = mapped(laid, 1, sees=False)
    assert (list(result.starts), result.notes) == ([0, len(payloads)], ())


def test_a_split_frame_of_a_syntax_that_forbids_it_is_joined_with_a_note():
    result = mapped(Laid([[b"ab", b"cd", b"ef"]]), 1, single=True)
    assert list(result.starts) == [0, 3]
    assert "3 fragments" in result.notes[0].text


@repeatably(100)
@given(FRAMES)
def test_without_tables_frames_start_where_codestreams_do(frames):
    laid = Laid(frames)
    result = mapped(laid, len(frames))
    # As many fragments as frames, and one frame for all, come before a look at the bytes; they agree with it here.
    assert (list(result.starts), result.notes) == (laid.starts, ())


@repeatably(100)
@given(FRAMES)
def test_where_nothing_tells_the_frames_are_not_guessed(frames):
    laid = Laid(frames)
    if len(frames) in (1, len(laid.payloads)):
        return
    with pytest.raises(InputError, match="cannot be mapped") as caught:
        mapped(laid, len(frames), sees=False)
    assert caught.value.code == "E_TRUNCATED"
    # Nor is anything divided equally where the number of codestreams is another.
    for other in {len(frames) + 1, len(frames) - 1, len(laid.payloads) + 1} - {1, len(frames), len(laid.payloads)}:
        with pytest.raises(InputError):
            mapped(laid, other)


@pytest.mark.parametrize("frames", [1, 2], ids=["one frame", "two frames"])
def test_frames_without_fragments_are_an_input_error(frames):
    with pytest.raises(InputError, match="0 fragments"):
        mapped(Laid([]), frames)


def test_a_first_fragment_that_starts_no_frame_maps_nothing():
    laid = Laid([[b"ab", b"cd"], [b"ef"]])
    found = fragments_of(laid.encode())
    with pytest.raises(InputError):
        map_frames(found, 2, None, single=False, starts_frame=lambda number: number in (1, 2))


# What happens to Basic Offset Tables; only where a table of the right kind does not come out of it.
TABLE_DAMAGE = {
    "counted from the start of the table": lambda _laid, right: [offset + 8 + 4 * len(right) for offset in right],
    "counted from the start of the file": lambda _laid, right: [offset + 1000 for offset in right],
    "pointing behind the item headers": lambda _laid, right: [offset + 8 for offset in right],
    "zeros": lambda _laid, right: [0] * len(right),
    "one entry more": lambda laid, right: [*right, laid.offsets[-1] + 8 + len(laid.padded[-1])],
    "one entry less": lambda _laid, right: right[:-1],
    "one entry per fragment": lambda laid, _right: laid.offsets,
    "the last twice": lambda _laid, right: [*right[:-1], right[-2]],
    "backwards": lambda _laid, right: right[::-1],
    "not rising": lambda _laid, right: [0, *right[:-1]] if len(right) > 1 else [4],
    "between two items": lambda _laid, right: [*right[:-1], right[-1] + 2],
    "beyond the end": lambda _laid, right: [*right[:-1], 0xFFFFFFF0],
}


@pytest.mark.parametrize("damage", TABLE_DAMAGE.values(), ids=list(TABLE_DAMAGE))
@repeatably(30)
@given(st.lists(st.lists(PAYLOAD, min_size=1, max_size=4), min_size=2, max_size=5))
def test_a_damaged_basic_table_is_rebuilt_with_a_note(damage, frames):
    laid = Laid(frames)
    wrong = damage(laid, laid.frame_offsets)
    if wrong == laid.frame_offsets:
        return
    result = mapped(laid, len(frames), offsets=wrong)
    assert list(result.starts) == laid.starts
    assert [note.text for note in result.notes] == [
        "the Basic Offset Table does not fit the fragments; rebuilt from the items"
    ]


EXTENDED_DAMAGE = {
    "offsets from the start of the file": lambda offsets, lengths: ([offset + 100 for offset in offsets], lengths),
    "zeros": lambda offsets, lengths: ([0] * len(offsets), lengths),
    "one entry less": lambda offsets, lengths: (offsets[:-1], lengths[:-1]),
    "one entry more": lambda offsets, lengths: ([*offsets, offsets[-1] + 100], [*lengths, 2]),
    "lengths one too long": lambda offsets, lengths: (offsets, [*lengths[:-1], lengths[-1] + 1]),
    "lengths two too short": lambda offsets, lengths: (offsets, [length - 2 for length in lengths]),
    "backwards": lambda offsets, lengths: (offsets[::-1], lengths[::-1]),
}


@pytest.mark.parametrize("damage", EXTENDED_DAMAGE.values(), ids=list(EXTENDED_DAMAGE))
def test_a_damaged_extended_table_is_rebuilt_with_a_note(damage):
    laid = Laid([[b"abcd"], [b"ef"], [b"ghijkl"]])
    offsets, lengths = damage(laid.offsets, [len(payload) for payload in laid.padded])
    result = mapped(laid, 3, eot=extended(offsets, lengths), sees=False)
    assert list(result.starts) == [0, 1, 2, 3]
    assert [note.text for note in result.notes] == [
        "the Extended Offset Table does not fit the fragments; rebuilt from the items"
    ]


def test_an_extended_table_for_frames_of_several_fragments_is_not_believed():
    laid = Laid([[b"ab", b"cd"], [b"ef"]])
    eot = extended(laid.frame_offsets, [12, 2])
    result = mapped(laid, 2, eot=eot, offsets=laid.frame_offsets, sees=False)
    assert list(result.starts) == [0, 2, 3]
    assert len(result.notes) == 1


@repeatably(60)
@given(FRAMES, st.booleans(), st.sampled_from(["basic", "extended", "extended, without the pad byte"]))
def test_split_frames_of_a_syntax_that_forbids_them_are_joined_by_a_table_that_fits(frames, sees, kind):
    laid = Laid(frames)
    if len(frames) in (1, len(laid.payloads)):
        return
    offsets = laid.frame_offsets if kind == "basic" else []
    padded = [sum(len(part) + len(part) % 2 for part in frame) for frame in frames]
    bare = [length - len(frame[-1]) % 2 for length, frame in zip(padded, frames, strict=True)]
    eot = None if kind == "basic" else extended(laid.frame_offsets, padded if kind == "extended" else bare)
    result = mapped(laid, len(frames), offsets=offsets, eot=eot, single=True, sees=sees)
    assert list(result.starts) == laid.starts
    assert [note.text for note in result.notes] == [
        f"{len(frames)} frames are split over {len(laid.payloads)} fragments, which the syntax forbids; joined",
    ]


def test_one_split_frame_that_nothing_is_known_of_is_joined_by_a_table_only():
    laid = Laid([[b"ab", b"cd", b"ef"]])
    assert list(mapped(laid, 1, offsets=[0], single=True, sees=False).starts) == [0, 3]
    with pytest.raises(InputError, match="cannot be mapped"):
        mapped(laid, 1, single=True, sees=False)


@pytest.mark.parametrize("offsets", [[], [0, 4], [0, 10, 20], [2, 20], [0, 22]], ids=str)
def test_split_frames_of_a_syntax_that_forbids_them_are_not_mapped_without_a_table_that_fits(offsets):
    laid = Laid([[b"ab", b"cd"], [b"ef"]])
    with pytest.raises(InputError, match="cannot be mapped"):
        mapped(laid, 2, offsets=offsets, single=True)


def test_a_table_that_would_join_two_codestreams_is_not_believed_where_the_syntax_forbids_split_frames():
    laid = Laid([[b"ab"], [b"cd"], [b"ef"]])
    with pytest.raises(InputError, match="cannot be mapped"):
        mapped(laid, 2, offsets=[0, 10], single=True)


@pytest.mark.parametrize(
    ("behind", "read"),
    [(b"", True), (bytes(3), True), (bytes(8), True), (bytes(3000), True), (b"\xfe\xff\xdd\xe0", False),
     (bytes(12) + b"a", False), (dicom.header(0xFFFEE000, "", 90) + bytes(20), False)],
    ids=["nothing", "three zeros", "zeros in its place", "many zeros", "half of it", "something", "another fragment"],
)  # fmt: skip
@pytest.mark.parametrize("frames", [None, 1, 2, 3])
@pytest.mark.parametrize("filled", [False, True], ids=["no table", "a table"])
def test_the_sequence_delimitation_item_may_be_missing_at_the_end_behind_the_last_frame(behind, read, frames, filled):
    laid = Laid([[b"ab"], [b"cd"]])
    data = laid.encode(table(laid.frame_offsets) if filled else b"")[:-8]
    # A table says how many frames there are, where there is one.
    if read and (filled or frames != 3):
        found = read_fragments(reader(data + behind), HEADER, len(data + behind), frames)
        assert (found.unended, found.end, list(found.lengths)) == (True, len(data), [2, 2])
        return
    with pytest.raises(InputError):
        read_fragments(reader(data + behind), HEADER, len(data + behind), frames)


@pytest.mark.parametrize(
    ("offsets", "lengths"),
    [(b"", b""), (bytes(7), bytes(7)), (bytes(16), bytes(8)), (bytes(8), b""), (b"", bytes(8)), (bytes(12), bytes(12))],
    ids=["absent", "no whole entry", "fewer lengths", "no lengths", "no offsets", "one and a half entries"],
)
def test_values_that_make_no_extended_table_are_none(offsets, lengths):
    assert read_extended(offsets, lengths) is None


@repeatably(30)
@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=5))
def test_an_extended_table_has_entries_of_64_bits(entries):
    value = struct.pack(f"<{len(entries)}Q", *entries)
    read = read_extended(value, value)
    assert read is not None
    assert list(read.offsets) == list(read.lengths) == entries


# --- writing ---------------------------------------------------------------------------------------------------


def lay_out(kind: OffsetTable, frames: list[bytes]) -> tuple[bytes, dict[str, bytes]]:
    """Return the value of Pixel Data with its table patched in, and the tables."""
    layout = Layout(kind, len(frames))
    head = layout.header()
    body = b""
    for frame in frames:
        before, behind = layout.item(len(frame))
        body += before + frame + behind
    tables = layout.tables()
    if "basic" in tables:
        assert len(tables["basic"]) == len(head) - 8
        head = head[:8] + tables["basic"]
    return head + body + layout.trailer(), tables


@pytest.mark.parametrize(
    "kind", [OffsetTable.BASIC, OffsetTable.EXTENDED, OffsetTable.EMPTY], ids=lambda kind: kind.value
)
@repeatably(60)
@given(frames=st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=8))
def test_what_is_laid_out_is_what_pydicom_reads(kind, frames):
    value, tables = lay_out(kind, frames)
    padded = [frame + b"\0" * (len(frame) % 2) for frame in frames]
    laid = Laid([[frame] for frame in frames])
    assert dicom.header(dicom.PIXEL_DATA, "OB", dicom.UNDEFINED) + value == laid.encode(
        table(laid.offsets) if kind is OffsetTable.BASIC else b""
    )
    assert encaps.parse_basic_offsets(value) == (laid.offsets if kind is OffsetTable.BASIC else [])
    assert list(encaps.generate_fragments(value[len(value) - len(laid.encode()) + HEADER + 8 :])) == padded
    given_table = None
    if kind is OffsetTable.EXTENDED:
        assert set(tables) == {"offsets", "lengths"}
        given_table = tables["offsets"], tables["lengths"]
    else:
        assert set(tables) == ({"basic"} if kind is OffsetTable.BASIC else set())
    read = list(encaps.generate_frames(value, number_of_frames=len(frames), extended_offsets=given_table))
    assert read == padded


def test_an_extended_table_says_padded_lengths():
    _, tables = lay_out(OffsetTable.EXTENDED, [b"abc", b"de"])
    assert struct.unpack("<2Q", tables["offsets"]) == (0, 12)
    assert struct.unpack("<2Q", tables["lengths"]) == (4, 2)


def test_a_fragment_has_at_most_what_a_length_can_say():
    for length in (0xFFFFFFFD, 0xFFFFFFFE):
        before, behind = Layout(OffsetTable.EMPTY, 1).item(length)
        assert before[4:] == b"\xfe\xff\xff\xff"
        assert len(behind) == length % 2
    for length in (0xFFFFFFFF, 1 << 32):
        with pytest.raises(RefusedError, match="fragment at most") as caught:
            Layout(OffsetTable.EXTENDED, 1).item(length)
        assert (caught.value.code, caught.value.frame) == ("E_SIZE", 0)


def test_a_basic_table_holds_offsets_of_32_bits_and_no_more():
    layout = Layout(OffsetTable.BASIC, 3)
    layout.item(0xFFFFFFFE - 8)
    layout.item(2)
    assert struct.unpack("<2I", layout.tables()["basic"]) == (0, 0xFFFFFFFE)
    with pytest.raises(RefusedError, match="--offset-table extended") as caught:
        layout.item(2)
    assert (caught.value.code, caught.value.frame) == ("E_SIZE", 2)


@pytest.mark.parametrize("kind", [OffsetTable.EXTENDED, OffsetTable.EMPTY], ids=lambda kind: kind.value)
def test_other_tables_go_beyond_32_bits(kind):
    layout = Layout(kind, 3)
    for _ in range(3):
        layout.item(3 * GIB)
    if kind is OffsetTable.EXTENDED:
        assert struct.unpack("<3Q", layout.tables()["offsets"]) == (0, 3 * GIB + 8, 6 * GIB + 16)


LIMIT = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("frames", "worst_case", "chosen"),
    [
        (1, 100, OffsetTable.BASIC),
        (1, LIMIT - 8, OffsetTable.BASIC),
        (1, LIMIT - 7, OffsetTable.EXTENDED),
        (1000, LIMIT - 8000, OffsetTable.BASIC),
        (1000, LIMIT - 7999, OffsetTable.EXTENDED),
        (1, 1 << 40, OffsetTable.EXTENDED),
    ],
)
def test_the_table_is_chosen_by_the_worst_case(frames, worst_case, chosen):
    assert choose_table(OffsetTable.AUTO, frames, worst_case) is chosen
    # Whatever was asked for is written.
    for asked in (OffsetTable.BASIC, OffsetTable.EXTENDED, OffsetTable.EMPTY):
        assert choose_table(asked, frames, worst_case) is asked


def test_what_was_chosen_holds_the_worst_case():
    frames, worst_case = 4, LIMIT - 4 * 8
    assert choose_table(OffsetTable.AUTO, frames, worst_case) is OffsetTable.BASIC
    layout = Layout(OffsetTable.BASIC, frames)
    for _ in range(frames):
        layout.item(worst_case // frames)
    assert len(layout.tables()["basic"]) == 16
