"""The advice in a refusal: the nearest target that takes the file."""

from __future__ import annotations

from collections.abc import Callable

from dcmtx.errors import DcmtxError, RefusedError, UnsupportedError
from dcmtx.planning.request import Request, resolve
from dcmtx.policy import EncodingParameters
from dcmtx.syntax import Syntax

_SUGGESTED = frozenset(
    ["E_PI", "E_BITS", "E_SIGN", "E_LIMIT", "E_LOSSY_FORBIDDEN", "E_IOD", "E_UNVERIFIED", "E_NEEDS_JPEG"]
)
# Nearest first: similar compression, then any compression, then what holds everything.
_CANDIDATES = ("j2k", "htj2k", "jpegls", "jpeg", "rle", "deflated-frames", "deflated", "explicit", "jpegxl")


def advice(
    refusal: RefusedError | UnsupportedError, source: Syntax, request: Request, plan: Callable[[Request], object]
) -> str:
    """Return what to do instead; empty where there is nothing, or where the user named an encoder.

    `plan` raises a DcmtxError for a request that the file does not allow either. The suggestion is always lossless.
    """
    if refusal.code not in _SUGGESTED or request.backend.encoder is not None:
        return ""
    refused = request.target.syntaxes
    lossless = EncodingParameters()
    names = sorted(_CANDIDATES, key=lambda name: resolve(name, lossless).syntaxes[0].family != refused[0].family)
    for name in names:
        target = resolve(name, lossless)
        if target.syntaxes[0] in refused or target.syntaxes[0] is source:
            continue
        try:
            plan(request.replace(target=target, parameters=lossless))
        except DcmtxError:
            continue
        without = " without --lossy" if request.parameters.lossy else ""
        return f"use --to {name}{without}"
    return ""
