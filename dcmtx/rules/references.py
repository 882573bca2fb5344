"""References to SOP Instances, and how they follow instances that got a new UID."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dcmtx.dataset.element import UNDEFINED, element_bytes

if TYPE_CHECKING:
    from dcmtx.dataset.items import Item
    from dcmtx.syntax import Encoding

# Attributes whose values are SOP Instance UIDs of other instances: Failed SOP Instance UID List, Referenced SOP
# Instance UID, SOP Instance UID of Concatenation Source, and UID of a content item (PS3.3 10.8, C.7.6.16, C.18).
REFERENCES = frozenset([0x00080058, 0x00081155, 0x00200242, 0x0040A124])
# Source Image Sequence and Source Image Evidence Sequence say what an instance was made from, which is never itself.
_SOURCES = frozenset([0x00082112, 0x00089154])


class Follow:
    """A change inside sequences: references follow. `renamed` has the new UIDs by the old, `own` is that of the file.

    It counts what it changes, that at top level too.
    """

    everywhere = True

    def __init__(self, renamed: Mapping[str, str], own: str, encoding: Encoding) -> None:
        self._renamed = renamed
        self._own = own
        self._encoding = encoding
        self.count = 0

    def __call__(self, item: Item) -> dict[int, bytes]:
        """Return what changes in an item."""
        made: dict[int, bytes] = {}
        counted = self.count
        of_source = not _SOURCES.isdisjoint(item.path)
        for part in item.parts:
            if part.tag not in REFERENCES or part.length == UNDEFINED:
                continue
            new = self.followed(item.value(part.tag), of_source=of_source)
            if new is not None:
                made[part.tag] = element_bytes(part.tag, b"UI", new, self._encoding)
        if item.again:
            self.count = counted
        return made

    def followed(self, value: bytes, *, of_source: bool = False) -> bytes | None:
        """Return a value with new UIDs, or None if it stays. `of_source`: it names what the file was made from."""
        uids = value.decode("latin-1").split("\\")
        new = [self._new(uid.strip("\0 "), of_source) for uid in uids]
        if not any(new):
            return None
        self.count += sum(map(bool, new))
        return "\\".join(one or uid.strip("\0 ") for one, uid in zip(new, uids, strict=True)).encode("latin-1")

    def _new(self, uid: str, of_source: bool) -> str:
        """Return the new UID of an instance, or nothing if it has none."""
        new = self._renamed.get(uid, "")
        return "" if new == uid or (of_source and new == self._own) else new
