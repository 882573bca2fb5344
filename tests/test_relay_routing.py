"""Routes: who sent an instance and what it is decide where it goes; attributes are read in every encoding."""

from __future__ import annotations

import os
import tomllib
import zlib

import dicom
import pytest
from dicom import element

from dcmtx.place.bytes import Memory
from dcmtx.relay.attributes import read, read_file
from dcmtx.relay.patterns import matches, matches_any
from dcmtx.relay.routing import Caller, Router
from dcmtx.relay.settings import configuration

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
MODALITY, STATION, STUDY = 0x00080060, 0x00081010, 0x00081030
HEAD = """
[listen]
address = 1
[spool]
path = "/spool"
[[destinations]]
name = "a"
address = "A@h"
[[destinations]]
name = "b"
address = "B@h"
[[destinations]]
name = "c"
address = "C@h"
"""


def router(*routes: str) -> Router:
    return Router(configuration(tomllib.loads(HEAD + "".join(f"[[routes]]\n{route}\n" for route in routes))))


def where(condition: str) -> Router:
    return router(f'to = "a"\n[routes.where]\n{condition}')


def goes(
    to: Router, *, calling: str = "CT1", called: str = "DCMTX", sop_class: str = CT, **attributes: str | tuple[str, ...]
) -> str:
    """Return the names of the destinations, written together."""
    tags = {"modality": MODALITY, "station": STATION, "study": STUDY}
    found = {tags[name]: (value,) if isinstance(value, str) else value for name, value in attributes.items()}
    return "".join(to.destinations(Caller(calling, called), sop_class, found))


# --- patterns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "text", "whether"),
    [
        ("CT", "CT", True), ("CT", "CTA", False), ("CT*", "CT", True), ("CT*", "ACT", False), ("*", "", True),
        ("?", "", False), ("C?1", "CT1", True), ("*HEAD*", "CT HEAD W/O", True), ("ct", "CT", False),
        ("a.c", "abc", False), ("[ab]", "a", False), ("[ab]", "[ab]", True), ("*", "two\nlines", True),
    ],
)  # fmt: skip
def test_a_pattern_is_that_of_queries_and_nothing_else(pattern, text, whether):
    assert matches(pattern, text) is whether


def test_no_patterns_match_everything():
    assert matches_any((), "x")
    assert matches_any(("y", "x"), "x")
    assert not matches_any(("y",), "x")


# --- routes --------------------------------------------------------------------------------------------------------


def test_without_routes_everything_goes_everywhere_and_nothing_is_read():
    everywhere = router()
    assert goes(everywhere) == "abc"
    assert everywhere.tags == frozenset()


@pytest.mark.parametrize(
    ("condition", "instance", "whether"),
    [
        ('calling = "CT*"', {"calling": "CT1"}, True),
        ('calling = "CT*"', {"calling": "MR1"}, False),
        ('calling = "!CT*"', {"calling": "MR1"}, True),
        ('called = ["A", "B"]', {"called": "B"}, True),
        ('called = ["A", "B"]', {"called": "C"}, False),
        ('SOPClassUID = "CTImageStorage"', {"sop_class": CT}, True),
        ('SOPClassUID = "!CTImageStorage"', {"sop_class": CT}, False),
        ('SOPClassUID = "1.2.840.10008.5.1.4.1.1.4*"', {"sop_class": MR}, True),
        ('Modality = "CT"', {"modality": "CT"}, True),
        ('Modality = "CT"', {}, False),
        ('Modality = ""', {}, True),
        ('Modality = "!CT"', {}, True),
        ('Modality = ["CT", "PT"]', {"modality": "PT"}, True),
        ('Modality = ["!CT", "!PT"]', {"modality": "MR"}, True),
        ('Modality = ["!CT", "!PT"]', {"modality": "PT"}, False),
        ('StudyDescription = ["*HEAD*", "!*TEST*"]', {"study": "CT HEAD"}, True),
        ('StudyDescription = ["*HEAD*", "!*TEST*"]', {"study": "CT HEAD TEST"}, False),
        ('StudyDescription = ["*HEAD*", "!*TEST*"]', {"study": "CT CHEST"}, False),
        ('StationName = "ROOM ?"', {"station": "ROOM 7"}, True),
        ('StationName = "R7"', {"station": ("R6", "R7")}, True),
        ('StationName = "!R7"', {"station": ("R6", "R7")}, False),
        ('Modality = "CT"\nStationName = "R7"', {"modality": "CT", "station": "R7"}, True),
        ('Modality = "CT"\nStationName = "R7"', {"modality": "CT", "station": "R8"}, False),
    ],
)  # fmt: skip
def test_a_condition_is_met_or_not(condition, instance, whether):
    assert goes(where(condition), **instance) == ("a" if whether else "")


def test_an_instance_goes_once_to_each_destination_of_every_route_that_takes_it():
    to = router('to = ["b", "a"]\nwhere = {Modality = "CT"}', 'to = ["b", "c"]\nwhere = {calling = "CT*"}')
    assert goes(to, modality="CT") == "abc"
    assert goes(to, modality="CT", calling="X") == "ab"
    assert goes(to, modality="MR") == "bc"


def test_otherwise_takes_what_no_other_route_takes():
    to = router('to = "a"\nwhere = {Modality = "CT"}', 'to = ["c"]\notherwise = true')
    assert goes(to, modality="CT") == "a"
    assert goes(to, modality="MR") == "c"
    assert goes(router('to = "a"\nwhere = {Modality = "CT"}'), modality="MR") == ""


def test_a_route_without_conditions_takes_everything():
    assert goes(router('to = "b"')) == "b"


def test_only_attributes_of_routes_are_asked_for_and_the_class_is_known_already():
    to = router('to = "a"\nwhere = {Modality = "CT", calling = "X"}', 'to = "b"\nwhere = {SOPClassUID = "1.2"}')
    assert to.tags == {MODALITY}


# --- attributes ----------------------------------------------------------------------------------------------------

ELEMENTS = {
    0x00080060: ("CS", "CT"),
    0x00081010: ("SH", "ROOM 7"),
    0x00081030: ("LO", "A\\B"),
    0x00100010: ("PN", "Doe^J"),
    0x00191010: ("SH", "private"),
    0x00204000: ("LT", "a\\b"),
    0x00280002: ("US", 1),
    0x00280009: ("AT", [0x0018, 0x1063]),
}


def built(syntax: str = dicom.EXPLICIT, more: dict[int, tuple[str, object]] | None = None) -> bytes:
    encoded = dicom.EXPLICIT if syntax == dicom.DEFLATED else syntax
    elements = [element(tag, vr, value, encoded) for tag, (vr, value) in sorted((ELEMENTS | (more or {})).items())]
    return dicom.file(elements, syntax)


@pytest.mark.parametrize(
    "syntax", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG_ENDIAN, dicom.DEFLATED],
    ids=["explicit", "implicit", "big endian", "deflated"],
)  # fmt: skip
def test_values_are_read_from_every_encoding(syntax, tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(built(syntax))
    found = read_file(os.fspath(path), [*ELEMENTS, 0x00080070])
    private = {} if syntax == dicom.IMPLICIT else {0x00191010: ("private",)}
    assert found == private | {0x00191010: ("private",)} | {
        0x00080060: ("CT",), 0x00081010: ("ROOM 7",), 0x00081030: ("A", "B"), 0x00100010: ("Doe^J",),
        0x00204000: ("a\\b",), 0x00280002: ("1",), 0x00280009: ("00181063",),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("character_set", "raw", "expected"),
    [
        ("ISO_IR 100", "Schädel".encode("latin-1"), "Schädel"),
        ("ISO_IR 192", "Schädel".encode(), "Schädel"),
        ("ISO_IR 144", "Череп".encode("iso8859_5"), "Череп"),
        ("GB18030", "头部".encode("gb18030"), "头部"),
        ("\\ISO 2022 IR 87", b"CT \x1b$B" + "頭".encode("iso2022_jp")[3:5] + b"\x1b(B", "CT 頭"),
        ("", "Schädel".encode("latin-1"), "Schädel"),
        ("ISO_IR 999", "Schädel".encode("latin-1"), "Schädel"),
        ("ISO_IR 192", b"Sch\xe4del", "Sch�del"),
    ],
    ids=["Latin-1", "UTF-8", "Cyrillic", "Chinese", "Japanese with escapes", "none, and yet beyond ASCII", "unknown",
         "one that is contradicted"],
)  # fmt: skip
def test_text_is_read_by_its_character_set(character_set, raw, expected):
    data = built(more={0x00080005: ("CS", character_set), STUDY: ("LO", raw)})
    assert read(Memory(data), [STUDY]) == {STUDY: (expected,)}


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a", dicom.file([b"\x08\x00\x60\x00CS\xff\xff"]), built()[:-20],
     dicom.file([zlib.compress(b"x")], dicom.EXPLICIT)],
    ids=["nothing", "no DICOM", "a length beyond the end", "cut off", "rubbish for a data set"],
)  # fmt: skip
def test_of_what_is_damaged_nothing_is_read(data):
    assert read(Memory(data), [MODALITY]) == {}


def test_of_a_file_that_is_gone_nothing_is_read(tmp_path):
    assert read_file(os.fspath(tmp_path / "absent"), [MODALITY]) == {}
