"""Carbon afterwards: joules x PUE x intensity, from CodeCarbon's tables or the user's own number, low and high."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reports.judging import carbon
from reports.judging.carbon import by_sources, intensity

MIX = {
    "AAA": {
        "country_name": "Aland",
        "carbon_intensity": 500.0,
        "year": 2023,
        "coal_TWh": 1.0,
        "wind_TWh": 3.0,
    },
    "BBB": {"country_name": "Bland", "carbon_intensity": 100.0, "year": 2009},
    "CCC": {"country_name": "Cland", "carbon_intensity": 0.0, "year": 2022},
}
FACTORS = {name: 0.0 for name in carbon.SOURCES.values()} | {"coal": 1000.0, "wind": 20.0}


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Small tables in place of CodeCarbon's."""
    found: dict[str, Any] = {"global_energy_mix.json": MIX, "carbon_intensity_per_source.json": FACTORS}
    monkeypatch.setattr(carbon, "_read", lambda name: found[name])
    return found


def test_joules_times_pue_times_intensity(tables: dict[str, Any]) -> None:
    """7.2 MJ are 2 kWh; the mix of one part coal and three of wind is 265 g a kWh, the table says 500."""
    found = carbon.carbon(7.2e6, {"country": "AAA", "pue": 1.5})
    assert found is not None
    assert (found.low_g, found.g, found.high_g) == pytest.approx((3 * 265, 3 * 500, 3 * 500))
    ranged = carbon.carbon((3.6e6, 7.2e6, 10.8e6), {"country": "AAA"})
    assert ranged is not None
    assert (ranged.low_g, ranged.g, ranged.high_g) == pytest.approx((265, 1000, 1500))


def test_country_year_and_source_are_told(tables: dict[str, Any]) -> None:
    found = intensity({"country": "BBB"})
    assert (found.country, found.year) == ("Bland", "2009") and "global_energy_mix.json" in found.source
    assert found.low == found.g_per_kwh == found.high == 100.0  # without a mix there is one estimate


def test_the_users_own_numbers_win(tables: dict[str, Any]) -> None:
    found = intensity({"country": "AAA", "intensity_g_per_kwh": 12.0})
    assert (found.low, found.g_per_kwh, found.high, found.source) == (12.0, 12.0, 12.0, "stated in the plan")
    ranged = intensity({"intensity_g_per_kwh": 12.0, "low_g_per_kwh": 5, "high_g_per_kwh": 40})
    assert (ranged.low, ranged.g_per_kwh, ranged.high) == (5.0, 12.0, 40.0)
    free = carbon.carbon(3.6e6, {"intensity_g_per_kwh": 0.0})
    assert free is not None and free.g == 0.0  # a stated zero is a number


@pytest.mark.parametrize("code", ["XXX", "CCC", ""])
def test_an_unknown_country_is_null_with_a_reason(code: str, tables: dict[str, Any]) -> None:
    settings = {"country": code} if code else {}
    found = intensity(settings)
    assert found.g_per_kwh is None and carbon.carbon(1.0, settings) is None
    assert found.source == (
        f"no intensity is known for the country {code!r}" if code else "the plan names no country"
    )


def test_without_codecarbon_there_is_no_carbon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carbon, "_read", lambda name: {})
    assert intensity({"country": "FRA"}).source.startswith("the package codecarbon")


def test_the_installed_tables_hold_what_is_read() -> None:
    """Every source of the mix has a factor, and the estimates agree within a factor of two for every country."""
    pytest.importorskip("codecarbon", reason="reads the tables of the package codecarbon")
    mix, factors = carbon._read("global_energy_mix.json"), carbon._read("carbon_intensity_per_source.json")
    assert (
        set(carbon.SOURCES.values()) <= set(factors) and factors["unit"] == "gCO2.eq/kWh" and len(mix) > 150
    )
    for entry in mix.values():
        mixed = by_sources(entry)
        if mixed is not None and entry["carbon_intensity"] > 0:
            assert 0.5 < mixed / entry["carbon_intensity"] < 2.0
        assert entry["year"] > 2000
    france = intensity({"country": "FRA"})
    assert france.low is not None and france.high is not None and 20 < france.low < france.high < 150


def test_another_country_re_runs_nothing(house: Any) -> None:
    """Chunks and rounds keep their names and their specs; only what a page is told changes."""
    house.write_plan(rounds=1)
    house.write_card(
        runs=[{"task": {"tiny": {}}, "methods": {"baseline": {}, "tiny_wide": {}}, "workloads": ["batch1"]}]
    )
    here = house.plan()
    house.write_plan(rounds=1, carbon={"country": "POL", "pue": 1.4})
    there = house.plan()
    assert list(here.chunks) == list(there.chunks) and list(here.rounds) == list(there.rounds)
    for name in here.rounds:
        assert here.round_text(name) == there.round_text(name)
    assert here.table("all") == there.table("all")
    assert json.loads(there.scope_text("all"))["settings"]["carbon"] == {"country": "POL", "pue": 1.4}
    assert Path(house.results).is_dir()
