"""References among the files of a batch follow the new SOP Instance UIDs, when all files are done.

Only then is it known which instances were made, and with which UID: a file may fail, or be coded without loss and keep
its UID. So no reference ever names an instance that was not made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dcmtx.errors import DcmtxError
from dcmtx.transcoding.job import Outcome, Status

if TYPE_CHECKING:
    from dcmtx.batch.convert import Done, Options, Stop

_MADE = frozenset([Status.CONVERTED, Status.COPIED, Status.UNCHANGED])


class Renamed:
    """The new UIDs of instances by their old ones. One that became two is none: its references stay."""

    def __init__(self) -> None:
        self._new: dict[str, str] = {}

    def add(self, old: str, new: str) -> None:
        """Add an instance that was made, also one that kept its UID."""
        if old and new and self._new.setdefault(old, new) != new:
            self._new[old] = old

    def changed(self) -> dict[str, str]:
        """Return those that changed."""
        return {old: new for old, new in self._new.items() if new != old}


def followed(results: Iterator[Done], options: Options, stop: Stop) -> Iterator[Done]:
    """Yield the results of a batch, and then one for each file whose references were updated or could not be.

    A batch that stops early updates none: with `resume`, the next one does.
    """
    renamed, places = Renamed(), []
    for done in results:
        yield done
        found = _instances(done)
        if found is not None:
            renamed.add(*found)
            places.append((done.src, done.dst))
    changed = renamed.changed()
    if not changed:
        return
    for src, dst in places:
        if stop.requested:
            return
        result = _update(src, dst, changed, options)
        if result is None:
            continue
        yield result
        if result.error is not None and (options.fail_fast or result.error.code == "E_DISK_FULL"):
            return


def _instances(done: Done) -> tuple[str, str] | None:
    """Return the SOP Instance UIDs of a file that was made, old and new; None if none was made."""
    if done.outcome is not None:
        return _uids(done.outcome)
    return (done.instances[0], done.instances[1]) if done.instances else None


def _uids(outcome: Outcome) -> tuple[str, str] | None:
    """Return the UIDs of an outcome. A copy tells none: it kept its own, which nothing has to follow."""
    if outcome.status not in _MADE:
        return None
    return outcome.instance_in, outcome.instance_out


def _update(src: str, dst: str, changed: dict[str, str], options: Options) -> Done | None:
    from dcmtx.batch.convert import Done
    from dcmtx.transcoding.references import update

    try:
        count, size = update(dst, changed, options.job.request.policy)
    except DcmtxError as error:
        error.what = f"its references could not be updated: {error.what}"
        error.path = error.path or dst
        return Done(src, dst, error=error)
    if not count:
        return None
    return Done(src, dst, references=count, size=size)
