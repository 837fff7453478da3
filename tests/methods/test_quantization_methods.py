"""The reference methods of quantization against slow references, identities and by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.models.divided import Divided
from benchmarks.models.layers import layer_entry, layer_from
from methods.quantization.awq import best_scaled
from methods.quantization.bf16 import Bf16Linear
from methods.quantization.bitnet import Ternary, ternary
from methods.quantization.calibration import hessian, inverse_factor, output_error
from methods.quantization.gptq import round_with_errors
from methods.quantization.hqq import half_quadratic, shrink
from methods.quantization.int8 import Int8Linear
from methods.quantization.int8_static import Int8StaticLinear
from methods.quantization.int8_weight_only import Int8WeightLinear
from methods.quantization.layers import CodeLinear, PlaneLinear, multiplied, round_per_row
from methods.quantization.levels import LevelLinear, e2m1, nearest_level, normal_float
from methods.quantization.lsq import LearnedStep, codes_of
from methods.quantization.rounding import round_to_nearest
from methods.quantization.smoothquant import smoothing


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def correlated(rows: int, inputs: int) -> torch.Tensor:
    """Activations with a few directions and a few large channels, as in trained models."""
    x = torch.randn(rows, 4) @ torch.randn(4, inputs) + 0.3 * torch.randn(rows, inputs)
    return x * torch.exp(0.8 * torch.randn(inputs))


# ------------------------------------------------------------------ GPTQ


def slow_gptq(w: torch.Tensor, h: torch.Tensor, bits: int) -> torch.Tensor:
    """Optimal Brain Quantization's own recursion: the inverse of what is left, made anew for each column."""
    w = w.double().clone()
    h = h + 0.01 * h.diagonal().mean() * torch.eye(len(h), dtype=torch.float64)
    grid = round_to_nearest(w.float(), bits)
    scale, zero = grid.scale.double(), grid.zero.double()
    done = torch.zeros_like(w)
    for i in range(w.shape[1]):
        inverse = torch.linalg.inv(h[i:, i:])
        done[:, i] = (((w[:, i] / scale).round() + zero).clamp(0, 2**bits - 1) - zero) * scale
        w[:, i:] -= ((w[:, i] - done[:, i]) / inverse[0, 0])[:, None] * inverse[0]
    return done


def test_gptq_is_the_recursion_with_fresh_inverses() -> None:
    w, h = torch.randn(6, 16), hessian(correlated(200, 16))
    found = round_with_errors(w, h, 3, 16, symmetric=False).values().view(6, 16)
    torch.testing.assert_close(found.double(), slow_gptq(w, h, 3), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("symmetric", [False, True])
def test_gptq_with_an_identity_is_rounding(symmetric: bool) -> None:
    w = torch.randn(5, 24)
    found = round_with_errors(w, 2.5 * torch.eye(24, dtype=torch.float64), 4, 8, symmetric)
    plain = round_to_nearest(w.view(-1, 8), 4, symmetric)
    assert torch.equal(found.codes, plain.codes) and torch.equal(found.scale, plain.scale)
    assert torch.equal(found.zero, plain.zero)


def test_gptq_lowers_the_output_error_of_rounding() -> None:
    ours = plain = 0.0
    for _ in range(6):
        w, h = torch.randn(24, 32) / 32**0.5, hessian(correlated(300, 32))
        layer = nn.Linear(32, 24, bias=False)
        layer.weight.data = w
        ours += output_error(round_with_errors(w, h, 3, 32, False).values().view(24, 32) - w, h)
        plain += output_error(CodeLinear.of(layer, 3, 0, False).weight() - w, h)
    assert ours < 0.7 * plain


def test_inputs_that_are_never_seen_get_weights_of_zero() -> None:
    x = correlated(100, 12)
    x[:, 5] = 0.0
    found = round_with_errors(torch.randn(4, 12), hessian(x), 4, 12, False)
    assert (found.values().view(4, 12)[:, 5] == 0).all()


def test_the_factor_is_of_the_damped_inverse() -> None:
    h = hessian(correlated(50, 8))
    upper = inverse_factor(h)
    damped = h + 0.01 * h.diagonal().mean() * torch.eye(8, dtype=torch.float64)
    torch.testing.assert_close(upper.t() @ upper @ damped, torch.eye(8, dtype=torch.float64))
    assert torch.equal(upper, upper.triu())


def test_output_error_is_the_squared_error_of_outputs() -> None:
    x, change = correlated(40, 8).double(), torch.randn(3, 8).double()
    assert output_error(change, hessian(x)) == pytest.approx(2 / 40 * float((x @ change.t()).square().sum()))


# ------------------------------------------------------------------ AWQ, SmoothQuant


def test_awq_without_large_channels_is_rounding() -> None:
    linear = nn.Linear(16, 8, bias=False)
    x = torch.randn(400, 16).sign()  # every channel equally large: all exponents give s = 1
    found = best_scaled(linear, x, 4, 0)
    torch.testing.assert_close(found.weight(), CodeLinear.of(linear, 4, 0, False).weight())


def test_awq_is_never_worse_than_rounding_on_its_calibration_data() -> None:
    gained = 0
    for _ in range(5):
        linear, x = nn.Linear(32, 16, bias=False), correlated(200, 32)
        h = hessian(x)
        ours = output_error(best_scaled(linear, x, 3, 0).weight() - linear.weight, h)
        plain = output_error(CodeLinear.of(linear, 3, 0, False).weight() - linear.weight, h)
        assert ours <= plain
        gained += ours < 0.8 * plain
    assert gained >= 3


def test_smoothing_leaves_the_float_output() -> None:
    linear, x = nn.Linear(16, 8), correlated(50, 16)
    s = smoothing(x.abs().amax(0), linear.weight, 0.5)
    torch.testing.assert_close(multiplied(linear, s)(x / s), linear(x), rtol=1e-4, atol=1e-4)
    balanced = (x / s).abs().amax(0) / multiplied(linear, s).weight.abs().amax(0)
    torch.testing.assert_close(balanced, torch.ones(16), rtol=1e-2, atol=1e-2)  # alpha 0.5: equal ranges


def test_smoothing_helps_where_a_channel_is_large() -> None:
    linear, x = nn.Linear(64, 32, bias=False), torch.randn(200, 64)
    x[:, 7] *= 60.0
    s = smoothing(x.abs().amax(0), linear.weight, 0.5)
    smooth = Divided.of(Int8Linear.of(multiplied(linear, s)), s)
    exact = linear(x)
    assert (smooth(x) - exact).norm() < 0.5 * (Int8Linear.of(linear)(x) - exact).norm()


def test_a_divided_layer_is_stored_and_built_again() -> None:
    linear, x = nn.Linear(12, 6), torch.randn(3, 12)
    layer = Divided.of(CodeLinear.of(linear, 4, 4, False), torch.rand(12) + 0.5)
    again = layer_from(layer_entry(layer))
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), layer(x))
    torch.testing.assert_close(nn.functional.linear(x, layer.weight(), layer.inner.bias), layer(x))
    sizes = sum(t.numel() * t.element_size() for t in layer.state_dict().values())
    assert layer.stored_bytes() + layer.inner.stored_bytes() == sizes


# ------------------------------------------------------------------ HQQ


def test_shrink_minimises_its_own_objective() -> None:
    x, beta = torch.tensor([-2.0, -0.6, 0.05, 0.7, 3.0]), 4.0
    assert shrink(x, beta)[2] == 0.0
    by_hand = 3.0 - 3.0**-0.3 / beta
    assert float(shrink(x, beta)[4]) == pytest.approx(by_hand)
    torch.testing.assert_close(shrink(-x, beta), -shrink(x, beta))


def test_half_quadratic_lowers_the_mean_absolute_error() -> None:
    blocks = torch.distributions.StudentT(4.0).sample((64, 64))
    found, plain = half_quadratic(blocks, 3), round_to_nearest(blocks, 3)
    scale = plain.scale.float()[:, None]
    zero = -blocks.amin(1, keepdim=True).clamp(max=0.0) / scale  # where it starts: between two codes
    start = ((blocks / scale + zero).round().clamp(0, 7) - zero) * scale
    before, after = ((values - blocks).abs().mean(1) for values in (start, found.values()))
    assert (after <= before + 2e-3).all()  # zero points end in half precision
    assert after.mean() < 0.97 * before.mean()
    assert after.mean() < 0.95 * (plain.values() - blocks).abs().mean()
    assert found.zero.dtype == torch.half and torch.equal(found.scale, plain.scale)


# ------------------------------------------------------------------ tables of levels


def test_e2m1_rounds_to_even_and_saturates() -> None:
    x = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 7.0, -0.25, -0.75, -5.0, -9.0, 0.26])
    want = torch.tensor([0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 6.0, 0.0, -1.0, -4.0, -6.0, 0.5])
    assert torch.equal(e2m1()[nearest_level(x, e2m1()).long()], want)


def test_normal_float_has_the_published_levels() -> None:
    levels = normal_float()
    assert len(levels) == 16 and levels[7] == 0.0 and levels[0] == -1.0 and levels[15] == 1.0
    # QLoRA, appendix E
    published = torch.tensor([-0.6961928, -0.0910500, 0.0795803, 0.7229568])
    torch.testing.assert_close(levels[[1, 6, 8, 14]], published, atol=1e-6, rtol=0)


@pytest.mark.parametrize("table", ["nf4", "e2m1"])
def test_levels_are_nearest_and_come_back(table: str) -> None:
    linear = nn.Linear(32, 4)
    layer = LevelLinear.of(linear, 16, table)
    factors = layer.factors()
    levels = {"nf4": normal_float, "e2m1": e2m1}[table]()
    blocks = linear.weight.detach().view(-1, 16)
    slow = (blocks[:, :, None] - levels * factors[:, :, None]).abs().amin(-1)
    torch.testing.assert_close((layer.values() - blocks).abs(), slow)
    again = layer_from(layer_entry(layer))
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again.values(), layer.values())
    assert layer.stored_bytes() == 4 * 32 // 2 + (8 * 1 if table == "e2m1" else 8 * 2) + 16


def test_a_group_of_mxfp4_by_hand() -> None:
    linear = nn.Linear(4, 1, bias=False)
    linear.weight.data = torch.tensor([[3.1, -0.2, 0.8, 1.0]])  # floor(log2 3.1) - 2 = -1: levels times 1/2
    layer = LevelLinear.of(linear, 4, "e2m1")
    assert layer.scale.tolist() == [126]
    assert layer.weight().tolist() == [[3.0, -0.25, 0.75, 1.0]]


# ------------------------------------------------------------------ training with a grid


def test_lsq_gradients_by_finite_differences() -> None:
    weight = torch.tensor([[0.31, -0.74, 2.9, -3.3]], dtype=torch.float64)
    grid = LearnedStep(weight, 3).double()
    grid.step.data = torch.tensor([0.5], dtype=torch.float64)
    out = grid(weight)
    torch.testing.assert_close(out, torch.tensor([[0.5, -0.5, 1.5, -2.0]], dtype=torch.float64))
    slope = torch.autograd.grad(out.sum(), grid.step)[0]
    # equation 3: round(v) - v inside, the bounds outside; v = 0.62, -1.48, 5.8, -6.6
    want = (1 - 0.62) + (-1 + 1.48) + 3 - 4
    assert float(slope) == pytest.approx(want * grid.rate)


def test_outside_the_clip_the_step_moves_the_output_as_its_gradient_says() -> None:
    weight = torch.tensor([[9.0, -9.0]], dtype=torch.float64)
    grid = LearnedStep(weight, 3).double()

    def out(step: float) -> torch.Tensor:
        grid.step.data = torch.tensor([step], dtype=torch.float64)
        return grid(weight)[0]

    slopes = [torch.autograd.grad(out(0.5)[at], grid.step)[0] / grid.rate for at in (0, 1)]
    differences = (out(0.5 + 1e-6) - out(0.5)) / 1e-6
    torch.testing.assert_close(torch.cat(slopes), differences.detach(), rtol=1e-6, atol=0)


def test_lsq_passes_gradients_only_inside() -> None:
    weight = torch.tensor([[0.3, 9.0, -9.0]], requires_grad=True)
    grid = LearnedStep(torch.ones(1, 3), 3)
    grid.step.data = torch.tensor([0.5])
    grid(weight).sum().backward()
    assert weight.grad.tolist() == [[1.0, 0.0, 0.0]]


def test_lsq_stores_what_it_trained() -> None:
    linear = nn.Linear(16, 5)
    grid = LearnedStep(linear.weight, 4)
    grid.step.data = grid.step.data.half().float()
    torch.testing.assert_close(codes_of(linear, grid).weight(), grid(linear.weight).detach())


def test_bitnet_trits_by_hand_and_identity_gradient() -> None:
    weight = torch.tensor([[0.9, -0.1, -2.0, 0.2]], requires_grad=True)
    gamma, trits = ternary(weight)
    assert float(gamma) == pytest.approx(0.8) and trits.tolist() == [[1.0, 0.0, -1.0, 0.0]]
    (Ternary()(weight) * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert weight.grad.tolist() == [[1.0, 2.0, 3.0, 4.0]]


def test_rows_of_activations_are_rounded_on_their_own() -> None:
    x = torch.tensor([[1.0, -0.5, 0.2], [100.0, 1.0, 0.0]])
    found = round_per_row(x, 8)
    torch.testing.assert_close(found[0], torch.tensor([127.0, -64.0, 25.0]) / 127)  # 63.5 rounds to even
    assert found[1, 1] == pytest.approx(100 / 127)


def test_planes_with_rounded_activations_are_built_again() -> None:
    linear = nn.Linear(8, 3, bias=False)
    gamma, trits = ternary(linear.weight.detach())
    layer = PlaneLinear.of(linear, trits[None], gamma.expand(1, 3), levels=3)
    layer.activations = 8
    again = layer_from(layer_entry(layer))
    again.load_state_dict(layer.state_dict())
    x = torch.randn(4, 8)
    assert torch.equal(again(x), layer(x))
    torch.testing.assert_close(layer(x), round_per_row(x, 8) @ layer.weight().t())


# ------------------------------------------------------------------ kernels


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (Bf16Linear.of, "bf16"),
        (Int8WeightLinear.of, "int8_weight"),
        (lambda linear: Int8StaticLinear.calibrated(linear, 2.0 * torch.randn(200, 64)), "int8"),
        (lambda linear: Divided.of(Int8Linear.of(linear), torch.rand(64) + 0.5), "int8"),
    ],
)
def test_kernels_agree_with_their_reference(make: Any, name: str) -> None:
    layer = make(nn.Linear(64, 32))
    kernels = layer.kernels()
    if name not in kernels:
        pytest.skip(f"this device has no kernel {name}")
    for x in (torch.randn(1, 64), torch.randn(17, 64), torch.randn(2, 3, 64)):
        want, found = layer(x), kernels[name](x)
        assert found.shape == want.shape and found.dtype == torch.float32
        # one step of bfloat16, or one code of an activation that lies between two
        torch.testing.assert_close(found, want, rtol=2e-2, atol=2e-2)


def test_making_a_layer_leaves_its_source_alone() -> None:
    linear = nn.Linear(32, 8)
    before = copy.deepcopy(linear.state_dict())
    best_scaled(linear, correlated(50, 32), 4, 0)
    round_with_errors(linear.weight, hessian(correlated(50, 32)), 4, 32, False)
    assert all(torch.equal(before[name], value) for name, value in linear.state_dict().items())
