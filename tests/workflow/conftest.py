"""A small project of its own: the real workflow, a task that trains in milliseconds, three methods, one card."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

TASK = '''
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from benchmarks.tasks.base import Metric, Recipe, Scores, Task, Workload, knob

@dataclass(frozen=True)
class Blobs(Task):
    """Two blobs."""
    width: int = knob(4, low=1)
    metrics = (Metric("accuracy", "share", "higher", chance=0.5, band=0.005),)
    workloads = {"batch64": "64 points"}
    main_workload = "batch64"
    recipe = Recipe(steps=5, batch=32, lr=1e-2)
    train_cpu_s = 0.1

    def prepare(self):
        rng = np.random.default_rng(0)
        y = rng.integers(0, 2, 600)
        x = (rng.standard_normal((600, 2)) + 2 * y[:, None]).astype(np.float32)
        cut = lambda a, b: {"x": x[a:b], "y": y[a:b]}
        return {"train": cut(0, 300), "valid": cut(300, 400), "test": cut(400, 600)}

    def model(self, run, width=None, **slots):
        from benchmarks.models.mlp import Mlp
        return Mlp(2, [width or self.width], 2)

    def loss(self, model, batch):
        from torch.nn.functional import cross_entropy
        return cross_entropy(model(batch["x"]), batch["y"])

    def score(self, system, split, run):
        import torch
        with torch.no_grad():
            return {"accuracy": Scores((system(split["x"]).argmax(-1) == split["y"]).numpy())}

    def workload(self, name, system, split, run):
        x = split["x"][:64]
        return Workload(lambda: system(x), 64, "point")
'''
SHARED = "from __future__ import annotations\n\nFACTOR = 1.0\n"
SCALED = '''
from __future__ import annotations
from dataclasses import dataclass
from methods.base import Method, knob
from methods.blob.shared import FACTOR

@dataclass(frozen=True)
class {cls}(Method):
    """A method. Paper: none. Deviations: none."""
    strength: float = knob(0.5, low=0.0, high=1.0, help="how much")

    def {stage}(self, model, run):
        # a comment
        for step in run.steps(model, share=FACTOR * self.strength):
            step.update()
        return model
'''
CARD = """
study: {key: blobs, title: blobs}
family: blob
scope: core
grade: C
faithful: {peer: none}
runs:
  - task: {blobs: {}}
    workloads: [batch64]
    methods:
      alpha: {strength: [0.5, 1.0]}
      beta: {}
      gamma: {}
claims:
  - id: one
    says: alpha is no worse
    checks: [{metric: accuracy, of: {alpha: {strength: 1.0}}, minus: baseline, above: -0.5}]
"""
PLAN = "cards: [blobs]\nseeds: 2\nrounds: 2\nlimits: {cell_minutes: 5, memory_gb: 6}\n"


class Project:
    """A checkout in a temporary folder, and Snakemake on it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        return self.root / name

    def edit(self, name: str, old: str, new: str) -> None:
        text = self.path(name).read_text()
        assert old in text, f"{name} has no {old!r}"
        self.path(name).write_text(text.replace(old, new))

    def env(self) -> dict[str, str]:
        clean = {
            key: value for key, value in os.environ.items() if not key.startswith(("JOULEMARK", "SNAKEMAKE"))
        }
        return {
            **clean,
            "JOULEMARK_LEASE": str(self.root),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--cores", "2", *args, "--config", "plan=tiny"]

    def snakemake(self, *args: str, status: int | None = 0) -> str:
        done = subprocess.run(
            self.command(*args), cwd=self.root, env=self.env(), capture_output=True, text=True
        )
        text = done.stdout + done.stderr
        assert status is None or done.returncode == status, text[-4000:]
        return text

    def planned(self, *args: str) -> dict[str, int]:
        """Jobs a rule that a run would start now."""
        counts: dict[str, int] = {}
        for line in self.snakemake("-n", "--quiet", "host", *args).splitlines():
            if line.startswith("rule ") and line.endswith(":"):
                rule = line[5:-1]
                counts[rule] = counts.get(rule, 0) + 1
        return counts

    def states(self) -> dict[str, bytes]:
        """Everything that a run leaves and that must not depend on how it went."""
        import json

        found = {}
        for path in sorted((self.root / "results" / "cells").glob("*.json")):
            record = json.loads(path.read_text())
            parts = {key: record[key] for key in ("key", "status", "quality", "cost")}
            found[path.name] = json.dumps(parts, sort_keys=True).encode()
        for folder in ("chunks", "rounds", "tables"):
            for path in sorted((self.root / "results" / folder).glob("*")):
                found[f"{folder}/{path.name}"] = b""
        return found


def build(root: Path) -> Project:
    """The project's own files, with one tiny task, family, card and plan in place of the shipped ones."""
    ignore = shutil.ignore_patterns("__pycache__", "*.xz", "*.safetensors", "papers", "data")
    for name in ("benchmarks", "methods", "reports", "joulemark", "workflow", "profiles", "config"):
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    for name in ("Snakefile", "environment.yml"):
        shutil.copy(ROOT / name, root / name)
    for folder in (root / "methods").iterdir():
        if folder.is_dir() and folder.name != "reference":
            shutil.rmtree(folder)
    for path in [
        *(root / "benchmarks" / "tasks").glob("*.py"),
        *(root / "methods" / "reference").glob("*.py"),
    ]:
        if path.name not in ("__init__.py", "base.py", "baseline.py"):
            path.unlink()
    (root / "benchmarks" / "data").mkdir()
    for name in (
        "__init__.py",
        "archives.py",
    ):  # the code that jobs import; the data itself stays where it is
        shutil.copy(ROOT / "benchmarks" / "data" / name, root / "benchmarks" / "data" / name)
    (root / "methods" / "blob").mkdir()
    (root / "benchmarks" / "papers").mkdir()
    files = {
        "benchmarks/tasks/blobs.py": TASK,
        "methods/blob/__init__.py": "",
        "methods/blob/shared.py": SHARED,
        "methods/blob/alpha.py": SCALED.format(cls="Alpha", stage="fit"),
        "methods/blob/beta.py": SCALED.format(cls="Beta", stage="adapt"),
        "methods/blob/gamma.py": SCALED.format(cls="Gamma", stage="adapt").replace("FACTOR * ", ""),
        "benchmarks/papers/blobs.yaml": CARD,
        "config/tiny.yaml": PLAN,
    }
    for name, text in files.items():
        (root / name).write_text(text)
    project = Project(root)
    project.edit("methods/blob/gamma.py", "from methods.blob.shared import FACTOR\n", "")
    return project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny project after one whole run; tests copy it."""
    project = build(tmp_path_factory.mktemp("finished"))
    project.first_output = project.snakemake()  # type: ignore[attr-defined]
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A finished project of a test's own."""
    root = tmp_path / "project"
    shutil.copytree(finished.root, root, symlinks=True)
    return Project(root)


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """A project in which nothing has run."""
    return build(tmp_path / "fresh") if (tmp_path / "fresh").mkdir() is None else None
