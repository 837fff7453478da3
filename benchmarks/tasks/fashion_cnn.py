"""Fashion-MNIST with a small convolutional network: what channels, filters and BatchNorm need to be shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks import datasets
from benchmarks.tasks import classification
from benchmarks.tasks.base import Recipe, Task, knob
from benchmarks.tasks.classification import BATCHES, TEN_CLASSES, TRAIN_STEP, fashion_pixels


@dataclass(frozen=True)
class FashionCnn(Task):
    """Clothes in ten classes (28 x 28 grey), three convolutions of w, 2w and 4w channels with BatchNorm.

    Data: Fashion-MNIST (Xiao et al., 2017), the first 20,000 training images, of which the last 2,000 validate;
    the official 10,000 test images.
    """

    width: int = knob(8, low=2, high=128, help="channels of the first convolution")
    images: int = knob(18000, low=64, high=18000, help="training images")
    epochs: int = knob(4, low=1, high=100, help="passes over the training images")

    metrics = TEN_CLASSES
    workloads = {**BATCHES, **TRAIN_STEP}
    main_workload = "batch64"
    offers = ("images", "convolutions")
    train_cpu_s = 11.0
    score_cpu_s = 1.5
    small = {"width": 4, "images": 512, "epochs": 1}
    controls = {
        "positive": "half of the weights can be removed gradually within 2 points of accuracy",
        "negative": "removing 90 % of the weights at random costs clearly more than removing the smallest",
    }

    @property
    def recipe(self):
        batch = min(128, self.images)
        return Recipe(
            steps=self.images * self.epochs // batch, batch=batch, lr=4e-3, weight_decay=1e-4, warmup=0.05
        )

    def prepare(self):
        data = datasets.fashion_mnist()
        split = lambda x, y: {"x": np.ascontiguousarray(x[:, None]), "y": y.astype(np.int64)}  # noqa: E731
        return {
            "train": split(data["train_x"][: self.images], data["train_y"][: self.images]),
            "valid": split(data["train_x"][18000:20000], data["train_y"][18000:20000]),
            "test": split(data["test_x"], data["test_y"]),
        }

    def model(self, run, width=None, **slots):
        from benchmarks.models.cnn import Cnn

        return Cnn(28, width or self.width, 10, **slots)

    def loss(self, model, batch):
        return classification.loss(model, batch, fashion_pixels)

    def score(self, system, split, run):
        return classification.scores(system, split, fashion_pixels, batch=500)

    def workload(self, name, system, split, run):
        return classification.batch_workload(name, system, split, fashion_pixels, "image")
