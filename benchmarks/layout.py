"""How cells are laid out in jobs: chunks that train, rounds that measure. Names are digests of what is in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks import digests
from benchmarks.cells import Cell, Chunk, Round, package_version
from benchmarks.digests import HARNESS_VERSION, ROOT, digest

#: Cells beside the baseline in one round (docs/measurement.md).
ROUND_CELLS = 7
#: Raised by hand when measured numbers of different code must not be joined.
PROTOCOL = 2
#: A chunk of cells should not take longer than this in CPU seconds.
CHUNK_CPU_S = 300.0
#: Baseline's system and task -> (cell's system, workload) -> whether the tour times it.
Timed = Mapping[tuple[str, str], Mapping[tuple[str, str], bool]]


class Chunks:
    """The train jobs of a plan, and which of them holds a cell."""

    def __init__(
        self,
        index: Mapping[str, Any],
        limits: Mapping[str, Any],
        tour: set[str],
        asked: set[str] | None = None,
    ) -> None:
        self.index, self.limits, self.tour, self.asked = index, limits, tour, asked or set()
        self.by_name: dict[str, Chunk] = {}
        self.of: dict[str, str] = {}

    def add(self, cells: Iterable[Cell], part: str = "") -> None:
        """Group cells by task, method and depth; seed 0, and what others start from, stand apart from other seeds.

        So one more seed leaves alone what rounds and starts hang on. What the tour does not need stands apart too,
        and so do seeds that `extend` asked for: the chunks that were there keep their names.
        """
        groups: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
        for cell in cells:
            more = "extra" if cell.system in self.asked else "more"
            name = part or (f"s{cell.seed}" if cell.seed == 0 or cell.needed else more)
            name += "" if part or not self.tour or cell.system in self.tour else "_later"
            groups[cell.arm.task, cell.arm.task_id, cell.arm.method["method"], name, str(cell.depth)].append(
                cell
            )
        for (task, task_id, method, name, depth), members in sorted(groups.items()):
            for bucket, some in buckets(members):
                self._add(task, f"{task}.{method}.{name}{bucket}", [task_id, depth], some)
        for chunk in self.by_name.values():
            for cell in chunk.cells:
                chunk.needs |= {self.of[start.system] for start in cell.refs.values()}
            chunk.needs.discard(chunk.name)

    def _add(self, task: str, stem: str, salt: list[str], cells: list[Cell]) -> None:
        method = self.index["methods"].get(cells[0].arm.method["method"], {})
        packages = {name: package_version(name) for name in method.get("requires", [])}
        name = f"{stem}-{digest([salt, [cell.record for cell in cells], self.limits, packages])}"
        tour = any(cell.system in self.tour for cell in cells)
        self.by_name[name] = Chunk(name, task, self.data_name(cells[0]), cells, tour=tour)
        self.of.update({cell.system: name for cell in cells})

    def data_name(self, cell: Cell) -> str:
        """The prepared data of a task and its knobs."""
        arm = cell.arm
        task = self.index["tasks"].get(arm.task, {"source": "", "version": 0})
        return f"{arm.task}-{digest([arm.task_knobs, task['source'], task['version'], HARNESS_VERSION])}"


def make_rounds(
    timed: Timed,
    cells: Iterable[Cell],
    chunks: Chunks,
    settings: Mapping[str, Any],
    more: Mapping[tuple[str, str], Mapping[tuple[str, str], int]] | None = None,
) -> dict[str, Round]:
    """Rounds of a baseline and at most seven cells; the tour's apart, since it has its own number of them.

    `more` says up to which number `extend` wants rounds of a visit: they stand apart, beyond those that all have.
    """
    by_system = {cell.system: cell for cell in cells}
    code = digests.source_digest(sorted((ROOT / "benchmarks" / "measure").rglob("*.py")))
    rounds: dict[str, Round] = {}
    for key, visits in timed.items():
        asked = (more or {}).get(key, {})
        usual = {visit: settings["tour_rounds" if tour else "rounds"] for visit, tour in visits.items()}
        jobs = [
            (number, tour, [visit for visit, mark in visits.items() if mark is tour])
            for tour in (True, False)
            for number in range(settings["tour_rounds" if tour else "rounds"])
        ]
        jobs += [
            (number, False, [visit for visit, count in asked.items() if usual[visit] <= number < count])
            for number in range(max(asked.values(), default=0))
        ]
        for number, tour, wanted in jobs:
            for at, group in enumerate(_groups(wanted, key[0])):
                chosen = [(by_system[s], workload) for s, workload in wanted if s in group or s == key[0]]
                made = _round(by_system[key[0]], chosen, number, at, tour, code, chunks)
                rounds[made.name] = made
    return rounds


def _groups(wanted: list[tuple[str, str]], base: str) -> list[list[str]]:
    """Systems of one round each, beside the baseline; the baseline alone where nothing else is timed."""
    others = list(dict.fromkeys(system for system, _ in wanted if system != base))
    groups = [others[at : at + ROUND_CELLS] for at in range(0, len(others), ROUND_CELLS)]
    return groups or ([[]] if wanted else [])


def _round(
    base: Cell, visits: list[tuple[Cell, str]], number: int, group: int, tour: bool, code: str, chunks: Chunks
) -> Round:
    mark = [base.system, [(cell.system, workload) for cell, workload in visits], number, PROTOCOL, code]
    name = f"{base.arm.task}.g{group}-r{number}-{digest(mark)}"
    needs = {chunks.of[cell.system] for cell, _ in visits} | {chunks.of[base.system]}
    return Round(name, number, base, visits, group == 0, needs, tour)


def buckets(cells: list[Cell]) -> Iterable[tuple[str, list[Cell]]]:
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
