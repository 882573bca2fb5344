"""The planner of each way to make one file from another. A new way is a member of Way, and an entry here."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from dcmtx.codec.row import loaded
from dcmtx.planning.plan import Plan
from dcmtx.planning.request import Way

# Loaded when they are used.
_PLANNERS = {
    Way.CONVERT: "dcmtx.planning.planner",
    Way.REWRAP: "dcmtx.planning.rewrapping",
    Way.CROP: "dcmtx.planning.cropping",
}


def planner(way: Way) -> Callable[..., Plan]:
    """Return the `make` of the module that plans this way: it takes data set, frames and request."""
    return cast("Callable[..., Plan]", loaded(_PLANNERS[way]).make)
