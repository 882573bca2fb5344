"""Maps fragments of encapsulated Pixel Data to frames (PS3.5 A.4)."""

from __future__ import annotations

from array import array

from dcmtx.dataset.element import UNDEFINED
from dcmtx.dataset.header import Header
from dcmtx.pixel import encapsulation
from dcmtx.pixel.codestream import END, KINDS, ends_frame, starts_frame
from dcmtx.place.bytes import Reader
from dcmtx.syntax import Fragments, Syntax

OFFSETS = 0x7FE00001
OFFSET_LENGTHS = 0x7FE00002


class FragmentReader:
    """The fragments of one Pixel Data element; their bytes show where frames start."""

    def __init__(self, reader: Reader, fragments: encapsulation.Fragments, syntax: Syntax) -> None:
        self._reader = reader
        self._fragments = fragments
        self._syntax = syntax

    @property
    def _has_codestreams(self) -> bool:
        return self._syntax.family in KINDS

    def holds_one(self) -> bool:
        """Tell whether the fragments are exactly one frame."""
        count = len(self._fragments.values)
        return count == 1 or (self._has_codestreams and sum(map(self._starts_frame, range(count))) == 1)

    def map_frames(self, header: Header, frames: int) -> encapsulation.FrameMap:
        """Return which fragments belong to which of `frames` frames; `header` may have an Extended Offset Table.

        Raises InputError where they cannot be mapped.
        """
        return encapsulation.map_frames(
            self._fragments,
            frames,
            self.extended_table(header),
            single=self._syntax.fragments is Fragments.ONE,
            starts_frame=self._starts_frame if self._has_codestreams else None,
        )

    def extended_table(self, header: Header) -> encapsulation.ExtendedTable | None:
        """Return the Extended Offset Table; if it has more entries than fragments, an empty one, which fits nothing."""
        most = 8 * len(self._fragments.values)
        tables = [header.get(tag) for tag in (OFFSETS, OFFSET_LENGTHS)]
        if any(table is not None and most < table.length < UNDEFINED for table in tables):
            return encapsulation.ExtendedTable(array("Q"), array("Q"))
        return encapsulation.read_extended(header.value(OFFSETS, most), header.value(OFFSET_LENGTHS, most))

    def _starts_frame(self, number: int) -> bool:
        if not self._begins(number):
            return False
        return number == 0 or self._syntax.fragments is Fragments.ONE or self._ended_before(number)

    def _begins(self, number: int) -> bool:
        """Tell whether a fragment begins like a codestream."""
        fragments = self._fragments
        first = self._reader.pread(min(12, fragments.lengths[number]), fragments.values[number])
        return starts_frame(first, self._syntax.family)

    def _ended_before(self, number: int) -> bool:
        """Tell whether a codestream ends in the fragments before this one, back to where one began.

        Bytes after EOI or EOC are ignored; neither marker can occur in coded data (T.81 B.1.1.5, T.800 B.10.1).
        """
        fragments = self._fragments
        behind = b""
        for before in range(number - 1, -1, -1):
            value, length = fragments.values[before], fragments.lengths[before]
            near = min(16, length)
            if ends_frame(self._reader.pread(near, value + length - near)):
                return True
            data = self._reader.pread(length, value)
            # The marker may be split between two fragments.
            if END in data + behind:
                return True
            if self._begins(before):
                return False
            behind = data[:1] or behind
        return False
