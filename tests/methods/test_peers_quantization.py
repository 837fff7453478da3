"""Our quantizers beside the packages of others, where those are installed: `pip install joulemark[peers]`."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from methods.quantization.hqq import half_quadratic
from methods.quantization.rounding import round_to_nearest


@pytest.mark.parametrize("bits", [4, 3])
def test_ours_is_as_near_as_the_authors_hqq(bits: int) -> None:
    quantizer = pytest.importorskip("hqq.core.quantize", reason="hqq is not installed").Quantizer
    torch.manual_seed(0)
    weight = torch.distributions.StudentT(4.0).sample((128, 256))
    theirs: Any = quantizer.dequantize(
        *quantizer.quantize(
            weight, nbits=bits, group_size=32, axis=1, device="cpu", compute_dtype=torch.float32
        )
    )
    ours = half_quadratic(weight.view(-1, 32), bits).values().view_as(weight)
    errors = [(found - weight).abs().mean() for found in (ours, theirs)]
    assert errors[0] <= 1.005 * errors[1]


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_ours_rounds_as_near_as_torchao(bits: int) -> None:
    quantization = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
    from torchao.quantization.granularity import PerGroup

    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(128, 64, bias=False))
    weight = layer[0].weight.detach().clone()
    config = quantization.IntxWeightOnlyConfig(
        weight_dtype=getattr(torch, f"int{bits}"), granularity=PerGroup(32)
    )
    quantization.quantize_(layer, config)
    theirs: Any = layer[0].weight.dequantize()
    ours = round_to_nearest(weight.view(-1, 32), bits).values().view_as(weight)
    assert (ours - weight).square().mean() <= (theirs - weight).square().mean()
