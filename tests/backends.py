"""The rows of the registries that the libraries at hand can do: some need a newer one, some are for older ones."""

from __future__ import annotations

from dcmtx.codec.registry import Registry
from dcmtx.codec.row import Row


def usable(registry: Registry, uid: str) -> list[Row]:
    """Return the rows of a syntax that may be chosen here, preferred first."""
    return [row for row in registry.rows(uid) if row.is_installed() and row.at_hand()]
