"""Fashion-MNIST with a small convolutional network: what channels, filters and BatchNorm need to be shown."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.tasks.base import Recipe, knob
from benchmarks.tasks.classification import Fashion


@dataclass(frozen=True)
class FashionCnn(Fashion):
    """Clothes in ten classes (28 x 28 grey), three convolutions of w, 2w and 4w channels with BatchNorm.

    Data: Fashion-MNIST (Xiao et al., 2017), the first 20,000 training images, of which the last 2,000 validate;
    the official 10,000 test images.
    """

    width: int = knob(8, low=2, high=128, help="channels of the first convolution")
    images: int = knob(18000, low=64, high=18000, help="training images")
    epochs: int = knob(4, low=1, high=100, help="passes over the training images")

    offers = ("images", "convolutions")
    shape = (1, 28, 28)
    scored_at_once = 500
    train_cpu_s = 11.0
    score_cpu_s = 1.5
    small = {"width": 4, "images": 512, "epochs": 1}

    @property
    def recipe(self):
        steps, batch = self.batches_of()
        return Recipe(steps=steps, batch=batch, lr=4e-3, weight_decay=1e-4, warmup=0.05)

    def model(self, run, width=None, **slots):
        from benchmarks.models.cnn import Cnn

        return Cnn(28, width or self.width, 10, **slots)
