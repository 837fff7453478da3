"""Layers that learn from a loss of their own: what the methods without global backpropagation share.

    x -> W_1 -> relu -> a_1 -> W_2 -> relu -> a_2 -> ...
                        |                     |
                     a_1 M_1^T = G_1       a_2 M_2^T = G_2        loss_i = cross-entropy(G_i, label)

A network here is what a task's MLP offers: `layers`, hidden linear layers with ReLU after each, and a last
one, whose place the readout M_L of the last hidden layer takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.run import MethodError

if TYPE_CHECKING:
    from benchmarks.run import Run

#: model (ignored), batch -> loss: what `run.steps` takes.
Loss = Callable[[nn.Module, Any], Tensor]


def split(model: nn.Module) -> tuple[list[nn.Linear], nn.Linear]:
    """The hidden layers of a network, and its last layer.

    Raises:
        MethodError: the model is no MLP with a hidden layer.
    """
    layers = list(getattr(model, "layers", []))
    if len(layers) < 2 or not all(isinstance(layer, nn.Linear) for layer in layers):
        raise MethodError(
            "local learning needs a model with `layers`: two linear ones or more, ReLU between them"
        )
    return layers[:-1], layers[-1]


def with_readouts(mlp: nn.Module, prediction: str) -> nn.Module:
    """A fresh network whose last layer is the readout M_L: [classes, last hidden width], without a bias.

    Args:
        mlp: a task's model.
        prediction: `last` answers with G_L alone; `sum` with the sum of all G_i, and keeps every M_i.
    """
    hidden, last = split(mlp)
    *early, final = [readout(layer, last.out_features) for layer in hidden]
    mlp.layers[-1] = final
    return SummedMlp(mlp.layers, early) if prediction == "sum" else mlp


def readout(layer: nn.Linear, classes: int) -> nn.Linear:
    """A fresh M_i for a layer's activations, with torch's default weights, as in the authors' code."""
    return nn.Linear(layer.out_features, classes, bias=False).to(layer.weight.device)


class SummedMlp(nn.Module):
    """An MLP that answers with the sum of its layers' readouts: [batch, inputs] -> [batch, classes]."""

    def __init__(self, layers: nn.ModuleList, readouts: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.layers = layers
        self.readouts = nn.ModuleList(readouts)

    def forward(self, x: Tensor) -> Tensor:
        """Sum of G_1 to G_L of a batch."""
        total: Any = 0
        for layer, matrix in zip(self.layers, [*self.readouts, self.layers[-1]], strict=False):
            x = layer(x).relu()
            total = total + matrix(x)
        return total


class Readout(nn.Module):
    """A readout of layers that do not learn: [batch, inputs] -> [batch, classes].

    What lies below runs without a graph and is no part of the module: no gradient or optimiser reaches it.
    """

    def __init__(self, below: Sequence[nn.Module], matrix: nn.Module) -> None:
        super().__init__()
        self._below = tuple(below)  # a tuple hides modules from `parameters()`
        self.matrix = matrix

    def forward(self, x: Tensor) -> Tensor:
        """The goodness of every class."""
        return self.matrix(frozen(self._below, x))


class Stage(Readout):
    """A hidden layer that learns, with its readout, on top of layers that do not: x -> G_i."""

    def __init__(self, below: Sequence[nn.Module], layer: nn.Module, matrix: nn.Module) -> None:
        super().__init__(below, matrix)
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The goodness of every class, from the layer's own activations."""
        return self.matrix(self.layer(frozen(self._below, x)).relu())


@torch.no_grad()
def frozen(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Activations of layers that do not learn."""
    for layer in layers:
        x = layer(x).relu()
    return x


def stages(model: nn.Module) -> list[Stage]:
    """The stages of a network, from the input on; readouts that it does not keep serve training alone."""
    hidden, last = split(model)
    kept = list(getattr(model, "readouts", []))
    early = kept or [readout(layer, last.out_features) for layer in hidden[:-1]]
    return [
        Stage(hidden[:at], layer, matrix)
        for at, (layer, matrix) in enumerate(zip(hidden, [*early, last], strict=True))
    ]


def train_in_turn(run: Run, parts: Sequence[Stage]) -> None:
    """One stage after the other, each with its own optimiser and schedule and an equal share of the steps."""
    for number, stage in enumerate(parts, start=1):
        for step in run.steps(stage, phase=f"layer{number}", share=1 / len(parts)):
            step.update()


def train_together(run: Run, parts: Sequence[Stage], loss: Loss) -> None:
    """All stages in every step of the whole budget."""
    for step in run.steps(nn.ModuleList(parts), loss=loss, phase="together"):
        step.update()


def local_loss(run: Run, parts: Sequence[Stage]) -> Loss:
    """Every stage's own loss within its layer; what `run.steps` sees and logs is the last stage's.

    The earlier losses are propagated as soon as they are there, so no two graphs are alive at the same time.
    """

    def loss(_: nn.Module, batch: Any) -> Tensor:
        def network(x: Tensor) -> Tensor:
            for stage in parts[:-1]:
                x = stage.layer(x).relu()
                cross_entropy(stage.matrix(x), batch["y"]).backward()
                x = x.detach()
            return parts[-1].matrix(parts[-1].layer(x).relu())

        return run.task.loss(network, batch)

    return loss


def joint_loss(run: Run, parts: Sequence[Stage]) -> Loss:
    """The sum of the same losses with one graph through all layers."""

    def loss(_: nn.Module, batch: Any) -> Tensor:
        early: list[Tensor] = []

        def network(x: Tensor) -> Tensor:
            for stage in parts:
                x = stage.layer(x).relu()
                early.append(stage.matrix(x))
            return early.pop()

        total = run.task.loss(network, batch)
        for goodness in early:
            total = total + cross_entropy(goodness, batch["y"])
        return total

    return loss
