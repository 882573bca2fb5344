"""Many files: converted by worker processes, each told of when it is done.

Files are taken one at a time, so memory does not depend on how many there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from dcmtx.batch.walk import Found, plan_roots, walk
from dcmtx.dataset.meta import IMPLEMENTATION_CLASS, IMPLEMENTATION_CLASS_UID, SOP_CLASS, peek
from dcmtx.errors import DcmtxError
from dcmtx.place.atomic import remove_stale, sweep, temporary_name
from dcmtx.place.bytes import open_bytes
from dcmtx.place.places import is_same
from dcmtx.planning.routes import Route
from dcmtx.record import Record
from dcmtx.rules.objects import MEDIA_STORAGE_DIRECTORY
from dcmtx.transcoding.job import Job, Outcome, run

if TYPE_CHECKING:
    from dcmtx.pool.executor import Executor
    from dcmtx.pool.workers import Pool

# What a walk comes to that is no image and no fault. A file that the user named is to be converted, whatever it is.
_PASSED_OVER = {"E_NOT_DICOM": "not DICOM", "E_EMPTY": "empty"}


class Done(Record):
    """What became of one file: an outcome, an error, or a reason why it was passed over."""

    src: str
    dst: str
    outcome: Outcome | None = None
    error: DcmtxError | None = None
    skip: str = ""


class Options(Record):
    """How a batch is done. `job` is the pattern of each file's; `timeout` is in seconds per file.

    `report` is the file that records go to, which no file is written over; `memory` is how many bytes a worker
    may take.
    """

    job: Job
    workers: int
    timeout: float | None = None
    resume: bool = False
    fail_fast: bool = False
    modules: tuple[str, ...] = ()
    memory: int | None = None
    report: str | None = None


class Task(Record):
    """One file to convert. `named` says that the user named it, not only a directory that it is in."""

    job: Job
    resume: bool
    named: bool


class Stop:
    """A request to stop, which a signal handler may make."""

    def __init__(self) -> None:
        self.requested = False
        self.wake: Callable[[], None] | None = None

    def request(self) -> None:
        """Ask for no more files, and for those under way to be given up."""
        self.requested = True
        if self.wake is not None:
            self.wake()


def convert(
    sources: Sequence[str],
    destination: str,
    options: Options,
    stop: Stop | None = None,
    *,
    executor: Executor[Task, Done] | None = None,
) -> Generator[Done, None, None]:
    """Convert many files and yield what became of each, as they are done, until all are or `stop` is requested.

    A file that fails does not stop the others, unless `fail_fast`; a full disk does, for all would fail. Closing the
    iterator stops the workers and leaves no temporary file.

    `executor` does the jobs by `perform`, wherever it likes; it is stopped, and its maker's to leave. Without one there
    are processes on this machine, as `local_pool` makes them.

    Raises UsageError if the sources cannot go to the destination together.
    """
    roots = plan_roots(sources, destination)
    alone = len(roots) == 1 and roots[0].target == destination and not roots[0].is_directory
    options = options.replace(job=options.job.replace(parents=not alone))
    stop = stop or Stop()
    with ExitStack() as stack:
        if executor is None:
            executor = stack.enter_context(local_pool(options))
        stop.wake = executor.wake
        try:
            yield from _run(executor, walk(roots, destination, options.report), options, stop)
        finally:
            stop.wake = None
            for task in executor.stop():
                _remove_temporary(task)


def local_pool(options: Options) -> Pool[Task, Done]:
    """Return processes on this machine that do the jobs of a batch. They begin to load codecs at once."""
    from dcmtx.pool.workers import Pool

    return Pool(perform, options.workers, timeout=options.timeout, modules=options.modules, memory=options.memory)


def _run(executor: Executor[Task, Done], found: Iterator[Found], options: Options, stop: Stop) -> Iterator[Done]:
    """Feed the pool with what is found, and yield what comes of it, until enough is enough."""
    for done in _results(executor, found, options, stop):
        yield done
        full = done.error is not None and done.error.code == "E_DISK_FULL"
        if full or (done.error is not None and options.fail_fast):
            stop.requested = True
        if stop.requested:
            break
    if stop.requested:
        unfinished = executor.stop()
        for task, result in executor.finished():
            done = _done(task, result)
            # A full disk has been told of once; what else it made fail counts as not done.
            if done.error is None or done.error.code != "E_DISK_FULL":
                yield done
        for task in unfinished:
            _remove_temporary(task)


def _results(executor: Executor[Task, Done], found: Iterator[Found], options: Options, stop: Stop) -> Iterator[Done]:
    for one in found:
        if stop.requested:
            return
        if one.fault is not None or one.skip:
            yield Done(one.src, one.dst, error=one.fault, skip=one.skip)
            continue
        executor.submit(Task(options.job.replace(src=one.src, dst=one.dst), options.resume, one.named))
        for task, result in executor.results():
            yield _done(task, result)
    # What woke the executor before may have been this.
    if stop.requested:
        return
    for task, result in executor.results(wait_for_all=True):
        yield _done(task, result)


def perform(task: Task) -> Done:
    """Convert one file, or find that it need not be: what an executor does, in whatever process."""
    from dcmtx.pool import worker

    job = task.job
    try:
        reason = _reason_to_skip(job)
        if reason:
            return Done(job.src, job.dst, skip=reason)
        if task.resume and _is_done(job):
            return Done(job.src, job.dst, skip="done before")
        if not job.dry_run:
            _sweep_once(os.path.dirname(job.dst) or os.curdir)
        return Done(job.src, job.dst, run(job, worker.cores))
    except DcmtxError as error:
        if error.code in _PASSED_OVER and not task.named:
            return Done(job.src, job.dst, skip=_PASSED_OVER[error.code])
        error.path = error.path or job.src
        return Done(job.src, job.dst, error=error)


def _reason_to_skip(job: Job) -> str:
    """Return why a file is not converted in a batch: a DICOMDIR would name files that are no longer what it says."""
    with closing(open_bytes(job.src)) as file:
        if peek(file).text(SOP_CLASS) == MEDIA_STORAGE_DIRECTORY:
            return "a DICOMDIR, which would not be valid any more; make a new one"
    return ""


def _is_done(job: Job) -> bool:
    """Tell whether the destination exists in the transfer syntax that would be written.

    In place, where the file has that syntax before it is done too, it must be dcmtx that wrote it, and what is to lose
    must have lost something.
    """
    try:
        with closing(open_bytes(job.dst)) as file:
            head = peek(file)
    except DcmtxError:
        return False
    policy = job.request.policy.replace(clobber=True)
    planned = run(job.replace(dry_run=True, brief=True, request=job.request.replace(policy=policy)))
    if planned.syntax_out != head.syntax:
        return False
    plan = planned.plan
    if plan is None or plan.route is not Route.RECODE or not is_same(job.src, job.dst):
        return True
    return head.text(IMPLEMENTATION_CLASS) == IMPLEMENTATION_CLASS_UID and (plan.lost or not plan.irreversible)


# Directories that this worker has looked after already.
_swept: set[str] = set()


def _sweep_once(directory: str) -> None:
    """Remove what killed processes left in a directory, once."""
    if directory in _swept:
        return
    sweep(directory)
    if len(_swept) > 1000:
        _swept.clear()
    _swept.add(directory)


def _done(task: Task, result: Done | DcmtxError) -> Done:
    """Return what became of a task, also of one whose worker died: then its temporary file is removed."""
    if isinstance(result, Done):
        return result
    _remove_temporary(task)
    if result.path is None:
        result.path = task.job.src
    return Done(task.job.src, task.job.dst, error=result)


def _remove_temporary(task: Task) -> None:
    directory, name = os.path.split(os.path.realpath(task.job.dst))
    remove_stale(os.path.join(directory, temporary_name(name)))
