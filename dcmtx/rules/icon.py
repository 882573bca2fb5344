"""What an icon needs of a data set, and the item that it is (PS3.3 C.7.6.1.1.6, C.11.1, C.11.2)."""

from __future__ import annotations

import math

from dcmtx.dataset.element import ITEM, PIXEL_DATA, element_bytes, element_header, tag_bytes
from dcmtx.dataset.header import Header
from dcmtx.pixel.format import PixelFormat
from dcmtx.record import Record
from dcmtx.rules import image
from dcmtx.syntax import Encoding

ICON_IMAGE_SEQUENCE = 0x00880200
_REPRESENTATIVE_FRAME = 0x00286010
_PADDING, _PADDING_LIMIT = 0x00280120, 0x00280121
_PIXEL_SPACING, _ASPECT_RATIO = 0x00280030, 0x00280034
_DESCRIPTORS = (0x00281101, 0x00281102, 0x00281103)
_TABLES = (0x00281201, 0x00281202, 0x00281203)


class Picture(Record):
    """An icon: brightness, or indices of `colours`, RGB of 8 bits; a byte each, row by row."""

    rows: int
    columns: int
    pixels: bytes
    colours: bytes = b""


def frame_of(header: Header, frames: int) -> int:
    """Return which frame (0-based) the icon shows: the representative one, or the first."""
    number = header.number(_REPRESENTATIVE_FRAME) or 1
    return number - 1 if number <= frames else 0


def aspect_of(header: Header) -> float:
    """Return the height of a pixel divided by its width."""
    for tag in (_PIXEL_SPACING, _ASPECT_RATIO):
        numbers = _numbers(header, tag)
        if len(numbers) == 2 and min(numbers) > 0:
            return numbers[0] / numbers[1]
    return 1.0


def padding_of(header: Header, fmt: PixelFormat) -> int | None:
    """Return Pixel Padding Value, where it stands for that one value."""
    number = header.number(_PADDING)
    if number is None or _PADDING_LIMIT in header or fmt.stored > 16:
        return None
    return number - (1 << 16) if fmt.signed and number >= 1 << 15 else number


def encoded(picture: Picture, encoding: Encoding) -> bytes:
    """Return Icon Image Sequence with this icon, uncompressed: every transfer syntax allows that (PS3.5 A.4)."""

    def number(tag: int, *values: int) -> bytes:
        return element_bytes(tag, b"US", b"".join(value.to_bytes(2, "little") for value in values), encoding)

    photometric = b"PALETTE COLOR" if picture.colours else b"MONOCHROME2"
    parts = [
        number(image.SAMPLES_PER_PIXEL, 1),
        element_bytes(image.PHOTOMETRIC_INTERPRETATION, b"CS", photometric, encoding),
        number(image.ROWS, picture.rows),
        number(image.COLUMNS, picture.columns),
        number(image.BITS_ALLOCATED, 8),
        number(image.BITS_STORED, 8),
        number(image.HIGH_BIT, 7),
        number(image.PIXEL_REPRESENTATION, 0),
    ]
    if picture.colours:
        parts += [number(tag, len(picture.colours) // 3, 0, 16) for tag in _DESCRIPTORS]
        # 8 bits in 16, over the whole range: every reader takes that.
        tables = [b"".join(bytes((entry, entry)) for entry in picture.colours[at::3]) for at in range(3)]
        parts += [element_bytes(tag, b"OW", table, encoding) for tag, table in zip(_TABLES, tables, strict=True)]
    parts.append(element_bytes(PIXEL_DATA, b"OB", picture.pixels, encoding))
    item = b"".join(parts)
    order = "big" if encoding.big_endian else "little"
    item = tag_bytes(ITEM, encoding) + len(item).to_bytes(4, order) + item  # type: ignore[arg-type]
    return element_header(ICON_IMAGE_SEQUENCE, b"SQ", len(item), encoding) + item


def _numbers(header: Header, tag: int) -> list[float]:
    """Return the numbers of a Decimal or Integer String; none where one of them is no number."""
    try:
        numbers = [float(value) for value in header.text(tag).split("\\")]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []
