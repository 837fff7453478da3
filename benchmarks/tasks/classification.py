"""What the tasks that classify have in common: loss, scores per item, batches that are timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.tasks.base import Metric, Scores, Workload

#: Workloads of a classifier; a task names those that it offers.
BATCHES = {"batch1": "one item", "batch64": "64 items", "batch512": "512 items"}
TRAIN_STEP = {"train_step": "one optimiser step of the method's own loop"}
#: Ten balanced classes: a guess is right once in ten times and costs log 10 nats.
TEN_CLASSES = (
    Metric("accuracy", "share", "higher", chance=0.1, band=0.005),
    Metric("nll", "nats", "lower", chance=2.302585, band=0.01),
)


def fashion_pixels(x: Any) -> Any:
    """Grey values 0..255 to floats with zero mean and unit variance over the training set (72.94, 90.02)."""
    return (x.float() - 72.94) / 90.02


def loss(model: Any, batch: Any, inputs: Callable[[Any], Any]) -> Any:
    """Cross-entropy of a batch."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(model(inputs(batch["x"])), batch["y"])


def scores(system: Any, split: Any, inputs: Callable[[Any], Any], batch: int = 1000) -> dict[str, Scores]:
    """Right or wrong, and negative log-likelihood, for every item."""
    import torch

    with torch.inference_mode():
        logits = torch.cat([system(inputs(x)) for x in split["x"].split(batch)]).double()
        right = (logits.argmax(-1) == split["y"]).numpy()
        nll = torch.nn.functional.cross_entropy(logits, split["y"], reduction="none").numpy()
    return {"accuracy": Scores(right), "nll": Scores(nll)}


def batch_workload(name: str, system: Any, split: Any, inputs: Callable[[Any], Any], unit: str) -> Workload:
    """`batchN`: the first N test items, prepared beforehand."""
    import torch

    items = inputs(split["x"][: int(name.removeprefix("batch"))]).contiguous()

    def call() -> Any:
        with torch.inference_mode():
            return system(items)

    return Workload(call, len(items), unit)
