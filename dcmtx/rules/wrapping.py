"""Pixel Data as it is wrapped: items, offset tables, VR, padding (PS3.5 A.4, 8.2; PS3.3 C.7.6.3.1.8)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dcmtx.dataset.element import (
    DOUBLE_FLOAT_PIXEL_DATA,
    FLOAT_PIXEL_DATA,
    NO_VR,
    PIXEL_DATA,
    UNDEFINED,
    Element,
    tag_text,
)
from dcmtx.dataset.header import Header
from dcmtx.errors import InputError
from dcmtx.finding import Finding, Severity
from dcmtx.pixel.encapsulation import WRONG_BASIC, WRONG_EXTENDED, Fragments
from dcmtx.pixel.tables import Truth
from dcmtx.rules.image import BITS_ALLOCATED
from dcmtx.syntax import Syntax

_TABLES = {0x7FE00001: "Extended Offset Table", 0x7FE00002: "its lengths"}


def items(fragments: Fragments) -> Iterator[Finding]:
    """Yield fragments that no item may be: of odd length, or empty (PS3.5 A.4)."""
    odd = [number for number, length in enumerate(fragments.lengths) if length % 2]
    if odd:
        yield Finding(
            "N_ODD_ITEM",
            f"{_counted(odd)} an odd length; its pad byte is missing",
            Severity.WARNING,
            tag=PIXEL_DATA,
        )
    empty = [number for number, length in enumerate(fragments.lengths) if not length]
    if empty:
        yield Finding("N_EMPTY_ITEM", f"{_counted(empty)} no bytes", Severity.WARNING, tag=PIXEL_DATA)


def _counted(numbers: Sequence[int]) -> str:
    """Return which fragments have something, counted from 1."""
    more = len(numbers) - 1
    return f"fragment {numbers[0] + 1} has" if not more else f"fragment {numbers[0] + 1} and {more} more have"


def tables(basic: Truth, extended: Truth, known: Sequence[Finding]) -> Iterator[Finding]:
    """Yield offset tables that are not true, unless that is `known`, and two where only one may be."""
    codes = {finding.code for finding in known}
    if basic is Truth.WRONG and WRONG_BASIC.code not in codes:
        yield WRONG_BASIC
    if extended is Truth.WRONG and WRONG_EXTENDED.code not in codes:
        yield WRONG_EXTENDED
    if basic in (Truth.TRUE, Truth.WRONG) and extended in (Truth.TRUE, Truth.WRONG):
        yield Finding(
            "N_TWO_TABLES",
            "there is a Basic Offset Table beside the Extended one, which requires it to be empty",
            Severity.WARNING,
            tag=0x7FE00001,
        )


def element(header: Header, pixel: Element, syntax: Syntax) -> Iterator[Finding]:
    """Yield a VR that the pixel element may not have, fragments that are not there, and tables of such fragments."""
    encapsulated = pixel.length == UNDEFINED
    if syntax.encapsulated and not encapsulated:
        what = f"Pixel Data is native, which transfer syntax {syntax.label} forbids"
        yield Finding.of_error(InputError(what, code="E_ENCAPSULATION", tag=pixel.tag))
        return
    allowed = _vrs(header, pixel, encapsulated=encapsulated)
    if pixel.vr not in (*allowed, NO_VR):
        rather = " or ".join(map(bytes.decode, allowed))
        yield Finding(
            "N_PIXEL_VR",
            f"VR of {tag_text(pixel.tag)} is {pixel.vr.decode('latin-1')}, not {rather}",
            Severity.WARNING,
            tag=pixel.tag,
        )
    stale = [tag for tag in _TABLES if tag in header and not encapsulated]
    if stale:
        yield Finding(
            "N_STALE_TABLE",
            f"{_TABLES[stale[0]]} {tag_text(stale[0])} stands beside native Pixel Data, which has no fragments",
            Severity.WARNING,
            tag=stale[0],
        )


def _vrs(header: Header, pixel: Element, *, encapsulated: bool) -> tuple[bytes, ...]:
    """Return the VRs that the pixel element may have (PS3.5 8.2, A.2, A.4)."""
    if pixel.tag == FLOAT_PIXEL_DATA:
        return (b"OF",)
    if pixel.tag == DOUBLE_FLOAT_PIXEL_DATA:
        return (b"OD",)
    if encapsulated:
        return (b"OB",)
    return (b"OW",) if (header.number(BITS_ALLOCATED) or 0) > 8 else (b"OB", b"OW")


def behind(frame: int, count: int) -> Finding:
    """Return the finding of `count` bytes that follow the end of a codestream and are no padding."""
    return Finding(
        "N_JUNK",
        f"{count} bytes that are no padding stand behind the end of its codestream",
        Severity.WARNING,
        tag=PIXEL_DATA,
        frame=frame,
    )
