"""Workers forked from a fresh interpreter, for a process that cannot fork safely because it has threads."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dcmtx.errors import CodecError, OutputError
from dcmtx.pool import worker

if TYPE_CHECKING:
    from dcmtx.pool.pipe import Pipe

# Leaves room for a subdirectory and a socket name within the 108 bytes of a socket path.
_LONGEST_TEMPORARY = 60


class _Child:
    """A worker's process."""

    started = True

    def __init__(self, process: Any) -> None:
        self._process = process

    def wait(self, patience: float | None) -> int | None:
        """Wait at most `patience` seconds for the process to end; return its status, or None if it still runs."""
        self._process.join(patience)
        status: int | None = self._process.exitcode
        return status

    def send(self, number: int) -> None:
        """Send a signal."""
        if self._process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)


class ForkServer:
    """Starts workers through the fork server of `multiprocessing`, of which this process has one.

    `limit` is the most seconds that starting a worker may take.
    """

    broken = False

    def __init__(
        self,
        preload: Sequence[str],
        function: Callable[[Any], Any],
        memory: int,
        modules: Sequence[str],
        *,
        limit: float | None,
    ) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        _start_server()
        self.share: Any = self._context.Value("i", 1, lock=False)
        self._work = (function, self.share, memory, modules)
        self._limit = limit

    def start(self, pipe: Pipe) -> _Child:
        """Start a worker that serves this end of a pipe.

        Raises CodecError if the server takes longer than the limit, OutputError if no process can be started.
        """
        process = self._context.Process(target=_serve, args=(pipe, *self._work))
        # The server may hang while it loads codecs, and start() waits for it.
        late = threading.Event()
        watch = None if self._limit is None else threading.Timer(self._limit, kill_server, [late])
        try:
            if watch is not None:
                watch.start()
            process.start()
        except (EOFError, OSError) as error:
            if late.is_set():
                raise CodecError(f"no worker was ready after {self._limit:g} s", code="E_TIMEOUT") from error
            raise OutputError(f"workers cannot be started: {error}") from error
        finally:
            if watch is not None:
                watch.cancel()
        return _Child(process)

    def waitables(self) -> list[Any]:
        """Return nothing: the server sends no messages of its own."""
        return []

    def listen(self) -> None:
        """Do nothing."""

    def abandon(self) -> None:
        """Do nothing: every worker has started."""

    def close(self) -> None:
        """Leave the server to the next pool; it ends with this process."""


def _serve(pipe: Pipe, function: Callable[[Any], Any], share: Any, memory: int, modules: Sequence[str]) -> None:
    _release_server()
    worker.serve(pipe, function, share, memory, modules)


def _start_server() -> None:
    """Start the process that workers are forked from.

    The server and its resource tracker inherit a signal mask that blocks signals sent to the whole process group, such
    as those of a terminal; this process handles them. The path of the server's socket has a length limit, so a long
    temporary directory is replaced by /tmp.
    """
    import tempfile
    from multiprocessing import forkserver, resource_tracker, util

    usual = tempfile.gettempdir()
    if len(os.fsencode(usual)) > _LONGEST_TEMPORARY:
        tempfile.tempdir = "/tmp"  # noqa: S108 - what is made there has a random name and is ours alone
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        util.get_temp_dir()
        resource_tracker.ensure_running()
        # Only now, because starting the tracker unblocks these two.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
        forkserver.ensure_running()
    except OSError as error:
        raise OutputError(f"workers cannot be started: {error.strerror or error}") from error
    finally:
        tempfile.tempdir = usual
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def kill_server(late: threading.Event) -> None:
    """Kill the fork server because it is late, so that the pending start fails."""
    late.set()
    from multiprocessing import forkserver

    pid = getattr(getattr(forkserver, "_forkserver", None), "_forkserver_pid", None)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _release_server() -> None:
    """Close the inherited descriptor that would keep the fork server alive."""
    forkserver: Any = sys.modules.get("multiprocessing.forkserver")
    server: Any = getattr(forkserver, "_forkserver", None)
    alive = getattr(server, "_forkserver_alive_fd", None)
    if alive is not None:
        os.close(alive)
        server._forkserver_alive_fd = None  # noqa: SLF001 - there is no other way
