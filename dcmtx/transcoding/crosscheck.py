"""Compares what two libraries decode from one codestream."""

from __future__ import annotations

from typing import Any

from dcmtx.codec.row import Row
from dcmtx.errors import VerifyError
from dcmtx.pixel.codestream import Codestream

# How far decoders of irreversible streams may lie apart: T.83 and T.803 leave them room to round. In colour only the
# luminance is compared, for they also interpolate shared chroma, and clip, in ways of their own.
_DCT, _DCT_COLOUR, _WAVELET = 2, 4, 1
_LUMA = (0.299, 0.587, 0.114)


def compare(words: Any, again: Any, stream: Codestream | None, rows: tuple[Row, Row]) -> None:
    """Compare the words of one frame by two decoders, `rows`. Raises VerifyError where they differ too much."""
    import numpy as np

    if words.shape != again.shape:
        raise VerifyError(
            f"{rows[0].full_name} decodes it to {words.shape} samples, {rows[1].full_name} to {again.shape}"
        )
    if np.array_equal(words, again):
        return
    apart = np.abs(words.astype(np.int64) - again)
    allowed = 0
    if stream is not None and not stream.reversible:
        allowed = _allowed(stream)
        if stream.kind == "jpeg" and words.ndim == 3:
            apart = np.abs((words.astype(np.float64) - again) @ np.array(_LUMA))
    worst = apart.max()
    if worst > allowed:
        raise VerifyError(
            f"{rows[0].full_name} and {rows[1].full_name} decode it to different pixels: "
            f"{int((apart > allowed).sum())} of {apart.size} differ, by up to {worst:.4g}; nothing was written",
            advice="look at both by --decoder",
        )


def refused(rows: tuple[Row, Row], why: str) -> VerifyError:
    """Return the error of a frame that the first library decodes and the second does not."""
    return VerifyError(
        f"{rows[0].full_name} decodes it and {rows[1].full_name} does not: {why}; nothing was written",
        advice="leave out --cross-check if you trust the first",
    )


def _allowed(stream: Codestream) -> int:
    if stream.kind == "jpeg":
        return 0 if stream.lossless_process else _DCT if stream.components == 1 else _DCT_COLOUR
    return _WAVELET if stream.kind in ("j2k", "htj2k") else 0
