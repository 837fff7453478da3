"""What a file's syntax says about the numbers that its cells will have, so that a check's typo is found before a run.

A task names the axes of its scores where it makes them (`Scores(values, {"level": ...})`), a method the levels that it
keeps (`run.log.keep(model, round=7)`). Nothing of it is run: names that are not written out give None, "anything".
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

#: Names, or None where they are made while running.
Names = list[str] | None


def axes(files: Iterable[Path]) -> Names:
    """Names of the axes that a task gives its scores."""
    found: set[str] = set()
    for tree in _trees(files):
        assigned = _assigned(tree)
        for call in _calls(tree, "Scores"):
            given = [keyword.value for keyword in call.keywords if keyword.arg == "axes"] or call.args[1:2]
            for value in given:
                keys = _keys(assigned.get(value.id, value) if isinstance(value, ast.Name) else value)
                if keys is None:
                    return None
                found |= keys
    return sorted(found)


def keywords(files: Iterable[Path], name: str) -> Names:
    """Names of the keywords in every call of `....name(...)`: what `keep` and `spend` are told."""
    found: set[str] = set()
    for tree in _trees(files):
        for call in _calls(tree, name):
            if any(keyword.arg is None for keyword in call.keywords):
                return None
            found |= {str(keyword.arg) for keyword in call.keywords}
    return sorted(found)


def returned(files: Iterable[Path], name: str) -> Names:
    """Keys of the mappings that the functions of this name write out: `counted` of a task, `probe` of a method."""
    found: set[str] = set()
    for tree in _trees(files):
        functions = [
            node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name
        ]
        for function in functions:
            written = [_keys(node) for node in ast.walk(function) if isinstance(node, ast.Dict)]
            if not written or None in written or _stores_by_key(function):
                return None
            found |= {key for keys in written for key in keys or ()}
    return sorted(found)


def _stores_by_key(function: ast.FunctionDef) -> bool:
    return any(
        isinstance(node, ast.DictComp)
        or (isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store))
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict")
        for node in ast.walk(function)
    )


def _trees(files: Iterable[Path]) -> Iterator[ast.Module]:
    for path in files:
        yield ast.parse(path.read_text())


def _calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == name:
            yield node


def _assigned(tree: ast.AST) -> dict[str, ast.expr]:
    """Name -> the last value that a plain assignment gives it."""
    return {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _keys(value: ast.expr) -> set[str] | None:
    """The keys of a mapping that is written out; None for anything else."""
    if not isinstance(value, ast.Dict):
        return None
    names = {key.value for key in value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return names if len(names) == len(value.keys) else None
