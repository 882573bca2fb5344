"""`--charset utf-8`: text is what pydicom and DCMTK read in the source; what cannot be read is refused."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import dicom
import numpy as np
import pydicom
import pytest
from conftest import ROOT, need_tool
from pydicom.data import get_charset_files

import dcmtx
from dcmtx.rules.charset import decoded, repertoire

CHARSET, COMMENTS, NAME, OTHER_IDS = 0x00080005, 0x00104000, 0x00100010, 0x00101002
REFERENCES = 0x00081140
TEXT_VRS = ("SH", "LO", "ST", "LT", "UC", "UT", "PN")
FILES = [Path(path) for path in get_charset_files("*.dcm")]
quiet = pytest.mark.filterwarnings("ignore::UserWarning")


def texts(dataset: pydicom.Dataset) -> list[tuple[int, str]]:
    """Return the text of all elements at all depths, as pydicom decodes it."""
    return [(int(element.tag), str(element.value)) for element in dataset.iterall() if element.VR in TEXT_VRS]


def write(charset: str | None, more: dict[int, bytes], syntax: str = dicom.EXPLICIT) -> bytes:
    """Return an image with this Specific Character Set and these elements."""
    declared = {} if charset is None else {CHARSET: dicom.element(CHARSET, "CS", charset, syntax)}
    return dicom.Image(bytes(128), syntax=syntax, before=declared | more).encode()


# --- the same text as others read ----------------------------------------------------------------------------------


@quiet
@pytest.mark.parametrize("to", ["explicit", "implicit", "big-endian"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_pydicom_reads_the_same_text(path, to):
    made = dcmtx.transcode(path, to=to, charset="utf-8")
    after = pydicom.dcmread(io.BytesIO(made))
    assert texts(after) == texts(pydicom.dcmread(path, force=True))
    found = [element.value for element in after.iterall() if element.tag == CHARSET]
    assert found == ["ISO_IR 192"]
    assert dcmtx.transcode(made, to=to, charset="utf-8") == made


@quiet
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_dcmconv_writes_the_same_text(path, tmp_path):
    theirs = tmp_path / "theirs.dcm"
    ran = subprocess.run([need_tool("dcmconv"), "+te", "+U8", path, theirs], capture_output=True, check=False)
    if ran.returncode:
        # Its build may lack Japanese, and it takes an item's escape sequences for those of the data set.
        assert b"haracter encoding" in ran.stderr
        assert path.stem.startswith(("chrH3", "chrJap", "chrSQ"))
        return
    ours = pydicom.dcmread(io.BytesIO(dcmtx.transcode(path, to="explicit", charset="utf-8")))
    expected = pydicom.dcmread(theirs)
    assert dict(texts(expected)).items() <= dict(texts(ours)).items()
    assert len(texts(expected)) == len(texts(ours))


# Character set, bytes, text: by the tables of PS3.5 Annexes H to K, and by the rules of ISO 2022.
DECODED = [
    pytest.param("ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc^Jérôme", id="Latin-1"),
    pytest.param("ISO_IR 13", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ", id="katakana"),
    pytest.param("\\ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "山田^太郎", id="kanji"),
    pytest.param("\\ISO 2022 IR 87", b"\x1b$B!Q!\\\x1b(B\\X", "\uff5d\uff0b\\X", id="bytes that delimit elsewhere"),
    pytest.param("\\ISO 2022 IR 87", b"\x1b$B;3\x1b(J~", "山~", id="romaji that nobody declared"),
    pytest.param("\\ISO 2022 IR 159", b"\x1b$(D0!\x1b(B", "丂", id="more kanji"),
    pytest.param("ISO 2022 IR 13\\ISO 2022 IR 87", b"\xd4=\x1b$B;3\x1b(J=\xcf", "ﾔ=山=ﾏ", id="katakana and kanji"),
    pytest.param("\\ISO 2022 IR 149", b"\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce", "洪^吉", id="Korean"),
    pytest.param("\\ISO 2022 IR 149", b"\x1b$)CA\xb1\xe8(\x1b(BB\xb1\xe8", "A김(B김", id="Korean stays on"),
    pytest.param("\\ISO 2022 IR 58", b"\x1b$)A\xcd\xf5", "王", id="simplified Chinese"),
    pytest.param("ISO 2022 IR 100\\ISO 2022 IR 144", b"\xe9\x1b-L\xd0\r\n\xe9", "é\u0430\r\né", id="a line ends it"),
    pytest.param("ISO 2022 IR 100\\ISO 2022 IR 126", b"\x1b-F\xc4^\xc4", "Δ^Ä", id="a caret ends Greek"),
    pytest.param("GB18030", b"\xcd\xf5^\x90\x30\x81\x30", "王^\U00010000", id="GB18030"),
    pytest.param("GBK", b"\x81\\A", "乗A", id="a backslash inside a character"),
    pytest.param("ISO_IR 192", "Ünï^山".encode(), "Ünï^山", id="UTF-8"),
    pytest.param("ISO-IR 100", b"\xe9", "é", id="a name that is misspelt"),
]  # fmt: skip


@pytest.mark.parametrize(("charset", "value", "text"), DECODED)
def test_what_bytes_mean(charset, value, text):
    assert decoded(value, repertoire(charset.encode()), b"PN") == text
    made = dcmtx.transcode(write(charset, {NAME: dicom.element(NAME, "PN", value)}), to="explicit", charset="utf-8")
    assert dicom.walk(made).elements[NAME].value.rstrip(b" ") == text.encode()
    assert dicom.walk(made).elements[CHARSET].text == "ISO_IR 192"


@pytest.mark.parametrize(
    ("value", "new"),
    [
        pytest.param(b"ab", b"ab", id="ASCII"),
        pytest.param(b"\xe9b", "éb ".encode(), id="longer by one, and padded"),
        pytest.param(b"ab\xe9 ", "abé".encode(), id="the pad is not needed any more"),
        pytest.param(b"ab\xe9\0", "abé".encode(), id="a zero is no text"),
        pytest.param(b"\xe9\xe9", "éé".encode(), id="even as it is"),
    ],
)
def test_values_have_an_even_length(value, new):
    made = dcmtx.transcode(write("ISO_IR 100", {COMMENTS: dicom.element(COMMENTS, "LT", value)}), to="explicit",
                           charset="utf-8")  # fmt: skip
    assert dicom.walk(made).elements[COMMENTS].value == new


# --- where it is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG_ENDIAN])
def test_items_inherit_or_name_their_own(syntax):
    """A sequence in a sequence; the inner has its own character set, what follows it is that of the outer again."""

    def name(value: bytes) -> bytes:
        return dicom.element(NAME, "PN", value, syntax)

    own = dicom.element(CHARSET, "CS", "ISO_IR 144", syntax) + name(b"\xd0")
    inner = dicom.sequence(0x00081199, [own, name(b"\xe9")], syntax)
    outer = dicom.sequence(REFERENCES, [inner + name(b"\xe9"), name(b"\xea")], syntax, undefined=True)
    source = write("ISO_IR 100", {REFERENCES: outer, NAME: name(b"\xe8")}, syntax)
    walked = dicom.walk(dcmtx.transcode(source, to="explicit", charset="utf-8")).elements
    first, second = walked[REFERENCES].items
    assert [item[NAME].value for item in first[0x00081199].items] == ["\u0430".encode(), "é".encode()]
    assert [CHARSET in item for item in (first, second, *first[0x00081199].items)] == [False] * 4
    assert [one[NAME].value for one in (first, second, walked)] == ["é".encode(), "ê".encode(), "è".encode()]


def test_every_vr_of_text_and_no_other():
    tags = {
        "SH": 0x00080050, "LO": 0x00080070, "ST": 0x00080081, "LT": COMMENTS, "UC": 0x00189908, "UT": 0x00420013,
        "PN": NAME, "CS": 0x00080060, "DA": 0x00080020, "IS": 0x00200013, "UN": 0x00091002, "OB": 0x00420011,
    }  # fmt: skip
    more = {tag: dicom.element(tag, vr, b"\xe9\xe9") for vr, tag in tags.items()}
    more[0x00090010] = dicom.element(0x00090010, "LO", b"P\xe9")
    more[0x00091001] = dicom.element(0x00091001, "LO", b"\xe9\xe9")
    outcome = dcmtx.transcode(
        io.BytesIO(write("ISO_IR 100", more)), stream := io.BytesIO(), to="jpegls", charset="utf-8"
    )
    walked = dicom.walk(stream.getvalue()).elements
    for vr, tag in tags.items():
        assert walked[tag].value == ("éé".encode() if vr in TEXT_VRS else b"\xe9\xe9"), vr
    assert (walked[0x00091001].vr, walked[0x00091001].value) == ("LO", "éé".encode())
    assert walked[0x00090010].value == "Pé ".encode()
    (note,) = [note for note in outcome.notes if note.code == "N_CHARSET"]
    assert note.text == "1 element of unknown VR stays; text there, if any, is as it was"


def test_what_was_written_as_unknown_is_text_by_the_dictionary():
    """An element, and a sequence, of the standard, which some program did not know."""
    inside = dicom.element(NAME, "PN", b"\xe9\xe9", dicom.IMPLICIT)
    items = dicom.sequence(REFERENCES, [inside], dicom.IMPLICIT)[8:]
    more = {NAME: dicom.element(NAME, "UN", b"\xe8\xe8"), REFERENCES: dicom.element(REFERENCES, "UN", items)}
    made = dcmtx.transcode(write("ISO_IR 100", more), to="explicit", charset="utf-8")
    walked = dicom.walk(made).elements
    assert (walked[NAME].vr, walked[NAME].value) == ("UN", "èè".encode())
    assert walked[REFERENCES].items[0][NAME].value == "éé".encode()
    after = pydicom.dcmread(io.BytesIO(made))
    assert (after.PatientName, after[REFERENCES].value[0].PatientName) == ("èè", "éé")


def test_what_a_loss_adds_is_added_to_converted_text():
    """Derivation Description has the old text in front, also inside functional groups."""
    told = dicom.element(0x00082111, "ST", b"gegl\xe4ttet")
    rng = np.random.default_rng(2)
    frames = rng.integers(0, 4000, 2 * 64 * 64, dtype="<u2").tobytes()
    name = dicom.element(0x00080104, "LO", b"Sch\xe4del")
    derived = dicom.sequence(0x00089124, [told + dicom.sequence(0x00089215, [name])])
    groups = dicom.sequence(0x52009229, [derived])
    image = dicom.Image(frames, rows=64, columns=64, frames=2, sop_class="1.2.840.10008.5.1.4.1.1.2.1")
    image.before = {CHARSET: dicom.element(CHARSET, "CS", "ISO_IR 100"), 0x00082111: told, 0x52009229: groups}
    made = dcmtx.transcode(image.encode(), to="jpegls", lossy=True, near=9, charset="utf-8")
    after = pydicom.dcmread(io.BytesIO(made))
    group = after.SharedFunctionalGroupsSequence[0].DerivationImageSequence
    assert group[0].DerivationDescription == "geglättet"
    assert group[0].DerivationCodeSequence[0].CodeMeaning == "Schädel"
    assert after.DerivationDescription.startswith("geglättet")
    assert len(group) == 2


def test_what_is_derived_has_old_text_and_new():
    noise = np.random.default_rng(1).integers(0, 4000, 64 * 64, dtype="<u2").tobytes()
    image = dicom.Image(noise, rows=64, columns=64)
    image.before = {CHARSET: dicom.element(CHARSET, "CS", "ISO_IR 100"),
                    0x00082111: dicom.element(0x00082111, "ST", b"gegl\xe4ttet")}  # fmt: skip
    after = pydicom.dcmread(
        io.BytesIO(dcmtx.transcode(image.encode(), to="jpegls", lossy=True, near=9, charset="utf-8"))
    )
    assert re.fullmatch(r"geglättet; .* lossy compression, ratio [\d.]+", after.DerivationDescription)


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("charset", "value", "what"),
    [
        pytest.param(None, b"\xe9\xe9", "no Specific Character Set is named", id="nothing is declared"),
        pytest.param("", b"\xe9\xe9", "no Specific Character Set is named", id="empty"),
        pytest.param("ISO_IR 192", b"\xe9\xe9", "are not of it (e9 e9)", id="not UTF-8"),
        pytest.param("ISO_IR 13", b"\x83\x4e", "not of ISO-IR 13", id="Shift JIS that is not declared"),
        pytest.param("\\ISO 2022 IR 87", b"\x1b$B;", "half a character", id="half a kanji"),
        pytest.param("\\ISO 2022 IR 87", b"\x1b%Gab", "an unknown escape sequence", id="an escape sequence"),
        pytest.param("ISO_IR 166", b"\xff\xff", "are not of it (ff ff)", id="a hole in Thai"),
        pytest.param("ISO_IR 999", b"ab", "names 'ISO_IR 999', which is unknown", id="an unknown character set"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_what_cannot_be_read_is_refused_with_its_tag(charset, value, what, inside, tmp_path, fails):
    element = dicom.element(OTHER_IDS - 2, "LO", b"x") + dicom.element(0x00104000, "LT", value)
    more = (
        {REFERENCES: dicom.sequence(REFERENCES, [element])}
        if inside
        else {COMMENTS: dicom.element(COMMENTS, "LT", value)}
    )
    path = tmp_path / "in.dcm"
    path.write_bytes(write(charset, more))
    status = 4 if charset == "ISO_IR 999" else 5
    line = fails(status, "convert", path, tmp_path / "out.dcm", "-X", "--charset", "utf-8")
    assert what in line
    assert ("(0010,4000)" in line) is (status == 5)
    assert "leave --charset out" in line


def test_text_that_becomes_too_long_for_its_vr_is_refused():
    more = {COMMENTS: dicom.element(COMMENTS, "LT", b"\xe9" * 40000)}
    with pytest.raises(dcmtx.RefusedError) as caught:
        dcmtx.transcode(write("ISO_IR 100", more), to="explicit", charset="utf-8")
    assert (caught.value.code, caught.value.tag) == ("E_SIZE", COMMENTS)


def test_a_dry_run_shows_the_text(command):
    ran = command("convert", DATA_FILE, "never.dcm", "-X", "--charset", "utf-8", "--dry-run")
    assert ran.status == 0
    assert "  (0008,0005) becomes ISO_IR 192\n" in ran.out
    assert "  (0010,0010) becomes Buc^Jérôme\n" in ran.out


DATA_FILE = next(path for path in FILES if path.stem == "chrFren")


UNNEEDED = {"pydicom", "dcmtx.rules.charset", "dcmtx.rules.removal", "dcmtx.planning.extras", "dcmtx.batch.references"}


def test_nothing_of_it_is_loaded_without_the_option():
    code = "import sys, dcmtx; dcmtx.transcode(sys.argv[1], to='implicit'); print(*sys.modules)"
    line = [sys.executable, "-c", code, ROOT / "testdata" / "ct-explicit.dcm"]
    loaded = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert "dcmtx.planning.planner" in loaded
    assert not UNNEEDED & set(loaded)
