"""Packs: what they leave out of a record, and what they never touch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.plan import Plan
from benchmarks.records import pack, unpack
from joulemark.packs import coarse, thin


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
    import json

    from benchmarks.measure.rounds import visit_names
    from benchmarks.records import write_json
    from joulemark.packs import records_of

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
