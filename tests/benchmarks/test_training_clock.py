"""The training loop as a runner: a method's own fit takes its turns step by step, phase by phase."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.measure import training
from benchmarks.measure.clocks import take_turns
from benchmarks.measure.training import StepRunner, whole_training
from tests.benchmarks.test_clocks import FakeTime
from tests.benchmarks.test_run import drive, model, run_of

Fit = Callable[[StepRunner], Any]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """Time that moves only when a fit works."""
    time = FakeTime()
    wall, thread, process = time.clocks
    monkeypatch.setattr(
        training, "time", SimpleNamespace(perf_counter=wall, thread_time=thread, process_time=process)
    )
    return time


@pytest.fixture
def start() -> Iterator[Callable[[Fit], StepRunner]]:
    """Starts runners and closes them; no thread may be left."""
    before = threading.active_count()
    runners: list[StepRunner] = []

    def make(fit: Fit, **how: Any) -> StepRunner:
        runners.append(StepRunner(fit, **how))
        return runners[-1]

    yield make
    for runner in runners:
        runner.close()
    assert threading.active_count() == before


def loop(told: list[Any], time: FakeTime, *phases: tuple[str, float], total: int = 100) -> Fit:
    """A fit with phases whose steps take some seconds; it tells which steps it made."""

    def fit(runner: StepRunner) -> None:
        for name, seconds in phases:
            for turn, number in runner.pace(name, total):
                told.append((name, turn, number))
                time.work(seconds)

    return fit


def test_it_stands_before_its_first_step(fake: FakeTime, start: Any) -> None:
    told: list[Any] = []
    runner = start(loop(told, fake, ("train", 0.01)))
    assert told == [] and runner.phase == "train" and not runner.finished


def test_a_grant_is_as_many_steps(fake: FakeTime, start: Any) -> None:
    told: list[Any] = []
    runner = start(loop(told, fake, ("train", 0.01)))
    assert runner.warm() == pytest.approx(0.01) and len(told) == 1
    sample = runner.sample(cycle=0, calls=7)
    assert len(told) == 8
    assert (sample.wall_s, sample.thread_s, sample.process_s) == pytest.approx((0.01, 0.01, 0.01))
    assert (sample.cycle, sample.phase) == (0, "train") and sample.clean


def test_what_others_do_between_turns_is_not_timed(fake: FakeTime, start: Any) -> None:
    runner = start(loop([], fake, ("train", 0.01)))
    runner.warm()
    fake.work(50.0)
    assert runner.sample(0, 4).wall_s == pytest.approx(0.01)


def test_steps_jump_along_the_phase(fake: FakeTime, start: Any) -> None:
    """25 places: a schedule is crossed as in the whole training, and a progress of 1 is never reached."""
    told: list[Any] = []
    runner = start(loop(told, fake, ("train", 0.01), total=1000))
    for cycle in range(27):
        runner.sample(cycle, 3)
    numbers = [number for _, _, number in told]
    assert numbers[:6] == [0, 1, 2, 40, 41, 42] and numbers[72:78] == [960, 961, 962, 0, 1, 2]
    short = start(loop(told, fake, ("train", 0.01), total=3))
    for cycle in range(25):
        short.sample(cycle, 5)
    assert max(number for _, _, number in told[81:]) == 2
    assert [turn for _, turn, _ in told[81:86]] == [0, 1, 2, 3, 4]


def test_phases_come_one_after_the_other(fake: FakeTime, start: Any) -> None:
    told: list[Any] = []
    runner = start(loop(told, fake, ("search", 0.03), ("train", 0.01)))
    assert runner.sample(0, 2).phase == "search"
    assert runner.next_phase() is True and runner.phase == "train"
    sample = runner.sample(1, 2)
    assert (sample.phase, sample.wall_s) == ("train", pytest.approx(0.01))
    assert runner.next_phase() is False and runner.finished
    assert runner.phases == ["search", "train"]
    assert [name for name, _, _ in told] == ["search"] * 2 + ["train"] * 2


def test_training_that_ended_grants_no_more(fake: FakeTime, start: Any) -> None:
    runner = start(loop([], fake, ("train", 0.01)))
    runner.next_phase()
    with pytest.raises(RuntimeError, match="the training ended before the round did"):
        runner.warm()


@pytest.mark.parametrize("when", ["before the first step", "in a step", "between phases"])
def test_an_error_of_the_fit_is_the_rounds(when: str, fake: FakeTime, start: Any) -> None:
    def fit(runner: StepRunner) -> None:
        if when == "before the first step":
            raise ValueError("of the method")
        for _ in runner.pace("train", 10):
            if when == "in a step":
                raise ValueError("of the method")
        raise ValueError("of the method")

    runner = start(fit)
    with pytest.raises(ValueError, match="of the method"):
        runner.next_phase() if when == "between phases" else runner.warm()


def test_closing_ends_a_fit_that_catches_everything(fake: FakeTime, start: Any) -> None:
    ended = []

    def fit(runner: StepRunner) -> None:
        try:
            for _ in runner.pace("train", 10):
                try:
                    fake.work(0.01)
                except Exception:
                    pytest.fail("nothing was raised here")
        except Exception as error:  # methods do this; the end is no Exception
            ended.append(error)

    runner = start(fit)
    runner.warm()
    runner.close()
    assert runner.finished and ended == [] and not runner._thread.is_alive()
    runner.close()  # twice is once


def test_the_real_loop_can_be_previewed() -> None:
    """run.steps under a preview: the same loop, as long as the round wants, with nothing counted."""
    run, net = run_of(), model()
    seen: list[float] = []

    def fit(preview: StepRunner) -> None:
        run.preview = preview
        for step in run.steps(net):
            seen.append(step.progress)
            step.update()

    torch.optim.SGD([torch.zeros(1)], lr=1.0)  # the first optimiser of a process loads the compiler
    runner = StepRunner(fit)
    try:
        for cycle in range(100):  # more steps than the training has
            assert runner.sample(cycle, 1).phase == "train"
        assert max(seen) < 1.0 and len({round(progress, 3) for progress in seen}) == 25
        assert run.log.flops == {}
    finally:
        runner.close()
    again = run_of()
    drive(again, model())
    assert again.log.steps == {"train": 40}  # previews leave no trace


def test_training_loops_take_turns(fake: FakeTime, start: Any) -> None:
    base, slow = start(loop([], fake, ("train", 0.001))), start(loop([], fake, ("train", 0.003)))
    first, second = take_turns([base, slow], np.random.default_rng(0))
    assert (first.calls, second.calls) == (20, 7)
    found = whole_training({"train": 50}, {"train": 50}, second.samples, first.samples)
    assert found is not None and found.log_ratio == pytest.approx(math.log(3))
