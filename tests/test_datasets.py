"""Whole data sets from file to file: what of them must change with the transfer syntax, what must not, and objects
that are no plain images.

How elements are encoded is tested by itself in test_encoding; explicit little-endian data sets in test_attributes.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import dicom
import images
import numpy as np
import oracle
import pydicom
import pytest
from conftest import ROOT
from images import Format
from pydicom.data import get_testdata_file

from dcmtx import transcode
from dcmtx.errors import InputError, RefusedError, UnsupportedError
from dcmtx.syntax import SYNTAXES, Kind
from dcmtx.transcoding.job import Status

G8, G12, SIGNED = Format("MONOCHROME2", 8, 8), Format("MONOCHROME2", 16, 12), Format("MONOCHROME2", 16, 16, signed=True)
RGB = Format("RGB", 8, 8)
NATIVE = {"explicit": dicom.EXPLICIT, "implicit": dicom.IMPLICIT, "big-endian": dicom.BIG_ENDIAN,
          "deflated": dicom.DEFLATED}  # fmt: skip
FROM = pytest.mark.parametrize("source", NATIVE, ids=lambda name: f"from {name}")
SIGNATURES, MAC_PARAMETERS = 0xFFFAFFFA, 0x4FFE0001
STORAGE = "1.2.840.10008.5.1.4.1.1"


def bundled(name: str) -> Path:
    return Path(get_testdata_file(name, download=False))


def encoding(syntax: str) -> str:
    return syntax if syntax in (dicom.IMPLICIT, dicom.BIG_ENDIAN) else dicom.EXPLICIT


def make(path: Path, syntax: str = dicom.EXPLICIT, fmt: Format = G12, count: int = 1, **more: Any) -> Path:
    """Write an image of a native syntax; `before` and `behind` in its encoding."""
    image = images.image(fmt, images.make_frames(fmt, 5, 7, count), syntax=encoding(syntax), **more)
    data = image.encode()
    if syntax == dicom.DEFLATED:
        data = dicom.file([dicom.walk(data).dataset], dicom.DEFLATED)
    path.write_bytes(data)
    return path


def found_in(path: Path) -> dict[int, dicom.Found]:
    return dicom.walk(path.read_bytes()).elements


# --- digital signatures ----------------------------------------------------------------------------------------

SIGNATURE = dicom.sequence(
    SIGNATURES, [dicom.element(0x04000100, "UI", "1.2.5") + dicom.element(0x04000120, "OB", bytes(range(64)))]
)
MAC = dicom.sequence(MAC_PARAMETERS, [dicom.element(0x04000005, "US", [1])])
SIGNED_BY = {"a signature": [MAC, SIGNATURE], "only its parameters": [MAC], "only itself": [SIGNATURE]}


def signed(path: Path, kind: str, fmt: Format = G12) -> Path:
    mac = {MAC_PARAMETERS: MAC} if MAC in SIGNED_BY[kind] else {}
    behind = [SIGNATURE] if SIGNATURE in SIGNED_BY[kind] else []
    return make(path, fmt=fmt, before=mac, behind=behind)


@pytest.mark.parametrize("kind", SIGNED_BY)
@pytest.mark.parametrize("to", ["rle", "jpegls", "j2k", "htj2k", "jpeg", "deflated-frames", "jpegls-near"])
def test_signed_pixels_are_coded_anew_only_where_that_is_asked_for(to: str, kind: str, tmp_path: Path) -> None:
    """A signature of what is no longer there would be a false one (PS3.3 C.12.1.1.3)."""
    source, out = signed(tmp_path / "source.dcm", kind), tmp_path / "out.dcm"
    lossy = to == "jpegls-near"
    with pytest.raises(RefusedError) as caught:
        transcode(source, out, to=to, lossy=lossy)
    assert caught.value.code == "E_SIGNATURE"
    assert not out.exists()
    transcode(source, out, to=to, lossy=lossy, signatures="remove")
    found = found_in(out)
    assert not found.keys() & {SIGNATURES, MAC_PARAMETERS}
    if not lossy:
        assert found.keys() == found_in(source).keys() - {SIGNATURES, MAC_PARAMETERS}


@pytest.mark.parametrize("to", ["explicit", "rle", "jpegxl-jpeg"])
def test_signed_codestreams_are_not_decoded_either(to: str, tmp_path: Path) -> None:
    plain, source, out = make(tmp_path / "plain.dcm", fmt=G8), tmp_path / "source.dcm", tmp_path / "out.dcm"
    transcode(plain, source, to="jpeg-baseline", lossy=True)
    source.write_bytes(source.read_bytes() + SIGNATURE)
    with pytest.raises(RefusedError) as caught:
        transcode(source, out, to=to)
    assert caught.value.code == "E_SIGNATURE"
    transcode(source, out, to=to, signatures="remove")
    assert SIGNATURES not in found_in(out)


def test_the_removal_of_signatures_is_told(tmp_path: Path) -> None:
    source = signed(tmp_path / "source.dcm", "a signature")
    outcome = transcode(source, tmp_path / "out.dcm", to="rle", signatures="remove")
    assert any("signature" in note.text for note in outcome.notes)
    unsigned = make(tmp_path / "unsigned.dcm")
    outcome = transcode(unsigned, tmp_path / "out.dcm", to="rle", signatures="remove")
    assert not any("signature" in note.text for note in outcome.notes)


@pytest.mark.parametrize("policy", ["refuse", "remove"])
@pytest.mark.parametrize("to", ["explicit", "implicit", "deflated", "big-endian"])
def test_signatures_stay_where_pixels_do(to: str, policy: str, tmp_path: Path) -> None:
    """They are computed over another encoding than the file's anyway (PS3.15 C.1)."""
    source, out = signed(tmp_path / "source.dcm", "a signature"), tmp_path / "out.dcm"
    transcode(source, out, to=to, signatures=policy)
    for tag in (MAC_PARAMETERS, SIGNATURES):
        (before,), (after,) = (found_in(path)[tag].items or [] for path in (source, out))
        assert {key: one.value for key, one in after.items()} == {key: one.value for key, one in before.items()}


@pytest.mark.parametrize("to", ["explicit", "implicit"])
def test_a_new_uid_makes_signatures_false(to: str, tmp_path: Path) -> None:
    """SOP Instance UID is among what is signed (PS3.15 C.2, C.3)."""
    source, out = signed(tmp_path / "source.dcm", "a signature"), tmp_path / "out.dcm"
    with pytest.raises(RefusedError) as caught:
        transcode(source, out, to=to, uid="new")
    assert caught.value.code == "E_SIGNATURE"
    transcode(source, out, to=to, uid="new", signatures="remove")
    assert not found_in(out).keys() & {SIGNATURES, MAC_PARAMETERS}


# --- from Implicit VR: what VR an element has ------------------------------------------------------------------


def ambiguous(sign: bool) -> list[tuple[int, str, bytes]]:
    """Return elements whose VR depends on the sign of the pixels, or on their length; VR as it must become."""
    vr = "SS" if sign else "US"
    return [
        (0x00280106, vr, b"\xfe\xff" if sign else b"\1\0"), (0x00280107, vr, b"\xff\x7f"),
        (0x00280120, vr, b"\x30\xf8"), (0x00280121, vr, b"\x34\xf8"),
    ]  # fmt: skip


def lookup(sign: bool, entries: int) -> list[tuple[int, str, bytes]]:
    descriptor = struct.pack("<HhH", entries % 65536, -5 if sign else 5, 16)
    vr = "OW" if 2 * entries > 0xFFFE else "US"
    data = (np.arange(entries) * 3 % 65536).astype("<u2").tobytes()
    return [(0x00283002, "SS" if sign else "US", descriptor), (0x00283003, "LO", b"a table "), (0x00283006, vr, data)]


def encoded(elements: list[tuple[int, str, bytes]], syntax: str) -> bytes:
    return b"".join(dicom.element(tag, vr, value, syntax) for tag, vr, value in elements)


@pytest.mark.parametrize("sign", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("to", ["explicit", "deflated", "big-endian", "rle", "jpegls", "j2k"])
def test_implicit_vr_becomes_explicit_by_what_the_pixels_say(to: str, sign: bool, tmp_path: Path) -> None:
    """US or SS, US or OW, and OW of overlays and palettes (PS3.5 A.1, A.2); values stay."""
    source, out, back = (tmp_path / f"{what}.dcm" for what in ("source", "out", "back"))
    overlay = [
        (0x60000010, "US", b"\5\0"), (0x60000011, "US", b"\7\0"), (0x60000100, "US", b"\1\0"),
        (0x60000102, "US", b"\0\0"), (0x60003000, "OW", bytes(range(6))),
    ]  # fmt: skip
    elements = ambiguous(sign)
    before = {tag: dicom.element(tag, vr, value, dicom.IMPLICIT) for tag, vr, value in elements + overlay}
    small, large = lookup(sign, 256), lookup(sign, 40_000)
    items = [encoded(small, dicom.IMPLICIT), encoded(large, dicom.IMPLICIT)]
    before[0x00283010] = dicom.sequence(0x00283010, items, dicom.IMPLICIT, undefined=True)
    make(source, dicom.IMPLICIT, SIGNED if sign else G12, before=before)
    transcode(source, out, to=to)
    found = found_in(out)
    for tag, vr, value in elements + overlay:
        assert (found[tag].vr, found[tag].value) == (vr, value), f"{tag:08X}"
    for item, expected in zip(found[0x00283010].items or [], (small, large), strict=True):
        assert [(one.tag, one.vr, one.value) for one in item.values()] == expected
    transcode(out, back, to="implicit")
    assert {tag: one.value for tag, one in found_in(back).items() if not one.items} == {
        tag: one.value for tag, one in found_in(source).items() if not one.items
    }


@pytest.mark.parametrize("to", ["explicit", "rle", "deflated"])
def test_explicit_vrs_are_kept_whatever_the_pixels_say(to: str, tmp_path: Path) -> None:
    """A writer that says SS of unsigned pixels, or OW of a short table, means it."""
    odd = {
        0x00280106: dicom.element(0x00280106, "SS", [-3]),
        0x00280120: dicom.element(0x00280120, "SS", [-2000]),
        0x00283010: dicom.sequence(0x00283010, [dicom.element(0x00283006, "OW", bytes(range(16)))]),
    }
    source, out = make(tmp_path / "source.dcm", before=odd), tmp_path / "out.dcm"
    transcode(source, out, to=to)
    assert {tag: one.raw for tag, one in found_in(out).items() if tag in odd} == odd


STRANGE = [
    (0x00090010, "LO", b"A MAKER "), (0x00091001, "UN", b"\1\2\3\4"), (0x00091002, "UN", b"text with a space "),
    (0x0009FFFE, "UN", b""), (0x00110010, "LO", b"ANOTHER "), (0x00111001, "UN", bytes(range(256)) * 300),
    (0x00189999, "UN", b"unknown to all"), (0x00200242, "UI", b"1.2.840\0"),
]  # fmt: skip


@pytest.mark.parametrize("to", ["explicit", "deflated", "big-endian", "rle", "jpegls"])
def test_private_and_unknown_elements_become_unknown_with_their_bytes(to: str, tmp_path: Path) -> None:
    """UN, never swapped; a Private Creator is LO (PS3.5 6.2.2); a private sequence stays as it is inside."""
    inner = encoded([(0x00280106, "US", b"\1\2"), (0x00091001, "UN", b"x ")], dicom.IMPLICIT)
    nested = dicom.sequence(0x00131001, [inner, b""], dicom.IMPLICIT, undefined=True)
    before = {tag: dicom.element(tag, vr, value, dicom.IMPLICIT) for tag, vr, value in STRANGE}
    before |= {0x00130010: dicom.element(0x00130010, "LO", "A THIRD", dicom.IMPLICIT), 0x00131001: nested}
    last = [(0x7FE10010, "LO", b"LAST"), (0x7FE11001, "UN", b"ab")]
    behind = [encoded(last, dicom.IMPLICIT)]
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    make(source, dicom.IMPLICIT, before=before, behind=behind)
    transcode(source, out, to=to)
    found = found_in(out)
    for tag, vr, value in STRANGE + last:
        assert (found[tag].vr, found[tag].value) == (vr, value), f"{tag:08X}"
    big = to == "big-endian"
    header = dicom.header(0x00131001, "UN", dicom.UNDEFINED, dicom.BIG_ENDIAN if big else dicom.EXPLICIT)
    assert header + nested[8:] in dicom.walk(out.read_bytes()).dataset


@pytest.mark.parametrize("to", ["explicit", "deflated", "rle"])
@pytest.mark.parametrize("size", [65534, 65536, 200_000])
def test_a_value_beyond_64_kib_becomes_unknown(size: int, to: str, tmp_path: Path) -> None:
    """Where the VR has a 16-bit length (PS3.5 6.2.2), at top level and inside; pydicom reads it back."""
    value = (b"-12.5\\" * (size // 6 + 1))[: size - 1] + b" "
    element = dicom.element(0x00186000, "DS", value, dicom.IMPLICIT)
    points = {0x30060050: dicom.element(0x30060050, "DS", value, dicom.IMPLICIT)}
    before = {0x00186000: element, 0x30060039: dicom.sequence(0x30060039, points.values(), dicom.IMPLICIT)}
    source, out = make(tmp_path / "source.dcm", dicom.IMPLICIT, before=before), tmp_path / "out.dcm"
    transcode(source, out, to=to)
    found = found_in(out)
    (item,) = found[0x30060039].items or []
    for one in (found[0x00186000], item[0x30060050]):
        assert (one.vr, one.value) == ("DS" if size < 65536 else "UN", value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(pydicom.dcmread(out).get_item(0x00186000).value) == size


# --- bytes that are nobody's business --------------------------------------------------------------------------

TEXTS = {
    0x00080005: ("CS", b"ISO 2022 IR 6\\ISO 2022 IR 87"),
    0x00080020: ("DA", b"1999.1.2"),
    0x00081030: ("LO", b"  spaces before, zeros behind\0"),
    0x00100010: ("PN", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\xd4\xcf\xc0\xde"),
    0x00101040: ("LO", b"\xff\xfe\x80 no text at all"),
    0x00180050: ("DS", b" 01.50000 "),
    0x00200013: ("IS", b"+007"),
    0x00321060: ("LO", b"back\\slash\\\\ "),
}


@FROM
@pytest.mark.parametrize("to", [*NATIVE, "rle", "jpegls"])
def test_text_is_copied_byte_for_byte(to: str, source: str, tmp_path: Path) -> None:
    """In any character set, broken too; numbers in text are not made beautiful."""
    s = encoding(NATIVE[source])
    before = {tag: dicom.element(tag, vr, value, s) for tag, (vr, value) in TEXTS.items()}
    inside = b"".join(before[tag] for tag in (0x00080005, 0x00100010))
    before[0x00081115] = dicom.sequence(0x00081115, [inside], s)
    path, out = make(tmp_path / "source.dcm", NATIVE[source], before=before), tmp_path / "out.dcm"
    transcode(path, out, to=to, force=True)
    found = found_in(out)
    (item,) = found[0x00081115].items or []
    for tag, (vr, value) in TEXTS.items():
        padded = value + b" " * (len(value) % 2)
        assert found[tag].value == padded
        assert found[tag].vr in (vr, "")
        if tag in item:
            assert item[tag].value == padded


@FROM
@pytest.mark.parametrize("to", [*NATIVE, "rle"])
def test_group_lengths_and_trailing_padding_go(to: str, source: str, tmp_path: Path) -> None:
    """They are retired (PS3.5 7.2, PS3.10 7.2); inside sequences too, whose lengths are then other ones."""
    s = encoding(NATIVE[source])
    length = {group << 16: dicom.element(group << 16, "UL", [12], s) for group in (0x0008, 0x0010, 0x0028, 0x7FE0)}
    item = dicom.element(0x00080000, "UL", [99], s) + dicom.element(0x00081155, "UI", "1.2.9", s)
    sequences = {
        0x00081111: dicom.sequence(0x00081111, [item], s),
        0x00081140: dicom.sequence(0x00081140, [item, item], s, undefined=True),
    }
    padding = dicom.header(0xFFFCFFFC, "OB", 6, s) + bytes(6)
    path = make(tmp_path / "source.dcm", NATIVE[source], before=length | sequences, behind=[padding])
    out = tmp_path / "out.dcm"
    transcode(path, out, to=to, force=True)
    walked = dicom.walk(out.read_bytes())
    kept = [tag for tag in found_in(path) if tag & 0xFFFF and tag != 0xFFFCFFFC]
    assert walked.order == kept
    for tag in sequences:
        assert all(list(one) == [0x00081155] for one in walked.elements[tag].items or [])
    assert not oracle.different(images.make_frames(G12, 5, 7), oracle.decoded(out.read_bytes()))


# --- deflated --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("filler", range(6))
def test_deflated_data_sets_are_padded_to_even_length(filler: int, tmp_path: Path) -> None:
    """One zero behind an odd stream (PS3.5 A.5), raw RFC 1951; pydicom reads it; back it is what it was."""
    comment = {0x00204000: dicom.element(0x00204000, "LT", "x" * (filler * 7 + 1))}
    source, out, back = make(tmp_path / "source.dcm", before=comment), tmp_path / "out.dcm", tmp_path / "back.dcm"
    transcode(source, out, to="deflated")
    # The walker inflates it, and insists on an even length and no more than a zero behind the stream.
    assert dicom.walk(out.read_bytes()).dataset == dicom.walk(source.read_bytes()).dataset
    assert pydicom.dcmread(out).ImageComments == "x" * (filler * 7 + 1)
    transcode(out, back, to="explicit")
    assert dicom.walk(back.read_bytes()).dataset == dicom.walk(source.read_bytes()).dataset


@pytest.mark.parametrize("level", [0, 1, 9], ids=["stored", "fast", "best"])
def test_deflated_sources_of_any_kind_are_read(level: int, tmp_path: Path) -> None:
    plain = make(tmp_path / "plain.dcm", count=3)
    deflater = zlib.compressobj(level, wbits=-15)
    body = deflater.compress(dicom.walk(plain.read_bytes()).dataset)
    source, out = make(tmp_path / "source.dcm", dicom.DEFLATED), tmp_path / "out.dcm"
    whole = source.read_bytes()
    meta = whole[: 132 + 12 + int.from_bytes(whole[140:144], "little")]
    source.write_bytes(meta + body + deflater.flush())
    for to in ("explicit", "jpegls", "implicit"):
        transcode(source, out, to=to)
        assert not oracle.different(images.make_frames(G12, 5, 7, 3), oracle.decoded(out.read_bytes()))


# --- big endian ------------------------------------------------------------------------------------------------

CELLS = {
    "8 bits in OW": (G8, "OW"), "8 bits in OB": (G8, "OB"), "1 bit in OW": (Format("MONOCHROME2", 1, 1), "OW"),
    "1 bit in OB": (Format("MONOCHROME2", 1, 1), "OB"), "16 bits": (SIGNED, "OW"), "RGB in OW": (RGB, "OW"),
    "RGB in OB": (RGB, "OB"), "32 bits": (Format("MONOCHROME2", 32, 32), "OW"),
}  # fmt: skip


@pytest.mark.parametrize("count", [1, 3], ids=["one frame", "three frames"])
@pytest.mark.parametrize(
    ("kind", "to"),
    [
        (kind, to)
        for kind in CELLS
        for to in ("explicit", "implicit", "deflated", "rle", "jpegls", "deflated-frames")
        # Those hold no single bits, and no 32.
        if to not in ("rle", "jpegls") or CELLS[kind][0].allocated in (8, 16)
    ],
)
def test_big_endian_words_are_swapped_and_bytes_are_not(kind: str, to: str, count: int, tmp_path: Path) -> None:
    """OW goes by words of 16 bits, whatever Bits Allocated is; OB has no order (PS3.5 7.3, 8.2)."""
    fmt, vr = CELLS[kind]
    source, out = make(tmp_path / "source.dcm", dicom.BIG_ENDIAN, fmt, count, pixel_vr=vr), tmp_path / "out.dcm"
    outcome = transcode(source, out, to=to, word_order="16")
    frames = images.make_frames(fmt, 5, 7, count)
    assert not oracle.different(frames, oracle.decoded(out.read_bytes(), outcome.encoder))
    back = tmp_path / "back.dcm"
    transcode(out, back, to="big-endian")
    assert not oracle.different(frames, oracle.native(back.read_bytes()))


def test_pydicom_reads_what_is_written_in_big_endian(tmp_path: Path) -> None:
    source, out = make(tmp_path / "source.dcm", fmt=SIGNED, count=2), tmp_path / "out.dcm"
    outcome = transcode(source, out, to="big-endian")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(pydicom.dcmread(out).pixel_array, np.stack(images.make_frames(SIGNED, 5, 7, 2)))
    assert any("retired" in note.text for note in outcome.notes)


# --- objects without pixels ------------------------------------------------------------------------------------

NO_PIXELS = ("rtplan.dcm", "rtstruct.dcm", "test-SR.dcm", "reportsi.dcm", "waveform_ecg.dcm")
COMPRESSED = ("rle", "jpeg", "jpegls", "j2k", "htj2k", "deflated-frames", "encapsulated")


@pytest.mark.parametrize("to", COMPRESSED)
@pytest.mark.parametrize("name", NO_PIXELS)
def test_an_object_without_pixels_becomes_explicit_is_skipped_or_refused(name: str, to: str, tmp_path: Path) -> None:
    """Encapsulated syntaxes need Pixel Data at top level (PS3.5 A.4)."""
    source, out = bundled(name), tmp_path / "out.dcm"
    with pytest.raises(RefusedError) as caught:
        transcode(source, out, to=to, no_pixels="fail")
    assert caught.value.code == "E_NO_PIXELDATA"
    skipped = transcode(source, out, to=to, no_pixels="skip")
    assert skipped.status is Status.SKIPPED
    assert any("no pixels" in note.text for note in skipped.notes)
    assert not out.exists()
    outcome = transcode(source, out, to=to)
    assert outcome.status is Status.CONVERTED
    assert outcome.syntax_out == dicom.walk(out.read_bytes()).syntax == dicom.EXPLICIT
    assert any("no pixels" in note.text for note in outcome.notes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, after = pydicom.dcmread(source, force=True), pydicom.dcmread(out)
        assert [one.tag for one in after] == [one.tag for one in before if one.tag.element]


# SOP Classes (PS3.4 B.5), and whether their objects are images, which are never whole without Pixel Data.
CLASSES = {
    "1": True, "1.1": True, "2": True, "4.1": True, "6.1": True, "7": True, "7.4": True, "12.1": True, "20": True,
    "66.4": True, "77.1.6": True, "128": True, "481.1": True, "481.2": False,
    "11.1": False, "66": False, "66.5": False, "77.1.5.3": False, "88.11": False, "104.1": False, "481.3": False,
    "481.5": False,
}  # fmt: skip


@pytest.mark.parametrize(("last", "is_image"), CLASSES.items())
def test_a_class_tells_images_from_objects_without_pixels(last: str, is_image: bool, tmp_path: Path) -> None:
    uid = f"1.2.840.10008.5.1.4.1.1.{last}"
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    source.write_bytes(dicom.file([dicom.element(0x00080016, "UI", uid), dicom.element(0x00080018, "UI", "1.2.3")]))
    if not is_image:
        assert transcode(source, out, to="rle").syntax_out == dicom.EXPLICIT
        return
    with pytest.raises(InputError) as caught:
        transcode(source, out, to="rle")
    assert caught.value.code == "E_NO_PIXELDATA"
    assert not out.exists()


@pytest.mark.parametrize("policy", ["native", "skip", "fail"])
@pytest.mark.parametrize("to", ["explicit", "implicit", "deflated", "big-endian"])
def test_native_syntaxes_take_objects_without_pixels(to: str, policy: str, tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    outcome = transcode(bundled("rtstruct.dcm"), out, to=to, no_pixels=policy, force=True)
    assert outcome.status is Status.CONVERTED
    assert dicom.walk(out.read_bytes()).syntax == NATIVE[to]
    assert not any("no pixels" in note.text for note in outcome.notes)


@pytest.mark.parametrize("to", ["jpegls", "rle"])
def test_loss_is_nothing_to_an_object_without_pixels(to: str, tmp_path: Path) -> None:
    """It becomes explicit, and says nothing of loss."""
    out = tmp_path / "out.dcm"
    lossy = to == "jpegls"
    transcode(bundled("rtplan.dcm"), out, to=to, lossy=lossy)
    found = found_in(out)
    assert not found.keys() & {0x00282110, 0x00282112, 0x00282114, 0x00082112, 0x00089215}
    assert found[0x00080018].text == dicom.walk(out.read_bytes()).meta[0x00020003].text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found[0x00080018].text == pydicom.dcmread(bundled("rtplan.dcm")).SOPInstanceUID


# --- DICOMDIR --------------------------------------------------------------------------------------------------


def test_a_dicomdir_that_is_right_is_copied_and_never_anything_else(tmp_path: Path) -> None:
    """PS3.10 8.6."""
    source, out = bundled("dicomdirtests/DICOMDIR"), tmp_path / "out"
    transcode(source, out, to="explicit")
    assert out.read_bytes() == source.read_bytes()
    out.unlink()
    for to in ("implicit", "big-endian", "deflated", "rle"):
        with pytest.raises(RefusedError) as caught:
            transcode(source, out, to=to)
        assert caught.value.code == "E_DICOMDIR"
        assert not out.exists()


# --- video, and pixels that are elsewhere ----------------------------------------------------------------------

VIDEO = [
    syntax for syntax in SYNTAXES if syntax.uid.startswith("1.2.840.10008.1.2.4.10") and syntax.kind is not Kind.FRAMES
]
ELSEWHERE = [syntax for syntax in SYNTAXES if syntax.kind is Kind.REFERENCE]


def test_there_are_videos_to_be_tried() -> None:
    assert {f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109)} <= {syntax.uid for syntax in VIDEO}
    assert {f"1.2.840.10008.1.2.4.{number}" for number in (94, 95, 204, 205)} <= {syntax.uid for syntax in ELSEWHERE}


@pytest.mark.parametrize("syntax", VIDEO, ids=lambda syntax: syntax.keyword)
def test_video_is_passed_on_untouched_or_not_at_all(syntax: Any, tmp_path: Path) -> None:
    """However it is in fragments, with whatever stands around it; nothing decodes or makes it."""
    fragments = [bytes(range(256)) * 3, b"\0\0\1\xb7"]
    image = dicom.Image(
        fragments, 48, 64, 3, "YBR_PARTIAL_420", 8, 8, frames=25, syntax=syntax.uid,
        before={0x00080000: dicom.element(0x00080000, "UL", [77])}, behind=[dicom.element(0x7FE10010, "LO", "END")],
    )  # fmt: skip
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    source.write_bytes(image.encode())
    assert transcode(source, out, to=syntax.uid).status is Status.COPIED
    assert out.read_bytes() == source.read_bytes()
    out.unlink()
    for to, options in (("explicit", {}), ("rle", {}), ("jpeg", {"lossy": True}), (syntax.uid, {"force": True})):
        with pytest.raises(UnsupportedError) as caught:
            transcode(source, out, to=to, **options)
        assert caught.value.code == "E_UNSUPPORTED_TS"
        assert not out.exists()


@pytest.mark.parametrize("syntax", ELSEWHERE, ids=lambda syntax: syntax.keyword)
def test_pixels_that_are_elsewhere_are_not_fetched(syntax: Any, tmp_path: Path) -> None:
    """Such files are copied as they are, or refused."""
    elements = images.image(G12, images.make_frames(G12, 5, 7)).elements()
    elements[0x00287FE0] = dicom.element(0x00287FE0, "UR", "https://example.org/jpip?target=1")
    body = b"".join(elements[tag] for tag in sorted(elements))
    if syntax.deflated:
        deflater = zlib.compressobj(wbits=-15)
        body = deflater.compress(body) + deflater.flush()
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    source.write_bytes(dicom.file([body], syntax.uid))
    assert transcode(source, out, to=syntax.uid).status is Status.COPIED
    assert out.read_bytes() == source.read_bytes()
    out.unlink()
    for to in ("explicit", "jpegls", "j2k"):
        with pytest.raises(UnsupportedError):
            transcode(source, out, to=to)
        assert not out.exists()


# --- objects whose values are not for the eye ------------------------------------------------------------------

SEGMENTATION, LABELS, MAP, DOSE = (f"{STORAGE}.{last}" for last in ("66.4", "66.7", "30", "481.2"))
EXACT = {
    "a fractional segmentation": (SEGMENTATION, G8),
    "a label map": (LABELS, G8),
    "a label map in a palette": (LABELS, Format("PALETTE COLOR", 8, 8)),
    "a parametric map": (MAP, Format("MONOCHROME2", 16, 16)),
    "a dose of 16 bits": (DOSE, Format("MONOCHROME2", 16, 16)),
    "a dose of 20 of 32 bits": (DOSE, Format("MONOCHROME2", 32, 20)),
}


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("to", ["jpeg", "jpegls", "j2k", "htj2k", "jpegxl", "jpeg-baseline", "jpegls-near", "JPEG2000"])
def test_what_must_be_exact_is_never_lossy(to: str, kind: str, tmp_path: Path) -> None:
    """Whatever else might be in the way; without loss it is coded."""
    uid, fmt = EXACT[kind]
    before = images.palette() if fmt.photometric == "PALETTE COLOR" else {}
    source, out = make(tmp_path / "source.dcm", fmt=fmt, count=2, sop_class=uid, before=before), tmp_path / "out.dcm"
    with pytest.raises(RefusedError) as caught:
        transcode(source, out, to=to, lossy=True)
    assert caught.value.code == "E_LOSSY_FORBIDDEN"
    assert not out.exists()
    frames = images.make_frames(fmt, 5, 7, 2)
    outcome = transcode(source, out, to="j2k")
    assert not oracle.different(frames, oracle.decoded(out.read_bytes(), outcome.encoder))


@pytest.mark.parametrize("to", ["explicit", "implicit", "deflated", "deflated-frames", "encapsulated", "big-endian"])
def test_a_binary_segmentation_is_held_bit_for_bit(to: str, tmp_path: Path) -> None:
    """In native syntaxes frames run on, in fragments each starts on a byte."""
    source, out = ROOT / "testdata" / "seg-binary.dcm", tmp_path / "out.dcm"
    frames = oracle.native(source.read_bytes())
    transcode(source, out, to=to, force=True)
    assert not oracle.different(frames, oracle.decoded(out.read_bytes()))


@pytest.mark.parametrize(
    ("to", "allowed"), [("rle", True), ("j2k", True), ("jpegls", False), ("jpeg", False), ("htj2k", False)]
)
def test_a_binary_segmentation_goes_elsewhere_only_where_that_is_allowed(
    to: str, allowed: bool, tmp_path: Path
) -> None:
    source, out = ROOT / "testdata" / "seg-binary.dcm", tmp_path / "out.dcm"
    with pytest.raises(RefusedError) as caught:
        transcode(source, out, to=to)
    assert caught.value.code == "E_BITS"
    if not allowed:
        with pytest.raises(RefusedError):
            transcode(source, out, to=to, one_bit="allow")
        return
    transcode(source, out, to=to, one_bit="allow")
    assert not oracle.different(oracle.native(source.read_bytes()), oracle.decoded(out.read_bytes()))


FLOATS = {"Float Pixel Data": (0x7FE00008, "OF", "<f4"), "Double Float Pixel Data": (0x7FE00009, "OD", "<f8")}


@pytest.mark.parametrize("to", ["implicit", "deflated", "big-endian"])
@pytest.mark.parametrize("kind", FLOATS)
def test_floating_point_pixels_go_between_native_syntaxes(kind: str, to: str, tmp_path: Path) -> None:
    """Value for value, not a number included (PS3.5 8.2)."""
    tag, vr, dtype = FLOATS[kind]
    values = np.array([0, -0.0, 1.5, -1e30, np.inf, np.nan] * 4, dtype).tobytes()
    elements = images.image(Format("MONOCHROME2", 32, 32), [np.zeros((4, 6), "u4")]).elements()
    for absent in (0x00280101, 0x00280102, 0x00280103):
        del elements[absent]
    source, out, back = (tmp_path / f"{what}.dcm" for what in ("source", "out", "back"))
    source.write_bytes(dicom.file([*elements.values(), dicom.element(tag, vr, values)], sop_class=MAP))
    transcode(source, out, to=to)
    assert found_in(out)[tag].vr in (vr, "")
    # Implicit VR does not say what its bytes are; they are little endian.
    assert found_in(out)[tag].value == values
    transcode(out, back, to="explicit")
    assert dicom.walk(back.read_bytes()).dataset == dicom.walk(source.read_bytes()).dataset


def test_an_image_cannot_be_told_from_two(tmp_path: Path) -> None:
    """At most one of Pixel Data, Float and Double Float Pixel Data (PS3.5 8.2)."""
    floats = dicom.element(0x7FE00008, "OF", bytes(4 * 35))
    source = make(tmp_path / "source.dcm", before={0x7FE00008: floats})
    with pytest.raises((InputError, RefusedError)):
        transcode(source, tmp_path / "out.dcm", to="jpegls")
