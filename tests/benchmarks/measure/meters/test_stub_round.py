"""End to end on the stub: a round is made, recorded, collected and reported, and told apart from a measured one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks.collect import as_table, rows_of
from benchmarks.doubles import LIBRARY, refuse_doubles
from benchmarks.records import Store, read_json
from tests.benchmarks.measure.test_round import trained
from tests.nvml_stub.stub import build

#: A round as its own process makes it; only the board's work is missing, which no framework here could do.
ROUND = """
from pathlib import Path
from benchmarks.execute import settle
from benchmarks.measure import energy, protocol, visit
from benchmarks.measure.devices.cuda import Adapter

class Gpu(Adapter):
    warm_s = 0.0
    def synchronize(self):
        pass
    def timer(self):
        return None
    def high_water_bytes(self, call):
        return None

protocol.SLOT_S = 0.001
visit.open_device = lambda kind: Gpu("cuda")
energy.EnergyRules = lambda window_s: EnergyRules(**{**RULES.as_dict(), "window_s": 1.0, "idle_s": 0.2})
settle(1)
spec = json.loads(Path(os.environ["SPEC"]).read_text())
made = visit.Round(spec, Path(os.environ["RESULTS"]))
made.time_workload("batch8")
tell([Path(path).name for path in Path(os.environ["RESULTS"], "visits").iterdir()])
"""
OPTIONS = {"watts": 200, "counter_period": 0.02, "procs": "self", "limit_mw": 350000}
pytestmark = pytest.mark.slow


def test_run_record_and_report_with_joules_of_the_stub(
    house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = build(tmp_path)
    spec, store = trained(house, ["batch8"], tiny_wide={"hidden": 64})
    (tmp_path / "spec.json").write_text(json.dumps({**spec, "energy_window_s": 1.0}))
    variables = {"SPEC": str(tmp_path / "spec.json"), "RESULTS": str(store.root)}
    names = stub.run(ROUND, tmp_path, OPTIONS, environment=variables)
    records = [read_json(store.root / "visits" / name) for name in names]
    assert len(records) == 2
    for record in records:
        assert record is not None
        form = record["forms"]["dense"]
        counter = form["energy_readings"][0]
        assert form["energy_sensor"] == counter["sensor"] == "nvml_counter" and form["energy_reason"] == ""
        assert counter["power_w"] == pytest.approx(200.0, abs=200.0 * 0.02 / counter["window_s"])
        assert form["energy_j"] == pytest.approx(counter["energy_j"] / counter["calls"])
        assert form["net_energy_j"] == pytest.approx(0.0, abs=0.2 * form["energy_j"]), (
            "all of it is idle power"
        )
        assert record["env"]["gpu"] == "Stub" and record["env"]["power_limit_w"] == 350.0
    report_of(house, store, records, tmp_path / "table.parquet", monkeypatch)


def report_of(
    house: Any, store: Store, visits: list[Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report shows the joules on a front where the double is in use, and refuses them in a real plan."""
    from reports.judging.arms import sections
    from reports.judging.fronts import make
    from reports.judging.table import Table

    plan = house.plan()
    rows = [row for record in [*house.records(plan), *visits] for row in rows_of(record)]
    as_table(rows).to_parquet(path, index=False)
    ((scope, _),) = list(plan.scopes.items())[:1]
    told = json.loads(plan.scope_text(scope))
    monkeypatch.delenv(LIBRARY, raising=False)
    with pytest.raises(SystemExit, match="'Stub' are a test double's and no measurement"):
        Table.read(path, told)
    monkeypatch.setenv(LIBRARY, "a library of a test")
    (section,) = sections(Table.read(path, told))
    front = make(section, "energy_j@batch8")
    assert front.basis == "measured"
    assert len(front.points) == 2 and all(math.isfinite(point.cost.effect) for point in front.points)


def test_a_double_is_refused_by_its_own_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIBRARY, raising=False)
    refuse_doubles([None, '{"gpu": "NVIDIA Stubborn 9000"}', '{"cpu": "Stub"}', "{}"])
    with pytest.raises(SystemExit):
        refuse_doubles(['{"gpu": "Stub"}'])
