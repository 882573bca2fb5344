"""What a data set records of being derived from another image (PS3.3 C.7.6.1.1.2, C.12.4.1; PS3.5 B.2).

A loss is one kind of derivation: `rules.lossy` records it. Here is what all kinds share, and the record of pixels whose
meaning was changed exactly, or by rounding, without lossy compression.
"""

from __future__ import annotations

import time

from dcmtx.dataset.edit import Append, Edit, Set
from dcmtx.dataset.element import element_bytes
from dcmtx.dataset.encoding import append_item
from dcmtx.dataset.header import Header
from dcmtx.dataset.meta import SOP_CLASS_UID, SOP_INSTANCE_UID
from dcmtx.finding import Finding, Severity
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters, Policy, Uid
from dcmtx.record import Record
from dcmtx.rules.identity import derived_uid
from dcmtx.rules.objects import STORAGE, VL, Definition, check_rows
from dcmtx.syntax import EXPLICIT_LITTLE, Syntax

IMAGE_TYPE = 0x00080008
CREATION_DATE = 0x00080012
CREATION_TIME = 0x00080013
SOURCE_IMAGES = 0x00082112
DERIVATION_DESCRIPTION = 0x00082111
SMALLEST = 0x00280106
LARGEST = 0x00280107
# These describe the series or planes; they depend on other images too, so they cannot be computed here.
STALE_EXTREMES = (0x00280104, 0x00280105, 0x00280108, 0x00280109, 0x00280110, 0x00280111)
EXTREMES = (SMALLEST, LARGEST, *STALE_EXTREMES)
LONGEST_DESCRIPTION = 1024

# PS3.16 CID 7202: what an image was to the one that was made from it.
_PREDECESSOR = ("121320", "Uncompressed predecessor")
_SOURCE = ("121322", "Source image for image processing operation")

_GREY = frozenset(["MONOCHROME1", "MONOCHROME2"])
_DARK = frozenset(["MONOCHROME2"])
# What an image that is derived may be, beside DEFINITIONS. Only changes that are asked for are held against these:
# what is there already is converted, whatever it is.
DERIVED_DEFINITIONS: tuple[Definition, ...] = (
    Definition((f"{STORAGE}.1",), "PS3.3 C.8.1.2", _GREY),
    Definition(tuple(f"{STORAGE}.{last}" for last in ("1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1")),
               "PS3.3 C.8.11.3", _GREY),
    Definition((f"{STORAGE}.2",), "PS3.3 C.8.2.1", _GREY),
    Definition((f"{STORAGE}.4",), "PS3.3 C.8.3.1", _GREY),
    Definition((f"{STORAGE}.7.1", f"{STORAGE}.7.2", f"{STORAGE}.7.3"), "PS3.3 A.8", _DARK),
    Definition((f"{STORAGE}.12.1", f"{STORAGE}.12.2"), "PS3.3 C.8.7.1", _DARK),
    Definition((f"{STORAGE}.20",), "PS3.3 C.8.4.8", _DARK | {"PALETTE COLOR"}),
    Definition((f"{STORAGE}.77.1.5.1", f"{STORAGE}.77.1.5.2"), "PS3.3 C.8.17.2", VL),
    Definition((f"{STORAGE}.77.1.5.4",), "PS3.3 C.8.17.7", _DARK),
    Definition((f"{STORAGE}.128",), "PS3.3 C.8.9.4", _DARK),
    Definition((f"{STORAGE}.481.1",), "PS3.3 C.8.8.2", _DARK),
    Definition((f"{STORAGE}.3.1", f"{STORAGE}.6.1"), "PS3.3 C.8.5.6.1", VL | {"PALETTE COLOR", "YBR_FULL"},
               allocated=frozenset([8])),
)  # fmt: skip


class Derivation(Record):
    """The changes of the data set for a derived image; `instance` is the new SOP Instance UID, if there is one."""

    edits: dict[int, Edit]
    instance: str | None
    notes: tuple[Finding, ...]


def derive(
    header: Header,
    target: Syntax,
    quality: EncodingParameters,
    policy: Policy,
    what: str,
    deciders: tuple[str, ...] = (),
) -> Derivation:
    """Return what the data set must record of pixels whose meaning changed: `what` says how, in words.

    `deciders` are the other inputs that decide the pixels, for the SOP Instance UID. PS3.16 CID 7203 has no code for
    such changes, so that Derivation Code Sequence, which is optional, gets none.
    """
    old = header.text(SOP_INSTANCE_UID)
    instance = derived_uid(old, target, quality, *deciders) if old and policy.uid is not Uid.KEEP else None
    told = described(header, what.encode("ascii"))
    edits = created(policy) | identified(header, instance)
    edits[DERIVATION_DESCRIPTION] = Set(DERIVATION_DESCRIPTION, b"ST", told)
    if instance is not None:
        edits[SOURCE_IMAGES] = Append(SOURCE_IMAGES, source_item(header, *_SOURCE))
    return Derivation(edits, instance, kept_notes(policy))


def check_derived(header: Header, declared: PixelFormat, changed: PixelFormat) -> None:
    """Raise RefusedError, E_IOD, if the object's definition forbids what pixels are asked to become."""
    check_rows(header, DERIVED_DEFINITIONS, declared, changed)


def identified(header: Header, instance: str | None) -> dict[int, Edit]:
    """Return the edits of SOP Instance UID, where it is new, and of Image Type."""
    edits: dict[int, Edit] = {}
    if instance is not None:
        edits[SOP_INSTANCE_UID] = Set(SOP_INSTANCE_UID, b"UI", instance.encode("ascii"))
    image_type = derived_type(header.value(IMAGE_TYPE))
    if image_type is not None:
        edits[IMAGE_TYPE] = Set(IMAGE_TYPE, b"CS", image_type)
    return edits


def kept_notes(policy: Policy) -> tuple[Finding, ...]:
    """Return a note where a derived image keeps its SOP Instance UID, as the user chose."""
    if policy.uid is not Uid.KEEP:
        return ()
    return (
        Finding(
            "N_UID_KEPT",
            "SOP Instance UID is kept, so two instances that differ have the same (PS3.3 C.7.6.1.1.5)",
            Severity.WARNING,
            tag=SOP_INSTANCE_UID,
        ),
    )


def described(header: Header, added: bytes, room: int = 0) -> bytes:
    """Return Derivation Description with this text added, and `room` left for more."""
    told = header.value(DERIVATION_DESCRIPTION).rstrip(b" \0")
    told = cut(told, LONGEST_DESCRIPTION - len(added) - room - 2)
    return (told + b"; " if told else b"") + added


def created(policy: Policy) -> dict[int, Edit]:
    """Return Instance Creation Date and Time of the conversion."""
    now = time.localtime(policy.created)
    return {
        CREATION_DATE: Set(CREATION_DATE, b"DA", time.strftime("%Y%m%d", now).encode("ascii")),
        CREATION_TIME: Set(CREATION_TIME, b"TM", time.strftime("%H%M%S", now).encode("ascii")),
    }


def derived_type(value: bytes) -> bytes | None:
    """Return Image Type or Frame Type of a derived image: value 1 is DERIVED, the others stay.

    Returns None if nothing changes or there is no value.
    """
    values = value.rstrip(b" \0").split(b"\\")
    if values == [b""] or values[0].strip() == b"DERIVED":
        return None
    rest = values[1:] or [b"SECONDARY"]
    return b"\\".join([b"DERIVED", *rest])


def element(tag: int, vr: bytes, value: str) -> bytes:
    """Return an element of text in Explicit VR Little Endian."""
    return element_bytes(tag, vr, value.encode("latin-1"), EXPLICIT_LITTLE)


def code(value: str, meaning: str) -> bytes:
    """Return the elements of a code of DICOM's own scheme (PS3.3 8.8)."""
    return element(0x00080100, b"SH", value) + element(0x00080102, b"SH", "DCM") + element(0x00080104, b"LO", meaning)


def source_item(header: Header, purpose: str = _PREDECESSOR[0], meaning: str = _PREDECESSOR[1]) -> bytes:
    """Return an item that references the instance that this one is made from, and why (PS3.16 CID 7202)."""
    return b"".join(
        [
            element(0x00081150, b"UI", header.text(SOP_CLASS_UID)),
            element(0x00081155, b"UI", header.text(SOP_INSTANCE_UID)),
            append_item(b"", 0x0040A170, code(purpose, meaning)),
        ]
    )


def cut(text: bytes, room: int) -> bytes:
    """Return as many whole words of the text as fit.

    Cutting at a space is safe in every character set: none uses that byte inside a character (PS3.5 6.1.2).
    """
    if len(text) <= room:
        return text
    end = text.rfind(b" ", 0, room + 1)
    if end < 0:
        # One long word, or a language without spaces: probably UTF-8, whose character boundaries can be found.
        end = room
        while end and text[end] & 0xC0 == 0x80:
            end -= 1
    return text[:end]
