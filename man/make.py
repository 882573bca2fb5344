"""Make the man pages of this directory from the commands: `python man/make.py`; `--check` says whether they are stale.

One page per command of `dcmtx.commands`, dcmtx.1, dcmtx-api.7 of the package's public names, dcmtx-relay.toml.5 of
the keys of a relay, and the scripts that have shells complete. What a page says stands in docstrings, options and
epilogs, and in the tables of transfer syntaxes and backends; there is no date, so the same code gives the same page.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import click

import dcmtx
from dcmtx import __version__
from dcmtx.cli import cli
from dcmtx.cli.completion import FILE_NAMES, SHELLS
from dcmtx.codec.registry import Registry
from dcmtx.codec.row import OWN
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.commands import COMMANDS, DEFAULT_COMMAND
from dcmtx.finding import CODES
from dcmtx.inspect import record as info_record
from dcmtx.inspect import told
from dcmtx.options import OPTIONS
from dcmtx.peers.catalog import MODULES, load
from dcmtx.peers.table import Option as PeerOption
from dcmtx.peers.translate import explained
from dcmtx.relay import answers as answer_tables
from dcmtx.relay import keys, posting
from dcmtx.relay.answers import AnswerKind
from dcmtx.relay.example import key_help
from dcmtx.relay.metrics import exposition
from dcmtx.rules.catalog import ENTRIES, Mend
from dcmtx.syntax import FAMILIES, ROOT, SYNTAXES, Loss, Syntax

HERE = Path(__file__).resolve().parent
ELSEWHERE = ("dcmconv", "dcmdump", "gdcmconv")
EXIT_HEADING = "Exit status:"

# --- roff ------------------------------------------------------------------------------------------------------


def escape(text: str) -> str:
    """Return plain text as roff: nothing in it is a request, a hyphen stays a hyphen."""
    text = text.replace("\\", "\\e")
    return "".join(sign if sign < "\x7f" else f"\\[u{ord(sign):04X}]" for sign in text)


def literal(text: str) -> str:
    """Return what a user types: hyphens are minus signs, which can be copied into a shell."""
    return escape(text).replace("-", "\\-")


def bold(text: str) -> str:
    """Return text to be typed as it is."""
    return f"\\fB{literal(text)}\\fR"


def italic(text: str) -> str:
    """Return text to be replaced by something."""
    return f"\\fI{literal(text)}\\fR"


# In prose: code in backticks, and options.
_MARKED = re.compile(r"`(?P<code>[^`]+)`|(?<![\w-])(?P<option>--[a-z][\w-]*)")


def prose(text: str, metavars: Iterable[str] = ()) -> str:
    """Return a paragraph as one line: `code` and options bold, metavars italic."""
    text = " ".join(text.split())
    names = "|".join(re.escape(name) for name in metavars)
    parts: list[str] = []
    position = 0
    for match in _MARKED.finditer(text):
        parts += [_italics(text[position : match.start()], names), bold(match["code"] or match["option"])]
        position = match.end()
    parts.append(_italics(text[position:], names))
    return guarded("".join(parts))


def _italics(text: str, names: str) -> str:
    escaped = escape(text)
    return re.sub(rf"\b({names})\b", r"\\fI\1\\fR", escaped) if names else escaped


def guarded(line: str) -> str:
    """Return a line that cannot be taken for a request."""
    return f"\\&{line}" if line.startswith((".", "'")) else line


def example(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines that stay as they are, indented."""
    yield from (".RS 2", ".nf")
    for line in lines:
        yield guarded(literal(line)) or "\\&"
    yield from (".fi", ".RE")


def listing(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield tagged paragraphs; tags and texts are roff already."""
    for tag, text in entries:
        yield from (".TP", tag, text)


# --- what a command says of itself -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Help:
    """A docstring or an epilog taken apart: paragraphs, and blocks that stay as they are."""

    paragraphs: list[str]
    blocks: list[list[str]]


def read_help(text: str | None) -> Help:
    r"""Take apart what click shows: a paragraph whose first line is \b is a block."""
    paragraphs: list[str] = []
    blocks: list[list[str]] = []
    for part in re.split(r"\n[ \t]*\n", inspect.cleandoc(text or "").partition("\f")[0].strip("\n")):
        first, _, rest = part.partition("\n")
        if first.strip() in ("\b", "\\b"):
            blocks.append(rest.split("\n"))
        elif part.strip():
            paragraphs.append(part)
    return Help(paragraphs, blocks)


@dataclass(frozen=True)
class Page:
    """A page: the command, its context, its name in COMMANDS (empty for dcmtx itself), and its line in NAME."""

    command: click.Command
    context: click.Context
    name: str
    summary: str

    @property
    def title(self) -> str:
        """The name of the page, and the file without suffix."""
        return f"dcmtx-{self.name}" if self.name else "dcmtx"

    @property
    def metavars(self) -> list[str]:
        """The names of the arguments; one argument may stand for several, as in SRC... DST."""
        written = [
            param.metavar or str(param.name).upper()
            for param in self.command.get_params(self.context)
            if isinstance(param, click.Argument)
        ]
        return re.findall(r"\w+", " ".join(written))

    @property
    def inner(self) -> list[Page]:
        """What the page of a group tells of the commands in it; of dcmtx itself nothing, whose commands have pages."""
        if not self.name or not isinstance(self.command, click.Group):
            return []
        return [
            Page(
                found,
                click.Context(found, info_name=name, parent=self.context),
                name,
                read_help(found.help).paragraphs[0],
            )
            for name, found in self.command.commands.items()
        ]


def pages() -> list[Page]:
    """Return every page, dcmtx itself first."""
    top = click.Context(cli, info_name="dcmtx", **cli.context_settings)
    summary = read_help(cli.help).paragraphs[0]
    found = [Page(cli, top, "", summary)]
    for name, (_, text) in COMMANDS.items():
        command = cli.get_command(top, name)
        assert command is not None
        found.append(Page(command, click.Context(command, info_name=name, parent=top), name, text))
    return found


# --- sections --------------------------------------------------------------------------------------------------


def heading(page: Page) -> Iterator[str]:
    """Yield the title, NAME and SYNOPSIS."""
    yield f'.TH {literal(page.title.upper())} 1 "" "dcmtx {__version__}" "dcmtx"'
    # Left-aligned: stretched lines of options and paths read badly.
    yield from (".nh", ".ad l")
    summary = " ".join(page.summary.split()).rstrip(".")
    yield from (".SH NAME", f"{literal(page.title)} \\- {escape(summary[:1].lower() + summary[1:])}")
    yield ".SH SYNOPSIS"
    for number, one in enumerate(page.inner or [page]):
        if number:
            yield ".br"
        pieces = " ".join(one.command.collect_usage_pieces(one.context))
        yield f"{bold(one.context.command_path)} {_synopsis(pieces)}"


def _synopsis(pieces: str) -> str:
    """Return the usage line: words in capitals stand for something, the others are typed."""
    words = re.split(r"([\[\]|. ]+)", pieces)
    marked = [
        word if not word.strip("[]|. ") else italic(word) if word.isupper() else bold(word) for word in words if word
    ]
    return "".join(marked)


def description(page: Page) -> Iterator[str]:
    """Yield DESCRIPTION."""
    yield ".SH DESCRIPTION"
    for number, paragraph in enumerate(read_help(page.command.help).paragraphs):
        if number:
            yield ".PP"
        yield prose(paragraph, page.metavars)


def commands(page: Page) -> Iterator[str]:
    """Yield COMMANDS: the pages of the others, or of a group what is in it, with its options."""
    if page.name:
        if page.inner:
            yield ".SH COMMANDS"
        for one in page.inner:
            first, *others = read_help(one.command.help).paragraphs
            yield from (".TP", bold(one.name), prose(first, one.metavars), ".RS")
            yield from (line for text in others for line in (".PP", prose(text, one.metavars)))
            yield from _options(one)
            yield ".RE"
        return
    yield ".SH COMMANDS"
    yield from listing((f"\\fB{literal(f'dcmtx-{name}')}\\fR(1)", prose(text)) for name, (_, text) in COMMANDS.items())


def options(page: Page) -> Iterator[str]:
    """Yield OPTIONS."""
    yield ".SH OPTIONS"
    yield from _options(page)


def _options(page: Page) -> Iterator[str]:
    shown = [
        param for param in page.command.get_params(page.context) if isinstance(param, click.Option) and not param.hidden
    ]
    yield from listing((_option_names(option), _option_text(option, page)) for option in shown)


def _option_names(option: click.Option) -> str:
    names = sorted(option.opts, key=lambda name: name.startswith("--")) + list(option.secondary_opts)
    return ", ".join(map(bold, names)) + _value(option)


def _value(option: click.Option) -> str:
    """Return how the value of an option is written: its choices, or a word for it."""
    if option.is_flag or option.count:
        return ""
    if option.metavar is None and isinstance(option.type, click.Choice):
        return " " + "|".join(map(bold, _choices(option.type)))
    return f" {italic(_word(option))}"


def _choices(choice: click.Choice[str]) -> list[str]:
    return [str(getattr(entry, "value", entry)) for entry in choice.choices]


def _word(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    numeric = isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
    return "N" if numeric else str(option.name).upper()


def _option_text(option: click.Option, page: Page) -> str:
    text, written, end = " ".join((option.help or "").split()).partition(" [default: ")
    text += _range(option)
    if option.multiple and "repeatable" not in text:
        text += " May be given several times."
    default = _default(option)
    if written:
        text += written + end
    elif default:
        text += f" [default: {default}]"
    return prose(text, [*page.metavars, _word(option)])


def _range(option: click.Option) -> str:
    kind = option.type
    if not isinstance(kind, click.IntRange | click.FloatRange) or kind.min is None:
        return ""
    bound = f"{kind.min} or more" if kind.max is None else f"{kind.min} to {kind.max}"
    return f" {_word(option)} is {bound}."


def _default(option: click.Option) -> str:
    """Return the default as a user would write it, if the option shows one."""
    if not option.show_default:
        return ""
    if isinstance(option.show_default, str):
        return option.show_default
    # Not option.default, which in some versions of click is a sentinel where there is none.
    default = option.to_info_dict()["default"]
    if option.is_flag:
        return (option.opts if default else option.secondary_opts)[0] if option.secondary_opts else ""
    return "" if default is None else str(getattr(default, "value", default))


def exit_status(page: Page) -> Iterator[str]:
    """Yield EXIT STATUS: the list in the epilog, which the page of dcmtx shares with the default command."""
    of = page if page.name else next(other for other in pages() if other.name == DEFAULT_COMMAND)
    entries, remarks = read_exit_status(of.command.epilog)
    yield ".SH EXIT STATUS"
    if not entries:
        yield f"0 if it is done, 2 for wrong usage; otherwise as in \\fB{literal(f'dcmtx-{DEFAULT_COMMAND}')}\\fR(1)."
        return
    yield from listing((bold(status), prose(text)) for status, text in entries)
    for remark in remarks:
        yield from (".PP", prose(remark, of.metavars))


def read_exit_status(epilog: str | None) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the entries of the list under "Exit status:", which stands in columns, and the remarks behind it."""
    entries: list[tuple[str, str]] = []
    remarks: list[str] = []
    for block in read_help(epilog).blocks:
        if block[0].strip() != EXIT_HEADING:
            continue
        for line in block[1:]:
            if line.startswith(" "):
                cells = re.split(r"\s{2,}", line.strip())
                entries += zip(cells[0::2], cells[1::2], strict=True)
            else:
                remarks.append(line)
    entries.sort(key=lambda entry: int(entry[0].split(",")[0]))
    return entries, [" ".join(remarks)] if remarks else []


def examples(page: Page) -> Iterator[str]:
    """Yield EXAMPLES, from the blocks of the docstring."""
    blocks = read_help(page.command.help).blocks
    if not blocks:
        return
    yield ".SH EXAMPLES"
    for number, block in enumerate(blocks):
        if number:
            yield ".PP"
        yield from example(block)


def see_also(page: Page) -> Iterator[str]:
    """Yield SEE ALSO."""
    ours = [title for title in ("dcmtx", *(f"dcmtx-{name}" for name in COMMANDS)) if title != page.title]
    yield ".SH SEE ALSO"
    titles = [f"\\fB{literal(title)}\\fR(1)" for title in (*ours, *ELSEWHERE)]
    titles += [f"\\fB{literal(title)}\\fR(5)" for title in FORMAT_PAGES]
    yield ",\n".join([*titles, *(f"\\fB{literal(title)}\\fR(7)" for title in sorted([*OTHER_PAGES, *HAND_WRITTEN]))])


# --- transfer syntaxes -----------------------------------------------------------------------------------------

# The order of the tables.
_LOSS = {
    Loss.NONE: "Not compressed, or deflated",
    Loss.LOSSLESS: "Lossless",
    Loss.BOTH: "Lossless or lossy, as encoded",
    Loss.LOSSY: "Lossy",
}


def transfer_syntaxes(page: Page) -> Iterator[str]:
    """Yield the table of what is coded, and what else is known by name, on the page of `dcmtx syntaxes`."""
    if page.name != "syntaxes":
        return
    coded = _coded()
    yield ".SH TRANSFER SYNTAXES"
    yield f"All UIDs begin with {ROOT}, which is that of {bold('implicit')}; what follows is given here."
    yield "Backends are named in order of preference."
    for loss, title in _LOSS.items():
        yield f".SS {title}"
        yield from _table(syntax for syntax in coded if syntax.loss is loss)
    yield from (".SH KNOWN BY NAME ONLY", "Files of these transfer syntaxes can be copied, not converted.", ".PD 0")
    for syntax in SYNTAXES:
        if syntax not in coded:
            yield from (".TP 9", _last(syntax), f"{_names(syntax)}: {escape(syntax.name)}")
    yield ".PD"


def findings(page: Page) -> Iterator[str]:
    """Yield every finding that `dcmtx info` may tell of: its code, what it means, its section, what mends it."""
    if page.name != "info":
        return
    yield ".SH FINDINGS"
    yield prose("Codes that begin with E are those of the errors with which a conversion of the file fails.")
    for code, entry in sorted(ENTRIES.items()):
        meaning = CODES.get(code, _ERRORS.get(code, ""))
        mend = entry.mend.value.format(syntax="SYNTAX", other="explicit")
        yield from (".TP", bold(code), prose(f"{meaning[:1].upper()}{meaning[1:]} ({entry.section})."))
        if mend:
            yield prose(f"Mended by `{mend}`{_OR.get(entry.mend, '')}.")


def records(page: Page) -> Iterator[str]:
    """Yield the fields of the objects that --json writes, on the pages of commands that look at files."""
    fields = {"info": info_record.MEANINGS, "compare": told.MEANINGS}.get(page.name)
    if fields is None:
        return
    yield ".SH RECORDS"
    yield prose("With --json there is an object on one line. It has every field always, null where one does not apply.")
    for name, meaning in fields.items():
        yield from (".TP", bold(name), prose(f"{meaning[:1].upper()}{meaning[1:]}."))


# What else mends, for pixels that are not in fragments.
_OR = {
    Mend.RECODE: ", or jpegls",
    Mend.WRAP: "; of pixels without fragments by `dcmtx convert SRC DST --to SYNTAX --offset-table basic`",
}
# What the errors mean that are findings too.
_ERRORS = {
    "E_CODESTREAM": "the bytes of a frame are no codestream of the transfer syntax, or a damaged one",
    "E_DEFLATE": "the deflated data set is damaged",
    "E_ENCAPSULATION": "the items of Pixel Data are damaged, or contradict the transfer syntax",
    "E_GEOMETRY": "the codestream and the data set contradict one another in size, components or bits",
    "E_INCONSISTENT": "the attributes of the image contradict one another, or are missing",
    "E_INPUT": "the data set is damaged in another way",
    "E_NO_SYNTAX": "no transfer syntax is named, and none can be told",
    "E_SEQUENCE": "a sequence is damaged inside",
    "E_TRUNCATED": "something is missing: the file, its pixels, or a codestream ends early",
    "E_UNSUPPORTED_TS": "the transfer syntax is none of the standard's",
}


def _coded() -> list[Syntax]:
    return [syntax for syntax in SYNTAXES if DECODERS.rows(syntax.uid) or ENCODERS.rows(syntax.uid)]


def _table(syntaxes: Iterable[Syntax]) -> Iterator[str]:
    """Yield a table for tbl. Its columns fit into a terminal of 80."""
    yield from (".TS", "l l l l", "lw(19n) lw(6n) lw(18n) lw(18n).")
    yield "\t".join(map(bold, ("--to", "UID", "decoded by", "encoded by")))
    for syntax in syntaxes:
        cells = [_names(syntax), _last(syntax), _backends(DECODERS, syntax), _backends(ENCODERS, syntax)]
        yield "\t".join(f"T{{\n{cell}\nT}}" for cell in cells)
    yield ".TE"


def _names(syntax: Syntax) -> str:
    return ", ".join(_breakable(name) for name in _plain_names(syntax))


def _plain_names(syntax: Syntax) -> list[str]:
    families = [family.name for family in FAMILIES if family.lossless == syntax.uid]
    return [*families, *([syntax.alias] if syntax.alias else [])] or [syntax.keyword]


def _breakable(name: str) -> str:
    """Return a name that may be broken before a capital letter, without a hyphen: keywords are long."""
    parts = re.split(r"(?<=[a-z])(?=[A-Z])", name)
    return "\\:".join(literal(part) for part in parts)


def _last(syntax: Syntax) -> str:
    """Return a UID without the beginning that all share, which is the whole of one."""
    return guarded(syntax.uid.removeprefix(ROOT)) or "\\&"


def _backends(registry: Registry, syntax: Syntax) -> str:
    return ", ".join(map(escape, _plain_backends(registry, syntax))) or "\\-"


def _plain_backends(registry: Registry, syntax: Syntax) -> list[str]:
    return list(dict.fromkeys(row.backend for row in registry.rows(syntax.uid) if row.distribution == OWN))


# --- the library -----------------------------------------------------------------------------------------------

API = "dcmtx-api"
# Where the package's docstring begins to tell of the house, which is for those who work on it.
_HOUSE = "\n\nThe house, from the ground up."


def api_page() -> str:
    """Return the page of the package's public names, made from their docstrings and signatures."""
    public = {name: getattr(dcmtx, name) for name in dcmtx.__all__ if not name.startswith("_")}
    classes = {name: value for name, value in public.items() if inspect.isclass(value)}
    errors = {name: value for name, value in classes.items() if issubclass(value, Exception)}
    enums = {name: value for name, value in classes.items() if issubclass(value, Enum)}
    rest = {name: value for name, value in classes.items() if name not in errors and name not in enums}
    functions = {name: value for name, value in public.items() if name not in classes}
    introduction = inspect.cleandoc(dcmtx.__doc__ or "").partition(_HOUSE)[0]
    lines = [
        f'.TH {literal(API.upper())} 7 "" "dcmtx {__version__}" "dcmtx"', ".nh", ".ad l",
        ".SH NAME", f"{literal(API)} \\- the Python library", ".SH SYNOPSIS", bold("import dcmtx"),
        ".SH DESCRIPTION", *_docstring(introduction),
    ]  # fmt: skip
    for title, entries, make in (
        ("FUNCTIONS", functions, _function),
        ("EXCEPTIONS", errors, _class),
        ("ENUMERATIONS", enums, _enumeration),
        ("RECORDS", rest, _record),
    ):
        lines.append(f".SH {title}")
        for name in sorted(
            entries, key=lambda name: (name != "transcode", entries[name] is not dcmtx.DcmtxError, name)
        ):
            lines += [f".SS {literal(name)}", *make(name, entries[name])]
    lines += [".SH SEE ALSO", ",\n".join(f"\\fB{literal(title)}\\fR(1)" for title in ("dcmtx", "dcmtx-convert"))]
    return '.\\" Made by man/make.py; change the docstrings instead.\n' + "\n".join(lines) + "\n"


def _docstring(text: str | None) -> Iterator[str]:
    """Yield a docstring: paragraphs, and blocks that are indented or examples as they are."""
    for number, block in enumerate(re.split(r"\n[ \t]*\n", inspect.cleandoc(text or "").strip("\n"))):
        if number:
            yield ".PP"
        if block.lstrip().startswith(">>>") or block.startswith(" "):
            yield from example(inspect.cleandoc(block).split("\n"))
        else:
            yield prose(block)


def _class(_name: str, value: type) -> Iterator[str]:
    yield from _docstring(value.__doc__)
    if value is not dcmtx.DcmtxError:
        yield from (".PP", f"A DcmtxError with exit status {value.status.value}.")


def _enumeration(name: str, value: type[Enum]) -> Iterator[str]:
    yield from _docstring(value.__doc__)
    for member in value:
        about = getattr(member, "description", "")
        yield from (".TP", bold(f"{name}.{member.name}"), prose(f"{member.value!r}{': ' if about else ''}{about}"))


def _record(_name: str, value: type) -> Iterator[str]:
    """Yield a record: what it is, and its fields with their types and defaults."""
    yield from _docstring(value.__doc__)
    defaults = getattr(value, "_defaults", {})
    for field, kind in getattr(value, "__annotations__", {}).items():
        default = f" = {_written(defaults[field])}" if field in defaults else ""
        yield from (".br", f"{bold(field)}: {escape(str(kind) + default)}")


def _function(name: str, value: Any) -> Iterator[str]:
    """Yield a function: its signature, its docstring, and the options that are the command line's with their help."""
    signature = inspect.signature(value)
    named = [found for found in signature.parameters.values() if found.kind is found.KEYWORD_ONLY]
    # Options that are handed on are those of another function, and stand among `...`.
    handed_on = [found for found in signature.parameters.values() if found.kind is found.VAR_KEYWORD]
    others = [found for found in signature.parameters.values() if found not in named + handed_on]
    first = [_parameter(found) for found in others]
    shown = ", ".join(first + ["..."] * bool(named + handed_on))
    yield from (f"{bold(name)}({escape(shown)}) \\-> {escape(str(signature.return_annotation))}", ".PP")
    yield from _docstring(value.__doc__)
    for found in named:
        yield from (".TP", f"{bold(found.name)}{escape(_parameter(found).removeprefix(found.name))}")
        option = OPTIONS.get(found.name)
        # The command line has a flag for what is not done.
        but = "False: " if option and option.flag.startswith("--no-") else ""
        yield prose(but + option.describe()) if option else "\\&"


def _parameter(found: inspect.Parameter) -> str:
    """Return a parameter as it is written, with its type and its default."""
    stars = {found.VAR_POSITIONAL: "*", found.VAR_KEYWORD: "**"}.get(found.kind, "")
    default = "" if found.default is found.empty else f" = {_written(found.default)}"
    return f"{stars}{found.name}: {found.annotation}{default}"


def _written(value: Any) -> str:
    """Return a default as it would be written: a choice by its name, an empty mapping or record shortly."""
    if isinstance(value, Enum):
        return repr(value.value)
    text = repr(value)
    return text if len(text) <= 30 else f"{type(value).__name__}(...)"


# --- other converters --------------------------------------------------------------------------------------------

MIGRATING = "dcmtx-migrating"


def migrating_page() -> str:
    """Return the page of what becomes of the words of other converters, made from their tables."""
    peers = [load(name) for name in MODULES]
    lines = [
        f'.TH {literal(MIGRATING.upper())} 7 "" "dcmtx {__version__}" "dcmtx"', ".nh", ".ad l",
        ".SH NAME", f"{literal(MIGRATING)} \\- the words of gdcmconv, DCMTK and others, as dcmtx does them",
        ".SH SYNOPSIS", f"{bold('dcmtx as')} {italic('PEER')} {italic('ARGS')}...",
        ".SH DESCRIPTION", *_docstring(MIGRATING_TEXT),
    ]  # fmt: skip
    for peer in peers:
        lines += [f".SH {literal(peer.name.upper())}", prose(f"{peer.about}.")]
        for remark in peer.remarks:
            lines += [".PP", prose(remark)]
        for group in peer.groups:
            lines += [f".SS {literal(group.title)}"]
            lines += listing((_peer_option(option), prose(f"{explained(option)}.")) for option in group.options)
    titles = ("dcmtx", "dcmtx-as", "dcmtx-link", "dcmtx-convert", *ELSEWHERE)
    lines += [".SH SEE ALSO", ",\n".join(f"\\fB{literal(title)}\\fR(1)" for title in titles)]
    return '.\\" Made by man/make.py; change the tables of dcmtx/peers instead.\n' + "\n".join(lines) + "\n"


MIGRATING_TEXT = """
A script or a hook that calls another converter keeps its line: `dcmtx as PEER ARGS...` does what the line says, and so
does dcmtx when it is called by the peer's name, for which `dcmtx link DIR` makes links.

Every option of a peer is here. It is done, as the option of `dcmtx convert` that is named; or ignored, because it
changes nothing of what is written, which -v says; or refused, with what to do instead. None does something else.

The files, messages and guarantees are those of dcmtx: what is written is verified, and DST is whole or as it was. A
file that has the target syntax already is copied, unless the peer's option to force is given. New UIDs are derived, and
so the same in every run. Icons follow the syntax of their file, retired group lengths and trailing padding are left out
of what is written anew.

The exit status is the peer's: 0, or 1 for whatever fails; dcm2dcm has 2 for wrong usage, and dicom-transcode 2, 254
(the source cannot be read), 252 (the destination cannot be written) and 253. With --dcmtx-status, which may stand
anywhere among the options, it is that of `dcmtx convert`. A line that is handed over to `dcmtx serve` is the same.
"""


def _peer_option(option: PeerOption) -> str:
    """Return the names of a peer's option, and its values."""
    return ", ".join(map(bold, option.names)) + "".join(f" {italic(value)}" for value in option.values)


# Pages of section 7: name, and what makes it.
OTHER_PAGES: dict[str, Callable[[], str]] = {API: api_page, MIGRATING: migrating_page}


# What becomes of an instance by the answer of its destination.
BECOMES: dict[AnswerKind, str] = {
    AnswerKind.DELIVERED: "Delivered; a warning is in the log.",
    AnswerKind.AGAIN: "Tried again, at longer and longer intervals of 1 second to 5 minutes; held after hold-after.",
    AnswerKind.FEW_TRIES: "Tried twice more within minutes, then held; others go on.",
    AnswerKind.HOLD: "Held at once.",
    AnswerKind.OTHER_SYNTAX: (
        "Sent in the next transfer syntax that it may be sent in; held if there is none. So is what STOW-RS "
        "answers by failure reason C122."
    ),
    AnswerKind.NO_CONTEXT: (
        "No presentation context is accepted for its SOP class in a transfer syntax that it can have: held at once."
    ),
    AnswerKind.BROKEN: (
        "The association or connection ends, or there is no answer in time: sent again over a new one, and then at "
        "longer and longer intervals."
    ),
    AnswerKind.UNREACHABLE: (
        "No connection, no association, or rejected for now: tried again at intervals of 1 second to 5 minutes, by "
        "one probe at a time."
    ),
    AnswerKind.REJECTED: (
        "The association is rejected for good, or the web server wants something else: a probe every 5 minutes, "
        "and an error in the log."
    ),
}


def answers(page: Page) -> Iterator[str]:
    """Yield what becomes of an instance by the answer of its destination, on the page of `dcmtx relay`."""
    if page.name != "relay":
        return
    yield ".SH ANSWERS OF DESTINATIONS"
    yield prose(
        "Statuses are those of C-STORE (PS3.4 B.2.3), failure reasons of STOW-RS among them, and those of HTTP."
    )
    for kind, text in BECOMES.items():
        stores = [(_hexadecimal(first, last), name) for first, last, of, name in answer_tables.STATUSES if of is kind]
        webs = [(_decimal(first, last), name) for first, last, of, name in posting.STATUSES if of is kind]
        yield from (".TP", bold(kind.value), prose(text))
        if stores or webs:
            yield from (".IP", prose("; ".join(f"{code}, {name}" for code, name in stores + webs) + "."))


def _hexadecimal(first: int, last: int) -> str:
    return f"{first:04X}" if first == last else f"{first:04X} to {last:04X}"


def _decimal(first: int, last: int) -> str:
    return f"HTTP {first}" if first == last else f"HTTP {first} to {last}"


def metrics(page: Page) -> Iterator[str]:
    """Yield the names of the metrics, on the page of `dcmtx relay`."""
    if page.name != "relay":
        return
    yield ".SH METRICS"
    yield prose("/metrics of the status page has, in the text format of Prometheus:")
    table = {"x": 1}
    destination = {"state": "up", "queue": 0, "held": [], "oldest_seconds": 0.0, "delivered": table, "refused": table}
    state = {
        "received": table, "declined": table, "associations": 0, "spool_bytes": 0, "spool_free": 0,
        "destinations": {"x": destination},
    }  # fmt: skip
    durations = {("store_seconds",): (1, 1.0), ("send_seconds", "x"): (1, 1.0), ("transcode_seconds", "x"): (1, 1.0)}
    lines = exposition(state, durations).decode().splitlines()
    labels = dict(re.findall(r"^(\w+?)(?:_count)?\{(.*?)\} ", "\n".join(lines), re.MULTILINE))
    for line in lines:
        if line.startswith("# HELP "):
            _, _, name, text = line.split(" ", 3)
            of = re.findall(r"(\w+)=", labels.get(name, ""))
            yield from (".TP", bold(name) + (f" by {', '.join(map(italic, of))}" if of else ""), prose(text))


RELAY_TEXT = """
What `dcmtx relay --config FILE` reads: TOML, with the tables below. `dcmtx relay --example` prints such a file with
every key explained; with --check the relay looks at the file and tries the destinations. A key or a table that nobody
knows is an error, which names the file, the table and the key.

A time is a number of seconds, or text such as "500 ms", "30 s", "5 min", "24 h" or "2 d"; a size is a number of bytes,
or text such as "500 MB" or "10 GiB". Where a list is taken, one value alone is a list of one. In patterns * is any text
and ? any one character, as in queries (PS3.4 C.2.2.2.4); case matters.
"""
RELAY_ROUTES = """
By their numbers, private elements can be compared too. There is no condition on what is in a sequence.
"""


def relay_toml_page() -> str:
    """Return the page of the configuration of a relay, made from its tables of keys."""
    lines = [
        f'.TH {literal(RELAY_TOML.upper())} 5 "" "dcmtx {__version__}" "dcmtx"', ".nh", ".ad l",
        ".SH NAME", f"{literal(RELAY_TOML)} \\- the configuration of a relay",
        ".SH DESCRIPTION", *_docstring(RELAY_TEXT),
    ]  # fmt: skip
    for section in keys.SECTIONS:
        lines += [f".SH {literal(section.header) if section.path else 'AT THE TOP'}"]
        lines += [prose(section.help)] if section.help else []
        lines += listing((f"{bold(key.name)} = {italic(key.example)}", prose(key_help(key))) for key in section.keys)
        if section is keys.ROUTE:
            lines += [".TP", bold("[routes.where]"), prose(keys.WHERE_HELP), ".IP", prose(RELAY_ROUTES)]
    lines += [".SH EXAMPLE", *example(RELAY_EXAMPLE.strip().splitlines())]
    lines += [".SH SEE ALSO", f"\\fB{literal('dcmtx-relay')}\\fR(1)"]
    return '.\\" Made by man/make.py; change the tables of dcmtx/relay/keys.py instead.\n' + "\n".join(lines) + "\n"


RELAY_EXAMPLE = """
[listen]
address = "0.0.0.0:11112"

[spool]
path = "/var/spool/dcmtx"

[http]
address = "127.0.0.1:8042"

[[destinations]]
name = "archive"
address = "ARCHIVE@10.0.0.5:104"
prefer = ["jpegls"]

[[destinations]]
name = "viewer"
kind = "stow"
address = "https://viewer.example.org/dicom-web"
prefer = ["htj2k"]

[[routes]]
to = ["archive"]

[[routes]]
to = ["viewer"]
where = { Modality = ["CT", "MR"], StationName = "!TEST*" }
"""

# Pages of section 5: name, and what makes it.
RELAY_TOML = "dcmtx-relay.toml"
FORMAT_PAGES: dict[str, Callable[[], str]] = {RELAY_TOML: relay_toml_page}


# Pages that are written by hand, for no command says what they say.
HAND_WRITTEN = (
    "dcmtx-archive",
    "dcmtx-cluster",
    "dcmtx-drop",
    "dcmtx-install",
    "dcmtx-orthanc",
    "dcmtx-reports",
    "dcmtx-security",
    "dcmtx-sending",
)
BY_HAND = frozenset(f"{name}.7" for name in HAND_WRITTEN)


# --- pages -----------------------------------------------------------------------------------------------------

SECTIONS = (
    heading,
    description,
    commands,
    options,
    records,
    findings,
    transfer_syntaxes,
    answers,
    metrics,
    exit_status,
    examples,
    see_also,
)


def render(page: Page) -> str:
    """Return a page as roff."""
    lines = [line for section in SECTIONS for line in section(page)]
    # The first line tells man which preprocessor the page needs.
    first = "'\\\" t\n" if ".TS" in lines else ""
    return first + '.\\" Made by man/make.py; change the commands instead.\n' + "\n".join(lines) + "\n"


def all_pages() -> dict[str, str]:
    """Return every page and script by file name."""
    made = {f"{page.title}.1": render(page) for page in pages()}
    made |= {f"{name}.5": make() for name, make in FORMAT_PAGES.items()}
    return made | {f"{name}.7": make() for name, make in OTHER_PAGES.items()} | scripts()


def scripts() -> dict[str, str]:
    """Return the scripts that have shells complete what follows dcmtx, by file name."""
    return {f"completion/{FILE_NAMES[shell]}": make() for shell, make in SHELLS.items()}


def _there(directory: Path) -> list[Path]:
    found = [*directory.glob("*.[157]"), *directory.glob("completion/*")]
    return sorted(path for path in found if path.name not in BY_HAND)


def stale(directory: Path) -> list[str]:
    """Return the names of files that are missing, different, or no longer made."""
    wanted = all_pages()
    there = {str(path.relative_to(directory)): path.read_text("ascii") for path in _there(directory)}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def write(directory: Path) -> None:
    """Write every page and remove those of commands that are gone."""
    wanted = all_pages()
    for path in _there(directory):
        if str(path.relative_to(directory)) not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text, encoding="ascii")


def main(arguments: list[str]) -> int:
    """Do what was asked for and return the exit status."""
    if arguments == ["--check"]:
        found = [f"man/{name}" for name in stale(HERE)]
        for name in found:
            print(f"{name} is stale; run python man/make.py", file=sys.stderr)
        return 1 if found else 0
    if arguments:
        print("usage: python man/make.py [--check]", file=sys.stderr)
        return 2
    write(HERE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
