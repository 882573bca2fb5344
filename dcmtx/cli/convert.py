"""`dcmtx convert`."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import click

from dcmtx.cli import SETTINGS
from dcmtx.cli.options import WORDS, WithBareOptions, check_words, chosen_target, policy_options, target_options
from dcmtx.cli.output import Output
from dcmtx.errors import DcmtxError, ExitStatus
from dcmtx.policy import Group

if TYPE_CHECKING:
    from dcmtx.transcoding.job import Job

_EXIT = "\n".join([
    "\b", "Exit status:", *(f"  {status.value:<3}  {status.description}" for status in ExitStatus),
    "Unless a file's is 0, its DST is as it was before; SRC always is untouched.",
])  # fmt: skip


@click.command(cls=WithBareOptions, epilog=_EXIT, options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("paths", metavar="SRC... DST", nargs=-1)
@target_options
@policy_options(Group.LOSS, Group.CODING, Group.RULE, Group.CARE, Group.WORK, Group.BATCH)
@click.option("-i", "--input", "source", metavar="FILE", help="SRC, instead of its place among the arguments.")
@click.option("-o", "--output", "named", metavar="FILE", help="DST, instead of its place among the arguments.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file on standard output.")
@click.option(
    "--report",
    metavar="FILE",
    help="One JSON object per file in FILE, each line complete when it is written; with --resume, behind those that "
    "are there.",
)
@click.option("--quiet", is_flag=True, help="No notes, no progress, no summary; only errors.")
@click.option("-v", "--verbose", is_flag=True, help="Say what was done with each file.")
def convert(paths: tuple[str, ...], to: str | None, **options: Any) -> int:
    """Convert DICOM files to another transfer syntax.

    One SRC goes to the file DST, which may be SRC itself; `-` is standard input or output. Several go into the
    directory DST under their names; the contents of a directory go into DST, mirrored. Nothing is lost unless --lossy
    consents.

    \b
    dcmtx convert ct.dcm small.dcm --to jpegls
    dcmtx convert small.dcm ct.dcm --raw
    dcmtx convert study archive --to htj2k-rpcl --resume
    dcmtx convert us.dcm us-jpeg.dcm --to jpeg --lossy -q 85
    dcmtx convert mg.dcm mg-j2k.dcm --to j2k --lossy --ratio 20
    dcmtx convert - - --to jpegls < ct.dcm > small.dcm
    """
    source, named = options.pop("source"), options.pop("named")
    check_words(to, paths, options)
    paths = (*([] if source is None else [source]), *paths, *([] if named is None else [named]))
    words = {name: options.pop(name) for name in (f"word_{word.option}" for word in WORDS)}
    target = chosen_target(to, words)
    if options["quiet"] and options["verbose"]:
        raise click.UsageError("--quiet and --verbose exclude each other")
    if len(paths) < 2:
        raise click.UsageError(f"no {'DST' if paths else 'SRC and no DST'}; name the file or directory to write")
    *sources, destination = paths
    resume, fail_fast, timeout = options.pop("resume"), options.pop("fail_fast"), options.pop("timeout")
    output = Output(
        options.pop("as_json"), options.pop("report"), options.pop("quiet"), options.pop("verbose"), goes_on=resume
    )
    if output.as_json and destination == "-":
        raise click.UsageError("--json writes to standard output, where the file goes; use --report")
    several = len(sources) > 1 or (sources[0] != "-" and os.path.isdir(sources[0]))
    options["clobber"] = not options.pop("no_clobber")
    from dcmtx.transcoding.job import job

    if not several and sources[0] != "-" and destination != "-" and os.path.isdir(destination):
        destination = os.path.join(destination, os.path.basename(sources[0]))
    if output.report is not None:
        from dcmtx.cli.reports import check_place

        check_place(output.report, sources, destination)
    pattern = job(sources[0], destination, to=target, digest=output.wants_records, **options)
    if timeout is not None and math.isnan(timeout):
        raise click.UsageError("--timeout is no number of seconds")
    if several or timeout is not None or resume:
        from dcmtx.cli.batch import convert_many

        return convert_many(sources, destination, pattern, output, resume=resume, fail_fast=fail_fast, timeout=timeout)
    return _convert_one(pattern, output)


def _convert_one(pattern: Job, output: Output) -> int:
    """Convert one file in this process."""
    from dcmtx.cli.frames import FrameProgress
    from dcmtx.transcoding.job import run

    with output:
        try:
            with FrameProgress(quiet=output.quiet) as frames:
                outcome = run(pattern, watch=frames.advance)
        except DcmtxError as error:
            output.record(error, pattern.src, pattern.dst)
            raise
        output.record(outcome, pattern.src, pattern.dst)
    output.tell(outcome)
    return ExitStatus.OK
