"""Colours and marks of figures: Okabe and Ito's palette, told apart with every common colour blindness."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

STYLE = Path(__file__).with_name("style.mplstyle")
BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY, INK, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222", "#8a8a8a",
)  # fmt: skip
#: Width of a column, inches.
COLUMN = 3.4
#: Up to so many settings are the ticks of an axis.
FEW_SETTINGS = 7
#: A mark and a colour a series: neighbours differ in both, so that neither alone must tell them apart.
MARKS = (
    ("o", BLUE), ("s", ORANGE), ("^", GREEN), ("D", PURPLE), ("v", AMBER), ("P", SKY), ("X", INK), ("p", GREY),
    ("<", ORANGE), (">", BLUE), ("h", GREEN),
)  # fmt: skip


def pyplot() -> Any:
    """Pyplot with our style and without a display."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcdefaults()
    plt.style.use(STYLE)
    return plt


def marks_of(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Name -> (mark, colour), by the order of all names: the same family looks alike on every page of a plan."""
    return {name: MARKS[at % len(MARKS)] for at, name in enumerate(sorted(set(names)))}


def log_ticks(axis: Any, low: float, high: float) -> None:
    """Ticks at 1, 2, 5 of each decade (fewer where there are many), as plain numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    spread = high / low
    steps: Sequence[float] = (1, 2, 5) if spread < 100 else (1, 3) if spread < 3000 else (1,)
    ticks = [step * 10.0**power for power in range(-9, 10) for step in steps]
    if spread < 4:  # less than a decade: even steps, of which six fit
        step = next(
            step for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if (high - low) / step < 6.5
        )
        ticks = [round(number * step, 3) for number in range(1, int(high / step) + 1)]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def setting_ticks(axes: Any, xs: Sequence[float], log: bool) -> bool:
    """Ticks at a few settings themselves, from the left, where their numbers do not run into each other.

    False, and nothing done, where there are more than seven: then the axis has ticks of its own.
    """
    settings = sorted(set(xs))
    if len(settings) > FEW_SETTINGS:
        return False
    scale: Callable[[float], float] = math.log if log else float
    left, right = axes.get_xlim()
    kept: list[float] = []
    for x in settings:
        if not kept or scale(x) - scale(kept[-1]) >= 0.075 * (scale(right) - scale(left)):
            kept.append(x)
    axes.set_xticks(kept, [f"{x:g}" for x in kept])
    axes.minorticks_off()
    return True
