"""The index: names, knobs and imports of every task and method, so that planning loads no torch.

It is made in a child process that imports the files one by one; a file that raises costs its own cells only.
The index is named by the digest of the sources and rebuilt when one of them changed.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from benchmarks import digests, places
from benchmarks.digests import ROOT
from benchmarks.knobs import InputError, schema, snake
from benchmarks.records import read_json, write_json

STAGES = ("build", "fit", "adapt", "serve")
#: Raised when the layout of the index changes.
LAYOUT = 1
#: Exit status of the child when two files define one name.
NAME_TAKEN = 3


def source_files() -> list[tuple[str, str, Path]]:
    """(kind, module, file) of everything that may hold a task or a method, in a fixed order."""
    found = []
    for kind, folder in (("task", ROOT / "benchmarks" / "tasks"), ("method", ROOT / "methods")):
        for path in sorted(folder.rglob("*.py")):
            if path.name not in ("__init__.py", "base.py"):
                found.append((kind, ".".join(path.relative_to(ROOT).with_suffix("").parts), path))
    return found + list(_plugins())


def _plugins() -> Iterator[tuple[str, str, Path]]:
    """Third parties: entry points of the group `joulemark`, and files named in JOULEMARK_PLUGINS."""
    for point in sorted(entry_points(group="joulemark"), key=lambda point: point.value):
        spec = importlib.util.find_spec(point.value)
        if spec and spec.origin:
            yield "plugin", point.value, Path(spec.origin)
    for name in filter(None, os.environ.get("JOULEMARK_PLUGINS", "").split(os.pathsep)):
        path = Path(name).resolve()
        if not path.is_file():
            raise InputError(f"JOULEMARK_PLUGINS: there is no file {name}")
        yield "plugin", f"joulemark_plugin_{path.stem}", path


def load_module(module: str, path: Path) -> Any:
    """Import a task's or method's file; a plugin file is loaded from its path."""
    if module in sys.modules:
        return sys.modules[module]
    if not module.startswith("joulemark_plugin_"):
        return importlib.import_module(module)
    spec = importlib.util.spec_from_file_location(module, path)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    try:
        spec.loader.exec_module(loaded)
    except BaseException:  # half a module must not look like a whole one
        del sys.modules[module]
        raise
    return loaded


def sources_digest(files: list[tuple[str, str, Path]]) -> str:
    """Content digest of all files that the index is made from, with the shared modules among them."""
    paths = {path for _, _, path in files}
    paths |= {ROOT / "methods" / "base.py", ROOT / "benchmarks" / "tasks" / "base.py"}
    paths |= {*(ROOT / "benchmarks" / "models").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")}
    total = hashlib.sha256(f"{LAYOUT} {sys.version_info[:2]}".encode())
    for path in sorted(paths):
        total.update(f"{path}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()[:12]


def load_index(results: Path | str = "results") -> dict[str, Any]:
    """The index of the sources as they are now; made first where it is missing.

    Raises:
        InputError: the child process could not make it.
    """
    path = Path(results) / "index" / f"{sources_digest(source_files())}.json"
    index = read_json(path)
    if index is None:
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.index"],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        if child.returncode == NAME_TAKEN:
            raise InputError(child.stderr.strip().splitlines()[-1])
        if child.returncode:
            raise InputError(
                f"the index of tasks and methods could not be made: {child.stderr.strip()[-2000:]}"
            )
        index = json.loads(child.stdout)
        write_json(path, index)
    return index


def make_index() -> dict[str, Any]:
    """Import every file and describe what it holds."""
    index: dict[str, Any] = {"tasks": {}, "methods": {}, "errors": {}}
    for kind, module, path in source_files():
        try:
            classes = [
                value
                for value in vars(load_module(module, path)).values()
                if inspect.isclass(value)
                and value.__module__ == module
                and "__dataclass_fields__" in vars(value)
            ]
            for cls in classes:
                _describe(cls, kind, module, path, index)
        except InputError:
            raise
        except Exception as error:  # one file must not take the others with it
            reason = f"{path.name}: {type(error).__name__}: {error}"
            for name in _class_names(path) or [path.stem]:
                index["errors"][name] = {"reason": reason.splitlines()[0][:300], "kind": kind}
    return index


def _describe(cls: type, kind: str, module: str, path: Path, index: dict[str, Any]) -> None:
    from benchmarks.tasks.base import Task
    from methods.base import Method

    if issubclass(cls, Method):
        table, entry = index["methods"], _method(cls, Method)
    elif issubclass(cls, Task):
        table, entry = index["tasks"], _task(cls)
    else:
        return
    name = snake(cls.__name__)
    if name in table:
        raise InputError(f"{path}: {name!r} is also defined in {table[name]['module']}: choose another name")
    doc = inspect.getdoc(cls) or ""
    files = digests.closure(path) or [path]
    table[name] = {
        **entry,
        **(_named_by_task(files) if table is index["tasks"] else _named_by_method(files)),
        "module": module,
        "class": cls.__name__,
        "file": digests._relative(path, ROOT),
        "knobs": schema(cls),
        "doc": doc,
        "source": digests.source_digest(files),
        "files": [digests._relative(file, ROOT) for file in files],
        "family": path.parent.name if kind == "method" else "",
    }


def _method(cls: Any, base: Any) -> dict[str, Any]:
    return {
        "stages": [stage for stage in STAGES if getattr(cls, stage) is not getattr(base, stage)],
        "needs": list(cls.needs),
        "requires": list(cls.requires),
        "cost_depends_on_weights": cls.cost_depends_on_weights,
        "cpu_factor": cls.cpu_factor,
        "small": cls.small,
    }


def _task(cls: Any) -> dict[str, Any]:
    return {
        "version": cls.version,
        "metrics": [dataclasses.asdict(metric) for metric in cls.metrics],
        "workloads": dict(cls.workloads),
        "main_workload": cls.main_workload,
        "trains": cls.trains,
        "offers": list(cls.offers),
        "basis": cls.basis,
        "cost_depends_on_weights": cls.cost_depends_on_weights,
        "train_cpu_s": cls.train_cpu_s,
        "score_cpu_s": cls.score_cpu_s,
        "small": cls.small,
        "controls": dict(cls.controls),
        "steps": cls().recipe.steps if cls().recipe else 0,
    }


def _named_by_task(files: list[Path]) -> dict[str, Any]:
    """Names of the numbers that a task makes while it scores: what checks may ask for."""
    return {"axes": places.axes(files), "counts": places.returned(files, "counted")}


def _named_by_method(files: list[Path]) -> dict[str, Any]:
    """Names of the numbers that a method makes while it runs: levels kept, amounts spent, probes."""
    return {
        "keeps": places.keywords(files, "keep"),
        "spends": places.keywords(files, "spend"),
        "probes": places.returned(files, "probe"),
    }


def _class_names(path: Path) -> list[str]:
    """The names that a broken file would have given, as far as they can be read."""
    text = path.read_text(errors="replace")
    try:
        names = [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    except SyntaxError:
        names = re.findall(r"^class (\w+)", text, re.MULTILINE)
    return [snake(name) for name in names]


if __name__ == "__main__":
    sys.modules.setdefault("benchmarks.index", sys.modules["__main__"])
    try:
        print(json.dumps(make_index(), sort_keys=True))
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(NAME_TAKEN)
