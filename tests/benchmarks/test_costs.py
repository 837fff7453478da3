# ruff: noqa: E501
"""Counted cost against sums by hand, and the forms in which a model can be timed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.costs import forms, model_cost, size_costs, workload_costs
from benchmarks.models.kernels import own_forms
from benchmarks.models.layers import Layer, dense_bytes
from benchmarks.tasks.base import Workload


class Packed(Layer):
    """A linear layer in int8; kernels as the test wants them."""

    name = "packed_for_costs"
    kernel_names: tuple[str, ...] = ()

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("weight_q", torch.ones(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(outputs))

    def args(self) -> dict[str, Any]:
        return {}

    def stored_params(self) -> int:
        return self.weight_q.numel()

    def forward(self, x: Tensor) -> Tensor:
        return x @ (self.weight_q * self.scale[:, None]).T

    def kernels(self) -> dict[str, nn.Module]:
        return {name: nn.Linear(self.weight_q.shape[1], self.weight_q.shape[0]) for name in self.kernel_names}


class Fast(Packed):
    """Has two kernels."""

    kernel_names = ("int8", "quick")


class Faster(Packed):
    """Has one of them."""

    kernel_names = ("int8",)


class Net(nn.Module):
    """Two layers, a norm with statistics, a buffer that is a cache."""

    def __init__(self, first: nn.Module | None = None) -> None:
        super().__init__()
        self.first = first or nn.Linear(6, 10)
        self.norm = nn.BatchNorm1d(10)
        self.last = nn.Linear(10, 3, bias=False)
        self.register_buffer("cache", torch.zeros(1000), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x)))


def test_sizes_by_hand() -> None:
    weights = 60 + 10 + 10 + 10 + 30
    statistics = 4 * (10 + 10) + 8  # running mean and variance, and how many batches were seen (int64)
    assert size_costs(Net()) == {
        "params": weights,
        "nonzero": weights,
        "stored_bytes": 4 * weights + statistics,
    }


def test_zeros_are_not_paid_for() -> None:
    net = Net()
    with torch.no_grad():
        net.first.weight.view(-1)[:45] = 0.0
        net.first.bias.zero_()  # vectors count in full: a bias that starts at zero is no pruning
    found = size_costs(net)
    assert found["nonzero"] == found["params"] - 45
    mask = 60 // 8 + 1 + 15 * 4  # a bit each and the 15 numbers that are left
    assert found["stored_bytes"] == mask + 4 * 60 + 88


@pytest.mark.parametrize(("zeros", "expected"), [(0, 4096), (20, 4096), (512, 128 + 512 * 4), (1024, 128)])
def test_the_cheaper_stored_form(zeros: int, expected: int) -> None:
    tensor = torch.ones(32, 32)
    tensor.view(-1)[:zeros] = 0.0
    nonzero = 1024 - zeros
    indices = nonzero * 6 + 4 * 33
    assert dense_bytes(tensor) == min(expected, indices, 4096)


def test_tied_weights_are_stored_once() -> None:
    net = nn.ModuleList([nn.Linear(5, 5, bias=False), nn.Linear(5, 5, bias=False)])
    net[1].weight = net[0].weight
    assert size_costs(net) == {"params": 25, "nonzero": 25, "stored_bytes": 100}


def test_packed_layers_count_what_they_stand_for() -> None:
    found = size_costs(Net(Packed(6, 10)))
    plain = 10 + 10 + 30
    assert found["params"] == 60 + plain  # weights, not scales
    assert found["stored_bytes"] == (60 + 40) + 4 * plain + 88


# -------------------------------------------------------------------- workloads


def run_with(call: Any) -> Any:
    task = SimpleNamespace(
        main_workload="batch8", workload=lambda name, system, split, run: Workload(call, 8, "item")
    )
    return SimpleNamespace(task=task, valid={}, device=torch.device("cpu"))


def test_a_workloads_cost() -> None:
    layer, x = nn.Linear(6, 10), torch.randn(8, 6)
    with torch.no_grad():
        values, reasons = workload_costs("batch8", layer, {}, run_with(lambda: layer(x)))
    assert values["flops@batch8"] == 2 * 8 * 6 * 10 and reasons == {}
    assert values["bytes_moved@batch8"] >= 4 * (60 + 10 + 48 + 80) and values["peak_live_bytes@batch8"] > 0
    # half a float32 multiply-add (3.7 + 0.9 pJ) a FLOP, 1300 pJ for 8 bytes of DRAM
    joules = (960 * 2.3 + values["bytes_moved@batch8"] * 162.5) * 1e-12
    assert values["energy_proxy_j@batch8"] == pytest.approx(joules)


def test_an_operator_without_formula_is_null_with_its_name() -> None:
    library = torch.library.Library("joulemark_costs", "FRAGMENT")
    library.define("mystery(Tensor x) -> Tensor")
    library.impl("mystery", lambda x: x * 0, "CPU")
    run = run_with(lambda: torch.ops.joulemark_costs.mystery(torch.ones(3)))
    values, reasons = workload_costs("batch8", None, {}, run)
    assert values["flops@batch8"] is None and values["energy_proxy_j@batch8"] is None
    assert reasons["energy_proxy_j@batch8"] == reasons["flops@batch8"]
    assert "no formula for" in reasons["flops@batch8"] and "mystery" in reasons["flops@batch8"]
    with pytest.raises(ValueError, match="macs cannot be matched: an operator of the model has no formula"):
        model_cost(nn.Linear(1, 1), run, "macs")


def test_the_first_call_fills_caches_and_is_not_counted() -> None:
    calls = []

    def call() -> Tensor:
        calls.append(0)
        size = 100 if len(calls) == 1 else 2
        return torch.ones(size, size) @ torch.ones(size, 1)

    values, _ = workload_costs("batch8", None, {}, run_with(call))
    assert values["flops@batch8"] == 2 * 2 * 2 and len(calls) == 2


def test_what_a_twin_is_matched_by() -> None:
    net = Net()
    with torch.no_grad():
        net.first.weight.view(-1)[:45] = 0.0
    run = run_with(lambda: torch.ones(4, 5) @ torch.ones(5, 6))
    assert model_cost(net, run, "params") == size_costs(net)["nonzero"]
    assert model_cost(net, run, "bytes") == size_costs(net)["stored_bytes"]
    assert model_cost(net, run, "macs") == 4 * 5 * 6


# -------------------------------------------------------------------- forms


def test_a_dense_model_is_timed_as_it_is() -> None:
    net = Net()
    assert forms(net) == {"dense": net}


def test_a_sparse_model_has_its_sparse_forms() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        net[0].weight[:, :6] = 0.0
    found = forms(net)
    own = set(own_forms(net[0].weight, net[0].bias))  # none without a compiler
    assert list(found)[0] == "dense" and set(found) == {"dense", "bsr", "csr"} | own
    x = torch.randn(5, 8)
    for name in {"csr", "bsr"} | own:
        assert type(found[name][0]) is not nn.Linear and type(found[name][2]) is nn.Linear
        assert torch.allclose(found[name](x), net(x), atol=1e-6)
    assert type(net[0]) is nn.Linear  # the forms are copies


def test_an_emulation_is_never_timed() -> None:
    assert forms(Net(Packed(6, 10))) == {}


def test_a_form_replaces_every_layer_or_is_none() -> None:
    both = nn.Sequential(Fast(4, 4), nn.ReLU(), Faster(4, 4))
    found = forms(both)
    assert set(found) == {"int8"}  # `quick` would leave one layer emulated
    assert not any(isinstance(module, Layer) for module in found["int8"].modules())
    assert set(forms(nn.Sequential(Fast(4, 4), nn.Linear(4, 4)))) == {"int8", "quick"}
    assert isinstance(forms(Fast(4, 4))["int8"], nn.Linear)  # the model itself may be the layer


def test_a_system_that_is_no_module_is_its_own_form() -> None:
    agent = {"speed": 1.0}
    assert forms(agent) == {"system": agent}
