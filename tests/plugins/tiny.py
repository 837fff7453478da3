"""Tasks that train in milliseconds, and methods that use all that a method may use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.models.layers import Layer, set_module
from benchmarks.tasks.base import Metric, Recipe, Scores, Task, Workload, knob
from methods.base import Method, cell


def event(what: str, run: Any) -> None:
    """Note in the file TINY_EVENTS what was really done."""
    if os.environ.get("TINY_EVENTS"):
        with open(os.environ["TINY_EVENTS"], "a") as file:
            file.write(f"{what} {type(run.method).__name__} {run.seed}\n")


class TinyNet(nn.Module):
    """6 numbers -> 3 logits."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x):
        return self.body(x)


@dataclass(frozen=True)
class Tiny(Task):
    """Three clouds of points."""

    width: int = knob(8, low=1, high=64, help="hidden units")
    noise: float = knob(1.0, low=0.0, high=9.0, help="spread of a cloud")
    kind: str = knob("clouds", choices=("clouds", "rings"), help="where the points lie")
    easy: bool = knob(False, help="clouds that do not touch")

    metrics = (
        Metric("accuracy", "share", "higher", chance=1 / 3, band=0.005),
        Metric("nll", "nats", "lower", chance=1.0986, band=0.01),
    )
    workloads = {"batch1": "one point", "batch8": "8 points", "batch@N": "N points", "train_step": "one step"}
    main_workload = "batch8"
    recipe = Recipe(steps=20, batch=16, lr=0.02)
    offers = ("points",)
    train_cpu_s = 0.05
    score_cpu_s = 0.01
    small = {"width": 4}

    def prepare(self):
        rng = np.random.default_rng(7)
        centres = rng.normal(size=(3, 6)) * (9.0 if self.easy else 1.0)
        splits = {}
        for name, count in (("train", 96), ("valid", 30), ("test", 60)):
            y = rng.integers(0, 3, count)
            x = centres[y] + rng.normal(size=(count, 6)) * self.noise
            splits[name] = {"x": x.astype(np.float32), "y": y, "level": np.arange(count) % 2}
        return splits

    def model(self, run, width=None, **slots):
        return TinyNet(width or self.width)

    def loss(self, model, batch):
        return F.cross_entropy(model(batch["x"]), batch["y"])

    def fit(self, model, run):
        event("fit", run)
        return super().fit(model, run)

    def score(self, system, split, run):
        event("score", run)
        with torch.inference_mode():
            logits = system(split["x"].to(kind(system))).double()
            right = (logits.argmax(-1) == split["y"]).numpy()
            nll = F.cross_entropy(logits, split["y"], reduction="none").numpy()
        return {"accuracy": Scores(right, {"level": split["level"].numpy()}), "nll": Scores(nll)}

    def workload(self, name, system, split, run):
        x = split["x"][: int(name.removeprefix("batch").removeprefix("@"))].to(kind(system))

        def call():
            with torch.inference_mode():
                return system(x)

        return Workload(call, len(x), "point")


def kind(system):
    """The type of number that a model wants."""
    return next((parameter.dtype for parameter in system.parameters()), torch.float32)


@dataclass(frozen=True)
class TinySim(Task):
    """A simulator: nothing is trained, its numbers are modelled."""

    load: float = knob(1.0, low=0.1, high=10.0, help="arrivals a second")

    metrics = (Metric("wait", "s", "lower", chance=100.0, band=0.02, relative=True),)
    trains = False
    basis = "modelled"
    offers = ("system",)
    score_cpu_s = 0.01

    def prepare(self):
        return {"train": {}, "valid": {}, "test": {"draw": np.arange(1, 51, dtype=np.float64)}}

    def model(self, run, width=None, **slots):
        return {"speed": 1.0}

    def score(self, system, split, run):
        return {"wait": Scores(split["draw"].numpy() * self.load / system["speed"])}

    def counted(self, system, split, run):
        return {"price": 2.0 * system["speed"]}


@dataclass(frozen=True)
class TinyFast(Method):
    """A system that is no module, twice as fast."""

    needs = ("system",)

    def serve(self, model, run):
        return {"speed": 2.0 * model["speed"]}


@dataclass(frozen=True)
class TinyWide(Method):
    """An architecture of its own; has a knob of each kind."""

    hidden: int = knob(12, low=1, high=99, help="hidden units")
    drop: float = knob(0.0, low=0.0, high=0.5, help="does nothing")
    mode: str = knob("a", choices=("a", "b"), help="does nothing")
    flag: bool = knob(False, help="does nothing")

    needs = ("points",)

    def build(self, run):
        return TinyNet(self.hidden)


@dataclass(frozen=True)
class TinyText(Method):
    """Wants what the task does not offer."""

    needs = ("text",)


@dataclass(frozen=True)
class TinyStudent(Method):
    """Learns from another cell."""

    teacher: Any = cell("baseline", help="whose logits are learnt")

    def fit(self, model, run):
        teacher = run.load(self.teacher)

        def loss(model, batch):
            with torch.no_grad():
                soft = teacher(batch["x"]).softmax(-1)
            return F.cross_entropy(model(batch["x"]), soft)

        for step in run.steps(model, loss=loss):
            step.update()
        return model


@dataclass(frozen=True)
class TinyPair(Method):
    """Answers with a blend of two cells; learns nothing."""

    other: Any = cell("baseline", help="the second voice")
    weight: float = knob(0.5, low=0.0, high=1.0, help="of the second voice", serve=True)

    def serve(self, model, run):
        return Blend(model, run.load(self.other), self.weight)


class Blend(nn.Module):
    """(1 - weight) first + weight second."""

    def __init__(self, first, second, weight) -> None:
        super().__init__()
        self.first, self.second, self.weight = first, second, weight

    def forward(self, x):
        return (1 - self.weight) * self.first(x) + self.weight * self.second(x)


@dataclass(frozen=True)
class TinyKeeps(Method):
    """Keeps the model on the way."""

    def fit(self, model, run):
        for step in run.steps(model):
            step.update()
            if step.number in (4, 9):
                run.log.keep(model, round=step.number)
        return model


class Halved(Layer):
    """A linear layer stored as half floats."""

    name = "halved"

    def __init__(self, inputs, outputs) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(outputs, inputs, dtype=torch.float16))

    def args(self):
        return {"inputs": self.weight.shape[1], "outputs": self.weight.shape[0]}

    def stored_params(self):
        return self.weight.numel()

    def forward(self, x):
        return F.linear(x, self.weight.float())


@dataclass(frozen=True)
class TinyHalf(Method):
    """Puts a layer of its own in place of torch's."""

    def adapt(self, model, run):
        weight = model.body[0].weight.detach()
        layer = Halved(6, len(weight))
        layer.weight.copy_(weight)
        set_module(model, "body.0", layer)
        return model


@dataclass(frozen=True)
class TinyNarrow(Method):
    """Keeps every second hidden unit: other shapes than the builder's."""

    def adapt(self, model, run):
        first, _, last = model.body
        width = first.out_features // 2
        small = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3))
        with torch.no_grad():
            small[0].weight.copy_(first.weight[::2]), small[0].bias.copy_(first.bias[::2])
            small[2].weight.copy_(last.weight[:, ::2]), small[2].bias.copy_(last.bias)
        model.body = small
        return model


@dataclass(frozen=True)
class TinyDouble(Method):
    """Changes the type of all numbers."""

    def adapt(self, model, run):
        return model.double()
