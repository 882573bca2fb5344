"""Turns data set, frames and request into a Plan or a refusal, before any pixel is touched.

A plan says which backends decode and encode, what happens to each frame in between, and which elements of the data
set change. It is made from the header of the data set and the headers of the codestreams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from dcmtx.codec.table import ENCODERS
from dcmtx.dataset.edit import Set
from dcmtx.dataset.element import DOUBLE_FLOAT_PIXEL_DATA, FLOAT_PIXEL_DATA
from dcmtx.dataset.meta import SOP_INSTANCE_UID, file_meta
from dcmtx.errors import RefusedError, UnsupportedError
from dcmtx.finding import Finding, Severity
from dcmtx.pixel.format import PixelFormat
from dcmtx.planning import steps
from dcmtx.planning.carrying import carry, float_pixels, must_expand, rewrap, without_pixels
from dcmtx.planning.case import Case, look_inside
from dcmtx.planning.edits import ICON_IMAGE_SEQUENCE, check_order, check_signatures, signature_edits
from dcmtx.planning.inside import complete
from dcmtx.planning.plan import Plan
from dcmtx.planning.request import Request
from dcmtx.planning.routes import Route
from dcmtx.policy import EncodingParameters, Icon, Uid, UnusedBits
from dcmtx.rules import identity, image, objects
from dcmtx.syntax import JPEG_RECOMPRESSION, Kind, Loss, Syntax

if TYPE_CHECKING:
    from dcmtx.planning.inputs import DataSet, Frames


def make(
    dataset: DataSet,
    frames: Frames,
    request: Request,
    *,
    inside: bool = True,
    plan_case: Callable[[Case], Plan] | None = None,
) -> Plan:
    """Return the complete plan for one file; with `inside`, sequences are searched for changes too.

    `plan_case` plans for one target syntax, where that is not a plain conversion.

    It follows the decision table: the first condition that matches decides. If the target has several syntaxes, as a
    family with loss does, the first one that takes the file is used.

    Raises InputError, UnsupportedError, RefusedError or UsageError, with the codes of the table.
    """
    contents = look_inside(dataset.header, frames, request)
    plan_one = plan_case or _plan
    errors: list[RefusedError | UnsupportedError] = []
    for target in request.target.syntaxes:
        try:
            plan = plan_one(Case(dataset, frames, contents, target=target, request=request))
        except (RefusedError, UnsupportedError) as error:
            errors.append(error)
            continue
        plan = finish(plan, dataset, request)
        if inside and plan.route is not Route.SKIP:
            plan = complete(plan, dataset, request.policy.icon)
        if request.policy.edits and plan.route is not Route.SKIP:
            from dcmtx.planning.extras import extended

            plan = extended(plan, dataset, request.policy, inside=inside)
        if plan.source_format is not None:
            frames.check()
        return plan
    from dcmtx.planning.suggest import advice

    refusal = errors[-1 if dataset.header.number(image.SAMPLES_PER_PIXEL) == 1 else 0]
    refusal.advise(
        advice(
            refusal,
            dataset.syntax,
            request,
            lambda other: plan_one(Case(dataset, frames, contents, target=other.target.syntaxes[0], request=other)),
        )
    )
    raise refusal


def check_target(syntax: Syntax, quality: EncodingParameters) -> None:
    """Raise UnsupportedError or RefusedError if no file can be written in this syntax, whatever the file."""
    if syntax.loss is Loss.LOSSY and ENCODERS.rows(syntax.uid) and not quality.lossy:
        raise RefusedError(f"{syntax.name} loses information", advice="say --lossy to consent", code="E_LOSSY")
    if not ENCODERS.rows(syntax.uid):
        raise UnsupportedError(
            f"dcmtx does not write {syntax.name} ({syntax.uid})",
            advice="`dcmtx syntaxes` shows what it writes",
            code="E_UNSUPPORTED_TS",
        )


def _plan(case: Case) -> Plan:
    """Return the plan for one target syntax, or raise."""
    header, target = case.header, case.target
    objects.check_object(header)
    if not case.restores_jpeg:
        check_target(target, case.quality)
    if case.source.kind in (Kind.REFERENCE, Kind.FLOW, Kind.MESSAGE):
        raise UnsupportedError(
            f"dcmtx does not read {case.source.name} ({case.source.uid}); such files can only be copied",
            code="E_UNSUPPORTED_TS",
        )
    pixel = header.pixel
    if pixel is None:
        return without_pixels(case)
    if pixel.tag in (FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA):
        return float_pixels(case, pixel)
    if case.source is target and target.encapsulated:
        from dcmtx.planning.recoding import must_encode

        if not must_encode(case) and not _must_change(case):
            return rewrap(case)
    if case.source.kind not in (Kind.NATIVE, Kind.FRAMES):
        raise UnsupportedError(
            f"dcmtx does not decode {case.source.name} ({case.source.uid}); such files can only be copied",
            code="E_UNSUPPORTED_TS",
        )
    native = case.source.kind is Kind.NATIVE and target.kind is Kind.NATIVE
    if native and not must_expand(case) and not _must_change(case):
        return carry(case, pixel)
    # Imported late: files whose native cells are carried do not need it.
    from dcmtx.planning.recoding import recode, recompress

    if target is JPEG_RECOMPRESSION or case.restores_jpeg:
        return recompress(case)
    return recode(case)


def _must_change(case: Case) -> bool:
    """Tell whether something is asked of the pixels that they are not yet."""
    if not case.policy.changes_pixels:
        return False
    from dcmtx.planning.changes import must_change

    return must_change(case)


def finish(plan: Plan, dataset: DataSet, request: Request) -> Plan:
    """Add what does not depend on the route: SOP Instance UID, signatures, File Meta Information, and notes."""
    header = dataset.header
    notes = plan.notes
    edits = dict(plan.edits)
    instance = plan.instance
    if request.policy.uid is Uid.NEW and instance is None and plan.route is not Route.SKIP:
        old = header.text(SOP_INSTANCE_UID)
        if old:
            from dcmtx.planning.recoding import deciders

            instance = identity.derived_uid(old, plan.syntax, request.parameters, *deciders(plan))
            edits[SOP_INSTANCE_UID] = Set(SOP_INSTANCE_UID, b"UI", instance.encode("ascii"))
    signed = signature_edits(header)
    drops_icon = request.policy.icon is Icon.DROP and ICON_IMAGE_SEQUENCE in header
    makes_icon = request.policy.icon is Icon.GENERATE and header.pixel is not None
    if signed and (instance is not None or drops_icon or makes_icon):
        check_signatures(header, request.policy)
        edits |= signed
    if any(tag in edits for tag in signed):
        notes += (
            Finding(
                "N_SIGNATURES",
                "its digital signatures, which would not be valid any more, were removed",
                Severity.WARNING,
            ),
        )
    check_order(header, edits)
    notes += objects.retired(plan.syntax)
    meta = file_meta(dataset.meta, header, plan.syntax, instance)
    return plan.replace(notes=notes, edits=edits, instance=instance, file_meta=meta, steps=tuple(_steps(plan)))


def _steps(plan: Plan) -> Iterator[steps.Step]:
    """Yield the steps for every frame, from a plan that is otherwise finished."""
    source, decoded, given, target = plan.source_format, plan.decoded_format, plan.encoder_format, plan.target_format
    if plan.decoder and source and decoded:
        yield steps.Decode(plan.decoder.backend, source)
        if plan.second is not None:
            yield steps.CrossCheck(plan.second.backend)
        if decoded.photometric != source.photometric:
            yield steps.Recolour(source.photometric, decoded.photometric)
    yield from _part_steps(plan)
    if plan.unused_bits is not None:
        if decoded and plan.unused_bits is not UnusedBits.KEEP and decoded.high_bit != decoded.stored - 1:
            yield steps.LowerHighBit(decoded.high_bit, decoded.stored)
        yield steps.SettleUnused(plan.unused_bits)
    if decoded and given:
        yield from _colour_steps(plan, decoded, given)
        if given.allocated != decoded.allocated and plan.palette is None:
            yield steps.Widen(decoded.allocated, given.allocated)
    if plan.encoder and target:
        yield steps.Encode(plan.encoder.backend, target, irreversible=plan.irreversible)
    if plan.judges.judge is not None:
        yield steps.Verify(plan.judges)


def _part_steps(plan: Plan) -> Iterator[steps.Step]:
    """Yield the steps that make words of bytes, and take parts of them."""
    if plan.word_bytes:
        yield steps.SwapWords(plan.word_bytes)
    if plan.cut is not None:
        yield steps.Crop(plan.cut)
    if plan.overlays:
        yield steps.ExtractOverlays(plan.overlays)


def _colour_steps(plan: Plan, decoded: PixelFormat, given: PixelFormat) -> Iterator[steps.Step]:
    """Yield the steps that change the colours of decoded words."""
    shown = decoded.photometric
    if plan.palette is not None:
        yield steps.ApplyPalette(plan.palette.stored)
        shown = "RGB"
    if plan.inverts:
        yield steps.Invert(shown, given.photometric)
    elif given.photometric != shown:
        yield steps.Recolour(shown, given.photometric)
    if plan.shares:
        yield steps.Recolour(given.photometric, "YBR_FULL_422")
