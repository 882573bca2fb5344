"""The socket that a server listens on: created in a private directory, or passed by systemd."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat

from dcmtx.errors import OutputError, UnsupportedError, UsageError
from dcmtx.record import Record

# Clients that are not accepted yet; the system may allow fewer.
_BACKLOG = 1024
_FIRST_PASSED = 3
# The system's 108 bytes less the terminating zero.
_LONGEST_PATH = 107


class Listener(Record):
    """A listening socket.

    `lock` is the descriptor of its lock file, and `identity` is the device and inode of the socket file. A socket from
    systemd has neither, and its file is not removed.
    """

    socket: socket.socket
    path: str
    lock: int | None = None
    identity: tuple[int, int] | None = None

    def remove(self) -> None:
        """Unlink the socket so that no new client connects, unless another socket has its name by now."""
        with contextlib.suppress(OSError):
            if self.identity is not None and _identity(os.lstat(self.path)) == self.identity:
                os.unlink(self.path)


def default_path() -> str:
    """Return the path where clients look for a server of this user. Raises UsageError if there is none."""
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
    """Return the socket that systemd passed, or None.

    Raises UsageError if it is no stream socket with a path.
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
        # Listen again: clients check the credentials of the process that last called listen().
        given.listen(_BACKLOG)
    except OSError as error:
        what = "what was passed is no Unix stream socket with a path; correct ListenStream in the unit"
        raise UsageError(f"{what} ({error.strerror or error})") from error
    return Listener(given, path)


def listen(path: str) -> Listener:
    """Create a socket at a path, in a private directory of this user, which is created if needed.

    Raises OutputError if another server listens there, or if other users have access to the directory.
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
    """Lock the socket's path. The system releases the lock however the server ends."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise _taken(path) from None
    return descriptor


def _remove_stale(path: str) -> None:
    """Remove the socket of a server that has ended."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(there.st_mode) or there.st_uid != os.geteuid():
        raise OutputError("there is something that is no socket of yours", advice="choose another path", path=path)
    # systemd listens without the lock.
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) in (0, errno.EAGAIN):
            raise _taken(path)
    os.unlink(path)


def _taken(path: str) -> OutputError:
    return OutputError("another server listens there", advice="end it first, or name another socket", path=path)


def _bind(path: str, lock: int) -> Listener:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Set by umask, not by a later chmod, so that no other user can connect in between.
    before = os.umask(0o177)
    try:
        made.bind(path)
    finally:
        os.umask(before)
    made.listen(_BACKLOG)
    return Listener(made, path, lock, identity=_identity(os.lstat(path)))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
