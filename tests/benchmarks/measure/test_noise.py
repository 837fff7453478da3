"""The noise study: what a round records, neighbours that end, and numbers that are known beforehand."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.knobs import InputError
from benchmarks.measure import noise, protocol
from benchmarks.measure.clocks import CallRunner
from benchmarks.measure.known import repeats
from benchmarks.measure.neighbours import WORK, neighbours
from joulemark.noise import forecast_minutes, run_noise, told
from reports.drawing import noise as told_noise
from tests.benchmarks.test_clocks import FakeTime


def fake_round(monkeypatch: pytest.MonkeyPatch, number: int = 0) -> dict[str, Any]:
    """A round of fake work on fake time: base and copy 1 ms, twice 2 ms."""
    fake = FakeTime()
    monkeypatch.setattr(noise, "CallRunner", lambda call: CallRunner(call, clocks=fake.clocks))
    calls = [lambda seconds=seconds: fake.work(seconds) for seconds in (0.001, 0.001, 0.002)]
    return noise.round_of({"round": number, "started": 0.0}, calls)


def test_a_round_records_every_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    found = fake_round(monkeypatch)
    assert set(found["samples"]) == set(noise.NAMES) and found["calls"] == [20, 20, 10]
    assert [row[0] for row in found["samples"]["copy"]] == list(range(protocol.MIN_CYCLES))
    assert found["samples"]["twice"][0][1:] == pytest.approx([0.002] * 3)
    assert found["blocks_s"] == [pytest.approx([0.001, 0.001])] * 2
    assert found["overhead_share"] == [0.0, 0.0, 0.0]
    assert found["verdict"]["twice"] == {
        "log_ratio": pytest.approx(math.log(2), abs=1e-5),
        "clock": "wall",
        "flags": [],
    }
    assert found["clean"] == 1.0 and found["verdict"]["base"]["log_ratio"] == 0.0
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("kind", sorted(WORK))
def test_neighbours_are_at_work_and_end(kind: str) -> None:
    with neighbours(kind, 2) as pids:
        assert len(pids) == 2 and all(
            Path(f"/proc/{pid}").exists() or os.kill(pid, 0) is None for pid in pids
        )
        if Path("/proc/self/stat").exists():
            before = [ticks(pid) for pid in pids]
            end = time.monotonic() + 60
            while any(ticks(pid) <= was for pid, was in zip(pids, before, strict=True)):
                assert time.monotonic() < end, "a neighbour does nothing"
                time.sleep(0.01)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_neighbours_end_with_an_error_of_the_body() -> None:
    with pytest.raises(ValueError), neighbours("busy", 1) as pids:
        raise ValueError
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_quiet_round_has_no_neighbour() -> None:
    with neighbours("quiet", 2) as pids:
        assert pids == []


def ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


# -------------------------------------------------------------------- what is told


def study(logs: dict[str, list[float]], wall: float = 0.0, clean: bool = True) -> dict[str, Any]:
    """A study whose A/A logs are these, by CPU time and, `wall` further apart, by wall time."""
    rounds = []
    for condition, numbers in logs.items():
        for number, log in enumerate(numbers):
            sides = {"base": 0.0, "copy": log, "twice": math.log(2)}
            wobble = wall * (1 if number % 2 else -1)
            samples = {
                name: [
                    [
                        cycle,
                        0.001 * math.exp(side + wobble * (name == "copy")) * (1.0 if clean else 1.5),
                        0.001 * math.exp(side),
                        0.001 * math.exp(side),
                    ]
                    for cycle in range(10)
                ]
                for name, side in sides.items()
            }
            rounds.append(
                {
                    "condition": condition, "round": number, "fixed_s": 2.0, "fixed_cpu_s": 1.5, "turns_s": 3.0,
                    "calls": [20, 20, 10], "overhead_share": [1e-5] * 3, "samples": samples,
                    "blocks_s": [[0.001, 0.001], [0.001 * math.exp(3 * log), 0.001]],
                    "timer": {"ours_s": 0.00101, "timer_s": 0.001}, "state": {"others_cores": 0.5},
                    "clean": float(clean), "verdict": {name: {"log_ratio": side} for name, side in sides.items()},
                }
            )  # fmt: skip
    return {"kind": "noise", "rounds": rounds}


LOGS = {"quiet": [0.01, -0.01, 0.02, -0.02, 0.0], "busy": [0.03, -0.03, 0.06, -0.06, 0.0]}


def test_known_numbers_come_back() -> None:
    quiet, busy = told_noise.conditions(study(LOGS, wall=0.0))
    assert (quiet.name, busy.name) == ("quiet", "busy")
    assert quiet.cpu == pytest.approx(LOGS["quiet"]) and quiet.verdict == pytest.approx(LOGS["quiet"])
    assert quiet.blocks == pytest.approx([3 * log for log in LOGS["quiet"]])
    assert quiet.twice == pytest.approx([math.log(2)] * 5)
    assert (quiet.clean, quiet.others, quiet.turn_s, quiet.fixed_s) == (1.0, 0.5, 1.0, 2.0)
    assert quiet.interval.effect == pytest.approx(1.0) and quiet.interval.n == 5
    # t of 4 degrees of freedom times sd over root 5
    spread = np.std(LOGS["quiet"], ddof=1)
    assert told_noise.half_width(quiet.verdict, 5) == pytest.approx(
        math.expm1(2.7764 * spread / math.sqrt(5)), rel=1e-4
    )
    assert math.isinf(told_noise.half_width(quiet.verdict, 1))
    assert told_noise.middle(quiet.timer) == pytest.approx(1.01)


def test_wall_and_cpu_time_stand_side_by_side() -> None:
    """Wall time is 5 % off in every round, CPU time is not: both are shown as they are."""
    (one,) = told_noise.conditions(study({"busy": LOGS["busy"]}, wall=0.05, clean=False))
    assert one.clean == 0.0 and one.cpu == pytest.approx(LOGS["busy"])
    assert np.abs(np.subtract(one.wall, one.cpu)) == pytest.approx([0.05] * 5)


def test_false_positives_of_a_fair_coin_are_five_in_a_hundred() -> None:
    fair = np.random.default_rng(0).normal(size=400).tolist()
    rate = told_noise.false_positives(fair)
    assert rate is not None and 0.03 < rate < 0.07
    shifted = told_noise.false_positives([3.0 + x for x in fair])
    assert shifted is not None and shifted > 0.9
    assert told_noise.false_positives(fair[:6]) is None


def test_the_table_and_the_figure_tell_all(tmp_path: Path) -> None:
    found = study({**LOGS, "memory": [0.4, -0.3, 0.02, -0.02, 0.0]}, wall=0.01)
    text = told(found)
    assert all(word in text for word in ("quiet", "busy", "memory", "Timer 1.010", "2.000 [2.000, 2.000]"))
    svg = told_noise.draw(found, tmp_path)
    assert "every core busy" in svg and "in blocks" in svg and (tmp_path / "noise.pdf").stat().st_size > 1000
    again = told_noise.draw(found, tmp_path / "again")
    assert svg == again
    (tmp_path / "other.json").write_text('{"kind": "cell"}')
    with pytest.raises(ValueError, match="is no noise study"):
        told_noise.read(tmp_path / "other.json")


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--conditions: 'loud' is none of quiet, busy, memory"):
        run_noise(3, ["quiet", "loud"], tmp_path)
    with pytest.raises(InputError, match="2 rounds at least"):
        run_noise(1, ["quiet"], tmp_path)
    assert forecast_minutes(12, ["quiet"]) == pytest.approx(1.0)


def test_a_study_runs_conditions_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[Any] = []
    made = study({"quiet": [0.0]})["rounds"][0]
    monkeypatch.setattr(
        noise,
        "_round",
        lambda number, sees: {k: v for k, v in made.items() if k not in ("condition", "round")},
    )

    class Fake:
        def __init__(self, kind: str, count: int) -> None:
            order.append((kind, count))

        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(noise, "neighbours", Fake)
    monkeypatch.setenv("JOULEMARK_LEASE", str(tmp_path))
    made["wall_s"] = 4.0
    lines: list[str] = []
    found = noise.study(2, cores=2, tell=lines.append)
    assert order == [("quiet", 0), ("busy", 2), ("memory", 1)] * 2 and len(lines) == 6
    assert [r["condition"] for r in found["rounds"]] == ["quiet", "busy", "memory"] * 2
    noise.write(found, tmp_path / "deep" / "noise.json")
    assert told_noise.read(tmp_path / "deep" / "noise.json")["protocol"] == protocol.as_dict()


# -------------------------------------------------------------------- real clocks, bounds of a loaded machine


def test_the_known_ratio_on_real_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clocks of this process, the same work once, by a copy and twice; CPU time where neighbours pre-empt."""
    monkeypatch.setattr(protocol, "SLOT_S", 0.004)
    found = repeats(3)
    assert abs(float(np.median(found["same"]))) < 0.15
    assert abs(float(np.median(found["double"])) - math.log(2)) < 0.15


def test_beside_torchs_timer() -> None:
    """The same call by both, by CPU seconds that do not feel a neighbour: within a tenth."""
    import torch
    from torch.utils.benchmark import Timer

    call = noise.network()[0]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runner = CallRunner(call)
        runner.warm()
        timer = Timer("call()", globals={"call": call}, timer=time.thread_time)
        pairs = [(runner.sample(at, 10).thread_s, timer.timeit(10).median) for at in range(15)]
    finally:
        torch.set_num_threads(before)
    ours, theirs = (float(np.quantile(side, 0.2)) for side in zip(*pairs, strict=True))
    assert abs(math.log(ours / theirs)) < 0.1
    assert set(noise.beside_timer(call, 2)) == {"ours_s", "timer_s"}


def test_the_three_calls_are_what_they_say() -> None:
    import torch

    base, copied, twice = noise.network()
    assert torch.equal(base(), copied()) and torch.equal(base(), twice()) and base().shape == (64, 10)
