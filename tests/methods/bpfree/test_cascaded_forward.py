"""Cascaded-Forward: predictors against slow references, blocks that no predictor teaches."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from benchmarks import artefacts
from benchmarks.tasks.fashion_cnn import FashionCnn
from methods.bpfree.cascaded_forward import CascadedForward
from methods.bpfree.local import Readout
from methods.bpfree.predictors import Gram, fill, log_shares, shares, sparsemax, sparsemax_loss

# ---------------------------------------------------------------- predictors


def slow_projection(z: np.ndarray) -> np.ndarray:
    """Euclidean projection on the simplex: bisection on tau with sum max(z - tau, 0) = 1."""
    low, high = z.min() - 1.0, z.max()
    for _ in range(200):
        tau = (low + high) / 2
        low, high = (tau, high) if np.maximum(z - tau, 0).sum() > 1 else (low, tau)
    return np.maximum(z - (low + high) / 2, 0)


def test_sparsemax_against_bisection():
    random = torch.Generator().manual_seed(0)
    z = torch.randn(200, 7, generator=random, dtype=torch.float64) * torch.logspace(-2, 2, 200)[:, None]
    found = sparsemax(z)
    wanted = torch.from_numpy(np.stack([slow_projection(row) for row in z.numpy()]))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)
    assert (found == 0).any() and (found.count_nonzero(1) > 1).any()


def test_sparsemax_with_ties_is_alike_for_equals():
    z = torch.tensor([[1.0, 1.0, 1.0, -5.0], [3.0, 3.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(
        sparsemax(z), torch.tensor([[1 / 3, 1 / 3, 1 / 3, 0], [0.5, 0.5, 0, 0]]).double()
    )


def test_sparsemax_loss_has_the_papers_gradient_and_value():
    """p - onehot; and -z_y + sum over the support of (z_j^2 - tau^2) / 2 + 1/2 (Martins and Astudillo, eq. 19)."""
    random = torch.Generator().manual_seed(1)
    z = torch.randn(30, 5, generator=random, dtype=torch.float64, requires_grad=True)
    y = torch.arange(30) % 5
    value = sparsemax_loss(z, y)
    (slope,) = torch.autograd.grad(value, z)
    p = sparsemax(z.detach())
    torch.testing.assert_close(slope, (p - one_hot(y, 5)) / 30)
    support = p > 0
    tau = ((z * support).sum(1) - 1) / support.sum(1)
    wanted = -z[torch.arange(30), y] + 0.5 * (support * (z**2 - tau[:, None] ** 2)).sum(1) + 0.5
    torch.testing.assert_close(value, wanted.mean())


def features(seed: int = 0, items: int = 300, width: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    f = torch.randn(items, width, generator=random, dtype=torch.float64).relu()
    return f, torch.randint(0, 4, (items,), generator=random)


def test_the_residual_of_least_squares_is_orthogonal_to_the_features():
    f, y = features()
    gram = Gram()
    for at in range(0, 300, 64):  # in pieces, the last one short
        gram.add(f[at : at + 64], y[at : at + 64], 4)
    full, target = torch.cat([f, torch.ones(300, 1)], 1).double(), one_hot(y, 4).double()
    exact = gram.solve(0.0)
    residual = target - full @ exact
    assert residual.abs().max() > 0.1
    assert (full.T @ residual).abs().max() < 1e-9
    wanted = np.linalg.lstsq(full.numpy(), target.numpy(), rcond=None)[0]
    np.testing.assert_allclose(exact.numpy(), wanted, atol=1e-10)


def test_ridge_leaves_eps_times_the_weights():
    """F^T (Y - F W) = eps W, the normal equation with a ridge."""
    f, y = features()
    gram = Gram()
    gram.add(f, y, 4)
    full, target = torch.cat([f, torch.ones(300, 1)], 1).double(), one_hot(y, 4).double()
    weights = gram.solve(0.1)
    eps = 0.1 * (full**2).sum(0).mean()
    torch.testing.assert_close(full.T @ (target - full @ weights), eps * weights)


def test_a_predictor_is_filled_with_the_solution():
    f, y = features()
    predictor = nn.Linear(20, 4).double()
    fill(predictor, [(f, y)], 0.0)
    gram = Gram()
    gram.add(f, y, 4)
    torch.testing.assert_close(predictor(f), torch.cat([f, torch.ones(300, 1)], 1).double() @ gram.solve(0.0))


def test_shares_and_their_logs():
    z = torch.tensor([[2.0, 0.0, -1.0]], dtype=torch.float64)
    torch.testing.assert_close(shares(z, "cross_entropy"), z.softmax(1))
    assert torch.equal(shares(z, "least_squares"), z) and shares(z, "sparsemax").tolist() == [[1, 0, 0]]
    assert log_shares(z).argmax(1).item() == 0 and torch.isfinite(log_shares(z)).all()


# ---------------------------------------------------------------- the method


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_predictors_teach_no_block(make_run, batch):
    """The gradient of a predictor's loss in every block and in every other predictor is exactly none."""
    run = make_run(CascadedForward())
    model = run.method.build(run)
    for at, predictor in enumerate(model.predictors):
        model.zero_grad(set_to_none=True)
        readout = Readout(list(model.blocks[: at + 1]), nn.Sequential(nn.Flatten(), predictor))
        run.method._loss(run)(readout, batch).backward()
        assert all(parameter.grad is None for parameter in model.blocks.parameters())
        assert [one.weight.grad is not None for one in model.predictors] == [
            other == at for other in range(3)
        ]


@pytest.mark.parametrize("predictor", ["cross_entropy", "sparsemax", "least_squares"])
@pytest.mark.parametrize("task", ["mlp", "cnn"])
def test_random_blocks_stay_and_predictors_learn(make_run, tmp_path, predictor, task):
    cnn = FashionCnn(width=2, images=256, epochs=3) if task == "cnn" else None
    run = make_run(CascadedForward(predictor=predictor), task=cnn)
    model = run.method.build(run)
    blocks, before = weights(model.blocks), weights(model.predictors)
    run.method.fit(model, run)
    assert all(torch.equal(a, b) for a, b in zip(weights(model.blocks), blocks, strict=True))
    assert all(not torch.equal(a, b) for a, b in zip(weights(model.predictors), before, strict=True))
    assert set(run.log.steps) == {"predictor1", "predictor2", "predictor3"}
    x = run.task.inputs(run.train["x"][:8])
    model.eval()
    answered = model(x)
    fresh = lambda: run.method.build(run)  # noqa: E731
    artefacts.save(tmp_path / "cell", artefacts.bake(copy.deepcopy(model)), {"builder": {}}, {}, fresh)
    back = artefacts.load_tensors(
        tmp_path / "cell", fresh(), artefacts.read_spec(tmp_path / "cell"), run.device
    )
    assert torch.equal(back.eval()(x), answered)


def test_blocks_learn_first_and_are_then_frozen(make_run):
    run = make_run(CascadedForward(blocks="dfa"), epochs=12)
    model = run.method.build(run)
    seen: dict[str, Any] = {}
    steps = run.steps

    def watched(part: nn.Module, **how: Any) -> Any:
        seen[how["phase"]] = weights(model.blocks)
        yield from steps(part, **how)

    run.steps = watched  # type: ignore[method-assign]
    run.method.fit(model, run)
    states = [*seen.values(), weights(model.blocks)]
    same = [
        all(torch.equal(a, b) for a, b in zip(*pair, strict=True))
        for pair in zip(states, states[1:], strict=False)
    ]
    assert list(seen) == ["blocks", "predictor1", "predictor2", "predictor3"]
    assert same == [False, True, True, True]
    assert run.log.steps == {"blocks": 12, "predictor1": 4, "predictor2": 4, "predictor3": 4}


def test_least_squares_takes_one_pass_whatever_the_budget(make_run):
    run = make_run(CascadedForward(predictor="least_squares", budget=4.0))
    run.method.fit(run.method.build(run), run)
    assert run.log.steps == {"predictor1": 2, "predictor2": 2, "predictor3": 2}
    assert run.log.spent["flops"] == 3 * (2 * 13**3 // 3)


def test_the_answer_is_the_sum_of_shares(make_run, batch):
    run = make_run(CascadedForward())
    model = run.method.build(run).double()
    a, total = run.task.inputs(batch["x"]).double(), 0.0
    for block, predictor in zip(model.blocks, model.predictors, strict=True):
        a = (a @ block[0].weight.T + block[0].bias).clamp(min=0)
        total = total + torch.softmax(a @ predictor.weight.T + predictor.bias, 1)
    torch.testing.assert_close(model(run.task.inputs(batch["x"]).double()), total.log())
