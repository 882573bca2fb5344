r"""The client: sends a command line to a server that has the codecs loaded, which saves most of the time.

Every call of dcmtx loads this module, and with a server nothing else. So it imports only `_socket` and what the
interpreter has loaded already. The protocol, on a stream socket:

    client  "dcmtx VERSION WORD VIEW\n"         WORD is job or status, VIEW identifies the file tree it sees
    server  "+" when it is the job's turn, or the text of the status; "-" or end of file if it declines
    client  the job: its length in eight hexadecimal digits, then fields that end with NUL (the umask in octal, which
            of the descriptors 0 to 2 are open, the number of environment variables, the variables, the arguments);
            the first byte carries the open descriptors, and one of the working directory
    client  the number of a signal that should end the job, one byte, at any time
    server  the exit status, one byte
"""

import os
import sys

from dcmtx._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

# Environment variables that a job depends on. None may load other code or name other servers.
FORWARDED = ("COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "TERM", "TMPDIR", "TZ")
# Commands that never go to a server: some keep running or start processes, one concerns the program that was called.
ALONE = ("serve", "link", "relay", "plan", "shard")
# Called by one of these names, dcmtx takes the options of that converter: `dcmtx as NAME`.
PEERS = (
    "gdcmconv", "dcmconv", "dcmcjpeg", "dcmdjpeg", "dcmcjpls", "dcmdjpls", "dcmcrle", "dcmdrle", "dcm2dcm",
    "dicom-transcode",
)  # fmt: skip

GO = b"+"
# How many seconds a client waits for its job's turn before it runs the job itself.
PATIENCE = 30
_INTERRUPTED = 130
# SIGHUP, SIGINT, SIGTERM: passed to the job, which cleans up before its client ends.
PASSED_ON = (1, 2, 15)
# The status of a codec failure, which is the likely reason when a process ends without a status.
_LOST = 6
_LOST_LINE = (
    b"dcmtx: the server's process for this job died without a status; the server's log says how, and every DST is "
    b"whole, as it was before or as it was to be\n"
)
_SYSTEM_PLACE = "/run/dcmtx/socket"
_TYPE_OTHERS_MAY_WRITE = 0o170022
_TYPE_OTHERS_MAY_ANYTHING = 0o170077
_DIRECTORY = 0o040000
_SOCKET = 0o140000


def hand_over(arguments: list[str]) -> int | None:
    """Have a server run a command line, and return its exit status; None if no server takes it.

    A job that was sent is never run again: from then on, this always returns a status.
    """
    if (arguments[:1] and arguments[0] in ALONE) or any(word.startswith("--cluster") for word in arguments):
        return None
    try:
        # Before the socket is made, because it could take the number of a closed standard stream.
        streams = [number for number in (0, 1, 2) if _is_open(number)]
        directory = os.open(".", os.O_PATH | os.O_CLOEXEC)
    except (AttributeError, OSError):
        return None
    try:
        connection = _find()
        return None if connection is None else _send(connection, _encode(arguments, streams), [*streams, directory])
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        os.close(directory)


def places() -> list[str]:
    """Return the socket paths to try, in order."""
    named = os.environ.get("DCMTX_SOCKET")
    if named is not None:
        return [named] if named else []
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return [_SYSTEM_PLACE, f"{runtime}/dcmtx/socket"] if runtime else [_SYSTEM_PLACE]


def ask(path: str, word: str) -> "socket":
    """Connect to the server at a path and send the request; the caller receives the answer.

    Raises OSError if there is no server, and PermissionError if another user could own the socket: the server gets
    access to the images.
    """
    import _socket

    _check(path)
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        _limit(connection, PATIENCE)
        connection.connect(path)
        peer = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        if int.from_bytes(peer[4:8], sys.byteorder) != os.geteuid():
            raise PermissionError("whoever listens there is another user")
        connection.sendall(f"dcmtx {__version__} {word} {view()}\n".encode("ascii"))
    except BaseException:
        connection.close()
        raise
    return connection


def view() -> str:
    """Return a text that identifies the file tree of this process: a container or a private /tmp has another."""
    try:
        namespace = os.stat("/proc/self/ns/mnt").st_ino
    except OSError:
        namespace = 0
    root = os.stat("/")
    return f"{namespace}:{root.st_dev}:{root.st_ino}"


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _check(path: str) -> None:
    """Raise PermissionError for a socket that another user may have created."""
    own = os.geteuid()
    directory = os.lstat(os.path.dirname(path) or ".")
    if directory.st_mode & _TYPE_OTHERS_MAY_WRITE != _DIRECTORY or directory.st_uid not in (own, 0):
        raise PermissionError("others may write in its directory, or that is a link")
    there = os.lstat(path)
    if there.st_mode & _TYPE_OTHERS_MAY_ANYTHING != _SOCKET or there.st_uid != own:
        raise PermissionError("it is no socket that is yours alone")


def _limit(connection: "socket", seconds: int) -> None:
    """Set the timeout for connecting, sending and receiving; 0 means none."""
    import _socket

    interval = seconds.to_bytes(8, sys.byteorder) + bytes(8)
    for which in (_socket.SO_SNDTIMEO, _socket.SO_RCVTIMEO):
        connection.setsockopt(_socket.SOL_SOCKET, which, interval)


def _find() -> "socket | None":
    """Return a connection to a server that is ready to receive this job, or None."""
    for path in places():
        try:
            connection = ask(path, "job")
        except (AttributeError, ImportError, OSError, ValueError):
            continue
        try:
            if connection.recv(1) == GO:
                return connection
        except OSError:
            pass
        connection.close()
    return None


def _encode(arguments: list[str], streams: list[int]) -> bytes:
    mask = os.umask(0)
    os.umask(mask)
    environment = [f"{name}={os.environ[name]}" for name in FORWARDED if name in os.environ]
    opened = "".join(map(str, streams))
    fields = [f"{mask:o}", opened, str(len(environment)), *environment, *arguments]
    body = b"".join(os.fsencode(field) + b"\0" for field in fields)
    return b"%08x" % len(body) + body


def _send(connection: "socket", job: bytes, descriptors: list[int]) -> int:
    """Send a job, wait for it to end, and return its status."""
    import _signal  # type: ignore[import-not-found]
    import _socket

    numbers = b"".join(number.to_bytes(4, sys.byteorder) for number in descriptors)
    passed: list[int] = []
    # No signal byte may be sent in the middle of the job.
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, PASSED_ON)
    try:
        _pass_on(connection, passed)
        sent = connection.sendmsg([job], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)])
        # Even an empty send fails if the server has already answered and closed.
        if sent < len(job):
            connection.sendall(job[sent:])
        _limit(connection, 0)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
        answer = connection.recv(1)
    except OSError:
        answer = b""
    finally:
        connection.close()
    if answer:
        return answer[0]
    if passed:
        return 128 + passed[0]
    if 2 in descriptors:
        _complain()
    return _LOST


def _pass_on(connection: "socket", passed: list[int]) -> None:
    """Pass signals that would end this process to the job instead, and record them."""
    import _signal

    def answer(number: int, _frame: object) -> None:
        passed.append(number)
        connection.send(bytes([number]))

    for number in PASSED_ON:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, answer)


def _complain() -> None:
    try:  # noqa: SIM105 - contextlib is not loaded
        os.write(2, _LOST_LINE)
    except OSError:
        pass
