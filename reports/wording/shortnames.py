"""Short names of arms for the site's tables and charts.

Sentences and tables for papers name every knob that some arm varies, defaults too. Where a method varies many
knobs that fills five lines a name, so here a default is named only where its method varies few; the whole name is
a pointer away. Two arms cannot share a short name: a knob that is left out has its default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reports.judging.table import Table

#: A method that varies more knobs than this names only those that differ from their defaults.
FEW = 2


def short_names(table: Table) -> dict[str, str]:
    """Arm -> its short name."""
    varied = varied_knobs(table)
    return {
        str(arm): short(table, known["method"], known["knobs"], varied) for arm, known in table.arms.items()
    }


def varied_knobs(table: Table) -> dict[str, set[str]]:
    """Method -> knobs that its arms vary, where these are few enough to be always named."""
    seen: dict[tuple[str, str], set[str]] = {}
    for known in table.arms.values():
        for name, value in known["knobs"].items():
            seen.setdefault((known["method"], name), set()).add(json.dumps(value, sort_keys=True))
    found: dict[str, set[str]] = {}
    for (method, name), values in seen.items():
        if len(values) > 1:
            found.setdefault(method, set()).add(name)
    return {method: names for method, names in found.items() if len(names) <= FEW}


def short(table: Table, method: str, knobs: Mapping[str, Any], varied: Mapping[str, set[str]]) -> str:
    """The name of one method with its knobs."""
    entry = table.scope["methods"].get(method) or {"knobs": []}
    defaults = {knob["name"]: knob["default"] for knob in entry["knobs"]}
    parts = []
    for name, value in knobs.items():
        if isinstance(value, Mapping) and "method" in value:
            plain = value["method"] == "baseline" and not value["knobs"]
            if name == "start" and plain:
                continue
            value = short(table, value["method"], value["knobs"], varied)
        elif name in defaults and value == defaults[name] and name not in varied.get(method, ()):
            continue
        parts.append(f"{name}={value}")
    return f"{method}({', '.join(parts)})" if parts else method
