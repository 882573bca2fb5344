"""Parses a peer's command line into options, their values, and files."""

from __future__ import annotations

from collections.abc import Iterator

from dcmtx.errors import UsageError
from dcmtx.peers.table import Grammar, Option, Peer
from dcmtx.record import Record


class Given(Record):
    """An option on a command line."""

    option: Option
    name: str
    values: tuple[str, ...] = ()

    @property
    def written(self) -> str:
        """The option as it was typed."""
        return " ".join([self.name, *self.values])


class Line(Record):
    """A parsed command line: options in order, and file names."""

    given: tuple[Given, ...]
    files: tuple[str, ...]


def read(peer: Peer, arguments: list[str]) -> Line:
    """Parse a command line. Raises UsageError for an unknown option, or one without its value."""
    files: list[str] = []
    names = {name: option for option in peer.options for name in option.names}
    rest = iter(arguments)
    made = _dcmtk if peer.grammar is Grammar.DCMTK else _hyphened
    given = tuple(made(peer, names, rest, files))
    return Line(given, tuple(files))


def _dcmtk(peer: Peer, names: dict[str, Option], rest: Iterator[str], files: list[str]) -> Iterator[Given]:
    """Read options that are whole words; the words that follow are their values, whatever they look like."""
    for word in rest:
        if word[:1] == "@":
            raise UsageError(f"{peer.name}: files of options such as {word} are not read", advice="give the options")
        if word[:1] not in ("-", "+") or word == "-":
            files.append(word)
            continue
        option = names.get(word)
        if option is None:
            raise _unknown(peer, word)
        yield Given(option, word, tuple(_value(peer, word, rest) for _ in option.values))


def _hyphened(peer: Peer, names: dict[str, Option], rest: Iterator[str], files: list[str]) -> Iterator[Given]:
    """Read long options with two hyphens and letters with one; after `--` there are only files."""
    for word in rest:
        if word == "--":
            files.extend(rest)
        elif word.startswith("--"):
            yield _long(peer, names, word, rest)
        elif word[:1] != "-" or word == "-":
            files.append(word)
        elif peer.grammar is Grammar.COMMONS and word[:2] not in names and len(word) > 2:
            yield _long(peer, names, f"-{word}", rest)
        else:
            yield from _letters(peer, names, word, rest)


def _long(peer: Peer, names: dict[str, Option], word: str, rest: Iterator[str]) -> Given:
    """Read a long option, which may be abbreviated, and its value, which may follow `=`."""
    name, equals, value = word.partition("=")
    if name not in names and peer.grammar is not Grammar.CLAP:
        # Names of older versions, which come last, are not abbreviated: they would make others ambiguous.
        longer = [full for full in names if full.startswith(name) and full in names[full].names[:2]]
        if len({id(names[full]) for full in longer}) > 1:
            raise UsageError(f"{peer.name}: {name} may be {', '.join(longer)}", advice="write it out")
        name = longer[0] if longer else name
    option = names.get(name)
    if option is None:
        raise _unknown(peer, name)
    if equals and not option.values:
        raise UsageError(f"{peer.name}: {name} takes no value", advice=f"leave ={value} out")
    if not option.values:
        return Given(option, name)
    return Given(option, name, (value if equals else _value(peer, name, rest),))


def _letters(peer: Peer, names: dict[str, Option], word: str, rest: Iterator[str]) -> Iterator[Given]:
    """Read letters that may be joined; the value of one is the rest of the word, or the next word."""
    letters = word[1:]
    while letters:
        name, letters = f"-{letters[0]}", letters[1:]
        option = names.get(name)
        if option is None:
            raise _unknown(peer, name)
        if not option.values:
            yield Given(option, name)
            continue
        if letters and peer.grammar is Grammar.CLAP:
            letters = letters.removeprefix("=")
        yield Given(option, name, (letters or _value(peer, name, rest),))
        return


def _value(peer: Peer, name: str, rest: Iterator[str]) -> str:
    value = next(rest, None)
    if value is None:
        raise UsageError(f"{peer.name}: {name} has no value", advice=f"see `dcmtx as {peer.name} --help`")
    return value


def _unknown(peer: Peer, name: str) -> UsageError:
    return UsageError(f"{peer.name} has no option {name}", advice=f"see `dcmtx as {peer.name} --help`")
