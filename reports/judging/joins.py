"""Which measured rows may stand in one number: those of one basis, sensor, device, protocol and torch version."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

import pandas as pd

from reports.judging.table import Missing, Table

#: What must agree, in the order in which a difference is told.
AGREE = ("protocol", "basis", "sensor", "device", "cpu", "gpu", "power_limit_w", "torch", "threads")
#: Those of them that stand in a row's environment; rows are rarely of more than two.
_OF_ENVIRONMENT = ("cpu", "gpu", "power_limit_w", "torch", "threads")


def conditions(row: Any) -> dict[str, str]:
    """What a row was measured with, as far as it says so; an absent sensor or GPU is "" on every row."""
    found = {name: _text(getattr(row, name, None)) for name in ("protocol", "basis", "sensor", "device")}
    told = _environment(row.env) if isinstance(getattr(row, "env", None), str) else {}
    return {name: found[name] if name in found else _text(told.get(name)) for name in AGREE}


def agree(rows: pd.DataFrame, what: str) -> None:
    """Refuse to join rows that were not measured alike.

    Args:
        rows: of the collected table.
        what: the number that they would make, for the message.

    Raises:
        Missing: two rows differ; the message names what.
    """
    columns = [name for name in ("protocol", "basis", "sensor", "device", "env") if name in rows]
    _alike(rows[columns].drop_duplicates().itertuples(index=False), what)


def _alike(rows: Iterable[Any], what: str) -> None:
    kinds = [conditions(row) for row in rows]
    for name in AGREE:
        values = sorted({kind[name] for kind in kinds})
        if len(values) > 1:
            shown = " and ".join(value or "none" for value in values)
            raise Missing(f"{what}: rows of {name} {shown} are not joined")


def agree_of(table: Table, arms: Iterable[str], metric: str) -> None:
    """`agree` for the visits of some arms in one metric.

    Raises:
        Missing: they were not measured alike.
    """
    _alike({kind for arm in arms for kind in table.kinds(arm, metric)}, metric)


def boards(table: Table, arms: Iterable[str], metric: str) -> int:
    """How many devices the visits come from; boards of one model differ by 5 % in energy [second-hand]."""
    found = {kind.env for arm in arms for kind in table.kinds(arm, metric) if isinstance(kind.env, str)}
    return len({_text(_environment(text).get("gpu_uuid")) for text in found})


@cache
def _environment(text: str) -> dict[str, Any]:
    return dict(json.loads(text))


def _text(value: Any) -> str:
    return "" if value is None or value is pd.NA or value != value else str(value)
