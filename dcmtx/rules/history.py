"""What a data set records about loss, whether it is complete (PS3.3 C.7.6.1.1.5)."""

from __future__ import annotations

from collections.abc import Iterator

from dcmtx.dataset.header import Header
from dcmtx.finding import Finding, Severity
from dcmtx.rules.image import LOSSY_IMAGE_COMPRESSION
from dcmtx.rules.lossy import METHOD, RATIO, read_history


def findings(header: Header) -> Iterator[Finding]:
    """Yield losses without the flag, and ratios and methods that do not pair."""
    history = read_history(header)
    flagged = header.text(LOSSY_IMAGE_COMPRESSION) == "01"
    recorded = any(history.ratios) or any(history.methods)
    if recorded and not flagged:
        yield _incomplete("a ratio or method of loss is recorded, but (0028,2110) does not say 01")
    if recorded and not all(history.ratios):
        yield _incomplete("a method of loss has no ratio", RATIO)
    if recorded and not all(history.methods):
        yield _incomplete("a ratio of loss has no method", METHOD)
    if flagged and not recorded:
        yield Finding(
            "N_HISTORY", "a loss is recorded without its ratio and method", Severity.NOTE, tag=LOSSY_IMAGE_COMPRESSION
        )


def _incomplete(text: str, tag: int = LOSSY_IMAGE_COMPRESSION) -> Finding:
    return Finding("N_HISTORY", text, Severity.WARNING, tag=tag)
