"""Wanda, SparseGPT and magnitude per row: masks by hand, invariances, and objectives against slow references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from methods.pruning.magnitude_per_row import MagnitudePerRow
from methods.pruning.masks import lowest
from methods.pruning.reconstruction import Moments, inner_layers, lowest_in_rows, moments_of, rows_of
from methods.pruning.sparsegpt import Sparsegpt, prune_with_errors
from methods.pruning.wanda import Wanda, wanda_mask
from methods.quantization.calibration import inverse_factor
from tests.methods.test_pruning import net, run_with


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def correlated(samples: int, inputs: int, seed: int = 1) -> Tensor:
    """Rows of inputs that say much about each other, of very different sizes."""
    mixed = drawn(samples, inputs, seed=seed) @ drawn(inputs, inputs, seed=seed + 1)
    return mixed * torch.exp(drawn(inputs, seed=seed + 2))


def hessian(x: Tensor) -> Tensor:
    return 2.0 / len(x) * x.double().t() @ x.double()


def error(weight: Tensor, pruned: Tensor, h: Tensor) -> float:
    change = (pruned - weight).double()
    return float(torch.einsum("oi,ij,oj->", change, h, change))


# -------------------------------------------------------------------- rows and groups


def test_rows_by_hand() -> None:
    score = torch.tensor([[4.0, 1.0, 3.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    assert lowest_in_rows(score, 0.5).tolist() == [[1, 0, 1, 0], [0, 0, 1, 1]]  # ties by position
    assert lowest_in_rows(score, 0.5, group=2).tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]
    with pytest.raises(ValueError, match="groups of 3"):
        lowest_in_rows(score, 0.5, group=3)


@given(st.integers(1, 6), st.integers(1, 40), st.floats(0, 1), st.integers(1, 4))
def test_every_row_has_exactly_its_sparsity(rows: int, columns: int, sparsity: float, levels: int) -> None:
    score = torch.from_numpy(np.random.default_rng(columns).integers(0, levels, (rows, columns))).float()
    mask = lowest_in_rows(score, sparsity)
    assert ((mask == 0).sum(1) == round(sparsity * columns)).all()


# -------------------------------------------------------------------- Wanda


def test_wanda_by_hand() -> None:
    weight, norms = torch.tensor([[1.0, -2.0, 3.0], [2.0, 1.0, -1.0]]), torch.tensor([9.0, 2.0, 1.0])
    # scores 9 4 3 and 18 2 1
    assert wanda_mask(weight, norms, 1 / 3).tolist() == [[1, 1, 0], [1, 1, 0]]
    assert wanda_mask(weight, norms, 2 / 3).tolist() == [[1, 0, 0], [1, 0, 0]]


def test_wanda_with_equal_norms_is_magnitude_per_row() -> None:
    weight = drawn(7, 24)
    assert torch.equal(wanda_mask(weight, torch.full((24,), 3.0), 0.5), lowest_in_rows(weight.abs(), 0.5))


def test_wanda_does_not_see_how_inputs_are_scaled() -> None:
    """Input j times c and column j over c leave the mask; magnitude fails this."""
    weight, x = drawn(7, 24), correlated(50, 24)
    scale = torch.exp2(torch.arange(24) % 5 - 2.0)  # powers of two: exact
    here = wanda_mask(weight, x.double().norm(dim=0), 0.5)
    there = wanda_mask(weight / scale, (x * scale).double().norm(dim=0), 0.5)
    assert torch.equal(here, there)
    assert not torch.equal(lowest_in_rows(weight.abs(), 0.5), lowest_in_rows((weight / scale).abs(), 0.5))


# -------------------------------------------------------------------- SparseGPT


def slow_sparsegpt(weight: Tensor, h: Tensor, sparsity: float, block: int) -> Tensor:
    """One exact OBS step a removed weight, with the inverse of what is left: no Cholesky, no recursion."""
    w, columns = weight.double().clone(), weight.shape[1]
    damped = h + 0.01 * h.diagonal().mean() * torch.eye(columns, dtype=torch.float64)
    mask = torch.ones_like(w)
    for i in range(columns):
        if i % block == 0:
            stop = min(columns, i + block)
            # the diagonal of U is the square root of the first entry of each trailing inverse
            first = torch.stack([torch.linalg.inv(damped[j:, j:])[0, 0] for j in range(i, stop)])
            mask[:, i:stop] = lowest(w[:, i:stop] ** 2 / first, sparsity)
        inverse = torch.linalg.inv(damped[i:, i:])
        for row in range(len(w)):
            if mask[row, i] == 0:
                w[row, i:] -= w[row, i] / inverse[0, 0] * inverse[0]
    return w * mask


@pytest.mark.parametrize("block", [4, 12, 128])
def test_sparsegpt_is_exact_obs_column_by_column(block: int) -> None:
    weight, h = drawn(5, 12), hessian(correlated(60, 12))
    fast, slow = prune_with_errors(weight, h, 0.5, block), slow_sparsegpt(weight, h, 0.5, block)
    assert torch.equal(fast == 0, slow == 0)
    assert torch.allclose(fast.double(), slow, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("group", [0, 4])
def test_sparsegpt_with_an_identity_hessian_is_magnitude_without_update(group: int) -> None:
    weight = drawn(6, 32)
    pruned = prune_with_errors(weight, 3.0 * torch.eye(32, dtype=torch.float64), 0.5, 16, group)
    blocks = weight.abs().split(16, 1)
    mask = torch.cat([lowest(block, 0.5) for block in blocks], 1)
    mask = lowest_in_rows(weight.abs(), 0.5, group) if group else mask
    assert torch.equal(pruned, weight * mask)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_the_update_never_hurts_its_own_mask(seed: int) -> None:
    """With the mask of SparseGPT given, making up for errors is better than not."""
    weight, h = drawn(6, 16, seed=seed), hessian(correlated(80, 16, seed=seed + 1))
    pruned = prune_with_errors(weight, h, 0.5)
    assert error(weight, pruned, h) <= error(weight, weight * (pruned != 0), h) * (1 + 1e-6)


def test_objectives_in_sum_sparsegpt_wanda_magnitude() -> None:
    """tr(D H D^T) over many layers: SparseGPT is below Wanda, Wanda below magnitude in each row."""
    sums = dict.fromkeys(("sparsegpt", "wanda", "row", "layer"), 0.0)
    for seed in range(20):
        weight, x = drawn(16, 32, seed=seed), correlated(200, 32, seed=100 + seed)
        h = hessian(x)
        pruned = {
            "sparsegpt": prune_with_errors(weight, h, 0.5),
            "wanda": weight * wanda_mask(weight, x.double().norm(dim=0), 0.5),
            "row": weight * lowest_in_rows(weight.abs(), 0.5),
            "layer": weight * lowest(weight.abs(), 0.5),
        }
        for name, value in pruned.items():
            sums[name] += error(weight, value, h)
    assert sums["sparsegpt"] < sums["wanda"] < sums["row"]
    assert sums["sparsegpt"] < sums["layer"]


def test_sparsegpt_patterns_are_exact_and_dead_inputs_go() -> None:
    weight, h = drawn(8, 32), hessian(correlated(60, 32))
    pruned = prune_with_errors(weight, h, 0.5, 128, 4)
    assert ((pruned.view(-1, 4) != 0).sum(1) == 2).all()
    assert int((prune_with_errors(weight, h, 0.3, 16) == 0).sum()) == 2 * round(0.3 * 8 * 16)
    h[3], h[:, 3] = 0.0, 0.0
    assert not prune_with_errors(weight, h, 0.1)[:, 3].any()
    assert torch.isfinite(inverse_factor(h)).all()


# -------------------------------------------------------------------- what reaches a layer


def test_patches_are_what_a_convolution_multiplies() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(3, 5, 3, stride=2, padding=1), torch.randn(4, 3, 9, 9)
    rows = rows_of(conv, x)
    out = rows @ conv.weight.flatten(1).t() + conv.bias
    assert torch.allclose(out.view(4, -1, 5).transpose(1, 2).reshape(4, 5, 5, 5), conv(x), atol=1e-5)


def test_moments_are_those_of_all_rows_in_one() -> None:
    layer, x = nn.Linear(6, 2), drawn(10, 3, 6)
    seen = Moments(layer, whole=True)
    for part in x.split([4, 6]):
        seen.add(part)
    rows = x.reshape(30, 6)
    assert torch.allclose(seen.norms, rows.double().norm(dim=0))
    assert torch.allclose(seen.hessian, hessian(rows))


def test_a_later_layer_sees_what_the_pruned_ones_leave() -> None:
    run = run_with(Wanda(batches=4))
    model = Wanda(sparsity=0.5, batches=4).adapt(net(), run)
    mine = net()
    run = run_with(Wanda(batches=4))
    batches = list(run.batches(phase="calibration", share=0.1))
    for index in (0, 3, 5):
        norms = moments_of(mine, mine[index], batches, run, False).norms
        with torch.no_grad():
            mine[index].weight.mul_(wanda_mask(mine[index].weight, norms, 0.5))
        assert torch.equal(mine[index].weight, model[index].weight)


@pytest.mark.parametrize("method", [MagnitudePerRow, Wanda, Sparsegpt])
@pytest.mark.parametrize("group", [0, 4])
def test_methods_prune_inner_layers_exactly_and_pay_for_calibration(method: Any, group: int) -> None:
    knobs = {} if method is MagnitudePerRow else {"batches": 4}
    run = run_with(method(sparsity=0.5, group=group, **knobs))
    model = run.method.adapt(net(), run)
    assert [float((m.weight == 0).double().mean()) for _, m in inner_layers(model)] == [0.5, 0.5, 0.5]
    if group:
        assert ((model[3].weight.view(-1, 4) != 0).sum(1) == 2).all()
    assert run.log.steps == ({"calibration": 4} if knobs else {})


def test_the_head_is_left_alone() -> None:
    model = nn.ModuleDict({"up": nn.Linear(3, 4), "head": nn.Linear(4, 2)})
    assert [path for path, _ in inner_layers(model)] == ["up"]
