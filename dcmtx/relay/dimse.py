"""Messages (PS3.7): command sets, and the P-DATA-TF PDUs that carry them (PS3.8 9.3.5)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum

from dcmtx.relay.wire import Pdu

# Elements of group 0000 (PS3.7 E.1).
CLASS, FIELD, MESSAGE, ANSWERED, PRIORITY, DATA_SET, STATUS = 0x0002, 0x0100, 0x0110, 0x0120, 0x0700, 0x0800, 0x0900
COMMENT, INSTANCE = 0x0902, 0x1000
NO_DATA_SET = 0x0101
_MEDIUM = 0
# PS3.7 Table E.1-1: (0000,0902) is LO.
_LONGEST_COMMENT = 64

# Bits of the message control header of a PDV (PS3.8 E.2).
COMMAND, LAST = 1, 2

_ELEMENT = struct.Struct("<HHI")
PDV = struct.Struct(">IBB")
_FRAME = struct.Struct(">BxIIBB")


class Field(IntEnum):
    """Command Field (0000,0100) of what is known here."""

    STORE_RQ = 0x0001
    STORE_RSP = 0x8001
    ECHO_RQ = 0x0030
    ECHO_RSP = 0x8030
    CANCEL_RQ = 0x0FFF


# The bit of Command Field that makes it a response.
RESPONSE = 0x8000


class Command:
    """A command set, as it came: values by element number."""

    def __init__(self, data: bytes) -> None:
        """Parse a command set, always Implicit VR Little Endian (PS3.7 6.3.1). Raises ValueError."""
        self._values: dict[int, bytes] = {}
        position = 0
        while position < len(data):
            if position + _ELEMENT.size > len(data):
                raise ValueError("the command set ends inside an element")
            group, element, length = _ELEMENT.unpack_from(data, position)
            position += _ELEMENT.size
            if group != 0 or position + length > len(data):
                raise ValueError("the command set is damaged")
            self._values[element] = data[position : position + length]
            position += length

    def number(self, element: int) -> int:
        """Return a value of VR US. Raises ValueError if it is absent."""
        value = self._values.get(element, b"")
        if len(value) < 2:
            raise ValueError(f"the command set has no (0000,{element:04X})")
        return int.from_bytes(value[:2], "little")

    def text(self, element: int) -> str:
        """Return a value as text without padding; empty if it is absent."""
        return self._values.get(element, b"").decode("latin-1").strip("\0 ")

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows."""
        return self.number(DATA_SET) != NO_DATA_SET


def encode_command(values: Iterable[tuple[int, int | str]]) -> bytes:
    """Return a command set of these elements, in their order, with its group length."""
    body = b"".join(_element(element, value) for element, value in values)
    return _element_bytes(0, struct.pack("<I", len(body))) + body


def _element(element: int, value: int | str) -> bytes:
    if isinstance(value, int):
        return _element_bytes(element, struct.pack("<H", value))
    encoded = value.encode("latin-1", "replace")
    pad = b" " if element == COMMENT else b"\0"
    return _element_bytes(element, encoded + pad * (len(encoded) % 2))


def _element_bytes(element: int, value: bytes) -> bytes:
    return _ELEMENT.pack(0, element, len(value)) + value


def p_data_header(context: int, control: int, length: int) -> bytes:
    """Return what precedes `length` bytes in a P-DATA-TF PDU of one PDV."""
    return _FRAME.pack(Pdu.P_DATA, length + 6, length + 2, context, control)


def p_data(context: int, command: bytes, most: int) -> bytes:
    """Return the PDUs of a command set, none longer than `most` bytes after its header."""
    step = most - 6
    pieces = [command[at : at + step] for at in range(0, len(command), step)]
    return b"".join(
        p_data_header(context, COMMAND | (LAST if number == len(pieces) else 0), len(piece)) + piece
        for number, piece in enumerate(pieces, 1)
    )


def store_request(sop_class: str, instance: str, message: int) -> bytes:
    """Return the command set of a C-STORE-RQ (PS3.7 9.3.1.1)."""
    return encode_command(
        [(CLASS, sop_class), (FIELD, Field.STORE_RQ), (MESSAGE, message), (PRIORITY, _MEDIUM), (DATA_SET, 1),
         (INSTANCE, instance)]
    )  # fmt: skip


def echo_request(message: int) -> bytes:
    """Return the command set of a C-ECHO-RQ (PS3.7 9.3.5.1)."""
    return encode_command(
        [(CLASS, VERIFICATION), (FIELD, Field.ECHO_RQ), (MESSAGE, message), (DATA_SET, NO_DATA_SET)]
    )  # fmt: skip


def response(command: Command, status: int, comment: str = "") -> bytes:
    """Return the command set that answers a request, whatever it is."""
    values: list[tuple[int, int | str]] = [
        (CLASS, command.text(CLASS)),
        (FIELD, command.number(FIELD) | RESPONSE),
        (ANSWERED, command.number(MESSAGE)),
        (DATA_SET, NO_DATA_SET),
        (STATUS, status),
    ]
    if comment:
        values.append((COMMENT, comment[:_LONGEST_COMMENT]))
    if command.text(INSTANCE):
        values.append((INSTANCE, command.text(INSTANCE)))
    return encode_command(values)


VERIFICATION = "1.2.840.10008.1.1"
