"""FLOP formulas of dense linear algebra and Fourier transforms; conventions in `benchmarks/formulas.py`."""

from __future__ import annotations

from math import log2, prod
from typing import Any

from torch import Tensor

from benchmarks.operators import formula

Args = tuple[Any, ...]
Named = dict[str, Any]


def _sizes(matrices: Tensor) -> tuple[int, int, int]:
    """Number of matrices, the longer and the shorter of their sides."""
    *batch, rows, columns = matrices.shape
    return prod(batch), max(rows, columns), min(rows, columns)


@formula("aten::linalg_lu_factor_ex", "aten::linalg_lu", "aten::_linalg_det", "aten::_linalg_slogdet")
def _lu(args: Args, kwargs: Named, out: Any) -> float:
    """Sides l >= s: l s^2 - s^3 / 3, so 2/3 n^3 where square."""
    batch, long, short = _sizes(args[0])
    return batch * (long * short**2 - short**3 / 3)


@formula("aten::_linalg_solve_ex")
def _solve(args: Args, kwargs: Named, out: Any) -> float:
    """LU and two triangular solves: 2/3 n^3 + 2 n^2 a right-hand side."""
    return _lu(args, kwargs, out) + 2 * args[0].shape[-1] * out[0].numel()


@formula("aten::linalg_lu_solve", "aten::cholesky_solve")
def _solve_factored(args: Args, kwargs: Named, out: Tensor) -> float:
    """2 n^2 a right-hand side; n is a side of the factor, which stands first or second."""
    factor = kwargs["LU"] if "LU" in kwargs else args[1]
    return 2 * factor.shape[-1] * out.numel()


@formula("aten::linalg_solve_triangular")
def _solve_triangular(args: Args, kwargs: Named, out: Tensor) -> float:
    return args[0].shape[-1] * out.numel()


@formula("aten::triangular_solve")
def _triangular_solve(args: Args, kwargs: Named, out: Any) -> float:
    return args[1].shape[-1] * out[0].numel()


@formula("aten::linalg_inv_ex")
def _inverse(args: Args, kwargs: Named, out: Any) -> float:
    batch, n, _ = _sizes(args[0])
    return batch * 2 * n**3


@formula("aten::linalg_cholesky_ex", "aten::cholesky")
def _cholesky(args: Args, kwargs: Named, out: Any) -> float:
    batch, n, _ = _sizes(args[0])
    return batch * n**3 / 3


@formula("aten::cholesky_inverse")
def _cholesky_inverse(args: Args, kwargs: Named, out: Any) -> float:
    batch, n, _ = _sizes(args[0])
    return batch * 2 * n**3 / 3


@formula("aten::geqrf")
def _reflectors(args: Args, kwargs: Named, out: Any) -> float:
    batch, long, short = _sizes(args[0])
    return batch * (2 * long * short**2 - 2 * short**3 / 3)


def _form_q(batch: int, rows: int, columns: int, reflectors: int) -> float:
    """ORGQR: the first columns of the product of k reflectors of length m."""
    m, c, k = rows, columns, reflectors
    return batch * (4 * m * c * k - 2 * (m + c) * k**2 + 4 * k**3 / 3)


@formula("aten::linalg_qr")
def _qr(args: Args, kwargs: Named, out: Any) -> float:
    """The reflectors, and Q from them unless mode is "r"."""
    reflectors = _reflectors(args, kwargs, out)
    if kwargs["mode"] == "r":
        return reflectors
    *batch, rows, columns = out[0].shape
    return reflectors + _form_q(prod(batch), rows, columns, min(args[0].shape[-2:]))


@formula("aten::linalg_householder_product")
def _householder_product(args: Args, kwargs: Named, out: Tensor) -> float:
    *batch, rows, columns = out.shape
    return _form_q(prod(batch), rows, columns, args[1].shape[-1])


@formula("aten::linalg_lstsq")
def _least_squares(args: Args, kwargs: Named, out: Any) -> float:
    """By QR, as the default driver does: reflectors, Q^T b and a triangular solve for each column of b."""
    matrices, right = args[:2]
    batch, long, short = _sizes(matrices)
    columns = batch if right.ndim < matrices.ndim else right.numel() // right.shape[-2]
    return _reflectors(args, kwargs, out) + columns * (4 * long * short - 2 * short**2 + short**2)


@formula("aten::_linalg_svd")
def _svd(args: Args, kwargs: Named, out: Any) -> float:
    """Sides m >= n: values 4 m n^2 - 4/3 n^3, thin 14 m n^2 + 8 n^3, full 4 m^2 n + 8 m n^2 + 9 n^3."""
    batch, m, n = _sizes(args[0])
    if not kwargs["compute_uv"]:
        return batch * (4 * m * n**2 - 4 * n**3 / 3)
    if not kwargs["full_matrices"]:
        return batch * (14 * m * n**2 + 8 * n**3)
    return batch * (4 * m**2 * n + 8 * m * n**2 + 9 * n**3)


@formula("aten::_linalg_eigh")
def _symmetric_eigen(args: Args, kwargs: Named, out: Any) -> float:
    batch, n, _ = _sizes(args[0])
    return batch * (9 if kwargs["compute_v"] else 4 / 3) * n**3


@formula("aten::linalg_eig")
def _eigen(args: Args, kwargs: Named, out: Any) -> float:
    batch, n, _ = _sizes(args[0])
    return batch * 25 * n**3


@formula("aten::_linalg_eigvals")
def _eigenvalues(args: Args, kwargs: Named, out: Any) -> float:
    batch, n, _ = _sizes(args[0])
    return batch * 10 * n**3


@formula("aten::_fft_c2c", "aten::_fft_r2c", "aten::_fft_c2r", complex_factor=1)
def _fourier(args: Args, kwargs: Named, out: Tensor) -> float:
    """5 N log2 N a complex transform, 2.5 N log2 N where one side is real (only that side is whole)."""
    source, dims = args[0], args[1]
    real = not (source.is_complex() and out.is_complex())
    whole = out if not out.is_complex() else source
    length = prod(whole.shape[dim] for dim in dims)
    return (2.5 if real else 5) * whole.numel() * log2(length) if length > 1 else 0
