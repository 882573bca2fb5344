"""Credentials of a client as the kernel reports them, to compare its rights on files with the server's."""

from __future__ import annotations

import contextlib
import socket
import struct
from pathlib import Path

# CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID: those for file access.
_FILE_CAPABILITIES = 0b11111

Rights = tuple[int, frozenset[str]]


def peer(connection: socket.socket) -> tuple[int, int, int]:
    """Return the process, user and group ids of the peer."""
    pid, user, group = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, user, group


def rights(pid: int) -> Rights | None:
    """Return the file capabilities and supplementary groups of a process, or None if the system does not tell."""
    fields = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            fields[name] = value
    if "CapEff" not in fields or "Groups" not in fields:
        return None
    return int(fields["CapEff"], 16) & _FILE_CAPABILITIES, frozenset(fields["Groups"].split())
