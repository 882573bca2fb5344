"""The data set of a Legacy Converted Enhanced instance, written to a temporary file, a frame at a time."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping

from dcmtx.dataset.compose import (
    code_item, item, items_within, made, numbers, sequence, tags_value, text, whole,
)  # fmt: skip
from dcmtx.dataset.element import element_header
from dcmtx.errors import InputError, RefusedError
from dcmtx.finding import Finding, Severity
from dcmtx.place.bytes import FileBytes, Spool
from dcmtx.record import Record
from dcmtx.rules import enhancing, legacy
from dcmtx.rules.enhancing import FrameType, Setting
from dcmtx.rules.geometry import Arrangement, Plane
from dcmtx.rules.legacy import GROUPS, Kind
from dcmtx.series.gathering import Gathered, creator
from dcmtx.syntax import EXPLICIT_LITTLE

_NAMESPACE = uuid.UUID("0d8a3d5c-6f0e-5b43-8e0c-6d1c8f1c2f57")
_LONGEST = 0xFFFFFFFE
CONVERSION_CODE = ("109106", "DCM", "Enhanced Multi-frame Conversion Equipment")
_ENHANCED_TEXT = "Legacy Enhanced Image created from Classic Images"
# Of two series that name a study and a series each, by instance: the study, the series and the class.
Homes = Mapping[str, tuple[str, str, str]]


def derived_uid(*parts: str) -> str:
    """Return the UID that these words make, always the same (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, ' '.join(parts)).int}"


def plane_of(header: Mapping[int, bytes], path: str) -> Plane:
    """Return where a source lies. Raises InputError, E_GEOMETRY, where it does not say."""
    get = header.get
    position, orientation = numbers(get(legacy.POSITION)), numbers(get(legacy.ORIENTATION))
    if len(position) != 3 or len(orientation) != 6:
        name = "Image Orientation (0020,0037)" if len(position) == 3 else "Image Position (0020,0032)"
        raise InputError(
            f"it has no {name} (Patient), and so no place in a volume", code="E_GEOMETRY", path=path
        )
    return Plane(
        position, orientation, enhancing.moment(get), number=(enhancing.number(get), text(get(legacy.SOP_INSTANCE)))
    )


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
    provenance: bool = True


class Builder:
    """Builds one instance of gathered sources."""

    def __init__(self, gathered: Gathered, facts: Facts) -> None:
        self._gathered = gathered
        self._facts = facts
        self._shared = gathered.shared
        self.notes: list[Finding] = []
        some = (set(gathered.reference) | gathered.varying).__contains__
        self._setting = Setting(
            facts.kind,
            facts.arrangement.spacing,
            not facts.arrangement.several_stacks,
            stored=facts.stored,
            signed=enhancing.padding_signed(gathered.reference.get),
            groups=enhancing.groups_of(facts.kind, some, self._in_every),
        )
        self._made: set[int] = set()
        self._added: set[int] = set()
        self._types: set[FrameType] = set()
        self._anatomy = False
        self._lossy: set[bool] = set()
        self._firsts: dict[int, str] = {}
        self._cited: dict[int, dict[str, str]] = {}
        self._look()

    @property
    def sources(self) -> list[int]:
        """The sources in the order of the frames."""
        return self._facts.arrangement.order

    def _in_every(self, tag: int) -> bool:
        if tag not in self._gathered.varying:
            return tag in self._shared
        return all(tag in self._gathered.own(index) for index in range(len(self._gathered.sources)))

    # --- before the first frame ------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Find what is made for any frame, what frames there are, and whom they refer to."""
        varying = self._gathered.varying
        self._each = {tag for tag in self._setting.groups if self._is_per_frame(tag)}
        self._type_varies = legacy.IMAGE_TYPE in varying
        anatomies: set[bool] = set()
        self._anatomy_varies = bool(
            varying & {legacy.ANATOMY, legacy.BODY_PART, legacy.LATERALITY, legacy.IMAGE_LATERALITY}
        )
        for index in self.sources:
            own = self._gathered.own(index)
            get = self._getter(own)
            for tag in self._setting.groups:
                if tag in self._each or index == self.sources[0]:
                    self._made |= enhancing.group(tag, get, self._setting)[1]
            self._types.add(enhancing.frame_type(get, self._setting))
            anatomy = enhancing.anatomy(get)
            anatomies.add(anatomy is not None)
            if anatomy is not None:
                self._made |= anatomy[1]
            self._lossy.add(self._gathered.sources[index].lossy or text(get(legacy.LOSSY)) == "01")
            self._remember(get)
        self._anatomy = anatomies == {True}
        if not self._anatomy:
            self._made.discard(legacy.ANATOMY)
            if any(self._some(tag) for tag in (legacy.ANATOMY, legacy.BODY_PART)):
                self.notes.append(
                    Finding("N_ANATOMY", "the part of the body, or its side, is not known of all: no Frame Anatomy")
                )

    def _some(self, tag: int) -> bool:
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

    def _getter(self, own: Mapping[int, bytes]) -> Callable[[int], bytes | None]:
        shared = self._shared

        def get(tag: int) -> bytes | None:
            return own.get(tag) or shared.get(tag)

        return get

    def _remember(self, get: Callable[[int], bytes | None]) -> None:
        """Keep the earliest dates, and whom a source refers to."""
        for day, clock in ((legacy.SERIES_DATE, legacy.SERIES_TIME), (legacy.CONTENT_DATE, legacy.CONTENT_TIME)):
            moment = f"{text(get(day)):8.8}{text(get(clock))}"
            if moment.strip() and (day not in self._firsts or moment < self._firsts[day]):
                self._firsts[day] = moment
        for tag in (legacy.REFERENCED_IMAGE, legacy.SOURCE_IMAGE):
            group = legacy.REFERENCED_IMAGE if tag == legacy.REFERENCED_IMAGE else legacy.DERIVATION_IMAGE
            if group in self._setting.groups:
                for part in items_within(get(tag)):
                    instance = text(part.get(legacy.REFERENCED_INSTANCE))
                    if instance:
                        self._cited.setdefault(tag, {})[instance] = text(part.get(legacy.REFERENCED_CLASS))

    # --- top level -----------------------------------------------------------------------------------------------

    def _top(self) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """Return the elements of the top level but for the frames, and the shared unassigned ones."""
        kind, taken = self._facts.kind, self._taken()
        top: dict[int, bytes] = {}
        unassigned: dict[int, bytes] = {}
        for tag, element in self._shared.items():
            if tag in (legacy.SOP_CLASS, legacy.SOP_INSTANCE):
                continue
            if self._may_stand(tag, element) and legacy.stands_at_top(tag, kind):
                top[tag] = element
            elif tag not in taken or tag in self._made:
                unassigned[tag] = element
        self._complete(top)
        return top, unassigned

    def _taken(self) -> set[int]:
        groups = [*self._setting.groups, *([legacy.ANATOMY_GROUP] if self._anatomy else [])]
        return {part for group in groups for part in GROUPS[group]}

    def _may_stand(self, tag: int, element: bytes) -> bool:
        if tag == legacy.LATERALITY and self._anatomy:
            return False
        if tag in (legacy.STORED, legacy.HIGH_BIT):
            return self._shared_stored() == self._facts.stored
        if tag == legacy.LOSSY:
            return (text(element) == "01") == (True in self._lossy)
        if tag == legacy.BURNED_IN and text(element) != "NO":
            self.notes.append(
                Finding("N_BURNED_IN", "Burned In Annotation is not NO; it is an unassigned attribute", Severity.WARNING)
            )
            return False
        return True

    def _shared_stored(self) -> int:
        return whole(self._shared.get(legacy.STORED)) if legacy.STORED in self._shared else 0

    def _complete(self, top: dict[int, bytes]) -> None:
        """Add what is made anew, and what is mandatory and absent."""
        facts, count = self._facts, len(self.sources)

        def put(tag: int, vr: bytes, value: bytes | str) -> None:
            top[tag] = made(tag, vr, value)

        def add(tag: int, vr: bytes, value: bytes | str) -> None:
            put(tag, vr, value)
            self._added.add(tag)

        put(legacy.SOP_CLASS, b"UI", facts.kind.enhanced)
        put(legacy.SOP_INSTANCE, b"UI", facts.instance)
        put(legacy.SERIES, b"UI", facts.series)
        put(legacy.INSTANCE_NUMBER, b"IS", str(facts.number))
        put(legacy.FRAMES, b"IS", str(count))
        put(legacy.LUT_SHAPE, b"CS", "IDENTITY")
        put(0x00080012, b"DA", facts.created[:8])
        put(0x00080013, b"TM", facts.created[8:])
        top.update(enhancing.type_elements(legacy.IMAGE_TYPE, enhancing.merged(self._types)))
        content = self._firsts.get(legacy.CONTENT_DATE) or self._firsts.get(legacy.SERIES_DATE) or ""
        study = text(self._shared.get(legacy.STUDY_DATE)) or facts.created[:8]
        put(legacy.CONTENT_DATE, b"DA", content[:8].strip() or study)
        put(legacy.CONTENT_TIME, b"TM", content[8:] or text(self._shared.get(legacy.STUDY_TIME)) or "000000")
        if facts.kind.name == "PET":
            put(legacy.QUALIFICATION, b"CS", "RESEARCH")
        for day, clock in ((legacy.SERIES_DATE, legacy.SERIES_TIME),):
            if day in self._firsts and not (day in top and clock in top):
                for tag, vr, value in ((day, b"DA", self._firsts[day][:8].strip()), (clock, b"TM", self._firsts[day][8:])):
                    if tag in self._gathered.varying and value:
                        add(tag, vr, value)
        if legacy.STORED not in top:
            put(legacy.STORED, b"US", facts.stored.to_bytes(2, "little"))
        if legacy.HIGH_BIT not in top:
            put(legacy.HIGH_BIT, b"US", (facts.stored - 1).to_bytes(2, "little"))
            if not self._some(legacy.HIGH_BIT):
                self._added.add(legacy.HIGH_BIT)
        for tag in (legacy.SAMPLES, legacy.SIGN):
            if tag not in top:
                add(tag, b"US", (1 if tag == legacy.SAMPLES else 0).to_bytes(2, "little"))
        if legacy.BURNED_IN not in top:
            add(legacy.BURNED_IN, b"CS", "NO")
        self._tell_loss(top, add)
        for tag, vr in legacy.EMPTY.items():
            if tag not in top:
                add(tag, vr, b"")
        top[legacy.EQUIPMENT] = self._equipment()
        top[legacy.REFERENCED_SERIES] = self._old_series()
        for tag, evidence in ((legacy.REFERENCED_IMAGE, legacy.IMAGE_EVIDENCE), (legacy.SOURCE_IMAGE, legacy.SOURCE_EVIDENCE)):
            if found := self._evidence(tag):
                top[evidence] = sequence(evidence, *found)
        top.update(self._dimensions())
        if facts.provenance:
            put(legacy.CREATOR_TAG, b"LO", legacy.CREATOR)
            put(legacy.ADDED, b"AT", tags_value(self._added))
            put(legacy.MADE_IN_GROUPS, b"AT", tags_value(self._made))

    def _tell_loss(self, top: dict[int, bytes], add: Callable[[int, bytes, bytes | str], None]) -> None:
        """Say that the instance is lossy if any frame is (PS3.3 C.7.6.1.1.5)."""
        if legacy.LOSSY not in top:
            add(legacy.LOSSY, b"CS", "01" if True in self._lossy else "00")
        if True not in self._lossy:
            return
        for tag, vr in ((legacy.LOSSY_RATIO, b"DS"), (legacy.LOSSY_METHOD, b"CS")):
            if tag not in top and self._some(tag):
                owns = [self._gathered.own(index).get(tag) for index in self.sources]
                told = [text(found) for found in owns if found is not None and text(found)]
                if told:
                    add(tag, vr, told[-1])

    def _equipment(self) -> bytes:
        """Return Contributing Equipment: that of the sources, if it is the same in all, and dcmtx."""
        before = [item(found) for found in items_within(self._shared.get(legacy.EQUIPMENT))]
        return sequence(legacy.EQUIPMENT, *before, equipment_item(_ENHANCED_TEXT))

    def _old_series(self) -> bytes:
        """Return the references to all sources, by series (PS3.3 C.12.2)."""
        by_series: dict[str, list[str]] = {}
        for index in self.sources:
            source = self._gathered.sources[index]
            by_series.setdefault(self._series_of(index), []).append(source.instance)
        uid = text(self._shared.get(legacy.SOP_CLASS))
        items = []
        for series, instances in by_series.items():
            cited = sequence(legacy.INSTANCES, *(reference_item(uid, instance) for instance in instances))
            items.append(item({legacy.SERIES: made(legacy.SERIES, b"UI", series), legacy.INSTANCES: cited}))
        return sequence(legacy.REFERENCED_SERIES, *items)

    def _series_of(self, index: int) -> str:
        held = self._shared.get(legacy.SERIES) or self._gathered.own(index).get(legacy.SERIES)
        return text(held)

    def _evidence(self, tag: int) -> list[bytes]:
        """Return the studies and series of the instances that frames refer to, as far as they are known."""
        studies: dict[str, dict[str, dict[str, str]]] = {}
        unknown = 0
        for instance, class_uid in sorted(self._cited.get(tag, {}).items()):
            home = self._facts.homes.get(instance)
            if home is None:
                unknown += 1
                continue
            studies.setdefault(home[0], {}).setdefault(home[1], {})[instance] = class_uid or home[2]
        if unknown:
            self.notes.append(
                Finding(
                    "N_EVIDENCE",
                    f"the series of {unknown} instance{'s' * (unknown != 1)} that it refers to is not known; "
                    "--study DIR may have them",
                )
            )
        found = []
        for study, series in studies.items():
            inner = [
                item({
                    legacy.SERIES: made(legacy.SERIES, b"UI", uid),
                    legacy.REFERENCED_SOP: sequence(
                        legacy.REFERENCED_SOP, *(reference_item(kind, instance) for instance, kind in cited.items())
                    ),
                })
                for uid, cited in series.items()
            ]  # fmt: skip
            found.append(
                item({
                    legacy.STUDY: made(legacy.STUDY, b"UI", study),
                    legacy.REFERENCED_SERIES: sequence(legacy.REFERENCED_SERIES, *inner),
                })  # fmt: skip
            )
        return found

    def _dimensions(self) -> dict[int, bytes]:
        """Return the dimensions (PS3.3 C.7.6.17): times if there are several, stacks, places."""
        arrangement = self._facts.arrangement
        uid = derived_uid("dimensions", self._facts.instance)
        pointers = [(legacy.TIME_INDEX, legacy.CONTENT)] if arrangement.temporal else []
        pointers += [(legacy.STACK_ID, legacy.CONTENT), (legacy.PLACE_INDEX, legacy.CONTENT)]
        of_uid = made(legacy.ORGANIZATION_UID, b"UI", uid)
        items = [
            item({
                legacy.ORGANIZATION_UID: of_uid,
                legacy.INDEX_POINTER: made(legacy.INDEX_POINTER, b"AT", tags_value([pointer])),
                legacy.GROUP_POINTER: made(legacy.GROUP_POINTER, b"AT", tags_value([group])),
            })
            for pointer, group in pointers
        ]  # fmt: skip
        found = {
            legacy.ORGANIZATIONS: sequence(legacy.ORGANIZATIONS, item({legacy.ORGANIZATION_UID: of_uid})),
            legacy.INDICES: sequence(legacy.INDICES, *items),
        }
        if arrangement.spacing is not None:
            kind = "3D_TEMPORAL" if arrangement.temporal else "3D"
            found[legacy.ORGANIZATION] = made(legacy.ORGANIZATION, b"CS", kind)
        return found

    # --- frames ----------------------------------------------------------------------------------------------------

    def _shared_groups(self, unassigned: dict[int, bytes]) -> bytes:
        get = self._shared.get
        groups: dict[int, bytes] = {}
        for tag in self._setting.groups:
            if tag not in self._each:
                groups[tag] = enhancing.encoded(tag, enhancing.group(tag, get, self._setting)[0])
        if self._anatomy and not self._anatomy_varies:
            anatomy = enhancing.anatomy(get)
            assert anatomy is not None
            groups[legacy.ANATOMY_GROUP] = sequence(legacy.ANATOMY_GROUP, item(anatomy[0]))
        if len(self._types) == 1:
            groups[self._facts.kind.frame_type] = self._frame_type(next(iter(self._types)))
        if unassigned:
            groups[legacy.UNASSIGNED_SHARED] = sequence(legacy.UNASSIGNED_SHARED, item(unassigned))
        return sequence(legacy.SHARED_GROUPS, item(groups))

    def _frame_type(self, kind: FrameType) -> bytes:
        tag = self._facts.kind.frame_type
        return sequence(tag, item(enhancing.type_elements(legacy.FRAME_TYPE, kind)))

    def _frame(self, index: int, top: Mapping[int, bytes], taken: set[int]) -> bytes:
        """Return the item of one frame."""
        own = self._gathered.own(index)
        get = self._getter(own)
        groups = {tag: enhancing.encoded(tag, enhancing.group(tag, get, self._setting)[0]) for tag in self._each}
        if self._anatomy and self._anatomy_varies:
            anatomy = enhancing.anatomy(get)
            assert anatomy is not None
            groups[legacy.ANATOMY_GROUP] = sequence(legacy.ANATOMY_GROUP, item(anatomy[0]))
        if len(self._types) > 1:
            groups[self._facts.kind.frame_type] = self._frame_type(enhancing.frame_type(get, self._setting))
        groups[legacy.CONTENT] = self._content(index, get)
        groups[legacy.CONVERSION] = sequence(
            legacy.CONVERSION, reference_item(text(get(legacy.SOP_CLASS)), text(get(legacy.SOP_INSTANCE)))
        )
        rest = {
            tag: element
            for tag, element in own.items()
            if tag not in (legacy.SOP_INSTANCE, legacy.SOP_CLASS) and (tag not in taken or tag in self._made)
        }
        for tag in list(rest):
            owner = creator(tag)
            if owner is not None and owner not in rest and owner in self._shared:
                rest[owner] = self._shared[owner]
        if rest:
            groups[legacy.UNASSIGNED] = sequence(legacy.UNASSIGNED, item(rest))
        return item(groups)

    def _content(self, index: int, get: Callable[[int], bytes | None]) -> bytes:
        arrangement = self._facts.arrangement
        stack, place, time = (each[index] for each in (arrangement.stacks, arrangement.places, arrangement.times))
        indices = [*([time] if arrangement.temporal else []), stack, place]
        elements = {
            legacy.STACK_ID: made(legacy.STACK_ID, b"SH", str(stack)),
            legacy.PLACE_INDEX: made(legacy.PLACE_INDEX, b"UL", place.to_bytes(4, "little")),
            legacy.INDEX_VALUES: made(
                legacy.INDEX_VALUES, b"UL", b"".join(number.to_bytes(4, "little") for number in indices)
            ),
        }
        if arrangement.temporal:
            elements[legacy.TIME_INDEX] = made(legacy.TIME_INDEX, b"UL", time.to_bytes(4, "little"))
        if moment := enhancing.acquired(get):
            elements[legacy.FRAME_DATETIME] = made(legacy.FRAME_DATETIME, b"DT", moment)
        return sequence(legacy.CONTENT, item(elements))

    # --- all of it -------------------------------------------------------------------------------------------------

    def write(self, spool_in: str | None) -> FileBytes:
        """Return a reader of the data set without its pixels. Raises RefusedError, E_SIZE, if frames say too much."""
        top, unassigned = self._top()
        top[legacy.SHARED_GROUPS] = self._shared_groups(unassigned)
        spool = Spool(spool_in)
        try:
            start = 0
            for piece in (top[tag] for tag in sorted(top)):
                spool.write(piece)
                start += len(piece)
            spool.write(element_header(legacy.FRAME_GROUPS, b"SQ", 0, EXPLICIT_LITTLE))
            length = 0
            for piece in self._pieces(top):
                spool.write(piece)
                length += len(piece)
            if length > _LONGEST:
                raise RefusedError("its functional groups do not fit a 32-bit length", advice="use --max-frames", code="E_SIZE")
            os.pwrite(spool.fileno(), length.to_bytes(4, "little"), start + 8)
        except BaseException:
            spool.close()
            raise
        return spool.read_back()

    def _pieces(self, top: Mapping[int, bytes]) -> Iterator[bytes]:
        taken = self._taken()
        held: list[bytes] = []
        for index in self.sources:
            held.append(self._frame(index, top, taken))
            if len(held) == 64:
                yield b"".join(held)
                held.clear()
        yield b"".join(held)


def reference_item(class_uid: str, instance: str) -> bytes:
    """Return an item of the SOP Instance Reference Macro (PS3.3 Table 10-11)."""
    return item({
        legacy.REFERENCED_CLASS: made(legacy.REFERENCED_CLASS, b"UI", class_uid),
        legacy.REFERENCED_INSTANCE: made(legacy.REFERENCED_INSTANCE, b"UI", instance),
    })  # fmt: skip


def equipment_item(description: str) -> bytes:
    """Return the item of Contributing Equipment for dcmtx (PS3.4 C.3.5)."""
    from dcmtx import __version__

    return item({
        0x00080070: made(0x00080070, b"LO", "dcmtx"),
        0x00181020: made(0x00181020, b"LO", __version__[:64]),
        0x0018A003: made(0x0018A003, b"ST", description),
        legacy.PURPOSE: sequence(legacy.PURPOSE, code_item(*CONVERSION_CODE)),
    })  # fmt: skip

