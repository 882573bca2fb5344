"""The elements of a data set with the edits of a plan: pieces of the source between new pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from dcmtx.dataset.edit import Append, Edit, Piece, Replace, Within, splice
from dcmtx.dataset.element import UNDEFINED, Element
from dcmtx.planning.inside import InnerChange, RecodeIcons, context_of, may_hold_items
from dcmtx.policy import Lengths
from dcmtx.syntax import Encoding
from dcmtx.transcoding.source import DataSet

if TYPE_CHECKING:
    from dcmtx.dataset.items import Change
    from dcmtx.dataset.rewriting import Rewriting


def edited(
    dataset: DataSet,
    elements: list[Element],
    edits: Mapping[int, Edit],
    encoding: Encoding,
    *,
    lengths: Lengths = Lengths.KEEP,
) -> Iterator[Piece]:
    """Return elements in an encoding, with edits applied and these lengths of sequences, in pieces.

    Raises InputError where a sequence that must be rewritten is damaged, and what the changes inside raise.
    """
    header = dataset.header
    resolved = _resolve(dataset, elements, edits, encoding, lengths)
    if header.encoding == encoding:
        return splice(elements, resolved, encoding)
    from dcmtx.dataset.encoding import transcribe

    return transcribe(header.reader, elements, resolved, header.encoding, encoding, context_of(header))


def _resolve(
    dataset: DataSet, elements: Iterable[Element], edits: Mapping[int, Edit], encoding: Encoding, lengths: Lengths
) -> dict[int, Edit]:
    """Return the edits, with those inside sequences replaced by whole new sequences."""
    resolved: dict[int, Edit] = {tag: edit for tag, edit in edits.items() if not isinstance(edit, Append | Within)}
    sequences: dict[int, Rewriting] = {}
    for element in elements:
        edit = edits.get(element.tag)
        if element.tag in resolved or not isinstance(edit, Append | Within):
            continue
        if element.vr == b"UN" or may_hold_items(dataset, element):
            new = _sequence(dataset, element, edit, encoding, lengths)
            if new is not None:
                sequences[element.tag] = new
                resolved[element.tag] = Replace(element.tag, new)
    for tag, edit in edits.items():
        if isinstance(edit, Append):
            from dcmtx.dataset.encoding import append_item

            old = sequences.get(tag)
            whole = old.whole() if old else b""
            for item in (edit.item, *edit.more):
                whole = append_item(whole, tag, item, encoding)
            resolved[tag] = _ending(dataset, Replace(tag, whole), encoding, lengths)
        elif isinstance(edit, Replace):
            resolved[tag] = _ending(dataset, edit, encoding, lengths)
    return resolved


def _ending(dataset: DataSet, edit: Replace, encoding: Encoding, lengths: Lengths) -> Replace:
    """Return a whole new element that ends, with all that is in it, as `lengths` says."""
    if lengths is Lengths.KEEP or not isinstance(edit.element, bytes):
        return edit
    from dcmtx.dataset.rewriting import rewrite

    return edit.replace(element=rewrite(edit.element, encoding, encoding, context_of(dataset.header), lengths=lengths))


def _sequence(
    dataset: DataSet, element: Element, edit: Append | Within, encoding: Encoding, lengths: Lengths
) -> Rewriting | None:
    """Return a sequence as it must be written, or None if it stays unchanged."""
    new = rewritten(dataset, element, with_codecs(edit.changes, encoding), encoding, lengths=lengths)
    if new is None or isinstance(edit, Append):
        return new
    if element.vr == b"UN":
        ends = lengths is not Lengths.KEEP and element.length == UNDEFINED
        return new if new.changed or ends else None
    same = dataset.encoding == encoding
    unchanged = same and not edit.changes and new.size == element.end - element.start
    return None if unchanged else new


def with_codecs(changes: tuple[InnerChange, ...], encoding: Encoding) -> tuple[Change, ...]:
    """Return the changes of a plan inside sequences as functions of an item."""
    if any(isinstance(change, RecodeIcons) for change in changes):
        from dcmtx.transcoding.icons import with_coders

        return with_coders(changes, encoding)
    return changes


def rewritten(
    dataset: DataSet,
    element: Element,
    changes: tuple[Change, ...],
    target: Encoding,
    *,
    lengths: Lengths = Lengths.KEEP,
) -> Rewriting | None:
    """Return a sequence with these changes in the target's encoding; None for an empty UN element.

    Raises InputError where it is damaged, or what the changes raise.
    """
    if element.vr == b"UN" and not element.length:
        return None
    from dcmtx.dataset.rewriting import rewriting

    header = dataset.header
    return rewriting(header.reader, element, header.encoding, target, context_of(header), changes, lengths=lengths)
