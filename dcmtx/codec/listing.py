"""Every transfer syntax, and what dcmtx can do with it, as records for programs."""

from __future__ import annotations

from typing import Any

from dcmtx.codec.registry import Registry
from dcmtx.codec.row import OWN, Row
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.syntax import FAMILIES, SYNTAXES, Syntax


def syntaxes() -> list[dict[str, Any]]:
    """Return a record of every transfer syntax, as `dcmtx syntaxes --json` prints them.

    A record has `uid`, `name`, `keyword`, `aliases`, `kind`, `loss`, `retired`, `section` (of PS3.5, or where it is
    defined), and `decode` and `encode`: lists of backends, preferred first. Each has `backend`, `library` (whose code
    it is), `package`, `installed` (true or false), `needs` (the version of the package that does more than the
    installed one, or None), `runs` (where it runs), `device` (whether the device that it needs is here; None if it
    needs none), `batch` (frames per batch) and `distribution` (what adds it).

    >>> import dcmtx
    >>> found = {record["keyword"]: record for record in dcmtx.syntaxes()}
    >>> found["RLELossless"]["uid"], found["RLELossless"]["loss"], found["RLELossless"]["aliases"]
    ('1.2.840.10008.1.2.5', 'lossless', ['rle'])
    >>> found["RLELossless"]["encode"][0]["backend"]
    'imagecodecs'
    """
    return [describe(syntax) for syntax in SYNTAXES]


def describe(syntax: Syntax) -> dict[str, Any]:
    """Return the record of one syntax, for JSON."""
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
    """Return the backends of one direction; `needs` is the package version that does more than the installed one."""
    backends: dict[str, dict[str, Any]] = {}
    for row in registry.every_row(syntax.uid):
        found = {
            "backend": row.backend,
            "library": row.library,
            "package": row.package,
            "installed": installed(row),
            "device": _has_device(row),
            "needs": None,
            "runs": row.runs.value,
            "batch": row.batch,
            "distribution": row.distribution,
        }
        entry = backends.setdefault(row.backend, found)
        if entry["installed"] and row.needs is not None and row.too_old():
            entry["needs"] = row.needs.since
    return list(backends.values())


def _has_device(row: Row) -> bool | None:
    """Tell whether the GPU of a row is here. The driver is asked, and nothing is started on it."""
    if row.needs is None or not row.needs.apart:
        return None
    from dcmtx.device import gpu

    return gpu.count() > 0


def installed(row: Row) -> bool:
    """Tell whether the library of a row is installed, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    if row.package == OWN:
        return True
    if row.needs is not None and row.needs.apart:
        return row.is_installed()
    try:
        version(row.package)
    except PackageNotFoundError:
        return False
    return True
