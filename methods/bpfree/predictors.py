"""Linear predictors on features that do not learn: three losses, and what each of them answers.

least squares   W = (F^T F + ridge I)^-1 F^T Y, Y one-hot, F with a column of ones
cross-entropy   softmax(F W)
sparsemax       argmin_p ||p - F W||^2 over the simplex (Martins and Astudillo, 2016)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

#: The least share of probability that a predictor's answer counts with.
FLOOR = 1e-6


def sparsemax(z: Tensor) -> Tensor:
    """Euclidean projection of every row on the simplex: [batch, classes] -> [batch, classes]."""
    ordered = z.sort(1, descending=True).values
    sums = ordered.cumsum(1) - 1.0
    count = torch.arange(1, z.shape[1] + 1, dtype=z.dtype, device=z.device)
    size = (count * ordered > sums).sum(1, keepdim=True)
    return (z - sums.gather(1, size - 1) / size).clamp_min(0.0)


def sparsemax_loss(z: Tensor, y: Tensor) -> Tensor:
    """Mean of ||onehot - z||^2 / 2 - ||p - z||^2 / 2 with p = sparsemax(z), whose gradient is p - onehot."""
    target = one_hot(y, z.shape[1]).to(z.dtype)
    p = sparsemax(z.detach())  # the envelope theorem: p moves without effect on the loss
    return ((target - z).square() - (p - z).square()).sum(1).mean() / 2


#: Losses that are descended, by the predictor's name.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "sparsemax": sparsemax_loss,
}


def shares(z: Tensor, kind: str) -> Tensor:
    """What a predictor's output says as shares of the classes; least squares answers with them directly."""
    if kind == "cross_entropy":
        return z.softmax(1)
    return sparsemax(z) if kind == "sparsemax" else z


def log_shares(total: Tensor) -> Tensor:
    """Shares, summed over predictors, as logits: their order stays, and they have a likelihood."""
    return total.clamp_min(FLOOR).log()


class Gram:
    """The sums that least squares needs, in float64: F^T F and F^T Y."""

    def __init__(self) -> None:
        self.ff: Tensor | None = None
        self.fy: Tensor | None = None

    def add(self, features: Tensor, y: Tensor, classes: int) -> None:
        """Some more items: [batch, width], [batch]."""
        ones = features.new_ones((len(features), 1))
        f = torch.cat([features, ones], 1).double()
        ff, fy = f.T @ f, f.T @ one_hot(y, classes).double()
        self.ff = ff if self.ff is None else self.ff + ff
        self.fy = fy if self.fy is None else self.fy + fy

    def solve(self, ridge: float) -> Tensor:
        """W: [width + 1, classes]; `ridge` is a share of the features' mean square sum."""
        assert self.ff is not None and self.fy is not None
        eps = ridge * self.ff.diagonal().mean()
        system = self.ff + eps * torch.eye(len(self.ff), dtype=self.ff.dtype, device=self.ff.device)
        return torch.linalg.solve(system, self.fy)


@torch.no_grad()
def fill(predictor: nn.Linear, parts: Iterable[tuple[Tensor, Tensor]], ridge: float) -> int:
    """Give a predictor the weights of least squares over (features, labels); returns FLOPs of the solution."""
    gram = Gram()
    for features, y in parts:
        gram.add(features, y, predictor.out_features)
    weights = gram.solve(ridge)
    predictor.weight.copy_(weights[:-1].T)
    predictor.bias.copy_(weights[-1])
    return 2 * len(weights) ** 3 // 3
