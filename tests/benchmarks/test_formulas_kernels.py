"""Formulas of sparse, low-precision and recurrent kernels against counts by hand."""

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


V4 = R(4)
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
    assert flops(lambda: torch.sparse.mm(csr, right, "sum")) == 2 * 6 * 5
    assert (
        flops(lambda: torch.hspmm(coo, right))
        == flops(lambda: torch.sspaddmm(coo, coo, right[:, :4])) + 12
        == 60
    )


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
        both = MASK.to_sparse()
        assert count(lambda: aten._sparse_sparse_matmul(both, both)).flops == 2 * (4 + 1 + 1 + 4)


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
    gru = quantized(nn.GRU(4, 6))
    assert count(lambda: gru(R(7, 2, 4))).flops_by_number == (("int8", 2 * (7 * 2) * (18 * 4 + 18 * 6)),)


def test_packed_weights_of_other_widths() -> None:
    ops = torch.ops.quantized
    half = ops.linear_prepack_fp16(R(5, 4), None)
    assert count(lambda: ops.linear_dynamic_fp16(R(3, 4), half)).flops == 2 * 3 * 4 * 5
    int4 = aten._convert_weight_to_int4pack_for_cpu(torch.ones(64, 32, dtype=torch.int32), 1)
    scales = torch.ones(1, 64, 2).bfloat16()
    x = R(3, 32).bfloat16()
    assert count(lambda: aten._weight_int4pack_mm_for_cpu(x, int4, 32, scales)).flops == 2 * 3 * 32 * 64
    for operator in (
        aten.linear.default,
        aten._weight_int4pack_mm.default,
        aten._dyn_quant_matmul_4bit.default,
    ):
        known = operators.entry(operator)  # run elsewhere only: on MPS, CUDA, ARM
        assert known is not None and known.flops((R(3, 4),), {}, R(3, 5)) == 2 * 3 * 4 * 5


@pytest.mark.parametrize("relu", ["", "_relu"])
def test_static_int8_layers(relu: str) -> None:
    ops = torch.ops.quantized

    def q(dtype: torch.dtype, *shape: int) -> torch.Tensor:
        return torch.quantize_per_tensor(R(*shape), 0.1, 0, dtype)

    two = ops.conv2d_prepack(q(torch.qint8, 5, 3, 3, 3), None, [1, 1], [0, 0], [1, 1], 1)
    run = getattr(ops, f"conv2d{relu}").new
    assert count(lambda: run(q(torch.quint8, 1, 3, 6, 6), two, 0.1, 0)).flops == 2 * (5 * 4 * 4) * 27
    one = ops.conv1d_prepack(q(torch.qint8, 5, 3, 3), None, [1], [0], [1], 1)
    run = getattr(ops, f"conv1d{relu}")
    assert count(lambda: run(q(torch.quint8, 1, 3, 6), one, 0.1, 0)).flops == 2 * (5 * 4) * 9
    flat = ops.linear_prepack(q(torch.qint8, 5, 4), None)
    run = getattr(ops, f"linear{relu}")
    assert count(lambda: run(q(torch.quint8, 2, 4), flat, 0.1, 0)).flops == 2 * 2 * 4 * 5
    run = getattr(ops, f"linear{relu}_dynamic")
    assert count(lambda: run(R(2, 4), flat)).flops_by_number == (("int8", 2 * 2 * 4 * 5),)


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
    backward = operators.entry(aten._cudnn_rnn_backward.default)
    assert backward is not None and backward.flops((x, weights), {}, None) == 2 * 2 * 14 * (24 * 4 + 24 * 6)


def test_two_of_four_sparsity_is_half_of_dense() -> None:
    stored, x = torch.empty(16, 8), torch.empty(3, 16)  # a (16, 16) weight, compressed
    linear = operators.entry(aten._sparse_semi_structured_linear.default)
    product = operators.entry(aten._sparse_semi_structured_mm.default)
    assert linear is not None and linear.flops((x, stored), {}, torch.empty(3, 16)) == 3 * 16 * 16
    assert product is not None and product.flops((stored, None, x.t()), {}, None) == 3 * 16 * 16
    added = operators.entry(aten._sparse_semi_structured_addmm.default)
    assert added is not None and added.flops((None, stored, None, x.t()), {}, None) == 3 * 16 * 16
    grouped = operators.entry(aten._scaled_grouped_mm.default)
    assert grouped is not None and grouped.flops((x, torch.empty(2, 16, 5)), {}, None) == 2 * 3 * 16 * 5
