"""What a server's administrator installs: units for systemd, and a client in C."""

from __future__ import annotations

import os
import sys

from dcmtx._version import __version__
from dcmtx.serve.client import PEERS

_UNITS = """\
# /etc/systemd/system/dcmtx.socket
# {user} is the user that the hooks run as: nobody else is served.
[Unit]
Description=Socket of dcmtx, which converts DICOM files

[Socket]
ListenStream={path}
SocketUser={user}
SocketMode=0600
DirectoryMode=0755

[Install]
WantedBy=sockets.target

# /etc/systemd/system/dcmtx.service
# systemctl enable --now dcmtx.socket
[Unit]
Description=dcmtx, which converts DICOM files
Requires=dcmtx.socket
After=dcmtx.socket

[Service]
User={user}
Environment=LANG=C.UTF-8
ExecStart={command}
# The server lets the jobs finish that it has begun; only it is told to end.
KillMode=mixed
TimeoutStopSec=5min
Restart=on-failure
NoNewPrivileges=yes
# No PrivateTmp=, ProtectSystem= and the like: the server must see the files that its clients see, and leaves jobs to
# those that see others. No RuntimeDirectory=: it would be removed with the socket in it.
"""


def units(path: str, user: str, options: list[str]) -> str:
    """Return a socket unit and a service unit for a server of this user with these options."""
    words = [sys.executable, "-P", "-m", "dcmtx", "serve", *options]
    return _UNITS.format(path=path.replace("%", "%%"), user=user, command=" ".join(map(_systemd_word, words)))


def _systemd_word(word: str) -> str:
    """Return a word as it stands in ExecStart."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if any(sign.isspace() for sign in word) else word


def client_source() -> str:
    """Return the client in C, which speaks to servers of this version and calls this Python where there is none."""
    with open(os.path.join(os.path.dirname(__file__), "client.c"), encoding="ascii") as file:
        text = file.read()
    peers = ", ".join(f'"{name}"' for name in PEERS)
    text = text.replace("@VERSION@", __version__).replace("@PEERS@", peers)
    return text.replace("@PYTHON@", _c_string(sys.executable))


def _c_string(text: str) -> str:
    """Return text as it stands between the quotes of a string in C, in ASCII."""
    return "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\?' else f"\\{byte:03o}" for byte in os.fsencode(text)
    )
