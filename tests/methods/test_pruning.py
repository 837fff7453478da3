# ruff: noqa: E501
"""Unstructured pruning on arrays small enough to work out by hand, and on short trainings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from benchmarks.artefacts import bake
from benchmarks.costs import size_costs
from benchmarks.run import Run
from methods.pruning.gradual import GradualPruning
from methods.pruning.magnitude import MagnitudePruning
from methods.pruning.masks import Masks, lowest, magnitude, prunable
from methods.pruning.random_mask import RandomPruning
from methods.pruning.schedules import cubic
from tests.benchmarks.test_run import RECIPE, run_of

X = torch.linspace(-1, 1, 40).reshape(10, 4)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 20), nn.ReLU(), nn.LayerNorm(20), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 1)
    )


def run_with(method: Any, steps: int = 40, seed: int = 0) -> Run:
    run = run_of(
        seed=seed, recipe=replace(RECIPE, steps=steps, lr=0.01, optimizer="adamw", betas=(0.9, 0.999))
    )
    run.method = method
    return run


def zeros(model: nn.Module) -> list[float]:
    return [float((module.weight == 0).double().mean()) for _, module in prunable(model)]


# -------------------------------------------------------------------- which weights go


def test_the_lowest_go_first() -> None:
    score = torch.tensor([[3.0, 1.0, 2.0], [5.0, 0.5, 4.0]])
    assert lowest(score, 0.5).tolist() == [[1, 0, 0], [1, 0, 1]]
    assert lowest(score, 0.0).tolist() == [[1] * 3] * 2 and lowest(score, 1.0).tolist() == [[0] * 3] * 2


@given(st.integers(1, 300), st.floats(0, 1), st.integers(1, 5))
def test_sparsity_is_exact_whatever_ties(count: int, sparsity: float, levels: int) -> None:
    """Thresholds with <= prune one weight too many; ranks do not."""
    score = torch.from_numpy(np.random.default_rng(count).integers(0, levels, count)).float()
    mask = lowest(score, sparsity)
    assert int((mask == 0).sum()) == round(sparsity * count)
    gone, left = score[mask == 0], score[mask == 1]
    assert not len(gone) or not len(left) or gone.max() <= left.min()
    assert torch.equal(mask, lowest(score.clone(), sparsity))  # ties go by position, always the same


def test_magnitude_is_the_absolute_value() -> None:
    assert magnitude(torch.tensor([-3.0, 2.0])).tolist() == [3.0, 2.0]


def test_biases_and_norms_stay() -> None:
    assert [name for name, _ in prunable(net())] == ["0", "3", "5"]
    model = net()
    Masks(model).set_sparsity(1.0)
    assert model[2].weight.all() and model[0].bias.abs().sum() > 0


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_scopes(scope: str) -> None:
    model = net()
    with torch.no_grad():
        model[0].weight.mul_(100), model[5].weight.mul_(100)  # the middle layer is small everywhere
    weights = torch.cat([module.weight.detach().abs().flatten() for _, module in prunable(model)])
    Masks(model, scope=scope).set_sparsity(0.5)
    found = zeros(bake(model))
    if scope == "layer":
        assert found == [0.5, 0.5, 0.5]
        return
    assert (
        found[1] > 0.6
        and found[0] < 0.1
        and sum(f * n for f, n in zip(found, (80, 400, 20), strict=True)) == 250
    )
    left = torch.cat([module.weight.detach().abs().flatten() for _, module in prunable(model)])
    assert left[left > 0].min() >= weights.sort().values[249]  # one threshold for all


def test_masked_equals_pruned() -> None:
    """What is served is what was trained with: the mask in the forward pass and zeros in the weights are one."""
    model = net()
    Masks(model).set_sparsity(0.7)
    masked = model(X)
    pruned = bake(model)
    assert torch.equal(pruned(X), masked) and zeros(pruned) == [0.7, 0.7, 0.7]
    assert all(type(module) is nn.Linear for _, module in prunable(pruned))
    fresh = net()
    assert size_costs(pruned)["nonzero"] == size_costs(fresh)["params"] - 350


def test_a_held_weight_gets_no_gradient_and_can_return() -> None:
    model = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.3, 0.2, 0.1]]))
    masks = Masks(model)
    masks.set_sparsity(1 / 3)
    held = model.parametrizations.weight.original
    model(torch.ones(1, 3)).sum().backward()
    assert model.weight.tolist() == [[pytest.approx(0.3), pytest.approx(0.2), 0.0]]
    assert held.grad is not None and held.grad.tolist() == [[1.0, 1.0, 0.0]]
    with torch.no_grad():
        held.copy_(torch.tensor([[0.3, 0.05, 0.1]]))  # another has shrunk below the held one
    masks.set_sparsity(1 / 3)
    assert model.weight.tolist() == [[pytest.approx(0.3), 0.0, pytest.approx(0.1)]]


# -------------------------------------------------------------------- schedules


def test_cubic_by_hand() -> None:
    assert cubic(0.4, 0.1, 0.7, 0.0, 0.8) == pytest.approx(0.875 * 0.8)  # half way: 1 - 1/8
    assert cubic(0.1, 0.1, 0.7, 0.0, 0.8) == 0.0 and cubic(0.7, 0.1, 0.7, 0.0, 0.8) == 0.8
    assert cubic(0.0, 0.1, 0.7, 0.2, 0.8) == 0.2 and cubic(1.0, 0.1, 0.7, 0.2, 0.8) == 0.8
    assert cubic(0.25, 0.1, 0.7, 0.2, 0.8) == pytest.approx(0.8 - 0.6 * 0.75**3)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.99), st.floats(0, 1), st.floats(0, 1))
def test_cubic_rises_and_stays_between_its_ends(
    p: float, q: float, begin: float, width: float, last: float
) -> None:
    end = min(1.0, begin + width)
    early, late = (cubic(at, begin, end, 0.0, last) for at in sorted((p, q)))
    assert -1e-12 <= early <= late + 1e-12 <= last + 2e-12


# -------------------------------------------------------------------- methods


@pytest.mark.parametrize("method", [GradualPruning, RandomPruning])
@pytest.mark.parametrize(
    "how", [{}, {"end": 1.0}, {"every": 17}, {"begin": 0.9, "end": 0.95}, {"begin": 0.0, "end": 0.0}]
)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
def test_the_sparsity_at_the_end_is_the_knobs(method: Any, how: dict[str, Any], sparsity: float) -> None:
    run = run_with(method(sparsity=sparsity, **how))
    model = bake(run.method.fit(net(), run))
    assert zeros(model) == [sparsity] * 3
    assert run.log.steps == {"train": 40}


def test_gradual_pruning_follows_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    real = Masks.set_sparsity
    monkeypatch.setattr(Masks, "set_sparsity", lambda self, value: (told.append(value), real(self, value)))
    run = run_with(GradualPruning(sparsity=0.8, begin=0.1, end=0.7, every=4))
    run.method.fit(net(), run)
    assert told == pytest.approx([cubic(step / 40, 0.1, 0.7, 0.0, 0.8) for step in range(0, 29, 4)])
    assert told[-1] == 0.8 and len(told) == 8  # after that the mask stays


def test_weights_are_trained_after_they_are_pruned() -> None:
    run = run_with(GradualPruning(sparsity=0.5))
    before = net()
    after = bake(run.method.fit(net(), run))
    moved = (after[3].weight != before[3].weight) & (after[3].weight != 0)
    assert moved.sum() == 200  # every weight that is left


def kept(sparsity: float, seed: int = 0) -> list[torch.Tensor]:
    run = run_with(RandomPruning(sparsity=sparsity, every=1), seed=seed)
    return [module.weight != 0 for _, module in prunable(bake(run.method.fit(net(), run)))]


def test_random_masks_are_nested_and_drawn_by_the_seed() -> None:
    """What is gone stays gone, whatever the weights do; another seed keeps other weights."""
    for loose, tight, other in zip(kept(0.5), kept(0.8), kept(0.5, seed=1), strict=True):
        assert not (tight & ~loose).any()
        assert not torch.equal(loose, other)


def test_layers_of_one_shape_have_masks_of_their_own() -> None:
    torch.manual_seed(0)
    twins = nn.Sequential(
        nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 1)
    )
    run = run_with(RandomPruning(sparsity=0.5))
    first, second, third, _ = (module.weight != 0 for _, module in prunable(bake(run.method.fit(twins, run))))
    assert not torch.equal(first, second) and not torch.equal(second, third)


def test_random_pruning_does_not_look_at_weights() -> None:
    run = run_with(RandomPruning(sparsity=0.5))
    model = bake(run.method.fit(net(), run))
    start = net()
    small = torch.cat([m.weight.abs().flatten() for _, m in prunable(start)])
    gone = torch.cat([(m.weight == 0).flatten() for _, m in prunable(model)])
    assert 0.35 < (small[gone] < small.median()).double().mean() < 0.65


def test_magnitude_pruning_without_and_with_training_on() -> None:
    run = run_with(MagnitudePruning(sparsity=0.6))
    start, model = net(), bake(run.method.adapt(net(), run))
    assert zeros(model) == [0.6] * 3 and run.log.steps == {}
    left = model[3].weight != 0
    assert torch.equal(model[3].weight[left], start[3].weight[left])  # nothing else moved
    assert start[3].weight[~left].abs().max() <= start[3].weight[left].abs().min()
    run = run_with(MagnitudePruning(sparsity=0.6, finetune=0.5))
    tuned = bake(run.method.adapt(net(), run))
    assert run.log.steps == {"train": 20} and zeros(tuned) == [0.6] * 3
    assert torch.equal(tuned[3].weight != 0, left)  # training on moves no mask


def test_global_pruning_has_the_sparsity_over_all() -> None:
    run = run_with(MagnitudePruning(sparsity=0.6, scope="global"))
    model = bake(run.method.adapt(net(), run))
    assert sum(int((module.weight == 0).sum()) for _, module in prunable(model)) == 300
    assert len(set(zeros(model))) > 1
