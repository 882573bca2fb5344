"""Records: frozen, slotted classes whose fields are their annotations.

At most three values may be given by position, so that neighbouring fields of one type are not mixed up. A record cannot
be subclassed.

Like a frozen dataclass with slots or a NamedTuple, but created a hundred times as fast: those compile code for every
class, which costs too much in a process that converts one file.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self, dataclass_transform

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


# Sets a field of a record, which refuses to be changed otherwise.
_fill = object.__setattr__


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
        return super().__new__(mcs, name, bases, namespace)


@dataclass_transform(frozen_default=True)
class Record(metaclass=_RecordType):
    """Base of records. Up to three arguments may be positional, in the order of the fields; the others are named."""

    _fields: ClassVar[tuple[str, ...]]
    _defaults: ClassVar[dict[str, Any]]

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = self._fields
        count = len(values)
        if count > MOST_POSITIONAL or count > len(fields):
            raise TypeError(
                f"{type(self).__name__} has {len(fields)} fields, and takes {min(len(fields), MOST_POSITIONAL)} by "
                f"position; {count} were given"
            )
        for field, value in zip(fields, values, strict=False):
            _fill(self, field, value)
        if count == len(fields) and not named:
            return
        for field in fields[count:]:
            if field in named:
                _fill(self, field, named.pop(field))
            elif field in self._defaults:
                _fill(self, field, self._defaults[field])
            else:
                raise TypeError(f"{type(self).__name__} needs {field!r}")
        if named:
            raise TypeError(f"{type(self).__name__} takes no {', '.join(map(repr, named))}, or takes it twice")

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        kind = type(self)
        changed = object.__new__(kind)
        for field in kind._fields:
            _fill(changed, field, changes.pop(field) if field in changes else getattr(self, field))
        if changes:
            raise TypeError(f"{kind.__name__} takes no {', '.join(map(repr, changes))}")
        return changed

    def items(self) -> list[tuple[str, Any]]:
        """Return the names of the fields with their values, in order."""
        return [(field, getattr(self, field)) for field in self._fields]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen; use replace()")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.items() == other.items()

    def __hash__(self) -> int:
        return hash((type(self), *[value for _, value in self.items()]))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{field}={value!r}' for field, value in self.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), *[value for _, value in self.items()])


def _restore(kind: type[Record], *values: Any) -> Record:
    """Return a record with these values, for unpickling."""
    record = object.__new__(kind)
    for field, value in zip(kind._fields, values, strict=True):
        _fill(record, field, value)
    return record
