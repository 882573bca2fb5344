"""Progress by frames, for a file that takes longer than a second."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from dcmtx.cli import bar

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
            self._bar, self._task = self._make(done, frames)
        self._bar.update(self._task, completed=done)

    def _make(self, done: int, frames: int) -> tuple[Any, Any]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("frames"), TimeRemainingColumn())
        # What libraries write to standard error of Python goes above it too.
        shown = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
        task = shown.add_task("", total=frames, completed=done)
        shown.start()
        bar.standing = shown.console
        return shown, task
