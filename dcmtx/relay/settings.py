"""Makes the configuration of a relay from a TOML file.

Every key is checked. Errors name the file, the table and the key, and say what to write.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from dcmtx.errors import InputError, UsageError
from dcmtx.relay import keys, values
from dcmtx.relay.conditions import conditions
from dcmtx.relay.config import (
    LOOPBACK,
    OWN_TITLE,
    Accept,
    Http,
    Listen,
    RelayConfig,
    Route,
    SpoolConfig,
    Tls,
)
from dcmtx.relay.destinations import check_destinations, read_destination
from dcmtx.relay.tables import Table


def load(path: str) -> RelayConfig:
    """Return the configuration in a file. Raises InputError if it cannot be read, UsageError if something is wrong."""
    import tomllib

    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror or error}", path=path) from error
    except UnicodeDecodeError:
        raise UsageError("it is not UTF-8, as TOML is", path=path) from None
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        raise UsageError(
            f"it is not TOML: {said[:1].lower()}{said[1:]}", advice="`dcmtx relay --example` prints one", path=path
        ) from None
    try:
        return configuration(table)
    except UsageError as error:
        error.path = path
        raise


def configuration(table: dict[str, Any]) -> RelayConfig:
    """Return the configuration that a table of TOML says. Raises UsageError if something is wrong."""
    top = Table(keys.TOP, table, "", inner=("listen", "spool", "http", "destinations", "routes"))
    title = top.values.pop("ae_title", OWN_TITLE)
    destinations = tuple(read_destination(each, title) for each in top.tables("destinations"))
    if not destinations:
        raise UsageError("there is no table [[destinations]]", advice="write one for each place where instances go")
    spool = _spool(top.table("spool", needed=True))
    check_destinations(destinations, spool)
    http = top.table("http")
    return RelayConfig(
        _listen(top.table("listen", needed=True)),
        spool,
        destinations,
        routes=_routes(top.tables("routes"), [each.name for each in destinations]),
        http=None if http is None else _http(http),
        **top.values,
    )


def _listen(raw: Any) -> Listen:
    table = Table(keys.LISTEN, raw, "[listen]", inner=("accept", "tls"))
    host, port = table.values.pop("address")
    tls = table.table("tls")
    accept = tuple(Accept(**Table(keys.ACCEPT, each, "[[listen.accept]]").values) for each in table.tables("accept"))
    return Listen(
        host,
        port,
        accept=accept,
        tls=None if tls is None else Tls(**Table(keys.LISTEN_TLS, tls, "[listen.tls]").values),
        **table.values,
    )


def _spool(raw: Any) -> SpoolConfig:
    return SpoolConfig(**Table(keys.SPOOL, raw, "[spool]").values)


def _http(raw: Any) -> Http:
    table = Table(keys.HTTP, raw, "[http]")
    host, port = table.read("address", lambda value: values.host_and_port(value, LOOPBACK))
    settings = table.values | {"host": host, "port": port}
    del settings["address"]
    settings.setdefault("read_only", not is_loopback(host))
    return Http(**settings)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine itself, whoever asks."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


# --- routes --------------------------------------------------------------------------------------------------------


def _routes(raw: list[Any], names: list[str]) -> tuple[Route, ...]:
    return tuple(_route(each, number, names) for number, each in enumerate(raw, 1))


def _route(raw: Any, number: int, names: list[str]) -> Route:
    table = Table(keys.ROUTE, raw, f"[[routes]] number {number}:", inner=("where",))
    to = table.values["to"]
    for name in to:
        if name not in names:
            raise table.wrong(
                f"to has {values.shown(name)}, and there is no such destination", f"there are {', '.join(names)}"
            )
    if not to:
        raise table.wrong("to is empty", f"write names of destinations: {', '.join(names)}")
    where = table.table("where")
    otherwise = table.values.get("otherwise", False)
    if otherwise and where:
        raise table.wrong("it has otherwise and where", "leave one of them out")
    if where is not None and not isinstance(where, dict):
        raise table.wrong(
            f"where is {values.shown(where)}, not a table", "write [routes.where], and conditions below it"
        )
    try:
        met = conditions(where or {})
    except values.UnfitError as error:
        raise table.wrong(f"where: {error}") from None
    return Route(met, tuple(dict.fromkeys(to)), otherwise=otherwise)
