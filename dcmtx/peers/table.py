"""The parts of a peer's table: its options, and how dcmtx treats each."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from dcmtx.errors import ExitStatus
from dcmtx.record import Record

# The settings that a command line makes: name to value, as text.
Settings = dict[str, str]


class Verdict(Enum):
    """How dcmtx treats an option."""

    DONE = "done"
    IGNORED = "ignored"
    # The peer itself ignores it if nothing is lost.
    LOSSLESS = "ignored where nothing is lost, else refused"
    REFUSED = "refused"


class Option(Record):
    """One option of a peer: its names, how dcmtx treats it, and why, or what to do instead.

    `values` names its values. `sets` are the settings that it makes; "{}" is replaced by its value. The value
    `harmless` asks for what dcmtx does anyway.
    """

    names: tuple[str, ...]
    verdict: Verdict
    text: str
    values: tuple[str, ...] = ()
    sets: tuple[tuple[str, str], ...] = ()
    harmless: str = ""

    @property
    def written(self) -> str:
        """The names and values as shown to users."""
        return " ".join([", ".join(self.names), *self.values])


class Group(Record):
    """Options under one heading."""

    title: str
    options: tuple[Option, ...]


class Grammar(Enum):
    """How a command line is parsed."""

    GETOPT = "getopt_long: letters may be joined, long names shortened"
    COMMONS = "Apache Commons CLI: long names may have one hyphen, and may be shortened"
    CLAP = "clap: letters may be joined"
    DCMTK = "DCMTK: names begin with - or +, and are whole words"


class Peer(Record):
    """A peer: its options and conventions.

    `finish` gets all settings together: it adds the peer's defaults, and raises UsageError for contradictions.
    `statuses` maps our exit statuses to the peer's; any other is `failure`.
    """

    name: str
    about: str
    usage: str
    grammar: Grammar
    groups: tuple[Group, ...]
    finish: Callable[[Settings], Settings]
    remarks: tuple[str, ...] = ()
    # Settings for which two options must not give different values.
    once: frozenset[str] = frozenset()
    several: bool = False
    statuses: tuple[tuple[int, int], ...] = ()
    failure: int = 1

    @property
    def options(self) -> list[Option]:
        """All options, in the order of the table."""
        return [option for group in self.groups for option in group.options]

    def status(self, ours: int) -> int:
        """Return the peer's exit status; success and the statuses of signals stay."""
        if ours == ExitStatus.OK or ours >= ExitStatus.HANGUP:
            return ours
        return dict(self.statuses).get(ours, self.failure)


def done(names: str, text: str = "", *, values: str = "", **sets: str) -> Option:
    """Return an option that dcmtx supports by making these settings; `names` and `values` are blank-separated."""
    return Option(tuple(names.split()), Verdict.DONE, text, values=tuple(values.split()), sets=tuple(sets.items()))


def ignored(names: str, text: str, *, values: str = "") -> Option:
    """Return an option that changes nothing in the output, and why."""
    return Option(tuple(names.split()), Verdict.IGNORED, text, values=tuple(values.split()))


def refused(names: str, text: str, *, values: str = "", harmless: str = "") -> Option:
    """Return an option that is refused, and what to do instead."""
    return Option(tuple(names.split()), Verdict.REFUSED, text, values=tuple(values.split()), harmless=harmless)


def lossless(names: str, text: str, *, values: str = "", harmless: str = "") -> Option:
    """Return an option that is ignored if nothing is lost, and what to do instead if something is."""
    return Option(tuple(names.split()), Verdict.LOSSLESS, text, values=tuple(values.split()), harmless=harmless)


# Options of many peers.
HELP = {"mode": "help"}
VERSION = {"mode": "version"}
LOUD = {"say": "--verbose"}
QUIET = {"say": "--quiet"}
