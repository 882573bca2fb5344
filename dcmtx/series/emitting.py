"""Writes one frame as an image of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping

from dcmtx.dataset.compose import text
from dcmtx.errors import InputError, RefusedError
from dcmtx.finding import Finding
from dcmtx.place.places import check_free
from dcmtx.planning.request import Request, Target, Way
from dcmtx.planning.ways import planner
from dcmtx.policy import Uid
from dcmtx.record import Record
from dcmtx.rules import legacy
from dcmtx.series.dataset import dataset_of
from dcmtx.syntax import EXPLICIT, Kind
from dcmtx.transcoding.frames import Frames
from dcmtx.transcoding.job import Job, Outcome, Status
from dcmtx.transcoding.pixels import Window
from dcmtx.transcoding.running import sink_of
from dcmtx.transcoding.source import Opened
from dcmtx.transcoding.tally import Written
from dcmtx.transcoding.writer import Writer

_NEEDLESS = Finding("N_LOSSLESS", "coded without loss, so no loss is told of: loss saves no bytes")


class Frame(Record):
    """One frame: its elements, its pixels, what is to be told of it; `first` is true of the first of a source."""

    elements: Mapping[int, bytes]
    frames: Frames
    notes: tuple[Finding, ...] = ()
    first: bool = False


class Emitter:
    """Writes the frames of one source into the directory `dst`; `written` has the sources of instances by UID."""

    def __init__(
        self, opened: Opened, job: Job, dst: str, *, target: Target | None, uid: Uid, written: dict[str, str]
    ) -> None:
        self._syntax = opened.dataset.syntax
        self._size = opened.dataset.reader.size
        self._instance = opened.dataset.header.text(legacy.SOP_INSTANCE)
        self._job = job
        self._dst = dst
        self._written = written
        # UIDs of frames are given already; what is left to decide is a loss that is asked for.
        policy = job.request.policy.replace(uid=Uid.KEEP if uid is Uid.KEEP else Uid.AUTO)
        self._request = self._towards(job.request.replace(policy=policy), target)

    def _towards(self, request: Request, target: Target | None) -> Request:
        """Return the request for a target: codestreams are copied where that is none, or theirs."""
        syntax = self._syntax
        if target is None and syntax.kind is not Kind.FRAMES:
            return request.replace(target=Target(EXPLICIT.label, (EXPLICIT,)))
        mine = target is None or (target.syntaxes[0] is syntax and not request.parameters.asked())
        if mine and syntax.encapsulated and not request.policy.force:
            return request.replace(target=Target(syntax.label, (syntax,)), way=Way.REWRAP)
        return request.replace(target=target or Target(syntax.label, (syntax,)))

    def emit(self, frame: Frame) -> Outcome:
        """Write a frame, and return what became of it."""
        return self._emit(frame, self._request)

    def _emit(self, frame: Frame, request: Request) -> Outcome:
        dataset = dataset_of(frame.elements, frame.frames, self._syntax)
        plan = planner(request.way)(dataset, frame.frames, request, inside=not self._job.brief)
        instance = plan.instance or text(frame.elements.get(legacy.SOP_INSTANCE))
        here = self._job.replace(dst=self._place(instance), parents=True, request=request)
        outcome = Outcome(
            here,
            Status.PLANNED,
            self._syntax.uid,
            syntax_out=plan.syntax.uid,
            frames=1,
            bytes_in=self._size if frame.first else 0,
            decoder=plan.decoder.backend if plan.decoder else "",
            encoder=plan.encoder.backend if plan.encoder else "",
            instance_in=self._instance,
            instance_out=instance,
            notes=(*plan.notes, *frame.notes),
        )
        if self._job.dry_run:
            check_free(here.target_place, clobber=request.policy.clobber)
            return outcome.replace(plan=plan)
        with sink_of(here) as sink:
            window = Window(here.workers, lambda: here.workers, here.memory)
            written = Writer(dataset, frame.frames, plan, sink, window=window, digest=here.digest).write()
            if not written.needless:
                sink.commit()
        if written.needless:
            return self._exactly(frame, request)
        return _done(outcome, sink.bytes, written, sink.notes)

    def _exactly(self, frame: Frame, request: Request) -> Outcome:
        """Write a frame without the loss that was asked for, because it saves no bytes."""
        from dcmtx.codec import rate

        exact = request.replace(
            parameters=rate.without_loss(request.parameters), policy=request.policy.replace(force=True), rounds=True
        )
        outcome = self._emit(frame, exact)
        return outcome.replace(notes=(*outcome.notes, _NEEDLESS))

    def _place(self, instance: str) -> str:
        """Return where an instance goes. Raises RefusedError where it would replace another, or its own source."""
        path = self._job.src
        if not instance or os.path.basename(instance) != instance or instance.startswith("."):
            raise InputError(f"its SOP Instance UID is {instance[:64]!r}", code="E_INCONSISTENT")
        other = self._written.setdefault(instance, path)
        if other != path:
            raise RefusedError(
                f"a frame of it has the SOP Instance UID {instance} of one of {other}, and one of them would be lost",
                advice="split them into directories of their own",
                code="E_DUPLICATE",
            )
        place = os.path.join(self._dst, f"{instance}.dcm")
        if os.path.exists(place) and os.path.samefile(place, path):
            raise RefusedError("a frame of it would replace it", advice="name another OUTDIR", code="E_DUPLICATE")
        return place


def _done(outcome: Outcome, size: int, written: Written, notes: list[Finding]) -> Outcome:
    """Return the outcome of a frame that was written."""
    return outcome.replace(
        status=Status.CONVERTED,
        bytes_out=size,
        ratio=written.ratio,
        psnr=written.psnr,
        digest=written.digest,
        verified=written.verified,
        digest_out=written.digest_out,
        notes=tuple(dict.fromkeys((*outcome.notes, *written.notes, *notes))),
    )
