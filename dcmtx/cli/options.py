"""Options that commands share, and how a target is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from dcmtx.record import Record


class Word(Record):
    """One of gdcmconv's words: the option, its letter, and the name that `--to` takes for the same."""

    option: str
    letter: str
    target: str
    help: str


WORDS: tuple[Word, ...] = (
    Word("raw", "w", "raw", "Decompress to Explicit VR Little Endian; a native file stays as it is."),
    Word("explicit", "X", "explicit", "Explicit VR Little Endian."),
    Word("implicit", "M", "implicit", "Implicit VR Little Endian."),
    Word("deflated", "d", "deflated", "Deflated Explicit VR Little Endian."),
    Word("rle", "R", "rle", "RLE Lossless."),
    Word("jpeg", "J", "jpeg", "JPEG lossless."),
    Word("jpegls", "L", "jpegls", "JPEG-LS lossless."),
    Word("j2k", "K", "j2k", "JPEG 2000 lossless."),
    Word("htj2k", "", "htj2k", "High-Throughput JPEG 2000 lossless."),
)


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--to` and gdcmconv's words."""
    for word in reversed(WORDS):
        letters = [f"-{word.letter}"] if word.letter else []
        command = click.option(*letters, f"--{word.option}", f"word_{word.option}", is_flag=True, help=word.help)(
            command
        )
    return click.option(
        "-t", "--to", metavar="SYNTAX",
        help="Target transfer syntax: a family (jpeg, jpegls, j2k, htj2k), a name that `dcmtx syntaxes` lists, a "
        "keyword or a UID.",
    )(command)  # fmt: skip


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
