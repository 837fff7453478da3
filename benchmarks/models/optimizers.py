"""Optimisers that act on some weights in one way and on the others in another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

#: Newton-Schulz: X <- a X + b (X X^T) X + c (X X^T)^2 X (Jordan et al., 2024).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Trainable weights of the linear layers but the last one: no embedding, no head, no vector."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return [module.weight for module in linear[:-1] if module.weight.requires_grad]


def adamw(
    parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW with decay on matrices only, as in the tasks' own training."""
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=betas)


def others(model: nn.Module, matrices: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Trainable parameters that are none of `matrices`."""
    taken = {id(matrix) for matrix in matrices}
    return [p for p in model.parameters() if p.requires_grad and id(p) not in taken]


class Joint:
    """Optimisers that share a training loop; rates are set through their groups."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all parts."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self) -> None:
        """One step of every part."""
        for part in self.parts:
            part.step()


class Orthogonal(torch.optim.Optimizer):
    """Momentum whose direction is made orthogonal: W <- W - lr (scale * O(U) + wd W).

    M <- mu M + G; U = G + mu M (Nesterov); O gives matrices with singular values near 1.

    Args:
        matrices: 2-D parameters.
        lr, momentum, weight_decay: as in the formula.
        orthogonalise: O on a stack [n, rows, columns] with rows <= columns.
        scale: (rows, columns) -> the factor on O(U).
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        lr: float,
        momentum: float,
        weight_decay: float,
        orthogonalise: Callable[[Tensor], Tensor],
        scale: Callable[[int, int], float],
    ) -> None:
        super().__init__(list(matrices), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.orthogonalise, self.scale = orthogonalise, scale

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            moved = [weight for weight in group["params"] if weight.grad is not None]
            directions = self._directions(moved, group["momentum"])
            for weight, direction in zip(moved, directions, strict=True):
                weight.mul_(1.0 - group["lr"] * group["weight_decay"])
                weight.sub_(direction, alpha=group["lr"] * self.scale(*weight.shape))

    def _directions(self, weights: list[nn.Parameter], mu: float) -> list[Tensor]:
        """O(U) of each weight; matrices of one shape, transposed or not, go through O together."""
        stacks: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        directions: list[Tensor] = []
        for place, weight in enumerate(weights):
            momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
            momentum.mul_(mu).add_(weight.grad)
            directions.append(weight.grad.add(momentum, alpha=mu))
            stacks[tuple(sorted(weight.shape))].append(place)
        for places in stacks.values():
            wide = [_wide(directions[place]) for place in places]
            for place, made in zip(places, self.orthogonalise(torch.stack(wide)), strict=True):
                directions[place] = made if directions[place].shape == made.shape else made.T
        return directions


def _wide(matrix: Tensor) -> Tensor:
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def newton_schulz(stack: Tensor, steps: int = 5) -> Tensor:
    """About the orthogonal polar factor of each matrix of [n, rows, columns], rows <= columns.

    Singular values end between about 0.7 and 1.2, not at 1; small ones of square matrices stay below.
    """
    a, b, c = COEFFICIENTS
    x = stack / (stack.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def polar(stack: Tensor) -> Tensor:
    """The exact polar factor U V^T by SVD: what Newton-Schulz is held against."""
    u, _, vt = torch.linalg.svd(stack, full_matrices=False)
    return u @ vt


def adam_scale(rows: int, columns: int) -> float:
    """0.2 sqrt(max(rows, columns)): the root mean square of an update is that of AdamW (Liu et al., 2025)."""
    return 0.2 * max(rows, columns) ** 0.5


def spectral_scale(rows: int, columns: int) -> float:
    """sqrt(max(1, rows / columns)) (Jordan et al., 2024); rows are the layer's outputs."""
    return max(1.0, rows / columns) ** 0.5
