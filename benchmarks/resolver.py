"""Knobs as typed in a card -> full, checked, canonical knobs, by the index."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.digests import digest
from benchmarks.knobs import InputError, check_names, check_value

#: Knobs of every method; they enter a key only where they differ from their default.
COMMON = ("start", "width", "budget", "lr_factor")


class Resolver:
    """Knobs as typed in a card -> full, checked, canonical knobs, by the index."""

    def __init__(self, index: Mapping[str, Any], small: bool = False) -> None:
        self.index = index
        self.small = small

    def task(self, name: str, typed: Mapping[str, Any] | None, where: str) -> list[dict[str, Any]]:
        """All settings of a task's grid."""
        entry = self._entry("tasks", "task", name, where)
        return list(self._grid(entry, typed or {}, f"{where}.{name}"))

    def method(self, name: str, typed: Mapping[str, Any] | None, where: str) -> list[dict[str, Any]]:
        """All settings of a method's grid, in canonical form."""
        entry = self._entry("methods", "method", name, where)
        return [
            {"method": name, "knobs": knobs} for knobs in self._grid(entry, typed or {}, f"{where}.{name}")
        ]

    def _entry(self, table: str, what: str, name: str, where: str) -> Mapping[str, Any]:
        if name in self.index["errors"]:
            return {"knobs": None, "stages": ["fit"], "small": {}}
        check_names([name], self.index[table], what, where)
        return self.index[table][name]

    def _grid(
        self, entry: Mapping[str, Any], typed: Mapping[str, Any], where: str
    ) -> Iterator[dict[str, Any]]:
        if not isinstance(typed, Mapping):
            raise InputError(f"{where}: knobs are a mapping, not {typed!r}")
        if entry["knobs"] is None:  # its file raises: planned as typed, it will be a failed record
            yield dict(typed)
            return
        knobs = {knob["name"]: knob for knob in entry["knobs"]}
        check_names(typed, knobs, "knob", where)
        if "stages" in entry and not stands_on_start(entry["stages"]):
            knobs.pop("start")  # trained from scratch: it starts from nothing
            if "start" in typed:
                raise InputError(f"{where}.start: trains from scratch, so it has no start")
        typed = {**(entry["small"] if self.small else {}), **typed}
        options = []
        for name, knob in knobs.items():
            if name in typed:
                values = typed[name] if isinstance(typed[name], list) else [typed[name]]
                if not values:
                    raise InputError(f"{where}.{name}: an empty list runs nothing")
                checked = [self._value(knob, value, f"{where}.{name}") for value in values]
                if len({digest(value) for value in checked}) < len(checked):
                    raise InputError(f"{where}.{name}: a value is given twice")
                options.append(checked)
            else:
                options.append([self._value(knob, knob["default"], f"{where}.{name}")])
        for choice in itertools.product(*options):
            yield self._canonical(entry, dict(zip(knobs, choice, strict=True)))

    def _value(self, knob: Mapping[str, Any], value: Any, where: str) -> Any:
        if knob["kind"] != "cell":
            return check_value(knob, value, where)
        return None if value is None else self.cell(value, where)

    def cell(self, value: Any, where: str) -> dict[str, Any]:
        """A reference to one cell in canonical form."""
        if isinstance(value, str):
            value = {value: {}}
        if not isinstance(value, Mapping) or len(value) != 1:
            raise InputError(f"{where}: a cell is `baseline` or {{method: {{knob: value}}}}, not {value!r}")
        ((name, knobs),) = value.items()
        settings = self.method(str(name), knobs, where)
        if len(settings) != 1:
            raise InputError(f"{where}: a reference names one cell, not a grid of {len(settings)}")
        return settings[0]

    @staticmethod
    def _canonical(entry: Mapping[str, Any], knobs: dict[str, Any]) -> dict[str, Any]:
        """Common knobs only where they say something, so that a new common knob makes no new cells."""
        if "stages" not in entry:
            return knobs
        defaults = {knob["name"]: knob["default"] for knob in entry["knobs"]}
        for name in COMMON:
            if name != "start" and knobs.get(name) == defaults.get(name):
                knobs.pop(name, None)
        return knobs


def stands_on_start(stages: list[str]) -> bool:
    """True for a method that acts on a trained cell: it overrides adapt or serve, and neither build nor fit."""
    return bool(set(stages) & {"adapt", "serve"}) and not set(stages) & {"build", "fit"}
