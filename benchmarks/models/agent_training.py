"""Training of the agents' models, and the command that rebuilds the checkpoints of the task.

    python -m benchmarks.models.agent_training --size xs --seed 0 --out xs-0.safetensors

Muon (momentum .95, five Newton-Schulz steps, learning rate .01, weight decay .01) for the matrices inside
the blocks, AdamW (betas .9 and .98, weight decay .01) for the rest; 50 warm-up steps, constant to half of
the run, then linear to 2 %; gradients clipped to norm 1; 2400 steps of 24 sequences for every size, so that
all sizes see the same traces.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.models.agent_data import batches
from benchmarks.models.agent_model import SIZES, AgentModel, save, size_of

STEPS = 2400
WARM_UP = 50
MUON_RATE = 0.01
ADAMW_RATES = {"xxs": 6e-3, "xs": 6e-3, "s": 2.5e-3, "m": 1.5e-3}
MARK = 1.0  # share of right pages that carry the title mark


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """Quintic Newton-Schulz iteration of Muon: singular values of `[n, rows, columns]` pushed towards 1."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / (g.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(steps):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan et al., 2024), matrices of one shape at a time.

    The update is scaled by sqrt(max(1, rows / columns)); weight decay is decoupled.
    """

    def __init__(
        self, params: list[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in shapes.items():
                self._update(group, shape, parameters)

    def _update(self, group: dict, shape: torch.Size, parameters: list[nn.Parameter]) -> None:
        momentum = group["momentum"]
        directions = []
        for parameter in parameters:
            buffer = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
            buffer.lerp_(parameter.grad, 1 - momentum)
            directions.append(parameter.grad.lerp(buffer, momentum))
        scale = max(1.0, shape[0] / shape[1]) ** 0.5
        for parameter, update in zip(parameters, orthogonalise(torch.stack(directions)), strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)


def optimisers(
    model: AgentModel, adamw_rate: float, muon_rate: float = MUON_RATE
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for everything else."""
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        Muon(matrices, muon_rate),
        torch.optim.AdamW(rest, adamw_rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def rate_factor(step: int, steps: int) -> float:
    """Learning rate as a share of its peak: warm-up, constant to half of the run, linear to 2 %."""
    warm = min(1.0, (step + 1) / WARM_UP)
    fall = max(0.0, (step / steps - 0.5) / 0.5)
    return warm * (1 - 0.98 * fall)


def own_loss(model: AgentModel, inputs: Tensor, targets: Tensor, own: Tensor) -> Tensor:
    """Mean cross-entropy of the words that the agent itself writes."""
    return F.cross_entropy(model.logits(model.hidden(inputs)[own]), targets[own])


def train(
    size: str,
    seed: int,
    steps: int = STEPS,
    mark: float = MARK,
    log: Callable[[int, float], None] | None = None,
) -> AgentModel:
    """Train a model of a size (a key of `SIZES`); `log(step, loss)` is called at every step."""
    torch.manual_seed(seed)
    model = AgentModel(size_of(size))
    parts = optimisers(model, ADAMW_RATES[size])
    peaks = [[group["lr"] for group in part.param_groups] for part in parts]
    for step, batch in enumerate(batches(seed, steps, mark)):
        loss = own_loss(model, *(torch.from_numpy(part) for part in batch))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part, peak in zip(parts, peaks, strict=True):
            for group, rate in zip(part.param_groups, peak, strict=True):
                group["lr"] = rate * rate_factor(step, steps)
            part.step()
            part.zero_grad()
        if log is not None:
            log(step, loss.item())
    return model.eval()


def main(arguments: list[str] | None = None) -> None:
    """Train one checkpoint and say what it took."""
    parser = argparse.ArgumentParser(description="Train one model of the agents' task.")
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--mark", type=float, default=MARK, help="share of right pages with the title mark")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    losses: list[float] = []
    begin = time.process_time()
    model = train(chosen.size, chosen.seed, chosen.steps, chosen.mark, lambda _, loss: losses.append(loss))
    recent = losses[-100:]
    note = {"seed": str(chosen.seed), "steps": str(chosen.steps), "mark": str(chosen.mark)}
    save(model, chosen.out, note)
    took = time.process_time() - begin
    loss = sum(recent) / len(recent)
    print(f"{chosen.size} seed {chosen.seed}: loss {loss:.3f}, {took:.1f} CPU-s -> {chosen.out}")


if __name__ == "__main__":
    main()
