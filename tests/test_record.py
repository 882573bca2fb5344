"""Records: what a frozen dataclass with slots promises, kept without its cost."""

from __future__ import annotations

import ast
import copy
import dataclasses
import importlib
import pickle
import sys
import types
from collections.abc import Iterator

import pytest
from conftest import ROOT
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


# --- where the fields come from ----------------------------------------------------------------------------------


def written() -> Iterator[tuple[str, str, tuple[str, ...], set[str]]]:
    """Yield of every record in the package its module, its name, its fields, and those with a default, as written."""
    for path in sorted((ROOT / "dcmtx").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and "Record" in {base.id for base in node.bases if hasattr(base, "id")}:
                fields = [line for line in node.body if isinstance(line, ast.AnnAssign)]
                names = tuple(field.target.id for field in fields)
                yield module, node.name, names, {field.target.id for field in fields if field.value}


WRITTEN = [pytest.param(*record, id=f"{record[0]}.{record[1]}") for record in written()]


def test_there_are_records():
    assert len(WRITTEN) > 40


@pytest.mark.parametrize(("module", "name", "fields", "defaults"), WRITTEN)
def test_every_record_has_the_fields_that_are_written(module, name, fields, defaults):
    record = getattr(importlib.import_module(module), name)
    assert issubclass(record, Record)
    assert record._fields == record.__slots__ == fields
    assert record._defaults.keys() == defaults


def made(**namespace):
    """Make a record of a namespace, as the class statement does."""
    return types.new_class("Made", (Record,), exec_body=lambda body: body.update(namespace))


@pytest.mark.parametrize("key", ["__annotate_func__", "__annotate__"], ids=["of 3.14", "of its betas"])
def test_a_namespace_of_python_3_14_has_a_function_in_the_place_of_annotations(key):
    asked = []

    def annotate(form, /):
        asked.append(form)
        return {"x": int, "y": str}

    record = made(**{key: annotate, "y": "why", "z": 3})
    assert (record._fields, record._defaults, record.z) == (("x", "y"), {"y": "why"}, 3)
    assert record(1).items() == [("x", 1), ("y", "why")]
    assert asked == [1]


def test_a_type_that_is_defined_later_is_no_obstacle_in_python_3_14(monkeypatch):
    library = types.ModuleType("annotationlib")
    library.Format = types.SimpleNamespace(FORWARDREF="forward")
    library.call_annotate_function = lambda annotate, form: {"x": (annotate, form)}
    monkeypatch.setitem(sys.modules, "annotationlib", library)

    def annotate(form, /):
        raise NameError("name 'Later' is not defined")

    assert made(__annotate_func__=annotate)._fields == ("x",)


def test_a_record_may_have_no_fields():
    assert made()._fields == ()
