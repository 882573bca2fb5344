"""Makes the configuration of a relay from what the command line says: the simple case."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from dcmtx.errors import UsageError
from dcmtx.relay import values
from dcmtx.relay.config import LOOPBACK, OWN_TITLE, Destination, Http, Listen, LogFormat, RelayConfig, SpoolConfig
from dcmtx.relay.destinations import check_destinations
from dcmtx.relay.settings import is_loopback

_UNSAFE = re.compile(r"[^A-Za-z0-9._@:-]")


def from_words(
    listen: str,
    to: Iterable[str],
    spool: str,
    *,
    transcode: Iterable[str] = (),
    aet: str | None = None,
    http: str | None = None,
    **more: Any,
) -> RelayConfig:
    """Return the configuration that the command line says: everything goes to all of `to`.

    `more` is `show_names`, `jobs` and `log_format`. Raises UsageError that names the option.
    """
    host, port = _word("--listen", listen, values.host_and_port)
    title = _word("--aet", aet, values.ae_title) if aet is not None else OWN_TITLE
    prefer = tuple(_word("--transcode", each, values.text) for each in transcode)
    prefer = _word("--transcode", prefer, lambda names: values.preferred(names, None))
    destinations = tuple(_simple(each, title, prefer) for each in to)
    check_destinations(destinations, config := SpoolConfig(os.path.abspath(_word("--spool", spool, values.text))))
    return RelayConfig(
        Listen(host, port, ae_titles=() if aet is None else (title,)),
        config,
        destinations,
        http=None if http is None else _simple_http(http, show_names=more.get("show_names", False)),
        jobs=more.get("jobs") or 0,
        log_format=LogFormat(more.get("log_format") or LogFormat.TEXT),
    )


def _simple(to: str, title: str, prefer: tuple[str, ...]) -> Destination:
    called, host, port = _word("--to", to, values.ae_address)
    # The whole address is the name, so that the queue stays the same one whatever else is named beside it.
    name = _UNSAFE.sub("_", f"{called}@{host}:{port}")
    return Destination(name, host=host, port=port, ae_title=called, calling=title, prefer=prefer)


def _simple_http(given: str, *, show_names: bool) -> Http:
    host, port = _word("--http", given, lambda value: values.host_and_port(value, LOOPBACK))
    return Http(host, port, show_names=show_names, read_only=not is_loopback(host))


def _word(option: str, value: Any, reader: Callable[[Any], Any]) -> Any:
    try:
        return reader(value)
    except values.UnfitError as error:
        raise UsageError(f"{option} {error}") from None
