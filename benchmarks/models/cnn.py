"""A plain convolutional network."""

from __future__ import annotations

from torch import Tensor, nn


class Cnn(nn.Module):
    """Three blocks conv3x3 - BatchNorm - ReLU - maxpool2, then a linear layer: [batch, 1, s, s] -> [batch, classes]."""

    def __init__(self, side: int, width: int, classes: int, channels: int = 1) -> None:
        super().__init__()
        widths = [channels, width, 2 * width, 4 * width]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in widths[1:])
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(widths[-1] * (side // 8) ** 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = self.pool(norm(conv(x)).relu())
        return self.head(x.flatten(1))
