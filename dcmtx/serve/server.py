"""The server: one thread that accepts clients, forks a process for each job, and reaps it."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from dcmtx._version import __version__
from dcmtx.errors import ExitStatus
from dcmtx.serve.client import view
from dcmtx.serve.credentials import peer, rights
from dcmtx.serve.job import Job, perform
from dcmtx.serve.listen import Listener
from dcmtx.serve.log import Log, own_memory

# Limits for a client's greeting, in seconds and in bytes.
_PATIENCE = 10.0
_LONGEST_GREETING = 200
# Most accepted clients that wait for their turn. More wait in the system's backlog.
_MOST_WAITING = 256
_BREATH = 0.05
_DECLINED = b"-"
# How much of a job's arguments is logged: writes to a pipe are atomic up to 4096 bytes.
_LONGEST_ARGUMENTS = 1000
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class _Client:
    """An accepted client: what it has sent so far, and the deadline for its greeting."""

    def __init__(self, connection: socket.socket, pid: int, group: int) -> None:
        self.connection = connection
        self.pid = pid
        self.group = group
        self.heard = b""
        self.deadline = time.monotonic() + _PATIENCE
        self.waits = False


class _Running:
    """A job whose process runs. Keeps the connection to send the status if the process does not."""

    def __init__(self, number: int, client: _Client) -> None:
        self.number = number
        self.client = client
        self.started = time.monotonic()
        self.arguments = ""


class Server:
    """Serves jobs on a socket. `command` runs the command line in `sys.argv`; at most `jobs` run at a time."""

    def __init__(self, listener: Listener, command: Callable[[], object], jobs: int, log: Log) -> None:
        self._listener = listener
        self._command = command
        self._most = jobs
        self._log = log
        self._view = view()
        self._rights = rights(os.getpid())
        self._started = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._accepting = False
        self._clients: dict[int, _Client] = {}
        self._running: dict[int, _Running] = {}
        self._number = 0
        self._done: Counter[int] = Counter()
        self._killed = self._refused = self._declined = 0
        self._endings = self._obeyed = 0
        # The first pipe wakes the selector on a signal; children describe their jobs on the second.
        self._woken, self._waker = _pipe()
        self._told, self._teller = _pipe()

    def serve(self) -> None:
        """Serve until a signal ends it and the running jobs are done."""
        self._prepare()
        listener = self._listener
        self._log.write("start", f"listens at {listener.path}, {self._most} jobs at a time at most",
                        version=__version__, pid=os.getpid(), socket=listener.path, jobs=self._most)  # fmt: skip
        self._accept_more(wanted=True)
        while True:
            for key, _ in self._selector.select(self._patience()):
                key.data()
            self._obey()
            self._reap()
            self._drop_silent()
            self._start_waiting()
            if self._endings and not self._running:
                break
            self._accept_more(wanted=not self._endings and len(self._clients) < _MOST_WAITING)
        self._log.write("end", "ends, every job is done", pid=os.getpid())

    # --- signals

    def _prepare(self) -> None:
        """Set up what children share with this process, and hide what they must not share."""
        # A relative entry would be resolved in the working directory of each client.
        sys.path[:] = [entry for entry in sys.path if os.path.isabs(entry)]
        for number in (0, 1, 2):
            with contextlib.suppress(OSError):
                os.fstat(number)
                continue
            os.open(os.devnull, os.O_RDWR)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in _SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._answer)
        self._listener.socket.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, lambda: _drain(self._woken))
        self._selector.register(self._told, selectors.EVENT_READ, self._hear)
        gc.collect()
        # Frozen objects are skipped by the children's garbage collection, so their pages stay shared.
        gc.freeze()

    def _answer(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._endings += 1

    def _obey(self) -> None:
        """Stop accepting after the first signal; end the running jobs after the second."""
        if self._endings and not self._obeyed:
            self._listener.remove()
            self._accept_more(wanted=False)
            self._listener.socket.close()
            # They have not sent their jobs yet, and run them themselves.
            for client in list(self._clients.values()):
                self._drop(client)
        if self._endings > 1 and self._obeyed < 2:
            for pid in self._running:
                os.kill(pid, signal.SIGTERM)
        self._obeyed = self._endings

    # --- clients

    def _accept_more(self, *, wanted: bool) -> None:
        """Accept clients, or leave them in the backlog."""
        if wanted != self._accepting:
            if wanted:
                self._selector.register(self._listener.socket, selectors.EVENT_READ, self._accept)
            else:
                self._selector.unregister(self._listener.socket)
            self._accepting = wanted

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.socket.accept()
        except BlockingIOError:
            return
        except OSError:
            # Most likely too many open files; jobs that end release some.
            time.sleep(_BREATH)
            return
        connection.setblocking(False)
        pid, user, group = peer(connection)
        if user != os.geteuid():
            connection.close()
            self._refused += 1
            self._log.write("refused", f"refused user {user}, process {pid}", user=user, client=pid)
            return
        client = _Client(connection, pid, group)
        self._clients[connection.fileno()] = client
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._listen(client))

    def _listen(self, client: _Client) -> None:
        """Read what a client sends before its turn: its greeting, and nothing else."""
        with contextlib.suppress(BlockingIOError):
            said = b""
            with contextlib.suppress(ConnectionError):
                said = client.connection.recv(_LONGEST_GREETING)
            client.heard += said
            if not said or client.waits or len(client.heard) > _LONGEST_GREETING:
                self._drop(client)
            elif client.heard.endswith(b"\n"):
                self._greet(client, client.heard.decode("ascii", "replace").split())

    def _greet(self, client: _Client, words: list[str]) -> None:
        if words[0:1] != ["dcmtx"] or len(words) != 4:
            self._drop(client)
        elif words[2] == "status":
            with contextlib.suppress(OSError):
                client.connection.send(json.dumps(self.status()).encode("ascii"))
            self._drop(client)
        elif words[1] != __version__ or words[2] != "job":
            self._decline(client, f"its version is {words[1]}")
        elif words[3] != self._view:
            self._decline(client, "it sees other files (a container, or a private /tmp)")
        elif client.group != os.getegid() or rights(client.pid) != self._rights:
            self._decline(client, "its group, its supplementary groups or its capabilities are others")
        else:
            client.waits = True

    def _decline(self, client: _Client, why: str) -> None:
        """Decline a job, so that its client runs it itself."""
        with contextlib.suppress(OSError):
            client.connection.send(_DECLINED)
        self._drop(client)
        self._declined += 1
        self._log.write("declined", f"left its job to process {client.pid}: {why}", client=client.pid, why=why)

    def _drop(self, client: _Client) -> None:
        if self._clients.pop(client.connection.fileno(), None) is not None:
            self._selector.unregister(client.connection)
        client.connection.close()

    def _drop_silent(self) -> None:
        now = time.monotonic()
        for client in [each for each in self._clients.values() if not each.waits and each.deadline <= now]:
            self._drop(client)

    def _patience(self) -> float | None:
        """Return the seconds until the first client's deadline; None if there is none."""
        deadlines = [client.deadline for client in self._clients.values() if not client.waits]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def status(self) -> dict[str, Any]:
        """Return what `dcmtx serve --status` reports."""
        now = time.monotonic()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "socket": self._listener.path,
            "uptime_seconds": round(now - self._started, 3),
            "memory_bytes": own_memory(),
            "jobs": self._most,
            "waiting": sum(client.waits for client in self._clients.values()),
            "running": [
                {"pid": pid, "seconds": round(now - job.started, 3), "arguments": job.arguments}
                for pid, job in self._running.items()
            ],
            "done": {str(status): count for status, count in self._done.items()},
            "killed": self._killed,
            "refused": self._refused,
            "declined": self._declined,
        }

    # --- jobs

    def _start_waiting(self) -> None:
        """Start waiting jobs in order of arrival, up to the limit."""
        for client in [each for each in self._clients.values() if each.waits]:
            if len(self._running) >= self._most:
                return
            self._fork(client)

    def _fork(self, client: _Client) -> None:
        # A signal must not reach the child while it still has the parent's handlers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._be_child(client, before)
        except OSError as error:
            self._decline(client, f"no process can be made ({error.strerror})")
            return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._number += 1
        self._running[pid] = _Running(self._number, client)
        del self._clients[client.connection.fileno()]
        self._selector.unregister(client.connection)

    def _be_child(self, client: _Client, mask: set[Any]) -> NoReturn:
        """Release everything of the server, and run the job."""
        try:
            signal.set_wakeup_fd(-1)
            # Python's default for SIGINT is an exception, which is too early here; the command line sets its own.
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            # Only close it: unregistering clients would unregister them in the parent too.
            self._selector.close()
            self._listener.socket.close()
            if self._listener.lock is not None:
                os.close(self._listener.lock)
            for other in [*self._clients.values(), *(job.client for job in self._running.values())]:
                if other is not client:
                    other.connection.close()
            for descriptor in (self._woken, self._waker, self._told):
                os.close(descriptor)
            perform(client.connection, self._command, self._tell)
        except BaseException:  # noqa: BLE001 - a child must never continue as a second server
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(ExitStatus.BUG)

    def _tell(self, job: Job) -> None:
        """In a child, send the job's arguments to the parent."""
        text = " ".join(job.arguments)[:_LONGEST_ARGUMENTS]
        text = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)
        with contextlib.suppress(OSError):
            os.write(self._teller, f"{os.getpid()} {text}\n".encode("utf-8", "backslashreplace"))
        os.close(self._teller)

    def _hear(self) -> None:
        """Read the arguments of jobs that children have sent."""
        for line in _drain(self._told).decode("utf-8", "replace").splitlines():
            pid, _, arguments = line.partition(" ")
            if pid.isdigit() and int(pid) in self._running:
                self._running[int(pid)].arguments = arguments

    def _reap(self) -> None:
        """Reap the processes that have ended."""
        while self._running:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            self._hear()
            job = self._running.pop(pid, None)
            if job is not None:
                self._close(job, pid, os.waitstatus_to_exitcode(status), usage)

    def _close(self, job: _Running, pid: int, status: int, usage: Any) -> None:
        """Send a job's status to the client, if its process did not, and log it."""
        if status < 0:
            self._killed += 1
        else:
            self._done[status] += 1
            with contextlib.suppress(OSError):
                job.client.connection.send(bytes([status]))
        job.client.connection.close()
        seconds, cpu = time.monotonic() - job.started, usage.ru_utime + usage.ru_stime
        killed_by = _signal_name(-status) if status < 0 else None
        ended = f"status {status}" if killed_by is None else f"killed by {killed_by}"
        self._log.write(
            "job",
            f"job {job.number}: {ended}, {seconds:.3f} s, {cpu:.3f} s of CPU: {job.arguments}",
            job=job.number, pid=pid, client=job.client.pid, arguments=job.arguments,
            status=status if killed_by is None else None, signal=killed_by,
            seconds=round(seconds, 6), cpu_seconds=round(cpu, 6), max_rss_bytes=usage.ru_maxrss * 1024,
        )  # fmt: skip


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _pipe() -> tuple[int, int]:
    """Return a non-blocking pipe: read end, write end."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    os.set_blocking(theirs, False)
    return ours, theirs


def _drain(descriptor: int) -> bytes:
    """Return everything in a pipe."""
    data = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(descriptor, 1 << 16):
            data += piece
    return data
