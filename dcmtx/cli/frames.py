"""Progress by frames, for a file that takes longer than a second."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dcmtx.cli import bar

if TYPE_CHECKING:
    from dcmtx.cli.progress import JsonFrames

_PATIENCE = 1.0
_INTERVAL = 0.1


class FrameProgress:
    """A progress bar on a terminal that appears when somebody may have begun to wonder."""

    def __init__(self, *, quiet: bool) -> None:
        self._watched = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._started = self._shown = time.perf_counter()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        """Start the clock."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        bar.standing = None
        if self._bar is not None:
            self._bar.stop()

    def advance(self, done: int, frames: int) -> None:
        """Tell how many frames are written."""
        now = time.perf_counter()
        if not self._watched or now - self._started < _PATIENCE or now - self._shown < _INTERVAL:
            return
        self._shown = now
        if self._bar is None:
            from dcmtx.cli.bars import start_bar

            self._bar, self._task = start_bar("frames", frames, done)
        self._bar.update(self._task, completed=done)


def watch_frames(path: str, *, quiet: bool, as_lines: bool) -> FrameProgress | JsonFrames:
    """Return who watches the frames of a file: a bar, or lines for programs."""
    if not as_lines:
        return FrameProgress(quiet=quiet)
    from dcmtx.cli.progress import JsonFrames

    return JsonFrames(path)
