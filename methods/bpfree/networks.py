"""What methods see of a task's network and items, beyond its hidden linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmarks.run import MethodError
from methods.bpfree.local import split

if TYPE_CHECKING:
    from benchmarks.run import Run


def inputs(run: Run, x: Tensor) -> Tensor:
    """What the network sees of stored items.

    Raises:
        MethodError: the task does not say, as classifiers do.
    """
    seen = getattr(run.task, "inputs", None)
    if seen is None:
        raise MethodError(f"{type(run.task).__name__} has no `inputs`: a classifier is needed")
    found: Tensor = seen(x)
    return found


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The hidden blocks of a task's network: linear - ReLU, or convolution - BatchNorm - ReLU - pooling.

    Raises:
        MethodError: the model has neither `layers` nor `convs` with `norms` and `pool`.
    """
    if hasattr(model, "convs") and hasattr(model, "norms"):
        pairs = zip(model.convs, model.norms, strict=True)
        return [nn.Sequential(conv, norm, nn.ReLU(), model.pool) for conv, norm in pairs]
    if not hasattr(model, "layers"):
        raise MethodError("blocks: needs a model with `layers` (an MLP) or with `convs`, `norms` and `pool`")
    return [nn.Sequential(layer, nn.ReLU()) for layer in split(model)[0]]


def widths_of(blocks: Sequence[nn.Module], x: Tensor) -> list[int]:
    """Features of every block's output, flattened, for items like `x`."""
    found = []
    with torch.no_grad():
        for block in blocks:
            was = block.training
            x = block.eval()(x)
            block.train(was)
            found.append(x[0].numel())
    return found
