# ruff: noqa: E501
"""Clocks on fake time: a known ratio comes back, and intervals over rounds hold what they promise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from benchmarks.measure import protocol
from benchmarks.measure.clocks import CallRunner, Ratio, Sample, Series, paired_ratio, take_turns, warm_up
from reports.judging.statistics import student


@dataclass
class FakeTime:
    """Wall, thread and process time that move only when work is done."""

    wall: float = 100.0
    thread: float = 10.0
    process: float = 20.0

    def work(self, seconds: float, waiting: float = 0.0) -> None:
        self.wall += seconds + waiting
        self.thread += seconds
        self.process += seconds

    @property
    def clocks(self) -> tuple[Any, ...]:
        return (lambda: self.wall, lambda: self.thread, lambda: self.process)


def runner(time: FakeTime, seconds: float, waiting: Iterator[float] = itertools.repeat(0.0)) -> CallRunner:  # noqa: B008
    return CallRunner(lambda: time.work(seconds, next(waiting)), clocks=time.clocks)


# -------------------------------------------------------------------- samples and turns


def test_a_sample_is_seconds_a_call_by_each_clock() -> None:
    time = FakeTime()
    sample = runner(time, 0.002, itertools.repeat(0.001)).sample(cycle=4, calls=5)
    assert sample.cycle == 4
    assert (sample.wall_s, sample.thread_s, sample.process_s) == pytest.approx((0.003, 0.002, 0.002))


def test_the_device_is_waited_for_inside_the_sample() -> None:
    time = FakeTime()
    late = CallRunner(lambda: None, sync=lambda: time.work(0.5), clocks=time.clocks)
    assert late.sample(0, 10).wall_s == pytest.approx(0.05) and late.warm() == pytest.approx(0.5)


@pytest.mark.parametrize(("waiting", "clean"), [(0.0, True), (0.009, True), (0.0111, False), (9.0, False)])
def test_a_sample_is_clean_when_nothing_pre_empted_it(waiting: float, clean: bool) -> None:
    assert Sample(0, 1.0 + waiting, 1.0, 1.0).clean is clean
    assert Sample(0, 0.0, 0.0, 0.0).clean is False


def test_turns_give_a_known_ratio() -> None:
    """The same work once and twice: the ratio is 2, whatever the order was."""
    time = FakeTime()
    base, twice = take_turns([runner(time, 0.001), runner(time, 0.002)], np.random.default_rng(0))
    assert (base.calls, twice.calls) == (20, 10)  # samples of 20 ms
    found = paired_ratio(twice.samples, base.samples)
    assert found.log == pytest.approx(math.log(2)) and (found.clock, found.flags) == ("wall", ())


@dataclass
class Counted:
    """A runner that notes what is asked of it; `clean` says which of its samples are."""

    name: str
    told: list[str]
    seconds: float = 0.001
    clean: Iterator[bool] = field(default_factory=lambda: itertools.repeat(True))
    calls: list[int] = field(default_factory=list)

    def warm(self) -> float:
        self.told.append(f"warm {self.name}")
        return self.seconds

    def sample(self, cycle: int, calls: int) -> Sample:
        self.told.append(f"{self.name}{cycle}")
        self.calls.append(calls)
        wall = self.seconds if cycle < 0 or next(self.clean) else 2 * self.seconds
        return Sample(cycle, wall, self.seconds, self.seconds)


def turns(*clean: Any, seconds: float = 0.001) -> tuple[list[Series], list[str], list[Counted]]:
    told: list[str] = []
    runners = [Counted("ABC"[at], told, seconds, iter(own)) for at, own in enumerate(clean)]
    return take_turns(runners, np.random.default_rng(0)), told, runners


def test_a_cycle_is_everyone_once_after_a_call_that_is_thrown_away() -> None:
    series, told, runners = turns(*[itertools.repeat(True)] * 3)
    assert told[:9] == ["warm A", "warm A", "A-1", "warm B", "warm B", "B-1", "warm C", "warm C", "C-1"]
    rest = told[9:]
    assert rest[0::2] == [f"warm {name[0]}" for name in rest[1::2]]
    cycles = [rest[1::2][at : at + 3] for at in range(0, 30, 3)]
    assert [sorted(cycle) for cycle in cycles] == [[f"A{n}", f"B{n}", f"C{n}"] for n in range(10)]
    assert len({tuple(name[0] for name in cycle) for cycle in cycles}) > 2  # the order is drawn anew
    assert all(own.calls == 20 and len(own.samples) == 10 for own in series)
    assert runners[0].calls == [20] * 11 and all(
        sample.cycle >= 0 for own in series for sample in own.samples
    )


def test_ten_cycles_at_least_and_twenty_five_at_most() -> None:
    always, never = itertools.repeat(True), itertools.repeat(False)
    assert len(turns(always)[0][0].samples) == protocol.MIN_CYCLES == 10
    assert len(turns(never)[0][0].samples) == protocol.MAX_CYCLES == 25
    slow = itertools.chain([False] * 6, itertools.repeat(True))
    series, _, _ = turns(itertools.repeat(True), slow)
    assert [len(own.samples) for own in series] == [14, 14]  # 6 lost, 8 clean, and all wait for the last one
    assert [len(own.clean) for own in series] == [14, 8]


def test_no_stop_rule_looks_at_a_spread() -> None:
    time, jitter = FakeTime(), iter(np.random.default_rng(1).lognormal(0, 2, size=1000))
    noisy = CallRunner(lambda: time.work(0.001 * next(jitter)), clocks=time.clocks)
    assert len(take_turns([noisy], np.random.default_rng(0))[0].samples) == 10


def test_long_calls_get_five_samples_and_no_throw_away() -> None:
    series, told, runners = turns(*[itertools.repeat(True)] * 2, seconds=0.2)
    assert [len(own.samples) for own in series] == [5, 5] and runners[0].calls == [1] * 5
    assert told[:4] == ["warm A", "warm A", "warm B", "warm B"] and len(told) == 4 + 10


def test_the_first_call_is_kept_apart() -> None:
    time, costs = FakeTime(), iter([0.5] + [0.001] * 10_000)
    first = CallRunner(lambda: time.work(next(costs)), clocks=time.clocks)
    (series,) = take_turns([first], np.random.default_rng(0))
    assert series.first_call_s == pytest.approx(0.5)
    assert max(sample.wall_s for sample in series.samples) == pytest.approx(0.001)


@pytest.mark.parametrize("late", [1, 2], ids=["first", "second"])
def test_one_bad_call_does_not_choose_the_length_of_samples(late: int) -> None:
    """One of the two first calls was pre-empted for 80 ms: samples of 20 ms have 20 calls of 1 ms all the same."""
    time, count = FakeTime(), itertools.count(1)
    call = CallRunner(lambda: time.work(0.08 if next(count) == late else 0.001), clocks=time.clocks)
    (series,) = take_turns([call], np.random.default_rng(0))
    assert series.calls == 20 and not series.long


def test_cold_caches_do_not_choose_the_length_of_samples() -> None:
    time, costs = FakeTime(), iter([0.5, 0.006, 0.004, 0.002] + [0.001] * 100_000)
    (series,) = take_turns(
        [CallRunner(lambda: time.work(next(costs)), clocks=time.clocks)], np.random.default_rng(0)
    )
    assert 18 <= series.calls <= 20  # two cold calls alone would have said 3


def test_a_pre_empted_call_is_not_a_long_one() -> None:
    time, count = FakeTime(), itertools.count(1)
    call = CallRunner(lambda: time.work(0.3 if next(count) == 2 else 0.001), clocks=time.clocks)
    (series,) = take_turns([call], np.random.default_rng(0))
    assert len(series.samples) == protocol.MIN_CYCLES


def test_short_calls_beside_long_ones_keep_their_warm_call() -> None:
    told: list[str] = []
    take_turns([Counted("A", told, 0.2), Counted("B", told, 0.001)], np.random.default_rng(0))
    assert told.count("warm A") == 2 and told.count("warm B") == 2 + protocol.LONG_SAMPLES
    assert all(told[at - 1] == "warm B" for at, what in enumerate(told) if what[0] == "B" and what != "B-1")


def test_an_empty_body_is_the_overhead() -> None:
    """Each reading of a clock takes a microsecond, the call two: the body is not in it."""
    time = FakeTime()

    def read() -> float:
        time.work(1e-6)
        return time.wall

    call = CallRunner(lambda: time.work(0.5), sync=lambda: time.work(4e-6), clocks=(read, read, read))
    assert call.overhead_s(10) == pytest.approx((4e-6 + 1e-6) / 10)


# -------------------------------------------------------------------- devices


@dataclass
class FakeTimer:
    """A device that works at half of the speed of the clocks; marks are its own time."""

    time: FakeTime
    began: float = 0.0

    def start(self) -> None:
        self.began = self.time.wall

    def stop(self) -> float:
        return (self.time.wall - self.began) / 2


def test_the_devices_own_time_is_the_sample() -> None:
    time = FakeTime()
    base, twice = (
        CallRunner(lambda s=seconds: time.work(s), clocks=time.clocks, timer=FakeTimer(time))  # type: ignore[misc]
        for seconds in (0.001, 0.002)
    )
    first, second = take_turns([base, twice], np.random.default_rng(0))
    assert first.calls == 40  # samples of 20 ms by the device's time
    assert (second.samples[0].wall_s, second.samples[0].time_s) == pytest.approx((0.002, 0.001))
    assert paired_ratio(second.samples, first.samples) == Ratio(pytest.approx(math.log(2)), "device", ())


def test_work_warms_a_device_until_blocks_agree() -> None:
    """The clock rises for ten blocks; three in a row within 2 % end the warm-up, not before its seconds."""
    time, count = FakeTime(), itertools.count()
    slow = CallRunner(lambda: time.work(0.001 * (2.0 - min(next(count), 200) / 200)), clocks=time.clocks)
    series = [Series(calls=20)]
    blocks = warm_up([slow], series, seconds=0.1)
    assert blocks == 13
    steady = CallRunner(lambda: time.work(0.001), clocks=time.clocks)
    assert warm_up([steady], series, seconds=0.1) == 5
    restless = CallRunner(lambda: time.work(0.001 * (1 + next(count) % 40 // 20)), clocks=time.clocks)
    assert warm_up([restless], series, seconds=0.1) < 70  # ten times as long, and no longer


# -------------------------------------------------------------------- ratios


def samples(wall: Any, thread: Any = None) -> list[Sample]:
    thread = wall if thread is None else thread
    return [Sample(at, w, t, t) for at, (w, t) in enumerate(zip(wall, thread, strict=True))]


def test_the_ratio_is_paired_by_cycle() -> None:
    """A drift that both share falls out; the medians of the two sides apart would say 1.2 or worse."""
    drift = np.exp(np.linspace(0, 2, 11))
    assert paired_ratio(samples(1.3 * drift), samples(drift)).log == pytest.approx(math.log(1.3))
    shuffled = [samples(1.3 * drift)[at] for at in (3, 1, 10, 2, 0, 4, 9, 8, 7, 6, 5)]
    assert paired_ratio(shuffled, samples(drift)).log == pytest.approx(math.log(1.3))


def test_pre_empted_samples_are_left_out() -> None:
    wall, thread = np.ones(12), np.ones(12)
    wall[:3] *= 5  # three samples lost the processor
    found = paired_ratio(samples(1.5 * wall, 1.5 * thread), samples(np.ones(12)))
    assert found == Ratio(pytest.approx(math.log(1.5)), "wall", ())


def test_too_few_clean_samples_fall_back_to_cpu_time() -> None:
    wall = np.linspace(3, 4, 12)
    found = paired_ratio(samples(wall, np.full(12, 2.0)), samples(np.ones(12)))
    assert (found.clock, found.flags) == ("cpu", ("preempted",)) and found.log == pytest.approx(math.log(2))
    # seven clean pairs are one too few, eight are enough
    for lost, clock in ((5, "cpu"), (4, "wall")):
        wall = np.where(np.arange(12) < lost, 9.0, 2.0)
        assert paired_ratio(samples(wall, np.full(12, 2.0)), samples(np.ones(12))).clock == clock


def test_a_pair_needs_both_sides_clean() -> None:
    left = samples(np.where(np.arange(12) % 2 == 0, 9.0, 2.0), np.full(12, 2.0))
    right = samples(np.where(np.arange(12) % 2 == 1, 9.0, 1.0), np.ones(12))
    assert paired_ratio(left, right).clock == "cpu"


def test_cpu_time_takes_the_tenth_percentile() -> None:
    """A neighbour that streams memory makes CPU time longer, never shorter: the low end is the own work."""
    thread = np.concatenate([np.full(3, 1.0), np.full(9, 1.7)])
    found = paired_ratio(samples(thread * 4, thread), samples(np.full(12, 4.0), np.full(12, 1.0)))
    assert found.clock == "cpu" and found.log == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize(
    ("low", "noise", "flags"),
    [(0.99, 0.0, ()), (0.97, 0.0, ("clocks disagree",)), (0.5, 0.0, ("clocks disagree",)), (0.97, 0.05, ())],
)
def test_clocks_that_disagree_are_flagged(low: float, noise: float, flags: tuple[str, ...]) -> None:
    """Ten clean pairs of equal cost; two samples that lost the processor ran `low` as long by the thread's clock.

    The gap counts beyond 2 % and the half-width of the median: noise may explain it.
    """
    clean = np.exp(noise * np.linspace(-1, 1, 10))
    cell = samples([9.0, 9.0, *clean], [low, low, *clean])
    found = paired_ratio(cell, samples(np.ones(12)))
    assert found.log == pytest.approx(0.0, abs=1e-9) and (found.clock, found.flags) == ("wall", flags)


# -------------------------------------------------------------------- simulated rounds


def simulate(
    rounds: int, times: int, truth: float, drift: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(covered, differs from 1) of the 95 % interval over rounds, in `times` experiments.

    Per round a process effect of 1 % on each side and a drift of the machine that both share; per cycle 0.5 % noise
    and a shared wobble of 2 %; one sample in ten is pre-empted.
    """
    covered, differs = np.zeros(times, bool), np.zeros(times, bool)
    for at in range(times):
        logs = []
        for _ in range(rounds):
            level = drift * rng.normal()
            wobble = level + 0.02 * rng.normal(size=12)
            sides = []
            for shift in (truth, 0.0):
                thread = np.exp(shift + 0.01 * rng.normal() + wobble + 0.005 * rng.normal(size=12))
                wall = np.where(rng.random(12) < 0.1, 1.5, 1.001) * thread
                sides.append(samples(wall, thread))
            logs.append(paired_ratio(*sides).log)
        interval = student(logs)
        covered[at] = interval.low <= truth <= interval.high
        differs[at] = not interval.low <= 0.0 <= interval.high
    return covered, differs


@pytest.mark.parametrize("drift", [0.0, 0.05])
def test_intervals_over_rounds_cover(drift: float) -> None:
    """2,000 experiments of 5 rounds: 93 to 97 % of the 95 % intervals hold the truth, drift or not."""
    covered, _ = simulate(5, 2000, math.log(0.9), drift, np.random.default_rng([1, int(100 * drift)]))
    assert 0.93 <= covered.mean() <= 0.97, f"coverage {covered.mean():.3f}"


def test_a_copy_of_the_baseline_differs_in_at_most_six_of_a_hundred() -> None:
    _, differs = simulate(5, 2000, 0.0, 0.03, np.random.default_rng(2))
    assert differs.mean() <= 0.06, f"A/A false positives {differs.mean():.3f}"
