"""`dcmtx convert --cluster`: the shards of a run on the workers of a scheduler."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dcmtx.cli import say
from dcmtx.cli.stopping import stop_on_signals
from dcmtx.errors import ExitStatus

if TYPE_CHECKING:
    from dcmtx.cluster.driver import Progress
    from dcmtx.cluster.run import Run

# Options of convert that mean nothing here, or what nobody can do.
_WITHOUT = {
    "as_json": "--json: records are in the reports of the run; dcmtx report RUN --parquet FILE has all",
    "report": "--report: records are in the reports of the run; dcmtx report RUN --parquet FILE has all",
    "fail_fast": "--fail-fast",
    "update_references": "--update-references",
    "dry_run": "--dry-run",
}
_FAILURES_TOLD = 20


def convert_on_cluster(
    paths: Sequence[str], cluster: str | None, run: str | None, to: str | None, options: dict[str, Any]
) -> int:
    """Plan a run unless it is planned, do what is not done of it, and return the exit status."""
    if cluster is None or run is None:
        raise click.UsageError("--cluster and --run go together: --cluster tcp://HOST:8786 --run s3://run1/")
    if len(paths) != 2:
        raise click.UsageError("--cluster takes one SRC and one DST, directories or prefixes")
    for name, what in _WITHOUT.items():
        if options.pop(name):
            raise click.UsageError(f"--cluster does not go with {what}")
    # A run always goes on, and every file is isolated.
    for name in ("resume", "isolate", "verbose"):
        options.pop(name)
    quiet, timeout = options.pop("quiet"), options.pop("timeout")
    as_lines = options.pop("progress") == "json"
    from dcmtx.cli.shard import job_of_run
    from dcmtx.cluster.dask import library

    library()
    job, workers = job_of_run(paths[1], to, options)
    of = _planned(paths[0], run)
    of.settled(job)
    return _drive(of, cluster, workers, quiet=quiet, timeout=timeout, as_lines=as_lines)


def _planned(source: str, run: str) -> Run:
    """Return a run, planned now if it is not. Raises UsageError if it is a run of another source."""
    import os

    from dcmtx.cluster.folder import Folder
    from dcmtx.cluster.plan import make_plan
    from dcmtx.cluster.run import COMPLETE, Run
    from dcmtx.place.places import is_remote

    if Folder(run).read(COMPLETE) is None:
        make_plan(source, run)
    of = Run(run)
    wanted = source if is_remote(source) else os.path.abspath(source)
    if of.plan.source.rstrip("/") != wanted.rstrip("/"):
        raise click.UsageError(f"the run {run} is of {of.plan.source}, not of {source}; name another --run")
    return of


def _drive(run: Run, cluster: str, workers: int, *, quiet: bool, timeout: float | None, as_lines: bool) -> int:
    from dcmtx.cli.shard import CHILD
    from dcmtx.cluster.dask import DaskEngine
    from dcmtx.cluster.driver import Driver, unfinished

    done = run.done()
    before, begun = sum(done), time.perf_counter()
    if all(done):
        return _end(run, done, begun, quiet=quiet)
    # What workers have begun they finish.
    with stop_on_signals() as caught, DaskEngine(cluster, run, code=CHILD, workers=workers, timeout=timeout) as engine:
        if not quiet:
            there = engine.workers()
            say(
                f"dcmtx: {run.plan.shards - before} of {run.plan.shards} shards to do, {len(there)} "
                f"worker{'s' * (len(there) != 1)}{'' if there else ': waiting for one'}"
            )
        with _lines(run, before) if as_lines else _progress(run, before, quiet=quiet) as tell:
            driver = Driver(engine, tell)
            driver.drive(done, lambda: bool(caught))
    if caught:
        return 128 + caught[0]
    if driver.given_up:
        raise unfinished(driver.given_up, run.place)
    return _end(run, done, begun, quiet=quiet)


def _end(run: Run, done: bytearray, begun: float, *, quiet: bool) -> int:
    """Tell what became of all files, and return the exit status."""
    from dcmtx.cli.shard import tell
    from dcmtx.cluster.totals import Totals, all_rows

    totals = Totals()
    failures: list[dict[str, Any]] = []
    for row in all_rows(run, done):
        totals.add(row)
        if row["error"] and len(failures) < _FAILURES_TOLD:
            failures.append(row)
    tell(failures)
    if totals.failed > len(failures):
        say(f"dcmtx: {totals.failed - len(failures)} more failed; dcmtx report {run.place} --parquet FILE has all")
    if not quiet:
        kinds = [f"{count} {status}" for status, count in sorted(totals.by_status.items())]
        kinds += [f"{totals.failed} failed"] * bool(totals.failed)
        seconds = time.perf_counter() - begun
        files, shards = f"{totals.files} file{'s' * (totals.files != 1)}", run.plan.shards
        say(f"dcmtx: {files} in {shards} shard{'s' * (shards != 1)}, {seconds:.1f} s: {', '.join(kinds)}")
    return ExitStatus.SEVERAL if totals.failed else ExitStatus.OK


@contextmanager
def _lines(run: Run, before: int) -> Iterator[Any]:
    """Yield what takes the figures of each shard, and tells programs of them."""
    from dcmtx.cli.progress import JsonShards

    shards = JsonShards(before, run.plan.shards)
    try:
        yield lambda progress: shards.advance(
            progress.figures.files, failed=progress.figures.failed, size=progress.figures.bytes_in
        )
    finally:
        shards.stop()


@contextmanager
def _progress(run: Run, before: int, *, quiet: bool) -> Iterator[Any]:
    """Yield what takes the figures of each shard: a bar on a terminal, or nothing."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    from dcmtx.cli.bars import WorkBar

    files = 0
    with WorkBar("shards", run.plan.shards, before) as shown:

        def tell(progress: Progress) -> None:
            nonlocal files
            files += progress.figures.files
            shown.add(progress.figures.bytes_in, progress.figures.failed, f"{files} files, ")

        yield tell
