"""The rows of the registries that the libraries at hand can do: some need a newer one, some are for older ones."""

from __future__ import annotations

from dcmtx.codec.registry import Registry, Row, is_installed


def usable(registry: Registry, uid: str) -> list[Row]:
    """Return the rows of a syntax that may be chosen here, preferred first."""
    return [row for row in registry.rows(uid) if is_installed(row) and row.at_hand()]
