"""The network of Forward-Forward: hidden layers that see the label among their inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.bpfree.goodness import goodness, normalised, overlaid


class LabelledMlp(nn.Module):
    """Hidden layers without a head: [batch, inputs] -> [batch, classes].

    Without a readout every class is tried in turn and answers with its goodness summed over all layers but the
    first (over the only one, where there is one): up to a constant the log-odds that the layers give the
    label. With a readout, one pass with a neutral label is enough.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self, layers: Sequence[nn.Linear], classes: int, kind: str, append: bool, read: bool
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        for layer in layers:  # as in Hinton's code: units that begin near the threshold, not below it
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
        self.classes, self.kind, self.append = classes, kind, append
        self.register_buffer("low", torch.tensor(0.0))
        self.register_buffer("high", torch.tensor(1.0))
        width = sum(layer.out_features for layer in self.judged(layers))
        self.readout = nn.Linear(width, classes) if read else None
        self.answers_by_readout = False

    @staticmethod
    def judged(parts: Sequence) -> Sequence:
        """What counts for an answer: all layers but the first."""
        return parts[1:] or parts

    def with_label(self, x: Tensor, label: Tensor) -> Tensor:
        """Items with a label in them; see `overlaid`."""
        return overlaid(x, label, float(self.low), float(self.high), self.append)

    def activities(self, x: Tensor) -> list[Tensor]:
        """Of every layer, from items that hold a label."""
        found: list[Tensor] = []
        for layer in self.layers:
            found.append(layer(normalised(found[-1]) if found else x).relu())
        return found

    def read(self, x: Tensor) -> Tensor:
        """What the readout says of items with a neutral label; no gradient reaches the layers."""
        assert self.readout is not None
        with torch.no_grad():
            neutral = torch.full((len(x), self.classes), 1.0 / self.classes, dtype=x.dtype, device=x.device)
            seen = self.judged(self.activities(self.with_label(x, neutral)))
            features = torch.cat([normalised(h) for h in seen], 1)
        return self.readout(features)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        if self.answers_by_readout:
            return self.read(x)
        labels = torch.eye(self.classes, dtype=x.dtype, device=x.device)
        tried = [self.activities(self.with_label(x, label.expand(len(x), -1))) for label in labels]
        return torch.stack([self.summed(one) for one in tried], 1)

    def summed(self, activities: list[Tensor]) -> Tensor:
        """Goodness over the layers that count: [batch]."""
        return torch.stack([goodness(h, self.kind) for h in self.judged(activities)]).sum(0)
