"""Round to nearest, and dense packing of codes: what the weight-only methods share.

A matrix is cut into blocks that share a scale, [blocks, size]: all of it, its rows, or groups within a row.
Scales are stored in half precision, so codes are made with the scale that is stored, never with a finer one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: The smallest number above zero in half precision: the scale of a block of zeros.
SMALLEST_SCALE = 2.0**-24
#: Trits in a byte: 3 ** 5 = 243 of 256 values, 1.6 bits a trit where 1.585 is the least possible.
TRITS = 5


@dataclass(frozen=True)
class Rounded:
    """A matrix on uniform grids.

    Attributes:
        codes: uint8 [blocks, size], from 0 to 2 ** bits - 1.
        scale: float16 [blocks].
        zero: uint8 [blocks], the code that stands for zero; float16 where it lies between two codes.
    """

    codes: Tensor
    scale: Tensor
    zero: Tensor

    def values(self) -> Tensor:
        """The numbers that the codes stand for, float32 [blocks, size]."""
        return (self.codes.float() - self.zero.float()[:, None]) * self.scale.float()[:, None]


def group_size(row: int, wanted: int) -> int:
    """The largest divisor of a row of weights that is at most `wanted`; 0 wants the whole row."""
    if not wanted:
        return row
    return next(size for size in range(min(wanted, row), 0, -1) if row % size == 0)


@torch.no_grad()
def round_to_nearest(blocks: Tensor, bits: int, symmetric: bool = False) -> Rounded:
    """Round every block [blocks, size] to the nearest of 2^b evenly spaced numbers between its extremes.

    Asymmetric: s = (max - min) / (2^b - 1) with a range that holds 0, z = round(-min / s),
    q = clip(round(w / s) + z, 0, 2^b - 1). Symmetric: s = max|w| / (2^(b-1) - 1), and the code at one end is
    not used, so that 2 bits are three levels. Zero is exact in both, and no error is above s / 2.
    """
    top = 2**bits - 1
    if symmetric:
        scale = _half_at_least(blocks.abs().amax(1) / (top // 2))
        zero = torch.full_like(scale, top // 2, dtype=torch.float32)
    else:
        low, high = blocks.amin(1).clamp(max=0.0), blocks.amax(1).clamp(min=0.0)
        scale = _half_at_least((high - low) / top)
        zero = (-low / scale.float()).round()
    codes = (blocks / scale.float()[:, None]).round() + zero[:, None]
    return Rounded(codes.clamp(0, top).to(torch.uint8), scale, zero.to(torch.uint8))


def _half_at_least(scale: Tensor) -> Tensor:
    """The next number in half precision that is not smaller: a smaller scale would clip the extremes."""
    half = scale.half()
    half = torch.where(half.float() < scale, half.nextafter(torch.full_like(half, torch.inf)), half)
    return half.clamp(min=SMALLEST_SCALE)


def pack_bits(codes: Tensor, bits: int) -> Tensor:
    """Codes below 2 ** bits, of any shape, as a dense stream of uint8, the first code in the lowest bits."""
    places = torch.arange(bits, dtype=torch.uint8, device=codes.device)
    stream = ((codes.to(torch.uint8).reshape(-1, 1) >> places) & 1).flatten()
    stream = torch.nn.functional.pad(stream, (0, -len(stream) % 8)).view(-1, 8)
    return (stream << torch.arange(8, dtype=torch.uint8, device=codes.device)).sum(1, dtype=torch.uint8)


def unpack_bits(packed: Tensor, bits: int, count: int) -> Tensor:
    """The first `count` codes of a stream, uint8 [count]."""
    if 8 % bits == 0:  # codes do not straddle bytes: no need to go through single bits
        places = torch.arange(0, 8, bits, dtype=torch.uint8, device=packed.device)
        return ((packed[:, None] >> places) & (2**bits - 1)).flatten()[:count]
    stream = (packed[:, None] >> torch.arange(8, dtype=torch.uint8, device=packed.device)) & 1
    codes = stream.flatten()[: count * bits].view(count, bits)
    return (codes << torch.arange(bits, dtype=torch.uint8, device=packed.device)).sum(1, dtype=torch.uint8)


def pack_trits(trits: Tensor) -> Tensor:
    """Numbers -1, 0, 1 of any shape as digits of base 3, five to a byte, the first one lowest; uint8."""
    digits = trits.flatten().to(torch.int16) + 1
    digits = torch.nn.functional.pad(digits, (0, -len(digits) % TRITS)).view(-1, TRITS)
    return (digits * _powers(torch.int16, trits.device)).sum(1).to(torch.uint8)


def unpack_trits(packed: Tensor, count: int) -> Tensor:
    """The first `count` trits of a stream, int8 [count]."""
    digits = (
        packed[:, None].to(torch.int16).div(_powers(torch.int16, packed.device), rounding_mode="floor") % 3
    )
    return (digits.flatten()[:count] - 1).to(torch.int8)


def _powers(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor([3**place for place in range(TRITS)], dtype=dtype, device=device)
