"""Conversion of a data set between encodings: Implicit VR, Explicit VR, Big Endian (PS3.5 7.1 to 7.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from dcmtx.dataset.dictionary import Context, look_up
from dcmtx.dataset.edit import Edit, Piece, Span, encode_edit
from dcmtx.dataset.element import ITEM, NO_VR, UNDEFINED, Element, element_header, fitting
from dcmtx.dataset.rewriting import Rewriting, rewrite
from dcmtx.dataset.rewritten import SHORT, Swapped, header_of, read, swapped
from dcmtx.dataset.vr import SWAP_UNIT
from dcmtx.place.bytes import Reader
from dcmtx.syntax import EXPLICIT_LITTLE, Encoding


def transcribe(
    reader: Reader,
    elements: Iterable[Element],
    edits: Mapping[int, Edit],
    source: Encoding,
    target: Encoding,
    context: Context,
) -> Iterator[Piece]:
    """Yield top-level elements in another encoding, with edits applied, in tag order.

    Group lengths, which are retired, are removed at every level (PS3.5 7.2).
    """
    pending = sorted(edits)
    position = 0
    for element in elements:
        while position < len(pending) and pending[position] < element.tag:
            yield from encode_edit(edits[pending[position]], target)
            position += 1
        if element.tag in edits or element.tag & 0xFFFF == 0:
            continue
        yield from _top_level(reader, element, source, target, context)
    for tag in pending[position:]:
        yield from encode_edit(edits[tag], target)


def _top_level(
    reader: Reader, element: Element, source: Encoding, target: Encoding, context: Context
) -> Iterator[Piece]:
    vr = element.vr if element.vr != NO_VR else look_up(element.tag, element.length, context)
    if vr == b"SQ" or element.length == UNDEFINED:
        yield from Rewriting(reader, element.start, element.end, source, target, context).pieces()
        return
    vr = fitting(vr, element.length)
    header = element_header(element.tag, vr, element.length, target)
    unit = SWAP_UNIT.get(vr, 1) if source.big_endian != target.big_endian else 1
    if unit == 1 and element.length <= SHORT:
        yield header + read(reader, element.value, element.end)
        return
    yield header
    if unit > 1:
        yield from swapped(reader, Swapped(element.value, element.end, unit))
    else:
        yield Span(element.value, element.end)


def append_item(sequence: bytes, tag: int, item: bytes, encoding: Encoding = EXPLICIT_LITTLE) -> bytes:
    """Return a sequence with one item appended; empty bytes make a new sequence.

    The sequence is in this encoding, and so is the result. The item is in Explicit VR Little Endian.
    """
    added = header_of(ITEM, NO_VR, len(item), EXPLICIT_LITTLE) + item
    new = element_header(tag, b"SQ", len(added), EXPLICIT_LITTLE) + added
    if encoding != EXPLICIT_LITTLE:
        new = rewrite(new, EXPLICIT_LITTLE, encoding, Context())
    if not sequence:
        return new
    start = 8 if encoding.implicit else 12
    added = new[start:]
    if int.from_bytes(sequence[start - 4 : start], "big" if encoding.big_endian else "little") == UNDEFINED:
        return sequence[:-8] + added + sequence[-8:]
    return element_header(tag, b"SQ", len(sequence) - start + len(added), encoding) + sequence[start:] + added
