"""Photometric Interpretation: what a source really holds, what it becomes, and what a syntax may hold."""

from __future__ import annotations

import pytest

from dcmtx.errors import InputError, RefusedError, UnsupportedError
from dcmtx.pixel.codestream import Codestream, Transform
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters
from dcmtx.rules.photometric import Colour, check_legal, check_proven, coded, decoded
from dcmtx.syntax import BY_UID, find

GREY = PixelFormat(8, 8, 1, photometric="MONOCHROME2", allocated=16, stored=12, high_bit=11, signed=False)
COLOUR = PixelFormat(8, 8, 3, photometric="RGB", allocated=8, stored=8, high_bit=7, signed=False)


def syntax(last: str):
    return BY_UID[f"1.2.840.10008.1.2.{last}" if last else "1.2.840.10008.1.2"]


def stream(kind: str = "jpeg", transform: Transform = Transform.UNSAID, process: int = 0xC0, *, shared: bool = False):
    sampling = ((2, 1), (1, 1), (1, 1)) if shared else ((1, 1),) * 3
    return Codestream(kind, 8, 8, components=3, precision=8, transform=transform, process=process, sampling=sampling)


def j2k(transform: Transform) -> Codestream:
    return stream("j2k", transform, 0)


LOSSLESS_JPEG = stream(process=0xC3)
JPEG_LS = stream("jpegls", process=0xF7)
RLE = Codestream("rle", 0, 0, components=3, precision=8, transform=Transform.NONE)

# Syntax, what the tag says, what the stream says, what is coded, what it decodes to, whether it is worth a note
# (section 4 and 5 of the rules: PS3.5 8.2.1, 8.2.3, 8.2.4).
DECODED = {
    "native RGB": ("1", "RGB", None, "RGB", "RGB", False),
    "native YBR_FULL": ("", "YBR_FULL", None, "YBR_FULL", "YBR_FULL", False),
    "native cells that share chroma": ("1", "YBR_FULL_422", None, "YBR_FULL_422", "YBR_FULL", False),
    "deflated cells that share chroma": ("8.1", "YBR_FULL_422", None, "YBR_FULL_422", "YBR_FULL", False),
    "RLE called shared": ("5", "YBR_FULL_422", RLE, "YBR_FULL", "YBR_FULL", True),
    "lossless JPEG called shared": ("4.70", "YBR_FULL_422", LOSSLESS_JPEG, "YBR_FULL", "YBR_FULL", True),
    "JPEG-LS called shared": ("4.80", "YBR_FULL_422", JPEG_LS, "YBR_FULL", "YBR_FULL", True),
    "JPEG 2000 called shared": ("4.90", "YBR_FULL_422", j2k(Transform.NONE), "YBR_FULL", "YBR_FULL", True),
    "lossless JPEG that shares chroma": (
        "4.70",
        "YBR_FULL_422",
        stream(process=0xC3, shared=True),
        "YBR_FULL",
        "YBR_FULL",
        False,
    ),
    "lossless JPEG of RGB and JFIF": ("4.70", "RGB", LOSSLESS_JPEG.replace(jfif=True), "RGB", "RGB", True),
    "baseline RGB and JFIF": ("4.50", "RGB", stream().replace(jfif=True), "RGB", "RGB", True),
    "RLE of RGB": ("5", "RGB", RLE, "RGB", "RGB", False),
    "RLE of YBR_FULL stays": ("5", "YBR_FULL", RLE, "YBR_FULL", "YBR_FULL", False),
    "baseline YCbCr": ("4.50", "YBR_FULL_422", stream(shared=True), "YBR_FULL_422", "RGB", False),
    "baseline YCbCr not shared": ("4.50", "YBR_FULL_422", stream(), "YBR_FULL_422", "RGB", False),
    "baseline YBR_FULL": ("4.50", "YBR_FULL", stream(), "YBR_FULL", "RGB", False),
    "baseline RGB, unsaid": ("4.50", "RGB", stream(), "RGB", "RGB", False),
    "baseline RGB, said": ("4.50", "RGB", stream(transform=Transform.NONE), "RGB", "RGB", False),
    "baseline RGB that is YCbCr": ("4.50", "RGB", stream(transform=Transform.YCC), "YBR_FULL", "RGB", True),
    "baseline RGB that shares chroma": ("4.50", "RGB", stream(shared=True), "YBR_FULL_422", "RGB", True),
    "baseline YCbCr that is RGB": ("4.50", "YBR_FULL_422", stream(transform=Transform.NONE), "RGB", "RGB", True),
    "baseline YCbCr, said": ("4.50", "YBR_FULL_422", stream(transform=Transform.YCC), "YBR_FULL_422", "RGB", False),
    "progressive YCbCr": ("4.55", "YBR_FULL_422", stream(process=0xC2), "YBR_FULL_422", "RGB", False),
    "lossless JPEG of RGB": ("4.70", "RGB", LOSSLESS_JPEG, "RGB", "RGB", False),
    "lossless JPEG of YBR_FULL stays": ("4.57", "YBR_FULL", LOSSLESS_JPEG, "YBR_FULL", "YBR_FULL", False),
    "lossless JPEG whatever a marker says": (
        "4.70",
        "RGB",
        LOSSLESS_JPEG.replace(transform=Transform.YCC),
        "RGB",
        "RGB",
        False,
    ),
    "JPEG-LS of RGB": ("4.80", "RGB", JPEG_LS, "RGB", "RGB", False),
    "JPEG-LS of YBR_FULL stays": ("4.81", "YBR_FULL", JPEG_LS, "YBR_FULL", "YBR_FULL", False),
    "RCT": ("4.90", "YBR_RCT", j2k(Transform.RCT), "YBR_RCT", "RGB", False),
    "ICT": ("4.91", "YBR_ICT", j2k(Transform.ICT), "YBR_ICT", "RGB", False),
    "RGB that is RCT": ("4.90", "RGB", j2k(Transform.RCT), "YBR_RCT", "RGB", True),
    "RGB that is ICT": ("4.91", "RGB", j2k(Transform.ICT), "YBR_ICT", "RGB", True),
    "RCT that is ICT": ("4.91", "YBR_RCT", j2k(Transform.ICT), "YBR_ICT", "RGB", True),
    "RCT that is not transformed": ("4.90", "YBR_RCT", j2k(Transform.NONE), "RGB", "RGB", True),
    "ICT that is not transformed": ("4.91", "YBR_ICT", j2k(Transform.NONE), "RGB", "RGB", True),
    "JPEG 2000 of RGB as it is": ("4.90", "RGB", j2k(Transform.NONE), "RGB", "RGB", False),
    "JPEG 2000 of YBR_FULL stays": ("4.90", "YBR_FULL", j2k(Transform.NONE), "YBR_FULL", "YBR_FULL", False),
    "HTJ2K of RCT": ("4.201", "YBR_RCT", stream("htj2k", Transform.RCT, 0), "YBR_RCT", "RGB", False),
    "JPEG XL": ("4.110", "RGB", stream("jpegxl"), "RGB", "RGB", False),
    "JPEG recompressed": ("4.111", "YBR_FULL_422", stream("jpegxl"), "YBR_FULL_422", "RGB", False),
    "HTJ2K said RGB": ("4.203", "RGB", stream("htj2k", Transform.ICT, 0), "YBR_ICT", "RGB", True),
}


@pytest.mark.parametrize(("last", "said", "what", "is_coded", "plain", "odd"), DECODED.values(), ids=list(DECODED))
def test_what_a_source_holds_and_becomes(last, said, what, is_coded, plain, odd):
    colour = decoded(syntax(last), COLOUR.replace(photometric=said), what)
    assert (colour.coded, colour.plain, bool(colour.notes)) == (is_coded, plain, odd)
    assert all(said in note.text for note in colour.notes)


@pytest.mark.parametrize("last", ["1", "5", "4.50", "4.51", "4.70", "4.80", "4.90", "4.201"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"])
def test_grey_and_palette_stay_whatever_a_stream_says(last, photometric):
    what = Codestream("jpeg", 8, 8, components=1, precision=8, transform=Transform.YCC, process=0xC0)
    fmt = GREY.replace(photometric=photometric)
    assert decoded(syntax(last), fmt, what) == Colour(photometric, photometric)


@pytest.mark.parametrize("said", ["YBR_RCT", "YBR_ICT", "YBR_PARTIAL_420", "XYB"])
@pytest.mark.parametrize(
    ("last", "what"), [("1", None), ("", None), ("5", RLE), ("4.70", LOSSLESS_JPEG), ("4.80", JPEG_LS)],
    ids=["explicit", "implicit", "RLE", "lossless JPEG", "JPEG-LS"],
)  # fmt: skip
def test_a_colour_that_a_syntax_cannot_hold_is_inconsistent(last, what, said):
    with pytest.raises(InputError, match=said) as caught:
        decoded(syntax(last), COLOUR.replace(photometric=said), what)
    assert (caught.value.code, caught.value.tag) == ("E_INCONSISTENT", 0x00280004)


LOSSY, LOSSLESS = EncodingParameters(lossy=True), EncodingParameters()


def coded_as(last: str, plain: str, quality: EncodingParameters = LOSSLESS, *, said: str = "", columns: int = 8) -> str:
    given = (GREY if plain.startswith(("M", "P")) else COLOUR).replace(photometric=plain, columns=columns)
    return coded(syntax(last), given, given.replace(photometric=said or plain), quality)


@pytest.mark.parametrize(
    "last", ["", "1", "1.99", "2", "5", "4.57", "4.70", "4.80", "4.81", "4.90", "4.91", "4.201", "4.203", "8.1"]
)
@pytest.mark.parametrize("plain", ["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL"])
def test_without_loss_only_jpeg_2000_codes_rgb_as_another_colour(last, plain):
    transforms = syntax(last).family in ("j2k", "htj2k")
    assert coded_as(last, plain) == ("YBR_RCT" if transforms and plain == "RGB" else plain)


@pytest.mark.parametrize(
    ("last", "plain", "quality", "is_coded"),
    [
        ("4.91", "RGB", LOSSY, "YBR_ICT"), ("4.203", "RGB", LOSSY, "YBR_ICT"), ("4.91", "YBR_FULL", LOSSY, "YBR_FULL"),
        ("4.50", "RGB", LOSSY, "YBR_FULL_422"), ("4.50", "YBR_FULL", LOSSY, "YBR_FULL_422"),
        ("4.50", "RGB", LOSSY.replace(subsampling="444"), "RGB"), ("4.50", "MONOCHROME2", LOSSY, "MONOCHROME2"),
        ("4.50", "RGB", LOSSY.replace(subsampling="422"), "YBR_FULL_422"), ("4.51", "MONOCHROME1", LOSSY,
                                                                            "MONOCHROME1"),
        ("4.81", "RGB", LOSSY, "RGB"), ("4.81", "YBR_FULL", LOSSY, "YBR_FULL"), ("4.112", "RGB", LOSSY, "RGB"),
    ],
    ids=["j2k", "htj2k", "j2k of YBR_FULL", "baseline", "baseline of YBR_FULL", "baseline, chroma not shared",
         "baseline, grey", "baseline, chroma shared", "extended", "near-lossless", "near-lossless of YBR_FULL",
         "jpegxl"],
)  # fmt: skip
def test_with_loss_colours_are_coded_as_the_tables_have_them(last, plain, quality, is_coded):
    assert coded_as(last, plain, quality) == is_coded


@pytest.mark.parametrize(
    ("last", "columns", "is_coded"),
    [("1", 8, "YBR_FULL_422"), ("", 8, "YBR_FULL_422"), ("8.1", 8, "YBR_FULL_422"), ("1", 7, "YBR_FULL"), ("5", 8,
                                                                                                           "YBR_FULL"),
     ("4.80", 8, "YBR_FULL"), ("4.90", 8, "YBR_FULL"), ("4.70", 8, "YBR_FULL")],
    ids=["explicit", "implicit", "deflated frames", "odd Columns", "rle", "jpegls", "j2k", "jpeg"],
)  # fmt: skip
def test_native_cells_that_shared_chroma_do_so_again_where_they_stay_native(last, columns, is_coded):
    assert coded_as(last, "YBR_FULL", said="YBR_FULL_422", columns=columns) == is_coded


# --- what a syntax may hold --------------------------------------------------------------------------------------


def grey(allocated: int, stored: int, *, signed: bool = False, photometric: str = "MONOCHROME2") -> PixelFormat:
    return GREY.replace(allocated=allocated, stored=stored, high_bit=stored - 1, signed=signed, photometric=photometric)


def colour(photometric: str, allocated: int = 8, stored: int | None = None) -> PixelFormat:
    stored = allocated if stored is None else stored
    return COLOUR.replace(photometric=photometric, allocated=allocated, stored=stored, high_bit=stored - 1)


PALETTE = grey(8, 8, photometric="PALETTE COLOR")
# The decision table's own rows: target, format, code of the refusal or None.
LEGAL = {
    "explicit of 64 bits": ("1", grey(64, 64, signed=True), None),
    "explicit of 1 bit": ("1", grey(1, 1), None),
    "explicit of 24 bits": ("1", grey(24, 24), "E_BITS"),
    "explicit of YBR_RCT": ("1", colour("YBR_RCT"), "E_PI"),
    "implicit of shared chroma": ("", colour("YBR_FULL_422"), None),
    "rle of 16 bits signed": ("5", grey(16, 16, signed=True), None),
    "rle of 24 bits": ("5", grey(24, 24), "E_BITS"),
    "rle of RGB of 16 bits": ("5", colour("RGB", 16), None),
    "rle of YBR_FULL of 16 bits": ("5", colour("YBR_FULL", 16), "E_BITS"),
    "baseline of 8 bits": ("4.50", grey(8, 8), None),
    "baseline signed": ("4.50", grey(8, 8, signed=True), "E_SIGN"),
    "baseline of 12 bits": ("4.50", grey(16, 12), "E_BITS"),
    "baseline of 7 bits": ("4.50", grey(8, 7), "E_BITS"),
    "baseline of RGB": ("4.50", colour("RGB"), None),
    "baseline of YBR_FULL": ("4.50", colour("YBR_FULL"), "E_PI"),
    "baseline of a palette": ("4.50", PALETTE, "E_PI"),
    "extended of 12 bits": ("4.51", grey(16, 12), None),
    "extended of 8 bits": ("4.51", grey(8, 8), None),
    "extended of 10 bits": ("4.51", grey(16, 10), "E_BITS"),
    "extended of 8 in 16 bits": ("4.51", grey(16, 8), "E_BITS"),
    "extended of colour": ("4.51", colour("RGB"), "E_PI"),
    "extended signed": ("4.51", grey(16, 12, signed=True), "E_SIGN"),
    "lossless JPEG of 1 bit stored": ("4.70", grey(8, 1), None),
    "lossless JPEG of 1 bit": ("4.70", grey(1, 1), "E_BITS"),
    "lossless JPEG of 32 bits": ("4.57", grey(32, 20), "E_BITS"),
    "lossless JPEG of YBR_RCT": ("4.70", colour("YBR_RCT"), "E_PI"),
    "lossless JPEG of a palette": ("4.70", PALETTE, None),
    "JPEG-LS of 2 bits": ("4.80", grey(8, 2), None),
    "JPEG-LS of 1 bit stored": ("4.80", grey(8, 1), "E_BITS"),
    "JPEG-LS of YBR_FULL of 16 bits": ("4.80", colour("YBR_FULL", 16), "E_BITS"),
    "JPEG-LS of a palette": ("4.80", PALETTE, None),
    "near-lossless of a palette": ("4.81", PALETTE, "E_PI"),
    "JPEG 2000 of 38 bits": ("4.90", grey(40, 38, signed=True), None),
    "JPEG 2000 of 39 bits": ("4.90", grey(40, 39), "E_BITS"),
    "JPEG 2000 of 64 bits": ("4.90", grey(64, 30), "E_BITS"),
    "JPEG 2000 of ICT, lossless only": ("4.90", colour("YBR_ICT"), "E_PI"),
    "JPEG 2000 of ICT": ("4.91", colour("YBR_ICT"), None),
    "JPEG 2000 of RCT": ("4.91", colour("YBR_RCT"), None),
    "JPEG 2000 of a palette": ("4.91", PALETTE, "E_PI"),
    "JPEG 2000 of shared chroma": ("4.90", colour("YBR_FULL_422"), "E_PI"),
    "HTJ2K of a palette": ("4.203", PALETTE, "E_PI"),
    "HTJ2K of a palette, lossless only": ("4.201", PALETTE, None),
    "HTJ2K of RCT": ("4.202", colour("YBR_RCT", 16), None),
}  # fmt: skip


@pytest.mark.parametrize(("last", "fmt", "code"), LEGAL.values(), ids=list(LEGAL))
def test_what_a_syntax_may_hold(last, fmt, code):
    if code is None:
        check_legal(syntax(last), fmt)
        return
    with pytest.raises(RefusedError) as caught:
        check_legal(syntax(last), fmt)
    assert caught.value.code == code
    assert "PS3" in str(caught.value)
    assert syntax(last).name in str(caught.value)


@pytest.mark.parametrize(
    ("last", "allowed"), [("5", True), ("4.90", True), ("4.91", False), ("4.201", False), ("4.80", False)]
)
def test_single_bits_need_to_be_allowed(last, allowed):
    with pytest.raises(RefusedError) as caught:
        check_legal(syntax(last), grey(1, 1))
    assert caught.value.code == "E_BITS"
    assert ("--one-bit allow" in str(caught.value)) is allowed
    if allowed:
        check_legal(syntax(last), grey(1, 1), one_bit=True)
        with pytest.raises(RefusedError):
            check_legal(syntax(last), grey(1, 1, signed=True), one_bit=True)
    else:
        with pytest.raises(RefusedError):
            check_legal(syntax(last), grey(1, 1), one_bit=True)


@pytest.mark.parametrize(
    ("fmt", "proven"),
    [(grey(8, 8), True), (grey(16, 12), True), (colour("RGB"), True), (colour("RGB", 16), True),
     (grey(16, 12, signed=True), False), (PALETTE, False), (grey(1, 1), False), (grey(32, 20), False)],
    ids=["8 bits", "12 bits", "RGB", "RGB of 16 bits", "signed", "palette", "1 bit", "32 bits"],
)  # fmt: skip
def test_jpeg_xl_is_written_only_where_it_is_proven(fmt, proven):
    if proven:
        check_proven(syntax("4.110"), fmt)
        return
    with pytest.raises(UnsupportedError) as caught:
        check_proven(syntax("4.110"), fmt)
    assert caught.value.code == "E_UNVERIFIED"


def test_a_refusal_says_what_would_be_held():
    with pytest.raises(RefusedError, match=r"holds no PALETTE COLOR, only MONOCHROME1, MONOCHROME2, .* \(PS3\.5 8\.2"):
        check_legal(find("JPEG2000"), PALETTE)
    with pytest.raises(RefusedError, match=r"Bits Stored 2 to 16, not 1 \(PS3\.5 8\.2\.3\)"):
        check_legal(find("JPEGLSLossless"), grey(8, 1))
    with pytest.raises(RefusedError, match=r"Bits Allocated 8, not 16 \(PS3\.5 8\.2\.2\)"):
        check_legal(find("rle"), colour("YBR_FULL", 16))
    with pytest.raises(RefusedError, match=r"Bits Stored 8, not 7 \(PS3\.3 C\.7\.6\.3\.1\.2\)"):
        check_legal(find("explicit"), colour("YBR_FULL_422", 8, 7))
