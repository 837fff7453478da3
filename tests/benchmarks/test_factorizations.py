"""Solvers, factorisations and Fourier transforms against their textbook counts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from math import log2

import torch

from benchmarks.counting import Counter, count

R = torch.randn
aten = torch.ops.aten


def flops(call: Callable[[], object]) -> int | None:
    """FLOPs, which must be the same with gradients, without them and in inference mode."""
    results = []
    for mode in (torch.enable_grad(), torch.no_grad(), torch.inference_mode()):
        with mode, Counter() as counter:
            call()
        results.append(counter.count())
    assert len({result.flops for result in results}) == 1, results
    return results[0].flops


def test_fourier_transforms() -> None:
    x = R(3, 8)
    assert flops(lambda: torch.fft.fft(x.to(torch.cfloat))) == 3 * 5 * 8 * 3
    assert flops(lambda: torch.fft.rfft(x)) == 3 * 2.5 * 8 * 3
    assert flops(lambda: torch.fft.irfft(torch.fft.rfft(x))) == 3 * 5 * 8 * 3
    assert flops(lambda: torch.fft.fft2(R(2, 4, 8).to(torch.cfloat))) == 2 * 5 * 32 * 5
    assert flops(lambda: torch.fft.rfft2(R(2, 4, 8))) == 2 * 2.5 * 32 * 5
    assert flops(lambda: torch.fft.fft(R(1, 6).to(torch.cfloat))) == round(5 * 6 * log2(6))
    assert flops(lambda: torch.fft.fft(R(3, 1).to(torch.cfloat))) == 0


def test_solvers_and_factorisations() -> None:
    square = R(2, 6, 6) + 9 * torch.eye(6)
    spd, tall, right = square @ square.mT, R(8, 5), R(2, 6, 3)
    assert flops(lambda: torch.linalg.solve(square, right)) == 2 * (2 / 3 * 216 + 2 * 36 * 3)
    assert flops(lambda: torch.linalg.solve_triangular(square.triu(), right, upper=True)) == 2 * 36 * 3
    assert flops(lambda: torch.linalg.cholesky(spd)) == 2 * 216 / 3
    assert flops(lambda: torch.cholesky_solve(right, spd)) == 2 * 2 * 36 * 3
    assert flops(lambda: torch.linalg.inv(square)) == 2 * 2 * 216
    for lu in (torch.linalg.det, torch.linalg.slogdet, torch.linalg.lu, torch.linalg.lu_factor):
        assert flops(lambda lu=lu: lu(square)) == 2 * 2 / 3 * 216
    factors = torch.linalg.lu_factor(square)
    assert flops(lambda: torch.linalg.lu_solve(*factors, right)) == 2 * 2 * 36 * 3
    assert flops(lambda: torch.linalg.lu_factor(tall)) == round(8 * 25 - 125 / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still called
        assert flops(lambda: torch.triangular_solve(right, square)) == 2 * 36 * 3
        assert flops(lambda: torch.cholesky(spd)) == 2 * 216 / 3
    assert flops(lambda: torch.cholesky_inverse(spd)) == 2 * 2 / 3 * 216
    reflectors = 2 * 8 * 25 - 2 / 3 * 125
    assert flops(lambda: torch.linalg.qr(tall, mode="r")) == round(reflectors)
    assert flops(lambda: torch.linalg.qr(tall)) == round(2 * reflectors)  # Q (8, 5) costs as much again
    by_qr = reflectors + 3 * ((4 * 8 * 5 - 2 * 25) + 25)
    assert flops(lambda: torch.linalg.lstsq(tall, R(8, 3))) == round(by_qr)
    assert flops(lambda: torch.geqrf(tall)) == round(reflectors)
    assert flops(lambda: torch.linalg.householder_product(tall, R(5))) == round(reflectors)
    assert flops(lambda: torch.linalg.svd(tall, full_matrices=False)) == 14 * 8 * 25 + 8 * 125
    assert flops(lambda: torch.linalg.svd(tall)) == 4 * 64 * 5 + 8 * 8 * 25 + 9 * 125
    assert flops(lambda: torch.linalg.eigh(spd)) == 2 * 9 * 216
    assert flops(lambda: torch.linalg.eig(square)) == 2 * 25 * 216
    assert count(lambda: aten._linalg_eigvals(square)).flops == 2 * 10 * 216
    assert count(lambda: aten._linalg_eigh(spd, "L", False)).flops == 2 * 4 / 3 * 216
    assert count(lambda: aten._linalg_svd(tall, False, False)).flops == round(4 * 8 * 25 - 4 / 3 * 125)
    complex_square = square.to(torch.cfloat)
    assert flops(lambda: torch.linalg.inv(complex_square)) == 4 * 2 * 2 * 216
    assert (
        flops(lambda: torch.linalg.pinv(tall)) == 14 * 200 + 8 * 125 + 2 * 5 * 5 * 8
    )  # opened: SVD and product
