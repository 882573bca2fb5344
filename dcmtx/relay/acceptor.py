"""The storage SCP (PS3.4 Annex B): accepts associations, a thread for each, and answers C-STORE and C-ECHO."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

from dcmtx.relay.session import Session
from dcmtx.relay.tls import secure, server_context

if TYPE_CHECKING:
    from dcmtx.relay.config import Listen
    from dcmtx.relay.reception import Desk

# Connections that have not asked for an association yet. Of more, the oldest is closed.
_MOST_SILENT = 256
_BACKLOG = 128


class Acceptor:
    """Listens. `start` begins, `stop` ends after the messages under way."""

    def __init__(self, listen: Listen, desk: Desk) -> None:
        self.listen = listen
        self.desk = desk
        self.stopping = False
        self._tls = None if listen.tls is None else server_context(listen.tls)
        self._guard = threading.Lock()
        self._silent: dict[int, socket.socket] = {}
        self._sessions: set[Session] = set()
        self._threads: set[threading.Thread] = set()
        self._socket = _listen(listen.host, listen.port)
        self.address = self._socket.getsockname()[:2]

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def start(self) -> None:
        """Accept connections from now on."""
        threading.Thread(target=self._accept, name="accept", daemon=True).start()

    def associations(self) -> int:
        """Return how many associations are open."""
        return len(self._sessions)

    def _accept(self) -> None:
        while not self.stopping:
            try:
                connection, peer = self._socket.accept()
            except OSError:
                if not self.stopping:
                    # Out of descriptors, for example: some will be closed.
                    time.sleep(0.1)
                continue
            self._drop_oldest()
            # By a socket for both kinds of addresses, those of version 4 come as these.
            host = peer[0].removeprefix("::ffff:")
            thread = threading.Thread(target=self._serve, args=(connection, host), name=f"from {host}", daemon=True)
            with self._guard:
                self._silent[id(connection)] = connection
                self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError:
                # No more threads.
                self._forget(connection, thread)
                connection.close()

    def _drop_oldest(self) -> None:
        with self._guard:
            if len(self._silent) >= _MOST_SILENT:
                oldest = next(iter(self._silent.values()))
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)

    def _forget(self, connection: socket.socket, thread: threading.Thread | None = None) -> None:
        with self._guard:
            self._silent.pop(id(connection), None)
            if thread is not None:
                self._threads.discard(thread)

    def _serve(self, connection: socket.socket, host: str) -> None:
        """Serve one connection to its end, in a thread of its own."""
        with connection:
            try:
                connection = self._secured(connection, host)
                Session(self, connection, host).run()
            except OSError:
                return
            finally:
                self._forget(connection, threading.current_thread())

    def _secured(self, connection: socket.socket, host: str) -> socket.socket:
        if self._tls is None:
            return connection
        try:
            secured = secure(connection, self._tls, self.listen.artim, server=True)
        except (OSError, ValueError) as error:
            self.desk.log.write("no tls", f"{host}: no TLS: {error}", peer=host, reason=str(error))
            raise OSError("no TLS") from error
        finally:
            self._forget(connection)
        with self._guard:
            self._silent[id(secured)] = secured
        return secured

    def admit(self, session: Session, connection: socket.socket) -> bool:
        """Count an association whose request has come; False if there are too many."""
        self._forget(connection)
        with self._guard:
            if self.stopping or len(self._sessions) >= self.listen.maximum_associations:
                return False
            self._sessions.add(session)
            return True

    def leave(self, session: Session) -> None:
        """Count an association no more."""
        with self._guard:
            self._sessions.discard(session)

    def stop(self, patience: float) -> None:
        """Accept nothing more, let messages that have begun be answered, and end all associations."""
        self.stopping = True
        self.desk.ended.set()
        # What is blocked in accept() is woken by this alone.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._guard:
            sessions, silent, threads = set(self._sessions), list(self._silent.values()), set(self._threads)
        for connection in silent:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for session in sessions:
            session.end_when_idle()
        until = time.monotonic() + patience
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        for session in sessions:
            session.wire.interrupt()


def _listen(host: str, port: int) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)
