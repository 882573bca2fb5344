"""Preamble and group 0002, whole and damaged (PS3.10 7.1)."""

from __future__ import annotations

import io
import struct
import warnings

import dicom
import pydicom
import pytest
from dicom import DEFLATED, EXPLICIT, IMPLICIT, element
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from dcmtx.dataset import meta, vr
from dcmtx.dataset.meta import FileMeta, read_file_meta
from dcmtx.errors import InputError

REPEATABLY = settings(derandomize=True, deadline=None, database=None, max_examples=200)

PREAMBLE = bytes(range(128))
DATASET = element(0x00080008, "CS", "ORIGINAL\\PRIMARY") + element(0x00080060, "CS", "OT")
META = {
    0x00020001: element(0x00020001, "OB", b"\0\1"),
    0x00020002: element(0x00020002, "UI", dicom.SECONDARY_CAPTURE),
    0x00020003: element(0x00020003, "UI", "1.2.3.4"),
    0x00020010: element(0x00020010, "UI", EXPLICIT),
    0x00020012: element(0x00020012, "UI", "1.2.3"),
    0x00020013: element(0x00020013, "SH", "TEST 1"),
    0x00020102: element(0x00020102, "OB", bytes(300)),
}


def group_length(length: int) -> bytes:
    return element(0x00020000, "UL", [length])


def file(*, declared: int | None = None, preamble: bytes = PREAMBLE + b"DICM", meta=META, dataset=DATASET) -> bytes:
    """Return a file; `declared` bytes go into the group length, the right number if None."""
    group = b"".join(meta.values())
    return preamble + group_length(len(group) if declared is None else declared) + group + dataset


def tags(head: FileMeta) -> list[int]:
    return [element.tag for element in head.meta]


def check_meta(head: FileMeta) -> None:
    assert tags(head) == [0x00020000, *META]
    assert head.syntax == EXPLICIT
    assert head.text(0x00020002) == dicom.SECONDARY_CAPTURE
    assert head.text(0x00020013) == "TEST 1"


def by_pydicom(data: bytes) -> pydicom.FileDataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(data), force=True)


# --- whole files -------------------------------------------------------------------------------------------------


def test_a_file_as_the_standard_has_it():
    data = file()
    head = read_file_meta(data)
    check_meta(head)
    assert head.preamble == PREAMBLE
    assert data[head.dataset :] == DATASET
    assert head.declared == len(b"".join(META.values()))


def test_elements_stand_as_they_are_in_the_file():
    head = read_file_meta(file())
    assert [(e.tag, e.vr, len(e.value)) for e in head.meta[:3]] == [
        (0x00020000, b"UL", 4), (0x00020001, b"OB", 2), (0x00020002, b"UI", 26),
    ]  # fmt: skip
    # The padding belongs to the value.
    assert head.meta[3].value == b"1.2.3.4\0"


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm",
             "rtplan.dcm", "DICOMDIR"],
)  # fmt: skip
def test_real_files_agree_with_pydicom(name):
    path = get_testdata_file(name, download=False)
    with open(path, "rb") as stream:
        data = stream.read()
    expected = by_pydicom(data)
    head = read_file_meta(data)
    assert head.syntax == expected.file_meta.TransferSyntaxUID
    assert head.preamble == expected.preamble
    assert tags(head) == [element.tag for element in expected.file_meta]
    with open(path, "rb") as stream:
        stream.seek(132)
        meta = pydicom.filereader._read_file_meta_info(stream)
        assert stream.tell() == head.dataset
    assert meta == expected.file_meta


def test_without_a_preamble_the_file_meta_is_read_all_the_same():
    data = file(preamble=b"")
    head = read_file_meta(data)
    check_meta(head)
    assert head.preamble == b""
    assert data[head.dataset :] == DATASET


@pytest.mark.parametrize("data", [b"", DATASET, b"no DICOM at all", bytes(200)],
                         ids=["empty", "a bare data set", "text", "zeros"])  # fmt: skip
def test_what_has_neither_preamble_nor_group_2_gives_an_empty_head(data):
    assert read_file_meta(data) == FileMeta(b"", (), 0, declared=None)


def test_a_preamble_may_stand_before_a_bare_data_set():
    head = read_file_meta(PREAMBLE + b"DICM" + DATASET)
    assert head == FileMeta(PREAMBLE, (), 132, declared=None)
    assert head.syntax == ""


def test_group_2_alone_is_a_file_without_data_set():
    data = file(dataset=b"")
    head = read_file_meta(data)
    check_meta(head)
    assert head.dataset == len(data)


def test_text_of_absent_elements_is_empty_and_odd_bytes_are_no_error():
    head = read_file_meta(file(meta=META | {0x00020013: element(0x00020013, "SH", b"\xffX")}))
    assert head.text(0x00020016) == ""
    assert head.text(0x00020013) == "\N{REPLACEMENT CHARACTER}X"


# --- the group length ---------------------------------------------------------------------------------------------


def test_without_a_group_length_the_elements_are_walked():
    data = PREAMBLE + b"DICM" + b"".join(META.values()) + DATASET
    head = read_file_meta(data)
    assert tags(head) == list(META)
    assert head.declared is None
    assert data[head.dataset :] == DATASET


SIZE = len(b"".join(META.values()))


@pytest.mark.parametrize("declared", [1, SIZE - 1, SIZE + 1, SIZE + len(DATASET), 0xFFFFFFFF],
                         ids=["one", "one too small", "one too great", "the data set too", "greatest"])  # fmt: skip
def test_a_wrong_group_length_is_not_believed(declared):
    data = file(declared=declared)
    head = read_file_meta(data)
    check_meta(head)
    assert head.declared == declared
    assert data[head.dataset :] == DATASET


@pytest.mark.parametrize("last", [0, 1, 4, 6], ids=lambda last: f"after {last} elements")
def test_a_group_length_that_forgets_elements_does_not_push_them_into_the_data_set(last):
    forgetful = sum(len(encoded) for encoded in list(META.values())[:last])
    data = file(declared=forgetful)
    assert by_pydicom(data).file_meta.ImplementationVersionName == "TEST 1"
    check_meta(read_file_meta(data))


@pytest.mark.parametrize("value", [b"", b"\1\0", bytes(8)], ids=["empty", "two bytes", "eight bytes"])
def test_a_group_length_that_is_no_number_is_no_length(value):
    data = PREAMBLE + b"DICM" + element(0x00020000, "UL", value) + b"".join(META.values()) + DATASET
    head = read_file_meta(data)
    check_meta(head)
    assert head.declared is None
    assert data[head.dataset :] == DATASET


# Raw deflate that starts with a stored or fixed block may begin with any byte; these begin like a tag of group 2.
@pytest.mark.parametrize("rest", [b"", b"\x10", b"\x10\x00UI", b"\x10\x00UI\x06\x001.2.3\0", b"\xff" * 40],
                         ids=["alone", "half a tag", "a tag and VR", "a whole element", "ones"])  # fmt: skip
def test_a_deflated_data_set_that_looks_like_group_2_begins_where_the_length_says(rest):
    dataset = b"\x02\x00" + rest
    data = file(meta=META | {0x00020010: element(0x00020010, "UI", DEFLATED)}, dataset=dataset)
    head = read_file_meta(data)
    assert head.syntax == DEFLATED
    assert data[head.dataset :] == dataset


# --- odd encodings -------------------------------------------------------------------------------------------------


def implicit_meta(values: dict[int, bytes]) -> bytes:
    return b"".join(struct.pack("<HHI", 2, tag & 0xFFFF, len(value)) + value for tag, value in values.items())


def test_group_2_in_implicit_vr_is_read():
    values = {
        0x00020001: b"\0\1",
        0x00020002: dicom.SECONDARY_CAPTURE.encode() + b"\0",
        0x00020010: IMPLICIT.encode() + b"\0",
    }
    group = implicit_meta(values)
    data = PREAMBLE + b"DICM" + implicit_meta({0x00020000: struct.pack("<I", len(group))}) + group + DATASET
    head = read_file_meta(data)
    assert head.syntax == IMPLICIT
    assert {e.tag: e.value for e in head.meta[1:]} == values
    assert {e.vr for e in head.meta} == {b"  "}
    assert data[head.dataset :] == DATASET


def test_an_element_without_vr_among_others_is_read():
    meta = META | {0x00020013: implicit_meta({0x00020013: b"TEST 1"})}
    check_meta(read_file_meta(file(meta=meta)))


# --- damage ----------------------------------------------------------------------------------------------------


def test_a_file_cut_anywhere_in_group_2_is_an_input_error():
    data = file(preamble=PREAMBLE + b"DICM")
    whole = len(data) - len(DATASET)
    boundaries = {132 + 12}
    for encoded in META.values():
        boundaries.add(max(boundaries) + len(encoded))
    for length in range(whole):
        cut = data[:length]
        if {length, length - 1} & boundaries or length < 132 + 2:
            # Between two elements, or before the first: no element shows that something is missing. See below.
            continue
        with pytest.raises(InputError) as caught:
            read_file_meta(cut)
        assert caught.value.code == "E_TRUNCATED", length


@pytest.mark.parametrize("vr", ["OB", "UN", "UT"])
@pytest.mark.parametrize("length", [meta.LARGEST_META + 1, 0x7FFFFFFF, 0xFFFFFFFF], ids=hex)
def test_a_length_beyond_all_sense_is_an_input_error_that_names_the_element(vr, length):
    meta = META | {0x00020102: struct.pack("<HH2sHI", 2, 0x0102, vr.encode(), 0, length) + bytes(8)}
    with pytest.raises(InputError, match=r"\(0002,0102\)") as caught:
        read_file_meta(file(meta=meta))
    assert caught.value.tag == 0x00020102


def test_a_long_value_within_reason_is_read():
    meta = META | {0x00020102: element(0x00020102, "OB", bytes(200_000))}
    data = file(meta=meta)
    head = read_file_meta(data)
    check_meta(head)
    assert data[head.dataset :] == DATASET


@pytest.mark.parametrize("last", [1, 4, 6], ids=lambda last: f"after {last} elements")
def test_a_file_that_ends_before_the_declared_end_of_group_2_is_truncated(last):
    data = file()[: 132 + 12 + sum(len(encoded) for encoded in list(META.values())[:last])]
    with pytest.raises(InputError) as caught:
        read_file_meta(data)
    assert caught.value.code == "E_TRUNCATED"


def survives(data: bytes) -> None:
    """Any bytes give a head whose parts lie within them, or an InputError."""
    try:
        head = read_file_meta(data)
    except InputError:
        return
    assert 0 <= head.dataset <= len(data)
    start = 132 if head.preamble else 0
    assert head.dataset >= start + sum(8 + len(e.value) for e in head.meta)
    # Stopped where group 2 ends, or where the group length says so.
    assert data[head.dataset : head.dataset + 2] != b"\2\0" or head.declared is not None


@REPEATABLY
@given(st.binary(max_size=60))
@example(b"\2\0" * 8)
def test_any_bytes_behind_the_prefix_give_a_head_or_an_input_error(junk):
    survives(PREAMBLE + b"DICM" + junk)
    survives(junk)


@REPEATABLY
@given(st.integers(0, SIZE + 12 - 1), st.binary(min_size=1, max_size=4))
def test_damaged_bytes_in_group_2_give_a_head_or_an_input_error(position, junk):
    data = bytearray(file())
    data[132 + position : 132 + position + len(junk)] = junk
    survives(bytes(data))


# --- value representations ---------------------------------------------------------------------------------------


def test_value_representations_are_those_of_pydicom():
    from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

    assert {one.decode() for one in vr.LONG_VRS} == {str(one) for one in EXPLICIT_VR_LENGTH_32}
    assert {one.decode() for one in vr.SHORT_VRS} == {str(one) for one in EXPLICIT_VR_LENGTH_16}
    assert vr.VRS == vr.LONG_VRS | vr.SHORT_VRS
    assert not vr.LONG_VRS & vr.SHORT_VRS
