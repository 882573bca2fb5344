"""Functional groups of an image of which a part is kept (PS3.3 C.7.6.16, C.7.6.17)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from dcmtx.dataset.dictionary import Context
from dcmtx.dataset.edit import Edit, Within
from dcmtx.dataset.element import element_bytes, tag_text
from dcmtx.dataset.encoding import append_item
from dcmtx.dataset.header import Header
from dcmtx.dataset.items import LEFT_OUT, Item, items_in, items_of
from dcmtx.dataset.rewriting import rewrite
from dcmtx.errors import RefusedError
from dcmtx.finding import Finding, Severity
from dcmtx.policy import Cut
from dcmtx.rules.apertures import APERTURES, shifted
from dcmtx.rules.derivation import EXTREMES, IMAGE_TYPE, derived_type
from dcmtx.rules.identity import part_uid
from dcmtx.rules.lossy import DERIVATION_IMAGES, FRAME_TYPE, has_items, mentions
from dcmtx.rules.objects import FUNCTIONAL_GROUPS
from dcmtx.rules.position import decimal_strings, moved, numbers
from dcmtx.syntax import Encoding

SHARED, PER_FRAME = FUNCTIONAL_GROUPS
_FRAME_CONTENT = 0x00209111
_INDICES, _STACK, _IN_STACK, _TIME = 0x00209157, 0x00209056, 0x00209057, 0x00209128
_DIMENSIONS, _POINTER = 0x00209222, 0x00209165
_ORGANIZATIONS, _ORGANIZATION = 0x00209221, 0x00209164
_SPACING_GROUP, _SPACING = 0x00289110, 0x00280030
_PLANE = (0x00209113, 0x00200032, 0x00209116, 0x00200037)
_VOLUME_PLANE = (0x0020930E, 0x00209301, 0x0020930F, 0x00209302)
FIELDS_OF_VIEW = (0x00181149, 0x00187030)
# Histograms, icons, and smallest and largest values, which are those of the whole image.
OF_THE_WHOLE = (0x00280104, 0x00280105, *EXTREMES, 0x00603000, 0x00880200)
# Groups of curves and overlays, where they are not those of the image itself.
DRAWN = frozenset([*range(0x5000, 0x5020, 2), *range(0x6000, 0x6020, 2)])


class Ranks:
    """New indices of the frames that are kept: each counts from 1, without gaps.

    In-Stack Positions, and the indices of a dimension that points at them, count in each stack.
    """

    def __init__(self, header: Header, cut: Cut) -> None:
        self._stacked = [
            item.value(_POINTER) in (b"\x20\x00\x57\x90", b"\x00\x20\x90\x57") for item in items_of(header, _DIMENSIONS)
        ]
        kept: dict[tuple[object, ...], set[int]] = {}
        self.places, self.kept_places = _Seen(), _Seen()
        for number, group in enumerate(items_of(header, PER_FRAME)):
            inside = cut.first <= number < (cut.end or 0)
            for item in items_in(header.reader, group, _FRAME_CONTENT):
                self.places.add(item)
                if inside:
                    self.kept_places.add(item)
                    for key, value in self._keyed(item):
                        kept.setdefault(key, set()).add(value)
        self._ranks = {
            key: {value: rank for rank, value in enumerate(sorted(values), 1)} for key, values in kept.items()
        }

    def _keyed(self, item: Item) -> Iterator[tuple[tuple[object, ...], int]]:
        """Yield the indices of a frame, each with what it counts in."""
        stack = item.text(_STACK)
        for place, value in enumerate(_longs(item, _INDICES)):
            stacked = place < len(self._stacked) and self._stacked[place]
            yield (_INDICES, place, stack if stacked else ""), value
        for value in _longs(item, _IN_STACK):
            yield (_IN_STACK, stack), value
        for value in _longs(item, _TIME):
            yield (_TIME,), value

    def __call__(self, item: Item, target: Encoding) -> dict[int, bytes]:
        """Return the new indices of a frame's content."""
        made: dict[int, list[int]] = {}
        for key, value in self._keyed(item):
            made.setdefault(int(str(key[0])), []).append(self._ranks.get(key, {}).get(value, value))
        return {
            tag: element_bytes(tag, b"UL", struct.pack(f"<{len(values)}I", *values), target)
            for tag, values in made.items()
        }


class _Seen:
    """The places of frames in space and in time."""

    def __init__(self) -> None:
        self.spaces: set[object] = set()
        self.times: set[int] = set()

    def add(self, item: Item) -> None:
        """Account for the content of a frame."""
        self.spaces.add((item.text(_STACK), *_longs(item, _IN_STACK)))
        self.times.update(_longs(item, _TIME))


def _longs(item: Item, tag: int) -> list[int]:
    value = item.value(tag)
    order = ">" if item.encoding.big_endian else "<"
    return list(struct.unpack(f"{order}{len(value) // 4}I", value[: len(value) // 4 * 4]))


class CutGroups:
    """A change inside sequences: groups of frames that are left out go, and the others say what is true of the part.

    `derivation` returns the item of Derivation Image for the frame of this number, or for all with None.
    """

    def __init__(
        self,
        header: Header,
        cut: Cut,
        target: Encoding,
        *,
        ranks: Ranks | None,
        derivation: Callable[[int | None], bytes],
    ) -> None:
        self._header = header
        self._cut = cut
        self._target = target
        self._ranks = ranks
        self._derivation = derivation
        self._home = home(header)
        self._moves = bool(cut.top or cut.left)
        self._shared = next(items_of(header, SHARED), None)
        self._group: Item | None = None
        self._lost: set[int] = set()

    def __call__(self, item: Item) -> dict[int, bytes]:
        """Return what changes in an item."""
        made: dict[int, bytes] = {}
        if len(item.path) > 2 or item.path[0] not in FUNCTIONAL_GROUPS:
            return made
        if len(item.path) == 1:
            return self._of_group(item)
        for plane, vr in ((_PLANE, b"DS"), (_VOLUME_PLANE, b"FD")):
            if self._moves and item.path[1] == plane[0] and item.value(plane[1]):
                made[plane[1]] = element_bytes(plane[1], vr, self._moved(item, plane, vr), self._target)
        if item.path[1] == _FRAME_CONTENT and self._ranks is not None:
            made |= self._ranks(item, self._target)
        # Attributes of the images that a Legacy Converted Enhanced one was made of have Image Type too.
        for tag in (FRAME_TYPE, IMAGE_TYPE):
            derived = derived_type(item.value(tag))
            if derived is not None:
                made[tag] = element_bytes(tag, b"CS", derived, self._target)
        return made | self._of_pixels(item)

    def describe(self) -> str:
        """Return the change in a few words."""
        return "functional groups are those of the part"

    def notes(self) -> tuple[Finding, ...]:
        """Return a note on what was left out of groups, once they were changed."""
        return left_out(self._lost)

    def _of_group(self, item: Item) -> dict[int, bytes]:
        per_frame, cut = item.path[0] == PER_FRAME, self._cut
        if per_frame and not cut.first <= item.index < (cut.end or 0):
            return LEFT_OUT
        self._group = item
        if item.path[0] != self._home:
            return {}
        part, old = item.find(DERIVATION_IMAGES), b""
        if part is not None:
            old = rewrite(item.buffer[part.start : part.end], item.encoding, self._target, Context())
        new = self._derivation(item.index if per_frame else None)
        return {DERIVATION_IMAGES: append_item(old, DERIVATION_IMAGES, new, self._target)}

    def _of_pixels(self, item: Item) -> dict[int, bytes]:
        """Return the changes of what is said in pixels: shutters and collimators; what is not true any more goes."""
        made: dict[int, bytes] = {}
        for base in APERTURES:
            for tag, text in shifted(base, item.text, self._cut).items():
                if text is not None:
                    vr = b"CS" if tag == base else b"IS"
                    made[tag] = element_bytes(tag, vr, text.encode("ascii"), self._target)
                elif item.find(tag) is not None:
                    made[tag] = b""
        for part in item.parts:
            drawn = part.tag >> 16 in DRAWN
            if drawn or part.tag in OF_THE_WHOLE or part.tag in FIELDS_OF_VIEW:
                made[part.tag] = b""
            if drawn or part.tag in FIELDS_OF_VIEW:
                self._lost.add(part.tag)
        return made

    def _moved(self, item: Item, plane: tuple[int, int, int, int], vr: bytes) -> bytes:
        _, position, home, orientation = plane
        places = _decimals(item, position, vr, 3)
        cosines = self._beside(home, orientation, vr, 6)
        spacing = self._beside(_SPACING_GROUP, _SPACING, b"DS", 2)
        if places is None or cosines is None or spacing is None:
            raise unplaced()
        values = moved(places, cosines, spacing, self._cut)
        return decimal_strings(values) if vr == b"DS" else struct.pack("<3d", *map(float, values))

    def _beside(self, home: int, tag: int, vr: bytes, count: int) -> tuple[Decimal, ...] | None:
        """Return the numbers of another group of the same frame, or of the shared ones."""
        for group in (self._group, self._shared):
            if group is not None:
                for item in items_in(self._header.reader, group, home):
                    return _decimals(item, tag, vr, count)
        return None


def _decimals(item: Item, tag: int, vr: bytes, count: int) -> tuple[Decimal, ...] | None:
    if vr == b"DS":
        return numbers(item.text(tag), count)
    value = item.value(tag)
    if len(value) != 8 * count:
        return None
    return tuple(map(Decimal, struct.unpack((">" if item.encoding.big_endian else "<") + f"{count}d", value)))


def left_out(tags: Iterable[int]) -> tuple[Finding, ...]:
    """Return a note on what was removed, because nothing tells how it would have to change."""
    lost = sorted(set(tags))
    if not lost:
        return ()
    names = ", ".join(map(tag_text, lost))
    text = f"left out {names}: not true of the part, and nothing tells what would be"
    return (Finding("N_CROP", text, Severity.WARNING, tag=lost[0]),)


def unplaced() -> RefusedError:
    """Return the error of an image with a position that cannot be moved."""
    return RefusedError(
        "it has a position in the patient without orientation and spacing, so that the part's position is not known",
        advice="correct or remove Image Position (0020,0032) first",
        code="E_IOD",
        tag=_PLANE[1],
    )


def home(header: Header) -> int | None:
    """Return the sequence of functional groups that tells what each frame was made from, or None.

    A functional group is shared or per frame, never both (PS3.3 C.7.6.16.1.1): per frame, unless it is shared already.
    """
    if mentions(header, SHARED, DERIVATION_IMAGES):
        return SHARED
    return next((place for place in (PER_FRAME, SHARED) if has_items(header, place)), None)


class NewOrganizations:
    """A change inside sequences: dimensions whose indices were counted anew are those of no other image.

    The same Dimension Organization UID would say that indices of the part and of the whole may be compared
    (PS3.3 C.7.6.17.2).
    """

    def __init__(self, name: str, target: Encoding) -> None:
        self._name = name
        self._target = target

    def __call__(self, item: Item) -> dict[int, bytes]:
        """Return what changes in an item."""
        old = item.text(_ORGANIZATION) if len(item.path) == 1 else ""
        if not old:
            return {}
        new = part_uid(old, self._name)
        return {_ORGANIZATION: element_bytes(_ORGANIZATION, b"UI", new.encode("ascii"), self._target)}

    def describe(self) -> str:
        """Return the change in a few words."""
        return "dimensions are those of the part"


def group_edits(header: Header, change: CutGroups, organizations: NewOrganizations | None) -> dict[int, Edit]:
    """Return the edits of functional groups, and of dimensions."""
    edits: dict[int, Edit] = {tag: Within(tag, (change,)) for tag in FUNCTIONAL_GROUPS if tag in header}
    if organizations is not None:
        edits |= {tag: Within(tag, (organizations,)) for tag in (_ORGANIZATIONS, _DIMENSIONS) if tag in header}
    return edits
