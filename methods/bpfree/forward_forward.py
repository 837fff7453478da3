"""Forward-Forward: every layer tells data with the right label from data with a wrong one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from methods.base import Method, knob
from methods.bpfree.goodness import contrast, goodness, normalised, peer_penalty, wrong_labels
from methods.bpfree.labelled import LabelledMlp
from methods.bpfree.local import Loss, split
from methods.bpfree.networks import inputs

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class ForwardForward(Method):
    """Raise the goodness of every layer on data with the right label, lower it on data with a wrong one.

    Paper: The Forward-Forward Algorithm (Hinton, 2022, arXiv 2212.13345); a rival in mono-forward.
        h_i = relu(W_i n(h_(i-1)) + b_i), n(h) = h / rms(h), no gradient through n(h_(i-1))
        loss_i = mean softplus(theta - g(h_i | right)) + mean softplus(g(h_i | wrong) - theta)
    The label takes the place of the first inputs (as many as there are classes). `goodness` answers after one
    pass a class with the goodness of all layers but the first; `readout` after one pass with a neutral label,
    by a linear softmax classifier on the same layers' normalised activities. Hard negatives are wrong labels
    drawn by that classifier's probabilities, as in section 3.3 of the paper.
    Deviations: the threshold is told per unit (the sum of w units against w x threshold), as the paper has it;
        the first code of the comparison has 2.0 for a sum of 1,000 to 2,000. The task's AdamW and schedule for
        layers and readout alike, where the comparison has two rates and lets them fall in the second half, with
        a weight decay of the range that it searches; peer normalisation pulls to the layer's mean activity, as
        in Hinton's code. `append` puts the label beside the inputs instead of over them: for signals without a
        margin to write in.
    """

    goodness: str = knob("sum", choices=("sum", "mean"), help="of a layer's squared activities")
    threshold: float = knob(
        1.0, low=0.0, high=100.0, help="goodness a unit (of the mean: as it is) to tell by"
    )
    negatives: str = knob("random", choices=("random", "hard"), help="how wrong labels are drawn")
    prediction: str = knob(
        "goodness", choices=("goodness", "readout"), help="one pass a class, or one in all"
    )
    label: str | None = knob(
        None,
        choices=("overwrite", "append"),
        help="where the label is put; empty: over an image, beside others",
    )
    peer: float = knob(
        0.0, low=0.0, high=10.0, help="weight of peer normalisation; the paper's code has 0.03"
    )
    weight_decay: float = knob(1e-4, low=0.0, high=10.0, help="of layers and readout, in place of the task's")

    cpu_factor = 2.0

    def build(self, run: Run) -> nn.Module:
        """The task's hidden layers, the first one wider where the label is appended."""
        hidden, last = split(run.task.model(run, width=self.width))
        classes, append = last.out_features, self._appends(run)
        if append:
            hidden[0] = nn.Linear(hidden[0].in_features + classes, hidden[0].out_features)
        reads = self.prediction == "readout" or self.negatives == "hard"
        net = LabelledMlp(hidden, classes, self.goodness, append, reads)
        net.answers_by_readout = self.prediction == "readout"
        return net

    def _appends(self, run: Run) -> bool:
        return self.label == "append" or (self.label is None and "images" not in run.task.offers)

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """All layers in every step, each from its own loss."""
        assert isinstance(model, LabelledMlp)
        x = inputs(run, run.train["x"])
        model.low.fill_(float(x.min()))
        model.high.fill_(float(x.max()))
        optimizer = run.task.optimizer(model, replace(run.recipe, weight_decay=self.weight_decay))
        for step in run.steps(model, optimizer=optimizer, loss=self.loss(model, run)):
            step.update()
        return model

    def loss(self, net: LabelledMlp, run: Run) -> Loss:
        """Every layer's loss, propagated within the layer; what is returned is the last one's, with the readout's."""
        running = [torch.zeros(layer.out_features, device=layer.weight.device) for layer in net.layers]

        def loss(_: nn.Module, batch: Any) -> Tensor:
            x, y = inputs(run, batch["x"]), batch["y"]
            logits = net.read(x) if net.readout is not None else None
            likely = logits.detach().softmax(1) if logits is not None and self.negatives == "hard" else None
            wrong = wrong_labels(y, net.classes, likely)
            labels = one_hot(torch.cat([y, wrong]), net.classes)
            seen = net.with_label(torch.cat([x, x]), labels)
            total = cross_entropy(logits, y) if logits is not None else x.new_zeros(())
            for at, layer in enumerate(net.layers):
                h = layer(seen).relu()
                own, running[at] = self.layer_loss(h, running[at])
                if at + 1 < len(net.layers):
                    own.backward()
                    seen = normalised(h.detach())
            return total + own

        return loss

    def layer_loss(self, h: Tensor, running: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of a layer whose first half of items has right labels; the running mean of its activities."""
        right, wrong = goodness(h, self.goodness).chunk(2)
        line = self.threshold * (h.shape[1] if self.goodness == "sum" else 1.0)
        loss = contrast(right, wrong, line)
        if self.peer:
            penalty, running = peer_penalty(h.chunk(2)[0].mean(0), running.to(h.dtype))
            loss = loss + self.peer * penalty
        return loss, running

    def probe(self, model: nn.Module, run: Run) -> dict[str, float]:
        """Mean goodness a unit of every layer on validation items, with the right label and with wrong ones."""
        x, y = inputs(run, run.valid["x"]), run.valid["y"]
        labels = one_hot(torch.cat([y, (y + 1) % model.classes]), model.classes)
        with torch.no_grad():
            layers = model.activities(model.with_label(torch.cat([x, x]), labels))
        found: dict[str, float] = {}
        for at, h in enumerate(layers, start=1):
            right, wrong = goodness(h, "mean").chunk(2)
            found |= {
                f"goodness_right_layer{at}": float(right.mean()),
                f"goodness_wrong_layer{at}": float(wrong.mean()),
            }
        return found
