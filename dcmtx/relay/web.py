"""The status page, /metrics and /health: a small server of HTTP, in threads of its own.

Browsers of this machine reach it too, with whatever page they have open. So the host they call it by must be one of its
Browsers of this machine reach it too, with whatever page they have open. So the host they call it by must be one of
its own, not a name that was made to mean 127.0.0.1; what changes something is a POST with JSON whose Origin is the page
itself, and the page can neither be framed nor load anything from elsewhere.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import selectors
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from dcmtx.errors import DcmtxError
from dcmtx.relay.config import Http, SpoolConfig
from dcmtx.relay.control import Asked, Controlled, perform, read_request
from dcmtx.relay.view import Names, health, view

_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_JSON = "application/json"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_VERBS = {"/retry": "retry", "/drop": "drop"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_LONGEST_BODY = 4096
_PATIENCE = 15.0
# Connections at a time; more are closed at once, for they are no people.
_MOST = 64


class Source:
    """What the page shows: the relay, its metrics as text, names of what is held if they may be shown."""

    def __init__(
        self,
        relay: Controlled,
        metrics: Callable[[], bytes],
        *,
        spool: SpoolConfig | None = None,
        names: Names | None = None,
    ) -> None:
        self.relay = relay
        self.metrics = metrics
        self.spool = spool
        self.names = names


class StatusPage:
    """The server. `address` is where it listens: a host and a port."""

    def __init__(self, settings: Http, source: Source) -> None:
        """Listen. Raises OSError."""
        self._server = _Server(settings, source)
        self.address: tuple[str, int] = self._server.server_address[:2]  # type: ignore[assignment]
        self._woken, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="page", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        os.close(self._waker)
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)
        os.close(self._woken)
        self._server.server_close()
        self._server.close_connections()

    def _serve(self) -> None:
        """Accept connections until `close`; sleep in between, without looking up now and then."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.register(self._server, selectors.EVENT_READ)
            while not any(key.fileobj == self._woken for key, _ in selector.select()):
                self._server.handle_request()


class _Server(ThreadingHTTPServer):
    """A server of HTTP with so many threads at most, whose threads nobody waits for."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    # Of accepting: a client may be gone by then.
    timeout = 0

    def __init__(self, settings: Http, source: Source) -> None:
        self.settings = settings
        self.source = source
        self._free = threading.BoundedSemaphore(_MOST)
        self._open: set[socket.socket] = set()
        host = settings.host or "0.0.0.0"  # noqa: S104 - the user said: every address
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, settings.port), _Handler)

    def server_bind(self) -> None:
        """Bind, without asking a name server who this is."""
        self.allow_reuse_address = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setblocking(False)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.settings.host, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if there is one to be had."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one connection."""
        self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.discard(request)
            self._free.release()

    def close_connections(self) -> None:
        """Have those end that are open, and would be answered on."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away."""


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "dcmtx"
    sys_version = ""
    timeout = _PATIENCE

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is that of the base
        """Log nothing: a page that is open asks every two seconds."""

    def handle(self) -> None:
        """Answer until the client has enough, or goes."""
        with contextlib.suppress(OSError):
            super().handle()

    def do_GET(self) -> None:
        """Show something; change nothing."""
        self._answer(self._get)

    do_HEAD = do_GET  # noqa: N815 - the name is that of the base

    def do_POST(self) -> None:
        """Retry or drop."""
        self._answer(self._post)

    def _answer(self, what: Callable[[str], tuple[HTTPStatus, str, bytes]]) -> None:
        try:
            self._check_host()
            status, kind, body = what(urlsplit(self.path).path)
        except _Refused as error:
            self.close_connection = True
            status, kind = error.status, _JSON
            body = json.dumps({"error": error.what, "advice": error.advice}).encode() + b"\n"
        except DcmtxError as error:
            status, kind = HTTPStatus.CONFLICT, _JSON
            body = json.dumps({"error": error.what, "advice": error.advice}).encode() + b"\n"
        except OSError as error:
            status, kind = HTTPStatus.INTERNAL_SERVER_ERROR, _JSON
            said = f"the spool failed: {error.strerror or error}"
            body = json.dumps({"error": said, "advice": "look at its disk"}).encode() + b"\n"
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "POST" if urlsplit(self.path).path in _VERBS else "GET, HEAD")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # --- what is shown

    def _get(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        source = self.server.source
        if path in _FILES:
            name, kind = _FILES[path]
            return HTTPStatus.OK, kind, page_file(name)
        if path == "/state":
            shown = view(source.relay.state(), self.server.settings, spool=source.spool, names=source.names)
            return HTTPStatus.OK, _JSON, json.dumps(shown).encode() + b"\n"
        if path == "/metrics":
            return HTTPStatus.OK, _METRICS, source.metrics()
        if path == "/health":
            found = health(source.relay.state(), source.spool)
            status = HTTPStatus.OK if found["receiving"] else HTTPStatus.SERVICE_UNAVAILABLE
            return status, _JSON, json.dumps(found).encode() + b"\n"
        if path in _VERBS:
            raise _Refused(HTTPStatus.METHOD_NOT_ALLOWED, "nothing is changed by GET", "use the page")
        raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page", "there are /, /metrics and /health")

    # --- what changes something

    def _post(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        if path not in _VERBS:
            known = path in _FILES or path in ("/state", "/metrics", "/health")
            raise _Refused(HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND, "nothing is posted there")
        if self.server.settings.read_only:
            raise _Refused(HTTPStatus.FORBIDDEN, "this page changes nothing", "use dcmtx relay retry and drop")
        self._check_origin()
        given = self._body()
        given["do"] = _VERBS[path]
        asked = read_request(json.dumps(given).encode())
        return HTTPStatus.OK, _JSON, json.dumps(perform(self.server.source.relay, asked)).encode() + b"\n"

    def _body(self) -> dict[str, Any]:
        """Return the JSON that was sent."""
        if self.headers.get_content_type() != _JSON:
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "what is posted is not JSON")
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _LONGEST_BODY:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "what is posted has no length, or too much of it")
        try:
            given = json.loads(self.rfile.read(int(length)))
        except ValueError:
            given = None
        if not isinstance(given, dict) or not set(given) <= set(Asked._fields) - {"do"}:
            raise _Refused(HTTPStatus.BAD_REQUEST, "what is posted is no request")
        return given

    # --- who asks

    def _check_host(self) -> None:
        """Refuse a host that is not this server's: a page from elsewhere may have had its name mean this machine."""
        given = self.headers.get_all("Host") or []
        if len(given) != 1 or not self._is_own(given[0]):
            raise _Refused(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this server is not called that",
                "call it by its address, or add the name to hosts of [http]",
            )

    def _is_own(self, host: str) -> bool:
        with contextlib.suppress(ValueError):
            name = (urlsplit(f"//{host}").hostname or "").lower()
            if name in {each.lower() for each in self.server.settings.hosts}:
                return True
            here = ipaddress.ip_address(self.connection.getsockname()[0])
            if name == "localhost":
                return here.is_loopback
            return ipaddress.ip_address(name) == here
        return False

    def _check_origin(self) -> None:
        """Refuse what another page has a browser send. Every browser says where a POST comes from."""
        origin = self.headers.get("Origin", "")
        if urlsplit(origin).netloc.lower() != self.headers.get("Host", "").lower() or not origin:
            raise _Refused(HTTPStatus.FORBIDDEN, "that does not come from the page of this relay", "use the page")


class _Refused(Exception):  # noqa: N818 - it says what is refused
    """A request that is not answered as it was meant."""

    def __init__(self, status: HTTPStatus, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.advice = advice


def page_file(name: str) -> bytes:
    """Return a file of the page."""
    with open(os.path.join(os.path.dirname(__file__), "page", name), "rb") as file:
        return file.read()
