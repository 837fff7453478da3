# ruff: noqa: E501
"""Arrows go one way (docs/architecture.md): this test keeps the house in order."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("benchmarks", "methods", "reports", "joulemark")
#: What plans, runs and collects: no task may lean on it.
MACHINERY = tuple(
    f"benchmarks.{name}"
    for name in (
        "artefacts", "cards", "cells", "children", "collect", "execute", "forecast", "index", "jobs", "layout", "measure",
        "plan", "resolver", "scoring", "sides", "specs", "studies",
    )
)  # fmt: skip
#: Words of the contract that are method names as well: the method that changes nothing, and a form of a model.
COMMON_WORDS = {"baseline", "dense"}
#: Texts that show a person an example: the card that `joulemark new paper` writes, and what `reproduce` proposes next.
EXAMPLES = {("joulemark/scaffold.py", "gradual_pruning"), ("joulemark/reproduce.py", "gradual_pruning")}
LONGEST = 300

# -------------------------------------------------------------------- reading imports


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
def tree_of(path: Path) -> ast.Module:
    """A file's syntax tree; empty where it cannot be parsed (test_every_file_parses says so)."""
    try:
        return ast.parse(path.read_text())
    except SyntaxError:
        return ast.Module([], [])


@cache
def imports(module: str) -> list[tuple[str, str]]:
    """(imported name, when) of a module's project imports; when: `top`, `late` (in a function) or `typing`."""
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
            found.extend((f"{base}.{alias.name}", when) for alias in node.names)
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, "late" if function and when == "top" else when)

    visit(tree_of(path), "top")
    ours = (*PACKAGES, "workflow", "torch")
    return [(name, when) for name, when in dict.fromkeys(found) if name.partition(".")[0] in ours]


def within(name: str, *places: str) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def home(name: str) -> str:
    """The module in which an imported name lives."""
    while name and name not in sources():
        name = name.rpartition(".")[0]
    return name


def crossings(inside: str, allowed: Callable[[str, str], bool]) -> str:
    """Imports at run time that a part of the house may not have, as text."""

    def found() -> Iterator[str]:
        for module in sources():
            for name, when in imports(module) if within(module, inside) else []:
                if when != "typing" and not within(name, "torch") and not allowed(module, name):
                    yield f"{sources()[module].relative_to(ROOT)} imports {name}"

    return "; ".join(found())


def holds_a_class(module: str) -> bool:
    """True for a file that the index would register: in it a dataclass stands on a base class."""
    classes = [node for node in tree_of(sources()[module]).body if isinstance(node, ast.ClassDef)]
    return any(
        node.bases and any("dataclass" in ast.dump(d) for d in node.decorator_list) for node in classes
    )


# -------------------------------------------------------------------- arrows


def test_every_file_parses() -> None:
    files = {path for path in sources().values() if path.stat().st_size > 20}
    wrong = sorted(str(path.relative_to(ROOT)) for path in files if not tree_of(path).body)
    assert not wrong, f"cannot be parsed: {wrong}"


def test_models_use_models_only() -> None:
    wrong = crossings("benchmarks.models", lambda module, name: within(name, "benchmarks.models"))
    assert not wrong, f"models use nothing of the project but models: {wrong}"


def test_tasks_lean_on_no_machinery_and_no_method() -> None:
    def allowed(module: str, name: str) -> bool:
        if within(name, "benchmarks.tasks") and not within(name, "benchmarks.tasks.base"):
            return not holds_a_class(home(name))
        return within(name, "benchmarks") and not within(name, *MACHINERY)

    wrong = crossings("benchmarks.tasks", allowed)
    assert not wrong, f"a task uses models, data, run and shared modules, never another task: {wrong}"


def test_methods_use_models_and_what_run_gives_them() -> None:
    def allowed(module: str, name: str) -> bool:
        if module == "methods.base":
            return within(name, "benchmarks.knobs")
        # the two exceptions are how a method says what went wrong
        return within(
            name, "methods", "benchmarks.models", "benchmarks.run.MethodError", "benchmarks.run.Diverged"
        )

    wrong = crossings("methods", allowed)
    assert not wrong, f"a method uses benchmarks.models and its `run`, nothing else of the harness: {wrong}"


def test_no_method_imports_a_method_of_another_family(index: Any) -> None:
    files = {entry["file"] for entry in index["methods"].values()}

    def allowed(module: str, name: str) -> bool:
        path = sources().get(home(name))
        same = module.split(".")[1:2] == name.split(".")[1:2]
        return same or path is None or path.relative_to(ROOT).as_posix() not in files

    wrong = crossings("methods", allowed)
    assert not wrong, f"share modules between families, not methods: {wrong}"


def test_benchmarks_know_neither_reports_nor_the_command_line() -> None:
    wrong = crossings(
        "benchmarks",
        lambda module, name: within(name, "benchmarks") or home(name) in ("methods", "methods.base"),
    )
    assert not wrong, f"benchmarks use benchmarks and the contract of a method: {wrong}"


def test_reports_read_records_only() -> None:
    running = [
        f"benchmarks.{name}" for name in ("tasks", "models", "run", "execute", "measure", "counting", "costs")
    ]
    wrong = crossings(
        "reports", lambda module, name: within(name, "reports", "benchmarks") and not within(name, *running)
    )
    assert not wrong, f"reports read records: {wrong}"
    reports = [module for module in sources() if within(module, "reports")]
    torch = [module for module in reports if any(within(name, "torch") for name, _ in imports(module))]
    assert not torch, f"reports never import torch: {torch}"


def test_reports_go_from_numbers_to_pages() -> None:
    """Each part of `reports` uses those before it: judging, wording, drawing, typesetting, site; write.py uses all."""
    order = ("reports.judging", "reports.wording", "reports.drawing", "reports.typesetting", "reports.site")
    base = ("reports.notation", "benchmarks")
    for at, part in enumerate(order):
        late = order[at + 1 :] + (() if at > 2 else ("reports.content", "reports.views"))
        allowed = (*order[: at + 1], *base)
        wrong = crossings(
            part,
            lambda module, name, allowed=allowed, late=late: (
                within(name, *allowed) or not within(name, *late)
            ),
        )
        assert not wrong, f"{part} knows nothing of what comes after it: {wrong}"


def test_importing_reports_loads_no_torch() -> None:
    modules = [
        module for module in sources() if within(module, "reports") and not module.endswith("__main__")
    ]
    code = f"import sys, importlib\nfor name in {modules}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert child.stdout.strip() == "False", child.stderr[-2000:] or "a module of reports loads torch"


def test_nothing_leans_on_the_command_line() -> None:
    below = [module for module in sources() if not within(module, "joulemark")]
    wrong = [
        f"{module} imports {name}"
        for module in below
        for name, _ in imports(module)
        if within(name, "joulemark")
    ]
    assert not wrong, f"joulemark stands above all others: {wrong}"


def test_no_import_goes_in_a_circle() -> None:
    """At import time; a late import inside a function is how a knot is untied on purpose."""
    left = {
        module: {home(name) for name, when in imports(module) if when == "top"} & set(sources()) - {module}
        for module in sources()
    }
    while ready := {module for module, needs in left.items() if not needs & set(left)}:
        left = {module: needs for module, needs in left.items() if module not in ready}
    assert not left, f"import cycle among {', '.join(sorted(left))}"


# -------------------------------------------------------------------- names and places


def generic_files() -> list[Path]:
    """What knows no method by name: all but methods, cards, tuning records, data, configuration, docs, tests."""
    found = [
        path
        for package in ("benchmarks", "reports", "joulemark", "workflow")
        for path in (ROOT / package).rglob("*")
    ]
    kinds = (".py", ".smk", ".j2", ".yaml", ".rst", "")
    skipped = ("benchmarks/papers/", "benchmarks/tuning/", "benchmarks/data/")
    return [
        path
        for path in [*found, ROOT / "Snakefile"]
        if path.is_file()
        and path.suffix in kinds
        and not path.relative_to(ROOT).as_posix().startswith(skipped)
    ]


def words_of(path: Path) -> set[str]:
    """The string constants of a Python file."""
    nodes = ast.walk(tree_of(path))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_no_generic_file_knows_a_method_by_name(index: Any) -> None:
    """Names of several words anywhere in a file; names of one word (`lion`) as a string of their own."""
    methods = {name: entry["class"] for name, entry in index["methods"].items() if name not in COMMON_WORDS}
    classes = [name for name in methods.values() if sum(letter.isupper() for letter in name) > 1]
    long = re.compile(r"\b(" + "|".join([name for name in methods if "_" in name] + classes) + r")\b")
    short = {name for name in methods if "_" not in name}
    wrong = []
    for path in generic_files():
        where = path.relative_to(ROOT).as_posix()
        words = set(long.findall(path.read_text(errors="ignore")))
        words |= words_of(path) & short if path.suffix == ".py" else set()
        wrong += [f"{where} names {word}" for word in sorted(words) if (where, word) not in EXAMPLES]
    assert not wrong, "only its own file and the cards name a method: " + "; ".join(wrong)


def tracked() -> list[Path]:
    """Every file of the project, as git would take it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git here: what belongs to the project is not known")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


#: Written in parts, so that this file does not name what it forbids.
PLACES = (
    "/" + "work/",
    "/" + "root/",
    "/" + "home/[a-z]",
    "/" + "Users/",
    r"\.\./" + "shared",
    r"/\." + "library",
    "/opt/" + "pypi",
    r"pypi\." + "org",
    r"files\.python" + "hosted",
    r"conda\." + "anaconda",
)


@pytest.mark.parametrize("place", PLACES)
def test_no_file_names_a_place_of_one_machine_or_a_registry(place: str) -> None:
    pattern, wrong = re.compile(place.encode()), []
    for path in tracked():
        text = path.read_bytes()
        if b"\0" not in text[:4096] and (found := pattern.search(text)):
            wrong.append(f"{path.relative_to(ROOT)}: {text[max(0, found.start() - 30) : found.end() + 30]!r}")
    assert not wrong, "the project must stand by itself: " + "; ".join(wrong[:10])


def test_modules_are_short() -> None:
    """A longer one has more than one thing to say."""
    long = {module: len(path.read_text().splitlines()) for module, path in sources().items()}
    wrong = {module: lines for module, lines in long.items() if lines > LONGEST}
    assert not wrong, f"split these modules, they have more than {LONGEST} lines: {wrong}"
