"""Converts many files in worker processes, and reports each when it is done.

Files are taken one at a time, so memory does not depend on their number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from dcmtx.batch.walk import Found, Root, plan_roots, walk
from dcmtx.dataset.meta import (
    IMPLEMENTATION_CLASS,
    IMPLEMENTATION_CLASS_UID,
    PASSED_OVER,
    SOP_CLASS,
    SOP_INSTANCE,
    FileMeta,
    peek,
)
from dcmtx.errors import DcmtxError, UsageError
from dcmtx.place.archive import Unpacked
from dcmtx.place.atomic import Postponing
from dcmtx.place.kinds import is_packed
from dcmtx.place.places import directory_of, is_remote, is_same, open_reader, remove_left
from dcmtx.place.scratch import Scratch
from dcmtx.place.temporary import sweep
from dcmtx.planning.routes import Route
from dcmtx.policy import Sync
from dcmtx.pool import worker
from dcmtx.record import Record
from dcmtx.rules.objects import MEDIA_STORAGE_DIRECTORY
from dcmtx.transcoding.job import Job, Outcome
from dcmtx.transcoding.running import Cores, open_source_of, run

if TYPE_CHECKING:
    from dcmtx.place.bytes import Reader
    from dcmtx.pool.committer import Fate
    from dcmtx.pool.executor import Executor
    from dcmtx.pool.workers import Pool

# Why --resume skips a file.
DONE_BEFORE = "done before"


class Done(Record):
    """The result for one file: an outcome, an error, or the reason why it was skipped.

    `instances` are the SOP Instance UIDs, old and new, of one that was done before, if they are asked for.
    `references` is how many references follow in a file that is done already, `size` how many bytes it has then.
    """

    src: str
    dst: str
    outcome: Outcome | None = None
    error: DcmtxError | None = None
    skip: str = ""
    instances: tuple[str, ...] = ()
    references: int = 0
    size: int = 0


class Options(Record):
    """Options of a batch. `job` is the template for each file's job; `timeout` is in seconds per file.

    `report` is the file for the records, which no conversion may overwrite; `memory` is the most bytes that a worker
    may use. With `update_references`, references follow new UIDs when all files are done.
    """

    job: Job
    workers: int
    timeout: float | None = None
    resume: bool = False
    fail_fast: bool = False
    modules: tuple[str, ...] = ()
    memory: int | None = None
    report: str | None = None
    update_references: bool = False


class Task(Record):
    """One file to convert. `named` says that the user named the file itself, not its directory.

    `references` says that the UIDs of one that was done before are asked for.
    """

    job: Job
    resume: bool
    named: bool
    references: bool = False


class Stop:
    """A request to stop. A signal handler may make it."""

    def __init__(self) -> None:
        self.requested = False
        self.wake: Callable[[], None] | None = None

    def request(self) -> None:
        """Ask to start no more files and to stop those under way."""
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
    """Convert many files and yield the result of each when it is done, until all are or `stop` is requested.

    A file that fails stops the others only with `fail_fast`. A full disk always stops them, because all would fail.
    Closing the iterator stops the workers and leaves no temporary file.

    `executor` runs the jobs by `perform`. It is stopped at the end; the caller closes it. Without one, `local_pool`
    makes processes on this machine.

    Raises UsageError if the sources cannot go to the destination together, or if options contradict each other.
    """
    stop = stop or Stop()
    with ExitStack() as stack:
        if executor is None:
            if options.job.request.uses_device and not options.job.dry_run:
                from dcmtx.device import client

                # Workers come and go, and what has loaded the library of the device stays.
                stack.enter_context(client.held())
            executor = stack.enter_context(local_pool(options))
        stop.wake = executor.wake
        try:
            if is_packed(destination):
                from dcmtx.batch.archives import pack

                yield from pack(sources, destination, options, stop, executor)
            else:
                yield from convert_below(sources, destination, options, stop, executor=executor)
        finally:
            stop.wake = None


def convert_below(
    sources: Sequence[str],
    destination: str,
    options: Options,
    stop: Stop,
    *,
    executor: Executor[Task, Done],
    seen: Callable[[Iterator[Found]], Iterator[Found]] = lambda found: found,
) -> Generator[Done, None, None]:
    """Do what `convert` does, to files. What is found passes through `seen`."""
    roots = plan_roots(sources, destination)
    check_options(options, roots)
    alone = len(roots) == 1 and roots[0].target == destination and roots[0].is_one_file
    options = options.replace(job=options.job.replace(parents=not alone))
    with closing(Scratch(directory_of(destination))) as scratch:
        try:
            found = seen(walk(roots, destination, options.report, scratch))
            results = _run(executor, found, options, stop)
            if options.update_references and not options.job.dry_run:
                from dcmtx.batch.references import followed

                results = followed(results, options, stop)
            yield from results
        finally:
            for task in executor.stop():
                remove_left(task.job.dst)


def check_options(options: Options, roots: Sequence[Root]) -> None:
    """Raise UsageError for options that contradict each other."""
    alone = options.job.request.policy.dataset_only
    if alone and options.resume:
        raise UsageError(
            "--resume does not go with --dataset-only: what has no transfer syntax cannot be told to be done",
            advice="leave one of them out",
        )
    if not options.update_references:
        return
    if alone:
        raise UsageError(
            "--update-references does not go with --dataset-only, whose files cannot be read again for certain",
            advice="leave one of them out",
        )
    if any(is_same(root.path, root.target) for root in roots):
        raise UsageError(
            "--update-references needs sources that stay: after an interruption nothing else tells which UID was which",
            advice="name another DST",
        )


def local_pool(options: Options) -> Pool[Task, Done]:
    """Return a pool of processes on this machine for the jobs of a batch. It begins to load codecs at once."""
    from dcmtx.pool.workers import Pool

    return Pool(
        perform_in_pool, options.workers, timeout=options.timeout, modules=options.modules, memory=options.memory
    )


def _run(executor: Executor[Task, Done], found: Iterator[Found], options: Options, stop: Stop) -> Iterator[Done]:
    """Submit the files found, and yield results until all are done or the batch must stop."""
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
            # A full disk is reported once; other files that it made fail count as not done.
            if done.error is None or done.error.code != "E_DISK_FULL":
                yield done
        for task in unfinished:
            remove_left(task.job.dst)


def _results(executor: Executor[Task, Done], found: Iterator[Found], options: Options, stop: Stop) -> Iterator[Done]:
    for one in found:
        if stop.requested:
            return
        if one.fault is not None or one.skip:
            if one.fault is not None:
                one.fault.path = one.fault.path or one.src
            yield Done(one.src, one.dst, error=one.fault, skip=one.skip)
            continue
        executor.submit(
            Task(
                options.job.replace(src=one.src, dst=one.dst, source=one.source),
                options.resume,
                one.named,
                references=options.update_references,
            )
        )
        for task, result in executor.results():
            yield _done(task, result)
    # The stop may have been requested during an earlier wait.
    if stop.requested:
        return
    for task, result in executor.results(wait_for_all=True):
        yield _done(task, result)


def perform(task: Task) -> Done:
    """Convert or skip one file. An executor calls this in any process."""
    return _perform(task, worker.cores)


def perform_in_pool(task: Task) -> Done | worker.Later:
    """Convert or skip one file in a worker of a pool, which puts it in place while the next one is converted."""
    if task.job.request.policy.sync is not Sync.BATCH:
        return perform(task)
    with Postponing() as files:
        done = _perform(task, worker.cores)
    return worker.Later(files[0], done, _finished) if files else done


def _finished(done: Done, fate: Fate) -> Done:
    """Return the result of a file that is in place, or could not be put there."""
    if isinstance(fate, DcmtxError):
        fate.path = fate.path or done.src
        return Done(done.src, done.dst, error=fate)
    if not fate or done.outcome is None:
        return done
    outcome = done.outcome
    return done.replace(outcome=outcome.replace(notes=tuple(dict.fromkeys((*outcome.notes, *fate)))))


def _perform(task: Task, cores: Cores) -> Done:
    job = task.job
    try:
        with closing(open_source_of(job)) as file:
            reason = _reason_to_skip(file)
            if reason:
                return Done(job.src, job.dst, skip=reason)
            if task.resume and _is_done(job, file):
                return Done(job.src, job.dst, skip=DONE_BEFORE, instances=_instances(job) if task.references else ())
            if not job.dry_run and not is_remote(job.dst):
                _sweep_once(os.path.dirname(job.dst) or os.curdir)
            return Done(job.src, job.dst, run(job, cores, file=file))
    except DcmtxError as error:
        if error.code in PASSED_OVER and not task.named:
            return Done(job.src, job.dst, skip=PASSED_OVER[error.code])
        error.path = error.path or job.src
        return Done(job.src, job.dst, error=error)


def _instances(job: Job) -> tuple[str, str]:
    """Return the SOP Instance UIDs of source and destination."""
    from dcmtx.transcoding.references import instance_of

    return instance_of(job.source_place, job.request.policy.assume), instance_of(job.dst)


def _reason_to_skip(file: Reader) -> str:
    """Return why a batch skips a file, or an empty string: a DICOMDIR would describe files that have changed."""
    if peek(file).text(SOP_CLASS) == MEDIA_STORAGE_DIRECTORY:
        return "a DICOMDIR, which would not be valid any more; make a new one"
    return ""


def _is_done(job: Job, source: Reader) -> bool:
    """Tell whether the destination has this instance in the transfer syntax that would be written.

    One that got a new UID has another name there. If a file is recoded or wrapped anew in place, its syntax is the same
    before and after. Then dcmtx must have written it, and after lossy coding it must record a loss.
    """
    try:
        with closing(open_reader(job.dst)) as file:
            head = peek(file)
    except DcmtxError:
        return False
    policy = job.request.policy.replace(clobber=True)
    if policy.edits and is_same(job.src, job.dst):
        # What is asked of the data set does not show in its syntax. Doing it again does no harm.
        return False
    planned = run(job.replace(dry_run=True, brief=True, request=job.request.replace(policy=policy)), file=source)
    if planned.syntax_out != head.syntax:
        return False
    plan = planned.plan
    # Of what is only copied, nothing but its File Meta Information was read.
    instance = planned.instance_in or peek(source).text(SOP_INSTANCE)
    if planned.instance_in == planned.instance_out and not _has_instance(head, instance):
        return False
    if plan is None or plan.route not in (Route.RECODE, Route.REWRAP) or not is_same(job.src, job.dst):
        return True
    return head.text(IMPLEMENTATION_CLASS) == IMPLEMENTATION_CLASS_UID and (plan.lost or not plan.irreversible)


def _has_instance(head: FileMeta, instance: str) -> bool:
    """Tell whether a file has this instance, as far as either is named."""
    return not instance or head.text(SOP_INSTANCE) in ("", instance)


# Directories that this worker has swept.
_swept: set[str] = set()


def _sweep_once(directory: str) -> None:
    """Remove stale temporary files in a directory, once per directory."""
    if directory in _swept:
        return
    sweep(directory)
    if len(_swept) > 1000:
        _swept.clear()
    _swept.add(directory)


def _done(task: Task, result: Done | DcmtxError) -> Done:
    """Return the result of a task. If its worker died, remove its temporary file."""
    if isinstance(task.job.source, Unpacked):
        task.job.source.remove()
    if isinstance(result, Done):
        return result
    remove_left(task.job.dst)
    if result.path is None:
        result.path = task.job.src
    return Done(task.job.src, task.job.dst, error=result)
