"""Options that commands share, and how a target is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from dcmtx.policy import CHOICES, RANGES
from dcmtx.record import Record


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


def _choice(name: str, choices: str, text: str) -> Decorator:
    """Return an option whose first choice is the default."""
    names = choices.split("|")
    return click.option(name, type=click.Choice(names), default=names[0], show_default=True, help=text)


def _int(name: str) -> click.IntRange:
    low, high = RANGES[name]
    return click.IntRange(int(low), int(high))


def _float(name: str) -> click.FloatRange:
    return click.FloatRange(*RANGES[name])


target_options = _options(
    click.option(
        "-t",
        "--to",
        metavar="SYNTAX",
        help="Target transfer syntax: a family (jpeg, jpegls, j2k, htj2k, jpegxl), a name that `dcmtx syntaxes` lists, "
        "a keyword or a UID.",
    ),
    *map(_word, WORDS),
)

loss_options = _options(
    click.option(
        "-Y",
        "--lossy",
        is_flag=True,
        help="Consent to loss; a family then means its lossy member. "
        "A file that has lost something under the target syntax already is copied, unless a parameter says more.",
    ),
    click.option("-q", "--quality", type=_int("quality"), help="JPEG, JPEG XL: 1 to 100. [default: 90]"),
    click.option(
        "--ratio",
        type=_float("ratio"),
        help="JPEG 2000, HTJ2K: compression ratio. "
        "[default: 10, or 45 dB, whichever loses less of a frame; without loss where that takes no more bytes]",
    ),
    click.option("--psnr", type=_float("psnr"), help="JPEG 2000, HTJ2K: peak signal-to-noise ratio, in dB."),
    click.option("--near", type=_int("near"), help="JPEG-LS: how far a value may be off. [default: 2]"),
    click.option(
        "--subsampling",
        type=click.Choice(CHOICES["subsampling"]),
        help="JPEG: how chroma is shared; 444 keeps RGB as it is. [default: 422]",
    ),
)

coding_options = _options(
    click.option(
        "--predictor", type=_int("predictor"), help="JPEG lossless (jpeg-lossless-p14): predictor. [default: 1]"
    ),
    click.option(
        "--resolutions",
        type=_int("resolutions"),
        help="JPEG 2000, HTJ2K: number of resolutions. [default: 6, more for large HTJ2K images]",
    ),
    click.option(
        "--progression",
        type=click.Choice(CHOICES["progression"]),
        help="HTJ2K, by imagecodecs 2026.10.10 or newer: order of progression; htj2k-rpcl is RPCL always. "
        "[default: RPCL]",
    ),
    click.option("--tile", type=_int("tile"), help="HTJ2K: side of a tile, in pixels. [default: one tile]"),
    click.option(
        "--code-block",
        type=_int("code_block"),
        help="HTJ2K, by imagecodecs 2026.10.10 or newer: side of a code-block, a power of 2. [default: 64]",
    ),
)

rule_options = _options(
    _choice("--uid", "auto|keep|new", "SOP Instance UID; auto: kept, but new when pixels lost something."),
    _choice(
        "--offset-table",
        "auto|basic|extended|empty",
        "Offset table of compressed pixels; auto: basic, extended when 32 bits may not do.",
    ),
    _choice(
        "--overlays", "extract|refuse", "Overlays in unused bits of the pixels: give them data of their own, or fail."
    ),
    _choice("--icon", "follow|drop", "Icons: keep them valid under the new syntax, or leave them out."),
    _choice("--signatures", "refuse|remove", "Digital signatures of pixels that are encoded anew."),
    _choice(
        "--unused-bits",
        "refuse|keep|clear",
        "Words with content outside Bits Stored: refuse them, store whole words, or clear it.",
    ),
    _choice("--one-bit", "refuse|allow", "1-bit pixels in RLE and JPEG 2000, which older readers do not expect."),
    _choice(
        "--word-order",
        "refuse|16|32|64",
        "Pixels of more than 16 bits in big endian: how wide the words are that it reversed, or refuse them.",
    ),
    _choice(
        "--no-pixels",
        "native|skip|fail",
        "Objects without pixels under a compressed target: write Explicit VR Little Endian, skip, or fail.",
    ),
)


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
