"""What a data set must say of a part of an image: its rows, columns and frames, and that it is derived.

A part is another instance, in another series of the same study and Frame of Reference (PS3.3 C.7.6.1.1.2; PS3.17
VVV.1). What is said in pixels is shifted, and what is not true of the part goes.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from dcmtx._version import __version__
from dcmtx.dataset.edit import Append, Edit, Remove, Set, Within
from dcmtx.dataset.encoding import append_item
from dcmtx.dataset.header import Header
from dcmtx.dataset.items import items_of
from dcmtx.errors import RefusedError
from dcmtx.finding import Finding
from dcmtx.policy import Cut, Policy
from dcmtx.rules import image
from dcmtx.rules.apertures import APERTURES, shifted
from dcmtx.rules.derivation import code, element
from dcmtx.rules.frame_numbers import along_normal, frame_edits, slices_before
from dcmtx.rules.groups import FIELDS_OF_VIEW, OF_THE_WHOLE, left_out, unplaced
from dcmtx.rules.objects import SOP_CLASS_UID, STORAGE
from dcmtx.rules.position import decimal_strings, moved, normal, numbers
from dcmtx.rules.regions import REGIONS, CutRegions
from dcmtx.syntax import Encoding

if TYPE_CHECKING:
    from dcmtx.dataset.items import Item

_POSITION, _ORIENTATION, _SPACING = 0x00200032, 0x00200037, 0x00280030
_DETECTORS = 0x00540022
_RT_POSITION, _RT_ORIENTATION, _RT_SPACING = 0x30020012, 0x30020010, 0x30020011
# PS3.3 C.8.8.2: without an orientation, columns go along x, and rows against y.
_RT_DEFAULT = (1, 0, 0, 0, -1, 0)
# Curves, which are retired, may be drawn in pixels.
_CURVES = range(0x5000, 0x5020, 2)
_CONTRIBUTING = 0x0018A001
_MICROSCOPY = f"{STORAGE}.77.1.6"
_DIMENSION_TYPE, _MATRIX_COLUMNS = 0x00209311, 0x00480006


def check_whole(header: Header) -> None:
    """Raise RefusedError, E_IOD, for images whose frames are parts of one picture, or whose picture is many."""
    what = ""
    if header.text(SOP_CLASS_UID) == _MICROSCOPY or _MATRIX_COLUMNS in header:
        what = "a whole slide image, whose frames are tiles of it"
    elif header.text(_DIMENSION_TYPE).startswith("TILED"):
        what = "tiled: its frames are parts of one picture"
    elif "MOSAIC" in header.text(0x00080008).split("\\"):
        what = "a mosaic, which has many slices in one picture"
    if what:
        raise RefusedError(f"it is {what}", advice="only images of one picture a frame are cropped", code="E_IOD")


def in_words(cut: Cut, rows: int, columns: int, frames: int) -> str:
    """Return what is kept, in the numbers of DICOM: from 1, the last included."""
    parts = [f"rows {cut.top + 1}-{cut.bottom} of {rows}, columns {cut.left + 1}-{cut.right} of {columns}"]
    if cut.frames != frames:
        parts.append(f"frames {cut.first + 1}-{cut.end} of {frames}")
    return f"cropped to {', '.join(parts)}"


class Crop:
    """The edits at top level that a part of an image needs, apart from those of overlays and functional groups."""

    def __init__(self, header: Header, cut: Cut, frames: int, *, target: Encoding) -> None:
        self._header = header
        self._cut = cut
        self._frames = frames
        self._target = target
        self._lost: list[int] = []

    def edits(self) -> dict[int, Edit]:
        """Return the edits. Raises RefusedError, E_IOD, for a position that cannot be moved."""
        header, cut = self._header, self._cut
        edits: dict[int, Edit] = {
            image.ROWS: Set(image.ROWS, b"US", struct.pack("<H", cut.rows)),
            image.COLUMNS: Set(image.COLUMNS, b"US", struct.pack("<H", cut.columns)),
        }
        if cut.frames != self._frames:
            change = frame_edits(header, cut, self._frames, self._target)
            edits |= change.edits
            self._lost += change.lost
        edits |= {tag: Remove(tag) for tag in OF_THE_WHOLE if tag in header}
        self._lose(edits, FIELDS_OF_VIEW)
        self._lose(edits, (tag for tag in header.tags() if tag >> 16 in _CURVES))
        for more in (self._placed(), self._apertures(), self._regions(), self._detectors()):
            edits |= dict(more)
        return edits

    def notes(self) -> tuple[Finding, ...]:
        """Return a note on what was removed, because nothing tells how it would have to change."""
        return left_out(self._lost)

    def _lose(self, edits: dict[int, Edit], tags: Iterator[int] | tuple[int, ...]) -> None:
        """Remove elements, and remember to tell."""
        for tag in tags:
            if tag in self._header:
                edits[tag] = Remove(tag)
                self._lost.append(tag)

    def _placed(self) -> Iterator[tuple[int, Edit]]:
        """Yield positions: in the patient, and on an image receptor."""
        header, cut = self._header, self._cut
        behind = along_normal(header, cut)
        if header.text(_POSITION) and (cut.top or cut.left or any(behind)):
            position = numbers(header.text(_POSITION), 3)
            orientation = numbers(header.text(_ORIENTATION), 6)
            spacing = numbers(header.text(_SPACING), 2)
            if position is None or orientation is None or spacing is None:
                raise unplaced()
            places = moved(position, orientation, spacing, cut)
            values = [place + more for place, more in zip(places, behind, strict=True)]
            yield _POSITION, Set(_POSITION, b"DS", decimal_strings(values))
        if header.text(_RT_POSITION) and (cut.top or cut.left):
            yield _RT_POSITION, self._on_receptor()

    def _on_receptor(self) -> Edit:
        header = self._header
        position, spacing = numbers(header.text(_RT_POSITION), 2), numbers(header.text(_RT_SPACING), 2)
        orientation = numbers(header.text(_RT_ORIENTATION), 6)
        if position is None or spacing is None:
            self._lost.append(_RT_POSITION)
            return Remove(_RT_POSITION)
        cosines = orientation or tuple(map(Decimal, _RT_DEFAULT))
        x, y, _ = moved((*position, Decimal(0)), cosines, spacing, self._cut)
        return Set(_RT_POSITION, b"DS", decimal_strings([x, y]))

    def _apertures(self) -> Iterator[tuple[int, Edit]]:
        header = self._header
        for base in APERTURES:
            for tag, text in shifted(base, header.text, self._cut).items():
                if text is not None:
                    yield tag, Set(tag, b"CS" if tag == base else b"IS", text.encode("ascii"))
                elif tag in header:
                    yield tag, Remove(tag)

    def _regions(self) -> Iterator[tuple[int, Edit]]:
        if REGIONS not in self._header:
            return
        change = CutRegions(self._cut, self._target)
        kept = any(0xFFFEE000 not in change(item) for item in items_of(self._header, REGIONS))
        yield REGIONS, Within(REGIONS, (change,)) if kept else Remove(REGIONS)

    def _detectors(self) -> Iterator[tuple[int, Edit]]:
        """Yield the positions that nuclear medicine has in its detectors (PS3.3 C.8.4.11)."""
        cut = self._cut
        if _DETECTORS in self._header and (cut.top or cut.left or cut.first):
            yield _DETECTORS, Within(_DETECTORS, (_MoveDetectors(self._header, cut, self._target),))


class _MoveDetectors:
    """A change inside sequences: positions of detectors, which are those of first slices, are those of the part."""

    def __init__(self, header: Header, cut: Cut, target: Encoding) -> None:
        self._cut = cut
        self._spacing = numbers(header.text(_SPACING), 2)
        self._behind = slices_before(header, cut)
        self._target = target

    def __call__(self, item: Item) -> dict[int, bytes]:
        """Return what changes in an item."""
        if item.path != (_DETECTORS,) or not item.text(_POSITION):
            return {}
        position, orientation = numbers(item.text(_POSITION), 3), numbers(item.text(_ORIENTATION), 6)
        if position is None or orientation is None or self._spacing is None or self._behind is None:
            raise unplaced()
        from dcmtx.dataset.element import element_bytes

        places = moved(position, orientation, self._spacing, self._cut)
        along = zip(places, normal(orientation), strict=True)
        value = decimal_strings([place + self._behind * part for place, part in along])
        return {_POSITION: element_bytes(_POSITION, b"DS", value, self._target)}

    def describe(self) -> str:
        """Return the change in a few words."""
        return "positions are those of the part"


def contribution(policy: Policy, what: str) -> Append:
    """Return the edit that tells which equipment made the part (PS3.3 C.12.1.1)."""
    now = time.strftime("%Y%m%d%H%M%S", time.localtime(policy.created))
    item = b"".join(
        [
            element(0x00080070, b"LO", "dcmtx"),
            element(0x00081090, b"LO", "dcmtx"),
            element(0x00181020, b"LO", __version__[:64]),
            element(0x0018A002, b"DT", now),
            element(0x0018A003, b"ST", what),
            append_item(b"", 0x0040A170, code("109102", "Processing Equipment")),
        ]
    )
    return Append(_CONTRIBUTING, item)
