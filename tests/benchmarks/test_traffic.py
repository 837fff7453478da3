"""Bytes moved and bytes alive of programs small enough to add up by hand; a number is 4 bytes (float32)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.counting import Count, Counter, count

N = 100
X, Y, SQUARE = torch.randn(N), torch.randn(N), torch.randn(10, 10)
TABLE = torch.randn(50, 8)
ROWS = torch.tensor([3, 7, 3])  # 3 x 8 bytes
ZEROS = torch.zeros(N, dtype=torch.long)
CSR = torch.eye(10).to_sparse_csr()  # 10 values, 10 columns and 11 row pointers of 8 bytes

MOVED: dict[str, tuple[Callable[[], Any], int]] = {
    "add reads two, writes one": (lambda: X + Y, 4 * 3 * N),
    "the same input twice is read once": (lambda: X * X, 4 * 2 * N),
    "a number is no tensor": (lambda: X * 2, 4 * 2 * N),
    "in place: read and written": (lambda: X.clone().mul_(2), 4 * 2 * N + 4 * 2 * N),
    "views": (lambda: SQUARE.t().reshape(4, 25)[1:].unsqueeze(0).detach(), 4 * 2 * N),  # reshape copies
    "only views": (lambda: SQUARE.t()[2:].unsqueeze(0).expand(3, 8, 10).view(3, 8, 2, 5), 0),
    "two parts of one tensor": (lambda: X[:40] + X[40:80], 4 * 3 * 40),
    "broadcast input": (lambda: X[:1].expand(N) + X, 4 * (1 + 2 * N)),
    "a tensor made from Python": (lambda: torch.tensor([1.0, 2.0]), 0),
    "an allocation": (lambda: torch.empty(N), 0),
    "fill only writes": (lambda: torch.empty(N).fill_(1.0), 4 * N),
    "copy reads one, writes one": (lambda: torch.empty(N).copy_(X), 4 * 2 * N),
    "out= is not read": (lambda: torch.add(X, Y, out=torch.empty(N)), 4 * 3 * N),
    "random numbers": (lambda: torch.randn(N), 4 * N),
    "reduction": (lambda: X.sum(), 4 * (N + 1)),
    "matmul": (lambda: SQUARE @ torch.ones(10, 2), 4 * (20 + 100 + 20 + 20)),
    "foreach": (lambda: torch._foreach_add_([X.clone(), Y.clone()], 1.0), 4 * (4 * N + 4 * N)),
    "embedding reads its rows": (lambda: F.embedding(ROWS, TABLE), 3 * 8 + 4 * (3 * 8 + 3 * 8)),
    "index reads its rows": (lambda: TABLE[ROWS], 3 * 8 + 4 * (3 * 8 + 3 * 8)),
    "a gather reads at most all": (lambda: X[:5][ZEROS], 8 * N + 4 * (5 + N)),
    "index_copy_ writes its rows": (
        lambda: torch.empty(50, 8).index_copy_(0, ROWS, TABLE[:3]),
        3 * 8 + 4 * (3 * 8 + 3 * 8),
    ),
    "index_add_ reads them, too": (
        lambda: torch.empty(50, 8).index_add_(0, ROWS, TABLE[:3]),
        3 * 8 + 4 * (3 * 8 + 2 * 3 * 8),
    ),
    "sparse": (lambda: CSR @ SQUARE, (4 * 10 + 8 * 10 + 8 * 11) + 4 * 200),
    "asking for a number": (lambda: X[0].item(), 4),
    "asking for sizes": (lambda: (X.is_contiguous(), CSR.shape), 0),
}


@pytest.mark.parametrize("name", MOVED)
def test_bytes_moved(name: str) -> None:
    call, by_hand = MOVED[name]
    with torch.no_grad():
        assert count(call).bytes_moved == by_hand
    with torch.inference_mode():
        assert count(call).bytes_moved == by_hand


def test_bytes_of_packed_int8_weights() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(40, 30)), {nn.Linear})
    moved = count(lambda: layer(torch.ones(2, 40))).bytes_moved
    made = 4 * 80  # torch.ones
    assert moved == made + 4 * 80 + (1 * 40 * 30 + 4 * 30) + 4 * 60


# ---------------------------------------------------------------- bytes alive


def peak(call: Callable[[], Any]) -> int:
    return count(call).peak_live_bytes


def test_what_existed_before_is_not_counted_and_views_add_nothing() -> None:
    assert peak(lambda: X.view(10, 10).t()[3:]) == 0
    assert peak(lambda: X + Y) == 4 * N
    assert peak(lambda: torch.tensor([1.0, 2.0])) == 4 * 2
    assert peak(lambda: (X + Y).view(10, 10).t().detach()) == 4 * N
    assert peak(lambda: X.clone().mul_(2).add_(1)) == 4 * N


def test_a_freed_temporary_makes_room() -> None:
    def chain() -> Tensor:
        value = X
        for _ in range(5):
            value = value * 2  # the new one and the one before
        return value

    def kept() -> list[Tensor]:
        return [X * 2 for _ in range(5)]

    assert peak(chain) == 4 * 2 * N
    assert peak(kept) == 4 * 5 * N


def test_a_view_keeps_its_storage_alive() -> None:
    def program() -> Tensor:
        first = (X * 2)[:1]
        return first + (Y * 2)

    assert peak(program) == 4 * (N + N + N)  # X * 2 behind `first`, Y * 2, the sum


def test_the_peak_is_a_moment_and_not_the_end() -> None:
    def program() -> Tensor:
        big = torch.ones(10 * N)
        small = big.sum()
        del big
        return small + torch.ones(1)

    assert peak(program) == 4 * (10 * N + 1)


def test_autograd_holds_one_activation_a_layer() -> None:
    def forward(depth: int) -> Callable[[], Tensor]:
        layers = nn.Sequential(*(nn.Sequential(nn.Linear(10, 10), nn.Tanh()) for _ in range(depth)))
        x = torch.randn(32, 10)
        return lambda: layers(x)

    activation = 4 * 32 * 10
    with torch.no_grad():
        # the caller still holds the block's input while tanh reads the linear layer's result
        assert peak(forward(4)) == peak(forward(8)) == 3 * activation
    assert peak(forward(4)) == (4 + 1) * activation  # tanh keeps its result; the last linear's is still there
    assert peak(forward(8)) - peak(forward(4)) == 4 * activation


def test_backward_counts_gradients() -> None:
    weight = torch.randn(10, 10, requires_grad=True)
    loss = (SQUARE @ weight).sum()
    result = count(loss.backward)
    assert result.peak_live_bytes == 4 * (1 + 100)  # ones_like(loss), grad of weight; expand is a view
    assert weight.grad is not None


def test_the_optimisers_state_is_counted_when_it_is_made() -> None:
    weight = nn.Parameter(torch.randn(N))
    weight.grad = torch.ones(N)
    optimizer = torch.optim.SGD([weight], 0.1, momentum=0.9, foreach=False)
    assert peak(optimizer.step) == 4 * N
    assert peak(optimizer.step) == 0


def test_a_result_that_grows_in_place_of_out() -> None:
    assert peak(lambda: torch.add(X, Y, out=torch.empty(0))) == 4 * N


def test_sparse_results_count_indices_and_values() -> None:
    assert peak(lambda: CSR.clone()) == 4 * 10 + 8 * 10 + 8 * 11


def test_storages_made_before_a_second_entry_stay_counted() -> None:
    counter = Counter()
    with counter:
        first = X * 2
    with counter:
        second = Y * 2
    assert counter.count().peak_live_bytes == 4 * 2 * N
    del first, second
    with counter:
        X * 2
    assert counter.count() == Count(0, 4 * 6 * N, 4 * 2 * N)
