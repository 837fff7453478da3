"""Pruning at the start, sparse training, N:M and movement: scores and masks by hand, moments, identities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrize

from benchmarks.artefacts import bake
from benchmarks.models.cnn import Cnn
from methods.pruning.attached import attach, counted_macs, remove_lowest, sparse_share
from methods.pruning.distributions import erdos_renyi, uniform
from methods.pruning.grasp import Grasp, kept_flow
from methods.pruning.growth import Moves, WatchedMask, draw_masks, move, train_sparse
from methods.pruning.movement import Moved, MovementPruning, Scores
from methods.pruning.nm import NmMask, StraightThrough, grouped, highest_in_groups, ungrouped
from methods.pruning.rigl import Rigl
from methods.pruning.snip import Snip
from methods.pruning.sparse_evolutionary import SparseEvolutionary
from methods.pruning.sr_ste import SrSte
from methods.pruning.static_sparse import StaticSparse
from methods.pruning.synflow import synaptic_flow
from tests.methods.test_pruning import X, net, run_with, zeros


def total(model: nn.Module) -> int:
    return sum(int((m.weight == 0).sum()) for m in model.modules() if isinstance(m, nn.Linear))


# -------------------------------------------------------------------- scores before training


def test_the_lowest_over_all_layers_go() -> None:
    layers = attach(nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 2)))
    remove_lowest(layers, [torch.tensor([[5.0, 1.0]]), torch.tensor([[0.0], [2.0]])], 0.5)
    assert [layer.mask.mask.flatten().tolist() for layer in layers] == [[1, 0], [0, 1]]


def test_snip_keeps_what_the_loss_feels() -> None:
    """dL/dc by finite differences of connections c = 1, on the batch that the method saw."""
    run, fresh = run_with(Snip(sparsity=0.5)), net()
    (batch,) = run_with(Snip()).batches(phase="scores", share=1 / 40)
    felt = []
    for module in (fresh[0], fresh[3], fresh[5]):
        weight = module.weight.detach().clone()
        for at in np.ndindex(*weight.shape):
            losses = []
            for scale in (1.01, 0.99):
                with torch.no_grad():
                    module.weight[at] = weight[at] * scale
                    losses.append(
                        float(run.task.loss(fresh.double(), {k: v.double() for k, v in batch.items()}))
                    )
                    fresh.float()
                    module.weight.copy_(weight)
            felt.append(abs(losses[0] - losses[1]))
    kept = torch.tensor(felt) > sorted(felt)[249]
    masks: list[Tensor] = []

    def stop(model: Any, **_: Any) -> tuple[()]:
        masks.extend(model[index].parametrizations.weight[0].mask.clone() for index in (0, 3, 5))
        return ()

    run.steps = stop  # type: ignore[method-assign,assignment]
    run.method.fit(net(), run)
    found = torch.cat([mask.flatten() for mask in masks]).bool()
    assert int((found != kept).sum()) <= 4  # near the threshold differences of float32 decide
    assert int((~found).sum()) == 250


def test_grasp_is_the_change_of_the_gradients_norm() -> None:
    """-w * (H g) is half the derivative of g^T g along -w, by finite differences."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x, y = torch.randn(8, 3).double(), torch.randn(8, 1).double()
    weights = [model[0].weight, model[2].weight]
    kept = kept_flow(((model(x) - y) ** 2).mean(), weights)

    def norm() -> float:
        gradients = torch.autograd.grad(((model(x) - y) ** 2).mean(), weights)
        return float(sum((g**2).sum() for g in gradients))

    for weight, score in zip(weights, kept, strict=True):
        for at in np.ndindex(*weight.shape):
            value, norms = weight[at].item(), []
            for sign in (1, -1):
                with torch.no_grad():
                    weight[at] = value * (1 - sign * 1e-5)  # a step towards its removal
                norms.append(norm())
                with torch.no_grad():
                    weight[at] = value
            assert -float(score[at]) == pytest.approx((norms[0] - norms[1]) / 2e-5 / 2, rel=1e-3, abs=1e-8)


@pytest.mark.parametrize("method", [Snip, Grasp])
def test_pruning_at_the_start_is_exact_and_within_the_budget(method: Any) -> None:
    run = run_with(method(sparsity=0.8))
    model = bake(run.method.fit(net(), run))
    assert total(model) == 400 and run.log.steps == {"scores": 1, "train": 39}


def test_synaptic_flow_by_hand_and_conserved() -> None:
    """Of a two-layer net: s = |w| times what flows in and out; every layer's scores sum to R."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 0.5]]))
        model[2].weight.copy_(torch.tensor([[-1.0, 2.0]]))
    layers = attach(model)
    first, second = synaptic_flow(model, layers, torch.ones(1, 2).double())
    assert first.tolist() == [[1.0, 2.0], [6.0, 1.0]] and second.tolist() == [[3.0, 7.0]]
    layers[0].mask.mask[0, 1] = 0.0
    first, second = synaptic_flow(model, layers, torch.ones(1, 2).double())
    assert first.tolist() == [[1.0, 0.0], [6.0, 1.0]] and first.sum() == second.sum()


def test_synaptic_flow_never_cuts_a_network_through() -> None:
    torch.manual_seed(0)
    model = Cnn(28, 4, 10)
    layers, ones = attach(model), torch.ones(1, 1, 28, 28).double()
    for number in range(1, 31):
        remove_lowest(layers, synaptic_flow(model, layers, ones), 1.0 - 0.01 ** (number / 30))
    assert all(layer.mask.mask.any() for layer in layers)
    assert model.convs[0].weight.dtype == torch.float32 and model.training


# -------------------------------------------------------------------- distributions


def test_erk_by_hand() -> None:
    shapes = [(300, 784), (100, 300), (10, 100)]  # LeNet-300-100: the last layer ends dense
    found = erdos_renyi(shapes, 0.9)
    assert found[2] == 1.0
    sizes = [math.prod(shape) for shape in shapes]
    assert sum(d * n for d, n in zip(found, sizes, strict=True)) == pytest.approx(0.1 * sum(sizes))
    ratio = (1084 / (300 * 784)) / (400 / 30000)
    assert found[0] / found[1] == pytest.approx(ratio)
    assert uniform(shapes, 0.95) == pytest.approx([0.05] * 3)


@given(
    st.floats(0.0, 0.999), st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=5)
)
def test_erk_has_the_density_and_no_layer_above_one(sparsity: float, shapes: list[tuple[int, int]]) -> None:
    found, sizes = erdos_renyi(shapes, sparsity), [math.prod(shape) for shape in shapes]
    assert all(-1e-9 <= density <= 1 + 1e-9 for density in found)
    wanted = (1 - sparsity) * sum(sizes)
    assert sum(d * n for d, n in zip(found, sizes, strict=True)) == pytest.approx(wanted, abs=1e-6)


# -------------------------------------------------------------------- drop and grow


def line(weights: list[float], mask: list[float]) -> Any:
    model = nn.Linear(len(weights), 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([weights]))
    (layer,) = attach(model, WatchedMask)
    layer.mask.mask.copy_(torch.tensor([mask]))
    return model, layer


def test_one_move_by_hand() -> None:
    model, layer = line([0.3, 0.1, 0.5, 0.9, 0.9, 0.9], [1, 1, 1, 0, 0, 0])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 6)).sum().backward()
    optimizer.step()
    assert optimizer.state[layer.weight]["exp_avg"][0, :3].all()
    optimizer.state[layer.weight]["exp_avg"].fill_(7.0)
    held = layer.weight.detach().clone()
    # growth asks for place 4, then 1 (which is dropped in this move), then 3
    fresh = move(layer, 1 / 3, lambda _: torch.tensor([[0.0, 2.0, 0.0, 1.0, 3.0, 0.0]]), optimizer)
    assert layer.mask.mask.tolist() == [[1, 0, 1, 0, 1, 0]] and fresh.tolist() == [
        [False] * 4 + [True, False]
    ]
    assert layer.weight[0, 4] == 0.0 and torch.equal(layer.weight[0, :4], held[0, :4])
    assert optimizer.state[layer.weight]["exp_avg"].tolist() == [[7, 7, 7, 7, 0, 7]]
    assert layer.weight.grad is not None and layer.weight.grad[0, 1] == 0.0


def test_a_dropped_weight_may_return_at_once_and_stays_as_it_was() -> None:
    model, layer = line([0.3, 0.1, 0.5, 0.9], [1, 1, 1, 0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fresh = move(layer, 1 / 3, lambda _: torch.tensor([[9.0, 2.0, 9.0, 1.0]]), optimizer)
    assert layer.mask.mask.tolist() == [[1, 1, 1, 0]] and not fresh.any()
    assert float(layer.weight[0, 1]) == pytest.approx(0.1)


def test_the_share_that_moves_decays_by_a_cosine() -> None:
    moves = Moves(every=0.02, end=0.75, fraction=0.3)
    assert moves.moved(0.0) == pytest.approx(0.3) and moves.moved(0.375) == pytest.approx(0.15)
    assert moves.moved(0.75) == 0.0 and moves.moved(0.9) == 0.0


def test_the_dense_gradient_is_that_of_an_unmasked_weight() -> None:
    model = net()
    layers = attach(model, WatchedMask)
    layers[1].mask.mask[:, ::2] = 0.0
    layers[1].mask.watch(True)  # type: ignore[operator]
    model(X).pow(2).sum().backward()
    same = net()
    with torch.no_grad():
        same[3].weight[:, ::2] = 0.0
    same(X).pow(2).sum().backward()
    dense = layers[1].mask.dense_gradient
    assert torch.allclose(dense, same[3].weight.grad, atol=1e-5) and dense[:, ::2].any()  # type: ignore[index, arg-type]
    assert not layers[1].weight.grad[:, ::2].any()  # type: ignore[index]


def test_rigl_grows_at_zero_with_cleared_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    from methods.pruning import growth

    seen: list[int] = []
    real = growth.move

    def watched(layer: Any, fraction: float, grow: Any, optimizer: Any) -> Tensor:
        before, dense = layer.mask.mask.clone(), layer.mask.dense_gradient.clone()
        fresh = real(layer, fraction, grow, optimizer)
        assert torch.equal(fresh, (layer.mask.mask == 1) & (before == 0))
        assert not layer.weight[fresh].any()
        for name in ("exp_avg", "exp_avg_sq"):
            assert not optimizer.state[layer.weight][name][fresh].any()
        assert layer.mask.mask.sum() == before.sum()
        rest = (layer.mask.mask == 0) & (before == 0)
        if fresh.any() and rest.any():
            assert dense.abs()[fresh].min() >= dense.abs()[rest].max()
        seen.append(int(fresh.sum()))
        return fresh

    monkeypatch.setattr(growth, "move", watched)
    run = run_with(Rigl(sparsity=0.8, every=0.1))
    model = bake(run.method.fit(net(), run))
    assert total(model) == 400 and run.log.notes["mask_updates"] == 7 and sum(seen) > 0
    assert run.log.steps == {"train": 40}


@pytest.mark.parametrize("distribution", ["erk", "uniform"])
@pytest.mark.parametrize("method", [StaticSparse, SparseEvolutionary, Rigl])
def test_sparse_training_is_sparse_from_the_first_step_to_the_last(method: Any, distribution: str) -> None:
    run = run_with(method(sparsity=0.8, distribution=distribution))
    model = net()
    densities = []
    real = run.task.loss
    run.task.__class__.loss = lambda self, m, b: (
        densities.append(
            sum(float(layer.mask.sum()) for layer in m.modules() if isinstance(layer, WatchedMask))
        )
        or real(m, b)
    )
    model = run.method.fit(model, run)
    assert set(densities) == {100.0} and len(densities) == 40
    if distribution == "uniform":
        masks = [layer.mask for layer in model.modules() if isinstance(layer, WatchedMask)]
        assert [float(mask.mean()) for mask in masks] == pytest.approx([0.2] * 3)
    assert total(bake(model)) >= 400  # a grown weight that no item reaches is still zero


def test_only_the_growth_differs() -> None:
    """SET and RigL start from the mask of static training; SET's places are drawn by the seed."""
    first = {}
    for method in (StaticSparse, SparseEvolutionary, Rigl):
        run = run_with(method(sparsity=0.8, **({} if method is StaticSparse else {"end": 0.0})))
        first[method] = [m.weight != 0 for m in bake(run.method.fit(net(), run)) if isinstance(m, nn.Linear)]
    for masks in zip(*first.values(), strict=True):
        assert torch.equal(masks[0], masks[1]) and torch.equal(masks[0], masks[2])


def test_masks_are_drawn_by_the_seed() -> None:
    drawn = []
    for seed in (0, 0, 1):
        layers = attach(net(), WatchedMask)
        draw_masks(layers, 0.5, "uniform", run_with(StaticSparse(), seed=seed))
        drawn.append(layers[1].mask.mask.clone())
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_sparse_flops_are_weighted_by_places() -> None:
    model = Cnn(28, 4, 10)
    layers = attach(model)
    layers[0].mask.mask.zero_()
    with counted_macs(layers) as macs:
        model(torch.zeros(2, 1, 28, 28))
    assert macs["convs.0"] == 2 * 28 * 28 * 36 and macs["head"] == 2 * 16 * 9 * 10
    whole = sum(macs.values())
    assert sparse_share(layers, macs) == pytest.approx((whole - macs["convs.0"]) / whole)


def test_masks_that_do_not_move_need_no_growth() -> None:
    run = run_with(StaticSparse(sparsity=0.5))
    train_sparse(net(), run, 0.5, "uniform", None, None)
    half = pytest.approx(0.5)
    assert run.log.notes == {"mask_updates": 0, "forward_flops_share": half, "training_flops_share": half}


def test_what_rigl_would_cost_by_hand() -> None:
    """(3 f_s dT + 2 f_s + f_d) / (dT + 1) over 3 f_d, with dT of 4 steps and a fifth of the weights."""
    run = run_with(Rigl(sparsity=0.8, every=0.1, distribution="uniform"))
    run.method.fit(net(), run)
    assert run.log.notes["training_flops_share"] == pytest.approx((0.6 * 4 + 0.4 + 1) / 5 / 3)


# -------------------------------------------------------------------- N:M


def test_two_of_four_by_hand() -> None:
    score = torch.tensor([[1.0, 4.0, 3.0, 2.0, 5.0, 5.0, 5.0, 5.0]])
    assert highest_in_groups(score, 2, 4).tolist() == [[0, 1, 1, 0, 1, 1, 0, 0]]  # ties by position
    assert highest_in_groups(score, 1, 4).tolist() == [[0, 1, 0, 0, 1, 0, 0, 0]]


def test_groups_of_a_convolution_run_along_its_inputs() -> None:
    weight = torch.arange(2 * 4 * 3.0).reshape(2, 4, 3, 1)
    assert grouped(weight, 4)[0].tolist() == weight[0, :, 0, 0].tolist()
    assert torch.equal(ungrouped(grouped(weight, 4), weight), weight)


def gradient_of(decay: float) -> tuple[Tensor, Tensor, Tensor]:
    weight = torch.tensor([[0.1, -0.4, 0.3, 0.2]], requires_grad=True)
    mask = highest_in_groups(weight.detach().abs(), 2, 4)
    (StraightThrough.apply(weight, mask, decay) * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert weight.grad is not None
    return weight.detach(), mask, weight.grad


def test_sr_ste_decays_only_what_is_masked_and_without_decay_is_ste() -> None:
    weight, mask, plain = gradient_of(0.0)
    assert mask.tolist() == [[0, 1, 1, 0]] and plain.tolist() == [[1, 2, 3, 4]]
    _, _, pulled = gradient_of(0.5)
    assert torch.allclose(pulled - plain, 0.5 * (1 - mask) * weight)


@pytest.mark.parametrize(("keep", "group"), [(2, 4), (1, 4)])
def test_the_pattern_is_exact_at_the_end(keep: int, group: int) -> None:
    run = run_with(SrSte(keep=keep, group=group))
    model = bake(run.method.fit(net(), run))
    for index in (0, 3, 5):
        assert ((model[index].weight.view(-1, group) != 0).sum(1) == keep).all()
    assert 0.0 <= run.log.notes["late_flips"] <= 1.0


def test_a_layer_that_groups_do_not_divide_stays_dense() -> None:
    run = run_with(SrSte(keep=1, group=8))
    assert zeros(bake(run.method.fit(net(), run))) == [0.0, 0.0, 0.0]


def test_decay_settles_the_masks() -> None:
    """SAD: with a strong pull fewer places flip late in training than under plain STE."""
    flips = {}
    for decay in (0.0, 1.0):
        run = run_with(SrSte(keep=1, group=4, decay=decay), steps=200)
        run.method.fit(net(), run)
        flips[decay] = run.log.notes["late_flips"]
    assert flips[1.0] <= flips[0.0]


def test_nm_mask_is_chosen_anew() -> None:
    layer = nn.Linear(4, 1, bias=False)
    parametrize.register_parametrization(layer, "weight", NmMask(1, 4, 0.0))
    for at in (1, 3):
        with torch.no_grad():
            layer.parametrizations.weight.original.copy_(nn.functional.one_hot(torch.tensor([at]), 4) + 0.1)
        assert layer.weight.nonzero().tolist() == [[0, at]]


# -------------------------------------------------------------------- movement


def test_the_score_gets_weight_times_gradient() -> None:
    weight = torch.tensor([[1.0, -2.0, 3.0]], requires_grad=True)
    score = torch.zeros(1, 3, requires_grad=True)
    out = Moved.apply(weight, score, torch.tensor([[1.0, 0.0, 1.0]]))
    assert out.tolist() == [[1, 0, 3]]
    (out * torch.tensor([[5.0, 6.0, 7.0]])).sum().backward()
    assert weight.grad is not None and weight.grad.tolist() == [[5, 0, 7]]
    assert score.grad is not None and score.grad.tolist() == [[5, -12, 21]]


def test_what_moves_away_from_zero_stays() -> None:
    """Two weights of one size, one growing and one shrinking under the loss: magnitude cannot tell them apart."""
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(0.5)
    scores = Scores(layer.weight)
    parametrize.register_parametrization(layer, "weight", scores)
    optimizer = torch.optim.SGD([scores.score], lr=1.0)
    (layer.weight * torch.tensor([[-1.0, 1.0]])).sum().backward()  # the first wants to grow
    optimizer.step()
    scores.sparsity = 0.5
    assert layer.weight.tolist() == [[0.5, 0.0]]


def test_movement_trains_and_ends_at_its_sparsity() -> None:
    run = run_with(MovementPruning(sparsity=0.6, finetune=0.5))
    start, model = net(), bake(run.method.adapt(net(), run))
    assert zeros(model) == [0.6] * 3 and run.log.steps == {"train": 20}
    assert not any("score" in name for name in model.state_dict())
    left = model[3].weight != 0
    assert not torch.equal(model[3].weight[left], start[3].weight[left])  # weights are tuned, too
