"""`dcmtx syntaxes`."""

from __future__ import annotations

import sys
from typing import Any

import click

from dcmtx.cli import SETTINGS
from dcmtx.codec.registry import Registry
from dcmtx.codec.row import OWN, Row
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.syntax import FAMILIES, ROOT, SYNTAXES, Syntax


@click.command(context_settings=SETTINGS)
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
def syntaxes(as_json: bool) -> None:
    """List every transfer syntax, and what dcmtx can do with it.

    `decode` and `encode` name the backends, the preferred one first. One that is not installed has what to install
    behind it, one whose newer release does more here has that release, one that another distribution adds has that
    distribution; a syntax without any is known by name only. Each name may follow `--to`; a family means its lossless
    member.
    """
    rows = [describe(syntax) for syntax in SYNTAXES]
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


def describe(syntax: Syntax) -> dict[str, Any]:
    """Return what there is to say of a syntax, for JSON."""
    families = [family.name for family in FAMILIES if syntax.uid == family.lossless]
    return {
        "uid": syntax.uid,
        "name": syntax.name,
        "keyword": syntax.keyword,
        "aliases": [*families, *([syntax.alias] if syntax.alias else [])],
        "kind": syntax.kind.value,
        "loss": syntax.loss.value,
        "retired": syntax.retired,
        "section": syntax.section,
        "decode": _backends(DECODERS, syntax),
        "encode": _backends(ENCODERS, syntax),
    }


def _backends(registry: Registry, syntax: Syntax) -> list[dict[str, Any]]:
    """Return the backends of one direction; `needs` is the version of the package that does more than this one."""
    backends: dict[str, dict[str, Any]] = {}
    for row in registry.every_row(syntax.uid):
        found = {
            "backend": row.backend,
            "package": row.package,
            "installed": installed(row),
            "needs": None,
            "runs": row.runs.value,
            "batch": row.batch,
            "distribution": row.distribution,
        }
        entry = backends.setdefault(row.backend, found)
        if entry["installed"] and row.needs is not None and row.too_old():
            entry["needs"] = row.needs.since
    return list(backends.values())


def installed(row: Row) -> bool:
    """Tell whether the library of a row is installed, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    if row.package == OWN:
        return True
    try:
        version(row.package)
    except PackageNotFoundError:
        return False
    return True


def _names(row: dict[str, Any]) -> str:
    return ", ".join(row["aliases"] or [row["keyword"]])


def _coders(backends: list[dict[str, Any]]) -> str:
    return ", ".join(map(_coder, backends))


def _coder(entry: dict[str, Any]) -> str:
    backend = entry["backend"]
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
