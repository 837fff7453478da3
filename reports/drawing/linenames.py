"""What the lines of a study's figure are called: as little as tells them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.judging.table import Table


def line_name(table: Table, spec: Mapping[str, Any], arm: str) -> str:
    """The method, with those of its knobs that are no numbers and differ: what one line keeps fixed."""
    mine = table.arms[arm]
    arms = [table.arms[other] for other in spec["arms"] if other in table.arms]
    kept = _kept(mine, arms)
    if len(kept) == 1:
        ((name, value),) = kept.items()
        alone = len({other["method"] for other in arms}) == 1
        # its values alone tell lines apart; so do cells, where no line keeps anything else
        if alone or (isinstance(value, Mapping) and all(set(_kept(one, arms)) <= {name} for one in arms)):
            own = [other for other in arms if other["method"] == mine["method"]]
            return _short(table, value, [other["knobs"].get(name) for other in own])
    parts = [f"{name}={_told(table, value)}" for name, value in kept.items()]
    return f"{mine['method']}({', '.join(parts)})" if parts else str(mine["method"])


def _kept(mine: Mapping[str, Any], arms: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Knobs of an arm that its line keeps fixed and another line of the method has otherwise."""
    return {
        name: value
        for name, value in sorted(mine["knobs"].items())
        if _differs(name, value, mine["method"], arms)
    }


def _differs(name: str, value: Any, method: str, arms: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a word or a cell is not what another line of the method has there."""
    if is_number(value) or value is None:
        return False
    return any(other["method"] == method and other["knobs"].get(name) != value for other in arms)


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
