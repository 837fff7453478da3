"""The method that changes nothing: what every other one is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method


@dataclass(frozen=True)
class Baseline(Method):
    """The task's own model, trained by the task's own recipe.

    Paper: none.
    Deviations: none.
    """
