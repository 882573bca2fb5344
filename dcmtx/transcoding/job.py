"""Job to Outcome: the library's one verb."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from enum import Enum
from typing import TypeVar

from dcmtx.dataset.meta import is_tiff, peek
from dcmtx.errors import CodecError, DcmtxError, InputError, RefusedError, UnsupportedError, UsageError
from dcmtx.pixel.codestream import KINDS, Codestream, inspect
from dcmtx.pixel.format import PixelFormat
from dcmtx.place.atomic import Sink, check_free
from dcmtx.place.bytes import FileBytes, open_bytes
from dcmtx.planning.plan import Contents, Plan, Route
from dcmtx.planning.planner import make
from dcmtx.planning.request import BackendChoice, Request, Target, check_backends, memory_size, quality_for, resolve
from dcmtx.policy import (
    EncodingParameters,
    Icon,
    NoPixels,
    OffsetTable,
    OneBit,
    Overlays,
    Policy,
    Signatures,
    Uid,
    UnusedBits,
    WordOrder,
    option_name,
)
from dcmtx.pool.machine import available_cores
from dcmtx.record import Record
from dcmtx.rules import image, objects
from dcmtx.rules.image import LOSSY_IMAGE_COMPRESSION
from dcmtx.syntax import Kind, Syntax, find
from dcmtx.transcoding.codestreams import read_colour, read_stream
from dcmtx.transcoding.engine import MEMORY
from dcmtx.transcoding.inside import complete
from dcmtx.transcoding.source import Source
from dcmtx.transcoding.tally import Written
from dcmtx.transcoding.writer import Writer


class Job(Record):
    """One file to convert. `src` and `dst` are paths, or `-`; `workers` is how many frames are coded at a time at most.

    `fallbacks` are targets to try in order when the first is refused; `dry_run` only plans; `digest` has the decoded
    pixels hashed; `parents` has directories made where there are none; `memory` is how many bytes frames under way may
    take together; `brief` has a dry run leave out what changes inside sequences.
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


class Status(Enum):
    """What became of a job."""

    CONVERTED = "converted"
    COPIED = "copied"  # it was in the target syntax: byte for byte
    UNCHANGED = "unchanged"  # source and destination are one file, and nothing was to be done
    SKIPPED = "skipped"  # as the policy for such objects has it
    PLANNED = "planned"  # a dry run


class Outcome(Record):
    """What became of a job: syntaxes by UID, frames, bytes of both files, seconds, and notes for the user.

    `decoder` and `encoder` are backends; `plan` is how it is done, in a dry run; `instance_in` and `instance_out` are
    SOP Instance UIDs; `ratio` is the compression ratio of the pixels, counted from Bits Stored, if they were encoded;
    `psnr` is in decibels; `digest` is the SHA-256 of the source's pixels as decoded, in hexadecimal, if it was asked
    for and they were seen: of the value that Pixel Data has in Explicit VR Little Endian, colour by pixel, without the
    pad byte.
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
    notes: tuple[str, ...] = ()


# Families whose codestreams each say of themselves whether they have lost something.
_MAY_LOSE = frozenset(["jpeg", "jpegls", "j2k", "htj2k", "jpegxl"])

_NEEDLESS = "coded without loss, so no loss is told of: loss saves no bytes, or leaves less than was asked for"

_Choice = TypeVar("_Choice", bound=Enum)


def job(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
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
    uid: str | Uid = Uid.AUTO,
    offset_table: str | OffsetTable = OffsetTable.AUTO,
    overlays: str | Overlays = Overlays.EXTRACT,
    icon: str | Icon = Icon.FOLLOW,
    signatures: str | Signatures = Signatures.REFUSE,
    unused_bits: str | UnusedBits = UnusedBits.REFUSE,
    one_bit: str | OneBit = OneBit.REFUSE,
    word_order: str | WordOrder = WordOrder.REFUSE,
    no_pixels: str | NoPixels = NoPixels.NATIVE,
    fallback: Iterable[str] = (),
    verify: bool = True,
    force: bool = False,
    clobber: bool = True,
    decoder: str | None = None,
    encoder: str | None = None,
    workers: int | None = None,
    memory: int | str | None = None,
    dry_run: bool = False,
    digest: bool = False,
) -> Job:
    """Return the job that `transcode` does with these arguments.

    Raises UsageError for options that make no sense, RefusedError for one that loses without consent.
    """
    policy = Policy(
        _choice(OffsetTable, offset_table),
        _choice(UnusedBits, unused_bits),
        _choice(NoPixels, no_pixels),
        uid=_choice(Uid, uid),
        overlays=_choice(Overlays, overlays),
        icon=_choice(Icon, icon),
        signatures=_choice(Signatures, signatures),
        one_bit=_choice(OneBit, one_bit),
        word_order=_choice(WordOrder, word_order),
        verify=verify,
        force=force,
        clobber=clobber,
        created=time.time(),
    )
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}, not 1 or more")
    check_backends(BackendChoice(decoder, encoder))
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
    )
    return Job(
        os.fspath(src),
        os.fspath(dst),
        Request(resolve(to, coding), policy, BackendChoice(decoder, encoder), quality=coding),
        fallbacks=tuple(_resolve_fallback(name, coding) for name in fallback),
        workers=workers or available_cores(),
        dry_run=dry_run,
        digest=digest,
        memory=MEMORY if memory is None else memory_size(memory),
    )


def _choice(kind: type[_Choice], value: str | _Choice) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(member.value for member in kind)
        raise UsageError(f"{value!r} is none of {names}") from None


def _resolve_fallback(name: str, quality: EncodingParameters) -> Target:
    """Return a target to fall back to: with consent to loss where it can lose, without where it cannot."""
    for attempt in (quality, EncodingParameters(lossy=quality.lossy)):
        try:
            return resolve(name, attempt)
        except UsageError:
            continue
    return resolve(name, EncodingParameters())


Cores = Callable[[], int]
Watch = Callable[[int, int], None]


def run(job: Job, cores: Cores | None = None, watch: Watch | None = None) -> Outcome:
    """Do a job. Raises as `transcode` does.

    `cores` tells at any time how many of its workers the job may use then; all of them without it. `watch` is called
    with the number of frames that are written and of those there are.
    """
    started = time.perf_counter()
    try:
        file = open_bytes(job.src, _spool_directory(job))
        try:
            outcome = _with_fallbacks(job, file, cores or (lambda: job.workers), watch)
        finally:
            file.close()
    except DcmtxError as error:
        if error.path is None:
            error.path = job.src
        raise
    except MemoryError as error:
        raise CodecError(
            "there is not enough memory for it; use fewer --workers", code="E_MEMORY", path=job.src
        ) from error
    except OSError as error:
        raise InputError(f"the system failed: {error.strerror or error}", code="E_UNREADABLE", path=job.src) from error
    return outcome.replace(seconds=time.perf_counter() - started)


def transcode(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
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
    uid: str | Uid = Uid.AUTO,
    offset_table: str | OffsetTable = OffsetTable.AUTO,
    overlays: str | Overlays = Overlays.EXTRACT,
    icon: str | Icon = Icon.FOLLOW,
    signatures: str | Signatures = Signatures.REFUSE,
    unused_bits: str | UnusedBits = UnusedBits.REFUSE,
    one_bit: str | OneBit = OneBit.REFUSE,
    word_order: str | WordOrder = WordOrder.REFUSE,
    no_pixels: str | NoPixels = NoPixels.NATIVE,
    fallback: Iterable[str] = (),
    verify: bool = True,
    force: bool = False,
    clobber: bool = True,
    decoder: str | None = None,
    encoder: str | None = None,
    workers: int | None = None,
    memory: int | str | None = None,
    dry_run: bool = False,
    digest: bool = False,
) -> Outcome:
    """Convert the DICOM file `src` to the transfer syntax `to` and put it at `dst`, whole or not.

    `to` is a family (`jpegls`), an alias (`htj2k-rpcl`), a keyword (`JPEGLSLossless`) or a UID. `src` may be `dst`.
    The other options are those of the command line, with its defaults; `workers` is the number of frames coded at
    a time, by default as many as the process may use cores; `memory` is how much frames under way may take together, in
    bytes or as text such as "512MiB". With `dry_run` the outcome has the plan and `dst` is left
    alone.

    Raises a DcmtxError (InputError, UnsupportedError, RefusedError, CodecError, VerifyError, OutputError, or UsageError
    for options that make no sense), whose `path` is `src` or `dst`; the destination is then as it was.
    """
    return run(
        job(
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
            uid=uid,
            offset_table=offset_table,
            overlays=overlays,
            icon=icon,
            signatures=signatures,
            unused_bits=unused_bits,
            one_bit=one_bit,
            word_order=word_order,
            no_pixels=no_pixels,
            fallback=fallback,
            verify=verify,
            force=force,
            clobber=clobber,
            decoder=decoder,
            encoder=encoder,
            workers=workers,
            memory=memory,
            dry_run=dry_run,
            digest=digest,
        )
    )


def _with_fallbacks(job: Job, file: FileBytes, cores: Cores, watch: Watch | None) -> Outcome:
    """Try the targets in order; only a refusal leads to the next, and every refusal is told."""
    notes: tuple[str, ...] = ()
    refused: list[str] = []
    request = job.request
    for fallback in job.fallbacks:
        try:
            outcome = _run_open(job, file, request, cores, watch)
            return outcome.replace(notes=notes + outcome.notes)
        except (RefusedError, UnsupportedError) as error:
            why = str(error).split("; use --to")[0]
            refused.append(f"refused as {request.target.label} ({why})")
        quality = quality_for(fallback, job.request.quality)
        lost = sorted(option_name(name) for name in job.request.quality.asked() - quality.asked())
        without = f" without {', '.join(lost)}, which it does not have" if lost else ""
        notes += (f"{refused[-1]}; fell back to {fallback.label}{without}",)
        request = job.request.replace(target=fallback, quality=quality)
    try:
        outcome = _run_open(job, file, request, cores, watch)
    except (RefusedError, UnsupportedError) as error:
        if refused:
            error.message = f"{'; '.join(refused)}; as {request.target.label}: {error.message}"
        raise
    return outcome.replace(notes=notes + outcome.notes)


def _spool_directory(job: Job) -> str | None:
    """Return where streams are spooled: beside the destination, where there must be room anyway."""
    if job.dst == "-" or "\0" in job.dst:
        return None
    directory = os.path.dirname(os.path.realpath(job.dst))
    return directory if os.path.isdir(directory) and os.access(directory, os.W_OK) else None


def _run_open(job: Job, file: FileBytes, request: Request, cores: Cores, watch: Watch | None) -> Outcome:
    head = peek(file)
    syntax = find(head.syntax)
    stays = syntax is not None and _nothing_to_do(request, syntax)
    untouched = syntax is not None and stays and not request.quality.lossy
    if syntax is not None and untouched and not file.streamed:
        return _copy(job, file, syntax)
    source = Source(file, head, _spool_directory(job))
    try:
        source.close_pixels()
        if file.streamed:
            _check_ended(source)
        if untouched:
            return _copy(job, file, source.syntax)
        contents = _look_inside(source, request)
        if stays and (contents.stream is None or contents.lost is not None):
            return _copy(job, file, source.syntax)
        return _convert(job, source, contents, request, cores, watch)
    finally:
        source.close()


def _check_ended(source: Source) -> None:
    """Raise InputError for what came in a stream and may be only the beginning of a file.

    A file that is odd can be looked at again. Of a stream whose writer has died nothing else is left, and who reads
    what is made of it must not take that for the whole; so less is let pass, and copies are looked at too.
    """
    if source.fragments is not None and source.fragments.unended:
        raise InputError(
            "the Sequence Delimitation Item of Pixel Data is missing at its end; it is truncated", code="E_TRUNCATED"
        )
    if source.pixel is None and objects.is_image(source.header):
        raise InputError(
            "it is an image without Pixel Data, truncated it seems; if it is meant so, give it as a file",
            code="E_NO_PIXELDATA",
        )


def _nothing_to_do(request: Request, syntax: Syntax) -> bool:
    """Tell whether the file has the target syntax already and no option changes its bytes (rule G0).

    With consent to loss that is so only if it has lost something already: consent alone asks for a lossy file, not for
    another loss. A coding parameter asks for a file that is coded by it.
    """
    policy = request.policy
    if request.quality.asked():
        return False
    if policy.force or policy.offset_table is not OffsetTable.AUTO:
        return False
    if policy.uid is Uid.NEW or policy.icon is Icon.DROP:
        return False
    if request.target.raw:
        return syntax.kind is Kind.NATIVE and not syntax.deflated
    return syntax in request.target.syntaxes


def _copy(job: Job, file: FileBytes, syntax: Syntax) -> Outcome:
    """Put the same bytes at the destination."""
    status = Status.COPIED
    notes: list[str] = []
    if job.dry_run:
        check_free(job.dst, clobber=job.request.policy.clobber)
        status = Status.PLANNED
    elif is_same_file(job.src, job.dst):
        status = Status.UNCHANGED
    else:
        with Sink(job.dst, clobber=job.request.policy.clobber, parents=job.parents) as sink:
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


def is_same_file(one: str, other: str) -> bool:
    """Tell whether two paths lead to one file."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _convert(
    job: Job, source: Source, contents: Contents, request: Request, cores: Cores, watch: Watch | None
) -> Outcome:
    plan = make(source.syntax, source.header, contents, request)
    if plan.route is not Route.SKIP and not job.brief:
        plan = complete(plan, source, request.policy.icon)
    source.word_bytes = plan.word_bytes
    if plan.source_format is not None and source.fragments is None:
        source.map_frames(plan.source_format)
    instance = source.header.text(0x00080018)
    outcome = Outcome(
        job,
        Status.PLANNED,
        source.syntax.uid,
        syntax_out=plan.syntax.uid,
        frames=plan.source_format.frames if plan.source_format else 0,
        bytes_in=source.file.size,
        decoder=plan.decoder.backend if plan.decoder else "",
        encoder=plan.encoder.backend if plan.encoder else "",
        instance_in=instance,
        instance_out=plan.instance or instance,
    )
    notes = (*source.notes, *source.header.notes, *plan.notes)
    if is_tiff(source.head.preamble):
        notes += ("its preamble, which is kept, made it a TIFF file too; what that says of offsets is true no longer",)
    if plan.route is Route.SKIP:
        return outcome.replace(status=Status.SKIPPED, notes=notes, plan=plan if job.dry_run else None)
    if job.dry_run:
        check_free(job.dst, clobber=request.policy.clobber)
        if plan.exact is not None:
            notes += ("if that takes no more bytes, it is coded without loss, and then no loss is told of",)
        if not job.brief:
            from dcmtx.transcoding.announce import announced

            plan = announced(plan, source)
        return outcome.replace(plan=plan, notes=tuple(dict.fromkeys(notes)))
    try:
        with Sink(job.dst, clobber=request.policy.clobber, parents=job.parents) as sink:
            writer = Writer(source, plan, sink, job.workers, cores, memory=job.memory, digest=job.digest, watch=watch)
            written = writer.write()
            if not written.needless:
                sink.commit()
    except RefusedError as error:
        if plan.exact is None or error.code != "E_PSNR":
            raise
        written = Written(needless=True)
    if written.needless:
        return _convert_exactly(job, source, contents, request, cores, watch)
    notes += (*written.notes, *sink.notes)
    return outcome.replace(
        status=Status.CONVERTED,
        bytes_out=sink.bytes,
        ratio=written.ratio,
        psnr=written.psnr,
        digest=written.digest,
        notes=tuple(dict.fromkeys(notes)),
    )


def _convert_exactly(
    job: Job, source: Source, contents: Contents, request: Request, cores: Cores, watch: Watch | None
) -> Outcome:
    """Convert without the loss that was asked for and saved no bytes.

    Header and frames are made once more, so that nothing in the file tells of a loss that there was not.
    """
    from dcmtx.codec import rate

    exact = request.replace(quality=rate.without_loss(request.quality), policy=request.policy.replace(force=True))
    outcome = _convert(job, source, contents, exact, cores, watch)
    return outcome.replace(notes=(*outcome.notes, _NEEDLESS))


def _look_inside(source: Source, request: Request) -> Contents:
    """Map the frames of encapsulated pixels and return what the codestreams say of themselves."""
    fragments = source.fragments
    if fragments is None or source.syntax.kind is not Kind.FRAMES:
        return Contents()
    fmt = image.read_format(source.header)
    image.check_format(fmt)
    source.map_frames(fmt)
    if fragments.unended:
        _check_last(source, fmt)
    coded_bytes = sum(fragments.lengths)
    if source.syntax.family not in KINDS:
        return Contents(None, coded_bytes)
    try:
        stream = read_colour(source.syntax, source.frame(0), fmt)
    except DcmtxError as error:
        error.frame = 0
        raise
    told = source.header.text(LOSSY_IMAGE_COMPRESSION) == "01" and not request.quality.lossy
    lost = None if told and stream.reversible else _first_lost(source, stream, fmt)
    return Contents(stream, coded_bytes, lost)


def _first_lost(source: Source, stream: Codestream, fmt: PixelFormat) -> Codestream | None:
    """Return the header of the first codestream that has lost something; `stream` is that of the first frame.

    One frame that has is enough (PS3.3 C.7.6.1.1.5). What is wrong with others is found when they are decoded.
    """
    if not stream.reversible:
        return stream
    if source.syntax.family not in _MAY_LOSE:
        return None
    for number in range(1, fmt.frames):
        for data in (source.opening(number), source.frame(number)):
            try:
                found = inspect(source.syntax.family, data)
            except InputError:
                continue
            if not found.reversible:
                return found
            break
    return None


def _check_last(source: Source, fmt: PixelFormat) -> None:
    """Raise InputError unless the last frame is whole: no item says that no fragment of it is missing."""
    last = fmt.frames - 1
    try:
        if source.syntax.family in KINDS:
            read_stream(source.syntax, source.frame(last), fmt)
        elif source.fragments is not None and len(source.fragments.values) > fmt.frames:
            raise InputError(
                "the file ends without a Sequence Delimitation Item, and its frames have several fragments; the file "
                "is truncated",
                code="E_TRUNCATED",
            )
    except DcmtxError as error:
        error.frame = last
        raise
