"""Tuning studies: the same number of random trials for each arm, each trial an ordinary cell judged on validation data.

A card says `tune: {trials: 8, by: accuracy, knobs: {lr_factor: {low: 0.1, high: 10, log: true}}}`. The draws come from
Optuna's random sampler under a fixed seed, so that a study is a set of cells: it resumes like everything else. Its
result is committed as benchmarks/tuning/<task>.<method>.yaml, and a card uses it by saying `lr_factor: tuned`.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.cards import Arm, Card
from benchmarks.digests import ROOT
from benchmarks.knobs import InputError
from benchmarks.records import Store, write_text

FOLDER = ROOT / "benchmarks" / "tuning"
#: Trials train under a seed that no plan uses, so that what is tuned on is not what is judged.
SEED = 10_000


def draws(space: Mapping[str, Mapping[str, Any]], trials: int) -> list[dict[str, Any]]:
    """`trials` settings of a space, the same for every arm."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = []
    for _ in range(trials):
        trial = study.ask()
        found.append({name: _draw(trial, name, bounds) for name, bounds in sorted(space.items())})
        study.tell(trial, state=optuna.trial.TrialState.FAIL)  # the sampler is random: values do not steer it
    return found


def _draw(trial: Any, name: str, bounds: Mapping[str, Any]) -> Any:
    if "choices" in bounds:
        return trial.suggest_categorical(name, list(bounds["choices"]))
    value = trial.suggest_float(name, bounds["low"], bounds["high"], log=bounds.get("log", False))
    return float(f"{value:.4g}")


def arms(card: Card, resolver: Any) -> Iterator[tuple[Arm, dict[str, Any]]]:
    """Every arm of a card's runs with every draw: (arm with the draw's knobs, draw)."""
    tune = card.raw["tune"]
    settings = draws(tune["knobs"], tune["trials"])
    seen = set()
    for run in card.runs:
        for name in [run.baseline.method["method"], *(arm.method["method"] for arm in run.arms)]:
            if (run.task, name) in seen:
                continue
            seen.add((run.task, name))
            for draw in settings:
                (method,) = resolver.method(name, draw, f"{card.path.name}: tune.knobs")
                yield Arm(run.task, run.task_knobs, method), draw


def tuned(task: str, method: str, knob: str, where: str) -> Any:
    """The value that a study found.

    Raises:
        InputError: there is no such study, or it does not name the knob.
    """
    path = FOLDER / f"{task}.{method}.yaml"
    found = yaml.safe_load(path.read_text()) if path.is_file() else {}
    if knob not in found.get("knobs", {}):
        raise InputError(
            f"{where}: `tuned` needs benchmarks/tuning/{path.name} with {knob}: run snakemake tune_<card>"
        )
    return found["knobs"][knob]


def summaries(tasks: Iterable[str], methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """`<task>.<method>` -> card, trials and metric of the committed study, where there is one."""
    pairs = [f"{task}.{method}" for task in sorted(tasks) for method in sorted(methods)]
    files = {pair: FOLDER / f"{pair}.yaml" for pair in pairs}
    known = {pair: yaml.safe_load(path.read_text()) for pair, path in files.items() if path.is_file()}
    return {pair: {**found["study"], "knobs": found["knobs"]} for pair, found in known.items()}


def conclude(card: Card, resolver: Any, cell_of: Any, store: Store) -> list[Path]:
    """Write the result of a finished study, one file an arm; trials that diverged count as tried."""
    tune = card.raw["tune"]
    trials: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for arm, draw in arms(card, resolver):
        record = store.final(cell_of(arm, SEED).record)
        score = (record or {"quality": {}})["quality"].get(tune["by"], {}).get("valid")
        entry = {"knobs": draw, "valid": score, "status": record["status"] if record else "missing"}
        trials.setdefault((arm.task, arm.method["method"]), []).append(entry)
    sign = 1 if tune.get("better", "higher") == "higher" else -1
    written = []
    for (task, method), tried in trials.items():
        scored = [entry for entry in tried if entry["valid"] is not None]
        if not scored:
            raise InputError(f"tune_{card.key}: no trial of {method} on {task} has a validation score")
        best = max(scored, key=lambda entry: sign * entry["valid"])
        text = yaml.safe_dump(
            {
                "study": {
                    "card": card.key,
                    "trials": len(tried),
                    "by": tune["by"],
                    "sampler": "random",
                    "seed": SEED,
                },
                "knobs": best["knobs"],
                "valid": best["valid"],
                "spread": statistics.pstdev(entry["valid"] for entry in scored),
                "tried": tried,
            },
            sort_keys=False,
        )
        write_text(FOLDER / f"{task}.{method}.yaml", text)
        written.append(FOLDER / f"{task}.{method}.yaml")
    return written
