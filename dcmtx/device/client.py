"""Sends frames to the process that owns a GPU, which is started if there is none.

One process per GPU serves all processes of a user that see the same GPUs. It lives as long as any of them is connected.
A request during which it died is sent once more, alone: so the file that is the cause fails, and no other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dcmtx._version import __version__
from dcmtx.device import exchange, gpu, wire
from dcmtx.device.wire import NO_ANSWER
from dcmtx.errors import CodecError, OutputError, UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

# How long a batch may take, and how long a device process waits for another client, in seconds.
PATIENCE = 60.0
LINGER = 5.0
# How long its first answer may take: it loads a library before.
_GREETING_SECONDS = 300.0
_START_SECONDS = 60.0
# The system's 108 bytes less the terminating zero.
_LONGEST_PATH = 107
# Connections with more memory than this are closed after use.
_KEPT_BYTES = 128 << 20
# How long any answer may take: many clients may be served before.
_ANSWER_SECONDS = 3600.0
# How often a process may end between being found and answering, and while a request waits for its turn.
_ATTEMPTS = 3
_MOST_DEATHS = 50

_lock = threading.Lock()
_idle: list[Channel] = []
# Connections that a forked process inherits are not its own. They stay referenced, so that nothing closes them.
_inherited: list[Channel] = []


def _forget_inherited() -> None:
    global _lock  # noqa: PLW0603 - the parent may have been holding it
    _lock = threading.Lock()
    _inherited.extend(_idle)
    _idle.clear()


os.register_at_fork(after_in_child=_forget_inherited)


class Channel:
    """One connection, with its memory. Used by one thread at a time."""

    def __init__(self) -> None:
        self._memory: wire.Memory | None = None
        self._sent = False
        self._connect()

    def _connect(self) -> None:
        """Connect, and start a device process if there is none. Raises UnsupportedError if it cannot use its GPU."""
        for attempt in range(_ATTEMPTS):
            self._socket = _connected()
            self._socket.settimeout(_GREETING_SECONDS)
            try:
                wire.send(self._socket, {"do": "greet"})
                greeting, _ = wire.receive(self._socket)
            except wire.Lost:
                # It had no client and was about to end.
                self._socket.close()
                if attempt == _ATTEMPTS - 1:
                    raise CodecError("the device process ends before it answers", code="E_CRASH") from None
                continue
            except TimeoutError:
                self._socket.close()
                raise CodecError(
                    f"the device process was not ready after {_GREETING_SECONDS:g} s", code="E_TIMEOUT"
                ) from None
            break
        self._socket.settimeout(_ANSWER_SECONDS)
        self._sent = False
        self.ended: str = greeting["ended"]
        self.pid: int = greeting["pid"]
        if greeting["failed"]:
            self._socket.close()
            raise UnsupportedError(f"nvimgcodec cannot use the GPU: {greeting['failed'][:300]}", code="E_BACKEND")

    def encode(self, frames: list[Words], coding: dict[str, Any]) -> list[Any]:
        """Return the codestream of each array, as bytes, or the exception if it failed."""
        starts, end = exchange.lay_out([frame.nbytes for frame in frames])
        size = sum(frame.nbytes for frame in frames)
        memory = self._held(end + size + size // 2)
        described = exchange.put_arrays(memory, frames, starts)
        message = {"do": "code", "frames": described, "coding": coding, "ht": coding["ht"], "size": size, "end": end}
        return self._ask(message)

    def decode(self, streams: list[bytes], size: int, *, high_throughput: bool) -> list[Any]:
        """Return the samples of each codestream, or the exception if it failed; `size` is about their bytes."""
        starts, end = exchange.lay_out([len(stream) for stream in streams])
        memory = self._held(end + size)
        described = exchange.put_streams(memory, streams, starts)
        message = {"do": "code", "frames": described, "coding": None, "ht": high_throughput, "size": size, "end": end}
        return self._ask(message)

    def _held(self, size: int) -> wire.Memory:
        if self._memory is None:
            self._memory = wire.Memory.make(size)
        self._memory.hold(size)
        return self._memory

    def _ask(self, message: dict[str, Any]) -> list[Any]:
        """Return the results for a message.

        If the device process dies before it answers, the message is sent to the next one, to be done alone. It is given
        up if that one dies too while it does it. One that dies earlier died of something else, and one that has ended
        without a reason had let this connection go.
        """
        memory = self._memory
        assert memory is not None
        alone = False
        for _ in range(_MOST_DEATHS):
            begun = False
            try:
                wire.send(self._socket, message | {"alone": alone}, None if self._sent else memory.descriptor)
                self._sent = True
                reply, _ = wire.receive(self._socket)
                while "begun" in reply:
                    begun = True
                    reply, _ = wire.receive(self._socket)
            except wire.Lost:
                self._socket.close()
                self._connect()
                if begun:
                    break
                alone = bool(self.ended)
                continue
            except TimeoutError:
                raise CodecError("the device process does not answer", code="E_TIMEOUT") from None
            return _results(reply, memory)
        code = "E_TIMEOUT" if NO_ANSWER in self.ended else "E_CRASH"
        raise CodecError(f"the device process {self.ended or 'ended'} twice on its frames", code=code)

    @property
    def large(self) -> bool:
        """Whether it holds more memory than is kept for the next frames."""
        return self._memory is not None and self._memory.size > _KEPT_BYTES

    def close(self) -> None:
        """Close the connection, and release its memory."""
        self._socket.close()
        if self._memory is not None:
            self._memory.close()


def _results(reply: dict[str, Any], memory: wire.Memory) -> list[Any]:
    ends = [one["at"] for one in reply["results"] if one is not None]
    if ends:
        memory.hold(reply["end"])
    results: list[Any] = []
    for place, one in enumerate(reply["results"]):
        if one is None:
            results.append(RuntimeError(reply["faults"].get(str(place), "it returned nothing.")))
        else:
            taken = exchange.take(one, memory)
            # The memory is used again, and arrays only show it.
            results.append(taken if isinstance(taken, bytes) else taken.copy())
    return results


@contextlib.contextmanager
def channel() -> Iterator[Channel]:
    """Lend a connection to the device process of this process. Raises UnsupportedError where none can be started."""
    with _lock:
        one = _idle.pop() if _idle else None
    one = one or Channel()
    try:
        yield one
    except BaseException:
        one.close()
        raise
    if one.large:
        one.close()
        return
    with _lock:
        _idle.append(one)


def close() -> None:
    """Close the idle connections of this process. The device process ends when it has no others."""
    with _lock:
        those = list(_idle)
        _idle.clear()
    for one in those:
        one.close()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Start a device process if there is none, and keep it for the duration: its clients come and go."""
    with _connected():
        yield


# --- finding and starting it -------------------------------------------------------------------------------------


def _connected() -> socket.socket:
    """Return a connection to a device process, started if there is none."""
    number = os.getpid() % max(gpu.count(), 1)
    directory = _directory()
    path = os.path.join(directory, f"{number}-{_identity()}")
    for attempt in range(_ATTEMPTS):
        found = _connect(path)
        if found is not None:
            return found
        with open(f"{path}.lock", "ab") as lock:
            # Only one of many clients starts it.
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = _connect(path)
            if found is not None:
                return found
            _start(path, lock.name, number)
        del attempt
    raise OutputError(f"the device process at {path} cannot be reached")


def _connect(path: str) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except (FileNotFoundError, ConnectionError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise OutputError(f"the device process cannot be reached: {error.strerror or error}") from error
    return connection


def _start(path: str, lock: str, number: int) -> None:
    """Start a supervisor, in a fresh interpreter that imports what this one would."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(os.path.abspath(one) for one in sys.path if one)}
    line = [sys.executable, "-P", "-m", "dcmtx.device.supervisor", path, lock, str(number), str(PATIENCE), str(LINGER)]
    try:
        subprocess.run(  # noqa: S603 - the line is of our own
            line, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=_START_SECONDS, check=True
        )
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", "replace").strip().splitlines()
        raise OutputError(f"the device process cannot be started: {said[-1] if said else error}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OutputError(f"the device process cannot be started: {error}") from error


def _directory() -> str:
    """Return the private directory of the sockets, made if it is not there."""
    import tempfile

    runtime = os.environ.get("XDG_RUNTIME_DIR")
    own = f"dcmtx-{os.geteuid()}"
    # After su, it may be that of somebody else.
    usable = runtime is not None and os.access(runtime, os.W_OK)
    directory = os.path.join(runtime, "dcmtx") if runtime and usable else os.path.join(tempfile.gettempdir(), own)
    if len(os.fsencode(directory)) + 32 > _LONGEST_PATH:
        directory = f"/tmp/{own}"  # noqa: S108 - its owner and mode are checked
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        found = os.lstat(directory)
    except OSError as error:
        raise OutputError(f"{directory} cannot be made: {error.strerror or error}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise OutputError(f"{directory} is not yours alone", advice="set XDG_RUNTIME_DIR to a directory of your own")
    return directory


def _identity() -> str:
    """Return what a client and its device process have in common: version, interpreter, modules, and the GPUs seen."""
    import hashlib

    seen = [__version__, sys.executable, os.environ.get("CUDA_VISIBLE_DEVICES", ""), str(PATIENCE), *sys.path]
    return hashlib.sha256("\0".join(seen).encode("utf-8", "surrogateescape")).hexdigest()[:12]
