"""FLOP formulas: two for each real multiply-add of a contraction, as most papers count ("FLOPs = 2 x MACs").

Conventions, each held against a hand count in the tests:

- Elementwise work, reductions, softmax and normalisation are not in it. Multiply-adds with padding zeros are.
- Causal attention counts the pairs (i, j) with j <= i, the mask that `is_causal` means (aligned at the top
  left): L (L + 1) / 2 of them where queries and keys are equally many. Any other mask counts in full, since
  kernels compute every pair; so does attention that torch writes out as matmuls (with dropout on a CPU).
- The backward pass of fused attention recomputes the scores: five products where the forward pass has two.
- A sparse operand counts its stored numbers (BSR: whole blocks), two sparse ones the products that meet.
- FFT: 5 N log2 N for complex and half of that for real data, N the product of the transformed lengths: the
  measure of FFTW's benchFFT (Frigo and Johnson, Proc. IEEE 93(2), 2005), a yardstick and not an exact count.
- Factorisations: leading terms of LAPACK Working Note 41 (Blackford and Dongarra, 1999) for LU, Cholesky, QR,
  inverse and triangular solves; Golub and Van Loan, Matrix Computations (4th edition, chapters 7 and 8) for
  what iterates: SVD by Golub-Reinsch, symmetric eigenvectors 9 n^3, general ones 25 n^3. These are estimates.
- A complex multiply-add is four real ones.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from benchmarks.operators import formula

Args = tuple[Any, ...]
Named = dict[str, Any]

# ---------------------------------------------------------------- products of matrices


def stored(tensor: Tensor) -> int:
    """Numbers that a sparse tensor keeps: nnz, or for blocked layouts all of every stored block."""
    return (tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()).numel()


def contraction(a: Tensor, b: Tensor) -> float:
    """FLOPs of a @ b, a (..., n, k) and b (..., k, m) or (k,): 2 n k m, or 2 m a stored number of a."""
    if a.layout is not torch.strided and b.layout is not torch.strided:
        return _sparse_times_sparse(a, b)
    if b.layout is not torch.strided:
        return 2 * stored(b) * a.shape[-2]
    numbers = a.numel() if a.layout is torch.strided else stored(a)
    return 2 * numbers * (b.shape[-1] if b.ndim > 1 else 1)


def _sparse_times_sparse(a: Tensor, b: Tensor) -> float:
    """Each stored number of column k of a meets each one of row k of b."""
    inner = a.shape[-1]
    columns = torch.bincount(a.to_sparse_coo()._indices()[1], minlength=inner)
    rows = torch.bincount(b.to_sparse_coo()._indices()[0], minlength=inner)
    return 2 * int((columns * rows).sum())


@formula("aten::mm", "aten::bmm", "aten::mv", "aten::dot", "aten::vdot", "aten::_sparse_sparse_matmul")
@formula("aten::hspmm", "aten::_sparse_mm_reduce_impl", "aten::_scaled_mm")
def _product(args: Args, kwargs: Named, out: Any) -> float:
    return contraction(args[0], args[1])


formula("aten::_int_mm", number="int8")(_product)


@formula("aten::addmm", "aten::baddbmm", "aten::addbmm", "aten::addmv", "aten::_addmm_activation")
@formula("aten::_sparse_addmm", "aten::sspaddmm")
def _add_product(args: Args, kwargs: Named, out: Any) -> float:
    return contraction(args[1], args[2])


@formula("aten::addr")
def _outer_product(args: Args, kwargs: Named, out: Tensor) -> float:
    return 2 * out.numel()


@formula("aten::_foreach_mm")
def _products(args: Args, kwargs: Named, out: Any) -> float:
    return sum(contraction(a, b) for a, b in zip(args[0], args[1], strict=True))


@formula("aten::_grouped_mm", "aten::_scaled_grouped_mm")
def _grouped(args: Args, kwargs: Named, out: Any) -> float:
    """Groups cut rows, columns or the inner dimension of a 2-D operand, all of which takes part once."""
    a, b = args[0], args[1]
    once = a[0] if a.ndim > b.ndim else a  # (groups, n, k) @ (k, m): each group has some of the m columns
    return 2 * once.numel() * b.shape[-1]


@formula("aten::sparse_sampled_addmm")
def _sampled(args: Args, kwargs: Named, out: Any) -> float:
    return 2 * stored(args[0]) * args[1].shape[-1]


@formula("aten::_sparse_semi_structured_mm")
def _two_of_four(args: Args, kwargs: Named, out: Any) -> float:
    return 2 * args[0].numel() * args[2].shape[-1]  # the stored operand has half of its columns


@formula("aten::_sparse_semi_structured_addmm")
def _add_two_of_four(args: Args, kwargs: Named, out: Any) -> float:
    return 2 * args[1].numel() * args[3].shape[-1]


@formula("aten::_sparse_semi_structured_linear")
def _linear_two_of_four(args: Args, kwargs: Named, out: Tensor) -> float:
    return args[0].numel() * out.shape[-1]


@formula("aten::linear", "aten::_weight_int8pack_mm", "aten::_weight_int4pack_mm")
@formula("aten::_weight_int4pack_mm_for_cpu", "quantized::linear_dynamic_fp16")
def _linear(args: Args, kwargs: Named, out: Tensor) -> float:
    """Input (..., k), output (..., m), weight packed in whatever form: 2 k m a row."""
    return 2 * args[0].numel() * out.shape[-1]


formula("quantized::linear", "quantized::linear_relu", "quantized::linear_dynamic", number="int8")(_linear)
formula("quantized::linear_relu_dynamic", "aten::_dyn_quant_matmul_4bit", number="int8")(_linear)


@formula("aten::_trilinear")
def _trilinear(args: Args, kwargs: Named, out: Any) -> float:
    """Sum of i1 i2 i3 (nn.Bilinear): one multiply-add for each point of the whole index space."""
    shapes = []
    for tensor, inserted in zip(args[:3], args[3:6], strict=True):
        shape = list(tensor.shape)
        for place in sorted(inserted):
            shape.insert(place, 1)
        shapes.append(shape)
    return 2 * prod(torch.broadcast_shapes(*shapes))


@formula("aten::_cdist_forward", "aten::_euclidean_dist", "aten::_pdist_forward")
def _distances(args: Args, kwargs: Named, out: Tensor) -> float:
    return 2 * out.numel() * args[0].shape[-1]  # one multiply-add a coordinate, whatever the norm


@formula("aten::_cdist_backward")
def _distances_backward(args: Args, kwargs: Named, out: Any) -> float:
    return 2 * args[0].numel() * args[1].shape[-1]


# ---------------------------------------------------------------- convolution


@formula("aten::convolution")
def _convolution(args: Args, kwargs: Named, out: Tensor) -> float:
    """Weight (c_out, c_in / groups, k...): a filter for each output number; transposed: each input number."""
    source, weight = args[0], args[1]
    return 2 * (source if kwargs["transposed"] else out).numel() * prod(weight.shape[1:])


@formula("aten::convolution_backward")
def _convolution_backward(args: Args, kwargs: Named, out: Any) -> float:
    """As much as the forward pass for each of the gradients of input and weight that is asked for."""
    gradient, source, weight = args[:3]
    once = 2 * (source if kwargs["transposed"] else gradient).numel() * prod(weight.shape[1:])
    return once * sum(kwargs["output_mask"][:2])


@formula("aten::conv_tbc")
def _convolution_tbc(args: Args, kwargs: Named, out: Tensor) -> float:
    return 2 * out.numel() * prod(args[1].shape[:2])


@formula("quantized::conv1d", "quantized::conv1d_relu", number="int8")
@formula("quantized::conv2d", "quantized::conv2d_relu", number="int8")
def _quantized_convolution(args: Args, kwargs: Named, out: Tensor) -> float:
    return 2 * out.numel() * prod(packed_tensors(args[1])[0].shape[1:])


def packed_tensors(packed: Any) -> list[Tensor]:
    """The tensors in a packed parameter of torch.ao: weight, bias; of a recurrent cell both pairs."""
    if hasattr(packed, "unpack"):
        return [part for part in packed.unpack() if isinstance(part, Tensor)]
    (_, _, _, _, cells), _ = packed.__getstate__()  # CellParamsBase: kind, tensors, doubles, longs, packed
    return [part for cell in cells for part in packed_tensors(cell)]


# ---------------------------------------------------------------- attention


def attention_pairs(queries: int, keys: int, causal: bool) -> int:
    """Pairs (i, j) that take part; causal: j <= i, so min(i + 1, keys) for query i."""
    if not causal:
        return queries * keys
    square = min(queries, keys)
    return square * (square + 1) // 2 + (queries - square) * keys


def _attention(kwargs: Named, score_products: int, value_products: int) -> float:
    """Query (B, H, L, D), key (B, H', S, D), value (B, H', S, V): 2 B H pairs (D or V) for each product."""
    query, key, value = kwargs["query"], kwargs["key"], kwargs["value"]
    pairs = attention_pairs(query.shape[-2], key.shape[-2], kwargs["is_causal"])
    width = score_products * query.shape[-1] + value_products * value.shape[-1]
    return 2 * prod(query.shape[:-2]) * pairs * width


_FUSED = "flash_attention_for_cpu flash_attention efficient_attention cudnn_attention"


@formula(*(f"aten::_scaled_dot_product_{kind}" for kind in _FUSED.split()))
def _attention_forward(args: Args, kwargs: Named, out: Any) -> float:
    return _attention(kwargs, score_products=1, value_products=1)


@formula(*(f"aten::_scaled_dot_product_{kind}_backward" for kind in _FUSED.split()))
def _attention_backward(args: Args, kwargs: Named, out: Any) -> float:
    """Scores again, dQ, dK (width D each); dP, dV (width V each)."""
    return _attention(kwargs, score_products=3, value_products=2)


@formula("aten::_native_multi_head_attention")
def _multi_head(args: Args, kwargs: Named, out: Any) -> float:
    query, key, value, width = args[:4]
    rows = (
        2 * query.numel() + key.numel() + value.numel()
    ) // width  # projections of q, k, v and of the output
    batch, queries, keys = query.shape[0], query.shape[1], key.shape[1]
    return 2 * rows * width**2 + 4 * batch * queries * keys * width


@formula("aten::_transformer_encoder_layer_fwd")
def _encoder_layer(args: Args, kwargs: Named, out: Any) -> float:
    source, width = args[:2]
    inner = kwargs["ffn_weight_1"].numel() + kwargs["ffn_weight_2"].numel()
    return _multi_head((source, source, source, width), {}, None) + 2 * source.numel() // width * inner


# ---------------------------------------------------------------- recurrent layers


@formula("aten::mkldnn_rnn_layer")
def _rnn_layer(args: Args, kwargs: Named, out: Any) -> float:
    """One layer and direction, input (steps, batch, k): both weight matrices once a step and sequence."""
    source = args[0]
    return 2 * source.numel() // source.shape[-1] * (args[1].numel() + args[2].numel())


@formula("aten::mkldnn_rnn_layer_backward")
def _rnn_layer_backward(args: Args, kwargs: Named, out: Any) -> float:
    return 2 * _rnn_layer(args, kwargs, out)


def _rnn_stack(source: Tensor, weights: list[Tensor]) -> float:
    steps = source.numel() // source.shape[-1]
    return 2 * steps * sum(weight.numel() for weight in weights if weight.ndim == 2)


@formula("aten::_cudnn_rnn")
def _cudnn_rnn(args: Args, kwargs: Named, out: Any) -> float:
    return _rnn_stack(args[0], args[1])


@formula("aten::_cudnn_rnn_backward")
def _cudnn_rnn_backward(args: Args, kwargs: Named, out: Any) -> float:
    return 2 * _rnn_stack(args[0], args[1])


@formula("aten::quantized_lstm", "aten::quantized_gru", number="int8")
def _quantized_rnn(args: Args, kwargs: Named, out: Any) -> float | None:
    cells = kwargs.get("params")
    return None if cells is None else _rnn_stack(args[0], [t for cell in cells for t in packed_tensors(cell)])
