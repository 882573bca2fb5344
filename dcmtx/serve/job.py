"""A job, in the process that was forked for it: the process runs the command line of its client."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import IO, Any, NoReturn

from dcmtx.errors import ExitStatus
from dcmtx.pool import isolation
from dcmtx.record import Record
from dcmtx.serve.client import FORWARDED, GO, PASSED_ON
from dcmtx.signals import run_exit_functions

# Seconds. A client that was told to send its job does so at once.
_PATIENCE = 10.0
_DIGITS = 8
# More than the system allows for arguments and environment of a process.
_LONGEST = 16 << 20
_MOST_DESCRIPTORS = 4


class Job(Record):
    """What a client sends.

    `streams` are the client's open descriptors among 0 to 2; `descriptors` are their numbers in this process, followed
    by the working directory.
    """

    umask: int
    streams: tuple[int, ...]
    environment: dict[str, str]
    arguments: tuple[str, ...]
    descriptors: tuple[int, ...]


def receive(connection: socket.socket, patience: float = _PATIENCE) -> Job:
    """Receive a job. Raises OSError if the client is gone or too slow, ValueError if the data is no job."""
    connection.settimeout(patience)
    data, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, _MOST_DESCRIPTORS)
    while len(data) < _DIGITS or len(data) < _DIGITS + _length(data):
        more = connection.recv(1 << 16)
        if not more:
            raise ConnectionResetError("the client is gone")
        data += more
    return _decode(data[_DIGITS:], tuple(descriptors))


def _length(data: bytes) -> int:
    length = int(data[:_DIGITS], 16)
    if length > _LONGEST:
        raise ValueError(f"a job of {length} bytes")
    return length


def _decode(body: bytes, descriptors: tuple[int, ...]) -> Job:
    mask, opened, count, *fields = map(os.fsdecode, body.split(b"\0")[:-1])
    variables = dict(field.split("=", 1) for field in fields[: int(count)])
    environment = {name: value for name, value in variables.items() if name in FORWARDED}
    job = Job(
        int(mask, 8),
        tuple(map(int, opened)),
        environment,
        arguments=tuple(fields[int(count) :]),
        descriptors=descriptors,
    )
    if len(descriptors) != len(job.streams) + 1 or not set(job.streams) <= {0, 1, 2}:
        raise ValueError("a job without its descriptors")
    return job


def perform(connection: socket.socket, command: Callable[[], object], announce: Callable[[Job], None]) -> NoReturn:
    """Receive a job, run it with `command`, send its status, and exit. Calls `announce` before the job begins."""
    try:
        connection.sendall(GO)
        job = receive(connection)
    except (OSError, ValueError):
        # Nothing has begun, and no client waits.
        os._exit(ExitStatus.BUG)
    announce(job)
    isolation.mark()
    _become(job)
    _watch(connection)
    status = _run(command)
    # Otherwise a client that leaves after receiving its status would look like one that left too early.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        connection.send(bytes([status]))
    os._exit(status)


def _become(job: Job) -> None:
    """Take over the client's streams, directory, umask, environment and arguments."""
    # Leave the server's terminal, whose interrupts are for the server.
    os.setsid()
    *streams, directory = job.descriptors
    given = dict(zip(job.streams, streams, strict=True))
    for number in (0, 1, 2):
        if number in given:
            os.dup2(given[number], number)
            os.close(given[number])
        else:
            os.close(number)
    sys.stdin = _text(0, "r", "surrogateescape") if 0 in given else None
    sys.stdout = _text(1, "w", "surrogateescape") if 1 in given else None
    sys.stderr = _text(2, "w", "backslashreplace") if 2 in given else None
    os.fchdir(directory)
    os.close(directory)
    os.umask(job.umask)
    for name in FORWARDED:
        os.environ.pop(name, None)
    os.environ.update(job.environment)
    time.tzset()
    if "tempfile" in sys.modules:
        # It caches the server's temporary directory.
        sys.modules["tempfile"].tempdir = None  # type: ignore[attr-defined]
    sys.argv = ["dcmtx", *job.arguments]


def _text(number: int, mode: str, errors: str) -> IO[Any]:
    """Open a standard stream as Python does at startup."""
    lines = number == 2 or os.isatty(number)
    return open(number, mode, buffering=1 if lines else -1, encoding="utf-8", errors=errors, closefd=False)


def _watch(connection: socket.socket) -> None:
    """End the job when its client is gone, and raise the signals that the client passes on."""
    connection.setblocking(False)

    def listen(_number: int = 0, _frame: FrameType | None = None) -> None:
        with contextlib.suppress(BlockingIOError):
            said = b""
            with contextlib.suppress(ConnectionError):
                said = connection.recv(16)
            for number in said or (signal.SIGTERM,):
                if number in PASSED_ON:
                    signal.raise_signal(number)

    signal.signal(signal.SIGIO, listen)
    descriptor = connection.fileno()
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
    # Data that arrived before O_ASYNC was set caused no signal.
    listen()


def _run(command: Callable[[], object]) -> int:
    """Run the command line as Python runs a main module, and return its exit status."""
    status: object = 0
    try:
        command()
    except SystemExit as leaving:
        status = leaving.code
    except BaseException:  # noqa: BLE001 - as at the top level of any process
        sys.excepthook(*sys.exc_info())
        status = ExitStatus.BUG
    # What the job registered, such as removal of the temporary directory of a batch's workers.
    run_exit_functions()
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    return status & 0xFF if isinstance(status, int) else 0
