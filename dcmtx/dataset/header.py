"""The data set as bytes and an index of its top-level elements.

A conversion changes only a few elements, and all other bytes must stay the same. So the data set is never parsed into
objects and written again: it is indexed, values are read on demand, and edits are spliced in. Values and large
spans stay in the file until they are needed. Standard library only.
"""

from collections.abc import Iterable, Iterator

from dcmtx.dataset.cursor import Cursor, element_at, header_at, nested_encoding, skip_items
from dcmtx.dataset.edit import Set
from dcmtx.dataset.element import PIXEL_TAGS, UNDEFINED, Element, swap, tag_text
from dcmtx.dataset.vr import SWAP_UNIT, VRS
from dcmtx.errors import InputError
from dcmtx.finding import Finding, Severity
from dcmtx.place.bytes import Reader
from dcmtx.syntax import EXPLICIT_LITTLE, IMPLICIT_LITTLE, Encoding

# No attribute whose value is read is longer, except offset tables.
LARGEST_VALUE = 1 << 20
# Lower tags belong to commands (group 0000), File Meta Information (group 0002) or private group 0001.
_FIRST_TAG = 0x00030000
_GROUP = 0xFFFF0000
_PIECE = 1 << 20
# PS3.5 6.2: an Integer String has at most 12 characters.
_MOST_DIGITS = 12


class Header:
    """An index of the top-level elements of one data set.

    `elements` precede the pixel element, `tail` follows it. `pixel` is (7FE0,0008), (7FE0,0009) or (7FE0,0010)
    at top level, or None. `close` gets the end of the pixel element and then indexes `tail`.
    `corrections` replace illegal or absent values, here and in the output.
    """

    __slots__ = ("_by_tag", "corrections", "elements", "encoding", "end", "notes", "pixel", "reader", "start", "tail")

    def __init__(self, reader: Reader, start: int, encoding: Encoding) -> None:
        self.reader = reader
        self.start = start
        self.encoding = encoding
        self.notes: list[Finding] = []
        cursor = Cursor(reader)
        self.elements, self.pixel, self.end = _index(cursor, start, encoding, self.notes)
        self.tail: list[Element] = []
        self.corrections: dict[int, Set] = {}
        self._by_tag = {element.tag: element for element in self.elements}

    def close(self, position: int, *, forgiving: bool = False) -> None:
        """Index the elements after the pixel element, which ends at `position`.

        With `forgiving`, what is no element there is passed over, with all that follows, and noted.
        """
        self.tail, second, self.end = _index(
            Cursor(self.reader), position, self.encoding, self.notes, forgiving=forgiving
        )
        if second is not None:
            raise InputError(
                f"there is a second pixel element {tag_text(second.tag)}; the standard allows one (PS3.5 8.2)",
                code="E_INCONSISTENT",
                tag=second.tag,
            )
        for element in self.tail:
            self._by_tag.setdefault(element.tag, element)

    def pass_over(self, position: int, damage: str) -> None:
        """Leave out everything from `position`, which is after the last frame; `damage` says why."""
        self.end = self.reader.size
        self.notes.append(_passed_over(self.end - position, damage))

    def __contains__(self, tag: int) -> bool:
        """Tell whether there is a top-level element of this tag before or after the pixels."""
        return tag in self._by_tag

    def get(self, tag: int) -> Element | None:
        """Return the element, or None."""
        return self._by_tag.get(tag)

    def tags(self) -> Iterable[int]:
        """Return the tags of all elements except the pixel element, in file order."""
        return self._by_tag

    def value(self, tag: int, most: int = LARGEST_VALUE) -> bytes:
        """Return the value of an element of defined length, as encoded; empty if it is absent.

        Raises InputError for more than `most` bytes; no attribute that is read this way is longer.
        """
        if tag in self.corrections:
            correction = self.corrections[tag]
            unit = SWAP_UNIT.get(correction.vr, 1) if self.encoding.big_endian else 1
            return swap(correction.value, unit)
        element = self._by_tag.get(tag)
        if element is None or element.length == UNDEFINED:
            return b""
        if element.length > most:
            raise InputError(
                f"{tag_text(tag)} has {element.length} bytes, more than such an attribute can have",
                advice="correct it first",
                code="E_INCONSISTENT",
                tag=tag,
            )
        return self.reader.pread(element.length, element.value)

    def text(self, tag: int) -> str:
        """Return a value as text without padding; for code strings, UIDs and numbers, not for names."""
        return self.value(tag).decode("latin-1").strip("\0 ")

    def number(self, tag: int) -> int | None:
        """Return the first number of an unsigned binary value (US, UL), or None if it is absent or empty."""
        value = self.value(tag)
        if len(value) < 2:
            return None
        known = self.corrections.get(tag) or self._by_tag[tag]
        width = 4 if known.vr in (b"UL", b"SL") and len(value) >= 4 else 2
        return int.from_bytes(value[:width], "big" if self.encoding.big_endian else "little")

    def integer(self, tag: int) -> int | None:
        """Return the number of an Integer String (IS), or None if it is absent or empty.

        Raises InputError if it is not a number.
        """
        text = self.text(tag)
        if not text:
            return None
        digits = text[1:] if text[0] in "+-" else text
        if not (digits.isdecimal() and digits.isascii() and len(digits) <= _MOST_DIGITS):
            raise InputError(
                f"{tag_text(tag)} is {text[:16]!r}, which is not an integer",
                advice="correct it first",
                code="E_INCONSISTENT",
                tag=tag,
            )
        return int(text)


def _passed_over(count: int, damage: str) -> Finding:
    return Finding(
        "N_DAMAGED",
        f"passed over {count} damaged bytes behind the image, at the end of the file: {damage}",
        Severity.WARNING,
    )


def _index(
    cursor: Cursor, position: int, encoding: Encoding, notes: list[Finding], *, forgiving: bool = False
) -> tuple[list[Element], Element | None, int]:
    """Return the elements from `position`, the pixel element that ends them, if any, and where indexing stopped.

    With `forgiving`, indexing stops at damage, which is noted.
    """
    elements: list[Element] = []
    # Elements of groups that must not occur here, and elements with an invalid VR.
    misplaced: list[int] = []
    unnamed: list[int] = []
    pixel: Element | None = None
    try:
        while position < cursor.end:
            at = cursor.at(position, 12)
            header = element_at(cursor.buffer, at, encoding)
            if header is None and not encoding.implicit:
                header = header_at(cursor, position, encoding, cursor.end, nested=False)
                if header is not None and header[0] & _GROUP:
                    unnamed.append(header[0])
            # An element with tag (0000,0000) is padding, unless it is a group length.
            if header is None or (header[0] == 0 and header[3] != 4):
                _check_padding(cursor, position)
                notes.append(
                    Finding(
                        "N_PADDING",
                        f"dropped {cursor.end - position} bytes of padding behind the last element",
                        seen=f"{cursor.end - position} zero bytes stand behind the last element",
                    )
                )
                break
            tag, vr, size, length = header
            value = position + size
            if tag in PIXEL_TAGS:
                pixel = _pixel_element(Element(tag, vr, position, value, length, value), encoding)
                position = value
                break
            if tag >> 16 == 0xFFFE:
                raise InputError(
                    f"{tag_text(tag)} at offset {position} belongs inside a sequence; the file is damaged", tag=tag
                )
            end = value + length
            if length == UNDEFINED or end > cursor.end:
                end = _end_of(cursor, header, value, encoding)
            if tag < _FIRST_TAG and tag >> 16 != 0x0001:
                misplaced.append(tag)
            else:
                elements.append(Element(tag, vr, position, value, length, end))
            position = end
    except InputError as error:
        if not forgiving:
            raise
        notes.append(_passed_over(cursor.end - position, error.what))
        unnamed = [tag for tag in unnamed if any(element.tag == tag for element in elements)]
    notes.extend(_oddities(misplaced, unnamed))
    return elements, pixel, position


def _end_of(cursor: Cursor, header: tuple[int, bytes, int, int], value: int, encoding: Encoding) -> int:
    """Return the offset after an element whose value starts at `value`. Raises InputError if the file ends before."""
    tag, vr, _, length = header
    if length == UNDEFINED:
        return skip_items(cursor, value, nested_encoding(vr, encoding), tag)
    end = value + length
    if end > cursor.end:
        raise InputError(
            f"element {tag_text(tag)} claims {length} bytes, but the file ends {end - cursor.end} bytes short of that; "
            "the file is truncated",
            code="E_TRUNCATED",
            tag=tag,
        )
    return end


def _pixel_element(pixel: Element, encoding: Encoding) -> Element:
    """Return the pixel element. Raises InputError in big endian if no known VR tells which bytes are swapped."""
    if encoding.big_endian and pixel.vr not in VRS:
        raise InputError(
            f"{tag_text(pixel.tag)} has no VR that the standard knows, so its byte order cannot be told",
            advice="correct it first",
            code="E_INCONSISTENT",
            tag=pixel.tag,
        )
    return pixel


def _oddities(misplaced: list[int], unnamed: list[int]) -> Iterator[Finding]:
    """Yield notes on elements of groups that must not occur here, and on elements with an invalid VR."""
    if misplaced:
        yield Finding(
            "N_MISPLACED",
            f"left out {_counted(misplaced)}: group {misplaced[0] >> 16:04X} has no place in the data set of a file",
            Severity.WARNING,
            seen=f"{_counted(misplaced)}: group {misplaced[0] >> 16:04X} has no place in the data set of a file",
        )
    if unnamed:
        yield Finding(
            "N_UNKNOWN_VR",
            f"the VR of {_counted(unnamed)} is none that the standard knows; read by where the next element starts",
            Severity.WARNING,
        )


def _counted(tags: list[int]) -> str:
    """Return the first of these tags and the number of the others, in words."""
    more = len(tags) - 1
    return tag_text(tags[0]) + (f" (and {more} more element{'s' * (more != 1)})" if more else "")


def _check_padding(cursor: Cursor, position: int) -> None:
    """Raise InputError unless all remaining bytes are zero."""
    for start in range(position, cursor.end, _PIECE):
        if cursor.reader.pread(min(_PIECE, cursor.end - start), start).strip(b"\0"):
            raise InputError(
                f"{cursor.end - position} bytes at the end of the file are no data element; the file is truncated or "
                "damaged",
                code="E_TRUNCATED",
            )


def guess_encoding(reader: Reader, start: int, declared: Encoding | None = None) -> Encoding | None:
    """Return the encoding that the first elements of a data set show, or None if they show none.

    One element is enough to confirm the declared encoding; several are needed to contradict it.

    Raises nothing: an empty or malformed data set gives None.
    """
    first = reader.pread(8, start)
    if len(first) < 8:
        return None
    known = first[4:6] in VRS
    little, big = int.from_bytes(first[:2], "little"), int.from_bytes(first[:2], "big")
    # The first group of a data set is small (almost always 0008): the byte order that makes it small is the right one.
    explicit = EXPLICIT_LITTLE if little <= big else Encoding(big_endian=True)
    if not known and explicit.big_endian:
        return None
    shown = explicit if known else IMPLICIT_LITTLE
    if shown == declared:
        return shown
    from dcmtx.dataset.readings import weigh

    candidates = [encoding for encoding in (declared, shown, explicit, IMPLICIT_LITTLE) if encoding is not None]
    return weigh(reader, start, reader.size, candidates)
