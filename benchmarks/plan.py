"""Plan and cards -> cells, chunks, rounds and scopes. Everything is known before the run, and no torch is loaded."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import digests
from benchmarks.cards import Arm, Card, Resolver, check_schema, load_card, read_yaml, show, stands_on_start
from benchmarks.digests import HARNESS_VERSION, ROOT, digest
from benchmarks.index import load_index, source_files, sources_digest
from benchmarks.knobs import InputError, check_names
from benchmarks.sides import resolve_checks

#: Cells beside the baseline in one round (MEASUREMENT 2.1).
ROUND_CELLS = 7
#: Raised by hand when measured numbers of different code must not be joined.
PROTOCOL = 1
#: A chunk of cells should not take longer than this in CPU seconds.
CHUNK_CPU_S = 300.0
#: CPU seconds of a round's start (import of torch, loading), and of one cell and workload in it.
ROUND_START_S, VISIT_S = 2.0, 0.45
#: CPU seconds of one training job's start.
JOB_START_S = 1.8
DEFAULTS: dict[str, Any] = {
    "seeds": 5,
    "rounds": 8,
    "tour_rounds": 5,
    "tour": [],
    "include_full": False,
    "small": False,
    "energy_window_s": 10,
    "carbon": {"country": "FRA"},
    "limits": {"cell_minutes": 30, "memory_gb": 6},
}


@dataclass
class Cell:
    """What is trained once and gets one cell record.

    Attributes:
        arm: task and method with their knobs.
        seed: of everything random in it.
        refs: canonical reference (as JSON) -> the cell it stands on.
        workloads: whose cost is counted.
    """

    arm: Arm
    seed: int
    refs: dict[str, Cell]
    artefact: str
    system: str
    depth: int
    cpu_s: float
    workloads: set[str] = field(default_factory=set)
    needed: bool = False
    record: str = ""

    def spec(self) -> dict[str, Any]:
        """Everything that a job needs to know of this cell."""
        return {
            "task": self.arm.task,
            "task_knobs": self.arm.task_knobs,
            "method": self.arm.method["method"],
            "knobs": self.arm.method["knobs"],
            "seed": self.seed,
            "arm": self.arm.id,
            "artefact": self.artefact,
            "system": self.system,
            "record": self.record,
            "workloads": sorted(self.workloads),
            "refs": {ref: cell.spec_ref() for ref, cell in self.refs.items()},
        }

    def spec_ref(self) -> dict[str, Any]:
        """What a job needs to load this cell as a start, and what that one stands on."""
        return {
            "artefact": self.artefact,
            "method": self.arm.method["method"],
            "knobs": self.arm.method["knobs"],
            "refs": {ref: cell.spec_ref() for ref, cell in self.refs.items()},
        }


@dataclass
class Chunk:
    """One train job: cells of one task and method."""

    name: str
    task: str
    data: str
    cells: list[Cell]
    needs: set[str] = field(default_factory=set)
    tour: bool = False


@dataclass
class Round:
    """One measure job: a fresh process that times a baseline and up to seven cells in turn."""

    name: str
    number: int
    baseline: Cell
    visits: list[tuple[Cell, str]]
    first_group: bool
    chunks: set[str]
    tour: bool = False


@dataclass
class Scope:
    """A part of the plan with a page of its own."""

    name: str
    cards: list[Card]
    chunks: list[str]
    rounds: list[str]


class Plan:
    """A plan with all that follows from it. Cheap to make; every part is made when it is first asked for."""

    def __init__(self, config: Mapping[str, Any], results: Path | str = "results") -> None:
        self.typed = str(config.get("plan", "default"))
        self.name, self.settings = _settings(config)
        self.results = Path(results)
        self.index = load_index(results)
        self.resolver = Resolver(self.index, small=self.settings["small"])
        self.cards = self._select()
        self._cells: dict[str, Cell] = {}
        self.card_cells: dict[str, dict[str, Cell]] = {}
        self.claims_of = {card.key: resolve_checks(card, self.resolver) for card in self.cards}
        self._make_cells()
        self._make_chunks()
        self._make_rounds()
        self._make_scopes()

    # ---------------------------------------------------------------- cards

    def _select(self) -> list[Card]:
        """The plan's cards in a fixed order; the tour's first."""
        files = {path.stem: path for path in sorted((ROOT / "benchmarks" / "papers").glob("*.yaml"))}
        wanted = self.settings["cards"]
        names = [wanted] if isinstance(wanted, str) else wanted
        own = [name for name in names if name.endswith((".yaml", ".yml"))]
        for name in own:
            path = Path(name) if Path(name).is_absolute() or Path(name).exists() else ROOT / name
            files[path.stem] = path
        cards = {key: load_card(path, self.resolver) for key, path in files.items()}
        families = {card.raw["family"] for card in cards.values()}
        chosen: dict[str, Card] = {}
        for name in names:
            stem = Path(name).stem if name in own else name
            check_names([stem], {*cards, *families, "core", "extended", "all"}, "card, family or scope", f"{self.name}: cards")
            for key, card in cards.items():
                if stem in (key, "all", card.raw["family"], card.raw["scope"]):
                    chosen[key] = card
        tour = self.settings["tour"]
        check_names(tour, set(chosen), "card of this plan", f"{self.name}: tour")
        order = [*tour, *sorted(set(chosen) - set(tour))]
        return [chosen[key] for key in order]

    # ---------------------------------------------------------------- cells

    def _make_cells(self) -> None:
        self._tour_cells: set[str] = set()
        self._timed: dict[tuple[str, str], dict[tuple[str, str], bool]] = defaultdict(dict)
        for card in self.cards:
            cells: dict[str, Cell] = {}
            for run in card.runs:
                if run.plan == "full" and not self.settings["include_full"]:
                    continue
                if run.plan == "gpu" and self.name != "gpu":
                    continue
                task = self.index["tasks"].get(run.task, {"trains": True, "basis": "counted"})
                seeds = run.seeds or (self.settings["seeds"] if task["trains"] else 1)
                seeds = min(seeds, self.settings["seeds"]) if self.settings["small"] else seeds
                tour = card.key in self.settings["tour"] and run.tour
                for arm in run.arms:
                    for seed in range(seeds):
                        cell = self.cell(arm, seed)
                        cell.workloads |= {*run.workloads} - {"train_step", "episode"}
                        cells[cell.system] = cell
                        if tour:
                            self._mark_tour(cell)
                if run.workloads and task["basis"] != "modelled":
                    self._time(run, seeds, tour)
            self.card_cells[card.key] = cells
        for cell in self._cells.values():
            main = self.index["tasks"].get(cell.arm.task, {}).get("main_workload")
            cell.workloads |= {main} if main else set()
            cell.record = digest([cell.system, self._counting, sorted(cell.workloads)])

    def _time(self, run: Any, seeds: int, tour: bool) -> None:
        """Note what rounds visit: seed 0, or every seed where cost depends on what was learnt."""
        for arm in run.arms:
            entry = self.index["methods"].get(arm.method["method"], {})
            varies = entry.get("cost_depends_on_weights") or self.index["tasks"].get(run.task, {}).get(
                "cost_depends_on_weights"
            )
            for seed in range(seeds if varies else 1):
                base, cell = self.cell(run.baseline, seed), self.cell(arm, seed)
                for workload in run.workloads:
                    table = self._timed[base.system, arm.task_id]
                    table[cell.system, workload] = table.get((cell.system, workload), False) or tour

    def _mark_tour(self, cell: Cell) -> None:
        self._tour_cells.add(cell.system)
        for start in cell.refs.values():
            self._mark_tour(start)

    @cached_property
    def _counting(self) -> str:
        return digests.source_digest([ROOT / "benchmarks" / name for name in ("counting.py", "operators.py", "costs.py")])

    @cached_property
    def _torch(self) -> str:
        try:
            return ".".join(version("torch").split(".")[:2])
        except PackageNotFoundError:
            return "none"

    def cell(self, arm: Arm, seed: int) -> Cell:
        """The cell of an arm and a seed, made once."""
        key = f"{arm.id}/{seed}"
        if key not in self._cells:
            self._cells[key] = self._new_cell(arm, seed)
        return self._cells[key]

    def _new_cell(self, arm: Arm, seed: int) -> Cell:
        name, knobs = arm.method["method"], arm.method["knobs"]
        entry, task = self.index["methods"].get(name), self.index["tasks"].get(arm.task)
        refs, serve = {}, {}
        for knob in (entry or {"knobs": []})["knobs"]:
            value = knobs.get(knob["name"])
            if knob["kind"] == "cell" and value is not None:
                refs[ref_key(value)] = self.cell(Arm(arm.task, arm.task_knobs, value), seed)
                refs[ref_key(value)].needed = True
            if knob.get("serve") and knob["name"] in knobs:
                serve[knob["name"]] = value
        artefact = digest(
            {
                "task": [arm.task, arm.task_knobs, task["version"] if task else 0],
                "method": [name, {key: value for key, value in knobs.items() if key not in serve}],
                "seed": seed,
                "starts": sorted((ref, cell.system) for ref, cell in refs.items()),
                "device": self.device,
                "torch": self._torch,
                "sources": [task["source"] if task else "", entry["source"] if entry else ""],
                "harness": HARNESS_VERSION,
            }
        )
        return Cell(
            arm=arm,
            seed=seed,
            refs=refs,
            artefact=artefact,
            system=digest([artefact, serve]),
            depth=1 + max((cell.depth for cell in refs.values()), default=-1),
            cpu_s=self._forecast(entry, task, knobs),
        )

    @property
    def device(self) -> str:
        """The kind of device that hashes name: cpu, or cuda for the gpu plan."""
        return "cuda" if self.name == "gpu" else "cpu"

    def _forecast(self, entry: Any, task: Any, knobs: Mapping[str, Any]) -> float:
        if not entry or not task:
            return 0.5
        trains = task["trains"] and ("adapt" in entry["stages"] or not stands_on_start(entry["stages"]))
        share = knobs.get("budget", 1.0) if trains else 0.0
        return share * task["train_cpu_s"] * entry["cpu_factor"] + task["score_cpu_s"]

    @property
    def cells(self) -> list[Cell]:
        """All cells, starts among them, in a fixed order."""
        return sorted(self._cells.values(), key=lambda cell: (cell.depth, cell.arm.task, cell.system))

    # ---------------------------------------------------------------- chunks

    def _make_chunks(self) -> None:
        groups: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
        for cell in self.cells:
            alone = cell.seed == 0 or cell.needed
            part = f"s{cell.seed}" if alone else "more"
            groups[cell.arm.task, cell.arm.task_id, cell.arm.method["method"], part, str(cell.depth)].append(cell)
        self.chunks: dict[str, Chunk] = {}
        self.chunk_of: dict[str, str] = {}
        for (task, task_id, method, part, depth), cells in sorted(groups.items()):
            for bucket, members in _buckets(cells):
                self._add_chunk(task, f"{task}.{method}.{part}{bucket}", [task_id, depth], members)
        for chunk in self.chunks.values():
            for cell in chunk.cells:
                chunk.needs |= {self.chunk_of[start.system] for start in cell.refs.values()}
            chunk.needs.discard(chunk.name)

    def _add_chunk(self, task: str, stem: str, salt: list[str], cells: list[Cell]) -> None:
        method = self.index["methods"].get(cells[0].arm.method["method"], {})
        packages = {name: _version(name) for name in method.get("requires", [])}
        mark = [salt, [cell.record for cell in cells], self.settings["limits"], packages]
        name = f"{stem}-{digest(mark)}"
        tour = any(cell.system in self._tour_cells for cell in cells)
        self.chunks[name] = Chunk(name, task, self.data_name(cells[0].arm), cells, tour=tour)
        self.chunk_of.update({cell.system: name for cell in cells})

    def data_name(self, arm: Arm) -> str:
        """The prepared data of a task and its knobs."""
        task = self.index["tasks"].get(arm.task, {"source": "", "version": 0})
        return f"{arm.task}-{digest([arm.task_knobs, task['source'], task['version'], HARNESS_VERSION])}"

    # ---------------------------------------------------------------- rounds

    def _make_rounds(self) -> None:
        self.rounds: dict[str, Round] = {}
        by_system = {cell.system: cell for cell in self._cells.values()}
        code = digests.source_digest(sorted((ROOT / "benchmarks" / "measure").glob("*.py")))
        for (base, _), visits in self._timed.items():
            baseline = by_system[base]
            for tour in (True, False):
                wanted = [(system, workload) for (system, workload), mark in visits.items() if mark is tour]
                others = list(dict.fromkeys(system for system, _ in wanted if system != base))
                groups = [others[at : at + ROUND_CELLS] for at in range(0, len(others), ROUND_CELLS)]
                if not groups and wanted:
                    groups = [[]]
                count = self.settings["tour_rounds"] if tour else self.settings["rounds"]
                for number in range(count):
                    for at, group in enumerate(groups):
                        chosen = [
                            (by_system[system], workload)
                            for system, workload in wanted
                            if system in group or system == base
                        ]
                        self._add_round(baseline, chosen, number, at, tour, code)

    def _add_round(
        self, baseline: Cell, visits: list[tuple[Cell, str]], number: int, group: int, tour: bool, code: str
    ) -> None:
        mark = [baseline.system, [(cell.system, workload) for cell, workload in visits], number, PROTOCOL, code]
        name = f"{baseline.arm.task}.g{group}-r{number}-{digest(mark)}"
        chunks = {self.chunk_of[cell.system] for cell, _ in visits} | {self.chunk_of[baseline.system]}
        self.rounds[name] = Round(name, number, baseline, visits, group == 0, chunks, tour)

    # ---------------------------------------------------------------- scopes

    def _make_scopes(self) -> None:
        self.scopes: dict[str, Scope] = {"all": self._scope("all", self.cards)}
        for card in self.cards:
            self.scopes[card.scope] = self._scope(card.scope, [card])
        for family in sorted({card.raw["family"] for card in self.cards}):
            cards = [card for card in self.cards if card.raw["family"] == family]
            self.scopes[f"family_{family}"] = self._scope(f"family_{family}", cards)
        for task in sorted({run.task for card in self.cards for run in card.runs}):
            cards = [card for card in self.cards if any(run.task == task for run in card.runs)]
            self.scopes[f"task_{task}"] = self._scope(f"task_{task}", cards)
        if self.settings["tour"]:
            cards = [card for card in self.cards if card.key in self.settings["tour"]]
            chunks = [name for name, chunk in self.chunks.items() if chunk.tour]
            rounds = [name for name, round in self.rounds.items() if round.tour]
            self.scopes["tour"] = Scope("tour", cards, chunks, rounds)

    def _scope(self, name: str, cards: list[Card]) -> Scope:
        systems = {cell.system for card in cards for cell in self.card_cells[card.key].values()}
        chunks = sorted({self.chunk_of[system] for system in systems})
        rounds = [
            round.name
            for round in self.rounds.values()
            if any(cell.system in systems for cell, _ in round.visits) and round.baseline.system in systems
        ]
        return Scope(name, cards, chunks, sorted(rounds))

    def chunk_text(self, name: str) -> str:
        """The spec of a train job, as JSON."""
        chunk = self.chunks[name]
        spec = {"cells": [cell.spec() for cell in chunk.cells], "data": chunk.data, "limits": self.settings["limits"]}
        return json.dumps(spec, sort_keys=True)

    def round_text(self, name: str) -> str:
        """The spec of a measure job, as JSON."""
        round = self.rounds[name]
        visits: dict[str, Any] = {}
        for cell, workload in round.visits:
            entry = visits.setdefault(cell.system, {**cell.spec(), "timed": []})
            entry["timed"].append(workload)
        return json.dumps(
            {
                "round": round.number,
                "baseline": round.baseline.spec(),
                "cells": list(visits.values()),
                "data": self.data_name(round.baseline.arm),
                "first_group": round.first_group,
                "protocol": PROTOCOL,
                "device": self.device,
                "energy_window_s": self.settings["energy_window_s"],
            },
            sort_keys=True,
        )

    def data_text(self, name: str) -> str:
        """The spec of a data job, as JSON."""
        arm = next(chunk.cells[0].arm for chunk in self.chunks.values() if chunk.data == name)
        return json.dumps({"task": arm.task, "knobs": arm.task_knobs}, sort_keys=True)

    def table(self, scope: str) -> str:
        """The name of a scope's table: it changes with what is in it."""
        part = self.scopes[scope]
        code = digests.source_digest([ROOT / "benchmarks" / "collect.py"])
        return f"{scope}-{digest([part.chunks, part.rounds, code])}"

    def scope_text(self, scope: str) -> str:
        """What a report of this scope says and judges, as JSON."""
        part = self.scopes[scope]
        arms = {cell.arm.id for name in part.chunks for cell in self.chunks[name].cells}
        cards = [
            {
                **{key: value for key, value in card.raw.items() if key not in ("claims", "controls")},
                "key": card.key,
                "target": card.scope,
                **self.claims_of[card.key],
                "runs": [
                    {
                        "task": run.task,
                        "task_id": run.arms[0].task_id,
                        "baseline": run.baseline.id,
                        "arms": [arm.id for arm in run.arms if arm.id in arms],
                        "workloads": run.workloads,
                        "planned": any(arm.id in arms for arm in run.arms),
                    }
                    for run in card.runs
                ],
            }
            for card in part.cards
        ]
        tasks = {run.task for card in part.cards for run in card.runs}
        methods = {arm.method["method"] for card in part.cards for run in card.runs for arm in run.arms}
        describe = lambda table, names: {  # noqa: E731
            name: {key: value for key, value in self.index[table][name].items() if key not in ("source", "files")}
            for name in sorted(names)
            if name in self.index[table]
        }
        return json.dumps(
            {
                "plan": self.name,
                "scope": scope,
                "settings": self.settings,
                "cards": cards,
                "tasks": describe("tasks", tasks),
                "methods": describe("methods", methods),
            },
            sort_keys=True,
            default=str,
        )

    def forecast(self, scope: str = "all", cores: int = 2) -> dict[str, float]:
        """What the scope will cost if nothing of it is done yet.

        Returns:
            cells, jobs, train_cpu_s, measure_s (wall, all cores), minutes (wall), disk_mb.
        """
        part = self.scopes[scope]
        cells = [cell for name in part.chunks for cell in self.chunks[name].cells]
        train = sum(cell.cpu_s for cell in cells) + JOB_START_S * len(part.chunks)
        measure = sum(ROUND_START_S + VISIT_S * (1 + len(self.rounds[name].visits)) for name in part.rounds)
        return {
            "cells": len(cells),
            "jobs": len(part.chunks) + len(part.rounds),
            "train_cpu_s": round(train, 1),
            "measure_s": round(measure, 1),
            "minutes": round((train / max(cores, 1) + measure) / 60 + 0.3, 1),
            "disk_mb": round(2.0 * len(cells), 1),
        }

    def card_cpu_s(self, key: str) -> float:
        """Forecast of a card alone, starts included, in CPU seconds of training and scoring."""
        seen: dict[str, Cell] = {}
        todo = list(self.card_cells[key].values())
        while todo:
            cell = todo.pop()
            if cell.system not in seen:
                seen[cell.system] = cell
                todo += cell.refs.values()
        return sum(cell.cpu_s for cell in seen.values())

    def announce(self, scope: str, cores: int) -> str:
        """One line on what a run of this scope will cost if nothing of it is done yet."""
        part, cost = self.scopes.get(scope, self.scopes["all"]), self.forecast(scope if scope in self.scopes else "all", cores)
        return (
            f"{self.name} plan, {scope}: {len(part.cards)} cards, {cost['cells']} cells, {cost['jobs']} jobs; "
            f"forecast {cost['minutes']:.0f} min on {cores} cores from nothing (what is done is passed over; "
            "Ctrl-C is safe; the same command goes on)"
        )

    @property
    def report_code(self) -> str:
        """A digest of the code and templates that make pages."""
        files = sorted(path for path in (ROOT / "reports").rglob("*") if path.is_file() and path.suffix != ".pyc")
        return digest([[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in files])

    @property
    def text(self) -> str:
        """The configuration as typed, for jobs that plan again."""
        return json.dumps({"plan": self.typed, **self.overrides}, sort_keys=True)

    @property
    def overrides(self) -> dict[str, Any]:
        """What the command line changed in the plan's file."""
        return self.settings.get("_overrides", {})


def _buckets(cells: list[Cell]) -> Iterable[tuple[str, list[Cell]]]:
    """Split a group that would take too long by the leading bits of its cells' hashes: doubling never shuffles."""
    total, parts = sum(cell.cpu_s for cell in cells), 1
    while total / parts > CHUNK_CPU_S and parts < 4096:
        parts *= 2
    if parts == 1:
        return [("", cells)]
    split: dict[int, list[Cell]] = defaultdict(list)
    for cell in cells:
        split[int(cell.system[:3], 16) * parts // 4096].append(cell)
    return [(f"_{bucket}of{parts}", members) for bucket, members in sorted(split.items())]


def ref_key(ref: Mapping[str, Any]) -> str:
    """A canonical reference as text: how `run.load` finds a cell."""
    return json.dumps(ref, sort_keys=True, separators=(",", ":"))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _settings(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """config/<plan>.yaml under what the user typed on the command line."""
    typed = dict(config)
    name = str(typed.pop("plan", "default"))
    path = Path(name) if name.endswith((".yaml", ".yml")) else ROOT / "config" / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in (ROOT / "config").glob("*.yaml"))
        raise InputError(f"plan={name}: there is no {show(path)}; plans: {', '.join(known)}")
    settings = {**read_yaml(path), **typed}
    check_schema(settings, "plan", show(path))
    merged = {**DEFAULTS, **settings}
    merged["limits"] = {**DEFAULTS["limits"], **settings.get("limits", {})}
    merged["_overrides"] = typed
    return path.stem, merged


def load_plan(config: Mapping[str, Any], results: Path | str = "results") -> Plan:
    """Make a plan; a mistake of the user ends the process with one line and exit status 1."""
    try:
        os.environ["JOULEMARK_SOURCES"] = sources_digest(source_files())  # jobs refuse to run other sources
        return Plan(config, results)
    except InputError as error:
        sys.stderr.flush()
        raise SystemExit(os.fspath(str(error))) from None
