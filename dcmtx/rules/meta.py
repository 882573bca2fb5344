"""File Meta Information against the data set (PS3.10 7.1)."""

from __future__ import annotations

from collections.abc import Iterator

from dcmtx.dataset.element import tag_text
from dcmtx.dataset.header import Header
from dcmtx.dataset.meta import (
    IMPLEMENTATION_CLASS,
    META_VERSION,
    SOP_CLASS,
    SOP_CLASS_UID,
    SOP_INSTANCE,
    SOP_INSTANCE_UID,
    FileMeta,
)
from dcmtx.finding import Finding, Severity

_SAME = ((SOP_CLASS, SOP_CLASS_UID, "SOP Class UID"), (SOP_INSTANCE, SOP_INSTANCE_UID, "SOP Instance UID"))
# PS3.10 Table 7.1-1: of type 1.
_REQUIRED = (META_VERSION, SOP_CLASS, SOP_INSTANCE, IMPLEMENTATION_CLASS)


def findings(meta: FileMeta, header: Header) -> Iterator[Finding]:
    """Yield UIDs that differ between File Meta Information and data set, and elements that are missing there."""
    if not meta.meta:
        return
    for tag, inside, name in _SAME:
        said, held = meta.text(tag), header.text(inside)
        if said and held and said != held:
            yield Finding(
                "N_META_UID",
                f"{name} {tag_text(tag)} of the File Meta Information is not that of the data set {tag_text(inside)}",
                Severity.WARNING,
                tag=tag,
            )
    there = {element.tag for element in meta.meta if element.value}
    missing = [tag for tag in _REQUIRED if tag not in there]
    if missing:
        yield Finding(
            "N_META_MISSING",
            f"the File Meta Information has no {', '.join(map(tag_text, missing))}",
            Severity.WARNING,
            tag=missing[0],
        )
