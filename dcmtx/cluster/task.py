"""What a worker of Dask is asked to do. It is sent by name: workers have the same dcmtx."""

from __future__ import annotations

import sys
from typing import Any

from distributed import WorkerPlugin, get_worker

from dcmtx.cluster.child import end_children, run_shard
from dcmtx.cluster.run import versions


def shard_task(run: str, number: int, code: str, timeout: str, giant: bool) -> dict[str, Any]:
    """Do a shard in a child, and return its figures, or what was wrong. A giant takes all threads of the worker."""
    workers = get_worker().state.nthreads if giant else 1
    return run_shard([sys.executable, "-c", code, run, str(number), str(workers), timeout])


def worker_versions() -> dict[str, str]:
    """Return the versions of dcmtx and its codecs where this runs."""
    return versions()


class Ending(WorkerPlugin):
    """Ends the children of a worker with it: a thread that waits for one cannot be cancelled."""

    name = "dcmtx-children"

    def teardown(self, worker: Any) -> None:  # noqa: ARG002
        """End the children."""
        end_children()
