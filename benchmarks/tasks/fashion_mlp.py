"""Fashion-MNIST with a fully connected network: the task on which many pruning papers can be shown in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.tasks.base import Recipe, knob
from benchmarks.tasks.classification import Fashion


@dataclass(frozen=True)
class FashionMlp(Fashion):
    """Clothes in ten classes (28 x 28 grey), an MLP 784-300-100-10 as in LeNet-300-100.

    Data: Fashion-MNIST (Xiao et al., 2017), the first 20,000 training images, of which the last 2,000 validate;
    the official 10,000 test images.
    """

    width: int = knob(300, low=4, high=4000, help="units of the first hidden layer; the second has a third")
    depth: int = knob(2, low=1, high=8, help="hidden layers; with `equal` all have the same width")
    equal: bool = knob(False, help="all hidden layers as wide as the first")
    images: int = knob(18000, low=64, high=18000, help="training images")
    epochs: int = knob(8, low=1, high=100, help="passes over the training images")

    train_cpu_s = 4.2
    score_cpu_s = 0.3
    small = {"width": 32, "images": 1024, "epochs": 1}

    @property
    def recipe(self):
        steps, batch = self.batches_of()
        return Recipe(steps=steps, batch=batch, lr=2e-3, weight_decay=1e-4)

    def widths(self, width: int) -> list[int]:
        """Units of the hidden layers: 300-100 at the default, w-w-... with `equal`."""
        if self.equal:
            return [width] * self.depth
        return [max(1, round(width / 3**layer)) for layer in range(self.depth)]

    def model(self, run, width=None, **slots):
        from benchmarks.models.mlp import Mlp

        return Mlp(784, self.widths(width or self.width), 10, **slots)
