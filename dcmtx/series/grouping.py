"""What is asked of enhanced instances, and which sources each is made of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from dcmtx.dataset.compose import numbers, text
from dcmtx.errors import DcmtxError
from dcmtx.record import Record
from dcmtx.rules import legacy
from dcmtx.rules.geometry import arrange, stacks_of
from dcmtx.series.finding import found_in
from dcmtx.series.gathering import close, elements_of, instance_of, open_at
from dcmtx.series.looking import plane_of
from dcmtx.series.references import derived_uid


class GroupBy(Enum):
    """What an instance is made of each of."""

    SERIES = "series"
    ORIENTATION = "orientation"
    TIME = "time"
    ECHO = "echo"
    TYPE = "type"


class Graphics(Enum):
    """What to do with overlays, which enhanced images do not have."""

    REFUSE = "refuse"
    KEEP = "keep"


class Choices(Record):
    """What may be asked of an enhanced instance, beside what a conversion is asked."""

    group: GroupBy | None = None
    mixed: bool = False
    study: tuple[str, ...] = ()
    overlays: Graphics = Graphics.REFUSE
    max_frames: int | None = None


class Task(Record):
    """One instance to make: its sources, and where it goes: a file, or a name of its own in a directory with `into`.

    `series` is the new Series Instance UID, empty where the sources alone decide; `number` is Instance Number in it.
    """

    paths: tuple[str, ...]
    dst: str
    series: str = ""
    number: int = 1
    into: bool = False


class Group(Record):
    """The sources of one instance. Those of one `family` were one series, and become one; `rank` sorts them in it."""

    paths: list[str]
    family: tuple[Any, ...]
    rank: Any = 0
    series: str = ""


def grouped(paths: Sequence[str], by: GroupBy | None, errors: list[DcmtxError]) -> list[Group]:
    """Return the sources of each instance: those that agree in all that they must, and in what is asked for.

    Files that cannot be read are left out, and their errors appended: any of the instances may lack them.
    """
    families: dict[tuple[Any, ...], list[tuple[Any, str]]] = {}
    instances: dict[tuple[Any, ...], list[str]] = {}
    for path in paths:
        try:
            header = _header(path)
        except DcmtxError as error:
            errors.append(error)
            continue
        family: tuple[Any, ...] = ()
        if by is not None:
            family = (*(header.get(tag, b"") for tag in legacy.AGREE), header.get(legacy.SERIES, b""))
        families.setdefault(family, []).append((_CRITERIA[by](header), path))
        instances.setdefault(family, []).append(instance_of(header))
    groups: list[Group] = []
    for family, members in families.items():
        series = series_uid(instances[family])
        ranked = _by_orientation(members) if by is GroupBy.ORIENTATION else members
        ranked = _by_time([path for _, path in members]) if by is GroupBy.TIME else ranked
        found: dict[Any, list[str]] = {}
        for rank, path in ranked:
            found.setdefault(rank, []).append(path)
        groups += [Group(found[rank], family, rank, series=series) for rank in sorted(found)]
    return groups


# What tells groups of one family apart.
_CRITERIA: dict[GroupBy | None, Callable[[Mapping[int, bytes]], Any]] = {
    None: lambda _: 0,
    GroupBy.SERIES: lambda _: 0,
    GroupBy.TIME: lambda _: 0,
    GroupBy.ORIENTATION: lambda header: numbers(header.get(legacy.ORIENTATION)),
    GroupBy.ECHO: lambda header: numbers(header.get(legacy.ECHO_TIME)),
    GroupBy.TYPE: lambda header: text(header.get(legacy.IMAGE_TYPE)),
}


def _by_orientation(members: Sequence[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Return sources with the number of their orientation; those that have none are refused when it is their turn."""
    whole = [member for member in members if len(member[0]) == 6]
    numbered = zip(stacks_of([each for each, _ in whole]), whole, strict=True)
    return [(number, path) for number, (_, path) in numbered] + [(0, path) for each, path in members if len(each) != 6]


def _by_time(group: list[str]) -> list[tuple[Any, str]]:
    """Return sources with the rank of their time."""
    try:
        planes = [plane_of(_header(path), path) for path in group]
    except DcmtxError:
        # It is refused when it is its turn.
        return [(0, path) for path in group]
    return list(zip(arrange(planes).times, group, strict=True))


def _header(path: str) -> dict[int, bytes]:
    opened = open_at(path)
    try:
        return elements_of(opened)
    except DcmtxError as error:
        error.path = error.path or path
        raise
    finally:
        close(opened)


def tasks(group: Group, dst: str, most: int | None, first: int) -> Iterator[Task]:
    """Yield the instances of a group, of `most` frames, numbered from `first`."""
    if most is None or len(group.paths) <= most:
        yield Task(tuple(group.paths), dst, series=group.series, number=first, into=True)
        return
    order = arrange([plane_of(_header(path), path) for path in group.paths]).order
    for number, start in enumerate(range(0, len(order), most), first):
        paths = tuple(group.paths[index] for index in order[start : start + most])
        yield Task(paths, dst, series=group.series, number=number, into=True)


def series_uid(instances: Sequence[str]) -> str:
    """Return the UID of the new series that is made of these instances, in whatever order they are."""
    return derived_uid("series", *sorted(instances))


def homes(folders: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Return the study, the series and the class of every instance in these directories, by SOP Instance UID."""
    homes: dict[str, tuple[str, str, str]] = {}
    for path in found_in(folders).paths:
        with contextlib.suppress(DcmtxError):
            opened = open_at(path)
            try:
                header = opened.dataset.header
                homes[header.text(legacy.SOP_INSTANCE)] = (
                    header.text(legacy.STUDY), header.text(legacy.SERIES), header.text(legacy.SOP_CLASS),
                )  # fmt: skip
            finally:
                close(opened)
    return homes
