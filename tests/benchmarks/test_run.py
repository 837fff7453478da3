# ruff: noqa: E501
"""The run object: the training loop is the clock, budgets are steps, and every draw follows from the seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.run import Diverged, MethodError, Run, Step, make_optimizer, schedule, shuffled
from benchmarks.tasks.base import Recipe, Task
from methods.base import Method

RECIPE = Recipe(steps=40, batch=8, lr=0.1, schedule="constant", optimizer="sgd", betas=(0.0, 0.0))


@dataclass(frozen=True)
class Line(Task):
    """y = sum of x, from 50 points."""

    recipe = RECIPE

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        return F.mse_loss(model(batch["x"])[:, 0], batch["y"])


def run_of(seed: int = 0, recipe: Recipe = RECIPE, **knobs: Any) -> Run:
    rng = np.random.default_rng(9)
    x = torch.from_numpy(rng.normal(size=(50, 4)).astype(np.float32))
    data = {"x": x, "y": x.sum(1), "id": torch.arange(50)}
    task = type("Line", (Line,), {"recipe": recipe})()
    return Run(
        task=task, method=Method(**knobs), seed=seed, device=torch.device("cpu"), train=data, valid=data
    )


def model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 1)


def drive(run: Run, net: nn.Module, **how: Any) -> list[Step]:
    found = []
    for step in run.steps(net, **how):
        step.update()
        found.append(step)
    return found


# -------------------------------------------------------------------- the loop


def test_a_step_is_where_gradients_are_and_nothing_is_updated() -> None:
    net, run = model(), run_of()
    before = net.weight.detach().clone()
    for step in run.steps(net):
        assert torch.equal(net.weight, before) and net.weight.grad is not None and net.training
        expected = before - 0.1 * net.weight.grad
        step.update()
        assert torch.allclose(net.weight, expected, atol=1e-7)
        before = net.weight.detach().clone()
    assert not net.training


def test_what_a_method_does_to_gradients_counts() -> None:
    net, run = model(), run_of()
    before = net.weight.detach().clone()
    for step in run.steps(net):
        net.weight.grad.zero_()
        step.update()
    assert torch.equal(net.weight, before)


def test_steps_and_progress() -> None:
    steps = drive(run_of(), model())
    assert [step.number for step in steps] == list(range(40))
    assert [step.progress for step in steps] == [number / 40 for number in range(40)]
    assert all(step.updated for step in steps)
    assert steps[-1].loss < steps[0].loss / 10


def test_the_loop_is_plain_sgd() -> None:
    """The whole loop against a slow one in float64, written from the equation w <- w - lr * grad."""
    run, net = (
        run_of(recipe=replace(RECIPE, schedule="linear", warmup=0.25, weight_decay=0.0)),
        model().double(),
    )
    slow = [p.detach().clone() for p in net.parameters()]
    run.train = {name: t.double() if t.is_floating_point() else t for name, t in run.train.items()}
    batches = list(shuffled(run.train, 8, 40, run.data_rng))
    for number, batch in enumerate(batches):
        w, b = slow
        error = (batch["x"] @ w[0] + b) - batch["y"]
        grads = [2 * (error[:, None] * batch["x"]).mean(0, keepdim=True), 2 * error.mean()[None]]
        rate = 0.1 * ((number + 1) / 11 if number < 10 else 1 - (number / 40 - 0.25) / 0.75)
        slow = [p - rate * g for p, g in zip(slow, grads, strict=True)]
    drive(run, net)
    for fast, value in zip(net.parameters(), slow, strict=True):
        assert torch.allclose(fast, value, rtol=1e-9)


def test_forgotten_updates_are_told() -> None:
    run = run_of()
    with pytest.raises(MethodError, match=r"call step.update\(\) once in every turn of run.steps\(model\)"):
        for step in run.steps(model()):
            if step.number != 7:
                step.update()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_cell(value: float) -> None:
    calls = []

    def loss(net: nn.Module, batch: Any) -> torch.Tensor:
        calls.append(0)
        return net(batch["x"]).sum() * (value if len(calls) == 3 else 1.0)

    with pytest.raises(Diverged, match="in step 2 of phase 'tune'"):
        drive(run_of(), model(), loss=loss, phase="tune")
    assert len(calls) == 3


def test_own_losses_are_reported() -> None:
    run = run_of()
    assert run.report(torch.tensor(2.0)) == 2.0 and run.log.curve == [("train", 0, 2.0)]
    with pytest.raises(Diverged):
        run.report(float("nan"))


# -------------------------------------------------------------------- budgets


@pytest.mark.parametrize(("budget", "steps"), [(1.0, 40), (0.5, 20), (0.26, 10), (0.0, 0), (2.0, 80)])
def test_the_budget_is_a_share_of_the_tasks_steps(budget: float, steps: int) -> None:
    run = run_of(budget=budget)
    assert len(drive(run, model())) == steps == run.recipe.steps


def test_phases_share_the_budget() -> None:
    run, net = run_of(), model()
    assert [len(drive(run, net, phase=name, share=share)) for name, share in (("a", 0.25), ("b", 0.75))] == [
        10,
        30,
    ]
    assert run.log.steps == {"a": 10, "b": 30} and run.log.samples == 40 * 8
    with pytest.raises(
        MethodError, match="phase 'c' asks for 1.10 of the training budget; shares add up to at most 1"
    ):
        drive(run, net, phase="c", share=0.1)


def test_ten_tenths_are_one() -> None:
    run, net = run_of(), model()
    assert sum(len(drive(run, net, share=0.1)) for _ in range(10)) == 40


def test_batches_come_from_the_same_budget() -> None:
    run = run_of()
    assert len(list(run.batches(share=0.5))) == 20
    with pytest.raises(MethodError, match="asks for 1.10"):
        drive(run, model(), share=0.6)


def test_the_learning_rate_factor() -> None:
    run, net = run_of(lr_factor=0.5), model()
    before = net.weight.detach().clone()
    step = next(iter(run.steps(net)))
    step.update()
    assert torch.allclose(net.weight, before - 0.05 * net.weight.grad, atol=1e-7)


def test_a_task_without_recipe_does_not_train() -> None:
    run = run_of()
    run.task = type("Still", (Task,), {})()
    with pytest.raises(MethodError, match="task Still does not train: it has no recipe"):
        drive(run, model())


def test_gradients_are_clipped_before_the_method_sees_them() -> None:
    run, net = run_of(recipe=replace(RECIPE, clip=0.01)), model()
    for step in run.steps(net):
        norm = torch.cat([p.grad.flatten() for p in net.parameters()]).norm()
        assert norm <= 0.0100001
        step.update()


# -------------------------------------------------------------------- counted while training


def test_flops_are_those_of_one_step() -> None:
    run = run_of()
    drive(run, model(), phase="train", share=0.5)
    drive(run, model(), phase="tune", share=0.5)
    # forward and the gradient of the weight: x needs none; 2 FLOPs a multiply-add
    assert run.log.flops == {"train": 2 * 2 * 8 * 4, "tune": 2 * 2 * 8 * 4}
    assert all(peak > 0 for peak in run.log.peak_live_bytes.values())


def test_an_unknown_operator_makes_the_count_null() -> None:
    run = run_of()
    library = torch.library.Library("joulemark_run", "FRAGMENT")
    library.define("mystery(Tensor x) -> Tensor")
    library.impl("mystery", lambda x: x * 0, "CPU")

    def loss(net: nn.Module, batch: Any) -> torch.Tensor:
        out = net(batch["x"])
        return out.sum() + torch.ops.joulemark_run.mystery(out.detach()).sum()

    drive(run, model(), loss=loss, share=0.1)
    assert run.log.flops == {"train": None}


def test_the_curve_has_about_forty_points() -> None:
    run = run_of(recipe=replace(RECIPE, steps=400, lr=0.01))
    drive(run, model())
    assert [number for _, number, _ in run.log.curve] == list(range(0, 400, 10))


# -------------------------------------------------------------------- draws


def ids(run: Run) -> list[list[int]]:
    return [batch["id"].tolist() for batch in run.batches()]


def test_every_method_of_a_seed_sees_the_same_batches() -> None:
    other = run_of(width=7)
    other.rng.random(100)
    torch.randn(5)
    assert ids(run_of()) == ids(other) != ids(run_of(seed=1))


def test_an_epoch_has_every_item_once() -> None:
    batches = ids(run_of())
    for start in range(0, 36, 6):  # 50 // 8 batches of 8 an epoch; two items are left out each time
        epoch = [item for batch in batches[start : start + 6] for item in batch]
        assert len(set(epoch)) == len(epoch) == 48


def test_a_batch_larger_than_the_data() -> None:
    with pytest.raises(MethodError, match="a batch of 51 is larger than the training split of 50"):
        list(shuffled(run_of().train, 51, 1, np.random.default_rng(0)))


def test_the_methods_own_generator() -> None:
    run = run_of(seed=3)
    drawn = run.rng.random(4)
    assert np.array_equal(drawn[:2], run_of(seed=3).rng.random(2)) and not np.array_equal(
        run.rng.random(4), drawn
    )
    assert not np.array_equal(run_of(seed=4).rng.random(4), drawn)
    assert not np.array_equal(run.data_rng.random(4), drawn)
    assert np.array_equal(run.data_rng.random(4), run.data_rng.random(4))  # the data order begins anew


# -------------------------------------------------------------------- optimisers and schedules


def test_decay_is_for_matrices() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    net[0].bias.requires_grad_(False)
    first, second = make_optimizer(replace(RECIPE, optimizer="adamw", weight_decay=0.3), net).param_groups
    assert first["params"] == [net[0].weight] and first["weight_decay"] == 0.3
    assert second["params"] == [net[1].weight, net[1].bias] and second["weight_decay"] == 0.0


def test_an_unknown_optimizer_or_schedule() -> None:
    with pytest.raises(MethodError, match="optimizer 'adam' is none of adamw, sgd"):
        make_optimizer(replace(RECIPE, optimizer="adam"), model())
    with pytest.raises(MethodError, match="schedule 'step' is none of cosine, linear, constant"):
        schedule(replace(RECIPE, schedule="step"), 0.5)


@pytest.mark.parametrize(
    ("name", "progress", "factor"),
    [
        ("constant", 0.9, 1.0),
        ("linear", 0.0, 1.0),
        ("linear", 0.75, 0.25),
        ("cosine", 0.0, 1.0),
        ("cosine", 0.5, 0.55),
        ("cosine", 1.0, 0.1),
    ],
)
def test_schedules(name: str, progress: float, factor: float) -> None:
    assert schedule(replace(RECIPE, schedule=name), progress) == pytest.approx(factor)


def test_a_warm_up_rises_and_wastes_no_step() -> None:
    recipe = replace(RECIPE, warmup=0.25)
    rates = [schedule(recipe, number / 40) for number in range(40)]
    assert (
        rates[0] == pytest.approx(1 / 11) and rates[9] == pytest.approx(10 / 11) and rates[10:] == [1.0] * 30
    )
    assert rates == sorted(rates)


def test_an_optimizer_of_the_methods_own_keeps_its_peaks() -> None:
    net, run = model(), run_of(recipe=replace(RECIPE, schedule="linear"))
    optimizer = torch.optim.SGD([{"params": [net.weight], "lr": 0.2}, {"params": [net.bias], "lr": 0.02}])
    seen = []
    for step in run.steps(net, optimizer=optimizer):
        seen.append([group["lr"] for group in optimizer.param_groups])
        step.update()
    assert seen[0] == [0.2, 0.02] and seen[20] == pytest.approx([0.1, 0.01])


# -------------------------------------------------------------------- the log


def test_notes_are_what_a_record_can_hold() -> None:
    run = run_of()
    run.log.note(a=1, b="word", c=None, d=[1.5, True], e=np.float32(2.5), f=torch.tensor(3), g=np.int64(4))
    assert run.log.notes == {"a": 1, "b": "word", "c": None, "d": [1.5, True], "e": 2.5, "f": 3, "g": 4}
    for value in (math.nan, [math.inf], np.zeros(3), torch.zeros(2, 2), model(), {1, 2}):
        with pytest.raises(
            MethodError, match=r"^run.log.note\(x=...\): a \w+ \(.*\) is no finite number or word$"
        ) as error:
            run.log.note(x=value)
        assert len(str(error.value)) < 200


def test_spending_adds_up() -> None:
    run = run_of()
    run.log.spend(tokens=3, tool_calls=1)
    run.log.spend(tokens=np.int64(4))
    assert run.log.spent == {"tokens": 7, "tool_calls": 1}
    with pytest.raises(MethodError, match="spend"):
        run.log.spend(tokens=math.nan)


def test_keep_takes_a_snapshot() -> None:
    run, net = run_of(), model()
    run.log._snapshot = lambda module: module.weight.detach().clone()
    run.log.keep(net, round=7)
    before = net.weight.detach().clone()
    drive(run, net)
    assert list(run.log.kept) == ["round=7"] and torch.equal(run.log.kept["round=7"], before)
    with pytest.raises(ValueError):
        run.log.keep(net, round=1, level=2)


def test_no_other_cells_where_there_are_none() -> None:
    with pytest.raises(MethodError, match="no other cells here"):
        run_of().load("baseline")
