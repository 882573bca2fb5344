"""What the table of a peer is made of: its options, and what becomes of each."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from dcmtx.errors import ExitStatus
from dcmtx.record import Record

# What a command line asks for: names of settings, and their values as text.
Settings = dict[str, str]


class Verdict(Enum):
    """What becomes of an option."""

    DONE = "done"
    IGNORED = "ignored"
    # The peer itself does without it where nothing is lost.
    LOSSLESS = "ignored where nothing is lost, else refused"
    REFUSED = "refused"


class Option(Record):
    """One option of a peer: how it is written, what becomes of it, and why, or what to do instead.

    `values` names its values. `sets` are the settings that it makes, where "{}" stands for its value. A value that is
    `harmless` is what dcmtx does anyway.
    """

    names: tuple[str, ...]
    verdict: Verdict
    text: str
    values: tuple[str, ...] = ()
    sets: tuple[tuple[str, str], ...] = ()
    harmless: str = ""

    @property
    def written(self) -> str:
        """The names and values as a user would see them."""
        return " ".join([", ".join(self.names), *self.values])


class Group(Record):
    """Options under one heading."""

    title: str
    options: tuple[Option, ...]


class Grammar(Enum):
    """How a command line is read."""

    GETOPT = "getopt_long: letters may be joined, long names shortened"
    COMMONS = "Apache Commons CLI: long names may have one hyphen, and may be shortened"
    CLAP = "clap: letters may be joined"
    DCMTK = "DCMTK: names begin with - or +, and are whole words"


class Peer(Record):
    """A peer: its options, and its habits.

    `finish` looks at all settings together: it adds defaults of the peer, and raises UsageError for what does not go
    together. `statuses` are the peer's exit statuses by ours; what is not there is `failure`.
    """

    name: str
    about: str
    usage: str
    grammar: Grammar
    groups: tuple[Group, ...]
    finish: Callable[[Settings], Settings]
    remarks: tuple[str, ...] = ()
    # Settings that two options must not make differently.
    once: frozenset[str] = frozenset()
    several: bool = False
    statuses: tuple[tuple[int, int], ...] = ()
    failure: int = 1

    @property
    def options(self) -> list[Option]:
        """All options, in the order of the table."""
        return [option for group in self.groups for option in group.options]

    def status(self, ours: int) -> int:
        """Return what the peer would end with; a signal stays one."""
        if ours == ExitStatus.OK or ours >= ExitStatus.HANGUP:
            return ours
        return dict(self.statuses).get(ours, self.failure)


def done(names: str, text: str = "", *, values: str = "", **sets: str) -> Option:
    """Return an option that dcmtx does by making these settings; names and values are separated by blanks."""
    return Option(tuple(names.split()), Verdict.DONE, text, values=tuple(values.split()), sets=tuple(sets.items()))


def ignored(names: str, text: str, *, values: str = "") -> Option:
    """Return an option that changes nothing of what is written, and why."""
    return Option(tuple(names.split()), Verdict.IGNORED, text, values=tuple(values.split()))


def refused(names: str, text: str, *, values: str = "", harmless: str = "") -> Option:
    """Return an option that is refused, and what to do instead."""
    return Option(tuple(names.split()), Verdict.REFUSED, text, values=tuple(values.split()), harmless=harmless)


def lossless(names: str, text: str, *, values: str = "", harmless: str = "") -> Option:
    """Return an option that the peer does without where nothing is lost, and what to do instead where something is."""
    return Option(tuple(names.split()), Verdict.LOSSLESS, text, values=tuple(values.split()), harmless=harmless)


# Options of many peers.
HELP = {"mode": "help"}
VERSION = {"mode": "version"}
LOUD = {"say": "--verbose"}
QUIET = {"say": "--quiet"}
