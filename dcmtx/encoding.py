"""Data-set encodings: from Implicit VR, Explicit VR and Big Endian into each other, and edits inside sequences.

Values are carried as bytes: strings are never decoded and written again, numbers are only swapped. What changes is
how an element says its tag, VR and length. pydicom knows the VRs that Implicit VR leaves out; its dictionary, alone, is
loaded when one of them is needed. Private and unknown elements become UN, and what is UN stays UN (PS3.5 6.2.2).
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache

from dcmtx.errors import InputError, UnsupportedError
from dcmtx.header import (
    ITEM,
    ITEM_END,
    PIXEL_DATA,
    SEQUENCE_END,
    SWAP_UNIT,
    UNDEFINED,
    Cursor,
    Edit,
    Element,
    Piece,
    Reader,
    Span,
    element_at,
    element_header,
    encode_edit,
    nested_encoding,
    skip_items,
    swap,
    tag_bytes,
    tag_text,
)
from dcmtx.probe import SHORT_VRS, VRS
from dcmtx.record import Record
from dcmtx.syntax import EXPLICIT_LITTLE, IMPLICIT_LITTLE, Encoding

_PIXEL_REPRESENTATION = 0x00280103
_BITS_ALLOCATED = 0x00280100
_WAVEFORM_BITS_ALLOCATED = 0x54001004
_LARGEST_SHORT = 0xFFFE
_NO_VR = b"  "


class Context(Record):
    """What the nearest enclosing data set says that decides ambiguous VRs (PS3.5 A.1, A.2)."""

    signed: bool = False
    allocated: int = 16
    waveform_allocated: int = 16

    def seen(self, tag: int, value: bytes, encoding: Encoding) -> "Context":
        """Return the context after an element of this tag and value."""
        if tag not in _CONTEXT_TAGS or len(value) < 2:
            return self
        number = int.from_bytes(value[:2], "big" if encoding.big_endian else "little")
        if tag == _PIXEL_REPRESENTATION:
            return self.replace(signed=number == 1)
        if tag == _BITS_ALLOCATED:
            return self.replace(allocated=number)
        return self.replace(waveform_allocated=number)


_CONTEXT_TAGS = frozenset([_PIXEL_REPRESENTATION, _BITS_ALLOCATED, _WAVEFORM_BITS_ALLOCATED])


class Item(Record):
    """An item inside a sequence, for those who want to change it.

    `path` has the tags of the sequences around it, outermost first; `parts` are its elements, whose bytes are in
    `buffer`, encoded as `encoding`.
    """

    path: tuple[int, ...]
    parts: list[Element]
    buffer: bytes
    encoding: Encoding

    def find(self, tag: int) -> Element | None:
        """Return the element of this tag, or None."""
        return next((part for part in self.parts if part.tag == tag), None)

    def value(self, tag: int) -> bytes:
        """Return the value of an element of defined length, as encoded; empty if it is absent."""
        part = self.find(tag)
        return self.buffer[part.value : part.end] if part is not None and part.length != UNDEFINED else b""

    def number(self, tag: int) -> int | None:
        """Return the first 16-bit number of a value, or None."""
        value = self.value(tag)[:2]
        return int.from_bytes(value, "big" if self.encoding.big_endian else "little") if len(value) == 2 else None

    def text(self, tag: int) -> str:
        """Return a value as text without padding."""
        return self.value(tag).decode("latin-1").strip("\0 ")


# Given an item: new elements of it by tag, encoded as the target is; empty bytes leave one out.
Change = Callable[[Item], Mapping[int, bytes]]


def transcribe(
    reader: Reader,
    elements: Iterable[Element],
    edits: Mapping[int, Edit],
    source: Encoding,
    target: Encoding,
    context: Context,
) -> Iterator[Piece]:
    """Yield top-level elements in another encoding, with edits put in, in the order of tags.

    Group lengths, retired, are left out at every level (PS3.5 7.2).
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
    vr = element.vr if element.vr != _NO_VR else look_up(element.tag, element.length, context)
    if vr == b"SQ" or element.length == UNDEFINED:
        yield rewrite(reader.pread(element.end - element.start, element.start), source, target, context)
        return
    vr = fitting(vr, element.length)
    yield element_header(element.tag, vr, element.length, target)
    unit = SWAP_UNIT.get(vr, 1) if source.big_endian != target.big_endian else 1
    if unit > 1:
        yield swap(reader.pread(element.length, element.value), unit)
    elif element.length:
        yield Span(element.value, element.end)


def rewrite(
    buffer: bytes, source: Encoding, target: Encoding, context: Context, changes: Iterable[Change] = ()
) -> bytes:
    """Return whole elements of one data set in another encoding.

    `changes` may give new elements for those of any item inside. Goes by a list of open levels, not by recursion:
    sequences may nest to any depth. Defined lengths stay defined, and are recomputed; undefined ones stay undefined.

    Raises InputError where the bytes are no elements.
    """
    return _Writer(buffer, target, tuple(changes)).run(source, context)


class _Level:
    """One open sequence or data set: where it ends (None if by a delimiter), and what has been written of it."""

    __slots__ = ("changes", "context", "encoding", "end", "items", "out", "pending", "tag")

    def __init__(self, tag: int, end: int | None, encoding: Encoding, context: Context, *, items: bool) -> None:
        self.tag = tag
        self.end = end
        self.encoding = encoding
        self.context = context
        self.items = items
        self.changes: dict[int, bytes] = {}
        self.pending: list[int] = []
        self.out: list[bytes] = []


class _Writer:
    """Writes the elements of a buffer in another encoding, in one pass."""

    def __init__(self, buffer: bytes, target: Encoding, changes: tuple[Change, ...]) -> None:
        self._buffer = buffer
        self._target = target
        self._changes = changes
        self._levels: list[_Level] = []
        self._position = 0
        # Where items and sequences without a length end, by where they start: each is looked for once.
        self._ends: dict[int, int] = {}
        self._context_tags: list[int] | None = None

    def run(self, source: Encoding, context: Context) -> bytes:
        root = _Level(0, len(self._buffer), source, context, items=False)
        self._levels.append(root)
        while True:
            level = self._levels[-1]
            if level.end is not None and self._position >= level.end:
                if self._position > level.end:
                    raise self._damaged(level.end)
                if level is root:
                    return b"".join(root.out)
                self._close()
                continue
            header = element_at(self._buffer, self._position, level.encoding)
            if header is None:
                raise self._damaged(self._position)
            start = self._position
            tag, vr, size, length = header
            self._position += size
            if tag == (SEQUENCE_END if level.items else ITEM_END) and level.end is None:
                self._close()
            elif level.items:
                self._item(level, tag, length, start)
            elif tag >> 16 == 0xFFFE:
                raise self._damaged(start)
            else:
                self._element(level, tag, vr, length)

    def _damaged(self, position: int) -> InputError:
        within = self._levels[1].tag if len(self._levels) > 1 else self._levels[0].tag
        return InputError(
            f"sequence {tag_text(within)} is damaged {position} bytes from its start; correct it first",
            code="E_SEQUENCE",
            tag=within,
        )

    def _item(self, level: _Level, tag: int, length: int, start: int) -> None:
        """Open an item."""
        if tag != ITEM:
            raise self._damaged(start)
        end = None if length == UNDEFINED else self._position + length
        encoding = _item_encoding(self._buffer, self._position, end, level.encoding)
        item = _Level(ITEM, end, encoding, self._context_of(end, encoding, level.context), items=False)
        if self._changes:
            stop = end if end is not None else self._skip(encoding, in_item=True) - 8
            path = tuple(outer.tag for outer in self._levels if outer.items)
            view = Item(path, parse(self._buffer, self._position, stop, encoding, self._ends), self._buffer, encoding)
            for change in self._changes:
                item.changes.update(change(view))
            item.pending = sorted(item.changes)
        self._levels.append(item)

    def _context_of(self, end: int | None, encoding: Encoding, outer: Context) -> Context:
        """Return the context of the item that starts here: what it says of itself may stand behind what needs it."""
        if not encoding.implicit or self._target.implicit:
            return outer
        stop = end if end is not None else self._skip(encoding, in_item=True) - 8
        context = outer
        if self._mentions_context(self._position, stop):
            for part in parse(self._buffer, self._position, stop, encoding, self._ends):
                context = context.seen(part.tag, self._buffer[part.value : part.end], encoding)
        return context

    def _mentions_context(self, start: int, stop: int) -> bool:
        """Tell whether bytes of Implicit VR look as if they held an attribute that others depend on."""
        if self._context_tags is None:
            patterns = [re.escape(tag_bytes(tag, IMPLICIT_LITTLE)) for tag in _CONTEXT_TAGS]
            self._context_tags = [match.start() for match in re.finditer(b"|".join(patterns), self._buffer)]
        first = bisect_left(self._context_tags, start)
        return first < len(self._context_tags) and self._context_tags[first] < stop

    def _element(self, level: _Level, tag: int, vr: bytes, length: int) -> None:
        """Write a plain element, or open a sequence."""
        value = self._position
        undefined = length == UNDEFINED
        if vr == _NO_VR:
            vr = look_up(tag, length, level.context)
        while level.pending and level.pending[0] <= tag:
            level.out.append(level.changes[level.pending.pop(0)])
        if tag in level.changes or tag & 0xFFFF == 0:
            self._position = self._behind(vr, length, level.encoding)
            return
        if vr == b"SQ" and (undefined or self._holds_items(value, length, level.encoding)):
            end = None if undefined else value + length
            self._levels.append(_Level(tag, end, level.encoding, level.context, items=True))
            return
        self._position = self._behind(vr, length, level.encoding)
        content = self._buffer[value : self._position]
        if len(content) != length and not undefined:
            raise self._damaged(value)
        # What has undefined length here is UN, or the fragments of nested Pixel Data: bytes stay bytes.
        vr = vr if undefined else fitting(b"UN" if vr == b"SQ" else vr, length)
        if level.encoding.big_endian != self._target.big_endian and not undefined:
            content = swap(content, SWAP_UNIT.get(vr, 1))
        level.out.append(element_header(tag, vr, length, self._target))
        level.out.append(content)

    def _behind(self, vr: bytes, length: int, encoding: Encoding) -> int:
        if length == UNDEFINED:
            return self._skip(nested_encoding(vr, encoding), in_item=False)
        return self._position + length

    def _skip(self, encoding: Encoding, *, in_item: bool) -> int:
        tag = self._levels[-1].tag
        return skip_items(Cursor.over(self._buffer), self._position, encoding, tag, in_item=in_item, ends=self._ends)

    def _holds_items(self, value: int, length: int, encoding: Encoding) -> bool:
        if length == 0:
            return True
        header = element_at(self._buffer, value, encoding)
        return header is not None and header[0] == ITEM

    def _close(self) -> None:
        """Write the sequence or item that ends here into the level around it."""
        level = self._levels.pop()
        body = b"".join([*level.out, *[level.changes[tag] for tag in level.pending]])
        out = self._levels[-1].out
        tag, vr, last = (level.tag, b"SQ", SEQUENCE_END) if level.items else (ITEM, _NO_VR, ITEM_END)
        out.append(_header(tag, vr, UNDEFINED if level.end is None else len(body), self._target))
        out.append(body)
        if level.end is None:
            out.append(_header(last, _NO_VR, 0, self._target))


def known_sequence(value: bytes, tag: int, length: int) -> tuple[bytes, Encoding]:
    """Return a sequence that was written as UN as what it is, and how its items are encoded (PS3.5 6.2.2).

    Implicit VR by the standard; some writers only change the VR to UN. Empty bytes stand for an empty sequence.

    Raises InputError where the value is no sequence.
    """
    if not value:
        return b"", IMPLICIT_LITTLE
    if value[:4] != tag_bytes(ITEM, IMPLICIT_LITTLE):
        raise InputError(f"{tag_text(tag)} is no sequence; correct it first", code="E_SEQUENCE", tag=tag)
    vr = value[12:14]
    encoding = EXPLICIT_LITTLE if vr in VRS else IMPLICIT_LITTLE
    return element_header(tag, b"SQ", length, encoding) + value, encoding


def append_item(sequence: bytes, tag: int, item: bytes) -> bytes:
    """Return a sequence in Explicit VR Little Endian with one more item at its end; empty bytes make a new one."""
    added = _header(ITEM, _NO_VR, len(item), EXPLICIT_LITTLE) + item
    if not sequence:
        return element_header(tag, b"SQ", len(added), EXPLICIT_LITTLE) + added
    if int.from_bytes(sequence[8:12], "little") == UNDEFINED:
        return sequence[:-8] + added + sequence[-8:]
    return element_header(tag, b"SQ", len(sequence) - 12 + len(added), EXPLICIT_LITTLE) + sequence[12:] + added


def _header(tag: int, vr: bytes, length: int, encoding: Encoding) -> bytes:
    """Return a header; items and delimiters have no VR in any encoding (PS3.5 7.5)."""
    if tag >> 16 != 0xFFFE:
        return element_header(tag, vr, length, encoding)
    order = "big" if encoding.big_endian else "little"
    return b"".join(number.to_bytes(size, order) for number, size in ((tag >> 16, 2), (tag & 0xFFFF, 2), (length, 4)))  # type: ignore[arg-type]


def _item_encoding(buffer: bytes, position: int, end: int | None, encoding: Encoding) -> Encoding:
    """Return how an item is encoded: some writers put Implicit VR items into Explicit VR sequences."""
    if encoding.implicit or encoding.big_endian or (end is not None and position >= end):
        return encoding
    vr = buffer[position + 4 : position + 6]
    if vr in VRS or buffer[position : position + 2] == b"\xfe\xff" or vr.isalpha():
        return encoding
    return IMPLICIT_LITTLE


def parse(buffer: bytes, start: int, end: int, encoding: Encoding, ends: dict[int, int] | None = None) -> list[Element]:
    """Return the elements between two indices, each sequence as one; `ends` is that of `skip_items`.

    Raises InputError where an element goes beyond.
    """
    parts: list[Element] = []
    position = start
    while position < end:
        header = element_at(buffer, position, encoding)
        if header is None:
            break
        tag, vr, size, length = header
        value = position + size
        if length == UNDEFINED:
            stop = skip_items(Cursor.over(buffer), value, nested_encoding(vr, encoding), tag, ends=ends)
        else:
            stop = value + length
        if stop > end:
            break
        parts.append(Element(tag, vr, position, value, length, stop))
        position = stop
    if position != end:
        raise InputError(f"a data set inside a sequence is damaged {position} bytes from its start", code="E_SEQUENCE")
    return parts


def fitting(vr: bytes, length: int) -> bytes:
    """Return the VR, or UN if the value is too long for its 16-bit length (PS3.5 6.2.2)."""
    return b"UN" if vr in SHORT_VRS and length > _LARGEST_SHORT else vr


# --- VRs that Implicit VR leaves out ---------------------------------------------------------------------------


def look_up(tag: int, length: int, context: Context) -> bytes:
    """Return the VR of an element in Implicit VR (PS3.5 A.1, 6.2.2): UN for one that the standard does not know.

    Private elements are UN, but Private Creator is LO always. Where the dictionary gives a choice, the nearest
    enclosing pixel or waveform description decides.
    """
    group, number = tag >> 16, tag & 0xFFFF
    if number == 0:
        return b"UL"
    if group % 2:
        return b"LO" if 0x0010 <= number <= 0x00FF and length != UNDEFINED else b"UN"
    vr = _dictionary_vr(tag)
    if length == UNDEFINED and vr != b"SQ":
        return b"OB" if tag == PIXEL_DATA else b"UN"
    if b" or " not in vr:
        return vr
    return _choose(tag, vr, length, context)


def _choose(tag: int, vr: bytes, length: int, context: Context) -> bytes:
    if vr == b"US or SS":
        return b"SS" if context.signed else b"US"
    if vr in (b"US or OW", b"US or SS or OW"):
        # Tables are numbers, or words where they do not fit a 16-bit length (PS3.5 A.2).
        if length > _LARGEST_SHORT:
            return b"OW"
        return b"SS" if vr == b"US or SS or OW" and context.signed else b"US"
    # OB or OW.
    if tag == PIXEL_DATA:
        return b"OW" if context.allocated > 8 else b"OB"
    if tag >> 16 == 0x5400:
        return b"OW" if context.waveform_allocated > 8 else b"OB"
    return b"OW"


@cache
def _dictionary_vr(tag: int) -> bytes:
    known, repeating = _dictionary()
    entry = known.get(tag)
    if entry is None:
        digits = f"{tag:08X}"
        masks = (
            mask for mask in repeating if all(sign in ("x", digit) for sign, digit in zip(mask, digits, strict=True))
        )
        mask = next(masks, None)
        entry = repeating[mask] if mask else ("UN",)
    return entry[0].encode("ascii")


@cache
def _dictionary() -> tuple[dict[int, Sequence[str]], dict[str, Sequence[str]]]:
    """Return pydicom's dictionary: entries by tag, and by masks such as 60xx3000.

    Only that module of pydicom is loaded. The package takes a third of a second, which everybody would wait for who
    converts one file from Implicit VR.
    """
    import importlib.util

    package = importlib.util.find_spec("pydicom")
    folders = package.submodule_search_locations if package is not None else None
    spec = importlib.util.spec_from_file_location("_dicom_dict", f"{folders[0]}/_dicom_dict.py") if folders else None
    if spec is None or spec.loader is None:
        raise UnsupportedError("pydicom, whose dictionary Implicit VR needs, is not installed; pip install pydicom")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.DicomDictionary, module.RepeatersDictionary
