"""Which elements a conversion may change, and what it may make of them (PS3.5 8.2; PS3.3 C.7.6.1.1.5, C.12.4.1)."""

from __future__ import annotations

from enum import Enum

from dcmtx.rules import derivation, image, lossy
from dcmtx.rules.objects import SIGNATURES


class Change(Enum):
    """Why a conversion may change an element."""

    WRAPPING = "wrapping"  # how the data set and its pixels are wrapped
    PIXELS = "pixels"  # how pixels are described: legal if they are the same pixels
    LOSS = "loss"  # what is recorded of a loss: legal if a loss was added to the record
    REMOVED = "removed"  # signatures, which may be gone


_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
_OVERLAY_ELEMENTS = (0x0015, 0x0051, 0x0100, 0x0102, 0x3000)
CHANGES: dict[int, Change] = {
    **dict.fromkeys((0x7FE00001, 0x7FE00002, 0x7FE00003, 0xFFFCFFFC), Change.WRAPPING),
    **dict.fromkeys(
        (
            image.SAMPLES_PER_PIXEL, image.PHOTOMETRIC_INTERPRETATION, image.PLANAR_CONFIGURATION,
            image.NUMBER_OF_FRAMES, image.BITS_ALLOCATED, image.BITS_STORED, image.HIGH_BIT,
            *(group << 16 | element for group in _OVERLAY_GROUPS for element in _OVERLAY_ELEMENTS),
        ),
        Change.PIXELS,
    ),
    **dict.fromkeys(
        (
            image.LOSSY_IMAGE_COMPRESSION, lossy.RATIO, lossy.METHOD, derivation.IMAGE_TYPE, derivation.CREATION_DATE,
            derivation.CREATION_TIME, 0x00080018, derivation.SOURCE_IMAGES, derivation.DERIVATION_DESCRIPTION,
            lossy.DERIVATION_CODES, lossy.FRAME_TYPE, lossy.DERIVATION_IMAGES, lossy.SOURCE_EVIDENCE,
            derivation.SMALLEST, derivation.LARGEST,
        ),
        Change.LOSS,
    ),
    **dict.fromkeys(SIGNATURES, Change.REMOVED),
}  # fmt: skip
