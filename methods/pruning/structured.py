"""Channels and neurons that are really removed: which dimensions of a model belong together, and smaller layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.models.cnn import Cnn
from benchmarks.models.layers import set_module
from benchmarks.models.mlp import Mlp
from benchmarks.models.transformer import SwiGlu


@dataclass(frozen=True)
class Channels:
    """One hidden dimension of a model.

    Attributes:
        producers: paths of the layers whose rows make it.
        norm: path of a BatchNorm over it.
        consumer: path of the layer that reads it.
        spread: columns of the consumer for each channel (places of a flattened image).
    """

    producers: tuple[str, ...]
    norm: str | None
    consumer: str
    spread: int = 1


def hidden(model: nn.Module) -> list[Channels]:
    """The hidden dimensions that can be made narrower, in order.

    Raises:
        ValueError: none is known in this model.
    """
    found: list[Channels] = []
    for path, module in model.named_modules():
        at = f"{path}." if path else ""
        if isinstance(module, Mlp):
            last = len(module.layers) - 1
            found += [Channels((f"{at}layers.{i}",), None, f"{at}layers.{i + 1}") for i in range(last)]
        elif isinstance(module, Cnn):
            widths = [norm.num_features for norm in module.norms]
            reads = [f"{at}convs.{i}" for i in range(1, len(widths))] + [f"{at}head"]
            places = module.head.in_features // widths[-1]
            for i, consumer in enumerate(reads):
                spread = places if consumer.endswith("head") else 1
                found.append(Channels((f"{at}convs.{i}",), f"{at}norms.{i}", consumer, spread))
        elif isinstance(module, SwiGlu):
            found.append(Channels((f"{at}gate", f"{at}up"), None, f"{at}down"))
    if not found:
        raise ValueError(f"{type(model).__name__}: no hidden channels are known that could be removed")
    return found


def count_of(model: nn.Module, channels: Channels) -> int:
    """How many channels there are now."""
    return int(model.get_submodule(channels.producers[0]).weight.shape[0])  # type: ignore[union-attr, index]


def kept_of(score: Tensor, sparsity: float) -> Tensor:
    """Indices of the channels that stay, in order: n - round(sparsity * n) with the highest scores, at least one."""
    keep = max(1, len(score) - round(sparsity * len(score)))
    return torch.argsort(score, descending=True, stable=True)[:keep].sort().values


@torch.no_grad()
def remove(model: nn.Module, kept: Sequence[tuple[Channels, Tensor]]) -> nn.Module:
    """Put narrower layers in place, with the kept channels only."""
    for channels, index in kept:
        for path in channels.producers:
            set_module(model, path, narrowed(model.get_submodule(path), rows=index))
        if channels.norm:
            set_module(model, channels.norm, _narrowed_norm(model.get_submodule(channels.norm), index))
        spread = index[:, None] * channels.spread + torch.arange(channels.spread)
        consumer = model.get_submodule(channels.consumer)
        set_module(model, channels.consumer, narrowed(consumer, columns=spread.flatten()))
    return model


def narrowed(
    layer: nn.Module, rows: Tensor | None = None, columns: Tensor | None = None
) -> nn.Linear | nn.Conv2d:
    """A layer with some rows or columns of another's weight."""
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    weight, bias = layer.weight, layer.bias
    if rows is not None:
        weight, bias = weight[rows], None if bias is None else bias[rows]
    if columns is not None:
        weight = weight[:, columns]
    has_bias = bias is not None
    new: nn.Linear | nn.Conv2d
    if isinstance(layer, nn.Linear):
        new = nn.Linear(weight.shape[1], weight.shape[0], bias=has_bias)
    else:
        how = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        new = nn.Conv2d(weight.shape[1], weight.shape[0], *how, bias=has_bias)  # type: ignore[arg-type]
    new.weight = nn.Parameter(weight.contiguous().clone())
    if bias is not None:
        new.bias = nn.Parameter(bias.clone())
    return new.to(weight.device).train(layer.training)


def _narrowed_norm(norm: nn.Module, index: Tensor) -> nn.BatchNorm2d:
    """A BatchNorm over some of another's channels."""
    assert isinstance(norm, nn.BatchNorm2d)
    new = nn.BatchNorm2d(len(index), norm.eps)
    state = {name: value[index] if value.ndim else value for name, value in norm.state_dict().items()}
    new.load_state_dict(state)
    return new.to(index.device).train(norm.training)
