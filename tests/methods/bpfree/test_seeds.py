"""Same seed, same weights; two seeds never the same loss and the same weights: the fault of a shared checkpoint."""

from __future__ import annotations

import pytest
import torch

from methods.base import Method
from methods.bpfree.cascaded_forward import CascadedForward
from methods.bpfree.checkpointing import Checkpointing
from methods.bpfree.deep_supervision import DeepSupervision
from methods.bpfree.direct_feedback import DirectFeedback
from methods.bpfree.early_stopping import EarlyStopping
from methods.bpfree.forward_forward import ForwardForward
from methods.bpfree.forward_gradient import ForwardGradient
from methods.bpfree.frozen_random import FrozenRandom
from methods.bpfree.mono_forward import MonoForward
from methods.bpfree.mono_forward_stopping import MonoForwardStopping
from methods.bpfree.spsa import Spsa
from methods.bpfree.target_propagation import TargetPropagation

METHODS = [
    CascadedForward(), CascadedForward(blocks="dfa", budget=4.0), Checkpointing(), DeepSupervision(), DirectFeedback(),
    EarlyStopping(patience=1), ForwardForward(), ForwardForward(negatives="hard"), ForwardGradient(), FrozenRandom(),
    MonoForward(), MonoForwardStopping(patience=1), Spsa(), TargetPropagation(),
]  # fmt: skip


def trained(make_run, method: Method, seed: int) -> tuple[list[float], torch.Tensor]:
    run = make_run(method, seed=seed)
    model = run.method.build(run)
    torch.manual_seed(seed + 1)  # as the harness does before it trains
    model = run.method.fit(model, run)
    return [point[-1] for point in run.log.curve], torch.cat(
        [p.detach().flatten() for p in model.parameters()]
    )


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_seeds(make_run, method):
    first, again, other = (trained(make_run, method, seed) for seed in (0, 0, 1))
    assert first[0] == again[0] and torch.equal(first[1], again[1])
    assert first[0] and all(a != b for a, b in zip(first[0], other[0], strict=False))
    assert not torch.equal(first[1], other[1])
