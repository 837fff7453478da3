"""Test doubles of hardware: their numbers stand in the records of tests and in no report of a real plan."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

#: Names a library in the place of the driver's libnvidia-ml.so.1: tests only.
LIBRARY = "JOULEMARK_NVML_LIBRARY"
#: What doubles call their devices.
NAMES = ("Stub",)


def refuse_doubles(environments: Iterable[str | None]) -> None:
    """Refuse rows that a test double made, except where one is in use.

    Args:
        environments: the `env` of rows, as JSON text.

    Raises:
        SystemExit: a row comes from a double.
    """
    if os.environ.get(LIBRARY):
        return
    for text in {
        text for text in environments if isinstance(text, str) and any(name in text for name in NAMES)
    }:
        name = json.loads(text).get("gpu")
        if name in NAMES:
            raise SystemExit(
                f"rows of the device {name!r} are a test double's and no measurement: remove the visits that name it "
                f"from results/visits, or set {LIBRARY} to see them in a report of a test"
            )
