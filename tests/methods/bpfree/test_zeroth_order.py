"""Estimates from forward passes: unbiased, exact along their direction, and without a trace in the weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.tasks.classification import Fashion
from methods.bpfree.forward_gradient import ForwardGradient
from methods.bpfree.local import split
from methods.bpfree.spsa import Spsa
from methods.reference.baseline import Baseline


@pytest.fixture(autouse=True)
def _float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """The images as float64, so that identities can be read to the last digits."""
    monkeypatch.setattr(Fashion, "inputs", lambda self, x: (x.double() - 72.94) / 90.02)


def network(make_run: Any, **knobs: Any) -> tuple[Any, nn.Module]:
    run = make_run(Baseline(), **knobs)
    return run, run.task.model(run).double()


def by_backpropagation(run: Any, model: nn.Module, batch: Any) -> list[torch.Tensor]:
    return list(torch.autograd.grad(run.task.loss(model, batch), list(model.parameters())))


def given(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad for parameter in model.parameters()]


def estimate(run: Any, model: nn.Module, method: Any, batch: Any) -> list[torch.Tensor]:
    model.zero_grad(set_to_none=True)
    method.loss(model, run)(model, batch).backward()
    return given(model)


@pytest.mark.parametrize("method", [ForwardGradient(samples=400), Spsa(samples=1000)])
def test_estimates_are_unbiased(make_run, batch, method):
    """With many directions the mean lies along backpropagation's gradient and is as long along it."""
    torch.manual_seed(0)
    run, model = network(make_run, width=4, depth=2)
    small = {"x": batch["x"][:4], "y": batch["y"][:4]}
    wanted, found = (
        torch.cat([gradient.flatten() for gradient in gradients[2:]])
        for gradients in (by_backpropagation(run, model, small), estimate(run, model, method, small))
    )
    assert float(found @ wanted / wanted.square().sum()) == pytest.approx(1.0, abs=0.25)
    if isinstance(method, ForwardGradient):
        assert torch.cosine_similarity(found, wanted, dim=0) > 0.95


def test_one_direction_by_finite_differences(make_run, batch, monkeypatch):
    """The activity estimate's slope of an item against the loss with the pre-activations moved along v."""
    run, model = network(make_run, width=5, depth=2)
    hidden, last = split(model)
    vs = [torch.randn(16, 5, dtype=torch.float64) for _ in hidden]
    queue = iter(vs)
    monkeypatch.setattr(torch, "randn", lambda *_, **__: next(queue))
    found = estimate(run, model, ForwardGradient(), batch)

    def losses(eps: float) -> torch.Tensor:
        a = run.task.inputs(batch["x"])
        for layer, v in zip(hidden, vs, strict=True):
            a = (a @ layer.weight.T + layer.bias + eps * v).clamp(min=0)
        return cross_entropy(a @ last.weight.T + last.bias, batch["y"], reduction="none")

    slope = (losses(1e-6) - losses(-1e-6)) / 2e-6
    wanted = (slope[:, None] * vs[0] / 16).T @ run.task.inputs(batch["x"])
    torch.testing.assert_close(found[0], wanted, rtol=1e-5, atol=1e-7)
    exact = by_backpropagation(run, model, batch)
    torch.testing.assert_close(found[-2:], exact[-2:])  # the last layer has its own gradient


def test_spsa_leaves_the_weights_as_they_were(make_run, batch):
    run, model = network(make_run)
    before = copy.deepcopy(model.state_dict())
    found = estimate(run, model, Spsa(), batch)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(gradient.any() for gradient in found)
