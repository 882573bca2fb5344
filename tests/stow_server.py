"""A server of DICOMweb for tests, which takes Store Transactions apart strictly, and can be told how to fail."""

from __future__ import annotations

import json
import ssl
import threading
import time
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import dicom


class StowServer:
    """Takes instances at /dicom-web/studies. What it is told to do with the next requests is in `plan`, first to last.

    An entry of `plan` is a status, a tuple of status and reason for a failure, "silent", "cut", or "unnamed". `refuses`
    has Transfer Syntax UIDs that are answered by a reason of failure. `token` is what it wants to see, if anything.
    """

    def __init__(self, *, context: ssl.SSLContext | None = None, token: str = "") -> None:
        self.plan: list[Any] = []
        self.refuses: dict[str, int] = {}
        self.token = token
        self.stored: dict[str, bytes] = {}
        self.requests: list[dict[str, str]] = []
        self.parts: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

            def do_POST(self) -> None:
                server.take(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        self.port = self._server.server_address[1]
        scheme = "http"
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self.port}/dicom-web"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    # --- one request

    def take(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        self.requests.append(dict(request.headers.items()))
        body = request.rfile.read(int(request.headers["Content-Length"]))
        order = self.plan.pop(0) if self.plan else None
        if order == "silent":
            time.sleep(30)
            return
        if order == "cut":
            request.close_connection = True
            return
        if self.token and request.headers.get("Authorization") != self.token:
            order = 401
        # A proxy is asked for all of an address.
        if request.path.removeprefix("http://pacs.example.org") != "/dicom-web/studies":
            order = 404
        if isinstance(order, int):
            self._answer(request, order, b"it was told to", "text/plain")
            return
        self._store(request, body, order)

    def _store(self, request: BaseHTTPRequestHandler, body: bytes, order: Any) -> None:
        referenced, failed = [], []
        for kind, data in parts(request.headers["Content-Type"], body):
            self.parts.append(kind)
            found = dicom.walk(data)
            about = {
                "00081150": {"vr": "UI", "Value": [text(found.elements[0x00080016])]},
                "00081155": {"vr": "UI", "Value": [text(found.elements[0x00080018])]},
            }
            instance = about["00081155"]["Value"][0]
            named = kind.partition("transfer-syntax=")[2]
            assert named in ("", text(found.meta[0x00020010])), "the part is not what its header says"
            reason = self.refuses.get(text(found.meta[0x00020010]), order[1] if isinstance(order, tuple) else None)
            if reason is not None:
                failed.append(about | {"00081197": {"vr": "US", "Value": [reason]}})
            elif order != "unnamed" and not (order == "parameters" and named):
                self.stored[instance] = data
                referenced.append(about)
        status = order[0] if isinstance(order, tuple) else 409 if failed else 200
        answer = {"00081199": {"vr": "SQ", "Value": referenced}, "00081198": {"vr": "SQ", "Value": failed}}
        shown = {tag: item if item["Value"] else {"vr": "SQ"} for tag, item in answer.items()}
        self._answer(request, status, json.dumps(shown).encode(), "application/dicom+json")

    def _answer(self, request: BaseHTTPRequestHandler, status: int, body: bytes, kind: str) -> None:
        request.send_response(status)
        if 300 <= status < 400:
            request.send_header("Location", "https://elsewhere.example.org/")
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


def text(found: dicom.Found) -> str:
    return found.value.decode("ascii").strip("\0 ")


def parts(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """Return media type and content of each part (RFC 2046 5.1, RFC 2387)."""
    message = Message()
    message["Content-Type"] = content_type
    assert message.get_content_type() == "multipart/related"
    assert message.get_param("type") == "application/dicom"
    boundary = str(message.get_param("boundary")).encode("ascii")
    assert 1 <= len(boundary) <= 70
    first, *rest = (b"\r\n" + body).split(b"\r\n--" + boundary)
    assert first == b""
    assert rest.pop() == b"--\r\n"
    found = []
    for part in rest:
        head, gap, content = part.partition(b"\r\n\r\n")
        assert gap
        assert head.startswith(b"\r\n")
        name, _, value = head.strip().decode("ascii").partition(": ")
        assert name.lower() == "content-type"
        found.append((value, content))
    return found
