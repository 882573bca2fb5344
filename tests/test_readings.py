"""Elements whose VR is none, data sets that are not what they are declared as: read by what follows, exactly."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import dicom
import numpy as np
import oracle
import pytest
from conftest import ROOT, Ran
from dicom import BIG_ENDIAN, EXPLICIT, IMPLICIT, UNDEFINED, element

from dcmtx.dataset import cursor as cursor_module
from dcmtx.dataset import header as header_module
from dcmtx.dataset import readings
from dcmtx.dataset.dictionary import Context
from dcmtx.dataset.header import Header, guess_encoding
from dcmtx.dataset.items import parse
from dcmtx.dataset.rewriting import rewrite
from dcmtx.errors import InputError
from dcmtx.place.bytes import Memory
from dcmtx.syntax import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE

Command = Callable[..., Ran]

ENCODINGS = {EXPLICIT: EXPLICIT_LITTLE, BIG_ENDIAN: EXPLICIT_BIG, IMPLICIT: IMPLICIT_LITTLE}
CASES = ROOT.parent / "shared" / "cases"
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
COMMENT = 0x001021B0  # LT
BEFORE, BEHIND = (0x00100020, "LO", "1 "), (0x0020000D, "UI", "1.2.3.4\0")

# VR bytes that real files have and that are none; two capitals that may become one.
NONE = [b"  ", b"--", b"??", b"\0\0", b"lo", b"Lo", b"l\xe4", b"0A"]
CAPITALS = [b"ZZ", b"QX"]
LAYOUTS = ("short", "long", "implicit")
explicit_only = pytest.mark.parametrize("syntax", [EXPLICIT, BIG_ENDIAN], ids=["little endian", "big endian"])


def odd(vr: bytes, layout: str, value: bytes, syntax: str = EXPLICIT, tag: int = COMMENT) -> bytes:
    """Encode an element with this VR and a length of 16 or 32 bits; `implicit` has the length in place of the VR."""
    order = ">" if syntax == BIG_ENDIAN else "<"
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if layout == "implicit":
        return head + struct.pack(f"{order}I", len(value)) + value
    if layout == "short":
        return head + vr + struct.pack(f"{order}H", len(value)) + value
    return head + vr + bytes(2) + struct.pack(f"{order}I", len(value)) + value


def index(data: bytes, syntax: str = EXPLICIT) -> Header:
    return Header(Memory(data), 0, ENCODINGS[syntax])


def value_of(header: Header, tag: int) -> bytes:
    return header.value(tag)


# --- one odd element among others --------------------------------------------------------------------------------


@explicit_only
@pytest.mark.parametrize("size", [0, 2, 6, 10, 300, 70_000])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_reading_that_leads_to_the_next_element_is_taken(layout, size, syntax):
    for vr in NONE + CAPITALS:
        if layout != "short" or size <= 0xFFFF:
            check_reading(vr, layout, size, syntax)


def check_reading(vr: bytes, layout: str, size: int, syntax: str) -> None:
    value = (b"G0000 \0\x01" * size)[:size]
    data = element(*BEFORE, syntax) + odd(vr, layout, value, syntax) + element(*BEHIND, syntax)
    header = index(data, syntax)
    assert list(header.tags()) == [BEFORE[0], COMMENT, BEHIND[0]]
    assert value_of(header, COMMENT) == value
    assert header.text(BEHIND[0]) == "1.2.3.4"
    # Only two capitals can be a VR.
    assert header.get(COMMENT).vr == (vr if vr in CAPITALS and layout != "implicit" else b"  ")
    assert [note.text for note in header.notes] == [
        "the VR of (0010,21B0) is none that the standard knows; read by where the next element starts"
    ]


@explicit_only
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("behind", ["the end", "zeros", "pixels", "another odd one"])
def test_whatever_follows_an_odd_element(behind, layout, syntax):
    for vr in NONE + CAPITALS:
        check_what_follows(behind, vr, layout, syntax)


def check_what_follows(behind: str, vr: bytes, layout: str, syntax: str) -> None:
    value = b"SOME TEXT "
    following = {
        "the end": b"",
        "zeros": bytes(40),
        "pixels": dicom.header(dicom.PIXEL_DATA, "OW", 1 << 20, syntax) + bytes(8),
        "another odd one": odd(vr, layout, b"MORE", syntax, 0x00104000) + element(*BEHIND, syntax),
    }[behind]
    header = index(element(*BEFORE, syntax) + odd(vr, layout, value, syntax) + following, syntax)
    assert value_of(header, COMMENT) == value
    if behind == "another odd one":
        assert value_of(header, 0x00104000) == b"MORE"


def test_vrs_that_are_known_are_believed_without_a_look_at_what_follows(monkeypatch):
    monkeypatch.setattr(readings, "settle", None)
    for vr in sorted(dicom.LONG | {"DA", "LO", "US", "PN"}):
        # Read as Implicit VR or with the other width, the first would lead to nothing; that is not looked at.
        assert list(index(element(COMMENT, vr, b"AB") + element(*BEHIND)).tags()) == [COMMENT, BEHIND[0]]


@explicit_only
def test_where_nothing_follows_in_any_reading_the_first_one_is_the_error(syntax):
    with pytest.raises(InputError, match=r"\(0010,21B0\) claims") as caught:
        index(element(*BEFORE, syntax) + odd(b"--", "short", b"ABCD", syntax)[:-2], syntax)
    assert caught.value.code == "E_TRUNCATED"


@explicit_only
@pytest.mark.parametrize("shift", [-8, -4, -2, -1, 1, 2, 4, 8])
def test_an_element_is_not_swallowed_where_bytes_are_missing_or_too_many(shift, syntax):
    """What is read behind such a place is out of step: that it meets an element again proves nothing."""
    rest = element(0x00100010, "PN", "A^B ", syntax) + element(0x00100020, "LO", "1234", syntax)
    rest += element(*BEHIND, syntax)
    for value in (b" " * 40, b"ab" * 20, bytes(range(0x20, 0x48))):
        shifted = value[:shift] if shift < 0 else value + value[:shift]
        head = dicom.header(0x00081030, "LO", 40, syntax)
        try:
            header = index(head + shifted + rest, syntax)
        except InputError:
            continue
        # Whatever was read, nobody's name has become part of something else.
        assert 0x00100020 in header
        assert BEHIND[0] in header


def test_many_odd_elements_are_read_one_by_one_without_reading_all_of_them_again():
    count = 3000
    data = b"".join(odd(b"??", "short", b"AB", EXPLICIT, 0x00110000 + number) for number in range(1, count + 1))
    reads = []

    class Counting(Memory):
        __slots__ = ()

        def pread(self, length: int, offset: int) -> bytes:
            reads.append(length)
            return super().pread(length, offset)

    header = Header(Counting(data + element(*BEHIND)), 0, EXPLICIT_LITTLE)
    assert len(header.elements) == count + 1
    assert sum(reads) < 600 * count


# --- inside sequences --------------------------------------------------------------------------------------------


def nested(inner: bytes, syntax: str, *, undefined: bool) -> bytes:
    items = [element(0x00080100, "SH", "CODE", syntax) + inner + element(0x00080104, "LO", "MEANING ", syntax)]
    return dicom.sequence(0x00081140, items, syntax, undefined=undefined)


@explicit_only
@pytest.mark.parametrize("undefined", [False, True], ids=["defined length", "undefined length"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", ["first", "within", "last"])
def test_odd_elements_inside_sequences(place, layout, undefined, syntax):
    for vr in NONE + CAPITALS:
        check_inside(place, vr, layout, undefined, syntax)


def check_inside(place: str, vr: bytes, layout: str, undefined: bool, syntax: str) -> None:
    value = b"abcdefgh"
    one = odd(vr, layout, value, syntax, 0x00080102)
    if place == "within":
        data = nested(one, syntax, undefined=undefined)
    else:
        plain = element(0x00080100 if place == "last" else 0x00080104, "SH", "CODE", syntax)
        data = dicom.sequence(0x00081140, [plain + one if place == "last" else one + plain] * 2, syntax,
                              undefined=undefined)  # fmt: skip
    whole = data + element(*BEHIND, syntax)
    assert [(e.tag, e.end) for e in index(whole, syntax).elements] == [
        (0x00081140, len(data)), (BEHIND[0], len(whole)),
    ]  # fmt: skip
    target = BIG_ENDIAN if syntax == EXPLICIT else EXPLICIT
    out = rewrite(data, ENCODINGS[syntax], ENCODINGS[target], Context())
    (items,) = [found.items for found in dicom.walk(dicom.file([out], target)).elements.values()]
    for item in items:
        assert list(item) == sorted(item)
        # The dictionary has Coding Scheme Designator (0008,0102) as SH.
        assert item[0x00080102].value == value
        assert item[0x00080102].vr == ("UN" if vr in CAPITALS and layout != "implicit" else "SH")


@pytest.mark.parametrize("undefined", [False, True], ids=["defined length", "undefined length"])
def test_an_item_of_implicit_vr_with_a_length_spelled_like_a_vr_is_skipped(undefined):
    long = element(0x00104000, "LT", bytes(int.from_bytes(b"DA", "little")), IMPLICIT)
    item = element(0x00080100, "SH", "CODE", IMPLICIT) + long + element(0x00280010, "US", 7, IMPLICIT)
    body = dicom.header(ITEM, "", UNDEFINED if undefined else len(item)) + item
    body += dicom.header(ITEM_END, "", 0) if undefined else b""
    data = dicom.header(0x00081140, "SQ", UNDEFINED) + body + dicom.header(SEQUENCE_END, "", 0)
    assert [e.end for e in index(data).elements] == [len(data)]


def test_an_item_whose_first_element_alone_has_no_vr_is_explicit():
    item = odd(b"", "implicit", b"CODE", EXPLICIT, 0x00080100) + element(0x00080102, "SH", "ABCD")
    item += element(0x00080104, "LO", "MEAN") + element(0x00280010, "US", 7)
    data = dicom.sequence(0x00081140, [item])
    out = rewrite(data, EXPLICIT_LITTLE, EXPLICIT_BIG, Context())
    found = dicom.walk(dicom.file([out], BIG_ENDIAN)).elements[0x00081140].items[0]
    assert {tag: (one.vr, one.value) for tag, one in found.items()} == {
        0x00080100: ("SH", b"CODE"), 0x00080102: ("SH", b"ABCD"), 0x00080104: ("LO", b"MEAN"),
        0x00280010: ("US", b"\7\0"),
    }  # fmt: skip


def test_elements_of_an_item_are_parsed_with_odd_ones_among_them():
    parts = [element(0x00080100, "SH", "CODE"), odd(b"--", "short", b"abcd", EXPLICIT, 0x00080102),
             element(0x00080104, "LO", "MEAN")]  # fmt: skip
    data = b"".join(parts)
    found = parse(Memory(data + b"junk behind it"), 0, len(data), EXPLICIT_LITTLE)
    assert [data[part.start : part.end] for part in found] == parts


# --- the encoding of the whole data set --------------------------------------------------------------------------


def data_set(syntax: str, count: int = 12) -> bytes:
    return b"".join(element(0x00080050 + number, "SH", f"VALUE{number:03}", syntax) for number in range(count))


@pytest.mark.parametrize("declared", [None, *ENCODINGS.values()], ids=["not", "explicit", "big endian", "implicit"])
@pytest.mark.parametrize("syntax", ENCODINGS, ids=["explicit", "big endian", "implicit"])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_a_data_set_shows_what_it_is_whatever_was_declared(count, syntax, declared):
    assert guess_encoding(Memory(b"??" + data_set(syntax, count)), 2, declared) == ENCODINGS[syntax]


@pytest.mark.parametrize("vr", NONE + CAPITALS, ids=ascii)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_first_element_that_is_odd_does_not_change_the_encoding_of_all(vr, layout):
    data = odd(vr, layout, b"20200101", EXPLICIT, 0x00080012) + data_set(EXPLICIT)
    for declared in (EXPLICIT_LITTLE, None):
        assert guess_encoding(Memory(data), 0, declared) in (EXPLICIT_LITTLE, None)
    assert list(index(data).tags())[:2] == [0x00080012, 0x00080050]


def test_a_first_length_that_is_spelled_like_a_vr_does_not_make_implicit_vr_explicit():
    long = element(0x00080012, "UT", bytes(int.from_bytes(b"UI", "little") + 0x10000), IMPLICIT)
    data = long + data_set(IMPLICIT)
    assert guess_encoding(Memory(data), 0, IMPLICIT_LITTLE) == IMPLICIT_LITTLE
    assert guess_encoding(Memory(data), 0) == IMPLICIT_LITTLE


def test_what_shows_nothing_is_not_taken_against_what_was_declared():
    data = struct.pack("<HHI", 8, 5, 0x7FFFFFFF) + bytes(40)
    for declared in (EXPLICIT_LITTLE, EXPLICIT_BIG):
        assert guess_encoding(Memory(data), 0, declared) in (declared, None)


# --- groups that have no place in a data set -----------------------------------------------------------------------

MISPLACED = {
    "group length of commands": (0x00000000, "UL", b"\x38\0\0\0"),
    "a command": (0x00000100, "US", b"\1\0"),
    "a class of commands": (0x00000002, "UI", b"1.2.840.10008.5.1.4.1.1.7\0"),
    "group length of meta information": (0x00020000, "UL", b"\x38\0\0\0"),
    "a transfer syntax": (0x00020010, "UI", b"1.2.840.10008.1.2\0"),
}


@pytest.mark.parametrize("syntax", ENCODINGS, ids=["explicit", "big endian", "implicit"])
@pytest.mark.parametrize("place", ["first", "within", "last"])
@pytest.mark.parametrize(("tag", "vr", "value"), MISPLACED.values(), ids=list(MISPLACED))
def test_elements_of_groups_0000_and_0002_are_passed_over_with_a_note(tag, vr, value, place, syntax):
    one = element(tag, vr, value, syntax)
    parts = [element(*BEFORE, syntax), element(*BEHIND, syntax)]
    parts.insert({"first": 0, "within": 1, "last": 2}[place], one)
    header = index(b"".join(parts), syntax)
    assert list(header.tags()) == [BEFORE[0], BEHIND[0]]
    (note,) = header.notes
    group, number = f"{tag >> 16:04X}", f"{tag & 0xFFFF:04X}"
    assert note.text == f"left out ({group},{number}): group {group} has no place in the data set of a file"


@pytest.mark.parametrize("target", [EXPLICIT, IMPLICIT], ids=["explicit", "implicit"])
def test_a_file_with_commands_in_its_data_set_is_converted_without_them(target, tmp_path, command):
    commands = [element(*one) for one in list(MISPLACED.values())[:3]]
    image = dicom.Image(bytes(range(128)), before={0: b"".join(commands)})
    (tmp_path / "in.dcm").write_bytes(image.encode())
    ran: Ran = command(tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", target, "--force")
    assert ran.status == 0, ran
    assert "left out (0000,0000) (and 2 more elements)" in ran.err
    walked = dicom.walk((tmp_path / "out.dcm").read_bytes())
    assert min(walked.elements) == 0x00080008
    assert walked.elements[dicom.PIXEL_DATA].value == bytes(range(128))


@pytest.mark.parametrize("syntax", ENCODINGS, ids=["explicit", "big endian", "implicit"])
def test_zeros_in_the_middle_are_still_damage(syntax):
    with pytest.raises(InputError, match="no data element"):
        index(element(*BEFORE, syntax) + bytes(16) + element(*BEHIND, syntax), syntax)


def test_a_private_group_0001_is_none_of_them():
    header = index(element(0x00010001, "LO", "PRIVATE ") + element(*BEHIND))
    assert list(header.tags()) == [0x00010001, BEHIND[0]]
    assert header.notes == []


# --- whole files ---------------------------------------------------------------------------------------------------


def test_pixel_data_without_a_vr_in_big_endian_is_refused(tmp_path, fails):
    elements = dicom.Image(b"", syntax=BIG_ENDIAN).elements().values()
    pixels = odd(b"--", "long", bytes(128), BIG_ENDIAN, dicom.PIXEL_DATA)
    (tmp_path / "in.dcm").write_bytes(dicom.file([*elements, pixels], BIG_ENDIAN))
    line = fails(3, tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", "explicit")
    assert "(7FE0,0010) has no VR" in line


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("vr", [b"--", b"ZZ"], ids=ascii)
@pytest.mark.parametrize("target", [EXPLICIT, IMPLICIT, BIG_ENDIAN], ids=["explicit", "implicit", "big endian"])
def test_an_odd_element_is_kept_and_the_pixels_are_exact(target, vr, layout, tmp_path, command):
    pixels = np.random.default_rng(1).integers(0, 65536, 64, np.uint16)
    one = odd(vr, layout, b"G0000 ")
    (tmp_path / "in.dcm").write_bytes(dicom.Image(pixels.tobytes(), before={COMMENT: one}).encode())
    ran: Ran = command(tmp_path / "in.dcm", tmp_path / "out.dcm", "--to", target, "--force")
    assert ran.status == 0, ran
    assert "the VR of (0010,21B0) is none" in ran.err
    out = (tmp_path / "out.dcm").read_bytes()
    if target == EXPLICIT:
        # Nothing else changes: the element is what it was.
        assert one in out
        out = out.replace(one, element(COMMENT, "LT", "G0000 "))
    walked = dicom.walk(out)
    assert walked.elements[COMMENT].value == b"G0000 "
    assert np.array_equal(oracle.native(out)[0].reshape(-1), pixels)


@pytest.mark.parametrize(
    "path", sorted((CASES / "vr_that_is_none").glob("*.dcm")) or [None], ids=lambda path: path.stem if path else "none"
)
@pytest.mark.parametrize("target", ["implicit", "big-endian"])
def test_the_cases_that_were_read_wrong(path: Path | None, target, tmp_path, command):
    if path is None:
        pytest.skip("the cases are not here")
    ran: Ran = command(path, tmp_path / "out.dcm", "--to", target)
    assert ran.status == 0, ran
    found = oracle.native((tmp_path / "out.dcm").read_bytes())
    assert np.array_equal(np.array(found).reshape(-1), np.load(f"{path}.npy").reshape(-1))


def test_nothing_more_is_loaded_for_a_file_that_is_not_odd():
    assert "readings" not in vars(header_module) | vars(cursor_module)
