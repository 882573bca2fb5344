"""Changes inside sequences: the pixels of icons and similar items, and retired group lengths (PS3.5 7.2).

Every sequence that must be rewritten gets an edit. So the plan lists every change, and the writer need not search.
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
    from dcmtx.dataset.dictionary import Context
    from dcmtx.dataset.items import Item
    from dcmtx.planning.inputs import DataSet

# The bytes of a nested group length after its group number: element 0000, VR UL, length 4.
_GROUP_LENGTH = {
    EXPLICIT_LITTLE: b"\x00\x00UL\x04\x00",
    EXPLICIT_BIG: b"\x00\x00UL\x00\x04",
    IMPLICIT_LITTLE: b"\x00\x00\x04\x00\x00\x00",
}
_WAVEFORM_BITS_ALLOCATED = 0x54001004


class DropIcons(Record):
    """A change inside sequences: icons are removed from their items."""

    def __call__(self, item: Item) -> dict[int, bytes]:
        """Return what changes in an item."""
        return {ICON_IMAGE_SEQUENCE: b""} if item.find(ICON_IMAGE_SEQUENCE) is not None else {}

    def describe(self) -> str:
        """Return the change in a few words."""
        return "icons are left out"


class RecodeIcons(Record):
    """A change inside sequences: pixels of icons and similar items are converted from one syntax to another.

    The writer has the codecs and makes no decision: pixels that the target cannot hold without loss become native.
    """

    source: Syntax
    target: Syntax

    def describe(self) -> str:
        """Return the change in a few words."""
        return f"pixels inside are {self.target.label} instead of {self.source.label}, or native"


_MAY_BE_SEQUENCES = frozenset([b"UN", NO_VR])

InnerChange = Any  # of items.Change, or RecodeIcons


def complete(plan: Plan, dataset: DataSet, icon: Icon) -> Plan:
    """Return the plan with an edit for every sequence that must change: a Within, or an extended Append.

    Bytes that look like pixels or a group length may be neither; then the edit changes nothing.
    """
    edits: dict[int, Edit] = dict(plan.edits)
    for element in (*dataset.header.elements, *dataset.header.tail):
        edit = plan.edits.get(element.tag)
        if icon is Icon.DROP and element.tag == ICON_IMAGE_SEQUENCE:
            edits[element.tag] = Remove(element.tag)
        elif icon is Icon.GENERATE and element.tag == ICON_IMAGE_SEQUENCE and dataset.header.pixel is not None:
            # It is replaced when the plan is made; what is in it does not matter.
            continue
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
    """Return the changes to the items of a sequence: empty to remove only group lengths; None to leave it as it is."""
    encoding = dataset.header.encoding
    unknown = element.vr == b"UN"
    lengths: list[bytes] = []
    pixels: list[bytes] = []
    # Where the encoding changes, everything is rewritten without group lengths anyway.
    if encoding == plan.syntax.encoding and not unknown:
        lengths = [_GROUP_LENGTH[encoding]]
    if icon is Icon.DROP or dataset.syntax.encapsulated:
        # The content of UN is always little endian, even inside a big endian sequence (PS3.5 6.2.2).
        pixels = [tag_bytes(PIXEL_DATA, encoding), tag_bytes(PIXEL_DATA, IMPLICIT_LITTLE)]
    there = held(dataset, element, lengths + pixels)
    if there & set(pixels) and (not unknown or is_sequence(dataset, element)):
        if icon is Icon.DROP:
            return (DropIcons(),)
        if dataset.syntax.encapsulated and dataset.syntax is not plan.syntax:
            return (RecodeIcons(dataset.syntax, plan.syntax),)
    return () if there & set(lengths) else None


def is_sequence(dataset: DataSet, element: Element) -> bool:
    """Tell whether an element with VR UN is a sequence."""
    from dcmtx.dataset.items import is_sequence as holds_items

    return holds_items(dataset.header.reader, element)


def held(dataset: DataSet, element: Element, patterns: list[bytes], enough: int | None = None) -> set[bytes]:
    """Return the patterns that occur in the bytes of an element: all, or the first that are `enough`."""
    found: set[bytes] = set()
    if not patterns:
        return found
    longest = max(map(len, patterns))
    rest = b""
    for data in dataset.pieces(Span(element.value, element.end)):
        found.update(pattern for pattern in patterns if pattern in rest + data)
        rest = data[1 - longest :]
        if len(found) >= (enough or len(patterns)):
            break
    return found


def may_hold_items(dataset: DataSet, element: Element) -> bool:
    """Tell whether an element is or may be a sequence: it has no VR, VR UN, or undefined length."""
    vr, length = element.vr, element.length
    if vr == b"SQ" or length == UNDEFINED:
        return True
    if vr not in _MAY_BE_SEQUENCES or length < 8:
        return False
    # The content of UN is always little endian (PS3.5 6.2.2).
    encoding = IMPLICIT_LITTLE if element.vr == b"UN" else dataset.header.encoding
    return dataset.header.reader.pread(4, element.value) == tag_bytes(ITEM, encoding)


def context_of(header: Header) -> Context:
    """Return the attributes of the data set that resolve ambiguous VRs."""
    from dcmtx.dataset.dictionary import Context

    return Context(
        signed=header.number(image.PIXEL_REPRESENTATION) == 1,
        allocated=header.number(image.BITS_ALLOCATED) or 16,
        waveform_allocated=header.number(_WAVEFORM_BITS_ALLOCATED) or 16,
    )
