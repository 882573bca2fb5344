"""Puts the sources of an instance in order, and says what readers will make of their geometry."""

from __future__ import annotations

from typing import Any

from dcmtx.errors import RefusedError
from dcmtx.finding import Finding, Severity
from dcmtx.rules.geometry import Arrangement, Planes, arrange
from dcmtx.series.gathering import Gathered
from dcmtx.series.looking import plane_of
from dcmtx.series.sources import Sources


def arranged(gathered: Gathered, *, mixed: bool) -> Arrangement:
    """Return the order of the frames. Raises RefusedError for orientations or places that are mixed up."""
    sources = gathered.sources

    def planes_of(*, timed: bool) -> Planes:
        found = (plane_of(gathered.header(index), source.path) for index, source in enumerate(sources))
        return Planes(found if timed else (plane.replace(moment=()) for plane in found))

    planes = planes_of(timed=False)
    arrangement = arrange(planes)
    if arrangement.temporal:
        planes = planes_of(timed=True)
        arrangement = arrange(planes)
    if arrangement.several_stacks and not mixed:
        count = max(arrangement.stacks)
        odd = next(source.path for source, stack in zip(sources, arrangement.stacks, strict=True) if stack != 1)
        raise RefusedError(
            f"the planes have {count} orientations; {odd} is not parallel to others",
            advice="use --group orientation, or --mixed for a stack of each in one instance",
            code="E_MIXED",
            path=odd,
        )
    _check_places(sources, planes, arrangement)
    return arrangement


def _check_places(sources: Sources, planes: Planes, arrangement: Arrangement) -> None:
    """Raise RefusedError, E_DUPLICATE, where one place is taken twice at the same time, unless volumes are numbered."""
    if not arrangement.temporal or arrangement.numbered:
        return
    seen: dict[tuple[Any, ...], str] = {}
    for source, plane, stack, place in zip(sources, planes, arrangement.stacks, arrangement.places, strict=True):
        key = (stack, place, plane.moment)
        if key in seen:
            raise RefusedError(
                f"it lies where {seen[key]} lies, at the same time and echo",
                advice="leave one of them out, or use --group type",
                code="E_DUPLICATE",
                path=source.path,
            )
        seen[key] = source.path


def told(arrangement: Arrangement) -> list[Finding]:
    """Return notes on what readers will make of the geometry."""
    notes = []
    if arrangement.gaps:
        notes.append(Finding("N_GAPS", "the planes are not evenly spaced, so no volume is told of", Severity.WARNING))
    if arrangement.sheared:
        notes.append(Finding("N_SHEARED", "the gantry was tilted, so the planes are no volume", Severity.WARNING))
    if arrangement.temporal:
        notes.append(
            Finding(
                "N_TIMES",
                "places have several times, which many readers mix up; --group time makes an instance of each",
                Severity.WARNING,
            )
        )
    return notes
