"""Converts one file: opens, plans, writes and commits it; and repeats it losslessly if loss saves no bytes."""

from __future__ import annotations

from dcmtx.dataset.meta import SOP_INSTANCE_UID, FileMeta, is_tiff
from dcmtx.errors import InputError, RefusedError
from dcmtx.finding import Finding, Severity
from dcmtx.place.bytes import Reader, is_stream
from dcmtx.place.places import directory_of, is_same
from dcmtx.planning.case import look_inside
from dcmtx.planning.plan import Plan
from dcmtx.planning.request import Request, assumed
from dcmtx.planning.routes import Route
from dcmtx.planning.ways import planner
from dcmtx.policy import Icon
from dcmtx.rules import objects
from dcmtx.syntax import Syntax
from dcmtx.transcoding.job import Job, Outcome, Status
from dcmtx.transcoding.pixels import Window
from dcmtx.transcoding.running import Cores, Watch, check_target, copy, sink_of
from dcmtx.transcoding.source import Opened, open_source
from dcmtx.transcoding.tally import Written
from dcmtx.transcoding.writer import Writer

_NEEDLESS = Finding(
    "N_LOSSLESS", "coded without loss, so no loss is told of: loss saves no bytes, or leaves less than was asked for"
)


def _larger(syntax: Syntax, size: int) -> Finding:
    return Finding("N_LARGER", f"it is kept as it is: as {syntax.label} it would have {size} bytes")


def convert(
    job: Job,
    file: Reader,
    meta: FileMeta,
    *,
    request: Request,
    stays: bool,
    untouched: bool,
    cores: Cores,
    watch: Watch | None,
) -> Outcome:
    """Convert an open file, whose File Meta Information is `meta`, as `request` says.

    `stays` says that the file has the target syntax and no option but consent to loss was set. Such a file is copied
    if it is lossy already, or if `untouched` says that there is no such consent.

    Raises what `transcode` raises.
    """
    if request.cut is not None and is_same(job.source_place, job.target_place):
        raise RefusedError(
            "it would be replaced by a part of itself, and the rest be lost", advice="name another DST", code="E_SAME"
        )
    opened = open_source(
        file,
        directory_of(job.target_place),
        meta=meta,
        assume=assumed(request.policy.assume),
        forgiving=request.policy.ignore_errors,
    )
    try:
        if is_stream(file):
            check_ended(opened, forgiving=request.policy.ignore_errors)
        if untouched:
            return copy(job, file, opened.dataset.syntax)
        if stays:
            contents = look_inside(opened.dataset.header, opened.frames, request)
            if contents.stream is None or contents.has_lost:
                return copy(job, file, opened.dataset.syntax)
        return _convert(job, file, opened, request, cores, watch)
    finally:
        opened.close()


def check_ended(opened: Opened, *, forgiving: bool) -> None:
    """Raise InputError if a stream may be only the beginning of a file.

    An odd file can be examined again. A stream whose writer died is lost, and its partial content must not be passed
    on as the whole. So streams are checked more strictly than files, even if they are only copied. What is `forgiving`
    wants no more than whole frames.
    """
    fragments = opened.frames.fragments
    if fragments is not None and fragments.unended and not forgiving:
        raise InputError(
            "the Sequence Delimitation Item of Pixel Data is missing at its end; it is truncated", code="E_TRUNCATED"
        )
    if opened.frames.pixel is None and objects.is_image(opened.dataset.header):
        raise InputError(
            "it is an image without Pixel Data, truncated it seems",
            advice="if it is meant so, give it as a file",
            code="E_NO_PIXELDATA",
        )


def _convert(job: Job, file: Reader, opened: Opened, request: Request, cores: Cores, watch: Watch | None) -> Outcome:
    size = file.size
    dataset, frames = opened.dataset, opened.frames
    plan = planner(request.way)(dataset, frames, request, inside=not job.brief)
    if request.policy.icon is Icon.GENERATE and plan.route is not Route.SKIP:
        from dcmtx.transcoding.picture import with_icon

        plan = with_icon(plan, opened, request)
    instance = dataset.header.text(SOP_INSTANCE_UID)
    outcome = Outcome(
        job,
        Status.PLANNED,
        dataset.syntax.uid,
        syntax_out=plan.syntax.uid,
        frames=plan.source_format.frames if plan.source_format else 0,
        bytes_in=size,
        decoder=plan.decoder.backend if plan.decoder else "",
        encoder=plan.encoder.backend if plan.encoder else "",
        instance_in=instance,
        instance_out=plan.instance or instance,
    )
    notes = (*dataset.notes, *frames.notes, *dataset.header.notes, *plan.notes)
    if is_tiff(dataset.meta.preamble) and not request.policy.dataset_only:
        notes += (
            Finding(
                "N_TIFF",
                "its preamble, which is kept, made it a TIFF file too; what that says of offsets is true no longer",
                Severity.WARNING,
            ),
        )
    if plan.route is Route.SKIP:
        return outcome.replace(status=Status.SKIPPED, notes=notes, plan=plan if job.dry_run else None)
    if job.dry_run:
        check_target(job)
        if plan.exact is not None:
            notes += (
                Finding(
                    "N_MAY_BE_LOSSLESS",
                    "if that takes no more bytes, it is coded without loss, and then no loss is told of",
                ),
            )
        if not job.brief:
            from dcmtx.transcoding.announce import announced

            plan = announced(plan, dataset)
            notes += _tallied(plan)
        return outcome.replace(plan=plan, notes=tuple(dict.fromkeys(notes)))
    try:
        with sink_of(job) as sink:
            window = Window(job.workers, cores, job.memory)
            writer = Writer(dataset, frames, plan, sink, window=window, digest=job.digest, watch=watch)
            written = writer.write()
            larger = request.policy.keep_if_larger and sink.bytes >= size
            if not written.needless and not larger:
                sink.commit()
    except RefusedError as error:
        if plan.exact is None or error.code != "E_PSNR":
            raise
        written, larger = Written(needless=True), False
    if written.needless:
        return _convert_exactly(job, file, opened, request, cores, watch)
    if larger:
        kept = copy(job, file, dataset.syntax)
        return kept.replace(notes=(*kept.notes, _larger(plan.syntax, sink.bytes)), frames=outcome.frames)
    notes += (*written.notes, *_tallied(plan), *sink.notes)
    return outcome.replace(
        status=Status.CONVERTED,
        bytes_out=sink.bytes,
        ratio=written.ratio,
        psnr=written.psnr,
        digest=written.digest,
        verified=written.verified,
        digest_out=written.digest_out,
        notes=tuple(dict.fromkeys(notes)),
    )


def _tallied(plan: Plan) -> tuple[Finding, ...]:
    """Return what was counted while elements were written."""
    return tuple(note for tally in plan.tallies for note in tally.notes())


def _convert_exactly(
    job: Job, file: Reader, opened: Opened, request: Request, cores: Cores, watch: Watch | None
) -> Outcome:
    """Convert losslessly, because the requested loss saved no bytes.

    Header and frames are planned again, so that the file does not declare a loss that did not happen.
    """
    from dcmtx.codec import rate

    exact = request.replace(
        parameters=rate.without_loss(request.parameters), policy=request.policy.replace(force=True), rounds=True
    )
    outcome = _convert(job, file, opened, exact, cores, watch)
    return outcome.replace(notes=(*outcome.notes, _NEEDLESS))
