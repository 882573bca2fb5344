"""Reads one table of the configuration by its section of `keys`: what it has, what it must have, what nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any

from dcmtx.errors import UsageError
from dcmtx.relay import values
from dcmtx.relay.keys import Section


class Table:
    """One table of the file: its values, read and named as the record names them, and the tables in it."""

    def __init__(self, section: Section, table: Any, label: str, *, inner: Iterable[str] = ()) -> None:
        self.label = label
        self.inner = tuple(inner)
        if not isinstance(table, dict):
            raise UsageError(f"{section.path} is {values.shown(table)}, not a table", advice=f"write {section.header}")
        self.raw = table
        self._check_names([key.name for key in section.keys])
        self.values: dict[str, Any] = {}
        for key in section.keys:
            if key.name in table:
                self.values[key.target] = self.read(key.name, key.read)
            elif key.needed:
                raise self.wrong(f"{key.name} is missing", f"write {key.name} = {key.example}")

    def _check_names(self, known: list[str]) -> None:
        for name in self.raw:
            if name not in known and name not in self.inner:
                close = difflib.get_close_matches(name, [*known, *self.inner], 1)
                advice = f"did you mean {close[0]}?" if close else f"there are {', '.join([*known, *self.inner])}"
                raise self.wrong(f"there is no key {values.shown(name)[1:-1]}", advice)

    def read(self, name: str, reader: Callable[[Any], Any]) -> Any:
        """Return the value of a key. Raises UsageError that names the key."""
        try:
            return reader(self.raw[name])
        except values.UnfitError as error:
            raise self.wrong(f"{name} {error}") from None

    def wrong(self, what: str, advice: str = "") -> UsageError:
        """Return an error about this table."""
        return UsageError(f"{self.label} {what}" if self.label else what, advice=advice, code="E_CONFIG")

    def table(self, name: str, *, needed: bool = False) -> Any:
        """Return the table of this name, raw, or None. Raises UsageError if it is needed."""
        if name not in self.raw and needed:
            raise self.wrong(f"there is no table [{name}]", "`dcmtx relay --example` shows what goes into it")
        return self.raw.get(name)

    def tables(self, name: str) -> list[Any]:
        """Return the tables of this name, raw."""
        found = self.raw.get(name, [])
        if not isinstance(found, list):
            raise self.wrong(f"{name} is one table, and there may be several", f"write it in two brackets: [[{name}]]")
        return found
