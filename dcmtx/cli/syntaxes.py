"""`dcmtx syntaxes`."""

from __future__ import annotations

import sys
from typing import Any

import click

from dcmtx.cli import SETTINGS
from dcmtx.codec.listing import syntaxes as records
from dcmtx.codec.row import OWN
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.syntax import ROOT


@click.command(context_settings=SETTINGS)
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
def syntaxes(as_json: bool) -> None:
    """List every transfer syntax, and what dcmtx can do with it.

    `decode` and `encode` name the backends, the preferred one first. One that is not installed has what to install
    behind it, one that needs a GPU whether there is one, one whose newer release does more here has that release, one
    that another distribution adds has that distribution; a syntax without any is known by name
    only. Each name may follow `--to`; a family means its lossless member.
    """
    rows = records()
    for fault in dict.fromkeys([*DECODERS.faults(), *ENCODERS.faults()]):
        click.echo(f"dcmtx: warning: {fault}", err=True)
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
        return
    if sys.stdout.isatty():
        _print_table(rows)
    else:
        _print_plain(rows)


def _names(row: dict[str, Any]) -> str:
    return ", ".join(row["aliases"] or [row["keyword"]])


def _coders(backends: list[dict[str, Any]]) -> str:
    return ", ".join(map(_coder, backends))


def _coder(entry: dict[str, Any]) -> str:
    backend = entry["backend"]
    if entry["device"] is not None:
        here = "GPU here" if entry["device"] else "no GPU here"
        return f"{backend} ({here}{'' if entry['installed'] else '; pip install dcmtx[gpu]'})"
    if not entry["installed"]:
        return f"{backend} (pip install {entry['package']})"
    if entry["distribution"] != OWN:
        return f"{backend} (of {entry['distribution']})"
    return f"{backend} (more from {entry['needs']} on)" if entry["needs"] else str(backend)


def _print_plain(rows: list[dict[str, Any]]) -> None:
    click.echo("UID\tNAMES\tLOSS\tDECODE\tENCODE")
    for row in rows:
        fields = [row["uid"], _names(row), row["loss"], _coders(row["decode"]) or "-", _coders(row["encode"]) or "-"]
        click.echo("\t".join(fields))


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("UID", "--to", "Loss", "Decode", "Encode"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "UID")
    for row in rows:
        uid = row["uid"].replace(f"{ROOT}.", "…", 1)
        style = None if row["decode"] or row["encode"] else "dim"
        table.add_row(uid, _names(row), row["loss"], _coders(row["decode"]), _coders(row["encode"]), style=style)
    console = Console(highlight=False)
    console.print(table)
    console.print(f"[dim]… is {ROOT}.[/dim]")
