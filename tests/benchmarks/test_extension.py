"""`extend`: more seeds or rounds of one card leave every other job of the plan, and all that the card had, as it is."""

from __future__ import annotations

import argparse
import json
import subprocess
from typing import Any

import pytest

from benchmarks.knobs import InputError
from benchmarks.plan import Plan
from benchmarks.records import Store, write_text
from joulemark import extend

RUN = {
    "task": {"tiny": {}},
    "workloads": ["batch1"],
    "methods": {"tiny_wide": {"hidden": [4, 8]}, "tiny_half": {}},
}
SIM = {"task": {"tiny_sim": {}}, "methods": {"tiny_fast": {}}}


@pytest.fixture
def two(house: Any) -> Any:
    """A house with two cards that share cells, and one that simulates."""
    house.write_plan(seeds=2, rounds=2)
    house.write_card("one", runs=[RUN])
    house.write_card("two", runs=[{**RUN, "methods": {"tiny_wide": {"hidden": 4}}}])
    house.write_card("sim", runs=[SIM])
    return house


def names(plan: Plan) -> tuple[set[str], set[str]]:
    return set(plan.chunks), set(plan.rounds)


def test_more_seeds_stand_in_chunks_of_their_own(two: Any) -> None:
    plan, more = two.plan(), two.plan(extend={"one": {"seeds": 4}})
    assert set(plan.chunks) < set(more.chunks) and set(plan.rounds) == set(more.rounds)
    fresh = [cell for name in set(more.chunks) - set(plan.chunks) for cell in more.chunks[name].cells]
    assert {cell.seed for cell in fresh} == {2, 3}
    assert len(fresh) == 2 * 4  # two of tiny_wide, tiny_half and the baseline, two seeds each
    assert len({cell.record for cell in fresh}) == len(fresh)


def test_other_cards_keep_their_tables(two: Any) -> None:
    plan, more = two.plan(), two.plan(extend={"one": {"seeds": 4, "rounds": 5}})
    # a round holds the cells that cards share, so more of them are more for both; seeds are the card's alone
    seeds = two.plan(extend={"one": {"seeds": 4}})
    assert seeds.table("study_two") == plan.table("study_two")
    assert more.table("study_sim") == plan.table("study_sim")
    assert more.table("study_one") != plan.table("study_one")
    told = json.loads(more.scope_text("study_one"))
    assert told["settings"]["extend"] == {
        "one": {"seeds": 4, "rounds": 5}
    }  # the page says that it was extended


def test_more_rounds_come_behind_those_that_all_have(two: Any) -> None:
    plan, more = two.plan(), two.plan(extend={"two": {"rounds": 5}})
    assert set(plan.chunks) == set(more.chunks) and set(plan.rounds) < set(more.rounds)
    fresh = [more.rounds[name] for name in set(more.rounds) - set(plan.rounds)]
    assert sorted(made.number for made in fresh) == [2, 3, 4]
    assert {cell.arm.method["method"] for made in fresh for cell, _ in made.visits} == {
        "baseline",
        "tiny_wide",
    }


def test_the_tour_keeps_its_own(two: Any) -> None:
    two.write_plan(seeds=2, rounds=3, tour_rounds=1, tour=["one"])
    plan, more = two.plan(), two.plan(extend={"one": {"seeds": 3, "rounds": 2}})
    assert names(plan)[0] < names(more)[0] and names(plan)[1] < names(more)[1]
    assert more.scopes["tour"].chunks == plan.scopes["tour"].chunks
    assert more.scopes["tour"].rounds == plan.scopes["tour"].rounds
    fresh = [more.rounds[name] for name in names(more)[1] - names(plan)[1]]
    assert [made.number for made in fresh] == [1]  # the tour's one is there; one more makes two


def test_cells_that_another_card_has_anyway_are_no_extension(two: Any) -> None:
    two.write_card("two", runs=[{**RUN, "seeds": 4}])
    plan, more = two.plan(), two.plan(extend={"one": {"seeds": 4}})
    assert names(plan) == names(more)
    assert more.scopes["study_one"].chunks == plan.scopes["study_two"].chunks


def test_a_simulator_takes_no_more_seeds(two: Any) -> None:
    assert names(two.plan(extend={"sim": {"seeds": 4}})) == names(two.plan())


def test_seeds_where_cost_depends_on_what_was_learnt_get_rounds(two: Any) -> None:
    two.write_card("one", runs=[{**RUN, "methods": {"tiny_flaky": {}, "tiny_wide": {"hidden": 4}}}])
    plan = two.plan()
    varied = {cell.seed for made in plan.rounds.values() for cell, _ in made.visits}
    more = two.plan(extend={"one": {"seeds": 3}})
    seen = {cell.seed for name in set(more.rounds) - set(plan.rounds) for cell, _ in more.rounds[name].visits}
    assert seen == ({2} if varied == {0, 1} else set())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"extend": {"oen": {"seeds": 3}}},
            "extend: there is no card of this plan 'oen'; did you mean 'one'",
        ),
        ({"extend": {"one": {"seed": 3}}}, "unknown key 'seed'; did you mean 'seeds'"),
        ({"extend": {"one": {"seeds": 0}}}, "extend.one.seeds: 0 is less than the minimum"),
    ],
)
def test_a_mistake_is_one_line(two: Any, settings: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        two.plan(**settings)


def test_numbers_come_through_snakemakes_command_line_as_words(two: Any) -> None:
    words = two.plan(extend={"one": {"seeds": "4"}})
    assert names(words) == names(two.plan(extend={"one": {"seeds": 4}}))


# -------------------------------------------------------------------- the command


@pytest.fixture
def command(two: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command; Snakemake is noted and not started."""
    started: list[list[str]] = []

    def start(argv: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
        started.append(argv)
        return subprocess.CompletedProcess(argv, 0)

    monkeypatch.setattr(extend.subprocess, "run", start)

    def run(*words: str) -> tuple[int, list[list[str]]]:
        parser = argparse.ArgumentParser()
        extend.arguments("extend", parser)
        started.clear()
        return extend.run("extend", parser.parse_args([*words, "--results", str(two.results)])), started

    return run


def test_it_asks_snakemake_for_the_cards_page_alone(command: Any, capsys: Any) -> None:
    status, ((*_, target, flag, extends, plan),) = command("one", "--seeds", "4", "--cores", "1")
    assert status == 0 and target == "study_one" and flag == "--config"
    assert extends == 'extend={"one": {"seeds": 4}}' and plan == "plan=default"
    said = capsys.readouterr().out
    assert "one: 2 to 4 seeds; 16 cells and 2 rounds to run" in said
    assert 'write in config/default.yaml: extend: {"one": {"seeds": 4}}' in said


def test_seeds_and_rounds_at_once_on_top_of_what_a_plan_extends(command: Any, two: Any) -> None:
    two.write_plan(seeds=2, rounds=2, extend={"two": {"rounds": 3}, "one": {"seeds": 3}})
    _, ((*_, extends, _),) = command("one", "--seeds", "4", "--rounds", "6")
    assert json.loads(extends.removeprefix("extend=")) == {
        "one": {"seeds": 4, "rounds": 6},
        "two": {"rounds": 3},
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("oen", "--seeds", "4"), "extend (plan default): there is no card 'oen'; did you mean 'one'?"),
        (("one",), "joulemark extend: say --seeds N or --rounds N"),
        (
            ("sim", "--seeds", "4"),
            "joulemark extend: sim takes no more seeds: its numbers are counted or simulated",
        ),
        (("sim", "--rounds", "4"), "joulemark extend: sim takes no more rounds: it times nothing"),
        (("one", "--seeds", "400"), "seeds: 400 is greater than the maximum of 100"),
    ],
)
def test_a_wrong_call_is_one_line(words: tuple[str, ...], says: str, command: Any) -> None:
    with pytest.raises(InputError) as error:
        command(*words)
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("what", "count"), [("seeds", "2"), ("seeds", "1"), ("rounds", "2")])
def test_no_more_than_there_is_starts_nothing(what: str, count: str, command: Any, capsys: Any) -> None:
    assert command("one", f"--{what}", count) == (0, [])
    assert capsys.readouterr().out == f"nothing to do: one has 2 {what} in plan default; {count} is no more\n"


def test_less_than_an_earlier_extension_starts_nothing(command: Any, two: Any, capsys: Any) -> None:
    """Records of four seeds exist; three are asked for: the page must not lose the fourth."""
    store = Store(two.results)
    grown = two.plan(extend={"one": {"seeds": 4}})
    for cell in grown.cells:
        write_text(store.cell(cell.record), '{"status": "ok"}\n')
    for name in grown.rounds:
        write_text(two.results / "rounds" / f"{name}.jsonl", "")
    assert command("one", "--seeds", "3") == (0, [])
    assert capsys.readouterr().out == "nothing to do: more than 3 seeds of one exist already\n"
    status, started = command("one", "--seeds", "4")  # all of it exists: only the page is made anew
    assert status == 0 and len(started) == 1
    assert "2 to 4 seeds; all of it exists: its page is made anew" in capsys.readouterr().out
