"""What an administrator installs: units for systemd, a client in C, and hooks for Orthanc."""

from __future__ import annotations

import os
import shlex
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
    """Quote a word for ExecStart."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if any(sign.isspace() for sign in word) else word


def client_source() -> str:
    """Return the client in C. It uses servers of this version, and calls this Python if there is none."""
    peers = ", ".join(f'"{name}"' for name in PEERS)
    return _filled("client.c", PEERS=peers, PYTHON=_c_string(sys.executable))


# Hook name to template file.
HOOKS = {
    "orthanc-python": "hooks/orthanc.py.in",
    "orthanc-lua": "hooks/orthanc.lua.in",
    "orthanc-c": "hooks/orthanc.c.in",
}


def hook(name: str, to: str, uid: str, command: list[str] | None = None) -> str:
    """Return the hook of that name, which converts to the target `to` with this UID.

    The hook starts `command`, by default this Python's dcmtx; the hook in C starts nothing.
    """
    command = command or [sys.executable, "-P", "-m", "dcmtx"]
    return _filled(
        HOOKS[name],
        TO=to,
        UID=uid,
        COMMAND_PYTHON=_python_list(command),
        COMMAND_LUA=_lua_string(shlex.join(command)),
    )


def _filled(name: str, **values: str) -> str:
    """Return a file of this package with its @NAME@ placeholders filled in."""
    text = _text(name).replace("@ASK@\n", _text("ask.c"))
    for key, value in {"VERSION": __version__, **values}.items():
        text = text.replace(f"@{key}@", value)
    return text


def _text(name: str) -> str:
    with open(os.path.join(os.path.dirname(__file__), name), encoding="ascii") as file:
        return file.read()


def _python_list(words: list[str]) -> str:
    """Return words as a Python list literal, in ASCII; bytes that are not UTF-8 survive as surrogates."""
    return f"[{', '.join(map(ascii, words))}]"


def _lua_string(text: str) -> str:
    """Return text as a Lua string literal, in ASCII."""
    return (
        '"'
        + "".join(
            chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\{byte:03d}" for byte in os.fsencode(text)
        )
        + '"'
    )


def _c_string(text: str) -> str:
    """Return text escaped for a C string literal, without the quotes, in ASCII."""
    return "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\?' else f"\\{byte:03o}" for byte in os.fsencode(text)
    )
