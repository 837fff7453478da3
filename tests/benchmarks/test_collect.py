# ruff: noqa: E501
"""Collect: records become one row a number, and nothing that is null becomes 0."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.cards import Arm
from benchmarks.collect import COLUMNS, as_table, collect, read_bundle, rows_of
from benchmarks.records import dump, pack

KEY = {
    "task": "tiny", "task_knobs": {"width": 8}, "method": "wide", "knobs": {"hidden": 3, "start": {"method": "baseline", "knobs": {}}},
    "seed": 2, "arm": "arm1", "artefact": "a", "system": "s", "record": "r", "workloads": ["batch8"],
}  # fmt: skip


def cell_record(**parts: Any) -> dict[str, Any]:
    record = {
        "kind": "cell",
        "key": KEY,
        "status": "ok",
        "reason": "",
        "quality": {
            "accuracy": {"mean": 0.5, "n": 4, "items": pack(np.array([1, 0, 0, 1])), "valid": 0.25},
            "accuracy@level=1": {"mean": 1.0, "n": 1, "items": pack(np.array([1]))},
        },
        "cost": {"params": 10, "flops@batch8": None, "train_flops": 99},
        "cost_reasons": {"flops@batch8": "no formula for mystery"},
        "probes": {"odd": 1.5},
        "training": {"cpu_s": 1.25, "stage_cpu_s": {"fit": 1.0, "adapt": 0.25}},
        "env": {"torch": "2"},
    }
    return {**record, **parts}


def visit_record(**parts: Any) -> dict[str, Any]:
    form = {
        "latency_s": 2e-3, "latency_observed_s": 3e-3, "cpu_s": 2.5e-3, "log_ratio": -0.1, "clock": "wall", "flags": [],
        "first_call_s": 0.5, "samples": 10, "high_water_bytes": None, "items": 8, "unit": "x",
    }  # fmt: skip
    key = {
        "name": "v",
        "workload": "batch8",
        "round": 3,
        "baseline": "base",
        "protocol": 1,
        "device": "cpu",
        "threads": 1,
    }
    record = {
        "kind": "visit",
        "key": {
            **key,
            **{
                name: KEY[name] for name in ("task", "task_knobs", "method", "knobs", "seed", "arm", "system")
            },
        },
        "forms": {"dense": form, "csr": {**form, "log_ratio": 0.7, "clock": "cpu", "flags": ["preempted"]}},
        "reason": "",
        "flags": ["neighbour"],
        "env": {"torch": "2"},
    }
    return {**record, **parts}


def rows(record: dict[str, Any]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {(row["metric"], row.get("form")): row for row in rows_of(record)}


def test_a_cell_is_one_row_a_number() -> None:
    found = rows(cell_record())
    assert {metric for metric, _ in found} == {
        "status", "accuracy", "accuracy@level=1", "params", "flops@batch8", "train_flops", "fit_cpu_s", "adapt_cpu_s", "stages_cpu_s",
        "probe_odd",
    }  # fmt: skip
    accuracy = found["accuracy", None]
    assert (accuracy["value"], accuracy["valid"], accuracy["n"], accuracy["basis"]) == (
        0.5,
        0.25,
        4,
        "counted",
    )
    assert found["accuracy@level=1", None]["valid"] is None
    flops = found["flops@batch8", None]
    assert (flops["value"], flops["workload"], flops["reason"]) == (None, "batch8", "no formula for mystery")
    assert found["stages_cpu_s", None]["value"] == 1.25  # all stages together
    assert found["fit_cpu_s", None]["basis"] == "measured" and found["probe_odd", None]["value"] == 1.5
    for row in found.values():
        assert set(row) <= set(COLUMNS)
        assert (row["kind"], row["seed"], row["arm"], row["status"], row["cpu_s"]) == (
            "cell",
            2,
            "arm1",
            "ok",
            1.25,
        )


def test_names_are_those_of_the_planner() -> None:
    row = rows(cell_record())["status", None]
    arm = Arm(KEY["task"], KEY["task_knobs"], {"method": KEY["method"], "knobs": KEY["knobs"]})
    assert row["task_id"] == arm.task_id and json.loads(row["knobs"]) == KEY["knobs"]


def test_a_cell_that_failed_has_its_status_row() -> None:
    failed = cell_record(
        status="oom", reason="needs more", quality={}, cost={}, cost_reasons={}, probes={}, training={}
    )
    (row,) = rows_of(failed)
    assert (row["metric"], row["status"], row["reason"], row["cpu_s"]) == (
        "status",
        "oom",
        "needs more",
        None,
    )


def test_a_simulators_numbers_are_modelled() -> None:
    found = rows(cell_record(basis="modelled"))
    assert found["accuracy", None]["basis"] == found["params", None]["basis"] == "modelled"


def test_a_visit_is_a_row_a_form_and_number() -> None:
    found = rows(visit_record())
    assert {metric for metric, form in found if form == "dense"} == {
        "latency_s@batch8", "latency_observed_s@batch8", "cpu_s@batch8", "first_call_s@batch8",
    }  # fmt: skip
    dense, csr = found["latency_s@batch8", "dense"], found["latency_s@batch8", "csr"]
    assert (dense["value"], dense["log_ratio"], dense["clock"], dense["flags"]) == (
        2e-3,
        -0.1,
        "wall",
        "neighbour",
    )
    assert (csr["log_ratio"], csr["clock"], csr["flags"]) == (0.7, "cpu", "preempted")
    assert found["cpu_s@batch8", "dense"]["log_ratio"] is None  # only what was paired has a ratio
    assert all(
        row["basis"] == "measured" and row["round"] == 3 and row["baseline"] == "base"
        for row in found.values()
    )


def test_training_time_is_one_metric_whatever_the_workload() -> None:
    form = {**visit_record()["forms"]["dense"], "train_s": 12.0, "train_log_ratio": 0.25}
    found = rows(visit_record(forms={"train_step": form}))
    assert (found["train_s", "train_step"]["value"], found["train_s", "train_step"]["log_ratio"]) == (
        12.0,
        0.25,
    )


def test_what_is_only_emulated_has_a_row_that_says_so() -> None:
    (row,) = rows_of(visit_record(forms={}, reason="emulated", flags=[]))
    assert (row["metric"], row["reason"], row.get("value")) == ("latency_s@batch8", "emulated", None)


def test_the_table_has_types(tmp_path: Path) -> None:
    bundles = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    bundles[0].write_text(dump(cell_record()) + "\n" + dump(cell_record(training={}, status="failed")) + "\n")
    bundles[1].write_text(dump(visit_record()) + "\n")
    out = tmp_path / "tables" / "all.parquet"
    collect([*map(str, bundles), "", str(tmp_path / "missing.jsonl")], out)
    table = pd.read_parquet(out)
    assert list(table.columns) == list(COLUMNS) and len(table) == 10 + 7 + 8
    assert table["value"].dtype == table["log_ratio"].dtype == table["cpu_s"].dtype == float
    assert str(table["round"].dtype) == str(table["seed"].dtype) == "Int64"
    assert math.isnan(table[table["metric"] == "flops@batch8"]["value"].iloc[0])  # null, never 0
    assert not list(out.parent.glob("*.tmp"))


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    collect([], tmp_path / "none.parquet")
    assert list(pd.read_parquet(tmp_path / "none.parquet").columns) == list(COLUMNS)
    assert len(as_table([])) == 0


def test_a_torn_bundle_is_an_error_and_leaves_the_old_table(tmp_path: Path) -> None:
    bundle, out = tmp_path / "a.jsonl", tmp_path / "all.parquet"
    bundle.write_text(dump(cell_record()) + "\n")
    collect([str(bundle)], out)
    before = out.read_bytes()
    bundle.write_text('{"kind": "cell", ')
    with pytest.raises(json.JSONDecodeError):
        collect([str(bundle)], out)
    assert out.read_bytes() == before
    assert list(read_bundle(tmp_path / "nosuch.jsonl")) == []


def test_the_same_bundles_make_the_same_bytes(tmp_path: Path) -> None:
    bundle = tmp_path / "a.jsonl"
    bundle.write_text(dump(cell_record()) + "\n")
    for name in ("x", "y"):
        collect([str(bundle)], tmp_path / f"{name}.parquet")
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "y.parquet").read_bytes()
