"""GraSP: remove, before training, the weights without which the gradient keeps most of its norm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from methods.base import Method, knob
from methods.pruning.attached import attach, remove_lowest, share_of, train_on


@dataclass(frozen=True)
class Grasp(Method):
    """Prune once at initialisation so that the gradient flow is preserved, then train what is left.

    Paper: GraSP (Wang, Zhang and Grosse, 2020): S(-w) = -w * (H g), the first-order change of
        g^T g when a weight is removed; those with the largest S go, over all layers.
    Deviations: one batch of the task's own order in place of ten items a class, and no temperature of 200 on
        the logits (the loss is the task's); the batch is taken from the training budget.
    """

    sparsity: float = knob(0.9, low=0.0, high=0.999, help="share of weights that are removed")

    cpu_factor = 1.2

    def fit(self, model, run):
        layers, share = attach(model), share_of(run, 1)
        weights = [layer.weight for layer in layers]
        scores = []
        for batch in run.batches(phase="scores", share=share):
            with sdpa_kernel(SDPBackend.MATH):  # the fused kernel has no second derivative
                loss = run.task.loss(model, batch)
                run.report(loss, phase="scores")
                scores = kept_flow(loss, weights)
        remove_lowest(layers, scores, self.sparsity)
        return train_on(model, run, 1.0 - share)


def kept_flow(loss, weights):
    """W * (H g) of each weight, shaped like it: what is lowest is GraSP's largest S."""
    first = torch.autograd.grad(loss, weights, create_graph=True)
    flow = sum((g * g.detach()).sum() for g in first)
    second = torch.autograd.grad(flow, weights)
    return [weight.detach() * h for weight, h in zip(weights, second, strict=True)]
