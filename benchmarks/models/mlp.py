"""A fully connected network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Mlp(nn.Module):
    """Linear layers with ReLU between them: [batch, inputs] -> [batch, classes]."""

    def __init__(self, inputs: int, widths: Sequence[int], classes: int) -> None:
        super().__init__()
        sizes = [inputs, *widths, classes]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)
