r"""The client: hands a command line over to a server that has the codecs loaded, which saves most of the time.

Every call of dcmtx loads this module, and with a server nothing else; so it imports what the interpreter has loaded
already, and `_socket`. The protocol, on a stream socket:

    client  "dcmtx VERSION WORD VIEW\n"         WORD is job or status, VIEW tells which files this process sees
    server  "+" when it is the job's turn (or the text of the status); "-" or the end if it will not do it
    client  the job: eight hexadecimal digits for the length of what follows, fields that end with NUL (the umask in
            octal, which of the descriptors 0 to 2 are open, the number of environment variables, these, the arguments);
            with its first byte go the descriptors that are open, and one of the working directory
    client  the number of a signal that wants an end of it, one byte, whenever there is one
    server  the exit status, one byte
"""

import os
import sys

from dcmtx._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

# What of the environment a job depends on. Nothing that has other code run, and nothing that names other servers.
FORWARDED = ("COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "TERM", "TMPDIR", "TZ")
# Commands that are no jobs: one lives on, one is about the program that was called.
ALONE = ("serve", "link")
# Called by one of these names, dcmtx takes the words of that converter: `dcmtx as NAME`.
PEERS = (
    "gdcmconv", "dcmconv", "dcmcjpeg", "dcmdjpeg", "dcmcjpls", "dcmdjpls", "dcmcrle", "dcmdrle", "dcm2dcm",
    "dicom-transcode",
)  # fmt: skip

GO = b"+"
# How long a job waits for its turn before its client does it itself, in seconds.
PATIENCE = 30
_INTERRUPTED = 130
# SIGHUP, SIGINT, SIGTERM: answered by the job, which cleans up, so that nothing of it is left when its client ends.
PASSED_ON = (1, 2, 15)
# What a codec that fails ends with; a process that ends without a status died of one, most likely.
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
    """Have a server do what a command line says, and return its exit status; None where there is none that would.

    A job that was sent is never done again: whatever happens then, there is a status.
    """
    if arguments[:1] and arguments[0] in ALONE:
        return None
    try:
        # Before there is a socket, which would take the number of a descriptor that is closed.
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
    """Return where a server may listen, in the order in which it is looked for."""
    named = os.environ.get("DCMTX_SOCKET")
    if named is not None:
        return [named] if named else []
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return [_SYSTEM_PLACE, f"{runtime}/dcmtx/socket"] if runtime else [_SYSTEM_PLACE]


def ask(path: str, word: str) -> "socket":
    """Connect to the server at a path and say what is wanted; the answer is to be received.

    Raises OSError where there is no server, and PermissionError where somebody else could be behind the path: whoever
    gets the job gets the images.
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
    """Return what tells the files that this process sees from those of a container or of a private /tmp."""
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
    """Raise PermissionError for a socket that somebody else may have put there."""
    own = os.geteuid()
    directory = os.lstat(os.path.dirname(path) or ".")
    if directory.st_mode & _TYPE_OTHERS_MAY_WRITE != _DIRECTORY or directory.st_uid not in (own, 0):
        raise PermissionError("others may write in its directory, or that is a link")
    there = os.lstat(path)
    if there.st_mode & _TYPE_OTHERS_MAY_ANYTHING != _SOCKET or there.st_uid != own:
        raise PermissionError("it is no socket that is yours alone")


def _limit(connection: "socket", seconds: int) -> None:
    """Set how long connecting, sending and receiving may take; 0 for ever."""
    import _socket

    interval = seconds.to_bytes(8, sys.byteorder) + bytes(8)
    for which in (_socket.SO_SNDTIMEO, _socket.SO_RCVTIMEO):
        connection.setsockopt(_socket.SOL_SOCKET, which, interval)


def _find() -> "socket | None":
    """Return a connection to a server whose turn it is to receive this job."""
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
    """Send a job, wait for the end of it, and return its status."""
    import _signal  # type: ignore[import-not-found]
    import _socket

    numbers = b"".join(number.to_bytes(4, sys.byteorder) for number in descriptors)
    passed: list[int] = []
    # Once a job is sent it answers signals, but none goes in between its bytes.
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, PASSED_ON)
    try:
        _pass_on(connection, passed)
        sent = connection.sendmsg([job], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)])
        # Not even nothing may be sent to a server that has its answer given already.
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
    """Have signals that would end this process go to the job instead; note them."""
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
