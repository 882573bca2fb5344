"""What may be asked for of the data set itself: elements to remove, lengths, UTF-8, no File Meta Information."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcmtx.dataset.edit import Append, Edit, Remove, Reserve, Set, Within
from dcmtx.dataset.element import Element
from dcmtx.planning.edits import check_order, check_signatures, signature_edits
from dcmtx.planning.inside import is_sequence, may_hold_items
from dcmtx.planning.plan import Plan
from dcmtx.policy import Charset, Lengths, Policy, Removal
from dcmtx.rules.charset import SPECIFIC_CHARACTER_SET, TEXT_VRS, UTF_8, Repertoire, Utf8, in_utf_8, repertoire
from dcmtx.rules.removal import Remover

if TYPE_CHECKING:
    from dcmtx.planning.inputs import DataSet


def extended(plan: Plan, dataset: DataSet, policy: Policy, *, inside: bool) -> Plan:
    """Return a plan that is otherwise complete with the edits that a policy asks for; with `inside`, in sequences too.

    Raises RefusedError or UnsupportedError for text that cannot be converted, and for digital signatures.
    """
    changes: tuple[Any, ...] = ()
    edits = dict(plan.edits)
    if policy.remove is not Removal.NONE:
        remover = Remover(policy.remove)
        changes += (remover,)
        elements = (*dataset.header.elements, *dataset.header.tail)
        edits |= {tag: Remove(tag) for tag in remover.of_top_level(element.tag for element in elements)}
    if policy.charset is Charset.UTF_8:
        known = repertoire(dataset.header.value(SPECIFIC_CHARACTER_SET))
        utf_8 = Utf8(known, plan.syntax.encoding)
        changes += (utf_8,)
        edits |= _texts(edits, dataset, utf_8, known)
    if changes:
        # Lengths are no part of what is signed (PS3.15 C.1); values are.
        signed = signature_edits(dataset.header)
        if signed:
            check_signatures(dataset.header, policy)
            edits |= signed
    check_order(dataset.header, edits)
    if inside and (changes or policy.lengths is not Lengths.KEEP):
        _go_inside(edits, dataset, changes)
    meta = b"" if policy.dataset_only else plan.file_meta
    return plan.replace(edits=edits, lengths=policy.lengths, tallies=changes, file_meta=meta)


def _texts(edits: dict[int, Edit], dataset: DataSet, utf_8: Utf8, known: Repertoire) -> dict[int, Edit]:
    """Return the edits of text at top level: of the file's own, and of what other edits make of it."""
    header = dataset.header
    made: dict[int, Edit] = {SPECIFIC_CHARACTER_SET: Set(SPECIFIC_CHARACTER_SET, b"CS", UTF_8)}
    for element in (*header.elements, *header.tail):
        if element.tag in edits or element.tag in made:
            continue
        vr = utf_8.text_vr(element, element.vr)
        if vr:
            value = header.value(element.tag, element.length)
            new = in_utf_8(element.tag, vr, value, known)
            if new is not value:
                made[element.tag] = Set(element.tag, b"UN" if element.vr == b"UN" else vr, new)
    for tag, edit in edits.items():
        if isinstance(edit, Set) and edit.vr in TEXT_VRS:
            made[tag] = edit.replace(value=in_utf_8(tag, edit.vr, edit.value, known))
        elif isinstance(edit, Reserve) and edit.vr in TEXT_VRS:
            made[tag] = edit.replace(prefix=in_utf_8(tag, edit.vr, edit.prefix, known, pad=False))
    return made


def _go_inside(edits: dict[int, Edit], dataset: DataSet, changes: tuple[Any, ...]) -> None:
    """Add the changes to the edit of every sequence, also of one that was written as UN."""
    for element in (*dataset.header.elements, *dataset.header.tail):
        edit = edits.get(element.tag)
        if isinstance(edit, Append | Within):
            edits[element.tag] = edit.replace(changes=edit.changes + changes)
        elif edit is None and may_hold_items(dataset, element) and _has_items(dataset, element):
            edits[element.tag] = Within(element.tag, changes)


def _has_items(dataset: DataSet, element: Element) -> bool:
    """Tell whether an element that may be a sequence is one; in UN it must be nothing but items."""
    return element.vr != b"UN" or is_sequence(dataset, element)
