"""Workers forked from a template: a fork of this process that has the codecs loaded and does nothing else.

It needs no new interpreter, and loads the codecs while this process finds the first files. This process must have no
other thread, because a fork keeps locks held by other threads locked for ever. Python does not count the threads of
libraries, so the system's count is used.

The template holds no file of this process, handles none of its signals, and ends with it. It reports each worker that
starts or ends in a message of 8 bytes: a process id, and its status or `_BEGAN`.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import pickle
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from dcmtx.errors import OutputError
from dcmtx.pool import worker
from dcmtx.pool.pipe import Pipe, readable
from dcmtx.record import Record
from dcmtx.signals import ENDING, die_with_parent

if TYPE_CHECKING:
    # What workers do: the function of their jobs, the most bytes of memory, and modules to be imported first.
    Work = tuple[Callable[[Any], Any], int, Sequence[str]]

_MESSAGE = struct.Struct("ii")
# An order to start a worker says what it does.
_LONGEST_ORDER = 1 << 16
# Values that cannot be a process status: the worker started, or could not be started.
_BEGAN = 1 << 20
_FAILED = _BEGAN + 1
_TASKS = "/proc/self/task"
_DESCRIPTORS = "/proc/self/fd"


def may_fork() -> bool:
    """Tell whether this process can fork safely: the system reports exactly one thread."""
    try:
        return sys.platform == "linux" and len(os.listdir(_TASKS)) == 1
    except OSError:
        return False


class _Share:
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
    share: _Share

    def end(self) -> None:
        """End it."""
        self.control.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def begin(preload: Sequence[str]) -> Begun:
    """Fork the process that workers are forked from. Raises OSError."""
    share = _Share()
    ours, theirs = _socket_pair()
    parent = os.getpid()
    # A signal must not reach the child while it still has the parent's handlers.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        pid = os.fork()
        if pid == 0:
            ours.close()
            _be_template(theirs, parent, preload, share)
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
                message = self._socket.recv(_MESSAGE.size)
            except OSError:
                message = b""
            if len(message) != _MESSAGE.size:
                self.close()
                return
            self._take(*_MESSAGE.unpack(message))

    def _take(self, pid: int, status: int) -> None:
        if status == _BEGAN:
            child = self._children[pid] = self._unborn.popleft()
            child.pid = pid
        elif status == _FAILED:
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


# --- in the template -------------------------------------------------------------------------------------------


def _be_template(control: socket.socket, parent: int, preload: Sequence[str], share: _Share) -> NoReturn:
    """Load modules, and fork workers for as long as the parent wants."""
    gc.disable()
    # No linear algebra is done here: a thread per core, spinning, would only take the cores from the codecs.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        die_with_parent()
        if os.getppid() == parent:
            _leave_parent(control.fileno())
            for module in preload:
                # A missing codec is reported by the job that needs it.
                with contextlib.suppress(ImportError):
                    __import__(module)
            # Frozen objects are skipped by the workers' garbage collection, so their pages stay shared. Collecting
            # first would find little, and the first files would wait for it.
            gc.freeze()
            gc.enable()
            _fork_workers(control, share)
    finally:
        os._exit(0)


def _leave_parent(control: int) -> None:
    """Release what belongs to the parent: files, sockets, locks, signal handlers, standard input."""
    # Otherwise collected objects of the parent would close descriptors that are reused here by then.
    gc.freeze()
    sink = sys.modules.get("dcmtx.place.temporary")
    if sink is not None:
        sink.release()
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    for standard in (1, 2):
        try:
            os.fstat(standard)
        except OSError:
            os.dup2(nowhere, standard)
    for name in os.listdir(_DESCRIPTORS):
        if int(name) not in (0, 1, 2, control):
            with contextlib.suppress(OSError):
                os.close(int(name))


def _fork_workers(control: socket.socket, share: _Share) -> None:
    """Fork a worker for each pipe that the parent sends, and report workers that end, until the parent is gone.

    The system then kills the remaining workers.
    """
    woken, waker = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(woken, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == woken:
                os.read(woken, 1 << 16)
                _tell_of_the_dead(control)
                continue
            order, pipes, *_ = socket.recv_fds(control, _LONGEST_ORDER, 1)
            if not order:
                return
            try:
                pid = os.fork()
            except OSError as error:
                control.send(_MESSAGE.pack(error.errno or 0, _FAILED))
                continue
            if pid == 0:
                _be_worker(share, order, Pipe(pipes[0]), [control.detach(), woken, waker])
            os.close(pipes[0])
            control.send(_MESSAGE.pack(pid, _BEGAN))


def _tell_of_the_dead(control: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            control.send(_MESSAGE.pack(pid, status))


def _be_worker(share: _Share, order: bytes, pipe: Pipe, descriptors: Sequence[int]) -> NoReturn:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in descriptors:
            os.close(descriptor)
        work: Work = pickle.loads(order)  # noqa: S301 - our parent's
        function, memory, modules = work
        worker.serve(pipe, function, share, memory, modules)
        status = 0
    except Exception:  # noqa: BLE001 - nothing may go on as a second template
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)
