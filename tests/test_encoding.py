"""Implicit, Explicit and Big Endian into each other: nothing changes but how elements say what they are.

Data sets are planned as trees and written twice by tests/dicom.py, once as the source and once as what must come out;
real files are judged by pydicom and by dcmconv.
"""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import warnings

import dicom
import numpy as np
import pydicom
import pytest
from conftest import need_tool
from dicom import BIG_ENDIAN, EXPLICIT, IMPLICIT, PIXEL_DATA, UNDEFINED, element
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from dcmtx.dataset import encoding
from dcmtx.dataset.dictionary import Context, _dictionary_vr, look_up
from dcmtx.dataset.edit import Remove, Replace, Reserve, Set, Slot, Span
from dcmtx.dataset.encoding import transcribe
from dcmtx.dataset.header import Header
from dcmtx.dataset.items import parse
from dcmtx.dataset.rewriting import rewrite
from dcmtx.errors import InputError
from dcmtx.place.bytes import Memory
from dcmtx.syntax import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE

ENCODINGS = {IMPLICIT: IMPLICIT_LITTLE, EXPLICIT: EXPLICIT_LITTLE, BIG_ENDIAN: EXPLICIT_BIG}
NAMES = {IMPLICIT: "implicit", EXPLICIT: "explicit", BIG_ENDIAN: "big endian"}
WAYS = [(source, target) for source in ENCODINGS for target in ENCODINGS if source != target]
each_way = pytest.mark.parametrize(
    ("source", "target"), WAYS, ids=[f"{NAMES[source]} to {NAMES[target]}" for source, target in WAYS]
)
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


def repeatably(examples: int) -> settings:
    return settings(derandomize=True, deadline=None, database=None, max_examples=examples)


def convert(data: bytes, source: str, target: str, *, context: Context | None = None, edits=None) -> bytes:
    """Return a whole data set without pixels in another encoding."""
    header = Header(Memory(data), 0, ENCODINGS[source])
    assert header.pixel is None
    pieces = transcribe(
        header.reader, header.elements, edits or {}, ENCODINGS[source], ENCODINGS[target], context or Context()
    )
    out = []
    for piece in pieces:
        if isinstance(piece, Span):
            out.append(data[piece.start : piece.end])
        elif isinstance(piece, Slot):
            out.append(piece.before + bytes(piece.width))
        else:
            out.append(piece)
    return b"".join(out)


# --- trees -----------------------------------------------------------------------------------------------------

# A tag of each VR, known to the standard, so that Implicit VR loses nothing.
KNOWN = {
    "AE": 0x00080054, "AS": 0x00101010, "AT": 0x00280009, "CS": 0x00080060, "DA": 0x00080020, "DS": 0x00180050,
    "DT": 0x0008002A, "FD": 0x00189073, "FL": 0x00720076, "IS": 0x00200013, "LO": 0x00081030, "LT": 0x001021B0,
    "OB": 0x00282000, "OD": 0x00720073, "OF": 0x00720067, "OL": 0x00720075, "OV": 0x00720081, "OW": 0x00281201,
    "PN": 0x00100010, "SH": 0x00080050, "SL": 0x00186020, "SS": 0x00189219, "ST": 0x00080081, "SV": 0x00720082,
    "TM": 0x00080030, "UC": 0x00080119, "UI": 0x00080018, "UL": 0x00186018, "UN": 0x0072006D, "UR": 0x00080120,
    "US": 0x00280010, "UT": 0x0040A160, "UV": 0x00720083,
}  # fmt: skip
SEQUENCES = [0x00081115, 0x00081140, 0x00082218, 0x0040A730, 0x52009230]
CREATORS = [0x00090010, 0x00290011, 0x300B00FF]
PRIVATE = [0x00091001, 0x0029110A, 0x300BFF10]
UNKNOWN = [0x00081F1F, 0x00181F00]
GROUP_LENGTHS = [0x00080000, 0x00090000, 0x00280000, 0x52000000]

RAW = st.binary(max_size=24)
LEAVES = st.one_of(
    st.builds(lambda vr, value: ("plain", KNOWN[vr], vr, value), st.sampled_from(sorted(KNOWN)), RAW),
    st.builds(lambda tag, value: ("plain", tag, "LO", value), st.sampled_from(CREATORS), RAW),
    st.builds(lambda tag, vr, value: ("plain", tag, vr, value), st.sampled_from(PRIVATE + UNKNOWN),
              st.sampled_from([*sorted(KNOWN), "UN", "UN", "UN"]), RAW),
    st.builds(lambda tag: ("plain", tag, "UL", b"\1\2\3\4"), st.sampled_from(GROUP_LENGTHS)),
)  # fmt: skip


def branches(content: st.SearchStrategy) -> st.SearchStrategy:
    items = st.lists(st.tuples(st.booleans(), st.lists(content, max_size=3)), max_size=3)
    return st.one_of(
        st.tuples(st.just("sequence"), st.sampled_from(SEQUENCES), st.booleans(), items),
        # Private sequences: UN of undefined length, Implicit VR inside.
        st.tuples(st.just("unknown"), st.sampled_from(PRIVATE), st.just(value=True), items),
    )


TREES = st.lists(st.recursive(LEAVES, branches, max_leaves=8), max_size=6)


def write(nodes: list[tuple], syntax: str) -> bytes:
    """Encode a tree as it is, values of odd length too."""
    return b"".join(write_one(node, syntax) for node in nodes)


def write_one(node: tuple, syntax: str) -> bytes:
    if node[0] == "plain":
        _, tag, vr, value = node
        if syntax == BIG_ENDIAN and vr in dicom.SWAP:
            value = dicom.swapped(value, dicom.SWAP[vr])
        return dicom.header(tag, vr, len(value), syntax) + value
    kind, tag, undefined, items = node
    vr, inside = ("UN", IMPLICIT) if kind == "unknown" else ("SQ", syntax)
    body = b"".join(write_item(*item, inside) for item in items)
    if not undefined:
        return dicom.header(tag, vr, len(body), syntax) + body
    return dicom.header(tag, vr, UNDEFINED, syntax) + body + dicom.header(SEQUENCE_END, "", 0, inside)


def write_item(undefined: bool, nodes: list[tuple], syntax: str) -> bytes:
    body = write(nodes, syntax)
    if not undefined:
        return dicom.header(ITEM, "", len(body), syntax) + body
    return dicom.header(ITEM, "", UNDEFINED, syntax) + body + dicom.header(ITEM_END, "", 0, syntax)


def wanted(nodes: list[tuple], source: str) -> list[tuple]:
    """Return the tree that a conversion must give: group lengths gone; from Implicit VR, VRs by the dictionary."""
    kept = []
    for node in nodes:
        if node[0] == "plain":
            _, tag, vr, value = node
            if tag & 0xFFFF == 0:
                continue
            kept.append(("plain", tag, vr if source != IMPLICIT else dictionary(tag, vr), value))
        elif node[0] == "unknown":
            # What UN holds is nobody's business.
            kept.append(node)
        else:
            items = [(undefined, wanted(inner, source)) for undefined, inner in node[3]]
            kept.append((*node[:3], items))
    return kept


def dictionary(tag: int, vr: str) -> str:
    if tag in CREATORS:
        return "LO"
    return "UN" if tag in PRIVATE + UNKNOWN else vr


@pytest.mark.parametrize("vr", KNOWN)
def test_the_tags_used_here_have_the_vrs_they_are_used_with(vr):
    assert dictionary_VR(KNOWN[vr]) == vr


@each_way
@repeatably(50)
@given(nodes=TREES)
def test_a_data_set_comes_out_as_if_it_had_been_written_so(source, target, nodes):
    assert convert(write(nodes, source), source, target) == write(wanted(nodes, source), target)


@repeatably(60)
@given(nodes=TREES)
def test_explicit_to_big_endian_and_back_is_what_it_was(nodes):
    data = write(wanted(nodes, EXPLICIT), EXPLICIT)
    assert convert(convert(data, EXPLICIT, BIG_ENDIAN), BIG_ENDIAN, EXPLICIT) == data


@repeatably(60)
@given(nodes=TREES)
def test_explicit_to_implicit_and_back_is_what_it_was_where_the_dictionary_knows_it(nodes):
    # Implicit VR forgets the VRs of private and unknown elements: they are UN from the start here.
    data = write(wanted(nodes, IMPLICIT), EXPLICIT)
    assert convert(convert(data, EXPLICIT, IMPLICIT), IMPLICIT, EXPLICIT) == data


@pytest.mark.parametrize("syntax", ENCODINGS, ids=NAMES.get)
@repeatably(50)
@given(nodes=TREES)
def test_rewriting_in_the_same_encoding_removes_group_lengths_and_nothing_else(syntax, nodes):
    data = write(nodes, syntax)
    again = rewrite(data, ENCODINGS[syntax], ENCODINGS[syntax], Context())
    kept = wanted(nodes, EXPLICIT)
    assert again == write(kept, syntax)
    assert rewrite(again, ENCODINGS[syntax], ENCODINGS[syntax], Context()) == again


# --- real files, judged by pydicom and DCMTK --------------------------------------------------------------------

REAL = [
    "CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "ExplVR_BigEnd.dcm",
    "rtplan.dcm", "rtdose_1frame.dcm", "reportsi.dcm", "test-SR.dcm", "nested_priv_SQ.dcm",
    "priv_SQ.dcm", "UN_sequence.dcm", "waveform_ecg.dcm", "liver_1frame.dcm", "examples_palette.dcm",
    "examples_overlay.dcm", "empty_charset_LEI.dcm", "reportsi_with_empty_number_tags.dcm",
]  # fmt: skip


def read(data: bytes, syntax: str | None = None) -> Dataset:
    """Read by pydicom; a bare data set of `syntax` gets a File Meta Information first."""
    stream = io.BytesIO(data if syntax is None else dicom.file([data], syntax))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(stream, force=True)


def taken_apart(name: str) -> tuple[bytes, str]:
    """Return the data set of a real file up to Pixel Data, and its encoding."""
    with open(get_testdata_file(name, download=False), "rb") as stream:
        data = stream.read()
    ds = read(data)
    syntax = str(ds.file_meta.TransferSyntaxUID)
    start = 132 + 12 + ds.file_meta[0x00020000].value
    end = len(data)
    if PIXEL_DATA in ds:
        pixels = ds.get_item(PIXEL_DATA)
        end = pixels.value_tell - (8 if syntax == IMPLICIT else 12)
    return data[start:end], syntax if syntax in ENCODINGS else EXPLICIT


def raw_values(ds: Dataset) -> dict[int, tuple[str, object]]:
    """Return VR and little-endian bytes of each element as they stand; (SQ, nothing) for sequences.

    Reading a value changes what pydicom holds of it, so what it holds is taken first. What it has read by itself (the
    character set) comes as the value that it is for pydicom.
    """
    held = dict(ds._dict)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vrs = {tag: str(ds[tag].VR) for tag in held}
    values = {}
    for tag, raw in held.items():
        if vrs[tag] == "SQ" or not isinstance(raw, RawDataElement):
            values[tag] = vrs[tag], b"" if vrs[tag] == "SQ" else raw.value
            continue
        value = raw.value or b""
        unit = 1 if raw.is_little_endian or raw.VR == "UN" else dicom.SWAP.get(raw.VR, 1)
        values[tag] = str(raw.VR or vrs[tag]), dicom.swapped(value, unit) if unit > 1 else value
    return values


def items(ds: Dataset, tag: int) -> list[Dataset]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(ds[tag].value)


def same(before: Dataset, after: Dataset, source: str) -> int:
    """Assert that two data sets say the same, value by value; return how many elements were compared."""
    old, new = raw_values(before), raw_values(after)
    assert list(new) == [tag for tag in old if tag.element != 0]
    compared = 0
    for tag, (vr, value) in new.items():
        compared += 1
        if vr == old[tag][0] == "SQ":
            for one, other in zip(items(before, tag), items(after, tag), strict=True):
                compared += same(one, other, source)
        elif "SQ" not in (vr, old[tag][0]):
            assert value == old[tag][1], tag
            if source != IMPLICIT and not after.is_implicit_VR:
                assert vr == old[tag][0]
    return compared


@pytest.mark.parametrize(
    ("name", "target"),
    [
        (name, target)
        for name in REAL
        for target in ENCODINGS
        # pydicom reads what UN of undefined length holds as big endian, against PS3.5 6.2.2.
        if target != BIG_ENDIAN or name not in ("priv_SQ.dcm", "nested_priv_SQ.dcm", "UN_sequence.dcm")
    ],
    ids=lambda value: NAMES.get(value, value),
)
def test_real_data_sets_say_the_same_to_pydicom(name, target):
    data, source = taken_apart(name)
    converted = convert(data, source, target, context=context_of(read(data, source)))
    after = read(converted, target)
    assert same(read(data, source), after, source) > 1
    if target != IMPLICIT:
        # The VRs that were looked up are those that pydicom looks up.
        for one in after:
            if not one.tag.is_private and one.VR not in ("UN", "SQ"):
                assert one.VR in dictionary_VR(one.tag)


def context_of(ds: Dataset) -> Context:
    return Context(signed=ds.get("PixelRepresentation", 0) == 1, allocated=ds.get("BitsAllocated", 16))


@pytest.mark.parametrize(
    ("name", "target", "option"),
    [("rtplan.dcm", EXPLICIT, "+te"), ("rtplan.dcm", BIG_ENDIAN, "+tb"), ("CT_small.dcm", IMPLICIT, "+ti"),
     ("MR_small_bigendian.dcm", EXPLICIT, "+te"), ("MR_small_bigendian.dcm", IMPLICIT, "+ti"),
     ("reportsi.dcm", IMPLICIT, "+ti")],
    ids=lambda value: NAMES.get(value, value),
)  # fmt: skip
def test_real_data_sets_come_out_as_from_dcmconv(name, target, option, tmp_path):
    program = need_tool("dcmconv")
    data, source = taken_apart(name)
    (tmp_path / "in.dcm").write_bytes(dicom.file([data], source))
    # Group lengths gone, values of DCMTK's own making avoided.
    subprocess.run([program, option, "-g", "in.dcm", "out.dcm"], cwd=tmp_path, check=True, capture_output=True)
    theirs = read((tmp_path / "out.dcm").read_bytes())
    ours = read(convert(data, source, target, context=context_of(read(data, source))), target)
    compare_public(ours, theirs)


def compare_public(ours: Dataset, theirs: Dataset) -> None:
    """Compare what is not private, of which DCMTK knows some VRs itself."""
    one, other = ({tag: value for tag, value in raw_values(ds).items() if not tag.is_private} for ds in (ours, theirs))
    assert one == other
    for tag, (vr, _) in one.items():
        if vr == "SQ":
            for inner, outer in zip(items(ours, tag), items(theirs, tag), strict=True):
                compare_public(inner, outer)


# --- what Implicit VR leaves out -------------------------------------------------------------------------------


def test_private_elements_become_unknown_and_their_creators_long_strings():
    nodes = [("plain", 0x00090010, "LO", b"CREATOR "), ("plain", 0x00090011, "LO", b""), ("plain", 0x000900FF, "LO",
                                                                                          b"A "),
             ("plain", 0x00090001, "UN", b"no"), ("plain", 0x00090100, "UN", b"no"), ("plain", 0x00091001, "UN",
                                                                                      b"\1\2")]  # fmt: skip
    nodes.sort(key=lambda node: node[1])
    for target in (EXPLICIT, BIG_ENDIAN):
        assert convert(write(nodes, IMPLICIT), IMPLICIT, target) == write(nodes, target)


@pytest.mark.parametrize("target", [EXPLICIT, BIG_ENDIAN], ids=NAMES.get)
@pytest.mark.parametrize("undefined", [False, True], ids=["defined length", "undefined length"])
def test_a_private_sequence_from_implicit_vr_is_unknown_and_stays_implicit_inside(target, undefined):
    inner = [
        ("plain", 0x00080000, "UL", b"\4\0\0\0"),
        ("plain", KNOWN["US"], "US", b"\1\2"),
        ("plain", 0x00091002, "UN", b"xy"),
    ]
    body = write_item(undefined, inner, IMPLICIT)
    if undefined:
        body += dicom.header(SEQUENCE_END, "", 0)
    length = UNDEFINED if undefined else len(body)
    data = dicom.header(0x00091001, "", length, IMPLICIT) + body
    assert convert(data, IMPLICIT, target) == dicom.header(0x00091001, "UN", length, target) + body


@each_way
def test_what_is_unknown_in_a_known_sequence_is_not_touched(source, target):
    inner = [
        ("plain", 0x00091001, "UN", b"\1\2\3\4\5"),
        ("unknown", 0x00091002, True, [(True, [("plain", KNOWN["US"], "US", b"\1\2")])]),
    ]
    nodes = [("sequence", 0x00081140, True, [(True, inner)])]
    assert convert(write(nodes, source), source, target) == write(nodes, target)


@pytest.mark.parametrize("depth", ["top level", "in a sequence"])
@pytest.mark.parametrize("target", [EXPLICIT, BIG_ENDIAN], ids=NAMES.get)
@pytest.mark.parametrize(("size", "vr"), [(65534, "DS"), (65536, "UN"), (70_000, "UN")])
def test_a_value_too_long_for_its_vr_becomes_unknown(depth, target, size, vr):
    value = b"1\\" * (size // 2)
    before, after = [("plain", KNOWN["DS"], "DS", value)], [("plain", KNOWN["DS"], vr, value)]
    if depth == "in a sequence":
        before, after = ([("sequence", 0x00081140, False, [(False, nodes)])] for nodes in (before, after))
    assert convert(write(before, IMPLICIT), IMPLICIT, target) == write(after, target)


def test_numbers_too_long_for_their_vr_are_not_swapped_for_what_is_unknown_is_little_endian():
    value = bytes(range(256)) * 400
    data = dicom.header(KNOWN["US"], "US", len(value), IMPLICIT) + value
    assert convert(data, IMPLICIT, BIG_ENDIAN) == dicom.header(KNOWN["US"], "UN", len(value), BIG_ENDIAN) + value


SIGNED, UNSIGNED = Context(signed=True), Context(signed=False)
# Tag, length, context, VR (PS3.5 Annex A).
CHOICES = {
    "smallest pixel, unsigned": (0x00280106, 2, UNSIGNED, "US"),
    "smallest pixel, signed": (0x00280106, 2, SIGNED, "SS"),
    "largest pixel in series, signed": (0x00280109, 2, SIGNED, "SS"),
    "pixel padding, signed": (0x00280120, 2, SIGNED, "SS"),
    "pixel padding range, unsigned": (0x00280121, 2, UNSIGNED, "US"),
    "palette descriptor, unsigned": (0x00281101, 6, UNSIGNED, "US"),
    "LUT descriptor, signed": (0x00283002, 6, SIGNED, "SS"),
    "LUT data, small": (0x00283006, 512, UNSIGNED, "US"),
    "LUT data, of any sign": (0x00283006, 512, SIGNED, "US"),
    "LUT data, as much as 16 bits can say": (0x00283006, 65534, UNSIGNED, "US"),
    "LUT data, large": (0x00283006, 131072, UNSIGNED, "OW"),
    "grey LUT data, signed": (0x00281200, 512, SIGNED, "SS"),
    "grey LUT data, large": (0x00281200, 131072, SIGNED, "OW"),
    "palette data": (0x00281201, 512, UNSIGNED, "OW"),
    "pixels of 8 bits": (PIXEL_DATA, 64, Context(allocated=8), "OB"),
    "pixels of 1 bit": (PIXEL_DATA, 64, Context(allocated=1), "OB"),
    "pixels of 16 bits": (PIXEL_DATA, 64, Context(allocated=16), "OW"),
    "pixels of 32 bits": (PIXEL_DATA, 64, Context(allocated=32), "OW"),
    "overlay": (0x60003000, 64, UNSIGNED, "OW"),
    "another overlay": (0x601E3000, 64, UNSIGNED, "OW"),
    "curve": (0x50023000, 64, UNSIGNED, "OW"),
    "waveform of 8 bits": (0x54001010, 64, Context(waveform_allocated=8), "OB"),
    "waveform of 16 bits": (0x54001010, 64, Context(waveform_allocated=16), "OW"),
    "waveform padding of 8 bits": (0x5400100A, 2, Context(waveform_allocated=8), "OB"),
    "a waveform beside pixels of 8 bits": (0x54001010, 64, Context(allocated=8), "OW"),
    "a group length": (0x00080000, 4, UNSIGNED, "UL"),
    "a private group length": (0x00090000, 4, UNSIGNED, "UL"),
    "an unknown element": (0x00081F1F, 4, UNSIGNED, "UN"),
    "an unknown element of undefined length": (0x00081F1F, UNDEFINED, UNSIGNED, "UN"),
    "a private element": (0x00091001, 4, UNSIGNED, "UN"),
    "a private element of undefined length": (0x00091001, UNDEFINED, UNSIGNED, "UN"),
    "a private creator": (0x00090010, 4, UNSIGNED, "LO"),
    "the last private creator": (0x000900FF, 4, UNSIGNED, "LO"),
    "no private creator any more": (0x00090100, 4, UNSIGNED, "UN"),
    "no private creator yet": (0x0009000F, 4, UNSIGNED, "UN"),
    "a sequence": (0x00081140, 40, UNSIGNED, "SQ"),
    "a sequence of undefined length": (0x00081140, UNDEFINED, UNSIGNED, "SQ"),
    "a string of undefined length": (0x00100010, UNDEFINED, UNSIGNED, "UN"),
    "a string": (0x00100010, 4, UNSIGNED, "PN"),
}


@pytest.mark.parametrize(("tag", "length", "context", "vr"), CHOICES.values(), ids=list(CHOICES))
def test_the_vr_of_an_element_of_implicit_vr(tag, length, context, vr):
    assert look_up(tag, length, context).decode() == vr


def test_the_dictionary_is_that_of_pydicom():
    masks = pydicom._dicom_dict.RepeatersDictionary
    repeated = {int(mask.replace("x", digit), 16) for mask in masks for digit in "02E"}
    for tag in {*map(int, pydicom._dicom_dict.DicomDictionary), *repeated}:
        if not tag >> 16 & 1:
            known = pydicom.datadict.dictionary_has_tag(tag) or pydicom.datadict.mask_match(tag)
            assert _dictionary_vr(tag).decode() == (dictionary_VR(tag) if known else "UN"), f"{tag:08X}"


@repeatably(200)
@given(st.sampled_from(sorted(tag for tag in pydicom._dicom_dict.DicomDictionary if tag >> 16 not in (2, 0xFFFE))),
       st.booleans())  # fmt: skip
def test_every_tag_of_the_standard_gets_one_of_its_vrs(tag, signed):
    vr = look_up(tag, 8, Context(signed=signed)).decode()
    assert vr in dictionary_VR(tag).split(" or ")
    assert len(vr) == 2


def test_the_nearest_enclosing_description_decides_the_sign():
    def described(sign: int, vr: str, *more: tuple) -> list[tuple]:
        return [
            ("plain", 0x00280103, "US", bytes([sign, 0])),
            ("plain", 0x00280106, vr, b"\xff\xff"),
            ("plain", 0x00280120, vr, b"\1\2"),
            *more,
        ]

    def icon(*items: list[tuple]) -> tuple:
        return ("sequence", 0x00880200, True, [(True, item) for item in items])

    undescribed = [("plain", 0x00280106, "US", b"\xff\xff")]
    nested = [
        icon(described(1, "SS", icon(described(0, "US")), ("plain", 0x54001010, "OW", b"ab")), undescribed),
    ]
    nodes = [*described(0, "US"), *nested]
    assert convert(write(nodes, IMPLICIT), IMPLICIT, EXPLICIT, context=UNSIGNED) == write(nodes, EXPLICIT)
    flipped = [*described(1, "SS"), icon([("plain", 0x00280106, "SS", b"\xff\xff")], described(0, "US"))]
    assert convert(write(flipped, IMPLICIT), IMPLICIT, EXPLICIT, context=SIGNED) == write(flipped, EXPLICIT)


def test_the_nearest_description_decides_even_from_behind():
    inner = ("sequence", 0x00081140, True, [(True, [("plain", 0x00280106, "SS", b"\xff\xff")])])
    nodes = [("sequence", 0x00880200, True, [(True, [inner, ("plain", 0x00280103, "US", b"\1\0")])])]
    assert convert(write(nodes, IMPLICIT), IMPLICIT, EXPLICIT, context=UNSIGNED) == write(nodes, EXPLICIT)


@pytest.mark.parametrize(("allocated", "vr"), [(8, "OB"), (16, "OW")])
def test_pixels_and_waveforms_within_sequences_go_by_their_own_bits(allocated, vr):
    bits = struct.pack("<H", allocated)
    icon = [("plain", 0x00280100, "US", bits), ("plain", PIXEL_DATA, vr, b"\1\2\3\4")]
    wave = [("plain", 0x54001004, "US", bits), ("plain", 0x54001010, vr, b"\1\2\3\4")]
    nodes = [("sequence", 0x00880200, True, [(False, icon)]), ("sequence", 0x54000100, False, [(True, wave)])]
    for target in (EXPLICIT, BIG_ENDIAN):
        data = write(nodes, IMPLICIT)
        assert convert(data, IMPLICIT, target, context=Context(allocated=24 - allocated)) == write(nodes, target)
        assert convert(write(nodes, target), target, IMPLICIT) == data


# --- bytes that must not change --------------------------------------------------------------------------------

ODD_TEXT = {
    "Latin-1": b"M\xfcller^J\xf6rg", "Shift-JIS": b"\x83\x84\x83\x7d\x83\x5f^\xe0\xe1 ",
    "escapes": b"\x1b$B;3ED\x1b(B^",
    "zeros": b"a\0\0\0", "spaces on both sides": b"  a   ", "backslashes": b"\\\\a\\", "broken UTF-8": b"\xff\xfe\xc3",
    "line ends": b"a\r\nb\x0c", "nothing but spaces": b"    ",
}  # fmt: skip


@each_way
@pytest.mark.parametrize("text", ODD_TEXT.values(), ids=list(ODD_TEXT))
def test_text_is_never_decoded(source, target, text):
    texts = [(KNOWN[vr], vr) for vr in ("CS", "DS", "IS", "LO", "LT", "PN", "SH", "UC", "UI", "UT", "DA", "UR")]
    leaves = [("plain", 0x00080005, "CS", b"ISO 2022 IR 87"), *[("plain", tag, vr, text) for tag, vr in sorted(texts)]]
    nodes = [*leaves, ("sequence", 0x0040A730, False, [(False, leaves)])]
    assert convert(write(nodes, source), source, target) == write(nodes, target)


@each_way
def test_sequences_keep_their_kind_of_length_and_their_order(source, target):
    leaf = ("plain", KNOWN["SH"], "SH", b"CODE")
    nodes = [
        ("sequence", 0x00081140, kind, [(one, [leaf]), (other, []), (one, [("sequence", 0x00081115, other, [])])])
        for kind in (True, False)
        for one in (True, False)
        for other in (True, False)
    ]
    disorder = [*nodes, ("plain", KNOWN["US"], "US", b"\1\2"), leaf, leaf]
    assert convert(write(disorder, source), source, target) == write(disorder, target)


@each_way
def test_a_known_sequence_that_holds_no_items_becomes_unknown(source, target):
    value = b"these are no items at all"
    data = dicom.header(0x00081140, "SQ", len(value), source) + value
    assert convert(data, source, target) == dicom.header(0x00081140, "UN", len(value), target) + value


@pytest.mark.parametrize("target", [IMPLICIT, BIG_ENDIAN], ids=NAMES.get)
def test_items_of_implicit_vr_in_an_explicit_sequence_are_read(target):
    leaves = [("plain", KNOWN["SH"], "SH", b"CODE"), ("plain", KNOWN["US"], "US", b"\1\2")]
    for undefined in (True, False):
        body = write_item(undefined, leaves, IMPLICIT)
        end = dicom.header(SEQUENCE_END, "", 0) if undefined else b""
        data = dicom.header(0x00081140, "SQ", UNDEFINED if undefined else len(body)) + body + end
        nodes = [("sequence", 0x00081140, undefined, [(undefined, leaves)])]
        assert convert(data, EXPLICIT, target) == write(nodes, target)
        assert rewrite(data, EXPLICIT_LITTLE, EXPLICIT_LITTLE, Context()) == write(nodes, EXPLICIT)


@pytest.mark.parametrize("spelled", [b"DA", b"AB"], ids=["a VR", "two capitals"])
def test_all_of_an_item_of_implicit_vr_is_implicit_whatever_its_lengths_look_like(spelled):
    long = ("plain", KNOWN["LT"], "LT", bytes(int.from_bytes(spelled, "little")))
    leaves = [("plain", KNOWN["SH"], "SH", b"CODE"), long, ("plain", KNOWN["US"], "US", b"\1\2")]
    body = write_item(True, leaves, IMPLICIT)
    data = dicom.header(0x00081140, "SQ", len(body)) + body
    nodes = [("sequence", 0x00081140, False, [(True, leaves)])]
    assert convert(data, EXPLICIT, BIG_ENDIAN) == write(nodes, BIG_ENDIAN)


def test_an_element_without_vr_among_explicit_ones_gets_its_own():
    data = (
        element(0x00080060, "CS", "OT")
        + element(0x00280010, "US", [7], IMPLICIT)
        + element(0x00091001, "", b"ab", IMPLICIT)
    )
    nodes = [
        ("plain", 0x00080060, "CS", b"OT"),
        ("plain", 0x00280010, "US", b"\7\0"),
        ("plain", 0x00091001, "UN", b"ab"),
    ]
    assert convert(data, EXPLICIT, BIG_ENDIAN) == write(nodes, BIG_ENDIAN)


def test_an_unknown_vr_keeps_its_bytes():
    data = struct.pack("<HH2sHI", 0x0009, 0x1001, b"ZZ", 0, 4) + b"abcd"
    for target in (IMPLICIT, BIG_ENDIAN):
        value = convert(data, EXPLICIT, target)[-4:]
        assert value == b"abcd"


def test_fragments_of_nested_pixel_data_stay_as_they_are():
    fragments = dicom.encapsulated([b"\xff\xd8\xff\xd9", b"\xfe\xff\xdd\xe0"])
    leaf = element(0x00280010, "US", 4)
    item = element(0x00280000, "UL", [99]) + leaf + fragments
    data = dicom.sequence(0x00880200, [item], undefined=True)
    again = rewrite(data, EXPLICIT_LITTLE, EXPLICIT_LITTLE, Context())
    assert again == dicom.sequence(0x00880200, [leaf + fragments], undefined=True)


# --- edits -----------------------------------------------------------------------------------------------------


@each_way
def test_edits_come_in_the_order_of_tags_in_the_new_encoding(source, target):
    nodes = [("plain", KNOWN[vr], vr, b"AB") for vr in ("CS", "PN", "US")]
    edits = {
        0x00080005: Set(0x00080005, b"CS", b"ISO_IR 100"),
        KNOWN["PN"]: Remove(KNOWN["PN"]),
        KNOWN["US"]: Set(KNOWN["US"], b"US", b"\1\2"),
        0x00281000: Replace(0x00281000, b"<replaced>"),
        0x7FE00001: Reserve(0x7FE00001, b"OV", 16, key="offsets"),
        0x00080008: Remove(0x00080008),
    }
    assert convert(write(nodes, source), source, target, edits=edits) == (
        element(0x00080005, "CS", "ISO_IR 100", target)
        + element(KNOWN["CS"], "CS", "AB", target)
        + element(KNOWN["US"], "US", [0x0201], target)
        + b"<replaced>"
        + dicom.header(0x7FE00001, "OV", 16, target)
        + bytes(16)
    )


# New elements for items, by tag; None leaves one out.
CHANGES = st.dictionaries(st.sampled_from(sorted({*KNOWN.values(), *SEQUENCES, *PRIVATE})), st.sampled_from([None,
                                                                                                             b"",
                                                                                                             b"new!"]),
                          max_size=4)  # fmt: skip


def changed(nodes: list[tuple], changes: dict, source: str, *, item: bool = False) -> list[tuple]:
    """Return a tree whose items have these changes, and which is in the order of tags, as the changes must be."""
    kept = {node[1]: node for node in sorted(nodes, key=lambda node: node[1])}
    if item:
        for tag, value in changes.items():
            kept.pop(tag, None)
            if value is not None:
                kept[tag] = ("plain", tag, "UT", value)
    result = []
    for tag in sorted(kept):
        node = kept[tag]
        if node[0] == "sequence":
            node = (
                *node[:3],
                [(undefined, changed(inner, changes, source, item=True)) for undefined, inner in node[3]],
            )
        result.append(node)
    return result


def in_order(nodes: list[tuple]) -> list[tuple]:
    return changed(nodes, {}, EXPLICIT)


@pytest.mark.parametrize(
    ("source", "target"), [(EXPLICIT, EXPLICIT), (IMPLICIT, EXPLICIT), (EXPLICIT, BIG_ENDIAN), (BIG_ENDIAN, IMPLICIT)],
    ids=["explicit", "implicit to explicit", "explicit to big endian", "big endian to implicit"],
)  # fmt: skip
@repeatably(50)
@given(nodes=TREES.map(in_order), changes=CHANGES)
def test_items_at_any_depth_may_be_given_new_elements(source, target, nodes, changes):
    new = {tag: b"" if value is None else element(tag, "UT", value, target) for tag, value in changes.items()}
    out = rewrite(write(nodes, source), ENCODINGS[source], ENCODINGS[target], Context(), [lambda _: new])
    assert out == write(changed(wanted(nodes, source), changes, source), target)


@pytest.mark.parametrize("syntax", ENCODINGS, ids=NAMES.get)
def test_whoever_changes_items_sees_where_and_what_they_are(syntax):
    seen = []

    def look(item):
        seen.append((item.path, [part.tag for part in item.parts], item.text(KNOWN["SH"]), item.number(KNOWN["US"])))
        assert item.encoding == ENCODINGS[syntax]
        assert item.find(KNOWN["LO"]) is None
        assert item.value(KNOWN["LO"]) == item.value(0x0040A730) == b""
        assert (item.text(KNOWN["LO"]), item.number(KNOWN["LO"])) == ("", None)
        return {}

    leaves = [("plain", KNOWN["SH"], "SH", b"CODE  "), ("plain", KNOWN["US"], "US", b"\2\1")]
    inner = ("sequence", 0x0040A730, True, [(True, leaves), (False, leaves[:1])])
    nodes = [
        ("plain", KNOWN["SH"], "SH", b"TOP "),
        ("sequence", 0x00081140, False, [(True, [*leaves, inner]), (False, [])]),
    ]
    data = write(nodes, syntax)
    assert rewrite(data, ENCODINGS[syntax], ENCODINGS[syntax], Context(), [look]) == data
    assert seen == [
        ((0x00081140,), [KNOWN["SH"], KNOWN["US"], 0x0040A730], "CODE", 0x0102),
        ((0x00081140, 0x0040A730), [KNOWN["SH"], KNOWN["US"]], "CODE", 0x0102),
        ((0x00081140, 0x0040A730), [KNOWN["SH"]], "CODE", None),
        ((0x00081140,), [], "", None),
    ]


def test_of_several_changes_to_one_element_the_last_is_made():
    nodes = [("sequence", 0x00081140, False, [(False, [("plain", KNOWN["SH"], "SH", b"OLD ")])])]
    first, second = ({KNOWN["SH"]: element(KNOWN["SH"], "SH", value)} for value in ("ONE ", "TWO "))
    out = rewrite(
        write(nodes, EXPLICIT), EXPLICIT_LITTLE, EXPLICIT_LITTLE, Context(), [lambda _: first, lambda _: second]
    )
    assert out == dicom.sequence(0x00081140, [element(KNOWN["SH"], "SH", "TWO ")])


ADDED = [element(0x00080050, "SH", "NEW ")]
OLD = [element(0x00080050, "SH", "OLD "), b""]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", dicom.sequence(0x00082112, ADDED)),
        (dicom.sequence(0x00082112, []), dicom.sequence(0x00082112, ADDED)),
        (dicom.sequence(0x00082112, OLD), dicom.sequence(0x00082112, OLD + ADDED)),
        (dicom.sequence(0x00082112, [], undefined=True), dicom.header(0x00082112, "SQ", UNDEFINED)
         + dicom.header(ITEM, "", 12) + ADDED[0] + dicom.header(SEQUENCE_END, "", 0)),
    ],
    ids=["no sequence", "an empty one", "items before it", "undefined length"],
)  # fmt: skip
def test_an_item_is_appended_to_a_sequence(before, after):
    assert encoding.append_item(before, 0x00082112, ADDED[0]) == after
    assert dicom.walk(dicom.file([after])).elements[0x00082112].items[-1][0x00080050].text == "NEW"


# --- depth and damage ------------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize("undefined", [True, False], ids=["undefined lengths", "defined lengths"])
def test_thousands_of_levels_of_nesting_are_no_recursion(source, target, undefined):
    depth = 2000
    assert depth > sys.getrecursionlimit()
    assert convert(nest(depth, source, undefined), source, target) == nest(depth, target, undefined)


def nest(depth: int, syntax: str, undefined: bool) -> bytes:
    leaf = element(KNOWN["US"], "US", [0x0102], syntax)
    before, behind, size = [], [], len(leaf)
    for _ in range(depth):
        tail = dicom.header(ITEM_END, "", 0, syntax) + dicom.header(SEQUENCE_END, "", 0, syntax) if undefined else b""
        item = dicom.header(ITEM, "", UNDEFINED if undefined else size, syntax)
        size += len(item)
        head = dicom.header(0x00081140, "SQ", UNDEFINED if undefined else size, syntax)
        size += len(head) + len(tail)
        before.append(head + item)
        behind.append(tail)
    return b"".join(reversed(before)) + leaf + b"".join(behind)


def everything(syntax: str) -> bytes:
    leaf = ("plain", KNOWN["SH"], "SH", b"CODE")
    inner = ("sequence", 0x0040A730, True, [(True, [leaf]), (False, [leaf])])
    unknown = ("unknown", 0x00091001, True, [(True, [leaf])])
    number = ("plain", KNOWN["US"], "US", b"\1\2")
    return write_one(
        ("sequence", 0x00081140, False, [(True, [leaf, unknown, inner, number]), (False, [inner])]), syntax
    )


def survives(data: bytes, source: str, target: str) -> bool:
    """Tell whether a rewriting went through; nothing but an InputError may stop it."""
    try:
        rewrite(data, ENCODINGS[source], ENCODINGS[target], Context())
    except InputError:
        return False
    return True


@each_way
def test_a_sequence_cut_at_any_byte_is_an_input_error(source, target):
    data = everything(source)
    assert survives(data, source, target)
    assert [length for length in range(len(data)) if survives(data[:length], source, target)] == [0]


@each_way
def test_damaged_bytes_in_a_sequence_are_an_input_error_or_come_out(source, target):
    whole = everything(source)
    dice = random.Random(11)
    failures = 0
    for _ in range(800):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 3)):
            data[dice.randrange(len(data))] = dice.choice([0, 1, 2, 8, 0x41, 0x51, 0x53, 0x7F, 0xE0, 0xFE, 0xFF])
        failures += not survives(bytes(data), source, target)
    assert 50 < failures < 750


DAMAGE = {
    "an item that is too long": dicom.header(ITEM, "", 50) + element(0x00080050, "SH", "A "),
    "an item that is too short": dicom.header(ITEM, "", 6) + element(0x00080050, "SH", "A "),
    "an element that goes beyond its item": dicom.header(ITEM, "", 10) + dicom.header(0x00080050, "SH", 40) + b"A ",
    "bytes behind the last item": dicom.header(ITEM, "", 0) + b"abcd",
    "an element where an item belongs": dicom.header(ITEM, "", 0) + element(0x00080050, "SH", "A "),
    "an item end without an item": dicom.header(ITEM, "", 0) + dicom.header(ITEM_END, "", 0),
    "a sequence end in an item": dicom.header(ITEM, "", 8) + dicom.header(SEQUENCE_END, "", 0),
}


@pytest.mark.parametrize("body", DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_sequence_is_an_input_error_that_names_it(body):
    data = (
        element(0x00080050, "SH", "A ")
        + dicom.header(0x00081140, "SQ", len(body))
        + body
        + element(0x00100010, "PN", "A")
    )
    with pytest.raises(InputError) as caught:
        convert(data, EXPLICIT, IMPLICIT)
    assert (caught.value.code, caught.value.tag) == ("E_SEQUENCE", 0x00081140)
    assert "(0008,1140)" in str(caught.value)


# Of the lengths that an item may have, some are spelled like a VR: 16708 is "DA" in little endian.
@pytest.mark.parametrize("spelled", [b"DA", b"LO", b"TM"], ids=lambda vr: vr.decode())
@pytest.mark.parametrize("undefined", [False, True], ids=["in a defined length", "in an undefined length"])
def test_the_length_of_an_item_may_be_spelled_like_a_vr(spelled, undefined):
    size = int.from_bytes(spelled, "little")
    nodes = [("sequence", 0x00081140, undefined, [(False, [("plain", KNOWN["UT"], "UT", bytes(size - 12))])])]
    assert convert(write(nodes, EXPLICIT), EXPLICIT, BIG_ENDIAN) == write(nodes, BIG_ENDIAN)


# --- elements of an item ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", ENCODINGS, ids=NAMES.get)
@repeatably(60)
@given(nodes=TREES)
def test_parsing_gives_each_element_with_its_place(syntax, nodes):
    data = b"??" + write(nodes, syntax) + b"??"
    position = 2
    for part, node in zip(parse(Memory(data), 2, len(data) - 2, ENCODINGS[syntax]), nodes, strict=True):
        encoded = write_one(node, syntax)
        assert (part.tag, part.start, part.end) == (node[1], position, position + len(encoded))
        assert data[part.start : part.end] == encoded
        if node[0] == "plain":
            assert data[part.value : part.end] == encoded[len(encoded) - len(node[3]) :]
        position = part.end


@pytest.mark.parametrize("change", [-1, -3, 1], ids=["a byte short", "three bytes short", "a byte over"])
def test_parsing_within_wrong_bounds_is_an_input_error(change):
    data = element(0x00080050, "SH", "A ") + element(0x00080060, "CS", "OT") + b"\xff" * 8
    with pytest.raises(InputError):
        parse(Memory(data), 0, 20 + change, EXPLICIT_LITTLE)


def test_values_are_carried_as_spans_not_read():
    big = bytes(300_000)
    data = element(0x00081030, "UT", big) + element(0x00282000, "OB", big)
    header = Header(Memory(data), 0, EXPLICIT_LITTLE)
    pieces = list(transcribe(header.reader, header.elements, {}, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Context()))
    assert sum(len(piece) for piece in pieces if isinstance(piece, bytes)) == 16
    assert sum(piece.end - piece.start for piece in pieces if isinstance(piece, Span)) == 600_000


def test_words_are_swapped_as_numpy_swaps_them():
    words = np.arange(1000, dtype="<u2")
    data = element(0x00281201, "OW", words.tobytes())
    converted = convert(data, EXPLICIT, BIG_ENDIAN)
    assert np.array_equal(np.frombuffer(converted[12:], ">u2"), words)


def test_the_dictionary_is_loaded_only_when_it_is_needed():
    _dictionary_vr.cache_clear()
    data = write([("plain", KNOWN["PN"], "PN", b"A^B ")], EXPLICIT)
    convert(data, EXPLICIT, IMPLICIT)
    assert _dictionary_vr.cache_info().misses == 0
    convert(write([("plain", KNOWN["PN"], "PN", b"A^B ")], IMPLICIT), IMPLICIT, EXPLICIT)
    assert _dictionary_vr.cache_info().misses == 1
