"""What is asked of enhanced instances, and which sources each is made of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

from dcmtx.dataset.compose import numbers
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
    """One instance to make: its sources, and where it goes. `target` is None where the sources say the syntax."""

    paths: tuple[str, ...]
    dst: str
    series: str = ""
    number: int = 1


def grouped(paths: Sequence[str], by: GroupBy | None, errors: list[DcmtxError]) -> list[list[str]]:
    """Return the sources of each instance: those that agree in all that they must, and in what is asked for."""
    keys: dict[tuple[Any, ...], list[str]] = {}
    orientations: dict[tuple[Any, ...], list[tuple[tuple[float, ...], str]]] = {}
    for path in paths:
        try:
            header = _header(path)
        except DcmtxError as error:
            errors.append(error)
            continue
        key: tuple[Any, ...] = tuple(header.get(tag, b"") for tag in legacy.AGREE)
        if by is None:
            keys.setdefault((), []).append(path)
            continue
        key += (_criterion(header, by),)
        if by is GroupBy.ORIENTATION:
            orientations.setdefault(key, []).append((numbers(header.get(legacy.ORIENTATION)), path))
            continue
        keys.setdefault(key, []).append(path)
    for key, members in orientations.items():
        whole = [member for member in members if len(member[0]) == 6]
        for number, (_, path) in zip(stacks_of([each for each, _ in whole]), whole, strict=True):
            keys.setdefault((*key, number), []).append(path)
        for _, path in (member for member in members if len(member[0]) != 6):
            keys.setdefault((*key, 0), []).append(path)
    groups = list(keys.values())
    return [part for group in groups for part in _by_time(group)] if by is GroupBy.TIME else groups


def _criterion(header: dict[int, bytes], by: GroupBy) -> Any:
    tags = {
        GroupBy.SERIES: legacy.SERIES,
        GroupBy.TIME: legacy.SERIES,
        GroupBy.ORIENTATION: legacy.SERIES,
        GroupBy.ECHO: legacy.ECHO_TIME,
        GroupBy.TYPE: legacy.IMAGE_TYPE,
    }
    return header.get(tags[by], b""), header.get(legacy.SERIES, b"")


def _by_time(group: list[str]) -> list[list[str]]:
    try:
        planes = [plane_of(_header(path), path) for path in group]
    except DcmtxError:
        # It is refused when it is its turn.
        return [group]
    times = arrange(planes).times
    return [
        [path for path, time_rank in zip(group, times, strict=True) if time_rank == rank]
        for rank in range(1, max(times) + 1)
    ]


def _header(path: str) -> dict[int, bytes]:
    opened = open_at(path)
    try:
        return elements_of(opened)
    except DcmtxError as error:
        error.path = error.path or path
        raise
    finally:
        close(opened)


def tasks(group: list[str], dst: str, choices: Choices) -> Iterator[Task]:
    """Yield the instances of a group: several of one new series, where frames are limited."""
    if choices.max_frames is None or len(group) <= choices.max_frames:
        yield Task(tuple(group), dst, number=0)
        return
    headers = [(path, _header(path)) for path in group]
    planes = [plane_of(header, path) for path, header in headers]
    series = series_uid([instance_of(header) for _, header in headers])
    order = arrange(planes).order
    most = choices.max_frames
    for number, start in enumerate(range(0, len(order), most), 1):
        paths = tuple(group[index] for index in order[start : start + most])
        yield Task(paths, dst, series=series, number=-number)


def series_uid(instances: Sequence[str]) -> str:
    """Return the UID of the new series that is made of these instances, in whatever order they are."""
    return derived_uid("series", *sorted(instances))


def homes(folders: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Return the study, the series and the class of every instance in these directories, by SOP Instance UID."""
    homes: dict[str, tuple[str, str, str]] = {}
    for path in found_in(folders) if folders else []:
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
