"""What must be known of all sources before the first element of an instance is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from hashlib import sha256

from dcmtx.dataset.compose import items_within, numbers, text
from dcmtx.errors import InputError
from dcmtx.finding import Finding
from dcmtx.record import Record
from dcmtx.rules import enhancing, legacy
from dcmtx.rules.enhancing import FrameType, Setting
from dcmtx.rules.geometry import TIE_BITS, Arrangement, Plane, normal
from dcmtx.rules.legacy import GROUPS, Kind
from dcmtx.series.gathering import Gathered

# The normal of two cosines at right angles is 1 long; scanners round.
_SHORTEST = 0.99
# Of instances that may be referred to, by SOP Instance UID: the study, the series and the class.
Homes = Mapping[str, tuple[str, str, str]]


def plane_of(header: Mapping[int, bytes], path: str) -> Plane:
    """Return where a source lies. Raises InputError, E_GEOMETRY, where it does not say."""
    get = header.get
    position, orientation = numbers(get(legacy.POSITION)), numbers(get(legacy.ORIENTATION))
    if len(position) != 3 or len(orientation) != 6:
        name = "Image Orientation (0020,0037)" if len(position) == 3 else "Image Position (0020,0032)"
        raise InputError(f"it has no {name} (Patient), and so no place in a volume", code="E_GEOMETRY", path=path)
    if not _SHORTEST < math.hypot(*normal(orientation)) < 2 - _SHORTEST:
        raise InputError(
            "its Image Orientation (0020,0037) (Patient) is none: rows and columns are not at right angles",
            code="E_GEOMETRY",
            path=path,
        )
    tie = int.from_bytes(sha256(text(get(legacy.SOP_INSTANCE)).encode("latin-1")).digest()[: TIE_BITS // 8], "big")
    return Plane(position, orientation, enhancing.moment(get), number=enhancing.number(get) << TIE_BITS | tie)


class Facts(Record):
    """What is known of an instance before its first element is written."""

    kind: Kind
    stored: int
    arrangement: Arrangement
    instance: str
    series: str
    homes: Homes
    created: str
    number: int = 1


class Look:
    """What a look at all sources has found.

    `setting` holds for all frames; `each` are the groups that stand in every frame. `made` has the attributes that any
    group does not take as they are. `types` are the frame types; `anatomy` says that there is a Frame Anatomy, and
    `anatomy_varies` that it stands in every frame. `lossy` tells of every frame whether it is; `firsts` has the
    earliest date and time by the tag of the date; `cited` the instances that a sequence refers to, and their classes.
    """

    def __init__(self, gathered: Gathered, facts: Facts) -> None:
        self._gathered = gathered
        self.shared = gathered.shared
        self.order = facts.arrangement.order
        self.notes: list[Finding] = []
        self.setting = Setting(
            facts.kind,
            facts.arrangement.spacing,
            not facts.arrangement.several_stacks,
            stored=facts.stored,
            signed=enhancing.is_signed(gathered.reference.get),
            groups=enhancing.groups_of(facts.kind, self.some, self._in_every),
        )
        self.made: set[int] = set()
        self.types: set[FrameType] = set()
        self.anatomy = False
        self.lossy: set[bool] = set()
        self.firsts: dict[int, str] = {}
        self.cited: dict[int, dict[str, str]] = {}
        self._look()

    def _in_every(self, tag: int) -> bool:
        if tag not in self._gathered.varying:
            return tag in self.shared
        return all(tag in self._gathered.own(index) for index in range(len(self._gathered.sources)))

    def _look(self) -> None:
        """Find what is made for any frame, what frames there are, and whom they refer to."""
        varying = self._gathered.varying
        self.each = {tag for tag in self.setting.groups if self._is_per_frame(tag)}
        anatomies: set[bool] = set()
        self.anatomy_varies = bool(
            varying & {legacy.ANATOMY, legacy.BODY_PART, legacy.LATERALITY, legacy.IMAGE_LATERALITY}
        )
        for index in self.order:
            own = self._gathered.own(index)
            get = self.getter(own)
            for tag in self.setting.groups:
                if tag in self.each or index == self.order[0]:
                    self.made |= enhancing.group(tag, get, self.setting)[1]
            self.types.add(enhancing.frame_type(get, self.setting))
            anatomy = enhancing.anatomy(get)
            anatomies.add(anatomy is not None)
            if anatomy is not None:
                self.made |= anatomy[1]
            self.lossy.add(self._gathered.sources[index].lossy or text(get(legacy.LOSSY)) == "01")
            self._remember(get)
        self.anatomy = anatomies == {True}
        if not self.anatomy:
            self.made.discard(legacy.ANATOMY)
            if any(self.some(tag) for tag in (legacy.ANATOMY, legacy.BODY_PART)):
                self.notes.append(
                    Finding("N_ANATOMY", "the part of the body, or its side, is not known of all: no Frame Anatomy")
                )

    def some(self, tag: int) -> bool:
        """Tell whether any source has an attribute."""
        return tag in self._gathered.reference or tag in self._gathered.varying

    def _is_per_frame(self, group: int) -> bool:
        needs = set(GROUPS[group])
        if group == legacy.TRANSFORMATION:
            needs.add(legacy.IMAGE_TYPE)
        if group == legacy.WINDOW_GROUP:
            needs |= {legacy.SLOPE, legacy.INTERCEPT} if self._lacks_windows() else set()
        return bool(needs & self._gathered.varying)

    def _lacks_windows(self) -> bool:
        return not all(self._in_every(tag) for tag in (legacy.CENTER, legacy.WIDTH))

    def getter(self, own: Mapping[int, bytes]) -> Callable[[int], bytes | None]:
        """Return what gets the elements of a source, given its own."""
        shared = self.shared

        def get(tag: int) -> bytes | None:
            return own.get(tag) or shared.get(tag)

        return get

    def _remember(self, get: Callable[[int], bytes | None]) -> None:
        """Keep the earliest dates, and whom a source refers to."""
        for day, clock in ((legacy.SERIES_DATE, legacy.SERIES_TIME), (legacy.CONTENT_DATE, legacy.CONTENT_TIME)):
            moment = f"{text(get(day)):8.8}{text(get(clock))}"
            if moment.strip() and (day not in self.firsts or moment < self.firsts[day]):
                self.firsts[day] = moment
        for tag in (legacy.REFERENCED_IMAGE, legacy.SOURCE_IMAGE):
            group = legacy.REFERENCED_IMAGE if tag == legacy.REFERENCED_IMAGE else legacy.DERIVATION_IMAGE
            if group in self.setting.groups:
                for part in items_within(get(tag)):
                    instance = text(part.get(legacy.REFERENCED_INSTANCE))
                    if instance:
                        self.cited.setdefault(tag, {})[instance] = text(part.get(legacy.REFERENCED_CLASS))
