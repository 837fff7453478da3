"""Sparsity schedules: from the progress of training, 0 to 1, to the share of weights that are zero."""

from __future__ import annotations


def cubic(progress: float, begin: float, end: float, first: float, last: float) -> float:
    """Zhu and Gupta (2017), equation 1: fast while many weights are redundant, slow near the end.

    s(t) = last + (first - last) * (1 - (t - begin) / (end - begin)) ** 3, clamped outside [begin, end].
    """
    if progress < begin:
        return first
    if progress >= end:
        return last
    along = (progress - begin) / (end - begin)
    return last + (first - last) * (1.0 - along) ** 3
