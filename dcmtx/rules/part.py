"""The record of a derivation by cropping: UIDs, codes, source (PS3.3 C.7.6.1.1.3, C.7.6.16.2.6; PS3.17 VVV).

PS3.16 CID 7203 has codes for frames that are taken from others, and none for cropping in the plane: that is private.
"""

from __future__ import annotations

from dcmtx.dataset.edit import Append, Edit, Reserve, Set
from dcmtx.dataset.encoding import append_item
from dcmtx.dataset.header import Header
from dcmtx.dataset.meta import SOP_CLASS_UID, SOP_INSTANCE_UID
from dcmtx.policy import Cut, Policy
from dcmtx.rules.crop import contribution
from dcmtx.rules.derivation import (
    DERIVATION_DESCRIPTION,
    SOURCE_IMAGES,
    code,
    created,
    described,
    element,
    identified,
)
from dcmtx.rules.frame_numbers import FRAME_TIME, FRAME_TIME_VECTOR
from dcmtx.rules.groups import Ranks
from dcmtx.rules.identity import part_uid
from dcmtx.rules.lossy import DERIVATION_CODES, LOSSY_CODE, RATIO_WIDTH, SOURCE_EVIDENCE, evidence_item

SERIES_UID = 0x0020000E
_POINTER = 0x00280009
# Pointers of frames that differ in time: frame time and its vector; R-R interval, time slot, time slice.
_TIMES = (FRAME_TIME, FRAME_TIME_VECTOR, 0x00540060, 0x00540070, 0x00540100)
_SPATIAL = code("113091", "Spatially-related frames extracted from the volume")
_TEMPORAL = code("113092", "Temporally-related frames extracted from the set of volumes")
_IN_PLANE = b"".join(
    [
        element(0x00080100, b"SH", "CROP"),
        element(0x00080102, b"SH", "99DCMTX"),
        element(0x00080104, b"LO", "Cropped in the plane of the image"),
    ]
)
_SOURCE = code("121322", "Source image for image processing operation")
# Explicit VR has 16 bits for the length of an Integer String.
_LONGEST = 0xFFFE


class Part:
    """How one part of an image tells what it was made from.

    `what` says in words what is kept, `name` which parts of a series belong together. `others` are inputs that decide
    the pixels where coding is not exact. `method` is the name of the coding that loses, or empty.
    """

    def __init__(
        self, header: Header, cut: Cut, frames: int, *, what: str, name: str, others: tuple[str, ...], method: str
    ) -> None:
        self._header = header
        self._cut = cut
        self._frames = frames
        self._what = what
        self._name = name
        self._others = others
        self._method = method

    @property
    def instance(self) -> str | None:
        """The new SOP Instance UID; None for an image that has none to make it of."""
        old = self._header.text(SOP_INSTANCE_UID)
        return part_uid(old, f"instance {self._name}", *self._others) if old else None

    def edits(self, policy: Policy, ranks: Ranks | None, *, whole_in_plane: bool, grouped: bool) -> dict[int, Edit]:
        """Return the edits at top level; `grouped` says that functional groups record the derivation."""
        header = self._header
        series = header.text(SERIES_UID)
        self._codes = self._derivation_codes(ranks, whole_in_plane=whole_in_plane)
        edits = created(policy) | identified(header, self.instance)
        if series:
            new = part_uid(series, f"series {self._name}")
            edits[SERIES_UID] = Set(SERIES_UID, b"UI", new.encode("ascii"))
        added = contribution(policy, self._what)
        edits[added.tag] = added
        if grouped and self.instance:
            edits[SOURCE_EVIDENCE] = Append(SOURCE_EVIDENCE, evidence_item(header))
        if grouped:
            return edits
        edits[DERIVATION_DESCRIPTION] = self._description()
        edits[DERIVATION_CODES] = Append(DERIVATION_CODES, self._codes[0], more=self._codes[1:])
        if self.instance:
            edits[SOURCE_IMAGES] = Append(SOURCE_IMAGES, self._source(None))
        return edits

    def of_frame(self, number: int | None) -> bytes:
        """Return the item of Derivation Image of a frame, by its number in the source; of all frames for None."""
        said = f"{self._what}; {self._method} lossy compression" if self._method else self._what
        made = element(DERIVATION_DESCRIPTION, b"ST", said)
        if self.instance:
            made += append_item(b"", SOURCE_IMAGES, self._source(number))
        codes = b""
        for item in self._codes:
            codes = append_item(codes, DERIVATION_CODES, item)
        return made + codes

    def _description(self) -> Edit:
        if not self._method:
            told = described(self._header, self._what.encode("ascii"))
            return Set(DERIVATION_DESCRIPTION, b"ST", told)
        added = f"{self._what}; {self._method} lossy compression, ratio ".encode("ascii")
        prefix = described(self._header, added, RATIO_WIDTH)
        return Reserve(DERIVATION_DESCRIPTION, b"ST", RATIO_WIDTH, key="ratio", prefix=prefix)

    def _derivation_codes(self, ranks: Ranks | None, *, whole_in_plane: bool) -> tuple[bytes, ...]:
        codes: tuple[bytes, ...] = () if whole_in_plane else (_IN_PLANE,)
        if self._cut.frames != self._frames:
            codes += self._frame_codes(ranks)
        return (*codes, LOSSY_CODE) if self._method else codes

    def _frame_codes(self, ranks: Ranks | None) -> tuple[bytes, ...]:
        """Return what frames were taken from: a volume, or a set of them that differ in time."""
        if ranks is not None and ranks.places.times:
            fewer_times = len(ranks.kept_places.times) < len(ranks.places.times)
            fewer_spaces = len(ranks.kept_places.spaces) < len(ranks.places.spaces)
            return ((_SPATIAL,) if fewer_spaces or not fewer_times else ()) + ((_TEMPORAL,) if fewer_times else ())
        value = self._header.value(_POINTER)[:4]
        order = "big" if self._header.encoding.big_endian else "little"
        pointer = int.from_bytes(value[:2], order) << 16 | int.from_bytes(value[2:], order)  # type: ignore[arg-type]
        return (_TEMPORAL,) if pointer in _TIMES else (_SPATIAL,)

    def _source(self, number: int | None) -> bytes:
        """Return the item that references the source, with the number of a frame, or of all that are kept."""
        header, cut = self._header, self._cut
        item = element(0x00081150, b"UI", header.text(SOP_CLASS_UID))
        item += element(0x00081155, b"UI", header.text(SOP_INSTANCE_UID))
        frames = range(cut.first + 1, (cut.end or 0) + 1) if cut.frames != self._frames else range(0)
        text = "\\".join(map(str, frames if number is None else [number + 1]))
        if text and len(text) <= _LONGEST:
            item += element(0x00081160, b"IS", text)
        return item + append_item(b"", 0x0040A170, _SOURCE)
