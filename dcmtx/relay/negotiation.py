"""Who takes what (PS3.8 9.3.2.2, PS3.5 10.1), as pure functions.

Which contexts to accept, which to offer, and in which transfer syntaxes to send an instance, best first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dcmtx.codec.table import DECODERS
from dcmtx.record import Record
from dcmtx.relay.association import MOST_CONTEXTS, Proposed, Result
from dcmtx.relay.dimse import VERIFICATION
from dcmtx.relay.patterns import matches_any
from dcmtx.syntax import BY_UID, EXPLICIT, IMPLICIT, Kind, Loss, Syntax

if TYPE_CHECKING:
    from dcmtx.relay.config import Destination

# Results of a presentation context (PS3.8 Table 9-18).
ACCEPTANCE, NO_ABSTRACT_SYNTAX, NO_TRANSFER_SYNTAX = 0, 3, 4

_DICOM = "1.2.840.10008."
_STORAGE = "1.2.840.10008.5.1.4.1.1."
# Storage SOP classes outside that branch: radiotherapy and protocols, palettes, implant templates (PS3.4 B.5, GG.3).
_MORE_STORAGE = frozenset(
    f"1.2.840.10008.5.1.4.{last}" for last in ("34.7", "34.10", "38.1", "39.1", "43.1", "44.1", "45.1")
)  # fmt: skip
# PS3.5 9.1, but for leading zeros, which some have.
_UID = re.compile(r"(?=.{1,64}\Z)[0-9]+(\.[0-9]+)+")
# What is no data set in a file: video in real time, and wrappings of whole files.
_NOT_STORED = (Kind.FLOW, Kind.MESSAGE)


# --- as acceptor ---------------------------------------------------------------------------------------------------


def is_storage(sop_class: str) -> bool:
    """Tell whether instances of this class are stored: every storage class, private ones too."""
    if _UID.fullmatch(sop_class) is None:
        return False
    return not sop_class.startswith(_DICOM) or sop_class.startswith(_STORAGE) or sop_class in _MORE_STORAGE


def answer_contexts(proposed: Iterable[Proposed], patterns: Sequence[str] = ()) -> list[Result]:
    """Return the answer to every context: the sender's first syntax that can be decoded, lossless before lossy.

    What can only be carried, such as video, comes last. `patterns` of UIDs narrow what is taken.
    """
    return [_answer(context, patterns) for context in proposed]


def _answer(context: Proposed, patterns: Sequence[str]) -> Result:
    if context.abstract == VERIFICATION:
        patterns = ()
    elif not is_storage(context.abstract):
        return Result(context, NO_ABSTRACT_SYNTAX)
    known = [
        uid
        for uid in context.syntaxes
        if uid in BY_UID and BY_UID[uid].kind not in _NOT_STORED and matches_any(patterns, uid)
    ]
    if not known:
        return Result(context, NO_TRANSFER_SYNTAX)
    # The least is the first of several.
    return Result(context, ACCEPTANCE, min(known, key=_rank))


def _rank(uid: str) -> int:
    if not DECODERS.rows(uid) and BY_UID[uid].kind is not Kind.NATIVE:
        return 2
    return 1 if BY_UID[uid].loss is Loss.LOSSY or BY_UID[uid].loss is Loss.BOTH else 0


# --- as requestor --------------------------------------------------------------------------------------------------


class Wanted(Record):
    """A transfer syntax to send an instance in. `lossy`: the pixels lose information, by the destination's consent."""

    syntax: str
    lossy: bool = False


def choices(destination: Destination, source: str) -> list[Wanted]:
    """Return the syntaxes in which an instance that has syntax `source` may be sent, best first.

    They are the destination's preferences, then its own, untouched, then the native ones. Nothing that may have lost
    information already loses more: from a lossy syntax leads no way to another, but to those that keep all.
    """
    found: dict[str, Wanted] = {}
    for uid in (*destination.prefer, source, EXPLICIT.uid, IMPLICIT.uid):
        if uid not in found and matches_any(destination.accept, uid):
            wanted = _wanted(destination, source, uid)
            if wanted is not None:
                found[uid] = wanted
    return list(found.values())


def _wanted(destination: Destination, source: str, uid: str) -> Wanted | None:
    """Return how to make this syntax of the other, or None if it may not be made."""
    row = BY_UID.get(uid)
    if uid == source:
        return Wanted(uid)
    if row is None or row.kind not in (Kind.NATIVE, Kind.FRAMES):
        return None
    if row.loss in (Loss.NONE, Loss.LOSSLESS):
        return Wanted(uid)
    if may_have_lost(BY_UID.get(source)):
        return Wanted(uid) if row.loss is Loss.BOTH else None
    if destination.lossy is not None:
        return Wanted(uid, lossy=True)
    return Wanted(uid) if row.loss is Loss.BOTH else None


def may_have_lost(syntax: Syntax | None) -> bool:
    """Tell whether pixels in this syntax may have lost information."""
    return syntax is None or syntax.loss in (Loss.LOSSY, Loss.BOTH)


def offers(pairs: Iterable[tuple[str, str]], destination: Destination) -> list[tuple[str, str]]:
    """Return the contexts to propose, one syntax in each, for instances of these classes and syntaxes.

    Implicit VR Little Endian is among them for every class (PS3.5 10.1), unless its accept list says otherwise. Of
    pairs that do not fit into an association with those before them, nothing is proposed.
    """
    found: dict[tuple[str, str], None] = {}
    for sop_class, source in pairs:
        more = {(sop_class, wanted.syntax): None for wanted in choices(destination, source)}
        if len(found | more) <= MOST_CONTEXTS:
            found |= more
    return list(found)
