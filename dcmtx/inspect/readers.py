"""Who reads which lossless transfer syntax, and where that was found. Data only."""

from __future__ import annotations

from dcmtx.record import Record

_ALL = frozenset(["jpeg-lossless", "jpegls", "j2k", "htj2k", "htj2k-rpcl", "jpegxl", "rle", "deflated-frames"])
_OLD = frozenset(["jpeg-lossless", "jpegls", "rle"])
_J2K = frozenset(["j2k"])
_HTJ2K = frozenset(["htj2k", "htj2k-rpcl"])
_XL = frozenset(["jpegxl"])


class Reader(Record):
    """A program or library that decodes pixels: its version, the targets that it reads, and the source of that."""

    name: str
    version: str
    reads: frozenset[str]
    source: str


READERS: tuple[Reader, ...] = (
    Reader("DCMTK", "3.6.7 to 3.7.0", _OLD, source="run (3.6.7); read: dcmjpeg, dcmjpls, dcmdata/libsrc/dcxfer.h"),
    Reader("Orthanc", "1.10.1, without plugins", _OLD, source="run; read: DcmtkTranscoder.cpp"),
    Reader("GDCM", "3.0", _OLD | _J2K, source="run (3.0.21)"),
    Reader("GDCM", "3.2", _OLD | _J2K | _HTJ2K, source="run (3.2.6); read: gdcmJPEG2000Codec.cxx"),
    Reader(
        "pydicom", "3.0 with pylibjpeg", _OLD | _J2K | _HTJ2K,
        source="run (3.0.2); https://pydicom.github.io/pydicom/dev/guides/plugin_table.html",
    ),
    Reader(
        "Cornerstone3D (OHIF)", "dicom-image-loader 4.15", _OLD | _J2K | _HTJ2K,
        source="its list of decoders; JPEG XL asked for in cornerstonejs/cornerstone3D#2650",
    ),
    Reader(
        "dcm4che", "source of 2026", _OLD | _J2K | _HTJ2K | _XL,
        source="read: ImageReaderFactory.properties; dcm4che/dcm4che#1535",
    ),
    Reader(
        "Weasis", "weasis-dicom-tools 5.34", _OLD | _J2K | _XL, source="read: DicomImageReader.isSupportedSyntax"
    ),
    Reader(
        "fo-dicom", "with fo-dicom.Codecs, source of 2026", _OLD | _J2K | _HTJ2K, source="read: Codec/*.cs"
    ),
    Reader(
        "dicom-rs", "0.10, all features", _ALL, source="read: transfer-syntax-registry/src/entries.rs"
    ),
)  # fmt: skip


def readers_of(target: str) -> tuple[Reader, ...]:
    """Return who reads a target, by its name in `dcmtx advise`."""
    return tuple(reader for reader in READERS if target in reader.reads)
