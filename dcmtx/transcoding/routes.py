"""The work that each route does on one frame. A new route needs a class like these, and an entry in the table."""

from __future__ import annotations

from collections.abc import Callable

from dcmtx.planning.plan import Plan
from dcmtx.planning.routes import Route
from dcmtx.transcoding.engine import Work
from dcmtx.transcoding.frame import FrameCoder
from dcmtx.transcoding.frames import Frames


def _recode(plan: Plan, frames: Frames, keep_words: bool, threads: int) -> Work:
    return FrameCoder(plan, frames, keep_words=keep_words, threads=threads)


def _recompress(plan: Plan, frames: Frames, _keep_words: bool, _threads: int) -> Work:
    from dcmtx.transcoding.passing import Recompressor

    return Recompressor(plan, frames)


def _rewrap(plan: Plan, frames: Frames, _keep_words: bool, _threads: int) -> Work:
    from dcmtx.transcoding.passing import Rewrapper

    return Rewrapper(plan, frames)


# Routes that process frames one by one. The others copy pixels in bulk, or have none.
_WORK: dict[Route, Callable[[Plan, Frames, bool, int], Work]] = {
    Route.RECODE: _recode,
    Route.RECOMPRESS: _recompress,
    Route.REWRAP: _rewrap,
}


def work_of(plan: Plan, frames: Frames, *, keep_words: bool = False, threads: int = 1) -> Work:
    """Return the work that the route of a plan does on one frame.

    With `keep_words`, decoded words are kept too. `threads` is over how many one frame may be spread.
    """
    return _WORK[plan.route](plan, frames, keep_words, threads)
