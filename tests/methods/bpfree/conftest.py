"""A run on a few random images, for all methods that train without backpropagation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmarks.run import Run
from benchmarks.tasks.fashion_mlp import FashionMlp
from methods.base import Method


def small_run(method: Method, task: Any = None, seed: int = 0, **knobs: Any) -> Run:
    """256 random images, 2 steps of 128 in each pass, an MLP 784-12-12-12-10 unless the knobs say otherwise."""
    task = task or FashionMlp(**{"width": 12, "depth": 3, "equal": True, "images": 256, "epochs": 3, **knobs})
    random = torch.Generator().manual_seed(7)
    shape = (256, 784) if isinstance(task, FashionMlp) else (256, 1, 28, 28)
    x = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    y = torch.randint(0, 10, (256,), generator=random)
    torch.manual_seed(seed)
    train, valid = {"x": x, "y": y}, {"x": x[:60].flip(0), "y": y[:60]}
    return Run(task, method, seed, torch.device("cpu"), train, valid)


@pytest.fixture
def make_run() -> Callable[..., Run]:
    return small_run


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Sixteen images with labels."""
    run = small_run(Method())
    return {name: values[:16] for name, values in run.train.items()}
