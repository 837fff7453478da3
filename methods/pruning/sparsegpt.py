"""SparseGPT: remove weights column by column; those that remain make up for the error."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.base import Method, knob
from methods.pruning.masks import lowest
from methods.pruning.reconstruction import lowest_in_rows, prune_in_turn, usable_group
from methods.quantization.calibration import inverse_factor


@dataclass(frozen=True)
class Sparsegpt(Method):
    """Prune a trained model in one shot by second-order errors, layer by layer.

    Paper: SparseGPT (Frantar and Alistarh, 2023), algorithm 1: with U^T U = H^-1, H = X X^T damped by a hundredth
        of its mean diagonal, a mask is chosen for each block of columns by the lowest w_p^2 / U_pp^2 (N:M: for
        each group of M columns, in each row), from weights as they are by then; column by column the removed
        weights' errors w_i / U_ii are passed on: w_k <- w_k - e_i U_ik for k > i.
    Deviations: without the paper's lazy batches (the result is the same); convolutions as matrices over patches.
    """

    sparsity: float = knob(0.5, low=0.0, high=0.999, help="share of each block of columns that is removed")
    group: int = knob(
        0, low=0, high=64, help="consecutive inputs that are ranked together (4 for 2:4); 0: a block"
    )
    batches: int = knob(16, low=1, help="training batches for calibration")
    block: int = knob(128, low=1, help="columns for which a mask is chosen at once")

    cpu_factor = 0.15

    def adapt(self, model, run):
        def prune(weight, moments):
            group = usable_group(weight.shape[1], self.group)
            return prune_with_errors(weight, moments.hessian, self.sparsity, self.block, group)

        return prune_in_turn(model, run, self.batches, True, prune)


@torch.no_grad()
def prune_with_errors(weight: Tensor, h: Tensor, sparsity: float, block: int = 128, group: int = 0) -> Tensor:
    """SparseGPT's recursion on W [outputs, inputs] with H [inputs, inputs] -> the pruned and updated matrix.

    Inputs that are never seen (H_jj = 0) get weights of zero.
    """
    w = weight.detach().double().clone()
    w[:, h.diagonal() == 0] = 0.0
    upper = inverse_factor(h)
    mask = torch.ones_like(w)
    size = group or block
    for i in range(w.shape[1]):
        if i % size == 0:
            score = (w[:, i : i + size] / upper.diagonal()[i : i + size]).square()
            mask[:, i : i + size] = lowest_in_rows(score, sparsity) if group else lowest(score, sparsity)
        error = w[:, i] * (1.0 - mask[:, i]) / upper[i, i]
        w[:, i:] -= error[:, None] * upper[i, i:]
        w[:, i] *= mask[:, i]
    return w.to(weight)
