"""Where the standard says what a finding is about, and which command of dcmtx mends it, by the code of the finding.

Codes that begin with E are those of errors: a conversion would fail with them.
"""

from __future__ import annotations

from enum import Enum

from dcmtx.record import Record
from dcmtx.syntax import Kind, Syntax


class Mend(Enum):
    """What mends a finding. The value is the command; `{syntax}` is the transfer syntax of the file."""

    NOTHING = ""  # only who made the file knows what is right
    WRAP = "dcmtx rewrap SRC DST"  # the codestreams stay
    RELABEL = "dcmtx rewrap SRC DST --relabel htj2k-lossless"
    FORGIVE = "dcmtx convert SRC DST --to {syntax} --ignore-errors --offset-table basic"  # not copied as it is
    DECODE = "dcmtx convert SRC DST --to explicit"
    ENCODE = "dcmtx convert SRC DST --to jpegls"
    RECODE = "dcmtx convert SRC DST --to {other}"  # {other} is explicit, or jpegls for what is not compressed


class Entry(Record):
    """The section of the standard that a finding is about, and what mends it."""

    section: str
    mend: Mend = Mend.NOTHING


# Native pixels have nothing that rewrap takes: any option has them written anew.
_WRITE = "dcmtx convert SRC DST --to {syntax} --offset-table basic"
_WRAP, _DECODE, _ENCODE, _RECODE = Mend.WRAP, Mend.DECODE, Mend.ENCODE, Mend.RECODE
ENTRIES: dict[str, Entry] = {
    # The file.
    "N_DAMAGED": Entry("PS3.5 7.1", Mend.FORGIVE),
    "N_DELIMITER": Entry("PS3.5 A.4", _WRAP),
    "N_DUPLICATE": Entry("PS3.5 7.1"),
    "N_ENCODING": Entry("PS3.5 A", _WRAP),
    "N_GROUP_LENGTH": Entry("PS3.10 7.1", _WRAP),
    "N_GROUP_LENGTHS": Entry("PS3.5 7.2", _WRAP),
    "N_META_MISSING": Entry("PS3.10 7.1", _WRAP),
    "N_META_UID": Entry("PS3.10 7.1", _WRAP),
    "N_MISPLACED": Entry("PS3.5 7.1", _WRAP),
    "N_NO_PIXEL_DATA": Entry("PS3.3 C.7.6.3"),
    "N_NO_PREAMBLE": Entry("PS3.10 7.1", _WRAP),
    "N_NO_SYNTAX": Entry("PS3.10 7.1", _WRAP),
    "N_ODD_LENGTH": Entry("PS3.5 7.1.1"),
    "N_ORDER": Entry("PS3.5 7.1"),
    "N_PADDING": Entry("PS3.5 7.1", _WRAP),
    "N_UNKNOWN_VR": Entry("PS3.5 6.2"),
    "N_VALUE": Entry("PS3.5 6.2"),
    "N_ZLIB": Entry("PS3.5 A.5", _DECODE),
    # Pixel Data as it is wrapped.
    "N_BASIC_TABLE": Entry("PS3.5 A.4", _WRAP),
    "N_EMPTY_ITEM": Entry("PS3.5 A.4", _WRAP),
    "N_EXTENDED_TABLE": Entry("PS3.3 C.7.6.3.1.8", _WRAP),
    "N_FRAGMENTS": Entry("PS3.5 A.4", _WRAP),
    "N_JUNK": Entry("PS3.5 A.4", _WRAP),
    "N_ODD_ITEM": Entry("PS3.5 A.4", _WRAP),
    "N_PIXEL_PADDING": Entry("PS3.5 8.1.1", _WRAP),
    "N_PIXEL_VR": Entry("PS3.5 8.2, A.4", _RECODE),
    "N_STALE_TABLE": Entry("PS3.3 C.7.6.3.1.8", _WRAP),
    "N_TWO_TABLES": Entry("PS3.3 C.7.6.3.1.8", _WRAP),
    # The image and its codestreams.
    "N_BOXED": Entry("PS3.5 A.4.4", _WRAP),
    "N_FRAME_COUNT": Entry("PS3.3 C.7.6.6", _WRAP),
    "N_FRAMES_DIFFER": Entry("PS3.5 8.2"),
    "N_HIGH_BIT": Entry("PS3.5 8.1.1", _RECODE),
    "N_HISTORY": Entry("PS3.3 C.7.6.1.1.5"),
    "N_ILLEGAL": Entry("PS3.5 8.2", _DECODE),
    "N_IOD": Entry("PS3.3 A"),
    "N_JFIF": Entry("PS3.5 8.2.1", _DECODE),
    "N_NOT_LOSSLESS": Entry("PS3.5 8.2", _DECODE),
    "N_ODD_COLUMNS": Entry("PS3.3 C.7.6.3.1.2", _ENCODE),
    "N_OVERLAY": Entry("PS3.5 8.1.2", _ENCODE),
    "N_PHOTOMETRIC": Entry("PS3.3 C.7.6.3.1.2", _DECODE),
    "N_PLANAR": Entry("PS3.3 C.7.6.3.1.3", _RECODE),
    "N_PRECISION": Entry("PS3.5 8.2", _DECODE),
    "N_PROCESS": Entry("PS3.5 A.4.1", _DECODE),
    "N_RETIRED": Entry("PS3.6 A", _DECODE),
    "N_RPCL": Entry("PS3.5 10.18", Mend.RELABEL),
    "N_SAMPLES": Entry("PS3.3 C.7.6.3.1.1", _WRAP),
    "N_SAMPLING": Entry("PS3.5 8.2.1", _DECODE),
    "N_SIGN": Entry("PS3.5 8.2.4", _DECODE),
    "N_UNDECLARED_LOSS": Entry("PS3.3 C.7.6.1.1.5", _WRAP),
    # Errors.
    "E_CODESTREAM": Entry("PS3.5 8.2"),
    "E_ENCAPSULATION": Entry("PS3.5 A.4"),
    "E_GEOMETRY": Entry("PS3.5 8.2"),
    "E_INCONSISTENT": Entry("PS3.3 C.7.6.3"),
    "E_DEFLATE": Entry("PS3.5 A.5"),
    "E_INPUT": Entry("PS3.5 7"),
    "E_NO_SYNTAX": Entry("PS3.10 7.1"),
    "E_SEQUENCE": Entry("PS3.5 7.5"),
    "E_TRUNCATED": Entry("PS3.5 8.1"),
    "E_UNSUPPORTED_TS": Entry("PS3.6 A"),
}
_UNKNOWN = Entry("PS3.5")


def section(code: str) -> str:
    """Return the section of the standard that a finding of this code is about."""
    return ENTRIES.get(code, _UNKNOWN).section


def mend(code: str, syntax: Syntax | None) -> str:
    """Return the command that mends a finding of this code in a file of this syntax; empty if none does."""
    found = ENTRIES.get(code, _UNKNOWN).mend
    if syntax is None or syntax.kind not in (Kind.NATIVE, Kind.FRAMES):
        return ""
    command = _WRITE if found is Mend.WRAP and not syntax.encapsulated else found.value
    return command.format(syntax=syntax.label, other="explicit" if syntax.encapsulated else "jpegls")
