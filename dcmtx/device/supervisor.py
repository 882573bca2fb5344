"""Starts the process that owns a GPU, and another one when it dies: `python -m dcmtx.device.supervisor`.

It never imports the library of the GPU: a process that did could not fork others that use it. It holds the listening
socket, so that clients find the next process where the last one was. It belongs to no terminal and no client, and ends
when there is no client left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
import socket
import sys
from typing import NoReturn

from dcmtx.device.process import End, Settings, serve
from dcmtx.device.wire import NO_ANSWER
from dcmtx.errors import ExitStatus
from dcmtx.signals import die_with_parent

_BACKLOG = 1024
# After so many processes that ended before they served anybody, no other is started.
_FALSE_STARTS = 2


def main(arguments: list[str]) -> None:
    """Listen, go on in the background, and supervise. Returns in the foreground when clients can connect."""
    path, lock, gpu, patience, linger = arguments
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(_BACKLOG)
    if os.fork():
        return
    try:
        _leave_caller()
        _supervise(listening, path, lock, Settings(int(gpu), float(patience), linger=float(linger)))
    finally:
        os._exit(ExitStatus.OK)


def _leave_caller() -> None:
    """Release what belongs to the caller: terminal, directory, standard streams, limits, and its ignored signals."""
    os.setsid()
    os.chdir("/")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # A context on a GPU reserves more addresses than a limit leaves.
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _supervise(listening: socket.socket, path: str, lock: str, settings: Settings) -> None:
    ended, false_starts = "", 0
    while True:
        failed = f"it {ended} while it was loading" if false_starts >= _FALSE_STARTS else ""
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ready)
            _be_process(listening, settings, tell, ended=ended, failed=failed)
        os.close(tell)
        began = os.read(ready, 1)
        os.close(ready)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == End.IDLE:
            ended, false_starts = "", 0
            if _leave(listening, path, lock):
                return
            continue
        ended = _cause(code, settings)
        false_starts = 0 if began else false_starts + 1


def _be_process(listening: socket.socket, settings: Settings, tell: int, *, ended: str, failed: str) -> NoReturn:
    ended_as: int = ExitStatus.BUG
    try:
        die_with_parent()

        def begun() -> None:
            os.write(tell, b"!")

        ended_as = serve(listening, settings, ended=ended, failed=failed, begun=begun)
    finally:
        os._exit(ended_as)


def _leave(listening: socket.socket, path: str, lock: str) -> bool:
    """Remove the socket, unless a client has come meanwhile; return whether it is removed."""
    with open(lock, "ab") as file:
        # Whoever starts a supervisor holds this.
        fcntl.flock(file, fcntl.LOCK_EX)
        if select.select([listening], [], [], 0)[0]:
            return False
        os.unlink(path)
        listening.close()
        return True


def _cause(code: int, settings: Settings) -> str:
    if code == End.HUNG:
        return f"{NO_ANSWER} for {settings.patience:g} s"
    if code == End.BROKEN:
        return "could not use the GPU any more"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with status {code}"


if __name__ == "__main__":
    main(sys.argv[1:])
