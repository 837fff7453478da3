"""What a check may name: metrics that its cells can have, effects and their arguments. A typo is one clear line.

The functions themselves are in `reports` (which reads records and never plans); tests hold the two lists together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.cards import Arm, CardRun
from benchmarks.knobs import InputError, check_names, did_you_mean

#: Metrics from rounds, told as ratios; the others of a visit (`cpu_s`, `first_call_s`) are shown and not judged.
TIMED = ("latency_s", "train_s", "energy_j")
#: Counted once a cell.
SIZES = ("params", "nonzero", "stored_bytes")
TRAINING = ("train_steps", "train_samples", "train_flops", "train_peak_live_bytes")
#: Counted once a workload.
CALLS = ("flops", "bytes_moved", "peak_live_bytes", "energy_proxy_j")
STAGES = ("fit_cpu_s", "adapt_cpu_s", "stages_cpu_s")
#: Workloads that run a method's own loop: nothing of them can be counted in one call of a finished model.
NOT_COUNTED = ("train_step", "episode")

#: How an effect that reads a curve knows its x: numbers, a knob or count of its cells, or places of the metric.
LADDER = ("x", "along", "at", "scale")
#: Effect -> its arguments.
EFFECTS: dict[str, tuple[str, ...]] = {
    "at_best": LADDER,
    "cost_of_pass": ("success",),
    "crossover": LADDER,
    "difference_of_differences": (),
    "equal_size": ("along", "scale"),
    "reach": (*LADDER, "target", "factor", "margin", "last"),
    "share_of_draws": ("factor",),
    "slope": LADDER,
}
SCALES = {"slope": ("linear", "log", "loglog")}
#: Effects that read a curve along `of`.
CURVES = ("at_best", "crossover", "reach", "slope")


def check_effect(check: Mapping[str, Any], where: str) -> None:
    """Refuse an effect that is not there, or an argument that it has not.

    Raises:
        InputError: one line that names the key and what is allowed.
    """
    name, args = check.get("effect"), check.get("args") or {}
    if name is None:
        if args:
            raise InputError(f"{where}.args: arguments are for an `effect`, and this check names none")
        return
    check_names([name], EFFECTS, "effect", f"{where}.effect")
    check_names(args, EFFECTS[name], "argument", f"{where}.args ({name})")
    scales = SCALES.get(name, ("linear", "log"))
    if args.get("scale", "linear") not in scales:
        raise InputError(f"{where}.args.scale: {args['scale']!r} is none of {', '.join(scales)}")
    if name in CURVES:
        _check_ladder(check, args, where)
    for key in ("x", "at"):
        if key in args and (not isinstance(args[key], list) or len(args[key]) < 2):
            raise InputError(f"{where}.args.{key}: is a list of two entries or more, not {args[key]!r}")
    if not all(_is_number(value) for value in args.get("x", ())):
        raise InputError(f"{where}.args.x: {args['x']!r} are not all numbers")
    for key in ("factor", "margin"):
        if key in args and not _is_number(args[key]):
            raise InputError(f"{where}.args.{key}: {args[key]!r} is no number")
    if name == "reach" and "target" not in args:
        raise InputError(f"{where}.args: reach needs a `target`: a number, or a side")


def _check_ladder(check: Mapping[str, Any], args: Mapping[str, Any], where: str) -> None:
    if not {"x", "along", "at"} & set(args):
        raise InputError(
            f"{where}.args: {check['effect']} needs x: `along: <knob or counted number>`, `x: [numbers]` or "
            "`at: [places of the metric]`"
        )
    if "along" in args and {"x", "at"} & set(args):
        raise InputError(f"{where}.args: `along` says x already; leave out `x` and `at`")
    if "at" in args and "@" in check["metric"]:
        raise InputError(f"{where}.metric: {check['metric']!r} has a place already; `at` gives the places")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def metrics_of(check: Mapping[str, Any]) -> list[str]:
    """The metrics that a check reads, with their places; an effect may read one at several."""
    args = check.get("args") or {}
    names = [f"{check['metric']}@{place}" for place in args.get("at") or ()] or [str(check["metric"])]
    if check.get("effect") == "cost_of_pass":
        stem, at, place = str(check["metric"]).partition("@")
        success = str(args.get("success", "success"))
        # a cost from rounds is that of a batch; its successes are those of all items
        names.append(success if stem in TIMED else success + at + place)
    return names


def check_metrics(
    check: Mapping[str, Any],
    sides: Mapping[str, Sequence[Arm]],
    runs: Sequence[CardRun],
    index: Mapping[str, Any],
    where: str,
) -> None:
    """Refuse a metric that no run of the card can give the arms of the check's sides.

    Args:
        check: as typed, its effect checked.
        sides: key of the check -> the arms that it names.
        runs: the card's runs of the check's task and setting.
        index: of tasks and methods.
        where: file and key, for the message.

    Raises:
        InputError: one line that names the key and what is allowed.
    """
    arms = list({arm.id: arm for some in sides.values() for arm in some}.values()) or [runs[0].baseline]
    if runs[0].task not in index["tasks"] or any(_broken(arm, index) for arm in arms):
        return  # its file raises: the cells will say so
    made = _Made(arms, runs, index)
    for metric in metrics_of(check):
        made.refuse(metric, f"{where}.metric")
    _check_along(check, sides, made, f"{where}.args.along")
    stem = str(check["metric"]).partition("@")[0]
    if stem in TIMED and check.get("effect") is None and "over" not in check:
        raise InputError(f"{where}: {check['metric']} is compared as a ratio within a round: say `over`")


def _check_along(
    check: Mapping[str, Any], sides: Mapping[str, Sequence[Arm]], made: _Made, where: str
) -> None:
    """The x of a ladder is a knob of all its cells, or a counted number of all cells; a size is the latter."""
    sized = check.get("effect") == "equal_size"
    along = (check.get("args") or {}).get("along", "nonzero" if sized else None)
    knobs = [] if sized else made.knobs(sides.get("of", ()))
    if along is not None and along not in knobs:
        made.refuse(str(along), where, more=knobs)


def check_by(metric: str, task: str, index: Mapping[str, Any], where: str) -> None:
    """Refuse a metric that is no quality metric of a task: settings are picked on validation data by one."""
    if metric and task in index["tasks"]:
        known = [entry["name"] for entry in index["tasks"][task]["metrics"]]
        check_names([metric.partition("@")[0]], known, f"quality metric of {task}", where)


def _broken(arm: Arm, index: Mapping[str, Any]) -> bool:
    return arm.method["method"] not in index["methods"]


class _Made:
    """The numbers that some arms will have in some runs."""

    def __init__(self, arms: Sequence[Arm], runs: Sequence[CardRun], index: Mapping[str, Any]) -> None:
        self.arms, self.task, self.index = arms, runs[0].task, index
        self.entry = index["tasks"][self.task]
        self.methods = [index["methods"][arm.method["method"]] for arm in arms]
        #: Workloads at which every arm is counted.
        self.called = self._workloads(runs)
        bases = {run.baseline.id for run in runs}
        #: Workloads at which all arms are timed beside one baseline.
        self.timed = set.union(
            *(self._workloads([run for run in runs if run.baseline.id == base]) for base in bases)
        )
        self.quality = [entry["name"] for entry in self.entry["metrics"]]

    def _workloads(self, runs: Sequence[CardRun]) -> set[str]:
        """Workloads that these runs have for every arm."""
        each = [
            {name for run in runs if arm.id in {other.id for other in run.arms} for name in run.workloads}
            for arm in self.arms
        ]
        return set.intersection(*each)

    def knobs(self, arms: Iterable[Arm]) -> list[str]:
        """Knobs of the methods of all these arms, and of the task."""
        entries = [self.index["methods"][arm.method["method"]]["knobs"] for arm in arms]
        common = (
            set.intersection(*({knob["name"] for knob in knobs} for knobs in entries)) if entries else set()
        )
        return sorted(common | {knob["name"] for knob in self.entry["knobs"]})

    def refuse(self, metric: str, where: str, more: Iterable[str] = ()) -> None:
        """Raise InputError for a metric that the arms cannot have."""
        stem, at, place = metric.partition("@")
        if any(self._fits(stem, at + place, spot) for spot in self._places(stem)):
            return
        known = sorted({*self._names(), *more})
        if not self._places(stem):
            raise InputError(f"{where}: {self._nothing(stem) or self._unknown(metric, known)}")
        raise InputError(f"{where}: {self._misplaced(metric, stem, place)}")

    @staticmethod
    def _fits(stem: str, place: str, spot: str) -> bool:
        """A spot is "" for none, a place, or `@axis=` for any value along an axis; `@` alone for anything."""
        if spot.endswith(("=", "@")):
            return place.startswith(spot) and len(place) > len(spot)
        return place == spot

    def _places(self, stem: str) -> list[str]:
        """Where the arms have a number of this name; empty where they have none at all."""
        if stem in self.quality:
            return self._quality_places()
        if stem == "train_s":
            return [""] if "train_step" in self.timed and self._is_timed else []
        if stem in TIMED:
            return [f"@{name}" for name in sorted(self.timed - {"train_step"})] if self._is_timed else []
        if stem in CALLS:
            main = {self.entry["main_workload"]} - {""}
            return [f"@{name}" for name in sorted((self.called | main) - {*NOT_COUNTED})]
        return [""] if stem in self._placeless() or self._is_open(stem) else []

    def _quality_places(self) -> list[str]:
        if self._untrained:
            return []
        named = [self.entry.get("axes", []), *(method.get("keeps", []) for method in self.methods)]
        if any(names is None for names in named):
            return ["", "@"]
        return ["", *(f"@{name}=" for names in named for name in names)]

    @property
    def _is_timed(self) -> bool:
        return bool(self.entry["basis"] != "modelled")

    @property
    def _untrained(self) -> bool:
        """`train: false`: cells at random weights, whose answers nobody scores."""
        return bool(self.entry["trains"]) and any(
            arm.method["knobs"].get("budget") == 0.0 for arm in self.arms
        )

    def _placeless(self) -> set[str]:
        spent = [f"spent_{name}" for method in self.methods for name in method.get("spends") or ()]
        probes = [f"probe_{name}" for method in self.methods for name in method.get("probes") or ()]
        own = self.entry.get("counts") or ()
        return {*SIZES, *TRAINING, *STAGES, *own, *spent, *probes}

    def _is_open(self, stem: str) -> bool:
        """Whether a file makes such names while running, so that any may come."""
        parts = {"spent_": "spends", "probe_": "probes"}
        for prefix, key in parts.items():
            if stem.startswith(prefix):
                return any(method.get(key, []) is None for method in self.methods)
        return self.entry.get("counts", []) is None

    def _names(self) -> Iterator[str]:
        """What could have been meant, for the message."""
        for stem in (*self.quality, *sorted(self._placeless()), *CALLS, *TIMED):
            for spot in self._places(stem):
                yield stem + spot + ("..." if spot.endswith(("=", "@")) else "")

    def _nothing(self, stem: str) -> str:
        """Why the arms have no such number although there is one of this name."""
        if stem in self.quality:
            return f"cells of a run with `train: false` have no {stem}: nobody scores random weights"
        if stem in TIMED and not self._is_timed:
            return f"{self.task} is a simulator: nothing of it is timed"
        if stem in TIMED:
            need = "`workloads: [train_step]`" if stem == "train_s" else "`workloads`"
            return f"these cells have no {stem}: no run of this card times them beside one baseline ({need})"
        return (
            f"these cells have no {stem}: no run of this card has workloads for it" if stem in CALLS else ""
        )

    def _unknown(self, metric: str, known: Sequence[str]) -> str:
        return f"there is no metric {metric!r} for these cells; {did_you_mean(metric, known)}"

    def _misplaced(self, metric: str, stem: str, place: str) -> str:
        spots = [
            spot.removeprefix("@") + ("..." if spot.endswith("=") else "") for spot in self._places(stem)
        ]
        named = [spot for spot in spots if spot]
        if not place:
            return f"{stem} needs a workload: {', '.join(f'{stem}@{spot}' for spot in named)}"
        if not named:
            return f"{stem} has no place {place!r}: it is one number a cell"
        return f"these cells have no {metric}; {stem} is there at: {', '.join(named)}"
