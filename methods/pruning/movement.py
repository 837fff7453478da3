"""Movement pruning: what moves away from zero during fine-tuning stays, whatever its size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from methods.base import Method, knob
from methods.pruning.attached import without_lowest
from methods.pruning.masks import prunable
from methods.pruning.schedules import cubic


@dataclass(frozen=True)
class MovementPruning(Method):
    """Fine-tune a trained model with a learnt score a weight; the highest scores stay.

    Paper: movement pruning (Sanh, Wolf and Rush, 2020), section 4, hard form with top-v masks a matrix:
        a = (W * Top_v(S)) x, dL/dS = dL/da x^T * W (straight through), v on the cubic schedule.
    Deviations: the task is the one that the model was trained on, no transfer; every linear and convolution layer,
        the last one too; the masks stay for the last third (the paper's cool-down).
    """

    sparsity: float = knob(0.9, low=0.0, high=0.999, help="share of weights that are zero at the end")
    finetune: float = knob(0.5, low=0.0, high=1.0, help="share of the budget that is trained while pruning")
    begin: float = knob(0.1, low=0.0, high=1.0, help="share of the fine-tuning after which pruning starts")
    end: float = knob(0.7, low=0.0, high=1.0, help="share of the fine-tuning after which the sparsity stays")
    score_lr: float = knob(10.0, low=0.0, help="learning rate of scores over that of weights")

    cpu_factor = 0.9

    def adapt(self, model, run):
        recipe = run.recipe
        optimizer = run.task.optimizer(model, recipe)
        scores = [Scores(module.weight) for _, module in prunable(model)]
        for score, (_, module) in zip(scores, prunable(model), strict=True):
            parametrize.register_parametrization(module, "weight", score)
        group = {"params": [score.score for score in scores], "weight_decay": 0.0}
        optimizer.add_param_group({**group, "lr": recipe.lr * self.score_lr})
        for step in run.steps(model, optimizer=optimizer, share=self.finetune):
            step.update()
            for score in scores:
                score.sparsity = cubic(step.progress, self.begin, self.end, 0.0, self.sparsity)
        for score in scores:
            score.sparsity = self.sparsity
        return model


class Scores(nn.Module):
    """A parametrisation with a learnt score a weight."""

    def __init__(self, weight):
        super().__init__()
        self.score = nn.Parameter(torch.zeros_like(weight))
        self.sparsity = 0.0

    def forward(self, weight):
        """The weight that the layer sees."""
        return Moved.apply(weight, self.score, without_lowest(self.score.detach(), self.sparsity))


class Moved(torch.autograd.Function):
    """W -> M * W; the gradient reaches W through the mask, and the score as if the mask were the score."""

    @staticmethod
    def forward(ctx: Any, weight, score, mask):
        """The masked weight."""
        ctx.save_for_backward(weight, mask)
        return weight * mask

    @staticmethod
    def backward(ctx: Any, gradient):
        """Of the weight, the score, the mask."""
        weight, mask = ctx.saved_tensors
        return gradient * mask, gradient * weight, None
