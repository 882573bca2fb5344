"""HTTP to a destination: a file as the body of a POST, a piece at a time, and what an HTTP status means."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from dcmtx._version import __version__
from dcmtx.errors import InputError
from dcmtx.record import Record
from dcmtx.relay.answers import Answer, AnswerKind, Undeliverable
from dcmtx.relay.tls import client_context

if TYPE_CHECKING:
    from dcmtx.relay.config import Destination, Login

_PIECE = 1 << 18
# Of an answer no more is read: a list of what became of an instance.
_LONGEST_ANSWER = 1 << 22
_LONGEST_SECRET = 1 << 16

_AGAIN, _FEW_TRIES, _HOLD = AnswerKind.AGAIN, AnswerKind.FEW_TRIES, AnswerKind.HOLD
_REJECTED, _OTHER_SYNTAX = AnswerKind.REJECTED, AnswerKind.OTHER_SYNTAX

# First and last status of a range, what it means, and what a user should know (RFC 9110 15).
STATUSES: tuple[tuple[int, int, AnswerKind, str], ...] = (
    (300, 399, _REJECTED, "it is somewhere else now; write that address into the configuration"),
    (401, 401, _REJECTED, "it wants a login, or another one"),
    (403, 403, _REJECTED, "this relay may not store there"),
    (404, 406, _REJECTED, "there is no such service at that address"),
    (407, 407, _REJECTED, "its proxy wants a login"),
    (408, 408, _AGAIN, "it waited for too long"),
    (413, 413, _HOLD, "the instance is too large for it"),
    (415, 415, _OTHER_SYNTAX, "it does not take this transfer syntax"),
    (425, 425, _AGAIN, "it is too early for it"),
    (429, 429, _AGAIN, "it wants to be asked less often"),
    (400, 499, _FEW_TRIES, "it does not take the instance"),
    (501, 501, _REJECTED, "it stores nothing"),
    (502, 504, _AGAIN, "it cannot answer now"),
    (507, 507, _AGAIN, "it has no room"),
    (500, 599, _FEW_TRIES, "it failed"),
)


def answer_to_http(status: int, text: str = "") -> Answer:
    """Return what the status of an answer that is no success means. `text` is what the destination says itself.

    >>> answer_to_http(503).kind.value, answer_to_http(400).kind.value
    ('again', 'few tries')
    """
    for first, last, kind, name in STATUSES:
        if first <= status <= last:
            # Of one that has moved it is the place, which is no secret.
            where = f" ({text})" if text and status // 100 == 3 else ""
            said = "" if where else text
            return Answer(kind, status, f"HTTP status {status}, {name}{where}", http=True, said=said)
    return Answer(_FEW_TRIES, status, f"HTTP status {status}, which says nothing of the instance", http=True)


class Reply(Record):
    """An answer of HTTP: its status, its body, and what kind that is."""

    status: int
    body: bytes
    kind: str = ""
    location: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the status says so."""
        return 200 <= self.status < 300

    def said(self) -> str:
        """Return the beginning of a body that is text, in one line."""
        if self.location:
            return self.location
        if "text/plain" not in self.kind and "json" not in self.kind:
            return ""
        return " ".join(self.body[:300].decode("utf-8", "replace").split())


class Poster:
    """A client of one destination, which keeps its connection. One thread uses it.

    Raises Undeliverable if what the configuration names cannot be used.
    """

    def __init__(self, destination: Destination) -> None:
        import httpx

        timeouts = destination.timeouts
        try:
            context = _context(destination)
            _authorization(destination.login)
            basic = _basic(destination.login)
        except InputError as error:
            raise Undeliverable(Answer(AnswerKind.UNREACHABLE, text=f"{error.path}: {error}")) from error
        self._url = destination.url
        self._login = destination.login
        self._client = httpx.Client(
            verify=context,
            headers={"User-Agent": f"dcmtx/{__version__}"},
            auth=basic,
            timeout=httpx.Timeout(timeouts.network, connect=timeouts.acse, read=timeouts.dimse),
            proxy=destination.proxy or None,
            # What the environment says of proxies and passwords is nobody's configuration.
            trust_env=False,
        )

    def post(self, path: str, pieces: Iterator[bytes], length: int, headers: Mapping[str, str]) -> Reply | Answer:
        """Send a body of so many bytes, and return the reply, or what there was instead of one.

        Raises OSError if the pieces cannot be read.
        """
        import httpx

        try:
            sent = {**headers, **_authorization(self._login), "Content-Length": str(length)}
        except InputError as error:
            return Answer(AnswerKind.UNREACHABLE, text=f"{error.path}: {error}")
        try:
            with self._client.stream("POST", self._url + path, content=pieces, headers=sent) as answer:
                body = b""
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > _LONGEST_ANSWER:
                        break
                found = answer.headers
                return Reply(
                    answer.status_code, body, found.get("content-type", ""), location=found.get("location", "")
                )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol) as error:
            return Answer(AnswerKind.UNREACHABLE, text=f"it cannot be reached: {_why(error)}")
        except httpx.TimeoutException as error:
            return Answer(AnswerKind.BROKEN, text=f"no answer in time ({type(error).__name__})")
        except httpx.HTTPError as error:
            return Answer(AnswerKind.BROKEN, text=f"the connection broke: {_why(error)}")

    def get(self, path: str) -> Reply | Answer:
        """Ask for something, to see whether somebody answers."""
        import httpx

        try:
            answer = self._client.get(self._url + path, headers=_authorization(self._login))
        except httpx.HTTPError as error:
            return Answer(AnswerKind.UNREACHABLE, text=f"it cannot be reached: {_why(error)}")
        found = answer.headers
        return Reply(answer.status_code, answer.content[:_LONGEST_ANSWER], found.get("content-type", ""),
                     location=found.get("location", ""))  # fmt: skip

    def close(self) -> None:
        """Close the connection. Another thread may do so too, to have a `post` fail."""
        with contextlib.suppress(RuntimeError, OSError):
            self._client.close()


def _why(error: BaseException) -> str:
    """Return what went wrong as the system says it, if it is among the causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, ssl.SSLError):
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _context(destination: Destination) -> ssl.SSLContext | bool:
    """Return the TLS for a destination; for one without, nothing that takes time to be made. Raises InputError."""
    if destination.tls is not None:
        return client_context(destination.tls)
    secure = destination.url.startswith("https:") or destination.proxy.startswith("https:")
    return ssl.create_default_context() if secure else False


def pieces_of(path: str) -> Iterator[bytes]:
    """Yield a file a piece at a time. Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            yield piece


def size_of(path: str) -> int:
    """Return the size of a file in bytes. Raises OSError."""
    return os.stat(path).st_size


def _basic(login: Login | None) -> tuple[str, str] | None:
    return (login.user, _secret(login.password_file)) if login is not None and login.user else None


def _authorization(login: Login | None) -> dict[str, str]:
    """Return the header that shows a bearer token, read anew for every request: tokens are renewed."""
    return {"Authorization": f"Bearer {_secret(login.token_file)}"} if login is not None and login.token_file else {}


def _secret(path: str) -> str:
    """Return the first line of a file. Raises InputError."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline(_LONGEST_SECRET).strip("\r\n")
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror or error}", path=path) from error
    except UnicodeDecodeError as error:
        raise InputError("it is not text in UTF-8", path=path) from error
