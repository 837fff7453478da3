"""MNIST-1D with a fully connected network: seconds a cell, and far from solved: methods come apart on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import datasets
from benchmarks.tasks.base import Recipe, knob
from benchmarks.tasks.classification import BATCHES, TRAIN_STEP, Classifier

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.run import Run


@dataclass(frozen=True)
class Mnist1dMlp(Classifier):
    """One-dimensional digits in ten classes (40 values each), an MLP 40-256-256-10.

    Data: MNIST-1D (Greydanus and Kobak, 2020): the published 4,000 training signals, of which the last 500
    validate; 10,000 test signals of the same generator. They come centred and scaled.
    A linear classifier gets about 0.31, this network about 0.68, a convolutional one about 0.94: an MLP has
    to learn the shifts, so what its hidden layers learn decides. It fits the training signals almost
    perfectly: its likelihood on new ones says as much as its accuracy.
    """

    width: int = knob(256, low=4, high=4000, help="units of each hidden layer")
    depth: int = knob(2, low=1, high=8, help="hidden layers")
    signals: int = knob(3500, low=64, high=3500, help="training signals")
    epochs: int = knob(20, low=1, high=200, help="passes over the training signals")

    workloads = {name: BATCHES[name] for name in ("batch1", "batch64")} | TRAIN_STEP
    item = "signal"
    train_cpu_s = 1.4
    score_cpu_s = 0.2
    small = {"width": 32, "signals": 1000, "epochs": 2}
    controls = {
        "positive": "the network learns features: at least 0.1 of accuracy over a readout of random layers",
        "negative": "a readout of random layers stays clearly below the trained network",
    }

    @property
    def recipe(self) -> Recipe:  # type: ignore[override]
        """Rate and decay were chosen on the validation signals: three seeds, seven pairs."""
        batch = min(50, self.signals)
        return Recipe(steps=self.signals * self.epochs // batch, batch=batch, lr=1e-2, weight_decay=0.3)

    def prepare(self) -> dict[str, dict[str, np.ndarray]]:
        """Signals as float32 [items, 40], labels as int64 [items]."""
        data = datasets.mnist1d()
        x, y = data["train_x"], data["train_y"].astype(np.int64)
        return {
            "train": {"x": x[: self.signals], "y": y[: self.signals]},
            "valid": {"x": x[3500:], "y": y[3500:]},
            "test": {"x": data["test_x"], "y": data["test_y"].astype(np.int64)},
        }

    def model(self, run: Run, width: int | None = None, **slots: Any) -> nn.Module:
        """An MLP with `depth` hidden layers of equal width."""
        from benchmarks.models.mlp import Mlp

        return Mlp(40, [width or self.width] * self.depth, 10, **slots)
