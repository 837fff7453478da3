"""The arithmetic of quantization: exact packing, rounding by hand, trit planes against their equations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.quantization import planes, rounding


def gaussian(blocks: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(blocks, size, generator=torch.Generator().manual_seed(seed))


def relative_mse(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact.double()).square().sum() / exact.double().square().sum())


def rebuilt(trits: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    return (trits.double() * scales.double()[..., None]).sum(0)


# -------------------------------------------------------------------- packing


@given(st.integers(1, 8), st.lists(st.integers(0, 255), min_size=1, max_size=90))
@settings(deadline=None, max_examples=80)
def test_codes_come_back_exactly(bits: int, numbers: list[int]) -> None:
    codes = torch.tensor([number % 2**bits for number in numbers], dtype=torch.uint8)
    packed = rounding.pack_bits(codes, bits)
    assert packed.dtype == torch.uint8 and packed.ndim == 1
    assert len(packed) == -(-len(numbers) * bits // 8)
    assert torch.equal(rounding.unpack_bits(packed, bits, len(numbers)), codes)


@given(st.lists(st.integers(-1, 1), min_size=1, max_size=60))
@settings(deadline=None, max_examples=80)
def test_trits_come_back_exactly(numbers: list[int]) -> None:
    packed = rounding.pack_trits(torch.tensor(numbers))
    assert packed.dtype == torch.uint8 and len(packed) == -(-len(numbers) // 5)
    assert rounding.unpack_trits(packed, len(numbers)).tolist() == numbers


def test_packing_by_hand() -> None:
    assert rounding.pack_bits(torch.tensor([1, 2, 3, 0]), 2).tolist() == [1 + 2 * 4 + 3 * 16]
    assert rounding.pack_bits(torch.tensor([5, 3, 7]), 3).tolist() == [0b11_011_101, 0b1]
    assert rounding.pack_bits(torch.tensor([1, 0, 1]), 1).tolist() == [0b101]
    assert rounding.pack_trits(torch.tensor([1, 0, -1, 0, 1])).tolist() == [
        2 + 1 * 3 + 0 * 9 + 1 * 27 + 2 * 81
    ]
    assert rounding.pack_trits(torch.ones(5)).tolist() == [242]


@pytest.mark.parametrize(
    ("row", "wanted", "size"), [(1024, 128, 128), (64, 128, 64), (192, 128, 96), (97, 32, 1), (96, 0, 96)]
)
def test_groups_divide_a_row(row: int, wanted: int, size: int) -> None:
    assert rounding.group_size(row, wanted) == size


# -------------------------------------------------------------------- rounding


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("shape", [(1, 960), (6, 160), (60, 16)], ids=["tensor", "row", "group"])
def test_no_weight_is_clipped(bits: int, symmetric: bool, shape: tuple[int, int]) -> None:
    blocks = (
        gaussian(*shape, seed=bits) * 10.0 ** torch.arange(-3, 3).repeat(-(-shape[0] // 6))[: shape[0], None]
    )
    blocks[0, :3] = torch.tensor([0.0, 1e-9, -1e-9])
    found = rounding.round_to_nearest(blocks, bits, symmetric)
    scale = found.scale.double()[:, None]
    assert ((found.values().double() - blocks.double()).abs() <= scale * (0.5 + 1e-5)).all()
    assert (found.values()[blocks == 0] == 0).all()
    assert int(found.codes.max()) <= 2**bits - 1
    # scales are the equation's, up to half precision
    span = blocks.abs().amax(1) if symmetric else blocks.amax(1).clamp(min=0) - blocks.amin(1).clamp(max=0)
    exact = span.double() / (2 ** (bits - 1) - 1 if symmetric else 2**bits - 1)
    assert ((scale[:, 0] >= exact * (1 - 1e-6)) & (scale[:, 0] <= exact * (1 + 2**-9) + 2**-24)).all()


def test_rounding_by_hand() -> None:
    found = rounding.round_to_nearest(torch.tensor([[-1.0, 0.0, 0.4, 2.0]]), 2)
    assert (found.codes.tolist(), found.scale.item(), found.zero.item()) == ([[0, 1, 1, 3]], 1.0, 1)
    assert found.values().tolist() == [[-1.0, 0.0, 0.0, 2.0]]
    # a range on one side is widened to hold zero
    found = rounding.round_to_nearest(torch.tensor([[2.0, 3.0]]), 2)
    assert (found.codes.tolist(), found.zero.item()) == ([[2, 3]], 0)
    found = rounding.round_to_nearest(torch.tensor([[-3.0, 1.4, 1.6]]), 3, symmetric=True)
    assert found.values().tolist() == [[-3.0, 1.0, 2.0]]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_what_is_on_the_grid_stays(bits: int, symmetric: bool) -> None:
    low = -(2 ** (bits - 1)) + 1
    grid = torch.arange(low, 2 ** (bits - 1) + (0 if symmetric else 1)).float() * 0.125
    found = rounding.round_to_nearest(grid[None], bits, symmetric)
    assert torch.equal(found.values(), grid[None])
    again = rounding.round_to_nearest(found.values(), bits, symmetric)
    assert torch.equal(again.codes, found.codes)


@pytest.mark.parametrize(("bits", "known"), [(2, 0.250), (3, 0.046), (4, 0.0099)])
def test_error_on_gaussian_weights(bits: int, known: float) -> None:
    """Against a numpy simulation by other hands: groups of 128, asymmetric."""
    blocks = gaussian(1500, 128)
    assert relative_mse(rounding.round_to_nearest(blocks, bits).values(), blocks) == pytest.approx(
        known, rel=0.03
    )


def test_a_block_of_zeros_stays_zero() -> None:
    for symmetric in (False, True):
        assert not rounding.round_to_nearest(torch.zeros(2, 8), 4, symmetric).values().any()
    for found in (planes.trit_planes(torch.zeros(2, 8))[:2], planes.sign_planes(torch.zeros(2, 8))):
        assert not rebuilt(*found).any()


# -------------------------------------------------------------------- planes


def test_trit_planes_against_the_simulation() -> None:
    """Relative squared error after rounds 1, 3, 7 and at the end, as a simulation by other hands has them."""
    blocks = gaussian(1500, 128)
    trits, scales, trace = planes.trit_planes(blocks)
    for place, known in ((0, 0.237), (2, 0.063), (6, 0.034), (-1, 0.028)):
        assert trace[place] == pytest.approx(known, rel=0.02)
    assert all(after <= before * (1 + 1e-6) for before, after in zip(trace, trace[1:], strict=False))
    assert 15 <= len(trace) <= 50
    # half precision for the scales costs next to nothing
    assert relative_mse(rebuilt(trits, scales), blocks) == pytest.approx(trace[-1], rel=1e-3)


def test_every_group_gets_better_or_stays() -> None:
    blocks = gaussian(200, 64, seed=1)
    errors = []
    for rounds in (1, 2, 3, 5, 9, 17, 50):
        trits, scales, _ = planes.trit_planes(blocks, rounds=rounds)
        errors.append((rebuilt(trits, scales) - blocks).square().sum(1))
    for before, after in itertools.pairwise(errors):
        assert (after <= before * (1 + 2e-3)).all()  # half precision of the scales is the slack


def test_the_alternation_against_loops_in_float64() -> None:
    """The equations once more, a group and a weight at a time."""
    blocks = gaussian(3, 24, seed=2)
    for row in range(3):
        w = blocks[row].double().numpy()
        t = np.stack([np.sign(w)] * 2, 1)
        for rounds in range(1, 5):
            strength = 1e-8
            while True:
                matrix = t.T @ t + strength * np.eye(2)
                if np.linalg.norm(matrix) * np.linalg.norm(np.linalg.inv(matrix)) <= 1e6 or strength >= 1.0:
                    break
                strength *= 10
            a = np.linalg.solve(matrix, t.T @ w)
            for at, weight in enumerate(w):
                # zeros first, then one trit (later plane first), then two: the first of equals wins
                pairs = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)]
                t[at] = min(pairs, key=lambda pair: round((weight - pair[0] * a[0] - pair[1] * a[1]) ** 2, 8))
            trits, _, trace = planes.trit_planes(blocks[row : row + 1], rounds=rounds)
            assert trace[-1] == pytest.approx(((w - t @ a) ** 2).sum() / (w**2).sum(), rel=1e-4)


def test_ties_go_to_the_sparser_pair() -> None:
    order = planes.candidates(2).tolist()
    assert order[0] == [0, 0] and [sum(map(abs, pair)) for pair in order] == [0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert len({tuple(pair) for pair in order}) == 9
    # equal scales: one trit can stand in either plane, and 0 is nearer than nothing
    trits, error = planes.nearest(
        torch.tensor([[0.5, 1.0, 0.0, -1.0, 2.0]]), torch.ones(2, 1), planes.candidates(2)
    )
    assert trits[:, 0].t().tolist() == [[0, 0], [0, 1], [0, 0], [0, -1], [1, 1]]
    assert error.item() == 0.25
    # both planes start alike, with the same scale to the last bit, and still separate
    blocks = gaussian(2000, 128, seed=8)
    alike = planes.ridge(blocks.sign().expand(2, -1, -1), blocks)
    assert torch.equal(alike[0], alike[1])
    trits, scales, _ = planes.trit_planes(blocks[:50])
    assert (scales[0] != scales[1]).all() and not torch.equal(trits[0], trits[1])


def test_planes_of_trits_are_fixed_points() -> None:
    """A matrix of two planes stays what it is; one of a single plane is found from its signs, too."""
    rng = torch.Generator().manual_seed(3)
    trits = torch.randint(-1, 2, (2, 40, 128), generator=rng).float()
    levels = torch.tensor([[1.0], [0.25]]).expand(2, 40)
    blocks = rebuilt(trits, levels).float()
    torch.testing.assert_close(planes.ridge(trits, blocks), levels.clone(), rtol=1e-6, atol=1e-6)
    found, error = planes.nearest(blocks, levels, planes.candidates(2))
    assert torch.equal(found, trits) and not error.any()
    found, scales, trace = planes.trit_planes(0.5 * trits[0], 1)
    assert torch.equal(found[0], trits[0]) and (scales == 0.5).all() and trace[-1] < 1e-12


def test_ridge_is_least_squares_where_that_is_well_posed() -> None:
    trits = torch.randint(-1, 2, (2, 20, 32), generator=torch.Generator().manual_seed(4)).float()
    blocks = gaussian(20, 32, seed=5)
    both, single = planes.ridge(trits, blocks), planes.ridge(trits[:1], blocks)
    for at in range(20):
        for found, basis in ((both, trits[:, at]), (single, trits[:1, at])):
            exact = np.linalg.lstsq(basis.double().numpy().T, blocks[at].double().numpy(), rcond=None)[0]
            np.testing.assert_allclose(found[:, at].numpy(), exact, rtol=1e-5, atol=1e-6)
    # equal planes share the one plane's scale
    alike = planes.ridge(trits[:1].expand(2, -1, -1), blocks)
    torch.testing.assert_close(alike, single.expand(2, -1) / 2, rtol=1e-3, atol=1e-5)


def test_scales_do_not_depend_on_the_unit() -> None:
    blocks = gaussian(100, 64, seed=6)
    one, two = planes.trit_planes(blocks), planes.trit_planes(blocks * 2.0**-6)
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1] * 2.0**6)


def test_orders_of_planes_on_gaussian_weights() -> None:
    blocks = gaussian(1000, 128, seed=7)
    found = {
        "trits": relative_mse(rebuilt(*planes.trit_planes(blocks)[:2]), blocks),
        "one": relative_mse(rebuilt(*planes.trit_planes(blocks, 1)[:2]), blocks),
        "signs": relative_mse(rebuilt(*planes.sign_planes(blocks)), blocks),
        "sign": relative_mse(rebuilt(*planes.sign_planes(blocks, 1)), blocks),
        "2 bits": relative_mse(rounding.round_to_nearest(blocks, 2).values(), blocks),
        "3 bits": relative_mse(rounding.round_to_nearest(blocks, 3).values(), blocks),
        "4 bits": relative_mse(rounding.round_to_nearest(blocks, 4).values(), blocks),
    }
    assert sorted(found, key=found.__getitem__) == [
        "4 bits",
        "trits",
        "3 bits",
        "signs",
        "one",
        "2 bits",
        "sign",
    ]
    assert found["sign"] == pytest.approx(1 - 2 / np.pi, rel=0.02)  # E|w|^2 = 2 / pi
    assert found["signs"] == pytest.approx(0.128, rel=0.02)  # the simulation's
    assert found["one"] == pytest.approx(0.190, rel=0.03)  # Lloyd and Max with three levels
