"""Joules in a visit: a window for every form, ratios to the baseline's, nulls with reasons, modelled joules apart."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.collect import MODEL, rows_of
from benchmarks.measure import energy, protocol, visit
from benchmarks.measure.devices.cpu import Adapter
from benchmarks.measure.energy import RoundEnergy, energy_of_round
from benchmarks.measure.meters import EnergyRules, Meter, MeterError, Reading, Windows
from benchmarks.measure.meters.none import NoMeter
from benchmarks.records import read_json, write_json
from tests.benchmarks.measure.test_round import trained, visits

#: Windows of a moment: the real rules are tested beside the meters.
RULES = EnergyRules(window_s=0.02, least_s=0.02, least_refreshes=1, idle_s=0.01, batch_s=0.002)


class Constant(Meter):
    """A processor that always takes 100 W."""

    component, sensor = "cpu_package", "rapl"

    def __init__(self, fails: bool = False) -> None:
        self.fails, self.edges = fails, [0.0, 0.0]
        self.windows = 0

    def start(self) -> None:
        self.edges[0] = time.monotonic()

    def stop(self) -> None:
        self.edges[1] = time.monotonic()

    def close(self, loaded: bool = True) -> Reading:
        if self.fails:
            raise MeterError("the counter stands still")
        self.windows += loaded
        seconds = self.edges[1] - self.edges[0]
        return Reading(self.component, self.sensor, self.basis, 100.0 * seconds, seconds)


def with_meter(monkeypatch: pytest.MonkeyPatch, meter: Meter) -> None:
    """Rounds of this process read the meter."""
    made = RoundEnergy("cpu", [meter], 5.0, Windows([meter], RULES))
    monkeypatch.setattr(visit, "energy_of_round", lambda device, window_s, cache: made)
    monkeypatch.setattr(protocol, "SLOT_S", 0.001)


def test_every_form_gets_a_window(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, store = trained(house, ["batch8"], tiny_wide={"hidden": 64}, tiny_half={})
    meter = Constant()
    with_meter(monkeypatch, meter)
    found = visits(spec, store, "batch8")
    assert meter.windows == 3  # baseline, its copy, the wider net
    base, wide = found["baseline"]["forms"], found["tiny_wide"]["forms"]
    for form in (base["dense"], base["aa"], wide["dense"]):
        assert form["energy_j"] > 0 and form["energy_sensor"] == "rapl" and form["energy_reason"] == ""
        (reading,) = form["energy_readings"]
        assert reading["power_w"] == pytest.approx(100.0) and reading["calls"] >= 1
        assert form["energy_j"] == pytest.approx(reading["energy_j"] / reading["calls"])
        assert form["net_energy_j"] == pytest.approx(0.0, abs=form["energy_j"])
        assert form["modelled_energy_j"] == pytest.approx(5.0 * form["cpu_s"])
    assert base["dense"]["energy_log_ratio"] == 0.0
    ratio = wide["dense"]["energy_j"] / base["dense"]["energy_j"]
    assert wide["dense"]["energy_log_ratio"] == pytest.approx(math.log(ratio))
    summary = found["tiny_wide"]["energy"]
    assert (summary["energy_j"], summary["energy_sensor"]) == (wide["dense"]["energy_j"], "rapl")
    assert summary["rules"] == RULES.as_dict() and summary["modelled"]["basis"] == "modelled"
    assert found["tiny_half"]["energy"]["energy_j"] is None  # nothing of it could run


def test_a_training_has_joules_a_step(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, store = trained(house, ["train_step"], tiny_wide={})
    with_meter(monkeypatch, Constant())
    for record in visits(spec, store, "train_step").values():
        assert record["forms"]["train_step"]["energy_j"] > 0


def test_a_sensor_that_fails_is_a_null_with_its_reason(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, store = trained(house, ["batch8"])
    with_meter(monkeypatch, Constant(fails=True))
    record = visits(spec, store, "batch8")["baseline"]
    form = record["forms"]["dense"]
    assert form["energy_j"] is None and form["energy_log_ratio"] is None
    assert form["energy_reason"] == record["energy"]["reason"] == "the counter stands still"
    rows = {row["metric"]: row for row in rows_of(record) if row["form"] == "dense"}
    null = rows["energy_j@batch8"]
    assert null.get("value") is None and (null["reason"], null["sensor"]) == (
        "the counter stands still",
        "rapl",
    )


def test_modelled_joules_are_rows_of_their_own(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, store = trained(house, ["batch8"])
    with_meter(monkeypatch, Constant())
    record = visits(spec, store, "batch8")["baseline"]
    rows = {row["metric"]: row for row in rows_of(record) if row.get("form") == "dense"}
    assert (rows["energy_j@batch8"]["basis"], rows["energy_j@batch8"]["sensor"]) == ("measured", "rapl")
    modelled = rows["modelled_energy_j@batch8"]
    assert (modelled["basis"], modelled["sensor"], modelled["log_ratio"]) == ("modelled", MODEL, None)
    assert rows["latency_s@batch8"].get("sensor") is None


def test_no_window_is_held_where_nothing_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "meters_for", lambda *_: [NoMeter("cpu_package", "no powercap here")])
    monkeypatch.setattr(energy, "modelled_thread_w", lambda cache: None)
    made = energy_of_round(Adapter(), 10.0, tmp_path)
    assert not made.holds_windows
    found = made.of_work(lambda: pytest.fail("no window, no work"), 0.1)
    assert (found["energy_j"], found["energy_reason"]) == (None, "no powercap here")
    assert found["modelled_energy_j"] is None and found["energy_readings"] is None
    assert made.summary({})["reason"] == "no powercap here"
    monkeypatch.setattr(energy, "meters_for", lambda *_: [Constant()])
    assert energy_of_round(Adapter(), 10.0, tmp_path).holds_windows
    assert not energy_of_round(Adapter(), 0.0, tmp_path).holds_windows  # the plan asks for none


def test_the_model_is_looked_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "cpu_name", lambda: "a processor")
    asked: list[Any] = []

    def child(command: list[str], **how: Any) -> Any:
        asked.append(command)
        return type("Done", (), {"returncode": 0, "stdout": '{"thread_w": 4.0}'})

    monkeypatch.setattr(energy.subprocess, "run", child)
    monkeypatch.setattr(energy, "find_spec", lambda name: object())
    assert [energy.modelled_thread_w(tmp_path) for _ in range(3)] == [4.0] * 3 and len(asked) == 1
    (path,) = tmp_path.iterdir()
    write_json(path, {**(read_json(path) or {}), "thread_w": 6.0})
    assert energy.modelled_thread_w(tmp_path) == 6.0
    monkeypatch.setattr(energy, "find_spec", lambda name: None)
    assert energy.modelled_thread_w(tmp_path) is None
