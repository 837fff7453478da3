"""The negative control of policy methods: rewards that tell nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from methods.base import Method
from methods.rl.policy import GroupPolicy, Rollouts

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class ShuffledReward(GroupPolicy, Method):
    """GRPO in which the rewards of each group are dealt out anew at random.

    Paper: none; whatever this gains comes from updating at all, not from what the reward says.
    Deviations: those of Grpo.
    """

    needs = ("verify",)
    cost_depends_on_weights = True
    cpu_factor = 0.8
    small = {"turns": 2, "prompts": 4, "group": 4, "minibatches": 2}

    def rewards(self, rolled: Rollouts, run: Run) -> Tensor:
        """The group's rewards in another order."""
        order = run.rng.permuted(torch.arange(len(rolled.right)).view(-1, rolled.group).numpy(), axis=1)
        return rolled.right.float()[torch.from_numpy(order.ravel())]
