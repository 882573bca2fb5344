"""Which destinations an instance goes to: a pure function of who sent it and of its attributes.

Only attributes that routes name are looked at; where none does, no data set needs to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dcmtx.record import Record
from dcmtx.relay.attributes import Values
from dcmtx.relay.config import Condition, RelayConfig, Route
from dcmtx.relay.patterns import matches

_SOP_CLASS_TAG = 0x00080016


class Caller(Record):
    """Who sent an instance, and to whom: AE titles without padding."""

    calling: str
    called: str


class Router:
    """The routes of a configuration, made ready."""

    def __init__(self, config: RelayConfig) -> None:
        self._all = tuple(each.name for each in config.destinations)
        self._routes = [route for route in config.routes if not route.otherwise]
        self._others = [route for route in config.routes if route.otherwise]
        self._order = {name: number for number, name in enumerate(self._all)}
        conditions = [condition for route in config.routes for condition in route.where]
        # What must be read of a data set; its SOP class is in the command already.
        self.tags = frozenset(each.tag for each in conditions if each.tag is not None) - {_SOP_CLASS_TAG}

    def destinations(
        self, caller: Caller, sop_class: str, attributes: Mapping[int, Values] | None = None
    ) -> tuple[str, ...]:
        """Return the names of the destinations of an instance, in the order of the configuration.

        `attributes` has the values of `tags`, as `attributes.read` returns them. Empty if no route takes it.
        """
        if not self._routes and not self._others:
            return self._all

        def values(condition: Condition) -> Values:
            if condition.tag is None:
                return (caller.calling if condition.name == "calling" else caller.called,)
            if condition.tag == _SOP_CLASS_TAG:
                return (sop_class,)
            return (attributes or {}).get(condition.tag, ())

        taken = [route for route in self._routes if _meets(route, values)] or self._others
        return tuple(sorted({name for route in taken for name in route.to}, key=self._order.__getitem__))


def _meets(route: Route, values: Callable[[Condition], Values]) -> bool:
    return all(_holds(condition, values(condition)) for condition in route.where)


def _holds(condition: Condition, found: Values) -> bool:
    """Tell whether one of the values is what it must be, and none is what it must not be."""
    texts = found or ("",)
    if condition.patterns and not _any(condition.patterns, texts):
        return False
    return not _any(condition.unlike, texts)


def _any(patterns: Iterable[str], texts: Values) -> bool:
    return any(matches(pattern, text) for pattern in patterns for text in texts)
