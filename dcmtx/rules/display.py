"""How a data set wants its pixels shown: modality, VOI, palette (PS3.3 C.11.1, C.11.2, C.7.6.3.1.5, C.7.6.16.2).

The first window counts; without one, the first VOI LUT; without that, the pixels' own range is for the caller to use.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator

from dcmtx.dataset.element import swap
from dcmtx.dataset.header import Header
from dcmtx.dataset.items import Item, items_in, items_of
from dcmtx.errors import InputError
from dcmtx.pixel.format import PixelFormat
from dcmtx.pixel.transform import Display, Function, Lut, Window
from dcmtx.rules.objects import FUNCTIONAL_GROUPS

_CENTER, _WIDTH, _INTERCEPT, _SLOPE, _FUNCTION = 0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00281056
_MODALITY_LUT, _VOI_LUT, _DESCRIPTOR, _DATA = 0x00283000, 0x00283010, 0x00283002, 0x00283006
_FRAME_VOI, _FRAME_VALUES = 0x00289132, 0x00289145
_SHAPE = 0x20500020
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def read(header: Header, fmt: PixelFormat, frame: int) -> Display:
    """Return how a frame (0-based) is shown.

    Raises InputError where a table is damaged.
    """
    if fmt.photometric == "PALETTE COLOR":
        return Display(palette=_palette(header))
    if fmt.samples > 1:
        return Display()
    slope, intercept, window = 1.0, 0.0, None
    for text in _values_of(header, frame):
        slope = _number(text(_SLOPE)) or slope
        found = _number(text(_INTERCEPT))
        intercept = intercept if found is None else found
    for text in _windows_of(header, frame):
        window = _window(text) or window
    modality = _lut(next(items_of(header, _MODALITY_LUT), None), signed=fmt.signed)
    if modality is None and _MODALITY_LUT in header:
        # A window of values that a damaged table would give says nothing.
        window = None
    # A VOI LUT begins at a value that the modality transform gives; a table gives none below 0.
    signed = modality is None and (fmt.signed or intercept < 0)
    voi = None if window else _lut(next(items_of(header, _VOI_LUT), None), signed=signed)
    inverse = fmt.photometric == "MONOCHROME1" or header.text(_SHAPE) == "INVERSE"
    return Display(slope, intercept, modality, window=window, voi=voi, inverse=inverse)


Text = Callable[[int], str]


def _values_of(header: Header, frame: int) -> Iterator[Text]:
    """Yield what may have the modality transform, the most special last."""
    yield header.text
    yield from _group_items(header, frame, _FRAME_VALUES)


def _windows_of(header: Header, frame: int) -> Iterator[Text]:
    yield header.text
    yield from _group_items(header, frame, _FRAME_VOI)


def _group_items(header: Header, frame: int, tag: int) -> Iterator[Text]:
    """Yield the first item of a macro in the functional groups, shared and of this frame."""
    shared, per_frame = FUNCTIONAL_GROUPS
    for number, group in enumerate(items_of(header, shared)):
        if number == 0:
            yield from _first(header, group, tag)
    for number, group in enumerate(items_of(header, per_frame)):
        if number == frame:
            yield from _first(header, group, tag)
            return


def _first(header: Header, group: Item, tag: int) -> Iterator[Text]:
    for item in items_in(header.reader, group, tag):
        yield item.text
        return


def _number(text: str) -> float | None:
    """Return the first of several numbers, or None."""
    first = text.partition("\\")[0].strip()
    number = float(first) if _NUMBER.fullmatch(first) else math.inf
    return number if math.isfinite(number) else None


def _window(text: Text) -> Window | None:
    """Return the first window; None for a width or function that no window can have (PS3.3 C.11.2.1.2)."""
    center, width = _number(text(_CENTER)), _number(text(_WIDTH))
    name = text(_FUNCTION)
    function = next((one for one in Function if one.value == (name or "LINEAR")), None)
    least = 1 if function is Function.LINEAR else 1e-9
    if center is None or width is None or function is None or width < least:
        return None
    return Window(center, width, function)


# --- tables ----------------------------------------------------------------------------------------------------


def _lut(item: Item | None, *, signed: bool) -> Lut | None:
    """Return the table of an item of a LUT sequence; `signed` counts where no VR tells the sign of its first value."""
    descriptor = None if item is None else item.find(_DESCRIPTOR)
    if item is None or descriptor is None:
        return None
    if descriptor.vr in (b"US", b"SS"):
        signed = descriptor.vr == b"SS"
    return _table(item.value(_DESCRIPTOR), item.value(_DATA), big_endian=item.encoding.big_endian, signed=signed)


def _palette(header: Header) -> tuple[Lut, ...]:
    from dcmtx.rules.palette import read_palette

    palette, _ = read_palette(header)
    return tuple(Lut(palette.first, palette.stored, table, narrow=palette.stored == 8) for table in palette.tables)


def _table(descriptor: bytes, data: bytes, *, big_endian: bool, signed: bool) -> Lut:
    """Return a table by its descriptor: number of entries, first value, bits (PS3.3 C.7.6.3.1.5, C.11.1.1)."""
    if big_endian:
        descriptor, data = swap(descriptor, 2), swap(data, 2)
    numbers = [int.from_bytes(descriptor[at : at + 2], "little") for at in (0, 2, 4)]
    entries = numbers[0] or 1 << 16
    first = numbers[1] - (1 << 16) if signed and numbers[1] >= 1 << 15 else numbers[1]
    narrow = len(data) < 2 * entries and numbers[2] <= 8
    if len(descriptor) < 6 or not 1 <= numbers[2] <= 16 or len(data) < (entries if narrow else 2 * entries):
        raise InputError(
            f"a look-up table has {len(data)} bytes, and its descriptor says otherwise", code="E_INCONSISTENT"
        )
    return Lut(first, numbers[2], data[: entries if narrow else 2 * entries], narrow=narrow)
