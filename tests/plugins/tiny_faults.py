"""Methods that do wrong all that a method can do wrong; they stand on the task of tiny.py."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from benchmarks.models.layers import set_module
from methods.base import Method, knob


@dataclass(frozen=True)
class TinyFails(Method):
    """Does one thing wrong."""

    how: str = knob("raises", help="what goes wrong")

    def fit(self, model, run):
        return getattr(self, f"_{self.how}")(model, run) or (None if self.how == "returns_nothing" else model)

    def _raises(self, model, run):
        raise ValueError("no such luck")

    def _diverges(self, model, run):
        for step in run.steps(model, loss=lambda model, batch: model(batch["x"]).sum() * float("nan")):
            step.update()

    def _not_finite(self, model, run):
        with torch.no_grad():
            model.body[0].weight[0, 0] = float("inf")

    def _eats_memory(self, model, run):
        return torch.ones(2**31, dtype=torch.float64)

    def _eats_numpy(self, model, run):
        return np.ones(2**31)

    def _killed(self, model, run):
        os.kill(os.getpid(), signal.SIGKILL)

    def _exits(self, model, run):
        os._exit(3)

    def _sleeps(self, model, run):
        time.sleep(600)

    def _imports(self, model, run):
        import joulemark_no_such_peer  # noqa: F401

    def _forgets_update(self, model, run):
        for _ in run.steps(model):
            pass

    def _returns_nothing(self, model, run):
        pass

    def _overspends(self, model, run):
        for phase in ("one", "two"):
            for step in run.steps(model, phase=phase, share=0.7):
                step.update()

    def _loads_stranger(self, model, run):
        run.load({"method": "tiny_wide", "knobs": {}})

    def _notes_nan(self, model, run):
        run.log.note(gap=float("nan"))

    def _notes_object(self, model, run):
        run.log.note(model=model)

    def _spends_nan(self, model, run):
        run.log.spend(tokens=float("nan"))

    def _intrudes(self, model, run):
        set_module(model, "body.0", nn.Sequential(Scale(6), model.body[0]))

    def _other_class(self, model, run):
        set_module(model, "body.1", nn.Tanh())

    def _more_tensors(self, model, run):
        model.register_parameter("scale", nn.Parameter(torch.ones(3)))

    def _fewer_layers(self, model, run):
        model.body = nn.Sequential(nn.Linear(6, 3))


class Scale(nn.Module):
    """No Layer: it cannot be stored."""

    def __init__(self, size) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return x * self.scale


@dataclass(frozen=True)
class TinyFlaky(Method):
    """Fails while the variable TINY_FAIL says where."""

    def fit(self, model, run):
        if os.environ.get("TINY_FAIL") == "fit":
            raise RuntimeError("not today")
        return super().fit(model, run)

    def probe(self, model, run):
        if os.environ.get("TINY_FAIL") == "probe":
            raise RuntimeError("not now")
        return {"odd": float("nan") if os.environ.get("TINY_FAIL") == "nan" else 1.0}


@dataclass(frozen=True)
class TinyPeer(Method):
    """Needs a package that nobody has."""

    requires = ("joulemark-no-such-peer",)

    def fit(self, model, run):
        raise AssertionError("must not be reached")
