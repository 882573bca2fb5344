"""`dcmtx report`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dcmtx.cli import SETTINGS, say
from dcmtx.errors import ExitStatus

if TYPE_CHECKING:
    from dcmtx.cluster.totals import Totals

# Failures that are told one by one.
_TOLD = 20


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("run")
@click.option("--parquet", metavar="FILE", help="All records in FILE, a row per file, for `dcmtx audit` and others.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def report(run: str, parquet: str | None, as_json: bool) -> int:
    """Say what became of the files of a run of shards.

    The exit status is 9 if files failed, or shards are not done; these are named as arrays of schedulers take them.
    """
    from dcmtx.cluster.run import Run
    from dcmtx.cluster.totals import Totals, all_rows, ranges

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
        from dcmtx.batch.report import COLUMNS
        from dcmtx.place.tables import write_rows

        write_rows(counted(), parquet, COLUMNS)
    else:
        for _ in counted():
            pass
    missing = ranges(number for number, is_done in enumerate(done) if not is_done)
    if as_json:
        form = {
            "shards": of.plan.shards, "done": sum(done), "missing": missing, "planned": of.plan.files,
            "files": totals.files, "failed": totals.failed, "by_status": totals.by_status, "by_code": totals.by_code,
            "bytes_in": totals.bytes_in, "bytes_out": totals.bytes_out,
        }  # fmt: skip
        click.echo(json.dumps(form))
    else:
        _say(of.plan.shards, done, missing, totals)
        from dcmtx.cli.shard import tell

        tell(failures)
        if totals.failed > len(failures):
            say(f"dcmtx: {totals.failed - len(failures)} more failed; --parquet FILE has all")
    return ExitStatus.SEVERAL if missing or totals.failed else ExitStatus.OK


def _say(shards: int, done: bytearray, missing: str, totals: Totals) -> None:
    kinds = [f"{count} {status}" for status, count in sorted(totals.by_status.items())]
    kinds += [f"{count} failed ({code})" for code, count in sorted(totals.by_code.items())]
    click.echo(f"{sum(done)} of {shards} shards done, {totals.files} files: {', '.join(kinds) or 'nothing'}")
    if totals.bytes_out:
        ratio = totals.bytes_in / totals.bytes_out
        click.echo(f"{totals.bytes_in} bytes became {totals.bytes_out} (ratio {ratio:.2f})")
    if missing:
        click.echo(f"not done: {missing}")
