"""The power timeline: looks that are due, holes, errors, a process that does not start."""

from __future__ import annotations

import pytest

from benchmarks.measure.meters import EnergyRules, MeterError
from benchmarks.measure.meters.integral import doubts, integral_j
from benchmarks.measure.meters.nvml import BoardState
from benchmarks.measure.meters.timeline import Line, Poll, ProcessTimeline, ticks, watch
from tests.benchmarks.measure.meters.fakes import FakeBoard, FakeClock, Step


def polls(watts: list[float | None], hz: float = 10.0) -> list[Poll]:
    return [Poll(at / hz, one, one) for at, one in enumerate(watts)]


def test_a_slow_look_shifts_no_later_one() -> None:
    clock, seen = FakeClock(0.0), []

    def wait(seconds: float) -> bool:
        clock.sleep(seconds)
        return clock.now() < 1.0

    for _ in ticks(clock, 20.0, wait):
        seen.append(clock.now())
        clock.sleep(0.003)  # each look takes its time
    assert seen[1:4] == pytest.approx([0.05, 0.10, 0.15])
    assert len(seen) == 20


def test_a_look_that_took_too_long_is_not_made_up_for() -> None:
    clock, seen = FakeClock(0.0), []

    def wait(seconds: float) -> bool:
        clock.sleep(seconds)
        return clock.now() < 1.0

    for count, _ in enumerate(ticks(clock, 20.0, wait)):
        seen.append(clock.now())
        clock.sleep(0.5 if count == 2 else 0.0)
    assert len(seen) == 11, "nine looks were missed, and none is made twice"


def test_the_trapezoids_follow_straight_lines_and_cut_at_the_edges() -> None:
    line = Line(
        polls([float(at) for at in range(41)])
    )  # power rises by 10 W a second, read half a second late
    joules, averaged = integral_j(line, 1.03, 2.07)
    assert averaged and joules == pytest.approx(10.0 * (2.57**2 - 1.53**2) / 2)


def test_the_power_of_the_moment_is_read_at_its_own_time() -> None:
    line = Line([Poll(poll.t, None, poll.instant_w) for poll in polls([float(at) for at in range(41)])])
    joules, averaged = integral_j(line, 1.0, 2.0)
    assert not averaged and joules == pytest.approx(15.0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (Line(), "tells no power"),
        (Line(error="device lost"), "device lost"),
        (Line(polls([None] * 40)), "tells no power"),
        (Line(polls([200.0] * 12)), "does not cover"),
        (Line(polls([200.0] * 12), error="device lost"), "device lost"),
        (Line(polls([200.0] * 40)[20:]), "does not cover"),
        (Line(polls([200.0] * 18) + polls([200.0] * 40)[26:]), "a hole of 0.9 s"),
    ],
)
def test_what_was_not_seen_is_not_filled_in(line: Line, reason: str) -> None:
    with pytest.raises(MeterError, match=reason):
        integral_j(line, 1.0, 3.0)


def test_a_board_that_is_lost_after_the_window_has_still_been_seen() -> None:
    line = Line(polls([200.0] * 40), error="device lost")
    assert integral_j(line, 1.0, 3.0)[0] == pytest.approx(400.0)


def test_a_watch_keeps_what_it_saw_before_the_board_was_lost() -> None:
    clock = FakeClock(0.0)
    board = FakeBoard(Step(100.0, 200.0, 0.5), clock, lost_at=1.0)

    def wait(seconds: float) -> bool:
        clock.sleep(seconds)
        return clock.now() < 3.0

    line = watch(board, clock, ticks(clock, 20.0, wait))
    assert "device lost" in line.error
    assert len(line.polls) == pytest.approx(20, abs=1) and len(line.states) == 2


def test_doubts_look_at_the_window_alone() -> None:
    states = [(t / 2, BoardState(40.0 + 6.0 * (t >= 8), 1400.0, 0x40 * (t == 1))) for t in range(12)]
    rules = EnergyRules()
    assert doubts(Line((), states), 1.0, 3.0, rules) == ()
    assert doubts(Line((), states), 1.0, 5.0, rules) == ("temperature drift",)
    assert doubts(Line((), states), 0.0, 3.0, rules) == ("throttled",)


def test_a_process_that_cannot_start_is_told_and_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No driver here or no such board: the watcher ends at once."""
    monkeypatch.setenv("JOULEMARK_NVML_LIBRARY", "")
    timeline = ProcessTimeline("GPU-of-no-machine", 20.0)
    timeline.open()
    line = timeline.close()
    assert line.error == "the timeline's process did not start" and not line.polls
    assert timeline.close() is line


def test_a_timeline_that_was_never_opened_says_so() -> None:
    assert "never opened" in ProcessTimeline("GPU-1", 20.0).close().error
