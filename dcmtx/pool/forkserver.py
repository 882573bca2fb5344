"""Workers forked from a fresh interpreter: for a process that cannot be forked itself, since it has threads."""

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
    from multiprocessing.connection import Connection

# So that a directory and a socket of our own in it have names that fit 108 bytes.
_LONGEST_TEMPORARY = 60


class _Child:
    """A worker's process."""

    started = True

    def __init__(self, process: Any) -> None:
        self._process = process

    def wait(self, patience: float | None) -> int | None:
        """Wait for the end, so many seconds at most, and return the status; None while it runs."""
        self._process.join(patience)
        status: int | None = self._process.exitcode
        return status

    def send(self, number: int) -> None:
        """Send a signal."""
        if self._process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)


class ForkServer:
    """Starts workers by the server of `multiprocessing`, which is one for all of this process.

    `limit` is how many seconds it may take to start one.
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

    def start(self, pipe: Connection) -> _Child:
        """Start a worker at the other end of a pipe.

        Raises CodecError if the server takes longer than the limit, OutputError if the system does not give a process.
        """
        process = self._context.Process(target=_serve, args=(pipe, *self._work))
        # The server may hang while it loads codecs, and whoever starts a process waits for it.
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
        """Return nothing: the server has nothing to say by itself."""
        return []

    def listen(self) -> None:
        """Do nothing."""

    def abandon(self) -> None:
        """Do nothing: every worker was started."""

    def close(self) -> None:
        """Leave the server to the next pool; it ends with this process."""


def _serve(pipe: Connection, function: Callable[[Any], Any], share: Any, memory: int, modules: Sequence[str]) -> None:
    _release_server()
    worker.serve(pipe, function, share, memory, modules)


def _start_server() -> None:
    """Start the process that workers are forked from.

    Signals that are meant for all of a group, or for all that a terminal started, are left to us: it and its resource
    tracker inherit that they are blocked. Its socket is a file, whose path may be no longer than the system allows,
    whatever the directory for temporary files.
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
        # Only now: starting the tracker unblocks these two.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
        forkserver.ensure_running()
    except OSError as error:
        raise OutputError(f"workers cannot be started: {error.strerror or error}") from error
    finally:
        tempfile.tempdir = usual
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def kill_server(late: threading.Event) -> None:
    """Kill the process that workers are forked from, for it is late; whoever waits for it finds out."""
    late.set()
    from multiprocessing import forkserver

    pid = getattr(getattr(forkserver, "_forkserver", None), "_forkserver_pid", None)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _release_server() -> None:
    """Give up what a worker inherits that would keep the process alive that it was forked from."""
    forkserver: Any = sys.modules.get("multiprocessing.forkserver")
    server: Any = getattr(forkserver, "_forkserver", None)
    alive = getattr(server, "_forkserver_alive_fd", None)
    if alive is not None:
        os.close(alive)
        server._forkserver_alive_fd = None  # noqa: SLF001 - there is no other way
