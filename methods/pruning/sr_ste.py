"""SR-STE: train with N:M sparsity from scratch; what is masked is pulled to zero so that masks settle."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.utils import parametrize

from methods.base import Method, knob
from methods.pruning.masks import prunable
from methods.pruning.nm import NmMask, divisible


@dataclass(frozen=True)
class SrSte(Method):
    """Keep the N largest of every M inputs in each forward pass; a straight-through gradient with a decay.

    Paper: SR-STE (Zhou et al., 2021), its update: W <- W - lr (g(M * W) + decay (1 - M) * W). `decay` 0 is STE.
    Deviations: layers whose inputs do not divide by M stay dense (a first convolution with one channel); the
        recipe is AdamW, which divides the decay by the size of the gradient like everything else, so that the
        dose is not the paper's with SGD. There is no 2:4 kernel for CPUs: time is that of CSR or dense.
    """

    keep: int = knob(2, low=1, high=63, help="weights that stay in a group (N)")
    group: int = knob(4, low=2, high=64, help="consecutive inputs of a group (M)")
    decay: float = knob(2e-4, low=0.0, high=10.0, help="pull on the weights that the mask removes (lambda)")

    cpu_factor = 1.8

    def fit(self, model, run):
        layers = [module for _, module in prunable(model) if divisible(module, self.group)]
        for module in layers:
            mask = NmMask(min(self.keep, self.group), self.group, self.decay)
            parametrize.register_parametrization(module, "weight", mask)
        before, flips = masks_of(layers), []
        mark = 0.75
        for step in run.steps(model):
            step.update()
            if step.progress >= mark:  # the architecture's divergence (SAD) over late twentieths of training
                now, mark = masks_of(layers), mark + 0.05
                flips.append(flipped(before, now))
                before = now
        if len(flips) > 1:
            run.log.note(late_flips=sum(flips[1:]) / len(flips[1:]))
        return model


@torch.no_grad()
def masks_of(layers):
    """The present masks."""
    return [
        module.parametrizations.weight[0].mask(module.parametrizations.weight.original) for module in layers
    ]


def flipped(before, after):
    """Share of the places in which two sets of masks differ."""
    places = sum(mask.numel() for mask in before)
    return sum(float((a != b).sum()) for a, b in zip(before, after, strict=True)) / max(1, places)
