"""Batches whose destination is an archive."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from dcmtx.batch import convert
from dcmtx.errors import InputError, UsageError
from dcmtx.place.archive import Scratch
from dcmtx.place.pack import Pack
from dcmtx.place.places import check_free, directory_of
from dcmtx.policy import Sync

if TYPE_CHECKING:
    from dcmtx.batch.convert import Done, Options, Stop, Task
    from dcmtx.batch.walk import Found
    from dcmtx.pool.executor import Executor


def pack(
    sources: Sequence[str], destination: str, options: Options, stop: Stop, executor: Executor[Task, Done]
) -> Generator[Done, None, None]:
    """Convert many files into the archive `destination`, and yield the result of each when it is done.

    Members are in the order of the walk, whichever is done first, so that equal sources give equal archives. Nothing is
    written before all are done, and nothing if the batch stops or makes no file.

    Raises UsageError for options that need files, OutputError if the archive cannot be written.
    """
    if options.resume or options.update_references:
        raise UsageError("--resume and --update-references need a directory, and the destination is an archive")
    policy = options.job.request.policy
    check_free(destination, clobber=policy.clobber)
    with ExitStack() as stack:
        scratch = stack.enter_context(closing(Scratch(directory_of(destination))))
        target = stack.enter_context(Pack(destination, clobber=policy.clobber, sync=policy.sync is not Sync.NONE))
        # The archive is what must last.
        request = options.job.request.replace(policy=policy.replace(sync=Sync.NONE))
        inner = options.replace(job=options.job.replace(request=request, parents=True))
        queue = _Queue(scratch.path, target)
        for done in convert.convert_below(sources, scratch.path, inner, stop, executor=executor, seen=queue.seen):
            queue.take(done)
            yield done.replace(dst=f"{destination}: {os.path.relpath(done.dst, scratch.path)}")
        if stop.requested or options.job.dry_run:
            return
        if not target.members:
            raise InputError("no file was converted, so there is nothing to pack", code="E_EMPTY", path=destination)
        target.commit()


class _Queue:
    """Packs files in the order in which they were found, and removes them."""

    def __init__(self, root: str, target: Pack) -> None:
        self._root = root
        self._target = target
        self._order: deque[str] = deque()
        self._waited_for: set[str] = set()
        self._made: dict[str, bool] = {}

    def seen(self, found: Iterator[Found]) -> Iterator[Found]:
        """Pass on what is found, and remember its order."""
        for one in found:
            if one.fault is None and not one.skip:
                self._order.append(one.dst)
                self._waited_for.add(one.dst)
            yield one

    def take(self, done: Done) -> None:
        """Account for a file that is done, and pack all that nothing before is missing of."""
        if done.dst not in self._waited_for:
            return
        self._waited_for.discard(done.dst)
        self._made[done.dst] = done.outcome is not None
        while self._order and self._order[0] in self._made:
            path = self._order.popleft()
            if self._made.pop(path) and os.path.exists(path):
                self._target.add(os.path.relpath(path, self._root).replace(os.sep, "/"), path)
                os.unlink(path)
