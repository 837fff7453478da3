"""The linear layer alone: quality against float64, moments of the matrices, workloads that are products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.counting import count
from benchmarks.run import Run
from benchmarks.tasks import linear_op
from benchmarks.tasks.linear_op import LinearOp
from methods.quantization.layers import PackedLinear
from methods.quantization.ptqtp import Ptqtp


def run_of(task: Any, method: Any, seed: int = 0) -> Run:
    return Run(task, method, seed, torch.device("cpu"), {}, {})


@pytest.fixture(scope="module")
def operator() -> tuple[LinearOp, dict[str, torch.Tensor]]:
    task = LinearOp(inputs=64, outputs=48)
    return task, {"x": torch.from_numpy(task.prepare()["test"]["x"])}


def test_linear_op_scores_against_float64(operator: Any) -> None:
    task, split = operator
    run = run_of(task, Ptqtp())
    model = task.model(run)
    exact = linear_op.weights("gaussian", 48, 64, 0)
    for system in (model, Ptqtp().adapt(task.model(run), run)):
        scores = task.score(system, split, run)
        weight = (
            (system[0].weight() if isinstance(system[0], PackedLinear) else system[0].weight)
            .detach()
            .double()
            .numpy()
        )
        x = split["x"].double().numpy()
        wanted = np.linalg.norm(x @ (weight - exact).T, axis=1) / np.linalg.norm(x @ exact.T, axis=1)
        np.testing.assert_allclose(scores["output_error"].values, wanted, rtol=1e-4, atol=1e-6)
        wanted = ((weight - exact) ** 2).sum(1) / (exact**2).sum(1)
        np.testing.assert_allclose(scores["weight_error"].values, wanted, rtol=1e-4, atol=1e-12)
    assert scores["output_error"].values.shape == (linear_op.ROWS,) and scores[
        "weight_error"
    ].values.shape == (48,)
    assert task.score(model, split, run)["output_error"].values.max() < 1e-5


def test_linear_op_gives_nothing_for_nothing(operator: Any) -> None:
    task, split = operator
    run = run_of(task, Ptqtp())
    model = task.model(run)
    nn.init.zeros_(model[0].weight)
    for name, scores in task.score(model, split, run).items():
        metric = next(metric for metric in task.metrics if metric.name == name)
        np.testing.assert_allclose(scores.values, metric.chance)
    # half of the rows: the others count as zeros
    half = task.score(task.model(run, width=24), split, run)["weight_error"].values
    np.testing.assert_allclose(half, np.repeat([0.0, 1.0], 24), atol=1e-10)


@pytest.mark.parametrize("kind", ["gaussian", "laplace", "student_t"])
def test_matrices_have_their_moments(kind: str) -> None:
    drawn = linear_op.weights(kind, 500, 400, 0)
    fourth = {"gaussian": 3.0, "laplace": 6.0, "student_t": 9.0}[kind]
    assert drawn.var() * 400 == pytest.approx(1.0, rel=0.02)
    assert (drawn**4).mean() / drawn.var() ** 2 == pytest.approx(fourth, rel=0.25)
    assert np.array_equal(drawn, linear_op.weights(kind, 500, 400, 0))
    assert not np.array_equal(drawn, linear_op.weights(kind, 500, 400, 1))


def test_activations_are_like_a_trained_models(operator: Any) -> None:
    task, _ = operator
    made = {name: split["x"] for name, split in task.prepare().items() if split}
    assert made["train"].shape == made["test"].shape == (linear_op.ROWS, 64)
    assert not np.array_equal(made["train"], made["test"])
    assert len(np.unique(made["test"], axis=0)) == linear_op.ROWS  # items are not the same row again
    channel = np.sqrt((made["test"] ** 2).mean(0))
    assert channel.max() > 3 * np.median(channel)
    spectrum = np.linalg.eigvalsh(np.cov((made["test"] / channel).T))
    assert spectrum.max() > 5 * np.median(spectrum)  # channels go together


@pytest.mark.parametrize(
    ("name", "rows"), [("batch1", 1), ("batch16", 16), ("batch64", 64), ("batch256", 256)]
)
def test_workloads_are_products(operator: Any, name: str, rows: int) -> None:
    task, split = operator
    run = run_of(task, Ptqtp())
    model = task.model(run)
    made = task.workload(name, model, split, run)
    assert (made.items, made.call().shape) == (rows, (rows, 48))
    once = count(made.call).flops
    assert once == 2 * rows * 64 * 48
    assert count(lambda: (made.call(), made.call())).flops == 2 * once
