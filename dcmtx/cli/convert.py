"""`dcmtx convert`."""

from __future__ import annotations

import os
from typing import Any

import click

from dcmtx.cli import say, shown
from dcmtx.cli.options import chosen_target, coding_options, loss_options, rule_options, target_options
from dcmtx.errors import DcmtxError, UsageError

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
@loss_options
@coding_options
@rule_options
@click.option(
    "--fallback",
    metavar="SYNTAX",
    multiple=True,
    help="Target to try when the one before it is refused; repeatable, told when used.",
)
@click.option("--force", is_flag=True, help="Encode again even if SRC has the target syntax already.")
@click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Decode what was encoded and compare: bit for bit, within NEAR, or measure the PSNR.",
)
@click.option("--decoder", metavar="NAME", help="Decode by this backend; `dcmtx syntaxes` names them.")
@click.option("--encoder", metavar="NAME", help="Encode by this backend.")
@click.option("-n", "--no-clobber", is_flag=True, help="Do not replace DST if it exists.")
@click.option(
    "-j", "--jobs", type=click.IntRange(1), help="Frames coded at a time. [default: the cores of this process]"
)
@click.option("--dry-run", is_flag=True, help="Only print what would be done: route, backends, attributes that change.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--quiet", is_flag=True, help="No notes, only errors.")
@click.option("-v", "--verbose", is_flag=True, help="Say what was done.")
def convert(src: str, dst: str, to: str | None, **options: Any) -> None:
    r"""Convert the DICOM file SRC to another transfer syntax and put it at DST.

    SRC and DST may be one file; `-` is standard input or output; if DST is a directory, the file goes into it under its
    own name. Nothing is lost unless --lossy consents to it.

    \b
    dcmtx convert ct.dcm small.dcm --to jpegls
    dcmtx convert small.dcm ct.dcm --raw
    dcmtx convert us.dcm us-jpeg.dcm --to jpeg --lossy -q 85
    dcmtx convert mg.dcm mg-j2k.dcm --to j2k --lossy --ratio 20
    dcmtx convert - - --to htj2k-rpcl < ct.dcm > ct-ht.dcm
    """
    words = {name: options.pop(name) for name in list(options) if name.startswith("word_")}
    target = chosen_target(to, words)
    quiet, verbose, as_json = options.pop("quiet"), options.pop("verbose"), options.pop("as_json")
    if as_json and dst == "-":
        raise click.UsageError("--json writes to standard output, where the file goes")
    from dcmtx.transcoding import transcode

    options["clobber"] = not options.pop("no_clobber")
    options["workers"] = options.pop("jobs")
    if src != "-" and dst != "-" and os.path.isdir(dst):
        dst = os.path.join(dst, os.path.basename(src))
    try:
        outcome = transcode(src, dst, to=target, **options)
    except DcmtxError as error:
        if as_json and not isinstance(error, UsageError):
            _print_json(error, src, dst)
        raise
    if as_json:
        _print_json(outcome, src, dst)
    elif options["dry_run"]:
        from dcmtx.report import plan_lines

        click.echo("\n".join(plan_lines(outcome)))
    if outcome.notes and not quiet:
        for note in outcome.notes:
            say(f"dcmtx: {shown(src)}: note: {note}")
    if verbose:
        from dcmtx.report import verbose_line

        say(f"dcmtx: {shown(src)}: {verbose_line(outcome)}")


def _print_json(result: Any, src: str, dst: str) -> None:
    import json

    from dcmtx.report import as_record

    click.echo(json.dumps(as_record(result, src, dst)))
