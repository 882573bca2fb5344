"""The index of a data set, and splicing, on data sets of every shape that files have, and on damaged ones."""

from __future__ import annotations

import io
import random
import struct
import sys
import warnings

import dicom
import numpy as np
import pydicom
import pytest
from dicom import BIG_ENDIAN, EXPLICIT, IMPLICIT, PIXEL_DATA, UNDEFINED, element
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import data_element_generator
from pydicom.filewriter import write_data_element

from dcmtx.dataset import cursor as cursor_module
from dcmtx.dataset.edit import Remove, Replace, Reserve, Set, Slot, Span, splice
from dcmtx.dataset.element import element_bytes, element_header, swap, tag_bytes, tag_text
from dcmtx.dataset.header import Header, guess_encoding
from dcmtx.errors import InputError
from dcmtx.place.bytes import Memory
from dcmtx.syntax import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE

ENCODINGS = {IMPLICIT: IMPLICIT_LITTLE, EXPLICIT: EXPLICIT_LITTLE, BIG_ENDIAN: EXPLICIT_BIG}
NAMES = {IMPLICIT: "implicit", EXPLICIT: "explicit", BIG_ENDIAN: "big endian"}
each_encoding = pytest.mark.parametrize("syntax", ENCODINGS, ids=NAMES.get)
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


def repeatably(examples: int) -> settings:
    return settings(derandomize=True, deadline=None, database=None, max_examples=examples)


def index(data: bytes, syntax: str = EXPLICIT) -> Header:
    return Header(Memory(data), 0, ENCODINGS[syntax])


# --- data sets to be indexed, built from a plan of them ---------------------------------------------------------

SHORT = ["AE", "AS", "AT", "CS", "DA", "DS", "FD", "IS", "LO", "PN", "SL", "SS", "UI", "US"]
LONG = ["OB", "OD", "OF", "OL", "OV", "OW", "SV", "UC", "UN", "UR", "UT", "UV"]
TAGS = st.builds(
    lambda group, number: group << 16 | number,
    st.sampled_from([0x0008, 0x0009, 0x0010, 0x0011, 0x0028, 0x0040, 0x3006, 0x5400, 0x6000]),
    st.integers(0, 0xFFFF),
)


@st.composite
def plain(draw) -> tuple:
    """A plain element: ("plain", tag, VR, size, first bytes). Sizes may be odd, and beyond what is read at once."""
    tag, vr = draw(TAGS), draw(st.sampled_from(SHORT + LONG))
    sizes = [st.integers(0, 9)] * 6 + [st.just(65534)]
    if vr in LONG:
        sizes.append(st.integers(65530, 70_000))
    size = draw(st.one_of(sizes))
    return "plain", tag, vr, size, draw(st.binary(max_size=4))


def value_of(node: tuple) -> bytes:
    _, _, _, size, first = node
    return first.ljust(size, b"\x5a")[:size]


def sequences(content: st.SearchStrategy) -> st.SearchStrategy:
    """Sequences of defined and undefined length, their items too; and UN, which holds Implicit VR."""
    items = st.lists(st.tuples(st.booleans(), st.lists(content, max_size=3)), max_size=3)
    return st.one_of(
        st.tuples(st.just("sequence"), TAGS, st.booleans(), items),
        st.tuples(st.just("unknown"), TAGS, st.just(value=True), items),
    )


ELEMENTS = st.recursive(plain(), sequences, max_leaves=6)
DATASETS = st.lists(ELEMENTS, max_size=6)


def encode(node: tuple, syntax: str) -> bytes:
    if node[0] == "plain":
        _, tag, vr, size, _ = node
        return dicom.header(tag, vr, size, syntax) + value_of(node)
    kind, tag, undefined, items = node
    vr, inside = ("UN", IMPLICIT) if kind == "unknown" else ("SQ", syntax)
    body = b"".join(encode_item(*item, inside) for item in items)
    if not undefined:
        return dicom.header(tag, vr, len(body), syntax) + body
    return dicom.header(tag, vr, UNDEFINED, syntax) + body + dicom.header(SEQUENCE_END, "", 0, inside)


def encode_item(undefined: bool, elements: list[tuple], syntax: str) -> bytes:
    body = b"".join(encode(one, syntax) for one in elements)
    if not undefined:
        return dicom.header(ITEM, "", len(body), syntax) + body
    return dicom.header(ITEM, "", UNDEFINED, syntax) + body + dicom.header(ITEM_END, "", 0, syntax)


def expected(nodes: list[tuple], syntax: str) -> list[tuple[int, str, int, int, int]]:
    """Return tag, VR, start, length and end of each element, from how it was built."""
    found, position = [], 0
    for node in nodes:
        encoded = encode(node, syntax)
        vr = {"sequence": "SQ", "unknown": "UN"}.get(node[0]) or node[2]
        length = UNDEFINED if node[0] != "plain" and node[2] else len(encoded) - header_size(vr, syntax)
        vr = "  " if syntax == IMPLICIT else vr
        found.append((node[1], vr, position, length, position + len(encoded)))
        position += len(encoded)
    return found


def header_size(vr: str, syntax: str) -> int:
    return len(dicom.header(0x00080008, vr, 0, syntax))


def holds_unknown(node: tuple) -> bool:
    """Tell whether there is UN of undefined length somewhere in an element."""
    if node[0] != "sequence":
        return node[0] == "unknown"
    return any(holds_unknown(one) for _, elements in node[3] for one in elements)


def indexed(header: Header) -> list[tuple[int, str, int, int, int]]:
    return [(e.tag, e.vr.decode(), e.start, e.length, e.end) for e in header.elements]


def by_pydicom(data: bytes, syntax: str) -> list[tuple[int, int | None]]:
    """Return the top-level tags as pydicom reads them, with the offset of the value where it tells."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            (int(one.tag), one.value_tell if isinstance(one, RawDataElement) else None)
            for one in data_element_generator(io.BytesIO(data), syntax == IMPLICIT, syntax != BIG_ENDIAN)
        ]


@each_encoding
@repeatably(70)
@given(nodes=DATASETS)
def test_the_index_is_what_was_built_and_what_pydicom_reads(syntax, nodes):
    data = b"".join(encode(node, syntax) for node in nodes)
    header = index(data, syntax)
    assert indexed(header) == expected(nodes, syntax)
    assert (header.pixel, header.end, header.notes) == (None, len(data), [])
    if syntax in (BIG_ENDIAN, IMPLICIT) and any(map(holds_unknown, nodes)):
        # pydicom reads what UN holds as big endian, against PS3.5 6.2.2. In Implicit VR it takes the dictionary's word
        # for what an element of undefined length is, and ends it at the first delimiter.
        return
    read = by_pydicom(data, syntax)
    assert [tag for tag, _ in read] == [e.tag for e in header.elements]
    for (_, value), found in zip(read, header.elements, strict=True):
        assert value in (None, found.value)


@each_encoding
@repeatably(40)
@given(nodes=DATASETS)
def test_values_are_read_as_they_stand(syntax, nodes):
    data = b"".join(encode(node, syntax) for node in nodes)
    header = index(data, syntax)
    last = {node[1]: node for node in nodes}
    assert set(header.tags()) == set(last)
    for tag, node in last.items():
        assert tag in header
        if node[0] == "plain":
            assert header.value(tag) == value_of(node)
        elif node[2]:
            assert header.value(tag) == b""
    assert header.value(0x00200001) == b""
    assert header.get(0x00200001) is None


@each_encoding
@pytest.mark.parametrize("depth", [3000])
@pytest.mark.parametrize("undefined", [True, False], ids=["undefined lengths", "defined lengths"])
def test_thousands_of_levels_of_nesting_are_no_recursion(syntax, depth, undefined):
    data = nest(depth, syntax, undefined=undefined) + dicom.element(0x00180050, "DS", "1.5 ", syntax)
    assert depth > sys.getrecursionlimit()
    header = index(data, syntax)
    assert list(header.tags()) == [0x00081140, 0x00180050]
    assert header.text(0x00180050) == "1.5"


def nest(depth: int, syntax: str, *, undefined: bool) -> bytes:
    """Return a sequence within a sequence and so on, made from the inside out without copying all of it each time."""
    before, behind, size = [], [], 0
    for _ in range(depth):
        tail = dicom.header(ITEM_END, "", 0, syntax) + dicom.header(SEQUENCE_END, "", 0, syntax) if undefined else b""
        item = dicom.header(ITEM, "", UNDEFINED if undefined else size, syntax)
        size += len(item)
        head = dicom.header(0x00081140, "SQ", UNDEFINED if undefined else size, syntax)
        size += len(head) + len(tail)
        before.append(head + item)
        behind.append(tail)
    return b"".join(reversed(before)) + b"".join(behind)


# --- the window on the file --------------------------------------------------------------------------------------


class Counting:
    """Bytes that remember how many of them were read, and the longest read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size, self.read, self.longest = data, len(data), 0, 0

    def pread(self, length: int, offset: int) -> bytes:
        piece = self.data[offset : offset + length]
        self.read += len(piece)
        self.longest = max(self.longest, len(piece))
        return piece


@each_encoding
@pytest.mark.parametrize("short", range(-2, 28))
def test_a_header_may_lie_across_the_end_of_what_is_read_at_once(syntax, short):
    size = cursor_module._CHUNK - short - header_size("OB", syntax)
    data = dicom.header(0x00080005, "OB", size, syntax) + bytes(size)
    data += dicom.element(0x00081030, "UT", "behind", syntax) + dicom.element(0x00080008, "CS", "AB", syntax)
    header = index(data, syntax)
    assert list(header.tags()) == [0x00080005, 0x00081030, 0x00080008]
    assert header.value(0x00081030) == b"behind"
    assert header.value(0x00080008) == b"AB"


@pytest.mark.parametrize("undefined", [False, True], ids=["plain", "within a sequence"])
def test_long_values_are_skipped_not_read(undefined):
    big = element(0x00081030, "UT", bytes(10_000_000))
    data = (dicom.sequence(0x00081140, [big], undefined=True) if undefined else big) * 3
    reader = Counting(data + element(0x00180050, "DS", "1"))
    header = Header(reader, 0, EXPLICIT_LITTLE)
    assert len(header.elements) == 4
    assert reader.read < 20 * cursor_module._CHUNK
    assert reader.longest <= cursor_module._CHUNK


@each_encoding
def test_a_data_set_may_start_anywhere(syntax):
    before = b"\x02\x00\xff\xff" * 9
    body = element(0x00080008, "CS", "AB", syntax) + element(0x00100010, "PN", "A^B ", syntax)
    header = Header(Memory(before + body), len(before), ENCODINGS[syntax])
    assert [(e.tag, e.start) for e in header.elements] == [
        (0x00080008, 36), (0x00100010, 36 + len(element(0x00080008, "CS", "AB", syntax))),
    ]  # fmt: skip
    assert header.value(0x00100010) == b"A^B "


# --- the pixel element and what is behind it ---------------------------------------------------------------------


@each_encoding
@pytest.mark.parametrize("tag", [0x7FE00008, 0x7FE00009, PIXEL_DATA], ids=["float", "double float", "integer"])
def test_the_index_stops_at_the_pixel_element(syntax, tag):
    vr = {0x7FE00008: "OF", 0x7FE00009: "OD"}.get(tag, "OW")
    before = element(0x00080008, "CS", "AB", syntax)
    behind = element(0xFFFCFFFC, "OB", b"\0\0", syntax)
    data = before + dicom.header(tag, vr, 16, syntax) + bytes(16) + behind
    header = index(data, syntax)
    assert list(header.tags()) == [0x00080008]
    assert header.pixel.tag == tag
    assert header.pixel.length == 16
    assert header.pixel.start == len(before)
    assert header.pixel.value == len(before) + header_size(vr, syntax)
    header.close(header.pixel.value + 16)
    assert [e.tag for e in header.tail] == [0xFFFCFFFC]
    assert 0xFFFCFFFC in header
    assert header.end == len(data)


def test_pixel_data_within_a_sequence_is_no_pixel_element():
    icon = dicom.sequence(0x00880200, [element(PIXEL_DATA, "OB", bytes(4))], undefined=True)
    fragments = dicom.encapsulated([b"\1\2", b"\3\4"])
    nested = dicom.sequence(0x00880201, [fragments], undefined=True)
    header = index(icon + nested + element(PIXEL_DATA, "OW", bytes(2)))
    assert list(header.tags()) == [0x00880200, 0x00880201]
    assert header.pixel.start == len(icon + nested)


def test_a_second_pixel_element_is_an_input_error():
    first = element(PIXEL_DATA, "OW", bytes(4))
    header = index(first + element(PIXEL_DATA, "OW", bytes(4)))
    with pytest.raises(InputError, match="second pixel element") as caught:
        header.close(len(first))
    assert caught.value.code == "E_INCONSISTENT"
    assert caught.value.tag == PIXEL_DATA


def test_an_element_before_the_pixels_is_preferred_to_one_behind_them():
    first = element(0x00080008, "CS", "AB") + element(PIXEL_DATA, "OW", bytes(4))
    header = index(first + element(0x00080008, "CS", "CD"))
    header.close(len(first))
    assert header.text(0x00080008) == "AB"
    assert [e.tag for e in header.tail] == [0x00080008]


# --- values --------------------------------------------------------------------------------------------------------


@each_encoding
@pytest.mark.parametrize(
    ("vr", "value", "number"),
    [
        ("US", [0x1234, 5], 0x1234),
        ("UL", [0x12345678], 0x12345678),
        ("UL", [0x12345678, 5], 0x12345678),
        ("SS", [-1], 0xFFFF),
        ("US", b"", None),
    ],
    ids=["US", "UL", "two UL", "SS", "empty"],
)
def test_numbers_are_read_in_the_byte_order_of_the_data_set(syntax, vr, value, number):
    header = index(element(0x00280010, vr, value, syntax), syntax)
    if syntax == IMPLICIT and vr == "UL":
        # Without a VR the first 16 bits are all that is certain.
        number = 0x5678
    assert header.number(0x00280010) == number
    assert header.number(0x00280011) is None


@pytest.mark.parametrize(
    ("value", "integer"), [("12", 12), (" 7 ", 7), ("+3", 3), ("-3", -3), ("", None), ("  ", None), ("5\0", 5)],
    ids=["plain", "spaces", "plus", "minus", "empty", "blank", "padded by zero"],
)  # fmt: skip
def test_integer_strings_are_numbers(value, integer):
    assert index(element(0x00280008, "IS", value)).integer(0x00280008) == integer


@pytest.mark.parametrize(
    "value",
    [
        "x", "1.5", "1\\2", "12 34", "\xff\xff",
        pytest.param("1_0"),
    ],
)  # fmt: skip
def test_an_integer_string_that_is_none_is_an_input_error(value):
    with pytest.raises(InputError, match=r"\(0028,0008\)") as caught:
        index(element(0x00280008, "IS", value)).integer(0x00280008)
    assert (caught.value.code, caught.value.tag) == ("E_INCONSISTENT", 0x00280008)


def test_text_loses_its_padding_only():
    header = index(
        element(0x00080008, "CS", " A B\\C ") + element(0x00080018, "UI", "1.2\0") + element(1 << 19, "CS", "")
    )
    assert header.text(0x00080008) == "A B\\C"
    assert header.text(0x00080018) == "1.2"
    assert header.text(1 << 19) == ""


def test_tags_are_written_as_the_standard_writes_them():
    assert tag_text(0x7FE00010) == "(7FE0,0010)"
    assert tag_text(0x0008001A) == "(0008,001A)"


@each_encoding
def test_tags_are_encoded_in_the_byte_order_of_the_data_set(syntax):
    assert tag_bytes(PIXEL_DATA, ENCODINGS[syntax]) == dicom.header(PIXEL_DATA, "OW", 0, syntax)[:4]


# --- odd encodings -------------------------------------------------------------------------------------------------


def test_an_unknown_vr_has_a_length_of_32_bits():
    odd = struct.pack("<HH2sHI", 0x0009, 0x1001, b"ZZ", 0, 4) + b"abcd"
    header = index(odd + element(0x00100010, "PN", "A^B "))
    assert indexed(header)[0] == (0x00091001, "ZZ", 0, 4, 16)
    assert header.text(0x00100010) == "A^B"


def test_an_element_without_vr_in_explicit_vr_is_read_as_implicit():
    data = (
        element(0x00080008, "CS", "AB") + element(0x00090010, "LO", "TEST", IMPLICIT) + element(0x00100010, "PN", "A")
    )
    header = index(data)
    assert [(e.tag, e.vr) for e in header.elements] == [
        (0x00080008, b"CS"), (0x00090010, b"  "), (0x00100010, b"PN"),
    ]  # fmt: skip
    assert header.value(0x00090010) == b"TEST"


@each_encoding
@pytest.mark.parametrize("size", [1, 7, 8, 12, 100, 65536])
def test_zeros_behind_the_last_element_are_padding(syntax, size):
    data = element(0x00080008, "CS", "AB", syntax)
    header = index(data + bytes(size), syntax)
    assert list(header.tags()) == [0x00080008]
    assert [note.text for note in header.notes] == [f"dropped {size} bytes of padding behind the last element"]


def test_any_number_of_zeros_behind_the_last_element_is_padding():
    header = index(element(0x00080008, "CS", "AB") + bytes(200_000))
    assert list(header.tags()) == [0x00080008]


@each_encoding
def test_other_bytes_behind_the_last_element_are_an_input_error(syntax):
    with pytest.raises(InputError, match="no data element") as caught:
        index(element(0x00080008, "CS", "AB", syntax) + b"\x10\0\0\0\0", syntax)
    assert caught.value.code == "E_TRUNCATED"


@each_encoding
@pytest.mark.parametrize("tag", [ITEM, ITEM_END, SEQUENCE_END], ids=tag_text)
def test_a_delimiter_outside_any_sequence_is_an_input_error(syntax, tag):
    with pytest.raises(InputError, match="belongs inside a sequence") as caught:
        index(element(0x00080008, "CS", "AB", syntax) + dicom.header(tag, "", 0, syntax) + bytes(8), syntax)
    assert caught.value.tag == tag


@each_encoding
@pytest.mark.parametrize(
    "tags",
    [(SEQUENCE_END, ITEM), (ITEM_END,), (0x00080008,), (ITEM, SEQUENCE_END), (ITEM, ITEM, ITEM_END)],
    ids=["items behind the end", "item end without item", "element without item", "sequence end within an item",
         "item directly within an item"],
)  # fmt: skip
def test_delimiters_in_disorder_are_an_input_error(syntax, tags):
    data = dicom.header(0x00081140, "SQ", UNDEFINED, syntax)
    for tag in tags:
        data += dicom.header(tag, "CS", UNDEFINED if tag == ITEM else 0, syntax)
    with pytest.raises(InputError):
        index(data + bytes(8), syntax)


# Of the lengths that an item may have, some are spelled like a VR: 16708 is "DA" in little endian.
SPELLED = [b"DA", b"DS", b"DT", b"FD", b"FL", b"LO", b"LT", b"PN", b"TM"]


@pytest.mark.parametrize("spelled", SPELLED, ids=lambda vr: vr.decode())
def test_the_length_of_an_item_may_be_spelled_like_a_vr(spelled):
    size = int.from_bytes(spelled, "little")
    value = element(0x00081030, "UT", bytes(size - 12))
    data = dicom.header(0x00081140, "SQ", UNDEFINED) + dicom.header(ITEM, "", size) + value
    data += dicom.header(SEQUENCE_END, "", 0)
    assert dicom.walk(dicom.file([data])).elements[0x00081140].items
    assert indexed(index(data)) == [(0x00081140, "SQ", 0, UNDEFINED, len(data))]


# --- truncation and damage --------------------------------------------------------------------------------------


def everything(syntax: str) -> list[bytes]:
    """A small data set with something of each kind in it."""
    leaf = element(0x00080100, "SH", "CODE", syntax)
    inner = dicom.sequence(0x00081140, [leaf, leaf], syntax, undefined=True)
    unknown = dicom.header(0x00091010, "UN", UNDEFINED, syntax)
    unknown += encode_item(True, [("plain", 0x00080100, "SH", 4, b"CODE")], IMPLICIT) + dicom.header(
        SEQUENCE_END, "", 0
    )
    return [
        element(0x00080008, "CS", "ORIGINAL", syntax),
        dicom.sequence(0x00081115, [inner + leaf, b""], syntax),
        dicom.sequence(0x00081199, [inner], syntax, undefined=True),
        element(0x00090010, "LO", "PRIVATE ", syntax),
        unknown,
        element(0x00280010, "US", 7, syntax),
        element(0x00420011, "OB", b"abc", syntax),
        dicom.header(0x00420013, "OB", UNDEFINED, syntax)
        + dicom.header(ITEM, "", 2, syntax)
        + b"xy"
        + dicom.header(SEQUENCE_END, "", 0, syntax),
        element(0x00429999, "UT", "end.", syntax),
    ]


@each_encoding
def test_a_data_set_cut_at_any_byte_is_an_input_error_or_a_shorter_data_set(syntax):
    whole = b"".join(everything(syntax))
    full = indexed(index(whole, syntax))
    ends = {0, *(end for *_, end in full)}
    assert len(full) == len(everything(syntax))
    cut_off = set()
    for length in range(len(whole)):
        try:
            kept = indexed(index(whole[:length], syntax))
        except InputError:
            cut_off.add(length)
            continue
        assert kept == full[: len(kept)]
        # What is left over looks like padding at most.
        assert not any(whole[kept[-1][-1] if kept else 0 : length])
    assert not ends & cut_off
    assert len(cut_off) > len(whole) * 0.8


@each_encoding
def test_damaged_bytes_are_an_input_error_or_an_index_within_the_file(syntax):
    whole = b"".join(everything(syntax))
    dice = random.Random(7)
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 3)):
            data[dice.randrange(len(data))] = dice.choice([0, 1, 2, 8, 0x41, 0x51, 0x53, 0x7F, 0xE0, 0xFE, 0xFF])
        try:
            header = index(bytes(data), syntax)
        except InputError:
            continue
        position = 0
        misplaced = any("left out" in note.text for note in header.notes)
        for found in header.elements:
            # Elements of groups 0000 and 0002 are passed over.
            assert position == found.start or (misplaced and position < found.start)
            assert found.start < found.value <= found.end <= len(data)
            position = found.end


@pytest.mark.parametrize("length", [5, 0x7FFFFFFF, 0xFFFFFFFE], ids=hex)
def test_a_length_beyond_the_file_is_an_input_error_that_names_the_element(length):
    with pytest.raises(InputError, match=r"\(0008,1030\)") as caught:
        index(element(0x00080008, "CS", "AB") + dicom.header(0x00081030, "UT", length) + b"abcd")
    assert (caught.value.code, caught.value.tag) == ("E_TRUNCATED", 0x00081030)


# --- splicing ------------------------------------------------------------------------------------------------------


def assemble(data: bytes, pieces) -> bytes:
    """Return what the pieces stand for, with zeros in slots."""
    out = []
    for piece in pieces:
        if isinstance(piece, Span):
            assert piece.start < piece.end
            out.append(data[piece.start : piece.end])
        elif isinstance(piece, Slot):
            out.append(piece.before + bytes(piece.width))
        else:
            out.append(piece)
    return b"".join(out)


@each_encoding
@repeatably(50)
@given(nodes=DATASETS)
def test_without_edits_the_bytes_come_back(syntax, nodes):
    data = b"".join(encode(node, syntax) for node in nodes)
    pieces = list(splice(index(data, syntax).elements, {}, ENCODINGS[syntax]))
    assert assemble(data, pieces) == data
    assert len(pieces) <= 1


def edits_of(tags: list[int]) -> st.SearchStrategy:
    """Edits of elements that are there, and of others."""
    one = st.one_of([st.sampled_from(tags), TAGS] if tags else [TAGS])

    def edit(tag: int, kind: str, value: bytes):
        return {
            "set": Set(tag, b"LO", value),
            "remove": Remove(tag),
            "reserve": Reserve(tag, b"LO", len(value), key="key", prefix=value[:3]),
            "replace": Replace(tag, b"<" + value + b">"),
        }[kind]

    kinds = st.sampled_from(["set", "remove", "reserve", "replace"])
    edits = st.lists(st.builds(edit, one, kinds, st.binary(max_size=5)), max_size=5)
    return edits.map(lambda all_edits: {edit.tag: edit for edit in all_edits})


def encoded_edit(edit, syntax: str) -> bytes:
    if isinstance(edit, Remove):
        return b""
    if isinstance(edit, Replace):
        return edit.element
    if isinstance(edit, Reserve):
        # Room of even length, behind what is known already.
        value = edit.prefix + bytes(edit.width)
        value += bytes(len(value) % 2)
        return dicom.header(edit.tag, "LO", len(value), syntax) + value
    return element(edit.tag, "LO", edit.value, syntax)


@each_encoding
@repeatably(70)
@given(data=st.data())
def test_edits_change_what_they_name_and_nothing_else(syntax, data):
    nodes = {node[1]: node for node in data.draw(DATASETS)}
    edits = data.draw(edits_of(list(nodes)))
    in_order = sorted(nodes)
    source = b"".join(encode(nodes[tag], syntax) for tag in in_order)
    spliced = assemble(source, splice(index(source, syntax).elements, edits, ENCODINGS[syntax]))
    # Built anew: each tag once, in order, edited or as it was.
    wanted = b"".join(
        encoded_edit(edits[tag], syntax) if tag in edits else encode(nodes[tag], syntax)
        for tag in sorted({*nodes, *edits})
    )
    assert spliced == wanted


@each_encoding
@repeatably(70)
@given(data=st.data())
def test_in_a_data_set_in_disorder_the_unedited_elements_keep_their_places(syntax, data):
    nodes = data.draw(DATASETS)
    edits = data.draw(edits_of([node[1] for node in nodes]))
    source = b"".join(encode(node, syntax) for node in nodes)
    rest = assemble(source, splice(index(source, syntax).elements, edits, ENCODINGS[syntax]))
    # Edits come in the order of tags among themselves, each once; without them, what was not edited is left.
    kept = [encode(node, syntax) for node in nodes if node[1] not in edits]
    new = [one for one in (encoded_edit(edits[tag], syntax) for tag in sorted(edits)) if one]
    while kept or new:
        if new and rest.startswith(new[0]) and not (kept and rest.startswith(kept[0])):
            rest = rest[len(new.pop(0)) :]
        elif kept and rest.startswith(kept[0]):
            rest = rest[len(kept.pop(0)) :]
        else:
            assert new
            assert rest.startswith(new[0])
            rest = rest[len(new.pop(0)) :]
    assert rest == b""


@each_encoding
def test_of_two_elements_with_one_tag_the_first_takes_the_edit_and_the_second_goes(syntax):
    one = [element(tag, "CS", text, syntax) for tag, text in
           ((0x00080008, "AA"), (0x00080060, "BB"), (0x00080060, "CC"), (0x00080070, "DD"), (0x00080060,
                                                                                             "EE"))]  # fmt: skip
    data = b"".join(one)
    new = element(0x00080060, "CS", "NEW ", syntax)
    edits = {0x00080060: Set(0x00080060, b"CS", b"NEW")}
    spliced = assemble(data, splice(index(data, syntax).elements, edits, ENCODINGS[syntax]))
    assert spliced == one[0] + new + one[3]


def test_elements_that_are_not_given_are_left_out():
    one = [element(tag, "CS", "AB") for tag in (0x00080008, 0x00080060, 0x00080070, 0x00080080, 0x00080090)]
    elements = index(b"".join(one)).elements
    kept = [elements[0], elements[1], elements[3]]
    assert assemble(b"".join(one), splice(kept, {}, EXPLICIT_LITTLE)) == one[0] + one[1] + one[3]


def test_a_spliced_data_set_is_what_pydicom_reads():
    source = element(0x00080008, "CS", "AB") + element(0x00100010, "PN", "A^B") + element(0x00280010, "US", 4)
    edits = {
        0x00080005: Set(0x00080005, b"CS", b"ISO_IR 100"),
        0x00100010: Remove(0x00100010),
        0x00280010: Set(0x00280010, b"US", b"\x01\x02"),
        0x7FE00001: Reserve(0x7FE00001, b"OV", 16, key="offsets"),
    }
    spliced = assemble(source, splice(index(source).elements, edits, EXPLICIT_LITTLE))
    ds = pydicom.filereader.read_dataset(DicomBytesIO(spliced), False, True)
    assert [int(one.tag) for one in ds] == [0x00080005, 0x00080008, 0x00280010, 0x7FE00001]
    assert ds.SpecificCharacterSet == "ISO_IR 100"
    assert ds.Rows == 0x0201
    assert ds[0x7FE00001].value == bytes(16)


def test_a_slot_has_the_key_the_width_and_the_header_of_what_is_reserved():
    (slot,) = splice([], {0x7FE00001: Reserve(0x7FE00001, b"OV", 24, key="offsets")}, EXPLICIT_LITTLE)
    assert slot == Slot("offsets", dicom.header(0x7FE00001, "OV", 24), 24)


@pytest.mark.parametrize(
    ("prefix", "width", "room"), [(b"", 5, 6), (b"12\\", 16, 17), (b"12\\", 15, 15), (b"", 16, 16)]
)
def test_a_slot_has_room_for_padding_behind_what_is_known(prefix, width, room):
    edits = {0x00282112: Reserve(0x00282112, b"DS", width, key="ratio", prefix=prefix)}
    (slot,) = splice([], edits, EXPLICIT_LITTLE)
    assert slot.before == dicom.header(0x00282112, "DS", len(prefix) + room) + prefix
    assert slot.width == room


# --- encoding elements -------------------------------------------------------------------------------------------

# VR, what pydicom takes, the same in little-endian bytes.
VALUES = [
    ("AE", "TITLE", b"TITLE"),
    ("AT", [0x00280010, 0x7FE00010], struct.pack("<4H", 0x28, 0x10, 0x7FE0, 0x10)),
    ("CS", "OT", b"OT"),
    ("DS", "1.5", b"1.5"),
    ("FD", [1.5, -2.0], struct.pack("<2d", 1.5, -2.0)),
    ("FL", [1.5], struct.pack("<f", 1.5)),
    ("IS", "12", b"12"),
    ("LO", "", b""),
    ("OB", b"\1\2\3", b"\1\2\3"),
    ("PN", "A^B", b"A^B"),
    ("SL", [-5], struct.pack("<i", -5)),
    ("SS", [-5, 5], struct.pack("<2h", -5, 5)),
    ("SV", [-(1 << 40)], struct.pack("<q", -(1 << 40))),
    ("UC", "long text", b"long text"),
    ("UI", "1.2.3", b"1.2.3"),
    ("UL", [1 << 31], struct.pack("<I", 1 << 31)),
    ("UN", b"\1\2\3\4", b"\1\2\3\4"),
    ("UR", "http://a", b"http://a"),
    ("US", [1, 0x0203], struct.pack("<2H", 1, 0x0203)),
    ("UT", "text", b"text"),
    ("UV", [1 << 63], struct.pack("<Q", 1 << 63)),
]


def written_by_pydicom(tag: int, vr: str, value, syntax: str) -> bytes:
    out = DicomBytesIO()
    out.is_little_endian = syntax != BIG_ENDIAN
    out.is_implicit_VR = syntax == IMPLICIT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_data_element(out, DataElement(tag, vr, value))
    return out.getvalue()


@each_encoding
@pytest.mark.parametrize(("vr", "value", "raw"), VALUES, ids=[vr for vr, _, _ in VALUES])
def test_elements_are_encoded_as_pydicom_encodes_them(syntax, vr, value, raw):
    encoded = element_bytes(0x00091234, vr.encode(), raw, ENCODINGS[syntax])
    assert encoded == written_by_pydicom(0x00091234, vr, value, syntax)


# Words are swapped by whoever writes them in pydicom, so these are judged by NumPy.
@pytest.mark.parametrize(("vr", "unit"), [("OW", 2), ("OF", 4), ("OL", 4), ("OD", 8), ("OV", 8), ("OB", 1), ("UN", 1)])
def test_binary_words_are_swapped_in_big_endian(vr, unit):
    raw = bytes(range(16))
    encoded = element_bytes(0x00091234, vr.encode(), raw, EXPLICIT_BIG)
    assert (
        encoded == dicom.header(0x00091234, vr, 16, BIG_ENDIAN) + np.frombuffer(raw, f"<u{unit}").byteswap().tobytes()
    )


@each_encoding
@pytest.mark.parametrize("vr", ["LO", "DS", "US", "UI"])
def test_a_value_too_long_for_its_vr_is_written_as_unknown(syntax, vr):
    encoded = element_header(0x00281201, vr.encode(), 65536, ENCODINGS[syntax])
    assert encoded == dicom.header(0x00281201, "UN", 65536, syntax)
    longest = element_header(0x00281201, vr.encode(), 65534, ENCODINGS[syntax])
    assert longest == dicom.header(0x00281201, vr, 65534, syntax)


@each_encoding
@pytest.mark.parametrize("vr", SHORT + LONG + ["SQ"])
def test_headers_of_every_vr_agree_with_an_independent_writer(syntax, vr):
    assert element_header(0x00081140, vr.encode(), 16, ENCODINGS[syntax]) == dicom.header(0x00081140, vr, 16, syntax)


@repeatably(50)
@given(st.binary(max_size=40), st.sampled_from([1, 2, 4, 8]))
def test_swapping_reverses_each_whole_number_and_leaves_the_rest(value, unit):
    whole = len(value) // unit * unit
    numbers = [int.from_bytes(value[at : at + unit], "little") for at in range(0, whole, unit)]
    swapped = swap(value, unit)
    assert swapped == b"".join(number.to_bytes(unit, "big") for number in numbers) + value[whole:]
    assert swap(swapped, unit) == value


# --- which encoding is it? -----------------------------------------------------------------------------------------


@each_encoding
@pytest.mark.parametrize("vr", ["CS", "UI", "OB", "SQ", "UV"])
def test_the_first_element_shows_the_encoding(syntax, vr):
    data = b"??" + dicom.header(0x00080008, vr, 0, syntax)
    assert guess_encoding(Memory(data), 2) == ENCODINGS[syntax]


@pytest.mark.parametrize("data", [b"", b"\x08\0\x05\0CS\x02", bytes.fromhex("0008000500000000")],
                         ids=["nothing", "seven bytes", "Implicit VR in big endian"])  # fmt: skip
def test_what_shows_no_encoding_is_not_guessed(data):
    assert guess_encoding(Memory(data), 0) is None
