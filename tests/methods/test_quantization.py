"""Methods of quantization: what is stored is what is served, sizes by hand, heads that stay as they are."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import artefacts
from benchmarks.costs import forms, size_costs
from benchmarks.counting import count
from benchmarks.run import Run
from benchmarks.tasks.fashion_mlp import FashionMlp
from benchmarks.tasks.text_gpt import TextGpt
from methods.quantization.binary_planes import BinaryPlanes
from methods.quantization.int8 import Int8Dynamic
from methods.quantization.layers import CodeLinear, PackedLinear, PlaneLinear
from methods.quantization.ptqtp import Ptqtp
from methods.quantization.rtn import RoundToNearest
from methods.quantization.ternary import Ternary

METHODS = [
    RoundToNearest(bits=8),
    RoundToNearest(bits=3, group=32),
    RoundToNearest(bits=4, group=0, symmetric=True),
    RoundToNearest(bits=2, group=16),
    Ptqtp(),
    Ptqtp(group=0),
    Ternary(),
    BinaryPlanes(),
    BinaryPlanes(planes=3, group=32),
]


def named(method: Any) -> str:
    return f"{type(method).__name__}-{getattr(method, 'bits', '')}-{method.group}"


def run_of(task: Any, method: Any, seed: int = 0) -> Run:
    return Run(task, method, seed, torch.device("cpu"), {}, {})


def gaussian(blocks: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(blocks, size, generator=torch.Generator().manual_seed(seed))


def relative_mse(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact.double()).square().sum() / exact.double().square().sum())


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(192, 40), nn.ReLU(), nn.Linear(40, 30, bias=False))


def quantized(method: Any, model: nn.Module) -> tuple[nn.Module, Run]:
    run = run_of(FashionMlp(), method)
    return method.adapt(copy.deepcopy(model), run), run


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_an_artefact_is_the_same_model(method: Any, net: nn.Module, tmp_path: Any) -> None:
    model, run = quantized(method, net)
    fresh = lambda: nn.Sequential(nn.Linear(192, 40), nn.ReLU(), nn.Linear(40, 30, bias=False))  # noqa: E731
    artefacts.save(tmp_path / "a", model, {"builder": {}}, {}, fresh)
    loaded = artefacts.load_tensors(tmp_path / "a", fresh(), artefacts.read_spec(tmp_path / "a"), run.device)
    x = gaussian(5, 192, seed=9)
    assert torch.equal(loaded(x), model(x))
    assert size_costs(loaded) == size_costs(model)
    assert [type(layer) for layer in loaded] == [type(layer) for layer in model]
    # what is stored is packed: no float weights hide in it
    assert {tensor.dtype for name, tensor in loaded.state_dict().items() if "bias" not in name} == {
        torch.uint8,
        torch.half,
    }


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_the_reference_is_the_product_with_the_stored_weights(method: Any, net: nn.Module) -> None:
    model, run = quantized(method, net)
    x = gaussian(7, 192, seed=10)
    for layer, exact in zip([model[0], model[2]], [net[0], net[2]], strict=True):
        assert isinstance(layer, PackedLinear)
        wanted = x.double() @ layer.weight().double().T + (0 if layer.bias is None else layer.bias.double())
        torch.testing.assert_close(layer(x).double(), wanted, rtol=1e-5, atol=1e-5)
        assert layer.bias is exact.bias is None or torch.equal(layer.bias, exact.bias)
        x = x[:, : exact.out_features]
    stored = torch.cat([layer.weight().flatten() for layer in (model[0], model[2])])
    exact = torch.cat([layer.weight.detach().flatten() for layer in (net[0], net[2])])
    assert run.log.notes["relative_mse"] == pytest.approx(relative_mse(stored, exact), rel=1e-6)
    assert forms(model) == {}  # no kernel: time is null


def test_stored_bits_by_hand(net: nn.Module) -> None:
    weights, rows, biases = 192 * 40 + 40 * 30, (40, 30), 4 * 40
    expected = {
        # codes; a scale of two bytes and a zero point of as many bits as a code for each group
        RoundToNearest(bits=3, group=32): 3 * weights // 8
        + 2 * (240 + 60)
        + (3 * 240 // 8)
        + 23,  # 60 groups of 20
        RoundToNearest(bits=8, group=0): weights + 2 * sum(rows) + sum(rows),
        RoundToNearest(bits=4, group=0, symmetric=True): weights // 2 + 2 * sum(rows),
        # groups of 96 and of 40; 7,680 and 1,200 trits are 1,536 and 240 bytes a plane
        Ptqtp(): 2 * (1536 + 240) + 2 * 2 * (80 + 30),
        Ternary(): 1536 + 240 + 2 * (80 + 30),
        BinaryPlanes(): 2 * weights // 8 + 2 * 2 * (80 + 30),
    }
    for method, size in expected.items():
        model, run = quantized(method, net)
        costs = size_costs(model)
        assert costs["stored_bytes"] == size + biases, named(method)
        assert costs["params"] == weights + 40
        assert run.log.notes["bits_per_weight"] == pytest.approx(8 * size / weights)
        zeros = sum(int((layer.weight() == 0).sum()) for layer in model if isinstance(layer, PackedLinear))
        assert costs["nonzero"] == weights + 40 - zeros
    assert CodeLinear(192, 40, True, 32, 3, False).stored_params() == 192 * 40 + 40


def test_packed_layers_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="groups of 5 do not divide rows of 12"):
        PlaneLinear(12, 2, False, 5, 2, 3)


def test_embedding_and_head_stay() -> None:
    task = TextGpt(width=16, heads=2, depth=1)
    run = run_of(task, Ptqtp())
    torch.manual_seed(0)
    model = task.model(run)
    embed, head = model.embed.weight.clone(), model.head.weight.clone()
    Ptqtp().adapt(model, run)
    assert torch.equal(model.embed.weight, embed) and torch.equal(model.head.weight, head)
    kinds = {
        path.rpartition(".")[2]: type(module)
        for path, module in model.named_modules()
        if not list(module.children())
    }
    assert [kinds[name] for name in ("q", "k", "v", "out", "gate", "up", "down")] == [PlaneLinear] * 7
    assert kinds["head"] is nn.Linear
    # the whole of a fully connected network is quantized: its last layer is no head of a vocabulary
    model = RoundToNearest().adapt(FashionMlp(width=8).model(run), run)
    assert [type(layer) for layer in model.layers] == [CodeLinear] * 3


def test_the_count_of_the_emulation_is_the_products(net: nn.Module) -> None:
    for method in METHODS:
        model, _ = quantized(method, net)
        assert count(lambda model=model: model(torch.zeros(4, 192))).flops == 2 * 4 * (192 * 40 + 40 * 30)


def test_int8_of_a_pruned_model_is_counted_as_stored(net: nn.Module) -> None:
    """Nine tenths of the weights gone: a mask and what is left are stored, and zeros are not counted."""
    pruned = copy.deepcopy(net)
    with torch.no_grad():
        for layer in (pruned[0], pruned[2]):
            cut = layer.weight.abs().flatten().kthvalue(int(0.9 * layer.weight.numel())).values
            layer.weight[layer.weight.abs() <= cut] = 0.0
            layer.weight[0] = layer.weight[0].clamp(
                -1e-3, 1e-3
            )  # small, not zero: its row's scale is small, too
    left = sum(int((layer.weight != 0).sum()) for layer in (pruned[0], pruned[2]))
    model = Int8Dynamic().adapt(copy.deepcopy(pruned), run_of(FashionMlp(), Int8Dynamic()))
    codes = sum(int((layer.weight_q != 0).sum()) for layer in (model[0], model[2]))
    assert codes <= left < 0.11 * (192 * 40 + 40 * 30)
    costs = size_costs(model)
    assert costs["nonzero"] == codes + 40 and costs["params"] == 192 * 40 + 40 * 30 + 40
    mask = (192 * 40 + 40 * 30) // 8
    assert costs["stored_bytes"] == mask + codes + 4 * (40 + 30) + 4 * 40
    assert costs["stored_bytes"] < size_costs(pruned)["stored_bytes"]
    dense = size_costs(Int8Dynamic().adapt(copy.deepcopy(net), run_of(FashionMlp(), Int8Dynamic())))
    assert dense["stored_bytes"] == 192 * 40 + 40 * 30 + 4 * (40 + 30) + 4 * 40
