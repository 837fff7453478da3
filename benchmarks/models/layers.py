"""Layers that a method puts in place of torch's: a reference, a stored form, and kernels where this device has one."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

#: Every layer class by its name, filled when its module is imported.
LAYERS: dict[str, type[Layer]] = {}


class Layer(nn.Module):
    """A layer that can be stored and built again.

    Its buffers and parameters are the dense packed tensors that are stored; `forward` is the reference that all
    kernels must agree with.
    """

    name: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.name:
            LAYERS[f"{cls.__module__}:{cls.name}"] = cls

    def args(self) -> dict[str, Any]:
        """Constructor arguments, plain values only."""
        raise NotImplementedError

    def kernels(self) -> dict[str, nn.Module]:
        """Faster forms of this layer on this device, by name; empty where there is none (time is then null)."""
        return {}

    def stored_bytes(self) -> int:
        """Bytes of the packed tensors, each in its cheapest form: the codes of a pruned layer are sparse."""
        tensors = [*self.parameters(recurse=False), *self.buffers(recurse=False)]
        return sum(dense_bytes(tensor.detach()) for tensor in tensors)

    def stored_params(self) -> int:
        """How many weights the layer stands for (a packed tensor may hold several in one byte)."""
        return sum(parameter.numel() for parameter in self.parameters(recurse=False))

    def nonzero(self) -> int:
        """How many of those weights are not zero; biases count, as in plain layers."""
        zeros = sum(int((weight == 0).sum()) for weight in self.parameters(recurse=False) if weight.ndim > 1)
        return self.stored_params() - zeros


def layer_entry(layer: Layer) -> dict[str, Any]:
    """A layer as plain values: its name and its constructor's arguments."""
    return {"layer": f"{type(layer).__module__}:{layer.name}", "args": layer.args()}


def layer_from(entry: dict[str, Any]) -> Layer:
    """A layer from its entry, with fresh tensors; only registered layers can be made.

    Raises:
        ValueError: the name is none of a layer.
    """
    module = entry["layer"].partition(":")[0]
    if entry["layer"] not in LAYERS:  # those of plugins are known already: their files were loaded first
        if not module.startswith(("methods.", "benchmarks.models.")):
            raise ValueError(f"artefact: {module!r} is no module of layers")
        importlib.import_module(module)
    if entry["layer"] not in LAYERS:
        raise ValueError(f"artefact: there is no layer {entry['layer']!r}")
    return LAYERS[entry["layer"]](**entry["args"])


def sparse_forms(linear: nn.Linear) -> dict[str, nn.Module]:
    """CSR and BSR forms of a linear layer that has exact zeros; empty where fewer than half are zero."""
    weight = linear.weight.detach()
    if (weight == 0).float().mean() < 0.5:
        return {}
    forms: dict[str, nn.Module] = {"csr": SparseLinear(weight.to_sparse_csr(), linear.bias)}
    rows, columns = weight.shape
    if rows % 4 == 0 and columns % 4 == 0:
        forms["bsr"] = SparseLinear(weight.to_sparse_bsr((4, 4)), linear.bias)
    return forms


class SparseLinear(nn.Module):
    """y = W x + b with a sparse W: the product is W @ x^T, the side on which torch has a kernel."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = weight
        self.bias = None if bias is None else bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in] -> [batch, out]."""
        rows = x.reshape(-1, x.shape[-1])
        out = (self.weight @ rows.t()).t()
        if self.bias is not None:
            out = out + self.bias
        return out.reshape(*x.shape[:-1], -1)


@torch.no_grad()
def dense_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor with zeros, in the cheaper of two stored forms.

    Dense, or a bit mask and the values that are not zero (the form in which equal bytes are compared in
    Zhu and Gupta, 2017, section 5). A CSR file is larger than the mask below a density of 1/33.
    """
    dense = tensor.numel() * tensor.element_size()
    if tensor.ndim < 2:  # biases and scales are stored as they are: one that starts at zero is no pruning
        return dense
    nonzero = int((tensor != 0).sum())
    mask = (tensor.numel() + 7) // 8 + nonzero * tensor.element_size()
    indices = nonzero * (tensor.element_size() + 2) + 4 * (tensor.shape[0] + 1)
    return min(dense, mask, indices)


def set_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put `module` at a dotted path."""
    parent, _, name = path.rpartition(".")
    owner = model.get_submodule(parent)
    if isinstance(owner, nn.ModuleList | nn.Sequential) and name.isdigit():
        owner[int(name)] = module
    else:
        setattr(owner, name, module)
