"""Rounds seen from outside: which visits are missing, and the fresh process that makes them. No torch here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.digests import ROOT, digest
from benchmarks.host import lease
from benchmarks.measure import protocol
from benchmarks.measure.devices import open_device
from benchmarks.records import Store, read_json

#: A visit whose clocks failed (pre-empted, clocks disagree) is tried again this often; a busy neighbour alone is
#: only noted, since turns make ratios hold beside it (docs/measurement.md).
RETRIES = protocol.RETRIES


def visit_name(cell: Mapping[str, Any], workload: str, spec: Mapping[str, Any]) -> str:
    """The name of a visit: cell, workload, round, baseline, protocol, device."""
    return digest(
        [
            cell["system"],
            workload,
            spec["round"],
            spec["baseline"]["system"],
            spec["protocol"],
            spec["device"],
        ]
    )


def wanted(spec: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str, str]]:
    """(cell, workload, name) of every visit of a round."""
    for cell in spec["cells"]:
        for workload in cell["timed"]:
            yield cell, workload, visit_name(cell, workload, spec)


def visit_names(spec: Mapping[str, Any]) -> list[str]:
    """The names of a round's visits."""
    return [name for _, _, name in wanted(spec)]


def missing_visits(spec: Mapping[str, Any], store: Store) -> list[tuple[Mapping[str, Any], str, str]]:
    """The visits that are still to be made: no record, or a flagged one with tries left; cells without artefact not."""
    missing = []
    for cell, workload, name in wanted(spec):
        record = read_json(store.visit(name))
        done = record is not None and (not record["flagged"] or record["tries"] > RETRIES)
        if (
            not done
            and store.has_artefact(cell["artefact"])
            and store.has_artefact(spec["baseline"]["artefact"])
        ):
            missing.append((cell, workload, name))
    return missing


@contextmanager
def alone(kind: str) -> Iterator[dict[str, str]]:
    """Hold what a round needs for itself: the machine, or one device by its UUID.

    Yields:
        what the environment of the round's process must say, so that it sees no other device.
    """
    device = open_device(kind)
    with ExitStack() as held:
        held.enter_context(lease(exclusive=not device.lease))
        if device.lease:
            held.enter_context(lease(exclusive=True, device=device.lease))
        yield device.environment()


def run_round(spec: Mapping[str, Any], results: Path, sees: Mapping[str, str] | None = None) -> int:
    """Time what is missing in a fresh process; tried again while visits come out flagged. Returns an exit status.

    Args:
        spec: of the round.
        results: the folder of records.
        sees: what `alone` yields.
    """
    store = Store(results)
    for _ in range(RETRIES + 1):
        missing = missing_visits(spec, store)
        if not missing:
            break
        names = {name for _, _, name in missing}
        cells = []
        for cell in spec["cells"]:
            timed = [workload for workload in cell["timed"] if visit_name(cell, workload, spec) in names]
            if timed:
                cells.append({**cell, "timed": timed})
        # a blocking wait: the parent takes no time from what it measures
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.measure.visit", str(results)],
            input=json.dumps({**spec, "cells": cells, "started": time.time()}),
            text=True,
            env=round_environment(sees or {}),
        )
        if child.returncode:
            return child.returncode
    return 0


def round_environment(sees: Mapping[str, str]) -> dict[str, str]:
    """One thread that sleeps while it waits, and the leased device in sight."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        **sees,
    }
