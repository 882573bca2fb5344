"""File Meta Information as it is written (PS3.10 7.1), and UIDs that are derived."""

from __future__ import annotations

import importlib.metadata
import io
import re
import struct
import uuid

import dicom
import pydicom
import pytest
from dicom import EXPLICIT, element
from pydicom.uid import UID
from pydicom.valuerep import VR

from dcmtx import __version__, transcode
from dcmtx.codec.row import Needs, Row
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.dataset.header import Header
from dcmtx.dataset.meta import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    FileMeta,
    file_meta,
    read_file_meta,
)
from dcmtx.place.bytes import Memory
from dcmtx.policy import EncodingParameters
from dcmtx.rules.identity import derived_uid
from dcmtx.syntax import EXPLICIT_LITTLE, SYNTAXES, find

JPEGLS = find("JPEGLSLossless")
DATASET = element(0x00080016, "UI", dicom.SECONDARY_CAPTURE) + element(0x00080018, "UI", "1.2.3.4")


def header_of(dataset: bytes = DATASET) -> Header:
    return Header(Memory(dataset), 0, EXPLICIT_LITTLE)


def head_of(*meta: bytes, preamble: bytes = bytes(128), **more) -> FileMeta:
    return read_file_meta(dicom.file([], EXPLICIT, preamble=preamble, meta=meta, **more))


def walked(written: bytes) -> dicom.Walked:
    return dicom.walk(written + DATASET)


def test_file_meta_is_what_the_standard_asks_for():
    file = walked(file_meta(head_of(), header_of(), JPEGLS))
    # The walker has checked the group length.
    assert list(file.meta) == [0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013]
    assert file.meta[0x00020001].value == b"\0\1"
    assert file.meta[0x00020002].text == dicom.SECONDARY_CAPTURE
    assert file.meta[0x00020003].text == "1.2.3.4"
    assert file.syntax == JPEGLS.uid
    assert file.meta[0x00020012].text == IMPLEMENTATION_CLASS_UID
    assert file.meta[0x00020013].text == IMPLEMENTATION_VERSION_NAME
    assert {tag: found.vr for tag, found in file.meta.items()} == {
        0x00020000: "UL", 0x00020001: "OB", 0x00020002: "UI", 0x00020003: "UI", 0x00020010: "UI", 0x00020012: "UI",
        0x00020013: "SH",
    }  # fmt: skip


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda row: row.label)
def test_pydicom_reads_it_for_every_syntax(syntax):
    written = file_meta(head_of(), header_of(), syntax)
    stream = io.BytesIO(written + DATASET)
    stream.seek(132)
    meta = pydicom.filereader._read_file_meta_info(stream)
    assert stream.tell() == len(written)
    assert meta.TransferSyntaxUID == syntax.uid
    assert meta.FileMetaInformationGroupLength == len(written) - 132 - 12
    pydicom.dataset.validate_file_meta(meta)


def test_the_implementation_has_a_uid_and_a_name_of_its_own():
    uid = UID(IMPLEMENTATION_CLASS_UID)
    assert uid.is_valid
    assert len(uid) <= 64
    assert uid.startswith("2.25.")
    assert uuid.UUID(int=int(uid.removeprefix("2.25."))).version in (4, 5)
    assert re.fullmatch(r"DCMTX_[0-9_a-z]+", IMPLEMENTATION_VERSION_NAME)
    assert len(IMPLEMENTATION_VERSION_NAME) <= 16
    assert __version__.startswith(IMPLEMENTATION_VERSION_NAME.removeprefix("DCMTX_").replace("_", "."))


def test_other_elements_stay_byte_for_byte_in_the_order_of_tags():
    private = element(0x00020100, "UI", "1.2.3.9"), element(0x00020102, "OB", bytes(range(200)) * 400)
    title = element(0x00020016, "AE", " SENDER ")
    written = file_meta(head_of(title, *private), header_of(), JPEGLS)
    file = walked(written)
    assert list(file.meta)[-3:] == [0x00020016, 0x00020100, 0x00020102]
    for tag, raw in ((0x00020016, title), (0x00020100, private[0]), (0x00020102, private[1])):
        assert file.meta[tag].raw == raw
    assert written.endswith(title + private[0] + private[1])


def test_elements_in_disorder_are_put_in_order():
    head = head_of(element(0x00020102, "OB", b"ab"), element(0x00020016, "AE", "A "))
    assert [e.tag for e in head.meta][-2:] == [0x00020102, 0x00020016]
    file = walked(file_meta(head, header_of(), JPEGLS))
    assert list(file.meta) == sorted(file.meta)


@pytest.mark.parametrize("preamble", [b"II*\0" + bytes(124), bytes(range(128))], ids=["a TIFF header", "any bytes"])
def test_the_preamble_stays(preamble):
    assert file_meta(head_of(preamble=preamble), header_of(), JPEGLS).startswith(preamble + b"DICM")


def test_a_file_without_any_of_it_gets_all_of_it():
    written = file_meta(FileMeta(b"", (), 0, declared=None), header_of(), JPEGLS)
    assert written.startswith(bytes(128) + b"DICM")
    assert list(walked(written).meta) == list(walked(file_meta(head_of(), header_of(), JPEGLS)).meta)


def test_class_and_instance_follow_the_data_set():
    head = head_of(sop_class="1.9.9", sop_instance="9.9.9")
    file = walked(file_meta(head, header_of(), JPEGLS))
    assert file.meta[0x00020002].text == dicom.SECONDARY_CAPTURE
    assert file.meta[0x00020003].text == "1.2.3.4"
    # What the data set does not say stays.
    file = walked(file_meta(head, header_of(b""), JPEGLS))
    assert (file.meta[0x00020002].text, file.meta[0x00020003].text) == ("1.9.9", "9.9.9")


def test_a_new_instance_is_the_one_that_is_given():
    file = walked(file_meta(head_of(), header_of(), JPEGLS, "2.25.7"))
    assert file.meta[0x00020003].text == "2.25.7"
    assert file.meta[0x00020003].value == b"2.25.7"


def test_uids_are_padded_with_one_zero():
    file = walked(file_meta(head_of(), header_of(), find("rle")))
    assert file.meta[0x00020010].value == b"1.2.840.10008.1.2.5\0"


def implicit(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def test_a_source_without_vrs_gets_those_of_the_standard():
    values = {
        0x00020002: b"1.9.9\0", 0x00020010: b"1.2.840.10008.1.2\0", 0x00020013: b"OLD ", 0x00020016: b"TITLE ",
        0x00020017: b"A ", 0x00020018: b"B ", 0x00020026: b"??", 0x00020100: b"1.2.3\0", 0x00020102: b"abcd",
    }  # fmt: skip
    head = read_file_meta(bytes(128) + b"DICM" + b"".join(implicit(tag, value) for tag, value in values.items()))
    file = walked(file_meta(head, header_of(), JPEGLS))
    vrs = {tag: found.vr for tag, found in file.meta.items()}
    assert vrs.pop(0x00020026) == "UN"
    for tag, vr in vrs.items():
        assert vr == VR(pydicom.datadict.dictionary_VR(tag))
    assert file.meta[0x00020102].value == b"abcd"


def test_a_value_too_long_for_its_vr_is_no_bug():
    head = read_file_meta(
        bytes(128) + b"DICM" + implicit(0x00020010, b"1.2.840.10008.1.2\0") + implicit(0x00020016, bytes(70_000))
    )
    walked(file_meta(head, header_of(), JPEGLS))


# --- derived UIDs ------------------------------------------------------------------------------------------------

OLD = "1.2.826.0.1.3680043.8.498.1"


def test_a_derived_uid_is_valid_and_made_of_a_name():
    uid = UID(derived_uid(OLD, JPEGLS, EncodingParameters()))
    assert uid.is_valid
    assert len(uid) <= 64
    assert uid.startswith("2.25.")
    assert uuid.UUID(int=int(uid.removeprefix("2.25."))).version == 5


def test_the_same_conversion_has_the_same_uid_and_any_other_has_another():
    cases = [
        (old, target, quality)
        for old in (OLD, OLD + "2", "")
        for target in (JPEGLS, find("JPEGLSNearLossless"))
        for quality in (
            EncodingParameters(),
            EncodingParameters(lossy=True),
            EncodingParameters(near=2, lossy=True),
            EncodingParameters(near=3, lossy=True),
            EncodingParameters(tile=2),
        )
    ]
    uids = [derived_uid(*case) for case in cases]
    assert len(set(uids)) == len(cases)
    assert uids == [derived_uid(*case) for case in cases]
    # Written down, so that another version of the program agrees with this one.
    assert derived_uid(OLD, JPEGLS, EncodingParameters()) == derived_uid(
        OLD, find("JPEGLSLossless"), EncodingParameters(near=None)
    )


def made(tmp_path, **options):
    """Return the SOP Instance UID of an image that is encoded with loss, or as the options say."""
    source = tmp_path / "source.dcm"
    source.write_bytes(dicom.Image(bytes([1, 2, 200, 15]) * 128, 16, 16, stored=12).encode())
    return transcode(source, tmp_path / "out.dcm", **options).instance_out


@pytest.mark.parametrize(
    "options",
    [{"to": "jpeg-extended", "lossy": True}, {"to": "rle", "uid": "new"}],
    ids=["with loss", "because it was asked for"],
)
def test_another_version_of_a_library_makes_another_instance(options, tmp_path, monkeypatch):
    """Its pixels may be others, and two instances that differ must not have one UID."""
    monkeypatch.setattr(Needs, "version", lambda _: "2026.10.10")
    first = made(tmp_path, **options)
    assert made(tmp_path, **options) == first
    monkeypatch.setattr(Needs, "version", lambda _: "2026.10.11")
    assert made(tmp_path, **options) != first


@pytest.mark.parametrize(
    "options", [{"to": "rle"}, {"to": "jpeg-extended", "lossy": True, "uid": "keep"}], ids=["no loss", "kept"]
)
def test_where_no_uid_is_made_no_library_is_asked_for_its_version(options, tmp_path, monkeypatch):
    def identity(_):
        raise AssertionError("it was asked")

    monkeypatch.setattr(Row, "identity", identity)
    assert made(tmp_path, **options) == dicom.Image(b"").sop_instance


def test_every_backend_says_its_version():
    rows = {
        row for registry in (DECODERS, ENCODERS) for row in registry.every_row() if row.native and row.is_installed()
    }
    assert len(rows) > 10
    for row in rows:
        assert row.identity() == f"{row.backend} {row.package}-{importlib.metadata.version(row.package)}"
