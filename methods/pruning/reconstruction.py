"""Pruning of a trained model layer by layer, with what calibration data shows of each layer's inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.pruning.masks import prunable
from methods.quantization.calibration import calibration

if TYPE_CHECKING:
    from benchmarks.run import Run

#: What models call the layer that turns features into the logits of a vocabulary. Papers leave it as it is.
HEAD = "head"


def inner_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers that these methods prune: all that are prunable, but the read-out of a vocabulary.

    A classifier's last layer stays dense, too, where the model calls it `head`.
    """
    return [(path, module) for path, module in prunable(model) if path.rpartition(".")[2] != HEAD]


def rows_of(module: nn.Module, x: Tensor) -> Tensor:
    """The inputs of a layer as rows that its weight matrix [outputs, -1] multiplies, float32 [rows, inputs]."""
    if isinstance(module, nn.Conv2d):
        assert isinstance(module.padding, tuple)
        patches = F.unfold(x, module.kernel_size, module.dilation, module.padding, module.stride)
        return patches.transpose(1, 2).flatten(0, 1)
    return x.flatten(0, -2)


class Moments:
    """Sums over rows of inputs, float64: X^T X and how many rows there were."""

    def __init__(self, module: nn.Module, whole: bool) -> None:
        size = module.weight[0].numel()  # type: ignore[index, union-attr, operator]
        self.module, self.rows = module, 0
        self.squares = torch.zeros(size, dtype=torch.float64)
        self.products = torch.zeros(size, size, dtype=torch.float64) if whole else None

    def add(self, x: Tensor) -> None:
        """What reaches the layer in one call."""
        rows = rows_of(self.module, x.detach()).double()
        self.rows += len(rows)
        self.squares += rows.square().sum(0).to(self.squares)
        if self.products is not None:
            self.products += (rows.t() @ rows).to(self.products)

    @property
    def norms(self) -> Tensor:
        """||X_j||_2 over all rows, [inputs]."""
        return self.squares.sqrt()

    @property
    def hessian(self) -> Tensor:
        """(2 / n) X^T X, [inputs, inputs]."""
        assert self.products is not None
        return 2.0 / max(1, self.rows) * self.products


@torch.no_grad()
def moments_of(model: nn.Module, module: nn.Module, batches: Iterable[Any], run: Run, whole: bool) -> Moments:
    """What reaches one layer while the model sees the batches."""
    seen = Moments(module, whole)
    handle = module.register_forward_pre_hook(lambda _, args: seen.add(args[0]))
    was = model.training
    model.eval()
    try:
        for batch in batches:
            if run.task.trains:
                run.task.loss(model, batch)
            else:
                model(batch["x"])
    finally:
        model.train(was)
        handle.remove()
    return seen


@torch.no_grad()
def prune_in_turn(
    model: nn.Module, run: Run, batches: int, whole: bool, prune: Callable[[Tensor, Moments], Tensor]
) -> nn.Module:
    """Replace the weight matrix of each inner layer by `prune(matrix, moments)`.

    In order of the model, each on the inputs that the layers pruned before it leave, as the papers do.
    """
    data = calibration(run, batches) if batches else []
    for _, module in inner_layers(model):
        weight = module.weight
        assert isinstance(weight, Tensor)
        moments = moments_of(model, module, data, run, whole)
        weight.copy_(prune(weight.flatten(1), moments).view_as(weight))
    return model


def lowest_in_rows(score: Tensor, sparsity: float, group: int = 0) -> Tensor:
    """A mask that removes the lowest of each row [outputs, inputs], or of each `group` consecutive inputs of it.

    Exactly round(sparsity * size) of each; ties by position. Groups that do not divide the rows are an error.
    """
    size = group or score.shape[1]
    if score.shape[1] % size:
        raise ValueError(f"groups of {size} do not divide rows of {score.shape[1]}")
    rows = score.reshape(-1, size)
    order = torch.argsort(rows, dim=1, stable=True)
    mask = torch.ones_like(rows).scatter_(1, order[:, : round(sparsity * size)], 0.0)
    return mask.view_as(score)


def usable_group(columns: int, group: int) -> int:
    """The group where it divides a row of weights, 0 (the whole row) where it does not."""
    return group if group and columns % group == 0 else 0
