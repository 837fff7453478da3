"""Knobs: the typed, bounded fields of tasks and methods, and their check.

A knob is a dataclass field made with `knob` (a value) or `cell` (a reference to another cell of the same seed).
Nothing here imports torch: the planner reads knobs from the index.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

NAME = re.compile(r"[a-z0-9_-]+")
KINDS = {"int": int, "float": float, "bool": bool, "str": str}


class InputError(Exception):
    """Something that a person typed is wrong: one line that names the file, the key and what is allowed."""


def knob(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Iterable[Any] | None = None,
    help: str = "",
    serve: bool = False,
) -> Any:
    """Declare a knob with a default, inclusive bounds or choices, and one line of help.

    A `serve` knob changes only how the finished artefact answers, so a change of it trains nothing.
    """
    allowed = list(choices) if choices is not None else None
    return dataclasses.field(
        default=default, metadata={"low": low, "high": high, "choices": allowed, "help": help, "serve": serve}
    )


def cell(default: Any = None, *, help: str = "") -> Any:
    """Declare a knob that names another cell of the same task and seed: `"baseline"` or `{method: {knob: value}}`."""
    return dataclasses.field(default=default, metadata={"cell": True, "help": help, "serve": False})


def snake(name: str) -> str:
    """The name by which cards know a class: GoodName -> good_name."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def schema(cls: type) -> list[dict[str, Any]]:
    """The knobs of a dataclass as plain values, for the index."""
    knobs = []
    for field in dataclasses.fields(cls):
        # a string under `from __future__ import annotations`, else a type
        kind = (field.type.__name__ if isinstance(field.type, type) else str(field.type)).replace(" ", "")
        optional = kind.endswith("|None")
        kind = kind.removesuffix("|None")
        entry = {"name": field.name, "optional": optional, "default": field.default, **field.metadata}
        entry["kind"] = "cell" if field.metadata.get("cell") else kind
        if entry["kind"] not in (*KINDS, "cell"):
            raise TypeError(
                f"{cls.__name__}.{field.name}: a knob is int, float, bool, str or a cell, not {field.type}"
            )
        knobs.append(entry)
    return knobs


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """A closing half sentence for an unknown word: the nearest name, else the list of what is allowed."""
    allowed = sorted(allowed)
    if not allowed:
        return "there is none here"
    near = difflib.get_close_matches(word, allowed, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return "allowed: " + (", ".join(allowed) if len(allowed) <= 30 else ", ".join(allowed[:30]) + ", ...")


def check_value(entry: Mapping[str, Any], value: Any, where: str) -> Any:
    """Return `value` as the knob's type, or raise InputError with one line that begins with `where`."""
    if value is None and entry["optional"]:
        return None
    kind, help_ = entry["kind"], f" ({entry['help']})" if entry.get("help") else ""
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind == "int" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, KINDS[kind]) or (kind != "bool" and isinstance(value, bool)):
        raise InputError(f"{where}: {value!r} is no {kind}{help_}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}: {value} is no finite number{help_}")
    if entry.get("low") is not None and value < entry["low"]:
        raise InputError(f"{where}: {value} is below {entry['low']}{help_}")
    if entry.get("high") is not None and value > entry["high"]:
        raise InputError(f"{where}: {value} is above {entry['high']}{help_}")
    if entry.get("choices") and value not in entry["choices"]:
        raise InputError(f"{where}: {value!r} is none of {', '.join(map(str, entry['choices']))}{help_}")
    return value


def check_names(names: Iterable[str], allowed: Iterable[str], what: str, where: str) -> None:
    """Raise InputError for the first name that is not allowed."""
    allowed = set(allowed)
    for name in names:
        if name not in allowed:
            raise InputError(f"{where}: there is no {what} {name!r}; {did_you_mean(str(name), allowed)}")
