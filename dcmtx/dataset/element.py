"""A data element as bytes: its tag, VR and length, and how they are encoded (PS3.5 7.1)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from dcmtx.dataset.vr import LARGEST_SHORT, SHORT_VRS, SWAP_UNIT, VRS
from dcmtx.syntax import Encoding

UNDEFINED = 0xFFFFFFFF
ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
TRAILING_PADDING = 0xFFFCFFFC
# Placeholder for the VR of an element that has none.
NO_VR = b"  "
PIXEL_DATA = 0x7FE00010
FLOAT_PIXEL_DATA = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00009
PIXEL_TAGS = frozenset([PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA])
# PS3.5 6.2: the byte that pads a value to even length.
_PAD: dict[bytes, bytes] = {b"UI": b"\0", b"OB": b"\0", b"UN": b"\0"}


class Element(NamedTuple):
    """A data element by its offsets: `start` of the tag, `value` of the value, `end` after its last byte.

    `length` is the encoded length, which may be UNDEFINED. `vr` is NO_VR if the encoding has no VR or the bytes there
    are not a VR.
    """

    tag: int
    vr: bytes
    start: int
    value: int
    length: int
    end: int


def tag_bytes(tag: int, encoding: Encoding) -> bytes:
    """Return a tag encoded."""
    return struct.pack(">HH" if encoding.big_endian else "<HH", tag >> 16, tag & 0xFFFF)


def tag_text(tag: int) -> str:
    """Return a tag as the standard writes it."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def element_header(tag: int, vr: bytes, length: int, encoding: Encoding) -> bytes:
    """Return tag, VR and length, encoded (PS3.5 7.1). A value too long for its VR is written as UN (6.2.2)."""
    order = ">" if encoding.big_endian else "<"
    group, number = tag >> 16, tag & 0xFFFF
    if encoding.implicit:
        return struct.pack("<HHI", group, number, length)
    # An unknown VR has a 32-bit length, as all new VRs do (PS3.5 6.2, 7.1.2).
    if vr in SHORT_VRS and length > 0xFFFF:
        vr = b"UN"
    if vr not in SHORT_VRS:
        return struct.pack(f"{order}HH2sHI", group, number, vr, 0, length)
    return struct.pack(f"{order}HH2sH", group, number, vr, length)


def element_bytes(tag: int, vr: bytes, value: bytes, encoding: Encoding) -> bytes:
    """Return an element with this little-endian value, padded to even length, in this encoding."""
    if len(value) % 2:
        value += _PAD.get(vr, b" ")
    if encoding.big_endian:
        value = swap(value, SWAP_UNIT.get(vr, 1))
    return element_header(tag, vr, len(value), encoding) + value


def swap(value: bytes, unit: int) -> bytes:
    """Return the value with the bytes of every `unit`-byte number reversed. An incomplete number at the end stays."""
    if unit == 1:
        return value
    whole = len(value) - len(value) % unit
    swapped = bytearray(value)
    for offset in range(unit):
        swapped[offset:whole:unit] = value[unit - 1 - offset : whole : unit]
    return bytes(swapped)


def fitting(vr: bytes, length: int) -> bytes:
    """Return the VR, or UN if the value is too long for its 16-bit length or the VR is unknown (PS3.5 6.2.2)."""
    return b"UN" if vr not in VRS or (vr in SHORT_VRS and length > LARGEST_SHORT) else vr
