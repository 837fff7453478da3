"""Packs: what they leave out of a record, and what they never touch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.knobs import InputError
from benchmarks.measure.rounds import visit_names
from benchmarks.plan import Plan
from benchmarks.records import pack, write_json
from joulemark.packs import _manifest, _name, _packed, _same, named, once, records_of, thin, write_pack


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return Plan({"plan": "smoke"}, tmp_path_factory.mktemp("results"))


def test_a_pack_keeps_the_items_of_what_pages_compute_from() -> None:
    scores = pack(np.array([0.123456789, 0.987654321]))
    kinds = ("accuracy", "accuracy@level=2", "nll", "price")
    quality = {name: {"mean": 0.5555, "n": 2, "items": scores} for name in kinds}
    record = {"kind": "cell", "key": {}, "quality": quality}
    packed = thin(record, "accuracy", {"price", "baseline"})["quality"]
    assert {name for name in kinds if packed[name]["items"] is None} == {"nll"}
    assert packed["nll"] == {"mean": 0.5555, "n": 2, "items": None}
    assert all(packed[name] == quality[name] for name in kinds if name != "nll")
    assert record["quality"]["nll"]["items"] == scores
    assert _same(quality, packed) and _same(quality, quality)
    assert not _same({**quality, "nll": {"mean": 0.5, "n": 2, "items": scores}}, packed)
    assert not _same({**quality, "price": {**quality["price"], "items": pack(np.zeros(2))}}, packed)


def test_what_claims_and_figures_ask_is_named(plan: Plan) -> None:
    full = Plan({"plan": "full"}, plan.results)
    words = named(full)
    for card in json.loads(full.scope_text("all"))["cards"]:
        if card["key"] == "mono-forward":
            (check,) = next(c for c in card["claims"] if c["id"] == "better-minimum")["checks"]
            assert len(check["of"]["best"]) == 3
            assert all("nll" in words[arm] for arm in check["of"]["best"] + check["minus"]["best"])
        if card["key"] == "solutions":
            line = next(figure for figure in card["figures"] if figure["id"] == "line")
            assert all("nll" in words[arm] for arm in line["arms"])
    assert any("nll" not in metrics for metrics in words.values())


def test_rounds_that_share_a_visit_pack_it_once(plan: Plan, tmp_path: Path) -> None:
    full = Plan({"plan": "default"}, tmp_path)
    names = [
        visit
        for name in full.scopes["all"].rounds
        for visit in visit_names(json.loads(full.round_text(name)))
    ]
    assert len(set(names)) < len(names)
    for name in set(names):
        write_json(full.results / "visits" / f"{name}.json", {"kind": "visit", "key": {"name": name}})
    packed = [record["key"]["name"] for record in records_of(full, "all")]
    assert sorted(packed) == sorted(set(names))


def cell(record: str, arm: str, seed: int = 0, **more: Any) -> dict[str, Any]:
    key = {"record": record, "arm": arm, "seed": seed, "task": "fashion_mlp"}
    return {"kind": "cell", "key": key, "quality": {}, "env": {}, "status": "ok", **more}


def test_an_arm_that_two_plans_counted_stands_once(plan: Plan) -> None:
    ours = plan.cells[0].record
    records = [
        cell("other", "a"),
        cell(ours, "a"),
        cell("other2", "a"),
        cell("third", "a", seed=1),
        cell("x", "b"),
    ]
    assert [record["key"]["record"] for record in once(records, plan)] == [ours, "third", "x"]


def test_a_pack_holds_what_no_other_pack_holds(tmp_path: Path) -> None:
    full, folder = Plan({"plan": "default"}, tmp_path), tmp_path / "packs"
    for name in full.scopes["tour"].chunks:
        for one in full.chunks[name].cells:
            write_json(full.results / "cells" / f"{one.record}.json", cell(one.record, one.arm.id))
    first = write_pack(full, "tour", folder)
    with pytest.raises(InputError, match="that no other pack holds"):
        write_pack(full, "all", folder)
    assert write_pack(full, "tour", folder) == first  # and the same scope again replaces itself
    names = [_name(record) for record in _packed(folder, _manifest(folder))]
    assert names and len(set(names)) == len(names)
