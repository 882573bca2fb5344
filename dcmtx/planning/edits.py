"""The rules that decide which elements change at the top level of a data set."""

from __future__ import annotations

from collections.abc import Mapping

from dcmtx.dataset.edit import Edit, Remove, Reserve, Set
from dcmtx.dataset.element import TRAILING_PADDING, tag_text
from dcmtx.dataset.header import Header
from dcmtx.errors import InputError, RefusedError
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import OffsetTable, Policy, Signatures
from dcmtx.rules import image, objects

ICON_IMAGE_SEQUENCE = 0x00880200
_OFFSETS = 0x7FE00001
_OFFSET_LENGTHS = 0x7FE00002
_TOTAL_LENGTH = 0x7FE00003


def common_edits(header: Header) -> dict[int, Edit]:
    """Return the edits that every route makes.

    They remove retired group lengths, trailing padding and stale offset tables, and apply corrected values.
    """
    stale = [tag for tag in (_OFFSETS, _OFFSET_LENGTHS, _TOTAL_LENGTH, TRAILING_PADDING) if tag in header]
    edits: dict[int, Edit] = {
        tag: Remove(tag) for tag in [*stale, *(tag for tag in header.tags() if tag & 0xFFFF == 0)]
    }
    return edits | dict(header.corrections)


def table_edits(table: OffsetTable, fmt: PixelFormat) -> dict[int, Edit]:
    """Reserve space for an Extended Offset Table, whose values are known only when the frames are written."""
    if table is not OffsetTable.EXTENDED:
        return {}
    return {
        _OFFSETS: Reserve(_OFFSETS, b"OV", 8 * fmt.frames, key="offsets"),
        _OFFSET_LENGTHS: Reserve(_OFFSET_LENGTHS, b"OV", 8 * fmt.frames, key="lengths"),
    }


def image_edits(header: Header, declared: PixelFormat, written: PixelFormat) -> dict[int, Edit]:
    """Return the attributes of the image that are no longer true, and only those."""
    edits: dict[int, Edit] = {}
    numbers = [
        (image.SAMPLES_PER_PIXEL, declared.samples, written.samples),
        (image.BITS_ALLOCATED, declared.allocated, written.allocated),
        (image.BITS_STORED, declared.stored, written.stored),
        (image.HIGH_BIT, declared.high_bit, written.high_bit),
    ]
    if written.samples > 1:
        planar = header.number(image.PLANAR_CONFIGURATION)
        numbers.append((image.PLANAR_CONFIGURATION, -1 if planar is None else planar, written.planar))
    for tag, old, new in numbers:
        if old != new:
            edits[tag] = Set(tag, b"US", new.to_bytes(2, "little"))
    if header.text(image.PHOTOMETRIC_INTERPRETATION) != written.photometric:
        tag = image.PHOTOMETRIC_INTERPRETATION
        edits[tag] = Set(tag, b"CS", written.photometric.encode("ascii"))
    return edits


def signature_edits(header: Header) -> dict[int, Edit]:
    """Return the edits that remove digital signatures, if there are any."""
    return {tag: Remove(tag) for tag in objects.SIGNATURES if tag in header}


def check_signatures(header: Header, policy: Policy) -> None:
    """Raise RefusedError if signatures would become invalid, unless the policy allows their removal."""
    if objects.is_signed(header) and policy.signatures is Signatures.REFUSE:
        raise RefusedError(
            "it has digital signatures, which this conversion would make invalid",
            advice="use --signatures remove",
            code="E_SIGNATURE",
        )


def check_order(header: Header, edits: Mapping[int, Edit]) -> None:
    """Raise InputError if an edited attribute follows Pixel Data out of order: the file would hold it twice."""
    pixel = header.pixel
    for element in header.tail:
        edit = edits.get(element.tag)
        if pixel is not None and element.tag < pixel.tag and edit is not None and not isinstance(edit, Remove):
            raise InputError(
                f"{tag_text(element.tag)} stands behind Pixel Data; the file is in disorder, correct it first",
                code="E_INCONSISTENT",
                tag=element.tag,
            )
