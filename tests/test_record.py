"""Records: what a frozen dataclass with slots promises, kept without its cost."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmtx.record import Record


class Point(Record):
    """Two numbers that must be given and a name that need not."""

    x: int
    y: int
    name: str = "origin"

    @property
    def total(self) -> int:
        """The sum."""
        return self.x + self.y


class Twin(Record):
    """The same fields under another name."""

    x: int
    y: int
    name: str = "origin"


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """What a record has to behave like."""

    x: int
    y: int
    name: str = "origin"


@pytest.mark.parametrize(
    ("values", "named"),
    [((1, 2), {}), ((1,), {"y": 2}), ((), {"y": 2, "x": 1}), ((1, 2, "origin"), {}), ((1, 2), {"name": "origin"})],
    ids=["in order", "mixed", "by name in any order", "default given", "default given by name"],
)
def test_arguments_come_in_order_or_by_name(values, named):
    point = Point(*values, **named)
    assert (point.x, point.y, point.name, point.total) == (1, 2, "origin", 3)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((), {}),
        ((1,), {}),
        ((1, 2, "a", 4), {}),
        ((1, 2), {"x": 3}),
        ((1, 2), {"z": 3}),
        ((1,), {"name": "a"}),
    ],
    ids=["none", "one missing", "too many", "one twice", "unknown name", "one missing, default given"],
)
def test_wrong_arguments_are_a_type_error_as_in_a_dataclass(values, named):
    with pytest.raises(TypeError):
        Model(*values, **named)
    with pytest.raises(TypeError):
        Point(*values, **named)


def test_a_record_is_frozen():
    point = Point(1, 2)
    for change in (lambda: setattr(point, "x", 3), lambda: setattr(point, "w", 3), lambda: delattr(point, "x")):
        with pytest.raises(AttributeError, match="frozen"):
            change()
    assert point == Point(1, 2)


def test_a_record_has_slots_and_no_dictionary():
    assert not hasattr(Point(1, 2), "__dict__")
    assert Point.__slots__ == ("x", "y", "name")


def test_replace_changes_what_is_named_and_leaves_the_original():
    point = Point(1, 2)
    assert point.replace(y=5) == Point(1, 5)
    assert point.replace() == point
    assert point == Point(1, 2)
    with pytest.raises(TypeError):
        point.replace(z=1)


def test_items_come_in_the_order_of_the_fields():
    assert Point(name="n", y=2, x=1).items() == [("x", 1), ("y", 2), ("name", "n")]


def test_records_of_different_types_are_never_equal():
    assert Point(1, 2) != Twin(1, 2)
    assert Point(1, 2) != (1, 2, "origin")


@settings(derandomize=True, deadline=None, database=None, max_examples=30)
@given(st.tuples(st.integers(), st.integers(), st.text()), st.tuples(st.integers(), st.integers(), st.text()))
def test_equality_hash_and_repr_are_those_of_a_dataclass(one, other):
    assert (Point(*one) == Point(*other)) == (Model(*one) == Model(*other))
    assert Point(*one) == Point(*one)
    assert hash(Point(*one)) == hash(Point(*one))
    assert repr(Point(*one)) == repr(Model(*one)).replace("Model", "Point")
    assert len({Point(*one), Point(*other)}) == len({Model(*one), Model(*other)})


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_record_survives_pickling(protocol):
    point = Point(1, 2, "elsewhere")
    assert pickle.loads(pickle.dumps(point, protocol)) == point


def test_a_record_survives_copying():
    point = Point(1, 2, "elsewhere")
    assert copy.copy(point) == point
    assert copy.deepcopy(point) == point
