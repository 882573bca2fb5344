"""`dcmtx serve`."""

from __future__ import annotations

import getpass
import json
import os
from contextlib import closing
from typing import Any

import click

from dcmtx.cli import SETTINGS, main
from dcmtx.errors import InputError, UsageError

_SYSTEM_PLACE = "/run/dcmtx/socket"
# Loaded before there is a job: what every job would load.
_COMMANDS = ("convert", "frames", "batch", "syntaxes")


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.option(
    "--socket",
    "path",
    metavar="PATH",
    help="Where to listen, or whom to ask. [default: DCMTX_SOCKET, /run/dcmtx/socket, or dcmtx/socket in "
    "XDG_RUNTIME_DIR]",
)
@click.option("-j", "--jobs", type=click.IntRange(1), help="Jobs done at a time. [default: the cores of this process]")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How a line of the log is written.",
)
@click.option("--status", is_flag=True, help="Ask the server that runs: its jobs, its version, its time; no new one.")
@click.option("--json", "as_json", is_flag=True, help="With --status: one JSON object.")
@click.option("--unit", is_flag=True, help="Print units for systemd: a socket, and the service behind it.")
@click.option("--client-source", is_flag=True, help="Print a client in C, which starts twelve milliseconds sooner.")
def serve(path: str | None, jobs: int | None, log_format: str, **options: Any) -> int:
    """Do the work of every dcmtx that is called, with the codecs loaded already.

    Once a server runs, `dcmtx` with any arguments hands its work over to it, and means what it meant: the server forks
    a process that has the caller's arguments, directory, umask and standard streams. Messages, files and exit statuses
    are the same. Without a server `dcmtx` does the work itself, and so it does where the server is another version,
    sees other files (a container, a private /tmp), has other rights (another user, other groups), or has had no time
    for 30 seconds. A job that was sent is never done twice: if its process dies, its exit status is 6.

    It serves its own user only; the socket is made in a directory that no other may enter. Of the caller's environment
    COLUMNS, LINES, TERM, NO_COLOR, FORCE_COLOR, TMPDIR and TZ count; resource limits and priority are the server's, and
    text is UTF-8. A caller that goes away has its job stop, and nothing is left behind. `DCMTX_SOCKET` names the socket
    for server and callers; where it is empty, callers do their work themselves.

    A caller takes some 9 ms of CPU, and 4 more where an old pip wrote its script: a newer pip that installs dcmtx again
    writes a shorter one.

    SIGTERM ends it once the jobs that were begun are done; a second one ends these too. One line for each job goes to
    standard error.

    \b
    dcmtx serve --jobs 4
    dcmtx serve --status
    dcmtx serve --unit
    dcmtx serve --client-source > client.c
    cc -O2 -o dcmtx-client client.c
    """
    from dcmtx.serve.listen import default_path

    if options["as_json"] and not options["status"]:
        raise UsageError("--json is for --status")
    if options["unit"] + options["status"] + options["client_source"] > 1:
        raise UsageError("--status, --unit and --client-source exclude one another")
    if options["client_source"]:
        return _print_client()
    if options["unit"]:
        return _print_units(path, jobs, log_format)
    if options["status"]:
        return _print_status(path, as_json=options["as_json"])
    from dcmtx.pool.machine import available_cores
    from dcmtx.serve.listen import activated, listen
    from dcmtx.serve.log import Format, Log
    from dcmtx.serve.server import Server
    from dcmtx.serve.warm import warm

    # What one cannot listen at is told before anything is loaded.
    listener = activated() or listen(path or default_path())
    log = Log(Format(log_format))
    _load()
    for trouble in warm():
        log.write("warm", f"cannot be had: {trouble}", what=trouble)
    Server(listener, main, jobs or available_cores(), log).serve()
    return 0


def _load() -> None:
    """Import the commands that jobs call."""
    import importlib

    for name in _COMMANDS:
        importlib.import_module(f"dcmtx.cli.{name}")


def _print_client() -> int:
    from dcmtx.serve.files import client_source

    click.echo(client_source(), nl=False)
    return 0


def _print_units(path: str | None, jobs: int | None, log_format: str) -> int:
    from dcmtx.serve.files import units

    options = ["--jobs", str(jobs)] if jobs else []
    user = getpass.getuser() if os.geteuid() else "orthanc"
    where = os.path.abspath(path) if path else _SYSTEM_PLACE
    click.echo(units(where, user, [*options, "--log-format", log_format]), nl=False)
    return 0


def _print_status(path: str | None, *, as_json: bool) -> int:
    from dcmtx.serve.log import status_lines

    status = _ask([path] if path else None)
    if as_json:
        click.echo(json.dumps(status))
    else:
        click.echo("\n".join(status_lines(status)))
    return 0


def _ask(paths: list[str] | None) -> dict[str, Any]:
    """Return the status of the first server that answers, as its clients look for it."""
    from dcmtx.serve.client import ask, places

    reasons = []
    for path in paths or places():
        try:
            with closing(ask(path, "status")) as connection:
                answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
            status: dict[str, Any] = json.loads(answer)
        except (OSError, ValueError) as error:
            reasons.append(f"{path}: {getattr(error, 'strerror', None) or error}")
        else:
            return status
    say_why = "; ".join(reasons) or "DCMTX_SOCKET is empty"
    raise InputError(f"no server answers ({say_why})", advice="start one by dcmtx serve", code="E_NO_SERVER")
