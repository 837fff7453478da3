"""Caches that keep less than every key; what they keep is replaced as a whole, so the last call can be taken back."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.models.attention import KeyValueCache


class KeptCache:
    """Named tensors that are all a layer keeps of the tokens it has read.

    Attributes:
        length: tokens that were read, kept or not.
        state: the tensors; empty before the first token.
    """

    def __init__(self) -> None:
        self.length = 0
        self.state: dict[str, Tensor] = {}
        self._before: tuple[int, dict[str, Tensor]] = (0, {})

    def replace(self, length: int, **state: Tensor) -> None:
        """Keep these tensors of `length` tokens; what was kept before is remembered for one `rewind`."""
        self._before = self.length, self.state
        self.length, self.state = length, state

    def joined(self, name: str, new: Tensor, axis: int = 2) -> Tensor:
        """What is kept under `name`, with `new` behind it."""
        return torch.cat((self.state[name], new), axis) if name in self.state else new

    def bytes(self) -> int:
        """Bytes of all that is kept."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.state.values())

    def rewind(self, length: int) -> None:
        """Take back the last call; what was dropped earlier is gone.

        Raises:
            ValueError: `length` lies further back.
        """
        if length < self.length and length != self._before[0]:
            raise ValueError(f"cache: {length} tokens lie before the last call, and what was dropped is gone")
        if length < self.length:
            self.length, self.state = self._before


class PatternCache(KeptCache):
    """Keys and values at positions that a fixed pattern may still ask for.

    Args:
        kept: (length, positions [n]) -> bool [n], which of them a query from `length` on may read.

    Positions follow from the pattern and the length, so `bytes` counts keys and values only.
    """

    def __init__(self, kept: Callable[[int, Tensor], Tensor]) -> None:
        super().__init__()
        self._kept = kept
        self.at = torch.zeros(0, dtype=torch.long)

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All that can be read now, [batch, heads, n, size]; `at` has its positions. Then drop what no query needs."""
        length = self.length + keys.shape[2]
        new = torch.arange(self.length, length, device=keys.device)
        keys, values = self.joined("keys", keys), self.joined("values", values)
        self.at = self.joined("at", new, 0)
        stay = self._kept(length, self.at)
        if stay.all():
            self.replace(length, keys=keys, values=values, at=self.at)
        else:
            self.replace(length, keys=keys[:, :, stay], values=values[:, :, stay], at=self.at[stay])
        return keys, values

    def bytes(self) -> int:
        """Bytes of keys and values."""
        return sum(self.state[name].nbytes for name in ("keys", "values") if name in self.state)


class PagedCache(KeyValueCache):
    """All keys and values, with the least and the largest number of each page in every coordinate.

    Attributes:
        low, high: of whole pages, [batch, heads, pages, size]; None before the first page is full.
    """

    def __init__(self, page: int) -> None:
        super().__init__()
        self.page = page
        self.low: Tensor | None = None
        self.high: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """As in KeyValueCache; pages that become full get their bounds."""
        keys, values = super().append(keys, values)
        have, full = 0 if self.low is None else self.low.shape[2], self.length // self.page
        if full > have:
            low, high = bounds(keys[:, :, have * self.page : full * self.page], self.page)
            self.low = low if self.low is None else torch.cat((self.low, low), 2)
            self.high = high if self.high is None else torch.cat((self.high, high), 2)
        return keys, values

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` tokens, and the pages that are no longer full."""
        super().rewind(length)
        pages = self.length // self.page
        if self.low is not None and self.high is not None:
            self.low, self.high = self.low[:, :, :pages], self.high[:, :, :pages]

    def bytes(self) -> int:
        """Bytes of keys, values and bounds."""
        return super().bytes() + sum(part.nbytes for part in (self.low, self.high) if part is not None)


def bounds(keys: Tensor, page: int) -> tuple[Tensor, Tensor]:
    """Least and largest of each coordinate in pages of keys [batch, heads, pages x page, size]."""
    pages = keys.unflatten(2, (-1, page))
    return pages.amin(3), pages.amax(3)


def noise(seed: int, *places: Tensor) -> Tensor:
    """Numbers in [0, 1) that depend on seed and places alone (splitmix64): a draw that no batch or length changes."""
    mixed = torch.tensor(seed, dtype=torch.long, device=places[0].device)
    for place in places:
        mixed = (mixed ^ place.long()) * -7046029254386353131  # 0x9E3779B97F4A7C15
        mixed = (mixed ^ (mixed >> 30 & 0x3FFFFFFFF)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
        mixed = (mixed ^ (mixed >> 27 & 0x1FFFFFFFFF)) * -7723592293110705685  # 0x94D049BB133111EB
        mixed = mixed ^ (mixed >> 31 & 0x1FFFFFFFF)
    return (mixed & 0xFFFFFFFFFFFFF).double() / 2**52
