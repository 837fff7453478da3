"""joulemark new: begin a method, a task or a paper's card from a template that runs as it is."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.digests import ROOT
from benchmarks.knobs import NAME, InputError
from benchmarks.records import write_text

METHOD = '''"""{title}: one line on what it does."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method, knob


@dataclass(frozen=True)
class {cls}(Method):
    """What it does, in a sentence.

    Paper: key (authors, year), equation n:
        the equation
    Deviations: none.
    """

    strength: float = knob(0.5, low=0.0, high=1.0, help="what it means, with its unit")

    def fit(self, model, run):
        for step in run.steps(model):     # loss and gradients are there, nothing is updated yet
            step.update()
        return model
'''
TASK = '''"""{title}: one line on the task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.tasks.base import Metric, Recipe, Scores, Task, Workload, knob


@dataclass(frozen=True)
class {cls}(Task):
    """What is learnt, from which data, by which model."""

    width: int = knob(32, low=1, help="hidden units")

    metrics = (Metric("accuracy", "share", "higher", chance=0.5, band=0.005),)
    workloads = {{"batch64": "64 items"}}
    main_workload = "batch64"
    recipe = Recipe(steps=100, batch=64, lr=3e-3)
    small = {{"width": 8}}

    def prepare(self):
        rng = np.random.default_rng(0)
        x = rng.standard_normal((3000, 8)).astype(np.float32)
        y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
        cut = lambda a, b: {{"x": x[a:b], "y": y[a:b]}}  # noqa: E731
        return {{"train": cut(0, 2000), "valid": cut(2000, 2500), "test": cut(2500, 3000)}}

    def model(self, run, width=None, **slots):
        from benchmarks.models.mlp import Mlp

        return Mlp(8, [width or self.width], 2, **slots)

    def loss(self, model, batch):
        from torch.nn.functional import cross_entropy

        return cross_entropy(model(batch["x"]), batch["y"])

    def score(self, system, split, run):
        return {{"accuracy": Scores((system(split["x"]).argmax(-1) == split["y"]).numpy())}}

    def workload(self, name, system, split, run):
        x = split["x"][:64]
        return Workload(lambda: system(x), 64, "item")
'''
CARD = """paper: {{key: {name}, title: "the paper's title", year: 2025}}
family: pruning
scope: extended
grade: B
smaller: what is smaller here than in the paper
faithful: {{identities: [which], peer: which official code or package, published: which small number}}
runs:
  - task: {{fashion_mlp: {{}}}}
    workloads: [batch64]
    methods:
      gradual_pruning: {{sparsity: 0.9}}
claims:
  - id: first-claim
    says: the claim in one sentence, in the order of the abstract
    reported: {{value: the paper's number, where: abstract}}
    checks:
      - {{metric: accuracy, of: {{gradual_pruning: {{sparsity: 0.9}}}}, minus: baseline, above: -0.01}}
"""


def arguments(command: str, sub: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    sub.add_argument("kind", choices=("method", "task", "paper"))
    sub.add_argument("name", help="snake_case for a method or task, the key for a paper")
    sub.add_argument("--family", default="own", help="folder of a method (default: own)")


def run(command: str, args: argparse.Namespace) -> int:
    """Write the file, unless there is one."""
    name = args.name
    if not NAME.fullmatch(name) or (args.kind != "paper" and "-" in name) or name[0].isdigit():
        raise InputError(
            f"joulemark new {args.kind}: {name!r} is no name ([a-z0-9_], a paper's key may have hyphens)"
        )
    if not NAME.fullmatch(args.family):
        raise InputError(f"--family: {args.family!r} is no name of the form [a-z0-9_-]+")
    path, text = _file(args.kind, name, args.family)
    if path.exists():
        raise InputError(f"{path.relative_to(ROOT)}: is there already")
    write_text(path, text)
    if args.kind == "method" and not (path.parent / "__init__.py").exists():
        write_text(path.parent / "__init__.py", "")
    print(f"{path.relative_to(ROOT)} written; next: {_next(args.kind, name)}")
    return 0


def _file(kind: str, name: str, family: str) -> tuple[Path, str]:
    cls = "".join(part.capitalize() for part in name.split("_"))
    title = name.replace("_", " ").capitalize()
    if kind == "method":
        return ROOT / "methods" / family / f"{name}.py", METHOD.format(cls=cls, title=title)
    if kind == "task":
        return ROOT / "benchmarks" / "tasks" / f"{name}.py", TASK.format(cls=cls, title=title)
    return ROOT / "benchmarks" / "papers" / f"{name}.yaml", CARD.format(name=name)


def _next(kind: str, name: str) -> str:
    return {
        "method": f"joulemark try {name} --task fashion_mlp",
        "task": f"joulemark try baseline --task {name}",
        "paper": f"snakemake --cores 2 --config plan=full paper_{name}",
    }[kind]
