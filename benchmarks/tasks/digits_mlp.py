"""The 8 x 8 digits that scikit-learn ships: real data that trains in a fifth of a second, for tests and first tries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.tasks.base import Recipe, knob
from benchmarks.tasks.classification import Classifier


@dataclass(frozen=True)
class DigitsMlp(Classifier):
    """Handwritten digits, 8 x 8 grey, with a fully connected network.

    Data: UCI optical digits as shipped with scikit-learn (1,797 images); 1,000 train, 297 validate, 500 test, in an
    order drawn once.
    """

    width: int = knob(64, low=2, high=1024, help="units of each hidden layer")
    depth: int = knob(2, low=1, high=8, help="hidden layers")

    recipe = Recipe(steps=300, batch=64, lr=3e-3, weight_decay=1e-4)
    offers = ("images",)
    train_cpu_s = 0.4
    score_cpu_s = 0.1
    small = {"width": 16}
    controls = {
        "positive": "half of the weights can be removed gradually within 2 points of accuracy",
        "negative": "removing 90 % of the weights at random costs clearly more than removing the smallest",
    }

    def prepare(self):
        from sklearn.datasets import load_digits

        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.target))
        x, y = digits.data[order].astype(np.float32), digits.target[order].astype(np.int64)
        cut = lambda a, b: {"x": x[a:b] / 8.0 - 1.0, "y": y[a:b]}  # noqa: E731
        return {"train": cut(0, 1000), "valid": cut(1000, 1297), "test": cut(1297, 1797)}

    def model(self, run, width=None, **slots):
        from benchmarks.models.mlp import Mlp

        return Mlp(64, [width or self.width] * self.depth, 10, **slots)
