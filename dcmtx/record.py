"""Records: frozen, slotted classes whose fields are their annotations.

At most three values may be given by position, so that neighbouring fields of one type are not mixed up. A record cannot
be subclassed.

Like a frozen dataclass with slots or a NamedTuple, but created a hundred times as fast: those compile code for every
class, which costs too much in a process that converts one file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

# How many values may be given by position.
MOST_POSITIONAL = 3
# annotationlib.Format.VALUE: annotations as evaluated objects.
_VALUE = 1


def _annotated(namespace: dict[str, Any]) -> tuple[str, ...]:
    """Return the names that a class body annotates, in order.

    Up to Python 3.13, and in modules that postpone annotations, they are in the namespace. From 3.14 on, a function in
    the namespace computes them (PEP 649, PEP 749).
    """
    if "__annotations__" in namespace:
        return tuple(namespace["__annotations__"])
    annotate = namespace.get("__annotate_func__") or namespace.get("__annotate__")
    if annotate is None:
        return ()
    try:
        return tuple(annotate(_VALUE))
    except NameError:
        # A type that is defined later. annotationlib handles that, but is slow to import.
        library = __import__("annotationlib")
        return tuple(library.call_annotate_function(annotate, library.Format.FORWARDREF))


# Stands for the value of a field that must be given.
_MISSING: Any = object()


class _Layout:
    """How the fields of a record are filled and read: their defaults, what sets each one, and what reads all.

    `fill` has the setters of the slots themselves, since a record refuses to be changed otherwise.
    """

    __slots__ = ("defaults", "fill", "values")

    def __init__(self, kind: type, fields: tuple[str, ...], defaults: dict[str, Any]) -> None:
        self.defaults = {field: defaults.get(field, _MISSING) for field in fields}
        self.fill: tuple[Callable[[Any, Any], None], ...] = tuple(kind.__dict__[field].__set__ for field in fields)
        self.values: Callable[[Any], tuple[Any, ...]] = _reader(fields)


def _reader(fields: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(fields) > 1:
        return attrgetter(*fields)
    return lambda record: tuple(getattr(record, field) for field in fields)


class _RecordType(type):
    """Turns annotations into slots, and their values into defaults."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _RecordType:
        fields = _annotated(namespace) if bases else ()
        for base in bases:
            if base.__dict__["_fields"]:
                raise TypeError(f"{name} cannot be derived from {base.__name__}, which is a record")
        namespace["_defaults"] = {field: namespace.pop(field) for field in fields if field in namespace}
        namespace["_fields"] = fields
        namespace["__slots__"] = fields
        kind = super().__new__(mcs, name, bases, namespace)
        type.__setattr__(kind, "__layout__", _Layout(kind, fields, namespace["_defaults"]))
        return kind


_Kind = TypeVar("_Kind", bound="Record")


@dataclass_transform(frozen_default=True)
class Record(metaclass=_RecordType):
    """Base of records. Up to three arguments may be positional, in the order of the fields; the others are named."""

    _fields: ClassVar[tuple[str, ...]]
    _defaults: ClassVar[dict[str, Any]]
    __layout__: ClassVar[_Layout]

    def __init__(self, *values: Any, **named: Any) -> None:
        kind = type(self)
        fields = kind._fields
        count = len(values)
        if count > MOST_POSITIONAL or count > len(fields):
            raise TypeError(
                f"{kind.__name__} has {len(fields)} fields, and takes {min(len(fields), MOST_POSITIONAL)} by "
                f"position; {count} were given"
            )
        if count == len(fields) and not named:
            for value, fill in zip(values, kind.__layout__.fill, strict=True):
                fill(self, value)
            return
        given = kind.__layout__.defaults | named
        # A name that is none of the fields makes it longer; one of those that are given by position is one too many.
        if len(given) > len(fields) or (count and not named.keys().isdisjoint(fields[:count])):
            wrong = [name for name in named if name not in fields[count:]]
            raise TypeError(f"{kind.__name__} takes no {', '.join(map(repr, wrong))}, or takes it twice")
        given.update(zip(fields, values, strict=False))
        for value, fill in zip(given.values(), kind.__layout__.fill, strict=True):
            if value is _MISSING:
                raise TypeError(f"{kind.__name__} needs {next(name for name in given if given[name] is value)!r}")
            fill(self, value)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        kind = type(self)
        values = dict(zip(kind._fields, kind.__layout__.values(self), strict=True))
        values.update(changes)
        if len(values) > len(kind._fields):
            wrong = [name for name in changes if name not in kind._fields]
            raise TypeError(f"{kind.__name__} takes no {', '.join(map(repr, wrong))}")
        return _filled(kind, values.values())

    def items(self) -> list[tuple[str, Any]]:
        """Return the names of the fields with their values, in order."""
        return [*zip(self._fields, self.__layout__.values(self), strict=True)]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen; use replace()")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        kind = type(self)
        return kind is type(other) and kind.__layout__.values(self) == kind.__layout__.values(other)

    def __hash__(self) -> int:
        return hash((type(self), *self.__layout__.values(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{field}={value!r}' for field, value in self.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _filled, (type(self), self.__layout__.values(self))


def _filled(kind: type[_Kind], values: Iterable[Any]) -> _Kind:
    """Return a record with all its values, in the order of its fields."""
    record = object.__new__(kind)
    for fill, value in zip(kind.__layout__.fill, values, strict=True):
        fill(record, value)
    return record
