"""The socket that a server listens on: made where nobody else can have put it, or given by systemd."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat

from dcmtx.errors import OutputError, UnsupportedError, UsageError
from dcmtx.record import Record

# Clients that nobody has accepted yet; the system may allow fewer.
_BACKLOG = 1024
_FIRST_PASSED = 3
# As the system has it, with the zero at its end.
_LONGEST_PATH = 107


class Listener(Record):
    """A socket that listens.

    `lock` is the descriptor of the file that says so, and `identity` tells the file of the socket from others; of one
    that systemd keeps there is neither, and it stays where it is.
    """

    socket: socket.socket
    path: str
    lock: int | None = None
    identity: tuple[int, int] | None = None

    def remove(self) -> None:
        """Take the socket's name away, unless it is another's by now, so that nobody comes any more."""
        with contextlib.suppress(OSError):
            if self.identity is not None and _identity(os.lstat(self.path)) == self.identity:
                os.unlink(self.path)


def default_path() -> str:
    """Return where a server of this user is looked for. Raises UsageError where there is no such place."""
    named = os.environ.get("DCMTX_SOCKET")
    if named:
        return named
    system = "/run/dcmtx"
    with contextlib.suppress(OSError):
        if os.geteuid() == 0 or os.lstat(system).st_uid == os.geteuid():
            return f"{system}/socket"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return f"{runtime}/dcmtx/socket"
    raise UsageError(
        "there is neither /run/dcmtx, as your own, nor XDG_RUNTIME_DIR", advice="name the socket by --socket"
    )


def activated() -> Listener | None:
    """Return the socket that systemd has passed, if it has passed one.

    Raises UsageError where that is no stream socket with a path.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    passed = os.environ.get("LISTEN_FDS", "")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    if passed != "1":
        raise UsageError(
            f"{passed or 'no'} sockets were passed, not one", advice="give the socket unit one ListenStream"
        )
    try:
        os.set_inheritable(_FIRST_PASSED, False)
        given = socket.socket(fileno=_FIRST_PASSED)
        path = given.getsockname() if given.family == socket.AF_UNIX and given.type == socket.SOCK_STREAM else None
        if not isinstance(path, str) or not path:
            raise OSError("another kind of socket")
        # Once more: clients are shown the credentials of whoever did this last, and trust no others.
        given.listen(_BACKLOG)
    except OSError as error:
        what = "what was passed is no Unix stream socket with a path; correct ListenStream in the unit"
        raise UsageError(f"{what} ({error.strerror or error})") from error
    return Listener(given, path)


def listen(path: str) -> Listener:
    """Make a socket at a path, in a directory of this user's own, which is made if need be.

    Raises OutputError where another server listens there, or somebody else could have put something there.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        raise UnsupportedError("this system does not tell whom a socket belongs to; dcmtx serve needs Linux")
    path = os.path.abspath(path)
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise OutputError(f"the path of a socket has {_LONGEST_PATH} bytes at most", advice="choose another", path=path)
    try:
        _make_directory(os.path.dirname(path))
        lock = _lock(path)
        _remove_stale(path)
        return _bind(path, lock)
    except OSError as error:
        raise OutputError(f"the socket cannot be made: {error.strerror or error}", path=path) from error


def _make_directory(directory: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    there = os.lstat(directory)
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid() or there.st_mode & 0o077:
        raise OutputError(
            "others may come in there", advice="have the socket in a directory of mode 0700", path=directory
        )


def _lock(path: str) -> int:
    """Take the lock of the place, which the system gives back however a server ends."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise _taken(path) from None
    return descriptor


def _remove_stale(path: str) -> None:
    """Remove the socket of a server that is no more."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(there.st_mode) or there.st_uid != os.geteuid():
        raise OutputError("there is something that is no socket of yours", advice="choose another path", path=path)
    # Not all who listen have the lock: systemd does not.
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) in (0, errno.EAGAIN):
            raise _taken(path)
    os.unlink(path)


def _taken(path: str) -> OutputError:
    return OutputError("another server listens there", advice="end it first, or name another socket", path=path)


def _bind(path: str, lock: int) -> Listener:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Not changed afterwards: nobody else may connect in between either.
    before = os.umask(0o177)
    try:
        made.bind(path)
    finally:
        os.umask(before)
    made.listen(_BACKLOG)
    return Listener(made, path, lock, identity=_identity(os.lstat(path)))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
