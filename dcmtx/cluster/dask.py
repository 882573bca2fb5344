"""Dask distributed as an engine: a task for each shard, a window of them, nothing remembered by the scheduler."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from typing import Any, Self

from dcmtx.cluster.run import Run, versions
from dcmtx.cluster.totals import Figures
from dcmtx.errors import CodecError, DcmtxError, OutputError, UnsupportedError, UsageError

_SECONDS_TO_ANSWER = 30
# How often Dask itself does a shard again whose process was ended.
_RETRIES = 2
_PER_THREAD = 2
# How long it is good to know what workers there are.
_SECONDS_SEEN = 2.0
# What workers are started with where giants are to be alone: --resources slot=N.
_SLOT = "slot"


def library() -> Any:
    """Return distributed. Raises UnsupportedError where it is not installed."""
    try:
        import distributed
    except ImportError as error:
        raise UnsupportedError(
            "--cluster needs the package distributed", advice="pip install 'dcmtx[cluster]'", code="E_BACKEND"
        ) from error
    return distributed


class DaskEngine:
    """Does shards on the workers of a scheduler; `local` as address starts one here, with `workers` workers.

    A context manager. Raises OutputError, E_CLUSTER, if the scheduler cannot be reached, UsageError, E_VERSION, if
    workers have other versions.
    """

    def __init__(self, address: str, run: Run, *, code: str, workers: int, timeout: float | None = None) -> None:
        self._distributed = library()
        # Its warnings are of what is dealt with here.
        for name in [*logging.root.manager.loggerDict, "asyncio"]:
            if name.partition(".")[0] in ("distributed", "asyncio"):
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._run = run
        self._giants = frozenset(run.plan.giants)
        # Another driver of the same run has other tasks: none is cancelled by the other.
        self._token = os.urandom(4).hex()
        self._submitted = 0
        self._taken: list[int] = []
        self._seen: tuple[float, dict[str, Any]] = (0.0, {})
        self._code = code
        self._timeout = "" if timeout is None else repr(timeout)
        self._futures: dict[Any, int] = {}
        self._cluster: Any = None
        self.address = address
        try:
            self._client = self._connect(address, workers)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            self._close_cluster()
            raise OutputError(
                f"the scheduler cannot be reached: {_first_line(error)}", code="E_CLUSTER", path=address
            ) from error
        self._ready = self._distributed.as_completed(loop=self._client.loop, with_results=False)

    def _connect(self, address: str, workers: int) -> Any:
        if address == "local":
            self._cluster = self._distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=None,
                resources={_SLOT: 1}, silence_logs=50,
            )  # fmt: skip
            address = self._cluster.scheduler_address
        if address.startswith("tls:"):
            self._check_certificates()
        return self._distributed.Client(address, set_as_default=False)

    def _check_certificates(self) -> None:
        if self._distributed.Security().get_connection_args("client").get("ssl_context") is None:
            raise UsageError(
                "tls:// needs certificates", advice="name them in DASK_DISTRIBUTED__COMM__TLS__...: dcmtx-cluster(7)",
                path=self.address,
            )  # fmt: skip

    def __enter__(self) -> Self:
        """Check versions, and have workers end children with them."""
        from dcmtx.cluster.task import Ending, worker_versions

        try:
            ours = versions()
            for worker, theirs in self._client.run(worker_versions, on_error="return").items():
                if theirs != ours:
                    raise UsageError(
                        f"the worker {worker} has {_differing(ours, theirs)}", advice="install the same everywhere",
                        code="E_VERSION", path=self.address,
                    )  # fmt: skip
            self._client.register_plugin(Ending())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel what is under way, and leave the scheduler."""
        with contextlib.suppress(Exception):
            self._client.cancel(list(self._futures))
        with contextlib.suppress(Exception):
            self._client.close(timeout=5)
        self._close_cluster()

    def _close_cluster(self) -> None:
        if self._cluster is not None:
            with contextlib.suppress(Exception):
                self._cluster.close(timeout=10)

    # --- shards ------------------------------------------------------------------------------------------------

    def workers(self) -> dict[str, Any]:
        """Return what the scheduler tells of its workers, some seconds old."""
        if time.monotonic() - self._seen[0] > _SECONDS_SEEN:
            try:
                self._seen = time.monotonic(), self._client.scheduler_info(n_workers=-1)["workers"]
            except OSError as error:
                raise self._lost() from error
        return self._seen[1]

    def window(self) -> int:
        """Return how many shards may be under way: two for each thread."""
        return _PER_THREAD * sum(worker["nthreads"] for worker in self.workers().values()) or 1

    def submit(self, number: int) -> None:
        """Take a shard, which begins with the next `results`."""
        self._taken.append(number)

    def _begin(self) -> None:
        """Begin what was taken, in one message: of each the scheduler keeps a little for ever."""
        from dcmtx.cluster.task import shard_task

        taken, self._taken = self._taken, []
        for giant in (False, True):
            numbers = [number for number in taken if (number in self._giants) is giant]
            if not numbers:
                continue
            keys = [f"dcmtx-{self._token}-{number:06}-{self._submitted + at}" for at, number in enumerate(numbers)]
            self._submitted += len(numbers)
            every = (self._code, self._timeout, giant)
            futures = self._client.map(
                shard_task, [self._run.place] * len(numbers), numbers, *([one] * len(numbers) for one in every),
                key=keys, pure=False, retries=_RETRIES, resources=self._resources(giant=giant),
            )  # fmt: skip
            self._futures.update(zip(futures, numbers, strict=True))
            self._ready.update(futures)

    def _resources(self, *, giant: bool) -> dict[str, float] | None:
        """Return what a shard takes of a worker: a slot, or as many as the largest has; None if there are no slots."""
        slots = [worker.get("resources", {}).get(_SLOT, 0) for worker in self.workers().values()]
        if not slots or not max(slots):
            return None
        return {_SLOT: max(slots) if giant else 1}

    def results(self, seconds: float) -> Iterator[tuple[int, Figures | DcmtxError]]:
        """Wait up to so many seconds for a shard, and yield those that are done or were given up."""
        self._begin()
        for future in self._arrived(seconds):
            number = self._futures.pop(future)
            yield number, self._result(future, number)
            future.release()
        if self._client.status not in ("running", "newly-created"):
            raise self._lost()

    def _arrived(self, seconds: float) -> list[Any]:
        # Not its iterator, which waits without an end where the scheduler is gone.
        import queue

        try:
            found = [self._ready.queue.get(timeout=seconds)]
        except queue.Empty:
            return []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._ready.queue.get_nowait())
        return found

    def _lost(self) -> OutputError:
        return OutputError(
            "the scheduler is gone", advice="start it again, and give the same line: it goes on from what is done",
            code="E_CLUSTER", path=self.address,
        )  # fmt: skip

    def _result(self, future: Any, number: int) -> Figures | DcmtxError:
        if future.status != "finished":
            if future.status != "error":
                raise self._lost()
            error = future.exception(timeout=_SECONDS_TO_ANSWER)
            return CodecError(f"shard {number}: {_first_line(error)}", code="E_CLUSTER")
        told = future.result(timeout=_SECONDS_TO_ANSWER)
        if "error" not in told:
            return Figures(**told)
        usage = told["status"] == UsageError.status
        kind = UsageError if usage else CodecError
        return kind(told["error"].splitlines()[-1], code="E_USAGE" if usage else "E_CLUSTER", path=self._run.place)


def _first_line(error: BaseException | None) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _differing(ours: dict[str, str], theirs: Any) -> str:
    if not isinstance(theirs, dict):
        return f"no dcmtx that answers: {_first_line(theirs)}"
    names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    return ", ".join(f"{name} {theirs.get(name, 'none')}, not {ours.get(name, 'none')}" for name in names)
