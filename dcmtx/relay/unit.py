"""The unit that has systemd run a relay."""

from __future__ import annotations

import sys

from dcmtx.relay.config import Kind, RelayConfig

_LAST_PRIVILEGED = 1023
_UNIT = """\
# /etc/systemd/system/dcmtx-relay.service
# useradd -r -d /nonexistent -s /usr/sbin/nologin {user}
# install -d -o {user} -m 0700 {spool}
# systemctl enable --now dcmtx-relay
[Unit]
Description=dcmtx relay, which receives, transcodes and forwards DICOM instances
Wants=network-online.target
After=network-online.target

[Service]
User={user}
UMask={umask}
Environment=LANG=C.UTF-8
ExecStart={command}
# SIGTERM: messages that were begun are finished; the queue stays and goes on at the next start.
KillMode=mixed
TimeoutStopSec=2min
Restart=always
RestartSec=2
# Status 2 to 4: what it is told cannot be done, today or tomorrow.
RestartPreventExitStatus=2 3 4
LimitNOFILE=65536
{capability}NoNewPrivileges=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectHome={home}
ProtectControlGroups=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictSUIDSGID=yes
LockPersonality=yes
{writable}

[Install]
WantedBy=multi-user.target
"""


def unit(config: RelayConfig, user: str, arguments: list[str]) -> str:
    """Return a service unit for a relay of this user, which is started with these arguments."""
    words = [sys.executable, "-P", "-m", "dcmtx", "relay", *arguments]
    writable = [config.spool.path, *(each.path for each in config.destinations if each.kind is Kind.DIRECTORY)]
    ports = [config.listen.port, *([config.http.port] if config.http else [])]
    privileged = any(0 < port <= _LAST_PRIVILEGED for port in ports)
    at_home = any(
        path.startswith(("/home/", "/root/", "/run/user/")) for path in [*writable, sys.executable, *arguments]
    )
    return _UNIT.format(
        user=user,
        spool=config.spool.path,
        command=" ".join(map(_word, words)),
        # The spool is the relay's alone anyhow.
        umask="0027" if any(each.kind is Kind.DIRECTORY for each in config.destinations) else "0077",
        capability="AmbientCapabilities=CAP_NET_BIND_SERVICE\n" if privileged else "",
        home="read-only" if at_home else "yes",
        writable="\n".join(f"ReadWritePaths={_word(path)}" for path in writable),
    )


def _word(word: str) -> str:
    """Quote a word as systemd reads it."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if any(sign.isspace() for sign in word) or not word else word
