"""What the run itself cost: CPU time as recorded; electricity and carbon modelled from it, and labelled so.

energy = CPU seconds x watts of a busy core x PUE;    carbon = energy x intensity of the country's electricity

The watts are an assumption with a range: a core's share of a many-core server is about 5 W, a laptop's or
desktop's single busy core with its package and memory awake about 30 W. No front and no claim uses them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reports.notation import significant
from reports.table import Table

#: Watts of a busy core: low, stated, high.
WATTS = (5.0, 15.0, 30.0)


@dataclass(frozen=True)
class Footprint:
    """The cost of a run.

    Attributes:
        cpu_s: CPU seconds of training and scoring, each cell counted once.
        wall_s: wall seconds of the whole run, where they were handed over.
        kwh, grams: low, stated, high; grams are None where no intensity is known.
        country, year, source: of the intensity, in g CO2e a kWh.
    """

    cpu_s: float
    wall_s: float | None
    cells: int
    visits: int
    kwh: tuple[float, float, float]
    grams: tuple[float, float, float] | None
    intensity: float | None
    country: str
    year: str
    source: str
    pue: float

    @property
    def told(self) -> str:
        """What the run cost, in sentences that say what is modelled and from what."""
        wall = f" in {duration(self.wall_s)} of wall time" if self.wall_s else ""
        lines = [
            f"Training and scoring {self.cells} cells took {duration(self.cpu_s)} of CPU time{wall}; "
            f"{self.visits:,} visits timed finished cells."
        ]
        low, middle, high = self.kwh
        lines.append(
            f"Modelled: {energy(middle)} ({energy(low)} to {energy(high)}), "
            f"CPU seconds times {WATTS[1]:g} W a busy core "
            f"({WATTS[0]:g} to {WATTS[2]:g} W)"
            + (f" times a PUE of {self.pue:g}" if self.pue != 1 else "")
            + ", without the visits."
        )
        if self.grams is None or self.intensity is None:
            lines.append(f"Carbon is left out: {self.source}.")
        else:
            low, middle, high = self.grams
            year = f" in {self.year}" if self.year else ""
            lines.append(
                f"Modelled: {grams(middle)} CO2e ({grams(low)} to {grams(high)}), "
                f"at {self.intensity:.0f} g a kWh for {self.country}{year} ({self.source})."
            )
        return " ".join(lines)


def duration(seconds: float) -> str:
    """`42 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def energy(kwh: float) -> str:
    """Kilowatt hours, or watt hours where there are few."""
    return f"{significant(kwh, 2)} kWh" if kwh >= 0.1 else f"{significant(1000 * kwh, 2)} Wh"


def grams(mass: float) -> str:
    """Grams or kilograms."""
    return f"{significant(mass, 2)} g" if mass < 1000 else f"{significant(mass / 1000, 2)} kg"


def footprint(table: Table) -> Footprint:
    """What the cells of this table cost."""
    carbon = dict(table.scope.get("settings", {}).get("carbon") or {})
    cells = table.cells.drop_duplicates(["arm", "seed"])
    cpu = float(cells["cpu_s"].fillna(0.0).sum())
    visits = table.rows[table.rows["kind"] == "visit"]
    pue = float(carbon.get("pue", 1.0))
    kwh = tuple(cpu * watts * pue / 3.6e6 for watts in WATTS)
    intensity, country, year, source = electricity(carbon)
    grams = None if intensity is None else tuple(energy * intensity for energy in kwh)
    timing = table.scope.get("timing") or {}
    return Footprint(
        cpu_s=cpu,
        wall_s=timing.get("wall_s"),
        cells=len(cells),
        visits=len(visits.drop_duplicates(["system", "workload", "round"])),
        kwh=(kwh[0], kwh[1], kwh[2]),
        grams=None if grams is None else (grams[0], grams[1], grams[2]),
        intensity=intensity,
        country=country,
        year=year,
        source=source,
        pue=pue,
    )


def electricity(carbon: Mapping[str, Any]) -> tuple[float | None, str, str, str]:
    """(g CO2e a kWh, country, year, source): the plan's own number, else CodeCarbon's offline table."""
    code = str(carbon.get("country", ""))
    if "intensity_g_per_kwh" in carbon:
        return float(carbon["intensity_g_per_kwh"]), code or "the plan's own", "", "stated in the plan"
    entry = _mix().get(code)
    if entry is None or "carbon_intensity" not in entry:
        return None, code, "", "no intensity is known for this country"
    source = f"CodeCarbon {_version()}, global_energy_mix.json"
    return (
        float(entry["carbon_intensity"]),
        str(entry.get("country_name", code)),
        str(entry.get("year", "")),
        source,
    )


def _mix() -> dict[str, Any]:
    """CodeCarbon's table of countries, read as a file: importing the package would start its machinery."""
    spec = find_spec("codecarbon")
    if spec is None or spec.origin is None:
        return {}
    path = Path(spec.origin).parent / "data" / "private_infra" / "global_energy_mix.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def _version() -> str:
    try:
        return version("codecarbon")
    except PackageNotFoundError:
        return ""
