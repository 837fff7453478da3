"""Carbon, computed afterwards from energy: changing the country re-runs nothing.

grams CO2e = joules / 3.6e6 x PUE x intensity

The intensity of a country's electricity (g CO2e a kWh) stands in CodeCarbon's offline tables, read from the
installed package's files: a yearly mean by country (`global_energy_mix.json`), and life-cycle factors by source
(`carbon_intensity_per_source.json`), which with the country's mix of the same year give a second estimate. The two
differ by a fifth in the median and by three quarters at most: the range between them is the interval. Hours and
seasons move it further. A plan may state numbers of its own (`carbon: {intensity_g_per_kwh, low_g_per_kwh,
high_g_per_kwh, pue}`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

JOULES_PER_KWH = 3.6e6
#: Column of the country table -> the source's name in the table of factors. What is renewable and neither bioenergy,
#: water, wind nor sun is geothermal, nearly everywhere.
SOURCES = {
    "coal_TWh": "coal", "oil_TWh": "petroleum", "gas_TWh": "natural_gas", "nuclear_TWh": "nuclear",
    "hydroelectricity_TWh": "hydroelectricity", "wind_TWh": "wind", "solar_TWh": "solar", "biofuel_TWh": "biofuel",
    "other_renewable_exc_biofuel_TWh": "geothermal",
}  # fmt: skip


@dataclass(frozen=True)
class Intensity:
    """Grams of CO2e for a kilowatt hour of electricity.

    Attributes:
        g_per_kwh: the stated one; None where none is known (`source` says why).
        low: the lowest estimate.
        high: the highest estimate.
        country: its name.
        year: that the table speaks of, or "".
        source: where it stands.
    """

    g_per_kwh: float | None
    low: float | None
    high: float | None
    country: str
    year: str
    source: str


@dataclass(frozen=True)
class Carbon:
    """Grams of CO2e: low, stated, high."""

    low_g: float
    g: float
    high_g: float


def carbon(joules: float | tuple[float, float, float], settings: Mapping[str, Any]) -> Carbon | None:
    """Carbon of some energy under a plan's `carbon:` settings; None where no intensity is known.

    Args:
        joules: one number, or low, stated and high.
        settings: `country`, `pue`, or intensities of the user's own.
    """
    found, pue = intensity(settings), float(settings.get("pue", 1.0))
    if found.g_per_kwh is None or found.low is None or found.high is None:
        return None
    low, stated, high = joules if isinstance(joules, tuple) else (joules,) * 3
    factors = (low * found.low, stated * found.g_per_kwh, high * found.high)
    return Carbon(*(factor * pue / JOULES_PER_KWH for factor in factors))


def intensity(settings: Mapping[str, Any]) -> Intensity:
    """The plan's own numbers, else CodeCarbon's offline table."""
    code = str(settings.get("country", ""))
    if "intensity_g_per_kwh" in settings:
        own = float(settings["intensity_g_per_kwh"])
        low, high = (float(settings.get(f"{end}_g_per_kwh", own)) for end in ("low", "high"))
        return Intensity(
            own, min(low, own), max(high, own), code or "the plan's own", "", "stated in the plan"
        )
    entry = _read("global_energy_mix.json").get(code)
    if not entry or not entry.get("carbon_intensity"):
        return Intensity(None, None, None, code, "", _why_none(code))
    stated = float(entry["carbon_intensity"])
    estimates = [stated, *([mixed] if (mixed := by_sources(entry)) is not None else [])]
    source = f"CodeCarbon {_version()}, global_energy_mix.json; the range: its factors by source"
    name, year = str(entry.get("country_name", code)), str(entry.get("year", ""))
    return Intensity(stated, min(estimates), max(estimates), name, year, source)


def by_sources(entry: Mapping[str, Any]) -> float | None:
    """The mean of the sources' factors over a country's mix, in g CO2e a kWh; None where the mix is unknown."""
    factors = _read("carbon_intensity_per_source.json")
    parts = {source: float(entry.get(column) or 0.0) for column, source in SOURCES.items()}
    total = sum(parts.values())
    if not total or not factors:
        return None
    return sum(amount * float(factors[source]) for source, amount in parts.items()) / total


def _why_none(code: str) -> str:
    if not _read("global_energy_mix.json"):
        return "the package codecarbon, which has the tables, is not installed"
    return f"no intensity is known for the country {code!r}" if code else "the plan names no country"


@cache
def _read(name: str) -> dict[str, Any]:
    """One of CodeCarbon's tables, read as a file: importing the package would start its machinery."""
    spec = find_spec("codecarbon")
    if spec is None or spec.origin is None:
        return {}
    path = Path(spec.origin).parent / "data" / "private_infra" / name
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def _version() -> str:
    try:
        return version("codecarbon")
    except PackageNotFoundError:
        return ""
