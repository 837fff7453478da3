"""Counted cost: exact numbers from tensors and from the operator table, never from a nominal ratio."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmarks.counting import count, flops_proxy_pj
from benchmarks.models.kernels import own_forms
from benchmarks.models.layers import Layer, dense_bytes, set_module, sparse_forms

if TYPE_CHECKING:
    from benchmarks.run import Run
    from benchmarks.tasks.base import Split


def size_costs(model: nn.Module) -> dict[str, int]:
    """params, nonzero (parameters that are not zero) and stored_bytes of a model, from its tensors."""
    layers = [module for module in model.modules() if isinstance(module, Layer)]
    inside = {id(tensor) for layer in layers for tensor in [*layer.parameters(False), *layer.buffers(False)]}
    plain = [tensor for tensor in model.parameters() if id(tensor) not in inside]
    # running statistics and the like are stored too; caches that a model makes again are not persistent
    names = set(model.state_dict())
    buffers = [tensor for name, tensor in model.named_buffers() if name in names and id(tensor) not in inside]
    params = sum(tensor.numel() for tensor in plain) + sum(layer.stored_params() for layer in layers)
    zeros = sum(int((tensor == 0).sum()) for tensor in plain if tensor.ndim > 1)
    zeros += sum(layer.stored_params() - layer.nonzero() for layer in layers)
    stored = sum(dense_bytes(tensor.detach()) for tensor in plain) + sum(
        layer.stored_bytes() for layer in layers
    )
    stored += sum(tensor.numel() * tensor.element_size() for tensor in buffers)
    return {"params": params, "nonzero": params - zeros, "stored_bytes": stored}


def model_cost(model: nn.Module, run: Run, match: str) -> int:
    """The cost by which an equal-cost twin is matched: nonzero parameters, stored bytes, or multiply-adds.

    Raises:
        ValueError: the operator table has no formula for something in the model.
    """
    if match == "macs":
        call = run.task.workload(run.task.main_workload, model, run.valid, run).call
        flops = count(call).flops
        if flops is None:
            raise ValueError("macs cannot be matched: an operator of the model has no formula")
        return flops // 2
    costs = size_costs(model)
    return costs["nonzero"] if match == "params" else costs["stored_bytes"]


def workload_costs(name: str, system: Any, split: Split, run: Run) -> tuple[dict[str, Any], dict[str, str]]:
    """Counted cost of one call of a workload, with the reasons for what is null."""
    made = run.task.workload(name, system, split, run)
    made.call()  # caches and lazily made tensors are not the call's
    cost = count(made.call)
    values = {
        f"flops@{name}": cost.flops,
        f"bytes_moved@{name}": cost.bytes_moved,
        f"peak_live_bytes@{name}": cost.peak_live_bytes,
        f"energy_proxy_j@{name}": None if (proxy := flops_proxy_pj(cost)) is None else proxy * 1e-12,
    }
    unknown = "no formula for " + ", ".join(cost.unknown)
    nulls = (f"flops@{name}", f"energy_proxy_j@{name}") if cost.flops is None else ()
    reasons = dict.fromkeys(nulls, unknown)
    return values, reasons


#: From a module to its faster form, or None where it has none.
Maker = Callable[[nn.Module], nn.Module | None]


def _kernel(name: str, module: nn.Module) -> nn.Module | None:
    return module.kernels().get(name) if isinstance(module, Layer) else None


def _sparse(name: str, module: nn.Module) -> nn.Module | None:
    return linear_forms(module).get(name) if isinstance(module, nn.Linear) else None


def linear_forms(linear: nn.Linear) -> dict[str, nn.Module]:
    """Torch's sparse forms of a linear layer and those of our own kernel; empty where it is not sparse."""
    found = sparse_forms(linear)
    return found | own_forms(linear.weight.detach(), linear.bias) if found else {}


def forms(model: Any) -> dict[str, Any]:
    """The forms in which a finished model can be timed, by name.

    `dense` is the model itself where it is no emulation; a model with compressed layers has one form a kernel; a
    model with zeros has its sparse forms. Empty where only an emulation exists: time is then null.
    """
    if not isinstance(model, nn.Module):
        return {"system": model}
    layers = [module for module in model.modules() if isinstance(module, Layer)]
    found: dict[str, Any] = {} if layers else {"dense": model}
    if layers:
        names = {name for layer in layers for name in layer.kernels()}
        makers: dict[str, Maker] = {name: partial(_kernel, name) for name in names}
    else:
        linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
        makers = {
            name: partial(_sparse, name) for name in {name for m in linears for name in linear_forms(m)}
        }
    for name, make in sorted(makers.items()):
        form = _replaced(model, make)
        if name in ("csr", "bsr") or all(not isinstance(module, Layer) for module in form.modules()):
            found[name] = form
    return found


@torch.no_grad()
def _replaced(model: nn.Module, make: Maker) -> nn.Module:
    """A copy of the model with every layer replaced for which `make` has something faster."""
    whole = make(model)
    if whole is not None:
        return whole
    copied = copy.deepcopy(model)
    for path, module in list(copied.named_modules()):
        fast = make(module) if path else None
        if fast is not None:
            set_module(copied, path, fast)
    return copied.eval()
