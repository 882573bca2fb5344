"""File Meta Information (PS3.10 7.1) and who wrote it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from dcmtx._version import __version__
from dcmtx.dataset.header import Header
from dcmtx.dataset.meta import (
    GROUP_LENGTH,
    IMPLEMENTATION_CLASS,
    IMPLEMENTATION_VERSION,
    MAGIC,
    META_VERSION,
    PREAMBLE,
    SOP_CLASS,
    SOP_INSTANCE,
    TRANSFER_SYNTAX,
    Head,
)
from dcmtx.dataset.vr import LONG_VRS
from dcmtx.policy import Quality
from dcmtx.syntax import Syntax

SOP_CLASS_UID = 0x00080016
SOP_INSTANCE_UID = 0x00080018
# 2.25 and a UUID made once for this implementation (PS3.5 B.2).
IMPLEMENTATION_CLASS_UID = "2.25.106106603324789294373175496770871834323"
_NAMESPACE = "b5a9bb0a-3d0f-5e65-9a3b-52d3a3c8a4d1"
IMPLEMENTATION_VERSION_NAME = f"DCMTX_{__version__.replace('.', '_')}"[:16]
# PS3.10 Table 7.1-1: for sources that leave the VR out, which group 0002 never may.
_VRS: dict[int, bytes] = {
    0x00020001: b"OB", 0x00020002: b"UI", 0x00020003: b"UI", 0x00020010: b"UI", 0x00020012: b"UI", 0x00020013: b"SH",
    0x00020016: b"AE", 0x00020017: b"AE", 0x00020018: b"AE", 0x00020100: b"UI", 0x00020102: b"OB",
}  # fmt: skip


def file_meta(head: Head, header: Header, syntax: Syntax, instance: str | None = None) -> bytes:
    """Return preamble, prefix and group 0002 for a file in `syntax`.

    What the source has there stays, but for the transfer syntax, the instance, which follows the data set or is
    `instance`, the implementation, which is dcmtx now, and the group length, which is computed.
    """
    values, body = _meta(head, header, syntax, instance)
    preamble = head.preamble or bytes(PREAMBLE)
    return preamble + MAGIC + _element(GROUP_LENGTH, *values[GROUP_LENGTH]) + body


def meta_changes(
    head: Head, header: Header, syntax: Syntax, instance: str | None = None
) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield tag, VR and new value of every element of group 0002 that `file_meta` changes, or adds.

    What only pads a value is no change.
    """
    values, _ = _meta(head, header, syntax, instance)
    before = {element.tag: element.value for element in head.meta}
    for tag, (said, value) in sorted(values.items()):
        vr = said if said.strip() else _VRS.get(tag, b"UN")
        pad = b"" if vr in (b"OB", b"UL", b"UN") else b"\0 "
        if tag not in before or before[tag].rstrip(pad) != value.rstrip(pad):
            yield tag, vr, value


def _meta(
    head: Head, header: Header, syntax: Syntax, instance: str | None
) -> tuple[dict[int, tuple[bytes, bytes]], bytes]:
    """Return the VRs and values of group 0002, its length among them, and the group behind that, encoded."""
    values: dict[int, tuple[bytes, bytes]] = {element.tag: (element.vr, element.value) for element in head.meta}
    values.pop(GROUP_LENGTH, None)
    values[META_VERSION] = (b"OB", b"\x00\x01")
    _identify(values, header, instance)
    values[TRANSFER_SYNTAX] = (b"UI", _uid(syntax.uid))
    values[IMPLEMENTATION_CLASS] = (b"UI", _uid(IMPLEMENTATION_CLASS_UID))
    values[IMPLEMENTATION_VERSION] = (b"SH", _even(IMPLEMENTATION_VERSION_NAME.encode("ascii"), b" "))
    body = b"".join(_element(tag, *values[tag]) for tag in sorted(values))
    values[GROUP_LENGTH] = (b"UL", struct.pack("<I", len(body)))
    return values, body


def is_tiff(preamble: bytes) -> bool:
    """Tell whether a preamble makes the file a TIFF file too, by offsets that hold only for its very bytes."""
    return preamble[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def derived_uid(old: str, target: Syntax, quality: Quality, *others: str) -> str:
    """Return the SOP Instance UID of what is made from instance `old`: 2.25 and a UUID of all that decides it.

    `others` are what decides it beside the parameters of quality and the version of dcmtx: the backends with the
    versions of their libraries, the policy for unused bits.

    So the same conversion of the same instance, repeated, agrees with itself (PS3.5 B.2; RFC 4122 4.3).
    """
    import uuid

    parameters = ",".join(f"{name}={value}" for name, value in quality.items() if value is not None)
    name = " ".join([old, target.uid, parameters, __version__, *others])
    return f"2.25.{uuid.uuid5(uuid.UUID(_NAMESPACE), name).int}"


def _identify(values: dict[int, tuple[bytes, bytes]], header: Header, instance: str | None) -> None:
    """Give (0002,0002) and (0002,0003) the values of the data set, where it has them."""
    class_uid = header.text(SOP_CLASS_UID)
    instance_uid = instance or header.text(SOP_INSTANCE_UID)
    if class_uid:
        values[SOP_CLASS] = (b"UI", _uid(class_uid))
    if instance_uid:
        values[SOP_INSTANCE] = (b"UI", _uid(instance_uid))


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    value = _even(value, b"\0")
    if not vr.strip():
        vr = _VRS.get(tag, b"UN")
    if len(value) > 0xFFFF and vr not in LONG_VRS:
        vr = b"UN"
    if vr in LONG_VRS:
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def _uid(uid: str) -> bytes:
    return _even(uid.encode("latin-1"), b"\0")


def _even(value: bytes, pad: bytes) -> bytes:
    return value + pad * (len(value) % 2)
