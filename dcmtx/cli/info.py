"""`dcmtx info`."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from dcmtx.cli import SETTINGS, error_line, printable, say, shown
from dcmtx.errors import DcmtxError, ExitStatus
from dcmtx.finding import Severity

if TYPE_CHECKING:
    from dcmtx.inspect.info import Info
    from dcmtx.inspect.summary import Summary

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}
_HEADINGS = ("SYNTAX", "FILES", "FRAMES", "BYTES", "RATIO", "FINDINGS")


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("paths", metavar="FILE...", nargs=-1, required=True)
@click.option("--decode", is_flag=True, help="Decode every frame: its least and greatest value and its SHA-256.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file on standard output.")
@click.option("--strict", is_flag=True, help="Exit with 3 if there is a finding of severity error.")
def info(paths: tuple[str, ...], decode: bool, as_json: bool, strict: bool) -> int:
    """Say what DICOM files are, and what is wrong with them.

    Of a FILE, which may be `-`: the transfer syntax and what it means, the format of its pixels, its fragments and
    whether the offset tables are true, what the codestream itself says, what is recorded of loss, overlays, icons,
    signatures. Then findings: each with its severity, a stable code, the section of the standard, and the command that
    mends it, if one does. Of a directory: a table of the transfer syntaxes below it, and its findings by code.

    An `error` may have a reader show other pixels, lose some, or not read the file. A `warning` is against the
    standard, and readers cope. A `note` is legal, and worth knowing.

    Nothing is decoded, unless by --decode. The exit status is 3 if a FILE is missing, cannot be read or is not DICOM;
    so it is if a directory, or a file or link below it, cannot be read. What is not DICOM there is counted and passed
    over.

    \b
    dcmtx info ct.dcm
    dcmtx info archive
    dcmtx info --json archive | jq 'select(.findings != [])'
    dcmtx info --strict --decode received/*.dcm
    """
    show: _Output = _Json() if as_json else _Rich() if sys.stdout.isatty() else _Plain()
    for path in paths:
        if path != "-" and os.path.isdir(path):
            show.directory(path, decode=decode)
        else:
            show.file(path, decode=decode)
    if show.failed or (strict and show.errors):
        return ExitStatus.INPUT
    return ExitStatus.OK


class _Output:
    """Where descriptions go. `failed` counts the files that could not be read, `errors` findings of that severity."""

    def __init__(self) -> None:
        self.failed = 0
        self.errors = 0

    def file(self, path: str, *, decode: bool) -> None:
        """Describe one file."""
        from dcmtx.inspect.info import look
        from dcmtx.inspect.isolated import look_decoding

        try:
            self._describe(self._counted(look_decoding(path) if decode else look(path)))
        except DcmtxError as error:
            self._fail(path, error)

    def directory(self, path: str, *, decode: bool) -> None:
        """Describe the files below a directory."""
        from dcmtx.dataset.meta import PASSED_OVER
        from dcmtx.inspect.summary import Summary, look_below

        summary = Summary()
        for found in look_below(path, decode=decode):
            if not isinstance(found, DcmtxError):
                summary.add(self._counted(found))
                self._below(found)
            elif found.code in PASSED_OVER:
                summary.skipped += 1
            else:
                self._fail(found.path or path, found)
        self._summarize(path, summary)

    def _counted(self, info: Info) -> Info:
        self.errors += sum(finding.severity is Severity.ERROR for finding in info.findings)
        return info

    def _fail(self, path: str, error: DcmtxError) -> None:
        self.failed += 1
        say(error_line(error))

    def _describe(self, info: Info) -> None:
        """Write the description of a file."""

    def _below(self, info: Info) -> None:
        """Take one file of a directory."""

    def _summarize(self, path: str, summary: Summary) -> None:
        """Write what is below a directory."""


class _Json(_Output):
    """One JSON object per file."""

    def _describe(self, info: Info) -> None:
        from dcmtx.inspect.record import as_record

        click.echo(json.dumps(as_record(info)))

    _below = _describe

    def _fail(self, path: str, error: DcmtxError) -> None:
        from dcmtx.inspect.record import error_record

        super()._fail(path, error)
        click.echo(json.dumps(error_record(path, error)))


class _Plain(_Output):
    """Lines of text."""

    def _describe(self, info: Info) -> None:
        from dcmtx.inspect.text import finding_line, lines

        click.echo(f"{shown(info.path)}: {info.size} bytes")
        for label, text in lines(info):
            click.echo(f"  {label:<11} {printable(text)}")
        for finding in info.findings:
            click.echo(f"  {finding.severity.value:<11} {printable(finding_line(finding, info))}")

    def _summarize(self, path: str, summary: Summary) -> None:
        click.echo("\t".join(_HEADINGS))
        for row in _rows(summary):
            click.echo("\t".join(map(printable, row)))
        for line, _ in _groups(summary):
            click.echo(line)
        for line in _skipped(summary):
            click.echo(line)


class _Rich(_Output):
    """Tables and colours, for a terminal."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console

        self._console = Console(highlight=False)

    def _describe(self, info: Info) -> None:
        from rich.table import Table
        from rich.text import Text

        from dcmtx.inspect.text import finding_line, lines

        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="cyan", no_wrap=True)
        grid.add_column(overflow="fold")
        for label, text in lines(info):
            grid.add_row(f"  {label}", Text(printable(text)))
        for finding in info.findings:
            style = _STYLES[finding.severity]
            grid.add_row(
                Text(f"  {finding.severity.value}", style), Text(printable(finding_line(finding, info)), style)
            )
        self._console.print(Text(shown(info.path), "bold"), f"[dim]{info.size} bytes[/dim]")
        self._console.print(grid)

    def _summarize(self, path: str, summary: Summary) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, header_style="bold", pad_edge=False)
        for number, heading in enumerate(_HEADINGS):
            table.add_column(heading.capitalize(), justify="right" if number else "left", overflow="fold")
        for row in _rows(summary):
            table.add_row(*map(Text, map(printable, row)))
        self._console.print(Text(shown(path), "bold"))
        self._console.print(table)
        for line, severity in _groups(summary):
            self._console.print(Text(line, _STYLES[severity]), soft_wrap=False)
        for line in _skipped(summary):
            self._console.print(Text(line, "dim"))


def _rows(summary: Summary) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for row in summary.table:
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else "-"
        rows.append((row.name, str(row.files), str(row.frames), str(row.size), ratio, str(row.findings)))
    return rows


def _groups(summary: Summary) -> list[tuple[str, Severity]]:
    """Return a line per code of finding: how many files, one text, the section, and the first files."""
    from dcmtx.rules import catalog

    found: list[tuple[str, Severity]] = []
    for group in summary.groups:
        finding = group.finding
        more = group.files - len(group.paths)
        names = ", ".join(map(shown, group.paths)) + (f" and {more} more" if more else "")
        line = f"{finding.severity.value} {finding.code} in {group.files} file{'s' * (group.files != 1)}: "
        line += f"{printable(finding.text)} ({catalog.section(finding.code)}): {names}"
        found.append((line, finding.severity))
    return found


def _skipped(summary: Summary) -> list[str]:
    count = summary.skipped
    return [f"{count} file{'s' * (count != 1)} that {'are' if count != 1 else 'is'} not DICOM"] if count else []


__all__: list[Any] = ["info"]
