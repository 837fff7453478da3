"""Each formula against a count by hand, written out in the numbers that the call has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import operators
from benchmarks.counting import Counter, count

aten = torch.ops.aten


def R(*shape: int, grad: bool = False, dtype: torch.dtype = torch.float32) -> torch.Tensor:  # noqa: N802
    return torch.randn(*shape, dtype=dtype, requires_grad=grad)


def flops(call: Callable[[], object]) -> int | None:
    """FLOPs, which must be the same with gradients, without them and in inference mode."""
    results = []
    for mode in (torch.enable_grad(), torch.no_grad(), torch.inference_mode()):
        with mode, Counter() as counter:
            call()
        results.append(counter.count())
    assert len({result.flops for result in results}) == 1, results
    return results[0].flops


A34, B45, V4 = R(3, 4), R(4, 5), R(4)
C234, C245 = R(2, 3, 4), R(2, 4, 5)
FP8 = torch.ones(16, 32).to(torch.float8_e4m3fn)
PRODUCTS = {
    "mm": (lambda: A34 @ B45, 2 * 3 * 4 * 5),
    "mm of integers": (lambda: A34.long() @ B45.long(), 2 * 3 * 4 * 5),
    "mm in place of out": (lambda: torch.mm(A34, B45, out=torch.empty(3, 5)), 2 * 3 * 4 * 5),
    "complex mm": (lambda: A34.to(torch.cfloat) @ B45.to(torch.cfloat), 4 * 2 * 3 * 4 * 5),
    "addmm": (lambda: torch.addmm(R(5), A34, B45), 2 * 3 * 4 * 5),
    "addmm_": (lambda: R(3, 5).addmm_(A34, B45), 2 * 3 * 4 * 5),
    "bmm": (lambda: torch.bmm(C234, C245), 2 * 2 * 3 * 4 * 5),
    "baddbmm": (lambda: torch.baddbmm(R(2, 3, 5), C234, C245), 2 * 2 * 3 * 4 * 5),
    "addbmm": (lambda: torch.addbmm(R(3, 5), C234, C245), 2 * 2 * 3 * 4 * 5),
    "mv": (lambda: A34 @ V4, 2 * 3 * 4),
    "addmv": (lambda: torch.addmv(R(3), A34, V4), 2 * 3 * 4),
    "dot": (lambda: V4 @ V4, 2 * 4),
    "vdot": (lambda: torch.vdot(V4, V4), 2 * 4),
    "addr": (lambda: torch.addr(A34, R(3), V4), 2 * 3 * 4),
    "foreach_mm": (lambda: torch._foreach_mm([A34, A34], [B45, B45]), 2 * 2 * 3 * 4 * 5),
    "linear with bias": (lambda: F.linear(R(2, 3, 4), R(5, 4), R(5)), 2 * (2 * 3) * 4 * 5),
    "einsum": (lambda: torch.einsum("bhld,bhmd->bhlm", R(2, 3, 4, 5), R(2, 3, 6, 5)), 2 * 2 * 3 * 4 * 6 * 5),
    "matmul that broadcasts": (lambda: R(2, 3, 4) @ B45, 2 * 2 * 3 * 4 * 5),
    "nn.Bilinear": (lambda: F.bilinear(R(7, 4), R(7, 5), R(3, 4, 5)), 2 * 7 * 3 * 4 * 5),
    "grouped mm": (
        lambda: torch._grouped_mm(
            R(8, 16).bfloat16(), R(2, 16, 24).bfloat16(), offs=torch.tensor([3, 8], dtype=torch.int32)
        ),
        2 * 8 * 16 * 24,
    ),
    "grouped mm, columns": (
        lambda: torch._grouped_mm(
            R(2, 16, 8).bfloat16(), R(8, 32).bfloat16(), offs=torch.tensor([16, 32], dtype=torch.int32)
        ),
        2 * 16 * 8 * 32,
    ),
    "mm with an activation": (lambda: torch._addmm_activation(R(5), A34, B45), 2 * 3 * 4 * 5),
    "fp8 mm": (
        lambda: torch._scaled_mm(FP8, FP8.t(), torch.tensor(1.0), torch.tensor(1.0)),
        2 * 16 * 32 * 16,
    ),
    "affine grid, opened": (lambda: F.affine_grid(R(2, 2, 3), [2, 1, 4, 4]), 2 * 2 * 16 * 3 * 2),
    "cdist, small": (lambda: torch.cdist(R(2, 3, 4), R(2, 5, 4)), 2 * 2 * 3 * 5 * 4),
    "cdist, by matmul": (lambda: torch.cdist(R(30, 4), R(40, 4)), 2 * 30 * 40 * 4),
    "pdist": (lambda: F.pdist(R(5, 4)), 2 * (5 * 4 // 2) * 4),
}
CONVOLUTIONS = {
    "conv2d": (lambda: F.conv2d(R(2, 3, 8, 8), R(5, 3, 3, 3)), 2 * (2 * 5 * 6 * 6) * 3 * 3 * 3),
    "conv2d, padded": (lambda: F.conv2d(R(2, 3, 8, 8), R(5, 3, 3, 3), padding=1), 2 * (2 * 5 * 8 * 8) * 27),
    "conv2d, stride 2": (lambda: F.conv2d(R(2, 3, 9, 9), R(5, 3, 3, 3), stride=2), 2 * (2 * 5 * 4 * 4) * 27),
    "conv2d, 2 groups": (lambda: F.conv2d(R(1, 4, 5, 5), R(6, 2, 3, 3), groups=2), 2 * (6 * 3 * 3) * 2 * 9),
    "depthwise": (lambda: F.conv2d(R(1, 4, 5, 5), R(4, 1, 3, 3), groups=4), 2 * (4 * 3 * 3) * 9),
    "conv1d": (lambda: F.conv1d(R(2, 3, 8), R(6, 3, 3), R(6)), 2 * (2 * 6 * 6) * 3 * 3),
    "conv3d": (lambda: F.conv3d(R(1, 2, 4, 4, 4), R(3, 2, 3, 3, 3)), 2 * (3 * 2 * 2 * 2) * 2 * 27),
    "transposed": (
        lambda: F.conv_transpose2d(R(2, 3, 4, 4), R(3, 5, 2, 2), stride=2),
        2 * (2 * 3 * 16) * 5 * 4,
    ),
    "conv_tbc": (lambda: torch.conv_tbc(R(8, 2, 3), R(3, 3, 5), R(5)), 2 * (6 * 2 * 5) * 3 * 3),
}
q, k, v = R(2, 4, 6, 8), R(2, 4, 6, 8), R(2, 4, 6, 8)
long_k = R(2, 4, 9, 8)
attend = F.scaled_dot_product_attention
HALF = 6 * 7 // 2  # pairs with j <= i among 6 x 6
ATTENTION = {
    "full": (lambda: attend(q, k, v), 2 * 2 * 4 * (6 * 6) * (8 + 8)),
    "causal": (lambda: attend(q, k, v, is_causal=True), 2 * 2 * 4 * HALF * (8 + 8)),
    "causal, more keys": (lambda: attend(q, long_k, long_k, is_causal=True), 2 * 2 * 4 * HALF * 16),
    "causal, more queries": (
        lambda: attend(long_k, k, v, is_causal=True),
        2 * 2 * 4 * (HALF + 3 * 6) * 16,
    ),
    "more keys": (lambda: attend(q, long_k, long_k), 2 * 2 * 4 * (6 * 9) * 16),
    "grouped queries": (lambda: attend(q, k[:, :2], v[:, :2], enable_gqa=True), 2 * 2 * 4 * 36 * 16),
    "mask": (lambda: attend(q, k, v, attn_mask=torch.ones(6, 6).bool().tril()), 2 * 2 * 4 * 36 * 16),
    "dropout: written out": (lambda: attend(q, k, v, dropout_p=0.1, is_causal=True), 2 * 2 * 4 * 36 * 16),
    "math": (lambda: aten._scaled_dot_product_attention_math(q, k, v, None, 0.0, True), 2 * 2 * 4 * 36 * 16),
}


@pytest.mark.parametrize("name", [*PRODUCTS, *CONVOLUTIONS, *ATTENTION])
def test_forward(name: str) -> None:
    call, by_hand = (PRODUCTS | CONVOLUTIONS | ATTENTION)[name]
    assert flops(call) == by_hand


# ---------------------------------------------------------------- backward passes


def gradient(call: Callable[[], torch.Tensor]) -> int | None:
    """FLOPs of the backward pass alone."""
    loss = call().sum()
    return count(loss.backward).flops


def test_backward_of_matmul_is_twice_its_forward() -> None:
    a, b = R(3, 4, grad=True), R(4, 5, grad=True)
    assert gradient(lambda: a @ b) == 2 * (2 * 3 * 4 * 5)
    assert gradient(lambda: a.detach() @ b) == 2 * 3 * 4 * 5
    assert gradient(lambda: F.linear(a, b.t().detach().requires_grad_(), R(5, grad=True))) == 2 * (
        2 * 3 * 4 * 5
    )


@pytest.mark.parametrize("transposed", [False, True])
def test_backward_of_convolution_counts_what_is_asked_for(transposed: bool) -> None:
    x, w = R(2, 4, 8, grad=True), R(4, 4, 3, grad=True)
    convolve = F.conv_transpose1d if transposed else F.conv1d
    once = 2 * (2 * 4 * (8 if transposed else 6)) * 4 * 3
    assert gradient(lambda: convolve(x, w, R(4, grad=True))) == 2 * once
    assert gradient(lambda: convolve(x.detach(), w)) == once
    assert gradient(lambda: convolve(x, w.detach())) == once


@pytest.mark.parametrize("causal", [False, True])
def test_backward_of_fused_attention_is_five_products(causal: bool) -> None:
    q, k, v = (R(1, 2, 6, 8, grad=True) for _ in range(3))
    pairs = 21 if causal else 36
    assert gradient(lambda: attend(q, k, v, is_causal=causal)) == 2 * 2 * pairs * (3 * 8 + 2 * 8)


def test_backward_of_the_rest() -> None:
    x = R(3, 4, grad=True)
    assert gradient(lambda: torch.cdist(x, R(5, 4))) == 2 * 3 * 5 * 4
    assert gradient(lambda: F.layer_norm(x, (4,)).softmax(-1).relu()) == 0
    lstm = nn.LSTM(4, 6)
    forward = 2 * (3 * 1) * (4 * 6 * 4 + 4 * 6 * 6)
    assert gradient(lambda: lstm(R(3, 1, 4))[0]) == 2 * forward
    sparse = torch.eye(4).to_sparse().requires_grad_()
    dense = R(4, 5, grad=True)
    # d sparse: torch forms all of grad @ dense.T and masks it; d dense: sparse.T @ grad
    assert gradient(lambda: torch.sparse.mm(sparse, dense)) == 2 * 4 * 5 * 4 + 2 * 4 * 5


# ---------------------------------------------------------------- what no CPU runs


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["flash", "efficient", "cudnn"])
def test_cuda_attention_on_meta_tensors(kind: str, causal: bool) -> None:
    q, k, v = (torch.empty(2, 4, 64, 32, device="meta", dtype=torch.float16) for _ in range(3))
    operator = getattr(aten, f"_scaled_dot_product_{kind}_attention")
    middle = () if kind == "flash" else (None, True)
    pairs = 64 * 65 // 2 if causal else 64 * 64
    result = count(lambda: operator(q, k, v, *middle, 0.0, causal))
    assert result.flops_by_number == (("float16", 2 * 2 * 4 * pairs * 64),)
    backward = operators.entry(getattr(aten, f"_scaled_dot_product_{kind}_attention_backward").default)
    named = {"query": q, "key": k, "value": v, "is_causal": causal}
    assert backward is not None and backward.flops((), named, None) == 2 * 2 * 4 * pairs * 5 * 32


def test_fast_paths_of_the_encoder_layer_and_of_its_attention() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    attention, x = 2 * (2 * 3) * (4 * 8 * 8) + 4 * 2 * 3 * 3 * 8, R(2, 3, 8)
    with torch.no_grad():
        assert count(layer.self_attn, x, x, x).flops == attention
        assert count(layer, x).flops == attention + 2 * (2 * 3) * (2 * 8 * 16)
