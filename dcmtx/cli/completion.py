"""`dcmtx completion`: what shells offer when Tab is pressed, as scripts that are made from the commands.

A script holds all that it offers, so that no Python starts while somebody waits, and no server is asked. Words that are
no command's name belong to `convert`, as on the command line.
"""

from __future__ import annotations

from typing import Any

import click

from dcmtx.cli import SETTINGS, cli
from dcmtx.commands import COMMANDS, DEFAULT_COMMAND
from dcmtx.record import Record

# What may be given where files may: the shell completes those itself.
FILES = None


class Offer(Record):
    """An option: its spellings, what it is for, whether it takes a value, and which there are, None being files."""

    names: tuple[str, ...]
    help: str
    takes: bool
    values: tuple[str, ...] | None = ()
    several: bool = False


class Offers(Record):
    """What a command takes: options, and arguments, None being files."""

    name: str
    help: str
    options: tuple[Offer, ...]
    arguments: tuple[str, ...] | None = ()


def offers() -> list[Offers]:
    """Return what every command takes, in their order."""
    top = click.Context(cli, info_name="dcmtx")
    found = []
    for name, (_, text) in COMMANDS.items():
        command = cli.get_command(top, name)
        assert command is not None
        params = command.get_params(click.Context(command, info_name=name, parent=top, **SETTINGS))
        options = [_offer(param) for param in params if isinstance(param, click.Option) and not param.hidden]
        arguments = [param for param in params if isinstance(param, click.Argument)]
        values = _choices(arguments[0].type) or FILES if arguments else ()
        found.append(Offers(name, text, tuple(options), arguments=values))
    return found


def _offer(option: click.Option) -> Offer:
    names = sorted([*option.opts, *option.secondary_opts], key=lambda name: name.startswith("--"))
    takes = not (option.is_flag or option.count)
    text = " ".join((option.help or "").split()).partition(" [")[0]
    return Offer(tuple(names), text, takes, values=_values(option) if takes else (), several=option.multiple)


def _values(option: click.Option) -> tuple[str, ...] | None:
    """Return the values that an option may have: by its type, or by the word that stands for them."""
    if option.metavar in ("FILE", "PATH", "DIRECTORY"):
        return FILES
    if option.metavar == "SYNTAX":
        return targets()
    if option.name in ("decoder", "encoder"):
        from dcmtx.codec.table import DECODERS, ENCODERS

        return tuple((DECODERS if option.name == "decoder" else ENCODERS).backends())
    return _choices(option.type)


def _choices(kind: Any) -> tuple[str, ...]:
    return tuple(map(str, kind.choices)) if isinstance(kind, click.Choice) else ()


def targets() -> tuple[str, ...]:
    """Return the names of the transfer syntaxes that can be written: families, aliases, keywords."""
    from dcmtx.codec.table import ENCODERS
    from dcmtx.syntax import FAMILIES, SYNTAXES

    written = [syntax for syntax in SYNTAXES if ENCODERS.rows(syntax.uid)]
    names = [family.name for family in FAMILIES] + [syntax.alias for syntax in written if syntax.alias]
    return tuple(dict.fromkeys(["raw", *names, *(syntax.keyword for syntax in written)]))


# --- bash ----------------------------------------------------------------------------------------------------------

_BASH = """\
# Completion of dcmtx for bash; made by `dcmtx completion bash`.

_dcmtx_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_dcmtx() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=@DEFAULT@
    COMPREPLY=()
    # bash parts --to=rle at the sign.
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if ((COMP_CWORD > 1)); then
        case ${COMP_WORDS[1]} in
            @NAMES@) command=${COMP_WORDS[1]} ;;
        esac
    fi
    case $command:$before in
@VALUES@
    esac
    if [[ $word == -* ]]; then
        case $command in
@OPTIONS@
        esac
        ((COMP_CWORD > 1)) || COMPREPLY+=($(compgen -W "--version" -- "$word"))
        return
    fi
    case $command in
@ARGUMENTS@
    esac
    ((COMP_CWORD > 1)) || COMPREPLY+=($(compgen -W "@WORDS@" -- "$word"))
}

complete -F _dcmtx dcmtx
"""


def bash() -> str:
    """Return the script for bash."""
    values, options, arguments = [], [], []
    for command in offers():
        for option in command.options:
            if option.takes:
                pattern = "|".join(f"{command.name}:{name}" for name in option.names)
                values.append(f"        {pattern}) {_bash_values(option.values)}return ;;")
        names = " ".join(name for option in command.options for name in option.names)
        options.append(f"            {command.name}) {_bash_values(tuple(names.split()))};;")
        arguments.append(f"        {command.name}) {_bash_values(command.arguments)};;")
    return _filled(
        _BASH, DEFAULT=DEFAULT_COMMAND, NAMES=" | ".join(COMMANDS), WORDS=" ".join(COMMANDS), VALUES="\n".join(values),
        OPTIONS="\n".join(options), ARGUMENTS="\n".join(arguments),
    )  # fmt: skip


def _bash_values(values: tuple[str, ...] | None) -> str:
    if values is FILES:
        return '_dcmtx_files "$word"; '
    return f'COMPREPLY=($(compgen -W "{" ".join(values)}" -- "$word")); ' if values else ""


def _filled(script: str, **parts: str) -> str:
    for name, part in parts.items():
        script = script.replace(f"@{name}@", part)
    return script


# --- zsh -----------------------------------------------------------------------------------------------------------

_ZSH = """\
#compdef dcmtx
# Completion of dcmtx for zsh; made by `dcmtx completion zsh`.

_dcmtx() {
    local command=@DEFAULT@
    local -a commands
    commands=(
@COMMANDS@
    )
    if ((CURRENT == 2)) && [[ $words[2] != -* ]]; then
        _describe -t commands command commands
    elif ((CURRENT > 2)) && [[ $words[2] == (@NAMES@) ]]; then
        command=$words[2]
        shift words
        ((CURRENT--))
    fi
    case $command in
@CASES@
    esac
}

if [[ $funcstack[1] == _dcmtx ]]; then
    _dcmtx "$@"
else
    compdef _dcmtx dcmtx
fi
"""


def zsh() -> str:
    """Return the script for zsh."""
    cases = []
    for command in offers():
        specs = [_zsh_option(option) for option in command.options]
        if command.arguments is FILES:
            specs.append("'*:file:_files'")
        elif command.arguments:
            specs.append(f"'*:{command.name}:({' '.join(command.arguments)})'")
        lines = " \\\n".join(f"                {spec}" for spec in specs)
        cases.append(f"        {command.name})\n            _arguments -s -S : \\\n{lines}\n            ;;")
    told = [f"        {_quoted(f'{name}:{text}')}" for name, (_, text) in COMMANDS.items()]
    return _filled(
        _ZSH, DEFAULT=DEFAULT_COMMAND, NAMES="|".join(COMMANDS), COMMANDS="\n".join(told), CASES="\n".join(cases)
    )


def _zsh_option(option: Offer) -> str:
    """Return an option as `_arguments` has it: those it excludes, its spellings, help, and what follows it."""
    head = "*" if option.several else f"({' '.join(option.names)})"
    names = f"{{{','.join(option.names)}}}" if len(option.names) > 1 else option.names[0]
    text = "".join(f"\\{sign}" if sign in "[]:\\" else sign for sign in option.help)
    value = ""
    if option.takes:
        action = "_files" if option.values is FILES else f"({' '.join(option.values)})" if option.values else " "
        value = f":value:{action}"
    return f"{_quoted(head)}{names}{_quoted(f'[{text}]{value}')}"


def _quoted(text: str) -> str:
    """Return text as one word of a shell."""
    return "'" + text.replace("'", "'\\''") + "'"


# --- fish ----------------------------------------------------------------------------------------------------------


def fish() -> str:
    """Return the script for fish."""
    lines = ["# Completion of dcmtx for fish; made by `dcmtx completion fish`.", ""]
    lines += [
        f"complete -c dcmtx -n __fish_use_subcommand -a {name} -d {_fish_quoted(text)}"
        for name, (_, text) in COMMANDS.items()
    ]
    lines.append("complete -c dcmtx -n __fish_use_subcommand -l version -d 'Show the version.'")
    for command in offers():
        others = " ".join(name for name in COMMANDS if name != command.name)
        mine = f"not __fish_seen_subcommand_from {others}"
        if command.name != DEFAULT_COMMAND:
            mine = f"__fish_seen_subcommand_from {command.name}"
        where = f"complete -c dcmtx -n '{mine}'"
        if command.arguments is not FILES:
            lines.append(f"{where} -f{_fish_values(command.arguments)}")
        lines += [f"{where} {_fish_option(option)}" for option in command.options]
    return "\n".join(lines) + "\n"


def _fish_option(option: Offer) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    value = ""
    if option.takes:
        value = " -r -F" if option.values is FILES else f" -x{_fish_values(option.values)}"
    return f"{names}{value} -d {_fish_quoted(option.help)}"


def _fish_values(values: tuple[str, ...]) -> str:
    return f" -a {_fish_quoted(' '.join(values))}" if values else ""


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# --- the command ---------------------------------------------------------------------------------------------------

SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
# What the scripts are called where shells look for them.
FILE_NAMES = {"bash": "dcmtx.bash", "zsh": "_dcmtx", "fish": "dcmtx.fish"}


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> None:
    """Print a script that has a shell complete what follows dcmtx.

    It completes commands, options (of convert too where that is not named), names of transfer syntaxes after --to,
    other choices, and files. The package brings the scripts to share/, where shells look if it is that of the system.

    \b
    source <(dcmtx completion bash)
    source <(dcmtx completion zsh)
    dcmtx completion fish | source
    """
    click.echo(SHELLS[shell](), nl=False)
