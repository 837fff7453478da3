"""Blocks that learn from fixed random feedback: direct feedback alignment.

x -> block_1 -> h_1 -> block_2 -> h_2 ... -> h_L -> head -> logits        e = dloss/dlogits
block_i is given e B_i as the gradient of its output; the head has its own true gradient
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from methods.bpfree.local import Loss

if TYPE_CHECKING:
    from benchmarks.run import Run


def random_feedback(classes: int, width: int) -> Tensor:
    """B: [classes, width], Gaussian, every row of length one."""
    return nn.functional.normalize(torch.randn(classes, width), dim=1)


def feedback_loss(
    run: Run, blocks: Sequence[nn.Module], head: nn.Module, feedback: Sequence[Tensor | None]
) -> Loss:
    """The task's loss at the head; every block has had its gradient when it returns.

    Args:
        run: of the cell.
        blocks: from the input on.
        head: flattened output of the last block -> logits.
        feedback: one B a block; None stands for the head's true gradient (of use for the last block alone).
    """

    def loss(_: nn.Module, batch: Any) -> Tensor:
        outputs: list[Tensor] = []
        logits: list[Tensor] = []

        def network(x: Tensor) -> Tensor:
            for block in blocks:
                outputs.append(block(outputs[-1].detach() if outputs else x))
            last = outputs[-1] if feedback[-1] is None else outputs[-1].detach()
            logits.append(head(last.flatten(1)))
            return logits[0]

        value = run.task.loss(network, batch)
        (error,) = torch.autograd.grad(value, logits[0], retain_graph=True)
        for output, matrix in zip(outputs, feedback, strict=True):
            if matrix is not None:
                output.backward((error @ matrix).view_as(output))
        return value

    return loss
