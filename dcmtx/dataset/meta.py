"""The first bytes of a DICOM file: preamble and group 0002, enough to know the transfer syntax (PS3.10 7.1).

Standard library only, so that a plain copy or an error message starts quickly.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from dcmtx._version import __version__
from dcmtx.dataset.header import Header
from dcmtx.dataset.vr import LONG_VRS, SHORT_VRS
from dcmtx.errors import InputError
from dcmtx.place.bytes import FIRST_BYTES, FileBytes, Reader
from dcmtx.record import Record
from dcmtx.syntax import Syntax

PREAMBLE = 128
MAGIC = b"DICM"
# Group 0002 is small; a value longer than this is not File Meta Information.
LARGEST_META = 1 << 20


GROUP_LENGTH = 0x00020000
META_VERSION = 0x00020001
SOP_CLASS = 0x00020002
SOP_INSTANCE = 0x00020003
TRANSFER_SYNTAX = 0x00020010
IMPLEMENTATION_CLASS = 0x00020012
IMPLEMENTATION_VERSION = 0x00020013
SOURCE_TITLE = 0x00020016
_DEFLATED = frozenset([b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.4.95", b"1.2.840.10008.1.2.4.205"])


class MetaElement(Record):
    """One element of group 0002, as it is in the file."""

    tag: int
    vr: bytes
    value: bytes


class FileMeta(Record):
    """Everything before the data set.

    `preamble` is 128 bytes, or empty if the file has none. `dataset` is the offset of the data set in bytes.
    `declared` is the group length in (0002,0000), or None.
    """

    preamble: bytes
    meta: tuple[MetaElement, ...]
    dataset: int
    declared: int | None

    def text(self, tag: int) -> str:
        """Return the value of a UI, SH or AE element without its padding; empty if it is absent."""
        for element in self.meta:
            if element.tag == tag:
                return element.value.decode("ascii", "replace").strip("\0 ")
        return ""

    @property
    def syntax(self) -> str:
        """The Transfer Syntax UID, or an empty string."""
        return self.text(TRANSFER_SYNTAX)


def read_file_meta(data: bytes) -> FileMeta:
    """Parse preamble and group 0002 from the first bytes of a file.

    A file without preamble or group 0002 gives a FileMeta with those parts empty. The caller, who looks at the data
    set, decides whether such a file can be read.

    Raises InputError if group 0002 is cut off or a length in it is implausible.
    """
    start = 0
    preamble = b""
    if data[PREAMBLE : PREAMBLE + 4] == MAGIC:
        start = PREAMBLE + 4
        preamble = data[:PREAMBLE]
    meta: list[MetaElement] = []
    position = start
    declared = None
    while data[position : position + 2] == b"\x02\x00":
        # The first two bytes of a deflated data set may look like group 0002, so the group length decides there.
        if declared == position - start - 12 and _is_deflated(meta):
            break
        element, position = _element(data, position)
        meta.append(element)
        if len(meta) == 1 and element.tag == GROUP_LENGTH and len(element.value) == 4:
            declared = int.from_bytes(element.value, "little")
    if position >= len(data) and declared is not None and position < start + 12 + declared:
        raise _truncated()
    return FileMeta(preamble, tuple(meta), position, declared=declared)


def _is_deflated(meta: list[MetaElement]) -> bool:
    return any(element.tag == TRANSFER_SYNTAX and element.value.rstrip(b"\0 ") in _DEFLATED for element in meta)


def _truncated() -> InputError:
    return InputError("the file ends inside its File Meta Information; the file is truncated", code="E_TRUNCATED")


def _element(data: bytes, position: int) -> tuple[MetaElement, int]:
    """Return the element at `position` and the offset after it.

    Group 0002 is always Explicit VR Little Endian; some old writers used Implicit VR, which is read too.
    """
    if len(data) < position + 8:
        raise _truncated()
    group, number = struct.unpack_from("<HH", data, position)
    vr = data[position + 4 : position + 6]
    if vr in LONG_VRS:
        value = position + 12
        length = int.from_bytes(data[position + 8 : position + 12], "little")
    elif vr in SHORT_VRS:
        value = position + 8
        length = int.from_bytes(data[position + 6 : position + 8], "little")
    else:
        vr = b"  "
        value = position + 8
        length = int.from_bytes(data[position + 4 : position + 8], "little")
    if length > LARGEST_META:
        raise InputError(
            f"element ({group:04X},{number:04X}) of the File Meta Information claims {length} bytes; "
            "the file is damaged",
            tag=group << 16 | number,
        )
    if len(data) < value + length:
        raise _truncated()
    return MetaElement(group << 16 | number, vr, data[value : value + length]), value + length


def peek(file: Reader) -> FileMeta:
    """Return everything before the data set of a file, which is parsed once.

    Raises InputError if the file is empty or ends inside its File Meta Information.
    """
    if not isinstance(file, FileBytes):
        return _peek(file)
    if file.head is None:
        file.head = _peek(file)
    head: FileMeta = file.head
    return head


def _peek(file: Reader) -> FileMeta:
    if file.size == 0:
        raise InputError("the file is empty", code="E_EMPTY")
    try:
        return read_file_meta(file.pread(FIRST_BYTES, 0))
    except InputError:
        if file.size <= FIRST_BYTES:
            raise
        return read_file_meta(file.pread(2 * LARGEST_META, 0))


# Errors of a file that only mean that it is passed over where a directory was named, and what is said of it then.
PASSED_OVER = {"E_NOT_DICOM": "not DICOM", "E_EMPTY": "empty"}


def opens_as_dicom(file: Reader) -> bool:
    """Tell whether a file begins as DICOM does, whatever comes then. Raises what `peek` raises."""
    head = peek(file)
    # Without File Meta Information, group 0008 opens a data set, in either byte order.
    return bool(head.preamble or head.meta) or file.pread(2, 0) in (b"\x08\0", b"\0\x08")


SOP_CLASS_UID = 0x00080016


SOP_INSTANCE_UID = 0x00080018


# 2.25 and a UUID generated once for this implementation (PS3.5 B.2).
IMPLEMENTATION_CLASS_UID = "2.25.106106603324789294373175496770871834323"


IMPLEMENTATION_VERSION_NAME = f"DCMTX_{__version__.replace('.', '_')}"[:16]


# PS3.10 Table 7.1-1: for sources that omit the VR, which group 0002 must not.
_META_VRS: dict[int, bytes] = {
    0x00020001: b"OB", 0x00020002: b"UI", 0x00020003: b"UI", 0x00020010: b"UI", 0x00020012: b"UI", 0x00020013: b"SH",
    0x00020016: b"AE", 0x00020017: b"AE", 0x00020018: b"AE", 0x00020100: b"UI", 0x00020102: b"OB",
}  # fmt: skip


def file_meta(head: FileMeta, header: Header, syntax: Syntax, instance: str | None = None) -> bytes:
    """Return preamble, prefix and group 0002 for a file in `syntax`.

    The source's elements stay, except these: the transfer syntax; the SOP Class and Instance UIDs, which follow the
    data set or `instance`; the implementation, which becomes dcmtx; and the group length, which is computed.
    """
    values, body = _meta(head, header, syntax, instance)
    preamble = head.preamble or bytes(PREAMBLE)
    return preamble + MAGIC + _encoded(GROUP_LENGTH, *values[GROUP_LENGTH]) + body


def new_file_meta(sop_class: str, instance: str, syntax: str, source: str) -> bytes:
    """Return preamble, prefix and group 0002 for a data set that came over a network, from AE title `source`."""
    values = {
        META_VERSION: (b"OB", b"\x00\x01"),
        SOP_CLASS: (b"UI", _uid(sop_class)),
        SOP_INSTANCE: (b"UI", _uid(instance)),
        TRANSFER_SYNTAX: (b"UI", _uid(syntax)),
        IMPLEMENTATION_CLASS: (b"UI", _uid(IMPLEMENTATION_CLASS_UID)),
        IMPLEMENTATION_VERSION: (b"SH", _even(IMPLEMENTATION_VERSION_NAME.encode("ascii"), b" ")),
        SOURCE_TITLE: (b"AE", _even(source.encode("latin-1", "replace"), b" ")),
    }
    body = b"".join(_encoded(tag, *value) for tag, value in values.items())
    return bytes(PREAMBLE) + MAGIC + _encoded(GROUP_LENGTH, b"UL", struct.pack("<I", len(body))) + body


def meta_changes(
    head: FileMeta, header: Header, syntax: Syntax, instance: str | None = None
) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield tag, VR and new value of every element of group 0002 that `file_meta` changes or adds.

    A difference in padding is not a change.
    """
    values, _ = _meta(head, header, syntax, instance)
    before = {element.tag: element.value for element in head.meta}
    for tag, (said, value) in sorted(values.items()):
        vr = said if said.strip() else _META_VRS.get(tag, b"UN")
        pad = b"" if vr in (b"OB", b"UL", b"UN") else b"\0 "
        if tag not in before or before[tag].rstrip(pad) != value.rstrip(pad):
            yield tag, vr, value


def _meta(
    head: FileMeta, header: Header, syntax: Syntax, instance: str | None
) -> tuple[dict[int, tuple[bytes, bytes]], bytes]:
    """Return the VRs and values of group 0002, including its length, and the encoded group after that length."""
    values: dict[int, tuple[bytes, bytes]] = {element.tag: (element.vr, element.value) for element in head.meta}
    values.pop(GROUP_LENGTH, None)
    values[META_VERSION] = (b"OB", b"\x00\x01")
    _identify(values, header, instance)
    values[TRANSFER_SYNTAX] = (b"UI", _uid(syntax.uid))
    values[IMPLEMENTATION_CLASS] = (b"UI", _uid(IMPLEMENTATION_CLASS_UID))
    values[IMPLEMENTATION_VERSION] = (b"SH", _even(IMPLEMENTATION_VERSION_NAME.encode("ascii"), b" "))
    body = b"".join(_encoded(tag, *values[tag]) for tag in sorted(values))
    values[GROUP_LENGTH] = (b"UL", struct.pack("<I", len(body)))
    return values, body


def is_tiff(preamble: bytes) -> bool:
    """Tell whether a preamble makes the file a TIFF file too. Its offsets are valid only while no byte moves."""
    return preamble[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _identify(values: dict[int, tuple[bytes, bytes]], header: Header, instance: str | None) -> None:
    """Set (0002,0002) and (0002,0003) to the values of the data set, if it has them."""
    class_uid = header.text(SOP_CLASS_UID)
    instance_uid = instance or header.text(SOP_INSTANCE_UID)
    if class_uid:
        values[SOP_CLASS] = (b"UI", _uid(class_uid))
    if instance_uid:
        values[SOP_INSTANCE] = (b"UI", _uid(instance_uid))


def _encoded(tag: int, vr: bytes, value: bytes) -> bytes:
    value = _even(value, b"\0")
    if not vr.strip():
        vr = _META_VRS.get(tag, b"UN")
    if len(value) > 0xFFFF and vr not in LONG_VRS:
        vr = b"UN"
    if vr in LONG_VRS:
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def _uid(uid: str) -> bytes:
    return _even(uid.encode("latin-1"), b"\0")


def _even(value: bytes, pad: bytes) -> bytes:
    return value + pad * (len(value) % 2)
