"""Workers forked from a template: a fork of this process that has the codecs loaded and does nothing else.

It needs no new interpreter, and loads the codecs while this process finds the first files. This process must have no
other thread, because a fork keeps locks held by other threads locked for ever. Python does not count the threads of
libraries, so the system's count is used.

`forked` is what that fork does. It reports each worker that starts or ends in a message of 8 bytes: a process id, and
its status or `BEGAN`.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import signal
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dcmtx.errors import OutputError
from dcmtx.pool.pipe import Pipe, readable
from dcmtx.record import Record
from dcmtx.signals import ENDING

if TYPE_CHECKING:
    # What workers do: the function of their jobs, the most bytes of memory, and modules to be imported first.
    Work = tuple[Callable[[Any], Any], int, Sequence[str]]

MESSAGE = struct.Struct("ii")
# Values that cannot be a process status: the worker started, or could not be started.
BEGAN = 1 << 20
FAILED = BEGAN + 1
_TASKS = "/proc/self/task"


def may_fork() -> bool:
    """Tell whether this process can fork safely: the system reports exactly one thread."""
    try:
        return sys.platform == "linux" and len(os.listdir(_TASKS)) == 1
    except OSError:
        return False


class Share:
    """A number in memory that this process and its workers share."""

    def __init__(self) -> None:
        self._number = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("i")
        self.value = 1

    @property
    def value(self) -> int:
        """The number."""
        return self._number[0]

    @value.setter
    def value(self, value: int) -> None:
        self._number[0] = value


class _Child:
    """A worker's process, as reported by the template. `pid` is 0 until it has started."""

    def __init__(self, template: Template) -> None:
        self._template = template
        self.pid = 0
        self.status: int | None = None

    @property
    def started(self) -> bool:
        """Whether there is, or was, such a process."""
        return self.pid != 0

    def wait(self, patience: float | None) -> int | None:
        """Wait at most `patience` seconds for the process to end; return its status, or None if it still runs."""
        until = None if patience is None else time.monotonic() + patience
        self._template.listen()
        while self.status is None:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                break
            self._template.listen(left)
        return self.status

    def send(self, number: int) -> None:
        """Send a signal if the process runs. If it has not started, end the template instead."""
        self._template.listen()
        if self.status is None and self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
        elif self.status is None:
            self._template.close()


class Begun(Record):
    """A process that has been forked by `parent`, and loads what workers need.

    `control` is the parent's end of its socket.
    """

    pid: int
    parent: int
    control: socket.socket
    share: Share

    def end(self) -> None:
        """End it."""
        self.control.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def begin(preload: Sequence[str]) -> Begun:
    """Fork the process that workers are forked from. Raises OSError."""
    share = Share()
    ours, theirs = _socket_pair()
    parent = os.getpid()
    # A signal must not reach the child while it still has the parent's handlers.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        pid = os.fork()
        if pid == 0:
            try:
                # Not needed in this process.
                from dcmtx.pool.forked import be_template

                ours.close()
                be_template(theirs, parent, preload, share)
            finally:
                # Nothing may go on as a second program.
                os._exit(1)
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return Begun(pid, parent, ours, share=share)


class Template:
    """Starts workers from a fork of this process. `broken` means that it and all its workers have ended.

    `begun` is one that loads `preload` already. Raises OutputError if no process can be forked.
    """

    def __init__(self, preload: Sequence[str], work: Work, begun: Begun | None = None) -> None:
        self.broken = False
        self._unborn: deque[_Child] = deque()
        self._children: dict[int, _Child] = {}
        try:
            self._begun = begun or begin(preload)
        except OSError as error:
            raise OutputError(f"workers cannot be started: {error.strerror or error}") from error
        self._socket, self.share = self._begun.control, self._begun.share
        self._order = pickle.dumps(work)

    def start(self, pipe: Pipe) -> _Child:
        """Ask the template for a worker that serves this end of a pipe."""
        child = _Child(self)
        self._unborn.append(child)
        try:
            socket.send_fds(self._socket, [self._order], [pipe.fileno()])
        except OSError:
            self.close()
        return child

    def waitables(self) -> list[Any]:
        """Return the socket, which is readable when the template has sent something."""
        return [] if self.broken else [self._socket]

    def listen(self, patience: float | None = 0) -> None:
        """Read the template's messages, waiting up to `patience` seconds. Raises OutputError if no worker can start."""
        if self.broken:
            return
        while not self.broken and readable([self._socket], patience):
            patience = 0
            try:
                message = self._socket.recv(MESSAGE.size)
            except OSError:
                message = b""
            if len(message) != MESSAGE.size:
                self.close()
                return
            self._take(*MESSAGE.unpack(message))

    def _take(self, pid: int, status: int) -> None:
        if status == BEGAN:
            child = self._children[pid] = self._unborn.popleft()
            child.pid = pid
        elif status == FAILED:
            raise OutputError(f"workers cannot be started: {os.strerror(pid)}")
        elif pid in self._children:
            self._children.pop(pid).status = os.waitstatus_to_exitcode(status)

    def abandon(self) -> None:
        """End a template that is still loading and has no running worker."""
        self.listen()
        if self._unborn and not self._children:
            self.close()

    def close(self) -> None:
        """End the template and all its workers."""
        if self.broken:
            return
        self.broken = True
        self._begun.end()
        for child in [*self._unborn, *self._children.values()]:
            child.status = -signal.SIGKILL
        self._unborn.clear()
        self._children.clear()


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a socket pair, with descriptors above 2 even if the standard streams are closed."""
    import fcntl

    ends = []
    for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET):
        with end:
            ends.append(socket.socket(fileno=fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)))
    return ends[0], ends[1]
