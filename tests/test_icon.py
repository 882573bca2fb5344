"""Icons, and all pixels inside sequences: valid under the file's transfer syntax, with the values that they had.

Nested Pixel Data is native, or encapsulated in the file's own syntax (PS3.5 A.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dicom
import images
import numpy as np
import oracle
import pytest
from images import Format, Words

from dcmtx import transcode
from dcmtx.errors import DcmtxError
from dcmtx.syntax import BY_UID

ICON, PHOTOMETRIC = 0x00880200, 0x00280004
REFERENCED_IMAGES, PRIVATE = 0x00081140, 0x00091010
LOSS = {0x00282110, 0x00282112, 0x00282114, 0x00082111, 0x00082112, 0x00089215}
G8, G12 = Format("MONOCHROME2", 8, 8), Format("MONOCHROME2", 16, 12)
KINDS: dict[str, Format] = {
    "grey": G8,
    "inverted grey": Format("MONOCHROME1", 8, 8),
    "12 bits": G12,
    "signed": Format("MONOCHROME2", 16, 16, signed=True),
    "palette": Format("PALETTE COLOR", 8, 8),
    "RGB": Format("RGB", 8, 8),
    "YBR_FULL": Format("YBR_FULL", 8, 8),
    "1 bit": Format("MONOCHROME2", 1, 1),
}
CODECS = {
    "rle": dicom.RLE, "jpeg": dicom.JPEG_SV1, "jpegls": dicom.JPEGLS, "j2k": dicom.J2K_LOSSLESS, "htj2k":
    dicom.HTJ2K_LOSSLESS, "deflated-frames": oracle.DEFLATED_FRAMES,
}  # fmt: skip
NATIVE = {"explicit": dicom.EXPLICIT, "implicit": dicom.IMPLICIT, "big-endian": dicom.BIG_ENDIAN,
          "deflated": dicom.DEFLATED}  # fmt: skip


def shades(fmt: Format) -> Words:
    """Return an icon's picture: smooth, so that DCT keeps it nearly."""
    y, x = np.mgrid[0:6, 0:8] / 8
    planes = [0.2 + 0.5 * x, 0.8 - 0.4 * y, 0.5 * np.ones_like(x)]
    unit = np.stack(planes, axis=-1) if fmt.samples == 3 else planes[0]
    return np.rint(fmt.low + unit * (fmt.high - fmt.low)).astype(fmt.dtype)


def elements_of(data: bytes, syntax: str) -> bytes:
    """Return the elements of an image as those of an item: without the class and the instance."""
    skipped = {0x00080016, 0x00080018, 0x00080008, 0x00080060, 0x00100010}
    return b"".join(one.raw for tag, one in dicom.walk(data).elements.items() if tag not in skipped)


def native_icon(fmt: Format, syntax: str, vr: str | None = None) -> bytes:
    """Return the elements of an icon with native pixels, in the encoding of a syntax."""
    encoding = syntax if syntax in (dicom.IMPLICIT, dicom.BIG_ENDIAN) else dicom.EXPLICIT
    before = images.palette(encoding) if fmt.photometric == "PALETTE COLOR" else {}
    image = images.image(fmt, [shades(fmt)], before=before, syntax=encoding, pixel_vr=vr)
    return elements_of(image.encode(), encoding)


def coded_icon(fmt: Format, syntax: str, scratch: Path, **options: Any) -> bytes:
    """Return the elements of an icon encapsulated in a syntax."""
    plain, coded = scratch / "icon-plain.dcm", scratch / "icon-coded.dcm"
    before = images.palette() if fmt.photometric == "PALETTE COLOR" else {}
    plain.write_bytes(images.image(fmt, [shades(fmt)], before=before).encode())
    transcode(plain, coded, to=syntax, uid="keep", **options)
    walked = dicom.walk(coded.read_bytes())
    lossy = {tag for tag in walked.elements if tag in LOSS or tag in (0x00080012, 0x00080013)}
    body = elements_of(coded.read_bytes(), dicom.EXPLICIT)
    for tag in lossy:
        body = body.replace(walked.elements[tag].raw, b"")
    return body


def make(path: Path, syntax: str, icon: bytes, fmt: Format = G8, *, undefined: bool = False, **options: Any) -> Path:
    """Write an image of a syntax whose data set has this icon."""
    native = syntax in NATIVE.values()
    plain = path.with_name("host.dcm")
    encoding = syntax if syntax in (dicom.IMPLICIT, dicom.BIG_ENDIAN) else dicom.EXPLICIT
    sequence = dicom.sequence(ICON, [icon], encoding, undefined=undefined)
    frames = [shades(fmt)]
    if native:
        path.write_bytes(images.image(fmt, frames, syntax=syntax, before={ICON: sequence}).encode())
        return path
    plain.write_bytes(images.image(fmt, frames).encode())
    transcode(plain, path, to=syntax, uid="keep", **options)
    data = path.read_bytes()
    at = data.index(dicom.header(dicom.PIXEL_DATA, "OB", dicom.UNDEFINED))
    path.write_bytes(data[:at] + sequence + data[at:])
    return path


@dataclass(frozen=True)
class Shown:
    """An icon as it stands in a file: whether it is encapsulated, its attributes, and what it shows."""

    encapsulated: bool
    said: oracle.Attributes
    words: Words
    item: dict[int, dicom.Found]


def shown(item: dict[int, dicom.Found], syntax: str) -> Shown:
    """Return what the pixels of an item are under a syntax, by decoders that are not dcmtx's."""
    walked = dicom.Walked(b"", {}, item, list(item), b"")
    said = oracle.attributes(walked)
    pixel = item[dicom.PIXEL_DATA]
    image = dicom.Image(
        pixel.value if pixel.fragments is None else walked.fragments, said.rows, said.columns, said.samples,
        said.photometric, said.allocated, said.stored, said.high_bit, said.signed, said.planar,
        syntax=dicom.EXPLICIT if pixel.fragments is None else syntax,
    )  # fmt: skip
    return Shown(pixel.fragments is not None, said, oracle.decoded(image.encode())[0], item)


def icon_of(path: Path) -> Shown:
    walked = dicom.walk(path.read_bytes())
    (item,) = walked.elements[ICON].items or []
    return shown(item, walked.syntax)


def assert_same(icon: Shown, fmt: Format) -> None:
    """Assert that an icon shows what it did, and that its attributes say so."""
    assert not oracle.different([shades(fmt)], [icon.words])
    transformed = icon.encapsulated and fmt.photometric == "RGB" and icon.said.photometric == "YBR_RCT"
    assert icon.said.photometric == fmt.photometric or transformed
    assert (icon.said.allocated, icon.said.signed) == (fmt.allocated, fmt.signed)
    assert icon.said.high_bit == icon.said.stored - 1
    assert icon.said.planar == (0 if fmt.samples == 3 else None)
    if fmt.photometric == "PALETTE COLOR":
        tables = images.palette()
        values = {tag: dicom.walk(dicom.file([raw])).elements[tag].value for tag, raw in tables.items()}
        assert {tag: icon.item[tag].value for tag in tables} == values


def legal(fmt: Format, to: str) -> bool:
    """Tell whether a syntax holds a format without loss and without leave."""
    return fmt in images.formats(BY_UID[CODECS[to]].legal, (fmt.stored,))


# --- icons that were encapsulated follow -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "1 bit"])
@pytest.mark.parametrize(
    ("source", "to"), [(one, to) for one in ("jpeg", "j2k") for to in (*CODECS, *NATIVE) if to != one]
)
def test_an_encapsulated_icon_follows_its_file(source: str, to: str, kind: str, tmp_path: Path) -> None:
    """Coded anew in the new syntax if that holds it, else native; native where the file is."""
    fmt, out = KINDS[kind], tmp_path / "out.dcm"
    path = make(tmp_path / "source.dcm", CODECS[source], coded_icon(fmt, CODECS[source], tmp_path))
    assert icon_of(path).encapsulated
    transcode(path, out, to=to)
    icon = icon_of(out)
    assert icon.encapsulated == (to in CODECS and legal(fmt, to))
    assert_same(icon, fmt)
    pixel = icon.item[dicom.PIXEL_DATA]
    assert pixel.vr == ("" if to == "implicit" else "OB" if icon.encapsulated or fmt.allocated == 8 else "OW")
    assert not icon.item.keys() & LOSS


@pytest.mark.parametrize(
    ("source", "to"),
    [
        (one, to)
        for one in ("rle", "jpegls", "htj2k", "deflated-frames")
        for to in ("explicit", "implicit", "rle", "jpegls")
        if to != one
    ],
)
def test_an_icon_may_be_in_any_codestream(source: str, to: str, tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    path = make(tmp_path / "source.dcm", CODECS[source], coded_icon(KINDS["RGB"], CODECS[source], tmp_path))
    transcode(path, out, to=to)
    assert icon_of(out).encapsulated == (to in CODECS)
    assert_same(icon_of(out), KINDS["RGB"])


@pytest.mark.parametrize("fmt", [G12, Format("MONOCHROME2", 8, 7)], ids=str)
@pytest.mark.parametrize("to", ["jpegls", "j2k", "htj2k"])
def test_an_icon_keeps_its_bits_stored(to: str, fmt: Format, tmp_path: Path) -> None:
    """Nothing is in the bits above."""
    out = tmp_path / "out.dcm"
    path = make(tmp_path / "source.dcm", dicom.JPEG_SV1, coded_icon(fmt, dicom.JPEG_SV1, tmp_path))
    transcode(path, out, to=to)
    assert icon_of(out).said.stored == fmt.stored


@pytest.mark.parametrize("undefined", [False, True], ids=["defined lengths", "undefined lengths"])
@pytest.mark.parametrize("to", ["explicit", "implicit", "big-endian", "jpegls"])
def test_a_lossy_icon_is_decoded_to_rgb(to: str, undefined: bool, tmp_path: Path) -> None:
    """Its loss is its own: what the data set around it says is what the image's codestream is."""
    fmt, out = KINDS["RGB"], tmp_path / "out.dcm"
    icon = coded_icon(fmt, dicom.JPEG_BASELINE, tmp_path, lossy=True, quality=95)
    path = make(tmp_path / "source.dcm", dicom.JPEG_BASELINE, icon, fmt, undefined=undefined, lossy=True)
    assert (icon_of(path).encapsulated, icon_of(path).said.photometric) == (True, "YBR_FULL_422")
    transcode(path, out, to=to)
    found = icon_of(out)
    assert found.said.photometric == "RGB"
    assert abs(found.words.astype("i4") - shades(fmt)).max() <= 12
    assert not found.item.keys() & {0x00082111, 0x00082112, 0x00089215}
    methods = [dicom.walk(one.read_bytes()).elements[0x00282114].text for one in (path, out)]
    assert methods == ["ISO_10918_1"] * 2


@pytest.mark.parametrize("to", ["jpeg-baseline", "JPEG2000", "jpegls-near"])
@pytest.mark.parametrize("kind", ["grey", "palette", "RGB", "12 bits"])
def test_an_icon_loses_nothing_where_its_image_does(kind: str, to: str, tmp_path: Path) -> None:
    fmt, out = KINDS[kind], tmp_path / "out.dcm"
    path = make(tmp_path / "source.dcm", dicom.RLE, coded_icon(fmt, dicom.RLE, tmp_path))
    transcode(path, out, to=to, lossy=True)
    assert_same(icon_of(out), fmt)
    assert not icon_of(out).item.keys() & LOSS


@pytest.mark.parametrize("kind", ["RGB", "grey"])
def test_an_icon_of_recompressed_jpeg_follows_too(kind: str, tmp_path: Path) -> None:
    """There and back: JPEG XL of the same stream, or native; then JPEG or native again."""
    fmt, there, back = KINDS[kind], tmp_path / "there.dcm", tmp_path / "back.dcm"
    icon = coded_icon(fmt, dicom.JPEG_BASELINE, tmp_path, lossy=True, quality=95)
    path = make(tmp_path / "source.dcm", dicom.JPEG_BASELINE, icon, fmt, lossy=True)
    transcode(path, there, to="jpegxl-jpeg")
    (item,) = dicom.walk(there.read_bytes()).elements[ICON].items or []
    transcode(there, back, to="jpeg-baseline")
    found = icon_of(back)
    assert abs(found.words.astype("i4") - icon_of(path).words).max() <= (0 if found.encapsulated else 12)
    if item[dicom.PIXEL_DATA].fragments is None:
        assert abs(shown(item, dicom.EXPLICIT).words.astype("i4") - shades(fmt)).max() <= 12


# --- icons that were native stay native ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", ["rle", "jpegls", "implicit", "big-endian", "deflated", "explicit"])
@pytest.mark.parametrize("source", NATIVE)
def test_a_native_icon_stays_native(source: str, to: str, kind: str, tmp_path: Path) -> None:
    """With its bytes where the encoding stays, with its values where it changes."""
    fmt, out = KINDS[kind], tmp_path / "out.dcm"
    path = make(tmp_path / "source.dcm", NATIVE[source], native_icon(fmt, NATIVE[source]))
    transcode(path, out, to=to, force=True)
    before, after = icon_of(path), icon_of(out)
    assert not after.encapsulated
    assert_same(after, fmt)
    assert after.item.keys() == before.item.keys()


@pytest.mark.parametrize("to", ["explicit", "rle", "jpegls"])
def test_words_of_bytes_in_a_big_endian_icon_are_swapped(to: str, tmp_path: Path) -> None:
    """OW is words, whatever Bits Allocated is (PS3.5 7.3)."""
    out = tmp_path / "out.dcm"
    path = make(tmp_path / "source.dcm", dicom.BIG_ENDIAN, native_icon(G8, dicom.BIG_ENDIAN, "OW"))
    transcode(path, out, to=to)
    assert icon_of(out).item[dicom.PIXEL_DATA].vr == "OW"
    assert_same(icon_of(out), G8)


@pytest.mark.parametrize("to", ["explicit", "implicit", "jpegls", "j2k"])
def test_a_native_icon_in_a_compressed_file_stays(to: str, tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    path = make(tmp_path / "source.dcm", dicom.RLE, native_icon(G12, dicom.EXPLICIT))
    transcode(path, out, to=to)
    assert not icon_of(out).encapsulated
    assert_same(icon_of(out), G12)
    if to != "implicit":
        walked = [dicom.walk(one.read_bytes()).elements[ICON].raw for one in (path, out)]
        assert walked[0] == walked[1]


@pytest.mark.parametrize("options", [{}, {"offset_table": "extended"}], ids=["copied", "wrapped anew"])
def test_an_icon_stays_where_the_syntax_does(options: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    path = make(tmp_path / "source.dcm", dicom.JPEGLS, coded_icon(G8, dicom.JPEGLS, tmp_path))
    transcode(path, out, to="jpegls", **options)
    walked = [dicom.walk(one.read_bytes()).elements[ICON].raw for one in (path, out)]
    assert walked[0] == walked[1]


# --- wherever they are -----------------------------------------------------------------------------------------


def nested(path: Path, syntax: str, icon: bytes, *, undefined: bool) -> Path:
    """Write an image with an icon two sequences deep, and pixels in a private sequence."""
    inner = dicom.sequence(ICON, [icon], undefined=undefined)
    outer = dicom.sequence(REFERENCED_IMAGES, [dicom.element(0x00081155, "UI", "1.2.9") + inner], undefined=undefined)
    private = dicom.element(PRIVATE & 0xFFFF0000 | 0x10, "LO", "A MAKER")
    private += dicom.sequence(PRIVATE, [icon], undefined=undefined)
    plain = path.with_name("host.dcm")
    before = {REFERENCED_IMAGES: outer, PRIVATE & 0xFFFF0000 | 0x10: private}
    # The host is coded before the icons are in it.
    image = images.image(G8, [shades(G8)])
    plain.write_bytes(image.encode())
    transcode(plain, path, to=syntax)
    image.syntax, image.pixels, image.before = syntax, dicom.walk(path.read_bytes()).fragments, before
    path.write_bytes(image.encode())
    return path


@pytest.mark.parametrize("undefined", [False, True], ids=["defined lengths", "undefined lengths"])
@pytest.mark.parametrize("to", ["explicit", "rle", "jpegls", "big-endian"])
def test_pixels_deep_inside_follow_too(to: str, undefined: bool, tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    path = nested(
        tmp_path / "source.dcm", dicom.JPEG_SV1, coded_icon(G12, dicom.JPEG_SV1, tmp_path), undefined=undefined
    )
    transcode(path, out, to=to)
    walked = dicom.walk(out.read_bytes())
    (reference,) = walked.elements[REFERENCED_IMAGES].items or []
    (private,) = walked.elements[PRIVATE].items or []
    for item in ((reference[ICON].items or [])[0], private):
        found = shown(item, walked.syntax)
        assert found.encapsulated == (to in CODECS)
        assert_same(found, G12)


@pytest.mark.parametrize("to", ["explicit", "implicit", "deflated"])
def test_an_icon_of_an_object_without_pixels_becomes_native(to: str, tmp_path: Path) -> None:
    """Such an object may be in a compressed syntax for its icon's sake."""
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    state = "1.2.840.10008.5.1.4.1.1.11.1"
    elements = [
        dicom.element(0x00080016, "UI", state), dicom.element(0x00080018, "UI", "1.2.3.4"),
        dicom.sequence(ICON, [coded_icon(G8, dicom.JPEGLS, tmp_path)]),
    ]  # fmt: skip
    source.write_bytes(dicom.file(elements, dicom.JPEGLS, sop_class=state))
    transcode(source, out, to=to)
    assert not icon_of(out).encapsulated
    assert_same(icon_of(out), G8)


# --- dropped, or in the way ------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["explicit", "implicit", "rle", "jpegls", "jpeg"])
@pytest.mark.parametrize("source", ["jpeg", "explicit", "implicit", "big-endian"])
def test_icons_are_dropped_where_that_is_asked_for(source: str, to: str, tmp_path: Path) -> None:
    """Everything else stays; also where the syntax does."""
    out, kept = tmp_path / "out.dcm", tmp_path / "kept.dcm"
    syntax = (CODECS | NATIVE)[source]
    icon = coded_icon(G8, syntax, tmp_path) if source == "jpeg" else native_icon(G8, syntax)
    path = make(tmp_path / "source.dcm", syntax, icon)
    transcode(path, out, to=to, icon="drop")
    transcode(path, kept, to=to, force=True)
    without, with_icon = (dicom.walk(one.read_bytes()).elements for one in (out, kept))
    assert ICON in with_icon
    assert {tag: one.raw for tag, one in without.items()} == {
        tag: one.raw for tag, one in with_icon.items() if tag != ICON
    }


@pytest.mark.parametrize("to", ["explicit", "rle", "implicit"])
def test_icons_deep_inside_are_dropped_too(to: str, tmp_path: Path) -> None:
    """Pixels that are no icon are not; they follow."""
    out = tmp_path / "out.dcm"
    path = nested(tmp_path / "source.dcm", dicom.JPEG_SV1, coded_icon(G12, dicom.JPEG_SV1, tmp_path), undefined=True)
    transcode(path, out, to=to, icon="drop")
    walked = dicom.walk(out.read_bytes())
    (reference,) = walked.elements[REFERENCED_IMAGES].items or []
    assert list(reference) == [0x00081155]
    assert b"\x88\x00\x00\x02" not in walked.dataset


@pytest.mark.parametrize("to", ["explicit", "rle"])
@pytest.mark.parametrize("damage", ["cut short", "no codestream", "of another size"])
def test_an_icon_that_cannot_be_read_is_named_with_the_way_out(damage: str, to: str, tmp_path: Path) -> None:
    """And that way works; without it, nothing is written."""
    out = tmp_path / "out.dcm"
    icon = coded_icon(G8, dicom.JPEGLS, tmp_path)
    if damage == "of another size":
        icon = icon.replace(dicom.element(0x00280010, "US", [6]), dicom.element(0x00280010, "US", [7]))
    else:
        at = icon.index(b"\xff\xd8\xff")
        icon = icon[:at] + (b"\xff\xd8" + bytes(len(icon) - at - 2) if damage == "cut short" else bytes(len(icon) - at))
        icon = icon[:-8] + dicom.header(0xFFFEE0DD, "", 0)
    path = make(tmp_path / "source.dcm", dicom.JPEGLS, icon)
    with pytest.raises(DcmtxError, match="--icon drop") as caught:
        transcode(path, out, to=to)
    assert caught.value.status in (3, 6)
    assert not out.exists()
    transcode(path, out, to=to, icon="drop")
    assert ICON not in dicom.walk(out.read_bytes()).elements


# --- sequences that are called UN --------------------------------------------------------------------------------


HIDDEN, CONTENT = 0x00891010, 0x0040A730


def without_vrs(elements: bytes) -> bytes:
    """Return elements in Implicit VR; Pixel Data stays encapsulated."""
    found = dicom.walk(dicom.file([elements])).elements
    return b"".join(
        dicom.header(tag, one.vr, one.length, dicom.IMPLICIT)
        + (one.raw[12:] if one.length == dicom.UNDEFINED else one.value)
        for tag, one in found.items()
    )


def unknown(tag: int, item: bytes, *, implicit: bool, undefined: bool) -> bytes:
    """Return a sequence of one item that is called UN; inside it is Implicit VR, or Explicit VR as some writers do."""
    inside = dicom.IMPLICIT if implicit else dicom.EXPLICIT
    body = dicom.sequence(tag, [without_vrs(item) if implicit else item], inside, undefined=undefined)
    body = body[8 if implicit else 12 :]
    return dicom.header(tag, "UN", dicom.UNDEFINED if undefined else len(body)) + body


# UN of undefined length holds Implicit VR always (PS3.5 6.2.2).
WAYS = {
    "implicit inside": {"implicit": True, "undefined": False},
    "explicit inside": {"implicit": False, "undefined": False},
    "undefined lengths": {"implicit": True, "undefined": True},
}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))


@each_way
@pytest.mark.parametrize("where", ["at top level", "in a sequence", "in another one called UN"])
@pytest.mark.parametrize("to", ["explicit", "implicit", "big-endian", "jpegls"])
def test_pixels_in_a_sequence_called_unknown_follow_too(
    to: str, where: str, way: dict[str, bool], tmp_path: Path
) -> None:
    icon = unknown(HIDDEN, coded_icon(G8, dicom.JPEG_SV1, tmp_path), **way)
    if where == "in a sequence":
        icon = dicom.sequence(CONTENT, [icon], undefined=way["undefined"])
    elif where == "in another one called UN":
        icon = unknown(CONTENT, icon, **way)
    host, out = make(tmp_path / "in.dcm", dicom.JPEG_SV1, b""), tmp_path / "out.dcm"
    whole = host.read_bytes()
    old = dicom.sequence(ICON, [b""])
    assert old in whole
    host.write_bytes(whole.replace(old, icon))
    transcode(host, out, to=to)
    walked = dicom.walk(out.read_bytes())
    around = walked.elements if where == "at top level" else walked.elements[CONTENT].items[0]
    sequence = around[HIDDEN]
    assert sequence.vr == ("" if to == "implicit" else "SQ")
    assert sequence.items is not None
    assert_same(shown(sequence.items[0], walked.syntax), G8)
    if to != "jpegls":
        assert b"\xff\xd8\xff" not in out.read_bytes()


@each_way
def test_a_sequence_called_unknown_with_native_pixels_stays_what_it_is(way: dict[str, bool], tmp_path: Path) -> None:
    icon = unknown(HIDDEN, native_icon(G8, dicom.EXPLICIT), **way)
    host, out = make(tmp_path / "in.dcm", dicom.RLE, b""), tmp_path / "out.dcm"
    host.write_bytes(host.read_bytes().replace(dicom.sequence(ICON, [b""]), icon))
    for to in ("explicit", "jpegls"):
        transcode(host, out, to=to)
        assert dicom.walk(out.read_bytes()).elements[HIDDEN].raw == icon


LOOKALIKES = {
    "an item tag, and no item": dicom.header(0xFFFEE000, "", 4) + b"abcdefgh\xe0\x7f\x10\x00\xff\xff\xff\xff",
    "an item that is too long": dicom.header(0xFFFEE000, "", 90) + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff",
    "bytes behind the items": dicom.header(0xFFFEE000, "", 8) + dicom.header(dicom.PIXEL_DATA, "", 0, dicom.IMPLICIT)
    + b"ab",
}  # fmt: skip


@pytest.mark.parametrize("value", LOOKALIKES.values(), ids=list(LOOKALIKES))
@pytest.mark.parametrize("deep", [False, True], ids=["at top level", "in a sequence"])
def test_unknown_bytes_that_look_like_items_stay_bytes(deep: bool, value: bytes, tmp_path: Path) -> None:
    one = dicom.element(HIDDEN, "UN", value)
    inside = dicom.sequence(CONTENT, [one]) if deep else one
    host, out = make(tmp_path / "in.dcm", dicom.RLE, b""), tmp_path / "out.dcm"
    host.write_bytes(host.read_bytes().replace(dicom.sequence(ICON, [b""]), inside))
    transcode(host, out, to="explicit")
    walked = dicom.walk(out.read_bytes())
    around = walked.elements[CONTENT].items[0] if deep else walked.elements
    assert around[HIDDEN].raw == one


@pytest.mark.parametrize("undefined", [False, True], ids=["defined lengths", "undefined lengths"])
def test_an_icon_in_a_sequence_called_unknown_that_cannot_be_read_is_no_secret(undefined: bool, tmp_path: Path) -> None:
    coded = coded_icon(G8, dicom.JPEG_SV1, tmp_path).replace(b"\xff\xd8\xff", b"\xff\xd9\xff")
    icon = unknown(HIDDEN, coded, implicit=True, undefined=undefined)
    host = make(tmp_path / "in.dcm", dicom.JPEG_SV1, b"")
    host.write_bytes(host.read_bytes().replace(dicom.sequence(ICON, [b""]), icon))
    with pytest.raises(DcmtxError, match="the icon inside the data set cannot be converted"):
        transcode(host, tmp_path / "out.dcm", to="explicit")


def test_icons_in_sequences_called_unknown_are_dropped_too(tmp_path: Path) -> None:
    inner = dicom.sequence(ICON, [native_icon(G8, dicom.EXPLICIT)])
    outer = unknown(HIDDEN, inner, implicit=False, undefined=False)
    host, out = make(tmp_path / "in.dcm", dicom.RLE, b""), tmp_path / "out.dcm"
    host.write_bytes(host.read_bytes().replace(dicom.sequence(ICON, [b""]), outer))
    transcode(host, out, to="explicit", icon="drop")
    assert dicom.walk(out.read_bytes()).elements[HIDDEN].items == [{}]
