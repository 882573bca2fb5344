"""What a classic image becomes in a Legacy Converted Enhanced instance: functional groups (PS3.3 C.7.6.16.2).

Pure: elements of a source in, the elements of the items out. `get` returns the encoded element of one source, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dcmtx.dataset.compose import code_item, decimal, item, made, numbers, sequence, text, whole, words
from dcmtx.record import Record
from dcmtx.rules import legacy
from dcmtx.rules.legacy import GROUPS, Kind

Get = Callable[[int], bytes | None]
# A group's elements, and the tags of those that are not the source's own.
Group = tuple[dict[int, bytes], frozenset[int]]
_NONE: frozenset[int] = frozenset()
# PS3.5 6.2: an Integer String is less.
_LARGEST = 1 << 31
_REFORMATTED = {"MPR", "REFORMATTED", "PROJECTION IMAGE"}
_PROJECTED = {"MIP", "MAX_IP", "MINIP", "MIN_IP", "PROJECTION IMAGE"}


class Setting(Record):
    """What holds for all frames of an instance.

    `spacing` is that of a regular stack in mm, else None. `flat` says that planes are parallel. `stored` and `signed`
    are Bits Stored and Pixel Representation as written. `groups` are the functional groups that the instance has.
    """

    kind: Kind
    spacing: float | None
    flat: bool
    stored: int = 16
    signed: bool = False
    groups: tuple[int, ...] = ()


def groups_of(kind: Kind, some: Callable[[int], bool], every: Callable[[int], bool]) -> tuple[int, ...]:
    """Return the functional groups that take attributes, given what some and every source has (PS3.3 A.70 to A.72).

    That of anatomy is decided by `anatomy`.
    """
    found = [legacy.MEASURES, legacy.PLANE_POSITION, legacy.PLANE_ORIENTATION]
    if kind.wants or some(legacy.CENTER):
        found.append(legacy.WINDOW_GROUP)
    if kind.wants or some(legacy.INTERCEPT) or some(legacy.SLOPE):
        found.append(legacy.TRANSFORMATION)
    if kind.wants and every(legacy.EVENT):
        found.append(legacy.EVENT_GROUP)
    if some(legacy.REFERENCED_IMAGE):
        found.append(legacy.REFERENCED_IMAGE)
    if some(legacy.SOURCE_IMAGE) or some(legacy.DERIVATION_CODE):
        found.append(legacy.DERIVATION_IMAGE)
    return tuple(sorted(found))


def group(tag: int, get: Get, setting: Setting) -> Group:
    """Return the elements of a functional group for one source."""
    taken = {part: found for part in GROUPS[tag] if (found := get(part)) is not None}
    return _MAKERS.get(tag, _as_it_is)(taken, get, setting)


def encoded(tag: int, elements: dict[int, bytes]) -> bytes:
    """Return a functional group as it stands in an item: a sequence of one item, or the very sequence of the source."""
    if tag == legacy.REFERENCED_IMAGE:
        return elements[tag]
    if tag == legacy.DERIVATION_IMAGE and not elements:
        return sequence(tag)
    return sequence(tag, item(elements))


def _as_it_is(taken: dict[int, bytes], _get: Get, _setting: Setting) -> Group:
    return taken, _NONE


def _referenced(taken: dict[int, bytes], _get: Get, _setting: Setting) -> Group:
    if taken:
        return taken, _NONE
    tag = legacy.REFERENCED_IMAGE
    return {tag: sequence(tag)}, frozenset([tag])


def _measures(taken: dict[int, bytes], _get: Get, setting: Setting) -> Group:
    if setting.spacing is None:
        return taken, _NONE
    tag = legacy.SPACING_BETWEEN
    told = numbers(taken.get(tag))
    if told and abs(told[0] - setting.spacing) <= 0.01 * setting.spacing:
        return taken, _NONE
    return taken | {tag: made(tag, b"DS", decimal(round(setting.spacing, 6)))}, frozenset([tag])


def _transformation(taken: dict[int, bytes], get: Get, setting: Setting) -> Group:
    localizer = "LOCALIZER" in words(get(legacy.IMAGE_TYPE))
    unit = "HU" if setting.kind.name == "CT" and not localizer else "US"
    anew: dict[int, bytes] = {}
    for tag, vr, default in ((legacy.INTERCEPT, b"DS", "0"), (legacy.SLOPE, b"DS", "1")):
        if len(numbers(taken.get(tag))) != 1:
            anew[tag] = made(tag, vr, default)
    if text(taken.get(legacy.RESCALE_TYPE)) != unit:
        anew[legacy.RESCALE_TYPE] = made(legacy.RESCALE_TYPE, b"LO", unit)
    return taken | anew, frozenset(anew)


def _window(taken: dict[int, bytes], get: Get, setting: Setting) -> Group:
    centers, widths = numbers(taken.get(legacy.CENTER)), numbers(taken.get(legacy.WIDTH))
    if centers and len(centers) == len(widths):
        return taken, _NONE
    # All that the stored bits can say, after rescaling.
    slope = (numbers(get(legacy.SLOPE)) or (1.0,))[0]
    intercept = (numbers(get(legacy.INTERCEPT)) or (0.0,))[0]
    middle = 0 if setting.signed else 1 << (setting.stored - 1)
    anew = {
        legacy.CENTER: made(legacy.CENTER, b"DS", decimal(middle * slope + intercept)),
        legacy.WIDTH: made(legacy.WIDTH, b"DS", decimal((1 << setting.stored) * abs(slope))),
    }
    return anew, frozenset(GROUPS[legacy.WINDOW_GROUP])


_MAKERS: dict[int, Callable[[dict[int, bytes], Get, Setting], Group]] = {
    legacy.MEASURES: _measures,
    legacy.REFERENCED_IMAGE: _referenced,
    legacy.TRANSFORMATION: _transformation,
    legacy.WINDOW_GROUP: _window,
}


# --- anatomy -----------------------------------------------------------------------------------------------------


def anatomy(get: Get) -> Group | None:
    """Return the Frame Anatomy of one source; None where the part is not known, or the side of a part in a pair."""
    region = get(legacy.ANATOMY)
    part = legacy.BODY_PARTS.get(text(get(legacy.BODY_PART)).upper())
    side = text(get(legacy.IMAGE_LATERALITY)) or text(get(legacy.LATERALITY))
    side = side if side in ("R", "L", "B", "U") else ""
    if region is None and part is None:
        return None
    if not side:
        if part is None or part[2]:
            return None
        side = "U"
    laterality = {legacy.FRAME_LATERALITY: made(legacy.FRAME_LATERALITY, b"CS", side)}
    if region is not None:
        return laterality | {legacy.ANATOMY: region}, _NONE
    assert part is not None
    code = sequence(legacy.ANATOMY, code_item(part[0], "SCT", part[1]))
    return laterality | {legacy.ANATOMY: code}, frozenset([legacy.ANATOMY])


# --- frame types ---------------------------------------------------------------------------------------------------


class FrameType(Record):
    """The frame type of one source (PS3.3 C.8.16.1), and the other attributes of its macro."""

    values: tuple[str, str, str, str]
    volumetric: str
    calculation: str


def frame_type(get: Get, setting: Setting) -> FrameType:
    """Return what a frame is: original or not, a localizer, part of a volume."""
    said = words(get(legacy.IMAGE_TYPE))
    parts = set(said)
    original = not said or said[0] != "DERIVED"
    flavour = "VOLUME" if setting.spacing is not None else "PARALLEL" if setting.flat else "NON_PARALLEL"
    if "LOCALIZER" in parts:
        flavour = "LOCALIZER"
    technique = "NONE"
    if not original and parts & _PROJECTED:
        technique = "MAX_IP"
    elif not original and parts & _REFORMATTED:
        technique = "MPR"
    volumetric = "SAMPLED" if technique == "MAX_IP" else "DISTORTED" if "CURVED" in parts else "VOLUME"
    values = ("ORIGINAL" if original else "DERIVED", "PRIMARY", flavour, "NONE" if original else "")
    return FrameType(values, volumetric, technique)


def merged(types: set[FrameType]) -> FrameType:
    """Return the type of an instance with frames of these types: MIXED where they differ."""
    first = [_same({kind.values[place] for kind in types}) for place in range(4)]
    # Value 3 has no MIXED for frames that are parallel in a way; of Value 4, empty is said where any is.
    first[3] = "" if any(kind.values[3] == "" for kind in types) and first[0] != "ORIGINAL" else first[3]
    values = (first[0], first[1], first[2], first[3])
    return FrameType(values, _same({kind.volumetric for kind in types}), _same({kind.calculation for kind in types}))


def _same(found: set[str]) -> str:
    return next(iter(found)) if len(found) == 1 else "MIXED"


def type_elements(tag: int, kind: FrameType) -> dict[int, bytes]:
    """Return the elements of a type: `tag` is Frame Type (0008,9007) in a frame, Image Type (0008,0008) at top."""
    return {
        tag: made(tag, b"CS", "\\".join(kind.values)),
        legacy.PIXEL_PRESENTATION: made(legacy.PIXEL_PRESENTATION, b"CS", "MONOCHROME"),
        legacy.VOLUMETRIC: made(legacy.VOLUMETRIC, b"CS", kind.volumetric),
        legacy.CALCULATION: made(legacy.CALCULATION, b"CS", kind.calculation),
    }


# --- pixels --------------------------------------------------------------------------------------------------------


def raised(kind: Kind, allocated: int, stored: int) -> int | None:
    """Return the Bits Stored that the class allows for this many: the next, or None where there is none."""
    return min((bits for width, bits in kind.formats if width == allocated and bits >= stored), default=None)


def moment(get: Get) -> tuple[Any, ...]:
    """Return what sorts the images of one place in time."""
    position = numbers(get(legacy.TEMPORAL)) or (0.0,)
    clock = text(get(legacy.ACQUISITION_DATETIME)) or text(get(legacy.ACQUISITION_DATE)) + text(
        get(legacy.ACQUISITION_TIME)
    )
    echo = numbers(get(legacy.ECHO_TIME)) or (0.0,)
    trigger = numbers(get(legacy.TRIGGER_TIME)) or (0.0,)
    return position[0], clock, trigger[0], echo[0]


def acquired(get: Get) -> str:
    """Return when a frame was acquired, as the value of a DT, or nothing where that is not known."""
    whole_moment = text(get(legacy.ACQUISITION_DATETIME))
    day, clock = text(get(legacy.ACQUISITION_DATE)), text(get(legacy.ACQUISITION_TIME))
    return whole_moment or (day + clock if day and clock else "")


def number(get: Get) -> int:
    """Return Instance Number, 0 where there is none."""
    found = numbers(get(legacy.INSTANCE_NUMBER))
    return int(min(max(found[0], -_LARGEST), _LARGEST)) if found else 0


def is_signed(get: Get) -> bool:
    """Tell whether pixels are signed."""
    return whole(get(legacy.SIGN)) == 1
