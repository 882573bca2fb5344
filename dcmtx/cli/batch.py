"""Many files on the command line: progress, errors as they come, a summary at the end."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from dcmtx.batch.convert import Done, Options, Stop, check_options, convert, local_pool
from dcmtx.batch.report import references_line
from dcmtx.batch.summary import Summary
from dcmtx.batch.walk import Found, plan_roots, walk
from dcmtx.cli import bar, error_line, say, shown
from dcmtx.cli.output import Output
from dcmtx.cli.stopping import stop_on_signals
from dcmtx.errors import OutputError
from dcmtx.place.kinds import is_packed
from dcmtx.transcoding.job import Job

if TYPE_CHECKING:
    from dcmtx.cli.bars import WorkBar


def convert_many(
    sources: Sequence[str],
    destination: str,
    pattern: Job,
    output: Output,
    *,
    resume: bool,
    fail_fast: bool,
    timeout: float | None,
    update_references: bool,
    as_lines: bool = False,
) -> int:
    """Convert many files and return the exit status."""
    # One file whose destination is one too is a batch only for the sake of the options of batches.
    roots = plan_roots(sources, destination)
    single = roots[0].is_one_file and len(sources) == 1 and not is_packed(destination)
    if output.report is not None:
        from dcmtx.cli.reports import check_roots

        check_roots(output.report, roots)
    options = Options(
        pattern,
        pattern.workers,
        timeout,
        resume=resume,
        fail_fast=fail_fast,
        report=output.report,
        update_references=update_references,
    )
    check_options(options, roots)
    summary = Summary()
    stop = Stop()
    started = time.perf_counter()
    unheard: Exception | None = None
    watches = sys.stderr is not None and sys.stderr.isatty() and not output.quiet and not single
    with output, ExitStack() as stack:
        # Before there are threads of a progress bar, which would be in the way of a fork.
        executor = stack.enter_context(local_pool(options))
        progress: _Watched | _Lines | _Silence = _Silence()
        if as_lines:
            progress = _Lines(summary, _countable(sources, destination, output.report))
            stack.callback(progress.stop)
        elif watches and not output.fills_terminal(dry_run=pattern.dry_run):
            progress = stack.enter_context(_progress(sources, destination, output.report))
        try:
            found = convert(sources, destination, options, stop, executor=executor)
            with stop_on_signals(_answer(stop)) as caught, closing(found) as results:
                for done in results:
                    summary.add(done)
                    progress.advance(done)
                    try:
                        _tell(done, output)
                    except (OutputError, OSError) as error:
                        # What is under way is still waited for, and in the report and the summary if it was made.
                        unheard = unheard or error
                        stop.request()
        finally:
            if not single and not output.quiet:
                # Only now: the first files would wait for it.
                from dcmtx.batch.report import summary_lines

                seconds = time.perf_counter() - started
                progress.stop()
                for line in [*output.untold(), *summary_lines(summary, seconds)]:
                    say(f"dcmtx: {line}")
    if unheard is not None:
        raise unheard
    if caught:
        return 128 + caught[0]
    if single and summary.last_error is not None:
        return summary.last_error.status
    return summary.status


def _answer(stop: Stop) -> Callable[[int, bool], None]:
    """Return what stops the batch at the first signal; a second one ends the process at once, and workers with it."""

    def answer(number: int, is_first: bool) -> None:
        if not is_first:
            bar.take_away()
            os._exit(128 + number)
        stop.request()

    return answer


def _tell(done: Done, output: Output) -> None:
    """Tell of one file: its record, and a line if there is something to say."""
    if done.references:
        output.record_references(done.src, done.dst, done.references, done.size)
        if output.verbose:
            say(f"dcmtx: {shown(done.dst)}: {references_line(done.references)}")
    elif done.error is not None:
        output.record(done.error, done.src, done.dst)
        say(error_line(done.error))
    elif done.outcome is not None:
        output.record(done.outcome, done.src, done.dst)
        output.tell(done.outcome)
    else:
        output.record_skip(done.src, done.dst, done.skip)
        if output.verbose or "DICOMDIR" in done.skip:
            say(f"dcmtx: {shown(done.src)}: skipped: {done.skip}")


class _Silence:
    """Progress that nobody watches."""

    def advance(self, done: Done) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class _Lines:
    """Lines of JSON, for programs."""

    def __init__(self, summary: Summary, found: Iterator[Found]) -> None:
        from dcmtx.cli.progress import JsonFiles

        self._files = JsonFiles()
        self._files.count(found)
        self._summary = summary
        self._stopped = False

    def advance(self, done: Done) -> None:
        """Tell of a file that the summary has already."""
        if not done.references:
            self._files.advance(self._summary)

    def stop(self) -> None:
        """Tell what there was, once."""
        if not self._stopped:
            self._stopped = True
            self._files.stop(self._summary)


class _Watched:
    """A bar on a terminal."""

    def __init__(self, shown: WorkBar) -> None:
        self._bar = shown
        self.stop = shown.stop

    def advance(self, done: Done) -> None:
        """Account for a file."""
        if not done.references:
            self._bar.add(done.outcome.bytes_in if done.outcome is not None else 0, done.error is not None)


@contextmanager
def _progress(sources: Sequence[str], destination: str, report: str | None) -> Iterator[_Watched]:
    """Yield a bar, whose total is counted meanwhile."""
    from dcmtx.cli.bars import WorkBar

    with WorkBar("files", None) as shown:
        found = _countable(sources, destination, report)
        threading.Thread(target=_count, args=(shown, found), daemon=True).start()
        yield _Watched(shown)


def _countable(sources: Sequence[str], destination: str, report: str | None) -> Iterator[Found]:
    """Return the files there are, to be counted; none where that costs too much."""
    roots = plan_roots(sources, destination)
    # Archives would be unpacked for it, and stores listed twice.
    costly = any(root.is_archive or root.is_prefix for root in roots)
    return iter(()) if costly else walk(roots, destination, report)


def _count(shown_bar: WorkBar, found: Iterator[Found]) -> None:
    """Count the files there are, so that there is a total to be measured by."""
    total = sum(1 for _ in found)
    shown_bar.count(total or None)
