"""Native sparse attention: compressed blocks, chosen blocks and a window, trained together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from methods.attention.branches import ThreeBranches
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class NativeSparse(Method):
    """A query reads a summary of every block, the blocks whose summaries it weighs most, and a window.

    Paper: NSA (Yuan et al., 2025), equations 5 to 12: o = sum over branches of gate * attention; compressed keys and
        values by an MLP with positions within the block; blocks chosen by the weights of the compressed branch,
        first and local ones always; separate keys and values for each branch, sigmoid gates from the input.
    Deviations: blocks that are compressed are those that are chosen and do not overlap, the case in which the paper
        takes the weights as they are; each key head has one query head. The local block is the own one alone (paper:
        two). Keys are compressed before they are turned.
    """

    block: int = knob(8, low=1, high=1024, help="tokens of a block")
    chosen: int = knob(
        4, low=2, high=1024, help="blocks that a query reads, the first and its own among them"
    )
    window: int = knob(16, low=1, high=65536, help="last positions of the window")

    needs = ("attention",)
    cpu_factor = 2.0
    small = {"block": 4, "chosen": 3, "window": 4}

    def build(self, run: Run) -> nn.Module:
        heads = run.task.heads  # type: ignore[attr-defined]

        def mixer(layer: int, width: int) -> nn.Module:
            return ThreeBranches(width, heads, self.block, self.chosen, self.window)

        return run.task.model(run, width=self.width, mixer=mixer)
