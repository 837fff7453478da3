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
from benchmarks.records import pack, unpack, write_json
from joulemark.packs import _manifest, _name, _packed, coarse, once, records_of, thin, write_pack


def test_coarse_scores_are_the_nearest_of_eight_significant_bits() -> None:
    values = np.concatenate(
        [np.random.default_rng(0).lognormal(0, 3, 999), [0.0, 1.0, -2.5e-7, np.inf, np.nan]]
    )
    rounded = unpack(coarse(pack(values)))
    mantissa, exponent = np.frexp(values)
    want = np.where(np.isfinite(values), np.ldexp(np.round(mantissa * 256) / 256, exponent), values)
    assert np.allclose(rounded, want, rtol=2**-8, atol=0, equal_nan=True)
    finite = np.isfinite(values) & (values != 0)
    assert np.max(np.abs(rounded[finite] / values[finite] - 1)) <= 2**-8
    assert coarse(coarse(pack(values))) == coarse(pack(values))


def test_bits_stay_bits() -> None:
    bits = pack(np.array([1, 0, 0, 1, 1]))
    assert coarse(bits) == bits


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return Plan({"plan": "smoke"}, tmp_path_factory.mktemp("results"))


def test_the_main_metric_and_all_means_stay_exact(plan: Plan) -> None:
    scores = pack(np.array([0.123456789, 0.987654321]))
    quality = {name: {"value": 0.5555, "n": 2, "items": scores} for name in ("accuracy", "nll")}
    quality["rate"] = {"value": 0.1234567, "n": 1, "items": None}
    record = {"kind": "cell", "key": {"task": "fashion_mlp"}, "quality": quality}
    packed = thin(plan, record)["quality"]
    assert packed["accuracy"] == quality["accuracy"] and packed["rate"] == quality["rate"]
    assert packed["nll"]["value"] == 0.5555 and packed["nll"]["items"] == coarse(scores) != scores
    assert record["quality"]["nll"]["items"] == scores


def test_a_visit_is_packed_as_it_is(plan: Plan) -> None:
    visit = {"kind": "visit", "key": {"name": "v"}}
    assert thin(plan, visit) is visit


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
