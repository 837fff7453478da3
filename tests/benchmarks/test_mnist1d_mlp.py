"""MNIST-1D: splits, scores, workloads, and that a small network learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.knobs import InputError, check_value, schema
from benchmarks.run import Run
from benchmarks.tasks.mnist1d_mlp import Mnist1dMlp
from methods.reference.baseline import Baseline


@pytest.fixture(scope="module")
def splits():
    return Mnist1dMlp().prepare()


def tensors(split):
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in split.items()}


def make_run(splits, **knobs):
    task = Mnist1dMlp(**knobs)
    count = task.signals
    train = {name: values[:count] for name, values in tensors(splits["train"]).items()}
    torch.manual_seed(0)
    return Run(task, Baseline(), 0, torch.device("cpu"), train, tensors(splits["valid"]))


def test_splits(splits):
    assert {name: len(split["y"]) for name, split in splits.items()} == {
        "train": 3500,
        "valid": 500,
        "test": 10000,
    }
    for split in splits.values():
        assert split["x"].shape == (len(split["y"]), 40)
        assert split["x"].dtype == np.float32 and split["y"].dtype == np.int64
        assert set(split["y"]) == set(range(10))
    rows = {name: {row.tobytes() for row in split["x"]} for name, split in splits.items()}
    assert (
        not rows["train"] & rows["valid"]
        and not rows["train"] & rows["test"]
        and not rows["valid"] & rows["test"]
    )
    assert np.bincount(splits["test"]["y"]).tolist() == [1000] * 10


def test_fewer_training_signals_leave_the_other_splits_alone(splits):
    few = Mnist1dMlp(signals=100).prepare()
    assert np.array_equal(few["train"]["x"], splits["train"]["x"][:100])
    assert np.array_equal(few["valid"]["x"], splits["valid"]["x"])


def test_recipe_follows_the_knobs():
    assert Mnist1dMlp().recipe.steps == 1400
    assert Mnist1dMlp(signals=1000, epochs=2).recipe.steps == 40
    knob = next(entry for entry in schema(Mnist1dMlp) if entry["name"] == "signals")
    with pytest.raises(InputError, match="above 3500"):
        check_value(knob, 3501, "signals")


def test_depth_and_width():
    model = Mnist1dMlp(depth=3, width=16).model(None)
    assert [tuple(layer.weight.shape) for layer in model.layers] == [(16, 40), (16, 16), (16, 16), (10, 16)]
    assert Mnist1dMlp().model(None, width=8).layers[0].out_features == 8


def test_scores_are_of_each_signal(splits):
    """A system that always says 3, with log-odds 2, in float64 by hand."""
    run = make_run(splits, signals=64)
    split = tensors(splits["valid"])

    class Three(nn.Module):
        def forward(self, x):
            return 2.0 * nn.functional.one_hot(torch.full((len(x),), 3), 10).float()

    found = run.task.score(Three(), split, run)
    right = splits["valid"]["y"] == 3
    total = np.log(np.exp(2.0) + 9.0)
    assert np.array_equal(found["accuracy"].values, right)
    np.testing.assert_allclose(found["nll"].values, np.where(right, total - 2.0, total), rtol=1e-12)
    assert {metric.name for metric in run.task.metrics} == set(found)


@pytest.mark.parametrize(("name", "items"), [("batch1", 1), ("batch64", 64)])
def test_workloads_run_the_first_signals(splits, name, items):
    run = make_run(splits, signals=64)
    model, split = run.task.model(run), tensors(splits["valid"])
    made = run.task.workload(name, model, split, run)
    assert (made.items, made.unit) == (items, "signal")
    assert torch.equal(made.call(), model(split["x"][:items]))


def test_a_small_network_learns(splits):
    run = make_run(splits, width=64, signals=1500, epochs=5)
    model = run.task.fit(run.method.build(run), run)
    scores = run.task.score(model, tensors(splits["test"]), run)
    assert scores["accuracy"].values.mean() > 0.35  # a linear classifier gets 0.31 with all signals
    assert scores["nll"].values.mean() < 2.0
    assert run.log.steps == {"train": 150}
