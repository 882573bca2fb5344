"""The data set of a Legacy Converted Enhanced instance, written to a temporary file, a frame at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from dcmtx.dataset.compose import creator, item, made, sequence, text
from dcmtx.dataset.element import element_header
from dcmtx.errors import RefusedError
from dcmtx.finding import Finding
from dcmtx.place.bytes import FileBytes, Spool
from dcmtx.rules import enhancing, legacy
from dcmtx.rules.enhancing import FrameType
from dcmtx.series.gathering import Gathered
from dcmtx.series.looking import Facts, Look
from dcmtx.series.references import reference_item
from dcmtx.series.top import Top
from dcmtx.syntax import EXPLICIT_LITTLE

_LONGEST = 0xFFFFFFFE
# Frames whose items are written together.
_TOGETHER = 64


class Builder:
    """Builds one instance of gathered sources."""

    def __init__(self, gathered: Gathered, facts: Facts) -> None:
        self._gathered = gathered
        self._facts = facts
        self._look = Look(gathered, facts)
        self._top = Top(gathered, facts, self._look)

    @property
    def notes(self) -> list[Finding]:
        """What should be known of the instance, when it is written."""
        return self._look.notes

    def _shared_groups(self, unassigned: dict[int, bytes]) -> bytes:
        get = self._look.shared.get
        groups: dict[int, bytes] = {}
        for tag in self._look.setting.groups:
            if tag not in self._look.each:
                groups[tag] = enhancing.encoded(tag, enhancing.group(tag, get, self._look.setting)[0])
        if self._look.anatomy and not self._look.anatomy_varies:
            anatomy = enhancing.anatomy(get)
            assert anatomy is not None
            groups[legacy.ANATOMY_GROUP] = sequence(legacy.ANATOMY_GROUP, item(anatomy[0]))
        if len(self._look.types) == 1:
            groups[self._facts.kind.frame_type] = self._frame_type(next(iter(self._look.types)))
        if unassigned:
            groups[legacy.UNASSIGNED_SHARED] = sequence(legacy.UNASSIGNED_SHARED, item(unassigned))
        return sequence(legacy.SHARED_GROUPS, item(groups))

    def _frame_type(self, kind: FrameType) -> bytes:
        tag = self._facts.kind.frame_type
        return sequence(tag, item(enhancing.type_elements(legacy.FRAME_TYPE, kind)))

    def _frame(self, index: int, taken: set[int]) -> bytes:
        """Return the item of one frame."""
        own = self._gathered.own(index)
        get = self._look.getter(own)
        groups = {
            tag: enhancing.encoded(tag, enhancing.group(tag, get, self._look.setting)[0]) for tag in self._look.each
        }
        if self._look.anatomy and self._look.anatomy_varies:
            anatomy = enhancing.anatomy(get)
            assert anatomy is not None
            groups[legacy.ANATOMY_GROUP] = sequence(legacy.ANATOMY_GROUP, item(anatomy[0]))
        if len(self._look.types) > 1:
            groups[self._facts.kind.frame_type] = self._frame_type(enhancing.frame_type(get, self._look.setting))
        groups[legacy.CONTENT] = self._content(index, get)
        groups[legacy.CONVERSION] = sequence(
            legacy.CONVERSION, reference_item(text(get(legacy.SOP_CLASS)), text(get(legacy.SOP_INSTANCE)))
        )
        rest = {
            tag: element
            for tag, element in own.items()
            if tag not in (legacy.SOP_INSTANCE, legacy.SOP_CLASS) and (tag not in taken or tag in self._look.made)
        }
        for tag in list(rest):
            owner = creator(tag)
            if owner is not None and owner not in rest and owner in self._look.shared:
                rest[owner] = self._look.shared[owner]
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
        top, unassigned = self._top.elements()
        top[legacy.SHARED_GROUPS] = self._shared_groups(unassigned)
        spool = Spool(spool_in)
        try:
            start = 0
            for piece in self._before(top):
                spool.write(piece)
                start += len(piece)
            spool.write(element_header(legacy.FRAME_GROUPS, b"SQ", 0, EXPLICIT_LITTLE))
            length = 0
            for piece in self._pieces():
                spool.write(piece)
                length += len(piece)
            if length > _LONGEST:
                raise RefusedError(
                    "its functional groups do not fit a 32-bit length", advice="use --max-frames", code="E_SIZE"
                )
            os.pwrite(spool.fileno(), length.to_bytes(4, "little"), start + 8)
        except BaseException:
            spool.close()
            raise
        return spool.read_back()

    def _before(self, top: dict[int, bytes]) -> Iterator[bytes]:
        """Yield the elements before those of the frames."""
        tags = sorted(top)
        yield b"".join([top[tag] for tag in tags if tag < legacy.REFERENCED_SERIES])
        yield from self._top.old_series()
        yield b"".join([top[tag] for tag in tags if tag > legacy.REFERENCED_SERIES])

    def _pieces(self) -> Iterator[bytes]:
        taken = self._top.taken()
        held: list[bytes] = []
        for index in self._look.order:
            held.append(self._frame(index, taken))
            if len(held) == _TOGETHER:
                yield b"".join(held)
                held.clear()
        yield b"".join(held)
