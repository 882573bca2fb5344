"""The configuration file that `dcmtx relay --example` prints: every key, explained."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from dcmtx.relay.config import Kind
from dcmtx.relay.keys import (
    ACCEPT,
    DESTINATION,
    HTTP,
    LISTEN,
    LISTEN_TLS,
    LOGIN,
    LOSSY,
    ROUTE,
    SPOOL,
    TIMEOUTS,
    TLS,
    TOP,
    WHERE_HELP,
    Key,
    Section,
)

_WIDTH = 102
_HEAD = """\
Configuration of a relay: `dcmtx relay --config FILE` starts it, and with --check looks at the file and
tries the destinations. Keys that stand as comments show what may be written. Times are seconds, or
text such as "30 s" or "5 min"; sizes are bytes, or text such as "10 GiB".
"""
# What of the example stands behind the first destination and the first route.
_MORE_DESTINATIONS = """\
[[destinations]]
name = "cloud"
kind = "stow"
address = "https://pacs.example.org/dicom-web"
prefer = ["htj2k"]

[[destinations]]
name = "research"
kind = "directory"
address = "/srv/research"
"""
_WHERE = """\
[routes.where]
calling = "CT*"
Modality = ["CT", "PT"]
StudyDescription = "!*TEST*"
"""
_MORE_ROUTES = """\
[[routes]]
to = ["cloud", "research"]
[routes.where]
SOPClassUID = "MRImageStorage"
StationName = ["MR1", "MR2"]

[[routes]]
to = ["archive"]
otherwise = true
"""


def example() -> str:
    """Return the file. It is valid as it is, and with any of its keys that are comments made lines.

    >>> example().splitlines()[0]
    '# Configuration of a relay: `dcmtx relay --config FILE` starts it, and with --check looks at the file and'
    """
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from (f"# {line}" for line in _HEAD.splitlines())
    yield ""
    yield from _keys(TOP)
    for section in (LISTEN, ACCEPT, LISTEN_TLS, SPOOL, HTTP, DESTINATION, LOSSY, TIMEOUTS, TLS, LOGIN):
        yield from _section(section)
    yield from ("", *_MORE_DESTINATIONS.splitlines())
    yield from _section(ROUTE)
    yield ""
    yield from _comment(WHERE_HELP)
    yield from _WHERE.splitlines()
    yield from ("", *_MORE_ROUTES.splitlines())


def _section(section: Section) -> Iterator[str]:
    yield ""
    yield from _comment(section.help)
    yield section.header if section.set else f"# {section.header}"
    yield from _keys(section)


def _keys(section: Section) -> Iterator[str]:
    for number, key in enumerate(section.keys):
        if number:
            yield ""
        yield from _comment(key_help(key))
        line = f"{key.name} = {key.example}"
        yield line if key.set else f"# {line}"


def key_help(key: Key) -> str:
    """Return the help of a key, with the kinds of destinations that have it."""
    if len(key.kinds) == len(Kind):
        return key.help
    return f"{', '.join(kind.value for kind in key.kinds)}: {key.help}"


def _comment(text: str) -> Iterator[str]:
    yield from (f"# {line}" for line in textwrap.wrap(text, _WIDTH - 2, break_on_hyphens=False))
