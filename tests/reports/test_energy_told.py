"""What a page says of energy: the sensor, or why there is none; modelled joules stay out of claims and fronts."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.checks import TIMED as CHECKED
from benchmarks.collect import MODEL
from reports.judging.effects import TIMED, compute
from reports.judging.measuring import nulls, sensors
from reports.judging.table import Missing, Table
from tests.reports.test_joins import check, row, table

WHY = "no RAPL under /sys/class/powercap"


def rows(**parts: Any) -> Table:
    return table([row(arm, n, 0.1 * (arm == "a"), **parts) for arm in "ab" for n in range(5)])


def test_the_sensor_is_named() -> None:
    assert "(nvml_counter)" in sensors(rows()) and "Some readings" not in sensors(rows())


def test_without_a_sensor_the_reason_is_told_once() -> None:
    found = rows(value=None, log_ratio=None, sensor="none", reason=WHY)
    assert "null everywhere" in sensors(found) and sensors(found).count(WHY) == 1
    assert nulls(found) == []  # not once more an arm
    with pytest.raises(Missing, match=f"energy_j@batch1 is null: {WHY}"):
        compute(found, check())


def test_records_of_before_have_no_sensor() -> None:
    old = rows(metric="latency_s@batch1", sensor=None)
    assert "null everywhere" in sensors(old) and "Why" not in sensors(old)
    assert sensors(Table(old.rows.drop(columns="sensor"), old.scope)) == sensors(old)


def test_a_failed_reading_stands_beside_those_that_came() -> None:
    some = [
        row("a", n, 0.1, **({"value": None, "reason": "device lost"} if n == 2 else {})) for n in range(5)
    ]
    assert "Some readings are null: device lost." in sensors(table(some))


def test_modelled_joules_enter_no_claim() -> None:
    """No check may name them, and the metric of a claim never falls back on them."""
    assert "modelled_energy_j" not in TIMED and "modelled_energy_j" not in CHECKED
    modelled = rows(metric="modelled_energy_j@batch1", basis="modelled", sensor=MODEL, log_ratio=None)
    with pytest.raises(Missing):
        compute(modelled, check())
    assert "null everywhere" in sensors(modelled)
