# ruff: noqa: E501 - messages to authors
"""What every method and task says of itself; the messages are for its author. docs/add-a-method.md has the template."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 300


def entry_of(table: str, name: str, index: Any) -> Any:
    """What the index knows of a method or task; a file that raises fails with its reason."""
    if name in index["errors"]:
        reason = index["errors"][name]["reason"]
        pytest.fail(f"{name} cannot be imported: {reason}")
    return index[table][name]


def paragraphs(doc: str) -> dict[str, str]:
    """'Paper' and 'Deviations' -> their text, up to the next such head."""
    found = re.split(r"^([A-Z]\w+):", doc, flags=re.MULTILINE)
    return dict(zip(found[1::2], (text.strip() for text in found[2::2]), strict=True))


def test_a_method_names_its_paper_and_every_deviation(method_name: str, index: Any) -> None:
    entry = entry_of("methods", method_name, index)
    first, parts = entry["doc"].split("\n", 1)[0], paragraphs(entry["doc"])
    where = f"{entry['file']}: the docstring of {entry['class']}"
    assert first.endswith(".") and len(first) > 20, (
        f"{where} must begin with one sentence that says what it does"
    )
    assert parts.get("Paper"), (
        f"{where} must say `Paper:` and name it, with the equation (`Paper: none.` for a rival)"
    )
    assert parts.get("Deviations"), (
        f"{where} must say `Deviations:` and name each, `none.` where there is none"
    )
    if not parts["Paper"].startswith("none"):
        assert re.search(r"\b(19|20)\d\d\b|\d{4}\.\d{5}", parts["Paper"]), (
            f"{where} must give its paper's year"
        )


def test_a_knob_of_a_method_says_what_it_is(method_name: str, index: Any) -> None:
    _check_knobs(entry_of("methods", method_name, index))


def test_a_knob_of_a_task_says_what_it_is(task_name: str, index: Any) -> None:
    _check_knobs(entry_of("tasks", task_name, index))


def _check_knobs(entry: Any) -> None:
    for knob in entry["knobs"]:
        where = f"{entry['file']}: knob {knob['name']!r} of {entry['class']}"
        assert knob["help"] and not knob["help"].endswith("."), (
            f"{where} needs one line of help, without a full stop"
        )
        if knob["kind"] in ("int", "float") and not knob["choices"]:
            bounded = knob["low"] is not None or knob["high"] is not None
            assert bounded, f"{where} needs a bound (low= or high=), so that a typing error stops the planner"


def test_a_task_says_what_it_is(task_name: str, index: Any) -> None:
    entry = entry_of("tasks", task_name, index)
    where = f"{entry['file']}: the docstring of {entry['class']}"
    first = entry["doc"].split("\n", 1)[0]
    assert first.endswith(".") and len(first) > 20, (
        f"{where} must begin with one sentence that says what it is"
    )


def test_a_task_declares_what_the_harness_needs(task_name: str, index: Any) -> None:
    entry = entry_of("tasks", task_name, index)
    where = f"{entry['file']}: {entry['class']}"
    assert entry["metrics"], f"{where}.metrics is empty: nothing could be compared"
    for metric in entry["metrics"]:
        assert metric["better"] in ("higher", "lower") and metric["unit"], f"{where}: metric {metric['name']}"
        assert metric["band"] > 0, f"{where}: metric {metric['name']} needs an indifference band above 0"
        assert metric["chance"] == metric["chance"], f"{where}: metric {metric['name']} needs a chance level"
    assert set(entry["controls"]) >= {"positive", "negative"}, (
        f"{where}.controls must name a positive control that must work and a negative one that must fail"
    )
    if entry["basis"] != "modelled":
        stem, at, size = entry["main_workload"].partition("@")
        known = (f"{stem}@N" if at and size.isdigit() else entry["main_workload"]) in entry["workloads"]
        assert known, f"{where}.main_workload must be one of its workloads: {', '.join(entry['workloads'])}"
    assert entry["basis"] in ("counted", "modelled"), f"{where}.basis is counted or modelled"
    assert entry["small"], f"{where}.small needs small knobs for tests"


def test_a_methods_file_is_its_own(method_name: str, index: Any) -> None:
    """One method, one file, under 300 lines; shared work lies in modules of the family."""
    entry = entry_of("methods", method_name, index)
    others = [
        name
        for name, other in index["methods"].items()
        if other["file"] == entry["file"] and name != method_name
    ]
    assert not others, f"{entry['file']} also holds {', '.join(others)}: one file a method"
    length = len((ROOT / entry["file"]).read_text().splitlines())
    assert length <= LONGEST, (
        f"{entry['file']} has {length} lines: move what others could share into a module"
    )


def test_a_tasks_file_is_its_own(task_name: str, index: Any) -> None:
    entry = entry_of("tasks", task_name, index)
    others = [
        name for name, other in index["tasks"].items() if other["file"] == entry["file"] and name != task_name
    ]
    assert not others, f"{entry['file']} also holds {', '.join(others)}: one file a task"
