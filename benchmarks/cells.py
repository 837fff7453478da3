"""Cells, chunks, rounds and scopes: the parts of a plan, and how a cell gets its hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks import digests
from benchmarks.cards import Arm, Card
from benchmarks.digests import HARNESS_VERSION, ROOT, digest
from benchmarks.resolver import stands_on_start

#: CPU seconds of a cell with small knobs, whatever its task.
SMALL_CPU_S = 0.6


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


class Cells:
    """Makes every cell once; knows what its hashes are made of."""

    def __init__(self, index: Mapping[str, Any], device: str, small: bool = False) -> None:
        self.index, self.device, self.small = index, device, small
        self.made: dict[str, Cell] = {}

    @cached_property
    def counting(self) -> str:
        """Digest of the code that counts cost."""
        names = ("counting", "operators", "formulas", "factorizations", "traffic", "costs")
        return digests.source_digest([ROOT / "benchmarks" / f"{name}.py" for name in names])

    @cached_property
    def torch(self) -> str:
        """Torch's major and minor version, without importing it."""
        return ".".join(package_version("torch").split(".")[:2])

    def cell(self, arm: Arm, seed: int) -> Cell:
        """The cell of an arm and a seed."""
        key = f"{arm.id}/{seed}"
        if key not in self.made:
            self.made[key] = self._new(arm, seed)
        return self.made[key]

    def _new(self, arm: Arm, seed: int) -> Cell:
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
                "torch": self.torch,
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
            cpu_s=SMALL_CPU_S if self.small else forecast_cpu_s(entry, task, knobs),
        )

    def finish(self, cell: Cell) -> None:
        """Give a cell its record hash: what is counted is known now."""
        main = self.index["tasks"].get(cell.arm.task, {}).get("main_workload")
        cell.workloads |= {main} if main else set()
        cell.record = digest([cell.system, self.counting, sorted(cell.workloads)])

    def sorted(self) -> list[Cell]:
        """All cells, starts among them, in a fixed order."""
        return sorted(self.made.values(), key=lambda cell: (cell.depth, cell.arm.task, cell.system))


def forecast_cpu_s(entry: Any, task: Any, knobs: Mapping[str, Any]) -> float:
    """CPU seconds of training and scoring one cell, by what task and method say."""
    if not entry or not task:
        return 0.5
    works = "adapt" in entry["stages"] or not stands_on_start(entry["stages"])
    if not task["trains"]:  # nothing is learnt from data, but a method may search, solve or pack
        works = bool(entry["stages"])
    share = knobs.get("budget", 1.0) if works else 0.0
    return share * task["train_cpu_s"] * entry["cpu_factor"] + task["score_cpu_s"]


def ref_key(ref: Any) -> str:
    """A canonical reference as text: how `run.load` finds a cell."""
    return json.dumps(ref, sort_keys=True, separators=(",", ":"))


def package_version(package: str) -> str:
    """The installed version, or `absent`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
