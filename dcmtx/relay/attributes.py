"""Values of attributes as text: what routes compare, and what the status page shows if it may."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable, Collection

from dcmtx.dataset.dictionary import Context, look_up
from dcmtx.dataset.element import NO_VR, UNDEFINED
from dcmtx.dataset.header import Header, guess_encoding
from dcmtx.dataset.meta import peek
from dcmtx.errors import DcmtxError, InputError
from dcmtx.place.bytes import Reader, open_bytes
from dcmtx.syntax import find

Values = tuple[str, ...]

_CHARACTER_SET = 0x00080005
_ESCAPE = b"\x1b"
# Text of one value, in which a backslash is a backslash (PS3.5 6.2).
_ONE_VALUE = frozenset({b"LT", b"ST", b"UT", b"UR"})
# VRs whose characters are those of Specific Character Set (PS3.5 6.1.2.3).
_EXTENDED = frozenset({b"LO", b"LT", b"PN", b"SH", b"ST", b"UC", b"UT"})
_NUMBERS = {b"US": "H", b"SS": "h", b"UL": "I", b"SL": "i", b"UV": "Q", b"SV": "q", b"FL": "f", b"FD": "d", b"AT": "HH"}
# Where pydicom starts anew in text with escapes: at backslash, caret, equals, and ends of lines (PS3.5 6.1.2.5.3).
_DELIMITERS = {0x0D, 0x0A, 0x09, 0x0C, 0x5C, 0x5E, 0x3D}


def read_file(path: str, tags: Collection[int], spool_in: str | None = None) -> dict[int, Values]:
    """Return the values of these elements of a file, as `read` does; nothing of a file that cannot be read."""
    try:
        reader = open_bytes(path)
    except InputError:
        return {}
    try:
        return read(reader, tags, spool_in or os.path.dirname(path))
    finally:
        reader.close()


def read(reader: Reader, tags: Collection[int], spool_in: str | None = None) -> dict[int, Values]:
    """Return the values of these top-level elements of a DICOM file, without padding; absent ones have none.

    A deflated data set is inflated into a spool in that directory. Of a file that is damaged, nothing is returned:
    whoever asks goes on without.
    """
    if not tags:
        return {}
    try:
        return _read(reader, tags, spool_in)
    except DcmtxError:
        return {}


def _read(reader: Reader, tags: Collection[int], spool_in: str | None) -> dict[int, Values]:
    meta = peek(reader)
    syntax = find(meta.syntax)
    start, inflated = meta.dataset, None
    if syntax is not None and syntax.deflated:
        from dcmtx.place.inflate import inflate

        inflated, _ = inflate(reader, start, spool_in)
        start = 0
    try:
        source = inflated or reader
        encoding = guess_encoding(source, start, syntax.encoding if syntax is not None else None)
        if encoding is None:
            return {}
        header = Header(source, start, encoding)
        decode = _decoder(header.text(_CHARACTER_SET))
        return {tag: values for tag in tags if (values := _values(header, tag, decode))}
    finally:
        if inflated is not None:
            inflated.close()


def _values(header: Header, tag: int, decode: Callable[[bytes], str]) -> Values:
    element = header.get(tag)
    if element is None or element.length == UNDEFINED:
        return ()
    raw = header.value(tag)
    vr = element.vr if element.vr != NO_VR else look_up(tag, element.length, Context())
    if vr in _NUMBERS:
        return _numbers(raw, vr, big_endian=header.encoding.big_endian)
    text = decode(raw) if vr in _EXTENDED else raw.decode("latin-1")
    parts = [text] if vr in _ONE_VALUE else text.split("\\")
    return tuple(part.strip(" \0") for part in parts)


def _numbers(raw: bytes, vr: bytes, *, big_endian: bool) -> Values:
    code = (">" if big_endian else "<") + _NUMBERS[vr]
    whole = len(raw) - len(raw) % struct.calcsize(code)
    found = struct.iter_unpack(code, raw[:whole])
    return tuple(f"{number[0]:04X}{number[1]:04X}" if vr == b"AT" else str(number[0]) for number in found)


def _decoder(character_set: str) -> Callable[[bytes], str]:
    """Return what makes text of a value under this Specific Character Set (PS3.3 C.12.1.1.2)."""
    from pydicom.charset import decode_bytes, python_encoding

    encodings = [python_encoding.get(term.strip(), "latin_1") for term in character_set.split("\\")]

    def decode(raw: bytes) -> str:
        if _ESCAPE not in raw:
            return raw.decode(encodings[0], "replace")
        with warnings.catch_warnings():
            # Of escapes that nobody knows.
            warnings.simplefilter("ignore")
            return decode_bytes(raw, encodings, _DELIMITERS)

    return decode
