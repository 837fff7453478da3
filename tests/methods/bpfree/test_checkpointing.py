"""Activation checkpointing: backpropagation's weights to the last bit, for fewer live bytes and more FLOPs."""

from __future__ import annotations

import pytest
import torch

from benchmarks.run import Run
from benchmarks.tasks.mnist1d_mlp import Mnist1dMlp
from methods.bpfree.checkpointing import Checkpointing, cut
from methods.bpfree.local import split
from methods.reference.baseline import Baseline


def fitted(make_run, method, **knobs):
    run = make_run(method, **knobs)
    model = run.method.build(run)
    return run.method.fit(model, run), run


@pytest.mark.parametrize("segments", [None, 1, 2, 3])
def test_weights_are_backpropagations_bit_for_bit(make_run, segments):
    model, run = fitted(make_run, Checkpointing(segments=segments))
    twin, other = fitted(make_run, Baseline())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert run.log.flops["train"] > other.log.flops["train"]


def test_segments_hold_every_layer_once(make_run):
    run = make_run(Baseline(), depth=7)
    hidden, _ = split(run.task.model(run))
    for pieces in (1, 2, 3, 7, 9):
        found = [layer for piece in cut(hidden, pieces) for layer in piece if layer in hidden]
        assert len(cut(hidden, pieces)) == min(pieces, 7) and all(
            a is b for a, b in zip(found, hidden, strict=True)
        )


def test_live_bytes_against_backpropagation_with_depth():
    """Small layers and a large batch, so that activations are most of what is held; more so with depth."""
    ratios = []
    for depth in (4, 8):
        task = Mnist1dMlp(width=8, depth=depth, signals=64, epochs=2)
        found = []
        for method in (Checkpointing(), Baseline()):
            train = {"x": torch.randn(3200, 40), "y": torch.arange(3200) % 10}
            run = Run(task, method, 0, torch.device("cpu"), train, {})
            batch = {"x": train["x"], "y": train["y"]}
            # the task's own batches are small: one large batch is given instead
            object.__setattr__(task, "batches", lambda run, steps, batch=batch: [batch] * steps)
            method.fit(method.build(run), run)
            found.append(max(run.log.peak_live_bytes.values()))
        ratios.append(found[0] / found[1])
    assert ratios[1] < ratios[0] < 1.0
