"""CIFAR-10 with a fully connected network: the setting of mono-forward's headline, for who has the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import datasets
from benchmarks.tasks.base import Recipe, knob
from benchmarks.tasks.classification import Classifier

if TYPE_CHECKING:
    from torch import Tensor

#: Of the images that train, in the order of the file; the rest of them validate.
TRAINED = 45_000


@dataclass(frozen=True)
class CifarMlp(Classifier):
    """Animals and vehicles in ten classes, an MLP 3072-2000-2000-2000-10.

    Data: CIFAR-10 (Krizhevsky, 2009), brought by the user: the first 45,000 training images, the last 5,000 of them
    validate, the official 10,000 test images. No crops and no flips.
    """

    width: int = knob(2000, low=4, high=4000, help="units of every hidden layer")
    depth: int = knob(3, low=1, high=8, help="hidden layers")
    images: int = knob(TRAINED, low=64, high=TRAINED, help="training images")
    epochs: int = knob(30, low=1, high=100, help="passes over the training images")

    offers = ("images",)
    train_cpu_s = 2600.0
    score_cpu_s = 3.0
    small = {"width": 32, "images": 512, "epochs": 1}
    controls = {
        "positive": "backpropagation reaches what the headline's authors report for it (61 to 62 %)",
        "negative": "a readout of random layers stays clearly below",
    }

    @property
    def recipe(self):
        batch = min(128, self.images)
        return Recipe(steps=self.images * self.epochs // batch, batch=batch, lr=3e-4, weight_decay=1e-4)

    def prepare(self) -> dict[str, dict[str, np.ndarray]]:
        """Red, green and blue planes uint8 [items, 3072], labels int64 [items]."""
        data = datasets.cifar10()

        def part(split: str, begin: int, end: int) -> dict[str, np.ndarray]:
            rows = data[f"{split}_x"][begin:end]
            return {"x": rows.reshape(len(rows), -1), "y": data[f"{split}_y"][begin:end].astype(np.int64)}

        return {
            "train": part("train", 0, self.images),
            "valid": part("train", TRAINED, 50_000),
            "test": part("test", 0, 10_000),
        }

    def inputs(self, x: Tensor) -> Tensor:
        """Values 0..255 to floats, about zero mean and unit variance over the training set (120.71, 64.15)."""
        return (x.float() - 120.71) / 64.15

    def model(self, run, width=None, **slots):
        from benchmarks.models.mlp import Mlp

        return Mlp(3072, [width or self.width] * self.depth, 10, **slots)
