"""Plans as the commands name them."""

from __future__ import annotations

import argparse
import json
from typing import Any

from benchmarks.knobs import InputError
from benchmarks.plan import Plan


def plan_argument(sub: argparse.ArgumentParser) -> None:
    """--plan NAME, FILE or JSON; --results FOLDER."""
    sub.add_argument(
        "--plan", default="default", help="a plan of config/, a file, or JSON as typed (default: default)"
    )
    sub.add_argument("--results", default="results", help="where records lie (default: results)")


def config_of(text: str) -> dict[str, Any]:
    """A plan's configuration from its name or from JSON."""
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise InputError(f"--plan: no JSON: {error.msg} at character {error.pos + 1}") from None
    return {"plan": text}


def load(args: argparse.Namespace) -> Plan:
    """The plan that a command names."""
    return Plan(config_of(args.plan), args.results)
