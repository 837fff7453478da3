"""What the run itself cost: CPU time as recorded; electricity and carbon modelled from it, and labelled so.

energy = CPU seconds x watts of a busy core x PUE;    carbon = energy x intensity of the country's electricity

The watts are an assumption with a range: a core's share of a many-core server is about 5 W, a laptop's or
desktop's single busy core with its package and memory awake about 30 W. No front and no claim uses them.
"""

from __future__ import annotations

from dataclasses import dataclass

from reports.judging.carbon import Intensity, intensity
from reports.judging.table import Table
from reports.notation import significant

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
    found = intensity(carbon)
    mass = grams_of((kwh[0], kwh[1], kwh[2]), found)
    timing = table.scope.get("timing") or {}
    return Footprint(
        cpu_s=cpu,
        wall_s=timing.get("wall_s"),
        cells=len(cells),
        visits=len(visits.drop_duplicates(["system", "workload", "round"])),
        kwh=(kwh[0], kwh[1], kwh[2]),
        grams=mass,
        intensity=found.g_per_kwh,
        country=found.country,
        year=found.year,
        source=found.source,
        pue=pue,
    )


def grams_of(kwh: tuple[float, float, float], found: Intensity) -> tuple[float, float, float] | None:
    """Low, stated and high energy times low, stated and high intensity; None where no intensity is known."""
    if found.g_per_kwh is None or found.low is None or found.high is None:
        return None
    return kwh[0] * found.low, kwh[1] * found.g_per_kwh, kwh[2] * found.high
