"""The registry of operators: which have a FLOP formula, which have no FLOPs, and which torch can open.

Four things can happen to an operator, tried in this order:

1. it is written by torch in terms of others (a composite): its parts are counted instead;
2. it has a formula (`benchmarks/formulas.py`, or one that a project registers with `formula`);
3. it is free: a view, a copy, a gather, elementwise work, a reduction, an optimiser's step, a random number.
   By the field's convention FLOPs are those of contractions only;
4. it is none of these: unknown, and the whole count becomes None with its name, never 0.

Operators outside torch's own namespace `aten` are never free by rule: a custom operator needs a formula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import torch
from torch._C import DispatchKey, _dispatch_has_kernel_for_dispatch_key
from torch._ops import OpOverload, OpOverloadPacket

#: (args, kwargs, out) -> FLOPs (2 x multiply-adds), or None where this call cannot be counted. `args` are all
#: positional arguments, `kwargs` all arguments by their name in the schema, both with the defaults filled in.
Formula = Callable[[tuple[Any, ...], dict[str, Any], Any], float | None]
F = TypeVar("F", bound=Formula)


@dataclass(frozen=True)
class Entry:
    """A formula and how to read its result.

    Attributes:
        flops: the formula, written for real numbers.
        number: the arithmetic in which it is done ("int8"); None: that of the first floating-point argument.
        complex_factor: real multiply-adds in one complex multiply-add; 1 where the formula has it already.
    """

    flops: Formula
    number: str | None = None
    complex_factor: int = 4


_TABLE: dict[str, Entry] = {}


def formula(
    *operators: str | OpOverloadPacket, number: str | None = None, complex_factor: int = 4
) -> Callable[[F], F]:
    """Register a formula for operators, given as `torch.ops.aten.mm` or "aten::mm"; in-place forms follow."""

    def register(flops: F) -> F:
        for operator in operators:
            name = operator if isinstance(operator, str) else operator._qualified_op_name
            _TABLE[name] = Entry(flops, number, complex_factor)
        entry.cache_clear()
        opening.cache_clear()
        return flops

    return register


def name_of(operator: OpOverload) -> str:
    """The operator's name without its overload: "aten::mm"."""
    return operator._schema.name


@cache
def entry(operator: OpOverload) -> Entry | None:
    """The formula of an operator or of its out-of-place form, if there is one."""
    name = name_of(operator)
    return _TABLE.get(name) or _TABLE.get(name.removesuffix("_"))


def bind(operator: OpOverload, args: tuple, kwargs: dict) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """All arguments of a call, by position and by name, with the schema's defaults filled in."""
    positions, names = [], {}
    for place, argument in enumerate(operator._schema.arguments):
        given = place < len(args)
        value = args[place] if given else kwargs.get(argument.name, argument.default_value)
        names[argument.name] = value
        if not argument.kwarg_only:
            positions.append(value)
    return tuple(positions), names


@cache
def opening(operator: OpOverload) -> Callable[..., Any] | None:
    """Code in torch for a composite operator, in terms of others; None where it has a kernel of its own.

    Autograd opens composites before a mode sees them, but not under `torch.inference_mode`: with this, both
    count the same operators. It is the code that would have run, so results stay the same bit for bit.
    Those of torch that are composite below autograd ("explicit") are opened only where they would be unknown,
    custom ones never, since what they call may be a C kernel that nobody sees.
    """
    name = operator.name()
    keys = [DispatchKey.CompositeImplicitAutograd]
    if operator.namespace in _FREE_NAMESPACES or (
        operator.namespace != "aten" and entry(operator) is not None
    ):
        return None
    if operator.namespace == "aten" and entry(operator) is None and not is_free(operator):
        keys += [DispatchKey.CompositeExplicitAutograd, DispatchKey.CompositeExplicitAutogradNonFunctional]
    if any(_dispatch_has_kernel_for_dispatch_key(name, device) for device in ("CPU", "CUDA")):
        return None
    for key in keys:
        if _dispatch_has_kernel_for_dispatch_key(name, key):
            return lambda *args, **kwargs: operator._op_dk(key, *args, **kwargs)
    return None


@cache
def is_free(operator: OpOverload) -> bool:
    """True for an operator of torch that does no contraction: by tag, schema, prefix or the list below."""
    namespace, _, name = name_of(operator).partition("::")
    if namespace != "aten":
        return namespace in _FREE_NAMESPACES or f"{namespace}::{name}" in _FREE
    packet = operator._overloadpacket  # forms with `out` lack the tags of their siblings
    tags = {tag for overload in packet.overloads() for tag in getattr(packet, overload).tags}
    if tags & {torch.Tag.pointwise, torch.Tag.reduction, torch.Tag.view_copy, torch.Tag.inplace_view}:
        return True
    arguments = [a for a in operator._schema.arguments if not (a.kwarg_only and a.is_write)]
    if operator.is_view or not any("Tensor" in str(argument.type) for argument in arguments):
        return True
    base = name.removesuffix("_")
    return name in _FREE or base in _FREE or base.startswith(_FREE_PREFIXES)


_FREE_NAMESPACES = {"profiler", "prim", "prims"}

_PREFIXES = """
    _foreach_ _fused_adam _fused_sgd _fused_adagrad _amp_ _assert _functional_assert index _index
    _unsafe_index _unsafe_masked_index scatter masked_ embedding _embedding_bag new_ slice_ select_
    unsafe_split reflection_pad replication_pad _to_sparse is_ avg_pool max_pool adaptive_avg_pool
    _adaptive_avg_pool adaptive_max_pool fractional_max_pool max_unpool quantized_max_pool mkldnn_max_pool
    mkldnn_adaptive_avg_pool upsample_ _upsample_ grid_sampler _grid_sampler quantize_per_ fake_quantize_
    _fake_quantize_ _fused_moving_avg_obs q_per_channel_ batch_norm_ native_batch_norm _native_batch_norm
    _batch_norm_ cudnn_batch_norm native_layer_norm native_group_norm _fused_rms_norm nll_loss unique _unique
    _sparse_softmax _sparse_log_softmax _sparse_sum _thnn_fused_ _weight_norm_interface _convert_indices_
    _convert_weight_to_int4pack segment_reduce _segment_reduce native_dropout sym_ _philox_
"""

_NAMES = """
    _unsafe_view _reshape_copy _lazy_clone lift split slice select cat stack _stack _chunk_cat block_diag
    repeat repeat_interleave roll flip rot90 constant_pad_nd pixel_shuffle pixel_unshuffle channel_shuffle
    native_channel_shuffle im2col col2im unfold_backward diagonal_backward diagonal_scatter as_strided_scatter
    tril triu diag_embed trace _to_copy to copy _copy_from _copy_from_and_resize fill zero empty_like
    zeros_like ones_like full_like rand_like randn_like randint_like _pin_memory resize resize_as
    _resize_output set complex polar linspace logspace numpy_T mT mH matrix_H

    _to_dense sparse_mask _coalesce _coalesced _nnz sparse_dim dense_dim values indices
    _sparse_mask_projection _spdiags _sparse_csr_sum _sparse_csr_prod copy_sparse_to_sparse sparse_resize
    sparse_resize_and_clear resize_as_sparse _validate_compressed_sparse_indices
    _sparse_coo_tensor_with_dims_and_tensors sparse_compressed_tensor to_mkldnn mkldnn_reorder_conv2d_weight
    mkldnn_reorder_conv3d_weight _mkldnn_reshape _mkldnn_transpose

    bernoulli normal normal_functional uniform random exponential geometric cauchy log_normal multinomial
    poisson binomial _fused_dropout _masked_scale _standard_gamma _standard_gamma_grad _sample_dirichlet
    _dirichlet_grad

    sum cumsum cumprod cummax cummin _cummax_helper _cummin_helper logcumsumexp _logcumsumexp sort topk
    kthvalue median nanmedian mode searchsorted bucketize bincount histc histogram all any _is_all_true
    _is_any_true _aminmax nonzero nonzero_static dist native_norm renorm allclose isin isfinite isinf isnan
    hash_tensor gather take put

    add sub mul div pow remainder fmod floor_divide eq ne lt le gt ge sqrt neg abs exp log log10 log1p expm1
    ceil floor round sin cos tan sinh cosh tanh asin acos atan asinh acosh atanh atan2 erf erfc lgamma angle
    copysign frexp ldexp gcd lcm __and__ __or__ __xor__ __lshift__ __rshift__ __irshift__ __ilshift__
    heaviside threshold mish_backward gelu mish elu_backward glu glu_backward glu_jvp glu_backward_jvp
    hardshrink_backward hardsigmoid_backward hardswish hardswish_backward hardtanh_backward
    leaky_relu_backward log_sigmoid_forward log_sigmoid_backward softplus_backward softshrink_backward
    _prelu_kernel _prelu_kernel_backward rrelu_with_noise rrelu_with_noise_backward
    rrelu_with_noise_functional _add_relu

    _softmax _softmax_backward_data _log_softmax _log_softmax_backward_data _safe_softmax _masked_softmax
    _masked_softmax_backward softmax log_softmax binary_cross_entropy binary_cross_entropy_backward
    binary_cross_entropy_with_logits huber_loss huber_loss_backward mse_loss mse_loss_backward smooth_l1_loss
    smooth_l1_loss_backward soft_margin_loss soft_margin_loss_backward multi_margin_loss
    multi_margin_loss_backward multilabel_margin_loss_forward multilabel_margin_loss_backward _ctc_loss
    _ctc_loss_backward _cudnn_ctc_loss value_selecting_reduction_backward

    dequantize int_repr q_scale q_zero_point qscheme _make_per_tensor_quantized_tensor empty_quantized
    _make_per_channel_quantized_tensor quantized_batch_norm _dyn_quant_pack_4bit_weight

    _local_scalar_dense equal record_stream size stride _has_same_storage_numel _fused_sdp_choice
    _linalg_check_errors _use_cudnn_ctc_loss _pack_padded_sequence _cudnn_rnn_flatten_weight
    _transform_bias_rescale_qkv _compute_contiguous_strides_offsets linalg_cross lu_unpack

    quantized::add quantized::add_relu quantized::mul quantized::mul_relu quantized::add_scalar
    quantized::mul_scalar quantized::cat quantized::relu6 quantized::sigmoid quantized::hardswish
    quantized::leaky_relu quantized::clamp quantized::softmax quantized::layer_norm quantized::group_norm
    quantized::batch_norm2d quantized::max_pool1d quantized::batch_norm2d_relu quantized::max_pool2d
    quantized::linear_prepack quantized::linear_unpack quantized::linear_prepack_fp16
    quantized::linear_unpack_fp16 quantized::conv2d_prepack quantized::conv2d_unpack quantized::conv1d_prepack
    quantized::conv1d_unpack quantized::embedding_byte quantized::embedding_4bit quantized::embedding_bag_byte
    quantized::embedding_bag_4bit quantized::embedding_bag_prepack quantized::make_quantized_cell_params
    quantized::make_quantized_cell_params_dynamic
"""

_FREE_PREFIXES = tuple(_PREFIXES.split())
_FREE = frozenset(_NAMES.split())
