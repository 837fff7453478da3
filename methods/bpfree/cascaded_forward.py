"""Cascaded-Forward: a linear predictor on each block, none of which sees another's error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from methods.base import Method, knob
from methods.bpfree.feedback import feedback_loss, random_feedback
from methods.bpfree.local import Loss, Readout, frozen, split
from methods.bpfree.networks import blocks_of, inputs, widths_of
from methods.bpfree.predictors import LOSSES, fill, log_shares, shares

if TYPE_CHECKING:
    from benchmarks.run import Run


class Cascade(nn.Module):
    """Blocks with a predictor each: [batch, ...] -> [batch, classes], log of the predictors' summed shares."""

    def __init__(self, blocks: Sequence[nn.Module], widths: Sequence[int], classes: int, kind: str) -> None:
        super().__init__()
        self.blocks, self.kind = nn.ModuleList(blocks), kind
        self.predictors = nn.ModuleList(nn.Linear(width, classes) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        """What the predictors say together."""
        total: Any = 0
        for block, predictor in zip(self.blocks, self.predictors, strict=True):
            x = block(x)
            total = total + shares(predictor(x.flatten(1)), self.kind)
        return log_shares(total)


@dataclass(frozen=True)
class CascadedForward(Method):
    """Train a linear predictor on each block's output; blocks are random, or learn from random feedback.

    Paper: Cascaded Forward (Zhao et al., 2023, arXiv 2303.09728); a rival in mono-forward:
        F_b = block_b(F_(b-1));  W_b from the predictor's own loss on F_b;  answer: sum_b softmax(F_b W_b)
    Blocks are convolution - BatchNorm - ReLU - pooling, or linear - ReLU on an MLP. `dfa` first trains them by
    direct feedback alignment: a head on the last block gives e = softmax - onehot, block b below it receives
    e B_b with a fixed row-normalised Gaussian B_b, the last block its true gradient; the head is then dropped.
    Predictors follow one after another on frozen blocks. Least squares takes one pass over the data.
    Deviations: a budget of steps in place of epochs a block: predictors share what the blocks leave; the task's
        AdamW and schedule for both, once each; the ridge of least squares is a share of the mean diagonal of
        F^T F, so that it means the same for every width; its solution is no step: its FLOPs are in
        `spent_flops`, its time is in `fit_cpu_s` alone. Shares are summed, as in the first paper (the comparison
        sums the outputs themselves); those below 1e-6 count as 1e-6 in the likelihood.
    """

    blocks: str = knob(
        "random", choices=("random", "dfa"), help="blocks as drawn, or trained by random feedback"
    )
    predictor: str = knob(
        "cross_entropy",
        choices=("cross_entropy", "sparsemax", "least_squares"),
        help="loss of the predictors",
    )
    ridge: float = knob(1e-4, low=0.0, high=1.0, help="of least squares, over the mean diagonal of F^T F")
    blocks_share: float = knob(
        0.5, low=0.0, high=0.95, help="share of the budget that `dfa` trains blocks with"
    )

    cpu_factor = 0.8

    def build(self, run: Run) -> nn.Module:
        """The task's blocks with predictors in place of its head."""
        model = run.task.model(run, width=self.width)
        parts = blocks_of(model)
        head = model.head if hasattr(model, "head") else split(model)[1]
        widths = widths_of(parts, inputs(run, run.train["x"][:2]))
        return Cascade(parts, widths, head.out_features, self.predictor)

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """Blocks first, if they learn at all; then the predictors in turn."""
        assert isinstance(model, Cascade)
        left = 1.0
        if self.blocks == "dfa":
            self._train_blocks(model, run)
            left -= self.blocks_share
        for at, predictor in enumerate(model.predictors):
            below, phase = list(model.blocks[: at + 1]), f"predictor{at + 1}"
            share = left / len(model.predictors)
            if self.predictor == "least_squares":
                run.log.spend(flops=fill(predictor, self._pass(run, below, phase, share), self.ridge))
                continue
            readout = Readout(below, nn.Sequential(nn.Flatten(), predictor))
            for step in run.steps(readout, loss=self._loss(run), phase=phase, share=share):
                step.update()
        return model

    def _train_blocks(self, model: Cascade, run: Run) -> None:
        widths = [predictor.in_features for predictor in model.predictors]
        like, classes = model.predictors[0].weight, model.predictors[0].out_features
        head = nn.Linear(widths[-1], classes).to(like)
        feedback = [*(random_feedback(classes, width).to(like) for width in widths[:-1]), None]
        learning = nn.ModuleList([*model.blocks, head])
        loss = feedback_loss(run, list(model.blocks), head, feedback)
        for step in run.steps(learning, loss=loss, phase="blocks", share=self.blocks_share):
            step.update()

    def _loss(self, run: Run) -> Loss:
        descended = LOSSES[self.predictor]
        return lambda model, batch: descended(model(inputs(run, batch["x"])), batch["y"])

    def _pass(
        self, run: Run, below: Sequence[nn.Module], phase: str, share: float
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the training items, or what the budget has of it: (features, labels)."""
        once = max(1, len(run.train["y"]) // run.recipe.batch)
        for number, batch in enumerate(run.batches(phase=phase, share=share), start=1):
            yield frozen(below, inputs(run, batch["x"])).flatten(1), batch["y"]
            if number >= once and not run.preview:
                break
