"""Bits above Bits Stored, when more of them are to be stored: they must be zero, or copies of the sign."""

from __future__ import annotations

from collections.abc import Mapping

from dcmtx.codec.native import decode
from dcmtx.dataset.compose import whole
from dcmtx.errors import RefusedError
from dcmtx.pixel.bits import has_unused_content
from dcmtx.pixel.format import PixelFormat
from dcmtx.rules import legacy


def check_unused(cells: bytes, header: Mapping[int, bytes], path: str) -> None:
    """Raise RefusedError, E_SIGNED, for native cells with content outside Bits Stored."""
    get = header.get
    stored = whole(get(legacy.STORED))
    fmt = PixelFormat(
        rows=whole(get(legacy.ROWS)),
        columns=whole(get(legacy.COLUMNS)),
        samples=1,
        photometric="MONOCHROME2",
        allocated=whole(get(legacy.ALLOCATED)),
        stored=stored,
        high_bit=stored - 1,
        signed=whole(get(legacy.SIGN)) == 1,
    )
    if has_unused_content(decode(cells, fmt, fmt), fmt):
        raise RefusedError(
            f"its pixels have content outside Bits Stored, {stored}, which is to be raised",
            advice="use `dcmtx convert --unused-bits clear` first",
            code="E_SIGNED",
            path=path,
        )
