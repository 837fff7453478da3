"""What the lines of a study's figure are called: as little as tells them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.judging.table import Table


def line_name(table: Table, spec: Mapping[str, Any], arm: str) -> str:
    """The method, with those of its knobs that are no numbers and differ: what one line keeps fixed."""
    mine = table.arms[arm]
    arms = [table.arms[other] for other in spec["arms"] if other in table.arms]
    varied = {
        name
        for other in arms
        if other["method"] == mine["method"]
        for name, value in other["knobs"].items()
        if value != mine["knobs"].get(name) and not is_number(value)
    }
    kept = {name: value for name, value in sorted(mine["knobs"].items()) if name in varied}
    if (
        len({other["method"] for other in arms}) == 1 and len(varied) == 1
    ):  # its values alone tell lines apart
        (name,) = varied
        return _short(table, mine["knobs"].get(name), [other["knobs"].get(name) for other in arms])
    parts = [f"{name}={_told(table, value)}" for name, value in kept.items()]
    return f"{mine['method']}({', '.join(parts)})" if parts else str(mine["method"])


def _short(table: Table, value: Any, all_values: Sequence[Any]) -> str:
    """A value as a name: of a cell its method, where no other value is of that method."""
    if not isinstance(value, Mapping):
        return str(value)
    others = [other for other in all_values if isinstance(other, Mapping) and other != value]
    alone = all(other["method"] != value["method"] for other in others)
    return str(value["method"]) if alone else _told(table, value)


def _told(table: Table, value: Any) -> str:
    if isinstance(value, Mapping) and "method" in value:
        return table.label(value["method"], value["knobs"])
    return str(value)


def is_number(value: Any) -> bool:
    """Whether a knob can be an axis."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
