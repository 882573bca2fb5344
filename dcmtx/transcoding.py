"""Job to Outcome: the library's one verb."""

from __future__ import annotations

import os
import time
from enum import Enum

from dcmtx.codec.registry import Quality
from dcmtx.engine import read_stream
from dcmtx.errors import DcmtxError, UsageError
from dcmtx.pixel.codestream import KINDS, Codestream
from dcmtx.pixel.items import OffsetTable
from dcmtx.plan import Backend, NoPixels, Policy, Target, UnusedBits, make, resolve
from dcmtx.record import Record
from dcmtx.rules import image
from dcmtx.sink import Sink
from dcmtx.source import FileBytes, Source, open_bytes, peek
from dcmtx.syntax import Kind, Syntax, find
from dcmtx.writer import Writer


class Job(Record):
    """One file to convert. `src` and `dst` are paths, or `-`; `workers` is how many frames are coded at a time."""

    src: str
    dst: str
    target: Target
    policy: Policy = Policy()
    backend: Backend = Backend()
    quality: Quality = Quality()
    workers: int = 1


class Status(Enum):
    """What became of a job."""

    CONVERTED = "converted"
    COPIED = "copied"  # it was in the target syntax: byte for byte
    UNCHANGED = "unchanged"  # source and destination are one file, and nothing was to be done


class Outcome(Record):
    """What became of a job: syntaxes by UID, frames, bytes of both files, seconds, and notes for the user."""

    job: Job
    status: Status
    syntax_in: str
    syntax_out: str
    frames: int
    bytes_in: int
    bytes_out: int
    seconds: float
    decoder: str = ""
    encoder: str = ""
    notes: tuple[str, ...] = ()


def transcode(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    to: str,
    offset_table: str | OffsetTable = OffsetTable.AUTO,
    unused_bits: str | UnusedBits = UnusedBits.REFUSE,
    no_pixels: str | NoPixels = NoPixels.NATIVE,
    verify: bool = True,
    force: bool = False,
    clobber: bool = True,
    decoder: str | None = None,
    encoder: str | None = None,
    predictor: int | None = None,
    resolutions: int | None = None,
    workers: int | None = None,
) -> Outcome:
    """Convert the DICOM file `src` to the transfer syntax `to` and put it at `dst`, all of it or nothing.

    `to` is a family (`jpegls`), an alias (`htj2k-rpcl`), a keyword (`JPEGLSLossless`) or a UID. `src` may be `dst`.
    The other options are those of the command line, with its defaults; `workers` is the number of frames coded at
    a time, by default as many as the process may use cores.

    Raises a DcmtxError (InputError, UnsupportedError, RefusedError, CodecError, VerifyError, OutputError, or UsageError
    for options that make no sense), whose `path` is `src` or `dst`; the destination is then as it was.
    """
    try:
        policy = Policy(
            OffsetTable(offset_table), UnusedBits(unused_bits), NoPixels(no_pixels), verify=verify, force=force,
            clobber=clobber,
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(str(error)) from None
    job = Job(
        os.fspath(src), os.fspath(dst), resolve(to), policy, Backend(decoder, encoder),
        Quality(predictor, resolutions), workers or available_cores(),
    )  # fmt: skip
    return run(job)


def available_cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def run(job: Job) -> Outcome:
    """Do a job. Raises as `transcode` does."""
    started = time.perf_counter()
    try:
        file = open_bytes(job.src, _spool_directory(job))
        try:
            outcome = _run_open(job, file)
        finally:
            file.close()
    except DcmtxError as error:
        if error.path is None:
            error.path = job.src
        raise
    return outcome.replace(seconds=time.perf_counter() - started)


def _spool_directory(job: Job) -> str | None:
    """Return where streams are spooled: beside the destination, where there must be room anyway."""
    if job.dst == "-":
        return None
    directory = os.path.dirname(os.path.realpath(job.dst))
    return directory if os.path.isdir(directory) and os.access(directory, os.W_OK) else None


def _run_open(job: Job, file: FileBytes) -> Outcome:
    head = peek(file)
    syntax = find(head.syntax)
    if syntax is not None and _nothing_to_do(job, syntax):
        return _copy(job, file, syntax)
    source = Source(file, head, _spool_directory(job))
    try:
        return _convert(job, source)
    finally:
        source.close()


def _nothing_to_do(job: Job, syntax: Syntax) -> bool:
    """Tell whether the file has the target syntax already and no option changes its bytes (rule G0)."""
    if job.policy.force or job.policy.offset_table is not OffsetTable.AUTO:
        return False
    if job.target.raw:
        return syntax.kind is Kind.NATIVE and not syntax.deflated
    return syntax is job.target.syntax


def _copy(job: Job, file: FileBytes, syntax: Syntax) -> Outcome:
    """Put the same bytes at the destination."""
    status = Status.COPIED
    if _same_file(job.src, job.dst):
        status = Status.UNCHANGED
    else:
        with Sink(job.dst, clobber=job.policy.clobber) as sink:
            sink.copy(file)
            sink.commit()
    return Outcome(job, status, syntax.uid, syntax.uid, 0, file.size, file.size, 0.0)


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _convert(job: Job, source: Source) -> Outcome:
    source.close_pixels()
    stream = _first_stream(source)
    plan = make(
        source.syntax, source.header, stream, job.target.syntax, job.policy, job.backend, job.quality
    )  # fmt: skip
    if plan.coded_in is not None and source.fragments is None:
        source.map_frames(plan.coded_in)
    with Sink(job.dst, clobber=job.policy.clobber) as sink:
        Writer(source, plan, sink, job.workers).write()
        sink.commit()
    notes = dict.fromkeys([*source.notes, *source.header.notes, *plan.notes])
    return Outcome(
        job,
        Status.CONVERTED,
        source.syntax.uid,
        plan.syntax.uid,
        plan.coded_in.frames if plan.coded_in else 0,
        source.file.size,
        sink.bytes,
        0.0,
        plan.decoder.backend if plan.decoder else "",
        plan.encoder.backend if plan.encoder else "",
        tuple(notes),
    )


def _first_stream(source: Source) -> Codestream | None:
    """Map the frames of encapsulated pixels and return what the first codestream says of itself."""
    if source.fragments is None or source.syntax.kind is not Kind.FRAMES:
        return None
    fmt = image.read_format(source.header)
    image.check_format(fmt)
    source.map_frames(fmt)
    if source.syntax.family not in KINDS:
        return None
    try:
        return read_stream(source.syntax, source.frame(0), fmt)
    except DcmtxError as error:
        error.frame = 0
        raise
