"""Attributes of frames at top level, once some frames are left out: vectors, numbers of frames, masks."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from decimal import Decimal

from dcmtx.dataset.edit import Edit, Remove, Set, Within
from dcmtx.dataset.element import element_bytes, swap
from dcmtx.dataset.header import Header
from dcmtx.dataset.items import LEFT_OUT, Item, items_of
from dcmtx.policy import Cut
from dcmtx.record import Record
from dcmtx.rules.image import NUMBER_OF_FRAMES
from dcmtx.rules.position import decimal_strings, normal, numbers
from dcmtx.syntax import Encoding

FRAME_TIME, FRAME_TIME_VECTOR = 0x00181063, 0x00181065
_R_WAVES = 0x00186060
_OFFSETS = 0x3004000C
POSITION, ORIENTATION = 0x00200032, 0x00200037
# One value for each frame: text, and numbers by their width.
_TEXT_VECTORS = {
    FRAME_TIME_VECTOR: b"DS", 0x00182001: b"IS", 0x00182002: b"SH", 0x00182003: b"DS", 0x00182004: b"DS",
    0x00182005: b"DS", 0x00182006: b"SH", _OFFSETS: b"DS",
}  # fmt: skip
# Energy window, detector, phase, rotation, R-R interval, time slot, slice, angular view, time slice.
_NUMBER_VECTORS = tuple(0x00540000 | number for number in (0x10, 0x20, 0x30, 0x50, 0x60, 0x70, 0x80, 0x90, 0x100))
_SLICE_VECTOR, _SPACING_BETWEEN_SLICES = 0x00540080, 0x00180088
_START_TRIM, _STOP_TRIM = 0x00082142, 0x00082143
_REPRESENTATIVE = 0x00286010
_INTERESTING = (0x00286020, 0x00286022, 0x00286023)
_RETIRED_MASK_POINTER = 0x00286030
MASKS, _VIEWING_MODE = 0x00286100, 0x00281090
_RANGE, _MASK_FRAMES = 0x00286102, 0x00286110
# A part is no part of a concatenation: its UID, the source's, the number of this part, of all, and where it begins.
_CONCATENATION = (0x00200242, 0x00209161, 0x00209162, 0x00209163, 0x00209228)


class Change(Record):
    """Edits, and the tags of what was removed because it cannot be told any more."""

    edits: dict[int, Edit]
    lost: tuple[int, ...] = ()


def frame_edits(header: Header, cut: Cut, frames: int, target: Encoding) -> Change:
    """Return what changes at top level where only some of `frames` are kept."""
    edits: dict[int, Edit] = {}
    lost: list[int] = []
    if NUMBER_OF_FRAMES in header:
        edits[NUMBER_OF_FRAMES] = Set(NUMBER_OF_FRAMES, b"IS", str(cut.frames).encode("ascii"))
    for tag, edit in (*_vectors(header, cut, frames), *_r_waves(header, cut, frames), *_single(header, cut)):
        edits[tag] = edit
        if isinstance(edit, Remove):
            lost.append(tag)
    edits |= _interesting(header, cut) | _offsets(header, edits) | _masks(header, cut, target)
    edits |= {tag: Remove(tag) for tag in (*_CONCATENATION, _RETIRED_MASK_POINTER) if tag in header}
    return Change(edits, tuple(lost))


def _vectors(header: Header, cut: Cut, frames: int) -> Iterator[tuple[int, Edit]]:
    """Yield vectors of the frames that are kept. One that has not a value for each frame cannot be cut, and goes."""
    for tag, vr in _TEXT_VECTORS.items():
        if tag not in header:
            continue
        values = header.value(tag).rstrip(b" \0").split(b"\\")
        if len(values) != frames:
            yield tag, Remove(tag)
            continue
        kept = values[cut.first : cut.end]
        if tag == FRAME_TIME_VECTOR:
            # PS3.3 C.7.6.5.1.2: the increment of the first frame is 0.
            kept[0] = b"0"
        yield tag, Set(tag, vr, b"\\".join(kept))
    for tag in _NUMBER_VECTORS:
        if tag not in header:
            continue
        data = _little(header, tag, 2)
        whole = len(data) == 2 * frames
        yield tag, Set(tag, b"US", data[2 * cut.first : 2 * (cut.end or 0)]) if whole else Remove(tag)


def _little(header: Header, tag: int, width: int) -> bytes:
    """Return a value of numbers in little endian."""
    value = header.value(tag)
    return swap(value, width) if header.encoding.big_endian else value


def _times(header: Header, frames: int) -> list[Decimal] | None:
    """Return when each frame begins, in milliseconds from the first, and when the last ends; None if unknown."""
    step = numbers(header.text(FRAME_TIME), 1)
    if step is not None:
        return [step[0] * number for number in range(frames + 1)]
    steps = numbers(header.text(FRAME_TIME_VECTOR), frames)
    if steps is None:
        return None
    times, now = [], Decimal(0)
    for number, value in enumerate(steps):
        now += value if number else 0
        times.append(now)
    return [*times, now + steps[-1]]


def _r_waves(header: Header, cut: Cut, frames: int) -> Iterator[tuple[int, Edit]]:
    """Yield the R waves in the frames that are kept, in milliseconds from the first of them."""
    if _R_WAVES not in header:
        return
    data, times = _little(header, _R_WAVES, 4), _times(header, frames)
    if times is None or len(data) % 4:
        yield _R_WAVES, Remove(_R_WAVES)
        return
    start, end = float(times[cut.first]), float(times[cut.end or 0])
    waves = [wave - start for (wave,) in struct.iter_unpack("<f", data) if start <= wave <= end]
    yield _R_WAVES, Set(_R_WAVES, b"FL", struct.pack(f"<{len(waves)}f", *waves)) if waves else Remove(_R_WAVES)


def _single(header: Header, cut: Cut) -> Iterator[tuple[int, Edit]]:
    """Yield the numbers of single frames, counted from 1."""
    start, stop = _frame(header, _START_TRIM), _frame(header, _STOP_TRIM)
    low = 1 if start is None else max(start - cut.first, 1)
    high = cut.frames if stop is None else min(stop - cut.first, cut.frames)
    for tag, value in ((_START_TRIM, low), (_STOP_TRIM, high)):
        if tag in header:
            # What was trimmed away may be all that is kept: then nothing is trimmed.
            yield tag, Set(tag, b"IS", str(value).encode("ascii")) if low <= high else Remove(tag)
    if _REPRESENTATIVE in header:
        value = (header.number(_REPRESENTATIVE) or 0) - cut.first
        kept = 1 <= value <= cut.frames
        yield (
            _REPRESENTATIVE,
            Set(_REPRESENTATIVE, b"US", struct.pack("<H", value)) if kept else Remove(_REPRESENTATIVE),
        )


def _frame(header: Header, tag: int) -> int | None:
    text = header.text(tag)
    return int(text) if text.isdecimal() else None


def _interesting(header: Header, cut: Cut) -> dict[int, Edit]:
    """Return the edits of frames of interest, with what is said of each."""
    where, *beside = _INTERESTING
    if where not in header:
        return {}
    data = _little(header, where, 2)
    found = [int.from_bytes(data[place : place + 2], "little") for place in range(0, len(data) - 1, 2)]
    kept = [place for place, number in enumerate(found) if cut.first < number <= (cut.end or 0)]
    if not kept:
        return {tag: Remove(tag) for tag in _INTERESTING if tag in header}
    values = b"".join(struct.pack("<H", found[place] - cut.first) for place in kept)
    edits: dict[int, Edit] = {where: Set(where, b"US", values)}
    for tag, vr in zip(beside, (b"ST", b"CS"), strict=True):
        if tag in header:
            said = header.value(tag).rstrip(b" \0").split(b"\\")
            whole = len(said) == len(found)
            edits[tag] = Set(tag, vr, b"\\".join(said[place] for place in kept)) if whole else Remove(tag)
    return edits


def _offsets(header: Header, made: dict[int, Edit]) -> dict[int, Edit]:
    """Return the edits of offsets that count from the first frame, which is another one (PS3.3 C.8.8.3.2).

    Where they begin at 0, they are along the normal; else they are places of the patient, and stay. The caller moves
    Image Position with the first frame.
    """
    edit = made.get(_OFFSETS)
    if not isinstance(edit, Set):
        return {}
    text = edit.value.decode("latin-1")
    values = numbers(text, text.count("\\") + 1)
    if values is None or not _is_relative(header):
        return {}
    return {_OFFSETS: Set(_OFFSETS, b"DS", decimal_strings([value - values[0] for value in values]))}


def _is_relative(header: Header) -> bool:
    first = numbers(header.text(_OFFSETS).partition("\\")[0], 1)
    return first is not None and not first[0]


def along_normal(header: Header, cut: Cut) -> list[Decimal]:
    """Return how far the first frame that is kept lies from the first of all: zeros where nothing tells."""
    orientation = numbers(header.text(ORIENTATION), 6)
    values = header.text(_OFFSETS).split("\\")
    if not cut.first or orientation is None or len(values) <= cut.first:
        return [Decimal(0)] * 3
    ends = numbers("\\".join([values[0], values[cut.first]]), 2)
    return [Decimal(0)] * 3 if ends is None else [(ends[1] - ends[0]) * along for along in normal(orientation)]


def slices_before(header: Header, cut: Cut) -> Decimal | None:
    """Return how far the first slice that is kept lies behind the first of all, in nuclear medicine; None if unknown.

    PS3.3 C.8.4.15: a positive Spacing Between Slices is along the normal.
    """
    data = _little(header, _SLICE_VECTOR, 2)
    if not cut.first or len(data) <= 2 * cut.first:
        return Decimal(0)
    slices = struct.unpack_from("<H", data)[0], struct.unpack_from("<H", data, 2 * cut.first)[0]
    step = numbers(header.text(_SPACING_BETWEEN_SLICES), 1)
    if slices[0] == slices[1]:
        return Decimal(0)
    return None if step is None else (slices[1] - slices[0]) * step[0]


class CutMasks:
    """A change inside sequences: numbers of mask frames, and of frames that a mask is for, counted from 1."""

    def __init__(self, cut: Cut, target: Encoding) -> None:
        self._cut = cut
        self._target = target

    def __call__(self, item: Item) -> dict[int, bytes]:
        """Return what changes in an item."""
        if item.path != (MASKS,):
            return {}
        cut, made = self._cut, {}
        frames, ranges = _words(item, _MASK_FRAMES), _words(item, _RANGE)
        if frames:
            kept = [number - cut.first for number in frames if cut.first < number <= (cut.end or 0)]
            if not kept:
                return LEFT_OUT
            made[_MASK_FRAMES] = self._encoded(_MASK_FRAMES, kept)
        if ranges:
            pairs = [
                (max(low - cut.first, 1), min(high - cut.first, cut.frames))
                for low, high in zip(ranges[::2], ranges[1::2], strict=False)
            ]
            spans = [number for low, high in pairs if low <= high for number in (low, high)]
            if not spans:
                return LEFT_OUT
            made[_RANGE] = self._encoded(_RANGE, spans)
        return made

    def _encoded(self, tag: int, values: list[int]) -> bytes:
        return element_bytes(tag, b"US", struct.pack(f"<{len(values)}H", *values), self._target)

    def describe(self) -> str:
        """Return the change in a few words."""
        return "numbers of frames are shifted"


def _words(item: Item, tag: int) -> list[int]:
    value = item.value(tag)
    return [
        int.from_bytes(value[place : place + 2], "big" if item.encoding.big_endian else "little")
        for place in range(0, len(value) - 1, 2)
    ]


def _masks(header: Header, cut: Cut, target: Encoding) -> dict[int, Edit]:
    """Return the edits of masks; with the last, the recommendation to subtract one goes."""
    if MASKS not in header:
        return {}
    change = CutMasks(cut, target)
    if any(change(item) is not LEFT_OUT for item in items_of(header, MASKS)):
        return {MASKS: Within(MASKS, (change,))}
    return {tag: Remove(tag) for tag in (MASKS, _VIEWING_MODE) if tag in header}
