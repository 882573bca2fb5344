"""Runs a Job and returns its Outcome."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from dcmtx.dataset.meta import peek
from dcmtx.errors import CodecError, DcmtxError, InputError, RefusedError, UnsupportedError
from dcmtx.finding import Finding, Severity
from dcmtx.options import option_name
from dcmtx.place.bytes import Reader, is_stream
from dcmtx.place.places import check_writable, directory_of, is_same, open_reader, open_sink
from dcmtx.planning.request import Request, Target, Way, parameters_for
from dcmtx.policy import Icon, OffsetTable, Sync, Uid
from dcmtx.syntax import Kind, Syntax, find
from dcmtx.transcoding.job import Job, Outcome, Status

if TYPE_CHECKING:
    from dcmtx.place.sink import Sink

Cores = Callable[[], int]
Watch = Callable[[int, int], None]


def open_source_of(job: Job) -> Reader:
    """Open the source of a job. Raises InputError."""
    return open_reader(job.source_place, directory_of(job.target_place))


def run(job: Job, cores: Cores | None = None, watch: Watch | None = None, *, file: Reader | None = None) -> Outcome:
    """Run a job. Raises what `transcode` raises.

    `cores` returns how many of its workers the job may use now; without it, the job uses all. `watch` is called with
    the number of frames written and their total. `file` is the source, if it is open already; the caller closes it.
    """
    started = time.perf_counter()
    try:
        opened = open_source_of(job) if file is None else file
        try:
            outcome = _whole(job)(job, opened, cores or (lambda: job.workers), watch)
        finally:
            if file is None:
                opened.close()
    except DcmtxError as error:
        if error.path is None:
            error.path = job.src
        raise
    except MemoryError as error:
        raise CodecError(
            "there is not enough memory for it", advice="use fewer --jobs", code="E_MEMORY", path=job.src
        ) from error
    except OSError as error:
        raise InputError(f"the system failed: {error.strerror or error}", code="E_UNREADABLE", path=job.src) from error
    if job.source is not None or job.target is not None:
        # The outcome must not keep the bytes or file objects alive.
        outcome = outcome.replace(job=job.replace(source=None, target=None))
    return outcome.replace(seconds=time.perf_counter() - started)


def _whole(job: Job) -> Callable[[Job, Reader, Cores, Watch | None], Outcome]:
    """Return what does the job: it decides about the file first, if there is anything to decide."""
    policy = job.request.policy
    decides = policy.skip_lossy or policy.only_native or job.request.target.smallest
    if job.site is None and not decides:
        return run_open
    from dcmtx.transcoding.choosing import chosen

    return chosen


def run_open(job: Job, file: Reader, cores: Cores, watch: Watch | None) -> Outcome:
    """Do a job with an open file. Targets are tried in order: only a refusal leads to the next, and is reported."""
    notes: tuple[Finding, ...] = ()
    refused: list[str] = []
    request = job.request
    for fallback in job.fallbacks:
        try:
            outcome = _run_open(job, file, request, cores, watch)
            return outcome.replace(notes=notes + outcome.notes)
        except (RefusedError, UnsupportedError) as error:
            refused.append(f"refused as {request.target.label} ({error.reason})")
        on_device = job.request.backend.encodes_on_device
        parameters = parameters_for(fallback, job.request.parameters, on_device=on_device)
        lost = sorted(option_name(name) for name in job.request.parameters.asked() - parameters.asked())
        without = f" without {', '.join(lost)}, which it does not have" if lost else ""
        notes += (Finding("N_FALLBACK", f"{refused[-1]}; fell back to {fallback.label}{without}", Severity.WARNING),)
        request = job.request.replace(target=fallback, parameters=parameters, rounds=job.request.parameters.lossy)
    try:
        outcome = _run_open(job, file, request, cores, watch)
    except (RefusedError, UnsupportedError) as error:
        if refused:
            error.what = f"{'; '.join(refused)}; as {request.target.label}: {error.what}"
        raise
    return outcome.replace(notes=notes + outcome.notes)


def _run_open(job: Job, file: Reader, request: Request, cores: Cores, watch: Watch | None) -> Outcome:
    meta = peek(file)
    syntax = find(meta.syntax)
    stays = syntax is not None and _nothing_to_do(request, syntax)
    if not stays and request.target.raw and syntax is not None and syntax.kind is Kind.NATIVE and not syntax.deflated:
        # It is native already, and keeps its syntax whatever else is asked.
        request = request.replace(target=Target(request.target.name, (syntax,), raw=True))
    untouched = stays and not request.parameters.lossy
    if syntax is not None and untouched and not is_stream(file):
        return copy(job, file, syntax)
    # Imported late: copying does not need it.
    from dcmtx.transcoding.conversion import convert

    return convert(job, file, meta, request=request, stays=stays, untouched=untouched, cores=cores, watch=watch)


def _nothing_to_do(request: Request, syntax: Syntax) -> bool:
    """Tell whether the file already has the target syntax and no option changes its bytes (rule G0).

    With consent to loss, the caller must also check that the file is already lossy: consent alone requests a lossy
    file, not a second loss. A coding parameter requests new encoding.
    """
    policy = request.policy
    if request.way is not Way.CONVERT or request.parameters.asked():
        return False
    if policy.force or policy.offset_table is not OffsetTable.AUTO or policy.fragment_size is not None:
        return False
    if policy.uid is Uid.NEW or policy.icon is not Icon.FOLLOW or policy.changes_pixels or policy.edits:
        return False
    if request.target.raw:
        return syntax.kind is Kind.NATIVE and not syntax.deflated
    return syntax in request.target.syntaxes


def copy(job: Job, file: Reader, syntax: Syntax) -> Outcome:
    """Copy the file to the destination, byte for byte."""
    status = Status.COPIED
    notes: list[Finding] = []
    if job.dry_run:
        check_target(job)
        status = Status.PLANNED
    elif is_same(job.source_place, job.target_place):
        status = Status.UNCHANGED
    else:
        with sink_of(job) as sink:
            sink.copy(file)
            sink.commit()
        notes = sink.notes
    return Outcome(
        job,
        status,
        syntax.uid,
        syntax_out=syntax.uid,
        bytes_in=file.size,
        bytes_out=file.size,
        notes=tuple(dict.fromkeys(notes)),
    )


def check_target(job: Job) -> None:
    """Raise the OutputError that writing the destination of a job would begin with."""
    # A brief one is only asked for its plan.
    if not job.brief:
        check_writable(job.target_place, clobber=job.request.policy.clobber, parents=job.parents)


def sink_of(job: Job) -> Sink:
    """Return the sink of a job's destination."""
    policy = job.request.policy
    return open_sink(
        job.target_place, job.dst, clobber=policy.clobber, parents=job.parents, sync=policy.sync is not Sync.NONE
    )
