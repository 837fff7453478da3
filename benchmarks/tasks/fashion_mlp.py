"""Fashion-MNIST with a fully connected network: the task on which many pruning papers can be shown in seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks import datasets
from benchmarks.tasks import classification
from benchmarks.tasks.base import Recipe, Task, knob
from benchmarks.tasks.classification import BATCHES, TEN_CLASSES, TRAIN_STEP, fashion_pixels


@dataclass(frozen=True)
class FashionMlp(Task):
    """Clothes in ten classes (28 x 28 grey), an MLP 784-300-100-10 as in LeNet-300-100.

    Data: Fashion-MNIST (Xiao et al., 2017), the first 20,000 training images, of which the last 2,000 validate;
    the official 10,000 test images.
    """

    width: int = knob(300, low=4, high=4000, help="units of the first hidden layer; the second has a third")
    depth: int = knob(2, low=1, high=8, help="hidden layers; with `equal` all have the same width")
    equal: bool = knob(False, help="all hidden layers as wide as the first")
    images: int = knob(18000, low=64, high=18000, help="training images")
    epochs: int = knob(8, low=1, high=100, help="passes over the training images")

    metrics = TEN_CLASSES
    workloads = {**BATCHES, **TRAIN_STEP}
    main_workload = "batch64"
    offers = ("images",)
    train_cpu_s = 4.2
    score_cpu_s = 0.3
    small = {"width": 32, "images": 1024, "epochs": 1}
    controls = {
        "positive": "half of the weights can be removed gradually within 2 points of accuracy",
        "negative": "removing 90 % of the weights at random costs clearly more than removing the smallest",
    }

    @property
    def recipe(self):
        batch = min(128, self.images)
        return Recipe(steps=self.images * self.epochs // batch, batch=batch, lr=2e-3, weight_decay=1e-4)

    def prepare(self):
        data = datasets.fashion_mnist()
        x, y = data["train_x"], data["train_y"]
        split = lambda x, y: {"x": x.reshape(len(x), -1), "y": y.astype(np.int64)}  # noqa: E731
        return {
            "train": split(x[: self.images], y[: self.images]),
            "valid": split(x[18000:20000], y[18000:20000]),
            "test": split(data["test_x"], data["test_y"]),
        }

    def widths(self, width: int) -> list[int]:
        """Units of the hidden layers: 300-100 at the default, w-w-... with `equal`."""
        if self.equal:
            return [width] * self.depth
        return [max(1, round(width / 3**layer)) for layer in range(self.depth)]

    def model(self, run, width=None, **slots):
        from benchmarks.models.mlp import Mlp

        return Mlp(784, self.widths(width or self.width), 10, **slots)

    def loss(self, model, batch):
        return classification.loss(model, batch, fashion_pixels)

    def score(self, system, split, run):
        return classification.scores(system, split, fashion_pixels)

    def workload(self, name, system, split, run):
        return classification.batch_workload(name, system, split, fashion_pixels, "image")
