"""TLS (PS3.15 B): what a configuration says of it, ready for a connection."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dcmtx.relay.config import Tls


def server_context(tls: Tls) -> ssl.SSLContext:
    """Return the TLS of a listener; with authorities, clients must show a certificate that these have signed.

    Raises OSError if a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key or None)
    if tls.authorities:
        context.load_verify_locations(tls.authorities)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: Tls) -> ssl.SSLContext:
    """Return the TLS for a destination. Raises OSError if a file cannot be used."""
    context = ssl.create_default_context(cafile=tls.authorities or None)
    context.check_hostname = tls.check_name
    if tls.certificate:
        context.load_cert_chain(tls.certificate, tls.key or None)
    return context


def secure(
    connection: socket.socket, context: ssl.SSLContext, seconds: float, *, host: str | None = None, server: bool = False
) -> ssl.SSLSocket:
    """Return the connection under TLS. Each step of the handshake takes at most so many seconds.

    Raises OSError, of which ssl.SSLError is one, if there is no agreement.
    """
    connection.settimeout(seconds)
    return context.wrap_socket(connection, server_side=server, server_hostname=host)
