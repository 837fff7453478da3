"""A round as its own process runs it: what takes turns, what a visit says, what is null and why."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
import yaml

from benchmarks.measure import protocol, visit
from benchmarks.measure.clocks import COLUMNS
from benchmarks.measure.devices import cpu
from benchmarks.measure.rounds import visit_name
from benchmarks.records import Store, read_json

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = yaml.safe_load((ROOT / "workflow" / "schemas" / "visit.schema.yaml").read_text())


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same protocol with slots of 1 ms, and torch as it was."""
    monkeypatch.setattr(protocol, "SLOT_S", 0.001)
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    yield
    torch.set_num_threads(before[0])
    torch.set_deterministic_debug_mode(before[1])


def trained(house: Any, workloads: list[str], **methods: Any) -> tuple[dict[str, Any], Store]:
    """The spec of the only round of a study whose cells are trained."""
    house.write_plan(rounds=1)
    house.write_card(
        runs=[{"task": {"tiny": {}}, "methods": {"baseline": {}, **methods}, "workloads": workloads}]
    )
    plan = house.plan()
    house.train(plan)
    ((name, _),) = plan.rounds.items()
    return json.loads(plan.round_text(name)), Store(house.results)


def visits(spec: dict[str, Any], store: Store, workload: str) -> dict[str, dict[str, Any]]:
    """Method -> its visit, after a round in this process."""
    made = visit.Round(spec, store.root)
    made.time_workload(workload)
    found = {}
    for cell in spec["cells"]:
        record = read_json(store.visit(visit_name(cell, workload, spec)))
        assert record is not None
        jsonschema.Draft202012Validator(SCHEMA).validate(record)
        found[cell["method"]] = record
    return found


def test_a_visit_says_what_was_done(house: Any) -> None:
    spec, store = trained(house, ["batch8"], tiny_wide={"hidden": 64}, tiny_half={})
    found = visits({**spec, "started": 0.0}, store, "batch8")
    base, wide = found["baseline"], found["tiny_wide"]
    assert set(base["forms"]) == {"dense", "aa"} and set(wide["forms"]) == {"dense"}
    form = wide["forms"]["dense"]
    assert form["items"] == 8 and form["samples"] >= protocol.MIN_CYCLES
    assert form["latency_s"] > 0 and form["cpu_s"] > 0 and math.isfinite(form["log_ratio"])
    assert base["forms"]["dense"]["log_ratio"] == 0.0
    assert 0 < form["overhead_share"] < 1
    assert form["high_water_bytes"] is None or form["high_water_bytes"] > 10 * 2**20
    assert form["slice"]["served"] == pytest.approx(form["slice"]["recorded"])
    assert wide["timing"]["fixed_cpu_s"] > 0 and wide["timing"]["fixed_s"] > 1e9
    assert wide["protocol"] == protocol.as_dict() and wide["key"]["protocol"] == spec["protocol"] == 2
    assert set(wide["state"]["before"]) >= {"governor", "container", "cpu_quota_cores", "wait_policy"}
    with np.load(
        store.samples(base["key"]["name"]), allow_pickle=False
    ) as kept:  # every sample lies beside it
        assert set(kept) == {"dense", "aa"} and kept["dense"].shape == (
            base["forms"]["dense"]["samples"],
            len(COLUMNS),
        )
        clean = kept["aa"][1 - kept["aa"][:, 2] / kept["aa"][:, 1] < protocol.CLEAN_SHARE]
        told = np.median((clean if len(clean) else kept["aa"])[:, 1])
        assert told == pytest.approx(base["forms"]["aa"]["latency_s"])
    # an emulation has no time, and says so
    assert found["tiny_half"]["forms"] == {} and found["tiny_half"]["reason"] == "emulated"


def test_energy_without_a_sensor_is_null_with_a_reason(house: Any) -> None:
    spec, store = trained(house, ["batch8"])
    record = visits(spec, store, "batch8")["baseline"]
    if record["energy"]["energy_sensor"] != "none":
        pytest.skip(f"this machine has a sensor: {record['energy']['energy_sensor']}")
    for entry in (record["energy"], *record["forms"].values()):
        assert entry["energy_j"] is None
    assert record["energy"]["reason"]


def test_training_is_fit_and_adapt(house: Any) -> None:
    """A method that trains a finished model on is timed by its own loop; one that has no steps has no time."""
    spec, store = trained(house, ["train_step"], tiny_wide={}, more_training={"budget": 0.5}, tiny_narrow={})
    found = visits(spec, store, "train_step")
    more = found["more_training"]["forms"]["train_step"]
    assert set(more["step_s"]) == {"train"}
    assert more["train_s"] == pytest.approx(10 * more["step_s"]["train"])  # half of the task's 20 steps
    base = found["baseline"]["forms"]["train_step"]
    assert base["train_s"] == pytest.approx(20 * base["latency_s"]) and base["train_log_ratio"] == 0.0
    gap = more["train_log_ratio"] - more["log_ratio"]
    assert gap == pytest.approx(math.log(10 / 20))
    assert found["tiny_narrow"]["forms"] == {}
    assert found["tiny_narrow"]["reason"] == "its training has no steps"


def test_a_foreign_process_on_the_device_gates_the_round(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, store = trained(house, ["batch8"])
    monkeypatch.setattr(cpu.Adapter, "foreign_processes", lambda self: [4711])
    with pytest.raises(
        SystemExit, match="process 4711 is at work on it; end it and run the same command again"
    ):
        visit.Round(spec, store.root)


def test_the_parent_hands_over_where_it_began_and_what_may_be_seen(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.measure import rounds

    spec, store = trained(house, ["batch8"])
    told: list[Any] = []

    def child(command: list[str], **how: Any) -> Any:
        told.append((json.loads(how["input"]), how["env"]))
        return type("Done", (), {"returncode": 3})

    monkeypatch.setattr(rounds.subprocess, "run", child)
    assert rounds.run_round(spec, store.root, {"CUDA_VISIBLE_DEVICES": "GPU-1"}) == 3
    ((sent, env),) = told
    assert sent["started"] > 0 and sent["cells"] == spec["cells"]
    assert env["CUDA_VISIBLE_DEVICES"] == "GPU-1" and env["OMP_NUM_THREADS"] == "1"
    assert env["OMP_WAIT_POLICY"] == "PASSIVE"
