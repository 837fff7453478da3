"""Knobs: what a value may be, and the one line that says so where it is not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.knobs import InputError, cell, check_names, check_value, did_you_mean, knob, schema, snake


@dataclass(frozen=True)
class Example:
    count: int = knob(3, low=1, high=9, help="how many")
    share: float = knob(0.5, low=0.0, high=1.0)
    open: float = knob(1.0)
    flag: bool = knob(False)
    mode: str = knob("a", choices=("a", "b"))
    width: int | None = knob(None, low=1)
    start: str = cell("baseline", help="what it stands on")
    late: float = knob(0.1, serve=True)


KNOBS = {entry["name"]: entry for entry in schema(Example)}
#: knob, value that is refused, what the line says after its place.
REFUSED = [
    ("count", 0, "0 is below 1 (how many)"),
    ("count", 10, "10 is above 9 (how many)"),
    ("count", True, "True is no int (how many)"),
    ("count", 2.5, "2.5 is no int (how many)"),
    ("count", math.inf, "inf is no int (how many)"),
    ("count", "3", "'3' is no int (how many)"),
    ("count", None, "None is no int (how many)"),
    ("count", [3], "[3] is no int (how many)"),
    ("share", math.nan, "nan is no finite number"),
    ("open", math.inf, "inf is no finite number"),
    ("open", -math.inf, "-inf is no finite number"),
    ("share", 1.0000001, "1.0000001 is above 1.0"),
    ("share", -1e-9, "-1e-09 is below 0.0"),
    ("share", False, "False is no float"),
    ("share", "half", "'half' is no float"),
    ("share", {"a": 1}, "{'a': 1} is no float"),
    ("flag", 1, "1 is no bool"),
    ("flag", "true", "'true' is no bool"),
    ("mode", "c", "'c' is none of a, b"),
    ("mode", 1, "1 is no str"),
    ("mode", None, "None is no str"),
    ("width", 0, "0 is below 1"),
]


@pytest.mark.parametrize(("name", "value", "says"), REFUSED)
def test_what_is_refused(name: str, value: Any, says: str) -> None:
    with pytest.raises(InputError) as error:
        check_value(KNOBS[name], value, f"card.yaml: runs[0].{name}")
    assert str(error.value) == f"card.yaml: runs[0].{name}: {says}"


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("count", 9.0, 9),
        ("count", 1, 1),
        ("share", 1, 1.0),
        ("share", 0, 0.0),
        ("width", None, None),
        ("flag", True, True),
    ],
)
def test_what_is_taken(name: str, value: Any, kept: Any) -> None:
    found = check_value(KNOBS[name], value, "here")
    assert found == kept and type(found) is type(kept)


@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers() | st.booleans() | st.text(max_size=3))
def test_a_value_is_in_bounds_or_refused(value: Any) -> None:
    try:
        found = check_value(KNOBS["share"], value, "here")
    except InputError as error:
        assert str(error).startswith("here: ") and "\n" not in str(error)
    else:
        assert isinstance(found, float) and 0.0 <= found <= 1.0 and found == value


def test_schema_says_all_that_the_planner_needs() -> None:
    assert KNOBS["width"] == {
        "name": "width", "optional": True, "default": None, "low": 1, "high": None, "choices": None,
        "help": "", "serve": False, "kind": "int",
    }  # fmt: skip
    assert KNOBS["start"]["kind"] == "cell" and KNOBS["start"]["default"] == "baseline"
    assert KNOBS["mode"]["choices"] == ["a", "b"]
    assert KNOBS["late"]["serve"] and not KNOBS["share"]["serve"]


def test_a_knob_of_another_type_is_its_authors_mistake() -> None:
    @dataclass(frozen=True)
    class Odd:
        sizes: list[int] = knob(())

    with pytest.raises(
        TypeError, match=r"Odd.sizes: a knob is int, float, bool, str or a cell, not list\[int\]"
    ):
        schema(Odd)


def test_types_may_stand_as_types() -> None:
    """A file without `from __future__ import annotations` has types where others have their names."""
    types = {"count": int, "width": int | None}
    plain = type("Plain", (), {"__annotations__": types, "count": knob(3), "width": knob(None)})
    kinds = {
        entry["name"]: (entry["kind"], entry["optional"]) for entry in schema(dataclass(frozen=True)(plain))
    }
    assert kinds == {"count": ("int", False), "width": ("int", True)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("GradualPruning", "gradual_pruning"),
        ("Int8Dynamic", "int8_dynamic"),
        ("Dense", "dense"),
        ("SQA", "sqa"),
    ],
)
def test_snake(name: str, expected: str) -> None:
    assert snake(name) == expected


def test_did_you_mean() -> None:
    assert did_you_mean("sparsty", ["sparsity", "width"]) == "did you mean 'sparsity'?"
    assert did_you_mean("xyz", ["b", "a"]) == "allowed: a, b"
    assert did_you_mean("one", []) == "there is none here"
    assert did_you_mean("xyz", [f"n{i:02}" for i in range(99)]).endswith("n29, ...")


def test_check_names() -> None:
    check_names(["a"], ["a", "b"], "knob", "here")
    with pytest.raises(InputError, match=r"^here: there is no knob 'c'; allowed: a, b$"):
        check_names(["a", "c"], ["a", "b"], "knob", "here")
