"""Rows by cell and metric as plain arrays: data frames are slow in small pieces, and there are many pieces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

Rows = np.ndarray


class Parts:
    """The rows of a frame by (arm, metric), some columns of them."""

    def __init__(self, frame: pd.DataFrame, columns: Iterable[str]) -> None:
        self._at: dict[Any, Rows] = frame.groupby(["arm", "metric"], sort=False).indices
        self._columns = {name: frame[name].to_numpy(dtype=object) for name in columns}

    def rows(self, arm: str, metric: str) -> Rows:
        """Positions of the rows of one cell and metric, in their order; empty where there are none."""
        return self._at.get((arm, metric), np.empty(0, dtype=int))

    def column(self, name: str, rows: Rows) -> list[Any]:
        """The values of one column in these rows; what is not there is None."""
        return [None if value is pd.NA else value for value in self._columns[name][rows]]

    def floats(self, name: str, rows: Rows) -> np.ndarray:
        """The values of a column of numbers; what is not there is NaN."""
        return np.array(
            [np.nan if value is None else value for value in self.column(name, rows)], dtype=float
        )
