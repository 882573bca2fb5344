"""The table of transfer syntaxes: those of PS3.6 Table A-1, supported by dcmtx or not.

A syntax that dcmtx cannot code has a row too, so that messages can name it and say why. What may be encoded under a
syntax is also data: one `Legal` row per line of the tables in PS3.5 section 8.2.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from dcmtx.record import Record

ROOT = "1.2.840.10008.1.2"


class Kind(Enum):
    """What a transfer syntax does with Pixel Data."""

    NATIVE = "native"  # pixel cells, packed
    FRAMES = "frames"  # encapsulated, each frame in its own fragments
    STREAM = "stream"  # encapsulated video: one stream for all frames
    COLLECTION = "collection"  # JPEG 2000 Part 2: fragments hold component collections that span frames
    REFERENCE = "reference"  # JPIP: a URL instead of pixels
    FLOW = "flow"  # SMPTE ST 2110 real-time video: never a file
    MESSAGE = "message"  # retired wrappings of whole data sets


class Loss(Enum):
    """Whether coding under a transfer syntax loses anything."""

    NONE = "none"
    LOSSLESS = "lossless"
    LOSSY = "lossy"
    BOTH = "both"  # depends on the encoding, not on the UID


class Fragments(Enum):
    """How many fragments the standard allows per frame."""

    NONE = "-"
    ONE = "1"
    MANY = ">=1"
    STREAM = "1 for all"


class Encoding(Record):
    """How the data set around the pixels is encoded (PS3.5 Annex A)."""

    implicit: bool = False
    big_endian: bool = False


IMPLICIT_LITTLE = Encoding(implicit=True)
EXPLICIT_LITTLE = Encoding()
EXPLICIT_BIG = Encoding(big_endian=True)


class Legal(Record):
    """One legal combination of the attributes that describe the content of the codestream.

    `allocated` lists Bits Allocated, `stored` is the least and greatest Bits Stored, `signed` says whether Pixel
    Representation 1 is allowed, and `section` is the section of PS3.5 that defines it.
    """

    photometric: tuple[str, ...]
    allocated: tuple[int, ...]
    stored: tuple[int, int]
    signed: bool
    section: str


class Syntax(Record):
    """A transfer syntax: its names, how it encodes pixels, and where the standard describes it."""

    uid: str
    keyword: str
    name: str
    kind: Kind
    loss: Loss
    section: str
    alias: str = ""
    family: str = ""  # of codestream: selects the decoder and the header parser
    fragments: Fragments = Fragments.NONE
    encoding: Encoding = EXPLICIT_LITTLE
    deflated: bool = False
    retired: bool = False
    legal: tuple[Legal, ...] = ()
    one_bit: tuple[Legal, ...] = ()  # legal too, but only in recent editions

    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickle as the process's own row of this UID, because rows are compared by identity."""
        return (_row, (self.uid,)) if BY_UID.get(self.uid) is self else super().__reduce__()

    @property
    def encapsulated(self) -> bool:
        """Whether Pixel Data is a sequence of fragments (PS3.5 A.4)."""
        return self.kind in (Kind.FRAMES, Kind.STREAM, Kind.COLLECTION)

    @property
    def label(self) -> str:
        """The shortest name known to users."""
        return self.alias or self.keyword


# Families whose frames are native cells, deflated or not: there the tag tells the layout of the cells.
CELLS = frozenset(["native", "deflate"])
GREY = ("MONOCHROME1", "MONOCHROME2")
PALETTE = ("PALETTE COLOR",)
RGB = ("RGB",)
YBR_FULL = ("YBR_FULL",)
YBR_FULL_422 = ("YBR_FULL_422",)

_NATIVE = (
    Legal(GREY, (1, 8, 16, 32, 64), (1, 64), signed=True, section="8.1.1, 8.2"),
    Legal(PALETTE, (8, 16), (1, 16), signed=False, section="8.1.1, 8.2"),
    Legal(RGB + YBR_FULL, (8, 16, 32), (1, 32), signed=False, section="8.1.1, 8.2"),
    Legal(YBR_FULL_422, (8,), (8, 8), signed=False, section="PS3.3 C.7.6.3.1.2"),
)
_RLE = (
    Legal(GREY, (8, 16), (1, 16), signed=True, section="8.2.2"),
    Legal(PALETTE, (8, 16), (1, 16), signed=False, section="8.2.2"),
    Legal(RGB, (8, 16), (1, 16), signed=False, section="8.2.2"),
    Legal(YBR_FULL, (8,), (1, 8), signed=False, section="8.2.2"),
)
_ONE_BIT = (Legal(GREY, (1,), (1, 1), signed=False, section="8.2.2, 8.2.4"),)
_JPEG_BASELINE = (Legal(GREY + RGB + YBR_FULL_422, (8,), (8, 8), signed=False, section="8.2.1"),)
_JPEG_EXTENDED = (
    Legal(GREY, (8,), (8, 8), signed=False, section="8.2.1"),
    Legal(GREY, (16,), (12, 12), signed=False, section="8.2.1"),
)
_JPEG_LOSSLESS = (
    Legal(GREY, (8, 16), (1, 16), signed=True, section="8.2.1"),
    Legal(PALETTE + RGB + YBR_FULL, (8, 16), (1, 16), signed=False, section="8.2.1"),
)
_JPEG_LS = (
    Legal(GREY, (8, 16), (2, 16), signed=True, section="8.2.3"),
    Legal(RGB, (8, 16), (2, 16), signed=False, section="8.2.3"),
    Legal(YBR_FULL, (8,), (2, 8), signed=False, section="8.2.3"),
)
_JPEG_LS_PALETTE = (Legal(PALETTE, (8, 16), (2, 16), signed=False, section="8.2.3"),)
_J2K_GREY = (Legal(GREY, (8, 16, 24, 32, 40), (1, 38), signed=True, section="8.2.4"),)
_J2K_PALETTE = (Legal(PALETTE, (8, 16), (1, 16), signed=False, section="8.2.4"),)
_J2K_LOSSLESS = (Legal(("YBR_RCT", "RGB", "YBR_FULL"), (8, 16, 24, 32, 40), (1, 38), signed=False, section="8.2.4"),)
_J2K_LOSSY = (Legal(("YBR_ICT",), (8, 16, 24, 32, 40), (1, 38), signed=False, section="8.2.4"),)
_JPEG_XL = (Legal(GREY + RGB, (8, 16), (1, 16), signed=False, section="8.2.15"),)
_JPEG_XL_JPEG = (Legal(("MONOCHROME2", "YBR_FULL_422", "RGB"), (8,), (8, 8), signed=False, section="8.2.15"),)
_HTJ2K_LOSSLESS = tuple(row.replace(section="8.2.14") for row in _J2K_GREY + _J2K_PALETTE + _J2K_LOSSLESS)
_HTJ2K = tuple(row.replace(section="8.2.14") for row in _J2K_GREY + _J2K_LOSSLESS + _J2K_LOSSY)


def _native(last: str, keyword: str, name: str, section: str, alias: str, **more: Any) -> Syntax:
    uid = f"{ROOT}.{last}" if last else ROOT
    return Syntax(
        uid,
        keyword,
        name,
        kind=Kind.NATIVE,
        loss=Loss.NONE,
        section=section,
        alias=alias,
        family="native",
        legal=_NATIVE,
        **more,
    )


def _frames(
    last: str,
    keyword: str,
    name: str,
    loss: Loss,
    section: str,
    alias: str,
    family: str,
    legal: tuple[Legal, ...] = (),
    fragments: Fragments = Fragments.MANY,
) -> Syntax:
    return Syntax(
        f"{ROOT}.{last}",
        keyword,
        name,
        kind=Kind.FRAMES,
        loss=loss,
        section=section,
        alias=alias,
        family=family,
        fragments=fragments,
        legal=legal,
    )


def _retired_jpeg(last: str, keyword: str, process: str, loss: Loss = Loss.LOSSY) -> Syntax:
    return _frames(f"4.{last}", keyword, f"JPEG {process}", loss, "PS3.6", "", "jpeg").replace(retired=True)


def _video(last: str, keyword: str, name: str, section: str) -> Syntax:
    fragments = Fragments.MANY if keyword.endswith("F") or keyword.startswith("HEVC") else Fragments.STREAM
    return Syntax(
        f"{ROOT}.4.{last}",
        keyword,
        name,
        kind=Kind.STREAM,
        loss=Loss.LOSSY,
        section=section,
        alias="",
        family="video",
        fragments=fragments,
    )


def _other(last: str, keyword: str, name: str, kind: Kind, loss: Loss, section: str, **more: Any) -> Syntax:
    return Syntax(f"{ROOT}.{last}", keyword, name, kind=kind, loss=loss, section=section, **more)


_LOSSLESS, _LOSSY, _BOTH, _ONE = Loss.LOSSLESS, Loss.LOSSY, Loss.BOTH, Fragments.ONE
_MPEG4, _HTJ2K_NAME = "MPEG-4 AVC/H.264", "High-Throughput JPEG 2000"

# fmt: off
SYNTAXES: tuple[Syntax, ...] = (
    _native("", "ImplicitVRLittleEndian", "Implicit VR Little Endian", "A.1", "implicit", encoding=IMPLICIT_LITTLE),
    _native("1", "ExplicitVRLittleEndian", "Explicit VR Little Endian", "A.2", "explicit"),
    _frames("1.98", "EncapsulatedUncompressedExplicitVRLittleEndian",
            "Encapsulated Uncompressed Explicit VR Little Endian", Loss.NONE, "A.4.11", "encapsulated", "native",
            _NATIVE, _ONE),
    _native("1.99", "DeflatedExplicitVRLittleEndian", "Deflated Explicit VR Little Endian", "A.5", "deflated",
            deflated=True),
    _native("2", "ExplicitVRBigEndian", "Explicit VR Big Endian", "A.3 (2016b)", "big-endian", encoding=EXPLICIT_BIG,
            retired=True),
    _frames("4.50", "JPEGBaseline8Bit", "JPEG Baseline (Process 1)", _LOSSY, "8.2.1, A.4.1", "jpeg-baseline", "jpeg",
            _JPEG_BASELINE),
    _frames("4.51", "JPEGExtended12Bit", "JPEG Extended (Process 2 and 4)", _LOSSY, "8.2.1, A.4.1", "jpeg-extended",
            "jpeg", _JPEG_EXTENDED),
    _retired_jpeg("52", "JPEGExtended35", "Extended (Process 3 and 5)"),
    _retired_jpeg("53", "JPEGSpectralSelectionNonHierarchical68",
                  "Spectral Selection, Non-Hierarchical (Process 6 and 8)"),
    _retired_jpeg("54", "JPEGSpectralSelectionNonHierarchical79",
                  "Spectral Selection, Non-Hierarchical (Process 7 and 9)"),
    _retired_jpeg("55", "JPEGFullProgressionNonHierarchical1012",
                  "Full Progression, Non-Hierarchical (Process 10 and 12)"),
    _retired_jpeg("56", "JPEGFullProgressionNonHierarchical1113",
                  "Full Progression, Non-Hierarchical (Process 11 and 13)"),
    _frames("4.57", "JPEGLossless", "JPEG Lossless, Non-Hierarchical (Process 14)", _LOSSLESS, "8.2.1, A.4.1",
            "jpeg-lossless-p14", "jpeg", _JPEG_LOSSLESS),
    _retired_jpeg("58", "JPEGLosslessNonHierarchical15", "Lossless, Non-Hierarchical (Process 15)", _LOSSLESS),
    _retired_jpeg("59", "JPEGExtendedHierarchical1618", "Extended, Hierarchical (Process 16 and 18)"),
    _retired_jpeg("60", "JPEGExtendedHierarchical1719", "Extended, Hierarchical (Process 17 and 19)"),
    _retired_jpeg("61", "JPEGSpectralSelectionHierarchical2022",
                  "Spectral Selection, Hierarchical (Process 20 and 22)"),
    _retired_jpeg("62", "JPEGSpectralSelectionHierarchical2123",
                  "Spectral Selection, Hierarchical (Process 21 and 23)"),
    _retired_jpeg("63", "JPEGFullProgressionHierarchical2426", "Full Progression, Hierarchical (Process 24 and 26)"),
    _retired_jpeg("64", "JPEGFullProgressionHierarchical2527", "Full Progression, Hierarchical (Process 25 and 27)"),
    _retired_jpeg("65", "JPEGLosslessHierarchical28", "Lossless, Hierarchical (Process 28)", _LOSSLESS),
    _retired_jpeg("66", "JPEGLosslessHierarchical29", "Lossless, Hierarchical (Process 29)", _LOSSLESS),
    _frames("4.70", "JPEGLosslessSV1",
            "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 [Selection Value 1])", _LOSSLESS,
            "8.2.1, A.4.1", "jpeg-lossless", "jpeg", _JPEG_LOSSLESS),
    _frames("4.80", "JPEGLSLossless", "JPEG-LS Lossless Image Compression", _LOSSLESS, "8.2.3, A.4.3",
            "jpegls-lossless", "jpegls", _JPEG_LS + _JPEG_LS_PALETTE),
    _frames("4.81", "JPEGLSNearLossless", "JPEG-LS Lossy (Near-Lossless) Image Compression", _BOTH, "8.2.3, A.4.3",
            "jpegls-near", "jpegls", _JPEG_LS),
    _frames("4.90", "JPEG2000Lossless", "JPEG 2000 Image Compression (Lossless Only)", _LOSSLESS, "8.2.4, A.4.4",
            "j2k-lossless", "j2k", _J2K_GREY + _J2K_PALETTE + _J2K_LOSSLESS).replace(one_bit=_ONE_BIT),
    _frames("4.91", "JPEG2000", "JPEG 2000 Image Compression", _BOTH, "8.2.4, A.4.4", "", "j2k",
            _J2K_GREY + _J2K_LOSSLESS + _J2K_LOSSY),
    _other("4.92", "JPEG2000MCLossless", "JPEG 2000 Part 2 Multi-component Image Compression (Lossless Only)",
           Kind.COLLECTION, _LOSSLESS, "A.4.4", family="j2k", fragments=Fragments.MANY),
    _other("4.93", "JPEG2000MC", "JPEG 2000 Part 2 Multi-component Image Compression", Kind.COLLECTION, _BOTH, "A.4.4",
           family="j2k", fragments=Fragments.MANY),
    _other("4.94", "JPIPReferenced", "JPIP Referenced", Kind.REFERENCE, _BOTH, "A.6"),
    _other("4.95", "JPIPReferencedDeflate", "JPIP Referenced Deflate", Kind.REFERENCE, _BOTH, "A.7", deflated=True),
    _video("100", "MPEG2MPML", "MPEG2 Main Profile / Main Level", "8.2.5"),
    _video("100.1", "MPEG2MPMLF", "Fragmentable MPEG2 Main Profile / Main Level", "8.2.5"),
    _video("101", "MPEG2MPHL", "MPEG2 Main Profile / High Level", "8.2.6"),
    _video("101.1", "MPEG2MPHLF", "Fragmentable MPEG2 Main Profile / High Level", "8.2.6"),
    _video("102", "MPEG4HP41", f"{_MPEG4} High Profile / Level 4.1", "8.2.7"),
    _video("102.1", "MPEG4HP41F", f"Fragmentable {_MPEG4} High Profile / Level 4.1", "8.2.7"),
    _video("103", "MPEG4HP41BD", f"{_MPEG4} BD-compatible High Profile / Level 4.1", "8.2.7"),
    _video("103.1", "MPEG4HP41BDF", f"Fragmentable {_MPEG4} BD-compatible High Profile / Level 4.1", "8.2.7"),
    _video("104", "MPEG4HP422D", f"{_MPEG4} High Profile / Level 4.2 For 2D Video", "8.2.8"),
    _video("104.1", "MPEG4HP422DF", f"Fragmentable {_MPEG4} High Profile / Level 4.2 For 2D Video", "8.2.8"),
    _video("105", "MPEG4HP423D", f"{_MPEG4} High Profile / Level 4.2 For 3D Video", "8.2.8"),
    _video("105.1", "MPEG4HP423DF", f"Fragmentable {_MPEG4} High Profile / Level 4.2 For 3D Video", "8.2.8"),
    _video("106", "MPEG4HP42STEREO", f"{_MPEG4} Stereo High Profile / Level 4.2", "8.2.9"),
    _video("106.1", "MPEG4HP42STEREOF", f"Fragmentable {_MPEG4} Stereo High Profile / Level 4.2", "8.2.9"),
    _video("107", "HEVCMP51", "HEVC/H.265 Main Profile / Level 5.1", "8.2.10"),
    _video("108", "HEVCM10P51", "HEVC/H.265 Main 10 Profile / Level 5.1", "8.2.11"),
    _frames("4.110", "JPEGXLLossless", "JPEG XL Lossless", _LOSSLESS, "8.2.15, A.4.12", "jpegxl-lossless", "jpegxl",
            _JPEG_XL, _ONE),
    _frames("4.111", "JPEGXLJPEGRecompression", "JPEG XL JPEG Recompression", _LOSSLESS, "8.2.15, 10.19",
            "jpegxl-jpeg", "jpegxl", _JPEG_XL_JPEG, _ONE),
    _frames("4.112", "JPEGXL", "JPEG XL", _BOTH, "8.2.15, A.4.12", "", "jpegxl", _JPEG_XL, _ONE),
    _frames("4.201", "HTJ2KLossless", f"{_HTJ2K_NAME} Image Compression (Lossless Only)", _LOSSLESS, "8.2.14, A.4.4",
            "htj2k-lossless", "htj2k", _HTJ2K_LOSSLESS),
    _frames("4.202", "HTJ2KLosslessRPCL", f"{_HTJ2K_NAME} with RPCL Options Image Compression (Lossless Only)",
            _LOSSLESS, "8.2.14, 10.18", "htj2k-rpcl", "htj2k", _HTJ2K_LOSSLESS),
    _frames("4.203", "HTJ2K", f"{_HTJ2K_NAME} Image Compression", _BOTH, "8.2.14, A.4.4", "", "htj2k", _HTJ2K),
    _other("4.204", "JPIPHTJ2KReferenced", "JPIP HTJ2K Referenced", Kind.REFERENCE, _BOTH, "A.11"),
    _other("4.205", "JPIPHTJ2KReferencedDeflate", "JPIP HTJ2K Referenced Deflate", Kind.REFERENCE, _BOTH, "A.12",
           deflated=True),
    _frames("5", "RLELossless", "RLE Lossless", _LOSSLESS, "8.2.2, A.4.2, G", "rle", "rle", _RLE, _ONE).replace(
        one_bit=_ONE_BIT),
    _other("6.1", "RFC2557MIMEEncapsulation", "RFC 2557 MIME encapsulation", Kind.MESSAGE, Loss.NONE, "PS3.6",
           retired=True),
    _other("6.2", "XMLEncoding", "XML Encoding", Kind.MESSAGE, Loss.NONE, "PS3.6", retired=True),
    _other("7.1", "SMPTEST211020UncompressedProgressiveActiveVideo",
           "SMPTE ST 2110-20 Uncompressed Progressive Active Video", Kind.FLOW, Loss.NONE, "8.2.13, A.8"),
    _other("7.2", "SMPTEST211020UncompressedInterlacedActiveVideo",
           "SMPTE ST 2110-20 Uncompressed Interlaced Active Video", Kind.FLOW, Loss.NONE, "8.2.13, A.9"),
    _other("7.3", "SMPTEST211030PCMDigitalAudio", "SMPTE ST 2110-30 PCM Digital Audio", Kind.FLOW, Loss.NONE,
           "8.2.13, A.10"),
    _frames("8.1", "DeflatedImageFrameCompression", "Deflated Image Frame Compression", _LOSSLESS, "8.2.16, A.4.13",
            "deflated-frames", "deflate", _NATIVE, _ONE),
    Syntax("1.2.840.10008.1.20", "Papyrus3ImplicitVRLittleEndian", "Papyrus 3 Implicit VR Little Endian",
           kind=Kind.MESSAGE, loss=Loss.NONE, section="PS3.6", encoding=IMPLICIT_LITTLE, retired=True),
)
# fmt: on

BY_UID: dict[str, Syntax] = {row.uid: row for row in SYNTAXES}


class Family(Record):
    """A name for a lossless syntax and for lossy ones; with consent to loss, the first that fits is used."""

    name: str
    lossless: str
    lossy: tuple[str, ...]


FAMILIES: tuple[Family, ...] = (
    Family("jpeg", f"{ROOT}.4.70", (f"{ROOT}.4.50", f"{ROOT}.4.51")),
    Family("jpegls", f"{ROOT}.4.80", (f"{ROOT}.4.81",)),
    Family("j2k", f"{ROOT}.4.90", (f"{ROOT}.4.91",)),
    Family("htj2k", f"{ROOT}.4.201", (f"{ROOT}.4.203",)),
    Family("jpegxl", f"{ROOT}.4.110", (f"{ROOT}.4.112",)),
)

_NAMES: dict[str, Syntax] = {
    name.lower(): row for row in SYNTAXES for name in (row.uid, row.keyword, row.alias) if name
}
_FAMILIES: dict[str, Family] = {row.name: row for row in FAMILIES}

IMPLICIT = BY_UID[ROOT]
EXPLICIT = BY_UID[f"{ROOT}.1"]
DEFLATED = BY_UID[f"{ROOT}.1.99"]
BIG_ENDIAN = BY_UID[f"{ROOT}.2"]
JPEG_BASELINE = BY_UID[f"{ROOT}.4.50"]
JPEG_RECOMPRESSION = BY_UID[f"{ROOT}.4.111"]


def _row(uid: str) -> Syntax:
    return BY_UID[uid]


def find(name: str) -> Syntax | None:
    """Return the transfer syntax with this UID, keyword or alias (case-insensitive), or None."""
    return _NAMES.get(name.strip().lower())


def is_keyword(name: str) -> bool:
    """Tell whether this is exactly the keyword of a syntax: HTJ2K is one, htj2k is a family."""
    return any(row.keyword == name for row in SYNTAXES)


def find_family(name: str) -> Family | None:
    """Return the family with this name (case-insensitive), or None."""
    return _FAMILIES.get(name.strip().lower())


def names() -> list[str]:
    """Return the names of all families and aliases, for error messages."""
    return [row.name for row in FAMILIES] + [row.alias for row in SYNTAXES if row.alias]
