"""Plans for codestreams that stay what they are, in a new wrapping, and perhaps under another name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmtx.errors import InputError, RefusedError
from dcmtx.planning.carrying import rewrap
from dcmtx.planning.case import Case, Contents
from dcmtx.planning.edits import image_edits
from dcmtx.planning.inside import complete
from dcmtx.planning.plan import Plan
from dcmtx.planning.planner import finish
from dcmtx.planning.recoding import undeclared_loss
from dcmtx.planning.request import Request
from dcmtx.policy import EncodingParameters
from dcmtx.rules import objects, photometric, relabel
from dcmtx.syntax import BY_UID, Kind, Syntax

if TYPE_CHECKING:
    from dcmtx.planning.inputs import DataSet, Frames


def make(dataset: DataSet, frames: Frames, request: Request, *, inside: bool = True) -> Plan:
    """Return the complete plan for a file whose codestreams are wrapped anew; with `inside`, for sequences too.

    The target is that of the request, or the file's own syntax where it names none.

    Raises InputError for damaged pixels; RefusedError where there are no codestreams, and where another syntax may not
    name them.
    """
    source = dataset.syntax
    target = request.target.syntaxes[0] if request.target.syntaxes else source
    _check(dataset, frames, target)
    frames.check()
    stream = frames.first_stream()
    lost = frames.find_lost(stream) if stream is not None else None
    # Nothing is encoded, so no loss is added.
    bare = request.replace(parameters=EncodingParameters())
    case = Case(dataset, frames, Contents(stream, lost, lost is not None), target=target, request=bare)
    declared = case.declared()
    plan = rewrap(case).replace(trim=True)
    if target is not source:
        if stream is None:
            raise InputError("its codestreams cannot be read", code="E_CODESTREAM")
        written = declared.replace(photometric=photometric.decoded(source, declared, stream).coded)
        photometric.check_legal(target, written)
        edits = image_edits(dataset.header, declared, written) | dict(plan.edits)
        plan = plan.replace(edits=edits, target_format=written)
    undeclared = undeclared_loss(case, declared)
    if undeclared is not None:
        plan = plan.replace(edits={**plan.edits, **undeclared.edits}, notes=plan.notes + undeclared.notes)
    plan = finish(plan, dataset, bare)
    return complete(plan, dataset, request.policy.icon) if inside else plan


def _check(dataset: DataSet, frames: Frames, target: Syntax) -> None:
    """Refuse what has no codestreams, and a syntax that holds others."""
    source = dataset.syntax
    objects.check_object(dataset.header)
    if dataset.header.pixel is None:
        raise RefusedError("it has no pixels, so there is nothing to wrap anew", code="E_NO_PIXELDATA")
    if source.kind is not Kind.FRAMES or not frames.encapsulated:
        raise RefusedError(
            f"it is {source.label}, which has no frames in fragments to wrap anew",
            advice="`dcmtx convert` changes its syntax",
            code="E_NATIVE",
        )
    if target is not source and (source.uid, target.uid) not in relabel.RELABELS:
        names = [BY_UID[uid].label for uid in relabel.targets(source)]
        raise RefusedError(
            f"codestreams of {source.label} are none of {target.label}",
            advice=f"{' or '.join(names)} may name them" if names else "use `dcmtx convert --to`",
            code="E_RELABEL",
        )
