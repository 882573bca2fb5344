"""Who cross-checks a conversion: a second library for the source's frames, another than the encoder's for the new."""

from __future__ import annotations

from dcmtx.codec import judges
from dcmtx.codec.judges import Judges
from dcmtx.codec.row import Row
from dcmtx.finding import Finding, Severity
from dcmtx.pixel.format import PixelFormat
from dcmtx.planning.case import Case


def settle(
    case: Case, source: PixelFormat, decoder: Row, target: PixelFormat, encoder: Row
) -> tuple[Row | None, Judges, tuple[Finding, ...]]:
    """Return the second decoder of the source, the judges of the target, and what has no second library.

    `source` and `target` are the formats in the files. Codecs that are dcmtx's own need no second one.
    """
    notes: tuple[Finding, ...] = ()
    second = None
    if decoder.native:
        reversible = case.stream is None or case.stream.reversible
        second = judges.second(case.source, source, decoder, reversible=reversible)
        if second is None:
            notes += (
                _alone(f"no library but {decoder.library} decodes {case.source.label} of this kind here", "read"),
            )
    judged_by, another = judges.choose_both(case.target, target, encoder, case.policy.verify)
    if not another:
        notes += (_alone(f"no library but {encoder.library} decodes {case.target.label} here", "written"),)
    return second, judged_by, notes


def _alone(why: str, what: str) -> Finding:
    return Finding("N_ONE_LIBRARY", f"{why}, so what was {what} is not cross-checked", Severity.WARNING)
