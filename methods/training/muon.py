"""Muon: momentum made orthogonal for the matrices inside, AdamW for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.models.optimizers import (
    Joint,
    Orthogonal,
    adam_scale,
    adamw,
    hidden_matrices,
    newton_schulz,
    others,
)
from methods.base import Method, knob

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.run import Run


@dataclass(frozen=True)
class Muon(Method):
    """Train hidden matrices W by W <- W - lr (0.2 sqrt(max(rows, columns)) O(U) + wd W), all else by AdamW.

    Paper: muon (2025), after Jordan et al. (2024): M <- mu M + G, U = G + mu M, O five Newton-Schulz steps
        X <- a X + b (X X^T) X + c (X X^T)^2 X from X = U / |U|_F, (a, b, c) = (3.4445, -4.7750, 2.0315).
    Deviations: the scale is that of Liu et al. (2025), so that the task's rate for AdamW means the same here
        (which scale the paper uses we could not confirm); float32, since bfloat16 is slower on a CPU.
    """

    momentum: float = knob(0.95, low=0.0, high=0.999, help="of the gradient's running sum, Nesterov form")
    iterations: int = knob(5, low=1, high=20, help="Newton-Schulz steps")

    cpu_factor = 1.15

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        recipe, matrices = run.recipe, hidden_matrices(model)
        orthogonalise = lambda stack: newton_schulz(stack, self.iterations)  # noqa: E731
        muon = Orthogonal(matrices, recipe.lr, self.momentum, recipe.weight_decay, orthogonalise, adam_scale)
        rest = adamw(others(model, matrices), recipe.lr, recipe.betas, recipe.weight_decay)
        for step in run.steps(model, optimizer=Joint(muon, rest)):  # type: ignore[arg-type]
            step.update()
        return model
