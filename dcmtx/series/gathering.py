"""The headers of a series, read once: one reference, and of every other source what differs, in a temporary file.

Memory is one header and a few hundred bytes per source, whatever their number.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence

from dcmtx.dataset.compose import creator, text
from dcmtx.dataset.edit import Edit, Span, Within
from dcmtx.dataset.element import PIXEL_DATA, TRAILING_PADDING, Element, tag_bytes
from dcmtx.errors import DcmtxError, InputError, RefusedError
from dcmtx.place.bytes import FileBytes, Spool
from dcmtx.place.places import open_reader
from dcmtx.planning.inside import InnerChange, RecodeIcons, held, may_hold_items
from dcmtx.rules import legacy
from dcmtx.series.sources import Source, Sources
from dcmtx.syntax import BIG_ENDIAN, EXPLICIT, EXPLICIT_LITTLE
from dcmtx.transcoding.elements import edited
from dcmtx.transcoding.source import Opened, open_source

_ENTRY = struct.Struct("<II")
_ABSENT = 0xFFFFFFFF
# Padding, and the offset tables of codestreams, which are of their file.
_LEFT_OUT = (TRAILING_PADDING, 0x7FE00001, 0x7FE00002)
# A group length inside a sequence: element 0000, VR UL, length 4; and the tag of pixels there.
_GROUP_LENGTH, _PIXELS = b"\x00\x00UL\x04\x00", tag_bytes(PIXEL_DATA, EXPLICIT_LITTLE)


def open_at(path: str) -> Opened:
    """Open a source; the caller closes `dataset.reader`. Raises InputError with its path."""
    try:
        reader = open_reader(path)
        try:
            return open_source(reader)
        except BaseException:
            reader.close()
            raise
    except DcmtxError as error:
        error.path = error.path or path
        raise


def close(opened: Opened) -> None:
    """Close what `open_at` opened."""
    opened.close()
    opened.frames.reader.close()
    opened.dataset.reader.close()


def elements_of(opened: Opened, *, without: int | None = None) -> dict[int, bytes]:
    """Return the elements of a data set in Explicit VR Little Endian, without pixels, group lengths and padding.

    The element `without` is left out.

    Raises InputError where an element stands twice: there is one in what is made of it.
    """
    dataset = opened.dataset
    header = dataset.header
    found: dict[int, bytes] = {}
    for element in (*header.elements, *header.tail):
        tag = element.tag
        if tag & 0xFFFF == 0 or tag in (*_LEFT_OUT, without):
            continue
        if tag in found:
            raise InputError(
                f"({tag >> 16:04X},{tag & 0xFFFF:04X}) stands twice in the data set",
                advice="correct it first",
                code="E_INCONSISTENT",
                tag=tag,
            )
        found[tag] = _encoded(opened, element)
    return found


def _encoded(opened: Opened, element: Element) -> bytes:
    """Return an element in Explicit VR Little Endian: without group lengths inside, and with native icons."""
    dataset = opened.dataset
    same = dataset.encoding == EXPLICIT_LITTLE
    if same and not may_hold_items(dataset, element):
        return dataset.reader.pread(element.end - element.start, element.start)
    changes: tuple[InnerChange, ...] = ()
    if may_hold_items(dataset, element):
        patterns = [_GROUP_LENGTH] if same else []
        if dataset.syntax.encapsulated:
            patterns.append(_PIXELS)
        there = held(dataset, element, patterns)
        if same and not there:
            return dataset.reader.pread(element.end - element.start, element.start)
        if _PIXELS in there:
            changes = (RecodeIcons(dataset.syntax, EXPLICIT),)
    pieces: list[bytes] = []
    edit: dict[int, Edit] = {element.tag: Within(element.tag, changes)} if same or changes else {}
    for piece in edited(dataset, [element], edit, EXPLICIT_LITTLE):
        if isinstance(piece, Span):
            pieces.extend(dataset.pieces(piece))
        else:
            assert isinstance(piece, bytes)
            pieces.append(piece)
    return b"".join(pieces)


def pixel_vr(opened: Opened) -> bytes:
    """Return the VR that Pixel Data has in Explicit VR Little Endian (PS3.5 A.1, A.2, A.4)."""
    pixel = opened.dataset.header.pixel
    allocated = opened.frames.format.allocated if opened.frames.format is not None else 16
    if pixel is not None and not opened.frames.encapsulated and pixel.vr in (b"OB", b"OW"):
        return pixel.vr
    return b"OW" if allocated > 8 else b"OB"


class Gathered:
    """The headers of all sources.

    `reference` is that of the first, `varying` has the tags that differ from it in any other, or are absent there.
    """

    def __init__(self, spool_in: str | None) -> None:
        self.sources = Sources()
        self.reference: dict[int, bytes] = {}
        self.varying: set[int] = set()
        self._spool = Spool(spool_in)
        self._reader: FileBytes | None = None
        self._offsets = array("Q")
        self._written = 0

    def add(self, source: Source, header: dict[int, bytes]) -> None:
        """Take the header of one more source."""
        if not len(self.sources):
            self.reference = header
        different = {tag: element for tag, element in header.items() if self.reference.get(tag) != element}
        absent = [tag for tag in self.reference if tag not in header]
        self.varying.update(different, absent)
        parts = [_ENTRY.pack(tag, len(element)) + element for tag, element in different.items()]
        parts += [_ENTRY.pack(tag, _ABSENT) for tag in absent]
        data = b"".join(parts)
        self._spool.write(data)
        self._offsets.append(self._written)
        self._written += len(data)
        self.sources.append(source)

    def finish(self) -> None:
        """End with the headers. A private element goes where its creator goes."""
        self._offsets.append(self._written)
        self.sources.gathered()
        self._reader = self._spool.read_back()
        for tag in self.reference:
            owner = creator(tag)
            if owner is not None and owner in self.varying:
                self.varying.add(tag)

    @property
    def shared(self) -> dict[int, bytes]:
        """The elements that are the same in all sources."""
        return {tag: element for tag, element in self.reference.items() if tag not in self.varying}

    def own(self, index: int) -> dict[int, bytes]:
        """Return the elements of a source that are not the same in all."""
        found = {tag: self.reference[tag] for tag in self.varying if tag in self.reference}
        for tag, element in self._differences(index):
            if element is None:
                found.pop(tag, None)
            else:
                found[tag] = element
        return found

    def header(self, index: int) -> dict[int, bytes]:
        """Return the whole header of a source."""
        return self.shared | self.own(index)

    def _differences(self, index: int) -> Iterator[tuple[int, bytes | None]]:
        assert self._reader is not None
        start, end = self._offsets[index], self._offsets[index + 1]
        data = self._reader.pread(end - start, start)
        position = 0
        while position < len(data):
            tag, length = _ENTRY.unpack_from(data, position)
            position += _ENTRY.size
            if length == _ABSENT:
                yield tag, None
                continue
            yield tag, data[position : position + length]
            position += length

    def close(self) -> None:
        """Remove the temporary file."""
        self._spool.close()


def described(path: str, opened: Opened, size: int) -> Source:
    """Return a source, checked: one frame, with pixels that are whole. Raises InputError, RefusedError."""
    header, frames = opened.dataset.header, opened.frames
    pixel = header.pixel
    if pixel is None or pixel.tag != PIXEL_DATA:
        raise InputError("it is no image: it has no Pixel Data", code="E_NO_PIXELDATA")
    frames.check()
    if len(frames) != 1:
        raise RefusedError(f"it has {len(frames)} frames already", code="E_IOD")
    lossy = False
    if frames.encapsulated:
        stream = frames.first_stream()
        lossy = stream is not None and not stream.reversible
    direct = not frames.encapsulated and frames.reader is opened.dataset.reader and opened.spool is None
    direct = direct and opened.dataset.syntax is not BIG_ENDIAN and not frames.big_endian
    fmt = frames.format
    return Source(
        path,
        header.text(legacy.SOP_INSTANCE),
        opened.dataset.syntax,
        vr=pixel_vr(opened),
        value=pixel.value if direct else -1,
        length=fmt.native_bytes if fmt is not None else 0,
        size=size,
        lossy=lossy,
        stored=fmt.stored if fmt is not None else 0,
    )


def names(paths: Sequence[str], most: int = 3) -> str:
    """Return some paths for a message."""
    more = len(paths) - most
    return ", ".join(paths[:most]) + (f" and {more} more" if more > 0 else "")


def differing(gathered: Gathered, tag: int) -> list[list[str]]:
    """Return the paths of the sources by their value of an attribute: the largest group first."""
    groups: dict[bytes, list[str]] = {}
    for index, source in enumerate(gathered.sources):
        groups.setdefault(gathered.own(index).get(tag, b""), []).append(source.path)
    return sorted(groups.values(), key=lambda paths: (-len(paths), paths))


def instance_of(header: dict[int, bytes]) -> str:
    """Return the SOP Instance UID of a header."""
    return text(header.get(legacy.SOP_INSTANCE))
