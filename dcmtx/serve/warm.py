"""Loads what jobs need in advance, because codecs load their libraries on first use."""

from __future__ import annotations

import importlib
import os
import struct
import tempfile
from collections.abc import Iterator

from dcmtx.errors import DcmtxError
from dcmtx.transcoding.transcode import transcode

# Each codec family and each data set encoding, converted both ways.
_TARGETS = ("jpegls", "htj2k", "j2k", "jpeg", "jpegxl", "rle", "deflated", "implicit")
# Needed for some files only: digests and new UIDs, icons, records.
_MODULES = ("hashlib", "dcmtx.transcoding.icons", "dcmtx.batch.report", "json", "shutil")
_SIDE = 16
_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.7"
_EXPLICIT = "1.2.840.10008.1.2.1"
_INSTANCE = "2.25.1"


def warm() -> Iterator[str]:
    """Convert a small image to every usual target, and yield the failures."""
    for module in _MODULES:
        importlib.import_module(module)
    try:
        yield from _convert()
    except OSError as error:
        yield f"a temporary file: {error}"


def _convert() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="dcmtx-") as directory:
        native, other = (os.path.join(directory, name) for name in ("native", "other"))
        with open(native, "wb") as file:
            file.write(image())
        for target in _TARGETS:
            try:
                transcode(native, other, to=target, workers=1)
                transcode(other, other, to="explicit", workers=1)
            except DcmtxError as error:
                yield f"{target}: {error}"


def image() -> bytes:
    """Return a small Secondary Capture image in Explicit VR Little Endian (PS3.3 A.8.1, PS3.10 7.1)."""
    syntax = _element(0x00020010, "UI", _uid(_EXPLICIT))
    meta = _element(0x00020001, "OB", b"\0\1") + _element(0x00020002, "UI", _uid(_IMAGE_STORAGE))
    meta += _element(0x00020003, "UI", _uid(_INSTANCE)) + syntax
    return b"\0" * 128 + b"DICM" + _element(0x00020000, "UL", struct.pack("<I", len(meta))) + meta + _data_set()


def _data_set() -> bytes:
    numbers = {
        0x00280002: 1, 0x00280010: _SIDE, 0x00280011: _SIDE, 0x00280100: 16, 0x00280101: 12, 0x00280102: 11,
        0x00280103: 0,
    }  # fmt: skip
    elements = {
        0x00080016: ("UI", _uid(_IMAGE_STORAGE)),
        0x00080018: ("UI", _uid(_INSTANCE)),
        0x00080060: ("CS", b"OT"),
        0x00280004: ("CS", b"MONOCHROME2 "),
        0x7FE00010: ("OW", struct.pack(f"<{_SIDE * _SIDE}H", *range(_SIDE * _SIDE))),
        **{tag: ("US", struct.pack("<H", number)) for tag, number in numbers.items()},
    }
    return b"".join(_element(tag, *elements[tag]) for tag in sorted(elements))


def _element(tag: int, vr: str, value: bytes) -> bytes:
    """Return an element in Explicit VR Little Endian (PS3.5 7.1.2)."""
    length = struct.pack("<2xI" if vr in ("OB", "OW") else "<H", len(value))
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode("ascii") + length + value


def _uid(text: str) -> bytes:
    return text.encode("ascii") + b"\0" * (len(text) % 2)
