"""What reaches a layer: activations of calibration batches, and their second moments.

Calibration reads training data and is paid for: its batches count in the log like steps of training.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from benchmarks.run import Run

#: Share of the mean diagonal that is added to a Hessian (Frantar et al., 2023, section 4, step 3).
DAMPING = 0.01


def calibration(run: Run, batches: int) -> list[Any]:
    """The first `batches` batches of training; all rows of activations where the task is an operator."""
    if not run.task.trains:
        return [run.train]
    share = min(1.0, batches / max(1, run.recipe.steps))
    return list(run.batches(phase="calibration", share=share))


@torch.no_grad()
def inputs_of(model: nn.Module, layer: nn.Module, batches: Iterable[Any], run: Run) -> Tensor:
    """The rows of activations that reach `layer`, float32 [rows, inputs]."""
    return inputs_of_all(model, {"": layer}, batches, run)[""]


@torch.no_grad()
def inputs_of_all(
    model: nn.Module, layers: dict[str, nn.Module], batches: Iterable[Any], run: Run
) -> dict[str, Tensor]:
    """By path the rows of activations that reach each layer in one pass over the batches."""
    seen: dict[str, list[Tensor]] = {path: [] for path in layers}

    def keep(path: str) -> Any:
        return lambda _, args: seen[path].append(args[0].detach().flatten(0, -2).float())

    hooks = [layer.register_forward_pre_hook(keep(path)) for path, layer in layers.items()]
    was = model.training
    model.eval()
    try:
        for batch in batches:
            if not run.task.trains:
                model(batch["x"])
            else:
                run.task.loss(model, batch)
    finally:
        model.train(was)
        for hook in hooks:
            hook.remove()
    return {path: torch.cat(rows) for path, rows in seen.items()}


def hessian(x: Tensor) -> Tensor:
    """H = (2 / n) X^T X of activations [n, inputs]: of the squared error of each row's output, float64."""
    x = x.double()
    return 2.0 / len(x) * x.t() @ x


def inverse_factor(h: Tensor, damping: float = DAMPING) -> Tensor:
    """U upper triangular with U^T U = (H + damping mean(diag H) I)^-1; inputs that are never seen get H_jj = 1."""
    h = h.clone()
    diagonal = h.diagonal()
    diagonal[diagonal == 0] = 1.0
    diagonal += damping * diagonal.mean()
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)


def output_error(change: Tensor, h: Tensor) -> float:
    """tr(D H D^T) of a change D [outputs, inputs]: what second-order methods lower."""
    change = change.detach().double()
    return float(((change @ h) * change).sum())
