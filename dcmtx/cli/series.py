"""What the commands have in common that make several instances of one, or one of several."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from dcmtx.cli import error_line, finished, outcome, say
from dcmtx.cli.options import WORDS, named_options, policy_options, target_options, told_options
from dcmtx.cli.output import Output
from dcmtx.errors import CodecError, DcmtxError, ExitStatus
from dcmtx.options import Group

if TYPE_CHECKING:
    from dcmtx.planning.request import Target
    from dcmtx.transcoding.job import Job, Outcome

Results = Callable[["Job", "Target | None", Callable[[int, int], None]], "Iterator[Outcome | DcmtxError]"]


_OPTIONS = (
    "offset_table",
    "fragment_size",
    "unused_bits",
    "verify",
    "force",
    "decoder",
    "encoder",
    "device",
    "sync",
    "clobber",
    "workers",
    "memory",
    "dry_run",
    "isolate",
)


def series_options(command: Any) -> Any:
    """Give a command the options that `carry_out` takes."""
    coding = policy_options(Group.LOSS, Group.CODING)
    return target_options(coding(named_options(*_OPTIONS)(told_options(command))))


def carry_out(paths: tuple[str, ...], to: str | None, options: dict[str, Any], make: Results) -> int:
    """Do what a command line asks for in this process, or in one of its own, and return the exit status.

    `make` yields an outcome or an error for each instance, given the job that has the request, and the target, which is
    None where none was named.
    """
    if options["quiet"] and options["verbose"]:
        raise click.UsageError("--quiet and --verbose exclude each other")
    if len(paths) < 2:
        raise click.UsageError(f"no {'OUT' if paths else 'SRC and no OUT'}; name what to write")
    if "-" in paths:
        raise click.UsageError("a series is no standard input or output; name files and directories")
    words = {name: options.pop(name) for name in (f"word_{word.option}" for word in WORDS)}
    named = to is not None or any(words.values())
    isolate, as_lines = options.pop("isolate"), options.pop("progress") == "json"
    output = Output(options.pop("as_json"), options.pop("report"), options.pop("quiet"), options.pop("verbose"))
    *sources, destination = paths
    if output.report is not None:
        from dcmtx.cli.reports import check_place

        check_place(output.report, sources, destination)
    options["clobber"] = not options.pop("no_clobber")
    from dcmtx.cli.frames import watch_frames
    from dcmtx.cli.options import chosen_target
    from dcmtx.transcoding.job import job

    # Without a target the sources decide; the choices are checked against one that takes them all.
    chosen = chosen_target(to, words) if named else "encapsulated"
    template = job(sources[0], destination, to=chosen, digest=output.wants_records, **options)

    def work() -> int:
        target = template.request.target if named else None
        with watch_frames(template.src, quiet=output.quiet, as_lines=as_lines) as progress:
            return _told(make(template, target, progress.advance), template, output)

    with output:
        return _isolated(template, output, work) if isolate else work()


def _told(results: Iterator[Outcome | DcmtxError], template: Job, output: Output) -> int:
    """Tell of each instance, and return the exit status."""
    failed: list[DcmtxError] = []
    done = 0
    try:
        for result in results:
            if isinstance(result, DcmtxError):
                failed.append(result)
                output.record(result, result.path or template.src, template.dst)
                say(error_line(result))
                continue
            done += 1
            output.record(result, result.job.src, result.job.dst)
            output.tell(result)
    except DcmtxError as error:
        output.record(error, error.path or template.src, template.dst)
        raise
    if not failed:
        return ExitStatus.OK
    return ExitStatus.SEVERAL if done or len(failed) > 1 else failed[0].status


def _isolated(template: Job, output: Output, work: Callable[[], int]) -> int:
    from dcmtx.pool import isolation

    if not isolation.is_possible():
        return work()
    sys.stdout.flush()
    try:
        return isolation.run(lambda: finished(outcome(work)))
    except CodecError as error:
        error.path = error.path or template.src
        output.record(error, error.path, template.dst)
        raise
