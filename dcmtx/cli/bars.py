"""Bars on a terminal for what takes long. Messages stand above the bar that there is: `dcmtx.cli.bar`."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from dcmtx.cli import bar


def start_bar(unit: str, total: int | None, done: int = 0, *fields: str) -> tuple[Any, Any]:
    """Show a bar of so many units with fields of text, and return it and its task, both rich's."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    texts = [TextColumn(f"{{task.fields[{name}]}}") for name in fields]
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit), *texts, TimeRemainingColumn())
    # What libraries write to standard error of Python goes above it too.
    shown = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
    empty: dict[str, Any] = dict.fromkeys(fields, "")
    task = shown.add_task("", total=total, completed=done, **empty)
    shown.start()
    bar.standing = shown.console
    return shown, task


class WorkBar:
    """A bar of files or shards: how many, bytes, rate, time left, failures so far. A context manager."""

    def __init__(self, unit: str, total: int | None, done: int = 0) -> None:
        self._bar, self._task = start_bar(unit, total, done, "size", "rate")
        self._started = time.perf_counter()
        self._bytes = 0
        self._failed = 0

    def __enter__(self) -> Self:
        """Return the bar."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self.stop()

    def add(self, size: int, failed: int, before: str = "") -> None:
        """Take one unit: its bytes, and its failures; `before` is text that stands before all bytes."""
        self._bytes += size
        self._failed += failed
        faults = f", [red]{self._failed} failed[/red]" if self._failed else ""
        rate = f"{self._bytes / 1e6 / max(time.perf_counter() - self._started, 1e-6):.0f} MB/s"
        self._bar.update(self._task, advance=1, size=f"{before}{self._bytes / 1e6:.0f} MB{faults}", rate=rate)

    def count(self, total: int | None) -> None:
        """Take how many units there are."""
        self._bar.update(self._task, total=total)

    def stop(self) -> None:
        """Take the bar away; a second time does nothing."""
        bar.standing = None
        self._bar.stop()
