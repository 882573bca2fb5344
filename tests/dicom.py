"""DICOM files for tests: a writer of small ones, odd ones too, and a walker that takes any apart.

Independent of dcmtx on purpose: what it writes is judged by this code, not by its own reader.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_P14 = "1.2.840.10008.1.2.4.57"
JPEG_SV1 = "1.2.840.10008.1.2.4.70"
JPEGLS = "1.2.840.10008.1.2.4.80"
JPEGLS_NEAR = "1.2.840.10008.1.2.4.81"
J2K_LOSSLESS = "1.2.840.10008.1.2.4.90"
J2K = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
HTJ2K_RPCL = "1.2.840.10008.1.2.4.202"
HTJ2K = "1.2.840.10008.1.2.4.203"

UNDEFINED = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
SWAP = {
    "US": 2, "SS": 2, "OW": 2, "AT": 2, "UL": 4, "SL": 4, "FL": 4, "OF": 4, "OL": 4,
    "FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8,
}  # fmt: skip


# --- writing ---------------------------------------------------------------------------------------------------


def swapped(value: bytes, unit: int) -> bytes:
    """Reverse the bytes of every number of `unit` bytes."""
    whole = len(value) - len(value) % unit
    return np.frombuffer(value[:whole], f"<u{unit}").byteswap().tobytes() + value[whole:]


def element(tag: int, vr: str, value: bytes | str | int | Sequence[int], syntax: str = EXPLICIT) -> bytes:
    """Encode an element. Numbers become US (or the width of their VR), text is padded with spaces, UIDs with zero."""
    raw = _raw(vr, value)
    if syntax == BIG_ENDIAN and vr in SWAP:
        raw = swapped(raw, SWAP[vr])
    return header(tag, vr, len(raw), syntax) + raw


def _raw(vr: str, value: bytes | str | int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        value = [value]
    if isinstance(value, str):
        value = value.encode("latin-1")
    elif not isinstance(value, bytes):
        code = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "OV": "Q", "AT": "H"}[vr]
        value = struct.pack(f"<{len(value)}{code}", *value)
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    return value


def header(tag: int, vr: str, length: int, syntax: str = EXPLICIT) -> bytes:
    """Encode tag, VR and length."""
    order = ">" if syntax == BIG_ENDIAN else "<"
    tagged = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT or tag >> 16 == 0xFFFE:
        return tagged + struct.pack(f"{order}I", length)
    if vr in LONG:
        return tagged + vr.encode() + b"\0\0" + struct.pack(f"{order}I", length)
    return tagged + vr.encode() + struct.pack(f"{order}H", length)


def sequence(
    tag: int, items: Iterable[bytes], syntax: str = EXPLICIT, *, undefined: bool = False, vr: str = "SQ"
) -> bytes:
    """Encode a sequence of these items, with defined or undefined lengths throughout."""
    if not undefined:
        body = b"".join(header(0xFFFEE000, "", len(item), syntax) + item for item in items)
        return header(tag, vr, len(body), syntax) + body
    delimiter = header(0xFFFEE00D, "", 0, syntax)
    body = b"".join(header(0xFFFEE000, "", UNDEFINED, syntax) + item + delimiter for item in items)
    return header(tag, vr, UNDEFINED, syntax) + body + header(0xFFFEE0DD, "", 0, syntax)


def file(
    elements: Iterable[bytes],
    syntax: str = EXPLICIT,
    *,
    preamble: bytes = bytes(128),
    meta: Iterable[bytes] = (),
    sop_class: str = SECONDARY_CAPTURE,
    sop_instance: str = "1.2.3.4",
) -> bytes:
    """Return a whole file: preamble, group 0002, and these encoded elements."""
    group = b"".join(
        [
            element(0x00020001, "OB", b"\0\1"),
            element(0x00020002, "UI", sop_class),
            element(0x00020003, "UI", sop_instance),
            element(0x00020010, "UI", syntax),
            element(0x00020012, "UI", "1.2.3"),
            *meta,
        ]
    )
    body = b"".join(elements)
    if syntax == DEFLATED:
        deflater = zlib.compressobj(wbits=-15)
        body = deflater.compress(body) + deflater.flush()
        body += b"\0" * (len(body) % 2)
    return preamble + b"DICM" + element(0x00020000, "UL", [len(group)]) + group + body


@dataclass
class Image:
    """An image to be written: pixels by their attributes. `before` and `behind` are more encoded elements."""

    pixels: bytes | Sequence[bytes]  # native value, or the fragments of encapsulated pixels (table not included)
    rows: int = 8
    columns: int = 8
    samples: int = 1
    photometric: str = "MONOCHROME2"
    allocated: int = 16
    stored: int = 16
    high_bit: int | None = None
    signed: bool = False
    planar: int | None = None
    frames: int | None = None
    syntax: str = EXPLICIT
    pixel_vr: str | None = None
    table: bytes = b""
    before: dict[int, bytes] = field(default_factory=dict)
    behind: Sequence[bytes] = ()
    sop_class: str = SECONDARY_CAPTURE
    sop_instance: str = "1.2.3.4"
    meta: Sequence[bytes] = ()
    preamble: bytes = bytes(128)

    def elements(self) -> dict[int, bytes]:
        """Return the encoded elements before the pixels, by tag."""
        s = "1.2.840.10008.1.2.1" if self.syntax not in (IMPLICIT, BIG_ENDIAN) else self.syntax
        all_elements = {
            0x00080008: element(0x00080008, "CS", "ORIGINAL\\PRIMARY", s),
            0x00080016: element(0x00080016, "UI", self.sop_class, s),
            0x00080018: element(0x00080018, "UI", self.sop_instance, s),
            0x00080060: element(0x00080060, "CS", "OT", s),
            0x00100010: element(0x00100010, "PN", "Test^Image", s),
            0x00280002: element(0x00280002, "US", self.samples, s),
            0x00280004: element(0x00280004, "CS", self.photometric, s),
            0x00280010: element(0x00280010, "US", self.rows, s),
            0x00280011: element(0x00280011, "US", self.columns, s),
            0x00280100: element(0x00280100, "US", self.allocated, s),
            0x00280101: element(0x00280101, "US", self.stored, s),
            0x00280102: element(0x00280102, "US", self.stored - 1 if self.high_bit is None else self.high_bit, s),
            0x00280103: element(0x00280103, "US", int(self.signed), s),
        }
        if self.samples > 1:
            all_elements[0x00280006] = element(0x00280006, "US", self.planar or 0, s)
        if self.frames is not None:
            all_elements[0x00280008] = element(0x00280008, "IS", str(self.frames), s)
        all_elements.update(self.before)
        return dict(sorted(all_elements.items()))

    def encode(self) -> bytes:
        """Return the file."""
        s = self.syntax if self.syntax in (IMPLICIT, BIG_ENDIAN) else EXPLICIT
        vr = self.pixel_vr or ("OW" if self.allocated > 8 or self.syntax == IMPLICIT else "OB")
        if isinstance(self.pixels, bytes):
            pixels = element(PIXEL_DATA, vr, self.pixels, s)
        else:
            pixels = encapsulated(self.pixels, self.table)
        return file(
            [*self.elements().values(), pixels, *self.behind],
            self.syntax,
            preamble=self.preamble,
            meta=self.meta,
            sop_class=self.sop_class,
            sop_instance=self.sop_instance,
        )


def encapsulated(fragments: Iterable[bytes], table: bytes = b"") -> bytes:
    """Encode Pixel Data of these fragments, padded to even length, behind a Basic Offset Table of these bytes."""
    body = [header(0xFFFEE000, "", len(table)), table]
    for fragment in fragments:
        padded = fragment + b"\0" * (len(fragment) % 2)
        body += [header(0xFFFEE000, "", len(padded)), padded]
    return header(PIXEL_DATA, "OB", UNDEFINED) + b"".join(body) + header(0xFFFEE0DD, "", 0)


# --- walking ---------------------------------------------------------------------------------------------------


@dataclass
class Found:
    """An element as it stands in a file: its bytes, and its value or items. `fragments` are those of pixel data."""

    tag: int
    vr: str
    length: int
    raw: bytes
    value: bytes = b""
    items: list[dict[int, Found]] | None = None
    fragments: list[bytes] | None = None

    @property
    def text(self) -> str:
        """The value as text, without padding."""
        return self.value.decode("latin-1").strip(" \0")

    @property
    def number(self) -> int:
        """The first 16-bit number of the value, little endian."""
        return int.from_bytes(self.value[:2], "little")


@dataclass
class Walked:
    """A file taken apart: elements by tag, tags as they stand in `order`, values of numbers in little endian."""

    preamble: bytes
    meta: dict[int, Found]
    elements: dict[int, Found]
    order: list[int]
    dataset: bytes

    @property
    def syntax(self) -> str:
        """The Transfer Syntax UID."""
        return self.meta[0x00020010].text

    @property
    def fragments(self) -> list[bytes]:
        """The fragments of Pixel Data, without the Basic Offset Table."""
        found = self.elements[PIXEL_DATA].fragments
        assert found is not None
        return found[1:]

    @property
    def offset_table(self) -> list[int]:
        """The Basic Offset Table."""
        found = self.elements[PIXEL_DATA].fragments
        assert found is not None
        return [entry for (entry,) in struct.iter_unpack("<I", found[0])]


def walk(data: bytes) -> Walked:
    """Take a file apart, strictly: whatever is not as the standard has it raises AssertionError."""
    assert data[128:132] == b"DICM"
    meta, position = _elements(data, 132, len(data), EXPLICIT, group=2)
    assert position == 132 + 12 + int.from_bytes(meta[0x00020000].value, "little"), "group length of group 0002"
    syntax = meta[0x00020010].text
    dataset = data[position:]
    if syntax == DEFLATED:
        inflater = zlib.decompressobj(-15)
        dataset = inflater.decompress(dataset)
        assert inflater.eof
        assert inflater.unused_data in (b"", b"\0")
        assert len(data[position:]) % 2 == 0
    encoding = syntax if syntax in (IMPLICIT, BIG_ENDIAN) else EXPLICIT
    order: list[int] = []
    elements, end = _elements(dataset, 0, len(dataset), encoding, order=order)
    assert end == len(dataset)
    assert order == sorted(set(order)), "elements out of order or twice"
    return Walked(data[:128], meta, elements, order, dataset)


def _elements(
    data: bytes, position: int, end: int, syntax: str, *, group: int = 0, order: list[int] | None = None
) -> tuple[dict[int, Found], int]:
    found: dict[int, Found] = {}
    while position < end:
        tag, vr, length, value = _header(data, position, syntax)
        if group and tag >> 16 != group:
            break
        if tag == 0xFFFEE00D:
            return found, position + 8
        one, stop = _element(data, position, tag, vr, length, value, syntax)
        found[tag] = one
        if order is not None:
            order.append(tag)
        position = stop
    assert position <= end, "an element goes beyond its data set"
    return found, position


def _header(data: bytes, position: int, syntax: str) -> tuple[int, str, int, int]:
    order = ">" if syntax == BIG_ENDIAN else "<"
    group, number = struct.unpack_from(f"{order}HH", data, position)
    tag = group << 16 | number
    if syntax == IMPLICIT or group == 0xFFFE:
        return tag, "", struct.unpack_from(f"{order}I", data, position + 4)[0], position + 8
    # What follows group 0002 may be deflated: bytes that are no VR, and are not looked at.
    vr = data[position + 4 : position + 6].decode("latin-1")
    if vr in LONG:
        return tag, vr, struct.unpack_from(f"{order}I", data, position + 8)[0], position + 12
    return tag, vr, struct.unpack_from(f"{order}H", data, position + 6)[0], position + 8


def _element(data: bytes, start: int, tag: int, vr: str, length: int, position: int, syntax: str) -> tuple[Found, int]:
    if length == UNDEFINED:
        inside = IMPLICIT if vr == "UN" else syntax
        fragments = tag == PIXEL_DATA
        parts: list[bytes] = []
        items: list[dict[int, Found]] = []
        while True:
            found, _, size, value = _header(data, position, inside)
            position = value
            if found == 0xFFFEE0DD:
                assert size == 0
                break
            assert found == 0xFFFEE000, f"{found:08X} where an item belongs"
            if fragments:
                assert size % 2 == 0
                assert position + size <= len(data)
                parts.append(data[position : position + size])
                position += size
            else:
                item, position = _item(data, position, size, inside)
                items.append(item)
        raw = data[start:position]
        return Found(tag, vr, length, raw, items=None if fragments else items, fragments=parts or None), position
    end = position + length
    assert end <= len(data), f"{tag:08X} goes beyond the end"
    items_of: list[dict[int, Found]] | None = None
    if vr == "SQ" or (not vr and length >= 8 and data[position : position + 4] == b"\xfe\xff\x00\xe0"):
        items_of = []
        while position < end:
            found, _, size, value = _header(data, position, syntax)
            assert found == 0xFFFEE000, f"{found:08X} where an item belongs"
            item, position = _item(data, value, size, syntax)
            items_of.append(item)
        assert position == end
    raw = data[start:end]
    value_bytes = data[end - length : end]
    if syntax == BIG_ENDIAN and vr in SWAP:
        value_bytes = swapped(value_bytes, SWAP[vr])
    return Found(tag, vr, length, raw, value_bytes, items_of), end


def _item(data: bytes, position: int, size: int, syntax: str) -> tuple[dict[int, Found], int]:
    if size == UNDEFINED:
        return _elements(data, position, len(data), syntax)
    found, end = _elements(data, position, position + size, syntax)
    assert end == position + size
    return found, end
