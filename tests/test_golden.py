"""Golden numbers: the harness trains what it trained. A change here needs HARNESS_VERSION raised, or is a mistake."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.artefacts import bake
from benchmarks.digests import HARNESS_VERSION
from benchmarks.execute import settle
from benchmarks.run import Run, seed_all
from benchmarks.tasks.digits_mlp import DigitsMlp
from methods.pruning.gradual import GradualPruning
from methods.reference.baseline import Baseline

#: (method, seed) -> mean negative log-likelihood in nats on the test split, by harness version 1.
GOLDEN = {
    1: {
        ("Baseline", 0): 0.097355,
        ("Baseline", 1): 0.077635,
        ("GradualPruning", 0): 0.628729,
    }
}


def trained(method: Any, seed: int) -> float:
    task = DigitsMlp()
    splits = {
        name: {k: torch.from_numpy(v) for k, v in split.items()} for name, split in task.prepare().items()
    }
    run = Run(task, method, seed, torch.device("cpu"), splits["train"], splits["valid"])
    settle()
    seed_all(seed)
    model = method.build(run)
    seed_all(seed + 1_000_003)
    model = bake(method.fit(model, run))
    return float(task.score(model, splits["test"], run)["nll"].values.mean())


@pytest.mark.parametrize(("name", "seed"), list(GOLDEN[1]))
def test_the_harness_trains_what_it_trained(name: str, seed: int) -> None:
    assert HARNESS_VERSION in GOLDEN, "HARNESS_VERSION was raised: add the numbers that it makes"
    method = {"Baseline": Baseline(), "GradualPruning": GradualPruning()}[name]
    # other processors round otherwise; another order of the data moves this by tenths
    assert trained(method, seed) == pytest.approx(GOLDEN[HARNESS_VERSION][name, seed], rel=5e-3)
