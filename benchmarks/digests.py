"""Digests: what a hash stands for.

A source digest covers a file's syntax tree without comments and docstrings, written by a serialiser of our own, so
that it is the same on every Python from 3.11 on (`ast.dump` is not), and the digests of the project files that it
imports, directly or not. What a class says to readers, the planner and
the tests alone (help texts, forecasts, small knobs) is no part of it.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: Folders whose files belong to the methods and tasks that import them; everything else is the harness.
OWN = ("methods/", "benchmarks/tasks/", "benchmarks/models/")
#: The harness (base classes, training loop, run object) enters as this one number, raised by hand
#: whenever it changes what a cell learns; tests/golden guards it with golden quality numbers.
HARNESS_VERSION = 1
HARNESS_FILES = ("methods/base.py", "benchmarks/tasks/base.py")
#: Attributes of tasks and methods that no number of a cell depends on: forecasts, small knobs for tests, controls.
SAID_TO_OTHERS = frozenset({"train_cpu_s", "score_cpu_s", "cpu_factor", "small", "controls"})


def digest(value: Any) -> str:
    """Twelve hex digits of SHA-256 over sorted JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def syntax(source: str) -> str:
    """The syntax tree of `source` as text, without comments, docstrings and positions."""
    parts: list[str] = []
    _write(ast.parse(source), parts.append)
    return "".join(parts)


def _write(node: Any, put: Any) -> None:
    if isinstance(node, ast.AST):
        put(f"({type(node).__name__}")
        for name in node._fields:
            value: Any = getattr(node, name, None)
            if name == "body" and isinstance(
                node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            ):
                value = _without_docstring(value)
            if name == "body" and isinstance(node, ast.ClassDef):
                value = [part for part in value if not _said_to_others(part)]
            if name == "keywords" and _is_knob(node):
                value = [keyword for keyword in value if keyword.arg != "help"]
            # fields that are absent on one Python and empty on another say nothing
            if value is None or value == [] or name in ("ctx", "kind", "type_comment"):
                continue
            put(f" {name}=")
            _write(value, put)
        put(")")
    elif isinstance(node, list):
        put("[")
        for item in node:
            _write(item, put)
            put(",")
        put("]")
    else:
        put(f"{type(node).__name__}:{node!r}")


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        return body[1:]
    return body


def _said_to_others(part: ast.stmt) -> bool:
    targets = part.targets if isinstance(part, ast.Assign) else [getattr(part, "target", None)]
    return isinstance(part, ast.Assign | ast.AnnAssign) and all(
        isinstance(target, ast.Name) and target.id in SAID_TO_OTHERS for target in targets
    )


def _is_knob(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("knob", "cell")


def imports(path: Path, root: Path = ROOT) -> list[Path]:
    """The project files that a file imports directly, at any depth of its code."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, path, root)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            target = root / Path(*name.split("."))
            for candidate in (target.with_suffix(".py"), target / "__init__.py"):
                if candidate.is_file():
                    found.add(candidate)
    return sorted(found)


def _absolute(node: ast.ImportFrom, path: Path, root: Path) -> str:
    if not node.level:
        return node.module or ""
    package = path.relative_to(root).parent.parts
    package = package[: len(package) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])


def closure(path: Path, root: Path = ROOT) -> list[Path]:
    """The file (a plugin's may lie anywhere) and all task, method and model files that it imports, directly or not.

    The harness is no part of it, nor is what others install.
    """
    seen: set[Path] = set()
    todo = [path]
    while todo:
        file = todo.pop()
        name = _relative(file, root)
        if file in seen or (file != path and (not name.startswith(OWN) or name in HARNESS_FILES)):
            continue
        seen.add(file)
        todo += _imports(file, file.stat().st_mtime_ns, root)
    return sorted(seen)


def _relative(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)


@cache
def _imports(file: Path, _mtime: int, root: Path) -> list[Path]:
    return imports(file, root)


@cache
def _syntax_digest(file: Path, _mtime: int) -> str:
    return hashlib.sha256(syntax(file.read_text()).encode()).hexdigest()[:16]


def source_digest(paths: Iterable[Path], root: Path = ROOT) -> str:
    """One digest over the syntax of files; where a file outside the project lies says nothing."""
    names = {path: _relative(path, root) if path.is_relative_to(root) else path.name for path in set(paths)}
    return digest(
        {name: _syntax_digest(path, path.stat().st_mtime_ns) for path, name in sorted(names.items())}
    )
