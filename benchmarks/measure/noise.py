"""The noise of this machine, told honestly: rounds in which nothing differs, quiet and beside neighbours.

A round is what the protocol says: a fresh process, one thread, entries in turn. Its entries are a small network, a
copy of it (A/A: the ratio must be 1), and the same call made twice (the ratio must be 2). Beside them, in the same
process, the common practice: a block of samples of one, then a block of the other, and torch's own Timer.

`joulemark doctor --noise` runs it; `reports/drawing/noise.py` says what comes out and draws it.
"""

from __future__ import annotations

import copy
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.host import cpu_name
from benchmarks.measure import protocol
from benchmarks.measure.clocks import CallRunner, Sample, Series, paired_ratio, take_turns
from benchmarks.measure.machine import Watch, preflight
from benchmarks.measure.neighbours import neighbours
from benchmarks.measure.rounds import alone, round_environment
from benchmarks.records import write_json

SCHEMA = "1.0"
CONDITIONS = ("quiet", "busy", "memory")
#: What takes turns, the baseline first.
NAMES = ("base", "copy", "twice")
#: Samples of a block, as the common practice takes them: no turns, no throw-away in between.
BLOCK = 15


def study(
    rounds: int,
    conditions: Sequence[str] = CONDITIONS,
    cores: int = 1,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Rounds under each condition in turn, so that a drift of the machine meets all of them.

    Args:
        rounds: of each condition.
        conditions: of `quiet`, `busy`, `memory`.
        cores: as many neighbours compute beside a `busy` round; one streams memory beside a `memory` round.
        tell: hears one line a round.
    """
    made, counts = [], {"quiet": 0, "busy": cores, "memory": 1}
    with alone("cpu") as sees:
        for number in range(rounds):
            for condition in conditions:
                with neighbours(condition, counts[condition]):
                    made.append({"condition": condition, "round": number, **_round(number, sees)})
                tell(f"round {number + 1} of {rounds}, {condition}: {made[-1]['wall_s']:.1f} s")
    machine = {"cpu": cpu_name(), "cores": cores, **preflight()}
    return {
        "schema": SCHEMA, "kind": "noise", "machine": machine, "protocol": protocol.as_dict(), "neighbours": counts,
        "block": BLOCK, "clocks": ["wall_s", "thread_s", "process_s"], "rounds": made,
    }  # fmt: skip


def _round(number: int, sees: Mapping[str, str]) -> dict[str, Any]:
    began = time.time()
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.measure.noise"],
        input=json.dumps({"round": number, "started": began}),
        capture_output=True,
        text=True,
        env=round_environment(sees),
    )
    if child.returncode:
        raise SystemExit(f"a round of the noise study failed:\n{child.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(child.stdout)
    return found | {"wall_s": round(time.time() - began, 3)}


def write(study: Mapping[str, Any], path: Path) -> None:
    """The study as one JSON file, written by rename."""
    write_json(path, study)


# -------------------------------------------------------------------- the round's own process


def round_of(spec: Mapping[str, Any], calls: Sequence[Callable[[], Any]]) -> dict[str, Any]:
    """One round with the calls of NAMES: samples in turn, blocks, and what the machine did."""
    rng = np.random.default_rng([spec["round"], 7])
    fixed = {"fixed_s": round(time.time() - spec["started"], 3), "fixed_cpu_s": round(time.process_time(), 3)}
    watch, runners = Watch(), [CallRunner(call) for call in calls]
    began = time.perf_counter()
    series = take_turns(runners, rng)
    turns_s = time.perf_counter() - began
    return {
        **fixed,
        "turns_s": round(turns_s, 3),
        "calls": [own.calls for own in series],
        "first_call_s": [_short(own.first_call_s) for own in series],
        "overhead_share": [
            _short(_overhead(runner, own)) for runner, own in zip(runners, series, strict=True)
        ],
        "samples": {
            name: [_row(one) for one in own.samples] for name, own in zip(NAMES, series, strict=True)
        },
        "verdict": {name: _verdict(own, series[0]) for name, own in zip(NAMES, series, strict=True)},
        "clean": sum(len(own.clean) for own in series) / sum(len(own.samples) for own in series),
        "blocks_s": _blocks(runners[:2], series),
        "state": watch.stop(),
    }


def _verdict(own: Series, base: Series) -> dict[str, Any]:
    """What the protocol says of the ratio to the baseline."""
    ratio = paired_ratio(own.samples, base.samples)
    return {"log_ratio": _short(ratio.log), "clock": ratio.clock, "flags": list(ratio.flags)}


def _overhead(runner: CallRunner, own: Series) -> float:
    return runner.overhead_s(own.calls) / statistics.median(one.time_s for one in own.samples)


def _row(sample: Sample) -> list[float]:
    return [sample.cycle, *(_short(value) for value in (sample.wall_s, sample.thread_s, sample.process_s))]


def _short(seconds: float) -> float:
    return float(f"{seconds:.6g}")


def _blocks(runners: Sequence[CallRunner], series: Sequence[Series]) -> list[list[float]]:
    """One block after the other, as the common practice does: [wall, thread] medians of each."""
    found = []
    for runner, own in zip(runners, series, strict=False):
        runner.warm()
        block = [runner.sample(at, own.calls) for at in range(BLOCK)]
        found.append(
            [
                _short(statistics.median(getattr(one, name) for one in block))
                for name in ("wall_s", "thread_s")
            ]
        )
    return found


def beside_timer(call: Callable[[], Any], repeats: int = 15) -> dict[str, float]:
    """Seconds of one call by our samples and by torch.utils.benchmark.Timer, in turn; medians of each."""
    from torch.utils.benchmark import Timer

    runner, timer = CallRunner(call), Timer("call()", globals={"call": call})
    runner.warm()
    calls = max(1, round(protocol.SLOT_S / max(runner.sample(-1, 3).wall_s, 1e-9)))
    ours, theirs = [], []
    for cycle in range(repeats):
        ours.append(runner.sample(cycle, calls).wall_s)
        theirs.append(timer.timeit(calls).median)
    return {"ours_s": _short(statistics.median(ours)), "timer_s": _short(statistics.median(theirs))}


def network() -> list[Callable[[], Any]]:
    """The calls of NAMES: 64 images of 784 numbers through 784-300-100-10, as in the task fashion_mlp."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    ).eval()
    twin, x = copy.deepcopy(net), torch.rand(64, 784)

    def base() -> Any:
        with torch.inference_mode():
            return net(x)

    def other() -> Any:
        with torch.inference_mode():
            return twin(x)

    def twice() -> Any:
        base()
        return base()

    return [base, other, twice]


def main() -> int:
    """One round; the spec comes on standard input, the round leaves on standard output."""
    from benchmarks.execute import settle
    from benchmarks.measure.allocator import keep_freed_memory

    spec = json.loads(sys.stdin.read())
    settle(protocol.THREADS)
    keep_freed_memory()
    calls = network()
    print(json.dumps(round_of(spec, calls) | {"timer": beside_timer(calls[0])}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
