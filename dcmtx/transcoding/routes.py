"""What each route does to one frame. A new route is a class like these, and an entry in the table."""

from __future__ import annotations

from collections.abc import Callable

from dcmtx.planning.plan import Plan
from dcmtx.planning.routes import Route
from dcmtx.transcoding.engine import Work
from dcmtx.transcoding.frame import FrameCoder, Recompressor, Rewrapper
from dcmtx.transcoding.frames import Frames


def _recode(plan: Plan, frames: Frames, keep_words: bool) -> Work:
    return FrameCoder(plan, frames, keep_words=keep_words)


def _recompress(plan: Plan, frames: Frames, _keep_words: bool) -> Work:
    return Recompressor(plan, frames)


def _rewrap(plan: Plan, frames: Frames, _keep_words: bool) -> Work:
    return Rewrapper(plan, frames)


# Routes on which frames are looked at one by one. On the others pixels are carried in bulk, or there are none.
_WORK: dict[Route, Callable[[Plan, Frames, bool], Work]] = {
    Route.RECODE: _recode,
    Route.RECOMPRESS: _recompress,
    Route.REWRAP: _rewrap,
}


def work_of(plan: Plan, frames: Frames, *, keep_words: bool = False) -> Work:
    """Return what the route of a plan does to one frame; with `keep_words` what is decoded is kept beside."""
    return _WORK[plan.route](plan, frames, keep_words)
