"""Proves that one destination is what the report of its conversion says."""

from __future__ import annotations

import contextlib
import os
import stat
from contextlib import closing
from enum import Enum

from dcmtx.dataset.meta import FileMeta, peek
from dcmtx.errors import DcmtxError, InputError, RefusedError, UnsupportedError
from dcmtx.inspect.ledger import Promise
from dcmtx.place.places import is_remote, open_reader
from dcmtx.policy import WordOrder
from dcmtx.record import Record
from dcmtx.syntax import find

_INSTANCE = 0x00020003
# What `place.remote` says of an object that there is not.
_NO_OBJECT = "there is no such object"
# Errors of files that a conversion carries without decoding them.
_UNDECODED = frozenset(["E_NO_PIXELDATA", "E_FLOAT", "E_INCONSISTENT"])


class Verdict(Enum):
    """What is found of a destination."""

    PROVEN = "proven"  # as its record says, with the same pixels if they were asked for
    UNCOMPARED = "uncompared"  # as its record says; its pixels were decoded, and there is nothing to compare them with
    MISSING = "missing"
    CHANGED = "changed"
    NOT_MADE = "not made"  # its conversion failed
    UNREPORTED = "unreported"  # it is there, and not in the report

    @property
    def holds(self) -> bool:
        """Whether nothing differs from the report."""
        return self in (Verdict.PROVEN, Verdict.UNCOMPARED)


class Proof(Record):
    """The verdict on one destination; `what` says how it differs, `frames` how many were decoded.

    `pixels` says whether it is about them too.
    """

    path: str
    verdict: Verdict
    what: str = ""
    frames: int = 0
    pixels: bool = False


class Task(Record):
    """One destination to prove, with its pixels or without."""

    promise: Promise
    pixels: bool


def prove(task: Task) -> Proof:
    """Compare a destination with what its report promises. Never raises for what is wrong with the file."""
    promise = task.promise
    if is_remote(promise.path):
        return _prove_object(task)
    try:
        found = os.stat(promise.path)
    except OSError as error:
        if not promise.made:
            return Proof(promise.path, Verdict.NOT_MADE, what=promise.why)
        return Proof(promise.path, Verdict.MISSING, what=error.strerror or str(error))
    if not promise.made:
        return Proof(promise.path, Verdict.NOT_MADE, what=f"{promise.why} (what is there now is not of this report)")
    if not stat.S_ISREG(found.st_mode):
        return Proof(promise.path, Verdict.CHANGED, what="it is no regular file")
    return _prove_what_is_there(task)


def _prove_object(task: Task) -> Proof:
    """Do the same for an object in a store."""
    promise = task.promise
    if not promise.made:
        return Proof(promise.path, Verdict.NOT_MADE, what=promise.why)
    found = _prove_what_is_there(task)
    return found.replace(verdict=Verdict.MISSING) if found.what == _NO_OBJECT else found


def _prove_what_is_there(task: Task) -> Proof:
    promise = task.promise
    try:
        what = _difference(promise)
        if what:
            return Proof(promise.path, Verdict.CHANGED, what=what)
        return _prove_pixels(promise) if task.pixels else Proof(promise.path, Verdict.PROVEN)
    except DcmtxError as error:
        return Proof(promise.path, Verdict.CHANGED, what=error.message)


def _difference(promise: Promise) -> str:
    """Return how size, syntax or SOP Instance UID differ, or an empty string. Raises InputError."""
    with closing(open_reader(promise.path)) as file:
        if promise.size is not None and file.size != promise.size:
            return f"it has {file.size} bytes, recorded were {promise.size}"
        meta = peek(file)
    if promise.syntax and meta.syntax != promise.syntax:
        return f"it is {_label(meta.syntax)}, recorded was {_label(promise.syntax)}"
    return _other_instance(promise, meta)


def _other_instance(promise: Promise, meta: FileMeta) -> str:
    instance = meta.text(_INSTANCE)
    if promise.instance and instance and instance != promise.instance:
        return f"it is SOP Instance {instance}, recorded was {promise.instance}"
    return ""


def _label(uid: str) -> str:
    syntax = find(uid)
    return syntax.label if syntax else uid or "of no transfer syntax"


def _prove_pixels(promise: Promise) -> Proof:
    """Decode every frame, and compare the digest where there is one to compare. Raises DcmtxError."""
    try:
        digests, count = _digests(promise.path)
    except (InputError, UnsupportedError) as error:
        # What the conversion did not decode either: it had no pixels, or carried them as they were.
        if promise.digest is None and not promise.lost and error.code in _UNDECODED:
            verdict = Verdict.PROVEN if error.code == "E_NO_PIXELDATA" else Verdict.UNCOMPARED
            return Proof(promise.path, verdict, what=error.message)
        raise
    if promise.digest is None:
        why = "it was coded with loss" if promise.lost else "the report has no digest of its pixels"
        return Proof(promise.path, Verdict.UNCOMPARED, what=why, frames=count)
    if promise.digest not in digests:
        what = f"its pixels have the SHA-256 {digests[0]}, recorded was {promise.digest}"
        return Proof(promise.path, Verdict.CHANGED, what=what, frames=count)
    return Proof(promise.path, Verdict.PROVEN, frames=count)


def _digests(path: str) -> tuple[list[str], int]:
    """Return the digests that the pixels of a file may have, and how many frames there are. Raises DcmtxError.

    Big endian words of 32 bits have several, since the file does not tell which order its writer took.
    """
    from dcmtx.transcoding.decode import frames

    try:
        with frames(path) as decoded:
            return [decoded.sha256()], len(decoded)
    except RefusedError as error:
        if error.code != "E_AMBIGUOUS":
            raise
    digests, count = [], 0
    for order in WordOrder:
        if order.bytes:
            with contextlib.suppress(DcmtxError), frames(path, word_order=order) as decoded:
                digests.append(decoded.sha256())
                count = len(decoded)
    return digests, count
