"""MONOCHROME1 and MONOCHROME2 change places: what else has to, so that the image looks and means the same.

A value v becomes M - v, M being the sum of the least and the greatest value of Bits Stored. That is exact where every
attribute that speaks of pixel values can be turned too; otherwise the conversion is refused.
Sources: PS3.3 C.7.6.3.1.2, C.7.5.1.1.2, C.8.11.3, C.8.11.3.1.2, C.11.1, C.11.2, C.11.6.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from dcmtx.dataset.edit import Edit, Remove, Set
from dcmtx.dataset.element import tag_text
from dcmtx.dataset.header import Header
from dcmtx.errors import RefusedError
from dcmtx.pixel.format import PixelFormat
from dcmtx.rules.derivation import LARGEST, SMALLEST, STALE_EXTREMES
from dcmtx.rules.objects import FUNCTIONAL_GROUPS, QUANTITATIVE, SOP_CLASS_UID

_PADDING, _PADDING_LIMIT = 0x00280120, 0x00280121
_WINDOW_CENTER, _WINDOW_WIDTH, _VOI_FUNCTION = 0x00281050, 0x00281051, 0x00281056
_INTERCEPT, _SLOPE, _RESCALE_TYPE = 0x00281052, 0x00281053, 0x00281054
_SHAPE = 0x20500020
_INTENSITY_SIGN = 0x00281041
# What maps pixel values by tables, or measures them, and cannot be turned by numbers alone.
_BLOCKING: dict[int, str] = {
    0x00283000: "a Modality LUT",
    0x00283010: "a VOI LUT",
    0x00283110: "a Softcopy VOI LUT",
    0x20500010: "a Presentation LUT",
    0x00289422: "a Pixel Intensity Relationship LUT",
    0x00289145: "a Pixel Value Transformation",
    0x00409096: "a Real World Value Mapping",
    0x00286100: "a Mask Subtraction",
    0x00281101: "a palette",
    0x00603000: "a histogram",
    **dict.fromkeys(FUNCTIONAL_GROUPS, "functional groups"),
    **{group << 16 | 0x1302: "the mean of a region of interest" for group in range(0x6000, 0x6020, 2)},
}
# What a number of a Decimal String may have (PS3.5 6.2).
_LONGEST_DS = 16
# By VOI LUT Function: what a window's center moves by, beside M, as its values are counted (PS3.3 C.11.2.1.2.1).
_SHIFTS = {"": 1, "LINEAR": 1, "LINEAR_EXACT": 0, "SIGMOID": 0}
_SHAPES = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}


def mirror(fmt: PixelFormat) -> int:
    """Return M: a value v of this format becomes M - v."""
    return -1 if fmt.signed else (1 << fmt.stored) - 1


def inversion_edits(header: Header, fmt: PixelFormat) -> dict[int, Edit]:
    """Return the edits of what depends on pixel values, for pixels of format `fmt` that are inverted.

    Raises RefusedError, E_PHOTOMETRIC, where that is not exact.
    """
    _check_meaning(header, fmt)
    edits: dict[int, Edit] = {tag: Remove(tag) for tag in STALE_EXTREMES if tag in header}
    turned = {tag: _mirrored(header, fmt, tag) for tag in (_PADDING, _PADDING_LIMIT, SMALLEST, LARGEST)}
    for tag, source in (
        (_PADDING, _PADDING),
        (_PADDING_LIMIT, _PADDING_LIMIT),
        (SMALLEST, LARGEST),
        (LARGEST, SMALLEST),
    ):
        value = turned[source]
        if value is not None:
            edits[tag] = Set(tag, b"SS" if fmt.signed else b"US", value.to_bytes(2, "little", signed=fmt.signed))
        elif tag in header:
            edits[tag] = Remove(tag)
    return edits | _window_edits(header, fmt) | _relation_edits(header, fmt)


def _check_meaning(header: Header, fmt: PixelFormat) -> None:
    """Raise RefusedError where values are measures, or something maps them that cannot be turned."""
    what = QUANTITATIVE.get(header.text(SOP_CLASS_UID))
    if what is not None:
        raise _refused(f"it is {what}, whose values are measures")
    for tag, name in _BLOCKING.items():
        if tag in header:
            raise _refused(f"it has {name} {tag_text(tag)}, which depends on the pixel values")
    rescale = [_decimals(header, tag) for tag in (_SLOPE, _INTERCEPT)]
    if rescale not in ([[], []], [[Decimal(1)], [Decimal(0)]]) or header.text(_RESCALE_TYPE) not in ("", "US"):
        raise _refused("its pixel values are rescaled to other units (0028,1052-1054), which would turn")
    if fmt.stored > 16 and any(tag in header for tag in (_PADDING, SMALLEST, LARGEST)):
        raise _refused("its pixels have more bits than the attributes that speak of their values")


def _mirrored(header: Header, fmt: PixelFormat, tag: int) -> int | None:
    """Return the mirrored value of an attribute that is a pixel value; None if it is absent."""
    number = header.number(tag)
    if number is None:
        return None
    if fmt.signed and number >= 1 << 15:
        number -= 1 << 16
    low = -(1 << (fmt.stored - 1)) if fmt.signed else 0
    if not low <= number < low + (1 << fmt.stored):
        raise _refused(f"{tag_text(tag)} is {number}, which is no value of its Bits Stored")
    return mirror(fmt) - number


def _window_edits(header: Header, fmt: PixelFormat) -> dict[int, Edit]:
    """Return the edit of Window Center: the same window, seen from the other end."""
    centers = _decimals(header, _WINDOW_CENTER)
    if not centers:
        return {}
    function = header.text(_VOI_FUNCTION)
    if function not in _SHIFTS:
        raise _refused(f"VOI LUT Function (0028,1056) is {function[:16]!r}, which is not known")
    texts = [f"{mirror(fmt) - center + _SHIFTS[function]:f}" for center in centers]
    if any(len(text) > _LONGEST_DS for text in texts):
        raise _refused("Window Center (0028,1050) would take more than 16 characters")
    return {_WINDOW_CENTER: Set(_WINDOW_CENTER, b"DS", "\\".join(texts).encode("ascii"))}


def _relation_edits(header: Header, fmt: PixelFormat) -> dict[int, Edit]:
    """Return the edits of Presentation LUT Shape and of Pixel Intensity Relationship Sign."""
    edits: dict[int, Edit] = {}
    shape = header.text(_SHAPE)
    if shape and shape != _SHAPES[fmt.photometric]:
        raise _refused(f"Presentation LUT Shape (2050,0020) is {shape[:16]}, which contradicts {fmt.photometric}")
    if shape:
        (other,) = set(_SHAPES.values()) - {shape}
        edits[_SHAPE] = Set(_SHAPE, b"CS", other.encode("ascii"))
    sign = header.number(_INTENSITY_SIGN)
    if sign is not None:
        if sign not in (1, 0xFFFF):
            raise _refused("Pixel Intensity Relationship Sign (0028,1041) is not 1 or -1")
        edits[_INTENSITY_SIGN] = Set(_INTENSITY_SIGN, b"SS", (0x10000 - sign).to_bytes(2, "little"))
    return edits


def _decimals(header: Header, tag: int) -> list[Decimal]:
    text = header.text(tag)
    try:
        numbers = [Decimal(value.strip()) for value in text.split("\\")] if text else []
    except InvalidOperation:
        numbers = [Decimal("NaN")]
    if not all(number.is_finite() for number in numbers):
        raise _refused(f"{tag_text(tag)} is {text[:32]!r}, which is not numbers")
    return numbers


def _refused(what: str) -> RefusedError:
    return RefusedError(
        f"{what}, so MONOCHROME1 and MONOCHROME2 cannot change places exactly",
        advice="leave --photometric out",
        code="E_PHOTOMETRIC",
    )
