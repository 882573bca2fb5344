"""The table of transfer syntaxes against pydicom's dictionary and against the tables of PS3.5 section 8.2."""

from __future__ import annotations

import pytest
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID

from dcmtx import syntax
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.syntax import BY_UID, FAMILIES, SYNTAXES, Fragments, Kind, Legal, Loss, Syntax

ROOT = "1.2.840.10008.1.2"
PYDICOM = {uid: entry for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}
# In PS3.6 since 2024d and 2025, and not yet in the dictionary of the oldest pydicom that dcmtx runs with.
NEWER = {f"{ROOT}.4.110", f"{ROOT}.4.111", f"{ROOT}.4.112", f"{ROOT}.8.1"}
# Retired with Papyrus 3 itself; it is not below the root of all others.
PAPYRUS = "1.2.840.10008.1.20"


def by_label(row: Syntax) -> str:
    return row.label


def under(last: str) -> str:
    return f"{ROOT}.{last}" if last else ROOT


# --- names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uid",
    [
        pytest.param(
            uid,
        )
        if uid == PAPYRUS
        else uid
        for uid in sorted(PYDICOM)
    ],
)
def test_what_pydicom_knows_is_a_row_with_the_same_names(uid):
    name, _, _, retired, keyword = PYDICOM[uid]
    row = BY_UID[uid]
    assert (row.name, row.keyword, row.retired) == (name, keyword, bool(retired))


def test_every_row_is_known_to_pydicom_or_newer_than_it():
    assert {row.uid for row in SYNTAXES} - set(PYDICOM) <= NEWER


@pytest.mark.parametrize("row", [row for row in SYNTAXES if row.uid in PYDICOM], ids=by_label)
def test_a_row_describes_the_encoding_as_pydicom_does(row):
    uid = UID(row.uid)
    if row.kind is Kind.MESSAGE:
        return
    assert row.encoding.implicit == uid.is_implicit_VR
    assert row.encoding.big_endian == (not uid.is_little_endian)
    assert row.deflated == (uid.is_deflated or "Deflate" in row.name)
    if row.kind in (Kind.NATIVE, Kind.FRAMES, Kind.STREAM, Kind.COLLECTION) and row.uid != f"{ROOT}.1.98":
        assert row.encapsulated == uid.is_compressed


def test_uids_keywords_and_aliases_are_unique_among_themselves():
    names = [name.lower() for row in SYNTAXES for name in (row.uid, row.keyword, row.alias) if name]
    assert len(names) == len(set(names))
    families = [family.name for family in FAMILIES]
    assert len(families) == len(set(families))
    # Two keywords are also the names of families once case is ignored; the family is what a user means.
    assert set(families) & set(names) == {"htj2k", "jpegxl"}
    assert "raw" not in names + families


def test_rows_come_in_the_order_of_their_uids():
    numbers = [tuple(map(int, row.uid.split("."))) for row in SYNTAXES]
    assert numbers == sorted(numbers)
    assert set(BY_UID) == {row.uid for row in SYNTAXES}


@pytest.mark.parametrize("change", [str, str.lower, str.upper, lambda name: f"  {name}\n"],
                         ids=["as it is", "in small letters", "in capitals", "with spaces around"])  # fmt: skip
def test_a_syntax_is_found_by_each_of_its_names(change):
    for row in SYNTAXES:
        for name in filter(None, (row.uid, row.keyword, row.alias)):
            assert syntax.find(change(name)) is row


@pytest.mark.parametrize("name", ["", " ", "jpg", "1.2.840.10008.1.2.", "1.2.840.10008.1.2.4", "jpegls", "raw"])
def test_other_names_are_found_nowhere(name):
    assert syntax.find(name) is None


# The names that users may rely on, and what each means: the documentation of the command line, written out.
ALIASES = {
    "implicit": "", "explicit": "1", "big-endian": "2", "deflated": "1.99", "rle": "5", "jpeg-lossless": "4.70",
    "jpeg-lossless-p14": "4.57", "jpeg-baseline": "4.50", "jpeg-extended": "4.51", "jpegls-near": "4.81",
    "j2k-lossless": "4.90", "htj2k-lossless": "4.201", "htj2k-rpcl": "4.202", "jpegxl-lossless": "4.110",
    "jpegxl-jpeg": "4.111", "deflated-frames": "8.1", "encapsulated": "1.98",
}  # fmt: skip


@pytest.mark.parametrize(("alias", "last"), ALIASES.items(), ids=list(ALIASES))
def test_promised_aliases_name_what_was_promised(alias, last):
    row = syntax.find(alias)
    assert row is not None
    assert row.uid == under(last)
    assert row.label == alias


# Family: lossless member, members used with consent to loss.
MEMBERS = {
    "jpeg": ("4.70", ("4.50", "4.51")),
    "jpegls": ("4.80", ("4.81",)),
    "j2k": ("4.90", ("4.91",)),
    "htj2k": ("4.201", ("4.203",)),
    "jpegxl": ("4.110", ("4.112",)),
}


def test_the_families_are_those_promised():
    assert {family.name for family in FAMILIES} == set(MEMBERS)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_family_has_a_lossless_member_and_lossy_ones(name):
    lossless, lossy = MEMBERS[name]
    for spelling in (name, name.upper(), f" {name} "):
        family = syntax.find_family(spelling)
        assert family is not None
        assert family.lossless == under(lossless)
        assert family.lossy == tuple(under(last) for last in lossy)
    assert BY_UID[under(lossless)].loss is Loss.LOSSLESS
    assert all(BY_UID[under(last)].loss in (Loss.LOSSY, Loss.BOTH) for last in lossy)


def test_no_family_has_the_name_of_another_thing():
    assert syntax.find_family("rle") is None
    assert syntax.find_family("") is None


def test_names_for_messages_are_all_families_and_aliases():
    names = syntax.names()
    assert len(names) == len(set(names))
    assert set(names) == set(MEMBERS) | {row.alias for row in SYNTAXES if row.alias}
    assert set(ALIASES) <= set(names)


@pytest.mark.parametrize(
    ("constant", "last"),
    [("IMPLICIT", ""), ("EXPLICIT", "1"), ("DEFLATED", "1.99"), ("BIG_ENDIAN", "2")],
    ids=["implicit", "explicit", "deflated", "big endian"],
)
def test_constants_are_the_rows_they_say(constant, last):
    assert getattr(syntax, constant) is BY_UID[under(last)]


# --- what each syntax is (PS3.5 section 8.2 and Annex A) ----------------------------------------------------------

_VIDEO = ["100", "101", "102", "103", "104", "105", "106"]
# By last part of the UID: kind, loss, fragments per frame.
NATURE = {
    **dict.fromkeys(("", "1", "1.99", "2"), (Kind.NATIVE, Loss.NONE, Fragments.NONE)),
    "1.98": (Kind.FRAMES, Loss.NONE, Fragments.ONE),
    "5": (Kind.FRAMES, Loss.LOSSLESS, Fragments.ONE),
    "8.1": (Kind.FRAMES, Loss.LOSSLESS, Fragments.ONE),
    **{f"4.{last}": (Kind.FRAMES, Loss.LOSSY, Fragments.MANY) for last in ("50", "51")},
    **{f"4.{last}": (Kind.FRAMES, Loss.LOSSLESS, Fragments.MANY) for last in ("57", "70", "80", "90", "201", "202")},
    **{f"4.{last}": (Kind.FRAMES, Loss.BOTH, Fragments.MANY) for last in ("81", "91", "203")},
    "4.92": (Kind.COLLECTION, Loss.LOSSLESS, Fragments.MANY),
    "4.93": (Kind.COLLECTION, Loss.BOTH, Fragments.MANY),
    **{f"4.{last}": (Kind.FRAMES, Loss.LOSSLESS, Fragments.ONE) for last in ("110", "111")},
    "4.112": (Kind.FRAMES, Loss.BOTH, Fragments.ONE),
    **{f"4.{last}": (Kind.STREAM, Loss.LOSSY, Fragments.STREAM) for last in _VIDEO},
    **{f"4.{last}.1": (Kind.STREAM, Loss.LOSSY, Fragments.MANY) for last in _VIDEO},
    **{f"4.{last}": (Kind.STREAM, Loss.LOSSY, Fragments.MANY) for last in ("107", "108")},
    **{f"4.{last}": (Kind.REFERENCE, Loss.BOTH, Fragments.NONE) for last in ("94", "95", "204", "205")},
    **{f"7.{last}": (Kind.FLOW, Loss.NONE, Fragments.NONE) for last in "123"},
}


@pytest.mark.parametrize("last", NATURE, ids=lambda last: BY_UID[under(last)].label)
def test_a_row_says_how_its_pixels_are_kept(last):
    row = BY_UID[under(last)]
    assert (row.kind, row.loss, row.fragments) == NATURE[last]


def test_the_rows_whose_nature_is_not_written_out_are_retired():
    rest = [row for row in SYNTAXES if row.uid not in {under(last) for last in NATURE}]
    assert rest
    assert all(row.retired for row in rest)


def test_every_row_cites_the_standard():
    assert all(row.section for row in SYNTAXES)
    assert all(legal.section for row in SYNTAXES for legal in row.legal)


# --- legal attributes (PS3.5 Tables 8.2.1-1 to 8.2.15-1) ----------------------------------------------------------

M = ("MONOCHROME1", "MONOCHROME2")
PAL = ("PALETTE COLOR",)
_LOSSLESS_JPEG = [(M, (8, 16), 1, 16, (0, 1)), (PAL, (8, 16), 1, 16, (0,)),
                  (("RGB", "YBR_FULL"), (8, 16), 1, 16, (0,))]  # fmt: skip
_JPEG_LS = [(M, (8, 16), 2, 16, (0, 1)), (("RGB",), (8, 16), 2, 16, (0,)), (("YBR_FULL",), (8,), 2, 8, (0,))]
_WIDE = (8, 16, 24, 32, 40)
_J2K_GREY = [(M, _WIDE, 1, 38, (0, 1))]
_J2K_PALETTE = [(PAL, (8, 16), 1, 16, (0,))]
_J2K_COLOUR = [(("YBR_RCT", "RGB", "YBR_FULL"), _WIDE, 1, 38, (0,))]
_J2K_IRREVERSIBLE = [(("YBR_ICT",), _WIDE, 1, 38, (0,))]
# Rows of the tables: Photometric Interpretations, Bits Allocated, least and greatest Bits Stored, Pixel
# Representations. Bits Allocated 1 under RLE and JPEG 2000 is so new that older readers reject it: it stands apart.
TABLES = {
    "4.50": [(M, (8,), 8, 8, (0,)), (("YBR_FULL_422", "RGB"), (8,), 8, 8, (0,))],
    "4.51": [(M, (8,), 8, 8, (0,)), (M, (16,), 12, 12, (0,))],
    "4.57": _LOSSLESS_JPEG,
    "4.70": _LOSSLESS_JPEG,
    "4.80": [*_JPEG_LS, (PAL, (8, 16), 2, 16, (0,))],
    "4.81": _JPEG_LS,
    "4.90": [*_J2K_GREY, *_J2K_PALETTE, *_J2K_COLOUR],
    "4.91": [*_J2K_GREY, *_J2K_COLOUR, *_J2K_IRREVERSIBLE],
    "4.201": [*_J2K_GREY, *_J2K_PALETTE, *_J2K_COLOUR],
    "4.202": [*_J2K_GREY, *_J2K_PALETTE, *_J2K_COLOUR],
    "4.203": [*_J2K_GREY, *_J2K_COLOUR, *_J2K_IRREVERSIBLE],
    "5": [(M, (8, 16), 1, 16, (0, 1)), (PAL, (8, 16), 1, 16, (0,)), (("RGB",), (8, 16), 1, 16, (0,)),
          (("YBR_FULL",), (8,), 1, 8, (0,))],
    "4.110": [(M, (8, 16), 1, 16, (0,)), (("RGB",), (8, 16), 1, 16, (0,))],
    # XYB, which the table of JPEG XL has too, is what a codestream may hold, but nothing that is given to an encoder.
    "4.112": [(M, (8, 16), 1, 16, (0,)), (("RGB",), (8, 16), 1, 16, (0,))],
    "4.111": [(("MONOCHROME2",), (8,), 8, 8, (0,)), (("YBR_FULL_422", "RGB"), (8,), 8, 8, (0,))],
}  # fmt: skip
_NATIVE = [
    (M, (1, 8, 16, 32, 64), 1, 64, (0, 1)),
    (PAL, (8, 16), 1, 16, (0,)),
    (("RGB", "YBR_FULL"), (8, 16, 32), 1, 32, (0,)),
    (("YBR_FULL_422",), (8,), 8, 8, (0,)),
]
TABLES |= dict.fromkeys(["", "1", "1.98", "1.99", "2", "8.1"], _NATIVE)


def combinations(rows) -> set[tuple[str, int, int, int]]:
    """Return every (Photometric Interpretation, Bits Allocated, Bits Stored, Pixel Representation) of a table."""
    return {
        (photometric, allocated, stored, sign)
        for photometrics, all_allocated, low, high, signs in rows
        for photometric in photometrics
        for allocated in all_allocated
        for stored in range(low, min(high, allocated) + 1)
        for sign in signs
    }


def combinations_of(rows: tuple[Legal, ...]) -> set[tuple[str, int, int, int]]:
    return combinations(
        (legal.photometric, legal.allocated, *legal.stored, (0, 1) if legal.signed else (0,)) for legal in rows
    )


@pytest.mark.parametrize("last", TABLES, ids=lambda last: BY_UID[under(last)].label)
def test_legal_rows_agree_with_the_table_of_the_standard(last):
    assert combinations_of(BY_UID[under(last)].legal) == combinations(TABLES[last])


def test_only_syntaxes_with_a_table_have_legal_rows_or_an_encoder():
    tables = {under(last) for last in TABLES}
    for row in SYNTAXES:
        if row.legal or ENCODERS.rows(row.uid):
            assert row.uid in tables


def test_single_bits_are_legal_where_the_standard_has_them_since_lately():
    # Tables 8.2.2-1 and 8.2.4-1, of 2024; without sign, which one bit cannot have.
    with_bits = {row.uid: row for row in SYNTAXES if row.one_bit}
    assert set(with_bits) == {under("5"), under("4.90")}
    for row in with_bits.values():
        assert combinations_of(row.one_bit) == {(photometric, 1, 1, 0) for photometric in M}


def test_what_can_be_encoded_has_legal_rows_and_a_decoder():
    written = [row for row in SYNTAXES if ENCODERS.rows(row.uid)]
    assert written
    for row in written:
        assert row.legal
        assert DECODERS.rows(row.uid)
