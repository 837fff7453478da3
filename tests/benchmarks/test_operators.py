"""The registry: what is free, what exists, and what torch's own counter says where it has a formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import operators
from benchmarks.counting import count

R = torch.randn
A34 = R(3, 4)
FREE = {
    "softmax": lambda: F.log_softmax(A34, -1).softmax(-1),
    "layer norm": lambda: F.layer_norm(A34, (4,)),
    "rms norm": lambda: F.rms_norm(A34, (4,)),
    "batch norm": lambda: nn.BatchNorm2d(3)(R(2, 3, 4, 4)),
    "group norm": lambda: F.group_norm(R(2, 4, 3), 2),
    "embedding": lambda: F.embedding(torch.tensor([1, 2]), A34),
    "embedding bag": lambda: F.embedding_bag(torch.tensor([[1, 2]]), A34),
    "index": lambda: A34[torch.tensor([1, 0])],
    "gather, scatter": lambda: R(3, 4).scatter_(
        1, torch.zeros(3, 1).long(), A34.gather(1, torch.ones(3, 1).long())
    ),
    "sort, topk": lambda: (A34.sort(), A34.topk(2), A34.argmax()),
    "cumsum, where, cat": lambda: torch.cat([A34.cumsum(0), torch.where(A34 > 0, A34, 0.0)]),
    "activations": lambda: F.gelu(F.silu(F.relu(A34))).tanh().sigmoid(),
    "pooling": lambda: F.max_pool2d(F.avg_pool2d(R(1, 2, 8, 8), 2), 2),
    "dropout, random": lambda: F.dropout(torch.rand_like(A34), 0.5) + torch.randn(4),
    "losses": lambda: (
        F.cross_entropy(A34, torch.zeros(3).long()) + F.mse_loss(A34, A34) + F.huber_loss(A34, A34)
    ),
    "upsampling": lambda: F.interpolate(R(1, 2, 4, 4), scale_factor=2, mode="bilinear"),
    "views": lambda: A34.t().reshape(2, 6).unsqueeze(0).expand(3, 2, 6).contiguous(),
    "to sparse and back": lambda: A34.to_sparse_csr().to_dense(),
    "quantize": lambda: torch.quantize_per_tensor(A34, 0.1, 0, torch.qint8).dequantize(),
}


@pytest.mark.parametrize("name", FREE)
def test_no_contraction_no_flops(name: str) -> None:
    for mode in (torch.enable_grad(), torch.inference_mode()):
        with mode:
            assert count(FREE[name]).flops == 0


def test_the_table_names_operators_that_exist_and_that_are_not_free() -> None:
    existing = {name.split(".")[0] for name in torch._C._dispatch_get_all_op_names()}
    assert set(operators._TABLE) - existing == set()
    named = {name for name in operators._FREE if "::" in name}
    assert named - existing == set()
    for name in operators._TABLE:
        namespace, _, base = name.partition("::")
        packet = getattr(getattr(torch.ops, namespace), base)
        free = [o for o in packet.overloads() if operators.is_free(getattr(packet, o))]
        assert not free or base == "_foreach_mm", f"{name} has a formula and is free"


def test_torch_agrees_where_torch_counts() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(72, 5)
    )

    def step() -> None:
        net(x).square().sum().backward()

    x = R(2, 3, 7, 7)
    with FlopCounterMode(display=False) as theirs:
        step()
    assert count(step).flops == theirs.get_total_flops()
