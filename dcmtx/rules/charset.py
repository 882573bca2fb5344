"""Text in UTF-8: what `--charset utf-8` makes of the values of text (PS3.5 6.1, PS3.3 C.12.1.1.2).

Character sets and escape sequences are those of pydicom's tables. Nothing is guessed or replaced: bytes that their
character set does not have are an error.
"""

from __future__ import annotations

import re
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from dcmtx.dataset.dictionary import Context, look_up
from dcmtx.dataset.element import NO_VR, UNDEFINED, Element, element_bytes, tag_text
from dcmtx.dataset.vr import LARGEST_SHORT, SHORT_VRS
from dcmtx.errors import RefusedError, UnsupportedError
from dcmtx.finding import Finding, Severity
from dcmtx.record import Record

if TYPE_CHECKING:
    from dcmtx.dataset.items import Item
    from dcmtx.syntax import Encoding

SPECIFIC_CHARACTER_SET = 0x00080005
UTF_8 = b"ISO_IR 192"
# PS3.5 6.1.2.2: the VRs of text that Specific Character Set is about.
TEXT_VRS = frozenset([b"LO", b"LT", b"PN", b"SH", b"ST", b"UC", b"UT"])
# Of these a backslash separates values; in the others it is a character (PS3.5 6.2).
_SEVERAL_VALUES = frozenset([b"LO", b"PN", b"SH", b"UC"])
LARGEST_TEXT = 1 << 28
_ESC = b"\x1b"
# Those that are whole by themselves: no code extensions (PS3.3 C.12.1.1.2).
_ALONE = frozenset(["UTF8", "GB18030", "GBK"])
_TWO_BYTES = frozenset(["iso2022_jp", "iso2022_jp_2"])
_MISSPELT = re.compile(r"ISO[-_ ]?(2022)?[-_ ]?IR[-_ ]?(\d+)")
_ADVICE = "correct Specific Character Set (0008,0005), or leave --charset out"


class Repertoire(Record):
    """The character sets that Specific Character Set names: those that are there at the start of a value.

    `low` codes the bytes up to 7F, `high` those above. Where `alone`, it codes all of them, without escape sequences.
    """

    name: str
    low: str = "ascii"
    high: str = ""
    alone: str = ""


def repertoire(value: bytes) -> Repertoire:
    """Return what a value of Specific Character Set names. Raises UnsupportedError for what pydicom does not know."""
    name = value.decode("latin-1").strip("\0 ")
    terms = [_encoding(term.strip()) for term in name.split("\\")]
    first = terms[0]
    if first in _ALONE or first == "GB2312":
        return Repertoire(name, alone=first)
    if first == "shift_jis":
        return Repertoire(name, "shift_jis", "shift_jis")
    return Repertoire(name, high="" if first == "ascii" or first in _TWO_BYTES else first)


def _encoding(term: str) -> str:
    """Return Python's name of a character set. No term means ISO-IR 6, which is ASCII; pydicom reads Latin-1 there."""
    known = _tables().python_encoding
    if term not in known and (misspelt := _MISSPELT.fullmatch(term)):
        term = f"ISO {'2022 IR' if misspelt[1] else 'IR'} {misspelt[2]}".replace("ISO IR", "ISO_IR")
    if term in ("", "ISO_IR 6", "ISO 2022 IR 6"):
        return "ascii"
    if term not in known:
        raise UnsupportedError(
            f"Specific Character Set (0008,0005) names {term[:32]!r}, which is unknown",
            advice=_ADVICE,
            code="E_CHARSET",
            tag=SPECIFIC_CHARACTER_SET,
        )
    encoding: str = known[term]
    return encoding


@cache
def _tables() -> ModuleType:
    """Return the module of pydicom that has the character sets. It takes a third of a second to load."""
    from pydicom import charset

    return charset


@cache
def _escapes() -> dict[bytes, str]:
    """Return the encoding that each escape sequence begins."""
    known = dict(_tables().CODES_TO_ENCODINGS)
    known[_ESC + b"(B"] = "ascii"
    return known


def decoded(value: bytes, known: Repertoire, vr: bytes) -> str:
    """Return a value as text. Raises UnicodeError for bytes that its character sets do not have."""
    if known.alone:
        return value.decode(known.alone)
    if _ESC not in value and value.isascii():
        return value.decode("ascii")
    resets = b"\t\n\f\r" + (b"\\" if vr in _SEVERAL_VALUES else b"") + (b"^=" if vr == b"PN" else b"")
    return "".join(_Decoder(value, known, resets).parts())


class _Decoder:
    """Decodes one value by ISO 2022: bytes up to 7F by one character set, those above by another (PS3.5 6.1.2.5)."""

    def __init__(self, value: bytes, known: Repertoire, resets: bytes) -> None:
        self._value = value
        self._known = known
        self._runs = re.compile(
            b"(?P<escape>\x1b)|(?P<reset>[" + re.escape(resets) + b"])|(?P<high>[\x80-\xff]+)"
            b"|(?P<low>[^\x1b\x80-\xff" + re.escape(resets) + b"]+)",
            re.DOTALL,
        )
        # A pair of bytes may be one that delimits elsewhere.
        self._pairs = re.compile(b"(?:[\x21-\x7e]{2})+")
        self._low, self._high = known.low, known.high

    def parts(self) -> list[str]:
        """Return the text in parts."""
        position, parts = 0, []
        while position < len(self._value):
            pairs = self._pairs.match(self._value, position) if self._low in _TWO_BYTES else None
            if pairs is not None:
                parts.append((_tables().ENCODINGS_TO_CODES[self._low] + pairs[0]).decode(self._low))
                position = pairs.end()
                continue
            run = self._runs.match(self._value, position)
            assert run is not None
            position = run.end()
            if run["escape"]:
                position = self._switch(run.start())
            elif run["high"]:
                parts.append(self._above(run["high"]))
            elif run["reset"]:
                self._low, self._high = self._known.low, self._known.high
                parts.append(run["reset"].decode("ascii"))
            else:
                parts.append(self._below(run["low"]))
        return parts

    def _below(self, data: bytes) -> str:
        if self._low not in _TWO_BYTES:
            return data.decode(self._low)
        # What is no pair: spaces and control characters.
        if data.strip(bytes(range(0x21))):
            raise UnicodeError("half a character")
        return data.decode("ascii")

    def _above(self, data: bytes) -> str:
        if not self._high:
            raise UnicodeError("bytes that are not ASCII")
        # ISO-IR 13 has single bytes only; Python's encoding has pairs too.
        if self._high == "shift_jis" and data.strip(bytes(range(0xA1, 0xE0))):
            raise UnicodeError("bytes that are not of ISO-IR 13")
        return data.decode(self._high)

    def _switch(self, position: int) -> int:
        """Follow an escape sequence; return the offset after it. Its second byte tells which half it is about."""
        for length in (4, 3):
            sequence = self._value[position : position + length]
            encoding = _escapes().get(sequence)
            if encoding is not None:
                if b")" in sequence or b"-" in sequence:
                    self._high = encoding
                else:
                    self._low = encoding
                return position + length
        raise UnicodeError("an unknown escape sequence")


def in_utf_8(tag: int, vr: bytes, value: bytes, known: Repertoire, *, pad: bool = True) -> bytes:
    """Return a value of text in UTF-8, of even length unless it is only the beginning of a value.

    Raises RefusedError, E_CHARSET, for what its character set does not have, and E_SIZE for what becomes too long.
    """
    if known.alone != "UTF8" and _ESC not in value and value.isascii():
        return value
    try:
        new = decoded(value, known, vr).encode("utf-8")
    except UnicodeError as error:
        declared = f"Specific Character Set is {known.name!r}" if known.name else "no Specific Character Set is named"
        raise RefusedError(
            f"{tag_text(tag)} has {_why(error)}; {declared}", advice=_ADVICE, code="E_CHARSET", tag=tag
        ) from error
    if new == value or not pad:
        return new if new != value else value
    new = new.rstrip(b"\0")
    if len(new) % 2:
        # A space that was only there for an even length goes for the same reason.
        new = new[:-1] if new.endswith(b" ") and value.endswith(b" ") else new + b" "
    if vr in SHORT_VRS and len(new) > LARGEST_SHORT:
        raise RefusedError(
            f"{tag_text(tag)} would have {len(new)} bytes in UTF-8, more than {vr.decode()} can have",
            advice="leave --charset out",
            code="E_SIZE",
            tag=tag,
        )
    return new


def _why(error: UnicodeError) -> str:
    if not isinstance(error, UnicodeDecodeError):
        return str(error)
    return f"bytes that are not of it ({error.object[error.start : error.start + 4].hex(' ')})"


class Utf8:
    """A change inside sequences: text becomes UTF-8. Items inherit the character set of what is around them."""

    everywhere = True

    def __init__(self, outer: Repertoire, encoding: Encoding) -> None:
        self._encoding = encoding
        # The character sets of the data set and of the items around the current one, by depth.
        self._known = [outer]
        self._unknown = 0

    def __call__(self, item: Item) -> dict[int, bytes]:
        """Return what changes in an item. Raises RefusedError where text cannot be converted."""
        del self._known[item.depth :]
        declared = item.find(SPECIFIC_CHARACTER_SET)
        known = self._known[-1] if declared is None else repertoire(item.value(SPECIFIC_CHARACTER_SET))
        self._known.append(known)
        made = {} if declared is None else {SPECIFIC_CHARACTER_SET: b""}
        for part in item.parts:
            vr = self.text_vr(part, part.vr, again=item.again)
            if not vr:
                continue
            value = item.buffer[part.value : part.end]
            new = in_utf_8(part.tag, vr, value, known)
            if new is not value:
                made[part.tag] = element_bytes(part.tag, b"UN" if part.vr == b"UN" else vr, new, self._encoding)
        return made

    def text_vr(self, element: Element, vr: bytes, *, again: bool = False) -> bytes:
        """Return the VR of an element with text, by the dictionary where it has none; otherwise nothing.

        One whose VR is not known is counted, if it is not asked about `again`.

        Raises RefusedError for text that is too long to be converted.
        """
        if element.length in (UNDEFINED, 0):
            return b""
        if vr in (NO_VR, b"UN"):
            vr = look_up(element.tag, element.length, Context())
            self._unknown += vr == b"UN" and not again
        if vr not in TEXT_VRS:
            return b""
        if element.length > LARGEST_TEXT:
            raise RefusedError(
                f"{tag_text(element.tag)} has {element.length} bytes of text, too many to be converted",
                advice="leave --charset out",
                code="E_SIZE",
                tag=element.tag,
            )
        return vr

    def describe(self) -> str:
        """Return the change in a few words."""
        return "text becomes UTF-8"

    def notes(self) -> tuple[Finding, ...]:
        """Return a note on elements whose VR is not known; whether they hold text is not known either."""
        if not self._unknown:
            return ()
        count = f"{self._unknown} element{'s' * (self._unknown != 1)}"
        return (
            Finding(
                "N_CHARSET",
                f"{count} of unknown VR stay{'s' * (self._unknown == 1)}; text there, if any, is as it was",
                Severity.WARNING,
            ),
        )
