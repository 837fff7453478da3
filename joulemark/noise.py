"""joulemark doctor --noise: A/A rounds of this machine, quiet and beside neighbours; a table, a file and a figure."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.knobs import InputError


def run_noise(rounds: int, conditions: Sequence[str], out: Path) -> int:
    """Measure, write `noise.json`, `noise.svg` and `noise.pdf`, and say what came out.

    Raises:
        InputError: a condition that there is none of, or too few rounds for an interval.
    """
    from benchmarks.measure.noise import CONDITIONS, study, write

    unknown = [name for name in conditions if name not in CONDITIONS]
    if unknown:
        raise InputError(f"--conditions: {unknown[0]!r} is none of {', '.join(CONDITIONS)}")
    if rounds < 2:
        raise InputError("--rounds: an interval needs 2 rounds at least")
    cores = os.cpu_count() or 1
    minutes = forecast_minutes(rounds, conditions)
    print(
        f"{rounds * len(conditions)} rounds, about {minutes:.0f} min on an idle machine, which is held until then"
    )
    found = study(rounds, conditions, cores, lambda line: print(line, file=sys.stderr, flush=True))
    write(found, out / "noise.json")
    print(told(found))
    _draw(found, out)
    return 0


def forecast_minutes(rounds: int, conditions: Sequence[str]) -> float:
    """Minutes on an idle machine: 5 s a round alone; beside neighbours it takes all its cycles and shares cores."""
    seconds = {"quiet": 5.0, "busy": 14.0, "memory": 7.0}
    return rounds * sum(seconds.get(name, 10.0) for name in conditions) / 60


def told(study: Mapping[str, Any]) -> str:
    """The table and the two checks that stand on their own: the known ratio and torch's Timer."""
    from tabulate import tabulate

    from reports.drawing import noise

    rows = noise.lines(study)
    lines = [tabulate(rows[1:], headers=rows[0])]
    for one in noise.conditions(study):
        rate = noise.false_positives(one.verdict)
        lines.append(
            f"{one.name}: beside torch.utils.benchmark.Timer {noise.middle(one.timer):.3f} (medians of one call); "
            f"harness {one.overhead:.3%} of a sample; a round's fixed cost {one.fixed_s:.1f} s, "
            f"{one.turn_s:.1f} s of turns a cell; "
            + (
                "too few rounds for a false-positive rate"
                if rate is None
                else f"A/A false positives {rate:.1%} at 5 rounds"
            )
        )
    return "\n".join(lines)


def _draw(study: Mapping[str, Any], out: Path) -> None:
    try:
        from reports.drawing.noise import draw

        draw(study, out)
    except ImportError as error:  # a bare machine has no matplotlib
        print(f"{out / 'noise.json'} is written; no figure: {error}")
        return
    print(f"{out / 'noise.json'}, noise.svg, noise.pdf")
