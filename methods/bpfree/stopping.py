"""Training until the validation loss stops falling: the rule, and the loop that follows it.

A rule is a patience (passes over the data without a lower validation loss) and a cap (the budget). The passes
that a training took end in its record as steps, so what a rule costs is its steps times the measured seconds a
step. All rules have one trajectory for one seed: rate and data order do not depend on where training ends, so
one that stops earlier is the beginning of one that stops later.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from methods.bpfree.local import Loss

if TYPE_CHECKING:
    from benchmarks.run import Run

#: Validation items at once.
AT_ONCE = 1000


@dataclass
class Watch:
    """Follows a loss that should fall, and keeps the state at its lowest value.

    Attributes:
        patience: passes without a new lowest value before it says stop; 0 never does.
    """

    patience: int
    losses: list[float] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> int:
        """The pass with the lowest loss, from 1 on; the first of equals."""
        return 1 + self.losses.index(min(self.losses))

    def stops_at(self, loss: float, model: nn.Module) -> bool:
        """Take the loss after one more pass; True when training should end."""
        loss = loss if math.isfinite(loss) else math.inf
        if not self.losses or loss < min(self.losses):
            self.state = copy.deepcopy(model.state_dict())
        self.losses.append(loss)
        return bool(self.patience) and len(self.losses) - self.best >= self.patience


def train_until(
    run: Run, part: nn.Module, loss: Loss, judged: Loss, *, patience: int, phase: str, share: float = 1.0
) -> None:
    """Train `part` at a constant rate, until its validation loss has not fallen for `patience` passes.

    Args:
        run: of the cell.
        part: what learns; it ends with the state of its best pass.
        loss: of a training batch, whose backward pass gives all gradients.
        judged: of a validation batch.
        patience: passes; 0 uses the whole share.
        phase: name in the log.
        share: of the budget: the cap.
    """
    optimizer, watch = run.task.optimizer(part, run.recipe), Watch(patience)
    a_pass = max(1, len(run.train["y"]) // run.recipe.batch)
    part.train()
    for number, batch in enumerate(run.batches(phase=phase, share=share), start=1):
        optimizer.zero_grad(set_to_none=True)
        value = loss(part, batch)
        value.backward()
        optimizer.step()
        run.report(value, phase)
        if number % a_pass or run.preview:  # a preview times steps: it neither validates nor stops
            continue
        if watch.stops_at(validation_loss(run, part, judged), part):
            break
    if watch.losses:
        part.load_state_dict(watch.state)
        run.log.note(**{f"passes_{phase}": len(watch.losses), f"best_{phase}": watch.best})
        run.log.note(**{f"valid_{phase}": [round(one, 5) for one in watch.losses]})
    part.eval()


@torch.no_grad()
def validation_loss(run: Run, part: nn.Module, judged: Loss) -> float:
    """Mean loss over the validation items, in evaluation mode."""
    part.eval()
    pieces = [{name: values[at : at + AT_ONCE] for name, values in run.valid.items()} for at in
              range(0, len(run.valid["y"]), AT_ONCE)]  # fmt: skip
    total = sum(float(judged(part, piece)) * len(piece["y"]) for piece in pieces)
    part.train()
    return total / len(run.valid["y"])
