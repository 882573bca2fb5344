"""Rows from other distributions, by entry points in the groups `dcmtx.decoders` and `dcmtx.encoders`.

The search takes longer than converting a file. So it is done once per process, and only if no row of dcmtx fits or
all rows are listed; `importlib.metadata` is imported only if some directory on the path has such a distribution.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dcmtx.codec.row import Limits, Needs, Row, Runs
from dcmtx.errors import DcmtxError, UsageError
from dcmtx.syntax import BY_UID, Kind

if TYPE_CHECKING:
    from dcmtx.codec.registry import Registry

_GROUP = "dcmtx.{}rs"
_METADATA = (".dist-info", ".egg-info")


def add_rows(registry: Registry) -> list[str]:
    """Add the rows of other distributions to a registry; return a line for each entry point that cannot be used."""
    group = _GROUP.format(registry.direction.value)
    if not _has_any(group):
        return []
    from importlib import metadata

    points = metadata.entry_points(group=group)
    # A fixed order whatever the path: by name of the distribution, then by name of the entry point.
    named = sorted((_distribution(point), point.name, point) for point in points)
    faults = []
    for distribution, name, point in named:
        try:
            registry.add(_rows_of(point.load()), distribution)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever is wrong with it is not a fault of dcmtx
            why = error.message if isinstance(error, DcmtxError) else f"{type(error).__name__}: {error}"
            reason = " ".join(why.split())[:200]
            faults.append(f"the {registry.direction.value}r {name!r} of {distribution} is left out ({reason})")
    return faults


def _distribution(point: Any) -> str:
    return str(point.dist.name) if point.dist is not None else "?"


def _rows_of(found: Any) -> Iterable[Any]:
    """Return the rows that an entry point names: one, several, or a function that returns either."""
    if callable(found):
        found = found()
    return (found,) if isinstance(found, Row) else tuple(found)


def _has_any(group: str) -> bool:
    """Tell whether some distribution may have entry points of this group; a place that is not a directory may."""
    wanted = group.encode("ascii")
    for place in dict.fromkeys(sys.path):
        try:
            with os.scandir(place or os.curdir) as entries:
                paths = [entry.path for entry in entries if entry.name.endswith(_METADATA)]
        except FileNotFoundError:
            continue
        except OSError:
            return True
        for path in paths:
            try:
                with open(os.path.join(path, "entry_points.txt"), "rb") as file:
                    if wanted in file.read():
                        return True
            except OSError:
                continue
    return False


_TYPES: dict[str, type] = {
    "backend": str, "call": str, "limits": Limits, "runs": Runs, "batch": int, "lossy": bool, "options": frozenset,
    "core": str, "spreads": bool, "judge": str, "checkers": tuple,
}  # fmt: skip


def checked(row: Any, distribution: str, others: Iterable[Row]) -> Row:
    """Return a row with its `distribution` set.

    Raises UsageError if it is not a row that dcmtx can use.
    """
    if not isinstance(row, Row):
        raise UsageError(f"{row!r} is no Row of dcmtx.codec.row")
    for name, kind in _TYPES.items():
        if not isinstance(getattr(row, name), kind):
            raise UsageError(f"{name} of its row is {getattr(row, name)!r}, not of {kind.__name__}")
    if row.needs is not None and not isinstance(row.needs, Needs):
        raise UsageError(f"needs of its row is {row.needs!r}, not of Needs")
    if not row.call.partition(":")[2] or row.batch < 1 or not row.syntaxes:
        raise UsageError("its row needs a call module:name, a batch of at least one, and syntaxes")
    for uid in row.syntaxes:
        if uid not in BY_UID or BY_UID[uid].kind is not Kind.FRAMES:
            raise UsageError(f"its transfer syntax {uid!r} is none whose frames dcmtx knows to be coded each by itself")
    if any(other.backend == row.backend and other.distribution != distribution for other in others):
        raise UsageError(f"its backend is called {row.backend!r}, as another is")
    return row.replace(distribution=distribution)
