"""TLS (PS3.15 B): what a configuration says of it, ready for a connection."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from dcmtx.errors import InputError

if TYPE_CHECKING:
    from dcmtx.relay.config import Tls


def server_context(tls: Tls) -> ssl.SSLContext:
    """Return the TLS of a listener; with authorities, clients must show a certificate that these have signed.

    Raises InputError if a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, tls)
    if tls.authorities:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: Tls) -> ssl.SSLContext:
    """Return the TLS for a destination. Raises InputError if a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = tls.check_name
    if not tls.authorities:
        context.load_default_certs()
    _load(context, tls)
    return context


def _load(context: ssl.SSLContext, tls: Tls) -> None:
    """Read what there is of files: authorities, certificate, key."""
    for path in (tls.authorities, tls.certificate, tls.key):
        if path:
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise InputError(f"it cannot be read: {error.strerror or error}", path=path) from error
    try:
        if tls.authorities:
            context.load_verify_locations(tls.authorities)
    except ssl.SSLError as error:
        raise InputError(f"it has no certificates in PEM: {error}", path=tls.authorities) from error
    try:
        if tls.certificate:
            # Nobody is asked for the password of a key: a service that waits for one never starts.
            context.load_cert_chain(tls.certificate, tls.key or None, password=_no_password)
    except _Locked:
        raise InputError(
            "its key has a password", advice="give one without, which only the relay may read", path=tls.key
        ) from None
    except ssl.SSLError as error:
        raise InputError(
            f"it is no certificate in PEM, or not that of the key: {error}", path=tls.certificate
        ) from error


class _Locked(Exception):  # noqa: N818 - it says what is wrong with a key
    """A key that has a password."""


def _no_password() -> str:
    raise _Locked


def secure(
    connection: socket.socket, context: ssl.SSLContext, seconds: float, *, host: str | None = None, server: bool = False
) -> ssl.SSLSocket:
    """Return the connection under TLS. Each step of the handshake takes at most so many seconds.

    Raises OSError, of which ssl.SSLError is one, if there is no agreement.
    """
    connection.settimeout(seconds)
    return context.wrap_socket(connection, server_side=server, server_hostname=host)
