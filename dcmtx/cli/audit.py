"""`dcmtx audit`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import IO, TYPE_CHECKING, Any

import click

from dcmtx.cli import SETTINGS, printable, say, shown
from dcmtx.cli.options import Share
from dcmtx.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from dcmtx.inspect.audit import Question
    from dcmtx.inspect.proof import Proof


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("report")
@click.argument("root", required=False)
@click.option("--pixels", is_flag=True, help="Decode every frame, and compare with the SHA-256 of the record.")
@click.option(
    "--sample",
    type=Share(),
    metavar="N%",
    help="Decode so many of the files only, the same ones every time. Implies --pixels.",
)
@click.option("--was", metavar="DIR", help="Where ROOT was when the report was written, if it has been moved.")
@click.option("-j", "--jobs", type=click.IntRange(1), help="Worker processes. [default: the cores of this process]")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Seconds for one file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file on standard output.")
@click.option(
    "--proof", metavar="FILE", help="One JSON object per file in FILE, each line complete when it is written."
)
@click.option("--resume", is_flag=True, help="Do not repeat what the FILE of --proof has proven already.")
@click.option("--quiet", is_flag=True, help="No summary.")
def audit(report: str, root: str | None, **options: Any) -> int:
    """Prove a migrated archive from the report of its conversion.

    REPORT is what `dcmtx convert --report` wrote: JSON lines or Parquet. Each destination in it must be there, with the
    size, the transfer syntax and the SOP Instance UID of its record; with --pixels it must decode to the recorded
    SHA-256. With ROOT, the directory of the archive, what lies below it and is not in the report is told too. Relative
    destinations are those of the directory that you are in. Destinations in a store are fetched; ROOT may be a prefix.

    What differs is printed, a line each: missing, changed, not made (its conversion failed), unreported. If there is
    any, the exit status is 7. A report without records proves nothing, and one whose last line is cut off does not
    prove all: the exit status is 3 then. Pixels that were coded with loss, and those that the conversion did not
    decode, have nothing to be compared with: they are decoded, and counted as uncompared.

    \b
    dcmtx convert old new --to htj2k --report moved.jsonl
    dcmtx audit moved.jsonl new --pixels
    """
    from dcmtx.place.places import is_remote

    if options["was"] is not None and root is None:
        raise click.UsageError("--was says where ROOT was, and there is no ROOT")
    if options["resume"] and options["proof"] is None:
        raise click.UsageError("--resume goes on with the FILE of --proof, and there is none")
    if options["proof"] is not None:
        from dcmtx.cli.reports import check_file

        check_file(options["proof"], "--proof")
    if root is not None and is_remote(root):
        if options["was"] is not None:
            raise click.UsageError("--was is for directories, and ROOT is in a store")
    elif root is not None and not os.path.isdir(root):
        raise UsageError("it is no directory", path=root, advice="name the directory that the archive is in")
    from dcmtx.inspect.audit import Question

    question = Question(
        report,
        root,
        options.pop("was"),
        pixels=options.pop("pixels") or options["sample"] is not None,
        sample=options.pop("sample") or 1.0,
        before=options["proof"] if options["resume"] else None,
    )
    return Audit(question, **options).run()


class Audit:
    """One audit, and what it has counted: files by their verdicts. `tell` gets a line for each file that differs."""

    def __init__(
        self,
        question: Question,
        *,
        jobs: int | None = None,
        timeout: float | None = None,
        as_json: bool = False,
        proof: str | None = None,
        resume: bool = False,
        quiet: bool = False,
        tell: Callable[[str], None] = click.echo,
    ) -> None:
        from dcmtx.inspect.proof import Verdict

        self._jobs = jobs
        self._timeout = timeout
        self._as_json = as_json
        self._proof = proof
        self._resume = resume
        self._quiet = quiet
        self._echo = tell
        self._question = question
        self.counts = dict.fromkeys(Verdict, 0)
        self._frames = 0
        self._torn = False
        self._file: IO[str] | None = None

    def run(self) -> int:
        """Audit, and return the exit status."""
        from dcmtx.inspect.audit import audit, local_pool
        from dcmtx.inspect.ledger import Ledger
        from dcmtx.pool.machine import available_cores

        workers = self._jobs or available_cores()
        with ExitStack() as stack:
            ledger = stack.enter_context(Ledger())
            executor = stack.enter_context(local_pool(workers, self._timeout))
            if self._proof is not None:
                self._file = stack.enter_context(self._open(self._proof))
            for proof in stack.enter_context(closing(audit(self._question, executor, ledger))):
                self._tell(proof)
            self._torn = ledger.torn
            if ledger.torn:
                say(
                    f"dcmtx: {shown(self._question.report)}: its last line is cut off, and the file that it told of is "
                    "not checked; go on with the conversion by --resume, and audit again"
                )
            if not self._quiet:
                say(f"dcmtx: {self._summary(ledger.settled, ledger.skipped)}")
        return self.status

    @property
    def status(self) -> int:
        """The exit status: 7 if anything differs, else 3 if the report is not whole."""
        if not all(verdict.holds or not n for verdict, n in self.counts.items()):
            return ExitStatus.VERIFY
        return ExitStatus.INPUT if self._torn else ExitStatus.OK

    def _open(self, path: str) -> IO[str]:
        from dcmtx.cli.reports import cut_torn_line

        try:
            if self._resume:
                cut_torn_line(path)
                return open(path, "a", encoding="utf-8", buffering=1)
            return open(path, "x", encoding="utf-8", buffering=1)
        except FileExistsError:
            raise click.UsageError(f"{path} exists; --resume goes on with it") from None
        except OSError as error:
            raise click.UsageError(f"{path} cannot be written: {error.strerror}") from error

    def _tell(self, proof: Proof) -> None:
        from dcmtx.inspect.audit import as_record

        self.counts[proof.verdict] += 1
        self._frames += proof.frames
        if self._file is not None or self._as_json:
            line = json.dumps(as_record(proof))
            if self._file is not None:
                self._file.write(line + "\n")
            if self._as_json:
                click.echo(line)
                return
        if not proof.verdict.holds:
            what = f": {printable(proof.what)}" if proof.what else ""
            self._echo(f"{proof.verdict.value}: {printable(proof.path)}{what}")

    def _summary(self, settled: int, skipped: int) -> str:
        said = [f"{count} {verdict.value}" for verdict, count in self.counts.items() if count]
        said += [f"{settled} proven before"] if settled else []
        said += [f"{skipped} skipped by the conversion"] if skipped else []
        sample = f" of a sample of {100 * self._question.sample:g} %" if self._question.sample < 1 else ""
        frames = f"; {_count(self._frames, 'frame')}{sample} decoded" if self._question.pixels else ""
        return f"{_count(sum(self.counts.values()), 'file')}: {', '.join(said) or 'nothing'}{frames}"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"
