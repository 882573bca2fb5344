"""What a dry run reports apart from the edits of a plan: every other change in the written file.

That is File Meta Information, the encoding of the data set, changes inside sequences, and Pixel Data. Sequences are
rewritten in memory and icons are encoded, so that an error there stops the dry run as it would stop the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from dcmtx.dataset.cursor import element_at
from dcmtx.dataset.dictionary import look_up
from dcmtx.dataset.edit import Append, Edit, Set, Within
from dcmtx.dataset.element import ITEM, NO_VR, PIXEL_DATA, UNDEFINED, Element, fitting, swap, tag_text
from dcmtx.dataset.header import Header
from dcmtx.dataset.items import LEFT_OUT
from dcmtx.dataset.meta import meta_changes
from dcmtx.dataset.vr import SWAP_UNIT
from dcmtx.planning.inside import InnerChange, context_of
from dcmtx.planning.plan import Detail, Plan
from dcmtx.planning.routes import Route
from dcmtx.policy import Lengths
from dcmtx.syntax import EXPLICIT_LITTLE, Encoding
from dcmtx.transcoding.elements import rewritten, with_codecs
from dcmtx.transcoding.source import DataSet

if TYPE_CHECKING:
    from dcmtx.dataset.items import Change, Item


def announced(plan: Plan, dataset: DataSet) -> Plan:
    """Return the plan with `details` of every change apart from its edits, and without edits that change nothing.

    Raises what the run would raise for a sequence.
    """
    found = dict.fromkeys([*_meta(plan, dataset), *_data_set(plan, dataset), *_pixels(plan, dataset)])
    edits = {tag: edit for tag, edit in plan.edits.items() if not _is_so_already(edit, dataset.header)}
    return plan.replace(details=tuple(found), edits=edits)


def _is_so_already(edit: Edit, header: Header) -> bool:
    """Tell whether an element already has the value of its edit; a corrected element does not."""
    element = header.get(edit.tag)
    if element is None or edit.tag in header.corrections:
        return False
    if not isinstance(edit, Set) or element.vr not in (edit.vr, NO_VR):
        return False
    value = swap(edit.value, SWAP_UNIT.get(edit.vr, 1)) if header.encoding.big_endian else edit.value
    return header.value(edit.tag).rstrip(b"\0 ") == value.rstrip(b"\0 ")


def shown_value(vr: bytes, value: bytes, *, big_endian: bool = False) -> str:
    """Return a value in readable form: a number, or text."""
    if vr in (b"US", b"SS", b"UL"):
        return str(int.from_bytes(value, "big" if big_endian else "little", signed=vr == b"SS"))
    if vr in (b"OB", b"OW", b"UN", b"SQ"):
        return f"{len(value)} bytes"
    try:
        return value.decode("utf-8").strip(" \0")
    except UnicodeError:
        return value.decode("latin-1").strip(" \0")


def _meta(plan: Plan, dataset: DataSet) -> Iterator[Detail]:
    if not plan.file_meta:
        yield Detail((), 0, "there is no preamble and no File Meta Information")
        return
    for tag, vr, value in meta_changes(dataset.meta, dataset.header, plan.syntax, plan.instance):
        yield Detail((), tag, f"becomes {shown_value(vr, value)}")


def _data_set(plan: Plan, dataset: DataSet) -> Iterator[Detail]:
    """Yield what changes at the top level without an edit, and inside sequences."""
    encoding, target = dataset.header.encoding, plan.syntax.encoding
    if encoding != target:
        how = " (private and unknown elements are UN)" if encoding.implicit else ""
        yield Detail((), 0, f"every element is encoded as {_name(target)}, not {_name(encoding)}{how}")
    if plan.lengths is not Lengths.KEEP:
        yield Detail((), 0, f"lengths of sequences and items are {plan.lengths.value}")
    for element in (*dataset.header.elements, *dataset.header.tail):
        edit = plan.edits.get(element.tag)
        if edit is None and encoding != target:
            yield from _encoded_anew(plan, dataset, element)
        elif isinstance(edit, Append | Within):
            yield from _inside(plan, dataset, element, edit.changes)


def _encoded_anew(plan: Plan, dataset: DataSet, element: Element) -> Iterator[Detail]:
    """Yield the changes to an element that gets another encoding: its VR and its content."""
    vr = element.vr
    if vr == NO_VR:
        vr = look_up(element.tag, element.length, context_of(dataset.header))
    if vr == b"SQ" or element.length == UNDEFINED:
        yield from _inside(plan, dataset, element, ())
        return
    vr = fitting(vr, element.length)
    if vr != element.vr and not dataset.header.encoding.implicit and not plan.syntax.encoding.implicit:
        yield Detail((), element.tag, f"gets VR {vr.decode()}")


def _inside(plan: Plan, dataset: DataSet, element: Element, changes: tuple[InnerChange, ...]) -> Iterator[Detail]:
    recorder = _Recorder(with_codecs(changes, plan.syntax.encoding), plan.syntax.encoding)
    new = rewritten(dataset, element, (recorder,), plan.syntax.encoding)
    if element.vr == b"UN" and new is not None and new.changed:
        yield Detail((), element.tag, "gets VR SQ")
    yield from recorder.found


class _Recorder:
    """Applies changes to items, and records them."""

    def __init__(self, changes: tuple[Change, ...], encoding: Encoding) -> None:
        self._changes = changes
        self.everywhere = any(getattr(change, "everywhere", False) for change in changes)
        self._encoding = encoding
        self.found: list[Detail] = []

    def __call__(self, item: Item) -> Mapping[int, bytes]:
        """Return what changes in an item."""
        new: dict[int, bytes] = {}
        for change in self._changes:
            new.update(change(item))
            if ITEM in new:
                self.found.append(Detail(item.path[:-1], item.path[-1], "loses items"))
                return dict(LEFT_OUT)
        for part in item.parts:
            if part.tag & 0xFFFF == 0:
                self.found.append(Detail(item.path, part.tag, "removed"))
        for tag, element in sorted(new.items()):
            if not self._same(item, tag, element):
                self.found.append(Detail(item.path, tag, self._text(tag, element)))
        return new

    def _same(self, item: Item, tag: int, element: bytes) -> bool:
        """Tell whether an element is unchanged."""
        part = item.find(tag)
        if part is None:
            return not element
        return item.encoding == self._encoding and item.buffer[part.start : part.end] == element

    def _text(self, tag: int, element: bytes) -> str:
        if not element:
            return "removed"
        if tag == PIXEL_DATA:
            return "coded anew"
        header = element_at(element, 0, self._encoding)
        assert header is not None
        _, vr, size, length = header
        if vr == NO_VR:
            from dcmtx.dataset.dictionary import Context

            vr = look_up(tag, length, Context())
        if vr == b"SQ":
            return "changed inside"
        return f"becomes {shown_value(vr, element[size:], big_endian=self._encoding.big_endian)}"


_PIXELS = {
    Route.RECODE: "coded anew",
    Route.RECOMPRESS: "recompressed",
    Route.REWRAP: "wrapped anew",
}


def _pixels(plan: Plan, dataset: DataSet) -> Iterator[Detail]:
    pixel = dataset.header.pixel
    if pixel is None:
        return
    if plan.route in _PIXELS:
        yield Detail((), pixel.tag, _PIXELS[plan.route])
        return
    if pixel.vr not in (plan.pixel_vr, NO_VR) and not plan.syntax.encoding.implicit:
        yield Detail((), pixel.tag, f"gets VR {plan.pixel_vr.decode()}")
    length = plan.target_format.native_bytes if plan.target_format else pixel.length
    behind = pixel.length - length - length % 2
    if behind:
        yield Detail((), pixel.tag, f"loses {behind} bytes behind its last frame" if behind > 0 else "is padded")


def _name(encoding: Encoding) -> str:
    if encoding.implicit:
        return "Implicit VR Little Endian"
    return "Explicit VR Little Endian" if encoding == EXPLICIT_LITTLE else "Explicit VR Big Endian"


def line(detail: Detail) -> str:
    """Return a detail as one line of text."""
    if not detail.tag:
        return detail.text
    return f"{' > '.join(tag_text(tag) for tag in (*detail.path, detail.tag))} {detail.text}"
