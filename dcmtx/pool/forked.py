"""The process that workers are forked from, and that does nothing else: what `template` has forked.

It holds no file of its parent, handles none of its signals, and ends with it. It reports each worker that starts or
ends in a message of 8 bytes: a process id, and its status or `BEGAN`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import select
import signal
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from dcmtx.pool import worker
from dcmtx.pool.pipe import Pipe
from dcmtx.pool.template import BEGAN, FAILED, MESSAGE
from dcmtx.signals import die_with_parent

if TYPE_CHECKING:
    from dcmtx.pool.template import Share, Work

_LONGEST_ORDER = 1 << 16
_DESCRIPTORS = "/proc/self/fd"


def be_template(control: socket.socket, parent: int, preload: Sequence[str], share: Share) -> NoReturn:
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


def _fork_workers(control: socket.socket, share: Share) -> None:
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
                control.send(MESSAGE.pack(error.errno or 0, FAILED))
                continue
            if pid == 0:
                _be_worker(share, order, Pipe(pipes[0]), [control.detach(), woken, waker])
            os.close(pipes[0])
            control.send(MESSAGE.pack(pid, BEGAN))


def _tell_of_the_dead(control: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            control.send(MESSAGE.pack(pid, status))


def _be_worker(share: Share, order: bytes, pipe: Pipe, descriptors: Sequence[int]) -> NoReturn:
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
