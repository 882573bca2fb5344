"""Makes the plan of a run: files in shards of some seconds of work each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from dcmtx.cluster.entry import Entry
from dcmtx.cluster.folder import Folder
from dcmtx.cluster.run import COMPLETE, PLAN_VERSION, Plan, plan_name
from dcmtx.cluster.sources import Once, entries_below, entries_of
from dcmtx.errors import InputError, OutputError, UsageError
from dcmtx.place.places import is_remote, scheme_of

# Some 5 to 10 seconds of one core.
SHARD_BYTES = 256 << 20
SHARD_FILES = 1000
# A file of this size has a shard of its own, which takes all cores.
GIANT = 1 << 30


def make_plan(
    source: str,
    run: str,
    *,
    manifest: str | None = None,
    shard_bytes: int = SHARD_BYTES,
    shard_files: int = SHARD_FILES,
    note: Callable[[str], None] | None = None,
) -> Plan:
    """Plan a run and return what was planned. A plan that was not finished is gone on with.

    `note` is told what should be known of the list `manifest`.

    Raises OutputError, E_EXISTS, if the run has a plan, or an unfinished one of something else; InputError if there is
    nothing to plan, or it cannot be read; UsageError for a source that is one file.
    """
    if run.rstrip("/") == source.rstrip("/"):
        raise UsageError("RUN is SRC", advice="name another place for it", path=run)
    for place in (source, run):
        scheme_of(place)
    if not is_remote(source):
        # Shards are done elsewhere, from other directories.
        source = os.path.abspath(source)
    folder = Folder(run)
    folder.check()
    if folder.read(COMPLETE) is not None:
        raise OutputError("the run has a plan", advice="name another RUN", code="E_EXISTS", path=run)
    once = Once()
    found = iter(entries_below(source, run) if manifest is None else once(entries_of(manifest, source)))
    first = next(found, None)
    if first is None:
        raise InputError("there is nothing in it to plan", code="E_UNREADABLE", path=manifest or source)
    shards = files = size = 0
    giants: list[int] = []
    for shard in sharded(chain([first], found), shard_bytes, shard_files):
        _write(folder, shards, shard)
        if (shard[0].size or 0) >= GIANT:
            giants.append(shards)
        shards, files, size = shards + 1, files + len(shard), size + sum(one.size or 0 for one in shard)
    plan = Plan(source, shards, files, bytes=size, giants=tuple(giants))
    form = {"version": PLAN_VERSION} | dict(plan.items())
    if not folder.create(COMPLETE, json.dumps(form).encode() + b"\n"):
        raise OutputError("somebody else has planned it meanwhile", code="E_EXISTS", path=run)
    if once.again and note is not None:
        note(f"{once.again} of its names {'are' if once.again > 1 else 'is'} there already; each file is planned once")
    return plan


def _write(folder: Folder, number: int, shard: list[Entry]) -> None:
    data = b"".join(entry.to_line() for entry in shard)
    name = plan_name(number)
    if not folder.create(name, data) and folder.read(name) != data:
        raise OutputError(
            "it has an unfinished plan of something else", advice="name another RUN, or remove its plan/",
            code="E_EXISTS", path=folder.place_of(name),
        )  # fmt: skip


def sharded(entries: Iterable[Entry], most_bytes: int, most_files: int) -> Iterator[list[Entry]]:
    """Yield files in shards of at most so many bytes and files; a giant is alone, and so is one larger than a shard.

    >>> from dcmtx.cluster.entry import Entry
    >>> [[one.key for one in shard] for shard in sharded([Entry(key, key, size=4) for key in "abc"], 10, 9)]
    [['a', 'b'], ['c']]
    """
    shard: list[Entry] = []
    size = 0
    for entry in entries:
        length = entry.size or 0
        if length >= GIANT:
            yield [entry]
            continue
        if shard and (size + length > most_bytes or len(shard) >= most_files):
            yield shard
            shard, size = [], 0
        shard.append(entry)
        size += length
    if shard:
        yield shard
