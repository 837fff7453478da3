# ruff: noqa: E501 - tables, one mistake a line
"""Plans: what is shared, what an edit makes new, what stays as it is, and that nothing costly is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cells import Cells
from benchmarks.knobs import InputError
from benchmarks.plan import Plan, load_plan
from benchmarks.records import Store, read_json

ROOT = Path(__file__).resolve().parents[2]
CARDS = sorted((ROOT / "benchmarks" / "papers").glob("*.yaml"))
#: What a card may cost in CPU seconds unless it says more, with the reason.
BUDGET_CPU_S = 200
EXTRA = '''
"""A plugin with one method."""
from dataclasses import dataclass
from methods.base import Method, knob

@dataclass(frozen=True)
class Extra(Method):
    """Does nothing much."""

    size: int = knob(3, low=1, help="of nothing")
    late: float = knob(0.5, low=0.0, serve=True, help="of nothing")

    def adapt(self, model, run):
        return model  # nothing

    def serve(self, model, run):
        return model
'''


def run_of(task: str = "tiny", **methods: Any) -> dict[str, Any]:
    return {"task": {task: {}}, "methods": methods}


def cells(plan: Plan) -> dict[tuple[str, str, int], tuple[str, str, str]]:
    """(method, knobs, seed) -> (artefact, system, record)."""
    return {
        (cell.arm.method["method"], json.dumps(cell.arm.method["knobs"], sort_keys=True), cell.seed): (
            cell.artefact,
            cell.system,
            cell.record,
        )
        for cell in plan.cells
    }


def changed(before: Plan, after: Plan, which: int) -> set[str]:
    """The methods whose artefacts (0), systems (1) or records (2) are new."""
    old = {key: value[which] for key, value in cells(before).items()}
    return {key[0] for key, value in cells(after).items() if old.get(key) != value[which]}


# -------------------------------------------------------------------- what is shared, what stays


def test_cells_of_two_cards_are_one(house: Any) -> None:
    house.write_card("one", runs=[run_of(tiny_wide={"hidden": [4, 8]}, tiny_half={})])
    alone = house.plan()
    house.write_card("two", runs=[run_of(tiny_wide={"hidden": [8, 12]}, tiny_keeps={})])
    both = house.plan()
    assert set(both.card_cells["one"]) == set(alone.card_cells["one"])
    shared = set(both.card_cells["one"]) & set(both.card_cells["two"])
    assert {
        both_cell.arm.method["method"] for key, both_cell in both.card_cells["one"].items() if key in shared
    } == {
        "baseline",
        "tiny_wide",
    }
    systems = [cell.system for chunk in both.chunks.values() for cell in chunk.cells]
    assert len(systems) == len(set(systems)) == 6  # each trained once


def test_another_seed_leaves_what_rounds_hang_on(house: Any) -> None:
    runs = [
        {
            **run_of(tiny_wide={"hidden": [4, 8]}, tiny_half={}, tiny_keeps={}),
            "workloads": ["batch1", "train_step"],
        }
    ]
    house.write_card(runs=runs)
    plans = {}
    for seeds in (1, 3, 4):
        house.write_plan(seeds=seeds, rounds=2)
        plans[seeds] = house.plan()
    few, more = plans[3], plans[4]
    kept = {name for name in few.chunks if ".more-" not in name}
    assert kept <= set(more.chunks) and set(plans[1].chunks) <= set(more.chunks)
    assert {name for name in set(few.chunks) - set(more.chunks)} == {
        name for name in few.chunks if ".more-" in name
    }
    assert set(few.rounds) == set(more.rounds) == set(plans[1].rounds)
    # what others start from stands alone, seed by seed
    assert {name.rsplit("-", 1)[0] for name in more.chunks if "baseline" in name} == {
        f"tiny.baseline.s{seed}" for seed in range(4)
    }


def test_one_more_setting_leaves_the_other_cells(house: Any) -> None:
    house.write_card(runs=[run_of(tiny_wide={"hidden": [4, 8]})])
    before = house.plan()
    house.write_card(runs=[run_of(tiny_wide={"hidden": [4, 8, 12]})])
    after = house.plan()
    assert cells(before).items() <= cells(after).items()
    assert len(after.cells) == len(before.cells) + 1


def test_the_order_of_chunks_has_no_cycle(house: Any) -> None:
    wide = {"tiny_wide": {"hidden": 4}}
    house.write_plan(seeds=2)
    house.write_card(
        runs=[
            run_of(
                tiny_wide={"hidden": [4, 8]},
                tiny_half={
                    "start": ["baseline", {"tiny_half": {}}, {"tiny_narrow": {"start": {"tiny_half": {}}}}]
                },
                tiny_student={"teacher": ["baseline", {"tiny_student": {"teacher": wide}}]},
                tiny_pair={"start": [wide, {"tiny_pair": {"other": wide}}]},
            )
        ]
    )
    plan = house.plan()
    left = set(plan.chunks)
    while left:
        ready = {name for name in left if not plan.chunks[name].needs & left}
        assert ready, f"a cycle among {sorted(left)}"
        left -= ready
    for chunk in plan.chunks.values():
        starts = {plan.layout.of[start.system] for cell in chunk.cells for start in cell.refs.values()}
        assert starts <= chunk.needs and chunk.name not in starts
        assert len({(cell.arm.task, cell.arm.method["method"]) for cell in chunk.cells}) == 1


def test_long_chunks_are_split_by_hash(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Doubling splits buckets and never shuffles them."""
    house.write_card(runs=[run_of(tiny_wide={"hidden": list(range(1, 61))})])
    buckets = {}
    for most in (1.0, 0.5):
        monkeypatch.setattr("benchmarks.layout.CHUNK_CPU_S", most)
        plan = house.plan()
        chunks = [
            {cell.system for cell in chunk.cells}
            for name, chunk in plan.chunks.items()
            if "tiny_wide" in name
        ]
        assert sum(map(len, chunks)) == 60 and len(chunks) > 2
        buckets[most] = chunks
    assert len(buckets[0.5]) > len(buckets[1.0])
    assert all(any(part <= whole for whole in buckets[1.0]) for part in buckets[0.5])


# -------------------------------------------------------------------- what an edit makes new


def test_an_edit_makes_exactly_its_cells_new(make_house: Callable[..., Any], tmp_path: Path) -> None:
    from tests.conftest import PLUGINS

    extra = tmp_path / "extra.py"
    extra.write_text(EXTRA)
    house = make_house((*PLUGINS, extra))
    follower = {"start": [{"extra": {}}, "baseline"]}
    house.write_card(runs=[run_of(extra={}, tiny_half=follower, tiny_wide={})])
    before = house.plan()
    assert "extra" in before.index["methods"]

    extra.write_text(EXTRA.replace("# nothing", "# a comment").replace("nothing much", "other words"))
    assert cells(house.plan()) == cells(before)

    extra.write_text(EXTRA.replace("return model  # nothing", "return model.eval()"))
    after = house.plan()
    old, new = cells(before), cells(after)
    different = {key for key in new if new[key] != old.get(key)}
    assert {key[0] for key in different} == {"extra", "tiny_half"}
    assert len(different) == 2  # itself and what starts from it; tiny_half on the baseline stays
    assert all(old[key][0] != new[key][0] for key in different)


def test_a_serve_knob_trains_nothing(make_house: Callable[..., Any], tmp_path: Path) -> None:
    from tests.conftest import PLUGINS

    extra = tmp_path / "extra.py"
    extra.write_text(EXTRA)
    house = make_house((*PLUGINS, extra))
    house.write_card(runs=[run_of(extra={"late": [0.1, 0.2], "size": [3, 4]})])
    own = [cell for cell in house.plan().cells if cell.arm.method["method"] == "extra"]
    assert len({cell.artefact for cell in own}) == 2
    assert len({cell.system for cell in own}) == len({cell.record for cell in own}) == 4


def test_counting_code_and_workloads_change_records_only(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.write_card(runs=[run_of(tiny_half={})])
    before = house.plan()
    monkeypatch.setattr(Cells, "counting", "other code")
    after = house.plan()
    assert changed(before, after, 0) == changed(before, after, 1) == set()
    assert changed(before, after, 2) == {"baseline", "tiny_half"}


@pytest.mark.parametrize("what", ["HARNESS_VERSION", "torch"])
def test_the_harness_and_torch_are_in_every_hash(
    what: str, house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.write_card(runs=[run_of(tiny_half={})])
    before = house.plan()
    if what == "torch":
        monkeypatch.setattr(Cells, "torch", "99.1")
    else:
        monkeypatch.setattr("benchmarks.cells.HARNESS_VERSION", 10**6)
    assert changed(before, house.plan(), 0) == {"baseline", "tiny_half"}


def test_limits_and_peers_name_the_chunk_and_not_the_cell(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other limits, or a peer that was installed, open the chunk again; what is final in it stays."""
    house.write_card(runs=[run_of(tiny_peer={})])
    before = house.plan()
    monkeypatch.setattr("benchmarks.layout.package_version", lambda package: "1.2.3")
    installed = house.plan()
    assert cells(before) == cells(installed)
    assert {name.split(".")[1] for name in set(before.chunks) ^ set(installed.chunks)} == {"tiny_peer"}
    house.write_plan(limits={"cell_minutes": 7, "memory_gb": 6})
    limited = house.plan()
    assert cells(limited) == cells(before) and not set(limited.chunks) & set(before.chunks)


def test_a_plugin_that_raises_is_planned_as_failed_cells(
    make_house: Callable[..., Any], tmp_path: Path
) -> None:
    from tests.conftest import PLUGINS

    extra = tmp_path / "extra.py"
    extra.write_text(EXTRA + "\nraise RuntimeError('not today')\n")
    house = make_house((*PLUGINS, extra))
    house.write_card(runs=[run_of(extra={"size": [1, 2]}, tiny_half={"start": {"extra": {}}}, tiny_keeps={})])
    plan = house.plan()
    assert set(house.train(plan).values()) == {0}
    found = {
        cell.arm.method["method"]: read_json(Store(house.results).cell(cell.record)) or {}
        for cell in plan.cells
    }
    assert found["extra"]["status"] == "failed"
    assert found["extra"]["reason"] == "extra.py: RuntimeError: not today"
    assert found["tiny_keeps"]["status"] == "ok" and found["tiny_half"]["status"] == "skipped"


# -------------------------------------------------------------------- rounds and scopes


def test_rounds_hold_a_baseline_and_at_most_seven(house: Any) -> None:
    runs = [
        {**run_of(tiny_wide={"hidden": list(range(1, 11))}, tiny_keeps={}), "workloads": ["batch1", "batch8"]}
    ]
    house.write_plan(rounds=3, seeds=2)
    house.write_card(runs=runs)
    plan = house.plan()
    groups: dict[str, set[str]] = {}
    for round in plan.rounds.values():
        timed = {cell.system for cell, _ in round.visits}
        others = timed - {round.baseline.system}
        assert 1 <= len(others) <= 7 and round.baseline.arm.method["method"] == "baseline"
        assert {cell.seed for cell, _ in round.visits} == {0}
        assert round.chunks == {plan.layout.of[system] for system in timed | {round.baseline.system}}
        assert all({w for c, w in round.visits if c.system == one} == {"batch1", "batch8"} for one in others)
        groups.setdefault(round.name.split(".")[1].split("-")[0], set()).update(others)
    assert len(plan.rounds) == 3 * 2 and {len(part) for part in groups.values()} == {7, 4}
    assert not groups["g0"] & groups["g1"]
    assert sum(round.first_group for round in plan.rounds.values()) == 3  # the A/A pair, once a number


def test_only_what_is_asked_for_is_timed(house: Any) -> None:
    house.write_plan(rounds=1)
    house.write_card("one", runs=[run_of(tiny_keeps={}), {**run_of(tiny_wide={}), "workloads": ["batch1"]}])
    plan = house.plan()
    assert {cell.arm.method["method"] for round in plan.rounds.values() for cell, _ in round.visits} == {
        "baseline",
        "tiny_wide",
    }


def test_the_tour_is_a_beginning(house: Any) -> None:
    """What the tour does is part of the plan; nothing is timed twice for it."""
    runs = {"a": run_of(tiny_half={}), "b": run_of(tiny_keeps={}, tiny_wide={"hidden": [4, 8]})}
    for key, run in runs.items():
        house.write_card(key, runs=[{**run, "workloads": ["batch1"]}])
    house.write_plan(tour=["b"], rounds=3, tour_rounds=2)
    plan = house.plan()
    tour, whole = plan.scopes["tour"], plan.scopes["all"]
    assert set(tour.chunks) <= set(whole.chunks) and set(tour.rounds) <= set(whole.rounds)
    assert [card.key for card in tour.cards] == ["b"] and [card.key for card in plan.cards] == ["b", "a"]
    visits = [
        (round.number, cell.system, workload)
        for round in plan.rounds.values()
        for cell, workload in round.visits
    ]
    assert len(visits) == len(set(visits))
    assert {plan.rounds[name].number for name in tour.rounds} == {0, 1}


def test_scopes(house: Any) -> None:
    house.write_card("one", runs=[run_of(tiny_keeps={})], family="pruning")
    house.write_card("two", runs=[run_of("tiny_sim", tiny_fast={})], family="serving")
    plan = house.plan()
    assert set(plan.scopes) == {
        "all", "study_one", "study_two", "family_pruning", "family_serving", "task_tiny", "task_tiny_sim",
    }  # fmt: skip
    assert set(plan.scopes["task_tiny"].chunks) == set(plan.scopes["study_one"].chunks)
    assert set(plan.scopes["all"].chunks) == set(plan.chunks)
    text = json.loads(plan.scope_text("family_serving"))
    assert [card["key"] for card in text["cards"]] == ["two"]
    assert set(text["tasks"]) == {"tiny_sim"} and set(text["methods"]) == {"baseline", "tiny_fast"}


def test_a_simulator_runs_once_and_is_never_timed(house: Any) -> None:
    house.write_plan(seeds=5, rounds=3)
    house.write_card(runs=[run_of("tiny_sim", tiny_fast={})])
    plan = house.plan()
    assert {cell.seed for cell in plan.cells} == {0} and plan.rounds == {}


def test_full_and_gpu_runs_wait_for_their_plan(house: Any) -> None:
    house.write_card(
        runs=[
            run_of(tiny_keeps={}),
            {**run_of(tiny_half={}), "plan": "full"},
            {**run_of(tiny_wide={}), "plan": "gpu"},
        ]
    )
    methods = lambda plan: {cell.arm.method["method"] for cell in plan.cells}  # noqa: E731
    assert methods(house.plan()) == {"baseline", "tiny_keeps"}
    assert methods(house.plan(include_full=True)) == {"baseline", "tiny_keeps", "tiny_half"}
    house.write_plan("gpu")
    gpu = house.plan(plan="gpu")
    assert methods(gpu) == {"baseline", "tiny_keeps", "tiny_wide"} and gpu.device == "cuda"
    assert not set(cells(gpu).values()) & set(cells(house.plan()).values())  # another device, other cells


# -------------------------------------------------------------------- forecasts


def test_a_forecast_is_there_before_the_run(house: Any) -> None:
    house.write_plan(seeds=2, rounds=1)
    house.write_card(runs=[{**run_of(tiny_keeps={}), "workloads": ["batch1"]}])
    plan = house.plan()
    found = plan.forecast()
    assert (found["cells"], found["jobs"]) == (4, len(plan.chunks) + len(plan.rounds))
    # training and scoring as the task says, and the start of each job
    assert found["train_cpu_s"] > 4 * (0.05 + 0.01) and found["minutes"] > 0 and found["measure_s"] > 0
    assert plan.card_cpu_s("tiny-study") == pytest.approx(4 * 0.06)
    assert "4 cells" in plan.announce("all", 2) and "min on 2 cores" in plan.announce("all", 2)


def test_starts_are_part_of_what_a_card_costs(house: Any) -> None:
    house.write_card(runs=[run_of(tiny_half={"start": {"tiny_wide": {"hidden": 4}}})])
    plan = house.plan()
    assert plan.card_cpu_s("tiny-study") == pytest.approx(3 * 0.06)  # baseline, tiny_wide, tiny_half


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_shipped_cards_stay_in_their_budget(path: Path, house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card costs at most 200 CPU seconds with 5 seeds, or says how much more, and why; full runs count."""
    monkeypatch.delenv("JOULEMARK_PLUGINS")
    house.write_plan("full", cards=[str(path)], seeds=5)
    plan = house.plan(plan="full")
    raw = plan.cards[0].raw
    budget = raw.get("budget_cpu_s", BUDGET_CPU_S)
    assert budget <= BUDGET_CPU_S or raw.get("budget_reason"), (
        f"{path.name}: budget_cpu_s needs a budget_reason"
    )
    forecast = plan.card_cpu_s(path.stem)
    assert forecast <= budget, (
        f"{path.name}: forecast {forecast:.0f} CPU-s, budget {budget}: run fewer settings or seeds, mark runs as "
        "plan: full, or say budget_cpu_s and budget_reason"
    )


# -------------------------------------------------------------------- mistakes

#: config typed on the command line, plan file, card -> what the line says.
MISTAKES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = {
    "no such plan": ({"plan": "nosuch"}, {}, {}, "plan=nosuch: there is no config/nosuch.yaml; plans: default"),
    "key of the plan": ({}, {"seed": 3}, {}, "config/default.yaml: unknown key 'seed'; did you mean 'seeds'?"),
    "key typed": ({"round": 3}, {}, {}, "--config: unknown key 'round'; did you mean 'rounds'?"),
    "bool for int": ({}, {"seeds": True}, {}, "config/default.yaml: seeds: True is not of type 'integer'"),
    "word for int": ({"rounds": "many"}, {}, {}, "--config: rounds: 'many' is not of type 'integer'"),
    "no seeds": ({}, {"seeds": 0}, {}, "config/default.yaml: seeds: 0 is less than the minimum of 1"),
    "limit": ({}, {"limits": {"memory": 3}}, {}, "limits: unknown key 'memory'; did you mean 'memory_gb'?"),
    "country": ({}, {"carbon": {"country": "France"}}, {}, "carbon.country: 'France' does not match"),
    "no such card": ({"cards": ["tiny-studi"]}, {}, {}, "default: cards: there is no card, family or scope 'tiny-studi'; did"),
    "tour": ({}, {"tour": ["nosuch"]}, {}, "default: tour: there is no card of this plan 'nosuch'; allowed: tiny-study"),
    "own card": ({"cards": ["mine.yaml"]}, {}, {}, "mine.yaml: there is no such file"),
    "card": ({}, {}, {"grade": "Z"}, "benchmarks/papers/tiny-study.yaml: grade: 'Z' is not one of"),
    "method": ({}, {}, {"runs": [run_of(tiny_hlaf={})]}, "runs[0].methods: there is no method 'tiny_hlaf'; did you mean 'tiny_half'?"),
    "knob": ({}, {}, {"runs": [run_of(tiny_wide={"hidden": 0})]}, "runs[0].methods.tiny_wide.hidden: 0 is below 1"),
    "side": ({}, {}, {"claims": [{"id": "a", "says": "s", "checks": [{"metric": "nll", "of": {"tiny_half": {}}, "above": 0}]}]},
             "tiny-study.yaml: claims.a.checks[0].of: there is no method of this card 'tiny_half'"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_stops_planning_with_one_line_and_writes_nothing(mistake: str, house: Any) -> None:
    typed, settings, card, says = MISTAKES[mistake]
    house.write_plan(**settings)
    house.write_card(**card)
    with pytest.raises(SystemExit) as end:
        load_plan(typed, house.results)
    line = str(end.value.code)
    assert says in line and "\n" not in line
    assert house.written() == []


def test_an_own_card_and_an_own_plan(house: Any, tmp_path: Path) -> None:
    house.write_card("shipped")
    card = house.write_card("mine", runs=[run_of(tiny_keeps={})]).rename(tmp_path / "mine.yaml")
    for cards in ([str(card)], str(card), ["shipped", str(card)]):
        plan = house.plan(cards=cards)
        assert "mine" in {found.key for found in plan.cards}
    plan_file = house.write_plan("other", cards=[str(card)], seeds=2).rename(tmp_path / "other.yaml")
    plan = house.plan(plan=str(plan_file))
    assert (plan.name, len(plan.cells)) == ("other", 4)
    again = Plan(json.loads(plan.text), house.results)  # what a job that plans again is told
    assert cells(again) == cells(plan)


def test_cards_by_family_scope_and_all(house: Any) -> None:
    house.write_card("one", family="pruning", scope="core")
    house.write_card("two", family="serving", scope="extended")
    keys = lambda cards: {card.key for card in house.plan(cards=cards).cards}  # noqa: E731
    assert keys("core") == keys(["pruning"]) == keys(["one"]) == {"one"}
    assert keys("extended") == {"two"} and keys("all") == keys(["one", "serving"]) == {"one", "two"}


def test_a_plan_that_cannot_be_indexed_says_why(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.write_card()
    monkeypatch.setenv("JOULEMARK_PLUGINS", "nosuch.py")
    with pytest.raises(InputError, match=r"^JOULEMARK_PLUGINS: there is no file nosuch.py$"):
        house.plan()


# -------------------------------------------------------------------- speed


def test_ten_thousand_cells(house: Any) -> None:
    house.write_plan(seeds=5, rounds=8)
    grid = {"hidden": list(range(1, 81)), "drop": [at / 100 for at in range(25)]}
    house.write_card(runs=[{**run_of(tiny_wide=grid), "workloads": ["batch1"]}])
    began = time.process_time()
    plan = house.plan()
    for name in plan.chunks:
        plan.chunk_text(name)
    seconds = time.process_time() - began
    assert len(plan.cells) == 10_005 and seconds < 10, f"{len(plan.cells)} cells in {seconds:.1f} CPU-s"


@pytest.mark.parametrize("module", ["benchmarks.plan", "benchmarks.jobs", "benchmarks.measure.rounds"])
def test_planning_loads_no_torch_and_is_quick(module: str) -> None:
    code = (
        "import sys, time; began = time.process_time(); "
        f"import {module}; print(time.process_time() - began, 'torch' in sys.modules)"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    seconds, torch = child.stdout.split()
    assert torch == "False", f"import {module} loads torch"
    assert float(seconds) < 0.9, f"import {module} takes {seconds} CPU-s"  # 0.3, and room for a busy machine


def test_a_plan_with_its_index_loads_no_torch(house: Any) -> None:
    house.write_card(runs=[run_of(tiny_half={})])
    house.plan()
    code = (
        "import sys, pathlib, benchmarks.plan as plan, benchmarks.cards as cards\n"
        f"plan.ROOT = cards.ROOT = pathlib.Path({str(house.root)!r})\n"
        f"made = plan.load_plan({{}}, {str(house.results)!r})\n"
        "made.scope_text('all'), made.forecast(), made.announce('all', 2)\n"
        "print(len(made.cells), 'torch' in sys.modules)"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert child.stdout.split() == ["2", "False"]
