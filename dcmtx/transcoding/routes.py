"""What each route does to one frame. A new route is a class like these, and an entry in the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dcmtx.planning.plan import Plan
from dcmtx.planning.routes import Route
from dcmtx.transcoding.frame import EncodedFrame, FrameCoder, Recompressor, Rewrapper
from dcmtx.transcoding.frames import Frames


class FrameWork(Protocol):
    """What is done to a frame of the source, so that it is one of the target. Safe to call from several threads."""

    def warm(self) -> None:
        """Have every codec called once before several threads call it."""

    def __call__(self, number: int) -> EncodedFrame:
        """Return one frame (0-based) as the target holds it. Raises a DcmtxError that has its number."""


def _recode(plan: Plan, frames: Frames, keep_words: bool) -> FrameWork:
    return FrameCoder(plan, frames, keep_words=keep_words)


def _recompress(plan: Plan, frames: Frames, _keep_words: bool) -> FrameWork:
    return Recompressor(plan, frames)


def _rewrap(plan: Plan, frames: Frames, _keep_words: bool) -> FrameWork:
    return Rewrapper(plan, frames)


# Routes on which frames are looked at one by one. On the others pixels are carried in bulk, or there are none.
_WORK: dict[Route, Callable[[Plan, Frames, bool], FrameWork]] = {
    Route.RECODE: _recode,
    Route.RECOMPRESS: _recompress,
    Route.REWRAP: _rewrap,
}


def work_of(plan: Plan, frames: Frames, *, keep_words: bool = False) -> FrameWork:
    """Return what the route of a plan does to one frame; with `keep_words` what is decoded is kept beside."""
    return _WORK[plan.route](plan, frames, keep_words)
