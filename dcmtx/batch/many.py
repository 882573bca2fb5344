"""Many files from Python: `dcmtx.convert_many`."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from dcmtx.batch.convert import Done, Options, Task, convert
from dcmtx.batch.walk import plan_roots
from dcmtx.errors import DcmtxError, UsageError
from dcmtx.record import Record
from dcmtx.transcoding.job import Outcome, job

if TYPE_CHECKING:
    from dcmtx.pool.executor import Executor

    Path = str | os.PathLike[str]


class Skipped(Record):
    """A file that was passed over, and why: it is not DICOM, or empty, or done before, or a DICOMDIR."""

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
    executor: Executor[Task, Done] | None = None,
    **options: Any,
) -> Iterator[Outcome | DcmtxError | Skipped]:
    """Convert many files, and yield what became of each, in the order in which they are done.

    `sources` is a file or directory, or several. They go where the command line has them go: one file to the
    destination, the contents of one directory into it, several under their own names. Files are taken as they are
    found, so memory does not depend on how many there are. For each there is one of

    - an Outcome: `outcome.job` has its `src` and `dst`;
    - a DcmtxError, not raised: the file failed or was refused, and the others go on. Its `path` is the file;
    - a Skipped: the file needs no conversion, or a walk came to what is not DICOM.

    `workers` processes do them, all cores by default; a codec that crashes, hangs for more than `timeout` seconds, or
    takes all memory costs one file. With `resume`, files are skipped whose destination has the syntax already; with
    `fail_fast`, the first failure ends it. `executor` does the jobs in the place of processes on this machine.
    The other options are those of `transcode`.

    Nothing is started before the first is asked for. Closing the iterator stops what is under way, and leaves whole
    files only.

    Raises UsageError for options that make no sense, or sources that cannot go to the destination together;
    RefusedError for an option that loses without consent.

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
    plan_roots(paths, target)
    pattern = job(paths[0], target, to=to, workers=workers, **options)
    batch = Options(pattern, pattern.workers, timeout, resume=resume, fail_fast=fail_fast)
    return _each(paths, target, batch, executor)


def _each(
    sources: Sequence[str], destination: str, options: Options, executor: Executor[Task, Done] | None
) -> Generator[Outcome | DcmtxError | Skipped, None, None]:
    with closing(convert(sources, destination, options, executor=executor)) as results:
        for done in results:
            yield done.error or done.outcome or Skipped(done.src, done.dst, done.skip)
