"""`dcmtx convert`."""

from __future__ import annotations

import os
from typing import Any

import click

from dcmtx.cli import say, shown
from dcmtx.cli.options import chosen_target, target_options

_EXIT = """\b
Exit status:
  0  done, or nothing to do        5  refused by the standard or by policy
  1  a bug in dcmtx                6  a codec failed
  2  usage                         7  verification failed
  3  bad, missing, unreadable SRC  8  DST could not be written
  4  not supported                 130, 143  interrupted
Unless it is 0, DST is as it was before, and SRC always is untouched."""


@click.command(epilog=_EXIT, options_metavar="[OPTIONS]")
@click.argument("src", metavar="SRC")
@click.argument("dst", metavar="DST")
@target_options
@click.option(
    "--predictor", type=click.IntRange(1, 7), help="Predictor of JPEG lossless (jpeg-lossless-p14). [default: 1]"
)
@click.option(
    "--resolutions",
    type=click.IntRange(1, 32),
    help="Resolution levels of JPEG 2000, decompositions of HTJ2K. [default: 6, 5]",
)
@click.option(
    "--offset-table",
    type=click.Choice(["auto", "basic", "extended", "empty"]),
    default="auto",
    show_default=True,
    help="Offset table of compressed pixels; auto: basic, extended when 32 bits may not do.",
)
@click.option(
    "--unused-bits",
    type=click.Choice(["refuse", "keep", "clear"]),
    default="refuse",
    show_default=True,
    help="Words with content above Bits Stored: refuse them, store whole words, or clear it.",
)
@click.option(
    "--no-pixels",
    type=click.Choice(["native", "fail"]),
    default="native",
    show_default=True,
    help="Objects without pixels under a compressed target: write Explicit VR Little Endian, or fail.",
)
@click.option("--force", is_flag=True, help="Encode again even if SRC has the target syntax already.")
@click.option("--verify/--no-verify", default=True, show_default=True, help="Decode what was encoded and compare.")
@click.option("--decoder", metavar="NAME", help="Decode by this backend; `dcmtx syntaxes` names them.")
@click.option("--encoder", metavar="NAME", help="Encode by this backend.")
@click.option("-n", "--no-clobber", is_flag=True, help="Do not replace DST if it exists.")
@click.option(
    "-j", "--jobs", type=click.IntRange(1), help="Frames coded at a time. [default: the cores of this process]"
)
@click.option("--quiet", is_flag=True, help="No notes, only errors.")
@click.option("-v", "--verbose", is_flag=True, help="Say what was done.")
def convert(src: str, dst: str, to: str | None, **options: Any) -> None:
    r"""Convert the DICOM file SRC to another transfer syntax and put it at DST.

    SRC and DST may be one file; `-` is standard input or output; if DST is a directory, the file goes into it under its
    own name. Without a target nothing is done.

    \b
    dcmtx convert ct.dcm small.dcm --to jpegls
    dcmtx convert small.dcm ct.dcm --raw
    dcmtx convert - - --to htj2k-rpcl < ct.dcm > ct-ht.dcm
    """
    words = {name: options.pop(name) for name in list(options) if name.startswith("word_")}
    target = chosen_target(to, words)
    from dcmtx.transcoding import transcode

    quiet, verbose = options.pop("quiet"), options.pop("verbose")
    options["clobber"] = not options.pop("no_clobber")
    options["workers"] = options.pop("jobs")
    if src != "-" and dst != "-" and os.path.isdir(dst):
        dst = os.path.join(dst, os.path.basename(src))
    outcome = transcode(src, dst, to=target, **options)
    if outcome.notes and not quiet:
        for note in outcome.notes:
            say(f"dcmtx: {shown(src)}: note: {note}")
    if verbose:
        from dcmtx.report import verbose_line

        say(f"dcmtx: {shown(src)}: {verbose_line(outcome)}")
