"""Conditions of routes, as the configuration has them: an attribute, and what it must be."""

from __future__ import annotations

import re
from typing import Any

from dcmtx.relay import values
from dcmtx.relay.config import Condition

# What is no attribute, but of the association.
ASSOCIATION = ("calling", "called")
SOP_CLASS = "SOPClassUID"
_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")
_UID = re.compile(r"[0-9.*?]*")
# VRs whose values are bytes, words or items, which are no text.
_NO_TEXT = frozenset({"SQ", "OB", "OW", "OD", "OF", "OL", "OV", "UN", "OB or OW"})
# Behind these no attribute is looked at: they are in the header before the pixels.
_PIXELS = 0x7FE00000
_MOST_SHOWN = 60


def conditions(where: dict[str, Any]) -> tuple[Condition, ...]:
    """Return the conditions of a table: attributes and what they must be. Raises UnfitError."""
    return tuple(_condition(name, value) for name, value in where.items())


def _condition(name: str, value: Any) -> Condition:
    try:
        found = values.matching(value)
    except values.UnfitError as error:
        raise values.UnfitError(f"{name[:_MOST_SHOWN]} {error}") from None
    if name in ASSOCIATION:
        return Condition(name, None, found.patterns, unlike=found.unlike)
    patterns, unlike = found.patterns, found.unlike
    if name == SOP_CLASS:
        patterns, unlike = (tuple(_class(word) for word in words) for words in (patterns, unlike))
    return Condition(name, _tag(name), patterns, unlike=unlike)


def _tag(name: str) -> int:
    """Return the tag that a keyword or (GGGG,EEEE) names."""
    if written := _TAG.fullmatch(name):
        tag = int(written[1] + written[2], 16)
    else:
        from pydicom.datadict import dictionary_VR, tag_for_keyword

        found = tag_for_keyword(name)
        if found is None:
            raise values.UnfitError(
                f"{name[:_MOST_SHOWN]} is no keyword of an attribute; write one such as Modality, or (GGGG,EEEE), or "
                "calling, called"
            )
        tag = int(found)
        if dictionary_VR(tag) in _NO_TEXT:
            raise values.UnfitError(f"{name} has no text that could be compared; choose another attribute")
    if not 0x00080000 <= tag < _PIXELS:
        raise values.UnfitError(f"{name} is not in the data set before the pixels; choose another attribute")
    return tag


def _class(word: str) -> str:
    """Return the UID of a SOP class that is named by its keyword; a UID or a pattern of UIDs as it is."""
    if _UID.fullmatch(word):
        return word
    from pydicom._uid_dict import UID_dictionary

    for uid, entry in UID_dictionary.items():
        if entry[4] == word:
            return uid
    raise values.UnfitError(
        f"{SOP_CLASS} has {values.shown(word)}, which is neither a UID nor a keyword; write one such as CTImageStorage"
    )
