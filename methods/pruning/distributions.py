"""How a sparsity is shared out among layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: A weight's shape, [outputs, inputs, ...].
Shape = Sequence[int]


def uniform(shapes: Sequence[Shape], sparsity: float) -> list[float]:
    """The same density everywhere."""
    return [1.0 - sparsity] * len(shapes)


def erdos_renyi(shapes: Sequence[Shape], sparsity: float) -> list[float]:
    """ERK (Evci et al., 2020, section 3): density ~ sum of a weight's dimensions over their product.

    Layers that would have more weights than there are stay dense, and the scale is solved anew for the rest, so that
    the density over all layers is 1 - sparsity.
    """
    sizes = [math.prod(shape) for shape in shapes]
    raw = [sum(shape) / size for shape, size in zip(shapes, sizes, strict=True)]
    dense: set[int] = set()
    while True:
        rest = [at for at in range(len(sizes)) if at not in dense]
        wanted = (1.0 - sparsity) * sum(sizes) - sum(sizes[at] for at in dense)
        scale = wanted / sum(raw[at] * sizes[at] for at in rest) if rest else 0.0
        over = {at for at in rest if scale * raw[at] > 1.0}
        if not over:
            return [1.0 if at in dense else scale * raw[at] for at in range(len(sizes))]
        dense |= over


DISTRIBUTIONS = {"uniform": uniform, "erk": erdos_renyi}
