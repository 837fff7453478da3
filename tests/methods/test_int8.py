# ruff: noqa: E501
"""Dynamic int8: what is stored comes back exactly, the reference is the kernel, errors stay in their bounds."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from benchmarks.costs import forms, size_costs
from benchmarks.models.layers import LAYERS
from methods.quantization.int8 import Int8Dynamic, Int8Linear

KERNEL = pytest.mark.skipif(
    not Int8Linear(1, 1, False).kernels(), reason="this device has no kernel for dynamic int8 products"
)
SHAPES = [(1, 1, True), (7, 5, True), (16, 32, False), (300, 100, True)]


def linear(inputs: int, outputs: int, bias: bool = True, seed: int = 0, scale: float = 1.0) -> nn.Linear:
    torch.manual_seed(seed)
    layer = nn.Linear(inputs, outputs, bias=bias)
    with torch.no_grad():
        layer.weight.mul_(scale * torch.logspace(-2, 1, outputs)[:, None])  # rows of very different size
    return layer


def by_hand(layer: Int8Linear, x: torch.Tensor) -> torch.Tensor:
    """Jacob et al. (2018), equations 1 and 4, in float64 from the stored integers."""
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    step = torch.tensor(max((high - low) / 255.0, 1e-12), dtype=torch.float32).double()
    zero = (-torch.tensor(low) / step.float()).round().double()
    step = step.clamp(min=torch.tensor(6.1e-5).double())  # torch's smallest
    integers = ((x.float() / step.float()).round().double() + zero).clamp(0, 255) - zero
    product = integers @ layer.weight_q.double().T
    out = product * step * layer.scale.double()
    return out if layer.bias is None else out + layer.bias.double()


# -------------------------------------------------------------------- weights


@pytest.mark.parametrize(("inputs", "outputs", "bias"), SHAPES)
def test_rows_are_rounded_to_half_a_step(inputs: int, outputs: int, bias: bool) -> None:
    source = linear(inputs, outputs, bias)
    layer = Int8Linear.of(source)
    restored = layer.weight_q.double() * layer.scale.double()[:, None]
    step = source.weight.double().abs().amax(1) / 127
    assert ((restored - source.weight.double()).abs() <= 0.5001 * step[:, None]).all()
    assert (layer.weight_q.abs().amax(1) == 127).all()  # the largest of each row uses the whole range
    assert layer.weight_q.dtype == torch.int8 and layer.weight_q.min() >= -127


def test_weights_of_another_scale_have_the_same_codes() -> None:
    source = linear(20, 6)
    larger = copy.deepcopy(source)
    with torch.no_grad():
        larger.weight.mul_(64)
    assert torch.equal(Int8Linear.of(source).weight_q, Int8Linear.of(larger).weight_q)


def test_a_row_of_zeros_stays_zero() -> None:
    source = linear(4, 3)
    with torch.no_grad():
        source.weight[1] = 0.0
    layer = Int8Linear.of(source)
    assert not layer.weight_q[1].any() and torch.isfinite(layer.scale).all()
    assert torch.equal(layer(torch.randn(5, 4))[:, 1], source.bias[1].detach().expand(5))


@pytest.mark.parametrize(("inputs", "outputs", "bias"), SHAPES)
def test_what_is_stored_comes_back_exactly(inputs: int, outputs: int, bias: bool) -> None:
    layer = Int8Linear.of(linear(inputs, outputs, bias))
    again = LAYERS["methods.quantization.int8:int8_linear"](**layer.args())
    again.load_state_dict(layer.state_dict())
    x = torch.randn(9, inputs)
    assert torch.equal(again(x), layer(x)) and again.args() == layer.args()
    assert {name: t.dtype for name, t in again.state_dict().items()} == {
        name: t.dtype for name, t in layer.state_dict().items()
    }


def test_bytes_by_hand() -> None:
    layer = Int8Linear.of(linear(300, 100))
    assert layer.stored_params() == 300 * 100 + 100
    assert layer.stored_bytes() == 300 * 100 + 4 * 100 + 4 * 100  # codes, scales, biases
    assert Int8Linear.of(linear(300, 100, bias=False)).stored_bytes() == 300 * 100 + 4 * 100


# -------------------------------------------------------------------- activations


@pytest.mark.parametrize(("inputs", "outputs", "bias"), SHAPES)
@pytest.mark.parametrize("spread", ["both signs", "positive", "negative", "tiny", "huge"])
def test_the_reference_is_the_papers_product(inputs: int, outputs: int, bias: bool, spread: str) -> None:
    x = torch.randn(11, inputs)
    x = {"both signs": x, "positive": x.abs(), "negative": -x.abs(), "tiny": 1e-4 * x, "huge": 1e4 * x}[
        spread
    ]
    layer = Int8Linear.of(linear(inputs, outputs, bias))
    expected = by_hand(layer, x)
    scale = (x.abs().max() * layer.weight_q.float().abs().sum(1) * layer.scale).double()
    scale = scale if layer.bias is None else scale + layer.bias.abs().double()
    assert ((layer(x).double() - expected).abs() <= 1e-6 * scale).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.floats(1e-3, 1e3))
def test_the_error_of_a_row_stays_in_its_bound(seed: int, inputs: int, scale: float) -> None:
    """|y - y_q| <= half a weight step x sum|x_q| + half an input step x sum|w|, row by row."""
    source = linear(inputs, 6, seed=seed, scale=scale)
    x = torch.randn(4, inputs, generator=torch.Generator().manual_seed(seed))
    layer = Int8Linear.of(source)
    with torch.no_grad():
        error = (layer(x).double() - source(x).double()).abs()
    low, high = x.min().clamp(max=0.0), x.max().clamp(min=0.0)
    input_step = max(float((high - low) / 255), 6.1e-5)
    x_size = x.double().abs() + input_step
    bound = 0.5 * layer.scale.double() * x_size.sum(
        1, keepdim=True
    ) + input_step * source.weight.double().abs().sum(1)
    assert (error <= 1.01 * bound + 1e-5 * float(source(x).detach().abs().max())).all()


def test_an_input_of_zeros_gives_the_bias() -> None:
    source = linear(8, 3)
    assert torch.equal(Int8Linear.of(source)(torch.zeros(2, 8)), source.bias.detach().expand(2, 3))


def test_leading_axes_are_kept() -> None:
    layer, x = Int8Linear.of(linear(6, 4)), torch.randn(2, 3, 6)
    assert layer(x).shape == (2, 3, 4) and torch.allclose(layer(x).view(6, 4), layer(x.view(6, 6)))


# -------------------------------------------------------------------- the kernel


@KERNEL
@pytest.mark.parametrize(("inputs", "outputs", "bias"), SHAPES)
@pytest.mark.parametrize("spread", [1.0, 1e-4, 1e4])
def test_the_kernel_is_the_reference(inputs: int, outputs: int, bias: bool, spread: float) -> None:
    """To rounding of the last bit of a sum of products of that size."""
    layer = Int8Linear.of(linear(inputs, outputs, bias))
    kernel = layer.kernels()["int8"]
    for seed in range(5):
        x = spread * torch.randn(13, inputs, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            ours, theirs = layer(x).double(), kernel(x).double()
        size = (x.abs().max() * layer.weight_q.float().abs().sum(1) * layer.scale).double()
        size = size if layer.bias is None else size + layer.bias.abs().double()
        # where an input stands on half a step the two may round to either side: one step of one input at most
        step = max(float((x.max().clamp(min=0) - x.min().clamp(max=0)) / 255), 6.1e-5)
        tie = step * (layer.weight_q.float().abs().amax(1) * layer.scale).double()
        apart = (ours - theirs).abs()
        assert (apart <= 1e-6 * size + tie).all()
        assert (apart <= 1e-6 * size).double().mean() > 0.97


@KERNEL
def test_the_kernel_is_a_form_of_the_model() -> None:
    model = Int8Dynamic().adapt(nn.Sequential(linear(6, 8), nn.ReLU(), linear(8, 3)), None)
    found = forms(model)
    assert set(found) == {"int8"}
    x = torch.randn(5, 6)
    assert torch.allclose(
        found["int8"](x), model(x), rtol=1e-4, atol=1e-4 * float(model(x).detach().abs().max())
    )


# -------------------------------------------------------------------- the method


class Special(nn.Linear):
    """A subclass of Linear is somebody's own: it stays."""


def test_every_plain_linear_layer_is_replaced_and_no_other() -> None:
    model: Any = nn.ModuleDict(
        {
            "a": nn.Sequential(linear(4, 4), nn.ReLU()),
            "b": Special(4, 4),
            "c": nn.Conv1d(1, 1, 1),
            "d": linear(4, 2),
        }
    )
    adapted = Int8Dynamic().adapt(model, None)
    kinds = {
        name: type(module).__name__ for name, module in adapted.named_modules() if not list(module.children())
    }
    assert kinds == {"a.0": "Int8Linear", "a.1": "ReLU", "b": "Special", "c": "Conv1d", "d": "Int8Linear"}


def test_a_quarter_of_the_bytes() -> None:
    plain = nn.Sequential(linear(64, 64), nn.ReLU(), linear(64, 64))
    before = size_costs(plain)
    after = size_costs(Int8Dynamic().adapt(plain, None))
    assert after["params"] == before["params"]
    assert after["stored_bytes"] == 2 * (64 * 64 + 2 * 4 * 64)
