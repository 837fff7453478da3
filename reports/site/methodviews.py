"""What a method's page says: its docstring in parts, its knobs, its arms on every task, when it pays back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reports.content import Content
from reports.drawing import crossover
from reports.judging.arms import Arm, Section
from reports.judging.table import Missing, Table
from reports.notation import TIMES, place, seconds, stem, words
from reports.typesetting.grids import DASH, Cell, Grid, Head
from reports.typesetting.task_tables import change_cell, quality_cell, ratio_cell

_HEAD = re.compile(r"^([A-Z][A-Za-z ]{2,24}):\s*(.*)$")
BREAKS = (
    "Preparation: CPU seconds of the arm's own stages, less the baseline's training where the method replaces it. "
    "Saved: median time of a call of the baseline less the arm's. Both were measured on this machine; only arms "
    "whose time lies below the baseline's with its whole interval are listed."
)
_SIGNS = re.compile(r"\s(=|<-|~|≈|:=)\s|\^|\*\*")


@dataclass(frozen=True)
class Part:
    """A paragraph of a docstring: `word` is its heading, `equation` keeps its lines."""

    word: str
    text: str
    equation: bool = False


@dataclass
class MethodView:
    """One method.

    Attributes:
        papers: keys of cards that run it.
        values: knob -> the values that it has in this scope.
    """

    name: str
    entry: Mapping[str, Any]
    parts: list[Part]
    papers: list[str]
    arms: list[str]
    values: dict[str, list[str]] = field(default_factory=dict)
    grids: list[Grid] = field(default_factory=list)

    @property
    def lead(self) -> str:
        """The first sentence of its docstring."""
        return self.parts[0].text if self.parts else ""

    @property
    def family(self) -> str:
        """The folder of methods that it stands in."""
        return str(self.entry.get("family") or "other")


def parts_of(doc: str) -> list[Part]:
    """A docstring as paragraphs; indented lines with an equals sign or a power keep their line breaks."""
    found: list[Part] = []
    for number, block in enumerate(re.split(r"\n\s*\n", doc.strip())):
        word, lines = "", list[str]()
        for line in block.splitlines():
            head = _HEAD.match(line) if number else None  # the first block is the sentence that says it
            if head:
                found += _told(word, lines)
                word, lines = head.group(1), [head.group(2)]
            else:
                lines.append(line)
        found += _told(word, lines)
    return found


def _told(word: str, lines: Sequence[str]) -> list[Part]:
    """Prose joined to one line; equations, which stand indented after a colon, apart from it."""
    found: list[Part] = []
    prose: list[str] = []
    for line in lines:
        formula = line.startswith("    ") and _SIGNS.search(line) and prose and prose[-1].endswith((":", ";"))
        if formula or (
            found and found[-1].equation and not prose and line.startswith("    ") and _SIGNS.search(line)
        ):
            found += [Part("" if found else word, " ".join(prose))] if prose else []
            prose = []
            found.append(Part("", line.strip(), equation=True))
        elif line.strip():
            prose.append(line.strip())
    if prose:
        found.append(Part("" if found else word, " ".join(prose)))
    return found


def method_views(content: Content) -> list[MethodView]:
    """Every method with a row, by name."""
    table = content.table
    arms: dict[str, list[str]] = {}
    for arm, known in table.arms.items():
        arms.setdefault(str(known["method"]), []).append(str(arm))
    return [_view(content, name, arms[name]) for name in sorted(arms)]


def _view(content: Content, name: str, arms: list[str]) -> MethodView:
    table, entry = content.table, content.table.scope["methods"].get(name, {})
    papers = [
        str(card["key"])
        for card in table.scope["cards"]
        if any(arm in run["arms"] for run in card["runs"] for arm in arms)
    ]
    view = MethodView(name, entry, parts_of(str(entry.get("doc", ""))), papers, arms)
    for arm in arms:
        for knob, value in table.arms[arm]["knobs"].items():
            inner = isinstance(value, Mapping) and "method" in value
            told = table.label(value["method"], value["knobs"]) if inner else str(value)
            if told not in view.values.setdefault(knob, []):
                view.values[knob].append(told)
    view.grids = [_knobs(view), _cells(content, view), _breaks(content, view), _crossings(content, view)]
    return view


def _knobs(view: MethodView) -> Grid:
    heads = [Head("knob"), Head("default"), Head("range"), Head("here"), Head("what it is")]
    grid = Grid("knobs", "Knobs", heads)
    for knob in view.entry.get("knobs", []):
        used = ", ".join(view.values.get(knob["name"], []))
        default = "none" if knob["default"] is None else str(knob["default"])
        grid.rows.append([
            Cell(knob["name"]), Cell(default), Cell(_range(knob)),
            Cell(used or "default", tone="" if used else "dim"), Cell(str(knob.get("help", ""))),
        ])  # fmt: skip
    return grid


def _range(knob: Mapping[str, Any]) -> str:
    """What a knob may be: its choices, its limits, or its kind."""
    if knob.get("choices"):
        return ", ".join(map(str, knob["choices"]))
    low, high = knob.get("low"), knob.get("high")
    if low is None and high is None:
        return str(knob.get("kind", ""))
    if high is None:
        return f"{low} or more"
    return f"at most {high}" if low is None else f"{low} to {high}"


def _cells(content: Content, view: MethodView) -> Grid:
    """Its arms on every task, held against that task's baseline."""
    heads = [
        Head("arm"),
        Head("task"),
        Head("quality", True),
        Head("change", True),
        Head("timed"),
        *(Head(f"{name} {TIMES}", True) for name in ("time", "stored", "FLOPs")),
    ]
    grid = Grid("cells", "Every arm of the method against its baseline", heads)
    for section, arm in _mine(content, view):
        metric = section.metric or {"name": "quality", "unit": "", "better": "higher"}
        say, value = words("difference", metric["name"], metric), words("value", metric["name"], metric)
        main = f"latency_s@{section.main}" if f"latency_s@{section.main}" in arm.times else "train_s"
        timed = main in arm.times and arm.times[main].ratio is not None
        grid.rows.append([
            Cell(arm.label, arm.label, title=arm.id), Cell(section.title),
            _with(quality_cell(arm, value), value.unit),
            _with(change_cell(arm.change, say, metric["better"]), say.unit),
            Cell(place(main) or "training step") if timed else DASH,
            ratio_cell(arm.times.get(main)), ratio_cell(arm.costs.get("stored_bytes")),
            ratio_cell(arm.costs.get(f"flops@{section.main}")),
        ])  # fmt: skip
    grid.notes = ["Bold: the whole interval is better than the baseline by more than the indifference band."]
    return grid


def _with(cell: Cell, unit: str) -> Cell:
    """A number with its unit: in this table a column holds several tasks."""
    return cell if cell.sort is None else replace(cell, text=f"{cell.text} {unit}".strip())


def _mine(content: Content, view: MethodView) -> list[tuple[Section, Arm]]:
    return [(section, arm) for section in content.sections for arm in section.arms if arm.id in view.arms]


def _breaks(content: Content, view: MethodView) -> Grid:
    """When an arm's own preparation is paid back by faster calls, in calls of each timed workload."""
    heads = [Head("arm"), Head("workload"), Head("change", True), Head("more preparation", True)]
    heads += [Head("saved a call", True), Head("pays back after", True)]
    grid = Grid("breakeven", "Break-even: preparation against faster calls", heads)
    replaces = bool({"build", "fit"} & set(view.entry.get("stages", ())))
    for section, arm in _mine(content, view):
        base = next((other for other in section.arms if other.baseline), None)
        for metric in arm.times if base is not None and base is not arm else ():
            line = _break(content.table, arm, base, metric, replaces) if base else None
            if stem(metric) != "latency_s" or not line:
                continue
            known = section.metric or {"name": "quality", "unit": "", "better": "higher"}
            say = words("difference", known["name"], known)
            change = _with(change_cell(arm.change, say, known["better"]), say.unit)
            spot = Cell(f"{section.title}, {place(metric)}")
            grid.rows.append([Cell(arm.label, arm.label, title=arm.id), spot, change, *line])
    if grid.rows:
        grid.notes = [BREAKS]
    return grid


def _crossings(content: Content, view: MethodView) -> Grid:
    """From which value of a knob on the method is faster than its baseline, where it was timed at several."""
    heads = [Head("arms"), Head("workload"), Head("knob"), Head("faster than the baseline")]
    grid = Grid("crossings", "Where it begins to pay: speed against a knob", heads)
    known = [content.table.arms[arm]["knobs"] for arm in view.arms]
    for knob in (name for name, values in view.values.items() if len(values) > 1):
        if not all(type(knobs.get(knob)) in (int, float) for knobs in known):
            continue
        for section in content.sections:
            for curve in crossover.by_knob(section, knob):
                if curve.name.partition("(")[0] == view.name and len(curve.points) > 1:
                    spot = Cell(f"{section.title}, {section.main}")
                    grid.rows.append([Cell(curve.name), spot, Cell(knob), Cell(_pays(curve))])
    if grid.rows:
        grid.notes = ["Between settings log time is taken to be linear in the knob; 95 % interval."]
    return grid


def _pays(curve: crossover.Curve) -> str:
    """`from 0.7 [0.6, 0.8] on`, or that it is so at every setting or at none."""
    found = crossover.crossings(curve)
    if found:
        told = ((crossover.told(one), one.rising) for one in found)
        return "; ".join(f"from {text} on" if rising else f"up to {text}" for text, rising in told)
    faster = curve.points[0].speedup.effect > 1.0
    ends = f"{curve.points[0].x:g} to {curve.points[-1].x:g}"
    return f"at {'every' if faster else 'no'} setting tried, by estimate ({ends})"


def _break(table: Table, arm: Arm, base: Arm, metric: str, replaces: bool) -> list[Cell] | None:
    number, other = arm.times[metric], base.times.get(metric)
    if number.ratio is None or number.ratio.interval.high >= 1.0 or other is None:
        return None
    if number.value is None or other.value is None or other.value <= number.value:
        return None
    try:
        extra = _stages(table, arm) - (_stages(table, base) if replaces else 0.0)
    except Missing:
        return None
    saved = other.value - number.value
    calls = extra / saved
    told = "the first call" if calls <= 1 else f"{float(f'{calls:.2g}'):,.0f} calls"
    return [
        Cell(seconds(extra) if extra > 0 else "none", extra),
        Cell(seconds(saved), saved),
        Cell(told, max(calls, 0.0)),
    ]


def _stages(table: Table, arm: Arm) -> float:
    """CPU seconds of an arm's own stages, mean over seeds."""
    values = list(table.counted(arm.id, "stages_cpu_s").values())
    return sum(values) / len(values)
