"""The control socket of a spool: what `dcmtx relay status|hold|retry|drop` ask a relay that runs.

One request a connection, an object of JSON in one line; the answer is another. Only the relay's own user is served: the
kernel says who asks, and who answers.

    {"do": "status"}                                          -> {"state": {...}}
    {"do": "retry", "destination": "archive", "id": null}     -> {"count": 3}
    anything wrong                                            -> {"error": "...", "advice": "..."}
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from typing import Any, Protocol

from dcmtx.errors import DcmtxError, InputError, UsageError
from dcmtx.record import Record

NAME = "control"
# A request is short; the state of a relay that holds a hundred thousand instances is not.
_LONGEST_REQUEST = 1 << 16
_PATIENCE = 10.0
_BACKLOG = 64
_BREATH = 0.1


class Controlled(Protocol):
    """What can be asked of a relay. `identifier` is that of an instance, None: of all that are held."""

    def state(self) -> dict[str, Any]:
        """Return what there is to be known, as plain values."""

    def hold(self, name: str) -> int:
        """Send nothing more to a destination, until retry; return how many instances wait."""

    def retry(self, name: str, identifier: str | None = None) -> int:
        """Put what is held back into the queue, and go on sending; return how many instances these are."""

    def drop(self, name: str, identifier: str) -> int:
        """Remove an instance from what waits or is held; return how many were removed: 1 or 0."""


class Asked(Record):
    """One request: what to do, with which destination, with which instance."""

    do: str
    destination: str = ""
    id: str | None = None


_VERBS = ("status", "hold", "retry", "drop")


def perform(relay: Controlled, asked: Asked) -> dict[str, Any]:
    """Do what is asked, and return the answer. Raises UsageError if that makes no sense."""
    if asked.do not in _VERBS:
        raise UsageError(f"there is no {asked.do!r}", advice=f"ask for {', '.join(_VERBS)}")
    state = relay.state()
    if asked.do == "status":
        return {"state": state}
    if asked.destination not in state["destinations"]:
        known = ", ".join(state["destinations"])
        raise UsageError(f"there is no destination {asked.destination!r}", advice=f"there are {known}")
    if asked.do == "hold":
        return {"count": relay.hold(asked.destination)}
    if asked.do == "retry":
        count = relay.retry(asked.destination, asked.id)
    elif asked.id is None:
        raise UsageError("nothing says which instance is to be dropped", advice="name its id, as status shows it")
    else:
        count = relay.drop(asked.destination, asked.id)
    if asked.id is not None and not count:
        raise UsageError(
            f"{asked.destination} holds no instance {asked.id!r}, or it is being sent now",
            advice="look at the status again",
        )
    return {"count": count}


def read_request(data: bytes) -> Asked:
    """Return a request from its JSON. Raises UsageError if it is none."""
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        raise UsageError("the request is not JSON") from None
    if not isinstance(given, dict) or not set(given) <= set(Asked._fields) or "do" not in given:
        raise UsageError("the request is no request")
    if not all(isinstance(value, str) or (name == "id" and value is None) for name, value in given.items()):
        raise UsageError("the request has something that is no text")
    return Asked(**given)


# --- the relay's side ----------------------------------------------------------------------------------------------


class ControlServer:
    """Answers at the control socket of a spool, in a thread of its own."""

    def __init__(self, relay: Controlled, spool: str) -> None:
        """Listen. The caller has the lock of the spool, so a socket that is there is nobody's. Raises OSError."""
        self._relay = relay
        self._closing = threading.Event()
        self._path = os.path.join(spool, NAME)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            with _short(spool) as path:
                # The directory is the relay's alone; from here on so is the socket.
                self._socket.bind(path)
                os.chmod(path, 0o600)
            self._socket.listen(_BACKLOG)
        except BaseException:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Listen no more, and remove the socket."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)
        with contextlib.suppress(OSError):
            os.unlink(self._path)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                if self._closing.wait(_BREATH):
                    return
                # Out of descriptors, for example: some will be closed.
                continue
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_PATIENCE)
                connection.sendall(json.dumps(self._answer(connection)).encode() + b"\n")

    def _answer(self, connection: socket.socket) -> dict[str, Any]:
        try:
            if _user(connection) != os.geteuid():
                raise UsageError(f"the relay is that of user {os.geteuid()}", advice="be that user")
            return perform(self._relay, read_request(_line(connection, _LONGEST_REQUEST)))
        except DcmtxError as error:
            return {"error": error.what, "advice": error.advice}
        except OSError as error:
            return {"error": f"the spool failed: {error.strerror or error}", "advice": "look at its disk"}
        except Exception as error:  # noqa: BLE001 - who asks next is answered, too
            return {"error": f"a bug in dcmtx: {error!r}", "advice": "please report it"}


# --- the other side ------------------------------------------------------------------------------------------------


def ask(spool: str, asked: Asked) -> dict[str, Any]:
    """Have the relay of a spool do something, and return its answer.

    Raises InputError if no relay answers there, UsageError if it has no use for what is asked.
    """
    request = json.dumps(dict(asked.items())).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE)
            with _short(spool) as path:
                connection.connect(path)
            if _user(connection) != os.geteuid():
                raise InputError("the relay of this spool is another user's", advice="be that user", path=spool)
            connection.sendall(request)
            answer: dict[str, Any] = json.loads(_line(connection, None))
    except (OSError, ValueError) as error:
        raise _unanswered(spool, error) from error
    if "error" in answer:
        raise UsageError(answer["error"], advice=answer.get("advice", ""))
    return answer


def _unanswered(spool: str, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return InputError(
            "no relay runs with this spool", advice="start one, or name its spool", path=spool, code="E_NO_RELAY"
        )
    if isinstance(error, PermissionError):
        return InputError("this spool is another user's", advice="be that user", path=spool, code="E_NO_RELAY")
    why = getattr(error, "strerror", None) or str(error) or "no answer"
    return InputError(f"the relay of this spool does not answer ({why})", path=spool, code="E_NO_RELAY")


@contextlib.contextmanager
def _short(spool: str) -> Any:
    """Give the path of the socket by a descriptor of its directory: the system takes no more than 107 bytes."""
    directory = os.open(spool, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{NAME}"
    finally:
        os.close(directory)


def _user(connection: socket.socket) -> int:
    """Return the user at the other end, as the kernel knows it."""
    _, user, _ = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(user)


def _line(connection: socket.socket, most: int | None) -> bytes:
    """Return a line that the other end sends. Raises UsageError if it is longer than `most` bytes."""
    data = b""
    while not data.endswith(b"\n"):
        piece = connection.recv(1 << 16)
        if not piece:
            break
        data += piece
        if most is not None and len(data) > most:
            raise UsageError("the request has no end")
    return data
