"""Torch-Pruning on the same models: the peer of channel pruning."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from methods.base import Method, knob


@dataclass(frozen=True)
class TorchPruning(Method):
    """Let Torch-Pruning remove the channels with the smallest norm from a trained model, then train what is left.

    Paper: DepGraph (Fang, Ma, Song, Bi Mi and Wang, 2023), package torch-pruning, `BasePruner` with group magnitudes.
    Deviations: none; the last linear layer, which makes the classes, is left alone.
    """

    sparsity: float = knob(
        0.5, low=0.0, high=0.99, help="share of the channels of each layer that is removed"
    )
    finetune: float = knob(0.0, low=0.0, high=1.0, help="share of the budget that is trained after pruning")

    needs = ("images",)
    requires = ("torch-pruning",)
    cpu_factor = 0.5

    def adapt(self, model, run):
        import torch_pruning

        x = run.task.inputs(run.train["x"][:2])
        last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
        torch_pruning.pruner.BasePruner(
            model,
            x,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=1),
            pruning_ratio=self.sparsity,
            ignored_layers=[last],
        ).step()
        for step in run.steps(model, share=self.finetune) if self.finetune else ():
            step.update()
        return model
