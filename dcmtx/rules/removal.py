"""Which elements go with `--remove`: private and retired ones, at every depth, but none that reads the image.

Private elements have an odd group (PS3.5 7.8). Which elements are retired is what pydicom's dictionary says (PS3.6).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dcmtx.dataset.dictionary import is_retired
from dcmtx.finding import Finding
from dcmtx.policy import Removal

if TYPE_CHECKING:
    from dcmtx.dataset.items import Item

# Retired elements that say how pixels are stored, where a file is so old that it needs them: planes, compression and
# blocks of ACR-NEMA, where the pixels are, and tables of grey and of large palettes.
_OF_PIXELS = (
    range(0x00280012, 0x00280013), range(0x0028005F, 0x00280094), range(0x00280200, 0x00280201),
    range(0x00280400, 0x00280800), range(0x00281080, 0x00281081), range(0x00281100, 0x00281215),
    range(0x7FE00000, 0x7FE10000),
)  # fmt: skip


# Groups that private elements must not have either (PS3.5 7.8).
_INVALID = frozenset([0x0001, 0x0003, 0x0005, 0x0007, 0xFFFF])


def goes(tag: int, removal: Removal) -> bool:
    """Tell whether an element is left out. Group lengths are not counted: they are left out always."""
    if tag & 0xFFFF == 0:
        return False
    if tag >> 16 & 1:
        return removal.private or (removal is Removal.INVALID and tag >> 16 in _INVALID)
    return removal.retired and is_retired(tag) and not any(tag in kept for kept in _OF_PIXELS)


class Remover:
    """A change inside sequences: elements are left out of items. It counts them, those at top level too."""

    everywhere = True

    def __init__(self, removal: Removal) -> None:
        self._removal = removal
        self._counts = {True: 0, False: 0}
        self._inside = 0

    def __call__(self, item: Item) -> dict[int, bytes]:
        """Return what changes in an item."""
        found = [part.tag for part in item.parts if goes(part.tag, self._removal)]
        if not item.again:
            self._inside += len(found)
            self._count(found)
        return dict.fromkeys(found, b"")

    def of_top_level(self, tags: Iterable[int]) -> list[int]:
        """Return those of the tags at top level whose elements are left out, and count them."""
        found = [tag for tag in tags if goes(tag, self._removal)]
        self._count(found)
        return found

    def _count(self, tags: list[int]) -> None:
        for tag in tags:
            self._counts[bool(tag >> 16 & 1)] += 1

    def describe(self) -> str:
        """Return the change in a few words."""
        return f"elements are left out: {self._removal.value.replace(',', ' and ')}"

    @property
    def count(self) -> int:
        """How many elements were left out."""
        return sum(self._counts.values())

    def notes(self) -> tuple[Finding, ...]:
        """Return how many elements were left out."""
        kinds = [(self._removal.private, True, "private"), (self._removal.retired, False, "retired")]
        said = " and ".join(f"{self._counts[odd]} {name}" for asked, odd, name in kinds if asked)
        total = sum(self._counts.values())
        what = f"element{'s' * (total != 1)}"
        what = f"{said} {what}" if said else f"{total} {what} of invalid groups"
        inside = f", {self._inside} of them inside sequences" if self._inside else ""
        return (Finding("N_REMOVED", f"left out {what}{inside}"),)
