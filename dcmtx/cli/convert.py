"""`dcmtx convert`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dcmtx.cli import SETTINGS
from dcmtx.cli.options import (
    RULED,
    WORDS,
    WithBareOptions,
    check_rules,
    check_words,
    chosen_target,
    policy_options,
    target_options,
    told_options,
)
from dcmtx.cli.work import carry_out
from dcmtx.errors import ExitStatus
from dcmtx.options import Group

if TYPE_CHECKING:
    from dcmtx.transcoding.job import Job

_EXIT = "\n".join([
    "\b", "Exit status:", *(f"  {status.value:<3}  {status.description}" for status in ExitStatus),
    "Unless a file's is 0, its DST is as it was before, but for one: 8 may also mean that it is in place, and that",
    "standard output or the report could not be written, as the message says. SRC always is untouched.",
])  # fmt: skip


@click.command(cls=WithBareOptions, epilog=_EXIT, options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("paths", metavar="SRC... DST", nargs=-1)
@target_options
@click.option("--like", metavar="FILE", help="The transfer syntax of FILE, a DICOM file, and its kind of offset table.")
@policy_options(Group.LOSS, Group.CODING, Group.RULE, Group.CARE, Group.WORK, Group.BATCH)
@click.option("-i", "--input", "source", metavar="FILE", help="SRC, instead of its place among the arguments.")
@click.option("-o", "--output", "named", metavar="FILE", help="DST, instead of its place among the arguments.")
@told_options
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Have the workers of a Dask scheduler do it, tcp://HOST:8786 or tls://..., in shards; `local` starts some.",
)
@click.option("--run", metavar="DIR", help="With --cluster: the directory or prefix of plan and reports.")
def convert(paths: tuple[str, ...], to: str | None, **options: Any) -> int:
    """Convert DICOM files to another transfer syntax.

    One SRC goes to the file DST, which may be SRC itself; `-` is standard input or output. Several go into the
    directory DST under their names; the contents of a directory go into DST, mirrored. Nothing is lost unless --lossy
    consents.

    With --update-references, references among the files that were converted follow the instances that got a new UID;
    those to others stay as they are. It is done last, when it is known which instances were made. A batch that is
    stopped before updates none of them; the same line with --resume does. Each such file has one more record in
    --report and --json, with its new size.

    With --progress json, standard error has lines that begin with `{`, at most ten a second, among those for
    people. Of one file: "progress" is "frames", with "path", "done" and "total" frames, and "seconds" since the
    start. Of a batch: "progress" is "files", with "done" and "total" files (null until they are counted, and for
    archives and stores), "converted", "copied", "unchanged", "skipped", "planned" and "failed" files, "bytes_in"
    and "bytes_out" of those converted, and "seconds". With --cluster: "shards", with "done" and "total" shards,
    "files" and "failed" ones of this call, "bytes_in" and "seconds". The last line has the final numbers.

    \b
    dcmtx convert ct.dcm small.dcm --to jpegls
    dcmtx convert small.dcm ct.dcm --raw
    dcmtx convert study archive --to htj2k-rpcl --resume
    dcmtx convert us.dcm us-jpeg.dcm --to jpeg --lossy -q 85
    dcmtx convert mg.dcm mg-j2k.dcm --to j2k --lossy --ratio 20
    dcmtx convert - - --to jpegls < ct.dcm > small.dcm
    dcmtx convert ct.dcm alike.dcm --like other.dcm
    dcmtx convert study copy --to jpegls --uid new --update-references
    dcmtx convert a.dcm b.dcm --explicit --remove private --charset utf-8
    """
    source, named = options.pop("source"), options.pop("named")
    alike = options.pop("like")
    if alike is not None:
        if to is not None or any(options[f"word_{word.option}"] for word in WORDS):
            raise click.UsageError(
                "--like names a target, and so does another option; one file has one transfer syntax"
            )
        if alike == "-":
            raise click.UsageError("--like reads a file, and standard input is for SRC")
        to = _take_over(alike, options)
    check_words(to, paths, options)
    paths = (*([] if source is None else [source]), *paths, *([] if named is None else [named]))
    words = {name: options.pop(name) for name in (f"word_{word.option}" for word in WORDS)}
    cluster, run = options.pop("cluster"), options.pop("run")
    if cluster is not None or run is not None:
        from dcmtx.cli.cluster import convert_on_cluster

        return convert_on_cluster(paths, cluster, run, to, options | words)
    target = RULED if options["site"] and to is None and not any(words.values()) else chosen_target(to, words)

    def make(src: str, dst: str, **more: Any) -> Job:
        from dcmtx.transcoding.job import job

        made = job(src, dst, to=target, **more)
        check_rules(made, target)
        return made

    return carry_out(paths, options, make)


def _take_over(path: str, options: dict[str, Any]) -> str:
    """Return the transfer syntax of a file; its kind of offset table becomes that of `options`, unless one was asked.

    Raises what reading the file raises.
    """
    from click.core import ParameterSource

    from dcmtx.transcoding.like import likeness

    found = likeness(path)
    if click.get_current_context().get_parameter_source("offset_table") is ParameterSource.DEFAULT:
        options["offset_table"] = found.offset_table.value
    return found.uid
