"""The Image Pixel Module read from a header, and judged (PS3.3 C.7.6.3)."""

from __future__ import annotations

import dicom
import pytest
from dicom import BIG_ENDIAN, EXPLICIT, IMPLICIT, element
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmtx.dataset.header import Header
from dcmtx.errors import InputError
from dcmtx.pixel.format import PixelFormat
from dcmtx.place.bytes import Memory
from dcmtx.rules.image import check_format, read_format
from dcmtx.syntax import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE

ENCODINGS = {IMPLICIT: IMPLICIT_LITTLE, EXPLICIT: EXPLICIT_LITTLE, BIG_ENDIAN: EXPLICIT_BIG}
GREY = PixelFormat(5, 7, 1, photometric="MONOCHROME2", allocated=16, stored=12, high_bit=11, signed=False)
COLOUR = PixelFormat(5, 7, 3, photometric="RGB", allocated=8, stored=8, high_bit=7, signed=False)


def header_of(elements: dict[int, bytes], syntax: str = EXPLICIT) -> Header:
    return Header(Memory(b"".join(elements.values())), 0, ENCODINGS[syntax])


def elements_of(syntax: str = EXPLICIT, **attributes) -> dict[int, bytes]:
    return dicom.Image(b"", **{"rows": 5, "columns": 7, "stored": 12, "syntax": syntax, **attributes}).elements()


def without(*tags: int, **attributes) -> Header:
    return header_of({tag: encoded for tag, encoded in elements_of(**attributes).items() if tag not in tags})


def replaced(tag: int, vr: str, value) -> Header:
    return header_of(dict(sorted((elements_of() | {tag: element(tag, vr, value)}).items())))


@pytest.mark.parametrize("syntax", ENCODINGS, ids=["implicit", "explicit", "big endian"])
@settings(derandomize=True, deadline=None, database=None, max_examples=40)
@given(
    rows=st.integers(0, 65535), columns=st.integers(0, 65535), samples=st.sampled_from([1, 3]),
    photometric=st.sampled_from(["MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL_422", "PALETTE COLOR"]),
    allocated=st.integers(1, 64), stored=st.integers(1, 64), high_bit=st.integers(0, 63), signed=st.booleans(),
    planar=st.integers(0, 1), frames=st.one_of(st.none(), st.integers(0, 100_000)),
)  # fmt: skip
def test_the_format_is_what_the_attributes_say(syntax, **attributes):
    header = header_of(elements_of(**attributes, syntax=syntax), syntax)
    planar = attributes["planar"] if attributes["samples"] == 3 else 0
    frames = 1 if attributes["frames"] is None else attributes["frames"]
    assert read_format(header) == PixelFormat(**{**attributes, "planar": planar, "frames": frames})


@pytest.mark.parametrize(
    ("tag", "name", "value"),
    [
        (0x00280102, "high_bit", 11), (0x00280103, "signed", False), (0x00280008, "frames", 1),
    ],
    ids=["High Bit", "Pixel Representation", "Number of Frames"],
)  # fmt: skip
def test_what_is_absent_is_what_writers_mean(tag, name, value):
    fmt = read_format(without(tag, frames=3, signed=True, high_bit=13))
    assert getattr(fmt, name) == value


def test_an_absent_planar_configuration_is_by_pixel():
    fmt = read_format(without(0x00280006, samples=3, photometric="RGB", planar=1))
    assert fmt.planar == 0


def test_planar_configuration_says_nothing_of_grey_pixels():
    assert read_format(replaced(0x00280006, "US", 1)).planar == 0


@pytest.mark.parametrize("empty", [False, True], ids=["absent", "empty"])
@pytest.mark.parametrize(
    "tag", [0x00280002, 0x00280004, 0x00280010, 0x00280011, 0x00280100, 0x00280101],
    ids=["Samples per Pixel", "Photometric Interpretation", "Rows", "Columns", "Bits Allocated", "Bits Stored"],
)  # fmt: skip
def test_what_nothing_else_tells_must_be_there(tag, empty):
    header = replaced(tag, "US" if tag != 0x00280004 else "CS", b"") if empty else without(tag)
    with pytest.raises(InputError, match="is absent") as caught:
        read_format(header)
    assert (caught.value.code, caught.value.tag) == ("E_INCONSISTENT", tag)


def test_an_empty_number_of_frames_is_one():
    assert read_format(replaced(0x00280008, "IS", "")).frames == 1


def test_a_number_of_frames_that_is_none_is_an_input_error():
    with pytest.raises(InputError, match="not an integer") as caught:
        read_format(replaced(0x00280008, "IS", "many"))
    assert caught.value.tag == 0x00280008


def test_photometric_interpretation_loses_its_padding():
    assert read_format(replaced(0x00280004, "CS", "RGB\0")).photometric == "RGB"
    assert read_format(replaced(0x00280004, "CS", " RGB  ")).photometric == "RGB"


# --- judging -------------------------------------------------------------------------------------------------------

SOUND = {
    "12 of 16 bits": GREY,
    "16 of 16 bits": GREY.replace(stored=16, high_bit=15),
    "High Bit at the top": GREY.replace(high_bit=15),
    "signed": GREY.replace(signed=True),
    "1 bit": GREY.replace(allocated=1, stored=1, high_bit=0),
    "1 of 8 bits": GREY.replace(allocated=8, stored=1, high_bit=0),
    "24 bits": GREY.replace(allocated=24, stored=24, high_bit=23),
    "64 bits": GREY.replace(allocated=64, stored=64, high_bit=63),
    "palette": GREY.replace(photometric="PALETTE COLOR"),
    "RGB": COLOUR,
    "RGB by plane": COLOUR.replace(planar=1),
    "shared chroma": COLOUR.replace(photometric="YBR_FULL_422", columns=8),
    "JPEG 2000's colour": COLOUR.replace(photometric="YBR_RCT"),
    "many frames": GREY.replace(frames=100_000),
    "one pixel": GREY.replace(rows=1, columns=1),
    "as large as can be": GREY.replace(rows=65535, columns=65535),
}


@pytest.mark.parametrize("fmt", SOUND.values(), ids=list(SOUND))
def test_sound_formats_are_sound(fmt):
    check_format(fmt)


# Rule G1 of the decision table, and geometry: what is changed, and the element that is named.
UNSOUND = {
    "no frames": (GREY.replace(frames=0), 0x00280008),
    "fewer than no frames": (GREY.replace(frames=-1), 0x00280008),
    "no rows": (GREY.replace(rows=0), 0x00280010),
    "no columns": (GREY.replace(columns=0), 0x00280010),
    "HSV": (COLOUR.replace(photometric="HSV"), 0x00280004),
    "ARGB": (COLOUR.replace(photometric="ARGB", samples=4), 0x00280004),
    "CMYK": (COLOUR.replace(photometric="CMYK", samples=4), 0x00280004),
    "YBR_PARTIAL_422": (COLOUR.replace(photometric="YBR_PARTIAL_422"), 0x00280004),
    "something unknown": (COLOUR.replace(photometric="MONOCHROME3"), 0x00280004),
    "small letters": (COLOUR.replace(photometric="rgb"), 0x00280004),
    "grey of 3 samples": (GREY.replace(samples=3), 0x00280002),
    "colour of 1 sample": (COLOUR.replace(samples=1), 0x00280002),
    "palette of 3 samples": (COLOUR.replace(photometric="PALETTE COLOR"), 0x00280002),
    "4 samples": (COLOUR.replace(samples=4), 0x00280002),
    "no samples": (GREY.replace(samples=0), 0x00280002),
    "12 bits allocated": (GREY.replace(allocated=12), 0x00280100),
    "2 bits allocated": (GREY.replace(allocated=2, stored=1, high_bit=0), 0x00280100),
    "nothing allocated": (GREY.replace(allocated=0, stored=0, high_bit=-1), 0x00280100),
    "72 bits allocated": (GREY.replace(allocated=72), 0x00280100),
    "more stored than allocated": (GREY.replace(stored=17, high_bit=16), 0x00280101),
    "nothing stored": (GREY.replace(stored=0, high_bit=0), 0x00280101),
    "High Bit too low": (GREY.replace(high_bit=10), 0x00280102),
    "High Bit too high": (GREY.replace(high_bit=16), 0x00280102),
    "signed palette": (GREY.replace(photometric="PALETTE COLOR", signed=True), 0x00280103),
    "signed colour": (COLOUR.replace(signed=True), 0x00280103),
    "colour of 1 bit": (COLOUR.replace(allocated=1, stored=1, high_bit=0), 0x00280100),
    "an unknown Planar Configuration": (COLOUR.replace(planar=2), 0x00280006),
}


@pytest.mark.parametrize(("fmt", "tag"), UNSOUND.values(), ids=list(UNSOUND))
def test_what_describes_no_image_is_inconsistent(fmt, tag):
    with pytest.raises(InputError, match="correct the data set first") as caught:
        check_format(fmt)
    assert (caught.value.code, caught.value.tag) == ("E_INCONSISTENT", tag)


def test_a_long_photometric_interpretation_is_shown_in_part():
    with pytest.raises(InputError) as caught:
        check_format(COLOUR.replace(photometric="X" * 5000))
    assert len(str(caught.value)) < 150
