# ruff: noqa: E501
"""The index: every task and method with its knobs, and files that raise cost only their own cells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import index as module
from benchmarks.digests import ROOT
from benchmarks.index import load_index, load_module, source_files, sources_digest
from benchmarks.knobs import InputError


def describe(*plugins: Path) -> Any:
    """make_index over some plugin files alone, in a fresh process."""
    code = (
        "import benchmarks.index as index, json\n"
        "index.source_files = lambda: list(index._plugins())\n"
        "print(json.dumps(index.make_index()))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JOULEMARK_PLUGINS": os.pathsep.join(map(str, plugins))},
    )  # fmt: skip
    if child.returncode:
        return child.stderr
    return json.loads(child.stdout)


GOOD = '''
from dataclasses import dataclass
from methods.base import Method, cell, knob

class Helper:
    """No method."""

@dataclass
class Settings:
    """No method either."""

@dataclass(frozen=True)
class GoodOne(Method):
    """Does something.

    Paper: none.
    """

    teacher: str = cell("baseline")
    late: float = knob(0.5, low=0.0, high=1.0, serve=True, help="of nothing")
    needs = ("text",)
    requires = ("torch-pruning",)
    cost_depends_on_weights = True
    cpu_factor = 3.0

    def adapt(self, model, run):
        return model

    def probe(self, model, run):
        return {}
'''


def test_what_is_said_of_a_method_and_what_is_left_out(tmp_path: Path) -> None:
    good, broken, odd, torn = (tmp_path / f"{name}.py" for name in ("good", "broken", "odd", "torn"))
    good.write_text(GOOD)
    broken.write_text("import nosuch_package\nclass BrokenOne: pass\nclass AndAnother: pass\n")
    odd.write_text(GOOD.replace("GoodOne", "OddOne").replace("late: float", "late: complex"))
    torn.write_text("class TornOne(:\n    pass\n")
    found = describe(good, broken, odd, torn)
    entry = found["methods"]["good_one"]
    assert (
        entry["stages"] == ["adapt"] and entry["needs"] == ["text"] and entry["requires"] == ["torch-pruning"]
    )
    assert entry["cost_depends_on_weights"] is True and entry["cpu_factor"] == 3.0
    assert entry["doc"].startswith("Does something.") and entry["class"] == "GoodOne"
    assert [knob["name"] for knob in entry["knobs"]] == [
        "start",
        "width",
        "budget",
        "lr_factor",
        "teacher",
        "late",
    ]
    assert set(found["methods"]) == {"good_one"} and found["tasks"] == {}
    reasons = {name: entry["reason"] for name, entry in found["errors"].items()}
    assert (
        reasons["broken_one"]
        == reasons["and_another"]
        == ("broken.py: ModuleNotFoundError: No module named 'nosuch_package'")
    )
    assert reasons["odd_one"].startswith(
        "odd.py: TypeError: OddOne.late: a knob is int, float, bool, str or a cell"
    )
    assert reasons["torn_one"].startswith("torn.py: SyntaxError: ")


def test_two_methods_of_one_name_are_refused(tmp_path: Path) -> None:
    """A second `good_one` must not take the place of the first, nor make both fail."""
    (tmp_path / "first.py").write_text(GOOD)
    (tmp_path / "second.py").write_text(GOOD)
    says = describe(tmp_path / "first.py", tmp_path / "second.py")
    assert "'good_one' is also defined in joulemark_plugin_first" in str(says)


def test_a_name_that_is_taken_stops_planning_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(GOOD.replace("GoodOne", "Baseline"))
    monkeypatch.setenv("JOULEMARK_PLUGINS", str(tmp_path / "mine.py"))
    with pytest.raises(InputError) as error:
        load_index(tmp_path / "results")
    assert str(error.value) == (
        f"{tmp_path}/mine.py: 'baseline' is also defined in methods.reference.baseline: choose another name"
    )
    assert not (tmp_path / "results").exists()


def test_the_index_of_the_project(index: Any) -> None:
    assert {"baseline", "dense", "gradual_pruning"} <= set(index["methods"]) and "fashion_mlp" in index[
        "tasks"
    ]
    assert index["methods"]["baseline"]["stages"] == []
    pruning = index["methods"]["gradual_pruning"]
    assert pruning["family"] == "pruning" and pruning["file"] == "methods/pruning/gradual.py"
    assert {"methods/pruning/gradual.py", "methods/pruning/masks.py", "methods/pruning/schedules.py"} <= set(
        pruning["files"]
    )
    assert (
        "methods/base.py" not in pruning["files"] and "methods/pruning/magnitude.py" not in pruning["files"]
    )
    task = index["tasks"]["fashion_mlp"]
    assert {metric["name"] for metric in task["metrics"]} == {"accuracy", "nll"} and task["steps"] > 0
    assert json.loads(json.dumps(index)) == index  # plain values only


def test_the_index_is_named_by_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(GOOD)
    monkeypatch.setenv("JOULEMARK_PLUGINS", str(plugin))
    before = sources_digest(source_files())
    assert sources_digest(source_files()) == before
    plugin.write_text(GOOD + "# a comment: the file must be read again, the cells stay\n")
    assert sources_digest(source_files()) != before
    kinds = {kind for kind, _, _ in source_files()}
    assert kinds == {"task", "method", "plugin"}
    assert not {path.name for _, _, path in source_files()} & {"__init__.py", "base.py"}


def test_an_index_that_is_there_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = sources_digest(source_files())
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / f"{name}.json").write_text('{"tasks": {}, "methods": {}, "errors": {}}')
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: pytest.fail("made again"))
    assert load_index(tmp_path)["tasks"] == {}


def test_a_missing_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOULEMARK_PLUGINS", "nosuch.py")
    with pytest.raises(InputError, match=r"^JOULEMARK_PLUGINS: there is no file nosuch.py$"):
        source_files()


def test_a_file_that_raised_raises_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a module must not stay behind and look like a whole one."""
    path = tmp_path / "half.py"
    path.write_text("A = 1\nraise RuntimeError('half')\n")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="half"):
            load_module("joulemark_plugin_half", path)
    path.write_text("A = 2\n")
    monkeypatch.setattr(module.sys, "modules", dict(sys.modules))
    assert load_module("joulemark_plugin_half", path).A == 2
    assert load_module("joulemark_plugin_half", path) is load_module("joulemark_plugin_half", path)


def test_plugins_of_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Third parties register a module; it is indexed like a file of our own."""
    from importlib.metadata import EntryPoint

    point = EntryPoint("mine", "json.tool", "joulemark")  # any module that can be found
    monkeypatch.setattr(module, "entry_points", lambda group: [point] if group == "joulemark" else [])
    found = [(kind, name) for kind, name, _ in source_files()]
    assert ("plugin", "json.tool") in found


@pytest.fixture
def plugin_of(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        (tmp_path / "task.py").write_text(text)
        return tmp_path / "task.py"

    return write


def test_what_is_said_of_a_task(plugin_of: Callable[[str], Path]) -> None:
    found = describe(
        plugin_of(
            "from dataclasses import dataclass\n"
            "from benchmarks.tasks.base import Metric, Recipe, Task, knob\n"
            "@dataclass(frozen=True)\n"
            "class MyTask(Task):\n"
            "    length: int = knob(64, low=1, help='tokens')\n"
            "    metrics = (Metric('loss', 'nats', 'lower', chance=4.0, band=0.01),)\n"
            "    workloads = {'batch1': 'one'}\n"
            "    recipe = Recipe(steps=7, batch=2, lr=1.0)\n"
            "    offers = ('text',)\n"
            "    small = {'length': 4}\n"
        )
    )["tasks"]["my_task"]
    assert found["metrics"] == [
        {"name": "loss", "unit": "nats", "better": "lower", "chance": 4.0, "band": 0.01, "relative": False}
    ]
    assert (found["steps"], found["trains"], found["basis"], found["offers"]) == (
        7,
        True,
        "counted",
        ["text"],
    )
    assert (
        found["workloads"] == {"batch1": "one"} and found["small"] == {"length": 4} and found["version"] == 1
    )
