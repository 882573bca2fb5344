"""`dcmtx report`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dcmtx.cli import SETTINGS, say
from dcmtx.cli.options import Share
from dcmtx.errors import ExitStatus, OutputError

if TYPE_CHECKING:
    from dcmtx.cli.audit import Audit
    from dcmtx.cluster.run import Run
    from dcmtx.cluster.totals import Totals

# Failures that are told one by one.
_TOLD = 20


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("run")
@click.option(
    "--parquet",
    metavar="FILE",
    help="All records in FILE, whose name ends in .parquet, a row per file, for `dcmtx audit` and others.",
)
@click.option(
    "--check", type=Share(), metavar="N%",
    help="Look at all that was written, and decode so many of the files again: those of `dcmtx audit --sample`.",
)  # fmt: skip
@click.option("-j", "--jobs", type=click.IntRange(1), help="Worker processes of --check. [default: the cores]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def report(run: str, parquet: str | None, check: float | None, jobs: int | None, as_json: bool) -> int:
    """Say what became of the files of a run of shards.

    The exit status is 9 if files failed, or shards are not done; these are named as arrays of schedulers take them.
    Otherwise it is 7 if --check found something missing or changed.
    """
    from dcmtx.cluster.run import Run
    from dcmtx.cluster.totals import Totals, all_rows, ranges

    if parquet is not None:
        from dcmtx.cli.reports import check_table

        check_table(parquet)
    of = Run(run)
    done = of.done()
    totals = Totals()
    failures: list[dict[str, Any]] = []

    def counted() -> Iterator[dict[str, Any]]:
        for row in all_rows(of, done):
            totals.add(row)
            if row["error"] and len(failures) < _TOLD:
                failures.append(row)
            yield row

    if parquet is not None:
        _write(counted(), parquet)
    else:
        for _ in counted():
            pass
    checked = None if check is None else _check(of, done, check, jobs)
    missing = ranges(number for number, is_done in enumerate(done) if not is_done)
    if as_json:
        form = {
            "shards": of.plan.shards, "done": sum(done), "missing": missing, "planned": of.plan.files,
            "files": totals.files, "failed": totals.failed, "by_status": totals.by_status, "by_code": totals.by_code,
            "bytes_in": totals.bytes_in, "bytes_out": totals.bytes_out,
        }  # fmt: skip
        if checked is not None:
            form["checked"] = {verdict.name.lower(): count for verdict, count in checked.counts.items()}
        click.echo(json.dumps(form))
    else:
        _say(of.plan.shards, done, missing, totals)
        from dcmtx.cli.shard import tell

        tell(failures)
        if totals.failed > len(failures):
            say(f"dcmtx: {totals.failed - len(failures)} more failed; --parquet FILE has all")
    if missing or totals.failed:
        return ExitStatus.SEVERAL
    return ExitStatus.OK if checked is None else checked.status


def _write(rows: Iterator[dict[str, Any]], path: str) -> None:
    from dcmtx.batch.report import COLUMNS
    from dcmtx.place.tables import write_rows

    try:
        write_rows(rows, path, COLUMNS)
    except OSError as error:
        # The texts of Arrow's errors name the file with a number of its own.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OutputError(f"the report cannot be written: {reason}", path=path) from error


def _check(of: Run, done: bytearray, share: float, jobs: int | None) -> Audit:
    """Prove what was written by the records of the run; say on standard error what differs."""
    from dcmtx.cli.audit import Audit
    from dcmtx.cluster.totals import all_rows
    from dcmtx.inspect.audit import Question

    records = (row for row in all_rows(of, done) if not row["error"])
    audit = Audit(Question(of.place, pixels=True, sample=share, records=records), jobs=jobs, tell=say)
    audit.run()
    return audit


def _say(shards: int, done: bytearray, missing: str, totals: Totals) -> None:
    kinds = [f"{count} {status}" for status, count in sorted(totals.by_status.items())]
    kinds += [f"{count} failed ({code})" for code, count in sorted(totals.by_code.items())]
    click.echo(f"{sum(done)} of {shards} shards done, {totals.files} files: {', '.join(kinds) or 'nothing'}")
    if totals.bytes_out:
        ratio = totals.bytes_in / totals.bytes_out
        click.echo(f"{totals.bytes_in} bytes became {totals.bytes_out} (ratio {ratio:.2f})")
    if missing:
        click.echo(f"not done: {missing}")
