"""Batches whose destination is an archive."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from dcmtx.batch import convert
from dcmtx.errors import InputError, OutputError, UsageError
from dcmtx.place.pack import Pack
from dcmtx.place.places import check_free, directory_of, is_same
from dcmtx.place.scratch import Scratch
from dcmtx.policy import Sync
from dcmtx.transcoding.job import Job, Status

if TYPE_CHECKING:
    from dcmtx.batch.convert import Done, Options, Stop, Task
    from dcmtx.batch.walk import Found
    from dcmtx.pool.executor import Executor


def pack(
    sources: Sequence[str], destination: str, options: Options, stop: Stop, executor: Executor[Task, Done]
) -> Generator[Done, None, None]:
    """Convert many files into the archive `destination`, and yield the result of each.

    What fails or is skipped is yielded at once; what is in the archive, when that is in place: before, it is not done.
    Members are in the order of the walk, whichever is done first, so that equal sources give equal archives. Nothing is
    written before all are done, and nothing if the batch stops or makes no file.

    Raises UsageError for options that need files, OutputError if the archive cannot be written, or if it is a source
    some of whose files would be gone.
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
        held = stack.enter_context(closing(_Held(scratch.path)))
        replaces, left = any(is_same(source, destination) for source in sources), 0
        for done in convert.convert_below(sources, scratch.path, inner, stop, executor=executor, seen=queue.seen):
            queue.take(done)
            left += done.outcome is None or done.outcome.status is Status.SKIPPED
            told = done.replace(dst=f"{destination}: {os.path.relpath(done.dst, scratch.path)}")
            if told.outcome is None or told.outcome.status in (Status.SKIPPED, Status.PLANNED):
                yield told
            else:
                held.add(told)
        if stop.requested or options.job.dry_run:
            return
        if not target.members:
            raise InputError("no file was converted, so there is nothing to pack", code="E_EMPTY", path=destination)
        if replaces and left:
            raise OutputError(
                f"it is a source too and stays as it is: {left} of the files found would be gone",
                advice="name another DST",
                code="E_CLASH",
                path=destination,
            )
        target.commit()
        yield from held.all(options.job)


class _Held:
    """Results that are kept until the archive is in place, in a file, since there may be many."""

    def __init__(self, directory: str) -> None:
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - closed by close

    def add(self, done: Done) -> None:
        """Keep a result, without what all have."""
        assert done.outcome is not None
        pickle.dump(done.replace(outcome=done.outcome.replace(job=None)), self._file)

    def all(self, pattern: Job) -> Iterator[Done]:
        """Yield the results, in order."""
        end = self._file.tell()
        self._file.seek(0)
        while self._file.tell() < end:
            done: Done = pickle.load(self._file)  # noqa: S301 - our own
            assert done.outcome is not None
            yield done.replace(outcome=done.outcome.replace(job=pattern.replace(src=done.src, dst=done.dst)))

    def close(self) -> None:
        """Forget them."""
        self._file.close()


class _Queue:
    """Packs files in the order in which they were found, and removes them."""

    def __init__(self, root: str, target: Pack) -> None:
        self._root = root
        self._target = target
        # Source and destination: another source that would go to the same place is a fault, and no file.
        self._order: deque[tuple[str, str]] = deque()
        self._waited_for: set[tuple[str, str]] = set()
        self._made: dict[tuple[str, str], bool] = {}

    def seen(self, found: Iterator[Found]) -> Iterator[Found]:
        """Pass on what is found, and remember its order."""
        for one in found:
            if one.fault is None and not one.skip:
                self._order.append((one.src, one.dst))
                self._waited_for.add((one.src, one.dst))
            yield one

    def take(self, done: Done) -> None:
        """Account for a file that is done, and pack all that nothing before is missing of."""
        one = done.src, done.dst
        if one not in self._waited_for:
            return
        self._waited_for.discard(one)
        self._made[one] = done.outcome is not None
        while self._order and self._order[0] in self._made:
            one = self._order.popleft()
            path = one[1]
            if self._made.pop(one) and os.path.exists(path):
                self._target.add(os.path.relpath(path, self._root).replace(os.sep, "/"), path)
                os.unlink(path)
