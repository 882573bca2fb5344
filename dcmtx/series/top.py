"""The top level of a Legacy Converted Enhanced instance: what the sources share, and what is made anew."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from dcmtx.dataset.compose import item, items_within, made, sequence, tags_value, text, whole
from dcmtx.dataset.element import ITEM, element_header, tag_bytes
from dcmtx.finding import Finding, Severity
from dcmtx.rules import enhancing, legacy
from dcmtx.rules.legacy import GROUPS
from dcmtx.series.gathering import Gathered
from dcmtx.series.looking import Facts, Look
from dcmtx.series.references import derived_uid, equipment_item, reference_item
from dcmtx.syntax import EXPLICIT_LITTLE

# References that are made together.
_TOGETHER = 64

_ENHANCED_TEXT = "Legacy Enhanced Image created from Classic Images"
# Sequences that refer to images, and the evidence of their studies and series.
_EVIDENCE = (
    (legacy.REFERENCED_IMAGE, legacy.IMAGE_EVIDENCE),
    (legacy.SOURCE_IMAGE, legacy.SOURCE_EVIDENCE),
)


def _put(top: dict[int, bytes], tag: int, vr: bytes, value: bytes | str) -> None:
    top[tag] = made(tag, vr, value)


class Top:
    """The elements of the top level, but for functional groups."""

    def __init__(self, gathered: Gathered, facts: Facts, look: Look) -> None:
        self._gathered = gathered
        self._facts = facts
        self._look = look
        self._added: set[int] = set()

    def elements(self) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """Return the elements of the top level but for the frames, and the shared unassigned ones."""
        kind, taken = self._facts.kind, self.taken()
        top: dict[int, bytes] = {}
        unassigned: dict[int, bytes] = {}
        for tag, element in self._look.shared.items():
            if tag in (legacy.SOP_CLASS, legacy.SOP_INSTANCE):
                continue
            if self._may_stand(tag, element) and legacy.stands_at_top(tag, kind):
                top[tag] = element
            elif tag not in taken or tag in self._look.made:
                unassigned[tag] = element
        self._complete(top)
        return top, unassigned

    def taken(self) -> set[int]:
        """Return the attributes that the functional groups take."""
        groups = [*self._look.setting.groups, *([legacy.ANATOMY_GROUP] if self._look.anatomy else [])]
        return {part for group in groups for part in GROUPS[group]}

    def _may_stand(self, tag: int, element: bytes) -> bool:
        if tag == legacy.LATERALITY and self._look.anatomy:
            return False
        if tag in (legacy.STORED, legacy.HIGH_BIT):
            return self._shared_stored() == self._facts.stored
        if tag == legacy.LOSSY:
            return (text(element) == "01") == (True in self._look.lossy)
        if tag == legacy.BURNED_IN and text(element) != "NO":
            self._look.notes.append(
                Finding(
                    "N_BURNED_IN", "Burned In Annotation is not NO; it is an unassigned attribute", Severity.WARNING
                )
            )
            return False
        return True

    def _shared_stored(self) -> int:
        return whole(self._look.shared.get(legacy.STORED)) if legacy.STORED in self._look.shared else 0

    def _complete(self, top: dict[int, bytes]) -> None:
        """Add what is made anew, and what is mandatory and absent."""
        self._identify(top)
        self._date(top)
        self._describe_pixels(top)
        self._tell_loss(top)
        for tag, vr in legacy.EMPTY.items():
            if tag not in top:
                self._add(top, tag, vr, b"")
        top[legacy.EQUIPMENT] = self._equipment()
        for tag, evidence in _EVIDENCE:
            if found := self._evidence(tag):
                top[evidence] = sequence(evidence, *found)
        top.update(self._dimensions())
        _put(top, legacy.CREATOR_TAG, b"LO", legacy.CREATOR)
        _put(top, legacy.ADDED, b"AT", tags_value(self._added))
        _put(top, legacy.MADE_IN_GROUPS, b"AT", tags_value(self._look.made))

    def _add(self, top: dict[int, bytes], tag: int, vr: bytes, value: bytes | str) -> None:
        """Add an element that the sources, or some of them, do not have."""
        _put(top, tag, vr, value)
        self._added.add(tag)

    def _identify(self, top: dict[int, bytes]) -> None:
        facts = self._facts
        _put(top, legacy.SOP_CLASS, b"UI", facts.kind.enhanced)
        _put(top, legacy.SOP_INSTANCE, b"UI", facts.instance)
        _put(top, legacy.SERIES, b"UI", facts.series)
        _put(top, legacy.INSTANCE_NUMBER, b"IS", str(facts.number))
        _put(top, legacy.FRAMES, b"IS", str(len(self._look.order)))
        _put(top, legacy.LUT_SHAPE, b"CS", "IDENTITY")
        top.update(enhancing.type_elements(legacy.IMAGE_TYPE, enhancing.merged(self._look.types)))
        if facts.kind.name == "PET":
            _put(top, legacy.QUALIFICATION, b"CS", "RESEARCH")

    def _date(self, top: dict[int, bytes]) -> None:
        """Say when the instance and its contents were made, and of a series the earliest time."""
        firsts, created = self._look.firsts, self._facts.created
        _put(top, 0x00080012, b"DA", created[:8])
        _put(top, 0x00080013, b"TM", created[8:])
        content = firsts.get(legacy.CONTENT_DATE) or firsts.get(legacy.SERIES_DATE) or ""
        study = text(self._look.shared.get(legacy.STUDY_DATE)) or created[:8]
        _put(top, legacy.CONTENT_DATE, b"DA", content[:8].strip() or study)
        _put(top, legacy.CONTENT_TIME, b"TM", content[8:] or text(self._look.shared.get(legacy.STUDY_TIME)) or "000000")
        first = firsts.get(legacy.SERIES_DATE, "")
        for tag, vr, value in ((legacy.SERIES_DATE, b"DA", first[:8].strip()), (legacy.SERIES_TIME, b"TM", first[8:])):
            if tag in self._gathered.varying and value:
                self._add(top, tag, vr, value)

    def _describe_pixels(self, top: dict[int, bytes]) -> None:
        facts = self._facts
        if legacy.STORED not in top:
            _put(top, legacy.STORED, b"US", facts.stored.to_bytes(2, "little"))
        if legacy.HIGH_BIT not in top:
            _put(top, legacy.HIGH_BIT, b"US", (facts.stored - 1).to_bytes(2, "little"))
            if not self._look.some(legacy.HIGH_BIT):
                self._added.add(legacy.HIGH_BIT)
        for tag, number in ((legacy.SAMPLES, 1), (legacy.SIGN, 0)):
            if tag not in top:
                self._add(top, tag, b"US", number.to_bytes(2, "little"))
        if legacy.BURNED_IN not in top:
            self._add(top, legacy.BURNED_IN, b"CS", "NO")

    def _tell_loss(self, top: dict[int, bytes]) -> None:
        """Say that the instance is lossy if any frame is (PS3.3 C.7.6.1.1.5)."""
        if legacy.LOSSY not in top:
            self._add(top, legacy.LOSSY, b"CS", "01" if True in self._look.lossy else "00")
        if True not in self._look.lossy:
            return
        for tag, vr in ((legacy.LOSSY_RATIO, b"DS"), (legacy.LOSSY_METHOD, b"CS")):
            if tag not in top and self._look.some(tag):
                owns = [self._gathered.own(index).get(tag) for index in self._look.order]
                told = [text(found) for found in owns if found is not None and text(found)]
                if told:
                    self._add(top, tag, vr, told[-1])

    def _equipment(self) -> bytes:
        """Return Contributing Equipment: that of the sources, if it is the same in all, and dcmtx."""
        before = [item(found) for found in items_within(self._look.shared.get(legacy.EQUIPMENT))]
        return sequence(legacy.EQUIPMENT, *before, equipment_item(_ENHANCED_TEXT))

    def old_series(self) -> Iterator[bytes]:
        """Return the references to all sources, by series (PS3.3 C.12.2), a piece at a time."""
        by_series: dict[str, array[int]] = {}
        for index in self._look.order:
            by_series.setdefault(self._series_of(index), array("l")).append(index)
        parts = []
        for name, indices in by_series.items():
            own = made(legacy.SERIES, b"UI", name)
            length = sum(len(one) for one in self._references(indices))
            header = element_header(legacy.INSTANCES, b"SQ", length, EXPLICIT_LITTLE)
            whole = len(own) + len(header) + length
            start = tag_bytes(ITEM, EXPLICIT_LITTLE) + whole.to_bytes(4, "little") + header
            parts.append((start, own, length, indices))
        total = sum(len(start) + len(own) + length for start, own, length, _ in parts)
        yield element_header(legacy.REFERENCED_SERIES, b"SQ", total, EXPLICIT_LITTLE)
        for start, own, _, indices in parts:
            yield start
            yield from self._references(indices)
            yield own

    def _references(self, indices: array[int]) -> Iterator[bytes]:
        """Yield references to sources, some at a time."""
        uid = text(self._look.shared.get(legacy.SOP_CLASS))
        for start in range(0, len(indices), _TOGETHER):
            some = indices[start : start + _TOGETHER]
            yield b"".join([reference_item(uid, self._gathered.sources[index].instance) for index in some])

    def _series_of(self, index: int) -> str:
        held = self._look.shared.get(legacy.SERIES) or self._gathered.own(index).get(legacy.SERIES)
        return text(held)

    def _evidence(self, tag: int) -> list[bytes]:
        """Return the studies and series of the instances that frames refer to, as far as they are known."""
        studies: dict[str, dict[str, dict[str, str]]] = {}
        unknown = 0
        own = self._own_homes(self._look.cited.get(tag, {}))
        for instance, class_uid in sorted(self._look.cited.get(tag, {}).items()):
            home = own.get(instance) or self._facts.homes.get(instance)
            if home is None:
                unknown += 1
                continue
            studies.setdefault(home[0], {}).setdefault(home[1], {})[instance] = class_uid or home[2]
        if unknown:
            self._look.notes.append(
                Finding(
                    "N_EVIDENCE",
                    f"the series of {unknown} instance{'s' * (unknown != 1)} that it refers to is not known; "
                    "--study DIR may have them",
                )
            )
        found = []
        for study, series in studies.items():
            inner = [
                item(
                    {
                        legacy.SERIES: made(legacy.SERIES, b"UI", uid),
                        legacy.REFERENCED_SOP: sequence(
                            legacy.REFERENCED_SOP, *(reference_item(kind, instance) for instance, kind in cited.items())
                        ),
                    }
                )
                for uid, cited in series.items()
            ]
            found.append(
                item(
                    {
                        legacy.STUDY: made(legacy.STUDY, b"UI", study),
                        legacy.REFERENCED_SERIES: sequence(legacy.REFERENCED_SERIES, *inner),
                    }
                )
            )
        return found

    def _own_homes(self, cited: dict[str, str]) -> dict[str, tuple[str, str, str]]:
        """Return the study, the series and the class of those sources that others of them refer to."""
        shared = self._look.shared
        study, kind = text(shared.get(legacy.STUDY)), text(shared.get(legacy.SOP_CLASS))
        return {
            source.instance: (study, self._series_of(index), kind)
            for index, source in enumerate(self._gathered.sources)
            if source.instance in cited
        }

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
