"""`dcmtx relay`."""

from __future__ import annotations

import getpass
import json
import os
from typing import TYPE_CHECKING, Any

import click

from dcmtx.cli import SETTINGS, printable, say
from dcmtx.errors import ExitStatus, UnsupportedError, UsageError

if TYPE_CHECKING:
    from dcmtx.relay.config import RelayConfig

DEFAULT_SPOOL = "/var/spool/dcmtx"
_EXTRA = ("pynetdicom", "prometheus_client", "httpx")
# What a configuration file says instead.
_WORDS = ("listen", "aet", "to", "transcode", "http", "show_names", "jobs", "log_format")
_ACTIONS = ("status", "hold", "retry", "drop")


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("action", metavar="[status|hold|retry|drop]", required=False, type=click.Choice(_ACTIONS))
@click.argument("destination", metavar="[DESTINATION]", required=False)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--listen", metavar="[HOST:]PORT", help="Where instances are received.")
@click.option("--aet", metavar="NAME", help="Its own AE title: the only one it answers to, and what it calls itself.")
@click.option("--to", "to", metavar="AET@HOST:PORT", multiple=True, help="Where everything goes.")
@click.option(
    "--transcode",
    metavar="SYNTAX",
    multiple=True,
    help="The transfer syntax to send in, wherever it is accepted; of several, the first. [default: as it came]",
)
@click.option(
    "--spool",
    metavar="DIRECTORY",
    help=f"What is received and not delivered yet, or whose relay is meant. [default: {DEFAULT_SPOOL}]",
)
@click.option("--http", metavar="[HOST:]PORT", help="Show a status page; a port alone is for this machine only.")
@click.option("--show-names", is_flag=True, help="Show names of patients and studies on that page, beside UIDs.")
@click.option("-j", "--jobs", type=click.IntRange(1), help="Processes that transcode. [default: the cores there are]")
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), help="How a line of the log is written. [default: text]"
)
@click.option("--config", metavar="FILE", help="Read a file of TOML instead, which can say everything.")
@click.option("--example", is_flag=True, help="Print such a file, with every key explained.")
@click.option("--check", is_flag=True, help="Check what is said, try every destination, and start nothing.")
@click.option("--unit", is_flag=True, help="Print a unit for systemd.")
@click.option("--json", "as_json", is_flag=True, help="With status, hold, retry, drop and --check: JSON.")
def relay(action: str | None, destination: str | None, ids: tuple[str, ...], **options: Any) -> int:
    """Receive instances, transcode them to what each destination takes, and forward them.

    What was acknowledged to a sender is in the spool, on disk, and stays there until its destination has it: whatever
    is down, killed or full in between. It may be delivered twice then, never not at all. Pixels are coded without loss,
    decoded again and compared. What a destination does not take is sent as it came, or in a native transfer syntax;
    what no destination can have is held, with the reason, until somebody says retry or drop.

    `--config` names a file for all that the options do not say: TLS, lists of callers, routes by modality, station and
    other attributes, transfer syntaxes by destination, consent to loss, DICOMweb (STOW-RS), Orthanc and directories as
    destinations. dcmtx-relay.toml(5) has every key.

    status shows what waits, what is held and why. hold sends nothing more to a destination, but receives on. retry
    tries it again at once, with everything that is held for it, or with the instances named by their ids. drop forgets
    the instances named: they are never delivered. They ask the relay that runs with this spool, as its own user. A
    destination has the name that the file gives it; one of `--to` is called by its whole address.

    SIGTERM ends it: messages that were begun are finished, the queue stays. One line for each event goes to standard
    error.

    \b
    dcmtx relay --listen 11112 --to ARCHIVE@10.0.0.5:104 --transcode jpegls
    dcmtx relay --example > /etc/dcmtx/relay.toml
    dcmtx relay --config /etc/dcmtx/relay.toml --check
    dcmtx relay --config /etc/dcmtx/relay.toml
    dcmtx relay status
    dcmtx relay retry archive
    """
    _check_options(action, options)
    if action is not None:
        return _act(action, destination, ids, options)
    if options["example"]:
        from dcmtx.relay.example import example

        click.echo(example(), nl=False)
        return 0
    config = _configuration(options)
    if options["unit"]:
        return _print_unit(config, options)
    _need_extra()
    if options["check"]:
        return _check(config, as_json=options["as_json"])
    from dcmtx.relay.daemon import Relay

    Relay(config).run()
    return 0


def _check_options(action: str | None, options: dict[str, Any]) -> None:
    """Refuse what does not go together."""
    modes = [f"--{name}" for name in ("example", "check", "unit") if options[name]]
    if len(modes) > 1:
        raise UsageError(f"{' and '.join(modes)} exclude one another")
    words = [f"--{name.replace('_', '-')}" for name in _WORDS if options[name]]
    if action is not None:
        strange = modes + words
        if strange:
            raise UsageError(f"{strange[0]} is not for {action}")
    elif options["as_json"] and not options["check"]:
        raise UsageError("--json is for status, hold, retry, drop and --check")
    if options["show_names"] and options["http"] is None and options["config"] is None:
        raise UsageError("--show-names is for the page of --http")
    if options["config"] is not None:
        if options["spool"] is not None:
            words.insert(0, "--spool")
        if words:
            raise UsageError(f"{words[0]} does not go with --config", advice="write it into the file")


def _configuration(options: dict[str, Any]) -> RelayConfig:
    """Return what a file says, or the options."""
    if options["config"] is not None:
        from dcmtx.relay.settings import load

        return load(options["config"])
    if not options["listen"] or not options["to"]:
        missing = "--listen PORT" if not options["listen"] else "--to AET@HOST:PORT"
        raise UsageError(f"{missing} is missing", advice="give it, or a file by --config; --example prints one")
    from dcmtx.relay.words import from_words

    given = {name: options[name] for name in _WORDS if name not in ("listen", "to")}
    return from_words(options["listen"], options["to"], options["spool"] or DEFAULT_SPOOL, **given)


def _need_extra() -> None:
    """Raise UnsupportedError unless what the relay needs beyond a plain installation is there."""
    import importlib.util

    missing = [name.replace("_", "-") for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise UnsupportedError(
            f"dcmtx relay needs {' and '.join(missing)}, not installed here", advice="pip install 'dcmtx[relay]'",
            code="E_NOT_INSTALLED",
        )  # fmt: skip


def _print_unit(config: RelayConfig, options: dict[str, Any]) -> int:
    from dcmtx.relay.unit import unit

    user = getpass.getuser() if os.geteuid() else "dcmtx"
    click.echo(unit(config, user, _arguments(options)), nl=False)
    return 0


def _arguments(options: dict[str, Any]) -> list[str]:
    """Return the words that start this relay from any directory."""
    if options["config"] is not None:
        return ["--config", os.path.abspath(options["config"])]
    words = ["--spool", os.path.abspath(options["spool"] or DEFAULT_SPOOL)]
    for name in _WORDS:
        option, value = f"--{name.replace('_', '-')}", options[name]
        if value is True:
            words.append(option)
        elif value:
            for each in value if isinstance(value, tuple) else (value,):
                words += [option, str(each)]
    return words


# --- what looks and tries ------------------------------------------------------------------------------------------


def _check(config: RelayConfig, *, as_json: bool) -> int:
    from dcmtx.relay.check import check

    failed = False
    for found in check(config):
        failed = failed or not found.well
        if as_json:
            click.echo(json.dumps(dict(found.items())))
        else:
            click.echo(printable(f"{found.name}: {'' if found.well else 'FAILS: '}{found.text}"))
    if failed:
        say("dcmtx: not everything is as the configuration says; the lines above name what fails")
    return ExitStatus.OUTPUT if failed else ExitStatus.OK


# --- what asks a relay that runs -----------------------------------------------------------------------------------


def _act(action: str, destination: str | None, ids: tuple[str, ...], options: dict[str, Any]) -> int:
    """Ask the relay of a spool, once for each instance named."""
    from dcmtx.relay.control import Asked, ask

    if action in ("hold", "drop") and destination is None:
        raise UsageError(f"{action} needs a destination", advice="`dcmtx relay status` lists them")
    if action == "drop" and not ids:
        raise UsageError("drop needs the ids of what is to be dropped", advice="`dcmtx relay status` lists them")
    if action in ("hold", "status") and ids:
        raise UsageError(f"{action} takes no ids")
    spool = _spool(options)
    if action == "status":
        return _print_status(ask(spool, Asked("status"))["state"], destination, as_json=options["as_json"])
    names = [destination] if destination is not None else list(ask(spool, Asked("status"))["state"]["destinations"])
    count = 0
    for name in names:
        for identifier in ids or (None,):
            count += ask(spool, Asked(action, name, identifier))["count"]
    if options["as_json"]:
        click.echo(json.dumps({"action": action, "destinations": names, "count": count}))
    else:
        click.echo(_DONE[action].format(count=count, s="" if count == 1 else "s", names=", ".join(names)))
    return 0


_DONE = {
    "hold": "nothing more is sent to {names}; {count} instance{s} waiting",
    "retry": "{names}: tried again now, with {count} instance{s} that had been held",
    "drop": "{names}: {count} instance{s} dropped",
}


def _spool(options: dict[str, Any]) -> str:
    """Return the spool that is meant."""
    if options["config"] is not None:
        from dcmtx.relay.settings import load

        return load(options["config"]).spool.path
    return os.path.abspath(options["spool"] or DEFAULT_SPOOL)


def _print_status(state: dict[str, Any], destination: str | None, *, as_json: bool) -> int:
    from dcmtx.relay.report import status_lines

    if destination is not None:
        if destination not in state["destinations"]:
            raise UsageError(
                f"there is no destination {destination!r}", advice=f"there are {', '.join(state['destinations'])}"
            )
        state["destinations"] = {destination: state["destinations"][destination]}
    if as_json:
        click.echo(json.dumps(state))
    else:
        click.echo("\n".join(printable(line) for line in status_lines(state)))
    return 0
