"""Many files from Python: `dcmtx.convert_many`."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from dcmtx.batch.convert import Done, Options, Task, check_options, convert
from dcmtx.batch.walk import plan_roots
from dcmtx.errors import DcmtxError, UsageError
from dcmtx.record import Record
from dcmtx.transcoding.job import Outcome, job

if TYPE_CHECKING:
    from dcmtx.pool.executor import Executor

    Path = str | os.PathLike[str]


class Skipped(Record):
    """A file that was skipped, and why: it is not DICOM, empty, done before, or a DICOMDIR."""

    src: str
    dst: str
    reason: str


def convert_many(
    sources: Path | Sequence[Path],
    destination: Path,
    *,
    to: str,
    workers: int | None = None,
    timeout: float | None = None,
    resume: bool = False,
    fail_fast: bool = False,
    update_references: bool = False,
    executor: Executor[Task, Done] | None = None,
    **options: Any,
) -> Iterator[Outcome | DcmtxError | Skipped]:
    """Convert many files, and yield one result for each, in the order in which they finish.

    `sources` is a file or directory, or several. They go where the command line puts them: one file to the
    destination, the contents of one directory into it, several under their own names. Files are converted as they are
    found, so memory does not depend on their number. The result for each is one of

    - an Outcome: `outcome.job` has its `src` and `dst`;
    - a DcmtxError, not raised: the file failed or was refused, and the others go on. Its `path` is the file;
    - a Skipped: the file needs no conversion, or a file found in a directory is not DICOM.

    `workers` is the number of processes, one per core by default. A codec that crashes, hangs for more than `timeout`
    seconds, or uses too much memory costs one file. With `resume`, files are skipped whose destination already has the
    target syntax; with `fail_fast`, the first failure ends the batch. With `update_references`, references among the
    files follow new SOP Instance UIDs when all are done; a file where that fails has a DcmtxError more. `executor` runs
    the jobs instead of processes on this machine. The other options are those of `transcode`.

    Work starts when the first result is requested. Closing the iterator stops the jobs under way; only complete files
    remain.

    Raises UsageError for inconsistent options, or sources that cannot go to the destination together; RefusedError for
    a lossy option without consent.

    >>> import dcmtx
    >>> files = ["ct-explicit.dcm", "sr-text.dcm", "rtdose-32.dcm"]
    >>> results = list(dcmtx.convert_many(files, "out", to="jpegls", workers=2))
    >>> sorted(result.code for result in results if isinstance(result, dcmtx.DcmtxError))
    ['E_BITS']
    >>> sorted(result.syntax_out for result in results if isinstance(result, dcmtx.Outcome))
    ['1.2.840.10008.1.2.1', '1.2.840.10008.1.2.4.80']
    """
    several = [sources] if isinstance(sources, str | os.PathLike) else sources
    paths = [os.fspath(path) for path in several]
    target = os.fspath(destination)
    if not paths:
        return iter(())
    if timeout is not None and not timeout > 0:
        raise UsageError(f"timeout is {timeout}, not more than 0 seconds")
    roots = plan_roots(paths, target)
    pattern = job(paths[0], target, to=to, workers=workers, **options)
    batch = Options(
        pattern,
        pattern.workers,
        timeout,
        resume=resume,
        fail_fast=fail_fast,
        update_references=update_references,
    )
    check_options(batch, roots)
    return _each(paths, target, batch, executor)


def _each(
    sources: Sequence[str], destination: str, options: Options, executor: Executor[Task, Done] | None
) -> Generator[Outcome | DcmtxError | Skipped, None, None]:
    with closing(convert(sources, destination, options, executor=executor)) as results:
        for done in results:
            if done.references:
                continue
            yield done.error or done.outcome or Skipped(done.src, done.dst, done.skip)
