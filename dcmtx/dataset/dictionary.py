"""VRs that Implicit VR leaves out: pydicom's dictionary, and the rules for entries that allow several VRs.

Only the dictionary is loaded, and only when a VR is needed. Private and unknown elements are UN (PS3.5 6.2.2).
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from dcmtx.dataset.element import PIXEL_DATA, UNDEFINED
from dcmtx.dataset.vr import LARGEST_SHORT
from dcmtx.errors import UnsupportedError
from dcmtx.record import Record
from dcmtx.syntax import Encoding

_PIXEL_REPRESENTATION = 0x00280103
_BITS_ALLOCATED = 0x00280100
_WAVEFORM_BITS_ALLOCATED = 0x54001004


class Context(Record):
    """Attributes of the nearest enclosing data set that decide ambiguous VRs (PS3.5 A.1, A.2)."""

    signed: bool = False
    allocated: int = 16
    waveform_allocated: int = 16

    def seen(self, tag: int, value: bytes, encoding: Encoding) -> "Context":
        """Return the context after an element of this tag and value."""
        if tag not in CONTEXT_TAGS or len(value) < 2:
            return self
        number = int.from_bytes(value[:2], "big" if encoding.big_endian else "little")
        if tag == _PIXEL_REPRESENTATION:
            return self.replace(signed=number == 1)
        if tag == _BITS_ALLOCATED:
            return self.replace(allocated=number)
        return self.replace(waveform_allocated=number)


CONTEXT_TAGS = frozenset([_PIXEL_REPRESENTATION, _BITS_ALLOCATED, _WAVEFORM_BITS_ALLOCATED])


def look_up(tag: int, length: int, context: Context) -> bytes:
    """Return the VR of an element in Implicit VR (PS3.5 A.1, 6.2.2), or UN if the standard does not define it.

    Private elements are UN, but Private Creator is always LO. Where the dictionary allows several VRs, the nearest
    enclosing pixel or waveform description decides.
    """
    group, number = tag >> 16, tag & 0xFFFF
    if number == 0:
        return b"UL"
    if group % 2:
        return b"LO" if 0x0010 <= number <= 0x00FF and length != UNDEFINED else b"UN"
    vr = _dictionary_vr(tag)
    if length == UNDEFINED and vr != b"SQ":
        return b"OB" if tag == PIXEL_DATA else b"UN"
    if b" or " not in vr:
        return vr
    return _choose(tag, vr, length, context)


def _choose(tag: int, vr: bytes, length: int, context: Context) -> bytes:
    if vr == b"US or SS":
        return b"SS" if context.signed else b"US"
    if vr in (b"US or OW", b"US or SS or OW"):
        # Tables are numbers, or words if they do not fit a 16-bit length (PS3.5 A.2).
        if length > LARGEST_SHORT:
            return b"OW"
        return b"SS" if vr == b"US or SS or OW" and context.signed else b"US"
    # OB or OW.
    if tag == PIXEL_DATA:
        return b"OW" if context.allocated > 8 else b"OB"
    if tag >> 16 == 0x5400:
        return b"OW" if context.waveform_allocated > 8 else b"OB"
    return b"OW"


def name_of(tag: int) -> str:
    """Return the name of an attribute; empty for one that the standard does not define."""
    return _entry(tag)[2] if tag >> 16 & 1 == 0 else ""


def is_retired(tag: int) -> bool:
    """Tell whether the dictionary calls an element of the standard retired (PS3.6)."""
    return tag >> 16 & 1 == 0 and _entry(tag)[3] == "Retired"


@cache
def _dictionary_vr(tag: int) -> bytes:
    return _entry(tag)[0].encode("ascii")


@cache
def _entry(tag: int) -> Sequence[str]:
    """Return the dictionary's entry of an element: VR, VM, name, "Retired" or nothing, keyword."""
    known, repeating = _dictionary()
    entry = known.get(tag)
    if entry is None:
        digits = f"{tag:08X}"
        masks = (
            mask for mask in repeating if all(sign in ("x", digit) for sign, digit in zip(mask, digits, strict=True))
        )
        mask = next(masks, None)
        entry = repeating[mask] if mask else ("UN", "", "", "", "")
    return entry


@cache
def _dictionary() -> tuple[dict[int, Sequence[str]], dict[str, Sequence[str]]]:
    """Return pydicom's dictionary: entries by tag, and by masks such as 60xx3000.

    Only that module of pydicom is loaded. Importing the whole package takes a third of a second, which would delay
    every conversion of a single file from Implicit VR.
    """
    module = _module("_dicom_dict")
    return module.DicomDictionary, module.RepeatersDictionary


@cache
def _uids() -> dict[str, Sequence[str]]:
    """Return pydicom's dictionary of UIDs: name, type, info, "Retired" or nothing, keyword."""
    uids: dict[str, Sequence[str]] = _module("_uid_dict").UID_dictionary
    return uids


def uid_keyword(uid: str) -> str:
    """Return the keyword of a UID of the standard, such as CTImageStorage; empty if it is not known (PS3.6 A)."""
    return _uids().get(uid, ("", "", "", "", ""))[4]


@cache
def sop_classes() -> frozenset[str]:
    """Return the keywords of the SOP classes of the standard, in lower case (PS3.6 A)."""
    return frozenset(entry[4].lower() for entry in _uids().values() if "SOP Class" in entry[1] and entry[4])


def _module(name: str) -> Any:
    """Load one module of pydicom without the package."""
    import importlib.util

    package = importlib.util.find_spec("pydicom")
    folders = package.submodule_search_locations if package is not None else None
    spec = importlib.util.spec_from_file_location(name, f"{folders[0]}/{name}.py") if folders else None
    if spec is None or spec.loader is None:
        raise UnsupportedError(
            "pydicom, whose dictionary Implicit VR needs, is not installed", advice="pip install pydicom"
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
