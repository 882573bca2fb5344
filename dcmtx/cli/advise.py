"""`dcmtx advise`."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from dcmtx.cli import SETTINGS, error_line, printable, say
from dcmtx.errors import ExitStatus, InputError, UsageError

if TYPE_CHECKING:
    from dcmtx.inspect.advice import Advice


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.option(
    "--files", type=click.IntRange(1), default=8, show_default=True, metavar="N", help="Files of each modality."
)
@click.option(
    "--frames", type=click.IntRange(1), default=4, show_default=True, metavar="N", help="Frames of each file."
)
@click.option("--targets", metavar="LIST", help="Targets, with commas between. [default: all lossless codecs]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--plot", metavar="FILE", help="A picture, .png or .svg, by matplotlib (`pip install dcmtx[plot]`).")
@click.option("--quiet", is_flag=True, help="No notes on standard error.")
def advise(sources: tuple[str, ...], files: int, frames: int, targets: str | None, **options: Any) -> int:
    """Measure what each lossless target would give for your own files.

    SRC are files and directories, which are only read. A sample is taken, spread evenly over the files of each
    modality and the frames of each file. Files that have lost something already are left out, and those without pixels.

    For each modality and target: files measured, and those that the target does not hold; the ratio of uncompressed to
    coded pixels; MB of uncompressed pixels in a second that one core of this machine encodes and decodes. Beside each
    other stand only targets that hold the same files.

    Then, who reads what, by version, with where that was found: by running it, in its source, or in its documentation.
    It is what was known when this dcmtx was released. Try your own readers.

    Directories, links and files of the sample that cannot be read are named, and the exit status is 9.

    With --json: "found" and "measured" files, "left_out" by reason, "rows" with "modality", "target", "files",
    "refused", "frames", "ratio", "encode_mb_per_s", "decode_mb_per_s" and "readers", and "readers" with "name",
    "version", "reads" and "source".

    \b
    dcmtx advise archive
    dcmtx advise archive --targets jpegls,htj2k --plot advice.png
    """
    plot = options["plot"]
    if plot is not None:
        from dcmtx.cli.pictures import check_picture

        check_picture(plot, "--plot", "png", "svg")
    for source in sources:
        if not os.path.exists(source):
            raise InputError("there is no such file or directory", path=source, code="E_MISSING")
    from dcmtx.inspect.advice import TARGETS
    from dcmtx.inspect.advice import advise as advised
    from dcmtx.inspect.isolated import prepare

    names = TARGETS if targets is None else tuple(dict.fromkeys(name.strip() for name in targets.split(",")))
    for name in names:
        if name not in TARGETS:
            raise UsageError(f"--targets names {name!r}, none of {', '.join(TARGETS)}")
    prepare()
    found = advised(sources, files=files, frames=frames, targets=names, watch=None if options["quiet"] else _watch)
    if options["as_json"]:
        click.echo(json.dumps(_record(found), indent=2))
    else:
        _tables(found)
    if plot is not None:
        from dcmtx.inspect.chart import chart
        from dcmtx.place.places import open_sink

        with open_sink(plot, plot) as sink:
            sink.write(chart(found.rows, plot[-3:].lower()))
            sink.commit()
    if not options["quiet"]:
        left = "".join(f"; {count} left out ({why})" for why, count in sorted(found.left_out.items()))
        say(f"dcmtx: {found.measured} of {found.found} files measured{left}")
    for fault in found.faults:
        say(error_line(fault))
    if found.faults and found.measured:
        return ExitStatus.SEVERAL
    return ExitStatus.OK if found.measured else ExitStatus.INPUT


def _watch(done: int, total: int) -> None:
    """Show on a terminal how many files are measured."""
    if sys.stderr is not None and sys.stderr.isatty():
        click.echo(f"\r{done} of {total} files measured" + ("\r\x1b[K" if done == total else ""), err=True, nl=False)


def _record(found: Advice) -> dict[str, Any]:
    from dcmtx.inspect.readers import READERS

    return {
        "found": found.found,
        "measured": found.measured,
        "left_out": found.left_out,
        "rows": [row.as_json() for row in found.rows],
        "readers": [
            {"name": one.name, "version": one.version, "reads": sorted(one.reads), "source": one.source}
            for one in READERS
        ],
    }


def _tables(found: Advice) -> None:
    """Print what was measured, and who reads it."""
    from rich.console import Console
    from rich.table import Table

    from dcmtx.inspect.readers import READERS, readers_of

    console = Console(soft_wrap=not sys.stdout.isatty())
    table = Table("modality", "target", box=None)
    for name in ("files", "not held", "ratio", "encode MB/s", "decode MB/s"):
        table.add_column(name, justify="right")
    before = ""
    for row in found.rows:
        if before and row.modality != before:
            table.add_section()
        first = printable(row.modality) if row.modality != before else ""
        before = row.modality
        figures = ("-" if one is None else f"{one:.{places}f}" for one, places in _figures(row))
        table.add_row(first, row.target, str(row.files), str(row.refused or ""), *figures)
    console.print(table)
    readers = Table("target", "read by", box=None)
    for target in dict.fromkeys(row.target for row in found.rows):
        readers.add_row(target, "; ".join(f"{one.name} {one.version}" for one in readers_of(target)))
    console.print()
    console.print(readers)
    console.print()
    for one in READERS:
        console.print(f"{one.name} {one.version}: {one.source}", markup=False, highlight=False)


def _figures(row: Any) -> tuple[tuple[float | None, int], ...]:
    return (row.ratio, 2), (row.encode, 0), (row.decode, 0)
