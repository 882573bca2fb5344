"""Options that commands share, and how a target is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any

import click

from dcmtx.options import OPTIONS, Group, Kind, Option
from dcmtx.record import Record

if TYPE_CHECKING:
    from dcmtx.transcoding.job import Job


class Word(Record):
    """One of gdcmconv's words: the option, its letter, and the name that `--to` takes for the same."""

    option: str
    letter: str
    target: str
    help: str


WORDS: tuple[Word, ...] = (
    Word("raw", "w", "raw", help="Decompress to Explicit VR Little Endian; a native file stays as it is."),
    Word("explicit", "X", "explicit", help="Explicit VR Little Endian."),
    Word("implicit", "M", "implicit", help="Implicit VR Little Endian."),
    Word("deflated", "d", "deflated", help="Deflated Explicit VR Little Endian."),
    Word("rle", "R", "rle", help="RLE Lossless."),
    Word("jpeg", "J", "jpeg", help="JPEG lossless; with --lossy, Baseline or Extended."),
    Word("jpegls", "L", "jpegls", help="JPEG-LS lossless, or near-lossless."),
    Word("j2k", "K", "j2k", help="JPEG 2000 lossless, or lossy."),
    Word("htj2k", "", "htj2k", help="High-Throughput JPEG 2000 lossless, or lossy."),
)


class Share(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A part of a whole, as `5%`; the value is the fraction."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the fraction, above 0 and at most 1."""
        if isinstance(value, float):
            return value
        number, percent, rest = value.partition("%")
        try:
            share = float(number) / 100
        except ValueError:
            share = 0.0
        if not percent or rest or not 0 < share <= 1:
            self.fail(f"{value!r} is no part of a whole; write it as 5%, above 0 % and at most 100 %", param, ctx)
        return share


# How like a choice a word must be that is not taken for a file: one letter of five or six is wrong.
_ALIKE = 0.7

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _options(*options: Decorator) -> Decorator:
    """Return a decorator that adds these options in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _word(word: Word) -> Decorator:
    letters = [f"-{word.letter}"] if word.letter else []
    return click.option(*letters, f"--{word.option}", f"word_{word.option}", is_flag=True, help=word.help)


def policy_options(*groups: Group) -> Decorator:
    """Return a decorator that adds the options of these groups of the vocabulary, in its order."""
    return _options(*(_made(option) for option in OPTIONS.values() if option.group in groups))


class WithBareOptions(click.Command):
    """A command with options that take a choice or stand by themselves: --verify, --no-verify and --verify strict."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give such options the choice that they mean, and letters their names."""
        return super().parse_args(ctx, _with_names(self.get_params(ctx), _with_choices(args)))


def _with_choices(args: list[str]) -> list[str]:
    """Return arguments in which every option that may stand by itself has its choice.

    What follows it is its choice only if it is the word of one: else it is a file.
    """
    ends = args.index("--") if "--" in args else len(args)
    found = args[:ends]
    for option in OPTIONS.values():
        if option.bare:
            for place, word in enumerate(found):
                if word == option.denial:
                    found[place] = f"{option.flag}={option.denied}"
                elif word == option.flag and not _names_choice(option, found[place + 1 : place + 2]):
                    found[place] = f"{option.flag}={option.bare}"
    return found + args[ends:]


def _names_choice(option: Option, following: list[str]) -> bool:
    """Tell whether what follows an option is one of its choices. Raises UsageError for what may only be misspelt."""
    for word in following:
        if word in option.words:
            return True
        if not word.isalpha():
            # Another option, or a path.
            return False
        from difflib import get_close_matches

        if get_close_matches(word.lower(), option.words, 1, _ALIKE):
            raise click.UsageError(
                f"{option.flag} is {word!r}, not one of {', '.join(option.words)}; ./{word} is a file of that name"
            )
    return False


def _with_names(parameters: Iterable[click.Parameter], args: list[str]) -> list[str]:
    """Return arguments with the long names of options instead of their letters.

    Where it finds a letter, click looks for long names that are like it, which takes a millisecond or two.
    """
    names: dict[str, str] = {}
    with_value: set[str] = set()
    for option in parameters:
        if isinstance(option, click.Option):
            long = [name for name in option.opts if name.startswith("--")]
            names |= {name: long[-1] for name in option.opts if long and name not in long}
            with_value |= set() if option.is_flag or option.count else set(option.opts)
    found = args[:]
    words = iter(range(len(found)))
    for place in words:
        word = found[place]
        if word == "--":
            break
        found[place] = names.get(word, word)
        if word in with_value:
            # Whatever follows is its value.
            next(words, None)
    return found


def named_options(*names: str) -> Decorator:
    """Return a decorator that adds these options of the vocabulary, in this order."""
    return _options(*(_made(OPTIONS[name]) for name in names))


def _made(option: Option) -> Decorator:
    """Return an option of the vocabulary as one of click's.

    It has the vocabulary's name, but for a flag that forbids what is done without it: that is `no_` and the name.
    """
    settings: dict[str, Any] = {"help": option.describe(), "metavar": option.metavar}
    if option.kind is not Kind.FLAG:
        settings |= {"type": _TYPES[option.kind](option), "multiple": option.several}
        if isinstance(option.default, Enum):
            settings |= {"default": option.default.value, "show_default": True}
    elif any("/" in flag for flag in option.flags):
        settings |= {"default": option.default, "show_default": True}
    else:
        settings |= {"is_flag": True}
    name = f"no_{option.name}" if option.default is True and "default" not in settings else option.name
    made = click.option(*(option.flags or (option.flag,)), name, **settings)
    if not option.bare:
        return made
    # It is there to be shown: `_with_choices` puts the choice that it means in its place.
    denial = click.option(
        option.denial, f"no_{option.name}", is_flag=True, expose_value=False, help=f"{option.flag} {option.denied}."
    )
    return lambda command: made(denial(command))


_TYPES: dict[Kind, Callable[[Option], Any]] = {
    Kind.CHOICE: lambda option: click.Choice(option.words),
    Kind.WHOLE: lambda option: click.IntRange(_whole(option.least), _whole(option.most)),
    Kind.NUMBER: lambda option: click.FloatRange(option.least, option.most),
    Kind.TEXT: lambda _: click.STRING,
}


def _whole(bound: float | None) -> int | None:
    return None if bound is None else int(bound)


target_options = _options(policy_options(Group.TARGET), *map(_word, WORDS))


def chosen_target(to: str | None, words: dict[str, bool]) -> str:
    """Return the one target that was named.

    Raises click.UsageError if there is none, or more than one.
    """
    named = [word.target for word in WORDS if words[f"word_{word.option}"]]
    if to is not None:
        named.append(to)
    if not named:
        raise click.UsageError("no target; name one with --to, such as --to jpegls, or --raw to decompress")
    if len(named) > 1:
        raise click.UsageError(f"{len(named)} targets ({', '.join(named)}), but one file has one transfer syntax")
    return named[0]


# Stands where the rules of a site name all targets.
RULED = "raw"


def check_rules(made: Job, target: str) -> None:
    """Raise click.UsageError for a job without a target whose rules leave some files without one."""
    if target == RULED and made.site is not None and not made.site.is_complete:
        raise click.UsageError(
            f"{made.site.path} has no rule for every file; name a target with --to, or end it with a rule without "
            "`when`"
        )


def check_words(to: str | None, paths: tuple[str, ...], options: dict[str, Any]) -> None:
    """Refuse words of gdcmconv's that mean something else here, saying what to type.

    Raises click.UsageError.
    """
    width, comma, height = (to or "").partition(",")
    if comma and width.isdecimal() and height.isdecimal():
        raise click.UsageError(
            f"-t is --to, not gdcmconv's size of a tile; leave it out, or say --htj2k --tile {width}"
        )
    if options["no_clobber"] and paths and paths[0].isdigit() and not os.path.lexists(paths[0]):
        raise click.UsageError(
            f"-n is --no-clobber, not gdcmconv's number of resolutions; say --resolutions {paths[0]}"
        )
    if options["quality"] is not None and options["word_j2k"]:
        raise click.UsageError(f"--quality does not go with j2k; gdcmconv's is --psnr {options['quality']} here")
    if options["verbose"] and not paths and to is None and not any(options[f"word_{word.option}"] for word in WORDS):
        raise click.UsageError("-v is --verbose, not gdcmconv's version; say dcmtx --version")


# What commands tell that make files from others.
told_options = _options(
    click.option("--json", "as_json", is_flag=True, help="One JSON object per file on standard output."),
    click.option(
        "--report",
        metavar="FILE",
        help="One JSON object per file in FILE, each line complete when it is written; with --resume, behind those "
        "that are there. A FILE whose name ends in .parquet becomes Parquet at the end.",
    ),
    click.option("--quiet", is_flag=True, help="No notes, no progress, no summary; only errors."),
    click.option(
        "--progress",
        type=click.Choice(["bar", "json"]),
        default="bar",
        show_default=True,
        help="What tells of a long run: a bar, if standard error is a terminal, or lines of JSON there, also with "
        "--quiet.",
    ),
    click.option("-v", "--verbose", is_flag=True, help="Say what was done with each file."),
)
