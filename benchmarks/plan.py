"""Plan and cards -> cells, chunks, rounds and scopes. Everything is known before the run, and no torch is loaded."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import digests, extension, forecast, specs
from benchmarks.cards import Arm, Card, CardRun, check_schema, load_card, read_yaml, retyped, show
from benchmarks.cells import Cell, Cells, Scope
from benchmarks.checks import NOT_COUNTED
from benchmarks.digests import ROOT, digest
from benchmarks.drawings import resolve_figures
from benchmarks.index import load_index, source_files, sources_digest
from benchmarks.knobs import InputError, check_names
from benchmarks.layout import Chunks, make_rounds
from benchmarks.resolver import Resolver
from benchmarks.sides import resolve_checks

DEFAULTS: dict[str, Any] = {
    "seeds": 5,
    "rounds": 8,
    "tour_rounds": 5,
    "tour": [],
    "include_full": False,
    "extend": {},
    "small": False,
    "energy_window_s": 10,
    "carbon": {"country": "FRA"},
    "limits": {"cell_minutes": 30, "memory_gb": 6},
}


class Plan:
    """A plan with all that follows from it.

    Attributes:
        chunks, rounds, scopes: by name.
        cards: in order, the tour's first.
        claims_of: card key -> claims and controls with their sides as arms.
    """

    def __init__(self, config: Mapping[str, Any], results: Path | str = "results") -> None:
        self.name, self.settings = _settings(config)
        self.typed = str(config.get("plan", "default"))  # a file of the user's own keeps its path
        self.results = Path(results)
        self.index = load_index(results)
        self.resolver = Resolver(self.index, small=self.settings["small"])
        self.cards = self._select()
        self.claims_of = {card.key: resolve_checks(card, self.resolver) for card in self.cards}
        self.figures_of = {card.key: resolve_figures(card, self.resolver) for card in self.cards}
        #: The kind of device that hashes name: cpu, or cuda for the gpu plan.
        self.device = "cuda" if self.name == "gpu" else "cpu"
        self.factory = Cells(self.index, self.device, bool(self.settings["small"]))
        self.card_cells: dict[str, dict[str, Cell]] = {}
        self._tour: set[str] = set()
        #: Cells that a run names by its own number of seeds; the others were asked for by `extend`.
        self._usual: set[str] = set()
        self.timed: dict[tuple[str, str], dict[tuple[str, str], bool]] = defaultdict(dict)
        self.more_rounds: dict[tuple[str, str], dict[tuple[str, str], int]] = defaultdict(dict)
        self._make_cells()
        asked = {system for cells in self.card_cells.values() for system in cells} - self._usual
        self.layout = Chunks(self.index, self.settings["limits"], self._tour, asked)
        self.layout.add(self.cells)
        self.chunks = self.layout.by_name
        self.rounds = make_rounds(self.timed, self.cells, self.layout, self.settings, self.more_rounds)
        self._make_scopes()

    @property
    def cells(self) -> list[Cell]:
        """All cells, starts among them, in a fixed order."""
        return self.factory.sorted()

    def cell(self, arm: Arm, seed: int) -> Cell:
        """The cell of an arm and a seed, made once."""
        return self.factory.cell(arm, seed)

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
            check_names(
                [stem],
                {*cards, *families, "core", "extended", "all"},
                "card, family or scope",
                f"{self.name}: cards",
            )
            for key, card in cards.items():
                if stem in (key, "all", card.raw["family"], card.raw["scope"]):
                    chosen[key] = card
        tour = self.settings["tour"]
        check_names(tour, set(chosen), "card of this plan", f"{self.name}: tour")
        check_names(self.settings["extend"], set(chosen), "card of this plan", f"{self.name}: extend")
        order = [*tour, *sorted(set(chosen) - set(tour))]
        return [chosen[key] for key in order]

    def _make_cells(self) -> None:
        for card in self.cards:
            cells: dict[str, Cell] = {}
            for run in card.runs:
                if self._is_planned(run):
                    self._make_run(card, run, cells)
            self.card_cells[card.key] = cells
        for cell in self.cells:
            self.factory.finish(cell)

    def _is_planned(self, run: CardRun) -> bool:
        if run.plan == "full":
            return bool(self.settings["include_full"])
        return run.plan is None or run.plan == self.name

    def _make_run(self, card: Card, run: CardRun, cells: dict[str, Cell]) -> None:
        task = self.index["tasks"].get(run.task, {"trains": True, "basis": "counted"})
        usual, seeds = extension.seeds_of(self, card, run)
        tour = card.key in self.settings["tour"] and run.tour
        for arm in run.arms:
            for seed in range(seeds):
                cell = self.cell(arm, seed)
                cell.workloads |= {*run.workloads} - {*NOT_COUNTED}
                cells[cell.system] = cell
                if seed < usual:
                    self._usual.add(cell.system)
                if tour and seed < usual:
                    self._mark_tour(cell)
        if run.workloads and task["basis"] != "modelled":
            self._time(run, usual, tour)
            if seeds > usual:
                self._time(run, seeds, tour=False)
            extension.extend_rounds(self, card, run, seeds)

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
                    table = self.timed[base.system, arm.task_id]
                    table[cell.system, workload] = table.get((cell.system, workload), False) or tour

    def _mark_tour(self, cell: Cell) -> None:
        self._tour.add(cell.system)
        for start in cell.refs.values():
            self._mark_tour(start)

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
        chunks = sorted({self.layout.of[system] for system in systems})
        rounds = [
            round.name
            for round in self.rounds.values()
            if any(cell.system in systems for cell, _ in round.visits) and round.baseline.system in systems
        ]
        return Scope(name, cards, chunks, sorted(rounds))

    def tuning(self, key: str) -> list[str]:
        """The chunks of a card's tuning study, added to the plan; nothing of it is part of any other target."""
        from benchmarks import studies

        card = next((card for card in self.cards if card.key == key and "tune" in card.raw), None)
        if card is None:
            raise InputError(f"tune_{key}: no card {key!r} of plan {self.name} has a `tune:` section")
        trials = [self.cell(arm, studies.SEED) for arm, _ in studies.arms(card, self.resolver)]
        fresh = [cell for cell in self.cells if cell.system not in self.layout.of]
        for cell in fresh:
            self.factory.finish(cell)
        self.layout.add(fresh, part="tune")
        return sorted({self.layout.of[cell.system] for cell in trials})

    # what jobs and pages are told
    def chunk_text(self, name: str) -> str:
        """The spec of a train job."""
        return specs.chunk_text(self, name)

    def round_text(self, name: str) -> str:
        """The spec of a measure job."""
        return specs.round_text(self, name)

    def data_text(self, name: str) -> str:
        """The spec of a data job."""
        return specs.data_text(self, name)

    def scope_text(self, scope: str) -> str:
        """What a report of this scope says and judges."""
        return specs.scope_text(self, scope)

    def table(self, scope: str) -> str:
        """The name of a scope's table: it changes with what is in it."""
        part = self.scopes[scope]
        code = digests.source_digest([ROOT / "benchmarks" / "collect.py"])
        return f"{scope}-{digest([part.chunks, part.rounds, code])}"

    def forecast(self, scope: str = "all", cores: int = 2) -> dict[str, float]:
        """What the scope will cost if nothing of it is done yet (benchmarks/forecast.py)."""
        return forecast.forecast(self, scope, cores)

    def card_cpu_s(self, key: str) -> float:
        """Forecast of a card alone, starts included, in CPU seconds of training and scoring."""
        return forecast.cpu_s(self.card_cells[key].values())

    def announce(self, scope: str, cores: int) -> str:
        """One line on what a run of this scope will cost if nothing of it is done yet."""
        part, cost = (
            self.scopes.get(scope, self.scopes["all"]),
            self.forecast(scope if scope in self.scopes else "all", cores),
        )
        return (
            f"{self.name} plan, {scope}: {len(part.cards)} cards, {cost['cells']} cells, {cost['jobs']} jobs; "
            f"forecast {cost['minutes']:.0f} min on {cores} cores from nothing (what is done is passed over; "
            "Ctrl-C is safe; the same command goes on)"
        )

    @property
    def studies(self) -> list[str]:
        """Keys of the cards that can be tuned."""
        return [card.key for card in self.cards if "tune" in card.raw]

    @property
    def report_code(self) -> str:
        """A digest of the code and templates that make pages."""
        files = sorted(
            path for path in (ROOT / "reports").rglob("*") if path.is_file() and path.suffix != ".pyc"
        )
        return digest([[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in files])

    @property
    def text(self) -> str:
        """The configuration as typed, for jobs that plan again."""
        return json.dumps({"plan": self.typed, **self.overrides}, sort_keys=True)

    @property
    def overrides(self) -> dict[str, Any]:
        """What the command line changed in the plan's file."""
        return self.settings.get("_overrides", {})


def _settings(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """config/<plan>.yaml under what the user typed on the command line."""
    typed = {key: retyped(part) if isinstance(part, dict) else part for key, part in config.items()}
    name = str(typed.pop("plan", "default"))
    path = Path(name) if name.endswith((".yaml", ".yml")) else ROOT / "config" / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in (ROOT / "config").glob("*.yaml"))
        raise InputError(f"plan={name}: there is no {show(path)}; plans: {', '.join(known)}")
    written = read_yaml(path)
    check_schema(written, "plan", show(path))
    settings = {**written, **typed}
    check_schema(settings, "plan", "--config")
    merged = {**DEFAULTS, **settings}
    merged["limits"] = {**DEFAULTS["limits"], **settings.get("limits", {})}
    merged["_overrides"] = typed
    if "cards" in typed:
        merged["tour"] = []  # the plan's tour is of its own cards
    return path.stem, merged


def load_plan(config: Mapping[str, Any], results: Path | str = "results") -> Plan:
    """Make a plan; a mistake of the user ends the process with one line and exit status 1."""
    try:
        os.environ["JOULEMARK_SOURCES"] = sources_digest(source_files())  # jobs refuse to run other sources
        return Plan(config, results)
    except InputError as error:
        sys.stderr.flush()
        raise SystemExit(os.fspath(str(error))) from None
