"""Magnitude pruning of whole blocks, for kernels that read blocks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.base import Method, knob
from methods.pruning.masks import Masks, lowest


@dataclass(frozen=True)
class BlockPruning(Method):
    """Remove the blocks of a trained model with the smallest mean magnitude at once, then train what is left.

    Paper: Narang, Undersander and Diamos (2017), "Block-sparse recurrent neural networks", applied once.
    Deviations: blocks are ranked by the mean of |w| rather than by the largest; one shot in place of a schedule; layers
        that blocks do not divide, and convolutions, are pruned weight by weight.
    """

    sparsity: float = knob(0.9, low=0.0, high=0.999, help="share of the blocks of each layer that is removed")
    block: int = knob(16, low=1, high=64, help="rows and columns of a block")
    finetune: float = knob(0.0, low=0.0, high=1.0, help="share of the budget that is trained after pruning")

    cpu_factor = 0.6

    def adapt(self, model, run):
        masks = Masks(model)
        for holder, weight in masks.masks:
            holder.mask.copy_(block_mask(weight.detach(), self.sparsity, self.block))
        for step in run.steps(model, share=self.finetune) if self.finetune else ():
            step.update()
        return model


def block_mask(weight: Tensor, sparsity: float, block: int) -> Tensor:
    """A mask that removes exactly round(sparsity * blocks) blocks, those with the lowest mean |w|; ties by position."""
    rows, columns = weight.shape[:2]
    if weight.ndim != 2 or rows % block or columns % block:
        return lowest(weight.abs(), sparsity)
    blocks = weight.abs().view(rows // block, block, columns // block, block).mean((1, 3))
    return torch.kron(lowest(blocks, sparsity), torch.ones(block, block).to(weight))
