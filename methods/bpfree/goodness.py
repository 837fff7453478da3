"""Goodness: what a layer of Forward-Forward raises for data with the right label and lowers for a wrong one.

g = sum_j h_j^2, or mean_j h_j^2        h = relu(W x + b)                         threshold: theta
loss = mean softplus(theta - g(right)) + mean softplus(g(wrong) - theta)
the next layer's input: h / sqrt(mean_j h_j^2), which has length but no goodness left to read
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

#: Below this root mean square an activity counts as silent; it keeps a dead layer from dividing by zero.
SILENT = 1e-8


def goodness(h: Tensor, kind: str) -> Tensor:
    """Goodness of every item: [batch, width] -> [batch]; `kind` is sum or mean."""
    return h.square().sum(1) if kind == "sum" else h.square().mean(1)


def normalised(h: Tensor) -> Tensor:
    """Activities of root mean square one, whatever their length was: [batch, width]."""
    return h / h.square().mean(1, keepdim=True).sqrt().clamp_min(SILENT)


def contrast(right: Tensor, wrong: Tensor, threshold: float) -> Tensor:
    """Loss of a layer from the goodness of items with the right and with a wrong label, both [batch]."""
    return softplus(threshold - right).mean() + softplus(wrong - threshold).mean()


def overlaid(x: Tensor, label: Tensor, low: float, high: float, append: bool) -> Tensor:
    """Items with a label in them: [batch, inputs] -> [batch, inputs], or [batch, inputs + classes] with `append`.

    Args:
        x: items as the network sees them.
        label: [batch, classes], from 0 to 1.
        low: what 0 is among the inputs; black of an image.
        high: what 1 is; white.
        append: put the label beside the inputs instead of over the first of them.
    """
    shown = low + (high - low) * label.to(x.dtype)
    return torch.cat([shown, x if append else x[:, label.shape[1] :]], 1)


def wrong_labels(y: Tensor, classes: int, preference: Tensor | None = None) -> Tensor:
    """A wrong label for every item, [batch]: any of them alike, or drawn by `preference`.

    Args:
        y: right labels.
        classes: how many there are.
        preference: [batch, classes], not negative: what a readout takes for likely makes hard negatives.
    """
    chances = y.new_ones((len(y), classes), dtype=torch.float32) if preference is None else preference + 1e-6
    return torch.multinomial(chances.scatter(1, y[:, None], 0.0), 1).squeeze(1)


def peer_penalty(mean: Tensor, running: Tensor, momentum: float = 0.9) -> tuple[Tensor, Tensor]:
    """How far the units of a layer are from being alike active: mean_j (r_j - mean_k r_k)^2.

    Args:
        mean: [width], mean activity of each unit over the batch.
        running: [width], its running mean before this batch.
        momentum: how much of the running mean stays.

    Returns:
        The penalty, with the batch's gradient; the running mean r after this batch, without one.
    """
    running = momentum * running + (1.0 - momentum) * mean
    return (running - running.mean()).square().mean(), running.detach()
