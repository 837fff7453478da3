"""A pruned linear layer answered by one named kernel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.models.kernels import SparseProduct, library
from benchmarks.models.layers import Layer, SparseLinear, set_module
from methods.base import Method, knob
from methods.pruning.block import block_mask
from methods.pruning.structured import narrowed

#: Blocks of BSR, the largest first; one is taken if it stores at most a quarter more than what is not zero.
BLOCKS = (32, 16, 8, 4)


@dataclass(frozen=True)
class SparseKernel(Method):
    """Prune a linear layer by magnitude and let one kernel answer for it: what compares kernels with each other.

    Paper: none; `csr` and `bsr` are torch's, `c_csr` is our own CSR kernel in C and `c_rows4` the same with four rows
        to an index, as in "Fast sparse ConvNets" (Elsen, Dukhan, Gale and Simonyan, 2020).
    Deviations: elsewhere the fastest form of a pruned model stands for it; here a form is an arm, so that forms can
        be compared. Without a C compiler the C kernels have no time. `rows` keeps the first rows of the matrix as a
        narrower dense layer, whatever their size: it is there for its time.
    """

    sparsity: float = knob(
        0.9, low=0.0, high=0.999, help="share of the weights, blocks or rows that is removed"
    )
    kernel: str = knob(
        "csr", choices=("csr", "bsr", "c_csr", "c_rows4", "rows"), help="what multiplies the weights"
    )
    block: int = knob(1, low=1, high=64, help="rows and columns of the blocks that are removed whole")

    needs = ("linear",)
    cpu_factor = 0.01

    def adapt(self, model, run):
        for path, module in list(model.named_modules()):
            if type(module) is nn.Linear:
                set_module(model, path, self._pruned(module))
        return model.eval()

    def _pruned(self, linear):
        if self.kernel == "rows":
            keep = max(1, linear.out_features - round(self.sparsity * linear.out_features))
            return narrowed(linear, rows=torch.arange(keep))
        with torch.no_grad():
            linear.weight.mul_(block_mask(linear.weight, self.sparsity, self.block))
        return StoredSparse.of(linear, self.kernel)


class StoredSparse(Layer):
    """y = W x + b with a W that has zeros, counted as a product with a sparse matrix, and one kernel for it."""

    name = "stored_sparse"

    def __init__(self, inputs: int, outputs: int, bias: bool, kernel: str) -> None:
        super().__init__()
        self.kernel = kernel
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    @classmethod
    def of(cls, linear: nn.Linear, kernel: str) -> StoredSparse:
        """The layer that stands for a linear one."""
        layer = cls(linear.in_features, linear.out_features, linear.bias is not None, kernel)
        layer.weight, layer.bias = linear.weight, linear.bias
        return layer

    def args(self):
        rows, columns = self.weight.shape
        return {"inputs": columns, "outputs": rows, "bias": self.bias is not None, "kernel": self.kernel}

    def forward(self, x):
        """[..., inputs] -> [..., outputs]."""
        return SparseLinear(self.weight.detach().to_sparse_csr(), self.bias)(x)

    def kernels(self):
        form = self._form(self.weight.detach())
        return {} if form is None else {self.kernel: form}

    def _form(self, weight):
        if self.kernel == "csr":
            return SparseLinear(weight.to_sparse_csr(), self.bias)
        if self.kernel == "bsr":
            block = block_of(weight)
            return None if block is None else SparseLinear(weight.to_sparse_bsr((block, block)), self.bias)
        group = 4 if self.kernel == "c_rows4" else 1
        if library("spmm") is None or weight.shape[0] % group:
            return None
        return SparseProduct(weight, self.bias, group)


def block_of(weight):
    """The largest block whose BSR form stores at most 1.25 times what is not zero; else the smallest that fits."""
    rows, columns = weight.shape
    fits = [block for block in BLOCKS if rows % block == 0 and columns % block == 0]
    for block in fits:
        tiles = (weight != 0).view(rows // block, block, columns // block, block).any(3).any(1)
        if int(tiles.sum()) * block**2 <= 1.25 * int((weight != 0).sum()):
            return block
    return fits[-1] if fits else None
