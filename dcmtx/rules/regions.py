"""Regions of ultrasound images, whose places are pixels, counted from 0 (PS3.3 C.8.5.5.1)."""

from __future__ import annotations

import struct

from dcmtx.dataset.element import element_bytes
from dcmtx.dataset.items import LEFT_OUT, Item
from dcmtx.policy import Cut
from dcmtx.syntax import Encoding

REGIONS = 0x00186011
_MIN_X, _MIN_Y, _MAX_X, _MAX_Y = 0x00186018, 0x0018601A, 0x0018601C, 0x0018601E
_REFERENCE_X, _REFERENCE_Y = 0x00186020, 0x00186022
# The smallest number of SL.
_LEAST = -(1 << 31)


class CutRegions:
    """A change inside sequences: regions are shifted and clipped, and left out where nothing of them is kept.

    A reference pixel is relative to the corner of its region, so it changes by what clipping takes from that corner;
    sample volume and TM-line are relative to it.
    """

    def __init__(self, cut: Cut, target: Encoding) -> None:
        self._cut = cut
        self._target = target

    def __call__(self, item: Item) -> dict[int, bytes]:
        """Return what changes in an item."""
        if item.path != (REGIONS,):
            return {}
        corners = [_number(item, tag, "I") for tag in (_MIN_X, _MIN_Y, _MAX_X, _MAX_Y)]
        if None in corners:
            return {}
        cut, (x0, y0, x1, y1) = self._cut, [corner or 0 for corner in corners]
        left, top = max(x0 - cut.left, 0), max(y0 - cut.top, 0)
        right, bottom = min(x1 - cut.left, cut.columns - 1), min(y1 - cut.top, cut.rows - 1)
        if left > right or top > bottom:
            return LEFT_OUT
        made = {
            tag: self._encoded(tag, b"UL", "<I", value)
            for tag, value in ((_MIN_X, left), (_MIN_Y, top), (_MAX_X, right), (_MAX_Y, bottom))
        }
        for tag, taken in ((_REFERENCE_X, left + cut.left - x0), (_REFERENCE_Y, top + cut.top - y0)):
            value = _number(item, tag, "i")
            if value is not None and taken:
                made[tag] = self._encoded(tag, b"SL", "<i", max(value - taken, _LEAST))
        return made

    def _encoded(self, tag: int, vr: bytes, form: str, value: int) -> bytes:
        return element_bytes(tag, vr, struct.pack(form, value), self._target)

    def describe(self) -> str:
        """Return the change in a few words."""
        return "regions are shifted and clipped"


def _number(item: Item, tag: int, form: str) -> int | None:
    value = item.value(tag)
    if len(value) != 4:
        return None
    (number,) = struct.unpack((">" if item.encoding.big_endian else "<") + form, value)
    return int(number)
