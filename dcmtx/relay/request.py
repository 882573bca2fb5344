"""One request to the status page: who may ask for what, and what is answered."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dcmtx.errors import DcmtxError
from dcmtx.relay.control import Asked, perform, read_request
from dcmtx.relay.view import health, view

if TYPE_CHECKING:
    from dcmtx.relay.web import Server

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


class Request(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: Server
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
        except (ValueError, RecursionError):
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
            if isinstance(here, ipaddress.IPv6Address) and here.ipv4_mapped is not None:
                here = here.ipv4_mapped
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
