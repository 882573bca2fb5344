"""Makes destinations from their tables, and checks what several keys of one say together."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from dcmtx.errors import UsageError
from dcmtx.policy import EncodingParameters
from dcmtx.relay import keys, values
from dcmtx.relay.config import Destination, Kind, Login, SpoolConfig, Timeouts, Tls
from dcmtx.relay.patterns import matches_any
from dcmtx.relay.tables import Table


def read_destination(raw: Any, title: str) -> Destination:
    """Return the destination of a table; `title` calls it unless it says otherwise. Raises UsageError."""
    known = raw.get("name") if isinstance(raw, dict) else None
    label = f"[[destinations]] {values.shown(known)}:" if isinstance(known, str) else "[[destinations]]"
    table = Table(keys.DESTINATION, raw, label, inner=("lossy", "timeouts", "tls", "login"))
    found = table.values
    kind = found.setdefault("kind", Kind.DIMSE)
    for key in keys.DESTINATION.keys:
        if key.name in table.raw and kind not in key.kinds:
            raise table.wrong(f'{key.name} is not for kind "{kind.value}"', "leave it out")
    found.setdefault("calling", title)
    del found["address"]
    found |= _ADDRESSES[kind](table)
    lossy = _lossy(table)
    found["lossy"] = lossy
    found["prefer"] = (
        table.read("prefer", lambda _: values.preferred(found["prefer"], lossy)) if "prefer" in found else ()
    )
    _check_parameters(table, found["prefer"], lossy)
    if found["prefer"] and not any(matches_any(found.get("accept", ()), uid) for uid in found["prefer"]):
        raise table.wrong("accept has nothing that it prefers", "write into accept what prefer has, or leave one out")
    timeouts = table.table("timeouts")
    if timeouts is not None:
        found["timeouts"] = Timeouts(**Table(keys.TIMEOUTS, timeouts, f"{label} timeouts").values)
    found["tls"] = _tls(table, kind)
    found["login"] = _login(table, kind)
    return Destination(**found)


def _dimse_address(table: Table) -> dict[str, Any]:
    title, host, port = table.read("address", values.ae_address)
    return {"ae_title": title, "host": host, "port": port}


_ADDRESSES: dict[Kind, Callable[[Table], dict[str, Any]]] = {
    Kind.DIMSE: _dimse_address,
    Kind.STOW: lambda table: {"url": table.read("address", values.url)},
    Kind.ORTHANC: lambda table: {"url": table.read("address", values.url)},
    Kind.DIRECTORY: lambda table: {"path": table.read("address", values.path)},
}


def _lossy(table: Table) -> EncodingParameters | None:
    raw = table.table("lossy")
    if raw is None or raw is False:
        return None
    if raw is True:
        raw = {}
    found = Table(keys.LOSSY, raw, f"{table.label} lossy").values
    if found.get("ratio") is not None and found.get("psnr") is not None:
        raise table.wrong("lossy has ratio and psnr, which each say how much may be lost", "write one of them")
    return EncodingParameters(lossy=True, **found)


def _check_parameters(table: Table, prefer: tuple[str, ...], lossy: EncodingParameters | None) -> None:
    """Raise UsageError for consent, or for a coding parameter, that no preferred transfer syntax has a use for."""
    if lossy is None:
        return
    from dcmtx.codec.table import ENCODERS

    rows = [row for uid in prefer for row in ENCODERS.every_row(uid) if row.lossy]
    if not rows:
        raise table.wrong(
            "lossy is there, and nothing that it prefers can lose anything", 'write prefer = ["jpeg"], say'
        )
    strange = lossy.asked() - frozenset[str]().union(*(row.options for row in rows))
    if strange:
        names = ", ".join(sorted(name.replace("_", "-") for name in strange))
        raise table.wrong(f"lossy has {names}, which nothing that it prefers takes", "leave it out")


def _tls(table: Table, kind: Kind) -> Tls | None:
    raw = table.table("tls")
    if raw is None or raw is False:
        return None
    if kind is Kind.DIRECTORY:
        raise table.wrong('tls is not for kind "directory"', "leave it out")
    tls = Tls(**Table(keys.TLS, {} if raw is True else raw, f"{table.label} tls").values)
    if bool(tls.certificate) != bool(tls.key):
        raise table.wrong("tls has one of certificate and key", "write both, or none")
    if kind is not Kind.DIMSE and table.raw["address"].startswith("http:"):
        raise table.wrong("tls is there, and its address begins with http:", "write https:, or leave tls out")
    return tls


def _login(table: Table, kind: Kind) -> Login | None:
    raw = table.table("login")
    if raw is None:
        return None
    if kind not in (Kind.STOW, Kind.ORTHANC):
        raise table.wrong(f'login is not for kind "{kind.value}"', "leave it out")
    login = Login(**Table(keys.LOGIN, raw, f"{table.label} login").values)
    if bool(login.user) != bool(login.password_file) or bool(login.user) == bool(login.token_file):
        raise table.wrong("login is not complete", "write user and password-file, or token-file")
    return login


def check_destinations(destinations: tuple[Destination, ...], spool: SpoolConfig) -> None:
    """Raise UsageError where two have one name, or one is in the spool."""
    seen: dict[str, str] = {}
    for each in destinations:
        # Some file systems do not tell case apart, and names are directories of the spool.
        if each.name.lower() in seen:
            raise UsageError(f'there are two [[destinations]] "{each.name}"', advice="name one of them otherwise")
        seen[each.name.lower()] = each.name
        if each.kind is Kind.DIRECTORY and _within(each.path, spool.path):
            raise UsageError(
                f'[[destinations]] "{each.name}": address is in the spool, or the spool in it',
                advice="have them side by side",
                code="E_CONFIG",
            )


def _within(one: str, other: str) -> bool:
    one, other = os.path.realpath(one), os.path.realpath(other)
    return os.path.commonpath([one, other]) in (one, other)
