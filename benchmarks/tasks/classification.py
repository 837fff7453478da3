"""What the tasks that classify have in common: metrics, loss, scores per item, batches that are timed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchmarks import datasets
from benchmarks.tasks.base import Metric, Scores, Split, Task, Workload

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmarks.run import Run

#: Workloads of a classifier; a task names those that it offers.
BATCHES = {"batch1": "one item", "batch64": "64 items", "batch512": "512 items"}
TRAIN_STEP = {"train_step": "one optimiser step of the method's own loop"}


class Classifier(Task):
    """Ten balanced classes: a guess is right once in ten times and costs log 10 nats."""

    metrics = (
        Metric("accuracy", "share", "higher", chance=0.1, band=0.005),
        Metric("nll", "nats", "lower", chance=2.302585, band=0.01),
    )
    workloads = {**BATCHES, **TRAIN_STEP}
    main_workload = "batch64"
    #: What one item is called.
    item: ClassVar[str] = "image"
    #: Items scored at once.
    scored_at_once: ClassVar[int] = 1000

    def inputs(self, x: Tensor) -> Tensor:
        """What the network sees of the stored items."""
        return x

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Cross-entropy of a batch."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(model(self.inputs(batch["x"])), batch["y"])

    def score(self, system: Any, split: Split, run: Run) -> dict[str, Scores]:
        """Right or wrong, and negative log-likelihood, for every item."""
        import torch

        with torch.inference_mode():
            parts = split["x"].split(self.scored_at_once)
            logits = torch.cat([system(self.inputs(x)) for x in parts]).double()
            right = (logits.argmax(-1) == split["y"]).numpy()
            nll = torch.nn.functional.cross_entropy(logits, split["y"], reduction="none").numpy()
        return {"accuracy": Scores(right), "nll": Scores(nll)}

    def workload(self, name: str, system: Any, split: Split, run: Run) -> Workload:
        """`batchN`: the first N test items, prepared beforehand."""
        import torch

        items = self.inputs(split["x"][: int(name.removeprefix("batch"))]).contiguous()

        def call() -> Any:
            with torch.inference_mode():
                return system(items)

        return Workload(call, len(items), self.item)


class Fashion(Classifier):
    """Fashion-MNIST (Xiao et al., 2017): the first 20,000 training images, of which the last 2,000 validate.

    The official 10,000 test images. A task of it has the knobs `images` and `epochs`.
    """

    offers: ClassVar[tuple[str, ...]] = ("images",)
    controls = {
        "positive": "half of the weights can be removed gradually within 2 points of accuracy",
        "negative": "removing 90 % of the weights at random costs clearly more than removing the smallest",
    }
    #: Of one image, as the network takes it.
    shape: ClassVar[tuple[int, ...]] = (784,)

    images: int
    epochs: int

    def prepare(self) -> dict[str, dict[str, np.ndarray]]:
        """Grey values uint8 [items, *shape], labels int64 [items]."""
        data = datasets.fashion_mnist()

        def part(split: str, begin: int, end: int) -> dict[str, np.ndarray]:
            images = data[f"{split}_x"][begin:end]
            return {
                "x": np.ascontiguousarray(images.reshape(-1, *self.shape)),
                "y": data[f"{split}_y"][begin:end].astype(np.int64),
            }

        return {
            "train": part("train", 0, self.images),
            "valid": part("train", 18000, 20000),
            "test": part("test", 0, 10000),
        }

    def inputs(self, x: Tensor) -> Tensor:
        """Grey values 0..255 to floats of zero mean and unit variance over the training set (72.94, 90.02)."""
        return (x.float() - 72.94) / 90.02

    def batches_of(self) -> tuple[int, int]:
        """Steps and items a step of `epochs` passes in batches of 128."""
        batch = min(128, self.images)
        return self.images * self.epochs // batch, batch
