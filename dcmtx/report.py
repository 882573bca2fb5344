"""Outcomes in words."""

from __future__ import annotations

from dcmtx.syntax import find
from dcmtx.transcoding import Outcome, Status


def verbose_line(outcome: Outcome) -> str:
    """Return what was done, in a line."""
    if outcome.status is Status.UNCHANGED:
        return f"is {_label(outcome.syntax_in)} already, nothing to do"
    if outcome.status is Status.COPIED:
        return f"is {_label(outcome.syntax_in)} already, copied"
    backends = " to ".join(name for name in (outcome.decoder, outcome.encoder) if name)
    frames = f", {outcome.frames} frame{'s' * (outcome.frames != 1)}" if outcome.frames else ""
    by = f" by {backends}" if backends else ""
    return (
        f"{_label(outcome.syntax_in)} to {_label(outcome.syntax_out)}{by}{frames}, "
        f"{outcome.bytes_in} to {outcome.bytes_out} bytes, {outcome.seconds:.3f} s"
    )


def _label(uid: str) -> str:
    syntax = find(uid)
    return syntax.label if syntax else uid
