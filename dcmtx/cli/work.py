"""What the commands have in common that make one file from another: one in this process, many in workers."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from dcmtx.cli import finished, outcome, shown
from dcmtx.cli.output import Output
from dcmtx.errors import CodecError, DcmtxError, ExitStatus, OutputError

if TYPE_CHECKING:
    from dcmtx.transcoding.job import Job


def carry_out(paths: Sequence[str], options: dict[str, Any], make: Callable[..., Job]) -> int:
    """Do what a command line asks for, file by file, and return the exit status.

    `paths` are the sources and, last, the destination. `make` returns the job from one source to one destination, given
    those of `options` that are no options of a batch or of what is told; of a batch, it is the pattern.
    """
    if options["quiet"] and options["verbose"]:
        raise click.UsageError("--quiet and --verbose exclude each other")
    if len(paths) < 2:
        raise click.UsageError(f"no {'DST' if paths else 'SRC and no DST'}; name the file or directory to write")
    if not paths[-1]:
        raise click.UsageError("the name of DST is empty")
    from dcmtx.place.kinds import is_archive, is_packed
    from dcmtx.place.places import is_remote

    *sources, destination = paths
    isolate = options.pop("isolate")
    resume, fail_fast, timeout = options.pop("resume"), options.pop("fail_fast"), options.pop("timeout")
    update_references = options.pop("update_references", False)
    output = Output(
        options.pop("as_json"), options.pop("report"), options.pop("quiet"), options.pop("verbose"), goes_on=resume
    )
    as_lines = options.pop("progress", "bar") == "json"
    if output.as_json and destination == "-":
        raise click.UsageError("--json writes to standard output, where the file goes; use --report")
    several = len(sources) > 1 or (sources[0] != "-" and os.path.isdir(sources[0]))
    several = several or is_archive(sources[0]) or is_packed(destination)
    if is_remote(sources[0]) or is_remote(destination):
        from dcmtx.batch.walk import plan_roots

        root = plan_roots(sources, destination)[0]
        several, destination = several or not root.is_one_file, root.target if root.is_one_file else destination
    options["clobber"] = not options.pop("no_clobber")
    if not several and sources[0] != "-" and destination != "-" and os.path.isdir(destination):
        destination = os.path.join(destination, os.path.basename(sources[0]))
    if output.report is not None:
        from dcmtx.cli.reports import check_place

        check_place(output.report, sources, destination)
    pattern = make(sources[0], destination, digest=output.wants_records, **options)
    if timeout is not None and math.isnan(timeout):
        raise click.UsageError("--timeout is no number of seconds")
    if several or timeout is not None or resume or update_references:
        from dcmtx.cli.batch import convert_many

        return convert_many(
            sources,
            destination,
            pattern,
            output,
            resume=resume,
            fail_fast=fail_fast,
            timeout=timeout,
            update_references=update_references,
            as_lines=as_lines,
        )
    with output:
        if isolate:
            return _isolated(pattern, output, as_lines=as_lines)
        return _do(pattern, output, as_lines=as_lines)


def _isolated(pattern: Job, output: Output, *, as_lines: bool) -> int:
    """Make one file in a process of its own; in this one, if it is a process of its own already."""
    from dcmtx.place.places import remove_left
    from dcmtx.pool import isolation

    try:
        if not isolation.is_possible():
            return _do(pattern, output, as_lines=as_lines)
        sys.stdout.flush()
        return isolation.run(lambda: finished(outcome(lambda: _do(pattern, output, as_lines=as_lines))))
    except CodecError as error:
        # The child is gone, with what it would have told and removed.
        if error.code == "E_CRASH" and error.path is None:
            error.path = pattern.src
            remove_left(pattern.dst)
            output.record(error, pattern.src, pattern.dst)
        raise


def _do(pattern: Job, output: Output, *, as_lines: bool) -> int:
    from dcmtx.cli.frames import watch_frames
    from dcmtx.transcoding.job import Status
    from dcmtx.transcoding.running import run

    try:
        with watch_frames(pattern.src, quiet=output.quiet, as_lines=as_lines) as frames:
            result = run(pattern, watch=frames.advance)
    except DcmtxError as error:
        output.record(error, pattern.src, pattern.dst)
        raise
    try:
        output.record(result, pattern.src, pattern.dst)
        output.tell(result)
    except OutputError as error:
        if result.status is not Status.PLANNED:
            # Whoever does it again must know.
            error.what = f"{shown(pattern.dst)} is in place, but {error.what}"
        raise
    return ExitStatus.OK
