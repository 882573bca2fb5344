"""Makes Legacy Converted Enhanced instances of classic series: finds, groups, gathers, plans, writes."""

from __future__ import annotations

import filecmp
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

from dcmtx.dataset.edit import Reserve, Set
from dcmtx.dataset.header import Header
from dcmtx.errors import DcmtxError, InputError, RefusedError, UsageError
from dcmtx.finding import Finding
from dcmtx.pixel.format import PixelFormat
from dcmtx.place.places import check_free, directory_of
from dcmtx.planning.request import Request, Target, Way
from dcmtx.planning.ways import planner
from dcmtx.rules import image, legacy
from dcmtx.series.agreement import check_agreement, check_contents, check_pixels, kind_of
from dcmtx.series.arranging import arranged, told
from dcmtx.series.building import Builder
from dcmtx.series.dataset import SpooledDataSet
from dcmtx.series.digests import digest
from dcmtx.series.finding import found_in, noted
from dcmtx.series.gathering import Gathered, close, described, elements_of, open_at
from dcmtx.series.grouping import Choices, Graphics, Task, grouped, homes, series_uid, tasks
from dcmtx.series.looking import Facts, Homes
from dcmtx.series.pixels import SeriesFrames
from dcmtx.series.references import derived_uid
from dcmtx.series.writing import SeriesWriter
from dcmtx.syntax import BY_UID, EXPLICIT, EXPLICIT_LITTLE, Kind, Loss, Syntax
from dcmtx.transcoding.job import Job, Outcome, Status
from dcmtx.transcoding.pixels import Window
from dcmtx.transcoding.running import Watch, sink_of

_LONGEST = 0xFFFFFFFE
_NEEDLESS = Finding("N_LOSSLESS", "coded without loss, so no loss is told of: loss saves no bytes")


def enhance(
    sources: Sequence[str], dst: str, job: Job, choices: Choices, *, target: Target | None, watch: Watch | None = None
) -> Iterator[Outcome | DcmtxError]:
    """Make the instances of the sources, one after the other; yield what became of each.

    `job` has the request and the limits. Without groups, there is one instance, and its errors are raised. No instance
    is made where a source cannot be read, which any of them may lack.
    """
    found = found_in(sources, without=dst)
    paths = found.paths
    if choices.group is None and choices.max_frames is None:
        _check_replaced(dst, paths)
        known = homes(choices.study)
        yield noted(_make(Task(tuple(paths), dst), job, choices, target=target, homes=known, watch=watch), found.notes)
        return
    if os.path.exists(dst) and not os.path.isdir(dst):
        raise UsageError(f"{dst} is a file, and several instances go into a directory")
    errors: list[DcmtxError] = []
    groups = grouped(paths, choices.group, errors)
    if errors:
        yield from errors
        return
    known = homes(choices.study)
    numbers: dict[tuple[Any, ...], int] = {}
    notes = found.notes
    for group in groups:
        try:
            for task in tasks(group, dst, choices.max_frames, numbers.get(group.family, 0) + 1):
                numbers[group.family] = task.number
                yield noted(_make(task, job, choices, target=target, homes=known, watch=watch), notes)
                notes = ()
        except DcmtxError as error:
            error.path = error.path or group.paths[0]
            yield error


def _check_replaced(dst: str, paths: Sequence[str]) -> None:
    """Raise UsageError for a destination that is a source, or another image that OUT may have been forgotten behind."""
    if not os.path.isfile(dst):
        return
    if any(os.path.samefile(dst, path) for path in paths if os.path.exists(path)):
        raise UsageError(f"{dst} is a source too", advice="name another OUT")
    try:
        opened = open_at(dst)
    except DcmtxError:
        return
    try:
        is_image = opened.dataset.header.text(legacy.SOP_CLASS) in legacy.KINDS
    finally:
        close(opened)
    if is_image:
        raise UsageError(
            f"the last name is OUT, and {dst} is an image that is there already",
            advice="name another OUT, or remove that image first",
        )


# --- one instance --------------------------------------------------------------------------------------------------


def _make(
    task: Task, job: Job, choices: Choices, *, target: Target | None, homes: Homes, watch: Watch | None
) -> Outcome:
    started = time.perf_counter()
    spool_in = directory_of(task.dst) if not os.path.isdir(task.dst) and not task.into else None
    gathered = Gathered(spool_in)
    try:
        notes = _gather(gathered, task.paths)
        prepared = _Instance(gathered, task, job, choices, homes=homes, notes=notes)
        try:
            outcome = prepared.run(target, watch)
        finally:
            prepared.close()
    except DcmtxError as error:
        error.path = error.path or task.paths[0]
        raise
    except OSError as error:
        raise InputError(f"the system failed: {error.strerror or error}", code="E_UNREADABLE") from error
    finally:
        gathered.close()
    return outcome.replace(seconds=time.perf_counter() - started)


def _gather(gathered: Gathered, paths: Sequence[str]) -> list[Finding]:
    """Read the headers. A file that is there twice is taken once; two files of one instance that differ are refused."""
    dropped = 0
    for path in paths:
        opened = open_at(path)
        try:
            source = described(path, opened, opened.dataset.reader.size)
            there = gathered.sources.find(source.instance)
            if there is not None:
                if not filecmp.cmp(there, path, shallow=False):
                    raise RefusedError(
                        f"it has the SOP Instance UID of {there}, and other contents",
                        code="E_DUPLICATE",
                        path=path,
                    )
                dropped += 1
                continue
            if not source.instance:
                raise InputError("it has no SOP Instance UID", code="E_INCONSISTENT", path=path)
            gathered.add(source, elements_of(opened))
        except DcmtxError as error:
            error.path = error.path or path
            raise
        finally:
            close(opened)
    gathered.finish()
    if not len(gathered.sources):
        raise InputError("there is no image in it", code="E_NOT_DICOM")
    twice = "1 file that is" if dropped == 1 else f"{dropped} files that are"
    text_of = f"left out {twice} there twice, byte for byte"
    return [Finding("N_TWICE", text_of)] if dropped else []


class _Instance:
    """One instance on its way: checked, arranged, built, planned and written."""

    def __init__(
        self, gathered: Gathered, task: Task, job: Job, choices: Choices, *, homes: Homes, notes: list[Finding]
    ) -> None:
        check_agreement(gathered)
        kind = kind_of(gathered)
        stored = check_pixels(gathered, kind)
        gathered.sources.target = stored
        notes = notes + check_contents(gathered, keep_overlays=choices.overlays is Graphics.KEEP)
        arrangement = arranged(gathered, mixed=choices.mixed)
        instances = [source.instance for source in gathered.sources]
        instance = derived_uid("instance", *sorted(instances))
        self._facts = Facts(
            kind,
            stored,
            arrangement,
            instance=instance,
            series=task.series or series_uid(instances),
            homes=homes,
            created=time.strftime("%Y%m%d%H%M%S", time.localtime(job.request.policy.created or time.time())),
            number=task.number,
        )
        self._gathered = gathered
        into = task.into or os.path.isdir(task.dst)
        self._job = job.replace(
            src=task.paths[0] if len(task.paths) == 1 else os.path.dirname(task.paths[0]) or task.paths[0],
            dst=os.path.join(task.dst, f"{instance}.dcm") if into else task.dst,
            parents=into or job.parents,
        )
        builder = Builder(gathered, self._facts)
        self._order = arrangement.order
        self._reader = builder.write(None)
        self._notes = [*notes, *told(arrangement), *builder.notes]
        self._digests = bytearray(legacy.DIGEST_BYTES * len(self._order))

    def close(self) -> None:
        """Remove the temporary file."""
        self._reader.close()

    def run(self, target: Target | None, watch: Watch | None) -> Outcome:
        """Plan and write the instance."""
        syntax = self._common_syntax()
        request = self._job.request
        wanted = target or Target(syntax.label, (syntax,))
        coded: Syntax | None = None
        if syntax.encapsulated and wanted.syntaxes[0] is syntax and not request.parameters.asked():
            coded = None if self._gathered.sources.any_raised or request.policy.force else syntax
        if target is None and coded is None and syntax.loss is not Loss.LOSSLESS:
            # What is decoded of a lossy syntax is not coded in it again unless that is asked for.
            wanted = Target("explicit", (EXPLICIT,))
        request = request.replace(target=wanted, way=Way.CONVERT if coded is None else Way.REWRAP)
        return self._written(request, coded, watch)

    def _common_syntax(self) -> Syntax:
        """Return the syntax of all sources, or Explicit VR Little Endian where they have several, or another native."""
        found = self._gathered.sources.syntaxes
        syntax = BY_UID[next(iter(found))]
        return syntax if len(found) == 1 and syntax.kind is Kind.FRAMES else EXPLICIT

    def _format(self) -> PixelFormat:
        return image.read_format(self._dataset(EXPLICIT, None).header)

    def _dataset(self, syntax: Syntax, frames: SeriesFrames | None) -> SpooledDataSet:
        header = Header(self._reader, 0, EXPLICIT_LITTLE)
        if frames is not None:
            header.pixel = frames.pixel
        return SpooledDataSet(header, syntax)

    def _written(self, request: Request, coded: Syntax | None, watch: Watch | None) -> Outcome:
        sources = self._gathered.sources
        fmt = self._format()
        frames = SeriesFrames(sources, self._order, fmt, reader=self._reader, coded=coded, seen=self._seen)
        if not request.target.syntaxes[0].encapsulated and fmt.native_bytes > _LONGEST:
            most = _LONGEST // fmt.frame_bytes
            raise RefusedError(
                f"{fmt.frames} frames take {fmt.native_bytes} bytes, more than native Pixel Data can have",
                advice=f"use --max-frames {most}, or --to a syntax with fragments",
                code="E_SIZE",
            )
        dataset = self._dataset(coded or EXPLICIT, frames)
        # There are neither group lengths nor compressed icons inside: `elements_of` saw to that.
        plan = planner(request.way)(dataset, frames, request, inside=False)
        if plan.syntax.deflated:
            for number in range(len(frames)):
                frames.frame(number)
            slot: Any = Set(legacy.DIGESTS, b"OB", bytes(self._digests))
        else:
            slot = Reserve(legacy.DIGESTS, b"OB", legacy.DIGEST_BYTES * len(frames), key="digests")
        plan = plan.replace(edits={**plan.edits, legacy.DIGESTS: slot})
        syntaxes = sorted(sources.syntaxes)
        outcome = Outcome(
            self._job.replace(request=request),
            Status.PLANNED,
            syntaxes[0],
            syntax_out=plan.syntax.uid,
            frames=fmt.frames,
            bytes_in=sources.size,
            decoder=plan.decoder.backend if plan.decoder else "",
            encoder=plan.encoder.backend if plan.encoder else "",
            instance_in=sources[0].instance if len(sources) == 1 else "",
            instance_out=plan.instance or self._facts.instance,
        )
        notes = (*self._notes, *plan.notes)
        if self._job.dry_run:
            check_free(self._job.target_place, clobber=request.policy.clobber)
            return outcome.replace(plan=plan, notes=tuple(dict.fromkeys(notes)))
        with sink_of(self._job) as sink:
            window = Window(self._job.workers, lambda: self._job.workers, self._job.memory)
            writer = SeriesWriter(dataset, frames, plan, sink, window=window, digest=self._job.digest, watch=watch)  # type: ignore[arg-type]
            written = writer.write()
            if not written.needless:
                writer.fill("digests", bytes(self._digests))
                sink.commit()
        if written.needless:
            from dcmtx.codec import rate

            exact = request.replace(
                parameters=rate.without_loss(request.parameters), policy=request.policy.replace(force=True), rounds=True
            )
            again = self._written(exact, coded, watch)
            return again.replace(notes=(*again.notes, _NEEDLESS))
        return outcome.replace(
            status=Status.CONVERTED,
            bytes_out=sink.bytes,
            ratio=written.ratio,
            psnr=written.psnr,
            digest=written.digest,
            verified=written.verified,
            digest_out=written.digest_out,
            notes=tuple(dict.fromkeys((*notes, *written.notes, *sink.notes))),
        )

    def _seen(self, number: int, cells: bytes) -> None:
        """Take the digest of a source; its unused bits must be zeros or copies of the sign when Bits Stored rises."""
        source = self._gathered.sources[self._order[number]]
        header = self._gathered.header(self._order[number])
        if source.raised:
            from dcmtx.series.bits import check_unused

            check_unused(cells, header, source.path)
        flag = b"\1" if source.vr == b"OW" else b"\0"
        start = number * legacy.DIGEST_BYTES
        self._digests[start : start + legacy.DIGEST_BYTES] = flag + digest(header, source.vr, cells)
