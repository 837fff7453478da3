"""Put another attention on the weights of a trained one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from benchmarks.models.attention import Attention
from benchmarks.models.layers import set_module

Kind = TypeVar("Kind", bound=Attention)


def swapped(model: nn.Module, make: Callable[[int, Attention], nn.Module]) -> nn.Module:
    """The model with each Attention replaced by `make(layer, old)`; an Attention alone is layer 0."""
    if isinstance(model, Attention):
        return make(0, model)
    found: dict[str, Attention] = {}
    for path, module in model.named_modules():
        if isinstance(module, Attention) and path.rpartition(".")[0] not in found:  # none within another
            found[path] = module
    for layer, (path, module) in enumerate(found.items()):
        set_module(model, path, make(layer, module))
    return model


def adopt(kind: type[Kind], old: Attention, **more: Any) -> Kind:
    """An attention of another kind with the projections of `old`, which are shared and not copied."""
    new = kind(
        old.q.in_features,
        old.heads,
        kv_heads=old.kv_heads,
        head_width=old.head_width,
        base=old.base,
        causal=old.causal,
        **more,
    )
    new.q, new.k, new.v, new.out = old.q, old.k, old.v, old.out
    return new.train(old.training)
