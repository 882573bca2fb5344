"""The status page, /metrics and /health: a small server of HTTP, in threads of its own.

Browsers of this machine reach it too, with whatever page they have open. So the host they call it by must be one of
its own, not a name that was made to mean 127.0.0.1; what changes something is a POST with JSON whose Origin is the page
itself, and the page can neither be framed nor load anything from elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from typing import Any

from dcmtx.relay.config import Http, SpoolConfig
from dcmtx.relay.control import Controlled
from dcmtx.relay.request import Request
from dcmtx.relay.view import Names

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
        self._server = Server(settings, source)
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


class Server(ThreadingHTTPServer):
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
        super().__init__((host, settings.port), Request)

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
