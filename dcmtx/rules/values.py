"""Elements that no data set may have: values that are not of their VR, odd lengths, disorder (PS3.5 6.2, 7.1, 7.2).

No text tells a value: it may be a patient's.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from dcmtx.dataset.element import UNDEFINED, Element, tag_text
from dcmtx.dataset.header import Header
from dcmtx.finding import Finding, Severity

_NUMBER = rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_UID = rb"(?=[0-9.]{1,64}(?:\\|$))(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*"


def _several(value: bytes) -> re.Pattern[bytes]:
    """Return the pattern of any number of values with spaces around them."""
    return re.compile(rb" *(?:%b)? *(?:\\ *(?:%b)? *)*" % (value, value))


# PS3.5 Table 6.2-1, as far as it can be told without a character set; old forms of dates and times are legal to read.
_PATTERNS: dict[bytes, re.Pattern[bytes]] = {
    b"AE": _several(rb"[ -\[\]-~]{1,16}"),
    b"AS": _several(rb"[0-9]{3}[DWMY]"),
    b"CS": _several(rb"(?=[^\\]{1,16}(?:\\|$))[A-Z0-9_](?:[A-Z0-9 _]*[A-Z0-9_])?"),
    b"DA": _several(rb"[0-9]{8}|[0-9]{4}\.[0-9]{2}\.[0-9]{2}"),
    b"DS": _several(rb"(?=[^\\]{1,16}(?:\\|$))%b" % _NUMBER),
    b"DT": _several(rb"[0-9]{4,14}(?:\.[0-9]{1,6})?(?:[+-][0-9]{4})?"),
    b"IS": _several(rb"[+-]?[0-9]{1,12}"),
    b"TM": _several(rb"[0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2}(?:\.[0-9]{1,6})?)?)?"),
    b"UI": _several(_UID),
}
# The bytes of one number.
_WIDTHS: dict[bytes, int] = {
    b"US": 2, b"SS": 2, b"OW": 2, b"AT": 4, b"UL": 4, b"SL": 4, b"FL": 4, b"OF": 4, b"OL": 4, b"FD": 8, b"OD": 8,
    b"OV": 8, b"SV": 8, b"UV": 8,
}  # fmt: skip
# The VRs of what matters here, for data sets that leave VRs out.
_KNOWN: dict[int, bytes] = {
    0x00080008: b"CS", 0x00080016: b"UI", 0x00080018: b"UI", 0x00080020: b"DA", 0x00080060: b"CS", 0x0020000D: b"UI",
    0x0020000E: b"UI", 0x00280002: b"US", 0x00280004: b"CS", 0x00280008: b"IS", 0x00280010: b"US", 0x00280011: b"US",
    0x00280100: b"US", 0x00280101: b"US", 0x00280102: b"US", 0x00280103: b"US", 0x00281050: b"DS", 0x00281051: b"DS",
    0x00281052: b"DS", 0x00281053: b"DS", 0x00282110: b"CS", 0x00282112: b"DS", 0x00282114: b"CS",
}  # fmt: skip
# Attributes with few values (PS3.3 C.7.6.1, C.7.6.3): in the Image Pixel Module only 0 and 1, else these terms.
_ENUMERATED: dict[int, tuple[str, ...]] = {0x00280301: ("YES", "NO"), 0x00282110: ("00", "01")}
_ZERO_OR_ONE = {0x00280006: "Planar Configuration", 0x00280103: "Pixel Representation"}
# Longer values are tables of numbers: looking at each would take longer than it is worth.
_LONGEST = 1 << 12


def findings(header: Header) -> Iterator[Finding]:
    """Yield what is wrong with the elements at top level."""
    elements = [*header.elements, *header.tail]
    yield from _order(header)
    odd = [element for element in elements if element.length % 2 and element.length != UNDEFINED]
    if odd:
        yield Finding(
            "N_ODD_LENGTH", f"{_counted(odd)} an odd length", Severity.WARNING, tag=odd[0].tag
        )  # fmt: skip
    groups = [element for element in elements if element.tag & 0xFFFF == 0]
    if groups:
        yield Finding("N_GROUP_LENGTHS", f"{_counted(groups)} a group length, which is retired", tag=groups[0].tag)
    implicit = header.encoding.implicit
    pread = header.reader.pread
    for element in elements:
        vr = _KNOWN.get(element.tag, b"") if implicit else element.vr
        pattern = _PATTERNS.get(vr)
        if pattern is None:
            if element.length % _WIDTHS.get(vr, 1) and element.length != UNDEFINED:
                yield _wrong(element, f"has {element.length} bytes, which are no numbers of VR {vr.decode()}")
        elif element.length <= _LONGEST:
            value = pread(element.length, element.value).rstrip(b"\0 ")
            if value and pattern.fullmatch(value) is None:
                yield _wrong(element, f"has a value that VR {vr.decode()} does not allow")
    yield from _terms(header)


def _terms(header: Header) -> Iterator[Finding]:
    for tag, name in _ZERO_OR_ONE.items():
        number = header.number(tag)
        if number is not None and number > 1:
            yield Finding("N_VALUE", f"{name} {tag_text(tag)} is {number}, not 0 or 1", Severity.ERROR, tag=tag)
    for tag, terms in _ENUMERATED.items():
        if header.text(tag) not in ("", *terms):
            yield Finding(
                "N_VALUE", f"{tag_text(tag)} is none of {', '.join(terms)}", Severity.WARNING, tag=tag
            )  # fmt: skip


def _wrong(element: Element, what: str) -> Finding:
    return Finding("N_VALUE", f"{tag_text(element.tag)} {what}", Severity.WARNING, tag=element.tag)


def _order(header: Header) -> Iterator[Finding]:
    """Yield elements that stand before one of a lower tag, or twice (PS3.5 7.1)."""
    pixel = header.pixel
    tags = [element.tag for element in header.elements]
    tags += ([pixel.tag] if pixel is not None else []) + [element.tag for element in header.tail]
    late = [after for before, after in itertools.pairwise(tags) if after < before]
    if late:
        yield Finding(
            "N_ORDER", f"{tag_text(late[0])} stands behind an element of a higher tag", Severity.WARNING, tag=late[0]
        )
    if len(set(tags)) < len(tags):
        seen: set[int] = set()
        twice = next(tag for tag in tags if tag in seen or seen.add(tag))  # type: ignore[func-returns-value]
        yield Finding("N_DUPLICATE", f"{tag_text(twice)} stands twice in the data set", Severity.ERROR, tag=twice)


def _counted(elements: list[Element]) -> str:
    more = len(elements) - 1
    return f"{tag_text(elements[0].tag)} " + (f"and {more} more have" if more else "has")
