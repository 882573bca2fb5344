"""What changes inside sequences: pixels of icons and the like, and group lengths, retired (PS3.5 7.2).

Every sequence that must be written anew gets an edit, so that the plan says all that changes, and whoever writes looks
for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcmtx.dataset.edit import Append, Edit, Remove, Span, Within
from dcmtx.dataset.element import ITEM, NO_VR, PIXEL_DATA, UNDEFINED, Element, tag_bytes
from dcmtx.dataset.header import Header
from dcmtx.planning.edits import ICON_IMAGE_SEQUENCE
from dcmtx.planning.plan import Plan
from dcmtx.policy import Icon
from dcmtx.record import Record
from dcmtx.rules import image
from dcmtx.syntax import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Syntax

if TYPE_CHECKING:
    from dcmtx.dataset.encoding import Context, Item
    from dcmtx.planning.inputs import DataSet

# How a nested group length looks behind its group: number 0000, UL, length 4.
_GROUP_LENGTH = {
    EXPLICIT_LITTLE: b"\x00\x00UL\x04\x00",
    EXPLICIT_BIG: b"\x00\x00UL\x00\x04",
    IMPLICIT_LITTLE: b"\x00\x00\x04\x00\x00\x00",
}
_WAVEFORM_BITS_ALLOCATED = 0x54001004


class DropIcons(Record):
    """A change inside sequences: icons are left out of the items that they are in."""

    def __call__(self, item: Item) -> dict[int, bytes]:
        """Return what changes in an item."""
        return {ICON_IMAGE_SEQUENCE: b""} if item.find(ICON_IMAGE_SEQUENCE) is not None else {}

    def describe(self) -> str:
        """Return the change in a few words."""
        return "icons are left out"


class RecodeIcons(Record):
    """A change inside sequences: pixels in one syntax, those of icons and the like, are coded in another.

    Who writes has the codecs for it, and decides nothing: what the target cannot hold without loss becomes native.
    """

    source: Syntax
    target: Syntax

    def describe(self) -> str:
        """Return the change in a few words."""
        return f"pixels inside are {self.target.label} instead of {self.source.label}, or native"


InnerChange = Any  # of encoding.Change, or RecodeIcons


def complete(plan: Plan, dataset: DataSet, icon: Icon) -> Plan:
    """Return the plan with an edit for every sequence that holds what must change: Within, or more of an Append.

    What looks like pixels or a group length may be neither; then its edit changes nothing.
    """
    edits: dict[int, Edit] = dict(plan.edits)
    for element in (*dataset.header.elements, *dataset.header.tail):
        edit = plan.edits.get(element.tag)
        if icon is Icon.DROP and element.tag == ICON_IMAGE_SEQUENCE:
            edits[element.tag] = Remove(element.tag)
        elif (edit is None and may_hold_items(dataset, element)) or isinstance(edit, Append | Within):
            found = _found(plan, dataset, icon, element)
            if found is not None:
                edits[element.tag] = _more(edit, element.tag, found)
    return plan.replace(edits=edits)


def _more(edit: Edit | None, tag: int, changes: tuple[InnerChange, ...]) -> Edit:
    if isinstance(edit, Append | Within):
        return edit.replace(changes=edit.changes + changes)
    return Within(tag, changes)


def _found(plan: Plan, dataset: DataSet, icon: Icon, element: Element) -> tuple[InnerChange, ...] | None:
    """Return what must be done to the items of a sequence, nothing where only group lengths go; None to leave it."""
    encoding = dataset.header.encoding
    unknown = element.vr == b"UN"
    lengths: list[bytes] = []
    pixels: list[bytes] = []
    # Where the encoding changes, all is written anew, without group lengths.
    if encoding == plan.syntax.encoding and not unknown:
        lengths = [_GROUP_LENGTH[encoding]]
    if icon is Icon.DROP or dataset.syntax.encapsulated:
        # What UN holds is little endian always, also inside a sequence in big endian (PS3.5 6.2.2).
        pixels = [tag_bytes(PIXEL_DATA, encoding), tag_bytes(PIXEL_DATA, IMPLICIT_LITTLE)]
    held = _held(dataset, element, lengths + pixels)
    if held & set(pixels) and (not unknown or is_sequence(dataset, element)):
        if icon is Icon.DROP:
            return (DropIcons(),)
        if dataset.syntax.encapsulated and dataset.syntax is not plan.syntax:
            return (RecodeIcons(dataset.syntax, plan.syntax),)
    return () if held & set(lengths) else None


def is_sequence(dataset: DataSet, element: Element) -> bool:
    """Tell whether an element that is called UN is a sequence."""
    from dcmtx.dataset.encoding import is_sequence as holds_items

    return holds_items(dataset.header.reader, element)


def _held(dataset: DataSet, element: Element, patterns: list[bytes]) -> set[bytes]:
    """Return those of the patterns that the bytes of an element hold."""
    held: set[bytes] = set()
    if not patterns:
        return held
    longest = max(map(len, patterns))
    rest = b""
    for data in dataset.pieces(Span(element.value, element.end)):
        held.update(pattern for pattern in patterns if pattern in rest + data)
        rest = data[1 - longest :]
        if len(held) == len(patterns):
            break
    return held


def may_hold_items(dataset: DataSet, element: Element) -> bool:
    """Tell whether an element is a sequence, or may be one: without VR, UN, or of undefined length."""
    if element.vr == b"SQ" or element.length == UNDEFINED:
        return True
    if element.vr not in (b"UN", NO_VR) or element.length < 8:
        return False
    # What UN holds is little endian always (PS3.5 6.2.2).
    encoding = IMPLICIT_LITTLE if element.vr == b"UN" else dataset.header.encoding
    return dataset.header.reader.pread(4, element.value) == tag_bytes(ITEM, encoding)


def context_of(header: Header) -> Context:
    """Return what the data set says that decides ambiguous VRs."""
    from dcmtx.dataset.encoding import Context

    return Context(
        signed=header.number(image.PIXEL_REPRESENTATION) == 1,
        allocated=header.number(image.BITS_ALLOCATED) or 16,
        waveform_allocated=header.number(_WAVEFORM_BITS_ALLOCATED) or 16,
    )
