"""Stopping rules: when training ends, what it ends with, and that a shorter rule is the start of a longer one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from methods.bpfree.deep_supervision_stopping import DeepSupervisionStopping
from methods.bpfree.early_stopping import EarlyStopping
from methods.bpfree.mono_forward_stopping import MonoForwardStopping
from methods.bpfree.stopping import Watch, train_until, validation_loss


def follow(losses, patience):
    """The pass after which a watch stops, or None."""
    watch, model = Watch(patience), nn.Linear(1, 1)
    for number, loss in enumerate(losses, start=1):
        model.weight.data.fill_(float(number))
        if watch.stops_at(loss, model):
            return number, watch
    return None, watch


@pytest.mark.parametrize(
    ("losses", "patience", "stop", "best"),
    [
        ([3, 2, 1, 2, 2, 2], 2, 5, 3),
        ([3, 2, 1, 2, 0.5, 2, 2], 2, 7, 5),
        ([1, 1, 1, 1], 2, 3, 1),  # an equal loss is no lower one
        ([1, 2, 3, 4], 0, None, 1),
        ([math.nan, 2, 1], 2, None, 3),
        ([1, math.inf, math.nan, 5], 3, 4, 1),
        ([3, 2, 1], 2, None, 3),
    ],
)
def test_a_watch_by_hand(losses, patience, stop, best):
    found, watch = follow(losses, patience)
    assert found == stop and watch.best == best
    assert watch.state["weight"].item() == best


def test_a_longer_patience_never_stops_earlier():
    random = torch.Generator().manual_seed(3)
    for _ in range(50):
        losses = torch.rand(40, generator=random).tolist()
        stops = [follow(losses, patience)[0] or 41 for patience in range(1, 12)]
        assert stops == sorted(stops)


def fitted(make_run, method, **knobs):
    run = make_run(method, **{"epochs": 39, **knobs})
    model = run.method.build(run)
    return run.method.fit(model, run), run


@pytest.mark.parametrize(
    ("method", "phases"),
    [
        (EarlyStopping, ["train"]),
        (MonoForwardStopping, ["layer1", "layer2", "layer3"]),
        (DeepSupervisionStopping, ["together"]),
    ],
)
def test_steps_end_by_the_rule_and_the_best_state_answers(make_run, method, phases):
    model, run = fitted(make_run, method(patience=2))
    assert list(run.log.steps) == phases
    for phase in phases:
        passes, best = run.log.notes[f"passes_{phase}"], run.log.notes[f"best_{phase}"]
        losses = run.log.notes[f"valid_{phase}"]
        assert run.log.steps[phase] == 2 * passes and len(losses) == passes
        assert best == 1 + losses.index(min(losses))
        assert passes == best + 2 or passes == (39 if len(phases) == 1 else 13)
    last = run.log.notes[f"valid_{phases[-1]}"]
    assert validation_loss(run, model, run.task.loss) == pytest.approx(min(last), abs=1e-4)


def test_no_patience_uses_the_whole_budget(make_run):
    _, run = fitted(make_run, EarlyStopping(patience=0, budget=0.25))
    assert run.log.steps == {"train": 20}  # a quarter of 78
    _, run = fitted(make_run, MonoForwardStopping(patience=0, budget=0.3))
    assert run.log.steps == {"layer1": 8, "layer2": 8, "layer3": 8}


def test_a_shorter_rule_is_the_beginning_of_a_longer_one(make_run):
    """Backpropagation, and Mono-Forward's first layer: the validation losses agree to the last digit."""
    for method, phase in ((EarlyStopping, "train"), (MonoForwardStopping, "layer1")):
        short, long = (fitted(make_run, method(patience=p))[1].log.notes for p in (1, 4))
        few, many = short[f"valid_{phase}"], long[f"valid_{phase}"]
        assert len(few) < len(many) and many[: len(few)] == few


def test_the_cap_alone_changes_no_step(make_run):
    few, many = (
        fitted(make_run, EarlyStopping(patience=0, budget=b))[1].log.notes["valid_train"] for b in (0.1, 0.2)
    )
    assert many[: len(few)] == few and len(many) == 2 * len(few)


def test_the_rate_is_constant(make_run):
    run = make_run(EarlyStopping(patience=0), epochs=4)
    rates = []
    make = run.task.optimizer

    def optimizer(part, recipe):
        found = make(part, recipe)
        step = found.step
        found.step = lambda: (rates.append(found.param_groups[0]["lr"]), step())
        return found

    object.__setattr__(run.task, "optimizer", optimizer)
    run.method.fit(run.method.build(run), run)
    assert rates == [run.recipe.lr] * 8


def test_layers_below_stay_at_their_best_pass(make_run):
    run = make_run(MonoForwardStopping(patience=2), epochs=40)
    model = run.method.build(run)
    seen, batches = {}, run.batches

    def watched(**how):
        seen[how["phase"]] = model.layers[0].weight.detach().clone()
        yield from batches(**how)

    run.batches = watched
    run.method.fit(model, run)
    assert not torch.equal(seen["layer1"], seen["layer2"])
    assert torch.equal(seen["layer2"], seen["layer3"]) and torch.equal(seen["layer2"], model.layers[0].weight)


def test_validation_is_over_all_items_in_evaluation_mode(make_run):
    run = make_run(EarlyStopping())
    modes = []

    def judged(part, piece):
        modes.append(part.training)
        return piece["y"].double().mean()

    part = nn.Linear(1, 1)
    assert validation_loss(run, part, judged) == pytest.approx(float(run.valid["y"].double().mean()))
    assert modes == [False] and part.training


def test_a_preview_neither_validates_nor_stops(make_run):
    class Preview:
        def pace(self, phase, total):
            return enumerate(range(50))

        def longest(self, total):
            return 50

    run = make_run(EarlyStopping(patience=1), epochs=4)
    run.preview = Preview()
    run.valid = {}
    train_until(run, run.method.build(run), run.task.loss, run.task.loss, patience=1, phase="train")
    assert run.log.steps == {"train": 50}
