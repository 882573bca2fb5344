"""Runs a Job and returns its Outcome; `transcode` is the library's main function."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, overload

from dcmtx.dataset.meta import peek
from dcmtx.errors import CodecError, DcmtxError, InputError, RefusedError, UnsupportedError, UsageError
from dcmtx.finding import Finding, Severity
from dcmtx.options import OPTIONS, make_policy, option_name
from dcmtx.place.bytes import Reader, is_stream
from dcmtx.place.places import (
    SourcePlace,
    TargetPlace,
    check_free,
    directory_of,
    is_same,
    name_of,
    open_reader,
    open_sink,
    path_of,
)
from dcmtx.planning.request import (
    BackendChoice,
    Request,
    Target,
    Way,
    assumed,
    check_backends,
    check_device,
    check_policy,
    memory_size,
    parameters_for,
    resolve,
)
from dcmtx.planning.site import SitePolicy
from dcmtx.policy import (
    MEMORY,
    Charset,
    Device,
    EncodingParameters,
    Icon,
    Lengths,
    NoPixels,
    OffsetTable,
    OneBit,
    Overlays,
    Removal,
    Signatures,
    Sync,
    Uid,
    UnusedBits,
    Verify,
    WordOrder,
)
from dcmtx.pool.machine import available_cores
from dcmtx.record import Record
from dcmtx.syntax import Kind, Syntax, find

if TYPE_CHECKING:
    from typing import Unpack

    from dcmtx.place.sink import Sink
    from dcmtx.planning.plan import Plan
    from dcmtx.transcoding.options import Options


class Job(Record):
    """One file to convert. `src` and `dst` are paths, or `-`; at most `workers` frames are coded at a time.

    `fallbacks` are targets to try in order when the first is refused; `dry_run` only plans; `digest` hashes the decoded
    pixels; `parents` makes missing directories; `memory` is how many bytes all frames in progress may take; `brief`
    makes a dry run omit changes inside sequences. `site` has the rules of a site; the first one that holds
    decides.

    `source` and `target` are places without a name: bytes, binary file objects, an InMemory. Then `src` and `dst` are
    only names for messages, and the job is bound to this process: it cannot be sent to another or converted to JSON.
    """

    src: str
    dst: str
    request: Request
    fallbacks: tuple[Target, ...] = ()
    workers: int = 1
    dry_run: bool = False
    digest: bool = False
    parents: bool = False
    memory: int = MEMORY
    brief: bool = False
    site: SitePolicy | None = None
    source: Any = None
    target: Any = None

    @property
    def source_place(self) -> Any:
        """The place that the file is read from, for `place.places` to open."""
        return self.src if self.source is None else self.source

    @property
    def target_place(self) -> Any:
        """The place that the file is written to, for `place.places` to open."""
        return self.dst if self.target is None else self.target

    def to_json(self) -> str:
        """Return the job as JSON for `transcoding.form.job_from_json`. Raises UsageError if a place has no name."""
        from dcmtx.transcoding.form import job_to_json

        return job_to_json(self)


class Status(Enum):
    """The result status of a job."""

    CONVERTED = "converted"
    COPIED = "copied"  # it already had the target syntax: byte for byte
    UNCHANGED = "unchanged"  # source and destination are one file, and there was nothing to do
    SKIPPED = "skipped"  # as the policy for such objects says
    PLANNED = "planned"  # a dry run


class Outcome(Record):
    """The result of a job: syntaxes by UID, frames, bytes of both files, seconds, and notes for the user.

    `decoder` and `encoder` are backends; `plan` is the plan, in a dry run; `instance_in` and `instance_out` are SOP
    Instance UIDs; `ratio` is the compression ratio of the pixels, counted from Bits Stored, if they were encoded;
    `psnr` is in decibels. `digest` is the hexadecimal SHA-256 of the source's decoded pixels, if it was requested and
    all of them were decoded: that of Pixel Data in Explicit VR Little Endian, colour by pixel, without the pad byte.
    `digest_out` is that of the destination's, which differ where chroma, overlays or unused bits were changed; None
    after loss. `rule` is the name of the rule of a site that
    decided. `verified` has the libraries that decoded what was encoded and compared it, and how many frames each.
    """

    job: Job
    status: Status
    syntax_in: str
    syntax_out: str
    frames: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    decoder: str = ""
    encoder: str = ""
    plan: Plan | None = None
    instance_in: str = ""
    instance_out: str = ""
    ratio: float | None = None
    psnr: float | None = None
    digest: str | None = None
    verified: tuple[tuple[str, int], ...] = ()
    rule: str = ""
    digest_out: str | None = None
    notes: tuple[Finding, ...] = ()


def job(
    src: SourcePlace,
    dst: TargetPlace | None = None,
    *,
    to: str,
    lossy: bool = False,
    quality: int | None = None,
    ratio: float | None = None,
    psnr: float | None = None,
    near: int | None = None,
    subsampling: str | None = None,
    predictor: int | None = None,
    resolutions: int | None = None,
    progression: str | None = None,
    tile: int | None = None,
    code_block: int | None = None,
    tile_parts: str | None = None,
    effort: int | None = None,
    uid: str | Uid = Uid.AUTO,
    offset_table: str | OffsetTable = OffsetTable.AUTO,
    fragment_size: int | None = None,
    overlays: str | Overlays = Overlays.EXTRACT,
    icon: str | Icon = Icon.FOLLOW,
    signatures: str | Signatures = Signatures.REFUSE,
    unused_bits: str | UnusedBits = UnusedBits.REFUSE,
    one_bit: str | OneBit = OneBit.REFUSE,
    word_order: str | WordOrder = WordOrder.REFUSE,
    apply_palette: bool = False,
    photometric: str | None = None,
    planar: int | None = None,
    no_pixels: str | NoPixels = NoPixels.NATIVE,
    remove: str | Removal = Removal.NONE,
    lengths: str | Lengths = Lengths.KEEP,
    charset: str | Charset = Charset.KEEP,
    dataset_only: bool = False,
    assume: str | None = None,
    ignore_errors: bool = False,
    fallback: Iterable[str] = (),
    verify: bool | str | Verify = Verify.SAMPLED,
    cross_check: bool = False,
    skip_lossy: bool = False,
    only_native: bool = False,
    keep_if_larger: bool = False,
    force: bool = False,
    clobber: bool = True,
    sync: str | Sync = Sync.BATCH,
    decoder: str | None = None,
    encoder: str | None = None,
    device: str | Device = Device.CPU,
    workers: int | None = None,
    memory: int | str | None = None,
    site: str | os.PathLike[str] | SitePolicy | None = None,
    dry_run: bool = False,
    digest: bool = False,
) -> Job:
    """Return the job that `transcode` does with these arguments; without `dst`, its target is an InMemory.

    Raises UsageError for invalid options, RefusedError for a lossy option without consent.
    """
    policy = make_policy(
        time.time(),
        offset_table=offset_table,
        fragment_size=fragment_size,
        unused_bits=unused_bits,
        no_pixels=no_pixels,
        uid=uid,
        overlays=overlays,
        icon=icon,
        signatures=signatures,
        one_bit=one_bit,
        word_order=word_order,
        apply_palette=apply_palette,
        photometric=photometric,
        planar=planar,
        remove=remove,
        lengths=lengths,
        charset=charset,
        dataset_only=dataset_only,
        assume=assume,
        ignore_errors=ignore_errors,
        verify=verify,
        cross_check=cross_check,
        skip_lossy=skip_lossy,
        only_native=only_native,
        keep_if_larger=keep_if_larger,
        force=force,
        clobber=clobber,
        sync=sync,
    )
    OPTIONS["workers"].checked(workers)
    assumed(assume)
    backend = BackendChoice(decoder, encoder, OPTIONS["device"].checked(device))
    check_backends(backend)
    coding = EncodingParameters(
        lossy,
        quality,
        ratio,
        psnr=psnr,
        near=near,
        subsampling=subsampling,
        predictor=predictor,
        resolutions=resolutions,
        progression=progression,
        tile=tile,
        code_block=code_block,
        tile_parts=tile_parts,
        effort=effort,
    )
    on_device = backend.encodes_on_device
    target = resolve(to, coding, consents=policy.photometric is not None, on_device=on_device)
    check_policy(target, policy)
    if src is None:
        raise UsageError("there is no src", advice="give a path, bytes or a binary file object")
    source, destination = path_of(src), path_of(dst)
    if destination is None and dst is src:
        raise UsageError("src and dst are one file object", advice="give another, or none for bytes")
    request = Request(target, policy, backend, parameters=coding)
    check_device(request)
    return Job(
        name_of(src) if source is None else source,
        name_of(dst) if destination is None else destination,
        request,
        fallbacks=tuple(
            _resolve_fallback(name, coding, on_device=on_device)
            for name in ([fallback] if isinstance(fallback, str) else fallback)
        ),
        workers=workers or available_cores(),
        dry_run=dry_run,
        digest=digest,
        memory=MEMORY if memory is None else memory_size(memory),
        site=_site(site),
        source=src if source is None else None,
        target=_object(dst) if destination is None else None,
    )


def _object(dst: Any) -> Any:
    """Return a destination without a path: the file object, or an InMemory if there is none."""
    if dst is not None:
        return dst
    from dcmtx.place.stream import InMemory

    return InMemory()


def _resolve_fallback(name: str, parameters: EncodingParameters, *, on_device: bool) -> Target:
    """Return a fallback target: with consent to loss if it can lose, otherwise without."""
    for attempt in (parameters, EncodingParameters(lossy=parameters.lossy)):
        try:
            return resolve(name, attempt, on_device=on_device)
        except UsageError:
            continue
    return resolve(name, EncodingParameters())


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


@overload
def transcode(src: SourcePlace, dst: None = None, *, to: str, **options: Unpack[Options]) -> bytes: ...


@overload
def transcode(src: SourcePlace, dst: TargetPlace, *, to: str, **options: Unpack[Options]) -> Outcome: ...


def transcode(
    src: SourcePlace,
    dst: TargetPlace | None = None,
    *,
    to: str,
    lossy: bool = False,
    quality: int | None = None,
    ratio: float | None = None,
    psnr: float | None = None,
    near: int | None = None,
    subsampling: str | None = None,
    predictor: int | None = None,
    resolutions: int | None = None,
    progression: str | None = None,
    tile: int | None = None,
    code_block: int | None = None,
    tile_parts: str | None = None,
    effort: int | None = None,
    uid: str | Uid = Uid.AUTO,
    offset_table: str | OffsetTable = OffsetTable.AUTO,
    fragment_size: int | None = None,
    overlays: str | Overlays = Overlays.EXTRACT,
    icon: str | Icon = Icon.FOLLOW,
    signatures: str | Signatures = Signatures.REFUSE,
    unused_bits: str | UnusedBits = UnusedBits.REFUSE,
    one_bit: str | OneBit = OneBit.REFUSE,
    word_order: str | WordOrder = WordOrder.REFUSE,
    apply_palette: bool = False,
    photometric: str | None = None,
    planar: int | None = None,
    no_pixels: str | NoPixels = NoPixels.NATIVE,
    remove: str | Removal = Removal.NONE,
    lengths: str | Lengths = Lengths.KEEP,
    charset: str | Charset = Charset.KEEP,
    dataset_only: bool = False,
    assume: str | None = None,
    ignore_errors: bool = False,
    fallback: Iterable[str] = (),
    verify: bool | str | Verify = Verify.SAMPLED,
    cross_check: bool = False,
    skip_lossy: bool = False,
    only_native: bool = False,
    keep_if_larger: bool = False,
    force: bool = False,
    clobber: bool = True,
    sync: str | Sync = Sync.BATCH,
    decoder: str | None = None,
    encoder: str | None = None,
    device: str | Device = Device.CPU,
    workers: int | None = None,
    memory: int | str | None = None,
    site: str | os.PathLike[str] | SitePolicy | None = None,
    dry_run: bool = False,
    digest: bool = False,
) -> Outcome | bytes:
    """Convert the DICOM file `src` to the transfer syntax `to` and write it to `dst`, completely or not at all.

    `src` is a path, `-` for standard input, bytes or another buffer, or a binary file object. A file object is read
    from its current position, and returned to it if it can seek. `dst` is a path, which may be that of `src`, `-` for
    standard output, or a binary file object. A file object is written from its current position, only when the file
    is complete, and is not closed. Returns the Outcome; without `dst`, the bytes of the new file.

    `to` is a family (`jpegls`), an alias (`htj2k-rpcl`), a keyword (`JPEGLSLossless`) or a UID. The other options are
    those of the command line, with the same defaults; `verify` may be True or False too. `workers` is the number of
    frames coded at a time, by default the number of cores that the process may use. `memory` limits all frames in
    progress, in bytes or as text such as "512MiB". With `dry_run`, the outcome has the plan and `dst` is not touched.

    Raises a DcmtxError (InputError, UnsupportedError, RefusedError, CodecError, VerifyError, OutputError, or UsageError
    for invalid options), whose `path` is `src` or `dst`. The destination is then unchanged, unless it is a file object
    that fails during writing.

    >>> import dcmtx
    >>> outcome = dcmtx.transcode("us-rgb-by-pixel.dcm", "us.dcm", to="jpeg", lossy=True, quality=85)
    >>> outcome.syntax_out, outcome.encoder, outcome.ratio > 1
    ('1.2.840.10008.1.2.4.50', 'imagecodecs', True)
    >>> outcome = dcmtx.transcode("us.dcm", "never.dcm", to="explicit", dry_run=True)
    >>> outcome.status.value, outcome.plan.syntax.label, outcome.plan.route.value
    ('planned', 'explicit', 'recode')
    >>> with open("ct-explicit.dcm", "rb") as file:
    ...     small = dcmtx.transcode(file, to="jpegls")
    >>> small[128:132], dcmtx.transcode(small, "raw.dcm", to="explicit").frames
    (b'DICM', 1)
    """
    if dst is None and dry_run:
        raise UsageError("a dry run returns no bytes", advice="give a dst, or ask dcmtx.plan")
    todo = job(
        src,
        dst,
        to=to,
        lossy=lossy,
        quality=quality,
        ratio=ratio,
        psnr=psnr,
        near=near,
        subsampling=subsampling,
        predictor=predictor,
        resolutions=resolutions,
        progression=progression,
        tile=tile,
        code_block=code_block,
        tile_parts=tile_parts,
        effort=effort,
        uid=uid,
        offset_table=offset_table,
        fragment_size=fragment_size,
        overlays=overlays,
        icon=icon,
        signatures=signatures,
        unused_bits=unused_bits,
        one_bit=one_bit,
        word_order=word_order,
        apply_palette=apply_palette,
        photometric=photometric,
        planar=planar,
        no_pixels=no_pixels,
        remove=remove,
        lengths=lengths,
        charset=charset,
        dataset_only=dataset_only,
        assume=assume,
        ignore_errors=ignore_errors,
        fallback=fallback,
        verify=verify,
        cross_check=cross_check,
        skip_lossy=skip_lossy,
        only_native=only_native,
        keep_if_larger=keep_if_larger,
        force=force,
        clobber=clobber,
        sync=sync,
        decoder=decoder,
        encoder=encoder,
        device=device,
        workers=workers,
        memory=memory,
        site=site,
        dry_run=dry_run,
        digest=digest,
    )
    outcome = run(todo)
    return outcome if dst is not None else _bytes(todo, outcome)


def _bytes(job: Job, outcome: Outcome) -> bytes:
    """Return the bytes that were written into memory. Raises RefusedError if the file was skipped."""
    written: bytes | None = job.target.value
    if written is None:
        raise RefusedError(outcome.notes[0].text, code="E_NO_PIXELDATA", path=job.src)
    return written


def _whole(job: Job) -> Callable[[Job, Reader, Cores, Watch | None], Outcome]:
    """Return what does the job: it decides about the file first, if there is anything to decide."""
    policy = job.request.policy
    decides = policy.skip_lossy or policy.only_native or job.request.target.smallest
    if job.site is None and not decides:
        return run_open
    from dcmtx.transcoding.choosing import chosen

    return chosen


def _site(site: str | os.PathLike[str] | SitePolicy | None) -> SitePolicy | None:
    """Return the rules of a site, read if they are named. Raises UsageError."""
    if site is None or isinstance(site, SitePolicy):
        return site
    from dcmtx.planning.site_file import read

    return read(os.fspath(site))


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
        check_free(job.target_place, clobber=job.request.policy.clobber)
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


def sink_of(job: Job) -> Sink:
    """Return the sink of a job's destination."""
    policy = job.request.policy
    return open_sink(
        job.target_place, job.dst, clobber=policy.clobber, parents=job.parents, sync=policy.sync is not Sync.NONE
    )
