"""Network slimming: BatchNorm scales under an L1 penalty say which channels can go."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from methods.base import Method, knob
from methods.pruning.structured import hidden, remove


@dataclass(frozen=True)
class NetworkSlimming(Method):
    """Train with an L1 penalty on BatchNorm scales, remove the channels with the smallest, train what is left.

    Paper: Liu, Li, Shen, Huang, Yan and Zhang (2017), "Learning efficient convolutional networks through network
        slimming", equation 1: L + strength * sum |gamma|, one threshold over all layers, then fine-tuning.
    Deviations: one pass of the paper's loop; at least one channel of a layer stays, and after a short training, where
        no scale gets really small, one threshold may leave a layer no more than that; the penalty's subgradient
        goes through AdamW, which divides it by the size of the gradient; `sparsify` of the budget trains with the
        penalty and the rest tunes, each with a schedule of its own.
    """

    sparsity: float = knob(0.5, low=0.0, high=0.99, help="share of all channels that is removed")
    strength: float = knob(1e-2, low=0.0, high=1.0, help="of the L1 penalty on scales")
    sparsify: float = knob(
        0.6, low=0.0, high=1.0, help="share of the budget that is trained with the penalty"
    )

    needs = ("convolutions",)
    cpu_factor = 0.9

    def fit(self, model, run):
        groups = [channels for channels in hidden(model) if channels.norm]
        scales = [model.get_submodule(channels.norm).weight for channels in groups]
        for step in run.steps(model, share=self.sparsify):
            for scale in scales:
                scale.grad += self.strength * scale.detach().sign()
            step.update()
        model = remove(model, list(zip(groups, kept_scales(scales, self.sparsity), strict=True)))
        for step in run.steps(model, phase="finetune", share=1.0 - self.sparsify):
            step.update()
        return model


@torch.no_grad()
def kept_scales(scales, sparsity):
    """By layer the channels that stay: exactly round(sparsity * n) of all have the smallest scales and go.

    The largest of each layer stays in any case.
    """
    sizes = [len(scale) for scale in scales]
    whole = torch.cat([scale.abs() for scale in scales])
    starts = [sum(sizes[:at]) for at in range(len(sizes))]
    for start, scale in zip(starts, scales, strict=True):
        whole[start + int(scale.abs().argmax())] = float("inf")
    gone = torch.argsort(whole, stable=True)[: min(round(sparsity * len(whole)), len(whole) - len(scales))]
    keep = torch.ones(len(whole), dtype=torch.bool)
    keep[gone.cpu()] = False
    return [part.nonzero().flatten() for part in keep.split(sizes)]
