"""Each formula against a count by hand, written out in the numbers that the call has."""

from __future__ import annotations

import warnings
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


# ---------------------------------------------------------------- sparse, int8, recurrent

MASK = torch.tensor([[1.0, 0, 2, 0], [0, 0, 0, 3], [4, 0, 0, 0], [0, 5, 0, 6]])  # 6 of 16


def test_sparse_operands_count_what_they_store() -> None:
    csr, coo, right = MASK.to_sparse_csr(), MASK.to_sparse(), R(4, 5)
    for sparse in (csr, coo, MASK.to_sparse_csc()):
        assert flops(lambda sparse=sparse: sparse @ right) == 2 * 6 * 5
    assert flops(lambda: torch.addmm(R(4, 5), csr, right)) == 2 * 6 * 5
    assert flops(lambda: torch.sparse.mm(coo, right)) == 2 * 6 * 5
    assert flops(lambda: torch.sparse.addmm(R(4, 5), coo, right)) == 2 * 6 * 5
    assert flops(lambda: csr @ V4) == 2 * 6
    assert flops(lambda: R(3, 4) @ csr) == 2 * 6 * 3
    for bias in (None, R(4)):
        assert flops(lambda bias=bias: F.linear(R(2, 3, 4), csr, bias)) == 2 * 6 * (2 * 3)
    assert flops(lambda: torch.sparse.sampled_addmm(csr, R(4, 7), R(7, 4))) == 2 * 6 * 7


def test_block_sparse_counts_whole_blocks() -> None:
    bsr = MASK.to_sparse_bsr((2, 2))  # each of the four blocks holds something
    dense = torch.zeros(4, 4)
    dense[0, 0] = dense[3, 2] = 1.0
    two_blocks = dense.to_sparse_bsr((2, 2))
    assert flops(lambda: bsr @ R(4, 5)) == 2 * 16 * 5
    assert flops(lambda: two_blocks @ R(4, 5)) == 2 * 8 * 5
    assert flops(lambda: F.linear(R(3, 4), two_blocks)) == 2 * 8 * 3


def test_two_sparse_matrices_count_the_products_that_meet() -> None:
    # columns of MASK hold 2, 1, 1, 2 numbers, its rows 2, 1, 1, 2
    with torch.no_grad():
        assert count(lambda: MASK.to_sparse() @ MASK.to_sparse()).flops == 2 * (2 * 2 + 1 + 1 + 2 * 2)
        assert count(lambda: MASK.to_sparse_csr() @ MASK.to_sparse_csr()).flops == 2 * (4 + 1 + 1 + 4)


def quantized(module: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(module), {type(module)})


def test_int8_is_counted_as_int8() -> None:
    a = torch.randint(-9, 9, (32, 16), dtype=torch.int8)
    result = count(lambda: torch._int_mm(a, a.t()))
    assert result.flops_by_number == (("int8", 2 * 32 * 16 * 32),)
    linear = quantized(nn.Linear(4, 5))
    assert count(lambda: linear(R(2, 3, 4))).flops_by_number == (("int8", 2 * (2 * 3) * 4 * 5),)
    weight, scale = torch.ones(64, 32, dtype=torch.int8), torch.ones(64).bfloat16()
    result = count(lambda: torch._weight_int8pack_mm(R(3, 32).bfloat16(), weight, scale))
    assert result.flops_by_number == (("bfloat16", 2 * 3 * 32 * 64),)
    lstm = quantized(nn.LSTM(4, 6, num_layers=2))
    cells = 24 * 4 + 24 * 6 + 24 * 6 + 24 * 6
    assert count(lambda: lstm(R(7, 2, 4))).flops_by_number == (("int8", 2 * (7 * 2) * cells),)


def test_static_int8_layers() -> None:
    x = torch.quantize_per_tensor(R(1, 3, 6, 6), 0.1, 0, torch.quint8)
    weight = torch.quantize_per_tensor(R(5, 3, 3, 3), 0.1, 0, torch.qint8)
    packed = torch.ops.quantized.conv2d_prepack(weight, None, [1, 1], [0, 0], [1, 1], 1)
    assert count(lambda: torch.ops.quantized.conv2d.new(x, packed, 0.1, 0)).flops == 2 * (5 * 4 * 4) * 27
    flat = torch.quantize_per_tensor(R(2, 4), 0.1, 0, torch.quint8)
    matrix = torch.quantize_per_tensor(R(5, 4), 0.1, 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(matrix, None)
    assert count(lambda: torch.ops.quantized.linear(flat, packed, 0.1, 0)).flops == 2 * 2 * 4 * 5


def test_recurrent_layers() -> None:
    x = R(7, 2, 4)
    assert flops(lambda: nn.LSTM(4, 6)(x)) == 2 * (7 * 2) * (24 * 4 + 24 * 6)
    assert flops(lambda: nn.LSTM(4, 6, 2)(x)) == 2 * 14 * (24 * 4 + 24 * 6 + 24 * 6 + 24 * 6)
    both_ways = 2 * 14 * (2 * (24 * 4 + 24 * 6) + 2 * (24 * 12 + 24 * 6))
    assert flops(lambda: nn.LSTM(4, 6, 2, bidirectional=True)(x)) == both_ways
    assert flops(lambda: nn.GRU(4, 6)(x)) == 2 * 14 * (18 * 4 + 18 * 6)
    assert flops(lambda: nn.RNN(4, 6)(x)) == 2 * 14 * (6 * 4 + 6 * 6)
    assert flops(lambda: nn.LSTMCell(4, 6)(R(2, 4))) == 2 * 2 * (24 * 4 + 24 * 6)
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([7, 3]))
    assert flops(lambda: nn.LSTM(4, 6)(packed)) == 2 * (7 + 3) * (24 * 4 + 24 * 6)
    cudnn = operators.entry(aten._cudnn_rnn.default)
    weights = [R(24, 4), R(24, 6), R(24), R(24)]
    assert cudnn is not None and cudnn.flops((x, weights), {}, None) == 2 * 14 * (24 * 4 + 24 * 6)


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


def test_two_of_four_sparsity_is_half_of_dense() -> None:
    stored, x = torch.empty(16, 8), torch.empty(3, 16)  # a (16, 16) weight, compressed
    linear = operators.entry(aten._sparse_semi_structured_linear.default)
    product = operators.entry(aten._sparse_semi_structured_mm.default)
    assert linear is not None and linear.flops((x, stored), {}, torch.empty(3, 16)) == 3 * 16 * 16
    assert product is not None and product.flops((stored, None, x.t()), {}, None) == 3 * 16 * 16


def test_fast_path_of_the_encoder_layer() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    block = 2 * (2 * 3) * (4 * 8 * 8 + 2 * 8 * 16) + 4 * 2 * 3 * 3 * 8
    with torch.no_grad():
        assert count(layer, R(2, 3, 8)).flops == block
