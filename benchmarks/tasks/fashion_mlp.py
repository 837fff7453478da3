"""Fashion-MNIST with a fully connected network: the task on which many pruning papers can be shown in seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks import datasets
from benchmarks.tasks.base import Metric, Recipe, Scores, Task, Workload, knob


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
    epochs: int = knob(4, low=1, high=100, help="passes over the training images")

    metrics = (
        Metric("accuracy", "share", "higher", chance=0.1, band=0.005),
        Metric("nll", "nats", "lower", chance=2.302585, band=0.01),
    )
    workloads = {
        "batch1": "one image",
        "batch64": "64 images",
        "batch512": "512 images",
        "train_step": "one optimiser step of the method's own loop",
    }
    main_workload = "batch64"
    offers = ("images",)
    train_cpu_s = 4.0
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
        from torch.nn.functional import cross_entropy

        return cross_entropy(model(pixels(batch["x"])), batch["y"])

    def score(self, system, split, run):
        import torch

        with torch.inference_mode():
            logits = torch.cat([system(pixels(x)) for x in split["x"].split(1000)]).double()
            right = (logits.argmax(-1) == split["y"]).numpy()
            nll = torch.nn.functional.cross_entropy(logits, split["y"], reduction="none").numpy()
        return {"accuracy": Scores(right), "nll": Scores(nll)}

    def workload(self, name, system, split, run):
        import torch

        count = int(name.removeprefix("batch"))
        images = pixels(split["x"][:count]).contiguous()

        def call():
            with torch.inference_mode():
                return system(images)

        return Workload(call, count, "image")


def pixels(x):
    """Grey values 0..255 to floats with zero mean and unit variance over the training set (72.94, 90.02)."""
    return (x.float() - 72.94) / 90.02
