"""UIDs that are derived from others, and items that refer to instances and name what made them."""

from __future__ import annotations

from dcmtx.dataset.compose import code_item, item, made, sequence
from dcmtx.rules import legacy
from dcmtx.rules.identity import named_uid

_NAMESPACE = "0d8a3d5c-6f0e-5b43-8e0c-6d1c8f1c2f57"
_CONVERSION = ("109106", "DCM", "Enhanced Multi-frame Conversion Equipment")


def derived_uid(*parts: str) -> str:
    """Return the UID that these words make, always the same (PS3.5 B.2)."""
    return named_uid(_NAMESPACE, *parts)


def reference_item(class_uid: str, instance: str) -> bytes:
    """Return an item of the SOP Instance Reference Macro (PS3.3 Table 10-11)."""
    return item({
        legacy.REFERENCED_CLASS: made(legacy.REFERENCED_CLASS, b"UI", class_uid),
        legacy.REFERENCED_INSTANCE: made(legacy.REFERENCED_INSTANCE, b"UI", instance),
    })  # fmt: skip


def equipment_item(description: str, purpose: bytes | None = None) -> bytes:
    """Return the item of Contributing Equipment for dcmtx: its purpose is a conversion, or what this item says."""
    from dcmtx import __version__

    return item({
        0x00080070: made(0x00080070, b"LO", "dcmtx"),
        0x00181020: made(0x00181020, b"LO", __version__[:64]),
        0x0018A003: made(0x0018A003, b"ST", description),
        legacy.PURPOSE: sequence(legacy.PURPOSE, purpose or code_item(*_CONVERSION)),
    })  # fmt: skip
