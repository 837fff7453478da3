# ruff: noqa: E501
"""Arrows go one way (docs/architecture.md): this test keeps the house in order."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("benchmarks", "methods", "reports", "joulemark")
#: What is planned, run and collected: no task or method may lean on it.
MACHINERY = tuple(
    f"benchmarks.{name}"
    for name in (
        "plan",
        "cards",
        "cells",
        "sides",
        "jobs",
        "execute",
        "artefacts",
        "index",
        "collect",
        "measure",
        "studies",
    )
)


@cache
def sources() -> dict[str, Path]:
    """module -> file, for all packages."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> list[tuple[str, str]]:
    """(imported module, when) of a module's project imports; when: `top`, `late` (in a function) or `typing`."""
    path = sources()[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: list[tuple[str, str]] = []

    def visit(node: ast.AST, when: str) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.body:
                visit(child, "typing")
            for child in node.orelse:
                visit(child, when)
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, when) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
            found.extend((name if name in sources() else base, when) for name in names)
        inner = (
            "late"
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and when == "top"
            else when
        )
        for child in ast.iter_child_nodes(node):
            visit(child, inner)

    visit(ast.parse(path.read_text()), "top")
    return [
        (name, when)
        for name, when in dict.fromkeys(found)
        if name.partition(".")[0] in (*PACKAGES, "workflow", "torch")
    ]


def within(name: str, *places: str) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def crossings(inside: str, allowed: Any) -> Iterator[str]:
    """Imports at run time that a part of the house may not have."""
    for module in sources():
        if within(module, inside):
            for name, when in imports(module):
                if when != "typing" and not within(name, "torch") and not allowed(module, name):
                    yield f"{sources()[module].relative_to(ROOT)} imports {name}"


def holds_a_class(module: str, *bases: str) -> bool:
    """True for a file in which a class has one of these as its base."""
    if module not in sources():
        return False
    classes = [
        node for node in ast.parse(sources()[module].read_text()).body if isinstance(node, ast.ClassDef)
    ]
    return any(isinstance(base, ast.Name) and base.id in bases for node in classes for base in node.bases)


# -------------------------------------------------------------------- arrows


def test_models_use_models_only() -> None:
    wrong = list(crossings("benchmarks.models", lambda module, name: within(name, "benchmarks.models")))
    assert not wrong, "models use nothing of the project but models: " + "; ".join(wrong)


def test_tasks_lean_on_no_machinery_and_no_method() -> None:
    def allowed(module: str, name: str) -> bool:
        if within(name, "benchmarks.tasks") and name != "benchmarks.tasks.base":
            return not holds_a_class(name, "Task")
        return within(name, "benchmarks") and not within(name, *MACHINERY)

    wrong = list(crossings("benchmarks.tasks", allowed))
    assert not wrong, "a task uses models, data, run and shared modules, never another task: " + "; ".join(
        wrong
    )


def test_methods_use_models_and_what_run_gives_them() -> None:
    def allowed(module: str, name: str) -> bool:
        if module == "methods.base":
            return name == "benchmarks.knobs"
        return within(name, "methods", "benchmarks.models")

    wrong = list(crossings("methods", allowed))
    assert not wrong, (
        "a method uses benchmarks.models and its `run`, nothing else of the harness: " + "; ".join(wrong)
    )


def test_no_method_imports_a_method_of_another_family(index: Any) -> None:
    files = {entry["file"]: name for name, entry in index["methods"].items()}

    def allowed(module: str, name: str) -> bool:
        same = module.split(".")[1:2] == name.split(".")[1:2]
        path = sources().get(name)
        return same or path is None or path.relative_to(ROOT).as_posix() not in files

    wrong = list(crossings("methods", allowed))
    assert not wrong, "share modules between families, not methods: " + "; ".join(wrong)


def test_benchmarks_know_neither_reports_nor_the_command_line() -> None:
    def allowed(module: str, name: str) -> bool:
        return within(name, "benchmarks") or name in ("methods", "methods.base")

    wrong = list(crossings("benchmarks", allowed))
    assert not wrong, "benchmarks use benchmarks and the contract of a method: " + "; ".join(wrong)


def test_reports_read_records_only() -> None:
    def allowed(module: str, name: str) -> bool:
        if within(name, "benchmarks.tasks", "benchmarks.models", "benchmarks.run", "benchmarks.execute"):
            return False
        return within(name, "reports", "benchmarks") and not within(name, "benchmarks.measure")

    wrong = list(crossings("reports", allowed))
    assert not wrong, "reports read records: " + "; ".join(wrong)
    torch = [
        module
        for module in sources()
        if within(module, "reports") and any(within(n, "torch") for n, _ in imports(module))
    ]
    assert not torch, f"reports never import torch: {torch}"


def test_importing_reports_loads_no_torch() -> None:
    modules = [
        module for module in sources() if within(module, "reports") and not module.endswith("__main__")
    ]
    code = f"import sys, importlib\nfor name in {modules}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    child = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout.strip() == "False", child.stderr[-2000:] or "a module of reports loads torch"


def test_nothing_leans_on_the_command_line() -> None:
    wrong = [f"{module} imports {name}" for module in sources() if not within(module, "joulemark")
             for name, when in imports(module) if within(name, "joulemark")]  # fmt: skip
    assert not wrong, "joulemark stands above all others: " + "; ".join(wrong)


def test_no_import_goes_in_a_circle() -> None:
    """At import time; a late import inside a function is how a knot is untied on purpose."""
    edges = {
        module: {
            name for name, when in imports(module) if when == "top" and name in sources() and name != module
        }
        for module in sources()
    }
    left = dict(edges)
    while True:
        ready = {module for module, needs in left.items() if not needs & set(left)}
        if not ready:
            break
        left = {module: needs for module, needs in left.items() if module not in ready}
    assert not left, "import cycle among " + ", ".join(sorted(left))


# -------------------------------------------------------------------- names


#: Words of the contract that are method names as well: the method that changes nothing, and a form of a model.
COMMON_WORDS = {"baseline", "dense"}


def generic_files() -> list[Path]:
    """All that knows no method by name: everything but methods, cards, tuning records, data, configuration, docs, tests."""
    found = [
        path
        for package in ("benchmarks", "reports", "joulemark", "workflow")
        for path in (ROOT / package).rglob("*")
    ]
    skipped = ("benchmarks/papers/", "benchmarks/tuning/", "benchmarks/data/")
    names = [
        path
        for path in [*found, ROOT / "Snakefile"]
        if path.suffix in (".py", ".smk", ".j2", ".yaml", "") and path.is_file()
    ]
    return [
        path
        for path in names
        if not path.relative_to(ROOT).as_posix().startswith(skipped) and "__pycache__" not in path.parts
    ]


def strings(path: Path) -> set[str]:
    """The string constants of a Python file that are no docstrings or messages: single words."""
    tree = ast.parse(path.read_text())
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_no_generic_file_knows_a_method_by_name(index: Any) -> None:
    methods = {name: entry["class"] for name, entry in index["methods"].items() if name not in COMMON_WORDS}
    long = re.compile(
        r"\b("
        + "|".join([n for n in methods if "_" in n] + [c for c in methods.values() if c != "Method"])
        + r")\b"
    )
    short = {name for name in methods if "_" not in name}
    wrong = []
    for path in generic_files():
        where = path.relative_to(ROOT).as_posix()
        wrong += [
            f"{where} names {word}" for word in sorted(set(long.findall(path.read_text(errors="ignore"))))
        ]
        if path.suffix == ".py":
            wrong += [f"{where} names {word}" for word in sorted(strings(path) & short)]
    assert not wrong, "only its own file and the cards name a method: " + "; ".join(wrong)


def tracked() -> list[Path]:
    """Every file of the project, as git would take it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("no git here: what belongs to the project is not known")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


#: Written in parts, so that this file does not name what it forbids.
PLACES = [
    "/" + "work/",
    "/" + "root/",
    "/" + "home/[a-z]",
    "/" + "Users/",
    r"\.\./" + "shared",
    r"\." + "library",
    "/opt/" + "pypi",
    r"pypi\." + "org",
    r"files\.python" + "hosted",
    r"conda\." + "anaconda",
]


@pytest.mark.parametrize("place", PLACES)
def test_no_file_names_a_place_of_one_machine_or_a_registry(place: str) -> None:
    pattern = re.compile(place.encode())
    wrong = []
    for path in tracked():
        text = path.read_bytes()
        if b"\0" not in text[:4096] and (found := pattern.search(text)):
            wrong.append(f"{path.relative_to(ROOT)}: {text[max(0, found.start() - 30) : found.end() + 30]!r}")
    assert not wrong, "the project must stand by itself: " + "; ".join(wrong[:10])


def test_packages_are_small() -> None:
    """A module under 300 lines: longer ones have more than one thing to say."""
    long = {module: len(path.read_text().splitlines()) for module, path in sources().items()}
    wrong = {module: lines for module, lines in long.items() if lines > 330}
    assert not wrong, f"split these modules: {wrong}"
