"""What the values of the configuration mean. A reader takes what TOML has and returns what a record has.

Readers raise UnfitError with the rest of a sentence that begins with the key: "is 0, not 1 to 65535".
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dcmtx.errors import DcmtxError, UsageError
from dcmtx.policy import EncodingParameters
from dcmtx.record import Record
from dcmtx.relay.patterns import matches
from dcmtx.syntax import BY_UID, find, find_family, is_keyword

if TYPE_CHECKING:
    from dcmtx.planning.site import SitePolicy

Reader = Callable[[Any], Any]


class UnfitError(ValueError):
    """A value that its key does not take. The text goes on where the key's name ends."""


# A destination's name is that of a directory of the spool.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:-]{0,99}")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]|\*")
_UID_PATTERN = re.compile(r"[0-9.*?]+")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}
_MOST_SHOWN = 60
_LAST_PORT = 65535
# Zeros may stand before it; Python turns no text of thousands of digits into a number.
_MOST_DIGITS = 20


def shown(value: Any) -> str:
    """Return a value as TOML has it, cut to what fits a line."""
    text = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def text(value: Any) -> str:
    """Read text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise UnfitError(f'is {shown(value)}, not text; write it in quotes: "text"')
    return value


def flag(value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise UnfitError(f"is {shown(value)}, not true or false")
    return value


def whole(least: int, most: int) -> Reader:
    """Return a reader of whole numbers of a range, both ends included."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise UnfitError(f"is {shown(value)}, not a whole number from {least} to {most}")
        return value

    return read


def choice(kind: type[Enum]) -> Reader:
    """Return a reader of the values of an enumeration."""

    def read(value: Any) -> Enum:
        try:
            return kind(value)
        except ValueError:
            words = ", ".join(f'"{member.value}"' for member in kind)
            raise UnfitError(f"is {shown(value)}, not one of {words}") from None

    return read


def several(read: Reader) -> Reader:
    """Return a reader of lists; one value alone is a list of one."""

    def read_all(value: Any) -> tuple[Any, ...]:
        return tuple(read(each) for each in (value if isinstance(value, list) else [value]))

    return read_all


def seconds(least: float, most: float) -> Reader:
    """Return a reader of durations: a number of seconds, or text such as "5 min" or "24 h"."""

    def read(value: Any) -> float:
        parts = _DURATION.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
        if parts is None:
            raise UnfitError(
                f'is {shown(value)}, not a time; write seconds, or "500 ms", "30 s", "5 min", "24 h", "2 d"'
            )
        duration = float(parts[1]) * _SECONDS[parts[2]]
        if not least <= duration <= most:
            raise UnfitError(f"is {shown(value)}, not from {least:g} to {most:g} seconds")
        return duration

    return read


def size(value: Any) -> int:
    """Read a number of bytes, or text such as "10 GiB"; 0 is a size too."""
    from dcmtx.planning.request import memory_size

    if value == 0 and not isinstance(value, bool):
        return 0
    try:
        if isinstance(value, bool):
            raise TypeError
        return memory_size(value)
    except (DcmtxError, TypeError):
        raise UnfitError(f'is {shown(value)}, not a size; write bytes, or "500 MB", "10 GiB"') from None


def path(value: Any) -> str:
    """Read an absolute path: where a service starts is nobody's choice."""
    given = text(value)
    if not os.path.isabs(given) or "\0" in given:
        raise UnfitError(f"is {shown(value)}, not an absolute path; begin it with /")
    return os.path.normpath(given)


def site_policy(value: Any) -> SitePolicy:
    """Read the rules of a site, from a file."""
    from dcmtx.planning.site_file import read
    from dcmtx.relay.ruling import check

    found = path(value)
    try:
        policy = read(found)
    except UsageError as error:
        raise UnfitError(f"is not of use: {error.message}") from error
    check(policy)
    return policy


def name(value: Any) -> str:
    """Read a destination's name."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise UnfitError(
            f"is {shown(value)}, not a name; use letters, digits and . _ - @ : and begin with one of the first"
        )
    return value


def ae_title(value: Any) -> str:
    """Read an AE title (PS3.5 6.2): 1 to 16 characters of ASCII without backslash; spaces around it do not count."""
    title = value.strip(" ") if isinstance(value, str) else ""
    if not 1 <= len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
        raise UnfitError(f"is {shown(value)}, not an AE title: 1 to 16 characters of ASCII, without backslash")
    return title


def ae_pattern(value: Any) -> str:
    """Read a pattern of AE titles."""
    pattern = value.strip(" ") if isinstance(value, str) else ""
    if not pattern or not pattern.isascii() or not pattern.isprintable():
        raise UnfitError(f'is {shown(value)}, not a pattern of AE titles; write one such as "CT*"')
    return pattern


def host(value: Any) -> str:
    """Read the name or address of a host."""
    if not isinstance(value, str) or not _HOST.fullmatch(value) or value == "*":
        raise UnfitError(f"is {shown(value)}, not a host; write its name or address, IPv6 in brackets")
    return value.strip("[]")


def host_and_port(value: Any, default: str = "") -> tuple[str, int]:
    """Read `HOST:PORT`, or a port alone, which has the default host. `*` is every address: empty."""
    given, _, port = str(value).rpartition(":") if not isinstance(value, bool) else ("", "", "")
    valid = port.isascii() and port.isdigit()
    if not valid or (given and not _HOST.fullmatch(given)):
        raise UnfitError(
            f'is {shown(value)}, not an address; write "HOST:PORT", such as "127.0.0.1:8042", or a port alone'
        )
    if len(port) > _MOST_DIGITS or int(port) > _LAST_PORT:
        raise UnfitError(f"is {shown(value)}, whose port is not in the range from 0 to {_LAST_PORT}")
    return ("" if given == "*" else given.strip("[]") or default), int(port)


def ae_address(value: Any) -> tuple[str, str, int]:
    """Read `AET@HOST:PORT`; without a port it is 104. Return title, host and port."""
    title, at, rest = str(value).rpartition("@")
    try:
        if not at:
            raise UnfitError("")
        if not re.search(r":\d+$", rest) or rest.endswith("]"):
            rest += ":104"
        target, port = host_and_port(rest)
        if not target or not port:
            raise UnfitError("")
        return ae_title(title), target, port
    except ValueError:
        raise UnfitError(
            f'is {shown(value)}, not an address; write "AET@HOST:PORT", such as "ARCHIVE@10.0.0.5:104"'
        ) from None


def url(value: Any) -> str:
    """Read the address of a web server, without user, query and fragment."""
    try:
        parts = urlsplit(value) if isinstance(value, str) and value.isascii() and value.isprintable() else urlsplit("")
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or " " in value or parts.query or parts.fragment:
        raise UnfitError(f'is {shown(value)}, not an address; write "http://HOST:PORT/PATH" or "https://..."')
    if parts.username is not None:
        raise UnfitError("has a user in it; write it under login, and the password into a file")
    return str(value).rstrip("/")


def syntax_pattern(value: Any) -> tuple[str, ...]:
    """Read a pattern of transfer syntax UIDs, or a name; a family is all its members. Return patterns."""
    if isinstance(value, str):
        if _UID_PATTERN.fullmatch(value):
            if not any(matches(value, uid) for uid in BY_UID):
                raise UnfitError(f"is {shown(value)}, which no transfer syntax has; `dcmtx syntaxes` lists them")
            return (value,)
        if (family := find_family(value)) and not is_keyword(value):
            return (family.lossless, *family.lossy)
        if syntax := find(value):
            return (syntax.uid,)
    raise UnfitError(f"is {shown(value)}, not a pattern of UIDs and no name; `dcmtx syntaxes` lists the names")


def syntax_patterns(value: Any) -> tuple[str, ...]:
    """Read a list of patterns of transfer syntax UIDs, or of names."""
    return tuple(pattern for each in several(syntax_pattern)(value) for pattern in each)


def preferred(names: tuple[str, ...], lossy: EncodingParameters | None) -> tuple[str, ...]:
    """Return the transfer syntax UIDs that names mean, in their order; with consent to loss, a family's lossy members.

    Each is one that dcmtx can encode. Coding parameters that a syntax does not take are not its own.
    """
    from dcmtx.codec.table import ENCODERS

    found: dict[str, None] = {}
    for given in names:
        for uid in _meant(given, lossy is not None):
            row = BY_UID[uid]
            if row.encapsulated and not list(ENCODERS.every_row(uid)):
                raise UnfitError(f"has {row.label}, which dcmtx cannot encode; `dcmtx syntaxes` says what it can")
            if lossy is None and row.encapsulated and all(each.lossy for each in ENCODERS.every_row(uid)):
                raise UnfitError(f"has {row.label}, which loses information; consent in a file, by a table lossy")
            found.setdefault(uid)
    return tuple(found)


def _meant(given: str, lossy: bool) -> tuple[str, ...]:
    if given.lower() == "raw":
        given = "explicit"
    if (family := find_family(given)) and not is_keyword(given):
        return family.lossy if lossy and family.lossy else (family.lossless,)
    if syntax := find(given):
        return (syntax.uid,)
    raise UnfitError(f"has {shown(given)}, which is no transfer syntax; `dcmtx syntaxes` lists them")


class Matching(Record):
    """What a value of a condition says: patterns of which one must match, and patterns of which none may."""

    patterns: tuple[str, ...]
    unlike: tuple[str, ...]


def matching(value: Any) -> Matching:
    """Read a condition: text or a number, or a list of them; `!` before one says: not that."""
    patterns: list[str] = []
    unlike: list[str] = []
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, bool) or not isinstance(each, str | int | float):
            raise UnfitError(f"is {shown(each)}, not text or a number, or a list of these")
        word = str(each)
        (unlike if word.startswith("!") else patterns).append(word.removeprefix("!"))
    if not patterns and not unlike:
        raise UnfitError("is an empty list, which nothing can match; leave it out, or write what it must be")
    return Matching(tuple(patterns), tuple(unlike))
