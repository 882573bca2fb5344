"""`dcmtx shard`, and the processes that it starts."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import click

from dcmtx.cli import SETTINGS, outcome, say
from dcmtx.cli.options import RULED, WORDS, WithBareOptions, check_rules, chosen_target, policy_options, target_options
from dcmtx.errors import ExitStatus
from dcmtx.options import Group

if TYPE_CHECKING:
    from dcmtx.cluster.shard import Asked
    from dcmtx.transcoding.job import Job

# What a process runs that converts a shard for a worker of a cluster, and what one runs that converts a part of it.
CHILD = "from dcmtx.cli.shard import child; child()"
PART = [sys.executable, "-c", "from dcmtx.cli.shard import part; part()"]
_GRACE_SECONDS = 5


@click.command(cls=WithBareOptions, options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("run")
@click.argument("number", metavar="N")
@click.option("--out", metavar="DST", help="The directory or prefix that files go below, by their names below SRC.")
@target_options
@policy_options(Group.LOSS, Group.CODING, Group.RULE, Group.CARE, Group.WORK)
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Seconds for one file.")
@click.option("--quiet", is_flag=True, help="No errors of files, no summary.")
def shard(run: str, number: str, out: str | None, to: str | None, **options: Any) -> int:
    """Convert the files of one shard: what any scheduler can run, again and again.

    N is a number of `dcmtx plan RUN`, from 0 on. The first shard settles what is asked of the whole run: --out, the
    target, all options, and the versions of dcmtx and its codecs. Others may leave these out, and are refused if they
    say something else.

    Each file is made once: whole, and only where there is none. One that is there with the same bytes counts as made;
    another is an error, E_EXISTS. When all files are done the report RUN/done/N.jsonl.gz appears; a shard that has
    one is not converted again, also where its files are gone since: its line says that it was done before, and has
    the figures of its report. `dcmtx report RUN --check` finds what is gone. If a store fails or a disk is full there
    is no report, and the shard can be run again.

    The exit status is that of `dcmtx convert`: 9 if some files failed, which the report names.

    \b
    dcmtx shard s3://run1/ 42 --out s3://out/ --to htj2k-rpcl
    dcmtx shard s3://run1/ 43
    """
    from dcmtx.cluster.run import Run, shard_number
    from dcmtx.cluster.shard import do_shard
    from dcmtx.cluster.totals import Totals, status_of

    quiet, timeout = options.pop("quiet"), options.pop("timeout")
    begun = time.perf_counter()
    job, workers = job_of_run(out, to, options)
    done = do_shard(Run(run), shard_number(number), job, asked(workers, timeout))
    if not quiet:
        totals = Totals().add_all(done.rows)
        tell(done.rows)
        kinds = [f"{count} {status}" for status, count in sorted(totals.by_status.items())]
        kinds += [f"{totals.failed} failed"] * bool(totals.failed)
        seconds = f", {time.perf_counter() - begun:.1f} s"
        before, after = ("done before, nothing converted now: ", "") if done.before else ("", seconds)
        say(f"dcmtx: shard {shard_number(number)}: {before}{', '.join(kinds)}{after}")
    return status_of(done.rows)


def tell(rows: list[dict[str, Any]]) -> None:
    """Say what failed."""
    from dcmtx.cli import printable, shown

    for row in rows:
        if row["error"]:
            say(f"dcmtx: {shown(row['source'])}: {printable(row['error']['message'])}")


def job_of_run(out: str | None, to: str | None, options: dict[str, Any]) -> tuple[Job | None, int]:
    """Return the job that a command line asks of a run, None if it asks for nothing, and how many processes.

    Raises click.UsageError for half of what must be asked.
    """
    from dcmtx.place.places import is_remote
    from dcmtx.pool.machine import available_cores
    from dcmtx.transcoding.job import job

    words = {name: options.pop(name) for name in (f"word_{word.option}" for word in WORDS)}
    options.pop("no_clobber")
    if options.pop("dry_run", False):
        raise click.UsageError("--dry-run does not go with shards; try it with `dcmtx convert` on one file")
    workers = options.pop("workers") or available_cores()
    if out is None and to is None and not any(words.values()) and not options["site"]:
        return None, workers
    if out is None:
        raise click.UsageError("no --out; name the directory or prefix to write below")
    target = RULED if options["site"] and to is None and not any(words.values()) else chosen_target(to, words)
    place = out if is_remote(out) else os.path.abspath(out)
    made = job("-", place, to=target, workers=1, digest=True, **options)
    check_rules(made, target)
    return made, workers


def asked(workers: int, timeout: float | None) -> Asked:
    """Return how shards are done here."""
    from dcmtx.batch.report import as_record
    from dcmtx.cluster.shard import Asked

    return Asked(PART, as_record, workers, timeout=timeout)


# --- for a worker of a cluster -----------------------------------------------------------------------------------


def child() -> None:
    """Convert the shard of the arguments (run, number, workers, seconds or nothing), and print its figures.

    It ends when standard input does.
    """
    from dcmtx.signals import handle_signals

    handle_signals()
    # One core each: libraries start no threads of their own.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True).start()
    sys.exit(outcome(lambda: _child(*sys.argv[1:])))


def _child(run: str, number: str, workers: str, timeout: str = "") -> int:
    from dcmtx.cluster.run import Run
    from dcmtx.cluster.shard import do_shard
    from dcmtx.cluster.totals import Totals

    done = do_shard(Run(run), int(number), None, asked(int(workers), float(timeout) if timeout else None))
    click.echo(json.dumps(dict(Totals().add_all(done.rows).figures.items())))
    return ExitStatus.OK


# --- a part ------------------------------------------------------------------------------------------------------


def part() -> None:
    """Convert the files that are named on standard input, and write records to the descriptor of the first argument."""
    from dcmtx.signals import handle_signals

    handle_signals()
    sys.exit(outcome(lambda: _part(int(sys.argv[1]))))


def _part(fd: int) -> int:
    from dcmtx.cluster.part import STOPPING, convert, order_from
    from dcmtx.cluster.shard import error_form
    from dcmtx.errors import DcmtxError

    line = sys.stdin.buffer.readline()
    threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True).start()
    with os.fdopen(fd, "wb", buffering=0) as told:
        try:
            order = order_from(line)
            _write(told, {"begun": True})
            for number, result in convert(order):
                row = _record(result, *_names(order.job, dict(order.files)[number]))
                _write(told, {"number": number, "row": row})
        except DcmtxError as error:
            if error.code not in STOPPING:
                raise
            _write(told, {"stop": error_form(error)})
    return ExitStatus.OK


def _write(told: Any, form: dict[str, Any]) -> None:
    view = memoryview(json.dumps(form).encode() + b"\n")
    while view:
        view = view[told.write(view) :]


def _names(job: Job, entry: Any) -> tuple[str, str]:
    from dcmtx.cluster.part import destination_of
    from dcmtx.errors import InputError

    try:
        return entry.source, destination_of(job, entry)
    except InputError:
        return entry.source, job.dst


def _record(told: Any, src: str, dst: str) -> dict[str, Any]:
    from dcmtx.batch.report import as_record, skip_record

    return skip_record(src, dst, told.skip) if told.skip else as_record(told.result, src, dst)


def _end_with(fd: int) -> None:
    """End this process when a pipe does: whoever holds its other end is gone."""
    try:
        while os.read(fd, 1 << 16):
            pass
    except OSError:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    # A codec that holds Python's lock lets no handler run; this thread neither, until it ends.
    os._exit(128 + signal.SIGTERM)
