"""Sums of scaled planes: trits by alternating least squares (PTQTP), signs by residuals."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

#: Constants as a public re-implementation has them; the paper's own were not to be had.
FIRST_RIDGE, LAST_RIDGE, RIDGE_FACTOR = 1e-8, 1.0, 10.0
CONDITION_LIMIT = 1e6
#: Largest move of a block's scales, relative to their size, at which the block is done.
TOLERANCE = 1e-4


def candidates(planes: int) -> Tensor:
    """All tuples of trits, float32 [3 ** planes, planes], in the order in which ties are broken.

    Zeros first, then sparser tuples, then those that use later planes: without a fixed order both planes,
    which start alike, would stay alike.
    """
    tuples = itertools.product((0, 1, -1), repeat=planes)
    return torch.tensor(sorted(tuples, key=lambda trits: sum(map(abs, trits))), dtype=torch.float32)


@torch.no_grad()
def trit_planes(blocks: Tensor, planes: int = 2, rounds: int = 50) -> tuple[Tensor, Tensor, list[float]]:
    """Blocks [blocks, size] ~ sum_k a_k t_k with one or two planes of trits t_k; each block is on its own.

    All planes start at sign(w). A round solves for the scales, a = (S^T S + r I)^-1 S^T w with S = [t_1 t_2],
    then gives each weight the tuple of trits with the smallest error. A block ends when its scales stay where
    they are. At last scales go to half precision and trits are chosen once more for the scales as stored.

    Returns:
        Trits float32 [planes, blocks, size], scales float16 [planes, blocks], and the relative squared error
        of all blocks together after each round (with scales in full precision).
    """
    blocks = blocks.float()
    tuples = candidates(planes).to(blocks.device)
    trits = blocks.sign().expand(planes, -1, -1).clone()
    scales = blocks.new_zeros(planes, len(blocks))
    error = blocks.square().sum(1)
    power = float(error.sum()) or 1.0
    active = torch.arange(len(blocks), device=blocks.device)
    trace: list[float] = []
    for _ in range(rounds):
        found = ridge(trits[:, active], blocks[active])
        moved = (found - scales[:, active]).norm(dim=0) > TOLERANCE * found.norm(dim=0)
        scales[:, active] = found
        trits[:, active], error[active] = nearest(blocks[active], found, tuples)
        trace.append(float(error.sum()) / power)
        active = active[moved]
        if not len(active):
            break
    stored = scales.half()
    return nearest(blocks, stored.float(), tuples)[0], stored, trace


def ridge(trits: Tensor, blocks: Tensor) -> Tensor:
    """Scales [planes, blocks] of trits [planes, blocks, size] by least squares with little ridge.

    The ridge grows tenfold while the condition number |A| |A^-1| (Frobenius) is above its limit: equal
    planes, as at the start, make S^T S singular. Solved by hand, so that equal planes get equal scales to the
    last bit: only then do ties between them go by the order of the candidates.
    """
    right = (trits * blocks).double().sum(2)
    own = trits.square().sum(2).double()  # counts: exact
    if len(trits) == 1:
        return (right / (own + FIRST_RIDGE)).float()
    cross = (trits[0] * trits[1]).sum(1).double()
    strength = torch.full_like(cross, FIRST_RIDGE)
    while True:
        a, b = own + strength
        determinant = a * b - cross**2
        bad = a**2 + b**2 + 2 * cross**2 > CONDITION_LIMIT * determinant  # |A^-1| = |A| / det for two planes
        bad &= strength < LAST_RIDGE
        if not bad.any():
            first = (b * right[0] - cross * right[1]) / determinant
            second = (a * right[1] - cross * right[0]) / determinant
            return torch.stack([first, second]).float()
        strength[bad] = (strength[bad] * RIDGE_FACTOR).clamp(max=LAST_RIDGE)


def nearest(blocks: Tensor, scales: Tensor, tuples: Tensor) -> tuple[Tensor, Tensor]:
    """For each weight the tuple with the nearest level, the first of equals.

    Returns:
        Trits float32 [planes, blocks, size], and the squared error [blocks].
    """
    levels = (tuples[:, :, None] * scales).sum(1)
    best = torch.full_like(blocks, torch.inf)
    choice = torch.zeros(blocks.shape, dtype=torch.long, device=blocks.device)
    for at, level in enumerate(levels):
        distance = (blocks - level[:, None]).abs_()
        choice.masked_fill_(distance < best, at)
        best = torch.minimum(best, distance)
    return tuples.t()[:, choice], best.square_().sum(1)


@torch.no_grad()
def sign_planes(blocks: Tensor, planes: int = 2) -> tuple[Tensor, Tensor]:
    """Blocks [blocks, size] ~ sum_k a_k b_k with signs: b_k = sign(r), a_k = mean |r| of what is left, r.

    Returns:
        Signs float32 [planes, blocks, size] (1 for 0), scales float16 [planes, blocks].
    """
    rest, signs, scales = blocks.float(), [], []
    for _ in range(planes):
        scale = rest.abs().mean(1).half()
        sign = torch.where(rest < 0, -1.0, 1.0)
        rest = rest - sign * scale.float()[:, None]
        signs.append(sign)
        scales.append(scale)
    return torch.stack(signs), torch.stack(scales)
