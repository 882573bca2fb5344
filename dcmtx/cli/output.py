"""What a conversion tells: notes and summaries for people, records for programs."""

from __future__ import annotations

import contextlib
import sys
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

import click

from dcmtx.cli import printable, say, shown, unwritten
from dcmtx.errors import OutputError

if TYPE_CHECKING:
    from dcmtx.errors import DcmtxError
    from dcmtx.finding import Finding
    from dcmtx.transcoding.job import Outcome


# In a batch, a note that many files have is told for the first of them, and counted at the end.
_TIMES_TOLD = 3


class Output:
    """Where a command's results go: records to standard output and to a file, notes to standard error.

    Use as a context manager while there may be records. With `goes_on`, those of a report that is there stay.
    """

    def __init__(self, as_json: bool, report: str | None, quiet: bool, verbose: bool, *, goes_on: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self.report = report
        self._goes_on = goes_on
        self._file: IO[str] | None = None
        self._lines = report
        self._told: dict[str, tuple[int, str]] = {}

    @property
    def wants_records(self) -> bool:
        """Whether anybody reads records."""
        return self.as_json or self.report is not None

    def fills_terminal(self, *, dry_run: bool) -> bool:
        """Tell whether records or plans go to a terminal, line by line, where a bar would stand among them."""
        if self._file is not None and self._file.isatty():
            return True
        return (self.as_json or dry_run) and sys.stdout is not None and sys.stdout.isatty()

    def __enter__(self) -> Self:
        """Open the report."""
        if self.report is not None:
            from dcmtx.cli.reports import begin_parquet, lines_of, open_report

            self._lines = lines_of(self.report)
            if self._lines != self.report:
                begin_parquet(self.report, goes_on=self._goes_on)
            self._file = open_report(self._lines, goes_on=self._goes_on)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the report."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            if self._lines != self.report and self.report is not None:
                from dcmtx.cli.reports import end_parquet

                end_parquet(self.report)

    def record(self, result: Outcome | DcmtxError, src: str, dst: str, skip: str = "") -> None:
        """Write the record of a file."""
        if not self.wants_records:
            return
        from dcmtx.batch.report import as_record

        self._write(as_record(result, src, dst))

    def record_skip(self, src: str, dst: str, why: str) -> None:
        """Write the record of a file that was passed over."""
        if self.wants_records:
            from dcmtx.batch.report import skip_record

            self._write(skip_record(src, dst, why))

    def record_references(self, src: str, dst: str, count: int, size: int) -> None:
        """Write the record of a file whose references were updated."""
        if self.wants_records:
            from dcmtx.batch.report import references_record

            self._write(references_record(src, dst, count, size))

    def _write(self, record: dict[str, Any]) -> None:
        import json

        line = json.dumps(record) + "\n"
        # The report first: it is to have what is in place, whoever reads standard output.
        if self._file is not None:
            try:
                self._file.write(line)
            except OSError as error:
                raise OutputError(f"the report {self.report} cannot be written: {error.strerror}") from error
        if self.as_json:
            try:
                click.echo(line, nl=False)
            except OSError as error:
                self.as_json = False
                raise unwritten(error) from error

    def _note(self, path: str, finding: Finding) -> None:
        """Tell of a finding, unless some files had one of its code already."""
        count, example = self._told.get(finding.code, (0, finding.text))
        self._told[finding.code] = (count + 1, example)
        if self.quiet or count >= _TIMES_TOLD:
            return
        say(f"dcmtx: {shown(path)}: note: {printable(finding.text)}")

    def untold(self) -> list[str]:
        """Return a line for each note that more files had than were told of."""
        times = [(count - _TIMES_TOLD, example) for count, example in self._told.values() if count > _TIMES_TOLD]
        return [f"{count} more file{'s' * (count != 1)} with a note like: {example}" for count, example in times]

    def tell(self, outcome: Outcome) -> None:
        """Tell people of a file that was converted: what was planned, what they should know, what was done."""
        if outcome.job.dry_run and not self.as_json:
            from dcmtx.batch.report import plan_lines

            click.echo("\n".join(printable(line) for line in plan_lines(outcome, shown(outcome.job.src))))
        for finding in outcome.notes:
            self._note(outcome.job.src, finding)
        if self.verbose:
            from dcmtx.batch.report import verbose_line

            say(f"dcmtx: {shown(outcome.job.src)}: {verbose_line(outcome)}")
