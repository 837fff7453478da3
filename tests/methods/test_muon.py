"""Muon against the SVD, against torch's own, and in the training loop."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.models.optimizers import (
    Joint,
    Orthogonal,
    adam_scale,
    adamw,
    hidden_matrices,
    newton_schulz,
    others,
    polar,
    spectral_scale,
)
from benchmarks.models.transformer import Decoder
from benchmarks.run import Run, schedule
from benchmarks.tasks.text_gpt import TextGpt
from methods.training.muon import Muon


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def parameters(*shapes: tuple[int, int]) -> list[nn.Parameter]:
    return [nn.Parameter(torch.randn(shape)) for shape in shapes]


@pytest.mark.parametrize("shape", [(32, 256), (64, 192), (64, 64)])
def test_singular_values_end_near_one(shape: tuple[int, int]) -> None:
    stack = torch.randn(3, *shape)
    values = torch.linalg.svdvals(newton_schulz(stack))
    assert values.max() < 1.25
    assert 0.68 < values.median() < 1.2
    if shape[0] != shape[1]:  # square matrices have singular values near 0, which five steps do not lift
        assert values.min() > 0.6
    u, _, vt = torch.linalg.svd(stack, full_matrices=False)
    inside = u.mT @ newton_schulz(stack) @ vt.mT  # the singular vectors stay: nothing beside the diagonal
    assert (inside - torch.diag_embed(inside.diagonal(dim1=-2, dim2=-1))).abs().max() < 1e-4


def test_direction_does_not_know_the_gradients_scale() -> None:
    stack = torch.randn(2, 16, 40)
    assert torch.allclose(newton_schulz(stack), newton_schulz(1000.0 * stack), atol=1e-4)


def test_two_steps_by_hand_with_the_exact_polar_factor() -> None:
    (weight,) = parameters((6, 4))
    weight.data = weight.data.double()
    start, gradients = weight.detach().clone(), torch.randn(2, 6, 4).double()
    muon = Orthogonal([weight], 0.1, 0.9, 0.5, polar, spectral_scale)
    for gradient in gradients:
        weight.grad = gradient.clone()
        muon.step()
    momentum, wanted = torch.zeros(6, 4).double(), start
    for gradient in gradients:
        momentum = 0.9 * momentum + gradient
        u, _, vt = torch.linalg.svd(gradient + 0.9 * momentum, full_matrices=False)
        wanted = wanted - 0.1 * 0.5 * wanted - 0.1 * (6 / 4) ** 0.5 * (u @ vt)
    assert torch.allclose(weight, wanted, atol=1e-12)


@pytest.mark.parametrize(("scale", "name"), [(adam_scale, "match_rms_adamw"), (spectral_scale, "original")])
def test_torchs_own_muon_goes_the_same_way(scale, name: str) -> None:
    shapes = [(24, 24), (24, 72), (72, 24), (24, 24)]
    ours = parameters(*shapes)
    theirs = [nn.Parameter(weight.detach().clone()) for weight in ours]
    start = [weight.detach().clone() for weight in ours]
    mine = Orthogonal(ours, 0.02, 0.95, 0.1, newton_schulz, scale)
    peer = torch.optim.Muon(
        theirs, lr=0.02, momentum=0.95, weight_decay=0.1, nesterov=True, adjust_lr_fn=name
    )
    for _ in range(4):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        mine.step()
        peer.step()
    for a, b, begun in zip(ours, theirs, start, strict=True):
        apart, moved = (a - b).norm(), (b - begun).norm()
        assert apart < 0.03 * moved  # theirs iterates in bfloat16


def test_matrices_that_share_a_stack_do_not_meet() -> None:
    shapes = [(8, 20), (20, 8), (8, 20), (8, 8)]
    together, alone = parameters(*shapes), []
    for weight in together:
        weight.grad = torch.randn_like(weight)
        single = nn.Parameter(weight.detach().clone())
        single.grad = weight.grad.clone()
        Orthogonal([single], 0.1, 0.95, 0.0, newton_schulz, adam_scale).step()
        alone.append(single)
    Orthogonal(together, 0.1, 0.95, 0.0, newton_schulz, adam_scale).step()
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(together, alone, strict=True))


def test_an_update_has_the_size_of_adams() -> None:
    (weight,) = parameters((64, 192))
    before = weight.detach().clone()
    weight.grad = torch.randn_like(weight)
    Orthogonal([weight], 0.01, 0.95, 0.0, polar, adam_scale).step()
    assert (weight - before).square().mean().sqrt().item() == pytest.approx(0.01 * 0.2, rel=1e-3)


def test_which_weights_are_orthogonalised() -> None:
    model = Decoder(11, 16, 2, 4)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    chosen = hidden_matrices(model)
    rest = {names[id(parameter)] for parameter in others(model, chosen)}
    assert len(chosen) == 2 * 7
    assert rest == {name for name in names.values() if name.startswith(("embed", "head")) or "norm" in name}
    assert len(chosen) + len(rest) == len(names)


def test_the_loop_scales_all_rates_and_both_parts_move(monkeypatch: pytest.MonkeyPatch) -> None:
    task = TextGpt(**TextGpt.small)
    method = Muon(budget=0.05, lr_factor=2.0)
    text = torch.randint(80, (64, task.context + 1), dtype=torch.uint8)
    run = Run(task, method, 0, torch.device("cpu"), {"text": text}, {})
    rates: list[list[float]] = []
    step = Joint.step
    monkeypatch.setattr(
        Joint,
        "step",
        lambda self: (rates.append([group["lr"] for group in self.param_groups]), step(self))[1],
    )
    model = task.model(run)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    method.fit(model, run)
    recipe = run.recipe
    assert recipe.lr == pytest.approx(2.0 * task.recipe.lr)
    assert len(rates) == recipe.steps == round(0.05 * task.recipe.steps)
    for number, row in enumerate(rates):
        assert row == pytest.approx([recipe.lr * schedule(recipe, number / recipe.steps)] * 3)
    assert all((parameter != before[name]).any() for name, parameter in model.named_parameters())


def test_decay_acts_on_matrices_only() -> None:
    model = Decoder(11, 16, 1, 4)
    recipe = TextGpt().recipe
    rest = others(model, hidden_matrices(model))
    optimizer = adamw(rest, recipe.lr, recipe.betas, recipe.weight_decay)
    decays = {
        tuple(p.shape): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    assert decays == {(11, 16): 0.1, (16,): 0.0}
